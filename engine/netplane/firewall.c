// SPDX-License-Identifier: Apache-2.0
#include "netplane/firewall.h"

/* The C library's names first: the kernel's headers then leave them alone. */
#include <netinet/in.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter_ipv4.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "netplane/firewall-internal.h"

#define KEY_MAX 80
/* Owners that are no bridge; an interface's name has no slash. */
#define FRAME "/"
#define JUMPS "/jumps"
#define THROUGH "/through"

static const char *const chains[] = {"FORWARD", "DOCKER",     "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2", "PREROUTING",
                                     "OUTPUT",  "POSTROUTING"};

static struct nft_table table_at(unsigned i) {
    return (struct nft_table){i < 2 ? AF_INET : AF_INET6, i % 2 ? "nat" : "filter"};
}

static unsigned n_tables(const struct firewall *f) {
    return f->config.enabled6 ? FIREWALL_TABLES : FIREWALL_TABLES / 2;
}

static void port_key(const struct nft_port *p, char ret[KEY_MAX]) {
    char addr[IPV6_TEXT_MAX] = "";

    if (p->v6)
        ipv6_format(&p->host6, addr);
    snprintf(ret, KEY_MAX, "%u/%x%s/%u", p->proto, p->host_addr, addr, p->host_port);
}

/* ---- life -------------------------------------------------------------------------------------------------------------------------- */

int firewall_new(const struct firewall_config *c, struct firewall **ret, struct err *e) {
    struct firewall *f = calloc(1, sizeof(*f));
    int r;

    if (!f)
        return err_oom(e);
    f->config = *c;
    f->nl.fd = f->events.fd = f->stop = -EBADF;
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

static void owner_free(void *p) {
    struct firewall_owner *o = p;

    if (o)
        free(o->v);
    free(o);
}

struct firewall *firewall_free(struct firewall *f) {
    if (!f)
        return NULL;
    firewall_unwatch(f);
    netl_close(&f->nl);
    map_done_with(&f->ports, free);
    map_done_with(&f->owners, owner_free);
    map_done_with(&f->through, free_lines);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return NULL;
}

void firewall_drop_forward6(struct firewall *f) {
    pthread_mutex_lock(&f->lock);
    f->forward6 = true;
    pthread_mutex_unlock(&f->lock);
}

/* ---- who owns which rule ----------------------------------------------------------------------------------------------------------- */

static int add_owner(struct firewall *f, const char *name, const struct firewall_bridge *b, struct err *e) {
    struct firewall_owner *o = calloc(1, sizeof(*o));
    void *old = NULL;

    if (o && b)
        o->bridge = *b;
    if (!o || map_set(&f->owners, name, o, &old) < 0) {
        free(o);
        return err_oom(e);
    }
    owner_free(old);
    return 0;
}

static int find_spot(const struct nft_ours *r, struct firewall_spot *ret) {
    for (uint8_t i = 0; i < FIREWALL_TABLES; i++) {
        for (uint8_t k = 0; k < ELEMENTSOF(chains); k++) {
            if (table_at(i).family == r->table.family && streq(table_at(i).name, r->table.name) && streq(chains[k], r->chain)) {
                *ret = (struct firewall_spot){i, k, r->handle};
                return 0;
            }
        }
    }
    return -ENOENT;
}

static int note_rule(const struct nft_ours *r, void *arg, struct err *e) {
    struct firewall *f = arg;
    struct firewall_owner *o = map_get(&f->owners, r->key);
    struct firewall_spot s, *v;

    if (!o || find_spot(r, &s) < 0)
        return 0;
    v = reallocarray(o->v, o->n + 1, sizeof(*v));
    if (!v)
        return err_oom(e);
    o->v = v;
    v[o->n++] = s;
    return 0;
}

static void del_rules(struct buf *b, const struct firewall_owner *o) {
    for (size_t i = 0; i < o->n; i++)
        nft_del_rule(b, table_at(o->v[i].table), chains[o->v[i].chain], o->v[i].handle);
}

/* ---- the shared tables ------------------------------------------------------------------------------------------------------------- */

typedef int (*plan_fn)(const struct firewall *f, const struct firewall_bridge *br, bool v6, struct firewall_lines *ret, struct err *e);

static int plan_frame(const struct firewall *f, const struct firewall_bridge *br, bool v6, struct firewall_lines *ret, struct err *e) {
    (void)br;
    return firewall_plan_frame(&f->config, v6, ret, e);
}
static int plan_bridge(const struct firewall *f, const struct firewall_bridge *br, bool v6, struct firewall_lines *ret, struct err *e) {
    return firewall_plan_bridge(&f->config, br, v6, ret, e);
}
static int plan_jumps(const struct firewall *f, const struct firewall_bridge *br, bool v6, struct firewall_lines *ret, struct err *e) {
    (void)f;
    (void)br;
    (void)v6;
    return firewall_plan_jumps(ret, e);
}

/* after: the rule of FORWARD behind which "at the head" is; 0: at the very head. */
static int put_lines(struct buf *b, struct nft_table table, const struct strv *lines, const char *owner, uint64_t after, struct err *e) {
    int r = 0;

    for (size_t i = 0; r == 0 && i < lines->n; i++)
        r = nft_rule_iptables(b, table, lines->v[i], owner, str_has_prefix(lines->v[i], "-I FORWARD ") ? after : 0, e);
    return r;
}

/* Rules of one owner, in all tables. after: for each family, NULL: none. */
static int put_plan(const struct firewall *f, struct buf *b, const char *owner, plan_fn plan, const struct firewall_bridge *br, const uint64_t *after,
                    struct err *e) {
    int r = 0;

    for (unsigned i = 0; r == 0 && i < n_tables(f); i += 2) {
        struct firewall_lines lines = {0};

        r = plan(f, br, i > 0, &lines, e);
        if (r == 0)
            r = put_lines(b, table_at(i), &lines.filter, owner, after ? after[i / 2] : 0, e);
        if (r == 0)
            r = put_lines(b, table_at(i + 1), &lines.nat, owner, 0, e);
        firewall_lines_done(&lines);
    }
    return r;
}

static int put_chains(struct firewall *f, struct buf *b, bool v6, struct err *e) {
    struct nft_table filter = table_at(v6 ? 2 : 0), nat = table_at(v6 ? 3 : 1);
    bool user = false, drop = v6 ? f->forward6 : f->config.drop_forward;
    int r = nft_chain_has_rules(&f->nl, filter, "DOCKER-USER", &user, e);

    if (r < 0)
        return r;
    nft_add_table(b, filter);
    nft_add_base_chain(b, filter, "FORWARD", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER, drop ? NF_DROP : -1);
    nft_add_chain(b, filter, "DOCKER-USER");
    for (size_t i = 1; i < 4; i++)
        nft_add_chain(b, filter, chains[i]);
    nft_add_table(b, nat);
    nft_add_base_chain(b, nat, "PREROUTING", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST, -1);
    nft_add_base_chain(b, nat, "OUTPUT", "nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST, -1);
    nft_add_base_chain(b, nat, "POSTROUTING", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC, -1);
    nft_add_chain(b, nat, "DOCKER");
    r = nft_forget_ours(&f->nl, b, filter, e);
    if (r == 0)
        r = nft_forget_ours(&f->nl, b, nat, e);
    if (r == 0 && !user)
        r = nft_rule_iptables(b, filter, "-A DOCKER-USER -j RETURN", NULL, 0, e);
    return r;
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
    firewall_put_ports(f, b, v, n, true);
    free(v);
    return 0;
}

static int put_through(struct firewall *f, struct buf *b, struct err *e) {
    int r = add_owner(f, THROUGH, NULL, e);

    for (struct map_entry *i = NULL; r == 0 && (i = map_next(&f->through, i));)
        r = put_lines(b, table_at(0), i->value, THROUGH, 0, e);
    return r;
}

static int put_all(struct firewall *f, struct buf *b, const struct firewall_bridge *v, size_t n, struct err *e) {
    int r = put_chains(f, b, false, e);

    if (r == 0 && f->config.enabled6)
        r = put_chains(f, b, true, e);
    if (r == 0)
        r = add_owner(f, FRAME, NULL, e);
    if (r == 0)
        r = add_owner(f, JUMPS, NULL, e);
    if (r == 0)
        r = put_plan(f, b, FRAME, plan_frame, NULL, NULL, e);
    for (int v6 = 0; v6 < firewall_families(f); v6++)
        firewall_put_own(f, b, v6);
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = add_owner(f, v[i].ifname, &v[i], e);
        if (r == 0)
            r = put_plan(f, b, v[i].ifname, plan_bridge, &v[i], NULL, e);
        for (int v6 = 0; v6 < firewall_families(f); v6++)
            firewall_put_own_bridge(b, &v[i], v6, true);
    }
    if (r == 0)
        r = put_through(f, b, e);
    if (r == 0)
        r = put_plan(f, b, JUMPS, plan_jumps, NULL, NULL, e);
    return r < 0 ? r : put_known_ports(f, b, e);
}

/* Where everything came to be. A dump, because the echo of so many rules would not fit into the socket. */
static int learn(struct firewall *f, struct err *e) {
    int r = 0;

    for (unsigned i = 0; r == 0 && i < n_tables(f); i++)
        r = nft_each_ours(&f->nl, table_at(i), note_rule, f, e);
    for (int v6 = 0; r == 0 && v6 < firewall_families(f); v6++)
        r = nft_count_rules(&f->nl, firewall_own_table(v6), &f->own_rules[v6], e);
    return r;
}

int firewall_apply(struct firewall *f, const struct firewall_bridge *v, size_t n, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(NETL_BATCH_MAX);
    int r;

    if (!f->config.enabled)
        return 0;
    pthread_mutex_lock(&f->lock);
    f->written = false;
    map_done_with(&f->owners, owner_free);
    f->owners = MAP_INIT;
    nft_begin(&b);
    r = put_all(f, &b, v, n, e);
    if (r == 0)
        r = nft_commit(&f->nl, &b, NULL, e);
    if (r == 0)
        r = learn(f, e);
    if (r == 0) {
        f->written = true;
        f->dropped6 = f->forward6;
    }
    pthread_mutex_unlock(&f->lock);
    return r;
}

/*
 * Are our jumps still the first rules of FORWARD? Then a new bridge's rules go behind them, and nothing is removed: a transaction that removes rules makes
 * the next one with iptables extensions wait until the kernel has freed them, which takes it some 10 ms.
 */
static bool jumps_first(struct firewall *f, uint64_t ret_after[2]) {
    const struct firewall_owner *o = map_get(&f->owners, JUMPS);

    for (unsigned t = 0; t < n_tables(f); t += 2) {
        uint64_t first[2] = {0, 0}, ours[2] = {0, 0};
        size_t n = 0, k = 0;

        for (size_t i = 0; i < o->n && k < 2; i++) {
            if (o->v[i].table == t)
                ours[k++] = o->v[i].handle;
        }
        /* The one made last is the first one. */
        if (k < 2 || nft_first_rules(table_at(t), chains[0], first, 2, &n, NULL) < 0 || n < 2 || MAX(ours[0], ours[1]) != first[0] ||
            MIN(ours[0], ours[1]) != first[1])
            return false;
        ret_after[t / 2] = first[1];
    }
    return true;
}

/* Rules of a new bridge, with those that must stay at the head. */
static int put_new_bridge(struct firewall *f, struct buf *b, const struct firewall_bridge *br, struct err *e) {
    struct firewall_owner *jumps = map_get(&f->owners, JUMPS);
    uint64_t after[2] = {0, 0};
    bool first = jumps_first(f, after);
    int r;

    nft_begin(b);
    if (f->config.enabled6 && f->forward6 && !f->dropped6)
        nft_add_base_chain(b, table_at(2), "FORWARD", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER, NF_DROP);
    if (!first)
        del_rules(b, jumps);
    r = put_plan(f, b, br->ifname, plan_bridge, br, first ? after : NULL, e);
    if (r == 0 && !first) {
        r = put_plan(f, b, JUMPS, plan_jumps, NULL, NULL, e);
        jumps->n = 0;
    }
    for (int v6 = 0; v6 < firewall_families(f); v6++)
        firewall_put_own_bridge(b, br, v6, true);
    return r;
}

int firewall_add_bridge(struct firewall *f, const struct firewall_bridge *br, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(NETL_BATCH_MAX);
    int r = 0;

    if (!f->config.enabled)
        return 0;
    pthread_mutex_lock(&f->lock);
    if (!f->written || map_has(&f->owners, br->ifname))
        r = err_set(e, ERR_CONFLICT, "firewall rules have to be written anew");
    if (r == 0)
        r = add_owner(f, br->ifname, br, e);
    if (r == 0)
        r = put_new_bridge(f, &b, br, e);
    if (r == 0)
        r = nft_commit_echo(&f->nl, &b, NULL, note_rule, f, e);
    if (r < 0)
        f->written = false;
    else
        f->dropped6 = f->forward6;
    pthread_mutex_unlock(&f->lock);
    return r;
}

int firewall_drop_bridge(struct firewall *f, const char *ifname, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(NETL_BATCH_MAX);
    struct firewall_owner *o;
    int r;

    if (!f->config.enabled)
        return 0;
    pthread_mutex_lock(&f->lock);
    o = map_get(&f->owners, ifname);
    if (!f->written || !o) {
        r = err_set(e, ERR_CONFLICT, "firewall rules have to be written anew");
    } else {
        nft_begin(&b);
        del_rules(&b, o);
        for (int v6 = 0; v6 < firewall_families(f); v6++)
            firewall_put_own_bridge(&b, &o->bridge, v6, false);
        r = nft_commit(&f->nl, &b, NULL, e);
    }
    if (r == 0)
        owner_free(map_remove(&f->owners, ifname));
    else
        f->written = false;
    pthread_mutex_unlock(&f->lock);
    return r;
}

/* ---- is it all there? -------------------------------------------------------------------------------------------------------------- */

struct tally {
    size_t n[FIREWALL_TABLES][ELEMENTSOF(chains)];
};

static int count_rule(const struct nft_ours *r, void *arg, struct err *e) {
    struct tally *t = arg;
    struct firewall_spot s;

    (void)e;
    if (find_spot(r, &s) == 0)
        t->n[s.table][s.chain]++;
    return 0;
}

/* A chain that lost all of its rules was flushed; one that lost some has an owner who wants it so. */
static bool flushed(struct firewall *f) {
    struct tally have = {0}, want = {0};
    size_t own = 0;

    for (struct map_entry *i = NULL; (i = map_next(&f->owners, i));) {
        const struct firewall_owner *o = i->value;

        for (size_t k = 0; k < o->n; k++)
            want.n[o->v[k].table][o->v[k].chain]++;
    }
    for (unsigned i = 0; i < n_tables(f); i++) {
        if (nft_each_ours(&f->nl, table_at(i), count_rule, &have, NULL) < 0)
            return true;
        for (size_t k = 0; k < ELEMENTSOF(chains); k++) {
            if (want.n[i][k] && !have.n[i][k])
                return true;
        }
    }
    for (int v6 = 0; v6 < firewall_families(f); v6++) {
        if (nft_count_rules(&f->nl, firewall_own_table(v6), &own, NULL) < 0 || own < f->own_rules[v6])
            return true;
    }
    return false;
}

bool firewall_intact(struct firewall *f) {
    bool ok;

    if (!f->config.enabled)
        return true;
    pthread_mutex_lock(&f->lock);
    ok = f->written && !flushed(f);
    pthread_mutex_unlock(&f->lock);
    return ok;
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
        firewall_put_ports(f, &b, v, n, true);
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
    firewall_put_ports(f, &b, v, n, false);
    if (nft_commit(&f->nl, &b, &why, NULL) < 0 && why == ENOENT) {
        /* Somebody flushed the table: each one by itself, what is gone is gone. */
        for (size_t i = 0; i < n; i++) {
            nft_begin(&b);
            firewall_put_ports(f, &b, &v[i], 1, false);
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
