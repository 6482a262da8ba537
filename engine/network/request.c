// SPDX-License-Identifier: Apache-2.0
/* What a request for a network says: everything that can be judged without looking at other networks. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "network/network-internal.h"

/* ---- addresses --------------------------------------------------------------------------------------------------------------------- */

static void complain(struct strv *all, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void complain(struct strv *all, const char *fmt, ...) {
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_SMALL_FILE);
    va_list ap;

    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    ignore_result(strv_add(all, buf_str(&text)) < 0);
}

/* A network of either family. */
struct block {
    bool v6;
    uint8_t prefix;
    struct cidr4 a4;
    struct cidr6 a6;
    char text[CIDR6_TEXT_MAX], net[CIDR6_TEXT_MAX]; /* as written, and with the host bits cleared */
};

static int read_block(const char *s, struct block *ret) {
    char addr[IPV6_TEXT_MAX];

    memset(ret, 0, sizeof(*ret));
    if (cidr4_parse(s, &ret->a4) == 0) {
        ret->prefix = ret->a4.prefix;
        cidr4_format_net(&ret->a4, ret->net);
    } else if (cidr6_parse(s, &ret->a6) == 0) {
        ret->v6 = true;
        ret->prefix = ret->a6.prefix;
        cidr6_format_net(&ret->a6, ret->net);
    } else {
        return -1;
    }
    /* Shown the short way, whichever way it was written. */
    if (ret->v6)
        ipv6_format(&ret->a6.addr, addr);
    else
        ipv4_format(ret->a4.addr, addr);
    snprintf(ret->text, sizeof(ret->text), "%s/%u", addr, ret->prefix);
    return 0;
}

static bool overlap(const struct block *a, const struct block *b) {
    return a->v6 ? cidr6_overlap(&a->a6, &b->a6) : cidr4_overlap(&a->a4, &b->a4);
}

static void check_range(struct strv *all, const char *range, const struct block *subnet) {
    struct block b;

    if (str_empty(range))
        return;
    if (read_block(range, &b) < 0) {
        complain(all, "invalid ip-range %s: invalid CIDR block notation", range);
        return;
    }
    if (b.v6 != subnet->v6) {
        complain(all, "invalid ip-range %s: parent subnet is an IPv%d block", range, subnet->v6 ? 6 : 4);
        return;
    }
    if (b.prefix < subnet->prefix)
        complain(all, "invalid ip-range %s: CIDR block is bigger than its parent subnet %s", range, subnet->text);
    if (!streq(b.text, b.net))
        complain(all, "invalid ip-range %s: it should be %s", b.text, b.net);
    if (!overlap(subnet, &b))
        complain(all, "invalid ip-range %s: parent subnet %s doesn't contain ip-range", range, subnet->text);
}

/* `shown`: what is wrong in the reference's words: the address of a gateway, the name of an auxiliary address. */
static void check_inside(struct strv *all, const char *what, const char *shown, const char *addr, const struct block *subnet) {
    struct in6_addr a6;
    uint32_t a4 = 0;
    bool v6, inside;

    if (str_empty(addr))
        return;
    v6 = inet_pton(AF_INET6, addr, &a6) == 1;
    if (!v6 && ipv4_parse(addr, &a4) < 0) {
        complain(all, "invalid %s %s: invalid address", what, shown);
        return;
    }
    if (v6 != subnet->v6) {
        complain(all, "invalid %s %s: parent subnet is an IPv%d block", what, shown, subnet->v6 ? 6 : 4);
        return;
    }
    inside = v6 ? cidr6_contains(&subnet->a6, &a6) : cidr4_contains(&subnet->a4, a4);
    if (!inside)
        complain(all, "invalid %s %s: parent subnet %s doesn't contain this address", what, shown, subnet->text);
}

static void check_config(struct strv *all, const struct api_ipam_config *c, bool ipv6) {
    struct block subnet;

    if (read_block(c->subnet ? c->subnet : "", &subnet) < 0) {
        complain(all, "invalid subnet %s: invalid CIDR block notation", c->subnet ? c->subnet : "");
        return;
    }
    if (subnet.v6 && !ipv6)
        return;
    if (!streq(subnet.text, subnet.net))
        complain(all, "invalid subnet %s: it should be %s", subnet.text, subnet.net);
    check_range(all, c->ip_range, &subnet);
    check_inside(all, "gateway", c->gateway, c->gateway, &subnet);
    for (size_t i = 0; i < c->auxiliary_addresses.n; i++)
        check_inside(all, "auxiliary address", c->auxiliary_addresses.v[i].key, c->auxiliary_addresses.v[i].value, &subnet);
}

static int check_ipam(const struct api_ipam *ipam, bool ipv6, struct err *e) {
    _cleanup_strv_ struct strv all = STRV_INIT;
    _cleanup_free_ char *text = NULL;

    for (size_t i = 0; ipam && i < ipam->config.n; i++)
        check_config(&all, &ipam->config.v[i], ipv6);
    if (!all.n)
        return 0;
    /* One error stands alone, several become a list. */
    text = strv_join(&all, "\n* ");
    return text ? err_set(e, ERR_INVALID, "invalid network config:\n%s%s", all.n > 1 ? "* " : "", text) : err_oom(e);
}

/* Errors of the address manager, in the order in which the reference meets them: after the driver is known, before it is asked. */
static int check_ipam_driver(const struct api_network_create_request *req, bool bridge, struct err *e) {
    size_t n4 = 0, n6 = 0;

    if (!req->ipam)
        return 0;
    if (streq_ptr(req->ipam->driver, "null"))
        return err_set(e, ERR_INVALID, "ipv4 pool is empty");
    if (!str_empty(req->ipam->driver) && !streq(req->ipam->driver, "default"))
        return err_set(e, ERR_NOT_FOUND, "plugin \"%s\" not found", req->ipam->driver);
    for (size_t i = 0; i < req->ipam->config.n; i++) {
        const char *s = req->ipam->config.v[i].subnet;

        *(s && strchr(s, ':') ? &n6 : &n4) += 1;
    }
    if (bridge && (n4 > 1 || (n6 > 1 && req->has_enable_ipv6 && req->enable_ipv6)))
        return err_set(e, ERR_FORBIDDEN, "bridge driver doesn't support multiple subnets");
    return 0;
}

/* ---- options ----------------------------------------------------------------------------------------------------------------------- */

static int check_options(const struct api_string_map *opts, struct err *e) {
    const char *name = api_string_map_get(opts, option_bridge_name), *mtu = api_string_map_get(opts, option_mtu),
               *binding = api_string_map_get(opts, option_binding);
    const char *const bools[] = {option_icc, option_masquerade, option_inhibit};
    struct in6_addr a6;
    uint32_t a = 0;
    int64_t v = 0;
    bool b;

    for (size_t i = 0; i < ELEMENTSOF(bools); i++) {
        const char *s = api_string_map_get(opts, bools[i]);

        if (s && parse_bool(s, &b) < 0)
            return err_set(e, ERR_INVALID, "failed to parse %s value: %s (strconv.ParseBool: parsing \"%s\": invalid syntax)", bools[i], s, s);
    }
    if (mtu && parse_i64(mtu, &v) < 0)
        return err_set(e, ERR_INVALID, "failed to parse %s value: %s (strconv.Atoi: parsing \"%s\": invalid syntax)", option_mtu, mtu, mtu);
    if (mtu && v < 0)
        return err_set(e, ERR_INVALID, "invalid MTU number: %lld", (long long)v);
    /* The kernel's own words, as the reference passes them on; here and below. */
    if (mtu && v > 65535)
        return err_set(e, ERR_INTERNAL, "invalid argument");
    if (binding && ipv4_parse(binding, &a) < 0 && inet_pton(AF_INET6, binding, &a6) != 1)
        return err_set(e, ERR_INVALID, "failed to parse %s value: %s (nil ip)", option_binding, binding);
    if (name && (strlen(name) > 15 || !*name))
        return err_set(e, ERR_INTERNAL, "numerical result out of range");
    if (name && (strpbrk(name, "/ \t\n:") || streq(name, ".") || streq(name, "..")))
        return err_set(e, ERR_INTERNAL, "invalid argument");
    return 0;
}

/* ---- all of it --------------------------------------------------------------------------------------------------------------------- */

static int check_borrowing(const struct api_network_create_request *req, struct err *e) {
    bool from = req->config_from && !str_empty(req->config_from->network);
    const struct api_ipam *ipam = req->ipam;

    if (req->config_only && (req->ingress || req->internal || req->attachable || !str_empty(req->scope)))
        return err_set(e, ERR_FORBIDDEN,
                       "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | "
                       "attachable | scope ] are not supported.");
    if (!from)
        return 0;
    if (req->config_only)
        return err_set(e, ERR_FORBIDDEN, "a configuration network cannot depend on another configuration network");
    if (req->enable_ipv6 || req->labels.n ||
        (ipam && (ipam->config.n || ipam->options.n || (!str_empty(ipam->driver) && !streq(ipam->driver, "default")))))
        return err_set(e, ERR_FORBIDDEN, "user specified configurations are not supported if the network depends on a configuration network");
    if (req->options.n)
        return err_set(e, ERR_FORBIDDEN, "network driver options are not supported if the network depends on a configuration network");
    return 0;
}

static int check_driver(const struct api_network_create_request *req, const char *driver, struct err *e) {
    static const char *const known[] = {"bridge", "macvlan", "ipvlan", "host", "null"};
    bool found = false;

    for (size_t i = 0; i < ELEMENTSOF(known); i++)
        found = found || streq(driver, known[i]);
    if (!found)
        return err_set(e, ERR_NOT_FOUND, "plugin \"%s\" not found", driver);
    if (req->ingress)
        return err_set(e, ERR_FORBIDDEN, "Ingress network can only be global scope network");
    if (streq_ptr(req->scope, "swarm"))
        return err_set(e, ERR_FORBIDDEN, "cannot create a swarm scoped network when swarm is not active");
    if (streq(driver, "host") || streq(driver, "null"))
        return err_set(e, ERR_FORBIDDEN, "only one instance of \"%s\" network is allowed", driver);
    return 0;
}

int network_check_request(const struct api_network_create_request *req, struct err *e) {
    const char *driver = str_empty(req->driver) ? "bridge" : req->driver;
    const char *name = req->name ? req->name : "";
    int r;

    if (network_is_predefined(name))
        return err_set(e, ERR_FORBIDDEN, "operation is not permitted on predefined %s network ", name);
    if (streq(driver, "overlay"))
        return err_set(
            e, ERR_FORBIDDEN,
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.");
    r = check_ipam(req->ipam, req->enable_ipv6, e);
    if (r < 0)
        return r;
    if (!name[strspn(name, " \t\r\n")])
        return err_set(e, ERR_INVALID, "invalid name: %s", name);
    r = check_borrowing(req, e);
    if (r < 0 || req->config_only)
        return r;
    r = check_driver(req, driver, e);
    if (r == 0)
        r = check_ipam_driver(req, streq(driver, "bridge"), e);
    return r < 0 || !streq(driver, "bridge") ? r : check_options(&req->options, e);
}

/* ---- endpoints --------------------------------------------------------------------------------------------------------------------- */

static bool mac_ok(const char *s) {
    uint8_t mac[6];

    return mac_parse(s, mac) == 0;
}

static bool given_subnet(const struct network *net, const char *text) {
    /* Subnets from the pools are marked by the engine, not by the client: they may go to somebody else another time. */
    return (!net->auto4 && !net->default_bridge) || strchr(text, ':');
}

static void check_wanted(struct strv *all, const struct network *net, const char *addr, bool v6) {
    bool known = false;
    struct block b;
    char one[IPV6_TEXT_MAX + 4];

    if (str_empty(addr))
        return;
    for (size_t i = 0; net->record.ipam && i < net->record.ipam->config.n; i++) {
        const char *subnet = net->record.ipam->config.v[i].subnet;
        struct block a;

        if (!subnet || read_block(subnet, &b) < 0 || b.v6 != v6 || !given_subnet(net, subnet))
            continue;
        known = true;
        snprintf(one, sizeof(one), "%s/%d", addr, v6 ? 128 : 32);
        if (read_block(one, &a) == 0 && a.v6 == v6 && overlap(&b, &a))
            return;
    }
    complain(all,
             known ? "no configured subnet or ip-range contain the IP address %s"
                   : "%suser specified IP address is supported only when connecting to networks with user configured subnets",
             known ? addr : "");
}

int network_check_endpoint(const char *name, const struct network *net, const struct api_endpoint_settings *ep, struct err *e) {
    const char *v4 = ep && ep->ipam_config ? ep->ipam_config->ipv4_address : NULL, *v6 = ep && ep->ipam_config ? ep->ipam_config->ipv6_address : NULL;
    _cleanup_strv_ struct strv all = STRV_INIT;
    _cleanup_free_ char *text = NULL;
    struct in6_addr a6;
    uint32_t a4 = 0;

    if (!ep)
        return 0;
    if (!str_empty(ep->mac_address) && !mac_ok(ep->mac_address))
        return err_set(e, ERR_INVALID, "invalid MAC address %s", ep->mac_address);
    if (network_is_predefined(name)) {
        if (!str_empty(v4) || !str_empty(v6))
            complain(&all, "user specified IP address is supported on user defined networks only");
        if (ep->aliases.n)
            complain(&all, "network-scoped alias is supported only for containers in user defined networks");
    }
    if (!str_empty(v4) && ipv4_parse(v4, &a4) < 0)
        complain(&all, "invalid IPv4 address: %s", v4);
    if (!str_empty(v6) && inet_pton(AF_INET6, v6, &a6) != 1)
        complain(&all, "invalid IPv6 address: %s", v6);
    for (size_t i = 0; ep->ipam_config && i < ep->ipam_config->link_local_ips.n; i++) {
        const char *local = ep->ipam_config->link_local_ips.v[i];

        if (ipv4_parse(local, &a4) < 0 && inet_pton(AF_INET6, local, &a6) != 1)
            complain(&all, "invalid link-local IP address:%s%s", *local ? " " : "", local);
    }
    if (net) {
        check_wanted(&all, net, v4, false);
        check_wanted(&all, net, v6, true);
    }
    if (!all.n)
        return 0;
    text = strv_join(&all, "\n* ");
    return text ? err_set(e, ERR_INVALID, "invalid endpoint settings:\n%s%s", all.n > 1 ? "* " : "", text) : err_oom(e);
}
