// SPDX-License-Identifier: Apache-2.0
/*
 * health.h - health checks inside the monitor (see watch.h): the schedule, the probes, the last results. All functions do nothing useful without a
 * plan from the daemon (MP_HEALTH_PLAN); struct health lives in health.c and costs nothing where no check was asked for.
 *
 * Rules, as the reference has them: the first probe comes one interval after the start; the next one an interval after the end of the last; in the start
 * period, before the first success, the start interval counts and failures do not; `retries` failures in a row make it unhealthy, one success
 * healthy; a pause makes it unhealthy until the next success.
 */
#ifndef HATAKE_MONITOR_HEALTH_H
#define HATAKE_MONITOR_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mon;
struct mp_head;
struct proc;

/* Take the plan (before the start). 0 or -errno. */
int health_plan(struct mon *m, const struct mp_head *q, int fd);
/* The container runs. */
void health_start(struct mon *m);
/* The timer fired: probe, or end a probe that takes too long. */
void health_timer(struct mon *m);
/* Output of the probe under way: the first LIMIT_HEALTH_OUTPUT bytes are kept. */
void health_output(struct mon *m, const char *p, size_t n);
/* The probe's process is gone and its streams were read. */
void health_ended(struct mon *m, struct proc *p);
/* The container was frozen or thawed. */
void health_pause(struct mon *m, bool pause);
/* The container is gone. */
void health_stop(struct mon *m);
/* Tell a new daemon what it may have missed. */
void health_replay(struct mon *m);
/* Leave the results beside the exit record. */
void health_record(struct mon *m);
/* Give back pages that only the next probe needs. */
void health_trim(struct mon *m);
/* A duration as Go prints it; returns its length. */
size_t health_duration(int64_t ns, char *ret, size_t max);

#endif
