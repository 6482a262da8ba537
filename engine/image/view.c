// SPDX-License-Identifier: Apache-2.0
/* What clients see of one image: inspect, history. */
#include "image/view.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "image/image-internal.h"
#include "wire/filters.h"

static int set_text(char **slot, const char *value, struct err *e) {
    return str_set(slot, value) < 0 ? err_oom(e) : 0;
}

/* Names of an image as people type them, tags and digests apart. Both lists become [] rather than null. */
static int split_names(struct images *s, const char *id, struct api_string_list *tags, struct api_string_list *digests, struct err *e) {
    _cleanup_strv_ struct strv names = STRV_INIT;
    int r = images_names_of(s, id, &names, e);

    tags->set = true;
    if (digests)
        digests->set = true;
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        _cleanup_reference_ struct reference ref = REFERENCE_INIT;
        _cleanup_free_ char *shown = NULL;

        r = reference_parse(names.v[i], &ref, e);
        if (r < 0)
            return r;
        shown = reference_familiar(&ref);
        if (!shown)
            return err_oom(e);
        if (!ref.digest)
            r = api_string_list_add(tags, shown, e);
        else if (digests)
            r = api_string_list_add(digests, shown, e);
    }
    return r;
}

/* The parsed part again, so that the reply owns its own copy. */
static int copy_config(const struct api_container_config *from, struct api_container_config **ret, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(64 << 20);
    json_t *o;
    int r = api_container_config_write(from, 45 | CODEC_SPARSE, &b, e);

    if (r < 0)
        return r;
    o = json_loadb(b.data, b.len, 0, NULL);
    *ret = api_container_config_new();
    r = o && *ret ? api_container_config_read(*ret, o, "Config", e) : err_oom(e);
    json_decref(o);
    return r;
}

static int inspect_layers(const struct image *i, struct api_image_inspect *ret, struct err *e) {
    struct layer_dirs dirs = {0};
    int r = 0;

    ret->graph_driver = api_graph_driver_data_new();
    ret->root_fs = api_image_root_fs_new();
    if (!ret->graph_driver || !ret->root_fs)
        return err_oom(e);
    r = set_text(&ret->graph_driver->name, layers_driver_name(i->owner->layers), e);
    if (r == 0)
        r = set_text(&ret->root_fs->type, "layers", e);
    for (size_t k = 0; r == 0 && k < i->diff_ids.n; k++)
        r = api_string_list_add(&ret->root_fs->layers, i->diff_ids.v[k], e);
    if (r < 0 || !i->top || !streq(layers_driver_name(i->owner->layers), "overlay2"))
        return r;
    r = layer_dirs(i->top, &dirs, e);
    if (r < 0)
        return r;
    if (dirs.lower)
        r = api_string_map_set(&ret->graph_driver->data, "LowerDir", dirs.lower, e);
    if (r == 0)
        r = api_string_map_set(&ret->graph_driver->data, "MergedDir", dirs.merged, e);
    if (r == 0)
        r = api_string_map_set(&ret->graph_driver->data, "UpperDir", dirs.upper, e);
    if (r == 0)
        r = api_string_map_set(&ret->graph_driver->data, "WorkDir", dirs.work, e);
    layer_dirs_done(&dirs);
    return r;
}

int image_inspect(struct images *s, struct image *i, struct api_image_inspect *ret, struct err *e) {
    char time[CLOCK_TEXT_MAX];
    const char *comment = str_empty(i->comment) && i->n_history ? i->history[i->n_history - 1].comment : i->comment;
    _cleanup_free_ char *parent = images_parent(s, i->id);
    int r = set_text(&ret->id, i->id, e);

    if (r == 0)
        r = split_names(s, i->id, &ret->repo_tags, &ret->repo_digests, e);
    if (r < 0 || set_text(&ret->parent, parent ? parent : "", e) < 0 || set_text(&ret->comment, comment ? comment : "", e) < 0 ||
        set_text(&ret->docker_version, i->docker_version ? i->docker_version : "", e) < 0 ||
        set_text(&ret->author, i->author ? i->author : "", e) < 0 || set_text(&ret->architecture, image_architecture(i), e) < 0 ||
        set_text(&ret->os, *image_os(i) ? image_os(i) : "linux", e) < 0 || set_text(&ret->variant, i->variant, e) < 0 ||
        set_text(&ret->os_version, i->os_version, e) < 0 || set_text(&ret->container, i->container, e) < 0)
        return -ERR_INTERNAL;
    if (i->created)
        r = set_text(&ret->created, i->created, e);
    if (r == 0 && i->has_config)
        r = copy_config(&i->config, &ret->config, e);
    if (r == 0 && !i->container_config)
        ret->container_config = api_container_config_new();
    else if (r == 0)
        r = copy_config(i->container_config, &ret->container_config, e);
    if (r == 0)
        r = inspect_layers(i, ret, e);
    if (r < 0)
        return r;
    ret->size = ret->virtual_size = i->top ? layer_chain_size(i->top) : 0;
    ret->has_size = ret->has_virtual_size = true;
    ret->metadata = api_image_metadata_new();
    clock_format(images_last_tag(s, i->id), time);
    return ret->metadata ? set_text(&ret->metadata->last_tag_time, time, e) : err_oom(e);
}

/* ---- history ---------------------------------------------------------------------------------------------------------------------- */

int64_t image_unix_seconds(int64_t ns) {
    if (ns == CLOCK_ZERO)
        return INT64_C(-62135596800); /* Go's zero time */
    return ns >= 0 ? ns / NSEC_PER_SEC : -((-ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC);
}

static int64_t history_time(const char *text) {
    int64_t ns = CLOCK_ZERO;

    ignore_result(clock_parse(text, &ns, NULL) < 0);
    return ns;
}

int image_history(struct images *s, struct image *i, struct api_image_history_item_list *ret, struct err *e) {
    const struct layer *layer = i->top;
    _cleanup_free_ char *id = strdup(i->id); /* of the image and then of those it was made from, as far as they are known here */

    if (!id)
        return err_oom(e);
    ret->set = true;
    /* From the top down; layers belong to the entries that are not empty. */
    for (size_t k = i->n_history; k-- > 0;) {
        const struct image_history *h = &i->history[k];
        struct api_image_history_item *item = api_image_history_item_list_add(ret);
        int r;

        if (!item)
            return err_oom(e);
        item->created = h->created ? image_unix_seconds(history_time(h->created)) : 0;
        item->size = 0;
        item->has_created = item->has_size = true;
        if (!h->empty_layer) {
            if (!layer)
                return err_set(e, ERR_INTERNAL, "too many non-empty layers in History section");
            item->size = layer_size(layer);
            layer = layer_parent(layer);
        }
        r = set_text(&item->id, id ? id : "<missing>", e);
        if (r == 0)
            r = set_text(&item->created_by, h->created_by ? h->created_by : "", e);
        if (r == 0)
            r = set_text(&item->comment, h->comment ? h->comment : "", e);
        if (r == 0 && id) {
            char *parent = images_parent(s, id);

            r = split_names(s, id, &item->tags, NULL, e);
            item->tags.set = item->tags.n > 0;
            free(id);
            id = parent;
        }
        if (r < 0)
            return r;
    }
    return 0;
}
