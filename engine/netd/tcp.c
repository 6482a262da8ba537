// SPDX-License-Identifier: Apache-2.0
/* TCP: accept, connect to the container, splice bytes both ways with half-close. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "netd/netd.h"

/* Value of side.events once the side is out of the epoll set. */
#define SIDE_DONE UINT32_MAX

#define PIPES_SPARE 32

/* One side of a connection. `kept` is what this side has still to send: bytes of the other side, in the pipe, that its socket would not take. */
struct side {
    struct source source;
    struct stream *stream;
    struct side *peer;
    int pipe[2]; /* read and write end; -EBADF: none at the moment */
    size_t n_kept;
    uint32_t events;
    bool read_eof;  /* nothing more will come from this side */
    bool write_end; /* the peer has ended: shut down after kept */
    bool shut;
};

struct stream {
    struct source grave; /* for burying; never in the epoll set (fd -1) */
    struct stream *next, **link;
    struct group *group;
    struct side client, server;
    bool connecting;
};

static void pump(struct source *s, uint32_t events);

/* ---- pipes ------------------------------------------------------------------------------------------------------------------------- */

/* Bytes go from socket to socket through a pipe without being copied. A direction holds one only while something is in it. */
static struct {
    int fds[PIPES_SPARE][2];
    size_t n;
} spare;

static int pipe_take(int ret[2]) {
    if (spare.n) {
        memcpy(ret, spare.fds[--spare.n], sizeof(spare.fds[0]));
        return 0;
    }
    return pipe2(ret, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0;
}

/* An empty one may be used again. */
static void pipe_give(int fds[2], bool empty) {
    if (empty && fds[0] >= 0 && spare.n < PIPES_SPARE) {
        memcpy(spare.fds[spare.n++], fds, sizeof(spare.fds[0]));
        fds[0] = fds[1] = -EBADF;
    }
    fds[0] = close_fd(fds[0]);
    fds[1] = close_fd(fds[1]);
}

/* ---- connections ------------------------------------------------------------------------------------------------------------------ */

static void stream_end(struct stream *t, bool reset) {
    struct side *sides[] = {&t->client, &t->server};

    for (size_t i = 0; i < 2; i++) {
        struct linger hard = {.l_onoff = 1, .l_linger = 0};

        if (sides[i]->source.fd < 0)
            continue;
        /* What broke on one side breaks on the other: an orderly end would look like success. */
        if (reset)
            ignore_result(setsockopt(sides[i]->source.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)));
        sides[i]->source.fd = close_fd(sides[i]->source.fd);
        sides[i]->source.dead = true;
        pipe_give(sides[i]->pipe, !sides[i]->n_kept);
    }
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    t->group->n_streams--;
    netd.n_streams--;
    netd_bury(&t->grave);
    listeners_resume();
}

void listener_end_streams(struct listener *l) {
    while (l->streams)
        stream_end(l->streams, true);
}

static void want(struct side *s) {
    uint32_t ev = 0;

    if (s->events == SIDE_DONE)
        return;
    if (s->read_eof && s->shut) {
        /* Both directions are over: epoll would report the hang-up again and again while the other side still drains. */
        s->events = SIDE_DONE;
        epoll_ctl(netd.epoll, EPOLL_CTL_DEL, s->source.fd, NULL);
        return;
    }
    if (s->stream->connecting)
        ev = s == &s->stream->server ? EPOLLOUT : 0;
    else
        ev = (!s->read_eof && !s->peer->n_kept ? EPOLLIN : 0u) | (s->n_kept ? EPOLLOUT : 0u);
    if (ev != s->events) {
        s->events = ev;
        netd_rewatch(&s->source, ev);
    }
}

static int flush_kept(struct side *s) {
    while (s->n_kept) {
        ssize_t n = splice(s->pipe[0], NULL, s->source.fd, NULL, s->n_kept, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0)
            return -EPIPE;
        s->n_kept -= (size_t)n;
    }
    pipe_give(s->pipe, true);
    if (s->write_end && !s->shut) {
        s->shut = true;
        ignore_result(shutdown(s->source.fd, SHUT_WR));
    }
    return 0;
}

/* Move what is there from one side to the other; while something stays in the pipe no more is read. */
static int move(struct side *from) {
    struct side *to = from->peer;
    int r = to->pipe[0] >= 0 ? 0 : pipe_take(to->pipe);
    ssize_t n;

    if (r < 0)
        return r;
    n = splice(from->source.fd, NULL, to->pipe[1], NULL, NETD_CHUNK, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    if (n < 0) {
        r = errno == EAGAIN || errno == EINTR ? 0 : -errno;
        pipe_give(to->pipe, r == 0);
        return r;
    }
    if (n == 0) {
        from->read_eof = true;
        to->write_end = true;
    }
    to->n_kept = (size_t)n;
    return flush_kept(to);
}

static void pump(struct source *source, uint32_t events) {
    struct side *s = (struct side *)(void *)source;
    struct stream *t = s->stream;
    int r = 0;

    if (t->connecting) {
        int err = 0;
        socklen_t len = sizeof(err);

        if (getsockopt(t->server.source.fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 || err || (events & EPOLLHUP && s == &t->client)) {
            if (err)
                netd_tell(false, t->group->trace, t->group->name, "no connection to the container: %s", strerror(err));
            stream_end(t, true);
            return;
        }
        if (s != &t->server || !(events & EPOLLOUT))
            return;
        t->connecting = false;
    } else if (events & EPOLLERR) {
        stream_end(t, true);
        return;
    }
    if (events & EPOLLOUT)
        r = flush_kept(s);
    if (r == 0 && (events & (EPOLLIN | EPOLLHUP)) && !s->read_eof && !s->peer->n_kept)
        r = move(s);
    if (r < 0) {
        stream_end(t, true);
        return;
    }
    if (t->client.shut && t->server.shut) {
        stream_end(t, false);
        return;
    }
    want(&t->client);
    want(&t->server);
}

static void side_init(struct stream *t, struct side *s, struct side *peer, int fd) {
    s->source = (struct source){.ready = pump, .fd = fd};
    s->stream = t;
    s->peer = peer;
    s->pipe[0] = s->pipe[1] = -EBADF;
}

static void set_nodelay(int fd) {
    int one = 1;

    ignore_result(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0);
}

/*
 * A caller's connection is looked after by the kernel: one whose other end has vanished ends after some minutes. Not set on listening sockets, to be inherited:
 * there are far more of those than ever see a connection, and starting a container would pay for each.
 */
static void set_keepalive(int fd) {
    int one = 1, seconds = NETD_KEEPALIVE_SECONDS;

    ignore_result(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one)) < 0);
    ignore_result(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds)) < 0);
    ignore_result(setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds)) < 0);
}

static void stream_begin(struct listener *l, int fd) {
    struct stream *t = calloc(1, sizeof(*t));
    int out = -EBADF;

    if (t)
        out = socket(l->target.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (out >= 0) {
        /* What one side has sent goes on at once, whatever it may still send. */
        set_nodelay(fd);
        set_nodelay(out);
        set_keepalive(fd);
    }
    if (out < 0 || (connect(out, &l->target.sa, l->target_len) < 0 && errno != EINPROGRESS)) {
        netd_tell(false, l->group->trace, l->group->name, "no connection to the container: %s", strerror(errno));
        close_fd(out);
        close_fd(fd);
        free(t);
        return;
    }
    t->grave.fd = -EBADF;
    side_init(t, &t->client, &t->server, fd);
    side_init(t, &t->server, &t->client, out);
    t->group = l->group;
    t->connecting = true;
    t->next = l->streams;
    t->link = &l->streams;
    if (t->next)
        t->next->link = &t->next;
    l->streams = t;
    t->group->n_streams++;
    netd.n_streams++;
    t->server.events = EPOLLOUT;
    if (netd_watch(&t->client.source, 0) < 0 || netd_watch(&t->server.source, EPOLLOUT) < 0)
        stream_end(t, true);
}

void listener_tcp_ready(struct source *source, uint32_t events) {
    struct listener *l = (struct listener *)(void *)source;

    /* A bounded number per turn, so that one busy port does not starve the others. */
    for (int i = 0; i < 64; i++) {
        int fd;

        if (netd.n_streams >= NETD_MAX_STREAMS || l->group->n_streams >= NETD_GROUP_STREAMS) {
            listener_pause(l);
            return;
        }
        fd = accept4(l->source.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                listener_pause(l);
            return;
        }
        stream_begin(l, fd);
    }
}
