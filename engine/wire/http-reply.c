// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "wire/http-internal.h"

#define LINGER_BYTES MIB(64)
#define LINGER_NS (5 * NSEC_PER_SEC)

const char *http_reason(int status) {
    switch (status) {
    case 413:
        return "Request Entity Too Large"; /* the older name, as the reference's library has it */
    case 499:
        return "Client Closed Request";
    default:
        return MHD_get_reason_phrase_for((unsigned)status);
    }
}

/* ---- replies by the library ------------------------------------------------------------------------------------------------ */

struct body_at {
    char *data;
    size_t n;
};

static ssize_t read_body(void *cls, uint64_t pos, char *out, size_t max) {
    struct body_at *b = cls;
    size_t n;

    if (pos >= b->n)
        return MHD_CONTENT_READER_END_OF_STREAM;
    n = MIN(max, b->n - (size_t)pos);
    memcpy(out, b->data + pos, n);
    return (ssize_t)n;
}

static void free_body(void *cls) {
    struct body_at *b = cls;

    free(b->data);
    free(b);
}

/* Of unknown length for the library, so that it sends chunks. */
static struct MHD_Response *chunked_response(struct call *c) {
    struct body_at *b = malloc(sizeof(*b));
    struct MHD_Response *r;

    if (!b)
        return NULL;
    b->n = c->reply.len;
    b->data = buf_take(&c->reply); /* after its length was read: nothing is left in the buffer */
    r = b->data ? MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16u << 10, read_body, b, free_body) : NULL;
    if (!r)
        free_body(b);
    return r;
}

struct MHD_Response *http_response(struct call *c) {
    struct MHD_Response *r;
    size_t n = c->reply.len;

    if (n > HTTP_CHUNK_ABOVE && !c->head_only) {
        r = chunked_response(c);
    } else {
        char *p = n > 0 ? buf_take(&c->reply) : NULL;

        r = MHD_create_response_from_buffer(p ? n : 0, p, p ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
        if (!r)
            free(p);
    }
    if (!r)
        return NULL;
    /* Who asks in the words of HTTP/1.0 is answered in them. */
    if (c->http10)
        MHD_set_response_options(r, MHD_RF_HTTP_1_0_SERVER, MHD_RO_END);
    for (size_t i = 0; i < c->n_out; i++)
        MHD_add_response_header(r, c->out[i].name, c->out[i].value);
    return r;
}

/* ---- replies by ourselves ---------------------------------------------------------------------------------------------------- */

void http_head_text(struct call *c, int status, const char *extra, struct buf *out) {
    time_t now = time(NULL);
    struct tm tm;
    char date[40];

    buf_addf(out, "HTTP/1.%c %d %s\r\n", c->http10 ? '0' : '1', status, http_reason(status));
    for (size_t i = 0; i < c->n_out; i++)
        buf_addf(out, "%s: %s\r\n", c->out[i].name, c->out[i].value);
    gmtime_r(&now, &tm);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    buf_addf(out, "Date: %s\r\n%s\r\n", date, extra);
}

int http_poll_ms(int64_t until) {
    int64_t left = until - clock_mono_ns();

    return until == 0 ? -1 : left <= 0 ? 0 : (int)MIN((left + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC, (int64_t)60000);
}

int http_send_all(int fd, const void *p, size_t n, int timeout_ms, struct err *e) {
    int64_t until = timeout_ms < 0 ? 0 : clock_mono_ns() + timeout_ms * NSEC_PER_MSEC;
    const char *at = p;

    while (n > 0) {
        ssize_t k = send(fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        struct pollfd w = {.fd = fd, .events = POLLOUT};
        int r;

        if (k >= 0) {
            at += k;
            n -= (size_t)k;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return err_set(e, ERR_CANCELLED, "the client has closed the connection");
        r = poll(&w, 1, http_poll_ms(until));
        if (r == 0 && until)
            return err_set(e, ERR_CANCELLED, "the client does not read");
        if (r > 0 && (w.revents & (POLLERR | POLLHUP | POLLNVAL)))
            return err_set(e, ERR_CANCELLED, "the client has closed the connection");
    }
    return 0;
}

int http_write_reply(struct call *c, int fd, bool closes, struct err *e) {
    _cleanup_buf_ struct buf head = BUF_INIT(KIB(64));
    bool bodyless = c->status == 204 || c->status == 304, chunked = c->reply.len > HTTP_CHUNK_ABOVE && !closes && !c->head_only && !c->http10;
    char framing[96] = "", size[24];
    int r;

    if (chunked)
        snprintf(framing, sizeof(framing), "Transfer-Encoding: chunked\r\n");
    else if (!bodyless)
        snprintf(framing, sizeof(framing), "Content-Length: %zu\r\n%s", c->reply.len, closes ? "Connection: close\r\n" : "");
    else if (closes)
        snprintf(framing, sizeof(framing), "Connection: close\r\n");
    http_head_text(c, c->status, framing, &head);
    if (chunked)
        buf_add(&head, size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", c->reply.len));
    r = buf_check(&head, e);
    if (r >= 0)
        r = http_send_all(fd, head.data, head.len, HTTP_PATIENCE_MS, e);
    if (r >= 0 && !bodyless && !c->head_only)
        r = http_send_all(fd, buf_str(&c->reply), c->reply.len, HTTP_PATIENCE_MS, e);
    return r < 0 || !chunked ? r : http_send_all(fd, "\r\n0\r\n\r\n", 7, HTTP_PATIENCE_MS, e);
}

void http_raw_reply(struct call *c) {
    int fd;

    if (c->completed)
        return;
    fd = fcntl(c->conn->fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return;
    /* Nothing was sent on this connection yet in this exchange: an error fits into the socket's buffer. */
    ignore_result(http_write_reply(c, fd, true, NULL) < 0);
    shutdown(fd, SHUT_WR);
    http_linger(c->server->loop, fd);
}

/* ---- linger -------------------------------------------------------------------------------------------------------------------- */

struct late {
    struct loop *loop;
    int fd;
    size_t dropped;
    struct loop_watch *watch;
    struct loop_timer *timer;
};

static void linger_end(struct late *g) {
    loop_unwatch(g->watch);
    loop_timer_free(g->timer);
    shutdown(g->fd, SHUT_RDWR); /* the library may hold the same socket: it shall see the end too */
    close(g->fd);
    free(g);
}

static void linger_read(struct loop_watch *w, int fd, uint32_t events, void *data) {
    static char scratch[64u << 10]; /* only the loop's thread writes here, and nobody reads it */
    struct late *g = data;
    ssize_t n = recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        g->dropped += (size_t)n;
    if (n <= 0 || g->dropped > LINGER_BYTES)
        linger_end(g);
}

static void linger_timeout(struct loop_timer *t, void *data) {
    linger_end(data);
}

static void linger_start(void *data) {
    struct late *g = data;

    if (loop_timer(g->loop, LINGER_NS, 0, linger_timeout, g, &g->timer, NULL) < 0 ||
        loop_watch(g->loop, g->fd, EPOLLIN, linger_read, g, &g->watch, NULL) < 0)
        linger_end(g);
}

void http_linger(struct loop *l, int fd) {
    struct late *g = calloc(1, sizeof(*g));

    if (g) {
        *g = (struct late){.loop = l, .fd = fd};
        if (loop_post(l, linger_start, g, NULL) >= 0)
            return;
        free(g);
    }
    shutdown(fd, SHUT_RDWR);
    close(fd);
}
