// SPDX-License-Identifier: Apache-2.0
/* What a life that ended early left in the store: found by comparing the folders with the rows, removed at start. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "layers/layers-internal.h"

#define INIT_SUFFIX "-init"

/* Folders that belong to somebody, by name. */
static int owned_names(struct layers *l, struct map *ret, struct err *e) {
    int r = 0;

    pthread_mutex_lock(&l->lock);
    for (struct map_entry *i = NULL; r == 0 && (i = map_next(&l->chains, i));)
        r = map_set(ret, ((struct layer *)i->value)->cache_id, l, NULL) < 0 ? err_oom(e) : 0;
    for (struct map_entry *i = NULL; r == 0 && (i = map_next(&l->containers, i));)
        r = map_set(ret, ((struct container_layer *)i->value)->mount_id, l, NULL) < 0 ? err_oom(e) : 0;
    pthread_mutex_unlock(&l->lock);
    return r;
}

/* The id a name of the store is made of: 64 hex digits, perhaps with "-init". */
static bool owner_of(const char *name, char ret[ID_LEN + 1]) {
    size_t n = strlen(name);

    if (n != ID_LEN && !(n == ID_LEN + strlen(INIT_SUFFIX) && str_has_suffix(name, INIT_SUFFIX)))
        return false;
    snprintf(ret, ID_LEN + 1, "%s", name);
    return id_is_full(ret);
}

static bool is_empty(int home, const char *path) {
    int fd = openat(home, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *d;

    while (dir && (d = readdir(dir)))
        if (!streq(d->d_name, ".") && !streq(d->d_name, ".."))
            return false;
    return dir;
}

/*
 * A writable layer that nobody can miss: nothing was written, or its container was to go at its end. Such a container's rows do not wait for the disk, and its
 * overlay was mounted "volatile", which the kernel marks.
 */
static bool is_worthless(int home, const char *name) {
    _cleanup_free_ char *diff = str_printf("%s/diff", name), *mark = str_printf("%s/work/incompat/volatile", name);

    return diff && mark && (faccessat(home, mark, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || is_empty(home, diff));
}

/* A folder nobody owns. Other writable layers of containers are left alone: they are data of users, and were promised with their rows. */
static void sweep_entry(struct layers *l, int home, const char *name) {
    _cleanup_free_ char *merged = str_printf("%s/merged", name);
    struct stat st;

    if (!merged || fstatat(home, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    if (S_ISLNK(st.st_mode)) { /* the name tools look for, of a container that is gone */
        unlinkat(home, name, 0);
    } else if (fstatat(home, merged, &st, AT_SYMLINK_NOFOLLOW) == 0 && !is_worthless(home, name)) {
        log_kv(LOG_LVL_WARN, "a container's folder belongs to no container", "folder", name, NULL);
    } else {
        log_kv(LOG_LVL_INFO, "removing an unfinished layer or container", "folder", name, NULL);
        store_discard(l, name);
    }
}

static int sweep_links(const struct layers *l, struct err *e) {
    _cleanup_free_ char *path = str_printf("%s/l", l->home);
    _cleanup_closedir_ DIR *dir = path ? opendir(path) : NULL;
    struct dirent *d;
    struct stat st;

    if (!path)
        return err_oom(e);
    while (dir && (d = readdir(dir)))
        if (d->d_type == DT_LNK && fstatat(dirfd(dir), d->d_name, &st, 0) < 0 && errno == ENOENT)
            unlinkat(dirfd(dir), d->d_name, 0);
    return 0;
}

/* The other names tools look for (layers_container_name()), of containers that are gone or were never finished. */
static int sweep_mount_ids(struct layers *l, struct err *e) {
    _cleanup_free_ char *path = str_printf("%s/image/%s/layerdb/mounts", l->data_root, layers_driver_name(l));
    _cleanup_closedir_ DIR *dir = path ? opendir(path) : NULL;
    struct dirent *d;

    if (!path)
        return err_oom(e);
    while (dir && (d = readdir(dir))) {
        _cleanup_free_ char *one = NULL;

        if (!id_is_full(d->d_name) || map_has(&l->containers, d->d_name))
            continue;
        one = str_printf("%s/%s", path, d->d_name);
        if (!one)
            return err_oom(e);
        ignore_result(fs_remove_tree(one, NULL) < 0);
    }
    return 0;
}

/*
 * Whether the rows can be trusted to name everything in this home. They can when they are as old as it: a database that was lost and begun anew must not
 * make us remove what it no longer knows.
 */
static int rows_count(struct layers *l, bool any_folder, bool *ret, struct err *e) {
    int64_t n = 0;
    int r = db_query_int(l->db, "SELECT count(*) FROM layer_home WHERE home=?1", DB_ARGS(DB_TEXT(l->home)), &n, e);

    if (r < 0)
        return r;
    *ret = n > 0 || !any_folder || l->chains.n > 0 || l->containers.n > 0;
    if (n > 0 || !*ret)
        return 0;
    return db_exec(l->db, "INSERT INTO layer_home(home) VALUES(?1)", DB_ARGS(DB_TEXT(l->home)), e);
}

static int sweep(struct layers *l, const struct strv *names, int home, struct err *e) {
    struct map owned = {0};
    int r = owned_names(l, &owned, e);

    for (size_t i = 0; r == 0 && i < names->n; i++) {
        char id[ID_LEN + 1];

        if (owner_of(names->v[i], id) && !map_has(&owned, id))
            sweep_entry(l, home, names->v[i]);
    }
    map_done(&owned);
    if (r >= 0)
        r = sweep_mount_ids(l, e);
    return r < 0 || !l->overlay ? r : sweep_links(l, e);
}

int store_clean_leftovers(struct layers *l, struct err *e) {
    _cleanup_closedir_ DIR *dir = opendir(l->home);
    _cleanup_strv_ struct strv names = STRV_INIT;
    struct dirent *d;
    bool trusted = false;
    int r;

    if (!dir)
        return err_errno(e, errno, "opendir %s", l->home);
    while ((d = readdir(dir))) {
        char id[ID_LEN + 1];

        if (str_has_prefix(d->d_name, "gone-") || str_has_prefix(d->d_name, "tmp-"))
            store_discard(l, d->d_name);
        else if (owner_of(d->d_name, id) && strv_add(&names, d->d_name) < 0)
            return err_oom(e);
    }
    r = rows_count(l, names.n > 0, &trusted, e);
    if (r < 0)
        return r;
    if (!trusted) {
        log_kv(LOG_LVL_WARN, "the layers here are older than the database: what it does not know is kept", "home", l->home, NULL);
        return 0;
    }
    return sweep(l, &names, dirfd(dir), e);
}
