// SPDX-License-Identifier: Apache-2.0
/* The driver `fluentd`: the forward protocol in message mode, [tag, time, record, {}] in MessagePack. */
#include <stdio.h>

#include "base/clock.h"
#include "logdrv/logfile.h"
#include "logdrv/remote.h"

#define BASE_PAIRS 2  /* source, log; container_id and container_name come with the daemon's pairs */
#define PIECE_PAIRS 4 /* partial_message, partial_id, partial_ordinal, partial_last */

static char *put_u32(char *to, uint32_t v) {
    for (int shift = 24; shift >= 0; shift -= 8)
        *to++ = (char)(v >> shift);
    return to;
}

static char *put_str(char *to, const char *s, size_t n) {
    if (n < 32) {
        *to++ = (char)(0xa0 | n);
    } else if (n < 256) {
        *to++ = (char)0xd9;
        *to++ = (char)n;
    } else {
        *to++ = (char)0xda;
        *to++ = (char)(n >> 8);
        *to++ = (char)n;
    }
    return log_put(to, s, n);
}
#define PUT_STR(to, literal) put_str(to, literal, sizeof(literal) - 1)

static char *put_time(const struct log_remote *r, char *to, int64_t time_ns) {
    if (r->precise) { /* the EventTime extension */
        *to++ = (char)0xd7;
        *to++ = 0;
        to = put_u32(to, (uint32_t)(time_ns / NSEC_PER_SEC));
        return put_u32(to, (uint32_t)(time_ns % NSEC_PER_SEC));
    }
    *to++ = (char)0xd2;
    return put_u32(to, (uint32_t)(time_ns / NSEC_PER_SEC));
}

static char *put_piece(const struct remote_piece *p, bool last, char *to) {
    char number[24];
    int n = snprintf(number, sizeof(number), "%llu", (unsigned long long)p->ordinal);

    to = PUT_STR(to, "partial_message");
    to = PUT_STR(to, "true");
    to = PUT_STR(to, "partial_id");
    to = put_str(to, p->id, ID_LEN);
    to = PUT_STR(to, "partial_ordinal");
    to = put_str(to, number, (size_t)n);
    to = PUT_STR(to, "partial_last");
    return last ? PUT_STR(to, "true") : PUT_STR(to, "false");
}

static void fluentd_write(struct log_writer *w, enum log_stream stream, const char *p, size_t n, int64_t time_ns) {
    struct log_remote *r = w->remote;
    bool line = n > 0 && p[n - 1] == '\n';
    const struct remote_piece *piece = remote_piece(r, stream, line);
    uint32_t pairs = (uint32_t)(BASE_PAIRS + r->pairs + (piece ? PIECE_PAIRS : 0));
    char *to = r->message;

    remote_keep(w, stream, p, n, time_ns);
    *to++ = (char)0x94;
    to = put_str(to, r->tag, r->n_tag);
    to = put_time(r, to, time_ns);
    *to++ = (char)0xde;
    *to++ = (char)(pairs >> 8);
    *to++ = (char)pairs;
    to = log_put(to, r->extra, r->n_extra);
    to = PUT_STR(to, "source");
    to = stream == LOG_STDERR ? PUT_STR(to, "stderr") : PUT_STR(to, "stdout");
    to = PUT_STR(to, "log");
    to = put_str(to, p, line ? n - 1 : n);
    if (piece)
        to = put_piece(piece, line, to);
    *to++ = (char)0x80;
    remote_send(w, r->message, (size_t)(to - r->message));
}

const struct log_driver log_driver_fluentd = {
    .name = "fluentd", .open = remote_open, .write = fluentd_write, .flush = remote_flush, .close = remote_close};
