// SPDX-License-Identifier: Apache-2.0
/*
 * pace.h - whether a transfer keeps its place among those that may run at a time.
 *
 * A registry that drips would hold a place for good, and six of them all the places there are. So who brings less than LIMIT_SLOW_BYTES in LIMIT_SLOW_SECONDS while
 * others wait steps aside: its transfer goes on, but does not count any more, and comes back when it is faster again. When too many are aside it is given up. The time
 * in which nobody waits is not looked at: a slow link may be as slow as it likes then, as in the reference.
 *
 * A model: knows neither clocks nor threads. Threads: the caller's lock.
 */
#ifndef HATAKE_IMAGE_PACE_H
#define HATAKE_IMAGE_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pace {
    int64_t since, had; /* monotonic ns and bytes at the beginning of what is being looked at */
    bool aside;
};

enum pace_verdict { PACE_GOES_ON, PACE_STEPS_ASIDE, PACE_COMES_BACK, PACE_IS_GIVEN_UP };

/*
 * Look again, as often as wanted. have: bytes that came in all; others_wait: somebody else could use its place; aside: how many of all have stepped aside.
 */
enum pace_verdict pace_look(struct pace *p, int64_t now, int64_t have, bool others_wait, size_t aside);

#endif
