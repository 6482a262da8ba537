// SPDX-License-Identifier: Apache-2.0
/* What a container wrote: its size and its changes. Reads folders that the container may be changing meanwhile; follows no link. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "layers/layers-internal.h"

struct walk {
    const struct layer *top;
    struct map inodes; /* of files with several links, to count them once */
    int64_t bytes;
    layers_change_fn fn;
    void *arg;
    struct strv lines; /* path, then kind as one more character in front */
};

static bool is_opaque(int dir) {
    char v = 0;

    return fgetxattr(dir, "trusted.overlay.opaque", &v, 1) == 1 && v == 'y';
}

/*
 * Look for an absolute path in one layer. 0: it is there, its folder and last name are returned; -ENOENT: the layer does not have it; *ret_hidden: and hides
 * what is further below.
 */
static int look_in(const struct layer *p, const char *path, int *ret_dir, const char **ret_name, struct stat *ret, bool *ret_hidden) {
    _cleanup_free_ char *diff = driver_path(p->owner, p->cache_id, "diff");
    _cleanup_close_ int dir = diff ? open(diff, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;

    while (dir >= 0) {
        size_t n = strcspn(path + 1, "/");
        char name[NAME_MAX + 1];
        int sub;

        if (n > NAME_MAX)
            return -ENOENT;
        memcpy(name, path + 1, n);
        name[n] = 0;
        if (fstatat(dir, name, ret, AT_SYMLINK_NOFOLLOW) < 0) {
            *ret_hidden |= is_opaque(dir);
            return -ENOENT;
        }
        if (is_whiteout(ret) || (path[1 + n] && !S_ISDIR(ret->st_mode))) {
            *ret_hidden = true;
            return -ENOENT;
        }
        if (!path[1 + n]) {
            *ret_hidden |= is_opaque(dir);
            *ret_name = path + 1;
            *ret_dir = TAKE_FD(dir);
            return 0;
        }
        *ret_hidden |= is_opaque(dir);
        sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        close_fd(dir);
        dir = sub;
        path += 1 + n;
    }
    return -ENOENT;
}

static bool exists_below(const struct layer *top, const char *path, struct stat *ret) {
    bool hidden = false;

    for (const struct layer *p = top; p && !hidden; p = p->parent) {
        _cleanup_close_ int dir = -EBADF;
        const char *name;

        if (look_in(p, path, &dir, &name, ret, &hidden) == 0)
            return true;
        if (!p->owner->overlay)
            return false;
    }
    return false;
}

/* Names in one folder of one layer: those that were neither seen in a layer above nor are in the container's folder `now` are gone. */
static int note_names(struct walk *w, int dir, int now, const char *path, struct map *seen, struct err *e) {
    _cleanup_closedir_ DIR *list = fdopendir(dup(dir));
    struct dirent *d;
    struct stat st;

    if (!list)
        return err_errno(e, errno, "reading %s of a layer", path);
    while ((d = readdir(list))) {
        if (streq(d->d_name, ".") || streq(d->d_name, "..") || map_has(seen, d->d_name))
            continue;
        if (map_set(seen, d->d_name, w, NULL) < 0)
            return err_oom(e);
        if (fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || is_whiteout(&st) || fstatat(now, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            continue;
        if (strv_addf(&w->lines, "%s/%s%c2", path, d->d_name, 1) < 0)
            return err_oom(e);
    }
    return 0;
}

/* A folder that replaced another one: what that one had is gone. */
static int note_replaced(struct walk *w, int now, const char *path, struct err *e) {
    struct map seen = MAP_INIT;
    bool hidden = false;
    int r = 0;

    for (const struct layer *p = w->top; r == 0 && p && !hidden; p = p->parent) {
        _cleanup_close_ int dir = -EBADF, sub = -EBADF;
        const char *name;
        struct stat st;

        if (look_in(p, path, &dir, &name, &st, &hidden) < 0)
            continue;
        sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub < 0)
            break;
        hidden |= is_opaque(sub);
        r = note_names(w, sub, now, path, &seen, e);
    }
    map_done(&seen);
    return r;
}

static int note_change(struct walk *w, const char *path, const struct stat *st, struct err *e) {
    struct stat below;
    bool was = exists_below(w->top, path, &below);
    char kind;

    if (is_whiteout(st)) {
        if (!was)
            return 0;
        kind = '2';
    } else if (!was) {
        kind = '1';
    } else {
        bool same = S_ISDIR(st->st_mode) && S_ISDIR(below.st_mode) && st->st_mode == below.st_mode && st->st_uid == below.st_uid &&
                    st->st_gid == below.st_gid && st->st_mtim.tv_sec == below.st_mtim.tv_sec && st->st_mtim.tv_nsec == below.st_mtim.tv_nsec;

        if (same)
            return 0;
        kind = '0';
    }
    return strv_addf(&w->lines, "%s%c%c", path, 1, kind) < 0 ? err_oom(e) : 0;
}

static int count_file(struct walk *w, const struct stat *st, struct err *e) {
    if (st->st_nlink > 1) {
        char key[48];

        snprintf(key, sizeof key, "%llx", (unsigned long long)st->st_ino);
        if (map_has(&w->inodes, key))
            return 0;
        if (map_set(&w->inodes, key, w, NULL) < 0)
            return err_oom(e);
    }
    w->bytes += st->st_size;
    return 0;
}

static int walk_tree(struct walk *w, int parent, const char *name, const char *path, int depth, struct err *e) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *d;
    int r = 0;

    if (!dir || depth > 2048) {
        r = err_errno(e, dir ? ELOOP : errno, "reading %s of a container", path);
        if (!dir)
            close_fd(fd);
        return r;
    }
    if (w->fn && *path && is_opaque(fd))
        r = note_replaced(w, fd, path, e);
    while (r == 0 && (d = readdir(dir))) {
        _cleanup_free_ char *sub = NULL;
        struct stat st;

        if (streq(d->d_name, ".") || streq(d->d_name, "..") || fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        sub = str_printf("%s/%s", path, d->d_name);
        if (!sub)
            return err_oom(e);
        if (w->fn)
            r = note_change(w, sub, &st, e);
        if (r == 0 && !S_ISDIR(st.st_mode))
            r = count_file(w, &st, e);
        if (r == 0 && S_ISDIR(st.st_mode))
            r = walk_tree(w, fd, d->d_name, sub, depth + 1, e);
    }
    return r;
}

static int walk_container(struct layers *l, const char *container_id, struct walk *w, struct err *e) {
    struct container_layer c;
    _cleanup_free_ char *diff = NULL;
    int r = container_find(l, container_id, &c, e);

    if (r < 0)
        return r;
    diff = driver_path(l, c.mount_id, "diff");
    w->top = c.top;
    r = diff ? walk_tree(w, AT_FDCWD, diff, "", 0, e) : err_oom(e);
    if (r == 0 && w->fn) {
        strv_sort(&w->lines);
        for (size_t i = 0; r == 0 && i < w->lines.n; i++) {
            char *mark = strrchr(w->lines.v[i], 1);

            *mark = 0;
            r = w->fn(w->arg, w->lines.v[i], mark[1] - '0', e);
        }
    }
    layer_unref(c.top);
    map_done(&w->inodes);
    strv_done(&w->lines);
    return r;
}

int layers_container_size(struct layers *l, const char *container_id, int64_t *ret_rw, int64_t *ret_rootfs, struct err *e) {
    struct container_layer c;
    struct walk w = {0};
    int64_t below;
    int r = container_find(l, container_id, &c, e);

    if (r < 0)
        return r;
    below = c.top ? c.top->chain_size : 0;
    layer_unref(c.top);
    r = walk_container(l, container_id, &w, e);
    if (r < 0)
        return r;
    if (!l->overlay) /* the folder is a whole copy */
        w.bytes = MAX(w.bytes - below, (int64_t)0);
    *ret_rw = w.bytes;
    *ret_rootfs = w.bytes + below;
    return 0;
}

int layers_container_changes(struct layers *l, const char *container_id, layers_change_fn fn, void *arg, struct err *e) {
    struct walk w = {.fn = fn, .arg = arg};

    return walk_container(l, container_id, &w, e);
}
