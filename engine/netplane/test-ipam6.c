// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/test.h"
#include "netplane/ipam6.h"

static struct in6_addr addr(const char *s) {
    struct in6_addr a = {0};

    CHECK_INT(inet_pton(AF_INET6, s, &a), 1);
    return a;
}

static struct cidr6 net(const char *s) {
    struct cidr6 c = {0};

    CHECK_INT(cidr6_parse(s, &c), 0);
    return c;
}

TEST(cidr6_text) {
    static const char *const bad[] = {"fd00::1", "fd00::/129", "fd00::/", "10.0.0.0/8", "fd00::g/64", "/64", ""};
    struct cidr6 c, other;
    char text[CIDR6_TEXT_MAX];

    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        CHECK(cidr6_parse(bad[i], &c) < 0);
    c = net("fd00:0:0:1:ffff::9/66");
    cidr6_format_net(&c, text);
    CHECK_STR(text, "fd00:0:0:1:c000::/66");
    c = net("fd00::1/64");
    cidr6_format_net(&c, text);
    CHECK_STR(text, "fd00::/64");
    other = net("fd00::8000:0:0:0/65");
    CHECK(cidr6_overlap(&c, &other));
    CHECK(cidr6_overlap(&other, &c));
    other = net("fd00:0:0:1::/64");
    CHECK(!cidr6_overlap(&c, &other));
    c = net("::/0");
    CHECK(cidr6_overlap(&c, &other));
}

static void take(struct ipam6 *p, const char *want) {
    _cleanup_err_ struct err e = ERR_INIT;
    char text[IPV6_TEXT_MAX];
    struct in6_addr a;

    CHECK_INT(ipam6_take(p, &a, &e), 0);
    ipv6_format(&a, text);
    CHECK_STR(text, want);
}

TEST(ipam6_lowest_free) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct cidr6 subnet = net("fd00:aa::/64");
    struct in6_addr a;
    struct ipam6 *p = NULL;

    CHECK_INT(ipam6_new(&subnet, NULL, &p, &e), 0);
    take(p, "fd00:aa::1");
    a = addr("fd00:aa::3");
    CHECK_INT(ipam6_take_addr(p, &a, &e), 0);
    CHECK_INT(ipam6_take_addr(p, &a, &e), -ERR_FORBIDDEN);
    err_done(&e);
    take(p, "fd00:aa::2");
    take(p, "fd00:aa::4");
    ipam6_release(p, &a);
    take(p, "fd00:aa::3");
    take(p, "fd00:aa::5");
    /* Far away, and not in the way of the others. */
    a = addr("fd00:aa::1:2:3:4");
    CHECK_INT(ipam6_take_addr(p, &a, &e), 0);
    ipam6_release(p, &a);
    CHECK_INT(ipam6_take_addr(p, &a, &e), 0);
    a = addr("fd00:ab::1");
    CHECK_INT(ipam6_take_addr(p, &a, &e), -ERR_INVALID);
    err_done(&e);
    take(p, "fd00:aa::6");
    ipam6_free(p);
}

TEST(ipam6_ranges) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct cidr6 subnet = net("fd00:af::/64"), range = net("fd00:af::100/126"), wrong = net("fd00:ae::/120");
    struct in6_addr a;
    struct ipam6 *p = NULL;

    CHECK_INT(ipam6_new(&subnet, &wrong, &p, &e), -ERR_INVALID);
    err_done(&e);
    CHECK_INT(ipam6_new(&subnet, &range, &p, &e), 0);
    take(p, "fd00:af::100");
    take(p, "fd00:af::101");
    take(p, "fd00:af::102");
    take(p, "fd00:af::103");
    CHECK_INT(ipam6_take(p, &a, &e), -ERR_CONFLICT);
    err_done(&e);
    a = addr("fd00:af::102");
    ipam6_release(p, &a);
    take(p, "fd00:af::102");
    ipam6_free(p);
    /* The only two addresses: the first means "any router". */
    subnet = net("fd00::/127");
    CHECK_INT(ipam6_new(&subnet, NULL, &p, &e), 0);
    take(p, "fd00::1");
    CHECK_INT(ipam6_take(p, &a, &e), -ERR_CONFLICT);
    ipam6_free(p);
}
