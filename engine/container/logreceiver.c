// SPDX-License-Identifier: Apache-2.0
/* Sections: plain connections; TLS; names. */
#include "container/logreceiver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/nameserver.h"
#include "base/spawn.h"
#include "base/str.h"

#define DIAL_MS 10000

void ctr_log_add_hex(struct buf *b, const char *key, const char *p, size_t n) {
    buf_addf(b, "%s=", key);
    for (size_t i = 0; i < n; i++)
        buf_addf(b, "%02x", (unsigned char)p[i]);
    buf_addc(b, '\n');
}

/* ---- plain connections ---------------------------------------------------------------------------------------------------------- */

/* Go's words for what connect() says. */
static const char *dial_error(int error) {
    switch (error) {
    case ECONNREFUSED:
        return "connect: connection refused";
    case ENOENT:
        return "connect: no such file or directory";
    case EACCES:
        return "connect: permission denied";
    case EHOSTUNREACH:
        return "connect: no route to host";
    case ENETUNREACH:
        return "connect: network is unreachable";
    case EPROTOTYPE:
        return "connect: protocol wrong type for socket";
    case ETIMEDOUT:
        return "i/o timeout";
    default:
        return "connect: the connection failed";
    }
}

/* 0 or the errno with which a connection fails. */
static int dial(const struct sockaddr *sa, socklen_t n, int type) {
    _cleanup_close_ int fd = socket(sa->sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof(error);

    if (fd < 0)
        return errno;
    if (connect(fd, sa, n) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    if (poll(&p, 1, DIAL_MS) != 1)
        return ETIMEDOUT;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}

static int dial_unix(const char *path, int type) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(un.sun_path))
        return ENAMETOOLONG;
    memcpy(un.sun_path, path, strlen(path) + 1);
    return dial((struct sockaddr *)&un, sizeof(un), type);
}

int ctr_log_to_unix(const char *net, const char *path, struct buf *b, struct err *e) {
    int error = dial_unix(path, streq(net, "unixgram") ? SOCK_DGRAM : SOCK_STREAM);

    if (error)
        return err_set(e, ERR_INTERNAL, "dial %s %s: %s", net, path, dial_error(error));
    buf_addf(b, "net=%s\n", net);
    ctr_log_add_hex(b, "path", path, strlen(path));
    return 0;
}

/* ---- TLS ----------------------------------------------------------------------------------------------------------------------------- */

/* The first byte the program has to say; false when it ended without, or takes too long. */
static bool hears(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char mark;

    return poll(&p, 1, DIAL_MS) == 1 && recv(fd, &mark, 1, MSG_DONTWAIT) == 1;
}

/* A whole connection, made and closed, by the program that will make the monitor's. Its words are the error's. */
static int try_tls(const struct log_tls *tls, const struct sockaddr *to, struct err *e) {
    _cleanup_close_ int ours = -EBADF, words_in = -EBADF, words_out = -EBADF;
    char why[1024];
    int words[2], r = spawn_pipe(words, e);
    ssize_t n = 0;
    pid_t pid;
    bool open;

    if (r < 0)
        return r;
    words_out = words[0];
    words_in = words[1];
    ours = log_tls_start(tls, to, words_in, &pid);
    if (ours < 0)
        return err_errno(e, ours, "starting %s", tls->program);
    words_in = close_fd(words_in);
    open = hears(ours);
    ours = close_fd(ours);
    if (!open) {
        ignore_result(kill(pid, SIGTERM) < 0); /* it may still wait for an answer */
        n = read(words_out, why, sizeof(why));
    }
    spawn_wait(pid);
    if (open)
        return 0;
    return n > 0 ? err_set(e, ERR_INTERNAL, "%.*s", (int)n, why) : err_set(e, ERR_INTERNAL, "dial tcp %s: i/o timeout", tls->name);
}

static void add_tls(const struct log_tls *tls, struct buf *b) {
    const char *const texts[][2] = {{"program", tls->program}, {"name", tls->name}, {"ca", tls->ca}, {"cert", tls->cert}, {"key", tls->key}};

    buf_addf(b, "tls=1\nverify=%d\n", tls->verify);
    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        if (texts[i][1])
            ctr_log_add_hex(b, texts[i][0], texts[i][1], strlen(texts[i][1]));
}

/* ---- names --------------------------------------------------------------------------------------------------------------------------- */

/* 0, or why no connection is to be had there, in Go's words. */
static int try_address(const struct addrinfo *a, const char *text, const char *host, const char *port, const struct log_tls *tls, struct err *e) {
    int error;

    if (tls)
        return try_tls(tls, a->ai_addr, e);
    error = dial(a->ai_addr, a->ai_addrlen, SOCK_STREAM);
    if (error)
        return err_set(e, ERR_INTERNAL, strchr(text, ':') ? "dial tcp [%s]:%s: %s" : "dial tcp %s:%s: %s", str_empty(host) ? "" : text, port,
                       dial_error(error));
    return 0;
}

int ctr_log_to_inet(const char *net, const char *host, const char *port, bool lazily, const struct log_tls *tls, struct buf *b, struct err *e) {
    bool tcp = streq(net, "tcp");
    struct addrinfo hints = {.ai_socktype = tcp ? SOCK_STREAM : SOCK_DGRAM, .ai_flags = AI_NUMERICSERV}, *all = NULL;
    char text[INET6_ADDRSTRLEN] = "", dns[NAMESERVER_TEXT];
    int r = 0;

    if (getaddrinfo(str_empty(host) ? "127.0.0.1" : host, port, &hints, &all) != 0) {
        nameserver_first(dns);
        return err_set(e, ERR_INTERNAL, "dial %s: lookup %s on %s: no such host", net, host, dns);
    }
    for (struct addrinfo *i = all; i; i = i->ai_next) {
        const void *at = i->ai_family == AF_INET ? (const void *)&((struct sockaddr_in *)i->ai_addr)->sin_addr
                                                 : (const void *)&((struct sockaddr_in6 *)i->ai_addr)->sin6_addr;

        inet_ntop(i->ai_family, at, text, sizeof(text));
        err_done(e);
        r = tcp && !lazily ? try_address(i, text, host, port, tls, e) : 0;
        if (r >= 0)
            break;
    }
    freeaddrinfo(all);
    if (r < 0)
        return r;
    buf_addf(b, "net=%s\naddr=%s\nport=%s\n", net, text, port);
    if (tls)
        add_tls(tls, b);
    return 0;
}
