// SPDX-License-Identifier: Apache-2.0
/*
 * watch.h - the inside of hatake-monitor: one process, one thread, one epoll. Shared by its files, nobody else includes it.
 *
 * A `proc` is a process of the container that the monitor started: the first one (the container itself) and the execs. It has up to three stream ends (or a
 * terminal). A `client` is a connected stream socket that takes output of one proc and may give its input. Memory is taken when a client or an
 * exec comes and given back when it goes; a monitor of a quiet container owns a few pages.
 *
 * Output of a proc goes first to the log, then to each client. A client that does not take it gets CLIENT_MEMORY kept in memory and is then "behind":
 * it reads from the file that all such clients of the proc share (spool.h). Only when that has SPOOL_MAX, or cannot be, the container's own output waits (R17).
 */
#ifndef HATAKE_MONITOR_WATCH_H
#define HATAKE_MONITOR_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/limits.h"
#include "base/log.h"
#include "logdrv/logdrv.h"
#include "monitor/proto.h"
#include "monitor/spool.h"
#include "oci/exec.h"

#define READ_BLOCK SPOOL_RECORD_MAX
#define CLIENT_MEMORY KIB(64)

struct health;
struct mon;
struct proc;

enum src_kind { SRC_SIGNAL, SRC_CONTROL, SRC_LISTEN, SRC_STDOUT, SRC_STDERR, SRC_STDIN, SRC_CLIENT, SRC_OOM, SRC_TIMER, SRC_HEALTH, SRC_LOG };

/* What an epoll event points at. */
struct src {
    enum src_kind kind;
    int fd;
    uint32_t events;
    void *owner; /* struct proc or struct client */
};

struct client {
    struct client *next;
    struct src src;
    struct proc *proc;
    unsigned flags; /* MP_CLIENT_* */
    /* to the client */
    char *out;
    size_t out_at, out_n, out_cap;
    bool behind; /* goes on at `at` of the proc's spool, after what is in `out` */
    uint64_t at;
    bool ending; /* close when everything is delivered */
    bool dead;   /* free at the end of this round */
    /* from the client */
    char *in; /* bytes that standard input did not take yet */
    size_t in_at, in_n;
    bool in_done; /* end of its input seen */
    uint8_t keys[LIMIT_DETACH_KEYS];
    size_t n_keys, keys_seen;
};

struct proc {
    struct proc *next;
    char id[MP_EXEC_ID_MAX]; /* "" for the container */
    pid_t pid;
    int pidfd, pty;
    int pts; /* the terminal's other side, held while the process runs: closing its ends and opening them again later (as systemd does) is no end of output */
    bool tty, stdin_open, stdin_once, stdin_client; /* stdin_client: some client feeds it */
    struct src in, out, err;                        /* with a tty only `out` is watched, and `in` has the same descriptor */
    struct client *clients;
    struct spool spool;
    bool exited, told, paused;
    bool known;    /* the daemon has said that it knows of the end */
    bool is_probe; /* of a health check: its output goes to health.c */
    int code, signal;
    uint64_t trace;    /* of the request that started it */
    int64_t exited_ns; /* monotonic */
    struct log_copier copier[2];
};

struct mon {
    const struct kern *k;
    int mounts; /* keeps the container's mounts until its end was told */
    const void *plan_mem;
    size_t plan_size;
    struct plan plan;
    char id[80];
    char exec_dir[512];
    int ep, control_fd;
    struct src control, listen, signals, oom, timer;
    struct src log_out; /* the log's connection (not ours to close) while messages wait for room on it */
    unsigned log_connection;
    struct proc first;
    struct proc *execs;
    struct log_writer log;
    uint64_t log_lost;   /* of its lost messages, those that the daemon was told of... */
    int64_t log_lost_at; /* ...and when (monotonic ns) */
    uint64_t trace;      /* of the request under way, else of the start */
    bool tell_all;       /* the daemon wants to hear more than failures */
    bool has_log, started, acked, exit_sent, cleared, timer_on;
    int64_t started_at, finished_at;
    uint64_t ticks;
    bool oom_killed;                /* the daemon was told */
    struct health *health;          /* NULL: no check */
    int resolver[OCI_RESOLVER_FDS]; /* sockets of the container's name server, or -EBADF */
    char *block;                    /* READ_BLOCK bytes for reading, untouched pages while idle */
    char *body;                     /* MP_BODY_MAX + 1 */
};

/* watch.c */
int src_set(struct mon *m, struct src *s, uint32_t events);
void src_close(struct mon *m, struct src *s);
void mon_event(struct mon *m, enum mp_type type, int64_t a, int64_t b, int64_t c, int64_t d, const char *text);
void mon_send(struct mon *m, const struct mp_head *h, const void *body);
/* A line for the daemon's log; without a daemon nobody hears it. */
void mon_log(struct mon *m, enum log_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Say in the daemon's log how many messages the log driver has lost: at once, then every ten seconds at most, and what is left at the end. */
void mon_tell_lost(struct mon *m, bool at_end);
struct proc *proc_find(struct mon *m, const char *id);
void mon_control_lost(struct mon *m);
/* Of one that has ended: wait no longer for others who hold its streams. */
void proc_abandon(struct mon *m, struct proc *p);
void mon_tell_exit(struct mon *m);
void mon_tell_exec(struct mon *m, const struct proc *p);

/* start.c */
/* Memory whose pages cost nothing until they are written; NULL when there is none. */
void *mon_untouched(size_t n);
/* v1 tells through an eventfd that memory is short; only worth its descriptor once a limit was set, by this plan of the start or of an update. */
void mon_watch_oom(struct mon *m, const struct plan *limits);

/* streams.c */
void proc_init(struct proc *p);
int proc_pipes(struct mon *m, struct proc *p, int ret_child[3]);
void proc_watch(struct mon *m, struct proc *p);
void proc_output(struct mon *m, struct src *s);
void proc_drain(struct mon *m, struct proc *p);
bool proc_streams_done(const struct proc *p);
void proc_end_clients(struct mon *m, struct proc *p);
void proc_close(struct mon *m, struct proc *p);
int client_add(struct mon *m, struct proc *p, int fd, unsigned flags, const char *keys, int64_t n_keys, const char *early, size_t n_early);
void client_event(struct mon *m, struct client *c, uint32_t events);
void proc_stdin_ready(struct mon *m, struct proc *p);
/* What the log has queued may go out: send it, and go on with the container that waited for it. */
void log_ready(struct mon *m);
/* Milliseconds until the log's receiver is to be tried again; -1: never. */
int log_patience(const struct mon *m);
void clients_sweep(struct mon *m, struct proc *p);

/* requests.c */
void mon_request(struct mon *m, struct mp_head *h, const char *body, int *fds, int n_fds);
/* Map a plan that came as a descriptor; 0 or -errno. */
int plan_map(int fd, struct plan *ret, const void **ret_mem, size_t *ret_n);
/* Start a further process in the container: p->pid, pidfd and pty, and its pipes (`piped`; without, its streams are the null device). 0 or -errno, *f filled. */
int proc_exec(struct mon *m, struct proc *p, const struct plan *plan, bool piped, struct oci_fault *f);

#endif
