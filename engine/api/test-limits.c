// SPDX-License-Identifier: Apache-2.0
/* Bounds of the HTTP server below the API: heads that never end, too many connections, too many long handlers. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/test.h"
#include "wire/http.h"
#include "wire/listen.h"
#include "wire/loop.h"

struct fixture {
    struct loop *loop;
    struct http_server *http;
    char dir[64], path[96];
    atomic_int running; /* long handlers that wait for the gate */
    atomic_bool open;
};

static void route(struct call *c, struct http_route *ret, void *data) {
    ret->exec = strcmp(call_method(c), "GET") == 0 ? HTTP_QUICK : HTTP_LONG;
}

static void run(struct call *c, void *data) {
    struct fixture *f = data;

    if (strcmp(call_method(c), "POST") == 0) {
        f->running++;
        CHECK_SOON(f->open);
    }
    if (strcmp(call_method(c), "PUT") == 0) {
        char first;

        CHECK_INT(call_body_read(c, &first, 1, NULL), 1);
    }
    call_reply_empty(c, 204);
}

static bool start(struct fixture *f, const struct http_options *o) {
    struct http_hooks hooks = {.route = route, .run = run, .data = f};
    int fd = -1;

    f->running = 0;
    f->open = false;
    snprintf(f->dir, sizeof(f->dir), "/tmp/hatake-test-XXXXXX");
    if (!mkdtemp(f->dir))
        return false;
    snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
    return loop_new("loop", &f->loop, NULL) >= 0 && loop_start(f->loop, NULL) >= 0 && http_new(NULL, f->loop, &hooks, o, &f->http, NULL) >= 0 &&
           listen_unix(f->path, (gid_t)-1, 0600, &fd, NULL) >= 0 && http_listen(f->http, HTTP_LISTEN_PLAIN, fd, NULL, NULL) >= 0;
}

static void stop(struct fixture *f) {
    CHECK(http_stop(f->http, TEST_PATIENCE_MS * NSEC_PER_MSEC));
    http_free(f->http);
    loop_free(f->loop);
    unlink(f->path);
    rmdir(f->dir);
}

static int dial(const struct fixture *f) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(a.sun_path, f->path, strlen(f->path) + 1);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        test_fail(__FILE__, __LINE__, "no connection");
    return fd;
}

static bool closed_within(int fd, int ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char c;

    return poll(&p, 1, ms) == 1 && recv(fd, &c, 1, 0) <= 0;
}

static bool closed(int fd) {
    return closed_within(fd, TEST_PATIENCE_MS);
}

static bool answered(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char b[512];

    return poll(&p, 1, TEST_PATIENCE_MS) == 1 && recv(fd, b, sizeof(b), 0) > 12 && strncmp(b, "HTTP/1.1 204", 12) == 0;
}

static void send_text(int fd, const char *s) {
    CHECK(send(fd, s, strlen(s), MSG_NOSIGNAL) == (ssize_t)strlen(s));
}

/* A byte now and then keeps neither a head nor a short body open. */
TEST(limit_slow_head_and_body) {
    struct http_options o = {.head_seconds = 2};
    struct fixture f;
    int slow[2], used;
    bool ended[2] = {false};

    REQUIRE(start(&f, &o));
    for (int i = 0; i < 2; i++)
        slow[i] = dial(&f);
    used = dial(&f);
    send_text(slow[0], "GET / HTTP/1.1\r\nHost: d\r\nX: ");
    send_text(slow[1], "POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 100000\r\n\r\n");
    send_text(used, "GET / HTTP/1.1\r\nHost: d\r\n\r\n");
    CHECK(answered(used));
    for (int ms = 0; ms < TEST_PATIENCE_MS && !(ended[0] && ended[1]); ms += 100) {
        for (int i = 0; i < 2; i++) {
            ended[i] = ended[i] || closed_within(slow[i], 50);
            if (!ended[i])
                send(slow[i], "x", 1, MSG_NOSIGNAL);
        }
    }
    CHECK(ended[0] && ended[1]);
    CHECK_INT(f.running, 0);
    /* forgotten keep-alives go the same way */
    CHECK(closed(used));
    for (int i = 0; i < 2; i++)
        close(slow[i]);
    close(used);
    stop(&f);
}

/* Nor what is left of a body that a handler has read the beginning of. */
TEST(limit_slow_rest_of_a_body) {
    struct http_options o = {.rest_ms = 200};
    struct fixture f;
    bool heard = false;
    int fd;

    REQUIRE(start(&f, &o));
    fd = dial(&f);
    send_text(fd, "PUT / HTTP/1.1\r\nHost: d\r\nContent-Length: 200000\r\n\r\nx");
    for (int ms = 0; ms < TEST_PATIENCE_MS && !heard; ms += 20) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        heard = poll(&p, 1, 20) == 1;
        if (!heard)
            send(fd, "x", 1, MSG_NOSIGNAL);
    }
    CHECK(heard && answered(fd));
    close(fd);
    stop(&f);
}

/*
 * Beyond the limit the longest idle connection makes room for a new one. A connection is idle a moment after its answer was read, so that the one more or
 * less that is open then does not count; but the first cannot outlive many others.
 */
TEST(limit_connections) {
    struct http_options o = {.max_connections = 4};
    struct fixture f;
    int fd[100];
    size_t n = 0;

    REQUIRE(start(&f, &o));
    for (; n < 4 || (n < ELEMENTSOF(fd) && !closed_within(fd[0], 10)); n++) {
        fd[n] = dial(&f);
        send_text(fd[n], "GET / HTTP/1.1\r\nHost: d\r\n\r\n");
        CHECK(answered(fd[n]));
    }
    CHECK(n > 4 && n < ELEMENTSOF(fd));
    send_text(fd[n - 1], "GET / HTTP/1.1\r\nHost: d\r\n\r\n");
    CHECK(answered(fd[n - 1]));
    for (size_t i = 0; i < n; i++)
        close(fd[i]);
    stop(&f);
}

/* Connections that had a request cost memory: those that are too many go, the longest idle first. One that never had any stays. */
TEST(limit_kept_connections) {
    struct http_options o = {.max_kept = 2, .kept_ms = 1};
    struct fixture f;
    int fd[100], fresh;
    size_t n = 0;

    REQUIRE(start(&f, &o));
    fresh = dial(&f);
    for (; n < 3 || (n < ELEMENTSOF(fd) && !closed_within(fd[0], 10)); n++) {
        fd[n] = dial(&f);
        send_text(fd[n], "GET / HTTP/1.1\r\nHost: d\r\n\r\n");
        CHECK(answered(fd[n]));
    }
    CHECK(n < ELEMENTSOF(fd));
    send_text(fresh, "GET / HTTP/1.1\r\nHost: d\r\n\r\n");
    CHECK(answered(fresh));
    for (size_t i = 0; i < n; i++)
        close(fd[i]);
    close(fresh);
    stop(&f);
}

/* All places for long handlers taken: quick requests do not notice, further long ones wait their turn. */
TEST(limit_long_handlers) {
    struct http_options o = {.slow = 2};
    struct fixture f;
    int fd[4], quick;

    REQUIRE(start(&f, &o));
    for (int i = 0; i < 4; i++) {
        fd[i] = dial(&f);
        send_text(fd[i], "POST / HTTP/1.1\r\nHost: d\r\n\r\n");
    }
    CHECK_SOON(f.running == 2);
    quick = dial(&f);
    send_text(quick, "GET / HTTP/1.1\r\nHost: d\r\n\r\n");
    CHECK(answered(quick));
    CHECK_INT(f.running, 2);
    f.open = true;
    for (int i = 0; i < 4; i++) {
        CHECK(answered(fd[i]));
        close(fd[i]);
    }
    close(quick);
    stop(&f);
}

/* The file of a dead server is replaced, that of a live one is not. */
TEST(listen_unix_paths) {
    char dir[] = "/tmp/hatake-test-XXXXXX", path[64];
    struct err e = ERR_INIT;
    struct stat st;
    int fd = -1, again = -1;

    REQUIRE(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
    CHECK_INT(listen_unix(path, (gid_t)-1, 0660, &fd, &e), 0);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0660);
    CHECK_INT(listen_unix(path, (gid_t)-1, 0660, &again, &e), -ERR_CONFLICT);
    close(fd);
    CHECK_INT(listen_unix(path, (gid_t)-1, 0600, &again, &e), 0);
    close(again);
    unlink(path);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    CHECK_INT(listen_unix(path, (gid_t)-1, 0600, &again, &e), -ERR_CONFLICT);
    unlink(path);
    rmdir(dir);
    err_done(&e);
}
