// SPDX-License-Identifier: Apache-2.0
/*
 * client.h - the daemon's side of the per-container monitors: starting them, talking to them, adopting them after a restart.
 *
 * Who is who: the launcher is a small process forked before any thread exists; it makes monitors (hatake-monitor, one per container), which make
 * containers. A monitor lives as long as its container and does not need the daemon: when the daemon dies it goes on, listens on
 * <exec_dir>/monitor.sock and keeps the exit in <exec_dir>/exit until a later daemon acknowledges it.
 *
 * Life cycle
 *   launcher_new() in main() before threads → launcher_start()/monitor_adopt() from any thread → events on one loop thread → launcher_free().
 *   A struct monitor is reference counted: launcher_start() and monitor_adopt() return one reference, callbacks borrow.
 *   After `exited` was delivered and stored for good, call monitor_acknowledge(): the monitor then removes its socket and record, and ends.
 *
 * Threads: all functions may be called from any thread. They block for the monitor's answer (a deadline of 30 s, ERR_DEADLINE) except where said.
 * Callbacks run on the loop thread of this module and must not call blocking functions of this header, other than monitor_acknowledge(),
 * monitor_ref(), monitor_unref().
 */
#ifndef HATAKE_MONITOR_CLIENT_H
#define HATAKE_MONITOR_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/idmap.h"
#include "monitor/launch.h"

struct launcher;
struct monitor;

struct monitor_exit {
    int code;            /* what the API shows: exit status, or 128 + signal */
    int signal;          /* 0 when it exited by itself */
    bool oom;            /* the kernel killed in this container for memory */
    int64_t finished_at; /* wall clock, ns */
};

enum monitor_health { MONITOR_HEALTH_NONE, MONITOR_HEALTH_STARTING, MONITOR_HEALTHY, MONITOR_UNHEALTHY };

/* A result of the health check, or with `status_only` just where the container stands. Borrowed for the call. */
struct monitor_probe {
    const char *exec_id;
    int code;           /* -1: it did not run, or not in time */
    int64_t start, end; /* wall clock, ns */
    const char *output; /* not terminated */
    size_t n_output;
    enum monitor_health status; /* of the container, after this result */
    int streak;                 /* failures in a row */
    bool status_only;
    bool replay; /* told before to an earlier daemon, or while there was none */
    bool ran;    /* the process was started */
    bool late;   /* ... and took too long */
    int ended;   /* code of the process, where late (137: it was killed) */
};

/* Events. `arg` is the one given with the monitor. Any member may be NULL. */
struct monitor_events {
    /* The container's init is gone, all its output was read, logged and queued to clients. Exactly once per monitor. */
    void (*exited)(void *arg, struct monitor *m, const struct monitor_exit *x);
    /* An exec process is gone and its output was queued; ids are those given to monitor_exec(). code as above. Maybe told more than once. */
    void (*exec_exited)(void *arg, struct monitor *m, const char *exec_id, int code);
    /* The kernel killed something in the container for memory (at most once a second). */
    void (*oom)(void *arg, struct monitor *m);
    /* A client left with the detach keys (exec_id is NULL for the container's own streams). */
    void (*detached)(void *arg, struct monitor *m, const char *exec_id);
    /* The monitor died without telling an exit (killed from outside) and cannot be reached. The container may or may not run: kill its cgroup. Once, instead of `exited`. */
    void (*lost)(void *arg, struct monitor *m);
    /* A health check begins; it is over with `probed`. */
    void (*probing)(void *arg, struct monitor *m, const char *exec_id);
    void (*probed)(void *arg, struct monitor *m, const struct monitor_probe *p);
};

struct launcher_config {
    const char *monitor_path;          /* hatake-monitor */
    const char *data_root, *exec_root; /* binds from below them need no host mounts */
};

/* Fork the launcher. Must be called while the process has one thread. 0, or an error. */
int launcher_new(const struct launcher_config *config, struct launcher **ret, struct err *e);
/* Close down: stop the loop thread, end the launcher process. Monitors and containers live on. Takes NULL, returns NULL. */
struct launcher *launcher_free(struct launcher *l);

/*
 * Start a container and return once its program runs.
 * On failure the message is complete, as the reference's daemon words it for its own runtime, e.g.
 *   failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container
 *   process: exec: "nope": executable file not found in $PATH: unknown
 * and *ret_exit_code (may be NULL) is what the container's record gets: 127 (not found), 126 (not executable, is a directory), else 128.
 * kind is ERR_INVALID for faults of the caller's configuration (the reference answers 400 for 126/127), ERR_INTERNAL otherwise.
 */
int launcher_start(struct launcher *l, struct launch_request *req, const struct monitor_events *ev, void *arg, struct monitor **ret,
                   int *ret_exit_code, struct err *e);

/*
 * Change the network of a running container (launch.h), from a child of the launcher that enters its network namespace. All or an error; what a failed
 * change has made inside stays for the caller to take away. Texts as those of a start, without prefix.
 */
int launcher_netns(struct launcher *l, const struct launch_netns *req, struct err *e);

/*
 * Mounts that the daemon needs, made by the launcher: a tmpfs of `size` bytes at a folder, owned by root of `ids` (NULL: of the machine; a negative size: take it
 * away; fine when it is not there), and a view of layers (topmost first), read-only and attached nowhere: a descriptor. ERR_INTERNAL with errnum.
 */
int launcher_shm(struct launcher *l, const char *path, int64_t size, const struct idmap *ids, struct err *e);
int launcher_view(struct launcher *l, const char *upper, const struct strv *lowers, struct err *e);

/*
 * Find a container started by an earlier daemon. ERR_NOT_FOUND: no monitor and no exit record (the machine was restarted, or it was killed).
 * When only the exit record is left, `exited` is delivered like from a live monitor.
 */
int monitor_adopt(struct launcher *l, const char *exec_dir, const char *id, const struct monitor_events *ev, void *arg, struct monitor **ret,
                  struct err *e);

struct monitor *monitor_ref(struct monitor *m);
struct monitor *monitor_unref(struct monitor *m);

/* Facts that never change after the start. */
pid_t monitor_container_pid(const struct monitor *m);  /* init as the host sees it */
pid_t monitor_pid(const struct monitor *m);            /* the monitor itself */
int64_t monitor_started_at(const struct monitor *m);   /* wall clock, ns */
uint64_t monitor_start_ticks(const struct monitor *m); /* field 22 of /proc/PID/stat of init */

/* Let go after the exit was stored. Does not block. */
void monitor_acknowledge(struct monitor *m);

/* Attach one more client; the fd is the monitor's afterwards in every case. ERR_CONFLICT when the container is gone. */
int monitor_attach(struct monitor *m, struct launch_attach *attach, struct err *e);
/* Size of the container's terminal; ERR_CONFLICT without one. */
int monitor_resize(struct monitor *m, int rows, int cols, struct err *e);
/*
 * Send a signal to init, or with `all` to every process of the container's cgroup. ERR_CONFLICT when init is gone.
 */
int monitor_signal(struct monitor *m, int sig, bool all, struct err *e);
int monitor_pause(struct monitor *m, struct err *e);
int monitor_resume(struct monitor *m, struct err *e);

/*
 * Give a running container a name server (struct launch_resolver); fine when it has one. ERR_CONFLICT: the container is gone; ERR_INTERNAL with errnum
 * EADDRINUSE: one of the ports is taken in there.
 */
int monitor_resolver(struct monitor *m, const struct launch_resolver *r, struct err *e);
/* Copies of its sockets, the caller's from here on; false when there are none that were not taken before. Does not block. */
bool monitor_take_resolver(struct monitor *m, int ret[LAUNCH_RESOLVER_FDS]);

struct monitor_exec_request {
    const char *exec_id;
    json_t *process;              /* OCI `process` object: args, env, cwd, user, capabilities, terminal, consoleSize, noNewPrivileges, ... */
    json_t *spec;                 /* the container's spec: its seccomp and namespaces apply; not consumed */
    struct launch_attach *attach; /* usually one client; none: detached, streams to /dev/null */
    size_t n_attach;
    bool stdin_open; /* false: standard input is /dev/null */
};

/*
 * Start a process in the container and return once it runs; *ret_pid is its host pid.
 * Failure text as the reference words it ("OCI runtime exec failed: exec failed: unable to start container process: exec: \"x\": executable file
 * not found in $PATH: unknown"), *ret_exit_code 126/127 as above. Streams of the request are closed when it fails.
 */
int monitor_exec(struct monitor *m, struct monitor_exec_request *req, pid_t *ret_pid, int *ret_exit_code, struct err *e);
int monitor_exec_resize(struct monitor *m, const char *exec_id, int rows, int cols, struct err *e);

/* Apply changed limits of an OCI `linux.resources` object to the running container. */
int monitor_update(struct monitor *m, json_t *resources, struct err *e);

#endif
