// SPDX-License-Identifier: Apache-2.0
/* A container's place on a network: joining, leaving, surviving a restart. */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "monitor/launch.h"
#include "netplane/link.h"
#include "network/network-internal.h"

#define GROUP_DIGITS 32 /* of an endpoint's id, as hatake-netd knows it */

struct endpoint *endpoint_free(struct endpoint *ep) {
    if (!ep)
        return NULL;
    network_unref(ep->net);
    free(ep->container_name);
    free(ep->hostname);
    strv_done(&ep->aliases);
    strv_done(&ep->links);
    strv_done(&ep->link_local);
    if (ep->ports)
        ports_close_fds(ep->ports, ep->n_ports);
    free(ep->ports);
    free(ep);
    return NULL;
}

static void link_endpoint(struct networks *n, struct endpoint *ep) {
    pthread_mutex_lock(&n->lock);
    ep->next = ep->net->endpoints;
    ep->link = &ep->net->endpoints;
    if (ep->next)
        ep->next->link = &ep->next;
    ep->net->endpoints = ep;
    pthread_mutex_unlock(&n->lock);
}

static void set_names(struct endpoint *ep, unsigned index) {
    const char *prefix = network_option(ep->net, "com.docker.network.container_iface_prefix");

    snprintf(ep->ifname, sizeof(ep->ifname), "%.10s%u", str_empty(prefix) ? "eth" : prefix, index);
    /* Seven digits of the endpoint's own id, from the end that the reference does not show either. */
    snprintf(ep->host_ifname, sizeof(ep->host_ifname), "veth%s", ep->id + ID_LEN - 7);
}

static void set_addr_text(struct endpoint *ep) {
    ipv4_format(ep->ip, ep->ip_text);
    if (ep->has_ip6)
        ipv6_format(&ep->ip6, ep->ip6_text);
    /* Interfaces of an ipvlan have their parent's, and show none. */
    if (ep->net->kind != NETWORK_IPVLAN)
        mac_format(ep->mac, ep->mac_text);
}

static int endpoint_new(struct networks *n, struct network *net, const struct endpoint_request *req, struct endpoint **ret, struct err *e) {
    struct endpoint *ep = calloc(1, sizeof(*ep));

    if (!ep)
        return err_oom(e);
    ep->net = network_ref(net);
    ep->hairpin = !n->engine->config->userland_proxy;
    id_new(ep->id);
    snprintf(ep->container_id, sizeof(ep->container_id), "%s", req->container_id);
    ep->container_name = str_dup(req->container_name);
    ep->hostname = str_dup(req->hostname);
    if (!ep->container_name || (req->hostname && !ep->hostname) || (req->aliases && strv_copy(&ep->aliases, req->aliases) < 0) ||
        (req->links && strv_copy(&ep->links, req->links) < 0) || (req->link_local && strv_copy(&ep->link_local, req->link_local) < 0)) {
        endpoint_free(ep);
        return err_oom(e);
    }
    set_names(ep, req->index);
    *ret = ep;
    return 0;
}

/* On the default bridge the address follows from the MAC address, as long as its 48 bits fit. */
static struct in6_addr ip6_of_mac(const struct network *net, const uint8_t mac[6]) {
    struct in6_addr a = cidr6_net(&net->addr6);

    memcpy(a.s6_addr + 10, mac, 6);
    return a;
}

/* Of the pools ipam knows only that it has none left; ERR_CONFLICT says that, and nothing else does. */
static int name_exhausted(const struct network *net, int family, int r, struct err *e) {
    if (r != -ERR_CONFLICT)
        return r;
    err_done(e);
    return err_set(e, ERR_INTERNAL, "no available IPv%d addresses on this network's address pools: %s (%s)", family, net->record.name,
                   net->record.id);
}

/* The lock is held. */
static int take_both(struct endpoint *ep, uint32_t want, const struct in6_addr *want6, bool has_mac, struct err *e) {
    struct network *net = ep->net;
    struct in6_addr of_mac;
    int r;

    if (net->removing)
        return err_set(e, ERR_NOT_FOUND, "network %s not found", net->record.name);
    if (!net->ipam)
        return err_set(e, ERR_INTERNAL, "network %s has no addresses", net->record.name);
    ep->ip = want;
    r = want ? ipam_take_addr(net->ipam, want, e) : ipam_take(net->ipam, &ep->ip, e);
    if (r < 0) {
        ep->ip = 0;
        return name_exhausted(net, 4, r, e);
    }
    if (!has_mac)
        mac_from_ipv4(ep->ip, ep->mac);
    if (!net->ipam6)
        return 0;
    if (!want6 && net->default_bridge && net->addr6.prefix <= 80) {
        of_mac = ip6_of_mac(net, ep->mac);
        want6 = &of_mac;
    }
    if (want6)
        ep->ip6 = *want6;
    r = want6 ? ipam6_take_addr(net->ipam6, want6, e) : ipam6_take(net->ipam6, &ep->ip6, e);
    if (r < 0) {
        ipam_release(net->ipam, ep->ip);
        ep->ip = 0;
        return name_exhausted(net, 6, r, e);
    }
    ep->has_ip6 = true;
    return 0;
}

static int take_address(struct networks *n, struct endpoint *ep, const struct endpoint_request *req, struct err *e) {
    uint32_t want = 0;
    struct in6_addr want6;
    int r;

    if (!str_empty(req->ipv4) && ipv4_parse(req->ipv4, &want) < 0)
        return err_set(e, ERR_INVALID, "invalid IPv4 address: %s", req->ipv4);
    if (!str_empty(req->ipv6) && inet_pton(AF_INET6, req->ipv6, &want6) != 1)
        return err_set(e, ERR_INVALID, "invalid IPv6 address: %s", req->ipv6);
    if (!str_empty(req->mac) && mac_parse(req->mac, ep->mac) < 0)
        return err_set(e, ERR_INVALID, "invalid MAC address: %s", req->mac);
    if (!str_empty(req->mac) && ep->net->kind == NETWORK_IPVLAN)
        return err_set(e, ERR_INTERNAL, "failed to create endpoint %s on network %s: ipvlan interfaces do not support custom mac address assignment",
                       ep->container_name, ep->net->record.name);
    pthread_mutex_lock(&n->lock);
    r = take_both(ep, want, str_empty(req->ipv6) ? NULL : &want6, !str_empty(req->mac), e);
    pthread_mutex_unlock(&n->lock);
    if (r < 0)
        return r;
    set_addr_text(ep);
    return 0;
}

static void give_address_back(struct networks *n, struct endpoint *ep) {
    if (!ep->ip)
        return;
    pthread_mutex_lock(&n->lock);
    ipam_release(ep->net->ipam, ep->ip);
    if (ep->has_ip6)
        ipam6_release(ep->net->ipam6, &ep->ip6);
    pthread_mutex_unlock(&n->lock);
    ep->ip = 0;
    ep->has_ip6 = false;
}

/* Elements of the firewall's maps; ports of IPv6 of a container without it are the proxy's. Caller frees. */
static size_t nft_ports(const struct endpoint *ep, struct nft_port **ret) {
    struct nft_port *v = calloc(ep->n_ports + 1, sizeof(*v));
    size_t n = 0;

    for (size_t i = 0; v && i < ep->n_ports; i++) {
        const struct port_taken *t = &ep->ports[i];

        if (t->v6 && ep->has_ip6) {
            v[n] = (struct nft_port){.v6 = true, .proto = (uint8_t)t->proto, .host_port = t->host_port, .addr6 = ep->ip6, .port = t->container_port};
            if (inet_pton(AF_INET6, t->host_ip, &v[n].host6) == 1)
                n++;
        } else if (!t->v6)
            v[n++] = (struct nft_port){
                .proto = (uint8_t)t->proto, .host_addr = t->host_addr, .host_port = t->host_port, .addr = ep->ip, .port = t->container_port};
    }
    *ret = v;
    return n;
}

/* Somebody may have flushed the tables: then everything is written anew, and the ports once more. */
static int publish_rules(struct networks *n, const struct nft_port *v, size_t k, struct err *e) {
    int r = firewall_publish(n->firewall, v, k, e);

    if (r == 0 || firewall_intact(n->firewall))
        return r;
    log_kv(LOG_LVL_WARN, "firewall rules are gone and are written anew", NULL);
    err_done(e);
    pthread_mutex_lock(&n->change);
    r = networks_apply_rules(n, e);
    pthread_mutex_unlock(&n->change);
    return r < 0 ? r : firewall_publish(n->firewall, v, k, e);
}

static int publish(struct networks *n, struct endpoint *ep, const struct port_request *want, size_t n_want, struct err *e) {
    struct port_request *v = calloc(n_want, sizeof(*v));
    struct nft_port *rules = NULL;
    size_t k;
    int r;

    if (!v)
        return err_oom(e);
    for (size_t i = 0; i < n_want; i++) {
        v[i] = want[i];
        if (!v[i].host_ip[0])
            memcpy(v[i].host_ip, ep->net->binding, sizeof(v[i].host_ip));
    }
    r = ports_take(n->ports, v, n_want, &ep->ports, &ep->n_ports, e);
    free(v);
    if (r < 0)
        return r;
    k = nft_ports(ep, &rules);
    r = rules ? publish_rules(n, rules, k, e) : err_oom(e);
    if (r == 0) {
        r = proxy_add(n->proxy, ep->id, ep->ip, ep->has_ip6 ? &ep->ip6 : NULL, ep->ports, ep->n_ports, e);
        if (r < 0) {
            firewall_withdraw(n->firewall, rules, k);
            proxy_drop(n->proxy, ep->id);
        }
    }
    free(rules);
    if (r < 0) {
        ports_release(n->ports, ep->ports, ep->n_ports);
        free(ep->ports);
        ep->ports = NULL;
        ep->n_ports = 0;
    }
    return r;
}

int endpoint_publish(struct networks *n, struct endpoint *ep, const struct port_request *v, size_t k, struct err *e) {
    int r = 0;

    if (k && ep->net->kind == NETWORK_BRIDGE && !ep->net->record.internal)
        r = publish(n, ep, v, k, e);
    return r < 0 ? err_wrap(e, "driver failed programming external connectivity on endpoint %s (%s)", ep->container_name, ep->id) : 0;
}

/* The kernel lets a bridge have long segments from its first port on. One that is its owner's stays as it is. */
static bool has_long_segments(struct networks *n, struct network *net) {
    bool own = !net->default_bridge || str_empty(n->engine->config->bridge);

    if (net->kind != NETWORK_BRIDGE || !own)
        return false;
    if (!__atomic_load_n(&net->long_segments, __ATOMIC_RELAXED) && !__atomic_exchange_n(&net->segments_asked, true, __ATOMIC_RELAXED))
        __atomic_store_n(&net->long_segments, link_long_segments(net->bridge), __ATOMIC_RELAXED);
    return __atomic_load_n(&net->long_segments, __ATOMIC_RELAXED);
}

/*
 * A client on loopback cuts its stream by what lo takes, before it is translated towards a bridge. Bridges that take less would have the kernel cut it once
 * more, so lo waits for a published port on one that does not.
 */
void networks_linked(struct networks *n, struct endpoint *const *v, size_t k) {
    for (size_t i = 0; i < k; i++) {
        if (has_long_segments(n, v[i]->net) && v[i]->n_ports && !__atomic_exchange_n(&n->loopback_asked, true, __ATOMIC_RELAXED) &&
            link_long_segments("lo"))
            log_kv(LOG_LVL_INFO, "TCP on loopback goes in long segments", NULL);
    }
}

void endpoint_withdraw(struct networks *n, struct endpoint *ep) {
    struct nft_port *rules = NULL;
    size_t k;

    if (ep->n_ports) {
        k = nft_ports(ep, &rules);
        if (rules)
            firewall_withdraw(n->firewall, rules, k);
        free(rules);
        /* The proxy closes its sockets in its own time; whoever wants the port at once waits for that (ports_config.settle). */
        proxy_drop(n->proxy, ep->id);
        ports_release(n->ports, ep->ports, ep->n_ports);
    }
    free(ep->ports);
    ep->ports = NULL;
    ep->n_ports = 0;
}

void networks_settle(struct networks *n) {
    proxy_settle(n->proxy);
}

int networks_join(struct networks *n, struct network *net, const struct endpoint_request *req, struct endpoint **ret, struct err *e) {
    struct endpoint *ep = NULL;
    int r = endpoint_new(n, net, req, &ep, e);

    if (r < 0)
        return r;
    if (net->kind == NETWORK_CONFIG)
        r = err_set(e, ERR_FORBIDDEN, "cannot create endpoint on configuration-only network");
    if (r == 0 && network_has_links(net)) {
        r = take_address(n, ep, req, e);
        if (r == 0) {
            if (req->ret_placed)
                *req->ret_placed = true;
            left_silence(n, ep);
            r = endpoint_publish(n, ep, req->ports, req->n_ports, e);
            if (r < 0)
                give_address_back(n, ep);
        }
    }
    if (r < 0) {
        endpoint_free(ep);
        return r;
    }
    link_endpoint(n, ep);
    names_endpoint_up(n, ep);
    networks_event(n, net, "connect", req->container_id);
    *ret = ep;
    return 0;
}

void networks_tell_disconnect(struct networks *n, const struct network *net, const char *container_id) {
    networks_event(n, net, "disconnect", container_id);
}

struct endpoint *networks_leave(struct networks *n, struct endpoint *ep) {
    if (!ep)
        return NULL;
    names_endpoint_down(n, ep);
    endpoint_withdraw(n, ep);
    left_note(n, ep);
    give_address_back(n, ep);
    pthread_mutex_lock(&n->lock);
    *ep->link = ep->next;
    if (ep->next)
        ep->next->link = ep->link;
    pthread_mutex_unlock(&n->lock);
    networks_event(n, ep->net, "disconnect", ep->container_id);
    return endpoint_free(ep);
}

void endpoint_rename(struct networks *n, struct endpoint *ep, const char *container_name) {
    pthread_mutex_lock(&n->lock);
    ignore_result(str_set(&ep->container_name, container_name) < 0);
    pthread_mutex_unlock(&n->lock);
    names_endpoint_up(n, ep);
}

int network_order(const struct network *a, const struct network *b) {
    if (a->record.internal != b->record.internal)
        return a->record.internal ? 1 : -1;
    if (a->v6 != b->v6)
        return a->v6 ? -1 : 1;
    return strcmp(a->record.name, b->record.name);
}

int networks_gateway(struct network *const *v, size_t n) {
    int best = -1;

    for (size_t i = 0; i < n; i++) {
        const struct network *a = v[i], *b = best >= 0 ? v[best] : NULL;

        if (!a || !network_has_links(a) || !network_leads_out(a))
            continue;
        if (!b || network_order(a, b) < 0)
            best = (int)i;
    }
    return best;
}

/* ---- over a restart ---------------------------------------------------------------------------------------------------------------- */

static void save_text(struct buf *out, const char *key, const char *value) {
    buf_addf(out, "%s\"%s\":", out->data[out->len - 1] == '{' ? "" : ",", key);
    buf_add_json_string(out, value);
}

static void save_list(struct buf *out, const char *key, const struct strv *l) {
    buf_addf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            buf_addc(out, ',');
        buf_add_json_string(out, l->v[i]);
    }
    buf_addc(out, ']');
}

int endpoint_save(const struct endpoint *ep, struct buf *out, struct err *e) {
    buf_addc(out, '{');
    if (!buf_ok(out))
        return buf_check(out, e);
    save_text(out, "network", ep->net->record.id);
    save_text(out, "id", ep->id);
    save_text(out, "container", ep->container_id);
    save_text(out, "name", ep->container_name);
    save_text(out, "hostname", ep->hostname);
    save_text(out, "ifname", ep->ifname);
    save_text(out, "ip", ep->ip_text);
    if (ep->has_ip6)
        save_text(out, "ip6", ep->ip6_text);
    save_text(out, "mac", ep->mac_text);
    save_list(out, "aliases", &ep->aliases);
    if (ep->links.n)
        save_list(out, "links", &ep->links);
    buf_adds(out, ",\"ports\":[");
    for (size_t i = 0; i < ep->n_ports; i++) {
        const struct port_taken *t = &ep->ports[i];

        buf_addf(out, "%s[%d,%u,%u,", i ? "," : "", (int)t->proto, t->container_port, t->host_port);
        buf_add_json_string(out, t->host_ip);
        buf_addc(out, ']');
    }
    buf_adds(out, "]}");
    return buf_check(out, e);
}

static const char *text_of(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static int read_port(const json_t *j, struct port_taken *t) {
    const char *ip = json_string_value(json_array_get(j, 3));

    *t = (struct port_taken){.proto = (enum port_proto)json_integer_value(json_array_get(j, 0)),
                             .container_port = (uint16_t)json_integer_value(json_array_get(j, 1)),
                             .host_port = (uint16_t)json_integer_value(json_array_get(j, 2)),
                             .fd = -EBADF};
    if (!ip || !t->container_port || !t->host_port)
        return -EINVAL;
    snprintf(t->host_ip, sizeof(t->host_ip), "%s", ip);
    t->v6 = strchr(ip, ':') != NULL;
    return !t->v6 && ipv4_parse(ip, &t->host_addr) < 0 ? -EINVAL : 0;
}

static int read_list(const json_t *list, struct strv *ret, struct err *e) {
    size_t i;
    json_t *j;

    json_array_foreach(list, i, j) {
        if (json_is_string(j) && strv_add(ret, json_string_value(j)) < 0)
            return err_oom(e);
    }
    return 0;
}

static int read_ports(const json_t *ports, struct endpoint *ep, struct err *e) {
    ep->ports = calloc(json_array_size(ports) + 1, sizeof(*ep->ports));
    if (!ep->ports)
        return err_oom(e);
    for (size_t i = 0; i < json_array_size(ports); i++) {
        if (read_port(json_array_get(ports, i), &ep->ports[i]) < 0)
            return err_set(e, ERR_INTERNAL, "damaged endpoint record");
    }
    ep->n_ports = json_array_size(ports);
    return 0;
}

static int read_saved(struct networks *n, const json_t *o, struct endpoint **ret, struct err *e) {
    struct network *net = NULL;
    struct endpoint *ep = NULL;
    struct endpoint_request req = {.container_id = text_of(o, "container"), .container_name = text_of(o, "name"), .hostname = text_of(o, "hostname")};
    int r = networks_find(n, text_of(o, "network"), &net, e);

    if (r < 0)
        return r;
    r = endpoint_new(n, net, &req, &ep, e);
    network_unref(net);
    if (r < 0)
        return r;
    snprintf(ep->id, sizeof(ep->id), "%s", text_of(o, "id"));
    set_names(ep, 0);
    snprintf(ep->ifname, sizeof(ep->ifname), "%s", text_of(o, "ifname"));
    ep->adopted = true;
    if (ipv4_parse(text_of(o, "ip"), &ep->ip) == 0 && ep->ip) {
        ignore_result(mac_parse(text_of(o, "mac"), ep->mac) < 0);
        ep->has_ip6 = inet_pton(AF_INET6, text_of(o, "ip6"), &ep->ip6) == 1;
        set_addr_text(ep);
    }
    r = read_list(json_object_get(o, "aliases"), &ep->aliases, e);
    if (r == 0)
        r = read_list(json_object_get(o, "links"), &ep->links, e);
    if (r == 0)
        r = read_ports(json_object_get(o, "ports"), ep, e);
    if (r == 0 && !id_is_full(ep->id))
        r = err_set(e, ERR_INTERNAL, "damaged endpoint record");
    if (r < 0) {
        ep->n_ports = 0;
        endpoint_free(ep);
        return r;
    }
    *ret = ep;
    return 0;
}

/* Rules and sockets of an adopted endpoint: the rules are written anew, sockets only when hatake-netd lost them. */
static void republish(struct networks *n, struct endpoint *ep) {
    _cleanup_err_ struct err why = ERR_INIT;
    struct nft_port *rules = NULL;
    char group[GROUP_DIGITS + 1];
    size_t k;

    if (ports_adopt(n->ports, ep->ports, ep->n_ports, &why) < 0) {
        log_kv(LOG_LVL_ERROR, "published ports are taken", "container", ep->container_id, "error", err_msg(&why), NULL);
        ep->n_ports = 0;
        return;
    }
    k = nft_ports(ep, &rules);
    if (!rules || firewall_publish(n->firewall, rules, k, &why) < 0)
        log_kv(LOG_LVL_ERROR, "published ports cannot be set", "container", ep->container_id, "error", err_msg(&why), NULL);
    free(rules);
    snprintf(group, sizeof(group), "%.*s", GROUP_DIGITS, ep->id);
    pthread_mutex_lock(&n->lock);
    ignore_result(map_set(&n->adopted, group, ep, NULL) < 0);
    pthread_mutex_unlock(&n->lock);
    if (proxy_has(n->proxy, ep->id))
        return;
    for (size_t i = 0; i < ep->n_ports; i++) {
        _cleanup_err_ struct err bind = ERR_INIT;

        if (ports_rebind(n->ports, &ep->ports[i], &bind) < 0 && !ep->ports[i].v6)
            log_kv(LOG_LVL_WARN, "port cannot be kept from other programs", "container", ep->container_id, "error", err_msg(&bind), NULL);
    }
    if (proxy_add(n->proxy, ep->id, ep->ip, ep->has_ip6 ? &ep->ip6 : NULL, ep->ports, ep->n_ports, &why) < 0)
        log_kv(LOG_LVL_WARN, "proxy cannot take the ports", "container", ep->container_id, "error", err_msg(&why), NULL);
}

int networks_adopt(struct networks *n, const char *saved, struct endpoint **ret, struct err *e) {
    struct endpoint *ep = NULL;
    json_t *o = NULL;
    int r = codec_parse(saved, strlen(saved), &o, NULL, e);

    if (r < 0)
        return r;
    r = read_saved(n, o, &ep, e);
    json_decref(o);
    if (r < 0)
        return r;
    if (ep->ip && ep->net->ipam) {
        pthread_mutex_lock(&n->lock);
        /* Taken already: two records claim one address; the first one keeps it, both containers run on. */
        if (ipam_take_addr(ep->net->ipam, ep->ip, NULL) < 0)
            log_kv(LOG_LVL_ERROR, "address is claimed twice", "address", ep->ip_text, "container", ep->container_id, NULL);
        if (ep->has_ip6 && (!ep->net->ipam6 || ipam6_take_addr(ep->net->ipam6, &ep->ip6, NULL) < 0))
            log_kv(LOG_LVL_ERROR, "address is claimed twice", "address", ep->ip6_text, "container", ep->container_id, NULL);
        pthread_mutex_unlock(&n->lock);
    }
    if (ep->n_ports)
        republish(n, ep);
    link_endpoint(n, ep);
    names_endpoint_up(n, ep);
    *ret = ep;
    return 0;
}

static bool keep_group(const char *prefix, void *arg) {
    return map_has(arg, prefix);
}

void networks_adopted(struct networks *n) {
    struct map claimed;

    pthread_mutex_lock(&n->lock);
    claimed = n->adopted;
    n->adopted = MAP_INIT;
    pthread_mutex_unlock(&n->lock);
    /* The firewall's maps were made empty at start and hold only what was claimed. */
    proxy_sweep(n->proxy, keep_group, &claimed);
    map_done(&claimed);
}
