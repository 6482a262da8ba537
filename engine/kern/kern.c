// SPDX-License-Identifier: Apache-2.0
#include "kern/kern.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"

/* The same numbers on every architecture Linux has had since they were added. */
enum {
    NR_PIDFD_SEND_SIGNAL = 424,
    NR_OPEN_TREE = 428,
    NR_MOVE_MOUNT = 429,
    NR_FSOPEN = 430,
    NR_FSCONFIG = 431,
    NR_FSMOUNT = 432,
    NR_PIDFD_OPEN = 434,
    NR_CLONE3 = 435,
    NR_CLOSE_RANGE = 436,
    NR_OPENAT2 = 437,
    NR_MOUNT_SETATTR = 442,
};

static int result(long r) {
    return r < 0 ? -errno : (int)r;
}

static int real_clone3(struct clone_args *args, size_t size) {
    return result(syscall(NR_CLONE3, args, size));
}
static int real_pidfd_open(pid_t pid, unsigned flags) {
    return result(syscall(NR_PIDFD_OPEN, pid, flags));
}
static int real_pidfd_send_signal(int pidfd, int sig) {
    return result(syscall(NR_PIDFD_SEND_SIGNAL, pidfd, sig, NULL, 0));
}
static int real_setns(int fd, int nstype) {
    return result(syscall(SYS_setns, fd, nstype));
}
static int real_unshare(int flags) {
    return result(syscall(SYS_unshare, flags));
}
static int real_close_range(unsigned first, unsigned last, unsigned flags) {
    return result(syscall(NR_CLOSE_RANGE, first, last, flags));
}
static int real_execve(const char *path, char *const argv[], char *const envp[]) {
    return result(execve(path, argv, envp));
}
static int real_prctl(int op, unsigned long a, unsigned long b, unsigned long c, unsigned long d) {
    return result(prctl(op, a, b, c, d));
}
static int real_prlimit(pid_t pid, int resource, const struct rlimit *limit) {
    return result(prlimit(pid, (__rlimit_resource_t)resource, limit, NULL));
}
static int real_seccomp(unsigned op, unsigned flags, void *arg) {
    return result(syscall(SYS_seccomp, op, flags, arg));
}
static int real_capset(const void *header, const void *data) {
    return result(syscall(SYS_capset, header, data));
}
/* By number, not through the C library: its set*id functions signal all threads, and one thread is all there is here. */
static int real_setgroups(size_t n, const gid_t *groups) {
    return result(syscall(SYS_setgroups, n, groups));
}
static int real_setresuid(uid_t r, uid_t e, uid_t s) {
    return result(syscall(SYS_setresuid, r, e, s));
}
static int real_setresgid(gid_t r, gid_t e, gid_t s) {
    return result(syscall(SYS_setresgid, r, e, s));
}
static int real_sethostname(const char *s, size_t n) {
    return result(sethostname(s, n));
}
static int real_setdomainname(const char *s, size_t n) {
    return result(setdomainname(s, n));
}
static int real_join_session_keyring(const char *name) {
    return result(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name));
}
static int real_fsopen(const char *fstype, unsigned flags) {
    return result(syscall(NR_FSOPEN, fstype, flags));
}
static int real_fsconfig(int fd, unsigned cmd, const char *key, const void *value, int aux) {
    return result(syscall(NR_FSCONFIG, fd, cmd, key, value, aux));
}
static int real_fsmount(int fd, unsigned flags, unsigned attrs) {
    return result(syscall(NR_FSMOUNT, fd, flags, attrs));
}
static int real_open_tree(int dirfd, const char *path, unsigned flags) {
    return result(syscall(NR_OPEN_TREE, dirfd, path, flags));
}
static int real_move_mount(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    return result(syscall(NR_MOVE_MOUNT, from_fd, from, to_fd, to, flags));
}
static int real_mount_setattr(int dirfd, const char *path, unsigned flags, struct mount_attr *attr, size_t size) {
    return result(syscall(NR_MOUNT_SETATTR, dirfd, path, flags, attr, size));
}
static int real_mount(const char *source, const char *target, const char *fstype, unsigned long flags, const void *data) {
    return result(mount(source, target, fstype, flags, data));
}
static int real_umount2(const char *target, int flags) {
    return result(umount2(target, flags));
}
static int real_pivot_root(const char *new_root, const char *put_old) {
    return result(syscall(SYS_pivot_root, new_root, put_old));
}
static int real_chroot(const char *path) {
    return result(chroot(path));
}
static int real_openat2(int dirfd, const char *path, struct open_how *how, size_t size) {
    return result(syscall(NR_OPENAT2, dirfd, path, how, size));
}
static int real_openat(int dirfd, const char *path, int flags, mode_t mode) {
    return result(openat(dirfd, path, flags, mode));
}
static int real_mkdirat(int dirfd, const char *path, mode_t mode) {
    return result(mkdirat(dirfd, path, mode));
}
static int real_mknodat(int dirfd, const char *path, mode_t mode, dev_t dev) {
    return result(mknodat(dirfd, path, mode, dev));
}
static int real_symlinkat(const char *content, int dirfd, const char *path) {
    return result(symlinkat(content, dirfd, path));
}
static int real_fchdir(int fd) {
    return result(fchdir(fd));
}
static int real_chdir(const char *path) {
    return result(chdir(path));
}
static ssize_t real_write(int fd, const void *p, size_t n) {
    ssize_t r = write(fd, p, n);

    return r < 0 ? -errno : r;
}

const struct kern kern_linux = {
    .clone3 = real_clone3,
    .pidfd_open = real_pidfd_open,
    .pidfd_send_signal = real_pidfd_send_signal,
    .setns = real_setns,
    .unshare = real_unshare,
    .close_range = real_close_range,
    .execve = real_execve,
    .prctl = real_prctl,
    .prlimit = real_prlimit,
    .seccomp = real_seccomp,
    .capset = real_capset,
    .setgroups = real_setgroups,
    .setresuid = real_setresuid,
    .setresgid = real_setresgid,
    .sethostname = real_sethostname,
    .setdomainname = real_setdomainname,
    .join_session_keyring = real_join_session_keyring,
    .fsopen = real_fsopen,
    .fsconfig = real_fsconfig,
    .fsmount = real_fsmount,
    .open_tree = real_open_tree,
    .move_mount = real_move_mount,
    .mount_setattr = real_mount_setattr,
    .mount = real_mount,
    .umount2 = real_umount2,
    .pivot_root = real_pivot_root,
    .chroot = real_chroot,
    .openat2 = real_openat2,
    .openat = real_openat,
    .mkdirat = real_mkdirat,
    .mknodat = real_mknodat,
    .symlinkat = real_symlinkat,
    .fchdir = real_fchdir,
    .chdir = real_chdir,
    .write = real_write,
};

int kern_open_in(const struct kern *k, int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve) {
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .mode = flags & O_CREAT ? mode : 0, .resolve = resolve};
    int r = -EAGAIN;

    for (int n = 0; n < 64 && (r == -EAGAIN || r == -EINTR); n++)
        r = k->openat2(dirfd, path, &how, sizeof how);
    return r;
}

int kern_write_file(const struct kern *k, int dirfd, const char *path, const char *text) {
    size_t n = strlen(text);
    ssize_t w;
    int fd = k->openat(dirfd, path, O_WRONLY | O_CLOEXEC, 0);

    if (fd < 0)
        return fd;
    w = k->write(fd, text, n);
    close_fd(fd);
    if (w < 0)
        return (int)w;
    return (size_t)w == n ? 0 : -EIO;
}
