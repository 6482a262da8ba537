// SPDX-License-Identifier: Apache-2.0
/* What the two drivers do differently: where a layer's files are, and how a finished one gets there. */
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "layers/layers-internal.h"

char *driver_path(const struct layers *l, const char *id, const char *part) {
    return part ? str_printf("%s/%s/%s", l->home, id, part) : str_printf("%s/%s", l->home, id);
}

const char *layers_fs_name(long type) {
    static const struct {
        long type;
        const char *name;
    } names[] = {{0xef53, "extfs"},    {0x58465342, "xfs"},   {0x9123683e, "btrfs"}, {0x01021994, "tmpfs"}, {0x794c7630, "overlayfs"},
                 {0x2fc12fc1, "zfs"},  {0x6969, "nfs"},       {0xf2f52010, "f2fs"},  {0x61756673, "aufs"},  {0x858458f6, "ramfs"},
                 {0x65735546, "fuse"}, {0xe0f5e1e2, "erofs"}, {0x7461636f, "ocfs2"}};

    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (names[i].type == type)
            return names[i].name;
    return "<unknown>";
}

/* Whether whiteouts, opaque folders and overlays as a lower work here: tried, not guessed. Errors are the reason it does not. */
static int overlay_works(const char *home, struct err *e) {
    _cleanup_free_ char *probe = str_printf("%s/tmp-probe", home);
    _cleanup_free_ char *node = probe ? str_printf("%s/node", probe) : NULL;
    struct statfs fs;
    int r = 0;

    if (!probe || !node)
        return err_oom(e);
    if (statfs(home, &fs) < 0)
        return err_errno(e, errno, "statfs %s", home);
    if (fs.f_type == 0x794c7630)
        return err_set(e, ERR_INTERNAL, "overlayfs cannot stand on overlayfs");
    fs_remove_tree(probe, NULL);
    if (mkdir(probe, 0700) < 0)
        return err_errno(e, errno, "mkdir %s", probe);
    if (mknod(node, S_IFCHR, 0) < 0)
        r = err_errno(e, errno, "whiteouts cannot be made");
    else if (setxattr(probe, "trusted.overlay.opaque", "y", 1, 0) < 0)
        r = err_errno(e, errno, "trusted attributes cannot be set");
    fs_remove_tree(probe, NULL);
    return r;
}

/*
 * Tell the file system that folders in home have nothing to do with each other: ext4 then spreads them over the disk. Layers being unpacked at the same
 * time do not get in each other's way, and new files are not looked for among the places of those just deleted, which ext4 passes over one by one for some
 * minutes. Where this is unknown it fails, and all is as before.
 */
static void spread_folders(const char *home) {
    _cleanup_close_ int fd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int flags = 0;

    if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || (flags & FS_TOPDIR_FL))
        return;
    flags |= FS_TOPDIR_FL;
    ignore_result(ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0);
}

static int make_home(struct layers *l, const char *driver, struct err *e) {
    int r;

    free(l->home);
    l->home = str_printf("%s/%s", l->data_root, driver);
    if (!l->home)
        return err_oom(e);
    r = fs_mkdir_p(l->home, 0710, e);
    if (r == 0)
        r = idmap_give_group(l->ids, l->home, e);
    if (r == 0)
        spread_folders(l->home);
    if (r == 0 && streq(driver, "overlay2")) {
        _cleanup_free_ char *links = str_printf("%s/l", l->home);

        r = links ? fs_mkdir_p(links, 0700, e) : err_oom(e);
    }
    return r;
}

int driver_probe(struct layers *l, const char *wanted, struct err *e) {
    _cleanup_err_ struct err why = ERR_INIT;
    struct statfs fs;
    int r;

    if (wanted && *wanted && !streq(wanted, "overlay2") && !streq(wanted, "vfs"))
        return err_set(e, ERR_INVALID, "driver not supported: %s", wanted);
    r = fs_mkdir_p(l->data_root, 0710, e);
    if (r < 0)
        return r;
    if (statfs(l->data_root, &fs) < 0)
        return err_errno(e, errno, "statfs %s", l->data_root);
    l->backing = strdup(layers_fs_name((long)fs.f_type));
    if (!l->backing)
        return err_oom(e);
    if (!wanted || !streq(wanted, "vfs")) {
        r = make_home(l, "overlay2", e);
        if (r < 0)
            return r;
        r = overlay_works(l->home, &why);
        l->overlay = r == 0;
        if (r == 0)
            return 0;
        if (wanted && *wanted)
            return err_move(e, &why);
        log_kv(LOG_LVL_WARN, "overlay2 does not work here, falling back to vfs", "reason", err_msg(&why), NULL);
    }
    return make_home(l, "vfs", e);
}

const char *layers_driver_name(const struct layers *l) {
    return l->overlay ? "overlay2" : "vfs";
}

int layers_driver_status(const struct layers *l, struct strv *ret, struct err *e) {
    const char *pairs[] = {"Backing Filesystem",  l->backing, "Supports d_type", "true", "Using metacopy", "false",
                           "Native Overlay Diff", "true",     "userxattr",       "false"};

    if (!l->overlay)
        return 0;
    for (size_t i = 0; i < ELEMENTSOF(pairs); i++)
        if (strv_add(ret, pairs[i]) < 0)
            return err_oom(e);
    return 0;
}

static int write_text(const char *dir, const char *name, const char *text, struct err *e) {
    _cleanup_free_ char *path = str_printf("%s/%s", dir, name);

    return path ? fs_replace_file_volatile(path, text, strlen(text), 0644, e) : err_oom(e);
}

/* "l/TOP:l/NEXT:..." as tools that read the driver's folders expect it. */
static char *lower_text(const struct layer *parent) {
    _cleanup_buf_ struct buf b = BUF_INIT(64 * 1024);

    for (const struct layer *p = parent; p; p = p->parent)
        buf_addf(&b, "%sl/%s", b.len ? ":" : "", p->link);
    return buf_take(&b);
}

static int overlay_install(struct layers *l, struct layer *layer, const char *staged, struct err *e) {
    _cleanup_free_ char *place = driver_path(l, layer->cache_id, NULL), *link = str_printf("%s/l/%s", l->home, layer->link);
    _cleanup_free_ char *target = str_printf("../%s/diff", layer->cache_id), *lower = layer->parent ? lower_text(layer->parent) : NULL;
    int r;

    if (!place || !link || !target || (layer->parent && !lower))
        return err_oom(e);
    r = write_text(staged, "link", layer->link, e);
    if (r == 0 && lower)
        r = write_text(staged, "lower", lower, e);
    if (r == 0)
        r = write_text(staged, "committed", "", e);
    if (r < 0)
        return r;
    if (lower) {
        _cleanup_free_ char *work = str_printf("%s/work", staged);

        if (!work || (mkdir(work, 0700) < 0 && errno != EEXIST))
            return err_errno(e, errno, "mkdir %s/work", staged);
    }
    if (symlink(target, link) < 0)
        return err_errno(e, errno, "symlink %s", link);
    r = idmap_give_group(l->ids, staged, e);
    if (r < 0)
        return r;
    if (chmod(staged, 0710) < 0 || rename(staged, place) < 0)
        return err_errno(e, errno, "rename %s", place);
    return 0;
}

static int vfs_install(struct layers *l, struct layer *layer, const char *staged, struct err *e) {
    _cleanup_free_ char *place = driver_path(l, layer->cache_id, NULL), *diff = str_printf("%s/diff", staged),
                        *whole = str_printf("%s/whole", staged);
    _cleanup_free_ char *below = layer->parent ? driver_path(l, layer->parent->cache_id, "diff") : NULL;
    int r;

    if (!place || !diff || !whole || (layer->parent && !below))
        return err_oom(e);
    r = vfs_merge(below, diff, whole, e);
    if (r == 0)
        r = idmap_give(l->ids, whole, e);
    if (r == 0)
        r = fs_remove_tree(diff, e);
    if (r < 0)
        return r;
    if (rename(whole, diff) < 0 || rename(staged, place) < 0)
        return err_errno(e, errno, "rename %s", place);
    return 0;
}

int driver_install(struct layers *l, struct layer *layer, const char *staged, struct err *e) {
    return l->overlay ? overlay_install(l, layer, staged, e) : vfs_install(l, layer, staged, e);
}

/* The init folder over the layer, made by this life or an earlier one. */
static void remove_init(struct layers *l, const struct layer *layer) {
    _cleanup_free_ char *init = str_printf("%s-init", layer->cache_id), *file = init ? driver_path(l, init, "link") : NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(LINK_LEN + 1);
    _cleanup_free_ char *link = NULL;

    if (!file || fs_read_file(file, &b, NULL) < 0)
        return;
    if (b.len == LINK_LEN && !memchr(b.data, '/', b.len))
        link = str_printf("%s/l/%s", l->home, buf_str(&b));
    if (link)
        unlink(link);
    store_discard(l, init);
}

void driver_remove_layer(struct layers *l, const struct layer *layer) {
    if (l->overlay) {
        _cleanup_free_ char *link = str_printf("%s/l/%s", l->home, layer->link);

        if (link)
            unlink(link);
        remove_init(l, layer);
    }
    store_discard(l, layer->cache_id);
}

void layer_dirs_done(struct layer_dirs *d) {
    free(d->lower);
    free(d->merged);
    free(d->upper);
    free(d->work);
    *d = (struct layer_dirs){0};
}

int layer_dirs(const struct layer *layer, struct layer_dirs *ret, struct err *e) {
    const struct layers *l = layer->owner;
    _cleanup_buf_ struct buf b = BUF_INIT(64 * 1024);

    for (const struct layer *p = layer->parent; p; p = p->parent)
        buf_addf(&b, "%s%s/%s/diff", b.len ? ":" : "", l->home, p->cache_id);
    ret->lower = layer->parent ? buf_take(&b) : NULL;
    ret->merged = driver_path(l, layer->cache_id, "merged");
    ret->upper = driver_path(l, layer->cache_id, "diff");
    ret->work = driver_path(l, layer->cache_id, "work");
    if (!ret->merged || !ret->upper || !ret->work || (layer->parent && !ret->lower)) {
        layer_dirs_done(ret);
        return err_oom(e);
    }
    return 0;
}
