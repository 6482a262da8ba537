// SPDX-License-Identifier: Apache-2.0
/* docker import: one archive becomes an image with one layer; `changes` are Dockerfile instructions that set its configuration. */
#include <jansson.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "image/changes.h"
#include "image/image-internal.h"
#include "image/platform.h"
#include "layers/unpack.h"
#include "registry/registry.h"
#include "wire/call.h"

#define PROGRESS_BYTES (INT64_C(512) << 10)

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

static int read_body(struct call *c, struct unpack *u, struct err *e) {
    int r = 0;

    while (r == 0) {
        const void *piece;
        ssize_t n = call_body_next(c, &piece, e);

        if (n <= 0)
            return (int)n;
        r = unpack_feed(u, piece, (size_t)n, e);
    }
    return r;
}

struct download {
    struct unpack *unpack;
    struct progress *progress;
    struct call *call;
    const char *url;
    bool begun;
    int64_t have, length; /* bytes; the second as the server says, -1 when it does not */
    int64_t shown;
};

static int take_download(void *arg, const void *bytes, size_t n, struct err *e) {
    struct download *d = arg;
    int r = d->begun ? 0 : progress_message(d->progress, NULL, e, "Downloading from %s", d->url);

    d->begun = true;
    d->have += (int64_t)n;
    if (r == 0 && (d->shown == 0 || d->have - d->shown >= PROGRESS_BYTES || d->have == d->length)) {
        d->shown = d->have;
        r = progress_bar(d->progress, NULL, "Importing", d->have, d->length, e);
    }
    return r < 0 ? r : unpack_feed(d->unpack, bytes, n, e);
}

static bool import_cancelled(void *arg) {
    return call_gone(((struct download *)arg)->call);
}

/* A stream that is no archive is the server's failure to the reference. */
static int as_internal(int r, struct err *e) {
    if (r == -ERR_INVALID && e)
        e->kind = ERR_INTERNAL;
    return r == -ERR_INVALID ? -ERR_INTERNAL : r;
}

static int read_address(struct images *s, struct call *c, const char *src, struct progress *p, struct unpack *u, struct err *e) {
    _cleanup_free_ char *url = strstr(src, "://") ? strdup(src) : str_printf("http://%s", src);
    struct download d = {.unpack = u, .progress = p, .call = c, .url = url, .length = -1};
    size_t scheme = url ? (size_t)(strstr(url, "://") - url) : 0;
    int r;

    if (!url)
        return err_oom(e);
    if (strchr("?#", url[scheme + 3]) && (str_has_prefix(url, "http:") || str_has_prefix(url, "https:")))
        return err_set(e, ERR_INTERNAL, "Get \"%.*s:%s\": http: no Host in request URL", (int)scheme, url, url + scheme + 3);
    if (!str_has_prefix(url, "http://") && !str_has_prefix(url, "https://"))
        return err_set(e, ERR_INTERNAL, "Get \"%s\": unsupported protocol scheme \"%.*s\"", url, (int)scheme, url);
    if (url[scheme + 3] == '/')
        return err_set(e, ERR_INTERNAL, "Get \"%s\": http: no Host in request URL", url);
    r = registry_fetch(s->registry, url, import_cancelled, &d, take_download, &d, &d.length, e);
    return d.begun ? as_internal(r, e) : r;
}

static int read_layer(struct images *s, struct call *c, const char *src, struct progress *p, struct imported *i, struct unpack **ret, struct err *e) {
    int r = unpack_start(s->layers, false, take_layer, i, ret, e);

    if (r == 0)
        r = streq(src, "-") ? as_internal(read_body(c, *ret, e), e) : read_address(s, c, src, p, *ret, e);
    if (r == 0)
        r = as_internal(unpack_finish(*ret, e), e);
    return r;
}

/* The document, with its members in the reference's order. */
static int write_document(const struct engine *engine, const struct imported *i, const struct api_container_config *config, const char *message,
                          const struct platform *platform, struct buf *b, struct err *e) {
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
    buf_addf(b, ",\"architecture\":\"%s\"", platform->arch);
    if (*platform->told)
        buf_addf(b, ",\"variant\":\"%s\"", platform->told);
    buf_addf(b,
             ",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]},\"history\":[{\"created\":\"%s\","
             "\"comment\":",
             i->diff_id, now);
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
    struct platform platform;
    const char *src = q->from_src ? q->from_src : "";
    _cleanup_free_ char *message = str_empty(q->message) ? str_printf("Imported from %s", src) : strdup(q->message);
    int r = message ? platform_parse(q->platform, &platform, e) : err_oom(e);

    if (r == 0)
        r = repo_tag_reference(q->repo, q->tag, &ref, e);
    if (r == 0 && !streq(platform.os, "linux"))
        r = err_set(e, ERR_INVALID, "operating system is not supported");
    if (r == 0)
        r = image_change(&config, q->changes.v, q->changes.n, e);
    if (r == 0)
        r = read_layer(s, c, src, p, &i, &u, e);
    if (r == 0)
        r = write_document(s->engine, &i, &config, message, &platform, &document, e);
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
