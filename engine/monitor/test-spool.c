// SPDX-License-Identifier: Apache-2.0
/* What waits for clients that have fallen behind. */
#include <string.h>
#include <sys/stat.h>

#include "base/test.h"
#include "monitor/spool.h"

#define ROOM (SPOOL_FRAME + SPOOL_RECORD_MAX)

static uint64_t blocks(const struct spool *s) {
    struct stat st;

    return fstat(s->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

TEST(each_client_gets_its_streams_from_its_place_on) {
    struct spool_want both = {.out = true, .err = true, .framed = true}, out = {.out = true}, err = {.err = true};
    static char got[ROOM];
    struct spool s = SPOOL_INIT;
    uint64_t at = 0, late;

    CHECK(!spool_open(&s, ""));
    CHECK(!spool_open(&s, "/nonexistent/log"));
    CHECK(spool_open(&s, "/tmp/log"));
    CHECK(spool_add(&s, false, "one\n", 4) && spool_add(&s, true, "two\n", 4));
    late = s.end;
    CHECK(spool_add(&s, false, "three\n", 6));
    CHECK_INT(spool_read(&s, &at, &both, got, sizeof got), 3 * SPOOL_FRAME + 14);
    CHECK(memcmp(got, "\1\0\0\0\0\0\0\4one\n\2\0\0\0\0\0\0\4two\n\1\0\0\0\0\0\0\6three\n", 38) == 0);
    CHECK_INT(at, s.end);
    at = 0;
    CHECK_INT(spool_read(&s, &at, &out, got, sizeof got), 10);
    CHECK(memcmp(got, "one\nthree\n", 10) == 0);
    CHECK_INT(spool_read(&s, &late, &err, got, sizeof got), 0);
    CHECK_INT(late, s.end);
    spool_close(&s);
    CHECK(s.fd < 0 && s.end == 0);
}

TEST(a_piece_is_never_cut_and_what_all_have_read_is_given_back) {
    struct spool_want want = {.out = true};
    static char block[SPOOL_RECORD_MAX], got[ROOM];
    struct spool s = SPOOL_INIT;
    uint64_t at = 0, total = 0, most;

    CHECK(spool_open(&s, "/tmp/log"));
    for (int i = 0; i < 64; i++) {
        memset(block, i, sizeof block);
        CHECK(spool_add(&s, false, block, i % 2 ? SPOOL_RECORD_MAX : 1000));
    }
    CHECK(!spool_full(&s));
    most = blocks(&s);
    while (at < s.end) {
        ssize_t n = spool_read(&s, &at, &want, got, sizeof got);

        CHECK(n > 0);
        total += (uint64_t)n;
        spool_keep_from(&s, at);
        CHECK(s.freed <= at);
    }
    CHECK_INT(total, 32 * SPOOL_RECORD_MAX + 32 * 1000);
    CHECK(s.freed == 0 || blocks(&s) < most);
    s.end = s.freed + SPOOL_MAX + 1;
    CHECK(spool_full(&s));
    spool_close(&s);
}
