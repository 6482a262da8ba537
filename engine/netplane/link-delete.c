// SPDX-License-Identifier: Apache-2.0
/*
 * Removing interfaces without waiting for the end of it. The kernel takes an interface out of its lists at once and tells so; then it waits, some tens of
 * milliseconds, until nobody can be using it any more. That wait is a thread's.
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

/* Has the kernel told that the interface is gone? */
static bool told(int fd, unsigned index) {
    char space[16384];
    ssize_t n = recv(fd, space, sizeof(space), MSG_DONTWAIT);

    for (struct nlmsghdr *h = (struct nlmsghdr *)space; n > 0 && NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
        const struct ifinfomsg *m = NLMSG_DATA(h);

        /* A bridge tells of its ports as AF_BRIDGE. */
        if (h->nlmsg_type == RTM_DELLINK && m->ifi_family == AF_UNSPEC && (unsigned)m->ifi_index == index)
            return true;
    }
    return false;
}

int link_delete_soon(const char *ifname, struct err *e) {
    unsigned index = if_nametoindex(ifname);
    struct netl_sock s = {.fd = -EBADF};
    struct removal *m = NULL;
    int group = RTNLGRP_LINK, r = 0;
    bool gone = false;

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
    while (!gone) {
        struct pollfd p[2] = {{.fd = m->done, .events = POLLIN}, {.fd = s.fd, .events = POLLIN}};

        if (poll(p, 2, -1) < 0 && errno != EINTR)
            break;
        if (p[0].revents & POLLIN) {
            r = m->result < 0 ? err_move(e, &m->why) : 0;
            break;
        }
        gone = p[1].revents && told(s.fd, index);
    }
    removal_unref(m);
    netl_close(&s);
    return r;
}
