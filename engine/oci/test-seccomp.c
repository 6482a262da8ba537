// SPDX-License-Identifier: Apache-2.0
/* The default profile, judged by interpreting the compiled filter for every number, against the table measured on the reference. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/test.h"
#include "oci/seccomp-internal.h"

#define DEFAULT_CAPS 0xa80425fbULL

static uint32_t run_filter(const struct buf *f, const struct seccomp_data *d) {
    const struct sock_filter *v = (const void *)f->data;
    size_t n = f->len / sizeof *v;
    uint32_t a = 0;

    for (size_t pc = 0; pc < n; pc++) {
        const struct sock_filter *i = &v[pc];

        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            memcpy(&a, (const char *)d + i->k, 4);
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= i->k;
            break;
        case BPF_JMP | BPF_JA:
            pc += i->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            pc += a == i->k ? i->jt : i->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            pc += a >= i->k ? i->jt : i->jf;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            pc += a > i->k ? i->jt : i->jf;
            break;
        case BPF_RET | BPF_K:
            return i->k;
        default:
            return 0xdeadu;
        }
    }
    return 0xdeadu;
}

static uint32_t verdict(const struct buf *f, uint32_t arch, uint32_t nr, uint64_t a0) {
    struct seccomp_data d = {.nr = (int)nr, .arch = arch, .args = {a0}};

    return run_filter(f, &d);
}

static struct buf compile(uint64_t caps) {
    struct buf f = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;
    json_t *o = json_pack("{s:s}", "hatakeProfile", "builtin");

    if (seccomp_compile(o, caps, &f, &e) < 0)
        test_fail(__FILE__, __LINE__, "compile: %s", err_msg(&e));
    err_done(&e);
    json_decref(o);
    return f;
}

static void count(const struct buf *f, uint32_t arch, uint32_t base, uint32_t n, int *allow, int *eperm, int *enosys) {
    *allow = *eperm = *enosys = 0;
    for (uint32_t nr = 0; nr < n; nr++) {
        uint32_t v = verdict(f, arch, base + nr, 0);

        *allow += v == SECCOMP_RET_ALLOW;
        *eperm += v == (SECCOMP_RET_ERRNO | EPERM);
        *enosys += v == (SECCOMP_RET_ERRNO | ENOSYS);
    }
}

TEST(seccomp_counts_are_those_of_the_reference) {
    struct buf f = compile(DEFAULT_CAPS);
    int allow, eperm, enosys;

    count(&f, AUDIT_ARCH_X86_64, 0, 480, &allow, &eperm, &enosys);
    CHECK_INT(allow, 301);
    CHECK_INT(eperm, 155);
    CHECK_INT(enosys, 24);
    count(&f, AUDIT_ARCH_I386, 0, 480, &allow, &eperm, &enosys);
    CHECK_INT(allow, 353);
    CHECK_INT(eperm, 103);
    CHECK_INT(enosys, 24);
    count(&f, AUDIT_ARCH_X86_64, 0x40000000u, 548, &allow, &eperm, &enosys);
    CHECK_INT(allow, 297);
    CHECK_INT(verdict(&f, 0x12345678, 0, 0), SECCOMP_RET_KILL_THREAD);
    CHECK(f.len / sizeof(struct sock_filter) < 1000);
    buf_done(&f);
}

TEST(seccomp_refused_names) {
    static const char names[] =
        "syslog uselib ustat sysfs vhangup pivot_root _sysctl acct settimeofday mount umount2 swapon swapoff reboot sethostname setdomainname iopl "
        "ioperm "
        "create_module init_module delete_module get_kernel_syms query_module quotactl nfsservctl getpmsg putpmsg afs_syscall tuxcall security "
        "lookup_dcookie clock_settime vserver mbind set_mempolicy get_mempolicy kexec_load add_key request_key keyctl migrate_pages unshare "
        "move_pages "
        "perf_event_open fanotify_init open_by_handle_at setns kcmp finit_module kexec_file_load bpf userfaultfd io_uring_setup io_uring_enter "
        "io_uring_register open_tree move_mount fsopen fsconfig fsmount fspick pidfd_getfd process_madvise mount_setattr quotactl_fd "
        "set_mempolicy_home_node";
    struct buf f = compile(DEFAULT_CAPS);
    bool refused[480] = {false};

    for (const char *p = names; *p;) {
        size_t n = strcspn(p, " ");
        char name[64];
        int nr;

        snprintf(name, sizeof name, "%.*s", (int)n, p);
        nr = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, name);
        if (nr < 0 || nr >= 480)
            test_fail(__FILE__, __LINE__, "unknown name %s", name);
        else
            refused[nr] = true;
        p += n + (p[n] == ' ');
    }
    for (uint32_t nr = 335; nr <= 423; nr++)
        refused[nr] = true;
    for (uint32_t nr = 0; nr < 480; nr++) {
        uint32_t want = refused[nr] ? SECCOMP_RET_ERRNO | EPERM : nr == 435 || nr >= 457 ? SECCOMP_RET_ERRNO | ENOSYS : SECCOMP_RET_ALLOW;

        if (verdict(&f, AUDIT_ARCH_X86_64, nr, 0) != want)
            test_fail(__FILE__, __LINE__, "number %u: %x, expected %x", nr, verdict(&f, AUDIT_ARCH_X86_64, nr, 0), want);
    }
    buf_done(&f);
}

TEST(seccomp_arguments_are_compared_as_the_kernel_reads_them) {
    struct buf f = compile(DEFAULT_CAPS);
    const uint32_t eperm = SECCOMP_RET_ERRNO | EPERM;

    CHECK_INT(verdict(&f, AUDIT_ARCH_X86_64, 41, 2), SECCOMP_RET_ALLOW); /* socket(AF_INET) */
    CHECK_INT(verdict(&f, AUDIT_ARCH_X86_64, 41, 40), eperm);            /* AF_VSOCK */
    CHECK_INT(verdict(&f, AUDIT_ARCH_X86_64, 41, 1ULL << 32 | 40), eperm);
    CHECK_INT(verdict(&f, AUDIT_ARCH_I386, 359, 40), eperm);
    CHECK_INT(verdict(&f, AUDIT_ARCH_I386, 102, 1), SECCOMP_RET_ALLOW); /* socketcall */
    CHECK_INT(verdict(&f, AUDIT_ARCH_X86_64, 135, 0x20008), SECCOMP_RET_ALLOW);
    CHECK_INT(verdict(&f, AUDIT_ARCH_X86_64, 135, 0xffffffff), SECCOMP_RET_ALLOW);
    CHECK_INT(verdict(&f, AUDIT_ARCH_X86_64, 135, 0x1), eperm);
    CHECK_INT(verdict(&f, AUDIT_ARCH_X86_64, 56, 0x11), SECCOMP_RET_ALLOW); /* clone */
    CHECK_INT(verdict(&f, AUDIT_ARCH_X86_64, 56, 0x10000000), eperm);       /* CLONE_NEWUSER */
    CHECK_INT(verdict(&f, AUDIT_ARCH_X86_64, 56, 0x02000000), eperm);       /* CLONE_NEWCGROUP */
    buf_done(&f);
}

TEST(seccomp_capabilities_open_their_calls) {
    struct buf f = compile(DEFAULT_CAPS | 1ULL << CAP_SYS_ADMIN | 1ULL << CAP_SYS_TIME);

    CHECK_INT(verdict(&f, AUDIT_ARCH_X86_64, 165, 0), SECCOMP_RET_ALLOW); /* mount */
    CHECK_INT(verdict(&f, AUDIT_ARCH_X86_64, 435, 0), SECCOMP_RET_ALLOW); /* clone3 */
    CHECK_INT(verdict(&f, AUDIT_ARCH_X86_64, 56, 0x10000000), SECCOMP_RET_ALLOW);
    CHECK_INT(verdict(&f, AUDIT_ARCH_X86_64, 227, 0), SECCOMP_RET_ALLOW);         /* clock_settime */
    CHECK_INT(verdict(&f, AUDIT_ARCH_X86_64, 175, 0), SECCOMP_RET_ERRNO | EPERM); /* init_module */
    buf_done(&f);
}

/* Every comparison, on both sides of its border, in both halves of the argument. */
TEST(seccomp_comparisons) {
    static const struct {
        const char *op;
        int64_t value, two;
        uint64_t yes[3], no[3];
    } t[] = {{"SCMP_CMP_EQ", 0x100000002, 0, {0x100000002, 0x100000002, 0x100000002}, {2, 0x100000001, 0x200000002}},
             {"SCMP_CMP_NE", 0x100000002, 0, {2, 0x100000001, 0x200000002}, {0x100000002, 0x100000002, 0x100000002}},
             {"SCMP_CMP_LT", 0x100000002, 0, {1, 0x100000001, 0xffffffff}, {0x100000002, 0x200000000, 0x100000003}},
             {"SCMP_CMP_LE", 0x100000002, 0, {1, 0x100000002, 0xffffffff}, {0x100000003, 0x200000000, 0x200000001}},
             {"SCMP_CMP_GT", 0x100000002, 0, {0x100000003, 0x200000000, 0x200000001}, {1, 0x100000002, 0xffffffff}},
             {"SCMP_CMP_GE", 0x100000002, 0, {0x100000002, 0x200000000, 0x100000003}, {1, 0x100000001, 0xffffffff}},
             {"SCMP_CMP_MASKED_EQ", 0x10000000f, 0x100000005, {0x100000005, 0x3000000f5, 0x100000025}, {5, 0x100000004, 0x10000000d}}};

    for (size_t i = 0; i < ELEMENTSOF(t); i++) {
        struct buf f = BUF_INIT(1 << 16);
        json_t *o =
            json_pack("{s:s, s:[{s:[s], s:s, s:[{s:i, s:I, s:I, s:s}]}]}", "defaultAction", "SCMP_ACT_ERRNO", "syscalls", "names", "lseek", "action",
                      "SCMP_ACT_ALLOW", "args", "index", 0, "value", (json_int_t)t[i].value, "valueTwo", (json_int_t)t[i].two, "op", t[i].op);

        REQUIRE(seccomp_compile(o, 0, &f, NULL) == 0);
        for (int k = 0; k < 3; k++) {
            if (verdict(&f, AUDIT_ARCH_X86_64, 8, t[i].yes[k]) != SECCOMP_RET_ALLOW)
                test_fail(__FILE__, __LINE__, "%s: %llx is refused", t[i].op, (unsigned long long)t[i].yes[k]);
            if (verdict(&f, AUDIT_ARCH_X86_64, 8, t[i].no[k]) == SECCOMP_RET_ALLOW)
                test_fail(__FILE__, __LINE__, "%s: %llx is allowed", t[i].op, (unsigned long long)t[i].no[k]);
        }
        json_decref(o);
        buf_done(&f);
    }
}

TEST(seccomp_says_what_it_does_not_know) {
    struct buf f = BUF_INIT(1 << 16);
    _cleanup_err_ struct err e = ERR_INIT;
    json_t *o = json_pack("{s:s}", "defaultAction", "SCMP_ACT_NOTIFY");

    CHECK(seccomp_compile(o, 0, &f, &e) < 0);
    CHECK_STR(err_msg(&e), "string SCMP_ACT_NOTIFY is not a valid action for seccomp");
    json_decref(o);
    buf_done(&f);
}
