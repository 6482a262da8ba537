// SPDX-License-Identifier: Apache-2.0
/* Bodies of requests, long and short, by every way a handler has to read them; and bytes of a pipe as a reply. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/test-server.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/test.h"

#define PING "GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n"
#define HAS(text, part) (strstr(text, part) ? (void)0 : test_fail(__FILE__, __LINE__, "no \"%s\" in: %.300s", part, text))

/* A request with n bytes of body, whole or in chunks of `piece`, and what its handler has to say of them. */
struct upload {
    char *text;
    size_t n;
    char want[64];
};

static struct upload upload(const char *head, size_t n, size_t piece) {
    size_t size = strlen(head) + n + 100 + (piece ? n / piece * 24 : 0);
    struct upload u = {.text = malloc(size)};
    unsigned long long sum = 0;
    char *at = u.text, *end = at + size;

    at += snprintf(at, (size_t)(end - at), piece ? "%sTransfer-Encoding: chunked\r\n\r\n" : "%sContent-Length: %zu\r\n\r\n", head, n);
    for (size_t i = 0; i < n; i++) {
        char c = (char)(i * 7 + i / 1000);

        if (piece && i % piece == 0)
            at += snprintf(at, (size_t)(end - at), "%s%zx\r\n", i ? "\r\n" : "", n - i < piece ? n - i : piece);
        *at++ = c;
        sum = sum * 31 + (unsigned char)c;
    }
    if (piece)
        at += snprintf(at, (size_t)(end - at), "%s0\r\n\r\n", n ? "\r\n" : "");
    u.n = (size_t)(at - u.text);
    snprintf(u.want, sizeof(u.want), "{\"bytes\":%zu,\"sum\":%llu}\n", n, sum);
    return u;
}

/* As test_read(), into memory of the caller's thread. */
static void read_until(int fd, const char *until, char *out, size_t size) {
    size_t n = 0;
    ssize_t k = 1;

    for (out[0] = 0; k > 0 && n + 1 < size && !strstr(out, until); out[n] = 0) {
        k = recv(fd, out + n, size - 1 - n, 0);
        n += k > 0 ? (size_t)k : 0;
    }
}

/* The answer is right, and the connection serves the next request. */
static void check_kept(const struct test_server *t, const char *query, size_t n, size_t piece) {
    _cleanup_free_ char *head = str_printf("POST /images/load%s HTTP/1.1\r\nHost: d\r\n", query);
    struct upload u = upload(head, n, piece);
    char out[4096];
    int fd = test_connect(t);

    for (int again = 0; again < 2; again++) {
        test_send(fd, u.text, u.n);
        read_until(fd, "}\n", out, sizeof(out));
        HAS(out, u.want);
    }
    test_send(fd, PING, strlen(PING));
    read_until(fd, "\r\n\r\nOK", out, sizeof(out));
    HAS(out, "200 OK");
    close(fd);
    free(u.text);
}

TEST(body_ways) {
    static const char *const queries[] = {"", "?next", "?lend"};
    struct test_server *t = test_server_start();

    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        check_kept(t, queries[i], 3000000, 0);
        check_kept(t, queries[i], 3000000, 32768);
        check_kept(t, queries[i], 20000, 7);
        check_kept(t, queries[i], 300001, 300001);
        check_kept(t, queries[i], 1, 1);
        check_kept(t, queries[i], 0, 1);
    }
    check_kept(t, "", 100000, 0);
    check_kept(t, "?next", 100000, 0);
    check_kept(t, "?next", 0, 0);
    test_server_stop(t);
}

/* A body that a handler does not read to its end: dropped when it is short; else the connection ends with the answer. */
TEST(body_unread) {
    static const struct {
        const char *query, *want;
        size_t n, piece;
        bool ends;
    } cases[] = {
        {"unread", "not here", 1000, 0, false},   {"unread", "not here", 200000, 0, false}, {"unread", "not here", 100000, 5000, false},
        {"unread", "not here", 3000000, 0, true}, {"fail", "bad tar", 200000, 0, false},    {"fail", "bad tar", 3000000, 0, true},
        {"fail", "bad tar", 100000, 5000, false}, {"fail", "bad tar", 3000000, 5000, true}, {"lend=lost", "{\"bytes\":3000000", 3000000, 0, true},
    };
    struct test_server *t = test_server_start();

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_free_ char *head = str_printf("POST /images/load?%s HTTP/1.1\r\nHost: d\r\n", cases[i].query);
        struct upload u = upload(head, cases[i].n, cases[i].piece);
        int fd = test_connect(t), eof = 0;
        const char *r;

        test_send(fd, u.text, u.n);
        if (cases[i].ends) {
            r = test_read(fd, NULL, &eof);
            HAS(r, cases[i].want);
            HAS(r, "\r\nConnection: close\r\n");
            CHECK(eof);
        } else {
            HAS(test_read(fd, "}\n", NULL), cases[i].want);
            test_send(fd, PING, strlen(PING));
            HAS(test_read(fd, "OK", NULL), "200 OK");
        }
        close(fd);
        free(u.text);
    }
    test_server_stop(t);
}

/* A client that asks whether it may send is told so, once, and only when its body is wanted or dropped. */
TEST(body_continue) {
    struct test_server *t = test_server_start();

    for (int chunked = 0; chunked < 2; chunked++) {
        struct upload u = upload("POST /images/load HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\n", 400000, chunked ? 32768 : 0);
        size_t head = (size_t)(strstr(u.text, "\r\n\r\n") + 4 - u.text);
        int fd = test_connect(t);
        const char *r;

        test_send(fd, u.text, head);
        r = test_read(fd, "\r\n\r\n", NULL);
        CHECK(streq(r, "HTTP/1.1 100 Continue\r\n\r\n"));
        test_send(fd, u.text + head, u.n - head);
        r = test_read(fd, "}\n", NULL);
        HAS(r, u.want);
        CHECK(!strstr(r, "100 Continue"));
        close(fd);
        free(u.text);
    }
    test_server_stop(t);
}

TEST(body_http10) {
    struct test_server *t = test_server_start();
    static const size_t sizes[] = {10, 100000, 200000, 3000000};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct upload u = upload("POST /images/load HTTP/1.0\r\n", sizes[i], 0);
        int fd = test_connect(t), eof;

        test_send(fd, u.text, u.n);
        HAS(test_read(fd, NULL, &eof), u.want);
        CHECK(eof);
        close(fd);
        free(u.text);
    }
    test_server_stop(t);
}

/* Send a request and see the connection end with its answer, which has to say `want` and `too`. */
static void check_last(const struct test_server *t, const char *text, const char *want, const char *too) {
    int fd = test_connect(t), eof = 0;
    const char *r;

    test_send(fd, text, strlen(text));
    r = test_read(fd, NULL, &eof);
    HAS(r, want);
    HAS(r, too);
    CHECK(eof);
    close(fd);
}

/* A request right behind a body in chunks, a broken body, one that ends early, one from a client that will send no more. */
TEST(body_ends) {
    static const char behind[] = "POST /images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" PING;
    static const char broken[] = "POST /images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n";
    struct test_server *t = test_server_start();
    struct upload u = upload("POST /images/load?slow HTTP/1.1\r\nHost: d\r\n", 300000, 0);
    int fd, eof = 0;

    /* the answer says that the connection ends with it: the client sends the second request again */
    check_last(t, behind, "{\"bytes\":3,", "Connection: close\r\n");
    check_last(t, broken, "malformed chunked encoding", "HTTP/1.1 400 ");
    fd = test_connect(t);
    test_send(fd, u.text, u.n - 5);
    shutdown(fd, SHUT_WR);
    HAS(test_read(fd, NULL, &eof), "the client went away while sending");
    close(fd);
    fd = test_connect(t);
    test_send(fd, u.text, u.n);
    shutdown(fd, SHUT_WR);
    HAS(test_read(fd, "}\n", NULL), u.want);
    close(fd);
    free(u.text);
    test_server_stop(t);
}

struct uploader {
    const struct test_server *server;
    unsigned k;
};

static void *upload_thread(void *arg) {
    const struct uploader *u = arg;

    for (unsigned i = 0; i < 6; i++)
        check_kept(u->server, i % 3 == 0 ? "" : i % 3 == 1 ? "?next" : "?lend", 400000 + u->k * 1000, (u->k + i) % 2 ? 9000 : 0);
    return NULL;
}

/* Clients that stop in mid-body hold up nobody, and stopping the server ends their calls. */
TEST(body_many_and_stop) {
    static const char stuck[] = "POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 9000000\r\n\r\nabc";
    static const char lent[] = "POST /images/load?lend HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc";
    static const char old[] = "POST /images/load HTTP/1.0\r\nContent-Length: 9000000\r\n\r\n";
    struct test_server *t = test_server_start();
    struct uploader u[4];
    pthread_t thread[4];
    int fd[12];

    for (int i = 0; i < 12; i++) {
        const char *text = i % 3 == 0 ? stuck : i % 3 == 1 ? lent : old;

        fd[i] = test_connect(t);
        test_send(fd[i], text, strlen(text));
    }
    for (unsigned i = 0; i < 4; i++) {
        u[i] = (struct uploader){t, i};
        pthread_create(&thread[i], NULL, upload_thread, &u[i]);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    test_server_stop_within(t, 16000);
    for (int i = 0; i < 12; i++)
        close(fd[i]);
}

/* Chunks of a pipe's bytes: content and framing are right, the connection lives on; when the pipe ends early, so does the reply. */
TEST(stream_pass) {
    static const char whole[] = "GET /containers/x/export HTTP/1.1\r\nHost: d\r\n\r\n",
                      cut[] = "GET /containers/short/export HTTP/1.1\r\nHost: d\r\n\r\n";
    static const char old[] = "GET /containers/x/export HTTP/1.0\r\n\r\n";
    struct test_server *t = test_server_start();
    int fd = test_connect(t), eof = 0;
    const char *r, *p;
    size_t n = 0;

    test_send(fd, whole, strlen(whole));
    r = test_read(fd, "\r\n0\r\n\r\n", NULL);
    HAS(r, "Transfer-Encoding: chunked\r\n");
    p = strstr(r, "\r\n\r\n3e8\r\nabcdef");
    REQUIRE(p != NULL);
    HAS(p + 9 + 1000, "\r\nf3e58\r\n");
    for (p += 9; *p; p++)
        n += *p >= 'a' && *p <= 'z';
    CHECK_INT(n, TEST_PASSED + 2); /* and the letters of the second size */
    test_send(fd, PING, strlen(PING));
    HAS(test_read(fd, "OK", NULL), "200 OK");
    test_send(fd, cut, strlen(cut));
    r = test_read(fd, NULL, &eof);
    HAS(r, "\r\nf3e59\r\n");
    CHECK(eof && !strstr(r, "\r\n0\r\n\r\n"));
    close(fd);
    fd = test_connect(t);
    test_send(fd, old, strlen(old));
    r = strstr(test_read(fd, NULL, &eof), "\r\n\r\n");
    CHECK(eof && r && strlen(r) == TEST_PASSED + 4);
    close(fd);
    test_server_stop(t);
}
