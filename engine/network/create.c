// SPDX-License-Identifier: Apache-2.0
/* User-defined bridges: made and removed. */
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

/* ---- what was asked ---------------------------------------------------------------------------------------------------------------- */

static void complain(struct strv *all, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void complain(struct strv *all, const char *fmt, ...) {
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_SMALL_FILE);
    va_list ap;

    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    ignore_result(strv_add(all, buf_str(&text)) < 0);
}

/* `shown`: what is wrong in the reference's words: the address of a gateway, the name of an auxiliary address. */
static void check_inside(struct strv *all, const char *what, const char *shown, const char *addr, const struct cidr4 *subnet,
                         const char *subnet_text) {
    uint32_t a = 0;

    if (str_empty(addr))
        return;
    if (ipv4_parse(addr, &a) < 0)
        complain(all, "invalid %s %s: invalid address", what, shown);
    else if (!cidr4_contains(subnet, a))
        complain(all, "invalid %s %s: parent subnet %s doesn't contain this address", what, shown, subnet_text);
}

static void check_config(struct strv *all, const struct api_ipam_config *c) {
    struct cidr4 subnet = {0}, range = {0};
    char text[CIDR4_TEXT_MAX];

    if (cidr4_parse(c->subnet ? c->subnet : "", &subnet) < 0) {
        complain(all, "invalid subnet %s: invalid CIDR block notation", c->subnet ? c->subnet : "");
        return;
    }
    cidr4_format_net(&subnet, text);
    if (subnet.addr != cidr4_net(&subnet))
        complain(all, "invalid subnet %s: it should be %s", c->subnet, text);
    if (!str_empty(c->ip_range)) {
        if (cidr4_parse(c->ip_range, &range) < 0) {
            complain(all, "invalid ip-range %s: invalid CIDR block notation", c->ip_range);
        } else if (range.prefix < subnet.prefix) {
            complain(all, "invalid ip-range %s: CIDR block is bigger than its parent subnet %s", c->ip_range, c->subnet);
        } else if (!cidr4_contains(&subnet, range.addr)) {
            complain(all, "invalid ip-range %s: parent subnet %s doesn't contain ip-range", c->ip_range, c->subnet);
        } else if (range.addr != cidr4_net(&range)) {
            char net[CIDR4_TEXT_MAX];

            cidr4_format_net(&range, net);
            complain(all, "invalid ip-range %s: it should be %s", c->ip_range, net);
        }
    }
    check_inside(all, "gateway", c->gateway, c->gateway, &subnet, c->subnet);
    for (size_t i = 0; i < c->auxiliary_addresses.n; i++)
        check_inside(all, "auxiliary address", c->auxiliary_addresses.v[i].key, c->auxiliary_addresses.v[i].value, &subnet, c->subnet);
}

static int check_ipam(const struct api_ipam *ipam, struct err *e) {
    _cleanup_strv_ struct strv all = STRV_INIT;

    if (!ipam)
        return 0;
    if (!str_empty(ipam->driver) && !streq(ipam->driver, "default"))
        return err_set(e, ERR_NOT_FOUND, "plugin \"%s\" not found", ipam->driver);
    for (size_t i = 0; i < ipam->config.n; i++)
        check_config(&all, &ipam->config.v[i]);
    if (all.n) {
        /* One error stands alone, several become a list. */
        char *text = strv_join(&all, "\n* ");
        int r = text ? err_set(e, ERR_INVALID, "invalid network config:\n%s%s", all.n > 1 ? "* " : "", text) : err_oom(e);

        free(text);
        return r;
    }
    if (ipam->config.n > 1)
        return err_set(e, ERR_FORBIDDEN, "bridge driver doesn't support multiple subnets");
    return 0;
}

static int check_options(const struct api_string_map *opts, struct err *e) {
    const char *name = api_string_map_get(opts, option_bridge_name), *mtu = api_string_map_get(opts, option_mtu),
               *binding = api_string_map_get(opts, option_binding);
    const char *const bools[] = {option_icc, option_masquerade};
    uint32_t a = 0;
    int64_t v = 0;
    bool b;

    for (size_t i = 0; i < ELEMENTSOF(bools); i++) {
        const char *s = api_string_map_get(opts, bools[i]);

        if (s && parse_bool(s, &b) < 0)
            return err_set(e, ERR_INVALID, "failed to parse %s value: %s (strconv.ParseBool: parsing \"%s\": invalid syntax)", bools[i], s, s);
    }
    if (mtu && parse_i64(mtu, &v) < 0)
        return err_set(e, ERR_INVALID, "failed to parse %s value: %s (strconv.Atoi: parsing \"%s\": invalid syntax)", option_mtu, mtu, mtu);
    if (mtu && (v < 0 || v > 65535))
        return err_set(e, ERR_INVALID, "invalid MTU number: %lld", (long long)v);
    if (binding && ipv4_parse(binding, &a) < 0)
        return err_set(e, ERR_INVALID, "failed to parse %s value: %s (nil ip)", option_binding, binding);
    /* The kernel's own words, as the reference passes them on. */
    if (name && (strlen(name) > 15 || !*name))
        return err_set(e, ERR_INTERNAL, "numerical result out of range");
    if (name && (strpbrk(name, "/ \t\n:") || streq(name, ".") || streq(name, "..")))
        return err_set(e, ERR_INTERNAL, "invalid argument");
    return 0;
}

static int check_request(const struct api_network_create_request *req, struct err *e) {
    const char *driver = str_empty(req->driver) ? "bridge" : req->driver;
    const char *name = req->name ? req->name : "";
    int r;

    if (network_is_predefined(name))
        return err_set(e, ERR_FORBIDDEN, "operation is not permitted on predefined %s network ", name);
    if (streq(driver, "host") || streq(driver, "null"))
        return err_set(e, ERR_FORBIDDEN, "only one instance of \"%s\" network is allowed", driver);
    if (streq(driver, "macvlan") || streq(driver, "ipvlan") || streq(driver, "overlay"))
        return err_set(e, ERR_NOT_IMPLEMENTED, "networks of driver \"%s\" are not available in this version of the engine", driver);
    if (!streq(driver, "bridge"))
        return err_set(e, ERR_NOT_FOUND, "plugin \"%s\" not found", driver);
    if (req->config_only || (req->config_from && !str_empty(req->config_from->network)))
        return err_set(e, ERR_NOT_IMPLEMENTED, "configuration networks are not available in this version of the engine");
    if (req->enable_ipv6)
        return err_set(e, ERR_NOT_IMPLEMENTED, "IPv6 networks are not available in this version of the engine");
    if (!name[strspn(name, " \t\r\n")])
        return err_set(e, ERR_INVALID, "invalid name: %s", name);
    r = check_ipam(req->ipam, e);
    return r < 0 ? r : check_options(&req->options, e);
}

/* ---- record ------------------------------------------------------------------------------------------------------------------------ */

static int copy_map(struct api_string_map *to, const struct api_string_map *from, struct err *e) {
    int r = 0;

    to->set = true;
    for (size_t i = 0; r == 0 && i < from->n; i++)
        r = api_string_map_set(to, from->v[i].key, from->v[i].value ? from->v[i].value : "", e);
    return r;
}

static int copy_ipam(const struct api_ipam *from, struct api_ipam *to, struct err *e) {
    int r = 0;

    if (str_set(&to->driver, "default") < 0)
        return err_oom(e);
    if (!from)
        return 0;
    if (from->options.set)
        r = copy_map(&to->options, &from->options, e);
    for (size_t i = 0; r == 0 && i < from->config.n; i++) {
        const struct api_ipam_config *c = &from->config.v[i];
        struct api_ipam_config *t = api_ipam_config_list_add(&to->config);

        if (!t || str_set(&t->subnet, c->subnet) < 0 || str_set(&t->ip_range, c->ip_range) < 0 || str_set(&t->gateway, c->gateway) < 0)
            return err_oom(e);
        if (c->auxiliary_addresses.n)
            r = copy_map(&t->auxiliary_addresses, &c->auxiliary_addresses, e);
    }
    return r;
}

static int auto_subnet(struct networks *n, struct api_ipam *ipam, struct err *e) {
    struct api_ipam_config *c;
    struct cidr4 net = {0};
    char subnet[CIDR4_TEXT_MAX], gateway[IPV4_TEXT_MAX];
    int r = networks_pick_subnet(n, NULL, &net, e);

    if (r < 0)
        return err_set(e, ERR_CONFLICT, "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network");
    cidr4_format_net(&net, subnet);
    ipv4_format(cidr4_net(&net) + 1, gateway);
    c = api_ipam_config_list_add(&ipam->config);
    return c && str_set(&c->subnet, subnet) == 0 && str_set(&c->gateway, gateway) == 0 ? 0 : err_oom(e);
}

static int check_overlap(struct networks *n, const struct api_ipam *ipam, struct err *e) {
    struct cidr4 subnet = {0};
    bool overlap = false;

    if (cidr4_parse(ipam->config.v[0].subnet, &subnet) < 0)
        return err_set(e, ERR_INVALID, "invalid subnet %s", ipam->config.v[0].subnet);
    pthread_mutex_lock(&n->lock);
    for (struct map_entry *i = NULL; (i = map_next(&n->by_id, i));) {
        const struct network *net = i->value;

        overlap = overlap || (net->ipam && cidr4_overlap(&net->addr, &subnet));
    }
    pthread_mutex_unlock(&n->lock);
    return overlap ? err_set(e, ERR_FORBIDDEN, "Pool overlaps with other one on this address space") : 0;
}

static int make_record(struct networks *n, const struct api_network_create_request *req, struct api_network *r, struct err *e) {
    char id[ID_LEN + 1], created[CLOCK_TEXT_MAX];
    int ret;

    id_new(id);
    clock_format(clock_wall_ns(), created);
    r->ipam = api_ipam_new();
    if (!r->ipam || str_set(&r->name, req->name) < 0 || str_set(&r->id, id) < 0 || str_set(&r->created, created) < 0 ||
        str_set(&r->scope, "local") < 0 || str_set(&r->driver, "bridge") < 0)
        return err_oom(e);
    r->internal = req->internal;
    r->attachable = req->attachable;
    r->containers.set = true;
    ret = copy_map(&r->options, &req->options, e);
    if (ret == 0)
        ret = copy_map(&r->labels, &req->labels, e);
    if (ret == 0)
        ret = copy_ipam(req->ipam, r->ipam, e);
    if (ret == 0)
        ret = r->ipam->config.n ? check_overlap(n, r->ipam, e) : auto_subnet(n, r->ipam, e);
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

static void unmake(struct networks *n, struct network *net) {
    _cleanup_err_ struct err why = ERR_INIT;

    if (networks_apply_rules(n, &why) < 0 || link_delete(net->bridge, &why) < 0)
        log_kv(LOG_LVL_ERROR, "network is not removed wholly", "network", net->record.name, "error", err_msg(&why), NULL);
}

static int make(struct networks *n, struct network *net, struct err *e) {
    int64_t intent = 0;
    int r = networks_enter(n, net, e);

    if (r < 0)
        return r;
    r = intent_begin(n->engine->db, "network.bridge", net->record.id, net->bridge, &intent, e);
    if (r == 0)
        r = network_make_bridge(n, net, e);
    if (r == 0)
        r = networks_apply_rules(n, e);
    if (r == 0)
        r = store_with_intent(n, net, intent, e);
    if (r < 0) {
        networks_forget(n, net);
        unmake(n, net);
        ignore_result(intent_done(n->engine->db, intent, NULL) < 0);
    }
    return r;
}

int networks_create(struct networks *n, const struct api_network_create_request *req, struct network **ret, char **ret_warning, struct err *e) {
    struct api_network record = {0};
    struct network *net = NULL;
    int r = check_request(req, e);

    if (r == 0 && req->scope && streq(req->scope, "swarm"))
        r = err_set(e, ERR_FORBIDDEN, "cannot create a swarm scoped network when swarm is not active");
    if (r < 0)
        return r;
    pthread_mutex_lock(&n->change);
    pthread_mutex_lock(&n->lock);
    if (map_has(&n->by_name, req->name))
        r = err_set(e, ERR_CONFLICT, "network with name %s already exists", req->name);
    pthread_mutex_unlock(&n->lock);
    if (r == 0) {
        r = make_record(n, req, &record, e);
        if (r < 0)
            api_network_done(&record);
        else
            r = network_from_record(&record, &net, e);
    }
    if (r == 0)
        r = make(n, net, e);
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
    if (net->endpoints)
        r = err_set(e, ERR_FORBIDDEN, "error while removing network: network %s id %s has active endpoints", net->record.name, net->record.id);
    else
        net->removing = true;
    pthread_mutex_unlock(&n->lock);
    return r;
}

int networks_remove(struct networks *n, const char *ref, struct err *e) {
    struct network *net = NULL;
    int64_t intent = 0;
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
    if (r == 0)
        r = intent_begin(n->engine->db, "network.bridge", net->record.id, net->bridge, &intent, e);
    if (r == 0)
        r = network_store_remove(n, net->record.id, e);
    if (r == 0) {
        networks_forget(n, net);
        unmake(n, net);
        ignore_result(intent_done(n->engine->db, intent, NULL) < 0);
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

    if (!map_has(&n->by_id, it->key) && it->payload && link_delete(it->payload, e) < 0)
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

    if (until_ns && net->created > until_ns)
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

/* "10m", "1h30m", seconds since 1970, or a date. */
int network_parse_until(const char *s, int64_t *ret_ns, struct err *e) {
    static const struct {
        const char *unit;
        int64_t ns;
    } units[] = {{"ms", NSEC_PER_MSEC}, {"h", 3600 * NSEC_PER_SEC}, {"m", 60 * NSEC_PER_SEC}, {"s", NSEC_PER_SEC}};
    int64_t secs = 0, total = 0;
    const char *p = s;

    if (parse_i64(s, &secs) == 0) {
        *ret_ns = secs * NSEC_PER_SEC;
        return 0;
    }
    if (clock_parse(s, ret_ns, NULL) == 0)
        return 0;
    while (*p) {
        char *end = NULL;
        double v = strtod(p, &end);
        size_t i = 0;

        if (end == p)
            break;
        while (i < ELEMENTSOF(units) && !str_has_prefix(end, units[i].unit))
            i++;
        if (i == ELEMENTSOF(units))
            break;
        total += (int64_t)(v * (double)units[i].ns);
        p = end + strlen(units[i].unit);
    }
    if (*p || p == s)
        return err_set(e, ERR_INVALID, "failed to parse value as time or duration: \"%s\"", s);
    *ret_ns = clock_wall_ns() - total;
    return 0;
}
