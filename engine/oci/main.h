// SPDX-License-Identifier: Apache-2.0
/* main.h - the files of the hatake-runtime program; nobody else includes it. */
#ifndef HATAKE_OCI_MAIN_H
#define HATAKE_OCI_MAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/strv.h"
#include "oci/build.h"
#include "oci/exec.h"

/* Options of all commands, as runc names them; a command uses what it knows. */
struct options {
    const char *root, *log, *log_format;
    const char *bundle, *pid_file, *console_socket, *process, *cwd, *user, *resources, *format;
    bool detach, tty, force, all, quiet, no_pivot, no_new_privs;
    struct strv env;
    const char *id; /* first argument */
    char **args;    /* the rest */
    int n_args;
};

/* What is kept of a container in <root>/<id>/state.json, and its plan beside it. */
struct container {
    char dir[512];
    char id[256], bundle[4096], created[64], rootfs[4096];
    pid_t pid;
    uint64_t ticks; /* start time of the process: tells it from a later one with its number */
    json_t *annotations, *spec;
    void *block;
    struct plan plan;
};

/* main-state.c */
int container_dir(const struct options *o, char *ret, size_t cap, struct err *e);
int container_store(const struct container *c, const void *block, size_t n, struct err *e);
int container_load(const struct options *o, struct container *c, struct err *e);
void container_done(struct container *c);
/* "creating", "created", "running", "paused", "stopped" */
const char *container_status(const struct container *c);
uint64_t process_ticks(pid_t pid);

/* main-run.c */
int cmd_create(const struct options *o, struct err *e);
int cmd_run(const struct options *o, struct err *e);
int cmd_start(const struct options *o, struct err *e);
int cmd_exec(const struct options *o, struct err *e);
int cmd_delete(const struct options *o, struct err *e);
int cmd_plan(const struct options *o, struct err *e);

/* main-info.c */
int cmd_spec(const struct options *o, struct err *e);
int cmd_features(const struct options *o, struct err *e);
int cmd_list(const struct options *o, struct err *e);
int cmd_state(const struct options *o, struct err *e);
int cmd_ps(const struct options *o, struct err *e);
int cmd_kill(const struct options *o, struct err *e);
int cmd_pause(const struct options *o, struct err *e);
int cmd_resume(const struct options *o, struct err *e);
int cmd_update(const struct options *o, struct err *e);

#endif
