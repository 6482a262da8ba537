// SPDX-License-Identifier: Apache-2.0
/* Making the container, and being there to be found. */
#include "monitor/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "kern/proc.h"
#include "monitor/foreign.h"
#include "monitor/health.h"
#include "monitor/main.h"

void *mon_untouched(size_t n) {
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static int listen_for_daemons(struct mon *m) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char path[600];
    int fd, dir;

    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    snprintf(path, sizeof path, "%s/" MP_SOCKET_FILE, m->exec_dir);
    ignore_result(unlink(path));
    if (strlen(path) < sizeof a.sun_path) {
        memcpy(a.sun_path, path, strlen(path) + 1);
    } else {
        dir = open(m->exec_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/" MP_SOCKET_FILE, dir);
    }
    umask(0077);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 8) < 0) {
        int r = -errno;

        close_fd(fd);
        return r;
    }
    umask(0022);
    m->listen = (struct src){SRC_LISTEN, fd, 0, NULL};
    return src_set(m, &m->listen, EPOLLIN);
}

static void start_ticks(struct mon *m) {
    struct proc_stat s;

    if (proc_stat_of(m->first.pid, &s) == 0)
        m->ticks = s.ticks;
}

void mon_watch_oom(struct mon *m, const struct plan *limits) {
    const char *dir = oci_cgroup_dir(&m->plan, "memory");
    char path[600], text[64];
    const struct plan_op *rt = plan_find(limits, PLAN_RUNTIME);
    bool limited = rt && rt->i[0];
    int fd, control;

    for (size_t i = 0; i < limits->n_ops; i++)
        limited = limited || (limits->ops[i].type == PLAN_CGROUP_SET && str_has_suffix(plan_s(limits, &limits->ops[i], 0), "/memory.limit_in_bytes"));
    if (!dir || !limited || m->oom.fd >= 0 || snprintf(path, sizeof path, "%s/memory.oom_control", dir) >= (int)sizeof path)
        return;
    control = open(path, O_RDONLY | O_CLOEXEC);
    fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    snprintf(path, sizeof path, "%s/cgroup.event_control", dir);
    snprintf(text, sizeof text, "%d %d", fd, control);
    if (control >= 0 && fd >= 0 && kern_write_file(m->k, AT_FDCWD, path, text) == 0) {
        m->oom = (struct src){SRC_OOM, fd, 0, NULL};
        src_set(m, &m->oom, EPOLLIN);
    } else {
        close_fd(fd);
    }
    close_fd(control);
}

static int open_log(struct mon *m, struct oci_fault *f) {
    const struct plan_op *op = plan_find(&m->plan, PLAN_LOG);
    struct err e = ERR_INIT;
    int r;

    if (!op)
        return 0;
    m->log = (struct log_writer){.driver = log_driver_find(plan_s(&m->plan, op, 0)),
                                 .max_size = (uint64_t)op->i[0],
                                 .max_file = (int)op->i[1],
                                 .compress = op->i[2] != 0,
                                 .attrs = plan_s(&m->plan, op, 2),
                                 .config = plan_s(&m->plan, op, 3),
                                 .fd = -EBADF};
    if (!m->log.driver)
        return -EINVAL;
    if (plan_sn(&m->plan, op, 1) >= sizeof m->log.path)
        return -ENAMETOOLONG;
    memcpy(m->log.path, plan_s(&m->plan, op, 1), plan_sn(&m->plan, op, 1) + 1);
    m->log.out = mon_untouched(LOG_OUT_MAX);
    m->first.copier[0].held = mon_untouched(LIMIT_LOG_LINE);
    m->first.copier[1].held = mon_untouched(LIMIT_LOG_LINE);
    r = m->log.out && m->first.copier[0].held && m->first.copier[1].held ? m->log.driver->open(&m->log, &e) : -ENOMEM;
    if (r < 0) {
        snprintf(f->text, sizeof f->text, "failed to initialize logging driver: %s", err_msg(&e));
        f->errnum = EIO;
        err_done(&e);
        return -EIO;
    }
    m->has_log = true;
    return 0;
}

/* MP_START: everything the container needs is there. */
static int start_container(struct mon *m, struct oci_fault *f) {
    struct oci_spawn s = {.k = m->k, .plan = &m->plan, .stdio = {-1, -1, -1}, .gate_fd = -1, .hold_mounts = true};
    struct oci_running run;
    int r = open_log(m, f);

    if (r == 0 && !m->first.tty)
        r = proc_pipes(m, &m->first, s.stdio);
    if (r == 0)
        r = foreign_is(m) ? foreign_start(m, s.stdio, &run, f) : oci_spawn(&s, &run, f);
    for (int i = 0; i < 3; i++)
        close_fd(s.stdio[i]);
    if (r < 0) {
        if (!f->text[0])
            snprintf(f->text, sizeof f->text, "starting the container: errno %d", -r);
        return r;
    }
    m->started_at = clock_wall_ns();
    m->first.pid = run.pid;
    m->first.pidfd = run.pidfd;
    m->first.pty = run.pty;
    memcpy(m->resolver, run.resolver, sizeof m->resolver);
    m->mounts = run.mounts;
    m->started = true;
    start_ticks(m);
    return 0;
}

static void tell_started(struct mon *m) {
    struct mp_head h = {
        .type = MP_STARTED, .reserved = foreign_is(m) ? MP_STARTED_FOREIGN : 0, .v = {m->first.pid, (int64_t)m->ticks, m->started_at, getpid()}};

    if (m->control.fd >= 0 && mp_send(m->control.fd, &h, NULL, m->resolver, m->resolver[0] >= 0 ? OCI_RESOLVER_FDS : 0, MSG_DONTWAIT) < 0)
        mon_control_lost(m);
}

void mon_start(struct mon *m) {
    struct oci_fault f = {0};
    int r = start_container(m, &f);

    mon_log(m, LOG_LVL_DEBUG, "%s: process %d", r < 0 ? "the container did not start" : "the container runs", (int)m->first.pid);
    if (r < 0) {
        struct mp_head h = {.type = MP_FAILED, .len = (uint32_t)strlen(f.text), .v = {f.errnum}};

        /* Clients see the end of their streams after the daemon has heard why. */
        ignore_result(mp_send(m->control.fd, &h, f.text, NULL, 0, 0));
        _exit(1);
    }
    /* First be there to be found, then say so: a daemon may die between the two. */
    ignore_result(listen_for_daemons(m));
    tell_started(m);
    proc_watch(m, &m->first);
    mon_watch_oom(m, &m->plan);
    health_start(m);
}

void mon_hello(struct mon *m) {
    tell_started(m);
    health_replay(m);
    for (const struct proc *p = m->execs; p; p = p->next)
        if (p->told && !p->known && !p->is_probe)
            mon_tell_exec(m, p);
    if (m->exit_sent)
        mon_tell_exit(m);
}
