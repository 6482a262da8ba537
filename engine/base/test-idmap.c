// SPDX-License-Identifier: Apache-2.0
#include "base/idmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"

TEST(idmap_numbers_both_ways) {
    struct id_list l = {0};
    uint32_t id = 7;

    CHECK_INT(id_list_add(&l, 0, 200000, 1000), 0);
    CHECK_INT(id_list_add(&l, 1000, 500000, 10), 0);
    CHECK(id_list_out(&l, 0, &id) && id == 200000);
    CHECK(id_list_out(&l, 999, &id) && id == 200999);
    CHECK(id_list_out(&l, 1009, &id) && id == 500009);
    CHECK(!id_list_out(&l, 1010, &id) && id == 500009);
    CHECK(id_list_in(&l, 500001, &id) && id == 1001);
    CHECK(!id_list_in(&l, 199999, &id) && !id_list_in(&l, 201000, &id) && !id_list_in(&l, 0, &id));
    CHECK_INT(id_list_add(&l, 0, 0, 0), -EINVAL);
    CHECK_INT(id_list_add(&l, 0, UINT32_MAX - 5, 6), -EINVAL);
    CHECK_INT(id_list_add(&l, UINT64_MAX, 0, 1), -EINVAL);
}

TEST(idmap_as_text_and_back) {
    struct idmap m = {0}, back = {0};
    _cleanup_free_ char *text = NULL, *none = idmap_text(NULL);

    CHECK_STR(none, "");
    CHECK_INT(idmap_parse(&back, none), 0);
    id_list_add(&m.uids, 0, 200000, 65536);
    id_list_add(&m.gids, 0, 300000, 10);
    id_list_add(&m.gids, 10, 400000, 10);
    text = idmap_text(&m);
    CHECK_STR(text, "0 200000 65536\n-\n0 300000 10\n10 400000 10\n");
    CHECK_INT(idmap_parse(&back, text), 1);
    CHECK(back.root_uid == 200000 && back.root_gid == 300000 && back.gids.n == 2 && back.gids.v[1].outside == 400000);
}

TEST(idmap_refuses_bad_text) {
    static const char *const bad[] = {"x",
                                      "0 1 2\n",
                                      "0 1 2\n-\n",
                                      "1 1 2\n-\n0 1 2\n",
                                      "0 1 2\n-\n5 1 2\n",
                                      "0 1\n-\n0 1 2\n",
                                      "0 1 2 3\n-\n0 1 2\n",
                                      "0 99999999999 2\n-\n0 1 2\n",
                                      "0 -1 2\n-\n0 1 2\n",
                                      "0 1 0\n-\n0 1 2\n"};
    struct idmap m;

    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        CHECK_INT(idmap_parse(&m, bad[i]), -EINVAL);
}

static int read_files(const char *uids, const char *gids, const char *user, uint32_t uid, struct idmap *m, struct err *e) {
    char dir[] = "/tmp/test-idmap-XXXXXX";
    _cleanup_free_ char *u = NULL, *g = NULL;
    int r;

    CHECK(mkdtemp(dir));
    u = str_printf("%s/subuid", dir);
    g = str_printf("%s/subgid", dir);
    if (uids)
        fs_replace_file_volatile(u, uids, strlen(uids), 0644, NULL);
    if (gids)
        fs_replace_file_volatile(g, gids, strlen(gids), 0644, NULL);
    r = idmap_of_user(m, dir, user, uid, e);
    fs_remove_tree(dir, NULL);
    return r;
}

TEST(idmap_of_an_account) {
    struct idmap m;

    memset(&m, 0, sizeof m);
    CHECK_INT(read_files("# words\n\nother:1:5\nremap:400000:10\nremap:200000:65536\n", "remap:300000:65536\n", "remap", 7000, &m, NULL), 0);
    /* In the order of the file, one after the other from 0 on. */
    CHECK(m.root_uid == 400000 && m.uids.n == 2 && m.uids.v[1].inside == 10 && m.uids.v[1].outside == 200000 && m.root_gid == 300000);
    /* Ranges of the number come before those of the name. */
    CHECK_INT(read_files("remap:400000:10\n7000:500000:10\n", "remap:300000:65536\n", "remap", 7000, &m, NULL), 0);
    CHECK(m.root_uid == 500000 && m.uids.n == 1);
}

TEST(idmap_of_an_account_without_ranges) {
    static const struct {
        const char *uids, *gids, *said;
    } cases[] = {{"remap:1:5\n", "", "no subgid ranges found for user \"remap\""},
                 {"", "remap:1:5\n", "no subuid ranges found for user \"remap\""},
                 {"remap:1\n", "remap:1:5\n", "Format not correct for "},
                 {"x:1:2:\n", "remap:1:5\n", "Format not correct for "},
                 {"remap:a:5\n", "remap:1:5\n", "strconv.Atoi: parsing \"a\": invalid syntax"},
                 {"remap:1:b\n", "remap:1:5\n", "strconv.Atoi: parsing \"b\": invalid syntax"},
                 {"remap:4294967290:65536\n", "remap:1:5\n", "a range of remap goes beyond what the kernel takes"},
                 {NULL, "remap:1:5\n", "/subuid: no such file or directory"}};

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_err_ struct err e = ERR_INIT;
        struct idmap m;

        CHECK(read_files(cases[i].uids, cases[i].gids, "remap", 7000, &m, &e) < 0);
        CHECK(strstr(err_msg(&e), cases[i].said));
    }
}

TEST(idmap_capabilities_of_files) {
    static const unsigned char v2[20] = {1, 0, 0, 2, 0, 4, 0, 0, 0, 4}; /* CAP_NET_BIND_SERVICE, effective */
    struct idmap m = {.root_uid = 200000}, other = {.root_uid = 1};
    char out[IDMAP_CAP_MAX], back[IDMAP_CAP_MAX];

    CHECK_INT((int)idmap_cap_out(&m, v2, sizeof v2, out), 24);
    CHECK(out[3] == 3 && memcmp(out + 20, "\x40\x0d\x03", 4) == 0);
    CHECK_INT((int)idmap_cap_in(&other, out, 24, back), 24); /* somebody else's */
    CHECK_INT((int)idmap_cap_in(&m, out, 24, back), 20);
    CHECK(memcmp(back, v2, 20) == 0);
    CHECK_INT((int)idmap_cap_out(&m, "odd", 3, out), 3);
    CHECK_INT((int)idmap_cap_out(&m, v2, IDMAP_CAP_MAX + 1, out), 0);
}

TEST(idmap_gives_what_it_makes) {
    char dir[] = "/tmp/test-idmap-XXXXXX";
    struct idmap m = {.root_uid = 200000, .root_gid = 300000};
    _cleanup_free_ char *deep = NULL, *mid = NULL;
    struct stat st;

    if (geteuid() != 0)
        TEST_SKIP("only root can give files away");
    CHECK(mkdtemp(dir));
    mid = str_printf("%s/a", dir);
    deep = str_printf("%s/a/b", dir);
    CHECK_INT(idmap_mkdir_p(&m, deep, 0755, NULL), 0);
    CHECK(stat(deep, &st) == 0 && st.st_uid == 200000 && st.st_gid == 300000);
    CHECK(stat(mid, &st) == 0 && st.st_uid == 200000);
    CHECK(stat(dir, &st) == 0 && st.st_uid == 0); /* was there before */
    CHECK_INT(idmap_give_group(NULL, dir, NULL), 0);
    CHECK_INT(idmap_give_group(&m, dir, NULL), 0);
    CHECK(stat(dir, &st) == 0 && st.st_uid == 0 && st.st_gid == 300000);
    fs_remove_tree(dir, NULL);
}
