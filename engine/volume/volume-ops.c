// SPDX-License-Identifier: Apache-2.0
/* Volume operations of the API. */
#include <stdlib.h>

#include "api-handlers.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "volume/volume-internal.h"
#include "wire/call.h"

static int copy_map(struct api_string_map *to, const struct api_string_map *from, struct err *e) {
    int r = 0;

    to->set = from->set;
    for (size_t i = 0; r == 0 && i < from->n; i++)
        r = api_string_map_set(to, from->v[i].key, from->v[i].value, e);
    return r;
}

int volume_describe(const struct volume *v, struct api_volume *ret, struct err *e) {
    const char *created = v->seen_at ? v->seen_at : v->record.created_at;
    int r;

    if (str_set(&ret->name, v->record.name) < 0 || str_set(&ret->driver, v->record.driver) < 0 || str_set(&ret->scope, v->record.scope) < 0 ||
        str_set(&ret->mountpoint, v->record.mountpoint) < 0 || str_set(&ret->created_at, created) < 0)
        return err_oom(e);
    r = copy_map(&ret->labels, &v->record.labels, e);
    return r < 0 ? r : copy_map(&ret->options, &v->record.options, e);
}

static int to_pairs(const struct api_string_map *m, struct strv *ret, struct err *e) {
    for (size_t i = 0; i < m->n; i++) {
        if (strv_addf(ret, "%s=%s", m->v[i].key, m->v[i].value ? m->v[i].value : "") < 0)
            return err_oom(e);
    }
    return 0;
}

static bool label_match(const struct filters *f, const char *key, const struct api_volume *v) {
    _cleanup_strv_ struct strv pairs = STRV_INIT;

    if (!filters_has(f, key))
        return true;
    return to_pairs(&v->labels, &pairs, NULL) == 0 && filters_kv(f, key, &pairs);
}

static int list_local(struct volumes *vs, struct api_volume_list *ret, struct err *e) {
    struct volume **all = NULL;
    size_t k = 0;
    int r = volumes_all(vs, &all, &k, e);

    for (size_t i = 0; i < k; i++) {
        if (r == 0 && !all[i]->remote) {
            struct api_volume *item = api_volume_list_add(ret);

            r = item ? volume_describe(all[i], item, e) : err_oom(e);
        }
        volume_unref(all[i]);
    }
    free(all);
    return r;
}

static bool held(struct volumes *vs, const char *name) {
    struct volume *v;
    bool yes;

    pthread_mutex_lock(&vs->lock);
    v = map_get(&vs->by_name, name);
    yes = v && v->holders.n;
    pthread_mutex_unlock(&vs->lock);
    return yes;
}

/* Which of them are wanted; the others are taken out. */
static void select_wanted(struct volumes *vs, const struct filters *f, bool dangling, struct api_volume_list *l) {
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++) {
        struct api_volume *v = &l->v[i];

        if (filters_match(f, "name", v->name) && filters_exact(f, "driver", v->driver) && label_match(f, "label", v) &&
            (!filters_has(f, "dangling") || dangling != held(vs, v->name)))
            l->v[n++] = *v;
        else
            api_volume_done(v);
    }
    l->n = n;
}

int op_volume_list(struct call *c, struct err *e) {
    static const char *const accepted[] = {"dangling", "name", "driver", "label", NULL};
    struct volumes *vs = call_engine(c)->volumes;
    _cleanup_filters_ struct filters f = FILTERS_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(LIMIT_REPLY_BYTES);
    struct api_volume_list_response reply = {.volumes.set = true};
    struct q_volume_list q = {0};
    bool dangling = false;
    int r = q_volume_list_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0)
        r = filters_parse(&f, q.filters, e);
    if (r < 0)
        err_wrap(e, "error reading volume filters");
    q_volume_list_done(&q);
    if (r == 0)
        r = filters_validate(&f, accepted, e);
    if (r == 0 && filters_has(&f, "dangling") && !filters_get(&f, "dangling")->n)
        r = err_set(e, ERR_INVALID, "invalid filter 'dangling'");
    if (r == 0)
        r = filters_bool(&f, "dangling", false, &dangling, e);
    if (r == 0)
        r = list_local(vs, &reply.volumes, e);
    if (r == 0)
        r = volume_driver_list(vs, &reply.volumes, &reply.warnings, e);
    if (r == 0) {
        select_wanted(vs, &f, dangling, &reply.volumes);
        r = api_volume_list_response_write(&reply, call_api_version(c), &out, e);
    }
    api_volume_list_response_done(&reply);
    return r < 0 ? r : call_reply(c, 200, &out, e);
}

static int add_status(struct api_json_map *to, json_t *status, struct err *e) {
    const char *key;
    json_t *value;

    to->v = calloc(json_object_size(status), sizeof(*to->v));
    if (!to->v)
        return err_oom(e);
    to->set = true;
    json_object_foreach(status, key, value) {
        to->v[to->n].key = strdup(key);
        if (!to->v[to->n].key)
            return err_oom(e);
        to->v[to->n++].value = json_incref(value);
    }
    return 0;
}

int op_volume_inspect(struct call *c, struct err *e) {
    _cleanup_(volume_facts_done) struct volume_facts facts = {0};
    _cleanup_buf_ struct buf out = BUF_INIT(LIMIT_REPLY_BYTES);
    struct volumes *vs = call_engine(c)->volumes;
    struct api_volume reply = {0};
    struct volume *v = NULL;
    int r = volumes_find(vs, call_path(c, "name"), &v, e);

    if (r == 0 && v->remote)
        r = volume_ask(vs, v, &facts, e);
    if (r == 0)
        r = volume_describe(v, &reply, e);
    if (r == 0 && facts.mountpoint && str_set(&reply.mountpoint, facts.mountpoint) < 0)
        r = err_oom(e);
    if (r == 0 && json_object_size(facts.status))
        r = add_status(&reply.status, facts.status, e);
    if (r == 0)
        r = api_volume_write(&reply, call_api_version(c), &out, e);
    api_volume_done(&reply);
    volume_unref(v);
    return r < 0 ? r : call_reply(c, 200, &out, e);
}

int op_volume_create(struct call *c, struct err *e) {
    _cleanup_(q_volume_create_done) struct q_volume_create q = {0};
    _cleanup_buf_ struct buf out = BUF_INIT(LIMIT_REPLY_BYTES);
    _cleanup_strv_ struct strv opts = STRV_INIT, labels = STRV_INIT;
    struct api_volume_create_options req = {0};
    struct api_volume reply = {0};
    struct volume_request want;
    struct volume *v = NULL;
    json_t *body = NULL;
    int r = q_volume_create_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0)
        r = call_json(c, &body, e);
    /* No body at all is an anonymous volume. */
    if (r == 0 && body)
        r = api_volume_create_options_read(&req, body, NULL, e);
    json_decref(body);
    if (r == 0 && req.cluster_volume_spec)
        r = err_set(e, ERR_UNAVAILABLE,
                    "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to "
                    "swarm and try again.");
    if (r == 0)
        r = to_pairs(&req.driver_opts, &opts, e);
    if (r == 0)
        r = to_pairs(&req.labels, &labels, e);
    want = (struct volume_request){
        .name = req.name, .driver = req.driver, .opts = &opts, .labels = &labels, .empty_opts = req.driver_opts.set, .empty_labels = req.labels.set};
    if (r == 0)
        r = str_empty(q.hatake_from) ? volumes_create(call_engine(c)->volumes, &want, &v, e)
                                     : volumes_take(call_engine(c)->volumes, &want, q.hatake_from, &v, e);
    api_volume_create_options_done(&req);
    if (r == 0)
        r = volume_describe(v, &reply, e);
    if (r == 0)
        r = api_volume_write(&reply, call_api_version(c), &out, e);
    api_volume_done(&reply);
    volume_unref(v);
    return r < 0 ? r : call_reply(c, 201, &out, e);
}

int op_volume_delete(struct call *c, struct err *e) {
    struct q_volume_delete q = {0};
    int r = q_volume_delete_read(&q, call_query(c), call_api_version(c), e);
    bool force = q.force;

    q_volume_delete_done(&q);
    if (r == 0)
        r = volumes_remove(call_engine(c)->volumes, call_path(c, "name"), force, e);
    return r < 0 ? r : call_reply_empty(c, 204);
}

int op_volume_update(struct call *c, struct err *e) {
    return err_set(e, ERR_UNAVAILABLE, "volume update only valid for cluster volumes, but swarm is unavailable");
}

/* Filter `all` of prune, which is read more leniently than others. */
static int prune_all(const struct filters *f, bool *ret, struct err *e) {
    const struct strv *l = filters_get(f, "all");

    *ret = false;
    if (!l || !l->n)
        return 0;
    if (l->n > 1) {
        _cleanup_free_ char *text = strv_join(l, " ");

        return err_set(e, ERR_INVALID, "invalid filter 'all=[%s]': only one value is expected", text ? text : "");
    }
    if (parse_bool(l->v[0], ret) < 0)
        return err_set(e, ERR_INVALID, "invalid filter 'all': strconv.ParseBool: parsing \"%s\": invalid syntax", l->v[0]);
    return 0;
}

static bool prune_match(const struct filters *f, bool all, const struct volume *v) {
    const struct strv *without = filters_get(f, "label!");

    if (!volume_is_plain(v) || (!all && !v->anonymous) || !label_match(f, "label", &v->record))
        return false;
    for (size_t i = 0; without && i < without->n; i++) {
        _cleanup_filters_ struct filters one = FILTERS_INIT;

        if (filters_add(&one, "label", without->v[i]) < 0 || label_match(&one, "label", &v->record))
            return false;
    }
    return true;
}

int op_volume_prune(struct call *c, struct err *e) {
    static const char *const accepted[] = {"label", "label!", "all", NULL}, *const accepted_old[] = {"label", "label!", NULL};
    struct volumes *vs = call_engine(c)->volumes;
    _cleanup_filters_ struct filters f = FILTERS_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(LIMIT_REPLY_BYTES);
    struct api_volume_prune_response reply = {.volumes_deleted.set = true, .has_space_reclaimed = true};
    struct q_volume_prune q = {0};
    struct volume **all = NULL;
    size_t k = 0;
    bool every = false, old = call_api_version(c) < 142;
    int r = q_volume_prune_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0)
        r = filters_parse(&f, q.filters, e);
    q_volume_prune_done(&q);
    if (r == 0)
        r = filters_validate(&f, old ? accepted_old : accepted, e);
    /* Before 1.42 named volumes went too. */
    if (r == 0 && old)
        r = filters_add(&f, "all", "true") < 0 ? err_oom(e) : 0;
    if (r == 0)
        r = prune_all(&f, &every, e);
    if (r == 0)
        r = volumes_all(vs, &all, &k, e);
    for (size_t i = 0; i < k; i++) {
        struct volume *v = all[i];

        if (r == 0 && volumes_holders(vs, v) == 0 && prune_match(&f, every, v)) {
            int64_t bytes = MAX(volume_bytes(v), 0);

            if (volumes_remove(vs, v->record.name, false, NULL) == 0) {
                reply.space_reclaimed += bytes;
                r = api_string_list_add(&reply.volumes_deleted, v->record.name, e);
            }
        }
        volume_unref(v);
    }
    free(all);
    if (r == 0)
        r = api_volume_prune_response_write(&reply, call_api_version(c), &out, e);
    api_volume_prune_response_done(&reply);
    return r < 0 ? r : call_reply(c, 200, &out, e);
}
