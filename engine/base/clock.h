// SPDX-License-Identifier: Apache-2.0
/*
 * clock.h - time: wall clock in nanoseconds since 1970 (UTC), and its text forms. Any thread.
 */
#ifndef HATAKE_BASE_CLOCK_H
#define HATAKE_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define NSEC_PER_SEC INT64_C(1000000000)
#define NSEC_PER_MSEC INT64_C(1000000)
#define CLOCK_TEXT_MAX 40 /* room for any form below with its NUL */

/* Go's zero time, "0001-01-01T00:00:00Z", as our value: "never". */
#define CLOCK_ZERO INT64_MIN

int64_t clock_wall_ns(void);   /* CLOCK_REALTIME */
int64_t clock_mono_ns(void);   /* CLOCK_MONOTONIC */
int64_t clock_thread_ns(void); /* CLOCK_THREAD_CPUTIME_ID: what this thread has had of the processor */

/* RFC 3339 with up to 9 fraction digits, trailing zeros cut, 'Z' (Go's RFC3339Nano in UTC). CLOCK_ZERO gives the zero time. Returns its length. */
size_t clock_format(int64_t wall_ns, char ret[CLOCK_TEXT_MAX]);
/* The same with all 9 digits (log lines with timestamps). */
size_t clock_format_full(int64_t wall_ns, char ret[CLOCK_TEXT_MAX]);
/* Parse RFC 3339, fraction of any length, offset or Z. 0 or ERR_INVALID. */
int clock_parse(const char *s, int64_t *ret_wall_ns, struct err *e);

#endif
