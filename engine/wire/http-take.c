// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "wire/http-internal.h"

#define HEAD_TIMEOUT_MS 10000
#define HEAD_ALONE_MS 1000
#define PASS_POLL_MS 1000
#define RAW_STREAM "application/vnd.docker.raw-stream"

/*
 * The library only gives a connection away after sending its own "101 Switching Protocols", and to HTTP/1.1 clients. So, while the connection is
 * suspended and out of the library's epoll set, a dummy socket is put in the place of the real one (dup3 over its number): the
 * library writes its 101 there, and hands us the bytes it had read ahead. The real descriptor stays with us.
 */
static int swap_socket(struct call *c, struct err *e) {
    _cleanup_close_ int real = -EBADF;
    int pair[2];

    real = fcntl(c->conn->fd, F_DUPFD_CLOEXEC, 3);
    if (real < 0)
        return err_errno(e, errno, "taking a connection over");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return err_errno(e, errno, "taking a connection over");
    if (dup3(pair[0], c->conn->fd, O_CLOEXEC) < 0) {
        int r = err_errno(e, errno, "taking a connection over");

        close(pair[0]);
        close(pair[1]);
        return r;
    }
    close(pair[0]);
    c->dummy = pair[1];
    return TAKE_FD(real);
}

int http_detach(struct call *c, struct err *e) {
    int fd;

    pthread_mutex_lock(&c->lock);
    if (c->completed || !(c->state == CALL_WORKING || c->held)) {
        bool gone = c->completed || c->state == CALL_ABORT;

        pthread_mutex_unlock(&c->lock);
        return gone ? err_set(e, ERR_CANCELLED, "the client is gone") : err_set(e, ERR_INTERNAL, "a connection was taken at the wrong time");
    }
    fd = swap_socket(c, e);
    if (fd < 0) {
        pthread_mutex_unlock(&c->lock);
        return fd;
    }
    c->out_fd = fd; /* from now on http_stop() shuts it down, also when it comes before the library has let go */
    /*
     * HTTP/1.0 knows no upgrade: let the library close its side. What it had read ahead is lost, which such clients do not send. In mid-body it only looks at
     * the socket, which shall have ended then.
     */
    c->state = c->http10 ? CALL_ABORT : CALL_UPGRADING;
    if (c->http10 && c->held)
        c->dummy = close_fd(c->dummy);
    c->held = c->held_head = false;
    MHD_resume_connection(c->mhd);
    while (!c->completed && c->state != CALL_UPGRADED)
        pthread_cond_wait(&c->cond, &c->lock);
    c->out_detached = true;
    pthread_mutex_unlock(&c->lock);
    return 0;
}

void http_on_upgrade(void *cls, struct MHD_Connection *connection, void *req_cls, const char *extra_in, size_t extra_in_size, MHD_socket sock,
                     struct MHD_UpgradeResponseHandle *urh) {
    struct call *c = cls;

    pthread_mutex_lock(&c->lock);
    if (extra_in_size > 0) {
        c->early = malloc(extra_in_size);
        if (c->early) {
            memcpy(c->early, extra_in, extra_in_size);
            c->n_early = extra_in_size;
        }
    }
    c->state = CALL_UPGRADED;
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->lock);
    MHD_upgrade_action(urh, MHD_UPGRADE_ACTION_CLOSE);
}

void http_give_back(struct http_listener *l, int fd) {
    struct sockaddr_storage addr = {.ss_family = AF_UNIX};
    socklen_t n = sizeof(addr);
    bool given = false;

    pthread_rwlock_rdlock(&l->lock);
    if (!l->stopped && getpeername(fd, (struct sockaddr *)&addr, &n) == 0) {
        /* An unnamed unix peer has an address of two bytes; the library wants the whole struct. */
        if (addr.ss_family == AF_UNIX)
            n = sizeof(addr);
        /* Takes the descriptor over, also when it fails. */
        given = true;
        MHD_add_connection(l->mhd, fd, (struct sockaddr *)&addr, n);
    }
    pthread_rwlock_unlock(&l->lock);
    if (!given)
        close(fd);
}

/* ---- taken connections -------------------------------------------------------------------------------------------------------- */

static char *reply_lines(struct call *c) {
    struct buf b = BUF_INIT(KIB(64));

    for (size_t i = 0; i < c->n_out; i++)
        if (strcasecmp(c->out[i].name, "Content-Type") != 0)
            buf_addf(&b, "%s: %s\r\n", c->out[i].name, c->out[i].value);
    buf_adds(&b, "");
    return b.data ? buf_take(&b) : strdup("");
}

/* Until the other side has taken all that was written (tcp: until it arrived there). The kernel tells nobody when that happens, so it is asked. */
static void wait_until_read(int fd) {
    int64_t end = clock_mono_ns() + HEAD_ALONE_MS * NSEC_PER_MSEC;
    struct timespec pause = {.tv_nsec = 20000};
    int unread = 0;

    while (ioctl(fd, SIOCOUTQ, &unread) == 0 && unread > 0 && clock_mono_ns() < end) {
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < NSEC_PER_MSEC)
            pause.tv_nsec *= 2;
    }
}

int call_take(struct call *c, struct taken *ret, struct err *e) {
    const char *upgrade = call_header(c, "Upgrade");
    _cleanup_taken_ struct taken t = TAKEN_INIT;
    int r;

    if (call_answered(c))
        return err_set(e, ERR_INTERNAL, "a connection was taken after the reply");
    if (c->has_body && !c->collects && !http_body_end(c, HTTP_DRAIN_MAX))
        return err_set(e, ERR_INVALID, "the request body is too long");
    t.head = c->route.bare ? strdup("") : reply_lines(c);
    t.upgrade = upgrade ? strdup(upgrade) : NULL;
    if (!t.head || (upgrade && !t.upgrade))
        return err_oom(e);
    call_stop_watching(c);
    r = c->direct ? 0 : http_detach(c, e);
    if (r < 0)
        return r;
    t.fd = http_out_take(c);
    t.early = TAKE_PTR(c->early);
    t.n_early = c->n_early;
    if (c->direct) {
        if (c->n_raw > 0)
            memmove(t.early, c->raw, c->n_raw); /* nothing is read beyond a body but what the library had read */
        t.n_early = c->n_raw;
    }
    c->n_early = 0;
    t.http10 = c->http10;
    t.origin = c->wants_close || c->http10 ? NULL : c->listener;
    c->taken = true;
    *ret = t;
    t = TAKEN_INIT;
    return 0;
}

int taken_write_head(struct taken *t, enum taken_head kind, const char *content_type, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(KIB(64));
    time_t now = time(NULL);
    struct tm tm;
    char date[40];
    int r;

    switch (kind) {
    case TAKEN_HIJACK:
        if (content_type && !t->upgrade)
            content_type = RAW_STREAM;
        buf_adds(&b, t->upgrade ? "HTTP/1.1 101 UPGRADED\r\n" : "HTTP/1.1 200 OK\r\n");
        if (content_type)
            buf_addf(&b, "Content-Type: %s\r\n", content_type);
        if (t->upgrade)
            buf_adds(&b, "Connection: Upgrade\r\nUpgrade: tcp\r\n");
        buf_adds(&b, t->head);
        break;
    case TAKEN_H2C:
        buf_adds(&b, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n");
        break;
    case TAKEN_CHUNKED:
        buf_addf(&b, "HTTP/1.%c 200 OK\r\n%s", t->http10 ? '0' : '1', t->head);
        if (content_type)
            buf_addf(&b, "Content-Type: %s\r\n", content_type);
        gmtime_r(&now, &tm);
        strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        buf_addf(&b, "Date: %s\r\n%s", date, t->origin ? "" : "Connection: close\r\n");
        if (!t->http10)
            buf_adds(&b, "Transfer-Encoding: chunked\r\n");
        break;
    }
    buf_adds(&b, "\r\n");
    r = buf_check(&b, e);
    if (r >= 0)
        r = http_send_all(t->fd, b.data, b.len, HEAD_TIMEOUT_MS, e);
    if (r >= 0 && kind == TAKEN_HIJACK)
        wait_until_read(t->fd);
    return r;
}

void taken_write_error(struct taken *t, int status, const char *message) {
    _cleanup_buf_ struct buf body = BUF_INIT(MIB(1)), b = BUF_INIT(MIB(2));

    buf_adds(&body, "{\"message\":");
    buf_add_json_string(&body, message);
    buf_adds(&body, "}\n");
    buf_addf(&b, "HTTP/1.%c %d %s\r\n%sContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", t->http10 ? '0' : '1',
             status, http_reason(status), t->head ? t->head : "", body.len);
    buf_add(&b, body.data, body.len);
    if (buf_ok(&b))
        http_send_all(t->fd, b.data, b.len, HEAD_TIMEOUT_MS, NULL);
}

void taken_write_failure(struct taken *t, int status, const char *message) {
    _cleanup_buf_ struct buf b = BUF_INIT(MIB(1));

    buf_addf(&b, "HTTP/1.1 %d %s\r\nContent-Type: " RAW_STREAM "\r\n\r\n%s\r\n", status, http_reason(status), message);
    if (buf_ok(&b))
        http_send_all(t->fd, b.data, b.len, HEAD_TIMEOUT_MS, NULL);
    shutdown(t->fd, SHUT_WR);
}

void taken_done(struct taken *t) {
    close_fd(t->fd);
    free(t->early);
    free(t->upgrade);
    free(t->head);
    *t = TAKEN_INIT;
}

/* ---- streams of a handler ------------------------------------------------------------------------------------------------------- */

int call_stream_begin(struct call *c, int status, const char *content_type, struct err *e) {
    _cleanup_buf_ struct buf head = BUF_INIT(KIB(64));
    int r;

    if (call_answered(c) || c->is_inline)
        return err_set(e, ERR_INTERNAL, "a second reply to one request");
    if (content_type)
        call_set_header(c, "Content-Type", content_type);
    r = c->has_body && !c->collects ? http_direct(c, e) : http_detach(c, e);
    if (r < 0)
        return r;
    c->status = status;
    c->stream_begun = true;
    c->stream_chunked = !c->http10 && !c->head_only;
    http_head_text(c, status,
                   c->http10 || c->wants_close ? (c->stream_chunked ? "Connection: close\r\nTransfer-Encoding: chunked\r\n" : "Connection: close\r\n")
                                               : "Transfer-Encoding: chunked\r\n",
                   &head);
    r = buf_check(&head, e);
    return r < 0 ? r : http_send_all(c->out_fd, head.data, head.len, -1, e);
}

/* A chunk in one call of the system: one packet and one wake-up of the client, where the socket takes it whole. */
static int send_chunk(int fd, const void *p, size_t n, struct err *e) {
    char size[24];
    struct iovec piece[] = {{size, (size_t)snprintf(size, sizeof(size), "%zx\r\n", n)}, {(void *)(uintptr_t)p, n}, {(void *)(uintptr_t) "\r\n", 2}};
    struct msghdr m = {.msg_iov = piece, .msg_iovlen = ELEMENTSOF(piece)};
    ssize_t k = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    size_t sent = k > 0 ? (size_t)k : 0;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(piece); i++) {
        size_t skip = MIN(sent, piece[i].iov_len);

        sent -= skip;
        r = http_send_all(fd, (char *)piece[i].iov_base + skip, piece[i].iov_len - skip, -1, e);
    }
    return r;
}

static int check_stream(const struct call *c, struct err *e) {
    if (!c->stream_begun || c->stream_ended)
        return err_set(e, ERR_INTERNAL, "writing to a stream that is not open");
    return c->server->stopping ? err_set(e, ERR_CANCELLED, "the engine is shutting down") : 0;
}

int call_stream_write(struct call *c, const void *p, size_t n, struct err *e) {
    int r = check_stream(c, e);

    if (r < 0 || n == 0 || c->head_only)
        return r;
    return c->stream_chunked ? send_chunk(c->out_fd, p, n, e) : http_send_all(c->out_fd, p, n, -1, e);
}

/* splice(2) would wait: for the pipe to have something, or, when it has, for the client. */
static int wait_for_pass(struct call *c, int pipe, struct err *e) {
    struct pollfd in = {.fd = pipe, .events = POLLIN}, out = {.fd = c->out_fd, .events = POLLOUT};

    while (poll(&in, 1, PASS_POLL_MS) == 0)
        if (c->server->stopping || call_gone(c))
            return err_set(e, ERR_CANCELLED, "the client is gone");
    ignore_result(poll(&out, 1, -1) < 0); /* a closed one shows at the next attempt */
    return 0;
}

int call_stream_pass(struct call *c, int pipe, size_t n, struct err *e) {
    char size[24];
    size_t head = (size_t)snprintf(size, sizeof(size), "%zx\r\n", n);
    int r = check_stream(c, e);

    if (n == 0) /* as a chunk it would be the end of the body */
        return r;
    if (r >= 0 && c->stream_chunked)
        r = http_send_all(c->out_fd, size, head, -1, e);
    while (r >= 0 && n > 0) {
        ssize_t k = splice(pipe, NULL, c->out_fd, NULL, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE);

        if (k > 0)
            n -= (size_t)k;
        else if (k == 0)
            r = err_set(e, ERR_INTERNAL, "what was to be passed on ended early");
        else if (errno == EAGAIN)
            r = wait_for_pass(c, pipe, e);
        else if (errno != EINTR)
            r = err_set(e, ERR_CANCELLED, "the client has closed the connection");
    }
    if (r < 0) {
        /* Within a chunk whose size was told: whatever came now would be taken for its content. Only the end of the connection says that it is cut. */
        c->stream_ended = c->wants_close = true;
        return r;
    }
    return c->stream_chunked ? http_send_all(c->out_fd, "\r\n", 2, -1, e) : 0;
}

int call_stream_end(struct call *c, struct err *e) {
    if (!c->stream_begun || c->stream_ended)
        return 0;
    c->stream_ended = true;
    return c->stream_chunked ? http_send_all(c->out_fd, "0\r\n\r\n", 5, -1, e) : 0;
}

bool call_stream_begun(struct call *c) {
    return c->stream_begun;
}

int http_out_take(struct call *c) {
    int fd;

    pthread_mutex_lock(&c->lock);
    fd = TAKE_FD(c->out_fd);
    pthread_mutex_unlock(&c->lock);
    return fd;
}

void http_stream_finish(struct call *c) {
    bool whole = call_stream_end(c, NULL) >= 0 && !c->wants_close && !c->http10;
    bool read = !c->direct || http_body_end(c, whole ? HTTP_DRAIN_MAX : 0);

    call_stop_watching(c);
    if (!read) {
        shutdown(c->out_fd, SHUT_WR);
        http_linger(c->server->loop, http_out_take(c));
    } else if (whole && (c->direct ? c->n_raw : c->n_early) == 0) {
        http_give_back(c->listener, http_out_take(c));
    } else {
        close_fd(http_out_take(c));
    }
}
