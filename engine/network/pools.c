// SPDX-License-Identifier: Apache-2.0
/* Which subnet a network gets that asks for none: the next one of the address pools that nothing on the machine uses. */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "netplane/link.h"
#include "network/network-internal.h"

static int pools_of(const struct engine_config *c, bool global, struct ipam_pool **ret, size_t *ret_n, struct err *e) {
    static const struct ipam_pool global_pool = {{0x0a000000, 8}, 24};
    size_t k = c->n_default_address_pools ? c->n_default_address_pools : ipam_n_default_pools, used = 0;
    struct ipam_pool *v = calloc(k, sizeof(*v));

    if (!v)
        return err_oom(e);
    for (size_t i = 0; i < k && !global; i++) {
        const struct engine_address_pool *p = c->default_address_pools + i;
        struct cidr6 a6;

        if (!c->n_default_address_pools) {
            v[used++] = ipam_default_pools[i];
        } else if (cidr6_parse(p->base, &a6) == 0) {
            continue;
        } else if (cidr4_parse(p->base, &v[used].base) < 0 || p->size < v[used].base.prefix || p->size > 30) {
            free(v);
            return err_set(e, ERR_INVALID, "invalid address pool %s size %d", p->base, p->size);
        } else {
            v[used++].size = (uint8_t)p->size;
        }
    }
    if (global)
        v[used++] = global_pool;
    *ret = v;
    *ret_n = used;
    return 0;
}

static int pick_subnet(struct networks *n, const char *but, bool global, bool far, struct cidr4 *ret, struct err *e) {
    struct ipam_pool *pools = NULL;
    struct cidr4 *taken = NULL, *more;
    size_t n_pools = 0, n_taken = 0;
    _cleanup_strv_ struct strv servers = STRV_INIT;
    uint64_t first = 0;
    int r = pools_of(n->engine->config, global, &pools, &n_pools, e);

    if (r == 0)
        r = link_used_subnets(but, far, &taken, &n_taken, e);
    if (r == 0)
        r = host_nameservers(&servers, e);
    if (r == 0) {
        pthread_mutex_lock(&n->lock);
        more = realloc(taken, (n_taken + servers.n + n->by_id.n + 1) * sizeof(*taken));
        if (more) {
            taken = more;
            for (size_t i = 0; i < servers.n; i++) {
                if (ipv4_parse(servers.v[i], &taken[n_taken].addr) == 0)
                    taken[n_taken++].prefix = 32;
            }
            for (struct map_entry *i = NULL; (i = map_next(&n->by_id, i));) {
                const struct network *net = i->value;

                if (net->ipam && (!but || !streq(net->bridge, but)))
                    taken[n_taken++] = net->addr;
            }
        }
        r = more ? ipam_pick_subnet(pools, n_pools, taken, n_taken, but ? &first : &n->next_pool[global], ret, e) : err_oom(e);
        pthread_mutex_unlock(&n->lock);
    }
    free(pools);
    free(taken);
    return r;
}

/* A tunnel that takes half of the world, or all private networks, leaves nothing free: then those stay reachable that are near, as with the reference. */
int networks_pick_subnet(struct networks *n, const char *but, bool global, struct cidr4 *ret, struct err *e) {
    int r = pick_subnet(n, but, global, true, ret, e);

    return r == -ERR_CONFLICT ? pick_subnet(n, but, global, false, ret, e) : r;
}

static bool clash6(struct networks *n, const struct cidr6 *c) {
    bool clash = false;

    pthread_mutex_lock(&n->lock);
    for (struct map_entry *i = NULL; !clash && (i = map_next(&n->by_id, i));) {
        const struct network *net = i->value;

        clash = net->ipam6 && cidr6_overlap(&net->addr6, c);
    }
    pthread_mutex_unlock(&n->lock);
    return clash;
}

/* The next network of the same size; false after the last one below `base`. */
static bool next_net6(struct cidr6 *c, const struct cidr6 *base) {
    for (int bit = c->prefix - 1; bit >= base->prefix; bit--) {
        uint8_t mask = (uint8_t)(0x80 >> bit % 8);

        c->addr.s6_addr[bit / 8] ^= mask;
        if (c->addr.s6_addr[bit / 8] & mask)
            return true;
    }
    return false;
}

int networks_pick_subnet6(struct networks *n, struct cidr6 *ret, struct err *e) {
    const struct engine_config *c = n->engine->config;

    for (size_t i = 0; i < c->n_default_address_pools; i++) {
        const struct engine_address_pool *p = c->default_address_pools + i;
        struct cidr6 base, net;

        if (cidr6_parse(p->base, &base) < 0 || p->size < base.prefix || p->size > 126)
            continue;
        net = (struct cidr6){cidr6_net(&base), (uint8_t)p->size};
        do {
            if (!clash6(n, &net)) {
                *ret = net;
                return 0;
            }
        } while (next_net6(&net, &base));
    }
    return err_set(e, ERR_CONFLICT, "all predefined address pools have been fully subnetted");
}
