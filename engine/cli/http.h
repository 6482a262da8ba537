// SPDX-License-Identifier: Apache-2.0
/*
 * http.h - a small HTTP/1.1 client for the engine's API: one connection, one request, one reply.
 *
 * Life cycle: http_dial() → http_send() [→ http_send_chunk()... → http_send_end()] → http_head() → http_read()... → http_free().
 * After an upgraded reply (101, or 200 with a raw stream) http_read() gives the stream's bytes, http_fd() is the socket for writing and polling,
 * and http_buffered() says that bytes are waiting which poll(2) does not know of.
 * Source: RFC 9112 (messages, chunked coding), RFC 9110 section 7.8 (Upgrade). Threads: one at a time.
 */
#ifndef HATAKE_CLI_HTTP_H
#define HATAKE_CLI_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"

#define HTTP_HEAD_MAX (64u << 10)

struct http;

/* Where an engine listens. */
struct http_address {
    bool is_unix;
    char path[108];           /* of the socket */
    char name[256], port[16]; /* of a TCP address */
};

/*
 * Read unix://PATH, a bare /PATH, tcp://NAME[:PORT], http://NAME[:PORT] (port 2375 unless given; IPv6 addresses in brackets).
 * ERR_INVALID names the text.
 */
int http_parse_address(const char *host, struct http_address *ret, struct err *e);

/* Connect. ERR_UNAVAILABLE when nothing listens there: the message says so and what may be done. */
int http_dial(const char *host, struct http **ret, struct err *e);
struct http *http_free(struct http *h);
DEFINE_CLEANUP(struct http *, http_free)
#define _cleanup_http_ _cleanup_(http_freep)

enum http_send_flags {
    HTTP_UPGRADE = 1, /* ask for "Upgrade: tcp" */
    HTTP_CHUNKED = 2, /* the body follows by http_send_chunk() */
};

/* Send the request; body may be NULL. `type` is its content type. */
int http_send(struct http *h, const char *method, const char *path, const char *type, const void *body, size_t n, unsigned flags, struct err *e);
int http_send_chunk(struct http *h, const void *p, size_t n, struct err *e);
int http_send_end(struct http *h, struct err *e);

/* Read the reply's head (interim 1xx replies other than 101 are skipped) and return its status. */
int http_head(struct http *h, struct err *e);
/* Content type of the reply, or "". */
const char *http_type(const struct http *h);
/* Up to n bytes of the body with its coding removed; 0 at its end. */
ssize_t http_read(struct http *h, void *p, size_t n, struct err *e);
/* The rest of the body, appended to b. */
int http_read_all(struct http *h, struct buf *b, struct err *e);
bool http_buffered(const struct http *h);
int http_fd(const struct http *h);

#endif
