// SPDX-License-Identifier: Apache-2.0
#include "netplane/ipam.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

#define PAGE_BITS 4096u
#define PAGE_WORDS (PAGE_BITS / 64u)

struct ipam {
    struct cidr4 subnet;
    uint32_t lo, hi; /* inclusive, where free addresses are looked for */
    uint32_t first;  /* of the subnet, index 0 of the bit map */
    uint32_t size;   /* addresses in the subnet less one: highest index */
    uint32_t low;    /* nothing below is free within lo..hi */
    bool reserved;   /* first and last address are not given */
    size_t used;
    size_t n_pages;
    uint64_t **pages; /* NULL: nothing taken there */
};

const struct ipam_pool ipam_default_pools[] = {
    {{0xac110000u, 16}, 16}, {{0xac120000u, 16}, 16}, {{0xac130000u, 16}, 16}, {{0xac140000u, 14}, 16},
    {{0xac180000u, 14}, 16}, {{0xac1c0000u, 14}, 16}, {{0xc0a80000u, 16}, 20},
};
const size_t ipam_n_default_pools = ELEMENTSOF(ipam_default_pools);

int ipv4_parse(const char *s, uint32_t *ret) {
    uint32_t v = 0;

    for (int i = 0; i < 4; i++) {
        unsigned part = 0, digits = 0;

        while (*s >= '0' && *s <= '9' && digits < 3) {
            if (digits && part == 0)
                return -EINVAL;
            part = part * 10 + (unsigned)(*s++ - '0');
            digits++;
        }
        if (!digits || part > 255 || (i < 3 && *s++ != '.'))
            return -EINVAL;
        v = v << 8 | part;
    }
    if (*s)
        return -EINVAL;
    *ret = v;
    return 0;
}

int cidr4_parse(const char *s, struct cidr4 *ret) {
    const char *slash = strchr(s, '/');
    char addr[IPV4_TEXT_MAX];
    int64_t prefix = 0;
    uint32_t v = 0;

    if (!slash || (size_t)(slash - s) >= sizeof(addr))
        return -EINVAL;
    memcpy(addr, s, (size_t)(slash - s));
    addr[slash - s] = 0;
    if (ipv4_parse(addr, &v) < 0 || parse_int_range(slash + 1, 0, 32, &prefix) < 0)
        return -EINVAL;
    *ret = (struct cidr4){v, (uint8_t)prefix};
    return 0;
}

void ipv4_format(uint32_t a, char ret[IPV4_TEXT_MAX]) {
    snprintf(ret, IPV4_TEXT_MAX, "%u.%u.%u.%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255);
}

void cidr4_format_net(const struct cidr4 *c, char ret[CIDR4_TEXT_MAX]) {
    uint32_t a = cidr4_net(c);

    snprintf(ret, CIDR4_TEXT_MAX, "%u.%u.%u.%u/%u", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255, c->prefix);
}

uint32_t cidr4_mask(uint8_t prefix) {
    return prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
}

bool cidr4_contains(const struct cidr4 *c, uint32_t addr) {
    return ((addr ^ c->addr) & cidr4_mask(c->prefix)) == 0;
}

bool cidr4_overlap(const struct cidr4 *a, const struct cidr4 *b) {
    uint32_t mask = cidr4_mask(MIN(a->prefix, b->prefix));

    return ((a->addr ^ b->addr) & mask) == 0;
}

void mac_from_ipv4(uint32_t addr, uint8_t ret[6]) {
    ret[0] = 0x02;
    ret[1] = 0x42;
    ret[2] = (uint8_t)(addr >> 24);
    ret[3] = (uint8_t)(addr >> 16);
    ret[4] = (uint8_t)(addr >> 8);
    ret[5] = (uint8_t)addr;
}

void mac_format(const uint8_t m[6], char ret[MAC_TEXT_MAX]) {
    snprintf(ret, MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

int mac_parse(const char *s, uint8_t ret[6]) {
    uint8_t m[6];
    char sep = 0;

    for (int i = 0; i < 6; i++) {
        unsigned v = 0;

        for (int k = 0; k < 2; k++, s++) {
            unsigned c = (unsigned char)*s, lower = c | 0x20;

            if (c >= '0' && c <= '9')
                v = v << 4 | (c - '0');
            else if (lower >= 'a' && lower <= 'f')
                v = v << 4 | (lower - 'a' + 10);
            else
                return -EINVAL;
        }
        m[i] = (uint8_t)v;
        if (i == 5)
            break;
        if (!sep && (*s == ':' || *s == '-'))
            sep = *s;
        if (!sep || *s++ != sep)
            return -EINVAL;
    }
    if (*s)
        return -EINVAL;
    memcpy(ret, m, sizeof(m));
    return 0;
}

/* ---- one subnet -------------------------------------------------------------------------------------------------------------------- */

int ipam_new(const struct cidr4 *subnet, const struct cidr4 *range, struct ipam **ret, struct err *e) {
    uint32_t mask = cidr4_mask(subnet->prefix), first = cidr4_net(subnet), last = first | ~mask;
    struct ipam *p;

    if (subnet->prefix == 0)
        return err_set(e, ERR_INVALID, "invalid network prefix length %u", subnet->prefix);
    if (range && (range->prefix < subnet->prefix || !cidr4_contains(subnet, range->addr)))
        return err_set(e, ERR_INVALID, "address range is outside of the network");
    p = calloc(1, sizeof(*p));
    if (!p)
        return err_oom(e);
    p->subnet = *subnet;
    p->first = first;
    p->size = last - first;
    p->lo = range ? cidr4_net(range) : first;
    p->hi = range ? cidr4_net(range) | ~cidr4_mask(range->prefix) : last;
    /* Tiny networks have neither a network address nor one for broadcasts (RFC 3021). */
    p->reserved = subnet->prefix < 31;
    if (p->reserved && p->lo == first)
        p->lo++;
    if (p->reserved && p->hi == last)
        p->hi--;
    p->low = p->lo;
    p->n_pages = (size_t)p->size / PAGE_BITS + 1;
    p->pages = calloc(p->n_pages, sizeof(*p->pages));
    if (!p->pages || p->lo > p->hi) {
        bool memory = !p->pages;

        ipam_free(p);
        return memory ? err_oom(e) : err_set(e, ERR_INVALID, "address range is empty");
    }
    *ret = p;
    return 0;
}

struct ipam *ipam_free(struct ipam *p) {
    if (!p)
        return NULL;
    for (size_t i = 0; p->pages && i < p->n_pages; i++)
        free(p->pages[i]);
    free(p->pages);
    free(p);
    return NULL;
}

static bool taken(const struct ipam *p, uint32_t addr) {
    uint32_t i = addr - p->first;
    const uint64_t *page = p->pages[i / PAGE_BITS];

    return page && (page[i % PAGE_BITS / 64] >> (i % 64) & 1);
}

static int mark(struct ipam *p, uint32_t addr, struct err *e) {
    uint32_t i = addr - p->first;
    uint64_t **page = &p->pages[i / PAGE_BITS];

    if (!*page) {
        *page = calloc(PAGE_WORDS, sizeof(uint64_t));
        if (!*page)
            return err_oom(e);
    }
    (*page)[i % PAGE_BITS / 64] |= UINT64_C(1) << (i % 64);
    p->used++;
    return 0;
}

/* First free address in [from, to], 0 when there is none. Full words are stepped over whole. */
static uint32_t find_free(const struct ipam *p, uint32_t from, uint32_t to) {
    for (uint64_t a = from; a <= to;) {
        uint32_t i = (uint32_t)a - p->first;
        const uint64_t *page = p->pages[i / PAGE_BITS];
        uint64_t word, free_bits;

        if (!page)
            return (uint32_t)a;
        word = page[i % PAGE_BITS / 64];
        free_bits = ~word & (UINT64_MAX << (i % 64));
        if (free_bits) {
            uint64_t found = a - i % 64 + (unsigned)__builtin_ctzll(free_bits);

            return found <= to ? (uint32_t)found : 0;
        }
        a += 64 - i % 64;
    }
    return 0;
}

int ipam_take(struct ipam *p, uint32_t *ret, struct err *e) {
    uint32_t addr = p->low <= p->hi ? find_free(p, p->low, p->hi) : 0;
    int r;

    if (!addr)
        return err_set(e, ERR_CONFLICT, "no available IPv4 addresses on this network's address pools");
    r = mark(p, addr, e);
    if (r < 0)
        return r;
    p->low = addr + 1;
    *ret = addr;
    return 0;
}

int ipam_take_addr(struct ipam *p, uint32_t addr, struct err *e) {
    if (!cidr4_contains(&p->subnet, addr))
        return err_set(e, ERR_INVALID, "no configured subnet contains the address");
    if (taken(p, addr) || (p->reserved && (addr == p->first || addr == p->first + p->size)))
        return err_set(e, ERR_FORBIDDEN, "Address already in use");
    return mark(p, addr, e);
}

void ipam_release(struct ipam *p, uint32_t addr) {
    uint32_t i = addr - p->first;

    if (!cidr4_contains(&p->subnet, addr) || !taken(p, addr))
        return;
    p->pages[i / PAGE_BITS][i % PAGE_BITS / 64] &= ~(UINT64_C(1) << (i % 64));
    p->used--;
    if (addr >= p->lo && addr < p->low)
        p->low = addr;
}

size_t ipam_used(const struct ipam *p) {
    return p->used;
}

/* ---- pools ------------------------------------------------------------------------------------------------------------------------- */

static uint64_t n_subnets(const struct ipam_pool *p) {
    return UINT64_C(1) << (p->size - p->base.prefix);
}

static bool overlaps_any(const struct cidr4 *c, const struct cidr4 *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (cidr4_overlap(c, &v[i]))
            return true;
    return false;
}

int ipam_pick_subnet(const struct ipam_pool *pools, size_t n_pools, const struct cidr4 *taken, size_t n_taken, uint64_t *next, struct cidr4 *ret,
                     struct err *e) {
    uint64_t total = 0;

    for (size_t i = 0; i < n_pools; i++)
        total += n_subnets(&pools[i]);
    for (uint64_t k = 0; k < total; k++) {
        uint64_t at = (*next + k) % total, nth = at;
        const struct ipam_pool *p = pools;
        struct cidr4 c;

        for (; nth >= n_subnets(p); p++)
            nth -= n_subnets(p);
        c = (struct cidr4){cidr4_net(&p->base) + (uint32_t)(nth << (32 - p->size)), p->size};
        if (overlaps_any(&c, taken, n_taken))
            continue;
        *ret = c;
        *next = at + 1;
        return 0;
    }
    return err_set(e, ERR_CONFLICT, "all predefined address pools have been fully subnetted");
}
