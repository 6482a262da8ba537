// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "base/test.h"
#include "image/words.h"

static char *const env[] = {"A=1", "P=/usr/bin", "F=/a/b.tar.gz", "EMPTY=", "A=second", "U=\xc3\xa4\xc3\xb6\xff", "S=*a?b/c"};

TEST(words_end_at_blanks_outside_quotes) {
    const char *at = " one  \"t w o\" th\\ ree 'fo ur'x ";
    static const char *const want[] = {"one", "\"t w o\"", "th\\ ree", "'fo ur'x"};

    for (size_t i = 0; i < ELEMENTSOF(want); i++) {
        _cleanup_free_ char *w = words_next(&at, '\\');

        REQUIRE(w);
        CHECK_STR(w, want[i]);
    }
    CHECK(!words_next(&at, '\\'));
}

/* A matcher that tries each place for each asterisk would not come to an end. */
TEST(words_are_cut_in_bounded_time) {
    static const char *const how[] = {"#", "##", "%", "%%", "/", "//"};
    _cleanup_buf_ struct buf value = BUF_INIT(MIB(1)), stars = BUF_INIT(MIB(1));
    _cleanup_err_ struct err e = ERR_INIT;
    char *word, *got = NULL;

    buf_adds(&value, "A=");
    for (size_t i = 0; i < 100000; i++)
        buf_addc(&value, 'a');
    for (size_t i = 0; i < 1000; i++)
        buf_adds(&stars, "*a");
    for (size_t i = 0; i < ELEMENTSOF(how); i++) {
        word = str_printf("${A%s%s*b*a%s}", how[i], buf_str(&stars), *how[i] == '/' ? "/" : "");
        REQUIRE(word && words_expand(word, '\\', &value.data, 1, &got, NULL) == 0);
        CHECK_STR(got, buf_str(&value) + 2);
        free(word);
        free(got);
    }
    word = str_printf("${A#%s%s}", buf_str(&stars), buf_str(&stars));
    REQUIRE(word);
    CHECK_INT(words_expand(word, '\\', &value.data, 1, &got, &e), -ERR_INVALID);
    free(word);
}

TEST(words_expand_as_in_a_dockerfile) {
    static const struct {
        const char *word, *want;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"$A", "1"},
        {"${A}2", "12"},
        {"$P:$P", "/usr/bin:/usr/bin"},
        {"$NONE", ""},
        {"$A_", ""},
        {"$", "$"},
        {"a$ b$.", "a$ b$."},
        {"$1x", "x"},
        {"\\$A", "$A"},
        {"'$A'", "$A"},
        {"\"$A\"", "1"},
        {"\"a\\b\\$A\\\"\\\\\"", "a\\b$A\"\\"},
        {"a\\ b", "a b"},
        {"end\\", "end"},
        {"${NONE:-x}${NONE-y}", "xy"},
        {"${EMPTY:-x}${EMPTY-y}", "x"},
        {"${A:+y}${NONE:+z}${EMPTY:+q}${EMPTY+r}", "yr"},
        {"${NONE:-${A}b}", "1b"},
        {"${NONE:-\"a b\"}", "a b"},
        {"${A:?no}", "1"},
        {"${F#*/}|${F##*/}", "a/b.tar.gz|b.tar.gz"},
        {"${F%.*}|${F%%.*}", "/a/b.tar|/a/b"},
        {"${F/a/xx}|${F//a/xx}", "/xx/b.tar.gz|/xx/b.txxr.gz"},
        {"${F//?b/}", "/a.tar.gz"},
        {"${F#*}|${F##*}|${F%*}|${F%%*}", "/a/b.tar.gz||/a/b.tar.gz|"},
        {"${F#?}|${F%?}|${F##*?a?*b}|${F%%a*r*}", "a/b.tar.gz|/a/b.tar.g|.tar.gz|/"},
        {"${F/a*./x}|${F//a*r/x}|${F//*/x}|${F//\\\\*/x}", "/xgz|/x.gz|x|/a/b.tar.gz"},
        {"${F#}|${F%%}|${A///x}|${EMPTY///x}", "/a/b.tar.gz|/a/b.tar.gz|1|"},
        {"${F#none}${F%none}", "/a/b.tar.gz/a/b.tar.gz"},
        {"${U#?}|${U%?}|${U/?/q}|${U//?/q}|${U#??}|${U%%\xc3\xb6*}", "\xc3\xb6\xff|\xc3\xa4\xc3\xb6|q\xc3\xb6\xff|qqq|\xff|\xc3\xa4"},
        {"${S/\\*/q}|${S/\\?/q}|${S//\\//q}|${S/\\}/q}", "qa?b/c|*aqb/c|*a?bqc|*a?b/c"},
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_free_ char *got = NULL;

        REQUIRE(words_expand(cases[i].word, '\\', env, ELEMENTSOF(env), &got, NULL) == 0);
        CHECK_STR(got, cases[i].want);
    }
}

TEST(words_that_do_not_end_are_refused) {
    static const struct {
        const char *word, *why;
    } cases[] = {
        {"${}", "failed to process \"${}\": syntax error: bad substitution"},
        {"${A", "failed to process \"${A\": unsupported modifier (\xef\xbf\xbd) in substitution"},
        {"${A:x}", "failed to process \"${A:x}\": unsupported modifier (:x) in substitution"},
        {"${A:-x", "failed to process \"${A:-x\": syntax error: missing '}'"},
        {"\"a", "failed to process \"\\\"a\": unexpected end of statement while looking for matching double-quote"},
        {"'a", "failed to process \"'a\": unexpected end of statement while looking for matching single-quote"},
        {"${A#${N:-\"}", "failed to process \"${A#${N:-\\\"}\": unexpected end of statement while looking for matching double-quote"},
        {"${N:?}", "failed to process \"${N:?}\": N: is not allowed to be unset"},
        {"${A/x}", "failed to process \"${A/x}\": syntax error: missing '/' in ${}"},
        {"${A/x", "failed to process \"${A/x\": syntax error: missing '/' in ${}"},
        {"${A#\\.}", "failed to process \"${A#\\\\.}\": invalid pattern (\\.) in substitution: invalid escape '\\.'"},
        {"${N:?gone}", "failed to process \"${N:?gone}\": N: gone"},
    };
    char deep[4 * 40 + 2] = "";

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        char *got = NULL;

        CHECK_INT(words_expand(cases[i].word, '\\', env, ELEMENTSOF(env), &got, &e), -ERR_INVALID);
        CHECK_STR(err_msg(&e), cases[i].why);
    }
    for (size_t i = 0; i < 40; i++)
        memcpy(deep + 4 * i, "${N-", 5);
    CHECK_INT(words_expand(deep, '\\', env, ELEMENTSOF(env), &(char *){NULL}, NULL), -ERR_INVALID);
}
