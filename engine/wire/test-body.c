// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/test.h"
#include "wire/body.h"

/* All content of `raw` (n bytes, given in pieces of at most `piece`), as a reader that reads no more than it may finds it. -1: broken. */
static ssize_t decode(int64_t length, const char *raw, size_t n, size_t piece, char *out, size_t *ret_used) {
    struct body_frame f;
    size_t used = 0, got = 0;

    body_frame_init(&f, length);
    while (!f.ended && used < n) {
        size_t k = body_frame_want(&f, piece);
        const unsigned char *p = (const unsigned char *)raw + used, *run;

        CHECK(k >= 1 && k <= piece);
        k = k < n - used ? k : n - used;
        used += k;
        while (k > 0 && !f.ended) {
            ssize_t m = body_frame_next(&f, &p, &k, &run, NULL);

            *ret_used = used;
            if (m < 0)
                return -1;
            if (m > 0)
                memcpy(out + got, run, (size_t)m);
            got += (size_t)m;
        }
        CHECK(k == 0 || used == n); /* nothing after the end is read, but what comes in one piece with it */
    }
    *ret_used = used;
    return f.ended ? (ssize_t)got : -2;
}

TEST(body_length) {
    char out[64];
    size_t used;

    for (size_t piece = 1; piece < 9; piece++) {
        CHECK_INT(decode(5, "abcdeGET /", 10, piece, out, &used), 5);
        CHECK_INT(used, 5);
        CHECK(memcmp(out, "abcde", 5) == 0);
        CHECK_INT(decode(5, "abc", 3, piece, out, &used), -2);
        CHECK_INT(decode(0, "abc", 3, piece, out, &used), 0);
        CHECK_INT(used, 0);
    }
}

TEST(body_chunks) {
    static const struct {
        const char *raw, *want;
    } cases[] = {
        {"0\r\n\r\n", ""},
        {"3\r\nabc\r\n0\r\n\r\n", "abc"},
        {"00000000000000A\r\n0123456789\r\n1;x=\"y\"\r\n!\r\n000\r\nA: b\r\nC: d\r\n\r\n", "0123456789!"},
        {"2 \r\nab\r\n0 ; x\r\n\r\n", "ab"},
        {"1\r\n\n\r\n1\r\n\r\r\n0\r\n\r\n", "\n\r"},
    };
    char out[64], raw[128];
    size_t used;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n = strlen(cases[i].raw);

        memcpy(raw, cases[i].raw, n);
        memcpy(raw + n, "GET /_ping", 10);
        for (size_t piece = 1; piece <= n + 10; piece++) {
            CHECK_INT(decode(-1, raw, n + 10, piece, out, &used), strlen(cases[i].want));
            CHECK(memcmp(out, cases[i].want, strlen(cases[i].want)) == 0);
            CHECK_INT(used, n); /* not a byte of the next request */
        }
        for (size_t cut = 0; cut < n; cut++)
            CHECK_INT(decode(-1, raw, cut, 64, out, &used), -2);
    }
}

TEST(body_chunks_broken) {
    static const char *const cases[] = {
        "\r\n",
        "zz\r\n",
        "-1\r\n",
        "0x3\r\nabc\r\n",
        "+3\r\nabc\r\n",
        ";a\r\n",
        " 3\r\nabc\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3;x\nabc\r\n",
        "3\r\nabcd\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "1000000000000000\r\n",
        "0000000000000003\r\nabc\r\n",
        "3\rabc",
        "0\r\n\rx",
    };
    char out[64], *many = malloc(3 * BODY_LINES_MAX);
    size_t used;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (decode(-1, cases[i], strlen(cases[i]), 64, out, &used) != -1)
            test_fail(__FILE__, __LINE__, "taken for a body: %s", cases[i]);
    /* lines without an end */
    memset(many, 'x', 3 * BODY_LINES_MAX);
    memcpy(many, "1;", 2);
    CHECK_INT(decode(-1, many, 3 * BODY_LINES_MAX, 64, out, &used), -1);
    CHECK(used < 2 * BODY_LINES_MAX);
    memcpy(many, "0\r\n", 3);
    CHECK_INT(decode(-1, many, 3 * BODY_LINES_MAX, 64, out, &used), -1);
    CHECK(used < 2 * BODY_LINES_MAX);
    free(many);
}
