// SPDX-License-Identifier: Apache-2.0
/* Build operations of the API. */
#include "api-handlers.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/engine.h"
#include "base/limits.h"
#include "base/moment.h"
#include "base/str.h"
#include "system/events.h"
#include "types.h"
#include "wire/call.h"
#include "wire/filters.h"

/* `until` and its older name: how long ago a record was last used. */
static int check_age(const struct filters *f, const char *key, struct err *e) {
    const struct strv *l = filters_get(f, key);
    _cleanup_err_ struct err why = ERR_INIT;
    int64_t at;

    if (!l || l->n == 0 || moment_parse(l->v[0], clock_wall_ns(), &at, &why) >= 0)
        return 0;
    return err_set(e, ERR_INVALID, "\"%s\" filter expects a duration (e.g., '24h') or a timestamp: %s", key, err_msg(&why));
}

static int check_filters(const struct filters *f, struct err *e) {
    static const char *const accepted[] = {"description", "id", "inuse", "parent", "private", "shared", "type", "until", "unused-for", NULL};
    int r = filters_validate(f, accepted, e);

    if (r >= 0 && filters_has(f, "until") && filters_has(f, "unused-for"))
        r = err_set(e, ERR_INVALID, "conflicting filters: \"until\" and \"unused-for\"");
    for (size_t i = 0; r >= 0 && accepted[i]; i++) {
        const struct strv *l = filters_get(f, accepted[i]);

        if (l && l->n > 1)
            r = err_set(e, ERR_INVALID, "filters expect only one value");
    }
    if (r >= 0)
        r = check_age(f, "until", e);
    return r < 0 ? r : check_age(f, "unused-for", e);
}

int op_build_prune(struct call *call, struct err *e) {
    _cleanup_(q_build_prune_done) struct q_build_prune q = {0};
    _cleanup_filters_ struct filters f = FILTERS_INIT;
    _cleanup_strv_ struct strv attrs = STRV_INIT;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_REPLY_BYTES);
    const struct api_build_prune_response nothing = {.has_space_reclaimed = true};
    int r = q_build_prune_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = filters_parse(&f, q.filters, e);
    if (r < 0)
        return r;
    r = check_filters(&f, e);
    if (r < 0)
        return err_wrap(e, "failed to prune build cache");
    if (strv_add(&attrs, "reclaimed=0") == 0)
        events_publish(call_engine(call)->events, "builder", "prune", "", &attrs);
    r = api_build_prune_response_write(&nothing, call_api_version(call), &b, e);
    return r < 0 ? r : call_reply(call, 200, &b, e);
}
