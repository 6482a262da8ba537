// SPDX-License-Identifier: Apache-2.0
#include "monitor/client.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "monitor/launcher-internal.h"
#include "monitor/proto.h"

#define ANSWER_SECONDS 30
#define START_SECONDS 120
#define GONE_SECONDS 5

/* A request waiting for its reply; lives on the caller's stack, linked under the monitor's lock. */
struct waiting {
    struct waiting *next;
    uint32_t seq;
    bool done;
    struct mp_head h;
    char text[2048];
};

enum monitor_state { STARTING, RUNNING, FAILED, EXITED, LOST };

struct monitor {
    struct monitor *next; /* in the launcher's list */
    struct launcher *l;
    int refs; /* atomic */
    char *id, *exec_dir;
    int fd; /* -EBADF once gone; closed by the loop thread only */
    struct monitor_events ev;
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    enum monitor_state state;
    bool announced, acked; /* `exited` or `lost` was delivered; acknowledged */
    pid_t pid, own_pid;
    uint64_t ticks;
    int64_t started_at;
    struct waiting *waiting;
    uint32_t seq;
    int fail_errnum;
    char *fail_text;
    int resolver[LAUNCH_RESOLVER_FDS]; /* copies that nobody has taken yet, or -EBADF */
    void *plan;                        /* mapping of the plan: cgroup folders for update */
    size_t plan_size;
};

struct launcher {
    pid_t pid;
    int sock;
    pthread_mutex_t spawn_lock; /* one request to the launcher at a time */
    pthread_mutex_t lock;       /* list and loop start */
    pthread_cond_t gone;        /* a monitor has left the list */
    struct monitor *monitors;
    bool loop_running, stop;
    pthread_t thread;
    int ep, wake;
    struct cgroup_layout cgroups;
    bool has_cgroups;
    struct seccomp_cache *cache;
    char *exec_root;
};

static void cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

/* ---- references ------------------------------------------------------------------------------------------------------- */

struct monitor *monitor_ref(struct monitor *m) {
    __atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
    return m;
}

struct monitor *monitor_unref(struct monitor *m) {
    if (!m || __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return NULL;
    close_fd(m->fd);
    for (int i = 0; i < LAUNCH_RESOLVER_FDS; i++)
        close_fd(m->resolver[i]);
    free(m->id);
    free(m->exec_dir);
    free(m->fail_text);
    if (m->plan)
        munmap(m->plan, m->plan_size);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->cond);
    free(m);
    return NULL;
}

const char *monitor_id(const struct monitor *m) {
    return m->id;
}
pid_t monitor_container_pid(const struct monitor *m) {
    return m->pid;
}
pid_t monitor_pid(const struct monitor *m) {
    return m->own_pid;
}
int64_t monitor_started_at(const struct monitor *m) {
    return m->started_at;
}
uint64_t monitor_start_ticks(const struct monitor *m) {
    return m->ticks;
}

/* ---- the loop thread -------------------------------------------------------------------------------------------------- */

static void list_remove(struct launcher *l, struct monitor *m) {
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

static int read_exit_record(const char *exec_dir, struct monitor_exit *ret) {
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

static void announce_exit(struct monitor *m, const struct monitor_exit *x) {
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

/* The monitor's socket has closed: it left after the acknowledgement, or it was killed. */
static void monitor_gone(struct monitor *m) {
    enum monitor_state before;
    struct monitor_exit x;
    bool announced;
    int fd;

    epoll_ctl(m->l->ep, EPOLL_CTL_DEL, m->fd, NULL);
    pthread_mutex_lock(&m->lock);
    before = m->state;
    announced = m->announced;
    fd = m->fd;
    m->fd = -EBADF;
    if (before == STARTING)
        m->state = FAILED;
    for (struct waiting *w = m->waiting; w; w = w->next) {
        w->done = true;
        w->h.v[0] = ESRCH;
        snprintf(w->text, sizeof w->text, "the container's monitor is gone");
    }
    m->waiting = NULL;
    pthread_cond_broadcast(&m->cond);
    pthread_mutex_unlock(&m->lock);
    close_fd(fd);
    if (before == RUNNING && !announced) {
        if (read_exit_record(m->exec_dir, &x) == 0) {
            announce_exit(m, &x);
        } else {
            pthread_mutex_lock(&m->lock);
            m->announced = true;
            m->state = LOST;
            pthread_mutex_unlock(&m->lock);
            if (m->ev.lost)
                m->ev.lost(m->arg, m);
        }
    }
    list_remove(m->l, m);
}

static void copy_text(char *to, size_t cap, const char *from) {
    size_t n = strnlen(from, cap - 1);

    memcpy(to, from, n);
    to[n] = 0;
}

/* Sockets came along: keep them for monitor_take_resolver(). */
static void keep_resolver(struct monitor *m, int *fds, int n_fds) {
    if (n_fds != LAUNCH_RESOLVER_FDS)
        return;
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < LAUNCH_RESOLVER_FDS; i++) {
        close_fd(m->resolver[i]);
        m->resolver[i] = TAKE_FD(fds[i]);
    }
    pthread_mutex_unlock(&m->lock);
}

static void on_health(struct monitor *m, const struct mp_head *h, const char *body) {
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
                              .late = h->reserved & MP_HEALTH_LATE};

    if (m->ev.probed)
        m->ev.probed(m->arg, m, &p);
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
        pthread_cond_broadcast(&m->cond);
        pthread_mutex_unlock(&m->lock);
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
            if (m->state == STARTING)
                m->state = RUNNING;
        }
        pthread_cond_broadcast(&m->cond);
        pthread_mutex_unlock(&m->lock);
        break;
    case MP_EXITED:
        x = (struct monitor_exit){.code = (int)h->v[0], .signal = (int)h->v[1], .oom = h->v[2], .finished_at = h->v[3]};
        announce_exit(m, &x);
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
        on_health(m, h, body);
        break;
    case MP_OOM:
        if (m->ev.oom)
            m->ev.oom(m->arg, m);
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
                if (r > 0 && (h.type == MP_STARTED || h.type == MP_REPLY))
                    keep_resolver(m, fds, n_fds);
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

static int ensure_loop(struct launcher *l, struct err *e) {
    struct epoll_event ev = {.events = EPOLLIN};
    pthread_attr_t attr;
    sigset_t all, old;
    int r = 0;

    pthread_mutex_lock(&l->lock);
    if (!l->loop_running) {
        l->ep = epoll_create1(EPOLL_CLOEXEC);
        l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (l->ep < 0 || l->wake < 0 || epoll_ctl(l->ep, EPOLL_CTL_ADD, l->wake, &ev) < 0)
            r = err_errno(e, errno, "monitors: epoll");
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, 256 * 1024);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for the daemon's own threads */
        if (r == 0 && pthread_create(&l->thread, &attr, loop_thread, l) != 0)
            r = err_set(e, ERR_INTERNAL, "monitors: cannot start a thread");
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        pthread_attr_destroy(&attr);
        l->loop_running = r == 0;
    }
    pthread_mutex_unlock(&l->lock);
    return r;
}

/* ---- the launcher ----------------------------------------------------------------------------------------------------- */

int launcher_new(const struct launcher_config *config, struct launcher **ret, struct err *e) {
    struct launcher *l = calloc(1, sizeof *l);
    _cleanup_free_ char *program = realpath(config->monitor_path, NULL); /* the launcher's folder is / */
    int sp[2];

    if (!l)
        return err_oom(e);
    if (!program) {
        free(l);
        return err_errno(e, errno, "%s", config->monitor_path);
    }
    l->ep = l->wake = -EBADF;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp) < 0) {
        free(l);
        return err_errno(e, errno, "launcher: socketpair");
    }
    fflush(NULL);
    l->pid = fork();
    if (l->pid == 0)
        launcher_process(sp[1], program);
    close_fd(sp[1]);
    l->sock = sp[0];
    if (l->pid < 0) {
        close_fd(sp[0]);
        free(l);
        return err_errno(e, errno, "launcher: fork");
    }
    pthread_mutex_init(&l->spawn_lock, NULL);
    pthread_mutex_init(&l->lock, NULL);
    cond_init(&l->gone);
    l->has_cgroups = cgroup_detect(&l->cgroups, NULL) == 0;
    l->cache = seccomp_cache_new();
    *ret = l;
    return 0;
}

struct launcher *launcher_free(struct launcher *l) {
    struct monitor *m;
    uint64_t one = 1;

    if (!l)
        return NULL;
    if (l->loop_running) {
        __atomic_store_n(&l->stop, true, __ATOMIC_RELEASE);
        ignore_result(write(l->wake, &one, sizeof one));
        pthread_join(l->thread, NULL);
    }
    while ((m = l->monitors)) {
        l->monitors = m->next;
        m->fd = close_fd(m->fd);
        monitor_unref(m);
    }
    close_fd(l->sock); /* the launcher process ends with it */
    close_fd(l->ep);
    close_fd(l->wake);
    seccomp_cache_free(l->cache);
    pthread_mutex_destroy(&l->spawn_lock);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->gone);
    free(l);
    return NULL;
}

int launcher_ask(struct launcher *l, const struct mp_head *h, const int *fds, int n_fds, struct mp_head *ret_answer, struct err *e) {
    int got[MP_FDS_MAX], n_got, r;
    char body[64];

    pthread_mutex_lock(&l->spawn_lock);
    r = mp_send(l->sock, h, NULL, fds, n_fds, 0);
    if (r == 0)
        r = mp_recv(l->sock, ret_answer, body, sizeof body, got, &n_got, 0);
    pthread_mutex_unlock(&l->spawn_lock);
    return r <= 0 ? err_set(e, ERR_INTERNAL, "the launcher process is gone: restart the daemon") : 0;
}

static int spawn(struct launcher *l, int plan, int control, bool host_mounts, struct err *e) {
    struct mp_head h = {.type = MP_SPAWN, .v = {host_mounts}}, answer;
    int fds[2] = {plan, control}, r = launcher_ask(l, &h, fds, 2, &answer, e);

    if (r < 0)
        return r;
    if (answer.v[0])
        return err_errno(e, (int)answer.v[0], "starting hatake-monitor");
    return 0;
}

/* ---- starting --------------------------------------------------------------------------------------------------------- */

static struct monitor *monitor_new(struct launcher *l, const char *id, const char *exec_dir, const struct monitor_events *ev, void *arg) {
    struct monitor *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    *m = (struct monitor){.l = l, .refs = 1, .fd = -EBADF, .arg = arg, .id = str_dup(id), .exec_dir = str_dup(exec_dir)};
    for (int i = 0; i < LAUNCH_RESOLVER_FDS; i++)
        m->resolver[i] = -EBADF;
    if (ev)
        m->ev = *ev;
    pthread_mutex_init(&m->lock, NULL);
    cond_init(&m->cond);
    return m->id && m->exec_dir ? m : monitor_unref(m);
}

static int watch(struct monitor *m, struct err *e) {
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = m};

    pthread_mutex_lock(&m->l->lock);
    m->next = m->l->monitors;
    m->l->monitors = monitor_ref(m);
    pthread_mutex_unlock(&m->l->lock);
    if (epoll_ctl(m->l->ep, EPOLL_CTL_ADD, m->fd, &ev) < 0) {
        int r = err_errno(e, errno, "monitors: epoll");

        list_remove(m->l, m);
        return r;
    }
    return 0;
}

static struct timespec deadline(int seconds) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += seconds;
    return t;
}

/* Request bytes of an attach: exec id, keys, early bytes. */
static int send_attach(int sock, enum mp_type type, uint32_t seq, const char *exec_id, struct launch_attach *a, int plan, int64_t stdin_open) {
    _cleanup_buf_ struct buf body = BUF_INIT(MP_BODY_MAX);
    struct mp_head h = {.type = type, .seq = seq};
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
        if (a->detach_keys) {
            buf_adds(&body, a->detach_keys);
            h.v[1] = (int64_t)strlen(a->detach_keys);
        }
        buf_add(&body, a->early, a->n_early);
        fds[n++] = a->fd;
    } else {
        h.v[0] = MP_CLIENT_NONE;
    }
    if (!buf_ok(&body))
        return -EMSGSIZE;
    h.len = (uint32_t)body.len;
    r = mp_send(sock, &h, buf_str(&body), fds, n, 0);
    if (a)
        a->fd = close_fd(a->fd);
    return r;
}

static void close_attach(struct launch_attach *a, size_t n) {
    for (size_t i = 0; i < n; i++)
        a[i].fd = close_fd(a[i].fd);
}

static bool has(const char *text, const char *part) {
    return strcasestr(text, part) != NULL;
}

/* What the reference's daemon adds to its runtime's words, and the code it records (its containers that never ran). */
static int translate(const char *prefix, const char *text, const char *command, int *ret_code, struct err *e) {
    enum err_kind kind = ERR_INTERNAL;
    const char *suffix = "";
    int code = 128;

    if (has(text, command) && (has(text, "executable file not found") || has(text, "no such file or directory"))) {
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

static const char *command_of(const json_t *process) {
    const char *s = json_string_value(json_array_get(json_object_get(process, "args"), 0));

    return s ? s : "";
}

static int wait_started(struct monitor *m, const struct launch_request *req, int *ret_code, struct err *e) {
    static const char prefix[] =
        "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to "
        "start container process: ";
    struct timespec until = deadline(START_SECONDS);
    int r = 0;

    pthread_mutex_lock(&m->lock);
    while (m->state == STARTING && r == 0)
        r = pthread_cond_timedwait(&m->cond, &m->lock, &until);
    if (m->state == FAILED)
        r = translate(req->log_prefix ? req->log_prefix : prefix, m->fail_text ? m->fail_text : "the container's monitor ended while starting it",
                      command_of(json_object_get(req->spec, "process")), ret_code, e);
    else if (m->state == STARTING)
        r = err_set(e, ERR_DEADLINE, "starting the container took longer than %d s", START_SECONDS);
    else
        r = 0;
    pthread_mutex_unlock(&m->lock);
    return r;
}

/* The monitor of the container's last run takes down its mounts after it has told the end: two runs must not have the same folders in use. */
static void wait_gone(struct launcher *l, const char *id) {
    struct timespec until = deadline(GONE_SECONDS);
    struct monitor *m;
    int r = 0;

    pthread_mutex_lock(&l->lock);
    do
        for (m = l->monitors; m && !streq(m->id, id);)
            m = m->next;
    while (m && (r = pthread_cond_timedwait(&l->gone, &l->lock, &until)) == 0);
    pthread_mutex_unlock(&l->lock);
}

static int process_plan(struct launcher *l, const json_t *process, const json_t *spec, struct err *e);

static int send_health(struct launcher *l, int sock, const struct launch_health *w, const json_t *spec, struct err *e) {
    _cleanup_close_ int plan = process_plan(l, w->process, spec, e);
    struct mp_head h = {.type = MP_HEALTH_PLAN, .reserved = (uint32_t)w->retries, .v = {w->interval, w->timeout, w->start_period, w->start_interval}};

    if (plan < 0)
        return plan;
    return mp_send(sock, &h, NULL, &plan, 1, 0) < 0 ? err_set(e, ERR_INTERNAL, "monitor socket") : 0;
}

int launcher_start(struct launcher *l, struct launch_request *req, const struct monitor_events *ev, void *arg, struct monitor **ret,
                   int *ret_exit_code, struct err *e) {
    _cleanup_close_ int plan = -EBADF, theirs = -EBADF;
    struct mp_head start = {.type = MP_START};
    struct monitor *m = monitor_new(l, req->id, req->exec_dir, ev, arg);
    int sp[2], r = m ? ensure_loop(l, e) : err_oom(e);

    if (ret_exit_code)
        *ret_exit_code = 128;
    if (r == 0) {
        r = plan = launch_plan(req, l->has_cgroups ? &l->cgroups : NULL, l->cache, e);
        wait_gone(l, req->id);
    }
    if (r >= 0)
        r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp) < 0 ? err_errno(e, errno, "socketpair") : 0;
    if (r < 0) {
        close_attach(req->attach, req->n_attach);
        monitor_unref(m);
        return r;
    }
    m->fd = sp[0];
    theirs = sp[1];
    m->state = STARTING;
    for (size_t i = 0; r == 0 && i < req->n_attach; i++) {
        r = send_attach(m->fd, MP_ATTACH, 0, "", &req->attach[i], -1, 0);
        if (r < 0)
            r = err_errno(e, r, "handing streams to the monitor");
    }
    close_attach(req->attach, req->n_attach);
    if (r == 0 && req->health)
        r = send_health(l, m->fd, req->health, req->spec, e);
    if (r == 0)
        r = mp_send(m->fd, &start, NULL, NULL, 0, 0) < 0 ? err_set(e, ERR_INTERNAL, "monitor socket") : 0;
    if (r == 0)
        r = spawn(l, plan, theirs, req->host_mounts, e);
    theirs = close_fd(theirs);
    if (r == 0)
        r = watch(m, e);
    if (r == 0)
        r = wait_started(m, req, ret_exit_code, e);
    if (r < 0) {
        monitor_unref(m);
        return r;
    }
    *ret = m;
    return 0;
}

/* ---- adoption --------------------------------------------------------------------------------------------------------- */

static int connect_monitor(const char *exec_dir) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    _cleanup_close_ int dir = open(exec_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd;

    if (dir < 0)
        return -errno;
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/" MP_SOCKET_FILE, dir);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        int r = -errno;

        close_fd(fd);
        return r;
    }
    return fd;
}

/* Results of health checks that nobody was told of, beside the record of the exit. */
static void read_health_record(struct monitor *m) {
    _cleanup_free_ char *path = str_printf("%s/" MP_HEALTH_FILE, m->exec_dir);
    _cleanup_buf_ struct buf b = BUF_INIT(KIB(64));
    size_t at = 0;

    if (!path || fs_read_file(path, &b, NULL) < 0)
        return;
    while (b.len - at >= sizeof(struct mp_head)) {
        struct mp_head h;

        memcpy(&h, b.data + at, sizeof h);
        at += sizeof h;
        if (h.type != MP_HEALTH || h.len > b.len - at)
            return;
        on_health(m, &h, b.data + at);
        at += h.len;
    }
}

/* Only the record is left: deliver it from the loop's side of the world, but there is no socket to wait for. */
static void *deliver_record(void *arg) {
    struct monitor *m = arg;
    struct monitor_exit x;

    read_health_record(m);
    if (read_exit_record(m->exec_dir, &x) == 0)
        announce_exit(m, &x);
    monitor_unref(m);
    return NULL;
}

int monitor_adopt(struct launcher *l, const char *exec_dir, const char *id, const struct monitor_events *ev, void *arg, struct monitor **ret,
                  struct err *e) {
    struct monitor *m = monitor_new(l, id, exec_dir, ev, arg);
    struct mp_head hello = {.type = MP_HELLO, .v = {MP_VERSION}};
    struct timespec until = deadline(ANSWER_SECONDS);
    struct monitor_exit x;
    int r = m ? ensure_loop(l, e) : err_oom(e);

    if (r < 0) {
        monitor_unref(m);
        return r;
    }
    m->fd = connect_monitor(exec_dir);
    m->state = STARTING;
    if (m->fd >= 0 && mp_send(m->fd, &hello, NULL, NULL, 0, 0) == 0 && watch(m, e) == 0) {
        pthread_mutex_lock(&m->lock);
        while (m->state == STARTING && r == 0)
            r = pthread_cond_timedwait(&m->cond, &m->lock, &until);
        r = m->state == RUNNING || m->state == EXITED ? 0 : -1;
        pthread_mutex_unlock(&m->lock);
        if (r == 0) {
            *ret = m;
            return 0;
        }
    }
    if (read_exit_record(exec_dir, &x) < 0) {
        monitor_unref(m);
        return err_set(e, ERR_NOT_FOUND, "container %s has no monitor and no exit record", id);
    }
    m->state = RUNNING;
    {
        pthread_t t;

        monitor_ref(m);
        if (pthread_create(&t, NULL, deliver_record, m) == 0)
            pthread_detach(t);
        else
            deliver_record(m);
    }
    *ret = m;
    return 0;
}

void monitor_acknowledge(struct monitor *m) {
    struct mp_head ack = {.type = MP_ACK};
    _cleanup_free_ char *path = NULL;
    bool sent;

    pthread_mutex_lock(&m->lock);
    m->acked = true;
    sent = m->fd >= 0 && mp_send(m->fd, &ack, NULL, NULL, 0, MSG_DONTWAIT) == 0;
    pthread_mutex_unlock(&m->lock);
    if (sent)
        return;
    for (const char *const *name = (const char *const[]){MP_EXIT_FILE, MP_HEALTH_FILE, NULL}; *name; name++) {
        free(path);
        path = str_printf("%s/%s", m->exec_dir, *name);
        if (path)
            ignore_result(unlink(path));
    }
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

/* Called with the lock held after sending (r: its result); releases it. 0 or -errnum with *w filled. */
static int await(struct monitor *m, struct waiting *w, int r, struct err *e) {
    struct timespec until = deadline(ANSWER_SECONDS);
    bool done;

    while (r == 0 && !w->done)
        if (pthread_cond_timedwait(&m->cond, &m->lock, &until) == ETIMEDOUT)
            break;
    done = w->done;
    if (!done)
        for (struct waiting **at = &m->waiting; *at; at = &(*at)->next)
            if (*at == w) {
                *at = w->next;
                break;
            }
    pthread_mutex_unlock(&m->lock);
    if (!done)
        return r < 0 ? err_set(e, ERR_CONFLICT, "container %s is not running", m->id)
                     : err_set(e, ERR_DEADLINE, "the monitor of container %s did not answer in %d s", m->id, ANSWER_SECONDS);
    return 0;
}

static int ask_n(struct monitor *m, struct mp_head *h, const void *body, size_t n, int fd, int64_t *ret_value, struct err *e) {
    struct waiting w;
    int r;

    h->len = (uint32_t)n;
    pthread_mutex_lock(&m->lock);
    h->seq = enqueue(m, &w);
    r = m->fd < 0 ? -ESRCH : mp_send(m->fd, h, body, &fd, fd >= 0 ? 1 : 0, 0);
    r = await(m, &w, r, e);
    if (r < 0)
        return r;
    if (w.h.v[0]) {
        r = err_set(e, w.h.v[0] == ESRCH || w.h.v[0] == ENOTTY ? ERR_CONFLICT : ERR_INTERNAL, "%s", w.text);
        if (e)
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
    struct waiting w;
    int r;

    pthread_mutex_lock(&m->lock);
    enqueue(m, &w);
    r = m->fd < 0 ? -ESRCH : send_attach(m->fd, MP_ATTACH, w.seq, "", attach, -1, 0);
    r = await(m, &w, r, e);
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

int monitor_exec_signal(struct monitor *m, const char *exec_id, int sig, struct err *e) {
    return ask(m, &(struct mp_head){.type = MP_SIGNAL, .v = {sig, 0}}, exec_id, -1, NULL, e);
}

static int process_plan(struct launcher *l, const json_t *process, const json_t *spec, struct err *e) {
    struct plan_builder b = PLAN_BUILDER_INIT;
    _cleanup_free_ void *block = NULL;
    size_t n;
    int r = oci_build_process(&b, process, spec, l->cache, e);

    if (r >= 0)
        r = plan_finish(&b, &block, &n, e);
    plan_builder_done(&b);
    return r < 0 ? r : sealed_memfd("hatake-exec", block, n, e);
}

int monitor_exec(struct monitor *m, struct monitor_exec_request *req, pid_t *ret_pid, int *ret_exit_code, struct err *e) {
    static const char prefix[] = "OCI runtime exec failed: exec failed: unable to start container process: ";
    _cleanup_close_ int plan = process_plan(m->l, req->process, req->spec, e);
    struct waiting w;
    int r;

    if (ret_exit_code)
        *ret_exit_code = 126;
    if (plan < 0 || req->n_attach > 1) {
        close_attach(req->attach, req->n_attach);
        return plan < 0 ? plan : err_set(e, ERR_INVALID, "an exec takes one client");
    }
    pthread_mutex_lock(&m->lock);
    enqueue(m, &w);
    r = m->fd < 0 ? -ESRCH : send_attach(m->fd, MP_EXEC, w.seq, req->exec_id, req->n_attach ? req->attach : NULL, plan, req->stdin_open);
    r = await(m, &w, r, e);
    close_attach(req->attach, req->n_attach);
    if (r < 0)
        return r;
    if (w.h.v[0] == ESRCH)
        return err_set(e, ERR_CONFLICT, "container %s is not running", m->id);
    if (w.h.v[0])
        return translate(prefix, w.text, command_of(req->process), ret_exit_code, e);
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

int monitor_update(struct monitor *m, json_t *resources, struct err *e) {
    struct plan_builder groups = PLAN_BUILDER_INIT, b = PLAN_BUILDER_INIT;
    _cleanup_free_ void *block = NULL, *changes = NULL;
    _cleanup_close_ int fd = -EBADF;
    struct plan container;
    size_t n;
    int r = container_groups(m, &groups, e);

    if (r == 0)
        r = plan_finish(&groups, &block, &n, e);
    if (r == 0 && plan_open(block, n, &container) < 0)
        r = err_set(e, ERR_INTERNAL, "control groups of container %s", m->id);
    if (r == 0)
        r = oci_build_update(&b, resources, &container, e);
    if (r == 0)
        r = plan_finish(&b, &changes, &n, e);
    if (r == 0)
        r = fd = sealed_memfd("hatake-update", changes, n, e);
    plan_builder_done(&groups);
    plan_builder_done(&b);
    return r < 0 ? r : ask(m, &(struct mp_head){.type = MP_UPDATE}, NULL, fd, NULL, e);
}
