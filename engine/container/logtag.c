// SPDX-License-Identifier: Apache-2.0
/*
 * The option `tag` of log drivers: a Go template over the facts of a container, as far as tags go: fields, texts in quotes, whole numbers, the functions that
 * the reference adds with len, index and println, pipes and parentheses; no other parts of that language (if, range, variables, printf, comparing) and not
 * all of its words about mistakes (D-LOG-005). Values are JSON values. Sections: values; functions; the language.
 */
#include <ctype.h>
#include <jansson.h>
#include <unistd.h>

#include "base/id.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/logattrs.h"

#define ARGS_MAX 8
#define DEPTH_MAX 16

/* ---- values ------------------------------------------------------------------------------------------------------------------- */
static json_t *list_of(const struct api_string_list *v) {
    json_t *list = json_array();

    for (size_t i = 0; list && i < v->n; i++)
        json_array_append_new(list, json_string(v->v[i]));
    return list;
}

static json_t *map_of(const struct api_string_map *m) {
    json_t *map = json_object();

    for (size_t i = 0; map && i < m->n; i++)
        json_object_set_new(map, m->v[i].key, json_string(m->v[i].value ? m->v[i].value : ""));
    return map;
}

static json_t *command_of(const struct ctr_fixed *f) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JSON_BODY);

    buf_adds(&b, f->path ? f->path : "");
    for (size_t i = 0; i < f->args.n; i++)
        buf_addf(&b, " %s", f->args.v[i]);
    return json_string(buf_str(&b));
}

/* The field of that name (without its dot), or NULL. */
static json_t *field(const struct ctr_fixed *f, const char *name, const char *field) {
    char host[256] = "", shown[300];

    gethostname(host, sizeof(host) - 1);
    snprintf(shown, sizeof(shown), "/%s", name);
    const struct {
        const char *field, *value;
        int max;
    } texts[] = {{"ID", f->id, ID_SHORT_LEN},
                 {"FullID", f->id, INT32_MAX},
                 {"ContainerID", f->id, INT32_MAX},
                 {"Name", name, INT32_MAX},
                 {"ContainerName", shown, INT32_MAX},
                 {"ImageName", f->config.image, INT32_MAX},
                 {"ContainerImageName", f->config.image, INT32_MAX},
                 {"ImageID", f->image_id, ID_SHORT_LEN}, /* with its "sha256:", as the reference cuts it */
                 {"ImageFullID", f->image_id, INT32_MAX},
                 {"ContainerImageID", f->image_id, INT32_MAX},
                 {"ContainerEntrypoint", f->path, INT32_MAX},
                 {"LogPath", f->log_file, INT32_MAX},
                 {"Hostname", host, INT32_MAX},
                 {"DaemonName", "docker", INT32_MAX}};

    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        if (streq(texts[i].field, field))
            return json_stringn(texts[i].value ? texts[i].value : "", strnlen(texts[i].value ? texts[i].value : "", (size_t)texts[i].max));
    if (streq(field, "ContainerArgs"))
        return list_of(&f->args);
    if (streq(field, "ContainerEnv"))
        return list_of(&f->config.env);
    if (streq(field, "ContainerLabels"))
        return map_of(&f->config.labels);
    if (streq(field, "Config"))
        return map_of(&f->host.log_config->config);
    return streq(field, "Command") ? command_of(f) : NULL;
}

/* A value as Go prints it. */
static void print(const json_t *v, struct buf *out) {
    if (json_is_string(v)) {
        buf_add(out, json_string_value(v), json_string_length(v));
    } else if (json_is_integer(v)) {
        buf_addf(out, "%lld", (long long)json_integer_value(v));
    } else if (json_is_array(v)) {
        for (size_t i = 0; i < json_array_size(v); i++) {
            buf_addc(out, i ? ' ' : '[');
            print(json_array_get(v, i), out);
        }
        buf_adds(out, json_array_size(v) ? "]" : "[]");
    } else {
        _cleanup_strv_ struct strv keys = STRV_INIT;
        const char *key;
        json_t *value;

        json_object_foreach((json_t *)(uintptr_t)v, key, value) ignore_result(strv_add(&keys, key));
        strv_sort(&keys);
        buf_adds(out, "map[");
        for (size_t i = 0; i < keys.n; i++) {
            buf_addf(out, "%s%s:", i ? " " : "", keys.v[i]);
            print(json_object_get(v, keys.v[i]), out);
        }
        buf_addc(out, ']');
    }
}

/* ---- functions ------------------------------------------------------------------------------------------------------------------ */
struct args {
    json_t *v[ARGS_MAX];
    size_t n;
};

static void args_done(struct args *a) {
    for (size_t i = 0; i < a->n; i++)
        json_decref(a->v[i]);
}

static const char *text_of(const json_t *v) {
    return json_is_string(v) ? json_string_value(v) : "";
}

static json_t *text_new(const struct buf *b) {
    return json_stringn(buf_str(b), b->len);
}

/* upper, lower, title */
static json_t *with_case(const char *fn, const char *text) {
    json_t *v = NULL;
    char *s = strdup(text);

    for (size_t i = 0; s && s[i]; i++) {
        bool up = fn[0] == 'u' || (fn[0] == 't' && (i == 0 || isspace((unsigned char)s[i - 1])));

        s[i] = (char)(up ? toupper((unsigned char)s[i]) : fn[0] == 'l' ? tolower((unsigned char)s[i]) : s[i]);
    }
    if (s)
        v = json_string(s);
    free(s);
    return v;
}

static json_t *split(const char *text, const char *at) {
    json_t *list = json_array();
    const char *next;

    while (!str_empty(at) && (next = strstr(text, at))) {
        json_array_append_new(list, json_stringn(text, (size_t)(next - text)));
        text = next + strlen(at);
    }
    json_array_append_new(list, json_string(text));
    return list;
}

static json_t *pad(const char *text, json_int_t before, json_int_t after) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);

    if (*text && before >= 0 && after >= 0 && before < 1024 && after < 1024)
        buf_addf(&b, "%*s%s%*s", (int)before, "", text, (int)after, "");
    return text_new(&b);
}

static json_t *join(const json_t *list, const char *between) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JSON_BODY);

    for (size_t i = 0; i < json_array_size(list); i++)
        buf_addf(&b, "%s%s", i ? between : "", text_of(json_array_get(list, i)));
    return text_new(&b);
}

static json_t *println(const struct args *a) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JSON_BODY);

    for (size_t i = 0; i < a->n; i++) {
        buf_adds(&b, i ? " " : "");
        print(a->v[i], &b);
    }
    buf_addc(&b, '\n');
    return text_new(&b);
}

static json_t *as_json(const json_t *v) {
    _cleanup_free_ char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);

    return json_string(text ? text : "");
}

static json_t *index_of(const json_t *v, const json_t *key) {
    json_t *found = json_is_array(v) ? json_array_get(v, (size_t)json_integer_value(key)) : json_object_get(v, text_of(key));

    return found ? json_incref(found) : json_is_object(v) ? json_string("") : NULL;
}

static size_t length(const json_t *v) {
    return json_is_string(v) ? json_string_length(v) : json_is_array(v) ? json_array_size(v) : json_object_size(v);
}

/* NULL: arguments that it does not take. */
static json_t *call(const char *fn, const struct args *a) {
    json_t *const *v = a->v;

    if (streq(fn, "println"))
        return println(a);
    if (a->n == 1) {
        if (streq(fn, "json"))
            return as_json(v[0]);
        if (streq(fn, "len"))
            return json_integer((json_int_t)length(v[0]));
        if (json_is_string(v[0]) && (streq(fn, "upper") || streq(fn, "lower") || streq(fn, "title")))
            return with_case(fn, text_of(v[0]));
    }
    if (a->n == 2 && streq(fn, "index"))
        return index_of(v[0], v[1]);
    if (a->n == 2 && streq(fn, "join") && json_is_array(v[0]))
        return join(v[0], text_of(v[1]));
    if (a->n == 2 && streq(fn, "split") && json_is_string(v[0]))
        return split(text_of(v[0]), text_of(v[1]));
    if (a->n == 2 && streq(fn, "truncate") && json_is_string(v[0]) && json_integer_value(v[1]) >= 0)
        return json_stringn(text_of(v[0]), strnlen(text_of(v[0]), (size_t)json_integer_value(v[1])));
    if (a->n == 3 && streq(fn, "pad") && json_is_string(v[0]))
        return pad(text_of(v[0]), json_integer_value(v[1]), json_integer_value(v[2]));
    return NULL;
}

/* ---- the language ----------------------------------------------------------------------------------------------------------------- */
struct parser {
    const struct ctr_fixed *f;
    const char *name, *start, *p; /* p: where we are in the template that begins at start */
    int depth;
    struct err *e;
};

static json_t *pipeline(struct parser *t);

static json_t *wrong(struct parser *t, const char *what) {
    err_set(t->e, ERR_INTERNAL, "template: log-tag:1: %s", what);
    return NULL;
}

static bool in_word(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

/* Letters and digits at p into `word`; p behind them. */
static void take_word(struct parser *t, char *word, size_t size) {
    size_t n = 0;

    for (; in_word(*t->p); t->p++)
        if (n + 1 < size)
            word[n++] = *t->p;
    word[n] = 0;
}

static json_t *take_field(struct parser *t) {
    long at = t->p - t->start;
    char word[64];
    json_t *v;

    t->p++;
    take_word(t, word, sizeof(word));
    v = field(t->f, t->name, word);
    if (!v)
        err_set(t->e, ERR_INTERNAL, "template: log-tag:1:%ld: executing \"log-tag\" at <.%s>: can't evaluate field %s in type *logger.Info", at, word,
                word);
    return v;
}

static json_t *take_quoted(struct parser *t) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);
    char quote = *t->p++;

    for (; *t->p && *t->p != quote; t->p++) {
        if (*t->p == '\\' && quote == '"' && t->p[1]) {
            t->p++;
            buf_addc(&b, *t->p == 'n' ? '\n' : *t->p == 't' ? '\t' : *t->p);
        } else {
            buf_addc(&b, *t->p);
        }
    }
    if (!*t->p)
        return wrong(t, quote == '"' ? "unterminated quoted string" : "unterminated raw quoted string");
    t->p++;
    return text_new(&b);
}

static json_t *operand(struct parser *t) {
    json_t *v;

    if (*t->p == '.')
        return take_field(t);
    if (*t->p == '"' || *t->p == '`')
        return take_quoted(t);
    if (isdigit((unsigned char)*t->p) || *t->p == '-')
        return json_integer(strtoll(t->p, (char **)(uintptr_t)&t->p, 10));
    if (*t->p != '(')
        return wrong(t, "unexpected token in operand");
    t->p++;
    v = ++t->depth > DEPTH_MAX ? wrong(t, "too deep") : pipeline(t);
    t->depth--;
    if (v && *t->p++ != ')') {
        json_decref(v);
        return wrong(t, "unclosed left paren");
    }
    return v;
}

static void skip_spaces(struct parser *t) {
    while (isspace((unsigned char)*t->p))
        t->p++;
}

static bool at_end(const struct parser *t) {
    return !*t->p || *t->p == '|' || *t->p == ')' || str_has_prefix(t->p, "}}") || str_has_prefix(t->p, "-}}");
}

/* One command; what came through the pipe is its last argument. Takes `piped` over. */
static json_t *command(struct parser *t, json_t *piped) {
    _cleanup_(args_done) struct args a = {0};
    char fn[32] = "";
    json_t *v;

    if (isalpha((unsigned char)*t->p))
        take_word(t, fn, sizeof(fn));
    for (skip_spaces(t); !at_end(t) && a.n < ARGS_MAX - 1; skip_spaces(t)) {
        v = operand(t);
        if (!v) {
            json_decref(piped);
            return NULL;
        }
        a.v[a.n++] = v;
    }
    if (piped)
        a.v[a.n++] = piped;
    if (fn[0]) {
        static const char *const known[] = {"println", "json", "len", "upper", "lower", "title", "index", "join", "split", "truncate", "pad"};
        bool ok = false;

        for (size_t i = 0; i < ELEMENTSOF(known) && !ok; i++)
            ok = streq(known[i], fn);
        v = ok ? call(fn, &a) : NULL;
        if (!v)
            err_set(t->e, ERR_INTERNAL, ok ? "template: log-tag:1: wrong arguments for %s" : "template: log-tag:1: function \"%s\" not defined", fn);
        return v;
    }
    if (a.n == (piped ? 1 : 0))
        return wrong(t, "missing value for command");
    return a.n == 1 ? json_incref(a.v[0]) : wrong(t, "can't give argument to non-function");
}

static json_t *pipeline(struct parser *t) {
    json_t *v = NULL;

    for (;;) {
        skip_spaces(t);
        v = command(t, v);
        if (!v || *t->p != '|')
            return v;
        t->p++;
    }
}

/* "{{ pipeline }}" at p, with a minus inside of the braces where blanks beside them go. */
static int action(struct parser *t, struct buf *out) {
    json_t *v;

    if (!strstr(t->p, "}}")) {
        wrong(t, "unclosed action");
        return -(int)ERR_INTERNAL;
    }
    t->p += 2;
    if (t->p[0] == '-' && isspace((unsigned char)t->p[1])) {
        t->p++;
        while (out->len > 0 && isspace((unsigned char)out->data[out->len - 1]))
            out->len--;
    }
    v = pipeline(t);
    if (!v)
        return -(int)ERR_INTERNAL;
    print(v, out);
    json_decref(v);
    if (str_has_prefix(t->p, "-}}")) {
        t->p += 3;
        skip_spaces(t);
        return 0;
    }
    if (!str_has_prefix(t->p, "}}")) {
        wrong(t, "unexpected token in command");
        return -(int)ERR_INTERNAL;
    }
    t->p += 2;
    return 0;
}

int ctr_log_tag(const struct ctr_fixed *f, const char *name, char **ret, struct err *e) {
    _cleanup_buf_ struct buf out = BUF_INIT(LIMIT_JSON_BODY);
    const char *template = ctr_log_option(f, "tag");
    struct parser t;
    int r = 0;

    if (str_empty(template))
        template = "{{.ID}}";
    t = (struct parser){.f = f, .name = name, .start = template, .p = template, .e = e};
    while (r >= 0 && *t.p) {
        if (str_has_prefix(t.p, "{{"))
            r = action(&t, &out);
        else
            buf_addc(&out, *t.p++);
    }
    if (r < 0)
        return r;
    *ret = buf_take(&out);
    return *ret ? 0 : err_oom(e);
}
