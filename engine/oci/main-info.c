// SPDX-License-Identifier: Apache-2.0
/* Commands that look at or change what exists. */
#include "oci/main.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"

static json_t *state_of(const struct container *c) {
    const char *status = container_status(c);

    return json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:O*}", "ociVersion", "1.2.0", "id", c->id, "status", status, "pid",
                     streq(status, "stopped") ? 0 : (int)c->pid, "bundle", c->bundle, "rootfs", c->rootfs, "created", c->created, "annotations",
                     c->annotations);
}

static int print_json(json_t *o, size_t indent) {
    _cleanup_free_ char *text = o ? json_dumps(o, JSON_INDENT(indent)) : NULL;

    json_decref(o);
    puts(text ? text : "null");
    return 0;
}

int cmd_state(const struct options *o, struct err *e) {
    struct container c;
    int r = container_load(o, &c, e);

    if (r < 0)
        return r;
    print_json(state_of(&c), 2);
    container_done(&c);
    return 0;
}

int cmd_list(const struct options *o, struct err *e) {
    _cleanup_closedir_ DIR *d = opendir(o->root);
    bool json = o->format && streq(o->format, "json");
    json_t *all = json_array();

    if (!json && !o->quiet)
        printf("%-24s %-10s %-10s %-40s %s\n", "ID", "PID", "STATUS", "BUNDLE", "CREATED");
    for (struct dirent *de; d && (de = readdir(d));) {
        struct options one = *o;
        struct container c;

        one.id = de->d_name;
        if (de->d_name[0] == '.' || container_load(&one, &c, NULL) < 0)
            continue;
        if (json)
            json_array_append_new(all, state_of(&c));
        else if (o->quiet)
            puts(c.id);
        else
            printf("%-24s %-10d %-10s %-40s %s\n", c.id, streq(container_status(&c), "stopped") ? 0 : (int)c.pid, container_status(&c), c.bundle,
                   c.created);
        container_done(&c);
    }
    if (json)
        return print_json(all, 0);
    json_decref(all);
    return 0;
}

int cmd_ps(const struct options *o, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(MIB(1));
    char path[640];
    const char *dir;
    struct container c;
    json_t *list = json_array();
    int r = container_load(o, &c, e);

    if (r < 0) {
        json_decref(list);
        return r;
    }
    dir = oci_cgroup_dir(&c.plan, "freezer");
    snprintf(path, sizeof path, "%s/cgroup.procs", dir ? dir : "");
    r = dir ? fs_read_file(path, &b, e) : err_set(e, ERR_INTERNAL, "container %s has no control group", c.id);
    for (char *line, *rest = r < 0 ? NULL : b.data; rest && (line = strsep(&rest, "\n")) && *line;) {
        int64_t pid;

        if (parse_i64(line, &pid) == 0)
            json_array_append_new(list, json_integer(pid));
    }
    container_done(&c);
    if (r < 0) {
        json_decref(list);
        return r;
    }
    if (o->format && streq(o->format, "json"))
        return print_json(list, 0);
    for (size_t i = 0; i < json_array_size(list); i++)
        printf("%lld\n", (long long)json_integer_value(json_array_get(list, i)));
    json_decref(list);
    return 0;
}

int cmd_kill(const struct options *o, struct err *e) {
    const char *name = o->n_args ? o->args[0] : "SIGTERM";
    int sig = oci_signal_number(name), r;
    struct container c;

    if (sig < 0)
        return err_set(e, ERR_INVALID, "unknown signal \"%s\"", name);
    r = container_load(o, &c, e);
    if (r < 0)
        return r;
    if (o->all)
        oci_cgroup_signal(&kern_linux, &c.plan, sig, 0);
    else if (streq(container_status(&c), "stopped"))
        r = err_set(e, ERR_CONFLICT, "container not running");
    else if (kill(c.pid, sig) < 0)
        r = err_errno(e, errno, "kill");
    container_done(&c);
    return r;
}

static int freeze(const struct options *o, bool on, struct err *e) {
    struct container c;
    int r = container_load(o, &c, e);

    if (r < 0)
        return r;
    r = oci_cgroup_freeze(&kern_linux, &c.plan, on);
    container_done(&c);
    return r < 0 ? err_errno(e, r, "unable to %s the container", on ? "freeze" : "thaw") : 0;
}

int cmd_pause(const struct options *o, struct err *e) {
    return freeze(o, true, e);
}

int cmd_resume(const struct options *o, struct err *e) {
    return freeze(o, false, e);
}

int cmd_update(const struct options *o, struct err *e) {
    struct plan_builder b = PLAN_BUILDER_INIT;
    _cleanup_free_ void *block = NULL;
    struct oci_fault f = {0};
    struct container c;
    struct plan p;
    json_t *resources;
    json_error_t je;
    size_t n;
    int r;

    if (!o->resources)
        return err_set(e, ERR_INVALID, "update: --resources FILE is needed (\"-\" for standard input)");
    r = container_load(o, &c, e);
    if (r < 0)
        return r;
    resources = streq(o->resources, "-") ? json_loadf(stdin, 0, &je) : json_load_file(o->resources, 0, &je);
    r = resources ? oci_build_update(&b, resources, &c.plan, e) : err_set(e, ERR_INVALID, "%s: %s", o->resources, je.text);
    if (r >= 0)
        r = plan_finish(&b, &block, &n, e);
    if (r >= 0 && plan_open(block, n, &p) < 0)
        r = err_set(e, ERR_INTERNAL, "the plan is not valid");
    if (r >= 0 && oci_update(&kern_linux, &p, &f) < 0)
        r = err_set(e, ERR_INTERNAL, "%s", f.text);
    plan_builder_done(&b);
    json_decref(resources);
    container_done(&c);
    return r < 0 ? r : 0;
}

/* ---- spec, features --------------------------------------------------------------------------------------------------- */

static json_t *mount_entry(const char *target, const char *type, const char *source, const char *options) {
    json_t *list = json_array();

    for (const char *p = options; *p;) {
        size_t n = strcspn(p, ",");

        json_array_append_new(list, json_stringn(p, n));
        p += n + (p[n] == ',');
    }
    return json_pack("{s:s, s:s, s:s, s:o}", "destination", target, "type", type, "source", source, "options", list);
}

int cmd_spec(const struct options *o, struct err *e) {
    _cleanup_free_ char *path = str_printf("%s/config.json", o->bundle ? o->bundle : "."), *text = NULL;
    json_t *mounts = json_array(), *caps = json_pack("[s,s,s]", "CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"), *spec;
    int r;

    json_array_append_new(mounts, mount_entry("/proc", "proc", "proc", ""));
    json_array_append_new(mounts, mount_entry("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"));
    json_array_append_new(mounts, mount_entry("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"));
    json_array_append_new(mounts, mount_entry("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"));
    json_array_append_new(mounts, mount_entry("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"));
    json_array_append_new(mounts, mount_entry("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"));
    json_array_append_new(mounts, mount_entry("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"));
    spec = json_pack("{s:s, s:{s:b, s:{s:i,s:i}, s:[s], s:[s,s], s:s, s:{s:O,s:O,s:O}, s:[{s:s,s:i,s:i}], s:b}, s:{s:s,s:b}, s:s, s:o, "
                     "s:{s:{s:[{s:b,s:s}]}, s:[{s:s},{s:s},{s:s},{s:s},{s:s},{s:s}], s:[s,s,s,s,s,s,s,s,s], s:[s,s,s,s,s]}}",
                     "ociVersion", "1.2.0", "process", "terminal", 1, "user", "uid", 0, "gid", 0, "args", "sh", "env",
                     "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "cwd", "/", "capabilities", "bounding", caps,
                     "effective", caps, "permitted", caps, "rlimits", "type", "RLIMIT_NOFILE", "hard", 1024, "soft", 1024, "noNewPrivileges", 1,
                     "root", "path", "rootfs", "readonly", 1, "hostname", "container", "mounts", mounts, "linux", "resources", "devices", "allow", 0,
                     "access", "rwm", "namespaces", "type", "pid", "type", "network", "type", "ipc", "type", "uts", "type", "mount", "type", "cgroup",
                     "maskedPaths", "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                     "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "readonlyPaths", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                     "/proc/sysrq-trigger");
    json_decref(caps);
    text = spec ? json_dumps(spec, JSON_INDENT(1)) : NULL;
    json_decref(spec);
    if (!path || !text)
        return err_oom(e);
    if (fs_exists(path))
        return err_set(e, ERR_CONFLICT, "File config.json exists. Remove it first");
    r = fs_replace_file_volatile(path, text, strlen(text), 0666, e);
    return r;
}

int cmd_features(const struct options *o, struct err *e) {
    return print_json(json_pack("{s:s, s:s, s:[s,s,s,s,s,s], s:[s,s,s,s,s,s,s,s,s,s,s,s,s,s,s,s], s:{s:[s,s,s,s,s,s,s], s:{s:b,s:b,s:b}, "
                                "s:{s:b, s:[s,s,s,s,s,s,s], s:[s,s,s,s,s,s,s]}, s:{s:b}}}",
                                "ociVersionMin", "1.0.0", "ociVersionMax", "1.2.0", "hooks", "prestart", "createRuntime", "createContainer",
                                "startContainer", "poststart", "poststop", "mountOptions", "bind", "rbind", "ro", "rw", "nosuid", "nodev", "noexec",
                                "noatime", "rro", "private", "rprivate", "slave", "rslave", "shared", "rshared", "tmpcopyup", "linux", "namespaces",
                                "cgroup", "ipc", "mount", "network", "pid", "user", "uts", "cgroup", "v1", 1, "v2", 1, "systemd", 0, "seccomp",
                                "enabled", 1, "actions", "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                                "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_TRAP", "operators", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
                                "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE", "apparmor", "enabled", 1),
                      2);
}
