// SPDX-License-Identifier: Apache-2.0
/*
 * worker.h - threads that run handlers.
 *
 * Purpose: handlers may block, so each runs on a thread; threads are made on demand, kept for a while when idle and have small stacks.
 * Two classes keep each other alive: POOL_QUICK (reads, short changes) and POOL_LONG (streams, waits, everything that may block for
 * seconds). Each class has its own queue and its own bound of concurrently running jobs, so full long jobs never delay quick ones.
 *
 * Threads: all functions from any thread.
 * Life cycle: pool_new, pool_submit..., pool_stop (no new jobs; waits for running ones up to a bound), pool_free.
 */
#ifndef HATAKE_WIRE_WORKER_H
#define HATAKE_WIRE_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct pool;

enum pool_class { POOL_QUICK, POOL_LONG, POOL_CLASSES };

/* Links a job into a queue; embedded in the caller's object. */
struct pool_job {
    struct pool_job *next;
    void (*run)(struct pool_job *job);
};

/* `limit_x`: how many jobs of a class may run at the same time. */
int pool_new(size_t limit_quick, size_t limit_long, struct pool **ret, struct err *e);
/* Queue a job. ERR_UNAVAILABLE after pool_stop(). */
int pool_submit(struct pool *p, enum pool_class cls, struct pool_job *job, struct err *e);
/* Refuse new jobs and wait until all jobs have ended, at most timeout_ns. False when some are still running then: the pool must not be freed. */
bool pool_stop(struct pool *p, int64_t timeout_ns);
/* Only after pool_stop() returned true. NULL is fine; returns NULL. */
struct pool *pool_free(struct pool *p);
/* Threads that exist now, for tests and /debug. */
size_t pool_threads(struct pool *p);

#endif
