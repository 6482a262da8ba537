// SPDX-License-Identifier: Apache-2.0
/*
 * proc.h - a process as /proc shows it, told apart from a later one with the same number.
 *
 * Purpose: process numbers are used again. What names a process for longer than the moment is its number together with its start time, field 22 of
 * /proc/PID/stat (proc(5)); whoever opens something of a process by its number asks for both.
 * Ownership: descriptors returned are close-on-exec and the caller's. Nothing here allocates. Threads: any.
 */
#ifndef HATAKE_KERN_PROC_H
#define HATAKE_KERN_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Of /proc/PID/stat what the engine needs. */
struct proc_stat {
    char state;     /* field 3: R, S, D, T, Z, X... */
    unsigned flags; /* field 9: PF_* of the kernel */
    uint64_t ticks; /* field 22: start time in clock ticks since the machine came up */
};

/* The process is on its way out (PF_EXITING): it runs no program any more. */
#define PROC_EXITING 0x4u

/* Reads the text of /proc/PID/stat; the name in it may hold any bytes. 0, or -EINVAL when it is none. */
int proc_stat_parse(const char *text, struct proc_stat *ret);

/* 0, -ESRCH when there is no such process, or another -errno. */
int proc_stat_of(pid_t pid, struct proc_stat *ret);

/* True while the process neither ended nor waits to be reaped. */
bool proc_is_alive(const struct proc_stat *s);

/*
 * The folder /proc/PID, opened with O_PATH: what is opened below it is this process's or fails, also when the number is given to another one meanwhile.
 * `ticks` is the start time it must have; 0 takes any. Returns the descriptor; -ESRCH when that process is gone, or another -errno.
 */
int proc_open(pid_t pid, uint64_t ticks);

/* As proc_open(), then `what` below it ("ns/net", "root") with `flags` of open(2) besides O_CLOEXEC. */
int proc_open_at(pid_t pid, uint64_t ticks, const char *what, int flags);

/*
 * Send `sig` to the process with this number and start time (0 takes any). Another one that has the number meanwhile is never hit: the process is held by
 * a pidfd while its start is looked at (pidfd_open(2), pidfd_send_signal(2)). 0, -ESRCH when that process is gone, or another -errno.
 */
int proc_signal(pid_t pid, uint64_t ticks, int sig);

#endif
