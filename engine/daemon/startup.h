// SPDX-License-Identifier: Apache-2.0
/*
 * startup.h - bring the engine up and down: folders, pid file, launcher, managers, listeners, in their order.
 *
 * Order up: folders and lock → launcher (while there is one thread) → database and journal → loop → events → layers → images → networks →
 * volumes → containers → adoption → listeners. Down is the reverse; what an object needs is always still there when it ends.
 */
#ifndef HATAKE_DAEMON_STARTUP_H
#define HATAKE_DAEMON_STARTUP_H

#include "base/engine.h"
#include "base/err.h"
#include "base/idmap.h"
#include "system/system.h"

struct server;

struct daemon_state {
    struct engine engine;
    struct system_facts facts;
    struct server *server;
    struct engine_config config; /* as it was given, but for the data root of containers in user namespaces */
    char *data_root;             /* theirs, or NULL */
    struct idmap ids;
    char *engine_id;
    char *libexec_dir;
    char *seccomp_text;
    int lock_fd; /* lock of the data root */
    bool pidfile_made;
    bool adopted; /* containers may be running: they get an orderly end */
};

/* startup-check.c: what is asked for against what there is; nothing is made. ERR_INVALID with the reference's words, complete. */
int startup_check(const struct engine_config *config, struct err *e);
/* Of that, what a reload may change: runtimes make sense, and the default one is there. */
int startup_check_runtimes(const struct engine_config *c, struct err *e);
/* Everything up to serving requests. On failure what was made is undone by startup_down(). */
int startup_up(struct daemon_state *d, const struct engine_config *config, struct err *e);
/* Orderly end. Returns false when requests were still running: the process then exits without freeing what they use. */
bool startup_down(struct daemon_state *d);

#endif
