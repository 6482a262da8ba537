// SPDX-License-Identifier: Apache-2.0
/*
 * docker load: an image archive (docker-archive with manifest.json, or what load-layout.c and load-old.c read) in one pass. While the stream comes in, the caged helper
 * unpacks every member that is a layer; small documents are collected. When the stream has ended the documents say which layers belong to
 * which image, digests are compared, and only then anything becomes visible.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/str.h"
#include "image/load-internal.h"
#include "wire/call.h"
#include "wire/codec.h"

#define LINK_HOPS 8

static void member_free(void *p) {
    struct member *m = p;

    free(m->data);
    free(m);
}

static int take_event(void *arg, const struct unpack_event *ev, struct err *e) {
    struct loading *l = arg;
    struct member *m;
    void *old = NULL;

    if (ev->type == UNPACK_PROGRESS) {
        const char *base = strrchr(ev->path, '/');

        base = base ? base + 1 : ev->path;
        if (!l->quiet && id_is_full(base)) {
            char id[ID_SHORT_LEN + 1];

            snprintf(id, sizeof id, "%.12s", base);
            return progress_bar(l->progress, id, "Loading layer", ev->current, ev->total, e);
        }
        return 0;
    }
    if (ev->type == UNPACK_FOLDER && (!*ev->path || map_has(&l->members, ev->path)))
        return 0;
    m = calloc(1, sizeof *m);
    if (!m)
        return err_oom(e);
    *m = (struct member){.type = ev->type, .index = ev->index, .size = ev->size, .archive_size = ev->archive_size, .n = ev->n};
    memcpy(m->diff_id, ev->diff_id, sizeof m->diff_id);
    memcpy(m->digest, ev->digest, sizeof m->digest);
    if (ev->data) {
        m->data = malloc(ev->n + 1);
        if (m->data) {
            memcpy(m->data, ev->data, ev->n);
            m->data[ev->n] = 0;
        }
    }
    if ((ev->data && !m->data) || map_set(&l->members, ev->path, m, &old) < 0) {
        member_free(m);
        return err_oom(e);
    }
    if (old) { /* two members of one name: readers disagree which one counts */
        member_free(old);
        return err_set(e, ERR_INVALID, "image archive: %s is there twice", ev->path);
    }
    return 0;
}

/* Lexical join of a link's folder and its target, within the archive. */
static char *resolve_link(const char *path, const char *target) {
    const char *slash = strrchr(path, '/');
    struct strv parts = STRV_INIT, in = STRV_INIT;
    _cleanup_free_ char *whole = *target == '/' ? strdup(target + 1) : str_printf("%.*s%s", slash ? (int)(slash - path + 1) : 0, path, target);
    char *joined = NULL;

    if (whole && strv_split(&in, whole, '/') == 0) {
        for (size_t i = 0; i < in.n; i++) {
            if (streq(in.v[i], "..")) {
                if (parts.n)
                    strv_remove_at(&parts, parts.n - 1);
            } else if (*in.v[i] && !streq(in.v[i], ".")) {
                ignore_result(strv_add(&parts, in.v[i]) < 0);
            }
        }
        joined = strv_join(&parts, "/");
    }
    strv_done(&parts);
    strv_done(&in);
    return joined;
}

/* Does a path lead out of where it begins? */
static bool climbs(const char *path) {
    int depth = 0;

    while (*path) {
        size_t n = strcspn(path, "/");

        if (n == 2 && memcmp(path, "..", 2) == 0)
            depth--;
        else if (n > 1 || (n == 1 && *path != '.'))
            depth++;
        if (depth < 0)
            return true;
        path += n + (path[n] == '/');
    }
    return false;
}

struct member *load_find_member(struct loading *l, const char *path) {
    _cleanup_free_ char *at = climbs(path) ? NULL : resolve_link("", path);

    for (int hop = 0; at && hop < LINK_HOPS; hop++) {
        struct member *m = map_get(&l->members, at);
        char *next;

        if (!m || m->type != UNPACK_LINK)
            return m;
        next = resolve_link(at, m->data);
        free(at);
        at = next;
    }
    return NULL;
}

int load_missing(struct loading *l, const char *path, struct err *e) {
    _cleanup_free_ char *base = str_printf("%s/tmp/docker-import-%09llu", l->images->engine->config->data_root,
                                           (unsigned long long)(clock_mono_ns() % NSEC_PER_SEC)),
                        *whole = base ? str_printf("%s/%s", base, path) : NULL, *at = whole ? resolve_link("", whole) : NULL;
    const struct member *m = load_find_member(l, path);

    if (!at)
        return err_oom(e);
    if (climbs(path))
        return err_set(e, ERR_INVALID, "evalSymlinksInScope: /%s is not in %s", at, base);
    if ((m && m->type == UNPACK_FOLDER) || streq(at, base + 1))
        return err_set(e, ERR_INVALID, "read /%s: is a directory", at);
    return err_set(e, ERR_INVALID, "open /%s: no such file or directory", at);
}

int load_count(struct loading *l, size_t n, struct err *e) {
    l->documents += n;
    return l->documents <= LIMIT_ARCHIVE_DOCUMENTS
               ? 0
               : err_set(e, ERR_TOO_LARGE, "image archive: more than %zu bytes of documents", LIMIT_ARCHIVE_DOCUMENTS);
}

json_t *load_document(struct loading *l, const struct member *m, const char *what, struct err *e) {
    if (!m || m->type != UNPACK_FILE) {
        err_set(e, ERR_INVALID, "image archive: %s is not there", what);
        return NULL;
    }
    if (m->n > LIMIT_MANIFEST_BYTES) {
        err_set(e, ERR_TOO_LARGE, "image archive: %s is larger than %zu bytes", what, LIMIT_MANIFEST_BYTES);
        return NULL;
    }
    return load_count(l, m->n, e) < 0 ? NULL : image_json(m->data, m->n, what, true, e);
}

/* ---- one image ------------------------------------------------------------------------------------------------------------------ */

int load_tell_layer(struct loading *l, const char *id, int64_t archive_size, struct err *e) {
    char shown[ID_SHORT_LEN + 1];

    if (l->quiet)
        return 0;
    snprintf(shown, sizeof shown, "%.12s", id);
    return progress_bar(l->progress, shown, "Loading layer", archive_size, archive_size, e);
}

/* In the store, in the archive, or known under another parent. */
int load_add_layer(struct loading *l, struct layer *parent, size_t at, const char *diff_id, const char *path, struct layer **ret, bool *ret_new,
                   struct err *e) {
    struct layers *store = l->images->layers;
    char chain[72];
    struct member *m;
    int r;

    *ret_new = false;
    if (climbs(path))
        return load_missing(l, path, e);
    layer_chain_id_of(parent ? layer_chain_id(parent) : NULL, diff_id, chain);
    *ret = layers_get(store, chain);
    if (*ret)
        return 0;
    m = load_find_member(l, path);
    if (!m || (m->type != UNPACK_LAYER && !(m->type == UNPACK_FILE && m->n == 0)))
        return load_missing(l, path, e);
    if (m->type != UNPACK_LAYER || !streq(m->diff_id, diff_id))
        return err_set(e, ERR_INVALID, "invalid diffID for layer %zu: expected \"%s\", got \"%s\"", at, diff_id, m->diff_id);
    if (m->index < 0 || m->used)
        return layers_register_known(store, parent, diff_id, ret, e);
    r = layers_register(store, parent, l->unpack, m->index, diff_id, m->size, m->archive_size, ret, e);
    m->used = *ret_new = r == 0;
    return r;
}

/* The same, and what the client is told of a layer that is new. */
static int add_layer(struct loading *l, struct layer *parent, size_t at, const char *diff_id, const char *path, struct layer **ret, struct err *e) {
    bool new;
    int r = load_add_layer(l, parent, at, diff_id, path, ret, &new, e);

    return r == 0 && new ? load_tell_layer(l, diff_id + strlen("sha256:"), layer_archive_size(*ret), e) : r;
}

static int add_layers(struct loading *l, const struct image *image, const struct strv *paths, struct layer **ret, struct err *e) {
    struct layer *top = NULL;

    if (paths->n != image->diff_ids.n)
        return err_set(e, ERR_INVALID, "invalid manifest, layers length mismatch: expected %zu, got %zu", paths->n, image->diff_ids.n);
    for (size_t i = 0; i < paths->n; i++) {
        struct layer *next = NULL;
        int r = add_layer(l, top, i, image->diff_ids.v[i], paths->v[i], &next, e);

        layer_unref(top); /* the next layer counts its parent itself */
        if (r < 0)
            return r;
        top = next;
    }
    *ret = top;
    return 0;
}

int load_set_name(struct loading *l, const struct reference *ref, const char *id, struct err *e) {
    _cleanup_free_ char *old = images_lookup(l->images, ref), *shown = NULL;

    if (old && !streq(old, id)) {
        int r;

        shown = reference_familiar(ref);
        if (!shown)
            return err_oom(e);
        r = progress_stream(l->progress, e, "The image %s already exists, renaming the old one with ID %s to empty string\n", shown, old);
        if (r < 0)
            return r;
    }
    return images_set_name(l->images, ref, id, NULL, e);
}

static int set_loaded_name(struct loading *l, const char *name, const char *id, struct err *e) {
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;
    _cleanup_free_ char *shown = NULL;
    int r = reference_parse(name, &ref, e);

    if (r < 0)
        return r;
    if (!ref.tag)
        return err_set(e, ERR_INVALID, "invalid tag \"%s\"", name);
    shown = reference_familiar(&ref);
    r = !shown ? err_oom(e) : ref.digest ? 0 : load_set_name(l, &ref, id, e); /* as the reference: no name comes of one with a digest */
    if (r < 0)
        return r;
    l->named++;
    return progress_stream(l->progress, e, "Loaded image: %s\n", shown);
}

int load_check_os(const char *os, struct err *e) {
    return str_empty(os) || streq(os, "linux") ? 0 : err_set(e, ERR_INVALID, "cannot load %s image on linux", os);
}

int load_image(struct loading *l, const struct member *config, const char *config_path, const struct strv *layers, const struct strv *names,
               struct err *e) {
    _cleanup_image_ struct image *image = NULL, *known = NULL;
    struct layer *top = NULL;
    int r;

    if (!config || config->type != UNPACK_FILE)
        return load_missing(l, config_path, e);
    r = load_count(l, config->n, e);
    if (r == 0)
        r = image_parse(config->data, config->n, &image, e);
    if (r < 0)
        return r;
    r = load_check_os(image->os, e);
    if (r < 0)
        return r;
    r = add_layers(l, image, layers, &top, e);
    if (r < 0)
        return r;
    r = images_add(l->images, TAKE_PTR(image), top, &known, e);
    if (r < 0)
        return r;
    buf_addf(&l->ids, "Loaded image ID: %s\n", known->id);
    if (strv_add(&l->loaded, known->id) < 0)
        return err_oom(e);
    for (size_t i = 0; i < names->n; i++) {
        r = set_loaded_name(l, names->v[i], known->id, e);
        if (r < 0)
            return r;
    }
    images_event(l->images, "load", known->id, known->id, known->id);
    return 0;
}

/* A member of an entry of manifest.json: of the type that `go_type` names, null, or not there. */
static int check_type(json_t *v, const char *key, bool fits, const char *go_type, struct err *e) {
    if (!v || json_is_null(v) || fits)
        return 0;
    return err_set(e, ERR_INVALID, "json: cannot unmarshal %s into Go struct field manifestItem.%s of type %s", codec_word(v), key, go_type);
}

static int strings_of(json_t *entry, const char *key, struct strv *ret, struct err *e) {
    json_t *list = json_object_get(entry, key), *v;
    size_t i;
    int r = check_type(list, key, json_is_array(list), "[]string", e);

    if (r < 0)
        return r;
    json_array_foreach(list, i, v) {
        r = check_type(v, key, json_is_string(v), "string", e);
        if (r < 0)
            return r;
        if (strv_add(ret, json_is_string(v) ? json_string_value(v) : "") < 0)
            return err_oom(e);
    }
    return 0;
}

static bool is_same_text(const char *a, const char *b) {
    return str_empty(a) ? str_empty(b) : streq_ptr(a, b);
}

static bool is_same_step(const struct image_history *a, const struct image_history *b) {
    return a->empty_layer == b->empty_layer && is_same_text(a->created, b->created) && is_same_text(a->created_by, b->created_by) &&
           is_same_text(a->author, b->author) && is_same_text(a->comment, b->comment);
}

/* A parent is one step behind, or neither says anything about its steps. */
static bool can_be_parent(const struct image *image, const struct image *parent) {
    if (image->n_history == 0 && parent->n_history == 0)
        return true;
    if (image->n_history != parent->n_history + 1)
        return false;
    for (size_t i = 0; i < parent->n_history; i++)
        if (!is_same_step(&image->history[i], &parent->history[i]))
            return false;
    return true;
}

/* Parents count when they came with the archive. */
static int link_parents(struct loading *l, struct err *e) {
    for (size_t i = 0; i < l->parents.n; i++) {
        _cleanup_image_ struct image *image = NULL, *parent = NULL;

        if (streq(l->parents.v[i], l->loaded.v[i]) || !strv_has(&l->loaded, l->parents.v[i]))
            continue;
        image = images_get(l->images, l->loaded.v[i]);
        parent = images_get(l->images, l->parents.v[i]);
        if (!image || !parent)
            continue; /* removed meanwhile */
        if (!can_be_parent(image, parent))
            return err_set(e, ERR_INVALID, "image %s is not a valid parent for %s", parent->id, image->id);
        if (images_set_parent(l->images, image->id, parent->id, e) < 0)
            return -(int)ERR_INTERNAL;
    }
    return 0;
}

static int load_entry(struct loading *l, json_t *o, struct err *e) {
    _cleanup_strv_ struct strv layers = STRV_INIT, names = STRV_INIT;
    json_t *config = json_object_get(o, "Config"), *parent = json_object_get(o, "Parent");
    const char *path = json_is_string(config) ? json_string_value(config) : "";
    int r = 0;

    if (!json_is_object(o) && !json_is_null(o))
        r = err_set(e, ERR_INVALID, "json: cannot unmarshal %s into Go value of type tarexport.manifestItem", codec_word(o));
    if (r == 0)
        r = check_type(config, "Config", json_is_string(config), "string", e);
    if (r == 0)
        r = strings_of(o, "RepoTags", &names, e);
    if (r == 0)
        r = strings_of(o, "Layers", &layers, e);
    if (r == 0)
        r = check_type(parent, "Parent", json_is_string(parent), "image.ID", e);
    if (r == 0 && layers.n > LIMIT_LAYERS)
        r = err_set(e, ERR_INVALID, "max depth exceeded");
    if (r == 0)
        r = load_image(l, load_find_member(l, path), path, &layers, &names, e);
    if (r == 0)
        r = strv_add(&l->parents, json_is_string(parent) ? json_string_value(parent) : "") < 0 ? err_oom(e) : 0;
    return r;
}

static int load_docker(struct loading *l, struct err *e) {
    json_t *list = load_document(l, load_find_member(l, "manifest.json"), "manifest.json", e), *o;
    size_t i;
    int r = list ? 0 : -ERR_INVALID;

    if (r == 0 && json_is_null(list))
        r = err_set(e, ERR_INVALID, "invalid manifest, manifest cannot be null (but can be [])");
    else if (r == 0 && !json_is_array(list))
        r = err_set(e, ERR_INVALID, "json: cannot unmarshal %s into Go value of type []tarexport.manifestItem", codec_word(list));
    if (r == 0)
        json_array_foreach(list, i, o) {
            r = load_entry(l, o, e);
            if (r < 0)
                break;
        }
    json_decref(list);
    return r < 0 ? r : link_parents(l, e);
}

/* ---- the whole archive -------------------------------------------------------------------------------------------------------------- */

static int read_stream(struct loading *l, struct call *c, struct err *e) {
    int r = unpack_start(l->images->layers, true, take_event, l, &l->unpack, e);

    while (r == 0) {
        const void *piece;
        ssize_t n = call_body_next(c, &piece, e);

        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        r = unpack_feed(l->unpack, piece, (size_t)n, e);
    }
    return r < 0 ? r : unpack_finish(l->unpack, e);
}

int images_load(struct images *s, struct call *c, bool quiet, struct progress *p, struct err *e) {
    struct loading l = {.images = s, .progress = p, .quiet = quiet, .ids = BUF_INIT(MIB(1))};
    int r = read_stream(&l, c, e);
    bool docker = map_has(&l.members, "manifest.json"), layout = map_has(&l.members, "index.json") && !map_has(&l.members, "repositories");

    if (r == 0)
        r = docker ? load_docker(&l, e) : layout ? load_layout(&l, e) : load_old(&l, e);
    if (r == 0 && l.named == 0 && (docker || layout))
        r = progress_stream(p, e, "%s", buf_str(&l.ids)); /* also when there is nothing to say */
    unpack_free(l.unpack);
    map_done_with(&l.members, member_free);
    buf_done(&l.ids);
    strv_done(&l.loaded);
    strv_done(&l.parents);
    return r;
}
