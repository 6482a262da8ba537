// SPDX-License-Identifier: Apache-2.0
/*
 * visit.h - the volumes of a container whose files are worked on from outside (archives in and out). A volume with a file system of its own is mounted only
 * while it is used, so that of a container that does not run would be found empty. Any thread; a visit belongs to its caller.
 */
#ifndef HATAKE_CONTAINER_VISIT_H
#define HATAKE_CONTAINER_VISIT_H

#include "base/err.h"

struct container;
struct ctr_fixed;
struct ctr_visited;

struct ctr_visit {
    struct container *c; /* the caller's reference */
    size_t n;
    struct ctr_visited *v;
};
#define CTR_VISIT_INIT ((struct ctr_visit){0})

/* Mount what the volumes of `f` need, and publish `mount` for each. After an error nothing is mounted; errors are those of volumes_mount_at(). */
int ctr_visit_begin(struct ctr_visit *visit, struct container *c, const struct ctr_fixed *f, struct err *e);
/* Where the volume of the mount with this index is to be bound from; NULL: the visit has none. */
const char *ctr_visit_source(const struct ctr_visit *visit, size_t mount);
/* Ends all uses and publishes `unmount`. Idempotent. */
void ctr_visit_end(struct ctr_visit *visit);

#endif
