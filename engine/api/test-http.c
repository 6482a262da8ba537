// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/test-server.h"
#include "base/str.h"
#include "base/test.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: d\r\n\r\n"
#define HAS(text, part)                                                                                                                              \
    do {                                                                                                                                             \
        const char *_t = (text);                                                                                                                     \
        if (!strstr(_t, (part)))                                                                                                                     \
            test_fail(__FILE__, __LINE__, "no \"%s\" in: %s", (part), _t);                                                                           \
    } while (0)

TEST(http_ping) {
    struct test_server *t = test_server_start();
    const char *r = test_exchange(t, GET("/_ping"));

    HAS(r, "HTTP/1.1 200 OK\r\n");
    HAS(r, "Api-Version: 1.45\r\n");
    HAS(r, "Docker-Experimental: false\r\n");
    HAS(r, "Ostype: linux\r\n");
    HAS(r, "Server: Docker/26.1.5 (linux)\r\n");
    HAS(r, "Content-Length: 2\r\n");
    HAS(r, "X-Hatake-Trace: ");
    HAS(r, "\r\n\r\nOK");
    r = test_exchange(t, "HEAD /v1.45/_ping HTTP/1.1\r\nHost: d\r\n\r\n");
    HAS(r, "HTTP/1.1 200 OK\r\n");
    HAS(r, "Content-Length: 0\r\n");
    test_server_stop(t);
}

TEST(http_routes) {
    struct test_server *t = test_server_start();

    HAS(test_exchange(t, GET("/foo")), "404 Not Found\r\n");
    HAS(test_exchange(t, GET("/v1.40/foo")), "{\"message\":\"page not found\"}\n");
    HAS(test_exchange(t, "PUT /_ping HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\n\r\nabc"), "{\"message\":\"page not found\"}\n");
    HAS(test_exchange(t, GET("/v1.99/_ping")), "client version 1.99 is too new. Maximum supported API version is 1.45");
    HAS(test_exchange(t, GET("/v1.23/_ping")), "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade");
    HAS(test_exchange(t, GET("//info")), "Location: /info\r\n");
    HAS(test_exchange(t, GET("/containers/x/top")), "HTTP/1.1 501 Not Implemented\r\n");
    HAS(test_exchange(t, GET("/containers/x/top")), "ContainerTop");
    HAS(test_exchange(t, GET("/v1.30/containers/a%2Fb/json?all=%31")), "{\"id\":\"a/b\",\"version\":130,\"query\":\"all=%31\"}");
    HAS(test_exchange(t, GET("/containers/a%zz/json")), "400 Bad Request");
    HAS(test_exchange(t, GET("/containers/missing/json")), "{\"message\":\"No such container: missing\"}\n");
    HAS(test_exchange(t, GET("/images/json?a=%zz")), "{\"message\":\"invalid URL escape \\\"%zz\\\"\"}\n");
    HAS(test_exchange(t, GET("/images/json?a=%z")), "invalid URL escape \\\"%z\\\"\"}\n");
    HAS(test_exchange(t, GET("/images/json?a=%z&b=1;c")), "invalid semicolon separator in query");
    HAS(test_exchange(t, "POST /containers/missing/attach HTTP/1.1\r\nHost: d\r\n\r\n"),
        "HTTP/1.1 404 Not Found\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nNo such container: missing\r\n");
    HAS(test_exchange(t, "OPTIONS /anything HTTP/1.1\r\nHost: d\r\n\r\n"), "HTTP/1.1 200 OK\r\n");
    HAS(test_exchange(t, "OPTIONS * HTTP/1.1\r\nHost: d\r\n\r\n"), "HTTP/1.1 200 OK\r\n");
    HAS(test_exchange(t, GET("/containers/a%00b/json")), "{\"message\":\"page not found\"}\n");
    HAS(test_exchange(t, "POST /containers/x/start HTTP/1.1\r\nHost: d\r\n\r\n"), "HTTP/1.1 304 Not Modified\r\n");
    HAS(test_exchange(t, "POST /containers/x/kill HTTP/1.1\r\nHost: d\r\n\r\n"), "HTTP/1.1 500 Internal");
    HAS(test_exchange(t, "DELETE /containers/x HTTP/1.1\r\nHost: d\r\n\r\n"), "HTTP/1.1 204 No Content\r\n");
    test_server_stop(t);
}

TEST(http_keepalive_and_pipeline) {
    struct test_server *t = test_server_start();
    static const char many[] =
        GET("/_ping") GET("/containers/a/json") "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: "
                                                "application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}" GET("/containers/b/json");
    const char *r = test_exchange(t, many);

    HAS(r, "\r\n\r\nOK");
    HAS(r, "{\"id\":\"a\"");
    HAS(r, "{\"members\":1}");
    HAS(r, "{\"id\":\"b\"");
    test_server_stop(t);
}

TEST(http_chunked_above_2048) {
    struct test_server *t = test_server_start();
    const char *r;
    int n = 0;

    /* the size counts the final newline */
    HAS(test_exchange(t, GET("/containers/json?size=2048")), "Content-Length: 2048\r\n");
    HAS(test_exchange(t, GET("/containers/json?size=2049")), "Transfer-Encoding: chunked\r\n");
    HAS(test_exchange(t, GET("/containers/json?size=2049")), "\r\n\r\n801\r\n\"xxx");
    r = test_exchange(t, GET("/containers/json?size=300000"));
    HAS(r, "xxx\"\n\r\n0\r\n\r\n");
    for (r = strstr(r, "\r\n\r\n"); *r; r++)
        n += *r == 'x';
    CHECK_INT(n, 300000 - 3);
    test_server_stop(t);
}

TEST(http_json_body) {
    struct test_server *t = test_server_start();

    HAS(test_exchange(t, "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{}"),
        "{\"message\":\"malformed Content-Type header (): mime: no media type\"}\n");
    HAS(test_exchange(t, "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"),
        "{\"message\":\"unsupported Content-Type header (text/plain): must be 'application/json'\"}\n");
    HAS(test_exchange(t, "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\nx"),
        "{\"message\":\"invalid JSON: invalid character 'x' looking for beginning of value\"}\n");
    HAS(test_exchange(t, "POST /containers/create HTTP/1.1\r\nHost: d\r\n\r\n"), "{\"members\":-1}");
    HAS(test_exchange(t, "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json; charset=utf-8\r\nTransfer-Encoding: "
                         "chunked\r\n\r\n4\r\n{\"a\"\r\n6\r\n:[1,2]\r\n1\r\n}\r\n0\r\n\r\n"),
        "{\"members\":1}");
    test_server_stop(t);
}

TEST(http_streams) {
    struct test_server *t = test_server_start();
    int fd = test_connect(t);
    const char *r;

    /* a stream of a handler, a stream on the loop, and the connection goes on being used */
    test_send(fd, GET("/events"), strlen(GET("/events")));
    r = test_read(fd, "0\r\n\r\n", NULL);
    HAS(r, "Transfer-Encoding: chunked\r\n\r\n8\r\n{\"n\":1}\n\r\n8\r\n");
    HAS(r, "\r\n0\r\n\r\n");
    test_send(fd, GET("/containers/x/logs"), strlen(GET("/containers/x/logs")));
    r = test_read(fd, "0\r\n\r\n", NULL);
    HAS(r, "4\r\none\n\r\n4\r\ntwo\n\r\n0\r\n\r\n");
    test_send(fd, GET("/containers/z/json"), strlen(GET("/containers/z/json")));
    HAS(test_read(fd, "}\n", NULL), "{\"id\":\"z\"");
    close(fd);
    HAS(test_exchange(t, "GET /events HTTP/1.0\r\n\r\n"), "\r\n\r\n{\"n\":1}\n{\"n\":1}\n{\"n\":1}\n");
    test_server_stop(t);
}

TEST(http_upload) {
    struct test_server *t = test_server_start();
    size_t n = 3000000;
    char *body = malloc(n), head[256], want[64];
    unsigned long long sum = 0;
    static const char build[] = "POST /build HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n";
    static const char small[] = "POST /images/load?fail HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\n\r\nabcde" GET("/_ping");
    int fd = test_connect(t), eof;

    for (size_t i = 0; i < n; i++) {
        body[i] = (char)(i * 7 + i / 1000);
        sum = sum * 31 + (unsigned char)body[i];
    }
    snprintf(head, sizeof(head), "POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Length: %zu\r\n\r\n", n);
    test_send(fd, head, strlen(head));
    test_send(fd, body, n);
    snprintf(want, sizeof(want), "{\"bytes\":%zu,\"sum\":%llu}\n", n, sum);
    HAS(test_read(fd, "}\n", NULL), want);
    /* an early refusal of a long body: the answer arrives, then the connection ends */
    snprintf(head, sizeof(head), "POST /images/load?fail HTTP/1.1\r\nHost: d\r\nContent-Length: %zu\r\n\r\n", n);
    test_send(fd, head, strlen(head));
    test_send(fd, body, n);
    HAS(test_read(fd, NULL, &eof), "{\"message\":\"bad tar\"}\n");
    CHECK(eof);
    close(fd);
    /* of one that no handler wants */
    fd = test_connect(t);
    snprintf(head, sizeof(head), "PUT /nowhere HTTP/1.1\r\nHost: d\r\nContent-Length: %zu\r\n\r\n", n);
    test_send(fd, head, strlen(head));
    test_send(fd, body, n);
    HAS(test_read(fd, NULL, &eof), "{\"message\":\"page not found\"}\n");
    CHECK(eof);
    close(fd);
    /* of a short one: the connection is kept */
    fd = test_connect(t);
    test_send(fd, small, strlen(small));
    HAS(test_read(fd, "\r\n\r\nOK", NULL), "bad tar");
    close(fd);
    /* a client that vanishes in mid-body */
    fd = test_connect(t);
    test_send(fd, head, strlen(head));
    test_send(fd, body, 1000);
    close(fd);
    /* both directions at once */
    fd = test_connect(t);
    test_send(fd, build, strlen(build));
    HAS(test_read(fd, "{\"got\":5}\n", NULL), "Transfer-Encoding: chunked\r\n");
    test_send(fd, "3\r\nabc\r\n0\r\n\r\n", 13);
    HAS(test_read(fd, "0\r\n\r\n", NULL), "{\"got\":8}\n");
    test_send(fd, GET("/_ping"), strlen(GET("/_ping")));
    HAS(test_read(fd, "OK", NULL), "200 OK");
    close(fd);
    free(body);
    test_server_stop(t);
}

TEST(http_take) {
    struct test_server *t = test_server_start();
    static const char up[] = "POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly";
    static const char plain[] = "POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\n\r\nabcearly";
    const char *const forms[] = {up, plain};

    for (int i = 0; i < 2; i++) {
        int fd = test_connect(t), eof;
        const char *r;

        test_send(fd, forms[i], strlen(forms[i]));
        r = test_read(fd, "early", NULL);
        if (i == 0) {
            HAS(r, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n");
        } else {
            HAS(r, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n");
        }
        HAS(r, "\r\n\r\nearly");
        test_send(fd, "more", 4);
        HAS(test_read(fd, "more", NULL), "more");
        shutdown(fd, SHUT_WR);
        HAS(test_read(fd, NULL, &eof), "[end]");
        CHECK(eof);
        close(fd);
    }
    test_server_stop(t);
}

/* A client that goes away ends its wait, and stopping the server ends the others. */
TEST(http_wait_gone_and_stop) {
    struct test_server *t = test_server_start();
    static const char wait[] = "POST /containers/x/wait HTTP/1.1\r\nHost: d\r\n\r\n";
    int fd[20];

    for (int i = 0; i < 20; i++) {
        fd[i] = test_connect(t);
        test_send(fd[i], wait, strlen(wait));
    }
    usleep(100000);
    for (int i = 0; i < 10; i++)
        close(fd[i]);
    HAS(test_exchange(t, GET("/_ping")), "OK");
    test_server_stop(t);
    for (int i = 10; i < 20; i++)
        close(fd[i]);
}

/*
 * What could split a request differently for a proxy and for us is refused (RFC 9112 6.1, 6.3). "refused" takes any error: newer versions of the library
 * refuse by themselves, with their own status.
 */
TEST(http_strictness) {
    static const struct {
        const char *request, *want;
    } cases[] = {
        {"GET /_ping HTTP/1.1\r\n\r\n", "refused"},
        {"GET /_ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "refused"},
        {"GET /_ping HTTP/1.0\r\n\r\n", " 200 "},
        {"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "refused"},
        {"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", "refused"},
        {"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\n{}", "refused"},
        {"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\n{}", "refused"},
        {"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n{}", "refused"},
        {"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n{}", "refused"},
        {"POST /containers/create HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "refused"},
        {"POST /containers/create HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "refused"},
        {"POST /containers/create HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n{}", "refused"},
        {"POST /containers/create HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
         "refused"},
        {"POST /containers/create HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "refused"},
        {"GET /_ping HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n", "refused"},
        {"GET /_ping HTTP/1.1\r\nHost: a\r\nX(A: b\r\n\r\n", "refused"},
        {"GET /_ping HTTP/1.1\r\nHost: a\r\nExpect: foo\r\n\r\n", " 417 "},
        {"FOO /_ping HTTP/1.1\r\nHost: a\r\n\r\n", " 404 "},
        {"get /_ping HTTP/1.1\r\nHost: a\r\n\r\n", " 404 "},
        {"GET http://x/_ping HTTP/1.1\r\nHost: a\r\n\r\n", " 200 "},
        {"GET /_ping#x HTTP/1.1\r\nHost: a\r\n\r\n", " 404 "},
    };
    struct test_server *t = test_server_start();

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *r = test_exchange(t, cases[i].request);

        if (strlen(r) < 12 || !(streq(cases[i].want, "refused") ? r[9] == '4' || r[9] == '5' : str_has_prefix(r + 8, cases[i].want)))
            test_fail(__FILE__, __LINE__, "%s gave: %s", cases[i].request, r);
    }
    test_server_stop(t);
}

TEST(http_head_limit) {
    struct test_server *t = test_server_start();
    size_t n = 30000;
    char *request = malloc(n * 2);
    int k = snprintf(request, 100, "GET /_ping HTTP/1.1\r\nHost: d\r\nX-Long: ");

    memset(request + k, 'x', n);
    memcpy(request + (size_t)k + n, "\r\n\r\n", 5);
    HAS(test_exchange(t, request), "HTTP/1.1 200 OK\r\n");
    memset(request + k, 'x', n + 5000);
    memcpy(request + (size_t)k + n + 5000, "\r\n\r\n", 5);
    HAS(test_exchange(t, request), "HTTP/1.1 431 Request Header Fields Too Large\r\n");
    free(request);
    test_server_stop(t);
}

TEST(http_json_limit) {
    struct test_server *t = test_server_start();
    static const char head[] = "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n";
    char request[256], *piece = malloc(1 << 20);
    int fd;

    snprintf(request, sizeof(request), "%sContent-Length: %u\r\n\r\n", head, (16u << 20) + 1);
    HAS(test_exchange(t, request), "HTTP/1.1 413 ");
    /* announced piece by piece */
    fd = test_connect(t);
    snprintf(request, sizeof(request), "%sTransfer-Encoding: chunked\r\n\r\n", head);
    test_send(fd, request, strlen(request));
    memset(piece, ' ', 1 << 20);
    for (int i = 0; i < 17; i++) {
        test_send(fd, "100000\r\n", 8);
        test_send(fd, piece, 1 << 20);
        test_send(fd, "\r\n", 2);
    }
    HAS(test_read(fd, "too large", NULL), "{\"message\":\"request body too large\"}");
    close(fd);
    free(piece);
    test_server_stop(t);
}

/* Heads the library refuses by itself: the client sees the plain text of the reference, never an HTML page. */
TEST(http_no_library_pages) {
    static const struct {
        const char *request, *want;
    } cases[] = {
        {"GET /_ping\r\n\r\n", "400 Bad Request"},
        {"GET /_ping HTTP/2.0\r\nHost: a\r\n\r\n", "505 HTTP Version Not Supported"},
        {"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n{}", "400 Bad Request"},
        {"POST /containers/create HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n{}", "400 Bad Request"},
        {"POST /containers/create HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400 Bad Request"},
    };
    struct test_server *t = test_server_start();

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *r = test_exchange(t, cases[i].request);

        HAS(r, cases[i].want);
        HAS(r, "Content-Type: text/plain; charset=utf-8\r\n");
        CHECK(!strstr(r, "<html"));
    }
    test_server_stop(t);
}
