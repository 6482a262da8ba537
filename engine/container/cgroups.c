// SPDX-License-Identifier: Apache-2.0
/* The control groups of containers, read from outside. */
#include <dirent.h>
#include <fcntl.h>

#include "base/engine.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/more.h"
#include "kern/cgroup.h"

#define GROUP_DEPTH 32

char *ctr_cgroup_path(const struct engine_config *config, const struct ctr_fixed *f) {
    const char *parent = !str_empty(f->host.cgroup_parent)   ? f->host.cgroup_parent
                         : !str_empty(config->cgroup_parent) ? config->cgroup_parent
                                                             : "/docker";
    size_t n = strlen(parent);

    while (n > 1 && parent[n - 1] == '/')
        n--;
    return str_printf("%s%.*s/%s", parent[0] == '/' ? "" : "/", (int)n, parent, f->id);
}

struct pids {
    int64_t *v;
    size_t n, cap;
};

static int add_pid(struct pids *p, int64_t pid, struct err *e) {
    if (p->n == CTR_PIDS_MAX)
        return 0;
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 32;
        int64_t *v = reallocarray(p->v, cap, sizeof *v);

        if (!v)
            return err_oom(e);
        p->v = v;
        p->cap = cap;
    }
    p->v[p->n++] = pid;
    return 0;
}

static int read_procs(int dir, struct pids *p, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);
    char *at, *line;

    if (fs_read_file_at(dir, "cgroup.procs", &b, NULL) < 0 || b.len == 0)
        return 0;
    at = b.data;
    while ((line = strsep(&at, "\n"))) {
        int64_t pid;
        int r = parse_i64(line, &pid) == 0 ? add_pid(p, pid, e) : 0;

        if (r < 0)
            return r;
    }
    return 0;
}

/* Eats the descriptor. */
static int walk(int fd, struct pids *p, int depth, struct err *e) {
    _cleanup_closedir_ DIR *dir = fdopendir(fd);
    struct dirent *d;
    int r;

    if (!dir) {
        close_fd(fd);
        return err_oom(e);
    }
    r = read_procs(fd, p, e);
    while (r >= 0 && depth < GROUP_DEPTH && p->n < CTR_PIDS_MAX && (d = readdir(dir))) {
        int sub;

        if (d->d_type != DT_DIR || d->d_name[0] == '.')
            continue;
        sub = openat(fd, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub >= 0)
            r = walk(sub, p, depth + 1, e);
    }
    return r;
}

int ctr_cgroup_pids(const char *path, int64_t **ret, size_t *ret_n, struct err *e) {
    struct cgroup_layout l;
    const struct cgroup_hierarchy *h;
    _cleanup_free_ char *full = NULL;
    struct pids p = {0};
    int fd, r = cgroup_detect(&l, e);

    if (r < 0)
        return r;
    h = cgroup_of(&l, "pids");
    if (!h)
        h = cgroup_of(&l, "memory");
    full = h ? str_printf("%s%s", h->mount, path) : NULL;
    if (!full)
        return h ? err_oom(e) : err_set(e, ERR_INTERNAL, "no control group to look for processes in");
    fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r = fd < 0 ? 0 : walk(fd, &p, 0, e);
    if (r < 0) {
        free(p.v);
        return r;
    }
    *ret = p.v;
    *ret_n = p.n;
    return 0;
}
