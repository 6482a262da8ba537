// SPDX-License-Identifier: Apache-2.0
/* GET /containers/{id}/json, and the parts of it that lists show too. */
#include "container/inspect.h"
#include "container/health.h"

#include "api-handlers.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/container-internal.h"
#include "container/links.h"
#include "container/validate.h"
#include "layers/layers.h"
#include "network/network.h"
#include "system/system.h"
#include "wire/call.h"

#define ALIASES_WITHOUT_ID 145

/* ---- mounts ------------------------------------------------------------------------------------------------------------------------- */
int ctr_mount_points(const struct ctr_mounts *l, struct api_mount_point_list *ret, struct err *e) {
    ret->set = true;
    for (size_t i = 0; i < l->n; i++) {
        const struct ctr_mount *m = &l->v[i];
        struct api_mount_point *p = api_mount_point_list_add(ret);

        if (!p)
            return err_oom(e);
        p->rw = m->rw;
        p->has_rw = true;
        if (str_set(&p->type, m->kind == CTR_MOUNT_BIND     ? "bind"
                              : m->kind == CTR_MOUNT_VOLUME ? "volume"
                                                            : "tmpfs") < 0 ||
            str_set(&p->source, m->source ? m->source : "") < 0 || str_set(&p->destination, m->shown ? m->shown : m->destination) < 0 ||
            str_set(&p->mode, m->mode ? m->mode : "") < 0 ||
            str_set(&p->propagation, m->kind == CTR_MOUNT_BIND && m->propagation ? m->propagation : "") < 0)
            return err_oom(e);
        if (m->kind == CTR_MOUNT_VOLUME && (str_set(&p->name, m->volume) < 0 || str_set(&p->driver, m->driver) < 0))
            return err_oom(e);
    }
    return 0;
}

/* ---- state -------------------------------------------------------------------------------------------------------------------------- */
static void fill_state(const struct ctr_view *v, struct api_container_state *s, char started[CLOCK_TEXT_MAX], char finished[CLOCK_TEXT_MAX]) {
    clock_format(v->started_at, started);
    clock_format(v->finished_at, finished);
    *s = (struct api_container_state){
        .status = (char *)ctr_state_name(v->state),
        .running = ctr_state_alive(v->state),
        .has_running = true,
        .paused = v->state == ctr_paused,
        .has_paused = true,
        .restarting = v->state == ctr_restarting,
        .has_restarting = true,
        .oom_killed = v->oom,
        .has_oom_killed = true,
        .dead = v->state == ctr_dead,
        .has_dead = true,
        .pid = v->pid,
        .has_pid = true,
        .exit_code = v->exit_code,
        .has_exit_code = true,
        .error = v->error,
        .started_at = started,
        .finished_at = finished,
    };
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------------------ */
struct paths {
    char *hosts, *hostname, *resolv;
};

static void paths_done(struct paths *p) {
    free(p->hosts);
    free(p->hostname);
    free(p->resolv);
}

static int fill_graph(struct container *c, struct api_graph_driver_data *g, struct err *e) {
    _cleanup_(layers_rootfs_done) struct layers_rootfs root = {0};
    int r;

    if (str_set(&g->name, layers_driver_name(c->cs->engine->layers)) < 0)
        return err_oom(e);
    g->data.set = true;
    if (layers_container_get(c->cs->engine->layers, c->id, &root, NULL) < 0)
        return 0;
    const struct {
        const char *key, *value;
    } parts[] = {{"LowerDir", root.shown_lower}, {"MergedDir", root.shown_merged}, {"UpperDir", root.shown_upper}, {"WorkDir", root.shown_work}};

    for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
        if (!parts[i].value)
            continue;
        r = api_string_map_set(&g->data, parts[i].key, parts[i].value, e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Until 1.44 a container's short id stood among its aliases on networks that resolve names. */
static int add_old_aliases(const char *id, struct api_network_settings *s, struct err *e) {
    char alias[ID_SHORT_LEN + 1];
    int r = 0;

    snprintf(alias, sizeof alias, "%.*s", ID_SHORT_LEN, id);
    for (size_t i = 0; r >= 0 && i < s->networks.n; i++) {
        if (s->networks.v[i].value && !network_is_predefined(s->networks.v[i].key))
            r = api_string_list_add(&s->networks.v[i].value->aliases, alias, e);
    }
    return r;
}

static bool has_apparmor(const struct container *c) {
    return c->cs->engine->facts && c->cs->engine->facts->apparmor;
}

/* The kernel's control groups of the second kind have no such switch. */
static bool oom_kill_is_choice(const struct container *c) {
    return !c->cs->engine->facts || c->cs->engine->facts->oom_kill_disable;
}

/* Everything below is borrowed from the view; only what is marked is owned, and released by the caller. */
static int write_all(struct container *c, const struct ctr_view *v, bool size, int version, struct buf *out, struct err *e) {
    const struct ctr_fixed *f = v->fixed;
    char created[CLOCK_TEXT_MAX], started[CLOCK_TEXT_MAX], finished[CLOCK_TEXT_MAX];
    struct api_container_state state;
    struct api_graph_driver_data graph = {0}; /* owned */
    _cleanup_(paths_done) struct paths p = {0};
    _cleanup_free_ char *name = str_printf("/%s", v->name);
    _cleanup_strv_ struct strv execs = STRV_INIT;
    struct api_container_inspect_response res = {0};
    struct api_container_config config = f->config;
    struct api_host_config host = f->host;
    struct ctr_security sec = {0};
    _cleanup_health_ struct ctr_health *health = container_health(c);
    struct api_health shown = {0};         /* owned */
    struct api_network_settings old = {0}; /* owned */
    int r = fill_graph(c, &graph, e);

    if (r >= 0)
        r = ctr_mount_points(&f->mounts, &res.mounts, e); /* owned */
    if (v->has_files || v->joined_id[0]) {
        p.hosts = container_net_path(c, v, "hosts");
        p.hostname = v->has_hostname ? container_net_path(c, v, "hostname") : NULL;
        p.resolv = container_net_path(c, v, "resolv.conf");
    }
    if (v->joined_hostname)
        config.hostname = v->joined_hostname;
    pthread_mutex_lock(&c->lock);
    if (r >= 0 && strv_copy(&execs, &c->execs) < 0)
        r = err_oom(e);
    pthread_mutex_unlock(&c->lock);
    /* Until its first start a container shows what was asked for, then what it got: nothing where there are no profiles. */
    if ((!v->ever_started || has_apparmor(c)) && ctr_security_parse(&f->host.security_opt, &sec, NULL) >= 0)
        res.app_armor_profile = (char *)(v->ever_started ? ctr_apparmor_profile(&f->host, &sec) : sec.apparmor);
    /* Nor does it show, once it was started, whether it is killed when there is no memory where there is no choice. */
    if (v->ever_started && !oom_kill_is_choice(c))
        host.has_oom_kill_disable = false;
    host.links = (struct api_string_list){0}; /* owned */
    if (r >= 0)
        r = ctr_links_shown(c->cs, v, &host.links, e);
    if (r >= 0 && size) {
        r = layers_container_size(c->cs->engine->layers, c->id, &res.size_rw, &res.size_root_fs, e);
        res.has_size_rw = res.has_size_root_fs = r >= 0;
    }
    clock_format(f->created, created);
    fill_state(v, &state, started, finished);
    if (r >= 0 && health)
        r = ctr_health_fill(health, &shown, e);
    state.health = health ? &shown : NULL;
    state.oom_killed = v->oom || (ctr_state_alive(v->state) && atomic_load(&c->oom));
    res.id = (char *)f->id;
    res.created = created;
    res.path = f->path;
    res.args = f->args;
    res.state = &state;
    res.image = f->image_id;
    res.resolv_conf_path = p.resolv;
    res.hostname_path = p.hostname;
    res.hosts_path = p.hosts;
    /* Set when a runtime is first asked, whatever comes of it. */
    res.log_path = v->ever_started || str_has_prefix(v->error, "failed to create task") ? f->log_path : NULL;
    res.name = name;
    res.restart_count = v->restart_count;
    res.has_restart_count = true;
    res.driver = f->driver;
    res.platform = f->platform;
    res.exec_ids.v = execs.v;
    res.exec_ids.n = execs.n;
    res.exec_ids.set = execs.n > 0;
    res.host_config = &host;
    res.graph_driver = &graph;
    res.config = &config;
    res.network_settings = &v->net->s;
    if (r >= 0 && version < ALIASES_WITHOUT_ID) {
        r = api_network_settings_copy(&old, &v->net->s, e);
        if (r >= 0)
            r = add_old_aliases(c->id, &old, e);
        res.network_settings = &old;
    }
    if (r >= 0)
        r = api_container_inspect_response_write(&res, version, out, e);
    api_network_settings_done(&old);
    api_health_done(&shown);
    api_string_list_done(&host.links);
    api_graph_driver_data_done(&graph);
    api_mount_point_list_done(&res.mounts);
    return r;
}

int op_container_inspect(struct call *call, struct err *e) {
    _cleanup_(q_container_inspect_done) struct q_container_inspect q = {0};
    _cleanup_container_ struct container *c = NULL;
    _cleanup_view_ struct ctr_view *v = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_REPLY_BYTES);
    int r = q_container_inspect_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = containers_find(call_engine(call)->containers, call_path(call, "id"), &c, e);
    if (r < 0)
        return r;
    v = container_view(c);
    r = write_all(c, v, q.size, call_api_version(call), &b, e);
    return r < 0 ? r : call_reply(call, 200, &b, e);
}
