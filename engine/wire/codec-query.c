// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "wire/codec-internal.h"

static int hex(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoding with '+' as space. NULL with errno EINVAL on a bad escape. A %00 ends the text; operations that mind their query have refused it. */
static char *decode(const char *p, size_t n) {
    char *out = malloc(n + 1);
    size_t k = 0;

    if (!out) {
        errno = ENOMEM;
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        char c = p[i];

        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int hi = i + 2 < n ? hex(p[i + 1]) : -1, lo = i + 2 < n ? hex(p[i + 2]) : -1;

            if (hi < 0 || lo < 0) {
                free(out);
                errno = EINVAL;
                return NULL;
            }
            c = (char)(hi << 4 | lo);
            i += 2;
        }
        out[k++] = c;
    }
    out[k] = 0;
    return out;
}

static void *at(void *p, size_t off) {
    return (char *)p + off;
}

/*
 * strconv.NumError behind the parameter's own words: those may hold one %s for the value, and replace the rest of the text altogether unless they
 * end with a blank.
 */
static int number_error(const char *pool, const struct codec_param *p, const char *func, const char *text, const char *why, struct err *e) {
    _cleanup_buf_ struct buf msg = BUF_INIT(strlen(text) * 8 + 256);
    const char *own = pool + p->wrap, *mark = strstr(own, "%s");
    size_t n = strlen(own);

    if (mark) {
        buf_add(&msg, own, (size_t)(mark - own));
        buf_adds(&msg, text);
        own = mark + 2;
    }
    buf_adds(&msg, own);
    if (n == 0 || pool[p->wrap + n - 1] == ' ') {
        buf_addf(&msg, "strconv.%s: parsing ", func);
        buf_add_quoted(&msg, text);
        buf_addf(&msg, ": %s", why);
    }
    return err_set(e, p->error ? (enum err_kind)p->error : ERR_INVALID, "%s", buf_str(&msg));
}

static int read_number(const char *pool, const struct codec_param *p, const char *text, int64_t *ret, struct err *e) {
    bool is_unsigned = p->kind == CODEC_Q_UINT64_NEED;
    const char *func = is_unsigned ? "ParseUint" : p->kind == CODEC_Q_INT64 || p->kind == CODEC_Q_INT64_LAX ? "ParseInt" : "Atoi";
    const char *digits = text + (!is_unsigned && (*text == '-' || *text == '+'));
    long long v;

    if (!*digits || digits[strspn(digits, "0123456789")])
        return number_error(pool, p, func, text, "invalid syntax", e);
    errno = 0;
    v = strtoll(text, NULL, 10);
    if (errno == ERANGE)
        return number_error(pool, p, func, text, "value out of range", e);
    *ret = v;
    return 0;
}

static bool lax_bool(const char *s) {
    static const char *const no[] = {"", "0", "no", "false", "none"};
    size_t n;

    while (isspace((unsigned char)*s))
        s++;
    n = strlen(s);
    while (n && isspace((unsigned char)s[n - 1]))
        n--;
    for (size_t i = 0; i < ELEMENTSOF(no); i++)
        if (strlen(no[i]) == n && strncasecmp(no[i], s, n) == 0)
            return false;
    return true;
}

static int strict_bool(const char *pool, const struct codec_param *p, const char *s, bool *ret, struct err *e) {
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"}, *const no[] = {"0", "f", "F", "false", "FALSE", "False"};

    for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
        if (strcmp(s, yes[i]) == 0 || strcmp(s, no[i]) == 0) {
            *ret = strcmp(s, yes[i]) == 0;
            return 0;
        }
    }
    return number_error(pool, p, "ParseBool", s, "invalid syntax", e);
}

/* Store one value; `text` is owned by the caller. */
static int store(const char *pool, const struct codec_param *p, void *q, const char *text, struct err *e) {
    void *slot = at(q, p->off);
    bool *has = p->has == CODEC_NONE ? NULL : at(q, p->has);
    int r = 0;

    switch ((enum codec_query_kind)p->kind) {
    case CODEC_Q_STRING:
        if (*(char **)slot)
            return 0;
        *(char **)slot = strdup(text);
        return *(char **)slot ? 0 : err_oom(e);
    case CODEC_Q_LIST: {
        struct codec_list *l = slot;

        return codec_string_add(&l->n, (char ***)&l->v, &l->set, text, e);
    }
    case CODEC_Q_BOOL:
        *(bool *)slot = lax_bool(text);
        break;
    case CODEC_Q_PARSE_BOOL:
        if (*text)
            r = strict_bool(pool, p, text, slot, e);
        break;
    case CODEC_Q_INT64_LAX:
        if (read_number(pool, p, text, slot, NULL) < 0)
            *(int64_t *)slot = 0;
        break;
    case CODEC_Q_ATOI:
    case CODEC_Q_INT64:
        if (!*text)
            return 0;
        r = read_number(pool, p, text, slot, e);
        break;
    case CODEC_Q_ATOI_NEED:
    case CODEC_Q_UINT64_NEED:
        r = read_number(pool, p, text, slot, e);
        break;
    }
    if (r == 0)
        *has = true;
    return r;
}

/* First value of the parameter in the query (all of them for lists). Returns 1 when it was there, 0 when not, negative on error. */
static int find_and_store(const char *pool, const struct codec_param *p, void *q, const char *query, struct err *e) {
    int found = 0;

    while (*query) {
        size_t n = strcspn(query, "&");
        const char *eq = memchr(query, '=', n);
        size_t name_len = eq ? (size_t)(eq - query) : n;
        _cleanup_free_ char *name = NULL, *value = NULL;

        /* Go drops pairs with a ';' and pairs with a bad escape, and goes on with the rest. */
        if (n && !memchr(query, ';', n)) {
            name = decode(query, name_len);
            if (!name && errno == ENOMEM)
                return err_oom(e);
            if (name && strcmp(name, pool + p->name) == 0) {
                value = eq ? decode(eq + 1, n - name_len - 1) : strdup("");
                if (!value && (!eq || errno == ENOMEM))
                    return err_oom(e);
                if (value) {
                    int r = store(pool, p, q, value, e);

                    if (r < 0)
                        return r;
                    found = 1;
                    if (p->kind != CODEC_Q_LIST)
                        return 1;
                }
            }
        }
        query += n;
        query += *query == '&';
    }
    return found;
}

int codec_query_read(const char *pool, const struct codec_param *p, size_t n, void *ret, const char *query, int version, struct err *e) {
    unsigned minor = (unsigned)(version & CODEC_VERSION_MASK) % 100;

    for (size_t i = 0; i < n; i++, p++) {
        int r = minor >= p->since ? find_and_store(pool, p, ret, query ? query : "", e) : 0;

        if (r < 0)
            return r;
        if (r)
            continue;
        if (p->kind == CODEC_Q_BOOL)
            *(bool *)at(ret, p->off) = p->def;
        else if (p->kind == CODEC_Q_ATOI_NEED || p->kind == CODEC_Q_UINT64_NEED)
            return number_error(pool, p, p->kind == CODEC_Q_ATOI_NEED ? "Atoi" : "ParseUint", "", "invalid syntax", e);
    }
    return 0;
}

void codec_query_done(const struct codec_param *p, size_t n, void *q) {
    for (size_t i = 0; i < n; i++, p++) {
        void *slot = at(q, p->off);

        if (p->kind == CODEC_Q_STRING) {
            free(*(char **)slot);
        } else if (p->kind == CODEC_Q_LIST) {
            struct codec_list *l = slot;

            for (size_t k = 0; k < l->n; k++)
                free(((char **)l->v)[k]);
            free(l->v);
        }
    }
}
