// SPDX-License-Identifier: Apache-2.0
#include "layers/tar.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"

#define BLOCK 512
#define BAD_HEADER "archive/tar: invalid tar header"
#define EARLY_END "unexpected EOF"

/* What extension headers said about the next entry. */
struct extension {
    char *path, *link;
    bool has_size, has_uid, has_gid, has_mtime, has_atime;
    int64_t size, uid, gid, mtime_sec, atime_sec;
    uint32_t mtime_nsec, atime_nsec;
    /* pax sparse forms */
    char *sparse_name;
    int64_t sparse_major, sparse_minor, sparse_size, sparse_offset;
    bool has_sparse, has_sparse_size, has_sparse_offset;
};

struct tar_reader {
    tar_fill_fn fill;
    void *fill_arg;
    tar_raw_fn raw;
    void *raw_arg;
    const unsigned char *p; /* unread part of the last fill */
    size_t n;
    bool ended; /* the stream itself */
    struct tar_entry entry;
    struct extension ext;
    struct buf xattr_text;
    struct tar_segment *segments;
    size_t n_segments, cap_segments;
    int64_t left;    /* data bytes of the entry not yet read */
    int64_t padding; /* to the next block, after them */
    int64_t entries;
    bool finished; /* end marker seen */
    unsigned char block[BLOCK];
};

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

static void extension_reset(struct extension *x) {
    free(x->path);
    free(x->link);
    free(x->sparse_name);
    *x = (struct extension){0};
}

struct tar_reader *tar_reader_free(struct tar_reader *r) {
    if (!r)
        return NULL;
    extension_reset(&r->ext);
    free(r->entry.name);
    free(r->entry.link);
    free(r->entry.xattrs);
    free(r->segments);
    buf_done(&r->xattr_text);
    free(r);
    return NULL;
}

static int bad(struct err *e, const char *why) {
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

static int need_raw(struct tar_reader *r, void *to, int64_t n, struct err *e) {
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

/* Octal with leading blanks and trailing blanks or NULs, or base-256 when the top bit is set. */
static bool parse_number(const unsigned char *p, size_t n, int64_t *ret) {
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

    if (!parse_number(b + 148, 8, &want))
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

/* pax time: seconds with an optional fraction, possibly negative. */
static bool parse_pax_time(const char *s, int64_t *ret_sec, uint32_t *ret_nsec) {
    bool negative = *s == '-';
    int64_t sec = 0;
    uint32_t nsec = 0, scale = 100000000;

    if (negative)
        s++;
    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++) {
        if (sec > INT64_MAX / 100)
            return false;
        sec = sec * 10 + (*s - '0');
    }
    if (*s == '.')
        for (s++; *s >= '0' && *s <= '9'; s++, scale /= 10)
            nsec += (uint32_t)(*s - '0') * scale;
    if (*s)
        return false;
    if (negative) {
        sec = -sec;
        if (nsec) {
            sec--;
            nsec = 1000000000 - nsec;
        }
    }
    *ret_sec = sec;
    *ret_nsec = nsec;
    return true;
}

/* ---- extension headers ------------------------------------------------------------------------------------------------- */

static int add_segment(struct tar_reader *r, int64_t offset, int64_t length, struct err *e) {
    int64_t end = r->n_segments ? r->segments[r->n_segments - 1].offset + r->segments[r->n_segments - 1].length : 0;

    if (offset < end || length < 0 || offset > INT64_MAX / 2 || length > INT64_MAX / 2)
        return bad(e, "sparse map");
    if (r->n_segments >= LIMIT_SPARSE_SEGMENTS)
        return err_set(e, ERR_TOO_LARGE, "archive: sparse file with more than %d segments", LIMIT_SPARSE_SEGMENTS);
    if (r->n_segments == r->cap_segments) {
        size_t cap = r->cap_segments ? r->cap_segments * 2 : 16;
        struct tar_segment *grown = reallocarray(r->segments, cap, sizeof *grown);

        if (!grown)
            return err_oom(e);
        r->segments = grown;
        r->cap_segments = cap;
    }
    r->segments[r->n_segments++] = (struct tar_segment){offset, length};
    return 0;
}

static int set_text(char **slot, const char *v, size_t n, size_t limit, const char *what, struct err *e) {
    char *copy;

    if (memchr(v, 0, n))
        return bad(e, what);
    if (n > limit)
        return err_set(e, ERR_TOO_LARGE, "archive: %s longer than %zu bytes", what, limit);
    copy = strndup(v, n);
    if (!copy)
        return err_oom(e);
    free(*slot);
    *slot = copy;
    return 0;
}

static int set_number(const char *v, int64_t *ret, bool *has, const char *what, struct err *e) {
    if (parse_i64(v, ret) < 0)
        return bad(e, what);
    if (has)
        *has = true;
    return 0;
}

static int add_xattr(struct tar_reader *r, const char *name, size_t name_len, const char *value, size_t n, struct err *e) {
    struct tar_xattr *grown, *x;

    if (r->entry.n_xattrs >= LIMIT_XATTR_NAMES || r->xattr_text.len + name_len + n > LIMIT_XATTR_BYTES)
        return err_set(e, ERR_TOO_LARGE, "archive: too many extended attributes in one entry");
    if (name_len == 0 || memchr(name, 0, name_len))
        return bad(e, "extended attribute");
    grown = reallocarray(r->entry.xattrs, r->entry.n_xattrs + 1, sizeof *grown);
    if (!grown)
        return err_oom(e);
    r->entry.xattrs = grown;
    x = &grown[r->entry.n_xattrs++];
    x->name = r->xattr_text.len;
    buf_add(&r->xattr_text, name, name_len);
    buf_addc(&r->xattr_text, 0);
    x->value = r->xattr_text.len;
    x->value_len = n;
    buf_add(&r->xattr_text, value, n);
    return buf_check(&r->xattr_text, e);
}

static int parse_sparse_list(struct tar_reader *r, const char *v, struct err *e) {
    r->n_segments = 0;
    while (*v) {
        int64_t pair[2];

        for (int k = 0; k < 2; k++) {
            char *end;

            errno = 0;
            pair[k] = strtoll(v, &end, 10);
            if (end == v || errno || pair[k] < 0)
                return bad(e, "sparse map");
            v = *end == ',' ? end + 1 : end;
            if (*end && *end != ',')
                return bad(e, "sparse map");
        }
        if (add_segment(r, pair[0], pair[1], e) < 0)
            return -ERR_INVALID;
    }
    return 0;
}

/* One pax record; v ends with NUL (v[n] == 0). Unknown keys are ignored. */
static int pax_record(struct tar_reader *r, const char *key, const char *v, size_t n, struct err *e) {
    struct extension *x = &r->ext;
    const char *rest;

    if ((rest = str_after(key, "SCHILY.xattr.")))
        return add_xattr(r, rest, strlen(rest), v, n, e);
    if (memchr(v, 0, n))
        return bad(e, "pax value with NUL");
    if (streq(key, "path"))
        return set_text(&x->path, v, n, LIMIT_ARCHIVE_PATH, "path", e);
    if (streq(key, "linkpath"))
        return set_text(&x->link, v, n, LIMIT_ARCHIVE_LINK, "link", e);
    if (streq(key, "size"))
        return set_number(v, &x->size, &x->has_size, "size", e);
    if (streq(key, "uid"))
        return set_number(v, &x->uid, &x->has_uid, "uid", e);
    if (streq(key, "gid"))
        return set_number(v, &x->gid, &x->has_gid, "gid", e);
    if (streq(key, "mtime") || streq(key, "atime")) {
        bool m = key[0] == 'm';

        if (!parse_pax_time(v, m ? &x->mtime_sec : &x->atime_sec, m ? &x->mtime_nsec : &x->atime_nsec))
            return bad(e, "time");
        *(m ? &x->has_mtime : &x->has_atime) = true;
        return 0;
    }
    rest = str_after(key, "GNU.sparse.");
    if (!rest)
        return 0;
    x->has_sparse = true;
    if (streq(rest, "major"))
        return set_number(v, &x->sparse_major, NULL, "sparse version", e);
    if (streq(rest, "minor"))
        return set_number(v, &x->sparse_minor, NULL, "sparse version", e);
    if (streq(rest, "name"))
        return set_text(&x->sparse_name, v, n, LIMIT_ARCHIVE_PATH, "path", e);
    if (streq(rest, "size") || streq(rest, "realsize"))
        return set_number(v, &x->sparse_size, &x->has_sparse_size, "sparse size", e);
    if (streq(rest, "map"))
        return parse_sparse_list(r, v, e);
    if (streq(rest, "offset"))
        return set_number(v, &x->sparse_offset, &x->has_sparse_offset, "sparse map", e);
    if (streq(rest, "numbytes")) {
        int64_t length;

        if (!x->has_sparse_offset || set_number(v, &length, NULL, "sparse map", e) < 0)
            return bad(e, "sparse map");
        x->has_sparse_offset = false;
        return add_segment(r, x->sparse_offset, length, e);
    }
    return 0;
}

/* Records "<length> <key>=<value>\n" one after the other. The text is changed in place (NULs put in). */
static int pax_parse(struct tar_reader *r, char *p, size_t n, struct err *e) {
    while (n > 0) {
        size_t len = 0, i = 0;
        char *key, *eq, *end;
        int k;

        while (i < n && i < 10 && p[i] >= '0' && p[i] <= '9')
            len = len * 10 + (size_t)(p[i++] - '0');
        if (i == 0 || i >= n || p[i] != ' ' || len <= i + 2 || len > n || p[len - 1] != '\n')
            return bad(e, "pax record");
        key = p + i + 1;
        end = p + len - 1;
        eq = memchr(key, '=', (size_t)(end - key));
        if (!eq || eq == key || memchr(key, 0, (size_t)(eq - key)))
            return bad(e, "pax record");
        *eq = 0;
        *end = 0;
        k = pax_record(r, key, eq + 1, (size_t)(end - eq - 1), e);
        if (k < 0)
            return k;
        p += len;
        n -= len;
    }
    return 0;
}

/* Read an extension header's body into fresh memory with a NUL after it. */
static int read_body(struct tar_reader *r, int64_t size, char **ret, struct err *e) {
    _cleanup_free_ char *p = NULL;
    int k;

    if (size < 0 || size > (int64_t)LIMIT_ARCHIVE_EXT_HEADER)
        return err_set(e, ERR_TOO_LARGE, "archive: extended header of %lld bytes", (long long)size);
    p = malloc((size_t)size + 1);
    if (!p)
        return err_oom(e);
    k = need_raw(r, p, size, e);
    if (k < 0)
        return k;
    p[size] = 0;
    k = need_raw(r, NULL, -size & (BLOCK - 1), e);
    if (k < 0)
        return k;
    *ret = TAKE_PTR(p);
    return 0;
}

/* Extension blocks of the old GNU sparse form: 21 more pairs each while the flag at 504 is set. */
static int old_sparse(struct tar_reader *r, struct err *e) {
    const unsigned char *pairs = r->block + 386;
    int count = 4;
    bool again = r->block[482];
    int64_t real;

    if (!parse_number(r->block + 483, 12, &real) || real < 0)
        return bad(e, "sparse size");
    r->ext.sparse_size = real;
    r->n_segments = 0;
    for (;;) {
        for (int i = 0; i < count; i++) {
            int64_t offset, length;

            if (!pairs[i * 24])
                break;
            if (!parse_number(pairs + i * 24, 12, &offset) || !parse_number(pairs + i * 24 + 12, 12, &length) || offset < 0)
                return bad(e, "sparse map");
            if (add_segment(r, offset, length, e) < 0)
                return -ERR_INVALID;
        }
        if (!again)
            return 0;
        if (need_raw(r, r->block, BLOCK, e) < 0)
            return -ERR_INVALID;
        pairs = r->block;
        count = 21;
        again = r->block[504];
    }
}

/* pax sparse 1.0: the map stands before the data, as decimal lines, padded to a block. */
static int sparse_map_1_0(struct tar_reader *r, int64_t *data_size, struct err *e) {
    int64_t count = -1, offset = 0, have = 0, value = 0;
    bool digits = false;

    r->n_segments = 0;
    while (count < 0 || have < 2 * count) {
        if (*data_size < BLOCK)
            return bad(e, "sparse map");
        if (need_raw(r, r->block, BLOCK, e) < 0)
            return -ERR_INVALID;
        *data_size -= BLOCK;
        for (int i = 0; i < BLOCK && (count < 0 || have < 2 * count); i++) {
            unsigned char c = r->block[i];

            if (c >= '0' && c <= '9' && value < INT64_MAX / 16) {
                value = value * 10 + (c - '0');
                digits = true;
                continue;
            }
            if (c != '\n' || !digits)
                return bad(e, "sparse map");
            if (count < 0)
                count = value;
            else if (have++ % 2 == 0)
                offset = value;
            else if (add_segment(r, offset, value, e) < 0)
                return -ERR_INVALID;
            if (count > LIMIT_SPARSE_SEGMENTS)
                return err_set(e, ERR_TOO_LARGE, "archive: sparse file with more than %d segments", LIMIT_SPARSE_SEGMENTS);
            value = 0;
            digits = false;
        }
    }
    return 0;
}

/* ---- entries ------------------------------------------------------------------------------------------------------------ */

static void entry_reset(struct tar_reader *r) {
    free(r->entry.name);
    free(r->entry.link);
    r->entry = (struct tar_entry){.xattrs = r->entry.xattrs};
    r->xattr_text.len = 0;
    r->n_segments = 0;
    extension_reset(&r->ext);
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

    if (!parse_number(b + 100, 8, &mode) || !parse_number(b + 108, 8, &t->uid) || !parse_number(b + 116, 8, &t->gid) ||
        !parse_number(b + 124, 12, ret_size) || !parse_number(b + 136, 12, &t->mtime_sec))
        return bad(e, "number");
    t->mode = (uint32_t)mode & 07777;
    if (memcmp(b + 257, "ustar", 5) == 0 && (t->type == TAR_CHAR || t->type == TAR_BLOCK) &&
        (!parse_number(b + 329, 8, &t->dev_major) || !parse_number(b + 337, 8, &t->dev_minor)))
        return bad(e, "device number");
    return 0;
}

static int check_segments(struct tar_reader *r, struct err *e) {
    int64_t sum = 0;

    for (size_t i = 0; i < r->n_segments; i++) {
        sum += r->segments[i].length;
        if (r->segments[i].offset + r->segments[i].length > r->entry.size || sum > r->entry.data_size)
            return bad(e, "sparse map");
    }
    return sum == r->entry.data_size ? 0 : bad(e, "sparse map");
}

static int apply_sparse(struct tar_reader *r, struct err *e) {
    struct extension *x = &r->ext;
    struct tar_entry *t = &r->entry;
    int k = 0;

    if (t->type_flag == 'S') {
        k = old_sparse(r, e);
        t->size = x->sparse_size;
    } else {
        if (x->sparse_major == 1 && x->sparse_minor == 0)
            k = sparse_map_1_0(r, &t->data_size, e);
        else if (x->sparse_major != 0)
            return bad(e, "sparse version");
        if (x->has_sparse_size)
            t->size = x->sparse_size;
        if (x->sparse_name) {
            free(t->name);
            t->name = TAKE_PTR(x->sparse_name);
        }
    }
    if (k < 0)
        return k;
    if (t->size < 0)
        return bad(e, "sparse size");
    t->sparse = true;
    t->segments = r->segments;
    t->n_segments = r->n_segments;
    return check_segments(r, e);
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
        return bad(e, "negative size");
    /* A V7 archive has no folder type: a name that ends in a slash is one. */
    if (t->type_flag == 0 && str_has_suffix(t->name, "/"))
        t->type = TAR_DIR;
    t->data_size = t->size = header_only(t->type_flag) ? 0 : size;
    if (t->type == TAR_DIR)
        t->size = 0;
    if (size > INT64_MAX / 4)
        return bad(e, "size");
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
        k = apply_sparse(r, e);
    if (k < 0)
        return k;
    t->xattr_text = buf_str(&r->xattr_text);
    r->left = t->data_size;
    r->padding = -t->data_size & (BLOCK - 1);
    return 1;
}

/* The extension headers L, K and x collect; true when the block was one of them. */
static int read_extension(struct tar_reader *r, char flag, struct err *e) {
    _cleanup_free_ char *body = NULL;
    int64_t size;
    int k;

    if (!parse_number(r->block + 124, 12, &size))
        return bad(e, "number");
    k = read_body(r, size, &body, e);
    if (k < 0)
        return k;
    if (flag == 'L')
        return set_text(&r->ext.path, body, strlen(body), LIMIT_ARCHIVE_PATH, "path", e);
    if (flag == 'K')
        return set_text(&r->ext.link, body, strlen(body), LIMIT_ARCHIVE_LINK, "link", e);
    return pax_parse(r, body, (size_t)size, e);
}

static int skip_rest(struct tar_reader *r, struct err *e) {
    int k = need_raw(r, NULL, r->left + r->padding, e);

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
            k = read_extension(r, flag, e);
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
