// SPDX-License-Identifier: Apache-2.0
/*
 * attach.h - what the two ways to attach share (a hijacked connection, a websocket). Worker threads.
 */
#ifndef HATAKE_CONTAINER_ATTACH_H
#define HATAKE_CONTAINER_ATTACH_H

#include "container/container-internal.h"

struct taken;

struct ctr_attach_want {
    bool logs, stream, in, out, err;
    bool framed;      /* stdcopy frames */
    const char *keys; /* as ctr_attach_keys() gave them; NULL: the default */
};

/* detachKeys of a query → bytes of the sequence in fresh memory (unchanged *ret for none). ERR_INVALID. */
int ctr_attach_keys(const char *text, char **ret, struct err *e);
/* ERR_CONFLICT for states that cannot be attached to. */
int ctr_attach_allowed(const struct ctr_view *v, struct err *e);
/* +1 before the client sees its reply, -1 when its descriptor is where a start finds it: a start in between waits. */
void ctr_attaching(struct container *c, int change);
/* Replay the log, then hand the connection (fd and early bytes of *t) to the monitor, now or at the start. The head has been written. */
int ctr_attach_serve(struct container *c, const struct ctr_view *v, const struct ctr_attach_want *want, struct taken *t, struct err *e);

#endif
