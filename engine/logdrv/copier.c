// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "logdrv/logdrv.h"

static void emit(struct log_copier *c, struct log_writer *w, const char *p, size_t n, bool ends_line, int64_t now_ns) {
    int64_t at = c->in_partial ? c->partial_ns : now_ns;

    w->driver->write(w, c->stream, p, n, at);
    if (!ends_line && !c->in_partial)
        c->partial_ns = now_ns;
    c->in_partial = !ends_line;
}

/* Add to what is held; true when that is now a full piece. */
static size_t hold(struct log_copier *c, const char *p, size_t n) {
    size_t room = LIMIT_LOG_LINE - c->n, take = n < room ? n : room;

    memcpy(c->held + c->n, p, take);
    c->n += take;
    return take;
}

void log_copier_feed(struct log_copier *c, struct log_writer *w, const char *p, size_t n, int64_t now_ns) {
    while (n > 0) {
        size_t room = LIMIT_LOG_LINE - c->n, look = n < room ? n : room;
        const char *nl = memchr(p, '\n', look);
        size_t used = nl ? (size_t)(nl - p) + 1 : look;

        if (nl && c->n == 0) {
            emit(c, w, p, used, true, now_ns); /* the usual case: a whole line, not copied */
        } else if (nl) {
            /* The piece is full and its newline comes right after: room for it is kept by emitting the newline with the line's last piece. */
            hold(c, p, used);
            emit(c, w, c->held, c->n, true, now_ns);
            c->n = 0;
        } else if (c->n == 0 && look == LIMIT_LOG_LINE) {
            emit(c, w, p, look, false, now_ns);
        } else {
            hold(c, p, look);
            if (c->n == LIMIT_LOG_LINE) {
                emit(c, w, c->held, c->n, false, now_ns);
                c->n = 0;
            }
        }
        p += used;
        n -= used;
    }
}

void log_copier_end(struct log_copier *c, struct log_writer *w, int64_t now_ns) {
    if (c->n > 0)
        emit(c, w, c->held, c->n, true, now_ns);
    c->n = 0;
    c->in_partial = false;
}
