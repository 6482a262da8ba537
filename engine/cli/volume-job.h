// SPDX-License-Identifier: Apache-2.0
/*
 * volume-job.h - what backup and restore of volumes have in common: a way to a volume's files over the API alone, who uses it, and an orderly end.
 *
 * The API has no archive of a volume, but one of a container's files, also of a container that never runs. So a job has a helper: a container without a
 * process, of an image without a file, in which the volume is mounted at /v. Both are made for the job and removed after it. Every engine of the API can
 * do this; one of this project's gives archives that leave nothing out (parameter hatake-exact).
 *
 * Life cycle: job_init(), job_mount() or job_freeze() as needed, job_run(), job_done() (on every way out). From job_init() on, signals that would
 * end the program wait: job_run() ends early on them, and what was made is taken away again. Threads: one.
 */
#ifndef HATAKE_CLI_VOLUME_JOB_H
#define HATAKE_CLI_VOLUME_JOB_H

#include <jansson.h>
#include <signal.h>

#include "base/buf.h"
#include "base/strv.h"
#include "cli/cli.h"

#define JOB_LABEL "hatake.volume" /* on helpers: the volume */
#define JOB_BLOCK ((size_t)256 << 10)

struct job {
    const struct cli *c;
    bool ours;                   /* an engine of this project */
    sigset_t before, waiting;    /* signals */
    struct buf image, container; /* ids of what was made; empty: not yet */
    struct strv frozen;          /* ids of containers that this job paused */
    struct strv still;           /* those and the ones that were paused anyway */
};

int job_init(struct job *j, const struct cli *c, struct err *e);
/* Unpause, remove the helper. What does not work is told on standard error. Can be called again. */
void job_done(struct job *j);

/* Mount the volume in a helper; name NULL: any name. ERR_CONFLICT when there is a container of that name. */
int job_mount(struct job *j, const char *volume, const char *name, bool read_only, struct err *e);
/* Remove the helper, so that nobody holds the volume. */
void job_unmount(struct job *j);
/* "/containers/ID/archive?path=<path>" of the helper, exact where the engine can. */
int job_archive_path(const struct job *j, const char *path, struct buf *ret, struct err *e);

/*
 * The running containers that have the volume, `writers`: only those that may write to it and are not paused. An array of list entries, to be
 * json_decref'd.
 */
int job_users(const struct job *j, const char *volume, bool writers, json_t **ret, struct err *e);
/* Names of such containers, joined by ", ". Fresh memory. */
char *job_names(const json_t *users);
/* Pause all that may write to the volume; remember them and those that are paused already. */
int job_freeze(struct job *j, const char *volume, struct err *e);
/* The engine's time, as `since` and `until` of GET /events want it. */
int job_time(const struct job *j, char ret[40], struct err *e);
/* ERR_CONFLICT when anybody may have written to the volume since then: was started with it, or went on. */
int job_check_quiet(const struct job *j, const char *volume, const char *since, struct err *e);

/*
 * Do the work in a process of its own, so that a signal can end it anywhere. 0: done; above 0: this program's exit code, the reason was told already.
 */
int job_run(struct job *j, int (*work)(void *arg, struct err *e), void *arg, struct err *e);

#endif
