// SPDX-License-Identifier: Apache-2.0
/*
 * Copying a tree by descriptors: no path is resolved twice, no link is followed, no file system object other than those named by directory entries is
 * touched (rule R1). Owners, modes, times, extended attributes, hard links, symbolic links and special files come along.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/str.h"
#include "volume/volume-internal.h"

#define MAX_DEPTH 128 /* of folders in folders; each level holds three descriptors and some stack */
#define CHUNK (1 << 20)

struct copy {
    int root;          /* destination */
    struct map linked; /* "dev:ino" of files with several links -> path below root */
};

static int fail(struct err *e, const char *what, const char *path) {
    return err_errno(e, errno, "%s %s", what, path);
}

/* Names of attributes that belong to the overlay file system, not to the file. */
static bool private_xattr(const char *name) {
    return str_has_prefix(name, "trusted.overlay.") || str_has_prefix(name, "user.overlay.");
}

static int copy_xattrs(int from, int to, const char *path, struct err *e) {
    _cleanup_free_ char *list = NULL, *value = NULL;
    ssize_t n = flistxattr(from, NULL, 0);

    /* Hardly any file has attributes: nothing is allocated for the others. */
    if (n <= 0)
        return n == 0 || errno == EOPNOTSUPP ? 0 : fail(e, "list attributes of", path);
    list = malloc(LIMIT_XATTR_BYTES);
    value = malloc(LIMIT_XATTR_BYTES);
    if (!list || !value)
        return err_oom(e);
    n = flistxattr(from, list, LIMIT_XATTR_BYTES);
    if (n < 0)
        return fail(e, "list attributes of", path);
    for (const char *name = list; name < list + n; name += strlen(name) + 1) {
        ssize_t len;

        if (private_xattr(name))
            continue;
        len = fgetxattr(from, name, value, LIMIT_XATTR_BYTES);
        if (len < 0) {
            if (errno == ENODATA)
                continue;
            return fail(e, "read attribute of", path);
        }
        if (fsetxattr(to, name, value, (size_t)len, 0) < 0 && errno != EOPNOTSUPP)
            return fail(e, "set attribute of", path);
    }
    return 0;
}

/* Owner before mode: chown clears set-id bits. Attributes after both: they include capabilities, which chown clears too. */
static int set_meta(int from, int to, const struct stat *st, const char *path, struct err *e) {
    struct timespec times[2] = {st->st_atim, st->st_mtim};
    int r;

    if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0)
        return fail(e, "set owner and mode of", path);
    r = copy_xattrs(from, to, path, e);
    if (r < 0)
        return r;
    return futimens(to, times) < 0 ? fail(e, "set times of", path) : 0;
}

static int copy_bytes(int from, int to, const struct stat *st, const char *path, struct err *e) {
    _cleanup_free_ char *space = NULL;

    if (ioctl(to, FICLONE, from) == 0)
        return 0;
    for (off_t left = st->st_size; left > 0;) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t)left, 0);

        if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP))
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(e, "copy", path);
        if (n == 0)
            return 0;
        left -= n;
    }
    /* Whatever is left, for kernels and file systems that cannot do better; at the end this finds nothing. */
    space = malloc(CHUNK);
    if (!space)
        return err_oom(e);
    for (;;) {
        ssize_t n = read(from, space, CHUNK);
        int r;

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(e, "read", path);
        if (n == 0)
            return 0;
        r = full_write(to, space, (size_t)n);
        if (r < 0)
            return err_errno(e, r, "write %s", path);
    }
}

__attribute__((noinline)) static int copy_file(int from_dir, int to_dir, const char *name, const struct stat *st, const char *path, struct err *e) {
    _cleanup_close_ int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    _cleanup_close_ int to = -EBADF;
    struct stat now;
    int r;

    if (from < 0)
        return fail(e, "open", path);
    if (fstat(from, &now) < 0 || !S_ISREG(now.st_mode) || now.st_ino != st->st_ino)
        return err_set(e, ERR_INTERNAL, "%s changed while it was copied", path);
    to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        return fail(e, "create", path);
    r = copy_bytes(from, to, st, path, e);
    return r < 0 ? r : set_meta(from, to, st, path, e);
}

static int copy_link(int from_dir, int to_dir, const char *name, const struct stat *st, const char *path, struct err *e) {
    char target[LIMIT_ARCHIVE_LINK + 1];
    ssize_t n = readlinkat(from_dir, name, target, sizeof(target));

    if (n < 0 || (size_t)n >= sizeof(target))
        return fail(e, "read link", path);
    target[n] = 0;
    return symlinkat(target, to_dir, name) < 0 ? fail(e, "create link", path) : 0;
}

/* Things that are not opened: their owner, mode and times are set by name, which nobody else can change in a folder just made. */
/* Not inlined: its buffers must not weigh on the stack of the recursion. */
__attribute__((noinline)) static int copy_special(int from_dir, int to_dir, const char *name, const struct stat *st, const char *path,
                                                  struct err *e) {
    struct timespec times[2] = {st->st_atim, st->st_mtim};
    int r = 0;

    /* An overlay's mark for "deleted below" (device 0:0), when the source is a bare layer. */
    if (S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0))
        return 0;
    if (S_ISLNK(st->st_mode))
        r = copy_link(from_dir, to_dir, name, st, path, e);
    else if (mknodat(to_dir, name, st->st_mode & (S_IFMT | 07777), st->st_rdev) < 0)
        r = fail(e, "create", path);
    if (r < 0)
        return r;
    if (fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(e, "set owner of", path);
    if (!S_ISLNK(st->st_mode) && fchmodat(to_dir, name, st->st_mode & 07777, 0) < 0)
        return fail(e, "set mode of", path);
    return utimensat(to_dir, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? fail(e, "set times of", path) : 0;
}

/* 1: linked to a copy made before; 0: the first of its links, to be copied. */
static int try_hard_link(struct copy *c, int to_dir, const char *name, const struct stat *st, const char *path, struct err *e) {
    char key[48];
    const char *first;
    char *mine;

    if (st->st_nlink < 2 || S_ISDIR(st->st_mode))
        return 0;
    snprintf(key, sizeof(key), "%llx:%llx", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
    first = map_get(&c->linked, key);
    if (first) {
        if (linkat(c->root, first, to_dir, name, 0) < 0)
            return fail(e, "link", path);
        return 1;
    }
    mine = strdup(path);
    if (!mine || map_set(&c->linked, key, mine, NULL) < 0) {
        free(mine);
        return err_oom(e);
    }
    return 0;
}

static int copy_dir(struct copy *c, int from, int to, const char *path, unsigned depth, struct err *e);

static int copy_subdir(struct copy *c, int from_dir, int to_dir, const char *name, const struct stat *st, const char *path, unsigned depth,
                       struct err *e) {
    _cleanup_close_ int from = -EBADF, to = -EBADF;
    int r;

    if (depth >= MAX_DEPTH)
        return err_set(e, ERR_TOO_LARGE, "%s: folders are nested too deeply", path);
    from = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (from < 0)
        return fail(e, "open", path);
    if (mkdirat(to_dir, name, 0700) < 0)
        return fail(e, "create", path);
    to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (to < 0)
        return fail(e, "open", path);
    r = copy_dir(c, from, to, path, depth, e);
    return r < 0 ? r : set_meta(from, to, st, path, e);
}

static int copy_entry(struct copy *c, int from, int to, const char *name, const char *path, unsigned depth, struct err *e) {
    struct stat st;
    int r;

    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(e, "look at", path);
    r = try_hard_link(c, to, name, &st, path, e);
    if (r != 0)
        return r < 0 ? r : 0;
    if (S_ISDIR(st.st_mode))
        return copy_subdir(c, from, to, name, &st, path, depth + 1, e);
    if (S_ISREG(st.st_mode))
        return copy_file(from, to, name, &st, path, e);
    return copy_special(from, to, name, &st, path, e);
}

static int copy_dir(struct copy *c, int from, int to, const char *path, unsigned depth, struct err *e) {
    int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_closedir_ DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    struct dirent *ent;
    int r = 0;

    if (!d) {
        close_fd(copy);
        return fail(e, "open", *path ? path : "/");
    }
    while (r == 0 && (errno = 0, ent = readdir(d))) {
        char *below;

        if (streq(ent->d_name, ".") || streq(ent->d_name, ".."))
            continue;
        below = *path ? str_printf("%s/%s", path, ent->d_name) : strdup(ent->d_name);
        r = below ? copy_entry(c, from, to, ent->d_name, below, depth, e) : err_oom(e);
        free(below);
    }
    if (r == 0 && errno)
        r = fail(e, "read", *path ? path : "/");
    return r;
}

int volume_copy_tree(int src, int dst, struct err *e) {
    struct copy c = {.root = dst};
    /* src may be an O_PATH descriptor. */
    _cleanup_close_ int from = openat(src, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    int r;

    if (from < 0 || fstat(from, &st) < 0)
        return fail(e, "open", "/");
    r = copy_dir(&c, from, dst, "", 0, e);
    map_done_with(&c.linked, free);
    return r < 0 ? r : set_meta(from, dst, &st, "/", e);
}
