// SPDX-License-Identifier: Apache-2.0
/*
 * buf.h - a growing byte buffer with a hard maximum.
 *
 * Invariants: data[len] is always 0 once anything was added (so data can be read as a C string when it holds no NUL);
 * len <= max. Failure is sticky: when memory runs out or the maximum would be passed, the buffer stays as it was, every later
 * addition is ignored, and buf_ok() is false. So a writer adds freely and checks once at the end.
 *
 * Ownership: the caller owns the struct; buf_done() releases the bytes; buf_take() hands them over.
 * Threads: one at a time.
 */
#ifndef HATAKE_BASE_BUF_H
#define HATAKE_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct buf {
    char *data;
    size_t len;
    size_t cap;
    size_t max;
    bool failed;
};

/* An empty buffer that may hold at most `limit` bytes. */
#define BUF_INIT(limit) ((struct buf){.max = (limit)})
#define _cleanup_buf_ __attribute__((cleanup(buf_done)))

void buf_done(struct buf *b);
/* Forget the contents and a failure, keep the memory. */
void buf_reset(struct buf *b);

void buf_add(struct buf *b, const void *p, size_t n);
void buf_addc(struct buf *b, char c);
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_addv(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Decimal; a good deal faster than buf_addf. */
void buf_addi(struct buf *b, int64_t v);
void buf_addu(struct buf *b, uint64_t v);
/*
 * A JSON string with its quotes, escaped as Go's encoding/json does by default: <, >, & and U+2028/9 as \u escapes; bytes that are not UTF-8
 * become U+FFFD. NULL is written as "".
 */
void buf_add_json_string(struct buf *b, const char *s);
void buf_add_json_stringn(struct buf *b, const char *s, size_t n);
/* In quotes as messages of the reference show texts: backslashes before quotes and backslashes, control bytes as \n or \x1b; what is beyond ASCII stays. */
void buf_add_quoted(struct buf *b, const char *s);

/* Room for n more bytes; NULL (and the failed flag) when there is none. Use buf_commit() after filling. */
void *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

/* Remove the first n bytes. */
void buf_consume(struct buf *b, size_t n);

static inline bool buf_ok(const struct buf *b) {
    return !b->failed;
}
/* 0, or the error behind the failed flag (ERR_TOO_LARGE or out of memory). */
int buf_check(const struct buf *b, struct err *e);
/* Contents as a C string; never NULL. */
static inline const char *buf_str(const struct buf *b) {
    return b->data ? b->data : "";
}
/* Hand the bytes over (malloc'd, NUL after them); the buffer is empty afterwards. NULL when it failed. */
char *buf_take(struct buf *b);

#endif
