// SPDX-License-Identifier: Apache-2.0
#include "container/root.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "kern/kern.h"
#include "monitor/client.h"

int ctr_root_open(struct launcher *launcher, const struct layers_rootfs *rootfs, int *ret_fd, struct err *e) {
    int fd;

    if (!streq(rootfs->driver, "vfs")) {
        fd = launcher_view(launcher, rootfs->upper, &rootfs->lowers, e);
    } else {
        fd = open(rootfs->merged, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            fd = err_errno(e, errno, "cannot open %s", rootfs->merged);
    }
    if (fd < 0)
        return fd;
    *ret_fd = fd;
    return 0;
}

int ctr_root_openat(int rootfd, const char *path, int flags) {
    return kern_open_in(&kern_linux, rootfd, path, flags | O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int ctr_root_read(int rootfd, const char *path, struct buf *ret, struct err *e) {
    _cleanup_close_ int fd = ctr_root_openat(rootfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd == -ENOENT || fd == -ENOTDIR) {
        fd = -EBADF;
        return 0;
    }
    if (fd < 0) {
        int r = fd;

        fd = -EBADF;
        return err_errno(e, r, "cannot open %s in the container", path);
    }
    if (fstat(fd, &st) < 0)
        return err_errno(e, errno, "cannot look at %s in the container", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INVALID, "%s in the container is not a regular file", path);
    if ((uint64_t)st.st_size > ret->max)
        return err_set(e, ERR_TOO_LARGE, "%s in the container is larger than %zu bytes", path, ret->max);
    for (;;) {
        void *room = buf_reserve(ret, KIB(16));
        ssize_t n;

        if (!room)
            return buf_check(ret, e);
        n = read(fd, room, KIB(16));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, errno, "cannot read %s in the container", path);
        if (n == 0)
            return 0;
        buf_commit(ret, (size_t)n);
    }
}
