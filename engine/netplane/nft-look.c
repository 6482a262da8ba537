// SPDX-License-Identifier: Apache-2.0
/* What is there: rules of ours with their handles, by dump or by the kernel's echo of a transaction; counts and policies. */
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "netplane/nft-internal.h"
#include "netplane/nft.h"

struct telling {
    nft_ours_fn fn;
    void *arg;
};

static void attributes(const struct nlmsghdr *h, unsigned max, const struct nlattr **a) {
    netl_parse((const char *)NLMSG_DATA(h) + sizeof(struct nfgenmsg), h->nlmsg_len - NLMSG_LENGTH(sizeof(struct nfgenmsg)), max, a);
}

static void copy_text(const struct nlattr *a, char *ret, size_t n) {
    snprintf(ret, n, "%.*s", (int)netl_len(a), (const char *)netl_data(a));
}

static uint64_t be64(const struct nlattr *a) {
    uint64_t v = 0;

    if (netl_len(a) >= sizeof(v))
        memcpy(&v, netl_data(a), sizeof(v));
    return be64toh(v);
}

static bool is_rule(const struct nlmsghdr *h) {
    return h->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE);
}

static int tell_one(const struct nlmsghdr *h, void *arg, struct err *e) {
    const struct telling *t = arg;
    const struct nfgenmsg *g = NLMSG_DATA(h);
    const struct nlattr *a[NFTA_RULE_MAX + 1];
    char table[NFT_TABLE_MAXNAMELEN], chain[NFT_CHAIN_MAXNAMELEN], key[NFT_KEY_MAX + 1];
    struct nft_ours o = {.table = {g->nfgen_family, table}, .chain = chain, .key = key};
    const char *mark;
    size_t n;

    if (!is_rule(h))
        return 0;
    attributes(h, NFTA_RULE_MAX, a);
    if (!a[NFTA_RULE_USERDATA] || !a[NFTA_RULE_HANDLE] || !a[NFTA_RULE_CHAIN] || !a[NFTA_RULE_TABLE])
        return 0;
    mark = netl_data(a[NFTA_RULE_USERDATA]);
    n = netl_len(a[NFTA_RULE_USERDATA]);
    if (n < NFT_MARK_BYTES || (unsigned char)mark[0] != NFT_MARK_TYPE || memcmp(mark + 2, NFT_MARK_TEXT, sizeof(NFT_MARK_TEXT)) != 0)
        return 0;
    snprintf(key, sizeof(key), "%.*s", (int)(n - NFT_MARK_BYTES), mark + NFT_MARK_BYTES);
    copy_text(a[NFTA_RULE_TABLE], table, sizeof(table));
    copy_text(a[NFTA_RULE_CHAIN], chain, sizeof(chain));
    o.handle = be64(a[NFTA_RULE_HANDLE]);
    return t->fn(&o, t->arg, e);
}

static int dump_rules(struct netl_sock *s, struct nft_table table, const char *chain, netl_msg_fn fn, void *arg, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    _cleanup_err_ struct err why = ERR_INIT;
    size_t m = nft_msg(&b, table.family, NFT_MSG_GETRULE, NLM_F_DUMP);
    int r;

    netl_put_str(&b, NFTA_RULE_TABLE, table.name);
    if (chain)
        netl_put_str(&b, NFTA_RULE_CHAIN, chain);
    netl_end(&b, m);
    r = netl_dump(s, &b, fn, arg, &why);
    if (r < 0 && why.errnum != ENOENT)
        return err_move(e, &why);
    return 0;
}

int nft_each_ours(struct netl_sock *s, struct nft_table table, nft_ours_fn fn, void *arg, struct err *e) {
    struct telling t = {fn, arg};

    return dump_rules(s, table, NULL, tell_one, &t, e);
}

int nft_commit_echo(struct netl_sock *s, struct buf *b, int *ret_errno, nft_ours_fn fn, void *arg, struct err *e) {
    struct telling t = {fn, arg};
    int r;

    nft_end(b);
    netl_echo(b, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE);
    r = netl_talk_with(s, b, tell_one, &t, ret_errno, NULL, e);
    return r < 0 ? err_wrap(e, "firewall transaction") : 0;
}

struct heads {
    uint64_t *v;
    size_t n, max;
};

static int note_head(const struct nlmsghdr *h, void *arg, struct err *e) {
    struct heads *heads = arg;
    const struct nlattr *a[NFTA_RULE_MAX + 1];

    if (!is_rule(h))
        return 0;
    attributes(h, NFTA_RULE_MAX, a);
    if (a[NFTA_RULE_HANDLE] && heads->n < heads->max)
        heads->v[heads->n++] = be64(a[NFTA_RULE_HANDLE]);
    /* Stopping leaves the rest of the dump unread; the socket goes with it. */
    return heads->n == heads->max ? err_set(e, ERR_CANCELLED, "enough") : 0;
}

int nft_first_rules(struct nft_table table, const char *chain, uint64_t *ret, size_t n, size_t *ret_n, struct err *e) {
    struct heads heads = {.v = ret, .max = n};
    struct netl_sock s = {.fd = -EBADF};
    int r = netl_open(&s, NETLINK_NETFILTER, e);

    if (r < 0)
        return r;
    s.once = true;
    r = dump_rules(&s, table, chain, note_head, &heads, NULL);
    netl_close(&s);
    if (r < 0 && heads.n < n)
        return err_set(e, ERR_INTERNAL, "rules of chain %s cannot be read", chain);
    *ret_n = heads.n;
    return 0;
}

static int forget_one(const struct nft_ours *o, void *arg, struct err *e) {
    nft_del_rule(arg, o->table, o->chain, o->handle);
    return 0;
}

int nft_forget_ours(struct netl_sock *s, struct buf *b, struct nft_table table, struct err *e) {
    return nft_each_ours(s, table, forget_one, b, e);
}

static int count_one(const struct nlmsghdr *h, void *arg, struct err *e) {
    *(size_t *)arg += is_rule(h);
    return 0;
}

int nft_count_rules(struct netl_sock *s, struct nft_table table, size_t *ret, struct err *e) {
    size_t n = 0;
    int r = dump_rules(s, table, NULL, count_one, &n, e);

    if (r == 0)
        *ret = n;
    return r;
}

int nft_chain_has_rules(struct netl_sock *s, struct nft_table table, const char *chain, bool *ret, struct err *e) {
    size_t n = 0;
    int r = dump_rules(s, table, chain, count_one, &n, e);

    if (r == 0)
        *ret = n > 0;
    return r;
}
