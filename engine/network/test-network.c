// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"
#include "db/db.h"
#include "db/journal.h"
#include "kern/netlink.h"
#include "monitor/launch.h"
#include "netd/netd.h"
#include "netplane/link.h"
#include "network/network-internal.h"

/* ---- pure parts -------------------------------------------------------------------------------------------------------------------- */

static void bind_port(struct api_port_binding_list_map *m, const char *key, const char *ip, const char *port) {
    struct api_port_binding_list_map_entry *entry = codec_list_add(&m->n, (void **)&m->v, &m->set, sizeof(*entry));
    struct api_port_binding *b;

    entry->key = strdup(key);
    if (!port)
        return;
    b = api_port_binding_list_add(&entry->value);
    b->host_ip = strdup(ip);
    b->host_port = strdup(port);
}

/* A network below which nothing of the machine is: its containers have no way out by it, and take the next network's. */
TEST(network_on_a_dummy_leads_nowhere) {
    struct network dummy = {.kind = NETWORK_IPVLAN, .record = {.name = (char *)"a", .id = (char *)"1"}, .gateway = 0x0a430001};
    struct network below = {.kind = NETWORK_MACVLAN, .record = {.name = (char *)"b", .id = (char *)"2"}, .gateway = 0x0a470009};
    struct endpoint ep = {.net = &dummy, .ip = 0x0a430002, .ip_text = "10.67.0.2"};
    struct network *both[] = {&dummy, &below};
    struct api_endpoint_settings told = {0};
    struct launch_link link = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    REQUIRE(api_string_map_set(&below.record.options, "parent", "eth0", &e) == 0);
    CHECK(!network_leads_out(&dummy));
    CHECK(network_leads_out(&below));
    CHECK_INT(networks_gateway(both, 2), 1);
    CHECK(endpoint_settings(&ep, &told, &e) == 0);
    CHECK_STR(told.gateway, "");
    CHECK(endpoint_link(&ep, true, &link));
    CHECK(!link.gateway.family);
    ep.net = &below;
    api_endpoint_settings_done(&told);
    memset(&told, 0, sizeof(told));
    CHECK(endpoint_settings(&ep, &told, &e) == 0);
    CHECK_STR(told.gateway, "10.71.0.9");
    strv_done(&link.sysctls);
    api_endpoint_settings_done(&told);
    api_string_map_done(&below.record.options);
}

TEST(network_port_requests) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct api_port_binding_list_map m = {0};
    struct api_string_set exposed = {0};
    struct port_requests p = {0};
    static const struct {
        uint16_t container, first, last;
        enum port_proto proto;
    } want[] = {
        {80, 8080, 8080, PORT_TCP}, {90, 500, 500, PORT_UDP}, {443, 0, 0, PORT_TCP}, {99, 9000, 9010, PORT_TCP},
        {53, 0, 0, PORT_TCP},       {53, 0, 0, PORT_UDP},     {1, 0, 0, PORT_TCP},
    };

    bind_port(&m, "80/tcp", "127.0.0.1", "8080");
    bind_port(&m, "90/udp", "", "500");
    bind_port(&m, "99", "", "9000-9010");
    bind_port(&m, "53/udp", "", NULL);
    bind_port(&m, "7/tcp", "", "7"); /* not exposed: not published */
    api_string_set_add(&exposed, "80/tcp", NULL);
    api_string_set_add(&exposed, "90/udp", NULL);
    api_string_set_add(&exposed, "99", NULL);
    api_string_set_add(&exposed, "1", NULL);
    api_string_set_add(&exposed, "443/tcp", NULL);
    api_string_set_add(&exposed, "53/tcp", NULL);
    api_string_set_add(&exposed, "53/udp", NULL);
    CHECK_INT(port_requests_read(&p, &m, &exposed, true, &e), 0);
    CHECK_INT(p.n, ELEMENTSOF(want));
    for (size_t i = 0; i < p.n && i < ELEMENTSOF(want); i++) {
        CHECK_INT(p.v[i].container_port, want[i].container);
        CHECK_INT(p.v[i].host_first, want[i].first);
        CHECK_INT(p.v[i].host_last, want[i].last);
        CHECK_INT(p.v[i].proto, want[i].proto);
    }
    port_requests_done(&p);
    bind_port(&m, "x/tcp", "", "1");
    CHECK_INT(port_requests_read(&p, &m, NULL, false, &e), -ERR_INVALID);
    api_port_binding_list_map_done(&m);
    bind_port(&m, "1/foo", "", "1");
    CHECK_INT(port_requests_read(&p, &m, NULL, false, &e), -ERR_INVALID);
    api_port_binding_list_map_done(&m);
    bind_port(&m, "1/tcp", "", "70000");
    CHECK_INT(port_requests_read(&p, &m, &exposed, false, &e), -ERR_INVALID);
    api_port_binding_list_map_done(&m);
    bind_port(&m, "1/tcp", "", "9-3");
    CHECK_INT(port_requests_read(&p, &m, &exposed, false, &e), -ERR_INVALID);
    api_port_binding_list_map_done(&m);
    api_string_set_done(&exposed);
}

/* ---- a machine of our own ---------------------------------------------------------------------------------------------------------- */

struct place {
    char root[64], exec[80], libexec[256];
    struct engine_config config;
    struct engine engine;
    struct networks *n;
};

static bool place_open(struct place *p) {
    _cleanup_err_ struct err e = ERR_INIT;
    char path[96];

    snprintf(path, sizeof(path), "%s/db", p->root);
    if (db_open(path, &p->engine.db, &e) == 0 && journal_setup(p->engine.db, &e) == 0 && networks_new(&p->engine, &p->n, &e) == 0)
        return true;
    test_fail(__FILE__, __LINE__, "%s", err_msg(&e));
    return false;
}

static bool place_begin(struct place *p) {
    char self[200] = "";
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    *p = (struct place){0};
    snprintf(p->root, sizeof(p->root), "/tmp/test-network-XXXXXX");
    if (n < 0 || !mkdtemp(p->root))
        return false;
    /* build/test/network runs build/bin/hatake-netd. */
    *strrchr(self, '/') = 0;
    snprintf(p->libexec, sizeof(p->libexec), "%s/../bin/hatake-netd", self);
    /* Sanitized builds may have none of their own. */
    snprintf(p->libexec, sizeof(p->libexec), fs_exists(p->libexec) ? "%s/../bin" : "%s/../../bin", self);
    snprintf(p->exec, sizeof(p->exec), "%s/exec", p->root);
    p->config = (struct engine_config){
        .data_root = p->root, .exec_root = p->exec, .iptables = true, .ip_forward = true, .ip_masq = true, .icc = true, .userland_proxy = true};
    p->engine.config = &p->config;
    p->engine.libexec_dir = p->libexec;
    return place_open(p);
}

static void place_close(struct place *p) {
    p->n = networks_free(p->n);
    p->engine.db = db_close(p->engine.db);
}

static void place_end(struct place *p) {
    place_close(p);
    fs_remove_tree(p->root, NULL);
}

static bool own_machine(void) {
    if (unshare(CLONE_NEWNET) < 0)
        return false;
    return if_nametoindex("lo") && true;
}

static void lo_up(void) {
    char mem[512];
    struct nl_batch b;
    int fd = nl_open();

    nl_init(&b, mem, sizeof(mem));
    nl_link_up(&b, NULL, if_nametoindex("lo"));
    nl_send(fd, &b, NULL);
    close_fd(fd);
}

static void write_all(int fd, const char *s) {
    ignore_result(send(fd, s, strlen(s), MSG_NOSIGNAL) < 0);
}

/* In the container: one listening socket on port 80, each connection is told where it came from. */
static void serve(int ready) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80)};
    int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s, 16) < 0)
        _exit(1);
    ignore_result(write(ready, "x", 1) < 0);
    for (;;) {
        struct sockaddr_in from;
        socklen_t len = sizeof(from);
        char text[IPV4_TEXT_MAX];
        int c = accept(s, (struct sockaddr *)&from, &len);

        if (c < 0)
            continue;
        ipv4_format(ntohl(from.sin_addr.s_addr), text);
        write_all(c, text);
        close(c);
    }
}

/* A process in a network namespace of its own with the endpoint's link, as a monitor would make it. */
static pid_t container_start(const struct endpoint *ep) {
    struct launch_link l = {0};
    int go[2], ready[2];
    char mem[2048], c = 0;
    struct nl_batch b;
    pid_t pid;
    int fd;

    endpoint_link(ep, true, &l);
    if (pipe(go) < 0 || pipe(ready) < 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNET) < 0)
            _exit(1);
        ignore_result(write(ready[1], "x", 1) < 0);
        ignore_result(read(go[0], &c, 1) < 0);
        fd = nl_open();
        nl_init(&b, mem, sizeof(mem));
        nl_addr(&b, if_nametoindex(l.ifname), AF_INET, l.addrs[0].addr, (unsigned)l.addrs[0].prefix);
        nl_link_up(&b, NULL, if_nametoindex(l.ifname));
        nl_route(&b, if_nametoindex(l.ifname), AF_INET, NULL, 0, l.gateway.addr, false);
        nl_send(fd, &b, NULL);
        serve(ready[1]);
    }
    ignore_result(read(ready[0], &c, 1) < 0);
    fd = nl_open();
    nl_init(&b, mem, sizeof(mem));
    nl_link_veth(&b, l.host_ifname, if_nametoindex(l.bridge), l.mtu, l.ifname, l.mac, (struct nl_ns){pid, -1});
    nl_send(fd, &b, NULL);
    close_fd(fd);
    ignore_result(write(go[1], "x", 1) < 0);
    ignore_result(read(ready[0], &c, 1) < 0);
    for (int i = 0; i < 2; i++) {
        close(go[i]);
        close(ready[i]);
    }
    strv_done(&l.sysctls);
    return pid;
}

/* The container ends, and another one is in its place: who had an address before is not heard any more once it is given out again. */
static pid_t container_follow(pid_t before, const struct endpoint *ep) {
    kill(before, SIGKILL);
    waitpid(before, NULL, 0);
    return container_start(ep);
}

static const char *call_within(int ms, const char *ip, uint16_t port, char ret[64]) {
    struct timeval t = {.tv_sec = ms / 1000};
    bool v6 = strchr(ip, ':') != NULL;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    _cleanup_close_ int s = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t n = 0;

    inet_pton(v6 ? AF_INET6 : AF_INET, ip, v6 ? (void *)&a6.sin6_addr : (void *)&a.sin_addr);
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
    if (connect(s, v6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a, v6 ? sizeof(a6) : sizeof(a)) == 0)
        n = recv(s, ret, 63, 0);
    ret[n > 0 ? n : 0] = 0;
    return ret;
}

/* What the container says when called at this address. */
static const char *call_port(const char *ip, uint16_t port, char ret[64]) {
    return call_within(TEST_PATIENCE_MS, ip, port, ret);
}

/* True when nobody answers: the call is refused, or lost. */
static bool silent(const char *ip, uint16_t port) {
    char ret[64];

    return streq(call_within(2000, ip, port, ret), "");
}

static const char *const an_id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

TEST(network_published_port_lives_on) {
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_buf_ struct buf saved = BUF_INIT(65536);
    struct port_request ports[] = {{.proto = PORT_TCP, .container_port = 80, .host_first = 8080, .host_last = 8080},
                                   {.proto = PORT_TCP, .container_port = 80, .host_first = 8081, .host_last = 8081, .host_ip = "127.0.0.1"}};
    struct endpoint_request req = {.container_id = an_id, .container_name = "c1", .hostname = "c1", .ports = ports, .n_ports = 2};
    struct endpoint *ep = NULL, *second = NULL;
    struct network *net = NULL;
    struct place p;
    char got[64], want[200];
    pid_t pid;

    if (geteuid() != 0 || !own_machine())
        TEST_SKIP("needs root");
    lo_up();
    REQUIRE(place_begin(&p));
    REQUIRE(networks_find(p.n, "default", &net, &e) == 0);
    CHECK_STR(network_name(net), "bridge");
    if (networks_join(p.n, net, &req, &ep, &e) < 0) {
        test_fail(__FILE__, __LINE__, "%s", err_msg(&e));
        return;
    }
    CHECK_STR(endpoint_ipv4(ep), "172.17.0.2");
    CHECK_INT(endpoint_n_ports(ep), 3);
    pid = container_start(ep);
    CHECK_STR(call_port("127.0.0.1", 8080, got), "172.17.0.1");
    CHECK_STR(call_port("172.17.0.1", 8080, got), "172.17.0.1");
    CHECK_STR(call_port("127.0.0.1", 8081, got), "172.17.0.1");
    CHECK(silent("172.17.0.1", 8081));
    CHECK_STR(call_port("::1", 8080, got), "172.17.0.1");

    req.n_ports = 1;
    req.container_name = "c2";
    CHECK_INT(networks_join(p.n, net, &req, &second, &e), -ERR_INTERNAL);
    snprintf(want, sizeof(want), "driver failed programming external connectivity on endpoint c2 (");
    CHECK(str_has_prefix(err_msg(&e), want));
    CHECK(str_has_suffix(err_msg(&e), "): Bind for 0.0.0.0:8080 failed: port is already allocated"));

    /* The engine goes and comes back: ports answer all the time, and belong to the container still. */
    CHECK_INT(endpoint_save(ep, &saved, &e), 0);
    network_unref(net);
    place_close(&p);
    CHECK_STR(call_port("127.0.0.1", 8080, got), "172.17.0.1");
    CHECK_STR(call_port("::1", 8080, got), "172.17.0.1");
    REQUIRE(place_open(&p));
    REQUIRE(networks_adopt(p.n, buf_str(&saved), &ep, &e) == 0);
    networks_adopted(p.n);
    CHECK_STR(call_port("127.0.0.1", 8080, got), "172.17.0.1");
    CHECK_STR(call_port("::1", 8080, got), "172.17.0.1");
    REQUIRE(networks_find(p.n, "bridge", &net, &e) == 0);
    CHECK_INT(networks_join(p.n, net, &req, &second, &e), -ERR_INTERNAL);

    networks_leave(p.n, ep);
    CHECK(silent("127.0.0.1", 8080));
    CHECK_INT(networks_join(p.n, net, &req, &second, &e), 0);
    CHECK_STR(endpoint_ipv4(second), "172.17.0.2");
    networks_leave(p.n, second);

    /* Somebody flushes our table: the next container finds it whole again. */
    {
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        struct netl_sock s;

        netl_open(&s, NETLINK_NETFILTER, NULL);
        nft_begin(&b);
        nft_del_table(&b, nft_ip("hatake"));
        CHECK_INT(nft_commit(&s, &b, NULL, NULL), 0);
        netl_close(&s);
        CHECK_INT(networks_join(p.n, net, &req, &second, &e), 0);
        pid = container_follow(pid, second);
        CHECK_STR(call_port("127.0.0.1", 8080, got), "172.17.0.1");
        networks_leave(p.n, second);
    }
    /* Without ports hatake-netd ends; the next port brings it back. */
    sleep(NETD_IDLE_SECONDS + 1);
    CHECK_INT(networks_join(p.n, net, &req, &second, &e), 0);
    pid = container_follow(pid, second);
    CHECK_STR(call_port("::1", 8080, got), "172.17.0.1");
    networks_leave(p.n, second);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    network_unref(net);
    place_end(&p);
}

TEST(network_port_held_by_a_program) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct port_request port = {.proto = PORT_TCP, .container_port = 80, .host_first = 7070, .host_last = 7070};
    struct endpoint_request req = {.container_id = an_id, .container_name = "c1", .ports = &port, .n_ports = 1};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(7070)};
    struct endpoint *ep = NULL;
    struct network *net = NULL;
    struct place p;
    int s;

    if (geteuid() != 0 || !own_machine())
        TEST_SKIP("needs root");
    lo_up();
    REQUIRE(place_begin(&p));
    REQUIRE(networks_find(p.n, "bridge", &net, &e) == 0);
    s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(s, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(s, 1) == 0);
    CHECK_INT(networks_join(p.n, net, &req, &ep, &e), -ERR_INTERNAL);
    CHECK(str_has_suffix(err_msg(&e), "): Error starting userland proxy: listen tcp4 0.0.0.0:7070: bind: address already in use"));
    close(s);
    CHECK_INT(networks_join(p.n, net, &req, &ep, &e), 0);
    CHECK_STR(endpoint_ipv4(ep), "172.17.0.2");
    networks_leave(p.n, ep);
    network_unref(net);
    place_end(&p);
}

/* What publishing costs must not depend on how much is published. */
TEST(network_many_ports) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct port_request *ports = calloc(200, sizeof(*ports));
    struct endpoint_request req = {.container_id = an_id, .container_name = "c1", .ports = ports, .n_ports = 200};
    struct endpoint *ep[5] = {NULL};
    struct network *net = NULL;
    struct place p;

    if (geteuid() != 0 || !own_machine()) {
        free(ports);
        TEST_SKIP("needs root");
    }
    lo_up();
    REQUIRE(place_begin(&p));
    REQUIRE(networks_find(p.n, "bridge", &net, &e) == 0);
    for (size_t k = 0; k < ELEMENTSOF(ep); k++) {
        int64_t t0 = clock_mono_ns();

        for (size_t i = 0; i < 200; i++)
            ports[i] = (struct port_request){.proto = PORT_TCP,
                                             .container_port = (uint16_t)(1000 + i),
                                             .host_first = (uint16_t)(10000 + k * 200 + i),
                                             .host_last = (uint16_t)(10000 + k * 200 + i)};
        if (networks_join(p.n, net, &req, &ep[k], &e) < 0)
            test_fail(__FILE__, __LINE__, "%s", err_msg(&e));
        printf("# 200 ports with %zu published before: %lld us\n", k * 200, (long long)(clock_mono_ns() - t0) / 1000);
    }
    for (size_t k = 0; k < ELEMENTSOF(ep); k++) {
        int64_t t0 = clock_mono_ns();

        networks_leave(p.n, ep[k]);
        printf("# leave: %lld us\n", (long long)(clock_mono_ns() - t0) / 1000);
    }
    network_unref(net);
    place_end(&p);
    free(ports);
}

TEST(network_user_defined) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct api_network_create_request req = {0};
    struct network *net = NULL;
    struct place p;
    char *warning = NULL, bridge[16];

    if (geteuid() != 0 || !own_machine())
        TEST_SKIP("needs root");
    lo_up();
    REQUIRE(place_begin(&p));
    req.name = strdup("one");
    REQUIRE(networks_create(p.n, &req, &net, &warning, &e) == 0);
    snprintf(bridge, sizeof(bridge), "br-%.12s", network_id(net));
    CHECK(if_nametoindex(bridge) != 0);
    network_unref(net);
    CHECK_INT(networks_create(p.n, &req, &net, &warning, &e), -ERR_CONFLICT);
    CHECK_STR(err_msg(&e), "network with name one already exists");
    place_close(&p);
    /* As after a reboot: the device is gone, the record is not. */
    link_delete(bridge, NULL);
    REQUIRE(place_open(&p));
    CHECK(if_nametoindex(bridge) != 0);
    CHECK_INT(networks_remove(p.n, "one", &e), 0);
    CHECK_INT(if_nametoindex(bridge), 0);
    CHECK_INT(networks_remove(p.n, "one", &e), -ERR_NOT_FOUND);
    CHECK_INT(networks_remove(p.n, "bridge", &e), -ERR_FORBIDDEN);
    api_network_create_request_done(&req);
    place_end(&p);
}

/* An address of IPv6 can come back without the one of IPv4 that it left with. */
TEST(network_silences_the_last_holder) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct api_network_create_request req = {.enable_ipv6 = true, .has_enable_ipv6 = true};
    struct endpoint_request place = {.container_id = an_id, .container_name = "c1", .ipv6 = "fd00:7::9"};
    struct endpoint *first = NULL, *other = NULL;
    struct api_ipam_config *pool;
    struct network *net = NULL;
    struct place p;
    char *warning = NULL, got[64], ip[IPV4_TEXT_MAX], other_ip[IPV4_TEXT_MAX];
    uint32_t addr;
    pid_t pid;

    if (geteuid() != 0 || !own_machine())
        TEST_SKIP("needs root");
    lo_up();
    REQUIRE(place_begin(&p));
    req.name = strdup("six");
    req.ipam = calloc(1, sizeof(*req.ipam));
    REQUIRE(req.name && req.ipam);
    pool = api_ipam_config_list_add(&req.ipam->config);
    REQUIRE(pool && str_set(&pool->subnet, "fd00:7::/64") == 0);
    REQUIRE(networks_create(p.n, &req, &net, &warning, &e) == 0);
    REQUIRE(networks_join(p.n, net, &place, &first, &e) == 0);
    snprintf(ip, sizeof(ip), "%s", endpoint_ipv4(first));
    REQUIRE(ipv4_parse(ip, &addr) == 0);
    pid = container_start(first);
    CHECK(!str_empty(call_port(ip, 80, got)));
    networks_leave(p.n, first);

    /* Its namespace is still there. Who has other addresses lets it alone. */
    ipv4_format(addr + 1, other_ip);
    place.ipv4 = other_ip;
    place.ipv6 = "fd00:7::a";
    REQUIRE(networks_join(p.n, net, &place, &other, &e) == 0);
    CHECK(!str_empty(call_port(ip, 80, got)));
    networks_leave(p.n, other);
    ipv4_format(addr + 2, other_ip);
    place.ipv6 = "fd00:7::9";
    REQUIRE(networks_join(p.n, net, &place, &other, &e) == 0);
    CHECK(silent(ip, 80));
    networks_leave(p.n, other);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    network_unref(net);
    api_network_create_request_done(&req);
    place_end(&p);
}

TEST(network_files) {
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_buf_ struct buf b = BUF_INIT(65536);
    _cleanup_strv_ struct strv extra = STRV_INIT, dns = STRV_INIT, search = STRV_INIT, options = STRV_INIT;
    struct hosts_request hosts = {.hostname = "foo", .domainname = "bar.com", .extra_hosts = &extra};
    struct resolv_request resolv = {.dns = &dns, .dns_search = &search, .dns_options = &options};
    struct endpoint_request req = {.container_id = an_id, .container_name = "c1"};
    struct endpoint *ep = NULL;
    struct network *net = NULL;
    struct place p;

    if (geteuid() != 0 || !own_machine())
        TEST_SKIP("needs root");
    REQUIRE(place_begin(&p));
    REQUIRE(networks_find(p.n, "bridge", &net, &e) == 0);
    REQUIRE(networks_join(p.n, net, &req, &ep, &e) == 0);
    hosts.endpoints = &ep;
    hosts.n_endpoints = 1;
    strv_add(&extra, "x:1.2.3.4");
    strv_add(&extra, "y:host-gateway");
    CHECK_INT(networks_build_hosts(p.n, &hosts, &b, &e), 0);
    CHECK_STR(buf_str(&b), "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\n"
                           "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n1.2.3.4\tx\n172.17.0.1\ty\n172.17.0.2\tfoo.bar.com foo\n");
    strv_add(&extra, "z:1.1.1.1\n6.6.6.6 evil");
    CHECK_INT(networks_build_hosts(p.n, &hosts, &b, &e), -ERR_INVALID);
    buf_reset(&b);
    resolv.net = net;
    strv_add(&dns, "1.1.1.1");
    strv_add(&search, "foo.com");
    strv_add(&options, "ndots:3");
    CHECK_INT(networks_build_resolv(p.n, &resolv, &b, &e), 0);
    CHECK_STR(buf_str(&b),
              "# Generated by Docker Engine.\n# This file can be edited; Docker Engine will not make further changes once it\n# has been "
              "modified.\n\nnameserver 1.1.1.1\nsearch foo.com\noptions ndots:3\n\n# Based on host file: '/etc/resolv.conf' (legacy)\n"
              "# Overrides: [nameservers search options]\n# Option ndots from: override\n");
    strv_add(&search, "a\nnameserver 6.6.6.6");
    CHECK_INT(networks_build_resolv(p.n, &resolv, &b, &e), -ERR_INVALID);
    networks_leave(p.n, ep);
    network_unref(net);
    place_end(&p);
}
