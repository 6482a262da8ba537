// SPDX-License-Identifier: Apache-2.0
/* docker rmi: names first, then the image, then parents nobody names; with the reference's rules on what stands in the way. */
#include "base/cleanup.h"
#include "base/id.h"
#include "base/str.h"
#include "image/image-internal.h"

enum obstacle { CHILDREN = 1, RUNNING = 2, NAMES = 4, STOPPED = 8, HARD = CHILDREN | RUNNING, SOFT = NAMES | STOPPED };

struct removal {
    struct images *images;
    struct api_image_delete_response_item_list *out;
    bool force, prune;
};

static int note(struct removal *r, const char *untagged, const char *deleted, struct err *e) {
    struct api_image_delete_response_item *item = api_image_delete_response_item_list_add(r->out);

    if (!item || str_set(&item->untagged, untagged) < 0 || str_set(&item->deleted, deleted) < 0)
        return err_oom(e);
    return 0;
}

static bool used_by(struct images *s, const char *id, bool running, char ret[65]) {
    return s->in_use && s->in_use(s->in_use_arg, id, running, ret);
}

static int conflict(const char *id, bool hard, struct err *e, const char *fmt, const char *arg) {
    _cleanup_free_ char *why = str_printf("%s%s", fmt, arg);

    return err_set(e, ERR_CONFLICT, "conflict: unable to delete %.12s (%s) - %s", id + strlen("sha256:"),
                   hard ? "cannot be forced" : "must be forced", why ? why : fmt);
}

/* What keeps the image from being removed, looking only for the kinds in mask. */
static int check(struct images *s, const char *id, unsigned mask, struct err *e) {
    char container[65] = "";
    _cleanup_strv_ struct strv names = STRV_INIT;
    int r;

    if ((mask & CHILDREN) && images_has_children(s, id))
        return conflict(id, true, e, "image has dependent child images", "");
    if ((mask & RUNNING) && used_by(s, id, true, container)) {
        container[ID_SHORT_LEN] = 0;
        return conflict(id, true, e, "image is being used by running container ", container);
    }
    r = images_names_of(s, id, &names, e);
    if (r < 0)
        return r;
    if ((mask & NAMES) && names.n > 0)
        return conflict(id, false, e, "image is referenced in multiple repositories", "");
    if ((mask & STOPPED) && used_by(s, id, false, container)) {
        container[ID_SHORT_LEN] = 0;
        return conflict(id, false, e, "image is being used by stopped container ", container);
    }
    return 0;
}

static int untag(struct removal *r, const char *canonical, const char *id, struct err *e) {
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;
    _cleanup_free_ char *shown = NULL;
    int k = reference_parse(canonical, &ref, e);

    if (k < 0)
        return k;
    shown = reference_familiar(&ref);
    if (!shown)
        return err_oom(e);
    k = images_drop_name(r->images, &ref, e);
    if (k == 0)
        k = note(r, shown, NULL, e);
    if (k == 0)
        images_event(r->images, "untag", id, id, id);
    return k;
}

/* All names are in one repository and at most one of them is a tag: then an id stands for that name. */
static bool one_name(const struct strv *names) {
    _cleanup_free_ char *repository = NULL;
    int tags = 0;

    for (size_t i = 0; i < names->n; i++) {
        _cleanup_reference_ struct reference ref = REFERENCE_INIT;
        _cleanup_free_ char *name = NULL;

        if (reference_parse(names->v[i], &ref, NULL) < 0)
            return false;
        name = reference_name(&ref);
        if (!name || (repository && !streq(repository, name)))
            return false;
        if (!repository)
            repository = TAKE_PTR(name);
        tags += !ref.digest;
        if (tags > 1)
            return false;
    }
    return true;
}

/* Remove the image itself and, when asked to, the unnamed parents it leaves behind. `quiet`: obstacles end the work without an error: the name that was asked for has gone. */
static int delete_image(struct removal *r, const char *id_given, bool quiet, struct err *e) {
    _cleanup_free_ char *id = strdup(id_given);

    while (id) {
        _cleanup_strv_ struct strv layers = STRV_INIT, names = STRV_INIT;
        _cleanup_err_ struct err why = ERR_INIT;
        _cleanup_free_ char *parent = images_parent(r->images, id);
        int k = check(r->images, id, HARD | (r->force ? 0 : SOFT), &why);

        if (k < 0)
            return quiet && k == -ERR_CONFLICT ? 0 : err_move(e, &why);
        k = images_names_of(r->images, id, &names, e);
        for (size_t i = 0; k == 0 && i < names.n; i++)
            k = untag(r, names.v[i], id, e);
        if (k == 0)
            k = images_drop(r->images, id, &layers, e);
        if (k == 0)
            images_event(r->images, "delete", id, id, id); /* without its labels, which are gone with it, as in the reference */
        if (k == 0)
            k = note(r, NULL, id, e);
        for (size_t i = 0; k == 0 && i < layers.n; i++)
            k = note(r, NULL, layers.v[i], e);
        if (k < 0)
            return k;
        free(id);
        id = r->prune ? TAKE_PTR(parent) : NULL;
        quiet = true;
        r->force = false;
    }
    return 0;
}

static bool is_id_prefix(const char *id, const char *text) {
    const char *hex = str_after(text, "sha256:");

    return *text && str_has_prefix(id + strlen("sha256:"), hex ? hex : text);
}

/* A name was given: it goes first. *ret_done: nothing more is to be done. */
static int remove_name(struct removal *r, const char *text, const char *id, bool *ret_done, struct err *e) {
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;
    _cleanup_strv_ struct strv names = STRV_INIT;
    _cleanup_free_ char *canonical = NULL, *repository = NULL;
    char container[65] = "";
    bool tags_left = false;
    int k = images_names_of(r->images, id, &names, e);

    if (k < 0)
        return k;
    if (!r->force && one_name(&names) && (used_by(r->images, id, true, container) || used_by(r->images, id, false, container))) {
        container[ID_SHORT_LEN] = 0;
        return err_set(e, ERR_CONFLICT,
                       "conflict: unable to remove repository reference \"%s\" (must force) - container %s is using its referenced image %.12s", text,
                       container, id + strlen("sha256:"));
    }
    k = reference_parse(text, &ref, e);
    if (k == 0)
        k = reference_default_tag(&ref, e);
    if (k < 0)
        return k;
    if (ref.digest) {
        free(ref.tag);
        ref.tag = NULL;
    }
    canonical = reference_canonical(&ref);
    repository = reference_name(&ref);
    if (!canonical || !repository)
        return err_oom(e);
    k = untag(r, canonical, id, e);
    if (k < 0)
        return k;
    /* When no tag of this repository is left for the image, its digests in the repository go with it. */
    for (size_t i = 0; i < names.n; i++) {
        const char *rest = str_after(names.v[i], repository);

        if (rest && *rest == ':' && !streq(names.v[i], canonical))
            tags_left = true;
    }
    for (size_t i = 0; k == 0 && !tags_left && !ref.digest && i < names.n; i++) {
        const char *rest = str_after(names.v[i], repository);

        if (rest && *rest == '@')
            k = untag(r, names.v[i], id, e);
    }
    strv_done(&names);
    names = STRV_INIT;
    if (k == 0)
        k = images_names_of(r->images, id, &names, e);
    *ret_done = names.n > 0;
    return k;
}

int images_remove(struct images *s, const char *text, bool force, bool prune, struct api_image_delete_response_item_list *ret, struct err *e) {
    struct removal r = {s, ret, force, prune};
    _cleanup_image_ struct image *image = NULL;
    _cleanup_free_ char *id = NULL;
    _cleanup_strv_ struct strv names = STRV_INIT;
    bool done = false, by_name;
    int k = images_resolve(s, text, &image, e);

    if (k < 0)
        return k;
    id = strdup(image->id);
    image = image_unref(image); /* so that the record holds the last count and the layers can go */
    if (!id)
        return err_oom(e);
    by_name = !is_id_prefix(id, text);
    if (by_name) {
        k = remove_name(&r, text, id, &done, e);
    } else {
        k = images_names_of(s, id, &names, e);
        if (k == 0 && one_name(&names)) {
            k = check(s, id, HARD | (force ? 0 : SOFT & ~NAMES), e);
            for (size_t i = 0; k == 0 && i < names.n; i++)
                k = untag(&r, names.v[i], id, e);
        }
    }
    if (k < 0 || done)
        return k;
    return delete_image(&r, id, by_name, e);
}
