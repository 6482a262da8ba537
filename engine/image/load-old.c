// SPDX-License-Identifier: Apache-2.0
/*
 * Image archives of Docker before 1.10: each folder is a layer and an image, ID/json its document and ID/layer.tar its files; `repositories` says which have
 * names. Its document becomes a configuration by the reference's rules, so that an image has the same id here and there: members in the order of their keys,
 * each byte for byte as it came, without those that were the old format's own, with the layers and their history added. Documents of engines before 1.8.3 are
 * brought into the form of later ones first.
 */
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "image/load-internal.h"

#define ONE_FORM_SINCE "1.8.3"

struct old_archive {
    struct loading *l;
    struct map images; /* old id → image id */
};

/* ---- one document becomes another --------------------------------------------------------------------------------------------------- */

static const char *text_of(json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

/* Is the dotted version a below b? What is not there is zero. */
static bool is_version_below(const char *a, const char *b) {
    while (*a || *b) {
        long x = strtol(a, NULL, 10), y = strtol(b, NULL, 10);

        if (x != y)
            return x < y;
        a += strcspn(a, ".");
        b += strcspn(b, ".");
        a += *a == '.';
        b += *b == '.';
    }
    return false;
}

/* JSON text without blanks and safe within HTML. It was parsed before, so it is well formed. */
static void add_compact(struct buf *b, const char *p, const char *end) {
    for (bool quoted = false; p < end; p++) {
        if (*p == '"')
            quoted = !quoted;
        if (!quoted && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
            continue;
        if (*p == '<' || *p == '>' || *p == '&') {
            buf_addf(b, "\\u%04x", (unsigned)*p);
        } else if (end - p >= 3 && memcmp(p, "\xe2\x80", 2) == 0 && (p[2] == '\xa8' || p[2] == '\xa9')) {
            buf_addf(b, "\\u202%c", p[2] == '\xa8' ? '8' : '9');
            p += 2;
        } else {
            buf_addc(b, *p);
            if (*p == '\\')
                buf_addc(b, *++p);
        }
    }
}

/* The comma or bracket that ends the value beginning at p. */
static const char *value_end(const char *p, const char *end) {
    int depth = 0;

    for (bool quoted = false; p < end; p++) {
        if (*p == '\\') {
            p++;
        } else if (*p == '"') {
            quoted = !quoted;
        } else if (!quoted) {
            if (depth == 0 && (*p == ',' || *p == '}'))
                break;
            depth += *p == '{' || *p == '[';
            depth -= *p == '}' || *p == ']';
        }
    }
    return p;
}

/* Takes `value` over. */
static int put(struct map *members, const char *key, char *value, struct err *e) {
    void *old = NULL;

    if (!value || map_set(members, key, value, &old) < 0) {
        free(value);
        return err_oom(e);
    }
    free(old);
    return 0;
}

/* Each member as it stands in the document: what nobody knows any more is part of the id, too. */
static int take_members(struct map *members, const struct member *m, json_t *o, struct err *e) {
    const char *p = memchr(m->data, '{', m->n), *end = m->data + m->n, *key;
    json_t *value;

    /* The parser keeps the order, so its n-th key is that of the n-th value of the text. */
    json_object_foreach(o, key, value) {
        struct buf b = BUF_INIT(2 * LIMIT_IMAGE_CONFIG_BYTES);
        const char *from = (const char *)memchr(p, '"', (size_t)(end - p)) + 1;

        while (*from != '"')
            from += *from == '\\' ? 2 : 1;
        from = (const char *)memchr(from, ':', (size_t)(end - from)) + 1;
        p = value_end(from, end);
        add_compact(&b, from, p);
        if (put(members, key, buf_take(&b), e) < 0)
            return -ERR_INTERNAL;
    }
    return 0;
}

static int put_text(struct map *members, const char *key, const char *text, struct err *e) {
    struct buf b = BUF_INIT(LIMIT_IMAGE_CONFIG_BYTES);

    if (!*text)
        return 0;
    buf_add_json_string(&b, text);
    return put(members, key, buf_take(&b), e);
}

static int put_config(struct map *members, json_t *o, const char *key, struct err *e) {
    struct buf b = BUF_INIT(2 * LIMIT_IMAGE_CONFIG_BYTES);
    struct api_container_config config = {0};
    json_t *given = json_object_get(o, key);
    int r = json_is_object(given) ? api_container_config_read(&config, given, key, e) : 0;

    if (r == 0)
        r = api_container_config_write(&config, 45 | CODEC_ESCAPE_HTML, &b, e);
    api_container_config_done(&config);
    if (r < 0) {
        buf_done(&b);
        return r;
    }
    return put(members, key, buf_take(&b), e);
}

/* The members that engines since 1.8.3 know, as they write them. */
static int form_members(struct map *members, json_t *o, const char *created, struct err *e) {
    static const char *const texts[] = {"comment", "container", "docker_version", "author", "architecture", "variant", "os"};
    int r = *created ? put_text(members, "created", created, e) : put(members, "created", strdup("null"), e);

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(texts); i++)
        r = put_text(members, texts[i], text_of(o, texts[i]), e);
    if (r == 0)
        r = put_config(members, o, "container_config", e);
    if (r == 0 && json_is_object(json_object_get(o, "config")))
        r = put_config(members, o, "config", e);
    return r;
}

static void add_step_member(struct buf *b, const char *key, const char *text) {
    if (str_empty(text))
        return;
    buf_addf(b, "%s\"%s\":", b->data[b->len - 1] == '{' ? "" : ",", key);
    buf_add_json_string(b, text);
}

static void add_step(struct buf *b, const struct image_history *h) {
    buf_adds(b, b->data[b->len - 1] == '[' ? "{" : ",{");
    add_step_member(b, "created", h->created);
    add_step_member(b, "created_by", h->created_by);
    add_step_member(b, "author", h->author);
    add_step_member(b, "comment", h->comment);
    buf_addc(b, '}');
}

/* What the image was made by, after what made its parent. */
static int put_history(struct map *members, json_t *o, const char *created, const struct image *parent, struct err *e) {
    struct buf b = BUF_INIT(2 * LIMIT_IMAGE_CONFIG_BYTES);
    _cleanup_strv_ struct strv command = STRV_INIT;
    _cleanup_free_ char *line = NULL;
    json_t *word;
    size_t i;

    json_array_foreach(json_object_get(json_object_get(o, "container_config"), "Cmd"), i,
                       word) if (json_is_string(word) && strv_add(&command, json_string_value(word)) < 0) return err_oom(e);
    line = strv_join(&command, " ");
    buf_addc(&b, '[');
    for (size_t k = 0; parent && k < parent->n_history; k++)
        add_step(&b, &parent->history[k]);
    add_step(&b, &(struct image_history){(char *)created, line, (char *)text_of(o, "author"), (char *)text_of(o, "comment"), false});
    buf_addc(&b, ']');
    return put(members, "history", buf_take(&b), e);
}

static int put_rootfs(struct map *members, const struct image *parent, const char *diff_id, struct err *e) {
    struct buf b = BUF_INIT(MIB(1));

    buf_adds(&b, "{\"type\":\"layers\",\"diff_ids\":[");
    for (size_t i = 0; parent && i < parent->diff_ids.n; i++)
        buf_addf(&b, "\"%s\",", parent->diff_ids.v[i]);
    buf_addf(&b, "\"%s\"]}", diff_id);
    return put(members, "rootfs", buf_take(&b), e);
}

static int write_members(const struct map *members, struct buf *b, struct err *e) {
    static const char *const dropped[] = {"id", "parent", "Size", "parent_id", "layer_id", "throwaway"};
    _cleanup_strv_ struct strv keys = STRV_INIT;

    for (struct map_entry *i = NULL; (i = map_next(members, i));)
        if (strv_add(&keys, i->key) < 0)
            return err_oom(e);
    strv_sort(&keys);
    for (size_t i = 0; i < keys.n; i++) {
        bool keep = true;

        for (size_t k = 0; k < ELEMENTSOF(dropped); k++)
            keep = keep && !streq(keys.v[i], dropped[k]);
        if (!keep)
            continue;
        buf_addc(b, b->len ? ',' : '{');
        buf_add_json_string(b, keys.v[i]);
        buf_addc(b, ':');
        buf_adds(b, map_get(members, keys.v[i]));
    }
    buf_addc(b, '}');
    return buf_check(b, e);
}

/* The configuration of the image that the old document describes, on its parent (NULL: none). */
static int convert(const struct member *m, json_t *o, const struct image *parent, const char *diff_id, struct buf *b, struct err *e) {
    struct map members = {0};
    _cleanup_free_ char *created = image_time_text(text_of(o, "created"));
    int r = created ? 0 : err_oom(e);

    if (r == 0)
        r = is_version_below(text_of(o, "docker_version"), ONE_FORM_SINCE) ? form_members(&members, o, created, e) : take_members(&members, m, o, e);
    if (r == 0)
        r = put_history(&members, o, created, parent, e);
    if (r == 0)
        r = put_rootfs(&members, parent, diff_id, e);
    if (r == 0)
        r = write_members(&members, b, e);
    map_done_with(&members, free);
    return r;
}

/* ---- the images ------------------------------------------------------------------------------------------------------------------------ */

/* A document that is an object. `stream`: read as the reference reads streams. */
static json_t *parse_old(const struct member *m, const char *path, bool stream, struct err *e) {
    json_t *o = image_json(m->data, m->n, path, stream, e);

    if (json_is_object(o) || !o)
        return o;
    err_set(e, ERR_INVALID, "image archive: %s is no object", path);
    json_decref(o);
    return NULL;
}

/* Its layer, its configuration, and the record of both. */
static int add_old_image(struct old_archive *a, const char *old_id, const struct member *m, struct image *parent, struct err *e) {
    _cleanup_buf_ struct buf document = BUF_INIT(2 * LIMIT_IMAGE_CONFIG_BYTES);
    _cleanup_free_ char *path = str_printf("%s/layer.tar", old_id);
    _cleanup_image_ struct image *image = NULL, *known = NULL;
    struct member *layer = path ? load_find_member(a->l, path) : NULL;
    struct layer *top = NULL;
    json_t *o = NULL;
    bool new;
    int r = path ? 0 : err_oom(e);

    if (r == 0 && (!layer || layer->type != UNPACK_LAYER))
        r = load_missing(a->l, path, e);
    if (r == 0 && parent && parent->diff_ids.n >= LIMIT_LAYERS)
        r = err_set(e, ERR_INVALID, "max depth exceeded");
    if (r == 0 && !(o = parse_old(m, old_id, false, e)))
        r = -ERR_INVALID;
    if (r == 0)
        r = convert(m, o, parent, layer->diff_id, &document, e);
    json_decref(o);
    if (r == 0)
        r = load_count(a->l, document.len, e);
    if (r == 0)
        r = image_parse(document.data, document.len, &image, e);
    if (r == 0)
        r = load_add_layer(a->l, parent ? parent->top : NULL, 0, layer->diff_id, path, &top, &new, e);
    if (r == 0)
        r = load_tell_layer(a->l, old_id, layer->archive_size, e);
    if (r < 0) {
        layer_unref(top);
        return r;
    }
    r = images_add(a->l->images, TAKE_PTR(image), top, &known, e);
    if (r == 0 && parent)
        r = images_set_parent(a->l->images, known->id, parent->id, e);
    return r < 0 ? r : put(&a->images, old_id, strdup(known->id), e);
}

/*
 * Parents first; one that is its own ancestor comes to an end at the depth that no image may have. Its document is read once more after that: as values in
 * memory it is many times as large, and all that wait for their parents would be there at once.
 */
static int load_old_image(struct old_archive *a, const char *old_id, int depth, struct err *e) {
    _cleanup_free_ char *path = str_printf("%s/json", old_id), *above = NULL;
    _cleanup_image_ struct image *parent = NULL;
    const struct member *m = path ? load_find_member(a->l, path) : NULL;
    json_t *o;
    int r;

    if (map_has(&a->images, old_id))
        return 0;
    if (!path)
        return err_oom(e);
    if (depth > LIMIT_LAYERS)
        return err_set(e, ERR_INVALID, "max depth exceeded");
    if (!m || m->type != UNPACK_FILE)
        return load_missing(a->l, path, e);
    r = load_count(a->l, m->n, e);
    if (r < 0)
        return r;
    o = parse_old(m, path, false, e);
    if (!o)
        return -ERR_INVALID;
    r = load_check_os(text_of(o, "os"), e);
    above = strdup(text_of(o, "parent"));
    json_decref(o);
    if (r == 0 && !above)
        r = err_oom(e);
    if (r == 0 && *above)
        r = load_old_image(a, above, depth + 1, e);
    if (r == 0 && *above) {
        parent = images_get(a->l->images, map_get(&a->images, above));
        if (!parent)
            r = err_set(e, ERR_INVALID, "image archive: %s was removed meanwhile", above);
    }
    if (r == 0)
        r = add_old_image(a, old_id, m, parent, e);
    return r;
}

/* Each folder at the top is an image, in the order of their names. */
static int load_folders(struct old_archive *a, struct err *e) {
    _cleanup_strv_ struct strv tops = STRV_INIT;

    for (struct map_entry *i = NULL; (i = map_next(&a->l->members, i));) {
        size_t n = strcspn(i->key, "/");

        if ((i->key[n] || ((struct member *)i->value)->type == UNPACK_FOLDER) && strv_addn(&tops, i->key, n) < 0)
            return err_oom(e);
    }
    strv_sort(&tops);
    for (size_t i = 0; i < tops.n; i++) {
        int r = i && streq(tops.v[i], tops.v[i - 1]) ? 0 : load_old_image(a, tops.v[i], 0, e);

        if (r < 0)
            return r;
    }
    return 0;
}

static int set_names(struct old_archive *a, const char *repository, json_t *tags, struct err *e) {
    const char *tag;
    json_t *target;

    json_object_foreach(tags, tag, target) {
        _cleanup_reference_ struct reference ref = REFERENCE_INIT;
        const char *old_id = json_is_string(target) ? json_string_value(target) : "", *id = map_get(&a->images, old_id);
        int r = id ? repo_tag_reference(repository, tag, &ref, e) : err_set(e, ERR_INVALID, "invalid target ID: %s", old_id);

        if (r == 0 && !ref.path)
            r = err_set(e, ERR_INVALID, "invalid reference format");
        if (r == 0)
            r = load_set_name(a->l, &ref, id, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int load_repositories(struct old_archive *a, struct err *e) {
    const struct member *m = load_find_member(a->l, "repositories");
    json_t *o, *tags;
    const char *repository;
    int r = 0;

    if (!m || m->type != UNPACK_FILE)
        return load_missing(a->l, "repositories", e);
    o = parse_old(m, "repositories", true, e);
    if (!o)
        return -ERR_INVALID;
    json_object_foreach(o, repository, tags) {
        r = set_names(a, repository, tags, e);
        if (r < 0)
            break;
    }
    json_decref(o);
    return r;
}

int load_old(struct loading *l, struct err *e) {
    struct old_archive a = {.l = l};
    int r = load_folders(&a, e);

    if (r == 0)
        r = load_repositories(&a, e);
    map_done_with(&a.images, free);
    return r;
}
