// SPDX-License-Identifier: Apache-2.0
/* The operations of the sections swarm, node, service, task, secret and config on an engine that belongs to no swarm. */
#include "api-handlers.h"
#include "swarm/refuse.h"
#include "types.h"
#include "wire/call.h"

/* Body first, then parameters, then the refusal: the order in which the reference looks at a request. */
#define REFUSES(op)                                                                                                                                  \
    int op_##op(struct call *c, struct err *e) {                                                                                                     \
        int r = refuse_read_body(c, e);                                                                                                              \
                                                                                                                                                     \
        return r < 0 ? r : refuse_no_manager(e);                                                                                                     \
    }

#define REFUSES_QUERY(op, check)                                                                                                                     \
    int op_##op(struct call *c, struct err *e) {                                                                                                     \
        struct q_##op q = {0};                                                                                                                       \
        int r = refuse_read_body(c, e);                                                                                                              \
                                                                                                                                                     \
        if (r == 0)                                                                                                                                  \
            r = q_##op##_read(&q, call_query(c), call_api_version(c), e);                                                                            \
        if (r == 0)                                                                                                                                  \
            r = check;                                                                                                                               \
        q_##op##_done(&q);                                                                                                                           \
        return r < 0 ? r : refuse_no_manager(e);                                                                                                     \
    }

static int need_stream(bool out, bool err, struct err *e) {
    return out || err ? 0 : err_set(e, ERR_INTERNAL, "Bad parameters: you must choose at least one stream");
}

REFUSES(swarm_inspect)
REFUSES_QUERY(swarm_update, 0)
REFUSES(swarm_unlockkey)
REFUSES(swarm_unlock)

int op_swarm_leave(struct call *c, struct err *e) {
    return err_set(e, ERR_UNAVAILABLE, "This node is not part of a swarm");
}

REFUSES_QUERY(node_list, refuse_read_filters(q.filters, e))
REFUSES(node_inspect)
REFUSES(node_delete)
REFUSES_QUERY(node_update, 0)

REFUSES_QUERY(service_list, refuse_read_filters(q.filters, e))
REFUSES(service_create)
REFUSES_QUERY(service_inspect, 0)
REFUSES(service_delete)
REFUSES_QUERY(service_update, 0)
REFUSES_QUERY(service_logs, need_stream(q.stdout, q.stderr, e))

REFUSES_QUERY(task_list, refuse_read_filters(q.filters, e))
REFUSES(task_inspect)
REFUSES_QUERY(task_logs, need_stream(q.stdout, q.stderr, e))

REFUSES_QUERY(secret_list, refuse_read_filters(q.filters, e))
REFUSES(secret_create)
REFUSES(secret_inspect)
REFUSES(secret_delete)
REFUSES_QUERY(secret_update, 0)

REFUSES_QUERY(config_list, refuse_read_filters(q.filters, e))
REFUSES(config_create)
REFUSES(config_inspect)
REFUSES(config_delete)
REFUSES_QUERY(config_update, 0)
