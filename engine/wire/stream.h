// SPDX-License-Identifier: Apache-2.0
/*
 * stream.h - the writing end of a taken connection on the loop: bounded queue, framing, notice of disconnect.
 *
 * Purpose: events, logs -f, wait, stats for thousands of clients without a thread each. The producer writes whole pieces; what the socket
 * does not take at once is queued. A queue that passes its bound means a client that does not read: it is dropped (slow readers cost only
 * themselves), unless the producer looks at stream_queued() and waits for on_drain.
 *
 * Threads: all functions on the loop's thread (see loop.h); stream_new() as well. Use loop_post() from elsewhere.
 * Life cycle: stream_new (takes the struct taken), stream_write..., then stream_end (sends what is queued, then ends the reply) or stream_free
 * at any time. on_gone is called once, from the loop, when the client goes away or its queue overflows: inside it (or later) call stream_free.
 * After stream_end() no callback follows and the stream frees itself.
 */
#ifndef HATAKE_WIRE_STREAM_H
#define HATAKE_WIRE_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "wire/call.h"

struct loop;
struct stream;

enum stream_framing {
    STREAM_RAW,     /* bytes as they are (hijacked streams) */
    STREAM_CHUNKED, /* chunked transfer coding; each stream_write is one chunk. Falls back to raw for HTTP/1.0 clients */
};

struct stream_handlers {
    void (*on_gone)(struct stream *s, void *data);  /* client gone, or too slow; never NULL */
    void (*on_drain)(struct stream *s, void *data); /* the queue has become empty after having held something; may be NULL */
};

/*
 * Start on a taken connection whose head has been written (taken_write_head). Takes over *t (TAKEN_INIT afterwards) on success. max_queue: bytes (0: 256 KiB).
 * A client that half-closes counts as gone for STREAM_CHUNKED, and not for STREAM_RAW.
 */
int stream_new(struct loop *l, struct taken *t, enum stream_framing framing, size_t max_queue, const struct stream_handlers *h, void *data,
               struct stream **ret, struct err *e);
/* Send or queue; one piece is never split by another. ERR_CANCELLED after the client has gone, ERR_TOO_LARGE (and on_gone soon) when the bound is passed. */
int stream_write(struct stream *s, const void *p, size_t n, struct err *e);
/* The same for the first of several pieces: it waits for the stream_write() or stream_send() that follows before the thread returns to the loop. */
int stream_add(struct stream *s, const void *p, size_t n, struct err *e);
/* Send what was added. */
int stream_send(struct stream *s, struct err *e);
/* Bytes waiting in the queue. */
size_t stream_queued(const struct stream *s);
/* Finish: the rest is sent in the background (at most 30 s), the connection then serves further requests or is closed. */
void stream_end(struct stream *s);
/* Drop at once; closes the connection. NULL is fine; returns NULL. */
struct stream *stream_free(struct stream *s);

#endif
