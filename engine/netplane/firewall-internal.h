// SPDX-License-Identifier: Apache-2.0
/*
 * firewall-internal.h - inside of the firewall.
 */
#ifndef HATAKE_NETPLANE_FIREWALL_INTERNAL_H
#define HATAKE_NETPLANE_FIREWALL_INTERNAL_H

#include <pthread.h>

#include "base/map.h"
#include "netplane/firewall.h"

/* filter and nat of IPv4, then of IPv6 */
#define FIREWALL_TABLES 4

/* Where a rule of ours is. */
struct firewall_spot {
    uint8_t table, chain; /* indices, see firewall.c */
    uint64_t handle;
};

/* Whom rules were made for: a bridge, or all of them. */
struct firewall_owner {
    struct firewall_bridge bridge;
    struct firewall_spot *v;
    size_t n;
};

struct firewall {
    struct firewall_config config;
    struct netl_sock nl;
    pthread_mutex_t lock;    /* order of changes and all that follows; the kernel answers netlink at once, so holding it is short */
    struct map ports;        /* "proto/host/port" -> struct nft_port */
    struct map owners;       /* interface name, or a name of ours -> struct firewall_owner */
    struct map through;      /* key -> struct strv *, lines for DOCKER */
    size_t own_rules[2];     /* rules in our tables as they were written */
    bool written;            /* all is there, as far as we know */
    bool forward6, dropped6; /* policy of IPv6 forwarding: to be DROP, is DROP */
    /* firewall_watch() */
    bool watched;
    pthread_t watcher;
    struct netl_sock events;
    int stop;
    void (*damaged)(void *arg);
    void *arg;
};

/* ---- firewall-own.c: our table ---- */
void firewall_put_own(const struct firewall *f, struct buf *b, bool v6);
void firewall_put_own_bridge(struct buf *b, const struct firewall_bridge *br, bool v6, bool add);
void firewall_put_ports(const struct firewall *f, struct buf *b, const struct nft_port *v, size_t n, bool add);
struct nft_table firewall_own_table(bool v6);

/* ---- firewall-watch.c ---- */
void firewall_unwatch(struct firewall *f);

/* How many of the two protocols the firewall writes rules for: IPv4, and with --ip6tables IPv6. */
static inline int firewall_families(const struct firewall *f) {
    return f->config.enabled6 ? 2 : 1;
}

#endif
