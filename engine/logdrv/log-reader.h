// SPDX-License-Identifier: Apache-2.0
/*
 * log-reader.h - reading a container's log back: tail, since, until, follow, across rotations. json-file.
 *
 * A reader walks from the oldest wanted record to the newest. log_reader_next() gives one record at a time; at the present end it returns 0. With
 * `follow` the caller then waits on log_reader_fd() (an inotify descriptor: readable when something may be new) and calls log_reader_next() again,
 * until it knows that the container is gone and next returns 0 once more.
 * The search for `tail` reads backwards from the end; `since` is found by bisection over the files, as records are in the order of time.
 * Damaged lines are skipped.
 *
 * Ownership: the record's pointers are valid until the next call. Threads: one at a time.
 */
#ifndef HATAKE_LOGDRV_LOG_READER_H
#define HATAKE_LOGDRV_LOG_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "logdrv/logdrv.h"

struct log_query {
    int64_t tail;         /* last n records; negative: all */
    int64_t since, until; /* wall clock ns; 0: not set. Records with since <= time <= until */
    bool follow;
    bool want[LOG_STREAMS];
};

struct log_record {
    enum log_stream stream;
    int64_t time_ns;
    const char *time; /* as it stands in the file, RFC 3339 */
    const char *line; /* text, usually with its newline; may hold any byte */
    size_t n;
    const char *attrs; /* JSON object text, or NULL */
};

struct log_reader;

/* Open <path> and its rotated siblings. A missing file is an empty log. */
int log_reader_open(const char *path, const struct log_query *q, struct log_reader **ret, struct err *e);
struct log_reader *log_reader_close(struct log_reader *r);
/* 1: *ret filled; 0: nothing more now (or `until` was passed: see log_reader_ended()); negative: error. */
int log_reader_next(struct log_reader *r, struct log_record *ret, struct err *e);
/* Nothing will ever follow: the record after `until` was seen. */
bool log_reader_ended(const struct log_reader *r);
/* To poll for more (follow); -EBADF without follow. log_reader_next() drains it. */
int log_reader_fd(const struct log_reader *r);

#endif
