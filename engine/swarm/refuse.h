// SPDX-License-Identifier: Apache-2.0
/*
 * refuse.h - the answers of an engine that belongs to no swarm.
 *
 * Clients ask for swarm, nodes, services, tasks, secrets and configs without knowing whether there is a swarm. Each operation reads its request as it would
 * inside one (so a wrong body or parameter is told first, as in the reference) and then says that this node is no manager.
 * Threads: pure functions on the call.
 */
#ifndef HATAKE_SWARM_REFUSE_H
#define HATAKE_SWARM_REFUSE_H

#include "base/err.h"

struct call;

/*
 * Read the operation's JSON body into its generated struct and forget it. 0, also without a body or for an operation that takes none; ERR_INVALID with the
 * reference's text when it does not fit.
 */
int refuse_read_body(struct call *c, struct err *e);
/* ERR_INVALID when the text of a `filters` parameter is not a filter (NULL is fine). */
int refuse_read_filters(const char *text, struct err *e);
/* ERR_UNAVAILABLE with the text every client knows. */
int refuse_no_manager(struct err *e);

#endif
