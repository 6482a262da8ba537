// SPDX-License-Identifier: Apache-2.0
#include "daemon/reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "daemon/startup.h"
#include "image/image.h"
#include "registry/registry.h"
#include "system/events.h"
#include "wire/codec.h"

struct reloaded {
    struct reloaded *next;
    struct options options;      /* owns the values that are new */
    struct engine_config config; /* these, and the rest from before */
};

/* ---- the new configuration -------------------------------------------------------------------------------------------------------- */

static bool is_set(const struct options *o, const char *name) {
    return map_has(&o->from_file, name) || map_has(&o->from_flag, name);
}

static void merge(struct engine_config *c, const struct options *o) {
    const struct engine_config *n = &o->config;

    c->max_concurrent_downloads = n->max_concurrent_downloads;
    c->max_concurrent_uploads = n->max_concurrent_uploads;
    c->max_download_attempts = n->max_download_attempts;
    if (is_set(o, "debug"))
        c->debug = n->debug;
    if (is_set(o, "log-level"))
        c->log_level = n->log_level;
    if (is_set(o, "labels") || is_set(o, "label"))
        c->labels = n->labels;
    if (is_set(o, "insecure-registries") || is_set(o, "insecure-registry"))
        c->insecure_registries = n->insecure_registries;
    if (is_set(o, "registry-mirrors") || is_set(o, "registry-mirror"))
        c->registry_mirrors = n->registry_mirrors;
    if (is_set(o, "live-restore"))
        c->live_restore = n->live_restore;
    if (is_set(o, "shutdown-timeout"))
        c->shutdown_timeout = n->shutdown_timeout;
    if (is_set(o, "default-shm-size"))
        c->default_shm_size = n->default_shm_size;
    if (is_set(o, "default-ipc-mode"))
        c->default_ipc_mode = n->default_ipc_mode;
    if (is_set(o, "default-cgroupns-mode"))
        c->default_cgroupns_mode = n->default_cgroupns_mode;
    if (is_set(o, "runtimes") || is_set(o, "add-runtime")) {
        c->runtimes = n->runtimes;
        c->n_runtimes = n->n_runtimes;
    }
    if (is_set(o, "default-runtime"))
        c->default_runtime = n->default_runtime;
    /* Without the key the policy stays: to take a guard away takes a restart. */
    if (is_set(o, "signature-policy"))
        c->signature_policy = n->signature_policy;
    if (is_set(o, "features"))
        c->features = n->features;
}

/* ---- the event ---------------------------------------------------------------------------------------------------------------------- */

static void add_text(struct strv *attrs, const char *name, const char *value) {
    ignore_result(strv_addf(attrs, "%s=%s", name, value ? value : ""));
}

static void add_number(struct strv *attrs, const char *name, int64_t value) {
    ignore_result(strv_addf(attrs, "%s=%lld", name, (long long)value));
}

static void add_list(struct strv *attrs, const char *name, const struct strv *list) {
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);

    for (size_t i = 0; i < list->n; i++) {
        buf_addc(&b, i ? ',' : '[');
        codec_add_string(&b, list->v[i], false);
    }
    buf_adds(&b, list->n ? "]" : "[]");
    add_text(attrs, name, buf_str(&b));
}

static void add_runtimes(struct strv *attrs, const struct engine_config *c) {
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);

    for (size_t i = 0; i < c->n_runtimes; i++)
        buf_addf(&b, "%s%s:%s", i ? " " : "", c->runtimes[i].name, c->runtimes[i].path ? c->runtimes[i].path : c->runtimes[i].type);
    add_text(attrs, "runtimes", buf_str(&b));
}

static void tell(const struct daemon_state *d, const struct engine_config *c) {
    static const struct strv none = STRV_INIT;
    _cleanup_strv_ struct strv attrs = STRV_INIT;
    char name[256] = "";

    gethostname(name, sizeof(name) - 1);
    add_list(&attrs, "allow-nondistributable-artifacts", &none);
    add_text(&attrs, "debug", c->debug ? "true" : "false");
    add_text(&attrs, "default-cgroupns-mode", str_empty(c->default_cgroupns_mode) ? "host" : c->default_cgroupns_mode);
    add_text(&attrs, "default-ipc-mode", str_empty(c->default_ipc_mode) ? "private" : c->default_ipc_mode);
    add_text(&attrs, "default-runtime", str_empty(c->default_runtime) ? "runc" : c->default_runtime);
    add_number(&attrs, "default-shm-size", c->default_shm_size);
    add_text(&attrs, "features", "map[]");
    add_list(&attrs, "insecure-registries", &c->insecure_registries);
    add_list(&attrs, "labels", &c->labels);
    add_text(&attrs, "live-restore", c->live_restore ? "true" : "false");
    add_number(&attrs, "max-concurrent-downloads", c->max_concurrent_downloads);
    add_number(&attrs, "max-concurrent-uploads", c->max_concurrent_uploads);
    add_number(&attrs, "max-download-attempts", c->max_download_attempts);
    add_text(&attrs, "name", name);
    add_list(&attrs, "registry-mirrors", &c->registry_mirrors);
    add_runtimes(&attrs, c);
    add_number(&attrs, "shutdown-timeout", c->shutdown_timeout);
    events_publish(d->engine.events, "daemon", "reload", d->engine.id, &attrs);
}

/* ---- reading ------------------------------------------------------------------------------------------------------------------------ */

static void apply_log_level(const struct engine_config *c) {
    enum log_level level = LOG_LVL_INFO;

    log_level_parse(c->log_level, &level);
    log_set_level(c->debug ? LOG_LVL_DEBUG : level);
}

void reload_now(struct reload *r) {
    struct engine *engine = &r->daemon->engine;
    struct reloaded *next = calloc(1, sizeof(*next));
    _cleanup_err_ struct err e = ERR_INIT;
    int ret = next ? options_init(&next->options, &e) : err_oom(&e);

    log_kv(LOG_LVL_INFO, "Got signal to reload configuration", "file", r->first->config.config_file, NULL);
    if (ret < 0) {
        free(next);
        return;
    }
    /* The command line as well: what stands there may not stand in the file. */
    ret = options_parse_argv(&next->options, r->argc, r->argv, &e);
    if (ret == 0)
        ret = options_load_file(&next->options, &e);
    if (ret == 0)
        ret = options_validate(&next->options, &e);
    if (ret == 0) {
        next->config = *engine->config;
        merge(&next->config, &next->options);
        ret = startup_check_runtimes(&next->config, &e);
    }
    if (ret == 0)
        ret = images_load_policy(engine->images, next->config.signature_policy, &e);
    if (ret < 0) {
        log_kv(LOG_LVL_ERROR, "the configuration was not reloaded", "error", err_msg(&e), NULL);
        options_done(&next->options);
        free(next);
        return;
    }
    next->next = r->all;
    r->all = next;
    engine->config = &next->config;
    registry_set_config(engine->registry, &next->config);
    apply_log_level(&next->config);
    log_kv(LOG_LVL_INFO, "Reloaded configuration", NULL);
    tell(r->daemon, &next->config);
}

void reload_done(struct reload *r) {
    while (r->all) {
        struct reloaded *one = r->all;

        r->all = one->next;
        options_done(&one->options);
        free(one);
    }
}
