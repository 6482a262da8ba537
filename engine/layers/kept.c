// SPDX-License-Identifier: Apache-2.0
/* Blobs that layers came from: what was in them is remembered, and the compressed file itself is kept beside the layer while there is room. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "layers/layers-internal.h"

#define KEPT_MAX ((int64_t)GIB(8))
#define DISK_PART 10 /* all together at most this part of the disk, and as much stays free */

/* ---- what was in them ------------------------------------------------------------------------------------------------------- */

static int take_diff(const struct db_row *row, void *arg, struct err *e) {
    snprintf(arg, CHAIN_TEXT, "%s", db_row_text(row, 0));
    return 0;
}

bool layers_blob_diff(struct layers *l, const char *digest, char ret[CHAIN_TEXT]) {
    ret[0] = 0;
    return db_query(l->db, "SELECT diff_id FROM blob_diff WHERE digest=?1", DB_ARGS(DB_TEXT(digest)), take_diff, ret, NULL) >= 0 && ret[0];
}

/* ---- the files -------------------------------------------------------------------------------------------------------------- */

char *unpack_blob_path(const struct unpack *u, int index) {
    return str_printf("%s/%d/" LAYER_BLOB, unpack_staging(u), index);
}

static void forget(struct layer *layer) {
    pthread_mutex_lock(&layer->owner->lock);
    layer->kept = false;
    pthread_mutex_unlock(&layer->owner->lock);
}

int layer_blob_open(struct layer *layer, char ret_digest[CHAIN_TEXT], int64_t *ret_size) {
    _cleanup_free_ char *path = driver_path(layer->owner, layer->cache_id, LAYER_BLOB);
    _cleanup_close_ int fd = -EBADF;
    struct stat st;
    bool kept;

    pthread_mutex_lock(&layer->owner->lock);
    kept = layer->kept;
    memcpy(ret_digest, layer->blob, CHAIN_TEXT);
    pthread_mutex_unlock(&layer->owner->lock);
    fd = kept && path ? open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -EBADF;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return -ENOENT;
    ignore_result(futimens(fd, NULL) < 0); /* what is used stays longest */
    *ret_size = st.st_size;
    return TAKE_FD(fd);
}

void layer_blob_share(struct layer *layer, struct layer *copy, const char *staged) {
    _cleanup_free_ char *from = driver_path(layer->owner, layer->cache_id, LAYER_BLOB), *to = str_printf("%s/" LAYER_BLOB, staged);
    char digest[CHAIN_TEXT];
    int64_t size;
    _cleanup_close_ int fd = layer_blob_open(layer, digest, &size);

    if (fd >= 0 && from && to && link(from, to) == 0) {
        memcpy(copy->blob, digest, sizeof copy->blob);
        copy->kept = true;
    }
}

void layer_blob_drop(struct layer *layer) {
    _cleanup_free_ char *path = driver_path(layer->owner, layer->cache_id, LAYER_BLOB);

    forget(layer);
    if (path && unlink(path) < 0 && errno != ENOENT)
        log_kv(LOG_LVL_WARN, "removing a kept blob failed", "path", path, "error", strerror(errno), NULL);
}

/* ---- room ------------------------------------------------------------------------------------------------------------------- */

struct kept {
    struct layer *layer; /* counted */
    int64_t bytes, used; /* used: wall ns of its last use */
};

static int latest_first(const void *a, const void *b) {
    const struct kept *x = a, *y = b;

    return x->used < y->used ? 1 : x->used > y->used ? -1 : strcmp(x->layer->cache_id, y->layer->cache_id);
}

/* Layers with a blob, counted; *ret_n of them, none when memory ran out. */
static struct kept *list_kept(struct layers *l, size_t *ret_n) {
    struct kept *v;
    size_t n = 0;

    pthread_mutex_lock(&l->lock);
    v = calloc(l->chains.n + 1, sizeof *v);
    for (struct map_entry *i = NULL; v && (i = map_next(&l->chains, i));) {
        struct layer *layer = i->value;

        if (layer->kept && layer->refs > 0) {
            layer->refs++;
            v[n++].layer = layer;
        }
    }
    pthread_mutex_unlock(&l->lock);
    *ret_n = n;
    return v;
}

static void measure(struct kept *k) {
    _cleanup_free_ char *path = driver_path(k->layer->owner, k->layer->cache_id, LAYER_BLOB);
    struct stat st;

    if (!path || lstat(path, &st) < 0)
        return;
    k->bytes = (int64_t)st.st_blocks * 512;
    k->used = st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec;
}

/* How many bytes of blobs there may be on this disk, with `sum` there now. */
static int64_t room(const struct statvfs *fs, int64_t sum) {
    int64_t part = (int64_t)(fs->f_blocks / DISK_PART * fs->f_frsize), free_bytes = (int64_t)(fs->f_bavail * fs->f_frsize);

    return MAX(MIN(MIN(KEPT_MAX, part), sum + free_bytes - part), (int64_t)0);
}

void kept_trim(struct layers *l, int64_t max_bytes, const struct statvfs *fs) {
    size_t n = 0;
    struct kept *v = list_kept(l, &n);
    int64_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        measure(&v[i]);
        sum += v[i].bytes;
    }
    if (n > 0) {
        max_bytes = MIN(max_bytes, room(fs, sum));
        qsort(v, n, sizeof *v, latest_first);
    }
    sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (sum + v[i].bytes <= max_bytes)
            sum += v[i].bytes;
        else
            layer_blob_drop(v[i].layer);
    }
    for (size_t i = 0; i < n; i++)
        layer_unref(v[i].layer);
    free(v);
}

void layers_trim_blobs(struct layers *l, int64_t max_bytes) {
    struct statvfs fs;

    if (statvfs(l->home, &fs) == 0)
        kept_trim(l, max_bytes, &fs);
}

void layers_make_room(struct layers *l) {
    struct statvfs fs;

    if (statvfs(l->home, &fs) == 0 && fs.f_bavail < fs.f_blocks / DISK_PART)
        kept_trim(l, INT64_MAX, &fs);
}
