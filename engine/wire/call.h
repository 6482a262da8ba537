// SPDX-License-Identifier: Apache-2.0
/*
 * call.h - one API request, as its handler sees it.
 *
 * A handler is `int op_xxx(struct call *c, struct err *e)`. It runs on a worker thread of its own (a few that only read memory run on
 * the HTTP thread) and may block. It does exactly one of these and returns 0:
 *   - call_reply() or call_reply_empty()                     a whole reply
 *   - call_stream_begin(), call_stream_write()..., call_stream_end()   a reply written piece by piece, each piece sent at once
 *   - call_take()                                            the connection becomes the handler's: attach, exec, long streams on the loop
 * or it returns a negative value with `e` set: api/ then answers {"message": ...} with the status of the error's kind. After
 * call_stream_begin() that is too late: the stream is ended, the error logged. An error of kind ERR_NOT_MODIFIED is a 304 without a body.
 *
 * Ownership: the call belongs to the HTTP layer and is valid until the handler returns; strings it returns live as long. What must live
 * on is copied. After call_take() only the struct taken lives on.
 * Threads: a call is used by one thread at a time, except call_gone() and call_on_gone(), which any thread may use while the handler runs.
 */
#ifndef HATAKE_WIRE_CALL_H
#define HATAKE_WIRE_CALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/body.h"

struct call;
struct engine;
struct loop;

/* ---- what was asked ---------------------------------------------------------------------------------------------------- */

struct engine *call_engine(struct call *c);
/* The stream loop of the server (same as engine->loop). */
struct loop *call_loop(struct call *c);
/* Negotiated version: 145 for v1.45 or no version in the path, 124...145. May be passed to the generated writers and q_*_read as it is. */
int call_api_version(struct call *c);
/* Trace id: 16 hex digits; never NULL. The same id is in the log lines of the worker thread. */
const char *call_trace(struct call *c);
/* Operation id as in spec/ ("ContainerCreate"), and the method ("GET"). */
const char *call_operation(struct call *c);
const char *call_method(struct call *c);
/*
 * Decoded variable of the path template ("id", "name"); never NULL. A path has one variable at most, so the name serves readability: any
 * name gives it. A %00 in a path is answered 404 before a handler runs.
 */
const char *call_path(struct call *c, const char *name);
/* Raw query (after '?', not decoded, no fragment); "" without one. For the generated reader: q_container_list_read(&q, call_query(c), call_api_version(c), e). */
const char *call_query(struct call *c);
/* First value of a request header (name in any case), NULL when absent. */
const char *call_header(struct call *c, const char *name);
/* Peer of a unix socket: its pid, uid, gid (any pointer may be NULL). 0, or -ENODATA for other sockets. */
int call_peer(struct call *c, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid);

/* ---- the body of the request --------------------------------------------------------------------------------------------- */

/*
 * The whole body as JSON (LIMIT_JSON_BODY), with the reference's rules: Content-Type must be application/json unless the body is
 * empty; a request without a body, or of length 0, gives *ret = NULL and 0; a body sent in chunks that turns out empty is an error like every
 * text that is no JSON (ERR_INVALID, with the texts clients know). Caller: json_decref().
 */
int call_json(struct call *c, json_t **ret, struct err *e);
/* The same, but chunks without content give NULL too. */
int call_json_optional(struct call *c, json_t **ret, struct err *e);
/* The whole body as bytes into `ret` (initialised by the caller; its max is the limit, beyond it ERR_TOO_LARGE). */
int call_body(struct call *c, struct buf *ret, struct err *e);
/*
 * Next bytes of the body, at most n; blocks until there are some. Returns their number, 0 at the end of the body, or negative: ERR_CANCELLED
 * when the client went away in mid-body, ERR_INVALID when its framing broke. The client is held back when nobody reads.
 */
ssize_t call_body_read(struct call *c, void *p, size_t n, struct err *e);
/* The same without a copy: *ret_p is the next piece of the body, as long as it happens to be, and valid until the next call. */
ssize_t call_body_next(struct call *c, const void **ret_p, struct err *e);
/*
 * A long body for another process to receive: fd is the connection, to be read from as wire/body.h says and until the frame has ended; `early` (borrowed) was
 * received already and comes first. 1; 0 when there is no such body, then call_body_next() has it; negative as there. Not after a piece was read, and nothing
 * else is done with the body or written to the client until call_body_returned(): `whole` says that all of it was read, and nothing after it had come.
 */
int call_body_lend(struct call *c, struct body_lent *ret, struct err *e);
void call_body_returned(struct call *c, bool whole);
/* Length announced by Content-Length; -1 with chunked transfer; 0 without a body. */
int64_t call_body_length(struct call *c);
/* Read and forget up to `max` bytes of body, so that the client can finish sending. Returns 0 even if there was more. */
int call_body_drain(struct call *c, size_t max);

/* ---- a whole reply -------------------------------------------------------------------------------------------------------- */

/* Add or replace a header of the reply (any kind of reply; before it begins). Names and values with control bytes are dropped and logged. */
void call_set_header(struct call *c, const char *name, const char *value);
/*
 * JSON reply: takes the contents of body (which is empty afterwards, also on failure), adds the final newline of the reference and
 * Content-Type: application/json. Fails (nothing sent, return its value) when the buffer had failed.
 */
int call_reply(struct call *c, int status, struct buf *body, struct err *e);
/* As call_reply() for a body that is sent as it is with the given type (NULL: none): no newline is added. */
int call_reply_raw(struct call *c, int status, const char *content_type, struct buf *body, struct err *e);
/* A reply without a body (200, 201, 204, 304...). Returns 0. */
int call_reply_empty(struct call *c, int status);

/* ---- a reply written piece by piece ----------------------------------------------------------------------------------------- */

/*
 * Send the head at once. `content_type` may be NULL. The body is chunked (HTTP/1.0: ends with the connection). May be used while the
 * request's body is still being read (import, build): both directions then run at the same time.
 */
int call_stream_begin(struct call *c, int status, const char *content_type, struct err *e);
/* Send n bytes now; blocks while the client does not read. ERR_CANCELLED when it is gone. */
int call_stream_write(struct call *c, const void *p, size_t n, struct err *e);
/*
 * The same with the next n bytes of a pipe, whose reading end does not block: the kernel moves them without a copy. Waits for who writes the pipe;
 * ERR_INTERNAL when that ends early, and the connection ends with what was sent. Not for answers to HEAD, whose pipe nobody would empty.
 */
int call_stream_pass(struct call *c, int pipe, size_t n, struct err *e);
/* End of the body. The connection can serve the next request. Errors here mean that the client is gone; ignoring them is fine. */
int call_stream_end(struct call *c, struct err *e);
/* call_stream_begin() was called. */
bool call_stream_begun(struct call *c);

/*
 * The client has closed (or shut down its side of) the connection. Cheap enough to be asked between steps of a long work (one poll(2)).
 * While the body is still coming in it is true only after an abort.
 */
bool call_gone(struct call *c);
/*
 * A descriptor that becomes readable (POLLIN) when the client goes away; for poll(2) loops. Owned by the call: never read, never close it. Negative (ERR_)
 * when none could be made.
 */
int call_on_gone(struct call *c, struct err *e);

/* ---- the connection itself ---------------------------------------------------------------------------------------------------- */

/*
 * A connection taken off the HTTP library. The descriptor is a connected stream socket, non-blocking, close-on-exec (the flag O_NONBLOCK is shared
 * with whoever the descriptor is sent to: the receiver sets what it wants). The request has been read to its end; `early` are bytes the
 * client sent after it and that were already read: they come before anything read from fd.
 */
struct taken {
    int fd;
    void *early;
    size_t n_early;
    char *upgrade; /* value of the Upgrade header when the client asked for one ("tcp", "h2c", "websocket"), else NULL */
    bool http10;   /* no chunked coding towards this client */
    char *head;    /* header lines that belong in the reply ("Api-Version: 1.45\r\n...": those of every reply and of call_set_header) */
    void *origin;  /* listener it came from, for taken_give_back(); never touched by handlers */
};

#define TAKEN_INIT ((struct taken){.fd = -1})

/*
 * Take the connection. Any request body still unread is read and dropped (up to 256 KiB; more is ERR_INVALID). On success the call is done: the
 * handler returns 0 and owns *ret. On failure nothing has changed and an error can be answered as usual.
 */
int call_take(struct call *c, struct taken *ret, struct err *e);

enum taken_head {
    TAKEN_HIJACK, /* attach, exec start: "101 UPGRADED" with Connection: Upgrade and Upgrade: tcp when the client asked for an upgrade, else "200 OK" and,
                      whatever content_type says, the raw stream's type; the headers of an ordinary reply except for attach */
    TAKEN_H2C,     /* "101 Switching Protocols", Upgrade: h2c */
    TAKEN_CHUNKED, /* "200 OK", Transfer-Encoding: chunked (HTTP/1.0: Connection: close) and the headers of an ordinary reply */
};
/*
 * Write the head of the reply to the taken connection (all of it, waiting up to 10 s for room). content_type may be NULL. ERR_CANCELLED when the
 * client is gone. The head of a hijacked connection arrives alone: many clients (python's, node's) lose what they read together with it, so every client
 * has a second to read it before this returns. Source: architecture section 5; heads as recorded from the reference.
 */
int taken_write_head(struct taken *t, enum taken_head kind, const char *content_type, struct err *e);
/* Write a failure the way the reference does on a hijacked connection (attach): status line, Content-Type of raw streams, the text. To be closed then. */
void taken_write_failure(struct taken *t, int status, const char *message);
/* Write a whole error reply ({"message": ...}) with that status, for failures after call_take() and before the head. The connection is to be closed then. */
void taken_write_error(struct taken *t, int status, const char *message);
/* Close the descriptor, release the rest, make it TAKEN_INIT. */
void taken_done(struct taken *t);
#define _cleanup_taken_ __attribute__((cleanup(taken_done)))

#endif
