// SPDX-License-Identifier: Apache-2.0
/* POST /containers/prune: remove what does not run. */
#include <stdio.h>

#include "api-handlers.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "container/life.h"
#include "system/events.h"
#include "wire/call.h"
#include "wire/filters.h"

static const char *const accepted[] = {"label", "label!", "until", NULL};

static bool is_meant(const struct filters *f, int64_t until, const struct ctr_view *v) {
    _cleanup_strv_ struct strv pairs = STRV_INIT;
    const struct api_string_map *m = &v->fixed->config.labels;
    const struct strv *never = filters_get(f, "label!");

    if (ctr_state_alive(v->state) || (until != CLOCK_ZERO && v->fixed->created >= until))
        return false;
    for (size_t i = 0; i < m->n; i++)
        if (strv_addf(&pairs, "%s=%s", m->v[i].key, m->v[i].value ? m->v[i].value : "") < 0)
            return false;
    if (!filters_kv(f, "label", &pairs))
        return false;
    for (size_t i = 0; never && i < never->n; i++) {
        const char *want = strv_env_get(&pairs, never->v[i]);

        if (want || strv_has(&pairs, never->v[i]))
            return false;
    }
    return true;
}

static int prune_all(struct containers *cs, const struct filters *f, int64_t until, struct call *call, struct api_container_prune_response *res,
                     struct err *e) {
    struct container **all;
    size_t n;
    int r = containers_all(cs, &all, &n, e);

    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        _cleanup_view_ struct ctr_view *v = container_view(all[i]);
        int64_t rw = 0, root;

        if (r >= 0 && !call_gone(call) && is_meant(f, until, v)) {
            ignore_result(container_size(all[i], v, &rw, &root, NULL));
            if (container_remove(all[i], false, false, NULL) >= 0) {
                res->space_reclaimed += rw;
                r = api_string_list_add(&res->containers_deleted, all[i]->id, e);
            }
        }
        container_unref(all[i]);
    }
    free(all);
    return r;
}

int op_container_prune(struct call *call, struct err *e) {
    struct containers *cs = call_engine(call)->containers;
    _cleanup_(q_container_prune_done) struct q_container_prune q = {0};
    _cleanup_filters_ struct filters f = FILTERS_INIT;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_REPLY_BYTES);
    _cleanup_strv_ struct strv attrs = STRV_INIT;
    struct api_container_prune_response res = {.has_space_reclaimed = true};
    bool idle = false;
    int64_t until;
    int r = q_container_prune_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = filters_parse(&f, q.filters, e);
    if (r >= 0)
        r = filters_validate(&f, accepted, e);
    if (r >= 0)
        r = filters_until(&f, &until, e);
    if (r < 0)
        return r;
    if (!atomic_compare_exchange_strong(&cs->pruning, &idle, true))
        return err_set(e, ERR_CONFLICT, "a prune operation is already running");
    r = prune_all(cs, &f, until, call, &res, e);
    atomic_store(&cs->pruning, false);
    if (r >= 0 && strv_addf(&attrs, "reclaimed=%lld", (long long)res.space_reclaimed) >= 0)
        events_publish(call_engine(call)->events, "container", "prune", "", &attrs);
    if (r >= 0)
        r = api_container_prune_response_write(&res, call_api_version(call), &b, e);
    api_container_prune_response_done(&res);
    return r < 0 ? r : call_reply(call, 200, &b, e);
}
