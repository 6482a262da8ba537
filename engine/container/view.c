// SPDX-License-Identifier: Apache-2.0
/* The counted parts of a container: what create decided, network settings, and the views. */
#include "base/clock.h"
#include "base/engine.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/health.h"
#include "layers/layers.h"

/* ---- counted parts ------------------------------------------------------------------------------------------------------ */
void ctr_mount_done(struct ctr_mount *m) {
    free(m->source);
    free(m->destination);
    free(m->shown);
    free(m->volume);
    free(m->driver);
    free(m->mode);
    free(m->propagation);
    free(m->options);
    free(m->subpath);
    free(m->spec);
    *m = (struct ctr_mount){0};
}

void ctr_mounts_done(struct ctr_mounts *l) {
    for (size_t i = 0; i < l->n; i++)
        ctr_mount_done(&l->v[i]);
    free(l->v);
    *l = (struct ctr_mounts){0};
}

void ctr_link_done(struct ctr_link *l) {
    free(l->name);
    free(l->alias);
    *l = (struct ctr_link){0};
}

void ctr_links_done(struct ctr_links *l) {
    for (size_t i = 0; i < l->n; i++)
        ctr_link_done(&l->v[i]);
    free(l->v);
    *l = (struct ctr_links){0};
}

struct ctr_fixed *ctr_fixed_new(void) {
    struct ctr_fixed *f = calloc(1, sizeof(*f));

    if (f)
        atomic_init(&f->refs, 1);
    return f;
}

struct ctr_fixed *ctr_fixed_ref(struct ctr_fixed *f) {
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

struct ctr_fixed *ctr_fixed_unref(struct ctr_fixed *f) {
    if (!f || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    free(f->image_id);
    free(f->platform);
    free(f->driver);
    free(f->path);
    free(f->log_path);
    free(f->log_file);
    api_string_list_done(&f->args);
    api_container_config_done(&f->config);
    api_host_config_done(&f->host);
    api_networking_config_done(&f->networking);
    ctr_mounts_done(&f->mounts);
    ctr_links_done(&f->links);
    free(f);
    return NULL;
}

int ctr_fixed_copy(const struct ctr_fixed *f, struct ctr_fixed **ret, struct err *e) {
    /* By way of its text, which is what the next start of the engine reads. */
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JSON_BODY);
    int r = ctr_fixed_write(f, &b, e);

    if (r >= 0)
        r = ctr_fixed_read(buf_str(&b), b.len, ret, e);
    if (r >= 0)
        (*ret)->row = f->row;
    return r;
}

struct ctr_net *ctr_net_new(void) {
    struct ctr_net *n = calloc(1, sizeof(*n));

    if (n)
        atomic_init(&n->refs, 1);
    return n;
}

struct ctr_net *ctr_net_ref(struct ctr_net *n) {
    atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
    return n;
}

struct ctr_net *ctr_net_unref(struct ctr_net *n) {
    if (!n || atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    api_network_settings_done(&n->s);
    free(n->saved);
    free(n);
    return NULL;
}

static struct ctr_view *view_ref(struct ctr_view *v) {
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

struct ctr_view *ctr_view_unref(struct ctr_view *v) {
    if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    ctr_fixed_unref(v->fixed);
    ctr_net_unref(v->net);
    ctr_health_unref(v->health);
    free(v->name);
    free(v->error);
    free(v->joined_hostname);
    free(atomic_load(&v->entry));
    free(atomic_load(&v->inspect));
    free(v);
    return NULL;
}

struct ctr_client *ctr_client_free(struct ctr_client *c) {
    if (!c)
        return NULL;
    close_fd(c->fd);
    free(c->early);
    free(c);
    return NULL;
}

/* ---- views -------------------------------------------------------------------------------------------------------------- */
struct ctr_view *container_view(struct container *c) {
    struct ctr_view *v;

    pthread_mutex_lock(&c->lock);
    v = view_ref(c->view);
    pthread_mutex_unlock(&c->lock);
    return v;
}

struct ctr_view *container_edit(struct container *c) {
    const struct ctr_view *o = c->view; /* only token holders swap it */
    struct ctr_view *v = calloc(1, sizeof(*v));

    if (!v)
        return NULL;
    atomic_init(&v->refs, 1);
    v->fixed = ctr_fixed_ref(o->fixed);
    v->net = ctr_net_ref(c->pending_net ? c->pending_net : o->net);
    v->health = container_health(c);
    v->name = strdup(o->name);
    v->error = strdup(o->error);
    memcpy(v->joined_id, c->pending_hostname ? c->pending_joined : o->joined_id, sizeof(v->joined_id));
    if (str_set(&v->joined_hostname, c->pending_hostname ? c->pending_hostname : o->joined_hostname) < 0)
        return ctr_view_unref(v);
    v->state = o->state;
    v->pid = o->pid;
    v->pid_ticks = o->pid_ticks;
    v->exit_code = o->exit_code;
    v->oom = o->oom;
    v->ever_started = o->ever_started;
    v->has_files = o->has_files;
    v->has_hostname = o->has_hostname;
    v->stopped_by_user = o->stopped_by_user;
    v->started_at = o->started_at;
    v->finished_at = o->finished_at;
    v->restart_count = o->restart_count;
    if (!v->name || !v->error)
        return ctr_view_unref(v);
    return v;
}

void container_set_stopped_by_user(struct container *c, bool by_user) {
    struct ctr_view *v;

    if (c->view->stopped_by_user == by_user || !(v = container_edit(c)))
        return;
    v->stopped_by_user = by_user;
    container_publish(c, v);
}

int container_size(struct container *c, struct ctr_view *v, int64_t *ret_rw, int64_t *ret_root, struct err *e) {
    if (!atomic_load(&v->sized)) {
        int64_t rw, root;
        int r = layers_container_size(c->cs->engine->layers, c->id, &rw, &root, e);

        if (r < 0)
            return r;
        if (ctr_state_alive(v->state)) {
            *ret_rw = rw;
            *ret_root = root;
            return 0;
        }
        atomic_store(&v->size_rw, rw);
        atomic_store(&v->size_root, root);
        atomic_store(&v->sized, true);
    }
    *ret_rw = atomic_load(&v->size_rw);
    *ret_root = atomic_load(&v->size_root);
    return 0;
}

int ctr_size_parse(const char *text, uint64_t *ret) {
    static const char units[] = "kmgtp";
    size_t n = strspn(text, "0123456789.");
    _cleanup_free_ char *digits = strndup(text, n);
    const char *u = text + n + (text[n] == ' ');
    char *end = NULL;
    double v = digits ? strtod(digits, &end) : 0;

    if (!digits || end == digits || *end)
        return -EINVAL;
    if (*u && *u != 'b' && *u != 'B') {
        const char *k = strchr(units, *u | 0x20);

        if (!k)
            return -EINVAL;
        v *= (double)(UINT64_C(1) << (10 * (k - units + 1)));
        u++;
        if (*u == 'i' && (u[1] == 'b' || u[1] == 'B'))
            u++;
    }
    if (*u == 'b' || *u == 'B')
        u++;
    if (*u || v > (double)(INT64_MAX / 2))
        return -EINVAL;
    *ret = (uint64_t)v;
    return 0;
}

void container_publish(struct container *c, struct ctr_view *edit) {
    struct ctr_view *old;

    pthread_mutex_lock(&c->lock);
    old = c->view;
    c->view = edit;
    pthread_cond_broadcast(&c->change);
    pthread_mutex_unlock(&c->lock);
    ctr_view_unref(old);
}

int container_commit(struct container *c, struct ctr_view *edit, struct err *e) {
    /* Frozen or not: after a loss of power it is neither. */
    bool freezing = edit->state == ctr_paused || c->view->state == ctr_paused;
    int r = (freezing ? container_store_update_soon : container_store_update)(c->cs->engine->db, edit, e);

    if (r < 0) {
        ctr_view_unref(edit);
        return r;
    }
    container_publish(c, edit);
    return 0;
}
