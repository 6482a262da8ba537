// SPDX-License-Identifier: Apache-2.0
/*
 * Use: what happens to a volume while a container that has it runs. A plain folder needs nothing. The file system of a volume with a device is mounted for its
 * first use and unmounted after the last; a plugin is told of each use. These uses are rows, written first: an engine that dies between leaves nothing mounted.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "kern/kern.h"
#include "volume/volume-internal.h"

static bool needs_use(const struct volume *v) {
    return v->remote || v->has_device;
}

bool volume_is_mounted_for_use(const struct volume *v) {
    return needs_use(v);
}

int volume_add_use(struct volume *v, const char *id, const char *container, bool claimed, struct err *e) {
    struct volume_use *bigger = realloc(v->uses, (v->n_uses + 1) * sizeof(*bigger)), *u;

    if (!bigger)
        return err_oom(e);
    v->uses = bigger;
    u = &v->uses[v->n_uses];
    *u = (struct volume_use){.id = strdup(id), .container = strdup(container), .claimed = claimed};
    if (!u->id || !u->container) {
        free(u->id);
        free(u->container);
        return err_oom(e);
    }
    v->n_uses++;
    return 0;
}

static void drop_use(struct volumes *vs, struct volume *v, size_t i) {
    _cleanup_err_ struct err why = ERR_INIT;

    if (volume_store_unuse(vs, v->uses[i].id, &why) < 0)
        log_kv(LOG_LVL_ERROR, "use of a volume stays recorded", "volume", v->record.name, "error", err_msg(&why), NULL);
    free(v->uses[i].id);
    free(v->uses[i].container);
    memmove(&v->uses[i], &v->uses[i + 1], (v->n_uses - i - 1) * sizeof(*v->uses));
    v->n_uses--;
}

static int mount_remote(struct volumes *vs, struct volume *v, const char *id, char **ret_path, struct err *e) {
    _cleanup_(volume_facts_done) struct volume_facts facts = {0};
    struct plugin *plugin = NULL;
    int r = volume_driver_find(vs, v->record.driver, true, &plugin, e);

    if (r == 0)
        r = volume_driver_get(plugin, v->record.name, &facts, e);
    return r < 0 ? r : volume_driver_mount(plugin, v->record.name, id, ret_path, e);
}

/* `copying` is held. */
static int begin_use(struct volumes *vs, struct volume *v, const char *container_id, char **ret_path, struct err *e) {
    char id[ID_LEN + 1];
    int r;

    id_new(id);
    r = volume_add_use(v, id, container_id, true, e);
    if (r < 0)
        return r;
    r = volume_store_use(vs, v, &v->uses[v->n_uses - 1], e);
    if (r == 0 && v->remote) {
        r = mount_remote(vs, v, id, ret_path, e);
    } else if (r == 0 && !v->mounted) {
        r = volume_is_mounted(v) ? 0 : volume_do_mount(vs, v, e);
        v->mounted = r == 0;
    }
    if (r < 0)
        drop_use(vs, v, v->n_uses - 1);
    return r;
}

/* A container that runs holds off who would change the data as a whole, and waits for whoever does. */
static int note_run(struct volumes *vs, struct volume *v, const char *container_id, struct err *e) {
    int r = 0;

    pthread_mutex_lock(&vs->lock);
    while (v->busy)
        pthread_cond_wait(&vs->changed, &vs->lock);
    if (!strv_has(&v->runs, container_id))
        r = strv_add(&v->runs, container_id);
    pthread_mutex_unlock(&vs->lock);
    return r < 0 ? err_oom(e) : 0;
}

static void forget_run(struct volumes *vs, struct volume *v, const char *container_id) {
    pthread_mutex_lock(&vs->lock);
    for (size_t i = v->runs.n; i-- > 0;) {
        if (streq(v->runs.v[i], container_id))
            strv_remove_at(&v->runs, i);
    }
    pthread_mutex_unlock(&vs->lock);
}

/* `user` is the container that starts, or who looks at its files. */
static int mount_for(struct volumes *vs, struct volume *v, const char *user, const char *container_id, const char *destination, bool read_write,
                     const char *propagation, char **ret_path, struct err *e) {
    _cleanup_strv_ struct strv attrs = STRV_INIT;
    _cleanup_free_ char *path = NULL;
    int r = note_run(vs, v, user, e);

    if (r == 0 && needs_use(v)) {
        pthread_mutex_lock(&v->copying);
        r = begin_use(vs, v, user, &path, e);
        pthread_mutex_unlock(&v->copying);
    }
    if (r < 0) {
        forget_run(vs, v, user);
        err_wrap(e, "error while mounting volume '%s'", v->record.mountpoint);
        if (e)
            e->kind = ERR_INTERNAL;
        return -ERR_INTERNAL;
    }
    if (!path)
        path = strdup(v->record.mountpoint);
    if (!path)
        return err_oom(e);
    if (strv_addf(&attrs, "container=%s", container_id) == 0 && strv_addf(&attrs, "destination=%s", destination) == 0 &&
        strv_addf(&attrs, "propagation=%s", propagation ? propagation : "") == 0 &&
        strv_addf(&attrs, "read/write=%s", read_write ? "true" : "false") == 0)
        volumes_event(vs, v, "mount", &attrs);
    *ret_path = TAKE_PTR(path);
    return 0;
}

int volumes_mount_at(struct volumes *vs, struct volume *v, const char *container_id, const char *destination, bool read_write,
                     const char *propagation, char **ret_path, struct err *e) {
    return mount_for(vs, v, container_id, container_id, destination, read_write, propagation, ret_path, e);
}

int volumes_visit(struct volumes *vs, struct volume *v, const char *container_id, const char *destination, bool read_write, const char *propagation,
                  char ret_visit[ID_LEN + 1], char **ret_path, struct err *e) {
    id_new(ret_visit);
    return mount_for(vs, v, ret_visit, container_id, destination, read_write, propagation, ret_path, e);
}

void volumes_mount(struct volumes *vs, struct volume *v, const char *container_id) {
    bool found = false;

    ignore_result(note_run(vs, v, container_id, NULL) < 0);
    if (!needs_use(v))
        return;
    pthread_mutex_lock(&v->copying);
    for (size_t i = 0; i < v->n_uses && !found; i++) {
        found = !v->uses[i].claimed && streq(v->uses[i].container, container_id);
        if (found)
            v->uses[i].claimed = true;
    }
    v->mounted = v->has_device && volume_is_mounted(v);
    pthread_mutex_unlock(&v->copying);
    if (!found)
        log_kv(LOG_LVL_WARN, "a running container uses a volume that was not noted as mounted", "volume", v->record.name, "container", container_id,
               NULL);
}

/* `copying` is held. */
static void end_use(struct volumes *vs, struct volume *v, size_t i) {
    _cleanup_(volume_facts_done) struct volume_facts facts = {0};
    _cleanup_err_ struct err why = ERR_INIT;
    struct plugin *plugin = NULL;
    int r = 0;

    if (v->remote) {
        r = volume_driver_find(vs, v->record.driver, false, &plugin, &why);
        if (r == 0)
            r = volume_driver_get(plugin, v->record.name, &facts, &why);
        if (r == 0)
            r = volume_driver_unmount(plugin, v->record.name, v->uses[i].id, &why);
        if (r < 0)
            log_kv(LOG_LVL_WARN, "the plugin does not unmount a volume", "volume", v->record.name, "error", err_msg(&why), NULL);
    } else if (v->n_uses == 1 && (v->mounted || volume_is_mounted(v))) {
        volume_do_unmount(vs, v);
        v->mounted = false;
    }
    drop_use(vs, v, i);
}

static void unmount_for(struct volumes *vs, struct volume *v, const char *user, const char *container_id) {
    _cleanup_strv_ struct strv attrs = STRV_INIT;

    forget_run(vs, v, user);
    if (needs_use(v)) {
        pthread_mutex_lock(&v->copying);
        for (size_t i = 0; i < v->n_uses; i++) {
            if (v->uses[i].claimed && streq(v->uses[i].container, user)) {
                end_use(vs, v, i);
                break;
            }
        }
        pthread_mutex_unlock(&v->copying);
    }
    if (strv_addf(&attrs, "container=%s", container_id) == 0)
        volumes_event(vs, v, "unmount", &attrs);
}

void volumes_unmount(struct volumes *vs, struct volume *v, const char *container_id) {
    unmount_for(vs, v, container_id, container_id);
}

void volumes_leave(struct volumes *vs, struct volume *v, const char *container_id, const char *visit) {
    unmount_for(vs, v, visit, container_id);
}

void volumes_sweep(struct volumes *vs) {
    struct volume **all = NULL;
    size_t n = 0;

    if (volumes_all(vs, &all, &n, NULL) < 0)
        return;
    for (size_t k = 0; k < n; k++) {
        struct volume *v = all[k];

        pthread_mutex_lock(&v->copying);
        for (size_t i = v->n_uses; i-- > 0;) {
            if (!v->uses[i].claimed)
                end_use(vs, v, i);
        }
        pthread_mutex_unlock(&v->copying);
        volume_unref(v);
    }
    free(all);
}

/* ---- first use ----------------------------------------------------------------------------------------------------------------------- */

static bool is_empty_dir(int fd) {
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    bool empty = d != NULL;
    struct dirent *ent;

    if (!d) {
        close_fd(copy);
        return false;
    }
    while (empty && (ent = readdir(d)))
        empty = streq(ent->d_name, ".") || streq(ent->d_name, "..");
    closedir(d);
    return empty;
}

/* `copying` is held. */
static int copy_into(struct volume *v, const char *below, int src_dirfd, const char *source, struct err *e) {
    _cleanup_close_ int top = open(v->record.mountpoint, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), dst = -EBADF;
    int r;

    if (top < 0)
        return err_errno(e, errno, "open %s", v->record.mountpoint);
    dst =
        below ? kern_open_in(&kern_linux, top, below, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS) : TAKE_FD(top);
    if (dst < 0)
        return 0; /* what cannot be mounted is told by the start */
    if (!is_empty_dir(dst))
        return 0;
    if (src_dirfd == -ENOTDIR)
        return err_set(e, ERR_INTERNAL, "source %s is not directory", source);
    r = volume_copy_tree(src_dirfd, dst, e);
    return r < 0 ? err_wrap(e, "copy the image's content into volume %s", v->record.name) : 0;
}

int volumes_copy_up(struct volumes *vs, struct volume *v, const char *below, const char *container_id, int src_dirfd, const char *source,
                    struct err *e) {
    int r = 0;

    /* What a plugin keeps is the plugin's to fill. */
    if ((src_dirfd < 0 && src_dirfd != -ENOTDIR) || v->remote)
        return 0;
    pthread_mutex_lock(&v->copying);
    if (v->has_device) {
        r = begin_use(vs, v, container_id, NULL, e);
        if (r < 0)
            err_wrap(e, "failed to populate volume: error while mounting volume '%s'", v->record.mountpoint);
    }
    if (r == 0) {
        r = copy_into(v, below, src_dirfd, source, e);
        if (v->has_device)
            end_use(vs, v, v->n_uses - 1);
    }
    pthread_mutex_unlock(&v->copying);
    return r;
}
