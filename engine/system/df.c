// SPDX-License-Identifier: Apache-2.0
/* GET /system/df: what takes how much of the disk. Parts that were not asked for are null. */
#include "api-handlers.h"
#include "base/cleanup.h"
#include "base/engine.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/container.h"
#include "image/view.h"
#include "layers/layers.h"
#include "volume/volume.h"
#include "wire/call.h"

struct parts {
    bool containers, images, volumes, cache;
};

static int choose(const struct api_string_list *types, struct parts *ret, struct err *e) {
    if (types->n == 0)
        *ret = (struct parts){true, true, true, true};
    for (size_t i = 0; i < types->n; i++) {
        if (streq(types->v[i], "container"))
            ret->containers = true;
        else if (streq(types->v[i], "image"))
            ret->images = true;
        else if (streq(types->v[i], "volume"))
            ret->volumes = true;
        else if (streq(types->v[i], "build-cache"))
            ret->cache = true;
        else
            return err_set(e, ERR_INVALID, "unknown object type: %s", types->v[i]);
    }
    return 0;
}

static int add_images(struct engine *engine, int version, struct buf *b, struct err *e) {
    _cleanup_filters_ struct filters none = FILTERS_INIT;
    struct api_image_summary_list list = {0};
    unsigned flags = IMAGE_LIST_SHARED | IMAGE_LIST_USERS | IMAGE_LIST_NULL;
    int r = image_list(engine->images, flags, &none, &list, e);

    if (r == 0)
        r = api_image_summary_list_write(&list, version, b, e);
    api_image_summary_list_done(&list);
    return r;
}

static int add_volumes(struct engine *engine, int version, struct buf *b, struct err *e) {
    struct api_volume_list list = {.set = true};
    int r = volumes_usage(engine->volumes, &list, e);

    if (r == 0)
        r = api_volume_list_write(&list, version, b, e);
    api_volume_list_done(&list);
    return r;
}

/* Written part by part: a container's entry is text already (container/list.c keeps it so). */
static int write_usage(struct engine *engine, int version, const struct parts *p, struct buf *b, struct err *e) {
    int r = 0;

    buf_addf(b, "{\"LayersSize\":%lld,\"Images\":", p->images ? (long long)layers_total_size(engine->layers) : 0LL);
    if (p->images)
        r = add_images(engine, version, b, e);
    else
        buf_adds(b, "null");
    buf_adds(b, ",\"Containers\":");
    if (r == 0 && p->containers)
        r = containers_write_all(engine->containers, version, b, e);
    else
        buf_adds(b, "null");
    buf_adds(b, ",\"Volumes\":");
    if (r == 0 && p->volumes)
        r = add_volumes(engine, version, b, e);
    else
        buf_adds(b, "null");
    buf_addf(b, ",\"BuildCache\":%s}", p->cache ? "[]" : "null");
    return r;
}

int op_system_data_usage(struct call *c, struct err *e) {
    struct q_system_data_usage q = {0};
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_REPLY_BYTES);
    struct parts parts = {0};
    int r = q_system_data_usage_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0)
        r = choose(&q.type, &parts, e);
    q_system_data_usage_done(&q);
    if (r == 0)
        r = write_usage(call_engine(c), call_api_version(c), &parts, &b, e);
    return r < 0 ? r : call_reply(c, 200, &b, e);
}
