// SPDX-License-Identifier: Apache-2.0
/*
 * exec.h - carrying out a plan: making a container, and starting further processes in it. C library only, no threads, no allocation.
 *
 * How a container is made: the parent makes the cgroups and clones; the child joins the v1 cgroups itself (the `tasks` file: a thread that moves
 * itself takes no global lock), mounts by descriptor (rules R1, R2), masks with the machine's own null device (R4), pivots; meanwhile the parent makes
 * the network links whose inner ends are born in the child's namespace; the child then configures them in one batch, drops what it may not keep and
 * executes. Errors come back over a socket that closes at execve, so "it runs" and "why not" are both known exactly.
 *
 * The caller must have one thread only. Descriptors are close-on-exec; what the caller leaves open without that flag stays open in the container:
 * the child sets it on everything above 2 (R7).
 */
#ifndef HATAKE_OCI_EXEC_H
#define HATAKE_OCI_EXEC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "kern/kern.h"
#include "oci/plan.h"

#define OCI_FAULT_TEXT 2048

/* Sockets of a container's resolver: UDP and TCP on 127.0.0.11, then those that its questions to others are asked by. */
#define OCI_RESOLVER_UDP 3
#define OCI_RESOLVER_TCP 2
#define OCI_RESOLVER_FDS (2 + OCI_RESOLVER_UDP + OCI_RESOLVER_TCP)

/* Why it failed, in the words of the reference's runtime, without its outer prefixes ("exec: \"x\": executable file not found in $PATH"). */
struct oci_fault {
    int errnum; /* errno value or 0 */
    char text[OCI_FAULT_TEXT];
};

/* Lower-case text of an errno value, as Go prints it. Returns buf. */
const char *oci_strerror(int errnum, char buf[64]);

struct oci_running {
    pid_t pid; /* as the caller's pid namespace counts */
    int pidfd;
    int pty;                        /* master of the terminal, or -EBADF */
    int resolver[OCI_RESOLVER_FDS]; /* of PLAN_RESOLVER, else -EBADF */
    int mounts;                     /* the mount namespace (asked for with hold_mounts), or -EBADF */
};

struct oci_spawn {
    const struct kern *k;
    const struct plan *plan;
    int stdio[3]; /* for the process; -1: /dev/null. Not looked at when the plan has a console. Stay the caller's */
    int gate_fd;  /* listening socket the child waits on before execve (create/start apart), or -1 */
    /*
     * Keep the container's mounts until ret->mounts is closed. Taking them down waits for the kernel (grace periods, an overlay's sync) and would otherwise
     * be done by the first process while it ends, so that its end is seen that much later.
     */
    bool hold_mounts;
};

/*
 * Make the container of the plan. 0 with *ret filled, or a negative value with *f filled; cgroups made are then removed again.
 * With a gate the call returns when the child waits there.
 */
int oci_spawn(const struct oci_spawn *s, struct oci_running *ret, struct oci_fault *f);

/*
 * Start another process: `plan` holds the process operations (PLAN_USER, PLAN_CAPS, PLAN_EXEC, PLAN_CONSOLE, ...), `container` the plan the container
 * was made from (its cgroups and namespaces), init_pidfd its first process.
 * The first call moves the caller's children into the container's pid namespace for good (that is what lets one clone do).
 */
int oci_enter(const struct oci_spawn *s, const struct plan *container, pid_t init_pid, int init_pidfd, struct oci_running *ret, struct oci_fault *f);

/*
 * A process of its own (forked by the caller, one thread) that changes the network of a running container: makes the links of the plan (PLAN_VETH, PLAN_VLAN)
 * with their inner ends in the namespace `netns`, enters it, carries out the operations of phase NET and the sysctls of links, tells the end over the
 * SEQPACKET socket `sync`. Never returns.
 */
void oci_netns_child(const struct kern *k, const struct plan *p, int netns, int sync) __attribute__((noreturn));
/* The other end of `sync`: waits for the outcome. 0, or a negative value with *f filled (also when the process vanished). */
int oci_netns_result(int sync, struct oci_fault *f);

/*
 * Make the sockets of a resolver in the network namespace of a process and load the rules that lead port 53 there. Ports in host byte order. 0, or -errno
 * (-EADDRINUSE) with nothing made. The caller is in another namespace meanwhile: it must have one thread.
 */
int oci_resolver(const struct kern *k, int pidfd, unsigned udp_port, unsigned tcp_port, const void *rules, size_t n, int ret[OCI_RESOLVER_FDS]);

/*
 * For containers that another runtime makes (PLAN_RUNTIME): mount the plan's root at a folder, in the caller's mount namespace; make a network namespace with
 * the plan's links and, in `ret_resolver`, the sockets of its name server. The latter gives a descriptor of the namespace, and in *ret_user one of the user
 * namespace it belongs to where the plan makes one. The caller has one thread.
 */
int oci_root_mount(const struct kern *k, const struct plan *p, const char *target, struct oci_fault *f);
int oci_netns_make(const struct kern *k, const struct plan *p, int ret_resolver[OCI_RESOLVER_FDS], int *ret_user, struct oci_fault *f);
/* Pipes that are to be somebody's streams in the container's user namespace become its root's: else /dev/stdout could not be opened there. */
void oci_give_streams(const struct plan *container, const int stdio[3]);

/* Set the limits of a running container anew: what oci_build_update() planned. 0, or a negative value with *f filled; limits set before that one stay. */
int oci_update(const struct kern *k, const struct plan *p, struct oci_fault *f);

/* Run the poststop hooks, after everything of the container is gone. 0, or a negative value with *f filled. */
int oci_poststop(const struct kern *k, const struct plan *p, struct oci_fault *f);
bool oci_has_poststop(const struct plan *p);

/* ---- cgroups of a plan ------------------------------------------------------------------------------------------------ */

/* Remove the groups; -EBUSY when processes are left. Groups that are gone are fine. */
int oci_cgroup_remove(const struct kern *k, const struct plan *p);
/* Send a signal to every process of the container's groups but `except` (0: none); returns how many were there. */
int oci_cgroup_signal(const struct kern *k, const struct plan *p, int sig, pid_t except);
/* Freeze or thaw and wait until it is so (at most 10 s). 0 or -errno. */
int oci_cgroup_freeze(const struct kern *k, const struct plan *p, bool freeze);
/* How often the kernel killed in the container for memory so far; negative when unknown. */
int64_t oci_cgroup_oom_kills(const struct kern *k, const struct plan *p);
/* Folder of the group that has a controller ("memory"), or of the unified one; NULL when the plan has none. */
const char *oci_cgroup_dir(const struct plan *p, const char *controller);

#endif
