// SPDX-License-Identifier: Apache-2.0
/* Files of backups: what was written comes back, and nothing else does. */
#include <fcntl.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"
#include "cli/backup-file.h"
#include "cli/seal.h"

static const struct buf word = {.data = (char *)"correct horse", .len = 13, .cap = 14, .max = 64};
static const struct buf other = {.data = (char *)"correct horsf", .len = 13, .cap = 14, .max = 64};

/* Bytes that do not compress, the same each time. */
static void noise(unsigned char *p, size_t n) {
    uint64_t x = 88172645463325252ULL;

    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        p[i] = (unsigned char)x;
    }
}

static int write_one(const void *p, size_t n, const struct buf *passphrase) {
    int fd = memfd_create("backup", MFD_CLOEXEC);
    struct backup_writer *w = NULL;
    json_t *about = json_pack("{s:s, s:{s:s}}", "name", "vol", "labels", "a", "b");
    int r = backup_writer_new(fd, about, passphrase, &w, NULL);

    json_decref(about);
    /* In odd pieces. */
    for (size_t at = 0; r == 0 && at < n; at += 7919)
        r = backup_writer_add(w, (const char *)p + at, MIN(n - at, 7919u), NULL);
    if (r == 0)
        r = backup_writer_end(w, NULL);
    backup_writer_free(w);
    return r == 0 && lseek(fd, 0, SEEK_SET) == 0 ? fd : close_fd(fd);
}

/* All of it into b; <0 when it is not whole. */
static int read_one(int fd, const struct buf *passphrase, struct buf *b, struct err *e) {
    struct backup_reader *reader = NULL;
    char block[5000];
    ssize_t n = 0;
    int r;

    lseek(fd, 0, SEEK_SET);
    buf_reset(b);
    r = backup_reader_new(fd, passphrase, &reader, e);
    if (r == 0 && !streq_ptr(json_string_value(json_object_get(backup_reader_about(reader), "name")), "vol"))
        r = -1;
    while (r == 0 && (n = backup_reader_read(reader, block, sizeof block, e)) > 0)
        buf_add(b, block, (size_t)n);
    backup_reader_free(reader);
    return r < 0 ? r : (int)n;
}

static int file_of(const void *p, size_t n) {
    int fd = memfd_create("backup", MFD_CLOEXEC);

    return full_write(fd, p, n) == 0 ? fd : close_fd(fd);
}

TEST(backup_comes_back) {
    static const size_t sizes[] = {0, 1, 1000, SEAL_CHUNK - 1, SEAL_CHUNK, 3 * SEAL_CHUNK + 17};
    size_t biggest = sizes[ELEMENTSOF(sizes) - 1];
    unsigned char *data = malloc(biggest);

    REQUIRE(data);
    noise(data, biggest);
    for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
        for (int sealed = 0; sealed < 2; sealed++) {
            const struct buf *passphrase = sealed ? &word : NULL;
            _cleanup_close_ int fd = write_one(data, sizes[i], passphrase);
            _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);

            REQUIRE(fd >= 0);
            CHECK_INT(read_one(fd, passphrase, &b, NULL), 0);
            CHECK_INT(b.len, sizes[i]);
            CHECK(b.len == 0 || memcmp(b.data, data, b.len) == 0);
        }
    }
    free(data);
}

/* Every prefix, every single changed bit (of one place in each byte), and something behind it: nothing of that is taken for the backup. */
TEST(backup_damage_is_found) {
    unsigned char data[300], file[2048];
    _cleanup_close_ int fd = -EBADF;
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    ssize_t size;

    noise(data, sizeof data);
    fd = write_one(data, sizeof data, NULL);
    REQUIRE(fd >= 0);
    size = pread(fd, file, sizeof file - 1, 0);
    REQUIRE(size > 300 && size < (ssize_t)sizeof file - 1);
    for (ssize_t i = 0; i <= size; i++) {
        _cleanup_close_ int cut = file_of(file, (size_t)i);

        CHECK_INT(read_one(cut, NULL, &b, NULL) < 0, i < size);
    }
    for (ssize_t i = 0; i < size; i++) {
        _cleanup_close_ int changed = -EBADF;

        file[i] ^= (unsigned char)(1u << (i % 8));
        changed = file_of(file, (size_t)size);
        CHECK(read_one(changed, NULL, &b, NULL) < 0);
        file[i] ^= (unsigned char)(1u << (i % 8));
    }
    file[size] = 0;
    close_fd(fd);
    fd = file_of(file, (size_t)size + 1);
    CHECK(read_one(fd, NULL, &b, NULL) < 0);
}

TEST(backup_passphrases) {
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    _cleanup_close_ int sealed = write_one("text", 4, &word), open = write_one("text", 4, NULL),
                        foreign = file_of("no backup at all, but long enough", 33);

    CHECK_INT(read_one(sealed, &other, &b, &e), -ERR_INVALID);
    CHECK_STR(err_msg(&e), "the passphrase is wrong, or the backup is damaged");
    CHECK_INT(read_one(sealed, NULL, &b, NULL), -ERR_UNAUTHORIZED);
    CHECK_INT(read_one(open, &word, &b, NULL), -ERR_UNAUTHORIZED);
    CHECK_INT(read_one(foreign, NULL, &b, NULL), -ERR_INVALID);
}

/* Chunks of a sealed stream: moved, left out, doubled, cut off between two, of another stream. */
TEST(sealed_chunks_keep_their_places) {
    static const struct {
        int order[4]; /* -1: the end */
        bool good;
    } cases[] = {{{0, 1, 2, 3}, true},  {{0, 2, 1, 3}, false}, {{0, 1, 3, -1}, false}, {{0, 1, 2, -1}, false},
                 {{0, 1, 1, 3}, false}, {{3, -1}, false},      {{1, 2, 3, -1}, false}, {{0, -1}, false}};
    static unsigned char plain[SEAL_CHUNK], sealed[4][SEAL_CHUNK + SEAL_TAG], back[SEAL_CHUNK];
    unsigned char head[SEAL_HEAD];
    struct seal *s = NULL;

    REQUIRE(seal_new(&word, head, &s, NULL) == 0);
    for (int i = 0; i < 4; i++) {
        memset(plain, i, sizeof plain);
        REQUIRE(seal_chunk(s, plain, i == 3 ? 10 : SEAL_CHUNK, i == 3, sealed[i], NULL) == 0);
    }
    seal_free(s);
    for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
        bool good = true;

        REQUIRE(seal_open(&word, head, &s, NULL) == 0);
        for (int i = 0; i < 4 && cases[k].order[i] >= 0; i++) {
            int which = cases[k].order[i];
            bool last = i == 3 || cases[k].order[i + 1] < 0;

            good = good && seal_unchunk(s, sealed[which], (which == 3 ? 10 : SEAL_CHUNK) + SEAL_TAG, last, back, NULL) == 0;
        }
        CHECK_INT(good, cases[k].good);
        seal_free(s);
    }
    /* Shorter than a tag. */
    REQUIRE(seal_open(&word, head, &s, NULL) == 0);
    CHECK_INT(seal_unchunk(s, sealed[3], SEAL_TAG - 1, true, back, NULL), -ERR_INVALID);
    seal_free(s);
    /* A changed head is another key, or none at all. */
    head[20] ^= 1;
    REQUIRE(seal_open(&word, head, &s, NULL) == 0);
    CHECK(seal_unchunk(s, sealed[0], SEAL_CHUNK + SEAL_TAG, false, back, NULL) < 0);
    seal_free(s);
    head[9] = 40;
    CHECK(seal_open(&word, head, &s, NULL) < 0);
    head[9] = 20;
    head[10] = 255;
    CHECK(seal_open(&word, head, &s, NULL) < 0);
}

TEST(passphrase_files) {
    char path[] = "/tmp/test-passphrase-XXXXXX";
    int fd = mkstemp(path);
    struct buf b = BUF_INIT(0);

    REQUIRE(fd >= 0);
    REQUIRE(full_write(fd, "first line\nsecond\n", 18) == 0);
    CHECK_INT(passphrase_read(path, &b, NULL), 0);
    CHECK_STR(buf_str(&b), "first line");
    passphrase_done(&b);
    REQUIRE(ftruncate(fd, 0) == 0);
    CHECK(passphrase_read(path, &b, NULL) < 0);
    CHECK(passphrase_read("/nowhere/at/all", &b, NULL) < 0);
    close_fd(fd);
    unlink(path);
}
