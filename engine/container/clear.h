// SPDX-License-Identifier: Apache-2.0
/*
 * clear.h - what a container leaves behind when its monitor was killed: processes nobody watches, control groups nobody removes.
 */
#ifndef HATAKE_CONTAINER_CLEAR_H
#define HATAKE_CONTAINER_CLEAR_H

#include "container/container-internal.h"

/* Kill everything in the container's control groups (thawing them first) and remove the groups. Waits up to two seconds for the processes; logs what stays. */
void ctr_groups_clear(const struct engine_config *config, const struct ctr_fixed *f);

#endif
