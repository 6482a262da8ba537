// SPDX-License-Identifier: Apache-2.0
#include "layers/inflate.h"

#include <bzlib.h>
#include <isa-l/igzip_lib.h>
#include <lzma.h>
#include <zstd.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"

#define OUT_SIZE KIB(256)
#define XZ_MEMORY MIB(192) /* dictionary of at most 128 MiB and what the decoder adds */

struct inflate {
    inflate_fill_fn fill;
    void *arg;
    const unsigned char *p; /* unread compressed bytes */
    size_t n;
    bool ended;   /* no more compressed bytes */
    bool started; /* kind is known */
    bool member;  /* inside a member (compressed kinds) */
    enum inflate_kind kind;
    int64_t in_total, out_total;
    unsigned char head[16]; /* first bytes, gathered for the sniffing */
    size_t head_n, head_at;
    unsigned char *out; /* one of the two, in turn */
    unsigned char *outs[2];
    struct inflate_state *gz;
    ZSTD_DCtx *zstd;
    bz_stream bz;
    bool bz_live;
    lzma_stream xz;
    bool xz_live;
};

enum inflate_kind inflate_sniff(const unsigned char *p, size_t n) {
    static const struct {
        enum inflate_kind kind;
        const char *magic;
        size_t n;
    } kinds[] = {{INFLATE_GZIP, "\x1f\x8b\x08", 3},
                 {INFLATE_ZSTD, "\x28\xb5\x2f\xfd", 4},
                 {INFLATE_BZIP2, "BZh", 3},
                 {INFLATE_XZ,
                  "\xfd"
                  "7zXZ\0",
                  6}};

    for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
        if (n >= kinds[i].n && memcmp(p, kinds[i].magic, kinds[i].n) == 0)
            return kinds[i].kind;
    /* A zstd stream may begin with a skippable frame. */
    if (n >= 4 && (p[0] & 0xf0) == 0x50 && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18)
        return INFLATE_ZSTD;
    return INFLATE_NONE;
}

struct inflate *inflate_new(inflate_fill_fn fill, void *arg) {
    struct inflate *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->fill = fill;
    s->arg = arg;
    return s;
}

static void end_libraries(struct inflate *s) {
    if (s->bz_live)
        BZ2_bzDecompressEnd(&s->bz);
    if (s->xz_live)
        lzma_end(&s->xz);
    s->bz_live = s->xz_live = false;
}

struct inflate *inflate_free(struct inflate *s) {
    if (!s)
        return NULL;
    end_libraries(s);
    ZSTD_freeDCtx(s->zstd);
    free(s->gz);
    free(s->outs[0]);
    free(s->outs[1]);
    free(s);
    return NULL;
}

void inflate_restart(struct inflate *s) {
    end_libraries(s);
    s->p = NULL;
    s->n = 0;
    s->ended = s->started = s->member = false;
    s->in_total = s->out_total = 0;
    s->head_n = s->head_at = 0;
}

/* Make sure there is compressed input: 1, 0 at the end, <0. The bytes gathered for sniffing come first. */
static int input(struct inflate *s, struct err *e) {
    int64_t got;

    if (s->n > 0)
        return 1;
    if (s->ended)
        return 0;
    got = s->fill(s->arg, &s->p, e);
    if (got < 0)
        return (int)got;
    s->n = (size_t)got;
    s->in_total += got;
    s->ended = got == 0;
    return got > 0;
}

static int library_error(struct err *e, const char *what) {
    return err_set(e, ERR_INVALID, "%s", what);
}

static int begin_member(struct inflate *s, struct err *e) {
    for (int i = 0; i < 2; i++)
        if (!s->outs[i] && !(s->outs[i] = malloc(OUT_SIZE)))
            return err_oom(e);
    if (!s->out)
        s->out = s->outs[0];
    switch (s->kind) {
    case INFLATE_GZIP:
        if (!s->gz && !(s->gz = malloc(sizeof *s->gz)))
            return err_oom(e);
        isal_inflate_init(s->gz);
        s->gz->crc_flag = ISAL_GZIP;
        break;
    case INFLATE_ZSTD:
        if (!s->zstd && !(s->zstd = ZSTD_createDCtx()))
            return err_oom(e);
        if (!s->member) {
            ZSTD_DCtx_reset(s->zstd, ZSTD_reset_session_only);
            ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, LIMIT_ZSTD_WINDOW_LOG);
        }
        break;
    case INFLATE_BZIP2:
        end_libraries(s);
        s->bz = (bz_stream){0};
        if (BZ2_bzDecompressInit(&s->bz, 0, 0) != BZ_OK)
            return err_oom(e);
        s->bz_live = true;
        break;
    case INFLATE_XZ:
        end_libraries(s);
        s->xz = (lzma_stream)LZMA_STREAM_INIT;
        if (lzma_stream_decoder(&s->xz, XZ_MEMORY, LZMA_CONCATENATED) != LZMA_OK)
            return err_oom(e);
        s->xz_live = true;
        break;
    case INFLATE_NONE:
        break;
    }
    s->member = true;
    return 0;
}

/* One step of each library: consumes from p/n, returns bytes made in out; *ret_done when the member ended. */
static int64_t step_gzip(struct inflate *s, bool *ret_done, struct err *e) {
    int r;

    s->gz->next_in = (uint8_t *)(uintptr_t)s->p;
    s->gz->avail_in = (uint32_t)MIN(s->n, (size_t)MIB(64));
    s->gz->next_out = s->out;
    s->gz->avail_out = OUT_SIZE;
    r = isal_inflate(s->gz);
    s->n -= (size_t)(s->gz->next_in - s->p);
    s->p = s->gz->next_in;
    if (r < 0 || r == ISAL_INCORRECT_CHECKSUM)
        return library_error(e, r == ISAL_INCORRECT_CHECKSUM ? "gzip: invalid checksum" : "gzip: invalid data");
    *ret_done = s->gz->block_state == ISAL_BLOCK_FINISH;
    return (int64_t)(OUT_SIZE - s->gz->avail_out);
}

static int64_t step_zstd(struct inflate *s, bool *ret_done, struct err *e) {
    ZSTD_inBuffer in = {s->p, s->n, 0};
    ZSTD_outBuffer out = {s->out, OUT_SIZE, 0};
    size_t r = ZSTD_decompressStream(s->zstd, &out, &in);

    if (ZSTD_isError(r))
        return err_set(e, ERR_INVALID, "zstd: %s", ZSTD_getErrorName(r));
    s->p += in.pos;
    s->n -= in.pos;
    *ret_done = r == 0;
    return (int64_t)out.pos;
}

static int64_t step_bzip2(struct inflate *s, bool *ret_done, struct err *e) {
    int r;

    s->bz.next_in = (char *)(uintptr_t)s->p;
    s->bz.avail_in = (unsigned)MIN(s->n, (size_t)MIB(64));
    s->bz.next_out = (char *)s->out;
    s->bz.avail_out = OUT_SIZE;
    r = BZ2_bzDecompress(&s->bz);
    s->n -= (size_t)((const unsigned char *)s->bz.next_in - s->p);
    s->p = (const unsigned char *)s->bz.next_in;
    if (r != BZ_OK && r != BZ_STREAM_END)
        return library_error(e, "bzip2: invalid data");
    *ret_done = r == BZ_STREAM_END;
    return (int64_t)(OUT_SIZE - s->bz.avail_out);
}

static int64_t step_xz(struct inflate *s, bool *ret_done, struct err *e) {
    lzma_ret r;

    s->xz.next_in = s->p;
    s->xz.avail_in = s->n;
    s->xz.next_out = s->out;
    s->xz.avail_out = OUT_SIZE;
    r = lzma_code(&s->xz, s->ended ? LZMA_FINISH : LZMA_RUN);
    s->p = s->xz.next_in;
    s->n = s->xz.avail_in;
    if (r == LZMA_MEMLIMIT_ERROR)
        return err_set(e, ERR_TOO_LARGE, "xz: the dictionary needs too much memory");
    if (r != LZMA_OK && r != LZMA_STREAM_END)
        return library_error(e, r == LZMA_BUF_ERROR ? "unexpected EOF" : "xz: invalid data");
    *ret_done = r == LZMA_STREAM_END;
    return (int64_t)(OUT_SIZE - s->xz.avail_out);
}

static int64_t step(struct inflate *s, bool *ret_done, struct err *e) {
    switch (s->kind) {
    case INFLATE_GZIP:
        return step_gzip(s, ret_done, e);
    case INFLATE_ZSTD:
        return step_zstd(s, ret_done, e);
    case INFLATE_BZIP2:
        return step_bzip2(s, ret_done, e);
    default:
        return step_xz(s, ret_done, e);
    }
}

static int sniff(struct inflate *s, struct err *e) {
    s->kind = INFLATE_NONE;
    while (s->head_n < sizeof s->head) {
        int k = input(s, e);
        size_t part;

        if (k < 0)
            return k;
        if (k == 0)
            break;
        part = MIN(s->n, sizeof s->head - s->head_n);
        if (s->head_n == 0 && s->n >= sizeof s->head) { /* the usual case: no copy */
            s->kind = inflate_sniff(s->p, s->n);
            s->started = true;
            return 0;
        }
        memcpy(s->head + s->head_n, s->p, part);
        s->head_n += part;
        s->p += part;
        s->n -= part;
    }
    s->kind = inflate_sniff(s->head, s->head_n);
    s->started = true;
    return 0;
}

/* Input for a step, where bytes put aside by sniff() go first. The rest of the fill is kept for afterwards. */
static int64_t step_with_head(struct inflate *s, bool *ret_done, struct err *e) {
    const unsigned char *p = s->p;
    size_t n = s->n;
    int64_t made;

    if (s->head_at >= s->head_n)
        return step(s, ret_done, e);
    s->p = s->head + s->head_at;
    s->n = s->head_n - s->head_at;
    made = step(s, ret_done, e);
    s->head_at = s->head_n - s->n;
    s->p = p;
    s->n = n;
    return made;
}

static int64_t read_plain(struct inflate *s, const unsigned char **ret_p, struct err *e) {
    int64_t n;
    int k;

    if (s->head_at < s->head_n) {
        *ret_p = s->head + s->head_at;
        n = (int64_t)(s->head_n - s->head_at);
        s->head_at = s->head_n;
        return n;
    }
    k = input(s, e);
    if (k <= 0)
        return k;
    *ret_p = s->p;
    n = (int64_t)s->n;
    s->p += s->n;
    s->n = 0;
    return n;
}

static int bomb_check(struct inflate *s, struct err *e) {
    if (s->out_total > (int64_t)LIMIT_EXPANSION_FREE && s->out_total / LIMIT_EXPANSION_RATIO > s->in_total)
        return err_set(e, ERR_TOO_LARGE, "compressed stream expands more than %d times", LIMIT_EXPANSION_RATIO);
    return 0;
}

/* After a member: another one, padding zeros, or the end. Returns 1 when a new member begins, 0 at the end. */
static int between_members(struct inflate *s, struct err *e) {
    while (s->head_at < s->head_n && s->head[s->head_at] == 0)
        s->head_at++;
    if (s->head_at < s->head_n)
        return 1;
    for (;;) {
        int k = input(s, e);

        if (k <= 0)
            return k;
        while (s->n > 0 && *s->p == 0)
            s->p++, s->n--;
        if (s->n > 0)
            return 1;
    }
}

int64_t inflate_read(struct inflate *s, const unsigned char **ret_p, struct err *e) {
    int k = s->started ? 0 : sniff(s, e);

    if (k < 0)
        return k;
    if (s->kind == INFLATE_NONE)
        return read_plain(s, ret_p, e);
    s->out = s->out == s->outs[0] ? s->outs[1] : s->outs[0];
    if (!s->member && s->out_total == 0) {
        k = begin_member(s, e);
        if (k < 0)
            return k;
    }
    for (;;) {
        bool done = false;
        int64_t made;

        if (!s->member) {
            k = between_members(s, e);
            if (k <= 0)
                return k;
            k = begin_member(s, e);
            if (k < 0)
                return k;
        }
        if (s->head_at >= s->head_n) {
            k = input(s, e);
            if (k < 0)
                return k;
        }
        made = step_with_head(s, &done, e);
        if (made < 0)
            return made;
        if (done)
            s->member = false;
        s->out_total += made;
        k = bomb_check(s, e);
        if (k < 0)
            return k;
        if (made > 0) {
            *ret_p = s->out;
            return made;
        }
        if (!done && s->ended && s->n == 0 && s->head_at >= s->head_n)
            return err_set(e, ERR_INVALID, "unexpected EOF");
    }
}
