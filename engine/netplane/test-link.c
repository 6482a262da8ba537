// SPDX-License-Identifier: Apache-2.0
#include "netplane/link.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/test.h"
#include "kern/netlink.h"
#include "netplane/netl.h"

static bool linux_since(unsigned major, unsigned minor) {
    struct utsname u;
    unsigned a = 0, b = 0;

    return uname(&u) == 0 && sscanf(u.release, "%u.%u", &a, &b) == 2 && (a > major || (a == major && b >= minor));
}

static int set_length(const char *ifname, uint32_t length) {
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = (int)if_nametoindex(ifname)};
    struct netl_sock s;
    size_t m;
    int r;

    if (netl_open(&s, NETLINK_ROUTE, NULL) < 0)
        return -1;
    m = netl_begin(&b, RTM_NEWLINK, NLM_F_ACK, &head, sizeof(head));
    netl_put_u32(&b, NL_GSO_IPV4_MAX_SIZE, length);
    netl_end(&b, m);
    r = netl_talk(&s, &b, NULL, NULL, NULL);
    netl_close(&s);
    return r;
}

/* The machine's end of a container's link, and the other one beside it. */
static int make_port(const char *ifname, unsigned bridge) {
    char mem[1024] __attribute__((aligned(8)));
    struct nl_batch b;
    int r, fd = nl_open();

    nl_init(&b, mem, sizeof(mem));
    nl_link_veth(&b, ifname, bridge, 0, "inner", NULL, (struct nl_ns){getpid(), -1});
    r = fd < 0 ? fd : nl_send(fd, &b, NULL);
    close(fd);
    return r;
}

TEST(segments_are_lengthened_where_nobody_has_chosen_their_length) {
    const struct link_bridge bridge = {.ifname = "test0", .addr = {0x0a630001, 24}};
    int index;

    if (unshare(CLONE_NEWNET) < 0)
        TEST_SKIP("needs root");
    CHECK(!link_long_segments("nosuch"));
    if (!linux_since(6, 3))
        TEST_SKIP("Linux before 6.3 has one length");
    for (int again = 0; again < 2; again++)
        CHECK(link_long_segments("lo"));
    REQUIRE(link_bridge_ensure(&bridge, false, &index, NULL) == 0 && make_port("test1", (unsigned)index) == 0);
    CHECK(link_long_segments("test0"));
    CHECK(link_long_segments("test1"));
    REQUIRE(set_length("lo", 100000) == 0);
    for (int again = 0; again < 2; again++)
        CHECK(!link_long_segments("lo"));
    REQUIRE(set_length("lo", 65536) == 0);
    CHECK(link_long_segments("lo"));
}
