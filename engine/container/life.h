// SPDX-License-Identifier: Apache-2.0
/*
 * life.h - the life cycle operations of a container, as the API, restart policies and shutdown ask for them. Any thread; each takes the token itself
 * unless its comment says that the caller holds it. Errors carry the reference's texts.
 */
#ifndef HATAKE_CONTAINER_LIFE_H
#define HATAKE_CONTAINER_LIFE_H

#include "container/container-internal.h"

/* Start: ERR_NOT_MODIFIED when it runs, ERR_CONFLICT when it is paused or being removed; otherwise what launching said (126/127 in the record). */
int container_start(struct container *c, struct err *e);
/* Start with the token held, from any state that allows it. `h` is changed to the state reached. */
int container_start_held(struct ctr_held *h, struct err *e);
/*
 * Ask it to end: `signal` (0: its own stop signal), then SIGKILL after `timeout` seconds (negative: never; INT64_MIN: its own timeout). ERR_NOT_MODIFIED when it
 * does not run.
 */
int container_stop(struct container *c, int signal, int64_t timeout, struct err *e);
#define CTR_TIMEOUT_OWN INT64_MIN
int container_restart(struct container *c, int signal, int64_t timeout, struct err *e);
/* Send a signal; for SIGKILL wait until it is gone. */
int container_kill(struct container *c, int signal, struct err *e);
int container_pause(struct container *c, struct err *e);
int container_unpause(struct container *c, struct err *e);
int container_rename_op(struct container *c, const char *name, struct err *e);
int container_remove(struct container *c, bool force, bool volumes, struct err *e);
int container_resize(struct container *c, int rows, int cols, struct err *e);

/* With the token held: the process has ended / the container is to go away by itself. */
void container_apply_exit(struct container *c, const struct ctr_facts *facts);
void container_auto_remove(struct container *c);
/* Remove the record and what belongs to it. The token is held; the state is created, exited or dead. */
int container_remove_held(struct ctr_held *h, bool volumes, struct err *e);

/* Undo what joins a container to the machine while it runs: endpoints, volume uses. The token is held. */
void container_unplug(struct container *c);
/* The monitor's events, and the argument that goes with them (a counted note of which run it is). */
extern const struct monitor_events container_monitor_events;
struct ctr_run;
struct ctr_run *ctr_run_new(struct container *c, uint64_t number);
void ctr_run_free(struct ctr_run *r);
/* The monitor of the present run, counted; ERR_CONFLICT "Container x is not running" when there is none. */
int container_monitor(struct container *c, struct monitor **ret, struct err *e);
DEFINE_CLEANUP(struct monitor *, monitor_unref)
#define _cleanup_monitor_ _cleanup_(monitor_unrefp)

/* Hand a waiting client over to the monitor, or keep it for the start. Takes the client. */
int container_attach_client(struct container *c, struct ctr_client *client, struct err *e);
/* The signal that asks this container to end. */
int ctr_signal_of(const struct ctr_fixed *f);
/* Does a restart policy want it up again after this exit? */
bool ctr_wants_restart(const struct api_restart_policy *p, int exit_code, int64_t count, bool by_user);
/* Back-off: the delay after one that was `last` ns, for a run that lasted `ran` ns. */
int64_t ctr_next_backoff(int64_t last, int64_t ran);
/* After a start of the engine: restart what its policy wants up. */
void container_boot_restart(struct container *c);

#endif
