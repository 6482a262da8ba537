// SPDX-License-Identifier: Apache-2.0
/* Sockets of published ports, held on both sides: what goes to hatake-netd, and what comes back from it. */
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/log.h"
#include "netplane/proxy-internal.h"

void held_free(void *arg) {
    struct held *h = arg;

    for (size_t i = 0; h && i < h->n; i++)
        close_fd(h->v[i].fd);
    free(h ? h->v : NULL);
    free(h);
}

void held_end(struct held *h) {
    /* A program that is being started has copies of all descriptors for a moment: the port is free without waiting for that. */
    for (size_t i = 0; h && i < h->n; i++) {
        if (h->v[i].entry.proto == IPPROTO_TCP)
            ignore_result(shutdown(h->v[i].fd, SHUT_RDWR) < 0);
    }
    held_free(h);
}

static struct held *held_get(struct proxy *p, const char *group) {
    struct held *h = map_get(&p->groups, group);

    if (h)
        return h;
    h = calloc(1, sizeof(*h));
    if (h && map_set(&p->groups, group, h, NULL) < 0) {
        free(h);
        return NULL;
    }
    return h;
}

int held_add(struct proxy *p, const char *group, const struct netd_entry *entries, int *fds, size_t n) {
    struct held *h = held_get(p, group);
    struct held_port *v = h ? reallocarray(h->v, h->n + n, sizeof(*v)) : NULL;

    if (v)
        h->v = v;
    for (size_t i = 0; i < n; i++) {
        if (v)
            v[h->n++] = (struct held_port){.entry = entries[i], .fd = TAKE_FD(fds[i])};
        else
            fds[i] = close_fd(fds[i]);
    }
    return v || (h && !n) ? 0 : -ENOMEM;
}

int held_send(struct proxy *p, const char *group, size_t first) {
    const struct held *h = map_get(&p->groups, group);
    char text[GROUP_TEXT + 1];
    int r = 0;

    for (size_t i = first; h && r == 0 && i < h->n;) {
        struct netd_msg m;
        int fds[NETD_ENTRIES];

        proxy_message(&m, NETD_ADD, group, text);
        for (; i < h->n && m.n < NETD_ENTRIES; i++) {
            m.entries[m.n] = h->v[i].entry;
            fds[m.n++] = h->v[i].fd;
        }
        r = proxy_send(p, &m, NETD_MSG_BYTES(m.n), fds, m.n);
    }
    return r;
}

int held_send_all(struct proxy *p) {
    int r = 0;

    for (struct map_entry *i = NULL; r == 0 && (i = map_next(&p->groups, i));)
        r = held_send(p, i->key, 0);
    return r;
}

/* The sockets of a packet, as many as it has entries; all are closed when their number is another one. */
static bool take_sockets(struct msghdr *h, int *fds, size_t want) {
    size_t n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        for (size_t i = 0; c->cmsg_type == SCM_RIGHTS && i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (n < want)
                fds[n] = fd;
            else
                close_fd(fd);
            n++;
        }
    }
    for (size_t i = 0; n != want && i < n && i < want; i++)
        close_fd(fds[i]);
    return n == want;
}

void proxy_heard(const struct netd_msg *m, size_t n) {
    char group[GROUP_TEXT + 1], trace[20], before[33], text[NETD_TEXT_MAX];

    snprintf(before, sizeof(before), "%s", log_trace());
    snprintf(trace, sizeof(trace), "%016llx", (unsigned long long)m->trace);
    snprintf(text, sizeof(text), "%.*s", (int)(n - NETD_MSG_BYTES(0)), (const char *)m + NETD_MSG_BYTES(0));
    hex_encode(m->group, NETD_GROUP_BYTES, group);
    log_set_trace(m->trace ? trace : NULL);
    log_kv(m->n ? LOG_LVL_WARN : LOG_LVL_DEBUG, text, "process", "hatake-netd", "group", group, NULL);
    log_set_trace(before);
}

int proxy_wait_synced(struct proxy *p) {
    for (;;) {
        union {
            struct cmsghdr h;
            char space[CMSG_SPACE(NETD_ENTRIES * sizeof(int))];
        } control;
        struct netd_msg m;
        struct iovec iov = {&m, sizeof(m)};
        struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(p->fd, &h, MSG_CMSG_CLOEXEC);
        int fds[NETD_ENTRIES];
        char text[GROUP_TEXT + 1];

        if (n < 0 && errno == EINTR)
            continue;
        if (n >= (ssize_t)NETD_MSG_BYTES(0) && m.version == NETD_VERSION && m.op == NETD_LOG) {
            proxy_heard(&m, (size_t)n);
            continue;
        }
        if (n < (ssize_t)NETD_MSG_BYTES(0) || m.version != NETD_VERSION || m.n > NETD_ENTRIES || n != (ssize_t)NETD_MSG_BYTES(m.n) ||
            !take_sockets(&h, fds, m.n)) {
            p->fd = close_fd(p->fd);
            return -EPROTO;
        }
        if (m.op == NETD_SYNCED)
            return 0;
        hex_encode(m.group, NETD_GROUP_BYTES, text);
        if (m.op == NETD_GROUP && held_add(p, text, m.entries, fds, m.n) < 0)
            return -ENOMEM;
    }
}
