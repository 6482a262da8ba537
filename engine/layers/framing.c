// SPDX-License-Identifier: Apache-2.0
#include "layers/framing.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"

#define MAGIC "hatake framing 1\n"
#define PIECE KIB(64)

struct framing_writer {
    int fd;
    ZSTD_CCtx *zstd;
    struct buf plain;
    unsigned char out[KIB(64)];
};

struct framing_writer *framing_writer_new(int fd) {
    struct framing_writer *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->fd = fd;
    w->plain = BUF_INIT(MIB(4));
    w->zstd = ZSTD_createCCtx();
    if (!w->zstd)
        return framing_writer_free(w);
    /* Headers are very alike: a small window at the fastest level already gives 20:1, and costs 1 MiB of memory. */
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, 1);
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_windowLog, 17);
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
    buf_adds(&w->plain, MAGIC);
    return w;
}

struct framing_writer *framing_writer_free(struct framing_writer *w) {
    if (!w)
        return NULL;
    ZSTD_freeCCtx(w->zstd);
    buf_done(&w->plain);
    free(w);
    return NULL;
}

static int compress(struct framing_writer *w, ZSTD_EndDirective how, struct err *e) {
    ZSTD_inBuffer in = {w->plain.data, w->plain.len, 0};
    size_t left;

    do {
        ZSTD_outBuffer out = {w->out, sizeof w->out, 0};
        int r;

        left = ZSTD_compressStream2(w->zstd, &out, &in, how);
        if (ZSTD_isError(left))
            return err_set(e, ERR_INTERNAL, "framing: %s", ZSTD_getErrorName(left));
        r = full_write(w->fd, w->out, out.pos);
        if (r < 0)
            return err_errno(e, r, "writing the framing record");
    } while (how == ZSTD_e_end ? left > 0 : in.pos < in.size);
    buf_reset(&w->plain);
    return 0;
}

static int settle(struct framing_writer *w, struct err *e) {
    int r = buf_check(&w->plain, e);

    if (r < 0)
        return r;
    return w->plain.len >= PIECE ? compress(w, ZSTD_e_continue, e) : 0;
}

static void add_number(struct buf *b, uint64_t v) {
    while (v >= 0x80) {
        buf_addc(b, (char)(v | 0x80));
        v >>= 7;
    }
    buf_addc(b, (char)v);
}

int framing_raw(struct framing_writer *w, const void *p, size_t n, struct err *e) {
    buf_addc(&w->plain, 'R');
    add_number(&w->plain, n);
    buf_add(&w->plain, p, n);
    return settle(w, e);
}

int framing_file(struct framing_writer *w, const char *path, struct err *e) {
    size_t n = strlen(path);

    buf_addc(&w->plain, 'F');
    add_number(&w->plain, n);
    buf_add(&w->plain, path, n);
    return settle(w, e);
}

int framing_data(struct framing_writer *w, int64_t offset, int64_t length, struct err *e) {
    buf_addc(&w->plain, 'D');
    add_number(&w->plain, (uint64_t)offset);
    add_number(&w->plain, (uint64_t)length);
    return settle(w, e);
}

int framing_finish(struct framing_writer *w, struct err *e) {
    buf_addc(&w->plain, 'E');
    if (buf_check(&w->plain, e) < 0)
        return -ERR_INTERNAL;
    return compress(w, ZSTD_e_end, e);
}

/* ---- reading -------------------------------------------------------------------------------------------------------------- */

struct replay {
    int fd, dirfd;
    ZSTD_DCtx *zstd;
    unsigned char *in, *out; /* buffers of PIECE bytes */
    ZSTD_inBuffer zin;
    size_t at, n; /* unread part of out */
    bool ended;
    framing_sink_fn sink;
    void *arg;
    unsigned char *piece; /* of the archive */
    size_t filled;
    int64_t total;
};

static void replay_done(struct replay *s) {
    ZSTD_freeDCtx(s->zstd);
    free(s->in);
    free(s->out);
    free(s->piece);
}

static int damaged(struct err *e, const char *what) {
    return err_set(e, ERR_INTERNAL, "layer is damaged: %s", what);
}

/* 1 when there are plain bytes, 0 at the end. */
static int replay_fill(struct replay *s, struct err *e) {
    while (s->at == s->n) {
        ZSTD_outBuffer out = {s->out, PIECE, 0};
        size_t r;

        if (s->zin.pos == s->zin.size && !s->ended) {
            ssize_t got = read(s->fd, s->in, PIECE);

            if (got < 0)
                return err_errno(e, errno, "reading the framing record");
            s->ended = got == 0;
            s->zin = (ZSTD_inBuffer){s->in, (size_t)got, 0};
        }
        r = ZSTD_decompressStream(s->zstd, &out, &s->zin);
        if (ZSTD_isError(r))
            return damaged(e, "framing record");
        s->at = 0;
        s->n = out.pos;
        if (out.pos == 0 && s->ended)
            return 0;
    }
    return 1;
}

static int replay_byte(struct replay *s, unsigned char *ret, struct err *e) {
    int k = replay_fill(s, e);

    if (k < 0)
        return k;
    if (k == 0)
        return damaged(e, "framing record is short");
    *ret = s->out[s->at++];
    return 0;
}

static int replay_number(struct replay *s, int64_t *ret, struct err *e) {
    uint64_t v = 0;

    for (int shift = 0; shift < 63; shift += 7) {
        unsigned char c = 0;
        int k = replay_byte(s, &c, e);

        if (k < 0)
            return k;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) {
            *ret = (int64_t)v;
            return 0;
        }
    }
    return damaged(e, "framing record");
}

/* Hand the piece over that was filled. */
static int replay_piece(struct replay *s, struct err *e) {
    int k = s->filled > 0 ? s->sink(s->arg, s->piece, s->filled, e) : 0;

    s->filled = 0;
    return k;
}

/* So many bytes were added to the piece. */
static int replay_added(struct replay *s, size_t n, struct err *e) {
    s->filled += n;
    return s->filled == FRAMING_PIECE ? replay_piece(s, e) : 0;
}

/* n bytes to `to`, or into the archive when `to` is NULL. */
static int replay_bytes(struct replay *s, char *to, int64_t n, struct err *e) {
    while (n > 0) {
        int k = replay_fill(s, e);
        size_t part;

        if (k <= 0)
            return k < 0 ? k : damaged(e, "framing record is short");
        part = (size_t)MIN((int64_t)(s->n - s->at), n);
        if (!to && s->sink)
            part = MIN(part, FRAMING_PIECE - s->filled);
        if (to)
            memcpy(to, s->out + s->at, part);
        else if (s->sink)
            memcpy(s->piece + s->filled, s->out + s->at, part);
        s->at += part;
        n -= (int64_t)part;
        if (to) {
            to += part;
            continue;
        }
        s->total += (int64_t)part;
        k = s->sink ? replay_added(s, part, e) : 0;
        if (k < 0)
            return k;
    }
    return 0;
}

static int open_member(int dirfd, const char *path, struct err *e) {
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOATIME, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    _cleanup_close_ int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    struct stat st;

    if (fd < 0)
        return err_errno(e, errno, "layer is damaged: %s", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(e, ERR_INTERNAL, "layer is damaged: %s is not a regular file", path);
    return TAKE_FD(fd);
}

static int copy_data(struct replay *s, int file, const char *path, int64_t offset, int64_t n, struct err *e) {
    while (n > 0) {
        ssize_t got = pread(file, s->piece + s->filled, (size_t)MIN(n, (int64_t)(FRAMING_PIECE - s->filled)), offset);
        int k;

        if (got < 0)
            return err_errno(e, errno, "reading %s of a layer", path);
        if (got == 0)
            return err_set(e, ERR_INTERNAL, "layer is damaged: %s is shorter than it was", path);
        k = replay_added(s, (size_t)got, e);
        if (k < 0)
            return k;
        offset += got;
        n -= got;
    }
    return 0;
}

static int replay_items(struct replay *s, struct err *e) {
    char path[LIMIT_ARCHIVE_PATH + 1] = "", magic[sizeof MAGIC - 1];
    _cleanup_close_ int file = -EBADF;
    int64_t n, offset;
    int k;

    k = replay_bytes(s, magic, sizeof magic, e);
    if (k == 0 && memcmp(magic, MAGIC, sizeof magic) != 0)
        k = damaged(e, "framing record");
    while (k == 0) {
        unsigned char kind = 0;

        k = replay_byte(s, &kind, e);
        if (k < 0)
            return k;
        if (kind == 'E')
            return s->sink ? replay_piece(s, e) : 0;
        k = replay_number(s, &n, e);
        if (k < 0)
            return k;
        switch (kind) {
        case 'R':
            k = replay_bytes(s, NULL, n, e);
            break;
        case 'F':
            if (n > LIMIT_ARCHIVE_PATH)
                return damaged(e, "framing record");
            k = replay_bytes(s, path, n, e);
            path[n] = 0;
            file = close_fd(file);
            break;
        case 'D':
            offset = n;
            k = replay_number(s, &n, e);
            if (k < 0)
                return k;
            s->total += n;
            if (!s->sink)
                break;
            if (file < 0)
                file = open_member(s->dirfd, path, e);
            k = file < 0 ? file : copy_data(s, file, path, offset, n, e);
            break;
        default:
            k = damaged(e, "framing record");
        }
    }
    return k;
}

int framing_replay(int fd, int dirfd, framing_sink_fn sink, void *arg, int64_t *ret_total, struct err *e) {
    __attribute__((cleanup(replay_done))) struct replay s = {.fd = fd, .dirfd = dirfd, .sink = sink, .arg = arg};
    int k;

    s.in = malloc(PIECE);
    s.out = malloc(PIECE);
    s.piece = malloc(FRAMING_PIECE);
    s.zstd = ZSTD_createDCtx();
    if (!s.in || !s.out || !s.piece || !s.zstd)
        return err_oom(e);
    k = replay_items(&s, e);
    if (k == 0 && ret_total)
        *ret_total = s.total;
    return k;
}
