// SPDX-License-Identifier: Apache-2.0
#include "base/id.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void random_bytes(void *p, size_t n) {
    char *at = p;

    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);

        if (got < 0) {
            if (errno == EINTR)
                continue;
            abort(); /* no randomness: ids would collide; nothing sensible can go on */
        }
        at += got;
        n -= (size_t)got;
    }
}

void hex_encode(const void *p, size_t n, char *ret) {
    static const char digits[] = "0123456789abcdef";
    const unsigned char *b = p;

    for (size_t i = 0; i < n; i++) {
        ret[2 * i] = digits[b[i] >> 4];
        ret[2 * i + 1] = digits[b[i] & 15];
    }
    ret[2 * n] = 0;
}

static int nibble(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool hex_decode(const char *s, void *ret, size_t n) {
    unsigned char *b = ret;

    if (strlen(s) != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int hi = nibble(s[2 * i]), lo = nibble(s[2 * i + 1]);

        if (hi < 0 || lo < 0)
            return false;
        b[i] = (unsigned char)(hi << 4 | lo);
    }
    return true;
}

void id_new(char ret[ID_LEN + 1]) {
    unsigned char b[ID_LEN / 2];

    do {
        random_bytes(b, sizeof(b));
        hex_encode(b, sizeof(b), ret);
    } while (strspn(ret, "0123456789") >= ID_SHORT_LEN);
}

void trace_id_new(char ret[TRACE_ID_LEN + 1]) {
    /* Not secret, only unlike any other: a step of splitmix64 from a random start of the thread's own. */
    static _Thread_local uint64_t at;
    uint64_t z;

    if (at == 0)
        random_bytes(&at, sizeof(at));
    z = at += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    _Static_assert(sizeof(z) == TRACE_ID_LEN / 2, "a trace id is one number");
    hex_encode(&z, sizeof(z), ret);
}

bool id_is_full(const char *s) {
    return strlen(s) == ID_LEN && strspn(s, "0123456789abcdef") == ID_LEN;
}
