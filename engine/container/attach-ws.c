// SPDX-License-Identifier: Apache-2.0
/*
 * GET /containers/{id}/attach/ws. The monitor gets one end of a socket pair and sees an ordinary client; a pump on the stream loop carries bytes between the
 * other end and the frames of the websocket. Neither side is read while the other is behind.
 */
#include <fcntl.h>
#include <strings.h>
#include <sys/socket.h>

#include "api-handlers.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/attach.h"
#include "container/keys.h"
#include "container/life.h"
#include "container/logs.h"
#include "wire/call.h"
#include "wire/loop.h"
#include "wire/websocket.h"

#define BINARY_SINCE 128
#define BLOCK KIB(16)
#define HIGH_WATER KIB(64)
#define QUEUE_MAX MIB(1)
#define STATUS_NORMAL 1000

/* One connection. Loop thread only, once it has begun. */
struct pump {
    struct loop *loop;
    int client, inside; /* the websocket, our end of the pair */
    struct loop_watch *client_watch, *inside_watch;
    struct ws_decoder decoder;
    struct buf to_client, to_inside;
    enum ws_opcode opcode;
    bool client_done; /* nothing more comes from it */
    bool inside_done; /* the container's output has ended: the close frame is queued */
};

static void pump_free(struct pump *p) {
    loop_unwatch(p->client_watch);
    loop_unwatch(p->inside_watch);
    close_fd(p->client);
    close_fd(p->inside);
    buf_done(&p->to_client);
    buf_done(&p->to_inside);
    free(p);
}

/* Send what is queued. False: the other side is gone. */
static bool flush(int fd, struct buf *b) {
    while (b->len > 0) {
        ssize_t n = send(fd, buf_str(b), b->len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        buf_consume(b, (size_t)n);
    }
    return true;
}

/* False: no memory for what it sent. */
static bool decode(struct pump *p, const void *bytes, size_t n) {
    int r = ws_decode(&p->decoder, bytes, n, &p->to_inside, &p->to_client);

    p->client_done = r <= 0;
    if (r < 0) {
        /* The frame that says what was wrong is followed by the one that every connection ends with, as the reference does it. */
        ws_encode_close(&p->to_client, STATUS_NORMAL);
        p->inside_done = true;
    }
    return r != -ENOMEM;
}

/* False: give up. */
static bool from_client(struct pump *p, bool hung_up) {
    char block[BLOCK];
    ssize_t n = recv(p->client, block, sizeof(block), MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n > 0)
        return decode(p, block, (size_t)n);
    /* An end without a close frame is the end of the input; who has also stopped listening is gone. */
    p->client_done = true;
    return !hung_up;
}

static bool from_inside(struct pump *p) {
    char block[BLOCK];
    ssize_t n = recv(p->inside, block, sizeof(block), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n > 0) {
        ws_encode(&p->to_client, p->opcode, block, (size_t)n);
    } else {
        ws_encode_close(&p->to_client, STATUS_NORMAL);
        p->inside_done = true;
    }
    return buf_ok(&p->to_client);
}

/* Decide what each side is watched for from here on, or end the connection. */
static void settle(struct pump *p, bool ok) {
    uint32_t client = 0, inside = 0;

    ok = ok && flush(p->client, &p->to_client);
    if (ok && !flush(p->inside, &p->to_inside)) {
        buf_reset(&p->to_inside); /* its stdin is closed: what comes is dropped, as the reference does */
    }
    if (!ok || (p->inside_done && p->to_client.len == 0)) {
        pump_free(p);
        return;
    }
    if (p->client_done && p->to_inside.len == 0)
        shutdown(p->inside, SHUT_WR);
    if (!p->client_done && p->to_inside.len < HIGH_WATER)
        client |= EPOLLIN;
    if (p->to_client.len > 0)
        client |= EPOLLOUT;
    if (!p->inside_done && p->to_client.len < HIGH_WATER)
        inside |= EPOLLIN;
    if (p->to_inside.len > 0)
        inside |= EPOLLOUT;
    if (loop_watch_set(p->client_watch, client, NULL) < 0 || loop_watch_set(p->inside_watch, inside, NULL) < 0)
        pump_free(p);
}

static void on_client(struct loop_watch *w, int fd, uint32_t events, void *data) {
    struct pump *p = data;
    bool ok = true;

    if (events & EPOLLIN && !p->client_done)
        ok = from_client(p, events & EPOLLHUP);
    else if (events & (EPOLLHUP | EPOLLERR))
        ok = false;
    settle(p, ok);
}

static void on_inside(struct loop_watch *w, int fd, uint32_t events, void *data) {
    struct pump *p = data;

    settle(p, (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !p->inside_done ? from_inside(p) : true);
}

static void pump_begin(void *data) {
    struct pump *p = data;
    bool ok = loop_watch(p->loop, p->client, EPOLLIN, on_client, p, &p->client_watch, NULL) >= 0 &&
              loop_watch(p->loop, p->inside, EPOLLIN, on_inside, p, &p->inside_watch, NULL) >= 0;

    settle(p, ok);
}

/* The pump between `t` and a pair whose other end is *ret_outside. `head` is sent first. */
static int pump_start(struct call *call, struct taken *t, const char *head, int version, int *ret_outside, struct err *e) {
    struct pump *p = calloc(1, sizeof(*p));
    int pair[2];

    if (!p)
        return err_oom(e);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        free(p);
        return err_errno(e, errno, "cannot make a socket pair");
    }
    p->loop = call_loop(call);
    p->to_client = BUF_INIT(QUEUE_MAX);
    p->to_inside = BUF_INIT(QUEUE_MAX);
    p->opcode = version >= BINARY_SINCE ? WS_BINARY : WS_TEXT;
    p->inside = pair[0];
    p->client = TAKE_FD(t->fd);
    buf_adds(&p->to_client, head);
    if (!decode(p, t->early, t->n_early) || loop_post(p->loop, pump_begin, p, e) < 0) {
        close(pair[1]);
        pump_free(p);
        return -(int)ERR_INTERNAL;
    }
    *ret_outside = pair[1];
    return 0;
}

#define REFUSED "HTTP/1.1 400 Bad Request\r\n"

/* What is wrong with a handshake, as the answer to it, or NULL. */
static const char *refusal(struct call *call) {
    const char *upgrade = call_header(call, "Upgrade"), *connection = call_header(call, "Connection"), *key = call_header(call, "Sec-WebSocket-Key"),
               *version = call_header(call, "Sec-WebSocket-Version"), *protocol = call_header(call, "Sec-WebSocket-Protocol");

    if (!upgrade || strcasecmp(upgrade, "websocket") != 0 || !connection || !strcasestr(connection, "upgrade"))
        return REFUSED "\r\nnot websocket protocol";
    if (str_empty(key) || strlen(key) > WS_KEY_MAX)
        return REFUSED "\r\nmismatch challenge/response";
    if (!version || !streq(version, "13"))
        return REFUSED "Sec-WebSocket-Version: 13\r\n\r\nmissing or bad WebSocket Version";
    if (protocol && strchr(protocol, ','))
        return REFUSED "\r\n"; /* nobody here can choose between protocols */
    return NULL;
}

/* The head that takes a handshake up; whatever one protocol the client names is spoken. */
static char *acceptance(struct call *call) {
    const char *protocol = call_header(call, "Sec-WebSocket-Protocol");
    bool named = !str_empty(protocol);
    char accept[WS_ACCEPT_MAX];

    if (!ws_accept_key(call_header(call, "Sec-WebSocket-Key"), accept))
        return NULL;
    return str_printf("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s%s%s\r\n",
                      accept, named ? "Sec-WebSocket-Protocol: " : "", named ? protocol : "", named ? "\r\n" : "");
}

int op_container_attach_websocket(struct call *call, struct err *e) {
    _cleanup_(q_container_attach_websocket_done) struct q_container_attach_websocket q = {0};
    _cleanup_container_ struct container *c = NULL;
    _cleanup_view_ struct ctr_view *v = NULL;
    _cleanup_taken_ struct taken t = TAKEN_INIT, inside = TAKEN_INIT;
    _cleanup_free_ char *head = NULL;
    struct launch_keys keys = {0};
    _cleanup_err_ struct err late = ERR_INIT;
    const char *wrong;
    int r = q_container_attach_websocket_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = ctr_attach_keys(q.detach_keys, &keys, e);
    if (r >= 0)
        r = containers_find(call_engine(call)->containers, call_path(call, "id"), &c, e);
    if (r < 0)
        return r;
    v = container_view(c);
    r = ctr_attach_allowed(v, call_path(call, "id"), e);
    if (r < 0)
        return r;
    wrong = refusal(call);
    if (!wrong && !(head = acceptance(call)))
        return err_oom(e);
    r = call_take(call, &t, e);
    if (r < 0)
        return r;
    if (wrong) {
        ignore_result(send(t.fd, wrong, strlen(wrong), MSG_NOSIGNAL));
        return 0;
    }
    struct ctr_attach_want want = {.logs = q.logs, .stream = q.stream, .in = q.stdin, .out = q.stdout, .err = q.stderr, .keys = keys};

    ctr_attaching_begin(c);
    if (pump_start(call, &t, head, call_api_version(call), &inside.fd, &late) >= 0)
        ignore_result(ctr_attach_serve(c, v, &want, &inside, &late));
    ctr_attaching_end(c);
    return 0;
}
