// SPDX-License-Identifier: Apache-2.0
/*
 * files-holes.h - where a sparse file has data, for archives that keep its holes. Threads: any; no state.
 */
#ifndef HATAKE_CONTAINER_FILES_HOLES_H
#define HATAKE_CONTAINER_FILES_HOLES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/limits.h"

/* "OFFSET\nLENGTH\n" for each, and their number. */
#define FILES_HOLES_TEXT_MAX ((size_t)LIMIT_SPARSE_SEGMENTS * 42)

struct files_holes {
    struct {
        int64_t offset, length;
    } * v; /* ascending; the last ends where the file ends, with a length of 0 when that is a hole */
    size_t n;
};

/*
 * 1: the file has holes, and ret says what lies between them (files_holes_done); 0: it has none that matter. The file's position is moved.
 * A file in more pieces than archives may name keeps its first holes.
 */
int files_holes_read(int fd, const struct stat *st, struct files_holes *ret, struct err *e);
void files_holes_done(struct files_holes *h);

#endif
