// SPDX-License-Identifier: Apache-2.0
/*
 * docker load: an image archive (docker-archive with manifest.json, or an OCI image layout) in one pass. While the stream comes in, the caged helper
 * unpacks every member that is a layer; small documents are collected. When the stream has ended the documents say which layers belong to
 * which image, digests are compared, and only then anything becomes visible.
 */
#include <jansson.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "content/digest.h"
#include "image/image-internal.h"
#include "layers/unpack.h"
#include "wire/call.h"

#define READ_SIZE KIB(256)
#define LINK_HOPS 8

struct member {
    enum unpack_frame type;
    int index;
    bool used; /* registered already */
    char diff_id[72], digest[72];
    int64_t size, archive_size;
    char *data; /* document, or link target */
    size_t n;
};

struct loading {
    struct images *images;
    struct progress *progress;
    bool quiet;
    struct map members; /* path → struct member */
    struct unpack *unpack;
    struct buf ids;              /* lines for images without a name */
    struct strv loaded, parents; /* ids; what manifest.json says of each, "" for none */
    int named;
    bool fresh; /* a layer was new: progress is shown for it */
};

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

static struct member *find_member(struct loading *l, const char *path) {
    _cleanup_free_ char *at = resolve_link("", path);

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

static json_t *parse_document(const struct member *m, const char *what, struct err *e) {
    json_error_t je;
    json_t *o;

    if (!m || m->type != UNPACK_FILE) {
        err_set(e, ERR_INVALID, "image archive: %s is not there", what);
        return NULL;
    }
    if (m->n > LIMIT_MANIFEST_BYTES) {
        err_set(e, ERR_TOO_LARGE, "image archive: %s is larger than %zu bytes", what, LIMIT_MANIFEST_BYTES);
        return NULL;
    }
    o = json_loadb(m->data, m->n, JSON_REJECT_DUPLICATES, &je);
    if (!o)
        err_set(e, ERR_INVALID, "image archive: %s: %s", what, je.text);
    return o;
}

/* ---- one image ------------------------------------------------------------------------------------------------------------------ */

/* The layer for diff_id on parent: in the store, in the archive, or known under another parent. */
static int add_layer(struct loading *l, struct layer *parent, const char *diff_id, const char *path, struct layer **ret, struct err *e) {
    struct layers *store = l->images->layers;
    char chain[72];
    struct member *m;
    int r;

    layer_chain_id_of(parent ? layer_chain_id(parent) : NULL, diff_id, chain);
    *ret = layers_get(store, chain);
    if (*ret)
        return 0;
    m = find_member(l, path);
    if (!m || (m->type != UNPACK_LAYER && !(m->type == UNPACK_FILE && m->n == 0)))
        return err_set(e, ERR_INVALID, "open %s: no such file or directory", path);
    if (m->type != UNPACK_LAYER || !streq(m->diff_id, diff_id))
        return err_set(e, ERR_INVALID, "invalid diffID for layer: expected \"%s\", got \"%s\"", diff_id, m->diff_id);
    if (m->index < 0 || m->used)
        return layers_register_known(store, parent, diff_id, ret, e);
    r = layers_register(store, parent, l->unpack, m->index, diff_id, m->size, m->archive_size, ret, e);
    if (r < 0)
        return r;
    m->used = true;
    if (!l->quiet) {
        char id[ID_SHORT_LEN + 1];

        snprintf(id, sizeof id, "%.12s", diff_id + strlen("sha256:"));
        r = progress_bar(l->progress, id, "Loading layer", m->archive_size, m->archive_size, e);
    }
    return r;
}

static int add_layers(struct loading *l, const struct image *image, const struct strv *paths, struct layer **ret, struct err *e) {
    struct layer *top = NULL;

    if (paths->n != image->diff_ids.n)
        return err_set(e, ERR_INVALID, "invalid manifest, layers length mismatch: expected %zu, got %zu", paths->n, image->diff_ids.n);
    for (size_t i = 0; i < paths->n; i++) {
        struct layer *next = NULL;
        int r = add_layer(l, top, image->diff_ids.v[i], paths->v[i], &next, e);

        layer_unref(top); /* the next layer counts its parent itself */
        if (r < 0)
            return r;
        top = next;
    }
    *ret = top;
    return 0;
}

static int set_loaded_name(struct loading *l, const char *name, const char *id, struct err *e) {
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;
    _cleanup_free_ char *old = NULL, *shown = NULL;
    int r = reference_parse(name, &ref, e);

    if (r < 0)
        return r;
    if (!ref.tag || ref.digest)
        return 0; /* as the reference: only tags count */
    shown = reference_familiar(&ref);
    old = images_lookup(l->images, &ref);
    if (!shown)
        return err_oom(e);
    if (old && !streq(old, id)) {
        r = progress_stream(l->progress, e, "The image %s already exists, renaming the old one with ID %s to empty string\n", shown, old);
        if (r < 0)
            return r;
    }
    r = images_set_name(l->images, &ref, id, NULL, e);
    if (r < 0)
        return r;
    l->named++;
    return progress_stream(l->progress, e, "Loaded image: %s\n", shown);
}

static int load_one(struct loading *l, const struct member *config, const char *config_path, const struct strv *layers, json_t *names,
                    struct err *e) {
    _cleanup_image_ struct image *image = NULL, *known = NULL;
    struct layer *top = NULL;
    json_t *name;
    size_t i;
    int r;

    if (!config || config->type != UNPACK_FILE)
        return err_set(e, ERR_INVALID, "open %s: no such file or directory", config_path);
    r = image_parse(config->data, config->n, &image, e);
    if (r < 0)
        return r;
    if (image->os && *image->os && !streq(image->os, "linux"))
        return err_set(e, ERR_INVALID, "cannot load %s image on linux", image->os);
    r = add_layers(l, image, layers, &top, e);
    if (r < 0)
        return r;
    r = images_add(l->images, TAKE_PTR(image), top, &known, e);
    if (r < 0)
        return r;
    buf_addf(&l->ids, "Loaded image ID: %s\n", known->id);
    if (strv_add(&l->loaded, known->id) < 0)
        return err_oom(e);
    json_array_foreach(names, i, name) {
        if (!json_is_string(name))
            return err_set(e, ERR_INVALID, "image archive: a name is not a string");
        r = set_loaded_name(l, json_string_value(name), known->id, e);
        if (r < 0)
            return r;
    }
    images_event(l->images, "load", known->id, known->id, known->id);
    return 0;
}

static int strings_of(json_t *list, struct strv *ret, struct err *e) {
    json_t *v;
    size_t i;

    json_array_foreach(list, i, v) {
        if (!json_is_string(v))
            return err_set(e, ERR_INVALID, "image archive: a path is not a string");
        if (strv_add(ret, json_string_value(v)) < 0)
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

static int load_docker(struct loading *l, struct err *e) {
    json_t *list = parse_document(find_member(l, "manifest.json"), "manifest.json", e), *o;
    size_t i;
    int r = 0;

    if (!list)
        return -ERR_INVALID;
    json_array_foreach(list, i, o) {
        _cleanup_strv_ struct strv layers = STRV_INIT;
        const char *config = json_string_value(json_object_get(o, "Config"));

        r = strings_of(json_object_get(o, "Layers"), &layers, e);
        if (r == 0 && layers.n > LIMIT_LAYERS)
            r = err_set(e, ERR_INVALID, "max depth exceeded");
        if (r == 0)
            r = load_one(l, config ? find_member(l, config) : NULL, config ? config : "", &layers, json_object_get(o, "RepoTags"), e);
        if (r == 0) {
            const char *parent = json_string_value(json_object_get(o, "Parent"));

            r = strv_add(&l->parents, parent ? parent : "") < 0 ? err_oom(e) : 0;
        }
        if (r < 0)
            break;
    }
    json_decref(list);
    return r < 0 ? r : link_parents(l, e);
}

/* ---- OCI image layout ------------------------------------------------------------------------------------------------------------- */

static char *blob_path(const char *digest) {
    return digest_is_valid(digest) ? str_printf("blobs/sha256/%s", digest + strlen("sha256:")) : NULL;
}

/* A document named by its digest, checked against it. */
static struct member *checked_blob(struct loading *l, json_t *descriptor, char **ret_path, struct err *e) {
    const char *digest = json_string_value(json_object_get(descriptor, "digest"));
    _cleanup_free_ char *path = digest ? blob_path(digest) : NULL;
    struct member *m = path ? find_member(l, path) : NULL;
    char other[DIGEST_SIZE];

    if (!m || m->type != UNPACK_FILE) {
        err_set(e, ERR_INVALID, "image archive: blob %s is not there", digest ? digest : "without a digest");
        return NULL;
    }
    digest_of(m->data, m->n, other);
    if (!streq(other, digest)) {
        err_set(e, ERR_INVALID, "image archive: blob %s has other contents", digest);
        return NULL;
    }
    if (ret_path)
        *ret_path = TAKE_PTR(path);
    return m;
}

static bool platform_fits(json_t *descriptor) {
    json_t *p = json_object_get(descriptor, "platform");
    const char *os = json_string_value(json_object_get(p, "os")), *arch = json_string_value(json_object_get(p, "architecture"));

    return !p || ((!os || streq(os, "linux")) && (!arch || streq(arch, "amd64")));
}

static int load_oci_manifest(struct loading *l, json_t *manifest, json_t *names, struct err *e) {
    _cleanup_strv_ struct strv layers = STRV_INIT;
    _cleanup_free_ char *config_path = NULL;
    struct member *config = checked_blob(l, json_object_get(manifest, "config"), &config_path, e);
    json_t *o;
    size_t i;

    if (!config)
        return -ERR_INVALID;
    json_array_foreach(json_object_get(manifest, "layers"), i, o) {
        const char *digest = json_string_value(json_object_get(o, "digest"));
        _cleanup_free_ char *path = digest ? blob_path(digest) : NULL;
        struct member *m = path ? find_member(l, path) : NULL;

        if (!path)
            return err_set(e, ERR_INVALID, "image archive: bad list of layers");
        if (layers.n >= LIMIT_LAYERS)
            return err_set(e, ERR_INVALID, "max depth exceeded");
        if (m && m->type == UNPACK_LAYER && !streq(m->digest, digest))
            return err_set(e, ERR_INVALID, "image archive: blob %s has other contents", digest);
        if (strv_add(&layers, path) < 0)
            return err_oom(e);
    }
    return load_one(l, config, config_path, &layers, names, e);
}

static int load_oci(struct loading *l, json_t *index, json_t *names, int depth, struct err *e) {
    json_t *o;
    size_t i;
    int r = 0;

    if (depth > LIMIT_INDEX_DEPTH || json_array_size(json_object_get(index, "manifests")) > LIMIT_INDEX_ENTRIES)
        return err_set(e, ERR_TOO_LARGE, "image archive: the index is too large");
    json_array_foreach(json_object_get(index, "manifests"), i, o) {
        const char *type = json_string_value(json_object_get(o, "mediaType"));
        json_t *notes = json_object_get(o, "annotations");
        const char *name = json_string_value(json_object_get(notes, "io.containerd.image.name"));
        struct member *m;
        json_t *doc, *own;

        if (!platform_fits(o))
            continue;
        m = checked_blob(l, o, NULL, e);
        doc = m ? parse_document(m, "manifest", e) : NULL;
        if (!doc)
            return -ERR_INVALID;
        own = name ? json_pack("[s]", name) : json_incref(names);
        if (type &&
            (streq(type, "application/vnd.oci.image.index.v1+json") || streq(type, "application/vnd.docker.distribution.manifest.list.v2+json")))
            r = load_oci(l, doc, own, depth + 1, e);
        else
            r = load_oci_manifest(l, doc, own, e);
        json_decref(own);
        json_decref(doc);
        if (r < 0)
            break;
    }
    return r;
}

static int load_oci_layout(struct loading *l, struct err *e) {
    json_t *index = parse_document(find_member(l, "index.json"), "index.json", e);
    int r = index ? load_oci(l, index, NULL, 0, e) : -ERR_INVALID;

    json_decref(index);
    return r;
}

/* ---- the whole archive -------------------------------------------------------------------------------------------------------------- */

static int read_stream(struct loading *l, struct call *c, struct err *e) {
    _cleanup_free_ char *piece = malloc(READ_SIZE);
    int r;

    if (!piece)
        return err_oom(e);
    r = unpack_start(l->images->layers, true, take_event, l, &l->unpack, e);
    while (r == 0) {
        ssize_t n = call_body_read(c, piece, READ_SIZE, e);

        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        r = unpack_feed(l->unpack, piece, (size_t)n, e);
    }
    return r < 0 ? r : unpack_finish(l->unpack, e);
}

/* The reference then looks for the form before manifest.json, in the folder it unpacked into; clients know this text. */
static int no_images(struct loading *l, struct err *e) {
    _cleanup_free_ char *first = NULL;

    /* There every folder was an image; the first in order is missed first. */
    for (struct map_entry *i = NULL; (i = map_next(&l->members, i));) {
        size_t n = strcspn(i->key, "/");

        if (i->key[n] == 0 && ((struct member *)i->value)->type != UNPACK_FOLDER)
            continue;
        if (first && strncmp(i->key, first, n) >= 0)
            continue;
        free(first);
        first = strndup(i->key, n);
        if (!first)
            return err_oom(e);
    }
    return err_set(e, ERR_INVALID, "open %s/tmp/docker-import-%09llu/%s%s: no such file or directory", l->images->engine->config->data_root,
                   (unsigned long long)(clock_mono_ns() % 1000000000), first ? first : "repositories", first ? "/json" : "");
}

int images_load(struct images *s, struct call *c, bool quiet, struct progress *p, struct err *e) {
    struct loading l = {.images = s, .progress = p, .quiet = quiet, .ids = BUF_INIT(MIB(1))};
    int r = read_stream(&l, c, e);

    if (r == 0) {
        if (map_has(&l.members, "manifest.json"))
            r = load_docker(&l, e);
        else if (map_has(&l.members, "index.json"))
            r = load_oci_layout(&l, e);
        else
            r = no_images(&l, e);
    }
    if (r == 0 && l.named == 0 && l.ids.len)
        r = progress_stream(p, e, "%s", buf_str(&l.ids));
    unpack_free(l.unpack);
    map_done_with(&l.members, member_free);
    buf_done(&l.ids);
    strv_done(&l.loaded);
    strv_done(&l.parents);
    return r;
}
