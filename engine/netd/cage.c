// SPDX-License-Identifier: Apache-2.0
#include "netd/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

#define NOBODY 65534
#define PROGRAM_MAX 256

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define NR_LIMIT 0x40000000u /* from here on they are x32's */
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#define NR_LIMIT UINT32_MAX
#endif

/* A sanitizer makes calls of its own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAGE_FILTER 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CAGE_FILTER 0
#endif
#endif
#ifndef CAGE_FILTER
#define CAGE_FILTER 1
#endif

struct program {
    struct sock_filter v[PROGRAM_MAX];
    unsigned short n;
};

static void put(struct program *p, struct sock_filter f) {
    if (p->n < PROGRAM_MAX)
        p->v[p->n++] = f;
}

static void load(struct program *p, size_t offset) {
    put(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void give(struct program *p, uint32_t verdict) {
    put(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

/* An argument as the kernel reads an int: its low half (both architectures are little endian). */
static void load_arg(struct program *p, unsigned i) {
    load(p, offsetof(struct seccomp_data, args) + 8 * i);
}

static const uint32_t refuse = SECCOMP_RET_ERRNO | EPERM;

/* The call is allowed if argument i is one of the values. */
static void allow_values(struct program *p, unsigned nr, unsigned i, const uint32_t *values, unsigned char n) {
    put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, (unsigned char)(2 * n + 2)));
    load_arg(p, i);
    for (unsigned char k = 0; k < n; k++) {
        put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, values[k], 0, 1));
        give(p, SECCOMP_RET_ALLOW);
    }
    give(p, refuse);
}

/* The call is allowed if none of the bits is set in argument i. */
static void allow_without(struct program *p, unsigned nr, unsigned i, uint32_t bits) {
    put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 4));
    load_arg(p, i);
    put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0));
    give(p, SECCOMP_RET_ALLOW);
    give(p, refuse);
}

static void build(struct program *p) {
    static const unsigned plain[] = {
#ifdef SYS_epoll_wait
        SYS_epoll_wait,
#endif
        SYS_epoll_pwait, SYS_epoll_ctl, SYS_epoll_create1, SYS_recvmmsg, SYS_sendmmsg, SYS_recvfrom, SYS_sendto, SYS_recvmsg, SYS_sendmsg, SYS_splice,
        SYS_accept4, SYS_connect, SYS_shutdown, SYS_close, SYS_setsockopt, SYS_getsockopt, SYS_pipe2, SYS_getrandom, SYS_read, SYS_newfstatat,
        SYS_fstat,
        /* what the C library may need for them: memory, clocks, its own end */
        SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_clock_gettime, SYS_futex, SYS_restart_syscall, SYS_rt_sigreturn, SYS_rt_sigprocmask,
        SYS_gettid, SYS_getpid, SYS_tgkill, SYS_exit, SYS_exit_group};
    static const uint32_t families[] = {AF_INET, AF_INET6}, requests[] = {SIOCGIFINDEX};

    load(p, offsetof(struct seccomp_data, arch));
    put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
    give(p, SECCOMP_RET_KILL_PROCESS);
    load(p, offsetof(struct seccomp_data, nr));
    put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, NR_LIMIT, 0, 1));
    give(p, refuse);
    for (size_t i = 0; i < ELEMENTSOF(plain); i++) {
        put(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, plain[i], 0, 1));
        give(p, SECCOMP_RET_ALLOW);
    }
    allow_values(p, SYS_socket, 0, families, ELEMENTSOF(families));
    allow_values(p, SYS_ioctl, 1, requests, ELEMENTSOF(requests));
    allow_without(p, SYS_openat, 2, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_PATH);
    allow_without(p, SYS_mmap, 2, PROT_EXEC);
    allow_without(p, SYS_mprotect, 2, PROT_EXEC);
    give(p, refuse);
}

bool netd_cage_filters(void) {
    return CAGE_FILTER;
}

static int filter_calls(void) {
    struct program p = {.n = 0};
    struct sock_fprog prog = {.filter = p.v};

    if (!netd_cage_filters())
        return 0;
    build(&p);
    if (p.n == PROGRAM_MAX)
        return -E2BIG;
    prog.len = p.n;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) < 0 ? -errno : 0;
}

static int become_nobody(void) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};

    if (geteuid() != 0)
        return 0;
    /* While it may still be done: what an exec could ever gain (there is none, but nothing should depend on that). */
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        ignore_result(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0);
    if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
        return -errno;
    /* setresuid has cleared them already; this also holds where securebits keep them. */
    return syscall(SYS_capset, &head, none) < 0 ? -errno : 0;
}

int netd_confine(void) {
    struct rlimit none = {0, 0};
    int r;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
        return -errno;
    r = become_nobody();
    if (r < 0)
        return r;
    /* Others of that user may neither look into it nor trace it. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return -errno;
    return filter_calls();
}
