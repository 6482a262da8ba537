// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "container/container-internal.h"

#define VERSION 45 /* the API version in which records are written */

static const char *const steps[] = {
    "CREATE TABLE container("
    "  id TEXT PRIMARY KEY NOT NULL,"
    "  name TEXT NOT NULL UNIQUE,"
    "  fixed TEXT NOT NULL,"
    "  life TEXT NOT NULL"
    ") WITHOUT ROWID;",
    /* What changes often apart from what never does, and both by a number: a change then writes one page of the log and not six. */
    "CREATE TABLE container_fixed(n INTEGER PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL UNIQUE, fixed TEXT NOT NULL);"
    "CREATE TABLE container_life(n INTEGER PRIMARY KEY, life TEXT NOT NULL);"
    "INSERT INTO container_fixed(id, name, fixed) SELECT id, name, fixed FROM container;"
    "INSERT INTO container_life(n, life) SELECT f.n, c.life FROM container c JOIN container_fixed f ON f.id = c.id;"
    "DROP TABLE container;"
    "ALTER TABLE container_fixed RENAME TO container;",
};

int container_store_setup(struct db *db, struct err *e) {
    return db_migrate(db, "container", steps, ELEMENTSOF(steps), e);
}

/* ---- writing --------------------------------------------------------------------------------------------------------------- */
static void key(struct buf *out, const char *k) {
    if (out->len && out->data[out->len - 1] != '{' && out->data[out->len - 1] != '[')
        buf_addc(out, ',');
    buf_add_json_string(out, k);
    buf_addc(out, ':');
}

static void text(struct buf *out, const char *k, const char *v) {
    if (!v)
        return;
    key(out, k);
    buf_add_json_string(out, v);
}

static void number(struct buf *out, const char *k, int64_t v) {
    key(out, k);
    buf_addi(out, v);
}

static void flag(struct buf *out, const char *k, bool v) {
    if (!v)
        return;
    key(out, k);
    buf_adds(out, "true");
}

static void mount_write(const struct ctr_mount *m, struct buf *out) {
    buf_addc(out, '{');
    number(out, "kind", m->kind);
    text(out, "source", m->source);
    text(out, "destination", m->destination);
    text(out, "shown", m->shown);
    text(out, "volume", m->volume);
    text(out, "driver", m->driver);
    text(out, "mode", m->mode);
    text(out, "propagation", m->propagation);
    text(out, "options", m->options);
    text(out, "subpath", m->subpath);
    text(out, "spec", m->spec);
    flag(out, "rw", m->rw);
    flag(out, "anonymous", m->anonymous);
    flag(out, "noCopy", m->no_copy);
    flag(out, "nonRecursive", m->non_recursive);
    flag(out, "roNonRecursive", m->ro_non_recursive);
    flag(out, "roForceRecursive", m->ro_force_recursive);
    flag(out, "makeSource", m->make_source);
    flag(out, "ownPropagation", m->own_propagation);
    flag(out, "fromMounts", m->from_mounts);
    buf_addc(out, '}');
}

static void links_write(const struct ctr_links *l, struct buf *out) {
    key(out, "links");
    buf_addc(out, '[');
    for (size_t i = 0; i < l->n; i++) {
        buf_adds(out, i ? ",{" : "{");
        text(out, "id", l->v[i].id);
        text(out, "name", l->v[i].name);
        text(out, "alias", l->v[i].alias);
        buf_addc(out, '}');
    }
    buf_addc(out, ']');
}

int ctr_fixed_write(const struct ctr_fixed *f, struct buf *out, struct err *e) {
    int r;

    buf_addc(out, '{');
    text(out, "id", f->id);
    number(out, "created", f->created);
    text(out, "imageId", f->image_id);
    text(out, "platform", f->platform);
    text(out, "driver", f->driver);
    text(out, "path", f->path);
    text(out, "logPath", f->log_path);
    text(out, "logFile", f->log_file);
    key(out, "args");
    r = api_string_list_write(&f->args, VERSION, out, e);
    if (r < 0)
        return r;
    key(out, "config");
    r = api_container_config_write(&f->config, VERSION, out, e);
    if (r < 0)
        return r;
    key(out, "host");
    r = api_host_config_write(&f->host, VERSION, out, e);
    if (r < 0)
        return r;
    key(out, "networking");
    r = api_networking_config_write(&f->networking, VERSION, out, e);
    if (r < 0)
        return r;
    key(out, "mounts");
    buf_addc(out, '[');
    for (size_t i = 0; i < f->mounts.n; i++) {
        if (i)
            buf_addc(out, ',');
        mount_write(&f->mounts.v[i], out);
    }
    buf_addc(out, ']');
    if (f->links.n)
        links_write(&f->links, out);
    buf_addc(out, '}');
    return buf_check(out, e);
}

static void health_write(const struct ctr_health *h, struct buf *out) {
    key(out, "health");
    buf_addc(out, '{');
    number(out, "status", h->status);
    number(out, "streak", h->streak);
    key(out, "log");
    buf_addc(out, '[');
    for (size_t i = 0; i < h->n; i++) {
        buf_adds(out, i ? ",{" : "{");
        number(out, "start", h->log[i].start);
        number(out, "end", h->log[i].end);
        number(out, "code", h->log[i].code);
        text(out, "output", h->log[i].output);
        buf_addc(out, '}');
    }
    buf_adds(out, "]}");
}

int ctr_view_write(const struct ctr_view *v, struct buf *out, struct err *e) {
    int r;

    buf_addc(out, '{');
    text(out, "state", ctr_state_name(v->state));
    number(out, "pid", v->pid);
    number(out, "pidTicks", (int64_t)v->pid_ticks);
    number(out, "exitCode", v->exit_code);
    number(out, "startedAt", v->started_at);
    number(out, "finishedAt", v->finished_at);
    number(out, "restartCount", v->restart_count);
    text(out, "error", v->error);
    text(out, "joinedHostname", v->joined_hostname);
    if (v->joined_id[0])
        text(out, "joinedId", v->joined_id);
    flag(out, "oom", v->oom);
    flag(out, "everStarted", v->ever_started);
    flag(out, "hasFiles", v->has_files);
    flag(out, "hasHostname", v->has_hostname);
    flag(out, "stoppedByUser", v->stopped_by_user);
    if (v->health)
        health_write(v->health, out);
    key(out, "net");
    r = api_network_settings_write(&v->net->s, VERSION, out, e);
    if (r < 0)
        return r;
    if (v->net->saved) {
        key(out, "endpoints");
        buf_adds(out, v->net->saved);
    }
    buf_addc(out, '}');
    return buf_check(out, e);
}

/* ---- reading --------------------------------------------------------------------------------------------------------------- */
static int get_text(json_t *o, const char *k, char **ret) {
    const char *s = json_string_value(json_object_get(o, k));

    return s ? str_set(ret, s) : 0;
}

static int64_t get_int(json_t *o, const char *k) {
    return json_integer_value(json_object_get(o, k));
}

static bool get_flag(json_t *o, const char *k) {
    return json_is_true(json_object_get(o, k));
}

static int mount_read(json_t *o, struct ctr_mount *m) {
    m->kind = (enum ctr_mount_kind)get_int(o, "kind");
    m->rw = get_flag(o, "rw");
    m->anonymous = get_flag(o, "anonymous");
    m->no_copy = get_flag(o, "noCopy");
    m->non_recursive = get_flag(o, "nonRecursive");
    m->ro_non_recursive = get_flag(o, "roNonRecursive");
    m->ro_force_recursive = get_flag(o, "roForceRecursive");
    m->make_source = get_flag(o, "makeSource");
    m->own_propagation = get_flag(o, "ownPropagation");
    m->from_mounts = get_flag(o, "fromMounts");
    if (get_text(o, "source", &m->source) < 0 || get_text(o, "destination", &m->destination) < 0 || get_text(o, "shown", &m->shown) < 0 ||
        get_text(o, "volume", &m->volume) < 0 || get_text(o, "driver", &m->driver) < 0 || get_text(o, "mode", &m->mode) < 0 ||
        get_text(o, "propagation", &m->propagation) < 0 || get_text(o, "options", &m->options) < 0 || get_text(o, "subpath", &m->subpath) < 0 ||
        get_text(o, "spec", &m->spec) < 0)
        return -ENOMEM;
    return 0;
}

static int links_read(json_t *list, struct ctr_links *l, struct err *e) {
    json_t *o;
    size_t i;

    if (json_array_size(list) == 0)
        return 0;
    l->v = calloc(json_array_size(list), sizeof(*l->v));
    if (!l->v)
        return err_oom(e);
    json_array_foreach(list, i, o) {
        const char *id = json_string_value(json_object_get(o, "id"));

        if (!id || !id_is_full(id) || get_text(o, "name", &l->v[i].name) < 0 || get_text(o, "alias", &l->v[i].alias) < 0 || !l->v[i].name ||
            !l->v[i].alias)
            return err_set(e, ERR_INTERNAL, "a container's record has a link without names");
        memcpy(l->v[i].id, id, sizeof(l->v[i].id));
        l->n = i + 1;
    }
    return 0;
}

static int fixed_read_parts(struct ctr_fixed *f, json_t *o, struct err *e) {
    const char *id = json_string_value(json_object_get(o, "id"));
    json_t *list = json_object_get(o, "mounts");
    int r;

    if (!id || !id_is_full(id))
        return err_set(e, ERR_INTERNAL, "a container's record has no id");
    memcpy(f->id, id, sizeof(f->id));
    f->created = get_int(o, "created");
    if (get_text(o, "imageId", &f->image_id) < 0 || get_text(o, "platform", &f->platform) < 0 || get_text(o, "driver", &f->driver) < 0 ||
        get_text(o, "path", &f->path) < 0 || get_text(o, "logPath", &f->log_path) < 0 || get_text(o, "logFile", &f->log_file) < 0)
        return err_oom(e);
    r = api_string_list_read(&f->args, json_object_get(o, "args"), NULL, e);
    if (r >= 0)
        r = api_container_config_read(&f->config, json_object_get(o, "config"), NULL, e);
    if (r >= 0)
        r = api_host_config_read(&f->host, json_object_get(o, "host"), NULL, e);
    if (r >= 0)
        r = api_networking_config_read(&f->networking, json_object_get(o, "networking"), NULL, e);
    if (r < 0)
        return r;
    f->mounts.v = calloc(json_array_size(list) + 1, sizeof(*f->mounts.v));
    if (!f->mounts.v)
        return err_oom(e);
    for (size_t i = 0; i < json_array_size(list); i++) {
        f->mounts.n = i + 1;
        if (mount_read(json_array_get(list, i), &f->mounts.v[i]) < 0)
            return err_oom(e);
    }
    return links_read(json_object_get(o, "links"), &f->links, e);
}

int ctr_fixed_read(const char *text_in, size_t n, struct ctr_fixed **ret, struct err *e) {
    _cleanup_(ctr_fixed_unrefp) struct ctr_fixed *f = ctr_fixed_new();
    json_t *o = NULL;
    int r;

    if (!f)
        return err_oom(e);
    r = codec_parse(text_in, n, &o, NULL, e);
    if (r >= 0)
        r = fixed_read_parts(f, o, e);
    json_decref(o);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(f);
    return 0;
}

static int health_read(json_t *o, struct ctr_health **ret) {
    _cleanup_health_ struct ctr_health *h = calloc(1, sizeof(*h));
    json_t *r;
    size_t i;

    if (!h)
        return -ENOMEM;
    atomic_init(&h->refs, 1);
    h->status = (enum monitor_health)get_int(o, "status");
    h->streak = (int)get_int(o, "streak");
    json_array_foreach(json_object_get(o, "log"), i, r) {
        const char *output = json_string_value(json_object_get(r, "output"));

        if (ctr_health_add(h, get_int(r, "start"), get_int(r, "end"), get_int(r, "code"), output ? output : "", output ? strlen(output) : 0) < 0)
            return -ENOMEM;
    }
    *ret = TAKE_PTR(h);
    return 0;
}

static int view_read_parts(struct ctr_view *v, json_t *o, struct err *e) {
    const char *state = json_string_value(json_object_get(o, "state")), *joined = json_string_value(json_object_get(o, "joinedId"));
    json_t *eps = json_object_get(o, "endpoints");
    int r;

    if (!state || !ctr_state_parse(state, &v->state))
        return err_set(e, ERR_INTERNAL, "a container's record has no known state");
    v->pid = get_int(o, "pid");
    v->pid_ticks = (uint64_t)get_int(o, "pidTicks");
    v->exit_code = (int)get_int(o, "exitCode");
    v->started_at = get_int(o, "startedAt");
    v->finished_at = get_int(o, "finishedAt");
    v->restart_count = get_int(o, "restartCount");
    v->oom = get_flag(o, "oom");
    v->ever_started = get_flag(o, "everStarted");
    v->has_files = get_flag(o, "hasFiles");
    v->has_hostname = get_flag(o, "hasHostname");
    v->stopped_by_user = get_flag(o, "stoppedByUser");
    v->error = strdup("");
    v->net = ctr_net_new();
    if (json_is_object(json_object_get(o, "health"))) {
        r = health_read(json_object_get(o, "health"), &v->health);
        if (r < 0)
            return err_oom(e);
    }
    if (get_text(o, "joinedHostname", &v->joined_hostname) < 0)
        return err_oom(e);
    if (joined && id_is_full(joined))
        memcpy(v->joined_id, joined, sizeof(v->joined_id));
    if (!v->error || !v->net || get_text(o, "error", &v->error) < 0)
        return err_oom(e);
    r = api_network_settings_read(&v->net->s, json_object_get(o, "net"), NULL, e);
    if (r < 0)
        return r;
    if (json_array_size(eps) > 0) {
        v->net->saved = json_dumps(eps, JSON_COMPACT);
        if (!v->net->saved)
            return err_oom(e);
    }
    return 0;
}

int ctr_view_read(const char *text_in, size_t n, struct ctr_fixed *fixed, struct ctr_view **ret, struct err *e) {
    _cleanup_view_ struct ctr_view *v = calloc(1, sizeof(*v));
    json_t *o = NULL;
    int r;

    if (!v)
        return err_oom(e);
    atomic_init(&v->refs, 1);
    v->fixed = ctr_fixed_ref(fixed);
    r = codec_parse(text_in, n, &o, NULL, e);
    if (r >= 0)
        r = view_read_parts(v, o, e);
    json_decref(o);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(v);
    return 0;
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------- */

/* A container that is removed at its end does not outlive a loss of power anyway: its rows need not wait for the disk. */
static bool may_be_lost(const struct ctr_fixed *f) {
    return f->host.has_auto_remove && f->host.auto_remove;
}

static int begin(struct db *db, const struct ctr_fixed *f, struct err *e) {
    return may_be_lost(f) ? db_begin_soon(db, e) : db_begin(db, e);
}

static int insert_rows(struct db *db, const struct ctr_view *v, const char *fixed, const char *life, struct err *e) {
    struct ctr_fixed *f = v->fixed;
    int r = db_exec_ret(db, "INSERT INTO container(id, name, fixed) VALUES(?1, ?2, ?3)", DB_ARGS(DB_TEXT(f->id), DB_TEXT(v->name), DB_TEXT(fixed)),
                        NULL, &f->row, e);

    return r < 0 ? r : db_exec(db, "INSERT INTO container_life(n, life) VALUES(?1, ?2)", DB_ARGS(DB_INT(f->row), DB_TEXT(life)), e);
}

int container_store_insert(struct db *db, const struct ctr_view *v, int (*also)(void *arg, struct err *e), void *arg, struct err *e) {
    _cleanup_buf_ struct buf fixed = BUF_INIT(LIMIT_JSON_BODY), life = BUF_INIT(LIMIT_JSON_BODY);
    int r = ctr_fixed_write(v->fixed, &fixed, e);

    if (r >= 0)
        r = ctr_view_write(v, &life, e);
    if (r >= 0)
        r = begin(db, v->fixed, e);
    if (r < 0)
        return r;
    r = insert_rows(db, v, buf_str(&fixed), buf_str(&life), e);
    if (r >= 0 && also)
        r = also(arg, e);
    if (r < 0) {
        db_rollback(db);
        return r;
    }
    return db_commit(db, e);
}

static int update(struct db *db, const struct ctr_view *v, bool soon, struct err *e) {
    _cleanup_buf_ struct buf life = BUF_INIT(LIMIT_JSON_BODY);
    int r = ctr_view_write(v, &life, e);

    if (r < 0)
        return r;
    return (soon ? db_exec_soon : db_exec)(db, "UPDATE container_life SET life = ?2 WHERE n = ?1",
                                           DB_ARGS(DB_INT(v->fixed->row), DB_TEXT(buf_str(&life))), e);
}

int container_store_update(struct db *db, const struct ctr_view *v, struct err *e) {
    return update(db, v, may_be_lost(v->fixed), e);
}

int container_store_update_soon(struct db *db, const struct ctr_view *v, struct err *e) {
    return update(db, v, true, e);
}

int container_store_rename(struct db *db, const struct ctr_view *v, struct err *e) {
    int r = begin(db, v->fixed, e);

    if (r < 0)
        return r;
    r = db_exec(db, "UPDATE container SET name = ?2 WHERE n = ?1", DB_ARGS(DB_INT(v->fixed->row), DB_TEXT(v->name)), e);
    if (r >= 0)
        r = container_store_update(db, v, e);
    if (r < 0) {
        db_rollback(db);
        return r;
    }
    return db_commit(db, e);
}

int container_store_update_fixed(struct db *db, const struct ctr_fixed *f, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JSON_BODY);
    int r = ctr_fixed_write(f, &b, e);

    return r < 0 ? r : db_exec(db, "UPDATE container SET fixed = ?2 WHERE n = ?1", DB_ARGS(DB_INT(f->row), DB_TEXT(buf_str(&b))), e);
}

int container_store_delete(struct db *db, const struct ctr_fixed *f, struct err *e) {
    int r = begin(db, f, e);

    if (r < 0)
        return r;
    r = db_exec(db, "DELETE FROM container WHERE n = ?1", DB_ARGS(DB_INT(f->row)), e);
    if (r >= 0)
        r = db_exec(db, "DELETE FROM container_life WHERE n = ?1", DB_ARGS(DB_INT(f->row)), e);
    if (r < 0) {
        db_rollback(db);
        return r;
    }
    return db_commit(db, e);
}

struct each {
    int (*fn)(struct ctr_view *v, void *arg, struct err *e);
    void *arg;
};

/* A record that cannot be read costs that container, not the start of the engine. */
static int each_row(const struct db_row *row, void *arg, struct err *e) {
    struct each *each = arg;
    _cleanup_err_ struct err bad = ERR_INIT;
    _cleanup_(ctr_fixed_unrefp) struct ctr_fixed *f = NULL;
    _cleanup_view_ struct ctr_view *v = NULL;
    const char *fixed = db_row_text(row, 2), *life = db_row_text(row, 3);
    int r = ctr_fixed_read(fixed, strlen(fixed), &f, &bad);

    if (r >= 0)
        r = ctr_view_read(life, strlen(life), f, &v, &bad);
    if (r < 0) {
        log_kv(LOG_LVL_ERROR, "a container's record cannot be read; it is left out", "container", db_row_text(row, 0), "error", err_msg(&bad), NULL);
        return 0;
    }
    f->row = db_row_int(row, 4);
    v->name = strdup(db_row_text(row, 1));
    if (!v->name)
        return err_oom(e);
    return each->fn(TAKE_PTR(v), each->arg, e);
}

int container_store_each(struct db *db, int (*fn)(struct ctr_view *v, void *arg, struct err *e), void *arg, struct err *e) {
    struct each each = {fn, arg};

    return db_query(db, "SELECT id, name, fixed, life, n FROM container JOIN container_life USING(n)", DB_NONE, each_row, &each, e);
}
