// SPDX-License-Identifier: Apache-2.0
/* Rules in the words of iptables-save, in the encoding of iptables-nft. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_conntrack.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/strv.h"
#include "netplane/nft-internal.h"
#include "netplane/nft.h"

struct line {
    const struct strv *words;
    size_t at;
    bool negate;
    bool v6;
    bool compat; /* an xt extension is in use: the rule carries a compat attribute */
    uint8_t proto;
};

static const char *next(struct line *l) {
    return l->at < l->words->n ? l->words->v[l->at++] : NULL;
}

static int bad(const struct line *l, const char *what, struct err *e) {
    return err_set(e, ERR_INVALID, "firewall rule: %s: \"%s\"", what, l->at && l->at <= l->words->n ? l->words->v[l->at - 1] : "");
}

static void x_ifname(struct buf *b, uint32_t key, bool negate, const char *name) {
    size_t n = strlen(name);

    nft_x_meta(b, key, NFT_REG_1);
    /* "veth+" is a prefix: compared without the NUL. */
    if (n && name[n - 1] == '+')
        nft_x_cmp(b, NFT_REG_1, negate, name, n - 1);
    else
        nft_x_cmp(b, NFT_REG_1, negate, name, n + 1);
}

static int x_ctstate(struct buf *b, const char *list, struct err *e) {
    static const struct {
        const char *name;
        uint16_t bit;
    } states[] = {
        {"NEW", XT_CONNTRACK_STATE_BIT(IP_CT_NEW)},
        {"ESTABLISHED", XT_CONNTRACK_STATE_BIT(IP_CT_ESTABLISHED)},
        {"RELATED", XT_CONNTRACK_STATE_BIT(IP_CT_RELATED)},
        {"INVALID", XT_CONNTRACK_STATE_INVALID},
        {"DNAT", XT_CONNTRACK_STATE_DNAT},
        {"SNAT", XT_CONNTRACK_STATE_SNAT},
    };
    /* The kernel compares the aligned size. */
    union {
        struct xt_conntrack_mtinfo3 info;
        char space[XT_ALIGN(sizeof(struct xt_conntrack_mtinfo3))];
    } u = {0};
    _cleanup_strv_ struct strv names = STRV_INIT;

    if (strv_split(&names, list, ',') < 0)
        return err_oom(e);
    for (size_t i = 0; i < names.n; i++) {
        size_t k = 0;

        while (k < ELEMENTSOF(states) && !streq(states[k].name, names.v[i]))
            k++;
        if (k == ELEMENTSOF(states))
            return err_set(e, ERR_INVALID, "firewall rule: unknown connection state \"%s\"", names.v[i]);
        u.info.state_mask |= states[k].bit;
    }
    u.info.match_flags = XT_CONNTRACK_STATE;
    nft_x_compat(b, false, "conntrack", 3, &u, sizeof(u));
    return 0;
}

static int port_of(const char *s, uint16_t *ret) {
    int64_t v = 0;

    if (!s || parse_int_range(s, 1, UINT16_MAX, &v) < 0)
        return -EINVAL;
    *ret = (uint16_t)v;
    return 0;
}

/* What SNAT and MASQUERADE of IPv4 take. */
union ipv4_range {
    struct nf_nat_ipv4_multi_range_compat range;
    char space[XT_ALIGN(sizeof(struct nf_nat_ipv4_multi_range_compat))];
};

/* The same for IPv6. */
union ipv6_range {
    struct nf_nat_range range;
    char space[XT_ALIGN(sizeof(struct nf_nat_range))];
};

static int x_dnat(struct line *l, struct buf *b, struct err *e) {
    union {
        struct nf_nat_range2 range;
        char space[XT_ALIGN(sizeof(struct nf_nat_range2))];
    } u = {0};
    const char *opt = next(l), *to = next(l), *colon;
    char addr[IPV4_TEXT_MAX] = "";
    uint32_t ip = 0;
    uint16_t port = 0;

    if (!opt || !streq(opt, "--to-destination") || !to || !(colon = strchr(to, ':')) || (size_t)(colon - to) >= sizeof(addr))
        return bad(l, "DNAT needs --to-destination address:port", e);
    memcpy(addr, to, (size_t)(colon - to));
    if (ipv4_parse(addr, &ip) < 0 || port_of(colon + 1, &port) < 0)
        return bad(l, "bad destination", e);
    u.range.flags = NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED;
    u.range.min_addr.ip = u.range.max_addr.ip = htonl(ip);
    u.range.min_proto.tcp.port = u.range.max_proto.tcp.port = htons(port);
    nft_x_compat(b, true, "DNAT", 2, &u, sizeof(u));
    l->compat = true;
    return 0;
}

/* "--to-source :PORT": the address stays; "--to-source ADDRESS": the port stays where it can. */
static int x_snat(struct line *l, struct buf *b, struct err *e) {
    union ipv4_range u = {.range = {.rangesize = 1}};
    union ipv6_range u6 = {.range = {.flags = NF_NAT_RANGE_MAP_IPS}};
    const char *opt = next(l), *to = next(l);
    uint16_t port = 0;
    uint32_t ip = 0;

    l->compat = true;
    if (!opt || !streq(opt, "--to-source") || !to)
        return bad(l, "SNAT needs --to-source", e);
    if (l->v6) {
        if (inet_pton(AF_INET6, to, &u6.range.min_addr.in6) != 1)
            return bad(l, "bad source", e);
        u6.range.max_addr = u6.range.min_addr;
        nft_x_compat(b, true, "SNAT", 1, &u6, sizeof(u6));
        return 0;
    }
    if (*to == ':' && port_of(to + 1, &port) == 0) {
        u.range.range[0].flags = NF_NAT_RANGE_PROTO_SPECIFIED;
        u.range.range[0].min.tcp.port = u.range.range[0].max.tcp.port = htons(port);
    } else if (ipv4_parse(to, &ip) == 0) {
        u.range.range[0].flags = NF_NAT_RANGE_MAP_IPS;
        u.range.range[0].min_ip = u.range.range[0].max_ip = htonl(ip);
    } else {
        return bad(l, "bad source", e);
    }
    nft_x_compat(b, true, "SNAT", 0, &u, sizeof(u));
    return 0;
}

static void x_masquerade(struct line *l, struct buf *b) {
    union ipv4_range u = {.range = {.rangesize = 1}};
    union ipv6_range u6 = {0};

    if (l->v6)
        nft_x_compat(b, true, "MASQUERADE", 0, &u6, sizeof(u6));
    else
        nft_x_compat(b, true, "MASQUERADE", 0, &u, sizeof(u));
    l->compat = true;
}

static int x_target(struct line *l, struct buf *b, struct err *e) {
    const char *name = next(l);

    if (!name)
        return bad(l, "no target after -j", e);
    nft_x_counter(b);
    if (streq(name, "ACCEPT")) {
        nft_x_verdict(b, NF_ACCEPT, NULL);
    } else if (streq(name, "DROP")) {
        nft_x_verdict(b, NF_DROP, NULL);
    } else if (streq(name, "RETURN")) {
        nft_x_verdict(b, NFT_RETURN, NULL);
    } else if (streq(name, "MASQUERADE")) {
        x_masquerade(l, b);
    } else if (streq(name, "DNAT")) {
        return x_dnat(l, b, e);
    } else if (streq(name, "SNAT")) {
        return x_snat(l, b, e);
    } else {
        nft_x_verdict(b, NFT_JUMP, name);
    }
    return 0;
}

static int x_module(struct line *l, struct buf *b, struct err *e) {
    const char *name = next(l), *opt, *value;

    if (!name)
        return bad(l, "no name after -m", e);
    if (streq(name, "tcp") || streq(name, "udp") || streq(name, "sctp"))
        return 0;
    opt = next(l);
    value = next(l);
    if (!opt || !value)
        return bad(l, "option expected", e);
    l->compat = true;
    if (streq(name, "conntrack") && streq(opt, "--ctstate"))
        return x_ctstate(b, value, e);
    if (streq(name, "addrtype") && streq(value, "LOCAL") && (streq(opt, "--dst-type") || streq(opt, "--src-type"))) {
        struct xt_addrtype_info_v1 info = {0};

        *(streq(opt, "--dst-type") ? &info.dest : &info.source) = XT_ADDRTYPE_LOCAL;
        nft_x_compat(b, false, "addrtype", 1, &info, sizeof(info));
        return 0;
    }
    return bad(l, "unknown match", e);
}

static int x_protocol(struct line *l, struct buf *b, struct err *e) {
    const char *name = next(l);

    l->proto = !name ? 0 : streq(name, "tcp") ? IPPROTO_TCP : streq(name, "udp") ? IPPROTO_UDP : streq(name, "sctp") ? IPPROTO_SCTP : 0;
    if (!l->proto)
        return bad(l, "unknown protocol", e);
    nft_x_meta(b, NFT_META_L4PROTO, NFT_REG_1);
    nft_x_cmp(b, NFT_REG_1, l->negate, &l->proto, 1);
    return 0;
}

static int x_word(struct line *l, const char *w, struct buf *b, struct err *e) {
    if (streq(w, "-i") || streq(w, "-o")) {
        const char *name = next(l);

        if (!name || strlen(name) >= IFNAMSIZ)
            return bad(l, "bad interface", e);
        x_ifname(b, w[1] == 'i' ? NFT_META_IIFNAME : NFT_META_OIFNAME, l->negate, name);
    } else if (streq(w, "-s") || streq(w, "-d")) {
        const char *s = next(l);
        struct cidr4 net = {.prefix = 32};
        struct cidr6 net6;

        if (l->v6 && s && cidr6_parse(s, &net6) == 0) {
            nft_x_addr_net6(b, w[1] == 's', l->negate, &net6);
            return 0;
        }
        if (l->v6 || !s || (cidr4_parse(s, &net) < 0 && ipv4_parse(s, &net.addr) < 0))
            return bad(l, "bad address", e);
        nft_x_addr_net(b, w[1] == 's', l->negate, &net);
    } else if (streq(w, "--dport") || streq(w, "--sport")) {
        uint16_t port = 0;

        if (!l->proto || port_of(next(l), &port) < 0)
            return bad(l, "bad port", e);
        port = htons(port);
        nft_x_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, w[2] == 's' ? 0 : 2, 2, NFT_REG_1);
        nft_x_cmp(b, NFT_REG_1, l->negate, &port, sizeof(port));
    } else if (streq(w, "-p")) {
        return x_protocol(l, b, e);
    } else if (streq(w, "-m")) {
        return x_module(l, b, e);
    } else if (streq(w, "-j")) {
        return x_target(l, b, e);
    } else {
        return bad(l, "unknown word", e);
    }
    return 0;
}

int nft_rule_iptables(struct buf *b, struct nft_table table, const char *line, const char *key, uint64_t after, struct err *e) {
    _cleanup_strv_ struct strv words = STRV_INIT;
    struct line l = {.words = &words, .v6 = table.family == AF_INET6};
    unsigned char mark[NFT_MARK_BYTES + NFT_KEY_MAX] = {NFT_MARK_TYPE, 0};
    bool insert;
    size_t m, list;
    const char *w;
    int r;

    if (strv_split(&words, line, ' ') < 0)
        return err_oom(e);
    insert = words.n && streq(words.v[0], "-I");
    if (words.n < 2 || (!insert && !streq(words.v[0], "-A")))
        return err_set(e, ERR_INVALID, "firewall rule: \"%s\" does not begin with -A CHAIN or -I CHAIN", line);
    l.at = 2;
    m = nft_msg(b, table.family, NFT_MSG_NEWRULE, NLM_F_CREATE | (insert && !after ? 0 : NLM_F_APPEND));
    netl_put_str(b, NFTA_RULE_TABLE, table.name);
    netl_put_str(b, NFTA_RULE_CHAIN, words.v[1]);
    if (insert && after)
        netl_put_be64(b, NFTA_RULE_POSITION, after);
    list = netl_nest(b, NFTA_RULE_EXPRESSIONS);
    while ((w = next(&l))) {
        if (streq(w, "!")) {
            l.negate = true;
            continue;
        }
        r = x_word(&l, w, b, e);
        if (r < 0)
            return r;
        l.negate = false;
    }
    netl_nest_end(b, list);
    if (l.compat) {
        size_t c = netl_nest(b, NFTA_RULE_COMPAT);

        netl_put_be32(b, NFTA_RULE_COMPAT_PROTO, l.proto);
        netl_put_be32(b, NFTA_RULE_COMPAT_FLAGS, 0);
        netl_nest_end(b, c);
    }
    if (key) {
        size_t n = MIN(strlen(key), (size_t)NFT_KEY_MAX);

        mark[1] = (unsigned char)(sizeof(NFT_MARK_TEXT) + n);
        memcpy(mark + 2, NFT_MARK_TEXT, sizeof(NFT_MARK_TEXT));
        memcpy(mark + NFT_MARK_BYTES, key, n);
        netl_put(b, NFTA_RULE_USERDATA, mark, NFT_MARK_BYTES + n);
    }
    netl_end(b, m);
    return 0;
}
