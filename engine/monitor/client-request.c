// SPDX-License-Identifier: Apache-2.0
/* What is asked of one monitor, and failures in the words of the reference. */
#include "monitor/client-internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"

#define SEND_PAUSE_NS (20 * NSEC_PER_MSEC)

struct timespec client_deadline(int seconds) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += seconds;
    return t;
}

uint64_t client_trace(void) {
    return strtoull(log_trace(), NULL, 16);
}

/* Request bytes of an attach: exec id, keys, early bytes. */
int client_send_attach(int sock, enum mp_type type, uint32_t seq, const char *exec_id, struct launch_attach *a, int plan, int64_t stdin_open,
                       int flags) {
    _cleanup_buf_ struct buf body = BUF_INIT(MP_BODY_MAX);
    struct mp_head h = {.type = type, .seq = seq, .trace = client_trace()};
    int fds[2] = {plan, -1}, n = 0, r;

    buf_adds(&body, exec_id);
    h.v[1] = -1;
    h.v[2] = (int64_t)strlen(exec_id);
    h.v[3] = stdin_open;
    if (plan >= 0)
        n = 1;
    if (a) {
        h.v[0] = (a->want_stdin ? MP_CLIENT_STDIN : 0) | (a->want_stdout ? MP_CLIENT_STDOUT : 0) | (a->want_stderr ? MP_CLIENT_STDERR : 0) |
                 (a->framed ? MP_CLIENT_FRAMED : 0);
        if (a->keys.n) {
            buf_add(&body, a->keys.v, a->keys.n);
            h.v[1] = (int64_t)a->keys.n;
        }
        buf_add(&body, a->early, a->n_early);
        fds[n++] = a->fd;
    } else {
        h.v[0] = MP_CLIENT_NONE;
    }
    if (!buf_ok(&body))
        return -EMSGSIZE;
    h.len = (uint32_t)body.len;
    r = mp_send(sock, &h, buf_str(&body), fds, n, flags);
    if (a && r != -EAGAIN)
        a->fd = close_fd(a->fd);
    return r;
}

void client_close_attach(struct launch_attach *a, size_t n) {
    for (size_t i = 0; i < n; i++)
        a[i].fd = close_fd(a[i].fd);
}

static bool has(const char *text, const char *part) {
    return strcasestr(text, part) != NULL;
}

/* What the reference's daemon adds to its runtime's words, and the code it records (its containers that never ran). */
int client_translate(const char *prefix, const char *text, int *ret_code, struct err *e) {
    enum err_kind kind = ERR_INTERNAL;
    const char *suffix = "";
    int code = 128;

    if (has(text, "executable file not found") || has(text, "no such file or directory")) {
        code = 127;
        kind = ERR_INVALID;
    }
    if (has(text, "permission denied")) {
        code = 126;
        kind = ERR_INVALID;
    }
    if (has(text, "is a directory")) {
        code = 126;
        kind = ERR_INVALID;
        suffix = ": permission denied";
    }
    if (has(text, "not a directory")) {
        code = 127;
        kind = ERR_INVALID;
        suffix =
            ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type";
    }
    if (ret_code)
        *ret_code = code;
    return err_set(e, kind, "%s%s: unknown%s", prefix, text, suffix);
}

/* ---- requests --------------------------------------------------------------------------------------------------------- */

static uint32_t enqueue(struct monitor *m, struct waiting *w) {
    memset(w, 0, sizeof *w);
    w->seq = ++m->seq;
    if (!w->seq)
        w->seq = ++m->seq;
    w->next = m->waiting;
    m->waiting = w;
    return w->seq;
}

/*
 * A monitor that does not read (stopped, or stuck in the kernel) fills its socket. Nobody may wait for room with the lock held: the thread that hears all monitors
 * takes it, too. False when there is no use in trying again.
 */
static bool may_try_again(struct monitor *m, int r, const struct timespec *until) {
    struct timespec now, nap;

    if (r != -EAGAIN || m->fd < 0)
        return false;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec > until->tv_sec || (now.tv_sec == until->tv_sec && now.tv_nsec >= until->tv_nsec))
        return false;
    nap = now;
    nap.tv_nsec += SEND_PAUSE_NS;
    if (nap.tv_nsec >= NSEC_PER_SEC) {
        nap.tv_sec++;
        nap.tv_nsec -= NSEC_PER_SEC;
    }
    pthread_cond_timedwait(&m->cond, &m->lock, &nap);
    return m->fd >= 0;
}

/* Called with the lock held after sending (r: its result); releases it. 0 or -errnum with *w filled. */
static int await(struct monitor *m, struct waiting *w, int r, const struct timespec *until, struct err *e) {
    bool done, gone;

    while (r == 0 && !w->done)
        if (pthread_cond_timedwait(&m->cond, &m->lock, until) == ETIMEDOUT)
            break;
    done = w->done;
    if (!done)
        for (struct waiting **at = &m->waiting; *at; at = &(*at)->next)
            if (*at == w) {
                *at = w->next;
                break;
            }
    gone = m->fd < 0;
    pthread_mutex_unlock(&m->lock);
    if (done)
        return 0;
    if (gone || (r < 0 && r != -EAGAIN))
        return err_set(e, ERR_CONFLICT, "container %s is not running", m->id);
    return err_set(e, ERR_DEADLINE,
                   "the monitor of container %s (process %d) did not answer in %d s: if it is stopped let it go on, if it is stuck end it", m->id,
                   (int)m->own_pid, ANSWER_SECONDS);
}

static int ask_n(struct monitor *m, struct mp_head *h, const void *body, size_t n, int fd, int64_t *ret_value, struct err *e) {
    struct timespec until = client_deadline(ANSWER_SECONDS);
    struct waiting w;
    int r;

    h->len = (uint32_t)n;
    h->trace = client_trace();
    pthread_mutex_lock(&m->lock);
    h->seq = enqueue(m, &w);
    do
        r = m->fd < 0 ? -ESRCH : mp_send(m->fd, h, body, &fd, fd >= 0 ? 1 : 0, MSG_DONTWAIT);
    while (may_try_again(m, r, &until));
    r = await(m, &w, r, &until, e);
    if (r < 0)
        return r;
    if (w.h.v[0]) {
        r = err_set(e, w.h.v[0] == ESRCH || w.h.v[0] == ENOTTY ? ERR_CONFLICT : ERR_INTERNAL, "%s%s", w.text, m->foreign ? ": unknown" : "");
        if (e && !m->foreign)
            e->errnum = (int)w.h.v[0];
        return r;
    }
    if (ret_value)
        *ret_value = w.h.v[1];
    return 0;
}

static int ask(struct monitor *m, struct mp_head *h, const char *body, int fd, int64_t *ret_value, struct err *e) {
    return ask_n(m, h, body, body ? strlen(body) : 0, fd, ret_value, e);
}

int monitor_resolver(struct monitor *m, const struct launch_resolver *r, struct err *e) {
    if (r->n_rules > MP_BODY_MAX)
        return err_set(e, ERR_INVALID, "too many rules");
    return ask_n(m, &(struct mp_head){.type = MP_RESOLVER, .v = {r->udp_port, r->tcp_port}}, r->rules, r->n_rules, -1, NULL, e);
}

bool monitor_take_resolver(struct monitor *m, int ret[LAUNCH_RESOLVER_FDS]) {
    bool any;

    pthread_mutex_lock(&m->lock);
    any = m->resolver[0] >= 0;
    for (int i = 0; any && i < LAUNCH_RESOLVER_FDS; i++)
        ret[i] = TAKE_FD(m->resolver[i]);
    pthread_mutex_unlock(&m->lock);
    return any;
}

int monitor_attach(struct monitor *m, struct launch_attach *attach, struct err *e) {
    struct timespec until = client_deadline(ANSWER_SECONDS);
    struct waiting w;
    int r;

    pthread_mutex_lock(&m->lock);
    enqueue(m, &w);
    do
        r = m->fd < 0 ? -ESRCH : client_send_attach(m->fd, MP_ATTACH, w.seq, "", attach, -1, 0, MSG_DONTWAIT);
    while (may_try_again(m, r, &until));
    r = await(m, &w, r, &until, e);
    attach->fd = close_fd(attach->fd);
    if (r == 0 && w.h.v[0])
        r = err_set(e, w.h.v[0] == ESRCH ? ERR_CONFLICT : ERR_INTERNAL, "%s", w.text);
    return r;
}

int monitor_resize(struct monitor *m, int rows, int cols, struct err *e) {
    return ask(m, &(struct mp_head){.type = MP_RESIZE, .v = {rows, cols}}, NULL, -1, NULL, e);
}

int monitor_signal(struct monitor *m, int sig, bool all, struct err *e) {
    return ask(m, &(struct mp_head){.type = MP_SIGNAL, .v = {sig, all}}, NULL, -1, NULL, e);
}

int monitor_pause(struct monitor *m, struct err *e) {
    return ask(m, &(struct mp_head){.type = MP_FREEZE, .v = {1}}, NULL, -1, NULL, e);
}

int monitor_resume(struct monitor *m, struct err *e) {
    return ask(m, &(struct mp_head){.type = MP_FREEZE, .v = {0}}, NULL, -1, NULL, e);
}

int monitor_exec_resize(struct monitor *m, const char *exec_id, int rows, int cols, struct err *e) {
    return ask(m, &(struct mp_head){.type = MP_RESIZE, .v = {rows, cols}}, exec_id, -1, NULL, e);
}

int client_process_plan(struct launcher *l, const json_t *process, const json_t *spec, bool foreign, struct err *e) {
    struct plan_builder b = PLAN_BUILDER_INIT;
    _cleanup_free_ void *block = NULL;
    size_t n;
    int r = foreign ? oci_build_foreign_part(&b, process, true, e) : oci_build_process(&b, process, spec, l->cache, e);

    if (r >= 0)
        r = plan_finish(&b, &block, &n, e);
    plan_builder_done(&b);
    return r < 0 ? r : sealed_memfd("hatake-exec", block, n, e);
}

int monitor_exec(struct monitor *m, struct monitor_exec_request *req, pid_t *ret_pid, int *ret_exit_code, struct err *e) {
    static const char prefix[] = "OCI runtime exec failed: exec failed: unable to start container process: ";
    _cleanup_close_ int plan = client_process_plan(m->l, req->process, req->spec, m->foreign, e);
    struct timespec until = client_deadline(ANSWER_SECONDS);
    struct waiting w;
    int r;

    if (ret_exit_code)
        *ret_exit_code = 126;
    if (plan < 0 || req->n_attach > 1) {
        client_close_attach(req->attach, req->n_attach);
        return plan < 0 ? plan : err_set(e, ERR_INVALID, "an exec takes one client");
    }
    pthread_mutex_lock(&m->lock);
    enqueue(m, &w);
    do
        r = m->fd < 0
                ? -ESRCH
                : client_send_attach(m->fd, MP_EXEC, w.seq, req->exec_id, req->n_attach ? req->attach : NULL, plan, req->stdin_open, MSG_DONTWAIT);
    while (may_try_again(m, r, &until));
    r = await(m, &w, r, &until, e);
    client_close_attach(req->attach, req->n_attach);
    if (r < 0)
        return r;
    if (w.h.v[0] == ESRCH)
        return err_set(e, ERR_CONFLICT, "container %s is not running", m->id);
    if (w.h.v[0])
        return client_translate(m->foreign ? "" : prefix, w.text, ret_exit_code, e);
    if (ret_pid)
        *ret_pid = (pid_t)w.h.v[1];
    return 0;
}

/* The groups' folders follow from the spec; here only the layout and the first process's own membership are needed, so read them from there. */
static int container_groups(struct monitor *m, struct plan_builder *b, struct err *e) {
    _cleanup_free_ char *path = str_printf("/proc/%d/cgroup", (int)m->pid);
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_SMALL_FILE);
    char dir[600];
    int r = path ? fs_read_file(path, &text, e) : err_oom(e);

    if (r < 0)
        return r;
    for (char *line, *rest = text.data; rest && (line = strsep(&rest, "\n")) && *line;) {
        char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;

        if (!group)
            continue;
        *group++ = 0;
        names++;
        for (size_t i = 0; i < m->l->cgroups.n; i++) {
            const struct cgroup_hierarchy *h = &m->l->cgroups.h[i];
            const char *at = group;

            if (h->unified ? *names != 0 : !streq(h->controllers, names))
                continue;
            /* Below a mount that shows only a part, the path's beginning is not visible: shorten it until it is there. */
            for (; at; at = strchr(at + 1, '/')) {
                snprintf(dir, sizeof dir, "%s%s", h->mount, at);
                if (at[1] && access(dir, F_OK) == 0)
                    break;
            }
            if (!at)
                continue;
            plan_add(b, PLAN_CGROUP)->i[0] = h->unified ? 2 : 1;
            plan_set_s(b, 0, dir);
            plan_set_s(b, 1, h->unified ? (m->l->cgroups.pure_v2 ? "*" : "") : h->controllers);
        }
    }
    return 0;
}

static int update_own(struct monitor *m, struct plan_builder *b, json_t *resources, struct err *e) {
    struct plan_builder groups = PLAN_BUILDER_INIT;
    _cleanup_free_ void *block = NULL;
    struct plan container;
    size_t n;
    int r = container_groups(m, &groups, e);

    if (r == 0)
        r = plan_finish(&groups, &block, &n, e);
    if (r == 0 && plan_open(block, n, &container) < 0)
        r = err_set(e, ERR_INTERNAL, "control groups of container %s", m->id);
    if (r == 0)
        r = oci_build_update(b, resources, &container, e);
    plan_builder_done(&groups);
    return r;
}

int monitor_update(struct monitor *m, json_t *resources, struct err *e) {
    struct plan_builder b = PLAN_BUILDER_INIT;
    _cleanup_free_ void *changes = NULL;
    _cleanup_close_ int fd = -EBADF;
    size_t n;
    int r = m->foreign ? oci_build_foreign_part(&b, resources, false, e) : update_own(m, &b, resources, e);

    if (r == 0)
        r = plan_finish(&b, &changes, &n, e);
    if (r == 0)
        r = fd = sealed_memfd("hatake-update", changes, n, e);
    plan_builder_done(&b);
    return r < 0 ? r : ask(m, &(struct mp_head){.type = MP_UPDATE}, NULL, fd, NULL, e);
}
