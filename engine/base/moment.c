// SPDX-License-Identifier: Apache-2.0
#include "base/moment.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

/* ---- durations --------------------------------------------------------------------------------------------------------------------------- */

struct unit {
    const char *name;
    int64_t ns;
};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* The unit at the text's begin: letters up to the next number. NULL: none of ours. */
static const struct unit *unit_at(const char *s, size_t *ret_len) {
    static const struct unit units[] = {{"ns", 1},
                                        {"us", 1000},
                                        {"\xc2\xb5s", 1000},
                                        {"\xce\xbcs", 1000},
                                        {"ms", NSEC_PER_MSEC},
                                        {"s", NSEC_PER_SEC},
                                        {"m", 60 * NSEC_PER_SEC},
                                        {"h", 3600 * NSEC_PER_SEC}};
    size_t n = 0;

    while (s[n] && s[n] != '.' && !is_digit(s[n]))
        n++;
    *ret_len = n;
    for (size_t i = 0; i < ELEMENTSOF(units); i++) {
        if (strlen(units[i].name) == n && memcmp(units[i].name, s, n) == 0)
            return &units[i];
    }
    return NULL;
}

/* One number with its unit, in nanoseconds. */
static int term(const char **s, int64_t *ret) {
    const char *p = *s, *whole = p, *fraction;
    int64_t v = 0, part = 0, scale = 1;
    const struct unit *u;
    size_t n;

    for (; is_digit(*p); p++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *p - '0', &v))
            return -EINVAL;
    n = (size_t)(p - whole);
    if (*p == '.') {
        fraction = ++p;
        for (; is_digit(*p); p++)
            if (scale < INT64_MAX / 100)
                part = part * 10 + (*p - '0'), scale *= 10;
        n += (size_t)(p - fraction);
    }
    if (n == 0)
        return -EINVAL;
    u = unit_at(p, &n);
    if (!u || __builtin_mul_overflow(v, u->ns, &v) || __builtin_add_overflow(v, (int64_t)((double)part * ((double)u->ns / (double)scale)), &v))
        return -EINVAL;
    *s = p + n;
    *ret = v;
    return 0;
}

int duration_parse(const char *text, int64_t *ret) {
    bool minus = *text == '-';
    const char *p = text + (minus || *text == '+');
    int64_t sum = 0, one;

    if (streq(p, "0")) {
        *ret = 0;
        return 0;
    }
    if (!*p)
        return -EINVAL;
    while (*p) {
        int r = term(&p, &one);

        if (r < 0)
            return r;
        if (__builtin_add_overflow(sum, one, &sum))
            return -EINVAL;
    }
    *ret = minus ? -sum : sum;
    return 0;
}

int duration_read(const char *text, int64_t *ret, struct err *e) {
    return duration_parse(text, ret) < 0 ? err_set(e, ERR_INVALID, "time: invalid duration \"%s\"", text) : 0;
}

/* ---- dates ------------------------------------------------------------------------------------------------------------------------------- */

#define DATE "2006-01-02"
#define ZONE "Z07:00"
#define FRACTION ".999999999"

enum { MISMATCH = 1, OUT_OF_RANGE = 2 }; /* why a part cannot be read */

/* A part of a date as its layout writes it. */
struct part {
    const char *layout, *what; /* what: in "... out of range" */
    int min_digits, max_digits, lowest, highest;
    size_t field; /* in struct tm */
};

static const struct part parts[] = {
    {"2006", "year", 4, 4, 0, 9999, offsetof(struct tm, tm_year)}, {"01", "month", 2, 2, 1, 12, offsetof(struct tm, tm_mon)},
    {"02", "day", 2, 2, 0, 99, offsetof(struct tm, tm_mday)},      {"15", "hour", 1, 2, 0, 23, offsetof(struct tm, tm_hour)},
    {"04", "minute", 2, 2, 0, 59, offsetof(struct tm, tm_min)},    {"05", "second", 2, 2, 0, 59, offsetof(struct tm, tm_sec)},
};

static int number(const char **s, const struct part *p, int *ret) {
    int n = 0, v = 0;

    for (; n < p->max_digits && is_digit((*s)[n]); n++)
        v = v * 10 + ((*s)[n] - '0');
    if (n < p->min_digits)
        return MISMATCH;
    if (v < p->lowest || v > p->highest)
        return OUT_OF_RANGE;
    *s += n;
    *ret = v;
    return 0;
}

/* Digits beyond nine say nothing we could keep. */
static int64_t fraction(const char **s) {
    int64_t ns = 0, unit = NSEC_PER_SEC / 10;

    if (**s != '.' || !is_digit((*s)[1]))
        return 0;
    for ((*s)++; is_digit(**s); (*s)++, unit /= 10)
        ns += (**s - '0') * unit;
    return ns;
}

/* Z or +hh:mm. *ret_what: which part is out of range. */
static int zone(const char **s, int *ret_offset, const char **ret_what) {
    static const struct part hours = {"", "", 2, 2, 0, 24, 0}, minutes = {"", "", 2, 2, 0, 60, 0};
    const char *p = *s;
    int h = 0, m = 0, sign, r;

    if (*p == 'Z') {
        *ret_offset = 0;
        (*s)++;
        return 0;
    }
    if (*p != '+' && *p != '-')
        return MISMATCH;
    sign = *p++ == '-' ? -1 : 1;
    *ret_what = "time zone offset hour";
    r = number(&p, &hours, &h);
    if (r != 0)
        return r;
    if (*p++ != ':')
        return MISMATCH;
    *ret_what = "time zone offset minute";
    r = number(&p, &minutes, &m);
    if (r != 0)
        return r;
    *ret_offset = sign * (h * 3600 + m * 60);
    *s = p;
    return 0;
}

static const struct part *part_at(const char *layout) {
    for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
        if (str_has_prefix(layout, parts[i].layout))
            return &parts[i];
    }
    return NULL;
}

static int days_in(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

static int to_wall(struct tm *tm, bool zoned, int offset, int64_t ns, int64_t *ret) {
    int64_t sec;

    tm->tm_year -= 1900;
    tm->tm_mon -= 1;
    tm->tm_isdst = -1;
    sec = zoned ? (int64_t)timegm(tm) - offset : (int64_t)mktime(tm);
    return __builtin_mul_overflow(sec, NSEC_PER_SEC, &sec) || __builtin_add_overflow(sec, ns, ret) ? -ERANGE : 0;
}

/* Reads `text` as `layout`, which is made of the parts above, of literals, and of a zone at its end. */
static int read_date(const char *text, const char *layout, int64_t *ret, struct err *e) {
    struct tm tm = {0};
    const char *s = text, *l = layout, *what = "";
    bool zoned = false;
    int64_t ns = 0;
    int offset = 0, r = 0;

    while (*l && r == 0) {
        const struct part *p = part_at(l);
        size_t n = p ? strlen(p->layout) : str_has_prefix(l, ZONE) ? strlen(ZONE) : str_has_prefix(l, FRACTION) ? strlen(FRACTION) : 1;

        if (p) {
            what = p->what;
            r = number(&s, p, (int *)((char *)&tm + p->field));
            if (r == 0 && streq(p->what, "second"))
                ns = fraction(&s);
        } else if (str_has_prefix(l, ZONE)) {
            r = zone(&s, &offset, &what);
            zoned = true;
        } else if (n == 1) { /* the fraction has been read with the seconds */
            r = *s == *l ? 0 : MISMATCH;
            s += r == 0;
        }
        if (r == MISMATCH)
            return err_set(e, ERR_INVALID, "parsing time \"%s\" as \"%s\": cannot parse \"%s\" as \"%.*s\"", text, layout, s, (int)n, l);
        l += n;
    }
    if (r == OUT_OF_RANGE)
        return err_set(e, ERR_INVALID, "parsing time \"%s\": %s out of range", text, what);
    if (*s)
        return err_set(e, ERR_INVALID, "parsing time \"%s\": extra text: \"%s\"", text, s);
    if (tm.tm_mday < 1 || tm.tm_mday > days_in(tm.tm_year, tm.tm_mon))
        return err_set(e, ERR_INVALID, "parsing time \"%s\": day out of range", text);
    if (to_wall(&tm, zoned, offset, ns, ret) < 0)
        return err_set(e, ERR_INVALID, "parsing time \"%s\": year out of range", text);
    return 0;
}

static size_t count(const char *s, char c) {
    size_t n = 0;

    for (; (s = strchr(s, c)); s++)
        n++;
    return n;
}

/* Which parts a date has, by its signs. */
static void layout_of(const char *text, char ret[64]) {
    size_t n = strlen(text), colons = count(text, ':');
    bool z = n > 0 && text[n - 1] == 'Z', zoned = z || strchr(text, '+') || count(text, '-') == 3;
    const char *time = "";

    if (strchr(text, '.'))
        time = "T15:04:05" FRACTION;
    else if (strchr(text, 'T')) {
        if (zoned && !z && colons > 0)
            colons--;
        time = colons == 0 ? "T15" : colons == 1 ? "T15:04" : "T15:04:05";
    }
    snprintf(ret, 64, "%s%s%s", DATE, time, zoned ? ZONE : "");
}

/* "1136073845" and "1136073845.000000001". */
static int read_seconds(const char *text, int64_t *ret) {
    const char *dot = strchr(text, '.');
    char whole[24];
    int64_t sec, ns = 0, unit = NSEC_PER_SEC / 10;

    if (dot && (!dot[1] || dot == text || strspn(dot + 1, "0123456789") != strlen(dot + 1)))
        return -EINVAL;
    if (snprintf(whole, sizeof whole, "%.*s", dot ? (int)(dot - text) : (int)strlen(text), text) >= (int)sizeof whole || parse_i64(whole, &sec) < 0)
        return -EINVAL;
    for (const char *p = dot ? dot + 1 : ""; *p; p++, unit /= 10)
        ns += (*p - '0') * unit;
    /* What 64 bits cannot hold is later than everything there is. */
    if (__builtin_mul_overflow(sec, NSEC_PER_SEC, &sec) || __builtin_add_overflow(sec, ns, ret))
        *ret = INT64_MAX;
    return 0;
}

int moment_parse(const char *text, int64_t now_ns, int64_t *ret, struct err *e) {
    char layout[64];
    int64_t span;

    if (duration_parse(text, &span) == 0) {
        if (__builtin_sub_overflow(now_ns, span, ret))
            *ret = span < 0 ? INT64_MAX : INT64_MIN + 1;
        else if (*ret > INT64_MIN + NSEC_PER_SEC)
            *ret -= (*ret % NSEC_PER_SEC + NSEC_PER_SEC) % NSEC_PER_SEC; /* the reference counts whole seconds here */
        return 0;
    }
    if (strchr(text, '-')) {
        layout_of(text, layout);
        return read_date(text, layout, ret, e);
    }
    if (read_seconds(text, ret) < 0)
        return err_set(e, ERR_INVALID, "failed to parse value as time or duration: \"%s\"", text);
    return 0;
}
