// SPDX-License-Identifier: Apache-2.0
/* Our own table, once for each family: sets of bridges, maps of published ports, and the rules that use them. */
#include <netinet/in.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>

#include "netplane/firewall-internal.h"

#define BRIDGES "bridges"
#define GUARDED "guarded"
#define MAP_ANY "any"
#define MAP_BOUND "bound"
#define SELF "self"
#define SET_IDS 5 /* in a transaction, per family */

struct nft_table firewall_own_table(bool v6) {
    return (struct nft_table){v6 ? AF_INET6 : AF_INET, "hatake"};
}

/* IPv4 only: ::1 never comes from, or goes to, another interface. */
static void put_loopback(struct buf *b, struct nft_table own) {
    static const struct cidr4 loopback = {0x7f000000, 8};
    struct nft_rule r;

    for (int source = 0; source < 2; source++) {
        r = nft_rule_open(b, own, "loopback");
        nft_x_ifname_set(b, NFT_IN, false, BRIDGES);
        nft_x_addr_net(b, source, false, &loopback);
        nft_x_verdict(b, NF_DROP, NULL);
        nft_rule_close(b, r);
    }
    /* What came from loopback must come back: the container sees the bridge's own address, as it does with a proxy. */
    r = nft_rule_open(b, own, "leaving");
    nft_x_ifname_set(b, NFT_OUT, false, BRIDGES);
    nft_x_addr_net(b, true, false, &loopback);
    nft_x_masquerade(b);
    nft_rule_close(b, r);
}

static void put_published(const struct firewall *f, struct buf *b, struct nft_table own) {
    static const struct cidr6 loopback6 = {IN6ADDR_LOOPBACK_INIT, 128};
    struct nft_rule r;

    if (f->config.proxied) {
        r = nft_rule_open(b, own, "arriving");
        nft_x_ifname_set(b, NFT_IN, false, BRIDGES);
        nft_x_verdict(b, NFT_RETURN, NULL);
        nft_rule_close(b, r);
    }
    if (own.family == AF_INET6) {
        r = nft_rule_open(b, own, "local");
        nft_x_addr_net6(b, false, false, &loopback6);
        nft_x_verdict(b, NFT_RETURN, NULL);
        nft_rule_close(b, r);
    }
    for (int out = 0; out < 2; out++) {
        r = nft_rule_open(b, own, out ? "local" : "arriving");
        nft_x_dst_local(b);
        nft_x_verdict(b, NFT_JUMP, "published");
        nft_rule_close(b, r);
    }
    for (int any = 0; any < 2; any++) {
        r = nft_rule_open(b, own, "published");
        nft_x_dnat_map(b, own.family, !any, any ? MAP_ANY : MAP_BOUND);
        nft_rule_close(b, r);
    }
}

static void put_rules(const struct firewall *f, struct buf *b, struct nft_table own) {
    struct nft_rule r;

    if (own.family == AF_INET)
        put_loopback(b, own);
    put_published(f, b, own);
    if (!f->config.proxied) {
        /* A container that reaches a neighbour (or itself) by a published port: the answer must pass here again. */
        r = nft_rule_open(b, own, "leaving");
        nft_x_ifname_set(b, NFT_OUT, false, BRIDGES);
        nft_x_ifname_set(b, NFT_IN, false, BRIDGES);
        nft_x_ct_status_dnat(b, false);
        nft_x_masquerade(b);
        nft_rule_close(b, r);
        /* Where bridged frames are rewritten too (br_netfilter), they leave without having come in, as far as this chain can see. */
        r = nft_rule_open(b, own, "leaving");
        nft_x_ifname_set(b, NFT_OUT, false, BRIDGES);
        nft_x_addr_pair(b, own.family, SELF);
        nft_x_masquerade(b);
        nft_rule_close(b, r);
    }
    r = nft_rule_open(b, own, "guard");
    nft_x_ifname_set(b, NFT_OUT, false, GUARDED);
    nft_x_ifname_set(b, NFT_IN, true, BRIDGES);
    nft_x_ct_state_new(b);
    nft_x_ct_status_dnat(b, true);
    nft_x_counter(b);
    nft_x_verdict(b, NF_DROP, NULL);
    nft_rule_close(b, r);
}

void firewall_put_own(const struct firewall *f, struct buf *b, bool v6) {
    struct nft_table own = firewall_own_table(v6);
    uint32_t id = v6 ? SET_IDS : 0;

    /* Adding first makes the removal legal when there is none. */
    nft_add_table(b, own);
    nft_del_table(b, own);
    nft_add_table(b, own);
    nft_add_ifname_set(b, own, BRIDGES, id + 1);
    nft_add_ifname_set(b, own, GUARDED, id + 2);
    nft_add_port_map(b, own, MAP_ANY, id + 3, false);
    nft_add_port_map(b, own, MAP_BOUND, id + 4, true);
    if (!f->config.proxied)
        nft_add_pair_set(b, own, SELF, id + 5);
    if (!v6)
        nft_add_base_chain(b, own, "loopback", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW, NF_ACCEPT);
    /* One step after the shared nat table: rules of the machine's owner win. Both families number priorities alike. */
    nft_add_base_chain(b, own, "arriving", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST + 1, NF_ACCEPT);
    nft_add_base_chain(b, own, "local", "nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST + 1, NF_ACCEPT);
    nft_add_base_chain(b, own, "leaving", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC - 1, NF_ACCEPT);
    nft_add_base_chain(b, own, "guard", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER - 1, NF_ACCEPT);
    nft_add_chain(b, own, "published");
    put_rules(f, b, own);
}

void firewall_put_own_bridge(struct buf *b, const struct firewall_bridge *br, bool v6, bool add) {
    nft_ifname_elem(b, firewall_own_table(v6), BRIDGES, br->ifname, add);
    if (br->guard)
        nft_ifname_elem(b, firewall_own_table(v6), GUARDED, br->ifname, add);
}

void firewall_put_ports(const struct firewall *f, struct buf *b, const struct nft_port *v, size_t n, bool add) {
    for (int v6 = 0; v6 < firewall_families(f); v6++) {
        nft_port_elems(b, firewall_own_table(v6), MAP_ANY, false, v, n, add);
        nft_port_elems(b, firewall_own_table(v6), MAP_BOUND, true, v, n, add);
        if (!f->config.proxied)
            nft_self_elems(b, firewall_own_table(v6), SELF, v, n, add);
    }
}
