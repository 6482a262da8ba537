// SPDX-License-Identifier: Apache-2.0
/*
 * err.h - the one error object.
 *
 * Every function that can fail for a reason a person should read takes `struct err *e` as its last argument and returns 0 (or a
 * documented non-negative value) on success, a negative value on failure.
 *
 * Contract
 *  - On success `*e` is not touched. On failure it holds a kind, an errno value (0 when no system call is to blame) and a message
 *    that says what happened, to which object, and where it helps what to do.
 *  - The negative return value is -(int)kind, so it is never zero by accident and callers can switch on it.
 *  - `e` may be NULL when the caller only wants the return value.
 *  - Only engine/api maps kinds to HTTP statuses; no other folder knows about HTTP statuses.
 *  - A failing function never logs its own error: it is logged once, where it is handled.
 *
 * Life cycle: declare with `_cleanup_err_ struct err e = ERR_INIT;`, or pass on the caller's. err_done() releases the message.
 * Threads: an err object belongs to one thread at a time.
 */
#ifndef HATAKE_BASE_ERR_H
#define HATAKE_BASE_ERR_H

#include <stdarg.h>

/* Why something failed, in the domain's words. The comment names the HTTP status that engine/api gives it. */
enum err_kind {
    ERR_NONE = 0,
    ERR_INTERNAL = 1,        /* 500: ours or the machine's fault */
    ERR_INVALID = 2,         /* 400: the caller's input cannot be right */
    ERR_NOT_FOUND = 3,       /* 404 */
    ERR_CONFLICT = 4,        /* 409: right in itself, wrong in the present state */
    ERR_NOT_MODIFIED = 5,    /* 304: already in the wanted state; no body */
    ERR_UNAUTHORIZED = 6,    /* 401 */
    ERR_FORBIDDEN = 7,       /* 403 */
    ERR_UNAVAILABLE = 8,     /* 503 */
    ERR_NOT_IMPLEMENTED = 9, /* 501 */
    ERR_CANCELLED = 10,      /* 499: the client is gone, nobody reads the answer */
    ERR_DEADLINE = 11,       /* 504 */
    ERR_NO_SPACE = 12,       /* 500: disk or quota full */
    ERR_TOO_LARGE = 13,      /* 413: beyond a limit of base/limits.h */
    ERR_METHOD = 14,         /* 405 */
    _ERR_KIND_MAX,
};

struct err {
    enum err_kind kind;
    int errnum; /* errno value, or 0 */
    char *msg;  /* owned; NULL only when kind is ERR_NONE or memory ran out */
};

#define ERR_INIT ((struct err){ERR_NONE, 0, NULL})
#define _cleanup_err_ __attribute__((cleanup(err_done)))

/* Set the error (replacing an earlier one) and return -(int)kind. */
int err_set(struct err *e, enum err_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int err_setv(struct err *e, enum err_kind kind, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

/*
 * Set the error from an errno value: message is "<formatted>: <strerror>". The kind follows errnum: ENOSPC/EDQUOT give ERR_NO_SPACE, everything
 * else ERR_INTERNAL. `errnum` may be given negative (as kernel wrappers return it). Returns -(int)kind.
 */
int err_errno(struct err *e, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Out of memory, without allocating. */
int err_oom(struct err *e);

/* Put "<formatted>: " before the message already there; kind and errno stay. Returns -(int)kind. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Move `from` into `to` (releasing what `to` held); `from` becomes ERR_INIT. Returns -(int)kind. */
int err_move(struct err *to, struct err *from);

/* Message for people; never NULL. */
const char *err_msg(const struct err *e);

/* What the system says of an errno, as clients know it: in small letters. */
#define ERR_REASON_MAX 128
const char *err_reason(int errnum, char ret[ERR_REASON_MAX]);
/* Stable lower-case name of a kind ("not_found"), for logs. */
const char *err_kind_name(enum err_kind kind);

/* Release and reset to ERR_INIT. NULL is fine. */
void err_done(struct err *e);

#endif
