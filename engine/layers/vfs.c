// SPDX-License-Identifier: Apache-2.0
/* Plain copies: the fallback where overlayfs cannot be used. A layer is its parent's folder plus the staged changes, whiteouts carried out. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <linux/fs.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/str.h"
#include "layers/layers-internal.h"

#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"
#define DEPTH_MAX 2048

struct copier {
    struct map links;    /* inode → path below the target, for files with several links */
    int target;          /* root of the copy */
    const char *without; /* an entry at the top that is left out, or NULL */
    bool merging;        /* whiteout markers are carried out */
};

static void free_value(void *p) {
    free(p);
}

static int copy_bytes(int from, int to, int64_t size, const char *path, struct err *e) {
    if (size == 0 || ioctl(to, FICLONE, from) == 0)
        return 0;
    for (int64_t at = 0; at < size;) {
        off_t data = lseek(from, at, SEEK_DATA), hole;

        if (data < 0) /* only a hole is left */
            break;
        hole = lseek(from, data, SEEK_HOLE);
        if (hole < 0)
            hole = size;
        for (at = data; at < hole;) {
            loff_t in = at, out = at;
            ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(hole - at), 0);

            if (n < 0)
                return err_errno(e, errno, "copying %s", path);
            if (n == 0)
                return err_set(e, ERR_INTERNAL, "copying %s: it became shorter", path);
            at += n;
        }
    }
    return ftruncate(to, size) < 0 ? err_errno(e, errno, "copying %s", path) : 0;
}

static int copy_xattrs(int from_dir, int to_dir, const char *name, const char *path, struct err *e) {
    char names[LIMIT_XATTR_BYTES], value[LIMIT_XATTR_BYTES];
    ssize_t n, v;

    _cleanup_free_ char *source = str_printf("/proc/self/fd/%d/%s", from_dir, name), *target = str_printf("/proc/self/fd/%d/%s", to_dir, name);

    if (!source || !target)
        return err_oom(e);
    n = llistxattr(source, names, sizeof names);
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1) {
        if (str_has_prefix(names + at, "trusted.overlay.") && !streq(names + at, "trusted.overlay.opaque"))
            continue;
        v = lgetxattr(source, names + at, value, sizeof value);
        if (v >= 0 && lsetxattr(target, names + at, value, (size_t)v, 0) < 0 && errno != EOPNOTSUPP)
            return err_errno(e, errno, "copying attribute %s of %s", names + at, path);
    }
    return 0;
}

static int copy_looks(int from_dir, int to_dir, const char *name, const struct stat *st, const char *path, struct err *e) {
    struct timespec times[2] = {st->st_atim, st->st_mtim};
    int r;

    if (fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, errno, "chown %s", path);
    r = copy_xattrs(from_dir, to_dir, name, path, e);
    if (r < 0)
        return r;
    if (!S_ISLNK(st->st_mode) && fchmodat(to_dir, name, st->st_mode & 07777, 0) < 0)
        return err_errno(e, errno, "chmod %s", path);
    if (utimensat(to_dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, errno, "utimes %s", path);
    return 0;
}

static int copy_file(int from_dir, int to_dir, const char *name, const struct stat *st, const char *path, struct err *e) {
    _cleanup_close_ int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    _cleanup_close_ int to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (from < 0 || to < 0)
        return err_errno(e, errno, "copying %s", path);
    return copy_bytes(from, to, st->st_size, path, e);
}

static int copy_link(int from_dir, int to_dir, const char *name, const char *path, struct err *e) {
    char target[LIMIT_ARCHIVE_LINK + 1];
    ssize_t n = readlinkat(from_dir, name, target, sizeof target - 1);

    if (n < 0)
        return err_errno(e, errno, "copying %s", path);
    target[n] = 0;
    return symlinkat(target, to_dir, name) < 0 ? err_errno(e, errno, "copying %s", path) : 0;
}

/* A file whose inode was copied already becomes a link to that copy: 1 done, 0 not. */
static int copy_as_link(struct copier *c, const struct stat *st, int to_dir, const char *name, const char *path, struct err *e) {
    char key[48];
    const char *first;
    char *copy;

    if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
        return 0;
    snprintf(key, sizeof key, "%llx", (unsigned long long)st->st_ino);
    first = map_get(&c->links, key);
    if (first)
        return linkat(c->target, first, to_dir, name, 0) < 0 ? err_errno(e, errno, "copying %s", path) : 1;
    copy = strdup(path);
    if (!copy || map_set(&c->links, key, copy, NULL) < 0) {
        free(copy);
        return err_oom(e);
    }
    return 0;
}

static int copy_tree(struct copier *c, int from, int to, const char *path, int depth, struct err *e);

static int copy_entry(struct copier *c, int from, int to, const char *name, const char *path, int depth, struct err *e) {
    struct stat st, old;
    int r;

    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, errno, "copying %s", path);
    if (fstatat(to, name, &old, AT_SYMLINK_NOFOLLOW) == 0 && !(S_ISDIR(old.st_mode) && S_ISDIR(st.st_mode))) {
        r = fs_remove_tree_at(to, name, e);
        if (r < 0)
            return r;
    }
    r = copy_as_link(c, &st, to, name, path, e);
    if (r != 0)
        return r < 0 ? r : 0;
    if (S_ISREG(st.st_mode)) {
        r = copy_file(from, to, name, &st, path, e);
    } else if (S_ISLNK(st.st_mode)) {
        r = copy_link(from, to, name, path, e);
    } else if (S_ISDIR(st.st_mode)) {
        _cleanup_close_ int sub_from = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), sub_to = -EBADF;

        if (mkdirat(to, name, 0700) < 0 && errno != EEXIST)
            return err_errno(e, errno, "mkdir %s", path);
        sub_to = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        r = sub_from < 0 || sub_to < 0 ? err_errno(e, errno, "copying %s", path) : copy_tree(c, sub_from, sub_to, path, depth + 1, e);
    } else {
        r = mknodat(to, name, st.st_mode, st.st_rdev) < 0 ? err_errno(e, errno, "copying %s", path) : 0;
    }
    return r < 0 ? r : copy_looks(from, to, name, &st, path, e);
}

/* Empty a folder of what the layers below put there. */
static int empty_folder(int fd, struct err *e) {
    _cleanup_closedir_ DIR *dir = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct dirent *d;

    while (dir && (d = readdir(dir)))
        if (!streq(d->d_name, ".") && !streq(d->d_name, "..") && fs_remove_tree_at(fd, d->d_name, e) < 0)
            return -ERR_INTERNAL;
    return dir ? 0 : err_errno(e, errno, "opendir");
}

static int carry_out_whiteout(int to, const char *name, struct err *e) {
    const char *hidden = name + strlen(WHITEOUT);

    if (str_has_prefix(hidden, WHITEOUT))
        return 0;
    if (!*hidden || streq(hidden, ".") || streq(hidden, ".."))
        return err_set(e, ERR_INVALID, "archive: invalid whiteout %s", name);
    return fs_remove_tree_at(to, hidden, e);
}

static int copy_tree(struct copier *c, int from, int to, const char *path, int depth, struct err *e) {
    _cleanup_closedir_ DIR *dir = fdopendir(openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct dirent *d;
    int r = 0;

    if (!dir || depth > DEPTH_MAX)
        return err_errno(e, dir ? ELOOP : errno, "copying %s", path);
    /* The opaque marker first, then the whiteouts, then what is new: order within the folder must not matter. */
    if (c->merging && faccessat(from, OPAQUE, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        r = empty_folder(to, e);
    while (r == 0 && c->merging && (d = readdir(dir)))
        if (str_has_prefix(d->d_name, WHITEOUT))
            r = carry_out_whiteout(to, d->d_name, e);
    rewinddir(dir);
    while (r == 0 && (d = readdir(dir))) {
        _cleanup_free_ char *sub = NULL;

        if (streq(d->d_name, ".") || streq(d->d_name, "..") || (c->merging && str_has_prefix(d->d_name, WHITEOUT)))
            continue;
        if (depth == 0 && streq_ptr(d->d_name, c->without))
            continue;
        sub = str_printf("%s%s%s", path, *path ? "/" : "", d->d_name);
        r = sub ? copy_entry(c, from, to, d->d_name, sub, depth, e) : err_oom(e);
    }
    return r;
}

static int copy_into(const char *from_path, const char *to_path, const char *without, bool merging, struct err *e) {
    _cleanup_close_ int from = open(from_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_close_ int to = open(to_path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct copier c = {.target = to, .without = without, .merging = merging};
    int r;

    if (from < 0 || to < 0)
        return err_errno(e, errno, "copying %s to %s", from_path, to_path);
    r = copy_tree(&c, from, to, "", 0, e);
    map_done_with(&c.links, free_value);
    return r;
}

int vfs_copy_tree(const char *from, const char *to, const char *without, struct err *e) {
    if (mkdir(to, 0710) < 0)
        return err_errno(e, errno, "mkdir %s", to);
    return copy_into(from, to, without, false, e);
}

int vfs_merge(const char *parent_diff, const char *staged_diff, const char *target, struct err *e) {
    int r = 0;

    if (mkdir(target, 0755) < 0)
        return err_errno(e, errno, "mkdir %s", target);
    if (parent_diff)
        r = copy_into(parent_diff, target, NULL, false, e);
    if (r == 0 && staged_diff)
        r = copy_into(staged_diff, target, NULL, true, e);
    return r;
}
