// SPDX-License-Identifier: Apache-2.0
/* docker image prune: images that nobody names (or, with dangling=false, that no container uses). */
#include "api-handlers.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "content/content.h"
#include "image/image-internal.h"
#include "image/view.h"
#include "system/events.h"
#include "wire/call.h"

static bool is_used(struct images *s, const char *id) {
    char container[65];

    return s->in_use && (s->in_use(s->in_use_arg, id, true, container) || s->in_use(s->in_use_arg, id, false, container));
}

/* What stands in the way of one image (a child, a container that has just come) is no error of the whole. */
static void prune_one(struct images *s, const char *id, const struct strv *names, struct api_image_delete_response_item_list *out) {
    if (names->n == 0) {
        ignore_result(images_remove(s, id, false, true, out, NULL) < 0);
        return;
    }
    for (size_t k = 0; k < names->n; k++) {
        _cleanup_reference_ struct reference ref = REFERENCE_INIT;
        _cleanup_free_ char *shown = reference_parse(names->v[k], &ref, NULL) == 0 ? reference_familiar(&ref) : NULL;

        /* Removing the last tag of a repository takes its digests along: then they are not there any more. */
        if (shown)
            ignore_result(images_remove(s, shown, false, true, out, NULL) < 0);
    }
}

/* A digest alone does not keep an image: it is what a tag that moved on leaves behind. */
static bool any_tag(const struct strv *names) {
    for (size_t i = 0; i < names->n; i++)
        if (!strchr(names->v[i], '@'))
            return true;
    return false;
}

static int prune(struct images *s, const struct filters *f, struct api_image_prune_response *ret, struct err *e) {
    static const char *const accepted[] = {"dangling", "label", "label!", "until", NULL};
    struct image_list list = {0};
    int64_t before = layers_total_size(s->layers), until = CLOCK_ZERO;
    bool dangling = true;
    int r = filters_validate(f, accepted, e);

    if (r == 0)
        r = filters_bool(f, "dangling", true, &dangling, e);
    if (r == 0 && (r = filters_until(f, &until, e)) < 0) {
        /* The same mistake is the client's with other prunes and the engine's here. */
        if (e)
            e->kind = ERR_INTERNAL;
        r = -(int)ERR_INTERNAL;
    }
    if (r == 0)
        r = images_all(s, &list, e);
    for (size_t k = 0; r == 0 && k < list.n; k++) {
        _cleanup_image_ struct image *i = TAKE_PTR(list.v[k]);
        _cleanup_strv_ struct strv names = STRV_INIT;
        _cleanup_free_ char *id = NULL;

        r = images_names_of(s, i->id, &names, e);
        if (r < 0 || (until != CLOCK_ZERO && i->created_ns >= until) || !image_labels_match(f, i) || is_used(s, i->id))
            continue;
        if (dangling ? any_tag(&names) || images_has_children(s, i->id) : images_has_children(s, i->id) && names.n == 0)
            continue;
        id = strdup(i->id);
        i = image_unref(i); /* so that the record holds the last count and the layers can go */
        if (id)
            prune_one(s, id, &names, &ret->images_deleted);
    }
    image_list_done(&list);
    ret->space_reclaimed = MAX(before - layers_total_size(s->layers), INT64_C(0));
    ret->has_space_reclaimed = true;
    return r;
}

int op_image_prune(struct call *c, struct err *e) {
    struct images *s = call_engine(c)->images;
    struct q_image_prune q = {0};
    struct api_image_prune_response out = {0};
    _cleanup_filters_ struct filters f = FILTERS_INIT;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_REPLY_BYTES);
    _cleanup_strv_ struct strv attrs = STRV_INIT;
    int r = q_image_prune_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0)
        r = filters_parse(&f, q.filters, e);
    if (r == 0)
        r = prune(s, &f, &out, e);
    if (r == 0) {
        content_collect(s->content, 0, 0); /* downloads that nobody goes on with */
        layers_trim_blobs(s->layers, 0);   /* what only makes pushes quicker */
    }
    if (r == 0)
        r = api_image_prune_response_write(&out, call_api_version(c), &b, e);
    if (r == 0 && s->engine->events && strv_addf(&attrs, "reclaimed=%lld", (long long)out.space_reclaimed) == 0)
        events_publish(s->engine->events, "image", "prune", "", &attrs);
    api_image_prune_response_done(&out);
    q_image_prune_done(&q);
    return r < 0 ? r : call_reply(c, 200, &b, e);
}
