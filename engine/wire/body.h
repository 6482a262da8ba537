// SPDX-License-Identifier: Apache-2.0
/*
 * body.h - where the body of a request ends: by its announced length, or in chunks (RFC 9112 section 7.1).
 *
 * For whoever reads a request's body straight from its connection: body_frame_want() says how much may be read without reading into the next request, and
 * body_frame_next() finds the content in what was read. Strict: a size of 1 to 15 hexadecimal digits, lines that end with CR LF, extensions and trailers
 * skipped up to BODY_LINES_MAX bytes of each. No memory, no system calls; a frame is a plain value that may be copied and sent to another process.
 */
#ifndef HATAKE_WIRE_BODY_H
#define HATAKE_WIRE_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define BODY_LINES_MAX 8192U

struct body_frame {
    bool chunked, ended;
    int at;         /* place in the grammar of chunks */
    unsigned count; /* digits of a size; bytes of an extension or of the trailers */
    uint64_t left;  /* content that follows: of the body, or of the chunk */
};

/* A body and where it comes from; early: what was received before (not owned). */
struct body_lent {
    int fd;
    struct body_frame frame;
    const void *early;
    size_t n_early;
};

/* length: bytes of the body; negative: it comes in chunks. */
void body_frame_init(struct body_frame *f, int64_t length);
/* How many bytes may be read now: at least 1 before the end, at most max, and none that come after the body. */
size_t body_frame_want(const struct body_frame *f, size_t max);
/*
 * Go through *n bytes at *p, which both move. The length of the next run of content and where it begins, inside of those bytes; 0 when they are used up or
 * the body has ended (f->ended); ERR_INVALID when its framing is broken.
 */
ssize_t body_frame_next(struct body_frame *f, const unsigned char **p, size_t *n, const unsigned char **ret_run, struct err *e);

#endif
