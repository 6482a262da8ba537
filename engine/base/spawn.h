// SPDX-License-Identifier: Apache-2.0
/*
 * spawn.h - start one of the engine's helper programs.
 *
 * Purpose: work on files of containers and images (unpacking, copying, mounting) and the host's own tools run in processes of their own. All of
 * them start the same way: an absolute path, an environment that owes nothing to the engine's, a process group of their own, no signal
 * blocked or ignored, and no descriptor but those named here.
 * Ownership: the caller keeps its descriptors and owns the process: it must spawn_wait() for it.
 * Threads: safe from any thread; posix_spawn(3) does not copy the engine's memory.
 */
#ifndef HATAKE_BASE_SPAWN_H
#define HATAKE_BASE_SPAWN_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* The new process sees `fd` under the number `as` (0 to 9). 0 and 1 are /dev/null there unless named, 2 is the engine's own. */
struct spawn_fd {
    int fd, as;
};

/*
 * Start `program` (an absolute path; PATH is never searched) with `argv` and `envp`, both ended by NULL. The descriptors of `fds` may be
 * close-on-exec and may have any number, also one that another takes in the new process.
 * Returns 0 with the process in `*ret_pid`; -ERR_NOT_FOUND: there is no such program; -ERR_INTERNAL: anything else (posix_spawn(3), fcntl(2)).
 */
int spawn_start(const char *program, char *const argv[], char *const envp[], const struct spawn_fd *fds, size_t n, pid_t *ret_pid, struct err *e);

/*
 * Wait until `pid`, a child of this process, ends. Returns its status as waitpid(2) tells it, or -1 where it is no child (any more).
 */
int spawn_wait(pid_t pid);

/*
 * A pipe (pipe2(2), close-on-exec) in `ret[0]` (to read) and `ret[1]` (to write). Returns 0 or -ERR_INTERNAL with both untouched.
 */
int spawn_pipe(int ret[2], struct err *e);

#endif
