// SPDX-License-Identifier: Apache-2.0
/*
 * framing.h - the compact record of a layer archive's framing, from which the exact archive (same diff ID) is made again.
 *
 * A record is a zstd stream of items: raw bytes (headers, padding, trailer) as they were, and references to file data in the unpacked folder: "file
 * P from offset O, length L". File data itself is not in it. The writer runs in the cage, the reader in the engine; the reader believes nothing:
 * paths are resolved below the folder (RESOLVE_IN_ROOT), lengths are bounded, and the caller checks the digest of what comes out.
 *
 * Items: 'R' len bytes | 'F' len path (the file that follows) | 'D' offset len | 'E' (end). Numbers are base-128, low bits first.
 * Threads: one at a time per object.
 */
#ifndef HATAKE_LAYERS_FRAMING_H
#define HATAKE_LAYERS_FRAMING_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

struct framing_writer;

/* Write to fd (borrowed). NULL when memory ran out. */
struct framing_writer *framing_writer_new(int fd);
struct framing_writer *framing_writer_free(struct framing_writer *w);
int framing_raw(struct framing_writer *w, const void *p, size_t n, struct err *e);
int framing_file(struct framing_writer *w, const char *path, struct err *e);
int framing_data(struct framing_writer *w, int64_t offset, int64_t length, struct err *e);
/* Write the end mark and flush everything. */
int framing_finish(struct framing_writer *w, struct err *e);

#define FRAMING_PIECE KIB(256)

/* Receives the archive's bytes, FRAMING_PIECE at a time and the rest at the end. */
typedef int (*framing_sink_fn)(void *arg, const void *p, size_t n, struct err *e);
/*
 * Make the archive again from record `fd` and folder `dirfd`. A file that became shorter than recorded is ERR_INTERNAL ("layer is damaged").
 * ret_total (may be NULL): bytes of the archive.
 */
int framing_replay(int fd, int dirfd, framing_sink_fn sink, void *arg, int64_t *ret_total, struct err *e);

#endif
