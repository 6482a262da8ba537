// SPDX-License-Identifier: Apache-2.0
/*
 * push-internal.h - one push under way, shared by push.c (names, configuration, manifest) and push-layers.c.
 *
 * Life cycle: a struct push lives as long as the request; `image` and `layers` are those of the tag under way and go with it. Threads: push_layers starts
 * threads of its own and waits for them; `next`, and setting `abort`, are under `lock`.
 */
#ifndef HATAKE_IMAGE_PUSH_INTERNAL_H
#define HATAKE_IMAGE_PUSH_INTERNAL_H

#include <pthread.h>

#include "base/id.h"
#include "base/map.h"
#include "image/image-internal.h"
#include "registry/registry.h"

struct push;

struct push_layer {
    struct push *push;
    struct layer *layer; /* borrowed from the image */
    char id[ID_SHORT_LEN + 1];
    struct push_layer *same; /* a layer above that is the same: it is sent once */
    /* results */
    char digest[72];
    int64_t size;
    int result;
    struct err error;
    /* while it is sent */
    int64_t shown_at;
};

struct push {
    struct images *images;
    struct call *call;
    struct progress *progress;
    struct registry_session *session;
    struct reference ref; /* borrowed; with the tag under way */
    char *repository;     /* its canonical name */
    const char *user;     /* "" without one */
    struct image *image;
    struct push_layer *layers; /* top first */
    size_t n_layers;
    struct map there; /* diff ID → digest and size, known to be in the repository since this push began */
    size_t next;      /* layer to take; under lock */
    bool abort;
    pthread_mutex_t lock;
};

/* The client has gone, or a layer has failed. arg: the struct push. */
bool push_cancelled(void *arg);
/* All layers of p->image: afterwards p->layers has the digest and size of each. The error is the first that was not just the echo of the end. */
int push_layers(struct push *p, struct err *e);

#endif
