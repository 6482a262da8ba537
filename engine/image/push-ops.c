// SPDX-License-Identifier: Apache-2.0
/* The HTTP face of push. */
#include "api-handlers.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"

#include "image/image-internal.h"
#include "registry/registry.h"
#include "wire/call.h"
#include "wire/codec.h"

/* Clients of old send the credentials as the body. */
static int auth_of_body(struct call *c, struct registry_auth *ret, struct err *e) {
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_JSON_BODY);
    struct api_auth_config in = {0};
    json_t *json = NULL;
    size_t end;
    int r = call_body(c, &body, e);

    if (r == 0 && body.len == 0)
        r = err_set(e, ERR_INVALID, "EOF");
    else if (r == 0)
        r = codec_parse(buf_str(&body), body.len, &json, &end, e);
    if (r == 0)
        r = api_auth_config_read(&in, json, "", e);
    json_decref(json);
    if (body.data)
        explicit_bzero(body.data, body.len);
    if (r < 0) {
        api_auth_config_done(&in);
        return r == -ERR_CANCELLED ? r : err_wrap(e, "bad parameters and missing X-Registry-Auth: invalid X-Registry-Auth header");
    }
    *ret = (struct registry_auth){TAKE_PTR(in.username), TAKE_PTR(in.password), TAKE_PTR(in.identitytoken), TAKE_PTR(in.registrytoken),
                                  TAKE_PTR(in.serveraddress)};
    api_auth_config_done(&in);
    return 0;
}

static int auth_of(struct call *c, struct registry_auth *ret, struct err *e) {
    const char *header = call_header(c, "X-Registry-Auth");

    if (str_empty(header))
        return auth_of_body(c, ret, e);
    /* What cannot be read as credentials counts as none, as in the reference. */
    if (registry_auth_parse(header, ret, NULL) < 0)
        *ret = (struct registry_auth){0};
    return 0;
}

int op_image_push(struct call *c, struct err *e) {
    struct q_image_push q = {0};
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;
    struct registry_auth auth = {0};
    struct progress p;
    int r = q_image_push_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0)
        r = auth_of(c, &auth, e);
    if (r == 0 && !str_empty(q.tag))
        r = repo_tag_reference(call_path(c, "name"), q.tag, &ref, e);
    else if (r == 0)
        r = reference_parse(call_path(c, "name"), &ref, e);
    q_image_push_done(&q);
    if (r == 0) {
        progress_init(&p, c);
        r = images_push(call_engine(c)->images, c, &ref, &auth, &p, e);
        r = progress_end(&p, r, e);
        progress_done(&p);
    }
    registry_auth_done(&auth);
    return r;
}
