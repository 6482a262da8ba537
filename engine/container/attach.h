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
    bool framed; /* stdcopy frames */
    struct launch_keys keys;
};

/* detachKeys of a query → the sequence (*ret unchanged for none). ERR_INVALID. */
int ctr_attach_keys(const char *text, struct launch_keys *ret, struct err *e);
/* ERR_CONFLICT for states that cannot be attached to; `asked` is the container as the client calls it. */
int ctr_attach_allowed(const struct ctr_view *v, const char *asked, struct err *e);
/*
 * Begin before the client sees its reply, end when its descriptor is where output finds it. Whoever has a reply may start the container or send it input:
 * a start, and the next client's begin, wait for those in between (the wait: with c's lock held; at most a second, for clients that have no room).
 */
void ctr_attaching_begin(struct container *c);
void ctr_attaching_end(struct container *c);
void ctr_attaching_wait(struct container *c);
/* Replay the log, then hand the connection (fd and early bytes of *t) to the monitor, now or at the start. The head has been written. */
int ctr_attach_serve(struct container *c, const struct ctr_view *v, const struct ctr_attach_want *want, struct taken *t, struct err *e);

#endif
