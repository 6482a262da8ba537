// SPDX-License-Identifier: Apache-2.0
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

#define TREE_DEPTH_MAX 1024
#define TREE_DEPTH_FLAT 64

int full_write(int fd, const void *p, size_t n) {
    const char *at = p;

    while (n > 0) {
        ssize_t w = write(fd, at, n);

        if (w < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        at += w;
        n -= (size_t)w;
    }
    return 0;
}

int full_read(int fd, void *p, size_t n) {
    char *at = p;

    while (n > 0) {
        ssize_t r = read(fd, at, n);

        if (r < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (r == 0)
            return -ENODATA;
        at += r;
        n -= (size_t)r;
    }
    return 0;
}

bool fs_exists(const char *path) {
    return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int fs_mkdir_p(const char *path, mode_t mode, struct err *e) {
    _cleanup_free_ char *copy = NULL;

    if (mkdir(path, mode) == 0 || (errno == EEXIST && fs_exists(path)))
        return 0;
    if (errno != ENOENT)
        return err_errno(e, errno, "mkdir %s", path);
    copy = strdup(path);
    if (!copy)
        return err_oom(e);
    for (char *p = copy + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = 0;
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return err_errno(e, errno, "mkdir %s", copy);
        *p = '/';
    }
    if (mkdir(copy, mode) < 0 && errno != EEXIST)
        return err_errno(e, errno, "mkdir %s", path);
    return 0;
}

int fs_read_file_at(int dirfd, const char *path, struct buf *ret, struct err *e) {
    _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd < 0)
        return err_errno(e, errno, "open %s", path);
    if (fstat(fd, &st) < 0)
        return err_errno(e, errno, "stat %s", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INVALID, "%s is not a regular file", path);
    for (;;) {
        size_t want = st.st_size > 0 && (size_t)st.st_size >= ret->len ? (size_t)st.st_size - ret->len + 1 : 4096;
        size_t room = ret->max - ret->len;
        char *to;
        ssize_t n;

        if (room == 0) {
            char one;

            n = read(fd, &one, 1);
            if (n == 0)
                return 0;
            return err_set(e, ERR_TOO_LARGE, "%s is larger than the limit of %zu bytes", path, ret->max);
        }
        want = want < room ? want : room;
        to = buf_reserve(ret, want);
        if (!to)
            return err_oom(e);
        n = read(fd, to, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, errno, "read %s", path);
        buf_commit(ret, (size_t)n);
        if (n == 0)
            return 0;
    }
}

int fs_read_file(const char *path, struct buf *ret, struct err *e) {
    return fs_read_file_at(AT_FDCWD, path, ret, e);
}

int fs_write_knob(const char *path, const char *value, struct err *e) {
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return err_errno(e, errno, "open %s", path);
    if (write(fd, value, strlen(value)) < 0)
        return err_errno(e, errno, "write %s to %s", value, path);
    return 0;
}

int fs_sync_dir(const char *path, struct err *e) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return err_errno(e, errno, "open %s", path);
    if (fsync(fd) < 0)
        return err_errno(e, errno, "sync %s", path);
    return 0;
}

static int replace(const char *path, const void *data, size_t n, mode_t mode, bool sync, struct err *e) {
    _cleanup_free_ char *tmp = str_printf("%s.tmp-XXXXXX", path), *dir = NULL;
    _cleanup_close_ int fd = -EBADF;
    char *slash;
    int r;

    if (!tmp)
        return err_oom(e);
    fd = mkostemp(tmp, O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno, "create a temporary file beside %s", path);
    r = full_write(fd, data, n);
    if (r == 0 && fchmod(fd, mode) < 0)
        r = -errno;
    if (r == 0 && sync && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && rename(tmp, path) < 0)
        r = -errno;
    if (r < 0) {
        unlink(tmp);
        return err_errno(e, r, "write %s", path);
    }
    if (!sync)
        return 0;
    dir = strdup(path);
    if (!dir)
        return err_oom(e);
    slash = strrchr(dir, '/');
    if (!slash)
        return fs_sync_dir(".", e);
    slash[slash == dir] = 0;
    return fs_sync_dir(dir, e);
}

int fs_replace_file(const char *path, const void *data, size_t n, mode_t mode, struct err *e) {
    return replace(path, data, n, mode, true, e);
}

int fs_replace_file_volatile(const char *path, const void *data, size_t n, mode_t mode, struct err *e) {
    return replace(path, data, n, mode, false, e);
}

/* A tree that is being removed. What lies deep in it is moved to its top first: neither stack nor descriptors limit how deep it may be. */
struct removal {
    int top;
    dev_t dev;
    unsigned moved; /* folders, so far */
};

static int move_to_top(struct removal *rm, int dir, const char *name) {
    for (;;) {
        char to[32];

        snprintf(to, sizeof to, ".removed-%u", rm->moved++);
        if (renameat2(dir, name, rm->top, to, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno != EEXIST)
            return -errno;
    }
}

static int empty_dir(struct removal *rm, int fd, int depth, struct err *e);

/* A folder that is not empty, or the better part of it: what was moved to the top is for another pass. */
static int remove_full(struct removal *rm, int dir, const char *name, int depth, struct err *e) {
    struct stat st;
    int sub, r;

    sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (sub < 0)
        return err_errno(e, errno, "open folder %s", name);
    if (fstat(sub, &st) < 0 || st.st_dev != rm->dev) {
        close_fd(sub);
        return err_set(e, ERR_INTERNAL, "%s is another file system (still mounted); it is not removed", name);
    }
    if (depth % TREE_DEPTH_FLAT == 0 && move_to_top(rm, dir, name) == 0) {
        close_fd(sub);
        return 0;
    }
    r = empty_dir(rm, sub, depth, e);
    if (r < 0)
        return err_wrap(e, "%s", name);
    return unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? err_errno(e, errno, "remove folder %s", name) : 0;
}

/* fd is consumed. Entries of another device (a mount) are refused, not entered. */
static int empty_dir(struct removal *rm, int fd, int depth, struct err *e) {
    _cleanup_closedir_ DIR *d = fdopendir(fd);
    struct dirent *de;

    if (!d) {
        int r = err_errno(e, errno, "read the folder");

        close_fd(fd);
        return r;
    }
    if (depth > TREE_DEPTH_MAX) /* of a file system that does not move folders */
        return err_set(e, ERR_INTERNAL, "folder tree is deeper than %d levels", TREE_DEPTH_MAX);
    while ((errno = 0, de = readdir(d))) {
        const char *name = de->d_name;
        int r;

        if (streq(name, ".") || streq(name, ".."))
            continue;
        if (de->d_type != DT_DIR) {
            if (unlinkat(dirfd(d), name, 0) == 0 || errno == ENOENT)
                continue;
            if (errno != EISDIR)
                return err_errno(e, errno, "remove %s", name);
        }
        if (unlinkat(dirfd(d), name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            continue;
        if (errno != ENOTEMPTY && errno != EEXIST)
            return err_errno(e, errno, "remove folder %s", name);
        r = remove_full(rm, dirfd(d), name, depth + 1, e);
        if (r < 0)
            return r;
    }
    if (errno)
        return err_errno(e, errno, "read the folder");
    return 0;
}

/* Pass by pass, until nothing was moved. */
static int empty_tree(int fd, struct err *e) {
    struct removal rm = {.top = fd};
    struct stat st;
    unsigned before;
    int r;

    if (fstat(fd, &st) < 0)
        return err_errno(e, errno, "stat the folder");
    rm.dev = st.st_dev;
    do {
        int pass = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        before = rm.moved;
        r = pass < 0 ? err_errno(e, errno, "open the folder") : empty_dir(&rm, pass, 0, e);
    } while (r == 0 && rm.moved != before);
    return r;
}

int fs_remove_tree_at(int dirfd, const char *name, struct err *e) {
    _cleanup_close_ int fd = -EBADF;

    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return err_errno(e, errno, "remove %s", name);
    fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, errno, "open %s", name);
    if (empty_tree(fd, e) < 0)
        return err_wrap(e, "%s", name);
    if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return err_errno(e, errno, "remove folder %s", name);
    return 0;
}

int fs_remove_tree(const char *path, struct err *e) {
    return fs_remove_tree_at(AT_FDCWD, path, e);
}
