// SPDX-License-Identifier: Apache-2.0
/* The driver `gelf`: GELF 1.1 over datagrams (packed, chunked when long) or a stream (each message ends with a NUL). */
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <zlib.h>

#include "base/clock.h"
#include "logdrv/logfile.h"
#include "logdrv/remote.h"

#define CHUNK_MAX 1420
#define CHUNK_HEAD 12
#define CHUNKS_MAX 128
#define GZIP_WINDOW (15 + 16)

/* n bytes of r->message packed into r->packed; 0 when that fails. */
static size_t pack(struct log_remote *r, size_t n) {
    z_stream z = {0};
    bool gzip = strcmp(r->format, "gzip") == 0;
    size_t out = 0;

    if (deflateInit2(&z, (int)r->level, Z_DEFLATED, gzip ? GZIP_WINDOW : 15, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return 0;
    z.next_in = (Bytef *)r->message;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)r->packed;
    z.avail_out = (uInt)r->message_max;
    if (deflate(&z, Z_FINISH) == Z_STREAM_END)
        out = z.total_out;
    deflateEnd(&z);
    return out;
}

static void send_chunks(struct log_writer *w, const char *p, size_t n) {
    size_t part = CHUNK_MAX - CHUNK_HEAD, count = (n + part - 1) / part;
    char chunk[CHUNK_MAX] = {0x1e, 0x0f};
    bool ok = count <= CHUNKS_MAX && getrandom(chunk + 2, 8, 0) == 8;

    chunk[11] = (char)count;
    for (size_t i = 0; ok && i < count; i++) {
        size_t k = i + 1 < count ? part : n - i * part;

        chunk[10] = (char)i;
        memcpy(chunk + CHUNK_HEAD, p + i * part, k);
        ok = remote_datagram(w, chunk, CHUNK_HEAD + k);
    }
    w->lost += !ok;
}

static void gelf_write(struct log_writer *w, enum log_stream stream, const char *p, size_t n, int64_t time_ns) {
    struct log_remote *r = w->remote;
    int64_t ms = time_ns / 1000000;
    const char *from = r->message;
    char *to = r->message, number[32];
    size_t digits;

    remote_keep(w, stream, p, n, time_ns);
    if (n > 0 && p[n - 1] == '\n')
        n--;
    if (n == 0)
        return; /* as the reference: a message without text is none */
    to = LOG_PUT(to, "{\"version\":\"1.1\",\"host\":\"");
    to = log_put_json(to, r->host, r->n_host);
    to = LOG_PUT(to, "\",\"short_message\":\"");
    to = log_put_json(to, p, n);
    digits = (size_t)snprintf(number, sizeof(number), "%lld.%03d", (long long)(ms / 1000), (int)(ms % 1000));
    while (number[digits - 1] == '0')
        digits--;
    digits -= number[digits - 1] == '.';
    to = LOG_PUT(to, "\",\"timestamp\":");
    to = log_put(to, number, digits);
    to = stream == LOG_STDERR ? LOG_PUT(to, ",\"level\":3") : LOG_PUT(to, ",\"level\":6");
    to = log_put(to, r->extra, r->n_extra);
    *to++ = '}';
    n = (size_t)(to - r->message);
    if (r->stream) {
        *to++ = '\0';
        remote_send(w, r->message, n + 1);
        return;
    }
    if (strcmp(r->format, "none") != 0) {
        size_t packed = pack(r, n);

        if (packed > 0) {
            from = r->packed;
            n = packed;
        }
    }
    if (n > CHUNK_MAX)
        send_chunks(w, from, n);
    else
        remote_send(w, from, n);
}

const struct log_driver log_driver_gelf = {.name = "gelf", .open = remote_open, .write = gelf_write, .flush = remote_flush, .close = remote_close};
