// SPDX-License-Identifier: Apache-2.0
/* The HTTP face of connect and disconnect: they change containers, so they live here and not with the networks. */
#include "api-handlers.h"
#include "base/engine.h"
#include "base/str.h"
#include "container/connect.h"
#include "container/container-internal.h"
#include "network/network.h"
#include "wire/call.h"

int op_network_connect(struct call *call, struct err *e) {
    _cleanup_(api_network_connect_request_done) struct api_network_connect_request req = {0};
    _cleanup_container_ struct container *c = NULL;
    json_t *body = NULL;
    int r = call_json(call, &body, e);

    if (r >= 0 && body)
        r = api_network_connect_request_read(&req, body, NULL, e);
    json_decref(body);
    if (r >= 0 && str_empty(req.container))
        r = err_set(e, ERR_INVALID, "invalid name or ID supplied: \"\"");
    if (r >= 0)
        r = containers_find(call_engine(call)->containers, req.container, &c, e);
    if (r >= 0)
        r = container_connect(c, call_path(call, "id"), req.endpoint_config, e);
    return r < 0 ? r : call_reply_empty(call, 200);
}

/* With force an endpoint can be removed whose container is not known here. */
static int drop_endpoint(struct call *call, const char *name, struct err *e) {
    struct network *net = NULL;
    int r = networks_find(call_engine(call)->networks, call_path(call, "id"), &net, e);

    if (r >= 0)
        r = err_set(e, ERR_NOT_FOUND, "endpoint %s not found", name);
    network_unref(net);
    return r;
}

int op_network_disconnect(struct call *call, struct err *e) {
    _cleanup_(api_network_disconnect_request_done) struct api_network_disconnect_request req = {0};
    _cleanup_container_ struct container *c = NULL;
    _cleanup_err_ struct err missing = ERR_INIT;
    json_t *body = NULL;
    int r = call_json(call, &body, e);

    if (r >= 0 && body)
        r = api_network_disconnect_request_read(&req, body, NULL, e);
    json_decref(body);
    if (r < 0)
        return r;
    if (str_empty(req.container))
        r = err_set(&missing, ERR_INVALID, "invalid name or ID supplied: \"\"");
    else
        r = containers_find(call_engine(call)->containers, req.container, &c, &missing);
    if (r < 0)
        r = req.force ? drop_endpoint(call, req.container ? req.container : "", e) : err_move(e, &missing);
    else
        r = container_disconnect(c, call_path(call, "id"), req.force, e);
    return r < 0 ? r : call_reply_empty(call, 200);
}
