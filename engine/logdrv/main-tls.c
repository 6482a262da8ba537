// SPDX-License-Identifier: Apache-2.0
/*
 * hatake-logtls: one connection of a log driver over TLS, for a monitor that has no TLS library, and for the daemon that tries the receiver before a start.
 *
 *   hatake-logtls ADDRESS PORT NAME CA CERT KEY verify|any
 *
 * Descriptor 0 is a stream socket. Once the receiver is there, and is whom NAME says, one byte comes out of it; from then on what goes in is sent, and what the
 * receiver says comes out. It ends when either side has closed. Why there is no connection is written to descriptor 1, in the words that clients know (those of
 * Go's libraries), and the exit code is 1. CA, CERT and KEY are paths of PEM files or empty; authorities of the machine count as well.
 *
 * Files are read and the connection is made as root; before the first byte of the receiver is looked at, everything else is given up: nobody's user, no
 * capabilities, no calls but those on what is open.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"

#define OPEN_MS 30000  /* connection and handshake */
#define CLOSE_MS 10000 /* what is left when the monitor has ended */
#define BLOCK KIB(16)
#define NOBODY 65534

/* A sanitizer makes calls of its own, and its shadow is large. */
#if defined(__SANITIZE_ADDRESS__)
#define FILTERS 0
#else
#define FILTERS 1
#endif

struct tunnel {
    SSL_CTX *ctx;
    SSL *ssl;
    int net;
    const char *name, *address;
    bool verify;
};

/* ---- what is trusted, and who we are -------------------------------------------------------------------------------------------- */

static int cannot_open(struct err *e, const char *what, const char *path) {
    char why[ERR_REASON_MAX];

    return err_set(e, ERR_INVALID, "%sopen %s: %s", what, path, err_reason(errno, why));
}

static bool readable(const char *path) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd >= 0;
}

static int use_authority(struct tunnel *t, const char *path, struct err *e) {
    _cleanup_free_ char *what = str_printf("could not read CA certificate \"%s\": ", path);

    SSL_CTX_set_default_verify_paths(t->ctx);
    X509_STORE_set_flags(SSL_CTX_get_cert_store(t->ctx), X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
    if (!*path)
        return 0;
    if (!what)
        return err_oom(e);
    if (!readable(path))
        return cannot_open(e, what, path);
    return SSL_CTX_load_verify_file(t->ctx, path) == 1 ? 0 : err_set(e, ERR_INVALID, "failed to append certificates from PEM file: \"%s\"", path);
}

static int bad_pair(struct err *e, const char *why) {
    return err_set(e, ERR_INVALID, "Could not load X509 key pair: tls: %s", why);
}

static bool holds(const char *path, const char *mark) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);

    return fs_read_file(path, &b, NULL) >= 0 && strstr(buf_str(&b), mark);
}

static int use_pair(struct tunnel *t, const char *cert, const char *key, struct err *e) {
    if (!*cert && !*key)
        return 0;
    if (!readable(cert))
        return cannot_open(e, "Could not load X509 key pair: ", cert);
    if (!readable(key))
        return cannot_open(e, "Could not load X509 key pair: ", key);
    if (SSL_CTX_use_certificate_chain_file(t->ctx, cert) != 1)
        return bad_pair(e, holds(cert, "PRIVATE KEY-----")
                               ? "failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs "
                                 "may have been switched"
                               : "failed to find any PEM data in certificate input");
    if (SSL_CTX_use_PrivateKey_file(t->ctx, key, SSL_FILETYPE_PEM) == 1)
        return 0;
    if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH)
        return bad_pair(e, "private key does not match public key");
    return bad_pair(e, holds(key, "-----BEGIN CERTIFICATE-----") ? "found a certificate rather than a key in the PEM for the private key"
                                                                 : "failed to find any PEM data in key input");
}

/* ---- the connection --------------------------------------------------------------------------------------------------------------- */

static int wait_for(int fd, short events, int64_t until) {
    int64_t left = (until - clock_mono_ns()) / NSEC_PER_MSEC;
    struct pollfd p = {.fd = fd, .events = events};

    return left > 0 && poll(&p, 1, (int)left) == 1 ? 0 : -ETIMEDOUT;
}

static int dial(struct tunnel *t, const char *port, int64_t until, struct err *e) {
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    bool old = inet_pton(AF_INET, t->address, &in.sin_addr) == 1;
    const struct sockaddr *to = old ? (const struct sockaddr *)&in : (const struct sockaddr *)&in6;
    char why[ERR_REASON_MAX];
    int error = 0;
    socklen_t n = sizeof error;
    int64_t number;

    if (parse_int_range(port, 1, UINT16_MAX, &number) < 0 || (!old && inet_pton(AF_INET6, t->address, &in6.sin6_addr) != 1))
        return err_set(e, ERR_INVALID, "dial tcp: address %s: invalid port", port);
    in.sin_port = in6.sin6_port = htons((uint16_t)number);
    t->net = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (t->net < 0)
        return err_errno(e, errno, "socket");
    if (connect(t->net, to, old ? sizeof in : sizeof in6) < 0)
        error = errno;
    if (error == EINPROGRESS && wait_for(t->net, POLLOUT, until) < 0)
        return err_set(e, ERR_UNAVAILABLE, "dial tcp %s:%s: i/o timeout", t->address, port);
    if (error == EINPROGRESS && getsockopt(t->net, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
        error = errno;
    return error ? err_set(e, ERR_UNAVAILABLE, "dial tcp %s:%s: connect: %s", *t->name ? t->address : "", port, err_reason(error, why)) : 0;
}

/* ---- the cage ---------------------------------------------------------------------------------------------------------------------- */

static int filter_calls(void) {
    static const int allowed[] = {SCMP_SYS(read),         SCMP_SYS(write),      SCMP_SYS(recvfrom),      SCMP_SYS(sendto),
                                  SCMP_SYS(poll),         SCMP_SYS(ppoll),      SCMP_SYS(close),         SCMP_SYS(brk),
                                  SCMP_SYS(mmap),         SCMP_SYS(munmap),     SCMP_SYS(mremap),        SCMP_SYS(madvise),
                                  SCMP_SYS(mprotect),     SCMP_SYS(futex),      SCMP_SYS(getrandom),     SCMP_SYS(clock_gettime),
                                  SCMP_SYS(gettimeofday), SCMP_SYS(getpid),     SCMP_SYS(rt_sigreturn),  SCMP_SYS(restart_syscall),
                                  SCMP_SYS(exit),         SCMP_SYS(exit_group), SCMP_SYS(rt_sigprocmask)};
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int r = ctx ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(allowed); i++)
        r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
    if (r == 0)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    return r;
}

/* What reads a stranger's bytes needs nothing but its two sockets. */
static int give_up_all_else(struct err *e) {
    const struct rlimit none = {0, 0}, memory = {MIB(64), MIB(64)};
    int r = 0;

    if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0))
        r = -errno;
    if (r == 0 &&
        (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 || (FILTERS && setrlimit(RLIMIT_DATA, &memory) < 0)))
        r = -errno;
    if (r == 0 && FILTERS)
        r = filter_calls();
    return r < 0 ? err_errno(e, r, "giving up privileges") : 0;
}

/* ---- the handshake ------------------------------------------------------------------------------------------------------------------ */

/* Whom the certificate is for, as "a, b". */
static void names_of(X509 *cert, char *ret, size_t size) {
    GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    size_t n = 0;

    ret[0] = 0;
    for (int i = 0; all && i < sk_GENERAL_NAME_num(all) && n < size; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
        char text[INET6_ADDRSTRLEN + 256] = "";

        if (g->type == GEN_DNS)
            snprintf(text, sizeof text, "%.*s", MIN(ASN1_STRING_length(g->d.dNSName), 255), (const char *)ASN1_STRING_get0_data(g->d.dNSName));
        else if (g->type == GEN_IPADD)
            inet_ntop(ASN1_STRING_length(g->d.iPAddress) == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(g->d.iPAddress), text, sizeof text);
        if (text[0])
            n += (size_t)snprintf(ret + n, size - n, "%s%s", n ? ", " : "", text);
    }
    GENERAL_NAMES_free(all);
}

static bool is_address(const char *name) {
    unsigned char bytes[16];

    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static int refused_certificate(const struct tunnel *t, long why, struct err *e) {
    X509 *cert = SSL_get0_peer_certificate(t->ssl);
    char names[512] = "";

    switch (why) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return err_set(e, ERR_UNAVAILABLE, "tls: failed to verify certificate: x509: certificate has expired or is not yet valid");
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        if (cert)
            names_of(cert, names, sizeof names);
        if (!names[0])
            return err_set(e, ERR_UNAVAILABLE,
                           "tls: failed to verify certificate: x509: cannot validate certificate for %s because it doesn't contain any %s SANs",
                           t->name, is_address(t->name) ? "IP" : "DNS");
        return err_set(e, ERR_UNAVAILABLE, "tls: failed to verify certificate: x509: certificate is valid for %s, not %s", names, t->name);
    default:
        return err_set(e, ERR_UNAVAILABLE, "tls: failed to verify certificate: x509: certificate signed by unknown authority");
    }
}

static int handshake_failed(const struct tunnel *t, int code, struct err *e) {
    unsigned long last = ERR_peek_error();
    long why = SSL_get_verify_result(t->ssl);

    if (t->verify && why != X509_V_OK)
        return refused_certificate(t, why, e);
    if (code == SSL_ERROR_SYSCALL && last == 0)
        return err_set(e, ERR_UNAVAILABLE, "EOF");
    switch (ERR_GET_REASON(last)) {
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return err_set(e, ERR_UNAVAILABLE, "EOF");
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_RECORD_LENGTH_MISMATCH:
        return err_set(e, ERR_UNAVAILABLE, "tls: first record does not look like a TLS handshake");
    default:
        return err_set(e, ERR_UNAVAILABLE, "tls: %s", ERR_reason_error_string(last) ? ERR_reason_error_string(last) : "the handshake failed");
    }
}

static int expect_name(struct tunnel *t) {
    X509_VERIFY_PARAM *p = SSL_get0_param(t->ssl);

    if (is_address(t->name))
        return X509_VERIFY_PARAM_set1_ip_asc(p, t->name);
    return SSL_set_tlsext_host_name(t->ssl, t->name) == 1 && X509_VERIFY_PARAM_set1_host(p, t->name, 0) == 1;
}

static int handshake(struct tunnel *t, int64_t until, struct err *e) {
    t->ssl = SSL_new(t->ctx);
    if (!t->ssl || SSL_set_fd(t->ssl, t->net) != 1 || expect_name(t) != 1)
        return err_oom(e);
    SSL_set_verify(t->ssl, t->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    for (;;) {
        int r = SSL_connect(t->ssl), code = SSL_get_error(t->ssl, r);

        if (r == 1)
            return 0;
        if (code != SSL_ERROR_WANT_READ && code != SSL_ERROR_WANT_WRITE)
            return handshake_failed(t, code, e);
        if (wait_for(t->net, code == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until) < 0)
            return err_set(e, ERR_UNAVAILABLE, "net/http: TLS handshake timeout");
    }
}

/* ---- both directions ---------------------------------------------------------------------------------------------------------------- */

struct way {
    char bytes[BLOCK];
    size_t at, n;
};

/* 1 when something moved, 0 when the other side has to, -1 at the end. *events: what of the receiver's socket would help. */
static int to_receiver(struct tunnel *t, struct way *out, bool *done, short *events) {
    int r, code;

    if (out->at == out->n && !*done) {
        ssize_t n = recv(0, out->bytes, sizeof out->bytes, MSG_DONTWAIT);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        *done = n == 0;
        out->at = 0;
        out->n = (size_t)n;
    }
    if (out->at == out->n)
        return 0;
    r = SSL_write(t->ssl, out->bytes + out->at, (int)(out->n - out->at));
    if (r > 0) {
        out->at += (size_t)r;
        return 1;
    }
    code = SSL_get_error(t->ssl, r);
    *events = (short)(*events | (code == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT));
    return code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static int from_receiver(struct tunnel *t, struct way *in, short *events) {
    int r, code;

    if (in->at < in->n) {
        ssize_t n = send(0, in->bytes + in->at, in->n - in->at, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        in->at += (size_t)n;
        return 1;
    }
    r = SSL_read(t->ssl, in->bytes, sizeof in->bytes);
    if (r > 0) {
        in->at = 0;
        in->n = (size_t)r;
        return 1;
    }
    code = SSL_get_error(t->ssl, r);
    *events = (short)(*events | (code == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN));
    return code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static void carry(struct tunnel *t) {
    static struct way out, in;
    bool done = false;
    int64_t until = INT64_MAX;

    for (;;) {
        struct pollfd fds[2] = {{.fd = 0}, {.fd = t->net}};
        int there = to_receiver(t, &out, &done, &fds[1].events), back = done ? 0 : from_receiver(t, &in, &fds[1].events);

        if (there < 0 || back < 0)
            return;
        if (done && out.at == out.n) {
            SSL_shutdown(t->ssl);
            return;
        }
        if (done && until == INT64_MAX)
            until = clock_mono_ns() + CLOSE_MS * NSEC_PER_MSEC;
        if (there > 0 || back > 0)
            continue;
        if (!done)
            fds[0].events = (short)((out.at == out.n ? POLLIN : 0) | (in.at < in.n ? POLLOUT : 0));
        else
            fds[0].fd = -1;
        if (poll(fds, 2, done ? CLOSE_MS : -1) < 0 && errno != EINTR)
            return;
        if (clock_mono_ns() > until)
            return;
    }
}

static int open_tunnel(struct tunnel *t, char **argv, struct err *e) {
    int64_t until = clock_mono_ns() + OPEN_MS * NSEC_PER_MSEC;
    int r;

    t->ctx = SSL_CTX_new(TLS_client_method());
    if (!t->ctx)
        return err_oom(e);
    SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    r = use_authority(t, argv[4], e);
    if (r == 0)
        r = use_pair(t, argv[5], argv[6], e);
    if (r == 0)
        r = dial(t, argv[2], until, e);
    if (r == 0)
        r = give_up_all_else(e);
    return r < 0 ? r : handshake(t, until, e);
}

int main(int argc, char **argv) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct tunnel t = {.net = -EBADF};
    int type;
    socklen_t n = sizeof type;

    if (argc != 8 || getsockopt(0, SOL_SOCKET, SO_TYPE, &type, &n) < 0) {
        fprintf(stderr, "hatake-logtls: started by hataked and hatake-monitor, not by hand\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    t.address = argv[1];
    t.name = argv[3];
    t.verify = streq(argv[7], "verify");
    if (open_tunnel(&t, argv, &e) < 0) {
        ignore_result(write(1, err_msg(&e), strlen(err_msg(&e))) < 0);
        return 1;
    }
    if (send(0, "+", 1, MSG_NOSIGNAL) == 1)
        carry(&t);
    return 0;
}
