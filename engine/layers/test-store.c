// SPDX-License-Identifier: Apache-2.0
/* What a start finds in the store's folder: leftovers go, what has an owner or may be somebody's data stays. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"
#include "db/db.h"
#include "db/journal.h"
#include "layers/layers-internal.h"

#define LAYER "1111111111111111111111111111111111111111111111111111111111111111"
#define ORPHAN "2222222222222222222222222222222222222222222222222222222222222222"
#define DATA "3333333333333333333333333333333333333333333333333333333333333333"
#define EMPTY "4444444444444444444444444444444444444444444444444444444444444444"
#define MOUNT_ID_OF_NOBODY "../image/vfs/layerdb/mounts/6666666666666666666666666666666666666666666666666666666666666666"
#define VOLATILE "5555555555555555555555555555555555555555555555555555555555555555"
#define DIFF "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct store {
    char base[64];
    char *db_path, *home;
    struct db *db;
    struct layers *layers;
};

static void store_open(struct store *s) {
    struct layers_config config = {.data_root = s->base, .driver = "vfs", .libexec_dir = "/nowhere"};
    _cleanup_err_ struct err e = ERR_INIT;

    CHECK_INT(db_open(s->db_path, &s->db, &e), 0);
    CHECK_INT(journal_setup(s->db, &e), 0);
    if (layers_new(s->db, &config, &s->layers, &e) < 0)
        CHECK_STR(err_msg(&e), "");
}

static void store_close(struct store *s) {
    s->layers = layers_free(s->layers);
    s->db = db_close(s->db);
}

static void store_init(struct store *s) {
    *s = (struct store){0};
    snprintf(s->base, sizeof s->base, "/tmp/test-store-XXXXXX");
    CHECK(mkdtemp(s->base) != NULL);
    s->db_path = str_printf("%s/engine.db", s->base);
    s->home = str_printf("%s/vfs", s->base);
    store_open(s);
}

static void store_done(struct store *s) {
    store_close(s);
    fs_remove_tree(s->base, NULL);
    free(s->db_path);
    free(s->home);
}

static void folder(const struct store *s, const char *name, const char *part) {
    _cleanup_free_ char *path = str_printf("%s/%s/%s", s->home, name, part);

    CHECK_INT(fs_mkdir_p(path, 0700, NULL), 0);
}

static bool there(const struct store *s, const char *name) {
    _cleanup_free_ char *path = str_printf("%s/%s", s->home, name);
    struct stat st;

    return lstat(path, &st) == 0;
}

static void plant(const struct store *s) {
    static const char *const names[] = {LAYER, ORPHAN, ORPHAN "-init", "tmp-1234567890abcdef", "gone-1234567890abcdef", "somebody-elses"};

    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        folder(s, names[i], "diff");
    folder(s, DATA, "merged");
    folder(s, DATA, "diff/something");
    folder(s, EMPTY, "merged");
    folder(s, EMPTY, "diff");
    folder(s, VOLATILE, "merged");
    folder(s, VOLATILE, "diff/something");
    folder(s, VOLATILE, "work/incompat/volatile");
    folder(s, MOUNT_ID_OF_NOBODY, "mount-id");
}

/* blob: digest of the one kept with it, or NULL. */
static void add_layer_row(struct store *s, const char *diff, const char *folder, const char *blob) {
    CHECK_INT(db_exec(s->db,
                      "INSERT INTO layer(chain_id, diff_id, parent, cache_id, link, size, archive_size, created, synced, blob) "
                      "VALUES(?1,?1,NULL,?2,substr(?2, 1, 26),1,1,1,1,?3)",
                      DB_ARGS(DB_TEXT(diff), DB_TEXT(folder), DB_TEXT(blob)), NULL),
              0);
}

TEST(a_start_removes_what_nobody_owns_and_nothing_else) {
    struct store s;
    struct layer *layer;

    store_init(&s);
    add_layer_row(&s, DIFF, LAYER, NULL);
    plant(&s);
    store_close(&s);
    store_open(&s);
    store_close(&s); /* waits for the removals */
    CHECK(there(&s, LAYER));
    CHECK(!there(&s, ORPHAN));
    CHECK(!there(&s, ORPHAN "-init"));
    CHECK(!there(&s, "tmp-1234567890abcdef"));
    CHECK(!there(&s, "gone-1234567890abcdef"));
    CHECK(there(&s, "somebody-elses"));
    CHECK(there(&s, DATA));
    CHECK(!there(&s, EMPTY));
    CHECK(!there(&s, VOLATILE));
    CHECK(!there(&s, MOUNT_ID_OF_NOBODY));
    store_open(&s);
    layer = layers_get(s.layers, DIFF);
    CHECK(layer != NULL);
    layer_unref(layer);
    store_close(&s);
    CHECK(!there(&s, LAYER));
    store_open(&s);
    CHECK(layers_get(s.layers, DIFF) == NULL);
    store_done(&s);
}

TEST(layers_of_a_lost_database_stay) {
    struct store s;

    store_init(&s);
    plant(&s);
    store_close(&s);
    CHECK_INT(unlink(s.db_path), 0);
    for (int i = 0; i < 2; i++) {
        store_open(&s);
        store_close(&s);
        CHECK(there(&s, LAYER));
        CHECK(there(&s, ORPHAN));
        CHECK(!there(&s, "tmp-1234567890abcdef"));
    }
    store_open(&s);
    store_done(&s);
}

#define BLOB "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define OTHER "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

/* A blob of 64 KiB in the layer's folder, last used at `when`. */
static void put_blob(const struct store *s, const char *folder_name, int64_t when) {
    static const char bytes[64 << 10];
    _cleanup_free_ char *path = str_printf("%s/%s/blob", s->home, folder_name);
    struct timespec t[2] = {{when, 0}, {when, 0}};

    CHECK_INT(fs_replace_file_volatile(path, bytes, sizeof bytes, 0600, NULL), 0);
    CHECK_INT(utimensat(AT_FDCWD, path, t, 0), 0);
}

static bool has_blob(struct layer *layer) {
    char digest[72];
    int64_t size;
    _cleanup_close_ int fd = layer_blob_open(layer, digest, &size);

    return fd >= 0 && size == 64 << 10 && streq(digest, BLOB);
}

/* 1 GiB, a tenth of which is to stay free, and so much is. */
static struct statvfs disk(int64_t free_bytes) {
    return (struct statvfs){.f_frsize = 4 << 10, .f_blocks = 256 << 10, .f_bavail = (fsblkcnt_t)free_bytes / (4 << 10)};
}

TEST(kept_blobs_live_with_their_layer_while_there_is_room) {
    const struct statvfs roomy = disk(512 << 20), nearly_full = disk(50 << 20);
    struct store s;
    struct layer *first, *second;

    store_init(&s);
    folder(&s, LAYER, "diff");
    folder(&s, ORPHAN, "diff");
    add_layer_row(&s, DIFF, LAYER, BLOB);
    add_layer_row(&s, OTHER, ORPHAN, BLOB);
    put_blob(&s, LAYER, 1000);
    put_blob(&s, ORPHAN, 2000);
    store_close(&s);
    store_open(&s);
    first = layers_get(s.layers, DIFF);
    second = layers_get(s.layers, OTHER);
    CHECK(first && second);
    if (!first || !second)
        return;
    CHECK(has_blob(second));
    CHECK(has_blob(first)); /* used last */
    kept_trim(s.layers, INT64_MAX, &roomy);
    CHECK(has_blob(first) && has_blob(second));
    kept_trim(s.layers, 100 << 10, &roomy);
    CHECK(has_blob(first));
    CHECK(!has_blob(second));
    CHECK(!there(&s, ORPHAN "/blob"));
    kept_trim(s.layers, INT64_MAX, &nearly_full);
    CHECK(!has_blob(first));
    CHECK(!there(&s, LAYER "/blob"));
    layer_unref(first);
    layer_unref(second);
    store_close(&s);
    CHECK(!there(&s, LAYER));
    store_open(&s);
    store_done(&s);
}
