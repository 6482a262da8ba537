// SPDX-License-Identifier: Apache-2.0
/*
 * extract-internal.h - shared by extract.c (what an entry becomes) and extract-paths.c (where it goes: paths, folders, names seen before). extract.h is the manual.
 */
#ifndef HATAKE_LAYERS_EXTRACT_INTERNAL_H
#define HATAKE_LAYERS_EXTRACT_INTERNAL_H

#include "layers/extract.h"

#define DIR_CACHE 8
struct cached_dir {
    char *path;
    int fd;
    uint64_t used;
};

/* What a folder gets once everything is in it. */
struct late_dir {
    char *path;
    int64_t mtime_sec, atime_sec;
    uint32_t mtime_nsec, atime_nsec;
};

struct extractor {
    int root;
    enum whiteout_form form;
    const struct idmap *ids;
    int64_t unmapped; /* owner of the present entry that the map has no place for, or -1 */
    struct framing_writer *framing;
    struct cached_dir cache[DIR_CACHE];
    uint64_t clock;
    const char *base; /* last component of the entry being put in place; NULL while something else is looked up */
    struct late_dir *dirs;
    size_t n_dirs, cap_dirs;
    uint64_t *seen; /* open hash set of path hashes */
    size_t n_seen, cap_seen;
    extract_tick_fn tick;
    void *tick_arg;
    int64_t written, ticked;
    struct extract_result result;
};

/* ---- extract-paths.c */
/* 1: the path is new, 0: an entry had it before. Two different names with one 64-bit hash would be refused wrongly: at 10 million names one chance in 370,000. */
int extract_seen(struct extractor *x, const char *path, struct err *e);
/* Descriptor (borrowed from the cache) of the folder `path`, made when missing. "" is the root. */
int extract_folder(struct extractor *x, const char *path, struct err *e);
/* A folder or a link vanished: cached descriptors may point into it. */
void extract_forget_folders(struct extractor *x);
/* The folder gets its times when everything is in it. */
int extract_late_dir(struct extractor *x, const char *path, const struct tar_entry *t, struct err *e);
/* Now everything is. */
int extract_finish_dirs(struct extractor *x, struct err *e);

#endif
