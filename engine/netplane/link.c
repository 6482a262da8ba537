// SPDX-License-Identifier: Apache-2.0
#include "netplane/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "netplane/netl.h"

#define MAX_SUBNETS 65536

static void closep(struct netl_sock *s) {
    netl_close(s);
}
#define NETL_SOCK __attribute__((cleanup(closep))) struct netl_sock

static const void *body(const struct nlmsghdr *h) {
    return (const char *)h + NLMSG_HDRLEN;
}

static void attrs(const struct nlmsghdr *h, size_t head, unsigned max, const struct nlattr **table) {
    head = NLMSG_ALIGN(head);
    if (h->nlmsg_len < NLMSG_HDRLEN + head)
        memset(table, 0, (max + 1) * sizeof(*table));
    else
        netl_parse((const char *)body(h) + head, h->nlmsg_len - NLMSG_HDRLEN - head, max, table);
}

static bool knob_is(const char *path, const char *value) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);

    return fs_read_file(path, &b, NULL) == 0 && str_has_prefix(buf_str(&b), value);
}

/* ---- bridge ------------------------------------------------------------------------------------------------------------------------ */

/* The kernel's own words, as Go writes them. */
static int refused(int why, struct err *e) {
    const char *text = why == EOPNOTSUPP ? "operation not supported"
                       : why == EEXIST   ? "file exists"
                       : why == EPERM    ? "operation not permitted"
                       : why == EINVAL   ? "invalid argument"
                                         : NULL;

    return text ? err_set(e, ERR_INTERNAL, "%s", text) : err_errno(e, why, "make interface");
}

/* below: index, 0 none; vlan_id only with it. *ret_errno: why not. */
static int make_link(struct netl_sock *s, const char *ifname, const char *kind, const uint8_t *mac, unsigned below, uint16_t vlan_id, int *ret_errno,
                     struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
    size_t m, info, data;

    /* What containers' interfaces sit on is up from the start; a bridge is once it has its addresses. */
    if (!streq(kind, "bridge"))
        head.ifi_flags = head.ifi_change = IFF_UP;
    m = netl_begin(&b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, &head, sizeof(head));
    netl_put_str(&b, IFLA_IFNAME, ifname);
    netl_put_u32(&b, IFLA_TXQLEN, 0);
    if (mac)
        netl_put(&b, IFLA_ADDRESS, mac, 6);
    if (below)
        netl_put_u32(&b, IFLA_LINK, below);
    info = netl_nest(&b, IFLA_LINKINFO);
    netl_put_str(&b, IFLA_INFO_KIND, kind);
    if (vlan_id) {
        data = netl_nest(&b, IFLA_INFO_DATA);
        netl_put_u16(&b, IFLA_VLAN_ID, vlan_id);
        netl_nest_end(&b, data);
    }
    netl_nest_end(&b, info);
    netl_end(&b, m);
    return netl_talk(s, &b, ret_errno, NULL, e);
}

static void set_ipv6(const char *ifname, const char *knob, const char *value) {
    char path[96];

    snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", ifname, knob);
    if (!knob_is(path, value))
        ignore_result(fs_write_knob(path, value, NULL) < 0);
}

void link_enable_ipv6(const char *ifname) {
    set_ipv6(ifname, "disable_ipv6", "0");
    set_ipv6(ifname, "accept_ra", "0");
}

static int make_bridge(struct netl_sock *s, const char *ifname, struct err *e) {
    uint8_t mac[6] = {0x02, 0x42};
    int why = 0, r;

    if (getrandom(mac + 2, 4, 0) != 4)
        return err_errno(e, errno, "random bytes");
    r = make_link(s, ifname, "bridge", mac, 0, 0, &why, e);
    if (r < 0 && why != EEXIST)
        return err_wrap(e, "make bridge %s", ifname);
    if (r < 0)
        err_done(e);
    else
        set_ipv6(ifname, "accept_ra", "0"); /* a container must not be able to give the machine routes */
    return 0;
}

static int make_one(const char *ifname, const char *kind, unsigned below, unsigned id, struct err *e) {
    NETL_SOCK s = {.fd = -EBADF};
    _cleanup_err_ struct err local = ERR_INIT;
    int why = 0, r = netl_open(&s, NETLINK_ROUTE, e);

    if (r == 0 && make_link(&s, ifname, kind, NULL, below, (uint16_t)id, &why, &local) < 0)
        r = refused(why, e);
    return r;
}

int link_make_dummy(const char *ifname, struct err *e) {
    return make_one(ifname, "dummy", 0, 0, e);
}

int link_make_tagged(const char *ifname, const char *below, unsigned id, struct err *e) {
    return make_one(ifname, "vlan", if_nametoindex(below), id, e);
}

struct seen_link {
    char kind[16];
    unsigned index;
};

static int see_link(const struct nlmsghdr *h, void *arg, struct err *e) {
    struct seen_link *l = arg;
    const struct nlattr *a[IFLA_LINKINFO + 1], *info[IFLA_INFO_KIND + 1];

    if (h->nlmsg_type != RTM_NEWLINK)
        return 0;
    attrs(h, sizeof(struct ifinfomsg), IFLA_LINKINFO, a);
    if (!a[IFLA_LINKINFO])
        return 0;
    if ((unsigned)((const struct ifinfomsg *)body(h))->ifi_index != l->index)
        return 0;
    netl_parse(netl_data(a[IFLA_LINKINFO]), netl_len(a[IFLA_LINKINFO]), IFLA_INFO_KIND, info);
    if (info[IFLA_INFO_KIND])
        snprintf(l->kind, sizeof(l->kind), "%.*s", (int)netl_len(info[IFLA_INFO_KIND]), (const char *)netl_data(info[IFLA_INFO_KIND]));
    return 0;
}

static int dump(struct netl_sock *s, uint16_t type, const void *head, size_t n, netl_msg_fn fn, void *arg, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(4096);

    netl_end(&b, netl_begin(&b, type, NLM_F_DUMP, head, n));
    return netl_dump(s, &b, fn, arg, e);
}

static int check_bridge(struct netl_sock *s, const char *ifname, unsigned index, struct err *e) {
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
    struct seen_link l = {.index = index};
    int r = dump(s, RTM_GETLINK, &head, sizeof(head), see_link, &l, e);

    if (r < 0)
        return r;
    if (!streq(l.kind, "bridge"))
        return err_set(e, ERR_INTERNAL, "existing interface %s is not a bridge", ifname);
    return 0;
}

struct seen_addrs {
    unsigned index;
    struct cidr4 want, first;
    struct buf *remove; /* NULL: only look */
    bool there;
};

static void put_addr(struct buf *b, uint16_t type, uint16_t flags, unsigned index, const struct cidr4 *c) {
    struct ifaddrmsg head = {.ifa_family = AF_INET, .ifa_prefixlen = c->prefix, .ifa_scope = RT_SCOPE_UNIVERSE, .ifa_index = index};
    uint32_t addr = htonl(c->addr), brd = htonl(c->addr | ~cidr4_mask(c->prefix));
    size_t m = netl_begin(b, type, flags | NLM_F_ACK, &head, sizeof(head));

    netl_put(b, IFA_LOCAL, &addr, sizeof(addr));
    netl_put(b, IFA_ADDRESS, &addr, sizeof(addr));
    if (type == RTM_NEWADDR && c->prefix < 31)
        netl_put(b, IFA_BROADCAST, &brd, sizeof(brd));
    netl_end(b, m);
}

static void put_addr6(struct buf *b, unsigned index, const struct in6_addr *addr, uint8_t prefix) {
    struct ifaddrmsg head = {.ifa_family = AF_INET6, .ifa_prefixlen = prefix, .ifa_index = index};
    size_t m = netl_begin(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE | NLM_F_ACK, &head, sizeof(head));

    netl_put(b, IFA_LOCAL, addr, sizeof(*addr));
    netl_put(b, IFA_ADDRESS, addr, sizeof(*addr));
    netl_end(b, m);
}

static int see_addr(const struct nlmsghdr *h, void *arg, struct err *e) {
    struct seen_addrs *s = arg;
    const struct ifaddrmsg *m = body(h);
    const struct nlattr *a[IFA_MAX + 1];
    struct cidr4 c;

    if (h->nlmsg_type != RTM_NEWADDR || m->ifa_family != AF_INET || m->ifa_index != s->index || m->ifa_scope != RT_SCOPE_UNIVERSE)
        return 0;
    attrs(h, sizeof(*m), IFA_MAX, a);
    c = (struct cidr4){netl_be32(a[IFA_LOCAL] ? a[IFA_LOCAL] : a[IFA_ADDRESS]), m->ifa_prefixlen};
    if (!s->first.addr)
        s->first = c;
    if (c.addr == s->want.addr && c.prefix == s->want.prefix)
        s->there = true;
    else if (s->remove)
        put_addr(s->remove, RTM_DELADDR, 0, s->index, &c);
    return 0;
}

int link_bridge_ensure(const struct link_bridge *br, bool keep_addrs, int *ret_ifindex, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(65536);
    NETL_SOCK s = {.fd = -EBADF};
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct ifaddrmsg all = {.ifa_family = AF_INET};
    struct seen_addrs seen = {.want = br->addr, .remove = keep_addrs || !br->addr.addr ? NULL : &b};
    unsigned index = if_nametoindex(br->ifname);
    int r, why = 0;
    size_t m;

    if (strlen(br->ifname) >= IFNAMSIZ)
        return err_set(e, ERR_INVALID, "interface name %s is too long", br->ifname);
    r = netl_open(&s, NETLINK_ROUTE, e);
    if (r == 0 && !index) {
        r = make_bridge(&s, br->ifname, e);
        index = if_nametoindex(br->ifname);
    } else if (r == 0) {
        r = check_bridge(&s, br->ifname, index, e);
    }
    if (r < 0)
        return r;
    if (!index)
        return err_errno(e, ENODEV, "bridge %s", br->ifname);
    seen.index = index;
    r = dump(&s, RTM_GETADDR, &all, sizeof(all), see_addr, &seen, e);
    if (r < 0)
        return r;
    if (br->addr.addr && !seen.there && !keep_addrs)
        put_addr(&b, RTM_NEWADDR, NLM_F_CREATE, index, &br->addr);
    if (br->addr6 && !keep_addrs) {
        static const struct in6_addr link_local = {{{0xfe, 0x80, [15] = 1}}};

        link_enable_ipv6(br->ifname);
        put_addr6(&b, index, &br->addr6->addr, br->addr6->prefix);
        put_addr6(&b, index, &link_local, 64);
    }
    link.ifi_index = (int)index;
    m = netl_begin(&b, RTM_NEWLINK, NLM_F_ACK, &link, sizeof(link));
    /* The reference lets the bridge follow its ports unless another MTU than the usual one is asked for. */
    if (br->mtu > 0 && br->mtu != 1500)
        netl_put_u32(&b, IFLA_MTU, (uint32_t)br->mtu);
    netl_end(&b, m);
    r = netl_talk(&s, &b, &why, NULL, e);
    if (r < 0 && why == EINVAL) {
        /* An MTU that no bridge has. */
        err_done(e);
        return refused(why, e);
    }
    if (r < 0)
        return err_wrap(e, "set up bridge %s", br->ifname);
    *ret_ifindex = (int)index;
    return 0;
}

/* One request about an interface, which may have gone meanwhile: then there is nothing left to do. */
static int ask(const struct buf *b, const char *what, const char *ifname, struct err *e) {
    NETL_SOCK s = {.fd = -EBADF};
    int why = 0, r = netl_open(&s, NETLINK_ROUTE, e);

    if (r == 0)
        r = netl_talk(&s, b, &why, NULL, e);
    if (r < 0 && why == ENODEV) {
        err_done(e);
        return 0;
    }
    return r < 0 ? err_wrap(e, "%s interface %s", what, ifname) : 0;
}

int link_delete(const char *ifname, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = (int)if_nametoindex(ifname)};

    if (!head.ifi_index)
        return 0;
    netl_end(&b, netl_begin(&b, RTM_DELLINK, NLM_F_ACK, &head, sizeof(head)));
    return ask(&b, "remove", ifname, e);
}

int link_silence(const char *ifname, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    struct ifinfomsg head = {.ifi_family = AF_BRIDGE, .ifi_index = (int)if_nametoindex(ifname)};
    size_t m, port;

    if (!head.ifi_index)
        return 0;
    /* Said to the bridge: a change that is said of the interface makes the bridge look whether its ports are up, and switch them on again. */
    m = netl_begin(&b, RTM_SETLINK, NLM_F_ACK, &head, sizeof(head));
    port = netl_nest(&b, IFLA_PROTINFO);
    netl_put_u8(&b, IFLA_BRPORT_STATE, BR_STATE_DISABLED);
    netl_put(&b, IFLA_BRPORT_FLUSH, "", 0);
    netl_nest_end(&b, port);
    netl_end(&b, m);
    return ask(&b, "silence", ifname, e);
}

int link_addr(const char *ifname, struct cidr4 *ret, struct err *e) {
    NETL_SOCK s = {.fd = -EBADF};
    struct ifaddrmsg all = {.ifa_family = AF_INET};
    struct seen_addrs seen = {.index = if_nametoindex(ifname)};
    int r;

    if (!seen.index)
        return err_set(e, ERR_NOT_FOUND, "no interface %s", ifname);
    r = netl_open(&s, NETLINK_ROUTE, e);
    if (r == 0)
        r = dump(&s, RTM_GETADDR, &all, sizeof(all), see_addr, &seen, e);
    if (r == 0)
        *ret = seen.first;
    return r;
}

/* ---- what is in use ---------------------------------------------------------------------------------------------------------------- */

struct subnets {
    struct cidr4 *v;
    size_t n, cap;
    unsigned but;
    bool far;
};

static int add_subnet(struct subnets *s, struct cidr4 c, struct err *e) {
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 32;
        struct cidr4 *v = s->cap < MAX_SUBNETS ? realloc(s->v, cap * sizeof(*v)) : NULL;

        if (!v)
            return err_oom(e);
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n++] = c;
    return 0;
}

static int see_used(const struct nlmsghdr *h, void *arg, struct err *e) {
    struct subnets *s = arg;

    if (h->nlmsg_type == RTM_NEWROUTE) {
        const struct rtmsg *m = body(h);
        const struct nlattr *a[RTA_MAX + 1];

        attrs(h, sizeof(*m), RTA_MAX, a);
        if (m->rtm_family != AF_INET || m->rtm_table != RT_TABLE_MAIN || !m->rtm_dst_len || !a[RTA_DST] ||
            (!s->far && m->rtm_scope != RT_SCOPE_LINK) || (s->but && netl_u32(a[RTA_OIF]) == s->but))
            return 0;
        return add_subnet(s, (struct cidr4){netl_be32(a[RTA_DST]), m->rtm_dst_len}, e);
    }
    if (h->nlmsg_type == RTM_NEWADDR) {
        const struct ifaddrmsg *m = body(h);
        const struct nlattr *a[IFA_MAX + 1];

        attrs(h, sizeof(*m), IFA_MAX, a);
        if (m->ifa_family != AF_INET || !a[IFA_ADDRESS] || (s->but && m->ifa_index == s->but))
            return 0;
        return add_subnet(s, (struct cidr4){netl_be32(a[IFA_ADDRESS]), m->ifa_prefixlen}, e);
    }
    return 0;
}

int link_used_subnets(const char *but, bool far, struct cidr4 **ret, size_t *ret_n, struct err *e) {
    NETL_SOCK s = {.fd = -EBADF};
    struct rtmsg route = {.rtm_family = AF_INET};
    struct ifaddrmsg addr = {.ifa_family = AF_INET};
    struct subnets all = {.but = but ? if_nametoindex(but) : 0, .far = far};
    int r = netl_open(&s, NETLINK_ROUTE, e);

    if (r == 0)
        r = dump(&s, RTM_GETROUTE, &route, sizeof(route), see_used, &all, e);
    if (r == 0 && far)
        r = dump(&s, RTM_GETADDR, &addr, sizeof(addr), see_used, &all, e);
    if (r < 0) {
        free(all.v);
        return r;
    }
    *ret = all.v;
    *ret_n = all.n;
    return 0;
}

struct names {
    const char *prefix;
    char **v;
    size_t n;
};

static int see_bridge(const struct nlmsghdr *h, void *arg, struct err *e) {
    struct names *names = arg;
    const struct nlattr *a[IFLA_LINKINFO + 1], *info[IFLA_INFO_KIND + 1];
    char **v;

    if (h->nlmsg_type != RTM_NEWLINK)
        return 0;
    attrs(h, sizeof(struct ifinfomsg), IFLA_LINKINFO, a);
    if (!a[IFLA_LINKINFO] || !a[IFLA_IFNAME] || !str_has_prefix(netl_data(a[IFLA_IFNAME]), names->prefix))
        return 0;
    netl_parse(netl_data(a[IFLA_LINKINFO]), netl_len(a[IFLA_LINKINFO]), IFLA_INFO_KIND, info);
    if (!info[IFLA_INFO_KIND] || netl_len(info[IFLA_INFO_KIND]) < 6 || memcmp(netl_data(info[IFLA_INFO_KIND]), "bridge", 6) != 0)
        return 0;
    v = realloc(names->v, (names->n + 1) * sizeof(*v));
    if (!v)
        return err_oom(e);
    names->v = v;
    v[names->n] = strndup(netl_data(a[IFLA_IFNAME]), netl_len(a[IFLA_IFNAME]));
    if (!v[names->n])
        return err_oom(e);
    names->n++;
    return 0;
}

int link_list_bridges(const char *prefix, char ***ret, size_t *ret_n, struct err *e) {
    NETL_SOCK s = {.fd = -EBADF};
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
    struct names names = {.prefix = prefix};
    int r = netl_open(&s, NETLINK_ROUTE, e);

    if (r == 0)
        r = dump(&s, RTM_GETLINK, &head, sizeof(head), see_bridge, &names, e);
    if (r < 0) {
        for (size_t i = 0; i < names.n; i++)
            free(names.v[i]);
        free(names.v);
        return r;
    }
    *ret = names.v;
    *ret_n = names.n;
    return 0;
}

/* ---- sysctls ----------------------------------------------------------------------------------------------------------------------- */

int link_forwarding_on(bool *ret_changed, struct err *e) {
    bool changed = !knob_is("/proc/sys/net/ipv4/ip_forward", "1");
    int r = changed ? fs_write_knob("/proc/sys/net/ipv4/ip_forward", "1", e) : 0;

    if (r == 0)
        *ret_changed = changed;
    return r;
}

int link_route_localnet(const char *ifname, bool on, struct err *e) {
    char path[96];

    snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/route_localnet", ifname);
    if (knob_is(path, on ? "1" : "0"))
        return 0;
    return fs_write_knob(path, on ? "1" : "0", e);
}

int link_forwarding6_on(bool *ret_changed, struct err *e) {
    static const char *const knobs[] = {"/proc/sys/net/ipv6/conf/default/forwarding", "/proc/sys/net/ipv6/conf/all/forwarding"};
    bool changed = false;
    int r = 0;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(knobs); i++) {
        if (knob_is(knobs[i], "1") || access(knobs[i], F_OK) < 0)
            continue;
        r = fs_write_knob(knobs[i], "1", e);
        changed = true;
    }
    if (r == 0)
        *ret_changed = changed;
    return r;
}

void link_port_range(unsigned *ret_lo, unsigned *ret_hi) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);
    unsigned lo = 0, hi = 0;

    *ret_lo = 32768;
    *ret_hi = 60999;
    if (fs_read_file("/proc/sys/net/ipv4/ip_local_port_range", &b, NULL) < 0 || sscanf(buf_str(&b), "%u %u", &lo, &hi) != 2 || lo < 1 || hi > 65535 ||
        lo > hi)
        return;
    *ret_lo = lo;
    *ret_hi = hi;
}
