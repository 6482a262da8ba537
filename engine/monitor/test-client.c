// SPDX-License-Identifier: Apache-2.0
/* What a monitor that does not read may hold up: its own callers, nobody else. */
#include <errno.h>
#include <sys/socket.h>
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
