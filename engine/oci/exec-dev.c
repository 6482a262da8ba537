// SPDX-License-Identifier: Apache-2.0
/* What a container finds in /dev, and what is hidden from it or read-only. */
#include "oci/exec-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"

/* Split into the parent (opened, created when missing) and the last name. */
static int open_parent(struct child *c, const char *path, const char **ret_name) {
    char dir[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;

    if (n >= sizeof dir)
        return -ENAMETOOLONG;
    memcpy(dir, path, n);
    dir[n] = 0;
    *ret_name = slash ? slash + 1 : path;
    return root_open_or_create(c, dir, true);
}

/* In user namespaces nodes cannot be made: the machine's own of that name takes its place, if it is the device that is meant. */
static void bind_device(struct child *c, const struct plan_op *op, int parent, const char *name) {
    const char *path = plan_s(c->p, op, 0);
    _cleanup_close_ int tree = c->k->open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), at = -EBADF;
    struct stat st;
    char where[4096];
    int r = tree;

    if (r >= 0 && (fstat(tree, &st) < 0 || (st.st_mode & S_IFMT) != (op->i[0] & S_IFMT) ||
                   (!S_ISFIFO(st.st_mode) && st.st_rdev != makedev((unsigned)op->i[1], (unsigned)op->i[2]))))
        r = -ENODEV;
    if (r >= 0)
        r = at = c->k->openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (r >= 0)
        r = mount_attach(c, tree, at);
    if (r >= 0 || r == -EEXIST)
        return;
    merged_path(c, path, where, sizeof where);
    child_fail_errno(c, r, "error during container init: error creating device nodes: mount %s:%s (via /proc/self/fd/9), flags: 0x1000", path, where);
}

void child_device(struct child *c, const struct plan_op *op) {
    const char *path = plan_s(c->p, op, 0), *name;
    _cleanup_close_ int parent = open_parent(c, path, &name);
    mode_t mode = (mode_t)op->i[0];
    int r;

    if (parent < 0)
        child_fail_errno(c, parent, "error during container init: creating device nodes: %s", path);
    if (c->in_user) {
        bind_device(c, op, parent, name);
        return;
    }
    r = c->k->mknodat(parent, name, mode, makedev((unsigned)op->i[1], (unsigned)op->i[2]));
    if (r == -EEXIST)
        return;
    if (r == 0)
        ignore_result(fchownat(parent, name, (uid_t)op->i[3], (gid_t)op->i[4], AT_SYMLINK_NOFOLLOW));
    if (r < 0)
        child_fail_errno(c, r, "error during container init: creating device nodes: mknod %s", path);
}

void child_symlink(struct child *c, const struct plan_op *op) {
    const char *path = plan_s(c->p, op, 1), *name;
    _cleanup_close_ int parent = open_parent(c, path, &name);
    int r;

    if (parent < 0)
        child_fail_errno(c, parent, "error during container init: setting up /dev symlinks: %s", path);
    r = c->k->symlinkat(plan_s(c->p, op, 0), parent, name);
    if (r < 0 && r != -EEXIST)
        child_fail_errno(c, r, "error during container init: setting up /dev symlinks: symlink %s %s", plan_s(c->p, op, 0), path);
}

void child_mask(struct child *c, const char *path) {
    _cleanup_close_ int at = root_open(c, path, 0), tree = -EBADF;
    struct stat st;
    int r;

    if (at == -ENOENT || at == -ENOTDIR)
        return;
    if (at < 0 || fstat(at, &st) < 0)
        child_fail_errno(c, at < 0 ? at : errno, "error during container init: can't mask path \"%s\"", path);
    if (S_ISDIR(st.st_mode))
        tree = mount_new(c, "tmpfs", "tmpfs", "ro", MOUNT_ATTR_RDONLY);
    else
        tree = c->k->open_tree(c->null, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    r = tree < 0 ? tree : mount_attach(c, tree, at);
    if (r < 0)
        child_fail_errno(c, r, "error during container init: can't mask path \"%s\"", path);
}

void child_readonly(struct child *c, const char *path) {
    _cleanup_close_ int at = root_open(c, path, 0), tree = -EBADF;
    int r;

    if (at == -ENOENT || at == -ENOTDIR)
        return;
    tree = at < 0 ? at : c->k->open_tree(at, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    r = tree < 0 ? tree : mount_attrs(c, tree, MOUNT_ATTR_RDONLY, 0, 0, true);
    if (r >= 0)
        r = mount_attach(c, tree, at);
    if (r < 0)
        child_fail_errno(c, r, "error during container init: can't make \"%s\" read-only", path);
}

void child_bind_console(struct child *c) {
    _cleanup_close_ int at = root_open_or_create(c, "/dev/console", false), tree = -EBADF;
    int r;

    tree = at < 0 ? at : c->k->open_tree(c->pty_slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    r = tree < 0 ? tree : mount_attach(c, tree, at);
    if (r < 0)
        child_fail_errno(c, r, "error during container init: mounting /dev/console");
}
