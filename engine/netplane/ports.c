// SPDX-License-Identifier: Apache-2.0
#include "netplane/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"
#include "netplane/ipam.h"
#include "netplane/link.h"

#define BACKLOG 4096
#define TRIES 10 /* ports tried when somebody else on the machine holds the one chosen */
#define KEY_MAX 72

struct ports {
    pthread_mutex_t lock;
    struct map table; /* "proto/address/port" */
    struct ports_config config;
    char default_ip[PORT_HOST_IP_MAX];
    unsigned lo, hi;  /* range for ports nobody named */
    unsigned next[3]; /* where the search goes on, per protocol */
};

const char *port_proto_name(enum port_proto p) {
    return p == PORT_TCP ? "tcp" : p == PORT_UDP ? "udp" : "sctp";
}

bool port_proto_parse(const char *s, enum port_proto *ret) {
    if (strcasecmp(s, "tcp") == 0)
        *ret = PORT_TCP;
    else if (strcasecmp(s, "udp") == 0)
        *ret = PORT_UDP;
    else if (strcasecmp(s, "sctp") == 0)
        *ret = PORT_SCTP;
    else
        return false;
    return true;
}

int ports_new(const struct ports_config *c, struct ports **ret, struct err *e) {
    struct ports *p = calloc(1, sizeof(*p));

    if (!p)
        return err_oom(e);
    p->config = *c;
    snprintf(p->default_ip, sizeof(p->default_ip), "%s", c->default_ip ? c->default_ip : "");
    p->config.default_ip = p->default_ip;
    link_port_range(&p->lo, &p->hi);
    for (size_t i = 0; i < ELEMENTSOF(p->next); i++)
        p->next[i] = p->lo;
    pthread_mutex_init(&p->lock, NULL);
    *ret = p;
    return 0;
}

struct ports *ports_free(struct ports *p) {
    if (!p)
        return NULL;
    map_done(&p->table);
    pthread_mutex_destroy(&p->lock);
    free(p);
    return NULL;
}

static void key_of(enum port_proto proto, const char *ip, uint16_t port, char ret[KEY_MAX]) {
    snprintf(ret, KEY_MAX, "%d/%s/%u", (int)proto, ip, port);
}

static bool is_taken(const struct ports *p, enum port_proto proto, const char *ip, uint16_t port) {
    char key[KEY_MAX];

    key_of(proto, ip, port, key);
    return map_has(&p->table, key);
}

/* ---- sockets ----------------------------------------------------------------------------------------------------------------------- */

/* 0, or -errno. A protocol or family the kernel does not have gives -EAFNOSUPPORT. */
static int open_socket(struct port_taken *t) {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } a = {0};
    socklen_t len = t->v6 ? sizeof(a.in6) : sizeof(a.in);
    _cleanup_close_ int fd = -EBADF;
    int one = 1;

    fd = socket(t->v6 ? AF_INET6 : AF_INET, (t->proto == PORT_UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, (int)t->proto);
    if (fd < 0)
        return errno == EPROTONOSUPPORT || errno == ESOCKTNOSUPPORT ? -EAFNOSUPPORT : -errno;
    if (t->v6) {
        a.in6.sin6_family = AF_INET6;
        a.in6.sin6_port = htons(t->host_port);
        if (inet_pton(AF_INET6, t->host_ip, &a.in6.sin6_addr) != 1)
            return -EINVAL;
        if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
            return -errno;
    } else {
        a.in.sin_family = AF_INET;
        a.in.sin_port = htons(t->host_port);
        a.in.sin_addr.s_addr = htonl(t->host_addr);
    }
    /* For UDP it would let a second process share the port. */
    if (t->proto != PORT_UDP && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
        return -errno;
    if (bind(fd, &a.sa, len) < 0)
        return -errno;
    if (t->proto != PORT_UDP && listen(fd, BACKLOG) < 0)
        return -errno;
    t->fd = TAKE_FD(fd);
    return 0;
}

/* The reference is written in Go: strerror(3) texts begin in lower case there. */
static int bind_error(const struct ports *p, const struct port_taken *t, int err, struct err *e) {
    const char *text = err == EADDRINUSE      ? "address already in use"
                       : err == EADDRNOTAVAIL ? "cannot assign requested address"
                       : err == EACCES        ? "permission denied"
                                              : strerror(err);

    return err_set(e, ERR_INTERNAL, "%slisten %s%c %s%s%s:%u: bind: %s", p->config.proxied ? "Error starting userland proxy: " : "",
                   port_proto_name(t->proto), t->v6 ? '6' : '4', t->v6 ? "[" : "", t->host_ip, t->v6 ? "]" : "", t->host_port, text);
}

/* ---- taking ------------------------------------------------------------------------------------------------------------------------ */

struct taking {
    struct ports *p;
    struct port_taken *v;
    size_t n;
    bool settled;
};

static int enter(struct ports *p, const struct port_taken *t, struct err *e) {
    char key[KEY_MAX];

    key_of(t->proto, t->host_ip, t->host_port, key);
    return map_set(&p->table, key, p, NULL) < 0 ? err_oom(e) : 0;
}

static void leave(struct ports *p, const struct port_taken *t) {
    char key[KEY_MAX];

    key_of(t->proto, t->host_ip, t->host_port, key);
    map_remove(&p->table, key);
}

/* Entries for one request, one per address family, without port yet. */
static int addresses(const struct ports *p, const struct port_request *r, struct port_taken ret[2], size_t *ret_n, struct err *e) {
    const char *ip = r->host_ip[0] ? r->host_ip : p->default_ip;
    struct in6_addr a6;

    memset(ret, 0, 2 * sizeof(*ret));
    for (int i = 0; i < 2; i++) {
        ret[i].proto = r->proto;
        ret[i].container_port = r->container_port;
        ret[i].fd = -EBADF;
    }
    *ret_n = 1;
    if (!ip[0]) {
        snprintf(ret[0].host_ip, sizeof(ret[0].host_ip), "0.0.0.0");
        snprintf(ret[1].host_ip, sizeof(ret[1].host_ip), "::");
        ret[1].v6 = true;
        *ret_n = 2;
        return 0;
    }
    snprintf(ret[0].host_ip, sizeof(ret[0].host_ip), "%s", ip);
    if (ipv4_parse(ip, &ret[0].host_addr) == 0)
        return 0;
    if (inet_pton(AF_INET6, ip, &a6) != 1)
        return err_set(e, ERR_INVALID, "invalid IP address: %s", ip);
    ret[0].v6 = true;
    return 0;
}

static void undo(struct ports *p, struct port_taken *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        leave(p, &v[i]);
        v[i].fd = close_fd(v[i].fd);
    }
}

/* Bind one entry; an address family that is not there is left out by *ret_skip. */
static int bind_one(struct taking *k, struct port_taken *t, bool optional, bool *ret_skip, int *ret_errno, struct err *e) {
    int r = open_socket(t);

    if (r == -EADDRINUSE && !k->settled && k->p->config.settle) {
        k->settled = true;
        k->p->config.settle(k->p->config.arg);
        r = open_socket(t);
    }
    *ret_skip = false;
    *ret_errno = -r;
    if (r == 0)
        return 0;
    if (optional && (r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL)) {
        *ret_skip = true;
        return 0;
    }
    /* No such protocol in this kernel's sockets: rewriting still works, only the reservation is missing. */
    if (r == -EAFNOSUPPORT && t->proto == PORT_SCTP)
        return 0;
    return bind_error(k->p, t, -r, e);
}

static int try_port(struct taking *k, const struct port_taken want[2], size_t n, uint16_t port, int *ret_errno, struct err *e) {
    size_t done = k->n;
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++) {
        struct port_taken *t = &k->v[k->n];
        bool skip = false;

        *t = want[i];
        t->host_port = port;
        r = bind_one(k, t, n == 2 && t->v6, &skip, ret_errno, e);
        if (r < 0 || skip)
            continue;
        r = enter(k->p, t, e);
        k->n++;
    }
    if (r < 0) {
        undo(k->p, k->v + done, k->n - done);
        k->n = done;
    }
    return r;
}

static bool any_taken(const struct ports *p, const struct port_taken want[2], size_t n, unsigned port) {
    for (size_t i = 0; i < n; i++) {
        if (is_taken(p, want[i].proto, want[i].host_ip, (uint16_t)port))
            return true;
    }
    return false;
}

static int take_one(struct taking *k, const struct port_request *req, struct err *e) {
    struct ports *p = k->p;
    struct port_taken want[2];
    size_t n = 0;
    unsigned lo = req->host_first, hi = req->host_last, start, tries = 0;
    unsigned *next = &p->next[req->proto == PORT_TCP ? 0 : req->proto == PORT_UDP ? 1 : 2];
    int why = 0, r = addresses(p, req, want, &n, e);

    if (r < 0)
        return r;
    if (!lo) {
        lo = p->lo;
        hi = p->hi;
        start = *next;
    } else if (lo == hi) {
        if (any_taken(p, want, n, lo))
            return err_set(e, ERR_INTERNAL, "Bind for %s:%u failed: port is already allocated", want[0].host_ip, lo);
        return try_port(k, want, n, (uint16_t)lo, &why, e);
    } else {
        start = lo;
    }
    for (unsigned i = 0, span = hi - lo + 1; i < span; i++) {
        unsigned port = lo + (start - lo + i) % span;

        if (any_taken(p, want, n, port))
            continue;
        r = try_port(k, want, n, (uint16_t)port, &why, e);
        if (r == 0) {
            if (!req->host_first)
                *next = port >= hi ? lo : port + 1;
            return 0;
        }
        if (why != EADDRINUSE || ++tries == TRIES)
            return r;
        err_done(e);
    }
    return err_set(e, ERR_INTERNAL, "all ports are allocated");
}

int ports_take(struct ports *p, const struct port_request *v, size_t n, struct port_taken **ret, size_t *ret_n, struct err *e) {
    struct taking k = {.p = p};
    int r = 0;

    k.v = calloc(2 * n + 1, sizeof(*k.v));
    if (!k.v)
        return err_oom(e);
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < n && r == 0; i++)
        r = take_one(&k, &v[i], e);
    if (r < 0)
        undo(p, k.v, k.n);
    pthread_mutex_unlock(&p->lock);
    if (r < 0) {
        free(k.v);
        return r;
    }
    *ret = k.v;
    *ret_n = k.n;
    return 0;
}

int ports_adopt(struct ports *p, const struct port_taken *v, size_t n, struct err *e) {
    size_t i = 0;
    int r = 0;

    pthread_mutex_lock(&p->lock);
    for (; i < n && r == 0; i++) {
        if (is_taken(p, v[i].proto, v[i].host_ip, v[i].host_port))
            r = err_set(e, ERR_CONFLICT, "Bind for %s:%u failed: port is already allocated", v[i].host_ip, v[i].host_port);
        else
            r = enter(p, &v[i], e);
    }
    if (r < 0) {
        for (size_t k = 0; k + 1 < i; k++)
            leave(p, &v[k]);
    }
    pthread_mutex_unlock(&p->lock);
    return r;
}

int ports_rebind(struct ports *p, struct port_taken *t, struct err *e) {
    int r = open_socket(t);

    return r < 0 ? bind_error(p, t, -r, e) : 0;
}

void ports_release(struct ports *p, struct port_taken *v, size_t n) {
    pthread_mutex_lock(&p->lock);
    undo(p, v, n);
    pthread_mutex_unlock(&p->lock);
}

void ports_close_fds(struct port_taken *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        v[i].fd = close_fd(v[i].fd);
}
