// SPDX-License-Identifier: Apache-2.0
/*
 * cage.h - takes from a process everything that unpacking an untrusted archive does not need (rule R9).
 *
 * After cage_enter(): a mount namespace whose only mount is the given folder (nosuid, nodev, noexec), IPC and UTS namespaces of its own, seven
 * capabilities (those that setting owners, modes, devices and trusted attributes needs), no_new_privs, resource limits, and a seccomp allow-list without
 * sockets, processes, signals or mounts; a forbidden call kills the process. Descriptors other than 0, 1, 2 and `keep` are closed.
 * One-way; call it before threads exist: those that are needed are made by `ready`, which runs when all but the filter is in place.
 */
#ifndef HATAKE_LAYERS_CAGE_H
#define HATAKE_LAYERS_CAGE_H

#include <stddef.h>

#include "base/err.h"

/* dirfd: the folder that becomes "/". It is closed. `ready` may be NULL; threads it makes come under the filter as well. */
int cage_enter(int dirfd, int (*ready)(void *arg, struct err *e), void *arg, struct err *e);
/* All but the mounts, for a process that has made its root itself. `more`: numbers of further system calls that stay allowed. */
int cage_confine(const int *more, size_t n_more, int (*ready)(void *arg, struct err *e), void *arg, struct err *e);

#endif
