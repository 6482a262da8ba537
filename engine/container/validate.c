// SPDX-License-Identifier: Apache-2.0
#include "container/validate.h"

#include "container/runtime.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "container/logopts.h"
#include "kern/apparmor.h"
#include "kern/cgroup.h"
#include "network/network.h"

#define MIN_MEMORY (6 << 20)
#define MSEC INT64_C(1000000)

const char *const ctr_masked_paths[] = {
    "/proc/asound",      "/proc/acpi",        "/proc/kcore", "/proc/keys",    "/proc/latency_stats",           "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",  "/sys/firmware", "/sys/devices/virtual/powercap", NULL,
};
const char *const ctr_readonly_paths[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL};

const char *ctr_mode_container(const char *mode) {
    return mode ? str_after(mode, "container:") : NULL;
}

static int64_t val(bool has, int64_t v) {
    return has ? v : 0;
}

static int warn(struct strv *w, const char *text, struct err *e) {
    return strv_add(w, text) < 0 ? err_oom(e) : 0;
}

/* ---- the container's own configuration ----------------------------------------------------------------------------------- */
static int check_health(const struct api_health_config *h, struct err *e) {
    const struct {
        bool has;
        int64_t v;
        const char *name;
    } times[] = {{h->has_interval, h->interval, "Interval"},
                 {h->has_timeout, h->timeout, "Timeout"},
                 {h->has_start_period, h->start_period, "StartPeriod"},
                 {h->has_start_interval, h->start_interval, "StartInterval"}};

    for (size_t i = 0; i < ELEMENTSOF(times); i++) {
        if (times[i].has && times[i].v != 0 && times[i].v < MSEC)
            return err_set(e, ERR_INVALID, "%s in Healthcheck cannot be less than 1ms", times[i].name);
        if (i == 1 && h->has_retries && h->retries < 0)
            return err_set(e, ERR_INVALID, "Retries in Healthcheck cannot be negative");
    }
    return 0;
}

static int check_config(const struct api_container_config *c, struct err *e) {
    int64_t number;

    if (!str_empty(c->working_dir) && c->working_dir[0] != '/')
        return err_set(e, ERR_INVALID, "the working directory '%s' is invalid, it needs to be an absolute path", c->working_dir);
    /* Any number but 0 counts as a signal here. */
    if (!str_empty(c->stop_signal) && ctr_signal_parse(c->stop_signal) < 0 && (parse_i64(c->stop_signal, &number) < 0 || number == 0))
        return err_set(e, ERR_INVALID, "invalid signal: %s", c->stop_signal);
    for (size_t i = 0; i < c->env.n; i++)
        if (c->env.v[i][0] == '\0' || c->env.v[i][0] == '=')
            return err_set(e, ERR_INVALID, "invalid environment variable: %s", c->env.v[i]);
    return c->healthcheck ? check_health(c->healthcheck, e) : 0;
}

/* ---- parts of the host configuration ---------------------------------------------------------------------------------------- */
static int check_caps(const struct api_string_list *l, const char *which, struct err *e) {
    for (size_t i = 0; i < l->n; i++)
        if (strcasecmp(l->v[i], "ALL") != 0 && !ctr_cap_name(l->v[i])) {
            _cleanup_free_ char *up = strdup(l->v[i]);

            for (char *p = up; p && *p; p++)
                *p = (char)toupper((unsigned char)*p);
            return err_set(e, ERR_INVALID, "invalid %s: unknown capability: \"%s%s\"", which, up && str_has_prefix(up, "CAP_") ? "" : "CAP_",
                           up ? up : "");
        }
    return 0;
}

static bool port_ok(const char *s, bool empty_ok) {
    const char *dash = strchr(s, '-');
    int64_t a, b;
    _cleanup_free_ char *first = strndup(s, dash ? (size_t)(dash - s) : strlen(s));

    if (!first || (!*first && !dash))
        return empty_ok;
    if (parse_int_range(first, 0, 65535, &a) < 0)
        return false;
    return !dash || (parse_int_range(dash + 1, 0, 65535, &b) == 0 && a <= b);
}

static int check_ports(const struct api_port_binding_list_map *m, struct err *e) {
    for (size_t i = 0; i < m->n; i++) {
        const char *slash = strchr(m->v[i].key, '/');
        _cleanup_free_ char *port = strndup(m->v[i].key, slash ? (size_t)(slash - m->v[i].key) : strlen(m->v[i].key));

        if (!port)
            return err_oom(e);
        if (!port_ok(port, false) || strchr(port, '-'))
            return err_set(e, ERR_INVALID, "invalid port specification: \"%s\"", port);
        for (size_t k = 0; k < m->v[i].value.n; k++) {
            const char *hp = m->v[i].value.v[k].host_port;

            if (hp && !port_ok(hp, true))
                return err_set(e, ERR_INVALID, "invalid port specification: \"%s\"", hp);
        }
    }
    return 0;
}

static int check_restart(const struct api_restart_policy *p, bool auto_remove, struct err *e) {
    const char *name = p->name ? p->name : "";
    int64_t max = val(p->has_maximum_retry_count, p->maximum_retry_count);

    if (streq(name, "always") || streq(name, "unless-stopped") || streq(name, "no") || !*name) {
        if (max != 0)
            return err_set(e, ERR_INVALID, "invalid restart policy: maximum retry count can only be used with 'on-failure'%s",
                           max < 0 ? " and cannot be negative" : "");
    } else if (streq(name, "on-failure")) {
        if (max < 0)
            return err_set(e, ERR_INVALID, "invalid restart policy: maximum retry count cannot be negative");
    } else {
        return err_set(e, ERR_INVALID, "invalid restart policy: unknown policy '%s'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
                       name);
    }
    if (auto_remove && *name && !streq(name, "no"))
        return err_set(e, ERR_INVALID, "can't create 'AutoRemove' container with restart policy");
    return 0;
}

static int check_extra_hosts(const struct api_string_list *l, struct err *e) {
    for (size_t i = 0; i < l->n; i++) {
        const char *colon = strchr(l->v[i], ':');
        unsigned char addr[16];

        if (!colon || colon == l->v[i])
            return err_set(e, ERR_INVALID, "bad format for add-host: \"%s\"", l->v[i]);
        if (!streq(colon + 1, "host-gateway") && inet_pton(AF_INET, colon + 1, addr) != 1 && inet_pton(AF_INET6, colon + 1, addr) != 1)
            return err_set(e, ERR_INVALID, "invalid IP address in add-host: \"%s\"", colon + 1);
        for (const char *p = l->v[i]; *p; p++)
            if ((unsigned char)*p < ' ')
                return err_set(e, ERR_INVALID, "bad format for add-host: \"%s\"", l->v[i]);
    }
    return 0;
}

int ctr_security_parse(const struct api_string_list *opts, struct ctr_security *ret, struct err *e) {
    struct ctr_security s = {0};

    for (size_t i = 0; i < opts->n; i++) {
        const char *o = opts->v[i], *sep, *v;

        if (streq(o, "no-new-privileges")) {
            s.no_new_privileges = true;
            continue;
        }
        if (streq(o, "disable")) /* an old spelling of label=disable */
            continue;
        sep = strchr(o, '=');
        if (!sep)
            sep = strchr(o, ':');
        if (!sep)
            return err_set(e, ERR_INTERNAL, "invalid --security-opt 1: \"%s\"", o);
        v = sep + 1;
        if (strncmp(o, "label", (size_t)(sep - o)) == 0 && sep - o == 5)
            continue;
        if (strncmp(o, "apparmor", (size_t)(sep - o)) == 0 && sep - o == 8) {
            s.apparmor = v;
            continue;
        }
        if (strncmp(o, "seccomp", (size_t)(sep - o)) == 0 && sep - o == 7) {
            s.seccomp_unconfined = streq(v, "unconfined");
            s.seccomp_builtin = streq(v, "builtin");
            s.seccomp_profile = s.seccomp_unconfined || s.seccomp_builtin || !*v ? NULL : v;
            continue;
        }
        if (strncmp(o, "no-new-privileges", (size_t)(sep - o)) == 0 && sep - o == 17 && parse_bool(v, &s.no_new_privileges) == 0)
            continue;
        return err_set(e, ERR_INTERNAL, "invalid --security-opt 2: \"%s\"", o);
    }
    *ret = s;
    return 0;
}

const char *ctr_apparmor_profile(const struct api_host_config *host, const struct ctr_security *sec) {
    if (!str_empty(sec->apparmor))
        return sec->apparmor;
    return host->has_privileged && host->privileged ? APPARMOR_UNCONFINED : APPARMOR_DEFAULT;
}

/* ---- modes -------------------------------------------------------------------------------------------------------------------- */
static bool mode_container_ok(const char *mode) {
    const char *c = ctr_mode_container(mode);

    return c && *c;
}

static int check_modes(const struct api_container_config *c, const struct api_host_config *h, struct strv *warnings, struct err *e) {
    const char *net = h->network_mode ? h->network_mode : "", *uts = h->uts_mode ? h->uts_mode : "", *ipc = h->ipc_mode ? h->ipc_mode : "",
               *pid = h->pid_mode ? h->pid_mode : "", *cgns = h->cgroupns_mode ? h->cgroupns_mode : "";
    bool shared = ctr_mode_container(net) != NULL;

    if (shared && !mode_container_ok(net))
        return err_set(e, ERR_INVALID, "Invalid network mode: invalid container format container:<name|id>");
    if ((shared || streq(uts, "host")) && !str_empty(c->hostname))
        return err_set(e, ERR_INVALID, "conflicting options: hostname and the %s mode", shared ? "network" : "UTS");
    if (streq(net, "host") && h->links.n > 0)
        return err_set(e, ERR_INVALID, "conflicting options: host type networking can't be used with links. This would result in undefined behavior");
    if (shared && h->links.n > 0)
        return err_set(e, ERR_INVALID,
                       "conflicting options: container type network can't be used with links. This would result in undefined behavior");
    if (shared && h->dns.n > 0)
        return err_set(e, ERR_INVALID, "conflicting options: dns and the network mode");
    if (shared && h->extra_hosts.n > 0)
        return err_set(e, ERR_INVALID, "conflicting options: custom host-to-IP mapping and the network mode");
    if (shared && (h->port_bindings.n > 0 || (h->has_publish_all_ports && h->publish_all_ports)))
        return err_set(e, ERR_INVALID, "conflicting options: port publishing and the container type network mode");
    if (shared && c->exposed_ports.n > 0)
        return err_set(e, ERR_INVALID, "conflicting options: port exposing and the container type network mode");
    if (*uts && !streq(uts, "host"))
        return err_set(e, ERR_INVALID, "invalid UTS mode: %s", uts);
    if (*pid && !streq(pid, "host") && !mode_container_ok(pid))
        return err_set(e, ERR_INVALID, "invalid PID mode: %s", pid);
    if (*ipc && !streq(ipc, "none") && !streq(ipc, "private") && !streq(ipc, "host") && !streq(ipc, "shareable") && !ctr_mode_container(ipc))
        return err_set(e, ERR_INVALID, "invalid IPC mode: %s", ipc);
    if (*cgns && !streq(cgns, "host") && !streq(cgns, "private"))
        return err_set(e, ERR_INVALID, "invalid cgroup namespace mode: %s", cgns);
    if (streq(net, "host") && h->port_bindings.n > 0)
        return warn(warnings, "Published ports are discarded when using host network mode", e);
    return 0;
}

/* ---- resources -------------------------------------------------------------------------------------------------------------- */
/* What this machine's control groups cannot do for memory: the reference drops such wishes and says so. */
struct memory_lacks {
    bool swap, swappiness, oom_disable;
};

static struct memory_lacks memory_lacks(void) {
    struct cgroup_layout l;

    if (cgroup_detect(&l, NULL) < 0)
        return (struct memory_lacks){0};
    return (struct memory_lacks){.swap = !cgroup_limits_swap(&l), .swappiness = l.pure_v2, .oom_disable = l.pure_v2};
}

void ctr_discard_memory(struct api_host_config *h) {
    struct memory_lacks lacks = memory_lacks();

    if (lacks.swap && val(h->has_memory, h->memory) > 0) {
        h->has_memory_swap = true;
        h->memory_swap = -1;
    }
    if (lacks.swappiness)
        h->memory_swappiness = h->has_memory_swappiness = 0;
    if (lacks.oom_disable)
        h->oom_kill_disable = h->has_oom_kill_disable = false;
}

static int check_memory(const struct api_host_config *h, struct strv *warnings, struct err *e) {
    int64_t memory = val(h->has_memory, h->memory), swap = val(h->has_memory_swap, h->memory_swap),
            reserve = val(h->has_memory_reservation, h->memory_reservation);
    struct memory_lacks lacks = memory_lacks();

    if (memory != 0 && memory < MIN_MEMORY)
        return err_set(e, ERR_INVALID, "Minimum memory limit allowed is 6MB");
    if (memory > 0 && swap != -1 && lacks.swap) {
        if (warn(warnings, "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.", e) < 0)
            return -ENOMEM;
        swap = -1;
    }
    if (memory > 0 && swap > 0 && swap < memory)
        return err_set(e, ERR_INVALID, "Minimum memoryswap limit should be larger than memory limit, see usage");
    if (memory == 0 && swap > 0)
        return err_set(e, ERR_INVALID, "You should always set the Memory limit when using Memoryswap limit, see usage");
    if (h->has_memory_swappiness && h->memory_swappiness != -1 && lacks.swappiness) {
        if (warn(warnings, "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.",
                 e) < 0)
            return -ENOMEM;
    } else if (h->has_memory_swappiness && h->memory_swappiness != -1 && (h->memory_swappiness < 0 || h->memory_swappiness > 100))
        return err_set(e, ERR_INVALID, "Invalid value: %lld, valid memory swappiness range is 0-100", (long long)h->memory_swappiness);
    if (reserve > 0 && reserve < MIN_MEMORY)
        return err_set(e, ERR_INVALID, "Minimum memory reservation allowed is 6MB");
    if (val(h->has_kernel_memory, h->kernel_memory) > 0 && h->kernel_memory < MIN_MEMORY)
        return err_set(e, ERR_INVALID, "Minimum kernel memory limit allowed is 6MB");
    if (memory > 0 && reserve > 0 && memory < reserve)
        return err_set(e, ERR_INVALID, "Minimum memory limit can not be less than memory reservation limit, see usage");
    if (h->has_oom_kill_disable && h->oom_kill_disable && lacks.oom_disable)
        return warn(warnings, "Your kernel does not support OomKillDisable. OomKillDisable discarded.", e);
    if (h->has_oom_kill_disable && h->oom_kill_disable && memory == 0)
        return warn(warnings,
                    "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.",
                    e);
    return 0;
}

static bool cpuset_parse(const char *s, uint64_t *ret_max) {
    uint64_t max = 0;

    for (;;) {
        char *end;
        unsigned long a, b;

        if (!isdigit((unsigned char)*s))
            return false;
        errno = 0;
        a = b = strtoul(s, &end, 10);
        if (errno || (*end == '-' && !isdigit((unsigned char)end[1])))
            return false;
        if (*end == '-')
            b = strtoul(end + 1, &end, 10);
        if (errno || b < a || (*end && *end != ','))
            return false;
        max = MAX(max, (uint64_t)b);
        if (!*end)
            break;
        s = end + 1;
    }
    *ret_max = max;
    return true;
}

static int check_cpuset(const char *asked, const char *online, const char *field, const char *thing, struct err *e) {
    _cleanup_buf_ struct buf have = BUF_INIT(4096);
    uint64_t want, last = 0;

    if (str_empty(asked))
        return 0;
    if (!cpuset_parse(asked, &want))
        return err_set(e, ERR_INVALID, "Invalid value %s for cpuset %s: invalid format: %s", asked, field, asked);
    if (fs_read_file(online, &have, NULL) < 0)
        return 0;
    while (have.len > 0 && isspace((unsigned char)have.data[have.len - 1]))
        have.data[--have.len] = '\0';
    if (cpuset_parse(buf_str(&have), &last) && want > last)
        return err_set(e, ERR_INVALID, "Requested %s are not available - requested %s, available: %s", thing, asked, buf_str(&have));
    return 0;
}

static int check_cpu(const struct api_host_config *h, struct err *e) {
    int64_t nano = val(h->has_nano_cpus, h->nano_cpus), period = val(h->has_cpu_period, h->cpu_period), quota = val(h->has_cpu_quota, h->cpu_quota);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    int r;

    if (nano > 0 && period > 0)
        return err_set(e, ERR_INVALID, "Conflicting options: Nano CPUs and CPU Period cannot both be set");
    if (nano > 0 && quota > 0)
        return err_set(e, ERR_INVALID, "Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    if (nano < 0 || nano > cpus * INT64_C(1000000000))
        return err_set(e, ERR_INVALID, "Range of CPUs is from 0.01 to %ld.00, as there are only %ld CPUs available", cpus, cpus);
    if (period != 0 && (period < 1000 || period > 1000000))
        return err_set(e, ERR_INVALID, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
    if (quota > 0 && quota < 1000)
        return err_set(e, ERR_INVALID, "CPU cfs quota can not be less than 1ms (i.e. 1000)");
    r = check_cpuset(h->cpuset_cpus, "/sys/devices/system/cpu/online", "cpus", "CPUs", e);
    return r < 0 ? r : check_cpuset(h->cpuset_mems, "/sys/devices/system/node/online", "mems", "memory nodes", e);
}

/* Where the machine has v2 alone, the one io controller has all of them. */
static bool io_works(const char *v1_file) {
    struct cgroup_layout l;

    if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0)
        return cgroup_detect(&l, NULL) >= 0 && cgroup_has(&l, "io");
    return access(v1_file, F_OK) == 0;
}

static bool blkio_weight_works(void) {
    return io_works("/sys/fs/cgroup/blkio/blkio.weight");
}

static bool blkio_weight_device_works(void) {
    return io_works("/sys/fs/cgroup/blkio/blkio.weight_device");
}

static int check_resources(const struct api_host_config *h, struct strv *warnings, struct err *e) {
    int r = check_memory(h, warnings, e);

    if (r >= 0)
        r = check_cpu(h, e);
    if (r < 0)
        return r;
    if (val(h->has_blkio_weight, h->blkio_weight) > 0) {
        if (!blkio_weight_works()) {
            if (warn(warnings, "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.", e) < 0)
                return -ENOMEM;
        } else if (h->blkio_weight < 10 || h->blkio_weight > 1000)
            return err_set(e, ERR_INVALID, "Range of blkio weight is from 10 to 1000");
    }
    if (h->blkio_weight_device.n > 0 && !blkio_weight_device_works() &&
        warn(warnings, "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.", e) < 0)
        return -ENOMEM;
    if (val(h->has_cpu_percent, h->cpu_percent) > 0 && warn(warnings, "linux does not support CPU percent. Percent discarded.", e) < 0)
        return -ENOMEM;
    return 0;
}

/* ---- networks ----------------------------------------------------------------------------------------------------------------- */
static int check_endpoint(struct networks *networks, const char *name, const struct api_endpoint_settings *ep, struct err *e) {
    struct network *net = NULL;
    int r;

    if (!ep)
        return err_set(e, ERR_INVALID, "invalid config for network %s: EndpointsConfig is nil", name);
    if (networks && networks_find(networks, name, &net, NULL) < 0)
        net = NULL;
    r = network_check_endpoint(name, net, ep, e);
    network_unref(net);
    return r < 0 ? err_wrap(e, "invalid config for network %s", name) : 0;
}

int ctr_validate_networking(struct networks *networks, const struct api_networking_config *n, struct err *e) {
    for (size_t i = 0; i < n->endpoints_config.n; i++) {
        int r = check_endpoint(networks, n->endpoints_config.v[i].key, n->endpoints_config.v[i].value, e);

        if (r < 0)
            return r;
    }
    return 0;
}

static int check_links(const struct api_string_list *l, struct err *e) {
    for (size_t i = 0; i < l->n; i++) {
        const char *colon = strchr(l->v[i], ':');

        if (!*l->v[i])
            return err_set(e, ERR_INTERNAL, "empty string specified for links");
        if (colon && strchr(colon + 1, ':'))
            return err_set(e, ERR_INTERNAL, "bad format for links: %s", l->v[i]);
    }
    return 0;
}

/* What a container in a user namespace cannot have, as it belongs to the machine's. */
static int check_userns(const struct engine_config *cfg, const struct api_host_config *h, struct err *e) {
    if (str_empty(cfg->userns_remap) || ctr_mode_is(h->userns_mode, "host"))
        return 0;
    if (h->has_privileged && h->privileged)
        return err_set(
            e, ERR_INVALID,
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged "
            "mode");
    if (ctr_mode_is(h->network_mode, "host"))
        return err_set(e, ERR_INVALID, "cannot share the host's network namespace when user namespaces are enabled");
    if (ctr_mode_is(h->pid_mode, "host"))
        return err_set(e, ERR_INVALID, "cannot share the host PID namespace when user namespaces are enabled");
    return 0;
}

static int check_host_parts(const struct engine_config *cfg, const struct api_host_config *h, struct err *e) {
    if (val(h->has_shm_size, h->shm_size) < 0)
        return err_set(e, ERR_INVALID, "SHM size can not be less than 0");
    if (val(h->has_oom_score_adj, h->oom_score_adj) < -1000 || val(h->has_oom_score_adj, h->oom_score_adj) > 1000)
        return err_set(e, ERR_INVALID, "Invalid value %lld, range for oom score adj is [-1000, 1000]", (long long)h->oom_score_adj);
    if (check_userns(cfg, h, e) < 0)
        return -(int)ERR_INVALID;
    if (!str_empty(h->runtime) && !ctr_runtime_known(cfg, h->runtime))
        return err_set(e, ERR_INVALID, "unknown or invalid runtime name: %s", h->runtime);
    return 0;
}

static int check_storage(const struct api_host_config *h, struct err *e) {
    for (size_t i = 0; i < h->storage_opt.n; i++)
        if (strcasecmp(h->storage_opt.v[i].key, "size") != 0)
            return err_set(e, ERR_INTERNAL, "Unknown option %s", h->storage_opt.v[i].key);
    if (h->storage_opt.n > 0)
        return err_set(e, ERR_INTERNAL, "--storage-opt is supported only for overlay over xfs with 'pquota' mount option");
    return 0;
}

/* Of a create alone: an update of a container is not asked. */
static int check_qos(const struct api_host_config *h, struct err *e) {
    if (val(h->has_io_maximum_bandwidth, h->io_maximum_bandwidth) != 0)
        return err_set(e, ERR_INTERNAL, "Invalid QoS settings: linux does not support configuration of maximum bandwidth");
    if (val(h->has_io_maximum_iops, h->io_maximum_iops) != 0)
        return err_set(e, ERR_INTERNAL, "Invalid QoS settings: linux does not support configuration of maximum IOPs");
    return 0;
}

/* A create with it is refused where control groups cannot do it; an update of a container is not asked. */
static int check_realtime(const struct api_host_config *h, struct err *e) {
    bool wanted = val(h->has_cpu_realtime_period, h->cpu_realtime_period) != 0 || val(h->has_cpu_realtime_runtime, h->cpu_realtime_runtime) != 0;

    if (wanted && access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0)
        return err_set(e, ERR_INTERNAL, "Your kernel does not support CPU real-time scheduler");
    return 0;
}

int ctr_validate(const struct engine_config *cfg, const struct api_container_config *config, const struct api_host_config *host,
                 struct strv *warnings, struct err *e) {
    int r = check_config(config, e);

    if (r >= 0)
        r = check_caps(&host->cap_add, "CapAdd", e);
    if (r >= 0)
        r = check_caps(&host->cap_drop, "CapDrop", e);
    if (r >= 0)
        r = check_extra_hosts(&host->extra_hosts, e);
    if (r >= 0)
        r = check_ports(&host->port_bindings, e);
    if (r >= 0 && host->restart_policy)
        r = check_restart(host->restart_policy, host->has_auto_remove && host->auto_remove, e);
    for (size_t i = 0; r >= 0 && i < host->annotations.n; i++)
        if (!*host->annotations.v[i].key)
            r = err_set(e, ERR_INVALID, "invalid Annotations: the empty string is not permitted as an annotation key");
    if (r >= 0 && !str_empty(host->isolation) && !streq(host->isolation, "default"))
        r = err_set(e, ERR_INTERNAL, "Invalid isolation: \"%s\" - linux only supports 'default'", host->isolation);
    if (r >= 0)
        r = check_qos(host, e);
    if (r >= 0)
        r = check_realtime(host, e);
    if (r >= 0)
        r = check_modes(config, host, warnings, e);
    if (r >= 0)
        r = check_resources(host, warnings, e);
    return r < 0 ? r : check_host_parts(cfg, host, e);
}

int ctr_validate_rest(const struct api_host_config *host, struct err *e) {
    struct ctr_security sec;
    int r = ctr_security_parse(&host->security_opt, &sec, e);

    if (r >= 0)
        r = check_storage(host, e);
    return r < 0 ? r : check_links(&host->links, e);
}

int ctr_validate_update(const struct api_host_config *host, struct strv *warnings, struct err *e) {
    struct api_host_config h = *host; /* shallow: only looked at */
    int r;

    /* The memory limit it goes with may be there already. */
    if (val(h.has_memory, h.memory) == 0 && h.memory_swap > 0)
        h.memory_swap = 0;
    r = host->restart_policy && !str_empty(host->restart_policy->name) ? check_restart(host->restart_policy, false, e) : 0;
    return r < 0 ? r : check_resources(&h, warnings, e);
}

int ctr_validate_start(const struct api_host_config *host, struct err *e) {
    _cleanup_strv_ struct strv warnings = STRV_INIT;

    return check_resources(host, &warnings, e);
}

/* ---- defaults ------------------------------------------------------------------------------------------------------------------- */
static int set_default(char **slot, const char *value) {
    return str_empty(*slot) ? str_set(slot, value) : 0;
}

static int list_default(struct api_string_list *l, const char *const *values, struct err *e) {
    if (l->set)
        return 0;
    for (size_t i = 0; values[i]; i++) {
        int r = api_string_list_add(l, values[i], e);

        if (r < 0)
            return r;
    }
    l->set = true;
    return 0;
}

static int log_default(const struct engine_config *cfg, struct api_host_config *h, struct err *e) {
    bool ours;

    if (!h->log_config)
        h->log_config = api_log_config_new();
    if (!h->log_config)
        return err_oom(e);
    ours = str_empty(h->log_config->type);
    if (ours && str_set(&h->log_config->type, cfg->log_driver ? cfg->log_driver : "json-file") < 0)
        return err_oom(e);
    for (size_t i = 0; ours && i < cfg->log_opts.n; i++) {
        const char *eq = strchr(cfg->log_opts.v[i], '=');
        _cleanup_free_ char *k = eq ? strndup(cfg->log_opts.v[i], (size_t)(eq - cfg->log_opts.v[i])) : NULL;
        bool have = false;

        for (size_t j = 0; k && j < h->log_config->config.n; j++)
            have = have || streq(h->log_config->config.v[j].key, k);
        if (k && !have && api_string_map_set(&h->log_config->config, k, eq + 1, e) < 0)
            return -(int)ERR_INTERNAL;
    }
    h->log_config->config.set = true;
    return 0;
}

static int security_default(struct api_host_config *h, struct err *e) {
    bool open = (h->has_privileged && h->privileged) || ctr_mode_is(h->pid_mode, "host") || ctr_mode_is(h->ipc_mode, "host");

    /* Without labelling the reference notes on such containers that they have none. */
    if (open && h->security_opt.n == 0)
        return api_string_list_add(&h->security_opt, "label=disable", e);
    return 0;
}

int ctr_host_defaults(const struct engine_config *cfg, struct api_host_config *h, struct err *e) {
    bool v2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0, privileged = h->has_privileged && h->privileged;
    /* Where the tree is the kernel's second kind, privileged containers have a view of their own as well. */
    const char *cgns = privileged && !v2 ? "host" : cfg->default_cgroupns_mode ? cfg->default_cgroupns_mode : v2 ? "private" : "host";
    int r;

    if (!h->restart_policy)
        h->restart_policy = api_restart_policy_new();
    if (!h->restart_policy)
        return err_oom(e);
    if (ctr_mode_is(h->network_mode, "default") && str_set(&h->network_mode, NULL) < 0)
        return err_oom(e);
    if (set_default(&h->network_mode, "bridge") < 0 || set_default(&h->restart_policy->name, "no") < 0 ||
        set_default(&h->ipc_mode, cfg->default_ipc_mode ? cfg->default_ipc_mode : "private") < 0 || set_default(&h->cgroupns_mode, cgns) < 0 ||
        set_default(&h->runtime, cfg->default_runtime ? cfg->default_runtime : "runc") < 0)
        return err_oom(e);
    r = log_default(cfg, h, e);
    if (r < 0)
        return r;
    r = security_default(h, e);
    if (r < 0)
        return r;
    if (!h->has_shm_size || h->shm_size == 0) {
        h->has_shm_size = true;
        h->shm_size = cfg->default_shm_size > 0 ? cfg->default_shm_size : 64 << 20;
    }
    if (val(h->has_memory, h->memory) > 0 && val(h->has_memory_swap, h->memory_swap) == 0) {
        h->has_memory_swap = true;
        h->memory_swap = h->memory * 2;
    }
    if (h->has_memory_swappiness && h->memory_swappiness == -1)
        h->memory_swappiness = h->has_memory_swappiness = 0;
    if (h->has_pids_limit && h->pids_limit <= 0)
        h->pids_limit = h->has_pids_limit = 0;
    ctr_discard_memory(h);
    if (!h->has_oom_kill_disable)
        h->oom_kill_disable = false;
    h->has_oom_kill_disable = true;
    if (h->has_blkio_weight && !blkio_weight_works())
        h->blkio_weight = 0;
    h->cpu_percent = MIN(h->cpu_percent, 0);
    if (h->blkio_weight_device.n > 0 && !blkio_weight_device_works()) {
        api_weight_device_list_done(&h->blkio_weight_device);
        h->blkio_weight_device.set = true;
    }
    if (!h->console_size.set || h->console_size.n != 2) {
        api_int_list_done(&h->console_size);
        h->console_size.v = calloc(2, sizeof(int64_t));
        if (!h->console_size.v)
            return err_oom(e);
        h->console_size.n = 2;
        h->console_size.set = true;
    }
    if (privileged)
        return 0;
    r = list_default(&h->masked_paths, ctr_masked_paths, e);
    return r < 0 ? r : list_default(&h->readonly_paths, ctr_readonly_paths, e);
}
