// SPDX-License-Identifier: Apache-2.0
#include "wire/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "wire/http-internal.h"
#include "wire/loop.h"

#define END_NS (30 * NSEC_PER_SEC)

struct stream {
    struct loop *loop;
    struct taken t;
    enum stream_framing framing;
    struct stream_handlers h;
    void *data;
    struct buf queue; /* not sent yet: from `at` on */
    size_t at;
    struct loop_watch *watch;
    struct loop_timer *timer; /* runs while ending */
    bool gone, told, ending, filled;
};

static void on_event(struct loop_watch *w, int fd, uint32_t events, void *data);
static void on_late(struct loop_timer *t, void *data);

struct stream *stream_free(struct stream *s) {
    if (!s)
        return NULL;
    loop_unwatch(s->watch);
    loop_timer_free(s->timer);
    buf_done(&s->queue);
    taken_done(&s->t);
    free(s);
    return NULL;
}

int stream_new(struct loop *l, struct taken *t, enum stream_framing framing, size_t max_queue, const struct stream_handlers *h, void *data,
               struct stream **ret, struct err *e) {
    struct stream *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return err_oom(e);
    s->loop = l;
    s->framing = framing == STREAM_CHUNKED && t->http10 ? STREAM_RAW : framing;
    s->h = *h;
    s->data = data;
    s->queue = BUF_INIT(max_queue ? max_queue : LIMIT_ATTACH_BUFFER);
    /* Half-close is the end of a listener, but not of a hijacked stream. */
    r = loop_watch(l, t->fd, framing == STREAM_CHUNKED ? EPOLLRDHUP : 0, on_event, s, &s->watch, e);
    if (r < 0) {
        free(s);
        return r;
    }
    s->t = *t;
    *t = TAKEN_INIT;
    *ret = s;
    return 0;
}

size_t stream_queued(const struct stream *s) {
    return s->queue.len - s->at;
}

static int set_events(struct stream *s) {
    uint32_t events = s->framing == STREAM_CHUNKED || s->t.http10 ? EPOLLRDHUP : 0;

    return loop_watch_set(s->watch, events | (stream_queued(s) > 0 ? EPOLLOUT : 0), NULL);
}

static void tell_gone(void *data) {
    struct stream *s = data;

    s->timer = NULL;
    if (s->told)
        return;
    s->told = true;
    s->watch = loop_unwatch(s->watch);
    if (s->ending)
        stream_free(s);
    else
        s->h.on_gone(s, s->data);
}

static void on_soon(struct loop_timer *t, void *data) {
    struct stream *s = data;

    s->timer = loop_timer_free(s->timer);
    tell_gone(s);
}

/* From inside the producer's call: it must not find its stream freed by its own write, so it hears of it from the loop. */
static void fail_soon(struct stream *s) {
    if (s->gone)
        return;
    s->gone = true;
    if (!s->timer && loop_timer(s->loop, 0, 0, on_soon, s, &s->timer, NULL) < 0)
        shutdown(s->t.fd, SHUT_RDWR); /* the watch reports it then */
}

/* Send what the socket takes. Negative: broken. */
static int flush(struct stream *s) {
    while (stream_queued(s) > 0) {
        ssize_t k = send(s->t.fd, s->queue.data + s->at, stream_queued(s), MSG_NOSIGNAL | MSG_DONTWAIT);

        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return errno == EAGAIN ? 0 : -errno;
        s->at += (size_t)k;
    }
    buf_reset(&s->queue);
    s->at = 0;
    return 0;
}

static void finish(struct stream *s) {
    if (s->t.origin && s->framing == STREAM_CHUNKED && s->t.n_early == 0) {
        s->watch = loop_unwatch(s->watch);
        http_give_back(s->t.origin, TAKE_FD(s->t.fd));
    }
    stream_free(s);
}

static void on_event(struct loop_watch *w, int fd, uint32_t events, void *data) {
    struct stream *s = data;

    if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP) || (events & EPOLLOUT && flush(s) < 0)) {
        s->gone = true;
        s->timer = loop_timer_free(s->timer);
        tell_gone(s);
        return;
    }
    if (stream_queued(s) > 0)
        return;
    if (s->ending) {
        finish(s);
        return;
    }
    set_events(s);
    if (s->filled) {
        s->filled = false;
        if (s->h.on_drain)
            s->h.on_drain(s, s->data);
    }
}

int stream_add(struct stream *s, const void *p, size_t n, struct err *e) {
    char size[24];

    if (s->gone)
        return err_set(e, ERR_CANCELLED, "the client is gone");
    if (n == 0)
        return 0;
    /* Keep the queue's bound a bound of what waits, not of what has passed through. */
    if (s->at > 0) {
        buf_consume(&s->queue, s->at);
        s->at = 0;
    }
    if (s->framing == STREAM_CHUNKED)
        buf_add(&s->queue, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", n));
    buf_add(&s->queue, p, n);
    if (s->framing == STREAM_CHUNKED)
        buf_adds(&s->queue, "\r\n");
    if (!buf_ok(&s->queue)) {
        fail_soon(s);
        return err_set(e, ERR_TOO_LARGE, "the client does not read");
    }
    return 0;
}

int stream_send(struct stream *s, struct err *e) {
    if (s->gone)
        return err_set(e, ERR_CANCELLED, "the client is gone");
    if (s->filled || stream_queued(s) == 0)
        return 0; /* the loop is waiting for room already */
    if (flush(s) < 0) {
        fail_soon(s);
        return err_set(e, ERR_CANCELLED, "the client is gone");
    }
    if (stream_queued(s) > 0) {
        s->filled = true;
        set_events(s);
    }
    return 0;
}

int stream_write(struct stream *s, const void *p, size_t n, struct err *e) {
    int r = stream_add(s, p, n, e);

    return r < 0 ? r : stream_send(s, e);
}

static void on_late(struct loop_timer *t, void *data) {
    stream_free(data);
}

void stream_end(struct stream *s) {
    if (s->gone || s->ending) {
        if (s->gone)
            stream_free(s);
        return;
    }
    if (s->framing == STREAM_CHUNKED) {
        s->queue.max += 8; /* the last chunk always has room */
        buf_adds(&s->queue, "0\r\n\r\n");
    }
    s->ending = true;
    if (flush(s) < 0) {
        stream_free(s);
        return;
    }
    if (stream_queued(s) == 0) {
        finish(s);
        return;
    }
    set_events(s);
    loop_timer(s->loop, END_NS, 0, on_late, s, &s->timer, NULL);
}
