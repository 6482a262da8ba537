// SPDX-License-Identifier: Apache-2.0
/* Sums made beside the reader are those made at once, with pieces of any size and buffers used again. */
#include "base/cleanup.h"
#include "base/id.h"
#include "base/test.h"
#include "layers/hasher.h"

#define BUFFER ((size_t)64 << 10)
#define PIECES 300

/* Bytes that differ from piece to piece; the size too, from a few bytes to a whole buffer. */
static size_t piece(unsigned k, unsigned char *to) {
    size_t n = k % 3 == 0 ? 1 + k : k % 3 == 1 ? BUFFER : BUFFER / 7 + k;

    for (size_t i = 0; i < n; i++)
        to[i] = (unsigned char)(k * 31 + i * 7 + (i >> 8));
    return n;
}

static void sum_of(bool threaded, char ret_all[65], char ret_odd[65]) {
    static unsigned char buffers[2][BUFFER];
    struct hasher h;
    struct hasher_sum all, odd;
    struct turn turn = {.at = 0};

    hasher_init(&h);
    if (threaded)
        CHECK_INT(hasher_start(&h, NULL), 0);
    hasher_begin(&all);
    hasher_begin(&odd);
    for (unsigned k = 0; k < PIECES; k++) {
        unsigned char *p = buffers[turn_next(&h, &turn)];
        size_t n = piece(k, p);

        hasher_add(&h, &all, p, n);
        if (k % 2)
            hasher_add(&h, &odd, p, n / 2);
    }
    hasher_end(&h, &all, ret_all);
    hasher_end(&h, &odd, ret_odd);
    CHECK(all.bytes > odd.bytes && odd.bytes > 0);
    hasher_done(&h);
}

TEST(sums_beside_the_reader_are_those_made_at_once) {
    char all[2][65], odd[2][65];

    sum_of(false, all[0], odd[0]);
    for (int i = 0; i < 5; i++) {
        sum_of(true, all[1], odd[1]);
        CHECK_STR(all[1], all[0]);
        CHECK_STR(odd[1], odd[0]);
    }
    CHECK(strcmp(all[0], odd[0]) != 0 && id_is_full(all[0]));
}

TEST(a_buffer_is_free_again_after_waiting_and_what_is_left_over_is_hashed_before_the_end) {
    static unsigned char buffer[BUFFER];
    struct hasher_sum beside, at_once;
    char sums[2][65];
    struct hasher h, none;

    hasher_init(&h);
    hasher_init(&none);
    CHECK_INT(hasher_start(&h, NULL), 0);
    hasher_begin(&beside);
    hasher_begin(&at_once);
    for (unsigned k = 0; k < PIECES; k++) {
        size_t n = piece(k, buffer);

        hasher_add(&none, &at_once, buffer, n);
        hasher_add(&h, &beside, buffer, n);
        hasher_wait(&h, &beside);
    }
    hasher_end(&none, &at_once, sums[0]);
    hasher_end(&h, &beside, sums[1]);
    CHECK_STR(sums[1], sums[0]);
    for (unsigned k = 0; k < HASHER_QUEUE / 2; k++)
        hasher_add(&h, &beside, buffer, BUFFER);
    hasher_done(&h);
    CHECK(h.done == h.issued);
    hasher_done(&none);
}
