// SPDX-License-Identifier: Apache-2.0
#include "container/spec.h"
#include "container/mounts.h"

#include <ctype.h>
#include <sys/prctl.h>

#include "base/idmap.h"
#include "base/str.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const default_caps[] = {
    "CAP_CHOWN",  "CAP_DAC_OVERRIDE", "CAP_FSETID",  "CAP_FOWNER",           "CAP_MKNOD",      "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP",      "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",    "CAP_AUDIT_WRITE",
};

static void *oom(struct err *e) {
    err_oom(e);
    return NULL;
}

static bool is_privileged(const struct api_host_config *h) {
    return h->has_privileged && h->privileged;
}

/* ---- environment ---------------------------------------------------------------------------------------------------------------- */
/* KEY=VALUE replaces an earlier one in place; KEY alone removes it. */
static int env_apply(struct strv *env, const char *item) {
    size_t n = strcspn(item, "=");

    for (size_t i = 0; i < env->n; i++) {
        if (strncmp(env->v[i], item, n) != 0 || env->v[i][n] != '=')
            continue;
        if (item[n] == '\0') {
            strv_remove_at(env, i);
            return 0;
        }
        return str_set(&env->v[i], item);
    }
    return item[n] == '=' ? strv_add(env, item) : 0;
}

json_t *ctr_spec_env(const struct ctr_spec_env *in, struct err *e) {
    _cleanup_strv_ struct strv env = STRV_INIT;
    const struct api_string_list *own = &in->fixed->config.env, *extra = in->extra;
    const char *hostname = in->hostname ? in->hostname : in->fixed->config.hostname;
    json_t *out = json_array();

    if (!out || strv_add(&env, DEFAULT_PATH) < 0 || strv_addf(&env, "HOSTNAME=%s", hostname ? hostname : "") < 0 ||
        (in->tty && strv_add(&env, "TERM=xterm") < 0))
        goto fail;
    for (size_t i = 0; in->links && i < in->links->n; i++)
        if (env_apply(&env, in->links->v[i]) < 0)
            goto fail;
    for (size_t i = 0; i < own->n; i++)
        if (env_apply(&env, own->v[i]) < 0)
            goto fail;
    for (size_t i = 0; extra && i < extra->n; i++)
        if (env_apply(&env, extra->v[i]) < 0)
            goto fail;
    if (str_empty(strv_env_get(&env, "HOME")) && strv_env_set(&env, "HOME", in->user->home) < 0)
        goto fail;
    for (size_t i = 0; i < env.n; i++)
        if (json_array_append_new(out, json_string(env.v[i])) < 0)
            goto fail;
    return out;
fail:
    json_decref(out);
    return oom(e);
}

/* ---- capabilities ------------------------------------------------------------------------------------------------------------------ */
static bool asks(const struct api_string_list *l, const char *cap) {
    for (size_t i = 0; i < l->n; i++) {
        const char *name = ctr_cap_name(l->v[i]);

        if (strcasecmp(l->v[i], "ALL") == 0 ? streq(cap, "ALL") : name && streq(name, cap))
            return true;
    }
    return false;
}

static bool is_default(const char *cap) {
    for (size_t i = 0; i < ELEMENTSOF(default_caps); i++)
        if (streq(default_caps[i], cap))
            return true;
    return false;
}

static bool has_cap(const struct api_host_config *h, const char *cap, bool privileged) {
    if (privileged)
        return true;
    if (asks(&h->cap_drop, "ALL"))
        return asks(&h->cap_add, "ALL") || asks(&h->cap_add, cap);
    if (asks(&h->cap_drop, cap))
        return !asks(&h->cap_add, "ALL") && asks(&h->cap_add, cap);
    return asks(&h->cap_add, "ALL") || asks(&h->cap_add, cap) || is_default(cap);
}

json_t *ctr_spec_capabilities(const struct api_host_config *host, bool root, bool privileged, struct err *e) {
    bool all = privileged || asks(&host->cap_add, "ALL");
    size_t last = ctr_cap_last();
    json_t *set = json_array(), *out;

    for (size_t i = 0; set && ctr_cap_all[i] && i < last; i++) {
        if (!has_cap(host, ctr_cap_all[i], privileged))
            continue;
        /* "All" means all that the engine itself can hand on. */
        if (all && !asks(&host->cap_add, ctr_cap_all[i]) && prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 0)
            continue;
        if (json_array_append_new(set, json_string(ctr_cap_all[i])) < 0) {
            json_decref(set);
            return oom(e);
        }
    }
    /* Users other than root get the bounding set alone. */
    out = root ? json_pack("{s:O,s:O,s:O}", "bounding", set, "effective", set, "permitted", set)
               : json_pack("{s:O,s:[],s:[]}", "bounding", set, "effective", "permitted");
    json_decref(set);
    return out ? out : oom(e);
}

json_t *ctr_spec_user(const struct ctr_user *user, struct err *e) {
    json_t *groups = json_array(), *out;

    for (size_t i = 0; groups && i < user->n_groups; i++)
        if (json_array_append_new(groups, json_integer(user->groups[i])) < 0) {
            json_decref(groups);
            return oom(e);
        }
    out = json_pack("{s:I,s:I,s:o}", "uid", (json_int_t)user->uid, "gid", (json_int_t)user->gid, "additionalGids", groups);
    return out ? out : oom(e);
}

static bool ctr_rlimit_known(const char *name) {
    static const char *const known[] = {"as",   "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue",
                                        "nice", "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};

    for (size_t i = 0; name && i < ELEMENTSOF(known); i++)
        if (strcasecmp(known[i], name) == 0)
            return true;
    return false;
}

json_t *ctr_spec_rlimits(const struct engine_config *cfg, const struct api_host_config *host, struct err *e) {
    json_t *out = json_array();
    size_t n = host->ulimits.n + cfg->n_default_ulimits;

    for (size_t i = 0; out && i < n; i++) {
        bool own = i < host->ulimits.n;
        const struct engine_ulimit *d = own ? NULL : &cfg->default_ulimits[i - host->ulimits.n];
        const char *name = own ? host->ulimits.v[i].name : d->name;
        _cleanup_free_ char *type = str_printf("RLIMIT_%s", name ? name : "");
        bool taken = false;

        for (size_t k = 0; !own && k < host->ulimits.n; k++)
            taken = taken || streq_ptr(host->ulimits.v[k].name, name);
        if (taken)
            continue;
        for (char *p = type; p && *p; p++)
            *p = (char)toupper((unsigned char)*p);
        if (!ctr_rlimit_known(name)) {
            json_decref(out);
            err_set(e, ERR_INTERNAL, "wrong rlimit value: %s", type ? type : "");
            return NULL;
        }
        if (!type ||
            json_array_append_new(out, json_pack("{s:s,s:I,s:I}", "type", type, "soft", (json_int_t)(own ? host->ulimits.v[i].soft : d->soft), "hard",
                                                 (json_int_t)(own ? host->ulimits.v[i].hard : d->hard))) < 0) {
            json_decref(out);
            return oom(e);
        }
    }
    return out ? out : oom(e);
}

/* ---- process ------------------------------------------------------------------------------------------------------------------------ */
static json_t *list_of(const struct api_string_list *l, const char *first) {
    json_t *out = json_array();

    if (!out || (first && json_array_append_new(out, json_string(first)) < 0))
        goto fail;
    for (size_t i = 0; i < l->n; i++)
        if (json_array_append_new(out, json_string(l->v[i])) < 0)
            goto fail;
    return out;
fail:
    json_decref(out);
    return NULL;
}

/* Paths to hide or to lock; one that does not begin at the root is meant from it, an empty one means nothing. */
static json_t *paths_of(const struct api_string_list *l) {
    json_t *out = json_array();

    for (size_t i = 0; out && i < l->n; i++) {
        const char *path = l->v[i];

        if (*path && json_array_append_new(out, json_sprintf("%s%s", *path == '/' ? "" : "/", path)) < 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

static int set_new(json_t *o, const char *key, json_t *v, struct err *e) {
    return json_object_set_new(o, key, v) < 0 ? err_oom(e) : 0;
}

static int build_process(const struct ctr_spec_input *in, const struct ctr_security *sec, json_t *doc, struct err *e) {
    const struct ctr_fixed *f = in->fixed;
    bool tty = f->config.has_tty && f->config.tty;
    const char *cwd = str_empty(f->config.working_dir) ? "/" : f->config.working_dir;
    const struct ctr_spec_env env = {.fixed = f, .hostname = in->hostname, .user = in->user, .tty = tty, .links = in->link_env};
    json_t *p = json_object(), *part;
    const struct {
        const char *key;
        json_t *value;
    } parts[] = {
        {"user", ctr_spec_user(in->user, e)},
        {"args", list_of(&f->args, f->path)},
        {"env", ctr_spec_env(&env, e)},
        {"capabilities", ctr_spec_capabilities(&f->host, in->user->uid == 0, is_privileged(&f->host), e)},
        {"rlimits", ctr_spec_rlimits(in->config, &f->host, e)},
        {"cwd", json_string(cwd)},
        {"terminal", json_boolean(tty)},
        {"noNewPrivileges", json_boolean(sec->no_new_privileges || (in->config->no_new_privileges && !is_privileged(&f->host)))},
        {"oomScoreAdj", json_integer(f->host.has_oom_score_adj ? f->host.oom_score_adj : 0)},
    };
    int bad = 0;

    for (size_t i = 0; i < ELEMENTSOF(parts); i++)
        bad |= json_object_set_new(p, parts[i].key, parts[i].value);
    if (tty && f->host.console_size.n == 2 && f->host.console_size.v[0] > 0 && f->host.console_size.v[1] > 0) {
        part = json_pack("{s:I,s:I}", "height", (json_int_t)f->host.console_size.v[0], "width", (json_int_t)f->host.console_size.v[1]);
        bad |= json_object_set_new(p, "consoleSize", part);
    }
    if (in->apparmor)
        bad |= json_object_set_new(p, "apparmorProfile", json_string(ctr_apparmor_profile(&f->host, sec)));
    if (bad || json_object_set_new(doc, "process", p) < 0)
        return e && e->kind != ERR_NONE ? -(int)e->kind : err_oom(e);
    return 0;
}

/* ---- namespaces, sysctls ------------------------------------------------------------------------------------------------------------- */
static int add_ns(json_t *l, const char *type, const char *path, struct err *e) {
    json_t *n = path ? json_pack("{s:s,s:s}", "type", type, "path", path) : json_pack("{s:s}", "type", type);

    return json_array_append_new(l, n) < 0 ? err_oom(e) : 0;
}

static int build_namespaces(const struct ctr_spec_input *in, json_t *linux_part, struct err *e) {
    const struct api_host_config *h = &in->fixed->host;
    json_t *l = json_array();
    int r = l ? add_ns(l, "mount", NULL, e) : err_oom(e);

    if (r >= 0 && (in->netns_path || !ctr_mode_is(h->network_mode, "host")))
        r = add_ns(l, "network", in->netns_path, e);
    if (r >= 0 && !ctr_mode_is(h->uts_mode, "host"))
        r = add_ns(l, "uts", NULL, e);
    if (r >= 0 && (in->pidns_path || !ctr_mode_is(h->pid_mode, "host")))
        r = add_ns(l, "pid", in->pidns_path, e);
    if (r >= 0 && (in->ipcns_path || !ctr_mode_is(h->ipc_mode, "host")))
        r = add_ns(l, "ipc", in->ipcns_path, e);
    if (r >= 0 && ctr_mode_is(h->cgroupns_mode, "private"))
        r = add_ns(l, "cgroup", NULL, e);
    if (r >= 0 && in->ids)
        r = add_ns(l, "user", in->userns_path, e);
    if (r < 0) {
        json_decref(l);
        return r;
    }
    return set_new(linux_part, "namespaces", l, e);
}

static json_t *mappings(const struct id_list *ids) {
    json_t *l = json_array();

    for (size_t i = 0; l && i < ids->n; i++)
        if (json_array_append_new(l, json_pack("{s:I,s:I,s:I}", "containerID", (json_int_t)ids->v[i].inside, "hostID", (json_int_t)ids->v[i].outside,
                                               "size", (json_int_t)ids->v[i].count)) < 0) {
            json_decref(l);
            return NULL;
        }
    return l;
}

static int build_mappings(const struct ctr_spec_input *in, json_t *linux_part, struct err *e) {
    int r = in->ids ? set_new(linux_part, "uidMappings", mappings(&in->ids->uids), e) : 0;

    return r < 0 || !in->ids ? r : set_new(linux_part, "gidMappings", mappings(&in->ids->gids), e);
}

static int build_sysctl(const struct ctr_spec_input *in, json_t *linux_part, struct err *e) {
    const struct api_host_config *h = &in->fixed->host;
    bool own_net = !in->netns_path && !ctr_mode_is(h->network_mode, "host");
    json_t *o = json_object();
    int bad = 0;

    if (own_net) {
        bad |= json_object_set_new(o, "net.ipv4.ip_unprivileged_port_start", json_string("0"));
        /* Not all of these groups are there in a user namespace, so that the kernel would refuse it. */
        if (str_empty(in->config->userns_remap) || ctr_mode_is(h->userns_mode, "host"))
            bad |= json_object_set_new(o, "net.ipv4.ping_group_range", json_string("0 2147483647"));
    }
    /* There is no namespace of its own to have that name: the runtime refuses it, as the reference's does. */
    if (ctr_mode_is(h->uts_mode, "host") && !str_empty(in->fixed->config.domainname))
        bad |= json_object_set_new(o, "kernel.domainname", json_string(in->fixed->config.domainname));
    for (size_t i = 0; i < h->sysctls.n; i++)
        bad |= json_object_set_new(o, h->sysctls.v[i].key, json_string(h->sysctls.v[i].value ? h->sysctls.v[i].value : ""));
    if (bad) {
        json_decref(o);
        return err_oom(e);
    }
    return set_new(linux_part, "sysctl", o, e);
}

static int build_seccomp(const struct ctr_spec_input *in, const struct ctr_security *sec, json_t *doc, json_t *linux_part, struct err *e) {
    const char *text = sec->seccomp_profile ? sec->seccomp_profile : sec->seccomp_builtin ? NULL : in->seccomp_text;
    json_t *s;
    int r;

    if (is_privileged(&in->fixed->host) || sec->seccomp_unconfined)
        return 0;
    if (!sec->seccomp_profile && !sec->seccomp_builtin && ctr_mode_is(in->config->seccomp_profile, "unconfined"))
        return 0;
    if (!text)
        return set_new(linux_part, "seccomp", json_pack("{s:s}", "hatakeProfile", "builtin"), e);
    r = ctr_seccomp_convert(text, json_object_get(json_object_get(json_object_get(doc, "process"), "capabilities"), "bounding"), &s, e);
    return r < 0 || !s ? r : set_new(linux_part, "seccomp", s, e);
}

static char *cgroup_path(const struct ctr_spec_input *in) {
    const struct api_host_config *h = &in->fixed->host;
    const char *parent = !str_empty(h->cgroup_parent)            ? h->cgroup_parent
                         : !str_empty(in->config->cgroup_parent) ? in->config->cgroup_parent
                                                                 : "/docker";
    _cleanup_free_ char *clean = ctr_clean_path(parent);

    return clean ? str_printf("%s/%s", clean[1] ? clean : "", in->fixed->id) : NULL;
}

#define SHARES_FAILED "unable to start container process: error during container init: error setting cgroup config for procHooks process: "

static int build_linux(const struct ctr_spec_input *in, const struct ctr_security *sec, json_t *doc, struct err *e) {
    const struct api_host_config *h = &in->fixed->host;
    _cleanup_free_ char *cgroup = cgroup_path(in);
    const char *refused = ctr_shares_refused(h, ctr_on_v2());

    if (h->has_cpu_shares && h->cpu_shares < 0)
        return err_set(e, ERR_INTERNAL, "shares: invalid argument");
    if (refused)
        return err_set(e, ERR_INTERNAL, SHARES_FAILED "%s", refused);

    json_t *linux_part = json_object(), *resources = ctr_spec_resources(h, e);
    int r;

    if (!cgroup || !linux_part || !resources || json_object_set_new(doc, "linux", linux_part) < 0) {
        json_decref(resources);
        return e && e->kind != ERR_NONE ? -(int)e->kind : err_oom(e);
    }
    r = set_new(linux_part, "resources", resources, e);
    if (r >= 0)
        r = set_new(linux_part, "cgroupsPath", json_string(cgroup), e);
    if (r >= 0)
        r = build_namespaces(in, linux_part, e);
    if (r >= 0)
        r = build_mappings(in, linux_part, e);
    if (r >= 0)
        r = build_sysctl(in, linux_part, e);
    if (r >= 0)
        r = ctr_spec_devices(h, linux_part, resources, e);
    if (r >= 0 && h->masked_paths.n > 0)
        r = set_new(linux_part, "maskedPaths", paths_of(&h->masked_paths), e);
    if (r >= 0 && h->readonly_paths.n > 0)
        r = set_new(linux_part, "readonlyPaths", paths_of(&h->readonly_paths), e);
    return r < 0 ? r : build_seccomp(in, sec, doc, linux_part, e);
}

static int build_rest(const struct ctr_spec_input *in, json_t *doc, struct err *e) {
    const struct ctr_fixed *f = in->fixed;
    bool readonly = f->host.has_readonly_rootfs && f->host.readonly_rootfs;
    json_t *mounts = ctr_spec_mounts(in, e), *notes = json_object();
    int r;

    if (!mounts) {
        json_decref(notes);
        return e && e->kind != ERR_NONE ? -(int)e->kind : err_oom(e);
    }
    r = set_new(doc, "mounts", mounts, e);
    for (size_t i = 0; r >= 0 && i < f->host.annotations.n; i++)
        r = set_new(notes, f->host.annotations.v[i].key, json_string(f->host.annotations.v[i].value), e);
    if (r < 0) {
        json_decref(notes);
        return r;
    }
    r = set_new(doc, "annotations", notes, e);
    if (r >= 0)
        r = set_new(doc, "root", json_pack("{s:s,s:b}", "path", "rootfs", "readonly", readonly), e);
    if (r >= 0 && !ctr_mode_is(f->host.uts_mode, "host"))
        r = set_new(doc, "hostname", json_string(in->hostname ? in->hostname : f->config.hostname ? f->config.hostname : ""), e);
    if (r >= 0 && !ctr_mode_is(f->host.uts_mode, "host") && !str_empty(f->config.domainname))
        r = set_new(doc, "domainname", json_string(f->config.domainname), e);
    return r;
}

int ctr_spec_build(const struct ctr_spec_input *in, json_t **ret, struct err *e) {
    json_t *doc = json_pack("{s:s}", "ociVersion", "1.2.0");
    struct ctr_security sec = {0};
    int r;

    if (!doc)
        return err_oom(e);
    r = ctr_security_parse(&in->fixed->host.security_opt, &sec, e);
    if (r >= 0)
        r = build_process(in, &sec, doc, e);
    if (r >= 0)
        r = build_rest(in, doc, e);
    if (r >= 0)
        r = build_linux(in, &sec, doc, e);
    if (r < 0) {
        json_decref(doc);
        return r;
    }
    *ret = doc;
    return 0;
}
