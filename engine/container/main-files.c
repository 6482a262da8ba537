// SPDX-License-Identifier: Apache-2.0
/* hatake-files: reads and writes the files of one container from inside a cage. files-wire.h is the manual. */
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "base/strv.h"
#include "container/files-input.h"
#include "container/files-wire.h"
#include "container/files.h"
#include "kern/overlay.h"
#include "layers/cage.h"
#include "layers/inflate.h"

#define BINDS_MAX 1024
#define DRAIN_MAX (256 << 10) /* of an archive that was refused */
#define DRAIN_NS (5 * NSEC_PER_SEC)
#define NAMESPACE_FD 4
#define LINKS_MAX 255

struct bind {
    const char *source, *at, *options, *under;
};

/* The archive. */
struct input {
    struct files_input from;
    struct inflate *plain;
    int64_t length, had; /* content; length negative: told by its end alone */
    int64_t until;       /* files_input_next() */
};

struct request {
    struct buf text;
    const char *mode, *path, *place, *upper, *work, *whole, *below, *owner, *ids_text;
    const struct idmap *ids; /* or NULL */
    struct strv lowers;
    struct bind binds[BINDS_MAX];
    size_t n_binds;
    bool running, keep_kind, read_only, exact;
    struct input in;
};

/* ---- results ----------------------------------------------------------------------------------------------------------------------------- */
static int send_frame(enum files_frame type, const void *p, size_t n, struct err *e) {
    struct files_head head = {type, (uint32_t)n};
    int r = full_write(1, &head, sizeof head);

    if (r == 0)
        r = full_write(1, p, n);
    return r < 0 ? err_errno(e, r, "sending a result") : 0;
}

static void add_text(struct buf *b, const char *s) {
    buf_add(b, s, strlen(s) + 1);
}

static void add_number(struct buf *b, int64_t v) {
    buf_addi(b, v);
    buf_addc(b, 0);
}

static void send_error(const struct err *fault) {
    _cleanup_buf_ struct buf b = BUF_INIT(KIB(64));

    add_number(&b, fault->kind);
    add_number(&b, fault->errnum);
    add_text(&b, err_msg(fault));
    if (buf_ok(&b))
        ignore_result(send_frame(FILES_ERROR, b.data, b.len, NULL) < 0);
}

/* ---- the request ------------------------------------------------------------------------------------------------------------------------- */
static int take_pair(struct request *q, const char *key, const char *value) {
    const struct {
        const char *key;
        const char **slot;
    } texts[] = {{"mode", &q->mode},   {"path", &q->path},   {"place", &q->place}, {"upper", &q->upper}, {"work", &q->work},
                 {"whole", &q->whole}, {"below", &q->below}, {"owner", &q->owner}, {"ids", &q->ids_text}};

    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        if (streq(key, texts[i].key))
            *texts[i].slot = value;
    if (streq(key, "lower"))
        return strv_add(&q->lowers, value);
    if (streq(key, "running"))
        q->running = true;
    if (streq(key, "keep-kind"))
        q->keep_kind = true;
    if (streq(key, "read-only"))
        q->read_only = true;
    if (streq(key, "exact"))
        q->exact = true;
    if (streq(key, "bind") && q->n_binds < BINDS_MAX)
        q->binds[q->n_binds++] = (struct bind){value, "", "", NULL};
    if (streq(key, "at") && q->n_binds > 0)
        q->binds[q->n_binds - 1].at = value;
    if (streq(key, "options") && q->n_binds > 0)
        q->binds[q->n_binds - 1].options = value;
    if (streq(key, "under") && q->n_binds > 0)
        q->binds[q->n_binds - 1].under = value;
    return 0;
}

static int read_request(struct request *q, struct err *e) {
    static struct idmap ids;
    struct files_request head;
    const char *p, *end;

    for (;;) {
        void *room = buf_reserve(&q->text, KIB(16));
        ssize_t n = room ? read(3, room, KIB(16)) : -1;

        if (n < 0)
            return room ? err_errno(e, errno, "no request at descriptor 3") : err_oom(e);
        if (n == 0)
            break;
        buf_commit(&q->text, (size_t)n);
    }
    if (q->text.len < sizeof head)
        return err_set(e, ERR_INTERNAL, "bad request");
    memcpy(&head, q->text.data, sizeof head);
    if (q->text.len != sizeof head + head.texts + head.early)
        return err_set(e, ERR_INTERNAL, "bad request");
    p = q->text.data + sizeof head;
    end = p + head.texts;
    q->in.from = (struct files_input){.framed = head.framed, .frame = head.frame, .raw = (const unsigned char *)end, .n_raw = head.early};
    q->in.length = head.frame.chunked ? -1 : (int64_t)head.frame.left;
    while (p < end) {
        const char *key = p, *value = memchr(p, 0, (size_t)(end - p));
        const char *stop = value && value + 1 < end ? memchr(value + 1, 0, (size_t)(end - value - 1)) : NULL;

        if (!stop)
            return err_set(e, ERR_INTERNAL, "bad request");
        if (take_pair(q, key, value + 1) < 0)
            return err_oom(e);
        p = stop + 1;
    }
    if (q->ids_text && idmap_parse(&ids, q->ids_text) < 0)
        return err_set(e, ERR_INTERNAL, "bad request");
    q->ids = q->ids_text ? &ids : NULL;
    return q->mode && q->path && q->place ? 0 : err_set(e, ERR_INTERNAL, "bad request");
}

/* ---- the root ---------------------------------------------------------------------------------------------------------------------------- */
static int open_tree_at(int dir, const char *path, unsigned flags) {
    return (int)syscall(SYS_open_tree, dir, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags);
}

/* The root mount of a running container without what is mounted on it: a second overlay over the same folders is not allowed. */
static int root_of_running(struct err *e) {
    _cleanup_close_ int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    int tree;

    if (own < 0 || setns(NAMESPACE_FD, CLONE_NEWNS) < 0)
        return err_errno(e, errno, "entering the container's mounts");
    tree = open_tree_at(AT_FDCWD, "/", 0);
    if (tree < 0)
        return err_errno(e, errno, "open_tree");
    if (setns(own, CLONE_NEWNS) < 0)
        return err_errno(e, errno, "returning from the container's mounts");
    return tree;
}

/* A layer of scratch, perhaps, on top of the container's. */
struct layer_list {
    const struct request *q;
    const char *first; /* or NULL */
    size_t at;
};

static const char *next_layer(void *arg, const char *last) {
    struct layer_list *l = arg;

    if (!last) {
        l->at = 0;
        if (l->first)
            return l->first;
    }
    return l->at < l->q->lowers.n ? l->q->lowers.v[l->at++] : NULL;
}

static int mount_overlay(const struct request *q, const char *first, const char *upper, const char *work, struct err *e) {
    struct layer_list l = {.q = q, .first = first};
    struct overlay o = {.next = next_layer, .arg = &l, .upper = upper, .work = work};
    int tree = overlay_detached(&kern_linux, &o, 0), r = 0;

    if (tree == -ENOSYS) {
        /* The mount is only of this process's namespace; taken from its place it is what the other way gives. */
        r = overlay_at(&kern_linux, &o, q->place, 0);
        tree = r < 0 ? r : open_tree_at(AT_FDCWD, q->place, 0);
        if (r >= 0 && tree < 0)
            return err_errno(e, errno, "open_tree");
        if (r >= 0)
            ignore_result(umount2(q->place, MNT_DETACH) < 0);
    }
    return tree < 0 ? err_errno(e, -tree, "mounting the container's layers") : tree;
}

static int attach(int tree, const char *where, struct err *e) {
    return syscall(SYS_move_mount, tree, "", AT_FDCWD, where, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? err_errno(e, errno, "mounting at %s", where) : 0;
}

static int open_in(int root, const char *path, int flags) {
    struct open_how how = {.flags = (uint64_t)flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};

    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

/* All places to mount on are there. */
static bool has_points(const struct request *q, int root) {
    for (size_t i = 0; i < q->n_binds; i++) {
        _cleanup_close_ int fd = open_in(root, q->binds[i].at, O_PATH);

        if (fd < 0)
            return false;
    }
    return true;
}

/* A scratch layer on top, for mount points that are not there yet. The root keeps its looks. */
static int root_with_scratch(const struct request *q, struct err *e) {
    _cleanup_free_ char *upper = str_printf("%s/u", q->place), *work = str_printf("%s/w", q->place);
    struct stat st;

    if (!upper || !work)
        return err_oom(e);
    if (stat(q->upper, &st) < 0 || mount("tmpfs", q->place, "tmpfs", 0, "mode=0755,size=64m") < 0 || mkdir(upper, st.st_mode & 07777) < 0 ||
        mkdir(work, 0700) < 0 || chown(upper, st.st_uid, st.st_gid) < 0)
        return err_errno(e, errno, "mounting at %s", q->place);
    return mount_overlay(q, q->upper, upper, work, e);
}

/* For reading, the writable layer is one more lower layer, so that nothing is changed and the container may start meanwhile. */
static int root_of_stopped(const struct request *q, struct err *e) {
    int tree;

    if (streq(q->mode, "put") || streq(q->mode, "folder"))
        return mount_overlay(q, NULL, q->upper, q->work, e);
    tree = mount_overlay(q, q->upper, NULL, NULL, NULL);
    if (tree >= 0 && has_points(q, tree))
        return tree;
    close_fd(tree);
    return root_with_scratch(q, e);
}

/* The mount point, made when it is not there (the container was never started). */
static int mount_point(int root, const char *at, bool dir) {
    _cleanup_free_ char *copy = strdup(at);
    int fd = open_in(root, at, O_PATH);

    if (fd >= 0 || !copy)
        return fd;
    for (char *s = copy + strspn(copy, "/"); *s;) {
        char *slash = strchr(s, '/');
        _cleanup_close_ int up = -EBADF;

        s[-1] = 0;
        up = open_in(root, *copy ? copy : "/", O_PATH | O_DIRECTORY);
        s[-1] = '/';
        if (slash)
            *slash = 0;
        if (up >= 0 && (slash || dir))
            ignore_result(mkdirat(up, s, 0755) < 0);
        else if (up >= 0)
            close_fd(openat(up, s, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0755));
        if (!slash)
            break;
        *slash = '/';
        s = slash + 1;
    }
    return open_in(root, at, O_PATH);
}

static int add_bind(int root, const struct bind *b, struct err *e) {
    struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY};
    bool deep = strchr(b->options, 'r') != NULL, writable = strchr(b->options, 'w') != NULL;
    _cleanup_close_ int source = open(b->source, O_PATH | O_CLOEXEC), inner = -EBADF, tree = -EBADF, point = -EBADF;
    struct stat st;

    if (source < 0 && errno == ENOENT)
        return 0;
    if (b->under)
        inner = open_in(source, b->under, O_PATH);
    if (source >= 0 && (inner >= 0 || !b->under))
        tree = open_tree_at(b->under ? inner : source, "", AT_EMPTY_PATH | (deep ? AT_RECURSIVE : 0));
    if (tree < 0 || fstat(tree, &st) < 0)
        return err_errno(e, errno, "open_tree %s", b->source);
    if (!writable && syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &ro, sizeof ro) < 0)
        return err_errno(e, errno, "mount_setattr %s", b->source);
    point = mount_point(root, b->at, S_ISDIR(st.st_mode));
    if (point < 0)
        return 0; /* the root cannot have it */
    if (syscall(SYS_move_mount, tree, "", point, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0 && errno != ENOTDIR)
        return err_errno(e, errno, "mounting at %s", b->at);
    return 0;
}

/* The folder to make a layer of at /new; what it is compared with at /old. */
static int root_of_layer(const struct request *q, struct err *e) {
    _cleanup_free_ char *new = str_printf("%s/new", q->place), *old = str_printf("%s/old", q->place);
    _cleanup_close_ int changed = open_tree_at(AT_FDCWD, q->whole, 0), below = q->below ? open_tree_at(AT_FDCWD, q->below, 0) : -EBADF;
    int r;

    if (!new || !old)
        return err_oom(e);
    if (changed < 0 || (q->below && below < 0))
        return err_errno(e, errno, "open_tree %s", changed < 0 ? q->whole : q->below);
    if (mount("tmpfs", q->place, "tmpfs", 0, "mode=0755,size=1m") < 0 || mkdir(new, 0755) < 0 || mkdir(old, 0755) < 0)
        return err_errno(e, errno, "mounting at %s", q->place);
    r = attach(changed, new, e);
    if (r >= 0 && q->below)
        r = attach(below, old, e);
    if (r < 0)
        return r;
    r = open_tree_at(AT_FDCWD, q->place, AT_RECURSIVE);
    return r < 0 ? err_errno(e, errno, "open_tree %s", q->place) : r;
}

static int become_root(const struct request *q, struct err *e) {
    struct mount_attr quiet = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
    _cleanup_close_ int tree = -EBADF, root = -EBADF;
    int r = 0;

    if (q->running) {
        tree = root_of_running(e);
        if (tree < 0)
            return tree;
    }
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_errno(e, errno, "a mount namespace");
    if (streq(q->mode, "layer") && q->whole)
        tree = root_of_layer(q, e);
    else if (!q->running)
        tree = q->whole ? open_tree_at(AT_FDCWD, q->whole, 0) : root_of_stopped(q, e);
    if (tree < 0)
        return q->whole && !streq(q->mode, "layer") ? err_errno(e, errno, "open_tree %s", q->whole) : tree;
    r = attach(tree, q->place, e);
    if (r < 0)
        return r;
    root = open(q->place, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; r >= 0 && root >= 0 && i < q->n_binds; i++)
        r = add_bind(root, &q->binds[i], e);
    if (r < 0)
        return r;
    if (root < 0 || fchdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return err_errno(e, errno, "pivot_root");
    if (syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &quiet, sizeof quiet) < 0)
        return err_errno(e, errno, "mount_setattr");
    return 0;
}

/* ---- modes ------------------------------------------------------------------------------------------------------------------------------- */
uint32_t files_api_mode(mode_t m) {
    static const struct {
        mode_t kind;
        uint32_t bits;
    } kinds[] = {{S_IFDIR, 1U << 31}, {S_IFLNK, 1U << 27}, {S_IFBLK, 1U << 26}, {S_IFCHR, 1U << 26 | 1U << 21},
                 {S_IFIFO, 1U << 25}, {S_IFSOCK, 1U << 24}};
    uint32_t bits = m & 0777;

    for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
        if ((m & S_IFMT) == kinds[i].kind)
            bits |= kinds[i].bits;
    return bits | (m & S_ISUID ? 1U << 23 : 0) | (m & S_ISGID ? 1U << 22 : 0) | (m & S_ISVTX ? 1U << 20 : 0);
}

/* Where a link leads in the end, as far as there is something. Fresh memory. */
static char *follow(const char *path) {
    _cleanup_strv_ struct strv done = STRV_INIT;
    _cleanup_free_ char *left = strdup(path);
    int links = 0;

    while (left && *left) {
        char *rest = left + strspn(left, "/"), target[LIMIT_ARCHIVE_LINK + 1];
        size_t n = strcspn(rest, "/");
        _cleanup_free_ char *name = strndup(rest, n), *up = NULL, *here = NULL, *next = NULL;
        ssize_t k;

        up = done.n ? strv_join(&done, "/") : strdup("");
        here = up && name ? str_printf("/%s%s%s", up, *up ? "/" : "", name) : NULL;
        if (!here)
            return NULL;
        k = *name && !streq(name, ".") && !streq(name, "..") ? readlinkat(AT_FDCWD, here, target, sizeof target - 1) : -1;
        if (k > 0 && ++links <= LINKS_MAX) {
            target[k] = 0;
            next = str_printf("%s/%s", target, rest + n);
            if (target[0] == '/')
                strv_done(&done);
        } else {
            next = strdup(rest + n);
            if (streq(name, "..") && done.n > 0)
                strv_remove_at(&done, done.n - 1);
            else if (*name && !streq(name, ".") && !streq(name, "..") && strv_add(&done, name) < 0)
                return NULL;
        }
        free(left);
        left = TAKE_PTR(next);
    }
    if (!left)
        return NULL;
    free(left);
    left = done.n ? strv_join(&done, "/") : strdup("");
    return left ? str_printf("/%s", left) : NULL;
}

/* Last part of a path, as clients see it: "/" of "/", "." of "x/.". Fresh memory. */
static char *last_part(const char *path) {
    size_t n = strlen(path), start;

    while (n > 1 && path[n - 1] == '/')
        n--;
    for (start = n; start > 0 && path[start - 1] != '/'; start--)
        ;
    return n == 1 && path[0] == '/' ? strdup("/") : strndup(path + start, n - start);
}

/* Go names the call and the path. */
static int path_error(const char *call, const char *path, int errnum, struct err *e) {
    return errnum == ENOENT ? err_set(e, ERR_NOT_FOUND, "%s %s: no such file or directory", call, path) : err_errno(e, errnum, "%s %s", call, path);
}

/* `asked`: the path as the client wrote it, whose last part the name is. */
static int send_stat(const char *path, const char *asked, struct stat *st, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(KIB(64));
    _cleanup_free_ char *name = last_part(asked), *target = NULL;
    struct stat end;

    if (fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW) < 0)
        return path_error("lstat", path, errno, e);
    target = S_ISLNK(st->st_mode) ? follow(path) : strdup("");
    if (!name || !target)
        return err_oom(e);
    if (*target && fstatat(AT_FDCWD, target, &end, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(end.st_mode))
        return err_set(e, ERR_INTERNAL, "evalSymlinksInScope: too many links in %s", path);
    add_text(&b, name);
    add_number(&b, st->st_size);
    add_number(&b, files_api_mode(st->st_mode));
    add_number(&b, st->st_mtim.tv_sec);
    add_number(&b, st->st_mtim.tv_nsec);
    add_text(&b, target);
    return buf_check(&b, e) < 0 ? -(int)ERR_INTERNAL : send_frame(FILES_STAT, b.data, b.len, e);
}

struct pieces {
    size_t n;
    char data[FILES_PIECE];
};

static int flush_pieces(struct pieces *p, struct err *e) {
    int r = p->n ? send_frame(FILES_DATA, p->data, p->n, e) : 0;

    p->n = 0;
    return r;
}

static int gather(void *arg, const void *data, size_t n, struct err *e) {
    struct pieces *p = arg;
    const char *from = data;

    while (n > 0) {
        size_t k = MIN(n, sizeof p->data - p->n);
        int r = 0;

        memcpy(p->data + p->n, from, k);
        p->n += k;
        from += k;
        n -= k;
        if (p->n == sizeof p->data)
            r = flush_pieces(p, e);
        if (r < 0)
            return r;
    }
    return 0;
}

/*
 * One frame of a file's bytes, from the kernel's cache into the pipe without a copy. Its length is said before, so what the file lost meanwhile is filled up
 * with zeros, and a failure is told after it.
 */
static int64_t pass(void *arg, int fd, int64_t n, struct err *e) {
    struct pieces *p = arg;
    struct files_head head = {FILES_DATA, (uint32_t)MIN(n, (int64_t)FILES_PIECE)};
    int r = flush_pieces(p, e), failed = 0;

    if (r < 0)
        return r;
    r = full_write(1, &head, sizeof head);
    for (size_t left = head.length; r >= 0 && left > 0;) {
        ssize_t k = failed ? 0 : sendfile(1, fd, NULL, left);

        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            if (k < 0)
                failed = errno;
            k = (ssize_t)left;
            memset(p->data, 0, left);
            r = full_write(1, p->data, left);
        }
        left -= (size_t)k;
    }
    if (r >= 0 && failed)
        return err_errno(e, failed, "reading a file");
    return r < 0 ? err_errno(e, r, "sending a result") : (int64_t)head.length;
}

static int send_archive(const char *base, const char *as, bool exact, const struct idmap *ids, struct err *e) {
    _cleanup_free_ struct pieces *p = calloc(1, sizeof *p);
    const struct files_sink sink = {gather, pass, p};
    int r = p ? files_pack(base, as, exact, ids, &sink, e) : err_oom(e);

    return r < 0 ? r : flush_pieces(p, e);
}

static int send_layer(const struct request *q, struct err *e) {
    _cleanup_free_ struct pieces *p = calloc(1, sizeof *p);
    _cleanup_close_ int below = q->below ? open("/old", O_PATH | O_DIRECTORY | O_CLOEXEC) : -EBADF;
    const struct files_sink sink = {gather, pass, p};
    int r = p ? 0 : err_oom(e);

    if (r >= 0 && (chdir("/new") < 0 || (q->below && below < 0)))
        r = err_errno(e, errno, "entering the changed files");
    if (r >= 0)
        r = files_pack_layer(below, q->ids, &sink, e);
    return r < 0 ? r : flush_pieces(p, e);
}

static int enter(const char *path) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -1 : fchdir(fd);
}

static int get(const char *path, const char *asked, bool exact, struct err *e) {
    bool up = str_has_suffix(asked, "..") || str_has_suffix(asked, "../");
    _cleanup_free_ char *name = last_part(up ? path : asked), *dir = NULL;
    struct stat st;
    int r = name ? send_stat(path, asked, &st, e) : err_oom(e);

    if (r < 0)
        return r;
    dir = S_ISDIR(st.st_mode) ? strdup(path) : strndup(path, strlen(path) - strlen(name));
    if (!dir)
        return err_oom(e);
    if (enter(dir) < 0)
        return path_error("open", dir, errno, e);
    return send_archive(S_ISDIR(st.st_mode) ? "." : name, name, exact, NULL, e); /* whoever copies is on the machine */
}

static int64_t fill(void *arg, const unsigned char **ret_p, struct err *e) {
    struct input *in = arg;
    int64_t k = files_input_next(&in->from, in->until, ret_p, e);

    in->had += MAX(k, (int64_t)0);
    return k;
}

/* Leave the connection at the end of the body, when there is little left of it, and say whether it is there. */
static int end_body(struct input *in, struct err *e) {
    const unsigned char *p;
    int64_t from = in->had, k = 1;
    char whole;

    in->until = clock_mono_ns() + DRAIN_NS;
    while (k > 0 && in->had - from < DRAIN_MAX && clock_mono_ns() < in->until && in->length - in->had <= DRAIN_MAX)
        k = fill(in, &p, NULL);
    whole = files_input_whole(&in->from);
    return send_frame(FILES_BODY, &whole, 1, e);
}

static int64_t fill_plain(void *arg, const unsigned char **ret_p, struct err *e) {
    return inflate_read(((struct input *)arg)->plain, ret_p, e);
}

static int drop_raw(void *arg, const void *p, size_t n, struct err *e) {
    return 0;
}

/* Is the folder in a mount, and may that be written? */
static int check_writable(const struct request *q, const char *where, struct err *e) {
    const struct bind *best = NULL;

    for (size_t i = 0; i < q->n_binds; i++) {
        size_t n = strlen(q->binds[i].at);

        if (strncmp(where, q->binds[i].at, n) == 0 && (where[n] == 0 || where[n] == '/') && (!best || n >= strlen(best->at)))
            best = &q->binds[i];
    }
    if (best && !strchr(best->options, 'w'))
        return err_set(e, ERR_INTERNAL, "mounted volume is marked read-only");
    return !best && q->read_only ? err_set(e, ERR_INTERNAL, "container rootfs is marked read-only") : 0;
}

static int put(struct request *q, const char *path, const char *where, struct err *e) {
    /* What is exact is of this machine, as it is when it is read. */
    struct files_unpack how = {
        .keep_kind = q->keep_kind, .chown = q->owner != NULL, .exact = q->exact, .ids = q->exact ? NULL : q->ids, .ends_soon = q->running};
    struct input *in = &q->in;
    struct tar_reader *reader = NULL;
    _cleanup_free_ char *gid = q->owner && strchr(q->owner, ':') ? strdup(strchr(q->owner, ':') + 1) : NULL;
    _cleanup_free_ char *uid = q->owner ? strndup(q->owner, strcspn(q->owner, ":")) : NULL;
    struct stat st;
    int r;

    if (q->owner && (!uid || !gid || parse_i64(uid, &how.uid) < 0 || parse_i64(gid, &how.gid) < 0))
        return err_set(e, ERR_INTERNAL, "bad request");
    if (fstatat(AT_FDCWD, path, &st, 0) < 0)
        return path_error("lstat", path, errno, e);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, ERR_INTERNAL, "extraction point is not a directory");
    r = check_writable(q, where, e);
    if (r < 0)
        return r;
    how.dest = where;
    if (enter(path) < 0)
        return path_error("open", path, errno, e);
    in->plain = inflate_new(fill, in);
    reader = in->plain ? tar_reader_new(fill_plain, in, drop_raw, NULL) : NULL;
    r = reader ? files_unpack(reader, &how, e) : err_oom(e);
    if (r >= 0)
        r = tar_reader_drain(reader, e);
    /* Clients get what is wrong with an archive as a failure of the engine. */
    if (r == -(int)ERR_INVALID && e) {
        e->kind = ERR_INTERNAL;
        r = -(int)ERR_INTERNAL;
    }
    tar_reader_free(reader);
    inflate_free(in->plain);
    return r;
}

static int start_input(void *arg, struct err *e) {
    return files_input_start(arg, e);
}

static int run(struct request *q, struct err *e) {
    static const int more[] = {SYS_readlinkat, SYS_readlink, SYS_lgetxattr, SYS_llistxattr, SYS_lremovexattr, SYS_lseek, SYS_chdir, SYS_sendfile};
    _cleanup_free_ char *path = NULL, *where = NULL;
    int r = read_request(q, e);

    umask(0);
    if (r >= 0 && q->in.from.framed && fcntl(0, F_SETFL, 0) < 0) /* the engine's connections do not wait */
        r = err_errno(e, errno, "the archive's connection");
    if (r >= 0)
        r = become_root(q, e);
    if (r < 0)
        return r;
    path = files_absolute(q->path);
    where = path ? follow(path) : NULL;
    if (!where)
        return err_oom(e);
    r = cage_confine(more, ELEMENTSOF(more), streq(q->mode, "put") ? start_input : NULL, &q->in.from, e);
    if (r < 0)
        return r;
    if (streq(q->mode, "stat")) {
        struct stat st;

        return send_stat(path, q->path, &st, e);
    }
    if (streq(q->mode, "layer"))
        return send_layer(q, e);
    if (streq(q->mode, "folder")) {
        _cleanup_free_ char *all = str_printf("%s/", where + 1);

        return all ? files_make_parents(q->ids, all, e) : err_oom(e);
    }
    if (streq(q->mode, "get"))
        return get(path, q->path, q->exact, e);
    if (!streq(q->mode, "put"))
        return send_archive(".", "", false, q->ids, e);
    r = put(q, path, where, e);
    if (q->in.from.framed && end_body(&q->in, r < 0 ? NULL : e) < 0)
        r = -(int)ERR_INTERNAL;
    return r;
}

int main(int argc, char **argv) {
    static struct request q;
    _cleanup_err_ struct err e = ERR_INIT;

    signal(SIGPIPE, SIG_IGN);
    if (argc != 2 || !streq(argv[1], "--request=3")) {
        fprintf(stderr, "hatake-files: started by hataked, not by hand\n");
        return 2;
    }
    q.text = BUF_INIT(sizeof(struct files_request) + FILES_REQUEST_MAX + LIMIT_HTTP_HEAD_BYTES);
    if (run(&q, &e) < 0) {
        send_error(&e);
        return 1;
    }
    return send_frame(FILES_DONE, "", 0, &e) < 0;
}
