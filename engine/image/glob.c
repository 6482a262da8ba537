// SPDX-License-Identifier: Apache-2.0
#include "image/glob.h"

#include <string.h>

#include "image/utf8.h"

/* Characters of UTF-8 have the order of their bytes. */
static int order(const char *a, size_t n, const char *b, size_t m) {
    int d = memcmp(a, b, n < m ? n : m);

    return d ? d : (n > m) - (n < m);
}

/* One end of a range, perhaps behind a backslash; NULL when there is none. *at moves behind it. */
static const char *range_end(const char **at, size_t *ret_n) {
    const char *p = *at;

    if (*p == '-' || *p == ']')
        return NULL;
    if (*p == '\\')
        p++;
    if (!*p)
        return NULL;
    *ret_n = utf8_width(p);
    *at = p + *ret_n;
    return **at ? p : NULL; /* a class has an end */
}

/* The class at p, behind its bracket: where it ends, NULL when it is none. `c` (n bytes) may be NULL; *ret_has: it is in the class. */
static const char *read_class(const char *p, const char *c, size_t n, bool *ret_has) {
    bool negated = *p == '^', has = false;

    p += negated;
    for (bool first = true; first || *p != ']'; first = false) {
        size_t low_n, high_n;
        const char *low = range_end(&p, &low_n), *high = low;

        if (!low)
            return NULL;
        high_n = low_n;
        if (*p == '-') {
            p++;
            high = range_end(&p, &high_n);
            if (!high)
                return NULL;
        }
        has |= c && order(low, low_n, c, n) <= 0 && order(c, n, high, high_n) <= 0;
    }
    if (ret_has)
        *ret_has = has != negated;
    return p + 1;
}

bool glob_is_valid(const char *p) {
    while (*p) {
        if (*p == '[') {
            p = read_class(p + 1, NULL, 0, NULL);
            if (!p)
                return false;
            continue;
        }
        if (*p == '\\' && !*++p)
            return false;
        p++;
    }
    return true;
}

/* One character of the name by what the pattern says of it; both move behind it. */
static bool match_one(const char **pattern, const char **name) {
    const char *p = *pattern, *s = *name;
    size_t n = utf8_width(s);
    bool fits;

    if (*p == '[') {
        p = read_class(p + 1, s, n, &fits);
        if (!p)
            return false;
    } else if (*p == '?') {
        fits = *s != '/';
        p++;
    } else {
        p += *p == '\\';
        fits = strncmp(p, s, n) == 0;
        p += fits ? n : 0;
    }
    *pattern = p;
    *name = s + n;
    return fits;
}

bool glob_match(const char *pattern, const char *name) {
    const char *star = NULL, *from = NULL; /* behind the last asterisk, and what of the name it does not cover */

    while (*name || *pattern) {
        if (*pattern == '*') {
            while (*pattern == '*')
                pattern++;
            star = pattern;
            from = name;
            continue;
        }
        if (*name && *pattern && match_one(&pattern, &name))
            continue;
        /* The asterisk takes one more; it does not go past a slash. */
        if (!star || !*from || *from == '/')
            return false;
        from += utf8_width(from);
        pattern = star;
        name = from;
    }
    return true;
}
