// SPDX-License-Identifier: Apache-2.0
/* Connections over TLS: the process that speaks it. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/spawn.h"
#include "logdrv/remote.h"

#define ON_THE_WAY (16 << 10) /* bytes that may be between here and the process: with it, they are lost */

static void address_text(const struct sockaddr_storage *to, char ret[INET6_ADDRSTRLEN], char port[8]) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)to;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)to;
    bool old = to->ss_family == AF_INET;

    ret[0] = 0;
    inet_ntop(to->ss_family, old ? (const void *)&in->sin_addr : (const void *)&in6->sin6_addr, ret, INET6_ADDRSTRLEN);
    snprintf(port, 8, "%u", ntohs(old ? in->sin_port : in6->sin6_port));
}

int remote_tls_start(const struct remote_tls *how, const struct sockaddr_storage *to) {
    _cleanup_close_ int ours = -EBADF, theirs = -EBADF;
    char address[INET6_ADDRSTRLEN], port[8];
    char *argv[] = {(char *)(uintptr_t)how->program,
                    address,
                    port,
                    (char *)(uintptr_t)how->name,
                    (char *)(uintptr_t)how->ca,
                    (char *)(uintptr_t)how->cert,
                    (char *)(uintptr_t)how->key,
                    (char *)(uintptr_t)(how->verify ? "verify" : "any"),
                    NULL};
    char *envp[] = {NULL};
    int pair[2], size = ON_THE_WAY;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    ours = pair[0];
    theirs = pair[1];
    ignore_result(setsockopt(ours, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0);
    address_text(to, address, port);
    if (spawn_start(how->program, argv, envp, &(struct spawn_fd){theirs, 0}, 1, &pid, NULL) < 0)
        return -ENOEXEC;
    return TAKE_FD(ours);
}
