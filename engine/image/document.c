// SPDX-License-Identifier: Apache-2.0
/* The image configuration document (OCI image-spec config.md, Docker image specification v1.2). */
#include <jansson.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "content/digest.h"
#include "image/image-internal.h"
#include "wire/codec.h"

void image_free(struct image *i) {
    free(i->id);
    free(i->document);
    free(i->created);
    free(i->author);
    free(i->architecture);
    free(i->os);
    free(i->os_version);
    free(i->variant);
    free(i->docker_version);
    free(i->comment);
    free(i->container);
    free(i->parent);
    api_container_config_done(&i->config);
    api_container_config_free(i->container_config);
    strv_done(&i->diff_ids);
    for (size_t k = 0; k < i->n_history; k++) {
        free(i->history[k].created);
        free(i->history[k].created_by);
        free(i->history[k].author);
        free(i->history[k].comment);
    }
    free(i->history);
    layer_unref(i->top);
    free(i);
}

struct image *image_ref(struct image *i) {
    atomic_fetch_add_explicit(&i->refs, 1, memory_order_relaxed);
    return i;
}

struct image *image_unref(struct image *i) {
    if (i && atomic_fetch_sub_explicit(&i->refs, 1, memory_order_acq_rel) == 1)
        image_free(i);
    return NULL;
}

/*
 * The strict reader decides (R12: keys once); where the text is no JSON at all, the reference's words for it are known to clients, and its reader is asked for them.
 */
json_t *image_json(const char *p, size_t n, const char *what, bool first, struct err *e) {
    _cleanup_err_ struct err local = ERR_INIT;
    json_error_t je;
    json_t *o = NULL, *other = NULL;
    size_t end, blank = 0;

    if (codec_count(p, n, e) < 0)
        return err_wrap(e, "%s", what), NULL;
    o = json_loadb(p, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY | (first ? JSON_DISABLE_EOF_CHECK : 0), &je);
    if (o)
        return o;
    while (blank < n && strchr(" \t\r\n", p[blank]) && p[blank])
        blank++;
    if (first && blank == n)
        err_set(e, ERR_INVALID, "EOF");
    else if (codec_parse(p, n, &other, first ? &end : NULL, &local) == 0)
        err_set(e, ERR_INVALID, "%s: %s", what, je.text);
    else if (!first && (streq(err_msg(&local), "unexpected EOF") || streq(err_msg(&local), "EOF")))
        err_set(e, ERR_INVALID, "unexpected end of JSON input");
    else
        err_set(e, ERR_INVALID, "%s", err_msg(&local));
    json_decref(other);
    return NULL;
}

/* A string member; a NUL inside would cut it short somewhere, so it is refused (R12). Other types than string and null too. */
static int text_member(json_t *o, const char *key, char **ret, struct err *e) {
    json_t *v = json_object_get(o, key);

    if (!v || json_is_null(v))
        return 0;
    if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
        return err_set(e, ERR_INVALID, "image configuration: %s is not a string", key);
    *ret = strdup(json_string_value(v));
    return *ret ? 0 : err_oom(e);
}

char *image_time_text(const char *s) {
    size_t dot = strcspn(s, "."), digits = s[dot] ? strspn(s + dot + 1, "0123456789") : 0, kept = MIN(digits, (size_t)9);
    const char *zone = s[dot] ? s + dot + 1 + digits : s + MIN(strcspn(s, "Z"), strlen("2006-01-02T15:04:05"));

    if (!s[dot])
        dot = (size_t)(zone - s);
    while (kept && s[dot + kept] == '0')
        kept--;
    if (streq(zone, "+00:00") || streq(zone, "-00:00"))
        zone = "Z";
    return str_printf("%.*s%.*s%s", (int)dot, s, kept ? (int)kept + 1 : 0, s + dot, zone);
}

/* A time that may be missing. */
static int time_member(json_t *o, const char *key, char **ret, struct err *e) {
    _cleanup_free_ char *text = NULL;
    int r = text_member(o, key, &text, e);

    if (r < 0 || !text)
        return r;
    *ret = image_time_text(text);
    return *ret ? 0 : err_oom(e);
}

static int parse_history(json_t *list, struct image *i, struct err *e) {
    size_t n = json_array_size(list);

    if (n == 0)
        return 0;
    i->history = calloc(n, sizeof *i->history);
    if (!i->history)
        return err_oom(e);
    for (; i->n_history < n; i->n_history++) {
        struct image_history *h = &i->history[i->n_history];
        json_t *o = json_array_get(list, i->n_history);

        if (!json_is_object(o))
            return err_set(e, ERR_INVALID, "image configuration: history entry is not an object");
        h->empty_layer = json_is_true(json_object_get(o, "empty_layer"));
        if (time_member(o, "created", &h->created, e) < 0 || text_member(o, "created_by", &h->created_by, e) < 0 ||
            text_member(o, "author", &h->author, e) < 0 || text_member(o, "comment", &h->comment, e) < 0)
            return -ERR_INVALID;
    }
    return 0;
}

static int parse_diff_ids(json_t *o, struct image *i, struct err *e) {
    json_t *rootfs = json_object_get(o, "rootfs"), *ids, *id;
    size_t k;

    if (!json_is_object(rootfs))
        return err_set(e, ERR_INVALID, "invalid image JSON, no RootFS key");
    ids = json_object_get(rootfs, "diff_ids");
    if (ids && !json_is_array(ids) && !json_is_null(ids))
        return err_set(e, ERR_INVALID, "image configuration: diff_ids is not a list");
    if (json_array_size(ids) > LIMIT_LAYERS)
        return err_set(e, ERR_INVALID, "max depth exceeded");
    json_array_foreach(ids, k, id) {
        if (!json_is_string(id) || !digest_is_valid(json_string_value(id)))
            return err_set(e, ERR_INVALID, "image configuration: invalid diff id");
        if (strv_add(&i->diff_ids, json_string_value(id)) < 0)
            return err_oom(e);
    }
    return 0;
}

static int parse_members(json_t *o, struct image *i, struct err *e) {
    const struct {
        const char *key;
        char **slot;
    } texts[] = {{"author", &i->author},   {"architecture", &i->architecture},     {"os", &i->os},
                 {"variant", &i->variant}, {"os.version", &i->os_version},         {"comment", &i->comment},
                 {"parent", &i->parent},   {"docker_version", &i->docker_version}, {"container", &i->container}};
    json_t *config = json_object_get(o, "config"), *container_config = json_object_get(o, "container_config");
    int r = time_member(o, "created", &i->created, e);

    for (size_t k = 0; r == 0 && k < ELEMENTSOF(texts); k++)
        r = text_member(o, texts[k].key, texts[k].slot, e);
    if (r == 0)
        r = parse_diff_ids(o, i, e);
    if (r == 0)
        r = parse_history(json_object_get(o, "history"), i, e);
    if (r == 0 && json_is_object(config)) {
        i->has_config = true;
        r = api_container_config_read(&i->config, config, "Config", e);
    }
    if (r == 0 && json_is_object(container_config)) {
        i->container_config = api_container_config_new();
        r = i->container_config ? api_container_config_read(i->container_config, container_config, "ContainerConfig", e) : err_oom(e);
    }
    i->created_ns = CLOCK_ZERO;
    if (r == 0 && i->created && clock_parse(i->created, &i->created_ns, NULL) < 0)
        r = err_set(e, ERR_INVALID, "image configuration: created is not a time");
    return r;
}

int image_parse(const void *p, size_t n, struct image **ret, struct err *e) {
    struct image *i;
    json_t *o;
    char id[DIGEST_SIZE];
    int r;

    if (n > LIMIT_IMAGE_CONFIG_BYTES)
        return err_set(e, ERR_TOO_LARGE, "image configuration larger than %zu bytes", LIMIT_IMAGE_CONFIG_BYTES);
    o = image_json(p, n, "image configuration", false, e);
    if (!json_is_object(o) && !json_is_null(o)) {
        r = o ? err_set(e, ERR_INVALID, "json: cannot unmarshal %s into Go value of type image.Image", codec_word(o)) : -ERR_INVALID;
        json_decref(o);
        return r;
    }
    i = calloc(1, sizeof *i);
    if (!i) {
        json_decref(o);
        return err_oom(e);
    }
    i->refs = 1;
    digest_of(p, n, id);
    i->id = strdup(id);
    i->document = malloc(n);
    if (i->document)
        memcpy(i->document, p, n);
    i->document_n = n;
    r = i->id && i->document ? parse_members(o, i, e) : err_oom(e);
    json_decref(o);
    if (r < 0) {
        image_free(i);
        return r;
    }
    *ret = i;
    return 0;
}

const char *image_id(const struct image *i) {
    return i->id;
}
const struct api_container_config *image_config(const struct image *i) {
    return &i->config;
}
const char *image_os(const struct image *i) {
    return i->os ? i->os : "";
}
const char *image_architecture(const struct image *i) {
    return i->architecture ? i->architecture : "";
}
const char *image_variant(const struct image *i) {
    return i->variant ? i->variant : "";
}
const char *image_top_chain(const struct image *i) {
    return i->top ? layer_chain_id(i->top) : "";
}
