// SPDX-License-Identifier: Apache-2.0
/*
 * logread.h - the logs that are files (json-file, local), reading side: tail, since, until, follow, over rotated files.
 *
 * A reader is a cursor over the records in order of writing: FILE.N (or FILE.N.gz) ... FILE.1, FILE. logread_next() gives the next record or says that there is none now;
 * with `follow` the caller waits until a logwatch says that the log has changed, and asks again. Rotation under a follower is noticed: the rest of the old file comes first.
 *
 * Cost: tail reads backwards from the end, O(records asked for); since is found by bisection over the file (times rise), O(log size); nothing is ever read whole.
 * Damaged lines (a power cut) are skipped.
 *
 * Ownership: the caller owns the reader; texts in a record live until the next call. Threads: one at a time. Never blocks but for the disk.
 */
#ifndef HATAKE_LOGDRV_LOGREAD_H
#define HATAKE_LOGDRV_LOGREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strv.h"

struct logread;

struct logread_options {
    int64_t tail;     /* last records; negative: all */
    int64_t since_ns; /* wall clock; 0: no bound */
    int64_t until_ns; /* wall clock; 0: no bound */
    bool follow;      /* the end of the file is not the end of the log */
    bool want_attrs;  /* fill attrs */
};

struct logread_record {
    bool is_stderr;
    int64_t time_ns;
    const char *text; /* as printed by the container, newline included when it had one; may hold NULs */
    size_t n;
    const struct strv *attrs; /* KEY=VALUE sorted by key; empty unless wanted */
};

/* Open the log at `path`. A file that does not exist (yet) is an empty log. */
int logread_open(const char *path, const struct logread_options *o, struct logread **ret, struct err *e);
/* 1 and a record; 0: none now (for good, when not following or `until` has passed); negative: error. */
int logread_next(struct logread *r, struct logread_record *ret, struct err *e);
/* `until` was reached, or not following and at the end: logread_next() will never give another record. */
bool logread_at_end(const struct logread *r);
/* NULL is fine. Returns NULL. */
struct logread *logread_free(struct logread *r);

/*
 * Watching many logs with one inotify descriptor (a process may have few of them). Put logwatch_fd() on an event loop and call logwatch_dispatch() when it is
 * readable: it calls fn for each watched log that has changed. Threads: one at a time (the loop's).
 */
struct logwatch;
struct logwatch_entry;
typedef void logwatch_fn(void *data);
int logwatch_new(struct logwatch **ret, struct err *e);
struct logwatch *logwatch_free(struct logwatch *w);
int logwatch_fd(const struct logwatch *w);
void logwatch_dispatch(struct logwatch *w);
/* Watch the log at `path` (its folder must exist). Entries of the same log share a kernel watch. */
int logwatch_add(struct logwatch *w, const char *path, logwatch_fn *fn, void *data, struct logwatch_entry **ret, struct err *e);
/* No more calls after this; allowed inside fn. NULL is fine; returns NULL. */
struct logwatch_entry *logwatch_remove(struct logwatch_entry *entry);

#endif
