// SPDX-License-Identifier: Apache-2.0
/*
 * listen.h - listening sockets: made, or passed by the service manager. Any thread.
 */
#ifndef HATAKE_WIRE_LISTEN_H
#define HATAKE_WIRE_LISTEN_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define LISTEN_BACKLOG 4096
#define LISTEN_MAX 32

/* Several listening sockets; those not yet handed on are the caller's to close. */
struct listen_fds {
    int fd[LISTEN_MAX];
    size_t n;
};

/*
 * A unix socket at path: made under a umask-proof temporary mode, then given to gid (unless -1) and mode, so it is never open to others even for a
 * moment. A socket file nobody listens on is removed first; ERR_CONFLICT when somebody does, or when something else is there.
 */
int listen_unix(const char *path, gid_t gid, mode_t mode, int *ret_fd, struct err *e);
/* "host:port", ":port", "[v6]:port": one socket per address of host (getaddrinfo). On failure nothing is left open. */
int listen_tcp(const char *address, struct listen_fds *ret, struct err *e);
/* Sockets of sd_listen_fds(3). `which`: "" or "*" all, a number, or a name of LISTEN_FDNAMES. */
int listen_passed(const char *which, struct listen_fds *ret, struct err *e);

#endif
