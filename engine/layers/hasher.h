// SPDX-License-Identifier: Apache-2.0
/*
 * hasher.h - SHA-256 of streams on a thread beside the one that reads them, so that digests cost no time of their own on a second processor.
 *
 * hasher_add() only notes the bytes: they must stay as they are until the thread is done with them. A reader with two buffers asks turn_next() which one
 * to fill next; it returns once nothing in that buffer is still waited for. Until hasher_start(), and for small pieces, sums are made at once.
 *
 * Threads: one user; the hashing thread is inside, allocates nothing and makes no system call but futex.
 */
#ifndef HATAKE_LAYERS_HASHER_H
#define HATAKE_LAYERS_HASHER_H

#ifndef OPENSSL_SUPPRESS_DEPRECATED
#define OPENSSL_SUPPRESS_DEPRECATED /* the plain functions: no provider to load, nothing to fail inside a cage */
#endif
#include <openssl/sha.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define HASHER_QUEUE 32

struct hasher_sum {
    SHA256_CTX ctx;
    int64_t bytes;
    uint64_t last; /* ticket of its newest piece */
};

struct hasher {
    pthread_mutex_t lock;
    pthread_cond_t work, progress;
    pthread_t thread;
    bool started, stop;
    uint64_t issued, done; /* tickets */
    struct {
        struct hasher_sum *sum;
        const void *p;
        size_t n;
    } queue[HASHER_QUEUE];
};

/* Two buffers filled in turn. All zero at first. */
struct turn {
    uint64_t left[2]; /* newest ticket when the buffer was left */
    int at;
};

void hasher_init(struct hasher *h);
/* End the thread, once all pieces are hashed. A program that ends need not. */
void hasher_done(struct hasher *h);
/* Start the thread and wait until it runs (so that a filter of system calls may follow). */
int hasher_start(struct hasher *h, struct err *e);

void hasher_begin(struct hasher_sum *s);
/* s and the bytes stay untouched until hasher_wait() or hasher_end(), or until turn_next() gives their buffer back. */
void hasher_add(struct hasher *h, struct hasher_sum *s, const void *p, size_t n);
/* Wait for all pieces of s so far. */
void hasher_wait(struct hasher *h, const struct hasher_sum *s);
/* The same, and the sum: 64 hex digits. */
void hasher_end(struct hasher *h, struct hasher_sum *s, char ret[65]);

/* Leave the present buffer of t for the other one: its index, once nothing in it is waited for. */
int turn_next(struct hasher *h, struct turn *t);

#endif
