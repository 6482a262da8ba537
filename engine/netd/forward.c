// SPDX-License-Identifier: Apache-2.0
/* Questions passed on: which server, by which socket, until when. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "netd/resolver.h"

#define HOST_ASKERS 8

/* A TCP exchange with a server: one question, one socket. */
struct talk {
    struct source source;
    struct pending *p;
    struct resolver *r;
    bool host, connected;
    uint8_t *in;
    size_t n_in, out_at;
};

/* A question under way. It is in its resolver's list, in the list of deadlines, and with an asker, a talk, or waiting for a TCP socket. */
struct pending {
    struct pending *next, **link;         /* of the resolver */
    struct pending *later, *sooner;       /* by deadline */
    struct pending *ask_next, **ask_link; /* of the asker, or of those that wait */
    struct resolver *r;
    struct asked_by by;
    struct asker *asker;
    struct talk *talk;
    struct dns_query q;
    unsigned server; /* index of the one being asked */
    int64_t deadline;
    size_t n;
    uint8_t m[]; /* the length as TCP wants it, then the question with an id of ours */
};

static struct pending *first, *last; /* all have the same time, so the order of entering is that of the deadlines */
static size_t n_pending;
static struct asker *host_askers;
static size_t n_host_askers;

static void try_servers(struct pending *p);

/* ---- lists ------------------------------------------------------------------------------------------------------------------------- */

static void deadline_leave(struct pending *p) {
    if (p->sooner)
        p->sooner->later = p->later;
    else
        first = p->later;
    if (p->later)
        p->later->sooner = p->sooner;
    else
        last = p->sooner;
    p->later = p->sooner = NULL;
}

static void deadline_enter(struct pending *p) {
    p->deadline = netd_ms() + RESOLVER_ASK_MS;
    p->later = NULL;
    p->sooner = last;
    if (last)
        last->later = p;
    else
        first = p;
    last = p;
}

static void talk_end(struct talk *t);

/* Away from the asker, the talk, or the queue. */
static void leave_way(struct pending *p) {
    struct talk *t = p->talk;

    if (p->ask_link) {
        *p->ask_link = p->ask_next;
        if (p->ask_next)
            p->ask_next->ask_link = p->ask_link;
        else if (!p->asker && p->r->wait_last == &p->ask_next)
            p->r->wait_last = p->ask_link;
        p->ask_link = NULL;
        if (p->asker)
            p->asker->n--;
        p->asker = NULL;
    }
    p->talk = NULL;
    if (t)
        talk_end(t);
}

static void pending_end(struct pending *p) {
    leave_way(p);
    deadline_leave(p);
    *p->link = p->next;
    if (p->next)
        p->next->link = p->link;
    p->r->n_pending--;
    n_pending--;
    free(p);
}

/* ---- outcome ----------------------------------------------------------------------------------------------------------------------- */

static void deliver(struct pending *p, uint8_t *m, size_t n) {
    struct resolver *r = p->r;
    struct asked_by by = p->by;
    uint8_t out[DNS_UDP_MIN];
    struct dns_reply reply;

    /* A server that sends more than was asked for: the client could not read it, but it can come again by TCP. */
    if (!by.conn && p->q.edns && n > p->q.size) {
        dns_reply_begin(&reply, p->m + 2, &p->q, dns_rcode(m), true, out, sizeof(out));
        out[2] |= DNS_TC >> 8;
        m = out;
        n = reply.n;
    }
    dns_put_u16(m, p->q.id);
    pending_end(p);
    resolver_deliver(r, &by, m, n);
}

static void give_up(struct pending *p) {
    uint8_t out[DNS_UDP_MIN];
    struct dns_reply reply;

    dns_reply_begin(&reply, p->m + 2, &p->q, DNS_SERVFAIL, false, out, sizeof(out));
    deliver(p, out, reply.n);
}

static void next_server(struct pending *p) {
    leave_way(p);
    deadline_leave(p);
    deadline_enter(p);
    netd_tell(false, p->r->trace, p->r->id, "name server %u gives no answer that is of use", p->server + 1);
    p->server++;
    try_servers(p);
}

/* A server's answer. */
static void answered(struct pending *p, uint8_t *m, size_t n) {
    int rcode = dns_rcode(m);

    if (rcode == DNS_SERVFAIL || rcode == DNS_REFUSED)
        next_server(p);
    else
        deliver(p, m, n);
}

/* ---- addresses --------------------------------------------------------------------------------------------------------------------- */

static bool same_server(const struct server *a, const struct server *b) {
    return a->host == b->host && a->addr.sin6_scope_id == b->addr.sin6_scope_id &&
           memcmp(&a->addr.sin6_addr, &b->addr.sin6_addr, sizeof(struct in6_addr)) == 0;
}

static int domain_of(int fd) {
    int domain = AF_INET;
    socklen_t n = sizeof(domain);

    ignore_result(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) < 0);
    return domain;
}

static void disconnect(int fd) {
    struct sockaddr a = {.sa_family = AF_UNSPEC};

    ignore_result(connect(fd, &a, sizeof(a)) < 0);
}

static int connect_to(int fd, int domain, const struct server *s) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = s->addr.sin6_port};
    int r;

    memcpy(&v4.sin_addr, s->addr.sin6_addr.s6_addr + 12, 4);
    if (domain == AF_INET6)
        r = connect(fd, (const struct sockaddr *)&s->addr, sizeof(s->addr));
    else if (IN6_IS_ADDR_V4MAPPED(&s->addr.sin6_addr))
        r = connect(fd, (const struct sockaddr *)&v4, sizeof(v4));
    else
        return -EAFNOSUPPORT;
    return r < 0 ? -errno : 0;
}

static int new_socket(int type) {
    int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd >= 0 ? fd : socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* ---- UDP --------------------------------------------------------------------------------------------------------------------------- */

static struct pending *find_pending(const struct asker *a, const uint8_t *m, size_t n) {
    for (struct pending *p = a->list; p; p = p->ask_next) {
        if (memcmp(p->m + 2, m, 2) == 0 && dns_same_question(m, n, p->m + 2, &p->q))
            return p;
    }
    return NULL;
}

static void asker_ready(struct source *source, uint32_t events) {
    struct asker *a = (struct asker *)(void *)source;
    uint8_t *m = (uint8_t *)netd.space;

    for (int i = 0; i < 64 && !source->dead; i++) {
        ssize_t n = recv(source->fd, m, NETD_CHUNK, MSG_DONTWAIT);
        struct pending *p;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            /* Refused or unreachable: that concerns everything asked there. Those that come back here are a later server's. */
            struct server s = a->server;

            for (struct pending *next, *q = a->list; q; q = next) {
                next = q->ask_next;
                if (same_server(&s, &a->server))
                    next_server(q);
            }
            return;
        }
        if ((size_t)n < DNS_HEAD || !(m[2] & 0x80))
            continue;
        p = find_pending(a, m, (size_t)n);
        if (p)
            answered(p, m, (size_t)n);
    }
}

struct asker *asker_new(struct resolver *r, int fd) {
    struct asker *a = fd >= 0 ? calloc(1, sizeof(*a)) : NULL;

    if (a) {
        *a = (struct asker){.source = {.ready = asker_ready, .fd = fd}, .r = r, .domain = domain_of(fd)};
        if (netd_watch(&a->source, EPOLLIN) == 0)
            return a;
    }
    close_fd(fd);
    free(a);
    return NULL;
}

/* The asker that is busy with this server, or an idle one connected to it anew. */
static struct asker *asker_for(struct resolver *r, const struct server *s) {
    struct asker *idle = NULL, *a;

    for (size_t i = 0; !s->host && i < NETD_ASK_UDP; i++) {
        a = r->ask[i];
        if (a && a->n && same_server(&a->server, s))
            return a;
        if (a && !a->n)
            idle = a;
    }
    for (a = s->host ? host_askers : NULL; a; a = a->next) {
        if (a->n && same_server(&a->server, s))
            return a;
        if (!a->n)
            idle = a;
    }
    if (!idle && s->host && n_host_askers < HOST_ASKERS) {
        idle = asker_new(NULL, new_socket(SOCK_DGRAM));
        if (idle) {
            idle->next = host_askers;
            host_askers = idle;
            n_host_askers++;
        }
    }
    if (!idle)
        return NULL;
    disconnect(idle->source.fd);
    if (connect_to(idle->source.fd, idle->domain, s) < 0)
        return NULL;
    idle->server = *s;
    return idle;
}

/* An id that no other question of this asker has. */
static bool choose_id(struct pending *p, const struct asker *a) {
    for (int i = 0; i < 16; i++) {
        const struct pending *other = a->list;

        if (getrandom(p->m + 2, 2, 0) != 2)
            return false;
        while (other && memcmp(other->m + 2, p->m + 2, 2) != 0)
            other = other->ask_next;
        if (!other)
            return true;
    }
    return false;
}

static bool ask_udp(struct pending *p, const struct server *s) {
    struct asker *a = asker_for(p->r, s);

    if (!a || !choose_id(p, a))
        return false;
    for (int i = 0; i < 2; i++) {
        /* The first call may hear of an earlier packet's fate. */
        if (send(a->source.fd, p->m + 2, p->n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            break;
        if (i)
            return false;
    }
    p->asker = a;
    p->ask_next = a->list;
    p->ask_link = &a->list;
    if (p->ask_next)
        p->ask_next->ask_link = &p->ask_next;
    a->list = p;
    a->n++;
    return true;
}

/* ---- TCP --------------------------------------------------------------------------------------------------------------------------- */

static void start_waiting(struct resolver *r);

/* Give the socket back (or close it, for the machine's). Callers that go on then let the next question have it. */
static void talk_end(struct talk *t) {
    struct resolver *r = t->r;

    for (size_t i = 0; !t->host && i < NETD_ASK_TCP; i++) {
        if (r->ask_tcp[i] >= 0)
            continue;
        ignore_result(epoll_ctl(netd.epoll, EPOLL_CTL_DEL, t->source.fd, NULL));
        disconnect(t->source.fd);
        r->ask_tcp[i] = TAKE_FD(t->source.fd);
        break;
    }
    free(t->in);
    t->in = NULL;
    t->p = NULL;
    netd_bury(&t->source);
}

static void talk_failed(struct talk *t) {
    struct resolver *r = t->r;

    next_server(t->p);
    start_waiting(r);
}

static void talk_send(struct talk *t) {
    struct pending *p = t->p;

    while (t->out_at < p->n + 2) {
        ssize_t n = send(t->source.fd, p->m + t->out_at, p->n + 2 - t->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            talk_failed(t);
            return;
        }
        t->out_at += (size_t)n;
    }
    if (netd_rewatch(&t->source, EPOLLIN) < 0)
        talk_failed(t);
}

static void talk_receive(struct talk *t) {
    struct resolver *r = t->r;

    for (;;) {
        size_t want = t->n_in < 2 ? 2 : 2 + (size_t)dns_u16(t->in);
        ssize_t n;

        if (t->n_in >= 2 && t->n_in == want) {
            uint8_t *m = t->in + 2;

            if (want < 2 + DNS_HEAD || memcmp(m, t->p->m + 2, 2) != 0 || !(m[2] & 0x80) || !dns_same_question(m, want - 2, t->p->m + 2, &t->p->q)) {
                talk_failed(t);
                return;
            }
            t->in = NULL; /* the answer outlives the exchange */
            answered(t->p, m, want - 2);
            free(m - 2);
            start_waiting(r);
            return;
        }
        n = recv(t->source.fd, t->in + t->n_in, want - t->n_in, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            talk_failed(t);
            return;
        }
        t->n_in += (size_t)n;
    }
}

static void talk_ready(struct source *source, uint32_t events) {
    struct talk *t = (struct talk *)(void *)source;
    int error = 0;
    socklen_t n = sizeof(error);

    if (!t->connected) {
        if (getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 || error) {
            talk_failed(t);
            return;
        }
        t->connected = true;
    }
    if (t->out_at < t->p->n + 2)
        talk_send(t);
    else
        talk_receive(t);
}

/* Begin an exchange by this socket, which is taken over. */
static bool talk_begin(struct pending *p, const struct server *s, int fd) {
    struct talk *t = calloc(1, sizeof(*t));
    int r;

    if (!t || !(t->in = malloc(2 + DNS_MESSAGE_MAX)) || getrandom(p->m + 2, 2, 0) != 2) {
        free(t);
        close_fd(fd);
        return false;
    }
    t->source = (struct source){.ready = talk_ready, .fd = fd};
    t->r = p->r;
    t->host = s->host;
    t->p = p;
    disconnect(fd);
    r = connect_to(fd, domain_of(fd), s);
    if ((r < 0 && r != -EINPROGRESS) || netd_watch(&t->source, EPOLLOUT) < 0) {
        talk_end(t);
        return false;
    }
    p->m[0] = (uint8_t)(p->n >> 8);
    p->m[1] = (uint8_t)p->n;
    p->talk = t;
    return true;
}

static bool ask_tcp(struct pending *p, const struct server *s) {
    struct resolver *r = p->r;

    if (s->host) {
        int fd = new_socket(SOCK_STREAM);

        return fd >= 0 && talk_begin(p, s, fd);
    }
    for (size_t i = 0; i < NETD_ASK_TCP; i++) {
        if (r->ask_tcp[i] >= 0)
            return talk_begin(p, s, TAKE_FD(r->ask_tcp[i]));
    }
    /* All are in use: wait for one, the time counts on. */
    p->ask_next = NULL;
    p->ask_link = r->wait_last;
    *r->wait_last = p;
    r->wait_last = &p->ask_next;
    return true;
}

static void start_waiting(struct resolver *r) {
    while (r->wait_first) {
        struct pending *p = r->wait_first;
        bool any = false;

        for (size_t i = 0; i < NETD_ASK_TCP; i++)
            any = any || r->ask_tcp[i] >= 0;
        if (!any)
            return;
        leave_way(p);
        try_servers(p);
    }
}

/* ---- questions --------------------------------------------------------------------------------------------------------------------- */

static const struct server *servers_of(const struct resolver *r, size_t *n) {
    if (r->flags & NETD_R_HOST)
        return upstream_host(n);
    *n = r->n_servers;
    return r->servers;
}

/* Ask the first server from here on that can be asked at all. */
static void try_servers(struct pending *p) {
    size_t n;
    const struct server *v = servers_of(p->r, &n);

    for (; p->server < n; p->server++) {
        if (p->by.conn ? ask_tcp(p, &v[p->server]) : ask_udp(p, &v[p->server]))
            return;
    }
    give_up(p);
}

bool forward(struct resolver *r, const struct asked_by *by, const uint8_t *m, size_t n, const struct dns_query *q) {
    struct pending *p;

    if (r->n_pending >= RESOLVER_PENDING || n_pending >= RESOLVER_PENDING_ALL)
        return false;
    p = malloc(sizeof(*p) + n + 2);
    if (!p)
        return false;
    *p = (struct pending){.r = r, .by = *by, .q = *q, .n = n};
    memcpy(p->m + 2, m, n);
    p->next = r->all;
    p->link = &r->all;
    if (p->next)
        p->next->link = &p->next;
    r->all = p;
    r->n_pending++;
    n_pending++;
    deadline_enter(p);
    try_servers(p);
    return true;
}

void forward_forget(struct resolver *r, const struct conn *c) {
    for (struct pending *next, *p = r->all; p; p = next) {
        next = p->next;
        if (p->by.conn == c)
            pending_end(p);
    }
    start_waiting(r);
}

void forward_end(struct resolver *r) {
    while (r->all)
        pending_end(r->all);
}

int forward_expire(void) {
    int64_t now = netd_ms();

    while (first && first->deadline <= now) {
        struct resolver *r = first->r;

        next_server(first);
        start_waiting(r);
    }
    return first ? (int)(first->deadline - now) : -1;
}
