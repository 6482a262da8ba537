// SPDX-License-Identifier: Apache-2.0
/* docker import: one archive becomes an image with one layer; `changes` are Dockerfile instructions that set its configuration. */
#include <jansson.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "image/changes.h"
#include "image/image-internal.h"
#include "layers/unpack.h"
#include "wire/call.h"

#define READ_SIZE KIB(256)

struct imported {
    char diff_id[72];
    int64_t size, archive_size;
};

static int take_layer(void *arg, const struct unpack_event *ev, struct err *e) {
    struct imported *i = arg;

    if (ev->type == UNPACK_LAYER) {
        memcpy(i->diff_id, ev->diff_id, sizeof i->diff_id);
        i->size = ev->size;
        i->archive_size = ev->archive_size;
    }
    return 0;
}

static int read_layer(struct images *s, struct call *c, struct imported *i, struct unpack **ret, struct err *e) {
    _cleanup_free_ char *piece = malloc(READ_SIZE);
    int r = piece ? unpack_start(s->layers, false, take_layer, i, ret, e) : err_oom(e);

    while (r == 0) {
        ssize_t n = call_body_read(c, piece, READ_SIZE, e);

        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        r = unpack_feed(*ret, piece, (size_t)n, e);
    }
    return r < 0 ? r : unpack_finish(*ret, e);
}

/* The document, with its members in the reference's order. */
static int write_document(const struct engine *engine, const struct imported *i, const struct api_container_config *config, const char *message,
                          const char *arch, struct buf *b, struct err *e) {
    char now[CLOCK_TEXT_MAX];
    struct api_container_config none = {0};
    int r;

    clock_format(clock_wall_ns(), now);
    buf_adds(b, "{\"comment\":");
    buf_add_json_string(b, message);
    buf_addf(b, ",\"created\":\"%s\",\"container_config\":", now);
    r = api_container_config_write(&none, 45 | CODEC_ESCAPE_HTML, b, e);
    if (r < 0)
        return r;
    buf_addf(b, ",\"docker_version\":\"%s\",\"config\":", engine->version);
    r = api_container_config_write(config, 45 | CODEC_ESCAPE_HTML, b, e);
    if (r < 0)
        return r;
    buf_addf(b,
             ",\"architecture\":\"%s\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]},\"history\":[{\"created\":\"%s\","
             "\"comment\":",
             arch, i->diff_id, now);
    buf_add_json_string(b, message);
    buf_adds(b, "}]}");
    return buf_check(b, e);
}

static int make_image(struct images *s, const struct imported *i, struct unpack *u, const struct buf *document, struct image **ret, struct err *e) {
    struct layer *top = NULL;
    struct image *image = NULL;
    int r = image_parse(document->data, document->len, &image, e);

    if (r < 0)
        return r;
    r = layers_register(s->layers, NULL, u, 0, i->diff_id, i->size, i->archive_size, &top, e);
    if (r < 0) {
        image_unref(image);
        return r;
    }
    return images_add(s, image, top, ret, e);
}

int images_import(struct images *s, struct call *c, const struct q_image_create *q, struct progress *p, struct err *e) {
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;
    _cleanup_buf_ struct buf document = BUF_INIT(LIMIT_IMAGE_CONFIG_BYTES);
    _cleanup_image_ struct image *image = NULL;
    _cleanup_free_ char *shown = NULL;
    struct api_container_config config = {0};
    struct imported i = {0};
    struct unpack *u = NULL;
    int r = repo_tag_reference(q->repo, q->tag, &ref, e);

    for (size_t k = 0; r == 0 && k < q->changes.n; k++)
        r = image_change(&config, q->changes.v[k], e);
    if (r == 0 && !streq_ptr(q->from_src, "-"))
        r = str_empty(q->from_src) ? err_set(e, ERR_INTERNAL, "Get \"http:\": http: no Host in request URL")
                                   : err_set(e, ERR_NOT_IMPLEMENTED, "import from an address is not built: send the archive with fromSrc=-");
    if (r == 0)
        r = read_layer(s, c, &i, &u, e);
    if (r == 0)
        r = write_document(s->engine, &i, &config, str_empty(q->message) ? "Imported from -" : q->message, "amd64", &document, e);
    if (r == 0)
        r = make_image(s, &i, u, &document, &image, e);
    if (r == 0 && ref.path) {
        r = images_set_name(s, &ref, image->id, NULL, e);
        if (r == 0)
            r = images_touch_tag(s, image->id, e);
        shown = reference_familiar(&ref);
        if (r == 0)
            images_event(s, "tag", image->id, image->id, shown);
    }
    if (r == 0) {
        images_event(s, "import", image->id, image->id, image->id);
        r = progress_message(p, NULL, e, "%s", image->id);
    }
    unpack_free(u);
    api_container_config_done(&config);
    return r;
}
