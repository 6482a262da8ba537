// SPDX-License-Identifier: Apache-2.0
/* The one place that fills in posix_spawn(3)'s attributes. */
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "base/cleanup.h"

enum { FIRST_FREE = 10, MAX_FDS = 8 };

/* Out of the way of the numbers 0 to 9, or moving one descriptor to its place could overwrite another's source. */
static int lift(const struct spawn_fd *fds, size_t n, int ret[MAX_FDS]) {
    for (size_t i = 0; i < n; i++) {
        ret[i] = fcntl(fds[i].fd, F_DUPFD_CLOEXEC, FIRST_FREE);
        if (ret[i] < 0)
            return -errno;
    }
    return 0;
}

static bool is_named(const struct spawn_fd *fds, size_t n, int as) {
    for (size_t i = 0; i < n; i++) {
        if (fds[i].as == as)
            return true;
    }
    return false;
}

/* Whatever else is open is closed there, though the engine opens everything close-on-exec: a library's slip must not reach a container's files. */
static int add_actions(posix_spawn_file_actions_t *actions, const struct spawn_fd *fds, size_t n, const int lifted[MAX_FDS]) {
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++)
        r = posix_spawn_file_actions_adddup2(actions, lifted[i], fds[i].as);
    for (int fd = 0; fd < FIRST_FREE && r == 0; fd++) {
        if (is_named(fds, n, fd) || fd == STDERR_FILENO)
            continue;
        r = fd < STDERR_FILENO ? posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0)
                               : posix_spawn_file_actions_addclose(actions, fd);
    }
    return r == 0 ? posix_spawn_file_actions_addclosefrom_np(actions, FIRST_FREE) : r;
}

static int set_attributes(posix_spawnattr_t *attr) {
    sigset_t none, all;
    int r;

    sigemptyset(&none);
    sigfillset(&all);
    r = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    if (r == 0)
        r = posix_spawnattr_setsigmask(attr, &none);
    if (r == 0)
        r = posix_spawnattr_setsigdefault(attr, &all);
    return r == 0 ? posix_spawnattr_setpgroup(attr, 0) : r;
}

int spawn_start(const char *program, char *const argv[], char *const envp[], const struct spawn_fd *fds, size_t n, pid_t *ret_pid, struct err *e) {
    int lifted[MAX_FDS] = {-EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF}, r;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    pid_t pid = -1;

    if (n > MAX_FDS)
        return err_set(e, ERR_INTERNAL, "starting %s: %zu descriptors, at most %d can be handed on", program, n, MAX_FDS);
    r = lift(fds, n, lifted);
    if (r == 0) {
        posix_spawnattr_init(&attr);
        posix_spawn_file_actions_init(&actions);
        r = set_attributes(&attr);
        if (r == 0)
            r = add_actions(&actions, fds, n, lifted);
        if (r == 0)
            r = posix_spawn(&pid, program, &actions, &attr, argv, envp);
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attr);
    }
    for (size_t i = 0; i < n; i++)
        close_fd(lifted[i]);
    if (r == ENOENT)
        return err_set(e, ERR_NOT_FOUND, "starting %s: no such program; it is installed beside the engine or by the distribution", program);
    if (r != 0)
        return err_errno(e, r, "starting %s", program);
    *ret_pid = pid;
    return 0;
}

int spawn_wait(pid_t pid) {
    int status = -1;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -1;
    }
    return status;
}

int spawn_pipe(int ret[2], struct err *e) {
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(e, errno, "making a pipe");
    ret[0] = ends[0];
    ret[1] = ends[1];
    return 0;
}
