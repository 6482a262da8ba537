// SPDX-License-Identifier: Apache-2.0
/* A resolver with real sockets: a client on one side, servers played on the other. Nothing is slept for: turns are taken until what must come came. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/test.h"
#include "netd/resolver.h"

#define TURNS 2000 /* of at most 10 ms: only a broken resolver uses them up */
#define FUZZ_ROUNDS 4000

static const uint8_t id[NETD_GROUP_BYTES] = {7};
static const uint8_t site_id[NETD_GROUP_BYTES] = {8};

/* A resolver on loopback ports that the kernel picked, and two servers. */
struct bench {
    struct resolver *r;
    struct sockaddr_in udp, tcp;
    int client, servers[2], talk[2];
};

static int on_loopback(int type, struct sockaddr_in *ret) {
    socklen_t n = sizeof(*ret);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    *ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (struct sockaddr *)ret, n) < 0 || getsockname(fd, (struct sockaddr *)ret, &n) < 0 || (type == SOCK_STREAM && listen(fd, 16) < 0))
        return close_fd(fd);
    return fd;
}

/* One port for UDP and TCP. */
static bool play_server(struct bench *b, size_t i, struct server *ret) {
    struct sockaddr_in a;
    uint8_t *p = ret->addr.sin6_addr.s6_addr;

    for (int k = 0; k < 100; k++) {
        b->servers[i] = on_loopback(SOCK_DGRAM, &a);
        b->talk[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (bind(b->talk[i], (struct sockaddr *)&a, sizeof(a)) == 0 && listen(b->talk[i], 16) == 0) {
            *ret = (struct server){.addr = {.sin6_family = AF_INET6, .sin6_port = a.sin_port}};
            p[10] = p[11] = 0xff;
            memcpy(p + 12, &a.sin_addr, 4);
            return true;
        }
        close_fd(b->servers[i]);
        close_fd(b->talk[i]);
    }
    return false;
}

static size_t fields(uint8_t *p, unsigned flags) {
    uint8_t zone[2 + NETD_GROUP_BYTES] = {NETD_F_ZONE, NETD_GROUP_BYTES, 9};

    p[0] = NETD_F_FLAGS;
    p[1] = 1;
    p[2] = (uint8_t)flags;
    memcpy(p + 3, zone, sizeof(zone));
    return 3 + sizeof(zone);
}

static void set(struct bench *b, unsigned flags) {
    int fds[NETD_SOCKETS];
    uint8_t f[64];
    size_t n = fields(f, flags);

    fds[NETD_SOCKET_UDP] = on_loopback(SOCK_DGRAM, &b->udp);
    fds[NETD_SOCKET_TCP] = on_loopback(SOCK_STREAM, &b->tcp);
    for (int i = NETD_SOCKET_ASK; i < NETD_SOCKETS; i++)
        fds[i] = socket(AF_INET, (i < NETD_SOCKET_ASK + NETD_ASK_UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    resolver_set(id, (struct netd_fields){f, f + n}, fds, NETD_SOCKETS);
    b->r = resolver_find(id);
}

static bool bench_open(struct bench *b, unsigned flags) {
    static const uint8_t site[] = "\1\20\11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2\3net\3\4\12\0\0\2\5\2db";

    if (!netd.space && netd_begin() < 0)
        return false;
    names_set(&names, site_id, (struct netd_fields){site, site + sizeof(site) - 1});
    set(b, flags);
    if (!b->r || !play_server(b, 0, &b->r->servers[0]) || !play_server(b, 1, &b->r->servers[1]))
        return false;
    b->r->n_servers = 2;
    b->client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return connect(b->client, (struct sockaddr *)&b->udp, sizeof(b->udp)) == 0;
}

static void bench_close(struct bench *b) {
    resolver_remove(id);
    names_remove(&names, site_id);
    netd_turn(0);
    close_fd(b->client);
    for (int i = 0; i < 2; i++) {
        close_fd(b->servers[i]);
        close_fd(b->talk[i]);
    }
    CHECK(!resolvers_any());
}

static size_t question(uint8_t *m, unsigned qid, const char *name) {
    size_t n = DNS_HEAD;

    memset(m, 0, DNS_HEAD);
    dns_put_u16(m, qid);
    m[2] = 1;
    m[5] = 1;
    n += dns_name_write(name, m + n);
    memcpy(m + n, "\0\1\0\1", 4);
    return n + 4;
}

static void ask(struct bench *b, unsigned qid, const char *name) {
    uint8_t m[300];
    size_t n = question(m, qid, name);

    CHECK_INT(send(b->client, m, n, 0), n);
}

/* Take turns until something can be read from fd; false when nothing came. */
static bool turns_until(int fd) {
    for (int i = 0; i < TURNS; i++) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        if (poll(&p, 1, 0) > 0)
            return true;
        netd_turn(10);
    }
    return false;
}

static ssize_t heard(int fd, uint8_t *m, size_t room) {
    return turns_until(fd) ? recv(fd, m, room, MSG_DONTWAIT) : -1;
}

/* The i-th server takes a question and answers with the code; the id that it saw, or -1. */
static int serve(struct bench *b, int i, int rcode) {
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    uint8_t m[600];
    ssize_t n;

    if (!turns_until(b->servers[i]))
        return -1;
    n = recvfrom(b->servers[i], m, sizeof(m), 0, (struct sockaddr *)&from, &len);
    if (n < DNS_HEAD)
        return -1;
    m[2] |= 0x80;
    m[3] = (uint8_t)rcode;
    CHECK_INT(sendto(b->servers[i], m, (size_t)n, 0, (struct sockaddr *)&from, len), n);
    return dns_u16(m);
}

static void expect(struct bench *b, unsigned qid, int rcode) {
    uint8_t m[600];
    ssize_t n = heard(b->client, m, sizeof(m));

    REQUIRE(n >= DNS_HEAD);
    CHECK_INT(dns_u16(m), qid);
    CHECK_INT(dns_rcode(m), rcode);
}

TEST(resolver_answers_and_passes_on) {
    struct bench b = {0};
    uint8_t m[600];
    int first, second;

    REQUIRE(bench_open(&b, NETD_R_FORWARD));
    ask(&b, 1, "db");
    REQUIRE(heard(b.client, m, sizeof(m)) > DNS_HEAD);
    CHECK_INT(dns_u16(m + 6), 1);
    ask(&b, 2, "db.net");
    expect(&b, 2, DNS_NOERROR);
    ask(&b, 3, "elsewhere.test");
    first = serve(&b, 0, DNS_NXDOMAIN);
    expect(&b, 3, DNS_NXDOMAIN);
    ask(&b, 3, "elsewhere.test");
    second = serve(&b, 0, DNS_NOERROR);
    expect(&b, 3, DNS_NOERROR);
    CHECK(first >= 0 && second >= 0);
    CHECK_INT(b.r->n_pending, 0);
    /* Two under way at once keep their own ids. */
    ask(&b, 4, "one.test");
    ask(&b, 5, "two.test");
    CHECK(serve(&b, 0, DNS_NOERROR) >= 0);
    CHECK(serve(&b, 0, DNS_NXDOMAIN) >= 0);
    expect(&b, 4, DNS_NOERROR);
    expect(&b, 5, DNS_NXDOMAIN);
    bench_close(&b);
}

TEST(resolver_goes_to_the_next_server) {
    struct bench b = {0};

    REQUIRE(bench_open(&b, NETD_R_FORWARD));
    ask(&b, 1, "x.test");
    CHECK(serve(&b, 0, DNS_SERVFAIL) >= 0);
    CHECK(serve(&b, 1, DNS_NOERROR) >= 0);
    expect(&b, 1, DNS_NOERROR);
    ask(&b, 2, "x.test");
    CHECK(serve(&b, 0, DNS_REFUSED) >= 0);
    CHECK(serve(&b, 1, DNS_REFUSED) >= 0);
    expect(&b, 2, DNS_SERVFAIL);
    /* Nobody listens: heard of at once. */
    b.servers[0] = close_fd(b.servers[0]);
    ask(&b, 3, "x.test");
    CHECK(serve(&b, 1, DNS_NOERROR) >= 0);
    expect(&b, 3, DNS_NOERROR);
    bench_close(&b);
}

TEST(resolver_that_may_not_ask) {
    struct bench b = {0};

    REQUIRE(bench_open(&b, 0));
    ask(&b, 1, "x.test");
    expect(&b, 1, DNS_SERVFAIL);
    ask(&b, 2, "db");
    expect(&b, 2, DNS_NOERROR);
    bench_close(&b);
    REQUIRE(bench_open(&b, NETD_R_FORWARD | NETD_R_NDOTS));
    ask(&b, 3, "single");
    expect(&b, 3, DNS_NOERROR);
    bench_close(&b);
}

TEST(resolver_believes_only_the_answer_to_its_question) {
    static const char *const wrong[] = {"other.test", "x.tesu"};
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    struct bench b = {0};
    uint8_t m[600], lie[600];
    ssize_t n;

    REQUIRE(bench_open(&b, NETD_R_FORWARD));
    ask(&b, 1, "x.test");
    REQUIRE(turns_until(b.servers[0]));
    n = recvfrom(b.servers[0], m, sizeof(m), 0, (struct sockaddr *)&from, &len);
    REQUIRE(n > DNS_HEAD);
    m[2] |= 0x80;
    for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
        size_t k = question(lie, dns_u16(m), wrong[i]);

        lie[2] |= 0x80;
        ignore_result(sendto(b.servers[0], lie, k, 0, (struct sockaddr *)&from, len));
    }
    memcpy(lie, m, (size_t)n);
    lie[0] ^= 1;
    ignore_result(sendto(b.servers[0], lie, (size_t)n, 0, (struct sockaddr *)&from, len));
    /* From another server's port. */
    m[3] = DNS_REFUSED;
    ignore_result(sendto(b.servers[1], m, (size_t)n, 0, (struct sockaddr *)&from, len));
    m[3] = DNS_NXDOMAIN;
    ignore_result(sendto(b.servers[0], m, (size_t)n, 0, (struct sockaddr *)&from, len));
    expect(&b, 1, DNS_NXDOMAIN);
    bench_close(&b);
}

TEST(resolver_refuses_when_too_many_wait) {
    struct bench b = {0};
    uint8_t m[600];

    REQUIRE(bench_open(&b, NETD_R_FORWARD));
    for (unsigned i = 0; i < RESOLVER_PENDING; i++) {
        ask(&b, i, "wait.test");
        for (int k = 0; k < TURNS && b.r->n_pending < i + 1; k++)
            netd_turn(10);
        while (recv(b.servers[0], m, sizeof(m), MSG_DONTWAIT) > 0)
            continue;
    }
    CHECK_INT(b.r->n_pending, RESOLVER_PENDING);
    ask(&b, 5000, "wait.test");
    expect(&b, 5000, DNS_REFUSED);
    /* Names of our own are answered all the same. */
    ask(&b, 5001, "db");
    expect(&b, 5001, DNS_NOERROR);
    bench_close(&b);
}

/* ---- TCP --------------------------------------------------------------------------------------------------------------------------- */

static int dial(const struct bench *b) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK_INT(connect(fd, (const struct sockaddr *)&b->tcp, sizeof(b->tcp)), 0);
    return fd;
}

static void ask_by(int fd, unsigned qid, const char *name) {
    uint8_t m[300];
    size_t n = question(m + 2, qid, name);

    dns_put_u16(m, (unsigned)n);
    CHECK_INT(send(fd, m, n + 2, MSG_NOSIGNAL), n + 2);
}

/* n bytes, however they come. */
static bool read_all(int fd, uint8_t *m, size_t n) {
    for (size_t at = 0; at < n;) {
        ssize_t k = turns_until(fd) ? recv(fd, m + at, n - at, MSG_DONTWAIT) : -1;

        if (k <= 0)
            return false;
        at += (size_t)k;
    }
    return true;
}

static void expect_by(int fd, unsigned qid, int rcode) {
    uint8_t m[600];

    REQUIRE(read_all(fd, m, 2));
    REQUIRE(dns_u16(m) <= sizeof(m) - 2 && read_all(fd, m + 2, dns_u16(m)));
    CHECK_INT(dns_u16(m + 2), qid);
    CHECK_INT(dns_rcode(m + 2), rcode);
}

/* The i-th server takes a connection. */
static int taken(struct bench *b, int i) {
    return turns_until(b->talk[i]) ? accept4(b->talk[i], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) : -EBADF;
}

static void serve_by(int fd, int rcode) {
    uint8_t m[600];

    REQUIRE(read_all(fd, m, 2));
    REQUIRE(read_all(fd, m + 2, dns_u16(m)));
    m[4] |= 0x80;
    m[5] = (uint8_t)rcode;
    CHECK_INT(send(fd, m, dns_u16(m) + 2u, MSG_NOSIGNAL), dns_u16(m) + 2);
}

TEST(resolver_by_tcp) {
    struct bench b = {0};
    int a, c, s;

    REQUIRE(bench_open(&b, NETD_R_FORWARD));
    a = dial(&b);
    ask_by(a, 1, "db");
    expect_by(a, 1, DNS_NOERROR);
    /* Two at once on one connection. */
    ask_by(a, 2, "db");
    ask_by(a, 3, "db.net");
    expect_by(a, 2, DNS_NOERROR);
    expect_by(a, 3, DNS_NOERROR);
    ask_by(a, 4, "x.test");
    s = taken(&b, 0);
    serve_by(s, DNS_NXDOMAIN);
    expect_by(a, 4, DNS_NXDOMAIN);
    close_fd(s);
    /* A server that hangs up, then one that answers. */
    ask_by(a, 5, "x.test");
    close_fd(taken(&b, 0));
    s = taken(&b, 1);
    serve_by(s, DNS_NOERROR);
    expect_by(a, 5, DNS_NOERROR);
    close_fd(s);
    /* A client that leaves takes its question with it. */
    c = dial(&b);
    ask_by(c, 6, "x.test");
    s = taken(&b, 0);
    close_fd(c);
    for (int i = 0; i < TURNS && b.r->n_pending; i++)
        netd_turn(10);
    CHECK_INT(b.r->n_pending, 0);
    close_fd(s);
    close_fd(a);
    bench_close(&b);
}

TEST(resolver_has_few_tcp_sockets) {
    enum { CLIENTS = 5 };
    int clients[CLIENTS];
    struct bench b = {0};

    REQUIRE(bench_open(&b, NETD_R_FORWARD));
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = dial(&b);
        ask_by(clients[i], (unsigned)i, "x.test");
    }
    for (int i = 0; i < TURNS && b.r->n_pending < CLIENTS; i++)
        netd_turn(10);
    CHECK_INT(b.r->n_pending, CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        int s = taken(&b, 0);

        serve_by(s, DNS_NOERROR);
        close_fd(s);
    }
    for (int i = 0; i < CLIENTS; i++) {
        expect_by(clients[i], (unsigned)i, DNS_NOERROR);
        close_fd(clients[i]);
    }
    bench_close(&b);
}

/* ---- whatever comes ---------------------------------------------------------------------------------------------------------------- */

static uint32_t dice(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void mutate(uint8_t *m, size_t n, uint32_t *state) {
    for (unsigned k = dice(state) % 4; k > 0; k--)
        m[dice(state) % n] = (uint8_t)dice(state);
}

TEST(resolver_mutated_questions_and_answers) {
    static const char *const asked[] = {"db", "x.test", "2.0.0.10.in-addr.arpa", "a.b.c.net"};
    struct bench b = {0};
    uint32_t state = 4711;
    uint8_t m[4096];

    REQUIRE(bench_open(&b, NETD_R_FORWARD));
    for (unsigned round = 0; round < FUZZ_ROUNDS; round++) {
        struct sockaddr_in from;
        socklen_t len = sizeof(from);
        size_t n = question(m + 2, round, asked[dice(&state) % ELEMENTSOF(asked)]);
        ssize_t k;

        mutate(m + 2, n, &state);
        if (dice(&state) % 8 == 0) {
            _cleanup_close_ int fd = dial(&b);

            dns_put_u16(m, (unsigned)n + (dice(&state) % 4 ? 0 : dice(&state) % 7));
            ignore_result(send(fd, m, n + 2, MSG_NOSIGNAL));
            netd_turn(0);
        } else {
            ignore_result(send(b.client, m + 2, n, 0));
        }
        netd_turn(0);
        while ((k = recvfrom(b.servers[0], m, sizeof(m), MSG_DONTWAIT, (struct sockaddr *)&from, &len)) > 0) {
            m[2] |= 0x80;
            mutate(m + 2, (size_t)k - 2, &state);
            ignore_result(sendto(b.servers[0], m, dice(&state) % 4 ? (size_t)k : dice(&state) % (size_t)k, 0, (struct sockaddr *)&from, len));
        }
        while ((k = accept4(b.talk[0], NULL, NULL, SOCK_CLOEXEC)) >= 0) {
            ignore_result(send((int)k, "\0\20garbage garbage", 18, MSG_NOSIGNAL | MSG_DONTWAIT));
            close_fd((int)k);
        }
        netd_turn(0);
        while (recv(b.client, m, sizeof(m), MSG_DONTWAIT) > 0)
            continue;
        while (recv(b.servers[1], m, sizeof(m), MSG_DONTWAIT) > 0)
            continue;
        /* New sockets in the middle of everything. */
        if (dice(&state) % 500 == 0) {
            struct server servers[2] = {b.r->servers[0], b.r->servers[1]};

            set(&b, NETD_R_FORWARD);
            memcpy(b.r->servers, servers, sizeof(servers));
            b.r->n_servers = 2;
            CHECK_INT(connect(b.client, (struct sockaddr *)&b.udp, sizeof(b.udp)), 0);
        }
    }
    ask(&b, 60000, "db");
    for (int i = 0; i < TURNS; i++) {
        if (heard(b.client, m, sizeof(m)) < DNS_HEAD || dns_u16(m) == 60000)
            break;
    }
    CHECK_INT(dns_u16(m), 60000);
    bench_close(&b);
}

TEST(servers_of_a_resolv_conf) {
    struct server v[RESOLVER_SERVERS];

    CHECK_INT(
        upstream_read("# x\nnameserver 10.0.0.1\nsearch a\n nameserver\t127.0.0.53 \nnameserver ::1\nnameserver 10.0.0.4\n", v, RESOLVER_SERVERS), 3);
    CHECK(!v[0].host);
    CHECK(v[1].host);
    CHECK(v[2].host);
    CHECK_INT(upstream_read("nameserver 2001:db8::1", v, RESOLVER_SERVERS), 1);
    CHECK(v[0].host);
    CHECK_INT(upstream_read("nameserver\nnameserver bad\nnameservers 1.1.1.1\n", v, RESOLVER_SERVERS), 2);
    CHECK(!v[0].host);
    CHECK_INT(v[0].addr.sin6_addr.s6_addr[12], 8);
}
