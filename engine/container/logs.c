// SPDX-License-Identifier: Apache-2.0
/* GET /containers/{id}/logs. What is there is copied by the worker; following happens on the stream loop. */
#include "container/logs.h"

#include <poll.h>

#include "api-handlers.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/container-internal.h"
#include "container/logattrs.h"
#include "system/system.h"
#include "wire/call.h"
#include "wire/loop.h"
#include "wire/stdcopy.h"
#include "wire/stream.h"

#define BATCH KIB(64)
#define HIGH_WATER KIB(256)
#define QUEUE_MAX MIB(4)
#define CLIENT_WAIT_MS 30000

/* KEY=VALUE with both halves escaped as in a query: neither blanks nor commas are within. */
static void add_detail(struct buf *line, const char *pair) {
    bool key = true;

    for (const char *p = pair; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("-_.~", *p) || (key && *p == '=');

        key = key && *p != '=';
        if (plain || *p == ' ')
            buf_addc(line, *p == ' ' ? '+' : *p);
        else
            buf_addf(line, "%%%02X", (unsigned char)*p);
    }
}

void ctr_log_format(const struct ctr_log_request *req, const struct logread_record *rec, struct buf *b) {
    enum stdcopy_stream stream = rec->is_stderr ? STDCOPY_STDERR : STDCOPY_STDOUT;
    char when[CLOCK_TEXT_MAX];
    _cleanup_buf_ struct buf line = BUF_INIT(MIB(1));

    if (rec->is_stderr ? !req->err : !req->out)
        return;
    if (!req->timestamps && !req->details) {
        if (req->framed)
            stdcopy_add(b, stream, rec->text, rec->n);
        else
            buf_add(b, rec->text, rec->n);
        return;
    }
    if (req->timestamps) {
        clock_format_full(rec->time_ns, when);
        buf_adds(&line, when);
        buf_addc(&line, ' ');
    }
    if (req->details) {
        const struct strv *attrs = req->attrs ? req->attrs : rec->attrs;

        for (size_t i = 0; attrs && i < attrs->n; i++) {
            buf_adds(&line, i ? "," : "");
            add_detail(&line, attrs->v[i]);
        }
        buf_addc(&line, ' ');
    }
    buf_add(&line, rec->text, rec->n);
    if (req->framed)
        stdcopy_add(b, stream, buf_str(&line), line.len);
    else
        buf_add(b, buf_str(&line), line.len);
}

static int open_log(const struct ctr_log_request *req, bool follow, struct logread **ret, struct err *e) {
    struct logread_options o = {
        .tail = req->tail, .since_ns = req->since_ns, .until_ns = req->until_ns, .follow = follow, .want_attrs = req->details};

    return logread_open(req->path, &o, ret, e);
}

DEFINE_CLEANUP(struct logread *, logread_free)

/* ---- all at once --------------------------------------------------------------------------------------------------------------------- */
static int write_fd(int fd, const char *p, size_t n, struct err *e) {
    while (n > 0) {
        ssize_t k = write(fd, p, n);

        if (k > 0) {
            p += k;
            n -= (size_t)k;
        } else if (k < 0 && errno == EAGAIN) {
            struct pollfd pfd = {.fd = fd, .events = POLLOUT};

            if (poll(&pfd, 1, CLIENT_WAIT_MS) == 0)
                return err_set(e, ERR_CANCELLED, "the client does not read");
        } else if (k < 0 && errno != EINTR) {
            return err_set(e, ERR_CANCELLED, "the client is gone");
        }
    }
    return 0;
}

/* Gather records until a batch is full. 1: there may be more, 0: end. */
static int fill_batch(const struct ctr_log_request *req, struct logread *r, struct buf *b, struct err *e) {
    while (b->len < BATCH) {
        struct logread_record rec;
        int k = logread_next(r, &rec, e);

        if (k <= 0)
            return k;
        ctr_log_format(req, &rec, b);
        if (!buf_ok(b))
            return buf_check(b, e);
    }
    return 1;
}

int ctr_log_copy(const struct ctr_log_request *req, int fd, struct err *e) {
    _cleanup_(logread_freep) struct logread *reader = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(MIB(4));
    int r = open_log(req, false, &reader, e), more = 1;

    while (r >= 0 && more > 0) {
        buf_reset(&b);
        more = fill_batch(req, reader, &b, e);
        if (more < 0)
            return more;
        r = write_fd(fd, buf_str(&b), b.len, e);
    }
    return r;
}

static int copy_to_call(struct call *call, const struct ctr_log_request *req, const char *type, struct err *e) {
    _cleanup_(logread_freep) struct logread *reader = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(MIB(4));
    int more = 1, r = open_log(req, false, &reader, e);

    if (r >= 0)
        r = call_stream_begin(call, 200, type, e);
    while (r >= 0 && more > 0) {
        buf_reset(&b);
        more = fill_batch(req, reader, &b, e);
        if (more < 0)
            return more;
        if (b.len > 0)
            r = call_stream_write(call, buf_str(&b), b.len, e);
    }
    return r < 0 ? r : call_stream_end(call, e);
}

/* ---- following ------------------------------------------------------------------------------------------------------------------------- */
/* One follower. Loop thread only, but for the flags under the lock. */
struct follow {
    struct ctr_waiter w; /* first */
    struct container *c; /* counted */
    struct ctr_log_request req;
    char *path;
    struct strv attrs;
    struct loop *loop;
    struct taken conn;
    struct stream *stream;
    struct logread *reader;
    struct logwatch_entry *entry;
    bool ended;   /* the container has stopped */
    bool noticed; /* ... and the loop knows */
    bool begun, dead;
    pthread_mutex_t lock;
};

static void follow_free(struct follow *f) {
    logwatch_remove(f->entry);
    logread_free(f->reader);
    stream_free(f->stream);
    taken_done(&f->conn);
    container_unref(f->c);
    free(f->path);
    strv_done(&f->attrs);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* Give the follower up: at once, or when the waiter's call that is under way arrives on the loop. */
static void follow_stop(struct follow *f) {
    if (f->noticed || container_cancel_waiter(f->c, &f->w)) {
        follow_free(f);
        return;
    }
    f->dead = true;
}

static void follow_pump(struct follow *f) {
    _cleanup_buf_ struct buf b = BUF_INIT(QUEUE_MAX);

    while (f->stream && stream_queued(f->stream) < HIGH_WATER) {
        int more;

        buf_reset(&b);
        more = fill_batch(&f->req, f->reader, &b, NULL);
        if (b.len > 0 && stream_write(f->stream, buf_str(&b), b.len, NULL) < 0)
            return; /* on_gone follows */
        if (more > 0)
            continue;
        if (more < 0 || f->noticed || logread_at_end(f->reader)) {
            stream_end(f->stream);
            f->stream = NULL;
            follow_stop(f);
        }
        return;
    }
}

static void follow_gone(struct stream *s, void *data) {
    struct follow *f = data;

    f->stream = stream_free(s);
    follow_stop(f);
}

static void follow_drained(struct stream *s, void *data) {
    follow_pump(data);
}

static void follow_changed(void *data) {
    struct follow *f = data;

    if (!f->dead)
        follow_pump(f);
}

static void logs_readable(struct loop_watch *w, int fd, uint32_t events, void *data) {
    logwatch_dispatch(data);
}

/* All followers share one kernel descriptor: a process may have few of that kind. Made by the first, on the loop's thread. */
static struct logwatch *shared_watch(struct containers *cs) {
    if (cs->logwatch)
        return cs->logwatch;
    if (logwatch_new(&cs->logwatch, NULL) < 0)
        return NULL;
    if (loop_watch(cs->engine->loop, logwatch_fd(cs->logwatch), EPOLLIN, logs_readable, cs->logwatch, &cs->logwatch_fd, NULL) < 0)
        cs->logwatch = logwatch_free(cs->logwatch);
    return cs->logwatch;
}

static void follow_ended(void *data) {
    struct follow *f = data;

    f->noticed = true;
    if (f->dead || !f->stream)
        follow_free(f);
    else
        follow_pump(f);
}

/* From the thread that saw the end: everything printed is in the file already. */
static void follow_done(struct ctr_waiter *w, int exit_code, const char *error) {
    struct follow *f = (struct follow *)w;
    bool begun;

    pthread_mutex_lock(&f->lock);
    f->ended = true;
    begun = f->begun;
    pthread_mutex_unlock(&f->lock);
    if (begun && loop_post(f->loop, follow_ended, f, NULL) < 0)
        follow_free(f);
}

static void follow_begin(void *data) {
    static const struct stream_handlers handlers = {.on_gone = follow_gone, .on_drain = follow_drained};
    struct follow *f = data;
    bool ok = stream_new(f->loop, &f->conn, STREAM_CHUNKED, QUEUE_MAX * 2, &handlers, f, &f->stream, NULL) >= 0;

    if (!ok)
        f->stream = NULL;
    ok = ok && shared_watch(f->c->cs) && logwatch_add(f->c->cs->logwatch, f->path, follow_changed, f, &f->entry, NULL) >= 0;
    pthread_mutex_lock(&f->lock);
    f->begun = true;
    f->noticed = f->ended;
    pthread_mutex_unlock(&f->lock);
    if (!ok)
        follow_stop(f);
    else
        follow_pump(f);
}

static int follow_start(struct call *call, struct container *c, const struct ctr_log_request *req, const char *type, struct err *e) {
    struct follow *f = calloc(1, sizeof(*f));
    _cleanup_err_ struct err late = ERR_INIT;
    int r;

    if (!f)
        return err_oom(e);
    f->conn = TAKEN_INIT;
    f->c = container_ref(c);
    f->req = *req;
    f->path = strdup(req->path);
    f->req.path = f->path;
    f->req.attrs = req->attrs ? &f->attrs : NULL;
    f->loop = call_loop(call);
    f->w.condition = CTR_WAIT_NOT_RUNNING;
    f->w.done = follow_done;
    pthread_mutex_init(&f->lock, NULL);
    r = f->path && (!req->attrs || strv_copy(&f->attrs, req->attrs) >= 0) ? open_log(&f->req, true, &f->reader, e) : err_oom(e);
    if (r >= 0)
        r = call_take(call, &f->conn, e);
    if (r < 0) {
        follow_free(f);
        return r;
    }
    container_add_waiter(c, &f->w);
    ignore_result(taken_write_head(&f->conn, TAKEN_CHUNKED, type, &late));
    if (loop_post(f->loop, follow_begin, f, NULL) < 0 && container_cancel_waiter(c, &f->w))
        follow_free(f);
    return 0;
}

/* ---- the operation ----------------------------------------------------------------------------------------------------------------------- */
static int read_request(const struct q_container_logs *q, const struct ctr_view *v, struct ctr_log_request *req, struct err *e) {
    int64_t n;
    int r;

    *req = (struct ctr_log_request){.path = v->fixed->log_file,
                                    .out = q->stdout,
                                    .err = q->stderr,
                                    .framed = !(v->fixed->config.has_tty && v->fixed->config.tty),
                                    .timestamps = q->timestamps,
                                    .details = q->details,
                                    .tail = -1};
    if (!req->out && !req->err)
        return err_set(e, ERR_INVALID, "Bad parameters: you must choose at least one stream");
    if (!str_empty(q->tail) && parse_i64(q->tail, &n) == 0 && n >= 0)
        req->tail = n;
    r = system_parse_time(q->since, &req->since_ns, e);
    return r < 0 ? r : system_parse_time(q->until, &req->until_ns, e);
}

int op_container_logs(struct call *call, struct err *e) {
    _cleanup_(q_container_logs_done) struct q_container_logs q = {0};
    _cleanup_container_ struct container *c = NULL;
    _cleanup_view_ struct ctr_view *v = NULL;
    _cleanup_strv_ struct strv attrs = STRV_INIT;
    struct ctr_log_request req;
    const char *type;
    int r = q_container_logs_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0 && !q.stdout && !q.stderr)
        r = err_set(e, ERR_INVALID, "Bad parameters: you must choose at least one stream");
    if (r >= 0)
        r = containers_find(call_engine(call)->containers, call_path(call, "id"), &c, e);
    if (r < 0)
        return r;
    v = container_view(c);
    r = read_request(&q, v, &req, e);
    if (r < 0)
        return r;
    if (str_empty(v->fixed->log_file))
        return err_set(e, ERR_NOT_IMPLEMENTED, "configured logging driver does not support reading");
    if (req.details && streq(v->fixed->host.log_config->type, "journald")) {
        r = ctr_log_journal_details(v->fixed, &attrs, e);
        if (r < 0)
            return r;
        req.attrs = &attrs;
    }
    type = ctr_stream_type(!req.framed, call_api_version(call));
    if (q.follow && ctr_state_alive(v->state))
        return follow_start(call, c, &req, type, e);
    return copy_to_call(call, &req, type, e);
}
