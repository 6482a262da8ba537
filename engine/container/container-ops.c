// SPDX-License-Identifier: Apache-2.0
/* The HTTP face of create and of the life cycle. */
#include <signal.h>
#include <strings.h>

#include "api-handlers.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/create.h"
#include "container/life.h"
#include "container/links.h"
#include "container/validate.h"
#include "wire/call.h"

static struct containers *all_of(struct call *call) {
    return call_engine(call)->containers;
}

static int find(struct call *call, struct container **ret, struct err *e) {
    return containers_find(all_of(call), call_path(call, "id"), ret, e);
}

/* ---- create ------------------------------------------------------------------------------------------------------------------------ */
/* The reference knows a body without any part of a configuration from an empty configuration. */
static bool has_config(json_t *body) {
    const char *key;
    json_t *v;

    json_object_foreach(body, key, v) {
        if (strcasecmp(key, "HostConfig") != 0 && strcasecmp(key, "NetworkingConfig") != 0)
            return true;
    }
    return false;
}

static void fill_number(int64_t *to, bool *has, int64_t from) {
    if (*to == 0 && from != 0) {
        *to = from;
        *has = true;
    }
}

static void fill_text(char **to, char **from) {
    if (str_empty(*to) && !str_empty(*from)) {
        free(*to);
        *to = TAKE_PTR(*from);
    }
}

/*
 * Before there was a HostConfig its fields were beside those of the configuration, and they still may be: all of them without a HostConfig, and a few that
 * fill what it leaves open.
 */
static int read_old_host(json_t *body, bool has_host, struct api_host_config *host, struct err *e) {
    struct api_host_config old = {0};
    const char *key;
    json_t *v, *cpuset = NULL;
    int r = api_host_config_read(&old, body, NULL, e);

    if (r >= 0 && !has_host) {
        *host = old;
        old = (struct api_host_config){0};
    } else if (r >= 0) {
        fill_number(&host->memory, &host->has_memory, old.memory);
        fill_number(&host->memory_swap, &host->has_memory_swap, old.memory_swap);
        fill_number(&host->cpu_shares, &host->has_cpu_shares, old.cpu_shares);
        fill_text(&host->cpuset_cpus, &old.cpuset_cpus);
        fill_text(&host->volume_driver, &old.volume_driver);
    }
    api_host_config_done(&old);
    /* The oldest name of CpusetCpus. */
    json_object_foreach(body, key, v) {
        if (strcasecmp(key, "Cpuset") == 0 && !json_is_null(v))
            cpuset = v;
    }
    if (r >= 0 && cpuset && !json_is_string(cpuset))
        return err_set(e, ERR_INVALID, "invalid JSON: json: cannot unmarshal %s into Go struct field ContainerConfigWrapper.Cpuset of type string",
                       codec_word(cpuset));
    if (r >= 0 && cpuset && str_empty(host->cpuset_cpus)) {
        free(host->cpuset_cpus);
        host->cpuset_cpus = strdup(json_string_value(cpuset));
        r = host->cpuset_cpus ? 0 : err_oom(e);
    }
    return r;
}

static int read_body(json_t *body, int version, struct ctr_create *req, struct err *e) {
    struct api_container_create_request full = {0};
    int r = api_container_create_request_read(&full, body, NULL, e);

    if (r >= 0)
        r = api_container_config_read(&req->config, body, NULL, e);
    if (r >= 0 && full.host_config) {
        req->host = *full.host_config;
        *full.host_config = (struct api_host_config){0};
    }
    if (r >= 0)
        r = read_old_host(body, full.host_config != NULL, &req->host, e);
    if (r >= 0 && full.networking_config) {
        req->networking = *full.networking_config;
        *full.networking_config = (struct api_networking_config){0};
    }
    api_container_create_request_done(&full);
    return r < 0 ? r : ctr_create_as_of(req, version, e);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Clients before 1.44 do not know that a container can be made on several networks at once. */
static int check_one_network(const struct api_endpoint_settings_map *m, struct err *e) {
    _cleanup_strv_ struct strv names = STRV_INIT;
    _cleanup_free_ char *text = NULL;

    for (size_t i = 0; i < m->n; i++)
        if (strv_add(&names, m->v[i].key) < 0)
            return err_oom(e);
    if (names.n < 2)
        return 0;
    qsort(names.v, names.n, sizeof(*names.v), by_text);
    text = strv_join(&names, ", ");
    return text ? err_set(e, ERR_INVALID, "Container cannot be created with multiple network endpoints: %s", text) : err_oom(e);
}

static int reply_created(struct call *call, const char *id, struct strv *warnings, struct err *e) {
    struct api_container_create_response res = {.id = (char *)id};
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JSON_BODY);
    int r;

    res.warnings.v = warnings->v;
    res.warnings.n = warnings->n;
    res.warnings.set = true;
    r = api_container_create_response_write(&res, call_api_version(call), &b, e);
    return r < 0 ? r : call_reply(call, 201, &b, e);
}

#define OLD_MAC "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."

int op_container_create(struct call *call, struct err *e) {
    _cleanup_(q_container_create_done) struct q_container_create q = {0};
    _cleanup_(ctr_create_done) struct ctr_create req = {0};
    _cleanup_strv_ struct strv warnings = STRV_INIT;
    _cleanup_container_ struct container *c = NULL;
    json_t *body = NULL;
    bool old_mac = false;
    int r = q_container_create_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = call_json(call, &body, e);
    if (r >= 0 && !body)
        r = err_set(e, ERR_INVALID, "invalid JSON: got EOF while reading request body");
    if (r >= 0) {
        req.name = q.name;
        req.platform = q.platform;
        req.no_config = !json_is_object(body) ? json_is_null(body) : !has_config(body);
        if (!req.no_config || json_is_object(body))
            r = read_body(body, call_api_version(call), &req, e);
    }
    json_decref(body);
    if (r >= 0 && call_api_version(call) < 144)
        r = check_one_network(&req.networking.endpoints_config, e);
    if (r >= 0)
        r = ctr_name_default_network(&req.networking, req.host.network_mode, e);
    if (r >= 0)
        r = ctr_mac_settle(&req, call_api_version(call), &old_mac, e);
    if (r >= 0)
        r = containers_create(all_of(call), &req, &warnings, &c, e);
    if (r >= 0 && old_mac && strv_add(&warnings, OLD_MAC) < 0)
        r = err_oom(e);
    return r < 0 ? r : reply_created(call, container_id(c), &warnings, e);
}

/* ---- start, stop, restart, kill ------------------------------------------------------------------------------------------------------ */
/* Checkpoints are an experiment of the reference, which refuses them where it is not asked for experiments. */
static int refuse_checkpoint_dir(struct container *c, const char *dir, struct err *e) {
    _cleanup_view_ struct ctr_view *v = container_view(c);

    return str_empty(dir) || ctr_state_alive(v->state) ? 0 : err_set(e, ERR_FORBIDDEN, "custom checkpointdir is not supported");
}

int op_container_start(struct call *call, struct err *e) {
    _cleanup_(q_container_start_done) struct q_container_start q = {0};
    _cleanup_container_ struct container *c = NULL;
    int64_t length = call_body_length(call);
    int r;

    /* Seven bytes are room for "null" and the like of very old clients. */
    if (length > 7 || length < 0)
        return err_set(e, ERR_INVALID, "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24");
    r = q_container_start_read(&q, call_query(call), call_api_version(call), e);
    if (r < 0)
        return r;
    if (!str_empty(q.checkpoint))
        return err_set(e, ERR_INVALID, "checkpoint is only supported in experimental mode");
    r = find(call, &c, e);
    if (r >= 0)
        r = refuse_checkpoint_dir(c, q.checkpoint_dir, e);
    if (r >= 0)
        r = container_start(c, e);
    return r < 0 ? r : call_reply_empty(call, 204);
}

static int stop_args(const char *signal, bool has_t, int64_t t, const char *ref, const char *verb, int *ret_signal, int64_t *ret_timeout,
                     struct err *e) {
    *ret_signal = 0;
    *ret_timeout = has_t ? t : CTR_TIMEOUT_OWN;
    if (str_empty(signal))
        return 0;
    *ret_signal = ctr_signal_parse(signal);
    if (*ret_signal < 0)
        return err_set(e, ERR_INTERNAL, "%s container%s %s: invalid signal: %s", verb, *verb == 'c' ? ":" : "", ref, signal);
    return 0;
}

int op_container_stop(struct call *call, struct err *e) {
    _cleanup_(q_container_stop_done) struct q_container_stop q = {0};
    _cleanup_container_ struct container *c = NULL;
    _cleanup_view_ struct ctr_view *v = NULL;
    int64_t timeout;
    int sig, r = q_container_stop_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = find(call, &c, e);
    /* A container that does not run is stopped already, whatever the signal. */
    v = r >= 0 ? container_view(c) : NULL;
    if (v && !ctr_state_alive(v->state))
        return err_set(e, ERR_NOT_MODIFIED, "container is already stopped");
    if (r >= 0)
        r = stop_args(q.signal, q.has_t, q.t, call_path(call, "id"), "cannot stop", &sig, &timeout, e);
    if (r >= 0)
        r = container_stop(c, sig, timeout, e);
    return r < 0 ? r : call_reply_empty(call, 204);
}

int op_container_restart(struct call *call, struct err *e) {
    _cleanup_(q_container_restart_done) struct q_container_restart q = {0};
    _cleanup_container_ struct container *c = NULL;
    _cleanup_view_ struct ctr_view *v = NULL;
    int64_t timeout;
    int sig, r = q_container_restart_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = find(call, &c, e);
    if (r >= 0)
        v = container_view(c);
    if (r >= 0) /* what does not run is not sent anything */
        r = stop_args(ctr_state_alive(v->state) ? q.signal : NULL, q.has_t, q.t, call_path(call, "id"), "Cannot restart", &sig, &timeout, e);
    if (r >= 0) {
        r = container_restart(c, sig, timeout, e);
        if (r < 0) { /* a failure of ours whatever it is, unlike that of a start */
            err_wrap(e, "Cannot restart container %s", call_path(call, "id"));
            e->kind = ERR_INTERNAL;
            return -(int)ERR_INTERNAL;
        }
    }
    return r < 0 ? r : call_reply_empty(call, 204);
}

int op_container_kill(struct call *call, struct err *e) {
    _cleanup_(q_container_kill_done) struct q_container_kill q = {0};
    _cleanup_container_ struct container *c = NULL;
    const char *ref = call_path(call, "id");
    int sig = SIGKILL, r = q_container_kill_read(&q, call_query(call), call_api_version(call), e);
    int64_t n;

    if (r < 0)
        return r;
    if (!str_empty(q.signal)) {
        sig = ctr_signal_parse(q.signal);
        if (sig < 0 && parse_i64(q.signal, &n) == 0 && n != 0)
            return err_set(e, ERR_INVALID, "cannot kill container: %s: the linux daemon does not support signal %s", ref, q.signal);
        if (sig < 0)
            return err_set(e, ERR_INVALID, "cannot kill container: %s: invalid signal: %s", ref, q.signal);
    }
    r = find(call, &c, e);
    if (r >= 0)
        r = container_kill(c, sig, e);
    if (r < 0)
        return err_wrap(e, "cannot kill container: %s", ref);
    return call_reply_empty(call, 204);
}

int op_container_pause(struct call *call, struct err *e) {
    _cleanup_container_ struct container *c = NULL;
    int r = find(call, &c, e);

    if (r >= 0)
        r = container_pause(c, e);
    return r < 0 ? r : call_reply_empty(call, 204);
}

int op_container_unpause(struct call *call, struct err *e) {
    _cleanup_container_ struct container *c = NULL;
    int r = find(call, &c, e);

    if (r >= 0)
        r = container_unpause(c, e);
    return r < 0 ? r : call_reply_empty(call, 204);
}

/* ---- rename, resize, delete ------------------------------------------------------------------------------------------------------------ */
int op_container_rename(struct call *call, struct err *e) {
    _cleanup_(q_container_rename_done) struct q_container_rename q = {0};
    _cleanup_container_ struct container *c = NULL;
    int r = q_container_rename_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0 && str_empty(q.name))
        r = err_set(e, ERR_INVALID, "Neither old nor new names may be empty");
    if (r >= 0)
        r = find(call, &c, e);
    if (r >= 0)
        r = container_rename_op(c, q.name ? q.name : "", e);
    return r < 0 ? r : call_reply_empty(call, 204);
}

int op_container_resize(struct call *call, struct err *e) {
    _cleanup_(q_container_resize_done) struct q_container_resize q = {0};
    _cleanup_container_ struct container *c = NULL;
    int r = q_container_resize_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = find(call, &c, e);
    if (r >= 0)
        r = container_resize(c, (int)q.h, (int)q.w, e);
    return r < 0 ? r : call_reply_empty(call, 200);
}

int op_container_delete(struct call *call, struct err *e) {
    _cleanup_(q_container_delete_done) struct q_container_delete q = {0};
    _cleanup_container_ struct container *c = NULL;
    int r = q_container_delete_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0 && q.link) {
        r = ctr_links_remove(all_of(call), call_path(call, "id"), e);
        return r < 0 ? r : call_reply_empty(call, 204);
    }
    if (r >= 0)
        r = find(call, &c, e);
    if (r >= 0)
        r = container_remove(c, q.force, q.v, e);
    return r < 0 ? r : call_reply_empty(call, 204);
}
