// SPDX-License-Identifier: Apache-2.0
/*
 * proxy-internal.h - inside of hataked's side of hatake-netd: proxy.c (starting, ports), proxy-names.c (names, watching over it).
 *
 * Everything here is called with proxy.lock held unless it says otherwise.
 */
#ifndef HATAKE_NETPLANE_PROXY_INTERNAL_H
#define HATAKE_NETPLANE_PROXY_INTERNAL_H

#include <pthread.h>

#include "base/map.h"
#include "base/strv.h"
#include "netd/proto.h"
#include "netplane/proxy.h"

#define GROUP_TEXT (2 * NETD_GROUP_BYTES)

struct proxy {
    pthread_mutex_t lock;
    char *program, *path;
    bool hold;
    int fd;            /* connection; -EBADF: none runs (or it ended) */
    int door;          /* its socket, made ahead of it; -EBADF once handed over */
    bool unsettled;    /* drops were sent and not yet waited for */
    struct map groups; /* hex prefix of endpoint id -> this */
    struct map said;   /* names and resolvers: what must be said again to a new one */
    size_t resolvers;  /* of those */
    bool gathering;    /* until the first proxy_sweep(): resolvers wait until all names have been said */
    struct strv gone;  /* groups that were with one that has died, to be told */
    /* the thread that watches over it */
    bool watching, stop;
    pthread_t watcher;
    int watched, wake; /* copy of the connection; eventfd */
    void (*lost)(void *arg, const char *endpoint_prefix);
    void *lost_arg;
};

/* Fixed part of a packet; the first digits of the id (NULL: none) go to ret_group. */
void proxy_message(struct netd_msg *m, enum netd_op op, const char *id, char ret_group[GROUP_TEXT + 1]);
/* 0, or -errno with the connection closed. Descriptors stay the caller's. */
int proxy_send(struct proxy *p, const void *packet, size_t n, const int *fds, size_t n_fds);
/* Connect to the one that runs, or start one; then everything has been said to it. */
int proxy_reach(struct proxy *p, struct err *e);

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
