// SPDX-License-Identifier: Apache-2.0
/* What entries become. Sections: one entry; all of them. Where they go: extract-paths.c. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "layers/extract-internal.h"

#define TICK_BYTES (INT64_C(8) << 20)
#define WRITEBACK_BYTES (INT64_C(4) << 20)
#define WRITEBACK_LEAST (INT64_C(64) << 10) /* smaller files wait for the sync of the whole */
#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"

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
        put = pwrite(fd, *pending, MIN((size_t)part, FS_WRITE_AT_ONCE), at);
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
    struct stat st;
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
    /* A look first: it is nearly always root's already, but a folder may hand on its group. */
    if ((fstat(fd, &st) < 0 || st.st_uid != (uid_t)t->uid || st.st_gid != (gid_t)t->gid) && fchown(fd, (uid_t)t->uid, (gid_t)t->gid) < 0)
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
    return extract_late_dir(x, path, t, e);
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
    from = extract_folder(x, name ? target : "", e);
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
        dirfd = extract_folder(x, slash ? parent : "", e);
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
    dirfd = extract_folder(x, slash ? path : "", e);
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
        extract_forget_folders(x);
        if (slash)
            *slash = 0;
        dirfd = extract_folder(x, slash ? path : "", e);
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

/* ---- all of them -------------------------------------------------------------------------------------------------------- */

static void extractor_done(struct extractor *x) {
    extract_forget_folders(x);
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
        k = extract_seen(&x, path, e);
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
        k = extract_finish_dirs(&x, e);
    if (k == 0)
        k = tick(&x, true, e);
    if (k == 0)
        *ret = x.result;
    return k;
}
