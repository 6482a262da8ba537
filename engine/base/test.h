// SPDX-License-Identifier: Apache-2.0
/*
 * test.h - unit tests that register themselves and print TAP (Test Anything Protocol 12).
 *
 * A file test-x.c holds `TEST(name) { CHECK(...); CHECK_STR(a, b); CHECK_INT(a, b); }` any number of times; all test files of a
 * module are linked with base/test-main.c into one program. A failed check says file, line and both values, and the test goes on.
 * `TEST_SKIP("reason")` ends a test as skipped. Arguments of the program are names (substrings) of tests to run.
 *
 * A test must hold on the busiest machine: it never measures time and never sleeps in the hope that something has happened by then. It waits for what
 * must happen with CHECK_SOON, or with a limit of TEST_PATIENCE_MS, which only a failing test ever reaches.
 */
#ifndef HATAKE_BASE_TEST_H
#define HATAKE_BASE_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct test_case {
    const char *name;
    const char *file;
    void (*run)(void);
    struct test_case *next;
};

void test_register(struct test_case *t);
void test_fail(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void test_skip(const char *reason);

#define TEST(id)                                                                                                                                     \
    static void test_##id(void);                                                                                                                     \
    static struct test_case test_case_##id = {#id, __FILE__, test_##id, NULL};                                                                       \
    __attribute__((constructor)) static void test_register_##id(void) {                                                                              \
        test_register(&test_case_##id);                                                                                                              \
    }                                                                                                                                                \
    static void test_##id(void)

#define CHECK(cond)                                                                                                                                  \
    do {                                                                                                                                             \
        if (!(cond))                                                                                                                                 \
            test_fail(__FILE__, __LINE__, "not true: %s", #cond);                                                                                    \
    } while (0)
/* As CHECK, and leave the test when it fails. */
#define REQUIRE(cond)                                                                                                                                \
    do {                                                                                                                                             \
        if (!(cond)) {                                                                                                                               \
            test_fail(__FILE__, __LINE__, "not true: %s", #cond);                                                                                    \
            return;                                                                                                                                  \
        }                                                                                                                                            \
    } while (0)
/* Look again every millisecond until the condition holds; the test fails when it never does. */
#define CHECK_SOON(cond)                                                                                                                             \
    do {                                                                                                                                             \
        int _looks = 0;                                                                                                                              \
        while (!(cond))                                                                                                                              \
            if (!test_look_again(&_looks)) {                                                                                                         \
                test_fail(__FILE__, __LINE__, "never true: %s", #cond);                                                                              \
                break;                                                                                                                               \
            }                                                                                                                                        \
    } while (0)
#define TEST_PATIENCE_MS 60000
#define CHECK_INT(a, b) test_check_int(__FILE__, __LINE__, #a, (int64_t)(a), (int64_t)(b))
#define CHECK_STR(a, b) test_check_str(__FILE__, __LINE__, #a, (a), (b))
#define TEST_SKIP(reason)                                                                                                                            \
    do {                                                                                                                                             \
        test_skip(reason);                                                                                                                           \
        return;                                                                                                                                      \
    } while (0)

bool test_look_again(int *looks);
void test_check_int(const char *file, int line, const char *what, int64_t got, int64_t want);
void test_check_str(const char *file, int line, const char *what, const char *got, const char *want);

#endif
