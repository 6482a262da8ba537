// SPDX-License-Identifier: Apache-2.0
/* The HTTP face of exec: create, start, inspect, resize. */
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "api-handlers.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/logs.h"
#include "exec/exec-internal.h"
#include "wire/call.h"
#include "wire/stdcopy.h"

static struct execs *all_of(struct call *call) {
    return call_engine(call)->execs;
}

int op_container_exec(struct call *call, struct err *e) {
    struct api_exec_create_request want = {0};
    _cleanup_container_ struct container *c = NULL;
    _cleanup_exec_ struct exec *x = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);
    struct api_id_response res = {0};
    json_t *body = NULL;
    int r = call_json(call, &body, e);

    if (r >= 0 && body)
        r = api_exec_create_request_read(&want, body, NULL, e);
    json_decref(body);
    if (r >= 0 && want.cmd.n == 0)
        r = err_set(e, ERR_INVALID, "No exec command specified");
    if (r >= 0)
        r = containers_find(call_engine(call)->containers, call_path(call, "id"), &c, e);
    if (r >= 0)
        r = execs_create(all_of(call), c, call_path(call, "id"), &want, &x, e);
    api_exec_create_request_done(&want);
    if (r < 0)
        return r;
    res.id = x->id;
    r = api_id_response_write(&res, call_api_version(call), &b, e);
    return r < 0 ? r : call_reply(call, 201, &b, e);
}

/* ---- start ----------------------------------------------------------------------------------------------------------------------------- */
static void size_of(const struct exec *x, const struct api_exec_start_request *req, int *rows, int *cols) {
    const struct api_int_list *l = req->console_size.n == 2 ? &req->console_size : &x->want.console_size;

    *rows = l->n == 2 ? (int)l->v[0] : 0;
    *cols = l->n == 2 ? (int)l->v[1] : 0;
}

/* After the head an error can only be told in the stream itself. */
static void tell_in_stream(int fd, bool framed, const char *text) {
    _cleanup_buf_ struct buf line = BUF_INIT(KIB(64)), b = BUF_INIT(KIB(128));

    buf_addf(&line, "%s\r\n", text);
    if (framed)
        stdcopy_add(&b, STDCOPY_STDOUT, buf_str(&line), line.len);
    else
        buf_add(&b, buf_str(&line), line.len);
    ignore_result(full_write(fd, buf_str(&b), b.len));
}

static int start_attached(struct call *call, struct exec *x, const struct api_exec_start_request *req, struct err *e) {
    _cleanup_taken_ struct taken t = TAKEN_INIT;
    _cleanup_err_ struct err late = ERR_INIT;
    _cleanup_close_ int spare = -EBADF;
    struct launch_attach client = {.fd = -EBADF};
    bool raw = req->has_tty && req->tty; /* what the caller of the start says decides the framing, whatever the process has */
    int rows, cols, r = call_take(call, &t, e);

    if (r < 0)
        return r;
    if (taken_write_head(&t, TAKEN_HIJACK, ctr_stream_type(raw, call_api_version(call)), &late) < 0)
        return 0;
    size_of(x, req, &rows, &cols);
    r = exec_claim(all_of(call), x, &late);
    if (r >= 0) {
        /* The monitor closes what it was given, also on failure; our copy carries the message then. */
        spare = fcntl(t.fd, F_DUPFD_CLOEXEC, 3);
        client = (struct launch_attach){.fd = t.fd,
                                        .early = t.early,
                                        .n_early = t.n_early,
                                        .want_stdin = x->want.attach_stdin,
                                        .want_stdout = x->want.attach_stdout,
                                        .want_stderr = x->want.attach_stderr && !raw,
                                        .framed = !raw,
                                        .keys = x->keys};
        r = exec_run(all_of(call), x, &client, rows, cols, &late);
        if (client.fd < 0)
            t.fd = -EBADF;
    } else {
        spare = fcntl(t.fd, F_DUPFD_CLOEXEC, 3);
    }
    if (r < 0 && spare >= 0)
        tell_in_stream(spare, !raw, err_msg(&late));
    return 0;
}

int op_exec_start(struct call *call, struct err *e) {
    struct api_exec_start_request req = {0};
    _cleanup_exec_ struct exec *x = NULL;
    json_t *body = NULL;
    bool attached;
    int rows, cols, r = call_json(call, &body, e);

    if (r >= 0 && body)
        r = api_exec_start_request_read(&req, body, NULL, e);
    json_decref(body);
    if (r >= 0)
        r = execs_find(all_of(call), call_path(call, "id"), &x, e);
    if (r >= 0) {
        attached = !req.detach;
        if (attached) {
            r = start_attached(call, x, &req, e);
        } else {
            r = exec_claim(all_of(call), x, e);
            size_of(x, &req, &rows, &cols);
            if (r >= 0)
                r = exec_run(all_of(call), x, NULL, rows, cols, e);
            if (r >= 0)
                r = call_reply_empty(call, 200);
        }
    }
    api_exec_start_request_done(&req);
    return r;
}

/* ---- inspect, resize ------------------------------------------------------------------------------------------------------------------- */
int op_exec_inspect(struct call *call, struct err *e) {
    _cleanup_exec_ struct exec *x = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JSON_BODY);
    struct execs *xs = all_of(call);
    unsigned char keys[128] = "";
    int r = execs_find(xs, call_path(call, "id"), &x, e);

    if (r < 0)
        return r;
    exec_settle(xs, x);
    EVP_EncodeBlock(keys, (const unsigned char *)x->keys.v, (int)x->keys.n);
    struct api_process_config pc = {.tty = x->want.tty,
                                    .has_tty = true,
                                    .entrypoint = x->want.cmd.v[0],
                                    .arguments = {.n = x->want.cmd.n - 1, .v = x->want.cmd.v + 1, .set = true},
                                    .privileged = x->want.privileged,
                                    .has_privileged = true,
                                    .user = x->want.user};
    struct api_exec_inspect_response res = {.id = x->id,
                                            .has_running = true,
                                            .process_config = &pc,
                                            .open_stdin = x->want.attach_stdin,
                                            .has_open_stdin = true,
                                            .open_stderr = x->want.attach_stderr,
                                            .has_open_stderr = true,
                                            .open_stdout = x->want.attach_stdout,
                                            .has_open_stdout = true,
                                            .has_can_remove = true,
                                            .container_id = (char *)container_id(x->c),
                                            .detach_keys = (char *)keys,
                                            .has_pid = true};

    pthread_mutex_lock(&xs->lock);
    res.running = x->state == EXEC_RUNNING;
    res.has_exit_code = x->has_exit_code;
    res.exit_code = x->exit_code;
    res.pid = x->pid;
    pthread_mutex_unlock(&xs->lock);
    r = api_exec_inspect_response_write(&res, call_api_version(call), &b, e);
    return r < 0 ? r : call_reply(call, 200, &b, e);
}

int op_exec_resize(struct call *call, struct err *e) {
    _cleanup_(q_exec_resize_done) struct q_exec_resize q = {0};
    _cleanup_exec_ struct exec *x = NULL;
    int r = q_exec_resize_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = execs_find(all_of(call), call_path(call, "id"), &x, e);
    if (r >= 0)
        r = exec_resize(all_of(call), x, (int)q.h, (int)q.w, e);
    return r < 0 ? r : call_reply_empty(call, 200);
}
