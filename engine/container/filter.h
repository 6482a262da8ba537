// SPDX-License-Identifier: Apache-2.0
/*
 * filter.h - which containers a list shows.
 */
#ifndef HATAKE_CONTAINER_FILTER_H
#define HATAKE_CONTAINER_FILTER_H

#include "container/container-internal.h"
#include "wire/filters.h"

struct ctr_filter {
    struct filters f;
    struct strv ancestors; /* image ids */
    bool by_ancestor;
    int64_t before, since; /* created before/after; 0: no bound */
    bool never;            /* nothing can match */
    struct strv exits;
    struct strv expose, publish; /* "port/proto" each */
};

/* Parse and resolve. Errors as the reference words them. */
int ctr_filter_read(struct containers *cs, const char *text, struct ctr_filter *ret, struct err *e);
void ctr_filter_done(struct ctr_filter *f);
/* `all`: stopped ones too, unless the filters say more. */
bool ctr_filter_matches(const struct ctr_filter *f, struct container *c, const struct ctr_view *v, bool all);

#endif
