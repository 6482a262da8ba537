// SPDX-License-Identifier: Apache-2.0
/*
 * squeeze.h - a layer's archive as gzip, made while somebody reads it.
 *
 * The same layer gives the same bytes each time: no time, no name, a fixed level, pieces of a fixed size. A thread makes the archive and compresses it ahead of the
 * reader, by at most SQUEEZE_AHEAD bytes.
 *
 * Life cycle: squeeze_new, squeeze_rewind before the first read and whenever all shall come again, squeeze_read until 0, squeeze_free. Threads: one user.
 */
#ifndef HATAKE_IMAGE_SQUEEZE_H
#define HATAKE_IMAGE_SQUEEZE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/limits.h"

#define SQUEEZE_AHEAD KIB(512)

struct layer;
struct squeeze;

/* Told now and then, from the inner thread, how many bytes of the archive were compressed. A negative value ends the work. */
typedef int squeeze_progress_fn(void *arg, int64_t bytes, bool last, struct err *e);

/* Takes a reference on the layer. progress may be NULL. */
int squeeze_new(struct layer *layer, squeeze_progress_fn *progress, void *arg, struct squeeze **ret, struct err *e);
/* NULL is fine. Returns NULL. */
struct squeeze *squeeze_free(struct squeeze *s);
/* arg: the struct squeeze. */
int squeeze_rewind(void *arg, struct err *e);
/* Next bytes, at most n; 0 at the end. Blocks while there are none. An archive that cannot be made again is an error here. */
ssize_t squeeze_read(void *arg, void *p, size_t n, struct err *e);

#endif
