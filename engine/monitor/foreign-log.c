// SPDX-License-Identifier: Apache-2.0
#include "monitor/foreign-log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define TAIL_MAX (32 * 1024) /* of the log: the last error is what counts */

static size_t put_utf8(unsigned v, char *ret) {
    if (v < 0x80) {
        ret[0] = (char)v;
        return 1;
    }
    if (v < 0x800) {
        ret[0] = (char)(0xc0 | v >> 6);
        ret[1] = (char)(0x80 | (v & 0x3f));
        return 2;
    }
    ret[0] = (char)(0xe0 | v >> 12);
    ret[1] = (char)(0x80 | (v >> 6 & 0x3f));
    ret[2] = (char)(0x80 | (v & 0x3f));
    return 3;
}

/* A JSON string's inside, from after its quote. Surrogates become question marks. */
static void unescape(const char *p, char *ret, size_t cap) {
    size_t n = 0;

    while (*p && *p != '"' && n + 4 < cap) {
        if (*p != '\\') {
            ret[n++] = *p++;
            continue;
        }
        p++;
        if (*p == 'u' && strnlen(p, 5) == 5) {
            char hex[5] = {p[1], p[2], p[3], p[4], 0};
            unsigned v = (unsigned)strtoul(hex, NULL, 16);

            n += put_utf8(v == 0 || (v >= 0xd800 && v < 0xe000) ? '?' : v, ret + n);
            p += 5;
            continue;
        }
        ret[n++] = *p == 'n' ? '\n' : *p == 't' ? '\t' : *p == 'r' ? '\r' : *p == 'b' ? '\b' : *p == 'f' ? '\f' : *p;
        p += *p != 0;
    }
    ret[n] = 0;
}

/* The value of a member of the object in `line`: what stands behind "key" and a colon. Quotes inside texts are escaped, so this finds no text. */
static const char *member(const char *line, const char *key) {
    for (const char *p = line; (p = strstr(p, key)); p++) {
        const char *q = p + strlen(key);

        if (p == line || p[-1] == '\\')
            continue;
        while (*q == ' ')
            q++;
        if (*q++ != ':')
            continue;
        while (*q == ' ')
            q++;
        if (*q == '"')
            return q + 1;
    }
    return NULL;
}

int foreign_log_error(const char *path, char *ret, size_t cap) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char *text = fd < 0 ? NULL : malloc(TAIL_MAX + 1), *line;
    struct stat st;
    ssize_t n;
    int found = 0;

    if (fd < 0)
        found = -errno;
    else if (!text || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        found = -EIO;
    if (found < 0) {
        free(text);
        return found;
    }
    n = pread(fd, text, TAIL_MAX, st.st_size > TAIL_MAX ? st.st_size - TAIL_MAX : 0);
    text[n > 0 ? n : 0] = 0;
    for (char *rest = text; (line = strsep(&rest, "\n"));) {
        const char *level = member(line, "\"level\""), *message = member(line, "\"msg\"");

        if (level && message && strncmp(level, "error\"", 6) == 0) {
            unescape(message, ret, cap);
            found = 1;
        }
    }
    free(text);
    return found;
}
