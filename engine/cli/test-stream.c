// SPDX-License-Identifier: Apache-2.0
/* Frames, keys to detach, progress, tables, and the HTTP client against replies written by hand. */
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"
#include "cli/attach.h"
#include "cli/cli.h"
#include "cli/frame.h"
#include "cli/progress.h"
#include "cli/table.h"

/* ---- frames ---- */

static int collect(int stream, const void *p, size_t n, void *data, struct err *e) {
    struct buf *b = data;

    buf_addf(b, "%d:", stream);
    buf_add(b, p, n);
    buf_addc(b, ' ');
    return 0;
}

static const uint8_t two_frames[] = {1, 0, 0, 0, 0, 0, 0, 3, 'o', 'u', 't', 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 2, 'e', 'r'};

TEST(frames_whole) {
    struct frame_reader f = {0};
    _cleanup_buf_ struct buf b = BUF_INIT(1024);

    CHECK_INT(frame_feed(&f, two_frames, sizeof two_frames, collect, &b, NULL), 0);
    CHECK_STR(buf_str(&b), "1:out 2:er ");
}

TEST(frames_byte_by_byte) {
    struct frame_reader f = {0};
    _cleanup_buf_ struct buf b = BUF_INIT(1024);

    for (size_t i = 0; i < sizeof two_frames; i++)
        CHECK_INT(frame_feed(&f, two_frames + i, 1, collect, &b, NULL), 0);
    CHECK_STR(buf_str(&b), "1:o 1:u 1:t 2:e 2:r ");
}

TEST(frames_that_are_none) {
    struct frame_reader f = {0};
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_buf_ struct buf b = BUF_INIT(1024);

    CHECK(frame_feed(&f, "HTTP/1.1 500", 12, collect, &b, &e) < 0);
    CHECK_INT(b.len, 0);
}

/* ---- keys ---- */

static void type(const char *keys, const char *typed, const char *want, bool want_end) {
    struct keys_state k = {keys, strlen(keys), 0};
    char out[64];
    size_t n = 0;
    bool end = false;

    for (; *typed && !end; typed++) {
        int r = keys_feed(&k, *typed, out + n);

        end = r < 0;
        n += r < 0 ? 0 : (size_t)r;
    }
    out[n] = '\0';
    CHECK_STR(out, want);
    CHECK_INT(end, want_end);
}

TEST(keys_to_detach) {
    type("pq", "abc", "abc", false);
    type("pq", "abpq", "ab", true);
    type("pq", "apbq", "apbq", false);
    type("pq", "ppq", "p", true);
    type("", "pq", "pq", false);
    type("x", "abx", "ab", true);
}

/* ---- progress ---- */

static int feed(struct progress *p, const char *text, struct buf *out, struct err *e) {
    json_t *j = json_loads(text, 0, NULL);
    int r = j ? progress_feed(p, j, out, e) : -1;

    json_decref(j);
    return r;
}

TEST(progress_plain) {
    _cleanup_(progress_freep) struct progress *p = progress_new(0);
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    _cleanup_err_ struct err e = ERR_INIT;

    CHECK_INT(feed(p, "{\"status\":\"Pulling from library/busybox\",\"id\":\"latest\"}", &b, NULL), 0);
    CHECK_INT(feed(p, "{\"status\":\"Downloading\",\"id\":\"aa\",\"progressDetail\":{\"current\":1,\"total\":10}}", &b, NULL), 0);
    CHECK_INT(feed(p, "{\"status\":\"Downloading\",\"id\":\"aa\",\"progressDetail\":{\"current\":9,\"total\":10}}", &b, NULL), 0);
    CHECK_INT(feed(p, "{\"status\":\"Pull complete\",\"id\":\"aa\"}", &b, NULL), 0);
    CHECK_INT(feed(p, "{\"status\":\"Status: done\"}", &b, NULL), 0);
    CHECK_INT(feed(p, "{\"stream\":\"Loaded image: x\\n\"}", &b, NULL), 0);
    CHECK_STR(buf_str(&b), "latest: Pulling from library/busybox\naa: Downloading\naa: Pull complete\nStatus: done\nLoaded image: x\n");
    CHECK(feed(p, "{\"error\":\"no space\",\"errorDetail\":{\"message\":\"no space\"}}", &b, &e) < 0);
    CHECK_STR(err_msg(&e), "no space");
}

TEST(progress_bars) {
    _cleanup_(progress_freep) struct progress *p = progress_new(80);
    _cleanup_buf_ struct buf b = BUF_INIT(4096);

    CHECK_INT(feed(p, "{\"status\":\"Downloading\",\"id\":\"aa\",\"progressDetail\":{\"current\":5000000,\"total\":10000000}}", &b, NULL), 0);
    CHECK_STR(buf_str(&b), "\n\x1b[1A\raa: Downloading [==================>                  ] 5.00 MB / 10.0 MB\x1b[K\x1b[1B\r");
    buf_reset(&b);
    CHECK_INT(feed(p, "{\"status\":\"Waiting\",\"id\":\"bb\"}", &b, NULL), 0);
    CHECK_STR(buf_str(&b), "\n\x1b[1A\rbb: Waiting\x1b[K\x1b[1B\r");
    buf_reset(&b);
    CHECK_INT(feed(p, "{\"status\":\"Pull complete\",\"id\":\"aa\",\"progressDetail\":{}}", &b, NULL), 0);
    CHECK_STR(buf_str(&b), "\x1b[2A\raa: Pull complete\x1b[K\x1b[2B\r");
}

TEST(human_texts) {
    char t[48];

    human_bytes(0, t);
    CHECK_STR(t, "0 B");
    human_bytes(999, t);
    CHECK_STR(t, "999 B");
    human_bytes(1000, t);
    CHECK_STR(t, "1.00 kB");
    human_bytes(12345678, t);
    CHECK_STR(t, "12.3 MB");
    human_bytes(999960000, t);
    CHECK_STR(t, "1.00 GB");
    human_age(0, t);
    CHECK_STR(t, "just now");
    human_age(1, t);
    CHECK_STR(t, "1 second ago");
    human_age(61, t);
    CHECK_STR(t, "1 minute ago");
    human_age(7200, t);
    CHECK_STR(t, "2 hours ago");
    human_age(86400 * 400, t);
    CHECK_STR(t, "13 months ago");
}

TEST(tables) {
    struct table t;
    _cleanup_buf_ struct buf b = BUF_INIT(4096);

    table_init(&t, (const char *const[]){"A", "LONG", "Z", NULL});
    table_cell(&t, "grün");
    table_cell(&t, "x\x1b[2J");
    table_cell(&t, "end");
    CHECK_INT(table_print(&t, &b, NULL), 0);
    CHECK_STR(buf_str(&b), "A      LONG    Z\ngrün   x?[2J   end\n");
    table_done(&t);
}

/* ---- the HTTP client ---- */

struct server {
    const char *reply;
    int fd;
    char request[4096];
    pthread_t thread;
    char host[128];
    const char *path;
};

static void *serve(void *data) {
    struct server *s = data;
    int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, s->request, sizeof s->request - 1);

    /* in two pieces, so that the reader meets a boundary */
    if (n > 0) {
        size_t half = strlen(s->reply) / 2;

        s->request[n] = '\0';
        full_write(fd, s->reply, half);
        usleep(2000);
        full_write(fd, s->reply + half, strlen(s->reply) - half);
    }
    close_fd(fd);
    return NULL;
}

static bool server_start(struct server *s, const char *reply) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    *s = (struct server){.reply = reply};
    snprintf(s->host, sizeof s->host, "unix:///tmp/hatake-cli-test-%d.sock", (int)getpid());
    s->path = s->host + 7;
    memcpy(sa.sun_path, s->path, strlen(s->path) + 1);
    unlink(s->path);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return s->fd >= 0 && bind(s->fd, (struct sockaddr *)&sa, sizeof sa) == 0 && listen(s->fd, 1) == 0 &&
           pthread_create(&s->thread, NULL, serve, s) == 0;
}

static void server_stop(struct server *s) {
    pthread_join(s->thread, NULL);
    close(s->fd);
    unlink(s->path);
}

TEST(http_length) {
    struct server s;
    struct cli c = {0};
    json_t *j = NULL;

    REQUIRE(server_start(&s, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nContent-Type: application/json\r\n\r\n{\"a\": 1}ignored"));
    c.host = s.host;
    CHECK_INT(api_call(&c, "GET", "/x", NULL, &j, NULL), 200);
    CHECK_INT(json_number(j, "a"), 1);
    json_decref(j);
    server_stop(&s);
    CHECK(str_has_prefix(s.request, "GET /v1.45/x HTTP/1.1\r\n"));
}

TEST(http_chunks) {
    struct server s;
    struct cli c = {0};
    json_t *j = NULL;

    REQUIRE(server_start(
        &s,
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\n{\"a\"\r\n4\r\n: 2}\r\n0\r\nT: x\r\n\r\n"));
    c.host = s.host;
    CHECK_INT(api_call(&c, "POST", "/x", NULL, &j, NULL), 201);
    CHECK_INT(json_number(j, "a"), 2);
    json_decref(j);
    server_stop(&s);
}

TEST(http_error_message) {
    struct server s;
    struct cli c = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    REQUIRE(server_start(&s, "HTTP/1.1 404 Not Found\r\nContent-Length: 31\r\n\r\n{\"message\":\"No such thing: yx\"}"));
    c.host = s.host;
    CHECK_INT(api_call(&c, "GET", "/x", NULL, NULL, &e), -ERR_NOT_FOUND);
    CHECK_STR(err_msg(&e), "No such thing: yx");
    server_stop(&s);
}

TEST(http_broken) {
    static const char *const replies[] = {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
                                          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                                          "HTTP/1.1 2x0 OK\r\n\r\n",
                                          "SSH-2.0-x\r\n\r\n",
                                          "HTTP/1.1 200 OK\r\nContent-Le",
                                          "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{\"a\":"};

    for (size_t i = 0; i < ELEMENTSOF(replies); i++) {
        struct server s;
        struct cli c = {0};
        _cleanup_err_ struct err e = ERR_INIT;
        json_t *j = NULL;

        REQUIRE(server_start(&s, replies[i]));
        c.host = s.host;
        CHECK(api_call(&c, "GET", "/x", NULL, &j, &e) < 0);
        CHECK(*err_msg(&e));
        server_stop(&s);
    }
}

static int count(json_t *object, void *data, struct err *e) {
    *(int *)data += (int)json_number(object, "n");
    return 0;
}

TEST(http_json_lines) {
    struct server s;
    _cleanup_http_ struct http *h = NULL;
    struct cli c = {0};
    int sum = 0;

    REQUIRE(server_start(&s, "HTTP/1.1 200 OK\r\n\r\n{\"n\":1}\r\n{\"n\":2}\n\n{\"n\":4}"));
    c.host = s.host;
    CHECK_INT(api_open(&c, "GET", "/x", NULL, false, &h, NULL), 200);
    CHECK_INT(api_each(h, count, &sum, NULL), 0);
    CHECK_INT(sum, 7);
    server_stop(&s);
}

TEST(http_nobody_there) {
    struct cli c = {.host = "unix:///nowhere/at/all.sock"};
    _cleanup_err_ struct err e = ERR_INIT;

    CHECK_INT(api_call(&c, "GET", "/x", NULL, NULL, &e), -ERR_UNAVAILABLE);
    CHECK(strstr(err_msg(&e), "/nowhere/at/all.sock"));
}

TEST(query_encoding) {
    _cleanup_buf_ struct buf b = BUF_INIT(256);

    buf_adds(&b, "/containers/");
    api_segment(&b, "a/b c");
    api_query(&b, "x", "1&2=ü");
    api_query(&b, "none", NULL);
    api_query(&b, "y", "a-b");
    CHECK_STR(buf_str(&b), "/containers/a%2Fb%20c?x=1%262%3D%C3%BC&y=a-b");
}
