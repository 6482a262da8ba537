// SPDX-License-Identifier: Apache-2.0
/*
 * container-internal.h - how containers are kept; for engine/container and engine/exec only.
 *
 * A container has three parts:
 *   struct ctr_fixed   what create decided: configuration, host configuration, image, mounts. Immutable, counted.
 *   struct ctr_view    one moment of its life: name, state, times, exit, network settings. Immutable once published, counted, shares ctr_fixed.
 *   struct container   the object: the token, the current view, waiters, and the handles of what runs.
 * A change: hold the token, container_edit() (a copy of the view to be changed), container_commit() (one row change, then the swap).
 */
#ifndef HATAKE_CONTAINER_INTERNAL_H
#define HATAKE_CONTAINER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/limits.h"
#include "base/map.h"
#include "container/container.h"
#include "container/state.h"
#include "db/db.h"
#include "monitor/client.h"
#include "types.h"

struct endpoint;
struct group_cache;
struct image;
struct volume;
struct ctr_freezing;
struct ctr_reaper;
struct logwatch;
struct loop_watch;

/* One mount a container gets besides the fixed ones, in the order of their destinations. */
enum ctr_mount_kind { CTR_MOUNT_BIND, CTR_MOUNT_VOLUME, CTR_MOUNT_TMPFS };
struct ctr_mount {
    enum ctr_mount_kind kind;
    char *source;      /* bind: host path; volume: its folder, filled at create */
    char *destination; /* cleaned absolute path */
    char *shown;       /* as inspect shows it; NULL: like destination */
    char *volume;      /* name */
    char *driver;
    char *mode;        /* as inspect shows it ("z", "ro,rslave") */
    char *propagation; /* "rprivate", ... "" */
    char *options;     /* tmpfs: mount options, comma separated */
    char *subpath;     /* volume: folder inside of it */
    char *spec;        /* the text of Binds it came from; NULL for Mounts and anonymous volumes */
    bool rw, anonymous, no_copy, non_recursive, ro_non_recursive, ro_force_recursive, make_source;
    bool own_propagation; /* not asked for: where the source's mount does not pass anything on, that is no error */
    bool from_mounts;     /* came from HostConfig.Mounts */
};
struct ctr_mounts {
    size_t n;
    struct ctr_mount *v;
};
void ctr_mount_done(struct ctr_mount *m);
void ctr_mounts_done(struct ctr_mounts *l);

/* A legacy link to another container (links.h). */
struct ctr_link {
    char id[65];
    char *name;  /* the other's, when the link was made */
    char *alias; /* without slashes around it */
};
struct ctr_links {
    size_t n;
    struct ctr_link *v;
};
void ctr_link_done(struct ctr_link *l);
void ctr_links_done(struct ctr_links *l);

struct ctr_fixed {
    atomic_int refs;
    char id[65];
    int64_t row;     /* its number in the database, given by container_store_insert() */
    int64_t created; /* wall clock, ns */
    char *image_id;  /* "sha256:..." */
    char *platform;  /* "linux" */
    char *driver;    /* storage driver */
    char *path;      /* argv[0] */
    struct api_string_list args;
    struct api_container_config config;
    struct api_host_config host;
    struct api_networking_config networking; /* endpoints as wanted at create */
    struct ctr_mounts mounts;
    struct ctr_links links;
    char *log_path; /* as inspect shows it; "" without a json-file log */
    char *log_file; /* where the log is; "" without one */
};
struct ctr_fixed *ctr_fixed_new(void);
struct ctr_fixed *ctr_fixed_ref(struct ctr_fixed *f);
struct ctr_fixed *ctr_fixed_unref(struct ctr_fixed *f);
/* A deep copy, to be changed before anybody else has it. */
int ctr_fixed_copy(const struct ctr_fixed *f, struct ctr_fixed **ret, struct err *e);
DEFINE_CLEANUP(struct ctr_fixed *, ctr_fixed_unref)

/* Network settings as inspect shows them. Immutable, counted. */
struct ctr_net {
    atomic_int refs;
    struct api_network_settings s;
    char *saved; /* JSON array of what endpoint_save() gave; NULL: none */
};
struct ctr_net *ctr_net_new(void);
struct ctr_net *ctr_net_ref(struct ctr_net *n);
struct ctr_net *ctr_net_unref(struct ctr_net *n);
DEFINE_CLEANUP(struct ctr_net *, ctr_net_unref)

/* What is known of its health (health.h). Immutable once published, counted. */
struct ctr_health_result {
    int64_t start, end, code;
    char *output;
};
struct ctr_health {
    atomic_int refs;
    enum monitor_health status;
    int streak; /* failures in a row */
    size_t n;
    struct ctr_health_result log[LIMIT_HEALTH_LOG];
};
struct ctr_health *ctr_health_ref(struct ctr_health *h); /* takes NULL */
struct ctr_health *ctr_health_unref(struct ctr_health *h);
DEFINE_CLEANUP(struct ctr_health *, ctr_health_unref)
#define _cleanup_health_ _cleanup_(ctr_health_unrefp)
/* Append a result, dropping the oldest; only on a snapshot that nobody else has yet. */
int ctr_health_add(struct ctr_health *h, int64_t start, int64_t end, int64_t code, const char *output, size_t n);

/* Text of a container in lists: where sizes belong in it, where the status is that it has not (two quotes), its length. */
struct ctr_entry {
    size_t sizes, status, n;
    char text[];
};

struct ctr_view {
    atomic_int refs;
    struct ctr_fixed *fixed;
    struct ctr_net *net;       /* never NULL */
    struct ctr_health *health; /* for the row alone; what is known now is the container's */
    char *name;                /* without '/' */
    enum ctr_state state;
    int64_t pid;
    uint64_t pid_ticks;
    int exit_code;
    bool oom;
    bool ever_started;
    bool has_files, has_hostname;    /* hosts and resolv.conf, hostname were written: inspect shows their paths */
    bool stopped_by_user;            /* asked to stop since the last start: restart policies stand back */
    char *error;                     /* State.Error; never NULL */
    char *joined_hostname;           /* of the container whose network it shares; NULL: its own */
    char joined_id[65];              /* that container; "" for none */
    int64_t started_at, finished_at; /* CLOCK_ZERO: never */
    int64_t restart_count;
    /* prebuilt text, made by the first reader: see list.c and inspect.c */
    _Atomic(struct ctr_entry *) entry;
    _Atomic(char *) inspect;
    /* counted once where nothing runs: container_size() */
    atomic_bool sized;
    atomic_llong size_rw, size_root;
};
struct ctr_view *ctr_view_unref(struct ctr_view *v);
DEFINE_CLEANUP(struct ctr_view *, ctr_view_unref)
#define _cleanup_view_ _cleanup_(ctr_view_unrefp)

/* How an attach client waits for the start. */
struct ctr_client {
    int fd;
    void *early;
    size_t n_early;
    bool in, out, err, framed;
    struct launch_keys keys;
    struct ctr_client *next;
};
struct ctr_client *ctr_client_free(struct ctr_client *c); /* closes the descriptor; returns NULL */

enum ctr_wait { CTR_WAIT_NOT_RUNNING, CTR_WAIT_NEXT_EXIT, CTR_WAIT_REMOVED };
struct ctr_waiter {
    struct ctr_waiter *next;
    enum ctr_wait condition;
    /* Called once, from the thread that made the change, with no lock held. `gone`: the container was removed. */
    void (*done)(struct ctr_waiter *w, int exit_code, const char *error);
    bool queued;
};

struct container {
    atomic_int refs;
    struct containers *cs;
    char id[65];
    pthread_mutex_t lock;  /* everything down to `waiters`; held for moments only */
    pthread_cond_t change; /* token freed, view swapped */
    bool busy;             /* the token */
    bool gone;             /* removed: no longer in the index */
    struct ctr_view *view;
    struct ctr_health *health; /* last news of the checks; NULL: never had one */
    struct monitor *monitor;   /* of the present run; NULL when nothing runs */
    uint64_t run;              /* number of the present run: notes of an earlier run are dropped */
    atomic_bool oom;           /* memory ran out in the present run: shown at once, in the view with its end */
    bool exit_noted;           /* the process ended while somebody held the token */
    struct ctr_facts exit_facts;
    struct ctr_waiter *waiters;
    struct ctr_client *clients;
    int attaching; /* clients that may have their reply already and are not in `clients` or with the monitor yet: a start and the next attach wait for them */
    struct strv execs; /* ids of live exec instances */
    /* with the token */
    struct endpoint **endpoints;
    size_t n_endpoints;
    unsigned next_interface;          /* number of the next eth interface; goes on counting while it runs */
    atomic_bool netns_lent;           /* others live in its network namespace, so its links do not end with it */
    struct volume **volumes;          /* held from create to remove, in the order of the volume mounts of `fixed` */
    size_t n_volumes, n_volumes_used; /* used: mounted by this run */
    char *pending_hostname;           /* with pending_net: the joined host name that the next transition publishes */
    char pending_joined[65];
    struct ctr_net *pending_net; /* network settings that the next transition publishes; NULL: as they are */
    bool want_remove;            /* remove as soon as the token is free (auto-remove) */
    bool no_auto_remove;         /* a restart or a removal by hand is under way */
    bool stop_event;             /* tell of the stop when the end comes */
    int64_t backoff;             /* delay before the next automatic restart, ns */
    uint64_t timer;              /* of the restart */
    bool fresh;                  /* never started: the writable layer is as created */
};

struct containers {
    struct engine *engine;
    pthread_mutex_t lock;      /* the index */
    struct map by_id, by_name; /* struct container *, one reference (of by_id) */
    struct container **sorted; /* by id, for prefixes */
    size_t n_sorted, cap_sorted;
    struct ctr_reaper *reaper;
    struct ctr_freezing *freezing;
    struct group_cache *group_cache; /* for statistics */
    struct departed *departed;
    atomic_bool stopping, pruning;
    atomic_size_t n_links;     /* of all containers: without any there is nothing to look for */
    struct logwatch *logwatch; /* of all followers; the loop's thread alone touches it */
    struct loop_watch *logwatch_fd;
    pthread_mutex_t users_lock;
    struct map users; /* user resolution of fresh containers, by image and user text */
};

/* ---- container.c: the index, views and the token --------------------------------------------------------------------- */
/* Current view, counted. */
struct ctr_view *container_view(struct container *c);
/* A private copy of the current view, to be changed and committed (or released). Needs the token. NULL: out of memory. */
struct ctr_view *container_edit(struct container *c);
/*
 * Bytes of what the container wrote, and of its whole root. The files of one that runs are counted each time; one that does not changes only by what ends in
 * another view (start, files copied into it).
 */
int container_size(struct container *c, struct ctr_view *v, int64_t *ret_rw, int64_t *ret_root, struct err *e);
/* Remember that somebody asked it to stop (or to start); part of the next row that is written. Needs the token. */
void container_set_stopped_by_user(struct container *c, bool by_user);
/* Write the row, then publish the edited view; eats the edit in both cases. Needs the token. */
int container_commit(struct container *c, struct ctr_view *edit, struct err *e);
/* Publish without writing the row: for facts that hold whether the disk is full or not. */
void container_publish(struct container *c, struct ctr_view *edit);
/*
 * Put a new container into the index with its row; the name must be free: ERR_CONFLICT with the reference's text. Eats `first`. The
 * container comes back counted and with its token held by the caller.
 */
int containers_insert(struct containers *cs, struct ctr_view *first, struct container **ret, struct err *e);
int container_rename(struct container *c, const char *name, struct err *e);
/* Write and publish what create decided anew, after a change of it; eats `f` in every case. Needs the token. */
int container_replace_fixed(struct container *c, struct ctr_fixed *f, struct err *e);
/* Take the record out of index and database. Needs the token. */
int container_erase(struct container *c, struct err *e);
void container_token_take(struct container *c);
bool container_token_try(struct container *c);
/* Applies what was noted meanwhile (an exit, an automatic removal), then frees the token. */
void container_token_drop(struct container *c);
/* Wait until the state is none of running/paused/restarting, at most until the monotonic deadline (INT64_MAX: for ever). False: still running. */
bool container_wait_stopped(struct container *c, int64_t deadline_mono);
/* Register; called at once (true) when the condition holds already. */
bool container_add_waiter(struct container *c, struct ctr_waiter *w);
/* False when it was not queued any more (done was or is being called). */
bool container_cancel_waiter(struct container *c, struct ctr_waiter *w);
void container_wake(struct container *c, enum ctr_wait what, int exit_code, const char *error);
static inline bool ctr_state_alive(enum ctr_state s) {
    return s == ctr_running || s == ctr_paused || s == ctr_restarting;
}
/* Put an event out: attributes are image, name, the labels, and the extra KEY=VALUE pairs (NULL-terminated). */
void container_event(struct container *c, const char *action, ...) __attribute__((sentinel));
/* "<data root>/containers/<id>[/file]" */
char *container_path(const struct container *c, const char *file);
/* hosts, hostname or resolv.conf: those of the container whose network it shares, through however many that share it. */
char *container_net_path(const struct container *c, const struct ctr_view *v, const char *file);

/* "10m", "1.5 GiB", "512" (bytes, k, m, g, t, p; powers of 1024). 0 or -EINVAL. */
int ctr_size_parse(const char *text, uint64_t *ret);

/* ---- container-store.c ------------------------------------------------------------------------------------------------ */
int container_store_setup(struct db *db, struct err *e);
/* Gives the container its row number. also (may be NULL) adds rows of others in the same transaction. */
int container_store_insert(struct db *db, const struct ctr_view *v, int (*also)(void *arg, struct err *e), void *arg, struct err *e);
/* All but its name. */
int container_store_update(struct db *db, const struct ctr_view *v, struct err *e);
/* The same without waiting for the disk: for what a loss of power undoes anyway (db_exec_soon()). */
int container_store_update_soon(struct db *db, const struct ctr_view *v, struct err *e);
/* The name, too. */
int container_store_rename(struct db *db, const struct ctr_view *v, struct err *e);
/* What create decided has been changed by an update. */
int container_store_update_fixed(struct db *db, const struct ctr_fixed *f, struct err *e);
int container_store_delete(struct db *db, const struct ctr_fixed *f, struct err *e);
/* All records; each is handed to fn, which owns it. */
int container_store_each(struct db *db, int (*fn)(struct ctr_view *v, void *arg, struct err *e), void *arg, struct err *e);
/* Text forms, also used by tests: what create decided, and one moment. */
int ctr_fixed_write(const struct ctr_fixed *f, struct buf *out, struct err *e);
int ctr_fixed_read(const char *text, size_t n, struct ctr_fixed **ret, struct err *e);
int ctr_view_write(const struct ctr_view *v, struct buf *out, struct err *e);
int ctr_view_read(const char *text, size_t n, struct ctr_fixed *fixed, struct ctr_view **ret, struct err *e);

/* ---- name.c ------------------------------------------------------------------------------------------------------------- */
/* Valid by the rule [a-zA-Z0-9][a-zA-Z0-9_.-]+ (a leading '/' was removed before). */
bool ctr_name_valid(const char *name);
/* Two random words, with a digit when `attempt` is above 0. */
void ctr_name_random(int attempt, char ret[64]);

#endif
