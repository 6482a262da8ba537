// SPDX-License-Identifier: Apache-2.0
/*
 * keys.h - detach keys as clients write them ("ctrl-p,ctrl-q", "a,ctrl-@") to bytes. Pure, any thread.
 */
#ifndef HATAKE_CONTAINER_KEYS_H
#define HATAKE_CONTAINER_KEYS_H

#include <stddef.h>

#include "base/cleanup.h"

/* At most room - 1 keys, then a NUL (which may also be a key: see *ret_n). 0 or -EINVAL. */
int ctr_keys_parse(const char *text, char *ret, size_t room, size_t *ret_n);

#endif
