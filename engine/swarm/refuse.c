// SPDX-License-Identifier: Apache-2.0
#include "swarm/refuse.h"

#include <stdlib.h>

#include "types.h"
#include "validate.h"
#include "wire/call.h"
#include "wire/filters.h"

int refuse_read_body(struct call *c, struct err *e) {
    unsigned type = api_body_type(call_operation(c));
    json_t *in = NULL;
    void *value;
    int r;

    if (type == CODEC_NONE)
        return 0;
    r = call_json(c, &in, e);
    if (r < 0 || !in)
        return r;
    value =
        calloc(1, api_schema.types[type].kind == CODEC_LIST ? sizeof(struct api_string_list) : api_schema.structs[api_schema.types[type].st].size);
    r = value ? codec_read(&api_schema, type, value, in, NULL, e) : err_oom(e);
    if (value)
        codec_done(&api_schema, type, value);
    free(value);
    json_decref(in);
    return r;
}

int refuse_read_filters(const char *text, struct err *e) {
    _cleanup_filters_ struct filters f = FILTERS_INIT;

    return filters_parse(&f, text, e);
}

int refuse_no_manager(struct err *e) {
    return err_set(
        e, ERR_UNAVAILABLE,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.");
}
