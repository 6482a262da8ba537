// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "container/validate.h"

/* Names by number, x86-64 and arm64 alike (signal(7)). */
static const struct {
    int number;
    const char *name;
} signals[] = {
    {SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},       {SIGQUIT, "SIGQUIT"}, {SIGILL, "SIGILL"},   {SIGTRAP, "SIGTRAP"},     {SIGABRT, "SIGABRT"},
    {SIGABRT, "SIGIOT"},  {SIGBUS, "SIGBUS"},       {SIGFPE, "SIGFPE"},   {SIGKILL, "SIGKILL"}, {SIGUSR1, "SIGUSR1"},     {SIGSEGV, "SIGSEGV"},
    {SIGUSR2, "SIGUSR2"}, {SIGPIPE, "SIGPIPE"},     {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"}, {SIGSTKFLT, "SIGSTKFLT"}, {SIGCHLD, "SIGCHLD"},
    {SIGCHLD, "SIGCLD"},  {SIGCONT, "SIGCONT"},     {SIGSTOP, "SIGSTOP"}, {SIGTSTP, "SIGTSTP"}, {SIGTTIN, "SIGTTIN"},     {SIGTTOU, "SIGTTOU"},
    {SIGURG, "SIGURG"},   {SIGXCPU, "SIGXCPU"},     {SIGXFSZ, "SIGXFSZ"}, {SIGPROF, "SIGPROF"}, {SIGWINCH, "SIGWINCH"},   {SIGIO, "SIGIO"},
    {SIGIO, "SIGPOLL"},   {SIGVTALRM, "SIGVTALRM"}, {SIGPWR, "SIGPWR"},   {SIGSYS, "SIGSYS"},
};

int ctr_signal_parse(const char *text) {
    int64_t n;
    const char *t = text;

    if (parse_i64(*t == '+' ? t + 1 : t, &n) == 0 && (*t != '+' || n >= 0))
        return n > 0 && n < 65 ? (int)n : -EINVAL;
    if (strncasecmp(t, "SIG", 3) == 0)
        t += 3;
    for (size_t i = 0; i < ELEMENTSOF(signals); i++)
        if (strcasecmp(signals[i].name + 3, t) == 0)
            return signals[i].number;
    /* Real-time signals count from 34: the C library keeps two for itself. */
    if (strcasecmp(t, "RTMIN") == 0)
        return 34;
    if (strcasecmp(t, "RTMAX") == 0)
        return 64;
    if (strncasecmp(t, "RTMIN+", 6) == 0 && parse_int_range(t + 6, 1, 15, &n) == 0)
        return 34 + (int)n;
    if (strncasecmp(t, "RTMAX-", 6) == 0 && parse_int_range(t + 6, 1, 14, &n) == 0)
        return 64 - (int)n;
    return -EINVAL;
}

const char *ctr_signal_name(int sig) {
    for (size_t i = 0; i < ELEMENTSOF(signals); i++)
        if (signals[i].number == sig)
            return signals[i].name;
    return NULL;
}

const char *const ctr_cap_all[] = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    NULL,
};

const char *ctr_cap_name(const char *text) {
    const char *t = strncasecmp(text, "CAP_", 4) == 0 ? text + 4 : text;

    for (size_t i = 0; ctr_cap_all[i]; i++)
        if (strcasecmp(ctr_cap_all[i] + 4, t) == 0)
            return ctr_cap_all[i];
    return NULL;
}

size_t ctr_cap_last(void) {
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    size_t all = ELEMENTSOF(ctr_cap_all) - 1;
    uint64_t last;

    if (fs_read_file("/proc/sys/kernel/cap_last_cap", &b, NULL) < 0)
        return all;
    while (b.len > 0 && isspace((unsigned char)b.data[b.len - 1]))
        b.data[--b.len] = '\0';
    if (parse_u64(buf_str(&b), &last) < 0 || last + 1 > all)
        return all;
    return (size_t)last + 1;
}
