// SPDX-License-Identifier: Apache-2.0
#include "wire/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

#if defined(__SANITIZE_ADDRESS__)
#define STACK_BYTES (1u << 20)
#else
#define STACK_BYTES (256u << 10)
#endif
#define IDLE_NS (10 * NSEC_PER_SEC)
#define KEEP_IDLE 2 /* threads that stay however long they are idle */

struct queue {
    struct pool_job *first, **last;
    size_t n; /* waiting */
    size_t running, limit;
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work; /* a job is there, or stopping */
    pthread_cond_t done; /* a thread has ended */
    struct queue q[POOL_CLASSES];
    size_t threads, idle;
    size_t starting; /* made, and not yet looking for work */
    bool stopping;
};

static int64_t deadline_ns(int64_t from_now) {
    return clock_mono_ns() + from_now;
}

static int wait_until(pthread_cond_t *c, pthread_mutex_t *m, int64_t mono_ns) {
    struct timespec ts = {.tv_sec = mono_ns / NSEC_PER_SEC, .tv_nsec = mono_ns % NSEC_PER_SEC};

    return pthread_cond_timedwait(c, m, &ts);
}

/* A job that may run now: quick ones first. */
static struct pool_job *take_job(struct pool *p, enum pool_class *ret_class) {
    for (int c = 0; c < POOL_CLASSES; c++) {
        struct queue *q = &p->q[c];
        struct pool_job *j = q->first;

        if (!j || q->running >= q->limit)
            continue;
        q->first = j->next;
        if (!q->first)
            q->last = &q->first;
        q->n--;
        q->running++;
        *ret_class = c;
        return j;
    }
    return NULL;
}

/* Jobs that may run at once with what their classes allow. */
static size_t runnable(const struct pool *p) {
    size_t n = 0;

    for (int c = 0; c < POOL_CLASSES; c++)
        n += MIN(p->q[c].n, p->q[c].limit - p->q[c].running);
    return n;
}

static void *worker_main(void *arg) {
    struct pool *p = arg;

    pthread_setname_np(pthread_self(), "worker");
    pthread_mutex_lock(&p->lock);
    p->starting--;
    for (;;) {
        enum pool_class cls = POOL_QUICK;
        struct pool_job *j = take_job(p, &cls);
        int r = 0;

        if (j) {
            pthread_mutex_unlock(&p->lock);
            j->run(j);
            log_set_trace(NULL);
            pthread_mutex_lock(&p->lock);
            p->q[cls].running--;
            continue;
        }
        if (p->stopping)
            break;
        p->idle++;
        r = wait_until(&p->work, &p->lock, deadline_ns(IDLE_NS));
        p->idle--;
        if (r == ETIMEDOUT && p->idle >= KEEP_IDLE && !p->q[POOL_QUICK].first && !p->q[POOL_LONG].first)
            break;
    }
    p->threads--;
    pthread_cond_signal(&p->done);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

int pool_new(size_t limit_quick, size_t limit_long, struct pool **ret, struct err *e) {
    struct pool *p = calloc(1, sizeof(*p));
    pthread_condattr_t attr;

    if (!p)
        return err_oom(e);
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->work, &attr);
    pthread_cond_init(&p->done, &attr);
    pthread_condattr_destroy(&attr);
    for (int c = 0; c < POOL_CLASSES; c++)
        p->q[c].last = &p->q[c].first;
    p->q[POOL_QUICK].limit = limit_quick;
    p->q[POOL_LONG].limit = limit_long;
    *ret = p;
    return 0;
}

/* Called with the lock held. */
static int add_thread(struct pool *p) {
    int r;

    r = thread_start(NULL, STACK_BYTES, worker_main, p);
    if (r == 0) {
        p->threads++;
        p->starting++;
    }
    return r;
}

int pool_submit(struct pool *p, enum pool_class cls, struct pool_job *job, struct err *e) {
    struct queue *q = &p->q[cls];
    bool wake;
    int r = 0;

    pthread_mutex_lock(&p->lock);
    if (p->stopping) {
        pthread_mutex_unlock(&p->lock);
        return err_set(e, ERR_UNAVAILABLE, "the engine is shutting down");
    }
    job->next = NULL;
    *q->last = job;
    q->last = &job->next;
    q->n++;
    if (runnable(p) > p->idle + p->starting) {
        /* A thread that cannot be made is no failure while others exist: the job waits its turn. */
        r = add_thread(p);
        if (r != 0 && p->threads > 0)
            r = 0;
    }
    wake = p->idle > 0;
    if (r != 0) {
        /* The job is the only one in its queue: no thread exists. */
        q->first = NULL;
        q->last = &q->first;
        q->n--;
    }
    pthread_mutex_unlock(&p->lock);
    /* Only now: whoever is woken wants the lock at once. */
    if (wake)
        pthread_cond_signal(&p->work);
    return r != 0 ? err_errno(e, r, "starting a worker thread") : 0;
}

bool pool_stop(struct pool *p, int64_t timeout_ns) {
    int64_t until = deadline_ns(timeout_ns);
    bool ended;

    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->work);
    while (p->threads > 0 && wait_until(&p->done, &p->lock, until) != ETIMEDOUT)
        ;
    ended = p->threads == 0;
    pthread_mutex_unlock(&p->lock);
    return ended;
}

struct pool *pool_free(struct pool *p) {
    if (!p)
        return NULL;
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->done);
    free(p);
    return NULL;
}

size_t pool_threads(struct pool *p) {
    size_t n;

    pthread_mutex_lock(&p->lock);
    n = p->threads;
    pthread_mutex_unlock(&p->lock);
    return n;
}
