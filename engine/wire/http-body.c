// SPDX-License-Identifier: Apache-2.0
/* Bodies of requests: short ones, which the library has collected, and long ones, which are received here (http-internal.h says why). */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "wire/http-internal.h"

int64_t call_body_length(struct call *c) {
    return c->length;
}

int http_direct(struct call *c, struct err *e) {
    int r;

    if (c->direct)
        return 0;
    pthread_mutex_lock(&c->lock);
    while (c->state == CALL_STREAM && !c->held && !c->completed)
        pthread_cond_wait(&c->cond, &c->lock);
    pthread_mutex_unlock(&c->lock);
    r = http_detach(c, e);
    if (r < 0)
        return r;
    c->direct = true;
    body_frame_init(&c->frame, c->length);
    c->raw = c->early;
    c->n_raw = c->n_early;
    return 0;
}

static void mark_end(struct call *c) {
    pthread_mutex_lock(&c->lock); /* call_gone() asks */
    c->body_ended = true;
    pthread_mutex_unlock(&c->lock);
}

static int left_early(struct err *e) {
    return err_set(e, ERR_CANCELLED, "the client went away while sending");
}

/* Clients that ask whether they may send are told so when somebody wants to read, and no reply has begun. */
static int let_send(struct call *c, struct err *e) {
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    bool waits = c->expects && c->n_raw == 0 && !c->stream_begun;

    c->expects = false;
    return waits ? http_send_all(c->out_fd, text, strlen(text), -1, e) : 0;
}

/* More raw bytes, when there are none. */
static int receive(struct call *c, struct err *e) {
    size_t want = body_frame_want(&c->frame, HTTP_PIECE_BYTES);
    int r = let_send(c, e);

    if (r < 0 || c->n_raw > 0)
        return r;
    if (!c->room && !(c->room = malloc(HTTP_PIECE_BYTES)))
        return err_oom(e);
    for (;;) {
        ssize_t n = recv(c->out_fd, c->room, want, MSG_DONTWAIT);
        struct pollfd p = {.fd = c->out_fd, .events = POLLIN};

        if (n > 0) {
            /* Not only of a client that stops: one that sends a byte now and then has no more time in all. */
            if (c->until && clock_mono_ns() >= c->until)
                return left_early(e);
            c->raw = c->room;
            c->n_raw = (size_t)n;
            return 0;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return left_early(e);
        if (errno == EAGAIN && poll(&p, 1, http_poll_ms(c->until)) == 0 && c->until)
            return left_early(e);
    }
}

/* The next run of content becomes c->run: its length, 0 at the end of the body. */
static ssize_t next_run(struct call *c, struct err *e) {
    ssize_t k = 0;

    while (k == 0) {
        if (c->frame.ended) {
            mark_end(c);
            return 0;
        }
        k = receive(c, e);
        if (k == 0)
            k = body_frame_next(&c->frame, &c->raw, &c->n_raw, &c->run, e);
    }
    c->n_run = k > 0 ? (size_t)k : 0;
    return k;
}

ssize_t call_body_next(struct call *c, const void **ret_p, struct err *e) {
    ssize_t k = 0;

    if (!c->has_body)
        return 0;
    if (c->collects) {
        c->run = (const unsigned char *)c->body.data + c->received;
        c->n_run = c->body.len - (size_t)c->received;
        c->received += (int64_t)c->n_run;
    } else if (c->n_run == 0) {
        k = http_direct(c, e);
        if (k >= 0)
            k = next_run(c, e);
        if (k <= 0)
            return k;
    }
    *ret_p = c->run;
    k = (ssize_t)c->n_run;
    c->n_run = 0;
    return k;
}

ssize_t call_body_read(struct call *c, void *p, size_t n, struct err *e) {
    const void *piece;
    ssize_t k;

    if (n == 0)
        return 0;
    if (c->n_run == 0) {
        k = call_body_next(c, &piece, e);
        if (k <= 0)
            return k;
        c->run = piece;
        c->n_run = (size_t)k;
    }
    k = (ssize_t)MIN(n, c->n_run);
    memcpy(p, c->run, (size_t)k);
    c->run += k;
    c->n_run -= (size_t)k;
    return k;
}

int call_body_lend(struct call *c, struct body_lent *ret, struct err *e) {
    int r;

    if (!c->has_body || c->collects)
        return 0;
    r = http_direct(c, e);
    if (r >= 0)
        r = let_send(c, e);
    if (r < 0)
        return r;
    *ret = (struct body_lent){.fd = c->out_fd, .frame = c->frame, .early = c->raw, .n_early = c->n_raw};
    return 1;
}

void call_body_returned(struct call *c, bool whole) {
    c->n_raw = 0; /* what came early went with the body */
    c->frame.ended = whole;
    c->lost = !whole;
    if (whole)
        mark_end(c);
}

int call_body_drain(struct call *c, size_t max) {
    char scratch[4096];
    ssize_t n;

    while (max > 0 && (n = call_body_read(c, scratch, MIN(max, sizeof(scratch)), NULL)) > 0)
        max -= (size_t)n;
    return 0;
}

int call_body(struct call *c, struct buf *ret, struct err *e) {
    for (;;) {
        char *p = buf_reserve(ret, 16u << 10);
        char last[16];
        ssize_t n;

        /* At the very limit there may still be a few bytes of room, or nothing more to come. */
        if (!p) {
            if (ret->len < ret->max || call_body_read(c, last, sizeof(last), NULL) > 0)
                return err_set(e, ERR_TOO_LARGE, "request body too large");
            return 0;
        }
        n = call_body_read(c, p, 16u << 10, e);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return 0;
        buf_commit(ret, (size_t)n);
    }
}

/* ---- the end of a call whose body was received here -------------------------------------------------------------------------- */

bool http_body_end(struct call *c, size_t max) {
    const void *piece;
    size_t had = 0;

    c->until = clock_mono_ns() + c->server->opts.rest_ms * NSEC_PER_MSEC;
    if (c->lost || (!c->frame.ended && !c->frame.chunked && c->frame.left > max))
        return false;
    while (had <= max) {
        ssize_t k = call_body_next(c, &piece, NULL);

        if (k <= 0)
            break;
        had += (size_t)k;
    }
    return c->direct && c->frame.ended;
}

void http_direct_finish(struct call *c) {
    bool closes = !http_body_end(c, HTTP_DRAIN_MAX) || c->n_raw > 0 || c->wants_close || c->http10;
    bool sent = http_write_reply(c, c->out_fd, closes, NULL) >= 0;

    call_stop_watching(c);
    if (sent && !closes) {
        http_give_back(c->listener, http_out_take(c));
        return;
    }
    shutdown(c->out_fd, SHUT_WR);
    http_linger(c->server->loop, http_out_take(c));
}
