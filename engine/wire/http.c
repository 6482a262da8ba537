// SPDX-License-Identifier: Apache-2.0
#include "wire/http.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/http-internal.h"

#define REAPER_NS (5 * NSEC_PER_SEC)
#define TRIM_ABOVE 256 /* connections */

#if MHD_VERSION >= 0x01000000
#define STRICTNESS 1
#else
#define STRICTNESS 0 /* in 0.9.75 level 1 only asks for a Host header, with an HTML answer: we check that ourselves */
#endif

/* ---- connections ------------------------------------------------------------------------------------------------------------- */

static void idle_remove(struct http_server *s, struct http_conn *n) {
    struct http_idle *l = &s->idle[n->served];

    if (!n->idle)
        return;
    n->idle = false;
    *(n->prev ? &n->prev->next : &l->first) = n->next;
    *(n->next ? &n->next->prev : &l->last) = n->prev;
    n->prev = n->next = NULL;
    l->n--;
}

static void idle_append(struct http_server *s, struct http_conn *n, bool served) {
    struct http_idle *l = &s->idle[served];

    if (n->idle)
        return;
    n->idle = true;
    n->served = served;
    n->idle_since = clock_mono_ns();
    n->prev = l->last;
    n->next = NULL;
    *(l->last ? &l->last->next : &l->first) = n;
    l->last = n;
    l->n++;
}

/* Its owner, the library, sees the end of the stream and closes it. */
static void drop_idle(struct http_server *s, struct http_conn *n) {
    shutdown(n->fd, SHUT_RDWR);
    idle_remove(s, n);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context, enum MHD_ConnectionNotificationCode toe) {
    struct http_listener *l = cls;
    struct http_server *s = l->server;
    struct http_conn *n = *socket_context;

    if (toe == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (!n)
            return;
        pthread_mutex_lock(&s->lock);
        idle_remove(s, n);
        s->n_conns--;
        pthread_mutex_unlock(&s->lock);
        free(n);
        *socket_context = NULL;
        return;
    }
    n = calloc(1, sizeof(*n));
    if (!n)
        return;
    n->listener = l;
    n->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    if (l->kind == HTTP_LISTEN_PLAIN) {
        struct ucred u;
        socklen_t len = sizeof(u);

        if (getsockopt(n->fd, SOL_SOCKET, SO_PEERCRED, &u, &len) == 0 && u.pid != 0) {
            n->has_peer = true;
            n->pid = u.pid;
            n->uid = u.uid;
            n->gid = u.gid;
        }
    }
    *socket_context = n;
    pthread_mutex_lock(&s->lock);
    s->n_conns++;
    s->peak_conns = MAX(s->peak_conns, s->n_conns);
    if (s->n_conns > s->opts.max_connections && (s->idle[true].first || s->idle[false].first))
        drop_idle(s, s->idle[true].first ? s->idle[true].first : s->idle[false].first);
    idle_append(s, n, false);
    pthread_mutex_unlock(&s->lock);
}

/* A connection that was used keeps the library's whole buffer in memory, one that only waits next to nothing: of the used ones only some may stay. */
static void drop_used(struct http_server *s) {
    struct http_idle *used = &s->idle[true];
    int64_t before = clock_mono_ns() - s->opts.kept_ms * NSEC_PER_MSEC;

    while (used->n > s->opts.max_kept && used->first->idle_since < before)
        drop_idle(s, used->first);
}

/* Connections that have been without a complete request for too long: slow heads and forgotten keep-alives alike. */
static void reap(struct loop_timer *t, void *data) {
    struct http_server *s = data;
    int64_t before = clock_mono_ns() - s->opts.head_seconds * NSEC_PER_SEC;
    bool trim;

    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < 2; i++)
        while (s->idle[i].first && s->idle[i].first->idle_since < before)
            drop_idle(s, s->idle[i].first);
    drop_used(s);
    trim = s->peak_conns > TRIM_ABOVE && s->n_conns < s->peak_conns / 4;
    if (trim)
        s->peak_conns = s->n_conns;
    pthread_mutex_unlock(&s->lock);
    /* After a crowd has left: the allocator keeps its memory otherwise, tens of megabytes. */
    if (trim)
        malloc_trim(0);
}

/*
 * A body that the library receives has as long as a head: the connection is idle, as it were, until all of it is there. Long bodies that a handler reads have no
 * such end: what feeds a load or a build may pause for hours, and one of the long workers is all that it holds.
 */
static void await_body(struct call *c) {
    struct http_server *s = c->server;

    if (!c->conn)
        return;
    pthread_mutex_lock(&s->lock);
    idle_append(s, c->conn, false);
    c->awaited = true;
    pthread_mutex_unlock(&s->lock);
}

static void body_is_here(struct call *c) {
    struct http_server *s = c->server;

    if (!c->awaited || !c->conn)
        return;
    pthread_mutex_lock(&s->lock);
    idle_remove(s, c->conn);
    c->awaited = false;
    pthread_mutex_unlock(&s->lock);
}

/* ---- running handlers ---------------------------------------------------------------------------------------------------------- */

static void calls_add(struct call *c) {
    struct http_server *s = c->server;

    pthread_mutex_lock(&s->lock);
    c->next = s->calls;
    c->prev = NULL;
    if (c->next)
        c->next->prev = c;
    s->calls = c;
    pthread_mutex_unlock(&s->lock);
}

static void calls_remove(struct call *c) {
    struct http_server *s = c->server;

    pthread_mutex_lock(&s->lock);
    *(c->prev ? &c->prev->next : &s->calls) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    if (!s->calls)
        pthread_cond_broadcast(&s->quiet);
    pthread_mutex_unlock(&s->lock);
}

static void run_job(struct pool_job *job) {
    struct call *c = (struct call *)job; /* job is the first member */

    log_set_trace(c->trace);
    c->server->hooks.run(c, c->server->hooks.data);
    http_finish(c);
}

/* Suspend the connection, before another thread learns of the call. c->lock is held. */
static void hold(struct call *c) {
    MHD_suspend_connection(c->mhd);
    c->held = true;
}

/* Let the library go on with the connection. c->lock is held. */
static void release(struct call *c) {
    if (c->held)
        MHD_resume_connection(c->mhd);
    c->held = false;
}

void http_finish(struct call *c) {
    if (!call_answered(c))
        call_reply_error(c, 500, "the handler gave no answer");
    if (c->stream_begun) {
        http_stream_finish(c);
    } else if (!c->taken && c->direct) {
        http_direct_finish(c);
    } else if (!c->taken) {
        call_stop_watching(c);
        pthread_mutex_lock(&c->lock);
        if (c->completed) {
            /* nobody is left to answer */
        } else if (c->state == CALL_WORKING) {
            c->state = CALL_READY;
            MHD_resume_connection(c->mhd);
        } else if (c->state == CALL_STREAM) {
            /* Little is left: read it, and keep the connection. Much: answer now, on our own. */
            c->state = CALL_DRAIN;
            if (c->length >= 0 && c->length - c->received > HTTP_DRAIN_MAX) {
                http_raw_reply(c);
                c->state = CALL_ABORT;
            } else {
                await_body(c);
            }
            release(c);
        }
        pthread_mutex_unlock(&c->lock);
    }
    calls_remove(c);
    call_unref(c);
}

/* Called with c->lock held, after the connection was suspended (HTTP/1.0 with a long body: before). False: the reply is an error now. */
static bool submit(struct call *c) {
    struct err e = ERR_INIT;

    call_ref(c);
    calls_add(c);
    c->job.run = run_job;
    if (!c->server->stopping && pool_submit(c->server->pool, c->route.exec == HTTP_LONG ? POOL_LONG : POOL_QUICK, &c->job, &e) >= 0)
        return true;
    calls_remove(c);
    call_unref(c);
    call_reply_error(c, 503, e.msg ? e.msg : "the engine is shutting down");
    err_done(&e);
    return false;
}

static enum MHD_Result queue(struct call *c, unsigned status, struct MHD_Response *r) {
    enum MHD_Result ok;

    if (!r)
        return MHD_NO;
    c->state = c->state == CALL_UPGRADING ? CALL_UPGRADING : CALL_REPLIED;
    ok = http_queue(c->mhd, status, r);
    MHD_destroy_response(r);
    return ok;
}

/* Called with c->lock held. */
static void run_inline(struct call *c) {
    c->is_inline = true;
    pthread_mutex_unlock(&c->lock);
    log_set_trace(c->trace);
    c->server->hooks.run(c, c->server->hooks.data);
    log_set_trace(NULL);
    pthread_mutex_lock(&c->lock);
    if (!call_answered(c))
        call_reply_error(c, 500, "the handler gave no answer");
}

/* The request is complete: run its handler, here or on a worker. */
static enum MHD_Result start(struct call *c) {
    if (c->route.exec == HTTP_INLINE) {
        run_inline(c);
        return queue(c, (unsigned)c->status, http_response(c));
    }
    MHD_suspend_connection(c->mhd);
    c->state = CALL_WORKING;
    if (!submit(c)) {
        c->state = CALL_READY;
        MHD_resume_connection(c->mhd);
    }
    return MHD_YES;
}

/* ---- requests --------------------------------------------------------------------------------------------------------------------- */

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *mhd) {
    struct http_listener *l = cls;

    return call_new(l->server, uri);
}

static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *s) {
    return strlen(s);
}

/* Answer now, before the body, and close: the rest is read and dropped, so that the answer is not lost with the connection. */
static enum MHD_Result refuse(struct call *c) {
    http_raw_reply(c);
    c->state = CALL_ABORT;
    return MHD_NO;
}

static enum MHD_Result refuse_head(struct call *c, int status, const char *text) {
    struct buf b = BUF_INIT(256);

    buf_adds(&b, text);
    call_reply_raw(c, status, *text ? "text/plain; charset=utf-8" : NULL, &b, NULL);
    return refuse(c);
}

/* First call for a request: its head is complete. */
static enum MHD_Result on_head(struct call *c, struct http_listener *l, const char *method, const char *version) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_server *s = l->server;
    const char *text = NULL;
    int status;

    c->listener = l;
    c->conn = info ? info->socket_context : NULL;
    c->started = clock_mono_ns();
    if (!c->conn)
        return MHD_NO;
    pthread_mutex_lock(&s->lock);
    idle_remove(s, c->conn);
    pthread_mutex_unlock(&s->lock);
    c->has_peer = c->conn->has_peer;
    c->pid = c->conn->pid;
    c->uid = c->conn->uid;
    c->gid = c->conn->gid;
    status = http_head_read(c, method, version, &text);
    if (status != 0)
        return refuse_head(c, status, text);
    s->hooks.route(c, &c->route, s->hooks.data);
    if (!c->has_body) {
        c->state = CALL_END;
        c->body_ended = true;
        return MHD_YES;
    }
    if (c->route.exec == HTTP_INLINE) {
        /* Nobody wants this body. A long one is not waited for: the answer comes first and the connection closes. */
        c->state = CALL_DRAIN;
        await_body(c);
        if (c->length <= (int64_t)HTTP_DRAIN_MAX)
            return MHD_YES;
        run_inline(c);
        return refuse(c);
    }
    c->collects = c->route.collect || (c->length >= 0 && c->length <= (int64_t)HTTP_SHORT_BODY);
    if (c->collects) {
        c->state = CALL_COLLECT;
        if (c->length > (int64_t)LIMIT_JSON_BODY) {
            call_reply_error(c, 413, "request body too large");
            return refuse(c);
        }
        await_body(c);
        return MHD_YES;
    }
    c->state = CALL_STREAM;
    if (!c->http10) {
        c->held_head = true;
        hold(c);
    }
    if (!submit(c)) {
        c->state = CALL_DRAIN;
        release(c);
    }
    return MHD_YES;
}

static enum MHD_Result on_piece(struct call *c, const char *p, size_t *n) {
    switch (c->state) {
    case CALL_COLLECT:
        buf_add(&c->body, p, *n);
        if (!buf_ok(&c->body)) {
            call_reply_error(c, 413, "request body too large");
            c->state = CALL_DRAIN;
        }
        *n = 0;
        return MHD_YES;
    case CALL_STREAM:
        c->early = malloc(*n);
        if (!c->early)
            return MHD_NO;
        memcpy(c->early, p, *n);
        c->n_early = *n;
        c->received = (int64_t)*n;
        *n = 0;
        hold(c);
        pthread_cond_broadcast(&c->cond);
        return MHD_YES;
    case CALL_DRAIN:
        c->drained += *n;
        *n = 0;
        if (c->drained <= HTTP_DRAIN_MAX)
            return MHD_YES;
        if (c->reply_set)
            http_raw_reply(c);
        c->state = CALL_ABORT;
        return MHD_NO;
    default:
        return MHD_NO;
    }
}

static enum MHD_Result on_end(struct call *c) {
    struct MHD_Response *r;

    body_is_here(c);
    switch (c->state) {
    case CALL_COLLECT:
    case CALL_END:
        c->body_ended = true;
        return start(c);
    case CALL_DRAIN:
        return c->reply_set ? queue(c, (unsigned)c->status, http_response(c)) : start(c);
    case CALL_READY:
        return queue(c, (unsigned)c->status, http_response(c));
    case CALL_UPGRADING:
        r = MHD_create_response_for_upgrade(http_on_upgrade, c);
        if (r)
            MHD_add_response_header(r, "Upgrade", "tcp");
        return queue(c, 101, r);
    default:
        return MHD_NO;
    }
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method, const char *version, const char *data,
                                  size_t *n, void **con_cls) {
    struct call *c = *con_cls;
    enum MHD_Result r;

    if (!c)
        return MHD_NO;
    /*
     * Queueing a reply can make the library finish the request and call on_upgrade or on_completed before it returns, which take the lock: replies are
     * queued only from here and the lock is recursive.
     */
    call_ref(c);
    pthread_mutex_lock(&c->lock);
    if (c->state == CALL_NEW) {
        c->mhd = mhd;
        r = on_head(c, cls, method, version);
    } else if (c->state == CALL_ABORT) {
        r = MHD_NO;
    } else if (c->held_head && c->state == CALL_DRAIN) {
        c->held_head = false; /* the head again, after the suspension: now the body may come */
        r = MHD_YES;
    } else {
        r = *n > 0 ? on_piece(c, data, n) : on_end(c);
    }
    pthread_mutex_unlock(&c->lock);
    call_unref(c);
    return r;
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls, enum MHD_RequestTerminationCode toe) {
    struct http_listener *l = cls;
    struct call *c = *con_cls;

    if (!c)
        return;
    *con_cls = NULL;
    pthread_mutex_lock(&c->lock);
    if (c->conn) {
        pthread_mutex_lock(&l->server->lock);
        idle_append(l->server, c->conn, true);
        drop_used(l->server);
        pthread_mutex_unlock(&l->server->lock);
    }
    if (toe != MHD_REQUEST_TERMINATED_COMPLETED_OK && c->state != CALL_REPLIED && c->state != CALL_ABORT)
        c->aborted = true;
    c->completed = true;
    c->mhd = NULL;
    c->conn = NULL;
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->lock);
    call_unref(c);
}

/* ---- the server --------------------------------------------------------------------------------------------------------------------- */

static void __attribute__((format(printf, 2, 0))) on_library_log(void *cls, const char *fmt, va_list ap) {
    struct buf b = BUF_INIT(4096);

    if (!log_enabled(LOG_LVL_DEBUG))
        return;
    buf_addv(&b, fmt, ap);
    while (b.len > 0 && b.data[b.len - 1] == '\n')
        b.data[--b.len] = '\0';
    log_kv(LOG_LVL_DEBUG, "http library", "text", buf_str(&b), NULL);
    buf_done(&b);
}

static int start_reaper(void *data, struct err *e) {
    struct http_server *s = data;
    int64_t every = MIN(REAPER_NS, s->opts.head_seconds * NSEC_PER_SEC / 2);

    return loop_timer(s->loop, every, every, reap, s, &s->reaper, e);
}

static int stop_reaper(void *data, struct err *e) {
    struct http_server *s = data;

    s->reaper = loop_timer_free(s->reaper);
    return 0;
}

int http_new(struct engine *engine, struct loop *loop, const struct http_hooks *hooks, const struct http_options *opts, struct http_server **ret,
             struct err *e) {
    struct http_server *s = calloc(1, sizeof(*s));
    pthread_condattr_t attr;
    int r;

    if (!s)
        return err_oom(e);
    s->engine = engine;
    s->loop = loop;
    s->hooks = *hooks;
    if (opts)
        s->opts = *opts;
    s->opts.memory_limit = s->opts.memory_limit ? s->opts.memory_limit : KIB(32);
    s->opts.max_connections = s->opts.max_connections ? s->opts.max_connections : LIMIT_CONNECTIONS;
    s->opts.max_kept = s->opts.max_kept ? s->opts.max_kept : LIMIT_KEPT_CONNECTIONS;
    s->opts.kept_ms = s->opts.kept_ms ? s->opts.kept_ms : LIMIT_KEPT_MS;
    s->opts.head_seconds = s->opts.head_seconds ? s->opts.head_seconds : LIMIT_HTTP_HEAD_SECONDS;
    s->opts.rest_ms = s->opts.rest_ms ? s->opts.rest_ms : HTTP_PATIENCE_MS;
    s->opts.threads = s->opts.threads ? s->opts.threads : 2;
    s->opts.quick = s->opts.quick ? s->opts.quick : 64;
    s->opts.slow = s->opts.slow ? s->opts.slow : 4096;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->quiet, &attr);
    pthread_condattr_destroy(&attr);
    r = pool_new(s->opts.quick, s->opts.slow, &s->pool, e);
    if (r >= 0)
        r = loop_call(loop, start_reaper, s, e);
    if (r < 0) {
        http_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

int http_listen(struct http_server *s, enum http_listener_kind kind, int fd, struct http_listener **ret, struct err *e) {
    struct http_listener *l = calloc(1, sizeof(*l));
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG;
    /* The library divides the limit among its threads, and connections fall where they fall: each thread may hold all of them. */
    unsigned limit = (unsigned)(s->opts.max_connections + 256) * s->opts.threads;

    if (!l)
        return err_oom(e);
    if (kind == HTTP_LISTEN_FED)
        flags |= MHD_USE_NO_LISTEN_SOCKET;
    l->server = s;
    l->kind = kind;
    l->fd = fd;
    pthread_rwlock_init(&l->lock, NULL);
    l->mhd = MHD_start_daemon(flags, 0, NULL, NULL, on_request, l, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, l, MHD_OPTION_NOTIFY_CONNECTION,
                              on_connection, l, MHD_OPTION_NOTIFY_COMPLETED, on_completed, l, MHD_OPTION_URI_LOG_CALLBACK, on_uri, l,
                              MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, l, MHD_OPTION_CONNECTION_MEMORY_LIMIT, s->opts.memory_limit,
                              MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_CONNECTION_LIMIT, limit, MHD_OPTION_THREAD_POOL_SIZE, s->opts.threads,
                              MHD_OPTION_THREAD_STACK_SIZE, (size_t)KIB(512), MHD_OPTION_STRICT_FOR_CLIENT, STRICTNESS,
                              kind == HTTP_LISTEN_FED ? MHD_OPTION_END : MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_END);
    if (!l->mhd) {
        pthread_rwlock_destroy(&l->lock);
        free(l);
        return err_errno(e, errno ? errno : ENOMEM, "starting the HTTP server");
    }
    l->next = s->listeners;
    s->listeners = l;
    if (ret)
        *ret = l;
    return 0;
}

int http_feed(struct http_listener *l, int fd, struct err *e) {
    http_give_back(l, fd);
    return 0;
}

static void release_call(struct call *c) {
    pthread_mutex_lock(&c->lock);
    if (!c->completed && (c->state == CALL_WORKING || c->held)) {
        c->held = false;
        c->state = CALL_ABORT;
        MHD_resume_connection(c->mhd);
    } else if (!c->completed && c->state == CALL_STREAM) {
        c->state = CALL_ABORT;
    }
    if (c->out_fd >= 0)
        shutdown(c->out_fd, SHUT_RDWR); /* wakes a handler that waits for room, or for more of a body */
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->lock);
}

/*
 * Let every suspended request go, so that the library can be stopped; the handlers find `completed` set. Not under the server's lock: the library calls
 * on_completed() with its own lock held.
 */
static void release_calls(struct http_server *s) {
    struct call **all = NULL;
    size_t n = 0;

    pthread_mutex_lock(&s->lock);
    for (struct call *c = s->calls; c; c = c->next)
        n++;
    all = n > 0 ? calloc(n, sizeof(*all)) : NULL;
    n = 0;
    for (struct call *c = s->calls; c && all; c = c->next) {
        call_ref(c);
        all[n++] = c;
    }
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < n; i++) {
        release_call(all[i]);
        call_unref(all[i]);
    }
    free(all);
}

static bool wait_quiet(struct http_server *s, int64_t until) {
    struct timespec ts = {.tv_sec = until / NSEC_PER_SEC, .tv_nsec = until % NSEC_PER_SEC};
    bool quiet;

    pthread_mutex_lock(&s->lock);
    while (s->calls && pthread_cond_timedwait(&s->quiet, &s->lock, &ts) != ETIMEDOUT)
        ;
    quiet = !s->calls;
    pthread_mutex_unlock(&s->lock);
    return quiet;
}

/*
 * MHD_quiesce_daemon() takes the listening socket out of the epoll set of each of its threads, which a thread that is awake does by itself at the same
 * moment; whoever comes second gets ENOENT, and the library ends the process for that. Taking out what is not in is no failure to anyone here, so the
 * call, which the library finds in this program before the C library's, says so.
 */
int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event) {
    long r = syscall(SYS_epoll_ctl, epfd, op, fd, event);

    return r < 0 && op == EPOLL_CTL_DEL && errno == ENOENT ? 0 : (int)r;
}

bool http_stop(struct http_server *s, int64_t timeout_ns) {
    int64_t until = clock_mono_ns() + timeout_ns;
    bool ended;

    s->stopping = true;
    for (struct http_listener *l = s->listeners; l; l = l->next)
        if (l->kind == HTTP_LISTEN_PLAIN)
            l->fd = (int)MHD_quiesce_daemon(l->mhd);
    /* Handlers that end soon still answer. Then the rest is let go. */
    ended = wait_quiet(s, clock_mono_ns() + timeout_ns / 2);
    if (!ended) {
        release_calls(s);
        wait_quiet(s, until);
        release_calls(s);
    }
    for (struct http_listener *l = s->listeners; l; l = l->next) {
        pthread_rwlock_wrlock(&l->lock);
        l->stopped = true;
        pthread_rwlock_unlock(&l->lock);
        MHD_stop_daemon(l->mhd);
        l->mhd = NULL;
        l->fd = close_fd(l->fd);
    }
    if (s->reaper)
        loop_call(s->loop, stop_reaper, s, NULL);
    return pool_stop(s->pool, MAX(until - clock_mono_ns(), 100 * NSEC_PER_MSEC));
}

struct http_server *http_free(struct http_server *s) {
    if (!s)
        return NULL;
    while (s->listeners) {
        struct http_listener *l = s->listeners;

        s->listeners = l->next;
        pthread_rwlock_destroy(&l->lock);
        free(l);
    }
    pool_free(s->pool);
    pthread_cond_destroy(&s->quiet);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}
