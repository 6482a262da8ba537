// SPDX-License-Identifier: Apache-2.0
/*
 * The replies of /info and /version. Field by field they say what this engine has; where the reference names components that do not exist
 * here (containerd, runc), ours stand in their place. Sections: small helpers; info, part by part; version.
 */
#include "system/system.h"

#include <dirent.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/engine.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/container.h"
#include "image/image.h"
#include "layers/layers.h"
#include "system/events.h"
#include "types.h"

#define API_VERSION "1.45"
#define API_VERSION_MIN "1.24"

/* ---- small helpers ---------------------------------------------------------------------------------------------------------- */

static int add_all(struct api_string_list *l, const char *const *names, size_t n, struct err *e) {
    int r = 0;

    l->set = true;
    for (size_t i = 0; i < n && r == 0; i++)
        r = api_string_list_add(l, names[i], e);
    return r;
}

static int add_strv(struct api_string_list *l, const struct strv *from, struct err *e) {
    return add_all(l, (const char *const *)from->v, from->n, e);
}

static int text(char **slot, const char *s, struct err *e) {
    return str_set(slot, s ? s : "") < 0 ? err_oom(e) : 0;
}

#define FLAG(x, name, value) ((x)->name = (value), (x)->has_##name = true)

/* Since Linux 6.2 the size of the folder is the number of its entries; before, they are counted. */
static int64_t count_fds(void) {
    _cleanup_closedir_ DIR *d = NULL;
    struct stat st;
    int64_t n = 0;

    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return st.st_size;
    d = opendir("/proc/self/fd");
    while (d && readdir(d))
        n++;
    return MAX(n - 2, 0);
}

/* ---- info ---------------------------------------------------------------------------------------------------------------------- */

static int info_driver(struct engine *engine, struct api_system_info *ret, struct err *e) {
    _cleanup_strv_ struct strv pairs = STRV_INIT;
    int r = layers_driver_status(engine->layers, &pairs, e);

    if (r < 0)
        return r;
    r = text(&ret->driver, layers_driver_name(engine->layers), e);
    ret->driver_status.v = calloc(pairs.n / 2 + 1, sizeof(*ret->driver_status.v));
    if (r < 0 || !ret->driver_status.v)
        return r < 0 ? r : err_oom(e);
    ret->driver_status.set = pairs.n > 0; /* null for a driver with nothing to say */
    for (size_t i = 0; i + 1 < pairs.n; i += 2) {
        r = add_all(&ret->driver_status.v[ret->driver_status.n++], (const char *const *)pairs.v + i, 2, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int info_plugins(struct api_system_info *ret, struct err *e) {
    static const char *const volume[] = {"local"}, *const network[] = {"bridge", "host", "ipvlan", "macvlan", "null"};
    static const char *const log[] = {"fluentd", "gelf", "journald", "json-file", "local", "syslog"};
    struct api_plugins_info *p = ret->plugins = calloc(1, sizeof(*p));
    int r;

    if (!p)
        return err_oom(e);
    r = add_all(&p->volume, volume, ELEMENTSOF(volume), e);
    if (r == 0)
        r = add_all(&p->network, network, ELEMENTSOF(network), e);
    return r < 0 ? r : add_all(&p->log, log, ELEMENTSOF(log), e);
}

static int info_kernel(const struct system_facts *f, struct api_system_info *ret, struct err *e) {
    int r;

    FLAG(ret, memory_limit, f->memory_limit);
    FLAG(ret, swap_limit, f->swap_limit);
    FLAG(ret, kernel_memory, f->kernel_memory);
    FLAG(ret, kernel_memory_tcp, f->kernel_memory_tcp);
    FLAG(ret, cpu_cfs_period, f->cpu_cfs_period);
    FLAG(ret, cpu_cfs_quota, f->cpu_cfs_quota);
    FLAG(ret, cpu_shares, f->cpu_shares);
    FLAG(ret, cpu_set, f->cpu_set);
    FLAG(ret, pids_limit, f->pids_limit);
    FLAG(ret, oom_kill_disable, f->oom_kill_disable);
    FLAG(ret, ipv4_forwarding, f->ipv4_forwarding);
    FLAG(ret, bridge_nf_iptables, f->bridge_nf_iptables);
    FLAG(ret, bridge_nf_ip6tables, f->bridge_nf_ip6tables);
    r = text(&ret->cgroup_driver, "cgroupfs", e);
    return r < 0 ? r : text(&ret->cgroup_version, f->unified ? "2" : "1", e);
}

/* What clients warn their users of, in the reference's order. */
static int info_warnings(const struct system_facts *f, struct api_system_info *ret, struct err *e) {
    const struct {
        bool lacking;
        const char *text;
    } all[] = {
        {!f->memory_limit, "WARNING: No memory limit support"},
        {!f->swap_limit, "WARNING: No swap limit support"},
        {!f->unified && !f->kernel_memory_tcp, "WARNING: No kernel memory TCP limit support"},
        {!f->unified && !f->oom_kill_disable, "WARNING: No oom kill disable support"},
        {!f->cpu_cfs_quota, "WARNING: No cpu cfs quota support"},
        {!f->cpu_cfs_period, "WARNING: No cpu cfs period support"},
        {!f->cpu_shares, "WARNING: No cpu shares support"},
        {!f->cpu_set, "WARNING: No cpuset support"},
        {f->unified && !f->io, "WARNING: No io.weight support"},
        {f->unified && !f->io, "WARNING: No io.weight (per device) support"},
        {!f->io, f->unified ? "WARNING: No io.max (rbps) support" : "WARNING: No blkio throttle.read_bps_device support"},
        {!f->io, f->unified ? "WARNING: No io.max (wbps) support" : "WARNING: No blkio throttle.write_bps_device support"},
        {!f->io, f->unified ? "WARNING: No io.max (riops) support" : "WARNING: No blkio throttle.read_iops_device support"},
        {!f->io, f->unified ? "WARNING: No io.max (wiops) support" : "WARNING: No blkio throttle.write_iops_device support"},
        {!f->ipv4_forwarding, "WARNING: IPv4 forwarding is disabled"},
        {!f->bridge_nf_iptables, "WARNING: bridge-nf-call-iptables is disabled"},
        {!f->bridge_nf_ip6tables, "WARNING: bridge-nf-call-ip6tables is disabled"},
    };
    int r = 0;

    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(all); i++)
        if (all[i].lacking)
            r = api_string_list_add(&ret->warnings, all[i].text, e);
    return r;
}

static int info_registries(const struct engine_config *config, struct api_system_info *ret, struct err *e) {
    struct api_registry_service_config *rc = ret->registry_config = calloc(1, sizeof(*rc));
    struct api_index_info *hub = calloc(1, sizeof(*hub));
    int r = 0;

    if (!rc || !hub) {
        free(hub);
        return err_oom(e);
    }
    rc->index_configs.v = calloc(config->insecure_registries.n + 1, sizeof(*rc->index_configs.v));
    if (!rc->index_configs.v) {
        free(hub);
        return err_oom(e);
    }
    rc->index_configs.set = rc->insecure_registry_cidrs.set = true;
    rc->index_configs.v[0].key = strdup("docker.io");
    rc->index_configs.v[0].value = hub;
    rc->index_configs.n = 1;
    FLAG(hub, secure, true);
    FLAG(hub, official, true);
    r = rc->index_configs.v[0].key ? text(&hub->name, "docker.io", e) : err_oom(e);
    if (r == 0)
        r = add_strv(&hub->mirrors, &config->registry_mirrors, e);
    for (size_t i = 0; i < config->insecure_registries.n && r == 0; i++) {
        const char *name = config->insecure_registries.v[i];
        struct api_index_info *index;

        if (strchr(name, '/')) {
            r = api_string_list_add(&rc->insecure_registry_cidrs, name, e);
            continue;
        }
        index = calloc(1, sizeof(*index));
        if (!index)
            return err_oom(e);
        rc->index_configs.v[rc->index_configs.n].key = strdup(name);
        rc->index_configs.v[rc->index_configs.n++].value = index;
        FLAG(index, secure, false);
        FLAG(index, official, false);
        index->mirrors.set = true;
        r = text(&index->name, name, e);
    }
    if (r == 0)
        r = api_string_list_add(&rc->insecure_registry_cidrs, "127.0.0.0/8", e);
    if (r == 0 && config->registry_mirrors.n)
        r = add_strv(&rc->mirrors, &config->registry_mirrors, e);
    return r;
}

static int add_runtime(struct api_system_info *ret, const char *name, const char *path, const struct strv *args, struct err *e) {
    struct api_runtime *runtime = calloc(1, sizeof(*runtime));
    struct api_runtime_map_entry *slot = &ret->runtimes.v[ret->runtimes.n];

    if (!runtime)
        return err_oom(e);
    slot->value = runtime;
    slot->key = strdup(name);
    ret->runtimes.n++;
    if (!slot->key)
        return err_oom(e);
    if (args && args->n && add_strv(&runtime->runtime_args, args, e) < 0)
        return err_oom(e);
    return path ? text(&runtime->path, path, e) : 0;
}

/* "runc" is the name clients expect for the runtime that is always there; behind it works our own. */
static int info_runtimes(struct engine *engine, struct api_system_info *ret, struct err *e) {
    const struct engine_config *config = engine->config;
    _cleanup_free_ char *own = str_printf("%s/hatake-runtime", engine->libexec_dir);
    int r;

    ret->runtimes.v = calloc(config->n_runtimes + 2, sizeof(*ret->runtimes.v));
    if (!ret->runtimes.v || !own)
        return err_oom(e);
    ret->runtimes.set = true;
    r = add_runtime(ret, "io.containerd.runc.v2", own, NULL, e);
    if (r == 0)
        r = add_runtime(ret, "runc", own, NULL, e);
    for (size_t i = 0; i < config->n_runtimes && r == 0; i++)
        r = add_runtime(ret, config->runtimes[i].name, config->runtimes[i].path, &config->runtimes[i].args, e);
    return r < 0 ? r : text(&ret->default_runtime, config->default_runtime ? config->default_runtime : "runc", e);
}

/* Whoever may ask need not learn who may use the proxy. */
static int proxy(char **slot, const char *url, struct err *e) {
    const char *scheme = url ? strstr(url, "://") : NULL, *at = scheme ? strchr(scheme + 3, '@') : NULL;
    _cleanup_free_ char *hidden = at ? str_printf("%.*s://xxxxx:xxxxx%s", (int)(scheme - url), url, at) : NULL;

    return at && !hidden ? err_oom(e) : text(slot, at ? hidden : url, e);
}

static int info_pools(const struct engine_config *config, struct api_system_info *ret, struct err *e) {
    struct api_system_address_pool_list *l = &ret->default_address_pools;

    l->v = config->n_default_address_pools ? calloc(config->n_default_address_pools, sizeof(*l->v)) : NULL;
    if (config->n_default_address_pools && !l->v)
        return err_oom(e);
    for (size_t i = 0; i < config->n_default_address_pools; i++) {
        struct api_system_address_pool *p = &l->v[l->n++];

        p->size = config->default_address_pools[i].size;
        if (text(&p->base, config->default_address_pools[i].base, e) < 0)
            return -(int)ERR_INTERNAL;
    }
    l->set = l->n > 0;
    return 0;
}

static int info_commit(struct api_commit **slot, const char *id, struct err *e) {
    struct api_commit *commit = *slot = calloc(1, sizeof(*commit));

    if (!commit || text(&commit->id, id, e) < 0 || text(&commit->expected, id, e) < 0)
        return err_oom(e);
    return 0;
}

static int info_counts(struct engine *engine, struct api_system_info *ret) {
    struct container_counts counts = {0};

    containers_count(engine->containers, &counts);
    FLAG(ret, containers, counts.all);
    FLAG(ret, containers_running, counts.running);
    FLAG(ret, containers_paused, counts.paused);
    FLAG(ret, containers_stopped, counts.stopped);
    FLAG(ret, images, images_count(engine->images));
    FLAG(ret, n_events_listener, events_listeners(engine->events));
    FLAG(ret, n_fd, count_fds());
    FLAG(ret, n_goroutines, 1);
    return 0;
}

static int info_machine(const struct system_facts *f, struct api_system_info *ret, struct err *e) {
    char now[CLOCK_TEXT_MAX], name[HOST_NAME_MAX + 1] = "";
    int r;

    clock_format(clock_wall_ns(), now);
    gethostname(name, sizeof(name) - 1);
    FLAG(ret, ncpu, f->cpus);
    FLAG(ret, mem_total, f->memory_bytes);
    r = text(&ret->kernel_version, f->kernel_version, e);
    if (r == 0)
        r = text(&ret->operating_system, f->operating_system, e);
    if (r == 0)
        r = text(&ret->os_version, f->os_version, e);
    if (r == 0)
        r = text(&ret->architecture, f->architecture, e);
    if (r == 0)
        r = text(&ret->name, name, e);
    if (r == 0)
        r = text(&ret->os_type, "linux", e);
    return r < 0 ? r : text(&ret->system_time, now, e);
}

static int info_security(const struct engine *engine, struct api_system_info *ret, struct err *e) {
    const struct engine_config *config = engine->config;
    _cleanup_free_ char *seccomp = str_printf("name=seccomp,profile=%s", str_empty(config->seccomp_profile) ? "builtin" : config->seccomp_profile);
    int r = engine->facts->apparmor ? api_string_list_add(&ret->security_options, "name=apparmor", e) : 0;

    if (r >= 0)
        r = seccomp ? api_string_list_add(&ret->security_options, seccomp, e) : err_oom(e);

    if (r >= 0 && !str_empty(config->seccomp_profile) && !streq(config->seccomp_profile, "builtin"))
        r = api_string_list_add(&ret->warnings, "WARNING: daemon is not using the default seccomp profile", e);
    if (r >= 0 && engine->ids)
        r = api_string_list_add(&ret->security_options, "name=userns", e);
    if (r >= 0 && streq_ptr(config->default_cgroupns_mode, "private"))
        r = api_string_list_add(&ret->security_options, "name=cgroupns", e);
    if (r >= 0 && config->no_new_privileges)
        r = api_string_list_add(&ret->security_options, "name=no-new-privileges", e);
    return r;
}

static int info_settings(struct engine *engine, struct api_system_info *ret, struct err *e) {
    const struct engine_config *config = engine->config;
    int r = text(&ret->id, engine->id, e);

    FLAG(ret, debug, config->debug);
    FLAG(ret, experimental_build, config->experimental);
    FLAG(ret, live_restore_enabled, config->live_restore);
    ret->cdi_spec_dirs.set = true;
    if (r == 0)
        r = text(&ret->logging_driver, config->log_driver, e);
    if (r == 0)
        r = text(&ret->index_server_address, "https://index.docker.io/v1/", e);
    if (r == 0)
        r = text(&ret->docker_root_dir, config->data_root, e);
    if (r == 0)
        r = proxy(&ret->http_proxy, config->http_proxy, e);
    if (r == 0)
        r = proxy(&ret->https_proxy, config->https_proxy, e);
    if (r == 0)
        r = text(&ret->no_proxy, config->no_proxy, e);
    if (r == 0)
        r = text(&ret->server_version, engine->version, e);
    if (r == 0)
        r = text(&ret->execution_driver, "<not supported>", e);
    if (r == 0)
        r = text(&ret->init_binary, config->init_path ? config->init_path : "docker-init", e);
    if (r == 0)
        r = add_strv(&ret->labels, &config->labels, e);
    if (r >= 0)
        r = info_security(engine, ret, e);
    return r < 0 ? r : info_warnings(engine->facts, ret, e);
}

static int info_swarm(struct api_system_info *ret, struct err *e) {
    ret->swarm = calloc(1, sizeof(*ret->swarm));
    if (!ret->swarm)
        return err_oom(e);
    FLAG(ret->swarm, control_available, false);
    return text(&ret->swarm->local_node_state, "inactive", e);
}

int system_info(struct engine *engine, struct api_system_info *ret, struct err *e) {
    int r = info_counts(engine, ret);

    if (r == 0)
        r = info_driver(engine, ret, e);
    if (r == 0)
        r = info_plugins(ret, e);
    if (r == 0)
        r = info_kernel(engine->facts, ret, e);
    if (r == 0)
        r = info_machine(engine->facts, ret, e);
    if (r == 0)
        r = info_registries(engine->config, ret, e);
    if (r == 0)
        r = info_runtimes(engine, ret, e);
    if (r == 0)
        r = info_settings(engine, ret, e);
    if (r == 0)
        r = info_pools(engine->config, ret, e);
    if (r == 0)
        r = info_swarm(ret, e);
    if (r == 0)
        r = info_commit(&ret->containerd_commit, HATAKE_VERSION, e);
    if (r == 0)
        r = info_commit(&ret->runc_commit, HATAKE_VERSION, e);
    return r < 0 ? r : info_commit(&ret->init_commit, "", e);
}

/* ---- version ------------------------------------------------------------------------------------------------------------------- */

static int add_component(struct api_system_version *ret, const char *name, const char *version, json_t *details, struct err *e) {
    struct api_system_component *c = details ? api_system_component_list_add(&ret->components) : NULL;

    if (!c) {
        json_decref(details);
        return err_oom(e);
    }
    c->details = details;
    return text(&c->name, name, e) < 0 ? -ERR_INTERNAL : text(&c->version, version, e);
}

int system_version(struct engine *engine, struct api_system_version *ret, struct err *e) {
    const struct system_facts *f = engine->facts;
    int r;

    ret->platform = calloc(1, sizeof(*ret->platform));
    r = ret->platform ? text(&ret->platform->name, "HATAKE Engine " HATAKE_VERSION, e) : err_oom(e);
    if (r == 0)
        r = add_component(ret, "Engine", engine->version,
                          json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "ApiVersion", API_VERSION, "Arch", f->go_arch, "BuildTime",
                                    HATAKE_BUILD_TIME, "Experimental", engine->config->experimental ? "true" : "false", "GitCommit",
                                    HATAKE_GIT_COMMIT, "GoVersion", "none (C)", "KernelVersion", f->kernel_version, "MinAPIVersion", API_VERSION_MIN,
                                    "Os", "linux"),
                          e);
    if (r == 0)
        r = add_component(ret, "hataked", HATAKE_VERSION, json_pack("{s:s}", "GitCommit", HATAKE_GIT_COMMIT), e);
    if (r == 0)
        r = add_component(ret, "hatake-runtime", HATAKE_VERSION, json_pack("{s:s}", "GitCommit", HATAKE_GIT_COMMIT), e);
    if (r == 0)
        r = add_component(ret, "hatake-init", HATAKE_VERSION, json_pack("{s:s}", "GitCommit", ""), e);
    if (r == 0)
        r = text(&ret->version, engine->version, e);
    if (r == 0)
        r = text(&ret->api_version, API_VERSION, e);
    if (r == 0)
        r = text(&ret->min_api_version, API_VERSION_MIN, e);
    if (r == 0)
        r = text(&ret->git_commit, HATAKE_GIT_COMMIT, e);
    if (r == 0)
        r = text(&ret->go_version, "none (C)", e);
    if (r == 0)
        r = text(&ret->os, "linux", e);
    if (r == 0)
        r = text(&ret->build_time, HATAKE_BUILD_TIME, e);
    if (r == 0)
        r = text(&ret->arch, f->go_arch, e);
    return r < 0 ? r : text(&ret->kernel_version, f->kernel_version, e);
}
