// SPDX-License-Identifier: Apache-2.0
/*
 * UDP: one connected socket per client, forgotten after silence, or when it is the one silent longest and a new client needs its place. Answers leave
 * from the address the client had called.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include "base/cleanup.h"
#include "netd/netd.h"

#define BUCKETS 4096

union address {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

union control {
    struct cmsghdr h;
    char space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct session {
    struct source source; /* towards the container */
    struct listener *listener;
    struct session *next, **link; /* of the listener */
    struct session *hash_next, **hash_link;
    struct session *newer, *older; /* by when they were last used */
    union address client;
    socklen_t client_len;
    struct in_pktinfo to4; /* where the client's packet had gone to */
    struct in6_pktinfo to6;
    time_t seen;
};

static time_t now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return t.tv_sec;
}

static struct session *table[BUCKETS];
static struct session *newest, *oldest;

/* Clients choose their ports: with numbers of ours nobody can make them all fall into one bucket. */
static unsigned bucket_of(const struct listener *l, const union address *a) {
    static uint64_t secret[2];
    uint64_t h;

    if (!secret[0])
        ignore_result(getrandom(secret, sizeof(secret), 0) < 0);
    secret[0] |= 1;
    h = (uint64_t)(uintptr_t)l ^ secret[1];
    if (a->sa.sa_family == AF_INET) {
        h = (h ^ a->in.sin_addr.s_addr ^ (uint64_t)a->in.sin_port << 32) * secret[0];
    } else {
        uint64_t half[2];

        memcpy(half, &a->in6.sin6_addr, sizeof(half));
        h = (h ^ half[0]) * secret[0];
        h = ((h ^ h >> 32) ^ half[1]) * secret[0];
        h = ((h ^ h >> 32) ^ a->in6.sin6_port) * secret[0];
    }
    return (unsigned)(h >> 48) % BUCKETS;
}

static void age_leave(struct session *s) {
    if (s->newer)
        s->newer->older = s->older;
    else
        newest = s->older;
    if (s->older)
        s->older->newer = s->newer;
    else
        oldest = s->newer;
}

static void age_enter(struct session *s) {
    s->seen = now();
    s->newer = NULL;
    s->older = newest;
    if (newest)
        newest->newer = s;
    else
        oldest = s;
    newest = s;
}

static void used(struct session *s) {
    age_leave(s);
    age_enter(s);
}

static void session_end(struct session *s) {
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    *s->hash_link = s->hash_next;
    if (s->hash_next)
        s->hash_next->hash_link = s->hash_link;
    age_leave(s);
    netd.n_sessions--;
    netd_bury(&s->source);
}

void listener_end_sessions(struct listener *l) {
    while (l->sessions)
        session_end(l->sessions);
}

int sessions_expire(void) {
    time_t t = now();

    while (oldest && t - oldest->seen >= NETD_SESSION_SECONDS)
        session_end(oldest);
    return oldest ? (int)(oldest->seen + NETD_SESSION_SECONDS - t) : -1;
}

/* The container answered: pass it to the client. */
static void session_ready(struct source *source, uint32_t events) {
    struct session *s = (struct session *)(void *)source;

    for (int i = 0; i < 64; i++) {
        union control control = {0};
        ssize_t n = recv(s->source.fd, netd.space, NETD_CHUNK, MSG_DONTWAIT);
        struct iovec iov = {netd.space, (size_t)(n > 0 ? n : 0)};
        struct msghdr m = {.msg_name = &s->client, .msg_namelen = s->client_len, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control};
        struct cmsghdr *c = &control.h;

        /* ECONNREFUSED: nobody listens in the container (yet); the client tries again. */
        if (n < 0)
            return;
        if (s->client.sa.sa_family == AF_INET) {
            struct in_pktinfo info = {.ipi_spec_dst = s->to4.ipi_addr};

            c->cmsg_level = IPPROTO_IP;
            c->cmsg_type = IP_PKTINFO;
            c->cmsg_len = CMSG_LEN(sizeof(info));
            memcpy(CMSG_DATA(c), &info, sizeof(info));
            m.msg_controllen = CMSG_SPACE(sizeof(info));
        } else {
            c->cmsg_level = IPPROTO_IPV6;
            c->cmsg_type = IPV6_PKTINFO;
            c->cmsg_len = CMSG_LEN(sizeof(s->to6));
            memcpy(CMSG_DATA(c), &s->to6, sizeof(s->to6));
            m.msg_controllen = CMSG_SPACE(sizeof(s->to6));
        }
        used(s);
        ignore_result(sendmsg(s->listener->source.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0);
    }
}

static struct session *find(struct listener *l, const union address *from, socklen_t len) {
    for (struct session *s = table[bucket_of(l, from)]; s; s = s->hash_next) {
        bool same = s->listener == l && s->client.sa.sa_family == from->sa.sa_family && s->client_len == len;

        if (same && from->sa.sa_family == AF_INET)
            same = s->client.in.sin_port == from->in.sin_port && s->client.in.sin_addr.s_addr == from->in.sin_addr.s_addr;
        else if (same)
            same = s->client.in6.sin6_port == from->in6.sin6_port && s->client.in6.sin6_scope_id == from->in6.sin6_scope_id &&
                   memcmp(&s->client.in6.sin6_addr, &from->in6.sin6_addr, sizeof(struct in6_addr)) == 0;
        if (same)
            return s;
    }
    return NULL;
}

static struct session *session_begin(struct listener *l, const union address *from, socklen_t len) {
    struct session *s, **bucket = &table[bucket_of(l, from)];
    int fd = -EBADF;

    if (netd.n_sessions >= NETD_MAX_SESSIONS)
        session_end(oldest);
    s = calloc(1, sizeof(*s));
    if (s)
        fd = socket(l->target.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, &l->target.sa, l->target_len) < 0) {
        close_fd(fd);
        free(s);
        return NULL;
    }
    s->source = (struct source){.ready = session_ready, .fd = fd};
    if (netd_watch(&s->source, EPOLLIN) < 0) {
        close_fd(fd);
        free(s);
        return NULL;
    }
    s->listener = l;
    s->client = *from;
    s->client_len = len;
    s->next = l->sessions;
    s->link = &l->sessions;
    if (s->next)
        s->next->link = &s->next;
    l->sessions = s;
    s->hash_next = *bucket;
    s->hash_link = bucket;
    if (s->hash_next)
        s->hash_next->hash_link = &s->hash_next;
    *bucket = s;
    age_enter(s);
    netd.n_sessions++;
    return s;
}

void listener_udp_ready(struct source *source, uint32_t events) {
    struct listener *l = (struct listener *)(void *)source;

    for (int i = 0; i < 64; i++) {
        union address from;
        union control control;
        struct iovec iov = {netd.space, NETD_CHUNK};
        struct msghdr m = {.msg_name = &from,
                           .msg_namelen = sizeof(from),
                           .msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(l->source.fd, &m, MSG_DONTWAIT);
        struct session *s;

        if (n < 0)
            return;
        s = find(l, &from, m.msg_namelen);
        if (!s)
            s = session_begin(l, &from, m.msg_namelen);
        if (!s)
            continue;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
            if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
                memcpy(&s->to4, CMSG_DATA(c), sizeof(s->to4));
            else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
                memcpy(&s->to6, CMSG_DATA(c), sizeof(s->to6));
        }
        used(s);
        ignore_result(send(s->source.fd, netd.space, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0);
    }
}
