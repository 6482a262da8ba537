// SPDX-License-Identifier: Apache-2.0
/* What needs no engine: platforms, what is known of blobs, layers as gzip. */
#include <isa-l/igzip_lib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"
#include "db/db.h"
#include "db/journal.h"
#include "image/blobs.h"
#include "image/platform.h"
#include "image/squeeze.h"
#include "layers/test-archive.h"

/* ---- platforms -------------------------------------------------------------------------------------------------------------------------- */

static struct platform parsed(const char *text) {
    struct platform p = {0};

    CHECK_INT(platform_parse(text, &p, NULL), 0);
    return p;
}

TEST(platforms_are_read_by_all_their_names) {
    static const char *const rows[][4] = {
        {"linux", "linux", "amd64", ""},
        {"arm64", "linux", "arm64", ""},
        {"linux/aarch64", "linux", "arm64", ""},
        {"linux/arm64/v8", "linux", "arm64", ""},
        {"linux/arm", "linux", "arm", "v7"},
        {"linux/armhf", "linux", "arm", "v7"},
        {"linux/armel", "linux", "arm", "v6"},
        {"linux/arm/6", "linux", "arm", "v6"},
        {"linux/x86_64", "linux", "amd64", ""},
        {"linux/amd64/v1", "linux", "amd64", ""},
        {"linux/amd64/v3", "linux", "amd64", "v3"},
        {"linux/i386", "linux", "386", ""},
        {"Linux/AMD64", "linux", "amd64", ""},
        {"linux/armhf/v6", "linux", "arm", "v7"},
        {"macos/amd64", "darwin", "amd64", ""},
        {"windows", "windows", "amd64", ""},
        {"windows(10.0)", "windows", "amd64", ""},
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct platform p = parsed(rows[i][0]);

        CHECK_STR(p.os, rows[i][1]);
        CHECK_STR(p.arch, rows[i][2]);
        CHECK_STR(p.variant, rows[i][3]);
        CHECK(p.given);
    }
    CHECK(!parsed(NULL).given);
    CHECK(!parsed("").given);
    CHECK(parsed(NULL).level >= 1);
}

TEST(platforms_that_are_none) {
    static const char *const rows[] = {"linux/arm/v7/x", "linux/", "/amd64", "linux/am d64", "linux/a.b"};
    static const char *const worded[][2] = {{"bogus", "\"bogus\": unknown operating system or architecture: invalid argument"},
                                            {"a/b/c/*", "\"a/b/c/*\": wildcards not yet supported: invalid argument"}};
    struct platform p;

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_err_ struct err e = ERR_INIT;

        CHECK_INT(platform_parse(rows[i], &p, &e), -ERR_INVALID);
        CHECK(!str_empty(err_msg(&e)));
    }
    for (size_t i = 0; i < ELEMENTSOF(worded); i++) {
        _cleanup_err_ struct err e = ERR_INIT;

        CHECK_INT(platform_parse(worded[i][0], &p, &e), -ERR_INVALID);
        CHECK_STR(err_msg(&e), worded[i][1]);
    }
}

/* The entries as `want` likes them, best first, separated by blanks; those that do not suit are left out. */
static void order(const char *want, int level, char *ret, size_t n) {
    static const char *const entries[][2] = {{"386", ""},   {"amd64", "v4"}, {"amd64", "v3"}, {"amd64", "v2"}, {"amd64", ""},   {"arm", "v5"},
                                             {"arm", "v6"}, {"arm", "v7"},   {"arm", "v8"},   {"arm64", ""},   {"arm64", "v9"}, {"s390x", ""}};
    struct platform p = parsed(want);
    size_t at = 0;

    if (level)
        p.level = level;
    ret[0] = 0;
    for (int rank = 0; rank <= 10; rank++)
        for (size_t i = 0; i < ELEMENTSOF(entries); i++)
            if (platform_rank(&p, "linux", entries[i][0], entries[i][1]) == rank)
                at += (size_t)snprintf(ret + at, n - at, "%s%s%s", at ? " " : "", entries[i][0], entries[i][1]);
}

TEST(the_entry_of_an_index_that_suits_best) {
    static const struct {
        const char *want;
        int level;
        const char *order;
    } rows[] = {
        {NULL, 1, "amd64 386"},
        {NULL, 3, "amd64v3 amd64v2 amd64 386"},
        {"linux/amd64", 0, "amd64 386"},
        {"linux/amd64/v3", 0, "amd64v3 amd64v2 amd64 386"},
        {"linux/arm", 0, "armv7 armv6 armv5"},
        {"linux/arm/v6", 0, "armv6 armv5"},
        {"linux/arm64", 0, "arm64 armv8 armv7 armv6 armv5"},
        {"linux/386", 0, "386"},
        {"windows/amd64", 0, ""},
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        char got[200];

        order(rows[i].want, rows[i].level, got, sizeof got);
        CHECK_STR(got, rows[i].order);
    }
}

/* ---- a place for tables and layers ------------------------------------------------------------------------------------------------------ */

struct place {
    char root[64], libexec[256];
    struct db *db;
};

static void place_init(struct place *p) {
    char path[100], self[200] = "";

    *p = (struct place){0};
    snprintf(p->root, sizeof p->root, "/tmp/test-image-XXXXXX");
    CHECK(mkdtemp(p->root) != NULL);
    snprintf(path, sizeof path, "%s/db", p->root);
    CHECK_INT(db_open(path, &p->db, NULL), 0);
    CHECK_INT(journal_setup(p->db, NULL), 0);
    CHECK_INT(blobs_migrate(p->db, NULL), 0);
    /* build/test/image runs build/bin/hatake-unpack; sanitized builds have none of their own. */
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    *strrchr(self, '/') = 0;
    snprintf(p->libexec, sizeof p->libexec, "%s/../bin/hatake-unpack", self);
    snprintf(p->libexec, sizeof p->libexec, fs_exists(p->libexec) ? "%s/../bin" : "%s/../../bin", self);
}

static void place_done(struct place *p) {
    db_close(p->db);
    fs_remove_tree(p->root, NULL);
}

/* ---- what is known of blobs --------------------------------------------------------------------------------------------------------------- */

#define DIFF "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
#define BLOB "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* "repository/user" of all that is known of DIFF, newest first; "-": pulled. */
static void known(struct place *p, char *ret, size_t n) {
    struct blobs_seen seen = {0};
    size_t at = 0;

    ret[0] = 0;
    CHECK_INT(blobs_of(p->db, DIFF, &seen, NULL), 0);
    for (size_t i = 0; i < seen.n; i++) {
        CHECK_STR(seen.v[i].digest, BLOB);
        at += (size_t)snprintf(ret + at, n - at, "%s%s/%s", at ? " " : "", seen.v[i].repository, seen.v[i].pushed_by ? seen.v[i].pushed_by : "-");
    }
    blobs_seen_done(&seen);
}

TEST(blobs_are_known_newest_first) {
    struct place p;
    char got[200];

    place_init(&p);
    CHECK_INT(blobs_note(p.db, DIFF, BLOB, "a", NULL, NULL), 0);
    CHECK_INT(blobs_note(p.db, DIFF, BLOB, "b", "", NULL), 0);
    CHECK_INT(blobs_note(p.db, DIFF, BLOB, "a", "me", NULL), 0);
    known(&p, got, sizeof got);
    CHECK_STR(got, "a/me b/ a/-");
    /* What is noted again is not there twice, and becomes the newest. */
    CHECK_INT(blobs_note(p.db, DIFF, BLOB, "a", NULL, NULL), 0);
    known(&p, got, sizeof got);
    CHECK_STR(got, "a/- a/me b/");
    CHECK_INT(blobs_forget(p.db, BLOB, "a", NULL), 0);
    known(&p, got, sizeof got);
    CHECK_STR(got, "b/");
    place_done(&p);
}

TEST(a_manifest_alone_does_not_make_a_blob_known) {
    struct place p;
    char got[200];

    place_init(&p);
    CHECK_INT(blobs_note_claim(p.db, DIFF, BLOB, "claims", NULL), 0);
    known(&p, got, sizeof got);
    CHECK_STR(got, "");
    CHECK_INT(blobs_note(p.db, DIFF, BLOB, "hashed", NULL, NULL), 0);
    CHECK_INT(blobs_note_claim(p.db, DIFF, BLOB, "claims", NULL), 0);
    known(&p, got, sizeof got);
    CHECK_STR(got, "claims/- hashed/-");
    place_done(&p);
}

TEST(so_much_is_known_of_a_layer_and_no_more) {
    struct blobs_seen seen = {0};
    struct place p;

    place_init(&p);
    for (int i = 0; i < BLOBS_PER_LAYER + 5; i++) {
        char repository[16];

        snprintf(repository, sizeof repository, "r%d", i);
        CHECK_INT(blobs_note(p.db, DIFF, BLOB, repository, NULL, NULL), 0);
    }
    CHECK_INT(blobs_of(p.db, DIFF, &seen, NULL), 0);
    CHECK_INT(seen.n, BLOBS_PER_LAYER);
    if (seen.n == BLOBS_PER_LAYER)
        CHECK_STR(seen.v[seen.n - 1].repository, "r5");
    blobs_seen_done(&seen);
    place_done(&p);
}

/* ---- layers as gzip ------------------------------------------------------------------------------------------------------------------------- */

#define FILE_BYTES (3 * SQUEEZE_AHEAD + 12345)

/* An archive of one file that compresses badly, so that the ring is too small for it. */
static void make_archive(struct buf *b) {
    _cleanup_buf_ struct buf file = BUF_INIT(FILE_BYTES);
    uint32_t x = 1;

    for (size_t i = 0; i < FILE_BYTES; i++) {
        x = x * 1664525 + 1013904223;
        buf_addc(&file, (char)(x >> 24));
    }
    archive_add(b, "f", file.data, file.len);
    archive_end(b);
}

static void read_all(struct squeeze *s, size_t piece, struct buf *b) {
    char part[70000];
    ssize_t n;

    CHECK_INT(squeeze_rewind(s, NULL), 0);
    while ((n = squeeze_read(s, part, MIN(piece, sizeof part), NULL)) > 0)
        buf_add(b, part, (size_t)n);
    CHECK_INT(n, 0);
}

static bool same(const struct buf *a, const struct buf *b) {
    return a->len == b->len && a->len > 0 && memcmp(a->data, b->data, a->len) == 0;
}

static void check_inflates_to(const struct buf *packed, const struct buf *archive) {
    _cleanup_free_ char *out = malloc(archive->len + 1);
    struct inflate_state z;

    isal_inflate_init(&z);
    z.crc_flag = ISAL_GZIP;
    z.next_in = (uint8_t *)packed->data;
    z.avail_in = (uint32_t)packed->len;
    z.next_out = (uint8_t *)out;
    z.avail_out = (uint32_t)archive->len + 1;
    CHECK_INT(isal_inflate(&z), ISAL_DECOMP_OK);
    CHECK_INT(z.block_state, ISAL_BLOCK_FINISH);
    CHECK_INT(z.total_out, archive->len);
    CHECK(z.total_out == archive->len && memcmp(out, archive->data, archive->len) == 0);
}

static void squeeze_checks(struct layer *layer, const struct buf *archive) {
    _cleanup_buf_ struct buf first = BUF_INIT(MIB(8)), again = BUF_INIT(MIB(8)), other = BUF_INIT(MIB(8));
    struct squeeze *s = NULL;
    char some[100];

    CHECK_INT(squeeze_new(layer, NULL, NULL, &s, NULL), 0);
    read_all(s, 70000, &first);
    check_inflates_to(&first, archive);
    /* From the middle to the start again, and however it is read. */
    CHECK_INT(squeeze_rewind(s, NULL), 0);
    CHECK(squeeze_read(s, some, sizeof some, NULL) > 0);
    read_all(s, 333, &again);
    CHECK(same(&first, &again));
    squeeze_free(s);
    CHECK_INT(squeeze_new(layer, NULL, NULL, &s, NULL), 0);
    read_all(s, 4096, &other);
    CHECK(same(&first, &other));
    /* Given up while there is more than the ring holds. */
    CHECK_INT(squeeze_rewind(s, NULL), 0);
    CHECK(squeeze_read(s, some, sizeof some, NULL) > 0);
    squeeze_free(s);
}

TEST(a_layer_is_the_same_gzip_each_time) {
    _cleanup_buf_ struct buf archive = BUF_INIT(MIB(8));
    _cleanup_err_ struct err e = ERR_INIT;
    struct layers *layers = NULL;
    struct layer *layer = NULL;
    struct place p;

    if (geteuid() != 0)
        TEST_SKIP("layers are unpacked as root");
    place_init(&p);
    make_archive(&archive);
    CHECK_INT(buf_check(&archive, NULL), 0);
    CHECK_INT(layers_new(p.db, &(struct layers_config){.data_root = p.root, .driver = "vfs", .libexec_dir = p.libexec}, &layers, &e), 0);
    if (layers && archive_store(layers, NULL, &archive, NULL, &layer, &e) == 0)
        squeeze_checks(layer, &archive);
    else
        CHECK_STR(err_msg(&e), "");
    layer_unref(layer);
    layers_free(layers);
    place_done(&p);
}
