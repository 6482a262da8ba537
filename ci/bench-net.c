// SPDX-License-Identifier: Apache-2.0
/*
 * bench-net: names and published ports, timed from inside a network namespace.
 *
 *   bench-net dns PID NAME COUNT DEPTH        asks 127.0.0.11 in PID's network namespace COUNT times for NAME, DEPTH questions at once
 *   bench-net serve PID PORT                  in PID's namespace: a server, in the background, for as long as PID lives
 *   bench-net bytes|echo|connect PID ADDRESS PORT COUNT   COUNT MiB to that server, messages of 64 bytes there and back, connections with one byte back
 *
 * Prints the seconds that it took. Exit 1 with a message when anything fails or an answer is wrong.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 60000
#define DEPTH_MAX 256

static char space[1 << 18];

static double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void enter(const char *pid) {
    char path[64];
    int fd;

    snprintf(path, sizeof(path), "/proc/%s/ns/net", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
        err(1, "%s", path);
    close(fd);
}

static struct sockaddr_in address(const char *host, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    if (inet_pton(AF_INET, host, &a.sin_addr) != 1)
        errx(1, "%s: not an address", host);
    return a;
}

/* ---- names ---- */

static size_t question(uint8_t *m, const char *name, unsigned id) {
    uint8_t head[12] = {(uint8_t)(id >> 8), (uint8_t)id, 1, 0, 0, 1};
    size_t n = sizeof(head), len = strlen(name);

    memcpy(m, head, sizeof(head));
    m[n++] = (uint8_t)len;
    memcpy(m + n, name, len);
    memcpy(m + n + len, "\0\0\1\0\1", 5);
    return n + len + 5;
}

static double ask(const char *name, unsigned count, unsigned depth) {
    struct sockaddr_in a = address("127.0.0.11", 53);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    uint8_t m[512];
    double begin = now();

    if (!name[0] || strlen(name) > 63 || !depth || depth > DEPTH_MAX || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
        err(1, "name server");
    for (unsigned sent = 0, got = 0; got < count; got++) {
        for (; sent < count && sent < got + depth; sent++) {
            size_t n = question(m, name, sent);

            if (send(fd, m, n, 0) != (ssize_t)n)
                err(1, "question");
        }
        if (recv(fd, m, sizeof(m), 0) < 16)
            err(1, "answer");
        if ((m[3] & 15) || !m[7])
            errx(1, "%s: code %d, %d addresses", name, m[3] & 15, m[7]);
    }
    return now() - begin;
}

/* ---- ports ---- */

static void serve_one(int fd) {
    ssize_t n;
    char kind;

    if (read(fd, &kind, 1) != 1)
        return;
    while ((n = read(fd, space, sizeof(space))) > 0) {
        if (kind == 'e' && write(fd, space, (size_t)n) != n)
            return;
    }
    if (kind != 'e')
        (void)!write(fd, "k", 1);
}

/* One connection after the other: that is how they are asked for. */
static void serve(const char *pid, int port) {
    struct sockaddr_in a = address("0.0.0.0", port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.events = POLLIN}};

    p[1].fd = (int)syscall(SYS_pidfd_open, atoi(pid), 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (p[1].fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1024) < 0)
        err(1, "server");
    if (daemon(0, 0) < 0)
        err(1, "daemon");
    while (poll(p, 2, -1) > 0 && !p[1].revents) {
        int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (c < 0)
            continue;
        setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        serve_one(c);
        close(c);
    }
}

static int call(const struct sockaddr_in *a, char kind) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
        write(fd, &kind, 1) != 1)
        err(1, "connection");
    return fd;
}

static void finish(int fd) {
    char c;

    shutdown(fd, SHUT_WR);
    if (read(fd, &c, 1) != 1)
        err(1, "end of the server");
    close(fd);
}

static double use(const char *what, const struct sockaddr_in *a, unsigned count) {
    double begin = now();
    int fd = *what == 'c' ? -1 : call(a, *what);

    for (unsigned i = 0; i < count; i++) {
        if (*what == 'c') {
            finish(call(a, 'c'));
        } else if (*what == 'e') {
            if (write(fd, space, 64) != 64 || recv(fd, space, 64, MSG_WAITALL) != 64)
                err(1, "echo");
        } else {
            for (size_t n = 0; n < 1 << 20; n += sizeof(space)) {
                if (write(fd, space, sizeof(space)) != (ssize_t)sizeof(space))
                    err(1, "bytes");
            }
        }
    }
    if (*what == 'b')
        finish(fd);
    return now() - begin;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";

    if (argc == 6 && strcmp(what, "dns") == 0) {
        enter(argv[2]);
        printf("%.9f\n", ask(argv[3], (unsigned)atoi(argv[4]), (unsigned)atoi(argv[5])));
    } else if (argc == 4 && strcmp(what, "serve") == 0) {
        enter(argv[2]);
        serve(argv[2], atoi(argv[3]));
    } else if (argc == 6 && (strcmp(what, "bytes") == 0 || strcmp(what, "echo") == 0 || strcmp(what, "connect") == 0)) {
        struct sockaddr_in a = address(argv[3], atoi(argv[4]));

        enter(argv[2]);
        printf("%.9f\n", use(what, &a, (unsigned)atoi(argv[5])));
    } else {
        errx(2, "see the head of its source");
    }
    return 0;
}
