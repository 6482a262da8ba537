// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/idmap.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "container/attach.h"
#include "container/health.h"
#include "container/life.h"
#include "container/links.h"
#include "container/logopts.h"
#include "container/runtime.h"
#include "container/shm.h"
#include "container/spec.h"
#include "container/start-internal.h"
#include "container/validate.h"
#include "image/image.h"
#include "kern/apparmor.h"

#define EXIT_NOT_STARTED 128
#define CREATE_FAILED "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: "

static void launching_done(struct launching *l) {
    layers_rootfs_done(&l->rootfs);
    ctr_user_done(&l->user);
    free(l->hostname_path);
    free(l->hosts_path);
    free(l->resolv_path);
    free(l->hostname);
    free(l->shm_path);
    free(l->netns_path);
    free(l->pidns_path);
    free(l->ipcns_path);
    free(l->userns_path);
    free(l->volume_paths);
    strv_done(&l->volume_sources);
    strv_done(&l->link_env);
    strv_done(&l->link_hosts);
    json_decref(l->spec);
    json_decref(l->health.process);
    free(l->exec_dir);
    free(l->attach);
    while (l->clients) {
        struct ctr_client *next = l->clients->next;

        ctr_client_free(l->clients);
        l->clients = next;
    }
}

/* ---- the request ---------------------------------------------------------------------------------------------------------------------- */
/* Runtimes other than ours find the root below this folder by its path, as root of the user namespace. */
static int open_way(struct launching *l, struct err *e) {
    _cleanup_free_ char *above = str_printf("%s/hatake", l->c->cs->engine->config->exec_root);

    if (!above)
        return err_oom(e);
    if (chmod(above, 0711) < 0 || chmod(l->exec_dir, 0710) < 0)
        return err_errno(e, errno, "mode of %s", l->exec_dir);
    return idmap_give_group(l->ids, l->exec_dir, e);
}

static int make_exec_dir(struct launching *l, struct err *e) {
    l->exec_dir = str_printf("%s/hatake/%s", l->c->cs->engine->config->exec_root, l->c->id);
    if (!l->exec_dir)
        return err_oom(e);
    if (mkdir(l->exec_dir, 0700) < 0 && errno != EEXIST && fs_mkdir_p(l->exec_dir, 0700, e) < 0)
        return -(int)ERR_INTERNAL;
    return l->ids && !streq(l->f->host.runtime, "runc") ? open_way(l, e) : 0;
}

static int take_clients(struct launching *l, struct err *e) {
    struct container *c = l->c;
    size_t n = 0;

    pthread_mutex_lock(&c->lock);
    /* A client that has the answer to its attach may send the start before our thread has put it on the list: its first lines would be lost. */
    ctr_attaching_wait(c);
    l->clients = c->clients;
    c->clients = NULL;
    pthread_mutex_unlock(&c->lock);
    for (struct ctr_client *k = l->clients; k; k = k->next)
        n++;
    l->attach = calloc(n + 1, sizeof(*l->attach));
    if (!l->attach)
        return err_oom(e);
    for (struct ctr_client *k = l->clients; k; k = k->next) {
        l->attach[l->n_attach++] = (struct launch_attach){.fd = k->fd,
                                                          .early = k->early,
                                                          .n_early = k->n_early,
                                                          .want_stdin = k->in,
                                                          .want_stdout = k->out,
                                                          .want_stderr = k->err,
                                                          .framed = k->framed,
                                                          .keys = k->keys};
        k->fd = -EBADF; /* the launcher's from here on */
    }
    return 0;
}

static bool host_mounts(const struct launching *l) {
    for (size_t i = 0; i < l->f->mounts.n; i++)
        if (l->f->mounts.v[i].kind == CTR_MOUNT_BIND)
            return true;
    return ctr_mode_is(l->f->host.ipc_mode, "host") || l->shm_path || l->host_volumes;
}

static int err_wrap_create(struct err *e) {
    _cleanup_err_ struct err why = ERR_INIT;

    err_move(&why, e);
    return err_set(e, ERR_INTERNAL, CREATE_FAILED "%s: unknown", err_msg(&why));
}

static int launch(struct launching *l, struct ctr_run *run, struct monitor **ret, int *ret_code, struct err *e) {
    struct engine *engine = l->c->cs->engine;
    const struct ctr_fixed *f = l->f;
    _cleanup_free_ char *init = NULL;
    _cleanup_(ctr_log_plan_done) struct ctr_log_plan log = {0};
    _cleanup_(ctr_runtime_done) struct ctr_runtime runtime = {0};
    struct launch_request req = LAUNCH_REQUEST_INIT;
    bool want_init = f->host.has_init ? f->host.init : engine->config->init;
    _cleanup_buf_ struct buf rules = BUF_INIT(LIMIT_SMALL_FILE);
    int r;

    req.id = l->c->id;
    req.spec = l->spec;
    req.exec_dir = l->exec_dir;
    if (streq(l->rootfs.driver, "vfs")) {
        req.rootfs_path = l->rootfs.merged;
    } else {
        req.lowers = &l->rootfs.lowers;
        req.upper = l->rootfs.upper;
        req.work = l->rootfs.work;
        req.overlay_volatile = f->host.has_auto_remove && f->host.auto_remove;
    }
    if (networks_need_names(l->c->endpoints, l->c->n_endpoints) && (r = networks_make_resolver(&req.resolver, &rules, e)) < 0)
        return r;
    req.links = l->plug.links;
    req.n_links = l->plug.n_links;
    req.open_stdin = f->config.has_open_stdin && f->config.open_stdin;
    req.stdin_once = f->config.has_stdin_once && f->config.stdin_once;
    req.host_mounts = host_mounts(l);
    r = ctr_runtime_find(engine->config, f->host.runtime, &runtime, e);
    if (r >= 0)
        r = ctr_log_prepare(f, l->c->view->name, engine->libexec_dir, &log, e);
    if (r < 0)
        return r;
    req.log = log.log;
    req.host_mounts = req.host_mounts || log.host_paths || !runtime.ours;
    req.runtime = runtime.ours ? NULL : &runtime.launch;
    if (want_init) {
        /* Our monitor, called by that name, is the init. */
        init = engine->config->init_path ? strdup(engine->config->init_path) : str_printf("%s/hatake-monitor", engine->libexec_dir);
        if (!init)
            return err_oom(e);
        req.init_path = init;
        req.host_mounts = req.host_mounts || engine->config->init_path;
    }
    if (ctr_health_wanted(f)) {
        r = ctr_health_launch(&(struct ctr_spec_env){.fixed = f, .hostname = l->hostname, .user = &l->user, .links = &l->link_env}, l->spec,
                              &l->health, e);
        if (r < 0)
            return r;
        req.health = &l->health;
    }
    r = take_clients(l, e);
    if (r < 0)
        return r;
    req.attach = l->attach;
    req.n_attach = l->n_attach;
    r = launcher_start(engine->launcher, &req, &container_monitor_events, run, ret, ret_code, e);
    /* A document that the runtime refuses is told like any other failure of the runtime; what says itself where it went wrong, as it is. */
    if (r < 0 && !str_has_prefix(err_msg(e), "failed to ") && !str_has_prefix(err_msg(e), "OCI runtime ") &&
        !str_has_prefix(err_msg(e), "the requested parent interface "))
        return err_wrap_create(e);
    return r;
}

/* A profile that others can unload at any time is loaded again by the next start. */
static int confine(struct launching *l, struct ctr_spec_input *in, struct err *e) {
    struct ctr_security sec = {0};

    in->apparmor = apparmor_usable();
    if (!in->apparmor || ctr_security_parse(&l->f->host.security_opt, &sec, NULL) < 0 ||
        !streq(ctr_apparmor_profile(&l->f->host, &sec), APPARMOR_DEFAULT))
        return 0;
    return apparmor_load_default(e);
}

static int prepare(struct launching *l, struct err *e) {
    struct containers *cs = l->c->cs;
    struct ctr_spec_input in = {.config = cs->engine->config, .fixed = l->f, .user = &l->user, .seccomp_text = cs->engine->seccomp_text};
    int r = images_may_use(cs->engine->images, l->f->image_id, l->f->config.image, e);

    l->ids = ctr_mode_is(l->f->host.userns_mode, "host") ? NULL : cs->engine->ids;

    if (r >= 0)
        r = layers_container_get(cs->engine->layers, l->c->id, &l->rootfs, e);
    if (r >= 0) {
        layers_container_name(cs->engine->layers, l->c->id);
        r = launching_join_all(l, e);
    }
    if (r >= 0)
        r = net_plug(l->c, &l->plug, e);
    if (r >= 0)
        r = ctr_links_gather(l->c, &l->link_env, &l->link_hosts, e);
    if (r >= 0 && !l->netns_path) {
        r = net_write_files(l->c, &l->plug, &l->link_hosts, e);
        l->hostname_path = container_path(l->c, "hostname");
        l->hosts_path = container_path(l->c, "hosts");
        l->resolv_path = container_path(l->c, "resolv.conf");
        if (r >= 0 && (!l->hostname_path || !l->hosts_path || !l->resolv_path))
            r = err_oom(e);
    }
    if (r >= 0)
        r = launching_plug_mounts(l, e);
    if (r >= 0 && ctr_mode_is(l->f->host.ipc_mode, "shareable")) {
        r = ctr_shm_mount(l->c, l->f->host.shm_size, e);
        if (r >= 0 && !(l->shm_path = ctr_shm_path(l->c)))
            r = err_oom(e);
    }
    if (r >= 0)
        r = launching_find_user(l, e);
    if (r >= 0)
        r = make_exec_dir(l, e);
    if (r >= 0)
        r = confine(l, &in, e);
    if (r < 0)
        return r;
    in.hostname = l->hostname;
    in.link_env = &l->link_env;
    in.shm_path = l->shm_path;
    in.hostname_path = l->hostname_path;
    in.hosts_path = l->hosts_path;
    in.resolv_path = l->resolv_path;
    in.netns_path = l->netns_path;
    in.pidns_path = l->pidns_path;
    in.ipcns_path = l->ipcns_path;
    in.userns_path = l->userns_path;
    in.ids = l->ids;
    in.volume_paths = l->volume_paths;
    r = ctr_spec_build(&in, &l->spec, e);
    if (r < 0 && e &&
        (str_has_prefix(err_msg(e), "wrong rlimit value") || str_has_prefix(err_msg(e), "unable to start ") ||
         str_has_prefix(err_msg(e), "device access ")))
        return err_wrap_create(e);
    return r;
}

/* ---- the transition --------------------------------------------------------------------------------------------------------------------- */
static int to_running(struct ctr_held *h, const struct ctr_facts *facts, struct err *e) {
    struct is_running *next = NULL;
    int r;

    if (h->created)
        r = ctr_start(&h->created, &next, facts, e);
    else if (h->exited)
        r = ctr_start(&h->exited, &next, facts, e);
    else
        r = ctr_start(&h->restarting, &next, facts, e);
    if (r < 0)
        return r;
    h->running = next;
    h->state = ctr_running;
    return 0;
}

/* A start that did not come to be leaves its reason in the record. */
static void note_failure(struct container *c, const struct net_plug *plug, int code, const char *text) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct ctr_view *v = container_edit(c);
    struct ctr_net *net = NULL;

    if (!v || str_set(&v->error, text) < 0) {
        ctr_view_unref(v);
        return;
    }
    v->exit_code = code;
    v->has_files = v->has_files || plug->sandbox_id[0];
    v->has_hostname = v->has_hostname || plug->joined;
    if (net_describe(c, c->view->net, plug, &net, NULL) >= 0) {
        ctr_net_unref(v->net);
        v->net = net;
    }
    if (container_commit(c, v, &e) < 0)
        log_kv(LOG_LVL_WARN, "a failed start could not be recorded", "container", c->id, "error", err_msg(&e), NULL);
}

static void drop_clients(struct container *c) {
    struct ctr_client *k;

    pthread_mutex_lock(&c->lock);
    k = c->clients;
    c->clients = NULL;
    pthread_mutex_unlock(&c->lock);
    while (k) {
        struct ctr_client *next = k->next;

        ctr_client_free(k);
        k = next;
    }
}

static int commit_running(struct ctr_held *h, struct launching *l, struct monitor *m, struct err *e) {
    struct container *c = h->c;
    struct ctr_facts facts = {
        .at = monitor_started_at(m), .pid = monitor_container_pid(m), .pid_ticks = monitor_start_ticks(m), .again = h->restarting};
    _cleanup_err_ struct err names = ERR_INIT;
    struct ctr_net *net = NULL;
    int r = net_describe(c, c->view->net, &l->plug, &net, e);

    if (r < 0)
        return r;
    /* The settings ride along with the state: one row change. */
    pthread_mutex_lock(&c->lock);
    c->pending_net = net;
    if (l->hostname) {
        c->pending_hostname = l->hostname;
        memcpy(c->pending_joined, l->joined, sizeof(c->pending_joined));
    }
    c->monitor = m;
    pthread_mutex_unlock(&c->lock);
    networks_linked(c->cs->engine->networks, c->endpoints, c->n_endpoints);
    /* It runs; that it cannot ask for names is no reason to end it. */
    if (net_serve_names(c, &names) < 0)
        log_kv(LOG_LVL_ERROR, "names cannot be served to a container", "container", c->id, "error", err_msg(&names), NULL);
    r = to_running(h, &facts, e);
    pthread_mutex_lock(&c->lock);
    c->pending_net = ctr_net_unref(c->pending_net);
    c->pending_hostname = NULL;
    if (r < 0)
        c->monitor = NULL;
    pthread_mutex_unlock(&c->lock);
    return r;
}

/* Clients that attached while the launch was under way were put on the list again. */
static void attach_latecomers(struct container *c) {
    struct ctr_client *k;

    pthread_mutex_lock(&c->lock);
    k = c->clients;
    c->clients = NULL;
    pthread_mutex_unlock(&c->lock);
    while (k) {
        struct ctr_client *next = k->next;

        k->next = NULL;
        ignore_result(container_attach_client(c, k, NULL));
        k = next;
    }
}

int container_start_held(struct ctr_held *h, struct err *e) {
    struct container *c = h->c;
    _cleanup_err_ struct err local = ERR_INIT;
    _cleanup_(launching_done) struct launching l = {.c = c, .f = c->view->fixed};
    struct monitor *m = NULL;
    struct ctr_run *run = NULL;
    struct ctr_health *before = container_health(c);
    int code = EXIT_NOT_STARTED, r = prepare(&l, &local);

    /* What fails before the program is to be run leaves the code of the run before, if that had one. */
    if (r < 0 && c->view->exit_code)
        code = c->view->exit_code;
    if (r >= 0) {
        container_health_starting(c);
        run = ctr_run_new(c, ++c->run);
        atomic_store(&c->oom, false);
        r = run ? launch(&l, run, &m, &code, &local) : err_oom(&local);
        if (r < 0)
            ctr_run_free(run);
    }
    if (r >= 0) {
        r = commit_running(h, &l, m, &local);
        if (r < 0) {
            /* It runs, and we cannot say so: it must not run. */
            ignore_result(monitor_signal(m, SIGKILL, true, NULL));
            monitor_unref(m);
        }
    }
    if (r < 0) {
        container_health_restore(c, TAKE_PTR(before));
        container_unplug(c);
        drop_clients(c);
        note_failure(c, &l.plug, code, err_msg(&local));
        net_plug_done(&l.plug);
        return err_move(e, &local);
    }
    net_plug_done(&l.plug);
    ctr_health_unref(before);
    c->fresh = false;
    attach_latecomers(c);
    ctr_links_follow(c);
    container_event(c, "start", NULL);
    return 0;
}

int container_start(struct container *c, struct err *e) {
    LEASE_ANY struct ctr_held h = CTR_HELD_INIT;
    int r = ctr_hold(c, &h, e);

    if (r < 0)
        return r;
    switch (h.state) {
    case ctr_running:
    case ctr_restarting: /* its start is on the way */
        return err_set(e, ERR_NOT_MODIFIED, "container already started");
    case ctr_paused:
        return err_set(e, ERR_CONFLICT, "cannot start a paused container, try unpause instead");
    case ctr_removing:
    case ctr_dead:
        return err_set(e, ERR_CONFLICT, "container is marked for removal and cannot be started");
    default:
        break;
    }
    r = ctr_validate_start(&c->view->fixed->host, e);
    if (r < 0)
        return r;
    container_set_stopped_by_user(c, false);
    c->backoff = 0;
    r = container_start_held(&h, e);
    if (r < 0) {
        const struct ctr_fixed *f = c->view->fixed;

        container_wake(c, CTR_WAIT_NOT_RUNNING, c->view->exit_code, NULL);
        if (f->host.has_auto_remove && f->host.auto_remove && h.state == ctr_created) {
            pthread_mutex_lock(&c->lock);
            c->want_remove = true;
            pthread_mutex_unlock(&c->lock);
        }
    }
    return r;
}
