// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_done(struct buf *b) {
    if (!b)
        return;
    free(b->data);
    *b = BUF_INIT(b->max);
}

void buf_reset(struct buf *b) {
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = 0;
}

void *buf_reserve(struct buf *b, size_t n) {
    size_t need, cap;
    char *p;

    if (b->failed)
        return NULL;
    if (n > b->max || b->len > b->max - n) {
        b->failed = true;
        return NULL;
    }
    need = b->len + n + 1;
    if (need <= b->cap)
        return b->data + b->len;
    cap = b->cap ? b->cap : 128;
    while (cap < need)
        cap *= 2;
    p = realloc(b->data, cap);
    if (!p) {
        b->failed = true;
        return NULL;
    }
    b->data = p;
    b->cap = cap;
    b->data[b->len] = 0; /* what is reserved and never committed leaves a text that ends */
    return b->data + b->len;
}

void buf_commit(struct buf *b, size_t n) {
    b->len += n;
    b->data[b->len] = 0;
}

void buf_add(struct buf *b, const void *p, size_t n) {
    void *to = buf_reserve(b, n);

    if (!to)
        return;
    if (n > 0)
        memcpy(to, p, n);
    buf_commit(b, n);
}

void buf_addc(struct buf *b, char c) {
    buf_add(b, &c, 1);
}

void buf_adds(struct buf *b, const char *s) {
    buf_add(b, s, strlen(s));
}

void buf_addv(struct buf *b, const char *fmt, va_list ap) {
    va_list again;
    char small[256];
    char *to;
    int n;

    va_copy(again, ap);
    n = vsnprintf(small, sizeof(small), fmt, ap);
    if (n < 0) {
        b->failed = true;
    } else if ((size_t)n < sizeof(small)) {
        buf_add(b, small, (size_t)n);
    } else {
        to = buf_reserve(b, (size_t)n);
        if (to) {
            vsnprintf(to, (size_t)n + 1, fmt, again);
            buf_commit(b, (size_t)n);
        }
    }
    va_end(again);
}

void buf_addf(struct buf *b, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    buf_addv(b, fmt, ap);
    va_end(ap);
}

void buf_addu(struct buf *b, uint64_t v) {
    char tmp[24];
    size_t at = sizeof(tmp);

    do {
        tmp[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_add(b, tmp + at, sizeof(tmp) - at);
}

void buf_addi(struct buf *b, int64_t v) {
    if (v < 0)
        buf_addc(b, '-');
    buf_addu(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

/* Length of the valid UTF-8 sequence at s (1-4), or 0 when the first byte starts none (RFC 3629: no surrogates, no overlong forms). */
static size_t utf8_len(const unsigned char *s, size_t n) {
    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        return n >= 2 && (s[1] & 0xc0) == 0x80 ? 2 : 0;
    if (s[0] >= 0xe0 && s[0] <= 0xef) {
        unsigned lo = s[0] == 0xe0 ? 0xa0 : 0x80, hi = s[0] == 0xed ? 0x9f : 0xbf;

        return n >= 3 && s[1] >= lo && s[1] <= hi && (s[2] & 0xc0) == 0x80 ? 3 : 0;
    }
    if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        unsigned lo = s[0] == 0xf0 ? 0x90 : 0x80, hi = s[0] == 0xf4 ? 0x8f : 0xbf;

        return n >= 4 && s[1] >= lo && s[1] <= hi && (s[2] & 0xc0) == 0x80 && (s[3] & 0xc0) == 0x80 ? 4 : 0;
    }
    return 0;
}

static void add_json_special(struct buf *b, unsigned char c) {
    switch (c) {
    case '"':
        buf_adds(b, "\\\"");
        break;
    case '\\':
        buf_adds(b, "\\\\");
        break;
    case '\n':
        buf_adds(b, "\\n");
        break;
    case '\r':
        buf_adds(b, "\\r");
        break;
    case '\t':
        buf_adds(b, "\\t");
        break;
    default:
        buf_addf(b, "\\u%04x", c);
    }
}

void buf_add_json_stringn(struct buf *b, const char *str, size_t n) {
    const unsigned char *s = (const unsigned char *)str;
    size_t from = 0, i = 0;

    buf_addc(b, '"');
    while (i < n) {
        unsigned char c = s[i];
        size_t l;

        if (c < 0x80) {
            if (c < 0x20 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&') {
                buf_add(b, s + from, i - from);
                add_json_special(b, c);
                from = i + 1;
            }
            i++;
            continue;
        }
        l = utf8_len(s + i, n - i);
        if (l == 0) {
            buf_add(b, s + from, i - from);
            buf_adds(b, "\\ufffd");
            from = ++i;
        } else if (l == 3 && s[i] == 0xe2 && s[i + 1] == 0x80 && (s[i + 2] & 0xfe) == 0xa8) {
            buf_add(b, s + from, i - from);
            buf_addf(b, "\\u20%02x", s[i + 2] == 0xa8 ? 0x28 : 0x29);
            i += 3;
            from = i;
        } else {
            i += l;
        }
    }
    buf_add(b, s + from, i - from);
    buf_addc(b, '"');
}

void buf_add_json_string(struct buf *b, const char *s) {
    buf_add_json_stringn(b, s ? s : "", s ? strlen(s) : 0);
}

void buf_add_quoted(struct buf *b, const char *s) {
    static const char named[] = "abtnvfr"; /* bytes 7 to 13 */

    buf_addc(b, '"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\')
            buf_addf(b, "\\%c", c);
        else if (c >= '\a' && c <= '\r')
            buf_addf(b, "\\%c", named[c - '\a']);
        else if (c < 0x20 || c == 0x7f)
            buf_addf(b, "\\x%02x", c);
        else
            buf_addc(b, (char)c);
    }
    buf_addc(b, '"');
}

void buf_consume(struct buf *b, size_t n) {
    if (n >= b->len) {
        b->len = 0;
    } else {
        memmove(b->data, b->data + n, b->len - n);
        b->len -= n;
    }
    if (b->data)
        b->data[b->len] = 0;
}

int buf_check(const struct buf *b, struct err *e) {
    if (!b->failed)
        return 0;
    if (b->len >= b->max || b->cap >= b->max)
        return err_set(e, ERR_TOO_LARGE, "data is larger than the limit of %zu bytes", b->max);
    return err_set(e, ERR_TOO_LARGE, "data is larger than the limit of %zu bytes, or memory ran out", b->max);
}

char *buf_take(struct buf *b) {
    char *p;

    if (b->failed)
        return NULL;
    if (!b->data)
        return calloc(1, 1);
    p = b->data;
    *b = BUF_INIT(b->max);
    return p;
}
