// SPDX-License-Identifier: Apache-2.0
/*
 * shm.h - the shared-memory folder of containers whose IPC namespace others may join (IpcMode "shareable"): a tmpfs of the engine's own at
 * <data root>/containers/<id>/mounts/shm, mounted while the donor runs and bound into everybody. Token held.
 */
#ifndef HATAKE_CONTAINER_SHM_H
#define HATAKE_CONTAINER_SHM_H

#include "container/container-internal.h"

/* Path of the folder in fresh memory; NULL when memory ran out. */
char *ctr_shm_path(const struct container *c);
/* Mount it unless it is. `size` in bytes. */
int ctr_shm_mount(struct container *c, int64_t size, struct err *e);
/* Detach it; nothing to do when it is not mounted. Members that still run keep theirs. */
void ctr_shm_unmount(struct container *c);

#endif
