// SPDX-License-Identifier: Apache-2.0
/* The HTTP face of images. */
#include "api-handlers.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "image/image-internal.h"
#include "image/view.h"
#include "wire/call.h"

#define REPLY_MAX LIMIT_REPLY_BYTES

static struct images *images_of(struct call *c) {
    return call_engine(c)->images;
}

int op_image_list(struct call *c, struct err *e) {
    struct q_image_list q = {0};
    struct api_image_summary_list list = {0};
    _cleanup_filters_ struct filters f = FILTERS_INIT;
    _cleanup_buf_ struct buf b = BUF_INIT(REPLY_MAX);
    int r = q_image_list_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0)
        r = filters_parse(&f, q.filters, e);
    if (r == 0 && call_api_version(c) < 141 && !str_empty(q.filter) && filters_add(&f, "reference", q.filter) < 0)
        r = err_oom(e);
    if (r == 0)
        r = image_list(images_of(c),
                       (q.all ? IMAGE_LIST_ALL : 0) | (q.shared_size ? IMAGE_LIST_SHARED : 0) | (call_api_version(c) < 143 ? IMAGE_LIST_NONE : 0), &f,
                       &list, e);
    if (r == 0)
        r = api_image_summary_list_write(&list, call_api_version(c), &b, e);
    api_image_summary_list_done(&list);
    q_image_list_done(&q);
    return r < 0 ? r : call_reply(c, 200, &b, e);
}

int op_image_inspect(struct call *c, struct err *e) {
    _cleanup_image_ struct image *image = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(REPLY_MAX);
    struct api_image_inspect out = {0};
    int r = images_resolve(images_of(c), call_path(c, "name"), &image, e);

    if (r == 0)
        r = image_inspect(images_of(c), image, &out, e);
    if (r == 0)
        r = api_image_inspect_write(&out, call_api_version(c), &b, e);
    api_image_inspect_done(&out);
    return r < 0 ? r : call_reply(c, 200, &b, e);
}

int op_image_history(struct call *c, struct err *e) {
    _cleanup_image_ struct image *image = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(REPLY_MAX);
    struct api_image_history_item_list out = {0};
    int r = images_resolve(images_of(c), call_path(c, "name"), &image, e);

    if (r == 0)
        r = image_history(images_of(c), image, &out, e);
    if (r == 0)
        r = api_image_history_item_list_write(&out, call_api_version(c), &b, e);
    api_image_history_item_list_done(&out);
    return r < 0 ? r : call_reply(c, 200, &b, e);
}

/* repo and tag of a request as one reference. ret->path stays NULL when no repo was given. */
int repo_tag_reference(const char *repo, const char *tag, struct reference *ret, struct err *e) {
    _cleanup_reference_ struct reference r = REFERENCE_INIT;
    int k;

    if (str_empty(repo))
        return 0;
    k = reference_parse(repo, &r, e);
    if (k < 0)
        return k;
    if (r.digest)
        return err_set(e, ERR_INVALID, "cannot import digest reference");
    if (!str_empty(tag)) {
        if (!tag_is_valid(tag))
            return err_set(e, ERR_INVALID, "invalid tag format");
        if (str_set(&r.tag, tag) < 0)
            return err_oom(e);
    }
    k = reference_default_tag(&r, e);
    if (k < 0)
        return k;
    *ret = r;
    r = REFERENCE_INIT;
    return 0;
}

int op_image_tag(struct call *c, struct err *e) {
    struct images *s = images_of(c);
    struct q_image_tag q = {0};
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;
    _cleanup_image_ struct image *image = NULL;
    _cleanup_free_ char *shown = NULL;
    int r = q_image_tag_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0)
        r = repo_tag_reference(q.repo, q.tag, &ref, e);
    q_image_tag_done(&q);
    if (r < 0)
        return r;
    if (!ref.path) /* the reference answers so when there is no name to give */
        return call_reply_empty(c, 200);
    r = images_resolve(s, call_path(c, "name"), &image, e);
    if (r == -ERR_INVALID && e) {
        /* What is no name cannot be found: the reference answers 404 here, 400 elsewhere. */
        e->kind = ERR_NOT_FOUND;
        r = -ERR_NOT_FOUND;
    }
    if (r == 0)
        r = images_set_name(s, &ref, image->id, NULL, e);
    if (r == 0)
        r = images_touch_tag(s, image->id, e);
    if (r < 0)
        return r;
    shown = reference_familiar(&ref);
    images_event(s, "tag", image->id, image->id, shown);
    return call_reply_empty(c, 201);
}

int op_image_delete(struct call *c, struct err *e) {
    struct q_image_delete q = {0};
    struct api_image_delete_response_item_list out = {.set = true};
    _cleanup_buf_ struct buf b = BUF_INIT(REPLY_MAX);
    const char *name = call_path(c, "name");
    int r = q_image_delete_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0 && strspn(name, " \t\r\n") == strlen(name))
        r = err_set(e, ERR_INVALID, "image name cannot be blank");
    if (r == 0)
        r = images_remove(images_of(c), name, q.force, !q.noprune, &out, e);
    if (r == 0)
        r = api_image_delete_response_item_list_write(&out, call_api_version(c), &b, e);
    api_image_delete_response_item_list_done(&out);
    q_image_delete_done(&q);
    return r < 0 ? r : call_reply(c, 200, &b, e);
}

int op_image_load(struct call *c, struct err *e) {
    struct q_image_load q = {0};
    struct progress p;
    int r = q_image_load_read(&q, call_query(c), call_api_version(c), e);

    if (r < 0)
        return r;
    progress_init(&p, c);
    p.always = true;
    r = images_load(images_of(c), c, q.has_quiet ? q.quiet : true, &p, e);
    r = progress_end(&p, r, e);
    progress_done(&p);
    q_image_load_done(&q);
    return r;
}
