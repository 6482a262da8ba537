// SPDX-License-Identifier: Apache-2.0
#include "wire/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/strv.h"

#define PASSED_FIRST 3 /* SD_LISTEN_FDS_START */

/* Remove the socket file of a dead server. */
static int clear_path(const char *path, const struct sockaddr_un *addr, struct err *e) {
    _cleanup_close_ int fd = -EBADF;
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_errno(e, errno, "%s", path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, ERR_CONFLICT, "can't create unix socket %s: it exists and is no socket; remove it or choose another path", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(e, errno, "making a socket");
    if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
        return err_set(e, ERR_CONFLICT, "can't create unix socket %s: another process is listening there; end it or choose another path", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return err_errno(e, errno, "can't create unix socket %s", path);
    return 0;
}

int listen_unix(const char *path, gid_t gid, mode_t mode, int *ret_fd, struct err *e) {
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = -EBADF;
    int r;

    if (strlen(path) >= sizeof(addr.sun_path))
        return err_set(e, ERR_INVALID, "the path of the unix socket is longer than the 107 bytes that the kernel takes: %s", path);
    memcpy(addr.sun_path, path, strlen(path) + 1);
    r = clear_path(path, &addr, e);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, errno, "making a socket");
    /* The mode of the socket itself decides that of the file, before the umask: nobody else can connect in between. */
    fchmod(fd, 0600);
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return err_errno(e, errno, "can't create unix socket %s", path);
    if ((gid != (gid_t)-1 && lchown(path, (uid_t)-1, gid) < 0) || chmod(path, mode) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
        r = err_errno(e, errno, "can't create unix socket %s", path);
        unlink(path);
        return r;
    }
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int listen_address(const struct addrinfo *a, const char *address, struct listen_fds *ret, struct err *e) {
    _cleanup_close_ int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1;

    if (fd < 0)
        return errno == EAFNOSUPPORT ? 0 : err_errno(e, errno, "making a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
        return err_errno(e, errno, "listen tcp %s: bind", address);
    ret->fd[ret->n++] = TAKE_FD(fd);
    return 0;
}

int listen_tcp(const char *address, struct listen_fds *ret, struct err *e) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list = NULL;
    const char *colon = strrchr(address, ':');
    _cleanup_free_ char *host = NULL;
    struct listen_fds fds = {0};
    int64_t port;
    int r;

    if (!colon || !colon[1])
        return err_set(e, ERR_INVALID, "Invalid bind address format: %s", address);
    if (address[0] == '[' && colon > address + 1 && colon[-1] == ']')
        host = strndup(address + 1, (size_t)(colon - address) - 2);
    else
        host = strndup(address, (size_t)(colon - address));
    if (!host)
        return err_oom(e);
    if (parse_int_range(colon + 1, 0, UINT16_MAX, &port) < 0)
        return err_set(e, ERR_INVALID, "listen tcp: address %s: invalid port", colon + 1);
    r = getaddrinfo(*host ? host : NULL, colon + 1, &hints, &list);
    if (r != 0)
        return err_set(e, ERR_INVALID, "failed to lookup %s address in host specification", host);
    r = 0;
    for (struct addrinfo *a = list; a && r >= 0 && fds.n < LISTEN_MAX; a = a->ai_next)
        r = listen_address(a, address, &fds, e);
    freeaddrinfo(list);
    if (r >= 0 && fds.n == 0)
        r = err_set(e, ERR_INVALID, "listen tcp %s: no usable address", address);
    if (r < 0) {
        for (size_t i = 0; i < fds.n; i++)
            close_fd(fds.fd[i]);
        return r;
    }
    *ret = fds;
    return 0;
}

int listen_passed(const char *which, struct listen_fds *ret, struct err *e) {
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
    _cleanup_strv_ struct strv list = STRV_INIT;
    struct listen_fds fds = {0};
    int64_t n = 0, p = 0, number = -1;
    bool all = str_empty(which) || streq(which, "*");

    if (!pid || parse_i64(pid, &p) < 0 || p != getpid() || !count || parse_int_range(count, 1, LISTEN_MAX, &n) < 0)
        return err_set(e, ERR_INVALID, "no sockets found via socket activation: make sure the service was started by systemd");
    if (names && strv_split(&list, names, ':') < 0)
        return err_oom(e);
    if (!all && parse_i64(which, &number) < 0)
        number = -1;
    for (int i = 0; i < n; i++) {
        int fd = PASSED_FIRST + i;
        int listening = 0;
        socklen_t len = sizeof(listening);
        bool wanted = all || number == fd || ((size_t)i < list.n && streq(list.v[i], which));

        if (!wanted)
            continue;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening)
            return err_set(e, ERR_INVALID, "descriptor %d, passed by the service manager, is no listening socket", fd);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        fds.fd[fds.n++] = fd;
    }
    if (fds.n == 0)
        return err_set(e, ERR_INVALID, "failed to find a systemd activated socket named %s", which);
    *ret = fds;
    return 0;
}
