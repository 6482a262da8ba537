// SPDX-License-Identifier: Apache-2.0
/*
 * unpack-wire.h - what the engine and its helper hatake-unpack say to each other.
 *
 * Arguments: hatake-unpack MODE FORM RESERVE IDS
 *   MODE     "layer": the input is one layer archive; "archive": the input is an image archive with layers inside; "file": a
 *            layer archive in a file that still grows; "known-file": the same, whose diff ID is known and not computed
 *   FORM     "overlay" or "file": how whiteouts are stored (extract.h)
 *   RESERVE  bytes of the file system that stay free
 *   IDS      whose files become: a map of users and groups (base/idmap.h), "": as the archives say
 * Descriptors: 0 input, 1 results, 2 log, 3 the empty staging folder.
 * Input: a line with the number of known diff IDs, then as many lines of 64 hex digits each, then the stream. In the modes for files 0 is the file, and 1 a socket
 * from which numbers of 64 bits (machine order) are read: how many bytes of the file may be read by now. Its end is the end of the archive.
 * Results: frames of a fixed head (type, length, both 32 bit, machine order) and a payload. Texts inside a payload end with a NUL each.
 *
 * In the staging folder layer k becomes "<k>/diff" (the folder) and "<k>/framing" (the record).
 */
#ifndef HATAKE_LAYERS_UNPACK_WIRE_H
#define HATAKE_LAYERS_UNPACK_WIRE_H

#include <stdint.h>

enum unpack_frame {
    UNPACK_LAYER = 'L',    /* path, index ("-1": was known, not unpacked), diff id, digest of the member's bytes, size, archive bytes, entries */
    UNPACK_FILE = 'J',     /* path, then the contents of a small file to the end of the payload */
    UNPACK_LINK = 'S',     /* path, target of a symbolic or hard link in an image archive */
    UNPACK_BLOB = 'B',     /* path, digest, size: a member that is neither layer nor small; its contents are dropped */
    UNPACK_FOLDER = 'F',   /* path: a folder of an image archive */
    UNPACK_PROGRESS = 'P', /* path, bytes of the member read so far, its size */
    UNPACK_ERROR = 'E',    /* kind (number), errno (number), text */
    UNPACK_DONE = 'D',     /* nothing */
};

struct unpack_head {
    uint32_t type;
    uint32_t length;
};

#define UNPACK_SMALL_FILE (8U << 20) /* the largest member sent as UNPACK_FILE: LIMIT_IMAGE_CONFIG_BYTES */
#define UNPACK_SMALL_TOTAL (64U << 20)
#define UNPACK_MEMBERS 20000
#define UNPACK_LAYERS 2000

#endif
