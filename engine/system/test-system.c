// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"
#include "base/str.h"
#include "base/test.h"
#include "system/system.h"

TEST(times_are_seconds_with_a_fraction) {
    _cleanup_err_ struct err e = ERR_INIT;
    int64_t t = -1;

    CHECK_INT(system_parse_time("", &t, &e), 0);
    CHECK_INT(t, 0);
    CHECK_INT(system_parse_time("1700000000.5", &t, &e), 0);
    CHECK_INT(t, INT64_C(1700000000) * NSEC_PER_SEC + 500000000);
    CHECK_INT(system_parse_time("1.0000000019", &t, &e), 0);
    CHECK_INT(t, NSEC_PER_SEC + 1);
    CHECK_INT(system_parse_time("abc", &t, &e), -ERR_INTERNAL);
    CHECK_STR(err_msg(&e), "strconv.ParseInt: parsing \"abc\": invalid syntax");
    CHECK_INT(system_parse_time("99999999999999999999", &t, &e), -ERR_INTERNAL);
    CHECK_STR(err_msg(&e), "strconv.ParseInt: parsing \"99999999999999999999\": value out of range");
}

TEST(facts_are_there) {
    struct system_facts f = {0};

    CHECK_INT(system_facts_read(&f, NULL), 0);
    CHECK(f.cpus > 0);
    CHECK(f.memory_bytes > 0);
    CHECK(!str_empty(f.operating_system));
    CHECK(!str_empty(f.go_arch));
    system_facts_done(&f);
}
