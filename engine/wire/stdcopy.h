// SPDX-License-Identifier: Apache-2.0
/*
 * stdcopy.h - frames that carry stdout and stderr over one stream (attach, exec and logs without a terminal).
 *
 * A frame is 8 bytes (stream number, three zero bytes, length as 32 bit big endian) and that many bytes of payload. Source: the API
 * description of ContainerAttach ("Stream format"). Pure functions, any thread.
 */
#ifndef HATAKE_WIRE_STDCOPY_H
#define HATAKE_WIRE_STDCOPY_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define STDCOPY_HEADER 8
/* No frame that we write is longer than this; readers accept up to STDCOPY_FRAME_MAX. */
#define STDCOPY_CHUNK (32u << 10)
#define STDCOPY_FRAME_MAX (16u << 20)

enum stdcopy_stream {
    STDCOPY_STDIN = 0,
    STDCOPY_STDOUT = 1,
    STDCOPY_STDERR = 2,
    STDCOPY_SYSTEMERR = 3, /* an error of the engine itself in mid-stream */
};

void stdcopy_encode(uint8_t ret_header[STDCOPY_HEADER], enum stdcopy_stream stream, uint32_t length);
/* 0, or ERR_INVALID: unknown stream number ("Unrecognized input header: 84"), a length above STDCOPY_FRAME_MAX. */
int stdcopy_decode(const uint8_t header[STDCOPY_HEADER], enum stdcopy_stream *ret_stream, uint32_t *ret_length, struct err *e);
/* Append one frame with its payload (several frames when n is above STDCOPY_CHUNK... none when n is 0). */
void stdcopy_add(struct buf *out, enum stdcopy_stream stream, const void *p, size_t n);

#endif
