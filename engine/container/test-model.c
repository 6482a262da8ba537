// SPDX-License-Identifier: Apache-2.0
/* What needs no engine: states, names, merging, users, statuses, policies, records. */
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "base/test.h"
#include "container/create.h"
#include "container/inspect.h"
#include "container/keys.h"
#include "container/life.h"
#include "container/mounts.h"
#include "container/root.h"
#include "container/validate.h"

/* ---- states ----------------------------------------------------------------------------------------------------------------------------- */
TEST(state_names_round_trip) {
    for (enum ctr_state s = 0; s < ctr_gone; s++) {
        enum ctr_state back = ctr_gone;

        CHECK(ctr_state_parse(ctr_state_name(s), &back));
        CHECK_INT(back, s);
    }
    enum ctr_state none;

    CHECK(!ctr_state_parse("gone", &none));
    CHECK(!ctr_state_parse("", &none));
}

TEST(state_table_is_the_only_truth) {
    size_t legal = 0;

#define COUNT(verb, from, to)                                                                                                                        \
    CHECK(ctr_may_go(ctr_##from, ctr_##to));                                                                                                         \
    legal++;
    CTR_ROWS(COUNT)
#undef COUNT
    for (enum ctr_state a = 0; a <= ctr_gone; a++)
        for (enum ctr_state b = 0; b <= ctr_gone; b++)
            legal -= ctr_may_go(a, b);
    CHECK_INT(legal, 0);
    CHECK(!ctr_may_go(ctr_created, ctr_paused));
    CHECK(!ctr_may_go(ctr_removing, ctr_running));
}

/* ---- names ------------------------------------------------------------------------------------------------------------------------------ */
TEST(name_rules) {
    CHECK(ctr_name_valid("ab"));
    CHECK(ctr_name_valid("A.b_c-9"));
    CHECK(!ctr_name_valid("a"));
    CHECK(!ctr_name_valid(""));
    CHECK(!ctr_name_valid("-a"));
    CHECK(!ctr_name_valid("a b"));
    CHECK(!ctr_name_valid("a/b"));
    CHECK(!ctr_name_valid("a\n"));
}

TEST(random_names_are_valid) {
    char name[64];

    for (int i = 0; i < 200; i++) {
        ctr_name_random(i % 3, name);
        CHECK(ctr_name_valid(name));
        CHECK(strchr(name, '_') != NULL);
    }
}

/* ---- merging ------------------------------------------------------------------------------------------------------------------------------ */
static int config_of(const char *json, struct api_container_config *c) {
    json_t *o = NULL;
    int r = codec_parse(json, strlen(json), &o, NULL, NULL);

    if (r >= 0)
        r = api_container_config_read(c, o, NULL, NULL);
    json_decref(o);
    return r;
}

static void check_merge(const char *own, const char *image, const char *want) {
    struct api_container_config a = {0}, b = {0};
    _cleanup_buf_ struct buf out = BUF_INIT(MIB(1));

    CHECK_INT(config_of(own, &a), 0);
    CHECK_INT(config_of(image, &b), 0);
    CHECK_INT(ctr_merge_image(&a, &b, NULL), 0);
    CHECK_INT(api_container_config_write(&a, 45 | CODEC_SPARSE, &out, NULL), 0);
    CHECK_STR(buf_str(&out), want);
    api_container_config_done(&a);
    api_container_config_done(&b);
}

TEST(merge_env_own_first) {
    check_merge("{\"Env\":[\"A=1\",\"B\"],\"Cmd\":[\"x\"]}", "{\"Env\":[\"PATH=/bin\",\"A=2\",\"B=3\"]}",
                "{\"Env\":[\"A=1\",\"B\",\"PATH=/bin\"],\"Cmd\":[\"x\"]}");
}

TEST(merge_command) {
    check_merge("{}", "{\"Cmd\":[\"sh\"],\"Entrypoint\":[\"e\"]}", "{\"Cmd\":[\"sh\"],\"Entrypoint\":[\"e\"]}");
    check_merge("{\"Cmd\":[\"x\"]}", "{\"Cmd\":[\"sh\"],\"Entrypoint\":[\"e\"]}", "{\"Cmd\":[\"x\"],\"Entrypoint\":[\"e\"]}");
    check_merge("{\"Entrypoint\":[\"y\"]}", "{\"Cmd\":[\"sh\"],\"Entrypoint\":[\"e\"]}", "{\"Entrypoint\":[\"y\"]}");
    check_merge("{\"Entrypoint\":[]}", "{\"Cmd\":[\"sh\"],\"Entrypoint\":[\"e\"]}", "{\"Cmd\":[\"sh\"],\"Entrypoint\":[]}");
}

TEST(merge_rest) {
    check_merge("{\"Cmd\":[\"x\"],\"Labels\":{\"a\":\"1\"}}",
                "{\"User\":\"u\",\"WorkingDir\":\"/w\",\"Labels\":{\"a\":\"2\",\"b\":\"3\"},\"StopSignal\":\"SIGINT\"}",
                "{\"User\":\"u\",\"Cmd\":[\"x\"],\"WorkingDir\":\"/w\",\"Labels\":{\"a\":\"1\",\"b\":\"3\"},\"StopSignal\":\"SIGINT\"}");
}

/* ---- users -------------------------------------------------------------------------------------------------------------------------------- */
#define PASSWD                                                                                                                                       \
    "# comment\n\nroot:x:0:0:root:/root:/bin/sh\nuser:x:1000:1001:U:/home/user:/bin/sh\nnohome:x:7:7::\nbad:x:-1:99999999999:x:/:\n"                 \
    "12:x:50:51:name that is a number:/twelve:\n  padded:x:60:60::/p: \nshort\nuser:x:2000:2000::/second:\n"
#define GROUP "root:x:0:\nwheel:x:10:root,user\nusers:x:100:other,user\nuser:x:1001:\naudio:x:29:\nbroken\nbig:x:99999999999:user\n"

static int resolve(const char *spec, const char *add, struct ctr_user *u, struct err *e) {
    struct api_string_list l = {0};
    int r;

    if (add)
        ignore_result(api_string_list_add(&l, add, NULL));
    r = ctr_user_resolve(PASSWD, strlen(PASSWD), GROUP, strlen(GROUP), spec, &l, u, e);
    api_string_list_done(&l);
    return r;
}

static void check_user(const char *spec, const char *add, uint32_t uid, uint32_t gid, const char *home, size_t groups) {
    struct ctr_user u = {0};
    _cleanup_err_ struct err e = ERR_INIT;

    CHECK_INT(resolve(spec, add, &u, &e), 0);
    CHECK_INT(e.kind, ERR_NONE);
    CHECK_INT(u.uid, uid);
    CHECK_INT(u.gid, gid);
    CHECK_STR(u.home, home);
    CHECK_INT(u.n_groups, groups);
    if (u.n_groups)
        CHECK_INT(u.groups[0], gid);
    ctr_user_done(&u);
}

TEST(user_resolution) {
    check_user("", NULL, 0, 0, "/root", 2);
    check_user("0", NULL, 0, 0, "/root", 2);
    check_user("user", NULL, 1000, 1001, "/home/user", 3);
    check_user("1000", NULL, 1000, 1001, "/home/user", 3);
    check_user("user:audio", NULL, 1000, 29, "/home/user", 1);
    check_user("user:33", NULL, 1000, 33, "/home/user", 1);
    check_user("4242", NULL, 4242, 0, "/", 1);
    check_user("4242:4243", NULL, 4242, 4243, "/", 1);
    check_user("nohome", NULL, 7, 7, "/", 1);
    check_user("padded", NULL, 60, 60, "/p", 1);
    check_user("12", NULL, 50, 51, "/twelve", 1);
    check_user("user", "audio", 1000, 1001, "/home/user", 4);
    check_user("user", "4711", 1000, 1001, "/home/user", 4);
    check_user(":audio", NULL, 0, 29, "/root", 1);
}

TEST(user_refusals) {
    const struct {
        const char *spec, *add, *text;
    } bad[] = {
        {"nobodyx", NULL, "unable to find user nobodyx: no matching entries in passwd file"},
        {"user:nogrp", NULL, "unable to find group nogrp: no matching entries in group file"},
        {"99999999999", NULL, "uids and gids must be in range 0-2147483647"},
        {"-5", NULL, "uids and gids must be in range 0-2147483647"},
        {"bad", NULL, "uids and gids must be in range 0-2147483647"},
        {"user", "nogrp", "Unable to find group nogrp: no matching entries in group file"},
    };

    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        struct ctr_user u = {0};
        _cleanup_err_ struct err e = ERR_INIT;

        CHECK(resolve(bad[i].spec, bad[i].add, &u, &e) < 0);
        CHECK_STR(err_msg(&e), bad[i].text);
    }
}

TEST(user_files_that_are_none) {
    static const char noise[] = "\0\0:::\xff\xfe:::::::::::\nroot\0x:0:0\n:::\n";
    _cleanup_free_ char *longer = malloc(KIB(80));
    struct ctr_user u = {0};

    CHECK_INT(ctr_user_resolve(noise, sizeof(noise) - 1, noise, sizeof(noise) - 1, "", NULL, &u, NULL), 0);
    CHECK_INT(u.uid, 0);
    ctr_user_done(&u);
    CHECK_INT(ctr_user_resolve("", 0, "", 0, "5:6", NULL, &u, NULL), 0);
    CHECK_STR(u.home, "/");
    ctr_user_done(&u);
    REQUIRE(longer);
    memset(longer, 'a', KIB(80));
    memcpy(longer, "a:x:1:1::/a:", 12);
    CHECK(ctr_user_resolve(longer, KIB(80), "", 0, "a", NULL, &u, NULL) < 0); /* a line beyond the limit does not count */
}

/* ---- small parsers ------------------------------------------------------------------------------------------------------------------------- */
TEST(signals) {
    CHECK_INT(ctr_signal_parse("SIGTERM"), 15);
    CHECK_INT(ctr_signal_parse("term"), 15);
    CHECK_INT(ctr_signal_parse("9"), 9);
    CHECK_INT(ctr_signal_parse("SIGRTMIN+3"), 37);
    CHECK_INT(ctr_signal_parse("RTMAX-1"), 63);
    CHECK(ctr_signal_parse("0") < 0);
    CHECK(ctr_signal_parse("65") < 0);
    CHECK(ctr_signal_parse("BOGUS") < 0);
    CHECK(ctr_signal_parse("") < 0);
}

TEST(capabilities) {
    CHECK_STR(ctr_cap_name("net_admin"), "CAP_NET_ADMIN");
    CHECK_STR(ctr_cap_name("CAP_SYS_TIME"), "CAP_SYS_TIME");
    CHECK(ctr_cap_name("BOGUS") == NULL);
    CHECK(ctr_cap_name("ALL") == NULL);
}

TEST(detach_keys) {
    struct launch_keys k;

    CHECK_INT(ctr_keys_parse("ctrl-p,ctrl-q", &k), 0);
    CHECK_INT(k.n, 2);
    CHECK_INT(k.v[0], 16);
    CHECK_INT(k.v[1], 17);
    CHECK_INT(ctr_keys_parse("ctrl-@,a,ctrl-[", &k), 0);
    CHECK_INT(k.n, 3);
    CHECK_INT(k.v[0], 0);
    CHECK_INT(k.v[2], 27);
    for (const char *const *bad = (const char *const[]){"bogus-x", "", ",", "a,,b", "ab", "ctrl-", "ctrl-A", "ctrl-1", "CTRL-a", NULL}; *bad; bad++)
        CHECK(ctr_keys_parse(*bad, &k) < 0);
    CHECK_INT(k.n, 3);
}

TEST(sizes) {
    uint64_t v;

    CHECK_INT(ctr_size_parse("10m", &v), 0);
    CHECK_INT(v, 10 << 20);
    CHECK_INT(ctr_size_parse("7", &v), 0);
    CHECK_INT(v, 7);
    CHECK_INT(ctr_size_parse("1kb", &v), 0);
    CHECK_INT(v, 1024);
    CHECK_INT(ctr_size_parse("1.5 MiB", &v), 0);
    CHECK_INT((int64_t)v, 3 << 19);
    CHECK(ctr_size_parse("1.5.2k", &v) < 0);
    CHECK(ctr_size_parse(".", &v) < 0);
    CHECK(ctr_size_parse("1e3", &v) < 0);
    CHECK(ctr_size_parse("1  k", &v) < 0);
    CHECK(ctr_size_parse("x", &v) < 0);
    CHECK(ctr_size_parse("-1", &v) < 0);
    CHECK(ctr_size_parse("99999999999999999999t", &v) < 0);
}

TEST(paths_are_cleaned) {
    const char *const cases[][2] = {{"/a/../b/", "/b"}, {"/", "/"}, {"//x//y", "/x/y"}, {"/../..", "/"}, {"/a/./b", "/a/b"}, {"/a/b/../../c", "/c"}};

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_free_ char *c = ctr_clean_path(cases[i][0]);

        CHECK_STR(c, cases[i][1]);
    }
}

/* ---- statuses, policies --------------------------------------------------------------------------------------------------------------------- */
TEST(human_spans) {
    const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {{0, "Less than a second"}, {1, "1 second"},         {45, "45 seconds"},       {60, "About a minute"},  {119, "About a minute"},
                 {120, "2 minutes"},        {3599, "59 minutes"},    {3600, "About an hour"},  {5400, "2 hours"},       {47 * 3600, "47 hours"},
                 {48 * 3600, "2 days"},     {14 * 86400, "2 weeks"}, {60 * 86400, "2 months"}, {730 * 86400, "2 years"}};
    char text[64];

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        ctr_human_span(cases[i].seconds * NSEC_PER_SEC, text);
        CHECK_STR(text, cases[i].text);
    }
}

TEST(restart_policies) {
    struct api_restart_policy p = {.name = "always"};

    CHECK(ctr_wants_restart(&p, 0, 5, false));
    CHECK(!ctr_wants_restart(&p, 0, 5, true));
    p.name = "unless-stopped";
    CHECK(ctr_wants_restart(&p, 1, 0, false));
    p.name = "on-failure";
    CHECK(!ctr_wants_restart(&p, 0, 0, false));
    CHECK(ctr_wants_restart(&p, 1, 100, false));
    p.maximum_retry_count = 3;
    p.has_maximum_retry_count = true;
    CHECK(ctr_wants_restart(&p, 1, 2, false));
    CHECK(!ctr_wants_restart(&p, 1, 3, false));
    p.name = "no";
    CHECK(!ctr_wants_restart(&p, 1, 0, false));
    CHECK(!ctr_wants_restart(NULL, 1, 0, false));
}

TEST(backoff_doubles_to_a_minute_and_forgets) {
    int64_t d = 0;

    d = ctr_next_backoff(d, 0);
    CHECK_INT(d, 100 * NSEC_PER_MSEC);
    d = ctr_next_backoff(d, 0);
    CHECK_INT(d, 200 * NSEC_PER_MSEC);
    for (int i = 0; i < 20; i++)
        d = ctr_next_backoff(d, 0);
    CHECK_INT(d, 60 * NSEC_PER_SEC);
    CHECK_INT(ctr_next_backoff(d, 11 * NSEC_PER_SEC), 100 * NSEC_PER_MSEC);
}

/* ---- records ---------------------------------------------------------------------------------------------------------------------------------- */
TEST(records_round_trip) {
    struct ctr_fixed *f = ctr_fixed_new(), *g = NULL;
    struct ctr_view *v = NULL;
    _cleanup_buf_ struct buf one = BUF_INIT(MIB(1)), two = BUF_INIT(MIB(1)), life = BUF_INIT(MIB(1)), again = BUF_INIT(MIB(1));
    const char *state = "{\"state\":\"paused\",\"pid\":5,\"exitCode\":3,\"startedAt\":7,\"finishedAt\":-9223372036854775808,\"restartCount\":2,"
                        "\"error\":\"a \\\"b\\\"\",\"oom\":true,\"net\":{\"Networks\":{}},\"endpoints\":[{\"x\":1}]}";

    REQUIRE(f);
    memset(f->id, 'a', 64);
    f->created = 1234567890123456789;
    f->image_id = strdup("sha256:x");
    f->path = strdup("sh");
    f->host.memory = 5;
    f->host.has_memory = true;
    f->mounts.v = calloc(1, sizeof(*f->mounts.v));
    f->mounts.n = 1;
    f->mounts.v[0].kind = CTR_MOUNT_VOLUME;
    f->mounts.v[0].rw = true;
    f->mounts.v[0].destination = strdup("/data");
    CHECK_INT(ctr_fixed_write(f, &one, NULL), 0);
    CHECK_INT(ctr_fixed_read(buf_str(&one), one.len, &g, NULL), 0);
    REQUIRE(g);
    CHECK_INT(ctr_fixed_write(g, &two, NULL), 0);
    CHECK_STR(buf_str(&two), buf_str(&one));
    CHECK_INT(g->mounts.n, 1);
    CHECK_INT(ctr_view_read(state, strlen(state), g, &v, NULL), 0);
    REQUIRE(v);
    CHECK_INT(v->state, ctr_paused);
    CHECK_INT(v->finished_at, CLOCK_ZERO);
    CHECK_STR(v->error, "a \"b\"");
    CHECK_STR(v->net->saved, "[{\"x\":1}]");
    CHECK_INT(ctr_view_write(v, &life, NULL), 0);
    ctr_view_unref(v);
    v = NULL;
    CHECK_INT(ctr_view_read(buf_str(&life), life.len, g, &v, NULL), 0);
    REQUIRE(v);
    CHECK_INT(ctr_view_write(v, &again, NULL), 0);
    CHECK_STR(buf_str(&again), buf_str(&life));
    ctr_view_unref(v);
    ctr_fixed_unref(f);
    ctr_fixed_unref(g);
}

/* As the first version laid them out: one row has it all. */
static void write_old_rows(struct db *db) {
    static const char *const first =
        "CREATE TABLE container(id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL UNIQUE, fixed TEXT NOT NULL, life TEXT NOT NULL)"
        " WITHOUT ROWID;";

    CHECK_INT(db_migrate(db, "container", &first, 1, NULL), 0);
    for (int i = 0; i < 3; i++) {
        struct ctr_fixed *f = ctr_fixed_new();
        _cleanup_buf_ struct buf fixed = BUF_INIT(MIB(1)), life = BUF_INIT(KIB(1));

        REQUIRE(f);
        memset(f->id, 'a' + i, 64);
        CHECK_INT(ctr_fixed_write(f, &fixed, NULL), 0);
        buf_addf(&life, "{\"state\":\"exited\",\"exitCode\":%d,\"net\":{}}", i);
        CHECK_INT(db_exec(db, "INSERT INTO container(id, name, fixed, life) VALUES(?1, 'name' || ?2, ?3, ?4)",
                          DB_ARGS(DB_TEXT(f->id), DB_INT(2 - i), DB_TEXT(buf_str(&fixed)), DB_TEXT(buf_str(&life))), NULL),
                  0);
        ctr_fixed_unref(f);
    }
}

/* Each has the name, state and number that are its own. The second one is kept. */
static int take_row(struct ctr_view *v, void *arg, struct err *e) {
    struct ctr_view **b = arg;
    int i = v->fixed->id[0] - 'a';

    CHECK_INT(v->name[4] - '0', 2 - i);
    CHECK_INT(v->state, ctr_exited);
    CHECK_INT(v->exit_code, i);
    CHECK(v->fixed->row > 0);
    if (i == 1)
        *b = v;
    else
        ctr_view_unref(v);
    return 0;
}

TEST(records_of_the_first_version_are_carried_over) {
    struct ctr_view *b = NULL, *again = NULL;
    struct db *db = NULL;
    char dir[] = "/tmp/test-model-XXXXXX";
    _cleanup_free_ char *path = mkdtemp(dir) ? str_printf("%s/engine.db", dir) : NULL;
    int64_t n = 0;

    CHECK_INT(db_open(path, &db, NULL), 0);
    REQUIRE(db);
    write_old_rows(db);
    for (int i = 0; i < 2; i++)
        CHECK_INT(container_store_setup(db, NULL), 0); /* the second time there is nothing to do */
    CHECK_INT(container_store_each(db, take_row, &b, NULL), 0);
    REQUIRE(b);
    CHECK_INT(container_store_update(db, b, NULL), 0);
    CHECK_INT(container_store_each(db, take_row, &again, NULL), 0);
    CHECK_INT(container_store_delete(db, b->fixed, NULL), 0);
    CHECK_INT(db_query_int(db, "SELECT count(*) FROM container", DB_NONE, &n, NULL), 0);
    CHECK_INT(n, 2);
    CHECK_INT(db_query_int(db, "SELECT count(*) FROM container_life", DB_NONE, &n, NULL), 0);
    CHECK_INT(n, 2);
    ctr_view_unref(b);
    ctr_view_unref(again);
    db_close(db);
    fs_remove_tree(dir, NULL);
}
