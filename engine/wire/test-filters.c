// SPDX-License-Identifier: Apache-2.0
#include "base/test.h"
#include "wire/filters.h"

TEST(filters_take_both_forms) {
    _cleanup_filters_ struct filters a = FILTERS_INIT, b = FILTERS_INIT;
    _cleanup_strv_ struct strv labels = STRV_INIT;

    CHECK_INT(filters_parse(&a, "{\"label\":{\"a=b\":true,\"c\":true},\"name\":{\"^x.z$\":true}}", NULL), 0);
    CHECK_INT(filters_parse(&b, "{\"status\":[\"exited\",\"dead\"]}", NULL), 0);
    strv_add(&labels, "a=b");
    CHECK(!filters_kv(&a, "label", &labels));
    strv_add(&labels, "c=");
    CHECK(filters_kv(&a, "label", &labels));
    CHECK(filters_match(&a, "name", "xyz"));
    CHECK(!filters_match(&a, "name", "xyzz"));
    CHECK(filters_exact(&b, "status", "dead"));
    CHECK(!filters_exact(&b, "status", "running"));
    CHECK(filters_exact(&b, "other", "anything"));
}

TEST(filters_match_expressions_as_go_has_them) {
    _cleanup_filters_ struct filters f = FILTERS_INIT;

    CHECK_INT(filters_parse(&f, "{\"a\":[\"^n\\\\d+$\"],\"b\":[\"^\\\\D.\\\\.c$\"],\"c\":[\"*\",\"(\",\"x\\\\\"]}", NULL), 0);
    CHECK(filters_match(&f, "a", "n12"));
    CHECK(!filters_match(&f, "a", "nd"));
    CHECK(filters_match(&f, "b", "ab.c"));
    CHECK(!filters_match(&f, "b", "1b.c"));
    CHECK(!filters_match(&f, "b", "abxc"));
    CHECK(!filters_match(&f, "c", "x"));
}

TEST(filters_take_null_for_nothing) {
    _cleanup_filters_ struct filters a = FILTERS_INIT, b = FILTERS_INIT;

    CHECK_INT(filters_parse(&a, "{\"name\":{\"x\":null},\"label\":null}", NULL), 0);
    CHECK(filters_exact(&a, "name", "x"));
    CHECK(!filters_exact(&a, "name", "y"));
    CHECK_INT(filters_parse(&b, "{\"label\":null,\"name\":[null]}", NULL), 0);
    CHECK(filters_exact(&b, "name", ""));
    CHECK(!filters_exact(&b, "name", "y"));
}

TEST(filters_refuse_other_shapes) {
    static const char *const accepted[] = {"label", NULL};
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_filters_ struct filters f = FILTERS_INIT, empty = FILTERS_INIT;
    bool b;

    CHECK_INT(filters_parse(&f, "[]", &e), -ERR_INVALID);
    CHECK_INT(filters_parse(&f, "{\"a\":3}", &e), -ERR_INVALID);
    CHECK_INT(filters_parse(&f, "{", &e), -ERR_INVALID);
    CHECK_INT(filters_parse(&f, "{\"a\":{\"x\":true},\"b\":[\"y\"]}", &e), -ERR_INVALID);
    CHECK_INT(filters_parse(&f, "{\"a\":[\"y\"],\"b\":{\"x\":true}}", &e), -ERR_INVALID);
    CHECK_INT(filters_parse(&f, "null", &e), 0);
    CHECK_INT(filters_parse(&f, "", &e), 0);
    CHECK_INT(filters_add(&f, "nope", "maybe"), 0);
    CHECK_INT(filters_validate(&f, accepted, &e), -ERR_INVALID);
    CHECK_STR(err_msg(&e), "invalid filter 'nope'");
    CHECK_INT(filters_bool(&f, "nope", false, &b, &e), -ERR_INVALID);
    CHECK_INT(filters_bool(&f, "dangling", true, &b, &e), 0);
    CHECK(b);
    CHECK_INT(filters_parse(&empty, "{\"dangling\":[]}", &e), 0);
    CHECK_INT(filters_bool(&empty, "dangling", true, &b, &e), -ERR_INVALID);
    CHECK_STR(err_msg(&e), "invalid filter 'dangling'");
}
