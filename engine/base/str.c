// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

char *str_printf(const char *fmt, ...) {
    va_list ap;
    char *s = NULL;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&s, fmt, ap);
    va_end(ap);
    return n < 0 ? NULL : s;
}

char *str_dup(const char *s) {
    return s ? strdup(s) : NULL;
}

int str_set(char **slot, const char *s) {
    char *copy = str_dup(s);

    if (s && !copy)
        return -ENOMEM;
    free(*slot);
    *slot = copy;
    return 0;
}

int parse_i64(const char *s, int64_t *ret) {
    char *end;
    long long v;

    if (!s || (*s != '-' && (*s < '0' || *s > '9')) || (*s == '-' && (s[1] < '0' || s[1] > '9')))
        return -EINVAL;
    errno = 0;
    v = strtoll(s, &end, 10);
    if (*end)
        return -EINVAL;
    if (errno == ERANGE)
        return -ERANGE;
    *ret = v;
    return 0;
}

int parse_u64_base(const char *s, int base, uint64_t *ret) {
    char *end;
    unsigned long long v;

    if (!s || !*s || *s == '-' || *s == '+' || *s == ' ' || (*s >= '\t' && *s <= '\r'))
        return -EINVAL;
    errno = 0;
    v = strtoull(s, &end, base);
    if (*end || end == s)
        return -EINVAL;
    if (errno == ERANGE)
        return -ERANGE;
    *ret = v;
    return 0;
}

int parse_u64(const char *s, uint64_t *ret) {
    return parse_u64_base(s, 10, ret);
}

int parse_int_range(const char *s, int64_t lo, int64_t hi, int64_t *ret) {
    int64_t v;
    int r = parse_i64(s, &v);

    if (r < 0)
        return r;
    if (v < lo || v > hi)
        return -ERANGE;
    *ret = v;
    return 0;
}

int parse_bool(const char *s, bool *ret) {
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};

    if (!s)
        return -EINVAL;
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (streq(s, yes[i])) {
            *ret = true;
            return 0;
        }
        if (streq(s, no[i])) {
            *ret = false;
            return 0;
        }
    }
    return -EINVAL;
}
