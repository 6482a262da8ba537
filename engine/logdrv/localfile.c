// SPDX-License-Identifier: Apache-2.0
/* The driver `local`: a line per record in the compact shape of logrecord.h; bounded and packed by what its opener asks for. */
#include "logdrv/logfile.h"
#include "logdrv/logrecord.h"

static void local_write(struct log_writer *w, enum log_stream stream, const char *p, size_t n, int64_t time_ns) {
    static const char digits[] = "0123456789abcdef";
    bool line = n > 0 && p[n - 1] == '\n';
    char *to = logfile_room(w, n + LOG_COMPACT_HEAD + 1);

    *to++ = (char)(stream == LOG_STDERR ? (line ? 'e' : 'E') : (line ? 'o' : 'O'));
    for (int shift = 60; shift >= 0; shift -= 4)
        *to++ = digits[(uint64_t)time_ns >> shift & 15];
    to = log_put(to, p, line ? n - 1 : n);
    *to++ = '\n';
    logfile_added(w, to);
}

const struct log_driver log_driver_local = {
    .name = "local", .open = logfile_open, .write = local_write, .flush = logfile_flush, .close = logfile_close};
