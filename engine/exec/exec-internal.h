// SPDX-License-Identifier: Apache-2.0
/*
 * exec-internal.h - what an exec instance is; for engine/exec only.
 */
#ifndef HATAKE_EXEC_EXEC_INTERNAL_H
#define HATAKE_EXEC_EXEC_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/map.h"
#include "container/container-internal.h"
#include "exec/exec.h"
#include "monitor/launch.h"
#include "types.h"

enum exec_state { EXEC_CREATED, EXEC_RUNNING, EXEC_EXITED };

struct exec {
    atomic_int refs;
    char id[65];
    struct container *c; /* counted */
    struct api_exec_create_request want;
    struct launch_keys keys;
    /* under the lock of struct execs */
    enum exec_state state;
    bool has_exit_code;
    bool told; /* exec_die */
    int exit_code;
    int64_t pid;
    int64_t ended_mono;
};

struct execs {
    struct engine *engine;
    pthread_mutex_t lock;
    pthread_cond_t change; /* an instance changed its state */
    struct map by_id;      /* one reference each */
};

struct exec *exec_ref(struct exec *x);
struct exec *exec_unref(struct exec *x);
DEFINE_CLEANUP(struct exec *, exec_unref)
#define _cleanup_exec_ _cleanup_(exec_unrefp)

/* Make an instance in a running container; takes the contents of want. ERR_CONFLICT when the container does not run; what is said about a paused one calls it `called`. */
int execs_create(struct execs *xs, struct container *c, const char *called, struct api_exec_create_request *want, struct exec **ret, struct err *e);
/* ERR_NOT_FOUND "No such exec instance: x". */
int execs_find(struct execs *xs, const char *id, struct exec **ret, struct err *e);
/* May it be started? ERR_CONFLICT when its container does not run (asked first), it ran, or it runs. Marks it running. */
int exec_claim(struct execs *xs, struct exec *x, struct err *e);
/*
 * Start the process of a claimed instance. `client` may be NULL (detached); its descriptor belongs to the monitor afterwards. `rows`, `cols`: 0 for
 * none. On failure the instance is over, with exit code 126 or 127.
 */
int exec_run(struct execs *xs, struct exec *x, struct launch_attach *client, int rows, int cols, struct err *e);
int exec_resize(struct execs *xs, struct exec *x, int rows, int cols, struct err *e);
/* Wait a moment when its process is gone but the news of it is still on the way. */
void exec_settle(struct execs *xs, struct exec *x);

#endif
