// SPDX-License-Identifier: Apache-2.0
#include "netplane/netl.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

#define NL_RECV_BYTES 65536

int netl_open(struct netl_sock *s, int protocol, struct err *e) {
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK};
    int one = 1, size = (int)NETL_BATCH_MAX;

    s->seq = 0;
    s->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (s->fd < 0)
        return err_errno(e, errno, "netlink socket");
    /* A batch must fit whole; without the privilege the ordinary limit stays. */
    if (setsockopt(s->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        ignore_result(setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)));
    if (setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
        ignore_result(setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)));
    /* Do not repeat the request in error answers. */
    ignore_result(setsockopt(s->fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one)));
    if (bind(s->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        int err = errno;

        s->fd = close_fd(s->fd);
        return err_errno(e, err, "netlink bind");
    }
    pthread_mutex_init(&s->lock, NULL);
    return 0;
}

void netl_close(struct netl_sock *s) {
    if (s->fd < 0)
        return;
    s->fd = close_fd(s->fd);
    pthread_mutex_destroy(&s->lock);
}

static void netl_pad(struct buf *b) {
    static const char zero[4];

    if (b->len & 3)
        buf_add(b, zero, 4 - (b->len & 3));
}

static unsigned count_messages(const struct buf *b) {
    unsigned n = 0;

    for (size_t at = 0; at + sizeof(struct nlmsghdr) <= b->len; n++) {
        struct nlmsghdr h;

        memcpy(&h, b->data + at, sizeof(h));
        if (h.nlmsg_len < sizeof(h))
            break;
        at += NLMSG_ALIGN(h.nlmsg_len);
    }
    return n;
}

size_t netl_begin(struct buf *b, uint16_t type, uint16_t flags, const void *head, size_t n) {
    size_t at = b->len;
    struct nlmsghdr h = {.nlmsg_type = type, .nlmsg_flags = flags | NLM_F_REQUEST};

    buf_add(b, &h, sizeof(h));
    buf_add(b, head, n);
    netl_pad(b);
    return at;
}

void netl_end(struct buf *b, size_t at) {
    struct nlmsghdr h;

    if (!buf_ok(b))
        return;
    memcpy(&h, b->data + at, sizeof(h));
    h.nlmsg_len = (uint32_t)(b->len - at);
    memcpy(b->data + at, &h, sizeof(h));
}

void netl_put(struct buf *b, uint16_t type, const void *p, size_t n) {
    struct nlattr a = {.nla_len = (uint16_t)(NLA_HDRLEN + n), .nla_type = type};

    if (NLA_HDRLEN + n > UINT16_MAX) {
        b->failed = true;
        return;
    }
    buf_add(b, &a, sizeof(a));
    buf_add(b, p, n);
    netl_pad(b);
}
void netl_put_str(struct buf *b, uint16_t type, const char *s) {
    netl_put(b, type, s, strlen(s) + 1);
}
void netl_put_u8(struct buf *b, uint16_t type, uint8_t v) {
    netl_put(b, type, &v, sizeof(v));
}
void netl_put_u16(struct buf *b, uint16_t type, uint16_t v) {
    netl_put(b, type, &v, sizeof(v));
}
void netl_put_u32(struct buf *b, uint16_t type, uint32_t v) {
    netl_put(b, type, &v, sizeof(v));
}
void netl_put_be32(struct buf *b, uint16_t type, uint32_t v) {
    netl_put_u32(b, type, htobe32(v));
}
void netl_put_be64(struct buf *b, uint16_t type, uint64_t v) {
    v = htobe64(v);
    netl_put(b, type, &v, sizeof(v));
}

size_t netl_nest(struct buf *b, uint16_t type) {
    size_t at = b->len;
    struct nlattr a = {.nla_len = NLA_HDRLEN, .nla_type = type | NLA_F_NESTED};

    buf_add(b, &a, sizeof(a));
    return at;
}

void netl_nest_end(struct buf *b, size_t at) {
    struct nlattr a;

    if (!buf_ok(b))
        return;
    if (b->len - at > UINT16_MAX) {
        b->failed = true;
        return;
    }
    memcpy(&a, b->data + at, sizeof(a));
    a.nla_len = (uint16_t)(b->len - at);
    memcpy(b->data + at, &a, sizeof(a));
}

/* Number the messages base+1, base+2, ... so that answers can be told apart from those of earlier requests. */
static int send_batch(struct netl_sock *s, const struct buf *b, uint32_t *ret_base, struct err *e) {
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t n;

    int r = buf_check(b, e);
    if (r < 0)
        return r;
    *ret_base = s->seq;
    for (size_t at = 0; at + sizeof(struct nlmsghdr) <= b->len;) {
        struct nlmsghdr h;

        memcpy(&h, b->data + at, sizeof(h));
        h.nlmsg_seq = ++s->seq;
        memcpy(b->data + at, &h, sizeof(h));
        at += NLMSG_ALIGN(h.nlmsg_len);
    }
    do
        n = sendto(s->fd, b->data, b->len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(e, errno, "netlink send of %zu bytes", b->len);
    return 0;
}

static ssize_t recv_some(struct netl_sock *s, void *p, size_t n, int flags) {
    ssize_t r;

    do
        r = recv(s->fd, p, n, flags);
    while (r < 0 && errno == EINTR);
    return r;
}

void netl_echo(struct buf *b, uint16_t type) {
    for (size_t at = 0; at + sizeof(struct nlmsghdr) <= b->len;) {
        struct nlmsghdr h;

        memcpy(&h, b->data + at, sizeof(h));
        if (h.nlmsg_type == type)
            h.nlmsg_flags |= NLM_F_ECHO;
        memcpy(b->data + at, &h, sizeof(h));
        at += NLMSG_ALIGN(h.nlmsg_len);
    }
}

int netl_talk(struct netl_sock *s, const struct buf *b, int *ret_errno, unsigned *ret_index, struct err *e) {
    return netl_talk_with(s, b, NULL, NULL, ret_errno, ret_index, e);
}

int netl_talk_with(struct netl_sock *s, const struct buf *b, netl_msg_fn fn, void *arg, int *ret_errno, unsigned *ret_index, struct err *e) {
    _cleanup_free_ char *space = malloc(NL_RECV_BYTES);
    uint32_t base = 0;
    int first = 0, told = 0, r;
    unsigned index = 0;

    if (!space)
        return err_oom(e);
    pthread_mutex_lock(&s->lock);
    r = send_batch(s, b, &base, e);
    while (r == 0) {
        ssize_t n = recv_some(s, space, NL_RECV_BYTES, MSG_DONTWAIT);

        if (n <= 0)
            break;
        for (struct nlmsghdr *h = (struct nlmsghdr *)space; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            const struct nlmsgerr *m = NLMSG_DATA(h);

            if (fn && told == 0 && h->nlmsg_type != NLMSG_ERROR && h->nlmsg_seq > base)
                told = fn(h, arg, e);
            if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_len < NLMSG_LENGTH(sizeof(int)) || h->nlmsg_seq <= base)
                continue;
            if (m->error && !first) {
                first = -m->error;
                index = h->nlmsg_seq - base - 1;
            }
        }
    }
    pthread_mutex_unlock(&s->lock);
    if (r < 0 || !first)
        return r < 0 ? r : told;
    if (ret_errno)
        *ret_errno = first;
    if (ret_index)
        *ret_index = index;
    return err_errno(e, first, "netlink message %u of %u", index + 1, count_messages(b));
}

int netl_dump(struct netl_sock *s, const struct buf *b, netl_msg_fn fn, void *arg, struct err *e) {
    _cleanup_free_ char *space = malloc(NL_RECV_BYTES);
    uint32_t base = 0;
    bool done = false;
    int r;

    if (!space)
        return err_oom(e);
    pthread_mutex_lock(&s->lock);
    r = send_batch(s, b, &base, e);
    while (r == 0 && !done) {
        ssize_t n = recv_some(s, space, NL_RECV_BYTES, 0);

        if (n < 0) {
            r = err_errno(e, errno, "netlink receive");
            break;
        }
        for (struct nlmsghdr *h = (struct nlmsghdr *)space; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            if (h->nlmsg_seq <= base)
                continue;
            if (h->nlmsg_type == NLMSG_DONE) {
                done = true;
                break;
            }
            if (h->nlmsg_type == NLMSG_ERROR) {
                const struct nlmsgerr *m = NLMSG_DATA(h);

                done = true;
                if (m->error && r == 0)
                    r = err_errno(e, m->error, "netlink dump");
                break;
            }
            /* After a failing callback the rest is read and dropped: the next request must find the socket empty. */
            if (r == 0)
                r = fn(h, arg, e);
        }
        if (r < 0 && !done && !s->once) {
            while (recv_some(s, space, NL_RECV_BYTES, MSG_DONTWAIT) > 0)
                continue;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

void netl_parse(const void *p, size_t n, unsigned max, const struct nlattr **table) {
    const char *at = p;

    memset(table, 0, (max + 1) * sizeof(*table));
    while (n >= NLA_HDRLEN) {
        const struct nlattr *a = (const struct nlattr *)at;
        size_t step = NLA_ALIGN(a->nla_len);

        if (a->nla_len < NLA_HDRLEN || a->nla_len > n)
            return;
        if ((a->nla_type & NLA_TYPE_MASK) <= max)
            table[a->nla_type & NLA_TYPE_MASK] = a;
        if (step >= n)
            return;
        at += step;
        n -= step;
    }
}

uint32_t netl_u32(const struct nlattr *a) {
    uint32_t v = 0;

    if (a && netl_len(a) >= sizeof(v))
        memcpy(&v, netl_data(a), sizeof(v));
    return v;
}
uint32_t netl_be32(const struct nlattr *a) {
    return be32toh(netl_u32(a));
}
