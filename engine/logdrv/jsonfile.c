// SPDX-License-Identifier: Apache-2.0
/*
 * The json-file driver, writing side. One record is one line of JSON:
 *   {"log":"text\n","stream":"stdout","attrs":{...},"time":"2006-01-02T15:04:05.999999999Z"}
 * Escapes are those of the reference's writer (which differs from Go's encoding/json in writing a tab as \u0009).
 */
#include "base/clock.h"
#include "logdrv/logfile.h"

#define RECORD_FRAME 128 /* bytes of a record besides text and attrs, at most */

static void jsonfile_write(struct log_writer *w, enum log_stream stream, const char *p, size_t n, int64_t time_ns) {
    char *to;

    if (w->when_len == 0 || w->when_ns != time_ns) {
        w->when_len = clock_format(time_ns, w->when);
        w->when_ns = time_ns;
    }
    to = logfile_room(w, n * 6 + w->n_attrs + RECORD_FRAME);
    to = LOG_PUT(to, "{\"log\":\"");
    to = log_put_json(to, p, n);
    to = stream == LOG_STDERR ? LOG_PUT(to, "\",\"stream\":\"stderr\"") : LOG_PUT(to, "\",\"stream\":\"stdout\"");
    if (w->n_attrs) {
        to = LOG_PUT(to, ",\"attrs\":");
        to = log_put(to, w->attrs, w->n_attrs);
    }
    to = LOG_PUT(to, ",\"time\":\"");
    to = log_put(to, w->when, w->when_len);
    to = LOG_PUT(to, "\"}\n");
    logfile_added(w, to);
}

const struct log_driver log_driver_json_file = {
    .name = "json-file", .open = logfile_open, .write = jsonfile_write, .flush = logfile_flush, .close = logfile_close};
