// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/idmap.h"
#include "base/log.h"
#include "base/str.h"
#include "db/journal.h"
#include "plugin/client.h"
#include "system/events.h"
#include "volume/volume-internal.h"

const char *const volume_anonymous_label = "com.docker.volume.anonymous";

/* ---- objects ----------------------------------------------------------------------------------------------------------------------- */

struct volume *volume_ref(struct volume *v) {
    __atomic_add_fetch(&v->refs, 1, __ATOMIC_RELAXED);
    return v;
}

struct volume *volume_unref(struct volume *v) {
    if (!v || __atomic_sub_fetch(&v->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return NULL;
    api_volume_done(&v->record);
    strv_done(&v->holders);
    strv_done(&v->runs);
    for (size_t i = 0; i < v->n_uses; i++) {
        free(v->uses[i].id);
        free(v->uses[i].container);
    }
    free(v->uses);
    free(v->seen_at);
    pthread_mutex_destroy(&v->copying);
    free(v);
    return NULL;
}

const char *volume_name(const struct volume *v) {
    return v->record.name;
}
const char *volume_driver(const struct volume *v) {
    return v->record.driver;
}
const char *volume_path(const struct volume *v) {
    return v->record.mountpoint;
}
bool volume_is_anonymous(const struct volume *v) {
    return v->anonymous;
}

int volume_check_name(const char *name, struct err *e) {
    size_t n = strlen(name);
    bool good = n > 0;

    if (n == 1)
        return err_set(e, ERR_INVALID, "volume name is too short, names should be at least two alphanumeric characters");
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        good = good && (alnum || (i && (c == '_' || c == '.' || c == '-')));
    }
    if (good && n > 255)
        return err_set(e, ERR_INVALID, "volume name is too long, names should not exceed 255 characters");
    return good ? 0
                : err_set(e, ERR_INVALID,
                          "\"%s\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you "
                          "intended to pass a host directory, use absolute path",
                          name);
}

/* What follows from the record. */
static void volume_settle_record(struct volume *v) {
    if (clock_parse(v->record.created_at ? v->record.created_at : "", &v->created, NULL) < 0)
        v->created = 0;
    v->anonymous = api_string_map_get(&v->record.labels, volume_anonymous_label) != NULL;
    v->remote = !streq(v->record.driver ? v->record.driver : "local", "local");
    v->has_device =
        !v->remote && (!str_empty(api_string_map_get(&v->record.options, "device")) || !str_empty(api_string_map_get(&v->record.options, "type")));
}

int volume_from_record(struct api_volume *record, struct volume **ret, struct err *e) {
    struct volume *v = calloc(1, sizeof(*v));

    if (!v) {
        api_volume_done(record);
        return err_oom(e);
    }
    v->refs = 1;
    v->record = *record;
    memset(record, 0, sizeof(*record));
    pthread_mutex_init(&v->copying, NULL);
    volume_settle_record(v);
    *ret = v;
    return 0;
}

int volumes_enter(struct volumes *vs, struct volume *v, struct err *e) {
    int r;

    pthread_mutex_lock(&vs->lock);
    r = map_set(&vs->by_name, v->record.name, v, NULL) < 0 ? err_oom(e) : 0;
    if (r == 0)
        volume_ref(v);
    pthread_mutex_unlock(&vs->lock);
    return r;
}

static int older_first(const void *a, const void *b) {
    const struct volume *x = *(struct volume *const *)a, *y = *(struct volume *const *)b;

    return x->created < y->created ? -1 : x->created > y->created ? 1 : strcmp(x->record.name, y->record.name);
}

int volumes_all(struct volumes *vs, struct volume ***ret, size_t *ret_n, struct err *e) {
    struct volume **all;
    size_t k = 0;

    pthread_mutex_lock(&vs->lock);
    all = calloc(vs->by_name.n + 1, sizeof(struct volume *));
    for (struct map_entry *i = NULL; all && (i = map_next(&vs->by_name, i));) {
        struct volume *v = i->value;

        if (!v->busy)
            all[k++] = volume_ref(v);
    }
    pthread_mutex_unlock(&vs->lock);
    if (!all)
        return err_oom(e);
    qsort(all, k, sizeof(struct volume *), older_first);
    *ret = all;
    *ret_n = k;
    return 0;
}

void volumes_event(struct volumes *vs, const struct volume *v, const char *action, const struct strv *more) {
    _cleanup_strv_ struct strv attrs = STRV_INIT;

    if (!vs->engine->events || strv_addf(&attrs, "driver=%s", v->record.driver) < 0)
        return;
    for (size_t i = 0; more && i < more->n; i++) {
        if (strv_add(&attrs, more->v[i]) < 0)
            return;
    }
    events_publish(vs->engine->events, "volume", action, v->record.name, &attrs);
}

/* ---- finding ----------------------------------------------------------------------------------------------------------------------- */

struct volume *volumes_settled(struct volumes *vs, const char *name) {
    struct volume *v;

    while ((v = map_get(&vs->by_name, name)) && v->busy)
        pthread_cond_wait(&vs->changed, &vs->lock);
    return v;
}

/* A plugin's volume that nobody recorded: recorded now. */
static int adopt_remote(struct volumes *vs, const char *name, struct plugin *plugin, const struct volume_facts *facts, struct volume **ret,
                        struct err *e) {
    struct api_volume record = {0};
    struct volume *v = NULL;
    int r;

    if (str_set(&record.name, name) < 0 || str_set(&record.driver, plugin_name(plugin)) < 0 || str_set(&record.mountpoint, "") < 0 ||
        str_set(&record.created_at, volume_no_time) < 0 || str_set(&record.scope, volume_scope_of(vs, plugin)) < 0) {
        api_volume_done(&record);
        return err_oom(e);
    }
    r = volume_from_record(&record, &v, e);
    if (r == 0 && str_set(&v->seen_at, facts->created) < 0)
        r = err_oom(e);
    if (r == 0)
        r = volume_store_add(vs, v, e);
    if (r == 0)
        r = volumes_enter(vs, v, e);
    if (r < 0)
        volume_unref(v);
    else
        *ret = v;
    return r;
}

int volumes_find(struct volumes *vs, const char *name, struct volume **ret, struct err *e) {
    _cleanup_(volume_facts_done) struct volume_facts facts = {0};
    struct plugin *plugin = NULL;
    struct volume *v;
    int r;

    pthread_mutex_lock(&vs->lock);
    v = volumes_settled(vs, name);
    if (v)
        *ret = volume_ref(v);
    pthread_mutex_unlock(&vs->lock);
    if (v)
        return 0;
    r = volume_check_name(name, NULL) == 0 ? volume_driver_probe(vs, name, &plugin, &facts, e) : 0;
    if (r > 0)
        return adopt_remote(vs, name, plugin, &facts, ret, e);
    return r < 0 ? r : err_set(e, ERR_NOT_FOUND, "get%s%s: no such volume", *name ? " " : "", name);
}

int volume_ask(struct volumes *vs, struct volume *v, struct volume_facts *ret, struct err *e) {
    struct plugin *plugin = NULL;
    int r = volume_driver_find(vs, v->record.driver, false, &plugin, e);

    if (r < 0)
        err_wrap(e, "error while checking if volume \"%s\" exists in driver \"%s\"", v->record.name, v->record.driver);
    else
        r = volume_driver_get(plugin, v->record.name, ret, e);
    if (r < 0)
        return err_wrap(e, "get %s", v->record.name);
    pthread_mutex_lock(&vs->lock);
    r = str_set(&v->seen_at, ret->created);
    pthread_mutex_unlock(&vs->lock);
    return r < 0 ? err_oom(e) : 0;
}

/* ---- making ------------------------------------------------------------------------------------------------------------------------ */

static int fill_map(struct api_string_map *to, const struct strv *pairs, struct err *e) {
    int r = 0;

    for (size_t i = 0; r == 0 && pairs && i < pairs->n; i++) {
        const char *eq = strchr(pairs->v[i], '=');
        char *key = eq ? strndup(pairs->v[i], (size_t)(eq - pairs->v[i])) : strdup(pairs->v[i]);

        r = key ? api_string_map_set(to, key, eq ? eq + 1 : "", e) : err_oom(e);
        free(key);
    }
    return r;
}

/* The name alone: a place among the volumes while the rest is made. */
static int make_place(const char *name, struct volume **ret, struct err *e) {
    struct api_volume record = {0};

    if (str_set(&record.name, name) < 0)
        return err_oom(e);
    return volume_from_record(&record, ret, e);
}

static int fill_record(struct volumes *vs, const struct volume_request *req, bool anonymous, struct api_volume *r, struct err *e) {
    bool remote = !str_empty(req->driver) && !streq(req->driver, "local");
    char created[CLOCK_TEXT_MAX];
    int ret;

    clock_format(clock_wall_ns() / NSEC_PER_SEC * NSEC_PER_SEC, created);
    r->mountpoint = remote ? strdup("") : str_printf("%s/%s/_data", vs->root, r->name);
    if (!r->mountpoint || str_set(&r->driver, remote ? req->driver : "local") < 0 || str_set(&r->scope, "local") < 0 ||
        str_set(&r->created_at, remote ? volume_no_time : created) < 0)
        return err_oom(e);
    r->options.set = req->empty_opts;
    r->labels.set = req->empty_labels;
    ret = fill_map(&r->options, req->opts, e);
    if (ret == 0 && !remote)
        ret = volume_check_options(vs, &r->options, e);
    if (ret == 0)
        ret = fill_map(&r->labels, req->labels, e);
    if (ret == 0 && anonymous && !req->unmarked)
        ret = api_string_map_set(&r->labels, volume_anonymous_label, "", e);
    return ret;
}

int volume_make_folders(struct volumes *vs, const struct volume *v, struct err *e) {
    _cleanup_free_ char *dir = str_printf("%s/%s", vs->root, v->record.name);
    const char *size = api_string_map_get(&v->record.options, "size");
    uint64_t bytes = 0;

    if (!dir)
        return err_oom(e);
    if ((mkdir(dir, 0701) < 0 && errno != EEXIST) || (mkdir(v->record.mountpoint, 0755) < 0 && errno != EEXIST))
        return err_errno(e, errno, "make %s", v->record.mountpoint);
    /* mkdir(2) applies the umask; the modes are part of the layout. */
    if (chmod(dir, 0701) < 0)
        return err_errno(e, errno, "mode of %s", dir);
    if (idmap_give(vs->engine->ids, v->record.mountpoint, e) < 0)
        return -(int)ERR_INTERNAL;
    if (size && volume_size_parse(size, &bytes) == 0 && bytes)
        return volume_limit_set(vs, v, bytes, e);
    return 0;
}

/* What was made of a volume that will not be. */
static void unmake_folders(struct volumes *vs, const struct volume *v) {
    _cleanup_free_ char *dir = str_printf("%s/%s", vs->root, v->record.name);

    ignore_result(volume_limit_drop(vs, v->record.name, NULL) < 0);
    rmdir(v->record.mountpoint);
    if (dir)
        rmdir(dir);
}

/*
 * The record, then its folders: an end in between leaves a volume that is whole but for an empty folder, which the next start makes. Data of another volume
 * comes with a record of its own.
 */
static int make_on_disk(struct volumes *vs, const struct volume *v, const struct volume *from, struct err *e) {
    int r;

    if (from) {
        r = volume_take_data(vs, v, from, true, e);
    } else {
        r = volume_store_add(vs, v, e);
        if (r == 0) {
            r = volume_make_folders(vs, v, e);
            if (r < 0)
                ignore_result(volume_store_remove(vs, v->record.name, NULL) < 0);
        }
    }
    if (r < 0)
        unmake_folders(vs, v);
    return r;
}

/* A volume of a plugin: found there or made there, then recorded. `plugin`: the one that was found to have it, or NULL. */
static int make_remote(struct volumes *vs, struct volume *v, struct plugin *plugin, struct err *e) {
    _cleanup_(volume_facts_done) struct volume_facts facts = {0};
    bool known = plugin != NULL;
    int r = known ? 0 : volume_driver_find(vs, v->record.driver, false, &plugin, e);

    if (r == 0)
        r = str_set(&v->record.scope, volume_scope_of(vs, plugin)) < 0 ? err_oom(e) : 0;
    if (r == 0 && !known && volume_driver_get(plugin, v->record.name, &facts, NULL) < 0)
        r = volume_driver_create(plugin, &v->record, e);
    if (r == 0 && facts.created && str_set(&v->seen_at, facts.created) < 0)
        r = err_oom(e);
    return r == 0 ? volume_store_add(vs, v, e) : r;
}

void volumes_finish_busy(struct volumes *vs, struct volume *v, bool keep) {
    pthread_mutex_lock(&vs->lock);
    v->busy = false;
    if (!keep && map_get(&vs->by_name, v->record.name) == v)
        map_remove(&vs->by_name, v->record.name);
    pthread_cond_broadcast(&vs->changed);
    pthread_mutex_unlock(&vs->lock);
    if (!keep)
        volume_unref(v);
}

static int hold_locked(struct volume *v, const char *container_id, struct err *e) {
    if (!container_id || strv_has(&v->holders, container_id))
        return 0;
    return strv_add(&v->holders, container_id) < 0 ? err_oom(e) : 0;
}

/* Make what stands for a name so far (busy) a volume. Sets *ret_new when it did not exist anywhere before. */
static int make(struct volumes *vs, const struct volume_request *req, struct volume *v, bool anonymous, bool *ret_new, struct err *e) {
    struct plugin *plugin = NULL;
    struct volume_facts facts = {0};
    struct volume_request found;
    int r = 0;

    *ret_new = true;
    /* No driver is named: a plugin may have one of that name. A fresh name nobody can have. */
    if (str_empty(req->driver) && !anonymous)
        r = volume_driver_probe(vs, v->record.name, &plugin, &facts, e);
    if (r > 0) {
        if (req->from) {
            volume_facts_done(&facts);
            return err_set(e, ERR_CONFLICT, "volume %s is kept by the plugin %s", v->record.name, plugin_name(plugin));
        }
        found = (struct volume_request){.driver = plugin_name(plugin)};
        req = &found;
        *ret_new = false;
    }
    if (r >= 0)
        r = fill_record(vs, req, anonymous, &v->record, e);
    if (r == 0) {
        volume_settle_record(v);
        if (facts.created && str_set(&v->seen_at, facts.created) < 0)
            r = err_oom(e);
    }
    volume_facts_done(&facts);
    if (r == 0)
        r = v->remote ? make_remote(vs, v, plugin, e) : make_on_disk(vs, v, req->from, e);
    return r;
}

/* Does the plugin still have it? 1, 0: it is gone and its record too; an error when it must not be lost or cannot be asked. The volume is busy. */
static int still_there(struct volumes *vs, struct volume *v, struct err *e) {
    _cleanup_(volume_facts_done) struct volume_facts facts = {0};
    _cleanup_err_ struct err why = ERR_INIT;
    struct plugin *plugin = NULL;
    int r = volume_driver_find(vs, v->record.driver, false, &plugin, &why);

    if (r == 0)
        r = volume_driver_get(plugin, v->record.name, &facts, &why);
    if (r == 0) {
        pthread_mutex_lock(&vs->lock);
        ignore_result(str_set(&v->seen_at, facts.created) < 0);
        pthread_mutex_unlock(&vs->lock);
        return 1;
    }
    if (r != -ERR_NOT_FOUND || !plugin)
        return err_set(e, ERR_CONFLICT,
                       "found reference to volume '%s' in driver '%s', but got an error while checking the driver: %s: volume name must be unique",
                       v->record.name, v->record.driver, err_msg(&why));
    if (volumes_holders(vs, v))
        return err_set(e, ERR_CONFLICT,
                       "found references to volume '%s' in driver '%s' but the volume was not found in the driver -- you may need to remove "
                       "containers referencing this volume or force remove the volume to re-create it: volume name must be unique",
                       v->record.name, v->record.driver);
    return volume_store_remove(vs, v->record.name, e);
}

/*
 * The volume of that name if it may be used as asked for. 1: *ret is set; 0: there is none (any more). `trust`: a plugin is not asked whether it has it. With
 * the lock held, which is given up meanwhile.
 */
static int take_existing(struct volumes *vs, const struct volume_request *req, struct volume *v, const char *container_id, bool trust,
                         struct volume **ret, struct err *e) {
    int r = 1;

    if (v->remote && !trust) {
        v->busy = true;
        volume_ref(v);
        pthread_mutex_unlock(&vs->lock);
        r = still_there(vs, v, e);
        volumes_finish_busy(vs, v, r != 0);
        pthread_mutex_lock(&vs->lock);
        volume_unref(v);
        if (r <= 0)
            return r;
        v = map_get(&vs->by_name, v->record.name);
        if (!v)
            return 0;
    }
    if (req->from)
        return err_set(e, ERR_CONFLICT, "volume %s was made by somebody else meanwhile", v->record.name);
    if (!str_empty(req->driver) && !streq(req->driver, v->record.driver))
        return err_set(e, ERR_CONFLICT, "driver '%s' already has volume '%s': volume name must be unique", v->record.driver, v->record.name);
    r = hold_locked(v, container_id, e);
    if (r < 0)
        return r;
    *ret = volume_ref(v);
    return 1;
}

/* Find or make; hold it for container_id when that is not NULL, in the same breath. */
static int obtain(struct volumes *vs, const struct volume_request *req, const char *name, bool anonymous, const char *container_id, bool trust,
                  struct volume **ret, struct err *e) {
    struct volume *v = NULL, *fresh = NULL;
    bool made = false;
    int r = 0;

    pthread_mutex_lock(&vs->lock);
    while (r == 0 && (v = volumes_settled(vs, name)))
        r = take_existing(vs, req, v, container_id, trust, ret, e);
    if (r == 0)
        r = make_place(name, &fresh, e);
    if (r == 0 && fresh)
        r = hold_locked(fresh, container_id, e);
    if (r == 0 && fresh && map_set(&vs->by_name, name, fresh, NULL) < 0)
        r = err_oom(e);
    if (r == 0 && fresh)
        fresh->busy = true;
    pthread_mutex_unlock(&vs->lock);
    if (r != 0) {
        volume_unref(fresh);
        return r < 0 ? r : 0;
    }
    volume_ref(fresh); /* the caller's; the map has the first one */
    r = make(vs, req, fresh, anonymous, &made, e);
    volumes_finish_busy(vs, fresh, r == 0);
    if (r < 0) {
        volume_unref(fresh);
        return r;
    }
    if (made)
        volumes_event(vs, fresh, "create", NULL);
    *ret = fresh;
    return 0;
}

static int create(struct volumes *vs, const struct volume_request *req, const char *container_id, bool trust, struct volume **ret, struct err *e) {
    bool anonymous = str_empty(req->name), remote = !str_empty(req->driver) && !streq(req->driver, "local");
    struct plugin *plugin = NULL;
    char id[ID_LEN + 1];
    const char *name = req->name;
    int r = 0;

    if (anonymous) {
        id_new(id);
        name = id;
    }
    if (remote && !trust)
        r = volume_driver_find(vs, req->driver, false, &plugin, e);
    if (r == 0)
        r = volume_check_name(name, e);
    if (r == 0)
        r = obtain(vs, req, name, anonymous, container_id, trust, ret, e);
    return r < 0 ? err_wrap(e, "create %s", name) : 0;
}

int volumes_create(struct volumes *vs, const struct volume_request *req, struct volume **ret, struct err *e) {
    return create(vs, req, NULL, false, ret, e);
}

int volumes_acquire(struct volumes *vs, const struct volume_request *req, const char *container_id, struct volume **ret, struct err *e) {
    return create(vs, req, container_id, false, ret, e);
}

int volumes_hold(struct volumes *vs, const char *name, const char *container_id, struct volume **ret, struct err *e) {
    struct volume_request req = {.name = name};

    return create(vs, &req, container_id, true, ret, e);
}

/* ---- removing ---------------------------------------------------------------------------------------------------------------------- */

static int remove_on_disk(struct volumes *vs, struct volume *v, struct err *e) {
    char *dir = str_printf("%s/%s", vs->root, v->record.name);
    int64_t intent = 0;
    int r = dir ? intent_begin(vs->engine->db, "volume.remove", v->record.name, NULL, &intent, e) : err_oom(e);

    if (r == 0)
        r = volume_store_remove(vs, v->record.name, e);
    if (r == 0)
        r = volume_limit_drop(vs, v->record.name, e);
    if (r == 0)
        r = fs_remove_tree(dir, e);
    if (r == 0)
        r = intent_done(vs->engine->db, intent, e);
    free(dir);
    return r;
}

/* With force the record goes whatever the plugin says, which is still told. */
static int remove_remote(struct volumes *vs, struct volume *v, bool force, bool *ret_gone, struct err *e) {
    struct plugin *plugin = NULL;
    int r = volume_driver_find(vs, v->record.driver, false, &plugin, e), r2;

    if (r == 0)
        r = volume_driver_remove(plugin, v->record.name, e);
    if (r < 0 && !force)
        return r;
    r2 = volume_store_remove(vs, v->record.name, r < 0 ? NULL : e);
    *ret_gone = r2 == 0;
    return r < 0 ? r : r2;
}

static int in_use(const struct volume *v, struct err *e) {
    _cleanup_free_ char *ids = strv_join(&v->holders, ", ");

    return err_set(e, ERR_CONFLICT, "remove %s: volume is in use - [%s]", v->record.name, ids ? ids : "");
}

int volumes_remove(struct volumes *vs, const char *name, bool force, struct err *e) {
    _cleanup_(volume_facts_done) struct volume_facts facts = {0};
    struct volume *v = NULL;
    bool missing = false, gone = false;
    int r = volumes_find(vs, name, &v, e);

    if (r == 0 && v->remote) {
        r = volume_ask(vs, v, &facts, e);
        missing = r == -ERR_NOT_FOUND && force;
        if (missing)
            r = 0;
    }
    volume_unref(v);
    if (r < 0)
        return r == -ERR_NOT_FOUND && force ? 0 : r;
    pthread_mutex_lock(&vs->lock);
    v = volumes_settled(vs, name);
    if (!v)
        r = force ? 0 : err_set(e, ERR_NOT_FOUND, "get %s: no such volume", name);
    else if (v->holders.n)
        r = in_use(v, e);
    else
        v->busy = true;
    if (v && r == 0)
        volume_ref(v);
    pthread_mutex_unlock(&vs->lock);
    if (!v || r < 0)
        return r;
    r = missing ? volume_store_remove(vs, name, e) : v->remote ? remove_remote(vs, v, force, &gone, e) : remove_on_disk(vs, v, e);
    volumes_finish_busy(vs, v, r < 0 && !gone);
    if (r == 0)
        volumes_event(vs, v, "destroy", NULL);
    else
        err_wrap(e, "remove %s", name);
    volume_unref(v);
    return r;
}

void volumes_release(struct volumes *vs, struct volume *v, const char *container_id, bool remove) {
    _cleanup_err_ struct err why = ERR_INIT;
    bool last;

    if (!v)
        return;
    pthread_mutex_lock(&vs->lock);
    for (size_t i = v->holders.n; i-- > 0;) {
        if (streq(v->holders.v[i], container_id))
            strv_remove_at(&v->holders, i);
    }
    last = v->holders.n == 0;
    pthread_mutex_unlock(&vs->lock);
    if (last && remove) {
        int r = volumes_remove(vs, v->record.name, true, &why);

        /* Somebody took it meanwhile: then it stays. */
        if (r < 0 && why.kind != ERR_CONFLICT)
            log_kv(LOG_LVL_ERROR, "volume is not removed", "volume", v->record.name, "error", err_msg(&why), NULL);
    }
    volume_unref(v);
}

size_t volumes_holders(struct volumes *vs, const struct volume *v) {
    size_t n;

    pthread_mutex_lock(&vs->lock);
    n = v->holders.n;
    pthread_mutex_unlock(&vs->lock);
    return n;
}

/* ---- the manager ------------------------------------------------------------------------------------------------------------------- */

static int finish_removal(const struct intent *it, void *arg, struct err *e) {
    struct volumes *vs = arg;
    char *dir;
    int r;

    if (volume_check_name(it->key, NULL) < 0)
        return 1;
    dir = str_printf("%s/%s", vs->root, it->key);
    r = dir ? volume_store_remove(vs, it->key, e) : err_oom(e);
    if (r == 0)
        r = volume_limit_drop(vs, it->key, e);
    if (r == 0)
        r = fs_remove_tree(dir, e);
    free(dir);
    return r < 0 ? r : 1;
}

/* Folders of volumes whose making was cut short after their record. */
static int complete_folders(struct volumes *vs, struct err *e) {
    int r = 0;

    for (struct map_entry *i = NULL; r == 0 && (i = map_next(&vs->by_name, i));) {
        const struct volume *v = i->value;

        if (!v->remote && !fs_exists(v->record.mountpoint))
            r = volume_make_folders(vs, v, e);
    }
    return r;
}

/* Folders of the right shape that nobody recorded; empty ones go. */
static int adopt_folders(struct volumes *vs, struct err *e) {
    _cleanup_closedir_ DIR *d = opendir(vs->root);
    struct dirent *ent;
    int r = 0;

    if (!d)
        return err_errno(e, errno, "open %s", vs->root);
    while (r == 0 && (ent = readdir(d))) {
        struct volume_request none = {0};
        struct api_volume record = {0};
        struct volume *v = NULL;
        char created[CLOCK_TEXT_MAX];
        struct stat st;

        if (ent->d_name[0] == '.' || map_has(&vs->by_name, ent->d_name) || volume_check_name(ent->d_name, NULL) < 0)
            continue;
        r = str_set(&record.name, ent->d_name) < 0 ? err_oom(e) : fill_record(vs, &none, false, &record, e);
        if (r < 0 || lstat(record.mountpoint, &st) < 0 || !S_ISDIR(st.st_mode)) {
            unlinkat(dirfd(d), ent->d_name, AT_REMOVEDIR);
            api_volume_done(&record);
            continue;
        }
        clock_format((int64_t)st.st_mtim.tv_sec * NSEC_PER_SEC, created);
        ignore_result(str_set(&record.created_at, created) < 0);
        r = volume_from_record(&record, &v, e);
        if (r == 0)
            r = volume_store_add(vs, v, e);
        if (r == 0)
            r = volumes_enter(vs, v, e);
        volume_unref(v);
    }
    return r;
}

int volumes_new(struct engine *engine, struct volumes **ret, struct err *e) {
    struct volumes *vs = calloc(1, sizeof(*vs));
    int r;

    if (!vs)
        return err_oom(e);
    vs->engine = engine;
    pthread_mutex_init(&vs->lock, NULL);
    pthread_cond_init(&vs->changed, NULL);
    vs->root = str_printf("%s/volumes", engine->config->data_root);
    r = plugins_new(&(struct plugins_config){0}, &vs->plugins, e);
    if (r < 0) {
        volumes_free(vs);
        return r;
    }
    r = vs->root ? fs_mkdir_p(vs->root, 0701, e) : err_oom(e);
    if (r == 0 && chmod(vs->root, 0701) < 0)
        r = err_errno(e, errno, "mode of %s", vs->root);
    if (r == 0)
        r = volume_store_setup(vs, e);
    if (r == 0)
        r = intent_each(engine->db, "volume.remove", finish_removal, vs, e);
    if (r == 0)
        r = volume_take_recover(vs, e);
    if (r == 0)
        r = volume_store_load(vs, e);
    if (r == 0)
        r = complete_folders(vs, e);
    if (r == 0)
        r = adopt_folders(vs, e);
    if (r < 0) {
        volumes_free(vs);
        return r;
    }
    *ret = vs;
    return 0;
}

struct volumes *volumes_free(struct volumes *vs) {
    if (!vs)
        return NULL;
    for (struct map_entry *i = NULL; (i = map_next(&vs->by_name, i));)
        volume_unref(i->value);
    map_done(&vs->by_name);
    map_done(&vs->scopes);
    plugins_free(vs->plugins);
    pthread_mutex_destroy(&vs->lock);
    pthread_cond_destroy(&vs->changed);
    free(vs->root);
    free(vs);
    return NULL;
}
