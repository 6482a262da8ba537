// SPDX-License-Identifier: Apache-2.0
/*
 * more.h - what can be learned from and done to a container besides its life cycle: processes, changes, files, limits, readings. Any thread; all block.
 * Errors carry the reference's texts.
 */
#ifndef HATAKE_CONTAINER_MORE_H
#define HATAKE_CONTAINER_MORE_H

#include "base/strv.h"
#include "container/container-internal.h"

/* ---- cgroups.c --------------------------------------------------------------------------------------------------------------------------- */
/* Path of a container's control group below every mount ("/docker/<id>"): fresh memory, NULL when memory ran out. */
char *ctr_cgroup_path(const struct engine_config *config, const struct ctr_fixed *f);
#define CTR_PIDS_MAX 65536
/* All processes in the group and the groups below it, as the engine sees them: at most CTR_PIDS_MAX, fresh memory. A group that is gone gives none. */
int ctr_cgroup_pids(const char *path, int64_t **ret, size_t *ret_n, struct err *e);

/* ---- top.c ------------------------------------------------------------------------------------------------------------------------------- */
/* Run the machine's ps with these arguments ("" or NULL: "-ef") and keep the lines of the container's processes. */
int container_top(struct container *c, const char *ps_args, struct api_container_top_response *ret, struct err *e);
/* Arguments that would make another column look like the process id are refused. */
int ctr_top_check(const char *ps_args, struct err *e);
/* Read what ps printed: the first line has the titles, PID among them; lines of other processes are dropped. */
int ctr_top_parse(const char *text, const int64_t *pids, size_t n_pids, struct api_container_top_response *ret, struct err *e);

#endif
