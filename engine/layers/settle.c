// SPDX-License-Identifier: Apache-2.0
/* How layers become durable: first their files, then their rows. Sections: ahead of time; files and rows. */
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/thread.h"
#include "layers/layers-internal.h"

#define AHEAD_BYTES MIB(24) /* so much is worth a sync of its own */

static int open_home(const struct layers *l) {
    return open(l->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/*
 * What could not be written is told once to every descriptor that was open by then, and to a new one only if nobody has heard of it (syncfs(2)). So the one that
 * counts is open from the start, and is no one else's: a sync ahead of time that fails takes nothing away from it.
 */
int settle_open(struct layers *l, struct err *e) {
    l->home_fd = open_home(l);
    return l->home_fd < 0 ? err_errno(e, errno, "open %s", l->home) : 0;
}

/* ---- ahead of time ------------------------------------------------------------------------------------------------------------- */

void settle_init(struct layers *l) {
    l->home_fd = -EBADF;
    pthread_mutex_init(&l->ahead.lock, NULL);
    pthread_cond_init(&l->ahead.ended, NULL);
}

void settle_done(struct layers *l) {
    pthread_mutex_lock(&l->ahead.lock);
    l->ahead.bytes = 0;
    while (l->ahead.running)
        pthread_cond_wait(&l->ahead.ended, &l->ahead.lock);
    pthread_mutex_unlock(&l->ahead.lock);
    pthread_mutex_destroy(&l->ahead.lock);
    pthread_cond_destroy(&l->ahead.ended);
    l->home_fd = close_fd(l->home_fd);
}

static void *sync_ahead(void *arg) {
    struct layers *l = arg;
    int fd;

    pthread_mutex_lock(&l->ahead.lock);
    while (l->ahead.bytes >= (int64_t)AHEAD_BYTES) {
        l->ahead.bytes = 0;
        pthread_mutex_unlock(&l->ahead.lock);
        fd = open_home(l);
        ignore_result(fd < 0 || syncfs(fd) < 0); /* layers_settle() will say so */
        fd = close_fd(fd);
        pthread_mutex_lock(&l->ahead.lock);
    }
    l->ahead.running = false;
    pthread_cond_broadcast(&l->ahead.ended);
    pthread_mutex_unlock(&l->ahead.lock);
    return NULL;
}

void settle_ahead(struct layers *l, int64_t bytes) {
    pthread_mutex_lock(&l->ahead.lock);
    l->ahead.bytes += bytes;
    if (!l->ahead.running && l->ahead.bytes >= (int64_t)AHEAD_BYTES)
        l->ahead.running = thread_start(NULL, KIB(128), sync_ahead, l) == 0;
    pthread_mutex_unlock(&l->ahead.lock);
}

/* ---- files and rows ------------------------------------------------------------------------------------------------------------ */

static int insert_row(struct layers *l, const struct layer *layer, struct err *e) {
    return db_exec(l->db,
                   "INSERT OR REPLACE INTO layer(chain_id, diff_id, parent, cache_id, link, size, archive_size, created, synced, blob) "
                   "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,1,?9)",
                   DB_ARGS(DB_TEXT(layer->chain_id), DB_TEXT(layer->diff_id), DB_TEXT(layer->parent ? layer->parent->chain_id : NULL),
                           DB_TEXT(layer->cache_id), DB_TEXT(layer->link), DB_INT(layer->size), DB_INT(layer->archive_size), DB_INT(clock_wall_ns()),
                           DB_TEXT(layer->kept ? layer->blob : NULL)),
                   e);
}

/* Rows of layers whose files are on the disk, parents first, all or none. What needs them is durable itself, and with it they are. */
static int insert_rows(struct layers *l, struct layer *const *list, size_t n, struct err *e) {
    int r = db_begin_soon(l->db, e);

    if (r < 0)
        return r;
    for (size_t i = n; r == 0 && i-- > 0;) {
        r = insert_row(l, list[i], e);
        if (r == 0 && list[i]->blob[0])
            r = db_exec(l->db, "INSERT OR REPLACE INTO blob_diff(digest, diff_id, seen) VALUES(?1,?2,?3)",
                        DB_ARGS(DB_TEXT(list[i]->blob), DB_TEXT(list[i]->diff_id), DB_INT(clock_wall_ns())), e);
    }
    if (r < 0)
        db_rollback(l->db);
    else
        r = db_commit(l->db, e);
    return r;
}

int layers_settle(struct layer *top, struct err *e) {
    struct layer *list[LIMIT_LAYERS];
    struct layers *l = top ? top->owner : NULL;
    bool kept = false;
    size_t n = 0;
    int r;

    if (!top)
        return 0;
    pthread_mutex_lock(&l->lock);
    for (struct layer *p = top; p && n < ELEMENTSOF(list); p = p->parent)
        if (!p->synced) {
            list[n++] = p;
            kept |= p->kept;
        }
    pthread_mutex_unlock(&l->lock);
    if (n == 0)
        return 0;
    r = syncfs(l->home_fd) < 0 ? err_errno(e, errno, "syncing %s", l->home) : 0;
    if (r == 0)
        r = insert_rows(l, list, n, e);
    if (r < 0)
        return r;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < n; i++)
        list[i]->synced = true;
    pthread_mutex_unlock(&l->lock);
    if (kept)
        layers_trim_blobs(l, INT64_MAX);
    return 0;
}
