// SPDX-License-Identifier: Apache-2.0
/*
 * logattrs.h - the attributes that log options (labels, labels-regex, env, env-regex, tag) put into every record. Pure, any thread.
 */
#ifndef HATAKE_CONTAINER_LOGATTRS_H
#define HATAKE_CONTAINER_LOGATTRS_H

#include "container/container-internal.h"

/* JSON object text in fresh memory, or NULL when no option asks for any. ERR_INTERNAL for a bad regular expression. */
int ctr_log_attrs(const struct ctr_fixed *f, const char *name, char **ret, struct err *e);

#endif
