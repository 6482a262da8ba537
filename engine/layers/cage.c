// SPDX-License-Identifier: Apache-2.0
#include "layers/cage.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/mount.h>
#include <linux/securebits.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/limits.h"

#define CAGE_MEMORY MIB(1024)
#define CAGE_FILES 64

/* A sanitizer's shadow memory is terabytes of address space, and it makes calls of its own: tests built with one have no such walls. */
#if defined(__SANITIZE_ADDRESS__)
#define CAGE_WALLS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CAGE_WALLS 0
#endif
#endif
#ifndef CAGE_WALLS
#define CAGE_WALLS 1
#endif

/* Make the folder the root of a mount namespace that holds nothing else. */
static int become_root(int dirfd, struct err *e) {
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
    _cleanup_close_ int tree = -EBADF;

    /* The working directory moves into the new namespace's copy of the mounts; a descriptor would stay in the old one. */
    if (fchdir(dirfd) < 0)
        return err_errno(e, errno, "cage: entering the folder");
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
        return err_errno(e, errno, "cage: unshare");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_errno(e, errno, "cage: making mounts private");
    tree = (int)syscall(SYS_open_tree, AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return err_errno(e, errno, "cage: open_tree");
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
        return err_errno(e, errno, "cage: mount_setattr");
    if (syscall(SYS_move_mount, tree, "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return err_errno(e, errno, "cage: move_mount");
    if (fchdir(tree) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
        return err_errno(e, errno, "cage: pivot_root");
    if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return err_errno(e, errno, "cage: leaving the old root");
    return 0;
}

static int drop_capabilities(struct err *e) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    static const int keep[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP, CAP_SYS_ADMIN};

    for (size_t i = 0; i < ELEMENTSOF(keep); i++)
        data[keep[i] / 32].effective |= 1U << (keep[i] % 32);
    data[0].permitted = data[0].effective;
    data[1].permitted = data[1].effective;
    if (syscall(SYS_capset, &head, data) < 0)
        return err_errno(e, errno, "cage: capset");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(e, errno, "cage: no_new_privs");
    return 0;
}

static int limit(int what, rlim_t value, struct err *e) {
    struct rlimit l = {value, value}, now;

    if (getrlimit(what, &now) == 0 && now.rlim_max != RLIM_INFINITY && now.rlim_max < value)
        l.rlim_cur = l.rlim_max = now.rlim_max;
    return setrlimit(what, &l) < 0 ? err_errno(e, errno, "cage: setrlimit") : 0;
}

static int filter_calls(const int *more, size_t n_more, struct err *e) {
    static const int allowed[] = {
        SCMP_SYS(read),       SCMP_SYS(write),         SCMP_SYS(pread64),         SCMP_SYS(pwrite64),
        SCMP_SYS(readv),      SCMP_SYS(writev),        SCMP_SYS(openat),          SCMP_SYS(openat2),
        SCMP_SYS(close),      SCMP_SYS(fstat),         SCMP_SYS(newfstatat),      SCMP_SYS(statx),
        SCMP_SYS(mkdirat),    SCMP_SYS(mknodat),       SCMP_SYS(linkat),          SCMP_SYS(symlinkat),
        SCMP_SYS(unlinkat),   SCMP_SYS(fchown),        SCMP_SYS(fchownat),        SCMP_SYS(fchmod),
        SCMP_SYS(fchmodat),   SCMP_SYS(utimensat),     SCMP_SYS(ftruncate),       SCMP_SYS(fchdir),
        SCMP_SYS(setxattr),   SCMP_SYS(lsetxattr),     SCMP_SYS(lseek),           SCMP_SYS(getdents64),
        SCMP_SYS(fcntl),      SCMP_SYS(dup),           SCMP_SYS(fstatfs),         SCMP_SYS(sync_file_range),
        SCMP_SYS(brk),        SCMP_SYS(mmap),          SCMP_SYS(munmap),          SCMP_SYS(mremap),
        SCMP_SYS(mprotect),   SCMP_SYS(madvise),       SCMP_SYS(futex),           SCMP_SYS(exit),
        SCMP_SYS(exit_group), SCMP_SYS(rt_sigreturn),  SCMP_SYS(rt_sigprocmask),  SCMP_SYS(sched_yield),
        SCMP_SYS(getrandom),  SCMP_SYS(clock_gettime), SCMP_SYS(restart_syscall), SCMP_SYS(sysinfo), /* qsort(3) of much */
    };
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int r = ctx ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(allowed); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; r == 0 && i < n_more; i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, more[i], 0);
    if (r == 0)
        r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    if (r == 0)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    return r < 0 ? err_errno(e, r, "cage: seccomp") : 0;
}

static int confine(const int *more, size_t n_more, int (*ready)(void *arg, struct err *e), void *arg, struct err *e) {
    int r;

    if (syscall(SYS_close_range, 3, ~0U, 0) < 0)
        return err_errno(e, errno, "cage: close_range");
    r = limit(RLIMIT_CORE, 0, e);
    if (r == 0)
        r = limit(RLIMIT_NOFILE, CAGE_FILES, e);
    if (r == 0 && CAGE_WALLS)
        r = limit(RLIMIT_AS, CAGE_MEMORY, e);
    if (r == 0)
        r = drop_capabilities(e);
    if (r == 0 && ready)
        r = ready(arg, e);
    if (r == 0 && CAGE_WALLS)
        r = filter_calls(more, n_more, e);
    return r;
}

int cage_confine(const int *more, size_t n_more, int (*ready)(void *arg, struct err *e), void *arg, struct err *e) {
    return confine(more, n_more, ready, arg, e);
}

int cage_enter(int dirfd, int (*ready)(void *arg, struct err *e), void *arg, struct err *e) {
    int r;

    umask(0);
    r = become_root(dirfd, e);
    return r < 0 ? r : confine(NULL, 0, ready, arg, e);
}
