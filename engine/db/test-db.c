// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"
#include "db/db.h"
#include "db/journal.h"

struct scratch {
    char dir[64];
    char path[96];
};

static void scratch_init(struct scratch *s) {
    snprintf(s->dir, sizeof s->dir, "/tmp/test-db-XXXXXX");
    CHECK(mkdtemp(s->dir) != NULL);
    snprintf(s->path, sizeof s->path, "%s/x.db", s->dir);
}

static void scratch_done(struct scratch *s) {
    fs_remove_tree(s->dir, NULL);
}

static const char *const steps_1[] = {"CREATE TABLE t(k TEXT PRIMARY KEY, v INTEGER);"};
static const char *const steps_2[] = {"CREATE TABLE t(k TEXT PRIMARY KEY, v INTEGER);",
                                      "ALTER TABLE t ADD COLUMN w BLOB; INSERT INTO t(k, v) VALUES('new', 2);"};
static const char *const steps_bad[] = {"CREATE TABLE t(k TEXT PRIMARY KEY, v INTEGER);",
                                        "ALTER TABLE t ADD COLUMN w BLOB; INSERT INTO t(k, v) VALUES('new', 2);",
                                        "INSERT INTO t(k, v) VALUES('half', 2); NONSENSE;"};

TEST(migrations_append_and_refuse_older_programs) {
    struct scratch s;
    struct db *db = NULL;
    _cleanup_err_ struct err e = ERR_INIT;
    int64_t n = 0;

    scratch_init(&s);
    REQUIRE(db_open(s.path, &db, &e) == 0);
    CHECK_INT(db_migrate(db, "t", steps_1, 1, &e), 0);
    CHECK_INT(db_exec(db, "INSERT INTO t(k, v) VALUES(?1, ?2)", DB_ARGS(DB_TEXT("a"), DB_INT(1)), &e), 0);
    CHECK_INT(db_migrate(db, "t", steps_2, 2, &e), 0);
    CHECK_INT(db_migrate(db, "t", steps_2, 2, &e), 0);
    CHECK_INT(db_query_int(db, "SELECT count(*) FROM t", DB_NONE, &n, &e), 0);
    CHECK_INT(n, 2);
    CHECK(db_migrate(db, "t", steps_bad, 3, &e) < 0);
    err_done(&e);
    CHECK_INT(db_query_int(db, "SELECT count(*) FROM t", DB_NONE, &n, &e), 0);
    CHECK_INT(n, 2);
    CHECK(db_migrate(db, "t", steps_1, 1, &e) < 0);
    db_close(db);
    scratch_done(&s);
}

static int join_text(const struct db_row *row, void *arg, struct err *e) {
    struct buf *b = arg;

    buf_adds(b, db_row_is_null(row, 0) ? "-" : db_row_text(row, 0));
    return 0;
}

TEST(values_survive_reopening_and_rollback_undoes) {
    struct scratch s;
    struct db *db = NULL;
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_buf_ struct buf b = BUF_INIT(100);
    struct stat st;

    scratch_init(&s);
    REQUIRE(db_open(s.path, &db, &e) == 0);
    CHECK_INT(db_migrate(db, "t", steps_1, 1, &e), 0);
    CHECK_INT(db_begin(db, &e), 0);
    CHECK_INT(db_exec(db, "INSERT INTO t(k, v) VALUES(?1, ?2)", DB_ARGS(DB_TEXT("a"), DB_INT(1)), &e), 0);
    CHECK_INT(db_begin(db, &e), 0);
    CHECK_INT(db_exec(db, "INSERT INTO t(k, v) VALUES(?1, ?2)", DB_ARGS(DB_TEXT("b"), DB_NULL), &e), 0);
    CHECK_INT(db_commit(db, &e), 0);
    CHECK_INT(db_commit(db, &e), 0);
    CHECK_INT(db_begin(db, &e), 0);
    CHECK_INT(db_exec(db, "INSERT INTO t(k, v) VALUES(?1, ?2)", DB_ARGS(DB_TEXT("c"), DB_INT(1)), &e), 0);
    db_rollback(db);
    CHECK_INT(db_exec(db, "INSERT INTO t(k, v) VALUES(?1, ?2)", DB_ARGS(DB_TEXT("a"), DB_INT(1)), &e), -ERR_CONFLICT);
    db_close(db);
    CHECK_INT(stat(s.path, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0600);
    err_done(&e);
    REQUIRE(db_open(s.path, &db, &e) == 0);
    CHECK_INT(db_query(db, "SELECT k FROM t ORDER BY k", DB_NONE, join_text, &b, &e), 0);
    CHECK_STR(buf_str(&b), "ab");
    db_close(db);
    scratch_done(&s);
}

TEST(a_damaged_file_is_set_aside_and_the_engine_starts) {
    struct scratch s;
    struct db *db = NULL;
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_close_ int fd = -EBADF;

    scratch_init(&s);
    REQUIRE(db_open(s.path, &db, &e) == 0);
    CHECK_INT(db_migrate(db, "t", steps_1, 1, &e), 0);
    db_close(db);
    fd = open(s.path, O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 4096 * 2; i += 16)
        CHECK(pwrite(fd, "garbage of sixty", 16, i) == 16);
    REQUIRE(db_open(s.path, &db, &e) == 0);
    CHECK_INT(db_migrate(db, "t", steps_1, 1, &e), 0);
    db_close(db);
    scratch_done(&s);
}

TEST(what_may_wait_for_the_disk_survives_the_process_and_leaves_the_rest_durable) {
    struct scratch s;
    struct db *db = NULL;
    _cleanup_err_ struct err e = ERR_INIT;
    int64_t n = 0;
    int status = -1;
    pid_t pid;

    scratch_init(&s);
    pid = fork();
    if (pid == 0) {
        /* Ends without closing, as an engine that is killed. */
        if (db_open(s.path, &db, NULL) < 0 || db_migrate(db, "t", steps_1, 1, NULL) < 0)
            _exit(1);
        _exit(db_exec_soon(db, "INSERT INTO t(k, v) VALUES('soon', 1)", DB_NONE, NULL) == 0 ? 0 : 2);
    }
    REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK_INT(status, 0);
    REQUIRE(db_open(s.path, &db, &e) == 0);
    CHECK_INT(db_query_int(db, "SELECT count(*) FROM t WHERE k='soon'", DB_NONE, &n, &e), 0);
    CHECK_INT(n, 1);
    CHECK_INT(db_exec_soon(db, "INSERT INTO t(k, v) VALUES('again', 1)", DB_NONE, &e), 0);
    CHECK_INT(db_query_int(db, "PRAGMA synchronous", DB_NONE, &n, &e), 0);
    CHECK_INT(n, 1);
    CHECK_INT(db_exec(db, "INSERT INTO t(k, v) VALUES('promised', 1)", DB_NONE, &e), 0);
    CHECK_INT(db_query_int(db, "PRAGMA synchronous", DB_NONE, &n, &e), 0);
    CHECK_INT(n, 2);
    /* In a transaction that is durable as a whole. */
    CHECK_INT(db_begin(db, &e), 0);
    CHECK_INT(db_exec_soon(db, "INSERT INTO t(k, v) VALUES('inside', 1)", DB_NONE, &e), 0);
    CHECK_INT(db_query_int(db, "PRAGMA synchronous", DB_NONE, &n, &e), 0);
    CHECK_INT(n, 2);
    CHECK_INT(db_commit(db, &e), 0);
    CHECK_INT(db_begin_soon(db, &e), 0);
    CHECK_INT(db_exec(db, "INSERT INTO t(k, v) VALUES('together', 1)", DB_NONE, &e), 0);
    CHECK_INT(db_query_int(db, "PRAGMA synchronous", DB_NONE, &n, &e), 0);
    CHECK_INT(n, 1);
    CHECK_INT(db_commit(db, &e), 0);
    CHECK_INT(db_exec(db, "INSERT INTO t(k, v) VALUES('after', 1)", DB_NONE, &e), 0);
    CHECK_INT(db_query_int(db, "PRAGMA synchronous", DB_NONE, &n, &e), 0);
    CHECK_INT(n, 2);
    db_close(db);
    scratch_done(&s);
}

static int see(const struct intent *it, void *arg, struct err *e) {
    struct buf *b = arg;

    buf_addf(b, "%s:%s:%s;", it->kind, it->key, it->payload ? it->payload : "-");
    return streq(it->key, "k2");
}

TEST(intents_stay_until_done) {
    struct scratch s;
    struct db *db = NULL;
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_buf_ struct buf b = BUF_INIT(1000);
    int64_t id1 = 0, id2 = 0, id3 = 0;

    scratch_init(&s);
    REQUIRE(db_open(s.path, &db, &e) == 0);
    CHECK_INT(journal_setup(db, &e), 0);
    CHECK_INT(intent_begin(db, "a.b", "k1", "p", &id1, &e), 0);
    CHECK_INT(intent_begin(db, "a.b", "k2", NULL, &id2, &e), 0);
    CHECK_INT(intent_begin(db, "c", "k3", NULL, &id3, &e), 0);
    CHECK_INT(intent_done(db, id1, &e), 0);
    db_close(db);
    REQUIRE(db_open(s.path, &db, &e) == 0);
    CHECK_INT(journal_setup(db, &e), 0);
    CHECK_INT(intent_each(db, NULL, see, &b, &e), 0);
    CHECK_STR(buf_str(&b), "a.b:k2:-;c:k3:-;");
    buf_reset(&b);
    CHECK_INT(intent_each(db, NULL, see, &b, &e), 0);
    CHECK_STR(buf_str(&b), "c:k3:-;");
    db_close(db);
    scratch_done(&s);
}
