// SPDX-License-Identifier: Apache-2.0
#include "image/blobs.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "db/db.h"

static const char *const steps[] = {
    "CREATE TABLE image_blob(seq INTEGER PRIMARY KEY AUTOINCREMENT, diff_id TEXT NOT NULL, digest TEXT NOT NULL,"
    " repository TEXT NOT NULL, pushed_by TEXT);"
    /* pulled and pushed, and pushed by different users, are different things to know */
    "CREATE UNIQUE INDEX image_blob_seen ON image_blob(diff_id, digest, repository, ifnull(pushed_by, char(10)));"
    "CREATE INDEX image_blob_digest ON image_blob(digest, repository);",
};

int blobs_migrate(struct db *db, struct err *e) {
    return db_migrate(db, "image-blob", steps, ELEMENTSOF(steps), e);
}

void blobs_seen_done(struct blobs_seen *b) {
    for (size_t i = 0; i < b->n; i++) {
        free(b->v[i].repository);
        free(b->v[i].pushed_by);
    }
    free(b->v);
    *b = (struct blobs_seen){0};
}

/* Hints: none of these waits for the disk. */
int blobs_note(struct db *db, const char *diff_id, const char *digest, const char *repository, const char *pushed_by, struct err *e) {
    int r = db_exec_soon(db, "INSERT OR REPLACE INTO image_blob(diff_id, digest, repository, pushed_by) VALUES(?1, ?2, ?3, ?4)",
                         DB_ARGS(DB_TEXT(diff_id), DB_TEXT(digest), DB_TEXT(repository), DB_TEXT(pushed_by)), e);

    if (r == 0)
        r = db_exec_soon(db,
                         "DELETE FROM image_blob WHERE diff_id=?1 AND seq <= (SELECT seq FROM image_blob WHERE diff_id=?1 ORDER BY seq DESC"
                         " LIMIT 1 OFFSET ?2)",
                         DB_ARGS(DB_TEXT(diff_id), DB_INT(BLOBS_PER_LAYER)), e);
    if (r == 0)
        r = db_exec_soon(db, "DELETE FROM image_blob WHERE seq <= (SELECT max(seq) FROM image_blob) - ?1", DB_ARGS(DB_INT(BLOBS_MAX)), e);
    return r;
}

int blobs_note_claim(struct db *db, const char *diff_id, const char *digest, const char *repository, struct err *e) {
    int64_t known = 0;
    int r = db_query_int(db, "SELECT count(*) FROM image_blob WHERE diff_id=?1 AND digest=?2 AND repository<>?3",
                         DB_ARGS(DB_TEXT(diff_id), DB_TEXT(digest), DB_TEXT(repository)), &known, e);

    return r < 0 || known == 0 ? r : blobs_note(db, diff_id, digest, repository, NULL, e);
}

int blobs_forget(struct db *db, const char *digest, const char *repository, struct err *e) {
    return db_exec_soon(db, "DELETE FROM image_blob WHERE digest=?1 AND repository=?2", DB_ARGS(DB_TEXT(digest), DB_TEXT(repository)), e);
}

static int take_row(const struct db_row *row, void *arg, struct err *e) {
    struct blobs_seen *b = arg;
    struct blob_seen *grown = reallocarray(b->v, b->n + 1, sizeof *grown);

    if (!grown)
        return err_oom(e);
    b->v = grown;
    grown += b->n++;
    *grown = (struct blob_seen){.repository = str_dup(db_row_text(row, 1)), .pushed_by = str_dup(db_row_text(row, 2))};
    snprintf(grown->digest, sizeof grown->digest, "%s", db_row_text(row, 0));
    return grown->repository ? 0 : err_oom(e);
}

int blobs_of(struct db *db, const char *diff_id, struct blobs_seen *ret, struct err *e) {
    struct blobs_seen b = {0};
    int r = db_query(db, "SELECT digest, repository, pushed_by FROM image_blob WHERE diff_id=?1 ORDER BY seq DESC", DB_ARGS(DB_TEXT(diff_id)),
                     take_row, &b, e);

    if (r < 0)
        blobs_seen_done(&b);
    else
        *ret = b;
    return r;
}
