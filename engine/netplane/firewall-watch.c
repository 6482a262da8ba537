// SPDX-License-Identifier: Apache-2.0
/* Changes of rules by others: the kernel tells who made each new generation of the rule set. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/thread.h"
#include "netplane/firewall-internal.h"

#define QUIET_MS 100 /* somebody who flushes table after table is let finish */
#define NEW_GENERATION (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN)

/* Only messages of new generations reach us: those of every single rule and element would wake the thread for nothing. */
static int filter_messages(int fd) {
    struct sock_filter code[] = {
        /* Loads are in network byte order, the type is in the machine's. */
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htobe16(NEW_GENERATION), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {ELEMENTSOF(code), code};

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

/* The kernel names the thread that made the change. */
static bool is_ours(uint32_t thread) {
    char path[48];

    snprintf(path, sizeof(path), "/proc/self/task/%u", thread);
    return access(path, F_OK) == 0;
}

/* Read what is there; true when one of the changes was not ours, or messages were lost. */
static bool changed_by_others(int fd) {
    bool others = false;

    for (;;) {
        char space[8192];
        ssize_t n = recv(fd, space, sizeof(space), MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return others || (n < 0 && errno == ENOBUFS);
        for (struct nlmsghdr *h = (struct nlmsghdr *)space; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            const struct nlattr *a[NFTA_GEN_MAX + 1];

            if (h->nlmsg_type != NEW_GENERATION || h->nlmsg_len < NLMSG_LENGTH(sizeof(struct nfgenmsg)))
                continue;
            netl_parse((const char *)NLMSG_DATA(h) + sizeof(struct nfgenmsg), h->nlmsg_len - NLMSG_LENGTH(sizeof(struct nfgenmsg)), NFTA_GEN_MAX, a);
            others = others || !is_ours(netl_be32(a[NFTA_GEN_PROC_PID]));
        }
    }
}

static void *watch(void *arg) {
    struct firewall *f = arg;
    struct pollfd p[2] = {{.fd = f->events.fd, .events = POLLIN}, {.fd = f->stop, .events = POLLIN}};
    bool look = false;

    pthread_setname_np(pthread_self(), "firewall");
    for (;;) {
        int n = poll(p, 2, look ? QUIET_MS : -1);

        if (p[1].revents || (n < 0 && errno != EINTR))
            return NULL;
        if (n > 0) {
            look = changed_by_others(f->events.fd) || look;
        } else if (n == 0 && look) {
            look = false;
            if (!firewall_intact(f))
                f->damaged(f->arg);
        }
    }
}

int firewall_watch(struct firewall *f, void (*damaged)(void *arg), void *arg, struct err *e) {
    int group = NFNLGRP_NFTABLES, r;

    if (!f->config.enabled)
        return 0;
    f->damaged = damaged;
    f->arg = arg;
    r = netl_open(&f->events, NETLINK_NETFILTER, e);
    if (r < 0)
        return r;
    f->stop = eventfd(0, EFD_CLOEXEC);
    if (f->stop < 0 || filter_messages(f->events.fd) < 0 || setsockopt(f->events.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
        return err_errno(e, errno, "watch over firewall rules");
    r = thread_start(&f->watcher, KIB(256), watch, f);
    if (r < 0)
        return err_errno(e, -r, "watch over firewall rules");
    f->watched = true;
    return 0;
}

void firewall_unwatch(struct firewall *f) {
    uint64_t one = 1;

    if (f->watched) {
        ignore_result(write(f->stop, &one, sizeof(one)) < 0);
        pthread_join(f->watcher, NULL);
    }
    f->watched = false;
    f->stop = close_fd(f->stop);
    netl_close(&f->events);
}
