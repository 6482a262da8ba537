// SPDX-License-Identifier: Apache-2.0
/* The parts of a start that look around before anything is launched: who the process is, whose namespaces it joins, what is mounted. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/idmap.h"
#include "base/str.h"
#include "container/mounts.h"
#include "container/root.h"
#include "container/shm.h"
#include "container/start-internal.h"
#include "container/validate.h"
#include "kern/kern.h"
#include "volume/volume.h"

/* ---- user -------------------------------------------------------------------------------------------------------------------------- */
struct cached_user {
    uint32_t uid, gid;
    size_t n_groups;
    size_t n_home;
    char data[]; /* groups, then home with its NUL */
};

static char *cache_key(const struct ctr_fixed *f) {
    _cleanup_buf_ struct buf b = BUF_INIT(4096);

    buf_addf(&b, "%s|%s", f->image_id, f->config.user ? f->config.user : "");
    for (size_t i = 0; i < f->host.group_add.n; i++)
        buf_addf(&b, "|%s", f->host.group_add.v[i]);
    return buf_take(&b);
}

static bool cache_get(struct containers *cs, const char *key, struct ctr_user *ret) {
    const struct cached_user *u;
    bool ok = false;

    pthread_mutex_lock(&cs->users_lock);
    u = map_get(&cs->users, key);
    if (u) {
        ret->uid = u->uid;
        ret->gid = u->gid;
        ret->n_groups = u->n_groups;
        ret->groups = malloc(u->n_groups * sizeof(uint32_t) + 1);
        ret->home = strdup(u->data + u->n_groups * sizeof(uint32_t));
        ok = ret->groups && ret->home;
        if (ok)
            memcpy(ret->groups, u->data, u->n_groups * sizeof(uint32_t));
        else
            ctr_user_done(ret);
    }
    pthread_mutex_unlock(&cs->users_lock);
    return ok;
}

static void cache_put(struct containers *cs, const char *key, const struct ctr_user *user) {
    size_t groups = user->n_groups * sizeof(uint32_t), home = strlen(user->home) + 1;
    struct cached_user *u = malloc(sizeof(*u) + groups + home);
    void *old = NULL;

    if (!u)
        return;
    *u = (struct cached_user){user->uid, user->gid, user->n_groups, home};
    memcpy(u->data, user->groups, groups);
    memcpy(u->data + groups, user->home, home);
    pthread_mutex_lock(&cs->users_lock);
    if (cs->users.n > 1024) {
        map_done_with(&cs->users, free);
        cs->users = MAP_INIT;
    }
    if (map_set(&cs->users, key, u, &old) < 0)
        free(u);
    free(old);
    pthread_mutex_unlock(&cs->users_lock);
}

/* The files of an image never change, so containers that never ran share what was found in them. */
int launching_find_user(struct launching *l, struct err *e) {
    struct containers *cs = l->c->cs;
    _cleanup_free_ char *key = l->c->fresh && !str_empty(l->f->image_id) ? cache_key(l->f) : NULL;
    _cleanup_close_ int root = -EBADF;
    int r;

    if (key && cache_get(cs, key, &l->user))
        return 0;
    r = ctr_root_open(cs->engine->launcher, &l->rootfs, &root, e);
    if (r < 0)
        return r;
    r = ctr_user_of_root(root, l->f->config.user, &l->f->host.group_add, &l->user, e);
    if (r >= 0 && key)
        cache_put(cs, key, &l->user);
    return r;
}

/* ---- namespaces of other containers ---------------------------------------------------------------------------------------------- */
static int join_ns(struct launching *l, const char *mode, const char *ns, const char *what, char **ret, struct err *e) {
    const char *ref = ctr_mode_container(mode);
    _cleanup_container_ struct container *other = NULL;
    _cleanup_view_ struct ctr_view *v = NULL;
    int r;

    if (!ref)
        return 0;
    r = containers_find(l->c->cs, ref, &other, e);
    if (r < 0)
        return *ref ? r : err_wrap(e, "failed to join %s namespace", what);
    if (other == l->c && streq(ns, "net"))
        return err_set(e, ERR_INTERNAL, "cannot join own network");
    v = container_view(other);
    if (v->state != ctr_running && v->state != ctr_paused) {
        if (streq(ns, "net"))
            return err_set(e, ERR_CONFLICT, "cannot join network of a non running container: %s", other->id);
        return err_set(e, streq(ns, "pid") ? ERR_INTERNAL : ERR_CONFLICT, "failed to join %s namespace: container %s is not running", what,
                       other->id);
    }
    if (streq(ns, "ipc")) {
        if (!ctr_mode_is(v->fixed->host.ipc_mode, "shareable"))
            return err_set(e, ERR_INTERNAL,
                           "failed to join IPC namespace: container %s: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                           other->id);
        l->shm_path = ctr_shm_path(other);
        if (!l->shm_path)
            return err_oom(e);
    }
    *ret = str_printf("/proc/%lld/ns/%s", (long long)v->pid, ns);
    if (!*ret)
        return err_oom(e);
    if (l->ids) {
        free(l->userns_path);
        l->userns_path = str_printf("/proc/%lld/ns/user", (long long)v->pid);
        if (!l->userns_path)
            return err_oom(e);
    }
    if (streq(ns, "net")) {
        const char *hostname = v->joined_hostname ? v->joined_hostname : v->fixed->config.hostname;

        net_lend(other); /* whose namespace it shares itself has lent it before */
        l->hosts_path = container_net_path(other, v, "hosts");
        l->resolv_path = container_net_path(other, v, "resolv.conf");
        l->hostname_path = container_net_path(other, v, "hostname");
        l->hostname = strdup(hostname ? hostname : "");
        memcpy(l->joined, v->joined_id[0] ? v->joined_id : other->id, sizeof(l->joined));
        if (!l->hosts_path || !l->resolv_path || !l->hostname_path || !l->hostname)
            return err_oom(e);
    }
    return 0;
}

int launching_join_all(struct launching *l, struct err *e) {
    const struct api_host_config *h = &l->f->host;
    int r = join_ns(l, h->network_mode, "net", "network", &l->netns_path, e);

    if (r >= 0)
        r = join_ns(l, h->pid_mode, "pid", "PID", &l->pidns_path, e);
    return r < 0 ? r : join_ns(l, h->ipc_mode, "ipc", "IPC", &l->ipcns_path, e);
}

/* ---- volumes and binds ------------------------------------------------------------------------------------------------------------ */
static int make_bind_source(const struct idmap *ids, const struct ctr_mount *m, struct err *e) {
    struct stat st;

    if (stat(m->source, &st) == 0)
        return 0;
    if (!m->make_source)
        return err_set(e, ERR_INVALID, "invalid mount config for type \"bind\": bind source path does not exist: %s", m->source);
    return idmap_mkdir_p(ids, m->source, 0755, e);
}

/*
 * A subpath must lead to something inside the volume, wherever links in it point; said here in the reference's words. What is mounted in the end is resolved again by
 * the child, beneath the volume, so nothing that changes meanwhile leads out of it.
 */
static int check_subpath(const char *volume, const char *sub, struct err *e) {
    _cleanup_close_ int root = open(volume, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (root < 0)
        return err_errno(e, errno, "cannot access path %s", volume);
    /* One part more each time, to be able to name the one that is missing. */
    for (size_t n = strcspn(sub, "/");; n += 1 + strcspn(sub + n + 1, "/")) {
        _cleanup_free_ char *part = strndup(sub, n);
        int fd = part ? kern_open_in(&kern_linux, root, part, O_PATH | O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS) : -ENOMEM;

        close_fd(fd);
        if (fd == -ENOENT)
            return err_set(e, ERR_NOT_FOUND, "cannot access path %s/%s: lstat %s/%s: no such file or directory", volume, sub, volume, part);
        if (fd == -EXDEV)
            return err_set(e, ERR_INVALID, "path concatenation escapes the base directory, base: %s, subpath: %s", volume, sub);
        if (fd == -ELOOP)
            return err_set(e, ERR_INTERNAL, "error while resolving symlinks in combined path \"%s/%s\": EvalSymlinks: too many links", volume, sub);
        if (fd == -ENOTDIR)
            return err_set(e, ERR_INTERNAL, "error while resolving symlinks in combined path \"%s/%s\": not a directory", volume, sub);
        if (fd < 0)
            return err_errno(e, fd, "cannot access path %s/%s", volume, sub);
        if (!sub[n])
            return 0;
    }
}

int launching_plug_mounts(struct launching *l, struct err *e) {
    struct container *c = l->c;
    size_t k = 0;

    l->volume_paths = calloc(c->n_volumes + 1, sizeof(char *));
    if (!l->volume_paths)
        return err_oom(e);
    for (size_t i = 0; i < l->f->mounts.n; i++) {
        const struct ctr_mount *m = &l->f->mounts.v[i];
        int r = 0;

        if (m->kind == CTR_MOUNT_BIND) {
            r = make_bind_source(c->cs->engine->ids, m, e);
            if (r >= 0)
                r = ctr_check_propagation(m, e);
        } else if (m->kind == CTR_MOUNT_VOLUME && k < c->n_volumes) {
            char *path = NULL;

            r = volumes_mount_at(c->cs->engine->volumes, c->volumes[k], c->id, m->destination, m->rw, m->propagation, &path, e);
            if (r < 0)
                return r;
            c->n_volumes_used = k + 1;
            if (strv_consume(&l->volume_sources, path) < 0)
                return err_oom(e);
            l->volume_paths[k] = path;
            l->host_volumes = l->host_volumes || volume_is_mounted_for_use(c->volumes[k]);
            if (m->subpath)
                r = check_subpath(path, m->subpath, e);
            k++;
        }
        if (r < 0)
            return r;
    }
    return 0;
}
