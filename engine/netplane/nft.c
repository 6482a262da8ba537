// SPDX-License-Identifier: Apache-2.0
#include "netplane/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "netplane/nft-internal.h"

/* First 32 bit register; concatenations take the following ones. */
#define REG NFT_REG32_00
/* Types of set keys as the nft tool numbers them; the kernel only hands them back, they make `nft list` readable. */
#define TYPE_IPADDR 7u
#define TYPE_IP6ADDR 8u
#define TYPE_PROTO 12u
#define TYPE_PORT 13u
#define TYPE_IFNAME 41u
#define TYPE_BITS 6
/* Elements per message: an attribute's length has 16 bits, an element of ours at most 76 bytes. */
#define ELEMS_PER_MSG 800

size_t nft_msg(struct buf *b, uint8_t family, unsigned type, uint16_t flags) {
    struct nfgenmsg g = {.nfgen_family = family, .version = NFNETLINK_V0};

    return netl_begin(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, &g, sizeof(g));
}

static void batch_mark(struct buf *b, uint16_t type) {
    struct nfgenmsg g = {.nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)};

    netl_end(b, netl_begin(b, type, 0, &g, sizeof(g)));
}

void nft_begin(struct buf *b) {
    buf_reset(b);
    batch_mark(b, NFNL_MSG_BATCH_BEGIN);
}

void nft_end(struct buf *b) {
    batch_mark(b, NFNL_MSG_BATCH_END);
}

int nft_commit(struct netl_sock *s, struct buf *b, int *ret_errno, struct err *e) {
    int r;

    nft_end(b);
    r = netl_talk(s, b, ret_errno, NULL, e);
    return r < 0 ? err_wrap(e, "firewall transaction") : 0;
}

void nft_add_table(struct buf *b, struct nft_table table) {
    size_t m = nft_msg(b, table.family, NFT_MSG_NEWTABLE, NLM_F_CREATE);

    netl_put_str(b, NFTA_TABLE_NAME, table.name);
    netl_put_be32(b, NFTA_TABLE_FLAGS, 0);
    netl_end(b, m);
}

void nft_del_table(struct buf *b, struct nft_table table) {
    size_t m = nft_msg(b, table.family, NFT_MSG_DELTABLE, 0);

    netl_put_str(b, NFTA_TABLE_NAME, table.name);
    netl_end(b, m);
}

void nft_add_chain(struct buf *b, struct nft_table table, const char *chain) {
    size_t m = nft_msg(b, table.family, NFT_MSG_NEWCHAIN, NLM_F_CREATE);

    netl_put_str(b, NFTA_CHAIN_TABLE, table.name);
    netl_put_str(b, NFTA_CHAIN_NAME, chain);
    netl_end(b, m);
}

void nft_add_base_chain(struct buf *b, struct nft_table table, const char *chain, const char *type, unsigned hook, int priority, int policy) {
    size_t m = nft_msg(b, table.family, NFT_MSG_NEWCHAIN, NLM_F_CREATE), h;

    netl_put_str(b, NFTA_CHAIN_TABLE, table.name);
    netl_put_str(b, NFTA_CHAIN_NAME, chain);
    h = netl_nest(b, NFTA_CHAIN_HOOK);
    netl_put_be32(b, NFTA_HOOK_HOOKNUM, hook);
    netl_put_be32(b, NFTA_HOOK_PRIORITY, (uint32_t)priority);
    netl_nest_end(b, h);
    if (policy >= 0)
        netl_put_be32(b, NFTA_CHAIN_POLICY, (uint32_t)policy);
    netl_put_str(b, NFTA_CHAIN_TYPE, type);
    netl_end(b, m);
}

void nft_del_rule(struct buf *b, struct nft_table table, const char *chain, uint64_t handle) {
    size_t m = nft_msg(b, table.family, NFT_MSG_DELRULE, 0);

    netl_put_str(b, NFTA_RULE_TABLE, table.name);
    netl_put_str(b, NFTA_RULE_CHAIN, chain);
    netl_put_be64(b, NFTA_RULE_HANDLE, handle);
    netl_end(b, m);
}

void nft_flush_chain(struct buf *b, struct nft_table table, const char *chain) {
    size_t m = nft_msg(b, table.family, NFT_MSG_DELRULE, 0);

    netl_put_str(b, NFTA_RULE_TABLE, table.name);
    netl_put_str(b, NFTA_RULE_CHAIN, chain);
    netl_end(b, m);
}

/* ---- expressions ------------------------------------------------------------------------------------------------------------------- */

static size_t expr_open(struct buf *b, const char *name, size_t *ret_data) {
    size_t at = netl_nest(b, NFTA_LIST_ELEM);

    netl_put_str(b, NFTA_EXPR_NAME, name);
    *ret_data = netl_nest(b, NFTA_EXPR_DATA);
    return at;
}
static void expr_close(struct buf *b, size_t at, size_t data) {
    netl_nest_end(b, data);
    netl_nest_end(b, at);
}

void nft_x_meta(struct buf *b, uint32_t key, uint32_t reg) {
    size_t d, at = expr_open(b, "meta", &d);

    netl_put_be32(b, NFTA_META_KEY, key);
    netl_put_be32(b, NFTA_META_DREG, reg);
    expr_close(b, at, d);
}

void nft_x_payload(struct buf *b, uint32_t base, uint32_t offset, uint32_t len, uint32_t reg) {
    size_t d, at = expr_open(b, "payload", &d);

    netl_put_be32(b, NFTA_PAYLOAD_DREG, reg);
    netl_put_be32(b, NFTA_PAYLOAD_BASE, base);
    netl_put_be32(b, NFTA_PAYLOAD_OFFSET, offset);
    netl_put_be32(b, NFTA_PAYLOAD_LEN, len);
    expr_close(b, at, d);
}

static void put_data(struct buf *b, uint16_t type, const void *p, size_t n) {
    size_t at = netl_nest(b, type);

    netl_put(b, NFTA_DATA_VALUE, p, n);
    netl_nest_end(b, at);
}

void nft_x_cmp(struct buf *b, uint32_t reg, bool negate, const void *p, size_t n) {
    size_t d, at = expr_open(b, "cmp", &d);

    netl_put_be32(b, NFTA_CMP_SREG, reg);
    netl_put_be32(b, NFTA_CMP_OP, negate ? NFT_CMP_NEQ : NFT_CMP_EQ);
    put_data(b, NFTA_CMP_DATA, p, n);
    expr_close(b, at, d);
}

void nft_x_bitwise(struct buf *b, uint32_t reg, const void *mask, size_t n) {
    static const char zero[16];
    size_t d, at = expr_open(b, "bitwise", &d);

    netl_put_be32(b, NFTA_BITWISE_SREG, reg);
    netl_put_be32(b, NFTA_BITWISE_DREG, reg);
    netl_put_be32(b, NFTA_BITWISE_LEN, (uint32_t)n);
    put_data(b, NFTA_BITWISE_MASK, mask, n);
    put_data(b, NFTA_BITWISE_XOR, zero, n);
    expr_close(b, at, d);
}

void nft_x_compat(struct buf *b, bool target, const char *name, uint32_t revision, const void *info, size_t n) {
    /* Match and target number their attributes alike (name, revision, info). */
    size_t d, at = expr_open(b, target ? "target" : "match", &d);

    netl_put_str(b, 1, name);
    netl_put_be32(b, 2, revision);
    netl_put(b, 3, info, n);
    expr_close(b, at, d);
}

void nft_x_counter(struct buf *b) {
    size_t d, at = expr_open(b, "counter", &d);

    netl_put_be64(b, NFTA_COUNTER_BYTES, 0);
    netl_put_be64(b, NFTA_COUNTER_PACKETS, 0);
    expr_close(b, at, d);
}

void nft_x_verdict(struct buf *b, int verdict, const char *chain) {
    size_t d, at = expr_open(b, "immediate", &d), data, v;

    netl_put_be32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    data = netl_nest(b, NFTA_IMMEDIATE_DATA);
    v = netl_nest(b, NFTA_DATA_VERDICT);
    netl_put_be32(b, NFTA_VERDICT_CODE, (uint32_t)verdict);
    if (chain)
        netl_put_str(b, NFTA_VERDICT_CHAIN, chain);
    netl_nest_end(b, v);
    netl_nest_end(b, data);
    expr_close(b, at, d);
}

static void x_lookup(struct buf *b, uint32_t reg, const char *set, bool negate, bool map) {
    size_t d, at = expr_open(b, "lookup", &d);

    netl_put_str(b, NFTA_LOOKUP_SET, set);
    netl_put_be32(b, NFTA_LOOKUP_SREG, reg);
    if (map)
        netl_put_be32(b, NFTA_LOOKUP_DREG, reg);
    if (negate)
        netl_put_be32(b, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
    expr_close(b, at, d);
}

void nft_x_ifname_set(struct buf *b, enum nft_side side, bool negate, const char *set) {
    nft_x_meta(b, side == NFT_IN ? NFT_META_IIFNAME : NFT_META_OIFNAME, REG);
    x_lookup(b, REG, set, negate, false);
}

void nft_x_addr_net(struct buf *b, bool source, bool negate, const struct cidr4 *net) {
    uint32_t addr = htonl(cidr4_net(net)), mask = htonl(cidr4_mask(net->prefix));
    uint32_t offset = source ? 12 : 16;

    /* Prefixes of whole bytes load only those bytes, as the iptables-nft tool does. */
    if (net->prefix && net->prefix % 8 == 0) {
        nft_x_payload(b, NFT_PAYLOAD_NETWORK_HEADER, offset, net->prefix / 8u, NFT_REG_1);
        nft_x_cmp(b, NFT_REG_1, negate, &addr, net->prefix / 8u);
        return;
    }
    nft_x_payload(b, NFT_PAYLOAD_NETWORK_HEADER, offset, 4, NFT_REG_1);
    nft_x_bitwise(b, NFT_REG_1, &mask, sizeof(mask));
    nft_x_cmp(b, NFT_REG_1, negate, &addr, sizeof(addr));
}

void nft_x_addr_net6(struct buf *b, bool source, bool negate, const struct cidr6 *net) {
    struct in6_addr addr = cidr6_net(net), mask;
    uint32_t offset = source ? 8 : 24;

    if (net->prefix && net->prefix % 8 == 0) {
        nft_x_payload(b, NFT_PAYLOAD_NETWORK_HEADER, offset, net->prefix / 8u, NFT_REG_1);
        nft_x_cmp(b, NFT_REG_1, negate, &addr, net->prefix / 8u);
        return;
    }
    memset(&mask, 0xff, sizeof(mask));
    mask = cidr6_net(&(struct cidr6){mask, net->prefix});
    nft_x_payload(b, NFT_PAYLOAD_NETWORK_HEADER, offset, 16, NFT_REG_1);
    nft_x_bitwise(b, NFT_REG_1, &mask, sizeof(mask));
    nft_x_cmp(b, NFT_REG_1, negate, &addr, sizeof(addr));
}

void nft_x_dst_local(struct buf *b) {
    size_t d, at = expr_open(b, "fib", &d);
    uint32_t local = RTN_LOCAL;

    netl_put_be32(b, NFTA_FIB_DREG, REG);
    netl_put_be32(b, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    netl_put_be32(b, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
    expr_close(b, at, d);
    nft_x_cmp(b, REG, false, &local, sizeof(local));
}

static void x_ct_bits(struct buf *b, uint32_t key, uint32_t bits, bool negate) {
    size_t d, at = expr_open(b, "ct", &d);
    uint32_t zero = 0;

    netl_put_be32(b, NFTA_CT_KEY, key);
    netl_put_be32(b, NFTA_CT_DREG, REG);
    expr_close(b, at, d);
    nft_x_bitwise(b, REG, &bits, sizeof(bits));
    nft_x_cmp(b, REG, !negate, &zero, sizeof(zero));
}

void nft_x_ct_status_dnat(struct buf *b, bool negate) {
    x_ct_bits(b, NFT_CT_STATUS, IPS_DST_NAT, negate);
}
void nft_x_ct_state_new(struct buf *b) {
    x_ct_bits(b, NFT_CT_STATE, NF_CT_STATE_BIT(IP_CT_NEW), false);
}

void nft_x_dnat_map(struct buf *b, uint8_t family, bool with_addr, const char *map) {
    bool v6 = family == AF_INET6;
    uint32_t words = v6 ? 4 : 1; /* registers of an address */
    size_t d, at;

    nft_x_meta(b, NFT_META_L4PROTO, REG);
    if (with_addr)
        nft_x_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v6 ? 24 : 16, 4 * words, REG + 1);
    nft_x_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, with_addr ? REG + 1 + words : REG + 1);
    x_lookup(b, REG, map, false, true);
    at = expr_open(b, "nat", &d);
    netl_put_be32(b, NFTA_NAT_TYPE, NFT_NAT_DNAT);
    netl_put_be32(b, NFTA_NAT_FAMILY, family);
    netl_put_be32(b, NFTA_NAT_REG_ADDR_MIN, REG);
    netl_put_be32(b, NFTA_NAT_REG_PROTO_MIN, REG + words);
    expr_close(b, at, d);
}

/* They follow each other in the packet. */
void nft_x_addr_pair(struct buf *b, uint8_t family, const char *set) {
    bool v6 = family == AF_INET6;

    nft_x_payload(b, NFT_PAYLOAD_NETWORK_HEADER, v6 ? 8 : 12, v6 ? 32 : 8, REG);
    x_lookup(b, REG, set, false, false);
}

void nft_x_masquerade(struct buf *b) {
    size_t d, at = expr_open(b, "masq", &d);

    expr_close(b, at, d);
}

struct nft_rule nft_rule_open(struct buf *b, struct nft_table table, const char *chain) {
    struct nft_rule r;

    r.msg = nft_msg(b, table.family, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    netl_put_str(b, NFTA_RULE_TABLE, table.name);
    netl_put_str(b, NFTA_RULE_CHAIN, chain);
    r.list = netl_nest(b, NFTA_RULE_EXPRESSIONS);
    return r;
}

void nft_rule_close(struct buf *b, struct nft_rule r) {
    netl_nest_end(b, r.list);
    netl_end(b, r.msg);
}

/* ---- sets -------------------------------------------------------------------------------------------------------------------------- */

/* The message of a new set or map, to be closed by netl_end(). */
static size_t new_set(struct buf *b, struct nft_table table, const char *set, uint32_t id, uint32_t flags, uint32_t key_type, uint32_t key_len) {
    size_t m = nft_msg(b, table.family, NFT_MSG_NEWSET, NLM_F_CREATE);

    netl_put_str(b, NFTA_SET_TABLE, table.name);
    netl_put_str(b, NFTA_SET_NAME, set);
    netl_put_be32(b, NFTA_SET_FLAGS, flags);
    netl_put_be32(b, NFTA_SET_KEY_TYPE, key_type);
    netl_put_be32(b, NFTA_SET_KEY_LEN, key_len);
    netl_put_be32(b, NFTA_SET_ID, id);
    return m;
}

/* The message of elements that come or go; *ret_list is their list, to be closed first. */
static size_t set_elems(struct buf *b, struct nft_table table, const char *set, bool add, size_t *ret_list) {
    size_t m = nft_msg(b, table.family, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, add ? NLM_F_CREATE : 0);

    netl_put_str(b, NFTA_SET_ELEM_LIST_TABLE, table.name);
    netl_put_str(b, NFTA_SET_ELEM_LIST_SET, set);
    *ret_list = netl_nest(b, NFTA_SET_ELEM_LIST_ELEMENTS);
    return m;
}

/* A message of one element that is a key alone. */
static void one_key(struct buf *b, struct nft_table table, const char *set, const void *key, size_t len, bool add) {
    size_t list, m = set_elems(b, table, set, add, &list), el = netl_nest(b, 1);

    put_data(b, NFTA_SET_ELEM_KEY, key, len);
    netl_nest_end(b, el);
    netl_nest_end(b, list);
    netl_end(b, m);
}

void nft_add_ifname_set(struct buf *b, struct nft_table table, const char *set, uint32_t id) {
    /* For the nft tool only: keys are in host order (type 0, four bytes, 1). */
    static const unsigned char host_order[] = {0, 4, 1, 0, 0, 0};
    size_t m = new_set(b, table, set, id, 0, TYPE_IFNAME, IFNAMSIZ);

    netl_put(b, NFTA_SET_USERDATA, host_order, sizeof(host_order));
    netl_end(b, m);
}

void nft_ifname_elem(struct buf *b, struct nft_table table, const char *set, const char *ifname, bool add) {
    char name[IFNAMSIZ] = {0};

    memcpy(name, ifname, MIN(strlen(ifname), sizeof(name) - 1));
    one_key(b, table, set, name, sizeof(name), add);
}

static uint32_t addr_type(struct nft_table table) {
    return table.family == AF_INET6 ? TYPE_IP6ADDR : TYPE_IPADDR;
}

static uint32_t addr_len(struct nft_table table) {
    return table.family == AF_INET6 ? 16 : 4;
}

void nft_add_port_map(struct buf *b, struct nft_table table, const char *map, uint32_t id, bool with_addr) {
    uint32_t key = TYPE_PROTO, addr = addr_type(table), len = addr_len(table);
    size_t m;

    if (with_addr)
        key = key << TYPE_BITS | addr;
    key = key << TYPE_BITS | TYPE_PORT;
    m = new_set(b, table, map, id, NFT_SET_MAP, key, with_addr ? len + 8 : 8);
    netl_put_be32(b, NFTA_SET_DATA_TYPE, addr << TYPE_BITS | TYPE_PORT);
    netl_put_be32(b, NFTA_SET_DATA_LEN, len + 4);
    netl_end(b, m);
}

static size_t put_bytes(unsigned char *to, size_t at, const void *p, size_t n) {
    memcpy(to + at, p, n);
    return at + n;
}

/* The address of the port's container, in network byte order. */
static size_t put_addr(unsigned char *to, const struct nft_port *p) {
    uint32_t addr = htonl(p->addr);

    return p->v6 ? put_bytes(to, 0, &p->addr6, sizeof(p->addr6)) : put_bytes(to, 0, &addr, sizeof(addr));
}

static void port_elem(struct buf *b, const struct nft_port *p, bool with_addr, bool with_data) {
    unsigned char key[24] = {0}, data[20] = {0};
    uint32_t host = htonl(p->host_addr);
    uint16_t host_port = htons(p->host_port), port = htons(p->port);
    size_t el = netl_nest(b, 1), at = 4, n;

    key[0] = p->proto;
    if (with_addr)
        at = p->v6 ? put_bytes(key, at, &p->host6, sizeof(p->host6)) : put_bytes(key, at, &host, sizeof(host));
    put_bytes(key, at, &host_port, sizeof(host_port));
    n = put_addr(data, p);
    put_bytes(data, n, &port, sizeof(port));
    put_data(b, NFTA_SET_ELEM_KEY, key, at + 4);
    if (with_data)
        put_data(b, NFTA_SET_ELEM_DATA, data, n + 4);
    netl_nest_end(b, el);
}

/* Does it belong into the map of this family, with or without addresses? */
static bool is_of(const struct nft_port *p, uint8_t family, bool with_addr) {
    bool any = p->v6 ? IN6_IS_ADDR_UNSPECIFIED(&p->host6) : !p->host_addr;

    return p->v6 == (family == AF_INET6) && any != with_addr;
}

void nft_port_elems(struct buf *b, struct nft_table table, const char *map, bool with_addr, const struct nft_port *v, size_t n, bool add) {
    size_t i = 0;

    while (i < n) {
        size_t m, list, in = 0;

        /* Skip to the first one for this map; an empty message would be an error. */
        while (i < n && !is_of(&v[i], table.family, with_addr))
            i++;
        if (i == n)
            return;
        m = set_elems(b, table, map, add, &list);
        for (; i < n && in < ELEMS_PER_MSG; i++) {
            if (!is_of(&v[i], table.family, with_addr))
                continue;
            port_elem(b, &v[i], with_addr, add);
            in++;
        }
        netl_nest_end(b, list);
        netl_end(b, m);
    }
}

/* ---- pairs of addresses ------------------------------------------------------------------------------------------------------------ */

void nft_add_pair_set(struct buf *b, struct nft_table table, const char *set, uint32_t id) {
    uint32_t addr = addr_type(table);

    netl_end(b, new_set(b, table, set, id, 0, addr << TYPE_BITS | addr, 2 * addr_len(table)));
}

void nft_self_elems(struct buf *b, struct nft_table table, const char *set, const struct nft_port *v, size_t n, bool add) {
    unsigned char before[16] = {0}, key[32];

    for (size_t i = 0; i < n; i++) {
        size_t len;

        if (v[i].v6 != (table.family == AF_INET6))
            continue;
        len = put_addr(key, &v[i]);
        /* Ports of one container follow each other. */
        if (memcmp(before, key, len) == 0)
            continue;
        memcpy(before, key, len);
        memcpy(key + len, before, len);
        one_key(b, table, set, key, 2 * len, add);
    }
}
