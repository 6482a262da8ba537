// SPDX-License-Identifier: Apache-2.0
/* The predefined networks, and bridges as devices. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "netplane/link.h"
#include "network/network-internal.h"

const char *const option_bridge_name = "com.docker.network.bridge.name";
const char *const option_icc = "com.docker.network.bridge.enable_icc";
const char *const option_masquerade = "com.docker.network.bridge.enable_ip_masquerade";
const char *const option_inhibit = "com.docker.network.bridge.inhibit_ipv4";
const char *const option_binding = "com.docker.network.bridge.host_binding_ipv4";
const char *const option_mtu = "com.docker.network.driver.mtu";
const char *const option_source = "com.docker.network.host_ipv4";
const char *const option_source6 = "com.docker.network.host_ipv6";
const char *const option_default = "com.docker.network.bridge.default_bridge";

static int set_str(char **slot, const char *s, struct err *e) {
    return str_set(slot, s) < 0 ? err_oom(e) : 0;
}

/* A record of a predefined network; an earlier one lends its id and its time of creation. */
static int new_record(const struct network *old, const char *name, const char *driver, struct api_network *r, struct err *e) {
    char id[ID_LEN + 1], created[CLOCK_TEXT_MAX];

    if (old) {
        snprintf(id, sizeof(id), "%s", old->record.id);
        snprintf(created, sizeof(created), "%s", old->record.created);
    } else {
        id_new(id);
        clock_format(clock_wall_ns(), created);
    }
    r->ipam = api_ipam_new();
    if (!r->ipam)
        return err_oom(e);
    if (set_str(&r->name, name, e) < 0 || set_str(&r->id, id, e) < 0 || set_str(&r->created, created, e) < 0 || set_str(&r->scope, "local", e) < 0 ||
        set_str(&r->driver, driver, e) < 0 || set_str(&r->ipam->driver, "default", e) < 0)
        return err_oom(e);
    r->options.set = r->labels.set = r->containers.set = true;
    return 0;
}

static int store(struct networks *n, struct api_network *record, struct network *old, bool keep, struct network **ret, struct err *e) {
    struct network *net = NULL;
    int r;

    if (keep) {
        api_network_done(record);
        *ret = old;
        return 0;
    }
    r = network_from_record(record, &net, e);
    if (r < 0)
        return r;
    if (old)
        networks_forget(n, old);
    r = networks_enter(n, net, e);
    if (r == 0)
        r = network_store_add(n, net, e);
    if (r == 0)
        *ret = net;
    network_unref(net);
    return r;
}

static int simple_network(struct networks *n, const char *name, const char *driver, struct network **ret, struct err *e) {
    struct network *old = map_get(&n->by_name, name);
    struct api_network record = {0};
    int r = new_record(old, name, driver, &record, e);

    if (r < 0) {
        api_network_done(&record);
        return r;
    }
    return store(n, &record, old, old != NULL, ret, e);
}

/* ---- the default bridge ------------------------------------------------------------------------------------------------------------ */

/* Address of the bridge: --bip, else what an existing device has, else the last one we gave, else the first free pool. */
static int choose_addr(struct networks *n, const char *ifname, const struct network *old, struct cidr4 *ret, struct err *e) {
    const struct engine_config *c = n->engine->config;
    struct cidr4 have = {0};
    int r;

    if (!str_empty(c->bip)) {
        if (cidr4_parse(c->bip, ret) < 0)
            return err_set(e, ERR_INVALID, "invalid CIDR address: %s", c->bip);
        return 0;
    }
    if (link_addr(ifname, &have, NULL) == 0 && have.addr) {
        *ret = have;
        return 0;
    }
    if (!str_empty(c->bridge))
        return err_set(e, ERR_INVALID, "error creating default \"bridge\" network: bridge device with non default name %s must be created manually",
                       ifname);
    /* A range alone is the whole network. */
    if (!str_empty(c->fixed_cidr)) {
        if (cidr4_parse(c->fixed_cidr, ret) < 0)
            return err_set(e, ERR_INVALID, "invalid CIDR address: %s", c->fixed_cidr);
        ret->addr = cidr4_net(ret) + 1;
        return 0;
    }
    r = networks_pick_subnet(n, ifname, false, ret, e);
    if (r < 0)
        return r;
    /* Keep the network of the time before, when it is still free. */
    if (old && old->ipam && cidr4_net(&old->addr) != cidr4_net(ret)) {
        struct cidr4 *taken = NULL;
        size_t k = 0;
        bool clash = link_used_subnets(ifname, true, &taken, &k, NULL) < 0;

        for (size_t i = 0; i < k; i++)
            clash = clash || cidr4_overlap(&taken[i], &old->addr);
        free(taken);
        if (!clash)
            *ret = old->addr;
    }
    if (ret->addr == cidr4_net(ret))
        ret->addr++;
    return 0;
}

static int set_option(struct api_network *r, const char *key, const char *value, struct err *e) {
    return api_string_map_set(&r->options, key, value, e);
}

static int bridge_ipam(const struct engine_config *c, const struct cidr4 *addr, struct api_network *record, struct err *e) {
    struct api_ipam_config *ic = api_ipam_config_list_add(&record->ipam->config);
    char text[CIDR4_TEXT_MAX];
    int r;

    if (!ic)
        return err_oom(e);
    cidr4_format_net(addr, text);
    r = set_str(&ic->subnet, text, e);
    ipv4_format(addr->addr, text);
    if (r == 0)
        r = set_str(&ic->gateway, text, e);
    if (r == 0 && !str_empty(c->fixed_cidr)) {
        struct cidr4 fixed;

        if (cidr4_parse(c->fixed_cidr, &fixed) < 0)
            return err_set(e, ERR_INVALID, "failed to parse CIDR %s", c->fixed_cidr);
        if (fixed.prefix >= addr->prefix && cidr4_contains(addr, fixed.addr))
            r = set_str(&ic->ip_range, c->fixed_cidr, e);
        else
            log_kv(LOG_LVL_WARN, "--fixed-cidr lies outside of the default bridge's network and is left out", "fixed-cidr", c->fixed_cidr, "network",
                   text, NULL);
    }
    if (r == 0 && !str_empty(c->default_gateway))
        r = api_string_map_set(&ic->auxiliary_addresses, "DefaultGatewayIPv4", c->default_gateway, e);
    return r;
}

/* It comes first, as in the reference, and has no gateway of its own: the bridge takes the first address. */
static int bridge_ipam6(const struct engine_config *c, struct api_network *record, struct err *e) {
    struct api_ipam_config *ic;
    struct cidr6 fixed;
    char text[CIDR6_TEXT_MAX];
    int r;

    record->enable_ipv6 = c->ipv6;
    if (str_empty(c->fixed_cidr_v6))
        return c->ipv6 ? err_set(e, ERR_INVALID,
                                 "IPv6 is enabled for the default bridge, but no subnet is configured. Specify an IPv6 subnet using --fixed-cidr-v6")
                       : 0;
    if (cidr6_parse(c->fixed_cidr_v6, &fixed) < 0)
        return err_set(e, ERR_INVALID, "invalid CIDR address: %s", c->fixed_cidr_v6);
    ic = api_ipam_config_list_add(&record->ipam->config);
    if (!ic)
        return err_oom(e);
    cidr6_format_net(&fixed, text);
    r = set_str(&ic->subnet, text, e);
    if (r == 0 && !str_empty(c->default_gateway_v6))
        r = api_string_map_set(&ic->auxiliary_addresses, "DefaultGatewayIPv6", c->default_gateway_v6, e);
    return r;
}

static int bridge_network(struct networks *n, struct network **ret, struct err *e) {
    const struct engine_config *c = n->engine->config;
    const char *ifname = str_empty(c->bridge) ? "docker0" : c->bridge;
    struct network *old = map_get(&n->by_name, "bridge");
    struct api_network record = {0};
    struct cidr4 addr = {0};
    char mtu[24];
    int r = choose_addr(n, ifname, old, &addr, e);

    if (r < 0)
        return err_wrap(e, "Error initializing network controller");
    snprintf(mtu, sizeof(mtu), "%lld", (long long)(c->mtu > 0 ? c->mtu : 1500));
    r = new_record(old, "bridge", "bridge", &record, e);
    if (r == 0) {
        r = bridge_ipam6(c, &record, e);
        if (r < 0)
            err_wrap(e, "Error initializing network controller");
    }
    if (r == 0)
        r = bridge_ipam(c, &addr, &record, e);
    if (r == 0)
        r = set_option(&record, option_default, "true", e);
    if (r == 0)
        r = set_option(&record, option_icc, c->icc ? "true" : "false", e);
    if (r == 0)
        r = set_option(&record, option_masquerade, c->ip_masq ? "true" : "false", e);
    if (r == 0)
        r = set_option(&record, option_binding, str_empty(c->ip) ? "0.0.0.0" : c->ip, e);
    if (r == 0)
        r = set_option(&record, option_bridge_name, ifname, e);
    if (r == 0)
        r = set_option(&record, option_mtu, mtu, e);
    if (r < 0) {
        api_network_done(&record);
        return r;
    }
    r = store(n, &record, old, false, ret, e);
    if (r == 0)
        r = network_make_bridge(n, *ret, e);
    return r < 0 ? err_wrap(e, "Error initializing network controller: error creating default \"bridge\" network") : 0;
}

/* The bridge itself gets no IPv4 address: containers talk among themselves, or by a gateway of somebody else. */
static bool inhibit(const struct network *net) {
    const char *s = network_option(net, option_inhibit);
    bool v = false;

    return s && parse_bool(s, &v) == 0 && v;
}

int network_make_bridge(struct networks *n, struct network *net, struct err *e) {
    bool own = !net->default_bridge || str_empty(n->engine->config->bridge);
    struct link_bridge b = {.ifname = net->bridge, .addr = net->addr, .addr6 = net->v6 ? &net->addr6 : NULL, .mtu = net->mtu};
    bool changed = false;
    int r;

    if (inhibit(net))
        b.addr.addr = 0;
    r = link_bridge_ensure(&b, !own, &net->ifindex, e);
    if (r == 0 && net->v6 && n->engine->config->ip_forward)
        r = link_forwarding6_on(&changed, e);
    if (changed)
        firewall_drop_forward6(n->firewall);
    return r;
}

/* ---- rules ------------------------------------------------------------------------------------------------------------------------- */

static void rules_of(const struct network *net, struct firewall_bridge *ret) {
    const char *source = network_option(net, option_source), *source6 = network_option(net, option_source6);

    *ret = (struct firewall_bridge){.subnet = net->addr,
                                    .v6 = net->v6,
                                    .subnet6 = net->addr6,
                                    .masquerade = net->masquerade,
                                    .icc = net->icc,
                                    .internal = net->record.internal,
                                    .guard = net->guard};
    memcpy(ret->ifname, net->bridge, sizeof(ret->ifname));
    if (source && ipv4_parse(source, &ret->source) < 0)
        ret->source = 0;
    if (source6 && inet_pton(AF_INET6, source6, &ret->source6) != 1)
        ret->source6 = in6addr_any;
}

/* Only once packets that pretend to come from loopback are dropped is it safe. */
static void route_loopback(struct networks *n, const char *ifname) {
    if (n->engine->config->iptables && link_route_localnet(ifname, true, NULL) < 0)
        log_kv(LOG_LVL_WARN, "published ports will not answer on 127.0.0.1 without the proxy", "bridge", ifname, NULL);
}

/* Every bridge there is, as the rules see it. */
static int all_bridges(struct networks *n, struct firewall_bridge **ret, size_t *ret_n, struct err *e) {
    struct network **all = NULL;
    struct firewall_bridge *v;
    size_t k = 0, used = 0;
    int r = networks_all(n, &all, &k, e);

    if (r < 0)
        return r;
    v = calloc(k + 1, sizeof(*v));
    for (size_t i = 0; i < k; i++) {
        if (v && all[i]->kind == NETWORK_BRIDGE && !all[i]->removing && all[i]->ifindex)
            rules_of(all[i], &v[used++]);
        network_unref(all[i]);
    }
    free(all);
    if (!v)
        return err_oom(e);
    *ret = v;
    *ret_n = used;
    return 0;
}

int networks_apply_rules(struct networks *n, struct err *e) {
    _cleanup_free_ struct firewall_bridge *v = NULL;
    size_t k = 0;
    int r = all_bridges(n, &v, &k, e);

    if (r == 0)
        r = firewall_apply(n->firewall, v, k, e);
    for (size_t i = 0; r == 0 && i < k; i++)
        route_loopback(n, v[i].ifname);
    return r;
}

/* The engine starts, and its containers run, whatever firewalld says. */
static void trust_bridges(struct networks *n) {
    _cleanup_err_ struct err why = ERR_INIT;
    _cleanup_free_ struct firewall_bridge *v = NULL;
    _cleanup_free_ const char **names = NULL;
    size_t k = 0;
    int r = all_bridges(n, &v, &k, &why);

    if (r == 0) {
        names = calloc(k + 1, sizeof(*names));
        for (size_t i = 0; names && i < k; i++)
            names[i] = v[i].ifname;
        r = names ? firewalld_trust(n->firewalld, names, k, &why) : err_oom(&why);
    }
    if (r < 0)
        log_kv(LOG_LVL_ERROR, "firewalld may keep containers from the network", "error", err_msg(&why), NULL);
}

int networks_add_rules(struct networks *n, const struct network *net, struct err *e) {
    const char *name = net->bridge;
    struct firewall_bridge b;

    rules_of(net, &b);
    if (firewall_add_bridge(n->firewall, &b, NULL) == 0)
        route_loopback(n, b.ifname);
    else if (networks_apply_rules(n, e) < 0)
        return -1;
    return firewalld_trust(n->firewalld, &name, 1, e);
}

int networks_drop_rules(struct networks *n, const struct network *net, struct err *e) {
    firewalld_forget(n->firewalld, net->bridge);
    return firewall_drop_bridge(n->firewall, net->bridge, NULL) < 0 ? networks_apply_rules(n, e) : 0;
}

DEFINE_CLEANUP(struct network *, network_unref)

int networks_let_through(struct networks *n, const char *key, const char *from, const char *to, const struct strv *ports, struct err *e) {
    _cleanup_(network_unrefp) struct network *net = NULL;
    _cleanup_strv_ struct strv lines = STRV_INIT;
    int r = 0;

    if (networks_find(n, "bridge", &net, NULL) < 0 || !net->default_bridge || net->icc || str_empty(from) || str_empty(to) || !ports->n)
        return 0;
    for (size_t i = 0; i < ports->n; i++) {
        const char *slash = strchr(ports->v[i], '/'), *proto = slash ? slash + 1 : "tcp";
        int number = (int)strcspn(ports->v[i], "/");

        if (strv_addf(&lines, "-A DOCKER -s %s/32 -d %s/32 -i %s -o %s -p %s -m %s --dport %.*s -j ACCEPT", from, to, net->bridge, net->bridge, proto,
                      proto, number, ports->v[i]) < 0 ||
            strv_addf(&lines, "-A DOCKER -s %s/32 -d %s/32 -i %s -o %s -p %s -m %s --sport %.*s -j ACCEPT", to, from, net->bridge, net->bridge, proto,
                      proto, number, ports->v[i]) < 0)
            return err_oom(e);
    }
    pthread_mutex_lock(&n->change);
    r = firewall_let_through(n->firewall, key, &lines, e);
    if (r == 0)
        r = networks_apply_rules(n, e);
    pthread_mutex_unlock(&n->change);
    return r;
}

void networks_stop_through(struct networks *n, const char *part) {
    _cleanup_err_ struct err why = ERR_INIT;

    pthread_mutex_lock(&n->change);
    if (firewall_stop_through(n->firewall, part) && networks_apply_rules(n, &why) < 0)
        log_kv(LOG_LVL_ERROR, "firewall rules cannot be written anew", "error", err_msg(&why), NULL);
    pthread_mutex_unlock(&n->change);
}

void networks_repair(struct networks *n) {
    _cleanup_err_ struct err why = ERR_INIT;

    if (firewall_intact(n->firewall))
        return;
    pthread_mutex_lock(&n->change);
    if (networks_apply_rules(n, &why) < 0)
        log_kv(LOG_LVL_ERROR, "firewall rules cannot be written anew", "error", err_msg(&why), NULL);
    pthread_mutex_unlock(&n->change);
}

void firewalld_fresh(void *arg) {
    struct networks *n = arg;

    pthread_mutex_lock(&n->change);
    trust_bridges(n);
    pthread_mutex_unlock(&n->change);
    networks_repair(n);
}

void rules_damaged(void *arg) {
    log_kv(LOG_LVL_WARN, "firewall rules were taken away by somebody else and are written anew", NULL);
    networks_repair(arg);
}

/* Bridges of networks from earlier runs: made again after a reboot. */
static void restore_bridges(struct networks *n) {
    for (struct map_entry *i = NULL; (i = map_next(&n->by_id, i));) {
        struct network *net = i->value;
        _cleanup_err_ struct err why = ERR_INIT;

        int r = 0;

        if (net->kind == NETWORK_BRIDGE && !net->default_bridge)
            r = network_make_bridge(n, net, &why);
        else if (net->kind == NETWORK_MACVLAN || net->kind == NETWORK_IPVLAN)
            r = network_make_parent(n, net, &why);
        if (r < 0)
            log_kv(LOG_LVL_ERROR, "network cannot be made again", "network", net->record.name, "error", err_msg(&why), NULL);
    }
}

int networks_setup(struct networks *n, struct err *e) {
    struct network *none = NULL, *host = NULL, *bridge = NULL;
    const struct engine_config *c = n->engine->config;
    int r;

    if (!str_empty(c->bridge) && !str_empty(c->bip))
        return err_set(e, ERR_INVALID, "You specified -b & --bip, mutually exclusive options. Please specify only one");
    r = simple_network(n, "none", "null", &none, e);

    if (r == 0)
        r = simple_network(n, "host", "host", &host, e);
    if (r < 0)
        return r;
    if (streq_ptr(c->bridge, "none")) {
        struct network *old = map_get(&n->by_name, "bridge");

        if (old && old->default_bridge) {
            ignore_result(network_store_remove(n, old->record.id, NULL) < 0);
            networks_forget(n, old);
        }
        /* As the reference does: no default network means no device of its name either. */
        r = link_delete("docker0", e);
        if (r < 0)
            return r;
        n->default_net = none;
    } else {
        r = bridge_network(n, &bridge, e);
        if (r < 0)
            return r;
        n->default_net = bridge;
    }
    restore_bridges(n);
    if (!str_empty(c->host_gateway_ip))
        snprintf(n->host_gateway, sizeof(n->host_gateway), "%s", c->host_gateway_ip);
    else if (bridge)
        ipv4_format(bridge->addr.addr, n->host_gateway);
    r = networks_apply_rules(n, e);
    if (r == 0)
        trust_bridges(n);
    return r;
}
