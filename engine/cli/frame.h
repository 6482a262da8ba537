// SPDX-License-Identifier: Apache-2.0
/*
 * frame.h - taking a framed stream apart: standard output and error of a container on one connection.
 *
 * A frame is 8 bytes (stream number 0-3, three zero bytes, length in 32 bits, big endian) and that many bytes. Source: "Stream format" in the API's
 * description of ContainerAttach. Pieces of any size go in; payload comes out as it arrives, without waiting for whole frames.
 * Threads: one at a time.
 */
#ifndef HATAKE_CLI_FRAME_H
#define HATAKE_CLI_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct frame_reader {
    uint8_t head[8];
    size_t have;   /* bytes of the head */
    uint32_t left; /* bytes of the payload that are still to come */
};

/* A piece of payload of stream 1 (output), 2 (error) or 3 (a message of the engine itself). Negative ends the reading. */
typedef int (*frame_sink)(int stream, const void *p, size_t n, void *data, struct err *e);

/* Feed n bytes. ERR_INVALID when they are no frames. */
int frame_feed(struct frame_reader *f, const void *p, size_t n, frame_sink sink, void *data, struct err *e);

#endif
