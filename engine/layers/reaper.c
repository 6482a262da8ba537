// SPDX-License-Identifier: Apache-2.0
/* Background removal of folders, so that answers never wait for it, and neither do those who make layers meanwhile. */
#include <pthread.h>
#include <sys/statvfs.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/thread.h"
#include "layers/layers-internal.h"

#define ATTEMPTS 5
#define AGAIN_AFTER (2 * NSEC_PER_SEC)
#define YIELD_MAX (10 * NSEC_PER_SEC) /* so long a removal waits for others */
#define CALM (NSEC_PER_SEC / 10)      /* who removes an image often makes another one next */
#define FREE_PART 10                  /* with less than this part of the disk free nothing waits */

struct job {
    struct job *next;
    int failed;         /* attempts that failed, with the one under way */
    int64_t added, due; /* monotonic */
    char path[];
};

struct layer_reaper {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job *first, **last;
    bool running, stop;
    int makers; /* of layers, under way */
    const char *home;
    pthread_t thread;
};

static bool remove_now(const char *path, bool last) {
    _cleanup_err_ struct err e = ERR_INIT;

    if (fs_remove_tree(path, &e) == 0)
        return true;
    log_kv(LOG_LVL_WARN, last ? "removing a folder failed; the next start tries again" : "removing a folder failed; trying again soon", "path", path,
           "error", err_msg(&e), NULL);
    return false;
}

static void append(struct layer_reaper *r, struct job *j) {
    j->next = NULL;
    *r->last = j;
    r->last = &j->next;
}

static bool disk_is_full(const struct layer_reaper *r) {
    struct statvfs fs;

    return statvfs(r->home, &fs) == 0 && fs.f_bavail < fs.f_blocks / FREE_PART;
}

/* The first job that is due, taken out; at the end all are. *ret_due: when the next one is, 0 for none. Lock held. */
static struct job *take_due(struct layer_reaper *r, int64_t *ret_due) {
    bool yield = r->makers > 0 && !disk_is_full(r);
    int64_t now = clock_mono_ns();

    *ret_due = 0;
    for (struct job **at = &r->first; *at; at = &(*at)->next) {
        struct job *j = *at;
        int64_t due = yield ? MAX(j->due, j->added + YIELD_MAX) : j->due;

        if (due <= now || r->stop) {
            *at = j->next;
            if (!*at)
                r->last = at;
            return j;
        }
        if (!*ret_due || due < *ret_due)
            *ret_due = due;
    }
    return NULL;
}

static void wait_until(struct layer_reaper *r, int64_t due) {
    struct timespec until = {due / NSEC_PER_SEC, due % NSEC_PER_SEC};

    if (due)
        pthread_cond_timedwait(&r->wake, &r->lock, &until);
    else
        pthread_cond_wait(&r->wake, &r->lock);
}

static void *layer_reaper_run(void *arg) {
    struct layer_reaper *r = arg;

    pthread_mutex_lock(&r->lock);
    for (;;) {
        int64_t due;
        struct job *j = take_due(r, &due);
        bool gone, last;

        if (!j && r->stop)
            break;
        if (!j) {
            wait_until(r, due);
            continue;
        }
        last = ++j->failed >= ATTEMPTS || r->stop;
        pthread_mutex_unlock(&r->lock);
        gone = remove_now(j->path, last);
        pthread_mutex_lock(&r->lock);
        if (gone || last) {
            free(j);
        } else {
            j->due = clock_mono_ns() + AGAIN_AFTER;
            append(r, j);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

struct layer_reaper *layer_reaper_new(const char *home) {
    struct layer_reaper *r = calloc(1, sizeof *r);
    pthread_condattr_t attr;

    if (!r)
        return NULL;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &attr);
    pthread_condattr_destroy(&attr);
    r->last = &r->first;
    r->home = home;
    return r;
}

struct layer_reaper *layer_reaper_free(struct layer_reaper *r) {
    if (!r)
        return NULL;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    if (r->running)
        pthread_join(r->thread, NULL);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->wake);
    free(r);
    return NULL;
}

void layer_reaper_add(struct layer_reaper *r, const char *path) {
    size_t n = strlen(path) + 1;
    struct job *j = malloc(sizeof *j + n);

    if (!j) {
        remove_now(path, true);
        return;
    }
    j->failed = 0;
    j->added = clock_mono_ns();
    j->due = j->added + CALM;
    memcpy(j->path, path, n);
    pthread_mutex_lock(&r->lock);
    append(r, j);
    /* The thread is made at the first removal: an idle engine pays nothing. */
    if (!r->running)
        r->running = thread_start(&r->thread, KIB(256), layer_reaper_run, r) == 0;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

void layer_reaper_yield(struct layer_reaper *r, int change) {
    int64_t calm = clock_mono_ns() + CALM;

    pthread_mutex_lock(&r->lock);
    r->makers += change;
    if (r->makers == 0) {
        for (struct job *j = r->first; j; j = j->next)
            j->due = MAX(j->due, MIN(calm, j->added + YIELD_MAX));
        pthread_cond_signal(&r->wake);
    }
    pthread_mutex_unlock(&r->lock);
}
