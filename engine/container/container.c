// SPDX-License-Identifier: Apache-2.0
#include <assert.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "container/container-internal.h"
#include "container/departed.h"
#include "container/freezing.h"
#include "container/groupfiles.h"
#include "container/life.h"
#include "container/links.h"
#include "container/reaper.h"
#include "layers/layers.h"
#include "logdrv/logread.h"
#include "system/events.h"
#include "volume/volume.h"
#include "wire/loop.h"

/* ---- the object --------------------------------------------------------------------------------------------------------- */
const char *container_id(const struct container *c) {
    return c->id;
}

struct container *container_ref(struct container *c) {
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

struct container *container_unref(struct container *c) {
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    while (c->clients) {
        struct ctr_client *next = c->clients->next;

        ctr_client_free(c->clients);
        c->clients = next;
    }
    if (c->monitor)
        monitor_unref(c->monitor);
    strv_done(&c->execs);
    free(c->endpoints);
    for (size_t i = 0; i < c->n_volumes; i++)
        volume_unref(c->volumes[i]);
    free(c->volumes);
    ctr_view_unref(c->view);
    pthread_cond_destroy(&c->change);
    pthread_mutex_destroy(&c->lock);
    ctr_health_unref(c->health);
    free(c);
    return NULL;
}

static struct container *object_new(struct containers *cs, struct ctr_view *first) {
    struct container *c = calloc(1, sizeof(*c));
    pthread_condattr_t attr;

    if (!c)
        return NULL;
    atomic_init(&c->refs, 1);
    c->cs = cs;
    memcpy(c->id, first->fixed->id, sizeof(c->id));
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->change, &attr);
    pthread_condattr_destroy(&attr);
    c->view = first;
    c->health = ctr_health_ref(first->health);
    c->fresh = !first->ever_started;
    return c;
}

char *container_path(const struct container *c, const char *file) {
    return str_printf("%s/containers/%s%s%s", c->cs->engine->config->data_root, c->id, file ? "/" : "", file ? file : "");
}

char *container_net_path(const struct container *c, const struct ctr_view *v, const char *file) {
    return str_printf("%s/containers/%s/%s", c->cs->engine->config->data_root, v->joined_id[0] ? v->joined_id : c->id, file);
}

/* ---- the token ---------------------------------------------------------------------------------------------------------- */
void container_token_take(struct container *c) {
    pthread_mutex_lock(&c->lock);
    while (c->busy)
        pthread_cond_wait(&c->change, &c->lock);
    c->busy = true;
    pthread_mutex_unlock(&c->lock);
}

bool container_token_try(struct container *c) {
    bool got;

    pthread_mutex_lock(&c->lock);
    got = !c->busy;
    c->busy = true;
    pthread_mutex_unlock(&c->lock);
    return got;
}

/* What happened while the token was held is applied before anybody else gets it. */
void container_token_drop(struct container *c) {
    for (;;) {
        struct ctr_facts facts = {0};
        bool exited = false, remove = false;

        pthread_mutex_lock(&c->lock);
        assert(c->busy);
        if (!c->gone && c->exit_noted) {
            facts = c->exit_facts;
            c->exit_noted = false;
            exited = true;
        } else if (!c->gone && c->want_remove && !ctr_state_alive(c->view->state)) {
            c->want_remove = false;
            remove = true;
        } else {
            c->busy = false;
            pthread_cond_broadcast(&c->change);
        }
        pthread_mutex_unlock(&c->lock);
        if (exited)
            container_apply_exit(c, &facts);
        else if (remove)
            container_auto_remove(c);
        else
            return;
    }
}

bool container_wait_stopped(struct container *c, int64_t deadline_mono) {
    bool stopped;
    int r = 0;

    pthread_mutex_lock(&c->lock);
    while (!(stopped = c->gone || !ctr_state_alive(c->view->state)) && r != ETIMEDOUT) {
        if (deadline_mono == INT64_MAX) {
            pthread_cond_wait(&c->change, &c->lock);
        } else {
            struct timespec ts = {.tv_sec = deadline_mono / NSEC_PER_SEC, .tv_nsec = deadline_mono % NSEC_PER_SEC};

            r = pthread_cond_timedwait(&c->change, &c->lock, &ts);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return stopped;
}

/* ---- waiters ------------------------------------------------------------------------------------------------------------ */
bool container_add_waiter(struct container *c, struct ctr_waiter *w) {
    _cleanup_free_ char *error = NULL; /* of a start that came to nothing */
    bool now = false;
    int code = 0;

    pthread_mutex_lock(&c->lock);
    if (c->gone || (w->condition == CTR_WAIT_NOT_RUNNING && !ctr_state_alive(c->view->state))) {
        now = true;
        code = c->view->exit_code;
        error = str_empty(c->view->error) ? NULL : strdup(c->view->error);
    } else {
        w->queued = true;
        w->next = c->waiters;
        c->waiters = w;
    }
    pthread_mutex_unlock(&c->lock);
    if (now)
        w->done(w, code, error);
    return now;
}

bool container_cancel_waiter(struct container *c, struct ctr_waiter *w) {
    bool was;

    pthread_mutex_lock(&c->lock);
    was = w->queued;
    if (was) {
        for (struct ctr_waiter **p = &c->waiters; *p; p = &(*p)->next)
            if (*p == w) {
                *p = w->next;
                break;
            }
        w->queued = false;
    }
    pthread_mutex_unlock(&c->lock);
    return was;
}

void container_wake(struct container *c, enum ctr_wait what, int exit_code, const char *error) {
    struct ctr_waiter *due = NULL, **p;

    pthread_mutex_lock(&c->lock);
    for (p = &c->waiters; *p;) {
        struct ctr_waiter *w = *p;

        if (what == CTR_WAIT_REMOVED || w->condition != CTR_WAIT_REMOVED) {
            *p = w->next;
            w->next = due;
            w->queued = false;
            due = w;
        } else {
            p = &w->next;
        }
    }
    pthread_mutex_unlock(&c->lock);
    while (due) {
        struct ctr_waiter *next = due->next;

        due->done(due, exit_code, error);
        due = next;
    }
}

/* ---- the index ---------------------------------------------------------------------------------------------------------- */
static size_t sorted_at(const struct containers *cs, const char *id) {
    size_t lo = 0, hi = cs->n_sorted;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (strcmp(cs->sorted[mid]->id, id) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int index_add(struct containers *cs, struct container *c, const char *name) {
    size_t at;

    if (cs->n_sorted == cs->cap_sorted) {
        size_t cap = cs->cap_sorted ? cs->cap_sorted * 2 : 64;
        struct container **v = reallocarray(cs->sorted, cap, sizeof(struct container *));

        if (!v)
            return -ENOMEM;
        cs->sorted = v;
        cs->cap_sorted = cap;
    }
    if (map_set(&cs->by_id, c->id, c, NULL) < 0)
        return -ENOMEM;
    if (map_set(&cs->by_name, name, c, NULL) < 0) {
        map_remove(&cs->by_id, c->id);
        return -ENOMEM;
    }
    at = sorted_at(cs, c->id);
    memmove(cs->sorted + at + 1, cs->sorted + at, (cs->n_sorted - at) * sizeof(struct container *));
    cs->sorted[at] = c;
    cs->n_sorted++;
    atomic_fetch_add(&cs->n_links, c->view->fixed->links.n);
    return 0;
}

static void index_remove(struct containers *cs, struct container *c, const char *name) {
    size_t at = sorted_at(cs, c->id);

    if (at < cs->n_sorted && cs->sorted[at] == c) {
        cs->n_sorted--;
        atomic_fetch_sub(&cs->n_links, c->view->fixed->links.n);
        memmove(cs->sorted + at, cs->sorted + at + 1, (cs->n_sorted - at) * sizeof(struct container *));
    }
    map_remove(&cs->by_id, c->id);
    if (map_get(&cs->by_name, name) == c)
        map_remove(&cs->by_name, name);
}

static int name_conflict(const char *name, const struct container *holder, struct err *e) {
    return err_set(e, ERR_CONFLICT,
                   "Conflict. The container name \"/%s\" is already in use by container \"%s\". You have to remove (or rename) that container to be "
                   "able to reuse that name.",
                   name, holder->id);
}

static int record_layer(void *arg, struct err *e) {
    struct container *c = arg;

    return layers_container_record(c->cs->engine->layers, c->id, e);
}

int containers_insert(struct containers *cs, struct ctr_view *first, struct container **ret, struct err *e) {
    struct container *c = object_new(cs, first), *holder;
    int r = 0;

    if (!c) {
        ctr_view_unref(first);
        return err_oom(e);
    }
    c->busy = true;
    pthread_mutex_lock(&cs->lock);
    holder = map_get(&cs->by_name, first->name);
    if (holder)
        r = name_conflict(first->name, holder, e);
    else if (index_add(cs, c, first->name) < 0)
        r = err_oom(e);
    pthread_mutex_unlock(&cs->lock);
    if (r < 0) {
        container_unref(c);
        return r;
    }
    r = container_store_insert(cs->engine->db, first, record_layer, c, e);
    if (r < 0) {
        pthread_mutex_lock(&cs->lock);
        index_remove(cs, c, first->name);
        pthread_mutex_unlock(&cs->lock);
        pthread_mutex_lock(&c->lock);
        c->gone = true;
        pthread_mutex_unlock(&c->lock);
        container_token_drop(c);
        container_unref(c);
        return r;
    }
    *ret = container_ref(c);
    return 0;
}

int container_rename(struct container *c, const char *name, struct err *e) {
    struct containers *cs = c->cs;
    _cleanup_free_ char *old = strdup(c->view->name);
    struct ctr_view *edit = container_edit(c);
    struct container *holder;
    int r = 0;

    if (!old || !edit || str_set(&edit->name, name) < 0) {
        ctr_view_unref(edit);
        return err_oom(e);
    }
    pthread_mutex_lock(&cs->lock);
    holder = map_get(&cs->by_name, name);
    if (holder)
        r = name_conflict(name, holder, e);
    else if (map_set(&cs->by_name, name, c, NULL) < 0)
        r = err_oom(e);
    pthread_mutex_unlock(&cs->lock);
    if (r < 0) {
        ctr_view_unref(edit);
        return r;
    }
    r = container_store_rename(cs->engine->db, edit, e);
    if (r < 0)
        ctr_view_unref(edit);
    else
        container_publish(c, edit);
    pthread_mutex_lock(&cs->lock);
    map_remove(&cs->by_name, r < 0 ? name : old);
    pthread_mutex_unlock(&cs->lock);
    return r;
}

int container_replace_fixed(struct container *c, struct ctr_fixed *f, struct err *e) {
    int r = container_store_update_fixed(c->cs->engine->db, f, e);
    struct ctr_view *v = r < 0 ? NULL : container_edit(c);

    if (!v) {
        ctr_fixed_unref(f);
        return r < 0 ? r : err_oom(e);
    }
    ctr_fixed_unref(v->fixed);
    v->fixed = f;
    container_publish(c, v);
    return 0;
}

int container_erase(struct container *c, struct err *e) {
    struct containers *cs = c->cs;
    int r = container_store_delete(cs->engine->db, c->view->fixed, e);

    if (r < 0)
        return r;
    pthread_mutex_lock(&cs->lock);
    index_remove(cs, c, c->view->name);
    pthread_mutex_unlock(&cs->lock);
    pthread_mutex_lock(&c->lock);
    c->gone = true;
    pthread_cond_broadcast(&c->change);
    pthread_mutex_unlock(&c->lock);
    container_unref(c); /* the index's */
    return 0;
}

static bool is_hex(const char *s) {
    return s[strspn(s, "0123456789abcdef")] == '\0';
}

int containers_find(struct containers *cs, const char *ref, struct container **ret, struct err *e) {
    const char *name = ref[0] == '/' ? ref + 1 : ref;
    struct container *c;
    bool many = false;

    if (!*ref)
        return err_set(e, ERR_INVALID, "invalid name or ID supplied: \"\"");
    pthread_mutex_lock(&cs->lock);
    c = map_get(&cs->by_id, ref);
    if (!c)
        c = map_get(&cs->by_name, name);
    if (!c && *ref && strlen(ref) < ID_LEN && is_hex(ref)) {
        size_t at = sorted_at(cs, ref);

        if (at < cs->n_sorted && str_has_prefix(cs->sorted[at]->id, ref)) {
            many = at + 1 < cs->n_sorted && str_has_prefix(cs->sorted[at + 1]->id, ref);
            if (!many)
                c = cs->sorted[at];
        }
    }
    if (c)
        container_ref(c);
    pthread_mutex_unlock(&cs->lock);
    if (many)
        return err_set(e, ERR_INVALID, "multiple IDs found with provided prefix: %s", ref);
    if (!c)
        c = ctr_links_lookup(cs, ref);
    if (!c)
        return err_set(e, ERR_NOT_FOUND, "No such container: %s", ref);
    *ret = c;
    return 0;
}

int containers_all(struct containers *cs, struct container ***ret, size_t *ret_n, struct err *e) {
    struct container **v;
    size_t n;

    pthread_mutex_lock(&cs->lock);
    n = cs->n_sorted;
    v = calloc(n + 1, sizeof(*v));
    for (size_t i = 0; v && i < n; i++)
        v[i] = container_ref(cs->sorted[i]);
    pthread_mutex_unlock(&cs->lock);
    if (!v)
        return err_oom(e);
    *ret = v;
    *ret_n = n;
    return 0;
}

void containers_count(struct containers *cs, struct container_counts *ret) {
    struct container_counts n = {0};

    pthread_mutex_lock(&cs->lock);
    n.all = (int64_t)cs->n_sorted;
    for (size_t i = 0; i < cs->n_sorted; i++) {
        _cleanup_view_ struct ctr_view *v = container_view(cs->sorted[i]);

        if (v->state == ctr_paused)
            n.paused++;
        else if (v->state == ctr_running || v->state == ctr_restarting)
            n.running++;
        else
            n.stopped++;
    }
    pthread_mutex_unlock(&cs->lock);
    *ret = n;
}

bool containers_in_memory(struct containers *cs, size_t max, bool sizes) {
    bool yes;

    pthread_mutex_lock(&cs->lock);
    yes = cs->n_sorted <= max;
    for (size_t i = 0; yes && sizes && i < cs->n_sorted; i++) {
        _cleanup_view_ struct ctr_view *v = container_view(cs->sorted[i]);

        yes = atomic_load(&v->sized);
    }
    pthread_mutex_unlock(&cs->lock);
    return yes;
}

void containers_image_use(struct containers *cs, const char *image_id, struct container_image_use *ret) {
    struct container_image_use u = {0};

    pthread_mutex_lock(&cs->lock);
    for (size_t i = 0; i < cs->n_sorted; i++) {
        _cleanup_view_ struct ctr_view *v = container_view(cs->sorted[i]);

        if (!streq(v->fixed->image_id, image_id))
            continue;
        if (ctr_state_alive(v->state)) {
            u.running++;
            memcpy(u.running_id, v->fixed->id, sizeof(u.running_id));
        } else {
            u.stopped++;
            memcpy(u.stopped_id, v->fixed->id, sizeof(u.stopped_id));
        }
    }
    pthread_mutex_unlock(&cs->lock);
    *ret = u;
}

/* ---- events ------------------------------------------------------------------------------------------------------------- */
void container_event(struct container *c, const char *action, ...) {
    _cleanup_view_ struct ctr_view *v = container_view(c);
    _cleanup_strv_ struct strv attrs = STRV_INIT;
    const char *pair;
    va_list ap;

    for (size_t i = 0; i < v->fixed->config.labels.n; i++)
        ignore_result(strv_addf(&attrs, "%s=%s", v->fixed->config.labels.v[i].key, v->fixed->config.labels.v[i].value));
    va_start(ap, action);
    while ((pair = va_arg(ap, const char *)))
        ignore_result(strv_add(&attrs, pair));
    va_end(ap);
    if (!str_empty(v->fixed->config.image))
        ignore_result(strv_addf(&attrs, "image=%s", v->fixed->config.image));
    ignore_result(strv_addf(&attrs, "name=%s", v->name));
    events_publish(c->cs->engine->events, "container", action, c->id, &attrs);
}

/* ---- the manager -------------------------------------------------------------------------------------------------------- */
static int load_one(struct ctr_view *v, void *arg, struct err *e) {
    struct containers *cs = arg;
    struct container *c = object_new(cs, v);

    if (!c) {
        ctr_view_unref(v);
        return err_oom(e);
    }
    if (index_add(cs, c, v->name) < 0) {
        container_unref(c);
        return err_oom(e);
    }
    return 0;
}

int containers_new(struct engine *engine, struct containers **ret, struct err *e) {
    struct containers *cs = calloc(1, sizeof(*cs));
    int r;

    if (!cs)
        return err_oom(e);
    cs->engine = engine;
    pthread_mutex_init(&cs->lock, NULL);
    pthread_mutex_init(&cs->users_lock, NULL);
    r = ctr_reaper_new(&cs->reaper, e);
    if (r >= 0)
        r = ctr_freezing_new(engine->loop, cs->reaper, &cs->freezing, e);
    if (r >= 0)
        r = group_cache_new(engine->loop, &cs->group_cache, e);
    if (r >= 0)
        r = departed_new(&cs->departed, e);
    if (r >= 0)
        r = container_store_setup(engine->db, e);
    if (r >= 0)
        r = container_store_each(engine->db, load_one, cs, e);
    if (r < 0) {
        containers_free(cs);
        return r;
    }
    *ret = cs;
    return 0;
}

struct containers *containers_free(struct containers *cs) {
    if (!cs)
        return NULL;
    cs->reaper = ctr_reaper_free(cs->reaper);
    ctr_freezing_free(cs->freezing);
    group_cache_free(cs->group_cache);
    departed_free(cs->departed);
    loop_unwatch(cs->logwatch_fd);
    logwatch_free(cs->logwatch);
    for (size_t i = 0; i < cs->n_sorted; i++)
        container_unref(cs->sorted[i]);
    free(cs->sorted);
    map_done(&cs->by_id);
    map_done(&cs->by_name);
    map_done_with(&cs->users, free);
    pthread_mutex_destroy(&cs->users_lock);
    pthread_mutex_destroy(&cs->lock);
    free(cs);
    return NULL;
}

size_t containers_pending(struct containers *cs) {
    return ctr_reaper_pending(cs->reaper);
}

void containers_drain(struct containers *cs) {
    ctr_reaper_drain(cs->reaper);
}
