// SPDX-License-Identifier: Apache-2.0
/*
 * netting.h - a container's places on networks: joining when it starts, the files that speak of them, and how inspect shows them.
 * All functions need the container's token.
 */
#ifndef HATAKE_CONTAINER_NETTING_H
#define HATAKE_CONTAINER_NETTING_H

#include "container/container-internal.h"
#include "monitor/launch.h"
#include "network/network.h"

/* How far a start came with one of the container's networks: what inspect says of it depends on that. */
enum net_reached {
    NET_UNTRIED,
    NET_NAMED, /* it was to be joined: the container's names on it are known */
    NET_PLACED /* it gave addresses */
};

struct net_plug {
    struct launch_link *links; /* for the launch request */
    size_t n_links;
    struct network *first; /* decides resolv.conf; NULL: none */
    char sandbox_id[65];
    bool host;
    bool disabled;             /* the container asked for none */
    bool joined;               /* all networks were joined */
    enum net_reached *reached; /* where not: of each network of the record, in its order; NULL: none was tried */
};
void net_plug_done(struct net_plug *p);

/* Join all networks of the container (its endpoints are kept in it). On failure all are left again; of *ret only `reached` is set then, and
 * `sandbox_id` if any network gave addresses. */
int net_plug(struct container *c, struct net_plug *ret, struct err *e);
/* Leave all networks: addresses and ports are free when it returns. */
void net_unplug(struct container *c);
/* One more container is about to live in the network namespace of this one: net_unplug() then takes the links away, instead of leaving that to the namespace's end. */
void net_lend(struct container *owner);
/* What somebody wants of a place on a network (aliases, links, options, addresses), added where *to has nothing yet. */
int net_copy_wanted(const struct api_endpoint_settings *from, struct api_endpoint_settings *to, struct err *e);
/* Write hosts, hostname and resolv.conf of the container. `links`: lines for hosts (ctr_links_gather()). */
int net_write_files(struct container *c, const struct net_plug *p, const struct strv *links, struct err *e);
/* Write hosts anew for a container that runs, as it would be at a start. */
int net_write_hosts(struct container *c, struct err *e);
/* Put other text into a file that is mounted in a container: it stays the same file. */
int net_rewrite_file(const char *path, const struct buf *text, struct err *e);
/*
 * Network settings as they are now: with endpoints when it is plugged, names and network ids alone otherwise. `old`: the networks to tell of, and what is
 * wanted of them (usually those of the present view). `p` NULL: keep the sandbox of `old`.
 */
int net_describe(struct container *c, const struct ctr_net *old, const struct net_plug *p, struct ctr_net **ret, struct err *e);
/* The container's place on a network (by name or id), or NULL. */
struct endpoint *net_endpoint_on(struct container *c, const char *name);
/* Join one network as eth<index>; ports NULL: publish nothing; ret_placed (NULL allowed): see struct endpoint_request. */
int net_join(struct container *c, struct network *net, const struct api_endpoint_settings *want, const char *mac, unsigned index,
             const struct port_requests *ports, bool *ret_placed, struct endpoint **ret, struct err *e);
/* The ports that this container publishes. port_requests_done() afterwards. */
int net_read_ports(const struct ctr_fixed *f, struct port_requests *ret, struct err *e);
/* The settings of a running container that was given another name (its endpoints know already). */
int net_renamed(struct container *c, const char *name, struct ctr_net **ret, struct err *e);
/* A running container has come to a user-defined network: its resolv.conf names the embedded server, unless somebody has edited it. */
int net_embed_resolv(struct container *c, struct err *e);
/*
 * Say to the embedded name server what the container sees, after a start, a connect or a disconnect; a running container that now needs one and has none
 * is given one. Needs c->monitor.
 */
int net_serve_names(struct container *c, struct err *e);
/* Take the endpoints up again from the record (adoption). Those that cannot be are left out and logged. */
void net_adopt(struct container *c);

#endif
