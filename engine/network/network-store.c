// SPDX-License-Identifier: Apache-2.0
/* Rows: a network is kept as the JSON text the API shows of it. */
#include "base/log.h"
#include "db/db.h"
#include "network/network-internal.h"

#define FACT_AUTO4 1
#define FACT_OWN_PARENT 2

static const char *const steps[] = {
    "CREATE TABLE network(id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT NOT NULL) STRICT",
    /* What the API does not show: FACT_* bits. */
    "ALTER TABLE network ADD COLUMN facts INTEGER NOT NULL DEFAULT 0",
};

int network_store_setup(struct networks *n, struct err *e) {
    return db_migrate(n->engine->db, "network", steps, sizeof(steps) / sizeof(steps[0]), e);
}

static int load_one(const struct db_row *row, void *arg, struct err *e) {
    struct networks *n = arg;
    _cleanup_err_ struct err why = ERR_INIT;
    struct api_network record = {0};
    struct network *net = NULL;
    const char *text = db_row_text(row, 1);
    json_t *json = NULL;
    int r = codec_parse(text ? text : "", text ? strlen(text) : 0, &json, NULL, &why);

    if (r == 0)
        r = api_network_read(&record, json, NULL, &why);
    json_decref(json);
    if (r == 0 && (!record.id || !record.name || !record.driver))
        r = err_set(&why, ERR_INTERNAL, "incomplete record");
    if (r < 0)
        api_network_done(&record);
    else
        r = network_from_record(&record, &net, &why);
    if (r == 0) {
        net->auto4 = db_row_int(row, 2) & FACT_AUTO4;
        net->own_parent = db_row_int(row, 2) & FACT_OWN_PARENT;
        r = networks_enter(n, net, &why);
    }
    network_unref(net);
    /* The engine always starts (R19): a damaged record is told and left alone. */
    if (r < 0)
        log_kv(LOG_LVL_ERROR, "network record cannot be read", "id", db_row_text(row, 0), "error", err_msg(&why), NULL);
    return 0;
}

int network_store_load(struct networks *n, struct err *e) {
    return db_query(n->engine->db, "SELECT id, record, facts FROM network", DB_NONE, load_one, n, e);
}

int network_store_add(struct networks *n, const struct network *net, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    int r = api_network_write(&net->record, 45, &b, e);

    if (r < 0)
        return r;
    return db_exec(n->engine->db, "INSERT OR REPLACE INTO network(id, name, record, facts) VALUES(?1, ?2, ?3, ?4)",
                   DB_ARGS(DB_TEXT(net->record.id), DB_TEXT(net->record.name), DB_TEXT(buf_str(&b)),
                           DB_INT((net->auto4 ? FACT_AUTO4 : 0) | (net->own_parent ? FACT_OWN_PARENT : 0))),
                   e);
}

int network_store_remove(struct networks *n, const char *id, struct err *e) {
    return db_exec(n->engine->db, "DELETE FROM network WHERE id = ?1", DB_ARGS(DB_TEXT(id)), e);
}
