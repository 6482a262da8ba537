// SPDX-License-Identifier: Apache-2.0
/* Questions of a container: by UDP many at a time, by TCP one after the other. */
#include "netd/resolver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/str.h"

#define BATCH 32
#define UDP_ANSWER_MAX 4096
#define CROWD_MAX 512 /* addresses in one answer */

struct names names;
static struct map resolvers; /* by id in hex */
static size_t n_conns;

/* The UDP socket and the listening one. */
struct questions {
    struct source source;
    struct resolver *r;
};
struct entrance {
    struct source source;
    struct resolver *r;
    bool paused;
};

/* A TCP connection of a client in the container. */
struct conn {
    struct source source;
    struct resolver *r;
    struct conn *next, **link;
    int64_t active;
    bool asked;  /* a question is under way */
    uint8_t *in; /* length and question */
    size_t n_in;
    uint8_t *out;
    size_t n_out, out_at;
};

/* ---- answers ----------------------------------------------------------------------------------------------------------------------- */

static uint32_t random_u32(void) {
    static uint32_t pool[64];
    static size_t left;

    if (!left) {
        left = getrandom(pool, sizeof(pool), 0) == sizeof(pool) ? ELEMENTSOF(pool) : 0;
        if (!left)
            return 0;
    }
    return pool[--left];
}

/* Any order, another one each time: that spreads clients over those that share a name. */
static size_t shuffled(struct site *const *v, size_t n, const struct site **out) {
    size_t k = n < CROWD_MAX ? n : CROWD_MAX, first = n > k ? random_u32() % n : 0;

    for (size_t i = 0; i < k; i++)
        out[i] = v[(first + i) % n];
    for (size_t i = k; i > 1; i--) {
        size_t j = random_u32() % i;
        const struct site *s = out[i - 1];

        out[i - 1] = out[j];
        out[j] = s;
    }
    return k;
}

static void add_addresses(struct dns_reply *r, const struct dns_query *q, struct site *const *v, size_t n) {
    const struct site *order[CROWD_MAX];
    size_t len = q->type == DNS_A ? 4 : 16, k = shuffled(v, n, order);

    r->squeeze = r->n + k * dns_record_size(q, len) > r->room;
    for (size_t i = 0; i < k; i++) {
        const struct site *s = order[i];

        if (q->type == DNS_A ? s->has_v4 : s->has_v6)
            dns_reply_add(r, q, q->type, q->type == DNS_A ? s->v4 : s->v6, len);
    }
}

static bool answer_address_of(const struct resolver *r, const struct dns_query *q, struct dns_reply *reply) {
    uint8_t addr[16], data[DNS_NAME_MAX];
    size_t n = dns_reverse(q->text, addr), len;
    const struct site *s = n ? names_at(&r->view, addr, n) : NULL;
    _cleanup_free_ char *text = s ? str_printf("%s.%s", s->shown, zone_name(s->zone)) : NULL;

    len = text ? dns_name_write(text, data) : 0;
    if (len)
        dns_reply_add(reply, q, DNS_PTR, data, len);
    return len > 0;
}

/* What we know ourselves. False: not ours. The reply's header and question are written already. */
static bool answer_names(const struct resolver *r, const struct dns_query *q, struct dns_reply *reply) {
    struct site *const *sites;
    size_t n;

    if (!q->plain)
        return false;
    if (q->type == DNS_PTR)
        return answer_address_of(r, q, reply);
    if (q->type != DNS_A && q->type != DNS_AAAA && q->type != DNS_MX)
        return false;
    n = names_find(&r->view, q->text, &sites);
    /* A name of ours without such an address, or a mail exchanger: it exists, there is nothing more to say. */
    if (n && q->type != DNS_MX)
        add_addresses(reply, q, sites, n);
    if (n)
        return true;
    return q->type != DNS_MX && r->flags & NETD_R_NDOTS && !strchr(q->text, '.');
}

/* Answer into `out`, or pass on. Returns the answer's length, 0 when it comes later, -1 when the message deserves none. */
static int handle(struct resolver *r, const struct asked_by *by, const uint8_t *m, size_t n, uint8_t *out, size_t room) {
    struct dns_reply reply;
    struct dns_query q;
    int rcode = dns_read(m, n, &q);

    if (rcode < 0)
        return -1;
    if (rcode > 0)
        return (int)dns_refusal(&q, m, rcode, out);
    if (!by->conn && room > q.size)
        room = q.size;
    dns_reply_begin(&reply, m, &q, DNS_NOERROR, true, out, room);
    if (answer_names(r, &q, &reply))
        return (int)reply.n;
    rcode = DNS_SERVFAIL;
    if (r->flags & NETD_R_FORWARD) {
        if (forward(r, by, m, n, &q))
            return 0;
        rcode = DNS_REFUSED;
    }
    dns_reply_begin(&reply, m, &q, rcode, false, out, room);
    return (int)reply.n;
}

/* ---- UDP --------------------------------------------------------------------------------------------------------------------------- */

static void questions_ready(struct source *source, uint32_t events) {
    static uint8_t in[BATCH][RESOLVER_QUERY_MAX], out[BATCH][UDP_ANSWER_MAX];
    struct questions *s = (struct questions *)(void *)source;
    struct resolver *r = s->r;

    for (int round = 0; round < 4; round++) {
        struct mmsghdr got[BATCH] = {0}, put[BATCH] = {0};
        struct iovec got_iov[BATCH], put_iov[BATCH];
        struct asked_by by[BATCH];
        int n, k = 0;

        for (int i = 0; i < BATCH; i++) {
            got_iov[i] = (struct iovec){in[i], RESOLVER_QUERY_MAX};
            by[i].conn = NULL;
            got[i].msg_hdr = (struct msghdr){.msg_name = &by[i].addr, .msg_namelen = sizeof(by[i].addr), .msg_iov = &got_iov[i], .msg_iovlen = 1};
        }
        n = recvmmsg(source->fd, got, BATCH, MSG_DONTWAIT, NULL);
        if (n <= 0)
            return;
        netd_control();
        if (source->dead)
            return;
        for (int i = 0; i < n; i++) {
            int len = 0;

            if (!(got[i].msg_hdr.msg_flags & MSG_TRUNC))
                len = handle(r, &by[i], in[i], got[i].msg_len, out[k], UDP_ANSWER_MAX);
            if (len <= 0)
                continue;
            put_iov[k] = (struct iovec){out[k], (size_t)len};
            put[k].msg_hdr = (struct msghdr){.msg_name = &by[i].addr, .msg_namelen = sizeof(by[i].addr), .msg_iov = &put_iov[k], .msg_iovlen = 1};
            k++;
        }
        for (int sent = 0; sent < k;) {
            int m = sendmmsg(source->fd, put + sent, (unsigned)(k - sent), MSG_DONTWAIT | MSG_NOSIGNAL);

            /* One that cannot be sent is left out; its client asks again. */
            sent += m > 0 ? m : 1;
        }
        if (n < BATCH)
            return;
    }
}

/* ---- TCP --------------------------------------------------------------------------------------------------------------------------- */

static void entrance_pause(struct entrance *e, bool pause) {
    if (e && e->paused != pause && netd_rewatch(&e->source, pause ? 0 : EPOLLIN) == 0)
        e->paused = pause;
}

static void conn_end(struct conn *c) {
    struct resolver *r = c->r;

    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    r->n_conns--;
    n_conns--;
    if (c->asked)
        forward_forget(r, c);
    free(c->in);
    free(c->out);
    c->in = c->out = NULL;
    netd_bury(&c->source);
    entrance_pause(r->tcp, false);
}

static void conn_read(struct conn *c);

/* Send what there is; when all is gone the next question may come. */
static void conn_write(struct conn *c) {
    while (c->out_at < c->n_out) {
        ssize_t n = send(c->source.fd, c->out + c->out_at, c->n_out - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN) {
            if (netd_rewatch(&c->source, EPOLLOUT) < 0)
                conn_end(c);
            return;
        }
        if (n <= 0) {
            conn_end(c);
            return;
        }
        c->out_at += (size_t)n;
    }
    free(c->out);
    c->out = NULL;
    c->n_out = c->out_at = 0;
    c->asked = false;
    c->active = netd_ms();
    if (netd_rewatch(&c->source, EPOLLIN) < 0)
        conn_end(c);
}

static void conn_reply(struct conn *c, const uint8_t *m, size_t n) {
    c->out = malloc(n + 2);
    if (!c->out) {
        conn_end(c);
        return;
    }
    dns_put_u16(c->out, (unsigned)n);
    memcpy(c->out + 2, m, n);
    c->n_out = n + 2;
    conn_write(c);
}

/* A whole message is there. */
static void conn_ask(struct conn *c) {
    struct asked_by by = {.conn = c};
    size_t n = dns_u16(c->in);
    int len;

    netd_control();
    if (c->source.dead)
        return;
    c->n_in = 0;
    c->asked = true;
    len = handle(c->r, &by, c->in + 2, n, (uint8_t *)netd.space, DNS_MESSAGE_MAX);
    if (len > 0)
        conn_reply(c, (uint8_t *)netd.space, (size_t)len);
    else if (len < 0)
        c->asked = false; /* the next one may come */
    /* Until it is answered nothing more is read: a client that asks faster waits in the kernel. (It may be answered, or over, already.) */
    else if (!c->source.dead && c->asked && !c->n_out && netd_rewatch(&c->source, 0) < 0)
        conn_end(c);
}

static void conn_read(struct conn *c) {
    for (;;) {
        size_t want = c->n_in < 2 ? 2 : 2 + (size_t)dns_u16(c->in);
        ssize_t n;

        if (want > RESOLVER_QUERY_MAX + 2) {
            conn_end(c);
            return;
        }
        if (c->n_in >= 2 && c->n_in == want) {
            conn_ask(c);
            return;
        }
        n = recv(c->source.fd, c->in + c->n_in, want - c->n_in, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            conn_end(c);
            return;
        }
        c->n_in += (size_t)n;
    }
}

static void conn_ready(struct source *source, uint32_t events) {
    struct conn *c = (struct conn *)(void *)source;

    if (c->n_out)
        conn_write(c);
    else if (!c->asked)
        conn_read(c);
    else if (events & (EPOLLHUP | EPOLLERR))
        conn_end(c);
}

static void entrance_ready(struct source *source, uint32_t events) {
    struct entrance *e = (struct entrance *)(void *)source;
    struct resolver *r = e->r;
    struct conn *c;
    int fd;

    if (r->n_conns >= RESOLVER_CONNS || n_conns >= RESOLVER_CONNS_ALL) {
        entrance_pause(e, true);
        return;
    }
    fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    c = calloc(1, sizeof(*c));
    if (c) {
        c->source = (struct source){.ready = conn_ready, .fd = fd};
        c->in = malloc(RESOLVER_QUERY_MAX + 2);
    }
    if (!c || !c->in || netd_watch(&c->source, EPOLLIN) < 0) {
        free(c ? c->in : NULL);
        free(c);
        close_fd(fd);
        return;
    }
    c->r = r;
    c->active = netd_ms();
    c->next = r->conns;
    c->link = &r->conns;
    if (c->next)
        c->next->link = &c->next;
    r->conns = c;
    r->n_conns++;
    n_conns++;
}

void resolver_deliver(struct resolver *r, const struct asked_by *by, const uint8_t *m, size_t n) {
    if (by->conn)
        conn_reply(by->conn, m, n);
    else if (r->udp)
        ignore_result(sendto(r->udp->source.fd, m, n, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&by->addr, sizeof(by->addr)) < 0);
}

int resolvers_expire(void) {
    int64_t now = netd_ms(), due = INT64_MAX;

    if (!n_conns)
        return -1;
    for (struct map_entry *i = NULL; (i = map_next(&resolvers, i));) {
        struct resolver *r = i->value;
        struct conn *next;

        for (struct conn *c = r->conns; c; c = next) {
            int64_t left = c->active + RESOLVER_IDLE_MS - now;

            next = c->next;
            /* One that does not take its answer is given as long again. */
            if (c->asked && !c->n_out)
                continue;
            if (left + (c->n_out ? RESOLVER_IDLE_MS : 0) <= 0)
                conn_end(c);
            else if (left < due)
                due = left > 100 ? left : 100;
        }
    }
    return n_conns ? (int)(due > RESOLVER_IDLE_MS ? RESOLVER_IDLE_MS : due) : -1;
}

/* ---- coming and going -------------------------------------------------------------------------------------------------------------- */

static void close_sockets(struct resolver *r) {
    while (r->conns)
        conn_end(r->conns);
    forward_end(r);
    if (r->udp)
        netd_bury(&r->udp->source);
    if (r->tcp)
        netd_bury(&r->tcp->source);
    r->udp = NULL;
    r->tcp = NULL;
    for (size_t i = 0; i < NETD_ASK_UDP; i++) {
        if (r->ask[i])
            netd_bury(&r->ask[i]->source);
        r->ask[i] = NULL;
    }
    for (size_t i = 0; i < NETD_ASK_TCP; i++)
        r->ask_tcp[i] = close_fd(r->ask_tcp[i]);
}

static void open_sockets(struct resolver *r, int *fds) {
    close_sockets(r);
    r->udp = calloc(1, sizeof(*r->udp));
    r->tcp = calloc(1, sizeof(*r->tcp));
    if (r->udp) {
        *r->udp = (struct questions){.source = {.ready = questions_ready, .fd = TAKE_FD(fds[NETD_SOCKET_UDP])}, .r = r};
        ignore_result(netd_watch(&r->udp->source, EPOLLIN) < 0);
    }
    if (r->tcp) {
        *r->tcp = (struct entrance){.source = {.ready = entrance_ready, .fd = TAKE_FD(fds[NETD_SOCKET_TCP])}, .r = r};
        ignore_result(netd_watch(&r->tcp->source, EPOLLIN) < 0);
    }
    for (size_t i = 0; i < NETD_ASK_UDP; i++)
        r->ask[i] = asker_new(r, TAKE_FD(fds[NETD_SOCKET_ASK + i]));
    for (size_t i = 0; i < NETD_ASK_TCP; i++)
        r->ask_tcp[i] = TAKE_FD(fds[NETD_SOCKET_ASK + NETD_ASK_UDP + i]);
}

struct resolver *resolver_find(const uint8_t *id) {
    char key[2 * NETD_GROUP_BYTES + 1];

    hex_encode(id, NETD_GROUP_BYTES, key);
    return map_get(&resolvers, key);
}

static struct resolver *resolver_get(const uint8_t *id) {
    char key[2 * NETD_GROUP_BYTES + 1];
    struct resolver *r = resolver_find(id);

    if (r)
        return r;
    hex_encode(id, NETD_GROUP_BYTES, key);
    r = calloc(1, sizeof(*r));
    if (!r || map_set(&resolvers, key, r, NULL) < 0) {
        free(r);
        return NULL;
    }
    r->source.fd = -EBADF;
    memcpy(r->id, id, NETD_GROUP_BYTES);
    for (size_t i = 0; i < NETD_ASK_TCP; i++)
        r->ask_tcp[i] = -EBADF;
    r->wait_last = &r->wait_first;
    return r;
}

void resolver_set(const uint8_t *id, struct netd_fields f, int *fds, size_t n_fds) {
    struct resolver *r = resolver_get(id);
    struct netd_fields again = f;
    struct netd_value v;
    struct view view;

    if (r && view_read(&names, f, &view) == 0) {
        view_done(&names, &r->view);
        r->view = view;
        r->stale = false;
        r->trace = netd.trace;
        r->n_servers = 0;
        while (netd_next_field(&again, &v)) {
            if (v.field == NETD_F_FLAGS && v.n == 1)
                r->flags = v.p[0];
            else if (v.field == NETD_F_SERVER && r->n_servers < RESOLVER_SERVERS && upstream_parse((const char *)v.p, v.n, &r->servers[r->n_servers]))
                r->n_servers++;
        }
        if (n_fds == NETD_SOCKETS)
            open_sockets(r, fds);
    }
    for (size_t i = 0; i < n_fds; i++)
        close_fd(fds[i]);
}

static void resolver_end(struct resolver *r) {
    close_sockets(r);
    view_done(&names, &r->view);
    netd_bury(&r->source);
}

void resolver_remove(const uint8_t *id) {
    char key[2 * NETD_GROUP_BYTES + 1];
    struct resolver *r;

    hex_encode(id, NETD_GROUP_BYTES, key);
    r = map_remove(&resolvers, key);
    if (r)
        resolver_end(r);
}

void resolvers_stale(void) {
    for (struct map_entry *i = NULL; (i = map_next(&resolvers, i));)
        ((struct resolver *)i->value)->stale = true;
}

void resolvers_sweep(void) {
    for (struct map_entry *i = NULL; (i = map_next(&resolvers, i));) {
        struct resolver *r = i->value;

        if (r->stale) {
            map_remove(&resolvers, i->key);
            resolver_end(r);
        }
    }
}

bool resolvers_any(void) {
    return resolvers.n > 0;
}
