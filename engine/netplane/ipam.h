// SPDX-License-Identifier: Apache-2.0
/*
 * ipam.h - IPv4 addresses: subnets, pools of subnets, and the addresses inside one subnet. Pure arithmetic and memory, no system calls.
 *
 * Allocation inside a subnet gives the lowest free address, as the reference does. Cost O(1) in the usual case (the lowest candidate is remembered),
 * O(size / 64) at worst.
 * Threads: one at a time; the owner locks.
 */
#ifndef HATAKE_NETPLANE_IPAM_H
#define HATAKE_NETPLANE_IPAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define IPV4_TEXT_MAX 16 /* "255.255.255.255" and NUL */
#define CIDR4_TEXT_MAX 20
#define MAC_TEXT_MAX 18

/* Addresses here are in host byte order unless a name says _be. */
struct cidr4 {
    uint32_t addr; /* as written; host bits may be set (172.17.0.1/16) */
    uint8_t prefix;
};

/* "10.0.0.1/8". Returns 0 or -EINVAL. */
int cidr4_parse(const char *s, struct cidr4 *ret);
/* "10.0.0.1"; four decimal numbers without leading zeros. 0 or -EINVAL. */
int ipv4_parse(const char *s, uint32_t *ret);
void ipv4_format(uint32_t addr, char ret[IPV4_TEXT_MAX]);
/* Network form: "172.17.0.0/16". */
void cidr4_format_net(const struct cidr4 *c, char ret[CIDR4_TEXT_MAX]);
uint32_t cidr4_mask(uint8_t prefix);
static inline uint32_t cidr4_net(const struct cidr4 *c) {
    return c->addr & cidr4_mask(c->prefix);
}
bool cidr4_contains(const struct cidr4 *c, uint32_t addr);
bool cidr4_overlap(const struct cidr4 *a, const struct cidr4 *b);

/* The MAC the reference derives from an address: 02:42 and the four bytes. */
void mac_from_ipv4(uint32_t addr, uint8_t ret[6]);
void mac_format(const uint8_t mac[6], char ret[MAC_TEXT_MAX]);
/* Colon or hyphen form. 0 or -EINVAL. */
int mac_parse(const char *s, uint8_t ret[6]);

/* ---- addresses of one subnet ---- */
struct ipam;
/*
 * subnet: the network; range: where addresses are taken from when none is asked for (NULL: the whole subnet). Network and broadcast address are never
 * given. The bit map is paged, so a /8 costs little until used.
 */
int ipam_new(const struct cidr4 *subnet, const struct cidr4 *range, struct ipam **ret, struct err *e);
struct ipam *ipam_free(struct ipam *p);
/* Next free one. ERR_CONFLICT "no available IPv4 addresses on this network's address pools" (the caller adds the network's name). */
int ipam_take(struct ipam *p, uint32_t *ret, struct err *e);
/* This very one. ERR_FORBIDDEN "Address already in use"; ERR_INVALID when it is outside of the subnet. */
int ipam_take_addr(struct ipam *p, uint32_t addr, struct err *e);
void ipam_release(struct ipam *p, uint32_t addr);
size_t ipam_used(const struct ipam *p);

/* ---- pools of subnets ---- */
struct ipam_pool {
    struct cidr4 base;
    uint8_t size; /* prefix length of the networks cut from it */
};
/* The reference's pools: 172.17-31.0.0/16 and 192.168.0.0/16 cut in /20. */
extern const struct ipam_pool ipam_default_pools[];
extern const size_t ipam_n_default_pools;
/*
 * A network of the pools that overlaps none of `taken` (networks in use and routes of the host). Networks of all pools are numbered in order; the search
 * begins with number *next, comes round, and leaves the number after the one it found: as in the reference, one given back is not given out again at
 * once. ERR_CONFLICT "all predefined address pools have been fully subnetted".
 */
int ipam_pick_subnet(const struct ipam_pool *pools, size_t n_pools, const struct cidr4 *taken, size_t n_taken, uint64_t *next, struct cidr4 *ret,
                     struct err *e);

#endif
