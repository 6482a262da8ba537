// SPDX-License-Identifier: Apache-2.0
/*
 * freezing.h - keeps the kernel prepared to freeze, while containers are being paused.
 *
 * Freezing by a v1 group hangs on one switch of the whole machine: whether any group is frozen. The kernel turns it on for the first and off after the last
 * by changing its own code on all processors, and the one who freezes or thaws waits for that: ten times the rest of the work, and longest where processors
 * sleep. So, after a container was paused or let go on, an empty group of ours stays frozen for some seconds: who pauses, lets go on soon, and pauses again.
 * The unified hierarchy (v2) has no such switch, and nothing is done there.
 *
 * What it leaves: nothing. The group ("/hatake-freezing", the same for all engines of a machine) goes when the seconds are over, when the engine ends, and
 * at the start of the next one after a crash. Nothing is ever in it. Threads: any.
 */
#ifndef HATAKE_CONTAINER_FREEZING_H
#define HATAKE_CONTAINER_FREEZING_H

#include "base/err.h"

struct ctr_freezing;
struct ctr_reaper;
struct loop;

/* Takes away what an engine that was killed left behind. Uses the loop and the reaper, which live on until the reaper has ended and no longer. */
int ctr_freezing_new(struct loop *loop, struct ctr_reaper *reaper, struct ctr_freezing **ret, struct err *e);
/* With the loop stopped and the reaper ended. NULL is fine; returns NULL. */
struct ctr_freezing *ctr_freezing_free(struct ctr_freezing *f);
/* A container was frozen or thawed. Waits for nothing. */
void ctr_freezing_used(struct ctr_freezing *f);

#endif
