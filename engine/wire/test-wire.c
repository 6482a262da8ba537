// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/test.h"
#include "wire/loop.h"
#include "wire/stdcopy.h"
#include "wire/stream.h"
#include "wire/uri.h"
#include "wire/worker.h"

/* ---- stdcopy --------------------------------------------------------------------------------------------------------------- */

TEST(stdcopy_frames) {
    uint8_t h[STDCOPY_HEADER];
    enum stdcopy_stream s = STDCOPY_STDIN;
    uint32_t n = 0;
    struct buf b = BUF_INIT(1 << 20);
    struct err e = ERR_INIT;
    char *big = calloc(1, STDCOPY_CHUNK + 5);

    stdcopy_encode(h, STDCOPY_STDERR, 0x01020304);
    CHECK(memcmp(h, "\2\0\0\0\1\2\3\4", 8) == 0);
    stdcopy_encode(h, STDCOPY_STDERR, 7);
    CHECK_INT(stdcopy_decode(h, &s, &n, &e), 0);
    CHECK_INT(s, STDCOPY_STDERR);
    CHECK_INT(n, 7);
    CHECK_INT(stdcopy_decode((const uint8_t *)"Total 12", &s, &n, &e), -ERR_INVALID);
    CHECK_STR(err_msg(&e), "Unrecognized input header: 84");
    CHECK_INT(stdcopy_decode((const uint8_t *)"\1\0\0\0\377\0\0\0", &s, &n, &e), -ERR_INVALID);
    stdcopy_add(&b, STDCOPY_STDOUT, "", 0);
    CHECK_INT(b.len, 0);
    stdcopy_add(&b, STDCOPY_STDOUT, "hi", 2);
    CHECK(b.len == 10 && memcmp(b.data, "\1\0\0\0\0\0\0\2hi", 10) == 0);
    buf_reset(&b);
    stdcopy_add(&b, STDCOPY_STDOUT, big, STDCOPY_CHUNK + 5);
    CHECK_INT(b.len, STDCOPY_CHUNK + 5 + 2 * STDCOPY_HEADER);
    free(big);
    buf_done(&b);
    err_done(&e);
}

/* ---- uri -------------------------------------------------------------------------------------------------------------------- */

static void split(int line, const char *target, int want, const char *path, const char *query) {
    char *p = NULL, *q = NULL;

    test_check_int(__FILE__, line, target, uri_split(target, &p, &q), want);
    if (path)
        test_check_str(__FILE__, line, target, p, path);
    if (query)
        test_check_str(__FILE__, line, target, q, query);
    free(p);
    free(q);
}

static void clean(int line, const char *path, const char *want) {
    char *c = uri_clean_path(path);

    test_check_str(__FILE__, line, path, c, want);
    free(c);
}

TEST(uri) {
    char *s;

    split(__LINE__, "/a", 0, "/a", "");
    split(__LINE__, "/a?b=%20c&d", 0, "/a", "b=%20c&d");
    split(__LINE__, "/a%2Fb+c", 0, "/a/b+c", "");
    split(__LINE__, "/a?b?c", 0, "/a", "b?c");
    split(__LINE__, "/a%zz", -EINVAL, NULL, NULL);
    split(__LINE__, "/a%2", -EINVAL, NULL, NULL);
    split(__LINE__, "/a\x01", -EINVAL, NULL, NULL);
    split(__LINE__, "a", -EINVAL, NULL, NULL);
    split(__LINE__, "", -EINVAL, NULL, NULL);
    split(__LINE__, "*", 0, "*", "");
    split(__LINE__, "/a%00b", -EILSEQ, "/a", "");
    split(__LINE__, "http://x:1/a?b", 0, "/a", "b");
    split(__LINE__, "http://x", 0, "/", "");
    split(__LINE__, "http://x?q", 0, "/", "q");
    clean(__LINE__, "/", "/");
    clean(__LINE__, "//a//b", "/a/b");
    clean(__LINE__, "/a/./b/", "/a/b/");
    clean(__LINE__, "/a/../b", "/b");
    clean(__LINE__, "/../..", "/");
    clean(__LINE__, "/a/..", "/");
    clean(__LINE__, "/a/b/../../../c/.", "/c");
    clean(__LINE__, "/...", "/...");
    s = uri_encode_path("/a b%*é");
    CHECK_STR(s, "/a%20b%25%2A%C3%A9");
    free(s);
}

TEST(faults_of_a_query_are_refused) {
    CHECK_INT(uri_check_query("", NULL), 0);
    CHECK_INT(uri_check_query("a=%41&b&=%0a%20", NULL), 0);
    CHECK_INT(uri_check_query("a%4=1", NULL), -ERR_INVALID);
    CHECK_INT(uri_check_query("a=1&b;c", NULL), -ERR_INVALID);
    CHECK_INT(uri_check_query("name=a%00b", NULL), -ERR_INVALID);
    CHECK_INT(uri_check_query("a%00=b", NULL), -ERR_INVALID);
}

/* ---- loop --------------------------------------------------------------------------------------------------------------------- */

static struct loop *started_loop(void) {
    struct loop *l = NULL;

    if (loop_new("test", &l, NULL) < 0 || loop_start(l, NULL) < 0)
        test_fail(__FILE__, __LINE__, "no loop");
    return l;
}

static atomic_int counter;

static void count(void *data) {
    counter++;
}

static int add_one(void *data, struct err *e) {
    return *(int *)data < 0 ? err_set(e, ERR_INVALID, "negative") : *(int *)data + 1;
}

TEST(loop_post_and_call) {
    struct loop *l = started_loop();
    struct err e = ERR_INIT;
    int v = 41, bad = -1;

    counter = 0;
    for (int i = 0; i < 1000; i++)
        CHECK_INT(loop_post(l, count, NULL, NULL), 0);
    CHECK_INT(loop_call(l, add_one, &v, &e), 42);
    CHECK_INT(counter, 1000);
    CHECK_INT(loop_call(l, add_one, &bad, &e), -ERR_INVALID);
    CHECK_STR(err_msg(&e), "negative");
    CHECK(!loop_on_thread(l));
    loop_stop(l);
    CHECK_INT(loop_post(l, count, NULL, &e), -ERR_UNAVAILABLE);
    err_done(&e);
    loop_free(l);
}

struct timing {
    struct loop *loop;
    struct loop_timer *timers[100], *tick;
    int64_t earliest[100], latest[100]; /* when each is due: setting it took some time, too */
    int fired[100];
    atomic_int n, ticks;
};

static void on_timer(struct loop_timer *t, void *data) {
    struct timing *s = data;

    for (int i = 0; i < 100; i++)
        if (s->timers[i] == t) {
            s->fired[s->n++] = i;
            s->timers[i] = loop_timer_free(t); /* from its own callback */
        }
}

static void on_tick(struct loop_timer *t, void *data) {
    struct timing *s = data;

    s->ticks++;
}

static int set_timers(void *data, struct err *e) {
    struct timing *s = data;

    for (int i = 0; i < 100; i++) {
        int64_t delay = (int64_t)((i * 37) % 100) * NSEC_PER_MSEC / 2 + NSEC_PER_MSEC * 20;

        s->earliest[i] = clock_mono_ns() + delay;
        if (loop_timer(s->loop, delay, 0, on_timer, s, &s->timers[i], e) < 0)
            return -1;
        s->latest[i] = clock_mono_ns() + delay;
    }
    s->timers[5] = loop_timer_free(s->timers[5]);
    return loop_timer(s->loop, NSEC_PER_MSEC, 5 * NSEC_PER_MSEC, on_tick, s, &s->tick, e);
}

static int end_timers(void *data, struct err *e) {
    struct timing *s = data;

    s->tick = loop_timer_free(s->tick);
    return 0;
}

TEST(loop_timers) {
    struct timing s = {.loop = started_loop()};

    CHECK_INT(loop_call(s.loop, set_timers, &s, NULL), 0);
    CHECK_SOON(s.n == 99 && s.ticks > 10);
    loop_call(s.loop, end_timers, &s, NULL);
    CHECK_INT(s.n, 99);
    for (int i = 1; i < s.n; i++)
        CHECK(s.earliest[s.fired[i - 1]] <= s.latest[s.fired[i]]);
    loop_free(s.loop);
}

struct fds {
    struct loop *loop;
    int a[2], b[2];
    struct loop_watch *wa, *wb;
    atomic_int calls;
};

/* Both descriptors are ready at once; whoever comes first removes the other: no stale event may arrive. */
static void on_either(struct loop_watch *w, int fd, uint32_t events, void *data) {
    struct fds *f = data;

    f->calls++;
    f->wa = loop_unwatch(f->wa);
    f->wb = loop_unwatch(f->wb);
}

static int watch_both(void *data, struct err *e) {
    struct fds *f = data;
    int r = loop_watch(f->loop, f->a[0], EPOLLIN, on_either, f, &f->wa, e);

    return r < 0 ? r : loop_watch(f->loop, f->b[0], EPOLLIN, on_either, f, &f->wb, e);
}

static int nothing(void *data, struct err *e) {
    return 0;
}

TEST(loop_unwatch_inside_events) {
    struct fds f = {.loop = started_loop()};

    CHECK_INT(pipe2(f.a, O_CLOEXEC) | pipe2(f.b, O_CLOEXEC), 0);
    CHECK(write(f.a[1], "x", 1) == 1 && write(f.b[1], "x", 1) == 1);
    CHECK_INT(loop_call(f.loop, watch_both, &f, NULL), 0);
    CHECK_SOON(f.calls > 0);
    CHECK_INT(loop_call(f.loop, nothing, NULL, NULL), 0); /* after the events of that round */
    CHECK_INT(f.calls, 1);
    loop_free(f.loop);
    for (int i = 0; i < 2; i++) {
        close(f.a[i]);
        close(f.b[i]);
    }
}

/* ---- stream ---------------------------------------------------------------------------------------------------------------------- */

struct streaming {
    struct loop *loop;
    struct stream *s;
    int peer;
    enum stream_framing framing;
    atomic_int gone, drained;
    size_t n;
    int result;
};

static void s_gone(struct stream *s, void *data) {
    struct streaming *t = data;

    t->gone++;
    t->s = stream_free(s);
}

static void s_drain(struct stream *s, void *data) {
    struct streaming *t = data;

    t->drained++;
}

static const struct stream_handlers handlers = {.on_gone = s_gone, .on_drain = s_drain};

static int s_new(void *data, struct err *e) {
    struct streaming *t = data;
    struct taken k = TAKEN_INIT;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -1;
    k.fd = pair[0];
    t->peer = pair[1];
    return stream_new(t->loop, &k, t->framing, 64 << 10, &handlers, t, &t->s, e);
}

static int s_write(void *data, struct err *e) {
    struct streaming *t = data;
    char block[1000] = "";

    t->result = 0;
    for (size_t i = 0; i < t->n && t->result >= 0; i++)
        t->result = stream_write(t->s, block, sizeof(block), e);
    return 0;
}

static int s_end(void *data, struct err *e) {
    struct streaming *t = data;

    stream_end(t->s);
    return 0;
}

/* Reads so many bytes, fewer when the end comes before. */
static size_t read_bytes(int fd, size_t max) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char b[8192];
    size_t n = 0;

    while (n < max && poll(&p, 1, TEST_PATIENCE_MS) == 1) {
        ssize_t k = read(fd, b, max - n < sizeof(b) ? max - n : sizeof(b));

        if (k <= 0)
            break;
        n += (size_t)k;
    }
    return n;
}

TEST(stream_slow_and_gone) {
    struct streaming t = {.loop = started_loop(), .framing = STREAM_RAW};

    /* fits into queue and socket; the reader is late, nothing is lost; then the end */
    CHECK_INT(loop_call(t.loop, s_new, &t, NULL), 0);
    t.n = 120;
    loop_call(t.loop, s_write, &t, NULL);
    CHECK_INT(t.result, 0);
    CHECK_INT(read_bytes(t.peer, 120000), 120000);
    CHECK(t.drained <= 1);
    loop_call(t.loop, s_write, &t, NULL);
    loop_call(t.loop, s_end, &t, NULL);
    CHECK_INT(read_bytes(t.peer, SIZE_MAX), 120000);
    close(t.peer);
    CHECK_INT(t.gone, 0);
    /* does not fit: dropped, told once */
    CHECK_INT(loop_call(t.loop, s_new, &t, NULL), 0);
    t.n = 2000;
    loop_call(t.loop, s_write, &t, NULL);
    CHECK(t.result < 0);
    CHECK_SOON(t.gone > 0);
    CHECK_INT(t.gone, 1);
    close(t.peer);
    /* the peer leaves */
    t.framing = STREAM_CHUNKED;
    t.gone = 0;
    CHECK_INT(loop_call(t.loop, s_new, &t, NULL), 0);
    shutdown(t.peer, SHUT_WR);
    CHECK_SOON(t.gone > 0);
    CHECK_INT(t.gone, 1);
    close(t.peer);
    loop_free(t.loop);
}

/* ---- workers ---------------------------------------------------------------------------------------------------------------------- */

struct slow_job {
    struct pool_job job;
    atomic_int *running, *done;
    const atomic_bool *gate; /* ends when this is open; NULL: at once */
};

static void run_slow(struct pool_job *j) {
    struct slow_job *s = (struct slow_job *)j;

    (*s->running)++;
    if (s->gate)
        CHECK_SOON(*s->gate);
    (*s->done)++;
    free(s);
}

static void submit(struct pool *p, enum pool_class cls, const atomic_bool *gate, atomic_int *running, atomic_int *done) {
    struct slow_job *j = calloc(1, sizeof(*j));

    *j = (struct slow_job){.job = {.run = run_slow}, .running = running, .done = done, .gate = gate};
    CHECK_INT(pool_submit(p, cls, &j->job, NULL), 0);
}

/* Long jobs up to their bound, and quick ones run all the same; the bound holds. */
TEST(pool_classes) {
    struct pool *p = NULL;
    atomic_int long_running = 0, long_done = 0, quick_running = 0, quick_done = 0;
    atomic_bool gate = false;
    struct slow_job refused = {.job = {.run = run_slow}};

    CHECK_INT(pool_new(4, 8, &p, NULL), 0);
    for (int i = 0; i < 20; i++)
        submit(p, POOL_LONG, &gate, &long_running, &long_done);
    for (int i = 0; i < 50; i++)
        submit(p, POOL_QUICK, NULL, &quick_running, &quick_done);
    CHECK_SOON(quick_done == 50 && long_running == 8);
    CHECK(pool_threads(p) <= 12);
    CHECK_INT(long_done, 0);
    gate = true;
    CHECK_SOON(long_done == 20);
    CHECK(pool_stop(p, TEST_PATIENCE_MS * NSEC_PER_MSEC));
    CHECK_INT(pool_submit(p, POOL_QUICK, &refused.job, NULL), -ERR_UNAVAILABLE);
    pool_free(p);
}

/* ---- the head of a hijacked connection ---------------------------------------------------------------------------------------- */

struct hijack {
    struct taken t;
    atomic_bool written;
};

static void *hijack_main(void *arg) {
    struct hijack *h = arg;

    taken_write_head(&h->t, TAKEN_HIJACK, NULL, NULL);
    atomic_store(&h->written, true);
    return NULL;
}

TEST(head_of_a_hijacked_connection_arrives_alone) {
    struct hijack h = {.t = TAKEN_INIT};
    struct pollfd p = {.events = POLLIN};
    int64_t begun = clock_mono_ns();
    pthread_t thread;
    int pair[2];

    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    h.t.fd = pair[0];
    h.t.head = strdup("");
    p.fd = pair[1];
    REQUIRE(pthread_create(&thread, NULL, hijack_main, &h) == 0);
    CHECK_INT(poll(&p, 1, TEST_PATIENCE_MS), 1);
    /* As long as it lies unread, nothing may follow; only the second that a client has ends that. */
    while (!atomic_load(&h.written) && clock_mono_ns() - begun < 100 * NSEC_PER_MSEC)
        poll(NULL, 0, 1);
    CHECK(!atomic_load(&h.written) || clock_mono_ns() - begun >= NSEC_PER_SEC);
    CHECK(read_bytes(pair[1], 19) == 19);
    pthread_join(thread, NULL);
    CHECK(atomic_load(&h.written));
    taken_done(&h.t);
    close(pair[1]);
}
