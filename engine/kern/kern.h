// SPDX-License-Identifier: Apache-2.0
/*
 * kern.h - the kernel calls that make containers, as one replaceable table.
 *
 * Code that makes or enters containers calls the kernel through `const struct kern *`, so that a test can make the n-th call fail or record what was
 * asked without root. Production code passes &kern_linux. Every member returns a non-negative result or -errno; none touches errno on purpose.
 * Calls that the C library lacks are made by number; where the running kernel is older than a call, it answers -ENOSYS and the caller takes the
 * documented second way (see path.h and mnt.h).
 *
 * Ownership: descriptors returned are close-on-exec and the caller's. Threads: the table is constant; any thread.
 * Source: the manual pages of section 2 and the kernel's uapi headers.
 */
#ifndef HATAKE_KERN_KERN_H
#define HATAKE_KERN_KERN_H

#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Older uapi headers lack these. */
#ifndef MOVE_MOUNT_SET_GROUP
#define MOVE_MOUNT_SET_GROUP 0x00000100
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

struct kern {
    /* processes */
    int (*clone3)(struct clone_args *args, size_t size); /* 0 in the child */
    int (*pidfd_open)(pid_t pid, unsigned flags);
    int (*pidfd_send_signal)(int pidfd, int sig);
    int (*setns)(int fd, int nstype);
    int (*unshare)(int flags);
    int (*close_range)(unsigned first, unsigned last, unsigned flags);
    int (*execve)(const char *path, char *const argv[], char *const envp[]);
    int (*prctl)(int op, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
    int (*prlimit)(pid_t pid, int resource, const struct rlimit *limit);
    int (*seccomp)(unsigned op, unsigned flags, void *arg);
    int (*capset)(const void *header, const void *data);
    int (*setgroups)(size_t n, const gid_t *groups);
    int (*setresuid)(uid_t r, uid_t e, uid_t s);
    int (*setresgid)(gid_t r, gid_t e, gid_t s);
    int (*sethostname)(const char *s, size_t n);
    int (*setdomainname)(const char *s, size_t n);
    int (*join_session_keyring)(const char *name);
    /* mounts */
    int (*fsopen)(const char *fstype, unsigned flags);
    int (*fsconfig)(int fd, unsigned cmd, const char *key, const void *value, int aux);
    int (*fsmount)(int fd, unsigned flags, unsigned attrs);
    int (*open_tree)(int dirfd, const char *path, unsigned flags);
    int (*move_mount)(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
    int (*mount_setattr)(int dirfd, const char *path, unsigned flags, struct mount_attr *attr, size_t size);
    int (*mount)(const char *source, const char *target, const char *fstype, unsigned long flags, const void *data);
    int (*umount2)(const char *target, int flags);
    int (*pivot_root)(const char *new_root, const char *put_old);
    int (*chroot)(const char *path);
    /* files */
    int (*openat2)(int dirfd, const char *path, struct open_how *how, size_t size);
    int (*openat)(int dirfd, const char *path, int flags, mode_t mode);
    int (*mkdirat)(int dirfd, const char *path, mode_t mode);
    int (*mknodat)(int dirfd, const char *path, mode_t mode, dev_t dev);
    int (*symlinkat)(const char *content, int dirfd, const char *path);
    int (*fchdir)(int fd);
    int (*chdir)(const char *path);
    ssize_t (*write)(int fd, const void *p, size_t n);
};

extern const struct kern kern_linux;

/*
 * openat2 with the retries rule R1 asks for: EAGAIN at most 64 times. `resolve` is RESOLVE_*. Where the kernel has no openat2 the call fails with
 * -ENOSYS: there is no safe second way for paths inside containers (Linux 5.6 is the oldest kernel supported).
 */
int kern_open_in(const struct kern *k, int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);

/* Write a whole text into an existing file. 0 or -errno. */
int kern_write_file(const struct kern *k, int dirfd, const char *path, const char *text);

/* Numbers of calls newer than the C library's headers, by architecture-independent numbering (424 and up). */
#endif
