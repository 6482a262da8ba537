// SPDX-License-Identifier: Apache-2.0
/* The root file system of a container: overlay or folder, and the change into it. */
#include "oci/exec-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "kern/overlay.h"

/* The kernel refuses an upper folder that was in a volatile mount before, as a crash may have lost part of it. Whoever asks for volatile has decided. */
static void forget_volatile(const struct plan *p, const struct plan_op *op) {
    char path[4096];

    if (snprintf(path, sizeof path, "%s/work/incompat/volatile", plan_s(p, op, 2)) < (int)sizeof path && unlinkat(AT_FDCWD, path, AT_REMOVEDIR) < 0 &&
        errno == ENOTEMPTY) {
        int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

        ignore_result(unlinkat(dir, "dirty", 0));
        close_fd(dir);
        ignore_result(unlinkat(AT_FDCWD, path, AT_REMOVEDIR));
    }
}

struct plan_layers {
    const struct plan *p;
    const struct plan_op *op;
};

static const char *next_layer(void *arg, const char *last) {
    const struct plan_layers *l = arg;

    return plan_list_next(l->p, l->op, 0, last);
}

static struct overlay overlay_of(struct plan_layers *l) {
    return (struct overlay){.next = next_layer,
                            .arg = l,
                            .upper = plan_s(l->p, l->op, 1),
                            .work = plan_s(l->p, l->op, 2),
                            .is_volatile = l->op->i[0] & PLAN_OVERLAY_VOLATILE};
}

static int overlay_mount(const struct kern *k, const struct plan *p, const struct plan_op *op) {
    struct plan_layers l = {p, op};
    struct overlay o = overlay_of(&l);

    forget_volatile(p, op);
    return overlay_detached(k, &o, 0);
}

/* Kernels that mount overlays only at a place. The target is our own layer folder, not a path of the image. */
static int overlay_mount_old(const struct kern *k, const struct plan *p, const struct plan_op *op) {
    struct plan_layers l = {p, op};
    struct overlay o = overlay_of(&l);
    int r = overlay_at(k, &o, o.upper, 0);

    return r < 0 ? r : k->openat(AT_FDCWD, o.upper, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}

int root_detached(const struct kern *k, const struct plan *p) {
    const struct plan_op *overlay = plan_find(p, PLAN_ROOT_OVERLAY), *bind = plan_find(p, PLAN_ROOT_BIND);

    if (overlay)
        return overlay_mount(k, p, overlay);
    return k->open_tree(AT_FDCWD, bind ? plan_s(p, bind, 0) : "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
}

int root_tree(const struct kern *k, const struct plan *p, bool own_mounts) {
    const struct plan_op *overlay = plan_find(p, PLAN_ROOT_OVERLAY);
    int tree = root_detached(k, p);

    if (overlay && tree == -ENOSYS) {
        int r = own_mounts ? 0 : k->unshare(CLONE_NEWNS);

        if (r >= 0 && !own_mounts)
            r = k->mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL);
        if (r >= 0)
            r = overlay_mount_old(k, p, overlay);
        if (r < 0)
            return r;
        close_fd(r);
        tree = k->open_tree(AT_FDCWD, plan_s(p, overlay, 1), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    }
    return tree;
}

/* In a user namespace the place of the root may be out of reach; "/" never is, and what is mounted on it does not hide it from us. */
static void child_root_of_user(struct child *c) {
    _cleanup_close_ int at = c->k->openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    int r = at < 0 ? at : mount_attach(c, c->root, at);

    if (r < 0)
        child_fail_errno(c, r, "error during container init: error preparing rootfs: mounting it");
}

void child_root(struct child *c) {
    const struct plan_op *overlay = plan_find(c->p, PLAN_ROOT_OVERLAY), *bind = plan_find(c->p, PLAN_ROOT_BIND);
    const char *where = overlay ? plan_s(c->p, overlay, 1) : bind ? plan_s(c->p, bind, 0) : "";
    _cleanup_close_ int at = -EBADF;
    int r;

    if (c->in_user) {
        child_root_of_user(c);
        return;
    }
    at = c->k->openat(AT_FDCWD, where, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (at < 0)
        child_fail_errno(c, at, "error during container init: error preparing rootfs: open %s", where);
    if (overlay && c->root == -ENOSYS) {
        c->root = overlay_mount_old(c->k, c->p, overlay);
        if (c->root >= 0)
            return;
    }
    if (c->root < 0)
        child_fail_errno(c, c->root, "error during container init: error preparing rootfs: %s%s", overlay ? "mounting overlay at " : "", where);
    r = mount_attach(c, c->root, at);
    if (r < 0)
        child_fail_errno(c, r, "error during container init: error preparing rootfs: mounting it at %s", where);
}

/* Hooks that need both: the container's mounts in place and the machine's root still visible. */
void child_hooks(struct child *c) {
    struct oci_fault f = {0};
    char type = SYNC_HOOKS;

    if (has_hooks(c->p, PLAN_HOOK_PRESTART) || has_hooks(c->p, PLAN_HOOK_CREATE_RUNTIME)) {
        c->links_ready = wait_for(c, SYNC_LINKS) == 0;
        ignore_result(send(c->sync, &type, 1, MSG_NOSIGNAL));
        if (!c->links_ready || wait_for(c, SYNC_HOOKED) < 0)
            _exit(1);
    }
    if (run_hooks(c->k, c->p, PLAN_HOOK_CREATE_CONTAINER, getpid(), "creating", &f) < 0)
        child_fail(c, f.errnum, "%s", f.text);
}

void child_pivot(struct child *c) {
    const struct plan_op *prop = plan_find(c->p, PLAN_ROOT_PROPAGATION);
    _cleanup_close_ int old = c->k->openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    int r = old < 0 ? old : c->k->fchdir(c->root);

    if (r >= 0)
        r = c->k->pivot_root(".", ".");
    if (r < 0)
        child_fail_errno(c, r, "error during container init: pivot_root");
    /* Nothing we undo in the old root may reach the machine. By its descriptor: "." is the new root, whose shared binds must stay so. */
    r = c->k->fchdir(old);
    if (r >= 0)
        r = c->k->mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL);
    if (r >= 0)
        r = c->k->umount2(".", MNT_DETACH);
    if (r >= 0)
        r = c->k->chdir("/");
    if (r >= 0 && prop)
        r = c->k->mount(NULL, "/", NULL, (unsigned long)prop->i[0], NULL);
    if (r < 0)
        child_fail_errno(c, r, "error during container init: leaving the old root");
}

int oci_root_mount(const struct kern *k, const struct plan *p, const char *target, struct oci_fault *f) {
    _cleanup_close_ int tree = -EBADF, at = k->openat(AT_FDCWD, target, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    int r = at;

    if (r >= 0)
        r = tree = root_tree(k, p, true);
    if (r >= 0)
        r = k->move_mount(tree, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
    return r < 0 ? fault_set(f, r, "error preparing rootfs: mounting it at %s", target) : 0;
}
