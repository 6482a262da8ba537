// SPDX-License-Identifier: Apache-2.0
/*
 * journal.h - the intent journal: whatever outlives the process is registered before it is made (rule R18).
 *
 * intent_begin() writes a row, then the caller makes the thing (mount, folder, link, rule, cgroup, process, partial download), writes its record, and
 * calls intent_done(). When the engine dies in between, start-up finds the row through intent_each() and undoes or finishes the work.
 * To have record and intent change together, call intent_done() inside the transaction that writes the record.
 *
 * Kinds are dotted names owned by one module: "network.bridge", "volume.remove". Key names the object; payload is whatever the
 * owner needs (NULL allowed; usually JSON). Any thread.
 */
#ifndef HATAKE_DB_JOURNAL_H
#define HATAKE_DB_JOURNAL_H

#include <stdint.h>

#include "base/err.h"
#include "db/db.h"

/* Make the table. Called once after db_open(). */
int journal_setup(struct db *db, struct err *e);
/* Durable when it returns 0 (outside of a transaction). */
int intent_begin(struct db *db, const char *kind, const char *key, const char *payload, int64_t *ret_id, struct err *e);
/* The work is confirmed or undone. An unknown id is success. */
int intent_done(struct db *db, int64_t id, struct err *e);

struct intent {
    int64_t id;
    const char *kind;
    const char *key;
    const char *payload; /* NULL when none was given */
    int64_t created;     /* wall clock, ns */
};
/* Returns 0 to keep the row, 1 when it is dealt with (the row is removed), <0 with e set to stop. */
typedef int (*intent_fn)(const struct intent *it, void *arg, struct err *e);
/* Open intents of one kind (NULL: all), oldest first. The callback runs without any lock and may use the db. */
int intent_each(struct db *db, const char *kind, intent_fn fn, void *arg, struct err *e);

#endif
