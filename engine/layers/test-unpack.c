// SPDX-License-Identifier: Apache-2.0
/* Archives, kind and hostile, through reader, extractor and framing record, without the cage around them. */
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"
#include "layers/extract.h"
#include "layers/framing.h"
#include "layers/inflate.h"
#include "layers/tar.h"

struct spec {
    const char *name;
    char type;
    const char *link;
    const char *data;
    unsigned mode;
    int64_t size; /* -1: of data */
    const char *uid;
};

static void finish_header(char *h) {
    unsigned sum = 0;

    memset(h + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
}

static void add_entry(struct buf *b, const struct spec *s) {
    char h[512] = {0};
    size_t n = s->data ? strlen(s->data) : 0;
    static const char zeros[512];

    snprintf(h, 100, "%s", s->name);
    snprintf(h + 100, 8, "%07o", (s->mode ? s->mode : 0644) & 07777);
    snprintf(h + 108, 8, "%s", s->uid ? s->uid : "0000000");
    snprintf(h + 116, 8, "0000000");
    snprintf(h + 124, 12, "%011llo", (unsigned long long)(s->size ? s->size : (int64_t)n));
    snprintf(h + 136, 12, "%011o", 1700000000);
    h[156] = s->type ? s->type : '0';
    snprintf(h + 157, 100, "%s", s->link ? s->link : "");
    memcpy(h + 257, "ustar\00000", 8);
    finish_header(h);
    buf_add(b, h, 512);
    buf_add(b, s->data, n);
    buf_add(b, zeros, (size_t)(-(int64_t)n & 511));
}

/* A pax header with one record. */
static void add_pax(struct buf *b, const char *key, const char *value) {
    char record[2048];
    size_t n = strlen(key) + strlen(value) + 3, digits = 1;

    while (true) {
        size_t whole = n + digits;
        char text[24];

        if ((size_t)snprintf(text, sizeof text, "%zu", whole) == digits)
            break;
        digits++;
    }
    snprintf(record, sizeof record, "%zu %s=%s\n", n + digits, key, value);
    add_entry(b, &(struct spec){"pax", 'x', NULL, record, 0, 0, NULL});
}

static void add_end(struct buf *b) {
    static const char zeros[1024];

    buf_add(b, zeros, sizeof zeros);
}

struct source {
    const char *p;
    size_t n, step;
};

static int64_t fill(void *arg, const unsigned char **ret_p, struct err *e) {
    struct source *s = arg;
    size_t n = MIN(s->n, s->step);

    *ret_p = (const unsigned char *)s->p;
    s->p += n;
    s->n -= n;
    return (int64_t)n;
}

static int raw(void *arg, const void *p, size_t n, struct err *e) {
    return framing_raw(arg, p, n, e);
}

static int collect(void *arg, const void *p, size_t n, struct err *e) {
    buf_add(arg, p, n);
    return buf_check(arg, e);
}

struct place {
    char base[64], root[80], canary[96];
    int dir, record;
    const struct idmap *ids;
};

static void place_init(struct place *t) {
    t->ids = NULL;
    snprintf(t->base, sizeof t->base, "/tmp/test-unpack-XXXXXX");
    CHECK(mkdtemp(t->base) != NULL);
    snprintf(t->root, sizeof t->root, "%s/root", t->base);
    snprintf(t->canary, sizeof t->canary, "%s/canary", t->base);
    CHECK_INT(fs_replace_file_volatile(t->canary, "alive", 5, 0600, NULL), 0);
    CHECK_INT(mkdir(t->root, 0755), 0);
    t->dir = open(t->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    t->record = open(t->base, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    CHECK(t->dir >= 0 && t->record >= 0);
    umask(0);
}

/* The file beside the root is as it was, and nothing new stands beside it. */
static void check_canary(const struct place *t) {
    _cleanup_buf_ struct buf b = BUF_INIT(100);
    struct stat st;

    CHECK_INT(fs_read_file(t->canary, &b, NULL), 0);
    CHECK_STR(buf_str(&b), "alive");
    CHECK_INT(stat(t->canary, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    CHECK_INT((int64_t)st.st_nlink, 1);
    CHECK_INT(stat(t->base, &st), 0);
    CHECK_INT((int64_t)st.st_nlink, 3); /* itself, its name, root */
}

static void place_done(struct place *t) {
    check_canary(t);
    close_fd(t->dir);
    close_fd(t->record);
    fs_remove_tree(t->base, NULL);
}

static int unpack(struct place *t, const struct buf *archive, size_t step, enum whiteout_form form, struct extract_result *x, struct err *e) {
    struct source src = {archive->data, archive->len, step};
    struct framing_writer *w = framing_writer_new(t->record);
    struct tar_reader *r = tar_reader_new(fill, &src, raw, w);
    int k = extract_layer(r, &(struct extract_how){t->dir, form, t->ids}, w, NULL, NULL, x, e);

    if (k == 0)
        k = framing_finish(w, e);
    tar_reader_free(r);
    framing_writer_free(w);
    ignore_result(chdir("/") < 0); /* attributes are set through the working directory */
    return k;
}

static bool is_root(void) {
    return geteuid() == 0;
}

/* What was unpacked, made an archive again, is the archive. */
static void check_comes_back(const struct place *t, const struct buf *b) {
    _cleanup_buf_ struct buf again = BUF_INIT(1 << 20);
    int64_t total = 0;

    CHECK_INT(lseek(t->record, 0, SEEK_SET), 0);
    CHECK_INT(framing_replay(t->record, t->dir, collect, &again, &total, NULL), 0);
    CHECK_INT(total, (int64_t)b->len);
    CHECK(again.len == b->len && memcmp(again.data, b->data, b->len) == 0);
}

TEST(an_archive_comes_back_byte_for_byte) {
    static const struct spec entries[] = {{"./", '5', NULL, NULL, 0755, 0, NULL},         {"a/", '5', NULL, NULL, 01777, 0, NULL},
                                          {"a/f", '0', NULL, "hello", 04755, 0, NULL},    {"a/h", '1', "a/f", NULL, 04755, 0, NULL},
                                          {"a/s", '2', "../../x", NULL, 0777, 0, NULL},   {"deep/er/file", '0', NULL, "x", 0600, 0, "0001750"},
                                          {"a/.wh.gone", '0', NULL, NULL, 0644, 0, NULL}, {"a/fifo", '6', NULL, NULL, 0600, 0, NULL},
                                          {"empty", '0', NULL, NULL, 0644, 0, NULL}};
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    _cleanup_err_ struct err e = ERR_INIT;
    struct extract_result x;
    struct place t;
    struct stat st;

    if (!is_root())
        TEST_SKIP("needs root");
    for (size_t i = 0; i < ELEMENTSOF(entries); i++)
        add_entry(&b, &entries[i]);
    add_pax(&b, "path", "long/name/by/pax");
    add_entry(&b, &(struct spec){"short", '0', NULL, "pax data", 0, 0, NULL});
    add_end(&b);
    buf_adds(&b, "bytes after the end belong to the digest too");
    for (size_t step = 1; step < 2000; step = step * 7 + 3) {
        place_init(&t);
        CHECK_INT(unpack(&t, &b, step, WHITEOUT_OVERLAY, &x, &e), 0);
        CHECK_STR(err_msg(&e), err_msg(&(struct err){0}));
        check_comes_back(&t, &b);
        CHECK_INT(fstatat(t.dir, "a/gone", &st, AT_SYMLINK_NOFOLLOW), 0);
        CHECK(S_ISCHR(st.st_mode) && st.st_rdev == 0);
        CHECK_INT(fstatat(t.dir, "a/f", &st, AT_SYMLINK_NOFOLLOW), 0);
        CHECK_INT(st.st_mode & 07777, 04755);
        CHECK_INT((int64_t)st.st_nlink, 2);
        CHECK_INT(st.st_mtim.tv_sec, 1700000000);
        CHECK_INT(fstatat(t.dir, "a", &st, AT_SYMLINK_NOFOLLOW), 0);
        CHECK_INT(st.st_mode & 07777, 01777);
        CHECK_INT(st.st_mtim.tv_sec, 1700000000);
        CHECK_INT(fstatat(t.dir, "deep/er/file", &st, AT_SYMLINK_NOFOLLOW), 0);
        CHECK_INT(st.st_uid, 1000);
        place_done(&t);
    }
}

static struct stat look(const struct place *t, const char *name) {
    struct stat st = {0};

    CHECK_INT(fstatat(t->dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st;
}

TEST(owners_are_those_of_the_user_namespace_and_the_archive_comes_back) {
    static const struct spec entries[] = {{"d/", '5', NULL, NULL, 0755, 0, NULL},
                                          {"d/f", '0', NULL, "hello", 04755, 0, "0000005"},
                                          {"deep/er/x", '0', NULL, "x", 0600, 0, NULL},
                                          {"d/s", '2', "f", NULL, 0777, 0, "0000006"}};
    static const struct spec stranger = {"g", '0', NULL, NULL, 0644, 0, "0001750"}; /* 1000 */
    struct idmap ids = {.uids = {1, {{0, 200000, 1000}}}, .gids = {1, {{0, 300000, 1000}}}, .root_uid = 200000, .root_gid = 300000};
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20), bad = BUF_INIT(1 << 20);
    _cleanup_err_ struct err e = ERR_INIT;
    struct extract_result x;
    struct place t;
    struct stat st;

    if (!is_root())
        TEST_SKIP("needs root");
    for (size_t i = 0; i < ELEMENTSOF(entries); i++)
        add_entry(&b, &entries[i]);
    add_end(&b);
    place_init(&t);
    t.ids = &ids;
    CHECK_INT(unpack(&t, &b, 4096, WHITEOUT_OVERLAY, &x, &e), 0);
    st = look(&t, "d");
    CHECK(st.st_uid == 200000 && st.st_gid == 300000);
    st = look(&t, "d/f");
    CHECK(st.st_uid == 200005 && st.st_gid == 300000 && (st.st_mode & 07777) == 04755);
    st = look(&t, "deep/er"); /* made on the way */
    CHECK(st.st_uid == 200000 && st.st_gid == 300000);
    st = look(&t, "d/s");
    CHECK(st.st_uid == 200006);
    check_comes_back(&t, &b);
    place_done(&t);
    add_entry(&bad, &stranger);
    add_end(&bad);
    place_init(&t);
    t.ids = &ids;
    CHECK(unpack(&t, &bad, 4096, WHITEOUT_OVERLAY, &x, &e) < 0);
    CHECK_STR(err_msg(&e), "Container ID 1000 cannot be mapped to a host ID");
    place_done(&t);
}

TEST(hostile_archives_end_in_an_error_and_touch_nothing_outside) {
    static const struct {
        const char *what;
        struct spec entries[3];
        bool may_succeed; /* then inside the root only */
    } rows[] = {
        {"parent", {{"../canary", '0', NULL, "x", 0, 0, NULL}}, true},
        {"hidden parent", {{"a/../../canary", '0', NULL, "x", 0, 0, NULL}}, true},
        {"absolute", {{"/canary", '0', NULL, "x", 0, 0, NULL}}, true},
        {"through a link up", {{"l", '2', "..", NULL, 0, 0, NULL}, {"l/canary", '0', NULL, "x", 0, 0, NULL}}, true},
        {"through an absolute link", {{"l", '2', "/tmp", NULL, 0, 0, NULL}, {"l/canary", '0', NULL, "x", 0, 0, NULL}}, true},
        {"through a chain",
         {{"a", '2', "b", NULL, 0, 0, NULL}, {"b", '2', "../..", NULL, 0, 0, NULL}, {"a/canary", '0', NULL, "x", 0, 0, NULL}},
         true},
        {"hard link up", {{"h", '1', "../canary", NULL, 0, 0, NULL}}, false},
        {"hard link through a link", {{"l", '2', "../", NULL, 0, 0, NULL}, {"h", '1', "l/canary", NULL, 0, 0, NULL}}, false},
        {"hard link to nothing", {{"h", '1', "nothing", NULL, 0, 0, NULL}}, false},
        {"link replaced by folder",
         {{"d", '2', "..", NULL, 0, 0, NULL}, {"d/", '5', NULL, NULL, 0755, 0, NULL}, {"d/canary", '0', NULL, "x", 0, 0, NULL}},
         false},
        {"whiteout of the parent", {{".wh...", '0', NULL, NULL, 0, 0, NULL}}, false},
        {"whiteout of itself", {{".wh..", '0', NULL, NULL, 0, 0, NULL}}, false},
        {"whiteout of nothing", {{".wh.", '0', NULL, NULL, 0, 0, NULL}}, false},
        {"whiteout through a link", {{"l", '2', "..", NULL, 0, 0, NULL}, {"l/.wh.canary", '0', NULL, NULL, 0, 0, NULL}}, true},
        {"posing as a whiteout", {{"c", '3', NULL, NULL, 0, 0, NULL}}, true},
        {"twice", {{"f", '0', NULL, "x", 0, 0, NULL}, {"./f", '0', NULL, "y", 0, 0, NULL}}, false},
        {"unknown type", {{"v", 'V', NULL, NULL, 0, 0, NULL}}, false},
        {"size beyond the end", {{"f", '0', NULL, "x", 0, 1 << 20, NULL}}, false},
        {"owner out of range", {{"f", '0', NULL, "x", 0, 0, "\xff\xff\xff\xff\xff\xff\xff"}}, false},
        {"link in a loop", {{"l", '2', "l", NULL, 0, 0, NULL}, {"l/f", '0', NULL, "x", 0, 0, NULL}}, false},
    };

    if (!is_root())
        TEST_SKIP("needs root");
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
        _cleanup_err_ struct err e = ERR_INIT;
        struct extract_result x;
        struct place t;
        int k;

        for (size_t n = 0; n < 3 && rows[i].entries[n].name; n++)
            add_entry(&b, &rows[i].entries[n]);
        add_end(&b);
        place_init(&t);
        k = unpack(&t, &b, 4096, WHITEOUT_OVERLAY, &x, &e);
        if (k == 0 && !rows[i].may_succeed)
            test_fail(__FILE__, __LINE__, "not refused: %s", rows[i].what);
        place_done(&t);
    }
}

TEST(broken_headers_are_refused) {
    static const struct {
        const char *key, *value;
    } rows[] = {{"size", "-1"},         {"size", "99999999999999999999"}, {"uid", "99999999999"},    {"gid", "4294967295"},
                {"mtime", "yesterday"}, {"GNU.sparse.map", "5,1,2,1"},    {"GNU.sparse.map", "0,-5"}};

    if (!is_root())
        TEST_SKIP("needs root");
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
        _cleanup_err_ struct err e = ERR_INIT;
        struct extract_result x;
        struct place t;

        add_pax(&b, rows[i].key, rows[i].value);
        add_entry(&b, &(struct spec){"f", '0', NULL, "data", 0, 0, NULL});
        add_end(&b);
        place_init(&t);
        if (unpack(&t, &b, 512, WHITEOUT_OVERLAY, &x, &e) == 0)
            test_fail(__FILE__, __LINE__, "not refused: %s=%s", rows[i].key, rows[i].value);
        place_done(&t);
    }
}

TEST(a_wrong_checksum_and_an_early_end_are_errors) {
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    _cleanup_err_ struct err e = ERR_INIT;
    struct extract_result x;
    struct place t;

    if (!is_root())
        TEST_SKIP("needs root");
    add_entry(&b, &(struct spec){"f", '0', NULL, "data", 0, 0, NULL});
    add_entry(&b, &(struct spec){"g", '0', NULL, "data", 0, 0, NULL});
    for (size_t cut = 1; cut < b.len; cut += 111) {
        struct buf part = {.data = b.data, .len = cut, .max = cut};

        if (cut == 1024)
            continue; /* between entries: no marker is needed */
        place_init(&t);
        CHECK(unpack(&t, &part, 512, WHITEOUT_OVERLAY, &x, &e) < 0);
        CHECK_STR(err_msg(&e), "unexpected EOF");
        place_done(&t);
    }
    b.data[700] ^= 1; /* data: no checksum there */
    b.data[1030] ^= 1;
    place_init(&t);
    CHECK(unpack(&t, &b, 512, WHITEOUT_OVERLAY, &x, &e) < 0);
    CHECK_STR(err_msg(&e), "archive/tar: invalid tar header");
    place_done(&t);
}

TEST(private_attributes_of_overlayfs_are_not_set) {
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    _cleanup_err_ struct err e = ERR_INIT;
    struct extract_result x;
    struct place t;
    char value[16], path[128];

    if (!is_root())
        TEST_SKIP("needs root");
    add_pax(&b, "SCHILY.xattr.trusted.overlay.redirect", "/etc");
    add_entry(&b, &(struct spec){"d/", '5', NULL, NULL, 0755, 0, NULL});
    add_pax(&b, "SCHILY.xattr.user.kept", "yes");
    add_entry(&b, &(struct spec){"f", '0', NULL, "x", 0644, 0, NULL});
    add_end(&b);
    place_init(&t);
    CHECK_INT(unpack(&t, &b, 512, WHITEOUT_OVERLAY, &x, &e), 0);
    snprintf(path, sizeof path, "%s/d", t.root);
    CHECK_INT(lgetxattr(path, "trusted.overlay.redirect", value, sizeof value), -1);
    snprintf(path, sizeof path, "%s/f", t.root);
    CHECK_INT(lgetxattr(path, "user.kept", value, sizeof value), 3);
    place_done(&t);
}

/* A pax header with several records, given whole. */
static void add_records(struct buf *b, const char *records) {
    add_entry(b, &(struct spec){"pax", 'x', NULL, records, 0, 0, NULL});
}

TEST(holes_of_sparse_files_stay_holes) {
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    _cleanup_err_ struct err e = ERR_INIT;
    struct extract_result x;
    struct place t;
    struct stat st;

    if (!is_root())
        TEST_SKIP("needs root");
    /* Four bytes in the middle of a tebibyte, in the form 0.1 of the sparse map. */
    add_records(&b, "33 GNU.sparse.size=1099511627776\n33 GNU.sparse.map=549755813888,4\n");
    add_entry(&b, &(struct spec){"s", '0', NULL, "data", 0644, 0, NULL});
    add_end(&b);
    place_init(&t);
    CHECK_INT(unpack(&t, &b, 512, WHITEOUT_OVERLAY, &x, &e), 0);
    CHECK_STR(err_msg(&e), err_msg(&(struct err){0}));
    CHECK_INT(fstatat(t.dir, "s", &st, AT_SYMLINK_NOFOLLOW), 0);
    CHECK_INT(st.st_size, INT64_C(1099511627776));
    CHECK(st.st_blocks < 100);
    check_comes_back(&t, &b);
    place_done(&t);
    /* Without the size the map goes beyond the file. */
    buf_reset(&b);
    add_pax(&b, "GNU.sparse.map", "549755813888,4");
    add_entry(&b, &(struct spec){"s", '0', NULL, "data", 0644, 0, NULL});
    add_end(&b);
    place_init(&t);
    CHECK(unpack(&t, &b, 512, WHITEOUT_OVERLAY, &x, &e) < 0);
    place_done(&t);
}

static int64_t inflate_all(const void *p, size_t n, struct buf *out, struct err *e) {
    struct source src = {p, n, 7};
    struct inflate *s = inflate_new(fill, &src);
    const unsigned char *piece;
    int64_t k;

    while ((k = inflate_read(s, &piece, e)) > 0)
        buf_add(out, piece, (size_t)k);
    inflate_free(s);
    return k;
}

static size_t gzip_member(const char *text, unsigned char *out, size_t max) {
    struct isal_zstream z;

    isal_deflate_stateless_init(&z);
    z.gzip_flag = IGZIP_GZIP;
    z.end_of_stream = 1;
    z.next_in = (uint8_t *)(uintptr_t)text;
    z.avail_in = (uint32_t)strlen(text);
    z.next_out = out;
    z.avail_out = (uint32_t)max;
    CHECK_INT(isal_deflate_stateless(&z), COMP_OK);
    return max - z.avail_out;
}

TEST(gzip_members_follow_each_other_and_a_wrong_trailer_is_an_error) {
    unsigned char gz[1024];
    size_t a = gzip_member("first,", gz, sizeof gz), n = a + gzip_member("second", gz + a, sizeof gz - a);
    _cleanup_buf_ struct buf out = BUF_INIT(1000);
    _cleanup_err_ struct err e = ERR_INIT;

    CHECK_INT(inflate_all(gz, n, &out, &e), 0);
    CHECK_STR(buf_str(&out), "first,second");
    memset(gz + n, 0, 100); /* padding */
    buf_reset(&out);
    CHECK_INT(inflate_all(gz, n + 100, &out, &e), 0);
    CHECK_STR(buf_str(&out), "first,second");
    CHECK(inflate_all(gz, n - 3, &out, &e) < 0);
    CHECK_STR(err_msg(&e), "unexpected EOF");
    gz[n - 6] ^= 0xff;
    CHECK(inflate_all(gz, n, &out, &e) < 0);
    buf_reset(&out);
    CHECK_INT(inflate_all("plain bytes of no format", 24, &out, &e), 0);
    CHECK_STR(buf_str(&out), "plain bytes of no format");
    CHECK_INT(inflate_all("", 0, &out, &e), 0);
}
