// SPDX-License-Identifier: Apache-2.0
/* Sections: life; bytes; numbers; entries. Extension headers: tar-extensions.c. */
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "layers/tar-internal.h"

#define BAD_HEADER "archive/tar: invalid tar header"
#define EARLY_END "unexpected EOF"

struct tar_reader *tar_reader_new(tar_fill_fn fill, void *fill_arg, tar_raw_fn raw, void *raw_arg) {
    struct tar_reader *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->fill = fill;
    r->fill_arg = fill_arg;
    r->raw = raw;
    r->raw_arg = raw_arg;
    r->xattr_text = BUF_INIT(2 * LIMIT_XATTR_BYTES);
    return r;
}

struct tar_reader *tar_reader_free(struct tar_reader *r) {
    if (!r)
        return NULL;
    tar_extension_reset(&r->ext);
    free(r->entry.name);
    free(r->entry.link);
    free(r->entry.xattrs);
    free(r->segments);
    buf_done(&r->xattr_text);
    free(r);
    return NULL;
}

int tar_bad(struct err *e, const char *why) {
    return err_set(e, ERR_INVALID, "%s: %s", BAD_HEADER, why);
}

/* ---- bytes ------------------------------------------------------------------------------------------------------------ */

static int more(struct tar_reader *r, struct err *e) {
    int64_t got;

    if (r->n > 0)
        return 1;
    if (r->ended)
        return 0;
    got = r->fill(r->fill_arg, &r->p, e);
    if (got < 0)
        return (int)got;
    r->n = (size_t)got;
    r->ended = got == 0;
    return got > 0;
}

/* Copy up to n bytes; fewer only at the end of the stream. They count as raw. */
static int64_t take_raw(struct tar_reader *r, void *to, size_t n, struct err *e) {
    size_t done = 0;

    while (done < n) {
        int k = more(r, e);
        size_t part;

        if (k < 0)
            return k;
        if (k == 0)
            break;
        part = MIN(r->n, n - done);
        if (to)
            memcpy((char *)to + done, r->p, part);
        if (r->raw) {
            int bad_raw = r->raw(r->raw_arg, r->p, part, e);

            if (bad_raw < 0)
                return bad_raw;
        }
        r->p += part;
        r->n -= part;
        done += part;
    }
    return (int64_t)done;
}

int tar_raw(struct tar_reader *r, void *to, int64_t n, struct err *e) {
    while (n > 0) {
        size_t part = to ? (size_t)n : (size_t)MIN(n, (int64_t)KIB(64));
        int64_t got = take_raw(r, to, part, e);

        if (got < 0)
            return (int)got;
        if ((size_t)got < part)
            return err_set(e, ERR_INVALID, EARLY_END);
        n -= got;
    }
    return 0;
}

/* ---- numbers ---------------------------------------------------------------------------------------------------------- */

bool tar_number(const unsigned char *p, size_t n, int64_t *ret) {
    uint64_t v = 0;

    if (n > 0 && (p[0] & 0x80)) {
        bool negative = p[0] & 0x40;

        for (size_t i = 0; i < n; i++) {
            unsigned char c = negative ? (unsigned char)~p[i] : p[i];

            if (i == 0)
                c &= 0x7f;
            if (v >> 55)
                return false;
            v = v << 8 | c;
        }
        *ret = negative ? -(int64_t)v - 1 : (int64_t)v;
        return true;
    }
    while (n > 0 && (*p == ' ' || *p == 0))
        p++, n--;
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == 0))
        n--;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == 0 || p[i] == ' ') /* as Go: the number ends at the first NUL */
            break;
        if (p[i] < '0' || p[i] > '7' || v >> 60)
            return false;
        v = v << 3 | (uint64_t)(p[i] - '0');
    }
    *ret = (int64_t)v;
    return true;
}

static bool checksum_right(const unsigned char *b) {
    int64_t want, plain = 0, with_sign = 0;

    if (!tar_number(b + 148, 8, &want))
        return false;
    for (int i = 0; i < BLOCK; i++) {
        unsigned char c = i >= 148 && i < 156 ? ' ' : b[i];

        plain += c;
        with_sign += (signed char)c;
    }
    return want == plain || want == with_sign;
}

static bool all_zero(const unsigned char *b) {
    for (int i = 0; i < BLOCK; i++)
        if (b[i])
            return false;
    return true;
}

bool tar_header_plausible(const unsigned char block[BLOCK]) {
    return !all_zero(block) && checksum_right(block);
}

/* Field that ends at a NUL or at its width. */
static char *field(const unsigned char *p, size_t n) {
    return strndup((const char *)p, n);
}

/* ---- entries ------------------------------------------------------------------------------------------------------------ */

static void entry_reset(struct tar_reader *r) {
    free(r->entry.name);
    free(r->entry.link);
    r->entry = (struct tar_entry){.xattrs = r->entry.xattrs};
    r->xattr_text.len = 0;
    r->n_segments = 0;
    tar_extension_reset(&r->ext);
}

static bool header_only(char flag) {
    return flag >= '1' && flag <= '6';
}

static enum tar_type type_of(char flag) {
    switch (flag) {
    case 0:
    case '0':
    case '7':
    case 'S':
        return TAR_FILE;
    case '1':
        return TAR_HARDLINK;
    case '2':
        return TAR_SYMLINK;
    case '3':
        return TAR_CHAR;
    case '4':
        return TAR_BLOCK;
    case '5':
        return TAR_DIR;
    case '6':
        return TAR_FIFO;
    case 'g':
        return TAR_GLOBAL;
    default:
        return TAR_OTHER;
    }
}

static char *header_name(const unsigned char *b) {
    bool ustar = memcmp(b + 257, "ustar\0", 6) == 0;
    bool star = ustar && memcmp(b + 508, "tar\0", 4) == 0;
    _cleanup_free_ char *name = field(b, 100);
    _cleanup_free_ char *prefix = ustar ? field(b + 345, star ? 131 : 155) : NULL;

    if (prefix && *prefix && name)
        return str_printf("%s/%s", prefix, name);
    return TAKE_PTR(name);
}

/* Numbers of the header block itself, before extensions override them. */
static int header_numbers(const unsigned char *b, struct tar_entry *t, int64_t *ret_size, struct err *e) {
    int64_t mode;

    if (!tar_number(b + 100, 8, &mode) || !tar_number(b + 108, 8, &t->uid) || !tar_number(b + 116, 8, &t->gid) ||
        !tar_number(b + 124, 12, ret_size) || !tar_number(b + 136, 12, &t->mtime_sec))
        return tar_bad(e, "number");
    t->mode = (uint32_t)mode & 07777;
    if (memcmp(b + 257, "ustar", 5) == 0 && (t->type == TAR_CHAR || t->type == TAR_BLOCK) &&
        (!tar_number(b + 329, 8, &t->dev_major) || !tar_number(b + 337, 8, &t->dev_minor)))
        return tar_bad(e, "device number");
    return 0;
}

static int apply_extension(struct tar_reader *r, int64_t size, struct err *e) {
    struct extension *x = &r->ext;
    struct tar_entry *t = &r->entry;

    if (x->path) {
        free(t->name);
        t->name = TAKE_PTR(x->path);
    }
    if (x->link) {
        free(t->link);
        t->link = TAKE_PTR(x->link);
    }
    if (x->has_uid)
        t->uid = x->uid;
    if (x->has_gid)
        t->gid = x->gid;
    if (x->has_mtime) {
        t->mtime_sec = x->mtime_sec;
        t->mtime_nsec = x->mtime_nsec;
    }
    if (x->has_atime) {
        t->atime_sec = x->atime_sec;
        t->atime_nsec = x->atime_nsec;
        t->has_atime = true;
    }
    if (x->has_size)
        size = x->size;
    if (size < 0)
        return tar_bad(e, "negative size");
    /* A V7 archive has no folder type: a name that ends in a slash is one. */
    if (t->type_flag == 0 && str_has_suffix(t->name, "/"))
        t->type = TAR_DIR;
    t->data_size = t->size = header_only(t->type_flag) ? 0 : size;
    if (t->type == TAR_DIR)
        t->size = 0;
    if (size > INT64_MAX / 4)
        return tar_bad(e, "size");
    return 0;
}

static int read_entry(struct tar_reader *r, struct err *e) {
    const unsigned char *b = r->block;
    struct tar_entry *t = &r->entry;
    int64_t size;
    int k;

    t->type_flag = (char)b[156];
    t->type = type_of(t->type_flag);
    k = header_numbers(b, t, &size, e);
    if (k < 0)
        return k;
    if (!t->name)
        t->name = header_name(b);
    t->link = field(b + 157, 100);
    if (!t->name || !t->link)
        return err_oom(e);
    k = apply_extension(r, size, e);
    if (k == 0 && t->type == TAR_FILE && (t->type_flag == 'S' || r->ext.has_sparse))
        k = tar_sparse_apply(r, e);
    if (k < 0)
        return k;
    t->xattr_text = buf_str(&r->xattr_text);
    r->left = t->data_size;
    r->padding = -t->data_size & (BLOCK - 1);
    return 1;
}

static int skip_rest(struct tar_reader *r, struct err *e) {
    int k = tar_raw(r, NULL, r->left + r->padding, e);

    r->left = r->padding = 0;
    return k;
}

int tar_reader_next(struct tar_reader *r, const struct tar_entry **ret, struct err *e) {
    int k = skip_rest(r, e);

    if (k < 0)
        return k;
    if (r->finished)
        return 0;
    entry_reset(r);
    for (int chain = 0;;) {
        int64_t got = take_raw(r, r->block, BLOCK, e);
        char flag;

        if (got < 0)
            return (int)got;
        if (got == 0 && chain == 0) { /* ended without a marker: readers take that as the end */
            r->finished = true;
            return 0;
        }
        if (got < BLOCK)
            return err_set(e, ERR_INVALID, EARLY_END);
        if (all_zero(r->block)) {
            got = take_raw(r, r->block, BLOCK, e);
            if (got < 0)
                return (int)got;
            if (got == BLOCK && !all_zero(r->block))
                return err_set(e, ERR_INVALID, BAD_HEADER);
            r->finished = true;
            return 0;
        }
        if (!checksum_right(r->block))
            return err_set(e, ERR_INVALID, BAD_HEADER);
        flag = (char)r->block[156];
        if (flag == 'L' || flag == 'K' || flag == 'x') {
            if (++chain > LIMIT_ARCHIVE_EXT_CHAIN)
                return err_set(e, ERR_TOO_LARGE, "archive: more than %d extended headers in a row", LIMIT_ARCHIVE_EXT_CHAIN);
            k = tar_extension_read(r, flag, e);
            if (k < 0)
                return k;
            continue;
        }
        if (++r->entries > LIMIT_ARCHIVE_ENTRIES)
            return err_set(e, ERR_TOO_LARGE, "archive: more than %d entries", LIMIT_ARCHIVE_ENTRIES);
        k = read_entry(r, e);
        if (k > 0)
            *ret = &r->entry;
        return k;
    }
}

int64_t tar_reader_data(struct tar_reader *r, const unsigned char **ret_p, struct err *e) {
    return tar_reader_data_upto(r, ret_p, SIZE_MAX, e);
}

int64_t tar_reader_data_upto(struct tar_reader *r, const unsigned char **ret_p, size_t max, struct err *e) {
    size_t part;
    int k;

    if (r->left == 0)
        return 0;
    k = more(r, e);
    if (k < 0)
        return k;
    if (k == 0)
        return err_set(e, ERR_INVALID, EARLY_END);
    part = (size_t)MIN((int64_t)MIN(r->n, max), r->left);
    *ret_p = r->p;
    r->p += part;
    r->n -= part;
    r->left -= (int64_t)part;
    return (int64_t)part;
}

int tar_reader_drain(struct tar_reader *r, struct err *e) {
    int k = skip_rest(r, e);

    while (k == 0) {
        int64_t got = take_raw(r, NULL, KIB(64), e);

        if (got < 0)
            return (int)got;
        if (got == 0)
            return 0;
    }
    return k;
}
