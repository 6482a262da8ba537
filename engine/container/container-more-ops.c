// SPDX-License-Identifier: Apache-2.0
/* The HTTP face of what is learned from and done to containers besides their life cycle. */
#include "api-handlers.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/more.h"
#include "layers/layers.h"
#include "wire/call.h"

static int find(struct call *call, struct container **ret, struct err *e) {
    return containers_find(call_engine(call)->containers, call_path(call, "id"), ret, e);
}

/* ---- top --------------------------------------------------------------------------------------------------------------------------------- */
int op_container_top(struct call *call, struct err *e) {
    _cleanup_(q_container_top_done) struct q_container_top q = {0};
    _cleanup_(api_container_top_response_done) struct api_container_top_response res = {0};
    _cleanup_container_ struct container *c = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_REPLY_BYTES);
    int r = q_container_top_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = ctr_top_check(q.ps_args ? q.ps_args : "", e);
    if (r >= 0)
        r = find(call, &c, e);
    if (r >= 0)
        r = container_top(c, q.ps_args, &res, e);
    if (r >= 0)
        r = api_container_top_response_write(&res, call_api_version(call), &b, e);
    return r < 0 ? r : call_reply(call, 200, &b, e);
}

/* ---- changes ----------------------------------------------------------------------------------------------------------------------------- */
static int add_change(void *arg, const char *path, int kind, struct err *e) {
    struct api_filesystem_change *c = api_filesystem_change_list_add(arg);

    if (!c)
        return err_oom(e);
    c->path = strdup(path);
    c->kind = kind;
    c->has_kind = true;
    return c->path ? 0 : err_oom(e);
}

int op_container_changes(struct call *call, struct err *e) {
    _cleanup_(api_filesystem_change_list_done) struct api_filesystem_change_list list = {0};
    _cleanup_container_ struct container *c = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_REPLY_BYTES);
    int r = find(call, &c, e);

    if (r >= 0)
        r = layers_container_changes(call_engine(call)->layers, container_id(c), add_change, &list, e);
    if (r >= 0)
        r = api_filesystem_change_list_write(&list, call_api_version(call), &b, e);
    return r < 0 ? r : call_reply(call, 200, &b, e);
}

/* ---- files ------------------------------------------------------------------------------------------------------------------------------- */
struct transfer {
    struct call *call;
    const char *type;
};

static int64_t pull_body(void *arg, const void **ret_p, struct err *e) {
    return call_body_next(((struct transfer *)arg)->call, ret_p, e);
}

static int lend_body(void *arg, struct body_lent *ret, struct err *e) {
    return call_body_lend(((struct transfer *)arg)->call, ret, e);
}

static void take_back_body(void *arg, bool whole) {
    call_body_returned(((struct transfer *)arg)->call, whole);
}

static bool client_gone(void *arg) {
    return call_gone(((struct transfer *)arg)->call);
}

static void add_base64(struct buf *b, const unsigned char *p, size_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3) {
        unsigned v = (unsigned)p[i] << 16 | (i + 1 < n ? (unsigned)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);

        buf_addc(b, digits[v >> 18]);
        buf_addc(b, digits[v >> 12 & 63]);
        buf_addc(b, i + 1 < n ? digits[v >> 6 & 63] : '=');
        buf_addc(b, i + 2 < n ? digits[v & 63] : '=');
    }
}

static int show_stat(void *arg, const struct ctr_path_stat *st, struct err *e) {
    struct transfer *t = arg;
    _cleanup_buf_ struct buf json = BUF_INIT(KIB(64)), text = BUF_INIT(KIB(96));
    char when[CLOCK_TEXT_MAX];

    clock_format(st->mtime, when);
    buf_adds(&json, "{\"name\":");
    buf_add_json_string(&json, st->name);
    buf_addf(&json, ",\"size\":%lld,\"mode\":%lld,\"mtime\":\"%s\",\"linkTarget\":", (long long)st->size, (long long)st->mode, when);
    buf_add_json_string(&json, st->target);
    buf_addc(&json, '}');
    if (!buf_ok(&json))
        return buf_check(&json, e);
    add_base64(&text, (const unsigned char *)json.data, json.len);
    if (!buf_ok(&text))
        return buf_check(&text, e);
    call_set_header(t->call, "X-Docker-Container-Path-Stat", text.data);
    return 0;
}

static int begin(struct transfer *t, struct err *e) {
    return call_stream_begun(t->call) ? 0 : call_stream_begin(t->call, 200, t->type, e);
}

static int send_piece(void *arg, const void *p, size_t n, struct err *e) {
    struct transfer *t = arg;
    int r = begin(t, e);

    return r < 0 ? r : call_stream_write(t->call, p, n, e);
}

static int pass_piece(void *arg, int pipe, size_t n, struct err *e) {
    struct transfer *t = arg;
    int r = begin(t, e);

    return r < 0 ? r : call_stream_pass(t->call, pipe, n, e);
}

static int transfer(struct call *call, enum ctr_files what, const struct ctr_files_options *o, const char *type, struct err *e) {
    _cleanup_container_ struct container *c = NULL;
    struct transfer t = {.call = call, .type = type};
    struct ctr_files_io io = {.pull = pull_body,
                              .lend = lend_body,
                              .returned = take_back_body,
                              .stat = show_stat,
                              .piece = send_piece,
                              .pass = pass_piece,
                              .gone = client_gone,
                              .arg = &t};
    int r;

    if (what != CTR_FILES_EXPORT && str_empty(o->path))
        return err_set(e, ERR_INVALID, "bad parameter: pathcannot be empty");
    r = find(call, &c, e);
    if (r >= 0)
        r = container_files(c, what, o, &io, e);
    if (r < 0)
        return r;
    return call_stream_begun(call) ? call_stream_end(call, e) : call_reply_empty(call, 200);
}

int op_container_export(struct call *call, struct err *e) {
    struct ctr_files_options o = {.path = "/", .shown = call_path(call, "id")};

    return transfer(call, CTR_FILES_EXPORT, &o, "application/octet-stream", e);
}

int op_container_archive_info(struct call *call, struct err *e) {
    _cleanup_(q_container_archive_info_done) struct q_container_archive_info q = {0};
    struct ctr_files_options o = {.shown = call_path(call, "id")};
    int r = q_container_archive_info_read(&q, call_query(call), call_api_version(call), e);

    o.path = q.path;
    return r < 0 ? r : transfer(call, CTR_FILES_STAT, &o, NULL, e);
}

int op_container_archive(struct call *call, struct err *e) {
    _cleanup_(q_container_archive_done) struct q_container_archive q = {0};
    struct ctr_files_options o = {.shown = call_path(call, "id")};
    int r = q_container_archive_read(&q, call_query(call), call_api_version(call), e);

    o.path = q.path;
    o.exact = q.hatake_exact;
    return r < 0 ? r : transfer(call, CTR_FILES_GET, &o, "application/x-tar", e);
}

int op_put_container_archive(struct call *call, struct err *e) {
    _cleanup_(q_put_container_archive_done) struct q_put_container_archive q = {0};
    struct ctr_files_options o = {.shown = call_path(call, "id")};
    int r = q_put_container_archive_read(&q, call_query(call), call_api_version(call), e);

    o.path = q.path;
    o.keep_kind = q.no_overwrite_dir_non_dir;
    o.own = q.copy_uidgid;
    o.exact = q.hatake_exact;
    return r < 0 ? r : transfer(call, CTR_FILES_PUT, &o, NULL, e);
}
