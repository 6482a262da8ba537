// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/str.h"
#include "container/spec.h"
#include "kern/cgroup.h"

#define DEVICE_DEPTH 8
#define DEVICES_MAX 4096
#define SHARES_MAX 262144

/* ---- limits ------------------------------------------------------------------------------------------------------------------ */
static int put(json_t *o, const char *key, bool has, int64_t v) {
    return has && v != 0 ? json_object_set_new(o, key, json_integer(v)) : 0;
}

static int memory(const struct api_host_config *h, json_t *out) {
    json_t *m = json_object();
    int bad = put(m, "limit", h->has_memory, h->memory) | put(m, "reservation", h->has_memory_reservation, h->memory_reservation) |
              put(m, "swap", h->has_memory_swap && h->memory_swap >= -1, h->memory_swap) |
              put(m, "kernelTCP", h->has_kernel_memory_tcp, h->kernel_memory_tcp);

    if (h->has_memory_swappiness)
        bad |= json_object_set_new(m, "swappiness", json_integer(h->memory_swappiness));
    if (h->has_oom_kill_disable && h->oom_kill_disable)
        bad |= json_object_set_new(m, "disableOOMKiller", json_true());
    return bad | json_object_set_new(out, "memory", m);
}

static int cpu(const struct api_host_config *h, json_t *out) {
    json_t *c = json_object();
    int bad = put(c, "shares", h->has_cpu_shares, h->cpu_shares) | put(c, "quota", h->has_cpu_quota, h->cpu_quota) |
              put(c, "period", h->has_cpu_period, h->cpu_period) | put(c, "realtimeRuntime", h->has_cpu_realtime_runtime, h->cpu_realtime_runtime) |
              put(c, "realtimePeriod", h->has_cpu_realtime_period, h->cpu_realtime_period);

    if (h->has_nano_cpus && h->nano_cpus > 0) {
        bad |= json_object_set_new(c, "period", json_integer(100000));
        bad |= json_object_set_new(c, "quota", json_integer(h->nano_cpus / 10000));
    }
    if (!str_empty(h->cpuset_cpus))
        bad |= json_object_set_new(c, "cpus", json_string(h->cpuset_cpus));
    if (!str_empty(h->cpuset_mems))
        bad |= json_object_set_new(c, "mems", json_string(h->cpuset_mems));
    return bad | json_object_set_new(out, "cpu", c);
}

static int throttle(const struct api_throttle_device_list *l, const char *key, json_t *out, struct err *e) {
    json_t *a = json_array();

    for (size_t i = 0; i < l->n; i++) {
        struct stat st;

        if (stat(l->v[i].path ? l->v[i].path : "", &st) < 0) {
            json_decref(a);
            return err_set(e, ERR_INTERNAL, "stat %s: %s", l->v[i].path ? l->v[i].path : "",
                           errno == ENOENT ? "no such file or directory" : strerrordesc_np(errno));
        }
        json_array_append_new(a, json_pack("{s:I,s:I,s:I}", "major", (json_int_t)major(st.st_rdev), "minor", (json_int_t)minor(st.st_rdev), "rate",
                                           (json_int_t)l->v[i].rate));
    }
    if (l->n == 0) {
        json_decref(a);
        return 0;
    }
    return json_object_set_new(out, key, a) < 0 ? err_oom(e) : 0;
}

bool ctr_on_v2(void) {
    struct cgroup_layout l;

    return cgroup_detect(&l, NULL) >= 0 && l.pure_v2;
}

/* The kernel takes other numbers and changes them: the reference's runtime looks afterwards and does not accept that. v2 has weights, and refuses them itself. */
const char *ctr_shares_refused(const struct api_host_config *h, bool v2) {
    if (v2 || !h->has_cpu_shares || (h->cpu_shares != 1 && h->cpu_shares >= 0 && h->cpu_shares <= SHARES_MAX))
        return NULL;
    return h->cpu_shares == 1 ? "the minimum allowed cpu-shares is 2" : "the maximum allowed cpu-shares is 262144";
}

const char *ctr_swap_refused(const struct api_host_config *h, bool v2) {
    return v2 && h->has_memory_swap && h->memory_swap > 0 && (!h->has_memory || h->memory == 0) ? "unable to set swap limit without memory limit"
                                                                                                : NULL;
}

void ctr_update_complete(const struct api_host_config *now, struct api_host_config *want) {
    if (want->memory != 0 && want->memory_swap == 0) {
        want->memory_swap = now->memory_swap;
        want->has_memory_swap = want->memory_swap != 0;
    }
    if (want->nano_cpus == 0 && (want->cpu_quota != 0 || want->cpu_period != 0)) {
        want->cpu_quota = now->cpu_quota;
        want->cpu_period = now->cpu_period;
        want->has_cpu_quota = want->cpu_quota != 0;
        want->has_cpu_period = want->cpu_period != 0;
    }
}

json_t *ctr_spec_resources(const struct api_host_config *h, struct err *e) {
    json_t *out = json_object(), *io = json_object();
    int bad = memory(h, out) | cpu(h, out) | put(io, "weight", h->has_blkio_weight, h->blkio_weight);

    if (h->has_pids_limit && h->pids_limit > 0)
        bad |= json_object_set_new(out, "pids", json_pack("{s:I}", "limit", (json_int_t)h->pids_limit));
    if (bad)
        err_oom(e);
    if (bad || throttle(&h->blkio_device_read_bps, "throttleReadBpsDevice", io, e) < 0 ||
        throttle(&h->blkio_device_write_bps, "throttleWriteBpsDevice", io, e) < 0 ||
        throttle(&h->blkio_device_read_iops, "throttleReadIOPSDevice", io, e) < 0 ||
        throttle(&h->blkio_device_write_iops, "throttleWriteIOPSDevice", io, e) < 0 || json_object_set(out, "blockIO", io) < 0) {
        json_decref(io);
        json_decref(out);
        return NULL;
    }
    json_decref(io);
    return out;
}

/* ---- devices ------------------------------------------------------------------------------------------------------------------- */
static int rule(json_t *rules, bool allow, const char *type, int64_t maj, int64_t min, const char *access, struct err *e) {
    json_t *o = json_pack("{s:b,s:s}", "allow", allow, "access", access);

    if (type)
        json_object_set_new(o, "type", json_string(type));
    if (maj >= 0)
        json_object_set_new(o, "major", json_integer(maj));
    if (min >= 0)
        json_object_set_new(o, "minor", json_integer(min));
    return json_array_append_new(rules, o) < 0 ? err_oom(e) : 0;
}

static int default_rules(json_t *rules, struct err *e) {
    static const struct {
        const char *type;
        int maj, min;
        const char *access;
    } allowed[] = {
        {"c", -1, -1, "m"}, {"b", -1, -1, "m"},    {"c", 1, 3, "rwm"}, {"c", 1, 5, "rwm"},
        {"c", 1, 7, "rwm"}, {"c", 1, 8, "rwm"},    {"c", 1, 9, "rwm"}, {"c", 5, 0, "rwm"},
        {"c", 5, 1, "rwm"}, {"c", 136, -1, "rwm"}, {"c", 5, 2, "rwm"}, {"c", 10, 200, "rwm"}, /* tun: as the reference's runtime */

    };
    int r = rule(rules, false, NULL, -1, -1, "rwm", e);

    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(allowed); i++)
        r = rule(rules, true, allowed[i].type, allowed[i].maj, allowed[i].min, allowed[i].access, e);
    return r;
}

struct devices {
    json_t *nodes, *rules;
    const char *access;
};

static int add_node(struct devices *d, const struct stat *st, const char *path, struct err *e) {
    const char *type = S_ISBLK(st->st_mode) ? "b" : "c";
    json_t *n;

    if (json_array_size(d->nodes) >= DEVICES_MAX)
        return 0;
    n = json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I}", "path", path, "type", type, "major", (json_int_t)major(st->st_rdev), "minor",
                  (json_int_t)minor(st->st_rdev), "fileMode", (json_int_t)(st->st_mode & 07777), "uid", (json_int_t)st->st_uid, "gid",
                  (json_int_t)st->st_gid);
    if (json_array_append_new(d->nodes, n) < 0)
        return err_oom(e);
    return d->rules ? rule(d->rules, true, type, major(st->st_rdev), minor(st->st_rdev), d->access, e) : 0;
}

static bool is_device(const struct stat *st) {
    return S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
}

/* All devices below a folder of the host, under the same relative names. */
static int add_tree(struct devices *d, const char *host, const char *inside, int levels, struct err *e) {
    static const char *const skip[] = {"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console", "ptmx", NULL};
    _cleanup_closedir_ DIR *dir = opendir(host);
    struct dirent *de;

    if (!dir || levels <= 0)
        return 0;
    while ((de = readdir(dir))) {
        _cleanup_free_ char *h = str_printf("%s/%s", host, de->d_name), *c = str_printf("%s/%s", inside, de->d_name);
        struct stat st;
        bool left_out = de->d_name[0] == '.' && (de->d_name[1] == '\0' || de->d_name[1] == '.');
        int r = 0;

        for (size_t i = 0; skip[i]; i++)
            left_out = left_out || (streq(host, "/dev") && streq(skip[i], de->d_name));
        if (left_out || !h || !c || lstat(h, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            r = add_tree(d, h, c, levels - 1, e);
        else if (is_device(&st))
            r = add_node(d, &st, c, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_asked(struct devices *d, const struct api_device_mapping *m, struct err *e) {
    const char *host = m->path_on_host ? m->path_on_host : "", *inside = str_empty(m->path_in_container) ? host : m->path_in_container;
    struct stat st;

    size_t before = json_array_size(d->nodes);
    int r;

    d->access = m->cgroup_permissions ? m->cgroup_permissions : "";
    if (stat(host, &st) < 0)
        return err_set(e, ERR_INTERNAL, "error gathering device information while adding custom device \"%s\": %s", host,
                       errno == ENOENT ? "no such file or directory" : "not a device node");
    if (!*d->access)
        return err_set(e, ERR_INTERNAL, "device access at %zu field cannot be empty", json_array_size(d->rules) + 3);
    if (is_device(&st))
        return add_node(d, &st, inside, e);
    if (S_ISDIR(st.st_mode)) {
        r = add_tree(d, host, inside, DEVICE_DEPTH, e);
        if (r < 0 || json_array_size(d->nodes) > before)
            return r;
    }
    return err_set(e, ERR_INTERNAL, "error gathering device information while adding custom device \"%s\": not a device node", host);
}

/* "c 1:3 rwm", with * for any number. */
static int add_rule_text(json_t *rules, const char *text, struct err *e) {
    char type, maj[16], min[16], access[4], rest;
    int64_t a = -1, b = -1;

    if (sscanf(text, "%c %15[0-9*]:%15[0-9*] %3[rwm]%c", &type, maj, min, access, &rest) != 4 || !strchr("abc", type) ||
        (!streq(maj, "*") && parse_i64(maj, &a) < 0) || (!streq(min, "*") && parse_i64(min, &b) < 0))
        return err_set(e, ERR_INTERNAL, "invalid device cgroup rule format: '%s'", text);
    return rule(rules, true, type == 'a' ? "a" : type == 'b' ? "b" : "c", a, b, access, e);
}

/* There are no device drivers; the text shows what was asked for the way the reference prints lists. */
static int no_driver(const struct api_device_request *d, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(4096);

    buf_addc(&b, '[');
    for (size_t i = 0; i < d->capabilities.n; i++) {
        buf_adds(&b, i ? " [" : "[");
        for (size_t k = 0; k < d->capabilities.v[i].n; k++)
            buf_addf(&b, "%s%s", k ? " " : "", d->capabilities.v[i].v[k]);
        buf_addc(&b, ']');
    }
    buf_addc(&b, ']');
    return err_set(e, ERR_INTERNAL, "could not select device driver \"%s\" with capabilities: %s", d->driver ? d->driver : "", buf_str(&b));
}

int ctr_spec_devices(const struct api_host_config *h, json_t *linux_part, json_t *resources, struct err *e) {
    json_t *nodes = json_array(), *rules = json_array();
    struct devices d = {nodes, rules, "rwm"};
    int r;

    if (!nodes || !rules || json_object_set_new(linux_part, "devices", nodes) < 0 || json_object_set_new(resources, "devices", rules) < 0)
        return err_oom(e);
    if (h->device_requests.n > 0)
        return no_driver(&h->device_requests.v[0], e);
    if (h->has_privileged && h->privileged) {
        d.rules = NULL;
        r = rule(rules, true, NULL, -1, -1, "rwm", e);
        if (r >= 0)
            r = add_tree(&d, "/dev", "/dev", DEVICE_DEPTH, e);
        d.rules = rules;
    } else {
        r = default_rules(rules, e);
    }
    for (size_t i = 0; r >= 0 && i < h->devices.n; i++)
        r = add_asked(&d, &h->devices.v[i], e);
    for (size_t i = 0; r >= 0 && i < h->device_cgroup_rules.n; i++)
        r = add_rule_text(rules, h->device_cgroup_rules.v[i], e);
    return r;
}
