// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/test.h"

static struct test_case *first, **last = &first;
static int failures;
static const char *skipped;

void test_register(struct test_case *t) {
    *last = t;
    last = &t->next;
}

void test_fail(const char *file, int line, const char *fmt, ...) {
    va_list ap;

    failures++;
    printf("# %s:%d: ", file, line);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
}

void test_skip(const char *reason) {
    skipped = reason;
}

/* Sleeps a millisecond (or longer, as the machine likes); false when patience is at its end. */
bool test_look_again(int *looks) {
    usleep(1000);
    return ++*looks < TEST_PATIENCE_MS;
}

void test_check_int(const char *file, int line, const char *what, int64_t got, int64_t want) {
    if (got != want)
        test_fail(file, line, "%s is %lld, expected %lld", what, (long long)got, (long long)want);
}

void test_check_str(const char *file, int line, const char *what, const char *got, const char *want) {
    if (got == want || (got && want && strcmp(got, want) == 0))
        return;
    test_fail(file, line, "%s is \"%s\", expected \"%s\"", what, got ? got : "(null)", want ? want : "(null)");
}

static bool wanted(const struct test_case *t, int argc, char **argv) {
    if (argc < 2)
        return true;
    for (int i = 1; i < argc; i++)
        if (strstr(t->name, argv[i]))
            return true;
    return false;
}

#if defined(__SANITIZE_THREAD__)
/*
 * The HTTP library tells the end of an upgraded request with a lock of its own held, which its other functions take. Of a request that was upgraded none of
 * these is called any more, so the two orders never meet.
 */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
    return "deadlock:libmicrohttpd\n";
}
#endif

int main(int argc, char **argv) {
    int n = 0, bad = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (struct test_case *t = first; t; t = t->next) {
        if (!wanted(t, argc, argv))
            continue;
        failures = 0;
        skipped = NULL;
        t->run();
        n++;
        if (failures)
            bad++;
        printf("%sok %d - %s%s%s\n", failures ? "not " : "", n, t->name, skipped && !failures ? " # SKIP " : "", skipped && !failures ? skipped : "");
    }
    printf("1..%d\n", n);
    return bad ? 1 : 0;
}
