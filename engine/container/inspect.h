// SPDX-License-Identifier: Apache-2.0
/*
 * inspect.h - parts of replies that inspect and list share. Pure functions, any thread.
 */
#ifndef HATAKE_CONTAINER_INSPECT_H
#define HATAKE_CONTAINER_INSPECT_H

#include "container/container-internal.h"

int ctr_mount_points(const struct ctr_mounts *l, struct api_mount_point_list *ret, struct err *e);
/* "Less than a second", "About a minute", "3 weeks": a span as people say it. Fills ret. */
void ctr_human_span(int64_t ns, char ret[64]);
/* The Status column of a list at `now`: "Up 5 seconds (Paused)", "Exited (0) 2 minutes ago". */
/* `health`: may be NULL. */
void ctr_status_text(const struct ctr_view *v, const struct ctr_health *health, int64_t now, char ret[128]);

#endif
