// SPDX-License-Identifier: Apache-2.0
/*
 * utf8.h - characters of UTF-8 in patterns and in what they are held against (RFC 3629, section 4). Pure functions, any thread.
 */
#ifndef HATAKE_IMAGE_UTF8_H
#define HATAKE_IMAGE_UTF8_H

#include <stddef.h>

/* Bytes of the character at p, which is not the end: 1 to 4. What is no UTF-8 counts byte by byte. */
static inline size_t utf8_width(const char *p) {
    unsigned char c = (unsigned char)*p;
    size_t n = c < 0xc2 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 1;

    for (size_t i = 1; i < n; i++)
        if (((unsigned char)p[i] & 0xc0) != 0x80)
            return 1;
    return n;
}

#endif
