// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/log.h"
#include "base/spawn.h"
#include "base/str.h"
#include "netplane/proxy-internal.h"

#define ANSWER_SECONDS 5

static int address(const char *path, struct sockaddr_un *ret, struct err *e) {
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(ret->sun_path))
        return err_set(e, ERR_INVALID, "path of the proxy's socket is too long: %s", path);
    memcpy(ret->sun_path, path, strlen(path) + 1);
    return 0;
}

static void set_timeout(int fd) {
    struct timeval t = {.tv_sec = ANSWER_SECONDS};

    ignore_result(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0);
    ignore_result(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) < 0);
}

static int listen_at(const struct proxy *p, struct err *e) {
    struct sockaddr_un a;
    _cleanup_close_ int fd = -EBADF;
    int r = address(p->path, &a, e);

    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_errno(e, errno, "proxy socket");
    unlink(p->path);
    /* The folder is root's alone (0700), so the moment before chmod does not matter. */
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || chmod(p->path, 0600) < 0 || listen(fd, 8) < 0)
        return err_errno(e, errno, "proxy socket %s", p->path);
    return TAKE_FD(fd);
}

/* The child's descriptors 3 and 4 are its door and our connection; it forks once itself and the first process is reaped here. */
static int spawn(struct proxy *p, struct err *e) {
    _cleanup_close_ int door = -EBADF, ours = -EBADF, theirs = -EBADF;
    char *const argv[] = {(char *)"hatake-netd", NULL}, *const env[] = {NULL};
    int pair[2], r;
    pid_t pid;

    door = p->door >= 0 ? TAKE_FD(p->door) : listen_at(p, e);
    if (door < 0)
        return door;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, errno, "proxy connection");
    ours = pair[0];
    theirs = pair[1];
    r = spawn_start(p->program, argv, env, (const struct spawn_fd[]){{door, 3}, {theirs, 4}}, 2, &pid, e);
    if (r < 0)
        return r;
    ignore_result(spawn_wait(pid) < 0);
    set_timeout(ours);
    close_fd(p->fd);
    p->fd = TAKE_FD(ours);
    p->spawned = true;
    proxy_connected(p);
    return 0;
}

void proxy_message(struct netd_msg *m, enum netd_op op, const char *endpoint_id, char ret_group[GROUP_TEXT + 1]) {
    memset(m, 0, NETD_MSG_BYTES(0));
    m->version = NETD_VERSION;
    m->op = (uint8_t)op;
    m->tell_all = log_enabled(LOG_LVL_DEBUG);
    m->trace = strtoull(log_trace(), NULL, 16);
    if (!endpoint_id)
        return;
    snprintf(ret_group, GROUP_TEXT + 1, "%.*s", GROUP_TEXT, endpoint_id);
    hex_decode(ret_group, m->group, NETD_GROUP_BYTES);
}

int proxy_send(struct proxy *p, const void *packet, size_t n, const int *fds, size_t n_fds) {
    union {
        struct cmsghdr h;
        char space[CMSG_SPACE(NETD_ENTRIES * sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)packet, n};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t r;

    if (p->fd < 0)
        return -ENOTCONN;
    if (n_fds) {
        h.msg_control = &control;
        h.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        control.h.cmsg_level = SOL_SOCKET;
        control.h.cmsg_type = SCM_RIGHTS;
        control.h.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(&control.h), fds, n_fds * sizeof(int));
    }
    do
        r = sendmsg(p->fd, &h, MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    if (r >= 0)
        return 0;
    r = -errno;
    p->fd = close_fd(p->fd);
    return (int)r;
}

static int send_msg(struct proxy *p, const struct netd_msg *m, const int *fds, size_t n_fds) {
    return proxy_send(p, m, NETD_MSG_BYTES(m->n), fds, n_fds);
}

/* Connect to one that runs and make sure that it listens; -EBADF when none does. */
static int connect_running(struct proxy *p) {
    struct sockaddr_un a;
    struct netd_msg m;

    if (address(p->path, &a, NULL) < 0)
        return -EBADF;
    p->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        return p->fd = close_fd(p->fd);
    set_timeout(p->fd);
    /* One that is just ending takes no more connections: then the answer never comes. */
    proxy_message(&m, NETD_SYNC, NULL, NULL);
    if (send_msg(p, &m, NULL, 0) == 0)
        ignore_result(proxy_wait_synced(p) < 0);
    if (p->fd >= 0)
        proxy_connected(p);
    return p->fd;
}

int proxy_reach(struct proxy *p, struct err *e) {
    int r = 0;

    p->spawned = false;
    if (p->door >= 0 || connect_running(p) < 0)
        r = spawn(p, e);
    if (r == 0)
        r = proxy_repeat(p, e);
    if (r == 0 && p->spawned) {
        r = held_send_all(p);
        if (r < 0)
            r = err_errno(e, r, "hand ports to hatake-netd");
    }
    return r;
}

int proxy_new(const char *program, const char *socket_path, bool hold, struct proxy **ret, struct err *e) {
    struct proxy *p = calloc(1, sizeof(*p));

    if (!p)
        return err_oom(e);
    p->program = strdup(program);
    p->path = strdup(socket_path);
    p->hold = hold;
    if (!p->program || !p->path) {
        free(p->program);
        free(p->path);
        free(p);
        return err_oom(e);
    }
    pthread_mutex_init(&p->lock, NULL);
    p->door = p->watched = p->wake = -EBADF;
    p->gathering = true;
    p->fd = connect_running(p);
    /* What it knows of names is old until it has been said again. */
    if (p->fd >= 0) {
        struct netd_msg m;

        proxy_message(&m, NETD_STALE, NULL, NULL);
        ignore_result(send_msg(p, &m, NULL, 0) < 0);
    }
    /* Its socket's file is there from the start, so that the first published port changes nothing on disk. */
    if (p->fd < 0)
        p->door = listen_at(p, e);
    if (p->fd < 0 && p->door < 0) {
        int r = p->door;

        proxy_free(p);
        return r;
    }
    *ret = p;
    return 0;
}

struct proxy *proxy_free(struct proxy *p) {
    if (!p)
        return NULL;
    proxy_unwatch(p);
    close_fd(p->fd);
    close_fd(p->door);
    if (!p->groups.n && !p->resolvers)
        unlink(p->path);
    map_done_with(&p->groups, held_free);
    proxy_forget(p);
    pthread_mutex_destroy(&p->lock);
    free(p->program);
    free(p->path);
    free(p);
    return NULL;
}

static int add_locked(struct proxy *p, const char *endpoint_id, uint32_t target, const struct in6_addr *target6, struct port_taken *v, size_t n,
                      struct err *e) {
    struct netd_msg m;
    char group[GROUP_TEXT + 1] = "";
    const struct held *held;
    size_t first;
    int r = 0;

    proxy_message(&m, NETD_ADD, endpoint_id, group);
    held = map_get(&p->groups, group);
    first = held ? held->n : 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct netd_entry entry = {.target_be = htonl(target),
                                   .v6 = v[i].v6 && target6,
                                   .target_port_be = htons(v[i].container_port),
                                   .proto = (uint8_t)v[i].proto,
                                   .hold = p->hold};

        if (entry.v6)
            memcpy(entry.target6, target6, sizeof(*target6));
        if (v[i].fd >= 0)
            r = held_add(p, group, &entry, &v[i].fd, 1);
    }
    if (r < 0)
        r = err_oom(e);
    /* One that ended for want of work, or died: the next one is handed everything. */
    else if (p->fd < 0 || held_send(p, group, first) < 0) {
        r = proxy_reach(p, e);
        if (r == 0 && !p->spawned && held_send(p, group, first) < 0)
            r = err_set(e, ERR_INTERNAL, "hatake-netd takes no ports");
    }
    if (r < 0)
        held_end(map_remove(&p->groups, group));
    return r;
}

int proxy_add(struct proxy *p, const char *endpoint_id, uint32_t target, const struct in6_addr *target6, struct port_taken *v, size_t n,
              struct err *e) {
    bool any = false;
    int r = 0;

    for (size_t i = 0; i < n; i++)
        any = any || v[i].fd >= 0;
    if (any) {
        pthread_mutex_lock(&p->lock);
        r = add_locked(p, endpoint_id, target, target6, v, n, e);
        pthread_mutex_unlock(&p->lock);
    }
    ports_close_fds(v, n);
    return r;
}

void proxy_drop(struct proxy *p, const char *endpoint_id) {
    struct held *held;
    struct netd_msg m;
    char group[GROUP_TEXT + 1] = "";

    pthread_mutex_lock(&p->lock);
    proxy_message(&m, NETD_DROP, endpoint_id, group);
    held = map_remove(&p->groups, group);
    if (held) {
        ignore_result(send_msg(p, &m, NULL, 0) < 0);
        p->unsettled = true;
    }
    held_end(held);
    pthread_mutex_unlock(&p->lock);
}

void proxy_settle(void *arg) {
    struct proxy *p = arg;
    struct netd_msg m;

    pthread_mutex_lock(&p->lock);
    if (p->unsettled && p->fd >= 0) {
        proxy_message(&m, NETD_SYNC, NULL, NULL);
        if (send_msg(p, &m, NULL, 0) == 0)
            ignore_result(proxy_wait_synced(p) < 0);
    }
    p->unsettled = false;
    pthread_mutex_unlock(&p->lock);
}

bool proxy_has(struct proxy *p, const char *endpoint_id) {
    struct netd_msg m;
    char group[GROUP_TEXT + 1] = "";
    bool has;

    proxy_message(&m, NETD_LIST, endpoint_id, group);
    pthread_mutex_lock(&p->lock);
    has = map_has(&p->groups, group);
    pthread_mutex_unlock(&p->lock);
    return has;
}

int proxy_refresh(struct proxy *p, struct err *e) {
    struct netd_msg m;
    int r = 0;

    pthread_mutex_lock(&p->lock);
    map_done_with(&p->groups, held_free);
    p->groups = MAP_INIT;
    if (p->fd >= 0) {
        proxy_message(&m, NETD_LIST, NULL, NULL);
        r = send_msg(p, &m, NULL, 0);
        if (r == 0)
            r = proxy_wait_synced(p);
    }
    pthread_mutex_unlock(&p->lock);
    return r < 0 ? err_errno(e, r, "ask the proxy what it holds") : 0;
}

void proxy_sweep(struct proxy *p, bool (*keep)(const char *endpoint_prefix, void *arg), void *arg) {
    struct netd_msg m;
    char group[GROUP_TEXT + 1] = "";

    pthread_mutex_lock(&p->lock);
    for (struct map_entry *i = NULL; (i = map_next(&p->groups, i));) {
        if (keep(i->key, arg))
            continue;
        proxy_message(&m, NETD_DROP, i->key, group);
        ignore_result(send_msg(p, &m, NULL, 0) < 0);
        p->unsettled = true;
        held_end(map_remove(&p->groups, group));
    }
    proxy_all_said(p);
    proxy_message(&m, NETD_SWEEP, NULL, NULL);
    ignore_result(send_msg(p, &m, NULL, 0) < 0);
    pthread_mutex_unlock(&p->lock);
}
