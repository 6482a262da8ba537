// SPDX-License-Identifier: Apache-2.0
#include "content/content.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"

#define WORTH_KEEPING KIB(64)
#define WRITEBACK MIB(4)
#define DISK_PART 10 /* all together at most this part of the disk */

struct content {
    char *folder;
    int dir;
    pthread_mutex_t lock;
    struct map open; /* names in use; under lock */
};

struct partial {
    struct content *owner;
    char name[ID_LEN + 1]; /* "" for a nameless one */
    int fd, read_fd;
    int64_t have, size;
    int64_t on_its_way; /* so many bytes the kernel was told to bring to the disk */
};

/* ---- the store ------------------------------------------------------------------------------------------------------------ */

int content_new(const char *data_root, struct content **ret, struct err *e) {
    struct content *c = calloc(1, sizeof *c);
    int r;

    if (!c)
        return err_oom(e);
    c->dir = -EBADF;
    pthread_mutex_init(&c->lock, NULL);
    c->folder = str_printf("%s/content/partial", data_root);
    r = c->folder ? fs_mkdir_p(c->folder, 0700, e) : err_oom(e);
    if (r == 0 && (c->dir = open(c->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) < 0)
        r = err_errno(e, errno, "open %s", c->folder);
    if (r < 0) {
        content_free(c);
        return r;
    }
    content_collect(c, CONTENT_AGE_MAX, CONTENT_BYTES_MAX);
    *ret = c;
    return 0;
}

struct content *content_free(struct content *c) {
    if (!c)
        return NULL;
    close_fd(c->dir);
    map_done(&c->open);
    pthread_mutex_destroy(&c->lock);
    free(c->folder);
    free(c);
    return NULL;
}

struct found {
    char name[ID_LEN + 1];
    int64_t bytes, written; /* wall seconds */
};

struct listing {
    struct found *v;
    size_t n;
};

static void listing_done(struct listing *l) {
    free(l->v);
}

static int newest_first(const void *a, const void *b) {
    const struct found *x = a, *y = b;

    return x->written < y->written ? 1 : x->written > y->written ? -1 : strcmp(x->name, y->name);
}

/* Partials that are not open. Lock held. */
static void list(struct content *c, struct listing *ret) {
    _cleanup_closedir_ DIR *dir = opendir(c->folder);
    struct dirent *d;

    while (dir && (d = readdir(dir))) {
        struct found *grown;
        struct stat st;

        if (!id_is_full(d->d_name) || map_has(&c->open, d->d_name) || fstatat(c->dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        grown = reallocarray(ret->v, ret->n + 1, sizeof *grown);
        if (!grown)
            return;
        ret->v = grown;
        grown[ret->n] = (struct found){.bytes = (int64_t)st.st_blocks * 512, .written = st.st_mtim.tv_sec};
        memcpy(grown[ret->n++].name, d->d_name, ID_LEN + 1);
    }
}

void content_collect(struct content *c, int64_t max_age, int64_t max_bytes) {
    __attribute__((cleanup(listing_done))) struct listing l = {0};
    int64_t now = clock_wall_ns() / NSEC_PER_SEC, sum = 0;
    struct statvfs fs;

    if (fstatvfs(c->dir, &fs) == 0)
        max_bytes = MIN(max_bytes, (int64_t)(fs.f_blocks * fs.f_frsize / DISK_PART));

    pthread_mutex_lock(&c->lock);
    list(c, &l);
    if (l.n > 0)
        qsort(l.v, l.n, sizeof *l.v, newest_first);
    for (size_t i = 0; i < l.n; i++) {
        sum += l.v[i].bytes;
        if (sum <= max_bytes && now - l.v[i].written <= max_age)
            continue;
        sum -= l.v[i].bytes;
        if (unlinkat(c->dir, l.v[i].name, 0) < 0)
            log_kv(LOG_LVL_WARN, "removing an unfinished download failed", "blob", l.v[i].name, "error", strerror(errno), NULL);
    }
    pthread_mutex_unlock(&c->lock);
}

int64_t content_bytes(struct content *c) {
    __attribute__((cleanup(listing_done))) struct listing l = {0};
    int64_t sum = 0;

    pthread_mutex_lock(&c->lock);
    list(c, &l);
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < l.n; i++)
        sum += l.v[i].bytes;
    return sum;
}

/* ---- a partial ----------------------------------------------------------------------------------------------------------------- */

/* The name is ours from now on, unless somebody has it. */
static int claim(struct partial *p, const char *hex, struct err *e) {
    struct content *c = p->owner;
    int r = 0;

    pthread_mutex_lock(&c->lock);
    if (!map_has(&c->open, hex)) {
        r = map_set(&c->open, hex, c, NULL) < 0 ? err_oom(e) : 0;
        if (r == 0)
            snprintf(p->name, sizeof p->name, "%s", hex);
    }
    pthread_mutex_unlock(&c->lock);
    return r;
}

static int open_file(struct partial *p, struct err *e) {
    struct content *c = p->owner;
    char self[40];
    struct stat st;

    if (p->name[0])
        p->fd = openat(c->dir, p->name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    else
        p->fd = openat(c->dir, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (p->fd < 0 || fstat(p->fd, &st) < 0)
        return err_errno(e, errno, "open %s/%s", c->folder, p->name);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INTERNAL, "%s/%s is not a file", c->folder, p->name);
    p->have = st.st_size;
    snprintf(self, sizeof self, "/proc/self/fd/%d", p->fd);
    p->read_fd = open(self, O_RDONLY | O_CLOEXEC);
    if (p->read_fd < 0)
        return err_errno(e, errno, "open %s/%s", c->folder, p->name);
    return p->have > p->size ? partial_reset(p, e) : 0;
}

int partial_open(struct content *c, const char *digest, int64_t size, struct partial **ret, struct err *e) {
    const char *hex = str_after(digest, "sha256:");
    struct partial *p;
    int r;

    if (!hex || !id_is_full(hex))
        return err_set(e, ERR_INVALID, "invalid digest %s", digest);
    p = calloc(1, sizeof *p);
    if (!p)
        return err_oom(e);
    *p = (struct partial){.owner = c, .fd = -EBADF, .read_fd = -EBADF, .size = size};
    r = claim(p, hex, e);
    if (r == 0)
        r = open_file(p, e);
    if (r < 0) {
        partial_close(p, false);
        return r;
    }
    *ret = p;
    return 0;
}

int64_t partial_have(const struct partial *p) {
    return p->have;
}

int partial_fd(const struct partial *p) {
    return p->read_fd;
}

/* A full disk in the words clients know, with its kind. */
static int write_failed(const struct partial *p, int errnum, struct err *e) {
    if (errnum != ENOSPC)
        return err_errno(e, errnum, "write %s/%s", p->owner->folder, p->name);
    err_set(e, ERR_NO_SPACE, "write %s/%s: no space left on device", p->owner->folder, p->name);
    if (e)
        e->errnum = ENOSPC;
    return -ERR_NO_SPACE;
}

/* While the rest still comes: who syncs what the blob is kept with finds little left to do. */
static void start_writeback(struct partial *p) {
    int64_t n = p->have - p->on_its_way;

    if (n < (int64_t)WRITEBACK && p->have < p->size)
        return;
    ignore_result(sync_file_range(p->fd, p->on_its_way, n, SYNC_FILE_RANGE_WRITE) < 0);
    p->on_its_way = p->have;
}

int partial_append(struct partial *p, const void *bytes, size_t n, struct err *e) {
    const char *at = bytes;

    if ((int64_t)n > p->size - p->have)
        return err_set(e, ERR_INVALID, "more than the %lld bytes announced", (long long)p->size);
    while (n > 0) {
        ssize_t put = pwrite(p->fd, at, MIN(n, FS_WRITE_AT_ONCE), p->have);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return write_failed(p, put < 0 ? errno : ENOSPC, e);
        at += put;
        n -= (size_t)put;
        p->have += put;
    }
    start_writeback(p);
    return 0;
}

int partial_reset(struct partial *p, struct err *e) {
    if (ftruncate(p->fd, 0) < 0)
        return err_errno(e, errno, "truncate %s/%s", p->owner->folder, p->name);
    p->have = p->on_its_way = 0;
    return 0;
}

bool partial_give(struct partial *p, const char *path) {
    return p->name[0] && renameat(p->owner->dir, p->name, AT_FDCWD, path) == 0;
}

struct partial *partial_close(struct partial *p, bool keep) {
    struct content *c;

    if (!p)
        return NULL;
    c = p->owner;
    keep = keep && p->have >= (int64_t)WORTH_KEEPING;
    if (p->name[0]) {
        pthread_mutex_lock(&c->lock);
        if (!keep)
            unlinkat(c->dir, p->name, 0);
        map_remove(&c->open, p->name);
        pthread_mutex_unlock(&c->lock);
    }
    close_fd(p->fd);
    close_fd(p->read_fd);
    free(p);
    if (keep)
        content_collect(c, CONTENT_AGE_MAX, CONTENT_BYTES_MAX);
    return NULL;
}
