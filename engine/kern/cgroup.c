// SPDX-License-Identifier: Apache-2.0
#include "kern/cgroup.h"

#include <pthread.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "kern/mountinfo.h"

/* Options of a v1 mount that are no controllers. */
static bool is_option(const char *s, size_t n) {
    static const char *const options[] = {"rw", "ro", "noprefix", "clone_children", "xattr", "release_agent", "favordynmods", "nofavordynmods"};

    for (size_t i = 0; i < ELEMENTSOF(options); i++) {
        size_t m = strlen(options[i]);

        if (n >= m && strncmp(s, options[i], m) == 0 && (n == m || s[m] == '='))
            return true;
    }
    return false;
}

/* The controllers among the options of a v1 mount. False when there are none. */
static bool copy_controllers(char *to, size_t cap, const char *super) {
    size_t len = 0;

    for (const char *p = super, *end; *p; p = *end ? end + 1 : end) {
        size_t m;

        end = strchrnul(p, ',');
        m = (size_t)(end - p);
        if (is_option(p, m))
            continue;
        if (len + m + 2 > cap)
            return false;
        if (len)
            to[len++] = ',';
        memcpy(to + len, p, m);
        len += m;
    }
    to[len] = 0;
    return len > 0;
}

static void take_mount(const struct mountinfo *m, struct cgroup_layout *l) {
    struct cgroup_hierarchy h = {.unified = streq(m->type, "cgroup2")};

    if (l->n == CGROUP_HIERARCHIES || strlen(m->point) >= sizeof h.mount)
        return;
    snprintf(h.mount, sizeof h.mount, "%s", m->point);
    if (!h.unified && (!streq(m->type, "cgroup") || !copy_controllers(h.controllers, sizeof h.controllers, m->super)))
        return;
    /* The same hierarchy can be mounted twice (bind mounts elsewhere); the first is the machine's. */
    for (size_t i = 0; i < l->n; i++)
        if (streq(l->h[i].mount, h.mount) || (l->h[i].unified == h.unified && streq(l->h[i].controllers, h.controllers)))
            return;
    l->h[l->n++] = h;
}

int cgroup_detect_from(char *lines, struct cgroup_layout *ret, struct err *e) {
    struct cgroup_layout l = {0};
    struct mountinfo m;

    while (mountinfo_next(&lines, &m))
        take_mount(&m, &l);
    if (!l.n)
        return err_set(e, ERR_INTERNAL, "no cgroup file system is mounted on this machine (expected below /sys/fs/cgroup)");
    l.pure_v2 = l.n == 1 && l.h[0].unified;
    *ret = l;
    return 0;
}

static int detect(struct cgroup_layout *ret, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(MIB(16));
    char *lines;
    int r = mountinfo_read(&b, &lines, e);

    return r < 0 ? r : cgroup_detect_from(lines, ret, e);
}

/*
 * A global that STYLE allows: written once, before anybody reads it, and constant after that. Every reading of a container's use asks for it; the
 * list of all mounts would be most of what that costs.
 */
static struct cgroup_layout found;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find(void) {
    ignore_result(detect(&found, NULL) < 0);
}

int cgroup_detect(struct cgroup_layout *ret, struct err *e) {
    pthread_once(&once, find);
    if (!found.n)
        return detect(ret, e); /* and say why there is none */
    *ret = found;
    return 0;
}

const struct cgroup_hierarchy *cgroup_of(const struct cgroup_layout *l, const char *controller) {
    size_t n = strlen(controller);

    for (size_t i = 0; i < l->n; i++) {
        const char *c = l->h[i].controllers;

        if (l->h[i].unified) {
            if (l->pure_v2)
                return &l->h[i];
            continue;
        }
        for (; c; c = strchr(c, ',') ? strchr(c, ',') + 1 : NULL)
            if (strncmp(c, controller, n) == 0 && (c[n] == 0 || c[n] == ','))
                return &l->h[i];
    }
    return NULL;
}

bool cgroup_list_has(const char *list, const char *controller) {
    size_t n = strlen(controller);

    for (const char *s = list; *s; s += strspn(s, " \n")) {
        size_t m = strcspn(s, " \n");

        if (m == n && strncmp(s, controller, n) == 0)
            return true;
        s += m;
    }
    return false;
}

bool cgroup_has(const struct cgroup_layout *l, const char *controller) {
    const struct cgroup_hierarchy *h = cgroup_of(l, controller);
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);
    char path[160];

    if (!h || !h->unified)
        return h != NULL;
    snprintf(path, sizeof path, "%s/cgroup.controllers", h->mount);
    return fs_read_file(path, &b, NULL) == 0 && cgroup_list_has(buf_str(&b), controller);
}

bool cgroup_own_file(const struct cgroup_layout *l, const char *file, char *ret, size_t cap) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);
    const char *mount = NULL, *group;

    for (size_t i = 0; i < l->n; i++)
        mount = l->h[i].unified ? l->h[i].mount : mount;
    if (!mount || fs_read_file("/proc/self/cgroup", &b, NULL) < 0)
        return false;
    /* The line of the unified hierarchy begins with "0::" and is the last one. */
    group = str_has_prefix(buf_str(&b), "0::/") ? buf_str(&b) : strstr(buf_str(&b), "\n0::/");
    if (!group)
        return false;
    group = strchr(group, '/');
    return snprintf(ret, cap, "%s%.*s/%s", mount, (int)strcspn(group, "\n"), group, file) < (int)cap;
}

bool cgroup_limits_swap(const struct cgroup_layout *l) {
    const struct cgroup_hierarchy *h = cgroup_of(l, "memory");
    char path[512];

    if (h && !h->unified) {
        snprintf(path, sizeof path, "%s/memory.memsw.limit_in_bytes", h->mount);
        return fs_exists(path);
    }
    return l->pure_v2 && cgroup_own_file(l, "memory.swap.max", path, sizeof path) && fs_exists(path);
}
