// SPDX-License-Identifier: Apache-2.0
/*
 * keys.h - detach keys as clients write them ("ctrl-p,ctrl-q", "a,ctrl-@") to bytes. Pure, any thread.
 */
#ifndef HATAKE_CONTAINER_KEYS_H
#define HATAKE_CONTAINER_KEYS_H

#include "monitor/launch.h"

/* 0 or -EINVAL: something that is no key, none, or more than fit. */
int ctr_keys_parse(const char *text, struct launch_keys *ret);

#endif
