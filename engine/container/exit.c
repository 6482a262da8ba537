// SPDX-License-Identifier: Apache-2.0
#include <signal.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "container/clear.h"
#include "container/departed.h"
#include "container/health.h"
#include "container/life.h"
#include "container/netting.h"
#include "container/reaper.h"
#include "container/shm.h"
#include "exec/exec.h"
#include "kern/proc.h"
#include "volume/volume.h"
#include "wire/loop.h"

#define BACKOFF_FIRST (100 * NSEC_PER_MSEC)
#define BACKOFF_MAX (60 * NSEC_PER_SEC)
#define BACKOFF_FORGET (10 * NSEC_PER_SEC)

/* ---- which run an event belongs to --------------------------------------------------------------------------------------------- */
struct ctr_run {
    struct container *c; /* counted */
    uint64_t number;
};

struct ctr_run *ctr_run_new(struct container *c, uint64_t number) {
    struct ctr_run *r = malloc(sizeof(*r));

    if (r)
        *r = (struct ctr_run){container_ref(c), number};
    return r;
}

void ctr_run_free(struct ctr_run *r) {
    if (!r)
        return;
    container_unref(r->c);
    free(r);
}

/* ---- restart policies -------------------------------------------------------------------------------------------------------------- */
bool ctr_wants_restart(const struct api_restart_policy *p, int exit_code, int64_t count, bool by_user) {
    const char *name = p && p->name ? p->name : "no";

    if (by_user)
        return false;
    if (streq(name, "always") || streq(name, "unless-stopped"))
        return true;
    if (!streq(name, "on-failure") || exit_code == 0)
        return false;
    return !p->has_maximum_retry_count || p->maximum_retry_count == 0 || count < p->maximum_retry_count;
}

int64_t ctr_next_backoff(int64_t last, int64_t ran) {
    if (last == 0 || ran >= BACKOFF_FORGET)
        return BACKOFF_FIRST;
    return MIN(last * 2, BACKOFF_MAX);
}

struct retry {
    struct container *c; /* counted */
    uint64_t timer;
};

/* On a tidying thread: starting blocks. */
static void retry_now(void *arg) {
    struct retry *t = arg;
    struct container *c = t->c;
    _cleanup_err_ struct err e = ERR_INIT;

    {
        LEASE_ANY struct ctr_held h = CTR_HELD_INIT;

        if (ctr_hold(c, &h, NULL) >= 0 && h.restarting && c->timer == t->timer && !atomic_load(&c->cs->stopping) &&
            container_start_held(&h, &e) < 0) {
            struct ctr_facts facts = {.error = err_msg(&e)};
            struct is_exited *next = NULL;

            log_kv(LOG_LVL_WARN, "a container could not be restarted", "container", c->id, "error", err_msg(&e), NULL);
            if (ctr_give_up(&h.restarting, &next, &facts, NULL) >= 0)
                h.exited = next;
            ignore_result(container_store_update(c->cs->engine->db, c->view, NULL));
            container_wake(c, CTR_WAIT_NOT_RUNNING, c->view->exit_code, err_msg(&e));
        }
    }
    container_unref(c);
    free(t);
}

static void retry_fired(struct loop_timer *timer, void *data) {
    struct retry *t = data;

    loop_timer_free(timer);
    ctr_reaper_put(t->c->cs->reaper, retry_now, t);
}

struct retry_plan {
    struct retry *t;
    int64_t delay;
};

static void retry_plan(void *data) {
    struct retry_plan *p = data;
    struct loop_timer *timer;

    if (loop_timer(p->t->c->cs->engine->loop, p->delay, 0, retry_fired, p->t, &timer, NULL) < 0)
        ctr_reaper_put(p->t->c->cs->reaper, retry_now, p->t);
    free(p);
}

static void retry_later(struct container *c, int64_t delay) {
    struct retry_plan *p = malloc(sizeof(*p));
    struct retry *t = malloc(sizeof(*t));

    if (!p || !t) {
        free(p);
        free(t);
        return;
    }
    *t = (struct retry){container_ref(c), ++c->timer};
    *p = (struct retry_plan){t, delay};
    if (loop_post(c->cs->engine->loop, retry_plan, p, NULL) < 0) {
        container_unref(c);
        free(t);
        free(p);
    }
}

/* ---- the end of a run -------------------------------------------------------------------------------------------------------------- */
void container_unplug(struct container *c) {
    net_unplug(c);
    if (c->view->fixed->host.ipc_mode && streq(c->view->fixed->host.ipc_mode, "shareable"))
        ctr_shm_unmount(c);
    for (size_t i = 0; i < c->n_volumes_used; i++)
        volumes_unmount(c->cs->engine->volumes, c->volumes[i], c->id);
    c->n_volumes_used = 0;
}

static void die_event(struct container *c, const struct ctr_facts *f, int64_t started) {
    char code[32], lasted[48];

    snprintf(code, sizeof(code), "exitCode=%d", f->exit_code);
    snprintf(lasted, sizeof(lasted), "execDuration=%lld", (long long)((f->at - started) / NSEC_PER_SEC));
    container_event(c, "die", code, lasted, NULL);
}

static int to_restarting(struct ctr_held *h, const struct ctr_facts *f) {
    struct is_restarting *next = NULL;
    int r = h->running ? ctr_retry(&h->running, &next, f, NULL) : ctr_retry(&h->paused, &next, f, NULL);

    if (r >= 0)
        h->restarting = next;
    return r;
}

static int to_exited(struct ctr_held *h, const struct ctr_facts *f) {
    struct is_exited *next = NULL;
    int r = h->running ? ctr_die(&h->running, &next, f, NULL) : ctr_die(&h->paused, &next, f, NULL);

    if (r >= 0)
        h->exited = next;
    return r;
}

static void store(struct container *c) {
    _cleanup_err_ struct err e = ERR_INIT;

    if (container_store_update(c->cs->engine->db, c->view, &e) < 0)
        log_kv(LOG_LVL_ERROR, "the end of a container could not be stored", "container", c->id, "error", err_msg(&e), NULL);
}

/*
 * The order matters: addresses and ports are free, then the view changes, then whoever waits is told, then the row is written, then the monitor may
 * forget the exit. A crash in between only means that the next engine learns the exit from the monitor again.
 */
void container_apply_exit(struct container *c, const struct ctr_facts *facts) {
    struct ctr_held h = CTR_HELD_INIT;
    const struct api_host_config *host;
    struct monitor *m;
    struct ctr_net *net = NULL;
    int64_t started, ran;
    bool again, remove;

    ctr_held_inside(c, &h);
    host = &c->view->fixed->host;
    pthread_mutex_lock(&c->lock);
    m = c->monitor;
    c->monitor = NULL;
    pthread_mutex_unlock(&c->lock);
    if (!h.running && !h.paused) {
        if (m) {
            monitor_acknowledge(m);
            monitor_unref(m);
        }
        ctr_held_inside_done(c, &h);
        return;
    }
    if (facts->lost)
        ctr_groups_clear(c->cs->engine->config, c->view->fixed);
    started = c->view->started_at;
    ran = facts->at - started;
    container_unplug(c);
    execs_container_ended(c->cs->engine->execs, c);
    again =
        !atomic_load(&c->cs->stopping) && ctr_wants_restart(host->restart_policy, facts->exit_code, c->view->restart_count, c->view->stopped_by_user);
    container_health_stopped(c);
    remove = !again && !c->no_auto_remove && host->has_auto_remove && host->auto_remove;
    if (net_describe(c, c->view->net, NULL, &net, NULL) >= 0)
        c->pending_net = net;
    if (again)
        ignore_result(to_restarting(&h, facts));
    else
        ignore_result(to_exited(&h, facts));
    c->pending_net = ctr_net_unref(c->pending_net);
    pthread_mutex_lock(&c->lock);
    c->want_remove = c->want_remove || remove;
    pthread_mutex_unlock(&c->lock);
    container_wake(c, CTR_WAIT_NOT_RUNNING, facts->exit_code, NULL);
    if (c->stop_event)
        container_event(c, "stop", NULL);
    c->stop_event = false;
    die_event(c, facts, started);
    if (!remove)
        store(c);
    if (m) {
        monitor_acknowledge(m);
        monitor_unref(m);
    }
    if (again) {
        c->backoff = ctr_next_backoff(c->backoff, ran);
        retry_later(c, c->backoff);
    }
    ctr_held_inside_done(c, &h);
}

void container_auto_remove(struct container *c) {
    struct ctr_held h = CTR_HELD_INIT;
    _cleanup_err_ struct err e = ERR_INIT;

    ctr_held_inside(c, &h);
    /* First, so that there is no moment at which a wait finds neither. */
    if (h.exited)
        departed_add(c->cs->departed, c->id, c->view->name, c->view->exit_code, clock_mono_ns());
    if ((h.created || h.exited || h.dead) && container_remove_held(&h, true, &e) < 0)
        log_kv(LOG_LVL_WARN, "a container could not be removed after its end", "container", c->id, "error", err_msg(&e), NULL);
    ctr_held_inside_done(c, &h);
}

/* ---- the monitor's events ------------------------------------------------------------------------------------------------------------ */
static void apply_noted(void *arg) {
    struct container *c = arg;

    container_token_drop(c);
    container_unref(c);
}

/* On the monitors' thread: only note it; who holds the token applies it, or a tidying thread when nobody does. */
static void note_exit(struct ctr_run *run, struct monitor *m, const struct ctr_facts *facts) {
    struct container *c = run->c;
    bool take = false, stale;

    pthread_mutex_lock(&c->lock);
    stale = c->gone || c->run != run->number;
    if (!stale) {
        c->exit_noted = true;
        c->exit_facts = *facts;
        take = !c->busy;
        c->busy = true;
    }
    pthread_mutex_unlock(&c->lock);
    if (stale)
        monitor_acknowledge(m);
    if (take)
        ctr_reaper_put(c->cs->reaper, apply_noted, container_ref(c));
    ctr_run_free(run);
}

static void on_exited(void *arg, struct monitor *m, const struct monitor_exit *x) {
    struct ctr_facts facts = {.at = x->finished_at, .exit_code = x->code, .oom = x->oom};

    note_exit(arg, m, &facts);
}

static void on_lost(void *arg, struct monitor *m) {
    struct ctr_run *run = arg;
    struct ctr_facts facts = {.at = clock_wall_ns(), .exit_code = 137, .lost = true};

    log_kv(LOG_LVL_WARN, "a container's monitor died", "container", run->c->id, NULL);
    if (monitor_container_pid(m) > 1)
        ignore_result(proc_signal(monitor_container_pid(m), monitor_start_ticks(m), SIGKILL) < 0);
    note_exit(run, m, &facts);
}

static void on_exec_exited(void *arg, struct monitor *m, const char *exec_id, int code) {
    struct ctr_run *run = arg;

    execs_exited(run->c->cs->engine->execs, run->c, exec_id, code);
}

static void on_oom(void *arg, struct monitor *m) {
    struct ctr_run *run = arg;

    atomic_store(&run->c->oom, true);
    container_event(run->c, "oom", NULL);
}

static void on_probing(void *arg, struct monitor *m, const char *exec_id) {
    struct ctr_run *run = arg;

    container_health_probing(run->c, run->number, exec_id);
}

static void on_probed(void *arg, struct monitor *m, const struct monitor_probe *p) {
    struct ctr_run *run = arg;

    container_health_probed(run->c, run->number, p);
}

static void on_detached(void *arg, struct monitor *m, const char *exec_id) {
    struct ctr_run *run = arg;
    _cleanup_free_ char *attr = exec_id ? str_printf("execID=%s", exec_id) : NULL;

    if (exec_id && attr)
        container_event(run->c, "exec_detach", attr, NULL);
    else
        container_event(run->c, "detach", NULL);
}

const struct monitor_events container_monitor_events = {.exited = on_exited,
                                                        .exec_exited = on_exec_exited,
                                                        .oom = on_oom,
                                                        .detached = on_detached,
                                                        .probing = on_probing,
                                                        .probed = on_probed,
                                                        .lost = on_lost};
