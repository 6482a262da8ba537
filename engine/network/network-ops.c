// SPDX-License-Identifier: Apache-2.0
/* Network operations of the API. */
#include <stdlib.h>
#include <string.h>

#include "api-handlers.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "network/network-internal.h"
#include "wire/call.h"
#include "wire/filters.h"

/* Reply with the record; Containers belong to the moment, so the two parts are put together here. */
static int write_network(struct networks *n, struct network *net, bool detail, int version, struct buf *out, struct err *e) {
    struct api_network shown = net->record;
    int r = 0;

    shown.containers = (struct api_network_container_map){.set = true};
    if (detail)
        r = network_containers(n, net, &shown.containers, e);
    if (r == 0)
        r = api_network_write(&shown, version, out, e);
    api_network_container_map_done(&shown.containers);
    return r;
}

/* The record never changes: its text is kept from the first time, for the version that was asked for then. NULL: no memory for that. */
static const struct network_text *text_of(struct network *net, int version) {
    struct network_text *t = __atomic_load_n(&net->listed, __ATOMIC_ACQUIRE), *before = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_REPLY_BYTES);

    if (t || write_network(NULL, net, false, version, &b, NULL) < 0)
        return t;
    t = malloc(sizeof(*t) + b.len);
    if (!t)
        return NULL;
    t->version = version;
    t->len = b.len;
    memcpy(t->text, b.data, b.len);
    if (__atomic_compare_exchange_n(&net->listed, &before, t, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return t;
    free(t);
    return before;
}

static int write_listed(struct networks *n, struct network *net, int version, struct buf *out, struct err *e) {
    const struct network_text *t;

    /* Before 1.28 a list entry told as much as inspect does. */
    if (version < 128)
        return write_network(n, net, true, version, out, e);
    t = text_of(net, version);
    if (!t || t->version != version)
        return write_network(n, net, false, version, out, e);
    buf_add(out, t->text, t->len);
    return 0;
}

static int check_type_filter(const struct filters *f, struct err *e) {
    const struct strv *v = filters_get(f, "type");

    for (size_t i = 0; v && i < v->n; i++) {
        if (!streq(v->v[i], "custom") && !streq(v->v[i], "builtin"))
            return err_set(e, ERR_INTERNAL, "invalid filter: 'type'='%s'", v->v[i]);
    }
    return 0;
}

static bool label_match(const struct filters *f, const struct network *net) {
    _cleanup_strv_ struct strv pairs = STRV_INIT;

    if (!filters_has(f, "label"))
        return true;
    for (size_t i = 0; i < net->record.labels.n; i++) {
        if (strv_addf(&pairs, "%s=%s", net->record.labels.v[i].key, net->record.labels.v[i].value) < 0)
            return false;
    }
    return filters_kv(f, "label", &pairs);
}

static bool in_use(struct networks *n, const struct network *net) {
    bool used;

    pthread_mutex_lock(&n->lock);
    used = net->endpoints != NULL;
    pthread_mutex_unlock(&n->lock);
    return used;
}

static bool match(struct networks *n, const struct filters *f, const struct network *net, bool dangling_set, bool dangling) {
    const char *type = network_is_predefined(net->record.name) ? "builtin" : "custom";

    if (!filters_exact(f, "driver", net->record.driver) || !filters_exact(f, "scope", net->record.scope) ||
        !filters_match(f, "name", net->record.name) || !filters_match(f, "id", net->record.id) || !label_match(f, net) ||
        !filters_exact(f, "type", type))
        return false;
    if (dangling_set && (dangling != (!network_is_predefined(net->record.name) && !in_use(n, net))))
        return false;
    return true;
}

int op_network_list(struct call *c, struct err *e) {
    static const char *const accepted[] = {"dangling", "driver", "id", "label", "name", "scope", "type", NULL};
    const struct strv *values;
    struct networks *n = call_engine(c)->networks;
    _cleanup_filters_ struct filters f = FILTERS_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(LIMIT_REPLY_BYTES);
    struct q_network_list q = {0};
    struct network **all = NULL;
    size_t k = 0;
    bool dangling = false, first = true;
    int r = q_network_list_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0)
        r = filters_parse(&f, q.filters, e);
    q_network_list_done(&q);
    if (r == 0)
        r = filters_validate(&f, accepted, e);
    if (r == 0)
        r = check_type_filter(&f, e);
    values = filters_get(&f, "dangling");
    if (r == 0 && values && values->n > 1)
        r = err_set(e, ERR_INVALID, "got more than one value for filter key \"dangling\"");
    if (r == 0 && values && values->n == 1 && filters_bool(&f, "dangling", false, &dangling, NULL) < 0)
        r = err_set(e, ERR_INVALID, "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")");
    if (r == 0)
        r = networks_all(n, &all, &k, e);
    buf_addc(&out, '[');
    for (size_t i = 0; i < k; i++) {
        if (r == 0 && match(n, &f, all[i], filters_has(&f, "dangling"), dangling)) {
            if (!first)
                buf_addc(&out, ',');
            first = false;
            r = write_listed(n, all[i], call_api_version(c), &out, e);
        }
        network_unref(all[i]);
    }
    free(all);
    buf_addc(&out, ']');
    return r < 0 ? r : call_reply(c, 200, &out, e);
}

int op_network_inspect(struct call *c, struct err *e) {
    struct networks *n = call_engine(c)->networks;
    _cleanup_buf_ struct buf out = BUF_INIT(LIMIT_REPLY_BYTES);
    struct q_network_inspect q = {0};
    struct network *net = NULL;
    int r = q_network_inspect_read(&q, call_query(c), call_api_version(c), e);
    if (r == 0)
        r = networks_find(n, call_path(c, "id"), &net, e);
    if (r == 0 && !str_empty(q.scope) && !streq(q.scope, net->record.scope))
        r = err_set(e, ERR_NOT_FOUND, "network %s not found", call_path(c, "id"));
    q_network_inspect_done(&q);
    if (r == 0)
        r = write_network(n, net, true, call_api_version(c), &out, e);
    network_unref(net);
    return r < 0 ? r : call_reply(c, 200, &out, e);
}

int op_network_create(struct call *c, struct err *e) {
    struct networks *n = call_engine(c)->networks;
    _cleanup_buf_ struct buf out = BUF_INIT(LIMIT_REPLY_BYTES);
    struct api_network_create_request req = {0};
    struct api_network_create_response reply = {0};
    struct network *net = NULL;
    json_t *body = NULL;
    int r = call_json(c, &body, e);

    if (r == 0 && body)
        r = api_network_create_request_read(&req, body, NULL, e);
    json_decref(body);
    if (r == 0)
        r = networks_create(n, &req, &net, &reply.warning, e);
    api_network_create_request_done(&req);
    if (r == 0)
        r = str_set(&reply.id, network_id(net)) < 0 ? err_oom(e) : 0;
    network_unref(net);
    if (r == 0)
        r = api_network_create_response_write(&reply, call_api_version(c), &out, e);
    api_network_create_response_done(&reply);
    return r < 0 ? r : call_reply(c, 201, &out, e);
}

int op_network_delete(struct call *c, struct err *e) {
    int r = networks_remove(call_engine(c)->networks, call_path(c, "id"), e);

    return r < 0 ? r : call_reply_empty(c, 204);
}

int op_network_prune(struct call *c, struct err *e) {
    static const char *const accepted[] = {"label", "label!", "until", NULL};
    struct networks *n = call_engine(c)->networks;
    _cleanup_filters_ struct filters f = FILTERS_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(LIMIT_REPLY_BYTES);
    struct api_network_prune_response reply = {0};
    struct q_network_prune q = {0};
    struct network **all = NULL;
    int64_t until_ns = CLOCK_ZERO;
    size_t k = 0;
    int r = q_network_prune_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0)
        r = filters_parse(&f, q.filters, e);
    q_network_prune_done(&q);
    if (r == 0)
        r = filters_validate(&f, accepted, e);
    if (r == 0)
        r = filters_until(&f, &until_ns, e);
    if (r == 0)
        r = networks_all(n, &all, &k, e);
    for (size_t i = 0; i < k; i++) {
        struct network *net = all[i];

        if (r == 0 && !network_is_predefined(net->record.name) && net->kind != NETWORK_CONFIG && !in_use(n, net) &&
            network_prune_match(&f, net, until_ns) && networks_remove(n, net->record.id, NULL) == 0)
            r = api_string_list_add(&reply.networks_deleted, net->record.name, e);
        network_unref(net);
    }
    free(all);
    if (r == 0)
        r = api_network_prune_response_write(&reply, call_api_version(c), &out, e);
    api_network_prune_response_done(&reply);
    return r < 0 ? r : call_reply(c, 200, &out, e);
}
