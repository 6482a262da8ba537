// SPDX-License-Identifier: Apache-2.0
/* The reference's default profile, for a set of capabilities. */
#include "oci/seccomp-internal.h"

#include <linux/capability.h>
#include <sys/utsname.h>

#include "base/cleanup.h"

static const struct {
    int cap;
    const char *names;
} by_cap[] = {
    {CAP_DAC_READ_SEARCH, "open_by_handle_at"},
    {CAP_SYS_ADMIN,
     "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree perf_event_open "
     "quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare"},
    {CAP_SYS_BOOT, "reboot"},
    {CAP_SYS_CHROOT, "chroot"},
    {CAP_SYS_MODULE, "delete_module init_module finit_module"},
    {CAP_SYS_PACCT, "acct"},
    {CAP_SYS_PTRACE, "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"},
    {CAP_SYS_RAWIO, "iopl ioperm"},
    {CAP_SYS_TIME, "settimeofday stime clock_settime clock_settime64"},
    {CAP_SYS_TTY_CONFIG, "vhangup"},
    {CAP_SYS_NICE, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
    {CAP_SYSLOG, "syslog"},
    {CAP_BPF, "bpf"},
    {CAP_PERFMON, "perf_event_open"},
};

static int add_rule(json_t *list, json_t *names, const char *action, int errnum, json_t *args) {
    json_t *o = json_pack("{s:o, s:s}", "names", names, "action", action);

    if (o && errnum)
        json_object_set_new(o, "errnoRet", json_integer(errnum));
    if (o && args)
        json_object_set_new(o, "args", args);
    else
        json_decref(args);
    return o ? json_array_append_new(list, o) : -1;
}

static json_t *words(const char *text) {
    json_t *a = json_array();

    for (const char *p = text; *p;) {
        size_t n = strcspn(p, " ");

        json_array_append_new(a, json_stringn(p, n));
        p += n + (p[n] == ' ');
    }
    return a;
}

static json_t *arg(int64_t value, int64_t value_two, const char *op) {
    return json_pack("[{s:i, s:I, s:I, s:s}]", "index", 0, "value", (json_int_t)value, "valueTwo", (json_int_t)value_two, "op", op);
}

json_t *seccomp_default_profile(uint64_t caps) {
    static const int64_t personalities[] = {0x0, 0x8, 0x20000, 0x20008, 0xffffffff};
    json_t *list = json_array(), *names = json_array();
    bool admin = caps & 1ULL << CAP_SYS_ADMIN;

    for (size_t i = 0; seccomp_always[i]; i++)
        json_array_append_new(names, json_string(seccomp_always[i]));
    add_rule(list, names, "SCMP_ACT_ALLOW", 0, NULL);
    add_rule(list, words("process_vm_readv process_vm_writev ptrace"), "SCMP_ACT_ALLOW", 0, NULL); /* kernels from 4.8: all we run on */
    add_rule(list, words("socket"), "SCMP_ACT_ALLOW", 0, arg(40, 0, "SCMP_CMP_NE"));
    for (size_t i = 0; i < ELEMENTSOF(personalities); i++)
        add_rule(list, words("personality"), "SCMP_ACT_ALLOW", 0, arg(personalities[i], 0, "SCMP_CMP_EQ"));
    add_rule(list, words("arch_prctl modify_ldt"), "SCMP_ACT_ALLOW", 0, NULL);
    if (!admin) {
        add_rule(list, words("clone"), "SCMP_ACT_ALLOW", 0, arg(0x7E020000, 0, "SCMP_CMP_MASKED_EQ"));
        add_rule(list, words("clone3"), "SCMP_ACT_ERRNO", 38, NULL);
    }
    for (size_t i = 0; i < ELEMENTSOF(by_cap); i++)
        if (caps & 1ULL << by_cap[i].cap)
            add_rule(list, words(by_cap[i].names), "SCMP_ACT_ALLOW", 0, NULL);
    return json_pack("{s:s, s:i, s:[s,s,s], s:o}", "defaultAction", "SCMP_ACT_ERRNO", "defaultErrnoRet", 1, "architectures", "SCMP_ARCH_X86_64",
                     "SCMP_ARCH_X86", "SCMP_ARCH_X32", "syscalls", list);
}
