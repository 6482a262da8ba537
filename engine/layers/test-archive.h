// SPDX-License-Identifier: Apache-2.0
/*
 * test-archive.h - archives of plain files, and layers made of them, for tests: archive_add() for each file, archive_end(), archive_store().
 */
#ifndef HATAKE_LAYERS_TEST_ARCHIVE_H
#define HATAKE_LAYERS_TEST_ARCHIVE_H

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "layers/unpack.h"

/* A file of n bytes. ustar, which is all that tests need. */
static inline void archive_add(struct buf *b, const char *name, const void *data, size_t n) {
    static const char zeros[512];
    char h[512] = "";
    unsigned sum = 0;

    snprintf(h, 100, "%s", name);
    snprintf(h + 100, 8, "%07o", 0644);
    snprintf(h + 108, 8, "%07o", 0);
    snprintf(h + 116, 8, "%07o", 0);
    snprintf(h + 124, 12, "%011zo", n);
    snprintf(h + 136, 12, "%011o", 1700000000);
    h[156] = '0';
    memcpy(h + 257, "ustar\00000", 8);
    memset(h + 148, ' ', 8);
    for (size_t i = 0; i < sizeof h; i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    buf_add(b, h, sizeof h);
    buf_add(b, data, n);
    buf_add(b, zeros, (size_t)(-(int64_t)n & 511));
}

static inline void archive_end(struct buf *b) {
    static const char zeros[1024];

    buf_add(b, zeros, sizeof zeros);
}

static inline int archive_take_layer(void *arg, const struct unpack_event *ev, struct err *e) {
    if (ev->type == UNPACK_LAYER)
        *(struct unpack_event *)arg = *ev;
    return 0;
}

/* The archive as a layer on parent, said to have come in that blob (NULL: in none). *ret is counted. */
static inline int archive_store(struct layers *layers, struct layer *parent, const struct buf *archive, const char *blob, struct layer **ret,
                                struct err *e) {
    struct unpack_event ev = {0};
    struct unpack *u = NULL;
    int r = unpack_start(layers, false, archive_take_layer, &ev, &u, e);

    if (r == 0)
        r = unpack_feed(u, archive->data, archive->len, e);
    if (r == 0)
        r = unpack_finish(u, e);
    if (r == 0 && blob)
        unpack_came_from(u, blob, false);
    if (r == 0)
        r = layers_register(layers, parent, u, 0, ev.diff_id, ev.size, ev.archive_size, ret, e);
    unpack_free(u);
    return r;
}

#endif
