// SPDX-License-Identifier: Apache-2.0
/* What a pull has to fetch. Sections: manifests; configuration and plan. */
#include <limits.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "image/pull-internal.h"
#include "wire/codec.h"

/* ---- manifests ---------------------------------------------------------------------------------------------------------------------------- */

static json_t *parse_manifest(const struct registry_manifest *m, struct err *e) {
    json_error_t je;
    json_t *o;

    if (codec_count(buf_str(&m->body), m->body.len, e) < 0) {
        err_wrap(e, "manifest");
        return NULL;
    }
    o = json_loadb(buf_str(&m->body), m->body.len, JSON_REJECT_DUPLICATES, &je);
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

json_t *index_choose(json_t *index, const struct platform *want) {
    json_t *o, *best = NULL;
    int best_rank = INT_MAX;
    size_t i;

    json_array_foreach(json_object_get(index, "manifests"), i, o) {
        const char *os = platform_of(o, "os"), *arch = platform_of(o, "architecture");
        int rank = !*os && !*arch ? INT_MAX - 1 : platform_rank(want, os, arch, platform_of(o, "variant"));

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

int pull_resolve(struct pull *p, json_t **ret, char ret_digest[72], struct err *e) {
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
        entry = index_choose(o, &p->want);
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

int pull_config(struct pull *p, json_t *manifest, struct err *e) {
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

int pull_plan(struct pull *p, json_t *manifest, struct err *e) {
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
        snprintf(p->layers[i].id, sizeof p->layers[i].id, "%.12s", digest + strlen("sha256:"));
        type = json_string_value(json_object_get(o, "mediaType"));
        p->layers[i].gzip = type && str_has_suffix(type, "gzip");
        if (!p->layers[i].digest)
            return err_oom(e);
        p->n_layers++;
    }
    return 0;
}
