// SPDX-License-Identifier: Apache-2.0
/*
 * moment.h - lengths of time and moments as people write them to the Engine API.
 *
 * Purpose: health checks, log options and prune filters take durations in the form "1h30m"; filters take a moment in one of several forms. Both are read
 * in one place, with the error texts that clients know. Threads: any (the time zone is read by localtime_r(3)).
 */
#ifndef HATAKE_BASE_MOMENT_H
#define HATAKE_BASE_MOMENT_H

#include <stdint.h>

#include "base/err.h"

/*
 * A duration: numbers with a unit (ns, us, µs, ms, s, m, h), added up, with an optional sign before them: "300ms", "-1.5h", "2h45m"; also "0".
 * Returns 0 with nanoseconds in *ret, -EINVAL when the text is none or too large for 64 bits.
 */
int duration_parse(const char *text, int64_t *ret);

/* The same with the error "time: invalid duration "..."" (ERR_INVALID) that clients know. */
int duration_read(const char *text, int64_t *ret, struct err *e);

/*
 * A moment: a duration before `now_ns`, down to the whole second as the reference has it; seconds since 1970, with up to nine digits of a fraction; or a date, "2006-01-02", with or without "T15:04:05"
 * from the right and with or without "Z" or "+01:00" (without: in the machine's time zone).
 * Returns 0 with wall-clock nanoseconds in *ret, or ERR_INVALID with a text that says which part is wrong.
 */
int moment_parse(const char *text, int64_t now_ns, int64_t *ret, struct err *e);

#endif
