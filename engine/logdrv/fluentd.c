// SPDX-License-Identifier: Apache-2.0
/* The driver `fluentd`: the forward protocol in message mode, [tag, time, record, {}] in MessagePack. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "logdrv/logfile.h"
#include "logdrv/remote.h"

#define BASE_PAIRS 2  /* source, log; container_id and container_name come with the daemon's pairs */
#define CHUNK 24      /* characters that name a message for its acknowledgement */
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

/* A text of MessagePack at *at, which moves on. -ENODATA: it goes on behind the end; -EBADMSG: something else. */
static int take_str(const char **at, const char *end, const char **ret, size_t *ret_n) {
    const unsigned char *p = (const unsigned char *)*at;
    size_t left = (size_t)(end - *at), head = 1;

    if (left == 0)
        return -ENODATA;
    if ((p[0] & 0xe0) == 0xa0) {
        *ret_n = p[0] & 0x1f;
    } else if (p[0] == 0xd9) {
        head = 2;
        if (left < head)
            return -ENODATA;
        *ret_n = p[1];
    } else {
        return -EBADMSG;
    }
    if (left - head < *ret_n)
        return -ENODATA;
    *ret = *at + head;
    *at += head + *ret_n;
    return 0;
}

/* {"ack": chunk}, where the message ends in its chunk. */
static int fluentd_answered(const char *message, size_t n_message, const char *p, size_t n) {
    const char *end = p + n, *key, *value;
    size_t n_key, n_value;
    int pairs, k;

    if (n == 0)
        return 0;
    pairs = (unsigned char)*p - 0x80;
    if (pairs < 1 || pairs > 15)
        return -EBADMSG;
    for (p++; pairs > 0; pairs--) {
        k = take_str(&p, end, &key, &n_key);
        if (k == 0)
            k = take_str(&p, end, &value, &n_value);
        if (k < 0)
            return k == -ENODATA ? 0 : k;
        if (n_key == 3 && memcmp(key, "ack", 3) == 0)
            return n_value == CHUNK && memcmp(value, message + n_message - CHUNK, CHUNK) == 0 ? 1 : -EBADMSG;
    }
    return -EBADMSG;
}

/* The option that asks for an acknowledgement: the message's last bytes are its chunk, 16 random bytes in base64. */
static char *put_chunk(char *to) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char random[18] = {0};
    char id[ID_LEN + 1];

    id_new(id);
    id[2 * 16] = 0;
    hex_decode(id, random, 16);
    *to++ = (char)0x81;
    to = PUT_STR(to, "chunk");
    *to++ = (char)(0xa0 | CHUNK);
    for (size_t i = 0; i < sizeof(random); i += 3) {
        uint32_t bits = (uint32_t)random[i] << 16 | (uint32_t)random[i + 1] << 8 | random[i + 2];

        for (int shift = 18; shift >= 0; shift -= 6)
            *to++ = digits[bits >> shift & 63];
    }
    to[-1] = to[-2] = '='; /* two of the 18 bytes are none */
    return to;
}

static int fluentd_open(struct log_writer *w, struct err *e) {
    int r = remote_open(w, e);

    if (r >= 0 && w->remote->ack)
        w->remote->answered = fluentd_answered;
    return r;
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
    if (r->ack)
        to = put_chunk(to);
    else
        *to++ = (char)0x80;
    remote_send(w, r->message, (size_t)(to - r->message));
}

const struct log_driver log_driver_fluentd = {
    .name = "fluentd", .open = fluentd_open, .write = fluentd_write, .flush = remote_flush, .close = remote_close};
