// SPDX-License-Identifier: Apache-2.0
/*
 * cage.h - what hatake-netd gives away before it hears anybody: user, groups, capabilities, core dumps, and all system calls but those it lives on.
 *
 * After netd_confine() the process can use the descriptors it is given, open internet sockets of the machine's namespace, read files that
 * everybody may read, and allocate memory. It cannot write or create a file, make executable memory, start a process or see another one.
 * Calls that are not allowed fail with EPERM; a foreign architecture's end the process.
 * Life cycle: once, at start, single thread; it cannot be undone. Source: seccomp(2), capabilities(7).
 */
#ifndef HATAKE_NETD_CAGE_H
#define HATAKE_NETD_CAGE_H

#include <stdbool.h>

/* 0 or -errno; on failure the process must end. Without root only what an ordinary user can give away is. */
int netd_confine(void);
/* Does it filter system calls? Not where a sanitizer makes calls of its own. */
bool netd_cage_filters(void);

#endif
