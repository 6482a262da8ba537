// SPDX-License-Identifier: Apache-2.0
/* linux.resources and linux.cgroupsPath as groups to make and files to write, for v1 hierarchies and for v2. */
#include "oci/build-internal.h"

#include <errno.h>
#include <inttypes.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "oci/exec.h"

/* Where the files of a controller are: in the plan being made (container NULL), or in that of the running container. */
struct target {
    struct build *b;
    const struct plan *container;
    char path[160]; /* group path below a hierarchy */
    int r;
};

static bool is_v2(const struct target *t) {
    if (t->container)
        return oci_cgroup_dir(t->container, "any-controller") != NULL;
    return t->b->in->cgroups->pure_v2;
}

static void set_file(struct target *t, const char *controller, const char *file, uint64_t flags, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

static void set_file(struct target *t, const char *controller, const char *file, uint64_t flags, const char *fmt, ...) {
    char path[512], value[256];
    const char *dir;
    va_list ap;

    if (t->r < 0)
        return;
    if (t->container) {
        dir = oci_cgroup_dir(t->container, controller);
        if (dir)
            snprintf(path, sizeof path, "%s/%s", dir, file);
    } else {
        const struct cgroup_hierarchy *h = cgroup_of(t->b->in->cgroups, controller);

        dir = h ? h->mount : NULL;
        if (dir)
            snprintf(path, sizeof path, "%s%s/%s", dir, t->path, file);
    }
    if (!dir) {
        if (!flags)
            t->r = err_set(t->b->e, ERR_INVALID, "cannot set %s: the %s control group controller is not available on this machine", file, controller);
        return;
    }
    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    plan_add(t->b->b, PLAN_CGROUP_SET)->i[0] = flags;
    plan_set_s(t->b->b, 0, path);
    plan_set_s(t->b->b, 1, value);
}

static int64_t get(struct target *t, const json_t *o, const char *where, const char *key, bool *ret_found) {
    int64_t v = 0;
    int r = t->r < 0 ? 0 : j_int(o, where, key, INT64_MIN, INT64_MAX, &v, t->b->e);

    if (r < 0)
        t->r = r;
    *ret_found = r == 1;
    return v;
}

static void memory_v1(struct target *t, const json_t *m) {
    bool limit_set, swap_set, found;
    int64_t limit = get(t, m, "linux.resources.memory", "limit", &limit_set), swap = get(t, m, "linux.resources.memory", "swap", &swap_set), v;
    bool no_oom = false;

    if (limit_set && limit != 0) {
        /* An update that raises both must raise the sum first; one that lowers both the other way round. The first write, which may fail, covers the former. */
        if (t->container && swap_set && swap != 0)
            set_file(t, "memory", "memory.memsw.limit_in_bytes", PLAN_CGROUP_SET_TRY, "%" PRId64, swap);
        set_file(t, "memory", "memory.limit_in_bytes", 0, "%" PRId64, limit);
    }
    if (swap_set && swap != 0)
        set_file(t, "memory", "memory.memsw.limit_in_bytes", PLAN_CGROUP_SET_OPTIONAL, "%" PRId64, swap);
    v = get(t, m, "linux.resources.memory", "reservation", &found);
    if (found && v != 0)
        set_file(t, "memory", "memory.soft_limit_in_bytes", 0, "%" PRId64, v);
    v = get(t, m, "linux.resources.memory", "kernelTCP", &found);
    if (found && v != 0)
        set_file(t, "memory", "memory.kmem.tcp.limit_in_bytes", PLAN_CGROUP_SET_OPTIONAL, "%" PRId64, v);
    v = get(t, m, "linux.resources.memory", "swappiness", &found);
    if (found && v >= 0 && v <= 100)
        set_file(t, "memory", "memory.swappiness", 0, "%" PRId64, v);
    else if (found && v != -1 && t->r >= 0)
        t->r = err_set(t->b->e, ERR_INVALID, "invalid memory swappiness value: %" PRId64 " (valid range is 0-100)", v);
    if (t->r >= 0 && j_bool(m, "linux.resources.memory", "disableOOMKiller", &no_oom, t->b->e) < 0)
        t->r = -ERR_INVALID;
    if (no_oom)
        set_file(t, "memory", "memory.oom_control", 0, "1");
}

static void memory_v2(struct target *t, const json_t *m) {
    bool limit_set, swap_set, found;
    int64_t limit = get(t, m, "linux.resources.memory", "limit", &limit_set), swap = get(t, m, "linux.resources.memory", "swap", &swap_set), v;

    if (swap_set && swap < 0)
        set_file(t, "memory", "memory.swap.max", PLAN_CGROUP_SET_OPTIONAL, "max");
    else if (swap_set && swap > 0 && limit_set && swap >= limit)
        set_file(t, "memory", "memory.swap.max", PLAN_CGROUP_SET_OPTIONAL, "%" PRId64, swap - limit);
    if (limit_set && limit < 0)
        set_file(t, "memory", "memory.max", 0, "max");
    else if (limit_set && limit > 0)
        set_file(t, "memory", "memory.max", 0, "%" PRId64, limit);
    v = get(t, m, "linux.resources.memory", "reservation", &found);
    if (found && v > 0)
        set_file(t, "memory", "memory.low", 0, "%" PRId64, v);
}

static void cpu(struct target *t, const json_t *c) {
    bool shares_set, quota_set, period_set, found, v2 = is_v2(t);
    int64_t shares = get(t, c, "linux.resources.cpu", "shares", &shares_set), quota = get(t, c, "linux.resources.cpu", "quota", &quota_set);
    int64_t period = get(t, c, "linux.resources.cpu", "period", &period_set), v;
    const char *s = NULL;

    /* Out of range, in the reference's arithmetic as well, it is the kernel that says no. */
    if (shares_set && shares != 0 && v2)
        set_file(t, "cpu", "cpu.weight", 0, "%" PRIu64, 1 + ((uint64_t)shares - 2) * 9999 / 262142);
    else if (shares_set && shares > 0)
        set_file(t, "cpu", "cpu.shares", 0, "%" PRId64, shares);
    v = get(t, c, "linux.resources.cpu", "idle", &found);
    if (found)
        set_file(t, "cpu", "cpu.idle", 0, "%" PRId64, v);
    if (v2) {
        if ((quota_set && quota != 0) || (period_set && period != 0)) {
            char q[32] = "max";

            if (quota > 0)
                snprintf(q, sizeof q, "%" PRId64, quota);
            set_file(t, "cpu", "cpu.max", 0, "%s %" PRId64, q, period > 0 ? period : 100000);
        }
    } else {
        if (period_set && period != 0)
            set_file(t, "cpu", "cpu.cfs_period_us", 0, "%" PRId64, period);
        if (quota_set && quota != 0)
            set_file(t, "cpu", "cpu.cfs_quota_us", 0, "%" PRId64, quota);
        v = get(t, c, "linux.resources.cpu", "realtimePeriod", &found);
        if (found && v != 0)
            set_file(t, "cpu", "cpu.rt_period_us", 0, "%" PRId64, v);
        v = get(t, c, "linux.resources.cpu", "realtimeRuntime", &found);
        if (found && v != 0)
            set_file(t, "cpu", "cpu.rt_runtime_us", 0, "%" PRId64, v);
    }
    if (t->r >= 0 && j_str(c, "linux.resources.cpu", "cpus", &s, t->b->e) == 1 && *s)
        set_file(t, "cpuset", "cpuset.cpus", 0, "%s", s);
    s = NULL;
    if (t->r >= 0 && j_str(c, "linux.resources.cpu", "mems", &s, t->b->e) == 1 && *s)
        set_file(t, "cpuset", "cpuset.mems", 0, "%s", s);
}

static void device_values(struct target *t, const json_t *io, const char *key, const char *file, const char *member, const char *v2_key) {
    const json_t *list = NULL;
    int r = t->r < 0 ? 0 : j_array(io, "linux.resources.blockIO", key, &list, t->b->e);

    if (r < 0)
        t->r = r;
    for (size_t i = 0; list && i < json_array_size(list); i++) {
        const json_t *d = json_array_get(list, i);
        bool found;
        int64_t major = get(t, d, key, "major", &found), minor = get(t, d, key, "minor", &found), v = get(t, d, key, member, &found);

        if (!found)
            continue;
        if (is_v2(t) && v2_key)
            set_file(t, "io", "io.max", 0, "%" PRId64 ":%" PRId64 " %s=%" PRId64, major, minor, v2_key, v);
        else
            set_file(t, is_v2(t) ? "io" : "blkio", file, 0, "%" PRId64 ":%" PRId64 " %" PRId64, major, minor, v);
    }
}

static void block_io(struct target *t, const json_t *io) {
    bool found;
    int64_t weight = get(t, io, "linux.resources.blockIO", "weight", &found);

    if (found && weight > 0 && is_v2(t)) {
        set_file(t, "io", "io.bfq.weight", PLAN_CGROUP_SET_OPTIONAL, "%" PRId64, weight);
        set_file(t, "io", "io.weight", PLAN_CGROUP_SET_OPTIONAL, "%" PRId64, 1 + (weight - 10) * 9999 / 990);
    } else if (found && weight > 0) {
        /* Which file there is depends on the scheduler the kernel was built with. */
        set_file(t, "blkio", "blkio.weight", PLAN_CGROUP_SET_OPTIONAL, "%" PRId64, weight);
        set_file(t, "blkio", "blkio.bfq.weight", PLAN_CGROUP_SET_OPTIONAL, "%" PRId64, weight);
    }
    device_values(t, io, "weightDevice", is_v2(t) ? "io.bfq.weight" : "blkio.weight_device", "weight", NULL);
    device_values(t, io, "throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rate", "rbps");
    device_values(t, io, "throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "rate", "wbps");
    device_values(t, io, "throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "rate", "riops");
    device_values(t, io, "throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "rate", "wiops");
}

/* ---- devices ---------------------------------------------------------------------------------------------------------- */

#define RULES_MAX 512

static int read_rule(const json_t *d, struct device_rule *ret, struct err *e) {
    const char *type = "a", *access = "rwm";
    struct device_rule r = {.major = -1, .minor = -1};

    if (j_bool(d, "linux.resources.devices", "allow", &r.allow, e) < 0 || j_str(d, "linux.resources.devices", "type", &type, e) < 0 ||
        j_int(d, "linux.resources.devices", "major", -1, INT32_MAX, &r.major, e) < 0 ||
        j_int(d, "linux.resources.devices", "minor", -1, INT32_MAX, &r.minor, e) < 0 || j_str(d, "linux.resources.devices", "access", &access, e) < 0)
        return -ERR_INVALID;
    if (!*type)
        type = "a";
    if (strlen(type) != 1 || !strchr("abcu", *type))
        return err_set(e, ERR_INVALID, "linux.resources.devices: type \"%s\" is none of a, b, c", type);
    if (strlen(access) > 3 || strspn(access, "rwm") != strlen(access))
        return err_set(e, ERR_INVALID, "linux.resources.devices: access \"%s\" is made of other letters than r, w, m", access);
    r.type = *type == 'u' ? 'c' : *type;
    snprintf(r.access, sizeof r.access, "%s", *access ? access : "rwm");
    *ret = r;
    return 0;
}

static bool same_rule(const struct device_rule *a, const struct device_rule *b) {
    return a->type == b->type && a->major == b->major && a->minor == b->minor && streq(a->access, b->access);
}

/* Add a rule; a rule about everything forgets all earlier ones, and a repeated one replaces its predecessor. */
static size_t add_rule(struct device_rule *v, size_t n, const struct device_rule *rule) {
    if (rule->type == 'a' && rule->major < 0 && rule->minor < 0) {
        v[0] = *rule;
        return 1;
    }
    for (size_t i = 1; i < n; i++)
        if (same_rule(&v[i], rule)) {
            memmove(&v[i], &v[i + 1], (n - i - 1) * sizeof *v);
            n--;
            break;
        }
    if (n < RULES_MAX)
        v[n++] = *rule;
    return n;
}

static bool has_unified(const struct cgroup_layout *l) {
    for (size_t i = 0; i < l->n; i++)
        if (l->h[i].unified)
            return true;
    return false;
}

static int add_program(struct target *t, const struct device_rule *v, size_t n) {
    _cleanup_buf_ struct buf code = BUF_INIT(KIB(256));
    int r = build_device_program(v, n, &code, t->b->e);

    if (r < 0)
        return r;
    plan_add(t->b->b, PLAN_CGROUP_DEVICES)->i[0] = (int64_t)n;
    plan_set_bytes(t->b->b, 0, code.data, code.len);
    return 0;
}

static void devices(struct target *t, const json_t *resources) {
    /* What every container may use: make any node; the standard devices; its terminals. */
    static const struct device_rule always[] = {{true, 'c', -1, -1, "m"}, {true, 'b', -1, -1, "m"}, {true, 'c', 1, 3, "rwm"},
                                                {true, 'c', 1, 8, "rwm"}, {true, 'c', 1, 7, "rwm"}, {true, 'c', 5, 0, "rwm"},
                                                {true, 'c', 1, 5, "rwm"}, {true, 'c', 1, 9, "rwm"}, {true, 'c', 136, -1, "rwm"},
                                                {true, 'c', 5, 2, "rwm"}, {true, 'c', 5, 1, "rwm"}};
    _cleanup_free_ struct device_rule *v = calloc(RULES_MAX, sizeof *v);
    const json_t *list = NULL;
    bool v1;
    size_t n = 1;
    int r = j_array(resources, "linux.resources", "devices", &list, t->b->e);

    if (r < 0 || !v) {
        t->r = r < 0 ? r : err_oom(t->b->e);
        return;
    }
    v1 = !is_v2(t) && cgroup_of(t->b->in->cgroups, "devices");
    if (!v1 && !has_unified(t->b->in->cgroups))
        return;
    v[0] = (struct device_rule){false, 'a', -1, -1, "rwm"};
    for (size_t i = 0; list && i < json_array_size(list); i++) {
        struct device_rule rule;

        r = read_rule(json_array_get(list, i), &rule, t->b->e);
        if (r < 0) {
            t->r = r;
            return;
        }
        n = add_rule(v, n, &rule);
    }
    for (size_t i = 0; i < ELEMENTSOF(always) && !v[0].allow; i++)
        n = add_rule(v, n, &always[i]);
    if (!v1)
        t->r = add_program(t, v, n);
    for (size_t i = 0; i < n && v1; i++) {
        char major[24] = "*", minor[24] = "*";

        /* Denying what is denied already costs a write and says nothing. */
        if (i > 0 && v[i].allow == v[0].allow)
            continue;
        if (v[i].major >= 0)
            snprintf(major, sizeof major, "%" PRId64, v[i].major);
        if (v[i].minor >= 0)
            snprintf(minor, sizeof minor, "%" PRId64, v[i].minor);
        if (v[i].type == 'a')
            set_file(t, "devices", v[i].allow ? "devices.allow" : "devices.deny", 0, "a");
        else
            set_file(t, "devices", v[i].allow ? "devices.allow" : "devices.deny", 0, "%c %s:%s %s", v[i].type, major, minor, v[i].access);
    }
}

/* ---- all of it -------------------------------------------------------------------------------------------------------- */

static int group_path(struct build *b, char ret[160]) {
    const char *path = NULL;
    int r = j_str(b->linux_, "linux", "cgroupsPath", &path, b->e);
    size_t n;

    if (r < 0)
        return r;
    n = path ? strlen(path) : 0;
    if (!n) {
        n = strlen(b->in->id);
        if (n > 128)
            return err_set(b->e, ERR_INVALID, "container id is too long");
        ret[0] = '/';
        memcpy(ret + 1, b->in->id, n + 1);
        return 0;
    }
    if (n > 150)
        return err_set(b->e, ERR_INVALID, "linux.cgroupsPath: longer than 150 bytes");
    if (strstr(path, "..") || strchr(path, '\n'))
        return err_set(b->e, ERR_INVALID, "linux.cgroupsPath: \"%s\" is not a plain path", path);
    if (!strchr(path, '/') && strchr(path, ':'))
        return err_set(b->e, ERR_INVALID, "linux.cgroupsPath: \"%s\" is a systemd name, and the systemd driver is not in use", path);
    snprintf(ret, 160, "%s%s", *path == '/' ? "" : "/", path);
    return 0;
}

int build_cgroups(struct build *b) {
    char path[160], dir[320];

    if (!b->in->cgroups)
        return 0;
    if (group_path(b, path) < 0)
        return -ERR_INVALID;
    for (size_t i = 0; i < b->in->cgroups->n; i++) {
        const struct cgroup_hierarchy *h = &b->in->cgroups->h[i];

        snprintf(dir, sizeof dir, "%s%s", h->mount, path);
        plan_add(b->b, PLAN_CGROUP)->i[0] = h->unified ? 2 : 1;
        plan_set_s(b->b, 0, dir);
        plan_set_s(b->b, 1, h->unified ? (b->in->cgroups->pure_v2 ? "*" : "") : h->controllers);
    }
    return 0;
}

static int apply(struct target *t, const json_t *resources) {
    const json_t *memory = NULL, *cpus = NULL, *pids = NULL, *io = NULL, *unified = NULL, *value;
    const char *key;
    bool found;
    int64_t n;

    if (j_object(resources, "linux.resources", "memory", &memory, t->b->e) < 0 || j_object(resources, "linux.resources", "cpu", &cpus, t->b->e) < 0 ||
        j_object(resources, "linux.resources", "pids", &pids, t->b->e) < 0 || j_object(resources, "linux.resources", "blockIO", &io, t->b->e) < 0 ||
        j_object(resources, "linux.resources", "unified", &unified, t->b->e) < 0)
        return -ERR_INVALID;
    if (memory && is_v2(t))
        memory_v2(t, memory);
    else if (memory)
        memory_v1(t, memory);
    if (cpus)
        cpu(t, cpus);
    if (io)
        block_io(t, io);
    n = pids ? get(t, pids, "linux.resources.pids", "limit", &found) : 0;
    if (pids && found && n > 0)
        set_file(t, "pids", "pids.max", 0, "%" PRId64, n);
    else if (pids && found && (n < 0 || t->container))
        set_file(t, "pids", "pids.max", 0, "max");
    if (unified)
        json_object_foreach((json_t *)(uintptr_t)unified, key, value) {
            if (strchr(key, '/') || !strchr(key, '.') || !json_is_string(value))
                return err_set(t->b->e, ERR_INVALID, "linux.resources.unified: \"%s\" is not a control group file with a text", key);
            set_file(t, "unified", key, 0, "%s", json_string_value(value));
        }
    return t->r;
}

int build_resources(struct build *b, const json_t *resources, const char *const *dirs, bool with_devices) {
    struct target t = {.b = b};
    int r = group_path(b, t.path);

    if (r >= 0 && resources)
        t.r = apply(&t, resources);
    if (r >= 0 && with_devices && t.r >= 0)
        devices(&t, resources);
    return r < 0 ? r : t.r;
}

int oci_build_update(struct plan_builder *pb, const json_t *resources, const struct plan *container, struct err *e) {
    struct build b = {.b = pb, .e = e};
    struct target t = {.b = &b, .container = container};

    if (!json_is_object(resources))
        return err_set(e, ERR_INVALID, "resources: expected an object");
    return apply(&t, resources);
}
