// SPDX-License-Identifier: Apache-2.0
#include "base/cleanup.h"
#include "base/str.h"
#include "base/test.h"
#include "image/glob.h"

TEST(globs_fit_whole_names) {
    static const struct {
        const char *pattern, *name;
        bool fits;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"abc", "abc", true},
        {"*", "abc", true},
        {"*", "a/b", false},
        {"*c", "abc", true},
        {"a*", "a", true},
        {"a*", "ab/c", false},
        {"a*/b", "abc/b", true},
        {"a*/b", "a/c/b", false},
        {"a*b*c*d*e*/f", "axbxcxdxe/f", true},
        {"a*b?c*x", "abxbbxdbxebxczzx", true},
        {"ab[c]", "abc", true},
        {"ab[b-d]", "abc", true},
        {"ab[e-g]", "abc", false},
        {"ab[^c]", "abc", false},
        {"ab[^e-g]", "abc", true},
        {"a[!b]c", "abc", true},
        {"a[!b]c", "a!c", true},
        {"a[!b]c", "adc", false},
        {"a\\*b", "a*b", true},
        {"a\\*b", "ab", false},
        {"a?b",
         "a\xe2\x98\xba"
         "b",
         true},
        {"a[^a]b",
         "a\xe2\x98\xba"
         "b",
         true},
        {"a??b",
         "a\xe2\x98\xba"
         "b",
         false},
        {"[a-\xce\xb6]*", "\xce\xb1", true},
        {"*[a-\xce\xb6]", "A", false},
        {"a?b", "a/b", false},
        {"[\\]a]", "]", true},
        {"[\\-]", "-", true},
        {"[x\\-]", "-", true},
        {"[x\\-]", "z", false},
        {"**/x", "a/x", true},
        {"**/x", "a/b/x", false},
        {"a", "ab", false},
        {"ab", "a", false},
        {"*x", "xxx", true},
    };
    static const char *const bad[] = {"[", "[^", "[^bc", "a[", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "\\", "a\\", "[a", "[a-", "[\\", "[]"};

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        CHECK(glob_is_valid(cases[i].pattern));
        if (glob_match(cases[i].pattern, cases[i].name) != cases[i].fits)
            CHECK_STR(cases[i].pattern, cases[i].name);
    }
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        if (glob_is_valid(bad[i]))
            CHECK_STR(bad[i], "refused");
}
