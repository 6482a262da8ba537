// SPDX-License-Identifier: Apache-2.0
/* The whole process, caged as it is in life: ports are handed to it, a client calls them, the server is played here. Blocking sockets with a limit. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/test.h"
#include "netd/cage.h"
#include "netd/netd.h"
#include "netd/run.h"

#define BULK (24u << 20)

static const uint8_t group[NETD_GROUP_BYTES] = {3};

#define REQUEST 0x0123456789abcdef /* its trace id */

/* The process, its control connection, a published port (a client calls `port`) and the server behind it. */
struct proxy {
    pid_t pid;
    int control, server;
    struct sockaddr_in6 port;
};

static void be_patient(int fd) {
    struct timeval t = {.tv_sec = TEST_PATIENCE_MS / 1000};

    CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)), 0);
    CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)), 0);
}

static bool synced(struct proxy *p) {
    struct netd_msg m = {.version = NETD_VERSION, .op = NETD_SYNC};

    return send(p->control, &m, NETD_MSG_BYTES(0), MSG_NOSIGNAL) > 0 && recv(p->control, &m, sizeof(m), 0) > 0 && m.op == NETD_SYNCED;
}

static bool hand_over(struct proxy *p, int fd, const struct sockaddr_in *target, int proto) {
    union {
        struct cmsghdr h;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct netd_msg m = {.version = NETD_VERSION, .op = NETD_ADD, .n = 1, .trace = REQUEST};
    struct iovec iov = {&m, NETD_MSG_BYTES(1)};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

    memcpy(m.group, group, sizeof(group));
    m.entries[0] = (struct netd_entry){.target_be = target->sin_addr.s_addr, .target_port_be = target->sin_port, .proto = (uint8_t)proto};
    control.h.cmsg_level = SOL_SOCKET;
    control.h.cmsg_type = SCM_RIGHTS;
    control.h.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.h), &fd, sizeof(int));
    return sendmsg(p->control, &h, MSG_NOSIGNAL) > 0 && synced(p);
}

/* Without IPv6 on the machine the published side is IPv4 too: nothing here depends on it. */
static int published(int type, struct sockaddr_in6 *ret, socklen_t *ret_n) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)ret;
    int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    *ret = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    *ret_n = sizeof(*ret);
    if (fd < 0 || bind(fd, (struct sockaddr *)ret, *ret_n) < 0) {
        close_fd(fd);
        fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        *ret_n = sizeof(*v4);
        *v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        if (bind(fd, (struct sockaddr *)ret, *ret_n) < 0)
            return close_fd(fd);
    }
    if (getsockname(fd, (struct sockaddr *)ret, ret_n) < 0 || (type == SOCK_STREAM && listen(fd, 64) < 0))
        return close_fd(fd);
    return fd;
}

static bool begin(struct proxy *p, int type) {
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    _cleanup_close_ int fd = -EBADF;
    socklen_t n = sizeof(target);
    int pair[2], door;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return false;
    door = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* A name that the kernel chooses. */
    if (bind(door, &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)) < 0 || listen(door, 1) < 0)
        return false;
    p->pid = fork();
    if (p->pid == 0) {
        close_fd(pair[0]);
        signal(SIGPIPE, SIG_IGN);
        _exit(netd_confine() < 0 ? 9 : netd_run(door, pair[1]) < 0 ? 8 : 0);
    }
    close_fd(door);
    close_fd(pair[1]);
    p->control = pair[0];
    be_patient(p->control);
    p->server = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    be_patient(p->server);
    if (bind(p->server, (struct sockaddr *)&target, n) < 0 || getsockname(p->server, (struct sockaddr *)&target, &n) < 0)
        return false;
    if (type == SOCK_STREAM && listen(p->server, 64) < 0)
        return false;
    fd = published(type, &p->port, &n);
    return fd >= 0 && hand_over(p, fd, &target, type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP);
}

/* The next thing told is this, about our group, by this request. */
static bool told(const struct proxy *p, uint64_t trace, const char *want) {
    union {
        struct netd_msg m;
        char space[sizeof(struct netd_msg)];
    } u;
    ssize_t n = recv(p->control, &u, sizeof(u) - 1, 0);

    if (n < (ssize_t)NETD_MSG_BYTES(0) || u.m.op != NETD_LOG || u.m.trace != trace || memcmp(u.m.group, group, sizeof(group)) != 0)
        return false;
    u.space[n] = 0;
    CHECK_STR(u.space + NETD_MSG_BYTES(0), want);
    return true;
}

/* Without anything to hold and without anybody who talks to it, it ends by itself. */
static void end(struct proxy *p) {
    struct netd_msg m = {.version = NETD_VERSION, .op = NETD_DROP};
    int status = -1;

    memcpy(m.group, group, sizeof(group));
    CHECK(send(p->control, &m, NETD_MSG_BYTES(0), MSG_NOSIGNAL) > 0);
    close_fd(p->control);
    close_fd(p->server);
    CHECK_INT(waitpid(p->pid, &status, 0), p->pid);
    CHECK_INT(status, 0);
}

static int call(const struct proxy *p, int type) {
    int fd = socket(p->port.sin6_family, type | SOCK_CLOEXEC, 0);

    be_patient(fd);
    CHECK_INT(connect(fd, (const struct sockaddr *)&p->port, p->port.sin6_family == AF_INET6 ? sizeof(p->port) : sizeof(struct sockaddr_in)), 0);
    return fd;
}

static int answer(const struct proxy *p) {
    int fd = accept4(p->server, NULL, NULL, SOCK_CLOEXEC);

    be_patient(fd);
    return fd;
}

static void hears(int fd, const char *text) {
    char got[64] = "";
    size_t n = 0, want = strlen(text);

    while (n < want) {
        ssize_t k = recv(fd, got + n, want - n, 0);

        if (k <= 0)
            break;
        n += (size_t)k;
    }
    CHECK_STR(got, text);
}

static void says(int fd, const char *text) {
    CHECK_INT(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static bool hears_the_end(int fd) {
    char c;

    return recv(fd, &c, 1, 0) == 0;
}

/* One side has said all and still hears. Both are closed. */
static void half_close(int done, int other) {
    says(done, "question");
    CHECK_INT(shutdown(done, SHUT_WR), 0);
    hears(other, "question");
    CHECK(hears_the_end(other));
    says(other, "first ");
    hears(done, "first ");
    says(other, "second");
    close_fd(other);
    hears(done, "second");
    CHECK(hears_the_end(done));
    close_fd(done);
}

TEST(proxy_half_close_both_ways) {
    struct proxy p = {0};
    int c, s;

    REQUIRE(begin(&p, SOCK_STREAM));
    c = call(&p, SOCK_STREAM);
    s = answer(&p);
    half_close(c, s);
    c = call(&p, SOCK_STREAM);
    s = answer(&p);
    half_close(s, c);
    end(&p);
}

TEST(proxy_what_breaks_on_one_side_breaks_on_the_other) {
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    struct proxy p = {0};
    int c, s;
    char b;

    REQUIRE(begin(&p, SOCK_STREAM));
    for (int server_breaks = 0; server_breaks < 2; server_breaks++) {
        c = call(&p, SOCK_STREAM);
        s = answer(&p);
        says(c, "x");
        hears(s, "x");
        CHECK_INT(setsockopt(server_breaks ? s : c, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
        close_fd(server_breaks ? s : c);
        CHECK_INT(recv(server_breaks ? c : s, &b, 1, 0), -1);
        CHECK_INT(errno, ECONNRESET);
        close_fd(server_breaks ? c : s);
    }
    /* Nobody listens behind the port: the caller is not left with a connection that looks good. */
    close_fd(p.server);
    p.server = -EBADF;
    c = call(&p, SOCK_STREAM);
    CHECK_INT(recv(c, &b, 1, 0), -1);
    CHECK_INT(errno, ECONNRESET);
    close_fd(c);
    end(&p);
}

static unsigned char pattern(size_t at) {
    return (unsigned char)(at * 31 + (at >> 13));
}

/* One side sends everything it can until it is told to wait; only then the other begins to read. */
static void stream_bulk(int from, int to) {
    size_t sent = 0, got = 0;
    int small = 65536;
    bool right = true;
    static unsigned char b[1 << 16];

    CHECK_INT(fcntl(from, F_SETFL, O_NONBLOCK), 0);
    CHECK_INT(setsockopt(to, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    while (got < BULK) {
        while (sent < BULK) {
            size_t n = BULK - sent < sizeof(b) ? BULK - sent : sizeof(b);
            ssize_t k;

            for (size_t i = 0; i < n; i++)
                b[i] = pattern(sent + i);
            k = send(from, b, n, MSG_NOSIGNAL);
            if (k < 0)
                break;
            sent += (size_t)k;
        }
        if (sent == BULK)
            shutdown(from, SHUT_WR);
        for (size_t round = got + (4u << 20); got < sent && got < round;) {
            ssize_t k = recv(to, b, sizeof(b), 0);

            REQUIRE(k > 0);
            for (ssize_t i = 0; i < k; i++)
                right = right && b[i] == pattern(got + (size_t)i);
            got += (size_t)k;
            /* The next ones of the sender may be on their way only when these have made room. */
            if (sent < BULK)
                break;
        }
    }
    CHECK(right);
    CHECK(hears_the_end(to));
    CHECK_INT(fcntl(from, F_SETFL, 0), 0);
}

TEST(proxy_slow_receivers_lose_no_byte) {
    struct proxy p = {0};
    int c, s, idle, idle_s;

    REQUIRE(begin(&p, SOCK_STREAM));
    c = call(&p, SOCK_STREAM);
    s = answer(&p);
    stream_bulk(c, s);
    /* The other direction is still open. A second connection is not held up by the first. */
    idle = call(&p, SOCK_STREAM);
    idle_s = answer(&p);
    says(idle, "me too");
    hears(idle_s, "me too");
    stream_bulk(s, c);
    close_fd(c);
    close_fd(s);
    says(idle_s, "after all");
    hears(idle, "after all");
    close_fd(idle);
    close_fd(idle_s);
    end(&p);
}

TEST(proxy_ends_connections_with_their_port) {
    struct proxy p = {0};
    int c, s;
    char b;

    REQUIRE(begin(&p, SOCK_STREAM));
    c = call(&p, SOCK_STREAM);
    s = answer(&p);
    says(c, "x");
    hears(s, "x");
    end(&p);
    CHECK_INT(recv(c, &b, 1, 0), -1);
    CHECK_INT(errno, ECONNRESET);
    CHECK_INT(recv(s, &b, 1, 0), -1);
    close_fd(c);
    close_fd(s);
}

TEST(proxy_udp_sessions) {
    enum { CLIENTS = 300 };
    struct sockaddr_in seen[CLIENTS], from;
    struct proxy p = {0};
    int c[CLIENTS];
    char text[32];
    ssize_t n;

    REQUIRE(begin(&p, SOCK_DGRAM));
    for (int i = 0; i < CLIENTS; i++) {
        socklen_t len = sizeof(seen[i]);

        c[i] = call(&p, SOCK_DGRAM);
        snprintf(text, sizeof(text), "client %d", i);
        says(c[i], text);
        n = recvfrom(p.server, text, sizeof(text) - 1, 0, (struct sockaddr *)&seen[i], &len);
        REQUIRE(n > 0);
        for (int k = 0; k < i; k++)
            CHECK(seen[k].sin_port != seen[i].sin_port);
    }
    /* Each answer finds its client (connected sockets hear only the address that they called), in any order and more than one. */
    for (int round = 0; round < 2; round++) {
        for (int i = CLIENTS - 1; i >= 0; i--) {
            snprintf(text, sizeof(text), "to %d", i);
            CHECK_INT(sendto(p.server, text, strlen(text), 0, (struct sockaddr *)&seen[i], sizeof(seen[i])), strlen(text));
            hears(c[i], text);
        }
    }
    /* The server knows them again, and an empty datagram is one. */
    for (int i = 0; i < CLIENTS; i += 7) {
        socklen_t len = sizeof(from);

        CHECK_INT(send(c[i], "", 0, 0), 0);
        CHECK_INT(recvfrom(p.server, text, sizeof(text), 0, (struct sockaddr *)&from, &len), 0);
        CHECK_INT(from.sin_port, seen[i].sin_port);
    }
    for (int i = 0; i < CLIENTS; i++)
        close_fd(c[i]);
    end(&p);
}

static bool refused(long result) {
    return result == -1 && errno == EPERM;
}

TEST(proxy_tells_what_became_of_a_request) {
    struct netd_msg m = {.version = NETD_VERSION, .op = NETD_SYNC, .tell_all = 1};
    struct proxy p;
    int fd;

    REQUIRE(begin(&p, SOCK_STREAM));
    CHECK(send(p.control, &m, NETD_MSG_BYTES(0), MSG_NOSIGNAL) > 0);
    CHECK(recv(p.control, &m, sizeof(m), 0) > 0 && m.op == NETD_SYNCED);
    p.server = close_fd(p.server);
    fd = call(&p, SOCK_STREAM);
    CHECK(told(&p, REQUEST, "no connection to the container: Connection refused"));
    close_fd(fd);
    end(&p);
}

TEST(cage_allows_what_is_needed_only) {
    char template[] = "/tmp/netd-cage-XXXXXX";
    int fd = mkstemp(template), status = -1;
    pid_t pid;

    if (!netd_cage_filters())
        TEST_SKIP("built with a sanitizer");
    pid = fork();
    if (pid == 0) {
        char *const argv[] = {NULL};
        int bad = netd_confine() < 0;
        void *memory = malloc(1 << 20);

        bad |= !refused(socket(AF_UNIX, SOCK_DGRAM, 0)) << 1;
        bad |= !refused(socket(AF_NETLINK, SOCK_RAW, 0)) << 2;
        bad |= !refused(open(template, O_WRONLY | O_CLOEXEC)) << 3;
        bad |= !refused(execve("/bin/true", argv, argv)) << 4;
        bad |= !refused((long)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) << 5;
        bad |= !refused(syscall(SYS_ptrace, 0, 0, 0, 0)) << 6;
        bad |= (socket(AF_INET, SOCK_STREAM, 0) < 0 || open("/proc/self/stat", O_RDONLY | O_CLOEXEC) < 0 || !memory) << 7;
        free(memory);
        _exit(bad);
    }
    close_fd(fd);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
    unlink(template);
}
