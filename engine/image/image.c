// SPDX-License-Identifier: Apache-2.0
/* The store: records and names, in memory and in the database. */
#include "image/image.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "content/content.h"
#include "image/blobs.h"
#include "image/fetch.h"
#include "image/image-internal.h"
#include "image/policy.h"
#include "image/verify.h"
#include "registry/registry.h"
#include "system/events.h"

static const char *const steps[] = {
    "CREATE TABLE image(id TEXT PRIMARY KEY, document BLOB NOT NULL, top TEXT REFERENCES layer(chain_id), parent TEXT, last_tag INTEGER, added "
    "INTEGER"
    " NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE image_name(name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES image(id)) WITHOUT ROWID;"
    "CREATE INDEX image_name_image ON image_name(image);",
};

static void record_free(void *p) {
    struct image_record *r = p;

    image_unref(r->image);
    free(r->parent);
    free(r);
}

static void name_unref(void *p) {
    struct image_name *n = p;

    if (!n || atomic_fetch_sub(&n->refs, 1) != 1)
        return;
    free(n->image_id);
    free(n->canonical);
    free(n->shown);
    reference_done(&n->ref);
    free(n);
}

/* ---- loading ------------------------------------------------------------------------------------------------------------------ */

static int load_image(const struct db_row *row, void *arg, struct err *e) {
    struct images *s = arg;
    _cleanup_image_ struct image *image = NULL;
    _cleanup_err_ struct err fault = ERR_INIT;
    struct image_record *rec;
    const char *top = db_row_text(row, 2);
    size_t n;
    const void *p = db_row_blob(row, 1, &n);

    if (image_parse(p, n, &image, &fault) < 0 || !streq(image->id, db_row_text(row, 0))) {
        log_kv(LOG_LVL_ERROR, "an image's record is damaged and is left out", "image", db_row_text(row, 0), "error", err_msg(&fault), NULL);
        return 0;
    }
    if (top && !(image->top = layers_get(s->layers, top))) {
        log_kv(LOG_LVL_ERROR, "an image's layer is not there; the image is left out", "image", image->id, "layer", top, NULL);
        return 0;
    }
    rec = calloc(1, sizeof *rec);
    if (!rec)
        return err_oom(e);
    image->owner = s;
    rec->parent = str_dup(db_row_text(row, 3));
    rec->last_tag = db_row_is_null(row, 4) ? CLOCK_ZERO : db_row_int(row, 4);
    rec->image = TAKE_PTR(image);
    if (map_set(&s->records, rec->image->id, rec, NULL) < 0) {
        record_free(rec);
        return err_oom(e);
    }
    return 0;
}

static int put_name(struct images *s, const struct reference *ref, const char *id, struct err *e) {
    struct image_name *n = calloc(1, sizeof *n);
    void *old = NULL;

    if (!n)
        return err_oom(e);
    *n = (struct image_name){.refs = 1, .image_id = strdup(id), .canonical = reference_canonical(ref), .shown = reference_familiar(ref)};
    if (!n->image_id || !n->canonical || !n->shown || reference_copy(&n->ref, ref, NULL) < 0 || map_set(&s->names, n->canonical, n, &old) < 0) {
        name_unref(n);
        return err_oom(e);
    }
    name_unref(old);
    return 0;
}

static int load_name(const struct db_row *row, void *arg, struct err *e) {
    struct images *s = arg;
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;

    if (!map_has(&s->records, db_row_text(row, 1)) || reference_parse(db_row_text(row, 0), &ref, NULL) < 0)
        return 0;
    return put_name(s, &ref, db_row_text(row, 1), e);
}

int images_new(const struct engine *engine, struct images **ret, struct err *e) {
    struct images *s = calloc(1, sizeof *s);
    int r;

    if (!s)
        return err_oom(e);
    s->engine = engine;
    s->db = engine->db;
    s->layers = engine->layers;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->uploads_lock, NULL);
    pthread_cond_init(&s->uploads_changed, NULL);
    r = db_migrate(s->db, "image", steps, ELEMENTSOF(steps), e);
    if (r == 0)
        r = blobs_migrate(s->db, e);
    if (r == 0)
        r = verify_migrate(s->db, e);
    if (r == 0)
        r = images_load_policy(s, engine->config->signature_policy, e);
    if (r == 0)
        r = db_query(s->db, "SELECT id, document, top, parent, last_tag FROM image", DB_NONE, load_image, s, e);
    if (r == 0)
        r = db_query(s->db, "SELECT name, image FROM image_name", DB_NONE, load_name, s, e);
    if (r == 0)
        r = layers_sweep(s->layers, e);
    if (r == 0)
        r = content_new(engine->config->data_root, &s->content, e);
    if (r == 0)
        r = fetches_new(engine, s->layers, s->content, &s->fetches, e);
    s->registry = engine->registry;
    s->own_registry = !s->registry;
    if (r == 0 && s->own_registry)
        r = registry_new(engine->config, &s->registry, e);
    if (r < 0) {
        images_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

struct images *images_free(struct images *s) {
    if (!s)
        return NULL;
    fetches_free(s->fetches);
    if (s->own_registry)
        registry_free(s->registry);
    content_free(s->content);
    map_done_with(&s->names, name_unref);
    /* Memory goes, layers stay: what images hold must not be removed from disk now. */
    for (struct map_entry *i = NULL; (i = map_next(&s->records, i));)
        ((struct image_record *)i->value)->image->top = NULL;
    map_done_with(&s->records, record_free);
    policy_unref(s->policy);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->uploads_lock);
    pthread_cond_destroy(&s->uploads_changed);
    free(s);
    return NULL;
}

int64_t images_count(struct images *s) {
    int64_t n;

    pthread_mutex_lock(&s->lock);
    n = (int64_t)s->records.n;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* ---- reading --------------------------------------------------------------------------------------------------------------------- */

struct image *images_get(struct images *s, const char *id) {
    struct image_record *rec;
    struct image *image;

    pthread_mutex_lock(&s->lock);
    rec = map_get(&s->records, id);
    image = rec ? image_ref(rec->image) : NULL;
    pthread_mutex_unlock(&s->lock);
    return image;
}

char *images_lookup(struct images *s, const struct reference *ref) {
    /* With both a tag and a digest only the digest counts. */
    struct reference key = {ref->domain, ref->path, ref->digest ? NULL : ref->tag ? ref->tag : "latest", ref->digest};
    _cleanup_free_ char *name = reference_canonical(&key);
    struct image_name *n;
    char *id;

    pthread_mutex_lock(&s->lock);
    n = name ? map_get(&s->names, name) : NULL;
    id = n ? strdup(n->image_id) : NULL;
    pthread_mutex_unlock(&s->lock);
    return id;
}

/* The only image whose id starts with hex; NULL when none or several do. */
static struct image *find_prefix(struct images *s, const char *hex) {
    size_t n = strlen(hex);
    struct image *found = NULL;
    int count = 0;

    if (n == 0 || n > ID_LEN || strspn(hex, "0123456789abcdef") != n)
        return NULL;
    pthread_mutex_lock(&s->lock);
    for (struct map_entry *i = NULL; (i = map_next(&s->records, i));)
        if (strncmp(i->key + strlen("sha256:"), hex, n) == 0 && ++count == 1)
            found = ((struct image_record *)i->value)->image;
    found = count == 1 ? image_ref(found) : NULL;
    pthread_mutex_unlock(&s->lock);
    return found;
}

int images_resolve(struct images *s, const char *text, struct image **ret, struct err *e) {
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;
    _cleanup_free_ char *id = NULL, *shown = NULL;
    const char *hex = str_after(text, "sha256:");
    int r;

    if (reference_is_id(text) || digest_is_valid(text)) {
        *ret = find_prefix(s, hex ? hex : text);
        return *ret ? 0 : err_set(e, ERR_NOT_FOUND, "No such image: sha256:%s", hex ? hex : text);
    }
    r = reference_parse(text, &ref, e);
    if (r < 0)
        return r;
    id = images_lookup(s, &ref);
    *ret = id ? images_get(s, id) : NULL;
    if (!*ret)
        *ret = find_prefix(s, hex ? hex : text);
    if (*ret)
        return 0;
    r = reference_default_tag(&ref, e);
    shown = r == 0 ? reference_familiar(&ref) : NULL;
    return shown ? err_set(e, ERR_NOT_FOUND, "No such image: %s", shown) : err_oom(e);
}

static int collect_names(struct images *s, const char *id, const char *repository, struct strv *ret, struct err *e) {
    int r = 0;

    pthread_mutex_lock(&s->lock);
    for (struct map_entry *i = NULL; r == 0 && (i = map_next(&s->names, i));) {
        const struct image_name *n = i->value;

        if (id && !streq(n->image_id, id))
            continue;
        if (repository) {
            const char *rest = str_after(i->key, repository);

            if (!rest || (*rest != ':' && *rest != '@'))
                continue;
        }
        if (strv_add(ret, i->key) < 0)
            r = err_oom(e);
    }
    pthread_mutex_unlock(&s->lock);
    strv_sort(ret);
    return r;
}

int images_names_of(struct images *s, const char *id, struct strv *ret, struct err *e) {
    return collect_names(s, id, NULL, ret, e);
}

int images_names_in(struct images *s, const char *repository, struct strv *ret, struct err *e) {
    return collect_names(s, NULL, repository, ret, e);
}

void image_names_free(struct image_name **v, size_t n) {
    for (size_t i = 0; v && i < n; i++)
        name_unref(v[i]);
    free(v);
}

int images_all_names(struct images *s, struct image_name ***ret, size_t *ret_n, struct err *e) {
    struct image_name **v;
    size_t n = 0;

    pthread_mutex_lock(&s->lock);
    v = calloc(s->names.n + 1, sizeof(*v));
    for (struct map_entry *i = NULL; v && (i = map_next(&s->names, i)); n++) {
        v[n] = i->value;
        atomic_fetch_add(&v[n]->refs, 1);
    }
    pthread_mutex_unlock(&s->lock);
    if (!v)
        return err_oom(e);
    *ret = v;
    *ret_n = n;
    return 0;
}

char *images_first_name(struct images *s, const char *id) {
    _cleanup_strv_ struct strv names = STRV_INIT;
    _cleanup_reference_ struct reference ref = REFERENCE_INIT;

    if (images_names_of(s, id, &names, NULL) < 0 || names.n == 0 || reference_parse(names.v[0], &ref, NULL) < 0)
        return strdup("");
    return reference_familiar(&ref);
}

void image_list_done(struct image_list *l) {
    for (size_t i = 0; i < l->n; i++)
        image_unref(l->v[i]);
    free(l->v);
    *l = (struct image_list){0};
}

int images_all(struct images *s, struct image_list *ret, struct err *e) {
    int r = 0;

    pthread_mutex_lock(&s->lock);
    *ret = (struct image_list){.v = calloc(s->records.n + 1, sizeof(struct image *))};
    if (!ret->v)
        r = err_oom(e);
    for (struct map_entry *i = NULL; r == 0 && (i = map_next(&s->records, i));)
        ret->v[ret->n++] = image_ref(((struct image_record *)i->value)->image);
    pthread_mutex_unlock(&s->lock);
    return r;
}

int64_t images_last_tag(struct images *s, const char *id) {
    struct image_record *rec;
    int64_t t;

    pthread_mutex_lock(&s->lock);
    rec = map_get(&s->records, id);
    t = rec ? rec->last_tag : CLOCK_ZERO;
    pthread_mutex_unlock(&s->lock);
    return t;
}

char *images_parent(struct images *s, const char *id) {
    struct image_record *rec;
    char *parent;

    pthread_mutex_lock(&s->lock);
    rec = map_get(&s->records, id);
    parent = rec && !str_empty(rec->parent) && map_has(&s->records, rec->parent) ? strdup(rec->parent) : NULL;
    pthread_mutex_unlock(&s->lock);
    return parent;
}

int images_set_parent(struct images *s, const char *id, const char *parent, struct err *e) {
    struct image_record *rec;
    int r = db_exec(s->db, "UPDATE image SET parent=?2 WHERE id=?1 AND parent IS NULL", DB_ARGS(DB_TEXT(id), DB_TEXT(parent)), e);

    if (r < 0)
        return r;
    pthread_mutex_lock(&s->lock);
    rec = map_get(&s->records, id);
    if (rec && !rec->parent && !(rec->parent = strdup(parent)))
        r = err_oom(e);
    pthread_mutex_unlock(&s->lock);
    return r;
}

bool images_has_children(struct images *s, const char *id) {
    bool found = false;

    pthread_mutex_lock(&s->lock);
    for (struct map_entry *i = NULL; !found && (i = map_next(&s->records, i));)
        found = streq_ptr(((struct image_record *)i->value)->parent, id);
    pthread_mutex_unlock(&s->lock);
    return found;
}

void images_set_in_use(struct images *s, images_in_use_fn fn, void *arg) {
    s->in_use = fn;
    s->in_use_arg = arg;
}

void images_set_users(struct images *s, images_users_fn fn, void *arg) {
    s->users = fn;
    s->users_arg = arg;
}

/* ---- changing ---------------------------------------------------------------------------------------------------------------------- */

static bool has_too_many_steps(const struct image *i) {
    size_t n = 0;

    for (size_t k = 0; k < i->n_history; k++)
        n += !i->history[k].empty_layer;
    return n > i->diff_ids.n;
}

int images_add(struct images *s, struct image *image, struct layer *top, struct image **ret, struct err *e) {
    struct image_record *rec, *other;
    int r;

    image->owner = s;
    image->top = top;
    if (has_too_many_steps(image)) {
        image_unref(image);
        return err_set(e, ERR_INVALID, "too many non-empty layers in History section");
    }
    pthread_mutex_lock(&s->lock);
    other = map_get(&s->records, image->id);
    if (other)
        *ret = image_ref(other->image);
    pthread_mutex_unlock(&s->lock);
    if (other) {
        image_unref(image);
        return 0;
    }
    rec = calloc(1, sizeof *rec);
    if (!rec) {
        image_unref(image);
        return err_oom(e);
    }
    rec->image = image_ref(image);
    rec->last_tag = CLOCK_ZERO;
    r = layers_settle(top, e);
    if (r == 0)
        r = db_exec(s->db, "INSERT OR IGNORE INTO image(id, document, top, added) VALUES(?1, ?2, ?3, ?4)",
                    DB_ARGS(DB_TEXT(image->id), DB_BLOB(image->document, image->document_n), DB_TEXT(top ? layer_chain_id(top) : NULL),
                            DB_INT(clock_wall_ns())),
                    e);
    if (r == 0) {
        pthread_mutex_lock(&s->lock);
        other = map_get(&s->records, image->id);
        if (other) { /* somebody was faster */
            *ret = image_ref(other->image);
        } else {
            r = map_set(&s->records, image->id, rec, NULL) < 0 ? err_oom(e) : 0;
            if (r == 0) {
                *ret = image_ref(image);
                rec = NULL;
            }
        }
        pthread_mutex_unlock(&s->lock);
    }
    if (rec)
        record_free(rec);
    image_unref(image);
    return r;
}

int images_set_name(struct images *s, const struct reference *ref, const char *id, char **ret_old, struct err *e) {
    _cleanup_free_ char *key = reference_canonical(ref), *old = NULL;
    struct image_name *was;
    int r = 0;

    if (!key)
        return err_oom(e);
    if (streq(ref->domain, "docker.io") && streq(ref->path, "library/sha256"))
        return err_set(e, ERR_INVALID, "refusing to create an ambiguous tag using digest algorithm as name");
    pthread_mutex_lock(&s->lock);
    was = map_get(&s->names, key);
    old = was ? strdup(was->image_id) : NULL;
    pthread_mutex_unlock(&s->lock);
    if (!old || !streq(old, id)) {
        r = db_exec(s->db, "INSERT INTO image_name(name, image) VALUES(?1, ?2) ON CONFLICT(name) DO UPDATE SET image=?2",
                    DB_ARGS(DB_TEXT(key), DB_TEXT(id)), e);
        if (r < 0)
            return r;
        pthread_mutex_lock(&s->lock);
        r = put_name(s, ref, id, e);
        pthread_mutex_unlock(&s->lock);
    }
    if (ret_old)
        *ret_old = TAKE_PTR(old);
    return r;
}

int images_touch_tag(struct images *s, const char *id, struct err *e) {
    int64_t now = clock_wall_ns();
    struct image_record *rec;
    int r = db_exec_soon(s->db, "UPDATE image SET last_tag=?2 WHERE id=?1", DB_ARGS(DB_TEXT(id), DB_INT(now)), e);

    if (r < 0)
        return r;
    pthread_mutex_lock(&s->lock);
    rec = map_get(&s->records, id);
    if (rec)
        rec->last_tag = now;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

int images_drop_name(struct images *s, const struct reference *ref, struct err *e) {
    _cleanup_free_ char *key = reference_canonical(ref), *shown = NULL;
    struct image_name *n;
    int r;

    if (!key)
        return err_oom(e);
    r = db_exec(s->db, "DELETE FROM image_name WHERE name=?1", DB_ARGS(DB_TEXT(key)), e);
    if (r < 0)
        return r;
    pthread_mutex_lock(&s->lock);
    n = map_remove(&s->names, key);
    pthread_mutex_unlock(&s->lock);
    if (n) {
        name_unref(n);
        return 0;
    }
    shown = reference_familiar(ref);
    return shown ? err_set(e, ERR_NOT_FOUND, "reference does not exist: %s", shown) : err_oom(e);
}

int images_drop(struct images *s, const char *id, struct strv *removed, struct err *e) {
    struct image_record *rec;
    struct layer *top;
    int r = db_begin(s->db, e);

    if (r < 0)
        return r;
    r = db_exec(s->db, "DELETE FROM image_name WHERE image=?1", DB_ARGS(DB_TEXT(id)), e);
    if (r == 0)
        r = db_exec(s->db, "DELETE FROM image WHERE id=?1", DB_ARGS(DB_TEXT(id)), e);
    if (r < 0) {
        db_rollback(s->db);
        return r;
    }
    r = db_commit(s->db, e);
    if (r < 0)
        return r;
    pthread_mutex_lock(&s->lock);
    for (struct map_entry *i = NULL; (i = map_next(&s->names, i));)
        if (streq(((struct image_name *)i->value)->image_id, id))
            name_unref(map_remove(&s->names, i->key));
    rec = map_remove(&s->records, id);
    pthread_mutex_unlock(&s->lock);
    if (!rec)
        return 0;
    /* The record's count of the layer, listed; other holders of the image keep the layer by a count of their own. */
    top = rec->image->top;
    if (top && atomic_load(&rec->image->refs) == 1) {
        rec->image->top = NULL;
        layer_unref_listing(top, removed);
    }
    record_free(rec);
    return 0;
}

void images_event(struct images *s, const char *action, const char *actor, const char *image_id, const char *name) {
    _cleanup_strv_ struct strv attrs = STRV_INIT;
    _cleanup_image_ struct image *image = images_get(s, image_id);

    if (!s->engine->events)
        return;
    if (image)
        for (size_t i = 0; i < image->config.labels.n; i++)
            ignore_result(strv_addf(&attrs, "%s=%s", image->config.labels.v[i].key, image->config.labels.v[i].value) < 0);
    if (name)
        ignore_result(strv_addf(&attrs, "name=%s", name) < 0);
    events_publish(s->engine->events, "image", action, actor, &attrs);
}
