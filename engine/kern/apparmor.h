// SPDX-License-Identifier: Apache-2.0
/*
 * apparmor.h - the machine's AppArmor, and the profile that containers get unless they ask for another.
 *
 * The profile goes by the name that the reference gives its own ("docker-default"), since users and their tools look for it, and is meant to forbid the same:
 * mounting, writing to settings of the kernel that are not the container's, signals to and tracing of whatever is outside of it. It is loaded once for
 * the whole machine; who finds one of that name loaded already uses that one, as the reference does.
 * The machines of the checks have no AppArmor, so that no check of today shows what the profile denies; the machine of `ci/vm` has it.
 * No state, any thread. Sources: apparmor(7), apparmor_parser(8), apparmor.d(5).
 */
#ifndef HATAKE_KERN_APPARMOR_H
#define HATAKE_KERN_APPARMOR_H

#include <stdbool.h>

#include "base/err.h"

#define APPARMOR_DEFAULT "docker-default"
#define APPARMOR_UNCONFINED "unconfined"

/* The kernel confines processes by profiles, and its list of them can be read. */
bool apparmor_enabled(void);
/* It is enabled, and apparmor_parser is there, by which profiles get into the kernel: containers are confined. */
bool apparmor_usable(void);
/* See that APPARMOR_DEFAULT is loaded; packages and reloads take profiles away at any time. ERR_INTERNAL when it cannot be. */
int apparmor_load_default(struct err *e);
/* Whether a list of loaded profiles, lines "NAME (MODE)", has this one (tests). */
bool apparmor_list_has(const char *list, const char *name);

#endif
