// SPDX-License-Identifier: Apache-2.0
/*
 * load-internal.h - an image archive that has been read, shared by load.c and load-old.c: its members by path, and how its layers and names get into the store.
 *
 * Life cycle: images_load() makes and ends a struct loading; members belong to it. Threads: the request's alone.
 */
#ifndef HATAKE_IMAGE_LOAD_INTERNAL_H
#define HATAKE_IMAGE_LOAD_INTERNAL_H

#include "image/image-internal.h"
#include "layers/unpack.h"

struct member {
    enum unpack_frame type;
    int index;
    bool used; /* registered already */
    char diff_id[72], digest[72];
    int64_t size, archive_size;
    char *data; /* document, or link target */
    size_t n;
};

struct loading {
    struct images *images;
    struct progress *progress;
    bool quiet;
    struct map members; /* path → struct member */
    struct unpack *unpack;
    size_t documents;            /* bytes, see load_count() */
    struct buf ids;              /* lines for images without a name */
    struct strv loaded, parents; /* ids; what manifest.json says of each, "" for none */
    int named;
};

/* The member at a path, behind its links; NULL when there is none, and for a path that leads out of the archive. Borrowed. */
struct member *load_find_member(struct loading *l, const char *path);
/*
 * n bytes of a document are read, or made. ERR_TOO_LARGE above LIMIT_ARCHIVE_DOCUMENTS: members can name one document as often as they like, and old images get
 * the history of their parents, so that the size of the archive limits neither.
 */
int load_count(struct loading *l, size_t n, struct err *e);
/* A member that is a document, what follows it left aside. ERR_INVALID and ERR_TOO_LARGE name it as `what`. A new reference. */
json_t *load_document(struct loading *l, const struct member *m, const char *what, struct err *e);
/* The member at path on parent (NULL: lowest), which must have that diff ID unless the store has the layer. `at`: how many are below it. *ret is counted. */
int load_add_layer(struct loading *l, struct layer *parent, size_t at, const char *diff_id, const char *path, struct layer **ret, bool *ret_new,
                   struct err *e);
/* The layer is there: what the client is told of it. id may be longer than what is shown. Nothing is told to one who wants it quiet. */
int load_tell_layer(struct loading *l, const char *id, int64_t archive_size, struct err *e);
/* Give ref to the image, and tell who had it before. */
int load_set_name(struct loading *l, const struct reference *ref, const char *id, struct err *e);
/* ERR_INVALID for a system other than this one; NULL and "" are this one. */
int load_check_os(const char *os, struct err *e);
/*
 * ERR_INVALID for a path at which there is no file: "open FILE: no such file or directory", or that it is a folder, or leads out. FILE is in the folder that the
 * reference would have unpacked into, as clients know these texts.
 */
int load_missing(struct loading *l, const char *path, struct err *e);

/* One image of the archive: its configuration (NULL: there is none at config_path), the paths of its layers from the lowest, its names. */
int load_image(struct loading *l, const struct member *config, const char *config_path, const struct strv *layers, const struct strv *names,
               struct err *e);

/* ---- load-layout.c: an OCI image layout without manifest.json */
int load_layout(struct loading *l, struct err *e);

/* ---- load-old.c: archives of Docker before 1.10, without manifest.json */
int load_old(struct loading *l, struct err *e);

#endif
