// SPDX-License-Identifier: Apache-2.0
/*
 * pull-internal.h - one pull under way, shared by pull.c (names, the request), pull-manifest.c (what there is to fetch) and pull-layers.c (fetching it).
 *
 * Life cycle: a struct pull lives as long as the request; image and layers are those of the tag under way. Threads: the request's only; what fetches layers is behind fetch.h.
 */
#ifndef HATAKE_IMAGE_PULL_INTERNAL_H
#define HATAKE_IMAGE_PULL_INTERNAL_H

#include <jansson.h>

#include "base/id.h"
#include "image/fetch.h"
#include "image/image-internal.h"
#include "image/platform.h"
#include "registry/registry.h"

struct plan_layer {
    char *digest;
    int64_t size;
    char id[ID_SHORT_LEN + 1];
    struct fetch *fetch; /* NULL: it is there, or the same blob comes further down */
    enum fetch_phase told;
    int64_t shown; /* bytes the client knows of */
    bool gzip;
};

struct pull {
    struct images *images;
    struct call *call;
    struct progress *progress;
    struct registry_session *session;
    struct reference ref; /* with tag or digest */
    struct platform want;
    char manifest_digest[72]; /* what the name points to: an index or a manifest */
    struct image *image;
    struct plan_layer *layers;
    size_t n_layers;
    bool link_failed; /* a download broke off */
};

/* ---- pull-manifest.c */
/*
 * Follow the name down to the image manifest that suits the wanted platform: *ret (json_decref) and its digest; p->manifest_digest is what the name itself points to. Tells
 * the client that the pull begins. ERR_NOT_FOUND when no platform of an index suits.
 */
int pull_resolve(struct pull *p, json_t **ret, char ret_digest[72], struct err *e);
/* p->image from the manifest's configuration: one that is here, or fetched and checked. */
int pull_config(struct pull *p, json_t *manifest, struct err *e);
/* p->layers: the blobs of the image's layers, lowest first. */
int pull_plan(struct pull *p, json_t *manifest, struct err *e);

/* ---- pull-layers.c */
/* All of p->layers, those that are here left out. *ret_top: the top layer, counted; NULL for an image without any. */
int pull_layers(struct pull *p, struct layer **ret_top, struct err *e);

#endif
