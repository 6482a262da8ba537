// SPDX-License-Identifier: Apache-2.0
/* One archive as a layer on different parents, and what is remembered of the blob it came in. */
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "base/test.h"
#include "db/db.h"
#include "layers/layers.h"
#include "layers/test-archive.h"

#define BLOB "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

struct store {
    char root[64];
    char *libexec;
    struct db *db;
    struct layers *layers;
};

/* build/test/layers runs build/bin/hatake-unpack; sanitized builds have none of their own. */
static char *find_libexec(void) {
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    _cleanup_free_ char *helper = NULL;

    if (n < 0)
        return NULL;
    self[n] = 0;
    *strrchr(self, '/') = 0;
    helper = str_printf("%s/../bin/hatake-unpack", self);
    return str_printf(helper && fs_exists(helper) ? "%s/../bin" : "%s/../../bin", self);
}

static void store_init(struct store *s, const char *driver) {
    _cleanup_free_ char *path = NULL;

    *s = (struct store){0};
    snprintf(s->root, sizeof s->root, "/tmp/test-known-XXXXXX");
    CHECK(mkdtemp(s->root) != NULL);
    path = str_printf("%s/engine.db", s->root);
    s->libexec = find_libexec();
    CHECK_INT(db_open(path, &s->db, NULL), 0);
    CHECK_INT(layers_new(s->db, &(struct layers_config){.data_root = s->root, .driver = driver, .libexec_dir = s->libexec}, &s->layers, NULL), 0);
}

static void store_done(struct store *s) {
    layers_free(s->layers);
    db_close(s->db);
    fs_remove_tree(s->root, NULL);
    free(s->libexec);
}

/* A layer of empty files. */
static struct layer *add(struct store *s, struct layer *parent, const char *const *names) {
    _cleanup_buf_ struct buf archive = BUF_INIT(KIB(64));
    _cleanup_err_ struct err e = ERR_INIT;
    struct layer *layer = NULL;

    for (; *names; names++)
        archive_add(&archive, *names, NULL, 0);
    archive_end(&archive);
    CHECK_STR(archive_store(s->layers, parent, &archive, BLOB, &layer, &e) < 0 ? err_msg(&e) : "", "");
    return layer;
}

/* In the layer's own folder. */
static bool has(struct layer *layer, const char *name) {
    struct layer_dirs dirs;
    _cleanup_free_ char *path = NULL;
    struct stat st;
    bool is = false;

    CHECK_INT(layer_dirs(layer, &dirs, NULL), 0);
    path = str_printf("%s/%s", dirs.upper, name);
    is = path && lstat(path, &st) == 0 && S_ISREG(st.st_mode);
    layer_dirs_done(&dirs);
    return is;
}

static int count(void *arg, const void *p, size_t n, struct err *e) {
    *(size_t *)arg += n;
    return 0;
}

static void check_on_another_parent(struct store *s) {
    bool whole = streq(layers_driver_name(s->layers), "vfs");
    struct layer *x = add(s, NULL, (const char *const[]){"x", NULL}), *y = add(s, NULL, (const char *const[]){"y", "z", NULL});
    struct layer *on_x = x ? add(s, x, (const char *const[]){".wh.y", "a", NULL}) : NULL, *on_y = NULL;
    size_t n = 0;

    CHECK(on_x && y);
    if (on_x && y)
        CHECK_INT(layers_register_known(s->layers, y, layer_diff_id(on_x), &on_y, NULL), 0);
    CHECK(on_y != NULL);
    if (on_y) {
        CHECK_STR(layer_diff_id(on_y), layer_diff_id(on_x));
        CHECK(layer_parent(on_y) == y);
        CHECK(has(on_y, "a"));
        CHECK(!has(on_y, "x")); /* of the parent it was made on */
        CHECK(!has(on_y, "y")); /* taken away by it */
        CHECK_INT(has(on_y, "z"), whole);
        CHECK_INT(layer_archive(on_y, count, &n, NULL), 0);
        CHECK_INT(n, layer_archive_size(on_y));
    }
    layer_unref(on_y);
    layer_unref(on_x);
    layer_unref(y);
    layer_unref(x);
}

TEST(a_known_layer_on_another_parent_is_only_itself) {
    static const char *const drivers[] = {"vfs", NULL}; /* NULL: overlay2 where it works */

    if (geteuid() != 0)
        TEST_SKIP("layers are unpacked as root");
    for (size_t i = 0; i < ELEMENTSOF(drivers); i++) {
        struct store s;

        store_init(&s, drivers[i]);
        if (s.layers)
            check_on_another_parent(&s);
        store_done(&s);
    }
}

TEST(what_a_layer_came_in_is_remembered_with_its_row) {
    struct store s;
    struct layer *layer, *same;
    char diff[72];

    if (geteuid() != 0)
        TEST_SKIP("layers are unpacked as root");
    store_init(&s, "vfs");
    layer = add(&s, NULL, (const char *const[]){"x", NULL});
    same = add(&s, NULL, (const char *const[]){"x", NULL}); /* the folder made second is dropped */
    CHECK(layer && layer == same);
    CHECK(!layers_blob_diff(s.layers, BLOB, diff));
    CHECK_INT(layers_settle(layer, NULL), 0);
    CHECK(layers_blob_diff(s.layers, BLOB, diff));
    CHECK_STR(diff, layer_diff_id(layer));
    layer_unref(same);
    layer_unref(layer);
    store_done(&s);
}
