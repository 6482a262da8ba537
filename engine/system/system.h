// SPDX-License-Identifier: Apache-2.0
/*
 * system.h - facts about the engine and its machine: what /info and /version say.
 *
 * What the machine and its kernel can do is read once, at start, as the reference does; the rest is read at request time from the managers' memory, so that
 * both replies are made without a file being opened.
 * Threads: facts are immutable once the engine has started.
 */
#ifndef HATAKE_SYSTEM_SYSTEM_H
#define HATAKE_SYSTEM_SYSTEM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct api_system_info;
struct api_system_version;
struct engine;

/* Constant facts of the machine. Strings are never NULL. */
struct system_facts {
    char *kernel_version;   /* uname -r */
    char *architecture;     /* uname -m */
    char *go_arch;          /* the same in the names images use: amd64, arm64... */
    char *operating_system; /* PRETTY_NAME of os-release */
    char *os_version;       /* VERSION_ID of os-release */
    char *hostname;
    int64_t memory_bytes;
    int64_t cpus; /* this process may use */
    /* What the control groups offer. */
    bool unified; /* version 2 alone */
    bool memory_limit, swap_limit, kernel_memory, kernel_memory_tcp, cpu_cfs_period, cpu_cfs_quota, cpu_shares, cpu_set, pids_limit, oom_kill_disable;
    bool io;       /* limits on what devices are read and written at */
    bool apparmor; /* the kernel has it on; whether containers can be confined: kern/apparmor.h */
    /* Settings of the network. */
    bool ipv4_forwarding, bridge_nf_iptables, bridge_nf_ip6tables;
};

/* Read them. The settings of the network as they are now: call it when the engine has made its own. */
int system_facts_read(struct system_facts *ret, struct err *e);
void system_facts_done(struct system_facts *f);

/* Fill a reply. Sources: Engine API v1.45, SystemInfo and SystemVersion. */
int system_info(struct engine *engine, struct api_system_info *ret, struct err *e);
int system_version(struct engine *engine, struct api_system_version *ret, struct err *e);

/*
 * Seconds since 1970 with an optional fraction ("1700000000.5"), as `since` and `until` of events and logs are written. "" and NULL give 0. Errors have the
 * text of the reference (ERR_INTERNAL there: it answers 500).
 */
int system_parse_time(const char *s, int64_t *ret_ns, struct err *e);

#endif
