// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/limits.h"
#include "base/test.h"
#include "wire/websocket.h"

/* A client's frame with a mask. */
static size_t client_frame(uint8_t *to, uint8_t first, const char *payload, size_t n) {
    static const uint8_t mask[4] = {1, 2, 3, 4};
    size_t k = 0;

    to[k++] = first;
    if (n < 126) {
        to[k++] = (uint8_t)(0x80 | n);
    } else {
        to[k++] = 0x80 | 126;
        to[k++] = (uint8_t)(n >> 8);
        to[k++] = (uint8_t)n;
    }
    memcpy(to + k, mask, 4);
    k += 4;
    for (size_t i = 0; i < n; i++)
        to[k++] = (uint8_t)(payload[i] ^ mask[i & 3]);
    return k;
}

TEST(the_key_of_the_rfc_is_answered_as_there) {
    char accept[WS_ACCEPT_MAX], longer[WS_KEY_MAX + 2] = "";

    CHECK(ws_accept_key("dGhlIHNhbXBsZSBub25jZQ==", accept));
    CHECK_STR(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK(ws_accept_key("short", accept));
    CHECK_STR(accept, "JQHdhQRrQ3pd0VAHx7vMGlEiL+4=");
    CHECK(!ws_accept_key("", accept));
    CHECK(!ws_accept_key(NULL, accept));
    memset(longer, 'A', sizeof(longer) - 1);
    CHECK(!ws_accept_key(longer, accept));
    CHECK(ws_accept_key(longer + 1, accept));
}

TEST(frames_cut_anywhere_give_the_same_bytes) {
    uint8_t in[2048];
    char text[300];
    size_t n = 0;

    memset(text, 'x', sizeof(text));
    n += client_frame(in + n, 0x02, "par", 3); /* not the last piece */
    n += client_frame(in + n, 0x89, "ping", 4);
    n += client_frame(in + n, 0x80, "t\n", 2);
    n += client_frame(in + n, 0x82, text, sizeof(text));
    n += client_frame(in + n, 0x81, "", 0);
    n += client_frame(in + n, 0x88, "\3\350", 2);
    for (size_t step = 1; step <= n; step++) {
        _cleanup_buf_ struct buf data = BUF_INIT(KIB(64)), reply = BUF_INIT(KIB(64));
        struct ws_decoder d = {0};
        int r = 1;

        for (size_t at = 0; at < n && r > 0; at += step)
            r = ws_decode(&d, in + at, n - at < step ? n - at : step, &data, &reply);
        CHECK_INT(r, 0);
        CHECK_INT(data.len, 5 + sizeof(text));
        CHECK_INT(memcmp(data.data, "part\nxxx", 8), 0);
        CHECK_INT(reply.len, 6);
        CHECK_INT(memcmp(reply.data, "\x8a\x04ping", 6), 0);
    }
}

TEST(what_no_client_may_send_ends_with_a_protocol_error) {
    static const struct {
        const char *bytes;
        size_t n;
    } cases[] = {
        {"\x82\x01x\0\0\0\0", 7},                   /* no mask */
        {"\xc2\x80\1\2\3\4", 6},                    /* a reserved bit */
        {"\x83\x80\1\2\3\4", 6},                    /* a reserved kind */
        {"\x09\x80\1\2\3\4", 6},                    /* a ping in pieces */
        {"\x89\xfe\x00\x80\1\2\3\4", 8},            /* a long ping */
        {"\x82\xff\x80\0\0\0\0\0\0\0\1\2\3\4", 14}, /* a length with the highest bit */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_buf_ struct buf data = BUF_INIT(KIB(64)), reply = BUF_INIT(KIB(64));
        struct ws_decoder d = {0};

        CHECK(ws_decode(&d, cases[i].bytes, cases[i].n, &data, &reply) < 0);
        CHECK_INT(data.len, 0);
        CHECK_INT(memcmp(reply.data, "\x88\x02\x03\xea", 4), 0);
    }
}

TEST(lengths_are_written_in_their_shortest_form) {
    static const struct { size_t n, head; } cases[] = {{0, 2}, {125, 2}, {126, 4}, {65535, 4}, {65536, 10}};
    static char payload[65536];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(MIB(1));

        ws_encode(&b, WS_BINARY, payload, cases[i].n);
        CHECK_INT(b.len, cases[i].n + cases[i].head);
    }
}
