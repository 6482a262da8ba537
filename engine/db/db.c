// SPDX-License-Identifier: Apache-2.0
#include "db/db.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"

#define CACHE_STATEMENTS 128
/* Room kept for changes when the disk is full: the log between two checkpoints (500 pages) with some to spare, and what a checkpoint adds to the database. */
#define RESERVE_LOG (3 << 20)
#define RESERVE_DATA (256 << 10)

struct cached {
    const char *sql; /* compared by address first, then by text */
    sqlite3_stmt *stmt;
    bool busy;
    uint64_t used;
};

struct db {
    sqlite3 *sql;
    pthread_mutex_t lock; /* recursive: a transaction holds it over its statements */
    int depth;            /* of nested transactions */
    bool doomed;          /* an inner part was rolled back */
    bool relaxed;         /* synchronous=NORMAL is set */
    uint64_t clock;
    struct cached cache[CACHE_STATEMENTS];
};

struct db_row {
    sqlite3_stmt *stmt;
};

struct db_arg db_arg_text(const char *s) {
    if (!s)
        return DB_NULL;
    return (struct db_arg){DB_TYPE_TEXT, 0, s, strlen(s)};
}

static int db_fail(struct db *db, struct err *e, int rc, const char *what) {
    enum err_kind kind = ERR_INTERNAL;

    if ((rc & 0xff) == SQLITE_CONSTRAINT)
        kind = ERR_CONFLICT;
    else if ((rc & 0xff) == SQLITE_FULL)
        kind = ERR_NO_SPACE;
    return err_set(e, kind, "database: %s: %s", what, db->sql ? sqlite3_errmsg(db->sql) : sqlite3_errstr(rc));
}

static int run_script(struct db *db, const char *script, struct err *e) {
    int rc = sqlite3_exec(db->sql, script, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : db_fail(db, e, rc, "script");
}

/* quick_check answers one row "ok"; anything else, or failing at all, means damage. */
static bool db_is_sound(sqlite3 *sql) {
    sqlite3_stmt *stmt = NULL;
    bool sound = false;

    if (sqlite3_prepare_v2(sql, "PRAGMA quick_check(1)", -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);

        sound = text && streq(text, "ok");
    }
    sqlite3_finalize(stmt);
    return sound;
}

static int open_handle(struct db *db, const char *path, struct err *e) {
    int rc = sqlite3_open_v2(path, &db->sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);

    if (rc != SQLITE_OK)
        return db_fail(db, e, rc, path);
    sqlite3_busy_timeout(db->sql, 5000);
    sqlite3_extended_result_codes(db->sql, 1);
    /* Small and predictable memory: 512 KiB of page cache, no mmap, temporary tables in memory, a WAL that is truncated after checkpoints.
     * Exclusive locking: nobody else opens this file, and the shared-memory index then lives on the heap. */
    return run_script(db,
                      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                      "PRAGMA cache_size=-512; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY; PRAGMA journal_size_limit=4194304;"
                      "PRAGMA wal_autocheckpoint=500; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;",
                      e);
}

static void close_handle(struct db *db) {
    for (size_t i = 0; i < CACHE_STATEMENTS; i++) {
        sqlite3_finalize(db->cache[i].stmt);
        db->cache[i] = (struct cached){0};
    }
    sqlite3_close(db->sql);
    db->sql = NULL;
}

/* Move the damaged file and its companions out of the way, so that the engine starts and nothing is destroyed. */
static int set_aside(const char *path, struct err *e) {
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    long long now = (long long)(clock_wall_ns() / NSEC_PER_SEC);

    for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
        _cleanup_free_ char *from = str_printf("%s%s", path, suffixes[i]);
        _cleanup_free_ char *to = str_printf("%s.damaged-%lld%s", path, now, suffixes[i]);

        if (!from || !to)
            return err_oom(e);
        if (rename(from, to) < 0 && errno != ENOENT)
            return err_errno(e, errno, "moving the damaged database %s aside", path);
    }
    log_kv(LOG_LVL_ERROR, "the database was damaged and has been set aside; starting with an empty one", "path", path, NULL);
    return 0;
}

static int make_file(const char *path, struct err *e) {
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return err_errno(e, errno, "opening the database %s", path);
    return 0;
}

/*
 * On a full disk the engine must still be able to write down that something was removed, or no space would ever come back. Blocks beyond the end of the log
 * are invisible to SQLite and stay allocated while it writes the log over and over. Without them (a file system that cannot) all else works.
 */
static void reserve_space(struct db *db, const char *path) {
    _cleanup_free_ char *log = NULL;
    _cleanup_close_ int fd = -EBADF;
    int chunk = RESERVE_DATA;

    sqlite3_file_control(db->sql, "main", SQLITE_FCNTL_CHUNK_SIZE, &chunk);
    if (asprintf(&log, "%s-wal", path) < 0)
        return;
    fd = open(log, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, RESERVE_LOG) < 0)
        log_kv(LOG_LVL_WARN, "no space can be kept for the database: on a full disk changes will fail", "path", path, "error", strerror(errno), NULL);
}

int db_open(const char *path, struct db **ret, struct err *e) {
    struct db *db = calloc(1, sizeof *db);
    pthread_mutexattr_t attr;
    int r;

    if (!db)
        return err_oom(e);
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&db->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* refused once SQLite is in use; only a saving */
    r = make_file(path, e);
    if (r < 0)
        goto fail;
    r = open_handle(db, path, NULL);
    if (r < 0 || !db_is_sound(db->sql)) {
        close_handle(db);
        r = set_aside(path, e);
        if (r == 0)
            r = make_file(path, e);
        if (r == 0)
            r = open_handle(db, path, e);
        if (r < 0)
            goto fail;
    }
    r = run_script(db, "CREATE TABLE IF NOT EXISTS schema_version(module TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;", e);
    if (r < 0)
        goto fail;
    reserve_space(db, path);
    *ret = db;
    return 0;
fail:
    close_handle(db);
    pthread_mutex_destroy(&db->lock);
    free(db);
    return r;
}

struct db *db_close(struct db *db) {
    if (!db)
        return NULL;
    close_handle(db);
    pthread_mutex_destroy(&db->lock);
    free(db);
    return NULL;
}

/* ---- statements ----------------------------------------------------------------------------------------------------- */

/* A prepared statement, from the cache when it is there and idle; *ret_slot is NULL for one that the caller must finalize. */
static int take_statement(struct db *db, const char *sql, sqlite3_stmt **ret, struct cached **ret_slot, struct err *e) {
    struct cached *victim = NULL;
    sqlite3_stmt *stmt = NULL;
    int rc;

    for (size_t i = 0; i < CACHE_STATEMENTS; i++) {
        struct cached *c = &db->cache[i];

        if (c->stmt && !c->busy && (c->sql == sql) && streq(sqlite3_sql(c->stmt), sql)) {
            c->busy = true;
            c->used = ++db->clock;
            *ret = c->stmt;
            *ret_slot = c;
            return 0;
        }
        if (!c->busy && (!victim || c->used < victim->used))
            victim = c;
    }
    rc = sqlite3_prepare_v3(db->sql, sql, -1, victim ? SQLITE_PREPARE_PERSISTENT : 0, &stmt, NULL);
    if (rc != SQLITE_OK)
        return db_fail(db, e, rc, sql);
    if (victim) {
        sqlite3_finalize(victim->stmt);
        *victim = (struct cached){.sql = sql, .stmt = stmt, .busy = true, .used = ++db->clock};
    }
    *ret = stmt;
    *ret_slot = victim;
    return 0;
}

static void give_statement(sqlite3_stmt *stmt, struct cached *slot) {
    if (!slot) {
        sqlite3_finalize(stmt);
        return;
    }
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    slot->busy = false;
}

static int bind_args(struct db *db, sqlite3_stmt *stmt, const struct db_arg *args, size_t n, struct err *e) {
    for (size_t i = 0; i < n; i++) {
        int k = (int)i + 1, rc = SQLITE_OK;

        switch (args[i].type) {
        case DB_TYPE_NULL:
            rc = sqlite3_bind_null(stmt, k);
            break;
        case DB_TYPE_INT:
            rc = sqlite3_bind_int64(stmt, k, args[i].i);
            break;
        case DB_TYPE_TEXT:
            rc = sqlite3_bind_text64(stmt, k, args[i].p, args[i].n, SQLITE_STATIC, SQLITE_UTF8);
            break;
        case DB_TYPE_BLOB:
            rc = sqlite3_bind_blob64(stmt, k, args[i].p ? args[i].p : "", args[i].n, SQLITE_STATIC);
            break;
        }
        if (rc != SQLITE_OK)
            return db_fail(db, e, rc, "binding an argument");
    }
    return 0;
}

static int run_locked(struct db *db, const char *sql, const struct db_arg *args, size_t n_args, db_row_fn fn, void *arg, struct err *e) {
    struct cached *slot = NULL;
    sqlite3_stmt *stmt = NULL;
    int r, rc;

    r = take_statement(db, sql, &stmt, &slot, e);
    if (r < 0)
        return r;
    r = bind_args(db, stmt, args, n_args, e);
    while (r == 0) {
        rc = sqlite3_step(stmt);
        if (rc == SQLITE_DONE)
            break;
        if (rc != SQLITE_ROW) {
            r = db_fail(db, e, rc, sql);
            break;
        }
        if (!fn)
            continue;
        r = fn(&(const struct db_row){stmt}, arg, e);
    }
    give_statement(stmt, slot);
    return r > 0 ? 0 : r;
}

/* How the next transaction ends. The pragma takes effect while it is compiled, so a cached statement would not do; it costs some microseconds. */
static int set_relaxed(struct db *db, bool relaxed, struct err *e) {
    int r;

    if (db->depth > 0 || db->relaxed == relaxed)
        return 0;
    r = run_script(db, relaxed ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL", e);
    if (r == 0)
        db->relaxed = relaxed;
    return r;
}

static int exec_locked(struct db *db, const char *sql, const struct db_arg *args, size_t n_args, bool relaxed, struct err *e) {
    int r = set_relaxed(db, relaxed, e);

    return r < 0 ? r : run_locked(db, sql, args, n_args, NULL, NULL, e);
}

int db_exec_ret(struct db *db, const char *sql, const struct db_arg *args, size_t n_args, int64_t *ret_changes, int64_t *ret_rowid, struct err *e) {
    int r;

    pthread_mutex_lock(&db->lock);
    r = exec_locked(db, sql, args, n_args, false, e);
    if (r == 0 && ret_changes)
        *ret_changes = sqlite3_changes64(db->sql);
    if (r == 0 && ret_rowid)
        *ret_rowid = sqlite3_last_insert_rowid(db->sql);
    pthread_mutex_unlock(&db->lock);
    return r;
}

int db_exec(struct db *db, const char *sql, const struct db_arg *args, size_t n_args, struct err *e) {
    return db_exec_ret(db, sql, args, n_args, NULL, NULL, e);
}

int db_exec_soon(struct db *db, const char *sql, const struct db_arg *args, size_t n_args, struct err *e) {
    int r;

    pthread_mutex_lock(&db->lock);
    r = exec_locked(db, sql, args, n_args, true, e);
    pthread_mutex_unlock(&db->lock);
    return r;
}

int db_query(struct db *db, const char *sql, const struct db_arg *args, size_t n_args, db_row_fn fn, void *arg, struct err *e) {
    int r;

    pthread_mutex_lock(&db->lock);
    r = run_locked(db, sql, args, n_args, fn, arg, e);
    pthread_mutex_unlock(&db->lock);
    return r;
}

struct one_int {
    bool found;
    int64_t v;
};

static int take_int(const struct db_row *row, void *arg, struct err *e) {
    struct one_int *o = arg;

    o->found = true;
    o->v = db_row_int(row, 0);
    return 1;
}

int db_query_int(struct db *db, const char *sql, const struct db_arg *args, size_t n_args, int64_t *ret, struct err *e) {
    struct one_int o = {0};
    int r = db_query(db, sql, args, n_args, take_int, &o, e);

    if (r < 0)
        return r;
    if (!o.found)
        return err_set(e, ERR_NOT_FOUND, "no such row");
    *ret = o.v;
    return 0;
}

int64_t db_row_int(const struct db_row *row, int col) {
    return sqlite3_column_int64(row->stmt, col);
}

const char *db_row_text(const struct db_row *row, int col) {
    return (const char *)sqlite3_column_text(row->stmt, col);
}

const void *db_row_blob(const struct db_row *row, int col, size_t *ret_n) {
    const void *p = sqlite3_column_blob(row->stmt, col);

    *ret_n = (size_t)sqlite3_column_bytes(row->stmt, col);
    return p;
}

bool db_row_is_null(const struct db_row *row, int col) {
    return sqlite3_column_type(row->stmt, col) == SQLITE_NULL;
}

/* ---- transactions --------------------------------------------------------------------------------------------------- */

static int begin(struct db *db, bool relaxed, struct err *e) {
    int r = 0;

    pthread_mutex_lock(&db->lock);
    if (db->depth == 0) {
        r = exec_locked(db, "BEGIN IMMEDIATE", NULL, 0, relaxed, e);
        db->doomed = false;
    }
    if (r < 0) {
        pthread_mutex_unlock(&db->lock);
        return r;
    }
    db->depth++;
    return 0;
}

int db_begin(struct db *db, struct err *e) {
    return begin(db, false, e);
}

int db_begin_soon(struct db *db, struct err *e) {
    return begin(db, true, e);
}

int db_commit(struct db *db, struct err *e) {
    int r = 0;

    if (--db->depth == 0) {
        if (db->doomed)
            r = err_set(e, ERR_INTERNAL, "database: the transaction was rolled back");
        else
            r = run_locked(db, "COMMIT", NULL, 0, NULL, NULL, e);
        if (r < 0 && !sqlite3_get_autocommit(db->sql))
            ignore_result(run_locked(db, "ROLLBACK", NULL, 0, NULL, NULL, NULL) < 0);
    }
    pthread_mutex_unlock(&db->lock);
    return r;
}

void db_rollback(struct db *db) {
    db->doomed = true;
    if (--db->depth == 0 && !sqlite3_get_autocommit(db->sql))
        ignore_result(run_locked(db, "ROLLBACK", NULL, 0, NULL, NULL, NULL) < 0);
    pthread_mutex_unlock(&db->lock);
}

int db_migrate(struct db *db, const char *module, const char *const *steps, size_t n, struct err *e) {
    int64_t version = 0;
    int r;

    r = db_begin(db, e);
    if (r < 0)
        return r;
    r = db_query_int(db, "SELECT ifnull((SELECT version FROM schema_version WHERE module=?1), 0)", DB_ARGS(DB_TEXT(module)), &version, e);
    if (r == 0 && version > (int64_t)n)
        r = err_set(e, ERR_INTERNAL, "database: tables of module %s have version %lld, this program knows %zu: it is older than the data", module,
                    (long long)version, n);
    for (size_t i = (size_t)version; r == 0 && i < n; i++)
        r = run_script(db, steps[i], e);
    if (r == 0 && version < (int64_t)n)
        r = db_exec(db, "INSERT OR REPLACE INTO schema_version(module, version) VALUES(?1, ?2)", DB_ARGS(DB_TEXT(module), DB_INT(n)), e);
    if (r < 0) {
        db_rollback(db);
        return err_wrap(e, "module %s", module);
    }
    return db_commit(db, e);
}
