// SPDX-License-Identifier: Apache-2.0
/*
 * network.h - networks and the containers' places on them.
 *
 * What it owns
 *  - Network records (table `network`): the predefined bridge, host and none with ids that stay the same for a data root, and user-defined bridges.
 *  - On the machine: bridges, their addresses, forwarding, firewall rules, published ports (through netplane/).
 *  - Endpoints: a container's place on one network (address, MAC, names, published ports). They live in memory; what must survive a
 *    crash of the engine is a short JSON text that the container's own record keeps (endpoint_save / networks_adopt), so that starting
 *    a container costs no database write of its own here.
 *
 * Life cycle of an endpoint
 *   networks_join()    when a container starts: takes an address, publishes ports, all visible when it returns
 *   endpoint_link()    what the monitor needs to make the veth pair (it is born inside the container's namespace)
 *   networks_leave()   when it stopped: address and ports are free again when it returns; the kernel takes the pair down with the namespace
 *   networks_adopt()   at engine start instead of join, for containers that run on; then networks_adopted() once: what nobody claimed is removed
 *
 * Threads: every function may be called on any thread. struct network is an immutable, counted snapshot. struct endpoint belongs to the container that
 * joined; its getters may be called by any thread between join and leave.
 * Errors carry the texts that clients of the reference see.
 */
#ifndef HATAKE_NETWORK_NETWORK_H
#define HATAKE_NETWORK_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/strv.h"
#include "netplane/ports.h"

struct engine;
struct networks;
struct network;
struct endpoint;
struct api_endpoint_settings;
struct api_port_binding_list_map;
struct api_string_set;
struct launch_link;

/* NETWORK_CONFIG only lends its settings to others (ConfigOnly). */
enum network_kind { NETWORK_BRIDGE, NETWORK_HOST, NETWORK_NONE, NETWORK_MACVLAN, NETWORK_IPVLAN, NETWORK_CONFIG };

/* ---- the manager ------------------------------------------------------------------------------------------------------------------- */

/*
 * Load the records, make the default bridge, forwarding and the firewall skeleton as engine->config says. Needs config, db, events (may be NULL in tests),
 * libexec_dir. Errors: bad --bip and friends (ERR_INVALID), kernel refusals.
 */
int networks_new(struct engine *engine, struct networks **ret, struct err *e);
/*
 * Bridges, rules, published ports and hatake-netd stay as they are: containers may be running. Endpoints not left are freed with it (memory only), so whoever
 * holds one must be gone already. NULL is fine. Returns NULL.
 */
struct networks *networks_free(struct networks *n);

/* ---- networks ---------------------------------------------------------------------------------------------------------------------- */

/*
 * By full id, name, or unambiguous id prefix (in this order). ERR_NOT_FOUND "network x not found". `default` names the default network (bridge, or
 * none with --bridge=none). The caller unrefs.
 */
int networks_find(struct networks *n, const char *ref, struct network **ret, struct err *e);
struct network *network_ref(struct network *net);
struct network *network_unref(struct network *net); /* NULL is fine; returns NULL */
const char *network_id(const struct network *net);
const char *network_name(const struct network *net);
enum network_kind network_kind(const struct network *net);
/* The predefined bridge has no embedded DNS and its own resolv.conf and hosts rules. */
bool network_is_default_bridge(const struct network *net);
/* Is this the name of a network that is always there? They resolve no names. */
bool network_is_predefined(const char *name);
/* Containers have addresses and an interface of their own on it. */
static inline bool network_has_links(const struct network *net) {
    enum network_kind k = network_kind(net);

    return k == NETWORK_BRIDGE || k == NETWORK_MACVLAN || k == NETWORK_IPVLAN;
}
/*
 * The order of a container's networks, for qsort: below 0 when a comes first. Internal ones last, one with IPv6 before one without, then by name. It numbers the
 * interfaces of a container that starts.
 */
int network_order(const struct network *a, const struct network *b);
/*
 * Which of a container's networks gives it its default routes and carries its published ports: the first that is not internal. -1: none of them. NULL entries are skipped.
 */
int networks_gateway(struct network *const *v, size_t n);
/*
 * Is what somebody wants of an endpoint possible on this network (`net` NULL: it does not exist yet)? `name` as in the request. ERR_INVALID "invalid endpoint
 * settings:\n...", "invalid MAC address x".
 */
int network_check_endpoint(const char *name, const struct network *net, const struct api_endpoint_settings *ep, struct err *e);

/* ---- ports ------------------------------------------------------------------------------------------------------------------------- */

/* enum port_proto and struct port_request are in netplane/ports.h. */
struct port_requests {
    struct port_request *v;
    size_t n;
};
void port_requests_done(struct port_requests *p);

/*
 * Read "80/tcp" keys and host bindings as the API gives them (HostConfig.PortBindings) of exposed ports, plus the other exposed ports when publish_all. Result in
 * ascending order of container port as the reference maps them. ERR_INVALID with the reference's text.
 */
int port_requests_read(struct port_requests *ret, const struct api_port_binding_list_map *bindings, const struct api_string_set *exposed,
                       bool publish_all, struct err *e);

/* ---- endpoints --------------------------------------------------------------------------------------------------------------------- */

struct endpoint_request {
    const char *container_id;   /* 64 hex */
    const char *container_name; /* without the slash; in error texts and in the network's Containers */
    const char *hostname;
    const char *ipv4, *ipv6, *mac; /* wanted, or NULL */
    const struct strv *link_local; /* more addresses of its interface, for neighbours on the link alone; NULL allowed */
    const struct strv *aliases;    /* NULL allowed */
    const struct strv *links;      /* "container:alias" of this network; NULL allowed */
    const struct port_request *ports;
    size_t n_ports;
    unsigned index;   /* number of the interface: 0 gives eth0 */
    bool *ret_placed; /* becomes true once it has its addresses, even where its ports then are not to be had; NULL: nobody asks */
};

/*
 * Take an address, publish the ports. Host and none networks give an endpoint without address. On failure nothing is kept.
 * Errors: no address left (ERR_INTERNAL); wanted address unusable (ERR_INVALID) or in use (ERR_FORBIDDEN); "driver failed programming external
 * connectivity on endpoint NAME (ID): Bind for 0.0.0.0:8080 failed: port is already allocated".
 */
int networks_join(struct networks *n, struct network *net, const struct endpoint_request *req, struct endpoint **ret, struct err *e);
/*
 * Give back address and ports (free for the next container when this returns) and release the endpoint. Never fails. Returns NULL; NULL is fine.
 * Publishes the network event `disconnect`; networks_join() published `connect`.
 */
struct endpoint *networks_leave(struct networks *n, struct endpoint *ep);

/*
 * Published ports move with the gateway: publish on an endpoint that has none, or give all of them back. Errors as those of networks_join().
 */
int endpoint_publish(struct networks *n, struct endpoint *ep, const struct port_request *v, size_t k, struct err *e);
void endpoint_withdraw(struct networks *n, struct endpoint *ep);
/* The links of these are there, in a container that runs: local TCP may go to them, and to their published ports, in long segments (link_long_segments()). */
void networks_linked(struct networks *n, struct endpoint *const *v, size_t k);
/* Wait until ports given back do not answer any more. */
void networks_settle(struct networks *n);
/* Publish the event `disconnect` for a container that does not run and so has no endpoint to leave. */
void networks_tell_disconnect(struct networks *n, const struct network *net, const char *container_id);
/* Text for the container's record (JSON, one line). */
int endpoint_save(const struct endpoint *ep, struct buf *out, struct err *e);
/* Make the endpoint again from what endpoint_save() gave. ERR_NOT_FOUND when its network is gone. No events. */
int networks_adopt(struct networks *n, const char *saved, struct endpoint **ret, struct err *e);
/* All running containers have been adopted: remove published ports and reservations that nobody claimed. Called once at start, also when there were none. */
void networks_adopted(struct networks *n);
/*
 * Let two containers of the default bridge talk on some ports ("80/tcp") of the second one, when its containers may not talk by themselves (--icc=false);
 * else nothing is done. `key` names the pair; a second call replaces the first.
 */
int networks_let_through(struct networks *n, const char *key, const char *from, const char *to, const struct strv *ports, struct err *e);
/* Not any longer: all pairs whose key has `part` in it. */
void networks_stop_through(struct networks *n, const char *part);
/* Write bridges' rules and published ports anew if somebody removed them (reload signal). Cheap when all is there. */
void networks_repair(struct networks *n);
/* The container has another name now. */
void endpoint_rename(struct networks *n, struct endpoint *ep, const char *container_name);

/*
 * Fill what the monitor needs to make the link (zero-initialised by the caller; its sysctls are released by the caller with strv_done). gateway: default routes
 * go by this one. False: host or none, there is no link to make.
 */
bool endpoint_link(const struct endpoint *ep, bool gateway, struct launch_link *ret);
/* The name of its interface inside, and its number: eth3 is 3. "" and 0 when it has none. */
const char *endpoint_ifname(const struct endpoint *ep);
unsigned endpoint_index(const struct endpoint *ep);
/*
 * Take the link away by the machine's end of it, if it has one: both ends are gone when this returns true. Also what a container's namespace did not take
 * with it after a change that failed.
 */
bool endpoint_drop_link(const struct endpoint *ep);

struct network *endpoint_network(const struct endpoint *ep); /* borrowed */
const char *endpoint_id(const struct endpoint *ep);
const char *endpoint_ipv4(const struct endpoint *ep); /* "172.17.0.2" or "" */
const char *endpoint_ipv6(const struct endpoint *ep); /* "fd00::2" or "" */
/* Names that a network resolves to who asks so for a place: the container's, its aliases, its short id, its host name. None on the predefined networks. */
int network_names(const struct network *net, const struct endpoint_request *req, struct strv *ret, struct err *e);
/* The same of a place that is taken. */
int endpoint_names(const struct endpoint *ep, struct strv *ret, struct err *e);
/* One entry of NetworkSettings.Networks (zero-initialised by the caller, api_endpoint_settings_done afterwards). */
int endpoint_settings(const struct endpoint *ep, struct api_endpoint_settings *ret, struct err *e);
/*
 * Add the published ports to NetworkSettings.Ports; for API list entries use endpoint_each_port(). Ports are stable from join to leave.
 */
int endpoint_ports(const struct endpoint *ep, struct api_port_binding_list_map *ret, struct err *e);

/* A published port as it is. IPv6 twins ("::") come as entries of their own. */
struct port_binding {
    enum port_proto proto;
    uint16_t container_port, host_port;
    const char *host_ip; /* "0.0.0.0", "::", "127.0.0.1" */
};
size_t endpoint_n_ports(const struct endpoint *ep);
struct port_binding endpoint_port(const struct endpoint *ep, size_t i);

/* ---- files in the container ------------------------------------------------------------------------------------------------------- */

struct hosts_request {
    const char *hostname, *domainname;
    const struct strv *extra_hosts; /* "name:address"; host-gateway is resolved. NULL allowed */
    const struct strv *links;       /* whole lines of linked containers. NULL allowed */
    bool host_mode;                 /* begin with the machine's own file */
    struct endpoint *const *endpoints;
    size_t n_endpoints;
};
/* /etc/hosts. ERR_INVALID for names with line feeds. */
int networks_build_hosts(struct networks *n, const struct hosts_request *req, struct buf *out, struct err *e);

/* The lines of one endpoint in that file, one for each address; nothing without an address. */
void endpoint_hosts(const struct endpoint *ep, const char *hostname, const char *domainname, struct buf *out);

struct resolv_request {
    const struct strv *dns, *dns_search, *dns_options; /* of the container; NULL or empty: the daemon's, then the host's */
    const struct network *net;                         /* NULL: host mode */
    bool embedded;                                     /* networks_need_names(): the server is 127.0.0.11 */
};
/* /etc/resolv.conf as the reference writes it (the host's file without loopback servers, 8.8.8.8 when none is left; with header comments). */
int networks_build_resolv(struct networks *n, const struct resolv_request *req, struct buf *out, struct err *e);

/* ---- names.c ---- the embedded name server at 127.0.0.11, for containers on user-defined networks (hatake-netd answers) ---- */

struct monitor;
struct launch_resolver;

/* Is one of the endpoints on a network whose names are served? */
bool networks_need_names(struct endpoint *const *v, size_t n);
/* What the monitor needs to make the sockets: two ports picked anew each time, and rules, whose bytes go to `rules` and live as long as it. */
int networks_make_resolver(struct launch_resolver *ret, struct buf *rules, struct err *e);

/* What a container may ask. Its own names are its endpoints': networks_join() and networks_leave() see to them. */
struct sandbox_request {
    const char *container_id;
    struct endpoint *const *endpoints; /* in the order in which their networks are asked */
    size_t n_endpoints;
    const struct strv *dns, *dns_options; /* as in struct resolv_request */
    struct monitor *monitor;              /* has the sockets */
};
/*
 * Say it to hatake-netd: after a start, at adoption, and whenever endpoints or links change. Right for every question asked after it returned. Returns 1
 * when the container needs a name server and has none: make its sockets (monitor_resolver()) and call again.
 */
int networks_serve_names(struct networks *n, const struct sandbox_request *req, struct err *e);
/* The container ended. */
void networks_unserve_names(struct networks *n, const char *container_id);

/* Address that `host-gateway` stands for: --host-gateway-ip or the default bridge's. "" when there is none. */
const char *networks_host_gateway(struct networks *n);

#endif
