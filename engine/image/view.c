// SPDX-License-Identifier: Apache-2.0
/* What clients see of images: inspect, list, history. */
#include "image/view.h"

#include <fnmatch.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/moment.h"
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
    if (i->created_ns != CLOCK_ZERO || i->created) {
        clock_format(i->created_ns, time);
        r = set_text(&ret->created, time, e);
    }
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

static int64_t unix_seconds(const char *text) {
    int64_t ns;

    if (!text || clock_parse(text, &ns, NULL) < 0)
        return INT64_C(-62135596800); /* Go's zero time */
    return ns >= 0 ? ns / NSEC_PER_SEC : -((-ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC);
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
        item->created = unix_seconds(h->created);
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

/* ---- list -------------------------------------------------------------------------------------------------------------------------- */

struct listing {
    struct images *images;
    const struct filters *filters;
    bool all, shared, none, dangling_set, dangling;
    int64_t before, since, until; /* CLOCK_ZERO: not asked for */
};

static int time_bound(struct images *s, const struct filters *f, const char *key, int64_t *ret, bool earliest, struct err *e) {
    const struct strv *v = filters_get(f, key);

    *ret = CLOCK_ZERO;
    for (size_t k = 0; v && k < v->n; k++) {
        _cleanup_image_ struct image *i = NULL;
        int r = images_resolve(s, v->v[k], &i, e);

        if (r < 0)
            return r;
        if (*ret == CLOCK_ZERO || (earliest ? i->created_ns < *ret : i->created_ns > *ret))
            *ret = i->created_ns;
    }
    return 0;
}

/* Lists take several, and the last decides. */
static int image_until(const struct filters *f, int64_t *ret, struct err *e) {
    const struct strv *until = filters_get(f, "until");

    *ret = CLOCK_ZERO;
    for (size_t k = 0; until && k < until->n; k++) {
        int r = moment_parse(until->v[k], clock_wall_ns(), ret, e);

        if (r < 0)
            return r;
    }
    return 0;
}

/* Go's path.Match on the familiar name, or on it with its tag. */
static bool name_matches(const struct strv *patterns, const struct reference *ref) {
    struct reference bare = {ref->domain, ref->path, NULL, NULL};
    _cleanup_free_ char *full = reference_familiar(ref), *name = reference_familiar(&bare);

    for (size_t k = 0; full && name && k < patterns->n; k++)
        if (fnmatch(patterns->v[k], full, FNM_PATHNAME) == 0 || fnmatch(patterns->v[k], name, FNM_PATHNAME) == 0)
            return true;
    return false;
}

static int check_patterns(const struct strv *patterns, struct err *e) {
    for (size_t k = 0; patterns && k < patterns->n; k++)
        for (const char *p = patterns->v[k]; *p; p++) {
            if (*p == '\\' && !*++p)
                return err_set(e, ERR_INTERNAL, "syntax error in pattern");
            if (*p == '[' && !(p = strchr(p + 1, ']')))
                return err_set(e, ERR_INTERNAL, "syntax error in pattern");
        }
    return 0;
}

bool image_labels_match(const struct filters *f, const struct image *i) {
    _cleanup_strv_ struct strv pairs = STRV_INIT;
    const struct strv *refused = filters_get(f, "label!");

    for (size_t k = 0; k < i->config.labels.n; k++)
        ignore_result(strv_addf(&pairs, "%s=%s", i->config.labels.v[k].key, i->config.labels.v[k].value) < 0);
    if (!filters_kv(f, "label", &pairs))
        return false;
    for (size_t k = 0; refused && k < refused->n; k++) {
        const char *eq = strchr(refused->v[k], '=');
        _cleanup_free_ char *key = eq ? strndup(refused->v[k], (size_t)(eq - refused->v[k])) : strdup(refused->v[k]);
        const char *have = key ? strv_env_get(&pairs, key) : NULL;

        if (have && (!eq || streq(have, eq + 1)))
            return false;
    }
    return true;
}

/* Bytes of the image's layers that another image has too. */
static int64_t shared_size(struct images *s, const struct image *i) {
    struct image_list all = {0};
    int64_t sum = 0;

    if (images_all(s, &all, NULL) < 0)
        return -1;
    for (const struct layer *p = i->top; p; p = layer_parent(p)) {
        bool shared = false;

        for (size_t k = 0; !shared && k < all.n; k++)
            for (const struct layer *q = all.v[k]->top; all.v[k] != i && q && !shared; q = layer_parent(q))
                shared = q == p;
        if (shared)
            sum += layer_size(p);
    }
    image_list_done(&all);
    return sum;
}

/* Names of the summary, filtered by `reference`: 1 keep, 0 leave the image out. */
static int summary_names(const struct listing *l, const struct image *i, struct api_image_summary *sum, struct err *e) {
    const struct strv *patterns = filters_get(l->filters, "reference");
    _cleanup_strv_ struct strv names = STRV_INIT;
    int r = images_names_of(l->images, i->id, &names, e);

    sum->repo_tags.set = sum->repo_digests.set = !l->none;
    for (size_t k = 0; r == 0 && k < names.n; k++) {
        _cleanup_reference_ struct reference ref = REFERENCE_INIT;
        _cleanup_free_ char *shown = NULL;

        r = reference_parse(names.v[k], &ref, e);
        if (r < 0)
            return r;
        if (patterns && patterns->n && !name_matches(patterns, &ref))
            continue;
        shown = reference_familiar(&ref);
        r = shown ? api_string_list_add(ref.digest ? &sum->repo_digests : &sum->repo_tags, shown, e) : err_oom(e);
    }
    if (r < 0)
        return r;
    if (sum->repo_tags.n || sum->repo_digests.n) /* it has names that fit: dangling=true wants none with a tag */
        return !(l->dangling_set && l->dangling && sum->repo_tags.n);
    if (patterns && patterns->n)
        return 0;
    if (l->dangling_set && !l->dangling)
        return 0;
    return l->all || !images_has_children(l->images, i->id);
}

static int add_summary(const struct listing *l, const struct image *i, struct api_image_summary_list *ret, struct err *e) {
    struct api_image_summary sum = {0}, *slot;
    _cleanup_free_ char *parent = NULL;
    int r;

    if ((l->before != CLOCK_ZERO && i->created_ns >= l->before) || (l->since != CLOCK_ZERO && i->created_ns <= l->since) ||
        (l->until != CLOCK_ZERO && i->created_ns >= l->until) || !image_labels_match(l->filters, i))
        return 0;
    r = summary_names(l, i, &sum, e);
    if (r <= 0) {
        api_image_summary_done(&sum);
        return r;
    }
    if (l->none && sum.repo_tags.n == 0 && sum.repo_digests.n == 0 &&
        (api_string_list_add(&sum.repo_tags, "<none>:<none>", e) < 0 || api_string_list_add(&sum.repo_digests, "<none>@<none>", e) < 0)) {
        api_image_summary_done(&sum);
        return -ERR_INTERNAL;
    }
    parent = images_parent(l->images, i->id);
    sum.created = i->created_ns == CLOCK_ZERO ? INT64_C(-62135596800) : unix_seconds(i->created);
    sum.size = sum.virtual_size = i->top ? layer_chain_size(i->top) : 0;
    sum.shared_size = l->shared ? shared_size(l->images, i) : -1;
    sum.containers = -1;
    sum.has_created = sum.has_size = sum.has_virtual_size = sum.has_shared_size = sum.has_containers = true;
    r = set_text(&sum.id, i->id, e);
    if (r == 0)
        r = set_text(&sum.parent_id, parent ? parent : "", e);
    for (size_t k = 0; r == 0 && k < i->config.labels.n; k++)
        r = api_string_map_set(&sum.labels, i->config.labels.v[k].key, i->config.labels.v[k].value, e);
    if (i->config.labels.set)
        sum.labels.set = true;
    slot = r == 0 ? api_image_summary_list_add(ret) : NULL;
    if (slot)
        *slot = sum;
    else
        api_image_summary_done(&sum);
    return slot ? 0 : r < 0 ? r : err_oom(e);
}

static int newest_first(const void *a, const void *b) {
    const struct image *x = *(struct image *const *)a, *y = *(struct image *const *)b;

    if (x->created_ns != y->created_ns)
        return x->created_ns < y->created_ns ? 1 : -1;
    return strcmp(x->id, y->id);
}

int image_list(struct images *s, bool all, bool shared, bool none, const struct filters *f, struct api_image_summary_list *ret, struct err *e) {
    static const char *const accepted[] = {"dangling", "label", "label!", "before", "since", "reference", "until", NULL};
    struct listing l = {.images = s, .filters = f, .all = all, .shared = shared, .none = none, .until = CLOCK_ZERO};
    struct image_list list = {0};
    int r = filters_validate(f, accepted, e);

    if (r == 0 && filters_has(f, "dangling")) {
        l.dangling_set = true;
        r = filters_bool(f, "dangling", false, &l.dangling, e);
    }
    if (r == 0)
        r = time_bound(s, f, "before", &l.before, true, e);
    if (r == 0)
        r = time_bound(s, f, "since", &l.since, false, e);
    if (r == 0)
        r = image_until(f, &l.until, e);
    if (r == 0)
        r = check_patterns(filters_get(f, "reference"), e);
    if (r == 0)
        r = images_all(s, &list, e);
    if (r == 0)
        qsort(list.v, list.n, sizeof *list.v, newest_first);
    ret->set = true;
    for (size_t k = 0; r == 0 && k < list.n; k++)
        r = add_summary(&l, list.v[k], ret, e);
    image_list_done(&list);
    return r;
}
