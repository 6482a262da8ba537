// SPDX-License-Identifier: Apache-2.0
/* The layers of a pull: asked for all at once, put on each other as they come, while the client is told about it. */
#include "base/cleanup.h"
#include "base/str.h"
#include "image/blobs.h"
#include "image/pull-internal.h"
#include "layers/unpack.h"
#include "wire/call.h"

#define PROGRESS_BYTES (INT64_C(512) << 10)
#define LOOK_MS 100 /* so long it may take to see that the client has gone */

/* What the client has not been told yet of the way a layer has come. */
static int show(struct pull *p, struct plan_layer *l, struct err *e) {
    struct fetch_view v = fetch_look(l->fetch);
    int r = 0;

    if (v.phase == FETCH_FAILED)
        return 0;
    if (v.have - l->shown >= PROGRESS_BYTES || (l->shown == 0 && v.have > 0 && v.have < l->size)) {
        l->shown = v.have;
        r = progress_bar(p->progress, l->id, "Downloading", v.have, l->size, e);
    }
    for (; r == 0 && l->told < v.phase; l->told++) {
        if (l->told + 1 == FETCH_VERIFYING)
            r = progress_bar(p->progress, l->id, "Verifying Checksum", 0, 0, e);
        else if (l->told + 1 == FETCH_DOWNLOADED)
            r = progress_bar(p->progress, l->id, "Download complete", 0, 0, e);
    }
    return r;
}

/* For pushes to come. hashed: the bytes showed that blob and diff ID belong together. */
static int note_blob(struct pull *p, size_t i, bool hashed, struct err *e) {
    _cleanup_free_ char *repository = reference_name(&p->ref);
    const struct plan_layer *l = &p->layers[i];

    if (!repository)
        return err_oom(e);
    if (!l->gzip)
        return 0;
    return hashed ? blobs_note(p->images->db, p->image->diff_ids.v[i], l->digest, repository, NULL, e)
                  : blobs_note_claim(p->images->db, p->image->diff_ids.v[i], l->digest, repository, e);
}

/* Put a layer that has come, or that came below as well, on top of those below it. */
static int add_layer(struct pull *p, struct plan_layer *l, const char *diff_id, struct layer **top, struct err *e) {
    struct layer *next;
    int r = progress_bar(p->progress, l->id, "Extracting", l->size, l->size, e);

    if (r == 0 && l->fetch)
        r = fetch_register(l->fetch, *top, &next, e);
    else if (r == 0)
        r = layers_register_known(p->images->layers, *top, diff_id, &next, e);
    if (r < 0)
        return r;
    layer_unref(*top); /* the next one counts it */
    *top = next;
    return progress_bar(p->progress, l->id, "Pull complete", 0, 0, e);
}

/* The same blob further down: it comes once. */
static bool is_below(const struct pull *p, size_t first, size_t k) {
    for (size_t i = first; i < k; i++)
        if (streq(p->layers[i].digest, p->layers[k].digest) && streq(p->image->diff_ids.v[i], p->image->diff_ids.v[k]))
            return true;
    return false;
}

/* Once the client knows what there is, as the reference has it. */
static int check_os(const struct pull *p, struct err *e) {
    if (str_empty(image_os(p->image)) || streq(image_os(p->image), "linux"))
        return 0;
    return err_set(e, ERR_INTERNAL, "image operating system \"%s\" cannot be used on this platform: operating system is not supported",
                   image_os(p->image));
}

/* Ask for all layers from the first missing one on; `top` is below it. */
static int join_fetches(struct pull *p, size_t first, const struct layer *top, struct err *e) {
    char chain[2][72] = {{0}};
    int r = 0;

    if (top)
        snprintf(chain[first & 1], sizeof chain[0], "%s", layer_chain_id(top));
    for (size_t i = first; r == 0 && i < p->n_layers; i++)
        r = progress_bar(p->progress, p->layers[i].id, "Pulling fs layer", 0, 0, e);
    if (r == 0)
        r = check_os(p, e);
    for (size_t i = first; r == 0 && i < p->n_layers; i++) {
        struct plan_layer *l = &p->layers[i];
        struct fetch_want want = {l->digest, p->image->diff_ids.v[i], chain[(i + 1) & 1], l->size, l->gzip, p->session};

        layer_chain_id_of(chain[i & 1], want.diff_id, chain[(i + 1) & 1]);
        if (is_below(p, first, i))
            continue;
        r = fetch_join(p->images->fetches, &want, &l->fetch, e);
        if (r == 0 && fetch_look(l->fetch).waits)
            r = progress_bar(p->progress, l->id, "Waiting", 0, 0, e);
    }
    return r;
}

/* The lowest layer that failed, n_layers when none has. Those above it are not waited for; those below still come, as clients know it. */
static size_t first_failed(struct pull *p) {
    size_t k = 0;

    while (k < p->n_layers && !(p->layers[k].fetch && fetch_look(p->layers[k].fetch).phase == FETCH_FAILED))
        k++;
    for (size_t i = k + 1; i < p->n_layers; i++) {
        bool link = false;

        ignore_result(fetch_error(p->layers[k].fetch, &link, NULL) < 0);
        p->layers[i].fetch = fetch_leave(p->layers[i].fetch, link && !call_gone(p->call));
    }
    return k;
}

static bool has_come(const struct plan_layer *l) {
    return !l->fetch || fetch_look(l->fetch).phase == FETCH_READY;
}

/* Tell the client how it goes, and put the layers on each other as they come. */
static int follow_fetches(struct pull *p, size_t next, struct layer **top, struct err *e) {
    uint64_t seen = 0;

    while (next < p->n_layers) {
        size_t failed;
        int r = 0;

        fetches_wait(p->images->fetches, &seen, LOOK_MS);
        if (call_gone(p->call))
            return err_set(e, ERR_CANCELLED, "context canceled");
        failed = first_failed(p);
        for (size_t i = next; r == 0 && i < failed; i++)
            if (p->layers[i].fetch)
                r = show(p, &p->layers[i], e);
        while (r == 0 && next < failed && has_come(&p->layers[next])) {
            if (p->layers[next].fetch)
                r = show(p, &p->layers[next], e);
            if (r == 0)
                r = add_layer(p, &p->layers[next], p->image->diff_ids.v[next], top, e);
            if (r == 0)
                r = note_blob(p, next, true, e);
            next++;
        }
        if (r < 0)
            return r;
        if (failed < p->n_layers && (next == failed || fetch_look(p->layers[failed].fetch).too_slow))
            return fetch_error(p->layers[failed].fetch, &p->link_failed, e);
    }
    return 0;
}

/* Layers from the lowest up: those that are there already, then the rest as they come. */
int pull_layers(struct pull *p, struct layer **ret_top, struct err *e) {
    struct layer *top = NULL, *next;
    size_t k = 0;
    int r = 0;

    for (; r == 0 && k < p->n_layers; k++) {
        char chain[72];

        layer_chain_id_of(top ? layer_chain_id(top) : NULL, p->image->diff_ids.v[k], chain);
        next = layers_get(p->images->layers, chain);
        if (!next)
            break;
        layer_unref(top);
        top = next;
        r = progress_bar(p->progress, p->layers[k].id, "Already exists", 0, 0, e);
        if (r == 0)
            r = note_blob(p, k, false, e);
    }
    if (r == 0)
        r = join_fetches(p, k, top, e);
    if (r == 0)
        r = follow_fetches(p, k, &top, e);
    for (size_t i = 0; i < p->n_layers; i++)
        p->layers[i].fetch = fetch_leave(p->layers[i].fetch, p->link_failed && !call_gone(p->call));
    if (r < 0) {
        layer_unref(top);
        return r;
    }
    *ret_top = top;
    return 0;
}
