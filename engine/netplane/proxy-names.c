// SPDX-License-Identifier: Apache-2.0
/* Names said to hatake-netd, said again when it was started anew; and the thread that sees it die. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"
#include "netplane/proxy-internal.h"

#define WATCHER_STACK (256 * 1024)
#define RESTART_NS (200 * NSEC_PER_MSEC) /* between two starts of one that keeps dying */

/* A packet, its descriptors. */
struct saying {
    bool resolver;
    int fds[NETD_SOCKETS];
    size_t n_fds, n;
    char packet[];
};

static void saying_free(void *arg) {
    struct saying *s = arg;

    for (size_t i = 0; s && i < s->n_fds; i++)
        close_fd(s->fds[i]);
    free(s);
}

void proxy_forget(struct proxy *p) {
    map_done_with(&p->said, saying_free);
}

static int repeat_all(struct proxy *p) {
    int r = 0;

    /* Names first: a resolver's first answers are to be right. */
    for (int resolver = 0; resolver < 2; resolver++) {
        for (struct map_entry *i = NULL; r == 0 && (i = map_next(&p->said, i));) {
            const struct saying *s = i->value;

            if (s->resolver == resolver && !(resolver && p->gathering))
                r = proxy_send(p, s->packet, s->n, s->fds, s->n_fds);
        }
    }
    return r;
}

int proxy_repeat(struct proxy *p, struct err *e) {
    int r = repeat_all(p);

    return r < 0 ? err_errno(e, r, "say names to hatake-netd") : 0;
}

void proxy_all_said(struct proxy *p) {
    _cleanup_err_ struct err why = ERR_INIT;
    int r = -ENOTCONN;

    p->gathering = false;
    if (!p->resolvers)
        return;
    if (p->fd >= 0)
        r = repeat_all(p);
    if (r < 0 && proxy_reach(p, &why) < 0)
        log_kv(LOG_LVL_ERROR, "names cannot be served", "error", err_msg(&why), NULL);
}

/* ---- saying ------------------------------------------------------------------------------------------------------------------------ */

static void said_key(char key[GROUP_TEXT + 2], bool resolver, const char *group) {
    key[0] = resolver ? 'r' : 'n';
    memcpy(key + 1, group, strlen(group) + 1);
}

static int say_locked(struct proxy *p, struct saying *s, const char *key, struct err *e) {
    struct saying *old = NULL;
    size_t send_fds = s->n_fds;
    int r;

    if (map_set(&p->said, key, s, (void **)&old) < 0)
        return err_oom(e);
    if (s->resolver && !old)
        p->resolvers++;
    /* Without a new set of sockets the old ones stay its own. */
    if (old && !s->n_fds) {
        memcpy(s->fds, old->fds, sizeof(s->fds));
        s->n_fds = old->n_fds;
        old->n_fds = 0;
        send_fds = 0;
    }
    saying_free(old);
    if (s->resolver && p->gathering)
        return 0;
    r = proxy_send(p, s->packet, s->n, s->fds, send_fds);
    /* Names alone need nobody to hear them; they are said to the one that is started for a resolver. */
    if (r < 0 && p->resolvers)
        return proxy_reach(p, e);
    return 0;
}

int proxy_say(struct proxy *p, enum netd_op op, const char *id, const struct buf *fields, int *fds, struct err *e) {
    char group[GROUP_TEXT + 1] = "", key[GROUP_TEXT + 2];
    struct saying *s = NULL;
    struct netd_msg m;
    int r = buf_check(fields, e);

    if (r == 0 && fields->len > NETD_PACKET_MAX - NETD_MSG_BYTES(0))
        r = err_set(e, ERR_INVALID, "too many names");
    if (r == 0) {
        s = calloc(1, sizeof(*s) + NETD_MSG_BYTES(0) + fields->len);
        r = s ? 0 : err_oom(e);
    }
    if (r < 0) {
        for (size_t i = 0; fds && i < NETD_SOCKETS; i++)
            fds[i] = close_fd(fds[i]);
        return r;
    }
    proxy_message(&m, op, id, group);
    s->resolver = op == NETD_RESOLVER;
    s->n = NETD_MSG_BYTES(0) + fields->len;
    memcpy(s->packet, &m, NETD_MSG_BYTES(0));
    if (fields->len)
        memcpy(s->packet + NETD_MSG_BYTES(0), fields->data, fields->len);
    for (size_t i = 0; fds && i < NETD_SOCKETS; i++)
        s->fds[s->n_fds++] = TAKE_FD(fds[i]);
    said_key(key, s->resolver, group);
    pthread_mutex_lock(&p->lock);
    r = say_locked(p, s, key, e);
    if (r < 0 && map_get(&p->said, key) != s)
        saying_free(s);
    pthread_mutex_unlock(&p->lock);
    return r;
}

void proxy_unsay(struct proxy *p, enum netd_op op, const char *id) {
    char group[GROUP_TEXT + 1] = "", key[GROUP_TEXT + 2];
    struct saying *s;
    struct netd_msg m;

    proxy_message(&m, op, id, group);
    said_key(key, op == NETD_UNRESOLVE, group);
    pthread_mutex_lock(&p->lock);
    s = map_remove(&p->said, key);
    if (s) {
        ignore_result(proxy_send(p, &m, NETD_MSG_BYTES(0), NULL, 0) < 0);
        p->resolvers -= s->resolver;
    }
    pthread_mutex_unlock(&p->lock);
    saying_free(s);
}

bool proxy_resolves(struct proxy *p, const char *container_id) {
    char group[GROUP_TEXT + 1] = "", key[GROUP_TEXT + 2];
    const struct saying *s;
    struct netd_msg m;
    bool has;

    proxy_message(&m, NETD_RESOLVER, container_id, group);
    said_key(key, true, group);
    pthread_mutex_lock(&p->lock);
    s = map_get(&p->said, key);
    has = s && s->n_fds;
    pthread_mutex_unlock(&p->lock);
    return has;
}

/* ---- watching ---------------------------------------------------------------------------------------------------------------------- */

void proxy_connected(struct proxy *p) {
    uint64_t one = 1;

    if (!p->watching)
        return;
    /* A copy: the connection's own number may be closed and used again while the thread waits. */
    close_fd(p->watched);
    p->watched = fcntl(p->fd, F_DUPFD_CLOEXEC, 3);
    ignore_result(write(p->wake, &one, sizeof(one)) < 0);
}

/* The connection is gone: start another one if anything needs it. */
static void revive(struct proxy *p) {
    _cleanup_err_ struct err why = ERR_INIT;

    p->fd = close_fd(p->fd);
    if (!p->resolvers && !p->groups.n)
        return;
    log_kv(LOG_LVL_WARN, "hatake-netd has ended and is started anew", NULL);
    if (proxy_reach(p, &why) < 0)
        log_kv(LOG_LVL_ERROR, "hatake-netd cannot be started", "error", err_msg(&why), NULL);
}

/* Take what it has told. With the lock nobody waits for an answer: there is nothing else to read, save one that came too late for whoever had asked. */
static void listen_to(struct proxy *p) {
    struct netd_msg m;
    ssize_t n;

    while (p->fd >= 0 && (n = recv(p->fd, &m, sizeof(m), MSG_DONTWAIT)) > 0) {
        if (n >= (ssize_t)NETD_MSG_BYTES(0) && m.version == NETD_VERSION && m.op == NETD_LOG)
            proxy_heard(&m, (size_t)n);
    }
}

/* What the thread does when it wakes up; hung_up: the connection it watched has ended. False: stop. */
static bool look_after(struct proxy *p, bool hung_up, int *fd) {
    bool stop;

    pthread_mutex_lock(&p->lock);
    stop = p->stop;
    listen_to(p);
    /* Somebody may have started one already: then its connection waits to be watched. */
    if (hung_up && !stop && p->watched < 0)
        revive(p);
    if (p->watched >= 0) {
        close_fd(*fd);
        *fd = TAKE_FD(p->watched);
    }
    pthread_mutex_unlock(&p->lock);
    return !stop;
}

static void *watcher(void *arg) {
    struct proxy *p = arg;
    int64_t last = 0;
    int fd = -EBADF;
    bool hung_up = false;

    while (look_after(p, hung_up, &fd)) {
        struct pollfd v[2] = {{.fd = fd, .events = POLLIN}, {.fd = p->wake, .events = POLLIN}}; /* POLLHUP comes unasked */
        uint64_t n;

        if (poll(v, 2, -1) < 0 && errno != EINTR)
            break;
        if (v[1].revents)
            ignore_result(read(p->wake, &n, sizeof(n)) < 0);
        hung_up = v[0].revents & (POLLHUP | POLLERR);
        if (!hung_up)
            continue;
        fd = close_fd(fd);
        if (clock_mono_ns() - last < RESTART_NS)
            poll(v + 1, 1, RESTART_NS / NSEC_PER_MSEC);
        last = clock_mono_ns();
    }
    close_fd(fd);
    return NULL;
}

int proxy_watch(struct proxy *p, struct err *e) {
    int r = 0;

    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->wake < 0)
        return err_errno(e, errno, "eventfd");
    p->watching = true;
    pthread_mutex_lock(&p->lock);
    if (p->fd >= 0)
        proxy_connected(p);
    pthread_mutex_unlock(&p->lock);
    if (thread_start(&p->watcher, WATCHER_STACK, watcher, p) < 0) {
        r = err_set(e, ERR_INTERNAL, "cannot start a thread");
        p->watching = false;
    }
    return r;
}

void proxy_unwatch(struct proxy *p) {
    uint64_t one = 1;

    if (p->watching) {
        pthread_mutex_lock(&p->lock);
        p->stop = true;
        ignore_result(write(p->wake, &one, sizeof(one)) < 0);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->watcher, NULL);
    }
    p->watched = close_fd(p->watched);
    p->wake = close_fd(p->wake);
}
