// SPDX-License-Identifier: Apache-2.0
/*
 * exec.h - exec instances: further processes in running containers.
 *
 * An instance is made by POST /containers/{id}/exec, runs once, and is forgotten some time after its end or with its container. It lives in memory
 * only: an engine that was restarted does not know earlier instances, as the reference.
 *
 * Threads: any. execs_exited() is called on the monitors' thread and does not block.
 */
#ifndef HATAKE_EXEC_EXEC_H
#define HATAKE_EXEC_EXEC_H

#include <stdbool.h>

#include "base/engine.h"
#include "base/err.h"

struct container;
struct execs;

int execs_new(struct engine *engine, struct execs **ret, struct err *e);
/* NULL is fine; returns NULL. */
struct execs *execs_free(struct execs *x);

/* The process of an instance ended (its output is queued to its clients already). */
void execs_exited(struct execs *x, struct container *c, const char *exec_id, int code);
/* The container ended: all its instances with it. */
void execs_container_ended(struct execs *x, struct container *c);
/* The container was removed: its instances are forgotten. */
void execs_container_removed(struct execs *x, struct container *c);

#endif
