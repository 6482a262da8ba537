// SPDX-License-Identifier: Apache-2.0
/*
 * How much of a stream the kernel hands from one interface to the next in one piece, before anybody cuts it into packets. Between this machine and its
 * containers nobody ever does, so the cost of a piece (bridge, rules, translation, acknowledgement, wake-up) is all there is besides copying.
 * Linux has 64 KiB for that by default, and half a megabyte since 6.3 ("BIG TCP" for IPv4): a third of the processor time per byte.
 */
#include <linux/rtnetlink.h>
#include <net/if.h>

#include "base/cleanup.h"
#include "kern/netlink.h"
#include "netplane/link.h"
#include "netplane/netl.h"

#define USUAL 65536 /* GSO_LEGACY_MAX_SIZE */

static int see_length(const struct nlmsghdr *h, void *arg, struct err *e) {
    const struct nlattr *a[NL_GSO_IPV4_MAX_SIZE + 1];
    const size_t head = NLMSG_SPACE(sizeof(struct ifinfomsg));

    if (h->nlmsg_type != RTM_NEWLINK || h->nlmsg_len < head)
        return 0;
    netl_parse((const char *)h + head, h->nlmsg_len - head, NL_GSO_IPV4_MAX_SIZE, a);
    *(uint32_t *)arg = netl_u32(a[NL_GSO_IPV4_MAX_SIZE]);
    return 0;
}

bool link_long_segments(const char *ifname) {
    _cleanup_buf_ struct buf get = BUF_INIT(4096), set = BUF_INIT(4096);
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = (int)if_nametoindex(ifname)};
    struct netl_sock s;
    uint32_t length = 0;
    size_t m;
    int r;

    if (!head.ifi_index || netl_open(&s, NETLINK_ROUTE, NULL) < 0)
        return false;
    netl_end(&get, netl_begin(&get, RTM_GETLINK, NLM_F_ACK, &head, sizeof(head)));
    r = netl_talk_with(&s, &get, see_length, &length, NULL, NULL, NULL);
    if (r == 0 && length == USUAL) {
        m = netl_begin(&set, RTM_NEWLINK, NLM_F_ACK, &head, sizeof(head));
        netl_put_u32(&set, NL_GSO_IPV4_MAX_SIZE, NL_LONGEST_SEGMENT);
        netl_end(&set, m);
        r = netl_talk(&s, &set, NULL, NULL, NULL);
        if (r == 0)
            length = NL_LONGEST_SEGMENT;
    }
    netl_close(&s);
    return length == NL_LONGEST_SEGMENT;
}
