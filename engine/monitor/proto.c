// SPDX-License-Identifier: Apache-2.0
#include "monitor/proto.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

int mp_send(int sock, const struct mp_head *h, const void *body, const int *fds, int n_fds, int flags) {
    char control[CMSG_SPACE(MP_FDS_MAX * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec iov[2] = {{(void *)(uintptr_t)h, sizeof *h}, {(void *)(uintptr_t)body, h->len}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = h->len ? 2 : 1};
    ssize_t n;

    if (n_fds > 0) {
        struct cmsghdr *c;

        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int));
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, (size_t)n_fds * sizeof(int));
    }
    do
        n = sendmsg(sock, &m, MSG_NOSIGNAL | flags);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

int mp_recv(int sock, struct mp_head *h, char *buf, size_t cap, int fds[MP_FDS_MAX], int *ret_n_fds, int flags) {
    char control[CMSG_SPACE(MP_FDS_MAX * sizeof(int))] __attribute__((aligned(8)));
    struct iovec iov[2] = {{h, sizeof *h}, {buf, cap - 1}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n;

    *ret_n_fds = 0;
    do
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | flags);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n < 0 ? -errno : 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            *ret_n_fds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(fds, CMSG_DATA(c), (size_t)*ret_n_fds * sizeof(int));
        }
    if ((size_t)n < sizeof *h || h->len != (size_t)n - sizeof *h || m.msg_flags & MSG_TRUNC) {
        for (int i = 0; i < *ret_n_fds; i++)
            close_fd(fds[i]);
        *ret_n_fds = 0;
        return -EPROTO;
    }
    buf[h->len] = 0;
    return 1;
}
