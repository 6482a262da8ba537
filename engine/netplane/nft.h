// SPDX-License-Identifier: Apache-2.0
/*
 * nft.h - nftables transactions written as netlink messages, without libraries or tools.
 *
 * A transaction is a buffer: nft_begin(), any number of additions and removals, nft_commit(): the kernel takes all of it or nothing. Two ways to give rules:
 *  - nft_rule_iptables(): the text of an iptables-save line, encoded the way the iptables-nft tool encodes it, so that `iptables -S` lists it. Understood:
 *      -A|-I CHAIN  [!] -i/-o NAME  [!] -s/-d ADDR[/N]  -p tcp|udp|sctp  -m tcp|udp|sctp [--dport N] [--sport N]
 *      -m conntrack --ctstate LIST   -m addrtype --dst-type LOCAL / --src-type LOCAL
 *      -j ACCEPT|DROP|RETURN|MASQUERADE|CHAIN   -j DNAT --to-destination ADDR:PORT   -j SNAT --to-source :PORT|ADDR
 *  - nft_rule_open() ... nft_x_*() ... nft_rule_close(): expressions one by one, for our own table.
 * Rules of nft_rule_iptables() carry a mark in their user data, by which nft_forget_ours() finds them again.
 *
 * Tables are named with their family (ip or ip6). Names are at most 31 characters. Source: linux/netfilter/nf_tables.h; encoding as written by iptables-nft 1.8.9.
 */
#ifndef HATAKE_NETPLANE_NFT_H
#define HATAKE_NETPLANE_NFT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "netplane/ipam.h"
#include "netplane/ipam6.h"
#include "netplane/netl.h"

struct nft_table {
    uint8_t family; /* AF_INET or AF_INET6, which nftables numbers alike */
    const char *name;
};
static inline struct nft_table nft_ip(const char *name) {
    return (struct nft_table){AF_INET, name};
}

void nft_begin(struct buf *b);
/* End the batch without sending it: for one that somebody else sends. */
void nft_end(struct buf *b);
/* End the batch and send it. *ret_errno as in netl_talk(). */
int nft_commit(struct netl_sock *s, struct buf *b, int *ret_errno, struct err *e);

void nft_add_table(struct buf *b, struct nft_table table);
void nft_del_table(struct buf *b, struct nft_table table); /* must exist */
void nft_add_chain(struct buf *b, struct nft_table table, const char *chain);
/* hook: NF_INET_*; type: "filter" or "nat"; policy: NF_ACCEPT, NF_DROP, or -1 to leave an existing one as it is. */
void nft_add_base_chain(struct buf *b, struct nft_table table, const char *chain, const char *type, unsigned hook, int priority, int policy);
void nft_flush_chain(struct buf *b, struct nft_table table, const char *chain);

/*
 * "-A CHAIN ..." appends, "-I CHAIN ..." inserts: right behind the rule with the handle `after`, 0: at the head.
 * key: at most 32 characters that nft_each_ours() tells again; NULL: no mark, the rule stays with the machine's owner and is never taken back.
 * ERR_INVALID when the text is not understood.
 */
int nft_rule_iptables(struct buf *b, struct nft_table table, const char *line, const char *key, uint64_t after, struct err *e);
/* Add the removal of each rule of the table that carries our mark. A missing table is fine. */
int nft_forget_ours(struct netl_sock *s, struct buf *b, struct nft_table table, struct err *e);
/* Remove one rule by its handle; it must exist. */
void nft_del_rule(struct buf *b, struct nft_table table, const char *chain, uint64_t handle);
struct nft_ours {
    struct nft_table table; /* name valid during the call */
    const char *chain, *key;
    uint64_t handle;
};
typedef int (*nft_ours_fn)(const struct nft_ours *o, void *arg, struct err *e);
/* As nft_commit(); fn is told of every rule with our mark that was made (their number should be small: answers wait in the socket's buffer). */
int nft_commit_echo(struct netl_sock *s, struct buf *b, int *ret_errno, nft_ours_fn fn, void *arg, struct err *e);
/* Every rule of the table that carries our mark. A missing table is fine. */
int nft_each_ours(struct netl_sock *s, struct nft_table table, nft_ours_fn fn, void *arg, struct err *e);
/* Handles of the first rules of a chain, at most n; *ret_n is how many there are. The kernel's time does not depend on what follows them. */
int nft_first_rules(struct nft_table table, const char *chain, uint64_t *ret, size_t n, size_t *ret_n, struct err *e);
/* How many rules has the table? 0 when it does not exist. */
int nft_count_rules(struct netl_sock *s, struct nft_table table, size_t *ret, struct err *e);
/* Does the chain hold any rule? Its being absent counts as no. */
int nft_chain_has_rules(struct netl_sock *s, struct nft_table table, const char *chain, bool *ret, struct err *e);

/* ---- own tables ---- */
struct nft_rule {
    size_t msg, list;
};
struct nft_rule nft_rule_open(struct buf *b, struct nft_table table, const char *chain);
void nft_rule_close(struct buf *b, struct nft_rule r);
enum nft_side { NFT_IN, NFT_OUT };
void nft_x_ifname_set(struct buf *b, enum nft_side side, bool negate, const char *set);
void nft_x_addr_net(struct buf *b, bool source, bool negate, const struct cidr4 *net);
void nft_x_addr_net6(struct buf *b, bool source, bool negate, const struct cidr6 *net);
void nft_x_dst_local(struct buf *b);
void nft_x_ct_status_dnat(struct buf *b, bool negate);
void nft_x_ct_state_new(struct buf *b);
/* Look protocol [. destination address] . destination port up in the map and rewrite the destination to what is found; no match: next rule. */
void nft_x_dnat_map(struct buf *b, uint8_t family, bool with_addr, const char *map);
/* Is the pair of source and destination address in the set? */
void nft_x_addr_pair(struct buf *b, uint8_t family, const char *set);
void nft_x_masquerade(struct buf *b);
void nft_x_counter(struct buf *b);
/* verdict: NF_ACCEPT, NF_DROP, NFT_RETURN, or NFT_JUMP with a chain. */
void nft_x_verdict(struct buf *b, int verdict, const char *chain);

/* A set of interface names. id: unique in the transaction. */
void nft_add_ifname_set(struct buf *b, struct nft_table table, const char *set, uint32_t id);
void nft_ifname_elem(struct buf *b, struct nft_table table, const char *set, const char *ifname, bool add);
/* Map of protocol [. address] . port to address . port. */
void nft_add_port_map(struct buf *b, struct nft_table table, const char *map, uint32_t id, bool with_addr);

/* One element of a port map. Ports in host byte order. */
struct nft_port {
    bool v6;
    uint8_t proto;
    uint32_t host_addr; /* 0: every address (the map without addresses) */
    uint16_t host_port;
    uint32_t addr;
    uint16_t port;
    struct in6_addr host6, addr6; /* with v6 instead of host_addr and addr; ::: every address */
};
/* Those of the table's family are gathered into as few messages as possible. add: existing equal ones are fine. Removal of a missing one fails the transaction. */
void nft_port_elems(struct buf *b, struct nft_table table, const char *map, bool with_addr, const struct nft_port *v, size_t n, bool add);

/* A set of pairs of addresses, and those of containers that reach themselves: the address twice, for each container of the ports once. */
void nft_add_pair_set(struct buf *b, struct nft_table table, const char *set, uint32_t id);
void nft_self_elems(struct buf *b, struct nft_table table, const char *set, const struct nft_port *v, size_t n, bool add);

#endif
