// SPDX-License-Identifier: Apache-2.0
/*
 * foreign.h - containers made by another OCI runtime (runc, crun, ...; PLAN_RUNTIME), inside the monitor (see watch.h).
 *
 * The monitor goes into a mount namespace of its own, mounts the root at <exec dir>/rootfs, makes the network namespace (<exec dir>/netns), writes
 * <exec dir>/config.json and calls the runtime with the commands that runtimes share: create, start, exec, kill, pause, resume, update, delete, each with
 * --root, --log and --log-format before it. As the container's processes lose their parent they become the monitor's (child subreaper), so that streams,
 * terminals, exit codes, health checks and adoption are the same as for containers of our own. Mounts of other containers and of the machine still come in;
 * what is mounted here does not get out, and goes when the monitor ends.
 *
 * Commands are waited for, each with a deadline; a failure is the last error of the runtime's log, in the form the reference gives it.
 */
#ifndef HATAKE_MONITOR_FOREIGN_H
#define HATAKE_MONITOR_FOREIGN_H

#include "monitor/watch.h"

/* Is the container another runtime's? */
bool foreign_is(const struct mon *m);
/* Make the container and run its program. 0, or negative with *f filled and nothing left. */
int foreign_start(struct mon *m, const int stdio[3], struct oci_running *ret, struct oci_fault *f);
/* One more process in it. */
int foreign_exec(struct mon *m, const struct plan *plan, const int stdio[3], struct oci_running *ret, struct oci_fault *f);
/* A signal to its first process, or to all. -ESRCH: it is gone. */
int foreign_signal(struct mon *m, int sig, bool all, struct oci_fault *f);
int foreign_freeze(struct mon *m, bool freeze, struct oci_fault *f);
/* Changed limits: a `resources` object as text. */
int foreign_update(struct mon *m, const struct plan *plan, struct oci_fault *f);
/* The container has ended: let the runtime take away what it has of it, and our files for it. */
void foreign_delete(struct mon *m);

#endif
