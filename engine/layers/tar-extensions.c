// SPDX-License-Identifier: Apache-2.0
/* What stands before an entry and says more about it. Sections: sparse files; pax records; the headers. */
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "layers/tar-internal.h"

/* ---- sparse files ------------------------------------------------------------------------------------------------------- */

static int add_segment(struct tar_reader *r, int64_t offset, int64_t length, struct err *e) {
    int64_t end = r->n_segments ? r->segments[r->n_segments - 1].offset + r->segments[r->n_segments - 1].length : 0;

    if (offset < end || length < 0 || offset > INT64_MAX / 2 || length > INT64_MAX / 2)
        return tar_bad(e, "sparse map");
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

static int parse_sparse_list(struct tar_reader *r, const char *v, struct err *e) {
    r->n_segments = 0;
    while (*v) {
        int64_t pair[2];

        for (int k = 0; k < 2; k++) {
            char *end;

            errno = 0;
            pair[k] = strtoll(v, &end, 10);
            if (end == v || errno || pair[k] < 0)
                return tar_bad(e, "sparse map");
            v = *end == ',' ? end + 1 : end;
            if (*end && *end != ',')
                return tar_bad(e, "sparse map");
        }
        if (add_segment(r, pair[0], pair[1], e) < 0)
            return -ERR_INVALID;
    }
    return 0;
}

/* Extension blocks of the old GNU sparse form: 21 more pairs each while the flag at 504 is set. */
static int old_sparse(struct tar_reader *r, struct err *e) {
    const unsigned char *pairs = r->block + 386;
    int count = 4;
    bool again = r->block[482];
    int64_t real;

    if (!tar_number(r->block + 483, 12, &real) || real < 0)
        return tar_bad(e, "sparse size");
    r->ext.sparse_size = real;
    r->n_segments = 0;
    for (;;) {
        for (int i = 0; i < count; i++) {
            int64_t offset, length;

            if (!pairs[i * 24])
                break;
            if (!tar_number(pairs + i * 24, 12, &offset) || !tar_number(pairs + i * 24 + 12, 12, &length) || offset < 0)
                return tar_bad(e, "sparse map");
            if (add_segment(r, offset, length, e) < 0)
                return -ERR_INVALID;
        }
        if (!again)
            return 0;
        if (tar_raw(r, r->block, BLOCK, e) < 0)
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
            return tar_bad(e, "sparse map");
        if (tar_raw(r, r->block, BLOCK, e) < 0)
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
                return tar_bad(e, "sparse map");
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

static int check_segments(struct tar_reader *r, struct err *e) {
    int64_t sum = 0;

    for (size_t i = 0; i < r->n_segments; i++) {
        sum += r->segments[i].length;
        if (r->segments[i].offset + r->segments[i].length > r->entry.size || sum > r->entry.data_size)
            return tar_bad(e, "sparse map");
    }
    return sum == r->entry.data_size ? 0 : tar_bad(e, "sparse map");
}

int tar_sparse_apply(struct tar_reader *r, struct err *e) {
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
            return tar_bad(e, "sparse version");
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
        return tar_bad(e, "sparse size");
    t->sparse = true;
    t->segments = r->segments;
    t->n_segments = r->n_segments;
    return check_segments(r, e);
}

/* ---- pax records -------------------------------------------------------------------------------------------------------- */

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

static int set_text(char **slot, const char *v, size_t n, size_t limit, const char *what, struct err *e) {
    char *copy;

    if (memchr(v, 0, n))
        return tar_bad(e, what);
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
        return tar_bad(e, what);
    if (has)
        *has = true;
    return 0;
}

static int add_xattr(struct tar_reader *r, const char *name, size_t name_len, const char *value, size_t n, struct err *e) {
    struct tar_xattr *grown, *x;

    if (r->entry.n_xattrs >= LIMIT_XATTR_NAMES || r->xattr_text.len + name_len + n > LIMIT_XATTR_BYTES)
        return err_set(e, ERR_TOO_LARGE, "archive: too many extended attributes in one entry");
    if (name_len == 0 || memchr(name, 0, name_len))
        return tar_bad(e, "extended attribute");
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

/* One pax record; v ends with NUL (v[n] == 0). Unknown keys are ignored. */
static int pax_record(struct tar_reader *r, const char *key, const char *v, size_t n, struct err *e) {
    struct extension *x = &r->ext;
    const char *rest;

    if ((rest = str_after(key, "SCHILY.xattr.")))
        return add_xattr(r, rest, strlen(rest), v, n, e);
    if (memchr(v, 0, n))
        return tar_bad(e, "pax value with NUL");
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
            return tar_bad(e, "time");
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
            return tar_bad(e, "sparse map");
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
            return tar_bad(e, "pax record");
        key = p + i + 1;
        end = p + len - 1;
        eq = memchr(key, '=', (size_t)(end - key));
        if (!eq || eq == key || memchr(key, 0, (size_t)(eq - key)))
            return tar_bad(e, "pax record");
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

/* ---- the headers -------------------------------------------------------------------------------------------------------- */

void tar_extension_reset(struct extension *x) {
    free(x->path);
    free(x->link);
    free(x->sparse_name);
    *x = (struct extension){0};
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
    k = tar_raw(r, p, size, e);
    if (k < 0)
        return k;
    p[size] = 0;
    k = tar_raw(r, NULL, -size & (BLOCK - 1), e);
    if (k < 0)
        return k;
    *ret = TAKE_PTR(p);
    return 0;
}

int tar_extension_read(struct tar_reader *r, char flag, struct err *e) {
    _cleanup_free_ char *body = NULL;
    int64_t size;
    int k;

    if (!tar_number(r->block + 124, 12, &size))
        return tar_bad(e, "number");
    k = read_body(r, size, &body, e);
    if (k < 0)
        return k;
    if (flag == 'L')
        return set_text(&r->ext.path, body, strlen(body), LIMIT_ARCHIVE_PATH, "path", e);
    if (flag == 'K')
        return set_text(&r->ext.link, body, strlen(body), LIMIT_ARCHIVE_LINK, "link", e);
    return pax_parse(r, body, (size_t)size, e);
}
