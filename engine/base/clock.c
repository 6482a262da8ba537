// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t clock_wall_ns(void) {
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

int64_t clock_mono_ns(void) {
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

int64_t clock_thread_ns(void) {
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static void put2(char *p, int v) {
    p[0] = (char)('0' + v / 10 % 10);
    p[1] = (char)('0' + v % 10);
}

/* "2006-01-02T15:04:05." and nine digits. */
static void format_fixed(int64_t ns, char *ret) {
    int64_t sec = ns / NSEC_PER_SEC, frac = ns % NSEC_PER_SEC;
    struct tm tm;
    time_t t;

    if (frac < 0) {
        frac += NSEC_PER_SEC;
        sec--;
    }
    t = (time_t)sec;
    gmtime_r(&t, &tm);
    put2(ret, (tm.tm_year + 1900) / 100);
    put2(ret + 2, (tm.tm_year + 1900) % 100);
    memcpy(ret + 4, "-..-..T..:..:..", 15);
    put2(ret + 5, tm.tm_mon + 1);
    put2(ret + 8, tm.tm_mday);
    put2(ret + 11, tm.tm_hour);
    put2(ret + 14, tm.tm_min);
    put2(ret + 17, tm.tm_sec);
    ret[19] = '.';
    for (int i = 28; i >= 20; i--, frac /= 10)
        ret[i] = (char)('0' + frac % 10);
}

size_t clock_format_full(int64_t ns, char ret[CLOCK_TEXT_MAX]) {
    if (ns == CLOCK_ZERO) {
        memcpy(ret, "0001-01-01T00:00:00.000000000Z", 31);
        return 30;
    }
    format_fixed(ns, ret);
    memcpy(ret + 29, "Z", 2);
    return 30;
}

size_t clock_format(int64_t ns, char ret[CLOCK_TEXT_MAX]) {
    size_t n = 29;

    if (ns == CLOCK_ZERO) {
        memcpy(ret, "0001-01-01T00:00:00Z", 21);
        return 20;
    }
    format_fixed(ns, ret);
    while (ret[n - 1] == '0')
        n--;
    if (ret[n - 1] == '.')
        n--;
    memcpy(ret + n, "Z", 2);
    return n + 1;
}

static bool digits(const char **s, int n, int *ret) {
    int v = 0;

    for (int i = 0; i < n; i++, (*s)++) {
        if (**s < '0' || **s > '9')
            return false;
        v = v * 10 + (**s - '0');
    }
    *ret = v;
    return true;
}

static bool literal(const char **s, char c) {
    if (**s != c)
        return false;
    (*s)++;
    return true;
}

/* The part after the seconds: fraction, then Z or an offset in seconds. */
static bool parse_tail(const char *p, int64_t *ret_frac, int *ret_offset) {
    int64_t frac = 0, unit = NSEC_PER_SEC / 10;
    int oh, om, sign;

    if (*p == '.') {
        p++;
        if (*p < '0' || *p > '9')
            return false;
        for (; *p >= '0' && *p <= '9'; p++, unit /= 10)
            frac += (*p - '0') * unit;
    }
    *ret_frac = frac;
    *ret_offset = 0;
    if (*p == 'Z' && !p[1])
        return true;
    if (*p != '+' && *p != '-')
        return false;
    sign = *p++ == '-' ? -1 : 1;
    if (!digits(&p, 2, &oh) || !literal(&p, ':') || !digits(&p, 2, &om) || *p || oh > 24 || om > 59)
        return false;
    *ret_offset = sign * (oh * 3600 + om * 60);
    return true;
}

int clock_parse(const char *s, int64_t *ret_wall_ns, struct err *e) {
    struct tm tm = {0};
    const char *p = s;
    int64_t frac, sec;
    int offset;

    if (!digits(&p, 4, &tm.tm_year) || !literal(&p, '-') || !digits(&p, 2, &tm.tm_mon) || !literal(&p, '-') || !digits(&p, 2, &tm.tm_mday) ||
        !literal(&p, 'T') || !digits(&p, 2, &tm.tm_hour) || !literal(&p, ':') || !digits(&p, 2, &tm.tm_min) || !literal(&p, ':') ||
        !digits(&p, 2, &tm.tm_sec) || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 ||
        tm.tm_sec > 60 || !parse_tail(p, &frac, &offset))
        return err_set(e, ERR_INVALID, "\"%s\" is not a time in RFC 3339 form", s);
    if (tm.tm_year == 1) {
        *ret_wall_ns = CLOCK_ZERO;
        return 0;
    }
    if (tm.tm_year < 1678 || tm.tm_year > 2261)
        return err_set(e, ERR_INVALID, "the year of \"%s\" is out of range", s);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    sec = (int64_t)timegm(&tm) - offset;
    *ret_wall_ns = sec * NSEC_PER_SEC + frac;
    return 0;
}
