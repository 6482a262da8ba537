// SPDX-License-Identifier: Apache-2.0
#include "container/reaper.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/thread.h"

struct job {
    void (*fn)(void *arg);
    void *arg;
};

struct ctr_reaper {
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    pthread_t threads[REAPER_THREADS];
    size_t n_threads;
    struct job jobs[REAPER_MAX];
    size_t first, n;
    size_t running;
    bool stop;
};

static void *reaper_main(void *arg) {
    struct ctr_reaper *r = arg;

    pthread_mutex_lock(&r->lock);
    for (;;) {
        struct job j;

        while (r->n == 0 && !r->stop)
            pthread_cond_wait(&r->work, &r->lock);
        if (r->n == 0)
            break;
        j = r->jobs[r->first];
        r->first = (r->first + 1) % REAPER_MAX;
        r->n--;
        r->running++;
        pthread_mutex_unlock(&r->lock);
        j.fn(j.arg);
        pthread_mutex_lock(&r->lock);
        r->running--;
        if (r->n == 0 && r->running == 0)
            pthread_cond_broadcast(&r->idle);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

int ctr_reaper_new(struct ctr_reaper **ret, struct err *e) {
    struct ctr_reaper *r = calloc(1, sizeof(*r));
    int k;

    if (!r)
        return err_oom(e);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->work, NULL);
    pthread_cond_init(&r->idle, NULL);
    do
        k = thread_start(&r->threads[r->n_threads], KIB(256), reaper_main, r);
    while (k == 0 && ++r->n_threads < REAPER_THREADS);
    if (r->n_threads == 0) {
        free(r);
        return err_errno(e, -k, "cannot start the tidying threads");
    }
    *ret = r;
    return 0;
}

struct ctr_reaper *ctr_reaper_free(struct ctr_reaper *r) {
    if (!r)
        return NULL;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->work);
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < r->n_threads; i++)
        pthread_join(r->threads[i], NULL);
    pthread_cond_destroy(&r->idle);
    pthread_cond_destroy(&r->work);
    pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}

void ctr_reaper_put(struct ctr_reaper *r, void (*fn)(void *arg), void *arg) {
    pthread_mutex_lock(&r->lock);
    if (r->n < REAPER_MAX && !r->stop) {
        r->jobs[(r->first + r->n) % REAPER_MAX] = (struct job){fn, arg};
        r->n++;
        pthread_cond_signal(&r->work);
        fn = NULL;
    }
    pthread_mutex_unlock(&r->lock);
    if (fn)
        fn(arg);
}

size_t ctr_reaper_pending(struct ctr_reaper *r) {
    size_t n;

    pthread_mutex_lock(&r->lock);
    n = r->n + r->running;
    pthread_mutex_unlock(&r->lock);
    return n;
}

void ctr_reaper_drain(struct ctr_reaper *r) {
    pthread_mutex_lock(&r->lock);
    while (r->n > 0 || r->running > 0)
        pthread_cond_wait(&r->idle, &r->lock);
    pthread_mutex_unlock(&r->lock);
}
