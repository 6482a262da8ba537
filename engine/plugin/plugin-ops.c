// SPDX-License-Identifier: Apache-2.0
/*
 * The operations of the section plugin on an engine with no managed plugin installed: the list is empty, and every name is unknown. What would install one checks
 * its input as the reference does, and then says that managed plugins cannot be installed here (501). Plugins that run beside the engine: client.c.
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

static int not_here(struct err *e) {
    return err_set(
        e, ERR_NOT_IMPLEMENTED,
        "managed plugins cannot be installed on this engine; run the plugin as a program of its own with its socket in /run/docker/plugins");
}

/* Nothing can be installed, so nothing asks for anything. */
int op_get_plugin_privileges(struct call *c, struct err *e) {
    _cleanup_reference_ struct reference remote = REFERENCE_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(8);
    struct q_get_plugin_privileges q = {0};
    int r = q_get_plugin_privileges_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0)
        r = parse_name(q.remote ? q.remote : "", &remote, e);
    q_get_plugin_privileges_done(&q);
    if (r < 0)
        return r;
    buf_adds(&out, "[]");
    return call_reply(c, 200, &out, e);
}

int op_plugin_pull(struct call *c, struct err *e) {
    _cleanup_reference_ struct reference remote = REFERENCE_INIT, name = REFERENCE_INIT;
    struct q_plugin_pull q = {0};
    int r = refuse_read_body(c, e);

    if (r == 0)
        r = q_plugin_pull_read(&q, call_query(c), call_api_version(c), e);
    if (r == 0)
        r = parse_name(q.remote ? q.remote : "", &remote, e);
    if (r == 0 && q.name && *q.name) {
        r = parse_name(q.name, &name, e);
        if (r == 0 && name.digest)
            r = err_set(e, ERR_INTERNAL, "cannot use digest in plugin tag");
    }
    q_plugin_pull_done(&q);
    return r < 0 ? r : not_here(e);
}

/* The body is not looked at beyond its first bytes: what is no archive is refused in the reference's words. */
static int check_archive(struct call *c, struct err *e) {
    char head[512];
    size_t n = 0;

    while (n < sizeof(head)) {
        ssize_t k = call_body_read(c, head + n, sizeof(head) - n, e);

        if (k < 0)
            return (int)k;
        if (k == 0)
            break;
        n += (size_t)k;
    }
    if (n == 0)
        return err_set(e, ERR_INTERNAL, "no rootfs found: EOF");
    return n < sizeof(head) ? err_set(e, ERR_INTERNAL, "failed to read from tar: unexpected EOF") : 0;
}

int op_plugin_create(struct call *c, struct err *e) {
    _cleanup_reference_ struct reference name = REFERENCE_INIT;
    struct q_plugin_create q = {0};
    int r = q_plugin_create_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0) {
        r = parse_name(q.name ? q.name : "", &name, e);
        if (r < 0)
            err_wrap(e, "failed to parse reference %s", q.name ? q.name : "");
    }
    q_plugin_create_done(&q);
    if (r == 0)
        r = check_archive(c, e);
    return r < 0 ? r : not_here(e);
}
