// SPDX-License-Identifier: Apache-2.0
/*
 * events.h - the event bus: what happened to containers, images, networks and volumes, told to everyone who listens.
 *
 * Publishing writes the event's JSON once, keeps it among the last LIMIT_EVENT_BACKLOG for `since`, and hands it to the stream loop,
 * which writes it to the clients it matches. A publisher never waits for a client. A client that does not read is dropped.
 *
 * Threads: events_publish() and events_listeners() from any thread. Order: every client sees events in the order of publishing.
 * Life cycle: events_new once the loop exists; events_free after the loop has stopped.
 */
#ifndef HATAKE_SYSTEM_EVENTS_H
#define HATAKE_SYSTEM_EVENTS_H

#include <stdint.h>

#include "base/err.h"
#include "base/strv.h"
#include "wire/filters.h"

struct events;
struct loop;
struct taken;

int events_new(struct loop *loop, struct events **ret, struct err *e);
struct events *events_free(struct events *ev);

/*
 * Tell that `action` happened to the object `actor_id` of `type` ("container", "image", "network", "volume", "daemon", "builder"). attrs: KEY=VALUE strings, copied;
 * NULL for none. An event that cannot be made for lack of memory is logged and lost.
 */
void events_publish(struct events *ev, const char *type, const char *action, const char *actor_id, const struct strv *attrs);

/* Clients listening now. */
int64_t events_listeners(struct events *ev);

/* The number of the newest event: what is published after this call has a higher one. */
uint64_t events_mark(struct events *ev);

/*
 * Serve one client: what was published after `mark` (taken before the head was written: whoever has read the head misses nothing that it causes), past
 * events from `since_ns` (0: none are replayed unless until is given), then new ones until `until_ns` (wall clock ns; 0: for ever) or the client goes
 * away. Takes over *conn (its head already written) and *filters on success. Any thread.
 */
int events_serve(struct events *ev, struct taken *conn, struct filters *filters, uint64_t mark, int64_t since_ns, int64_t until_ns, struct err *e);

#endif
