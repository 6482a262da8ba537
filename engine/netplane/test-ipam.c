// SPDX-License-Identifier: Apache-2.0
#include "netplane/ipam.h"

#include "base/test.h"

TEST(ipam_text) {
    struct cidr4 c = {0};
    uint32_t a = 0;
    char text[CIDR4_TEXT_MAX];
    uint8_t mac[6];
    char mac_text[MAC_TEXT_MAX];

    CHECK_INT(cidr4_parse("172.17.0.1/16", &c), 0);
    cidr4_format_net(&c, text);
    CHECK_STR(text, "172.17.0.0/16");
    CHECK(cidr4_parse("172.17.0.1", &c) < 0);
    CHECK(cidr4_parse("172.17.0.1/33", &c) < 0);
    CHECK(cidr4_parse("1.2.3.4.5/8", &c) < 0);
    CHECK(ipv4_parse("01.2.3.4", &a) < 0);
    CHECK(ipv4_parse("1.2.3.256", &a) < 0);
    CHECK(ipv4_parse("1.2.3", &a) < 0);
    CHECK_INT(ipv4_parse("255.255.255.255", &a), 0);
    CHECK_INT(ipv4_parse("0.0.0.0", &a), 0);
    ipv4_parse("172.17.0.2", &a);
    mac_from_ipv4(a, mac);
    mac_format(mac, mac_text);
    CHECK_STR(mac_text, "02:42:ac:11:00:02");
    CHECK_INT(mac_parse("02-42-AC-11-00-09", mac), 0);
    CHECK_INT(mac[5], 9);
    CHECK(mac_parse("02:42:ac:11:00", mac) < 0);
    CHECK(mac_parse("02:42-ac:11:00:01", mac) < 0);
    CHECK(mac_parse("02:42:ac:11:00:01:", mac) < 0);
}

TEST(ipam_lowest_first) {
    struct cidr4 net = {0xac110000, 16};
    struct ipam *p = NULL;
    uint32_t a = 0;

    REQUIRE(ipam_new(&net, NULL, &p, NULL) == 0);
    CHECK_INT(ipam_take_addr(p, 0xac110001, NULL), 0); /* the gateway */
    for (uint32_t i = 2; i < 300; i++) {
        CHECK_INT(ipam_take(p, &a, NULL), 0);
        CHECK_INT(a, 0xac110000 + i);
    }
    ipam_release(p, 0xac110003);
    ipam_release(p, 0xac1100c8);
    CHECK_INT(ipam_take(p, &a, NULL), 0);
    CHECK_INT(a, 0xac110003);
    CHECK_INT(ipam_take(p, &a, NULL), 0);
    CHECK_INT(a, 0xac1100c8);
    CHECK_INT(ipam_take(p, &a, NULL), 0);
    CHECK_INT(a, 0xac11012c);
    ipam_free(p);
}

TEST(ipam_exhausts) {
    struct cidr4 net = {0x0a000000, 29};
    _cleanup_err_ struct err e = ERR_INIT;
    struct ipam *p = NULL;
    uint32_t a = 0;

    REQUIRE(ipam_new(&net, NULL, &p, NULL) == 0);
    for (int i = 1; i <= 6; i++) {
        CHECK_INT(ipam_take(p, &a, NULL), 0);
        CHECK_INT(a, 0x0a000000 + i);
    }
    CHECK_INT(ipam_take(p, &a, &e), -ERR_CONFLICT);
    CHECK_INT(ipam_take_addr(p, 0x0a000000, NULL), -ERR_FORBIDDEN);
    CHECK_INT(ipam_take_addr(p, 0x0a000007, NULL), -ERR_FORBIDDEN);
    CHECK_INT(ipam_take_addr(p, 0x0a000008, NULL), -ERR_INVALID);
    ipam_release(p, 0x0a000004);
    ipam_release(p, 0x0a000004);
    CHECK_INT(ipam_used(p), 5);
    CHECK_INT(ipam_take(p, &a, NULL), 0);
    CHECK_INT(a, 0x0a000004);
    ipam_free(p);
}

TEST(ipam_range) {
    struct cidr4 net = {0x0a000000, 8}, range = {0x0a010000, 30}, outside = {0x0b000000, 24};
    struct ipam *p = NULL;
    uint32_t a = 0;

    CHECK_INT(ipam_new(&net, &outside, &p, NULL), -ERR_INVALID);
    REQUIRE(ipam_new(&net, &range, &p, NULL) == 0);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(ipam_take(p, &a, NULL), 0);
        CHECK_INT(a, 0x0a010000 + i);
    }
    CHECK(ipam_take(p, &a, NULL) < 0);
    CHECK_INT(ipam_take_addr(p, 0x0affff00, NULL), 0);
    ipam_free(p);
}

static int pick(const struct cidr4 *taken, size_t n, uint64_t *next, struct cidr4 *ret) {
    return ipam_pick_subnet(ipam_default_pools, ipam_n_default_pools, taken, n, next, ret, NULL);
}

TEST(ipam_pools) {
    struct cidr4 taken[40] = {{0}}, c = {0};
    uint64_t next = 0;
    size_t n = 0;
    char text[CIDR4_TEXT_MAX];

    CHECK_INT(pick(taken, 0, &next, &c), 0);
    cidr4_format_net(&c, text);
    CHECK_STR(text, "172.17.0.0/16");
    next = 0;
    for (; n < 15; n++) {
        CHECK_INT(pick(taken, n, &next, &taken[n]), 0);
        CHECK_INT(taken[n].addr, 0xac110000 + (n << 16));
    }
    for (; n < 31; n++) {
        CHECK_INT(pick(taken, n, &next, &taken[n]), 0);
        CHECK_INT(taken[n].prefix, 20);
    }
    CHECK_INT(pick(taken, n, &next, &c), -ERR_CONFLICT);
    /* A route of the host in the middle of a pool is stepped over. */
    taken[0] = (struct cidr4){0xac118000, 24};
    CHECK_INT(pick(taken, 1, &next, &c), 0);
    CHECK_INT(c.addr, 0xac120000);
}

/* What was given back waits until all others have had their turn. */
TEST(ipam_pools_go_round) {
    struct cidr4 bridge = {0xac110001, 16}, c = {0};
    uint64_t next = 0;

    for (uint32_t i = 0; i < 30; i++) {
        CHECK_INT(pick(&bridge, 1, &next, &c), 0);
        CHECK_INT(c.addr, i < 14 ? 0xac120000 + (i << 16) : 0xc0a80000 + ((i - 14) << 12));
    }
    CHECK_INT(pick(&bridge, 1, &next, &c), 0);
    CHECK_INT(c.addr, 0xac120000);
}
