// SPDX-License-Identifier: Apache-2.0
/*
 * logrecord.h - one line of a log file, parsed: a small reader for exactly the shapes that log files have, many times faster than a general one.
 *
 * Two shapes, told apart by the first byte. json-file: an object; unknown members are skipped. local: one byte for the stream ('o', 'e'; 'O', 'E' when the
 * text had no newline), the time in nanoseconds as 16 hexadecimal digits, then the text as it was printed, without its newline.
 * A damaged line is refused, never half used. Threads: one at a time.
 */
#ifndef HATAKE_LOGDRV_LOGRECORD_H
#define HATAKE_LOGDRV_LOGRECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/strv.h"

struct log_record {
    bool is_stderr;
    int64_t time_ns;
    struct buf text;
    struct strv attrs; /* KEY=VALUE sorted by key */
    /* The last time that was parsed: lines that follow each other mostly share all of it (they were read together), or its second. */
    char when[32];
    size_t when_n;
    int64_t when_ns, second_ns;
};

void log_record_init(struct log_record *r);
void log_record_done(struct log_record *r);
/* Parse n bytes (without the newline). */
bool log_record_parse(struct log_record *r, const char *line, size_t n, bool want_attrs);
/* Only the time. */
bool log_record_time(const char *line, size_t n, int64_t *ret_ns);

#define LOG_COMPACT_HEAD 17 /* bytes of a local record before its text */

#endif
