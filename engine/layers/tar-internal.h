// SPDX-License-Identifier: Apache-2.0
/*
 * tar-internal.h - shared by tar.c (bytes, headers, entries) and tar-extensions.c (what stands before an entry or its data and says more about it: GNU long names, pax
 * records, maps of sparse files). tar.h is the manual.
 */
#ifndef HATAKE_LAYERS_TAR_INTERNAL_H
#define HATAKE_LAYERS_TAR_INTERNAL_H

#include "layers/tar.h"

#define BLOCK 512

/* What extension headers said about the next entry. */
struct extension {
    char *path, *link;
    bool has_size, has_uid, has_gid, has_mtime, has_atime;
    int64_t size, uid, gid, mtime_sec, atime_sec;
    uint32_t mtime_nsec, atime_nsec;
    /* pax sparse forms */
    char *sparse_name;
    int64_t sparse_major, sparse_minor, sparse_size, sparse_offset;
    bool has_sparse, has_sparse_size, has_sparse_offset;
};

struct tar_reader {
    tar_fill_fn fill;
    void *fill_arg;
    tar_raw_fn raw;
    void *raw_arg;
    const unsigned char *p; /* unread part of the last fill */
    size_t n;
    bool ended; /* the stream itself */
    struct tar_entry entry;
    struct extension ext;
    struct buf xattr_text;
    struct tar_segment *segments;
    size_t n_segments, cap_segments;
    int64_t left;    /* data bytes of the entry not yet read */
    int64_t padding; /* to the next block, after them */
    int64_t entries;
    bool finished; /* end marker seen */
    unsigned char block[BLOCK];
};

/* ERR_INVALID: the header is bad, and why. */
int tar_bad(struct err *e, const char *why);
/* The next n bytes, which count as raw, into `to` (NULL: dropped). ERR_INVALID when the stream ends before. */
int tar_raw(struct tar_reader *r, void *to, int64_t n, struct err *e);
/* A number of a header: octal with leading blanks and trailing blanks or NULs, or base-256 when the top bit is set. */
bool tar_number(const unsigned char *p, size_t n, int64_t *ret);

/* ---- tar-extensions.c */
void tar_extension_reset(struct extension *x);
/* Collect the extension header in r->block, whose kind is `flag`: 'L', 'K' or 'x'. */
int tar_extension_read(struct tar_reader *r, char flag, struct err *e);
/* The entry is a sparse file: read its map, as far as that stands before the data; size, name and segments are right then. */
int tar_sparse_apply(struct tar_reader *r, struct err *e);

#endif
