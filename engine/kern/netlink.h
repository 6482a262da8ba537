// SPDX-License-Identifier: Apache-2.0
/*
 * netlink.h - raw rtnetlink: several requests put into one buffer, sent in one send(2), answered one by one.
 *
 * Usage: nl_init(&b, mem, size); nl_link_veth(&b, ...); nl_addr(&b, ...); fd = nl_open(); nl_send(fd, &b, &at).
 * A request that does not fit sets the sticky `failed` flag, seen by nl_send() as -EMSGSIZE (attribute lengths are 16 bits: rule R10).
 * The kernel carries requests out in order and goes on after a failed one; nl_send() reports the first failure and its index.
 * No allocation. Threads: one per buffer and socket. Source: rtnetlink(7), linux/veth.h.
 */
#ifndef HATAKE_KERN_NETLINK_H
#define HATAKE_KERN_NETLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Headers before Linux 6.3 do not have IFLA_GSO_IPV4_MAX_SIZE; kernels before that pass over it. The longest segment is their GSO_MAX_SIZE. */
#define NL_GSO_IPV4_MAX_SIZE 63
#define NL_LONGEST_SEGMENT 524280

struct nl_batch {
    char *mem;
    size_t len, cap;
    size_t last; /* offset of the request being built */
    unsigned n;
    bool failed;
};

void nl_init(struct nl_batch *b, void *mem, size_t size);
/* A route socket in the network namespace of the caller. fd or -errno. */
int nl_open(void);
/* Send and wait for every answer. 0, or -errno of the first failure with *ret_at (may be NULL) its number in the batch. */
int nl_send(int fd, struct nl_batch *b, unsigned *ret_at);

/* A network namespace: descriptor `fd` when it is >= 0, else the one of process `pid` (as the caller's pid namespace counts). */
struct nl_ns {
    pid_t pid;
    int fd;
};

/*
 * A veth pair: `host` here, enslaved to interface `master` (index, 0: none) and up; `inner` in the namespace `peer`, down. mac may be NULL; mtu 0: default.
 * The host's end takes the longest segments. The inner one does not: most of what it sends goes on to a network card, which would have to have them cut.
 */
void nl_link_veth(struct nl_batch *b, const char *host, unsigned master, int mtu, const char *inner, const uint8_t mac[6], struct nl_ns peer);
/* Let the bridge give frames back to the port they came from; `host` is one. */
void nl_link_hairpin(struct nl_batch *b, const char *host);
/*
 * An interface on top of `parent` (index, here), born in the namespace `ns` as `name`, down. macvlan: mode MACVLAN_MODE_*, mac may be NULL. ipvlan: mode
 * IPVLAN_MODE_*, flag IPVLAN_F_* (0: bridge), the mac is the parent's. Source: linux/if_link.h.
 */
void nl_link_macvlan(struct nl_batch *b, unsigned parent, uint32_t mode, int mtu, const char *name, const uint8_t mac[6], struct nl_ns ns);
void nl_link_ipvlan(struct nl_batch *b, unsigned parent, uint16_t mode, uint16_t flag, int mtu, const char *name, struct nl_ns ns);
/* Bring an interface up: by name, or by index when name is NULL. */
void nl_link_up(struct nl_batch *b, const char *name, unsigned index);
void nl_link_delete(struct nl_batch *b, const char *name);
/* Add an address (no broadcast address for IPv6; no duplicate address detection, as the engine allocates addresses itself). */
void nl_addr(struct nl_batch *b, unsigned index, int family, const void *addr, unsigned prefix);
/* Add a route; dst NULL: default. gateway NULL: on link. replace: instead of one that is there for the same destination. */
void nl_route(struct nl_batch *b, unsigned index, int family, const void *dst, unsigned prefix, const void *gateway, bool replace);

#endif
