// SPDX-License-Identifier: Apache-2.0
/* Where entries go. Sections: paths; duplicates; folders. */
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "layers/extract-internal.h"

/* ---- paths -------------------------------------------------------------------------------------------------------------- */

/* openat2(2) below the root, whatever links say. */
static int open_below(int root, const char *path, uint64_t flags, uint64_t mode) {
    struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    int fd;

    do
        fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    while (fd < 0 && errno == EAGAIN);
    return fd;
}

void extract_clean_path(const char *name, char *out) {
    const char *p = name;
    size_t n = 0;

    while (*p) {
        const char *end = strchrnul(p, '/');
        size_t len = (size_t)(end - p);

        if (len == 2 && p[0] == '.' && p[1] == '.') {
            while (n > 0 && out[n - 1] != '/')
                n--;
            if (n > 0)
                n--;
        } else if (len > 0 && !(len == 1 && p[0] == '.')) {
            if (n > 0)
                out[n++] = '/';
            memcpy(out + n, p, len);
            n += len;
        }
        p = *end ? end + 1 : end;
    }
    out[n] = 0;
}

/* ---- duplicates --------------------------------------------------------------------------------------------------------- */

static uint64_t hash_path(const char *s) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *s; s++) {
        h ^= (unsigned char)*s;
        h *= UINT64_C(0x100000001b3);
        h ^= h >> 29;
    }
    h *= UINT64_C(0x9e3779b97f4a7c15);
    h ^= h >> 32;
    return h ? h : 1;
}

static void seen_put(uint64_t *set, size_t cap, uint64_t h) {
    size_t i = h & (cap - 1);

    while (set[i])
        i = (i + 1) & (cap - 1);
    set[i] = h;
}

int extract_seen(struct extractor *x, const char *path, struct err *e) {
    uint64_t h = hash_path(path);

    if (x->n_seen * 2 >= x->cap_seen) {
        size_t cap = x->cap_seen ? x->cap_seen * 2 : 1024;
        uint64_t *grown = calloc(cap, sizeof *grown);

        if (!grown)
            return err_oom(e);
        for (size_t i = 0; i < x->cap_seen; i++)
            if (x->seen[i])
                seen_put(grown, cap, x->seen[i]);
        free(x->seen);
        x->seen = grown;
        x->cap_seen = cap;
    }
    for (size_t i = h & (x->cap_seen - 1); x->seen[i]; i = (i + 1) & (x->cap_seen - 1))
        if (x->seen[i] == h)
            return 0;
    seen_put(x->seen, x->cap_seen, h);
    x->n_seen++;
    return 1;
}

/* ---- folders ------------------------------------------------------------------------------------------------------------ */

void extract_forget_folders(struct extractor *x) {
    for (int i = 0; i < DIR_CACHE; i++) {
        free(x->cache[i].path);
        x->cache[i].path = NULL;
        x->cache[i].fd = close_fd(x->cache[i].fd);
    }
}

static int give_root(const struct extractor *x, int dir, const char *name) {
    return x->ids ? fchownat(dir, name, x->ids->root_uid, x->ids->root_gid, AT_SYMLINK_NOFOLLOW) : 0;
}

/* Make the missing folders of a path, one component after the other, each resolved below the root. */
static int make_parents(struct extractor *x, const char *path, struct err *e) {
    _cleanup_free_ char *part = strdup(path);

    if (!part)
        return err_oom(e);
    for (char *slash = part;; slash++) {
        slash = strchrnul(slash, '/');
        char kept = *slash;
        _cleanup_close_ int fd = -EBADF;

        *slash = 0;
        fd = open_below(x->root, part, O_PATH | O_DIRECTORY, 0);
        if (fd < 0 && errno == ENOENT) {
            char *base = strrchr(part, '/');
            _cleanup_close_ int up = -EBADF;

            if (base)
                *base = 0;
            up = base ? open_below(x->root, part, O_PATH | O_DIRECTORY, 0) : dup(x->root);
            if (base)
                *base = '/';
            if (up < 0 || mkdirat(up, base ? base + 1 : part, 0755) < 0 || give_root(x, up, base ? base + 1 : part) < 0) {
                /* Something is there that leads nowhere: what was to be put into it cannot be. */
                if (up >= 0 && errno == EEXIST && x->base)
                    return err_errno(e, ENOENT, "open /%s/%s", path, x->base);
                return err_errno(e, errno, "mkdir /%s", part);
            }
        } else if (fd < 0) {
            return err_errno(e, errno, "mkdir /%s", part);
        }
        *slash = kept;
        if (!kept)
            return 0;
    }
}

int extract_folder(struct extractor *x, const char *path, struct err *e) {
    struct cached_dir *victim = &x->cache[0];
    char *copy;
    int fd;

    if (!*path)
        return x->root;
    for (int i = 0; i < DIR_CACHE; i++) {
        struct cached_dir *c = &x->cache[i];

        if (c->path && streq(c->path, path)) {
            c->used = ++x->clock;
            return c->fd;
        }
        if (c->used < victim->used)
            victim = c;
    }
    fd = open_below(x->root, path, O_PATH | O_DIRECTORY, 0);
    if (fd < 0 && errno == ENOENT) {
        int r = make_parents(x, path, e);

        if (r < 0)
            return r;
        fd = open_below(x->root, path, O_PATH | O_DIRECTORY, 0);
    }
    if (fd < 0)
        return err_errno(e, errno, "mkdir /%s", path);
    copy = strdup(path);
    if (!copy) {
        close_fd(fd);
        return err_oom(e);
    }
    free(victim->path);
    close_fd(victim->fd);
    *victim = (struct cached_dir){copy, fd, ++x->clock};
    return fd;
}

int extract_late_dir(struct extractor *x, const char *path, const struct tar_entry *t, struct err *e) {
    if (x->n_dirs == x->cap_dirs) {
        size_t cap = x->cap_dirs ? x->cap_dirs * 2 : 64;
        struct late_dir *grown = reallocarray(x->dirs, cap, sizeof *grown);

        if (!grown)
            return err_oom(e);
        x->dirs = grown;
        x->cap_dirs = cap;
    }
    x->dirs[x->n_dirs] = (struct late_dir){strdup(path), t->mtime_sec, t->atime_sec, t->mtime_nsec, t->atime_nsec};
    if (!x->dirs[x->n_dirs].path)
        return err_oom(e);
    if (!t->has_atime || t->atime_sec < t->mtime_sec) {
        x->dirs[x->n_dirs].atime_sec = t->mtime_sec;
        x->dirs[x->n_dirs].atime_nsec = t->mtime_nsec;
    }
    x->n_dirs++;
    return 0;
}

int extract_finish_dirs(struct extractor *x, struct err *e) {
    /* Deepest last was first made: going backwards keeps parents' times right even where filling a child touched them. */
    for (size_t i = x->n_dirs; i-- > 0;) {
        const struct late_dir *d = &x->dirs[i];
        struct timespec times[2] = {{d->atime_sec, d->atime_nsec}, {d->mtime_sec, d->mtime_nsec}};
        _cleanup_close_ int fd = open_below(x->root, d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) /* replaced by a later entry */
            continue;
        if (fd < 0 || futimens(fd, times) < 0)
            return err_errno(e, errno, "utimes /%s", d->path);
    }
    return 0;
}
