// SPDX-License-Identifier: Apache-2.0
/*
 * proxy-internal.h - inside of hataked's side of hatake-netd: proxy.c (starting it), proxy-ports.c (sockets), proxy-names.c (names, watching over it).
 *
 * Everything here is called with proxy.lock held unless it says otherwise.
 */
#ifndef HATAKE_NETPLANE_PROXY_INTERNAL_H
#define HATAKE_NETPLANE_PROXY_INTERNAL_H

#include <pthread.h>

#include "base/map.h"
#include "netd/proto.h"
#include "netplane/proxy.h"

#define GROUP_TEXT (2 * NETD_GROUP_BYTES)

/*
 * Ports of an endpoint as hatake-netd has them. The sockets are held here as well: what waits in them when one is killed is served by the next. (After a
 * restart of hataked they come back from hatake-netd.)
 */
struct held {
    size_t n;
    struct held_port {
        struct netd_entry entry;
        int fd;
    } * v;
};

struct proxy {
    pthread_mutex_t lock;
    char *program, *path;
    bool hold;
    int fd;            /* connection; -EBADF: none runs (or it ended) */
    int door;          /* its socket, made ahead of it; -EBADF once handed over */
    bool unsettled;    /* drops were sent and not yet waited for */
    struct map groups; /* hex prefix of endpoint id -> struct held */
    bool spawned;      /* the last proxy_reach() started one */
    struct map said;   /* names and resolvers: what must be said again to a new one */
    size_t resolvers;  /* of those */
    bool gathering;    /* until the first proxy_sweep(): resolvers wait until all names have been said */
    /* the thread that watches over it */
    bool watching, stop;
    pthread_t watcher;
    int watched, wake; /* copy of the connection; eventfd */
};

/* Fixed part of a packet; the first digits of the id (NULL: none) go to ret_group. */
void proxy_message(struct netd_msg *m, enum netd_op op, const char *id, char ret_group[GROUP_TEXT + 1]);
/* 0, or -errno with the connection closed. Descriptors stay the caller's. */
int proxy_send(struct proxy *p, const void *packet, size_t n, const int *fds, size_t n_fds);
/* Connect to the one that runs, or start one; then everything has been said to it. */
int proxy_reach(struct proxy *p, struct err *e);

/* proxy-ports.c */
void held_free(void *held);
/* The same for ports that are given up: nobody listens there any more. */
void held_end(struct held *h);
/* Append ports to a group, which need not be there; takes the descriptors, also on failure. 0 or -ENOMEM. */
int held_add(struct proxy *p, const char *group, const struct netd_entry *entries, int *fds, size_t n);
/* Hand over the group's ports from the first-th on. 0 or -errno. */
int held_send(struct proxy *p, const char *group, size_t first);
/* Hand everything to one that was just started. */
int held_send_all(struct proxy *p);
/* What hatake-netd tells of itself goes into our log. */
void proxy_heard(const struct netd_msg *m, size_t n);
/* Read answers until "synced"; groups and their sockets are added to p->groups. */
int proxy_wait_synced(struct proxy *p);

/* proxy-names.c */
/* There is a new connection. */
void proxy_connected(struct proxy *p);
/* Say everything again. */
int proxy_repeat(struct proxy *p, struct err *e);
/* No more names are to come from before: say the resolvers. */
void proxy_all_said(struct proxy *p);
/* Without the lock: end the watching thread. */
void proxy_unwatch(struct proxy *p);
/* Release what is kept. */
void proxy_forget(struct proxy *p);

#endif
