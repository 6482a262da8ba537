// SPDX-License-Identifier: Apache-2.0
#include "container/root.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "kern/kern.h"

/* One lower at a time where the kernel has "lowerdir+" (6.5), else all in one text, which it cuts at 256 bytes. */
static int overlay_lowers(const struct kern *k, int fs, const struct layers_rootfs *rootfs) {
    _cleanup_buf_ struct buf all = BUF_INIT(KIB(64));
    int r = k->fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir+", rootfs->upper, 0);

    if (r >= 0) {
        for (size_t i = 0; r >= 0 && i < rootfs->lowers.n; i++)
            r = k->fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir+", rootfs->lowers.v[i], 0);
        return r;
    }
    buf_adds(&all, rootfs->upper);
    for (size_t i = 0; i < rootfs->lowers.n; i++)
        buf_addf(&all, ":%s", rootfs->lowers.v[i]);
    if (!buf_ok(&all))
        return -ENOMEM;
    return k->fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", buf_str(&all), 0);
}

int ctr_root_open(const struct layers_rootfs *rootfs, int *ret_fd, struct err *e) {
    const struct kern *k = &kern_linux;
    _cleanup_close_ int fs = -EBADF, fd = -EBADF;
    int r;

    if (streq(rootfs->driver, "vfs")) {
        fd = open(rootfs->merged, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return err_errno(e, errno, "cannot open %s", rootfs->merged);
        *ret_fd = TAKE_FD(fd);
        return 0;
    }
    fs = k->fsopen("overlay", FSOPEN_CLOEXEC);
    if (fs < 0)
        return err_errno(e, fs, "cannot look into the container's layers");
    r = overlay_lowers(k, fs, rootfs);
    if (r >= 0)
        r = k->fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (r < 0)
        return err_errno(e, r, "cannot look into the container's layers");
    fd = k->fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (fd < 0)
        return err_errno(e, fd, "cannot look into the container's layers");
    *ret_fd = TAKE_FD(fd);
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
