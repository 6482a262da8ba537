// SPDX-License-Identifier: Apache-2.0
/*
 * health.h - what is known of a container's health; for engine/container only.
 *
 * The checks themselves are the monitor's (monitor/health.h). Here is the last word it said: a counted, immutable snapshot in struct container, replaced
 * as a whole under its lock, so that readers never wait. It is stored with the next row that is written (the end of a run at the latest); of a
 * running container the monitor tells it again after an engine's restart.
 */
#ifndef HATAKE_CONTAINER_HEALTH_H
#define HATAKE_CONTAINER_HEALTH_H

#include "container/container-internal.h"
#include "monitor/launch.h"

struct ctr_user;

/* Does the configuration ask for a check ("CMD", "CMD-SHELL"; "NONE" and nothing do not)? */
bool ctr_health_wanted(const struct ctr_fixed *f);
/* Counted; NULL when the container never had a check. */
struct ctr_health *container_health(struct container *c);
/* "none", "starting", "healthy", "unhealthy". */
const char *ctr_health_status(const struct ctr_health *h);
/* A run begins: starting, no failures; earlier results stay. Nothing without a check. */
void container_health_starting(struct container *c);
/* It was paused or has ended: not healthy until a check says otherwise. */
void container_health_stopped(struct container *c);
/* Put back what was before a start that failed; eats `h`. */
void container_health_restore(struct container *c, struct ctr_health *h);
/* The monitor's news of run `run`; publishes the events. Does not block. */
void container_health_probing(struct container *c, uint64_t run, const char *exec_id);
void container_health_probed(struct container *c, uint64_t run, const struct monitor_probe *p);
/* For inspect: fills *ret, to be released with api_health_done(). */
int ctr_health_fill(const struct ctr_health *h, struct api_health *ret, struct err *e);
/* For the launch: the check of a container whose document is `spec`. NULL and e unset: none. The process is the caller's to release. */
struct ctr_spec_env;
int ctr_health_launch(const struct ctr_spec_env *from, const json_t *spec, struct launch_health *ret, struct err *e);

#endif
