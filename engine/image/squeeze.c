// SPDX-License-Identifier: Apache-2.0
#include "image/squeeze.h"

#include <isa-l/igzip_lib.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/thread.h"
#include "layers/unpack.h"

#define LEVEL 1 /* as small as zlib's first, ten times as fast */

struct squeeze {
    struct layer *layer;
    squeeze_progress_fn *progress;
    void *progress_arg;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* of what follows, up to `error` */
    pthread_cond_t changed;
    char *ring;
    size_t at, have; /* first byte, number of bytes in the ring */
    bool ended, stop;
    int result;
    struct err error;
    /* the thread's own */
    struct isal_zstream z;
    unsigned char *level_buf;
    int64_t read;
};

int squeeze_new(struct layer *layer, squeeze_progress_fn *progress, void *arg, struct squeeze **ret, struct err *e) {
    struct squeeze *s = calloc(1, sizeof *s);

    if (!s)
        return err_oom(e);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->layer = layer_ref(layer);
    s->progress = progress;
    s->progress_arg = arg;
    s->ring = malloc(SQUEEZE_AHEAD);
    s->level_buf = malloc(ISAL_DEF_LVL1_DEFAULT);
    if (!s->ring || !s->level_buf) {
        squeeze_free(s);
        return err_oom(e);
    }
    *ret = s;
    return 0;
}

static void halt(struct squeeze *s) {
    if (!s->running)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    s->running = false;
}

struct squeeze *squeeze_free(struct squeeze *s) {
    if (!s)
        return NULL;
    halt(s);
    err_done(&s->error);
    layer_unref(s->layer);
    free(s->ring);
    free(s->level_buf);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

/* Into the ring; waits for room. -ERR_CANCELLED once nobody reads any more. */
static int put(struct squeeze *s, const unsigned char *p, size_t n, struct err *e) {
    bool stop;

    pthread_mutex_lock(&s->lock);
    while (n > 0 && !s->stop) {
        size_t end = (s->at + s->have) % SQUEEZE_AHEAD, room = MIN(SQUEEZE_AHEAD - s->have, SQUEEZE_AHEAD - end), k = MIN(n, room);

        if (k == 0) {
            pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        memcpy(s->ring + end, p, k);
        s->have += k;
        p += k;
        n -= k;
        pthread_cond_broadcast(&s->changed);
    }
    stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    return stop ? err_set(e, ERR_CANCELLED, "context canceled") : 0;
}

/* Compress a piece. */
static int squash(struct squeeze *s, const void *p, size_t n, bool last, struct err *e) {
    unsigned char out[KIB(64)];
    int r;

    s->read += (int64_t)n;
    r = s->progress ? s->progress(s->progress_arg, s->read, last, e) : 0;
    s->z.next_in = (uint8_t *)(uintptr_t)p;
    s->z.avail_in = (uint32_t)n;
    s->z.end_of_stream = last;
    while (r == 0) {
        s->z.next_out = out;
        s->z.avail_out = sizeof out;
        if (isal_deflate(&s->z) != COMP_OK)
            return err_set(e, ERR_INTERNAL, "compressing layer %s failed", layer_diff_id(s->layer));
        r = put(s, out, sizeof out - s->z.avail_out, e);
        if (last ? s->z.internal_state.state == ZSTATE_END : s->z.avail_in == 0 && s->z.avail_out > 0)
            break;
    }
    return r;
}

static int take(void *arg, const void *p, size_t n, struct err *e) {
    return squash(arg, p, n, false, e);
}

static void *work(void *arg) {
    struct squeeze *s = arg;
    struct err e = ERR_INIT;
    int r;

    isal_deflate_init(&s->z);
    s->z.level = LEVEL;
    s->z.level_buf = s->level_buf;
    s->z.level_buf_size = ISAL_DEF_LVL1_DEFAULT;
    s->z.gzip_flag = IGZIP_GZIP;
    s->read = 0;
    r = layer_archive(s->layer, take, s, &e);
    if (r == 0)
        r = squash(s, NULL, 0, true, &e);
    pthread_mutex_lock(&s->lock);
    s->result = r;
    s->error = e;
    s->ended = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int squeeze_rewind(void *arg, struct err *e) {
    struct squeeze *s = arg;
    int r;

    halt(s);
    err_done(&s->error);
    s->at = s->have = 0;
    s->ended = s->stop = false;
    s->result = 0;
    r = thread_start(&s->thread, KIB(512), work, s);
    if (r < 0)
        return err_errno(e, -r, "starting a thread");
    s->running = true;
    return 0;
}

ssize_t squeeze_read(void *arg, void *p, size_t n, struct err *e) {
    struct squeeze *s = arg;
    size_t k;
    int r;

    pthread_mutex_lock(&s->lock);
    while (s->have == 0 && !s->ended)
        pthread_cond_wait(&s->changed, &s->lock);
    k = MIN(n, MIN(s->have, SQUEEZE_AHEAD - s->at));
    memcpy(p, s->ring + s->at, k);
    s->at = (s->at + k) % SQUEEZE_AHEAD;
    s->have -= k;
    r = k == 0 ? s->result : 0;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return r < 0 ? err_move(e, &s->error) : (ssize_t)k;
}
