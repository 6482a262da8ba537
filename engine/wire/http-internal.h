// SPDX-License-Identifier: Apache-2.0
/*
 * http-internal.h - what the files http*.c and call*.c share: one request and its states.
 *
 * A call has two owners: the library's side (released in on_completed) and the handler's side (released when the worker has finished).
 *
 *   NEW ──head──► COLLECT ──body end──► WORKING ──reply──► READY ──► REPLIED
 *          ├────► END ──(no body)─────────┘    └──take──► UPGRADING ──► UPGRADED
 *          ├────► STREAM ──the handler wants the body─────────┘
 *          │         └─reply before that─► DRAIN ──body end──► REPLIED
 *          └────► DRAIN
 *   any ──► ABORT (the library is told to close) ; `completed`: the library has let go of the request
 *
 * WORKING and UPGRADING: the connection is suspended, so nobody but us touches its descriptor. lock guards everything below it in the struct.
 *
 * STREAM is for long bodies, which are not for the library: it hands them over in pieces of 16 KiB, and the handler's thread would have to be woken for each.
 * Their connection is suspended (`held`) as soon as the head is there, and taken off the library when the handler asks for the body; from then on (`direct`) the
 * handler, or a helper process that the descriptor is lent to, receives the body itself and finds its end with wire/body.h. A client of HTTP/1.0 is held
 * with the first piece of its body, as the library gives its connections away in no other manner.
 */
#ifndef HATAKE_WIRE_HTTP_INTERNAL_H
#define HATAKE_WIRE_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/id.h"
#include "wire/body.h"
#include "wire/http.h"
#include "wire/loop.h"
#include "wire/worker.h"

#define HTTP_DRAIN_MAX (256u << 10)   /* body that is read and forgotten so that the connection can be kept; what Go's server does */
#define HTTP_PIECE_BYTES (256u << 10) /* of a long body that are received at a time */
#define HTTP_SHORT_BODY (128u << 10)  /* what is announced to be no longer is collected before its handler runs */
#define HTTP_PATIENCE_MS 5000         /* for all that is left of a body when the reply is there; for taking a short reply */
#define HTTP_CHUNK_ABOVE 2048         /* longer replies are chunked, as the reference's are */
#define HTTP_HEADERS_MAX 24           /* headers of a reply */
#define HTTP_HEADERS_TEXT 1000        /* bytes of their names and values that are kept in one piece of memory */

struct http_listener {
    struct http_server *server;
    struct http_listener *next;
    struct MHD_Daemon *mhd;
    enum http_listener_kind kind;
    int fd;
    pthread_rwlock_t lock; /* guards stopped against http_feed() */
    bool stopped;
};

struct http_conn {
    struct http_listener *listener;
    int fd;
    bool has_peer;
    pid_t pid;
    uid_t uid;
    gid_t gid;
    /* Below: server->lock. In an idle list while no request is being served, in the order in which they became idle. */
    bool idle, served;
    int64_t idle_since;
    struct http_conn *prev, *next;
};

struct http_idle {
    struct http_conn *first, *last; /* longest idle first */
    size_t n;
};

struct http_server {
    struct engine *engine;
    struct loop *loop;
    struct http_hooks hooks;
    struct http_options opts;
    struct pool *pool;
    struct http_listener *listeners;
    struct loop_timer *reaper;
    atomic_bool stopping;
    pthread_mutex_t lock;
    pthread_cond_t quiet;       /* a call has ended */
    struct http_idle idle[2];   /* [1]: those that had a request before */
    size_t n_conns, peak_conns; /* peak: most since memory was last given back */
    struct call *calls;         /* requests whose handler runs */
};

enum call_state {
    CALL_NEW,
    CALL_COLLECT,
    CALL_STREAM,
    CALL_END,
    CALL_DRAIN,
    CALL_WORKING,
    CALL_READY,
    CALL_REPLIED,
    CALL_UPGRADING,
    CALL_UPGRADED,
    CALL_ABORT,
};

struct http_header {
    char *name, *value;
};

struct call {
    struct pool_job job;
    atomic_int refs;
    struct http_server *server;
    struct http_conn *conn; /* valid while !completed */
    struct http_listener *listener;
    struct MHD_Connection *mhd; /* the same */
    struct call *prev, *next;   /* server->calls, under server->lock */
    int64_t started;
    char trace[TRACE_ID_LEN + 1];

    /* The head; constant once routed. */
    char *target, *path, *query, *method;
    bool path_nul, http10, head_only, has_body, wants_close, is_inline;
    bool collects;          /* the body is read by the library, before the handler runs */
    bool expects;           /* the client waits for "100 Continue" */
    bool refuse_now;        /* answer before the body, then close */
    struct http_header *in; /* in[0].name points to one block that holds all texts */
    size_t n_in;
    int64_t length; /* Content-Length; -1 chunked */
    struct http_route route;
    bool has_peer;
    pid_t pid;
    uid_t uid;
    gid_t gid;

    /* Used by the handler's thread only. */
    struct http_header out[HTTP_HEADERS_MAX];
    size_t n_out;
    char *out_text; /* HTTP_HEADERS_TEXT bytes, out_used of them taken; what does not fit has memory of its own */
    size_t out_used;
    int out_fd; /* stream or half-taken connection */
    bool stream_begun, stream_ended, stream_chunked, out_detached, taken;
    int gone_fd, gone_watched;
    struct loop_watch *gone_watch;
    bool direct;              /* the body is received from out_fd */
    bool lost;                /* where it goes on is not known any more */
    struct body_frame frame;  /* of what was received so far */
    int64_t until;            /* CLOCK_MONOTONIC: when the rest of the body must be here; 0: whenever it comes */
    unsigned char *room;      /* HTTP_PIECE_BYTES */
    const unsigned char *raw; /* received and not gone through: in `early` or in `room` */
    size_t n_raw;
    const unsigned char *run; /* content not given to the handler yet */
    size_t n_run;

    pthread_mutex_t lock;
    pthread_cond_t cond;
    enum call_state state;
    bool completed, aborted; /* aborted: the client went away */
    struct buf body;         /* COLLECT */
    bool held;               /* STREAM: suspended, until the handler wants the body or has answered */
    bool held_head;          /* STREAM: the library will call for the head once more */
    bool awaited;            /* COLLECT, DRAIN: the connection is in an idle list, which bounds the time its body may take */
    bool body_ended;         /* all of it has been received */
    int64_t received;        /* STREAM: of HTTP/1.0, what is in `early` */
    size_t drained;
    /* The reply. */
    int status;
    struct buf reply;
    bool reply_set, reply_none; /* reply_none: no body at all */
    /* Taking. */
    int dummy;
    void *early;
    size_t n_early;
};

/* call.c */
struct call *call_new(struct http_server *s, const char *target);
void call_ref(struct call *c);
void call_unref(struct call *c);
void call_stop_watching(struct call *c);

/* http-head.c: copy and check the head. Returns 0, or the status to refuse with and *ret_text (static) as its plain body. */
int http_head_read(struct call *c, const char *method, const char *version, const char **ret_text);

/* http-reply.c */
struct MHD_Response *http_response(struct call *c);
/* Head of a reply as text: status line, headers of the call, Date. extra: further lines, each with CRLF. */
void http_head_text(struct call *c, int status, const char *extra, struct buf *out);
const char *http_reason(int status);
/* What poll(2) may wait for a moment of CLOCK_MONOTONIC; 0: for ever. At most a minute at a time. */
int http_poll_ms(int64_t until);
/* All of it, or a negative ERR_; waits at most timeout_ms for room in all (-1: for ever). */
int http_send_all(int fd, const void *p, size_t n, int timeout_ms, struct err *e);
/* All of the reply of `c`; `closes`: and that the connection ends with it. */
int http_write_reply(struct call *c, int fd, bool closes, struct err *e);
/* Write the reply of `c` on a duplicate of the connection's descriptor, and let the loop read and drop what the client still sends. c->lock is held. */
void http_raw_reply(struct call *c);
/* Read and drop from fd until its end, 64 MiB or 5 s, then close it. Takes fd over. */
void http_linger(struct loop *l, int fd);

/* http-pages.c: MHD_queue_response() of the library. Ours is never called by us: it replaces the library's own error pages. */
enum MHD_Result http_queue(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response);

/* http-body.c: take the connection off the library and receive the body from it, out_fd. For calls that have a body and do not collect it. */
int http_direct(struct call *c, struct err *e);
/* Receive and drop at most max bytes of body. True: it has ended; what was received beyond it is c->raw. */
bool http_body_end(struct call *c, size_t max);
/* The reply to a call whose connection is out_fd. */
void http_direct_finish(struct call *c);

/* http-take.c: take the connection off the library: it becomes out_fd. 0 or a negative ERR_. */
int http_detach(struct call *c, struct err *e);
void http_on_upgrade(void *cls, struct MHD_Connection *connection, void *req_cls, const char *extra_in, size_t extra_in_size, MHD_socket sock,
                     struct MHD_UpgradeResponseHandle *urh);
/* Serve further requests on a connection that was taken. Takes fd over. */
void http_give_back(struct http_listener *l, int fd);
/* The descriptor of a detached connection, which is the caller's then. */
int http_out_take(struct call *c);
/* End of a stream at the end of its handler. */
void http_stream_finish(struct call *c);

/* http.c: the handler has returned. */
void http_finish(struct call *c);

#endif
