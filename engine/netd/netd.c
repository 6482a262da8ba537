// SPDX-License-Identifier: Apache-2.0
#include "netd/netd.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "netd/resolver.h"
#include "netd/run.h"

#define EVENTS 64

struct netd netd = {.epoll = -EBADF};

/* The socket that hataked connects to, and a connection of it. */
static struct source door;
struct client {
    struct source source;
    struct client *next, **link;
};
static struct client *clients;

int netd_watch(struct source *s, uint32_t events) {
    struct epoll_event ev = {.events = events, .data.ptr = s};

    return epoll_ctl(netd.epoll, EPOLL_CTL_ADD, s->fd, &ev) < 0 ? -errno : 0;
}

int netd_rewatch(struct source *s, uint32_t events) {
    struct epoll_event ev = {.events = events, .data.ptr = s};

    return epoll_ctl(netd.epoll, EPOLL_CTL_MOD, s->fd, &ev) < 0 ? -errno : 0;
}

void netd_bury(struct source *s) {
    if (s->fd >= 0)
        ignore_result(epoll_ctl(netd.epoll, EPOLL_CTL_DEL, s->fd, NULL) < 0);
    s->fd = close_fd(s->fd);
    s->dead = true;
    s->next_dead = netd.dead;
    netd.dead = s;
}

static void bury_all(void) {
    while (netd.dead) {
        struct source *s = netd.dead;

        netd.dead = s->next_dead;
        free(s);
    }
}

void netd_tell(bool warning, uint64_t trace, const uint8_t *group, const char *fmt, ...) {
    union {
        struct netd_msg m;
        char space[NETD_MSG_BYTES(0) + NETD_TEXT_MAX];
    } u = {.m = {.version = NETD_VERSION, .op = NETD_LOG, .n = warning, .trace = trace}};
    va_list ap;
    int n;

    if (!clients || (!warning && !netd.tell_all))
        return;
    memcpy(u.m.group, group, NETD_GROUP_BYTES);
    va_start(ap, fmt);
    n = vsnprintf(u.space + NETD_MSG_BYTES(0), NETD_TEXT_MAX, fmt, ap);
    va_end(ap);
    if (n > 0) /* the connection made last: earlier ones are of a hataked that is gone */
        ignore_result(send(clients->source.fd, &u, NETD_MSG_BYTES(0) + (size_t)MIN(n, NETD_TEXT_MAX - 1), MSG_DONTWAIT | MSG_NOSIGNAL) < 0);
}

/* ---- groups ------------------------------------------------------------------------------------------------------------------------ */

static struct group **find_group(const uint8_t *name) {
    struct group **g = &netd.groups;

    while (*g && memcmp((*g)->name, name, NETD_GROUP_BYTES) != 0)
        g = &(*g)->next;
    return g;
}

static void drop_group(const uint8_t *name) {
    struct group **at = find_group(name), *g = *at;

    if (!g)
        return;
    *at = g->next;
    netd_tell(false, netd.trace ? netd.trace : g->trace, name, "published ports are given up"); /* a container may end by itself */
    while (g->listeners) {
        struct listener *l = g->listeners;

        g->listeners = l->next;
        netd.n_paused -= l->paused;
        l->paused = false;
        listener_end_streams(l);
        listener_end_sessions(l);
        netd_bury(&l->source);
    }
    free(g);
}

void listener_pause(struct listener *l) {
    if (!l->paused && netd_rewatch(&l->source, 0) == 0) {
        l->paused = true;
        netd.n_paused++;
    }
}

void listeners_resume(void) {
    for (struct group *g = netd.n_paused ? netd.groups : NULL; g; g = g->next) {
        for (struct listener *l = g->listeners; l; l = l->next) {
            if (!l->paused || netd.n_streams >= NETD_MAX_STREAMS || g->n_streams >= NETD_GROUP_STREAMS || netd_rewatch(&l->source, EPOLLIN) < 0)
                continue;
            l->paused = false;
            netd.n_paused--;
        }
    }
}

static void add_listener(struct group *g, const struct netd_entry *e, int fd) {
    struct listener *l = calloc(1, sizeof(*l));
    int one = 1;

    if (!l) {
        netd_tell(true, g->trace, g->name, "no memory for a published port, the kernel alone serves it");
        close_fd(fd);
        return;
    }
    l->source = (struct source){.ready = e->proto == IPPROTO_UDP ? listener_udp_ready : listener_tcp_ready, .fd = fd};
    l->proto = e->proto;
    l->hold = e->hold || (e->proto != IPPROTO_TCP && e->proto != IPPROTO_UDP);
    if (e->v6) {
        l->target.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = e->target_port_be};
        memcpy(&l->target.in6.sin6_addr, e->target6, sizeof(e->target6));
    } else {
        l->target.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = e->target_port_be, .sin_addr.s_addr = e->target_be};
    }
    l->target_len = e->v6 ? sizeof(l->target.in6) : sizeof(l->target.in);
    l->group = g;
    l->next = g->listeners;
    g->listeners = l;
    if (l->hold)
        return;
    if (e->proto == IPPROTO_UDP) {
        ignore_result(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)) < 0);
        ignore_result(setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one)) < 0);
    }
    ignore_result(netd_watch(&l->source, EPOLLIN) < 0);
}

static void add_entries(const struct netd_msg *m, const int *fds, size_t n_fds) {
    struct group **at = find_group(m->group), *g = *at;

    if (!g) {
        g = calloc(1, sizeof(*g));
        if (g) {
            memcpy(g->name, m->group, NETD_GROUP_BYTES);
            *at = g;
        }
    }
    if (g) {
        g->trace = m->trace;
        netd_tell(false, m->trace, m->group, "published ports are kept: %zu", n_fds);
    }
    for (size_t i = 0; i < n_fds; i++) {
        if (g && i < m->n)
            add_listener(g, &m->entries[i], fds[i]);
        else
            close_fd(fds[i]);
    }
}

/* ---- control ----------------------------------------------------------------------------------------------------------------------- */

static void client_end(struct client *c) {
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    netd.n_clients--;
    netd_bury(&c->source);
}

/* Blocking: the other end reads answers before it sends more, and it is trusted. */
static int answer(struct client *c, const struct netd_msg *m, const int *fds) {
    union {
        struct cmsghdr h;
        char space[CMSG_SPACE(NETD_ENTRIES * sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)m, NETD_MSG_BYTES(m->n)};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};

    if (m->n) {
        h.msg_control = &control;
        h.msg_controllen = CMSG_SPACE(m->n * sizeof(int));
        control.h.cmsg_level = SOL_SOCKET;
        control.h.cmsg_type = SCM_RIGHTS;
        control.h.cmsg_len = CMSG_LEN(m->n * sizeof(int));
        memcpy(CMSG_DATA(&control.h), fds, m->n * sizeof(int));
    }
    return sendmsg(c->source.fd, &h, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int answer_synced(struct client *c) {
    struct netd_msg m = {.version = NETD_VERSION, .op = NETD_SYNCED};

    return answer(c, &m, NULL);
}

static struct netd_entry entry_of(const struct listener *l) {
    struct netd_entry e = {.proto = l->proto, .hold = l->hold, .v6 = l->target.sa.sa_family == AF_INET6};

    e.target_port_be = e.v6 ? l->target.in6.sin6_port : l->target.in.sin_port;
    if (e.v6)
        memcpy(e.target6, &l->target.in6.sin6_addr, sizeof(e.target6));
    else
        e.target_be = l->target.in.sin_addr.s_addr;
    return e;
}

static int list_group(struct client *c, const struct group *g) {
    const struct listener *l = g->listeners;
    int r;

    do {
        struct netd_msg m = {.version = NETD_VERSION, .op = NETD_GROUP};
        int fds[NETD_ENTRIES];

        memcpy(m.group, g->name, NETD_GROUP_BYTES);
        for (; l && m.n < NETD_ENTRIES; l = l->next) {
            m.entries[m.n] = entry_of(l);
            fds[m.n++] = l->source.fd;
        }
        r = answer(c, &m, fds);
    } while (r == 0 && l);
    return r;
}

static int list_groups(struct client *c) {
    for (struct group *g = netd.groups; g; g = g->next) {
        int r = list_group(c, g);

        if (r < 0)
            return r;
    }
    return answer_synced(c);
}

static size_t take_fds(struct msghdr *h, int *fds) {
    size_t n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (n < NETD_ENTRIES)
                fds[n++] = fd;
            else
                close_fd(fd);
        }
    }
    return n;
}

/* What has fields instead of entries. Descriptors are taken. */
static bool on_names(const struct netd_msg *m, size_t n, int *fds, size_t n_fds) {
    const uint8_t *fields = (const uint8_t *)m + NETD_MSG_BYTES(0);
    struct netd_fields f = {fields, fields + (n - NETD_MSG_BYTES(0))};

    switch ((enum netd_op)m->op) {
    case NETD_NAMES:
        if (names_set(&names, m->group, f) < 0)
            netd_tell(true, m->trace, m->group, "names are not taken");
        else
            netd_tell(false, m->trace, m->group, "names are known");
        break;
    case NETD_UNNAME:
        names_remove(&names, m->group);
        netd_tell(false, m->trace, m->group, "names are forgotten");
        break;
    case NETD_RESOLVER:
        resolver_set(m->group, f, fds, n_fds);
        netd_tell(false, m->trace, m->group, "a container's names are served");
        return true;
    case NETD_UNRESOLVE:
        resolver_remove(m->group);
        netd_tell(false, m->trace, m->group, "a container's names are not served any longer");
        break;
    case NETD_STALE:
        names_stale(&names);
        resolvers_stale();
        break;
    case NETD_SWEEP:
        names_sweep(&names);
        resolvers_sweep();
        break;
    default:
        return false;
    }
    for (size_t i = 0; i < n_fds; i++)
        close_fd(fds[i]);
    return true;
}

static bool well_formed(const struct netd_msg *m, size_t n) {
    if (n < NETD_MSG_BYTES(0) || m->version != NETD_VERSION)
        return false;
    return m->op >= NETD_NAMES || (m->n <= NETD_ENTRIES && n == NETD_MSG_BYTES(m->n));
}

/* One packet; false when there is none or no more will come. */
static bool client_packet(struct client *c) {
    static union {
        struct netd_msg m;
        uint8_t space[NETD_PACKET_MAX];
    } u;
    const struct netd_msg *m = &u.m;
    union {
        struct cmsghdr h;
        char space[CMSG_SPACE(NETD_ENTRIES * sizeof(int))];
    } control;
    struct iovec iov = {&u, sizeof(u)};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    int fds[NETD_ENTRIES];
    ssize_t n = recvmsg(c->source.fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    size_t n_fds;
    int r = 0;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    /* The empty packet: the other end is gone, or (in retire()) everything sent before has been read. */
    if (n <= 0) {
        client_end(c);
        return false;
    }
    n_fds = take_fds(&h, fds);
    if (!well_formed(m, (size_t)n)) {
        for (size_t i = 0; i < n_fds; i++)
            close_fd(fds[i]);
        client_end(c);
        return false;
    }
    netd.trace = m->trace;
    netd.tell_all = m->tell_all;
    if (on_names(m, (size_t)n, fds, n_fds))
        return true;
    if (m->op == NETD_ADD)
        add_entries(m, fds, n_fds);
    else if (m->op == NETD_DROP)
        drop_group(m->group);
    else if (m->op == NETD_SYNC)
        r = answer_synced(c);
    else if (m->op == NETD_LIST)
        r = list_groups(c);
    if (r < 0)
        client_end(c);
    return r == 0;
}

static void client_ready(struct source *source, uint32_t events) {
    client_packet((struct client *)(void *)source);
}

void netd_control(void) {
    struct client *next;

    for (struct client *c = clients; c; c = next) {
        next = c->next;
        while (client_packet(c))
            continue;
    }
}

static void client_begin(int fd) {
    struct client *c = calloc(1, sizeof(*c));

    if (!c) {
        close_fd(fd);
        return;
    }
    c->source = (struct source){.ready = client_ready, .fd = fd};
    if (netd_watch(&c->source, EPOLLIN) < 0) {
        close_fd(fd);
        free(c);
        return;
    }
    c->next = clients;
    c->link = &clients;
    if (c->next)
        c->next->link = &c->next;
    clients = c;
    netd.n_clients++;
}

static void door_ready(struct source *source, uint32_t events) {
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd >= 0)
        client_begin(fd);
}

/* ---- run --------------------------------------------------------------------------------------------------------------------------- */

/* Does it hold anything for a container? */
static bool needed(void) {
    return netd.groups || resolvers_any();
}

static bool done(void) {
    return !needed() && !netd.n_clients;
}

/* Milliseconds until something is due, -1 for never. */
static int next_due(void) {
    int a = sessions_expire(), b = forward_expire(), c = resolvers_expire();

    a = a < 0 ? -1 : a * 1000;
    /* One that found no descriptor or memory tries again. */
    if (netd.n_paused) {
        listeners_resume();
        a = a < 0 || a > 1000 ? 1000 : a;
    }
    if (a < 0 || (b >= 0 && b < a))
        a = b;
    return a < 0 || (c >= 0 && c < a) ? c : a;
}

/* Nothing to do for a while: refuse further packets, then read what was sent before. If that brought work, go on; hataked comes back through the door. */
static void retire(void) {
    struct client *next;

    for (struct client *c = clients; c; c = next) {
        next = c->next;
        shutdown(c->source.fd, SHUT_RD);
        while (!c->source.dead)
            client_ready(&c->source, 0);
    }
    bury_all();
}

int netd_begin(void) {
    netd.epoll = epoll_create1(EPOLL_CLOEXEC);
    netd.space = malloc(NETD_CHUNK);
    return netd.epoll < 0 || !netd.space ? -ENOMEM : 0;
}

int netd_turn(int wait_ms) {
    struct epoll_event ev[EVENTS];
    int due = next_due();
    int n = epoll_wait(netd.epoll, ev, EVENTS, due >= 0 && (wait_ms < 0 || due < wait_ms) ? due : wait_ms);

    for (int i = 0; i < n; i++) {
        struct source *s = ev[i].data.ptr;

        if (!s->dead)
            s->ready(s, ev[i].events);
    }
    bury_all();
    return n;
}

int netd_run(int door_fd, int first_client) {
    if (netd_begin() < 0)
        return -ENOMEM;
    door = (struct source){.ready = door_ready, .fd = door_fd};
    if (netd_watch(&door, EPOLLIN) < 0)
        return -errno;
    client_begin(first_client);
    while (!done()) {
        bool idle = !needed();

        if (netd_turn(idle ? NETD_IDLE_SECONDS * 1000 : -1) == 0 && idle && !needed())
            retire();
    }
    return 0;
}
