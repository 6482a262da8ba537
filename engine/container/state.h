// SPDX-License-Identifier: Apache-2.0
/*
 * state.h - the states of a container as types: a transition that is not in the table does not compile.
 *
 * A proof (`struct is_running *`) means: this thread holds that container's token and has seen it in that state. Verbs exist only
 * for legal pairs; each eats the old proof and returns a new one. On success `*eaten` is NULL and `*ret_next` is set; on failure
 * neither changes, so the caller still owns a truthful proof. Proofs are the same object in disguise: only state.c casts.
 *
 * The token keeps two life cycle operations of one container apart. Readers never need it: they look at immutable views
 * (container-internal.h). The process may die while a thread holds is_running: the exit is then noted and applied when
 * the token is let go.
 *
 * Rules: every proof is declared with LEASE and never copied into another variable. The tables below are the only list: the verbs, ctr_may_go(), the
 * names, the diagram in README.md and the snippets of nocompile/ come from them.
 */
#ifndef HATAKE_CONTAINER_STATE_H
#define HATAKE_CONTAINER_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct container;
struct containers;
struct ctr_facts;

#define LEASE _cleanup_(ctr_let_go)

/* S(state): the states that records can be in, in the words of the API. */
#define CTR_STATES(S) S(created) S(running) S(paused) S(restarting) S(exited) S(removing) S(dead)

/* R(verb, from, to). `gone` is no state of a record: the record does not exist any more. */
#define START_ROWS(R) R(start, created, running) R(start, exited, running) R(start, restarting, running)
#define PAUSE_ROWS(R) R(pause, running, paused)
#define RESUME_ROWS(R) R(resume, paused, running)
#define DIE_ROWS(R) R(die, running, exited) R(die, paused, exited)
#define RETRY_ROWS(R) R(retry, running, restarting) R(retry, paused, restarting)
#define GIVE_UP_ROWS(R) R(give_up, restarting, exited)
#define REMOVE_ROWS(R) R(remove, created, removing) R(remove, exited, removing) R(remove, dead, removing)
#define BURY_ROWS(R) R(bury, removing, dead)
#define FORGET_ROWS(R) R(forget, removing, gone)
#define CTR_ROWS(R) START_ROWS(R) PAUSE_ROWS(R) RESUME_ROWS(R) DIE_ROWS(R) RETRY_ROWS(R) GIVE_UP_ROWS(R) REMOVE_ROWS(R) BURY_ROWS(R) FORGET_ROWS(R)

#define CTR_ENUM(state) ctr_##state,
enum ctr_state { CTR_STATES(CTR_ENUM) ctr_gone, _CTR_STATE_MAX };
#undef CTR_ENUM

#define CTR_TAG(state) struct is_##state;
CTR_STATES(CTR_TAG)
CTR_TAG(gone)
#undef CTR_TAG

/* Facts that come with a transition; each verb reads what its comment in state.c names. Zero-initialise. */
struct ctr_facts {
    int64_t at;         /* wall clock, ns: of the start or of the end */
    int64_t pid;        /* start: process id of the init process in our pid namespace */
    uint64_t pid_ticks; /* start: its start time (field 22 of /proc/PID/stat), so that a reused id is noticed */
    int exit_code;      /* die, retry, give_up */
    bool oom;           /* die, retry */
    bool again;         /* start: by the restart policy; else the restarts are counted from 0 */
    bool lost;          /* die, retry: nobody saw the end; what is left of the run must be cleared */
    const char *error;  /* die, give_up, bury: text for State.Error; NULL: none */
};

/*
 * The verbs: int ctr_<verb>_<from>(eaten, ret_next, facts, e). start, pause, resume and forget are durable when they return 0 (one write-ahead log
 * append). The others tell facts (the process has ended) or begin a removal: they change the view, and the caller writes the row afterwards.
 */
#define CTR_PROTO(verb, from, to)                                                                                                                    \
    MUST_USE int ctr_##verb##_##from(struct is_##from **eaten, struct is_##to **ret_next, const struct ctr_facts *facts, struct err *e);
CTR_ROWS(CTR_PROTO)
#undef CTR_PROTO

#define CTR_ARM(verb, from, to) , struct is_##from ** : ctr_##verb##_##from
#define ctr_start(eaten, next, facts, e) _Generic((eaten)START_ROWS(CTR_ARM))(eaten, next, facts, e)
#define ctr_pause(eaten, next, facts, e) _Generic((eaten)PAUSE_ROWS(CTR_ARM))(eaten, next, facts, e)
#define ctr_resume(eaten, next, facts, e) _Generic((eaten)RESUME_ROWS(CTR_ARM))(eaten, next, facts, e)
#define ctr_die(eaten, next, facts, e) _Generic((eaten)DIE_ROWS(CTR_ARM))(eaten, next, facts, e)
#define ctr_retry(eaten, next, facts, e) _Generic((eaten)RETRY_ROWS(CTR_ARM))(eaten, next, facts, e)
#define ctr_give_up(eaten, next, facts, e) _Generic((eaten)GIVE_UP_ROWS(CTR_ARM))(eaten, next, facts, e)
#define ctr_remove(eaten, next, facts, e) _Generic((eaten)REMOVE_ROWS(CTR_ARM))(eaten, next, facts, e)
#define ctr_bury(eaten, next, facts, e) _Generic((eaten)BURY_ROWS(CTR_ARM))(eaten, next, facts, e)
#define ctr_forget(eaten, next, facts, e) _Generic((eaten)FORGET_ROWS(CTR_ARM))(eaten, next, facts, e)

/* What a holder got: `state`, and exactly the proof of that state. */
#define CTR_SLOT(state) struct is_##state *state;
struct ctr_held {
    enum ctr_state state;
    struct container *c; /* for looking things up; valid while the lease lasts */
    CTR_STATES(CTR_SLOT)
    CTR_SLOT(gone)
};
#undef CTR_SLOT
#define CTR_HELD_INIT ((struct ctr_held){.state = ctr_gone})
#define LEASE_ANY _cleanup_(ctr_held_done)

/*
 * Wait for the token of a container and say in which state it is. `c` is a counted reference of the caller. ERR_NOT_FOUND when the container went away
 * meanwhile. Blocks while another operation of the same container runs.
 */
MUST_USE int ctr_hold(struct container *c, struct ctr_held *ret, struct err *e);
/* The same without waiting: 0 held, 1 somebody else has it, <0 error. */
MUST_USE int ctr_try_hold(struct container *c, struct ctr_held *ret, struct err *e);
void ctr_held_done(struct ctr_held *h);
/* Cleanup of LEASE: takes the address of a proof; lets the token go when the proof is not NULL. */
void ctr_let_go(void *slot);
/*
 * For code that already runs with the token (what container_token_drop() calls): proofs without taking it again. End with ctr_held_inside_done(), which
 * forgets them; never let them reach a LEASE.
 */
void ctr_held_inside(struct container *c, struct ctr_held *ret);
void ctr_held_inside_done(struct container *c, struct ctr_held *h);
/* The container behind any proof. Never NULL for a valid proof. */
struct container *ctr_of(const void *proof);

/* May a record go from one state to the other in one step? Used when rows are loaded and for the tests of the answers. */
bool ctr_may_go(enum ctr_state from, enum ctr_state to);
/* "created" ... ; NULL for ctr_gone. */
const char *ctr_state_name(enum ctr_state s);
/* The other way round; false for unknown names. */
bool ctr_state_parse(const char *name, enum ctr_state *ret);

#endif
