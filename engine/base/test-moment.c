// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/moment.h"
#include "base/test.h"

TEST(durations_are_numbers_with_units) {
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {{"0", 0},
                {"1h30m", INT64_C(5400000000000)},
                {"1.5h", INT64_C(5400000000000)},
                {"-1h", INT64_C(-3600000000000)},
                {"+2s", 2000000000},
                {"1ms", 1000000},
                {"1us", 1000},
                {"1\xc2\xb5s", 1000},
                {".5s", 500000000},
                {"1.s", 1000000000},
                {"3ns", 3},
                {"1h0m1.5s", INT64_C(3601500000000)}};
    static const char *const bad[] = {"", "-", "1", "h", "1d", " 1h", "1h ", "1h 1e3", "0x10", ".s", "1.2.3s", "9999999999999999h", "1e3s", "--1s"};
    int64_t ns;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        ns = -1;
        CHECK_INT(duration_parse(good[i].text, &ns), 0);
        CHECK(ns == good[i].ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_INT(duration_parse(bad[i], &ns), -EINVAL);
}

TEST(moments_are_durations_seconds_or_dates) {
    static const int64_t now = INT64_C(1700000000) * NSEC_PER_SEC;
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"10m", now - 600 * NSEC_PER_SEC},
        {"-1h", now + 3600 * NSEC_PER_SEC},
        {"0", now},
        {"10", 10 * NSEC_PER_SEC},
        {"10.5", 10500000000},
        {"10.000000001", 10000000001},
        {"10.0000000019", 10000000001},
        {"99999999999999", INT64_MAX},
        {"1970-01-02", 86400 * NSEC_PER_SEC},
        {"1970-01-02Z", 86400 * NSEC_PER_SEC},
        {"1970-01-02T01", 90000 * NSEC_PER_SEC},
        {"1970-01-02T1:02", 90120 * NSEC_PER_SEC},
        {"1970-01-02T01:02:03", 90123 * NSEC_PER_SEC},
        {"1970-01-02T01:02:03.25Z", 90123 * NSEC_PER_SEC + 250000000},
        {"1970-01-02T01:02:03+01:00", 86523 * NSEC_PER_SEC},
        {"1970-01-02T01:02:03.5-00:30", 91923 * NSEC_PER_SEC + 500000000},
        {"1972-02-29", 789 * 86400 * NSEC_PER_SEC},
    };

    setenv("TZ", "UTC0", 1);
    tzset();
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t ns = -1;

        CHECK_INT(moment_parse(good[i].text, now, &ns, NULL), 0);
        if (ns != good[i].ns)
            CHECK_STR(good[i].text, "another moment");
    }
    setenv("TZ", "XYZ-2", 1);
    tzset();
    int64_t ns = 0;
    CHECK_INT(moment_parse("1970-01-02", now, &ns, NULL), 0);
    CHECK(ns == (86400 - 7200) * NSEC_PER_SEC);
    unsetenv("TZ");
    tzset();
}

TEST(what_is_no_moment_is_explained) {
    static const char *const bad[][2] = {
        {"x", "failed to parse value as time or duration: \"x\""},
        {"", "failed to parse value as time or duration: \"\""},
        {"12.", "failed to parse value as time or duration: \"12.\""},
        {"12.34.56", "failed to parse value as time or duration: \"12.34.56\""},
        {"9999999999999999999999", "failed to parse value as time or duration: \"9999999999999999999999\""},
        {"2020-01", "parsing time \"2020-01\" as \"2006-01-02\": cannot parse \"\" as \"-\""},
        {"-5", "parsing time \"-5\" as \"2006-01-02\": cannot parse \"-5\" as \"2006\""},
        {"2020-1-1", "parsing time \"2020-1-1\" as \"2006-01-02\": cannot parse \"1-1\" as \"01\""},
        {"2020-13-01", "parsing time \"2020-13-01\": month out of range"},
        {"2020-02-30", "parsing time \"2020-02-30\": day out of range"},
        {"2020-01-00", "parsing time \"2020-01-00\": day out of range"},
        {"2020-01-01T24:00:00Z", "parsing time \"2020-01-01T24:00:00Z\": hour out of range"},
        {"2020-01-01T00:60", "parsing time \"2020-01-01T00:60\": minute out of range"},
        {"2020-01-01T00:00:61Z", "parsing time \"2020-01-01T00:00:61Z\": second out of range"},
        {"2020-01-01T00:00:00+25:00", "parsing time \"2020-01-01T00:00:00+25:00\": time zone offset hour out of range"},
        {"2020-01-01 00:00:00", "parsing time \"2020-01-01 00:00:00\": extra text: \" 00:00:00\""},
        {"2020-01-01T", "parsing time \"2020-01-01T\" as \"2006-01-02T15\": cannot parse \"\" as \"15\""},
        {"2020-01-01TZ", "parsing time \"2020-01-01TZ\" as \"2006-01-02T15Z07:00\": cannot parse \"Z\" as \"15\""},
        {"2020-01-01T00:00:00+0100",
         "parsing time \"2020-01-01T00:00:00+0100\" as \"2006-01-02T15:04Z07:00\": cannot parse \":00+0100\" as \"Z07:00\""},
        {"2021-02-29T01:02:03.Z",
         "parsing time \"2021-02-29T01:02:03.Z\" as \"2006-01-02T15:04:05.999999999Z07:00\": cannot parse \".Z\" as \"Z07:00\""},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        int64_t ns = 7;

        CHECK_INT(moment_parse(bad[i][0], 0, &ns, &e), -ERR_INVALID);
        CHECK_STR(err_msg(&e), bad[i][1]);
        CHECK(ns == 7);
    }
}
