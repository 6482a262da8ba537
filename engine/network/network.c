// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "netplane/link.h"
#include "network/network-internal.h"
#include "system/events.h"

/* ---- networks as objects ----------------------------------------------------------------------------------------------------------- */

struct network *network_ref(struct network *net) {
    __atomic_add_fetch(&net->refs, 1, __ATOMIC_RELAXED);
    return net;
}

struct network *network_unref(struct network *net) {
    if (!net || __atomic_sub_fetch(&net->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return NULL;
    api_network_done(&net->record);
    ipam_free(net->ipam);
    ipam6_free(net->ipam6);
    free(net->listed);
    free(net);
    return NULL;
}

const char *network_id(const struct network *net) {
    return net->record.id;
}
const char *network_name(const struct network *net) {
    return net->record.name;
}
enum network_kind network_kind(const struct network *net) {
    return net->kind;
}
bool network_is_default_bridge(const struct network *net) {
    return net->default_bridge;
}

const char *network_option(const struct network *net, const char *key) {
    for (size_t i = 0; i < net->record.options.n; i++) {
        if (streq(net->record.options.v[i].key, key))
            return net->record.options.v[i].value;
    }
    return NULL;
}

static bool option_bool(const struct network *net, const char *key, bool fallback) {
    const char *s = network_option(net, key);
    bool v = fallback;

    return s && parse_bool(s, &v) == 0 ? v : fallback;
}

/* Gateway and auxiliary addresses are taken for good. `text` NULL or "": the first free one is the gateway. */
static int take_gateway4(struct network *net, const struct cidr4 *subnet, const char *text, struct err *e) {
    int r = 0;

    if (!str_empty(text) && ipv4_parse(text, &net->gateway) < 0)
        return err_set(e, ERR_INVALID, "invalid gateway %s", text);
    if (!net->gateway)
        r = ipam_take(net->ipam, &net->gateway, e);
    else if (cidr4_contains(subnet, net->gateway))
        r = ipam_take_addr(net->ipam, net->gateway, e);
    if (r < 0) {
        err_wrap(e, "failed to allocate gateway (%s)", text ? text : "");
        e->kind = ERR_INTERNAL;
    }
    return r;
}

static int wrap_secondary(struct err *e, const char *key, const char *value) {
    int r = err_wrap(e, "failed to allocate secondary ip address (%s:%s)", key, value);

    e->kind = ERR_INTERNAL;
    return r;
}

static int read_ipam4(struct network *net, const struct api_ipam_config *c, const struct cidr4 *subnet, struct err *e) {
    struct cidr4 range = {0};
    uint32_t a = 0;
    int r;

    if (!str_empty(c->ip_range) && cidr4_parse(c->ip_range, &range) < 0)
        return err_set(e, ERR_INVALID, "invalid IP range %s", c->ip_range);
    r = ipam_new(subnet, str_empty(c->ip_range) ? NULL : &range, &net->ipam, e);
    if (r == 0)
        r = take_gateway4(net, subnet, c->gateway, e);
    if (r < 0)
        return r;
    net->addr = (struct cidr4){net->gateway, subnet->prefix};
    for (size_t i = 0; i < c->auxiliary_addresses.n; i++) {
        const char *key = c->auxiliary_addresses.v[i].key, *value = c->auxiliary_addresses.v[i].value;

        if (ipv4_parse(value, &a) < 0)
            return err_set(e, ERR_INVALID, "invalid auxiliary address %s", value);
        /* The default bridge's own address, when another gateway is configured. */
        if (streq(key, "DefaultGatewayIPv4")) {
            net->addr.addr = net->gateway;
            net->gateway = a;
            if (a == net->addr.addr)
                continue;
        }
        if (ipam_take_addr(net->ipam, a, e) < 0)
            return wrap_secondary(e, key, value);
    }
    return 0;
}

static int take_gateway6(struct network *net, const struct cidr6 *subnet, const char *text, struct err *e) {
    struct cidr6 with_prefix;
    int r = 0;

    if (str_empty(text))
        r = ipam6_take(net->ipam6, &net->gateway6, e);
    else if (cidr6_parse(text, &with_prefix) == 0)
        net->gateway6 = with_prefix.addr; /* one that came from the pools */
    else if (inet_pton(AF_INET6, text, &net->gateway6) != 1)
        return err_set(e, ERR_INVALID, "invalid gateway %s", text);
    if (!str_empty(text) && cidr6_contains(subnet, &net->gateway6))
        r = ipam6_take_addr(net->ipam6, &net->gateway6, e);
    if (r < 0) {
        err_wrap(e, "failed to allocate gateway (%s)", text ? text : "");
        e->kind = ERR_INTERNAL;
    }
    return r;
}

static int read_ipam6(struct network *net, const struct api_ipam_config *c, const struct cidr6 *subnet, struct err *e) {
    struct cidr6 range = {0};
    struct in6_addr a;
    int r;

    if (!str_empty(c->ip_range) && cidr6_parse(c->ip_range, &range) < 0)
        return err_set(e, ERR_INVALID, "invalid IP range %s", c->ip_range);
    r = ipam6_new(subnet, str_empty(c->ip_range) ? NULL : &range, &net->ipam6, e);
    if (r == 0)
        r = take_gateway6(net, subnet, c->gateway, e);
    net->addr6 = (struct cidr6){net->gateway6, subnet->prefix};
    for (size_t i = 0; r == 0 && i < c->auxiliary_addresses.n; i++) {
        const char *key = c->auxiliary_addresses.v[i].key, *value = c->auxiliary_addresses.v[i].value;

        if (inet_pton(AF_INET6, value, &a) != 1)
            return err_set(e, ERR_INVALID, "invalid auxiliary address %s", value);
        /* As with IPv4: the bridge keeps its own. */
        if (streq(key, "DefaultGatewayIPv6")) {
            net->gateway6 = a;
            if (memcmp(&a, &net->addr6.addr, sizeof(a)) == 0)
                continue;
        }
        if (ipam6_take_addr(net->ipam6, &a, e) < 0)
            return wrap_secondary(e, key, value);
    }
    if (r < 0)
        return r;
    net->v6 = true;
    return 0;
}

/* Address spaces from the first entry of IPAM.Config of each family. */
static int read_ipam(struct network *net, struct err *e) {
    struct cidr4 subnet = {0};
    struct cidr6 subnet6 = {0};
    int r = 0;

    for (size_t i = 0; r == 0 && net->record.ipam && i < net->record.ipam->config.n; i++) {
        const struct api_ipam_config *c = &net->record.ipam->config.v[i];

        if (!net->ipam && c->subnet && cidr4_parse(c->subnet, &subnet) == 0)
            r = read_ipam4(net, c, &subnet, e);
        else if (!net->ipam6 && net->record.enable_ipv6 && c->subnet && cidr6_parse(c->subnet, &subnet6) == 0)
            r = read_ipam6(net, c, &subnet6, e);
    }
    return r;
}

static enum network_kind kind_of(const struct api_network *r) {
    static const struct {
        const char *driver;
        enum network_kind kind;
    } kinds[] = {{"host", NETWORK_HOST}, {"null", NETWORK_NONE}, {"macvlan", NETWORK_MACVLAN}, {"ipvlan", NETWORK_IPVLAN}};

    for (size_t i = 0; !r->config_only && i < ELEMENTSOF(kinds); i++) {
        if (streq(r->driver, kinds[i].driver))
            return kinds[i].kind;
    }
    return r->config_only ? NETWORK_CONFIG : NETWORK_BRIDGE;
}

static void read_bridge(struct network *net) {
    const char *name = network_option(net, option_bridge_name), *binding = network_option(net, option_binding);

    net->default_bridge = option_bool(net, option_default, false);
    if (name)
        snprintf(net->bridge, sizeof(net->bridge), "%s", name);
    else
        snprintf(net->bridge, sizeof(net->bridge), "br-%.12s", net->record.id);
    net->icc = option_bool(net, option_icc, true);
    net->masquerade = option_bool(net, option_masquerade, true);
    net->guard = !net->record.internal;
    if (binding && !streq(binding, "0.0.0.0"))
        snprintf(net->binding, sizeof(net->binding), "%s", binding);
}

int network_from_record(struct api_network *record, struct network **ret, struct err *e) {
    struct network *net = calloc(1, sizeof(*net));
    const char *mtu;
    int64_t v = 0;
    int r = 0;

    if (!net) {
        api_network_done(record);
        return err_oom(e);
    }
    net->refs = 1;
    net->record = *record;
    memset(record, 0, sizeof(*record));
    if (clock_parse(net->record.created ? net->record.created : "", &net->created, NULL) < 0)
        net->created = 0;
    net->kind = kind_of(&net->record);
    net->global = streq_ptr(net->record.scope, "global");
    if (network_has_links(net)) {
        mtu = network_option(net, option_mtu);
        if (mtu && parse_int_range(mtu, 0, 65535, &v) == 0)
            net->mtu = (int)v;
        if (net->kind == NETWORK_BRIDGE)
            read_bridge(net);
        else
            r = network_read_vlan(net, e);
        if (r == 0)
            r = read_ipam(net, e);
    }
    if (r < 0) {
        network_unref(net);
        return r;
    }
    *ret = net;
    return 0;
}

/* ---- the maps ---------------------------------------------------------------------------------------------------------------------- */

int networks_enter(struct networks *n, struct network *net, struct err *e) {
    int r = 0;

    pthread_mutex_lock(&n->lock);
    if (map_has(&n->by_name, net->record.name)) {
        r = err_set(e, ERR_CONFLICT, "network with name %s already exists", net->record.name);
    } else if (map_set(&n->by_id, net->record.id, net, NULL) < 0) {
        r = err_oom(e);
    } else if (map_set(&n->by_name, net->record.name, net, NULL) < 0) {
        map_remove(&n->by_id, net->record.id);
        r = err_oom(e);
    } else {
        network_ref(net);
    }
    pthread_mutex_unlock(&n->lock);
    return r;
}

void networks_forget(struct networks *n, struct network *net) {
    pthread_mutex_lock(&n->lock);
    map_remove(&n->by_name, net->record.name);
    map_remove(&n->by_id, net->record.id);
    pthread_mutex_unlock(&n->lock);
    network_unref(net);
}

static struct network *find_locked(struct networks *n, const char *ref, bool *ret_ambiguous) {
    struct network *found = map_get(&n->by_id, ref);
    size_t len = strlen(ref), hits = 0;

    *ret_ambiguous = false;
    if (!found)
        found = map_get(&n->by_name, ref);
    if (found || !len)
        return found;
    for (struct map_entry *i = NULL; (i = map_next(&n->by_id, i));) {
        if (strncmp(i->key, ref, len) == 0) {
            found = i->value;
            hits++;
        }
    }
    *ret_ambiguous = hits > 1;
    return hits == 1 ? found : NULL;
}

int networks_find(struct networks *n, const char *ref, struct network **ret, struct err *e) {
    struct network *net;
    bool ambiguous = false;

    pthread_mutex_lock(&n->lock);
    net = streq(ref, "default") && !map_has(&n->by_name, ref) ? n->default_net : find_locked(n, ref, &ambiguous);
    if (net)
        network_ref(net);
    pthread_mutex_unlock(&n->lock);
    if (ambiguous)
        return err_set(e, ERR_INVALID, "network %s is ambiguous (2 matches found based on ID prefix)", ref);
    if (!net)
        return err_set(e, ERR_NOT_FOUND, "network %s not found", ref);
    *ret = net;
    return 0;
}

static int older_first(const void *a, const void *b) {
    const struct network *x = *(struct network *const *)a, *y = *(struct network *const *)b;

    return x->created < y->created ? -1 : x->created > y->created;
}

int networks_all(struct networks *n, struct network ***ret, size_t *ret_n, struct err *e) {
    struct network **v;
    size_t k = 0;

    pthread_mutex_lock(&n->lock);
    v = calloc(n->by_id.n + 1, sizeof(struct network *));
    for (struct map_entry *i = NULL; v && (i = map_next(&n->by_id, i));)
        v[k++] = network_ref(i->value);
    pthread_mutex_unlock(&n->lock);
    if (!v)
        return err_oom(e);
    qsort(v, k, sizeof(struct network *), older_first);
    *ret = v;
    *ret_n = k;
    return 0;
}

void networks_event(struct networks *n, const struct network *net, const char *action, const char *container_id) {
    _cleanup_strv_ struct strv attrs = STRV_INIT;

    if (!n->engine->events)
        return;
    if ((container_id && strv_addf(&attrs, "container=%s", container_id) < 0) || strv_addf(&attrs, "name=%s", net->record.name) < 0 ||
        strv_addf(&attrs, "type=%s", net->record.driver) < 0)
        return;
    events_publish(n->engine->events, "network", action, net->record.id, &attrs);
}

/* ---- the manager ------------------------------------------------------------------------------------------------------------------- */

static int open_planes(struct networks *n, bool forwarding_changed, struct err *e) {
    const struct engine_config *c = n->engine->config;
    struct firewall_config fc = {.enabled = c->iptables, .enabled6 = c->ip6tables, .drop_forward = forwarding_changed, .proxied = c->userland_proxy};
    struct ports_config pc = {.default_ip = NULL, .proxied = c->userland_proxy, .settle = proxy_settle};
    char *program = str_printf("%s/hatake-netd", n->engine->libexec_dir ? n->engine->libexec_dir : "/usr/libexec/hatake");
    char *dir = str_printf("%s/hatake", c->exec_root), *socket = str_printf("%s/hatake/netd.sock", c->exec_root);
    _cleanup_err_ struct err why = ERR_INIT;
    int r = program && dir && socket ? 0 : err_oom(e);

    if (r == 0)
        r = fs_mkdir_p(dir, 0700, e);
    if (r == 0)
        r = firewall_new(&fc, &n->firewall, e);
    /* Nobody hears of rules that are not to be written. Without firewalld there is nothing to ask; that it cannot be asked ends no start. */
    if (r == 0 && c->iptables && firewalld_new(&n->firewalld, &why) < 0)
        log_kv(LOG_LVL_WARN, "whether firewalld runs is unknown", "error", err_msg(&why), NULL);
    if (r == 0)
        r = proxy_new(program, socket, !c->userland_proxy, &n->proxy, e);
    pc.arg = n->proxy;
    if (r == 0)
        r = ports_new(&pc, &n->ports, e);
    free(program);
    free(dir);
    free(socket);
    return r;
}

int networks_new(struct engine *engine, struct networks **ret, struct err *e) {
    struct networks *n = calloc(1, sizeof(*n));
    _cleanup_err_ struct err why = ERR_INIT;
    bool changed = false;
    int r = 0;

    if (!n)
        return err_oom(e);
    n->engine = engine;
    pthread_mutex_init(&n->lock, NULL);
    pthread_mutex_init(&n->change, NULL);
    if (engine->config->ip6tables && !engine->config->experimental)
        r = err_set(e, ERR_INVALID, "ip6tables rules are only available if experimental features are enabled");
    else if (engine->config->ip6tables && !engine->config->iptables)
        r = err_set(e, ERR_INVALID,
                    "Error initializing network controller: error obtaining controller instance: failed to register \"bridge\" driver: cannot create "
                    "new chains, EnableIPTable is disabled");
    /* Without a default bridge, too: networks that users make need it. */
    if (r == 0 && engine->config->ip_forward)
        r = link_forwarding_on(&changed, e);
    if (r == 0)
        r = open_planes(n, changed, e);
    if (r == 0)
        r = network_store_setup(n, e);
    if (r == 0)
        r = network_store_load(n, e);
    if (r == 0)
        r = networks_setup(n, e);
    if (r == 0)
        r = networks_finish_intents(n, e);
    if (r == 0)
        r = proxy_watch(n->proxy, e);
    if (r == 0)
        r = firewall_watch(n->firewall, rules_damaged, n, e);
    if (r == 0)
        r = firewalld_watch(n->firewalld, firewalld_fresh, n, e);
    if (r == 0 && proxy_refresh(n->proxy, &why) < 0)
        log_kv(LOG_LVL_WARN, "what the proxy holds is unknown", "error", err_msg(&why), NULL);
    if (r < 0) {
        networks_free(n);
        return r;
    }
    *ret = n;
    return 0;
}

struct networks *networks_free(struct networks *n) {
    if (!n)
        return NULL;
    /* Their threads may be at work on what follows. */
    n->firewalld = firewalld_free(n->firewalld);
    n->firewall = firewall_free(n->firewall);
    map_done(&n->by_name);
    for (struct map_entry *i = NULL; (i = map_next(&n->by_id, i));) {
        struct network *net = i->value;

        /* Of containers that run on without us. */
        for (struct endpoint *ep = net->endpoints, *next; ep; ep = next) {
            next = ep->next;
            endpoint_free(ep);
        }
        network_unref(net);
    }
    map_done(&n->by_id);
    map_done(&n->adopted);
    ports_free(n->ports);
    proxy_free(n->proxy);
    pthread_mutex_destroy(&n->lock);
    pthread_mutex_destroy(&n->change);
    free(n);
    return NULL;
}

const char *networks_host_gateway(struct networks *n) {
    return n->host_gateway;
}
