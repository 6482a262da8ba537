// SPDX-License-Identifier: Apache-2.0
#include "wire/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "wire/http.h"

#define PUMP_BYTES (16u << 10)
#define STACK_BYTES (512u << 10)

struct pump;

struct tls_front {
    SSL_CTX *ctx;
    int fd, wake;
    struct http_listener *to;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;
    struct pump *pumps;
    size_t n;
};

/* One direction: bytes read and not yet written. */
struct half {
    char data[PUMP_BYTES];
    size_t at, n;
    bool ended;  /* the source has ended */
    bool closed; /* and the end has been passed on, or the sink is gone */
};

struct pump {
    struct tls_front *front;
    struct pump *prev, *next;
    int net, plain;
    SSL *ssl;
    struct half in, out;           /* in: from the client */
    short read_wants, write_wants; /* poll events on `net` the TLS library asked for; 0: may try at once */
};

/* ---- pumping -------------------------------------------------------------------------------------------------------------------- */

/* What the TLS library needs next. 0: nothing more, the connection is broken. */
static short wants(SSL *ssl, int r) {
    switch (SSL_get_error(ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return POLLIN;
    case SSL_ERROR_WANT_WRITE:
        return POLLOUT;
    default:
        return 0;
    }
}

/* From TLS to plain. False: broken. *ret_moved: something happened. */
static bool pump_in(struct pump *p, bool *ret_moved) {
    struct half *h = &p->in;

    if (h->n == 0 && !h->ended) {
        int r;

        ERR_clear_error();
        r = SSL_read(p->ssl, h->data, sizeof(h->data));
        p->read_wants = 0;
        if (r > 0) {
            h->at = 0;
            h->n = (size_t)r;
            *ret_moved = true;
        } else if (SSL_get_error(p->ssl, r) == SSL_ERROR_ZERO_RETURN) {
            h->ended = true;
            *ret_moved = true;
        } else if ((p->read_wants = wants(p->ssl, r)) == 0) {
            return false;
        }
    }
    while (h->n > 0) {
        ssize_t k = send(p->plain, h->data + h->at, h->n, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (k < 0 && errno == EAGAIN)
            break;
        if (k < 0) {
            h->n = 0;
            h->ended = h->closed = true; /* nobody listens to the client any more */
            break;
        }
        h->at += (size_t)k;
        h->n -= (size_t)k;
        *ret_moved = true;
    }
    if (h->ended && h->n == 0 && !h->closed) {
        shutdown(p->plain, SHUT_WR);
        h->closed = true;
    }
    return true;
}

/* From plain to TLS. */
static bool pump_out(struct pump *p, bool *ret_moved) {
    struct half *h = &p->out;

    if (h->n == 0 && !h->ended) {
        ssize_t k = recv(p->plain, h->data, sizeof(h->data), MSG_DONTWAIT);

        if (k > 0) {
            h->at = 0;
            h->n = (size_t)k;
            *ret_moved = true;
        } else if (k == 0 || errno != EAGAIN) {
            h->ended = true;
            *ret_moved = true;
        }
    }
    p->write_wants = 0;
    while (h->n > 0) {
        int r;

        ERR_clear_error();
        r = SSL_write(p->ssl, h->data + h->at, (int)h->n);
        if (r <= 0) {
            p->write_wants = wants(p->ssl, r);
            return p->write_wants != 0;
        }
        h->at += (size_t)r;
        h->n -= (size_t)r;
        *ret_moved = true;
    }
    if (h->ended && !h->closed) {
        ERR_clear_error();
        SSL_shutdown(p->ssl); /* close_notify: the client may go on sending */
        h->closed = true;
    }
    return true;
}

static void pump_run(struct pump *p) {
    for (;;) {
        struct pollfd w[2] = {{.fd = p->net}, {.fd = p->plain}};
        bool moved = false;

        if (!pump_in(p, &moved) || !pump_out(p, &moved))
            return;
        if (p->in.closed && p->out.closed)
            return;
        if (moved)
            continue;
        w[0].events = (short)(p->read_wants | p->write_wants);
        if (p->in.n > 0)
            w[1].events |= POLLOUT;
        if (!p->out.ended && p->out.n == 0)
            w[1].events |= POLLIN;
        /* All of our side has been sent and the engine has closed its end altogether: do not wait for the client. */
        if (p->out.closed && poll(&w[1], 1, 0) == 1 && (w[1].revents & POLLHUP))
            return;
        if (w[1].events == 0)
            w[1].fd = p->out.closed ? p->plain : -1;
        if (poll(w, 2, -1) < 0 && errno != EINTR)
            return;
    }
}

static bool handshake(struct pump *p) {
    int64_t until = clock_mono_ns() + TLS_HANDSHAKE_SECONDS * NSEC_PER_SEC;

    for (;;) {
        struct pollfd w = {.fd = p->net};
        int64_t left = (until - clock_mono_ns()) / NSEC_PER_MSEC;
        unsigned long why;
        int r;

        ERR_clear_error();
        r = SSL_accept(p->ssl);
        if (r == 1)
            return true;
        w.events = wants(p->ssl, r);
        if (w.events != 0) {
            if (left <= 0 || poll(&w, 1, (int)left) <= 0)
                return false;
            continue;
        }
        why = ERR_peek_error();
        if (ERR_GET_LIB(why) == ERR_LIB_SSL && ERR_GET_REASON(why) == SSL_R_HTTP_REQUEST) {
            static const char sorry[] = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

            ignore_result(send(p->net, sorry, sizeof(sorry) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0);
        } else if (log_enabled(LOG_LVL_DEBUG)) {
            char text[256];

            ERR_error_string_n(why, text, sizeof(text));
            log_kv(LOG_LVL_DEBUG, "TLS handshake failed", "error", text, NULL);
        }
        return false;
    }
}

/* Let the client read what was sent: a close with unread input would make the kernel drop it. */
static void close_gently(int fd) {
    struct pollfd w = {.fd = fd, .events = POLLIN};
    char scratch[4096];

    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 16 && poll(&w, 1, 500) == 1; i++)
        if (recv(fd, scratch, sizeof(scratch), MSG_DONTWAIT) <= 0)
            break;
    close(fd);
}

static void *pump_main(void *arg) {
    struct pump *p = arg;
    struct tls_front *f = p->front;
    sigset_t pipe_signal;

    pthread_setname_np(pthread_self(), "tls");
    /* The TLS library writes with write(2): a client that has left must be an error, not a signal. */
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
    if (handshake(p)) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0) {
            p->plain = pair[0];
            if (http_feed(f->to, pair[1], NULL) >= 0)
                pump_run(p);
        }
    }
    /* Out of the list first: tls_front_stop() uses the descriptors of those in it. */
    pthread_mutex_lock(&f->lock);
    *(p->prev ? &p->prev->next : &f->pumps) = p->next;
    if (p->next)
        p->next->prev = p->prev;
    pthread_mutex_unlock(&f->lock);
    SSL_free(p->ssl);
    close_fd(p->plain);
    close_gently(p->net);
    OPENSSL_thread_stop();
    free(p);
    pthread_mutex_lock(&f->lock);
    f->n--;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* ---- accepting -------------------------------------------------------------------------------------------------------------------- */

static void add_pump(struct tls_front *f, int net) {
    struct pump *p = calloc(1, sizeof(*p));
    int r = ENOMEM;

    if (!p) {
        close(net);
        return;
    }
    p->front = f;
    p->net = net;
    p->plain = -EBADF;
    p->ssl = SSL_new(f->ctx);
    pthread_mutex_lock(&f->lock);
    while (f->n >= TLS_CONNECTIONS_MAX && !f->stopping)
        pthread_cond_wait(&f->changed, &f->lock);
    if (p->ssl && SSL_set_fd(p->ssl, net) == 1 && !f->stopping) {
        p->next = f->pumps;
        if (p->next)
            p->next->prev = p;
        f->pumps = p;
        f->n++;
        r = thread_start(NULL, STACK_BYTES, pump_main, p);
        if (r != 0) {
            f->pumps = p->next;
            if (p->next)
                p->next->prev = NULL;
            f->n--;
        }
    }
    pthread_mutex_unlock(&f->lock);
    if (r != 0) {
        SSL_free(p->ssl);
        close(net);
        free(p);
    }
}

static void *accept_main(void *arg) {
    struct tls_front *f = arg;

    pthread_setname_np(pthread_self(), "tls-accept");
    for (;;) {
        struct pollfd w[2] = {{.fd = f->fd, .events = POLLIN}, {.fd = f->wake, .events = POLLIN}};
        int fd;

        if (poll(w, 2, -1) < 0 && errno != EINTR)
            break;
        if (w[1].revents)
            break;
        fd = accept4(f->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            add_pump(f, fd);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
            poll(&w[1], 1, 100); /* descriptors may come free; do not spin */
    }
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------------------------------------------------- */

/* The library keeps a chain of reasons; the first is the one a person can do something about. */
static int tls_error(const char *what, const char *file, struct err *e) {
    unsigned long first = ERR_peek_error();
    const char *why = ERR_SYSTEM_ERROR(first) ? strerrordesc_np(ERR_GET_REASON(first)) : ERR_reason_error_string(first);

    ERR_clear_error();
    return err_set(e, ERR_INVALID, "%s %s: %s (a file in PEM form is wanted)", what, file ? file : "", why ? why : "it cannot be read");
}

static int load(SSL_CTX *ctx, const struct tls_config *cfg, struct err *e) {
    if (!cfg->cert || !cfg->key || (cfg->verify && !cfg->ca))
        return err_set(e, ERR_INVALID, "TLS needs a certificate and a key%s", cfg->verify ? ", and an authority for clients" : "");
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"hatake", 6);
    if (SSL_CTX_use_certificate_chain_file(ctx, cfg->cert) != 1)
        return tls_error("could not load the certificate", cfg->cert, e);
    if (SSL_CTX_use_PrivateKey_file(ctx, cfg->key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        return tls_error("could not load the key", cfg->key, e);
    if (!cfg->verify)
        return 0;
    if (SSL_CTX_load_verify_locations(ctx, cfg->ca, NULL) != 1)
        return tls_error("could not load the certificate authority", cfg->ca, e);
    SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(cfg->ca));
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return 0;
}

int tls_front_new(const struct tls_config *cfg, int fd, struct http_listener *to, struct tls_front **ret, struct err *e) {
    struct tls_front *f = calloc(1, sizeof(*f));
    int r;

    if (!f)
        return err_oom(e);
    f->fd = f->wake = -EBADF;
    f->to = to;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->ctx = SSL_CTX_new(TLS_server_method());
    r = f->ctx ? load(f->ctx, cfg, e) : err_oom(e);
    if (r >= 0) {
        f->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (f->wake < 0)
            r = err_errno(e, errno, "starting TLS");
    }
    if (r >= 0) {
        int rc;

        f->fd = fd;
        rc = thread_start(&f->thread, STACK_BYTES, accept_main, f);
        if (rc != 0) {
            f->fd = -EBADF;
            r = err_errno(e, -rc, "starting TLS");
        }
    }
    if (r < 0) {
        tls_front_free(f);
        return r;
    }
    f->started = true;
    *ret = f;
    return 0;
}

void tls_front_stop(struct tls_front *f) {
    uint64_t one = 1;

    if (!f->started)
        return;
    pthread_mutex_lock(&f->lock);
    f->stopping = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    ignore_result(write(f->wake, &one, sizeof(one)) < 0);
    pthread_join(f->thread, NULL);
    f->started = false;
    pthread_mutex_lock(&f->lock);
    for (struct pump *p = f->pumps; p; p = p->next)
        shutdown(p->net, SHUT_RDWR);
    while (f->n > 0)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

struct tls_front *tls_front_free(struct tls_front *f) {
    if (!f)
        return NULL;
    tls_front_stop(f);
    SSL_CTX_free(f->ctx);
    close_fd(f->fd);
    close_fd(f->wake);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return NULL;
}
