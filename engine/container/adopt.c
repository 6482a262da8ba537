// SPDX-License-Identifier: Apache-2.0
/* The beginning and the end of an engine process: what goes on without it is taken up again, what died meanwhile is told so. */
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "container/life.h"
#include "container/links.h"
#include "container/netting.h"
#include "container/reaper.h"
#include "container/validate.h"
#include "image/image.h"
#include "layers/layers.h"
#include "network/network.h"
#include "volume/volume.h"

#define EXIT_UNKNOWN 255
#define KILL_SECONDS 5

/* ---- one container ---------------------------------------------------------------------------------------------------------------------- */
static void hold_volumes(struct container *c) {
    const struct ctr_mounts *l = &c->view->fixed->mounts;

    c->volumes = calloc(l->n + 1, sizeof(struct volume *));
    for (size_t i = 0; c->volumes && i < l->n; i++) {
        _cleanup_err_ struct err e = ERR_INIT;

        if (l->v[i].kind != CTR_MOUNT_VOLUME)
            continue;
        if (volumes_hold(c->cs->engine->volumes, l->v[i].volume, c->id, &c->volumes[c->n_volumes], &e) < 0)
            log_kv(LOG_LVL_ERROR, "a container's volume is not to be had", "container", c->id, "volume", l->v[i].volume, "error", err_msg(&e), NULL);
        else
            c->n_volumes++;
    }
}

static char *exec_dir_of(struct containers *cs, const char *id) {
    return str_printf("%s/hatake/%s", cs->engine->config->exec_root, id);
}

static int adopt_monitor(struct container *c, struct err *e) {
    _cleanup_free_ char *dir = exec_dir_of(c->cs, c->id);
    _cleanup_err_ struct err names = ERR_INIT;
    struct monitor *m = NULL;
    struct ctr_run *run = ctr_run_new(c, ++c->run);
    int r = dir && run ? monitor_adopt(c->cs->engine->launcher, dir, c->id, &container_monitor_events, run, &m, e) : err_oom(e);

    if (r < 0) {
        ctr_run_free(run);
        return r;
    }
    pthread_mutex_lock(&c->lock);
    c->monitor = m;
    pthread_mutex_unlock(&c->lock);
    if (net_serve_names(c, &names) < 0)
        log_kv(LOG_LVL_ERROR, "names cannot be served to a container", "container", c->id, "error", err_msg(&names), NULL);
    return 0;
}

static void lend_again(struct container *c) {
    const char *ref = ctr_mode_container(c->view->fixed->host.network_mode);
    _cleanup_container_ struct container *owner = NULL;

    if (ref && containers_find(c->cs, ref, &owner, NULL) >= 0)
        net_lend(owner);
}

/* It ran when we last wrote. Token held. */
static void adopt_alive(struct container *c) {
    _cleanup_err_ struct err e = ERR_INIT;

    net_adopt(c);
    lend_again(c);
    for (size_t i = 0; i < c->n_volumes; i++)
        volumes_mount(c->cs->engine->volumes, c->volumes[i], c->id);
    c->n_volumes_used = c->n_volumes;
    if (adopt_monitor(c, &e) >= 0)
        return;
    if (e.kind != ERR_NOT_FOUND)
        log_kv(LOG_LVL_WARN, "a running container could not be adopted", "container", c->id, "error", err_msg(&e), NULL);
    pthread_mutex_lock(&c->lock);
    c->exit_noted = true;
    c->exit_facts = (struct ctr_facts){.at = clock_wall_ns(), .exit_code = EXIT_UNKNOWN, .lost = true};
    pthread_mutex_unlock(&c->lock);
}

/* It did not run when we last wrote: a start that nobody was told of is undone. */
static void adopt_still(struct container *c) {
    _cleanup_free_ char *dir = exec_dir_of(c->cs, c->id);

    if (!dir || !fs_exists(dir) || adopt_monitor(c, NULL) < 0)
        return;
    log_kv(LOG_LVL_INFO, "a start that was never answered is undone", "container", c->id, NULL);
    ignore_result(monitor_signal(c->monitor, SIGKILL, true, NULL));
}

static void adopt_one(struct container *c) {
    LEASE_ANY struct ctr_held h = CTR_HELD_INIT;

    hold_volumes(c);
    if (ctr_hold(c, &h, NULL) < 0)
        return;
    switch (h.state) {
    case ctr_running:
    case ctr_paused:
        adopt_alive(c);
        break;
    case ctr_removing: {
        struct ctr_facts facts = {.error = "its removal was interrupted"};

        if (ctr_bury(&h.removing, &h.dead, &facts, NULL) >= 0)
            ignore_result(container_remove_held(&h, true, NULL));
        break;
    }
    case ctr_created:
    case ctr_exited:
        adopt_still(c);
        break;
    default:
        break;
    }
}

/* ---- leftovers ---------------------------------------------------------------------------------------------------------------------------- */
static bool is_known(struct containers *cs, const char *id) {
    bool known;

    pthread_mutex_lock(&cs->lock);
    known = map_has(&cs->by_id, id);
    pthread_mutex_unlock(&cs->lock);
    return known;
}

/* A monitor of a container that has no record: end it. Its exit finds nobody and is acknowledged. */
static void end_stray(struct containers *cs, const char *dir, const char *id) {
    struct monitor *m = NULL;

    if (monitor_adopt(cs->engine->launcher, dir, id, &(const struct monitor_events){0}, NULL, &m, NULL) < 0)
        return;
    log_kv(LOG_LVL_WARN, "a container without a record is ended", "container", id, NULL);
    ignore_result(monitor_signal(m, SIGKILL, true, NULL));
    monitor_acknowledge(m);
    monitor_unref(m);
}

static void clear_folder(struct containers *cs, const char *folder, bool monitors) {
    _cleanup_closedir_ DIR *d = opendir(folder);
    struct dirent *de;

    while (d && (de = readdir(d))) {
        _cleanup_free_ char *path = NULL;

        if (!id_is_full(de->d_name) || is_known(cs, de->d_name))
            continue;
        path = str_printf("%s/%s", folder, de->d_name);
        if (!path)
            return;
        if (monitors)
            end_stray(cs, path, de->d_name);
        ignore_result(fs_remove_tree(path, NULL));
    }
}

static void clear_leftovers(struct containers *cs) {
    _cleanup_strv_ struct strv ids = STRV_INIT;
    _cleanup_free_ char *dirs = str_printf("%s/containers", cs->engine->config->data_root),
                        *runs = str_printf("%s/hatake", cs->engine->config->exec_root);

    if (layers_container_list(cs->engine->layers, &ids, NULL) >= 0)
        for (size_t i = 0; i < ids.n; i++)
            if (id_is_full(ids.v[i]) && !is_known(cs, ids.v[i]))
                ignore_result(layers_container_remove(cs->engine->layers, ids.v[i], NULL));
    if (runs)
        clear_folder(cs, runs, true);
    if (dirs)
        clear_folder(cs, dirs, false);
}

/* ---- what images ask ------------------------------------------------------------------------------------------------------------------------ */
static bool image_in_use(void *arg, const char *image_id, bool running, char ret[65]) {
    struct container_image_use use;
    const char *id;

    containers_image_use(arg, image_id, &use);
    id = running ? use.running_id : use.stopped_id;
    memcpy(ret, id, 65);
    return *id != '\0';
}

static int64_t image_users(void *arg, const char *image_id) {
    struct container_image_use use;

    containers_image_use(arg, image_id, &use);
    return use.running + use.stopped;
}

/* ---- start-up -------------------------------------------------------------------------------------------------------------------------------- */
static bool wanted_at_boot(const struct ctr_view *v) {
    const struct api_restart_policy *p = v->fixed->host.restart_policy;

    if (v->state == ctr_restarting)
        return !v->stopped_by_user;
    if (v->state != ctr_exited || !v->ever_started)
        return false;
    if (p && streq_ptr(p->name, "always"))
        return true;
    return ctr_wants_restart(p, v->exit_code, v->restart_count, v->stopped_by_user);
}

static void boot_start(void *arg) {
    struct container *c = arg;
    _cleanup_err_ struct err e = ERR_INIT;

    {
        LEASE_ANY struct ctr_held h = CTR_HELD_INIT;
        struct is_exited *next = NULL;

        /* The restart that the engine before us planned died with it: this is a start like any other. */
        if (ctr_hold(c, &h, NULL) >= 0 && h.restarting && ctr_give_up(&h.restarting, &next, &(struct ctr_facts){0}, NULL) >= 0)
            h.exited = next;
    }
    if (container_start(c, &e) < 0 && e.kind != ERR_NOT_MODIFIED)
        log_kv(LOG_LVL_WARN, "a container could not be restarted with the engine", "container", c->id, "error", err_msg(&e), NULL);
    container_unref(c);
}

void container_boot_restart(struct container *c) {
    _cleanup_view_ struct ctr_view *v = container_view(c);

    if (wanted_at_boot(v)) {
        ctr_reaper_put(c->cs->reaper, boot_start, container_ref(c));
    } else if (v->state == ctr_exited && v->fixed->host.auto_remove) {
        pthread_mutex_lock(&c->lock);
        c->want_remove = true;
        pthread_mutex_unlock(&c->lock);
        container_token_take(c);
        container_token_drop(c);
    }
}

int containers_adopt(struct containers *cs, struct err *e) {
    struct container **all;
    size_t n;
    int r = containers_all(cs, &all, &n, e);

    if (r < 0)
        return r;
    images_set_in_use(cs->engine->images, image_in_use, cs);
    images_set_users(cs->engine->images, image_users, cs);
    for (size_t i = 0; i < n; i++)
        adopt_one(all[i]);
    clear_leftovers(cs);
    networks_adopted(cs->engine->networks);
    volumes_sweep(cs->engine->volumes);
    for (size_t i = 0; i < n; i++)
        if (ctr_state_alive(all[i]->view->state))
            ctr_links_follow(all[i]);
    for (size_t i = 0; i < n; i++) {
        container_boot_restart(all[i]);
        container_unref(all[i]);
    }
    free(all);
    return 0;
}

/* ---- shutdown ------------------------------------------------------------------------------------------------------------------------------- */
static void signal_one(struct container *c, int sig) {
    _cleanup_monitor_ struct monitor *m = NULL;
    _cleanup_view_ struct ctr_view *v = container_view(c);

    if ((v->state != ctr_running && v->state != ctr_paused) || container_monitor(c, &m, NULL) < 0)
        return;
    ignore_result(monitor_signal(m, sig, false, NULL));
    if (v->state == ctr_paused)
        ignore_result(monitor_resume(m, NULL));
}

static int64_t patience(struct containers *cs, struct container *const *all, size_t n) {
    int64_t t = cs->engine->config->shutdown_timeout;

    for (size_t i = 0; i < n && t >= 0; i++) {
        _cleanup_view_ struct ctr_view *v = container_view(all[i]);

        if (v->fixed->config.has_stop_timeout && ctr_state_alive(v->state))
            t = v->fixed->config.stop_timeout < 0 ? -1 : MAX(t, v->fixed->config.stop_timeout + KILL_SECONDS);
    }
    return t;
}

void containers_shutdown(struct containers *cs) {
    struct container **all;
    size_t n;
    int64_t t, deadline;

    atomic_store(&cs->stopping, true);
    if (!cs->engine->config->live_restore && containers_all(cs, &all, &n, NULL) >= 0) {
        t = patience(cs, all, n);
        deadline = t < 0 ? INT64_MAX : clock_mono_ns() + t * NSEC_PER_SEC;
        for (size_t i = 0; i < n; i++) {
            _cleanup_view_ struct ctr_view *v = container_view(all[i]);
            int sig = ctr_signal_of(v->fixed);

            signal_one(all[i], sig);
        }
        for (size_t i = 0; i < n; i++) {
            _cleanup_view_ struct ctr_view *v = container_view(all[i]);

            if (v->state == ctr_restarting || container_wait_stopped(all[i], deadline))
                continue;
            signal_one(all[i], SIGKILL);
            if (!container_wait_stopped(all[i], clock_mono_ns() + KILL_SECONDS * NSEC_PER_SEC))
                log_kv(LOG_LVL_WARN, "a container did not end with the engine", "container", all[i]->id, NULL);
        }
        for (size_t i = 0; i < n; i++)
            container_unref(all[i]);
        free(all);
    }
    containers_drain(cs);
}
