// SPDX-License-Identifier: Apache-2.0
/*
 * reaper.h - answer first, tidy later: a bounded queue of work that nobody waits for, done by a few threads.
 *
 * The queue holds at most REAPER_MAX jobs; when it is full the caller does the job itself, so nothing is ever dropped. What a job would undo
 * is in the journal or in the records, so a crash before it ran loses nothing. ctr_reaper_drain() waits until all work put in before it is done.
 */
#ifndef HATAKE_CONTAINER_REAPER_H
#define HATAKE_CONTAINER_REAPER_H

#include <stddef.h>

#include "base/err.h"

#define REAPER_MAX 1024
#define REAPER_THREADS 4

struct ctr_reaper;

int ctr_reaper_new(struct ctr_reaper **ret, struct err *e);
/* Drains, then ends the thread. NULL is fine; returns NULL. */
struct ctr_reaper *ctr_reaper_free(struct ctr_reaper *r);
/* Run fn(arg) soon, on one of the reaper's threads; at once, on this one, when the queue is full. Jobs may block. */
void ctr_reaper_put(struct ctr_reaper *r, void (*fn)(void *arg), void *arg);
size_t ctr_reaper_pending(struct ctr_reaper *r);
void ctr_reaper_drain(struct ctr_reaper *r);

#endif
