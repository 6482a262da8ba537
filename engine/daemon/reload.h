// SPDX-License-Identifier: Apache-2.0
/*
 * reload.h - SIGHUP: read daemon.json again and let what may change while the engine runs take effect.
 *
 * Which settings these are, and that one missing from the file keeps its value (the numbers of transfers at a time go back to their defaults), is as dockerd
 * 26.1.5 does it; log-level is ours. A file that cannot be used changes nothing. Every reload that worked is told as an event `daemon reload`.
 * Threads: the main thread only. Configurations that were replaced stay in memory until reload_done(): requests may still read them.
 */
#ifndef HATAKE_DAEMON_RELOAD_H
#define HATAKE_DAEMON_RELOAD_H

#include "daemon/options.h"

struct daemon_state;
struct reloaded;

struct reload {
    int argc;
    char **argv;
    const struct options *first; /* what the engine was started with */
    struct daemon_state *daemon;
    struct reloaded *all;
};

/* Read again, and log what came of it. */
void reload_now(struct reload *r);
void reload_done(struct reload *r);

#endif
