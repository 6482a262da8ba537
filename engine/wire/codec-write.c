// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "wire/codec-internal.h"

static void write_value(const struct codec_schema *s, unsigned type, const void *v, int version, struct buf *out);

static const void *at(const void *p, size_t off) {
    return (const char *)p + off;
}

/* Bytes that a JSON string holds as they are: all ASCII but controls, the quote and the backslash. */
static bool is_plain(unsigned char c) {
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static void add_escape(struct buf *out, unsigned char c) {
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    const char *at = strchr(from, c);

    if (c && at) {
        char two[2] = {'\\', to[at - from]};

        buf_add(out, two, 2);
    } else {
        buf_addf(out, "\\u%04x", c);
    }
}

void codec_add_string(struct buf *out, const char *s, bool html) {
    const unsigned char *p = (const unsigned char *)(s ? s : ""), *run = p;

    if (html) {
        buf_add_json_string(out, s);
        return;
    }
    buf_addc(out, '"');
    for (;;) {
        while (is_plain(*p))
            p++;
        if (p > run)
            buf_add(out, run, (size_t)(p - run));
        if (!*p)
            break;
        if (*p < 0x80) {
            add_escape(out, *p++);
        } else {
            /* The escaper in base/ knows UTF-8: hand it the run of bytes above ASCII and take off its quotes. */
            const unsigned char *high = p;

            while (*p >= 0x80)
                p++;
            _cleanup_buf_ struct buf tmp = BUF_INIT((size_t)(p - high) * 6 + 8);

            buf_add_json_stringn(&tmp, (const char *)high, (size_t)(p - high));
            if (tmp.len >= 2)
                buf_add(out, tmp.data + 1, tmp.len - 2);
        }
        run = p;
    }
    buf_addc(out, '"');
}

void codec_format_double(double v, char *out, size_t size) {
    double mag = fabs(v);
    char *exp;

    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, size, "%.*g", digits, v);
        if (strtod(out, NULL) == v)
            break;
    }
    exp = strchr(out, 'e');
    if (!exp)
        return;
    /* Go turns to exponents only outside 1e-6 .. 1e21, and writes e-9, not e-09. */
    if (mag >= 1e-6 && mag < 1e21) {
        for (int digits = 0; digits <= 24; digits++) {
            snprintf(out, size, "%.*f", digits, v);
            if (strtod(out, NULL) == v)
                return;
        }
    } else if (exp[1] == '-' && exp[2] == '0') {
        memmove(exp + 2, exp + 3, strlen(exp + 3) + 1);
    }
}

static void add_double(struct buf *out, double v) {
    char num[64];

    codec_format_double(v, num, sizeof(num));
    buf_adds(out, num);
}

static int dump_piece(const char *p, size_t n, void *out) {
    buf_add(out, p, n);
    return buf_ok(out) ? 0 : -1;
}

static const char *const *key_of(const void *entry) {
    return entry;
}

static int by_key(const void *a, const void *b) {
    return strcmp(*key_of(*(const void *const *)a), *key_of(*(const void *const *)b));
}

static void write_map_entry(const struct codec_schema *s, const struct codec_type *t, const void *entry, int version, struct buf *out) {
    codec_add_string(out, *key_of(entry), version & CODEC_ESCAPE_HTML);
    buf_addc(out, ':');
    if (t->kind == CODEC_SET)
        buf_adds(out, "{}");
    else if (s->types[t->elem].kind == CODEC_OBJECT && !*(const void *const *)at(entry, t->value))
        buf_adds(out, "null");
    else if (s->types[t->elem].kind == CODEC_OBJECT)
        write_value(s, t->elem, *(const void *const *)at(entry, t->value), version, out);
    else
        write_value(s, t->elem, at(entry, t->value), version, out);
}

/* Maps come out sorted by key, as Go writes them. Handlers mostly build them sorted already. */
static void write_map(const struct codec_schema *s, const struct codec_type *t, const struct codec_list *l, int version, struct buf *out) {
    _cleanup_free_ const void **order = NULL;
    bool sorted = true;

    for (size_t i = 1; i < l->n && sorted; i++)
        sorted = strcmp(*key_of(at(l->v, (i - 1) * t->size)), *key_of(at(l->v, i * t->size))) <= 0;
    if (!sorted) {
        order = calloc(l->n, sizeof(*order));
        if (!order) {
            out->failed = true;
            return;
        }
        for (size_t i = 0; i < l->n; i++)
            order[i] = at(l->v, i * t->size);
        qsort(order, l->n, sizeof(*order), by_key);
    }
    buf_addc(out, '{');
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            buf_addc(out, ',');
        write_map_entry(s, t, order ? order[i] : at(l->v, i * t->size), version, out);
    }
    buf_addc(out, '}');
}

static void write_list(const struct codec_schema *s, const struct codec_type *t, const struct codec_list *l, int version, struct buf *out) {
    buf_addc(out, '[');
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            buf_addc(out, ',');
        write_value(s, t->elem, at(l->v, i * t->size), version, out);
    }
    buf_addc(out, ']');
}

/* What an unset field becomes. */
static void write_unset(const struct codec_schema *s, const struct codec_type *t, unsigned unset, unsigned type, int version, struct buf *out) {
    if (unset == CODEC_NULL) {
        buf_adds(out, "null");
        return;
    }
    switch ((enum codec_kind)t->kind) {
    case CODEC_STRING:
        buf_adds(out, t->flags & CODEC_TIME && unset == CODEC_ZERO ? "\"0001-01-01T00:00:00Z\"" : "\"\"");
        break;
    case CODEC_BOOL:
        buf_adds(out, "false");
        break;
    case CODEC_INT:
    case CODEC_DOUBLE:
        buf_addc(out, '0');
        break;
    case CODEC_OBJECT: {
        _cleanup_free_ void *zero = unset == CODEC_ZERO ? calloc(1, s->structs[t->st].size) : NULL;

        if (zero)
            write_value(s, type, zero, version, out);
        else
            buf_adds(out, "{}");
        break;
    }
    case CODEC_LIST:
        if (unset == CODEC_ZERO && t->flags & CODEC_FIXED) {
            for (unsigned i = 0; i < t->bits; i++)
                buf_adds(out, i ? ",0" : "[0");
            buf_addc(out, ']');
        } else {
            buf_adds(out, unset == CODEC_EMPTY ? "[]" : "null");
        }
        break;
    case CODEC_MAP:
    case CODEC_SET:
        buf_adds(out, unset == CODEC_EMPTY ? "{}" : "null");
        break;
    case CODEC_ANY:
        buf_adds(out, unset == CODEC_EMPTY ? "{}" : "null");
        break;
    }
}

struct presence {
    bool set;  /* the handler gave a value */
    bool zero; /* and it is Go's zero value (or an empty list or map) */
};

static struct presence look(const struct codec_type *t, const struct codec_field *f, const void *base) {
    const void *v = at(base, f->off);
    bool has = f->has != CODEC_NONE && *(const bool *)at(base, f->has);

    switch ((enum codec_kind)t->kind) {
    case CODEC_STRING: {
        const char *str = *(char *const *)v;

        return (struct presence){str != NULL, !str || !*str};
    }
    /* A value other than zero is there, whether or not its flag was raised. */
    case CODEC_BOOL:
        return (struct presence){has || *(const bool *)v, !*(const bool *)v};
    case CODEC_INT:
        return (struct presence){has || *(const int64_t *)v, *(const int64_t *)v == 0};
    case CODEC_DOUBLE:
        return (struct presence){has || *(const double *)v != 0, *(const double *)v == 0};
    case CODEC_OBJECT:
    case CODEC_ANY:
        return (struct presence){*(void *const *)v != NULL, false};
    default: {
        const struct codec_list *l = v;

        return (struct presence){l->set || l->n > 0, l->n == 0};
    }
    }
}

static void write_struct(const struct codec_schema *s, const struct codec_struct *st, const void *base, int version, struct buf *out) {
    unsigned minor = (unsigned)(version & CODEC_VERSION_MASK) % 100;
    bool first = true;

    buf_addc(out, '{');
    for (size_t i = 0; i < st->n; i++) {
        const struct codec_field *f = s->fields + st->first + i;
        const struct codec_type *t = s->types + f->type;
        struct presence p = look(t, f, base);
        const void *v = at(base, f->off);

        if (minor < f->since || minor > f->until)
            continue;
        if (!p.set && (f->unset == CODEC_OMIT || version & CODEC_SPARSE))
            continue;
        if (p.set && p.zero && f->unset == CODEC_OMIT && !(f->flags & CODEC_POINTER))
            continue;
        buf_add(out, first ? "\"" : ",\"", first ? 1 : 2);
        first = false;
        /* No name in the API needs escaping (a test of the generator sees to that). */
        buf_adds(out, s->pool + f->name);
        buf_add(out, "\":", 2);
        if (!p.set)
            write_unset(s, t, f->unset, f->type, version, out);
        else
            write_value(s, f->type, t->kind == CODEC_OBJECT ? *(void *const *)v : v, version, out);
    }
    buf_addc(out, '}');
}

static void write_value(const struct codec_schema *s, unsigned type, const void *v, int version, struct buf *out) {
    const struct codec_type *t = s->types + type;

    switch ((enum codec_kind)t->kind) {
    case CODEC_STRING:
        codec_add_string(out, *(char *const *)v, version & CODEC_ESCAPE_HTML);
        break;
    case CODEC_BOOL:
        buf_adds(out, *(const bool *)v ? "true" : "false");
        break;
    case CODEC_INT:
        /* Kept in 64 bits with a sign; those above INT64_MAX come out as what they are ("no limit" is UINT64_MAX at times). */
        if (t->flags & CODEC_UNSIGNED)
            buf_addu(out, (uint64_t) * (const int64_t *)v);
        else
            buf_addi(out, *(const int64_t *)v);
        break;
    case CODEC_DOUBLE:
        add_double(out, *(const double *)v);
        break;
    case CODEC_OBJECT:
        write_struct(s, s->structs + t->st, v, version, out);
        break;
    case CODEC_LIST:
    case CODEC_MAP:
    case CODEC_SET: {
        const struct codec_list *l = v;

        /* Inside a list or map, an aggregate nobody set is Go's nil. */
        if (!l->set && l->n == 0)
            buf_adds(out, "null");
        else if (t->kind == CODEC_LIST)
            write_list(s, t, l, version, out);
        else
            write_map(s, t, l, version, out);
        break;
    }
    case CODEC_ANY:
        if (!*(json_t *const *)v)
            buf_adds(out, "null");
        else if (json_dump_callback(*(json_t *const *)v, dump_piece, out, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS) < 0)
            out->failed = true;
        break;
    }
}

int codec_write(const struct codec_schema *s, unsigned type, const void *v, int version, struct buf *out, struct err *e) {
    write_value(s, type, v, version, out);
    return buf_check(out, e);
}
