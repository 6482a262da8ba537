// SPDX-License-Identifier: Apache-2.0
/* Sockets of the container's resolver: made here, in the container's network namespace, served by somebody else. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "oci/exec-internal.h"

#define RESOLVER_ADDRESS 0x7f00000bu /* 127.0.0.11 */
#define BACKLOG 4096

/*
 * The address must be there before a socket is bound to it: bound early (IP_FREEBIND) it would answer from 127.0.0.1. The container's first process
 * does the same once more.
 */
static int loopback_up(void) {
    struct ifreq q = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &q) < 0 ? -errno : 0;
}

static int bound_socket(int type, unsigned port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(RESOLVER_ADDRESS)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r;

    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || (type == SOCK_STREAM && listen(fd, BACKLOG) < 0)) {
        r = -errno;
        close_fd(fd);
        return r;
    }
    return fd;
}

/* For both families where the kernel has both. */
static int asking_socket(int type) {
    int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? -errno : fd;
}

/* A batch of nftables messages; the kernel has dealt with it when the call returns and says only what failed. */
static int send_rules(const void *rules, size_t n) {
    _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    char answer[4096] __attribute__((aligned(8)));
    ssize_t got;

    if (fd < 0 || send(fd, rules, n, 0) < 0)
        return -errno;
    while ((got = recv(fd, answer, sizeof answer, MSG_DONTWAIT)) > 0) {
        size_t left = (size_t)got;

        for (const struct nlmsghdr *h = (struct nlmsghdr *)(void *)answer; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left))
            if (h->nlmsg_type == NLMSG_ERROR && ((const struct nlmsgerr *)NLMSG_DATA(h))->error)
                return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
    }
    return 0;
}

static int make_inside(unsigned udp_port, unsigned tcp_port, const void *rules, size_t n, int fds[OCI_RESOLVER_FDS]) {
    int r = loopback_up();

    if (r < 0)
        return r;
    for (int i = 0; i < OCI_RESOLVER_FDS; i++) {
        if (i < 2)
            fds[i] = bound_socket(i ? SOCK_STREAM : SOCK_DGRAM, i ? tcp_port : udp_port);
        else
            fds[i] = asking_socket(i < 2 + OCI_RESOLVER_UDP ? SOCK_DGRAM : SOCK_STREAM);
        if (fds[i] < 0)
            return fds[i];
    }
    return send_rules(rules, n);
}

int oci_resolver(const struct kern *k, int pidfd, unsigned udp_port, unsigned tcp_port, const void *rules, size_t n, int ret[OCI_RESOLVER_FDS]) {
    _cleanup_close_ int home = k->openat(AT_FDCWD, "/proc/self/ns/net", O_RDONLY | O_CLOEXEC, 0);
    int fds[OCI_RESOLVER_FDS], r;

    for (int i = 0; i < OCI_RESOLVER_FDS; i++)
        fds[i] = -EBADF;
    if (home < 0)
        return home;
    r = k->setns(pidfd, CLONE_NEWNET);
    if (r < 0)
        return r;
    r = make_inside(udp_port, tcp_port, rules, n, fds);
    /* Going on in a stranger's namespace would be worse than ending here. */
    if (k->setns(home, CLONE_NEWNET) < 0)
        _exit(1);
    for (int i = 0; i < OCI_RESOLVER_FDS; i++) {
        if (r < 0)
            close_fd(fds[i]);
        else
            ret[i] = fds[i];
    }
    return r;
}

int parent_resolver(const struct kern *k, const struct plan *p, int pidfd, int ret[OCI_RESOLVER_FDS], struct oci_fault *f) {
    const struct plan_op *op = plan_find(p, PLAN_RESOLVER);
    int r = op ? oci_resolver(k, pidfd, (unsigned)op->i[0], (unsigned)op->i[1], plan_s(p, op, 0), plan_sn(p, op, 0), ret) : 0;

    return r < 0 ? fault_set(f, r, "setting up the name server of the container") : 0;
}
