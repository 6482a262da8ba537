// SPDX-License-Identifier: Apache-2.0
#include "logdrv/logtls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/spawn.h"

#define ON_THE_WAY (16 << 10) /* bytes that may be between here and the process: with it, they are lost */

static void address_text(const struct sockaddr *to, char ret[INET6_ADDRSTRLEN], char port[8]) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)to;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)to;
    bool old = to->sa_family == AF_INET;

    ret[0] = 0;
    inet_ntop(to->sa_family, old ? (const void *)&in->sin_addr : (const void *)&in6->sin6_addr, ret, INET6_ADDRSTRLEN);
    snprintf(port, 8, "%u", ntohs(old ? in->sin_port : in6->sin6_port));
}

static char *word(const char *text) {
    return (char *)(uintptr_t)(text ? text : "");
}

int log_tls_start(const struct log_tls *how, const struct sockaddr *to, int words, pid_t *ret_pid) {
    _cleanup_close_ int ours = -EBADF, theirs = -EBADF;
    char address[INET6_ADDRSTRLEN], port[8], *envp[] = {NULL};
    char *argv[] = {word(how->program),
                    address,
                    port,
                    word(how->name),
                    word(how->ca),
                    word(how->cert),
                    word(how->key),
                    word(how->verify ? "verify" : "any"),
                    NULL};
    int pair[2], size = ON_THE_WAY;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -errno;
    ours = pair[0];
    theirs = pair[1];
    ignore_result(setsockopt(ours, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0);
    address_text(to, address, port);
    if (spawn_start(how->program, argv, envp, (const struct spawn_fd[]){{theirs, 0}, {words, 1}}, words < 0 ? 1 : 2, ret_pid, NULL) < 0)
        return -ENOEXEC;
    return TAKE_FD(ours);
}
