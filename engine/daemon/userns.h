// SPDX-License-Identifier: Apache-2.0
/*
 * userns.h - --userns-remap: from "USER[:GROUP]" to the numbers that containers' users have on the machine.
 *
 * The value names an account (by name or number) whose ranges in /etc/subuid and /etc/subgid become the containers' users and groups; "default" stands for
 * the account dockremap, which is made, with ranges, where it is missing. The account "root" switches it off. A group is looked up and means nothing more.
 *
 * Threads: start-up only. Source: subuid(5), subgid(5); words as the reference.
 */
#ifndef HATAKE_DAEMON_USERNS_H
#define HATAKE_DAEMON_USERNS_H

#include "base/engine.h"
#include "base/idmap.h"

/* Could an engine start with it? Makes nothing: an account that is missing and would be made is fine. 0, or ERR_INVALID with the whole message. */
int userns_check(const char *value, struct err *e);
/* Resolve it, making the default account if need be. 1 with *ret filled; 0: containers have no user namespaces (no value, or root). */
int userns_find(const char *value, struct idmap *ret, struct err *e);
/* The folder below `root` that data has for itself then (also where the map is empty), "<root>/<uid>.<gid>", made with its parents. Fresh memory in *ret. */
int userns_data_root(const struct idmap *m, const char *root, char **ret, struct err *e);

#endif
