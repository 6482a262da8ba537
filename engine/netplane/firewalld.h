// SPDX-License-Identifier: Apache-2.0
/*
 * firewalld.h - bridges in a zone of firewalld, where that runs.
 *
 * Why: firewalld (Fedora, RHEL, openSUSE) has tables of its own, which refuse what their zones do not let through, whatever ours accept. Its default zone
 * refuses containers the way out and to the machine. So each bridge goes into the zone `docker` (target ACCEPT), as with the reference: made permanently when there is none,
 * which takes a reload of firewalld. Published ports need no zone: firewalld lets through what was rewritten.
 * An interface that its owner has put into another zone stays there; that is told in the log.
 *
 * firewalld is asked over the system bus, each time with a connection of its own; a thread hears when it comes, goes and reloads. Without a bus or
 * firewalld nothing is asked and all calls succeed, as they do for f == NULL.
 * Threads: any. A call takes as long as firewalld does, at most DBUS_PATIENCE_S.
 */
#ifndef HATAKE_NETPLANE_FIREWALLD_H
#define HATAKE_NETPLANE_FIREWALLD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct firewalld;

/* Finds out whether it runs. *ret is NULL when the machine has no system bus. */
int firewalld_new(struct firewalld **ret, struct err *e);
/* A thread that calls fresh(arg) after firewalld has started or reloaded: what it was told is to be told again. Until firewalld_free(). */
int firewalld_watch(struct firewalld *f, void (*fresh)(void *arg), void *arg, struct err *e);
struct firewalld *firewalld_free(struct firewalld *f);

/* See to it that the zone is there and these interfaces are in it; those that are there already cost nothing. */
int firewalld_trust(struct firewalld *f, const char *const *ifnames, size_t n, struct err *e);
/* The interface is gone. */
void firewalld_forget(struct firewalld *f, const char *ifname);

#endif
