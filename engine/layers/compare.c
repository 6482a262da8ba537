// SPDX-License-Identifier: Apache-2.0
/* Sections: what the archive says; what the folder holds; both. */
#include "layers/compare.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/str.h"
#include "base/strv.h"
#include "base/thread.h"
#include "layers/extract.h"
#include "layers/framing.h"
#include "layers/tar.h"

struct want {
    enum tar_type type;
    uint32_t mode;
    dev_t dev;
    char *link;
    bool whiteout, seen;
};

struct compare {
    int dirfd;
    struct map wants; /* path → struct want */
    struct map above; /* folders that entries lie in, whether they are entries or not */
    layer_odd_fn *odd;
    void *arg;
};

/* ---- what the archive says --------------------------------------------------------------------------------------------------------- */

static void want_free(void *p) {
    struct want *w = p;

    free(w->link);
    free(w);
}

/* Where a folder of the archive really is: a part of its path may be a link. "" is the root; NULL: it is not there. Fresh memory. */
static char *real_folder(const struct compare *c, const char *path) {
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
    char root[LIMIT_ARCHIVE_PATH + 256], real[LIMIT_ARCHIVE_PATH + 256], proc[64];
    _cleanup_close_ int fd = (int)syscall(SYS_openat2, c->dirfd, *path ? path : ".", &how, sizeof how);
    ssize_t n, m;

    if (fd < 0)
        return NULL;
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", c->dirfd);
    n = readlink(proc, root, sizeof root - 1);
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    m = readlink(proc, real, sizeof real - 1);
    if (n <= 0 || m < n || (size_t)m >= sizeof real - 1 || memcmp(root, real, (size_t)n) != 0)
        return NULL;
    real[m] = 0;
    return strdup(real[n] == '/' ? real + n + 1 : "");
}

/* It is there because something lies in it, and so are those above it. */
static int note_folder(struct compare *c, const char *path, struct err *e) {
    _cleanup_free_ char *at = strdup(path);
    char *slash;

    if (!at)
        return err_oom(e);
    while (*at && !map_has(&c->above, at)) {
        if (map_set(&c->above, at, c, NULL) < 0)
            return err_oom(e);
        slash = strrchr(at, '/');
        *(slash ? slash : at) = 0;
    }
    return 0;
}

/* Takes over w. */
static int note_want(struct compare *c, const char *folder, const char *base, struct want *w, struct err *e) {
    _cleanup_free_ char *path = str_printf("%s%s%s", folder, *folder ? "/" : "", base);
    void *old = NULL;

    if (!path || map_set(&c->wants, path, w, &old) < 0) {
        want_free(w);
        return err_oom(e);
    }
    if (old)
        want_free(old);
    return note_folder(c, folder, e);
}

static int note_entry(struct compare *c, const struct tar_entry *t, struct err *e) {
    _cleanup_free_ char *path = malloc(strlen(t->name) + 1), *folder = NULL;
    struct want *w;
    const char *base;
    char *slash;

    if (t->type == TAR_GLOBAL || t->type == TAR_OTHER)
        return 0;
    if (!path)
        return err_oom(e);
    extract_clean_path(t->name, path);
    slash = strrchr(path, '/');
    base = slash ? slash + 1 : path;
    if (slash)
        *slash = 0;
    folder = real_folder(c, slash ? path : "");
    if (!*base || !folder) {
        if (!folder)
            c->odd(c->arg, path, "is gone");
        return 0;
    }
    w = calloc(1, sizeof *w);
    if (!w || (t->type == TAR_SYMLINK && !(w->link = strdup(t->link)))) {
        free(w);
        return err_oom(e);
    }
    w->type = t->type;
    w->mode = t->mode & 07777;
    w->dev = makedev((unsigned)t->dev_major, (unsigned)t->dev_minor);
    if (str_has_prefix(base, ".wh.")) {
        w->whiteout = true;
        /* Opaque, or left over from aufs: of them there is only the folder they lie in. */
        if (str_has_prefix(base, ".wh..wh.")) {
            want_free(w);
            return note_folder(c, folder, e);
        }
        base += strlen(".wh.");
    }
    return note_want(c, folder, base, w, e);
}

/* ---- what the folder holds ----------------------------------------------------------------------------------------------------------- */

static const char *kind_differs(const struct want *w, const struct stat *st) {
    static const mode_t kinds[] = {
        [TAR_FILE] = S_IFREG, [TAR_DIR] = S_IFDIR, [TAR_SYMLINK] = S_IFLNK, [TAR_CHAR] = S_IFCHR, [TAR_BLOCK] = S_IFBLK, [TAR_FIFO] = S_IFIFO};

    if (w->whiteout)
        return S_ISCHR(st->st_mode) && st->st_rdev == 0 ? NULL : "is no whiteout any more";
    if (w->type == TAR_HARDLINK)
        return NULL;
    if ((st->st_mode & S_IFMT) != kinds[w->type])
        return "is of another kind";
    if ((w->type == TAR_CHAR || w->type == TAR_BLOCK) && st->st_rdev != w->dev)
        return "is another device";
    /* Each name of a file with several may say a mode of its own; the last one has it. */
    if (w->type == TAR_SYMLINK || (w->type == TAR_FILE && st->st_nlink > 1))
        return NULL;
    return (st->st_mode & 07777) != w->mode ? "has another mode" : NULL;
}

static void compare_one(struct compare *c, int dirfd, const char *name, const char *path, const struct stat *st) {
    struct want *w = map_get(&c->wants, path);
    char target[LIMIT_ARCHIVE_LINK + 1];
    const char *what = NULL;
    ssize_t n;

    if (!w) {
        if (!S_ISDIR(st->st_mode) || !map_has(&c->above, path))
            c->odd(c->arg, path, "is not of the layer");
        return;
    }
    w->seen = true;
    what = kind_differs(w, st);
    if (!what && w->type == TAR_SYMLINK && !w->whiteout) {
        n = readlinkat(dirfd, name, target, sizeof target);
        if (n < 0 || (size_t)n != strlen(w->link) || memcmp(target, w->link, (size_t)n) != 0)
            what = "leads elsewhere";
    }
    if (what)
        c->odd(c->arg, path, what);
}

/* Folders that are still to be read: a stack of paths, so that no depth is too deep. */
static int walk(struct compare *c, struct err *e) {
    _cleanup_strv_ struct strv todo = STRV_INIT;
    int r = strv_add(&todo, "") < 0 ? err_oom(e) : 0;

    while (r == 0 && todo.n) {
        _cleanup_free_ char *folder = strdup(todo.v[todo.n - 1]);
        struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
        int fd = folder ? (int)syscall(SYS_openat2, c->dirfd, *folder ? folder : ".", &how, sizeof how) : -1;
        _cleanup_closedir_ DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *d;

        if (!dir) {
            close_fd(fd);
            return folder ? err_errno(e, errno, "open /%s of a layer", folder) : err_oom(e);
        }
        strv_remove_at(&todo, todo.n - 1);
        while (r == 0 && (d = readdir(dir))) {
            _cleanup_free_ char *path = str_printf("%s%s%s", folder, *folder ? "/" : "", d->d_name);
            struct stat st;

            if (streq(d->d_name, ".") || streq(d->d_name, ".."))
                continue;
            if (!path)
                r = err_oom(e);
            else if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                r = err_errno(e, errno, "stat /%s of a layer", path);
            if (r < 0)
                break;
            compare_one(c, fd, d->d_name, path, &st);
            if (S_ISDIR(st.st_mode) && strv_add(&todo, path) < 0)
                r = err_oom(e);
        }
    }
    return r;
}

/* ---- both --------------------------------------------------------------------------------------------------------------------------------- */

/* The archive made again is pushed, the reader pulls: a pipe and a thread between them. */
struct replay {
    int record, dirfd, to;
};

static int into_pipe(void *arg, const void *p, size_t n, struct err *e) {
    int r = full_write(((struct replay *)arg)->to, p, n);

    return r < 0 ? err_errno(e, r, "reading a layer") : 0;
}

static void *replay_all(void *arg) {
    struct replay *r = arg;

    ignore_result(framing_replay(r->record, r->dirfd, into_pipe, r, NULL, NULL) < 0);
    close_fd(r->to);
    return NULL;
}

struct source {
    int fd;
    unsigned char block[KIB(64)];
};

static int64_t fill(void *arg, const unsigned char **ret, struct err *e) {
    struct source *s = arg;
    ssize_t n;

    do
        n = read(s->fd, s->block, sizeof s->block);
    while (n < 0 && errno == EINTR);
    *ret = s->block;
    return n < 0 ? err_errno(e, errno, "reading a layer") : n;
}

static int drop(void *arg, const void *p, size_t n, struct err *e) {
    return 0;
}

static int read_archive(struct compare *c, int from, struct err *e) {
    struct source *s = calloc(1, sizeof *s);
    struct tar_reader *r = s ? tar_reader_new(fill, s, drop, NULL) : NULL;
    const struct tar_entry *t;
    int k = r ? 0 : err_oom(e);

    if (s)
        s->fd = from;
    while (k == 0 && (k = tar_reader_next(r, &t, e)) > 0)
        k = note_entry(c, t, e);
    if (r)
        tar_reader_free(r);
    free(s);
    return k;
}

int layer_compare(int record, int dirfd, layer_odd_fn *odd, void *arg, struct err *e) {
    struct compare c = {.dirfd = dirfd, .odd = odd, .arg = arg};
    struct replay replay = {record, dirfd, -EBADF};
    pthread_t thread;
    int ends[2], r;

    if (lseek(record, 0, SEEK_SET) < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(e, errno, "reading a layer");
    replay.to = ends[1];
    r = thread_start(&thread, KIB(512), replay_all, &replay);
    if (r < 0) {
        close_fd(ends[0]);
        close_fd(ends[1]);
        return err_errno(e, -r, "starting a thread");
    }
    r = read_archive(&c, ends[0], e);
    close_fd(ends[0]); /* what is left of it breaks off */
    pthread_join(thread, NULL);
    if (r == 0)
        r = walk(&c, e);
    for (struct map_entry *i = NULL; r == 0 && (i = map_next(&c.wants, i));)
        if (!((struct want *)i->value)->seen)
            odd(arg, i->key, "is gone");
    map_done_with(&c.wants, want_free);
    map_done(&c.above);
    return r;
}
