// SPDX-License-Identifier: Apache-2.0
/*
 * departed.h - how containers ended that were removed by themselves (AutoRemove) a moment ago.
 *
 * Their removal follows their end within a millisecond. A client that starts one and then asks for `wait` would come too late, and never learn the exit
 * code; where removing takes longer it would not. So the code is kept for a few seconds, for `wait` alone: everything else says that the container is gone.
 *
 * The newest LIMIT_DEPARTED are kept. Any thread may call. A container removed on somebody's order is not one of them.
 */
#ifndef HATAKE_CONTAINER_DEPARTED_H
#define HATAKE_CONTAINER_DEPARTED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define DEPARTED_SECONDS 10

struct departed;

/* -ENOMEM. */
int departed_new(struct departed **ret, struct err *e);
/* Takes NULL; returns NULL. */
struct departed *departed_free(struct departed *d);
/* Remember; `now`: monotonic, ns. Without memory it is forgotten, as it would be a little later. Takes NULL. */
void departed_add(struct departed *d, const char *id, const char *name, int exit_code, int64_t now);
/* By id, by 12 or more of its first digits, or by name (with or without a slash): the newest that fits and is not too old. Takes NULL. */
bool departed_find(struct departed *d, const char *ref, int64_t now, int *ret_exit_code);

#endif
