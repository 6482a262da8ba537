// SPDX-License-Identifier: Apache-2.0
/*
 * Volumes that a plugin keeps: what it is asked, and when. The engine's record says only which plugin has the volume, and with what labels and options it was
 * made; whether it exists, where it is mounted and what else there is to say of it is the plugin's to know. docs.docker.com/engine/extend/plugins_volume.
 */
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "plugin/client.h"
#include "volume/volume-internal.h"

#define INTERFACE "VolumeDriver"
#define LONG_SECONDS 120 /* create, mount */
#define SHORT_SECONDS 60

const char volume_no_time[] = "0001-01-01T00:00:00Z";

void volume_facts_done(struct volume_facts *f) {
    free(f->mountpoint);
    free(f->created);
    json_decref(f->status);
    *f = (struct volume_facts){0};
}

int volume_driver_find(struct volumes *vs, const char *driver, bool patient, struct plugin **ret, struct err *e) {
    int r = plugins_get(vs->plugins, driver, INTERFACE, patient, ret, e);

    return r < 0 ? err_wrap(e, "error looking up volume plugin %s", driver) : 0;
}

/* A call about one volume. */
static int call(struct plugin *p, const char *method, const char *name, const char *key, json_t *more, unsigned seconds, json_t **ret,
                struct err *e) {
    json_t *body = json_pack("{s:s}", "Name", name);
    int r;

    if (body && key)
        json_object_set(body, key, more);
    r = body ? plugin_call(p, method, body, seconds, true, ret, e) : err_oom(e);
    json_decref(body);
    return r;
}

const char *volume_driver_scope(struct plugin *p) {
    json_t *reply = NULL, *body = json_object();
    bool global;

    /* Older plugins have no such call: they are local. */
    ignore_result(plugin_call(p, INTERFACE ".Capabilities", body, SHORT_SECONDS, false, &reply, NULL) < 0);
    json_decref(body);
    global = strcasecmp(json_string_value(json_object_get(json_object_get(reply, "Capabilities"), "Scope")) ?: "", "global") == 0;
    json_decref(reply);
    return global ? "global" : "local";
}

static int take_facts(const json_t *volume, struct volume_facts *ret, struct err *e) {
    const char *created = json_string_value(json_object_get(volume, "CreatedAt"));
    char text[CLOCK_TEXT_MAX];
    int64_t at = 0;

    if (created && clock_parse(created, &at, NULL) == 0) {
        clock_format(at / NSEC_PER_SEC * NSEC_PER_SEC, text);
        created = text;
    } else {
        created = volume_no_time;
    }
    if (str_set(&ret->mountpoint, json_string_value(json_object_get(volume, "Mountpoint")) ?: "") < 0 || str_set(&ret->created, created) < 0)
        return err_oom(e);
    json_decref(ret->status);
    ret->status = json_incref(json_object_get(volume, "Status"));
    return 0;
}

int volume_driver_get(struct plugin *p, const char *name, struct volume_facts *ret, struct err *e) {
    _cleanup_err_ struct err why = ERR_INIT;
    json_t *reply = NULL, *volume;
    int r = call(p, INTERFACE ".Get", name, NULL, NULL, SHORT_SECONDS, &reply, &why);

    if (r == -ERR_UNAVAILABLE || r == -ERR_DEADLINE) {
        err_move(e, &why);
        err_wrap(e, "error while checking if volume \"%s\" exists in driver \"%s\"", name, plugin_name(p));
        if (e)
            e->kind = ERR_INTERNAL;
        return -ERR_INTERNAL;
    }
    /* Whatever else it says: it does not have it. */
    volume = r == 0 ? json_object_get(reply, "Volume") : NULL;
    r = json_is_object(volume) ? take_facts(volume, ret, e) : err_set(e, ERR_NOT_FOUND, "no such volume");
    json_decref(reply);
    return r;
}

int volume_driver_create(struct plugin *p, const struct api_volume *record, struct err *e) {
    json_t *opts = record->options.set || record->options.n ? json_object() : json_null();
    int r;

    for (size_t i = 0; i < record->options.n; i++)
        json_object_set_new(opts, record->options.v[i].key, json_string(record->options.v[i].value ? record->options.v[i].value : ""));
    r = call(p, INTERFACE ".Create", record->name, "Opts", opts, LONG_SECONDS, NULL, e);
    json_decref(opts);
    if (r < 0 && e)
        e->kind = ERR_INTERNAL;
    return r;
}

int volume_driver_remove(struct plugin *p, const char *name, struct err *e) {
    return call(p, INTERFACE ".Remove", name, NULL, NULL, SHORT_SECONDS, NULL, e);
}

int volume_driver_path(struct plugin *p, const char *name, char **ret, struct err *e) {
    json_t *reply = NULL;
    int r = call(p, INTERFACE ".Path", name, NULL, NULL, SHORT_SECONDS, &reply, e);

    if (r == 0) {
        *ret = strdup(json_string_value(json_object_get(reply, "Mountpoint")) ?: "");
        r = *ret ? 0 : err_oom(e);
    }
    json_decref(reply);
    return r;
}

int volume_driver_mount(struct plugin *p, const char *name, const char *id, char **ret, struct err *e) {
    json_t *reply = NULL, *jid = json_string(id);
    int r = jid ? call(p, INTERFACE ".Mount", name, "ID", jid, LONG_SECONDS, &reply, e) : err_oom(e);

    if (r == 0) {
        *ret = strdup(json_string_value(json_object_get(reply, "Mountpoint")) ?: "");
        r = *ret ? 0 : err_oom(e);
        /* Some only tell it by Path. */
        if (r == 0 && !**ret) {
            free(*ret);
            *ret = NULL;
            r = volume_driver_path(p, name, ret, e);
        }
        if (r == 0 && **ret != '/') {
            r = err_set(e, ERR_INTERNAL, "the plugin names no mount point");
            free(*ret);
            *ret = NULL;
        }
    }
    json_decref(jid);
    json_decref(reply);
    return r;
}

int volume_driver_unmount(struct plugin *p, const char *name, const char *id, struct err *e) {
    json_t *jid = json_string(id);
    int r = jid ? call(p, INTERFACE ".Unmount", name, "ID", jid, SHORT_SECONDS, NULL, e) : err_oom(e);

    json_decref(jid);
    return r;
}

int volume_driver_probe(struct volumes *vs, const char *name, struct plugin **ret, struct volume_facts *ret_facts, struct err *e) {
    struct plugin **all = NULL;
    size_t n = 0;
    int r = plugins_all(vs->plugins, INTERFACE, &all, &n, e);
    bool found = false;

    for (size_t i = 0; r == 0 && i < n && !found; i++) {
        json_t *body = json_pack("{s:s}", "Name", name), *reply = NULL, *volume;

        /* Impatient: a plugin that is gone must not hold up questions about volumes of others. */
        if (body && plugin_call(all[i], INTERFACE ".Get", body, SHORT_SECONDS, false, &reply, NULL) == 0) {
            volume = json_object_get(reply, "Volume");
            found = json_is_object(volume) && take_facts(volume, ret_facts, e) == 0;
        }
        json_decref(body);
        json_decref(reply);
        if (found)
            *ret = all[i];
    }
    free(all);
    return r < 0 ? r : found;
}

static bool known_elsewhere(struct volumes *vs, const char *name, const char *driver, struct volume **ret) {
    struct volume *v;

    pthread_mutex_lock(&vs->lock);
    v = map_get(&vs->by_name, name);
    *ret = v && !v->busy ? volume_ref(v) : NULL;
    pthread_mutex_unlock(&vs->lock);
    return *ret && !streq((*ret)->record.driver, driver);
}

static int list_one(struct volumes *vs, const struct plugin *p, const char *scope, const json_t *item, struct api_volume_list *ret, struct err *e) {
    _cleanup_(volume_facts_done) struct volume_facts facts = {0};
    const char *name = json_string_value(json_object_get(item, "Name"));
    struct volume *v = NULL;
    struct api_volume *out;
    int r = 0;

    if (str_empty(name) || known_elsewhere(vs, name, p ? plugin_name(p) : "", &v)) {
        volume_unref(v);
        return 0;
    }
    out = api_volume_list_add(ret);
    r = out ? take_facts(item, &facts, e) : err_oom(e);
    if (r == 0 && v)
        r = volume_describe(v, out, e);
    volume_unref(v);
    if (r == 0 && (str_set(&out->name, name) < 0 || str_set(&out->driver, plugin_name(p)) < 0 || str_set(&out->scope, scope) < 0 ||
                   str_set(&out->mountpoint, facts.mountpoint) < 0 || str_set(&out->created_at, facts.created) < 0))
        r = err_oom(e);
    return r;
}

/* The plugin does not tell: what we know of its volumes. */
static int list_known(struct volumes *vs, const char *driver, struct api_volume_list *ret, struct err *e) {
    struct volume **all = NULL;
    size_t n = 0;
    int r = volumes_all(vs, &all, &n, e);

    for (size_t i = 0; i < n; i++) {
        if (r == 0 && streq(all[i]->record.driver, driver)) {
            struct api_volume *out = api_volume_list_add(ret);

            r = out ? volume_describe(all[i], out, e) : err_oom(e);
        }
        volume_unref(all[i]);
    }
    free(all);
    return r;
}

int volume_driver_list(struct volumes *vs, struct api_volume_list *ret, struct api_string_list *warnings, struct err *e) {
    struct plugin **all = NULL;
    size_t n = 0;
    int r = plugins_all(vs->plugins, INTERFACE, &all, &n, e);

    for (size_t i = 0; r == 0 && i < n; i++) {
        _cleanup_err_ struct err why = ERR_INIT;
        json_t *reply = NULL, *body = json_object(), *item;
        size_t k;

        if (plugin_call(all[i], INTERFACE ".List", body, SHORT_SECONDS, false, &reply, &why) < 0) {
            _cleanup_free_ char *text = str_printf("list %s: %s", plugin_name(all[i]), err_msg(&why));

            r = text ? api_string_list_add(warnings, text, e) : err_oom(e);
            if (r == 0)
                r = list_known(vs, plugin_name(all[i]), ret, e);
        } else {
            const char *scope = volume_scope_of(vs, all[i]);

            json_array_foreach(json_object_get(reply, "Volumes"), k, item) {
                if (r == 0)
                    r = list_one(vs, all[i], scope, item, ret, e);
            }
        }
        json_decref(body);
        json_decref(reply);
    }
    free(all);
    return r;
}

const char *volume_scope_of(struct volumes *vs, struct plugin *p) {
    const char *scope;

    pthread_mutex_lock(&vs->lock);
    scope = map_get(&vs->scopes, plugin_name(p));
    pthread_mutex_unlock(&vs->lock);
    if (scope)
        return scope;
    scope = volume_driver_scope(p);
    pthread_mutex_lock(&vs->lock);
    ignore_result(map_set(&vs->scopes, plugin_name(p), (void *)scope, NULL) < 0);
    pthread_mutex_unlock(&vs->lock);
    return scope;
}
