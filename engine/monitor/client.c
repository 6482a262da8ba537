// SPDX-License-Identifier: Apache-2.0
/* The launcher, and monitors from their start or adoption to their end. */
#include "monitor/client-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/idmap.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "base/thread.h"

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
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->cond);
    free(m);
    return NULL;
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
        launcher_process(sp[1], program, config);
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

static int ask_with(struct launcher *l, const struct mp_head *h, const void *body, const int *fds, int n_fds, struct mp_head *ret_answer, int *ret_fd,
                    struct err *e) {
    int got[MP_FDS_MAX], n_got = 0, r;
    char text[64];

    pthread_mutex_lock(&l->spawn_lock);
    r = mp_send(l->sock, h, body, fds, n_fds, 0);
    if (r == 0)
        r = mp_recv(l->sock, ret_answer, text, sizeof text, got, &n_got, 0);
    pthread_mutex_unlock(&l->spawn_lock);
    for (int i = 0; i < n_got; i++)
        if (ret_fd && i == 0)
            *ret_fd = got[i];
        else
            close_fd(got[i]);
    return r <= 0 ? err_set(e, ERR_INTERNAL, "the launcher process is gone: restart the daemon") : 0;
}

int launcher_ask(struct launcher *l, const struct mp_head *h, const int *fds, int n_fds, struct mp_head *ret_answer, struct err *e) {
    return ask_with(l, h, NULL, fds, n_fds, ret_answer, NULL, e);
}

int launcher_shm(struct launcher *l, const char *path, int64_t size, const struct idmap *ids, struct err *e) {
    struct mp_head h = {.type = MP_SHM,
                        .len = (uint32_t)strlen(path),
                        .v = {size, ids ? ids->root_uid : 0, ids ? ids->root_gid : 0},
                        .trace = client_trace()},
                   answer;
    int r = ask_with(l, &h, path, NULL, 0, &answer, NULL, e);

    return r == 0 && answer.v[0] ? err_errno(e, (int)answer.v[0], "mounting shm tmpfs") : r;
}

int launcher_view(struct launcher *l, const char *upper, const struct strv *lowers, struct err *e) {
    _cleanup_buf_ struct buf body = BUF_INIT(MP_BODY_MAX);
    struct mp_head h = {.type = MP_VIEW, .trace = client_trace()}, answer;
    int fd = -EBADF, r;

    buf_add(&body, upper, strlen(upper) + 1);
    for (size_t i = 0; i < lowers->n; i++)
        buf_add(&body, lowers->v[i], strlen(lowers->v[i]) + 1);
    if (!buf_ok(&body))
        return buf_check(&body, e);
    h.len = (uint32_t)body.len;
    r = ask_with(l, &h, body.data, NULL, 0, &answer, &fd, e);
    if (r == 0 && (answer.v[0] || fd < 0))
        r = err_errno(e, answer.v[0] ? (int)answer.v[0] : EPROTO, "cannot look into the container's layers");
    return r < 0 ? r : fd;
}

static int spawn(struct launcher *l, int plan, int control, bool host_mounts, struct err *e) {
    struct mp_head h = {.type = MP_SPAWN, .v = {host_mounts}, .trace = client_trace()}, answer;
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

        client_forget(m->l, m);
        return r;
    }
    return 0;
}

/* Interfaces are the reference's own work, done before its runtime is asked: it tells of them without the runtime's words. */
static bool about_interface(const char *text) {
    return str_has_prefix(text, "failed to create the ") || str_has_prefix(text, "the requested parent interface ");
}

static int wait_started(struct monitor *m, const struct launch_request *req, int *ret_code, struct err *e) {
    static const char task_prefix[] = "failed to create task for container: failed to create shim task: ";
    static const char prefix[] =
        "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to "
        "start container process: ";
    struct timespec until = client_deadline(START_SECONDS);
    /* Another runtime's words say themselves which of its commands failed. */
    const char *before = req->log_prefix ? req->log_prefix : req->runtime ? task_prefix : prefix;
    int r = 0;

    pthread_mutex_lock(&m->lock);
    while (m->state == STARTING && r == 0)
        r = pthread_cond_timedwait(&m->cond, &m->lock, &until);
    if (m->state == FAILED && req->runtime && m->fail_text && str_has_prefix(m->fail_text, "OCI runtime start failed"))
        before = "";
    if (m->state == FAILED && m->fail_text && about_interface(m->fail_text))
        r = err_set(e, ERR_INTERNAL, "%s", m->fail_text);
    else if (m->state == FAILED)
        r = client_translate(before, m->fail_text ? m->fail_text : "the container's monitor ended while starting it", ret_code, e);
    else if (m->state == STARTING)
        r = err_set(e, ERR_DEADLINE, "starting the container took longer than %d s", START_SECONDS);
    else
        r = 0;
    pthread_mutex_unlock(&m->lock);
    return r;
}

/* The monitor of the container's last run takes down its mounts after it has told the end: two runs must not have the same folders in use. */
static void wait_gone(struct launcher *l, const char *id) {
    struct timespec until = client_deadline(GONE_SECONDS);
    struct monitor *m;
    int r = 0;

    pthread_mutex_lock(&l->lock);
    do
        for (m = l->monitors; m && !streq(m->id, id);)
            m = m->next;
    while (m && (r = pthread_cond_timedwait(&l->gone, &l->lock, &until)) == 0);
    pthread_mutex_unlock(&l->lock);
}

static int send_health(struct launcher *l, int sock, const struct launch_health *w, const json_t *spec, bool foreign, struct err *e) {
    _cleanup_close_ int plan = client_process_plan(l, w->process, spec, foreign, e);
    struct mp_head h = {.type = MP_HEALTH_PLAN, .reserved = (uint32_t)w->retries, .v = {w->interval, w->timeout, w->start_period, w->start_interval}};

    if (plan < 0)
        return plan;
    return mp_send(sock, &h, NULL, &plan, 1, 0) < 0 ? err_set(e, ERR_INTERNAL, "monitor socket") : 0;
}

int launcher_start(struct launcher *l, struct launch_request *req, const struct monitor_events *ev, void *arg, struct monitor **ret,
                   int *ret_exit_code, struct err *e) {
    _cleanup_close_ int plan = -EBADF, theirs = -EBADF;
    struct mp_head start = {.type = MP_START, .v = {log_enabled(LOG_LVL_DEBUG)}, .trace = client_trace()};
    struct monitor *m = monitor_new(l, req->id, req->exec_dir, ev, arg);
    int sp[2], r = m ? client_loop(l, e) : err_oom(e);

    if (ret_exit_code)
        *ret_exit_code = 128;
    if (r == 0) {
        r = plan = launch_plan(req, l->has_cgroups ? &l->cgroups : NULL, l->cache, e);
        wait_gone(l, req->id);
    }
    if (r >= 0)
        r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp) < 0 ? err_errno(e, errno, "socketpair") : 0;
    if (r < 0) {
        client_close_attach(req->attach, req->n_attach);
        monitor_unref(m);
        return r;
    }
    m->fd = sp[0];
    theirs = sp[1];
    m->state = STARTING;
    for (size_t i = 0; r == 0 && i < req->n_attach; i++) {
        r = client_send_attach(m->fd, MP_ATTACH, 0, "", &req->attach[i], -1, 0, 0);
        if (r < 0)
            r = err_errno(e, r, "handing streams to the monitor");
    }
    client_close_attach(req->attach, req->n_attach);
    if (r == 0 && req->health)
        r = send_health(l, m->fd, req->health, req->spec, req->runtime, e);
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

int client_connect(const char *exec_dir) {
    struct mp_head hello = {.type = MP_HELLO, .v = {MP_VERSION, log_enabled(LOG_LVL_DEBUG)}};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    _cleanup_close_ int dir = open(exec_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd, r;

    if (dir < 0)
        return -errno;
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/" MP_SOCKET_FILE, dir);
    r = connect(fd, (struct sockaddr *)&a, sizeof a) < 0 ? -errno : mp_send(fd, &hello, NULL, NULL, 0, 0);
    if (r < 0)
        close_fd(fd);
    return r < 0 ? r : fd;
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
        client_health(m, &h, b.data + at);
        at += h.len;
    }
}

/* Only the record is left: deliver it from the loop's side of the world, but there is no socket to wait for. */
static void *deliver_record(void *arg) {
    struct monitor *m = arg;
    struct monitor_exit x;

    read_health_record(m);
    if (client_exit_record(m->exec_dir, &x) == 0)
        client_announce_exit(m, &x);
    monitor_unref(m);
    return NULL;
}

int monitor_adopt(struct launcher *l, const char *exec_dir, const char *id, const struct monitor_events *ev, void *arg, struct monitor **ret,
                  struct err *e) {
    struct monitor *m = monitor_new(l, id, exec_dir, ev, arg);
    struct timespec until = client_deadline(ANSWER_SECONDS);
    struct monitor_exit x;
    int r = m ? client_loop(l, e) : err_oom(e);

    if (r < 0) {
        monitor_unref(m);
        return r;
    }
    m->fd = client_connect(exec_dir);
    m->state = STARTING;
    if (m->fd >= 0 && watch(m, e) == 0) {
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
    if (client_exit_record(exec_dir, &x) < 0) {
        monitor_unref(m);
        return err_set(e, ERR_NOT_FOUND, "container %s has no monitor and no exit record", id);
    }
    m->state = RUNNING;
    monitor_ref(m);
    if (thread_start(NULL, KIB(256), deliver_record, m) < 0)
        deliver_record(m);
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
