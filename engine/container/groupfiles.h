// SPDX-License-Identifier: Apache-2.0
/*
 * groupfiles.h - the files of a container's control groups that statistics are read from, kept open between two readings.
 *
 * Opening such a file is most of the work of reading it, and whoever asks for statistics does so again: each second for each container that is watched. So
 * an open set of files is kept for some seconds after its last use; at most GROUP_FILES_KEPT sets (13 files each), those used last.
 *
 * The same for what all containers have in common: the machine's own time is counted in ticks, so one reading serves all within a tick.
 *
 * Use: group_files_take() gives one container's set, which is the caller's alone; any number of group_files_text(); group_files_put(). A set is of one run
 * of a container, whose groups go with it; the set of an earlier run is never given out. Threads: any, each with sets of its own.
 */
#ifndef HATAKE_CONTAINER_GROUPFILES_H
#define HATAKE_CONTAINER_GROUPFILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define GROUP_FILES_KEPT 64

struct group_cache;
struct group_files;
struct loop;

enum group_file {
    GROUP_PIDS_CURRENT,
    GROUP_PIDS_MAX,
    GROUP_CPU_STAT,
    /* v1 */
    GROUP_CPUACCT_STAT,
    GROUP_CPUACCT_PERCPU,
    GROUP_MEMORY_USAGE,
    GROUP_MEMORY_MOST,
    GROUP_MEMORY_FAILURES,
    GROUP_MEMORY_LIMIT,
    GROUP_MEMORY_STAT, /* v2, too */
    GROUP_BLKIO_BYTES,
    GROUP_BLKIO_TIMES,
    /* v2 */
    GROUP_MEMORY_CURRENT,
    GROUP_MEMORY_MAX,
    GROUP_MEMORY_EVENTS,
    GROUP_IO_STAT,
    GROUP_FILES
};

/* The loop lives longer than the cache and is not running any more when it is freed. */
int group_cache_new(struct loop *loop, struct group_cache **ret, struct err *e);
/* NULL is fine; returns NULL. */
struct group_cache *group_cache_free(struct group_cache *c);

/* The set of the run that began at `run` (any number that no other run of that container has), whose groups are at `path` in each hierarchy. */
int group_files_take(struct group_cache *c, const char *id, int64_t run, const char *path, struct group_files **ret, struct err *e);
/* Give it back; NULL is fine. */
void group_files_put(struct group_cache *c, struct group_files *g);
bool group_files_v2(const struct group_files *g);
/* Contents of a file now, until the next call for this set; "" when there is none. */
const char *group_files_text(struct group_files *g, enum group_file file);
int64_t group_files_number(struct group_files *g, enum group_file file);

/* Time that the machine's processors have spent, idle or not, in nanoseconds, and how many there are; both as they were at most one tick ago. */
void group_cache_machine(struct group_cache *c, int64_t *ret_ns, int64_t *ret_online);

#endif
