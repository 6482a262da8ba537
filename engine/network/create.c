// SPDX-License-Identifier: Apache-2.0
/* User-defined networks: made and removed. */
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "db/journal.h"
#include "netplane/link.h"
#include "network/network-internal.h"

bool network_is_predefined(const char *name) {
    return streq(name, "bridge") || streq(name, "host") || streq(name, "none") || streq(name, "default");
}

/* ---- record ------------------------------------------------------------------------------------------------------------------------ */

static int copy_map(struct api_string_map *to, const struct api_string_map *from, struct err *e) {
    int r = 0;

    to->set = true;
    for (size_t i = 0; r == 0 && i < from->n; i++)
        r = api_string_map_set(to, from->v[i].key, from->v[i].value ? from->v[i].value : "", e);
    return r;
}

/* IPv4 networks come before IPv6 ones, whatever the order of the request. */
static int copy_ipam(const struct api_ipam *from, struct api_ipam *to, struct err *e) {
    int r = 0;

    if (str_set(&to->driver, "default") < 0)
        return err_oom(e);
    if (!from)
        return 0;
    if (from->options.set)
        r = copy_map(&to->options, &from->options, e);
    for (size_t i = 0; r == 0 && i < 2 * from->config.n; i++) {
        const struct api_ipam_config *c = &from->config.v[i % from->config.n];
        struct api_ipam_config *t;

        if ((strchr(c->subnet ? c->subnet : "", ':') != NULL) != (i >= from->config.n))
            continue;
        t = api_ipam_config_list_add(&to->config);
        if (!t || str_set(&t->subnet, c->subnet) < 0 || str_set(&t->ip_range, c->ip_range) < 0 || str_set(&t->gateway, c->gateway) < 0)
            return err_oom(e);
        if (c->auxiliary_addresses.n)
            r = copy_map(&t->auxiliary_addresses, &c->auxiliary_addresses, e);
    }
    return r;
}

static int add_config(struct api_ipam *ipam, const char *subnet, const char *gateway, struct err *e) {
    struct api_ipam_config *c = api_ipam_config_list_add(&ipam->config);

    return c && str_set(&c->subnet, subnet) == 0 && str_set(&c->gateway, gateway) == 0 ? 0 : err_oom(e);
}

static int auto_subnet(struct networks *n, struct api_network *record, struct err *e) {
    struct cidr4 net = {0};
    char subnet[CIDR4_TEXT_MAX], gateway[IPV4_TEXT_MAX];
    int r = networks_pick_subnet(n, NULL, streq(record->scope, "global"), &net, NULL);

    if (r < 0)
        return err_set(e, ERR_NOT_FOUND,
                       "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network");
    cidr4_format_net(&net, subnet);
    ipv4_format(cidr4_net(&net) + 1, gateway);
    return add_config(record->ipam, subnet, gateway, e);
}

static int auto_subnet6(struct networks *n, struct api_network *record, struct err *e) {
    struct cidr6 net = {0};
    char subnet[CIDR6_TEXT_MAX], gateway[CIDR6_TEXT_MAX + 4], addr[IPV6_TEXT_MAX];
    struct in6_addr first;

    if (networks_pick_subnet6(n, &net, NULL) < 0)
        return err_set(e, ERR_NOT_FOUND,
                       "could not find an available, non-overlapping IPv6 address pool among the defaults to assign to the network");
    cidr6_format_net(&net, subnet);
    first = cidr6_net(&net);
    first.s6_addr[15] |= 1;
    ipv6_format(&first, addr);
    /* The reference shows this one with the length of its prefix. */
    snprintf(gateway, sizeof(gateway), "%s/%u", addr, net.prefix);
    return add_config(record->ipam, subnet, gateway, e);
}

/* Each network of the request against those there are, in its own scope's address space. */
static int check_overlap(struct networks *n, const struct api_network *record, struct err *e) {
    bool global = streq(record->scope, "global"), overlap = false;

    for (size_t k = 0; k < record->ipam->config.n; k++) {
        const char *text = record->ipam->config.v[k].subnet;
        struct cidr4 a4 = {0};
        struct cidr6 a6 = {0};
        bool v4 = text && cidr4_parse(text, &a4) == 0, v6 = !v4 && record->enable_ipv6 && text && cidr6_parse(text, &a6) == 0;

        pthread_mutex_lock(&n->lock);
        for (struct map_entry *i = NULL; (i = map_next(&n->by_id, i));) {
            const struct network *net = i->value;

            if (net->global == global)
                overlap = overlap || (v4 && net->ipam && cidr4_overlap(&net->addr, &a4)) || (v6 && net->ipam6 && cidr6_overlap(&net->addr6, &a6));
        }
        pthread_mutex_unlock(&n->lock);
    }
    return overlap ? err_set(e, ERR_FORBIDDEN, "Pool overlaps with other one on this address space") : 0;
}

static bool has_family(const struct api_ipam *ipam, bool v6) {
    for (size_t i = 0; i < ipam->config.n; i++) {
        if ((strchr(ipam->config.v[i].subnet ? ipam->config.v[i].subnet : "", ':') != NULL) == v6)
            return true;
    }
    return false;
}

/* --default-network-opt: what the request does not say itself. */
static int add_default_options(struct networks *n, const char *driver, struct api_string_map *to, struct err *e) {
    const struct strv *all = &n->engine->config->default_network_opts;
    size_t len = strlen(driver);
    int r = 0;

    for (size_t i = 0; r == 0 && i < all->n; i++) {
        const char *eq = strncmp(all->v[i], driver, len) == 0 && all->v[i][len] == '=' ? strchr(all->v[i] + len + 1, '=') : NULL;
        _cleanup_free_ char *key = eq ? strndup(all->v[i] + len + 1, (size_t)(eq - all->v[i]) - len - 1) : NULL;

        if (eq && !key)
            return err_oom(e);
        if (eq && !api_string_map_get(to, key))
            r = api_string_map_set(to, key, eq + 1, e);
    }
    return r;
}

/* Settings come from the request, or from a configuration network that it names. */
static int copy_settings(struct networks *n, const struct api_network_create_request *req, struct api_network *r, struct err *e) {
    const char *from = req->config_from ? req->config_from->network : NULL;
    struct network *lender = NULL;
    int ret;

    if (str_empty(from)) {
        r->enable_ipv6 = req->enable_ipv6;
        ret = copy_map(&r->options, &req->options, e);
        if (ret == 0)
            ret = add_default_options(n, r->driver, &r->options, e);
        if (ret == 0)
            ret = copy_map(&r->labels, &req->labels, e);
        return ret == 0 ? copy_ipam(req->ipam, r->ipam, e) : ret;
    }
    if (networks_find(n, from, &lender, NULL) < 0 || lender->kind != NETWORK_CONFIG) {
        network_unref(lender);
        return err_set(e, ERR_NOT_FOUND, "configuration network \"%s\" does not exist", from);
    }
    r->config_from = api_config_reference_new();
    ret = r->config_from && str_set(&r->config_from->network, lender->record.name) == 0 ? 0 : err_oom(e);
    r->enable_ipv6 = lender->record.enable_ipv6;
    if (ret == 0)
        ret = copy_map(&r->options, &lender->record.options, e);
    if (ret == 0)
        ret = copy_map(&r->labels, &lender->record.labels, e);
    if (ret == 0)
        ret = copy_ipam(lender->record.ipam, r->ipam, e);
    network_unref(lender);
    return ret;
}

static int make_record(struct networks *n, const struct api_network_create_request *req, struct api_network *r, bool *ret_auto, struct err *e) {
    const char *driver = req->config_only ? "null" : str_empty(req->driver) ? "bridge" : req->driver;
    const char *scope = req->config_only || str_empty(req->scope) ? "local" : req->scope;
    char id[ID_LEN + 1], created[CLOCK_TEXT_MAX];
    int ret;

    id_new(id);
    clock_format(clock_wall_ns(), created);
    r->ipam = api_ipam_new();
    if (!r->ipam || str_set(&r->name, req->name) < 0 || str_set(&r->id, id) < 0 || str_set(&r->created, created) < 0 ||
        str_set(&r->scope, scope) < 0 || str_set(&r->driver, driver) < 0)
        return err_oom(e);
    r->internal = req->internal;
    r->attachable = req->attachable;
    r->config_only = req->config_only;
    r->containers.set = true;
    ret = copy_settings(n, req, r, e);
    if (ret < 0 || req->config_only)
        return ret;
    ret = check_overlap(n, r, e);
    *ret_auto = !has_family(r->ipam, false);
    if (ret == 0 && *ret_auto)
        ret = auto_subnet(n, r, e);
    if (ret == 0 && r->enable_ipv6 && !has_family(r->ipam, true))
        ret = auto_subnet6(n, r, e);
    return ret;
}

/* ---- making ------------------------------------------------------------------------------------------------------------------------ */

static int store_with_intent(struct networks *n, const struct network *net, int64_t intent, struct err *e) {
    int r = db_begin(n->engine->db, e);

    if (r < 0)
        return r;
    r = network_store_add(n, net, e);
    if (r == 0)
        r = intent_done(n->engine->db, intent, e);
    if (r < 0) {
        db_rollback(n->engine->db);
        return r;
    }
    return db_commit(n->engine->db, e);
}

/* The device that goes with a network; "" for none. */
static const char *device_of(const struct network *net) {
    return net->kind == NETWORK_BRIDGE ? net->bridge : net->kind != NETWORK_CONFIG && net->own_parent ? net->parent : "";
}

static void unmake(struct networks *n, struct network *net) {
    _cleanup_err_ struct err why = ERR_INIT;
    int r = 0;

    if (net->kind == NETWORK_BRIDGE)
        r = networks_drop_rules(n, net, &why);
    if (r == 0 && *device_of(net))
        r = link_delete_soon(device_of(net), LINK_UNLISTED, &why);
    if (r < 0)
        log_kv(LOG_LVL_ERROR, "network is not removed wholly", "network", net->record.name, "error", err_msg(&why), NULL);
}

/* Bridges share one machine, whatever the scope of their networks is. */
static int check_conflicts(struct networks *n, const struct network *net, struct err *e) {
    int r = 0;

    pthread_mutex_lock(&n->lock);
    for (struct map_entry *i = NULL; r == 0 && (i = map_next(&n->by_id, i));) {
        const struct network *other = i->value;
        const char *what = NULL;

        if (other == net || other->kind != NETWORK_BRIDGE)
            continue;
        if (streq(other->bridge, net->bridge))
            what = "same bridge name";
        else if (net->ipam && other->ipam && cidr4_overlap(&net->addr, &other->addr))
            what = "overlapping IPv4";
        else if (net->ipam6 && other->ipam6 && cidr6_overlap(&net->addr6, &other->addr6))
            what = "overlapping IPv6";
        if (what)
            r = err_set(e, ERR_FORBIDDEN, "cannot create network %s (%s): conflicts with network %s (%s): networks have %s", net->record.id,
                        net->bridge, other->record.id, other->bridge, what);
    }
    pthread_mutex_unlock(&n->lock);
    return r;
}

static int make_device(struct networks *n, struct network *net, struct err *e) {
    int r;

    if (net->kind != NETWORK_BRIDGE)
        return network_make_parent(n, net, e);
    r = network_make_bridge(n, net, e);
    return r == 0 ? networks_add_rules(n, net, e) : r;
}

static int make(struct networks *n, struct network *net, struct err *e) {
    const char *device = net->kind == NETWORK_BRIDGE ? net->bridge : net->parent;
    int64_t intent = 0;
    int r = net->kind == NETWORK_BRIDGE ? check_conflicts(n, net, e) : 0;

    if (r == 0)
        r = networks_enter(n, net, e);
    if (r < 0)
        return r;
    if (net->kind == NETWORK_CONFIG) {
        r = network_store_add(n, net, e);
        if (r < 0)
            networks_forget(n, net);
        return r;
    }
    /* What is there already belongs to somebody else and stays when this fails. */
    net->own_parent = !if_nametoindex(device);
    r = intent_begin(n->engine->db, "network.bridge", net->record.id, net->own_parent ? device : "", &intent, e);
    if (r == 0)
        r = make_device(n, net, e);
    if (r == 0)
        r = store_with_intent(n, net, intent, e);
    if (r < 0) {
        networks_forget(n, net);
        if (net->own_parent)
            unmake(n, net);
        ignore_result(intent_done(n->engine->db, intent, NULL) < 0);
    }
    return r;
}

int networks_create(struct networks *n, const struct api_network_create_request *req, struct network **ret, char **ret_warning, struct err *e) {
    struct api_network record = {0};
    struct network *net = NULL;
    bool auto4 = false;
    int r = network_check_request(req, e);

    if (r < 0)
        return r;
    pthread_mutex_lock(&n->change);
    pthread_mutex_lock(&n->lock);
    if (map_has(&n->by_name, req->name))
        r = err_set(e, ERR_CONFLICT, "network with name %s already exists", req->name);
    pthread_mutex_unlock(&n->lock);
    if (r == 0) {
        r = make_record(n, req, &record, &auto4, e);
        if (r < 0)
            api_network_done(&record);
        else
            r = network_from_record(&record, &net, e);
    }
    if (r == 0) {
        net->auto4 = auto4;
        r = make(n, net, e);
    }
    pthread_mutex_unlock(&n->change);
    if (r < 0) {
        network_unref(net);
        return r;
    }
    networks_event(n, net, "create", NULL);
    *ret_warning = NULL;
    *ret = net;
    return 0;
}

/* ---- removing ---------------------------------------------------------------------------------------------------------------------- */

static int begin_removal(struct networks *n, struct network *net, struct err *e) {
    int r = 0;

    pthread_mutex_lock(&n->lock);
    for (struct map_entry *i = NULL; net->kind == NETWORK_CONFIG && r == 0 && (i = map_next(&n->by_id, i));) {
        const struct network *other = i->value;

        if (other->record.config_from && streq_ptr(other->record.config_from->network, net->record.name))
            r = err_set(e, ERR_FORBIDDEN, "error while removing network: configuration network \"%s\" is in use", net->record.name);
    }
    if (r == 0 && net->endpoints)
        r = err_set(e, ERR_FORBIDDEN, "error while removing network: network %s id %s has active endpoints", net->record.name, net->record.id);
    if (r == 0)
        net->removing = true;
    pthread_mutex_unlock(&n->lock);
    return r;
}

int networks_remove(struct networks *n, const char *ref, struct err *e) {
    struct network *net = NULL;
    int r = networks_find(n, ref, &net, e);

    if (r < 0)
        return r;
    if (network_is_predefined(net->record.name)) {
        r = err_set(e, ERR_FORBIDDEN, "%s is a pre-defined network and cannot be removed", net->record.name);
        network_unref(net);
        return r;
    }
    pthread_mutex_lock(&n->change);
    r = begin_removal(n, net, e);
    /* The record goes last and so is its own intent: a start that still finds it makes again what is gone, and the network is there as before. */
    if (r == 0) {
        unmake(n, net);
        r = network_store_remove(n, net->record.id, e);
        if (r < 0 && net->kind != NETWORK_CONFIG && make_device(n, net, NULL) < 0)
            log_kv(LOG_LVL_ERROR, "network is without its interface until the next start", "network", net->record.name, NULL);
    }
    if (r == 0) {
        networks_forget(n, net);
    } else {
        pthread_mutex_lock(&n->lock);
        net->removing = false;
        pthread_mutex_unlock(&n->lock);
    }
    pthread_mutex_unlock(&n->change);
    if (r == 0)
        networks_event(n, net, "destroy", NULL);
    network_unref(net);
    return r;
}

/* At start: bridges whose network was never recorded, or is no longer. */
static int finish_one(const struct intent *it, void *arg, struct err *e) {
    struct networks *n = arg;

    if (!map_has(&n->by_id, it->key) && !str_empty(it->payload) && link_delete(it->payload, e) < 0)
        return -1;
    return 1;
}

int networks_finish_intents(struct networks *n, struct err *e) {
    return intent_each(n->engine->db, "network.bridge", finish_one, n, e);
}

/* ---- prune ------------------------------------------------------------------------------------------------------------------------- */

static bool has_label(const struct network *net, const char *want) {
    const char *eq = strchr(want, '=');
    size_t n = eq ? (size_t)(eq - want) : strlen(want);

    for (size_t i = 0; i < net->record.labels.n; i++) {
        const char *key = net->record.labels.v[i].key, *value = net->record.labels.v[i].value;

        if (strlen(key) == n && memcmp(key, want, n) == 0 && (!eq || streq(value ? value : "", eq + 1)))
            return true;
    }
    return false;
}

bool network_prune_match(const struct filters *f, const struct network *net, int64_t until_ns) {
    const struct strv *with = filters_get(f, "label"), *without = filters_get(f, "label!");

    if (until_ns != CLOCK_ZERO && net->created > until_ns)
        return false;
    for (size_t i = 0; with && i < with->n; i++) {
        if (!has_label(net, with->v[i]))
            return false;
    }
    for (size_t i = 0; without && i < without->n; i++) {
        if (has_label(net, without->v[i]))
            return false;
    }
    return true;
}
