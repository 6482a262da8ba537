// SPDX-License-Identifier: Apache-2.0
#include "netplane/firewall.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/test.h"

static const struct firewall_config config = {.enabled = true, .drop_forward = true, .proxied = true};
static const struct firewall_bridge bridges[] = {
    {.ifname = "docker0", .subnet = {0xac110001, 16}, .masquerade = true, .icc = true, .guard = true},
    {.ifname = "br-f6f4a8d58a2a", .subnet = {0xac130001, 16}, .masquerade = true, .icc = true, .guard = true},
    {.ifname = "br-5a4ee3e01ece", .subnet = {0xac140001, 16}, .masquerade = true, .icc = false, .internal = true},
};

/* Listings recorded from the reference with a second bridge and an internal one without icc; the DOCKER lines are ours. */
TEST(firewall_plan_filter) {
    _cleanup_strv_ struct strv got = STRV_INIT;
    char *text;

    CHECK_INT(firewall_plan_filter(&config, bridges, 3, &got, NULL), 0);
    text = strv_join(&got, "\n");
    CHECK_STR(text, "-A FORWARD -j DOCKER-USER\n"
                    "-A FORWARD -j DOCKER-ISOLATION-STAGE-1\n"
                    "-A FORWARD -o br-f6f4a8d58a2a -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
                    "-A FORWARD -o br-f6f4a8d58a2a -j DOCKER\n"
                    "-A FORWARD -i br-f6f4a8d58a2a ! -o br-f6f4a8d58a2a -j ACCEPT\n"
                    "-A FORWARD -i br-f6f4a8d58a2a -o br-f6f4a8d58a2a -j ACCEPT\n"
                    "-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
                    "-A FORWARD -o docker0 -j DOCKER\n"
                    "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT\n"
                    "-A FORWARD -i docker0 -o docker0 -j ACCEPT\n"
                    "-A FORWARD -i br-5a4ee3e01ece -o br-5a4ee3e01ece -j DROP\n"
                    "-A DOCKER ! -i br-f6f4a8d58a2a -o br-f6f4a8d58a2a -m conntrack --ctstate DNAT -j ACCEPT\n"
                    "-A DOCKER ! -i docker0 -o docker0 -m conntrack --ctstate DNAT -j ACCEPT\n"
                    "-A DOCKER-ISOLATION-STAGE-1 ! -s 172.20.0.0/16 -o br-5a4ee3e01ece -j DROP\n"
                    "-A DOCKER-ISOLATION-STAGE-1 ! -d 172.20.0.0/16 -i br-5a4ee3e01ece -j DROP\n"
                    "-A DOCKER-ISOLATION-STAGE-1 -i br-f6f4a8d58a2a ! -o br-f6f4a8d58a2a -j DOCKER-ISOLATION-STAGE-2\n"
                    "-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2\n"
                    "-A DOCKER-ISOLATION-STAGE-1 -j RETURN\n"
                    "-A DOCKER-ISOLATION-STAGE-2 -o br-f6f4a8d58a2a -j DROP\n"
                    "-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP\n"
                    "-A DOCKER-ISOLATION-STAGE-2 -j RETURN");
    free(text);
}

TEST(firewall_plan_nat) {
    _cleanup_strv_ struct strv got = STRV_INIT;
    char *text;

    CHECK_INT(firewall_plan_nat(&config, bridges, 3, &got, NULL), 0);
    text = strv_join(&got, "\n");
    CHECK_STR(text, "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"
                    "-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER\n"
                    "-A POSTROUTING -s 172.19.0.0/16 ! -o br-f6f4a8d58a2a -j MASQUERADE\n"
                    "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n"
                    "-A DOCKER -i br-f6f4a8d58a2a -j RETURN\n"
                    "-A DOCKER -i docker0 -j RETURN");
    free(text);
}

TEST(firewall_rule_text) {
    _cleanup_buf_ struct buf b = BUF_INIT(65536);

    CHECK_INT(nft_rule_iptables(&b, "filter", "-A X -p tcp -m tcp --dport 80 -j ACCEPT", false, NULL), 0);
    CHECK_INT(nft_rule_iptables(&b, "nat", "-A X ! -i docker0 -p udp -m udp --dport 53 -j DNAT --to-destination 172.17.0.2:53", false, NULL), 0);
    CHECK_INT(nft_rule_iptables(&b, "filter", "-A X -x", false, NULL), -ERR_INVALID);
    CHECK_INT(nft_rule_iptables(&b, "filter", "-I X -j DROP", false, NULL), -ERR_INVALID);
    CHECK_INT(nft_rule_iptables(&b, "filter", "-A X -s 1.2.3 -j DROP", false, NULL), -ERR_INVALID);
    CHECK_INT(nft_rule_iptables(&b, "filter", "-A X -m conntrack --ctstate BORED -j DROP", false, NULL), -ERR_INVALID);
    CHECK_INT(nft_rule_iptables(&b, "filter", "-A X -j", false, NULL), -ERR_INVALID);
    CHECK_INT(nft_rule_iptables(&b, "nat", "-A X -j DNAT --to-destination 1.2.3.4", false, NULL), -ERR_INVALID);
}

/* Against the kernel, in a network namespace of its own; the cost of publishing must not grow with what is already there. */
TEST(firewall_kernel) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct firewall *f = NULL;
    struct nft_port *v = calloc(4000, sizeof(*v));
    int64_t t0, few, many;

    REQUIRE(v);
    if (unshare(CLONE_NEWNET) < 0) {
        free(v);
        TEST_SKIP("needs root");
    }
    if (firewall_new(&config, &f, &e) < 0 || firewall_apply(f, bridges, 3, &e) < 0) {
        test_fail(__FILE__, __LINE__, "%s", err_msg(&e));
        firewall_free(f);
        free(v);
        return;
    }
    CHECK(firewall_intact(f));
    CHECK_INT(firewall_apply(f, bridges, 2, &e), 0);
    CHECK_INT(firewall_apply(f, bridges, 3, &e), 0);
    for (size_t i = 0; i < 4000; i++)
        v[i] = (struct nft_port){.proto = i & 1 ? 17 : 6,
                                 .host_port = (uint16_t)(20000 + i),
                                 .addr = 0xac110002,
                                 .port = (uint16_t)(i + 1),
                                 .host_addr = i % 3 == 0 ? 0x7f000001 : 0};
    t0 = clock_mono_ns();
    for (size_t i = 0; i < 200; i++)
        CHECK_INT(firewall_publish(f, &v[i], 1, &e), 0);
    few = clock_mono_ns() - t0;
    CHECK_INT(firewall_publish(f, &v[200], 3600, &e), 0);
    t0 = clock_mono_ns();
    for (size_t i = 3800; i < 4000; i++)
        CHECK_INT(firewall_publish(f, &v[i], 1, &e), 0);
    many = clock_mono_ns() - t0;
    printf("# 200 ports one by one: %lld us when there are none, %lld us when there are 3800\n", (long long)few / 1000, (long long)many / 1000);
    t0 = clock_mono_ns();
    firewall_withdraw(f, v, 4000);
    printf("# withdraw 4000 in one: %lld us\n", (long long)(clock_mono_ns() - t0) / 1000);
    t0 = clock_mono_ns();
    CHECK_INT(firewall_publish(f, v, 200, &e), 0);
    printf("# publish 200 in one: %lld us\n", (long long)(clock_mono_ns() - t0) / 1000);
    CHECK_INT(firewall_apply(f, bridges, 1, &e), 0);
    firewall_free(f);
    free(v);
}
