// SPDX-License-Identifier: Apache-2.0
#include "image/pace.h"

#include "base/clock.h"
#include "base/limits.h"

enum pace_verdict pace_look(struct pace *p, int64_t now, int64_t have, bool others_wait, size_t aside) {
    bool slow = have - p->had < LIMIT_SLOW_BYTES;

    if (p->since != 0 && others_wait && now - p->since < LIMIT_SLOW_SECONDS * NSEC_PER_SEC)
        return PACE_GOES_ON;
    if (p->since == 0 || !others_wait)
        slow = p->aside; /* nothing to judge by: it stays what it was */
    p->since = now;
    p->had = have;
    if (slow == p->aside)
        return PACE_GOES_ON;
    if (slow && aside >= LIMIT_SLOW_ASIDE)
        return PACE_IS_GIVEN_UP;
    p->aside = slow;
    return slow ? PACE_STEPS_ASIDE : PACE_COMES_BACK;
}
