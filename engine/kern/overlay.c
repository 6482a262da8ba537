// SPDX-License-Identifier: Apache-2.0
#include "kern/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

static void add(struct overlay_old *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct overlay_old *o, const char *fmt, ...) {
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(o->data + o->n, sizeof o->data - o->n, fmt, ap);
    va_end(ap);
    o->n = n < 0 || (size_t)n >= sizeof o->data - o->n ? sizeof o->data : o->n + (size_t)n;
}

void overlay_old_start(struct overlay_old *o, const char *upper, const char *work, const char *options) {
    o->n = 0;
    o->dir[0] = 0;
    if (upper)
        add(o, "upperdir=%s,workdir=%s,", upper, work);
    add(o, "index=off,%s%slowerdir=", options, *options ? "," : "");
}

void overlay_old_lower(struct overlay_old *o, const char *path) {
    const char *slash = strrchr(path, '/');
    bool first;
    size_t n;

    if (o->n == sizeof o->data)
        return;
    first = o->data[o->n - 1] == '=';
    if (!first && !o->dir[0] && slash && slash > path && (size_t)(slash - path) < sizeof o->dir)
        snprintf(o->dir, sizeof o->dir, "%.*s", (int)(slash - path), path);
    n = strlen(o->dir);
    if (n && strncmp(path, o->dir, n) == 0 && path[n] == '/' && path[n + 1] && path[n + 1] != '/')
        path += n + 1;
    add(o, "%s%s", first ? "" : ":", path);
}

int overlay_old_mount(const struct kern *k, const struct overlay_old *o, const char *target, unsigned long flags) {
    _cleanup_close_ int here = -EBADF;
    int r;

    if (o->n == sizeof o->data)
        return -E2BIG;
    here = k->openat(AT_FDCWD, ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    r = here < 0 ? here : o->dir[0] ? k->chdir(o->dir) : 0;
    if (r < 0)
        return r;
    r = k->mount("overlay", target, "overlay", flags, o->data);
    if (o->dir[0] && k->fchdir(here) < 0 && r >= 0)
        r = -ENOENT;
    return r;
}
