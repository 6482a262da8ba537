// SPDX-License-Identifier: Apache-2.0
/* Endpoints as the API shows them and as the monitor needs them. */
#include <arpa/inet.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"
#include "monitor/launch.h"
#include "netplane/link.h"
#include "network/network-internal.h"

struct network *endpoint_network(const struct endpoint *ep) {
    return ep->net;
}
const char *endpoint_id(const struct endpoint *ep) {
    return ep->id;
}
const char *endpoint_ipv4(const struct endpoint *ep) {
    return ep->ip_text;
}
const char *endpoint_ipv6(const struct endpoint *ep) {
    return ep->ip6_text;
}
size_t endpoint_n_ports(const struct endpoint *ep) {
    return ep->n_ports;
}

struct port_binding endpoint_port(const struct endpoint *ep, size_t i) {
    const struct port_taken *t = &ep->ports[i];

    return (struct port_binding){.proto = t->proto, .container_port = t->container_port, .host_port = t->host_port, .host_ip = t->host_ip};
}

static void put_addr(struct launch_addr *a, uint32_t ip, int prefix) {
    uint32_t be = htonl(ip);

    a->family = AF_INET;
    a->prefix = prefix;
    memcpy(a->addr, &be, sizeof(be));
}

static void put_addr6(struct launch_addr *a, const struct in6_addr *ip, int prefix) {
    a->family = AF_INET6;
    a->prefix = prefix;
    memcpy(a->addr, ip, sizeof(*ip));
}

/* Prefixes as the reference gives them: of a class B network, and of an IPv6 link. */
static void put_link_local(struct launch_link *to, const struct strv *v) {
    struct in6_addr a6;
    uint32_t a4 = 0;

    for (size_t i = 0; i < v->n && to->n_addrs < LAUNCH_LINK_ADDRS; i++) {
        if (ipv4_parse(v->v[i], &a4) == 0)
            put_addr(&to->addrs[to->n_addrs++], a4, 16);
        else if (inet_pton(AF_INET6, v->v[i], &a6) == 1)
            put_addr6(&to->addrs[to->n_addrs++], &a6, 64);
    }
}

/* An ipvlan that routes has nobody as its gateway: what leaves goes by the parent's routes. */
static bool leads_by_interface(const struct network *net) {
    return net->kind == NETWORK_IPVLAN && net->vlan_mode != IPVLAN_MODE_L2;
}

bool endpoint_link(const struct endpoint *ep, bool gateway, struct launch_link *ret) {
    const struct network *net = ep->net;
    bool by_interface = leads_by_interface(net);

    if (!network_has_links(net))
        return false;
    ret->kind = net->kind == NETWORK_MACVLAN ? LAUNCH_MACVLAN : net->kind == NETWORK_IPVLAN ? LAUNCH_IPVLAN : LAUNCH_VETH;
    ret->vlan_mode = net->vlan_mode;
    ret->vlan_flag = net->vlan_flag;
    snprintf(ret->host_ifname, sizeof(ret->host_ifname), "%s", ep->host_ifname);
    snprintf(ret->bridge, sizeof(ret->bridge), "%s", net->kind == NETWORK_BRIDGE ? net->bridge : net->parent);
    snprintf(ret->ifname, sizeof(ret->ifname), "%s", ep->ifname);
    ret->hairpin = ep->hairpin;
    ret->has_mac = true;
    memcpy(ret->mac, ep->mac, sizeof(ret->mac));
    put_addr(&ret->addrs[0], ep->ip, net->addr.prefix);
    ret->n_addrs = 1;
    if (ep->has_ip6)
        put_addr6(&ret->addrs[ret->n_addrs++], &ep->ip6, net->addr6.prefix);
    put_link_local(ret, &ep->link_local);
    if (gateway && network_leads_out(net)) {
        if (net->gateway || by_interface)
            put_addr(&ret->gateway, by_interface ? 0 : net->gateway, 0);
        if (ep->has_ip6)
            put_addr6(&ret->gateway6, by_interface ? &in6addr_any : &net->gateway6, 0);
    }
    ret->mtu = net->mtu;
    /* No IPv6 on this network: none by accident either (CVE-2024-32473). */
    ignore_result(strv_addf(&ret->sysctls, "net.ipv6.conf.%s.disable_ipv6=%d", ep->ifname, !ep->has_ip6) < 0);
    return true;
}

const char *endpoint_ifname(const struct endpoint *ep) {
    return network_has_links(ep->net) ? ep->ifname : "";
}

unsigned endpoint_index(const struct endpoint *ep) {
    const char *digits = ep->ifname + strlen(ep->ifname);

    while (digits > ep->ifname && digits[-1] >= '0' && digits[-1] <= '9')
        digits--;
    return (unsigned)strtoul(digits, NULL, 10);
}

/* Those inside look at /sys/class/net: there it is gone, too. */
bool endpoint_drop_link(const struct endpoint *ep) {
    return ep->net->kind == NETWORK_BRIDGE && link_delete_soon(ep->host_ifname, LINK_TOLD, NULL) == 0;
}

static int dup_to(char **slot, const char *s, struct err *e) {
    return str_set(slot, s) < 0 ? err_oom(e) : 0;
}

static int add_name(struct strv *l, const char *s, struct err *e) {
    return str_empty(s) || strv_has(l, s) ? 0 : strv_add(l, s) < 0 ? err_oom(e) : 0;
}

int network_names(const struct network *net, const struct endpoint_request *req, struct strv *ret, struct err *e) {
    char short_id[ID_SHORT_LEN + 1];
    int r;

    if (!network_has_links(net) || net->default_bridge)
        return 0;
    snprintf(short_id, sizeof(short_id), "%.12s", req->container_id);
    r = add_name(ret, req->container_name, e);
    for (size_t i = 0; r == 0 && req->aliases && i < req->aliases->n; i++)
        r = add_name(ret, req->aliases->v[i], e);
    if (r == 0)
        r = add_name(ret, short_id, e);
    return r == 0 ? add_name(ret, req->hostname, e) : r;
}

int endpoint_names(const struct endpoint *ep, struct strv *ret, struct err *e) {
    struct endpoint_request req = {
        .container_id = ep->container_id, .container_name = ep->container_name, .hostname = ep->hostname, .aliases = &ep->aliases};

    return network_names(ep->net, &req, ret, e);
}

int endpoint_settings(const struct endpoint *ep, struct api_endpoint_settings *ret, struct err *e) {
    char gateway[IPV4_TEXT_MAX] = "", gateway6[IPV6_TEXT_MAX] = "";
    _cleanup_strv_ struct strv names = STRV_INIT;
    int r = 0;

    if (ep->ip && network_leads_out(ep->net) && !leads_by_interface(ep->net)) {
        ipv4_format(ep->net->gateway, gateway);
        if (ep->has_ip6)
            ipv6_format(&ep->net->gateway6, gateway6);
    }
    if (dup_to(&ret->network_id, ep->net->record.id, e) < 0 || dup_to(&ret->endpoint_id, ep->id, e) < 0 || dup_to(&ret->gateway, gateway, e) < 0 ||
        dup_to(&ret->ip_address, ep->ip_text, e) < 0 || dup_to(&ret->mac_address, ep->mac_text, e) < 0 ||
        dup_to(&ret->ipv6_gateway, gateway6, e) < 0 || dup_to(&ret->global_ipv6_address, ep->ip6_text, e) < 0)
        return err_oom(e);
    if (ep->ip) {
        ret->ip_prefix_len = ep->net->addr.prefix;
        ret->has_ip_prefix_len = true;
    }
    if (ep->has_ip6) {
        ret->global_ipv6_prefix_len = ep->net->addr6.prefix;
        ret->has_global_ipv6_prefix_len = true;
    }
    if (ret->dns_names.n)
        return 0;
    r = endpoint_names(ep, &names, e);
    for (size_t i = 0; r == 0 && i < names.n; i++)
        r = api_string_list_add(&ret->dns_names, names.v[i], e);
    return r;
}

/* The list of one container port; places: where each stands in the map, counted from 1. */
static struct api_port_binding_list *port_slot(struct api_port_binding_list_map *m, struct map *places, const char *key) {
    size_t place = (size_t)(uintptr_t)map_get(places, key);
    struct api_port_binding_list_map_entry *entry;

    if (place)
        return &m->v[place - 1].value;
    entry = codec_list_add(&m->n, (void **)&m->v, &m->set, sizeof(*entry));
    if (!entry || map_set(places, key, (void *)(uintptr_t)m->n, NULL) < 0)
        return NULL;
    entry->key = strdup(key);
    return entry->key ? &entry->value : NULL;
}

int endpoint_ports(const struct endpoint *ep, struct api_port_binding_list_map *ret, struct err *e) {
    _cleanup_map_ struct map places = MAP_INIT;

    for (size_t i = 0; i < ep->n_ports; i++) {
        const struct port_taken *t = &ep->ports[i];
        struct api_port_binding_list *list;
        struct api_port_binding *b;
        char key[24], port[8];

        snprintf(key, sizeof(key), "%u/%s", t->container_port, port_proto_name(t->proto));
        snprintf(port, sizeof(port), "%u", t->host_port);
        list = port_slot(ret, &places, key);
        b = list ? api_port_binding_list_add(list) : NULL;
        if (!b || str_set(&b->host_ip, t->host_ip) < 0 || str_set(&b->host_port, port) < 0)
            return err_oom(e);
    }
    ret->set = true;
    return 0;
}

static int add_container(const struct endpoint *ep, struct api_network_container_map *ret, struct err *e) {
    struct api_network_container_map_entry *entry = codec_list_add(&ret->n, (void **)&ret->v, &ret->set, sizeof(*entry));
    struct api_network_container *c;
    char addr[CIDR4_TEXT_MAX + 4] = "", addr6[CIDR6_TEXT_MAX + 4] = "";

    if (!entry)
        return err_oom(e);
    entry->key = strdup(ep->container_id);
    entry->value = c = api_network_container_new();
    if (ep->ip)
        snprintf(addr, sizeof(addr), "%s/%u", ep->ip_text, ep->net->addr.prefix);
    if (ep->has_ip6)
        snprintf(addr6, sizeof(addr6), "%s/%u", ep->ip6_text, ep->net->addr6.prefix);
    if (!entry->key || !c || str_set(&c->name, ep->container_name) < 0 || str_set(&c->endpoint_id, ep->id) < 0 ||
        str_set(&c->mac_address, ep->mac_text) < 0 || str_set(&c->ipv4_address, addr) < 0 || str_set(&c->ipv6_address, addr6) < 0)
        return err_oom(e);
    return 0;
}

static int by_key(const void *a, const void *b) {
    const struct api_network_container_map_entry *x = a, *y = b;

    return strcmp(x->key, y->key);
}

int network_containers(struct networks *n, struct network *net, struct api_network_container_map *ret, struct err *e) {
    int r = 0;

    pthread_mutex_lock(&n->lock);
    for (const struct endpoint *ep = net->endpoints; r == 0 && ep; ep = ep->next)
        r = add_container(ep, ret, e);
    pthread_mutex_unlock(&n->lock);
    /* Maps come out sorted by key. */
    if (r == 0 && ret->n)
        qsort(ret->v, ret->n, sizeof(*ret->v), by_key);
    ret->set = true;
    return r;
}
