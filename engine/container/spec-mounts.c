// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"
#include "container/spec.h"

/* The mounts every container has, in the order they are made. */
static const struct {
    const char *destination, *type, *source, *options[8];
} fixed_mounts[] = {
    {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}},
    {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
    {"/dev/pts", "devpts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
    {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}},
    {"/sys/fs/cgroup", "cgroup", "cgroup", {"ro", "nosuid", "noexec", "nodev"}},
    {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
};

static int add(json_t *l, const char *destination, const char *type, const char *source, json_t *options, struct err *e) {
    json_t *m = json_pack("{s:s,s:s,s:s,s:o}", "destination", destination, "type", type, "source", source, "options", options);

    return json_array_append_new(l, m) < 0 ? err_oom(e) : 0;
}

/* A mount of the user's at the same place takes over. */
static bool overridden(const struct ctr_spec_input *in, const char *destination) {
    const struct ctr_mounts *l = &in->fixed->mounts;
    const struct api_host_config *h = &in->fixed->host;

    for (size_t i = 0; i < l->n; i++)
        if (streq(l->v[i].destination, destination))
            return true;
    for (size_t i = 0; i < h->tmpfs.n; i++)
        if (streq(h->tmpfs.v[i].key, destination))
            return true;
    return false;
}

static int add_fixed(const struct ctr_spec_input *in, json_t *l, struct err *e) {
    bool open = in->fixed->host.has_privileged && in->fixed->host.privileged;

    for (size_t i = 0; i < ELEMENTSOF(fixed_mounts); i++) {
        json_t *options = json_array();
        int r;

        if (overridden(in, fixed_mounts[i].destination)) {
            json_decref(options);
            continue;
        }
        for (size_t k = 0; fixed_mounts[i].options[k]; k++)
            /* Control groups are not writable for who is in a user namespace, whatever the mount says; clients know it as writable. */
            if (!(streq(fixed_mounts[i].options[k], "ro") && (open || (in->ids && streq(fixed_mounts[i].type, "cgroup")))))
                json_array_append_new(options, json_string(fixed_mounts[i].options[k]));
        r = add(l, fixed_mounts[i].destination, fixed_mounts[i].type, fixed_mounts[i].source, options, e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_shm(const struct ctr_spec_input *in, json_t *l, struct err *e) {
    const struct api_host_config *h = &in->fixed->host;
    _cleanup_free_ char *size = str_printf("size=%lld", (long long)h->shm_size);

    if (overridden(in, "/dev/shm") || ctr_mode_is(h->ipc_mode, "none"))
        return 0;
    if (in->shm_path)
        return add(l, "/dev/shm", "bind", in->shm_path, json_pack("[s,s]", "rbind", "rprivate"), e);
    if (ctr_mode_is(h->ipc_mode, "host"))
        return add(l, "/dev/shm", "bind", "/dev/shm", json_pack("[s,s]", "rbind", "rprivate"), e);
    if (!size)
        return err_oom(e);
    return add(l, "/dev/shm", "tmpfs", "shm", json_pack("[s,s,s,s,s]", "nosuid", "noexec", "nodev", "mode=1777", size), e);
}

static int add_file(const struct ctr_spec_input *in, json_t *l, const char *destination, const char *source, struct err *e) {
    bool readonly = in->fixed->host.has_readonly_rootfs && in->fixed->host.readonly_rootfs;
    json_t *options;

    if (!source || overridden(in, destination))
        return 0;
    options = json_pack("[s,s]", "rbind", "rprivate");
    if (readonly && options)
        json_array_append_new(options, json_string("ro"));
    return add(l, destination, "bind", source, options, e);
}

/* ---- tmpfs -------------------------------------------------------------------------------------------------------------------- */
static const struct {
    const char *word, *opposite;
} tmpfs_flags[] = {
    {"exec", "noexec"},
    {"suid", "nosuid"},
    {"dev", "nodev"},
    {"rw", "ro"},
    {"sync", "async"},
    {"dirsync", ""},
    {"mand", "nomand"},
    {"atime", "noatime"},
    {"diratime", "nodiratime"},
    {"relatime", "norelatime"},
    {"strictatime", "nostrictatime"},
    {"defaults", ""},
};
static const char *const tmpfs_data[] = {"mode", "uid", "gid", "size", "nr_inodes", "nr_blocks", "mpol", NULL};
static const char *const tmpfs_propagation[] = {"bind",   "rbind",   "unbindable", "runbindable", "private", "rprivate",
                                                "shared", "rshared", "slave",      "rslave",      NULL};

static bool in_list(const char *const *l, const char *s, size_t n) {
    for (size_t i = 0; l[i]; i++)
        if (strlen(l[i]) == n && strncmp(l[i], s, n) == 0)
            return true;
    return false;
}

static const char *opposite_of(const char *w, bool *ret_known) {
    for (size_t i = 0; i < ELEMENTSOF(tmpfs_flags); i++) {
        if (streq(tmpfs_flags[i].word, w)) {
            *ret_known = true;
            return tmpfs_flags[i].opposite;
        }
        if (*tmpfs_flags[i].opposite && streq(tmpfs_flags[i].opposite, w)) {
            *ret_known = true;
            return tmpfs_flags[i].word;
        }
    }
    *ret_known = false;
    return "";
}

static int tmpfs_options(const char *text, json_t **ret, struct err *e) {
    _cleanup_strv_ struct strv all = STRV_INIT, words = STRV_INIT;
    json_t *out = json_array();

    if (!out || strv_add(&all, "noexec") < 0 || strv_add(&all, "nosuid") < 0 || strv_add(&all, "nodev") < 0 ||
        (!str_empty(text) && strv_split(&words, text, ',') < 0))
        goto fail;
    for (size_t i = 0; i < words.n; i++) {
        const char *w = words.v[i];
        size_t n = strcspn(w, "=");
        bool known;
        const char *not = opposite_of(w, &known);

        if (!known && !in_list(tmpfs_propagation, w, strlen(w)) && !(w[n] == '=' && in_list(tmpfs_data, w, n))) {
            json_decref(out);
            return err_set(e, ERR_INTERNAL, "invalid tmpfs option \"%s\"", w);
        }
        for (size_t k = 0; k < all.n; k++)
            if (streq(all.v[k], not ) || streq(all.v[k], w) || (w[n] == '=' && strncmp(all.v[k], w, n + 1) == 0))
                strv_remove_at(&all, k--);
        if (strv_add(&all, w) < 0)
            goto fail;
    }
    for (size_t i = 0; i < all.n; i++)
        if (json_array_append_new(out, json_string(all.v[i])) < 0)
            goto fail;
    *ret = out;
    return 0;
fail:
    json_decref(out);
    return err_oom(e);
}

static int add_tmpfs(json_t *l, const char *destination, const char *text, struct err *e) {
    json_t *options = NULL;
    int r = tmpfs_options(text, &options, e);

    return r < 0 ? r : add(l, destination, "tmpfs", "tmpfs", options, e);
}

/* ---- binds and volumes ------------------------------------------------------------------------------------------------------------ */
/* Found out by the start, as in the reference: inspect shows what create took. */
static int check_recursion(const struct ctr_mount *m, struct err *e) {
    if (m->rw && (m->ro_non_recursive || m->ro_force_recursive))
        return err_set(e, ERR_INTERNAL, "mount options conflict: !ReadOnly && BindOptions.ReadOnly%sRecursive",
                       m->ro_non_recursive ? "Non" : "Force");
    if (m->ro_non_recursive && m->ro_force_recursive)
        return err_set(e, ERR_INTERNAL, "mount options conflict: ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive");
    return 0;
}

static int add_mount(const struct ctr_mount *m, const char *source, json_t *l, struct err *e) {
    _cleanup_free_ char *below = m->subpath ? str_printf("%s/%s", source, m->subpath) : NULL;
    json_t *options;
    /* What the machine mounts into a volume's folder later is seen inside; a bind has to ask for that. */
    const char *prop = m->kind == CTR_MOUNT_VOLUME ? "rslave" : str_empty(m->propagation) ? "rprivate" : m->propagation;
    int r = check_recursion(m, e);

    if (r < 0)
        return r;
    options = json_array();
    json_array_append_new(options, json_string(m->non_recursive ? "bind" : "rbind"));
    json_array_append_new(options, json_string(prop));
    if (!m->rw)
        json_array_append_new(options, json_string(m->ro_non_recursive || m->non_recursive ? "ro" : "rro"));
    if (m->subpath && !below) {
        json_decref(options);
        return err_oom(e);
    }
    r = add(l, m->destination, "bind", below ? below : source, options, e);
    if (r == 0 && below && json_object_set_new(json_array_get(l, json_array_size(l) - 1), "hatakeBeneath", json_string(source)) < 0)
        r = err_oom(e);
    return r;
}

static int add_user(const struct ctr_spec_input *in, json_t *l, struct err *e) {
    const struct ctr_mounts *ms = &in->fixed->mounts;
    size_t k = 0;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < ms->n; i++) {
        const struct ctr_mount *m = &ms->v[i];

        if (m->kind == CTR_MOUNT_TMPFS)
            r = add_tmpfs(l, m->destination, m->options, e);
        else
            r = add_mount(m, m->kind == CTR_MOUNT_VOLUME ? in->volume_paths[k++] : m->source, l, e);
    }
    return r;
}

static size_t depth(json_t *m) {
    const char *d = json_string_value(json_object_get(m, "destination"));
    size_t n = 0;

    for (; *d; d++)
        n += *d == '/' && d[1];
    return n;
}

/* Outer folders before inner ones; a stable insertion, because few mounts are the rule. */
static int sorted_append(json_t *to, json_t *from, struct err *e) {
    size_t base = json_array_size(to), i;
    json_t *m;

    json_array_foreach(from, i, m) {
        size_t at = json_array_size(to);

        while (at > base && depth(json_array_get(to, at - 1)) > depth(m))
            at--;
        if (json_array_insert(to, at, m) < 0)
            return err_oom(e);
    }
    return 0;
}

json_t *ctr_spec_mounts(const struct ctr_spec_input *in, struct err *e) {
    const struct api_host_config *h = &in->fixed->host;
    json_t *l = json_array(), *own = json_array();
    int r = l && own ? add_fixed(in, l, e) : err_oom(e);

    if (r >= 0)
        r = add_shm(in, l, e);
    for (size_t i = 0; r >= 0 && i < h->tmpfs.n; i++)
        r = add_tmpfs(own, h->tmpfs.v[i].key, h->tmpfs.v[i].value, e);
    if (r >= 0)
        r = add_user(in, own, e);
    if (r >= 0)
        r = add_file(in, own, "/etc/resolv.conf", in->resolv_path, e);
    if (r >= 0)
        r = add_file(in, own, "/etc/hostname", in->hostname_path, e);
    if (r >= 0)
        r = add_file(in, own, "/etc/hosts", in->hosts_path, e);
    if (r >= 0)
        r = sorted_append(l, own, e);
    json_decref(own);
    if (r < 0) {
        json_decref(l);
        return NULL;
    }
    return l;
}
