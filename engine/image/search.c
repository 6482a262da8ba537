// SPDX-License-Identifier: Apache-2.0
/* docker search: an index answers, what it answers is filtered here. */
#include <jansson.h>

#include "api-handlers.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "image/image-internal.h"
#include "registry/registry.h"
#include "wire/call.h"
#include "wire/codec.h"
#include "wire/filters.h"

#define LIMIT_MAX 100
#define RESULTS_MAX 1000

struct search {
    bool only_official, official, only_automated, automated;
    int64_t stars;
};

static bool gone(void *arg) {
    return call_gone(arg);
}

static int parse_filters(const struct filters *f, struct search *ret, struct err *e) {
    static const char *const accepted[] = {"is-automated", "is-official", "stars", NULL};
    const struct strv *stars = filters_get(f, "stars");
    int r = filters_validate(f, accepted, e);

    ret->only_official = filters_has(f, "is-official");
    ret->only_automated = filters_has(f, "is-automated");
    if (r == 0 && ret->only_automated)
        r = filters_bool(f, "is-automated", false, &ret->automated, e);
    if (r == 0 && ret->only_official)
        r = filters_bool(f, "is-official", false, &ret->official, e);
    for (size_t i = 0; r == 0 && stars && i < stars->n; i++) {
        int64_t n;

        if (parse_i64(stars->v[i], &n) < 0)
            return err_set(e, ERR_INVALID, "invalid filter 'stars=%s': strconv.Atoi: parsing \"%s\": invalid syntax", stars->v[i], stars->v[i]);
        ret->stars = MAX(ret->stars, n);
    }
    return r;
}

/* No index marks images as built by itself any more: the field is false, whatever the answer says. */
static int add_result(const struct search *s, json_t *o, struct api_image_search_item_list *ret, struct err *e) {
    bool official = json_is_true(json_object_get(o, "is_official"));
    int64_t stars = json_integer_value(json_object_get(o, "star_count"));
    const char *name = json_string_value(json_object_get(o, "name")), *description = json_string_value(json_object_get(o, "description"));
    struct api_image_search_item *item;

    if ((s->only_automated && s->automated) || (s->only_official && s->official != official) || stars < s->stars)
        return 0;
    item = api_image_search_item_list_add(ret);
    if (!item || str_set(&item->name, name ? name : "") < 0 || str_set(&item->description, description ? description : "") < 0)
        return err_oom(e);
    item->star_count = stars;
    item->is_official = official;
    item->has_star_count = item->has_is_official = item->has_is_automated = true;
    return 0;
}

static int search(struct call *c, const struct q_image_search *q, struct api_image_search_item_list *ret, struct err *e) {
    _cleanup_buf_ struct buf body = BUF_INIT(REGISTRY_SEARCH_BYTES);
    _cleanup_filters_ struct filters f = FILTERS_INIT;
    json_auto_t *o = NULL;
    struct registry_auth auth = {0};
    struct search s = {0};
    json_t *each;
    size_t i;
    int r = filters_parse(&f, q->filters, e);

    if (r == 0)
        r = parse_filters(&f, &s, e);
    if (r == 0 && q->limit > LIMIT_MAX)
        r = err_set(e, ERR_INVALID, "limit %lld is outside the range of [1, %d]", (long long)q->limit, LIMIT_MAX);
    if (r < 0)
        return r;
    /* What cannot be read as credentials counts as none, as in the reference. */
    if (registry_auth_parse(call_header(c, "X-Registry-Auth"), &auth, NULL) < 0)
        auth = (struct registry_auth){0};
    r = registry_search(call_engine(c)->registry, q->term ? q->term : "", q->limit, &auth, gone, c, &body, e);
    registry_auth_done(&auth);
    if (r < 0)
        return r;
    o = codec_count(buf_str(&body), body.len, NULL) < 0 ? NULL : json_loadb(buf_str(&body), body.len, 0, NULL);
    if (!json_is_object(o))
        return err_set(e, ERR_INTERNAL, "error decoding registry search results: the index did not answer with a JSON object");
    ret->set = true;
    json_array_foreach(json_object_get(o, "results"), i, each) {
        if (i == RESULTS_MAX)
            break;
        r = add_result(&s, each, ret, e);
        if (r < 0)
            return r;
    }
    return 0;
}

int op_image_search(struct call *c, struct err *e) {
    struct q_image_search q = {0};
    struct api_image_search_item_list out = {0};
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_REPLY_BYTES);
    int r = q_image_search_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0 && q.limit < 0) { /* the reference answers so: nothing, and no error */
        q_image_search_done(&q);
        return call_reply_empty(c, 200);
    }
    if (r == 0)
        r = search(c, &q, &out, e);
    if (r == 0)
        r = api_image_search_item_list_write(&out, call_api_version(c), &b, e);
    api_image_search_item_list_done(&out);
    q_image_search_done(&q);
    return r < 0 ? r : call_reply(c, 200, &b, e);
}
