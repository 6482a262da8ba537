// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "wire/codec-internal.h"

/* One step of the path to the value under check; printed only when something is wrong. */
struct place {
    const struct place *up;
    const char *name; /* field or key, NULL for an index */
    size_t index;
};

static void add_place(struct buf *b, const struct place *p) {
    if (!p)
        return;
    add_place(b, p->up);
    if (!p->name)
        buf_addf(b, "[%zu]", p->index);
    else
        buf_addf(b, "%s%s", p->up ? "." : "", p->name);
}

static int wrong(const struct place *p, const char *why, const char *detail, struct err *e) {
    _cleanup_buf_ struct buf path = BUF_INIT(CODEC_PATH_MAX);

    add_place(&path, p);
    return err_set(e, ERR_INTERNAL, "%s: %s%s", buf_str(&path), why, detail);
}

static const char *json_word(const json_t *j) {
    static const char *const words[] = {
        [JSON_OBJECT] = "object", [JSON_ARRAY] = "array", [JSON_STRING] = "string", [JSON_INTEGER] = "integer",
        [JSON_REAL] = "real",     [JSON_TRUE] = "bool",   [JSON_FALSE] = "bool",    [JSON_NULL] = "null",
    };

    return words[json_typeof(j)];
}

static int check(const struct codec_schema *s, unsigned type, const json_t *j, const struct place *p, struct err *e);

static int check_object(const struct codec_schema *s, const struct codec_struct *st, const json_t *j, const struct place *p, struct err *e) {
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)j, key, value) {
        const struct codec_field *f = NULL;
        struct place here = {p, key, 0};

        for (size_t i = 0; i < st->n && !f; i++)
            if (strcmp(s->pool + s->fields[st->first + i].name, key) == 0)
                f = s->fields + st->first + i;
        if (!f && !st->open)
            return wrong(&here, "unknown field", "", e);
        if (!f)
            continue;
        if (json_is_null(value)) {
            uint8_t kind = s->types[f->type].kind;

            if (!(f->flags & CODEC_NULLABLE) && kind != CODEC_ANY)
                return wrong(&here, "null is not allowed", "", e);
            continue;
        }
        /* Where the reference writes "" for unset, that stands beside the enumeration. */
        if (f->unset == CODEC_ZERO && json_is_string(value) && json_string_length(value) == 0 && s->types[f->type].kind == CODEC_STRING)
            continue;
        int r = check(s, f->type, value, &here, e);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < st->n; i++) {
        const struct codec_field *f = s->fields + st->first + i;

        if (f->flags & CODEC_REQUIRED && !json_object_get(j, s->pool + f->name))
            return wrong(p, "missing required field ", s->pool + f->name, e);
    }
    return 0;
}

static int check_enum(const struct codec_schema *s, const struct codec_type *t, const json_t *j, const struct place *p, struct err *e) {
    const char *v = s->pool + t->enums;

    if (t->n_enum == 0)
        return 0;
    for (unsigned i = 0; i < t->n_enum; i++, v += strlen(v) + 1)
        if (strcmp(v, json_string_value(j)) == 0)
            return 0;
    return wrong(p, "value outside the enumeration: ", json_string_value(j), e);
}

static int check(const struct codec_schema *s, unsigned type, const json_t *j, const struct place *p, struct err *e) {
    static const char *const want[] = {
        [CODEC_STRING] = "string", [CODEC_BOOL] = "bool",  [CODEC_INT] = "integer", [CODEC_DOUBLE] = "number",
        [CODEC_OBJECT] = "object", [CODEC_LIST] = "array", [CODEC_MAP] = "object",  [CODEC_SET] = "object",
    };
    const struct codec_type *t = s->types + type;
    bool right = true;

    switch ((enum codec_kind)t->kind) {
    case CODEC_STRING:
        right = json_is_string(j);
        if (right)
            return check_enum(s, t, j, p, e);
        break;
    case CODEC_BOOL:
        right = json_is_boolean(j);
        break;
    case CODEC_INT:
        right = json_is_integer(j);
        break;
    case CODEC_DOUBLE:
        right = json_is_number(j);
        break;
    case CODEC_OBJECT:
        right = json_is_object(j);
        if (right)
            return check_object(s, s->structs + t->st, j, p, e);
        break;
    case CODEC_LIST:
        right = json_is_array(j);
        for (size_t i = 0; right && i < json_array_size(j); i++) {
            struct place here = {p, NULL, i};
            const json_t *elem = json_array_get(j, i);
            int r = json_is_null(elem) && s->types[t->elem].flags & CODEC_BYREF ? 0 : check(s, t->elem, elem, &here, e);

            if (r < 0)
                return r;
        }
        break;
    case CODEC_MAP:
    case CODEC_SET: {
        const char *key;
        json_t *value;

        right = json_is_object(j);
        if (!right || t->kind == CODEC_SET)
            break;
        json_object_foreach((json_t *)j, key, value) {
            struct place here = {p, key, 0};
            uint8_t kind = s->types[t->elem].kind;
            /* Go writes nil lists, maps and pointers inside maps as null. */
            int r = json_is_null(value) && kind >= CODEC_OBJECT ? 0 : check(s, t->elem, value, &here, e);

            if (r < 0)
                return r;
        }
        break;
    }
    case CODEC_ANY:
        break;
    }
    if (right)
        return 0;
    char why[64];
    snprintf(why, sizeof(why), "is %s, not ", json_word(j));
    return wrong(p, why, want[t->kind], e);
}

int codec_check(const struct codec_schema *s, unsigned type, const json_t *body, struct err *e) {
    const struct codec_type *t = s->types + type;
    struct place root = {NULL, t->kind == CODEC_OBJECT ? s->pool + s->structs[t->st].name : s->pool + t->go, 0};

    return check(s, type, body, &root, e);
}
