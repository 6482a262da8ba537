// SPDX-License-Identifier: Apache-2.0
#include "kern/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "base/str.h"

/* ---- kernels from 6.5 on ------------------------------------------------------------------------------------------------ */

static int set(const struct kern *k, int fs, const char *key, const char *value) {
    return k->fsconfig(fs, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0);
}

static int configure(const struct kern *k, int fs, const struct overlay *o) {
    int r = 0;

    ignore_result(set(k, fs, "source", "overlay"));
    for (const char *layer = NULL; r >= 0 && (layer = o->next(o->arg, layer));)
        r = set(k, fs, "lowerdir+", layer);
    if (r >= 0 && o->upper)
        r = set(k, fs, "upperdir", o->upper);
    if (r >= 0 && o->upper)
        r = set(k, fs, "workdir", o->work);
    if (r >= 0)
        ignore_result(set(k, fs, "index", "off"));
    if (r >= 0 && o->is_volatile)
        r = set(k, fs, "volatile", NULL);
    return r < 0 ? r : k->fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
}

int overlay_detached(const struct kern *k, const struct overlay *o, unsigned attrs) {
    _cleanup_close_ int fs = k->fsopen("overlay", FSOPEN_CLOEXEC);
    int r = fs < 0 ? fs : configure(k, fs, o);

    if (r >= 0)
        return k->fsmount(fs, FSMOUNT_CLOEXEC, attrs);
    return r == -EINVAL ? -ENOSYS : r; /* an option it does not know: the older way says what else it may be */
}

/* ---- kernels before ----------------------------------------------------------------------------------------------------- */

struct options {
    char data[4096]; /* the kernel takes a page with its final NUL */
    size_t n;        /* sizeof data: it did not fit */
    char dir[1024];  /* what names are relative to; "": nothing */
};

static void add(struct options *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void add(struct options *o, const char *fmt, ...) {
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(o->data + o->n, sizeof o->data - o->n, fmt, ap);
    va_end(ap);
    o->n = n < 0 || (size_t)n >= sizeof o->data - o->n ? sizeof o->data : o->n + (size_t)n;
}

static void add_layer(struct options *o, const char *path) {
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

int overlay_at(const struct kern *k, const struct overlay *o, const char *target, unsigned long flags) {
    _cleanup_close_ int here = -EBADF;
    struct options text = {.n = 0};
    int r;

    if (o->upper)
        add(&text, "upperdir=%s,workdir=%s,", o->upper, o->work);
    add(&text, "index=off,%slowerdir=", o->is_volatile ? "volatile," : "");
    for (const char *layer = NULL; (layer = o->next(o->arg, layer));)
        add_layer(&text, layer);
    if (text.n == sizeof text.data)
        return -E2BIG;
    here = k->openat(AT_FDCWD, ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    r = here < 0 ? here : text.dir[0] ? k->chdir(text.dir) : 0;
    if (r < 0)
        return r;
    r = k->mount("overlay", target, "overlay", flags, text.data);
    if (text.dir[0] && k->fchdir(here) < 0 && r >= 0)
        r = -ENOENT;
    return r;
}
