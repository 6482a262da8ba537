// SPDX-License-Identifier: Apache-2.0
#include "container/state.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "container/container-internal.h"

#define NAME(state) [ctr_##state] = #state,
static const char *const names[_CTR_STATE_MAX] = {CTR_STATES(NAME)};
#undef NAME

static const struct {
    enum ctr_state from, to;
} rows[] = {
#define ROW(verb, from, to) {ctr_##from, ctr_##to},
    CTR_ROWS(ROW)
#undef ROW
};

bool ctr_may_go(enum ctr_state from, enum ctr_state to) {
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        if (rows[i].from == from && rows[i].to == to)
            return true;
    return false;
}

const char *ctr_state_name(enum ctr_state s) {
    return names[s];
}

bool ctr_state_parse(const char *name, enum ctr_state *ret) {
    for (enum ctr_state s = 0; s < ctr_gone; s++)
        if (streq(names[s], name)) {
            *ret = s;
            return true;
        }
    return false;
}

/* ---- proofs: the only casts ----------------------------------------------------------------------------------------------- */
struct container *ctr_of(const void *proof) {
    return (struct container *)proof;
}

static void fill_held(struct container *c, struct ctr_held *h) {
    *h = CTR_HELD_INIT;
    h->state = c->view->state;
    h->c = c;
    switch (h->state) {
#define PROOF(st)                                                                                                                                    \
    case ctr_##st:                                                                                                                                   \
        h->st = (struct is_##st *)c;                                                                                                                 \
        break;
        CTR_STATES(PROOF)
#undef PROOF
    case ctr_gone:
    case _CTR_STATE_MAX:
        break;
    }
}

static int held_or_gone(struct container *c, struct ctr_held *ret, struct err *e) {
    if (c->gone) {
        container_token_drop(c);
        return err_set(e, ERR_NOT_FOUND, "No such container: %s", c->id);
    }
    container_ref(c);
    fill_held(c, ret);
    return 0;
}

int ctr_hold(struct container *c, struct ctr_held *ret, struct err *e) {
    container_token_take(c);
    return held_or_gone(c, ret, e);
}

int ctr_try_hold(struct container *c, struct ctr_held *ret, struct err *e) {
    if (!container_token_try(c))
        return 1;
    return held_or_gone(c, ret, e);
}

void ctr_let_go(void *slot) {
    struct container *c;

    /* All struct pointers have one representation; reading the slot through another type would break the aliasing rules. */
    memcpy(&c, slot, sizeof(void *));
    if (!c)
        return;
    memset(slot, 0, sizeof(void *));
    container_token_drop(c);
    container_unref(c);
}

void ctr_held_done(struct ctr_held *h) {
#define DROP(st)                                                                                                                                     \
    if (h->st)                                                                                                                                       \
        ctr_let_go(&h->st);
    CTR_STATES(DROP)
    DROP(gone)
#undef DROP
}

void ctr_held_inside(struct container *c, struct ctr_held *ret) {
    container_ref(c);
    fill_held(c, ret);
}

void ctr_held_inside_done(struct container *c, struct ctr_held *h) {
    *h = CTR_HELD_INIT;
    container_unref(c);
}

/* ---- what each verb changes -------------------------------------------------------------------------------------------------- */
static void ended(struct ctr_view *v, const struct ctr_facts *f) {
    v->pid = 0;
    v->pid_ticks = 0;
    v->exit_code = f->exit_code;
    v->oom = f->oom;
    v->finished_at = f->at;
}

static int set_error(struct ctr_view *v, const struct ctr_facts *f) {
    return str_set(&v->error, f->error ? f->error : "");
}

static int change_start(struct ctr_view *v, const struct ctr_facts *f) {
    v->pid = f->pid;
    v->pid_ticks = f->pid_ticks;
    v->started_at = f->at;
    v->exit_code = 0;
    v->oom = false;
    v->ever_started = true;
    v->restart_count = f->again ? v->restart_count : 0;
    v->has_files = !(v->fixed->config.has_network_disabled && v->fixed->config.network_disabled);
    v->has_hostname = true;
    return set_error(v, f);
}

static int change_die(struct ctr_view *v, const struct ctr_facts *f) {
    ended(v, f);
    return set_error(v, f);
}

static int change_retry(struct ctr_view *v, const struct ctr_facts *f) {
    ended(v, f);
    v->restart_count++;
    return 0;
}

static int change_give_up(struct ctr_view *v, const struct ctr_facts *f) {
    if (f->at)
        ended(v, f);
    return set_error(v, f);
}

static int change_bury(struct ctr_view *v, const struct ctr_facts *f) {
    return set_error(v, f);
}

static int change_nothing(struct ctr_view *v, const struct ctr_facts *f) {
    return 0;
}
#define change_pause change_nothing
#define change_resume change_nothing
#define change_remove change_nothing

/*
 * One step. The end of a process is a fact: the view changes at once, whoever waits is told, and only then the row is written by the caller
 * (container_store_update). What a crash in between loses, the next engine learns from the monitor's record.
 */
static int step(struct container *c, enum ctr_state from, enum ctr_state to, int (*change)(struct ctr_view *, const struct ctr_facts *), bool fact,
                const struct ctr_facts *f, struct err *e) {
    struct ctr_view *v;

    assert(c && c->view->state == from && ctr_may_go(from, to));
    v = container_edit(c);
    if (!v)
        return err_oom(e);
    v->state = to;
    if (change(v, f) < 0) {
        ctr_view_unref(v);
        return err_oom(e);
    }
    if (fact) {
        container_publish(c, v);
        return 0;
    }
    return container_commit(c, v, e);
}

static int forget(struct container *c, struct err *e) {
    assert(c && c->view->state == ctr_removing);
    return container_erase(c, e);
}

static bool is_fact(enum ctr_state to) {
    return to == ctr_exited || to == ctr_restarting || to == ctr_removing || to == ctr_dead;
}

#define VERB(verb, from, to)                                                                                                                         \
    int ctr_##verb##_##from(struct is_##from **eaten, struct is_##to **ret_next, const struct ctr_facts *facts, struct err *e) {                     \
        struct container *c = (struct container *)*eaten;                                                                                            \
        int r = step(c, ctr_##from, ctr_##to, change_##verb, is_fact(ctr_##to), facts, e);                                                           \
                                                                                                                                                     \
        if (r < 0)                                                                                                                                   \
            return r;                                                                                                                                \
        *eaten = NULL;                                                                                                                               \
        *ret_next = (struct is_##to *)c;                                                                                                             \
        return 0;                                                                                                                                    \
    }
START_ROWS(VERB)
PAUSE_ROWS(VERB)
RESUME_ROWS(VERB)
DIE_ROWS(VERB)
RETRY_ROWS(VERB)
GIVE_UP_ROWS(VERB)
REMOVE_ROWS(VERB)
BURY_ROWS(VERB)

int ctr_forget_removing(struct is_removing **eaten, struct is_gone **ret_next, const struct ctr_facts *facts, struct err *e) {
    struct container *c = (struct container *)*eaten;
    int r = forget(c, e);

    if (r < 0)
        return r;
    *eaten = NULL;
    *ret_next = (struct is_gone *)c;
    return 0;
}
