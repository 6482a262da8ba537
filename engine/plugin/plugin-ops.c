// SPDX-License-Identifier: Apache-2.0
/*
 * The operations of the section plugin on an engine with no managed plugin installed: the list is empty, and every name is unknown. Installing one (pull,
 * privileges, create) is not built and answered 501 by api/.
 */
#include <stdlib.h>

#include "api-handlers.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "registry/reference.h"
#include "swarm/refuse.h"
#include "types.h"
#include "wire/call.h"
#include "wire/filters.h"

static int unknown(const char *name, struct err *e) {
    return err_set(e, ERR_NOT_FOUND, "plugin \"%s\" not found", name);
}

int op_plugin_list(struct call *c, struct err *e) {
    static const char *const accepted[] = {"capability", "enabled", NULL};
    _cleanup_filters_ struct filters f = FILTERS_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(8);
    struct q_plugin_list q = {0};
    bool enabled;
    int r = q_plugin_list_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0)
        r = filters_parse(&f, q.filters, e);
    q_plugin_list_done(&q);
    if (r == 0)
        r = filters_validate(&f, accepted, e);
    if (r == 0)
        r = filters_bool(&f, "enabled", false, &enabled, e);
    if (r < 0)
        return r;
    buf_adds(&out, "[]");
    return call_reply(c, 200, &out, e);
}

int op_plugin_inspect(struct call *c, struct err *e) {
    return unknown(call_path(c, "name"), e);
}

int op_plugin_delete(struct call *c, struct err *e) {
    return unknown(call_path(c, "name"), e);
}

int op_plugin_disable(struct call *c, struct err *e) {
    return unknown(call_path(c, "name"), e);
}

int op_plugin_push(struct call *c, struct err *e) {
    return unknown(call_path(c, "name"), e);
}

int op_plugin_enable(struct call *c, struct err *e) {
    struct q_plugin_enable q = {0};
    int r = q_plugin_enable_read(&q, call_query(c), call_api_version(c), e);

    q_plugin_enable_done(&q);
    return r < 0 ? r : unknown(call_path(c, "name"), e);
}

int op_plugin_set(struct call *c, struct err *e) {
    int r = refuse_read_body(c, e);

    return r < 0 ? r : unknown(call_path(c, "name"), e);
}

/* The reference gives its own fault for names nobody could have: their kind is not the client's there. */
static int parse_name(const char *s, struct reference *ret, struct err *e) {
    int r = reference_parse(s, ret, e);

    if (r < 0 && e && e->kind == ERR_INVALID) {
        e->kind = ERR_INTERNAL;
        r = -ERR_INTERNAL;
    }
    return r;
}

int op_plugin_upgrade(struct call *c, struct err *e) {
    _cleanup_reference_ struct reference remote = REFERENCE_INIT, name = REFERENCE_INIT;
    struct q_plugin_upgrade q = {0};
    const char *given = call_path(c, "name");
    _cleanup_free_ char *full = NULL;
    int r = refuse_read_body(c, e);

    if (r == 0)
        r = q_plugin_upgrade_read(&q, call_query(c), call_api_version(c), e);
    if (r == 0)
        r = parse_name(q.remote ? q.remote : "", &remote, e);
    q_plugin_upgrade_done(&q);
    if (r == 0)
        r = parse_name(given, &name, e);
    if (r < 0)
        return r;
    if (name.digest)
        return err_set(e, ERR_INTERNAL, "cannot use digest in plugin tag");
    if (name.tag)
        return unknown(given, e);
    r = reference_default_tag(&name, e);
    if (r < 0)
        return r;
    full = reference_familiar(&name);
    return full ? unknown(full, e) : err_oom(e);
}
