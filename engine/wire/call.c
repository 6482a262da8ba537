// SPDX-License-Identifier: Apache-2.0
#include "wire/call.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "wire/codec.h"
#include "wire/http-internal.h"

/* Both texts of a header, one after the other. */
static char *header_memory(struct call *c, size_t n) {
    if (!c->out_text)
        c->out_text = malloc(HTTP_HEADERS_TEXT);
    if (!c->out_text || n > HTTP_HEADERS_TEXT - c->out_used)
        return malloc(n);
    c->out_used += n;
    return c->out_text + c->out_used - n;
}

static void drop_header(struct call *c, struct http_header *h) {
    if (!c->out_text || h->name < c->out_text || h->name >= c->out_text + HTTP_HEADERS_TEXT)
        free(h->name);
}

struct call *call_new(struct http_server *s, const char *target) {
    /* Not calloc(3): it does not use the cache of the thread, and there is one of these for every request. */
    struct call *c = malloc(sizeof(*c));
    pthread_mutexattr_t attr;

    if (!c)
        return NULL;
    memset(c, 0, sizeof(*c));
    c->target = strdup(target);
    if (!c->target) {
        free(c);
        return NULL;
    }
    c->server = s;
    c->refs = 1;
    c->dummy = c->out_fd = c->gone_fd = -EBADF;
    c->body = BUF_INIT(LIMIT_JSON_BODY);
    c->reply = BUF_INIT(LIMIT_REPLY_BYTES);
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&c->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    pthread_cond_init(&c->cond, NULL);
    trace_id_new(c->trace);
    return c;
}

void call_ref(struct call *c) {
    c->refs++;
}

void call_unref(struct call *c) {
    if (--c->refs > 0)
        return;
    call_stop_watching(c);
    close_fd(c->gone_fd);
    close_fd(c->out_fd);
    close_fd(c->dummy);
    if (c->in) {
        free(c->in[0].name);
        free(c->in);
    }
    for (size_t i = 0; i < c->n_out; i++)
        drop_header(c, &c->out[i]);
    free(c->out_text);
    free(c->target);
    free(c->path);
    free(c->query);
    free(c->method);
    free(c->route.variable);
    free(c->room);
    free(c->early);
    buf_done(&c->body);
    buf_done(&c->reply);
    pthread_cond_destroy(&c->cond);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

struct engine *call_engine(struct call *c) {
    return c->server->engine;
}
struct loop *call_loop(struct call *c) {
    return c->server->loop;
}
int call_api_version(struct call *c) {
    return c->route.api_version;
}
const char *call_trace(struct call *c) {
    return c->trace;
}
const char *call_operation(struct call *c) {
    return c->route.op_id ? c->route.op_id : "";
}
const char *call_method(struct call *c) {
    return c->method;
}
const char *call_path(struct call *c, const char *name) {
    return c->route.variable ? c->route.variable : "";
}
const char *call_query(struct call *c) {
    return c->query;
}
const void *call_op(struct call *c) {
    return c->route.op;
}
const char *call_raw_path(struct call *c) {
    return c->path;
}
bool call_path_has_nul(struct call *c) {
    return c->path_nul;
}
bool call_answered(struct call *c) {
    return c->reply_set || c->stream_begun || c->taken;
}
int call_status(struct call *c) {
    return !c->taken ? c->status : call_header(c, "Upgrade") ? 101 : 200;
}
int64_t call_age_ns(struct call *c) {
    return clock_mono_ns() - c->started;
}
const struct buf *call_reply_body(struct call *c) {
    return &c->reply;
}

const char *call_header(struct call *c, const char *name) {
    for (size_t i = 0; i < c->n_in; i++)
        if (strcasecmp(c->in[i].name, name) == 0)
            return c->in[i].value;
    return NULL;
}

int call_peer(struct call *c, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid) {
    if (!c->has_peer)
        return -ENODATA;
    if (ret_pid)
        *ret_pid = c->pid;
    if (ret_uid)
        *ret_uid = c->uid;
    if (ret_gid)
        *ret_gid = c->gid;
    return 0;
}

/* ---- JSON bodies ---------------------------------------------------------------------------------------------------------- */

/* What the reference says of a Content-Type: "type/subtype" followed by parameters (RFC 9110 8.3). */
static int check_json_type(struct call *c, struct err *e) {
    const char *type = call_header(c, "Content-Type");
    size_t n = type ? strcspn(type, ";") : 0;

    if (!type && c->length == 0)
        return 0;
    while (n > 0 && (type[n - 1] == ' ' || type[n - 1] == '\t'))
        n--;
    if (n == 0)
        return err_set(e, ERR_INVALID, "malformed Content-Type header (%s): mime: no media type", type ? type : "");
    if (n == strlen("application/json") && strncasecmp(type, "application/json", n) == 0)
        return 0;
    return err_set(e, ERR_INVALID, "unsupported Content-Type header (%s): must be 'application/json'", type);
}

static int read_json(struct call *c, json_t **ret, struct err *e) {
    _cleanup_buf_ struct buf whole = BUF_INIT(LIMIT_JSON_BODY);
    struct buf *text = &c->body;
    int r;

    if (!c->has_body) {
        *ret = NULL;
        return 0;
    }
    if (!c->collects) {
        r = call_body(c, &whole, e);
        if (r < 0)
            return r;
        text = &whole;
    }
    if (text->len == 0) {
        *ret = NULL;
        return 0;
    }
    return codec_parse_body(text->data, text->len, ret, e);
}

int call_json_optional(struct call *c, json_t **ret, struct err *e) {
    int r = check_json_type(c, e);

    return r < 0 ? r : read_json(c, ret, e);
}

int call_json(struct call *c, json_t **ret, struct err *e) {
    int r = call_json_optional(c, ret, e);

    if (r >= 0 && !*ret && call_body_length(c) < 0)
        return err_set(e, ERR_INVALID, "invalid JSON: got EOF while reading request body");
    return r;
}

/* ---- reply ------------------------------------------------------------------------------------------------------------------ */

/* The length of a text with its NUL; 0: it has control bytes. */
static size_t clean_length(const char *s) {
    const char *at = s;

    for (; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return 0;
    return (size_t)(at - s) + 1;
}

static bool same_name(const char *a, const char *b) {
    return (*a | 0x20) == (*b | 0x20) && strcasecmp(a, b) == 0; /* most differ in the first letter */
}

void call_set_header(struct call *c, const char *name, const char *value) {
    size_t n_name = clean_length(name), n_value = clean_length(value), i = 0;
    char *at;

    if (n_name == 0 || n_value == 0) {
        log_kv(LOG_LVL_WARN, "a reply header with control bytes was left out", "header", name, NULL);
        return;
    }
    while (i < c->n_out && !same_name(c->out[i].name, name))
        i++;
    at = i < HTTP_HEADERS_MAX ? header_memory(c, n_name + n_value) : NULL;
    if (!at)
        return;
    memcpy(at, name, n_name);
    memcpy(at + n_name, value, n_value);
    if (i < c->n_out)
        drop_header(c, &c->out[i]);
    else
        c->n_out++;
    c->out[i] = (struct http_header){at, at + n_name};
}

int call_reply_raw(struct call *c, int status, const char *content_type, struct buf *body, struct err *e) {
    int r = body ? buf_check(body, e) : 0;

    if (r < 0) {
        buf_done(body);
        return r;
    }
    if (c->stream_begun || c->taken)
        return err_set(e, ERR_INTERNAL, "a second reply to one request");
    buf_done(&c->reply);
    c->reply = BUF_INIT(LIMIT_REPLY_BYTES);
    if (body) {
        c->reply = *body;
        *body = BUF_INIT(body->max);
    }
    if (content_type)
        call_set_header(c, "Content-Type", content_type);
    c->status = status;
    c->reply_set = true;
    c->reply_none = !body;
    return 0;
}

int call_reply(struct call *c, int status, struct buf *body, struct err *e) {
    buf_addc(body, '\n');
    return call_reply_raw(c, status, "application/json", body, e);
}

int call_reply_empty(struct call *c, int status) {
    return call_reply_raw(c, status, NULL, NULL, NULL);
}

void call_reply_error(struct call *c, int status, const char *msg) {
    struct buf b = BUF_INIT(MIB(1));
    struct err e = ERR_INIT;

    if (c->stream_begun || c->taken)
        return;
    buf_adds(&b, "{\"message\":");
    codec_add_string(&b, msg, false);
    buf_adds(&b, "}");
    if (call_reply(c, status, &b, &e) < 0)
        call_reply_empty(c, status);
    err_done(&e);
}

/* ---- is the client still there? ------------------------------------------------------------------------------------------------ */

static int current_fd(struct call *c) {
    return c->out_fd >= 0 ? c->out_fd : c->conn ? c->conn->fd : -EBADF;
}

bool call_gone(struct call *c) {
    struct pollfd p = {.events = POLLRDHUP};
    bool gone;

    if (c->server->stopping)
        return true;
    pthread_mutex_lock(&c->lock);
    gone = c->aborted || (c->completed && !c->out_detached);
    if (!gone && (c->state == CALL_WORKING || c->out_detached)) {
        if (c->direct && !c->body_ended)
            p.events = 0; /* what the client has sent may still be there, though it will send no more */
        p.fd = current_fd(c);
        gone = poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
    }
    pthread_mutex_unlock(&c->lock);
    return gone;
}

static void on_gone_event(struct loop_watch *w, int fd, uint32_t events, void *data) {
    struct call *c = data;
    uint64_t one = 1;

    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        ignore_result(write(c->gone_fd, &one, sizeof(one)) < 0);
}

static int start_watch(void *data, struct err *e) {
    struct call *c = data;

    return loop_watch(c->server->loop, c->gone_watched, EPOLLRDHUP | EPOLLONESHOT, on_gone_event, c, &c->gone_watch, e);
}

static int stop_watch(void *data, struct err *e) {
    struct call *c = data;

    c->gone_watch = loop_unwatch(c->gone_watch);
    return 0;
}

/* Before the descriptor changes its owner: the number may be used again. */
void call_stop_watching(struct call *c) {
    if (c->gone_watch)
        loop_call(c->server->loop, stop_watch, c, NULL);
    if (c->gone_watched > 0)
        close_fd(c->gone_watched);
    c->gone_watched = -EBADF;
}

int call_on_gone(struct call *c, struct err *e) {
    int fd = -EBADF;

    if (c->gone_fd >= 0)
        return c->gone_fd;
    c->gone_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->gone_fd < 0)
        return err_errno(e, errno, "watching the client");
    /* A duplicate, so that the watch survives call_stream_begin() and the library closing its own. */
    pthread_mutex_lock(&c->lock);
    if (!c->completed || c->out_detached)
        fd = fcntl(current_fd(c), F_DUPFD_CLOEXEC, 3);
    pthread_mutex_unlock(&c->lock);
    c->gone_watched = fd;
    if (fd < 0 || loop_call(c->server->loop, start_watch, c, NULL) < 0) {
        uint64_t one = 1;

        ignore_result(write(c->gone_fd, &one, sizeof(one)) < 0);
    }
    return c->gone_fd;
}
