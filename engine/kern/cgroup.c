// SPDX-License-Identifier: Apache-2.0
#include "kern/cgroup.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"

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

static bool copy_controllers(char *to, size_t cap, const char *super, size_t n) {
    size_t len = 0;

    for (const char *p = super, *end = super + n; p < end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        size_t m = (size_t)((comma ? comma : end) - p);

        if (!is_option(p, m)) {
            if (len + m + 2 > cap)
                return false;
            if (len)
                to[len++] = ',';
            memcpy(to + len, p, m);
            len += m;
        }
        p += m + 1;
    }
    to[len] = 0;
    return len > 0;
}

/* One line: id parent major:minor root mount options [tags] - type source super-options (proc_pid_mountinfo(5)). */
static void take_line(const char *line, size_t n, struct cgroup_layout *l) {
    const char *end = line + n, *field[5] = {0}, *dash = memmem(line, n, " - ", 3), *type, *super, *p = line;
    struct cgroup_hierarchy *h = &l->h[l->n];
    size_t len, type_len;

    if (!dash || l->n == CGROUP_HIERARCHIES)
        return;
    for (int i = 0; i < 5; i++) {
        field[i] = p;
        p = memchr(p, ' ', (size_t)(end - p));
        if (!p)
            return;
        p++;
    }
    len = (size_t)(p - 1 - field[4]);
    type = dash + 3;
    super = memchr(type, ' ', (size_t)(end - type));
    if (!super || len >= sizeof h->mount)
        return;
    type_len = (size_t)(super - type);
    super = memchr(super + 1, ' ', (size_t)(end - super - 1));
    if (!super)
        return;
    super++;
    memset(h, 0, sizeof *h);
    memcpy(h->mount, field[4], len);
    for (size_t i = 0; i < l->n; i++)
        if (streq(l->h[i].mount, h->mount))
            return;
    if (type_len == 7 && strncmp(type, "cgroup2", 7) == 0)
        h->unified = true;
    else if (type_len != 6 || strncmp(type, "cgroup", 6) != 0 ||
             !copy_controllers(h->controllers, sizeof h->controllers, super, (size_t)(end - super)))
        return;
    /* The same hierarchy can be mounted twice (bind mounts elsewhere); the first is the machine's. */
    for (size_t i = 0; i < l->n; i++)
        if (l->h[i].unified == h->unified && streq(l->h[i].controllers, h->controllers))
            return;
    l->n++;
}

int cgroup_detect_from(const char *mountinfo, struct cgroup_layout *ret, struct err *e) {
    struct cgroup_layout l = {0};

    for (const char *p = mountinfo; *p;) {
        const char *nl = strchrnul(p, '\n');

        take_line(p, (size_t)(nl - p), &l);
        p = *nl ? nl + 1 : nl;
    }
    if (!l.n)
        return err_set(e, ERR_INTERNAL, "no cgroup file system is mounted on this machine (expected below /sys/fs/cgroup)");
    l.pure_v2 = l.n == 1 && l.h[0].unified;
    *ret = l;
    return 0;
}

int cgroup_detect(struct cgroup_layout *ret, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(MIB(16));
    int r = fs_read_file("/proc/self/mountinfo", &b, e);

    if (r < 0)
        return r;
    return cgroup_detect_from(buf_str(&b), ret, e);
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
