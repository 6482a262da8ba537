// SPDX-License-Identifier: Apache-2.0
/* Terminals (R5): the master comes from our own devpts, the slave from the master, never from a name in /dev/pts. */
#include "oci/exec-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>

#include "base/cleanup.h"

static int open_ptmx(struct child *c) {
    struct statfs fs;
    struct stat st;
    int fd;

    if (c->devpts >= 0)
        fd = kern_open_in(c->k, c->devpts, "ptmx", O_RDWR | O_NOCTTY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    else
        fd = kern_open_in(c->k, c->root, "dev/pts/ptmx", O_RDWR | O_NOCTTY, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2) || fstatfs(fd, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC) {
        close_fd(fd);
        return -ENOTTY;
    }
    return fd;
}

static void send_master(struct child *c, int master) {
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
    char type = SYNC_PTY;
    struct iovec iov = {&type, 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);

    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &master, sizeof master);
    if (sendmsg(c->sync, &m, MSG_NOSIGNAL) < 0)
        child_fail_errno(c, errno, "error during container init: sending the terminal");
}

void child_console(struct child *c, const struct plan_op *op) {
    struct winsize size = {.ws_row = (unsigned short)op->i[0], .ws_col = (unsigned short)op->i[1]};
    _cleanup_close_ int master = open_ptmx(c);
    int unlock = 0;

    if (master < 0)
        child_fail_errno(c, master, "error during container init: open /dev/pts/ptmx");
    if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
        child_fail_errno(c, errno, "error during container init: unlocking the terminal");
    c->pty_slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (c->pty_slave < 0)
        child_fail_errno(c, errno, "error during container init: opening the terminal");
    if (op->i[0] > 0 && op->i[1] > 0)
        ignore_result(ioctl(master, TIOCSWINSZ, &size));
    if (op->i[2] > 0)
        ignore_result(fchown(c->pty_slave, (uid_t)op->i[2], (gid_t)-1));
    if (ioctl(c->pty_slave, TIOCSCTTY, 0) < 0)
        child_fail_errno(c, errno, "error during container init: making the terminal the controlling one");
    send_master(c, master);
}
