// SPDX-License-Identifier: Apache-2.0
/*
 * link.h - bridges, addresses and routes of the machine, by rtnetlink; and the few sysctls that go with them.
 *
 * All functions act on the calling thread's network namespace. Threads: any; each call opens and closes its own socket (bridges are made rarely).
 * Source: rtnetlink(7), linux/if_link.h.
 */
#ifndef HATAKE_NETPLANE_LINK_H
#define HATAKE_NETPLANE_LINK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "netplane/ipam.h"
#include "netplane/ipam6.h"

struct link_bridge {
    const char *ifname;
    struct cidr4 addr;         /* address of the bridge itself with its prefix; addr 0: none */
    const struct cidr6 *addr6; /* NULL: none; fe80::1 comes with it */
    int mtu;                   /* 0: leave */
};

/*
 * Make the bridge (MAC 02:42 and four random bytes) when it does not exist, give it the address and take away other IPv4 addresses of global scope, set it up.
 * An interface of that name which is no bridge is ERR_INTERNAL. keep_addrs: an existing bridge's addresses are the owner's business (--bridge).
 */
int link_bridge_ensure(const struct link_bridge *b, bool keep_addrs, int *ret_ifindex, struct err *e);
/* An interface that leads nowhere, and one for frames with a VLAN tag on another. Up. The kernel's own words when it cannot ("operation not supported"). */
int link_make_dummy(const char *ifname, struct err *e);
int link_make_tagged(const char *ifname, const char *below, unsigned id, struct err *e);
/* Remove. A missing one is success. */
int link_delete(const char *ifname, struct err *e);
/*
 * The same, but returns early; what the kernel does after that goes on by itself, and the next change of interfaces waits for it in the kernel.
 *  LINK_UNLISTED  nobody finds it by name or number any more and its routes are gone; only /sys/class/net and /proc/sys/net have it some milliseconds longer.
 *  LINK_TOLD      those have forgotten it, too: for a bridge some ten milliseconds later.
 */
enum link_gone { LINK_UNLISTED, LINK_TOLD };
int link_delete_soon(const char *ifname, enum link_gone when, struct err *e);
/* Nothing comes or goes any more by this port of a bridge, and the bridge forgets who was behind it. At once; a missing interface is success. */
int link_silence(const char *ifname, struct err *e);
/* First global IPv4 address of an interface. ERR_NOT_FOUND when there is no such interface; addr 0 when it has no address. */
int link_addr(const char *ifname, struct cidr4 *ret, struct err *e);

/*
 * Networks that the machine already uses, except those on the interface `but` (may be NULL): destinations of its main routes without the default one.
 * `far`: also those behind a gateway, or led nowhere, and networks of addresses without a route (the interface is down).
 */
int link_used_subnets(const char *but, bool far, struct cidr4 **ret, size_t *ret_n, struct err *e);
/* Names of bridges whose name begins with prefix. Caller frees each and the array. */
int link_list_bridges(const char *prefix, char ***ret, size_t *ret_n, struct err *e);

/* net.ipv4.ip_forward=1. *ret_changed: it was 0. */
int link_forwarding_on(bool *ret_changed, struct err *e);
/* net.ipv6.conf.{default,all}.forwarding=1; a machine without IPv6 is fine. *ret_changed: one of them was 0. */
int link_forwarding6_on(bool *ret_changed, struct err *e);
/* net.ipv4.conf.IFNAME.route_localnet. Only to be switched on once the firewall drops loopback addresses coming from that interface. */
int link_route_localnet(const char *ifname, bool on, struct err *e);
/*
 * Let the machine's own TCP hand the interface segments of half a megabyte instead of 64 KiB. True: it does. False: the kernel cannot (before 6.3, or for a
 * bridge without a port), something below the interface cannot, or its owner has chosen another length than the kernel's own, which stays.
 */
bool link_long_segments(const char *ifname);
/* An interface of ours with IPv6: disable_ipv6=0, accept_ra=0. A machine without IPv6 is fine. */
void link_enable_ipv6(const char *ifname);
/* net.ipv4.ip_local_port_range; 32768-60999 when it cannot be read. */
void link_port_range(unsigned *ret_lo, unsigned *ret_hi);

#endif
