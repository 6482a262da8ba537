// SPDX-License-Identifier: Apache-2.0
#include "netplane/ipam6.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"

#define OFFSETS (UINT64_C(1) << 24) /* addresses that are given by themselves */

struct ipam6 {
    struct cidr6 subnet;
    struct in6_addr base; /* of the range */
    uint64_t first, size; /* offsets from base: first that may be given, number of them */
    uint64_t low;         /* nothing below is free */
    struct map taken;     /* addresses as text: few, and sparse in a huge space */
};

int cidr6_parse(const char *s, struct cidr6 *ret) {
    const char *slash = strchr(s, '/');
    char addr[IPV6_TEXT_MAX];
    struct in6_addr a;
    int64_t prefix = 0;

    if (!slash || (size_t)(slash - s) >= sizeof(addr))
        return -EINVAL;
    memcpy(addr, s, (size_t)(slash - s));
    addr[slash - s] = 0;
    if (inet_pton(AF_INET6, addr, &a) != 1 || parse_int_range(slash + 1, 0, 128, &prefix) < 0)
        return -EINVAL;
    *ret = (struct cidr6){a, (uint8_t)prefix};
    return 0;
}

void ipv6_format(const struct in6_addr *a, char ret[IPV6_TEXT_MAX]) {
    if (!inet_ntop(AF_INET6, a, ret, IPV6_TEXT_MAX))
        ret[0] = 0;
}

struct in6_addr cidr6_net(const struct cidr6 *c) {
    struct in6_addr a = c->addr;

    for (unsigned i = 0; i < 16; i++) {
        unsigned bits = c->prefix >= (i + 1) * 8 ? 8 : c->prefix > i * 8 ? c->prefix - i * 8 : 0;

        a.s6_addr[i] &= (uint8_t)(0xff00u >> bits);
    }
    return a;
}

void cidr6_format_net(const struct cidr6 *c, char ret[CIDR6_TEXT_MAX]) {
    struct in6_addr net = cidr6_net(c);
    char text[IPV6_TEXT_MAX];

    ipv6_format(&net, text);
    snprintf(ret, CIDR6_TEXT_MAX, "%s/%u", text, c->prefix);
}

bool cidr6_contains(const struct cidr6 *c, const struct in6_addr *a) {
    struct cidr6 other = {*a, c->prefix};
    struct in6_addr x = cidr6_net(c), y = cidr6_net(&other);

    return memcmp(&x, &y, sizeof(x)) == 0;
}

bool cidr6_overlap(const struct cidr6 *a, const struct cidr6 *b) {
    return a->prefix < b->prefix ? cidr6_contains(a, &b->addr) : cidr6_contains(b, &a->addr);
}

int ipam6_new(const struct cidr6 *subnet, const struct cidr6 *range, struct ipam6 **ret, struct err *e) {
    const struct cidr6 *from = range ? range : subnet;
    struct in6_addr net = cidr6_net(subnet);
    unsigned host = 128u - from->prefix;
    struct ipam6 *p;

    if (range && (range->prefix < subnet->prefix || !cidr6_contains(subnet, &range->addr)))
        return err_set(e, ERR_INVALID, "address range is outside of the network");
    p = calloc(1, sizeof(*p));
    if (!p)
        return err_oom(e);
    p->subnet = *subnet;
    p->base = cidr6_net(from);
    p->size = host >= 24 ? OFFSETS : UINT64_C(1) << host;
    p->first = memcmp(&p->base, &net, sizeof(net)) == 0 && p->size > 1 ? 1 : 0;
    p->low = p->first;
    *ret = p;
    return 0;
}

struct ipam6 *ipam6_free(struct ipam6 *p) {
    if (!p)
        return NULL;
    map_done(&p->taken);
    free(p);
    return NULL;
}

/* The range begins at a multiple of its size, so the offset only fills zero bits. */
static struct in6_addr at_offset(const struct ipam6 *p, uint64_t offset) {
    struct in6_addr a = p->base;

    for (int i = 15; offset; i--, offset >>= 8)
        a.s6_addr[i] |= (uint8_t)offset;
    return a;
}

static int mark(struct ipam6 *p, const struct in6_addr *a, struct err *e) {
    char text[IPV6_TEXT_MAX];

    ipv6_format(a, text);
    return map_set(&p->taken, text, p, NULL) < 0 ? err_oom(e) : 0;
}

static bool is_taken(const struct ipam6 *p, const struct in6_addr *a) {
    char text[IPV6_TEXT_MAX];

    ipv6_format(a, text);
    return map_has(&p->taken, text);
}

int ipam6_take(struct ipam6 *p, struct in6_addr *ret, struct err *e) {
    for (uint64_t i = p->low; i < p->size; i++) {
        struct in6_addr a = at_offset(p, i);
        int r;

        if (is_taken(p, &a))
            continue;
        r = mark(p, &a, e);
        if (r < 0)
            return r;
        p->low = i + 1;
        *ret = a;
        return 0;
    }
    return err_set(e, ERR_CONFLICT, "no available IPv6 addresses on this network's address pools");
}

int ipam6_take_addr(struct ipam6 *p, const struct in6_addr *a, struct err *e) {
    if (!cidr6_contains(&p->subnet, a))
        return err_set(e, ERR_INVALID, "no configured subnet contains the address");
    if (is_taken(p, a))
        return err_set(e, ERR_FORBIDDEN, "Address already in use");
    return mark(p, a, e);
}

void ipam6_release(struct ipam6 *p, const struct in6_addr *a) {
    char text[IPV6_TEXT_MAX];
    uint64_t offset = 0;

    ipv6_format(a, text);
    if (!map_remove(&p->taken, text))
        return;
    /* Low bytes that are an offset of the range become free for the next one. */
    for (int i = 13; i < 16; i++)
        offset = offset << 8 | (uint64_t)(a->s6_addr[i] ^ p->base.s6_addr[i]);
    if (memcmp(a, &p->base, 13) == 0 && offset >= p->first && offset < p->low)
        p->low = offset;
}
