// SPDX-License-Identifier: Apache-2.0
/*
 * tar.h - a strict, bounded reader of tar streams: POSIX ustar and pax, GNU (long names, base-256, sparse), old V7.
 *
 * Used only inside the cage (hatake-unpack) and in tests. It accounts for every byte: what is not file data is handed to the `raw` listener in
 * order, so that the framing record can reproduce the archive. All limits are those of base/limits.h; a stream that goes beyond, lies
 * about sizes or has a wrong header checksum ends in an error.
 *
 * Names are raw bytes without any character-set conversion; a NUL inside a pax value is refused.
 * Source: POSIX.1-2017 pax(1), GNU tar manual "Basic Tar Format", "Storing Sparse Files".
 */
#ifndef HATAKE_LAYERS_TAR_H
#define HATAKE_LAYERS_TAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Where bytes come from: points *ret_p at 1 or more bytes (valid until the next call) and returns their number; 0 at the end; <0 with e set. */
typedef int64_t (*tar_fill_fn)(void *arg, const unsigned char **ret_p, struct err *e);
/* Receives all bytes that are not file data, in order. */
typedef int (*tar_raw_fn)(void *arg, const void *p, size_t n, struct err *e);

enum tar_type { TAR_FILE, TAR_DIR, TAR_SYMLINK, TAR_HARDLINK, TAR_CHAR, TAR_BLOCK, TAR_FIFO, TAR_GLOBAL, TAR_OTHER };

struct tar_xattr {
    size_t name, value, value_len; /* offsets into struct tar_entry.xattr_text; name ends with NUL */
};

struct tar_segment {
    int64_t offset, length;
};

struct tar_entry {
    enum tar_type type;
    char type_flag;
    char *name, *link; /* as written, NUL-terminated; owned by the reader */
    uint32_t mode;     /* permission bits with set-id and sticky */
    int64_t uid, gid;
    int64_t mtime_sec, atime_sec;
    uint32_t mtime_nsec, atime_nsec;
    bool has_atime;
    int64_t dev_major, dev_minor;
    int64_t size;      /* of the file as it will be; for sparse files with the holes */
    int64_t data_size; /* bytes in the archive */
    struct tar_xattr *xattrs;
    size_t n_xattrs;
    const char *xattr_text;
    const struct tar_segment *segments; /* sparse files: where the data belongs, ascending */
    size_t n_segments;
    bool sparse;
};

struct tar_reader;

struct tar_reader *tar_reader_new(tar_fill_fn fill, void *fill_arg, tar_raw_fn raw, void *raw_arg);
struct tar_reader *tar_reader_free(struct tar_reader *r);
/* Next entry: 1 and *ret (valid until the next call), 0 at the end of the archive, <0 with e set. Data not read is skipped (and counted as raw). */
int tar_reader_next(struct tar_reader *r, const struct tar_entry **ret, struct err *e);
/* Next piece of the present entry's data: its size and *ret_p, 0 at the end, <0 with e set ("unexpected EOF"). */
int64_t tar_reader_data(struct tar_reader *r, const unsigned char **ret_p, struct err *e);
/* The same with at most `max` bytes at a time. */
int64_t tar_reader_data_upto(struct tar_reader *r, const unsigned char **ret_p, size_t max, struct err *e);
/* After the end: consume what follows until the end of the stream, as raw bytes. */
int tar_reader_drain(struct tar_reader *r, struct err *e);
/* Whether 512 bytes look like a tar header (checksum right). */
bool tar_header_plausible(const unsigned char block[512]);

#endif
