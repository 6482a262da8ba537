// SPDX-License-Identifier: Apache-2.0
/*
 * OCI image layouts in an archive (image-spec, image-layout.md), as skopeo, buildah, umoci and BuildKit write them: index.json lists manifests, and indexes of
 * the platforms of one image, each document under its digest. Names are in annotations.
 */
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "content/digest.h"
#include "image/load-internal.h"
#include "image/platform.h"

#define TYPE_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define TYPE_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"

static char *blob_path(const char *digest) {
    return digest_is_valid(digest) ? str_printf("blobs/sha256/%s", digest + strlen("sha256:")) : NULL;
}

/* A document named by its digest, checked against it. */
static struct member *checked_blob(struct loading *l, json_t *descriptor, char **ret_path, struct err *e) {
    const char *digest = json_string_value(json_object_get(descriptor, "digest"));
    _cleanup_free_ char *path = digest ? blob_path(digest) : NULL;
    struct member *m = path ? load_find_member(l, path) : NULL;
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

static int load_manifest(struct loading *l, json_t *manifest, const struct strv *names, struct err *e) {
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
        struct member *m = path ? load_find_member(l, path) : NULL;

        if (!path)
            return err_set(e, ERR_INVALID, "image archive: bad list of layers");
        if (layers.n >= LIMIT_LAYERS)
            return err_set(e, ERR_INVALID, "max depth exceeded");
        if (m && m->type == UNPACK_LAYER && !streq(m->digest, digest))
            return err_set(e, ERR_INVALID, "image archive: blob %s has other contents", digest);
        if (strv_add(&layers, path) < 0)
            return err_oom(e);
    }
    return load_image(l, config, config_path, &layers, names, e);
}

/* The whole name that BuildKit and containerd write, or what others say if it is more than a tag. */
static int name_of(json_t *descriptor, struct strv *names, struct err *e) {
    json_t *notes = json_object_get(descriptor, "annotations");
    const char *name = json_string_value(json_object_get(notes, "io.containerd.image.name")),
               *short_name = json_string_value(json_object_get(notes, "org.opencontainers.image.ref.name"));
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;

    if (!name && short_name && strchr(short_name, ':') && reference_parse(short_name, &ref, NULL) == 0 && ref.tag && !ref.digest)
        name = short_name;
    return name && strv_add(names, name) < 0 ? err_oom(e) : 0;
}

static bool is_index(json_t *descriptor) {
    const char *type = json_string_value(json_object_get(descriptor, "mediaType"));

    return streq_ptr(type, TYPE_OCI_INDEX) || streq_ptr(type, TYPE_DOCKER_LIST);
}

/* What a descriptor names: an image, or an index of which the entry for this machine is the image. */
static int load_descriptor(struct loading *l, json_t *descriptor, const struct strv *names, int depth, struct err *e) {
    struct member *m = checked_blob(l, descriptor, NULL, e);
    json_t *o = m ? load_document(l, m, "manifest", e) : NULL, *entry;
    struct platform here;
    int r = o ? 0 : -ERR_INVALID;

    if (r == 0 && !is_index(descriptor)) {
        r = load_manifest(l, o, names, e);
    } else if (r == 0) {
        if (depth == LIMIT_INDEX_DEPTH || json_array_size(json_object_get(o, "manifests")) > LIMIT_INDEX_ENTRIES)
            r = err_set(e, ERR_TOO_LARGE, "image archive: the index is too large");
        if (r == 0)
            r = platform_parse(NULL, &here, e);
        if (r == 0) {
            entry = index_choose(o, &here);
            r = entry ? load_descriptor(l, entry, names, depth + 1, e)
                      : err_set(e, ERR_NOT_FOUND, "no matching manifest for %s/%s in the manifest list entries", here.os, here.arch);
        }
    }
    json_decref(o);
    return r;
}

int load_layout(struct loading *l, struct err *e) {
    json_t *index = load_document(l, load_find_member(l, "index.json"), "index.json", e), *list = json_object_get(index, "manifests"), *o;
    struct platform here;
    bool any = false;
    size_t i;
    int r = index ? platform_parse(NULL, &here, e) : -ERR_INVALID;

    if (r == 0 && (!json_is_array(list) || json_array_size(list) > LIMIT_INDEX_ENTRIES))
        r = err_set(e, ERR_INVALID, "image archive: index.json has no list of manifests, or one that is too long");
    if (r == 0)
        json_array_foreach(list, i, o) {
            _cleanup_strv_ struct strv names = STRV_INIT;
            json_t *alone = json_pack("{s:[O]}", "manifests", o);
            bool fits = json_array_size(list) == 1 || index_choose(alone, &here); /* the only one is wanted, whomever it is for */

            json_decref(alone);
            r = fits ? name_of(o, &names, e) : 0;
            if (r == 0 && fits)
                r = load_descriptor(l, o, &names, 0, e);
            any |= fits;
            if (r < 0)
                break;
        }
    if (r == 0 && !any)
        r = json_array_size(list) ? err_set(e, ERR_NOT_FOUND, "image archive: index.json has no image for %s/%s", here.os, here.arch)
                                  : err_set(e, ERR_INVALID, "image archive: index.json has no image");
    json_decref(index);
    return r;
}
