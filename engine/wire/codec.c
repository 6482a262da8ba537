// SPDX-License-Identifier: Apache-2.0
#include "wire/codec.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "wire/codec-internal.h"

/* State of one read: where we are (for error texts) and the first error met. */
struct reader {
    const struct codec_schema *s;
    const char *st;  /* Go name of the innermost struct, without its package; NULL outside of any */
    struct buf path; /* field names from the root, joined by dots */
    struct err first;
    bool oom;
};

static const char *str(const struct codec_schema *s, uint32_t off) {
    return s->pool + off;
}

static void *at(void *p, size_t off) {
    return (char *)p + off;
}

/* Remember the first type error, worded as Go's UnmarshalTypeError. `what` is Go's word for the JSON value. */
static void mismatch(struct reader *r, const char *what, const char *go_type) {
    if (r->first.kind != ERR_NONE)
        return;
    if (r->st || r->path.len > 0)
        err_set(&r->first, ERR_INVALID, "json: cannot unmarshal %s into Go struct field %s.%s of type %s", what, r->st ? r->st : "",
                buf_str(&r->path), go_type);
    else
        err_set(&r->first, ERR_INVALID, "json: cannot unmarshal %s into Go value of type %s", what, go_type);
}

const char *codec_word(const json_t *in) {
    switch (json_typeof(in)) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_TRUE:
    case JSON_FALSE:
        return "bool";
    default:
        return "number";
    }
}

static void read_value(struct reader *r, unsigned type, void *slot, bool *has, json_t *in);

static void read_int(struct reader *r, const struct codec_type *t, int64_t *slot, bool *has, json_t *in) {
    char what[64];

    if (json_is_integer(in)) {
        int64_t v = json_integer_value(in);
        bool fits;

        if (t->flags & CODEC_UNSIGNED)
            fits = v >= 0 && (t->bits >= 64 || (uint64_t)v >> t->bits == 0);
        else
            fits = t->bits >= 64 || (v >= -((int64_t)1 << (t->bits - 1)) && v < (int64_t)1 << (t->bits - 1));
        if (fits) {
            *slot = v;
            *has = true;
            return;
        }
        snprintf(what, sizeof(what), "number %lld", (long long)v);
    } else if (json_is_real(in)) {
        char num[40];

        codec_format_double(json_real_value(in), num, sizeof(num));
        snprintf(what, sizeof(what), "number %s", num);
    } else {
        mismatch(r, codec_word(in), str(r->s, t->go));
        return;
    }
    mismatch(r, what, str(r->s, t->go));
}

static const struct codec_field *find_field(const struct codec_schema *s, const struct codec_struct *st, const char *key) {
    const struct codec_field *f = s->fields + st->first, *folded = NULL;

    for (size_t i = 0; i < st->n; i++) {
        const char *name = str(s, f[i].name);

        /* Most keys differ in the first letter already. */
        if (((name[0] ^ key[0]) & ~0x20) != 0)
            continue;
        if (strcmp(name, key) == 0)
            return &f[i];
        if (!folded && strcasecmp(name, key) == 0)
            folded = &f[i];
    }
    return folded;
}

static void read_object(struct reader *r, const struct codec_struct *st, void *base, json_t *in) {
    const char *outer = r->st, *go = str(r->s, st->go), *dot = strrchr(go, '.');
    size_t depth = r->path.len;
    const char *key;
    json_t *value;

    json_object_foreach(in, key, value) {
        const struct codec_field *f = find_field(r->s, st, key);
        bool unused;

        if (!f)
            continue;
        if (depth > 0)
            buf_addc(&r->path, '.');
        if (str(r->s, f->embed)[0]) {
            buf_adds(&r->path, str(r->s, f->embed));
            buf_addc(&r->path, '.');
        }
        buf_adds(&r->path, str(r->s, f->name));
        r->st = dot ? dot + 1 : go;
        read_value(r, f->type, at(base, f->off), f->has == CODEC_NONE ? &unused : at(base, f->has), value);
        r->st = outer;
        r->path.len = depth;
        if (r->path.data)
            r->path.data[depth] = 0;
    }
}

/* The struct behind a pointer slot, made when it is not there yet: as in Go, a key given twice merges. */
static void *need_object(struct reader *r, const struct codec_struct *st, void **slot) {
    if (!*slot && !(*slot = calloc(1, st->size)))
        r->oom = true;
    return *slot;
}

static void read_object_ref(struct reader *r, const struct codec_type *t, void **slot, json_t *in) {
    const struct codec_struct *st = r->s->structs + t->st;
    void *obj;

    if (!json_is_object(in)) {
        mismatch(r, codec_word(in), str(r->s, t->go));
        return;
    }
    obj = need_object(r, st, slot);
    if (obj)
        read_object(r, st, obj, in);
}

static void read_elem(struct reader *r, unsigned type, void *slot, json_t *in) {
    const struct codec_type *t = r->s->types + type;
    bool unused;

    /* Objects sit in lists by value. */
    if (t->kind == CODEC_OBJECT) {
        if (json_is_object(in))
            read_object(r, r->s->structs + t->st, slot, in);
        else if (!json_is_null(in))
            mismatch(r, codec_word(in), str(r->s, t->go));
        return;
    }
    read_value(r, type, slot, &unused, in);
    /* Go has no unset strings: null leaves "" behind. */
    if (t->kind == CODEC_STRING && !*(char **)slot && !(*(char **)slot = strdup("")))
        r->oom = true;
}

/* Elements to make room for when there are n: the next power of two, so that growing stays cheap. */
static size_t codec_room(size_t n) {
    size_t room = 1;

    while (room < n)
        room *= 2;
    return room;
}

static void read_list(struct reader *r, unsigned type, struct codec_list *l, json_t *in) {
    const struct codec_type *t = r->s->types + type;
    size_t n = json_array_size(in), want = t->flags & CODEC_FIXED ? t->bits : n;

    if (json_is_string(in) && (t->flags & CODEC_STRSLICE)) {
        codec_done(r->s, type, l);
        if (codec_string_add(&l->n, (char ***)&l->v, &l->set, json_string_value(in), NULL) < 0)
            r->oom = true;
        return;
    }
    if (!json_is_array(in)) {
        /* A StrSlice that is neither is complained about as a string, by its own unmarshaller. */
        mismatch(r, codec_word(in), str(r->s, t->flags & CODEC_STRSLICE ? r->s->types[t->elem].go : t->go));
        return;
    }
    /* It tries a list of strings, then a string: what is told is why it is not the latter. */
    for (size_t i = 0; t->flags & CODEC_STRSLICE && i < n; i++)
        if (!json_is_string(json_array_get(in, i)) && !json_is_null(json_array_get(in, i))) {
            mismatch(r, codec_word(in), str(r->s, r->s->types[t->elem].go));
            return;
        }
    codec_done(r->s, type, l);
    l->set = true;
    if (want == 0)
        return;
    l->v = calloc(want, t->size);
    if (!l->v) {
        r->oom = true;
        return;
    }
    l->n = want;
    for (size_t i = 0; i < MIN(n, want); i++)
        read_elem(r, t->elem, at(l->v, i * t->size), json_array_get(in, i));
}

static int by_key(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void read_map(struct reader *r, unsigned type, struct codec_list *l, json_t *in) {
    const struct codec_type *t = r->s->types + type;
    bool set = t->kind == CODEC_SET;
    size_t i = 0;
    const char *key;
    json_t *value;

    if (!json_is_object(in)) {
        mismatch(r, codec_word(in), str(r->s, t->go));
        return;
    }
    codec_done(r->s, type, l);
    l->set = true;
    if (json_object_size(in) == 0)
        return;
    l->v = calloc(json_object_size(in), t->size);
    if (!l->v) {
        r->oom = true;
        return;
    }
    json_object_foreach(in, key, value) {
        void *entry = at(l->v, i * t->size);
        bool unused;

        if (!(*(char **)entry = strdup(key))) {
            r->oom = true;
            return;
        }
        l->n = ++i;
        if (set) {
            if (!json_is_object(value) && !json_is_null(value))
                mismatch(r, codec_word(value), "struct {}");
        } else {
            read_value(r, t->elem, at(entry, t->value), &unused, value);
        }
    }
    /* Kept in the order that the reference writes: by key. */
    qsort(l->v, l->n, t->size, by_key);
}

static void read_string(struct reader *r, const struct codec_type *t, char **slot, json_t *in) {
    char *copy;

    if (!json_is_string(in)) {
        mismatch(r, codec_word(in), str(r->s, t->go));
        return;
    }
    /* A NUL would silently cut the text: nothing the API takes may hold one. */
    if (memchr(json_string_value(in), 0, json_string_length(in))) {
        if (r->first.kind == ERR_NONE)
            err_set(&r->first, ERR_INVALID, "json: NUL byte in field %s", buf_str(&r->path));
        return;
    }
    copy = strdup(json_string_value(in));
    if (!copy) {
        r->oom = true;
        return;
    }
    free(*slot);
    *slot = copy;
}

static void read_value(struct reader *r, unsigned type, void *slot, bool *has, json_t *in) {
    const struct codec_type *t = r->s->types + type;

    if (json_is_null(in)) {
        /* Go: null empties pointers, maps and slices and leaves everything else as it is. */
        if (t->kind >= CODEC_OBJECT)
            codec_done_slot(r->s, type, slot);
        return;
    }
    switch ((enum codec_kind)t->kind) {
    case CODEC_STRING:
        read_string(r, t, slot, in);
        break;
    case CODEC_BOOL:
        if (json_is_boolean(in)) {
            *(bool *)slot = json_is_true(in);
            *has = true;
        } else {
            mismatch(r, codec_word(in), str(r->s, t->go));
        }
        break;
    case CODEC_INT:
        read_int(r, t, slot, has, in);
        break;
    case CODEC_DOUBLE:
        if (json_is_number(in)) {
            *(double *)slot = json_number_value(in);
            *has = true;
        } else {
            mismatch(r, codec_word(in), str(r->s, t->go));
        }
        break;
    case CODEC_OBJECT:
        read_object_ref(r, t, slot, in);
        break;
    case CODEC_LIST:
        read_list(r, type, slot, in);
        break;
    case CODEC_MAP:
    case CODEC_SET:
        read_map(r, type, slot, in);
        break;
    case CODEC_ANY:
        json_decref(*(json_t **)slot);
        *(json_t **)slot = json_incref(in);
        break;
    }
}

int codec_read(const struct codec_schema *s, unsigned type, void *ret, json_t *in, const char *go_path, struct err *e) {
    const struct codec_type *t = s->types + type;
    struct reader r = {.s = s, .path = BUF_INIT(CODEC_PATH_MAX)};
    int ret_code = 0;

    if (!in)
        return 0;
    if (go_path)
        buf_adds(&r.path, go_path);
    if (t->kind == CODEC_OBJECT) {
        if (json_is_object(in))
            read_object(&r, s->structs + t->st, ret, in);
        else if (!json_is_null(in))
            mismatch(&r, codec_word(in), str(s, t->go));
    } else {
        bool unused;

        read_value(&r, type, ret, &unused, in);
    }
    buf_done(&r.path);
    if (r.oom)
        ret_code = err_oom(e);
    else if (r.first.kind != ERR_NONE)
        ret_code = err_set(e, r.first.kind, "%s%s", go_path ? "" : "invalid JSON: ", err_msg(&r.first));
    err_done(&r.first);
    return ret_code;
}

/* Release what a field or map value of this type holds: unlike codec_done(), objects are pointers here. */
void codec_done_slot(const struct codec_schema *s, unsigned type, void *slot) {
    if (s->types[type].kind == CODEC_OBJECT) {
        void **p = slot;

        if (*p)
            codec_done(s, type, *p);
        free(*p);
        *p = NULL;
        return;
    }
    codec_done(s, type, slot);
}

void codec_done(const struct codec_schema *s, unsigned type, void *v) {
    const struct codec_type *t = s->types + type;

    switch ((enum codec_kind)t->kind) {
    case CODEC_STRING:
        free(*(char **)v);
        *(char **)v = NULL;
        break;
    case CODEC_BOOL:
        *(bool *)v = false;
        break;
    case CODEC_INT:
        *(int64_t *)v = 0;
        break;
    case CODEC_DOUBLE:
        *(double *)v = 0;
        break;
    case CODEC_OBJECT: {
        const struct codec_struct *st = s->structs + t->st;

        for (size_t i = 0; i < st->n; i++)
            codec_done_slot(s, s->fields[st->first + i].type, at(v, s->fields[st->first + i].off));
        memset(v, 0, st->size);
        break;
    }
    case CODEC_LIST:
    case CODEC_MAP:
    case CODEC_SET: {
        struct codec_list *l = v;

        for (size_t i = 0; i < l->n; i++) {
            void *elem = at(l->v, i * t->size);

            if (t->kind == CODEC_LIST) {
                codec_done(s, t->elem, elem);
                continue;
            }
            free(*(char **)elem);
            if (t->kind == CODEC_MAP)
                codec_done_slot(s, t->elem, at(elem, t->value));
        }
        free(l->v);
        *l = (struct codec_list){0};
        break;
    }
    case CODEC_ANY:
        json_decref(*(json_t **)v);
        *(json_t **)v = NULL;
        break;
    }
}

void *codec_list_add(size_t *n, void **v, bool *set, size_t size) {
    /* Asked every time, because the list may have been made by hand to its exact size; mostly the allocator has nothing to do. */
    void *bigger = reallocarray(*v, codec_room(*n + 1), size);

    if (!bigger)
        return NULL;
    *v = bigger;
    *set = true;
    return memset(at(*v, (*n)++ * size), 0, size);
}

int codec_string_add(size_t *n, char ***v, bool *set, const char *s, struct err *e) {
    _cleanup_free_ char *copy = strdup(s);
    char **slot = copy ? codec_list_add(n, (void **)v, set, sizeof(char *)) : NULL;

    if (!slot)
        return err_oom(e);
    *slot = TAKE_PTR(copy);
    return 0;
}

void *codec_map_add(size_t *n, void **v, bool *set, size_t size, const char *key) {
    _cleanup_free_ char *copy = strdup(key);
    char **entry = copy ? codec_list_add(n, v, set, size) : NULL;

    if (entry)
        *entry = TAKE_PTR(copy);
    return entry;
}

void *codec_map_get(size_t n, void *v, size_t size, const char *key) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(*(char **)at(v, i * size), key) == 0)
            return at(v, i * size);
    return NULL;
}

static bool copy_value(const struct codec_schema *s, unsigned type, void *to, const void *from);

/* As copy_value() for a field or map value, where objects are pointers. */
static bool copy_slot(const struct codec_schema *s, unsigned type, void *to, const void *from) {
    const struct codec_type *t = s->types + type;

    if (t->kind != CODEC_OBJECT)
        return copy_value(s, type, to, from);
    if (!*(void *const *)from)
        return true;
    *(void **)to = calloc(1, s->structs[t->st].size);
    return *(void **)to && copy_value(s, type, *(void **)to, *(void *const *)from);
}

static bool copy_string(char **to, const char *from) {
    if (from)
        *to = strdup(from);
    return !from || *to;
}

static bool copy_aggregate(const struct codec_schema *s, const struct codec_type *t, struct codec_list *to, const struct codec_list *from) {
    to->set = from->set;
    if (from->n == 0)
        return true;
    to->v = calloc(from->n, t->size);
    if (!to->v)
        return false;
    for (size_t i = 0; i < from->n; i++) {
        void *a = at(to->v, i * t->size), *b = at(from->v, i * t->size);

        to->n = i + 1;
        if (t->kind == CODEC_LIST) {
            if (!copy_value(s, t->elem, a, b))
                return false;
        } else if (!copy_string(a, *(char **)b) || (t->kind == CODEC_MAP && !copy_slot(s, t->elem, at(a, t->value), at(b, t->value)))) {
            return false;
        }
    }
    return true;
}

static bool copy_value(const struct codec_schema *s, unsigned type, void *to, const void *from) {
    const struct codec_type *t = s->types + type;

    switch ((enum codec_kind)t->kind) {
    case CODEC_STRING:
        return copy_string(to, *(char *const *)from);
    case CODEC_BOOL:
        *(bool *)to = *(const bool *)from;
        return true;
    case CODEC_INT:
        *(int64_t *)to = *(const int64_t *)from;
        return true;
    case CODEC_DOUBLE:
        *(double *)to = *(const double *)from;
        return true;
    case CODEC_OBJECT: {
        const struct codec_struct *st = s->structs + t->st;

        for (size_t i = 0; i < st->n; i++) {
            const struct codec_field *f = s->fields + st->first + i;

            if (f->has != CODEC_NONE)
                *(bool *)at(to, f->has) = *((const bool *)((const char *)from + f->has));
            if (!copy_slot(s, f->type, at(to, f->off), (const char *)from + f->off))
                return false;
        }
        return true;
    }
    case CODEC_LIST:
    case CODEC_MAP:
    case CODEC_SET:
        return copy_aggregate(s, t, to, from);
    case CODEC_ANY:
        *(json_t **)to = json_deep_copy(*(json_t *const *)from);
        return *(json_t **)to || !*(json_t *const *)from;
    }
    return false;
}

int codec_copy(const struct codec_schema *s, unsigned type, void *ret, const void *from, struct err *e) {
    return copy_value(s, type, ret, from) ? 0 : err_oom(e);
}

struct string_entry {
    char *key, *value;
};

int codec_string_map_set(size_t *n, void **v, bool *set, const char *key, const char *value, struct err *e) {
    _cleanup_free_ char *k = strdup(key), *val = strdup(value);
    struct string_entry *entry = *v;

    if (!k || !val)
        return err_oom(e);
    for (size_t i = 0; i < *n; i++) {
        if (strcmp(entry[i].key, key) == 0) {
            free(entry[i].value);
            entry[i].value = TAKE_PTR(val);
            return 0;
        }
    }
    entry = codec_list_add(n, v, set, sizeof(*entry));
    if (!entry)
        return err_oom(e);
    entry->key = TAKE_PTR(k);
    entry->value = TAKE_PTR(val);
    return 0;
}
