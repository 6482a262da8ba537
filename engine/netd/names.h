// SPDX-License-Identifier: Apache-2.0
/*
 * names.h - who is where: networks (zones), places on them (sites) with their names and addresses, and which of that a container sees (views).
 *
 * All of it is told by hataked (proto.h) and held in memory only. A zone lives as long as a site or a view belongs to it. Names are compared without case.
 * Threads: one.
 */
#ifndef HATAKE_NETD_NAMES_H
#define HATAKE_NETD_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "netd/proto.h"

struct zone;

/* A place on a network. */
struct site {
    uint8_t id[NETD_GROUP_BYTES];
    struct zone *zone;
    uint8_t v4[4], v6[16];
    bool has_v4, has_v6, stale;
    char *shown;  /* the first name as it was given */
    char **names; /* in lower case */
    size_t n_names;
};

/* One network of a container. */
struct member {
    struct zone *zone;
    struct map links; /* alias -> name (both lower case, owned) */
};

/* What a container sees, in the order in which its networks are asked. */
struct view {
    struct member *v;
    size_t n;
};

struct names {
    struct map sites, zones; /* by id in hex */
};

/* One field of a packet; false at the end or where the packet is broken. */
struct netd_fields {
    const uint8_t *p, *end;
};
struct netd_value {
    enum netd_field field;
    const uint8_t *p;
    size_t n;
};
bool netd_next_field(struct netd_fields *f, struct netd_value *ret);

/* NETD_NAMES: add the site, or say it anew. 0, -EINVAL, -ENOMEM (the site is then gone). */
int names_set(struct names *n, const uint8_t *id, struct netd_fields f);
void names_remove(struct names *n, const uint8_t *id);
/* The part of NETD_RESOLVER that makes a view. On failure *ret is empty. */
int view_read(struct names *n, struct netd_fields f, struct view *ret);
void view_done(struct names *n, struct view *v);
void names_stale(struct names *n);
void names_sweep(struct names *n);
void names_done(struct names *n);

/*
 * Look a name up (lower case, no dot at the end) as the reference does: whole in every network of the view, then split at each dot from the right, the
 * right part being a network. *ret: the sites, borrowed until the next change; returns how many, 0 when there is no such name.
 */
size_t names_find(const struct view *v, const char *name, struct site *const **ret);
/* The site with that address (4 or 16 bytes) on a network of the view; NULL. "c1.net" is made of what it and its network show. */
const struct site *names_at(const struct view *v, const uint8_t *addr, size_t n);
/* As it was given. */
const char *zone_name(const struct zone *z);

#endif
