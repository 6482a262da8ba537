// SPDX-License-Identifier: Apache-2.0
/*
 * A JSON parser with Go's grammar and error texts. jansson's own parser words its errors differently and takes fewer inputs (lone surrogates,
 * bytes that are not UTF-8), and clients show the texts.
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "wire/codec-internal.h"

struct parser {
    const char *p, *end;
    int depth;
    size_t values;
    struct err *e;
};

static json_t *parse_value(struct parser *s);

static void skip_space(struct parser *s) {
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\r' || *s->p == '\n'))
        s->p++;
}

/* The present character is wrong here; `context` as Go words it. At the end of the text it is the end that is wrong. */
static void *unexpected(struct parser *s, const char *context) {
    unsigned char c;

    if (s->p >= s->end) {
        err_set(s->e, ERR_INVALID, "unexpected EOF");
        return NULL;
    }
    c = (unsigned char)*s->p;
    if (c == '\'')
        err_set(s->e, ERR_INVALID, "invalid character '\\'' %s", context);
    else if (c == '"')
        err_set(s->e, ERR_INVALID, "invalid character '\"' %s", context);
    else if (c == '\\')
        err_set(s->e, ERR_INVALID, "invalid character '\\\\' %s", context);
    else if (c >= 0x20 && c < 0x7f)
        err_set(s->e, ERR_INVALID, "invalid character '%c' %s", c, context);
    else if (c >= '\a' && c <= '\r')
        err_set(s->e, ERR_INVALID, "invalid character '\\%c' %s", "abtnvfr"[c - '\a'], context);
    else if (c < 0x80)
        err_set(s->e, ERR_INVALID, "invalid character '\\x%02x' %s", c, context);
    else if (c >= 0xa1 && c != 0xad) /* Go looks at the byte alone, as if it were Latin-1 */
        err_set(s->e, ERR_INVALID, "invalid character '%c%c' %s", 0xc0 | c >> 6, 0x80 | (c & 0x3f), context);
    else
        err_set(s->e, ERR_INVALID, "invalid character '\\u%04x' %s", c, context);
    return NULL;
}

static void *oom(struct parser *s) {
    err_oom(s->e);
    return NULL;
}

static int too_many(struct err *e) {
    return err_set(e, ERR_INVALID, "json: more than %d values", LIMIT_JSON_VALUES);
}

static json_t *parse_word(struct parser *s, const char *word, json_t *value) {
    char context[48];

    for (const char *w = word; *w; w++, s->p++) {
        if (s->p < s->end && *s->p == *w)
            continue;
        snprintf(context, sizeof(context), "in literal %s (expecting '%c')", word, *w);
        return unexpected(s, context);
    }
    return value;
}

static bool digit(const struct parser *s) {
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

static json_t *parse_number(struct parser *s) {
    const char *start = s->p;
    bool integer = true;
    _cleanup_free_ char *text = NULL;

    if (*s->p == '-')
        s->p++;
    if (!digit(s))
        return unexpected(s, "in numeric literal");
    if (*s->p == '0')
        s->p++;
    else
        while (digit(s))
            s->p++;
    if (s->p < s->end && *s->p == '.') {
        integer = false;
        s->p++;
        if (!digit(s))
            return unexpected(s, "after decimal point in numeric literal");
        while (digit(s))
            s->p++;
    }
    if (s->p < s->end && (*s->p | 0x20) == 'e') {
        integer = false;
        s->p++;
        if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
            s->p++;
        if (!digit(s))
            return unexpected(s, "in exponent of numeric literal");
        while (digit(s))
            s->p++;
    }
    text = strndup(start, (size_t)(s->p - start));
    if (!text)
        return oom(s);
    if (integer) {
        errno = 0;
        long long v = strtoll(text, NULL, 10);
        if (errno == 0)
            return json_integer(v);
    }
    /* Beyond a double: jansson holds no infinities, the largest number stands for them. */
    double d = strtod(text, NULL);
    return json_real(isinf(d) ? copysign(DBL_MAX, d) : d);
}

static void add_utf8(struct buf *b, unsigned c) {
    if (c < 0x80) {
        buf_addc(b, (char)c);
    } else if (c < 0x800) {
        buf_addc(b, (char)(0xc0 | c >> 6));
        buf_addc(b, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_addc(b, (char)(0xe0 | c >> 12));
        buf_addc(b, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_addc(b, (char)(0x80 | (c & 0x3f)));
    } else {
        buf_addc(b, (char)(0xf0 | c >> 18));
        buf_addc(b, (char)(0x80 | (c >> 12 & 0x3f)));
        buf_addc(b, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_addc(b, (char)(0x80 | (c & 0x3f)));
    }
}

/* Four hex digits after \u; -1 when they are not there (s->p then at the wrong character). */
static int hex4(struct parser *s) {
    int v = 0;

    for (int i = 0; i < 4; i++, s->p++) {
        char c = s->p < s->end ? *s->p : 0, low = (char)(c | 0x20);

        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if (low >= 'a' && low <= 'f')
            v = v << 4 | (low - 'a' + 10);
        else
            return -1;
    }
    return v;
}

/* After a backslash. False with the error set when the escape is bad. */
static bool parse_escape(struct parser *s, struct buf *b) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = s->p < s->end && *s->p ? strchr(from, *s->p) : NULL;
    int hi, lo;

    if (at) {
        buf_addc(b, to[at - from]);
        s->p++;
        return true;
    }
    if (s->p >= s->end || *s->p != 'u') {
        unexpected(s, "in string escape code");
        return false;
    }
    s->p++;
    hi = hex4(s);
    if (hi < 0) {
        unexpected(s, "in \\u hexadecimal character escape");
        return false;
    }
    if (hi >= 0xd800 && hi < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
        const char *back = s->p;

        s->p += 2;
        lo = hex4(s);
        if (lo >= 0xdc00 && lo < 0xe000) {
            add_utf8(b, 0x10000u + (((unsigned)hi & 0x3ff) << 10 | ((unsigned)lo & 0x3ff)));
            return true;
        }
        /* No partner: it stands alone, and what follows is read again by itself. */
        s->p = back;
    }
    add_utf8(b, hi >= 0xd800 && hi < 0xe000 ? 0xfffd : (unsigned)hi);
    return true;
}

/* Length of the UTF-8 sequence at p, 0 when it is none (overlong, surrogate and out-of-range forms are none). */
static size_t utf8_len(const unsigned char *p, size_t left) {
    size_t n = p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;

    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

/* After the opening quote. */
static bool parse_string(struct parser *s, struct buf *b) {
    while (s->p < s->end) {
        unsigned char c = (unsigned char)*s->p;

        if (c == '"') {
            s->p++;
            return true;
        }
        if (c < 0x20) {
            unexpected(s, "in string literal");
            return false;
        }
        if (c == '\\') {
            s->p++;
            if (!parse_escape(s, b))
                return false;
        } else if (c < 0x80) {
            buf_addc(b, (char)c);
            s->p++;
        } else {
            size_t n = utf8_len((const unsigned char *)s->p, (size_t)(s->end - s->p));

            if (n)
                buf_add(b, s->p, n);
            else
                add_utf8(b, 0xfffd);
            s->p += n ? n : 1;
        }
    }
    unexpected(s, "");
    return false;
}

static json_t *parse_string_value(struct parser *s) {
    _cleanup_buf_ struct buf b = BUF_INIT((size_t)(s->end - s->p) * 3 + 1);

    s->p++;
    if (!parse_string(s, &b))
        return NULL;
    if (!buf_ok(&b))
        return oom(s);
    return json_stringn_nocheck(buf_str(&b), b.len);
}

static json_t *parse_array(struct parser *s) {
    json_t *list = json_array(), *value;

    s->p++;
    skip_space(s);
    if (s->p < s->end && *s->p == ']') {
        s->p++;
        return list ? list : oom(s);
    }
    for (;;) {
        value = parse_value(s);
        if (!value)
            break;
        if (json_array_append_new(list, value) < 0) {
            oom(s);
            break;
        }
        skip_space(s);
        if (s->p < s->end && *s->p == ']') {
            s->p++;
            return list;
        }
        if (s->p >= s->end || *s->p != ',') {
            unexpected(s, "after array element");
            break;
        }
        s->p++;
    }
    json_decref(list);
    return NULL;
}

/* One "key": value pair. */
static bool parse_member(struct parser *s, json_t *object) {
    _cleanup_buf_ struct buf key = BUF_INIT((size_t)(s->end - s->p) * 3 + 1);
    json_t *value;

    skip_space(s);
    if (s->p >= s->end || *s->p != '"')
        return unexpected(s, "looking for beginning of object key string");
    s->p++;
    if (!parse_string(s, &key))
        return false;
    if (!buf_ok(&key))
        return oom(s);
    /* jansson's keys are C strings: one with a NUL would silently become another one. */
    if (memchr(buf_str(&key), 0, key.len)) {
        err_set(s->e, ERR_INVALID, "json: NUL byte in a key");
        return false;
    }
    skip_space(s);
    if (s->p >= s->end || *s->p != ':')
        return unexpected(s, "after object key");
    s->p++;
    value = parse_value(s);
    if (!value)
        return false;
    /* The last of equal keys wins, at the last one's place. */
    json_object_del(object, buf_str(&key));
    if (json_object_set_new_nocheck(object, buf_str(&key), value) < 0)
        return oom(s);
    return true;
}

static json_t *parse_object(struct parser *s) {
    json_t *object = json_object();

    s->p++;
    skip_space(s);
    if (s->p < s->end && *s->p == '}') {
        s->p++;
        return object ? object : oom(s);
    }
    while (parse_member(s, object)) {
        skip_space(s);
        if (s->p < s->end && *s->p == '}') {
            s->p++;
            return object;
        }
        if (s->p >= s->end || *s->p != ',') {
            unexpected(s, "after object key:value pair");
            break;
        }
        s->p++;
    }
    json_decref(object);
    return NULL;
}

static json_t *parse_value(struct parser *s) {
    json_t *v;

    skip_space(s);
    if (s->p >= s->end)
        return unexpected(s, "");
    if (++s->values > LIMIT_JSON_VALUES) {
        too_many(s->e);
        return NULL;
    }
    switch (*s->p) {
    case '{':
    case '[':
        if (++s->depth > LIMIT_JSON_DEPTH_API) {
            err_set(s->e, ERR_INVALID, "exceeded max depth");
            return NULL;
        }
        v = *s->p == '{' ? parse_object(s) : parse_array(s);
        s->depth--;
        return v;
    case '"':
        return parse_string_value(s);
    case 't':
        return parse_word(s, "true", json_true());
    case 'f':
        return parse_word(s, "false", json_false());
    case 'n':
        return parse_word(s, "null", json_null());
    default:
        if (*s->p == '-' || digit(s))
            return parse_number(s);
        return unexpected(s, "looking for beginning of value");
    }
}

int codec_parse(const char *text, size_t n, json_t **ret, size_t *ret_end, struct err *e) {
    _cleanup_err_ struct err own = ERR_INIT;
    struct parser s = {.p = text, .end = text + n, .e = &own};
    json_t *v = parse_value(&s);

    if (v && !ret_end) {
        skip_space(&s);
        if (s.p < s.end) {
            json_decref(v);
            v = unexpected(&s, "after top-level value");
        }
    }
    if (!v)
        return own.kind == ERR_NONE ? err_oom(e) : err_move(e, &own);
    if (ret_end)
        *ret_end = (size_t)(s.p - text);
    *ret = v;
    return 0;
}

/* A value begins at the start, after each comma that stands in no string, and after each bracket that does not close at once. */
int codec_count(const char *text, size_t n, struct err *e) {
    struct parser s = {.p = text, .end = text + n, .values = 1};
    bool quoted = false;

    if (n / 2 < LIMIT_JSON_VALUES) /* no value is shorter than a digit and what ends it */
        return 0;
    while (s.p < s.end && s.values <= LIMIT_JSON_VALUES) {
        char c = *s.p++;

        if (quoted && c == '\\') {
            s.p += s.p < s.end;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && c == ',') {
            s.values++;
        } else if (!quoted && (c == '[' || c == '{')) {
            skip_space(&s);
            s.values += s.p < s.end && *s.p != ']' && *s.p != '}';
        }
    }
    return s.values > LIMIT_JSON_VALUES ? too_many(e) : 0;
}

int codec_parse_body(const char *text, size_t n, json_t **ret, struct err *e) {
    json_t *v = NULL;
    size_t end = 0;
    int r;

    while (end < n && strchr(" \t\r\n", text[end]) && text[end])
        end++;
    if (end == n)
        return err_set(e, ERR_INVALID, "invalid JSON: got EOF while reading request body");
    r = codec_parse(text, n, &v, &end, e);
    if (r < 0)
        return r == -(int)ERR_INVALID ? err_wrap(e, "invalid JSON") : r;
    while (end < n && strchr(" \t\r\n", text[end]) && text[end])
        end++;
    /* The reference asks its decoder for more, which takes a closing bracket for the end of what surrounds it. */
    if (end < n && text[end] != ']' && text[end] != '}') {
        json_decref(v);
        return err_set(e, ERR_INVALID, "unexpected content after JSON");
    }
    *ret = v;
    return 0;
}
