// SPDX-License-Identifier: Apache-2.0
/*
 * network-internal.h - inside of network/.
 *
 * Locking: networks.lock guards the maps of networks, each network's address space and list of endpoints, and the names in endpoints. It is never
 * held over system calls that can wait. networks.change serialises making and removing networks (bridges, rules). change is taken before lock.
 */
#ifndef HATAKE_NETWORK_NETWORK_INTERNAL_H
#define HATAKE_NETWORK_NETWORK_INTERNAL_H

#include <pthread.h>

#include "base/engine.h"
#include "base/id.h"
#include "base/map.h"
#include "netplane/firewall.h"
#include "netplane/firewalld.h"
#include "netplane/ipam.h"
#include "netplane/ipam6.h"
#include "netplane/ports.h"
#include "netplane/proxy.h"
#include "network/network.h"
#include "types.h"
#include "wire/filters.h"

/* An entry of the list of networks as JSON, for one version of the API. */
struct network_text {
    int version;
    size_t len;
    char text[];
};

struct network {
    int refs;                    /* atomic */
    struct api_network record;   /* what the API shows and the table keeps; immutable */
    struct network_text *listed; /* set once (atomic), by who lists first; NULL before that */
    int64_t created;             /* wall clock, ns */
    enum network_kind kind;
    bool default_bridge;
    /* bridges */
    char bridge[16];
    int ifindex, mtu;
    bool icc, masquerade, guard;
    bool segments_asked, long_segments; /* atomic; whether the bridge takes long ones, once it was asked */
    struct cidr4 addr;                  /* of the bridge, with its prefix */
    uint32_t gateway;                   /* of the containers */
    bool v6;                            /* the next two hold */
    struct cidr6 addr6;                 /* of the bridge, with its prefix */
    struct in6_addr gateway6;
    char parent[16]; /* macvlan, ipvlan: the machine's interface below; "" : none */
    bool own_parent; /* it was made for this network */
    int vlan_mode, vlan_flag;
    bool auto4;                     /* the IPv4 network came from the pools, nobody asked for it */
    bool global;                    /* of global scope: an address space of its own */
    char binding[PORT_HOST_IP_MAX]; /* default address of published ports, "" : all */
    /* guarded by networks.lock */
    struct ipam *ipam;
    struct ipam6 *ipam6;
    struct endpoint *endpoints;
    bool removing;
};

struct endpoint {
    struct endpoint *next, **link; /* of the network's list */
    struct network *net;           /* counted */
    char id[ID_LEN + 1];
    char container_id[ID_LEN + 1];
    char *container_name; /* guarded by networks.lock */
    char *hostname;
    struct strv aliases, links;
    struct strv link_local; /* wanted at join; an adopted one has its interface already */
    char ifname[16], host_ifname[16];
    uint32_t ip; /* host byte order; 0: none */
    char ip_text[IPV4_TEXT_MAX];
    bool has_ip6;
    struct in6_addr ip6;
    char ip6_text[IPV6_TEXT_MAX];
    uint8_t mac[6];
    char mac_text[MAC_TEXT_MAX];
    struct port_taken *ports;
    size_t n_ports;
    bool adopted; /* made by networks_adopt() */
    /* Without the proxy a container reaches its own published port by the bridge alone, where bridged frames are rewritten too (br_netfilter). */
    bool hairpin;
};

/* A link whose container has left; ip 0: none. */
struct left_link {
    char ifname[16];
    uint8_t mac[6];
    uint32_t ip;
    bool has_ip6;
    struct in6_addr ip6;
};
#define LEFT_LINKS 1024 /* that are remembered: as many as a bridge has ports, should all its containers end at once (BR_MAX_PORTS of the kernel) */

struct networks {
    struct engine *engine;
    pthread_mutex_t lock, change;
    struct map by_id, by_name; /* struct network; a name is used once */
    struct firewall *firewall;
    struct firewalld *firewalld; /* NULL: no system bus, or no rules to be written */
    struct ports *ports;
    struct proxy *proxy;
    struct map adopted; /* first 32 digits of endpoint ids claimed during start */
    char host_gateway[PORT_HOST_IP_MAX];
    bool loopback_asked;               /* atomic; for long segments, in this run */
    uint64_t next_pool[2];             /* guarded by lock: where the search for a free network goes on; of local and of global scope */
    struct network *default_net;       /* borrowed from the maps; bridge, or none */
    struct left_link left[LEFT_LINKS]; /* guarded by lock; the newest overwrites the oldest */
    size_t n_left;
};

/* ---- left.c ---- */
/* The endpoint is about to give its addresses back; its link may outlive that. */
void left_note(struct networks *n, const struct endpoint *ep);
/* The endpoint has its addresses and no link yet: from here on no earlier holder is heard on the bridge. */
void left_silence(struct networks *n, const struct endpoint *ep);

/* ---- network-store.c ---- */
int network_store_setup(struct networks *n, struct err *e);
int network_store_load(struct networks *n, struct err *e);
int network_store_add(struct networks *n, const struct network *net, struct err *e);
int network_store_remove(struct networks *n, const char *id, struct err *e);

/* ---- network.c ---- */
/* A network from its record (taken over, also on failure). Derived fields are filled; no bridge is made. */
int network_from_record(struct api_network *record, struct network **ret, struct err *e);
/* Enter into the maps (the maps take a reference). */
int networks_enter(struct networks *n, struct network *net, struct err *e);
void networks_forget(struct networks *n, struct network *net);
void networks_event(struct networks *n, const struct network *net, const char *action, const char *container_id);
/* All networks, oldest first, as counted references. Caller unrefs each and frees the array. */
int networks_all(struct networks *n, struct network ***ret, size_t *ret_n, struct err *e);
const char *network_option(const struct network *net, const char *key);

/* ---- setup.c ---- */
/* Make or find the predefined networks; the bridge's device too. */
int networks_setup(struct networks *n, struct err *e);
/* Rules for all bridges as they are now. */
int networks_apply_rules(struct networks *n, struct err *e);
/* Rules of one bridge more, or less; all of them anew where somebody took them away. n->change is held. */
int networks_add_rules(struct networks *n, const struct network *net, struct err *e);
int networks_drop_rules(struct networks *n, const struct network *net, struct err *e);
/* Fits firewall_watch(): somebody else took rules away (arg: struct networks). */
void rules_damaged(void *arg);
/* firewalld started or reloaded: its zone has our bridges, and our rules are there. */
void firewalld_fresh(void *arg);
/*
 * A free network from the pools, the next one after the last. global: for a network of global scope. but: for this interface, looking away from what it has,
 * and the first one that is free.
 */
int networks_pick_subnet(struct networks *n, const char *but, bool global, struct cidr4 *ret, struct err *e);
/* The same for IPv6: only from --default-address-pool, there are none by default. */
int networks_pick_subnet6(struct networks *n, struct cidr6 *ret, struct err *e);
/* Make the bridge device of a network. */
int network_make_bridge(struct networks *n, struct network *net, struct err *e);
extern const char *const option_bridge_name,
    *const option_icc, *const option_masquerade, *const option_inhibit, *const option_binding, *const option_mtu, *const option_default,
                                                                                                                      *const option_source,
                                                                                                                          *const option_source6;

/* ---- create.c ---- */
int networks_create(struct networks *n, const struct api_network_create_request *req, struct network **ret, char **ret_warning, struct err *e);
int networks_remove(struct networks *n, const char *ref, struct err *e);
/* At start: take away bridges of networks that were not made or not removed wholly. */
int networks_finish_intents(struct networks *n, struct err *e);
/* Does `until` (0: none) and the label filters let this network be pruned? */
bool network_prune_match(const struct filters *f, const struct network *net, int64_t until_ns);

/* ---- request.c: what a request for a network says ---- */
int network_check_request(const struct api_network_create_request *req, struct err *e);

/* ---- vlan.c: macvlan and ipvlan ---- */
/* Read options into the network: parent, mode, flag. */
int network_read_vlan(struct network *net, struct err *e);
/* Who is on it can leave by it: it is neither internal nor on a dummy interface. */
bool network_leads_out(const struct network *net);
/* Find or make the interface below (own_parent says which). n->change is held. */
int network_make_parent(struct networks *n, struct network *net, struct err *e);

/* ---- endpoint.c ---- */
/* Memory only: nothing is given back. */
struct endpoint *endpoint_free(struct endpoint *ep);

/* ---- files.c ---- */
/* Options of the machine's resolv.conf, as a container with the embedded DNS gets them; empty without the file. ret must be empty. */
int host_resolv_options(struct strv *ret, struct err *e);
/* The servers it names; systemd-resolved's own are looked up behind it. The same. */
int host_nameservers(struct strv *ret, struct err *e);

/* ---- names.c ---- */
/* Say the endpoint's names (again); without networks.lock. Logs what fails: a container without a name still runs. */
void names_endpoint_up(struct networks *n, struct endpoint *ep);
void names_endpoint_down(struct networks *n, struct endpoint *ep);

/* ---- settings.c ---- */
/* Fill Containers of an inspect reply. */
int network_containers(struct networks *n, struct network *net, struct api_network_container_map *ret, struct err *e);

#endif
