// SPDX-License-Identifier: Apache-2.0
/*
 * unpack.h - the engine's side of hatake-unpack: start it, feed it a stream, take its results, turn them into layers.
 *
 * Life cycle: unpack_start, unpack_feed as often as there are bytes (or unpack_start_file, unpack_advance), unpack_finish, then layers_register for the layers wanted, unpack_free. Everything
 * not registered disappears with unpack_free (also after a crash: the staging folder has an intent).
 * Threads: one at a time per object. unpack_feed blocks while the helper is busy (back-pressure); results are delivered from inside it.
 */
#ifndef HATAKE_LAYERS_UNPACK_H
#define HATAKE_LAYERS_UNPACK_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strv.h"
#include "layers/layers.h"
#include "layers/unpack-wire.h"

struct unpack;

struct unpack_event {
    enum unpack_frame type;
    const char *path; /* in the image archive; "" for a single layer */
    /* UNPACK_LAYER */
    int index; /* of the staging folder; -1: known layer, not unpacked */
    char diff_id[72], digest[72];
    int64_t size, archive_size, entries;
    /* UNPACK_FILE: contents; UNPACK_LINK: target (a leading '/': hard link) */
    const char *data;
    size_t n;
    /* UNPACK_PROGRESS */
    int64_t current, total;
};
typedef int (*unpack_event_fn)(void *arg, const struct unpack_event *ev, struct err *e);

/* Unpack one layer (`archive` false) or an image archive. Layers the store has already under some diff ID are not unpacked again from archives. */
int unpack_start(struct layers *l, bool archive, unpack_event_fn fn, void *arg, struct unpack **ret, struct err *e);
/*
 * Unpack one layer from a file that is still being written: unpack_advance() takes the place of unpack_feed(). fd is for reading, from offset 0. known_diff
 * (NULL: not known) is the diff ID that the archive has if the file's digest is the right one: it is not computed then, and the event has none.
 */
int unpack_start_file(struct layers *l, int fd, const char *known_diff, unpack_event_fn fn, void *arg, struct unpack **ret, struct err *e);
/* The first `have` bytes of the file may be read. Never fewer than before. */
int unpack_advance(struct unpack *u, int64_t have, struct err *e);
/* Hand over n bytes. The helper's own error (bad archive, disk full) is returned as soon as it is known. */
int unpack_feed(struct unpack *u, const void *p, size_t n, struct err *e);
/* The stream is complete: wait for the last results. */
int unpack_finish(struct unpack *u, struct err *e);
/* Where the blob that layer `index` was made of goes, to be kept with it (unpack_came_from). Fresh memory, or NULL. */
char *unpack_blob_path(const struct unpack *u, int index);
/* The single layer of u came in the blob of that digest, which the caller has checked. kept: it was moved to unpack_blob_path(). Before layers_register(). */
void unpack_came_from(struct unpack *u, const char *digest, bool kept);
/* Stop the helper if it runs, remove what was not registered. NULL is fine. Returns NULL. */
struct unpack *unpack_free(struct unpack *u);

/*
 * Make layer `index` of a finished unpack the child of `parent` (NULL: lowest). If the store has that chain already, it is returned and
 * the new folder dropped. *ret gets a counted reference. The same index can be registered once only.
 */
int layers_register(struct layers *l, struct layer *parent, struct unpack *u, int index, const char *diff_id, int64_t size, int64_t archive_size,
                    struct layer **ret, struct err *e);
/* Register a copy of a layer the store has with the same diff ID under another parent ("known" layers of archives). ERR_NOT_FOUND without one. */
int layers_register_known(struct layers *l, struct layer *parent, const char *diff_id, struct layer **ret, struct err *e);

/* The archive of a layer, byte for byte (diff ID checked while streaming: ERR_INTERNAL at the end when it differs). */
typedef int (*layer_sink_fn)(void *arg, const void *p, size_t n, struct err *e);
int layer_archive(struct layer *layer, layer_sink_fn sink, void *arg, struct err *e);
int64_t layer_archive_size(const struct layer *layer);

#endif
