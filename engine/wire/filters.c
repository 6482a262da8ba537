// SPDX-License-Identifier: Apache-2.0
#include "wire/filters.h"

#include <errno.h>
#include <jansson.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/moment.h"
#include "base/str.h"

static void free_values(void *value) {
    struct strv *l = value;

    strv_done(l);
    free(l);
}

void filters_done(struct filters *f) {
    map_done_with(&f->keys, free_values);
}

static struct strv *values_of(struct filters *f, const char *key) {
    struct strv *l = map_get(&f->keys, key);

    if (l)
        return l;
    l = calloc(1, sizeof(*l));
    if (l && map_set(&f->keys, key, l, NULL) < 0) {
        free(l);
        return NULL;
    }
    return l;
}

int filters_add(struct filters *f, const char *key, const char *value) {
    struct strv *l = values_of(f, key);

    if (!l)
        return -ENOMEM;
    return strv_has(l, value) ? 0 : strv_add(l, value);
}

static void decrefp(json_t **j) {
    json_decref(*j);
}

static int bad(struct err *e) {
    return err_set(e, ERR_INVALID, "invalid filter");
}

/* One key. Values are an object or, in the older form, an array: all keys in one of the two, `form` of the first that says. */
static int parse_key(struct filters *f, const char *key, json_t *values, json_type *form, struct err *e) {
    const char *value;
    json_t *flag;
    size_t i;

    if (!values_of(f, key))
        return err_oom(e);
    if (json_is_null(values))
        return 0;
    if (*form == JSON_NULL)
        *form = json_typeof(values);
    if (json_typeof(values) != *form)
        return bad(e);
    if (json_is_object(values)) {
        json_object_foreach(values, value, flag) {
            if (!json_is_boolean(flag) && !json_is_null(flag))
                return bad(e);
            if (filters_add(f, key, value) < 0)
                return err_oom(e);
        }
        return 0;
    }
    if (json_is_array(values)) {
        json_array_foreach(values, i, flag) {
            if (!json_is_string(flag) && !json_is_null(flag))
                return bad(e);
            if (filters_add(f, key, json_is_null(flag) ? "" : json_string_value(flag)) < 0)
                return err_oom(e);
        }
        return 0;
    }
    return bad(e);
}

int filters_parse(struct filters *ret, const char *text, struct err *e) {
    _cleanup_(decrefp) json_t *root = NULL;
    _cleanup_filters_ struct filters f = FILTERS_INIT;
    json_type form = JSON_NULL;
    const char *key;
    json_t *values;

    if (str_empty(text)) {
        *ret = FILTERS_INIT;
        return 0;
    }
    root = json_loads(text, JSON_DECODE_ANY, NULL);
    if (json_is_null(root)) {
        *ret = FILTERS_INIT;
        return 0;
    }
    if (!json_is_object(root))
        return bad(e);
    json_object_foreach(root, key, values) {
        int r = parse_key(&f, key, values, &form, e);

        if (r < 0)
            return r;
    }
    *ret = f;
    f = FILTERS_INIT;
    return 0;
}

int filters_validate(const struct filters *f, const char *const *accepted, struct err *e) {
    for (struct map_entry *i = NULL; (i = map_next(&f->keys, i));) {
        const char *const *a = accepted;

        while (*a && !streq(*a, i->key))
            a++;
        if (!*a)
            return err_set(e, ERR_INVALID, "invalid filter '%s'", i->key);
    }
    return 0;
}

const struct strv *filters_get(const struct filters *f, const char *key) {
    return map_get(&f->keys, key);
}

bool filters_has(const struct filters *f, const char *key) {
    return map_has(&f->keys, key);
}

int filters_until(const struct filters *f, int64_t *ret, struct err *e) {
    const struct strv *l = filters_get(f, "until");

    if (!l || l->n == 0) {
        *ret = CLOCK_ZERO;
        return 0;
    }
    if (l->n > 1)
        return err_set(e, ERR_INVALID, "more than one until filter specified");
    return moment_parse(l->v[0], clock_wall_ns(), ret, e);
}

int filters_bool(const struct filters *f, const char *key, bool fallback, bool *ret, struct err *e) {
    const struct strv *l = filters_get(f, key);
    bool yes, no;

    if (!l) {
        *ret = fallback;
        return 0;
    }
    if (l->n == 0)
        return err_set(e, ERR_INVALID, "invalid filter '%s'", key);
    yes = strv_has(l, "1") || strv_has(l, "true");
    no = strv_has(l, "0") || strv_has(l, "false");
    if (yes == no) {
        _cleanup_free_ char *all = strv_join(l, " ");

        return err_set(e, ERR_INVALID, "invalid filter '%s=[%s]'", key, all ? all : "");
    }
    *ret = yes;
    return 0;
}

bool filters_exact(const struct filters *f, const char *key, const char *source) {
    const struct strv *l = filters_get(f, key);

    return !l || l->n == 0 || strv_has(l, source);
}

bool filters_fuzzy(const struct filters *f, const char *key, const char *source) {
    const struct strv *l = filters_get(f, key);

    if (!l || l->n == 0)
        return true;
    for (size_t i = 0; i < l->n; i++)
        if (str_has_prefix(source, l->v[i]))
            return true;
    return false;
}

/* Digits have a letter in the reference's expressions (RE2), but none in POSIX's, not even with GNU's extensions. */
static int add_digits(struct buf *out, const char *pattern) {
    for (const char *p = pattern; *p; p++) {
        if (*p != '\\')
            buf_addc(out, *p);
        else if (p[1] == 'd' || p[1] == 'D')
            buf_adds(out, *++p == 'd' ? "[0-9]" : "[^0-9]");
        else
            buf_add(out, p, p[1] ? 2 : 1), p += p[1] != 0;
    }
    return buf_check(out, NULL);
}

static bool regex_finds(const char *pattern, const char *text) {
    _cleanup_buf_ struct buf posix = BUF_INIT(LIMIT_SMALL_FILE);
    regex_t re;
    bool found;

    if (add_digits(&posix, pattern) < 0 || regcomp(&re, buf_str(&posix), REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    found = regexec(&re, text, 0, NULL, 0) == 0;
    regfree(&re);
    return found;
}

bool filters_match(const struct filters *f, const char *key, const char *source) {
    const struct strv *l = filters_get(f, key);

    if (!l || l->n == 0 || strv_has(l, source))
        return true;
    for (size_t i = 0; i < l->n; i++)
        if (regex_finds(l->v[i], source))
            return true;
    return false;
}

bool filters_kv(const struct filters *f, const char *key, const struct strv *pairs) {
    const struct strv *l = filters_get(f, key);

    if (!l)
        return true;
    for (size_t i = 0; i < l->n; i++) {
        const char *want = l->v[i], *eq = strchr(want, '=');
        _cleanup_free_ char *name = eq ? strndup(want, (size_t)(eq - want)) : strdup(want);
        const char *have = name ? strv_env_get(pairs, name) : NULL;

        if (!have || (eq && !streq(have, eq + 1)))
            return false;
    }
    return true;
}
