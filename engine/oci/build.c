// SPDX-License-Identifier: Apache-2.0
#include "oci/build-internal.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/str.h"

/* ---- the process ------------------------------------------------------------------------------------------------------ */

static int build_user(struct plan_builder *b, const json_t *process, int64_t *ret_uid, struct err *e) {
    const json_t *user = NULL, *groups = NULL;
    int64_t uid = 0, gid = 0, mask = -1;
    gid_t list[1024];
    size_t n = 0;
    struct plan_op *op;
    int r = j_object(process, "process", "user", &user, e);

    if (r == 1) {
        r = j_int(user, "process.user", "uid", 0, UINT32_MAX - 1, &uid, e);
        if (r >= 0)
            r = j_int(user, "process.user", "gid", 0, UINT32_MAX - 1, &gid, e);
        if (r >= 0)
            r = j_int(user, "process.user", "umask", 0, 0777, &mask, e);
        if (r >= 0)
            r = j_array(user, "process.user", "additionalGids", &groups, e);
    }
    if (r < 0)
        return r;
    for (size_t i = 0; groups && i < json_array_size(groups); i++) {
        const json_t *g = json_array_get(groups, i);

        if (!json_is_integer(g) || json_integer_value(g) < 0 || json_integer_value(g) >= UINT32_MAX)
            return err_set(e, ERR_INVALID, "process.user.additionalGids[%zu]: expected a group number", i);
        if (n == ELEMENTSOF(list))
            return err_set(e, ERR_INVALID, "process.user.additionalGids: more than %zu groups", ELEMENTSOF(list));
        list[n++] = (gid_t)json_integer_value(g);
    }
    op = plan_add(b, PLAN_USER);
    op->i[0] = uid;
    op->i[1] = gid;
    op->i[2] = mask;
    plan_set_bytes(b, 0, list, n * sizeof *list);
    *ret_uid = uid;
    return 0;
}

static int build_rlimits(struct plan_builder *b, const json_t *process, struct err *e) {
    const json_t *limits = NULL;
    int r = j_array(process, "process", "rlimits", &limits, e);

    for (size_t i = 0; r >= 0 && limits && i < json_array_size(limits); i++) {
        const json_t *l = json_array_get(limits, i);
        const char *type = "";
        struct plan_op *op;
        int number;

        r = j_str(l, "process.rlimits", "type", &type, e);
        number = build_rlimit_number(type);
        if (r >= 0 && number < 0)
            return err_set(e, ERR_INVALID, "process.rlimits[%zu].type: unknown limit \"%s\"", i, type);
        op = plan_add(b, PLAN_RLIMIT);
        op->i[0] = number;
        /* RLIM_INFINITY does not fit a signed integer: JSON parsers give -1 or a real number for it */
        op->i[1] = json_is_integer(json_object_get(l, "soft")) ? json_integer_value(json_object_get(l, "soft")) : -1;
        op->i[2] = json_is_integer(json_object_get(l, "hard")) ? json_integer_value(json_object_get(l, "hard")) : -1;
    }
    return r < 0 ? r : 0;
}

static int build_seccomp(struct plan_builder *b, const json_t *spec, uint64_t caps, struct seccomp_cache *cache, struct err *e) {
    const json_t *linux_ = NULL, *seccomp = NULL;
    _cleanup_buf_ struct buf filter = BUF_INIT(64 * 1024 * sizeof(uint64_t));
    int64_t flags = 0;
    int r = j_object(spec, "", "linux", &linux_, e);

    if (r == 1)
        r = j_object(linux_, "linux", "seccomp", &seccomp, e);
    if (r <= 0 || !seccomp)
        return r;
    r = seccomp_flags(seccomp, &flags, e);
    if (r >= 0)
        r = seccomp_cached(cache, seccomp, caps, &filter, e);
    if (r < 0)
        return r;
    if (filter.len) {
        plan_add(b, PLAN_SECCOMP)->i[0] = flags;
        plan_set_bytes(b, 0, filter.data, filter.len);
    }
    return 0;
}

/* `init`: program put in front of the arguments, or NULL. */
static int process_ops(struct plan_builder *b, const json_t *process, const json_t *spec, struct seccomp_cache *cache, const char *init,
                       struct err *e) {
    _cleanup_free_ const char **args = NULL, **env = NULL, **with_init = NULL;
    const char *cwd = "/", *profile = NULL;
    const json_t *size = NULL;
    bool tty = false, nnp = false;
    int64_t uid = 0, rows = 0, cols = 0, oom;
    uint64_t caps[5];
    size_t n_args = 0, n_env = 0;
    struct plan_op *op;
    int r = j_list(process, "process", "args", &args, &n_args, e);

    if (r >= 0 && !n_args)
        return err_set(e, ERR_INVALID, "process.args: expected at least one argument");
    if (r >= 0)
        r = j_list(process, "process", "env", &env, &n_env, e);
    if (r >= 0)
        r = j_str(process, "process", "cwd", &cwd, e);
    if (r >= 0 && *cwd != '/')
        return err_set(e, ERR_INVALID, "process.cwd: \"%s\" is not an absolute path", cwd);
    if (r >= 0)
        r = j_bool(process, "process", "terminal", &tty, e);
    if (r >= 0)
        r = j_bool(process, "process", "noNewPrivileges", &nnp, e);
    if (r >= 0)
        r = j_str(process, "process", "apparmorProfile", &profile, e);
    if (r >= 0)
        r = j_int(process, "process", "oomScoreAdj", -1000, 1000, &oom, e);
    if (r == 1)
        plan_add(b, PLAN_OOM_SCORE)->i[0] = oom;
    if (r >= 0)
        r = build_user(b, process, &uid, e);
    if (r >= 0 && tty) {
        r = j_object(process, "process", "consoleSize", &size, e);
        if (r == 1)
            r = j_int(size, "process.consoleSize", "height", 0, 65535, &rows, e);
        if (r >= 0 && size)
            r = j_int(size, "process.consoleSize", "width", 0, 65535, &cols, e);
        op = plan_add(b, PLAN_CONSOLE);
        op->i[0] = rows;
        op->i[1] = cols;
        op->i[2] = uid;
    }
    if (r >= 0)
        r = build_rlimits(b, process, e);
    if (r < 0)
        return r;
    plan_add(b, PLAN_CWD);
    plan_set_s(b, 0, cwd);
    /* Who starts containers is not confined: that needs no step. */
    if (!str_empty(profile) && !streq(profile, "unconfined")) {
        plan_add(b, PLAN_APPARMOR);
        plan_set_s(b, 0, profile);
    }
    r = build_caps(process, caps, e);
    if (r < 0)
        return r;
    if (r == 1) {
        op = plan_add(b, PLAN_CAPS);
        for (int i = 0; i < 5; i++)
            op->i[i] = (int64_t)caps[i];
    }
    if (nnp)
        plan_add(b, PLAN_NO_NEW_PRIVS);
    r = build_seccomp(b, spec, caps[0], cache, e);
    if (r < 0)
        return r;
    plan_add(b, PLAN_EXEC);
    if (init) {
        with_init = calloc(n_args + 3, sizeof *with_init);
        if (!with_init)
            return err_oom(e);
        with_init[0] = "/sbin/docker-init";
        with_init[1] = "--";
        memcpy(with_init + 2, args, n_args * sizeof *args);
        plan_set_list(b, 0, with_init, n_args + 2);
    } else {
        plan_set_list(b, 0, args, n_args);
    }
    plan_set_list(b, 1, env, n_env);
    return 0;
}

int oci_build_process(struct plan_builder *b, const json_t *process, const json_t *spec, struct seccomp_cache *cache, struct err *e) {
    if (!json_is_object(process))
        return err_set(e, ERR_INVALID, "process: expected an object");
    return process_ops(b, process, spec, cache, NULL, e);
}

/* ---- namespaces, sysctls, hooks --------------------------------------------------------------------------------------- */

/* Whether a namespace that is joined is another than this process's own, the machine's; false when that cannot be said. */
static bool is_elsewhere(const char *path, int64_t flag) {
    const char *name = flag == CLONE_NEWNET ? "/proc/self/ns/net" : flag == CLONE_NEWIPC ? "/proc/self/ns/ipc" : "/proc/self/ns/uts";
    struct stat theirs, own;

    return stat(path, &theirs) == 0 && stat(name, &own) == 0 && (theirs.st_ino != own.st_ino || theirs.st_dev != own.st_dev);
}

int build_namespaces(struct build *b) {
    static const struct {
        const char *name;
        int64_t flag;
    } types[] = {{"mount", CLONE_NEWNS}, {"network", CLONE_NEWNET}, {"uts", CLONE_NEWUTS},       {"pid", CLONE_NEWPID},
                 {"ipc", CLONE_NEWIPC},  {"user", CLONE_NEWUSER},   {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME}};
    const json_t *list = NULL;
    int r = j_array(b->linux_, "linux", "namespaces", &list, b->e);
    bool has_mount = false;

    for (size_t i = 0; r >= 0 && list && i < json_array_size(list); i++) {
        const json_t *ns = json_array_get(list, i);
        const char *type = "", *path = "";
        int64_t flag = 0;

        r = j_str(ns, "linux.namespaces", "type", &type, b->e);
        if (r >= 0)
            r = j_str(ns, "linux.namespaces", "path", &path, b->e);
        if (r < 0)
            return r;
        for (size_t k = 0; k < ELEMENTSOF(types); k++)
            if (streq(types[k].name, type))
                flag = types[k].flag;
        if (!flag || flag == CLONE_NEWTIME)
            return err_set(b->e, ERR_INVALID, "namespace \"%s\" does not exist", type);
        has_mount = has_mount || (flag == CLONE_NEWNS && !*path);
        b->has_user = b->has_user || flag == CLONE_NEWUSER;
        if (*path) {
            plan_add(b->b, PLAN_JOIN)->i[0] = flag;
            plan_set_s(b->b, 0, path);
            if (flag & (CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) && is_elsewhere(path, flag))
                b->joined_ns |= flag;
        } else {
            b->new_ns |= flag;
        }
    }
    if (r >= 0 && !has_mount)
        return err_set(b->e, ERR_INVALID, "linux.namespaces: a container needs a new mount namespace");
    plan_add(b->b, PLAN_NAMESPACES)->i[0] = b->new_ns;
    if (b->new_ns & CLONE_NEWNET)
        plan_add(b->b, PLAN_LOOPBACK);
    return r < 0 ? r : 0;
}

int build_idmaps(struct build *b) {
    static const char *const keys[] = {"uidMappings", "gidMappings"};

    for (int k = 0; k < 2; k++) {
        _cleanup_buf_ struct buf text = BUF_INIT(65536);
        const json_t *list = NULL;
        int r = j_array(b->linux_, "linux", keys[k], &list, b->e);

        for (size_t i = 0; r >= 0 && list && i < json_array_size(list); i++) {
            int64_t inside = 0, outside = 0, n = 0;
            const json_t *m = json_array_get(list, i);

            r = j_int(m, keys[k], "containerID", 0, UINT32_MAX, &inside, b->e);
            if (r >= 0)
                r = j_int(m, keys[k], "hostID", 0, UINT32_MAX, &outside, b->e);
            if (r >= 0)
                r = j_int(m, keys[k], "size", 1, UINT32_MAX, &n, b->e);
            buf_addf(&text, "%lld %lld %lld\n", (long long)inside, (long long)outside, (long long)n);
        }
        if (r < 0)
            return r;
        if (text.len && b->has_user) {
            plan_add(b->b, PLAN_IDMAP)->i[0] = k;
            plan_set_s(b->b, 0, buf_str(&text));
        }
    }
    return 0;
}

/* Only settings that belong to one of the container's own namespaces; never a path that leaves them (R14). */
static int check_sysctl(struct build *b, const char *key) {
    static const char *const ipc[] = {"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem",
                                      "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"};
    int64_t not_the_machines = b->new_ns | b->joined_ns;
    bool known = false;

    for (const char *p = key; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 127 || (*p == '.' && p[1] == '.'))
            return err_set(b->e, ERR_INVALID, "sysctl \"%s\" is not a valid name", key);
    if (str_has_prefix(key, "net.") || str_has_prefix(key, "net/")) {
        if (!(not_the_machines & CLONE_NEWNET))
            return err_set(b->e, ERR_INVALID, "sysctl \"%s\" not allowed in host network namespace", key);
        return 0;
    }
    if (streq(key, "kernel.domainname") || streq(key, "kernel.hostname")) {
        if (not_the_machines & CLONE_NEWUTS)
            return 0;
        return err_set(b->e, ERR_INVALID, "sysctl \"%s\" is not in a separate kernel namespace", key);
    }
    for (size_t i = 0; i < ELEMENTSOF(ipc); i++)
        known = known || streq(ipc[i], key);
    if (!known && !str_has_prefix(key, "fs.mqueue."))
        return err_set(b->e, ERR_INVALID, "sysctl \"%s\" is not in a separate kernel namespace", key);
    if (!(not_the_machines & CLONE_NEWIPC))
        return err_set(b->e, ERR_INVALID, "sysctl \"%s\" is not allowed in the hosts ipc namespace", key);
    return 0;
}

static int build_sysctls(struct build *b) {
    const json_t *list = NULL, *value;
    const char *key;
    int r = j_object(b->linux_, "linux", "sysctl", &list, b->e);

    if (r <= 0)
        return r;
    json_object_foreach((json_t *)(uintptr_t)list, key, value) {
        char path[256];
        bool slashes;

        r = check_sysctl(b, key);
        if (r < 0)
            return r;
        if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
            return err_set(b->e, ERR_INVALID, "linux.sysctl.%s: expected a string", key);
        if (strlen(key) >= sizeof path)
            return err_set(b->e, ERR_INVALID, "sysctl \"%s\" is too long", key);
        memcpy(path, key, strlen(key) + 1);
        /* sysctl(8): whichever of '.' and '/' comes first separates; the other is part of names (eth0.1) */
        slashes = strcspn(path, "/") < strcspn(path, ".");
        for (char *p = path; *p && !slashes; p++)
            *p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
        plan_add(b->b, PLAN_SYSCTL);
        plan_set_s(b->b, 0, path);
        plan_set_s(b->b, 1, json_string_value(value));
    }
    return 0;
}

static int build_hooks(struct build *b) {
    static const char *const kinds[] = {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"};
    const json_t *hooks = NULL;
    int r = j_object(b->spec, "", "hooks", &hooks, b->e);

    for (size_t k = 0; r > 0 && k < ELEMENTSOF(kinds); k++) {
        const json_t *list = NULL;

        if (j_array(hooks, "hooks", kinds[k], &list, b->e) < 0)
            return -ERR_INVALID;
        for (size_t i = 0; list && i < json_array_size(list); i++) {
            _cleanup_free_ const char **args = NULL, **env = NULL;
            const json_t *h = json_array_get(list, i);
            const char *path = "";
            size_t n_args = 0, n_env = 0;
            int64_t timeout = 0;
            struct plan_op *op;

            if (j_str(h, "hooks", "path", &path, b->e) < 0 || j_list(h, "hooks", "args", &args, &n_args, b->e) < 0 ||
                j_list(h, "hooks", "env", &env, &n_env, b->e) < 0 || j_int(h, "hooks", "timeout", 0, INT32_MAX, &timeout, b->e) < 0)
                return -ERR_INVALID;
            if (*path != '/')
                return err_set(b->e, ERR_INVALID, "hooks.%s[%zu].path: \"%s\" is not an absolute path", kinds[k], i, path);
            op = plan_add(b->b, PLAN_HOOK);
            op->i[0] = (int64_t)k;
            op->i[1] = timeout;
            plan_set_s(b->b, 0, path);
            plan_set_list(b->b, 1, args, n_args);
            plan_set_list(b->b, 2, env, n_env);
        }
    }
    return r < 0 ? r : 0;
}

/* ---- all of it -------------------------------------------------------------------------------------------------------- */

int build_root(struct build *b) {
    const json_t *root = NULL;
    const char *path = b->in->rootfs_path;
    _cleanup_free_ char *joined = NULL;
    int r;

    if (b->in->lowers) {
        plan_add(b->b, PLAN_ROOT_OVERLAY)->i[0] = b->in->overlay_volatile ? PLAN_OVERLAY_VOLATILE : 0;
        plan_set_list(b->b, 0, (const char *const *)b->in->lowers->v, b->in->lowers->n);
        plan_set_s(b->b, 1, b->in->upper);
        plan_set_s(b->b, 2, b->in->work);
        return 0;
    }
    r = j_object(b->spec, "", "root", &root, b->e);
    if (r < 0)
        return r;
    if (!path) {
        r = j_str(root, "root", "path", &path, b->e);
        if (r < 0)
            return r;
    }
    if (str_empty(path))
        return err_set(b->e, ERR_INVALID, "root.path: expected the path of the root file system");
    if (*path != '/') {
        joined = str_printf("%s/%s", b->in->bundle ? b->in->bundle : ".", path);
        if (!joined)
            return err_oom(b->e);
        path = joined;
    }
    plan_add(b->b, PLAN_ROOT_BIND);
    plan_set_s(b->b, 0, path);
    return 0;
}

static int paths(struct build *b, const char *key, enum plan_op_type type) {
    _cleanup_free_ const char **v = NULL;
    size_t n = 0;
    int r = j_list(b->linux_, "linux", key, &v, &n, b->e);

    for (size_t i = 0; r >= 0 && i < n; i++) {
        if (v[i][0] != '/')
            return err_set(b->e, ERR_INVALID, "linux.%s[%zu]: \"%s\" is not an absolute path", key, i, v[i]);
        plan_add(b->b, type);
        plan_set_s(b->b, 0, v[i]);
    }
    return r < 0 ? r : 0;
}

static int build_propagation(struct build *b) {
    const char *name = "";
    struct mount_options o = {.data = BUF_INIT(16)};
    int r = j_str(b->linux_, "linux", "rootfsPropagation", &name, b->e);

    if (r <= 0 || !*name)
        return r;
    if (!mount_option(&o, name) || !o.propagation)
        return err_set(b->e, ERR_INVALID, "linux.rootfsPropagation: unknown value \"%s\"", name);
    plan_add(b->b, PLAN_PROPAGATION)->i[0] = MS_SLAVE | MS_REC;
    if (!(o.propagation & MS_PRIVATE))
        plan_add(b->b, PLAN_ROOT_PROPAGATION)->i[0] = o.propagation;
    return 0;
}

static int build_names(struct build *b) {
    const char *host = NULL, *domain = NULL;

    if (j_str(b->spec, "", "hostname", &host, b->e) < 0 || j_str(b->spec, "", "domainname", &domain, b->e) < 0)
        return -ERR_INVALID;
    if (!str_empty(host) && !(b->new_ns & CLONE_NEWUTS))
        return err_set(b->e, ERR_INVALID, "unable to set hostname without a private UTS namespace");
    if (!str_empty(domain) && !(b->new_ns & CLONE_NEWUTS))
        return err_set(b->e, ERR_INVALID, "unable to set domainname without a private UTS namespace");
    if (!str_empty(host)) {
        plan_add(b->b, PLAN_HOSTNAME);
        plan_set_s(b->b, 0, host);
    }
    if (!str_empty(domain)) {
        plan_add(b->b, PLAN_DOMAINNAME);
        plan_set_s(b->b, 0, domain);
    }
    return 0;
}

int oci_build(struct plan_builder *pb, const struct oci_input *in, struct err *e) {
    static const json_t *const none;
    struct build b = {.b = pb, .in = in, .spec = in->spec, .e = e};
    const json_t *process = none, *root = NULL, *resources = NULL;
    const char *version = "";
    bool readonly = false;
    int r;

    if (!json_is_object(in->spec))
        return err_set(e, ERR_INVALID, "the configuration is not a JSON object");
    r = j_str(in->spec, "", "ociVersion", &version, e);
    if (r >= 0 && !str_has_prefix(version, "1."))
        return err_set(e, ERR_INVALID, "ociVersion: \"%s\" is not supported, expected 1.x", version);
    if (r >= 0)
        r = j_object(in->spec, "", "linux", &b.linux_, e);
    if (r >= 0)
        r = j_object(in->spec, "", "process", &process, e);
    if (r >= 0)
        r = j_object(in->spec, "", "root", &root, e);
    if (r >= 0)
        r = j_bool(root, "root", "readonly", &readonly, e);
    if (r < 0)
        return r;
    plan_add(pb, PLAN_CONTAINER);
    plan_set_s(pb, 0, in->id);
    plan_set_s(pb, 1, in->bundle ? in->bundle : "");
    plan_set_s(pb, 3, version);
    r = build_namespaces(&b);
    if (r >= 0)
        r = build_idmaps(&b);
    if (r >= 0)
        r = build_cgroups(&b);
    if (r >= 0 && in->cgroups)
        r = j_object(b.linux_, "linux", "resources", &resources, e);
    if (r >= 0 && in->cgroups)
        r = build_resources(&b, resources, NULL, true);
    if (r >= 0)
        r = build_propagation(&b);
    if (r >= 0)
        r = build_root(&b);
    if (r >= 0)
        r = build_mounts(&b);
    if (r >= 0)
        r = paths(&b, "maskedPaths", PLAN_MASK);
    if (r >= 0)
        r = paths(&b, "readonlyPaths", PLAN_READONLY);
    if (r < 0)
        return r;
    if (readonly)
        plan_add(pb, PLAN_ROOT_READONLY);
    plan_add(pb, PLAN_PIVOT);
    r = build_names(&b);
    if (r >= 0)
        r = build_sysctls(&b);
    if (r >= 0)
        r = build_hooks(&b);
    if (r >= 0) {
        plan_add(pb, PLAN_KEYRING);
        plan_set_s(pb, 0, in->id);
    }
    if (r >= 0 && process)
        r = process_ops(pb, process, in->spec, in->seccomp, in->init_path, e);
    return r < 0 ? r : 0;
}
