// SPDX-License-Identifier: Apache-2.0
/* Streams of processes and of clients. */
#include "monitor/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "monitor/health.h"

/* ---- a process's ends ------------------------------------------------------------------------------------------------- */

void proc_init(struct proc *p) {
    *p = (struct proc){.pid = -1, .pidfd = -EBADF, .pty = -EBADF, .pts = -EBADF, .spool = SPOOL_INIT};
    p->in = (struct src){SRC_STDIN, -EBADF, 0, p};
    p->out = (struct src){SRC_STDOUT, -EBADF, 0, p};
    p->err = (struct src){SRC_STDERR, -EBADF, 0, p};
    p->copier[0].stream = LOG_STDOUT;
    p->copier[1].stream = LOG_STDERR;
}

/* The ends for the child go to ret_child (the caller closes them); ours are kept, not blocking. */
int proc_pipes(struct mon *m, struct proc *p, int ret_child[3]) {
    struct src *ends[3] = {&p->in, &p->out, &p->err};

    for (int i = p->stdin_open ? 0 : 1; i < 3; i++) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
            return -errno;
        ret_child[i] = fds[i == 0 ? 0 : 1];
        ends[i]->fd = fds[i == 0 ? 1 : 0];
        ignore_result(fcntl(ends[i]->fd, F_SETFL, O_NONBLOCK));
    }
    return 0;
}

void proc_watch(struct mon *m, struct proc *p) {
    if (p->tty) {
        p->out.fd = p->pty;
        p->in.fd = p->pty < 0 || !p->stdin_open ? -EBADF : fcntl(p->pty, F_DUPFD_CLOEXEC, 3);
        ignore_result(fcntl(p->pty, F_SETFL, O_NONBLOCK));
        p->pts = p->exited ? -EBADF : ioctl(p->pty, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    }
    if (p->out.fd >= 0)
        src_set(m, &p->out, EPOLLIN);
    if (p->err.fd >= 0)
        src_set(m, &p->err, EPOLLIN);
    for (struct client *c = p->clients; c; c = c->next)
        if (c->in_n)
            proc_stdin_ready(m, p);
}

bool proc_streams_done(const struct proc *p) {
    return p->out.fd < 0 && p->err.fd < 0;
}

/* ---- to clients ------------------------------------------------------------------------------------------------------- */

static void client_dead(struct mon *m, struct client *c) {
    c->dead = true;
    src_close(m, &c->src);
}

/* With a log in a file there is a place on disk (the run-time folder is often memory); with other drivers the container waits, as with the reference. */
static bool fall_behind(struct mon *m, struct client *c) {
    struct spool *s = &c->proc->spool;

    if (s->fd < 0 && !(m->has_log && spool_open(s, m->log.path)))
        return false;
    c->behind = true;
    c->at = s->end;
    return true;
}

/* What everyone who is behind has read is not needed; without anyone the file is not. */
static void trim_spool(struct proc *p) {
    uint64_t oldest = UINT64_MAX;

    if (p->spool.fd < 0)
        return;
    for (struct client *c = p->clients; c; c = c->next)
        if (c->behind && !c->dead && c->at < oldest)
            oldest = c->at;
    if (oldest == UINT64_MAX)
        spool_close(&p->spool);
    else
        spool_keep_from(&p->spool, oldest);
}

/* For those who are behind. A full disk ends their sessions: what comes next must not follow what they have. */
static void keep_for_slow(struct mon *m, struct proc *p, bool is_err, const char *data, size_t n) {
    if (p->spool.fd < 0 || spool_add(&p->spool, is_err, data, n))
        return;
    for (struct client *c = p->clients; c; c = c->next)
        if (c->behind)
            client_dead(m, c);
    spool_close(&p->spool);
}

static bool client_full(const struct client *c) {
    return c->behind ? spool_full(&c->proc->spool) : c->out_n > 4 * LIMIT_ATTACH_BUFFER;
}

static bool grow(struct client *c, size_t n) {
    size_t want = (c->out_n + n + 4095) & ~(size_t)4095;
    char *fresh;

    if (c->out_at + c->out_n + n <= c->out_cap)
        return true;
    if (want < 2 * c->out_n && c->out_n > CLIENT_MEMORY)
        want = 2 * c->out_n; /* no spool: this goes on to a megabyte */
    fresh = malloc(want);
    if (!fresh)
        return false;
    if (c->out_n)
        memcpy(fresh, c->out + c->out_at, c->out_n);
    free(c->out);
    c->out = fresh;
    c->out_at = 0;
    c->out_cap = want;
    return true;
}

static void queue(struct mon *m, struct client *c, const char *p, size_t n) {
    if (!n || c->dead)
        return;
    if (!grow(c, n)) {
        client_dead(m, c);
        return;
    }
    memcpy(c->out + c->out_at + c->out_n, p, n);
    c->out_n += n;
}

/* The next pieces that a client who is behind has not had. */
static bool refill(struct client *c) {
    struct spool *s = &c->proc->spool;
    struct spool_want want = {.out = c->flags & MP_CLIENT_STDOUT, .err = c->flags & MP_CLIENT_STDERR, .framed = c->flags & MP_CLIENT_FRAMED};
    ssize_t n = 0;

    if (!grow(c, SPOOL_FRAME + SPOOL_RECORD_MAX))
        return false;
    c->out_at = 0;
    while (n == 0 && c->at < s->end)
        n = spool_read(s, &c->at, &want, c->out, c->out_cap);
    if (n < 0)
        return false;
    c->out_n = (size_t)n;
    c->behind = c->at < s->end;
    trim_spool(c->proc);
    return true;
}

static void client_interest(struct mon *m, struct client *c) {
    uint32_t events = 0;

    if (c->dead)
        return;
    if (!c->in_done && !c->in_n)
        events |= EPOLLIN;
    if (c->out_n || c->behind || (c->ending && !c->dead))
        events |= EPOLLOUT;
    src_set(m, &c->src, events);
}

/* Deliver what is kept; true when nothing is left. */
static bool client_flush(struct mon *m, struct client *c) {
    while (!c->dead) {
        ssize_t n;

        if (!c->out_n && c->behind && !refill(c)) {
            client_dead(m, c);
            return false;
        }
        if (!c->out_n) {
            free(c->out);
            c->out = NULL;
            c->out_cap = c->out_at = 0;
            return true;
        }
        n = send(c->src.fd, c->out + c->out_at, c->out_n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == ENOTSOCK)
            n = write(c->src.fd, c->out + c->out_at, c->out_n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n < 0) {
            client_dead(m, c);
            return false;
        }
        c->out_at += (size_t)n;
        c->out_n -= (size_t)n;
    }
    return false;
}

/* One piece of output to one client: straight to the socket when nothing waits before it. */
static void client_give(struct mon *m, struct client *c, bool is_err, const char *p, size_t n) {
    unsigned char head[8] = {is_err ? 2 : 1, 0, 0, 0, (unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8), (unsigned char)n};
    struct iovec iov[2] = {{head, sizeof head}, {(void *)(uintptr_t)p, n}};
    bool framed = c->flags & MP_CLIENT_FRAMED;
    size_t total = n + (framed ? sizeof head : 0), done = 0;

    if (c->dead || c->behind || c->ending || !(c->flags & (is_err ? MP_CLIENT_STDERR : MP_CLIENT_STDOUT)))
        return;
    if (!c->out_n) {
        struct msghdr msg = {.msg_iov = framed ? iov : iov + 1, .msg_iovlen = framed ? 2 : 1};
        ssize_t w = sendmsg(c->src.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (w < 0 && errno == ENOTSOCK)
            w = writev(c->src.fd, msg.msg_iov, (int)msg.msg_iovlen);
        if (w < 0 && errno != EAGAIN && errno != EINTR) {
            client_dead(m, c);
            return;
        }
        done = w > 0 ? (size_t)w : 0;
    }
    if (done == total)
        return;
    if (framed && done < sizeof head) {
        queue(m, c, (char *)head + done, sizeof head - done);
        done = sizeof head;
    }
    done -= framed ? sizeof head : 0;
    queue(m, c, p + done, n - done);
    if (c->out_n > CLIENT_MEMORY && !c->dead)
        ignore_result(fall_behind(m, c));
    client_interest(m, c);
}

/* The container waits for its log's receiver as it waits for clients; what it leaves behind when it ends is taken in any case. */
static void pause_when_full(struct mon *m, struct proc *p) {
    bool full = m->has_log && p == &m->first && !p->exited && log_writer_full(&m->log);

    for (struct client *c = p->clients; c; c = c->next)
        full = full || (!c->dead && client_full(c));
    if (full == p->paused)
        return;
    p->paused = full;
    if (p->out.fd >= 0)
        src_set(m, &p->out, full ? 0 : EPOLLIN);
    if (p->err.fd >= 0)
        src_set(m, &p->err, full ? 0 : EPOLLIN);
}

/* After the log, so that whoever is told of a line finds it there. */
static void give_all(struct mon *m, struct proc *p, bool is_err, const char *data, size_t n) {
    keep_for_slow(m, p, is_err, data, n);
    for (struct client *c = p->clients; c; c = c->next)
        client_give(m, c, is_err, data, n);
    pause_when_full(m, p);
}

/* ---- the log ---------------------------------------------------------------------------------------------------------- */

/* Watch the log's connection while messages wait for it. Called whenever the writer may have closed it and made another. */
static void log_watch(struct mon *m) {
    struct log_wait wait = {.fd = -EBADF};
    bool waits = m->has_log && log_writer_waits(&m->log, &wait);

    if (m->log_out.fd >= 0 && (!waits || wait.fd != m->log_out.fd || wait.connection != m->log_connection)) {
        ignore_result(epoll_ctl(m->ep, EPOLL_CTL_DEL, m->log_out.fd, NULL)); /* a closed one is not in there any more */
        m->log_out = (struct src){SRC_LOG, -EBADF, 0, NULL};
    }
    if (!waits || wait.fd < 0)
        return;
    m->log_out.fd = wait.fd;
    m->log_connection = wait.connection;
    src_set(m, &m->log_out, wait.reads ? EPOLLIN : EPOLLOUT);
}

static void log_flush(struct mon *m) {
    m->log.driver->flush(&m->log);
    mon_tell_lost(m, false);
    log_watch(m);
}

void log_ready(struct mon *m) {
    if (!m->has_log)
        return;
    log_flush(m);
    pause_when_full(m, &m->first);
}

int log_patience(const struct mon *m) {
    struct log_wait wait;
    int64_t left;

    if (!m->has_log || !log_writer_waits(&m->log, &wait) || wait.fd >= 0)
        return -1;
    left = (wait.retry_at - clock_mono_ns()) / NSEC_PER_MSEC + 1;
    return left < 0 ? 0 : (int)left;
}

/* ---- output of a process ---------------------------------------------------------------------------------------------- */

static void log_output(struct mon *m, struct proc *p, bool is_err, const char *data, size_t n) {
    struct log_copier *c = &p->copier[is_err];

    if (p->is_probe)
        health_output(m, data, n);
    if (!m->has_log || p != &m->first)
        return;
    log_copier_feed(c, &m->log, data, n, clock_wall_ns());
    log_flush(m);
}

static void stream_ended(struct mon *m, struct proc *p, struct src *s) {
    if (m->has_log && p == &m->first) {
        log_copier_end(&p->copier[s->kind == SRC_STDERR], &m->log, clock_wall_ns());
        log_flush(m);
    }
    src_close(m, s);
    if (p->tty) {
        p->pty = -EBADF;
        src_close(m, &p->in);
    }
}

/* Read what is there, at most a few blocks per round so that nobody else waits long. */
void proc_output(struct mon *m, struct src *s) {
    struct proc *p = s->owner;
    bool is_err = s->kind == SRC_STDERR;

    for (int round = 0; round < 4 && s->fd >= 0; round++) {
        ssize_t n = read(s->fd, m->block, READ_BLOCK);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) { /* EIO: the terminal's last user is gone */
            stream_ended(m, p, s);
            return;
        }
        log_output(m, p, is_err, m->block, (size_t)n);
        give_all(m, p, is_err, m->block, (size_t)n);
        if (p->paused || (size_t)n < READ_BLOCK / 16)
            return;
    }
}

/* After the process is gone: everything that is still in its pipes. */
void proc_drain(struct mon *m, struct proc *p) {
    struct src *ends[2] = {&p->out, &p->err};

    p->pts = close_fd(p->pts);
    pause_when_full(m, p);
    for (int i = 0; i < 2; i++)
        while (ends[i]->fd >= 0 && !p->paused) {
            int before = ends[i]->fd;
            ssize_t n = read(before, m->block, READ_BLOCK);

            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0 && errno == EAGAIN)
                break;
            if (n <= 0) {
                stream_ended(m, p, ends[i]);
                break;
            }
            log_output(m, p, i, m->block, (size_t)n);
            give_all(m, p, i, m->block, (size_t)n);
        }
}

void proc_end_clients(struct mon *m, struct proc *p) {
    for (struct client *c = p->clients; c; c = c->next) {
        c->ending = true;
        c->in_done = true;
        if (client_flush(m, c))
            client_dead(m, c);
        else
            client_interest(m, c);
    }
}

void proc_close(struct mon *m, struct proc *p) {
    src_close(m, &p->in);
    src_close(m, &p->out);
    src_close(m, &p->err);
    p->pts = close_fd(p->pts);
    p->pidfd = close_fd(p->pidfd);
}

/* ---- input ------------------------------------------------------------------------------------------------------------ */

static void end_of_input(struct mon *m, struct client *c) {
    struct proc *p = c->proc;

    c->in_done = true;
    if (!(c->flags & MP_CLIENT_STDIN))
        return;
    if (p->stdin_once && !p->tty) {
        src_close(m, &p->in);
        return;
    }
    /* As the reference: where the end of input is not passed on, the client's session ends with it. */
    c->ending = true;
}

/* Hand bytes to the process; what it does not take now stays with the client. */
static void feed(struct mon *m, struct client *c) {
    struct proc *p = c->proc;

    while (c->in_n) {
        ssize_t n;

        if (p->in.fd < 0) {
            if (p->pid > 0 || p->exited)
                c->in_n = 0; /* nobody reads: drop, as a closed pipe would */
            break;
        }
        n = write(p->in.fd, c->in + c->in_at, c->in_n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            src_set(m, &p->in, EPOLLOUT);
            break;
        }
        if (n < 0) {
            c->in_n = 0;
            src_close(m, &p->in);
            break;
        }
        c->in_at += (size_t)n;
        c->in_n -= (size_t)n;
    }
    if (!c->in_n && c->in) {
        free(c->in);
        c->in = NULL;
        c->in_at = 0;
    }
}

void proc_stdin_ready(struct mon *m, struct proc *p) {
    if (p->in.fd >= 0)
        src_set(m, &p->in, 0);
    for (struct client *c = p->clients; c; c = c->next) {
        bool had = c->in_n;

        feed(m, c);
        if (had && !c->in_n && c->in_done)
            end_of_input(m, c);
        if (!c->dead) {
            if (c->ending && client_flush(m, c))
                client_dead(m, c);
            client_interest(m, c);
        }
    }
}

/*
 * Look for the detach sequence; returns how many bytes to keep, or -1 when it is complete. Bytes of a started sequence are held back. A key that breaks
 * one begins none, be it the first of the sequence: so it is in the reference.
 */
static ssize_t look_for_keys(struct client *c, char *p, size_t n, char *ret, size_t *ret_n) {
    size_t o = 0;

    for (size_t i = 0; i < n; i++) {
        if (c->n_keys && (uint8_t)p[i] == c->keys[c->keys_seen]) {
            if (++c->keys_seen == c->n_keys)
                return -1;
            continue;
        }
        memcpy(ret + o, c->keys, c->keys_seen);
        o += c->keys_seen;
        c->keys_seen = 0;
        ret[o++] = p[i];
    }
    *ret_n = o;
    return (ssize_t)o;
}

/* Take n bytes that came from the client. */
static void take_input(struct mon *m, struct client *c, char *p, size_t n) {
    size_t keep = n;
    char *fresh;

    if (!(c->flags & MP_CLIENT_STDIN))
        return;
    fresh = malloc(n + sizeof c->keys + 1);
    if (!fresh) {
        client_dead(m, c);
        return;
    }
    if (c->proc->tty && c->n_keys) {
        if (look_for_keys(c, p, n, fresh, &keep) < 0) {
            free(fresh);
            c->in_done = true;
            c->ending = true;
            mon_event(m, MP_DETACHED, 0, 0, 0, 0, c->proc->id);
            return;
        }
    } else {
        memcpy(fresh, p, n);
    }
    free(c->in);
    c->in = fresh;
    c->in_at = 0;
    c->in_n = keep;
    feed(m, c);
}

static void client_input(struct mon *m, struct client *c) {
    for (int round = 0; round < 4 && !c->in_n && !c->in_done && !c->dead; round++) {
        ssize_t n = read(c->src.fd, m->block, KIB(16));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            if (n < 0)
                client_dead(m, c);
            end_of_input(m, c);
            return;
        }
        take_input(m, c, m->block, (size_t)n);
    }
}

void client_event(struct mon *m, struct client *c, uint32_t events) {
    bool flushed = true;

    if (c->dead)
        return;
    if (events & EPOLLERR) {
        client_dead(m, c);
        if (!c->in_done)
            end_of_input(m, c);
        return;
    }
    if (events & EPOLLIN || (events & EPOLLHUP && !c->in_done && !c->in_n))
        client_input(m, c);
    else if (events & EPOLLHUP && c->in_done) { /* both directions are closed: nobody will read */
        client_dead(m, c);
        return;
    }
    if (!c->dead && (c->out_n || c->behind))
        flushed = client_flush(m, c);
    if (!c->dead && c->ending && flushed)
        client_dead(m, c);
    pause_when_full(m, c->proc);
    client_interest(m, c);
}

int client_add(struct mon *m, struct proc *p, int fd, unsigned flags, const char *keys, int64_t n_keys, const char *early, size_t n_early) {
    struct client *c = calloc(1, sizeof *c);

    if (!c) {
        close_fd(fd);
        return -ENOMEM;
    }
    c->src = (struct src){SRC_CLIENT, fd, 0, c};
    c->proc = p;
    c->flags = flags;
    if (n_keys < 0) {
        c->keys[0] = 0x10;
        c->keys[1] = 0x11;
        c->n_keys = 2;
    } else if ((size_t)n_keys <= sizeof c->keys) {
        c->n_keys = (size_t)n_keys;
        memcpy(c->keys, keys, (size_t)n_keys);
    }
    ignore_result(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK));
    c->next = p->clients;
    p->clients = c;
    if (flags & MP_CLIENT_STDIN && p->in.fd >= 0)
        p->stdin_client = true;
    if (n_early) {
        char *copy = malloc(n_early);

        if (copy) {
            memcpy(copy, early, n_early);
            take_input(m, c, copy, n_early);
            free(copy);
        }
    }
    if (p->exited && proc_streams_done(p)) {
        c->ending = true;
        c->in_done = true;
    }
    client_interest(m, c);
    return 0;
}

/* Free the clients that died in this round. */
void clients_sweep(struct mon *m, struct proc *p) {
    for (struct client **at = &p->clients; *at;) {
        struct client *c = *at;

        if (!c->dead) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        src_close(m, &c->src);
        free(c->out);
        free(c->in);
        free(c);
        trim_spool(p);
        pause_when_full(m, p);
    }
}
