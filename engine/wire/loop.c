// SPDX-License-Identifier: Apache-2.0
#include "wire/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/thread.h"

#define EVENTS_PER_WAKE 256
#define NOT_IN_HEAP SIZE_MAX

struct loop_watch {
    struct loop *loop;
    int fd;
    uint32_t events;
    loop_fd_fn *fn; /* NULL: removed, waiting to be freed */
    void *data;
    struct loop_watch *next_dead;
};

struct loop_timer {
    struct loop *loop;
    int64_t due, period; /* CLOCK_MONOTONIC, ns */
    size_t at;           /* place in the heap */
    loop_timer_fn *fn;
    void *data;
    bool running, dead;
};

struct post {
    struct post *next;
    void (*fn)(void *data);
    void *data;
};

struct loop {
    int epfd, wake;
    char name[16];
    pthread_t thread;
    bool started, in_events;
    pthread_mutex_t lock; /* guards the four below */
    struct post *first, **last;
    bool stopping, refusing;
    struct loop_watch *dead; /* removed while their events may still be in the array being worked through */
    struct loop_timer **heap;
    size_t n_heap, cap_heap;
    size_t n_timers; /* timers in existence; cap_heap is never less */
};

/* ---- timers: a binary heap ordered by due time ---------------------------------------------------------------------------- */

static void heap_put(struct loop *l, size_t i, struct loop_timer *t) {
    l->heap[i] = t;
    t->at = i;
}

static void heap_up(struct loop *l, size_t i) {
    struct loop_timer *t = l->heap[i];

    while (i > 0 && l->heap[(i - 1) / 2]->due > t->due) {
        heap_put(l, i, l->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_put(l, i, t);
}

static void heap_down(struct loop *l, size_t i) {
    struct loop_timer *t = l->heap[i];

    for (;;) {
        size_t c = 2 * i + 1;

        if (c >= l->n_heap)
            break;
        if (c + 1 < l->n_heap && l->heap[c + 1]->due < l->heap[c]->due)
            c++;
        if (l->heap[c]->due >= t->due)
            break;
        heap_put(l, i, l->heap[c]);
        i = c;
    }
    heap_put(l, i, t);
}

static void heap_remove(struct loop *l, struct loop_timer *t) {
    size_t i = t->at;

    if (i == NOT_IN_HEAP)
        return;
    t->at = NOT_IN_HEAP;
    l->n_heap--;
    if (i == l->n_heap)
        return;
    heap_put(l, i, l->heap[l->n_heap]);
    heap_up(l, i);
    heap_down(l, i);
}

/* Room was made by loop_timer(), one place per timer that exists, so this cannot fail. */
static void heap_insert(struct loop *l, struct loop_timer *t) {
    heap_put(l, l->n_heap++, t);
    heap_up(l, t->at);
}

int loop_timer(struct loop *l, int64_t delay_ns, int64_t period_ns, loop_timer_fn *fn, void *data, struct loop_timer **ret, struct err *e) {
    _cleanup_free_ struct loop_timer *t = calloc(1, sizeof(*t));

    if (!t)
        return err_oom(e);
    /* A timer that has fired and is not in the heap needs its place again when it is set anew, which must not fail. */
    if (l->n_timers == l->cap_heap) {
        size_t cap = l->cap_heap ? l->cap_heap * 2 : 64;
        struct loop_timer **h = reallocarray(l->heap, cap, sizeof(*h));

        if (!h)
            return err_oom(e);
        l->heap = h;
        l->cap_heap = cap;
    }
    *t = (struct loop_timer){.loop = l, .fn = fn, .data = data, .at = NOT_IN_HEAP};
    l->n_timers++;
    loop_timer_set(t, delay_ns, period_ns);
    *ret = TAKE_PTR(t);
    return 0;
}

void loop_timer_set(struct loop_timer *t, int64_t delay_ns, int64_t period_ns) {
    heap_remove(t->loop, t);
    t->due = clock_mono_ns() + delay_ns;
    t->period = period_ns;
    heap_insert(t->loop, t);
}

struct loop_timer *loop_timer_free(struct loop_timer *t) {
    if (!t)
        return NULL;
    heap_remove(t->loop, t);
    t->loop->n_timers--;
    if (t->running)
        t->dead = true; /* its callback is on the stack: run_timers() frees it */
    else
        free(t);
    return NULL;
}

/* Run what is due; returns the time to the next one in ms for epoll_wait(2), -1 when there is none. */
static int run_timers(struct loop *l) {
    int64_t now = clock_mono_ns();

    while (l->n_heap > 0 && l->heap[0]->due <= now) {
        struct loop_timer *t = l->heap[0];

        heap_remove(l, t);
        if (t->period > 0) {
            t->due = MAX(t->due + t->period, now); /* late rounds are not made up for */
            heap_insert(l, t);
        }
        t->running = true;
        t->fn(t, t->data);
        t->running = false;
        if (t->dead)
            free(t);
    }
    if (l->n_heap == 0)
        return -1;
    now = clock_mono_ns();
    if (l->heap[0]->due <= now)
        return 0;
    return (int)MIN((l->heap[0]->due - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC, (int64_t)60000);
}

/* ---- descriptors ------------------------------------------------------------------------------------------------------------ */

int loop_watch(struct loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *data, struct loop_watch **ret, struct err *e) {
    _cleanup_free_ struct loop_watch *w = calloc(1, sizeof(*w));
    struct epoll_event ev = {.events = events};

    if (!w)
        return err_oom(e);
    *w = (struct loop_watch){.loop = l, .fd = fd, .events = events, .fn = fn, .data = data};
    ev.data.ptr = w;
    if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
        return err_errno(e, errno, "watching a descriptor");
    *ret = TAKE_PTR(w);
    return 0;
}

int loop_watch_set(struct loop_watch *w, uint32_t events, struct err *e) {
    struct epoll_event ev = {.events = events, .data.ptr = w};

    if (w->events == events && !(events & (EPOLLONESHOT | EPOLLET)))
        return 0;
    if (epoll_ctl(w->loop->epfd, EPOLL_CTL_MOD, w->fd, &ev) < 0)
        return err_errno(e, errno, "changing a watch");
    w->events = events;
    return 0;
}

struct loop_watch *loop_unwatch(struct loop_watch *w) {
    if (!w)
        return NULL;
    epoll_ctl(w->loop->epfd, EPOLL_CTL_DEL, w->fd, NULL);
    w->fn = NULL;
    if (w->loop->in_events) {
        w->next_dead = w->loop->dead;
        w->loop->dead = w;
    } else {
        free(w);
    }
    return NULL;
}

/* ---- the thread ---------------------------------------------------------------------------------------------------------------- */

static void wake(struct loop *l) {
    uint64_t one = 1;

    ignore_result(write(l->wake, &one, sizeof(one)) < 0);
}

/* Run what was posted, in order, until nothing is left. */
static void run_posts(struct loop *l) {
    struct post *p;

    pthread_mutex_lock(&l->lock);
    while ((p = l->first)) {
        l->first = NULL;
        l->last = &l->first;
        pthread_mutex_unlock(&l->lock);
        while (p) {
            struct post *next = p->next;

            p->fn(p->data);
            free(p);
            p = next;
        }
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
}

static void run_events(struct loop *l, struct epoll_event *ev, int n) {
    l->in_events = true;
    for (int i = 0; i < n; i++) {
        struct loop_watch *w = ev[i].data.ptr;
        uint64_t count;

        if (!w) {
            ignore_result(read(l->wake, &count, sizeof(count)) < 0);
            continue;
        }
        if (w->fn)
            w->fn(w, w->fd, ev[i].events, w->data);
    }
    l->in_events = false;
    while (l->dead) {
        struct loop_watch *w = l->dead;

        l->dead = w->next_dead;
        free(w);
    }
}

static void *loop_main(void *arg) {
    struct loop *l = arg;
    struct epoll_event ev[EVENTS_PER_WAKE];

    pthread_setname_np(pthread_self(), l->name);
    for (;;) {
        bool stop;
        int timeout, n;

        run_posts(l);
        timeout = run_timers(l);
        pthread_mutex_lock(&l->lock);
        stop = l->stopping;
        if (l->first)
            timeout = 0;
        pthread_mutex_unlock(&l->lock);
        if (stop)
            break;
        n = epoll_wait(l->epfd, ev, EVENTS_PER_WAKE, timeout);
        if (n > 0)
            run_events(l, ev, n);
    }
    pthread_mutex_lock(&l->lock);
    l->refusing = true;
    pthread_mutex_unlock(&l->lock);
    run_posts(l);
    return NULL;
}

int loop_new(const char *name, struct loop **ret, struct err *e) {
    struct loop *l = calloc(1, sizeof(*l));
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

    if (!l)
        return err_oom(e);
    l->last = &l->first;
    l->wake = -EBADF;
    pthread_mutex_init(&l->lock, NULL);
    snprintf(l->name, sizeof(l->name), "%s", name);
    l->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epfd >= 0)
        l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->epfd < 0 || l->wake < 0 || epoll_ctl(l->epfd, EPOLL_CTL_ADD, l->wake, &ev) < 0) {
        int r = err_errno(e, errno, "making the stream loop");

        loop_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

int loop_start(struct loop *l, struct err *e) {
    int r;

    r = thread_start(&l->thread, KIB(512), loop_main, l);
    if (r < 0)
        return err_errno(e, -r, "starting the stream loop");
    l->started = true;
    return 0;
}

void loop_stop(struct loop *l) {
    if (!l || !l->started)
        return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_mutex_unlock(&l->lock);
    wake(l);
    pthread_join(l->thread, NULL);
    l->started = false;
}

struct loop *loop_free(struct loop *l) {
    if (!l)
        return NULL;
    loop_stop(l);
    run_posts(l);
    close_fd(l->epfd);
    close_fd(l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l->heap);
    free(l);
    return NULL;
}

bool loop_on_thread(const struct loop *l) {
    return l->started && pthread_equal(l->thread, pthread_self());
}

int loop_post(struct loop *l, void (*fn)(void *data), void *data, struct err *e) {
    struct post *p = malloc(sizeof(*p));
    bool first, refused;

    if (!p)
        return err_oom(e);
    *p = (struct post){.fn = fn, .data = data};
    pthread_mutex_lock(&l->lock);
    refused = l->refusing;
    first = !l->first;
    if (!refused) {
        *l->last = p;
        l->last = &p->next;
    }
    pthread_mutex_unlock(&l->lock);
    if (refused) {
        free(p);
        return err_set(e, ERR_UNAVAILABLE, "the engine is shutting down");
    }
    if (first)
        wake(l);
    return 0;
}

struct waiting_call {
    int (*fn)(void *data, struct err *e);
    void *data;
    struct err err;
    int result;
    bool done;
    pthread_mutex_t lock;
    pthread_cond_t cond;
};

static void run_waiting_call(void *data) {
    struct waiting_call *w = data;
    int r = w->fn(w->data, &w->err);

    pthread_mutex_lock(&w->lock);
    w->result = r;
    w->done = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

int loop_call(struct loop *l, int (*fn)(void *data, struct err *e), void *data, struct err *e) {
    struct waiting_call w = {.fn = fn, .data = data, .err = ERR_INIT};
    int r;

    if (loop_on_thread(l))
        return fn(data, e);
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.cond, NULL);
    r = loop_post(l, run_waiting_call, &w, e);
    if (r >= 0) {
        pthread_mutex_lock(&w.lock);
        while (!w.done)
            pthread_cond_wait(&w.cond, &w.lock);
        pthread_mutex_unlock(&w.lock);
        r = w.result;
        if (r < 0 && w.err.kind != ERR_NONE)
            err_move(e, &w.err);
    }
    err_done(&w.err);
    pthread_cond_destroy(&w.cond);
    pthread_mutex_destroy(&w.lock);
    return r;
}
