// SPDX-License-Identifier: Apache-2.0
/* Background removal of folders, so that answers never wait for it. */
#include <pthread.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "layers/layers-internal.h"

struct job {
    struct job *next;
    char path[];
};

struct layer_reaper {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job *first, **last;
    bool running, stop;
    pthread_t thread;
};

static void remove_now(const char *path) {
    _cleanup_err_ struct err e = ERR_INIT;

    if (fs_remove_tree(path, &e) < 0)
        log_kv(LOG_LVL_WARN, "removing a folder failed; the next start tries again", "path", path, "error", err_msg(&e), NULL);
}

static void *layer_reaper_run(void *arg) {
    struct layer_reaper *r = arg;

    pthread_mutex_lock(&r->lock);
    for (;;) {
        struct job *j;

        while (!r->first && !r->stop)
            pthread_cond_wait(&r->wake, &r->lock);
        j = r->first;
        if (!j)
            break;
        r->first = j->next;
        if (!r->first)
            r->last = &r->first;
        pthread_mutex_unlock(&r->lock);
        remove_now(j->path);
        free(j);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

struct layer_reaper *layer_reaper_new(void) {
    struct layer_reaper *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, NULL);
    r->last = &r->first;
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
    pthread_attr_t attr;

    if (!j) {
        remove_now(path);
        return;
    }
    j->next = NULL;
    memcpy(j->path, path, n);
    pthread_mutex_lock(&r->lock);
    *r->last = j;
    r->last = &j->next;
    /* The thread is made at the first removal: an idle engine pays nothing. */
    if (!r->running) {
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, 256 * 1024);
        r->running = pthread_create(&r->thread, &attr, layer_reaper_run, r) == 0;
        pthread_attr_destroy(&attr);
    }
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}
