// SPDX-License-Identifier: Apache-2.0
#include "db/journal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

static const char *const steps[] = {
    "CREATE TABLE intent(id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL, payload TEXT, created INTEGER NOT NULL);",
};

int journal_setup(struct db *db, struct err *e) {
    return db_migrate(db, "journal", steps, ELEMENTSOF(steps), e);
}

int intent_begin(struct db *db, const char *kind, const char *key, const char *payload, int64_t *ret_id, struct err *e) {
    return db_exec_ret(db, "INSERT INTO intent(kind, key, payload, created) VALUES(?1, ?2, ?3, ?4)",
                       DB_ARGS(DB_TEXT(kind), DB_TEXT(key), DB_TEXT(payload), DB_INT(clock_wall_ns())), NULL, ret_id, e);
}

int intent_done(struct db *db, int64_t id, struct err *e) {
    return db_exec(db, "DELETE FROM intent WHERE id=?1", DB_ARGS(DB_INT(id)), e);
}

struct owned_intent {
    int64_t id, created;
    char *kind, *key, *payload;
};

struct intents {
    struct owned_intent *v;
    size_t n;
};

static void intents_done(struct intents *l) {
    for (size_t i = 0; i < l->n; i++) {
        free(l->v[i].kind);
        free(l->v[i].key);
        free(l->v[i].payload);
    }
    free(l->v);
}

static int collect(const struct db_row *row, void *arg, struct err *e) {
    struct intents *l = arg;
    struct owned_intent *grown = reallocarray(l->v, l->n + 1, sizeof *grown), *it;
    const char *payload = db_row_text(row, 3);

    if (!grown)
        return err_oom(e);
    l->v = grown;
    it = &l->v[l->n++];
    *it = (struct owned_intent){.id = db_row_int(row, 0),
                                .kind = str_dup(db_row_text(row, 1)),
                                .key = str_dup(db_row_text(row, 2)),
                                .payload = str_dup(payload),
                                .created = db_row_int(row, 4)};
    if (!it->kind || !it->key || (payload && !it->payload))
        return err_oom(e);
    return 0;
}

int intent_each(struct db *db, const char *kind, intent_fn fn, void *arg, struct err *e) {
    __attribute__((cleanup(intents_done))) struct intents l = {0};
    int r = db_query(db, "SELECT id, kind, key, payload, created FROM intent WHERE ?1 IS NULL OR kind=?1 ORDER BY id", DB_ARGS(DB_TEXT(kind)),
                     collect, &l, e);

    for (size_t i = 0; r == 0 && i < l.n; i++) {
        const struct owned_intent *o = &l.v[i];
        struct intent it = {.id = o->id, .kind = o->kind, .key = o->key, .payload = o->payload, .created = o->created};
        int done = fn(&it, arg, e);

        if (done < 0)
            return done;
        if (done > 0)
            r = intent_done(db, o->id, e);
    }
    return r;
}
