// SPDX-License-Identifier: Apache-2.0
/* Control groups of a plan: made and limited by the parent, joined by the child. */
#include "oci/exec-internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/str.h"

#define FREEZE_LOOKS 2000 /* 10 s */
#define REMOVE_LOOKS 200  /* 0.4 s */

/* mkdir -p below a cgroup mount; the parents of the wanted group may be new too. */
static int make_group(const struct kern *k, const char *dir) {
    char path[512];
    size_t n = strlen(dir);
    int r = k->mkdirat(AT_FDCWD, dir, 0755);

    if (r != -ENOENT)
        return r == -EEXIST ? 0 : r;
    if (n >= sizeof path)
        return -ENAMETOOLONG;
    memcpy(path, dir, n + 1);
    for (char *s = strchr(path + 1, '/'); s; s = strchr(s + 1, '/')) {
        *s = 0;
        r = k->mkdirat(AT_FDCWD, path, 0755);
        *s = '/';
        if (r < 0 && r != -EEXIST && r != -EROFS && r != -EPERM && r != -EACCES)
            return r;
    }
    r = k->mkdirat(AT_FDCWD, dir, 0755);
    return r == -EEXIST ? 0 : r;
}

static int read_small(const char *dir, const char *name, char *ret, size_t cap) {
    char path[512];
    ssize_t n;
    int fd;

    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return -ENAMETOOLONG;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    n = read(fd, ret, cap - 1);
    if (n < 0)
        n = -errno;
    else
        ret[n] = 0;
    close_fd(fd);
    return (int)n;
}

/* A new cpuset group is empty and takes no process until it has the values of its parent; parents may be new too, so start at the top. */
static int inherit_cpuset(const struct kern *k, const char *dir) {
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    char value[256], path[512], parent[512];
    size_t n = strlen(dir);
    char *slash;

    if (n >= sizeof parent)
        return -ENAMETOOLONG;
    memcpy(parent, dir, n + 1);
    slash = strrchr(parent, '/');
    if (!slash || slash == parent)
        return 0;
    *slash = 0;
    for (size_t i = 0; i < ELEMENTSOF(files); i++) {
        int r = read_small(dir, files[i], value, sizeof value);

        if (r < 0)
            return r == -ENOENT ? 0 : r;
        if (r > 1)
            continue;
        r = read_small(parent, files[i], value, sizeof value);
        if (r == -ENOENT)
            return 0;
        if (r <= 1) {
            int q = inherit_cpuset(k, parent);

            if (q < 0)
                return q;
            r = read_small(parent, files[i], value, sizeof value);
        }
        if (r < 0)
            return r;
        if (snprintf(path, sizeof path, "%s/%s", dir, files[i]) >= (int)sizeof path)
            return -ENAMETOOLONG;
        r = kern_write_file(k, AT_FDCWD, path, value);
        if (r < 0)
            return r;
    }
    return 0;
}

/* v2: children of a group get a controller only when each parent passes it on. */
static void enable_controllers(const struct kern *k, const char *dir) {
    char have[256], path[512], word[64];
    size_t n = strlen(dir);

    if (n >= sizeof path)
        return;
    for (const char *s = strchr(dir + 1, '/'); s; s = strchr(s + 1, '/')) {
        char parent[512];

        memcpy(parent, dir, (size_t)(s - dir));
        parent[s - dir] = 0;
        if (read_small(parent, "cgroup.controllers", have, sizeof have) <= 0)
            continue;
        if (snprintf(path, sizeof path, "%s/cgroup.subtree_control", parent) >= (int)sizeof path)
            return;
        for (char *p = have, *w; (w = strsep(&p, " \n"));)
            if (*w && snprintf(word, sizeof word, "+%s", w) < (int)sizeof word)
                ignore_result(kern_write_file(k, AT_FDCWD, path, word));
    }
}

static int attach_devices(const struct plan *p, const struct plan_op *op, int group_fd) {
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE}, attach = {0};
    int fd, r = 0;

    load.insns = (uint64_t)(uintptr_t)plan_s(p, op, 0);
    load.insn_cnt = (uint32_t)(plan_sn(p, op, 0) / sizeof(struct bpf_insn));
    load.license = (uint64_t)(uintptr_t) "Apache-2.0";
    fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
    if (fd < 0)
        return -errno;
    attach.target_fd = (uint32_t)group_fd;
    attach.attach_bpf_fd = (uint32_t)fd;
    attach.attach_type = BPF_CGROUP_DEVICE;
    attach.attach_flags = BPF_F_ALLOW_MULTI;
    if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach) < 0)
        r = -errno;
    close_fd(fd);
    return r;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int set_value(const struct kern *k, const struct plan *p, const struct plan_op *op) {
    int r = kern_write_file(k, AT_FDCWD, plan_s(p, op, 0), plan_s(p, op, 1));

    if (op->i[0] & PLAN_CGROUP_SET_TRY || (op->i[0] & PLAN_CGROUP_SET_OPTIONAL && (r == -ENOENT || r == -EOPNOTSUPP || r == -EACCES)))
        return 0;
    return r;
}

int oci_update(const struct kern *k, const struct plan *p, struct oci_fault *f) {
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        int r = op->type == PLAN_CGROUP_SET ? set_value(k, p, op) : 0;

        if (r < 0)
            return fault_set(f, r, "failed to write \"%s\": write %s", plan_s(p, op, 1), plan_s(p, op, 0));
    }
    return 0;
}

int parent_cgroups(const struct kern *k, const struct plan *p, int *ret_v2_fd, struct oci_fault *f) {
    int r;

    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        const char *dir = plan_s(p, op, 0);

        if (op->type == PLAN_CGROUP) {
            r = make_group(k, dir);
            if (r == 0 && streq(plan_s(p, op, 1), "cpuset"))
                r = inherit_cpuset(k, dir);
            if (r < 0)
                return fault_set(f, r, "unable to apply cgroup configuration: mkdir %s", dir);
            if (op->i[0] == 2) {
                if (plan_s(p, op, 1)[0] == '*')
                    enable_controllers(k, dir);
                *ret_v2_fd = k->openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
                if (*ret_v2_fd < 0)
                    return fault_set(f, *ret_v2_fd, "unable to apply cgroup configuration: open %s", dir);
            }
        } else if (op->type == PLAN_CGROUP_SET) {
            r = set_value(k, p, op);
            if (r < 0)
                return fault_set(f, r, "%s: failed to write \"%s\": write %s",
                                 str_has_prefix(base_name(dir), "cpu.rt_")
                                     ? "unable to apply cgroup configuration"
                                     : "error during container init: error setting cgroup config for procHooks process",
                                 plan_s(p, op, 1), dir);
        } else if (op->type == PLAN_CGROUP_DEVICES && *ret_v2_fd >= 0) {
            r = attach_devices(p, op, *ret_v2_fd);
            if (r < 0 && r != -EPERM)
                return fault_set(f, r, "error setting cgroup config for procHooks process: device rules of %s", base_name(dir));
        }
    }
    return 0;
}

int child_join_cgroups(const struct kern *k, const struct plan *p, const char **ret_where) {
    char path[512];

    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        int r;

        if (op->type != PLAN_CGROUP || op->i[0] != 1)
            continue;
        snprintf(path, sizeof path, "%s/tasks", plan_s(p, op, 0));
        r = kern_write_file(k, AT_FDCWD, path, "0");
        if (r < 0) {
            *ret_where = plan_s(p, op, 0);
            return r;
        }
    }
    return 0;
}

/*
 * Between two looks at what the kernel does on its own and tells nobody of. It mostly takes as long as a process needs to wake up, which is shorter than any
 * sleep: so the first looks only let others run, and who is kept waiting waits longer and longer.
 */
static void nap(int looks) {
    struct timespec t = {.tv_nsec = looks < 40 ? 100000 : looks < 140 ? 1000000 : 5000000};

    if (looks < 20)
        sched_yield();
    else
        nanosleep(&t, NULL);
}

/* Groups that processes inside made below ours go first. */
static int remove_group(const char *dir, int depth) {
    _cleanup_closedir_ DIR *d = NULL;
    char path[768];

    if (rmdir(dir) == 0 || errno == ENOENT)
        return 0;
    if (errno != EBUSY || depth > 16)
        return -errno;
    d = opendir(dir);
    for (struct dirent *de; d && (de = readdir(d));)
        if (de->d_type == DT_DIR && de->d_name[0] != '.' && snprintf(path, sizeof path, "%s/%s", dir, de->d_name) < (int)sizeof path)
            ignore_result(remove_group(path, depth + 1));
    return rmdir(dir) == 0 || errno == ENOENT ? 0 : -errno;
}

int oci_cgroup_remove(const struct kern *k, const struct plan *p) {
    int result = 0;

    /* A process just reaped may still be leaving its group: a few short waits are normal. */
    for (size_t i = p->n_ops; i-- > 0;) {
        int r = 0;

        if (p->ops[i].type != PLAN_CGROUP)
            continue;
        for (int looks = 0; looks < REMOVE_LOOKS; looks++) {
            r = remove_group(plan_s(p, &p->ops[i], 0), 0);
            if (r != -EBUSY)
                break;
            nap(looks);
        }
        if (r < 0)
            result = r;
    }
    return result;
}

/* The group used to find all processes: the unified one, else freezer, else any. */
static const char *process_group(const struct plan *p) {
    const char *any = NULL;

    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];

        if (op->type != PLAN_CGROUP)
            continue;
        any = any ? any : plan_s(p, op, 0);
        if (streq(plan_s(p, op, 1), "freezer") || plan_s(p, op, 1)[0] == '*')
            return plan_s(p, op, 0);
    }
    return any;
}

static int signal_group(const struct kern *k, const char *dir, int sig, pid_t except, int depth) {
    _cleanup_closedir_ DIR *d = NULL;
    char text[4096], path[768];
    int count = 0, n, left = 0;
    int fd;

    if (snprintf(path, sizeof path, "%s/cgroup.procs", dir) >= (int)sizeof path)
        return 0;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    while ((n = (int)read(fd, text + left, sizeof text - 1 - (size_t)left)) > 0) {
        char *p = text, *nl;

        text[left + n] = 0;
        for (; (nl = strchr(p, '\n')); p = nl + 1) {
            int64_t pid;

            *nl = 0;
            if (parse_i64(p, &pid) < 0 || pid <= 1 || pid == except)
                continue;
            count++;
            if (sig)
                kill((pid_t)pid, sig);
        }
        left = (int)strlen(p);
        memmove(text, p, (size_t)left);
    }
    close_fd(fd);
    d = depth < 16 ? opendir(dir) : NULL;
    for (struct dirent *de; d && (de = readdir(d));)
        if (de->d_type == DT_DIR && de->d_name[0] != '.' && snprintf(path, sizeof path, "%s/%s", dir, de->d_name) < (int)sizeof path)
            count += signal_group(k, path, sig, except, depth + 1);
    return count;
}

int oci_cgroup_signal(const struct kern *k, const struct plan *p, int sig, pid_t except) {
    const char *dir = process_group(p);
    int n = dir ? signal_group(k, dir, sig, except, 0) : 0;
    char path[512];

    /* v2 kills a whole group at once, however fast it forks (5.14); what the loop above missed goes here. */
    for (size_t i = 0; sig == SIGKILL && !except && i < p->n_ops; i++)
        if (p->ops[i].type == PLAN_CGROUP && p->ops[i].i[0] == 2 &&
            snprintf(path, sizeof path, "%s/cgroup.kill", plan_s(p, &p->ops[i], 0)) < (int)sizeof path)
            ignore_result(kern_write_file(k, AT_FDCWD, path, "1"));
    return n;
}

const char *oci_cgroup_dir(const struct plan *p, const char *controller) {
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        const char *c = plan_s(p, op, 1);
        size_t n = strlen(controller);

        if (op->type != PLAN_CGROUP)
            continue;
        if (*c == '*')
            return plan_s(p, op, 0);
        for (; c; c = strchr(c, ',') ? strchr(c, ',') + 1 : NULL)
            if (strncmp(c, controller, n) == 0 && (c[n] == 0 || c[n] == ','))
                return plan_s(p, op, 0);
    }
    return NULL;
}

int oci_cgroup_freeze(const struct kern *k, const struct plan *p, bool freeze) {
    const char *dir = oci_cgroup_dir(p, "freezer"), *want, *file, *value;
    char path[512], text[256];
    bool v2;

    if (!dir)
        return -EOPNOTSUPP;
    v2 = snprintf(path, sizeof path, "%s/cgroup.freeze", dir) < (int)sizeof path && access(path, F_OK) == 0;
    file = v2 ? "cgroup.freeze" : "freezer.state";
    value = v2 ? (freeze ? "1" : "0") : (freeze ? "FROZEN" : "THAWED");
    want = v2 ? (freeze ? "frozen 1" : "frozen 0") : value;
    snprintf(path, sizeof path, "%s/%s", dir, file);
    for (int i = 0; i < FREEZE_LOOKS; i++) {
        /* v1: a group can stay FREEZING when a process forks meanwhile; writing again gets it there. */
        int r = i == 0 || (!v2 && i % 10 == 0) ? kern_write_file(k, AT_FDCWD, path, value) : 0;

        if (r < 0)
            return r;
        r = read_small(dir, v2 ? "cgroup.events" : file, text, sizeof text);
        if (r < 0)
            return r;
        if (strstr(text, want))
            return 0;
        nap(i);
    }
    ignore_result(kern_write_file(k, AT_FDCWD, path, v2 ? "0" : "THAWED"));
    return -ETIMEDOUT;
}

int64_t oci_cgroup_oom_kills(const struct kern *k, const struct plan *p) {
    const char *dir = oci_cgroup_dir(p, "memory"), *at;
    char text[1024];
    int64_t n = 0;

    if (!dir)
        return -1;
    if (read_small(dir, "memory.oom_control", text, sizeof text) <= 0 && read_small(dir, "memory.events", text, sizeof text) <= 0)
        return -1;
    at = strstr(text, "oom_kill ");
    if (!at)
        return -1;
    for (at += 9; *at >= '0' && *at <= '9'; at++)
        n = n * 10 + (*at - '0');
    return n;
}
