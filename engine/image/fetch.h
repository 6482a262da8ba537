// SPDX-License-Identifier: Apache-2.0
/*
 * fetch.h - layers on their way in: download, hash, inflate, hash, unpack in one pass each, shared by all pulls of the engine.
 *
 * Whoever wants a layer joins its fetch; the first one begins it. As many run at a time as the configuration allows (max-concurrent-downloads), the others wait their
 * turn. A fetch ends early when everybody has left. What a download brought goes to content/, so that a broken one goes on from there.
 *
 * A fetch never writes to a client: who joined looks at its state when fetches_wait() says that something moved. A client that reads slowly holds up nobody.
 *
 * Life cycle: fetch_join, fetches_wait and fetch_look until FETCH_READY or FETCH_FAILED, fetch_register or fetch_error, fetch_leave.
 * Threads: any. Threads of its own run while there is work.
 */
#ifndef HATAKE_IMAGE_FETCH_H
#define HATAKE_IMAGE_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct content;
struct engine;
struct fetch;
struct fetches;
struct layer;
struct layers;
struct registry_session;

#define FETCHES_DEFAULT 3 /* at a time, where the configuration does not say */
#define FETCHES_MAX 16

int fetches_new(const struct engine *engine, struct layers *layers, struct content *content, struct fetches **ret, struct err *e);
/* Nobody may be joined; waits for what still ends. NULL is fine. Returns NULL. */
struct fetches *fetches_free(struct fetches *s);

struct fetch_want {
    const char *digest, *diff_id; /* of the blob; of the archive in it */
    const char *chain_id;         /* what it becomes on the layers below it: by this a fetch is shared */
    int64_t size;                 /* of the blob */
    bool keep_blob;               /* the compressed bytes stay beside the layer */
    struct registry_session *session;
};
/* Join the fetch of this layer; begin it when there is none. Texts and session are kept by the fetch. *ret is for fetch_leave(). */
int fetch_join(struct fetches *s, const struct fetch_want *want, struct fetch **ret, struct err *e);
/*
 * Not wanted any more. When nobody else wants it either it ends: `keep` leaves what was downloaded so far for the next attempt. NULL is fine. Returns NULL.
 */
struct fetch *fetch_leave(struct fetch *f, bool keep);

enum fetch_phase {
    FETCH_WAITING,
    FETCH_DOWNLOADING,
    FETCH_VERIFYING,
    FETCH_DOWNLOADED, /* still being unpacked */
    FETCH_READY,
    FETCH_FAILED,
};
struct fetch_view {
    enum fetch_phase phase;
    int64_t have;  /* bytes of the blob that are there */
    bool waits;    /* for others to end */
    bool too_slow; /* FETCH_FAILED, because it held up others: what else its registry sends is not waited for */
};
struct fetch_view fetch_look(struct fetch *f);
/* Wait until a fetch has moved since *seen was written (begin with 0), `ms` milliseconds at most. */
void fetches_wait(struct fetches *s, uint64_t *seen, int ms);

/* FETCH_READY: make the layer on top of `parent`, or take the one that another who joined has made. *ret is counted. */
int fetch_register(struct fetch *f, struct layer *parent, struct layer **ret, struct err *e);
/* FETCH_FAILED: why. *ret_link: because of the registry or the way to it, not because of the bytes or this machine. */
int fetch_error(struct fetch *f, bool *ret_link, struct err *e);

#endif
