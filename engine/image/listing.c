// SPDX-License-Identifier: Apache-2.0
/* Lists of images. Sections: filters; what is looked up once for a whole list; entries. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/moment.h"
#include "base/str.h"
#include "image/glob.h"
#include "image/image-internal.h"
#include "image/view.h"
#include "wire/filters.h"

static int set_text(char **slot, const char *value, struct err *e) {
    return str_set(slot, value) < 0 ? err_oom(e) : 0;
}

struct listing {
    struct images *images;
    const struct filters *filters;
    unsigned flags;
    bool dangling_set, dangling;
    int64_t before, since, until; /* CLOCK_ZERO: not asked for */
    struct image_name **names;    /* of all images, by image */
    size_t n_names;
    const struct layer **shared_layers;
    size_t n_shared_layers;
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

/* Of several the earliest decides: an image has to be older than each. */
static int image_until(const struct filters *f, int64_t *ret, struct err *e) {
    const struct strv *until = filters_get(f, "until");

    *ret = CLOCK_ZERO;
    for (size_t k = 0; until && k < until->n; k++) {
        int64_t moment;

        if (moment_parse(until->v[k], clock_wall_ns(), &moment, e) < 0) {
            if (e)
                e->kind = ERR_INTERNAL; /* prune answers 400 to the same, lists 500 */
            return -ERR_INTERNAL;
        }
        if (*ret == CLOCK_ZERO || moment < *ret)
            *ret = moment;
    }
    return 0;
}

/* The familiar name, or that with its tag. */
static bool name_matches(const struct strv *patterns, const struct reference *ref) {
    struct reference bare = {ref->domain, ref->path, NULL, NULL};
    _cleanup_free_ char *full = reference_familiar(ref), *name = reference_familiar(&bare);

    for (size_t k = 0; full && name && k < patterns->n; k++)
        if (glob_match(patterns->v[k], full) || glob_match(patterns->v[k], name))
            return true;
    return false;
}

static int check_patterns(const struct strv *patterns, struct err *e) {
    for (size_t k = 0; patterns && k < patterns->n; k++)
        if (!glob_is_valid(patterns->v[k]))
            return err_set(e, ERR_INTERNAL, "syntax error in pattern");
    return 0;
}

bool image_labels_match(const struct filters *f, const struct image *i) {
    _cleanup_strv_ struct strv pairs = STRV_INIT;
    const struct strv *refused = filters_get(f, "label!");

    if (!refused && !filters_get(f, "label"))
        return true;
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

/* ---- what is looked up once for a whole list --------------------------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b) {
    const struct layer *x = *(const struct layer *const *)a, *y = *(const struct layer *const *)b;

    return x < y ? -1 : x > y;
}

/* Layers that more than one image has, sorted by address. */
static int find_shared(const struct image_list *all, const struct layer ***ret, size_t *ret_n, struct err *e) {
    const struct layer **v;
    size_t n = 0, kept = 0;

    for (size_t i = 0; i < all->n; i++)
        n += all->v[i]->top ? (size_t)layer_depth(all->v[i]->top) : 0;
    v = calloc(n + 1, sizeof *v);
    if (!v)
        return err_oom(e);
    n = 0;
    for (size_t i = 0; i < all->n; i++)
        for (const struct layer *p = all->v[i]->top; p; p = layer_parent(p))
            v[n++] = p;
    qsort(v, n, sizeof(*v), by_address);
    for (size_t i = 0; i < n; i++)
        if (i + 1 < n && v[i] == v[i + 1] && (kept == 0 || v[kept - 1] != v[i]))
            v[kept++] = v[i];
    *ret = v;
    *ret_n = kept;
    return 0;
}

/* Bytes of the image's layers that another image has too. Below a shared layer all are. */
static int64_t shared_size(const struct listing *l, const struct image *i) {
    const struct layer *p = i->top;

    while (p && !bsearch(&p, l->shared_layers, l->n_shared_layers, sizeof(*l->shared_layers), by_address))
        p = layer_parent(p);
    return p ? layer_chain_size(p) : 0;
}

static int by_image(const void *a, const void *b) {
    const struct image_name *x = *(struct image_name *const *)a, *y = *(struct image_name *const *)b;
    int d = strcmp(x->image_id, y->image_id);

    return d ? d : strcmp(x->canonical, y->canonical);
}

/* Where the names of an image begin among those of all. */
static size_t first_name(const struct listing *l, const char *id) {
    size_t from = 0, to = l->n_names;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (strcmp(l->names[middle]->image_id, id) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* ---- entries ------------------------------------------------------------------------------------------------------------------------------- */

/* Names of the summary, filtered by `reference`: 1 keep, 0 leave the image out. */
static int summary_names(const struct listing *l, const struct image *i, struct api_image_summary *sum, struct err *e) {
    const struct strv *patterns = filters_get(l->filters, "reference");
    int r = 0;

    sum->repo_tags.set = sum->repo_digests.set = !(l->flags & (IMAGE_LIST_NONE | IMAGE_LIST_NULL));
    for (size_t k = first_name(l, i->id); r == 0 && k < l->n_names && streq(l->names[k]->image_id, i->id); k++) {
        const struct image_name *name = l->names[k];

        if (!patterns || !patterns->n || name_matches(patterns, &name->ref))
            r = api_string_list_add(name->ref.digest ? &sum->repo_digests : &sum->repo_tags, name->shown, e);
    }
    if (r < 0)
        return r;
    if (sum->repo_tags.n || sum->repo_digests.n) /* it has names that fit: dangling=true wants none with a tag */
        return !(l->dangling_set && l->dangling && sum->repo_tags.n);
    if (patterns && patterns->n)
        return 0;
    if (l->dangling_set && !l->dangling)
        return 0;
    return (l->flags & IMAGE_LIST_ALL) || !images_has_children(l->images, i->id);
}

static int add_summary(const struct listing *l, const struct image *i, struct api_image_summary_list *ret, struct err *e) {
    const struct images *s = l->images;
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
    if ((l->flags & IMAGE_LIST_NONE) && sum.repo_tags.n == 0 && sum.repo_digests.n == 0 &&
        (api_string_list_add(&sum.repo_tags, "<none>:<none>", e) < 0 || api_string_list_add(&sum.repo_digests, "<none>@<none>", e) < 0)) {
        api_image_summary_done(&sum);
        return -ERR_INTERNAL;
    }
    parent = images_parent(l->images, i->id);
    sum.created = i->created ? image_unix_seconds(i->created_ns) : 0;
    sum.size = sum.virtual_size = i->top ? layer_chain_size(i->top) : 0;
    sum.shared_size = l->flags & IMAGE_LIST_SHARED ? shared_size(l, i) : -1;
    sum.containers = l->flags & IMAGE_LIST_USERS && s->users ? s->users(s->users_arg, i->id) : -1;
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

int image_list(struct images *s, unsigned flags, const struct filters *f, struct api_image_summary_list *ret, struct err *e) {
    static const char *const accepted[] = {"dangling", "label", "before", "since", "reference", "until", NULL};
    struct listing l = {.images = s, .filters = f, .flags = flags, .until = CLOCK_ZERO};
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
        r = images_all_names(s, &l.names, &l.n_names, e);
    if (r == 0 && (flags & IMAGE_LIST_SHARED))
        r = find_shared(&list, &l.shared_layers, &l.n_shared_layers, e);
    if (r == 0) {
        qsort(list.v, list.n, sizeof *list.v, newest_first);
        qsort(l.names, l.n_names, sizeof(*l.names), by_image);
    }
    ret->set = true;
    for (size_t k = 0; r == 0 && k < list.n; k++)
        r = add_summary(&l, list.v[k], ret, e);
    image_list_done(&list);
    image_names_free(l.names, l.n_names);
    free(l.shared_layers);
    return r;
}
