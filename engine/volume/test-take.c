// SPDX-License-Identifier: Apache-2.0
/* A volume that takes over another's data; ends of the engine in the middle of that and of making volumes. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/test.h"
#include "volume/test-place.h"

static void put(const struct place *p, const char *volume, const char *text) {
    char path[200];

    snprintf(path, sizeof(path), "%s/volumes/%s/_data/f", p->root, volume);
    CHECK_INT(fs_replace_file_volatile(path, text, strlen(text), 0644, NULL), 0);
}

/* What the volume holds; "": nothing; "-": there is no folder. */
static const char *look(const struct place *p, const char *volume, struct buf *b) {
    char path[200];

    buf_reset(b);
    snprintf(path, sizeof(path), "%s/volumes/%s/_data", p->root, volume);
    if (!fs_exists(path))
        return "-";
    snprintf(path, sizeof(path), "%s/volumes/%s/_data/f", p->root, volume);
    return fs_exists(path) && fs_read_file(path, b, NULL) == 0 ? buf_str(b) : "";
}

static bool make(struct place *p, const char *name) {
    struct volume *v = NULL;
    int r = volumes_create(p->vs, &(struct volume_request){.name = name}, &v, NULL);

    volume_unref(v);
    return r == 0;
}

static bool known(struct place *p, const char *name) {
    struct volume *v = NULL;
    int r = volumes_find(p->vs, name, &v, NULL);

    volume_unref(v);
    return r == 0;
}

static int take(struct place *p, const char *name, const char *from) {
    struct volume *v = NULL;
    int r = volumes_take(p->vs, &(struct volume_request){.name = name}, from, &v, NULL);

    volume_unref(v);
    return r;
}

TEST(volume_takes_data) {
    _cleanup_buf_ struct buf b = BUF_INIT(1000);
    struct volume *v = NULL;
    struct place p;
    char *path = NULL;

    REQUIRE(place_begin(&p));
    REQUIRE(make(&p, "stage"));
    put(&p, "stage", "new");
    CHECK_INT(take(&p, "fresh", "stage"), 0);
    CHECK_STR(look(&p, "fresh", &b), "new");
    CHECK_STR(look(&p, "stage", &b), "-");
    CHECK(!known(&p, "stage"));
    /* One that is there and holds something. */
    REQUIRE(make(&p, "stage"));
    put(&p, "stage", "newer");
    CHECK_INT(take(&p, "fresh", "stage"), 0);
    CHECK_STR(look(&p, "fresh", &b), "newer");
    CHECK(!known(&p, "stage"));
    /* Not from one that is held, not into one that is used, not out of nothing. */
    REQUIRE(make(&p, "stage"));
    put(&p, "stage", "newest");
    CHECK_INT(take(&p, "fresh", "nosuch"), -ERR_NOT_FOUND);
    CHECK_INT(take(&p, "stage", "stage"), -ERR_INVALID);
    REQUIRE(volumes_acquire(p.vs, &(struct volume_request){.name = "stage"}, "c1", &v, NULL) == 0);
    CHECK_INT(take(&p, "fresh", "stage"), -ERR_CONFLICT);
    volumes_release(p.vs, v, "c1", false);
    REQUIRE(volumes_acquire(p.vs, &(struct volume_request){.name = "fresh"}, "c1", &v, NULL) == 0);
    REQUIRE(volumes_mount_at(p.vs, v, "c1", "/x", true, NULL, &path, NULL) == 0);
    free(path);
    CHECK_INT(take(&p, "fresh", "stage"), -ERR_CONFLICT);
    CHECK_STR(look(&p, "fresh", &b), "newer");
    /* Held by a container that does not run any more: fine. */
    volumes_unmount(p.vs, v, "c1");
    CHECK_INT(take(&p, "fresh", "stage"), 0);
    CHECK_STR(look(&p, "fresh", &b), "newest");
    volumes_release(p.vs, v, "c1", false);
    place_close(&p);
    REQUIRE(place_open(&p));
    CHECK_STR(look(&p, "fresh", &b), "newest");
    CHECK(known(&p, "fresh") && !known(&p, "stage"));
    place_end(&p);
}

/* What an engine leaves that ended before the records were written: with the folders exchanged or not yet, into a new volume or one that was there. */
TEST(volume_take_is_undone) {
    for (int exchanged = 0; exchanged < 2; exchanged++) {
        for (int fresh = 0; fresh < 2; fresh++) {
            _cleanup_buf_ struct buf b = BUF_INIT(1000);
            char from[200], to[200], payload[64];
            struct place p;
            struct stat st;
            int64_t id;

            REQUIRE(place_begin(&p));
            REQUIRE(make(&p, "stage"));
            put(&p, "stage", "new");
            snprintf(from, sizeof(from), "%s/volumes/stage/_data", p.root);
            snprintf(to, sizeof(to), "%s/volumes/wanted/_data", p.root);
            REQUIRE(stat(from, &st) == 0);
            if (fresh) {
                REQUIRE(fs_mkdir_p(to, 0755, NULL) == 0);
            } else {
                REQUIRE(make(&p, "wanted"));
                put(&p, "wanted", "old");
            }
            snprintf(payload, sizeof(payload), "%llu stage", (unsigned long long)st.st_ino);
            REQUIRE(intent_begin(p.engine.db, "volume.take", "wanted", payload, &id, NULL) == 0);
            if (exchanged)
                REQUIRE(renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0);
            place_close(&p);
            REQUIRE(place_open(&p));
            CHECK_STR(look(&p, "stage", &b), "new");
            CHECK_STR(look(&p, "wanted", &b), fresh ? "-" : "old");
            CHECK_INT(known(&p, "wanted"), !fresh);
            /* And it can be done now. */
            CHECK_INT(take(&p, "wanted", "stage"), 0);
            CHECK_STR(look(&p, "wanted", &b), "new");
            place_end(&p);
        }
    }
}

/* After the records: what is left of the other volume goes. */
TEST(volume_take_is_finished) {
    _cleanup_buf_ struct buf b = BUF_INIT(1000);
    char rest[200];
    struct place p;
    int64_t id;

    REQUIRE(place_begin(&p));
    REQUIRE(make(&p, "wanted"));
    snprintf(rest, sizeof(rest), "%s/volumes/stage/_data", p.root);
    REQUIRE(fs_mkdir_p(rest, 0755, NULL) == 0);
    put(&p, "stage", "old");
    REQUIRE(intent_begin(p.engine.db, "volume.remove", "stage", NULL, &id, NULL) == 0);
    place_close(&p);
    REQUIRE(place_open(&p));
    CHECK_STR(look(&p, "stage", &b), "-");
    CHECK(known(&p, "wanted") && !known(&p, "stage"));
    place_end(&p);
}

/* A volume is its record: labels and options are never missing, a folder that was not made yet is made. */
TEST(volume_making_is_completed) {
    _cleanup_buf_ struct buf b = BUF_INIT(1000);
    char path[200];
    struct place p;

    REQUIRE(place_begin(&p));
    REQUIRE(make(&p, "cut"));
    snprintf(path, sizeof(path), "%s/volumes/cut", p.root);
    REQUIRE(fs_remove_tree(path, NULL) == 0);
    place_close(&p);
    REQUIRE(place_open(&p));
    CHECK(known(&p, "cut"));
    CHECK_STR(look(&p, "cut", &b), "");
    place_end(&p);
}
