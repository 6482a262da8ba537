// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "base/test.h"
#include "container/departed.h"
#include "container/files.h"
#include "container/freezing.h"
#include "container/groupfiles.h"
#include "container/links.h"
#include "container/more.h"
#include "container/reaper.h"
#include "kern/cgroup.h"
#include "wire/loop.h"

TEST(top_refuses_borrowed_titles) {
    _cleanup_err_ struct err e = ERR_INIT;

    CHECK(ctr_top_check("-eo pid,comm", NULL) == 0);
    CHECK(ctr_top_check("", NULL) == 0);
    CHECK(ctr_top_check("-eo foo=PID", &e) < 0);
    CHECK(streq(err_msg(&e), "specifying \"foo=PID\" is not allowed"));
}

TEST(top_keeps_the_lines_of_the_container) {
    static const char text[] = "PID TTY CMD\n  7 ?  sleep   9\n  8 ?  other\n  9 ?  sh -c  x\n";
    static const int64_t pids[] = {7, 9};
    struct api_container_top_response res = {0};

    CHECK(ctr_top_parse(text, pids, 2, &res, NULL) == 0);
    CHECK(res.titles.n == 3);
    CHECK(res.processes.n == 2);
    CHECK(streq(res.processes.v[0].v[2], "sleep 9"));
    CHECK(streq(res.processes.v[1].v[2], "sh -c x"));
    api_container_top_response_done(&res);
}

TEST(top_without_a_pid_column) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct api_container_top_response res = {0};

    CHECK(ctr_top_parse("COMMAND\nsleep\n", NULL, 0, &res, &e) < 0);
    CHECK(streq(err_msg(&e), "Couldn't find PID field in ps output"));
    api_container_top_response_done(&res);
}

TEST(paths_become_absolute_and_keep_their_ends) {
    static const char *const cases[][2] = {{"", "/"},   {"/", "/"},        {"a", "/a"},        {"/a/", "/a/"},         {"/a/.", "/a/."},
                                           {".", "/."}, {"/a//b", "/a/b"}, {"/../../a", "/a"}, {"/a/../../b/", "/b/"}, {"a/./b", "/a/b"}};

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_free_ char *got = files_absolute(cases[i][0]);

        CHECK(got && streq(got, cases[i][1]));
    }
}

TEST(numbers_of_stat_files) {
    static const char text[] = "nr_periods 3\nnr_throttled 1\ncache 18446744073709551615\nrss_huge 4\nrss 5\n";

    CHECK(ctr_stat_value(text, "nr_periods") == 3);
    CHECK(ctr_stat_value(text, "rss") == 5);
    CHECK(ctr_stat_value(text, "none") == -1);
    CHECK(ctr_stat_value("", "x") == -1);
}

TEST(devices_of_io_stat) {
    static const char text[] = "254:0 \n8:16 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n";
    static const int64_t values[] = {0, 0, 4096, 8192};
    struct api_stats_blkio io = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    CHECK(ctr_stat_devices("", &io, &e) == 0);
    CHECK(!io.io_service_bytes_recursive.set);
    CHECK(ctr_stat_devices(text, &io, &e) == 0);
    REQUIRE(io.io_service_bytes_recursive.n == ELEMENTSOF(values));
    for (size_t i = 0; i < ELEMENTSOF(values); i++) {
        const struct api_stats_blkio_entry *x = &io.io_service_bytes_recursive.v[i];

        CHECK_INT(x->value, values[i]);
        CHECK_STR(x->op, i % 2 ? "write" : "read");
        CHECK_INT(x->major, i < 2 ? 254 : 8);
    }
    api_stats_blkio_done(&io);
}

TEST(files_of_groups_are_kept_for_the_run_and_the_container_they_are_of) {
    struct group_files *first, *second, *many[GROUP_FILES_KEPT + 1];
    int64_t ns = 0, online = 0;
    struct group_cache *cache = NULL;
    struct cgroup_layout l;
    struct loop *loop = NULL;

    if (cgroup_detect(&l, NULL) < 0)
        TEST_SKIP("no control groups on this machine");
    CHECK(loop_new("test", &loop, NULL) == 0 && loop_start(loop, NULL) == 0 && group_cache_new(loop, &cache, NULL) == 0);
    CHECK(group_files_take(cache, "a", 1, "/none-of-this-name", &first, NULL) == 0);
    CHECK_STR(group_files_text(first, GROUP_PIDS_CURRENT), "");
    CHECK_INT(group_files_number(first, GROUP_MEMORY_STAT), 0);
    CHECK(group_files_take(cache, "a", 1, "/none-of-this-name", &second, NULL) == 0);
    CHECK(second != first);
    group_files_put(cache, first);
    group_files_put(cache, second); /* one of each container is kept */
    CHECK(group_files_take(cache, "a", 1, "/none-of-this-name", &first, NULL) == 0 && first == second);
    group_files_put(cache, first);
    for (size_t i = 0; i < ELEMENTSOF(many); i++) {
        char id[16];

        snprintf(id, sizeof id, "m%zu", i);
        CHECK(group_files_take(cache, id, 1, "", &many[i], NULL) == 0);
    }
    for (size_t i = 0; i < ELEMENTSOF(many); i++)
        group_files_put(cache, many[i]); /* more than are kept, and of the groups that are there for sure */
    CHECK(group_files_take(cache, "m64", 1, "", &first, NULL) == 0 && first == many[64]);
    CHECK(!cgroup_of(&l, "memory") || group_files_text(first, l.pure_v2 ? GROUP_CPU_STAT : GROUP_MEMORY_STAT)[0]);
    group_files_put(cache, first);
    CHECK(group_files_take(cache, "m64", 2, "", &first, NULL) == 0); /* another run: never the files of the one before */
    group_files_put(cache, first);
    group_cache_machine(cache, &ns, &online);
    CHECK(ns > 0 && online > 0);
    loop_stop(loop);
    group_cache_free(cache);
    loop_free(loop);
}

TEST(the_kernel_is_kept_ready_to_freeze_and_nothing_stays_of_it) {
    const struct cgroup_hierarchy *h = NULL;
    _cleanup_free_ char *group = NULL;
    struct ctr_freezing *freezing = NULL;
    struct ctr_reaper *reaper = NULL;
    struct cgroup_layout l;
    struct loop *loop = NULL;

    if (cgroup_detect(&l, NULL) >= 0 && !l.pure_v2)
        h = cgroup_of(&l, "freezer");
    if (!h || access(h->mount, W_OK) < 0)
        TEST_SKIP("no freezer of the first kind to write to");
    group = str_printf("%s/hatake-freezing", h->mount);
    CHECK(group && loop_new("test", &loop, NULL) == 0 && loop_start(loop, NULL) == 0 && ctr_reaper_new(&reaper, NULL) == 0);
    CHECK(ctr_freezing_new(loop, reaper, &freezing, NULL) == 0);
    CHECK(access(group, F_OK) < 0); /* one that was left behind is gone */
    ctr_freezing_used(freezing);
    ctr_reaper_drain(reaper);
    CHECK(access(group, F_OK) == 0);
    loop_stop(loop);
    ctr_reaper_free(reaper);
    ctr_freezing_free(freezing);
    CHECK(access(group, F_OK) < 0);
    loop_free(loop);
}

TEST(variables_of_a_link) {
    char *const ports[] = {(char *)"81/tcp", (char *)"80/udp", (char *)"9/sctp", (char *)"80/tcp"}, *const env[] = {(char *)"A=b", (char *)"HOME=/x",
                                                                                                                    (char *)"N"};
    struct api_string_set p = {.v = (char **)ports, .n = 4};
    struct api_string_list l = {.v = (char **)env, .n = 3};
    _cleanup_strv_ struct strv out = STRV_INIT;

    CHECK_INT(ctr_link_env("x/my-db", "web", "1.2.3.4", &p, &l, &out), 0);
    CHECK_STR(out.v[0], "MY_DB_PORT=sctp://1.2.3.4:9");
    CHECK(strv_has(&out, "MY_DB_PORT_80_TCP_START=tcp://1.2.3.4:80"));
    CHECK(strv_has(&out, "MY_DB_PORT_80_TCP_PORT_END=81"));
    CHECK(strv_has(&out, "MY_DB_PORT_80_UDP_PROTO=udp"));
    CHECK(strv_has(&out, "MY_DB_NAME=/web/x/my-db"));
    CHECK_STR(out.v[out.n - 1], "MY_DB_ENV_A=b");
}

TEST(the_code_of_a_container_that_removed_itself_is_told_for_a_while) {
    static const char *const ids[] = {"0123456789ab0123456789ab0123456789ab0123456789ab0123456789ab0123",
                                      "fedcba987654fedcba987654fedcba987654fedcba987654fedcba987654fedc"};
    const int64_t later = (DEPARTED_SECONDS + 1) * NSEC_PER_SEC;
    struct departed *d = NULL;
    int code = -1;

    CHECK(departed_new(&d, NULL) == 0);
    CHECK(!departed_find(d, "one", 0, &code));
    departed_add(d, ids[0], "one", 3, 1);
    departed_add(d, ids[1], "one", 4, 2);
    CHECK(departed_find(d, ids[0], 3, &code) && code == 3);
    CHECK(departed_find(d, "0123456789ab", 3, &code) && code == 3);
    CHECK(!departed_find(d, "0123", 3, &code));
    CHECK(departed_find(d, "/one", 3, &code) && code == 4);
    CHECK(!departed_find(d, "on", 3, &code));
    CHECK(!departed_find(d, "one", 2 + later, &code));
    for (int i = 0; i < LIMIT_DEPARTED; i++)
        departed_add(d, ids[1], "more", i % 128, 4);
    CHECK(!departed_find(d, ids[0], 4, &code));
    CHECK(departed_find(d, "more", 4, &code) && code == (LIMIT_DEPARTED - 1) % 128);
    departed_free(d);
}
