// SPDX-License-Identifier: Apache-2.0
/*
 * db.h - the engine's one SQLite database: records that survive a restart.
 *
 * One connection, serialised by a mutex inside (SQLite before 3.51.3 can corrupt a WAL that two connections reset; rule R19). Journal mode
 * WAL, synchronous=FULL: when a function that changes something returns 0, the change survives power loss. The one exception is db_exec_soon().
 *
 * Usage
 *   db_exec(db, "INSERT INTO volume(name, labels) VALUES(?1, ?2)", DB_ARGS(DB_TEXT(name), DB_TEXT(labels)), e);
 *   db_query(db, "SELECT name FROM volume", DB_NONE, row_cb, arg, e);
 * SQL texts must be string literals (or live as long as the db): prepared statements are cached by address.
 *
 * Threads: any. db_begin() takes the lock until db_commit()/db_rollback() on the same thread; other threads wait. A row callback runs with the lock
 * held and may call the db again on the same thread, but must not wait for other threads or do slow work.
 * Source: sqlite.org/wal.html, pragma.html.
 */
#ifndef HATAKE_DB_DB_H
#define HATAKE_DB_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct db;
struct db_row;

enum db_type { DB_TYPE_NULL, DB_TYPE_INT, DB_TYPE_TEXT, DB_TYPE_BLOB };

/* A bound argument. Pointers need to live only during the call. */
struct db_arg {
    enum db_type type;
    int64_t i;
    const void *p;
    size_t n;
};

/* Text; a NULL pointer binds SQL NULL. */
struct db_arg db_arg_text(const char *s);
#define DB_INT(v) ((struct db_arg){DB_TYPE_INT, (int64_t)(v), NULL, 0})
#define DB_TEXT(s) (db_arg_text(s))
#define DB_BLOB(ptr, len) ((struct db_arg){DB_TYPE_BLOB, 0, (ptr), (len)})
#define DB_NULL ((struct db_arg){DB_TYPE_NULL, 0, NULL, 0})
/* The argument list ?1, ?2, ...: expands to two arguments (array, count). */
#define DB_ARGS(...) (const struct db_arg[]){__VA_ARGS__}, sizeof((const struct db_arg[]){__VA_ARGS__}) / sizeof(struct db_arg)
#define DB_NONE NULL, 0

/*
 * Open or create the database file (mode 0600), check it (PRAGMA quick_check) and set it up. A damaged file is moved aside to
 * "<path>.damaged-<unix time>" and a new one begun, with an error line in the log: the engine always starts (R19).
 */
int db_open(const char *path, struct db **ret, struct err *e);
/* Checkpoint and close. No other thread may use it any more. Returns NULL. */
struct db *db_close(struct db *db);

/*
 * Bring a module's tables up to date: steps[k] is the SQL script that leads from version k to k+1; those not yet applied run in one transaction.
 * Never change a published step, append one. A database newer than n steps is an error.
 */
int db_migrate(struct db *db, const char *module, const char *const *steps, size_t n, struct err *e);

/* Run one statement that returns no rows. A constraint failure (unique, foreign key) is ERR_CONFLICT. */
int db_exec(struct db *db, const char *sql, const struct db_arg *args, size_t n_args, struct err *e);
/* The same; gives the rows changed and/or the new row id (either may be NULL). */
int db_exec_ret(struct db *db, const char *sql, const struct db_arg *args, size_t n_args, int64_t *ret_changes, int64_t *ret_rowid, struct err *e);

/*
 * The same for a change that nobody was promised: it survives the end of this process at once, and a loss of power from the next durable change on,
 * which carries all earlier ones with it in their order. Saves a wait for the disk. Inside a transaction it is part of that.
 */
int db_exec_soon(struct db *db, const char *sql, const struct db_arg *args, size_t n_args, struct err *e);

/* Called per row; returns 0 to go on, 1 to stop, <0 with e set to fail the query. */
typedef int (*db_row_fn)(const struct db_row *row, void *arg, struct err *e);
int db_query(struct db *db, const char *sql, const struct db_arg *args, size_t n_args, db_row_fn fn, void *arg, struct err *e);
/* First column of the first row as a number; ERR_NOT_FOUND without a row. */
int db_query_int(struct db *db, const char *sql, const struct db_arg *args, size_t n_args, int64_t *ret, struct err *e);

/* Columns of the present row, from 0. Pointers live until the callback returns. */
int64_t db_row_int(const struct db_row *row, int col);
/* NULL for SQL NULL. */
const char *db_row_text(const struct db_row *row, int col);
const void *db_row_blob(const struct db_row *row, int col, size_t *ret_n);
bool db_row_is_null(const struct db_row *row, int col);

/*
 * Transactions. They nest: only the outermost commit writes. After db_rollback() at any depth the whole transaction is undone and the outer
 * db_commit() fails with ERR_INTERNAL.
 */
int db_begin(struct db *db, struct err *e);
/* One that need not wait for the disk, as with db_exec_soon(); inside another transaction it is part of that. */
int db_begin_soon(struct db *db, struct err *e);
int db_commit(struct db *db, struct err *e);
void db_rollback(struct db *db);

#endif
