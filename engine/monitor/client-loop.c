// SPDX-License-Identifier: Apache-2.0
/* The thread that hears all monitors: what started, ended, is healthy or gone. */
#include "monitor/client-internal.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"

void client_forget(struct launcher *l, struct monitor *m) {
    bool found = false;

    pthread_mutex_lock(&l->lock);
    for (struct monitor **at = &l->monitors; *at; at = &(*at)->next)
        if (*at == m) {
            *at = m->next;
            found = true;
            break;
        }
    pthread_cond_broadcast(&l->gone);
    pthread_mutex_unlock(&l->lock);
    if (found)
        monitor_unref(m);
}

int client_exit_record(const char *exec_dir, struct monitor_exit *ret) {
    _cleanup_free_ char *path = str_printf("%s/" MP_EXIT_FILE, exec_dir);
    _cleanup_buf_ struct buf b = BUF_INIT(256);
    long long at;
    int oom;

    if (!path || fs_read_file(path, &b, NULL) < 0)
        return -ENOENT;
    if (sscanf(buf_str(&b), "%d %d %d %lld", &ret->code, &ret->signal, &oom, &at) != 4)
        return -EPROTO;
    ret->oom = oom;
    ret->finished_at = at;
    return 0;
}

void client_announce_exit(struct monitor *m, const struct monitor_exit *x) {
    bool first;

    pthread_mutex_lock(&m->lock);
    first = !m->announced;
    m->announced = true;
    if (m->state == RUNNING)
        m->state = EXITED;
    pthread_mutex_unlock(&m->lock);
    if (first && m->ev.exited)
        m->ev.exited(m->arg, m, x);
}

/* Nobody is told of a reply any more. Lock held. */
static void fail_waiting(struct monitor *m, int errnum, const char *why) {
    for (struct waiting *w = m->waiting; w; w = w->next) {
        w->done = true;
        w->h.v[0] = errnum;
        snprintf(w->text, sizeof w->text, "%s", why);
    }
    m->waiting = NULL;
    pthread_cond_broadcast(&m->cond);
}

static void end_without_word(struct monitor *m) {
    struct monitor_exit x;

    if (client_exit_record(m->exec_dir, &x) == 0) {
        client_announce_exit(m, &x);
        return;
    }
    pthread_mutex_lock(&m->lock);
    m->announced = true;
    m->state = LOST;
    pthread_mutex_unlock(&m->lock);
    if (m->ev.lost)
        m->ev.lost(m->arg, m);
}

/*
 * The monitor's socket has closed: it left after the acknowledgement, or it was killed, or it had more to tell than the socket took while we did not read
 * (mon_send() in watch.c). Then it is there to be found, like by a new daemon, and says again what counts.
 */
static void monitor_gone(struct monitor *m) {
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = m};
    int again = -EBADF, fd = m->fd;
    bool unsaid;

    epoll_ctl(m->l->ep, EPOLL_CTL_DEL, fd, NULL);
    pthread_mutex_lock(&m->lock);
    unsaid = m->state == RUNNING && !m->announced;
    pthread_mutex_unlock(&m->lock);
    if (unsaid && !m->taken)
        again = client_connect(m->exec_dir);
    if (again < 0 || epoll_ctl(m->l->ep, EPOLL_CTL_ADD, again, &ev) < 0)
        again = close_fd(again);
    pthread_mutex_lock(&m->lock);
    m->fd = again;
    if (m->state == STARTING)
        m->state = FAILED;
    fail_waiting(m, again >= 0 ? EIO : ESRCH, again >= 0 ? "the container's monitor did not answer" : "the container's monitor is gone");
    pthread_mutex_unlock(&m->lock);
    close_fd(fd);
    if (again >= 0) {
        log_kv(LOG_LVL_WARN, "a container's monitor had more to tell than was read, and is asked again", "container", m->id, NULL);
        return;
    }
    if (unsaid)
        end_without_word(m);
    client_forget(m->l, m);
}

static void copy_text(char *to, size_t cap, const char *from) {
    size_t n = strnlen(from, cap - 1);

    memcpy(to, from, n);
    to[n] = 0;
}

/* Sockets came along: keep them for monitor_take_resolver(). Those of a monitor that says again that it has started were taken before. */
static void keep_resolver(struct monitor *m, const struct mp_head *h, int *fds, int n_fds) {
    if (n_fds != LAUNCH_RESOLVER_FDS || (h->type != MP_REPLY && h->type != MP_STARTED))
        return;
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < LAUNCH_RESOLVER_FDS && (h->type == MP_REPLY || m->state == STARTING); i++) {
        close_fd(m->resolver[i]);
        m->resolver[i] = TAKE_FD(fds[i]);
    }
    pthread_mutex_unlock(&m->lock);
}

void client_health(struct monitor *m, const struct mp_head *h, const char *body) {
    size_t n_id = strnlen(body, h->len);
    struct monitor_probe p = {.exec_id = body,
                              .code = (int)h->v[0],
                              .start = h->v[1],
                              .end = h->v[2],
                              .output = n_id < h->len ? body + n_id + 1 : "",
                              .n_output = n_id < h->len ? h->len - n_id - 1 : 0,
                              .status = (enum monitor_health)(h->v[3] & 0xff),
                              .streak = (int)(h->v[3] >> 8),
                              .status_only = h->reserved & MP_HEALTH_STATUS,
                              .replay = h->reserved & MP_HEALTH_REPLAY,
                              .ran = !(h->reserved & MP_HEALTH_NOT_RUN),
                              .late = h->reserved & MP_HEALTH_LATE,
                              .ended = (int)(h->reserved >> MP_HEALTH_CODE_SHIFT)};

    if (m->ev.probed)
        m->ev.probed(m->arg, m, &p);
}

/* Its lines are ours to write: it may live when nobody reads what it says. */
static void log_of_monitor(const struct monitor *m, const struct mp_head *h, const char *text) {
    char trace[20], pid[16];

    snprintf(trace, sizeof trace, "%016llx", (unsigned long long)h->trace);
    snprintf(pid, sizeof pid, "%d", (int)m->own_pid);
    log_set_trace(h->trace ? trace : NULL);
    log_kv(h->v[0] < LOG_LVL_WARN ? LOG_LVL_DEBUG : LOG_LVL_WARN, text, "process", "hatake-monitor", "pid", m->own_pid ? pid : NULL, "container",
           m->id, NULL);
    log_set_trace(NULL);
}

static void on_message(struct monitor *m, const struct mp_head *h, char *body) {
    struct monitor_exit x;
    struct mp_head ack = {.type = MP_EXEC_ACK, .len = h->len};

    switch (h->type) {
    case MP_REPLY:
        pthread_mutex_lock(&m->lock);
        for (struct waiting **at = &m->waiting; *at; at = &(*at)->next)
            if ((*at)->seq == h->seq) {
                struct waiting *w = *at;

                *at = w->next;
                w->h = *h;
                copy_text(w->text, sizeof w->text, body);
                w->done = true;
                break;
            }
        pthread_mutex_unlock(&m->lock);
        pthread_cond_broadcast(&m->cond); /* only now: whoever is woken wants the lock at once */
        break;
    case MP_STARTED:
    case MP_FAILED:
        pthread_mutex_lock(&m->lock);
        if (h->type == MP_FAILED) {
            m->state = FAILED;
            m->fail_errnum = (int)h->v[0];
            free(m->fail_text);
            m->fail_text = str_dup(body);
        } else {
            m->pid = (pid_t)h->v[0];
            m->ticks = (uint64_t)h->v[1];
            m->started_at = h->v[2];
            m->own_pid = (pid_t)h->v[3];
            m->foreign = h->reserved & MP_STARTED_FOREIGN;
            if (m->state == STARTING)
                m->state = RUNNING;
        }
        pthread_mutex_unlock(&m->lock);
        pthread_cond_broadcast(&m->cond);
        break;
    case MP_EXITED:
        x = (struct monitor_exit){.code = (int)h->v[0], .signal = (int)h->v[1], .oom = h->v[2], .finished_at = h->v[3]};
        client_announce_exit(m, &x);
        break;
    case MP_EXEC_EXITED:
        if (m->ev.exec_exited)
            m->ev.exec_exited(m->arg, m, body, (int)h->v[0]);
        ignore_result(mp_send(m->fd, &ack, body, NULL, 0, MSG_DONTWAIT));
        break;
    case MP_PROBE:
        if (m->ev.probing)
            m->ev.probing(m->arg, m, body);
        break;
    case MP_HEALTH:
        client_health(m, h, body);
        break;
    case MP_OOM:
        if (m->ev.oom)
            m->ev.oom(m->arg, m);
        break;
    case MP_TAKEN:
        m->taken = true;
        break;
    case MP_LOG:
        log_of_monitor(m, h, body);
        break;
    case MP_DETACHED:
        if (m->ev.detached)
            m->ev.detached(m->arg, m, *body ? body : NULL);
        break;
    default:
        break;
    }
}

static void *loop_thread(void *arg) {
    struct launcher *l = arg;
    struct epoll_event ev[64];
    char body[LIMIT_HEALTH_OUTPUT + 4096];

    while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE)) {
        int n = epoll_wait(l->ep, ev, ELEMENTSOF(ev), -1);

        for (int i = 0; i < n; i++) {
            struct monitor *m = ev[i].data.ptr;
            int fds[MP_FDS_MAX], n_fds, r;
            struct mp_head h;

            if (!m) {
                uint64_t v;

                ignore_result(read(l->wake, &v, sizeof v));
                continue;
            }
            monitor_ref(m);
            /* A few at a time: level-triggered, so the rest comes again and no monitor starves the others. */
            for (int k = 0; k < 16; k++) {
                r = mp_recv(m->fd, &h, body, sizeof body, fds, &n_fds, MSG_DONTWAIT);
                if (r > 0)
                    keep_resolver(m, &h, fds, n_fds);
                for (int f = 0; f < n_fds; f++)
                    close_fd(fds[f]);
                if (r == -EAGAIN)
                    break;
                if (r <= 0) {
                    monitor_gone(m);
                    break;
                }
                on_message(m, &h, body);
            }
            monitor_unref(m);
        }
    }
    return NULL;
}

int client_loop(struct launcher *l, struct err *e) {
    struct epoll_event ev = {.events = EPOLLIN};
    int r = 0;

    pthread_mutex_lock(&l->lock);
    if (!l->loop_running) {
        l->ep = epoll_create1(EPOLL_CLOEXEC);
        l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (l->ep < 0 || l->wake < 0 || epoll_ctl(l->ep, EPOLL_CTL_ADD, l->wake, &ev) < 0)
            r = err_errno(e, errno, "monitors: epoll");
        if (r == 0 && thread_start(&l->thread, KIB(256), loop_thread, l) < 0)
            r = err_set(e, ERR_INTERNAL, "monitors: cannot start a thread");
        l->loop_running = r == 0;
    }
    pthread_mutex_unlock(&l->lock);
    return r;
}
