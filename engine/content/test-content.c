// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"
#include "content/content.h"
#include "content/digest.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char piece[100000];

struct place {
    char root[64];
    struct content *c;
};

static void place_init(struct place *t) {
    snprintf(t->root, sizeof t->root, "/tmp/test-content-XXXXXX");
    CHECK(mkdtemp(t->root) != NULL);
    for (size_t i = 0; i < sizeof piece; i++)
        piece[i] = (char)(i * 7);
    CHECK_INT(content_new(t->root, &t->c, NULL), 0);
}

static void reopen(struct place *t) {
    t->c = content_free(t->c);
    CHECK_INT(content_new(t->root, &t->c, NULL), 0);
}

static void place_done(struct place *t) {
    content_free(t->c);
    fs_remove_tree(t->root, NULL);
}

static char *path_of(const struct place *t, const char *digest) {
    return str_printf("%s/content/partial/%s", t->root, digest + 7);
}

static struct partial *opened(struct place *t, const char *digest, int64_t size) {
    struct partial *p = NULL;

    CHECK_INT(partial_open(t->c, digest, size, &p, NULL), 0);
    return p;
}

TEST(a_kept_partial_goes_on_where_it_stopped) {
    struct place t;
    struct partial *p;
    char got[sizeof piece];

    place_init(&t);
    p = opened(&t, A, 2 * (int64_t)sizeof piece);
    CHECK_INT(partial_have(p), 0);
    CHECK_INT(partial_append(p, piece, sizeof piece, NULL), 0);
    partial_close(p, true);
    reopen(&t);
    CHECK(content_bytes(t.c) >= (int64_t)sizeof piece);
    p = opened(&t, A, 2 * (int64_t)sizeof piece);
    CHECK_INT(partial_have(p), (int64_t)sizeof piece);
    CHECK_INT(partial_append(p, piece, sizeof piece, NULL), 0);
    CHECK_INT(pread(partial_fd(p), got, sizeof got, (off_t)sizeof piece), (int64_t)sizeof piece);
    CHECK(memcmp(got, piece, sizeof piece) == 0);
    CHECK(write(partial_fd(p), "x", 1) < 0);
    CHECK_INT(partial_append(p, piece, 1, NULL), -ERR_INVALID); /* the blob is full */
    partial_close(p, false);
    CHECK_INT(content_bytes(t.c), 0);
    place_done(&t);
}

TEST(what_is_not_worth_keeping_or_longer_than_the_blob_goes) {
    struct place t;
    struct partial *p;

    place_init(&t);
    p = opened(&t, A, 1000);
    CHECK_INT(partial_append(p, piece, 1000, NULL), 0);
    partial_close(p, true);
    CHECK_INT(content_bytes(t.c), 0);
    p = opened(&t, A, (int64_t)sizeof piece);
    CHECK_INT(partial_append(p, piece, sizeof piece, NULL), 0);
    partial_close(p, true);
    p = opened(&t, A, 500); /* another manifest says otherwise: the bytes cannot be right */
    CHECK_INT(partial_have(p), 0);
    partial_close(p, false);
    CHECK_INT(partial_open(t.c, "sha256:../../x", 1, &p, NULL), -ERR_INVALID);
    CHECK_INT(partial_open(t.c, "md5:aa", 1, &p, NULL), -ERR_INVALID);
    place_done(&t);
}

TEST(a_whole_blob_is_given_away) {
    struct place t;
    struct partial *p, *nameless;
    _cleanup_free_ char *to = NULL;

    place_init(&t);
    to = str_printf("%s/kept", t.root);
    p = opened(&t, A, (int64_t)sizeof piece);
    nameless = opened(&t, A, (int64_t)sizeof piece);
    CHECK_INT(partial_append(p, piece, sizeof piece, NULL), 0);
    CHECK(!partial_give(p, "/nowhere/kept"));
    CHECK(!partial_give(nameless, to));
    CHECK(partial_give(p, to));
    partial_close(p, false);
    partial_close(nameless, false);
    CHECK(fs_exists(to));
    CHECK_INT(content_bytes(t.c), 0);
    place_done(&t);
}

TEST(two_openers_of_one_blob_do_not_meet) {
    struct place t;
    struct partial *first, *second;

    place_init(&t);
    first = opened(&t, A, (int64_t)sizeof piece);
    CHECK_INT(partial_append(first, piece, sizeof piece - 1, NULL), 0);
    second = opened(&t, A, (int64_t)sizeof piece);
    CHECK_INT(partial_have(second), 0);
    CHECK_INT(partial_append(second, piece, sizeof piece, NULL), 0);
    content_collect(t.c, 0, 0); /* what is open is not touched */
    partial_close(second, true);
    CHECK_INT(partial_have(first), (int64_t)sizeof piece - 1);
    partial_close(first, true);
    first = opened(&t, A, (int64_t)sizeof piece);
    CHECK_INT(partial_have(first), (int64_t)sizeof piece - 1);
    partial_close(first, false);
    place_done(&t);
}

TEST(old_ones_go_and_then_the_oldest) {
    struct place t;
    const char *const digests[] = {A, B};
    _cleanup_free_ char *old = NULL;
    struct timespec times[2] = {{1000, 0}, {1000, 0}};

    place_init(&t);
    for (size_t i = 0; i < ELEMENTSOF(digests); i++) {
        struct partial *p = opened(&t, digests[i], (int64_t)sizeof piece);

        CHECK_INT(partial_append(p, piece, sizeof piece, NULL), 0);
        partial_close(p, true);
    }
    old = path_of(&t, A);
    CHECK(fs_exists(old));
    CHECK_INT(utimensat(AT_FDCWD, old, times, 0), 0);
    reopen(&t);
    CHECK(!fs_exists(old));
    CHECK(content_bytes(t.c) > 0);
    content_collect(t.c, CONTENT_AGE_MAX, 1);
    CHECK_INT(content_bytes(t.c), 0);
    place_done(&t);
}

TEST(a_link_in_the_place_of_a_partial_is_not_followed) {
    struct place t;
    struct partial *p = NULL;
    _cleanup_free_ char *path = NULL, *canary = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(100);

    place_init(&t);
    path = path_of(&t, A);
    canary = str_printf("%s/canary", t.root);
    CHECK_INT(fs_replace_file_volatile(canary, "alive", 5, 0600, NULL), 0);
    CHECK_INT(symlink(canary, path), 0);
    CHECK(partial_open(t.c, A, 10, &p, NULL) < 0);
    CHECK_INT(fs_read_file(canary, &b, NULL), 0);
    CHECK_STR(buf_str(&b), "alive");
    place_done(&t);
}

TEST(digests_are_written_as_registries_write_them) {
    static const char empty[] = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    EVP_MD_CTX *sum = EVP_MD_CTX_new();
    char one[DIGEST_SIZE], other[DIGEST_SIZE];

    digest_of("", 0, one);
    CHECK_STR(one, empty);
    digest_of("abc", 3, one);
    CHECK_INT(EVP_DigestInit_ex(sum, EVP_sha256(), NULL), 1);
    EVP_DigestUpdate(sum, "ab", 2);
    EVP_DigestUpdate(sum, "c", 1);
    digest_end(sum, other);
    EVP_MD_CTX_free(sum);
    CHECK_STR(one, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK_STR(other, one);
}
