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

/* ---- top.c, ps.c ------------------------------------------------------------------------------------------------------------------------- */
/* The container's processes in the columns that these arguments of ps ("" or NULL: "-ef") ask for. */
int container_top(struct container *c, const char *ps_args, struct api_container_top_response *ret, struct err *e);
/* The same made from procfs by ourselves, for the arguments most people use. */
int ctr_top_own(const struct ctr_view *v, const char *ps_args, struct api_container_top_response *ret, struct err *e);
/* Arguments that would make another column look like the process id are refused. */
int ctr_top_check(const char *ps_args, struct err *e);
/* Read what ps printed: the first line has the titles, PID among them; lines of other processes are dropped. */
int ctr_top_parse(const char *text, const int64_t *pids, size_t n_pids, struct api_container_top_response *ret, struct err *e);

/* ---- archive.c --------------------------------------------------------------------------------------------------------------------------- */
enum ctr_files { CTR_FILES_STAT, CTR_FILES_GET, CTR_FILES_PUT, CTR_FILES_EXPORT, CTR_FILES_LAYER, CTR_FILES_FOLDER };
struct ctr_path_stat {
    char *name, *target;
    int64_t size, mode; /* mode and kind as the API has them */
    int64_t mtime;      /* wall clock, ns */
};
struct ctr_files_options {
    const char *path;  /* in the container, as asked for */
    const char *shown; /* name of the container in messages, as asked for */
    bool keep_kind, own;
    bool exact; /* of a backup: everything that a file has (files.h) */
};
struct body_lent;
struct ctr_files_io {
    /* Next piece of the archive to unpack: as call_body_next(). */
    int64_t (*pull)(void *arg, const void **ret_p, struct err *e);
    /* Or the connection it is received from: as call_body_lend() and call_body_returned(). Both or NULL. */
    int (*lend)(void *arg, struct body_lent *ret, struct err *e);
    void (*returned)(void *arg, bool whole);
    /* The path is there; before any piece. */
    int (*stat)(void *arg, const struct ctr_path_stat *st, struct err *e);
    int (*piece)(void *arg, const void *p, size_t n, struct err *e);
    /* The same with n bytes that are still to be read from a pipe, which does not block. NULL: they come as a piece. */
    int (*pass)(void *arg, int pipe, size_t n, struct err *e);
    bool (*gone)(void *arg); /* nobody waits for the result any more */
    void *arg;
};
/*
 * Look at, read or write files of a container, running or not, through the helper hatake-files. Writing holds the token. ERR_NOT_FOUND "Could not find the
 * file P in container C". CTR_FILES_FOLDER makes the folder and what is missing above it in the writable layer, whatever will be mounted there; the caller
 * holds the token.
 */
int container_files(struct container *c, enum ctr_files what, const struct ctr_files_options *o, const struct ctr_files_io *io, struct err *e);

/* ---- stats.c ----------------------------------------------------------------------------------------------------------------------------- */
/*
 * One reading of a container's use of the machine; all zero when it does not run. `before` (NULL: none) becomes precpu_stats. Reads control group files
 * and procfs, nothing that waits.
 */
int container_stats(struct container *c, const struct api_container_stats_response *before, struct api_container_stats_response *ret, struct err *e);
/* The numbers of text files "name value\n" (cpu.stat, memory.stat): value of a name, or -1. */
int64_t ctr_stat_value(const char *text, const char *name);
/* Bytes read and written by each device of an io.stat of v2. A device that only has a limit is a line without counters: it counts as zero. */
int ctr_stat_devices(const char *text, struct api_stats_blkio *io, struct err *e);

#endif
