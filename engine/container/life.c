// SPDX-License-Identifier: Apache-2.0
#include "container/life.h"
#include "container/health.h"

#include <signal.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "container/freezing.h"
#include "container/mounts.h"
#include "container/netting.h"
#include "container/reaper.h"
#include "container/runtime.h"
#include "container/validate.h"
#include "exec/exec.h"
#include "layers/layers.h"
#include "volume/volume.h"
#include "wire/loop.h"

#define DEFAULT_STOP_SECONDS 10
#define KILL_WAIT_SECONDS 10

static int not_running(struct container *c, struct err *e) {
    return err_set(e, ERR_CONFLICT, "container %s is not running", c->id);
}

int container_monitor(struct container *c, struct monitor **ret, struct err *e) {
    struct monitor *m;

    pthread_mutex_lock(&c->lock);
    m = c->monitor ? monitor_ref(c->monitor) : NULL;
    pthread_mutex_unlock(&c->lock);
    if (!m)
        return not_running(c, e);
    *ret = m;
    return 0;
}

static int64_t deadline_after(int64_t seconds) {
    return seconds < 0 ? INT64_MAX : clock_mono_ns() + seconds * NSEC_PER_SEC;
}

static void kill_event(struct container *c, int sig) {
    char attr[32];

    snprintf(attr, sizeof(attr), "signal=%d", sig);
    container_event(c, "kill", attr, NULL);
}

/* ---- signals ------------------------------------------------------------------------------------------------------------------------ */
/* Send with the token held. The process may be gone already: then the exit is on its way and that is no error. */
static int send_signal(struct container *c, int sig, struct err *e) {
    _cleanup_monitor_ struct monitor *m = NULL;
    _cleanup_err_ struct err local = ERR_INIT;
    int r = container_monitor(c, &m, e);

    if (r < 0)
        return r;
    r = monitor_signal(m, sig, false, &local);
    if (r < 0 && local.kind != ERR_CONFLICT) {
        err_move(e, &local);
        return err_wrap(e, "Cannot kill container %s", c->id);
    }
    kill_event(c, sig);
    return 0;
}

static int thaw(struct ctr_held *h, struct err *e) {
    _cleanup_monitor_ struct monitor *m = NULL;
    struct ctr_facts facts = {0};
    struct is_running *next = NULL;
    int r;

    if (!h->paused)
        return 0;
    r = container_monitor(h->c, &m, e);
    if (r >= 0)
        r = monitor_resume(m, e) < 0 ? err_wrap(e, "Cannot unpause container %s", h->c->id) : 0;
    if (r >= 0)
        r = ctr_resume(&h->paused, &next, &facts, e);
    if (r < 0)
        return r;
    h->running = next;
    h->state = ctr_running;
    return 0;
}

/* A container between two runs has no process: its restart is called off. */
static int call_off_restart(struct ctr_held *h, struct err *e) {
    struct container *c = h->c;
    struct ctr_facts facts = {0};
    struct is_exited *next = NULL;
    int code = c->view->exit_code, r;

    container_set_stopped_by_user(c, true);
    r = ctr_give_up(&h->restarting, &next, &facts, e);
    if (r < 0)
        return r;
    h->exited = next;
    h->state = ctr_exited;
    ignore_result(container_store_update(c->cs->engine->db, c->view, NULL));
    container_wake(c, CTR_WAIT_NOT_RUNNING, code, NULL);
    return 0;
}

int ctr_signal_of(const struct ctr_fixed *f) {
    int sig = str_empty(f->config.stop_signal) ? SIGTERM : ctr_signal_parse(f->config.stop_signal);

    return sig > 0 ? sig : SIGTERM;
}

int container_kill(struct container *c, int signal, struct err *e) {
    int r;

    {
        LEASE_ANY struct ctr_held h = CTR_HELD_INIT;

        r = ctr_hold(c, &h, e);
        if (r < 0)
            return r;
        if (h.restarting)
            return call_off_restart(&h, e);
        if (!h.running && !h.paused)
            return not_running(c, e);
        if (signal == SIGKILL || signal == ctr_signal_of(c->view->fixed))
            container_set_stopped_by_user(c, true);
        r = send_signal(c, signal, e);
        if (r >= 0 && signal != SIGKILL)
            r = 0;
        if (r >= 0 && h.paused && (signal == SIGKILL || signal == ctr_signal_of(c->view->fixed)))
            r = thaw(&h, e);
    }
    if (r >= 0 && signal == SIGKILL && !container_wait_stopped(c, deadline_after(KILL_WAIT_SECONDS)))
        return err_set(e, ERR_INTERNAL, "cannot kill container %s: it does not go away", c->id);
    return r;
}

/* ---- stop --------------------------------------------------------------------------------------------------------------------------- */
static int begin_stop(struct container *c, int signal, bool *ret_wait, struct err *e) {
    LEASE_ANY struct ctr_held h = CTR_HELD_INIT;
    int r = ctr_hold(c, &h, e);

    *ret_wait = false;
    if (r < 0)
        return r;
    if (h.restarting)
        return call_off_restart(&h, e);
    if (!h.running && !h.paused)
        return err_set(e, ERR_NOT_MODIFIED, "container already stopped");
    container_set_stopped_by_user(c, true);
    c->stop_event = true;
    r = send_signal(c, signal, e);
    if (r >= 0)
        r = thaw(&h, e);
    *ret_wait = r >= 0;
    return r;
}

static int force_stop(struct container *c, struct err *e) {
    for (int tries = 0; tries < 2; tries++) {
        {
            LEASE_ANY struct ctr_held h = CTR_HELD_INIT;
            int r = ctr_hold(c, &h, NULL);

            if (r < 0 || (!h.running && !h.paused))
                return 0;
            r = send_signal(c, SIGKILL, e);
            if (r < 0)
                return r;
        }
        if (container_wait_stopped(c, deadline_after(KILL_WAIT_SECONDS)))
            return 0;
    }
    return err_set(e, ERR_INTERNAL, "tried to kill container, but did not receive an exit event");
}

int container_stop(struct container *c, int signal, int64_t timeout, struct err *e) {
    _cleanup_view_ struct ctr_view *v = container_view(c);
    const struct api_container_config *cfg = &v->fixed->config;
    bool wait;
    int r;

    if (signal <= 0)
        signal = ctr_signal_of(v->fixed);
    if (timeout == CTR_TIMEOUT_OWN)
        timeout = cfg->has_stop_timeout ? cfg->stop_timeout : DEFAULT_STOP_SECONDS;
    r = begin_stop(c, signal, &wait, e);
    if (r < 0 || !wait)
        return r;
    if (container_wait_stopped(c, deadline_after(timeout)))
        return 0;
    return force_stop(c, e);
}

int container_restart(struct container *c, int signal, int64_t timeout, struct err *e) {
    _cleanup_err_ struct err local = ERR_INIT;
    int r;

    c->no_auto_remove = true;
    r = container_stop(c, signal, timeout, &local);
    if (r < 0 && local.kind != ERR_NOT_MODIFIED) {
        c->no_auto_remove = false;
        return err_move(e, &local);
    }
    r = container_start(c, e);
    c->no_auto_remove = false;
    if (r < 0)
        return r;
    container_event(c, "restart", NULL);
    return 0;
}

/* ---- pause -------------------------------------------------------------------------------------------------------------------------- */
int container_pause(struct container *c, struct err *e) {
    LEASE_ANY struct ctr_held h = CTR_HELD_INIT;
    _cleanup_monitor_ struct monitor *m = NULL;
    struct ctr_facts facts = {0};
    int r = ctr_hold(c, &h, e);

    if (r < 0)
        return r;
    if (h.paused)
        return err_set(e, ERR_CONFLICT, "Container %s is already paused", c->id);
    if (h.restarting)
        return err_set(e, ERR_CONFLICT, "Container %s is restarting, wait until the container is running", c->id);
    if (!h.running)
        return not_running(c, e);
    r = container_monitor(c, &m, e);
    if (r >= 0)
        r = monitor_pause(m, e) < 0 ? err_wrap(e, "cannot pause container %s", c->id) : 0;
    if (r >= 0)
        r = ctr_pause(&h.running, &h.paused, &facts, e);
    if (r < 0)
        return r;
    ctr_freezing_used(c->cs->freezing);
    container_health_stopped(c);
    container_event(c, "pause", NULL);
    return 0;
}

int container_unpause(struct container *c, struct err *e) {
    LEASE_ANY struct ctr_held h = CTR_HELD_INIT;
    int r = ctr_hold(c, &h, e);

    if (r < 0)
        return r;
    if (!h.paused)
        return err_set(e, ERR_INTERNAL, "Container %s is not paused", c->id);
    r = thaw(&h, e);
    if (r < 0)
        return r;
    ctr_freezing_used(c->cs->freezing);
    container_event(c, "unpause", NULL);
    return 0;
}

/* ---- rename, resize ---------------------------------------------------------------------------------------------------------------- */
int container_rename_op(struct container *c, const char *name, struct err *e) {
    LEASE_ANY struct ctr_held h = CTR_HELD_INIT;
    _cleanup_free_ char *old = NULL, *attr = NULL;
    const char *bare = name[0] == '/' ? name + 1 : name;
    struct ctr_net *net = NULL;
    int r;

    if (*name == '\0')
        return err_set(e, ERR_INVALID, "Neither old nor new names may be empty");
    r = ctr_hold(c, &h, e);
    if (r < 0)
        return r;
    if (streq(bare, c->view->name))
        return err_set(e, ERR_INVALID, "Renaming a container with the same name as its current name");
    if (!ctr_name_valid(bare) || strlen(bare) > 255)
        return err_set(e, ERR_INVALID, "Error when allocating new name: Invalid container name (/%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
                       bare);
    old = strdup(c->view->name);
    if (ctr_state_alive(h.state) && net_renamed(c, bare, &net, NULL) >= 0)
        c->pending_net = net;
    r = container_rename(c, bare, e);
    c->pending_net = ctr_net_unref(c->pending_net);
    if (r < 0) {
        if (e && e->kind == ERR_CONFLICT)
            err_wrap(e, "Error when allocating new name");
        return r;
    }
    for (size_t i = 0; i < c->n_endpoints; i++)
        endpoint_rename(c->cs->engine->networks, c->endpoints[i], bare);
    attr = str_printf("oldName=/%s", old ? old : "");
    if (attr)
        container_event(c, "rename", attr, NULL);
    return 0;
}

int container_resize(struct container *c, int rows, int cols, struct err *e) {
    _cleanup_monitor_ struct monitor *m = NULL;
    _cleanup_view_ struct ctr_view *v = container_view(c);
    char height[32], width[32];
    int r;

    if (v->state == ctr_restarting)
        return err_set(e, ERR_NOT_FOUND, "container \"%s\" in namespace \"moby\": not found", c->id);
    if (v->state != ctr_running && v->state != ctr_paused)
        return not_running(c, e);
    r = container_monitor(c, &m, e);
    if (r < 0)
        return r;
    /* Without a terminal there is nothing to size, and that is no error. */
    if (v->fixed->config.has_tty && v->fixed->config.tty) {
        r = monitor_resize(m, rows, cols, e);
        if (r < 0)
            return r;
    }
    snprintf(height, sizeof(height), "height=%d", rows);
    snprintf(width, sizeof(width), "width=%d", cols);
    container_event(c, "resize", height, width, NULL);
    return 0;
}

/* ---- remove ------------------------------------------------------------------------------------------------------------------------ */
struct leftovers {
    struct containers *cs;
    char id[65];
    char *dir, *exec_dir;
    char *runtime_dir; /* what another runtime knew of it, where its monitor did not live to take it away */
};

/* What lies on disk goes after the answer: the record is gone, so start-up would clear it just the same. */
static void tidy(void *arg) {
    struct leftovers *l = arg;
    _cleanup_err_ struct err e = ERR_INIT;

    if (layers_container_remove(l->cs->engine->layers, l->id, &e) < 0)
        log_kv(LOG_LVL_WARN, "the layer of a removed container stays", "container", l->id, "error", err_msg(&e), NULL);
    if (l->dir)
        ignore_result(fs_remove_tree(l->dir, NULL));
    if (l->exec_dir)
        ignore_result(fs_remove_tree(l->exec_dir, NULL));
    if (l->runtime_dir)
        ignore_result(fs_remove_tree(l->runtime_dir, NULL));
    free(l->runtime_dir);
    free(l->dir);
    free(l->exec_dir);
    free(l);
}

static void tidy_later(struct container *c) {
    _cleanup_(ctr_runtime_done) struct ctr_runtime runtime = {0};
    struct leftovers *l = calloc(1, sizeof(*l));

    if (!l)
        return; /* start-up clears it */
    l->cs = c->cs;
    memcpy(l->id, c->id, sizeof(l->id));
    l->dir = container_path(c, NULL);
    l->exec_dir = str_printf("%s/hatake/%s", c->cs->engine->config->exec_root, c->id);
    if (ctr_runtime_find(c->cs->engine->config, c->view->fixed->host.runtime, &runtime, NULL) >= 0 && !runtime.ours)
        l->runtime_dir = str_printf("%s/%s", runtime.root, c->id);
    ctr_reaper_put(c->cs->reaper, tidy, l);
}

int container_remove_held(struct ctr_held *h, bool volumes, struct err *e) {
    struct container *c = h->c;
    struct ctr_facts facts = {0};
    struct is_removing *removing = NULL;
    struct is_gone *gone = NULL;
    int code = c->view->exit_code, r;

    if (h->created)
        r = ctr_remove(&h->created, &removing, &facts, e);
    else if (h->exited)
        r = ctr_remove(&h->exited, &removing, &facts, e);
    else
        r = ctr_remove(&h->dead, &removing, &facts, e);
    if (r < 0)
        return r;
    net_unplug(c);
    r = ctr_forget(&removing, &gone, &facts, e);
    if (r < 0) {
        struct is_dead *dead = NULL;

        facts.error = e ? err_msg(e) : NULL;
        if (ctr_bury(&removing, &dead, &facts, NULL) >= 0)
            h->dead = dead;
        h->state = ctr_dead;
        return r;
    }
    h->gone = gone;
    h->state = ctr_gone;
    ctr_mounts_release(c->cs, c->id, &c->view->fixed->mounts, c->volumes, c->n_volumes, volumes);
    c->volumes = NULL;
    c->n_volumes = 0;
    execs_container_removed(c->cs->engine->execs, c);
    tidy_later(c);
    container_event(c, "destroy", NULL);
    container_wake(c, CTR_WAIT_REMOVED, code, NULL);
    return 0;
}

static const char *removal_refused(enum ctr_state s) {
    switch (s) {
    case ctr_running:
        return "container is running: stop the container before removing or force remove";
    case ctr_paused:
        return "container is paused and must be unpaused first";
    case ctr_restarting:
        return "container is restarting: stop the container before removing or force remove";
    default:
        return NULL;
    }
}

int container_remove(struct container *c, bool force, bool volumes, struct err *e) {
    for (int tries = 0; tries < 3; tries++) {
        {
            LEASE_ANY struct ctr_held h = CTR_HELD_INIT;
            int r = ctr_hold(c, &h, e);

            if (r < 0)
                return r;
            if (h.removing)
                return err_set(e, ERR_CONFLICT, "removal of container %s is already in progress", c->view->name);
            if (!ctr_state_alive(h.state))
                return container_remove_held(&h, volumes, e);
            if (!force)
                return err_set(e, ERR_CONFLICT, "cannot remove container \"/%s\": %s", c->view->name, removal_refused(h.state));
            container_set_stopped_by_user(c, true);
            c->no_auto_remove = true; /* we do it, and tell who asked */
            if (h.restarting) {
                r = call_off_restart(&h, e);
                if (r < 0)
                    return r;
                return container_remove_held(&h, volumes, e);
            }
            r = send_signal(c, SIGKILL, e);
            if (r >= 0)
                r = thaw(&h, e);
            if (r < 0)
                return r;
        }
        if (!container_wait_stopped(c, deadline_after(KILL_WAIT_SECONDS)))
            break;
    }
    return err_set(e, ERR_INTERNAL, "cannot remove container \"/%s\": could not kill: tried to kill container, but did not receive an exit event",
                   c->view->name);
}
