// SPDX-License-Identifier: Apache-2.0
/*
 * http.h - the HTTP server under engine/api: libmicrohttpd behind our own interface (request in, reply out, take).
 *
 * The library parses heads and bodies and writes short replies; everything it cannot do is done here: strict checks of heads, raw paths,
 * worker threads, back-pressure, replies in mid-body, streams and hijacks (the connection is taken off the library), a deadline for
 * heads, notice of vanished clients. Nothing outside wire/http*.c knows of the library.
 *
 * Threads: two library threads per listener, one worker per running handler, the loop's thread for watches. hooks->route runs on a library
 * thread and must not block; hooks->run runs on a worker, or on a library thread for HTTP_INLINE.
 * Life cycle: http_new, http_listen..., http_stop (refuses new requests, wakes blocked streams, waits a bounded time), http_free.
 * Ownership: the server owns its listening sockets. It uses, and does not own, the loop (running before http_listen, stopped after http_stop).
 */
#ifndef HATAKE_WIRE_HTTP_H
#define HATAKE_WIRE_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/call.h"

struct http_server;
struct loop;

enum http_exec {
    HTTP_INLINE, /* on the library's thread: only reads memory */
    HTTP_QUICK,  /* on a worker; short */
    HTTP_LONG,   /* on a worker; may block for long */
};

/* What api/ decides when the head of a request is there. */
struct http_route {
    enum http_exec exec;
    bool collect;      /* read the whole body (JSON) before run; else run starts at once and reads it piece by piece */
    bool bare;         /* the head of the taken connection has none of the headers of the reply (attach) */
    const void *op;    /* anything, for call_op() */
    const char *op_id; /* static string for call_operation() */
    int api_version;   /* 145 */
    char *variable;    /* malloc'd path variable, or NULL; taken over */
};

struct http_hooks {
    void *data;
    /* Fill *ret (zero at entry). Base headers of the reply are set here with call_set_header(). The call has its path, query and headers. */
    void (*route)(struct call *c, struct http_route *ret, void *data);
    /* Run the handler and make sure that it has answered (call_answered()). */
    void (*run)(struct call *c, void *data);
};

struct http_options {
    size_t memory_limit;    /* bytes per connection for the head; 0: 32 KiB */
    size_t max_connections; /* 0: LIMIT_CONNECTIONS; beyond it the longest idle one is dropped */
    size_t max_kept;        /* 0: LIMIT_KEPT_CONNECTIONS; of connections that had a request more are closed when idle for kept_ms */
    int64_t kept_ms;        /* 0: LIMIT_KEPT_MS */
    int head_seconds;       /* 0: LIMIT_HTTP_HEAD_SECONDS: a connection may be without a complete request this long; once more for a short body */
    int64_t rest_ms;        /* 0: 5 seconds: for what is left of a body that nobody wants any more */
    unsigned threads;       /* library threads per listener; 0: 2 */
    size_t quick, slow;     /* concurrent handlers per class; 0: 64 and 4096 */
};

int http_new(struct engine *engine, struct loop *loop, const struct http_hooks *hooks, const struct http_options *opts, struct http_server **ret,
             struct err *e);

enum http_listener_kind { HTTP_LISTEN_PLAIN, HTTP_LISTEN_FED };
struct http_listener;
/*
 * Start serving a listening socket (bound, listening; taken over on success). HTTP_LISTEN_FED: no socket of its own (fd -1), connections come by
 * http_feed() (TLS terminator). *ret may be NULL.
 */
int http_listen(struct http_server *s, enum http_listener_kind kind, int fd, struct http_listener **ret, struct err *e);
/* Serve one connected plain stream. Takes fd over, also on failure (closed). */
int http_feed(struct http_listener *l, int fd, struct err *e);

/* Stop within about timeout_ns. True: everything has ended and http_free() may be called. False: handlers still hang in their work; then exit. */
bool http_stop(struct http_server *s, int64_t timeout_ns);
struct http_server *http_free(struct http_server *s);

/* For api/ only: beyond call.h. */
const void *call_op(struct call *c);
/* Decoded path of the request, and whether it held a %00. */
const char *call_raw_path(struct call *c);
bool call_path_has_nul(struct call *c);
/* A reply has been made, a stream begun, or the connection taken. */
bool call_answered(struct call *c);
/* Status of the reply so far; 0: none. Of taken connections 101 when the client asked for an upgrade, else 200. */
int call_status(struct call *c);
/* Nanoseconds since the head was complete. */
int64_t call_age_ns(struct call *c);
/* {"message": msg} with that status; replaces a reply not yet sent. */
void call_reply_error(struct call *c, int status, const char *msg);
/* Bytes of the JSON reply made (borrowed, until run returns), for trace builds that check replies. */
const struct buf *call_reply_body(struct call *c);

#endif
