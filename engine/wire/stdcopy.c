// SPDX-License-Identifier: Apache-2.0
#include "wire/stdcopy.h"

#include <string.h>

#include "base/cleanup.h"

void stdcopy_encode(uint8_t h[STDCOPY_HEADER], enum stdcopy_stream stream, uint32_t length) {
    h[0] = (uint8_t)stream;
    h[1] = h[2] = h[3] = 0;
    h[4] = (uint8_t)(length >> 24);
    h[5] = (uint8_t)(length >> 16);
    h[6] = (uint8_t)(length >> 8);
    h[7] = (uint8_t)length;
}

int stdcopy_decode(const uint8_t h[STDCOPY_HEADER], enum stdcopy_stream *ret_stream, uint32_t *ret_length, struct err *e) {
    uint32_t n = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];

    if (h[0] > STDCOPY_SYSTEMERR)
        return err_set(e, ERR_INVALID, "Unrecognized input header: %d", h[0]);
    if (n > STDCOPY_FRAME_MAX)
        return err_set(e, ERR_INVALID, "a frame of %u bytes is too long", n);
    *ret_stream = (enum stdcopy_stream)h[0];
    *ret_length = n;
    return 0;
}

void stdcopy_add(struct buf *out, enum stdcopy_stream stream, const void *p, size_t n) {
    const uint8_t *at = p;

    while (n > 0) {
        size_t k = MIN(n, (size_t)STDCOPY_CHUNK);
        uint8_t *to = buf_reserve(out, STDCOPY_HEADER + k);

        if (!to)
            return;
        stdcopy_encode(to, stream, (uint32_t)k);
        memcpy(to + STDCOPY_HEADER, at, k);
        buf_commit(out, STDCOPY_HEADER + k);
        at += k;
        n -= k;
    }
}
