// SPDX-License-Identifier: Apache-2.0
/* Rows: a volume is kept as the JSON text the API shows of it. */
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "db/db.h"
#include "volume/volume-internal.h"

static const char *const steps[] = {
    "CREATE TABLE volume(name TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT",
    "CREATE TABLE volume_use(id TEXT PRIMARY KEY, volume TEXT NOT NULL, container TEXT NOT NULL) STRICT;"
    "CREATE TABLE volume_limit(project INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
};

int volume_store_setup(struct volumes *vs, struct err *e) {
    return db_migrate(vs->engine->db, "volume", steps, ELEMENTSOF(steps), e);
}

static int load_one(const struct db_row *row, void *arg, struct err *e) {
    struct volumes *vs = arg;
    _cleanup_err_ struct err why = ERR_INIT;
    struct api_volume record = {0};
    struct volume *v = NULL;
    const char *text = db_row_text(row, 1);
    json_t *json = NULL;
    int r = codec_parse(text ? text : "", text ? strlen(text) : 0, &json, NULL, &why);

    if (r == 0)
        r = api_volume_read(&record, json, NULL, &why);
    json_decref(json);
    if (r == 0 && (!record.name || !record.driver || !record.mountpoint))
        r = err_set(&why, ERR_INTERNAL, "incomplete record");
    if (r < 0)
        api_volume_done(&record);
    else
        r = volume_from_record(&record, &v, &why);
    if (r == 0)
        r = volumes_enter(vs, v, &why);
    volume_unref(v);
    if (r < 0)
        log_kv(LOG_LVL_ERROR, "volume record cannot be read", "name", db_row_text(row, 0), "error", err_msg(&why), NULL);
    return 0;
}

static int load_use(const struct db_row *row, void *arg, struct err *e) {
    struct volumes *vs = arg;
    struct volume *v = map_get(&vs->by_name, db_row_text(row, 1));

    return v ? volume_add_use(v, db_row_text(row, 0), db_row_text(row, 2), false, e) : 0;
}

int volume_store_load(struct volumes *vs, struct err *e) {
    int r = db_query(vs->engine->db, "SELECT name, record FROM volume", DB_NONE, load_one, vs, e);

    if (r == 0)
        r = db_exec(vs->engine->db, "DELETE FROM volume_use WHERE volume NOT IN (SELECT name FROM volume)", DB_NONE, e);
    return r < 0 ? r : db_query(vs->engine->db, "SELECT id, volume, container FROM volume_use", DB_NONE, load_use, vs, e);
}

int volume_store_use(struct volumes *vs, const struct volume *v, const struct volume_use *u, struct err *e) {
    return db_exec(vs->engine->db, "INSERT INTO volume_use(id, volume, container) VALUES(?1, ?2, ?3)",
                   DB_ARGS(DB_TEXT(u->id), DB_TEXT(v->record.name), DB_TEXT(u->container)), e);
}

int volume_store_unuse(struct volumes *vs, const char *id, struct err *e) {
    return db_exec(vs->engine->db, "DELETE FROM volume_use WHERE id = ?1", DB_ARGS(DB_TEXT(id)), e);
}

int volume_store_add(struct volumes *vs, const struct volume *v, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JSON_BODY);
    int r = api_volume_write(&v->record, 45, &b, e);

    if (r < 0)
        return r;
    return db_exec(vs->engine->db, "INSERT OR REPLACE INTO volume(name, record) VALUES(?1, ?2)",
                   DB_ARGS(DB_TEXT(v->record.name), DB_TEXT(buf_str(&b))), e);
}

int volume_store_remove(struct volumes *vs, const char *name, struct err *e) {
    return db_exec(vs->engine->db, "DELETE FROM volume WHERE name = ?1", DB_ARGS(DB_TEXT(name)), e);
}
