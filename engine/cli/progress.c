// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include "base/clock.h"
#include "base/str.h"
#include "cli/cli.h"

struct line {
    char *id, *status;
    int64_t current, total;
};

struct progress {
    int width;
    size_t n;
    struct line lines[PROGRESS_LINES_MAX];
};

struct progress *progress_new(int width) {
    struct progress *p = calloc(1, sizeof *p);

    if (p)
        p->width = width;
    return p;
}

struct progress *progress_free(struct progress *p) {
    if (!p)
        return NULL;
    for (size_t i = 0; i < p->n; i++) {
        free(p->lines[i].id);
        free(p->lines[i].status);
    }
    free(p);
    return NULL;
}

void human_bytes(int64_t bytes, char ret[16]) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 999.5 && unit + 1 < ELEMENTSOF(units)) {
        value /= 1000;
        unit++;
    }
    snprintf(ret, 16, unit == 0 || value >= 99.95 ? "%.0f %s" : value >= 9.995 ? "%.1f %s" : "%.2f %s", value, units[unit]);
}

/* The line of an id, made when it is new; NULL when there are too many or memory ran out. */
static struct line *line_of(struct progress *p, const char *id) {
    struct line *l;

    for (size_t i = 0; i < p->n; i++)
        if (streq(p->lines[i].id, id))
            return &p->lines[i];
    if (p->n == PROGRESS_LINES_MAX)
        return NULL;
    l = &p->lines[p->n];
    *l = (struct line){.id = str_dup(id)};
    if (!l->id)
        return NULL;
    p->n++;
    return l;
}

static void draw(const struct progress *p, const struct line *l, struct buf *out) {
    int room = p->width - (int)strlen(l->id) - (int)strlen(l->status) - 30;

    buf_addf(out, "\r%s: %s", l->id, l->status);
    if (l->total > 0 && room >= 10) {
        int bar = MIN(room, 40), filled = (int)(bar * MIN(l->current, l->total) / l->total);
        char now[16], all[16];

        human_bytes(l->current, now);
        human_bytes(l->total, all);
        buf_adds(out, " [");
        for (int i = 0; i < bar; i++)
            buf_addc(out, i < filled ? '=' : i == filled ? '>' : ' ');
        buf_addf(out, "] %s / %s", now, all);
    } else if (l->current > 0) {
        char now[16];

        human_bytes(l->current, now);
        buf_addf(out, " %s", now);
    }
    buf_adds(out, "\x1b[K");
}

int progress_feed(struct progress *p, const json_t *message, struct buf *out, struct err *e) {
    const json_t *detail = json_object_get(message, "progressDetail");
    const char *id = json_text(message, "id"), *status = json_text(message, "status"), *error = json_text(message, "error");
    bool is_new, changed;
    struct line *l;
    size_t known = p->n, up;

    if (*error)
        return err_set(e, ERR_INTERNAL, "%s", error);
    if (!*status) { /* load says what it did as "stream" */
        buf_adds(out, json_text(message, "stream"));
        return 0;
    }
    l = *id ? line_of(p, id) : NULL;
    if (!l) {
        buf_addf(out, "%s%s%s\n", id, *id ? ": " : "", status);
        /* later lines come below this one */
        for (size_t i = 0; i < p->n && p->width; i++) {
            free(p->lines[i].id);
            free(p->lines[i].status);
        }
        if (p->width)
            p->n = 0;
        return 0;
    }
    is_new = p->n > known;
    changed = !l->status || !streq(l->status, status);
    if (changed && str_set(&l->status, status) < 0)
        return err_oom(e);
    l->current = json_number(detail, "current");
    l->total = json_number(detail, "total");
    if (!p->width) {
        if (changed)
            buf_addf(out, "%s: %s\n", id, status);
        return 0;
    }
    if (is_new)
        buf_adds(out, "\n");
    up = p->n - (size_t)(l - p->lines);
    buf_addf(out, "\x1b[%zuA", up);
    draw(p, l, out);
    buf_addf(out, "\x1b[%zuB\r", up);
    return 0;
}
