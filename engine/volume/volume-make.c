// SPDX-License-Identifier: Apache-2.0
/* Making a volume: its place among the others first, busy, so that nobody else makes it; then its record and folders, or the plugin's part. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/idmap.h"
#include "base/str.h"
#include "plugin/client.h"
#include "volume/volume-internal.h"

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

int volume_fill_record(struct volumes *vs, const struct volume_request *req, bool anonymous, struct api_volume *r, struct err *e) {
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

int volume_remove_folders(struct volumes *vs, const char *name, struct err *e) {
    _cleanup_free_ char *dir = str_printf("%s/%s", vs->root, name);
    int r = dir ? volume_limit_drop(vs, name, e) : err_oom(e);

    return r < 0 ? r : fs_remove_tree(dir, e);
}

/* What was made of a volume that will not be: only what is empty. */
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
        r = volume_fill_record(vs, req, anonymous, &v->record, e);
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
