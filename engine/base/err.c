// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void err_done(struct err *e) {
    if (!e)
        return;
    free(e->msg);
    *e = ERR_INIT;
}

int err_setv(struct err *e, enum err_kind kind, const char *fmt, va_list ap) {
    if (e) {
        char *msg = NULL;

        /* The new message may quote the old one, so the old one goes last. */
        if (vasprintf(&msg, fmt, ap) < 0)
            msg = NULL;
        free(e->msg);
        e->kind = kind;
        e->errnum = 0;
        e->msg = msg;
    }
    return -(int)kind;
}

int err_set(struct err *e, enum err_kind kind, const char *fmt, ...) {
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = err_setv(e, kind, fmt, ap);
    va_end(ap);
    return r;
}

int err_errno(struct err *e, int errnum, const char *fmt, ...) {
    enum err_kind kind;
    va_list ap;
    char text[128];
    int r;

    if (errnum < 0)
        errnum = -errnum;
    kind = errnum == ENOSPC || errnum == EDQUOT ? ERR_NO_SPACE : ERR_INTERNAL;
    if (!e)
        return -(int)kind;
    va_start(ap, fmt);
    r = err_setv(e, kind, fmt, ap);
    va_end(ap);
    if (e->msg) {
        const char *why = strerror_r(errnum, text, sizeof(text));
        char *full = NULL;

        /* In the middle of a sentence, and as clients know these texts: without the capital letter, but "RFS specific error". */
        if (asprintf(&full, "%s: %c%s", e->msg, islower((unsigned char)why[1]) ? tolower((unsigned char)*why) : *why, *why ? why + 1 : "") >= 0) {
            free(e->msg);
            e->msg = full;
        }
    }
    e->errnum = errnum;
    return r;
}

int err_oom(struct err *e) {
    if (e) {
        free(e->msg);
        *e = (struct err){ERR_INTERNAL, ENOMEM, NULL};
    }
    return -(int)ERR_INTERNAL;
}

int err_wrap(struct err *e, const char *fmt, ...) {
    char *prefix = NULL, *full = NULL;
    va_list ap;
    int n;

    if (!e)
        return -(int)ERR_INTERNAL;
    va_start(ap, fmt);
    n = vasprintf(&prefix, fmt, ap);
    va_end(ap);
    if (n >= 0) {
        if (asprintf(&full, "%s: %s", prefix, err_msg(e)) >= 0) {
            free(e->msg);
            e->msg = full;
        }
        free(prefix);
    }
    return -(int)(e->kind == ERR_NONE ? ERR_INTERNAL : e->kind);
}

int err_move(struct err *to, struct err *from) {
    int r = -(int)(from->kind == ERR_NONE ? ERR_INTERNAL : from->kind);

    if (to) {
        free(to->msg);
        *to = *from;
    } else {
        free(from->msg);
    }
    *from = ERR_INIT;
    return r;
}

const char *err_msg(const struct err *e) {
    if (!e)
        return "unknown error";
    if (e->msg)
        return e->msg;
    if (e->errnum == ENOMEM)
        return "out of memory";
    return e->kind == ERR_NONE ? "no error" : "out of memory while describing an error";
}

const char *err_kind_name(enum err_kind kind) {
    static const char *const names[_ERR_KIND_MAX] = {
        [ERR_NONE] = "none",
        [ERR_INTERNAL] = "internal",
        [ERR_INVALID] = "invalid",
        [ERR_NOT_FOUND] = "not_found",
        [ERR_CONFLICT] = "conflict",
        [ERR_NOT_MODIFIED] = "not_modified",
        [ERR_UNAUTHORIZED] = "unauthorized",
        [ERR_FORBIDDEN] = "forbidden",
        [ERR_UNAVAILABLE] = "unavailable",
        [ERR_NOT_IMPLEMENTED] = "not_implemented",
        [ERR_CANCELLED] = "cancelled",
        [ERR_DEADLINE] = "deadline",
        [ERR_NO_SPACE] = "no_space",
        [ERR_TOO_LARGE] = "too_large",
        [ERR_METHOD] = "method",
    };

    if ((unsigned)kind >= _ERR_KIND_MAX)
        return "unknown";
    return names[kind];
}

const char *err_reason(int errnum, char ret[ERR_REASON_MAX]) {
    const char *text = strerrordesc_np(errnum);

    snprintf(ret, ERR_REASON_MAX, "%s", text ? text : "failed");
    for (char *p = ret; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    return ret;
}
