// SPDX-License-Identifier: Apache-2.0
/*
 * netd.h - hatake-netd: one small static process that keeps published ports taken, and serves those connections which address rewriting cannot
 * (IPv6 to IPv4, containers to published ports of the same machine, machines where the firewall is not ours to change). It also answers the names of
 * containers on user-defined networks (resolver.h, names.h).
 *
 * It outlives hataked. Single thread, one epoll, everything non-blocking, no files but the machine's resolv.conf; after start it has no privileges
 * (cage.h): sockets arrive bound over its control socket (proto.h).
 *
 * Limits: LIMIT_* below. A listener above its share of connections simply leaves them in the kernel's queue.
 */
#ifndef HATAKE_NETD_NETD_H
#define HATAKE_NETD_NETD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "netd/proto.h"

#define NETD_MAX_STREAMS 65536   /* TCP connections at once */
#define NETD_GROUP_STREAMS 16384 /* of one container on one network */
#define NETD_MAX_SESSIONS 8192   /* UDP clients at once; the one that was silent longest makes room for a new one */
#define NETD_KEEPALIVE_SECONDS 15
#define NETD_SESSION_SECONDS 90 /* silence after which a UDP client is forgotten */
#define NETD_IDLE_SECONDS 2     /* without any port: then the process ends */
#define NETD_CHUNK 65536        /* bytes moved per turn, and at most in the pipe of a slow receiver */

/* Anything in the epoll set begins with this. */
struct source {
    void (*ready)(struct source *s, uint32_t events);
    int fd;
    bool dead; /* closed during this turn; freed after it */
    struct source *next_dead;
};

struct group {
    struct group *next;
    uint8_t name[NETD_GROUP_BYTES];
    struct listener *listeners;
    size_t n_streams;
    uint64_t trace; /* of the request that published the ports */
};

struct stream;
struct session;

/* A socket of a published port. */
struct listener {
    struct source source;
    struct listener *next;
    struct group *group;
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } target;
    socklen_t target_len;
    uint8_t proto;
    bool hold;
    bool paused; /* not watched while there are too many connections */
    struct stream *streams;
    struct session *sessions;
};

struct netd {
    int epoll;
    struct group *groups;
    struct source *dead;
    size_t n_clients, n_streams, n_sessions, n_paused;
    char *space;    /* NETD_CHUNK bytes */
    bool tell_all;  /* hataked wants to hear of small matters, too */
    uint64_t trace; /* of the packet that is being dealt with */
};

/* Process-wide state: the process is this one object. */
extern struct netd netd;

/* Make the epoll set. 0 or -ENOMEM. */
int netd_begin(void);
/* Wait (at most wait_ms; -1: for ever) and deal with what there is; returns how many were ready. */
int netd_turn(int wait_ms);

int netd_watch(struct source *s, uint32_t events);
int netd_rewatch(struct source *s, uint32_t events);
/* Close the descriptor and free the object at the end of the turn. (It leaves the epoll set by name: others may hold the same socket.) */
void netd_bury(struct source *s);

/* Say to hataked, for its log, what happened to a group (an endpoint, a container) that the request `trace` made. Nobody waits for it. */
void netd_tell(bool warning, uint64_t trace, const uint8_t *group, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Take in everything that hataked has said so far. May bury anything but its caller's own memory. */
void netd_control(void);

void listener_tcp_ready(struct source *s, uint32_t events);
void listener_udp_ready(struct source *s, uint32_t events);
/* End all that came in by this listener. */
void listener_end_streams(struct listener *l);
void listener_end_sessions(struct listener *l);
/* Forget UDP clients that were silent; returns seconds until it is worth calling again, -1 when there are none. */
int sessions_expire(void);
/* Leave its further connections in the kernel until listeners_resume(). */
void listener_pause(struct listener *l);
/* A connection ended, or some time has passed: listeners that were paused may accept again. */
void listeners_resume(void);

#endif
