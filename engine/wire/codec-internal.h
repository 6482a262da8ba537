// SPDX-License-Identifier: Apache-2.0
/* codec-internal.h - what the files codec*.c share. Nobody else includes it. */
#ifndef HATAKE_WIRE_CODEC_INTERNAL_H
#define HATAKE_WIRE_CODEC_INTERNAL_H

#include "wire/codec.h"

/* Every list, map and set has this layout. */
struct codec_list {
    size_t n;
    void *v;
    bool set;
};

/* Paths in error texts are cut here; names in the description are far shorter. */
#define CODEC_PATH_MAX 4096

void codec_done_slot(const struct codec_schema *s, unsigned type, void *slot);

/* Shortest decimal text that reads back as the same number, in Go's encoding/json form. */
void codec_format_double(double v, char *out, size_t size);

#endif
