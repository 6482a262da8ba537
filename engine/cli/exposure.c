// SPDX-License-Identifier: Apache-2.0
/* exposure: every published port, who can reach it, and what decides that. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/socket.h>

#include "base/str.h"
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/table.h"

/* Where an address can be reached from, the widest last. */
enum reach { REACH_MACHINE, REACH_LINK, REACH_PRIVATE, REACH_INTERNET };

static const char *const reach_texts[] = {"this machine", "its link", "private networks", "the Internet"};

static enum reach reach_of4(uint32_t a) {
    if (a >> 24 == 127)
        return REACH_MACHINE;
    if (a >> 16 == 0xa9fe)
        return REACH_LINK;
    /* RFC 1918, and RFC 6598 between carriers and their customers. */
    if (a >> 24 == 10 || a >> 20 == 0xac1 || a >> 16 == 0xc0a8 || a >> 22 == 0x64400000u >> 22)
        return REACH_PRIVATE;
    return REACH_INTERNET;
}

static enum reach reach_of6(const struct in6_addr *a) {
    if (IN6_IS_ADDR_LOOPBACK(a))
        return REACH_MACHINE;
    if (IN6_IS_ADDR_LINKLOCAL(a))
        return REACH_LINK;
    return (a->s6_addr[0] & 0xfe) == 0xfc ? REACH_PRIVATE : REACH_INTERNET;
}

/* The widest reach of any address this machine has of that family, leaving bridges of containers out. */
static enum reach reach_of_machine(int family) {
    enum reach widest = REACH_MACHINE;
    struct ifaddrs *all = NULL;

    if (getifaddrs(&all) < 0)
        return REACH_INTERNET;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        enum reach r;

        if (!i->ifa_addr || i->ifa_addr->sa_family != family || !(i->ifa_flags & IFF_UP) || streq(i->ifa_name, "docker0") ||
            str_has_prefix(i->ifa_name, "br-"))
            continue;
        if (family == AF_INET) {
            memcpy(&in, i->ifa_addr, sizeof(in));
            r = reach_of4(ntohl(in.sin_addr.s_addr));
        } else {
            memcpy(&in6, i->ifa_addr, sizeof(in6));
            r = reach_of6(&in6.sin6_addr);
        }
        widest = MAX(widest, r);
    }
    freeifaddrs(all);
    return widest;
}

struct exposed {
    bool v6, every; /* every: bound to all addresses of the family */
    enum reach reach;
};

static struct exposed look(const char *ip, bool local) {
    struct exposed x = {.v6 = strchr(ip, ':') != NULL};
    struct in6_addr a6;
    struct in_addr a4;

    x.every = streq(ip, "0.0.0.0") || streq(ip, "::") || str_empty(ip);
    if (x.every)
        x.reach = local ? reach_of_machine(x.v6 ? AF_INET6 : AF_INET) : REACH_INTERNET;
    else if (x.v6)
        x.reach = inet_pton(AF_INET6, ip, &a6) == 1 ? reach_of6(&a6) : REACH_INTERNET;
    else
        x.reach = inet_pton(AF_INET, ip, &a4) == 1 ? reach_of4(ntohl(a4.s_addr)) : REACH_INTERNET;
    return x;
}

/* In the engine's own words: table and map of the packet filter, or the program that holds the port. */
static const char *decided_by(const struct exposed *x, bool ours) {
    if (!ours)
        return x->v6 ? "proxy of the engine" : "iptables nat DOCKER, then DOCKER-USER, DOCKER";
    if (x->v6)
        return "hatake-netd, then INPUT";
    if (x->reach == REACH_MACHINE)
        return "nft hatake bound; others: hatake loopback drops";
    return x->every ? "nft hatake any, then DOCKER-USER, DOCKER" : "nft hatake bound, then DOCKER-USER, DOCKER";
}

struct report {
    bool local, ours;
    enum reach at_least;
    struct table table;
    json_t *json; /* array instead of the table; NULL: not wanted */
};

static int add_port(struct report *rep, const json_t *container, const json_t *port, struct err *e) {
    const char *ip = json_text(port, "IP"), *name = json_string_value(json_array_get(json_object_get(container, "Names"), 0));
    struct exposed x = look(ip, rep->local);
    char outside[96], inside[32];

    if (!json_number(port, "PublicPort") || x.reach < rep->at_least)
        return 0;
    name = name && *name == '/' ? name + 1 : name ? name : "";
    snprintf(outside, sizeof outside, x.v6 ? "[%s]:%lld" : "%s:%lld", ip, (long long)json_number(port, "PublicPort"));
    snprintf(inside, sizeof inside, "%lld/%s", (long long)json_number(port, "PrivatePort"), json_text(port, "Type"));
    if (rep->json) {
        json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s}", "Address", outside, "Container", name, "Port", inside, "ReachableFrom",
                              reach_texts[x.reach], "DecidedBy", decided_by(&x, rep->ours));

        return json_array_append_new(rep->json, o) < 0 ? err_oom(e) : 0;
    }
    table_cell(&rep->table, outside);
    table_cell(&rep->table, name);
    table_cell(&rep->table, inside);
    table_cell(&rep->table, reach_texts[x.reach]);
    table_cell(&rep->table, decided_by(&x, rep->ours));
    return 0;
}

static int add_all(struct report *rep, const json_t *containers, struct err *e) {
    size_t i, k;
    json_t *c, *p;
    int r = 0;

    json_array_foreach((json_t *)containers, i, c) json_array_foreach(json_object_get(c, "Ports"), k, p) if (r >= 0) r = add_port(rep, c, p, e);
    return r;
}

int cmd_exposure(struct cli *c, int argc, char **argv, struct err *e) {
    bool json = false, outside = false, done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(CLI_REPLY_MAX);
    struct report rep = {.local = str_has_prefix(c->host, "unix://")};
    json_t *list = NULL;
    const struct opt table[] = {
        {"json", 0, OPT_FLAG, &json, NULL, "as JSON"},
        {"outside", 0, OPT_FLAG, &outside, NULL, "only what can be reached from elsewhere"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 0, 0, &words, &done, e);

    if (r < 0 || done)
        return r;
    rep.at_least = outside ? REACH_LINK : REACH_MACHINE;
    r = api_is_ours(c, &rep.ours, e);
    if (r >= 0)
        r = api_call(c, "GET", "/containers/json", NULL, &list, e);
    if (r < 0)
        return r;
    rep.json = json ? json_array() : NULL;
    table_init(&rep.table, (const char *const[]){"ADDRESS", "CONTAINER", "PORT", "REACHABLE FROM", "DECIDED BY", NULL});
    r = add_all(&rep, list, e);
    if (r >= 0)
        r = json ? table_json(rep.json, &out, e) : table_print(&rep.table, &out, e);
    table_done(&rep.table);
    json_decref(rep.json);
    json_decref(list);
    return r < 0 ? r : out_write(&out, e);
}
