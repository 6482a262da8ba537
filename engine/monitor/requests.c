// SPDX-License-Identifier: Apache-2.0
/* What the daemon asks. */
#include "monitor/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "monitor/foreign.h"
#include "monitor/health.h"
#include "monitor/main.h"

static void reply(struct mon *m, const struct mp_head *q, int errnum, int64_t value, const char *text) {
    struct mp_head h = {.type = MP_REPLY, .seq = q->seq, .len = text ? (uint32_t)strlen(text) : 0, .v = {errnum, value}, .trace = q->trace};

    if (errnum)
        mon_log(m, LOG_LVL_DEBUG, "request %u failed: %s", q->type, text ? text : "");

    if (m->control.fd >= 0 && mp_send(m->control.fd, &h, text, NULL, 0, MSG_DONTWAIT) < 0)
        src_close(m, &m->control);
}

/* The outcome of a runtime's command. */
static void reply_fault(struct mon *m, const struct mp_head *q, int r, const struct oci_fault *f) {
    reply(m, q, r < 0 ? -r : 0, 0, r < 0 ? f->text : NULL);
}

static void reply_errno(struct mon *m, const struct mp_head *q, int r, const char *what) {
    char text[256];

    if (r >= 0) {
        reply(m, q, 0, r, NULL);
        return;
    }
    snprintf(text, sizeof text, "%s: %s", what, strerrordesc_np(-r) ? strerrordesc_np(-r) : "error");
    reply(m, q, -r, 0, text);
}

/* Body of MP_ATTACH and MP_EXEC: id, keys, early bytes. False when the lengths do not add up. */
struct attach_body {
    char id[MP_EXEC_ID_MAX];
    const char *keys, *early;
    int64_t n_keys;
    size_t n_early;
};

static bool split_body(const struct mp_head *h, const char *body, int64_t n_id, int64_t n_keys, struct attach_body *ret) {
    int64_t keys = n_keys > 0 ? n_keys : 0;

    if (n_id < 0 || n_id >= MP_EXEC_ID_MAX || n_keys > LIMIT_DETACH_KEYS || n_id + keys > (int64_t)h->len)
        return false;
    memset(ret, 0, sizeof *ret);
    memcpy(ret->id, body, (size_t)n_id);
    ret->keys = body + n_id;
    ret->n_keys = n_keys;
    ret->early = body + n_id + keys;
    ret->n_early = h->len - (size_t)(n_id + keys);
    return true;
}

static void on_attach(struct mon *m, struct mp_head *h, const char *body, int *fds, int n_fds) {
    struct attach_body b;
    struct proc *p;
    int r;

    if (n_fds < 1 || !split_body(h, body, h->v[2], h->v[1], &b)) {
        reply(m, h, EPROTO, 0, "malformed request");
        return;
    }
    p = proc_find(m, b.id);
    if (!p || p->told) {
        reply(m, h, ESRCH, 0, "the process is gone");
        return;
    }
    r = client_add(m, p, fds[0], (unsigned)h->v[0], b.keys, b.n_keys, b.early, b.n_early);
    fds[0] = -EBADF;
    if (h->seq)
        reply_errno(m, h, r, "attach");
}

int plan_map(int fd, struct plan *ret, const void **ret_mem, size_t *ret_n) {
    struct stat st;
    void *mem;

    if (fstat(fd, &st) < 0 || st.st_size <= 0 || (size_t)st.st_size > LIMIT_PLAN_BYTES)
        return -EPROTO;
    mem = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mem == MAP_FAILED)
        return -errno;
    *ret_mem = mem;
    *ret_n = (size_t)st.st_size;
    return plan_open(mem, (size_t)st.st_size, ret);
}

int proc_exec(struct mon *m, struct proc *p, const struct plan *plan, bool piped, struct oci_fault *f) {
    struct oci_spawn s = {.k = m->k, .plan = plan, .stdio = {-1, -1, -1}, .gate_fd = -1};
    struct oci_running run;
    int r = p->tty || !piped ? 0 : proc_pipes(m, p, s.stdio);

    if (r == 0)
        r = foreign_is(m) ? foreign_exec(m, plan, s.stdio, &run, f) : oci_enter(&s, &m->plan, m->first.pid, m->first.pidfd, &run, f);
    for (int i = 0; i < 3; i++)
        close_fd(s.stdio[i]);
    if (r < 0)
        return r;
    p->pid = run.pid;
    p->pidfd = run.pidfd;
    p->pty = run.pty;
    return 0;
}

static void on_exec(struct mon *m, struct mp_head *h, const char *body, int *fds, int n_fds) {
    bool has_client = !(h->v[0] & MP_CLIENT_NONE);
    struct oci_fault f = {0};
    struct attach_body b;
    struct proc *p;
    struct plan plan;
    const void *mem = NULL;
    size_t size = 0;
    int r;

    if (n_fds < (has_client ? 2 : 1) || !split_body(h, body, h->v[2], h->v[1], &b) || !b.id[0]) {
        reply(m, h, EPROTO, 0, "malformed request");
        return;
    }
    if (!m->started || m->first.exited) {
        reply(m, h, ESRCH, 0, "container is not running");
        return;
    }
    p = proc_find(m, b.id) ? NULL : calloc(1, sizeof *p);
    r = p ? plan_map(fds[0], &plan, &mem, &size) : -EEXIST;
    if (r == 0) {
        proc_init(p);
        memcpy(p->id, b.id, sizeof p->id);
        p->tty = plan_find(&plan, PLAN_CONSOLE);
        p->stdin_open = h->v[3];
        p->stdin_once = true;
        r = proc_exec(m, p, &plan, has_client, &f);
    }
    if (mem)
        munmap((void *)(uintptr_t)mem, size);
    if (r < 0) {
        if (p)
            proc_close(m, p);
        free(p);
        if (!f.text[0])
            snprintf(f.text, sizeof f.text, "starting a process: %s", strerrordesc_np(-r));
        reply(m, h, f.errnum ? f.errnum : -r, 0, f.text);
        return;
    }
    p->trace = h->trace;
    p->next = m->execs;
    m->execs = p;
    mon_log(m, LOG_LVL_DEBUG, "process %d (exec %s) runs", (int)p->pid, p->id);
    reply(m, h, 0, p->pid, NULL);
    if (has_client) {
        ignore_result(client_add(m, p, fds[1], (unsigned)h->v[0], b.keys, b.n_keys, b.early, b.n_early));
        fds[1] = -EBADF;
    }
    proc_watch(m, p);
}

static void on_resize(struct mon *m, struct mp_head *h, const char *body) {
    struct proc *p = proc_find(m, body);
    struct winsize size = {.ws_row = (unsigned short)h->v[0], .ws_col = (unsigned short)h->v[1]};

    if (!p || p->exited)
        reply(m, h, ESRCH, 0, "the process is gone");
    else if (!p->tty || p->out.fd < 0)
        reply(m, h, ENOTTY, 0, "the process has no terminal");
    else
        reply_errno(m, h, ioctl(p->out.fd, TIOCSWINSZ, &size) < 0 ? -errno : 0, "resize");
}

static void on_signal(struct mon *m, struct mp_head *h, const char *body) {
    struct proc *p = proc_find(m, body);
    struct oci_fault f = {0};

    mon_log(m, LOG_LVL_DEBUG, "signal %d", (int)h->v[0]);
    if (!p || p->exited || p->pidfd < 0) {
        reply(m, h, ESRCH, 0, "the process is gone");
        return;
    }
    if (foreign_is(m) && p == &m->first)
        reply_fault(m, h, foreign_signal(m, (int)h->v[0], h->v[1] != 0, &f), &f);
    else if (h->v[1])
        reply_errno(m, h, oci_cgroup_signal(m->k, &m->plan, (int)h->v[0], 0), "kill");
    else
        reply_errno(m, h, m->k->pidfd_send_signal(p->pidfd, (int)h->v[0]), "kill");
}

static void on_update(struct mon *m, struct mp_head *h, int fd) {
    struct oci_fault f = {0};
    struct plan plan;
    const void *mem = NULL;
    size_t size = 0;
    int r = plan_map(fd, &plan, &mem, &size);

    if (r < 0) {
        reply_errno(m, h, r, "the new limits");
    } else {
        mon_watch_oom(m, &plan);
        reply_fault(m, h, foreign_is(m) ? foreign_update(m, &plan, &f) : oci_update(m->k, &plan, &f), &f);
    }
    if (mem)
        munmap((void *)(uintptr_t)mem, size);
}

static void on_resolver(struct mon *m, struct mp_head *h, const char *body) {
    struct mp_head ok = {.type = MP_REPLY, .seq = h->seq};
    int r = 0;

    if (!m->started || m->first.exited) {
        reply(m, h, ESRCH, 0, "container is not running");
        return;
    }
    if (m->resolver[0] < 0)
        r = oci_resolver(m->k, m->first.pidfd, (unsigned)h->v[0], (unsigned)h->v[1], body, h->len, m->resolver);
    if (r < 0)
        reply_errno(m, h, r, "name server");
    else if (m->control.fd >= 0 && mp_send(m->control.fd, &ok, NULL, m->resolver, OCI_RESOLVER_FDS, MSG_DONTWAIT) < 0)
        src_close(m, &m->control);
}

static void on_freeze(struct mon *m, struct mp_head *h) {
    struct oci_fault f = {0};
    int r;

    if (h->v[0] && !m->first.exited)
        health_pause(m, true); /* before: what is frozen does not end when it is killed */
    r = m->first.exited ? -ESRCH : foreign_is(m) ? foreign_freeze(m, h->v[0], &f) : oci_cgroup_freeze(m->k, &m->plan, h->v[0]);
    if ((r < 0) == (h->v[0] != 0))
        health_pause(m, false);
    if (f.text[0])
        reply_fault(m, h, r, &f);
    else
        reply_errno(m, h, r, h->v[0] ? "pause" : "resume");
}

void mon_request(struct mon *m, struct mp_head *h, const char *body, int *fds, int n_fds) {
    struct proc *p;

    switch (h->type) {
    case MP_HELLO:
        m->tell_all = h->v[1];
        mon_hello(m);
        break;
    case MP_START:
        m->tell_all = h->v[0];
        if (!m->started)
            mon_start(m);
        break;
    case MP_ATTACH:
        on_attach(m, h, body, fds, n_fds);
        break;
    case MP_EXEC:
        on_exec(m, h, body, fds, n_fds);
        break;
    case MP_RESIZE:
        on_resize(m, h, body);
        break;
    case MP_SIGNAL:
        on_signal(m, h, body);
        break;
    case MP_FREEZE:
        on_freeze(m, h);
        break;
    case MP_UPDATE:
        if (n_fds == 1)
            on_update(m, h, fds[0]);
        break;
    case MP_HEALTH_PLAN:
        if (n_fds == 1)
            ignore_result(health_plan(m, h, fds[0]));
        break;
    case MP_ACK:
        m->acked = true;
        break;
    case MP_RESOLVER:
        on_resolver(m, h, body);
        break;
    case MP_EXEC_ACK:
        p = proc_find(m, body);
        if (p && p != &m->first && p->told) {
            p->known = true;
            proc_end_clients(m, p);
        }
        break;
    default:
        reply(m, h, EOPNOTSUPP, 0, "unknown request");
    }
    for (int i = 0; i < n_fds; i++)
        close_fd(fds[i]);
}
