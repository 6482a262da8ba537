// SPDX-License-Identifier: Apache-2.0
/* hatake-unpack: unpacks a layer or an image archive inside a cage. unpack-wire.h is the manual. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/idmap.h"
#include "base/limits.h"
#include "base/str.h"
#include "layers/cage.h"
#include "layers/extract.h"
#include "layers/framing.h"
#include "layers/hasher.h"
#include "layers/inflate.h"
#include "layers/tar.h"
#include "layers/unpack-wire.h"

#define INPUT_SIZE KIB(256)
#define PROGRESS_BYTES (INT64_C(512) << 10)

struct worker {
    int root;
    enum whiteout_form form;
    int64_t reserve;         /* bytes */
    const struct idmap *ids; /* or NULL */
    bool known_diff;         /* the layer's diff ID is not asked for */
    unsigned char *input[2]; /* filled in turn */
    struct turn input_turn, outer_turn, inner_turn;
    struct hasher hasher;
    size_t lookahead_at, lookahead_n; /* bytes of input already read while reading the list of known ids */
    struct inflate *outer, *inner;
    char *known; /* sorted 65-byte records */
    size_t n_known;
    int next_index;
    int64_t small_total;
    int members;
    int64_t file_at, file_have; /* of the file being read: so far, and what may be read */
    /* the member being read */
    const char *member_path;
    int64_t member_size, member_read, progress_sent;
    struct tar_reader *outer_tar;
    unsigned char peek[512];
    size_t peek_n, peek_at;
    struct hasher_sum raw_sha, plain_sha;
};

/* ---- results ------------------------------------------------------------------------------------------------------------- */

static int send_frame(enum unpack_frame type, const struct buf *b, struct err *e) {
    struct unpack_head head = {type, (uint32_t)b->len};
    int r = buf_check(b, e);

    if (r < 0)
        return r;
    r = full_write(1, &head, sizeof head);
    if (r == 0)
        r = full_write(1, b->data, b->len);
    return r < 0 ? err_errno(e, r, "sending a result") : 0;
}

static void add_text(struct buf *b, const char *s) {
    buf_add(b, s, strlen(s) + 1);
}

static void add_number(struct buf *b, int64_t v) {
    buf_addi(b, v);
    buf_addc(b, 0);
}

/* Clients know errors of the system in small letters: "...: no such file or directory". */
static void lower_reason(struct err *fault) {
    const char *reason = fault->errnum ? strerror(fault->errnum) : "";
    size_t n = strlen(reason), len = fault->msg ? strlen(fault->msg) : 0;

    if (n > 0 && len > n && streq(fault->msg + len - n, reason) && reason[0] >= 'A' && reason[0] <= 'Z' && !(reason[1] >= 'A' && reason[1] <= 'Z'))
        fault->msg[len - n] = (char)(reason[0] - 'A' + 'a');
}

static void send_error(struct err *fault) {
    _cleanup_buf_ struct buf b = BUF_INIT(KIB(64));

    lower_reason(fault);

    add_number(&b, fault->kind);
    add_number(&b, fault->errnum);
    add_text(&b, err_msg(fault));
    ignore_result(send_frame(UNPACK_ERROR, &b, NULL) < 0);
}

/* ---- streams --------------------------------------------------------------------------------------------------------------- */

static int64_t fill_stdin(void *arg, const unsigned char **ret_p, struct err *e) {
    struct worker *w = arg;
    unsigned char *to = w->input[w->input_turn.at];
    size_t have = 0;

    if (w->lookahead_n > 0) {
        *ret_p = to + w->lookahead_at;
        have = w->lookahead_n;
        w->lookahead_n = 0;
        return (int64_t)have;
    }
    to = w->input[turn_next(&w->hasher, &w->input_turn)];
    /* A pipe gives what happens to be in it: large pieces make everything behind cheaper. */
    while (have < INPUT_SIZE / 2) {
        ssize_t n = read(0, to + have, INPUT_SIZE - have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, errno, "reading the stream");
        if (n == 0)
            break;
        have += (size_t)n;
    }
    *ret_p = to;
    return (int64_t)have;
}

/* The file on descriptor 0, as far as it has grown. */
static int64_t fill_file(void *arg, const unsigned char **ret_p, struct err *e) {
    struct worker *w = arg;
    unsigned char *to = w->input[turn_next(&w->hasher, &w->input_turn)];
    ssize_t n;

    while (w->file_at >= w->file_have) {
        int r = full_read(1, &w->file_have, sizeof w->file_have);

        if (r == -ENODATA)
            return 0;
        if (r < 0)
            return err_errno(e, r, "reading the stream");
    }
    do
        n = pread(0, to, (size_t)MIN((int64_t)INPUT_SIZE, w->file_have - w->file_at), w->file_at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(e, errno, "reading the file");
    if (n == 0)
        return err_set(e, ERR_INTERNAL, "the file is shorter than was said");
    w->file_at += n;
    *ret_p = to;
    return n;
}

/* inflate_read() has two buffers as well: the one before last is free again. */
static int64_t fill_outer(void *arg, const unsigned char **ret_p, struct err *e) {
    struct worker *w = arg;

    turn_next(&w->hasher, &w->outer_turn);
    return inflate_read(w->outer, ret_p, e);
}

/* Plain bytes of the layer: everything that passes here is the diff ID's subject. */
static int64_t fill_layer_direct(void *arg, const unsigned char **ret_p, struct err *e) {
    struct worker *w = arg;
    int64_t n = fill_outer(w, ret_p, e);

    if (n > 0 && w->known_diff)
        w->plain_sha.bytes += n;
    else if (n > 0)
        hasher_add(&w->hasher, &w->plain_sha, *ret_p, (size_t)n);
    return n;
}

static int member_progress(struct worker *w, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(KIB(16));

    if (w->member_read - w->progress_sent < PROGRESS_BYTES)
        return 0;
    w->progress_sent = w->member_read;
    add_text(&b, w->member_path);
    add_number(&b, w->member_read);
    add_number(&b, w->member_size);
    return send_frame(UNPACK_PROGRESS, &b, e);
}

/* Bytes of the present member of an image archive: first those looked at, then the rest. */
static int64_t fill_member(void *arg, const unsigned char **ret_p, struct err *e) {
    struct worker *w = arg;
    int64_t n;
    int k;

    if (w->peek_at < w->peek_n) {
        *ret_p = w->peek + w->peek_at;
        n = (int64_t)(w->peek_n - w->peek_at);
        w->peek_at = w->peek_n;
    } else {
        n = tar_reader_data(w->outer_tar, ret_p, e);
    }
    if (n <= 0)
        return n;
    hasher_add(&w->hasher, &w->raw_sha, *ret_p, (size_t)n);
    w->member_read += n;
    k = member_progress(w, e);
    return k < 0 ? k : n;
}

/* A compressed member; its plain bytes are hashed apart. */
static int64_t fill_member_plain(void *arg, const unsigned char **ret_p, struct err *e) {
    struct worker *w = arg;
    int64_t n;

    turn_next(&w->hasher, &w->inner_turn);
    n = inflate_read(w->inner, ret_p, e);
    if (n > 0)
        hasher_add(&w->hasher, &w->plain_sha, *ret_p, (size_t)n);
    return n;
}

/* ---- layers --------------------------------------------------------------------------------------------------------------------- */

static int check_space(void *arg, int64_t written, struct err *e) {
    struct worker *w = arg;
    struct statfs fs;

    if (fstatfs(w->root, &fs) < 0)
        return err_errno(e, errno, "statfs");
    if ((int64_t)fs.f_bavail * fs.f_bsize < w->reserve) {
        err_set(e, ERR_NO_SPACE, "no space left on device");
        if (e)
            e->errnum = ENOSPC;
        return -ERR_NO_SPACE;
    }
    return 0;
}

static int raw_to_framing(void *arg, const void *p, size_t n, struct err *e) {
    return framing_raw(arg, p, n, e);
}

static int open_staging(struct worker *w, int index, int *ret_dir, int *ret_framing, struct err *e) {
    char path[64];

    snprintf(path, sizeof path, "%d", index);
    if (mkdirat(w->root, path, 0700) < 0)
        return err_errno(e, errno, "mkdir");
    snprintf(path, sizeof path, "%d/diff", index);
    if (mkdirat(w->root, path, 0755) < 0)
        return err_errno(e, errno, "mkdir");
    *ret_dir = openat(w->root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(path, sizeof path, "%d/framing", index);
    *ret_framing = openat(w->root, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*ret_dir < 0 || *ret_framing < 0 || (w->ids && fchown(*ret_dir, w->ids->root_uid, w->ids->root_gid) < 0))
        return err_errno(e, errno, "opening the staging folder");
    return 0;
}

static void free_reader(struct tar_reader **r) {
    tar_reader_free(*r);
}
static void free_framing(struct framing_writer **w) {
    framing_writer_free(*w);
}

/* Unpack what `fill` delivers into a new staging folder; *ret_index is its number. */
static int unpack_one(struct worker *w, tar_fill_fn fill, struct extract_result *ret, int *ret_index, struct err *e) {
    _cleanup_close_ int dir = -EBADF, record = -EBADF;
    _cleanup_(free_framing) struct framing_writer *framing = NULL;
    _cleanup_(free_reader) struct tar_reader *reader = NULL;
    int k;

    if (w->next_index >= UNPACK_LAYERS)
        return err_set(e, ERR_TOO_LARGE, "archive: more than %d layers", UNPACK_LAYERS);
    k = check_space(w, 0, e);
    if (k < 0)
        return k;
    k = open_staging(w, w->next_index, &dir, &record, e);
    if (k < 0)
        return k;
    framing = framing_writer_new(record);
    reader = framing ? tar_reader_new(fill, w, raw_to_framing, framing) : NULL;
    if (!reader)
        return err_oom(e);
    k = extract_layer(reader, &(struct extract_how){dir, w->form, w->ids}, framing, check_space, w, ret, e);
    if (k == 0)
        k = framing_finish(framing, e);
    if (k == 0)
        *ret_index = w->next_index++;
    return k;
}

static int send_layer(const char *path, int index, const char *diff, const char *digest, const struct extract_result *x, int64_t bytes,
                      struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(KIB(16));

    add_text(&b, path);
    add_number(&b, index);
    add_text(&b, diff);
    add_text(&b, digest);
    add_number(&b, x->size);
    add_number(&b, bytes);
    add_number(&b, x->entries);
    return send_frame(UNPACK_LAYER, &b, e);
}

static int run_layer(struct worker *w, struct err *e) {
    struct extract_result x = {0};
    char diff[65];
    int index, k;

    hasher_begin(&w->plain_sha);
    k = unpack_one(w, fill_layer_direct, &x, &index, e);
    if (k < 0)
        return k;
    if (!w->known_diff)
        hasher_end(&w->hasher, &w->plain_sha, diff);
    return send_layer("", index, w->known_diff ? "" : diff, "", &x, w->plain_sha.bytes, e);
}

/* ---- image archives ----------------------------------------------------------------------------------------------------------------- */

static int compare_known(const void *a, const void *b) {
    return memcmp(a, b, 64);
}

/* The last component of a path when it is a digest the engine has a layer for. */
static bool is_known(const struct worker *w, const char *path) {
    const char *base = strrchr(path, '/');

    base = base ? base + 1 : path;
    return strlen(base) == 64 && w->n_known > 0 && bsearch(base, w->known, w->n_known, 65, compare_known);
}

static bool looks_like_layer(const struct worker *w, const struct tar_entry *t, const char *path) {
    if (w->peek_n == 512 && tar_header_plausible(w->peek))
        return true;
    if (inflate_sniff(w->peek, w->peek_n) != INFLATE_NONE)
        return true;
    /* The empty layer: an archive of nothing but its end marker. */
    if (w->peek_n == 512 && w->peek[0] == 0 && memcmp(w->peek, w->peek + 1, 511) == 0)
        return true;
    return str_has_suffix(path, "/layer.tar") || str_has_suffix(path, ".tar");
}

static int drop_member(struct worker *w, struct err *e) {
    const unsigned char *p;
    int64_t n;

    while ((n = fill_member(w, &p, e)) > 0)
        ;
    return (int)n;
}

static int member_layer(struct worker *w, const char *path, struct err *e) {
    bool compressed = inflate_sniff(w->peek, w->peek_n) != INFLATE_NONE;
    struct extract_result x = {0};
    char raw[65], plain[65];
    int index = -1, k = 0;

    if (!compressed && is_known(w, path)) {
        k = drop_member(w, e);
    } else if (!compressed) {
        k = unpack_one(w, fill_member, &x, &index, e);
    } else {
        inflate_restart(w->inner);
        hasher_begin(&w->plain_sha);
        k = unpack_one(w, fill_member_plain, &x, &index, e);
    }
    if (k < 0)
        return k;
    hasher_end(&w->hasher, &w->raw_sha, raw);
    if (compressed)
        hasher_end(&w->hasher, &w->plain_sha, plain);
    return send_layer(path, index, compressed ? plain : raw, raw, &x, compressed ? w->plain_sha.bytes : w->raw_sha.bytes, e);
}

static int member_small(struct worker *w, const char *path, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(UNPACK_SMALL_FILE + KIB(16));
    const unsigned char *p;
    int64_t n;

    w->small_total += w->member_size;
    if (w->small_total > UNPACK_SMALL_TOTAL)
        return err_set(e, ERR_TOO_LARGE, "archive: more than %u bytes of documents", UNPACK_SMALL_TOTAL);
    add_text(&b, path);
    while ((n = fill_member(w, &p, e)) > 0)
        buf_add(&b, p, (size_t)n);
    return n < 0 ? (int)n : send_frame(UNPACK_FILE, &b, e);
}

static int member_blob(struct worker *w, const char *path, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(KIB(16));
    char digest[65];
    int k = drop_member(w, e);

    if (k < 0)
        return k;
    hasher_end(&w->hasher, &w->raw_sha, digest);
    add_text(&b, path);
    add_text(&b, digest);
    add_number(&b, w->raw_sha.bytes);
    return send_frame(UNPACK_BLOB, &b, e);
}

static int peek_member(struct worker *w, struct err *e) {
    w->peek_n = w->peek_at = 0;
    while (w->peek_n < sizeof w->peek) {
        const unsigned char *p;
        int64_t n;

        /* tar_reader_data() gives whole buffers; what is beyond the peeked part must not be lost, so only the needed bytes are asked for. */
        n = tar_reader_data_upto(w->outer_tar, &p, sizeof w->peek - w->peek_n, e);
        if (n < 0)
            return (int)n;
        if (n == 0)
            break;
        memcpy(w->peek + w->peek_n, p, (size_t)n);
        w->peek_n += (size_t)n;
    }
    return 0;
}

static int member_file(struct worker *w, const struct tar_entry *t, const char *path, struct err *e) {
    int k;

    w->member_path = path;
    w->member_size = t->size;
    w->member_read = w->progress_sent = 0;
    hasher_begin(&w->raw_sha);
    k = peek_member(w, e);
    if (k < 0)
        return k;
    if (looks_like_layer(w, t, path))
        return member_layer(w, path, e);
    if (t->size <= UNPACK_SMALL_FILE)
        return member_small(w, path, e);
    return member_blob(w, path, e);
}

static int run_archive(struct worker *w, struct err *e) {
    const struct tar_entry *t;
    int k;

    w->outer_tar = tar_reader_new(fill_outer, w, NULL, NULL);
    w->inner = inflate_new(fill_member, w);
    if (!w->outer_tar || !w->inner)
        return err_oom(e);
    while ((k = tar_reader_next(w->outer_tar, &t, e)) > 0) {
        char path[LIMIT_ARCHIVE_PATH + 1];

        if (++w->members > UNPACK_MEMBERS)
            return err_set(e, ERR_TOO_LARGE, "archive: more than %d members", UNPACK_MEMBERS);
        if (strlen(t->name) > LIMIT_ARCHIVE_PATH)
            return err_set(e, ERR_TOO_LARGE, "archive: path too long");
        extract_clean_path(t->name, path);
        if (t->type == TAR_FILE && !t->sparse) {
            k = member_file(w, t, path, e);
        } else if (t->type == TAR_SYMLINK || t->type == TAR_HARDLINK) {
            _cleanup_buf_ struct buf b = BUF_INIT(KIB(16));

            add_text(&b, path);
            if (t->type == TAR_HARDLINK)
                buf_addc(&b, '/');
            add_text(&b, t->link);
            k = send_frame(UNPACK_LINK, &b, e);
        } else if (t->type == TAR_DIR) {
            _cleanup_buf_ struct buf b = BUF_INIT(KIB(16));

            add_text(&b, path);
            k = send_frame(UNPACK_FOLDER, &b, e);
        } else if (t->type != TAR_GLOBAL) {
            return err_set(e, ERR_INVALID, "image archive: %s is neither a file nor a folder", path);
        }
        if (k < 0)
            return k;
    }
    return k < 0 ? k : tar_reader_drain(w->outer_tar, e);
}

/* ---- start ---------------------------------------------------------------------------------------------------------------------------- */

/* One line of the head of the input, byte by byte out of the input buffer. */
static int head_line(struct worker *w, char *to, size_t size, struct err *e) {
    size_t n = 0;

    for (;;) {
        const unsigned char *p;

        if (w->lookahead_n == 0) {
            int64_t got = fill_stdin(w, &p, e);

            if (got <= 0)
                return err_set(e, ERR_INTERNAL, "the input ended in its head");
            w->lookahead_at = (size_t)(p - w->input[w->input_turn.at]);
            w->lookahead_n = (size_t)got;
        }
        to[n] = (char)w->input[w->input_turn.at][w->lookahead_at];
        w->lookahead_at++;
        w->lookahead_n--;
        if (to[n] == '\n')
            break;
        if (++n >= size)
            return err_set(e, ERR_INTERNAL, "a long line in the head of the input");
    }
    to[n] = 0;
    return 0;
}

static int read_known(struct worker *w, struct err *e) {
    char line[72];
    uint64_t n;
    int k = head_line(w, line, sizeof line, e);

    if (k < 0)
        return k;
    if (parse_u64(line, &n) < 0 || n > 1000000)
        return err_set(e, ERR_INTERNAL, "bad head of the input");
    w->known = calloc(n + 1, 65);
    if (!w->known)
        return err_oom(e);
    for (; w->n_known < n; w->n_known++) {
        k = head_line(w, line, sizeof line, e);
        if (k < 0)
            return k;
        memcpy(w->known + w->n_known * 65, line, 65);
    }
    qsort(w->known, w->n_known, 65, compare_known);
    return 0;
}

static int start_hasher(void *arg, struct err *e) {
    return hasher_start(&((struct worker *)arg)->hasher, e);
}

static int run(struct worker *w, const char *mode, struct err *e) {
    _cleanup_close_ int staging = fcntl(3, F_DUPFD_CLOEXEC, 4);
    int k;

    if (staging < 0)
        return err_errno(e, errno, "no staging folder at descriptor 3");
    hasher_init(&w->hasher);
    k = cage_enter(staging, start_hasher, w, e);
    staging = -EBADF;
    if (k < 0)
        return k;
    w->root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->input[0] = malloc(INPUT_SIZE);
    w->input[1] = malloc(INPUT_SIZE);
    w->known_diff = streq(mode, "known-file");
    w->outer = inflate_new(str_has_suffix(mode, "file") ? fill_file : fill_stdin, w);
    if (w->root < 0 || !w->input[0] || !w->input[1] || !w->outer)
        return err_oom(e);
    if (str_has_suffix(mode, "file"))
        return run_layer(w, e);
    k = read_known(w, e);
    if (k < 0)
        return k;
    return streq(mode, "layer") ? run_layer(w, e) : run_archive(w, e);
}

static bool is_mode(const char *s) {
    return streq(s, "layer") || streq(s, "archive") || streq(s, "file") || streq(s, "known-file");
}

int main(int argc, char **argv) {
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_buf_ struct buf none = BUF_INIT(1);
    static struct idmap ids;
    struct worker w = {.root = -EBADF};
    uint64_t reserve;
    int mapped = argc == 5 ? idmap_parse(&ids, argv[4]) : -EINVAL;

    signal(SIGPIPE, SIG_IGN);
    if (mapped < 0 || parse_u64(argv[3], &reserve) < 0 || !is_mode(argv[1])) {
        fprintf(stderr, "hatake-unpack: started by hataked, not by hand\n");
        return 2;
    }
    w.form = streq(argv[2], "file") ? WHITEOUT_FILE : WHITEOUT_OVERLAY;
    w.reserve = (int64_t)reserve;
    w.ids = mapped ? &ids : NULL;
    if (run(&w, argv[1], &e) < 0) {
        send_error(&e);
        return 1;
    }
    return send_frame(UNPACK_DONE, &none, &e) < 0;
}
