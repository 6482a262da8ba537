// SPDX-License-Identifier: Apache-2.0
#include "cli/frame.h"

#include <string.h>

#include "base/cleanup.h"

static int head_done(struct frame_reader *f, struct err *e) {
    const uint8_t *h = f->head;

    if (h[0] > 3 || h[1] || h[2] || h[3])
        return err_set(e, ERR_INVALID, "the engine's stream holds no frame where one should start (byte %u)", h[0]);
    f->left = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
    if (f->left == 0)
        f->have = 0;
    return 0;
}

int frame_feed(struct frame_reader *f, const void *p, size_t n, frame_sink sink, void *data, struct err *e) {
    const uint8_t *at = p;

    while (n) {
        size_t k;
        int r;

        if (f->left == 0) {
            k = MIN(n, sizeof f->head - f->have);
            memcpy(f->head + f->have, at, k);
            f->have += k;
            r = f->have == sizeof f->head ? head_done(f, e) : 0;
        } else {
            k = MIN(n, (size_t)f->left);
            r = sink(f->head[0], at, k, data, e);
            f->left -= (uint32_t)k;
            if (f->left == 0)
                f->have = 0;
        }
        if (r < 0)
            return r;
        at += k;
        n -= k;
    }
    return 0;
}
