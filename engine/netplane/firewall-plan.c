// SPDX-License-Identifier: Apache-2.0
/* What the rules of the shared tables are, as text. */
#include <stdlib.h>

#include "netplane/firewall.h"

#define ADD(to, ...)                                                                                                                                 \
    do {                                                                                                                                             \
        if (strv_addf(&ret->to, __VA_ARGS__) < 0)                                                                                                    \
            return err_oom(e);                                                                                                                       \
    } while (0)

void firewall_lines_done(struct firewall_lines *l) {
    strv_done(&l->filter);
    strv_done(&l->nat);
}

int firewall_plan_frame(const struct firewall_config *c, bool v6, struct firewall_lines *ret, struct err *e) {
    ADD(filter, "-A DOCKER-ISOLATION-STAGE-1 -j RETURN");
    ADD(filter, "-A DOCKER-ISOLATION-STAGE-2 -j RETURN");
    ADD(nat, "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER");
    if (c->proxied)
        ADD(nat, "-A OUTPUT ! -d %s -m addrtype --dst-type LOCAL -j DOCKER", v6 ? "::1/128" : "127.0.0.0/8");
    else
        ADD(nat, "-A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER");
    return 0;
}

int firewall_plan_jumps(struct firewall_lines *ret, struct err *e) {
    ADD(filter, "-I FORWARD -j DOCKER-ISOLATION-STAGE-1");
    ADD(filter, "-I FORWARD -j DOCKER-USER");
    return 0;
}

static void net_text(const struct firewall_bridge *b, bool v6, char ret[CIDR6_TEXT_MAX]) {
    if (v6)
        cidr6_format_net(&b->subnet6, ret);
    else
        cidr4_format_net(&b->subnet, ret);
}

/* "MASQUERADE", or the address that the owner wants to be seen. */
static void source_text(const struct firewall_bridge *b, bool v6, char ret[64]) {
    char addr[IPV6_TEXT_MAX];

    if (v6 ? IN6_IS_ADDR_UNSPECIFIED(&b->source6) : !b->source) {
        snprintf(ret, 64, "MASQUERADE");
        return;
    }
    if (v6)
        ipv6_format(&b->source6, addr);
    else
        ipv4_format(b->source, addr);
    snprintf(ret, 64, "SNAT --to-source %s", addr);
}

static int plan_internal(const struct firewall_bridge *b, bool v6, struct firewall_lines *ret, struct err *e) {
    const char *br = b->ifname;
    char net[CIDR6_TEXT_MAX];

    if (v6 && !b->v6)
        return 0;
    net_text(b, v6, net);
    if (b->icc)
        ADD(filter, "-I FORWARD -i %s -o %s -j ACCEPT", br, br);
    else
        ADD(filter, "-A FORWARD -i %s -o %s -j DROP", br, br);
    /* Neighbour discovery of IPv6 goes by addresses outside of the subnet. */
    if (v6) {
        ADD(filter, "-I DOCKER-ISOLATION-STAGE-1 ! -d %s -i %s ! -o %s -j DROP", net, br, br);
        ADD(filter, "-I DOCKER-ISOLATION-STAGE-1 ! -s %s ! -i %s -o %s -j DROP", net, br, br);
    } else {
        ADD(filter, "-I DOCKER-ISOLATION-STAGE-1 ! -d %s -i %s -j DROP", net, br);
        ADD(filter, "-I DOCKER-ISOLATION-STAGE-1 ! -s %s -o %s -j DROP", net, br);
    }
    return 0;
}

/* Bridges made later come first, as in the reference, which inserts at the head. */
int firewall_plan_bridge(const struct firewall_config *c, const struct firewall_bridge *b, bool v6, struct firewall_lines *ret, struct err *e) {
    const char *br = b->ifname;
    char net[CIDR6_TEXT_MAX], source[64];

    if (b->internal)
        return plan_internal(b, v6, ret, e);
    ADD(filter, "-I DOCKER-ISOLATION-STAGE-1 -i %s ! -o %s -j DOCKER-ISOLATION-STAGE-2", br, br);
    ADD(filter, "-I DOCKER-ISOLATION-STAGE-2 -o %s -j DROP", br);
    if (v6 && !b->v6)
        return 0;
    if (b->icc)
        ADD(filter, "-I FORWARD -i %s -o %s -j ACCEPT", br, br);
    else
        ADD(filter, "-A FORWARD -i %s -o %s -j DROP", br, br);
    ADD(filter, "-I FORWARD -i %s ! -o %s -j ACCEPT", br, br);
    ADD(filter, "-I FORWARD -o %s -j DOCKER", br);
    ADD(filter, "-I FORWARD -o %s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", br);
    ADD(filter, "-I DOCKER ! -i %s -o %s -m conntrack --ctstate DNAT -j ACCEPT", br, br);
    net_text(b, v6, net);
    source_text(b, v6, source);
    if (b->masquerade)
        ADD(nat, "-I POSTROUTING -s %s ! -o %s -j %s", net, br, source);
    if (!c->proxied)
        ADD(nat, "-I POSTROUTING -o %s -m addrtype --src-type LOCAL -j %s", br, source);
    if (c->proxied && b->masquerade)
        ADD(nat, "-I DOCKER -i %s -j RETURN", br);
    return 0;
}
