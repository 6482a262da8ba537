// SPDX-License-Identifier: Apache-2.0
/*
 * docker pull: manifest, configuration, then every missing layer in one pass each (download, hash, inflate, hash, unpack), several at a time. A layer becomes
 * visible once its blob digest and its diff ID are right and the layers below it are there; the image last of all.
 */
#include <jansson.h>
#include <limits.h>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "image/blobs.h"
#include "image/fetch.h"
#include "image/image-internal.h"
#include "image/platform.h"
#include "image/pull.h"
#include "image/verify.h"
#include "layers/unpack.h"
#include "registry/registry.h"
#include "wire/call.h"

#define PROGRESS_BYTES (INT64_C(512) << 10)
#define LOOK_MS 100 /* so long it may take to see that the client has gone */

struct plan_layer {
    char *digest;
    int64_t size;
    char id[ID_SHORT_LEN + 1];
    struct fetch *fetch; /* NULL: it is there, or the same blob comes further down */
    enum fetch_phase told;
    int64_t shown; /* bytes the client knows of */
    bool gzip;
};

struct pull {
    struct images *images;
    struct call *call;
    struct progress *progress;
    struct registry_session *session;
    struct reference ref; /* with tag or digest */
    struct platform want;
    char manifest_digest[72]; /* what the name points to: an index or a manifest */
    struct image *image;
    struct plan_layer *layers;
    size_t n_layers;
    bool link_failed; /* a download broke off */
};

static void short_id(const char *digest, char ret[ID_SHORT_LEN + 1]) {
    snprintf(ret, ID_SHORT_LEN + 1, "%.12s", digest + strlen("sha256:"));
}

static bool pull_cancelled(void *arg) {
    struct pull *p = arg;

    return call_gone(p->call);
}

/* ---- manifests ---------------------------------------------------------------------------------------------------------------------------- */

static json_t *parse_manifest(const struct registry_manifest *m, struct err *e) {
    json_error_t je;
    json_t *o = json_loadb(m->body.data ? m->body.data : "", m->body.len, JSON_REJECT_DUPLICATES, &je);

    if (!json_is_object(o)) {
        err_set(e, ERR_INTERNAL, "manifest: %s", o ? "not an object" : je.text);
        json_decref(o);
        return NULL;
    }
    if (json_object_get(o, "layers") && json_object_get(o, "manifests")) {
        err_set(e, ERR_INTERNAL, "manifest is both an image and an index");
        json_decref(o);
        return NULL;
    }
    return o;
}

static const char *platform_of(json_t *descriptor, const char *key) {
    const char *v = json_string_value(json_object_get(json_object_get(descriptor, "platform"), key));

    return v ? v : "";
}

/* The entry of an index that suits the wanted platform best, the first of equals; NULL when none does. One that does not say whom it is for is for all. */
static json_t *choose(const struct pull *p, json_t *index) {
    json_t *o, *best = NULL;
    int best_rank = INT_MAX;
    size_t i;

    json_array_foreach(json_object_get(index, "manifests"), i, o) {
        const char *os = platform_of(o, "os"), *arch = platform_of(o, "architecture");
        int rank = !*os && !*arch ? INT_MAX - 1 : platform_rank(&p->want, os, arch, platform_of(o, "variant"));

        if (rank >= 0 && rank < best_rank) {
            best = o;
            best_rank = rank;
        }
    }
    return best;
}

static bool is_index(const struct registry_manifest *m, json_t *o) {
    const char *type = json_string_value(json_object_get(o, "mediaType"));

    if (!type)
        type = m->media_type ? m->media_type : "";
    return streq(type, REGISTRY_TYPE_DOCKER_LIST) || streq(type, REGISTRY_TYPE_OCI_INDEX) || json_is_array(json_object_get(o, "manifests"));
}

static int schema1_refused(const struct pull *p, struct err *e) {
    _cleanup_free_ char *name = reference_canonical(&p->ref);

    return err_set(
        e, ERR_INVALID,
        "[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 support is disabled by default and will be "
        "removed in an upcoming release. Suggest the author of %s to upgrade the image to the OCI Format or Docker Image manifest v2, schema 2. "
        "More information at https://docs.docker.com/go/deprecated-image-specs/",
        name ? name : "");
}

/* The first line of the stream: the name is known to the registry, so errors from now on are lines too. */
static int announce(struct pull *p, struct err *e) {
    _cleanup_free_ char *whole = reference_familiar(&p->ref);

    return whole ? progress_message(p->progress, p->ref.digest ? whole : p->ref.tag, e, "Pulling from %s", p->ref.path) : err_oom(e);
}

/* Follow the name down to an image manifest, and its digest. */
static int resolve(struct pull *p, json_t **ret, char ret_digest[72], struct err *e) {
    _cleanup_free_ char *what = strdup(p->ref.digest ? p->ref.digest : p->ref.tag);

    for (int depth = 0; what; depth++) {
        struct registry_manifest m = REGISTRY_MANIFEST_INIT;
        int r = registry_get_manifest(p->session, what, &m, e);
        json_t *o = r < 0 ? NULL : parse_manifest(&m, e), *entry;
        const char *digest;

        if (!o) {
            registry_manifest_done(&m);
            return r < 0 ? r : -ERR_INTERNAL;
        }
        if (depth == 0) {
            memcpy(p->manifest_digest, m.digest, sizeof p->manifest_digest);
            r = announce(p, e);
        }
        snprintf(ret_digest, 72, "%s", m.digest);
        if (r < 0)
            ;
        else if (json_integer_value(json_object_get(o, "schemaVersion")) == 1)
            r = schema1_refused(p, e);
        else if (!is_index(&m, o))
            r = 1;
        registry_manifest_done(&m);
        if (r != 0) {
            if (r > 0)
                *ret = o;
            else
                json_decref(o);
            return r > 0 ? 0 : r;
        }
        if (depth == LIMIT_INDEX_DEPTH || json_array_size(json_object_get(o, "manifests")) > LIMIT_INDEX_ENTRIES) {
            json_decref(o);
            return err_set(e, ERR_INTERNAL, "manifest list is too large");
        }
        entry = choose(p, o);
        digest = json_string_value(json_object_get(entry, "digest"));
        free(what);
        what = digest && digest_is_valid(digest) ? strdup(digest) : NULL;
        json_decref(o);
        if (!what)
            return err_set(e, ERR_NOT_FOUND, "no matching manifest for %s/%s%s%s in the manifest list entries", p->want.os, p->want.arch,
                           *p->want.told ? "/" : "", p->want.told);
    }
    return err_oom(e);
}

/* ---- configuration and plan ------------------------------------------------------------------------------------------------------------------ */

static int into_buf(void *arg, const void *p, size_t n, struct err *e) {
    buf_add(arg, p, n);
    return buf_check(arg, e);
}

static int descriptor(json_t *o, const char **ret_digest, int64_t *ret_size, struct err *e) {
    json_t *size = json_object_get(o, "size");

    *ret_digest = json_string_value(json_object_get(o, "digest"));
    *ret_size = json_integer_value(size);
    if (!*ret_digest || !digest_is_valid(*ret_digest))
        return err_set(e, ERR_INTERNAL, "manifest: invalid digest");
    if (!json_is_integer(size) || *ret_size < 0)
        return err_set(e, ERR_INTERNAL, "manifest: invalid size of %s", *ret_digest);
    return 0;
}

/* An artifact that is no image: its configuration says so. */
static int check_config_type(const char *type, struct err *e) {
    static const char *const images[] = {"application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json",
                                         "application/octet-stream"};

    for (size_t i = 0; i < ELEMENTSOF(images); i++)
        if (str_empty(type) || streq(type, images[i]))
            return 0;
    if (streq(type, "application/vnd.docker.plugin.v1+json"))
        return err_set(e, ERR_INVALID, "Encountered remote \"%s\"(plugin) when fetching", type);
    return err_set(e, ERR_INTERNAL, "unsupported media type %s", type);
}

static int fetch_config(struct pull *p, json_t *manifest, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_IMAGE_CONFIG_BYTES);
    const char *digest;
    int64_t size;
    int r = check_config_type(json_string_value(json_object_get(json_object_get(manifest, "config"), "mediaType")), e);

    if (r == 0 && json_array_size(json_object_get(manifest, "layers")) > LIMIT_LAYERS)
        r = err_set(e, ERR_INTERNAL, "failed to register layer: max depth exceeded");
    if (r == 0)
        r = descriptor(json_object_get(manifest, "config"), &digest, &size, e);
    if (r < 0)
        return r;
    p->image = images_get(p->images, digest);
    if (p->image)
        return 0;
    if (size > (int64_t)LIMIT_IMAGE_CONFIG_BYTES)
        return err_set(e, ERR_TOO_LARGE, "image configuration larger than %zu bytes", LIMIT_IMAGE_CONFIG_BYTES);
    r = registry_blob(p->session, digest, 0, size, into_buf, &b, NULL, NULL, e);
    if (r == 0)
        r = image_parse(b.data ? b.data : "", b.len, &p->image, e);
    if (r == 0 && !streq(p->image->id, digest))
        r = err_set(e, ERR_INTERNAL, "image config verification failed for digest %s", digest);
    return r;
}

static int plan_layers(struct pull *p, json_t *manifest, struct err *e) {
    json_t *list = json_object_get(manifest, "layers"), *o;
    size_t i;

    if (json_array_size(list) != p->image->diff_ids.n)
        return err_set(e, ERR_INTERNAL, "layers from manifest don't match image configuration");
    p->layers = calloc(json_array_size(list) + 1, sizeof *p->layers);
    if (!p->layers)
        return err_oom(e);
    json_array_foreach(list, i, o) {
        const char *digest, *type;
        int r = descriptor(o, &digest, &p->layers[i].size, e);

        if (r < 0)
            return r;
        p->layers[i].digest = strdup(digest);
        short_id(digest, p->layers[i].id);
        type = json_string_value(json_object_get(o, "mediaType"));
        p->layers[i].gzip = type && str_has_suffix(type, "gzip");
        if (!p->layers[i].digest)
            return err_oom(e);
        p->n_layers++;
    }
    return 0;
}

/* ---- layers ------------------------------------------------------------------------------------------------------------------------------------ */

/* What the client has not been told yet of the way a layer has come. */
static int show(struct pull *p, struct plan_layer *l, struct err *e) {
    struct fetch_view v = fetch_look(l->fetch);
    int r = 0;

    if (v.phase == FETCH_FAILED)
        return 0;
    if (v.have - l->shown >= PROGRESS_BYTES || (l->shown == 0 && v.have > 0 && v.have < l->size)) {
        l->shown = v.have;
        r = progress_bar(p->progress, l->id, "Downloading", v.have, l->size, e);
    }
    for (; r == 0 && l->told < v.phase; l->told++) {
        if (l->told + 1 == FETCH_VERIFYING)
            r = progress_bar(p->progress, l->id, "Verifying Checksum", 0, 0, e);
        else if (l->told + 1 == FETCH_DOWNLOADED)
            r = progress_bar(p->progress, l->id, "Download complete", 0, 0, e);
    }
    return r;
}

/* For pushes to come. hashed: the bytes showed that blob and diff ID belong together. */
static int note_blob(struct pull *p, size_t i, bool hashed, struct err *e) {
    _cleanup_free_ char *repository = reference_name(&p->ref);
    const struct plan_layer *l = &p->layers[i];

    if (!repository)
        return err_oom(e);
    if (!l->gzip)
        return 0;
    return hashed ? blobs_note(p->images->db, p->image->diff_ids.v[i], l->digest, repository, NULL, e)
                  : blobs_note_claim(p->images->db, p->image->diff_ids.v[i], l->digest, repository, e);
}

/* Put a layer that has come, or that came below as well, on top of those below it. */
static int add_layer(struct pull *p, struct plan_layer *l, const char *diff_id, struct layer **top, struct err *e) {
    struct layer *next;
    int r = progress_bar(p->progress, l->id, "Extracting", l->size, l->size, e);

    if (r == 0 && l->fetch)
        r = fetch_register(l->fetch, *top, &next, e);
    else if (r == 0)
        r = layers_register_known(p->images->layers, *top, diff_id, &next, e);
    if (r < 0)
        return r;
    layer_unref(*top); /* the next one counts it */
    *top = next;
    return progress_bar(p->progress, l->id, "Pull complete", 0, 0, e);
}

/* The same blob further down: it comes once. */
static bool is_below(const struct pull *p, size_t first, size_t k) {
    for (size_t i = first; i < k; i++)
        if (streq(p->layers[i].digest, p->layers[k].digest) && streq(p->image->diff_ids.v[i], p->image->diff_ids.v[k]))
            return true;
    return false;
}

/* Once the client knows what there is, as the reference has it. */
static int check_os(const struct pull *p, struct err *e) {
    if (str_empty(image_os(p->image)) || streq(image_os(p->image), "linux"))
        return 0;
    return err_set(e, ERR_INTERNAL, "image operating system \"%s\" cannot be used on this platform: operating system is not supported",
                   image_os(p->image));
}

/* Ask for all layers from the first missing one on; `top` is below it. */
static int join_fetches(struct pull *p, size_t first, const struct layer *top, struct err *e) {
    char chain[2][72] = {{0}};
    int r = 0;

    if (top)
        snprintf(chain[first & 1], sizeof chain[0], "%s", layer_chain_id(top));
    for (size_t i = first; r == 0 && i < p->n_layers; i++)
        r = progress_bar(p->progress, p->layers[i].id, "Pulling fs layer", 0, 0, e);
    if (r == 0)
        r = check_os(p, e);
    for (size_t i = first; r == 0 && i < p->n_layers; i++) {
        struct plan_layer *l = &p->layers[i];
        struct fetch_want want = {l->digest, p->image->diff_ids.v[i], chain[(i + 1) & 1], l->size, l->gzip, p->session};

        layer_chain_id_of(chain[i & 1], want.diff_id, chain[(i + 1) & 1]);
        if (is_below(p, first, i))
            continue;
        r = fetch_join(p->images->fetches, &want, &l->fetch, e);
        if (r == 0 && fetch_look(l->fetch).waits)
            r = progress_bar(p->progress, l->id, "Waiting", 0, 0, e);
    }
    return r;
}

/* The lowest layer that failed, n_layers when none has. Those above it are not waited for; those below still come, as clients know it. */
static size_t first_failed(struct pull *p) {
    size_t k = 0;

    while (k < p->n_layers && !(p->layers[k].fetch && fetch_look(p->layers[k].fetch).phase == FETCH_FAILED))
        k++;
    for (size_t i = k + 1; i < p->n_layers; i++) {
        bool link = false;

        ignore_result(fetch_error(p->layers[k].fetch, &link, NULL) < 0);
        p->layers[i].fetch = fetch_leave(p->layers[i].fetch, link && !call_gone(p->call));
    }
    return k;
}

static bool has_come(const struct plan_layer *l) {
    return !l->fetch || fetch_look(l->fetch).phase == FETCH_READY;
}

/* Tell the client how it goes, and put the layers on each other as they come. */
static int follow_fetches(struct pull *p, size_t next, struct layer **top, struct err *e) {
    uint64_t seen = 0;

    while (next < p->n_layers) {
        size_t failed;
        int r = 0;

        fetches_wait(p->images->fetches, &seen, LOOK_MS);
        if (pull_cancelled(p))
            return err_set(e, ERR_CANCELLED, "context canceled");
        failed = first_failed(p);
        for (size_t i = next; r == 0 && i < failed; i++)
            if (p->layers[i].fetch)
                r = show(p, &p->layers[i], e);
        while (r == 0 && next < failed && has_come(&p->layers[next])) {
            if (p->layers[next].fetch)
                r = show(p, &p->layers[next], e);
            if (r == 0)
                r = add_layer(p, &p->layers[next], p->image->diff_ids.v[next], top, e);
            if (r == 0)
                r = note_blob(p, next, true, e);
            next++;
        }
        if (r < 0)
            return r;
        if (next == failed && failed < p->n_layers)
            return fetch_error(p->layers[failed].fetch, &p->link_failed, e);
    }
    return 0;
}

/* Layers from the lowest up: those that are there already, then the rest as they come. */
static int fetch_layers(struct pull *p, struct layer **ret_top, struct err *e) {
    struct layer *top = NULL, *next;
    size_t k = 0;
    int r = 0;

    for (; r == 0 && k < p->n_layers; k++) {
        char chain[72];

        layer_chain_id_of(top ? layer_chain_id(top) : NULL, p->image->diff_ids.v[k], chain);
        next = layers_get(p->images->layers, chain);
        if (!next)
            break;
        layer_unref(top);
        top = next;
        r = progress_bar(p->progress, p->layers[k].id, "Already exists", 0, 0, e);
        if (r == 0)
            r = note_blob(p, k, false, e);
    }
    if (r == 0)
        r = join_fetches(p, k, top, e);
    if (r == 0)
        r = follow_fetches(p, k, &top, e);
    for (size_t i = 0; i < p->n_layers; i++)
        p->layers[i].fetch = fetch_leave(p->layers[i].fetch, p->link_failed && !call_gone(p->call));
    if (r < 0) {
        layer_unref(top);
        return r;
    }
    *ret_top = top;
    return 0;
}

/* ---- names ------------------------------------------------------------------------------------------------------------------------------------ */

/* A digest that names an image already keeps doing so: another platform of the same index does not take it over. */
static int set_digest(struct pull *p, const char *id, bool *ret_changed, struct err *e) {
    struct reference by_digest = {p->ref.domain, p->ref.path, NULL, p->manifest_digest};
    _cleanup_free_ char *old = images_lookup(p->images, &by_digest);

    *ret_changed = !old;
    if (old && !streq(old, id) && p->ref.digest)
        return err_set(e, ERR_CONFLICT, "Cannot overwrite digest %s", p->manifest_digest);
    return old ? 0 : images_set_name(p->images, &by_digest, id, NULL, e);
}

static int set_names(struct pull *p, const char *id, bool *ret_changed, struct err *e) {
    struct reference by_tag = {p->ref.domain, p->ref.path, p->ref.tag, NULL};
    _cleanup_free_ char *old = NULL;
    int r = set_digest(p, id, ret_changed, e);

    if (r < 0 || p->ref.digest)
        return r;
    r = images_set_name(p->images, &by_tag, id, &old, e);
    *ret_changed = !old || !streq(old, id);
    return r;
}

/* One tag or digest, from the place the session has chosen. */
static int pull_here(struct pull *p, bool *ret_changed, struct err *e) {
    json_t *manifest = NULL;
    struct layer *top = NULL;
    struct image *known = NULL;
    struct verified verified = {0};
    char digest[72];
    int r = resolve(p, &manifest, digest, e);

    if (r == 0)
        r = verify_pull(p->images, p->session, &p->ref, p->manifest_digest, digest, &verified, e);
    if (r == 0)
        r = fetch_config(p, manifest, e);
    if (r == 0 && !p->image->owner) {
        r = plan_layers(p, manifest, e);
        if (r == 0)
            r = fetch_layers(p, &top, e);
        if (r == 0)
            r = images_add(p->images, TAKE_PTR(p->image), top, &known, e);
        if (r == 0)
            p->image = known;
    }
    json_decref(manifest);
    if (r == 0)
        r = verify_note(p->images, p->image->id, &verified, e);
    verified_done(&verified);
    if (r == 0)
        r = set_names(p, p->image->id, ret_changed, e);
    if (r == 0)
        r = progress_message(p->progress, NULL, e, "Digest: %s", p->manifest_digest);
    return r;
}

static void pull_reset(struct pull *p) {
    p->image = image_unref(p->image);
    for (size_t i = 0; i < p->n_layers; i++)
        free(p->layers[i].digest);
    free(p->layers);
    p->layers = NULL;
    p->n_layers = 0;
}

/* One tag or digest; what a mirror cannot give comes from the next place. */
static int pull_one(struct pull *p, bool *ret_changed, struct err *e) {
    for (;;) {
        _cleanup_err_ struct err why = ERR_INIT;
        struct registry_session *next = NULL;
        int r = pull_here(p, ret_changed, &why), k;

        if (r == 0)
            return 0;
        k = r == -ERR_CANCELLED || r == -ERR_NO_SPACE ? 0 : registry_session_elsewhere(p->session, &next, e);
        if (k < 0 || !next)
            return k < 0 ? k : err_move(e, &why);
        log_kv(LOG_LVL_WARN, "a mirror could not give an image; trying the next place", "image", p->ref.path, "error", err_msg(&why), NULL);
        pull_reset(p);
        registry_session_forget_caller(p->session);
        registry_session_free(p->session);
        p->session = next;
    }
}

/* ---- the request -------------------------------------------------------------------------------------------------------------------------------- */

int pull_reference(const char *image, const char *tag, struct reference *ret, struct err *e) {
    _cleanup_reference_ struct reference r = REFERENCE_INIT;
    _cleanup_free_ char *name = strdup(image);
    int k;

    if (!name)
        return err_oom(e);
    if (str_has_suffix(name, ":"))
        name[strlen(name) - 1] = 0;
    k = reference_parse(name, &r, e);
    if (k < 0)
        return k;
    if (!str_empty(tag)) {
        bool digest = digest_is_valid(tag);

        if (!digest && !tag_is_valid(tag))
            return err_set(e, ERR_INVALID, "invalid tag format");
        if (str_set(digest ? &r.digest : &r.tag, tag) < 0)
            return err_oom(e);
    }
    *ret = r;
    r = REFERENCE_INIT;
    return 0;
}

static int check_platform(struct pull *p, struct err *e) {
    const struct platform *want = &p->want;
    _cleanup_free_ char *name = NULL;
    const char *os = p->image ? image_os(p->image) : "", *arch = p->image ? image_architecture(p->image) : "";

    if (!want->given || !p->image || platform_rank(want, os, arch, image_variant(p->image)) >= 0)
        return 0;
    name = reference_canonical(&p->ref);
    return err_set(e, ERR_NOT_FOUND, "image with reference %s was found but does not match the specified platform: wanted %s/%s%s%s, actual: %s/%s",
                   name ? name : "", want->os, want->arch, *want->told ? "/" : "", want->told, os, arch);
}

static int pull_tags(struct pull *p, const struct reference *ref, bool *ret_changed, struct err *e) {
    _cleanup_strv_ struct strv tags = STRV_INIT;
    int r = registry_get_tags(p->session, &tags, e);

    for (size_t i = 0; r == 0 && i < tags.n; i++) {
        bool changed = false;

        pull_reset(p);
        p->ref = (struct reference){ref->domain, ref->path, tags.v[i], NULL};
        r = pull_one(p, &changed, e);
        *ret_changed |= changed;
    }
    p->ref = *ref;
    return r;
}

int images_pull_reference(struct images *s, struct call *c, const struct reference *ref, const char *platform, struct progress *progress,
                          struct err *e) {
    struct pull p = {.images = s, .call = c, .progress = progress, .ref = *ref};
    struct registry_auth auth = {0};
    _cleanup_free_ char *shown = reference_familiar(ref), *name = reference_familiar_name(ref);
    bool changed = false, all = !ref->tag && !ref->digest;
    int r = shown && name ? platform_parse(platform, &p.want, e) : err_oom(e);

    if (r < 0)
        return r;
    if (streq(name, "scratch"))
        return err_set(e, ERR_FORBIDDEN, "'%s' is a reserved name", name);
    /* What cannot be read as credentials counts as none, as in the reference. */
    if (registry_auth_parse(call_header(c, "X-Registry-Auth"), &auth, NULL) < 0)
        auth = (struct registry_auth){0};
    r = all ? 0 : verify_name(s, ref, e);
    if (r == 0)
        r = registry_session_new(s->registry, ref, &auth, pull_cancelled, &p, &p.session, e);
    if (r == 0)
        r = all ? pull_tags(&p, ref, &changed, e) : pull_one(&p, &changed, e);
    if (r == 0)
        r = progress_message(progress, NULL, e, "Status: %s for %s", changed ? "Downloaded newer image" : "Image is up to date", shown);
    if (r == 0)
        images_event(s, "pull", shown, p.image ? p.image->id : "", name);
    if (r == 0)
        r = check_platform(&p, e);
    pull_reset(&p);
    registry_session_forget_caller(p.session);
    registry_session_free(p.session);
    registry_auth_done(&auth);
    return r;
}

int images_pull(struct images *s, struct call *c, const struct q_image_create *q, struct progress *progress, struct err *e) {
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;
    int r = pull_reference(q->from_image, q->tag, &ref, e);

    return r < 0 ? r : images_pull_reference(s, c, &ref, q->platform, progress, e);
}
