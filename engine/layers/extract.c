// SPDX-License-Identifier: Apache-2.0
#include "layers/extract.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"

#define DIR_CACHE 8
#define TICK_BYTES (INT64_C(8) << 20)
#define WRITEBACK_BYTES (INT64_C(4) << 20)
#define WRITEBACK_LEAST (INT64_C(64) << 10) /* smaller files wait for the sync of the whole */
#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"

struct cached_dir {
    char *path;
    int fd;
    uint64_t used;
};

/* What a folder gets once everything is in it. */
struct late_dir {
    char *path;
    int64_t mtime_sec, atime_sec;
    uint32_t mtime_nsec, atime_nsec;
};

struct extractor {
    int root;
    enum whiteout_form form;
    const struct idmap *ids;
    int64_t unmapped; /* owner of the present entry that the map has no place for, or -1 */
    struct framing_writer *framing;
    struct cached_dir cache[DIR_CACHE];
    uint64_t clock;
    const char *base; /* last component of the entry being put in place; NULL while something else is looked up */
    struct late_dir *dirs;
    size_t n_dirs, cap_dirs;
    uint64_t *seen; /* open hash set of path hashes */
    size_t n_seen, cap_seen;
    extract_tick_fn tick;
    void *tick_arg;
    int64_t written, ticked;
    struct extract_result result;
};

static int openat_in_root(int root, const char *path, uint64_t flags, uint64_t mode) {
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

/* 1: new, 0: seen before. Two different names with one 64-bit hash would be refused wrongly: at 10 million names one chance in 370,000. */
static int seen_add(struct extractor *x, const char *path, struct err *e) {
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

static void cache_flush(struct extractor *x) {
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
        fd = openat_in_root(x->root, part, O_PATH | O_DIRECTORY, 0);
        if (fd < 0 && errno == ENOENT) {
            char *base = strrchr(part, '/');
            _cleanup_close_ int up = -EBADF;

            if (base)
                *base = 0;
            up = base ? openat_in_root(x->root, part, O_PATH | O_DIRECTORY, 0) : dup(x->root);
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

/* Descriptor (borrowed from the cache) of the folder `path`, made when missing. "" is the root. */
static int folder(struct extractor *x, const char *path, struct err *e) {
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
    fd = openat_in_root(x->root, path, O_PATH | O_DIRECTORY, 0);
    if (fd < 0 && errno == ENOENT) {
        int r = make_parents(x, path, e);

        if (r < 0)
            return r;
        fd = openat_in_root(x->root, path, O_PATH | O_DIRECTORY, 0);
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

static int remember_dir(struct extractor *x, const char *path, const struct tar_entry *t, struct err *e) {
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

/* ---- one entry ------------------------------------------------------------------------------------------------------------ */

static void times_of(const struct tar_entry *t, struct timespec ret[2]) {
    ret[1] = (struct timespec){t->mtime_sec, t->mtime_nsec};
    ret[0] = t->has_atime && t->atime_sec >= t->mtime_sec ? (struct timespec){t->atime_sec, t->atime_nsec} : ret[1];
}

/* Names an archive may not set: what overlayfs keeps to itself. */
static bool private_xattr(const char *name) {
    return str_has_prefix(name, "trusted.overlay.") || str_has_prefix(name, "user.overlay.") || streq(name, "trusted.overlay") ||
           streq(name, "user.overlay");
}

/* Capabilities of a file count in the user namespace whose root they name (capabilities(7), "File capability versioning"); without a name: in the machine's. */
static int set_xattr(const struct extractor *x, const char *base, const char *name, const char *value, size_t n) {
    char own[IDMAP_CAP_MAX];

    if (x->ids && streq(name, "security.capability")) {
        n = idmap_cap_out(x->ids, value, n, own);
        value = own;
    }
    return lsetxattr(base, name, value, n, 0);
}

static int set_xattrs(const struct extractor *x, const struct tar_entry *t, int dirfd, const char *base, const char *path, struct err *e) {
    if (t->n_xattrs == 0)
        return 0;
    /* Through /proc would need procfs in the cage; *xattrat() needs a new kernel. A folder descriptor plus fchdir and a bare name serves. */
    if (fchdir(dirfd) < 0)
        return err_errno(e, errno, "entering the parent of /%s", path);
    for (size_t i = 0; i < t->n_xattrs; i++) {
        const char *name = t->xattr_text + t->xattrs[i].name;

        if (private_xattr(name))
            continue;
        if (set_xattr(x, base, name, t->xattr_text + t->xattrs[i].value, t->xattrs[i].value_len) == 0)
            continue;
        if (errno == EOPNOTSUPP || (errno == EPERM && str_has_prefix(name, "user.")))
            continue;
        return err_errno(e, errno, "lsetxattr %s /%s", name, path);
    }
    return 0;
}

static int tick(struct extractor *x, bool force, struct err *e) {
    if (!x->tick || (!force && x->written - x->ticked < TICK_BYTES))
        return 0;
    x->ticked = x->written;
    return x->tick(x->tick_arg, x->written, e);
}

/* Files begin their way to the disk while the rest is still coming, so that the sync at the end finds little left to do. */
static void start_writeback(int fd, int64_t offset, int64_t before, int64_t now) {
    int64_t from = (before - offset) / WRITEBACK_BYTES, to = (now - offset) / WRITEBACK_BYTES;

    if (to > from)
        ignore_result(sync_file_range(fd, offset + from * WRITEBACK_BYTES, (to - from) * WRITEBACK_BYTES, SYNC_FILE_RANGE_WRITE) < 0);
}

/* Copy n bytes of the entry's data to fd at offset, and note them in the framing. */
static int copy_segment(struct extractor *x, struct tar_reader *r, int fd, const char *path, int64_t offset, int64_t n, const unsigned char **pending,
                        int64_t *n_pending, struct err *e) {
    int64_t at = offset;
    int k;

    while (at < offset + n) {
        int64_t part;
        ssize_t put;

        if (*n_pending == 0) {
            *n_pending = tar_reader_data(r, pending, e);
            if (*n_pending < 0)
                return (int)*n_pending;
            if (*n_pending == 0)
                return err_set(e, ERR_INVALID, "unexpected EOF");
        }
        part = MIN(*n_pending, offset + n - at);
        put = pwrite(fd, *pending, (size_t)part, at);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return err_errno(e, put < 0 ? errno : ENOSPC, "write /%s", path);
        *pending += put;
        *n_pending -= put;
        at += put;
        x->written += put;
        start_writeback(fd, offset, at - put, at);
        k = tick(x, false, e);
        if (k < 0)
            return k;
    }
    return framing_data(x->framing, offset, n, e);
}

static int new_file(const struct tar_entry *t, int dirfd, const char *base) {
    return openat(dirfd, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, t->mode);
}

/* Takes over fd. */
static int write_file(struct extractor *x, struct tar_reader *r, const struct tar_entry *t, int new_fd, int dirfd, const char *base, const char *path,
                      struct err *e) {
    const unsigned char *pending = NULL;
    int64_t n_pending = 0;
    struct timespec times[2];
    _cleanup_close_ int fd = new_fd;
    int k = 0;

    if (fd < 0)
        return err_errno(e, errno, "open /%s", path);
    if (t->data_size > 0)
        k = framing_file(x->framing, path, e);
    if (k == 0 && !t->sparse && t->data_size > 0)
        k = copy_segment(x, r, fd, path, 0, t->data_size, &pending, &n_pending, e);
    for (size_t i = 0; k == 0 && t->sparse && i < t->n_segments; i++)
        if (t->segments[i].length > 0)
            k = copy_segment(x, r, fd, path, t->segments[i].offset, t->segments[i].length, &pending, &n_pending, e);
    if (k < 0)
        return k;
    if (t->data_size >= WRITEBACK_LEAST)
        ignore_result(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE) < 0);
    if (t->sparse && ftruncate(fd, t->size) < 0)
        return err_errno(e, errno, "truncate /%s", path);
    x->result.size += t->size;
    /* Also where both are 0: a folder may hand on its group. */
    if (fchown(fd, (uid_t)t->uid, (gid_t)t->gid) < 0)
        return err_errno(e, errno, "failed to Lchown \"/%s\" for UID %lld, GID %lld", path, (long long)t->uid, (long long)t->gid);
    k = set_xattrs(x, t, dirfd, base, path, e);
    if (k < 0)
        return k;
    /* Owner changes and writes drop set-id bits: the mode comes last. */
    if ((t->mode & 07000) && fchmod(fd, t->mode) < 0)
        return err_errno(e, errno, "chmod /%s", path);
    times_of(t, times);
    if (futimens(fd, times) < 0)
        return err_errno(e, errno, "utimes /%s", path);
    return 0;
}

/* Owner, mode, attributes and times of anything but files and folders. */
static int finish_special(const struct extractor *x, const struct tar_entry *t, int dirfd, const char *base, const char *path, struct err *e) {
    struct timespec times[2];
    int k;

    if (fchownat(dirfd, base, (uid_t)t->uid, (gid_t)t->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, errno, "failed to Lchown \"/%s\" for UID %lld, GID %lld", path, (long long)t->uid, (long long)t->gid);
    k = set_xattrs(x, t, dirfd, base, path, e);
    if (k < 0)
        return k;
    if (t->type != TAR_SYMLINK && fchmodat(dirfd, base, t->mode, 0) < 0)
        return err_errno(e, errno, "chmod /%s", path);
    times_of(t, times);
    if (utimensat(dirfd, base, times, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, errno, "utimes /%s", path);
    return 0;
}

static int make_dir(struct extractor *x, const struct tar_entry *t, int dirfd, const char *base, const char *path, struct err *e) {
    int k;

    if (mkdirat(dirfd, base, 0700) < 0 && errno != EEXIST)
        return err_errno(e, errno, "mkdir /%s", path);
    if (fchownat(dirfd, base, (uid_t)t->uid, (gid_t)t->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, errno, "failed to Lchown \"/%s\" for UID %lld, GID %lld", path, (long long)t->uid, (long long)t->gid);
    k = set_xattrs(x, t, dirfd, base, path, e);
    if (k < 0)
        return k;
    if (fchmodat(dirfd, base, t->mode, 0) < 0)
        return err_errno(e, errno, "chmod /%s", path);
    return remember_dir(x, path, t, e);
}

static int make_hardlink(struct extractor *x, const struct tar_entry *t, int dirfd, const char *base, const char *path, struct err *e) {
    _cleanup_free_ char *target = malloc(strlen(t->link) + 1), *whole = NULL;
    char *name;
    struct stat st;
    int from;

    if (!target)
        return err_oom(e);
    extract_clean_path(t->link, target);
    whole = strdup(target);
    if (!whole)
        return err_oom(e);
    name = strrchr(target, '/');
    if (name)
        *name++ = 0;
    x->base = NULL;
    from = folder(x, name ? target : "", e);
    if (from < 0)
        return from;
    /* The cache may have dropped the folder of the new name meanwhile. */
    if (name) {
        _cleanup_free_ char *parent = strdup(path);
        char *slash = parent ? strrchr(parent, '/') : NULL;

        if (!parent)
            return err_oom(e);
        if (slash)
            *slash = 0;
        dirfd = folder(x, slash ? parent : "", e);
        if (dirfd < 0)
            return dirfd;
    } else {
        name = target;
    }
    if (linkat(from, name, dirfd, base, 0) < 0)
        return err_errno(e, errno, "link /%s /%s", whole, path);
    /* The entry's own attributes apply to the shared file, as in the reference. */
    if (fstatat(dirfd, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, errno, "lstat /%s", path);
    if (S_ISLNK(st.st_mode))
        return 0;
    return finish_special(x, t, dirfd, base, path, e);
}

static int make_node(const struct extractor *x, const struct tar_entry *t, int dirfd, const char *base, const char *path, struct err *e) {
    mode_t kind = t->type == TAR_CHAR ? S_IFCHR : t->type == TAR_BLOCK ? S_IFBLK : S_IFIFO;

    if (t->dev_major < 0 || t->dev_major > 0xfff || t->dev_minor < 0 || t->dev_minor > 0xfffff)
        return err_set(e, ERR_INVALID, "archive: device number out of range: /%s", path);
    if (mknodat(dirfd, base, kind | (t->mode & 07777), kind == S_IFIFO ? 0 : makedev((unsigned)t->dev_major, (unsigned)t->dev_minor)) < 0)
        return err_errno(e, errno, "mknod /%s", path);
    return finish_special(x, t, dirfd, base, path, e);
}

static int make_whiteout(struct extractor *x, const struct tar_entry *t, int dirfd, const char *base, const char *path, struct err *e) {
    const char *hidden = base + strlen(WHITEOUT);

    if (x->form == WHITEOUT_FILE) {
        _cleanup_close_ int fd = openat(dirfd, base, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

        return fd < 0 ? err_errno(e, errno, "open /%s", path) : 0;
    }
    if (streq(base, OPAQUE)) {
        if (fchdir(dirfd) < 0 || setxattr(".", "trusted.overlay.opaque", "y", 1, 0) < 0)
            return err_errno(e, errno, "setting opaque on the folder of /%s", path);
        return 0;
    }
    if (str_has_prefix(hidden, WHITEOUT)) /* left over from aufs; means nothing */
        return 0;
    /* A folder cannot hide itself or the one above it. */
    if (!*hidden || streq(hidden, ".") || streq(hidden, "..")) {
        char clean[LIMIT_ARCHIVE_PATH + 4];
        _cleanup_free_ char *target = str_printf("%.*s/%s", (int)(strlen(path) - strlen(base)), path, hidden);

        if (!target)
            return err_oom(e);
        extract_clean_path(target, clean);
        return err_set(e, ERR_INVALID, "failed to mknod(\"/%s\", S_IFCHR, 0): file exists", clean);
    }
    if (mknodat(dirfd, hidden, S_IFCHR, makedev(0, 0)) < 0 && errno != EEXIST)
        return err_errno(e, errno, "mknod /%s", path);
    return 0;
}

/* Whatever is there already goes, except that folders merge: 1 when the caller must remove a folder, 2 when a link went. */
static int make_room(const struct tar_entry *t, int dirfd, const char *base, const char *path, struct err *e) {
    struct stat st;

    if (fstatat(dirfd, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : err_errno(e, errno, "lstat /%s", path);
    if (S_ISDIR(st.st_mode) && t->type == TAR_DIR)
        return 0;
    if (S_ISDIR(st.st_mode))
        return 1;
    if (unlinkat(dirfd, base, 0) < 0)
        return err_errno(e, errno, "unlink /%s", path);
    if (S_ISLNK(st.st_mode))
        return 2;
    return 0;
}

/* What the entry's owners are on the machine. */
static void map_owner(struct extractor *x, struct tar_entry *t) {
    uint32_t uid = 0, gid = 0;

    x->unmapped = -1;
    if (!x->ids)
        return;
    if (t->uid < 0 || t->uid > UINT32_MAX || !id_list_out(&x->ids->uids, (uint32_t)t->uid, &uid))
        x->unmapped = t->uid;
    else if (t->gid < 0 || t->gid > UINT32_MAX || !id_list_out(&x->ids->gids, (uint32_t)t->gid, &gid))
        x->unmapped = t->gid;
    t->uid = uid;
    t->gid = gid;
}

static bool owner_ok(const struct extractor *x, const struct tar_entry *t) {
    return x->unmapped < 0 && t->uid >= 0 && t->uid < UINT32_MAX && t->gid >= 0 && t->gid < UINT32_MAX;
}

static int place(struct extractor *x, struct tar_reader *r, const struct tar_entry *t, char *path, struct err *e) {
    char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    int dirfd, k;

    x->base = base;
    if (slash)
        *slash = 0;
    dirfd = folder(x, slash ? path : "", e);
    if (slash)
        *slash = '/';
    if (dirfd < 0)
        return dirfd;
    /* The usual case without a look at what is there: nothing is. */
    if (t->type == TAR_FILE && !str_has_prefix(base, WHITEOUT) && owner_ok(x, t)) {
        int fd = new_file(t, dirfd, base);

        if (fd >= 0 || errno != EEXIST)
            return write_file(x, r, t, fd, dirfd, base, path, e);
    }
    k = make_room(t, dirfd, base, path, e);
    if (k < 0)
        return k;
    if (k > 0) { /* a folder or a link vanished: cached descriptors may point into it */
        cache_flush(x);
        if (slash)
            *slash = 0;
        dirfd = folder(x, slash ? path : "", e);
        if (slash)
            *slash = '/';
        if (dirfd < 0)
            return dirfd;
        if (k == 1 && fs_remove_tree_at(dirfd, base, e) < 0)
            return -ERR_INTERNAL;
    }
    if (str_has_prefix(base, WHITEOUT))
        return make_whiteout(x, t, dirfd, base, path, e);
    if (x->unmapped >= 0)
        return err_set(e, ERR_INTERNAL, "Container ID %lld cannot be mapped to a host ID", (long long)x->unmapped);
    if (!owner_ok(x, t))
        return err_set(e, ERR_INVALID, "archive: owner %lld:%lld of /%s is out of range", (long long)t->uid, (long long)t->gid, path);
    switch (t->type) {
    case TAR_FILE:
        return write_file(x, r, t, new_file(t, dirfd, base), dirfd, base, path, e);
    case TAR_DIR:
        return make_dir(x, t, dirfd, base, path, e);
    case TAR_HARDLINK:
        return make_hardlink(x, t, dirfd, base, path, e);
    case TAR_SYMLINK:
        if (symlinkat(t->link, dirfd, base) < 0)
            return err_errno(e, errno, "symlink %s /%s", t->link, path);
        x->result.size += (int64_t)strlen(t->link);
        return finish_special(x, t, dirfd, base, path, e);
    case TAR_CHAR:
    case TAR_BLOCK:
    case TAR_FIFO:
        return make_node(x, t, dirfd, base, path, e);
    default:
        return err_set(e, ERR_INVALID, "unhandled tar header type %d", t->type_flag);
    }
}

static int finish_dirs(struct extractor *x, struct err *e) {
    /* Deepest last was first made: going backwards keeps parents' times right even where filling a child touched them. */
    for (size_t i = x->n_dirs; i-- > 0;) {
        const struct late_dir *d = &x->dirs[i];
        struct timespec times[2] = {{d->atime_sec, d->atime_nsec}, {d->mtime_sec, d->mtime_nsec}};
        _cleanup_close_ int fd = openat_in_root(x->root, d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) /* replaced by a later entry */
            continue;
        if (fd < 0 || futimens(fd, times) < 0)
            return err_errno(e, errno, "utimes /%s", d->path);
    }
    return 0;
}

static void extractor_done(struct extractor *x) {
    cache_flush(x);
    for (size_t i = 0; i < x->n_dirs; i++)
        free(x->dirs[i].path);
    free(x->dirs);
    free(x->seen);
}

int extract_layer(struct tar_reader *r, const struct extract_how *how, struct framing_writer *w, extract_tick_fn tick_fn, void *tick_arg,
                  struct extract_result *ret, struct err *e) {
    __attribute__((cleanup(extractor_done))) struct extractor x = {
        .root = how->dir, .form = how->form, .ids = how->ids, .framing = w, .tick = tick_fn, .tick_arg = tick_arg};
    const struct tar_entry *t;
    int k;

    for (int i = 0; i < DIR_CACHE; i++)
        x.cache[i].fd = -EBADF;
    while ((k = tar_reader_next(r, &t, e)) > 0) {
        char path[LIMIT_ARCHIVE_PATH + 1];
        struct tar_entry own = *t;

        x.result.entries++;
        if (t->type == TAR_GLOBAL)
            continue;
        if (strlen(t->name) > LIMIT_ARCHIVE_PATH)
            return err_set(e, ERR_TOO_LARGE, "archive: path longer than %d bytes", LIMIT_ARCHIVE_PATH);
        extract_clean_path(t->name, path);
        k = seen_add(&x, path, e);
        if (k < 0)
            return k;
        if (k == 0)
            return err_set(e, ERR_INVALID, "duplicates of file paths not supported");
        if (!*path)
            continue; /* the root itself keeps what the driver gave it */
        map_owner(&x, &own);
        k = place(&x, r, &own, path, e);
        if (k < 0)
            return k;
    }
    if (k == 0)
        k = tar_reader_drain(r, e);
    if (k == 0)
        k = finish_dirs(&x, e);
    if (k == 0)
        k = tick(&x, true, e);
    if (k == 0)
        *ret = x.result;
    return k;
}
