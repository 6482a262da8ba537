// SPDX-License-Identifier: Apache-2.0
#include "api/test-server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api-table.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/engine.h"
#include "base/limits.h"
#include "base/str.h"
#include "base/test.h"
#include "wire/call.h"
#include "wire/loop.h"
#include "wire/stream.h"

struct test_server {
    struct engine engine;
    struct engine_config config;
    struct server *server;
    char dir[64], path[96];
};

/* ---- handlers --------------------------------------------------------------------------------------------------------------- */

static int h_ping(struct call *c, struct err *e) {
    struct buf b = BUF_INIT(64);

    call_set_header(c, "Builder-Version", "2");
    buf_adds(&b, "OK");
    return call_reply_raw(c, 200, "text/plain; charset=utf-8", &b, e);
}

static int h_ping_head(struct call *c, struct err *e) {
    return call_reply_empty(c, 200);
}

/* Says what it saw. */
static int h_inspect(struct call *c, struct err *e) {
    struct buf b = BUF_INIT(KIB(64));

    if (streq(call_path(c, "id"), "missing"))
        return err_set(e, ERR_NOT_FOUND, "No such container: %s", call_path(c, "id"));
    buf_adds(&b, "{\"id\":");
    buf_add_json_string(&b, call_path(c, "id"));
    buf_addf(&b, ",\"version\":%d,\"query\":", call_api_version(c));
    buf_add_json_string(&b, call_query(c));
    buf_adds(&b, "}");
    return call_reply(c, 200, &b, e);
}

/* A reply of as many bytes as the query says. */
static int h_list(struct call *c, struct err *e) {
    struct buf b = BUF_INIT(MIB(32));
    uint64_t n = 2;

    if (str_has_prefix(call_query(c), "size="))
        parse_u64(call_query(c) + 5, &n);
    buf_addc(&b, '"');
    for (uint64_t i = 3; i < n; i++)
        buf_addc(&b, 'x');
    buf_addc(&b, '"');
    return call_reply(c, 200, &b, e);
}

static int h_create(struct call *c, struct err *e) {
    struct buf b = BUF_INIT(KIB(64));
    json_t *json = NULL;
    int r = call_json(c, &json, e);

    if (r < 0)
        return r;
    buf_addf(&b, "{\"members\":%d}", json ? (int)json_object_size(json) : -1);
    json_decref(json);
    return call_reply(c, 201, &b, e);
}

struct counted {
    uint64_t total, sum;
};

static void count(struct counted *k, const void *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        k->sum = k->sum * 31 + ((const unsigned char *)p)[i];
    k->total += n;
}

/* The body received here, as another process would. */
static int count_lent(struct call *c, struct counted *k, struct err *e) {
    struct body_lent l;
    const unsigned char *p, *run;
    unsigned char scratch[3000];
    int r = call_body_lend(c, &l, e);
    ssize_t n = r;

    if (r <= 0)
        return r < 0 ? r : err_set(e, ERR_INTERNAL, "nothing to lend");
    fcntl(l.fd, F_SETFL, fcntl(l.fd, F_GETFL) & ~O_NONBLOCK);
    p = l.early;
    for (size_t have = l.n_early; n > 0 && !l.frame.ended;) {
        if (have == 0) {
            n = read(l.fd, scratch, body_frame_want(&l.frame, sizeof(scratch)));
            if (n <= 0) {
                n = err_set(e, ERR_CANCELLED, "the client went away while sending");
                break;
            }
            have = (size_t)n;
            p = scratch;
        }
        n = body_frame_next(&l.frame, &p, &have, &run, e);
        if (n > 0)
            count(k, run, (size_t)n);
        n = n < 0 ? n : 1;
    }
    call_body_returned(c, l.frame.ended && !streq(call_query(c), "lend=lost"));
    return n < 0 ? (int)n : 0;
}

/* Counts the body; with ?fail an error after the first piece; with ?slow pauses; with ?next and ?lend by the other ways to read. */
static int h_load(struct call *c, struct err *e) {
    struct buf b = BUF_INIT(KIB(4));
    struct counted k = {0};
    bool next = streq(call_query(c), "next");
    char scratch[4096];
    const void *p = scratch;
    ssize_t n;

    if (streq(call_query(c), "unread"))
        return err_set(e, ERR_NOT_FOUND, "not here");
    if (str_has_prefix(call_query(c), "lend")) {
        n = count_lent(c, &k, e);
    } else {
        while ((n = next ? call_body_next(c, &p, e) : call_body_read(c, scratch, sizeof(scratch), e)) > 0) {
            count(&k, p, (size_t)n);
            if (streq(call_query(c), "fail"))
                return err_set(e, ERR_INVALID, "bad tar");
            if (streq(call_query(c), "slow"))
                usleep(20000);
        }
    }
    if (n < 0)
        return (int)n;
    buf_addf(&b, "{\"bytes\":%llu,\"sum\":%llu}", (unsigned long long)k.total, (unsigned long long)k.sum);
    return call_reply(c, 200, &b, e);
}

/* What the thread writes into a pipe is passed on: all of it in two pieces; of "short" the second ends early. */
static void *write_pipe(void *arg) {
    char piece[7000];
    int fd = (int)(intptr_t)arg;

    for (size_t i = 0; i < sizeof(piece); i++)
        piece[i] = (char)('a' + i % 26);
    for (size_t left = TEST_PASSED; left > 0;) {
        size_t n = left < sizeof(piece) ? left : sizeof(piece);

        if (write(fd, piece, n) != (ssize_t)n)
            break;
        left -= n;
    }
    close(fd);
    return NULL;
}

static int h_export(struct call *c, struct err *e) {
    size_t first = 1000, more = streq(call_path(c, "id"), "short") ? 1 : 0;
    pthread_t thread;
    int fd[2], r;

    if (pipe2(fd, O_CLOEXEC) < 0 || fcntl(fd[0], F_SETFL, O_NONBLOCK) < 0)
        return err_errno(e, errno, "pipe");
    pthread_create(&thread, NULL, write_pipe, (void *)(intptr_t)fd[1]);
    r = call_stream_begin(c, 200, "application/x-tar", e);
    if (r >= 0)
        r = call_stream_pass(c, fd[0], first, e);
    if (r >= 0)
        r = call_stream_pass(c, fd[0], 0, e);
    if (r >= 0)
        r = call_stream_pass(c, fd[0], TEST_PASSED - first + more, e);
    close(fd[0]);
    pthread_join(thread, NULL);
    return r;
}

/* Progress while the body is still coming: tells the number of bytes so far after each read. */
static int h_build(struct call *c, struct err *e) {
    char scratch[8192], line[64] = "";
    int got = 0;
    ssize_t n;
    int r = call_stream_begin(c, 200, "application/json", e);

    while (r >= 0 && (n = call_body_read(c, scratch, sizeof(scratch), NULL)) > 0)
        r = call_stream_write(c, line, (size_t)snprintf(line, sizeof(line), "{\"got\":%d}\n", got += (int)n), e);
    return r;
}

static int h_events(struct call *c, struct err *e) {
    int r = call_stream_begin(c, 200, "application/json", e);

    for (int i = 0; r >= 0 && i < 3; i++)
        r = call_stream_write(c, "{\"n\":1}\n", 8, e);
    return r;
}

/* A stream on the loop: a few chunks, then the end, and the connection lives on. */
struct on_loop {
    struct loop *loop;
    struct taken t;
};

static void loop_gone(struct stream *s, void *data) {
    stream_free(s);
}

static void loop_begin(void *data) {
    struct on_loop *o = data;
    static const struct stream_handlers handlers = {.on_gone = loop_gone};
    struct stream *s;

    if (stream_new(o->loop, &o->t, STREAM_CHUNKED, 0, &handlers, NULL, &s, NULL) >= 0) {
        stream_write(s, "one\n", 4, NULL);
        stream_write(s, "two\n", 4, NULL);
        stream_end(s);
    }
    taken_done(&o->t);
    free(o);
}

/* Take the connection and go on with fn on the loop. */
static int on_loop(struct call *c, void (*fn)(void *data), struct err *e) {
    struct on_loop *o = calloc(1, sizeof(*o));
    int r;

    if (!o)
        return err_oom(e);
    o->loop = call_loop(c);
    o->t = TAKEN_INIT;
    r = call_take(c, &o->t, e);
    if (r < 0) {
        free(o);
        return r;
    }
    if (taken_write_head(&o->t, TAKEN_CHUNKED, "application/vnd.docker.raw-stream", NULL) < 0 || loop_post(o->loop, fn, o, NULL) < 0) {
        taken_done(&o->t);
        free(o);
    }
    return 0;
}

static int h_logs(struct call *c, struct err *e) {
    return on_loop(c, loop_begin, e);
}

/* A wait on the loop that ends with its client. */
static void loop_wait(void *data) {
    struct on_loop *o = data;
    static const struct stream_handlers handlers = {.on_gone = loop_gone};
    struct stream *s;

    stream_new(o->loop, &o->t, STREAM_CHUNKED, 0, &handlers, NULL, &s, NULL);
    taken_done(&o->t);
    free(o);
}

static int h_stats(struct call *c, struct err *e) {
    return on_loop(c, loop_wait, e);
}

/* Blocks until the client goes away. */
static int h_wait(struct call *c, struct err *e) {
    struct pollfd p = {.fd = call_on_gone(c, e), .events = POLLIN};

    if (p.fd < 0)
        return p.fd;
    while (poll(&p, 1, 100) == 0)
        if (call_gone(c))
            break;
    return err_set(e, ERR_CANCELLED, "gone");
}

/* Echoes raw bytes until the client half-closes. */
static int h_attach(struct call *c, struct err *e) {
    _cleanup_taken_ struct taken t = TAKEN_INIT;
    char scratch[4096];
    int r;

    if (streq(call_path(c, "id"), "missing"))
        return err_set(e, ERR_NOT_FOUND, "No such container: missing");
    r = call_take(c, &t, e);
    if (r < 0)
        return r;
    if (taken_write_head(&t, TAKEN_HIJACK, "application/vnd.docker.raw-stream", NULL) < 0)
        return 0;
    fcntl(t.fd, F_SETFL, fcntl(t.fd, F_GETFL) & ~O_NONBLOCK);
    if (t.n_early > 0)
        ignore_result(write(t.fd, t.early, t.n_early) < 0);
    for (;;) {
        ssize_t n = read(t.fd, scratch, sizeof(scratch));

        if (n <= 0)
            break;
        ignore_result(write(t.fd, scratch, (size_t)n) < 0);
    }
    ignore_result(write(t.fd, "[end]", 5) < 0);
    return 0;
}

static int h_silent(struct call *c, struct err *e) {
    return 0;
}

static int h_not_modified(struct call *c, struct err *e) {
    return err_set(e, ERR_NOT_MODIFIED, "already there");
}

static int h_no_content(struct call *c, struct err *e) {
    return call_reply_empty(c, 204);
}

static int h_sleep(struct call *c, struct err *e) {
    usleep(300000);
    return call_reply_empty(c, 204);
}

static const char *const no_query[] = {NULL}, *const a_query[] = {"size", NULL};
#define OP(i, m, p, s, k, b, h)                                                                                                                      \
    {                                                                                                                                                \
        .id = i, .method = m, .path = p, .section = s, .until = 255, .stream = k, .body = b, .body_required = b, .handler = h, .query = no_query,    \
        .slashes = true                                                                                                                              \
    }
static bool is_fast(struct engine *engine, const struct api_operation *op, const char *query) {
    return strcmp(op->path, "/_ping") == 0;
}

static const struct api_operation table[] = {
    OP("SystemPing", "GET", "/_ping", "system", API_STREAM_NONE, false, h_ping),
    OP("SystemPingHead", "HEAD", "/_ping", "system", API_STREAM_NONE, false, h_ping_head),
    OP("ContainerList", "GET", "/containers/json", "container", API_STREAM_NONE, false, h_list),
    {.id = "ImageList", .method = "GET", .path = "/images/json", .section = "image", .until = 255, .handler = h_list, .query = a_query},
    OP("ContainerCreate", "POST", "/containers/create", "container", API_STREAM_NONE, true, h_create),
    OP("ContainerInspect", "GET", "/containers/{id}/json", "container", API_STREAM_NONE, false, h_inspect),
    OP("ContainerExport", "GET", "/containers/{id}/export", "container", API_STREAM_TAR_OUT, false, h_export),
    OP("ContainerTop", "GET", "/containers/{id}/top", "container", API_STREAM_NONE, false, NULL),
    OP("ContainerLogs", "GET", "/containers/{id}/logs", "container", API_STREAM_CHUNKED, false, h_logs),
    OP("ContainerStats", "GET", "/containers/{id}/stats", "container", API_STREAM_CHUNKED, false, h_stats),
    OP("ContainerWait", "POST", "/containers/{id}/wait", "container", API_STREAM_CHUNKED, false, h_wait),
    OP("ContainerAttach", "POST", "/containers/{id}/attach", "container", API_STREAM_HIJACK, false, h_attach),
    OP("ContainerStart", "POST", "/containers/{id}/start", "container", API_STREAM_NONE, false, h_not_modified),
    OP("ContainerStop", "POST", "/containers/{id}/stop", "container", API_STREAM_NONE, false, h_sleep),
    OP("ContainerKill", "POST", "/containers/{id}/kill", "container", API_STREAM_NONE, false, h_silent),
    OP("ContainerDelete", "DELETE", "/containers/{id}", "container", API_STREAM_NONE, false, h_no_content),
    OP("ImageLoad", "POST", "/images/load", "image", API_STREAM_TAR_IN, false, h_load),
    OP("ImageBuild", "POST", "/build", "image", API_STREAM_TAR_IN, false, h_build),
    OP("ImageInspect", "GET", "/images/{name}/json", "image", API_STREAM_NONE, false, h_inspect),
    OP("SystemEvents", "GET", "/events", "system", API_STREAM_CHUNKED, false, h_events),
    OP("TaskInspect", "GET", "/tasks/{id}", "task", API_STREAM_NONE, false, h_inspect),
};

/* ---- the server --------------------------------------------------------------------------------------------------------------- */

struct test_server *test_server_start(void) {
    struct test_server *t = calloc(1, sizeof(*t));
    _cleanup_err_ struct err e = ERR_INIT;
    int r = -1;

    if (!t)
        return NULL;
    signal(SIGPIPE, SIG_IGN); /* for the clients in the tests; as hataked does */
    snprintf(t->dir, sizeof(t->dir), "/tmp/hatake-test-XXXXXX");
    t->engine.config = &t->config;
    t->engine.version = "26.1.5";
    if (mkdtemp(t->dir)) {
        snprintf(t->path, sizeof(t->path), "%s/api.sock", t->dir);
        r = loop_new("loop", &t->engine.loop, &e);
    }
    if (r >= 0)
        r = loop_start(t->engine.loop, &e);
    if (r >= 0)
        r = server_new_with(&t->engine, table, ELEMENTSOF(table), is_fast, &t->server, &e);
    if (r >= 0)
        r = server_listen_unix(t->server, t->path, (gid_t)-1, 0660, &e);
    if (r < 0)
        test_fail(__FILE__, __LINE__, "no server: %s", err_msg(&e));
    return t;
}

/* For benchmarks and for trying clients by hand: HATAKE_TEST_SERVE=SECONDS, prints the socket. */
TEST(http_serve) {
    const char *seconds = getenv("HATAKE_TEST_SERVE");
    struct test_server *t;
    uint64_t n = 0;

    if (!seconds || parse_u64(seconds, &n) < 0)
        TEST_SKIP("HATAKE_TEST_SERVE is not set");
    t = test_server_start();
    printf("# %s\n", t->path);
    fflush(stdout);
    sleep((unsigned)n);
    test_server_stop(t);
}

void test_server_stop(struct test_server *t) {
    test_server_stop_within(t, TEST_PATIENCE_MS);
}

void test_server_stop_within(struct test_server *t, int ms) {
    bool ended = server_stop(t->server, ms * NSEC_PER_MSEC);

    CHECK(ended);
    if (ended)
        server_free(t->server);
    loop_free(t->engine.loop);
    CHECK_INT(access(t->path, F_OK), -1);
    rmdir(t->dir);
    free(t);
}

const char *test_server_path(const struct test_server *t) {
    return t->path;
}
struct server *test_server_server(const struct test_server *t) {
    return t->server;
}

int test_connect(const struct test_server *t) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(a.sun_path, t->path, strlen(t->path) + 1);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        test_fail(__FILE__, __LINE__, "no connection: %s", strerror(errno));
    return fd;
}

void test_send(int fd, const void *p, size_t n) {
    const char *at = p;

    while (n > 0) {
        ssize_t k = send(fd, at, n, MSG_NOSIGNAL);

        if (k <= 0)
            return;
        at += k;
        n -= (size_t)k;
    }
}

const char *test_read(int fd, const char *until, int *ret_eof) {
    static char out[1 << 20];
    size_t n = 0;

    if (ret_eof)
        *ret_eof = 0;
    out[0] = '\0';
    while (n < sizeof(out) - 1 && !(until && strstr(out, until))) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t k;

        if (poll(&p, 1, TEST_PATIENCE_MS) <= 0)
            break;
        k = recv(fd, out + n, sizeof(out) - 1 - n, 0);
        if (k <= 0) {
            if (ret_eof)
                *ret_eof = 1;
            break;
        }
        n += (size_t)k;
        out[n] = '\0';
    }
    return out;
}

/* The end of the complete answer that begins at p; NULL when more must come (or the end of the connection ends it). */
static const char *answer_end(const char *p, bool head_only) {
    const char *body = strstr(p, "\r\n\r\n"), *length, *end;
    unsigned long n;

    if (!body)
        return NULL;
    body += 4;
    if (head_only || memcmp(p + 8, " 204", 4) == 0 || memcmp(p + 8, " 304", 4) == 0)
        return body;
    length = strstr(p, "Transfer-Encoding: chunked\r\n");
    if (length && length < body) {
        end = strstr(body - 2, "\r\n0\r\n\r\n");
        return end ? end + 7 : NULL;
    }
    length = strstr(p, "Content-Length: ");
    if (!length || length > body)
        return NULL;
    n = strtoul(length + 16, NULL, 10);
    return strlen(body) < n ? NULL : body + n;
}

const char *test_exchange(const struct test_server *t, const char *request) {
    static char out[1 << 20];
    int fd = test_connect(t);
    size_t n = 0, wanted = 0;

    for (const char *p = request; (p = strstr(p, " HTTP/")); p++)
        wanted++;
    wanted += wanted == 0; /* a head without a version is one, too */
    test_send(fd, request, strlen(request));
    for (;;) {
        struct pollfd w = {.fd = fd, .events = POLLIN};
        const char *p = out;
        size_t seen = 0;
        ssize_t k;

        out[n] = '\0';
        while (seen < wanted && n > 0 && (p = answer_end(p, memcmp(request, "HEAD", 4) == 0)))
            seen++;
        if (seen == wanted || poll(&w, 1, TEST_PATIENCE_MS) <= 0)
            break;
        k = recv(fd, out + n, sizeof(out) - 1 - n, 0);
        if (k <= 0)
            break;
        n += (size_t)k;
    }
    close(fd);
    return out;
}
