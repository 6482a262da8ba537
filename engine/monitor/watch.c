// SPDX-License-Identifier: Apache-2.0
/* The monitor's loop: start the container, watch, tell its end. */
#include "monitor/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "monitor/foreign.h"
#include "monitor/health.h"
#include "monitor/main.h"

/* How long output is waited for after a process ended while others hold its streams: as long as the reference waits. */
#define STREAMS_WAIT_NS (2 * NSEC_PER_SEC)
#define EXEC_ACK_WAIT_NS NSEC_PER_SEC
#define LINGER_NS (24 * 3600 * NSEC_PER_SEC) /* for clients that have not read all: a pager left open over lunch loses nothing */

int src_set(struct mon *m, struct src *s, uint32_t events) {
    struct epoll_event ev = {.events = events, .data.ptr = s};
    bool keep = s->kind == SRC_CLIENT;
    int op;

    if (s->fd < 0)
        return 0;
    if (s->events == (events | (keep ? 1u << 30 : 0)))
        return 0;
    op = !s->events ? EPOLL_CTL_ADD : events || keep ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
    s->events = events | (keep ? 1u << 30 : 0);
    return epoll_ctl(m->ep, op, s->fd, &ev) < 0 ? -errno : 0;
}

void src_close(struct mon *m, struct src *s) {
    if (s->fd < 0)
        return;
    if (s->events)
        ignore_result(epoll_ctl(m->ep, EPOLL_CTL_DEL, s->fd, NULL));
    s->events = 0;
    s->fd = close_fd(s->fd);
}

void mon_control_lost(struct mon *m) {
    src_close(m, &m->control);
}

void mon_send(struct mon *m, const struct mp_head *h, const void *body) {
    if (m->control.fd >= 0 && mp_send(m->control.fd, h, body, NULL, 0, MSG_DONTWAIT) < 0)
        mon_control_lost(m); /* a daemon that does not listen finds the exit record, or adopts us again */
}

void mon_event(struct mon *m, enum mp_type type, int64_t a, int64_t b, int64_t c, int64_t d, const char *text) {
    struct mp_head h = {.type = type, .len = text ? (uint32_t)strlen(text) : 0, .v = {a, b, c, d}};

    mon_send(m, &h, text);
}

void mon_log(struct mon *m, enum log_level level, const char *fmt, ...) {
    struct mp_head h = {.type = MP_LOG, .v = {level}, .trace = m->trace};
    char text[512];
    va_list ap;
    int n;

    if (level < LOG_LVL_WARN && !m->tell_all)
        return;
    va_start(ap, fmt);
    n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    h.len = n < 0 ? 0 : n < (int)sizeof text ? (uint32_t)n : sizeof text - 1;
    mon_send(m, &h, text);
}

#define LOST_EVERY (10 * NSEC_PER_SEC)

void mon_tell_lost(struct mon *m, bool at_end) {
    int64_t now;

    if (m->log.lost == m->log_lost)
        return;
    now = clock_mono_ns();
    if (!at_end && m->log_lost_at && now - m->log_lost_at < LOST_EVERY)
        return;
    mon_log(m, LOG_LVL_WARN, "the log driver %s could not keep %llu messages of the container, %llu in all", m->log.driver->name,
            (unsigned long long)(m->log.lost - m->log_lost), (unsigned long long)m->log.lost);
    m->log_lost = m->log.lost;
    m->log_lost_at = now;
}

struct proc *proc_find(struct mon *m, const char *id) {
    if (!*id)
        return &m->first;
    for (struct proc *p = m->execs; p; p = p->next)
        if (streq(p->id, id))
            return p;
    return NULL;
}

static void timer_arm(struct mon *m) {
    struct itimerspec t = {.it_value = {0, 50 * NSEC_PER_MSEC}, .it_interval = {0, 50 * NSEC_PER_MSEC}};

    if (m->timer_on)
        return;
    if (m->timer.fd < 0) {
        m->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        src_set(m, &m->timer, EPOLLIN);
    }
    ignore_result(timerfd_settime(m->timer.fd, 0, &t, NULL));
    m->timer_on = true;
}

static void timer_stop(struct mon *m) {
    struct itimerspec t = {0};

    if (m->timer_on)
        ignore_result(timerfd_settime(m->timer.fd, 0, &t, NULL));
    m->timer_on = false;
}

/* ---- ends ------------------------------------------------------------------------------------------------------------- */

static void write_exit_record(struct mon *m) {
    char text[128], path[600], tmp[600];
    int n = snprintf(text, sizeof text, "%d %d %d %lld\n", m->first.code, m->first.signal, m->oom_killed, (long long)m->finished_at), fd;

    snprintf(path, sizeof path, "%s/" MP_EXIT_FILE, m->exec_dir);
    snprintf(tmp, sizeof tmp, "%s/." MP_EXIT_FILE, m->exec_dir);
    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    if (write(fd, text, (size_t)n) == n)
        ignore_result(rename(tmp, path));
    close_fd(fd);
}

void mon_tell_exit(struct mon *m) {
    mon_event(m, MP_EXITED, m->first.code, m->first.signal, m->oom_killed, m->finished_at, NULL);
}

void mon_tell_exec(struct mon *m, const struct proc *p) {
    mon_event(m, MP_EXEC_EXITED, p->code, p->signal, 0, 0, p->id);
}

static bool oom_news(struct mon *m) {
    uint64_t n;

    return m->oom.fd >= 0 && read(m->oom.fd, &n, sizeof n) == sizeof n;
}

static void tell_oom(struct mon *m) {
    m->oom_killed = true;
    mon_event(m, MP_OOM, 0, 0, 0, 0, NULL);
}

static void container_ended(struct mon *m) {
    int64_t kills = oci_cgroup_oom_kills(m->k, &m->plan);
    struct oci_fault f = {0};

    m->finished_at = clock_wall_ns();
    if (oom_news(m) || (kills > 0 && !m->oom_killed))
        tell_oom(m);
    proc_close(m, &m->first);
    if (m->has_log) {
        m->log.driver->close(&m->log);
        mon_tell_lost(m, true);
    }
    m->has_log = false;
    m->log_out = (struct src){SRC_LOG, -EBADF, 0, NULL};
    src_close(m, &m->oom);
    for (int i = 0; i < OCI_RESOLVER_FDS; i++)
        m->resolver[i] = close_fd(m->resolver[i]);
    if (foreign_is(m))
        foreign_delete(m);
    ignore_result(oci_cgroup_remove(m->k, &m->plan));
    if (oci_has_poststop(&m->plan))
        m->mounts = close_fd(m->mounts);
    ignore_result(oci_poststop(m->k, &m->plan, &f)); /* by the specification a failure changes nothing any more */
    health_record(m);
    mon_log(m, LOG_LVL_DEBUG, "the container ended with code %d", m->first.code);
    write_exit_record(m);
    m->first.told = true;
    m->exit_sent = true;
    mon_tell_exit(m);
    proc_end_clients(m, &m->first);
}

static bool proc_finish(struct mon *m, struct proc *p) {
    int64_t age = clock_mono_ns() - p->exited_ns;

    if (!p->told && !proc_streams_done(p) && age < STREAMS_WAIT_NS)
        return false;
    if (!p->told) {
        if (p == &m->first) {
            container_ended(m);
            return true;
        }
        proc_close(m, p);
        p->told = true;
        if (p->is_probe) {
            health_ended(m, p);
            return true;
        }
        m->trace = p->trace;
        mon_log(m, LOG_LVL_DEBUG, "process %d (exec %s) ended with code %d", (int)p->pid, p->id, p->code);
        m->trace = m->first.trace;
        mon_tell_exec(m, p);
    }
    /* An exec's streams end after the daemon knows its exit code, so that a client that sees the end can ask for it. */
    if (p != &m->first && (m->control.fd < 0 || age > STREAMS_WAIT_NS + EXEC_ACK_WAIT_NS || (!p->clients)))
        proc_end_clients(m, p);
    return true;
}

void proc_abandon(struct mon *m, struct proc *p) {
    p->exited_ns = clock_mono_ns() - STREAMS_WAIT_NS;
    ignore_result(proc_finish(m, p));
}

static void proc_reaped(struct mon *m, struct proc *p, int status) {
    p->exited = true;
    p->exited_ns = clock_mono_ns();
    p->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    p->code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (p == &m->first) {
        const struct plan_op *ns = plan_find(&m->plan, PLAN_NAMESPACES);

        health_stop(m);

        /* Without a pid namespace of its own nobody but us ends what is left. */
        if (!ns || !(ns->i[0] & CLONE_NEWPID))
            for (int i = 0; i < 50 && oci_cgroup_signal(m->k, &m->plan, SIGKILL, 0) > 0; i++)
                usleep(2000);
    }
    proc_drain(m, p);
    if (!proc_finish(m, p))
        timer_arm(m);
}

static void reap(struct mon *m) {
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == m->first.pid && !m->first.exited)
            proc_reaped(m, &m->first, status);
        for (struct proc *p = m->execs; p; p = p->next)
            if (p->pid == pid && !p->exited) {
                proc_reaped(m, p, status);
                break;
            }
    }
}

/* ---- the loop --------------------------------------------------------------------------------------------------------- */

static void accept_daemon(struct mon *m) {
    int fd = accept4(m->listen.fd, NULL, NULL, SOCK_CLOEXEC);
    struct ucred cred = {0};
    socklen_t n = sizeof cred;

    if (fd < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0 || cred.uid != geteuid()) {
        close_fd(fd);
        return;
    }
    mon_event(m, MP_TAKEN, 0, 0, 0, 0, NULL);
    mon_control_lost(m);
    m->control.fd = fd;
    src_set(m, &m->control, EPOLLIN);
}

/* Told when memory runs out, which is a moment before anything is killed for it, and as well where nothing may be. */
static void oom_event(struct mon *m) {
    if (oci_cgroup_oom_kills(m->k, &m->plan) < 0)
        src_close(m, &m->oom); /* it speaks up once more as the group goes */
    else if (oom_news(m))
        tell_oom(m);
}

/* Each request is answered: where there is no room for answers, none is read. The daemon waits, the container does not. */
static bool has_room(struct mon *m) {
    struct pollfd p = {.fd = m->control.fd, .events = POLLOUT};
    bool room = poll(&p, 1, 0) != 0;

    src_set(m, &m->control, room ? EPOLLIN : EPOLLOUT);
    return room;
}

static void control_event(struct mon *m) {
    for (int n = 0; n < 64 && m->control.fd >= 0; n++) {
        int fds[MP_FDS_MAX], n_fds, r;
        struct mp_head h;

        if (!has_room(m))
            return;
        r = mp_recv(m->control.fd, &h, m->body, MP_BODY_MAX + 1, fds, &n_fds, MSG_DONTWAIT);
        if (r == -EAGAIN)
            return;
        if (r <= 0) {
            mon_control_lost(m);
            return;
        }
        m->trace = h.trace;
        mon_request(m, &h, m->body, fds, n_fds);
        if (h.type == MP_START)
            m->first.trace = h.trace;
        m->trace = m->first.trace;
    }
}

static void timer_event(struct mon *m) {
    bool more = m->first.exited && !m->first.told && !proc_finish(m, &m->first);
    uint64_t n;

    ignore_result(read(m->timer.fd, &n, sizeof n));
    for (struct proc *p = m->execs; p; p = p->next)
        if (p->exited) {
            proc_finish(m, p);
            more = more || !p->told || p->clients;
        }
    if (!more && !m->first.exited)
        timer_stop(m);
}

static void dispatch(struct mon *m, struct src *s, uint32_t events) {
    struct signalfd_siginfo si;

    if (s->fd < 0)
        return;
    switch (s->kind) {
    case SRC_SIGNAL:
        while (read(s->fd, &si, sizeof si) == sizeof si) {
        }
        reap(m);
        break;
    case SRC_CONTROL:
        control_event(m);
        break;
    case SRC_LISTEN:
        accept_daemon(m);
        break;
    case SRC_STDOUT:
    case SRC_STDERR:
        proc_output(m, s);
        break;
    case SRC_STDIN:
        proc_stdin_ready(m, s->owner);
        break;
    case SRC_CLIENT:
        client_event(m, s->owner, events);
        break;
    case SRC_OOM:
        oom_event(m);
        break;
    case SRC_HEALTH:
        health_timer(m);
        break;
    case SRC_TIMER:
        timer_event(m);
        break;
    case SRC_LOG:
        log_ready(m);
        break;
    }
}

static void sweep(struct mon *m) {
    clients_sweep(m, &m->first);
    for (struct proc **at = &m->execs; *at;) {
        struct proc *p = *at;

        clients_sweep(m, p);
        if (p->exited && !p->told && proc_streams_done(p))
            proc_finish(m, p);
        /* Kept until the daemon knows: it may have to be told again. */
        if (!p->told || p->clients || !(p->known || p->is_probe || m->first.told)) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        proc_close(m, p);
        free(p);
    }
    if (m->first.exited && !m->first.told && proc_streams_done(&m->first))
        proc_finish(m, &m->first);
}

/* After the end: until the daemon has it (or is not there) and clients have taken their output. */
static bool may_leave(struct mon *m) {
    if (!m->exit_sent)
        return false;
    if (m->control.fd >= 0 && !m->acked)
        return false;
    return (!m->first.clients && !m->execs) || clock_mono_ns() - m->first.exited_ns > LINGER_NS;
}

/*
 * The daemon knows the end, or there is none: now the slow part, taking down the mounts. The daemon starts the container again only after our socket has
 * closed, so that no two runs have the same folders and files in use.
 */
static void clear(struct mon *m) {
    char path[600];

    if (m->acked) {
        snprintf(path, sizeof path, "%s/" MP_SOCKET_FILE, m->exec_dir);
        ignore_result(unlink(path));
        snprintf(path, sizeof path, "%s/" MP_EXIT_FILE, m->exec_dir);
        ignore_result(unlink(path));
        snprintf(path, sizeof path, "%s/" MP_HEALTH_FILE, m->exec_dir);
        if (m->health)
            ignore_result(unlink(path));
    }
    m->mounts = close_fd(m->mounts);
    if (m->acked && !m->execs)
        src_close(m, &m->control);
    m->cleared = true;
}

static void leave(struct mon *m) {
    char path[600];

    if (!m->acked) {
        snprintf(path, sizeof path, "%s/" MP_SOCKET_FILE, m->exec_dir);
        ignore_result(unlink(path));
    }
    _exit(0);
}

/* Give back pages that only speed needs. */
static void trim(struct mon *m) {
    ignore_result(madvise(m->block, READ_BLOCK, MADV_DONTNEED));
    ignore_result(madvise((void *)(uintptr_t)m->plan_mem, m->plan_size, MADV_DONTNEED));
    ignore_result(madvise(m->body, MP_BODY_MAX + 1, MADV_DONTNEED));
    health_trim(m);
    if (m->has_log && !m->log.n_out)
        ignore_result(madvise(m->log.out, LOG_OUT_MAX, MADV_DONTNEED));
    for (int i = 0; i < 2; i++)
        if (m->first.copier[i].held && !m->first.copier[i].n)
            ignore_result(madvise(m->first.copier[i].held, LIMIT_LOG_LINE, MADV_DONTNEED));
}

static void loop(struct mon *m) {
    struct epoll_event ev[16];
    bool idle = false;

    while (!may_leave(m)) {
        int retry = log_patience(m), quiet = idle ? -1 : 300;
        int n = epoll_wait(m->ep, ev, ELEMENTSOF(ev), retry >= 0 && (idle || retry < quiet) ? retry : quiet);

        if (n < 0 && errno != EINTR)
            _exit(1);
        if (n == 0) {
            trim(m);
            idle = true;
        } else {
            idle = false;
        }
        for (int i = 0; i < n; i++)
            dispatch(m, ev[i].data.ptr, ev[i].events);
        if (log_patience(m) == 0)
            log_ready(m);
        sweep(m);
        if (m->exit_sent && !m->cleared && (m->acked || m->control.fd < 0))
            clear(m);
        if (!m->started && m->control.fd < 0)
            _exit(1); /* the daemon went before it said start */
    }
    leave(m);
}

static int open_plan(struct mon *m) {
    struct stat st;
    const struct plan_op *op;

    if (fstat(MP_PLAN_FD, &st) < 0 || st.st_size <= 0 || (size_t)st.st_size > LIMIT_PLAN_BYTES)
        return -EPROTO;
    m->plan_size = (size_t)st.st_size;
    m->plan_mem = mmap(NULL, m->plan_size, PROT_READ, MAP_PRIVATE, MP_PLAN_FD, 0);
    if (m->plan_mem == MAP_FAILED)
        return -errno;
    ignore_result(close_fd(MP_PLAN_FD));
    if (plan_open(m->plan_mem, m->plan_size, &m->plan) < 0)
        return -EPROTO;
    op = plan_find(&m->plan, PLAN_CONTAINER);
    if (op)
        snprintf(m->id, sizeof m->id, "%s", plan_s(&m->plan, op, 0));
    op = plan_find(&m->plan, PLAN_MONITOR);
    if (!op || plan_sn(&m->plan, op, 0) >= sizeof m->exec_dir)
        return -EPROTO;
    snprintf(m->exec_dir, sizeof m->exec_dir, "%s", plan_s(&m->plan, op, 0));
    m->first.tty = plan_find(&m->plan, PLAN_CONSOLE);
    m->first.stdin_open = op->i[1];
    m->first.stdin_once = op->i[2];
    return 0;
}

int monitor_main(void) {
    static struct mon m; /* the only one; zero pages until used */
    sigset_t set;
    int r;

    m.k = &kern_linux;
    m.mounts = -EBADF;
    m.control = (struct src){SRC_CONTROL, MP_CONTROL_FD, 0, NULL};
    m.listen = (struct src){SRC_LISTEN, -EBADF, 0, NULL};
    m.oom = (struct src){SRC_OOM, -EBADF, 0, NULL};
    m.timer = (struct src){SRC_TIMER, -EBADF, 0, NULL};
    m.log_out = (struct src){SRC_LOG, -EBADF, 0, NULL};
    for (int i = 0; i < OCI_RESOLVER_FDS; i++)
        m.resolver[i] = -EBADF;
    proc_init(&m.first);
    ignore_result(fcntl(MP_CONTROL_FD, F_SETFD, FD_CLOEXEC));
    r = open_plan(&m);
    m.block = mon_untouched(READ_BLOCK);
    m.body = mon_untouched(MP_BODY_MAX + 1);
    m.ep = epoll_create1(EPOLL_CLOEXEC);
    if (r < 0 || !m.block || !m.body || m.ep < 0) {
        struct mp_head h = {.type = MP_FAILED, .v = {EPROTO}, .len = 21};

        ignore_result(mp_send(MP_CONTROL_FD, &h, "the plan is not valid", NULL, 0, 0));
        return 1;
    }
    setsid();
    ignore_result(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    signal(SIGPIPE, SIG_IGN);
    sigfillset(&set);
    sigdelset(&set, SIGSEGV);
    sigdelset(&set, SIGBUS);
    sigdelset(&set, SIGABRT);
    sigdelset(&set, SIGFPE);
    sigdelset(&set, SIGILL);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    m.signals = (struct src){SRC_SIGNAL, signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), 0, NULL};
    src_set(&m, &m.signals, EPOLLIN);
    src_set(&m, &m.control, EPOLLIN);
    loop(&m);
    return 0;
}
