// SPDX-License-Identifier: Apache-2.0
/*
 * docker pull: manifest, configuration, then every missing layer in one pass each (download, hash, inflate, hash, unpack), several at a time. A layer becomes
 * visible once its blob digest and its diff ID are right and the layers below it are there; the image last of all.
 */
#include <jansson.h>
#include <openssl/evp.h>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "content/content.h"
#include "image/image-internal.h"
#include "image/pull.h"
#include "layers/unpack.h"
#include "registry/registry.h"
#include "wire/call.h"

#define WORKERS_MAX 3
#define PROGRESS_BYTES (INT64_C(512) << 10)
#define ADVANCE_BYTES (INT64_C(256) << 10)

struct pull;

/* One layer that is not there yet. */
struct job {
    struct pull *pull;
    const char *digest, *diff_id; /* borrowed from the plan */
    int64_t size;
    char id[ID_SHORT_LEN + 1];
    struct unpack *unpack;
    struct partial *partial;
    EVP_MD_CTX *sha;
    int64_t have, told, shown; /* bytes: there, announced to the unpacker, shown to the client */
    bool stopped;              /* it was us who refused the bytes */
    /* results of the unpacking */
    char got_diff[72];
    int64_t layer_size, archive_size;
    bool finished;
    int result;
    struct err error;
};

struct plan_layer {
    char *digest;
    int64_t size;
};

struct pull {
    struct images *images;
    struct call *call;
    struct progress *progress;
    struct registry_session *session;
    struct reference ref; /* with tag or digest */
    const char *want_os, *want_arch, *want_variant;
    char manifest_digest[72]; /* what the name points to: an index or a manifest */
    struct image *image;
    struct plan_layer *layers;
    size_t n_layers;
    struct job *jobs;
    size_t n_jobs;
    size_t next; /* job to take; under lock */
    bool abort;
    bool link_failed; /* a download broke off */
    pthread_mutex_t lock;
    pthread_cond_t done;
};

static void short_id(const char *digest, char ret[ID_SHORT_LEN + 1]) {
    snprintf(ret, ID_SHORT_LEN + 1, "%.12s", digest + strlen("sha256:"));
}

static bool pull_cancelled(void *arg) {
    struct pull *p = arg;

    return __atomic_load_n(&p->abort, __ATOMIC_RELAXED) || call_gone(p->call);
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

/* The entry of an index for the wanted platform; NULL when none is. */
static json_t *choose(const struct pull *p, json_t *index) {
    json_t *o;
    size_t i;

    json_array_foreach(json_object_get(index, "manifests"), i, o) {
        const char *variant = platform_of(o, "variant");

        if (!streq(platform_of(o, "os"), p->want_os) || !streq(platform_of(o, "architecture"), p->want_arch))
            continue;
        if (*p->want_variant && *variant && !streq(variant, p->want_variant))
            continue;
        return o;
    }
    return NULL;
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

/* Follow the name down to an image manifest. */
static int resolve(struct pull *p, json_t **ret, struct err *e) {
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
            return err_set(e, ERR_NOT_FOUND, "no matching manifest for %s/%s%s%s in the manifest list entries", p->want_os, p->want_arch,
                           *p->want_variant ? "/" : "", p->want_variant);
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

static int fetch_config(struct pull *p, json_t *manifest, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_IMAGE_CONFIG_BYTES);
    const char *digest;
    int64_t size;
    int r = descriptor(json_object_get(manifest, "config"), &digest, &size, e);

    if (r < 0)
        return r;
    p->image = images_get(p->images, digest);
    if (p->image)
        return 0;
    if (size > (int64_t)LIMIT_IMAGE_CONFIG_BYTES)
        return err_set(e, ERR_TOO_LARGE, "image configuration larger than %zu bytes", LIMIT_IMAGE_CONFIG_BYTES);
    r = registry_blob(p->session, digest, 0, size, into_buf, &b, e);
    if (r == 0)
        r = image_parse(b.data ? b.data : "", b.len, &p->image, e);
    if (r == 0 && !streq(p->image->id, digest))
        r = err_set(e, ERR_INTERNAL, "image config verification failed for digest %s", digest);
    return r;
}

static int plan_layers(struct pull *p, json_t *manifest, struct err *e) {
    json_t *list = json_object_get(manifest, "layers"), *o;
    size_t i;

    if (json_array_size(list) > LIMIT_LAYERS)
        return err_set(e, ERR_INTERNAL, "max depth exceeded");
    if (json_array_size(list) != p->image->diff_ids.n)
        return err_set(e, ERR_INTERNAL, "layers from manifest don't match image configuration");
    p->layers = calloc(json_array_size(list) + 1, sizeof *p->layers);
    if (!p->layers)
        return err_oom(e);
    json_array_foreach(list, i, o) {
        const char *digest;
        int r = descriptor(o, &digest, &p->layers[i].size, e);

        if (r < 0)
            return r;
        p->layers[i].digest = strdup(digest);
        if (!p->layers[i].digest)
            return err_oom(e);
        p->n_layers++;
    }
    return 0;
}

/* ---- one layer -------------------------------------------------------------------------------------------------------------------------------- */

static int take_result(void *arg, const struct unpack_event *ev, struct err *e) {
    struct job *j = arg;

    if (ev->type == UNPACK_LAYER) {
        memcpy(j->got_diff, ev->diff_id, sizeof j->got_diff);
        j->layer_size = ev->size;
        j->archive_size = ev->archive_size;
    }
    return 0;
}

/* Tell the unpacker how far it may read: not for every little piece. */
static int advance(struct job *j, struct err *e) {
    if (j->have - j->told < ADVANCE_BYTES && j->have != j->size)
        return 0;
    j->told = j->have;
    return unpack_advance(j->unpack, j->have, e) < 0 ? err_wrap(e, "failed to register layer") : 0;
}

static int take_bytes(void *arg, const void *bytes, size_t n, struct err *e) {
    struct job *j = arg;
    int r;

    j->stopped = true;
    EVP_DigestUpdate(j->sha, bytes, n);
    r = partial_append(j->partial, bytes, n, e);
    if (r == 0) {
        j->have += (int64_t)n;
        r = advance(j, e);
    }
    if (r < 0)
        return r;
    j->stopped = false;
    if (j->have - j->shown < PROGRESS_BYTES && (j->shown > 0 || j->have == j->size))
        return 0;
    j->shown = j->have;
    return progress_bar(j->pull->progress, j->id, "Downloading", j->have, j->size, e);
}

/* What an earlier attempt left counts as far as its digest goes: it is hashed like the rest, and checked with it. */
static int take_earlier(struct job *j, struct err *e) {
    _cleanup_free_ char *piece = malloc(ADVANCE_BYTES);

    if (!piece)
        return err_oom(e);
    while (j->have < partial_have(j->partial)) {
        ssize_t n = pread(partial_fd(j->partial), piece, (size_t)ADVANCE_BYTES, j->have);
        int r;

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_errno(e, n < 0 ? errno : EIO, "reading an unfinished download");
        EVP_DigestUpdate(j->sha, piece, (size_t)n);
        j->have += n;
        r = advance(j, e);
        if (r < 0)
            return r;
    }
    j->told = j->have;
    return unpack_advance(j->unpack, j->have, e);
}

static int check_blob(struct job *j, struct err *e) {
    unsigned char d[EVP_MAX_MD_SIZE];
    char digest[72] = "sha256:";

    EVP_DigestFinal_ex(j->sha, d, NULL);
    hex_encode(d, 32, digest + strlen("sha256:"));
    if (!streq(digest, j->digest) || j->have != j->size)
        return err_set(e, ERR_INTERNAL, "filesystem layer verification failed for digest %s", j->digest);
    return 0;
}

/* The registry let us down, in this layer or in another one that ended the pull: nothing that our side or the client is to blame for. */
static bool broken_off(struct pull *p, int r) {
    if (r != -ERR_CANCELLED)
        __atomic_store_n(&p->link_failed, true, __ATOMIC_RELAXED);
    return __atomic_load_n(&p->link_failed, __ATOMIC_RELAXED) && !call_gone(p->call);
}

/* Download and unpack, going on with what the partial holds. *ret_keep: it broke off for a reason that is not in the bytes. */
static int fetch_layer(struct job *j, bool *ret_keep, struct err *e) {
    struct pull *p = j->pull;
    int r;

    j->have = j->told = j->shown = 0;
    if (EVP_DigestInit_ex(j->sha, EVP_sha256(), NULL) != 1)
        return err_oom(e);
    r = unpack_start_file(p->images->layers, partial_fd(j->partial), take_result, j, &j->unpack, e);
    if (r == 0 && partial_have(j->partial) > 0)
        r = take_earlier(j, e);
    if (r == 0 && j->have < j->size) {
        r = registry_blob(p->session, j->digest, j->have, j->size, take_bytes, j, e);
        *ret_keep = r < 0 && !j->stopped && broken_off(p, r);
    }
    if (r == 0)
        r = progress_bar(p->progress, j->id, "Verifying Checksum", 0, 0, e);
    if (r == 0)
        r = check_blob(j, e);
    if (r == 0)
        r = progress_bar(p->progress, j->id, "Download complete", 0, 0, e);
    if (r < 0)
        return r;
    r = unpack_finish(j->unpack, e);
    if (r < 0)
        return err_wrap(e, "failed to register layer");
    if (!streq(j->got_diff, j->diff_id))
        return err_set(e, ERR_INTERNAL, "layers from manifest don't match image configuration");
    return 0;
}

static int run_job(struct job *j, struct err *e) {
    struct pull *p = j->pull;
    bool keep = false, resumed;
    int r;

    j->sha = EVP_MD_CTX_new();
    r = j->sha ? partial_open(p->images->content, j->digest, j->size, &j->partial, e) : err_oom(e);
    if (r < 0)
        return r;
    resumed = partial_have(j->partial) > 0;
    r = fetch_layer(j, &keep, e);
    if (r < 0 && r != -ERR_CANCELLED && resumed && !keep && !pull_cancelled(p)) {
        /* Whether the bytes of the earlier attempt were to blame shows when all are fetched again. */
        err_done(e);
        j->unpack = unpack_free(j->unpack);
        j->stopped = false;
        r = partial_reset(j->partial, e);
        if (r == 0)
            r = fetch_layer(j, &keep, e);
    }
    j->partial = partial_close(j->partial, keep);
    return r;
}

static void *work(void *arg) {
    struct pull *p = arg;

    for (;;) {
        struct job *j = NULL;

        pthread_mutex_lock(&p->lock);
        if (p->next < p->n_jobs && !p->abort)
            j = &p->jobs[p->next++];
        pthread_mutex_unlock(&p->lock);
        if (!j)
            return NULL;
        j->result = run_job(j, &j->error);
        pthread_mutex_lock(&p->lock);
        j->finished = true;
        if (j->result < 0)
            p->next = p->n_jobs; /* layers below this one are still registered, those above are not begun */
        pthread_cond_broadcast(&p->done);
        pthread_mutex_unlock(&p->lock);
    }
}

static int start_workers(struct pull *p, pthread_t threads[WORKERS_MAX], size_t *ret_n, struct err *e) {
    size_t want = MIN(p->n_jobs, (size_t)WORKERS_MAX);
    int64_t configured = p->images->engine->config->max_concurrent_downloads;
    pthread_attr_t attr;

    if (configured > 0 && (int64_t)want > configured)
        want = (size_t)configured;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, KIB(512));
    for (*ret_n = 0; *ret_n < want; (*ret_n)++)
        if (pthread_create(&threads[*ret_n], &attr, work, p) != 0)
            break;
    pthread_attr_destroy(&attr);
    return *ret_n == 0 && want > 0 ? err_set(e, ERR_INTERNAL, "starting a download thread failed") : 0;
}

/* The error that stopped the pull: one that is not just the echo of the stop. */
static int first_error(struct pull *p, struct err *e) {
    struct job *best = NULL;

    for (size_t i = 0; i < p->n_jobs; i++)
        if (p->jobs[i].result < 0 && (!best || best->result == -ERR_CANCELLED))
            best = &p->jobs[i];
    return best ? err_move(e, &best->error) : err_set(e, ERR_CANCELLED, "context canceled");
}

/* Wait for the job and make its layer visible on top of `parent`. */
static int register_job(struct pull *p, struct job *j, struct layer *parent, struct layer **ret, struct err *e) {
    int r;

    pthread_mutex_lock(&p->lock);
    while (!j->finished)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
    if (j->result < 0)
        return -ERR_CANCELLED; /* first_error() tells the reason */
    r = progress_bar(p->progress, j->id, "Extracting", j->size, j->size, e);
    if (r == 0) {
        r = layers_register(p->images->layers, parent, j->unpack, 0, j->diff_id, j->layer_size, j->archive_size, ret, e);
        if (r < 0)
            err_wrap(e, "failed to register layer");
    }
    j->unpack = unpack_free(j->unpack);
    return r < 0 ? r : progress_bar(p->progress, j->id, "Pull complete", 0, 0, e);
}

static void job_done(struct job *j) {
    unpack_free(j->unpack);
    partial_close(j->partial, false);
    EVP_MD_CTX_free(j->sha);
    err_done(&j->error);
}

/* Layers from the lowest up: those that are there already, then the rest by the workers. */
static int fetch_layers(struct pull *p, struct layer **ret_top, struct err *e) {
    pthread_t threads[WORKERS_MAX];
    struct layer *top = NULL, *next;
    size_t n_threads = 0, k = 0;
    int r = 0;

    p->jobs = calloc(p->n_layers + 1, sizeof *p->jobs);
    if (!p->jobs)
        return err_oom(e);
    for (; r == 0 && k < p->n_layers; k++) {
        char chain[72], id[ID_SHORT_LEN + 1];

        layer_chain_id_of(top ? layer_chain_id(top) : NULL, p->image->diff_ids.v[k], chain);
        next = layers_get(p->images->layers, chain);
        if (!next)
            break;
        layer_unref(top);
        top = next;
        short_id(p->layers[k].digest, id);
        r = progress_bar(p->progress, id, "Already exists", 0, 0, e);
    }
    for (size_t i = k; r == 0 && i < p->n_layers; i++) {
        struct job *j = &p->jobs[p->n_jobs++];

        *j = (struct job){.pull = p, .digest = p->layers[i].digest, .diff_id = p->image->diff_ids.v[i], .size = p->layers[i].size, .error = ERR_INIT};
        short_id(j->digest, j->id);
        r = progress_bar(p->progress, j->id, "Pulling fs layer", 0, 0, e);
    }
    for (size_t i = WORKERS_MAX; r == 0 && i < p->n_jobs; i++)
        r = progress_bar(p->progress, p->jobs[i].id, "Waiting", 0, 0, e);
    if (r == 0)
        r = start_workers(p, threads, &n_threads, e);
    for (size_t i = 0; r == 0 && i < p->n_jobs; i++) {
        r = register_job(p, &p->jobs[i], top, &next, e);
        if (r == 0) {
            layer_unref(top);
            top = next;
        }
    }
    if (r < 0) {
        pthread_mutex_lock(&p->lock);
        __atomic_store_n(&p->abort, true, __ATOMIC_RELAXED);
        pthread_mutex_unlock(&p->lock);
    }
    for (size_t i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    if (r == -ERR_CANCELLED && n_threads > 0)
        r = first_error(p, e);
    for (size_t i = 0; i < p->n_jobs; i++)
        job_done(&p->jobs[i]);
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

/* One tag or digest. */
static int pull_one(struct pull *p, bool *ret_changed, struct err *e) {
    json_t *manifest = NULL;
    struct layer *top = NULL;
    struct image *known = NULL;
    int r = resolve(p, &manifest, e);

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
    free(p->jobs);
    p->layers = NULL;
    p->jobs = NULL;
    p->n_layers = p->n_jobs = p->next = 0;
}

/* ---- the request -------------------------------------------------------------------------------------------------------------------------------- */

int platform_parse(const char *text, struct platform *ret, struct err *e) {
    _cleanup_strv_ struct strv parts = STRV_INIT;

    *ret = (struct platform){"linux", "amd64", "", !str_empty(text)};
    if (!ret->given)
        return 0;
    if (strv_split(&parts, text, '/') < 0)
        return err_oom(e);
    if (parts.n > 3)
        return err_set(e, ERR_INVALID, "\"%s\": cannot parse platform specifier: invalid argument", text);
    for (size_t i = 0; i < parts.n; i++) {
        const char *s = parts.v[i];

        if (!*s || strlen(s) >= sizeof ret->os || strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != strlen(s))
            return err_set(
                e, ERR_INVALID,
                "\"%s\" is an invalid component of \"%s\": platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument", s, text);
    }
    if (parts.n == 1 && !streq(parts.v[0], "linux") && !streq(parts.v[0], "windows"))
        snprintf(ret->arch, sizeof ret->arch, "%s", parts.v[0]);
    else
        snprintf(ret->os, sizeof ret->os, "%s", parts.v[0]);
    if (parts.n > 1)
        snprintf(ret->arch, sizeof ret->arch, "%s", parts.v[1]);
    if (parts.n > 2)
        snprintf(ret->variant, sizeof ret->variant, "%s", parts.v[2]);
    if (streq(ret->arch, "x86_64") || streq(ret->arch, "x86-64"))
        snprintf(ret->arch, sizeof ret->arch, "amd64");
    if (streq(ret->arch, "aarch64"))
        snprintf(ret->arch, sizeof ret->arch, "arm64");
    return 0;
}

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
        bool digest = strchr(tag, ':') != NULL;

        if (digest ? !digest_is_valid(tag) : !tag_is_valid(tag))
            return err_set(e, ERR_INVALID, digest ? "invalid checksum digest format" : "invalid tag format");
        if (str_set(digest ? &r.digest : &r.tag, tag) < 0)
            return err_oom(e);
    }
    *ret = r;
    r = REFERENCE_INIT;
    return 0;
}

static int check_platform(struct pull *p, const struct platform *want, struct err *e) {
    _cleanup_free_ char *name = NULL;
    const char *os = p->image ? image_os(p->image) : "", *arch = p->image ? image_architecture(p->image) : "";

    if (!want->given || !p->image || (streq(os, want->os) && streq(arch, want->arch)))
        return 0;
    name = reference_canonical(&p->ref);
    return err_set(e, ERR_NOT_FOUND, "image with reference %s was found but does not match the specified platform: wanted %s/%s%s%s, actual: %s/%s",
                   name ? name : "", want->os, want->arch, *want->variant ? "/" : "", want->variant, os, arch);
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
    struct platform want;
    _cleanup_free_ char *shown = reference_familiar(ref), *name = reference_familiar_name(ref);
    bool changed = false, all = !ref->tag && !ref->digest;
    int r = shown && name ? platform_parse(platform, &want, e) : err_oom(e);

    if (r < 0)
        return r;
    p.want_os = want.os;
    p.want_arch = want.arch;
    p.want_variant = want.variant;
    pthread_mutex_init(&p.lock, NULL);
    pthread_cond_init(&p.done, NULL);
    /* What cannot be read as credentials counts as none, as in the reference. */
    if (registry_auth_parse(call_header(c, "X-Registry-Auth"), &auth, NULL) < 0)
        auth = (struct registry_auth){0};
    r = registry_session_new(s->registry, ref, &auth, pull_cancelled, &p, &p.session, e);
    if (r == 0)
        r = all ? pull_tags(&p, ref, &changed, e) : pull_one(&p, &changed, e);
    if (r == 0)
        r = progress_message(progress, NULL, e, "Status: %s for %s", changed ? "Downloaded newer image" : "Image is up to date", shown);
    if (r == 0)
        images_event(s, "pull", shown, p.image ? p.image->id : "", name);
    if (r == 0)
        r = check_platform(&p, &want, e);
    pull_reset(&p);
    registry_session_free(p.session);
    registry_auth_done(&auth);
    pthread_mutex_destroy(&p.lock);
    pthread_cond_destroy(&p.done);
    return r;
}

int images_pull(struct images *s, struct call *c, const struct q_image_create *q, struct progress *progress, struct err *e) {
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;
    int r = pull_reference(q->from_image, q->tag, &ref, e);

    return r < 0 ? r : images_pull_reference(s, c, &ref, q->platform, progress, e);
}
