// SPDX-License-Identifier: Apache-2.0
/* What a monitor that does not read may hold up: its own callers, nobody else. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/test.h"
#include "monitor/client-internal.h"

static void *ask_it(void *arg) {
    static struct err e;
    int r = monitor_resize(arg, 24, 80, &e);

    (void)r;
    return &e;
}

TEST(a_full_socket_holds_up_nobody_else) {
    struct monitor m = {.refs = 1, .id = (char *)(uintptr_t) "c1", .state = RUNNING, .own_pid = 77};
    struct mp_head filler = {.type = MP_RESIZE};
    pthread_condattr_t attr;
    struct timespec soon;
    bool queued = false;
    pthread_t asker;
    struct err *e;
    void *result;
    int sp[2];

    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp) == 0);
    while (mp_send(sp[0], &filler, NULL, NULL, 0, MSG_DONTWAIT) == 0)
        continue;
    m.fd = sp[0];
    pthread_mutex_init(&m.lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m.cond, &attr);
    pthread_condattr_destroy(&attr);
    CHECK(pthread_create(&asker, NULL, ask_it, &m) == 0);
    /* The lock is there for the taking while it tries: that it has begun shows in the list. */
    for (int i = 0; i < 60000 && !queued; i++) {
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_sec += 60;
        CHECK(pthread_mutex_timedlock(&m.lock, &soon) == 0);
        queued = m.waiting != NULL;
        pthread_mutex_unlock(&m.lock);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    CHECK(queued);
    for (int i = 0; i < 3; i++) {
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_sec += 60;
        CHECK(pthread_mutex_timedlock(&m.lock, &soon) == 0);
        pthread_mutex_unlock(&m.lock);
    }
    /* The monitor goes: so does the request. */
    pthread_mutex_lock(&m.lock);
    m.fd = -EBADF;
    pthread_cond_broadcast(&m.cond);
    pthread_mutex_unlock(&m.lock);
    CHECK(pthread_join(asker, &result) == 0);
    e = result;
    CHECK(e->kind == ERR_CONFLICT);
    CHECK_STR(err_msg(e), "container c1 is not running");
    CHECK(!m.waiting);
    err_done(e);
    close_fd(sp[0]);
    close_fd(sp[1]);
    pthread_mutex_destroy(&m.lock);
    pthread_cond_destroy(&m.cond);
}

struct heard {
    int lost, ends, code;
};

static void on_lost(void *arg, struct monitor *m) {
    __atomic_add_fetch(&((struct heard *)arg)->lost, 1, __ATOMIC_SEQ_CST);
}

static void on_exec_end(void *arg, struct monitor *m, const char *exec_id, int code) {
    __atomic_store_n(&((struct heard *)arg)->code, code, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&((struct heard *)arg)->ends, 1, __ATOMIC_SEQ_CST);
}

static int heard(const int *what) {
    return __atomic_load_n(what, __ATOMIC_SEQ_CST);
}

static void *ask_again(void *arg) {
    return (void *)(intptr_t)monitor_resize(arg, 24, 80, NULL);
}

TEST(a_monitor_that_closed_its_socket_is_asked_again_and_lost_only_when_nobody_listens) {
    static const struct monitor_events events = {.lost = on_lost, .exec_exited = on_exec_end};
    struct mp_head h, started = {.type = MP_STARTED, .v = {5, 6, 7, 8}}, end = {.type = MP_EXEC_EXITED, .v = {9}, .len = 2};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char dir[] = "/tmp/hatake-client-XXXXXX", body[64];
    struct launcher *l = calloc(1, sizeof *l);
    struct heard got = {0};
    int sp[2], fds[MP_FDS_MAX], n_fds, listening, daemon;
    struct monitor m = {.l = l, .refs = 2, .id = (char *)(uintptr_t) "c1", .exec_dir = dir, .state = RUNNING, .ev = events, .arg = &got};
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &m};
    pthread_condattr_t attr;
    pthread_t asker;
    void *result;

    REQUIRE(l && mkdtemp(dir));
    l->sock = -EBADF;
    l->monitors = &m;
    pthread_mutex_init(&l->spawn_lock, NULL);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->gone, NULL);
    pthread_mutex_init(&m.lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m.cond, &attr);
    pthread_condattr_destroy(&attr);
    for (int i = 0; i < LAUNCH_RESOLVER_FDS; i++)
        m.resolver[i] = -EBADF;
    snprintf(a.sun_path, sizeof a.sun_path, "%s/" MP_SOCKET_FILE, dir);
    listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    REQUIRE(bind(listening, (struct sockaddr *)&a, sizeof a) == 0 && listen(listening, 1) == 0);
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp) == 0);
    m.fd = sp[0];
    REQUIRE(client_loop(l, NULL) == 0 && epoll_ctl(l->ep, EPOLL_CTL_ADD, m.fd, &ev) == 0);

    /* A request is under way when the socket closes: its outcome is not known, and that is no "not running". */
    REQUIRE(pthread_create(&asker, NULL, ask_again, &m) == 0);
    REQUIRE(mp_recv(sp[1], &h, body, sizeof body, fds, &n_fds, 0) == 1);
    close_fd(sp[1]);
    daemon = accept(listening, NULL, NULL);
    CHECK(mp_recv(daemon, &h, body, sizeof body, fds, &n_fds, 0) == 1);
    CHECK_INT(h.type, MP_HELLO);
    CHECK(pthread_join(asker, &result) == 0);
    CHECK_INT((intptr_t)result, -ERR_INTERNAL);
    CHECK(mp_send(daemon, &started, NULL, NULL, 0, 0) == 0 && mp_send(daemon, &end, "x1", NULL, 0, 0) == 0);
    CHECK_SOON(heard(&got.ends) == 1);
    CHECK_INT(heard(&got.code), 9);
    CHECK(mp_recv(daemon, &h, body, sizeof body, fds, &n_fds, 0) == 1);
    CHECK_INT(h.type, MP_EXEC_ACK);
    CHECK_INT(heard(&got.lost), 0);

    close_fd(listening);
    close_fd(daemon);
    CHECK_SOON(heard(&got.lost) == 1);
    CHECK_SOON(heard(&m.refs) == 1);
    launcher_free(l);
    CHECK_INT(m.state, LOST);
    CHECK_INT(m.fd, -EBADF);
    unlink(a.sun_path);
    rmdir(dir);
    pthread_mutex_destroy(&m.lock);
    pthread_cond_destroy(&m.cond);
}
