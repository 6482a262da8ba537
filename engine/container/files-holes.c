// SPDX-License-Identifier: Apache-2.0
#include "container/files-holes.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"

#define UNIT 512 /* st_blocks counts these */

static int add(struct files_holes *h, size_t *cap, int64_t offset, int64_t length, struct err *e) {
    if (h->n == *cap) {
        size_t more = *cap ? *cap * 2 : 16;
        void *v = reallocarray(h->v, more, sizeof *h->v);

        if (!v)
            return err_oom(e);
        h->v = v;
        *cap = more;
    }
    h->v[h->n].offset = offset;
    h->v[h->n++].length = length;
    return 0;
}

int files_holes_read(int fd, const struct stat *st, struct files_holes *ret, struct err *e) {
    _cleanup_(files_holes_done) struct files_holes h = {0};
    int64_t at = 0, size = st->st_size;
    size_t cap = 0;
    int r = 0;

    if (st->st_blocks >= (size + UNIT - 1) / UNIT)
        return 0;
    while (r == 0 && at < size) {
        int64_t from = lseek(fd, at, SEEK_DATA), to;

        if (from < 0 && errno != ENXIO)
            return lseek(fd, 0, SEEK_SET) == 0 ? 0 : err_errno(e, errno, "seek"); /* a file system that knows no holes */
        if (from < 0 || from >= size)
            break;
        to = h.n + 2 < LIMIT_SPARSE_SEGMENTS ? lseek(fd, from, SEEK_HOLE) : size;
        if (to <= from || to > size)
            to = size;
        r = add(&h, &cap, from, to - from, e);
        at = to;
    }
    if (r == 0 && at < size)
        r = add(&h, &cap, size, 0, e);
    if (r < 0)
        return r;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return err_errno(e, errno, "seek");
    /* Data throughout: blocks that the file system keeps elsewhere (in the inode, compressed). */
    if (h.n == 1 && h.v[0].offset == 0 && h.v[0].length == size)
        return 0;
    *ret = h;
    h = (struct files_holes){0};
    return 1;
}

void files_holes_done(struct files_holes *h) {
    free(h->v);
    *h = (struct files_holes){0};
}
