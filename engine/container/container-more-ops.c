// SPDX-License-Identifier: Apache-2.0
/* The HTTP face of what is learned from and done to containers besides their life cycle. */
#include "api-handlers.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/more.h"
#include "layers/layers.h"
#include "wire/call.h"

static int find(struct call *call, struct container **ret, struct err *e) {
    return containers_find(call_engine(call)->containers, call_path(call, "id"), ret, e);
}

/* ---- top --------------------------------------------------------------------------------------------------------------------------------- */
int op_container_top(struct call *call, struct err *e) {
    _cleanup_(q_container_top_done) struct q_container_top q = {0};
    _cleanup_(api_container_top_response_done) struct api_container_top_response res = {0};
    _cleanup_container_ struct container *c = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_REPLY_BYTES);
    int r = q_container_top_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = ctr_top_check(q.ps_args ? q.ps_args : "", e);
    if (r >= 0)
        r = find(call, &c, e);
    if (r >= 0)
        r = container_top(c, q.ps_args, &res, e);
    if (r >= 0)
        r = api_container_top_response_write(&res, call_api_version(call), &b, e);
    return r < 0 ? r : call_reply(call, 200, &b, e);
}

/* ---- changes ----------------------------------------------------------------------------------------------------------------------------- */
static int add_change(void *arg, const char *path, int kind, struct err *e) {
    struct api_filesystem_change *c = api_filesystem_change_list_add(arg);

    if (!c)
        return err_oom(e);
    c->path = strdup(path);
    c->kind = kind;
    c->has_kind = true;
    return c->path ? 0 : err_oom(e);
}

int op_container_changes(struct call *call, struct err *e) {
    _cleanup_(api_filesystem_change_list_done) struct api_filesystem_change_list list = {0};
    _cleanup_container_ struct container *c = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_REPLY_BYTES);
    int r = find(call, &c, e);

    if (r >= 0)
        r = layers_container_changes(call_engine(call)->layers, container_id(c), add_change, &list, e);
    if (r >= 0)
        r = api_filesystem_change_list_write(&list, call_api_version(call), &b, e);
    return r < 0 ? r : call_reply(call, 200, &b, e);
}
