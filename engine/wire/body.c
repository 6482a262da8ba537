// SPDX-License-Identifier: Apache-2.0
#include "wire/body.h"

#include "base/cleanup.h"

#define SIZE_DIGITS 15U
/* What follows the content of a chunk at least: its line's end, the last chunk, the end of the trailers. */
#define AFTER_DATA 7U

enum place { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER, TRAILER_LINE, LAST_LF };

void body_frame_init(struct body_frame *f, int64_t length) {
    *f = (struct body_frame){.chunked = length<0, .ended = length == 0, .left = length> 0 ? (uint64_t)length : 0, .at = SIZE};
}

size_t body_frame_want(const struct body_frame *f, size_t max) {
    uint64_t n = f->left, rest = f->left > 0 ? f->left + AFTER_DATA : 2;

    if (f->chunked) {
        switch ((enum place)f->at) {
        case SIZE:
            n = f->count > 0 ? 2 + rest : 5;
            break;
        case EXTENSION:
            n = 2 + rest;
            break;
        case SIZE_LF:
            n = 1 + rest;
            break;
        case DATA:
            n = rest;
            break;
        case DATA_CR:
            n = AFTER_DATA;
            break;
        case DATA_LF:
            n = AFTER_DATA - 1;
            break;
        case TRAILER:
            n = 2;
            break;
        default:
            n = 1;
            break;
        }
    }
    return (size_t)MIN(n, (uint64_t)max);
}

static int digit(unsigned char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool add_digit(struct body_frame *f, unsigned char c) {
    int d = digit(c);

    if (d < 0 || ++f->count > SIZE_DIGITS)
        return false;
    f->left = f->left << 4 | (unsigned)d;
    return true;
}

static bool expect(struct body_frame *f, unsigned char c, unsigned char want, enum place next) {
    f->at = next;
    f->count = 0;
    return c == want;
}

/* One byte of what is around the content. False: it does not belong there. */
static bool step(struct body_frame *f, unsigned char c) {
    switch ((enum place)f->at) {
    case SIZE:
        if (f->count > 0 && (c == ';' || c == ' ' || c == '\t' || c == '\r'))
            return expect(f, c, c, c == '\r' ? SIZE_LF : EXTENSION);
        return add_digit(f, c);
    case EXTENSION:
        if (c == '\r')
            f->at = SIZE_LF;
        return c != '\n' && ++f->count <= BODY_LINES_MAX;
    case SIZE_LF:
        return expect(f, c, '\n', f->left > 0 ? DATA : TRAILER);
    case DATA_CR:
        return expect(f, c, '\r', DATA_LF);
    case DATA_LF:
        return expect(f, c, '\n', SIZE);
    case TRAILER:
    case TRAILER_LINE:
        f->at = c == '\n' ? TRAILER : f->at == TRAILER && c == '\r' ? LAST_LF : TRAILER_LINE;
        return ++f->count <= BODY_LINES_MAX;
    case LAST_LF:
        f->ended = true;
        return c == '\n';
    default:
        return false;
    }
}

ssize_t body_frame_next(struct body_frame *f, const unsigned char **p, size_t *n, const unsigned char **ret_run, struct err *e) {
    while (*n > 0 && !f->ended) {
        if (!f->chunked || f->at == DATA) {
            size_t k = (size_t)MIN(f->left, (uint64_t)*n);

            *ret_run = *p;
            *p += k;
            *n -= k;
            f->left -= k;
            if (f->left == 0) {
                f->at = DATA_CR;
                f->ended = !f->chunked;
            }
            return (ssize_t)k;
        }
        if (!step(f, **p))
            return err_set(e, ERR_INVALID, "malformed chunked encoding");
        ++*p;
        --*n;
    }
    return 0;
}
