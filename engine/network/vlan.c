// SPDX-License-Identifier: Apache-2.0
/* Networks on top of one of the machine's interfaces: macvlan and ipvlan. */
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "netplane/link.h"
#include "network/network-internal.h"

static const char *driver_of(const struct network *net) {
    return net->kind == NETWORK_MACVLAN ? "macvlan" : "ipvlan";
}

static int read_mode(struct network *net, struct err *e) {
    static const struct {
        enum network_kind kind;
        const char *name;
        int value;
    } modes[] = {
        {NETWORK_MACVLAN, "", MACVLAN_MODE_BRIDGE},
        {NETWORK_MACVLAN, "bridge", MACVLAN_MODE_BRIDGE},
        {NETWORK_MACVLAN, "private", MACVLAN_MODE_PRIVATE},
        {NETWORK_MACVLAN, "passthru", MACVLAN_MODE_PASSTHRU},
        {NETWORK_MACVLAN, "vepa", MACVLAN_MODE_VEPA},
        {NETWORK_IPVLAN, "", IPVLAN_MODE_L2},
        {NETWORK_IPVLAN, "l2", IPVLAN_MODE_L2},
        {NETWORK_IPVLAN, "l3", IPVLAN_MODE_L3},
        {NETWORK_IPVLAN, "l3s", IPVLAN_MODE_L3S},
    };
    const char *want = network_option(net, net->kind == NETWORK_MACVLAN ? "macvlan_mode" : "ipvlan_mode");

    for (size_t i = 0; i < ELEMENTSOF(modes); i++) {
        if (modes[i].kind == net->kind && streq(modes[i].name, want ? want : "")) {
            net->vlan_mode = modes[i].value;
            return 0;
        }
    }
    return err_set(e, ERR_INTERNAL, "requested %s mode '%s' is not valid, '%s' mode is the %s driver default", driver_of(net), want,
                   net->kind == NETWORK_MACVLAN ? "bridge" : "l2", driver_of(net));
}

/* "eth0.10": tag 10 on eth0, which is there. */
static int read_tagged(const char *parent, char below[IFNAMSIZ], unsigned *ret_id, struct err *e) {
    const char *dot = strchr(parent, '.');
    int64_t id = 0;

    if (dot && strchr(dot + 1, '.'))
        return err_set(e, ERR_INTERNAL, "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received %s", parent);
    if (!dot)
        return err_set(e, ERR_INTERNAL, "invalid subinterface vlan name %s, example formatting is eth0.10", parent);
    if (parse_i64(dot + 1 + (dot[1] == '+'), &id) < 0)
        return err_set(e, ERR_INTERNAL, "unable to parse a valid vlan id from: %s (ex. eth0.10 for vlan 10)", dot + 1);
    snprintf(below, IFNAMSIZ, "%.*s", (int)(dot - parent), parent);
    if (dot - parent >= IFNAMSIZ || !if_nametoindex(below))
        return err_set(e, ERR_INTERNAL, "-o parent interface was not found on the host: %.*s", (int)(dot - parent), parent);
    if (id < 1 || id > 4094)
        return err_set(e, ERR_INTERNAL, "vlan id must be between 1-4094, received: %lld", (long long)id);
    *ret_id = (unsigned)id;
    return 0;
}

int network_read_vlan(struct network *net, struct err *e) {
    const char *parent = network_option(net, "parent"), *flag = network_option(net, "ipvlan_flag");
    char below[IFNAMSIZ];
    unsigned id;
    int r = read_mode(net, e);

    if (r < 0)
        return r;
    if (net->kind == NETWORK_IPVLAN && !str_empty(flag)) {
        net->vlan_flag = streq(flag, "bridge") ? 0 : streq(flag, "private") ? IPVLAN_F_PRIVATE : streq(flag, "vepa") ? IPVLAN_F_VEPA : -1;
        if (net->vlan_flag < 0)
            return err_set(e, ERR_INTERNAL, "requested ipvlan flag '%s' is not valid, 'bridge' is the ipvlan driver default", flag);
    }
    if (streq_ptr(parent, "lo"))
        return err_set(e, ERR_INTERNAL, "loopback interface is not a valid %s parent link", driver_of(net));
    /* No interface has such a name; one with a tag is refused by the kernel. */
    if (parent && strlen(parent) >= sizeof(net->parent)) {
        r = read_tagged(parent, below, &id, e);
        return r < 0 ? r : err_set(e, ERR_INTERNAL, "failed to create %s vlan link: numerical result out of range", parent);
    }
    /* Without one a dummy interface stands in: containers reach each other and nobody else. */
    if (str_empty(parent))
        snprintf(net->parent, sizeof(net->parent), "%s-%.12s", net->kind == NETWORK_MACVLAN ? "dm" : "di", net->record.id);
    else
        snprintf(net->parent, sizeof(net->parent), "%s", parent);
    return 0;
}

bool network_leads_out(const struct network *net) {
    bool below = net->kind == NETWORK_MACVLAN || net->kind == NETWORK_IPVLAN;

    return !net->record.internal && !(below && str_empty(network_option(net, "parent")));
}

static int make_tagged(const struct network *net, struct err *e) {
    char below[IFNAMSIZ];
    unsigned id;
    int r = read_tagged(net->parent, below, &id, e);

    if (r < 0)
        return r;
    return link_make_tagged(net->parent, below, id, e) < 0 ? err_wrap(e, "failed to create %s vlan link", net->parent) : 0;
}

int network_make_parent(struct networks *n, struct network *net, struct err *e) {
    int r = 0;

    pthread_mutex_lock(&n->lock);
    for (struct map_entry *i = NULL; r == 0 && (i = map_next(&n->by_id, i));) {
        const struct network *other = i->value;

        if (other != net && other->kind == net->kind && streq(other->parent, net->parent))
            r = err_set(e, ERR_INTERNAL, "network %s-%.12s is already using parent interface %s", net->kind == NETWORK_MACVLAN ? "dm" : "di",
                        other->record.id, net->parent);
    }
    pthread_mutex_unlock(&n->lock);
    if (r < 0 || if_nametoindex(net->parent))
        return r;
    return str_empty(network_option(net, "parent")) ? link_make_dummy(net->parent, e) : make_tagged(net, e);
}
