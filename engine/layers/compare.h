// SPDX-License-Identifier: Apache-2.0
/*
 * compare.h - does a layer's folder hold what its archive says, and nothing else?
 *
 * The digest of the archive made again (framing.h) covers the bytes of files, but not what a folder has beside them: a mode or a link that changed, something that is gone
 * without having bytes, something that came from elsewhere. Meant for archives whose digest is right: the same reader took the same bytes when the layer was unpacked in the
 * cage. Owners are left out (they may be shifted). For folders of overlayfs: those of vfs hold the layers below as well.
 * Threads: one call at a time per folder; it has a thread of its own meanwhile. SIGPIPE must be ignored.
 */
#ifndef HATAKE_LAYERS_COMPARE_H
#define HATAKE_LAYERS_COMPARE_H

#include "base/err.h"

/* Told of each difference: the path in the layer and what is wrong with it ("is gone", "is not of the layer", ...). */
typedef void layer_odd_fn(void *arg, const char *path, const char *what);
/* record and dirfd as for framing_replay(). 0 when everything was compared, however odd. */
int layer_compare(int record, int dirfd, layer_odd_fn *odd, void *arg, struct err *e);

#endif
