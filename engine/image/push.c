// SPDX-License-Identifier: Apache-2.0
/*
 * docker push: layers (push-layers.c), configuration, manifest (schema 2, as the reference sends it).
 * Sections: the manifest; one tag; the request.
 */
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "content/digest.h"
#include "image/push-internal.h"

#define TYPE_CONFIG "application/vnd.docker.container.image.v1+json"
#define TYPE_LAYER "application/vnd.docker.image.rootfs.diff.tar.gzip"

/* ---- the manifest ----------------------------------------------------------------------------------------------------------------------------- */

struct bytes {
    const char *all;
    size_t n, at;
};

static ssize_t bytes_read(void *arg, void *p, size_t n, struct err *e) {
    struct bytes *b = arg;
    size_t k = MIN(n, b->n - b->at);

    memcpy(p, b->all + b->at, k);
    b->at += k;
    return (ssize_t)k;
}

static int bytes_rewind(void *arg, struct err *e) {
    ((struct bytes *)arg)->at = 0;
    return 0;
}

static int push_config(struct push *p, struct err *e) {
    struct bytes b = {.all = p->image->document, .n = p->image->document_n};
    int64_t size;
    char digest[72];
    bool retry;
    int r = registry_has_blob(p->session, p->image->id, &size, e);

    if (r != 0)
        return r < 0 ? r : 0;
    r = registry_send_blob(p->session, &(struct registry_source){bytes_read, bytes_rewind, &b, p->image->id, (int64_t)b.n}, digest, &size, &retry, e);
    if (r == 0 && !streq(digest, p->image->id))
        r = err_set(e, ERR_INTERNAL, "image %s is damaged", p->image->id);
    return r;
}

/* Byte for byte what the reference writes of the same parts. */
static void write_manifest(const struct push *p, struct buf *b) {
    buf_addf(b,
             "{\n   \"schemaVersion\": 2,\n   \"mediaType\": \"%s\",\n   \"config\": {\n      \"mediaType\": \"%s\",\n      \"size\": %zu,\n"
             "      \"digest\": \"%s\"\n   },\n   \"layers\": [",
             REGISTRY_TYPE_DOCKER_MANIFEST, TYPE_CONFIG, p->image->document_n, p->image->id);
    for (size_t i = p->n_layers; i-- > 0;)
        buf_addf(b, "%s\n      {\n         \"mediaType\": \"%s\",\n         \"size\": %lld,\n         \"digest\": \"%s\"\n      }",
                 i + 1 < p->n_layers ? "," : "", TYPE_LAYER, (long long)p->layers[i].size, p->layers[i].digest);
    buf_addf(b, "%s]\n}", p->n_layers ? "\n   " : "");
}

static int name_digest(struct push *p, char *digest, struct err *e) {
    struct reference by_digest = {p->ref.domain, p->ref.path, NULL, digest};
    _cleanup_free_ char *old = images_lookup(p->images, &by_digest);

    return old && streq(old, p->image->id) ? 0 : images_set_name(p->images, &by_digest, p->image->id, NULL, e);
}

static int push_manifest(struct push *p, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_MANIFEST_BYTES);
    char digest[DIGEST_SIZE];
    int r;

    write_manifest(p, &b);
    r = buf_check(&b, e);
    if (r == 0)
        r = registry_put_manifest(p->session, p->ref.tag, REGISTRY_TYPE_DOCKER_MANIFEST, b.data, b.len, e);
    if (r < 0)
        return r;
    digest_of(b.data, b.len, digest);
    r = progress_message(p->progress, NULL, e, "%s: digest: %s size: %zu", p->ref.tag, digest, b.len);
    if (r == 0)
        r = name_digest(p, digest, e);
    return r < 0 ? r : progress_pushed(p->progress, p->ref.tag, digest, b.len, e);
}

/* ---- one tag ------------------------------------------------------------------------------------------------------------------------------------ */

static void reset(struct push *p) {
    for (size_t i = 0; i < p->n_layers; i++)
        err_done(&p->layers[i].error);
    free(p->layers);
    p->layers = NULL;
    p->n_layers = 0;
    p->image = image_unref(p->image);
}

static int push_tag(struct push *p, char *tag, struct err *e) {
    _cleanup_free_ char *id = NULL;
    int r;

    p->ref.tag = tag;
    id = images_lookup(p->images, &p->ref);
    p->image = id ? images_get(p->images, id) : NULL;
    if (!p->image) {
        _cleanup_free_ char *shown = reference_familiar(&p->ref);

        return shown ? err_set(e, ERR_NOT_FOUND, "tag does not exist: %s", shown) : err_oom(e);
    }
    r = push_layers(p, e);
    if (r == 0)
        r = push_config(p, e);
    if (r == 0)
        r = push_manifest(p, e);
    reset(p);
    return r;
}

static int push_all(struct push *p, const struct strv *names, struct err *e) {
    bool any = false;

    for (size_t i = 0; i < names->n; i++) {
        char *tag = names->v[i] + strlen(p->repository);
        int r;

        if (*tag != ':')
            continue;
        any = true;
        r = push_tag(p, tag + 1, e);
        if (r < 0)
            return r;
    }
    if (!any) {
        _cleanup_free_ char *name = reference_familiar_name(&p->ref);

        return name ? err_set(e, ERR_INVALID, "no tags to push for %s", name) : err_oom(e);
    }
    return 0;
}

/* ---- the request -------------------------------------------------------------------------------------------------------------------------------- */

static int push_names(struct push *p, const struct reference *ref, const struct registry_auth *auth, struct err *e) {
    _cleanup_free_ char *name = reference_familiar_name(ref);
    _cleanup_strv_ struct strv names = STRV_INIT;
    int r = images_names_in(p->images, p->repository, &names, e);

    if (r == 0)
        r = progress_message(p->progress, NULL, e, "The push refers to repository [%s]", p->repository);
    if (r < 0 || !name)
        return r < 0 ? r : err_oom(e);
    if (names.n == 0)
        return err_set(e, ERR_NOT_FOUND, "An image does not exist locally with the tag: %s", name);
    r = registry_session_new(p->images->registry, ref, auth, push_cancelled, p, &p->session, e);
    if (r < 0)
        return r;
    registry_session_purpose(p->session, REGISTRY_PUSH);
    if (ref->digest)
        return err_set(e, ERR_INVALID, "cannot push a digest reference");
    return ref->tag ? push_tag(p, ref->tag, e) : push_all(p, &names, e);
}

int images_push(struct images *s, struct call *c, const struct reference *ref, const struct registry_auth *auth, struct progress *progress,
                struct err *e) {
    struct push p = {.images = s, .call = c, .progress = progress, .ref = *ref};
    _cleanup_free_ char *shown = reference_familiar(ref), *name = reference_familiar_name(ref);
    int r;

    p.user = auth && auth->username ? auth->username : "";
    p.repository = reference_name(ref);
    if (!shown || !name || !p.repository) {
        free(p.repository);
        return err_oom(e);
    }
    pthread_mutex_init(&p.lock, NULL);
    r = push_names(&p, ref, auth, e);
    if (r == 0) {
        _cleanup_free_ char *id = images_lookup(s, ref);

        images_event(s, "push", shown, id ? id : "", name);
    }
    reset(&p);
    registry_session_free(p.session);
    map_done_with(&p.there, free);
    pthread_mutex_destroy(&p.lock);
    free(p.repository);
    return r;
}
