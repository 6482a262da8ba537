// SPDX-License-Identifier: Apache-2.0
#include "netplane/firewall.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/test.h"

static const struct firewall_config config = {.enabled = true, .enabled6 = true, .drop_forward = true, .proxied = true};
static const struct firewall_bridge bridges[] = {
    {.ifname = "docker0", .subnet = {0xac110001, 16}, .masquerade = true, .icc = true, .guard = true},
    {.ifname = "br-f6f4a8d58a2a",
     .subnet = {0xac130001, 16},
     .v6 = true,
     .subnet6 = {{{{0xfd, 0, 0, 0x66}}}, 64},
     .masquerade = true,
     .icc = true,
     .guard = true},
    {.ifname = "br-5a4ee3e01ece", .subnet = {0xac140001, 16}, .masquerade = true, .icc = false, .internal = true},
};

/* What a listing shows after these lines were applied. Chains in the order of `chains`. */
static char *listing(const struct strv *lines, const char *const *chains, size_t n) {
    _cleanup_strv_ struct strv out = STRV_INIT;

    for (size_t k = 0; k < n; k++) {
        char *v[64];
        size_t used = 0;

        for (size_t i = 0; i < lines->n; i++) {
            const char *chain = lines->v[i] + 3;
            size_t len = strlen(chains[k]);

            if (strncmp(chain, chains[k], len) != 0 || chain[len] != ' ')
                continue;
            if (lines->v[i][1] == 'I')
                memmove(v + 1, v, used * sizeof(*v));
            v[lines->v[i][1] == 'I' ? 0 : used] = lines->v[i];
            used++;
        }
        for (size_t i = 0; i < used; i++)
            CHECK_INT(strv_addf(&out, "-A%s", v[i] + 2), 0);
    }
    return strv_join(&out, "\n");
}

static void plan_all(const struct firewall_config *c, bool v6, struct firewall_lines *ret) {
    CHECK_INT(firewall_plan_frame(c, v6, ret, NULL), 0);
    for (size_t i = 0; i < ELEMENTSOF(bridges); i++)
        CHECK_INT(firewall_plan_bridge(c, &bridges[i], v6, ret, NULL), 0);
    CHECK_INT(firewall_plan_jumps(ret, NULL), 0);
}

static void check_listing(bool v6, bool nat, const char *want) {
    static const char *const filter[] = {"FORWARD", "DOCKER", "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2"};
    static const char *const nats[] = {"PREROUTING", "OUTPUT", "POSTROUTING", "DOCKER"};
    struct firewall_lines lines = {0};
    char *text;

    plan_all(&config, v6, &lines);
    text = nat ? listing(&lines.nat, nats, ELEMENTSOF(nats)) : listing(&lines.filter, filter, ELEMENTSOF(filter));
    CHECK_STR(text, want);
    free(text);
    firewall_lines_done(&lines);
}

/* How FORWARD begins under both protocols: the jumps, then the bridge that has both. */
#define FORWARD_HEAD                                                                                                                                 \
    "-A FORWARD -j DOCKER-USER\n"                                                                                                                    \
    "-A FORWARD -j DOCKER-ISOLATION-STAGE-1\n"                                                                                                       \
    "-A FORWARD -o br-f6f4a8d58a2a -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"                                                           \
    "-A FORWARD -o br-f6f4a8d58a2a -j DOCKER\n"                                                                                                      \
    "-A FORWARD -i br-f6f4a8d58a2a ! -o br-f6f4a8d58a2a -j ACCEPT\n"                                                                                 \
    "-A FORWARD -i br-f6f4a8d58a2a -o br-f6f4a8d58a2a -j ACCEPT\n"

/* Listings recorded from the reference with a second bridge and an internal one without icc; the DOCKER lines are ours. */
TEST(firewall_plan_filter) {
    check_listing(false, false,
                  FORWARD_HEAD "-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
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
}

TEST(firewall_plan_nat) {
    check_listing(false, true,
                  "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"
                  "-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER\n"
                  "-A POSTROUTING -s 172.19.0.0/16 ! -o br-f6f4a8d58a2a -j MASQUERADE\n"
                  "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n"
                  "-A DOCKER -i br-f6f4a8d58a2a -j RETURN\n"
                  "-A DOCKER -i docker0 -j RETURN");
}

/* The same with --ip6tables: a bridge without IPv6 is only kept apart. */
TEST(firewall_plan6) {
    check_listing(true, false,
                  FORWARD_HEAD "-A DOCKER ! -i br-f6f4a8d58a2a -o br-f6f4a8d58a2a -m conntrack --ctstate DNAT -j ACCEPT\n"
                               "-A DOCKER-ISOLATION-STAGE-1 -i br-f6f4a8d58a2a ! -o br-f6f4a8d58a2a -j DOCKER-ISOLATION-STAGE-2\n"
                               "-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2\n"
                               "-A DOCKER-ISOLATION-STAGE-1 -j RETURN\n"
                               "-A DOCKER-ISOLATION-STAGE-2 -o br-f6f4a8d58a2a -j DROP\n"
                               "-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP\n"
                               "-A DOCKER-ISOLATION-STAGE-2 -j RETURN");
    check_listing(true, true,
                  "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"
                  "-A OUTPUT ! -d ::1/128 -m addrtype --dst-type LOCAL -j DOCKER\n"
                  "-A POSTROUTING -s fd00:66::/64 ! -o br-f6f4a8d58a2a -j MASQUERADE\n"
                  "-A DOCKER -i br-f6f4a8d58a2a -j RETURN");
}

TEST(firewall_rule_text) {
    _cleanup_buf_ struct buf b = BUF_INIT(65536);

    CHECK_INT(nft_rule_iptables(&b, nft_ip("filter"), "-A X -p tcp -m tcp --dport 80 -j ACCEPT", "k", 0, NULL), 0);
    CHECK_INT(nft_rule_iptables(&b, nft_ip("nat"), "-A X ! -i docker0 -p udp -m udp --dport 53 -j DNAT --to-destination 172.17.0.2:53", "k", 0, NULL),
              0);
    CHECK_INT(nft_rule_iptables(&b, nft_ip("filter"), "-A X -x", "k", 0, NULL), -ERR_INVALID);
    CHECK_INT(nft_rule_iptables(&b, nft_ip("filter"), "-I X -j DROP", "k", 0, NULL), 0);
    CHECK_INT(nft_rule_iptables(&b, nft_ip("filter"), "-A X -s 1.2.3 -j DROP", "k", 0, NULL), -ERR_INVALID);
    CHECK_INT(nft_rule_iptables(&b, nft_ip("filter"), "-A X -m conntrack --ctstate BORED -j DROP", "k", 0, NULL), -ERR_INVALID);
    CHECK_INT(nft_rule_iptables(&b, nft_ip("filter"), "-A X -j", "k", 0, NULL), -ERR_INVALID);
    CHECK_INT(nft_rule_iptables(&b, nft_ip("nat"), "-A X -j DNAT --to-destination 1.2.3.4", "k", 0, NULL), -ERR_INVALID);
}

/* The cost of a bridge must not grow with the number of others. */
static void bridges_one_by_one(struct firewall *f) {
    _cleanup_err_ struct err e = ERR_INIT;
    int64_t t[2] = {0, 0};

    for (unsigned i = 0; i < 400; i++) {
        struct firewall_bridge b = {.subnet = {0x0a000000 + (i << 8), 24}, .masquerade = true, .icc = true, .guard = true};
        int64_t t0 = clock_mono_ns();

        snprintf(b.ifname, sizeof(b.ifname), "br%u", i);
        if (firewall_add_bridge(f, &b, &e) < 0)
            test_fail(__FILE__, __LINE__, "%s", err_msg(&e));
        if (i < 20 || i >= 380)
            t[i >= 380] += clock_mono_ns() - t0;
    }
    printf("# 20 bridges: %lld us when there are few, %lld us when there are 380\n", (long long)t[0] / 1000, (long long)t[1] / 1000);
    CHECK(firewall_intact(f));
    for (unsigned i = 0; i < 400; i++) {
        char name[16];

        snprintf(name, sizeof(name), "br%u", i);
        CHECK_INT(firewall_drop_bridge(f, name, &e), 0);
    }
    CHECK(firewall_intact(f));
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
    CHECK_INT(firewall_add_bridge(f, &bridges[2], &e), 0);
    CHECK(firewall_intact(f));
    CHECK_INT(firewall_drop_bridge(f, bridges[1].ifname, &e), 0);
    CHECK_INT(firewall_drop_bridge(f, bridges[1].ifname, NULL), -ERR_CONFLICT);
    CHECK(!firewall_intact(f));
    CHECK_INT(firewall_add_bridge(f, &bridges[1], NULL), -ERR_CONFLICT);
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
    bridges_one_by_one(f);
    firewall_free(f);
    free(v);
}

static int damages;
static void note_damage(void *arg) {
    (void)arg;
    __atomic_add_fetch(&damages, 1, __ATOMIC_SEQ_CST);
}

/* Another process takes our table away: the watch sees it. What we change ourselves is no damage. */
TEST(firewall_watch) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct firewall *f = NULL;
    pid_t pid;

    if (unshare(CLONE_NEWNET) < 0)
        TEST_SKIP("needs root");
    REQUIRE(firewall_new(&config, &f, &e) == 0 && firewall_apply(f, bridges, 2, &e) == 0);
    CHECK_INT(firewall_watch(f, note_damage, NULL, &e), 0);
    CHECK_INT(firewall_drop_bridge(f, bridges[1].ifname, &e), 0);
    pid = fork();
    if (pid == 0) {
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        struct netl_sock s;

        netl_open(&s, NETLINK_NETFILTER, NULL);
        nft_begin(&b);
        nft_flush_chain(&b, nft_ip("filter"), "FORWARD");
        _exit(nft_commit(&s, &b, NULL, NULL) < 0);
    }
    waitpid(pid, NULL, 0);
    for (int i = 0; i < 6000 && !__atomic_load_n(&damages, __ATOMIC_SEQ_CST); i++)
        usleep(10000);
    CHECK_INT(__atomic_load_n(&damages, __ATOMIC_SEQ_CST), 1);
    CHECK_INT(firewall_apply(f, bridges, 2, &e), 0);
    CHECK(firewall_intact(f));
    firewall_free(f);
}
