// SPDX-License-Identifier: Apache-2.0
/*
 * extract.h - puts the entries of a layer archive into a folder.
 *
 * Runs in the cage. Every path is resolved with openat2(RESOLVE_IN_ROOT) below the folder's descriptor; names that climb above it are refused. Owners,
 * modes, times, extended attributes, hard links, devices, FIFOs and holes are kept. Whiteouts ("name.wh.") become what the
 * driver needs. Attributes private to overlayfs are refused silently: an archive cannot set them.
 * Semantics are those clients know from the reference: an entry replaces what an earlier one left at that place, folders merge, a missing parent is
 * made with mode 0755, the same name twice is an error.
 */
#ifndef HATAKE_LAYERS_EXTRACT_H
#define HATAKE_LAYERS_EXTRACT_H

#include <stdint.h>

#include "base/err.h"
#include "base/idmap.h"
#include "layers/framing.h"
#include "layers/tar.h"

enum whiteout_form {
    WHITEOUT_OVERLAY, /* character device 0:0, and trusted.overlay.opaque */
    WHITEOUT_FILE,    /* kept as the marker files of the archive; the driver reads them later */
};

struct extract_result {
    int64_t entries;
    int64_t size; /* bytes of regular files and of link targets, as the layer's size counts them */
};

/* Before each entry is opened and every few MiB: return <0 with e set to stop (disk reserve, progress). */
typedef int (*extract_tick_fn)(void *arg, int64_t bytes_written, struct err *e);

struct extract_how {
    int dir; /* borrowed */
    enum whiteout_form form;
    const struct idmap *ids; /* whose files become what the archive says of them; NULL: as it says. Borrowed */
};

/*
 * Unpack everything `r` delivers into a folder, recording the framing in w (raw bytes are recorded by the reader's listener). The umask must be 0.
 */
int extract_layer(struct tar_reader *r, const struct extract_how *how, struct framing_writer *w, extract_tick_fn tick, void *tick_arg,
                  struct extract_result *ret, struct err *e);

/*
 * Path of an entry without ".", "..", doubled and trailing slashes; "" for the root itself. One that climbs out stays at the root, as in a root directory.
 * `out` has room for strlen(name) + 1.
 */
void extract_clean_path(const char *name, char *out);

#endif
