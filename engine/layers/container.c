// SPDX-License-Identifier: Apache-2.0
/* Writable layers of containers, and the init folder they share. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/log.h"
#include "base/str.h"
#include "layers/layers-internal.h"

/* Mount points that every container needs, as the reference's init layer has them: a folder, an empty file, or a link's target. */
static const struct {
    const char *path;
    const char *what; /* "d", "f", or target */
} init_entries[] = {
    {"dev", "d"},
    {"dev/pts", "d"},
    {"dev/shm", "d"},
    {"dev/console", "f"},
    {"proc", "d"},
    {"sys", "d"},
    {"etc", "d"},
    {"etc/hosts", "f"},
    {"etc/hostname", "f"},
    {"etc/resolv.conf", "f"},
    {"etc/mtab", "/proc/mounts"},
    {".dockerenv", "f"},
};

void container_layer_free(void *p) {
    struct container_layer *c = p;

    free(c->container_id);
    free(c);
}

static int load_container(const struct db_row *row, void *arg, struct err *e) {
    struct layers *l = arg;
    struct container_layer *c = calloc(1, sizeof *c);
    const char *top = db_row_text(row, 3);

    if (!c)
        return err_oom(e);
    c->container_id = str_dup(db_row_text(row, 0));
    snprintf(c->mount_id, sizeof c->mount_id, "%s", db_row_text(row, 1));
    snprintf(c->link, sizeof c->link, "%s", db_row_text(row, 2));
    c->top = top ? map_get(&l->chains, top) : NULL;
    if (c->top)
        c->top->refs++;
    if (!c->container_id || map_set(&l->containers, c->container_id, c, NULL) < 0) {
        container_layer_free(c);
        return err_oom(e);
    }
    return 0;
}

int containers_load(struct layers *l, struct err *e) {
    return db_query(l->db, "SELECT container_id, mount_id, link, top FROM container_layer", DB_NONE, load_container, l, e);
}

/* ---- init folder -------------------------------------------------------------------------------------------------------------- */

/* What a container would see at `path` (no links followed): the topmost layer that says something. */
static bool chain_stat(const struct layer *top, const char *path, struct stat *ret) {
    for (const struct layer *p = top; p; p = p->parent) {
        _cleanup_free_ char *diff = driver_path(p->owner, p->cache_id, "diff");
        _cleanup_close_ int dir = diff ? open(diff, O_PATH | O_DIRECTORY | O_CLOEXEC) : -EBADF;
        const char *slash = strchr(path, '/');
        char first[16];
        char opaque;

        if (dir < 0)
            return false;
        if (slash) {
            struct stat st;
            _cleanup_close_ int up = -EBADF;

            snprintf(first, sizeof first, "%.*s", (int)(slash - path), path);
            if (fstatat(dir, first, &st, AT_SYMLINK_NOFOLLOW) < 0)
                continue;
            if (!S_ISDIR(st.st_mode))
                return false;
            up = openat(dir, first, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (up < 0)
                return false;
            if (fstatat(up, slash + 1, ret, AT_SYMLINK_NOFOLLOW) == 0)
                return !is_whiteout(ret);
            if (fgetxattr(up, "trusted.overlay.opaque", &opaque, 1) == 1 && opaque == 'y')
                return false;
            continue;
        }
        if (fstatat(dir, path, ret, AT_SYMLINK_NOFOLLOW) == 0)
            return !is_whiteout(ret);
    }
    return false;
}

static int init_owner(const struct layers *l, int dir, const char *path, struct err *e) {
    if (l->ids && fchownat(dir, path, l->ids->root_uid, l->ids->root_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, errno, "init layer: %s", path);
    return 0;
}

/* A folder that exists below keeps its looks: the init folder lies over it. */
static int init_dir(const struct layers *l, const struct layer *top, int dir, const char *path, struct err *e) {
    struct stat st;

    if (mkdirat(dir, path, 0755) < 0 && errno != EEXIST)
        return err_errno(e, errno, "init layer: mkdir %s", path);
    if (!chain_stat(top, path, &st) || !S_ISDIR(st.st_mode))
        return init_owner(l, dir, path, e);
    if (fchownat(dir, path, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 || fchmodat(dir, path, st.st_mode & 07777, 0) < 0)
        return err_errno(e, errno, "init layer: %s", path);
    return 0;
}

static int fill_init(const struct layers *l, const struct layer *top, const char *diff, struct err *e) {
    _cleanup_close_ int dir = open(diff, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return err_errno(e, errno, "open %s", diff);
    for (size_t i = 0; i < ELEMENTSOF(init_entries); i++) {
        const char *path = init_entries[i].path, *what = init_entries[i].what;
        int r = 0;

        if (streq(what, "d")) {
            r = init_dir(l, top, dir, path, e);
        } else if (streq(what, "f")) {
            _cleanup_close_ int fd = openat(dir, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0755);

            r = fd < 0 || fchmod(fd, 0755) < 0 ? err_errno(e, errno, "init layer: %s", path) : init_owner(l, dir, path, e);
        } else {
            r = symlinkat(what, dir, path) < 0 ? err_errno(e, errno, "init layer: %s", path) : init_owner(l, dir, path, e);
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static int build_init(struct layers *l, const struct layer *top, const char *name, char link[LINK_LEN + 1], struct err *e) {
    char id[ID_LEN + 1], tmp[32];
    _cleanup_free_ char *staged = NULL, *diff = NULL, *place = driver_path(l, name, NULL), *link_file = NULL, *link_path = NULL, *target = NULL;
    int r;

    id_new(id);
    random_link(link);
    snprintf(tmp, sizeof tmp, "gone-%.16s", id); /* the start removes what a crash leaves under this name */
    staged = driver_path(l, tmp, NULL);
    diff = driver_path(l, tmp, "diff");
    link_file = driver_path(l, tmp, "link");
    link_path = str_printf("%s/l/%s", l->home, link);
    target = str_printf("../%s/diff", name);
    if (!staged || !diff || !place || !link_file || !link_path || !target)
        return err_oom(e);
    if (mkdir(staged, 0710) < 0 || mkdir(diff, 0755) < 0)
        return err_errno(e, errno, "mkdir %s", diff);
    r = idmap_give_group(l->ids, staged, e);
    if (r == 0)
        r = idmap_give(l->ids, diff, e);
    if (r == 0)
        r = fill_init(l, top, diff, e);
    if (r == 0)
        r = fs_replace_file_volatile(link_file, link, LINK_LEN, 0644, e);
    if (r == 0 && symlink(target, link_path) < 0)
        r = err_errno(e, errno, "symlink %s", link_path);
    if (r == 0 && rename(staged, place) < 0)
        r = err_errno(e, errno, "rename %s", place);
    if (r < 0)
        layer_reaper_add(l->reaper, staged);
    return r;
}

/* Short link of the init folder over `top`, found or made. All containers of an image share it: nobody writes to a lower. */
static int init_link(struct layers *l, struct layer *top, char ret[LINK_LEN + 1], struct err *e) {
    _cleanup_free_ char *name = str_printf("%s-init", top ? top->cache_id : "empty"), *file = name ? driver_path(l, name, "link") : NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(LINK_LEN + 1);
    int r = 0;

    if (!file)
        return err_oom(e);
    pthread_mutex_lock(&l->init_lock);
    if (top && top->init_link) {
        memcpy(ret, top->init_link, LINK_LEN + 1);
    } else if (fs_read_file(file, &b, NULL) == 0 && b.len == LINK_LEN) {
        memcpy(ret, b.data, LINK_LEN + 1);
    } else {
        store_discard(l, name);
        r = build_init(l, top, name, ret, e);
    }
    if (r == 0 && top && !top->init_link)
        top->init_link = strdup(ret);
    pthread_mutex_unlock(&l->init_lock);
    return r;
}

/* ---- root file systems ---------------------------------------------------------------------------------------------------------- */

void layers_rootfs_done(struct layers_rootfs *r) {
    free(r->driver);
    free(r->mount_id);
    strv_done(&r->lowers);
    free(r->upper);
    free(r->work);
    free(r->merged);
    free(r->below);
    free(r->shown_lower);
    free(r->shown_upper);
    free(r->shown_merged);
    free(r->shown_work);
    *r = (struct layers_rootfs){0};
}

static int describe_overlay(struct layers *l, const struct container_layer *c, struct layers_rootfs *ret, struct err *e) {
    _cleanup_buf_ struct buf shown = BUF_INIT(64 * 1024);
    char link[LINK_LEN + 1];
    int r = init_link(l, c->top, link, e);

    if (r < 0)
        return r;
    buf_addf(&shown, "%s/%s-init/diff", l->home, c->mount_id);
    if (strv_addf(&ret->lowers, "%s/l/%s", l->home, link) < 0)
        return err_oom(e);
    for (const struct layer *p = c->top; p; p = p->parent) {
        if (strv_addf(&ret->lowers, "%s/l/%s", l->home, p->link) < 0)
            return err_oom(e);
        buf_addf(&shown, ":%s/%s/diff", l->home, p->cache_id);
    }
    ret->upper = driver_path(l, c->mount_id, "diff");
    ret->work = driver_path(l, c->mount_id, "work");
    ret->merged = driver_path(l, c->mount_id, "merged");
    ret->shown_lower = buf_take(&shown);
    ret->shown_upper = str_dup(ret->upper);
    ret->shown_work = str_dup(ret->work);
    ret->shown_merged = str_dup(ret->merged);
    return ret->upper && ret->work && ret->merged && ret->shown_lower && ret->shown_upper && ret->shown_work && ret->shown_merged ? 0 : err_oom(e);
}

static int describe(struct layers *l, const struct container_layer *c, struct layers_rootfs *ret, struct err *e) {
    int r = 0;

    *ret = (struct layers_rootfs){0};
    ret->driver = strdup(layers_driver_name(l));
    ret->mount_id = strdup(c->mount_id);
    if (l->overlay)
        r = describe_overlay(l, c, ret, e);
    else
        ret->merged = driver_path(l, c->mount_id, "diff");
    if (r == 0 && !l->overlay && c->top && !(ret->below = driver_path(l, c->top->cache_id, "diff")))
        r = err_oom(e);
    if (r == 0 && (!ret->driver || !ret->mount_id || !ret->merged))
        r = err_oom(e);
    if (r < 0)
        layers_rootfs_done(ret);
    return r;
}

/* Tools that map a container to its folder look here. */
static void write_mount_id(struct layers *l, const struct container_layer *c, bool remove) {
    _cleanup_free_ char *dir = str_printf("%s/image/%s/layerdb/mounts/%s", l->data_root, layers_driver_name(l), c->container_id);
    _cleanup_free_ char *file = dir ? str_printf("%s/mount-id", dir) : NULL;

    if (!file)
        return;
    if (remove) { /* all of it: a daemon that was killed may have left a file half made */
        ignore_result(fs_remove_tree(dir, NULL) < 0);
        return;
    }
    if (fs_mkdir_p(dir, 0711, NULL) == 0)
        ignore_result(fs_replace_file_volatile(file, c->mount_id, strlen(c->mount_id), 0644, NULL) < 0);
}

/* vfs has no overlay to hide things with: files that are there make way. */
static int fill_vfs_init(const struct layers *l, const char *diff, struct err *e) {
    _cleanup_close_ int dir = open(diff, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (dir < 0)
        return err_errno(e, errno, "open %s", diff);
    for (size_t i = 0; i < ELEMENTSOF(init_entries); i++)
        unlinkat(dir, init_entries[i].path, 0); /* fails on folders, which is right */
    return fill_init(l, NULL, diff, e);
}

static int make_folders(struct layers *l, const struct container_layer *c, struct err *e) {
    static const char *const parts[] = {NULL, "diff", "work", "merged"};

    for (size_t i = 0; i < (l->overlay ? 4 : 1); i++) {
        _cleanup_free_ char *path = driver_path(l, c->mount_id, parts[i]);
        int r;

        if (!path)
            return err_oom(e);
        if (mkdir(path, i == 0 ? 0710 : i == 2 ? 0700 : 0755) < 0)
            return err_errno(e, errno, "mkdir %s", path);
        r = i == 0 ? idmap_give_group(l->ids, path, e) : idmap_give(l->ids, path, e);
        if (r < 0)
            return r;
    }
    if (!l->overlay) {
        _cleanup_free_ char *below = c->top ? driver_path(l, c->top->cache_id, "diff") : NULL, *diff = driver_path(l, c->mount_id, "diff");
        int r;

        if (!diff || (c->top && !below))
            return err_oom(e);
        r = vfs_merge(below, NULL, diff, e);
        if (r == 0)
            r = idmap_give(l->ids, diff, e);
        return r < 0 ? r : fill_vfs_init(l, diff, e);
    }
    return 0;
}

/* The init folder is shared, but tools look for one named after the container. */
static void link_init(struct layers *l, const struct container_layer *c, bool remove) {
    _cleanup_free_ char *path = str_printf("%s/%s-init", l->home, c->mount_id), *target = str_printf("%s-init", c->top ? c->top->cache_id : "empty");

    if (!path || !target || !l->overlay)
        return;
    if (remove)
        unlink(path);
    else
        ignore_result(symlink(target, path) < 0); /* for looking at only: the mount uses the short links */
}

int layers_container_record(struct layers *l, const char *container_id, struct err *e) {
    struct container_layer c;
    int r = container_find(l, container_id, &c, e);

    if (r < 0)
        return r;
    r = db_exec_soon(
        l->db, "INSERT INTO container_layer(container_id, mount_id, link, top, created) VALUES(?1,?2,?3,?4,?5)",
        DB_ARGS(DB_TEXT(container_id), DB_TEXT(c.mount_id), DB_TEXT(c.link), DB_TEXT(c.top ? c.top->chain_id : NULL), DB_INT(clock_wall_ns())), e);
    layer_unref(c.top);
    return r;
}

int layers_container_create(struct layers *l, const char *chain_top, const char *container_id, struct layers_rootfs *ret, struct err *e) {
    struct container_layer *c = calloc(1, sizeof *c);
    int r = 0;

    if (!c)
        return err_oom(e);
    id_new(c->mount_id);
    random_link(c->link);
    c->container_id = strdup(container_id);
    if (!c->container_id)
        r = err_oom(e);
    if (r == 0 && !str_empty(chain_top) && !(c->top = layers_get(l, chain_top)))
        r = err_set(e, ERR_NOT_FOUND, "layer does not exist");
    if (r == 0) {
        pthread_mutex_lock(&l->lock);
        if (map_has(&l->containers, container_id))
            r = err_set(e, ERR_CONFLICT, "container %s has a writable layer already", container_id);
        else
            r = map_set(&l->containers, container_id, c, NULL) < 0 ? err_oom(e) : 0;
        pthread_mutex_unlock(&l->lock);
    }
    if (r < 0) {
        layer_unref(c->top);
        container_layer_free(c);
        return r;
    }
    /* Folders first: one without a row is found at start by store_clean_leftovers(). So the row can be written together with the container's own. */
    r = make_folders(l, c, e);
    if (r == 0)
        r = describe(l, c, ret, e);
    if (r < 0) {
        ignore_result(layers_container_remove(l, container_id, NULL) < 0);
        return r;
    }
    return 0;
}

void layers_container_name(struct layers *l, const char *container_id) {
    struct container_layer c, *now;

    pthread_mutex_lock(&l->names_lock);
    if (container_find(l, container_id, &c, NULL) == 0) {
        if (!c.named) {
            c.container_id = (char *)container_id;
            link_init(l, &c, false);
            write_mount_id(l, &c, false);
            pthread_mutex_lock(&l->lock);
            now = map_get(&l->containers, container_id);
            if (now)
                now->named = true;
            pthread_mutex_unlock(&l->lock);
        }
        layer_unref(c.top);
    }
    pthread_mutex_unlock(&l->names_lock);
}

int container_find(struct layers *l, const char *container_id, struct container_layer *ret, struct err *e) {
    const struct container_layer *c;

    pthread_mutex_lock(&l->lock);
    c = map_get(&l->containers, container_id);
    if (c) {
        *ret = *c;
        ret->container_id = NULL;
        if (ret->top)
            ret->top->refs++;
    }
    pthread_mutex_unlock(&l->lock);
    return c ? 0 : err_set(e, ERR_NOT_FOUND, "container %s has no writable layer", container_id);
}

int layers_container_get(struct layers *l, const char *container_id, struct layers_rootfs *ret, struct err *e) {
    struct container_layer c;
    int r = container_find(l, container_id, &c, e);

    if (r < 0)
        return r;
    r = describe(l, &c, ret, e);
    layer_unref(c.top);
    return r;
}

int layers_container_remove(struct layers *l, const char *container_id, struct err *e) {
    struct container_layer *c;
    int r;

    pthread_mutex_lock(&l->lock);
    c = map_remove(&l->containers, container_id);
    pthread_mutex_unlock(&l->lock);
    if (!c)
        return 0;
    store_discard(l, c->mount_id);
    pthread_mutex_lock(&l->names_lock);
    link_init(l, c, true);
    write_mount_id(l, c, true);
    pthread_mutex_unlock(&l->names_lock);
    r = db_exec_soon(l->db, "DELETE FROM container_layer WHERE container_id=?1", DB_ARGS(DB_TEXT(container_id)), e);
    layer_unref(c->top);
    container_layer_free(c);
    return r;
}

int layers_container_list(struct layers *l, struct strv *ret, struct err *e) {
    int r = 0;

    pthread_mutex_lock(&l->lock);
    for (struct map_entry *i = NULL; r == 0 && (i = map_next(&l->containers, i));)
        if (strv_add(ret, i->key) < 0)
            r = err_oom(e);
    pthread_mutex_unlock(&l->lock);
    return r;
}
