// SPDX-License-Identifier: Apache-2.0
/* The HTTP face of pull, import and save. */
#include "api-handlers.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "image/image-internal.h"
#include "wire/call.h"

static struct images *images_of(struct call *c) {
    return call_engine(c)->images;
}

int op_image_create(struct call *c, struct err *e) {
    struct q_image_create q = {0};
    struct progress p;
    int r = q_image_create_read(&q, call_query(c), call_api_version(c), e);

    if (r < 0)
        return r;
    progress_init(&p, c);
    if (!str_empty(q.from_image))
        r = images_pull(images_of(c), c, &q, &p, e);
    else
        r = images_import(images_of(c), c, &q, &p, e);
    r = progress_end(&p, r, e);
    progress_done(&p);
    q_image_create_done(&q);
    return r;
}

int op_image_get(struct call *c, struct err *e) {
    const char *name = call_path(c, "name");

    return images_save(images_of(c), c, (char *const *)&name, 1, e);
}

int op_image_get_all(struct call *c, struct err *e) {
    struct q_image_get_all q = {0};
    int r = q_image_get_all_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0)
        r = images_save(images_of(c), c, q.names.v, q.names.n, e);
    q_image_get_all_done(&q);
    return r;
}
