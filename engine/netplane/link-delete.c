// SPDX-License-Identifier: Apache-2.0
/*
 * Removing interfaces without waiting for the end of it. The kernel closes an interface (its routes go), takes it out of its lists and then waits, some tens
 * of milliseconds for a bridge, until nobody can be using it any more, on the way telling those who listen. Only the thread waits for that.
 *
 * All the time the kernel holds the lock that every change of interfaces needs. So whoever makes, changes or lists interfaces next is served
 * when this one is gone in every respect.
 */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/thread.h"
#include "netplane/link.h"
#include "netplane/netl.h"

#define STACK ((size_t)128 << 10)

/* Shared by the caller and the thread; the last one frees it. */
struct removal {
    int refs; /* atomic */
    int done; /* eventfd: the kernel has answered */
    int result;
    struct err why;
    char ifname[IFNAMSIZ];
};

static void removal_unref(struct removal *m) {
    if (__atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    close_fd(m->done);
    err_done(&m->why);
    free(m);
}

static void *remover(void *arg) {
    struct removal *m = arg;
    uint64_t one = 1;

    m->result = link_delete(m->ifname, &m->why);
    ignore_result(write(m->done, &one, sizeof(one)) < 0);
    removal_unref(m);
    return NULL;
}

static int start(struct removal *m) {
    return thread_start(NULL, STACK, remover, m);
}

/* What the kernel has told of an interface. */
enum news { NEWS_NONE, NEWS_CLOSED, NEWS_GONE };

static enum news hear(int fd, unsigned index) {
    char space[16384];
    ssize_t n = recv(fd, space, sizeof(space), MSG_DONTWAIT);
    enum news best = NEWS_NONE;

    for (struct nlmsghdr *h = (struct nlmsghdr *)space; n > 0 && NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
        const struct ifinfomsg *m = NLMSG_DATA(h);

        /* A bridge tells of its ports as AF_BRIDGE. */
        if (m->ifi_family != AF_UNSPEC || (unsigned)m->ifi_index != index)
            continue;
        if (h->nlmsg_type == RTM_DELLINK)
            best = NEWS_GONE;
        else if (h->nlmsg_type == RTM_NEWLINK && !(m->ifi_flags & IFF_UP))
            best = best == NEWS_NONE ? NEWS_CLOSED : best;
    }
    return best;
}

/* Until it is gone, or the removal is over. It leaves the lists some microseconds after it was closed, which nothing tells. */
static void wait_gone(const struct removal *m, int events, unsigned index, enum link_gone when) {
    static const struct timespec usual = {.tv_nsec = 1000000}, shortly = {.tv_nsec = 50000};
    enum news news = NEWS_NONE;
    bool done = false;

    while (!done && news != NEWS_GONE && (when == LINK_TOLD || if_nametoindex(m->ifname) == index)) {
        struct pollfd p[2] = {{.fd = m->done, .events = POLLIN}, {.fd = events, .events = POLLIN}};

        if (ppoll(p, 2, when == LINK_TOLD ? NULL : news == NEWS_CLOSED ? &shortly : &usual, NULL) < 0 && errno != EINTR)
            return;
        done = p[0].revents & POLLIN;
        if (p[1].revents)
            news = MAX(news, hear(events, index));
    }
}

/* The removal's own answer, when there is one by now. */
static int outcome(struct removal *m, struct err *e) {
    struct pollfd p = {.fd = m->done, .events = POLLIN};

    return poll(&p, 1, 0) == 1 && m->result < 0 ? err_move(e, &m->why) : 0;
}

int link_delete_soon(const char *ifname, enum link_gone when, struct err *e) {
    unsigned index = if_nametoindex(ifname);
    struct netl_sock s = {.fd = -EBADF};
    struct removal *m = NULL;
    int group = RTNLGRP_LINK, r;

    if (!index)
        return 0;
    if (netl_open(&s, NETLINK_ROUTE, NULL) == 0 && setsockopt(s.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) == 0)
        m = calloc(1, sizeof(*m));
    if (m) {
        *m = (struct removal){.refs = 2, .done = eventfd(0, EFD_CLOEXEC), .why = ERR_INIT};
        memcpy(m->ifname, ifname, strnlen(ifname, IFNAMSIZ - 1));
    }
    if (!m || m->done < 0 || start(m) < 0) {
        if (m)
            close_fd(m->done);
        free(m);
        netl_close(&s);
        return link_delete(ifname, e);
    }
    wait_gone(m, s.fd, index, when);
    r = outcome(m, e);
    removal_unref(m);
    netl_close(&s);
    return r;
}
