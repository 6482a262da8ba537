// SPDX-License-Identifier: Apache-2.0
/*
 * inflate.h - one stream in, plain bytes out, whatever it was compressed with: gzip, zstd, bzip2, xz or nothing (told by the first bytes).
 *
 * Used inside the cage only. Bounded: zstd windows of at most 128 MiB, xz memory likewise, and an expansion of more than 1:1000 is an error once
 * the output passes 1 GiB. Concatenated members are read as one. A wrong trailer is an error; zero bytes after the last member are accepted.
 */
#ifndef HATAKE_LAYERS_INFLATE_H
#define HATAKE_LAYERS_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Next compressed bytes: as tar_fill_fn. */
typedef int64_t (*inflate_fill_fn)(void *arg, const unsigned char **ret_p, struct err *e);

enum inflate_kind { INFLATE_NONE, INFLATE_GZIP, INFLATE_ZSTD, INFLATE_BZIP2, INFLATE_XZ };

struct inflate;

/* What the first bytes (10 are enough) say. */
enum inflate_kind inflate_sniff(const unsigned char *p, size_t n);
struct inflate *inflate_new(inflate_fill_fn fill, void *arg);
struct inflate *inflate_free(struct inflate *s);
/* Forget everything and begin a new stream, keeping the memory. */
void inflate_restart(struct inflate *s);
/* Next plain bytes, valid until the call after the next (as far as those of the fill are): their number, 0 at the end, <0 with e set. */
int64_t inflate_read(struct inflate *s, const unsigned char **ret_p, struct err *e);

#endif
