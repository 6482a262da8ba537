// SPDX-License-Identifier: Apache-2.0
/* Transfers that are too slow for the place they hold, on a clock of the test's own. */
#include "base/clock.h"
#include "base/limits.h"
#include "base/test.h"
#include "image/pace.h"

#define WINDOW (LIMIT_SLOW_SECONDS * NSEC_PER_SEC)

TEST(who_drips_while_others_wait_steps_aside) {
    struct pace p = {0};
    int64_t now = 5 * WINDOW, have = 0;

    CHECK_INT(pace_look(&p, now, have, true, 0), PACE_GOES_ON); /* the first look only begins */
    for (int i = 1; i < LIMIT_SLOW_SECONDS; i++)
        CHECK_INT(pace_look(&p, now + i * NSEC_PER_SEC, ++have, true, 0), PACE_GOES_ON);
    CHECK_INT(pace_look(&p, now + WINDOW, ++have, true, 0), PACE_STEPS_ASIDE);
    CHECK_INT(pace_look(&p, now + 2 * WINDOW, ++have, true, 1), PACE_GOES_ON); /* told once */
    CHECK_INT(pace_look(&p, now + 3 * WINDOW, have + LIMIT_SLOW_BYTES, true, 1), PACE_COMES_BACK);
    CHECK_INT(pace_look(&p, now + 4 * WINDOW, have + 2 * LIMIT_SLOW_BYTES, true, 0), PACE_GOES_ON);
}

TEST(time_in_which_nobody_waits_does_not_count) {
    struct pace p = {0};
    int64_t now = WINDOW;

    for (int i = 0; i < 20; i++)
        CHECK_INT(pace_look(&p, now += WINDOW, 0, false, 0), PACE_GOES_ON);
    CHECK_INT(pace_look(&p, now + WINDOW - 1, 0, true, 0), PACE_GOES_ON);
    CHECK_INT(pace_look(&p, now + WINDOW, 0, true, 0), PACE_STEPS_ASIDE);
    CHECK_INT(pace_look(&p, now + 9 * WINDOW, 0, false, 1), PACE_GOES_ON); /* what stepped aside stays there */
    CHECK(p.aside);
}

TEST(when_too_many_are_aside_the_next_one_is_given_up) {
    struct pace p = {0};

    CHECK_INT(pace_look(&p, WINDOW, 0, true, LIMIT_SLOW_ASIDE), PACE_GOES_ON);
    CHECK_INT(pace_look(&p, 2 * WINDOW, LIMIT_SLOW_BYTES, true, LIMIT_SLOW_ASIDE), PACE_GOES_ON);
    CHECK_INT(pace_look(&p, 3 * WINDOW, LIMIT_SLOW_BYTES + 1, true, LIMIT_SLOW_ASIDE), PACE_IS_GIVEN_UP);
}
