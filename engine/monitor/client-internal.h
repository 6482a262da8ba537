// SPDX-License-Identifier: Apache-2.0
/* client-internal.h - the daemon's side of monitors: what client.c (launcher, starting, adopting), client-loop.c and client-request.c share. */
#ifndef HATAKE_MONITOR_CLIENT_INTERNAL_H
#define HATAKE_MONITOR_CLIENT_INTERNAL_H

#include <pthread.h>

#include "monitor/client.h"
#include "monitor/launcher-internal.h"
#include "monitor/proto.h"

#define ANSWER_SECONDS 30
#define START_SECONDS 120
#define GONE_SECONDS 5

/* A request waiting for its reply; lives on the caller's stack, linked under the monitor's lock. */
struct waiting {
    struct waiting *next;
    uint32_t seq;
    bool done;
    struct mp_head h;
    char text[2048];
};

enum monitor_state { STARTING, RUNNING, FAILED, EXITED, LOST };

struct monitor {
    struct monitor *next; /* in the launcher's list */
    struct launcher *l;
    int refs; /* atomic */
    char *id, *exec_dir;
    int fd; /* -EBADF once gone; closed by the loop thread only */
    struct monitor_events ev;
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    enum monitor_state state;
    bool foreign;          /* another runtime made it */
    bool taken;            /* it has another daemon. Of the loop thread */
    bool announced, acked; /* `exited` or `lost` was delivered; acknowledged */
    pid_t pid, own_pid;
    uint64_t ticks;
    int64_t started_at;
    struct waiting *waiting;
    uint32_t seq;
    int fail_errnum;
    char *fail_text;
    int resolver[LAUNCH_RESOLVER_FDS]; /* copies that nobody has taken yet, or -EBADF */
};

struct launcher {
    pid_t pid;
    int sock;
    pthread_mutex_t spawn_lock; /* one request to the launcher at a time */
    pthread_mutex_t lock;       /* list and loop start */
    pthread_cond_t gone;        /* a monitor has left the list */
    struct monitor *monitors;
    bool loop_running, stop;
    pthread_t thread;
    int ep, wake;
    struct cgroup_layout cgroups;
    bool has_cgroups;
    struct seccomp_cache *cache;
};

/* ---- client-loop.c: the thread that hears all monitors */
/* Start it, once. */
int client_loop(struct launcher *l, struct err *e);
/* Take a monitor off the launcher's list; the list's reference goes with it. */
void client_forget(struct launcher *l, struct monitor *m);
/* What a monitor left behind when its container ended: 0, or negative when there is none or it cannot be read. */
int client_exit_record(const char *exec_dir, struct monitor_exit *ret);
/* Tell of the end, the first time only. */
void client_announce_exit(struct monitor *m, const struct monitor_exit *x);
void client_health(struct monitor *m, const struct mp_head *h, const char *body);

/* ---- client.c */
/* Connect to the monitor of a container that runs, and ask it to tell where it is. Descriptor or -errno. */
int client_connect(const char *exec_dir);

/* ---- client-request.c: what is asked of one monitor */
/* The calling thread's trace id as a number; 0: none. */
uint64_t client_trace(void);
/* On the monotonic clock. */
struct timespec client_deadline(int seconds);
/* The request bytes of an attach: exec id, keys, early bytes. `a` may be NULL; its descriptor is closed, but for -EAGAIN (flags: MSG_DONTWAIT). */
int client_send_attach(int sock, enum mp_type type, uint32_t seq, const char *exec_id, struct launch_attach *a, int plan, int64_t stdin_open,
                       int flags);
void client_close_attach(struct launch_attach *a, size_t n);
/* A failure to start in the words of the reference's daemon; *ret_code (may be NULL): the exit code it records. */
int client_translate(const char *prefix, const char *text, int *ret_code, struct err *e);
/* The plan of one more process in a container of this document (`foreign`: of another runtime): a sealed memfd, or negative. */
int client_process_plan(struct launcher *l, const json_t *process, const json_t *spec, bool foreign, struct err *e);

#endif
