// SPDX-License-Identifier: Apache-2.0
/* The child's file system: everything by descriptor, every path inside the root resolved by openat2 (R1, R2, R4). */
#include "oci/exec-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "kern/cgroup.h"

#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

/* ---- paths inside the root -------------------------------------------------------------------------------------------- */

int root_open(struct child *c, const char *path, int flags) {
    return kern_open_in(c->k, c->root, *path ? path : "/", O_PATH | flags, 0, IN_ROOT);
}

/* Make the last component of a path whose parent is open. */
int root_make_node(struct child *c, int parent, const char *name, bool dir) {
    int r = dir ? c->k->mkdirat(parent, name, 0755) : c->k->openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (r >= 0 && !dir)
        close_fd(r);
    return r == -EEXIST ? 0 : r < 0 ? r : 0;
}

/* How the reference names a place below the root: by the folder where its storage driver shows the container's files. */
void merged_path(const struct child *c, const char *path, char *ret, size_t max) {
    const struct plan_op *overlay = plan_find(c->p, PLAN_ROOT_OVERLAY), *bind = plan_find(c->p, PLAN_ROOT_BIND);
    const char *upper = overlay ? plan_s(c->p, overlay, 1) : bind ? plan_s(c->p, bind, 0) : "", *slash = overlay ? strrchr(upper, '/') : NULL;
    size_t n = slash ? (size_t)(slash - upper) : strlen(upper);

    if (snprintf(ret, max, "%.*s%s%s%s", (int)n, upper, slash ? "/merged" : "", *path == '/' ? "" : "/", path) >= (int)max)
        ret[max - 1] = 0; /* only a message: cut */
}

/*
 * Open a path inside the root, creating what is missing (folders, and a folder or a file at the end). Components that are links to places that do
 * not exist are replaced in the text by their contents and tried again.
 */
int root_open_or_create(struct child *c, const char *path, bool dir) {
    char work[4096], link[4096], next[4096];
    size_t n = strlen(path);
    int fd = root_open(c, path, 0);

    if (fd != -ENOENT)
        return fd;
    if (n >= sizeof work)
        return -ENAMETOOLONG;
    memcpy(work, path, n + 1);
    for (int links = 0; links < 40; links++) {
        size_t at = 0;
        bool again = false;

        for (;;) {
            _cleanup_close_ int parent = -EBADF;
            size_t start;
            char saved;
            bool last;
            ssize_t len;
            int r;

            while (work[at] == '/')
                at++;
            if (!work[at])
                return root_open(c, work, 0);
            start = at;
            while (work[at] && work[at] != '/')
                at++;
            saved = work[at];
            work[at] = 0;
            last = !saved || work[at + 1 + strspn(work + at + 1, "/")] == 0;
            fd = root_open(c, work, 0);
            if (fd >= 0) {
                close_fd(fd);
                work[at] = saved;
                continue;
            }
            if (fd != -ENOENT)
                return fd;
            /* The parent is there, this component is not: missing, or a link to nothing. */
            memcpy(next, work, start);
            next[start] = 0;
            parent = root_open(c, next, O_DIRECTORY);
            if (parent < 0)
                return parent;
            len = readlinkat(parent, work + start, link, sizeof link - 1);
            if (len < 0) {
                r = root_make_node(c, parent, work + start, dir || !last);
                if (r < 0)
                    return r;
                work[at] = saved;
                continue;
            }
            link[len] = 0;
            work[at] = saved;
            if (link[0] == '/')
                r = snprintf(next, sizeof next, "%s%s", link, work + at);
            else
                r = snprintf(next, sizeof next, "%.*s%s%s", (int)start, work, link, work + at);
            if (r >= (int)sizeof next)
                return -ENAMETOOLONG;
            memcpy(work, next, (size_t)r + 1);
            again = true;
            break;
        }
        if (!again)
            break;
    }
    return -ELOOP;
}

/* ---- mounts ----------------------------------------------------------------------------------------------------------- */

int mount_attach(struct child *c, int tree, int target) {
    return c->k->move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

int mount_attrs(struct child *c, int tree, uint64_t set, uint64_t clear, uint64_t propagation, bool recursive) {
    struct mount_attr a = {.attr_set = set, .attr_clr = clear, .propagation = propagation};

    return c->k->mount_setattr(tree, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &a, sizeof a);
}

/* A detached mount of a file system; `data` as for mount(2): key=value, flags, separated by commas. */
int mount_new(struct child *c, const char *fstype, const char *source, const char *data, unsigned attrs) {
    _cleanup_close_ int fs = c->k->fsopen(fstype, FSOPEN_CLOEXEC);
    char item[256];
    int r;

    if (fs < 0)
        return fs;
    if (source && *source)
        ignore_result(c->k->fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0));
    for (const char *p = data; *p;) {
        size_t n = strcspn(p, ",");
        char *eq;

        if (n >= sizeof item)
            return -EINVAL;
        memcpy(item, p, n);
        item[n] = 0;
        p += n + (p[n] == ',');
        if (!n)
            continue;
        eq = strchr(item, '=');
        if (eq)
            *eq = 0;
        r = eq ? c->k->fsconfig(fs, FSCONFIG_SET_STRING, item, eq + 1, 0) : c->k->fsconfig(fs, FSCONFIG_SET_FLAG, item, NULL, 0);
        if (r < 0)
            return r;
    }
    /* mount(2) makes the file system itself read-only as well, and mountinfo shows both; a tmpfs is mounted writable and made read-only then. */
    if (attrs & MOUNT_ATTR_RDONLY && streq(fstype, "sysfs"))
        ignore_result(c->k->fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0));
    r = c->k->fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (r < 0)
        return r;
    return c->k->fsmount(fs, FSMOUNT_CLOEXEC, attrs);
}

static void __attribute__((noreturn)) mount_failed(struct child *c, int r, const char *source, const char *target, unsigned long flags) {
    child_fail_errno(c, r, "error during container init: error mounting \"%s\" to rootfs at \"%s\": mount %s:%s (via /proc/self/fd/%d), flags: 0x%lx",
                     source, target, source, target, c->in_user ? 10 : 6, flags);
}

static void __attribute__((noreturn))
data_failed(struct child *c, int r, const char *source, const char *target, unsigned long flags, const char *data) {
    child_fail_errno(c, r,
                     "error during container init: error mounting \"%s\" to rootfs at \"%s\": mount %s:%s (via /proc/self/fd/%d), flags: 0x%lx%s%s",
                     source, target, source, target, c->in_user ? 10 : 6, flags, *data ? ", data: " : "", data);
}

/* The first part of the target that is there and no folder; false when all of its parents are folders (`whole`: and itself). */
static bool find_non_folder(struct child *c, const char *target, bool whole, char *ret, size_t max) {
    size_t n = strlen(target), at = 0;

    if (n >= max)
        return false;
    memcpy(ret, target, n + 1);
    for (;;) {
        struct stat st;
        bool last;
        int fd, r;

        at += strspn(ret + at, "/");
        if (!ret[at])
            return false;
        at += strcspn(ret + at, "/");
        last = target[at + strspn(target + at, "/")] == 0;
        if (last && !whole)
            return false;
        ret[at] = 0;
        fd = root_open(c, ret, 0);
        r = fd < 0 ? -1 : fstat(fd, &st);
        close_fd(fd);
        if (r < 0)
            return false;
        if (!S_ISDIR(st.st_mode))
            return true;
        memcpy(ret, target, n + 1);
    }
}

/* What a bind needs is not there and cannot be made. */
static void __attribute__((noreturn)) target_failed(struct child *c, int r, const char *source, const char *target, bool dir, unsigned long flags) {
    char part[4096], full[4096];

    if (r != -ENOTDIR || !find_non_folder(c, target, dir, part, sizeof part))
        mount_failed(c, r, source, target, flags);
    merged_path(c, part, full, sizeof full);
    child_fail_errno(
        c, r, "error during container init: error mounting \"%s\" to rootfs at \"%s\": create mount destination for %s mount: %scannot mkdir in %s",
        source, target, target, dir ? "" : "make parent dir of file bind-mount: ", full);
}

/* MOUNT_ATTR_* as MS_*, for the error text. */
static unsigned long as_ms(uint64_t attrs) {
    return (attrs & MOUNT_ATTR_RDONLY ? MS_RDONLY : 0) | (attrs & MOUNT_ATTR_NOSUID ? MS_NOSUID : 0) | (attrs & MOUNT_ATTR_NODEV ? MS_NODEV : 0) |
           (attrs & MOUNT_ATTR_NOEXEC ? MS_NOEXEC : 0);
}

/* Everything of a folder into a fresh tmpfs (tmpcopyup): a plain tree copy by descriptor, links not followed. */
static int copy_entry(struct child *c, int from, int to, const char *name, int depth);

static int copy_tree(struct child *c, int from, int to, int depth) {
    _cleanup_closedir_ DIR *d = NULL;
    int fd = kern_open_in(c->k, from, ".", O_RDONLY | O_DIRECTORY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), r = 0;

    if (fd < 0)
        return fd;
    d = fdopendir(fd);
    if (!d) {
        close_fd(fd);
        return -errno;
    }
    for (struct dirent *de; r >= 0 && (de = readdir(d));)
        if (!streq(de->d_name, ".") && !streq(de->d_name, ".."))
            r = copy_entry(c, from, to, de->d_name, depth);
    return r;
}

static int copy_entry(struct child *c, int from, int to, const char *name, int depth) {
    _cleanup_close_ int in = -EBADF, out = -EBADF;
    char block[4096];
    struct stat st;
    ssize_t n;

    if (depth > 64)
        return -ELOOP;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode)) {
        if (mkdirat(to, name, st.st_mode & 07777) < 0)
            return -errno;
        in = openat(from, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        out = openat(to, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (in < 0 || out < 0)
            return -errno;
        n = copy_tree(c, in, out, depth + 1);
        if (n < 0)
            return (int)n;
    } else if (S_ISLNK(st.st_mode)) {
        n = readlinkat(from, name, block, sizeof block - 1);
        if (n < 0)
            return -errno;
        block[n] = 0;
        if (symlinkat(block, to, name) < 0)
            return -errno;
    } else if (S_ISREG(st.st_mode)) {
        in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st.st_mode & 07777);
        if (in < 0 || out < 0)
            return -errno;
        while ((n = read(in, block, sizeof block)) > 0)
            if (write(out, block, (size_t)n) != n)
                return -EIO;
        if (n < 0)
            return -errno;
    } else if (mknodat(to, name, st.st_mode, st.st_rdev) < 0) {
        return -errno;
    }
    ignore_result(fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW));
    if (!S_ISLNK(st.st_mode))
        ignore_result(fchmodat(to, name, st.st_mode & 07777, 0));
    return 0;
}

static void do_mount(struct child *c, const struct plan_op *op) {
    const char *type = plan_s(c->p, op, 0), *source = plan_s(c->p, op, 1), *target = plan_s(c->p, op, 2), *data = plan_s(c->p, op, 3);
    _cleanup_close_ int at = -EBADF, tree = -EBADF;
    char with_mode[512];
    bool made = false;
    struct stat st;
    int r;

    /* Links where the engine mounts its own file systems are an attack (CVE-2023-27561): /proc and /sys must be real folders. */
    at = streq(type, "proc") || streq(type, "sysfs") ? kern_open_in(c->k, c->root, target + 1, O_PATH, 0, IN_ROOT | RESOLVE_NO_SYMLINKS)
                                                     : root_open(c, target, 0);
    if (at == -ELOOP && (streq(type, "proc") || streq(type, "sysfs")))
        child_fail(c, EINVAL, "error during container init: filesystem \"%s\" must be mounted on ordinary directory", target);
    if (at == -ENOENT) {
        made = true;
        at = root_open_or_create(c, target, true);
    }
    if (streq(type, "tmpfs"))
        child_check_proc(c, at, -EBADF, source, target);
    if (at < 0)
        mount_failed(c, at, source, target, as_ms((uint64_t)op->i[0]));
    if (fstat(at, &st) < 0)
        mount_failed(c, -errno, source, target, as_ms((uint64_t)op->i[0]));
    /* What the folder has is what the mount gets, unless its options say otherwise: the later of two values counts. */
    if (streq(type, "tmpfs") && !made &&
        snprintf(with_mode, sizeof with_mode, "mode=%04o%s%s", st.st_mode & 07777, *data ? "," : "", data) < (int)sizeof with_mode)
        data = with_mode;
    if (!S_ISDIR(st.st_mode))
        data_failed(c, ENOTDIR, source, target, as_ms((uint64_t)op->i[0]) & ~(unsigned long)(streq(type, "tmpfs") ? MS_RDONLY : 0), data);
    tree = mount_new(c, type, source, data, (unsigned)op->i[0] & ~(op->i[1] & PLAN_MOUNT_COPYUP ? MOUNT_ATTR_RDONLY : 0u));
    if (tree < 0 && op->i[1] & PLAN_MOUNT_OPTIONAL)
        return;
    if (tree < 0)
        data_failed(c, tree, source, target, as_ms((uint64_t)op->i[0]), data);
    if (op->i[1] & PLAN_MOUNT_COPYUP) {
        r = copy_tree(c, at, tree, 0);
        if (r < 0)
            child_fail_errno(c, r, "error during container init: error mounting \"%s\" to rootfs at \"%s\": tmpcopyup", source, target);
        if (op->i[0] & MOUNT_ATTR_RDONLY)
            ignore_result(mount_attrs(c, tree, MOUNT_ATTR_RDONLY, 0, 0, false));
    }
    if (op->i[2])
        ignore_result(mount_attrs(c, tree, 0, 0, (uint64_t)op->i[2] & ~(uint64_t)MS_REC, false));
    r = mount_attach(c, tree, at);
    if (r < 0)
        mount_failed(c, r, source, target, as_ms((uint64_t)op->i[0]));
    if (streq(type, "devpts") && c->devpts < 0)
        c->devpts = TAKE_FD(tree);
}

/* The source, where it must not lead out of a folder that others can write to: whatever its links say, when they say it. */
static int open_beneath(struct child *c, const char *beneath, const char *source, unsigned flags) {
    size_t n = strlen(beneath);
    _cleanup_close_ int base = open(beneath, O_PATH | O_DIRECTORY | O_CLOEXEC), at = -EBADF;

    if (base < 0)
        return -errno;
    if (strncmp(source, beneath, n) != 0 || source[n] != '/')
        return -EXDEV;
    at = kern_open_in(c->k, base, source + n + 1, O_PATH | O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
    return at < 0 ? at : c->k->open_tree(at, "", flags | AT_EMPTY_PATH);
}

/* First pass over binds, before anything of the namespace changes: sources are the caller's paths on the machine, with their propagation. */
static void open_bind_sources(struct child *c) {
    for (size_t i = 0; i < c->p->n_ops; i++) {
        const struct plan_op *op = &c->p->ops[i];
        const char *source = plan_s(c->p, op, 0);
        unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
        int fd;

        if (op->type != PLAN_BIND)
            continue;
        if (op->i[2] & PLAN_BIND_RECURSIVE)
            flags |= AT_RECURSIVE;
        fd = *plan_s(c->p, op, 2) ? open_beneath(c, plan_s(c->p, op, 2), source, flags) : c->k->open_tree(AT_FDCWD, source, flags);
        if (fd < 0 && !(fd == -ENOENT && op->i[2] & PLAN_BIND_OPTIONAL)) {
            if (fd == -ENOENT)
                child_fail_errno(c, fd, "error during container init: error mounting \"%s\" to rootfs at \"%s\": stat %s", source,
                                 plan_s(c->p, op, 1), source);
            mount_failed(c, fd, source, plan_s(c->p, op, 1), MS_BIND | (op->i[2] & PLAN_BIND_RECURSIVE ? MS_REC : 0));
        }
        /* The container's mounts are none of the machine's business, as they would not be after a clone into a user namespace. */
        if (fd >= 0 && c->in_user)
            ignore_result(mount_attrs(c, fd, 0, 0, MS_SLAVE, true));
        c->bind_trees[i] = fd;
    }
}

void child_open_trees(struct child *c) {
    size_t size = (c->p->n_ops + 1) * sizeof(int);
    const struct plan_op *overlay = plan_find(c->p, PLAN_ROOT_OVERLAY);
    int r;

    if (!plan_find(c->p, PLAN_PIVOT))
        child_fail(c, EINVAL, "error during container init: the plan has no root file system");
    c->bind_trees = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c->bind_trees == MAP_FAILED)
        child_fail_errno(c, errno, "error during container init");
    for (size_t i = 0; i < c->p->n_ops; i++)
        c->bind_trees[i] = -EBADF;
    /* The root is the first to be made: lists of mounts go by age, and who reads one inside expects the root in front. */
    c->root = root_detached(c->k, c->p);
    open_bind_sources(c);
    if (c->root < 0 && c->in_user)
        c->root = root_tree(c->k, c->p, false);
    r = c->root >= 0 && !overlay ? mount_attrs(c, c->root, 0, 0, MS_PRIVATE, true) : c->root;
    if (r < 0 && c->in_user) /* else child_root() has another way, and says what failed */
        child_fail_errno(c, r, "error during container init: error preparing rootfs: %s", overlay ? plan_s(c->p, overlay, 1) : "root.path");
}

/* What is mounted below the source goes its own way first: without that, mounts made there inside would come out on the machine. */
static int set_propagation(struct child *c, int tree, uint64_t flags) {
    int r = 0;

    if (!(flags & (MS_REC | MS_SHARED)))
        r = mount_attrs(c, tree, 0, 0, MS_SLAVE, true);
    return r < 0 || !flags ? r : mount_attrs(c, tree, 0, 0, flags & ~(uint64_t)MS_REC, flags & MS_REC);
}

static void do_bind(struct child *c, size_t i) {
    const struct plan_op *op = &c->p->ops[i];
    const char *source = plan_s(c->p, op, 0), *target = plan_s(c->p, op, 1);
    unsigned long ms = MS_BIND | (op->i[2] & PLAN_BIND_RECURSIVE ? MS_REC : 0);
    _cleanup_close_ int tree = TAKE_FD(c->bind_trees[i]), at = -EBADF;
    struct stat st, there;
    int r;

    if (tree < 0)
        return;
    if (fstat(tree, &st) < 0)
        mount_failed(c, errno, source, target, ms);
    at = root_open_or_create(c, target, S_ISDIR(st.st_mode));
    child_check_proc(c, at, tree, source, target);
    if (at >= 0 && fstat(at, &there) == 0 && S_ISDIR(there.st_mode) != S_ISDIR(st.st_mode)) {
        if (S_ISDIR(st.st_mode))
            target_failed(c, -ENOTDIR, source, target, true, ms);
        mount_failed(c, -ENOTDIR, source, target, ms); /* the new calls say EINVAL here */
    }
    if (at < 0)
        target_failed(c, at, source, target, S_ISDIR(st.st_mode), ms);
    if (op->i[0] || op->i[1]) {
        r = mount_attrs(c, tree, (uint64_t)op->i[0], (uint64_t)op->i[1], 0, op->i[2] & PLAN_BIND_ATTR_RECURSIVE);
        if (r < 0)
            mount_failed(c, r, source, target, ms | as_ms((uint64_t)op->i[0]));
    }
    r = set_propagation(c, tree, (uint64_t)op->i[3]);
    if (r < 0)
        mount_failed(c, r, source, target, ms);
    r = mount_attach(c, tree, at);
    if (r < 0)
        mount_failed(c, r, source, target, ms);
}

/* v1: a tmpfs with the container's own group of each hierarchy; v2: its own group as the root (new cgroup
 * namespace), else the machine's whole tree, by a bind: a new mount of it would reset the machine's options for all. */
static void do_cgroup_mount(struct child *c, const struct plan_op *op) {
    const char *target = plan_s(c->p, op, 0);
    unsigned attrs = (unsigned)op->i[0];
    _cleanup_close_ int at = root_open_or_create(c, target, true), tmp = -EBADF;
    const struct plan_op *group;
    int r;

    if (at < 0)
        mount_failed(c, at, "cgroup", target, as_ms(attrs));
    for (size_t i = 0; i < c->p->n_ops; i++) {
        _cleanup_close_ int tree = -EBADF;

        group = &c->p->ops[i];
        if (group->type != PLAN_CGROUP || plan_s(c->p, group, 1)[0] != '*')
            continue;
        tree = op->i[1] & 1 ? mount_new(c, "cgroup2", "cgroup", "", attrs) : -EPERM;
        if (tree < 0) {
            tree = c->k->open_tree(AT_FDCWD, plan_s(c->p, op->i[1] & 1 ? group : op, op->i[1] & 1 ? 0 : 1), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
            r = tree < 0 ? tree : mount_attrs(c, tree, attrs, 0, MS_PRIVATE, false);
        }
        r = tree < 0 ? tree : mount_attach(c, tree, at);
        if (r < 0)
            mount_failed(c, r, "cgroup", target, as_ms(attrs));
        return;
    }
    tmp = mount_new(c, "tmpfs", "tmpfs", "mode=755", attrs & ~(unsigned)MOUNT_ATTR_RDONLY);
    r = tmp < 0 ? tmp : mount_attach(c, tmp, at);
    for (size_t i = 0; r >= 0 && i < c->p->n_ops; i++) {
        _cleanup_close_ int tree = -EBADF, dir = -EBADF;
        char name[96];
        const char *controllers;

        group = &c->p->ops[i];
        controllers = plan_s(c->p, group, 1);
        if (group->type != PLAN_CGROUP || group->i[0] != 1)
            continue;
        snprintf(name, sizeof name, "%s", str_has_prefix(controllers, "name=") ? controllers + 5 : controllers);
        r = c->k->mkdirat(tmp, name, 0755);
        dir = r < 0 ? r : c->k->openat(tmp, name, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
        tree = dir < 0 ? dir : c->k->open_tree(AT_FDCWD, plan_s(c->p, group, 0), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        r = tree < 0 ? tree : mount_attrs(c, tree, attrs, 0, op->i[1] & 1 ? MS_PRIVATE : MS_SLAVE, false);
        if (r >= 0)
            r = mount_attach(c, tree, dir);
        for (const char *p = controllers, *comma; r >= 0 && strchr(controllers, ','); p = comma + 1) {
            char one[64];

            comma = strchrnul(p, ',');
            snprintf(one, sizeof one, "%.*s", (int)(comma - p), p);
            ignore_result(c->k->symlinkat(name, tmp, one));
            if (!*comma)
                break;
        }
    }
    /* The tmpfs itself stays writable, as clients know it: what is below is what read-only protects. */
    if (r < 0)
        mount_failed(c, r, "cgroup", target, as_ms(attrs));
}

void child_mounts(struct child *c) {
    const struct plan_op *console = plan_find(c->p, PLAN_CONSOLE), *prop = plan_find(c->p, PLAN_PROPAGATION), *cwd = plan_find(c->p, PLAN_CWD);
    int r;

    if (c->in_user)
        ignore_result(child_own_proc(c)); /* a setting that needs it says why it is not there */
    else
        child_open_trees(c);
    r = c->k->mount(NULL, "/", NULL, prop ? (unsigned long)prop->i[0] : MS_SLAVE | MS_REC, NULL);
    if (r < 0)
        child_fail_errno(c, r, "error during container init: error preparing rootfs: propagation of /");
    child_root(c);
    for (size_t i = 0; i < c->p->n_ops; i++) {
        const struct plan_op *op = &c->p->ops[i];

        switch (op->type) {
        case PLAN_MOUNT:
            do_mount(c, op);
            break;
        case PLAN_BIND:
            do_bind(c, i);
            break;
        case PLAN_CGROUP_MOUNT:
            do_cgroup_mount(c, op);
            break;
        case PLAN_DEVICE:
            child_device(c, op);
            break;
        case PLAN_SYMLINK:
            child_symlink(c, op);
            break;
        default:
            break;
        }
    }
    if (console) {
        child_console(c, console);
        child_bind_console(c);
    }
    for (size_t i = 0; i < c->p->n_ops; i++) {
        const struct plan_op *op = &c->p->ops[i];

        if (op->type == PLAN_MASK)
            child_mask(c, plan_s(c->p, op, 0));
        else if (op->type == PLAN_READONLY)
            child_readonly(c, plan_s(c->p, op, 0));
    }
    if (cwd) /* while the root can be written; what cannot be made is missed later */
        close_fd(root_open_or_create(c, plan_s(c->p, cwd, 0), true));
    if (plan_find(c->p, PLAN_ROOT_READONLY)) {
        r = mount_attrs(c, c->root, MOUNT_ATTR_RDONLY, 0, 0, false);
        if (r < 0)
            child_fail_errno(c, r, "error during container init: making the root file system read-only");
    }
    child_hooks(c);
    child_pivot(c);
}
