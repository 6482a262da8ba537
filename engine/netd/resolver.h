// SPDX-License-Identifier: Apache-2.0
/*
 * resolver.h - inside of the embedded DNS: one resolver per container, the questions it passes on, the servers it asks.
 *
 * resolver.c takes questions from a container's sockets and answers what names.h knows. The rest goes to forward.c: the container's servers one after the
 * other, four seconds each, from the container's own network namespace by the few sockets that came with it (a socket is connected anew, and so
 * has a new port, whenever it was idle), or from the machine's for servers on the machine's loopback. upstream.c follows the machine's resolv.conf.
 *
 * Answers are right at the moment a start or connect returned to the client: after reading questions and before answering them everything that
 * hataked has said is taken in (netd_control).
 * Threads: one.
 */
#ifndef HATAKE_NETD_RESOLVER_H
#define HATAKE_NETD_RESOLVER_H

#include <netinet/in.h>

#include "netd/dns-msg.h"
#include "netd/names.h"
#include "netd/netd.h"

#define RESOLVER_SERVERS 3         /* servers that are ever asked, as the reference and the C library have it */
#define RESOLVER_ASK_MS 4000       /* for one server */
#define RESOLVER_PENDING 1024      /* questions of one container under way; one more is refused */
#define RESOLVER_PENDING_ALL 16384 /* of all containers */
#define RESOLVER_CONNS 128         /* TCP connections of one container; further ones wait in the kernel */
#define RESOLVER_CONNS_ALL 4096
#define RESOLVER_IDLE_MS 8000   /* for a TCP connection without a question */
#define RESOLVER_QUERY_MAX 4096 /* longest question */

struct server {
    struct sockaddr_in6 addr; /* IPv4 as ::ffff:a.b.c.d */
    bool host;                /* asked from the machine's namespace */
};

struct pending;
struct conn;
struct resolver;

/* A UDP socket for questions to one server at a time. */
struct asker {
    struct source source;
    struct resolver *r; /* NULL: in the machine's namespace */
    struct asker *next; /* of the machine's ones */
    struct server server;
    int domain; /* AF_INET6, AF_INET */
    struct pending *list;
    size_t n;
};

struct resolver {
    struct source source; /* no descriptor: so that it is freed after the turn */
    uint8_t id[NETD_GROUP_BYTES];
    unsigned flags; /* NETD_R_* */
    uint64_t trace; /* of the request that said so */
    bool stale;
    struct view view;
    struct server servers[RESOLVER_SERVERS];
    size_t n_servers;
    struct questions *udp;
    struct entrance *tcp;
    struct asker *ask[NETD_ASK_UDP];
    int ask_tcp[NETD_ASK_TCP]; /* not in use at the moment; -EBADF otherwise */
    struct conn *conns;
    size_t n_conns;
    struct pending *all; /* questions under way */
    size_t n_pending;
    struct pending *wait_first, **wait_last; /* for a TCP socket */
};

/* Who asked. */
struct asked_by {
    struct sockaddr_in addr; /* UDP */
    struct conn *conn;       /* or TCP */
};

/* ---- resolver.c ---- */
extern struct names names;
/* NETD_RESOLVER; takes the descriptors (n_fds: 0 or NETD_SOCKETS). */
void resolver_set(const uint8_t *id, struct netd_fields f, int *fds, size_t n_fds);
/* NULL when there is none. */
struct resolver *resolver_find(const uint8_t *id);
void resolver_remove(const uint8_t *id);
void resolvers_stale(void);
void resolvers_sweep(void);
bool resolvers_any(void);
/* Answer for a question that had been passed on; m has the asker's id. conn may have gone. */
void resolver_deliver(struct resolver *r, const struct asked_by *by, const uint8_t *m, size_t n);
/* Close TCP connections without a question; milliseconds until the next is due, -1 when there are none. */
int resolvers_expire(void);

/* ---- forward.c ---- */
/* Pass a question on. m is copied. False: refused, too many under way. */
bool forward(struct resolver *r, const struct asked_by *by, const uint8_t *m, size_t n, const struct dns_query *q);
/* The connection is gone: nobody waits for its questions. */
void forward_forget(struct resolver *r, const struct conn *c);
/* Nothing more is asked for this container. */
void forward_end(struct resolver *r);
struct asker *asker_new(struct resolver *r, int fd);
/* Give questions that waited long enough to the next server; milliseconds until the next is due, -1 when there are none. */
int forward_expire(void);

/* ---- upstream.c ---- */
/* The machine's servers, read again when its resolv.conf has changed. */
const struct server *upstream_host(size_t *ret_n);
/* An address as text; false when it is none. */
bool upstream_parse(const char *text, size_t n, struct server *ret);
/* Servers of a resolv.conf. */
size_t upstream_read(const char *text, struct server *ret, size_t max);
int64_t netd_ms(void);

#endif
