// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include "base/cleanup.h"
#include "base/str.h"

void table_init(struct table *t, const char *const *heads) {
    *t = (struct table){0};
    for (; heads[t->columns]; t->columns++)
        if (strv_add(&t->cells, heads[t->columns]) < 0)
            t->failed = true;
}

void table_done(struct table *t) {
    strv_done(&t->cells);
}

void table_cell(struct table *t, const char *text) {
    char *copy = str_dup(text);

    /* names and commands come from images: they must not steer the terminal */
    for (char *at = copy; at && *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    if (strv_consume(&t->cells, copy) < 0)
        t->failed = true;
}

/* Characters of UTF-8 text: bytes that start one. */
static size_t width(const char *s) {
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

int table_print(const struct table *t, struct buf *out, struct err *e) {
    size_t widest[TABLE_COLUMNS_MAX] = {0};

    if (t->failed || t->columns > TABLE_COLUMNS_MAX)
        return err_oom(e);
    for (size_t i = 0; i < t->cells.n; i++)
        widest[i % t->columns] = MAX(widest[i % t->columns], width(t->cells.v[i]));
    for (size_t i = 0; i < t->cells.n; i++) {
        size_t column = i % t->columns;

        buf_adds(out, t->cells.v[i]);
        if (column + 1 == t->columns) {
            buf_addc(out, '\n');
            continue;
        }
        for (size_t k = width(t->cells.v[i]); k < widest[column] + 3; k++)
            buf_addc(out, ' ');
    }
    return buf_check(out, e);
}

int table_json(const json_t *j, struct buf *out, struct err *e) {
    _cleanup_free_ char *text = json_dumps(j, JSON_INDENT(4) | JSON_ENCODE_ANY);

    if (!text)
        return err_oom(e);
    buf_addf(out, "%s\n", text);
    return buf_check(out, e);
}

void human_age(int64_t seconds, char ret[48]) {
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{365 * 86400, "year"}, {30 * 86400, "month"}, {7 * 86400, "week"}, {86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};

    for (size_t i = 0; i < ELEMENTSOF(units); i++) {
        int64_t n = seconds / units[i].seconds;

        if (n >= 2 || (n == 1 && i + 1 >= ELEMENTSOF(units) - 1)) {
            snprintf(ret, 48, "%lld %s%s ago", (long long)n, units[i].name, n == 1 ? "" : "s");
            return;
        }
    }
    snprintf(ret, 48, "just now");
}
