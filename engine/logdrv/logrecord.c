// SPDX-License-Identifier: Apache-2.0
#include "logdrv/logrecord.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"

#define TEXT_MAX MIB(8) /* other programs' logs may have longer lines than ours */

struct cursor {
    const char *p, *end;
};

void log_record_init(struct log_record *r) {
    *r = (struct log_record){.text = BUF_INIT(TEXT_MAX), .attrs = STRV_INIT};
}

void log_record_done(struct log_record *r) {
    buf_done(&r->text);
    strv_done(&r->attrs);
}

static void skip_space(struct cursor *c) {
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r' || *c->p == '\n'))
        c->p++;
}

static bool expect(struct cursor *c, char what) {
    skip_space(c);
    if (c->p >= c->end || *c->p != what)
        return false;
    c->p++;
    return true;
}

static bool hex4(struct cursor *c, unsigned *ret) {
    unsigned v = 0;

    if (c->end - c->p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char h = *c->p++;

        if (h >= '0' && h <= '9')
            v = v * 16 + (unsigned)(h - '0');
        else if ((h | 32) >= 'a' && (h | 32) <= 'f')
            v = v * 16 + (unsigned)((h | 32) - 'a' + 10);
        else
            return false;
    }
    *ret = v;
    return true;
}

static void add_utf8(struct buf *b, unsigned v) {
    if (v < 0x80) {
        buf_addc(b, (char)v);
    } else if (v < 0x800) {
        buf_addc(b, (char)(0xc0 | v >> 6));
        buf_addc(b, (char)(0x80 | (v & 0x3f)));
    } else if (v < 0x10000) {
        buf_addc(b, (char)(0xe0 | v >> 12));
        buf_addc(b, (char)(0x80 | (v >> 6 & 0x3f)));
        buf_addc(b, (char)(0x80 | (v & 0x3f)));
    } else {
        buf_addc(b, (char)(0xf0 | v >> 18));
        buf_addc(b, (char)(0x80 | (v >> 12 & 0x3f)));
        buf_addc(b, (char)(0x80 | (v >> 6 & 0x3f)));
        buf_addc(b, (char)(0x80 | (v & 0x3f)));
    }
}

/* After "\u". A lone surrogate is U+FFFD, as in Go. */
static bool add_unicode(struct cursor *c, struct buf *b) {
    unsigned v, low;
    struct cursor ahead;

    if (!hex4(c, &v))
        return false;
    if (v < 0xd800 || v > 0xdfff) {
        add_utf8(b, v);
        return true;
    }
    ahead = *c;
    if (v <= 0xdbff && ahead.end - ahead.p >= 6 && ahead.p[0] == '\\' && ahead.p[1] == 'u') {
        ahead.p += 2;
        if (hex4(&ahead, &low) && low >= 0xdc00 && low <= 0xdfff) {
            *c = ahead;
            add_utf8(b, 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00));
            return true;
        }
    }
    add_utf8(b, 0xfffd);
    return true;
}

static bool add_escape(struct cursor *c, struct buf *b) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at;
    char what;

    if (c->p >= c->end)
        return false;
    what = *c->p++;
    if (what == 'u')
        return add_unicode(c, b);
    at = what ? strchr(from, what) : NULL;
    if (!at)
        return false;
    buf_addc(b, to[at - from]);
    return true;
}

/* A string, opening quote included. b NULL: skip it. */
static bool read_string(struct cursor *c, struct buf *b) {
    if (!expect(c, '"'))
        return false;
    for (;;) {
        const char *from = c->p;

        while (c->p < c->end && *c->p != '"' && *c->p != '\\')
            c->p++;
        if (c->p >= c->end)
            return false;
        if (b)
            buf_add(b, from, (size_t)(c->p - from));
        if (*c->p++ == '"')
            return true;
        if (b ? !add_escape(c, b) : c->p++ >= c->end)
            return false;
    }
}

static bool skip_value(struct cursor *c) {
    int depth = 0;

    skip_space(c);
    while (c->p < c->end) {
        switch (*c->p) {
        case '"':
            if (!read_string(c, NULL))
                return false;
            break;
        case '{':
        case '[':
            depth++;
            c->p++;
            break;
        case '}':
        case ']':
            if (depth == 0)
                return true;
            depth--;
            c->p++;
            break;
        case ',':
            if (depth == 0)
                return true;
            c->p++;
            break;
        default:
            c->p++;
        }
    }
    return false;
}

static bool read_attrs(struct cursor *c, struct strv *ret) {
    if (!expect(c, '{'))
        return false;
    if (expect(c, '}'))
        return true;
    do {
        _cleanup_buf_ struct buf pair = BUF_INIT(TEXT_MAX);

        if (!read_string(c, &pair) || !expect(c, ':'))
            return false;
        buf_addc(&pair, '=');
        if (!read_string(c, &pair) || !buf_ok(&pair) || strv_add(ret, buf_str(&pair)) < 0)
            return false;
    } while (expect(c, ','));
    strv_sort(ret);
    return expect(c, '}');
}

static bool read_time(struct cursor *c, int64_t *ret) {
    char text[CLOCK_TEXT_MAX];
    const char *from;
    size_t n;

    if (!expect(c, '"'))
        return false;
    from = c->p;
    while (c->p < c->end && *c->p != '"')
        c->p++;
    n = (size_t)(c->p - from);
    if (c->p >= c->end || n >= sizeof(text))
        return false;
    c->p++;
    memcpy(text, from, n);
    text[n] = 0;
    return clock_parse(text, ret, NULL) == 0;
}

/* Key of a member into a small array; longer keys are unknown anyway and come out as "". */
static bool read_key(struct cursor *c, char ret[8]) {
    const char *from;

    if (!expect(c, '"'))
        return false;
    from = c->p;
    c->p--;
    if (!read_string(c, NULL))
        return false;
    if (c->p - from - 1 < 8) {
        memcpy(ret, from, (size_t)(c->p - from - 1));
        ret[c->p - from - 1] = 0;
    } else {
        ret[0] = 0;
    }
    return expect(c, ':');
}

/* A record of the driver `local`. */
static bool compact_time(const char *line, size_t n, int64_t *ret_ns) {
    uint64_t t = 0;

    if (n < LOG_COMPACT_HEAD)
        return false;
    for (size_t i = 1; i < LOG_COMPACT_HEAD; i++) {
        char ch = line[i];

        if (!((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'f')))
            return false;
        t = t << 4 | (uint64_t)(ch <= '9' ? ch - '0' : ch - 'a' + 10);
    }
    *ret_ns = (int64_t)t;
    return true;
}

static bool parse_compact(struct log_record *r, const char *line, size_t n) {
    if (!strchr("oOeE", line[0]) || !compact_time(line, n, &r->time_ns))
        return false;
    r->is_stderr = line[0] == 'e' || line[0] == 'E';
    buf_add(&r->text, line + LOG_COMPACT_HEAD, n - LOG_COMPACT_HEAD);
    if (line[0] == 'o' || line[0] == 'e')
        buf_addc(&r->text, '\n');
    return buf_ok(&r->text);
}

/* ---- the usual line ----------------------------------------------------------------------------------------------------------- */

/* A time as json-file writes it, n bytes that a quote follows. */
static bool usual_time(struct log_record *r, const char *p, size_t n) {
    int64_t frac = 0, unit = NSEC_PER_SEC / 10, ns;
    struct cursor c = {p - 1, p + n + 1};

    if (n == r->when_n && memcmp(p, r->when, n) == 0) {
        r->time_ns = r->when_ns;
        return true;
    }
    if (n < 21 || n > 30 || p[19] != '.' || p[n - 1] != 'Z')
        return false;
    for (size_t i = 20; i + 1 < n; i++, unit /= 10) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        frac += (p[i] - '0') * unit;
    }
    if (r->when_n == 0 || memcmp(p, r->when, 19) != 0) {
        if (!read_time(&c, &ns))
            return false;
        r->second_ns = ns - frac;
    }
    memcpy(r->when, p, n);
    r->when_n = n;
    r->time_ns = r->when_ns = r->second_ns + frac;
    return true;
}

/* The quote that ends a string, from its first byte on. */
static const char *closing_quote(const char *text, const char *end) {
    for (const char *at = text; (at = memchr(at, '"', (size_t)(end - at))); at++) {
        const char *slash = at;

        while (slash > text && slash[-1] == '\\')
            slash--;
        if ((at - slash) % 2 == 0)
            return at;
    }
    return NULL;
}

/* What is between the quotes of a string. */
static bool usual_text(struct log_record *r, const char *text, const char *quote) {
    char *start = buf_reserve(&r->text, (size_t)(quote - text)), *to = start; /* escapes are longer than what they stand for */
    const char *slash;

    if (!start)
        return false;
    while ((slash = memchr(text, '\\', (size_t)(quote - text)))) {
        struct cursor c = {slash + 1, quote};

        memcpy(to, text, (size_t)(slash - text));
        to += slash - text;
        text = slash + 2;
        if (slash[1] == 'n') {
            *to++ = '\n';
            continue;
        }
        buf_commit(&r->text, (size_t)(to - start));
        if (!add_escape(&c, &r->text))
            return false;
        text = c.p;
        start = to = buf_reserve(&r->text, (size_t)(quote - text));
        if (!start)
            return false;
    }
    memcpy(to, text, (size_t)(quote - text));
    buf_commit(&r->text, (size_t)(to - start) + (size_t)(quote - text));
    return true;
}

/* {"log":"TEXT","stream":"stdout","time":"TIME"}, as this program and the reference write it. False: any other form, or damage. */
static bool parse_usual(struct log_record *r, const char *line, size_t n) {
    static const char head[] = "{\"log\":\"", out[] = ",\"stream\":\"stdout\",\"time\":\"", err[] = ",\"stream\":\"stderr\",\"time\":\"";
    const char *end = line + n, *text = line + sizeof(head) - 1, *quote, *when;

    if (n < sizeof(head) - 1 || memcmp(line, head, sizeof(head) - 1) != 0)
        return false;
    quote = closing_quote(text, end);
    if (!quote || (size_t)(end - quote) < sizeof(out) + 2)
        return false;
    r->is_stderr = memcmp(quote + 1, err, sizeof(err) - 1) == 0;
    if (!r->is_stderr && memcmp(quote + 1, out, sizeof(out) - 1) != 0)
        return false;
    when = quote + sizeof(out);
    if (memcmp(end - 2, "\"}", 2) != 0 || end - 2 < when || !usual_time(r, when, (size_t)(end - 2 - when)))
        return false;
    return usual_text(r, text, quote);
}

/* ---- any line ------------------------------------------------------------------------------------------------------------------ */

bool log_record_parse(struct log_record *r, const char *line, size_t n, bool want_attrs) {
    struct cursor c = {line, line + n};
    bool timed = false, more = true;
    char key[8];

    buf_reset(&r->text);
    strv_done(&r->attrs);
    if (n > 0 && line[0] != '{' && line[0] != '\0')
        return parse_compact(r, line, n);
    if (parse_usual(r, line, n))
        return true;
    buf_reset(&r->text);
    r->is_stderr = false;
    if (!expect(&c, '{'))
        return false;
    while (more) {
        bool ok;

        if (!read_key(&c, key))
            return false;
        if (streq(key, "log")) {
            buf_reset(&r->text);
            ok = read_string(&c, &r->text);
        } else if (streq(key, "stream")) {
            skip_space(&c);
            r->is_stderr = c.end - c.p > 8 && memcmp(c.p, "\"stderr\"", 8) == 0;
            ok = read_string(&c, NULL);
        } else if (streq(key, "time")) {
            ok = timed = read_time(&c, &r->time_ns);
        } else if (streq(key, "attrs") && want_attrs) {
            ok = read_attrs(&c, &r->attrs);
        } else {
            ok = skip_value(&c);
        }
        if (!ok)
            return false;
        more = expect(&c, ',');
    }
    return expect(&c, '}') && timed && buf_ok(&r->text);
}

bool log_record_time(const char *line, size_t n, int64_t *ret_ns) {
    static const char mark[] = "\"time\":\"";
    struct cursor c = {line, line + n};
    char key[8];

    if (n > 0 && line[0] != '{')
        return compact_time(line, n, ret_ns);
    /* Ours is the last member: look there first. */
    for (size_t back = 30; back <= 60 && back <= n; back++) {
        const char *p = line + n - back;

        if (memcmp(p, mark, sizeof(mark) - 1) == 0) {
            struct cursor t = {p + sizeof(mark) - 2, line + n};

            if (read_time(&t, ret_ns))
                return true;
        }
    }
    if (!expect(&c, '{'))
        return false;
    for (;;) {
        if (!read_key(&c, key))
            return false;
        if (streq(key, "time"))
            return read_time(&c, ret_ns);
        if (!skip_value(&c) || !expect(&c, ','))
            return false;
    }
}
