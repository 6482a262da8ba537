// SPDX-License-Identifier: Apache-2.0
/*
 * ipam6.h - IPv6 addresses: subnets and the addresses inside one. Pure arithmetic and memory.
 *
 * Allocation gives the lowest free address from the second on (the first, all host bits zero, means "any router"), as the reference does. Addresses asked
 * for may lie anywhere in the subnet; allocation by itself stays within its first 2^24 addresses, which no engine ever fills.
 * Threads: one at a time; the owner locks.
 */
#ifndef HATAKE_NETPLANE_IPAM6_H
#define HATAKE_NETPLANE_IPAM6_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define IPV6_TEXT_MAX 46
#define CIDR6_TEXT_MAX 50

struct cidr6 {
    struct in6_addr addr; /* as written; host bits may be set */
    uint8_t prefix;
};

/* "fd00::1/64". Returns 0 or -EINVAL. */
int cidr6_parse(const char *s, struct cidr6 *ret);
/* "fd00::1", as inet_ntop(3) writes it. */
void ipv6_format(const struct in6_addr *a, char ret[IPV6_TEXT_MAX]);
/* Network form: "fd00::/64". */
void cidr6_format_net(const struct cidr6 *c, char ret[CIDR6_TEXT_MAX]);
struct in6_addr cidr6_net(const struct cidr6 *c);
bool cidr6_contains(const struct cidr6 *c, const struct in6_addr *a);
bool cidr6_overlap(const struct cidr6 *a, const struct cidr6 *b);

struct ipam6;
/* range: where addresses are taken from when none is asked for (NULL: the whole subnet). ERR_INVALID when it is not inside. */
int ipam6_new(const struct cidr6 *subnet, const struct cidr6 *range, struct ipam6 **ret, struct err *e);
struct ipam6 *ipam6_free(struct ipam6 *p);
/* Next free one. ERR_CONFLICT "no available IPv6 addresses on this network's address pools". */
int ipam6_take(struct ipam6 *p, struct in6_addr *ret, struct err *e);
/* This very one. ERR_FORBIDDEN "Address already in use"; ERR_INVALID when it is outside of the subnet. */
int ipam6_take_addr(struct ipam6 *p, const struct in6_addr *a, struct err *e);
void ipam6_release(struct ipam6 *p, const struct in6_addr *a);

#endif
