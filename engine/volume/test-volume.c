// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"
#include "volume/mount-options.h"
#include "volume/test-place.h"
#include "volume/volume-internal.h"

TEST(volume_names) {
    CHECK_INT(volume_check_name("ab", NULL), 0);
    CHECK_INT(volume_check_name("a.b-c_9", NULL), 0);
    CHECK(volume_check_name("a", NULL) < 0);
    CHECK(volume_check_name("", NULL) < 0);
    CHECK(volume_check_name("..", NULL) < 0);
    CHECK(volume_check_name("a/b", NULL) < 0);
    CHECK(volume_check_name("-ab", NULL) < 0);
    CHECK(volume_check_name("a b", NULL) < 0);
}

TEST(volume_texts) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct place p;
    struct volume *v = NULL;
    _cleanup_strv_ struct strv opts = STRV_INIT;

    REQUIRE(place_begin(&p));
    CHECK_INT(volumes_create(p.vs, &(struct volume_request){.name = "a b"}, &v, &e), -ERR_INVALID);
    CHECK_STR(err_msg(&e),
              "create a b: \"a b\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If "
              "you intended to pass a host directory, use absolute path");
    CHECK_INT(volumes_create(p.vs, &(struct volume_request){.name = "x"}, &v, &e), -ERR_INVALID);
    CHECK_STR(err_msg(&e), "create x: volume name is too short, names should be at least two alphanumeric characters");
    CHECK_INT(volumes_create(p.vs, &(struct volume_request){.name = "aa", .driver = "zzz"}, &v, &e), -ERR_NOT_FOUND);
    CHECK_STR(err_msg(&e), "create aa: error looking up volume plugin zzz: plugin \"zzz\" not found");
    strv_add(&opts, "foo=bar");
    CHECK_INT(volumes_create(p.vs, &(struct volume_request){.name = "vv", .opts = &opts}, &v, &e), -ERR_INVALID);
    CHECK_STR(err_msg(&e), "create vv: invalid option: \"foo\"");
    strv_remove_at(&opts, 0);
    strv_add(&opts, "type=tmpfs");
    CHECK_INT(volumes_create(p.vs, &(struct volume_request){.name = "vv", .opts = &opts}, &v, &e), -ERR_INVALID);
    CHECK_STR(err_msg(&e), "create vv: missing required option: \"device\"");
    CHECK_INT(volumes_find(p.vs, "vv", &v, &e), -ERR_NOT_FOUND);
    CHECK_STR(err_msg(&e), "get vv: no such volume");
    place_end(&p);
}

TEST(volume_life) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct place p;
    struct volume *v = NULL, *w = NULL;
    char path[200];
    struct stat st;

    REQUIRE(place_begin(&p));
    REQUIRE(volumes_acquire(p.vs, &(struct volume_request){.name = "data"}, "c1", &v, &e) == 0);
    REQUIRE(volumes_acquire(p.vs, &(struct volume_request){.name = "data"}, "c2", &w, &e) == 0);
    CHECK(v == w);
    CHECK_INT(volumes_remove(p.vs, "data", true, &e), -ERR_CONFLICT);
    CHECK_STR(err_msg(&e), "remove data: volume is in use - [c1, c2]");
    snprintf(path, sizeof(path), "%s/volumes/data/_data", p.root);
    CHECK_STR(volume_path(v), path);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0755);
    snprintf(path, sizeof(path), "%s/volumes/data", p.root);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0701);
    volumes_release(p.vs, v, "c1", true); /* somebody else holds it: it stays */
    volumes_release(p.vs, w, "c2", false);
    CHECK(fs_exists(path));
    place_close(&p);
    REQUIRE(place_open(&p));
    CHECK_INT(volumes_find(p.vs, "data", &v, &e), 0);
    volume_unref(v);
    CHECK_INT(volumes_remove(p.vs, "data", false, &e), 0);
    CHECK(!fs_exists(path));
    CHECK_INT(volumes_remove(p.vs, "data", false, &e), -ERR_NOT_FOUND);
    CHECK_INT(volumes_remove(p.vs, "data", true, &e), 0);
    REQUIRE(volumes_acquire(p.vs, &(struct volume_request){0}, "c1", &v, &e) == 0);
    CHECK(volume_is_anonymous(v));
    CHECK_INT(strlen(volume_name(v)), 64);
    snprintf(path, sizeof(path), "%s/volumes/%s", p.root, volume_name(v));
    volumes_release(p.vs, v, "c1", true);
    CHECK(!fs_exists(path));
    REQUIRE(volumes_acquire(p.vs, &(struct volume_request){.unmarked = true}, "c1", &v, &e) == 0);
    CHECK(!volume_is_anonymous(v));
    snprintf(path, sizeof(path), "%s/volumes/%s", p.root, volume_name(v));
    volumes_release(p.vs, v, "c1", true);
    CHECK(!fs_exists(path));
    /* A folder nobody recorded becomes a volume. */
    snprintf(path, sizeof(path), "%s/volumes/byhand/_data", p.root);
    CHECK_INT(fs_mkdir_p(path, 0755, NULL), 0);
    place_close(&p);
    REQUIRE(place_open(&p));
    CHECK_INT(volumes_find(p.vs, "byhand", &v, &e), 0);
    volume_unref(v);
    place_end(&p);
}

static void put(const char *root, const char *name, const char *text) {
    char path[400];

    snprintf(path, sizeof(path), "%s/%s", root, name);
    fs_replace_file_volatile(path, text, strlen(text), 0640, NULL);
}

/* Folders without a record: with content they are volumes, empty ones are what is left of a creation that was cut short. */
TEST(volume_folders_at_start) {
    struct volume *v = NULL;
    struct place p;
    char path[128];

    REQUIRE(place_begin(&p));
    place_close(&p);
    snprintf(path, sizeof(path), "%s/volumes/whole/_data", p.root);
    CHECK_INT(fs_mkdir_p(path, 0755, NULL), 0);
    snprintf(path, sizeof(path), "%s/volumes/half", p.root);
    CHECK_INT(fs_mkdir_p(path, 0755, NULL), 0);
    REQUIRE(place_open(&p));
    CHECK(access(path, F_OK) < 0);
    CHECK_INT(volumes_find(p.vs, "whole", &v, NULL), 0);
    volume_unref(v);
    place_end(&p);
}

TEST(volume_copy_up) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct place p;
    struct volume *v = NULL;
    char src[100], a[200], b[200], text[64] = "";
    struct stat st, st2;
    int fd;

    if (geteuid() != 0)
        TEST_SKIP("needs root");
    REQUIRE(place_begin(&p));
    snprintf(src, sizeof(src), "%s/src", p.root);
    snprintf(a, sizeof(a), "%s/sub/deep", src);
    fs_mkdir_p(a, 0755, NULL);
    put(src, "file", "text");
    put(src, "sub/deep/x", "y");
    snprintf(a, sizeof(a), "%s/file", src);
    snprintf(b, sizeof(b), "%s/sub/hard", src);
    CHECK(link(a, b) == 0 && chown(a, 7, 8) == 0 && chmod(a, 04755) == 0);
    setxattr(a, "user.note", "n", 1, 0);
    snprintf(b, sizeof(b), "%s/soft", src);
    CHECK(symlink("/etc/passwd", b) == 0 && lchown(b, 9, 9) == 0);
    snprintf(b, sizeof(b), "%s/fifo", src);
    CHECK(mkfifo(b, 0600) == 0);
    CHECK(chown(src, 33, 34) == 0 && chmod(src, 01777) == 0);

    REQUIRE(volumes_acquire(p.vs, &(struct volume_request){.name = "cc"}, "c1", &v, &e) == 0);
    fd = open(src, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CHECK_INT(volumes_copy_up(p.vs, v, NULL, "c1", -1, "", &e), 0);
    if (volumes_copy_up(p.vs, v, NULL, "c1", fd, "", &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", err_msg(&e));
    CHECK(stat(volume_path(v), &st) == 0 && st.st_uid == 33 && st.st_gid == 34 && (st.st_mode & 07777) == 01777);
    snprintf(a, sizeof(a), "%s/file", volume_path(v));
    snprintf(b, sizeof(b), "%s/sub/hard", volume_path(v));
    CHECK(stat(a, &st) == 0 && st.st_uid == 7 && st.st_gid == 8 && (st.st_mode & 07777) == 04755 && st.st_nlink == 2);
    CHECK(stat(b, &st2) == 0 && st2.st_ino == st.st_ino);
    CHECK_INT(getxattr(a, "user.note", text, sizeof(text)), 1);
    snprintf(b, sizeof(b), "%s/soft", volume_path(v));
    CHECK_INT(readlink(b, text, sizeof(text)), 11);
    CHECK(lstat(b, &st) == 0 && st.st_uid == 9);
    snprintf(b, sizeof(b), "%s/fifo", volume_path(v));
    CHECK(lstat(b, &st) == 0 && S_ISFIFO(st.st_mode));
    snprintf(b, sizeof(b), "%s/sub/deep/x", volume_path(v));
    CHECK(fs_exists(b));
    /* Not a second time. */
    unlink(b);
    CHECK_INT(volumes_copy_up(p.vs, v, NULL, "c1", fd, "", &e), 0);
    CHECK(!fs_exists(b));
    close_fd(fd);
    volumes_release(p.vs, v, "c1", false);
    place_end(&p);
}

static bool use(struct place *p, struct volume *v, const char *container) {
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_free_ char *path = NULL;

    if (volumes_mount_at(p->vs, v, container, "/x", true, "", &path, &e) < 0) {
        test_fail(__FILE__, __LINE__, "%s", err_msg(&e));
        return false;
    }
    return streq(path, volume_path(v));
}

TEST(volume_tmpfs) {
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_strv_ struct strv opts = STRV_INIT;
    struct place p;
    struct volume *v = NULL;
    struct stat st;

    if (geteuid() != 0)
        TEST_SKIP("needs root");
    REQUIRE(place_begin(&p));
    strv_add(&opts, "type=tmpfs");
    strv_add(&opts, "device=tmpfs");
    strv_add(&opts, "o=size=1m,uid=12,nosuid");
    REQUIRE(volumes_acquire(p.vs, &(struct volume_request){.name = "tt", .opts = &opts}, "c1", &v, &e) == 0);
    CHECK(use(&p, v, "c1"));
    CHECK(volume_is_mounted(v));
    CHECK(stat(volume_path(v), &st) == 0 && st.st_uid == 12);
    CHECK(use(&p, v, "c2"));
    volumes_unmount(p.vs, v, "c1");
    CHECK(volume_is_mounted(v));
    volumes_unmount(p.vs, v, "c2");
    CHECK(!volume_is_mounted(v));
    CHECK(stat(volume_path(v), &st) == 0 && st.st_uid == 0);
    volumes_release(p.vs, v, "c1", false);
    CHECK_INT(volumes_remove(p.vs, "tt", false, &e), 0);
    place_end(&p);
}

/* A volume with a file system of its own, held by the container c1. */
static bool place_tmpfs(struct place *p, struct volume **ret) {
    _cleanup_strv_ struct strv opts = STRV_INIT;

    strv_add(&opts, "type=tmpfs");
    strv_add(&opts, "device=tmpfs");
    return place_begin(p) && volumes_acquire(p->vs, &(struct volume_request){.name = "tt", .opts = &opts}, "c1", ret, NULL) == 0;
}

/* Whoever looks at a container's files has the volume mounted, and leaves without taking it from the container. */
TEST(volume_visits_are_uses_of_their_own) {
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_free_ char *first = NULL, *second = NULL;
    char a[ID_LEN + 1], b[ID_LEN + 1];
    struct place p;
    struct volume *v = NULL;

    if (geteuid() != 0)
        TEST_SKIP("needs root");
    REQUIRE(place_tmpfs(&p, &v));
    REQUIRE(volumes_visit(p.vs, v, "c1", "/x", true, "", a, &first, &e) == 0);
    CHECK(volume_is_mounted(v));
    CHECK(use(&p, v, "c1"));
    REQUIRE(volumes_visit(p.vs, v, "c1", "/x", true, "", b, &second, &e) == 0);
    volumes_leave(p.vs, v, "c1", a);
    volumes_leave(p.vs, v, "c1", b);
    CHECK(volume_is_mounted(v));
    CHECK(strv_has(&v->runs, "c1"));
    volumes_unmount(p.vs, v, "c1");
    CHECK(!volume_is_mounted(v));
    CHECK_INT(v->runs.n, 0);
    volumes_release(p.vs, v, "c1", false);
    place_end(&p);
}

/* The engine dies while two containers use the volume; one of them is there again. */
TEST(volume_uses_survive) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct place p;
    struct volume *v = NULL;

    if (geteuid() != 0)
        TEST_SKIP("needs root");
    REQUIRE(place_tmpfs(&p, &v));
    CHECK(use(&p, v, "c1"));
    CHECK(use(&p, v, "c2"));
    volume_unref(v);
    place_close(&p);
    REQUIRE(place_open(&p));
    REQUIRE(volumes_hold(p.vs, "tt", "c1", &v, &e) == 0);
    volumes_mount(p.vs, v, "c1");
    volumes_sweep(p.vs);
    CHECK_INT(v->n_uses, 1);
    CHECK(volume_is_mounted(v));
    volume_unref(v);
    place_close(&p);
    REQUIRE(place_open(&p));
    /* Nobody is left: nothing stays mounted. */
    volumes_sweep(p.vs);
    REQUIRE(volumes_find(p.vs, "tt", &v, &e) == 0);
    CHECK(!volume_is_mounted(v));
    volume_unref(v);
    CHECK_INT(volumes_remove(p.vs, "tt", false, &e), 0);
    place_end(&p);
}

static int mount_error(struct place *p, const char *type, const char *device, const char *o, struct err *e) {
    _cleanup_strv_ struct strv opts = STRV_INIT;
    _cleanup_free_ char *path = NULL;
    struct volume *v = NULL;
    int r;

    strv_addf(&opts, "type=%s", type);
    strv_addf(&opts, "device=%s", device);
    strv_addf(&opts, "o=%s", o);
    r = volumes_create(p->vs, &(struct volume_request){.name = "bad", .opts = &opts}, &v, e);
    if (r == 0)
        r = volumes_mount_at(p->vs, v, "c1", "/x", true, "", &path, e);
    volume_unref(v);
    volumes_remove(p->vs, "bad", true, NULL);
    return r;
}

TEST(volume_mount_errors) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct place p;
    char text[600];

    if (geteuid() != 0)
        TEST_SKIP("needs root");
    REQUIRE(place_begin(&p));
    CHECK(mount_error(&p, "none", "/nosuch", "bind", &e) < 0);
    snprintf(text, sizeof(text),
             "error while mounting volume '%s/volumes/bad/_data': failed to mount local volume: mount /nosuch:%s/volumes/bad/_data, flags: 0x1000: "
             "no such "
             "file or directory",
             p.root, p.root);
    CHECK_STR(err_msg(&e), text);
    CHECK(mount_error(&p, "nosuchfs", "//1.2.3.4/s", "user=x,password=y,ro", &e) < 0);
    snprintf(
        text, sizeof(text),
        "error while mounting volume '%s/volumes/bad/_data': failed to mount local volume: mount //1.2.3.4/s:%s/volumes/bad/_data, flags: 0x1, data: "
        "user=x,password=********: no such device",
        p.root, p.root);
    CHECK_STR(err_msg(&e), text);
    CHECK(mount_error(&p, "none", "", "bind", &e) < 0);
    snprintf(text, sizeof(text), "error while mounting volume '%s/volumes/bad/_data': missing device in volume options", p.root);
    CHECK_STR(err_msg(&e), text);
    CHECK_INT(mount_error(&p, "cifs", "bad%zz", "x", &e), -ERR_INVALID);
    CHECK_STR(err_msg(&e), "create bad: error parsing mount device url: parse \"bad%zz\": invalid URL escape \"%zz\"");
    place_end(&p);
}

TEST(volume_mount_options) {
    _cleanup_mount_options_ struct mount_options m = MOUNT_OPTIONS_INIT;
    _cleanup_free_ char *shown = mount_options_shown("a=b,password=c,password");

    CHECK_INT(mount_options_parse("ro,,nosuid,rw,size=1m,rslave,x", &m, NULL), 0);
    CHECK_INT((long long)m.flags, MS_NOSUID);
    CHECK_INT((long long)m.propagation, MS_SLAVE | MS_REC);
    CHECK_STR(buf_str(&m.data), "size=1m,x");
    CHECK_STR(shown, "a=b,password=********,password");
}

TEST(volume_sizes) {
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {{"10", 10}, {"10m", 10 << 20}, {"1.5k", 1536}, {"2 GiB", (int64_t)2 << 30}, {"3MB", 3 << 20}, {"0", 0}},
      bad[] = {{"", 0}, {"x", 0}, {"-1", 0}, {"1x", 0}, {"0x10", 0}, {"1kk", 0}, {"99999999999g", 0}};
    uint64_t n;

    for (size_t i = 0; i < ELEMENTSOF(good); i++)
        CHECK(volume_size_parse(good[i].text, &n) == 0 && (int64_t)n == good[i].bytes);
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        CHECK(volume_size_parse(bad[i].text, &n) < 0);
}

TEST(volume_bytes_counted) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct place p;
    struct volume *v = NULL;
    char a[200], b[200];

    REQUIRE(place_begin(&p));
    REQUIRE(volumes_create(p.vs, &(struct volume_request){.name = "cc"}, &v, &e) == 0);
    CHECK_INT(volume_bytes(v), 0);
    put(volume_path(v), "file", "12345");
    snprintf(a, sizeof(a), "%s/file", volume_path(v));
    snprintf(b, sizeof(b), "%s/again", volume_path(v));
    CHECK_INT(link(a, b), 0);
    snprintf(b, sizeof(b), "%s/link", volume_path(v));
    CHECK_INT(symlink("abc", b), 0);
    snprintf(b, sizeof(b), "%s/sub", volume_path(v));
    CHECK_INT(mkdir(b, 0755), 0);
    put(b, "x", "12");
    CHECK_INT(volume_bytes(v), 5 + 3 + 2);
    volume_unref(v);
    place_end(&p);
}
