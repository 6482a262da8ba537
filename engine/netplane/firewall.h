// SPDX-License-Identifier: Apache-2.0
/*
 * firewall.h - what the packet filter does for bridges and published ports.
 *
 * Two places
 *  1. The iptables tables `filter` and `nat`: the chains that people script against (DOCKER-USER, DOCKER, DOCKER-ISOLATION-STAGE-1/2, nat DOCKER, the
 *     masquerading of subnets, FORWARD policy DROP), in the reference's order and with its meaning. Written once at start; a bridge that comes or goes
 *     brings or takes its own dozen of rules, whatever the number of others: the kernel told their handles when they were made.
 *  2. A table of our own, `hatake`: the maps of published ports, one element per port, so that publishing costs a few microseconds and a packet one
 *     lookup, whatever their number. Connections to the machine's own addresses, loopback included, are rewritten there. Forwarded connections
 *     that were rewritten pass the DOCKER chain by one rule per bridge (`--ctstate DNAT`).
 * With --ip6tables the same for IPv6, save for ::1: the kernel does not rewrite that, hatake-netd's sockets answer there.
 * Safety: interfaces of our bridges have route_localnet on, so that loopback ports can be rewritten; therefore packets from a bridge with a loopback
 * address are dropped before anything else. New connections from elsewhere straight to a container's address are dropped, whatever the
 * policy of FORWARD is (`guard`).
 * Connections from containers to published ports are left alone: the reference sends them through its proxy, and so do we (hatake-netd), because they would
 * otherwise be cut off by the isolation of bridges and answer from the wrong address.
 *
 * Somebody else's flush (`iptables -F`, `nft flush ruleset`, a reload of firewalld) is seen by firewall_watch(): the kernel tells of changes by others, and
 * when one of our chains has lost all of its rules, everything is written anew. A single rule taken away stays away until the next repair: its
 * owner meant it.
 *
 * Every change is one transaction. Threads: any. Without `enabled` nothing is touched and all calls succeed.
 */
#ifndef HATAKE_NETPLANE_FIREWALL_H
#define HATAKE_NETPLANE_FIREWALL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/strv.h"
#include "netplane/ipam.h"
#include "netplane/ipam6.h"
#include "netplane/nft.h"

struct firewall;

struct firewall_config {
    bool enabled;      /* --iptables */
    bool enabled6;     /* --ip6tables */
    bool drop_forward; /* we switched forwarding on: FORWARD policy becomes DROP */
    bool proxied;      /* --userland-proxy: containers reach published ports through the proxy; false: rewritten too */
};

/* A bridge as the rules see it. */
struct firewall_bridge {
    char ifname[16];
    struct cidr4 subnet;
    bool v6; /* it has subnet6 */
    struct cidr6 subnet6;
    bool masquerade;         /* enable_ip_masquerade */
    bool icc;                /* enable_icc: containers of the bridge may talk */
    bool internal;           /* no way out or in */
    bool guard;              /* drop new connections straight to container addresses */
    uint32_t source;         /* what leaves gets this address instead of the machine's own; 0: masquerade (host_ipv4) */
    struct in6_addr source6; /* :: as 0 */
};

/*
 * Rules of the shared tables in the words of iptables-save, to be applied in this order ("-A" appends, "-I" goes to the head). Pure; what comes of them is
 * tested against the reference's listing. v6: for the tables of ip6.
 */
struct firewall_lines {
    struct strv filter, nat;
};
void firewall_lines_done(struct firewall_lines *l);
int firewall_plan_frame(const struct firewall_config *c, bool v6, struct firewall_lines *ret, struct err *e);
int firewall_plan_bridge(const struct firewall_config *c, const struct firewall_bridge *b, bool v6, struct firewall_lines *ret, struct err *e);
/* They are first in FORWARD, whatever came to its head meanwhile. */
int firewall_plan_jumps(struct firewall_lines *ret, struct err *e);

/* Open the sockets. Nothing is changed yet. */
int firewall_new(const struct firewall_config *c, struct firewall **ret, struct err *e);
/* Rules stay. */
struct firewall *firewall_free(struct firewall *f);
/* We switched forwarding of IPv6 on: from the next change on its policy is DROP. */
void firewall_drop_forward6(struct firewall *f);

/* Write everything anew for these bridges in one transaction; published ports known to f are kept. Also the repair after someone else flushed tables. */
int firewall_apply(struct firewall *f, const struct firewall_bridge *v, size_t n, struct err *e);
/* One bridge more, or less. Fails when somebody flushed tables: firewall_apply() is the remedy. */
int firewall_add_bridge(struct firewall *f, const struct firewall_bridge *b, struct err *e);
int firewall_drop_bridge(struct firewall *f, const char *ifname, struct err *e);
/* False when our table or one of the shared chains has lost all of its rules, or is not there (a look, no repair). */
bool firewall_intact(struct firewall *f);
/* A thread that calls damaged(arg) after others changed rules and firewall_intact() does not hold. Until firewall_free(). */
int firewall_watch(struct firewall *f, void (*damaged)(void *arg), void *arg, struct err *e);

/* Publish / withdraw ports, all or none. Those of a family whose rules are not ours are passed over. */
int firewall_publish(struct firewall *f, const struct nft_port *v, size_t n, struct err *e);
void firewall_withdraw(struct firewall *f, const struct nft_port *v, size_t n);
/* Rules ("-A DOCKER ...") that go with those of the bridges from the next firewall_apply() on; a second call with the same key replaces the first. */
int firewall_let_through(struct firewall *f, const char *key, const struct strv *lines, struct err *e);
/* Forget those whose key has `part` in it. True when there were any. */
bool firewall_stop_through(struct firewall *f, const char *part);
/* Take ports into f's memory without touching the kernel (adoption before firewall_apply). */
int firewall_remember(struct firewall *f, const struct nft_port *v, size_t n, struct err *e);

#endif
