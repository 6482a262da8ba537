// SPDX-License-Identifier: Apache-2.0
/* POST /containers/{id}/attach: the client's descriptor goes to the monitor, now or at the start. */
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "api-handlers.h"
#include "base/clock.h"
#include "base/str.h"
#include "container/attach.h"
#include "container/keys.h"
#include "container/life.h"
#include "container/logs.h"
#include "monitor/client.h"
#include "wire/call.h"
#include "wire/stdcopy.h"

#define MULTIPLEXED_SINCE 142
#define REPLAY_AT_ONCE 65536       /* bytes of log that fit into a connection's buffers */
#define ATTACH_WAIT (NSEC_PER_SEC) /* for a client whose reply is out and whose descriptor is not yet where it belongs */

const char *ctr_stream_type(bool tty, int version) {
    return tty || version < MULTIPLEXED_SINCE ? "application/vnd.docker.raw-stream" : "application/vnd.docker.multiplexed-stream";
}

static int give_to_monitor(struct monitor *m, struct ctr_client *k, struct err *e) {
    struct launch_attach a = {.fd = k->fd,
                              .early = k->early,
                              .n_early = k->n_early,
                              .want_stdin = k->in,
                              .want_stdout = k->out,
                              .want_stderr = k->err,
                              .framed = k->framed,
                              .keys = k->keys};
    int r = monitor_attach(m, &a, e);

    k->fd = -EBADF; /* the monitor's in every case */
    ctr_client_free(k);
    return r;
}

int container_attach_client(struct container *c, struct ctr_client *k, struct err *e) {
    _cleanup_monitor_ struct monitor *m = NULL;

    pthread_mutex_lock(&c->lock);
    if (c->monitor) {
        m = monitor_ref(c->monitor);
    } else if (!c->gone) {
        struct ctr_client **p = &c->clients;

        while (*p)
            p = &(*p)->next;
        *p = k;
        k = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    if (m)
        return give_to_monitor(m, k, e);
    ctr_client_free(k);
    return 0;
}

int ctr_attach_allowed(const struct ctr_view *v, const char *asked, struct err *e) {
    if (v->state == ctr_paused)
        return err_set(e, ERR_CONFLICT, "container %s is paused, unpause the container before attach", asked);
    if (v->state == ctr_restarting)
        return err_set(e, ERR_CONFLICT, "container %s is restarting, wait until the container is running", asked);
    return 0;
}

int ctr_attach_keys(const char *text, struct launch_keys *ret, struct err *e) {
    if (str_empty(text) || ctr_keys_parse(text, ret) >= 0)
        return 0;
    return err_set(e, ERR_INVALID, "Invalid detach keys (%s) provided", text);
}

void ctr_attaching_wait(struct container *c) {
    int64_t deadline = clock_mono_ns() + ATTACH_WAIT;
    struct timespec ts = {.tv_sec = deadline / NSEC_PER_SEC, .tv_nsec = deadline % NSEC_PER_SEC};

    while (c->attaching > 0 && pthread_cond_timedwait(&c->change, &c->lock, &ts) != ETIMEDOUT)
        continue;
}

void ctr_attaching_begin(struct container *c) {
    pthread_mutex_lock(&c->lock);
    ctr_attaching_wait(c); /* who sees our reply may send input whose echo an earlier client, its own reply in hand, expects */
    c->attaching++;
    pthread_mutex_unlock(&c->lock);
}

void ctr_attaching_end(struct container *c) {
    pthread_mutex_lock(&c->lock);
    if (--c->attaching == 0)
        pthread_cond_broadcast(&c->change);
    pthread_mutex_unlock(&c->lock);
}

static int replay(struct container *c, const struct ctr_view *v, const struct ctr_attach_want *want, int fd, struct err *e) {
    struct ctr_log_request req = {.path = v->fixed->log_file, .out = want->out, .err = want->err, .framed = want->framed, .tail = -1};
    struct stat st;
    bool slow = stat(req.path, &st) == 0 && st.st_size > REPLAY_AT_ONCE;
    int r;

    if (slow) /* as long as the client likes: others do not wait for that */
        ctr_attaching_end(c);
    r = ctr_log_copy(&req, fd, e);
    if (slow)
        ctr_attaching_begin(c);
    return r;
}

/* A log that is asked for and cannot be read ends the session with a word about it, which comes as output. */
static void refuse_replay(const struct ctr_view *v, const struct ctr_attach_want *want, int fd) {
    bool none = streq(v->fixed->host.log_config->type, "none");
    char text[256];
    uint8_t frame[STDCOPY_HEADER];
    int n = snprintf(
        text, sizeof(text), "Error attaching: %s\n",
        none ? "failed to get logging factory: logger: no log driver named 'none' is registered: error looking up logging plugin none: plugin "
               "\"none\" not found"
             : "configured logging driver does not support reading");
    struct iovec iov[2] = {{frame, sizeof(frame)}, {text, (size_t)n}};
    struct msghdr msg = {.msg_iov = want->framed ? iov : iov + 1, .msg_iovlen = want->framed ? 2 : 1};

    stdcopy_encode(frame, STDCOPY_STDOUT, (uint32_t)n);
    ignore_result(sendmsg(fd, &msg, MSG_NOSIGNAL));
}

int ctr_attach_serve(struct container *c, const struct ctr_view *v, const struct ctr_attach_want *want, struct taken *t, struct err *e) {
    struct ctr_client *k;

    if (want->logs && str_empty(v->fixed->log_file)) {
        refuse_replay(v, want, t->fd);
        return 0;
    }
    if (want->logs && replay(c, v, want, t->fd, e) < 0)
        return 0;
    container_event(c, "attach", NULL);
    if (!want->stream || (!want->in && !want->out && !want->err))
        return 0;
    k = calloc(1, sizeof(*k));
    if (!k)
        return 0;
    k->fd = TAKE_FD(t->fd);
    k->early = TAKE_PTR(t->early);
    k->n_early = t->n_early;
    t->n_early = 0;
    k->in = want->in && v->fixed->config.has_open_stdin && v->fixed->config.open_stdin;
    k->out = want->out;
    k->err = want->err;
    k->framed = want->framed;
    k->keys = want->keys;
    return container_attach_client(c, k, e);
}

int op_container_attach(struct call *call, struct err *e) {
    _cleanup_(q_container_attach_done) struct q_container_attach q = {0};
    _cleanup_container_ struct container *c = NULL;
    _cleanup_view_ struct ctr_view *v = NULL;
    _cleanup_taken_ struct taken t = TAKEN_INIT;
    struct launch_keys keys = {0};
    _cleanup_err_ struct err late = ERR_INIT;
    bool tty;
    int r = q_container_attach_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = ctr_attach_keys(q.detach_keys, &keys, e);
    if (r >= 0)
        r = containers_find(call_engine(call)->containers, call_path(call, "id"), &c, e);
    if (r < 0)
        return r;
    v = container_view(c);
    r = ctr_attach_allowed(v, call_path(call, "id"), e);
    if (r >= 0)
        r = call_take(call, &t, e);
    if (r < 0)
        return r;
    tty = v->fixed->config.has_tty && v->fixed->config.tty;
    struct ctr_attach_want want = {.logs = q.logs, .stream = q.stream, .in = q.stdin, .out = q.stdout, .err = q.stderr, .framed = !tty, .keys = keys};
    /* The connection is ours now: nothing below is an answer any more. */
    ctr_attaching_begin(c);
    if (taken_write_head(&t, TAKEN_HIJACK, ctr_stream_type(tty, call_api_version(call)), &late) >= 0)
        ignore_result(ctr_attach_serve(c, v, &want, &t, &late));
    ctr_attaching_end(c);
    return 0;
}
