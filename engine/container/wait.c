// SPDX-License-Identifier: Apache-2.0
/*
 * POST /containers/{id}/wait. The head goes out at once; the connection then lies on the stream loop until the container gets there, so that thousands of
 * waits cost a descriptor and a few hundred bytes each.
 */
#include "api-handlers.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "container/container-internal.h"
#include "container/departed.h"
#include "wire/call.h"
#include "wire/loop.h"
#include "wire/stream.h"

struct wait_client {
    struct ctr_waiter w; /* first: the waiter is the client */
    struct container *c; /* counted */
    struct loop *loop;
    struct taken conn;
    struct stream *stream;
    int version;
    pthread_mutex_t lock; /* the members below, until the loop has begun */
    bool begun, due, gone;
    int code;
    char *error;
};

static void wait_free(struct wait_client *k) {
    stream_free(k->stream);
    taken_done(&k->conn);
    container_unref(k->c);
    pthread_mutex_destroy(&k->lock);
    free(k->error);
    free(k);
}

static int wait_text(int code, const char *error, int version, struct buf *b, struct err *e) {
    struct api_container_wait_exit_error why = {.message = (char *)error};
    struct api_container_wait_response res = {.status_code = code, .has_status_code = true, .error = error ? &why : NULL};
    int r = api_container_wait_response_write(&res, version, b, e);

    buf_addc(b, '\n');
    return r < 0 ? r : buf_check(b, e);
}

/* On the loop. */
static void wait_finish(void *data) {
    struct wait_client *k = data;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);

    if (k->stream && wait_text(k->code, k->error, k->version, &b, NULL) >= 0) {
        ignore_result(stream_write(k->stream, buf_str(&b), b.len, NULL));
        stream_end(k->stream);
        k->stream = NULL;
    }
    wait_free(k);
}

static void wait_gone(struct stream *s, void *data) {
    struct wait_client *k = data;

    k->stream = stream_free(s);
    /* When the answer is already on its way to the loop, it finds the stream gone. */
    if (container_cancel_waiter(k->c, &k->w))
        wait_free(k);
}

static void wait_begin(void *data) {
    static const struct stream_handlers handlers = {.on_gone = wait_gone};
    struct wait_client *k = data;
    bool due;

    if (stream_new(k->loop, &k->conn, STREAM_CHUNKED, 0, &handlers, k, &k->stream, NULL) < 0)
        k->stream = NULL;
    pthread_mutex_lock(&k->lock);
    k->begun = true;
    due = k->due;
    pthread_mutex_unlock(&k->lock);
    if (due)
        wait_finish(k);
    else if (!k->stream && container_cancel_waiter(k->c, &k->w))
        wait_free(k);
}

/* From the thread that made the change. */
static void wait_done(struct ctr_waiter *w, int exit_code, const char *error) {
    struct wait_client *k = (struct wait_client *)w;
    bool begun;

    pthread_mutex_lock(&k->lock);
    k->code = exit_code;
    k->error = error ? strdup(error) : NULL;
    k->due = true;
    begun = k->begun;
    pthread_mutex_unlock(&k->lock);
    if (begun && loop_post(k->loop, wait_finish, k, NULL) < 0)
        wait_free(k); /* the loop has stopped: nobody else knows it */
}

static int condition_of(const char *text, enum ctr_wait *ret, struct err *e) {
    if (str_empty(text) || streq(text, "not-running"))
        *ret = CTR_WAIT_NOT_RUNNING;
    else if (streq(text, "next-exit"))
        *ret = CTR_WAIT_NEXT_EXIT;
    else if (streq(text, "removed"))
        *ret = CTR_WAIT_REMOVED;
    else
        return err_set(e, ERR_INVALID, "invalid condition: \"%s\"", text);
    return 0;
}

static int wait_on_loop(struct call *call, struct container *c, enum ctr_wait condition, struct err *e) {
    struct wait_client *k = calloc(1, sizeof(*k));
    struct err ignored = ERR_INIT;
    int r;

    if (!k)
        return err_oom(e);
    k->conn = TAKEN_INIT;
    k->c = container_ref(c);
    k->loop = call_loop(call);
    k->version = call_api_version(call);
    k->w.condition = condition;
    k->w.done = wait_done;
    pthread_mutex_init(&k->lock, NULL);
    r = call_take(call, &k->conn, e);
    if (r < 0) {
        wait_free(k);
        return r;
    }
    /* First registered, then told: a client that starts the container on seeing the head must not miss its exit. */
    container_add_waiter(c, &k->w);
    ignore_result(taken_write_head(&k->conn, TAKEN_CHUNKED, "application/json", &ignored));
    err_done(&ignored);
    if (loop_post(k->loop, wait_begin, k, NULL) < 0 && container_cancel_waiter(c, &k->w))
        wait_free(k);
    return 0;
}

/* It ran with AutoRemove and is gone, but not for long: whatever was waited for has come. */
static int tell_departed(struct call *call, int code, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);
    int r = wait_text(code, NULL, call_api_version(call), &b, e);

    return r < 0 ? r : call_reply_raw(call, 200, "application/json", &b, e);
}

int op_container_wait(struct call *call, struct err *e) {
    _cleanup_(q_container_wait_done) struct q_container_wait q = {0};
    _cleanup_container_ struct container *c = NULL;
    enum ctr_wait condition = CTR_WAIT_NOT_RUNNING;
    struct containers *cs = call_engine(call)->containers;
    int code, r = q_container_wait_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = condition_of(q.condition, &condition, e);
    if (r < 0)
        return r;
    r = containers_find(cs, call_path(call, "id"), &c, e);
    if (r == -ERR_NOT_FOUND && departed_find(cs->departed, call_path(call, "id"), clock_mono_ns(), &code)) {
        err_done(e);
        return tell_departed(call, code, e);
    }
    if (r < 0)
        return r;
    return wait_on_loop(call, c, condition, e);
}
