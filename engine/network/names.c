// SPDX-License-Identifier: Apache-2.0
/* Names of containers, as hatake-netd is told of them; and the rules that lead a container's port 53 to it. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "monitor/client.h"
#include "netplane/link.h"
#include "netplane/nft.h"
#include "network/network-internal.h"

_Static_assert(LAUNCH_RESOLVER_FDS == NETD_SOCKETS, "the monitor makes what hatake-netd takes");

static bool served(const struct network *net) {
    return network_has_links(net) && !net->default_bridge;
}

bool networks_need_names(struct endpoint *const *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (served(v[i]->net))
            return true;
    }
    return false;
}

/* ---- rules ------------------------------------------------------------------------------------------------------------------------- */

static int put_rules(struct buf *b, unsigned udp, unsigned tcp, struct err *e) {
    _cleanup_strv_ struct strv lines = STRV_INIT;
    int r = strv_add(&lines, "-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT");

    if (r == 0)
        r = strv_add(&lines, "-A POSTROUTING -d 127.0.0.11/32 -j DOCKER_POSTROUTING");
    if (r == 0)
        r = strv_addf(&lines, "-A DOCKER_OUTPUT -d 127.0.0.11/32 -p tcp -m tcp --dport 53 -j DNAT --to-destination 127.0.0.11:%u", tcp);
    if (r == 0)
        r = strv_addf(&lines, "-A DOCKER_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:%u", udp);
    if (r == 0)
        r = strv_addf(&lines, "-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p tcp -m tcp --sport %u -j SNAT --to-source :53", tcp);
    if (r == 0)
        r = strv_addf(&lines, "-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p udp -m udp --sport %u -j SNAT --to-source :53", udp);
    if (r < 0)
        return err_oom(e);
    for (size_t i = 0; r == 0 && i < lines.n; i++)
        r = nft_rule_iptables(b, nft_ip("nat"), lines.v[i], NULL, 0, e);
    return r;
}

int networks_make_resolver(struct launch_resolver *ret, struct buf *rules, struct err *e) {
    unsigned lo, hi;
    uint32_t dice[2];
    int r;

    if (getrandom(dice, sizeof(dice), 0) != sizeof(dice))
        return err_set(e, ERR_INTERNAL, "no random numbers");
    link_port_range(&lo, &hi);
    ret->udp_port = (uint16_t)(lo + dice[0] % (hi - lo + 1));
    ret->tcp_port = (uint16_t)(lo + dice[1] % (hi - lo + 1));
    nft_begin(rules);
    nft_add_table(rules, nft_ip("nat"));
    nft_add_base_chain(rules, nft_ip("nat"), "PREROUTING", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST, NF_ACCEPT);
    nft_add_base_chain(rules, nft_ip("nat"), "INPUT", "nat", NF_INET_LOCAL_IN, NF_IP_PRI_NAT_SRC, NF_ACCEPT);
    nft_add_base_chain(rules, nft_ip("nat"), "OUTPUT", "nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST, NF_ACCEPT);
    nft_add_base_chain(rules, nft_ip("nat"), "POSTROUTING", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC, NF_ACCEPT);
    nft_add_chain(rules, nft_ip("nat"), "DOCKER_OUTPUT");
    nft_add_chain(rules, nft_ip("nat"), "DOCKER_POSTROUTING");
    r = put_rules(rules, ret->udp_port, ret->tcp_port, e);
    nft_end(rules);
    if (r == 0)
        r = buf_check(rules, e);
    ret->rules = rules->data;
    ret->n_rules = rules->len;
    return r;
}

/* ---- what is said ------------------------------------------------------------------------------------------------------------------ */

static void field(struct buf *b, enum netd_field f, const void *p, size_t n) {
    uint8_t head[2] = {(uint8_t)f, (uint8_t)n};

    /* Longer ones cannot be names anyway. */
    if (n > UINT8_MAX)
        return;
    buf_add(b, head, sizeof(head));
    buf_add(b, p, n);
}

static void text_field(struct buf *b, enum netd_field f, const char *s) {
    field(b, f, s, strlen(s));
}

static void zone_field(struct buf *b, const struct network *net) {
    char digits[2 * NETD_GROUP_BYTES + 1];
    uint8_t id[NETD_GROUP_BYTES];

    snprintf(digits, sizeof(digits), "%.*s", 2 * NETD_GROUP_BYTES, net->record.id);
    if (hex_decode(digits, id, sizeof(id)))
        field(b, NETD_F_ZONE, id, sizeof(id));
}

static int say_endpoint(struct networks *n, struct endpoint *ep, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(NETD_PACKET_MAX);
    _cleanup_strv_ struct strv names = STRV_INIT;
    uint32_t be = htonl(ep->ip);
    int r;

    pthread_mutex_lock(&n->lock);
    r = endpoint_names(ep, &names, e);
    pthread_mutex_unlock(&n->lock);
    if (r < 0)
        return r;
    zone_field(&b, ep->net);
    text_field(&b, NETD_F_ZONE_NAME, ep->net->record.name);
    if (ep->ip)
        field(&b, NETD_F_V4, &be, sizeof(be));
    if (ep->has_ip6)
        field(&b, NETD_F_V6, &ep->ip6, sizeof(ep->ip6));
    for (size_t i = 0; i < names.n; i++)
        text_field(&b, NETD_F_NAME, names.v[i]);
    return proxy_say(n->proxy, NETD_NAMES, ep->id, &b, NULL, e);
}

void names_endpoint_up(struct networks *n, struct endpoint *ep) {
    _cleanup_err_ struct err e = ERR_INIT;

    if (served(ep->net) && say_endpoint(n, ep, &e) < 0)
        log_kv(LOG_LVL_ERROR, "names of a container cannot be served", "container", ep->container_id, "error", err_msg(&e), NULL);
}

void names_endpoint_down(struct networks *n, struct endpoint *ep) {
    if (served(ep->net))
        proxy_unsay(n->proxy, NETD_UNNAME, ep->id);
}

/* "name:alias" as "alias\0name". */
static void link_field(struct buf *b, const char *link) {
    const char *colon = strchr(link, ':'), *alias = colon ? colon + 1 : link;
    size_t n_alias = strlen(alias), n_name = colon ? (size_t)(colon - link) : n_alias;
    char text[UINT8_MAX];

    if (n_alias + 1 + n_name > sizeof(text))
        return;
    memcpy(text, alias, n_alias + 1);
    memcpy(text + n_alias + 1, link, n_name);
    field(b, NETD_F_LINK, text, n_alias + 1 + n_name);
}

/* The container's options count, else the daemon's, else the machine's. */
static bool sets_ndots(const struct strv *ours, const struct strv *theirs) {
    const struct strv *options = ours && ours->n ? ours : theirs;
    _cleanup_strv_ struct strv host = STRV_INIT;
    int64_t dots = 0;

    if (!options || !options->n)
        options = host_resolv_options(&host, NULL) == 0 ? &host : NULL;
    for (size_t i = 0; options && i < options->n; i++) {
        const char *value = str_after(options->v[i], "ndots:");

        if (value && parse_int_range(value, 0, INT32_MAX, &dots) == 0 && dots > 0)
            return true;
    }
    return false;
}

static uint8_t flags_of(struct networks *n, const struct sandbox_request *req, const struct strv *servers) {
    uint8_t flags = servers ? 0 : NETD_R_HOST;

    for (size_t i = 0; i < req->n_endpoints; i++) {
        /* A network that leads nowhere leads no question out either (CVE-2024-29018). */
        if (!req->endpoints[i]->net->record.internal)
            flags |= NETD_R_FORWARD;
    }
    if (sets_ndots(req->dns_options, &n->engine->config->dns_opts))
        flags |= NETD_R_NDOTS;
    return flags;
}

int networks_serve_names(struct networks *n, const struct sandbox_request *req, struct err *e) {
    const struct strv *servers = req->dns && req->dns->n ? req->dns : n->engine->config->dns.n ? &n->engine->config->dns : NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(NETD_PACKET_MAX);
    int fds[NETD_SOCKETS];
    bool fresh = req->monitor && monitor_take_resolver(req->monitor, fds);
    uint8_t flags = flags_of(n, req, servers);

    if (!fresh && !proxy_resolves(n->proxy, req->container_id))
        return networks_need_names(req->endpoints, req->n_endpoints);
    field(&b, NETD_F_FLAGS, &flags, sizeof(flags));
    for (size_t i = 0; servers && i < servers->n; i++)
        text_field(&b, NETD_F_SERVER, servers->v[i]);
    for (size_t i = 0; i < req->n_endpoints; i++) {
        if (!served(req->endpoints[i]->net))
            continue;
        zone_field(&b, req->endpoints[i]->net);
        for (size_t k = 0; k < req->endpoints[i]->links.n; k++)
            link_field(&b, req->endpoints[i]->links.v[k]);
    }
    return proxy_say(n->proxy, NETD_RESOLVER, req->container_id, &b, fresh ? fds : NULL, e);
}

void networks_unserve_names(struct networks *n, const char *container_id) {
    proxy_unsay(n->proxy, NETD_UNRESOLVE, container_id);
}
