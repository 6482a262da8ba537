// SPDX-License-Identifier: Apache-2.0
#include "kern/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/socket.h>

#include "base/cleanup.h"

void nl_init(struct nl_batch *b, void *mem, size_t size) {
    *b = (struct nl_batch){.mem = mem, .cap = size};
}

int nl_open(void) {
    struct sockaddr_nl a = {.nl_family = AF_NETLINK};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        int r = -errno;

        close_fd(fd);
        return r;
    }
    return fd;
}

static struct nlmsghdr *last(struct nl_batch *b) {
    return (struct nlmsghdr *)(void *)(b->mem + b->last);
}

/* Zeroed space of n bytes (aligned) in the request being built; NULL when full. */
static void *grow(struct nl_batch *b, size_t n) {
    void *p = b->mem + b->len;
    size_t aligned = NLMSG_ALIGN(n);

    if (b->failed || b->cap - b->len < aligned) {
        b->failed = true;
        return NULL;
    }
    memset(p, 0, aligned);
    b->len += aligned;
    last(b)->nlmsg_len = (uint32_t)(b->len - b->last);
    return p;
}

static void *begin(struct nl_batch *b, int type, int flags, size_t body) {
    struct nlmsghdr *h;

    if (b->failed || b->cap - b->len < sizeof *h + NLMSG_ALIGN(body)) {
        b->failed = true;
        return NULL;
    }
    b->last = b->len;
    h = last(b);
    *h = (struct nlmsghdr){.nlmsg_type = (uint16_t)type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags), .nlmsg_seq = b->n++};
    b->len += sizeof *h;
    return grow(b, body);
}

static struct rtattr *attr(struct nl_batch *b, int type, const void *p, size_t n) {
    struct rtattr *a;

    if (n > 4096) {
        b->failed = true;
        return NULL;
    }
    a = grow(b, RTA_LENGTH(n));
    if (!a)
        return NULL;
    a->rta_type = (uint16_t)type;
    a->rta_len = (uint16_t)RTA_LENGTH(n);
    if (n)
        memcpy(RTA_DATA(a), p, n);
    return a;
}

static void attr_str(struct nl_batch *b, int type, const char *s) {
    attr(b, type, s, strlen(s) + 1);
}

static void nest_end(struct nl_batch *b, struct rtattr *a) {
    if (a)
        a->rta_len = (uint16_t)(b->mem + b->len - (char *)a);
}

/* No queue of its own, as with every virtual link of the reference: it would only show in ip(8). */
static void put_no_queue(struct nl_batch *b) {
    uint32_t none = 0;

    attr(b, IFLA_TXQLEN, &none, sizeof none);
}

static void put_ns(struct nl_batch *b, struct nl_ns ns) {
    uint32_t v = (uint32_t)(ns.fd >= 0 ? ns.fd : ns.pid);

    attr(b, ns.fd >= 0 ? IFLA_NET_NS_FD : IFLA_NET_NS_PID, &v, sizeof v);
}

void nl_link_veth(struct nl_batch *b, const char *host, unsigned master, int mtu, const char *inner, const uint8_t mac[6], struct nl_ns peer_ns) {
    struct ifinfomsg *m = begin(b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *m);
    struct rtattr *info, *data, *peer;
    uint32_t mtu32 = (uint32_t)mtu, longest = NL_LONGEST_SEGMENT;

    if (!m)
        return;
    m->ifi_flags = m->ifi_change = IFF_UP;
    attr_str(b, IFLA_IFNAME, host);
    put_no_queue(b);
    if (master)
        attr(b, IFLA_MASTER, &master, sizeof master);
    if (mtu)
        attr(b, IFLA_MTU, &mtu32, sizeof mtu32);
    attr(b, NL_GSO_IPV4_MAX_SIZE, &longest, sizeof longest);
    info = attr(b, IFLA_LINKINFO, NULL, 0);
    attr(b, IFLA_INFO_KIND, "veth", 4);
    data = attr(b, IFLA_INFO_DATA, NULL, 0);
    peer = attr(b, VETH_INFO_PEER, NULL, 0);
    grow(b, sizeof(struct ifinfomsg));
    attr_str(b, IFLA_IFNAME, inner);
    put_no_queue(b);
    if (mac)
        attr(b, IFLA_ADDRESS, mac, 6);
    if (mtu)
        attr(b, IFLA_MTU, &mtu32, sizeof mtu32);
    put_ns(b, peer_ns);
    nest_end(b, peer);
    nest_end(b, data);
    nest_end(b, info);
}

void nl_link_hairpin(struct nl_batch *b, const char *host) {
    struct ifinfomsg *m = begin(b, RTM_NEWLINK, 0, sizeof *m);
    struct rtattr *info, *data;
    uint8_t on = 1;

    if (!m)
        return;
    attr_str(b, IFLA_IFNAME, host);
    info = attr(b, IFLA_LINKINFO, NULL, 0);
    attr(b, IFLA_INFO_SLAVE_KIND, "bridge", 6);
    data = attr(b, IFLA_INFO_SLAVE_DATA, NULL, 0);
    attr(b, IFLA_BRPORT_MODE, &on, sizeof on);
    nest_end(b, data);
    nest_end(b, info);
}

/* Begin an interface on top of another; *ret_info is to be closed by the caller. */
static bool begin_upper(struct nl_batch *b, unsigned parent, int mtu, const char *name, const uint8_t *mac, struct nl_ns ns,
                        struct rtattr **ret_info) {
    struct ifinfomsg *m = begin(b, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *m);
    uint32_t mtu32 = (uint32_t)mtu;

    if (!m)
        return false;
    attr_str(b, IFLA_IFNAME, name);
    put_no_queue(b);
    attr(b, IFLA_LINK, &parent, sizeof parent);
    if (mac)
        attr(b, IFLA_ADDRESS, mac, 6);
    if (mtu)
        attr(b, IFLA_MTU, &mtu32, sizeof mtu32);
    put_ns(b, ns);
    *ret_info = attr(b, IFLA_LINKINFO, NULL, 0);
    return true;
}

void nl_link_macvlan(struct nl_batch *b, unsigned parent, uint32_t mode, int mtu, const char *name, const uint8_t mac[6], struct nl_ns ns) {
    struct rtattr *info, *data;

    if (!begin_upper(b, parent, mtu, name, mac, ns, &info))
        return;
    attr(b, IFLA_INFO_KIND, "macvlan", 7);
    data = attr(b, IFLA_INFO_DATA, NULL, 0);
    attr(b, IFLA_MACVLAN_MODE, &mode, sizeof mode);
    nest_end(b, data);
    nest_end(b, info);
}

void nl_link_ipvlan(struct nl_batch *b, unsigned parent, uint16_t mode, uint16_t flag, int mtu, const char *name, struct nl_ns ns) {
    struct rtattr *info, *data;

    if (!begin_upper(b, parent, mtu, name, NULL, ns, &info))
        return;
    attr(b, IFLA_INFO_KIND, "ipvlan", 6);
    data = attr(b, IFLA_INFO_DATA, NULL, 0);
    attr(b, IFLA_IPVLAN_MODE, &mode, sizeof mode);
    attr(b, IFLA_IPVLAN_FLAGS, &flag, sizeof flag);
    nest_end(b, data);
    nest_end(b, info);
}

void nl_link_up(struct nl_batch *b, const char *name, unsigned index) {
    struct ifinfomsg *m = begin(b, RTM_NEWLINK, 0, sizeof *m);

    if (!m)
        return;
    m->ifi_index = (int)index;
    m->ifi_flags = m->ifi_change = IFF_UP;
    if (name)
        attr_str(b, IFLA_IFNAME, name);
}

void nl_link_delete(struct nl_batch *b, const char *name) {
    if (begin(b, RTM_DELLINK, 0, sizeof(struct ifinfomsg)))
        attr_str(b, IFLA_IFNAME, name);
}

void nl_addr(struct nl_batch *b, unsigned index, int family, const void *addr, unsigned prefix) {
    struct ifaddrmsg *m = begin(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *m);
    size_t n = family == AF_INET ? 4 : 16;

    if (!m)
        return;
    m->ifa_family = (uint8_t)family;
    m->ifa_prefixlen = (uint8_t)prefix;
    m->ifa_index = index;
    m->ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0;
    attr(b, IFA_LOCAL, addr, n);
    attr(b, IFA_ADDRESS, addr, n);
    if (family == AF_INET && prefix < 31) {
        uint32_t a;

        memcpy(&a, addr, 4);
        a |= prefix ? htonl(0xffffffffu >> prefix) : 0xffffffffu;
        attr(b, IFA_BROADCAST, &a, 4);
    }
}

void nl_route(struct nl_batch *b, unsigned index, int family, const void *dst, unsigned prefix, const void *gateway, bool replace) {
    struct rtmsg *m = begin(b, RTM_NEWROUTE, NLM_F_CREATE | (replace ? NLM_F_REPLACE : NLM_F_EXCL), sizeof *m);
    size_t n = family == AF_INET ? 4 : 16;

    if (!m)
        return;
    m->rtm_family = (uint8_t)family;
    m->rtm_table = RT_TABLE_MAIN;
    m->rtm_protocol = RTPROT_BOOT;
    m->rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
    m->rtm_type = RTN_UNICAST;
    if (dst) {
        m->rtm_dst_len = (uint8_t)prefix;
        attr(b, RTA_DST, dst, n);
    }
    if (gateway)
        attr(b, RTA_GATEWAY, gateway, n);
    attr(b, RTA_OIF, &index, sizeof index);
}

int nl_send(int fd, struct nl_batch *b, unsigned *ret_at) {
    char answer[4096] __attribute__((aligned(8)));
    int first = 0;
    unsigned answered = 0;

    if (b->failed)
        return -EMSGSIZE;
    if (!b->n)
        return 0;
    if (send(fd, b->mem, b->len, MSG_NOSIGNAL) != (ssize_t)b->len)
        return errno ? -errno : -EIO;
    while (answered < b->n) {
        ssize_t got = recv(fd, answer, sizeof answer, 0);
        unsigned left;

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        left = (unsigned)got;
        for (struct nlmsghdr *h = (void *)answer; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
            const struct nlmsgerr *e = NLMSG_DATA(h);

            if (h->nlmsg_type != NLMSG_ERROR)
                continue;
            answered++;
            if (e->error && !first) {
                first = e->error;
                if (ret_at)
                    *ret_at = h->nlmsg_seq;
            }
        }
    }
    return first;
}
