// SPDX-License-Identifier: Apache-2.0
/* Sections: frames; writing; reading the bytes; reading the frames. */
#include "cli/backup-file.h"

#include <endian.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/fs.h"
#include "base/str.h"
#include "cli/seal.h"

#define FORMAT "hatake volume backup"
#define VERSION 1
#define LEVEL 3
#define ABOUT_FRAME 0x184D2A50U
#define END_FRAME 0x184D2A5FU
#define FRAME_HEAD 8
#define ABOUT_MAX ((size_t)16 << 20) /* labels can be long */
#define DIGEST 32
#define BLOCK ((size_t)128 << 10)

/* ---- frames ---- */

struct frame_head {
    uint32_t magic, length; /* little endian */
};
struct end {
    struct frame_head head;
    unsigned char word[8];
    uint64_t bytes;
    unsigned char digest[DIGEST];
};
_Static_assert(sizeof(struct end) == 56, "an end has no holes");

static struct frame_head frame_head(uint32_t magic, size_t length) {
    return (struct frame_head){htole32(magic), htole32((uint32_t)length)};
}

static struct end end_of(uint64_t bytes, EVP_MD_CTX *digest) {
    struct end end = {.head = frame_head(END_FRAME, sizeof end - FRAME_HEAD), .bytes = htole64(bytes)};

    memcpy(end.word, "HATKEND1", sizeof end.word);
    EVP_DigestFinal_ex(digest, end.digest, NULL);
    return end;
}

static EVP_MD_CTX *digest_new(void) {
    EVP_MD_CTX *d = EVP_MD_CTX_new();

    if (d && EVP_DigestInit_ex(d, EVP_sha256(), NULL) == 1)
        return d;
    EVP_MD_CTX_free(d);
    return NULL;
}

/* ---- writing ---- */

struct backup_writer {
    int fd;
    ZSTD_CCtx *zstd;
    EVP_MD_CTX *digest;
    uint64_t bytes;
    struct seal *seal; /* NULL: none */
    size_t waiting;    /* bytes in chunk[] */
    unsigned char chunk[SEAL_CHUNK], sealed[SEAL_CHUNK + SEAL_TAG], out[BLOCK];
};

static int to_file(struct backup_writer *w, const void *p, size_t n, struct err *e) {
    int r = full_write(w->fd, p, n);

    return r < 0 ? err_errno(e, r, "writing the backup") : 0;
}

static int send_chunk(struct backup_writer *w, bool last, struct err *e) {
    int r = seal_chunk(w->seal, w->chunk, w->waiting, last, w->sealed, e);

    if (r == 0)
        r = to_file(w, w->sealed, w->waiting + SEAL_TAG, e);
    w->waiting = 0;
    return r;
}

/* Bytes of the frames, on their way to the file. */
static int put(struct backup_writer *w, const void *p, size_t n, struct err *e) {
    const unsigned char *at = p;

    EVP_DigestUpdate(w->digest, p, n);
    w->bytes += n;
    if (!w->seal)
        return to_file(w, p, n, e);
    while (n > 0) {
        size_t k = MIN(n, SEAL_CHUNK - w->waiting);

        /* A full chunk waits until it is known not to be the last. */
        if (w->waiting == SEAL_CHUNK) {
            int r = send_chunk(w, false, e);

            if (r < 0)
                return r;
            continue;
        }
        memcpy(w->chunk + w->waiting, at, k);
        w->waiting += k;
        at += k;
        n -= k;
    }
    return 0;
}

static int put_about(struct backup_writer *w, const json_t *about, struct err *e) {
    json_t *whole = json_pack("{s:s, s:i}", "format", FORMAT, "version", VERSION);
    _cleanup_free_ char *text = NULL;
    struct frame_head head;
    int r;

    if (!whole || json_object_update(whole, (json_t *)about) < 0 || !(text = json_dumps(whole, JSON_COMPACT | JSON_SORT_KEYS))) {
        json_decref(whole);
        return err_oom(e);
    }
    json_decref(whole);
    if (strlen(text) > ABOUT_MAX)
        return err_set(e, ERR_TOO_LARGE, "the volume's labels and options are too long for a backup");
    head = frame_head(ABOUT_FRAME, strlen(text));
    r = put(w, &head, sizeof head, e);
    return r < 0 ? r : put(w, text, strlen(text), e);
}

int backup_writer_new(int fd, const json_t *about, const struct buf *passphrase, struct backup_writer **ret, struct err *e) {
    _cleanup_(backup_writer_freep) struct backup_writer *w = calloc(1, sizeof *w);
    unsigned char head[SEAL_HEAD];
    int r = 0;

    if (!w || !(w->zstd = ZSTD_createCCtx()) || !(w->digest = digest_new()))
        return err_oom(e);
    w->fd = fd;
    if (ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1)))
        return err_set(e, ERR_INTERNAL, "zstd cannot be set up");
    if (passphrase) {
        r = seal_new(passphrase, head, &w->seal, e);
        if (r == 0)
            r = to_file(w, head, sizeof head, e);
    }
    if (r == 0)
        r = put_about(w, about, e);
    if (r == 0)
        *ret = TAKE_PTR(w);
    return r;
}

static int compress(struct backup_writer *w, const void *p, size_t n, ZSTD_EndDirective how, struct err *e) {
    ZSTD_inBuffer in = {p, n, 0};
    size_t left;

    do {
        ZSTD_outBuffer out = {w->out, sizeof w->out, 0};
        int r;

        left = ZSTD_compressStream2(w->zstd, &out, &in, how);
        if (ZSTD_isError(left))
            return err_set(e, ERR_INTERNAL, "compressing: %s", ZSTD_getErrorName(left));
        r = put(w, w->out, out.pos, e);
        if (r < 0)
            return r;
    } while (in.pos < in.size || (how == ZSTD_e_end && left > 0));
    return 0;
}

int backup_writer_add(struct backup_writer *w, const void *p, size_t n, struct err *e) {
    return compress(w, p, n, ZSTD_e_continue, e);
}

int backup_writer_end(struct backup_writer *w, struct err *e) {
    struct end end;
    int r = compress(w, NULL, 0, ZSTD_e_end, e);

    if (r < 0)
        return r;
    end = end_of(w->bytes, w->digest);
    r = put(w, &end, sizeof end, e);
    return r < 0 || !w->seal ? r : send_chunk(w, true, e);
}

struct backup_writer *backup_writer_free(struct backup_writer *w) {
    if (!w)
        return NULL;
    ZSTD_freeCCtx(w->zstd);
    EVP_MD_CTX_free(w->digest);
    seal_free(w->seal);
    free(w);
    return NULL;
}

/* ---- reading the bytes ---- */

struct backup_reader {
    int fd;
    ZSTD_DCtx *zstd;
    EVP_MD_CTX *digest;
    uint64_t bytes;
    struct seal *seal;
    json_t *about;
    bool file_over, frame_over, over;
    size_t have;    /* bytes in raw[]: read, not opened */
    size_t at, len; /* what of plain[] is not used yet */
    /* One byte more than a chunk: it tells whether the chunk is the last. */
    unsigned char raw[SEAL_CHUNK + SEAL_TAG + 1], plain[SEAL_CHUNK];
};

static int damaged(struct err *e) {
    return err_set(e, ERR_INVALID, "the backup is damaged");
}

static int cut_off(struct err *e) {
    return err_set(e, ERR_INVALID, "the backup is cut off: its end is missing");
}

static int fill_raw(struct backup_reader *r, struct err *e) {
    while (!r->file_over && r->have < sizeof r->raw) {
        ssize_t n = read(r->fd, r->raw + r->have, sizeof r->raw - r->have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, errno, "reading the backup");
        r->file_over = n == 0;
        r->have += (size_t)n;
    }
    return 0;
}

/* More bytes of the frames into plain[]: 1, or 0 at the end of the file. */
static int more(struct backup_reader *r, struct err *e) {
    int k = r->at < r->len ? 1 : fill_raw(r, e);
    size_t n;

    if (k != 0)
        return k;
    n = MIN(r->have, r->seal ? SEAL_CHUNK + SEAL_TAG : SEAL_CHUNK);
    r->at = r->len = 0;
    if (n == 0)
        return 0;
    if (r->seal) {
        k = seal_unchunk(r->seal, r->raw, n, r->have == n, r->plain, e);
        if (k < 0)
            return k;
        r->len = n - SEAL_TAG;
    } else {
        memcpy(r->plain, r->raw, n);
        r->len = n;
    }
    r->have -= n;
    memmove(r->raw, r->raw + n, r->have);
    return r->len > 0;
}

static void use(struct backup_reader *r, size_t n, bool counted) {
    if (counted) {
        EVP_DigestUpdate(r->digest, r->plain + r->at, n);
        r->bytes += n;
    }
    r->at += n;
}

/* Exactly n bytes. */
static int get(struct backup_reader *r, void *to, size_t n, bool counted, struct err *e) {
    unsigned char *at = to;

    while (n > 0) {
        int k = more(r, e);
        size_t part;

        if (k <= 0)
            return k < 0 ? k : cut_off(e);
        part = MIN(n, r->len - r->at);
        memcpy(at, r->plain + r->at, part);
        use(r, part, counted);
        at += part;
        n -= part;
    }
    return 0;
}

/* ---- reading the frames ---- */

static int open_seal(struct backup_reader *r, const struct buf *passphrase, struct err *e) {
    int k = fill_raw(r, e);
    bool sealed = r->have >= SEAL_HEAD && memcmp(r->raw, SEAL_MAGIC, strlen(SEAL_MAGIC)) == 0;

    if (k < 0)
        return k;
    if (sealed && !passphrase)
        return err_set(e, ERR_UNAUTHORIZED, "the backup is encrypted: give its passphrase with --passphrase-file");
    if (!sealed && passphrase)
        return err_set(e, ERR_UNAUTHORIZED,
                       "the backup is not encrypted: nothing shows that it is the one you mean; restore it without a passphrase");
    if (!sealed)
        return 0;
    k = seal_open(passphrase, r->raw, &r->seal, e);
    r->have -= SEAL_HEAD;
    memmove(r->raw, r->raw + SEAL_HEAD, r->have);
    return k;
}

static int read_about(struct backup_reader *r, struct err *e) {
    _cleanup_free_ char *text = NULL;
    struct frame_head head;
    size_t n;
    int k = get(r, &head, sizeof head, true, e);

    if (k < 0)
        return k == -ERR_INVALID && !r->seal ? err_set(e, ERR_INVALID, "this is no backup of a volume") : k;
    n = le32toh(head.length);
    if (le32toh(head.magic) != ABOUT_FRAME || n > ABOUT_MAX)
        return err_set(e, ERR_INVALID, "this is no backup of a volume");
    text = malloc(n + 1);
    k = text ? get(r, text, n, true, e) : err_oom(e);
    if (k < 0)
        return k;
    r->about = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
    if (!streq_ptr(json_string_value(json_object_get(r->about, "format")), FORMAT))
        return err_set(e, ERR_INVALID, r->about ? "this is no backup of a volume" : "the backup is damaged");
    if (json_integer_value(json_object_get(r->about, "version")) != VERSION)
        return err_set(e, ERR_INVALID, "the backup is of a newer version of this program");
    return 0;
}

int backup_reader_new(int fd, const struct buf *passphrase, struct backup_reader **ret, struct err *e) {
    _cleanup_(backup_reader_freep) struct backup_reader *r = calloc(1, sizeof *r);
    int k;

    if (!r || !(r->zstd = ZSTD_createDCtx()) || !(r->digest = digest_new()))
        return err_oom(e);
    r->fd = fd;
    k = open_seal(r, passphrase, e);
    if (k == 0)
        k = read_about(r, e);
    if (k == 0)
        *ret = TAKE_PTR(r);
    return k;
}

const json_t *backup_reader_about(const struct backup_reader *r) {
    return r->about;
}

/* After the archive: is what was read what had been written? */
static int check_end(struct backup_reader *r, struct err *e) {
    struct end end, wanted = end_of(r->bytes, r->digest);
    int k = get(r, &end, sizeof end, false, e);

    if (k < 0)
        return k;
    if (memcmp(&end, &wanted, sizeof end) != 0)
        return damaged(e);
    k = more(r, e);
    if (k == 0)
        r->over = true;
    return k <= 0 ? k : err_set(e, ERR_INVALID, "the backup is damaged: something follows its end");
}

ssize_t backup_reader_read(struct backup_reader *r, void *p, size_t n, struct err *e) {
    ZSTD_outBuffer out = {p, n, 0};

    while (!r->frame_over && out.pos == 0) {
        ZSTD_inBuffer in;
        size_t left;
        int k = more(r, e);

        if (k <= 0)
            return k < 0 ? k : cut_off(e);
        in = (ZSTD_inBuffer){r->plain + r->at, r->len - r->at, 0};
        left = ZSTD_decompressStream(r->zstd, &out, &in);
        if (ZSTD_isError(left))
            return damaged(e);
        use(r, in.pos, true);
        r->frame_over = left == 0;
    }
    if (out.pos > 0 || r->over)
        return (ssize_t)out.pos;
    return check_end(r, e);
}

struct backup_reader *backup_reader_free(struct backup_reader *r) {
    if (!r)
        return NULL;
    ZSTD_freeDCtx(r->zstd);
    EVP_MD_CTX_free(r->digest);
    seal_free(r->seal);
    json_decref(r->about);
    free(r);
    return NULL;
}
