// SPDX-License-Identifier: Apache-2.0
/*
 * docker pull: manifest, configuration, then every missing layer in one pass each (download, hash, inflate, hash, unpack), several at a time. A layer becomes
 * visible once its blob digest and its diff ID are right and the layers below it are there; the image last of all.
 * Sections: names; the request. What there is to fetch: pull-manifest.c; fetching it: pull-layers.c.
 */
#include "image/pull.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "image/pull-internal.h"
#include "image/verify.h"
#include "wire/call.h"

static bool pull_cancelled(void *arg) {
    struct pull *p = arg;

    return call_gone(p->call);
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
    int r = pull_resolve(p, &manifest, digest, e);

    if (r == 0)
        r = verify_pull(p->images, p->session, &p->ref, p->manifest_digest, digest, &verified, e);
    if (r == 0)
        r = pull_config(p, manifest, e);
    if (r == 0 && !p->image->owner) {
        r = pull_plan(p, manifest, e);
        if (r == 0)
            r = pull_layers(p, &top, e);
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
