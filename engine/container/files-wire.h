// SPDX-License-Identifier: Apache-2.0
/*
 * files-wire.h - what the engine and its helper hatake-files say to each other.
 *
 * hatake-files puts a container's root together in a mount namespace of its own, shuts itself into it (layers/cage.h), and then reads or writes the
 * files that GET, HEAD and PUT /containers/{id}/archive and /containers/{id}/export are about. Links and names in there cannot lead out.
 *
 * Descriptors: 0 the archive (put), 1 results, 2 log, 3 the request, 4 the mount namespace of a running container (key "running").
 * Request: struct files_request, pairs of texts, what was received of the archive before. When `framed`, descriptor 0 is the client's connection, and the
 * archive the body that is read from it as wire/body.h says; without it everything until the end of a pipe. Texts are each ended by a NUL:
 *   mode    stat | get | put | export | layer | folder  path    in the container, as asked for
 *   place   an empty folder to mount on        running "1": descriptor 4 is there, and nobody waits for the helper's end
 *   lower   one per layer, top first           upper, work   the writable layer
 *   whole   the finished folder (vfs; for a layer: the folder of changes)
 *   below   what the whole folder is compared with (a layer of vfs)
 *   owner   "uid:gid" given to all that is unpacked
 *   ids     map of users and groups (base/idmap.h): archives have the numbers inside
 *   keep-kind "1": a folder and what is none do not replace each other
 *   exact "1": attributes, holes and times as they are; links that lead anywhere
 *   read-only "1": nothing may be unpacked outside of mounts
 *   bind    source of a mount; followed by at (where) and options ("r" with what is mounted below, "w" writable), and
 *           under: a folder inside of the source
 * Results: frames of a head and a payload.
 */
#ifndef HATAKE_CONTAINER_FILES_WIRE_H
#define HATAKE_CONTAINER_FILES_WIRE_H

#include <stdint.h>

#include "wire/body.h"

struct files_request {
    uint32_t texts, early; /* bytes */
    struct body_frame frame;
    bool framed;
};

enum files_frame {
    FILES_STAT = 'S',  /* name, size, mode in the API's bits, seconds, nanoseconds, target: texts, each ended by a NUL */
    FILES_DATA = 'T',  /* a piece of the archive */
    FILES_BODY = 'B',  /* one byte, after a framed archive: 1 when all of it was read, and nothing after it had come */
    FILES_ERROR = 'E', /* kind, errno, message: as above */
    FILES_DONE = 'D',
};

struct files_head {
    uint32_t type, length;
};

#define FILES_PIECE (256U << 10)
#define FILES_REQUEST_MAX (1U << 20)

#endif
