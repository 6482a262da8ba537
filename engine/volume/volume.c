// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
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
    _cleanup_buf_ struct buf quoted = BUF_INIT(4 * n + 8);
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
    if (good)
        return 0;
    buf_add_quoted(&quoted, name);
    return err_set(e, ERR_INVALID,
                   "%s includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you "
                   "intended to pass a host directory, use absolute path",
                   buf_str(&quoted));
}

void volume_settle_record(struct volume *v) {
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

/* ---- removing ---------------------------------------------------------------------------------------------------------------------- */

static int remove_on_disk(struct volumes *vs, struct volume *v, struct err *e) {
    int64_t intent = 0;
    int r = intent_begin(vs->engine->db, "volume.remove", v->record.name, NULL, &intent, e);

    if (r == 0)
        r = volume_store_remove(vs, v->record.name, e);
    if (r == 0)
        r = volume_remove_folders(vs, v->record.name, e);
    return r < 0 ? r : intent_done(vs->engine->db, intent, e);
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
    int r;

    if (volume_check_name(it->key, NULL) < 0)
        return 1;
    r = volume_store_remove(vs, it->key, e);
    if (r == 0)
        r = volume_remove_folders(vs, it->key, e);
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
        r = str_set(&record.name, ent->d_name) < 0 ? err_oom(e) : volume_fill_record(vs, &none, false, &record, e);
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
