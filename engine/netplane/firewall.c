// SPDX-License-Identifier: Apache-2.0
#include "netplane/firewall.h"

/* The C library's names first: the kernel's headers then leave them alone. */
#include <netinet/in.h>

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter_ipv4.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"

#define OWN "hatake"
#define BRIDGES "bridges"
#define GUARDED "guarded"
#define MAP_ANY "any"
#define MAP_BOUND "bound"
#define KEY_MAX 40

struct firewall {
    struct firewall_config config;
    struct netl_sock nl;
    pthread_mutex_t lock; /* order of changes and the map of ports; the kernel answers netlink at once, so holding it is short */
    struct map ports;     /* "proto/host/port" -> struct nft_port */
    struct map through;   /* key -> struct strv *, lines for DOCKER */
    bool installed;       /* our table has been written */
};

static void port_key(const struct nft_port *p, char ret[KEY_MAX]) {
    snprintf(ret, KEY_MAX, "%u/%x/%u", p->proto, p->host_addr, p->host_port);
}

/* ---- plan -------------------------------------------------------------------------------------------------------------------------- */

#define ADD(...)                                                                                                                                     \
    do {                                                                                                                                             \
        if (strv_addf(ret, __VA_ARGS__) < 0)                                                                                                         \
            return err_oom(e);                                                                                                                       \
    } while (0)

/* Bridges made later come first, as in the reference, which inserts at the head. */
int firewall_plan_filter(const struct firewall_config *c, const struct firewall_bridge *v, size_t n, struct strv *ret, struct err *e) {
    ADD("-A FORWARD -j DOCKER-USER");
    ADD("-A FORWARD -j DOCKER-ISOLATION-STAGE-1");
    for (size_t i = n; i-- > 0;) {
        const char *br = v[i].ifname;

        if (v[i].internal) {
            if (v[i].icc)
                ADD("-A FORWARD -i %s -o %s -j ACCEPT", br, br);
            continue;
        }
        ADD("-A FORWARD -o %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", br);
        ADD("-A FORWARD -o %s -j DOCKER", br);
        ADD("-A FORWARD -i %s ! -o %s -j ACCEPT", br, br);
        if (v[i].icc)
            ADD("-A FORWARD -i %s -o %s -j ACCEPT", br, br);
    }
    for (size_t i = 0; i < n; i++) {
        if (!v[i].icc)
            ADD("-A FORWARD -i %s -o %s -j DROP", v[i].ifname, v[i].ifname);
    }
    for (size_t i = n; i-- > 0;) {
        if (!v[i].internal)
            ADD("-A DOCKER ! -i %s -o %s -m conntrack --ctstate DNAT -j ACCEPT", v[i].ifname, v[i].ifname);
    }
    for (size_t i = n; i-- > 0;) {
        char net[CIDR4_TEXT_MAX];

        cidr4_format_net(&v[i].subnet, net);
        if (v[i].internal) {
            ADD("-A DOCKER-ISOLATION-STAGE-1 ! -s %s -o %s -j DROP", net, v[i].ifname);
            ADD("-A DOCKER-ISOLATION-STAGE-1 ! -d %s -i %s -j DROP", net, v[i].ifname);
        } else {
            ADD("-A DOCKER-ISOLATION-STAGE-1 -i %s ! -o %s -j DOCKER-ISOLATION-STAGE-2", v[i].ifname, v[i].ifname);
        }
    }
    ADD("-A DOCKER-ISOLATION-STAGE-1 -j RETURN");
    for (size_t i = n; i-- > 0;) {
        if (!v[i].internal)
            ADD("-A DOCKER-ISOLATION-STAGE-2 -o %s -j DROP", v[i].ifname);
    }
    ADD("-A DOCKER-ISOLATION-STAGE-2 -j RETURN");
    return 0;
}

int firewall_plan_nat(const struct firewall_config *c, const struct firewall_bridge *v, size_t n, struct strv *ret, struct err *e) {
    ADD("-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER");
    if (c->proxied)
        ADD("-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER");
    else
        ADD("-A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER");
    for (size_t i = n; i-- > 0;) {
        char net[CIDR4_TEXT_MAX];

        if (!v[i].masquerade || v[i].internal)
            continue;
        cidr4_format_net(&v[i].subnet, net);
        if (!c->proxied)
            ADD("-A POSTROUTING -o %s -m addrtype --src-type LOCAL -j MASQUERADE", v[i].ifname);
        ADD("-A POSTROUTING -s %s ! -o %s -j MASQUERADE", net, v[i].ifname);
    }
    for (size_t i = n; c->proxied && i-- > 0;) {
        if (v[i].masquerade && !v[i].internal)
            ADD("-A DOCKER -i %s -j RETURN", v[i].ifname);
    }
    return 0;
}

/* ---- life -------------------------------------------------------------------------------------------------------------------------- */

int firewall_new(const struct firewall_config *c, struct firewall **ret, struct err *e) {
    struct firewall *f = calloc(1, sizeof(*f));
    int r;

    if (!f)
        return err_oom(e);
    f->config = *c;
    f->nl.fd = -EBADF;
    if (c->enabled) {
        r = netl_open(&f->nl, NETLINK_NETFILTER, e);
        if (r < 0) {
            free(f);
            return r;
        }
    }
    pthread_mutex_init(&f->lock, NULL);
    *ret = f;
    return 0;
}

static void free_lines(void *p) {
    strv_done(p);
    free(p);
}

struct firewall *firewall_free(struct firewall *f) {
    if (!f)
        return NULL;
    netl_close(&f->nl);
    map_done_with(&f->ports, free);
    map_done_with(&f->through, free_lines);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return NULL;
}

/* ---- the shared tables ------------------------------------------------------------------------------------------------------------- */

/* Rules of built-in chains that go before whatever is there; their own order is kept by inserting backwards. */
static bool goes_first(const char *line) {
    if (str_has_prefix(line, "-A FORWARD "))
        return !str_has_suffix(line, " -j DROP");
    return str_has_prefix(line, "-A POSTROUTING ");
}

static int put_rules(struct buf *b, const char *table, const struct strv *lines, struct err *e) {
    int r = 0;

    for (size_t i = lines->n; r == 0 && i-- > 0;) {
        if (goes_first(lines->v[i]))
            r = nft_rule_iptables(b, table, lines->v[i], true, e);
    }
    for (size_t i = 0; r == 0 && i < lines->n; i++) {
        if (!goes_first(lines->v[i]))
            r = nft_rule_iptables(b, table, lines->v[i], false, e);
    }
    return r;
}

static int put_filter(struct firewall *f, struct buf *b, const struct firewall_bridge *v, size_t n, struct err *e) {
    static const char *const chains[] = {"DOCKER", "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2"};
    _cleanup_strv_ struct strv lines = STRV_INIT;
    bool user = false;
    int r = firewall_plan_filter(&f->config, v, n, &lines, e);

    for (struct map_entry *i = NULL; r == 0 && (i = map_next(&f->through, i));) {
        const struct strv *more = i->value;

        for (size_t k = 0; r == 0 && k < more->n; k++)
            r = strv_add(&lines, more->v[k]) < 0 ? err_oom(e) : 0;
    }
    if (r == 0)
        r = nft_chain_has_rules(&f->nl, "filter", "DOCKER-USER", &user, e);
    if (r < 0)
        return r;
    nft_add_table(b, "filter");
    nft_add_base_chain(b, "filter", "FORWARD", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER, f->config.drop_forward ? NF_DROP : -1);
    nft_add_chain(b, "filter", "DOCKER-USER");
    for (size_t i = 0; i < ELEMENTSOF(chains); i++)
        nft_add_chain(b, "filter", chains[i]);
    /* Removing by handle comes before flushing: a rule removed twice in one transaction is an error. */
    r = nft_forget_ours(&f->nl, b, "filter", e);
    if (r < 0)
        return r;
    r = put_rules(b, "filter", &lines, e);
    if (r == 0 && !user)
        r = nft_rule_iptables_unmarked(b, "filter", "-A DOCKER-USER -j RETURN", e);
    return r;
}

static int put_nat(struct firewall *f, struct buf *b, const struct firewall_bridge *v, size_t n, struct err *e) {
    _cleanup_strv_ struct strv lines = STRV_INIT;
    int r = firewall_plan_nat(&f->config, v, n, &lines, e);

    if (r < 0)
        return r;
    nft_add_table(b, "nat");
    nft_add_base_chain(b, "nat", "PREROUTING", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST, -1);
    nft_add_base_chain(b, "nat", "OUTPUT", "nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST, -1);
    nft_add_base_chain(b, "nat", "POSTROUTING", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC, -1);
    nft_add_chain(b, "nat", "DOCKER");
    r = nft_forget_ours(&f->nl, b, "nat", e);
    return r < 0 ? r : put_rules(b, "nat", &lines, e);
}

/* ---- our own table ----------------------------------------------------------------------------------------------------------------- */

static void put_own_rules(struct firewall *f, struct buf *b) {
    static const struct cidr4 loopback = {0x7f000000, 8};
    struct nft_rule r;

    for (int source = 0; source < 2; source++) {
        r = nft_rule_open(b, OWN, "loopback");
        nft_x_ifname_set(b, NFT_IN, false, BRIDGES);
        nft_x_addr_net(b, source, false, &loopback);
        nft_x_verdict(b, NF_DROP, NULL);
        nft_rule_close(b, r);
    }
    if (f->config.proxied) {
        r = nft_rule_open(b, OWN, "arriving");
        nft_x_ifname_set(b, NFT_IN, false, BRIDGES);
        nft_x_verdict(b, NFT_RETURN, NULL);
        nft_rule_close(b, r);
    }
    for (int out = 0; out < 2; out++) {
        r = nft_rule_open(b, OWN, out ? "local" : "arriving");
        nft_x_dst_local(b);
        nft_x_verdict(b, NFT_JUMP, "published");
        nft_rule_close(b, r);
    }
    for (int any = 0; any < 2; any++) {
        r = nft_rule_open(b, OWN, "published");
        nft_x_dnat_map(b, !any, any ? MAP_ANY : MAP_BOUND);
        nft_rule_close(b, r);
    }
    /* What came from loopback must come back: the container sees the bridge's own address, as it does with a proxy. */
    r = nft_rule_open(b, OWN, "leaving");
    nft_x_ifname_set(b, NFT_OUT, false, BRIDGES);
    nft_x_addr_net(b, true, false, &loopback);
    nft_x_masquerade(b);
    nft_rule_close(b, r);
    if (!f->config.proxied) {
        /* A container that reaches a neighbour (or itself) by a published port: the answer must pass here again. */
        r = nft_rule_open(b, OWN, "leaving");
        nft_x_ifname_set(b, NFT_OUT, false, BRIDGES);
        nft_x_ifname_set(b, NFT_IN, false, BRIDGES);
        nft_x_ct_status_dnat(b, false);
        nft_x_masquerade(b);
        nft_rule_close(b, r);
    }
    r = nft_rule_open(b, OWN, "guard");
    nft_x_ifname_set(b, NFT_OUT, false, GUARDED);
    nft_x_ifname_set(b, NFT_IN, true, BRIDGES);
    nft_x_ct_state_new(b);
    nft_x_ct_status_dnat(b, true);
    nft_x_counter(b);
    nft_x_verdict(b, NF_DROP, NULL);
    nft_rule_close(b, r);
}

static void put_own(struct firewall *f, struct buf *b, const struct firewall_bridge *v, size_t n) {
    /* Adding first makes the removal legal when there is none. */
    nft_add_table(b, OWN);
    nft_del_table(b, OWN);
    nft_add_table(b, OWN);
    nft_add_ifname_set(b, OWN, BRIDGES, 1);
    nft_add_ifname_set(b, OWN, GUARDED, 2);
    nft_add_port_map(b, OWN, MAP_ANY, 3, false);
    nft_add_port_map(b, OWN, MAP_BOUND, 4, true);
    nft_add_base_chain(b, OWN, "loopback", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW, NF_ACCEPT);
    /* One step after the shared nat table: rules of the machine's owner win. */
    nft_add_base_chain(b, OWN, "arriving", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST + 1, NF_ACCEPT);
    nft_add_base_chain(b, OWN, "local", "nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST + 1, NF_ACCEPT);
    nft_add_base_chain(b, OWN, "leaving", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC - 1, NF_ACCEPT);
    nft_add_base_chain(b, OWN, "guard", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER - 1, NF_ACCEPT);
    nft_add_chain(b, OWN, "published");
    put_own_rules(f, b);
    for (size_t i = 0; i < n; i++) {
        nft_ifname_elem(b, OWN, BRIDGES, v[i].ifname, true);
        if (v[i].guard)
            nft_ifname_elem(b, OWN, GUARDED, v[i].ifname, true);
    }
}

static void put_ports(struct buf *b, const struct nft_port *v, size_t n, bool add) {
    nft_port_elems(b, OWN, MAP_ANY, false, v, n, add);
    nft_port_elems(b, OWN, MAP_BOUND, true, v, n, add);
}

static int put_known_ports(struct firewall *f, struct buf *b, struct err *e) {
    struct nft_port *v = NULL;
    size_t n = 0;

    if (!f->ports.n)
        return 0;
    v = calloc(f->ports.n, sizeof(*v));
    if (!v)
        return err_oom(e);
    for (struct map_entry *i = NULL; (i = map_next(&f->ports, i));)
        v[n++] = *(struct nft_port *)i->value;
    put_ports(b, v, n, true);
    free(v);
    return 0;
}

int firewall_apply(struct firewall *f, const struct firewall_bridge *v, size_t n, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(NETL_BATCH_MAX);
    int r;

    if (!f->config.enabled)
        return 0;
    pthread_mutex_lock(&f->lock);
    nft_begin(&b);
    r = put_filter(f, &b, v, n, e);
    if (r == 0)
        r = put_nat(f, &b, v, n, e);
    if (r == 0) {
        put_own(f, &b, v, n);
        r = put_known_ports(f, &b, e);
    }
    if (r == 0)
        r = nft_commit(&f->nl, &b, NULL, e);
    if (r == 0)
        f->installed = true;
    pthread_mutex_unlock(&f->lock);
    return r;
}

bool firewall_intact(struct firewall *f) {
    bool own = false, shared = false;

    if (!f->config.enabled)
        return true;
    if (nft_chain_has_rules(&f->nl, OWN, "loopback", &own, NULL) < 0 ||
        nft_chain_has_rules(&f->nl, "filter", "DOCKER-ISOLATION-STAGE-1", &shared, NULL) < 0)
        return false;
    return own && shared;
}

/* ---- ports ------------------------------------------------------------------------------------------------------------------------- */

static void forget_ports(struct firewall *f, const struct nft_port *v, size_t n) {
    char key[KEY_MAX];

    for (size_t i = 0; i < n; i++) {
        port_key(&v[i], key);
        free(map_remove(&f->ports, key));
    }
}

static int remember_ports(struct firewall *f, const struct nft_port *v, size_t n, struct err *e) {
    char key[KEY_MAX];

    for (size_t i = 0; i < n; i++) {
        struct nft_port *p = malloc(sizeof(*p));
        void *old = NULL;

        port_key(&v[i], key);
        if (p)
            *p = v[i];
        if (!p || map_set(&f->ports, key, p, &old) < 0) {
            free(p);
            forget_ports(f, v, i);
            return err_oom(e);
        }
        free(old);
    }
    return 0;
}

int firewall_remember(struct firewall *f, const struct nft_port *v, size_t n, struct err *e) {
    int r;

    pthread_mutex_lock(&f->lock);
    r = remember_ports(f, v, n, e);
    pthread_mutex_unlock(&f->lock);
    return r;
}

/* Parts of a tuple that a conntrack filter compares (nf_conntrack_netlink.c; the header does not have them). */
#define FILTER_PROTO_NUM (1u << 3)
#define FILTER_PROTO_DST_PORT (1u << 5)

/*
 * UDP flows outlive the rules that made them: one that was rewritten to a container now gone would reach whoever gets its address, one that was not
 * rewritten would go on missing the container. A kernel without filtered flush (before 5.8) keeps them until they time out.
 */
static void forget_udp_flows(struct firewall *f, const struct nft_port *v, size_t n) {
    _cleanup_buf_ struct buf b = BUF_INIT(NETL_BATCH_MAX);
    struct nfgenmsg head = {.nfgen_family = NFPROTO_IPV4, .version = 1};

    for (size_t i = 0; i < n; i++) {
        uint16_t port = htons(v[i].host_port);
        size_t m, tuple, proto, filter;

        if (v[i].proto != IPPROTO_UDP)
            continue;
        m = netl_begin(&b, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, NLM_F_ACK, &head, sizeof(head));
        tuple = netl_nest(&b, CTA_TUPLE_ORIG);
        proto = netl_nest(&b, CTA_TUPLE_PROTO);
        netl_put_u8(&b, CTA_PROTO_NUM, IPPROTO_UDP);
        netl_put(&b, CTA_PROTO_DST_PORT, &port, sizeof(port));
        netl_nest_end(&b, proto);
        netl_nest_end(&b, tuple);
        filter = netl_nest(&b, CTA_FILTER);
        netl_put_u32(&b, CTA_FILTER_ORIG_FLAGS, FILTER_PROTO_NUM | FILTER_PROTO_DST_PORT);
        netl_put_u32(&b, CTA_FILTER_REPLY_FLAGS, 0);
        netl_nest_end(&b, filter);
        netl_end(&b, m);
    }
    if (b.len)
        ignore_result(netl_talk(&f->nl, &b, NULL, NULL, NULL) < 0);
}

int firewall_publish(struct firewall *f, const struct nft_port *v, size_t n, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(NETL_BATCH_MAX);
    int r;

    if (!f->config.enabled || !n)
        return 0;
    pthread_mutex_lock(&f->lock);
    r = remember_ports(f, v, n, e);
    if (r == 0) {
        nft_begin(&b);
        put_ports(&b, v, n, true);
        r = nft_commit(&f->nl, &b, NULL, e);
        if (r < 0)
            forget_ports(f, v, n);
        else
            forget_udp_flows(f, v, n);
    }
    pthread_mutex_unlock(&f->lock);
    return r;
}

void firewall_withdraw(struct firewall *f, const struct nft_port *v, size_t n) {
    _cleanup_buf_ struct buf b = BUF_INIT(NETL_BATCH_MAX);
    int why = 0;

    if (!f->config.enabled || !n)
        return;
    pthread_mutex_lock(&f->lock);
    forget_ports(f, v, n);
    nft_begin(&b);
    put_ports(&b, v, n, false);
    if (nft_commit(&f->nl, &b, &why, NULL) < 0 && why == ENOENT) {
        /* Somebody flushed the table: each one by itself, what is gone is gone. */
        for (size_t i = 0; i < n; i++) {
            nft_begin(&b);
            put_ports(&b, &v[i], 1, false);
            ignore_result(nft_commit(&f->nl, &b, NULL, NULL));
        }
    }
    forget_udp_flows(f, v, n);
    pthread_mutex_unlock(&f->lock);
}

/* ---- pairs that may talk ----------------------------------------------------------------------------------------------------------- */

int firewall_let_through(struct firewall *f, const char *key, const struct strv *lines, struct err *e) {
    struct strv *copy = calloc(1, sizeof(*copy));
    void *old = NULL;
    int r = copy && strv_copy(copy, lines) == 0 ? 0 : -ENOMEM;

    pthread_mutex_lock(&f->lock);
    if (r == 0)
        r = map_set(&f->through, key, copy, &old);
    pthread_mutex_unlock(&f->lock);
    if (r < 0)
        old = copy;
    if (old)
        free_lines(old);
    return r < 0 ? err_oom(e) : 0;
}

bool firewall_stop_through(struct firewall *f, const char *part) {
    bool any = false;

    pthread_mutex_lock(&f->lock);
    for (struct map_entry *i = NULL; (i = map_next(&f->through, i));) {
        if (!strstr(i->key, part))
            continue;
        free_lines(map_remove(&f->through, i->key));
        any = true;
    }
    pthread_mutex_unlock(&f->lock);
    return any;
}
