// SPDX-License-Identifier: Apache-2.0
#include "layers/hasher.h"

#include "base/id.h"
#include "base/limits.h"
#include "base/thread.h"

#define AT_ONCE KIB(8) /* waking somebody costs more than hashing this much */
#define STACK KIB(128)

void hasher_init(struct hasher *h) {
    *h = (struct hasher){.started = false};
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->work, NULL);
    pthread_cond_init(&h->progress, NULL);
}

static void *hash(void *arg) {
    struct hasher *h = arg;

    pthread_mutex_lock(&h->lock);
    h->started = true;
    pthread_cond_signal(&h->progress);
    for (;;) {
        while (h->done == h->issued && !h->stop)
            pthread_cond_wait(&h->work, &h->lock);
        if (h->done == h->issued)
            break;
        struct hasher_sum *s = h->queue[h->done % HASHER_QUEUE].sum;
        const void *p = h->queue[h->done % HASHER_QUEUE].p;
        size_t n = h->queue[h->done % HASHER_QUEUE].n;

        pthread_mutex_unlock(&h->lock);
        SHA256_Update(&s->ctx, p, n);
        pthread_mutex_lock(&h->lock);
        h->done++;
        pthread_cond_signal(&h->progress);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

int hasher_start(struct hasher *h, struct err *e) {
    int r = thread_start(&h->thread, STACK, hash, h);

    if (r < 0)
        return err_errno(e, -r, "starting a thread");
    pthread_mutex_lock(&h->lock);
    while (!h->started)
        pthread_cond_wait(&h->progress, &h->lock);
    pthread_mutex_unlock(&h->lock);
    return 0;
}

void hasher_done(struct hasher *h) {
    if (h->started) {
        pthread_mutex_lock(&h->lock);
        h->stop = true;
        pthread_cond_signal(&h->work);
        pthread_mutex_unlock(&h->lock);
        pthread_join(h->thread, NULL);
    }
    pthread_cond_destroy(&h->progress);
    pthread_cond_destroy(&h->work);
    pthread_mutex_destroy(&h->lock);
}

void hasher_begin(struct hasher_sum *s) {
    SHA256_Init(&s->ctx);
    s->bytes = 0;
    s->last = 0;
}

/* Lock held. */
static void wait_for(struct hasher *h, uint64_t ticket) {
    while (h->done < ticket)
        pthread_cond_wait(&h->progress, &h->lock);
}

void hasher_add(struct hasher *h, struct hasher_sum *s, const void *p, size_t n) {
    s->bytes += (int64_t)n;
    if (!h->started) {
        SHA256_Update(&s->ctx, p, n);
        return;
    }
    pthread_mutex_lock(&h->lock);
    if (n < AT_ONCE && h->done >= s->last) {
        pthread_mutex_unlock(&h->lock);
        SHA256_Update(&s->ctx, p, n);
        return;
    }
    wait_for(h, h->issued < HASHER_QUEUE ? 0 : h->issued - HASHER_QUEUE + 1);
    h->queue[h->issued % HASHER_QUEUE].sum = s;
    h->queue[h->issued % HASHER_QUEUE].p = p;
    h->queue[h->issued % HASHER_QUEUE].n = n;
    s->last = ++h->issued;
    pthread_cond_signal(&h->work);
    pthread_mutex_unlock(&h->lock);
}

void hasher_wait(struct hasher *h, const struct hasher_sum *s) {
    pthread_mutex_lock(&h->lock);
    wait_for(h, s->last);
    pthread_mutex_unlock(&h->lock);
}

void hasher_end(struct hasher *h, struct hasher_sum *s, char ret[65]) {
    unsigned char d[SHA256_DIGEST_LENGTH];

    hasher_wait(h, s);
    SHA256_Final(d, &s->ctx);
    hex_encode(d, sizeof d, ret);
}

int turn_next(struct hasher *h, struct turn *t) {
    pthread_mutex_lock(&h->lock);
    t->left[t->at] = h->issued;
    t->at ^= 1;
    wait_for(h, t->left[t->at]);
    pthread_mutex_unlock(&h->lock);
    return t->at;
}
