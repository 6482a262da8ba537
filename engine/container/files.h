// SPDX-License-Identifier: Apache-2.0
/*
 * files.h - archives of files in the present root: the two halves of hatake-files that touch files, apart from it for tests. Used by one thread, inside
 * the cage: paths are resolved by the kernel from the root of the process.
 */
#ifndef HATAKE_CONTAINER_FILES_H
#define HATAKE_CONTAINER_FILES_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/idmap.h"
#include "layers/tar.h"

typedef int (*files_sink_fn)(void *arg, const void *p, size_t n, struct err *e);
/* The next n bytes of a file, or fewer, which never pass through here: how many it took (one at least), or negative. */
typedef int64_t (*files_pass_fn)(void *arg, int fd, int64_t n, struct err *e);

struct files_sink {
    files_sink_fn put;
    files_pass_fn pass; /* or NULL */
    void *arg;
};

/*
 * Write an archive of `base` in the working directory to the sink: names begin with `as` instead of `base` ("" and base ".": names are relative and the
 * folder itself is left out). Order is by name; sockets are left out; a file that shrinks meanwhile is filled up with zeros.
 * `exact`: with all extended attributes, holes and parts of seconds, none of which the reference's archives have.
 * `ids` (NULL: none): owners are named by their numbers inside, and files of owners that are not in it are left out.
 */
int files_pack(const char *base, const char *as, bool exact, const struct idmap *ids, const struct files_sink *sink, struct err *e);

/*
 * Write what was changed as a layer (OCI image-spec, layer.md). `below` negative: the working directory is the writable folder of an overlay, and its marks
 * become whiteouts. Else: it is a whole root, compared with the folder `below` (borrowed); unchanged files are left out.
 */
int files_pack_layer(int below, const struct idmap *ids, const struct files_sink *sink, struct err *e);

struct files_unpack {
    const char *dest; /* as messages name it */
    bool keep_kind, chown;
    /* What the archive says and nothing else: links may lead anywhere (they are never followed out of the root), no attribute is missed or inherited. */
    bool exact;
    int64_t uid, gid;
    const struct idmap *ids; /* all numbers are those inside; NULL: the machine's */
    /*
     * The process ends soon, and nobody waits for that: large files that are replaced lose their names now and their blocks then, or when the disk is full.
     * Giving many blocks back takes long where the file system tells the disk of each (mount option "discard").
     */
    bool ends_soon;
};
/* Unpack everything the reader delivers into the working directory. The umask must be 0. */
int files_unpack(struct tar_reader *r, const struct files_unpack *how, struct err *e);

/* Make the folders above the last "/" of a relative path that are not there yet; they are root's inside. */
int files_make_parents(const struct idmap *ids, const char *path, struct err *e);

/* Absolute path without "." and "..", a final "/" or "/." kept: fresh memory. */
char *files_absolute(const char *path);
/* Mode and kind in the bits that the API uses for them (those of Go's os.FileMode). */
uint32_t files_api_mode(mode_t mode);

#endif
