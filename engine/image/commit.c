// SPDX-License-Identifier: Apache-2.0
#include "image/commit.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "image/image-internal.h"
#include "layers/unpack.h"

/* Of an archive without members: such a layer is not kept. */
#define EMPTY_DIFF_ID "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"

struct image_commit {
    struct images *images;
    struct image *parent; /* counted; NULL: none */
    struct unpack *unpack;
    char diff_id[72];
    int64_t size, archive_size;
};

struct image_commit *image_commit_free(struct image_commit *c) {
    if (!c)
        return NULL;
    unpack_free(c->unpack);
    image_unref(c->parent);
    free(c);
    return NULL;
}

static int take_layer(void *arg, const struct unpack_event *ev, struct err *e) {
    struct image_commit *c = arg;

    if (ev->type == UNPACK_LAYER) {
        memcpy(c->diff_id, ev->diff_id, sizeof c->diff_id);
        c->size = ev->size;
        c->archive_size = ev->archive_size;
    }
    return 0;
}

int image_commit_begin(struct images *s, const char *parent_id, struct image_commit **ret, struct err *e) {
    struct image_commit *c = calloc(1, sizeof *c);
    int r = 0;

    if (!c)
        return err_oom(e);
    c->images = s;
    if (!str_empty(parent_id)) {
        c->parent = images_get(s, parent_id);
        if (!c->parent)
            r = err_set(e, ERR_NOT_FOUND, "No such image: %s", parent_id);
    }
    if (r == 0)
        r = unpack_start(s->layers, false, take_layer, c, &c->unpack, e);
    if (r < 0) {
        image_commit_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

int image_commit_feed(struct image_commit *c, const void *p, size_t n, struct err *e) {
    return unpack_feed(c->unpack, p, n, e);
}

static void add_text(struct buf *b, const char *key, const char *value) {
    if (str_empty(value))
        return;
    buf_addf(b, ",\"%s\":", key);
    buf_add_json_string(b, value);
}

/* One entry of the history; the first member is always there. */
static void add_history(struct buf *b, const struct image_history *h) {
    buf_adds(b, "{\"created\":");
    buf_add_json_string(b, h->created ? h->created : "0001-01-01T00:00:00Z");
    add_text(b, "author", h->author);
    add_text(b, "created_by", h->created_by);
    add_text(b, "comment", h->comment);
    buf_adds(b, h->empty_layer ? ",\"empty_layer\":true}" : "}");
}

static void add_rootfs(struct buf *b, const struct image_commit *c, bool empty) {
    size_t n = 0;

    buf_adds(b, "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[");
    for (size_t i = 0; c->parent && i < c->parent->diff_ids.n; i++)
        buf_addf(b, "%s\"%s\"", n++ ? "," : "", c->parent->diff_ids.v[i]);
    if (!empty)
        buf_addf(b, "%s\"%s\"", n ? "," : "", c->diff_id);
    buf_adds(b, "]}");
}

static int write_document(const struct image_commit *c, const struct image_commit_info *info, bool empty, struct buf *b, struct err *e) {
    const struct api_string_list *cmd = &info->container_config->cmd;
    const struct strv words = {.v = cmd->v, .n = cmd->n};
    _cleanup_free_ char *created_by = strv_join(&words, " ");
    const struct image *p = c->parent;
    char now[CLOCK_TEXT_MAX];
    struct image_history last = {now, created_by, (char *)info->author, (char *)info->comment, empty};
    int r;

    if (!created_by)
        return err_oom(e);
    clock_format(clock_wall_ns(), now);
    buf_addf(b, "{\"created\":\"%s\",\"container\":\"%s\",\"container_config\":", now, info->container_id);
    r = api_container_config_write(info->container_config, 45 | CODEC_ESCAPE_HTML, b, e);
    if (r < 0)
        return r;
    buf_addf(b, ",\"docker_version\":\"%s\"", c->images->engine->version);
    add_text(b, "author", info->author);
    buf_adds(b, ",\"config\":");
    r = api_container_config_write(info->config, 45 | CODEC_ESCAPE_HTML, b, e);
    if (r < 0)
        return r;
    add_text(b, "architecture", p && *image_architecture(p) ? image_architecture(p) : "amd64");
    add_text(b, "variant", p ? image_variant(p) : NULL);
    add_text(b, "os", p && *image_os(p) ? image_os(p) : "linux");
    add_text(b, "os.version", p ? p->os_version : NULL);
    buf_addc(b, ',');
    add_rootfs(b, c, empty);
    buf_adds(b, ",\"history\":[");
    for (size_t i = 0; p && i < p->n_history; i++) {
        add_history(b, &p->history[i]);
        buf_addc(b, ',');
    }
    add_history(b, &last);
    buf_adds(b, "]}");
    return buf_check(b, e);
}

/* The top of the new image, counted; NULL when neither the parent nor the container has any files. */
static int make_layers(struct image_commit *c, bool empty, struct layer **ret, struct err *e) {
    struct layer *below = c->parent && c->parent->top ? layer_ref(c->parent->top) : NULL, *top = NULL;
    int r;

    if (empty) {
        *ret = below;
        return 0;
    }
    r = layers_register(c->images->layers, below, c->unpack, 0, c->diff_id, c->size, c->archive_size, &top, e);
    layer_unref(below);
    if (r == 0)
        *ret = top;
    return r;
}

static int name_image(struct images *s, const struct image *image, const struct reference *name, struct err *e) {
    _cleanup_free_ char *shown = NULL;
    int r;

    if (!name->path)
        return 0;
    r = images_set_name(s, name, image->id, NULL, e);
    if (r == 0)
        r = images_touch_tag(s, image->id, e);
    shown = reference_familiar(name);
    if (r == 0)
        images_event(s, "tag", image->id, image->id, shown);
    return r;
}

int image_commit_end(struct image_commit *c, const struct image_commit_info *info, char **ret_id, struct err *e) {
    _cleanup_buf_ struct buf document = BUF_INIT(LIMIT_IMAGE_CONFIG_BYTES);
    _cleanup_image_ struct image *known = NULL;
    struct image *image = NULL;
    struct layer *top = NULL;
    int r = unpack_finish(c->unpack, e);
    bool empty = streq(c->diff_id, EMPTY_DIFF_ID);

    if (r == 0)
        r = write_document(c, info, empty, &document, e);
    if (r == 0)
        r = image_parse(document.data, document.len, &image, e);
    if (r == 0)
        r = make_layers(c, empty, &top, e);
    if (r < 0) {
        image_unref(image);
        return r;
    }
    r = images_add(c->images, image, top, &known, e);
    if (r == 0 && c->parent)
        r = images_set_parent(c->images, known->id, c->parent->id, e);
    if (r == 0)
        r = name_image(c->images, known, info->name, e);
    if (r == 0 && !(*ret_id = strdup(known->id)))
        r = err_oom(e);
    return r;
}
