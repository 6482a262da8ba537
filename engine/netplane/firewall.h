// SPDX-License-Identifier: Apache-2.0
/*
 * firewall.h - what the packet filter does for bridges and published ports.
 *
 * Two places
 *  1. The iptables tables `filter` and `nat`: the chains that people script against (DOCKER-USER, DOCKER, DOCKER-ISOLATION-STAGE-1/2, nat DOCKER, the
 *     masquerading of subnets, FORWARD policy DROP), in the reference's order and with its meaning. Written once at start and when a bridge comes or goes.
 *  2. A table of our own, `hatake`: the maps of published ports, one element per port, so that publishing costs a few microseconds and a packet one
 *     lookup, whatever their number. Connections to the machine's own addresses, loopback included, are rewritten there. Forwarded connections
 *     that were rewritten pass the DOCKER chain by one rule per bridge (`--ctstate DNAT`).
 * Safety: interfaces of our bridges have route_localnet on, so that loopback ports can be rewritten; therefore packets from a bridge with a loopback
 * address are dropped before anything else. New connections from elsewhere straight to a container's address are dropped, whatever the
 * policy of FORWARD is (`guard`).
 * Connections from containers to published ports are left alone: the reference sends them through its proxy, and so do we (hatake-netd), because they would
 * otherwise be cut off by the isolation of bridges and answer from the wrong address.
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
#include "netplane/nft.h"

struct firewall;

struct firewall_config {
    bool enabled;      /* --iptables */
    bool drop_forward; /* we switched forwarding on: FORWARD policy becomes DROP */
    bool proxied;      /* --userland-proxy: containers reach published ports through the proxy; false: rewritten too */
};

/* A bridge as the rules see it. */
struct firewall_bridge {
    char ifname[16];
    struct cidr4 subnet;
    bool masquerade; /* enable_ip_masquerade */
    bool icc;        /* enable_icc: containers of the bridge may talk */
    bool internal;   /* no way out or in */
    bool guard;      /* drop new connections straight to container addresses */
};

/* Rules of the shared tables in the words of iptables-save, in order of application, for `n` bridges. Pure; tested against the reference's listing. */
int firewall_plan_filter(const struct firewall_config *c, const struct firewall_bridge *v, size_t n, struct strv *ret, struct err *e);
int firewall_plan_nat(const struct firewall_config *c, const struct firewall_bridge *v, size_t n, struct strv *ret, struct err *e);

/* Open the sockets. Nothing is changed yet. */
int firewall_new(const struct firewall_config *c, struct firewall **ret, struct err *e);
/* Rules stay. */
struct firewall *firewall_free(struct firewall *f);

/* Write everything anew for these bridges in one transaction; published ports known to f are kept. Also the repair after someone else flushed tables. */
int firewall_apply(struct firewall *f, const struct firewall_bridge *v, size_t n, struct err *e);
/* True when our table and the shared chains are all there (a cheap look, no repair). */
bool firewall_intact(struct firewall *f);

/* Publish / withdraw ports, all or none. */
int firewall_publish(struct firewall *f, const struct nft_port *v, size_t n, struct err *e);
void firewall_withdraw(struct firewall *f, const struct nft_port *v, size_t n);
/* Rules ("-A DOCKER ...") that go with those of the bridges from the next firewall_apply() on; a second call with the same key replaces the first. */
int firewall_let_through(struct firewall *f, const char *key, const struct strv *lines, struct err *e);
/* Forget those whose key has `part` in it. True when there were any. */
bool firewall_stop_through(struct firewall *f, const char *part);
/* Take ports into f's memory without touching the kernel (adoption before firewall_apply). */
int firewall_remember(struct firewall *f, const struct nft_port *v, size_t n, struct err *e);

#endif
