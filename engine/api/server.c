// SPDX-License-Identifier: Apache-2.0
#include "api/server.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "api-table.h"
#include "api/router.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/engine.h"
#include "base/log.h"
#include "base/str.h"
#include "validate.h"
#include "wire/call.h"
#include "wire/http.h"
#include "wire/listen.h"
#include "wire/tls.h"
#include "wire/uri.h"

#define SLOW_NS (1 * NSEC_PER_SEC)

struct server {
    struct engine *engine;
    const struct api_operation *table;
    size_t n_table;
    server_fast_fn fast; /* or NULL */
    struct http_server *http;
    struct strv sockets; /* files of our unix sockets */
    struct tls_front **fronts;
    size_t n_fronts;
    char *server_header;
    bool validate;
    atomic_uint_fast64_t requests;
};

/* ---- what is answered without an operation ------------------------------------------------------------------------------------ */

static int answer_not_found(struct call *c, struct err *e) {
    return err_set(e, ERR_NOT_FOUND, "page not found");
}

static int answer_options(struct call *c, struct err *e) {
    return call_reply_empty(c, 200);
}

static int answer_redirect(struct call *c, struct err *e) {
    _cleanup_free_ char *clean = uri_clean_path(call_raw_path(c));
    _cleanup_free_ char *path = clean ? uri_encode_path(clean) : NULL;
    _cleanup_free_ char *location = path ? str_printf("%s%s%s", path, *call_query(c) ? "?" : "", call_query(c)) : NULL;

    if (!location)
        return err_oom(e);
    call_set_header(c, "Location", location);
    return call_reply_empty(c, 301);
}

static int answer_too_old(struct call *c, struct err *e) {
    return err_set(e, ERR_INVALID,
                   "client version %s is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version",
                   call_path(c, "version"));
}

static int answer_too_new(struct call *c, struct err *e) {
    return err_set(e, ERR_INVALID, "client version %s is too new. Maximum supported API version is 1.45", call_path(c, "version"));
}

static const struct api_operation special[] = {
    [ROUTE_NOT_FOUND] = {.id = "", .handler = answer_not_found}, [ROUTE_OPTIONS] = {.id = "", .handler = answer_options},
    [ROUTE_REDIRECT] = {.id = "", .handler = answer_redirect},   [ROUTE_TOO_OLD] = {.id = "", .handler = answer_too_old},
    [ROUTE_TOO_NEW] = {.id = "", .handler = answer_too_new},
};

/* ---- hooks of the HTTP server ----------------------------------------------------------------------------------------------------- */

static void route(struct call *c, struct http_route *ret, void *data) {
    struct server *s = data;
    struct route r = {.version = API_VERSION_MAX};
    enum route_result what = call_path_has_nul(c) ? ROUTE_NOT_FOUND : router_match(s->table, s->n_table, call_method(c), call_raw_path(c), &r);
    bool asterisk = streq(call_method(c), "OPTIONS") && streq(call_raw_path(c), "*"); /* about the server as a whole (RFC 9110 9.3.7) */
    const struct api_operation *op = asterisk ? &special[ROUTE_OPTIONS] : what == ROUTE_FOUND ? r.op : &special[what];

    ret->op = op;
    ret->op_id = op->id;
    ret->api_version = r.version;
    call_set_header(c, "X-Hatake-Trace", call_trace(c));
    if (what == ROUTE_TOO_OLD || what == ROUTE_TOO_NEW)
        ret->variable = strndup(r.version_text, r.version_n);
    else if (r.variable)
        ret->variable = strndup(r.variable, r.variable_n);
    /* The headers of the reference: none where no route matched, no Docker-Experimental where the version was refused. */
    if (what != ROUTE_NOT_FOUND && what != ROUTE_REDIRECT) {
        call_set_header(c, "Api-Version", "1.45");
        if (what == ROUTE_FOUND || what == ROUTE_OPTIONS)
            call_set_header(c, "Docker-Experimental", s->engine->config && s->engine->config->experimental ? "true" : "false");
        call_set_header(c, "Ostype", "linux");
        call_set_header(c, "Server", s->server_header);
    }
    if (what != ROUTE_FOUND || !op->handler || (s->fast && s->fast(s->engine, op, call_query(c)))) {
        ret->exec = HTTP_INLINE;
        return;
    }
    ret->exec = op->stream == API_STREAM_NONE && streq(op->method, "GET") ? HTTP_QUICK : HTTP_LONG;
    ret->collect = op->body;
    ret->bare = streq(op->id, "ContainerAttach");
}

/* Trace builds and tests: is the reply what spec/ promises? */
static void check_schema(struct call *c, const struct api_operation *op) {
    const struct buf *b = call_reply_body(c);
    _cleanup_err_ struct err e = ERR_INIT;
    json_t *body = NULL;
    json_error_t why;
    int status = call_status(c);

    /* Streams are checked where they are made; texts ("OK" of ping) are no JSON; whether an answer may be empty, the recorded ones tell. */
    if (!*op->id || call_stream_begun(c) || b->len == 0 || (*b->data != '{' && *b->data != '['))
        return;
    body = json_loadb(b->data, b->len, JSON_DECODE_ANY, &why);
    if (!body && json_error_code(&why) == json_error_numeric_overflow)
        return; /* integers above INT64_MAX are fine for clients, and too much for this parser */
    if (!body)
        log_msg(LOG_LVL_ERROR, "schema: %s %d: the reply is no JSON", op->id, status);
    else if (api_validate_response(op->id, status, body, &e) < 0)
        log_msg(LOG_LVL_ERROR, "schema: %s %d: %s", op->id, status, err_msg(&e));
    json_decref(body);
}

static void log_request(struct call *c, const struct api_operation *op, const struct err *e) {
    int64_t ns = call_age_ns(c);
    int status = call_status(c);
    enum log_level level = status >= 500 && status != 501 ? LOG_LVL_ERROR : ns > SLOW_NS ? LOG_LVL_INFO : LOG_LVL_DEBUG;
    char ms[32], code[16];

    if (!log_enabled(level))
        return;
    snprintf(ms, sizeof(ms), "%" PRId64 ".%03d", ns / NSEC_PER_MSEC, (int)(ns % NSEC_PER_MSEC / 1000));
    snprintf(code, sizeof(code), "%d", status);
    log_kv(level, "request", "method", call_method(c), "path", call_raw_path(c), "operation", *op->id ? op->id : NULL, "status", code, "ms", ms,
           "error", e->kind != ERR_NONE ? err_msg(e) : NULL, NULL);
}

/* Operations of which the reference looks at single parameters only, without parsing the query as a whole. */
static bool lax_query(const struct api_operation *op) {
    static const char *const lax[] = {"ContainerInspect", "ImageBuild",   "VolumeUpdate", "NodeUpdate", "ServiceUpdate",
                                      "ServiceInspect",   "SecretUpdate", "ConfigUpdate", "SwarmUpdate"};

    for (size_t i = 0; i < ELEMENTSOF(lax); i++)
        if (streq(op->id, lax[i]))
            return true;
    return !op->query || !op->query[0];
}

static void answer_error(struct call *c, const struct api_operation *op, int status, const char *msg) {
    _cleanup_taken_ struct taken t = TAKEN_INIT;

    if (status == 304) {
        call_reply_empty(c, 304);
        return;
    }
    /* The reference hijacks first and looks for the container then: attach clients get this form of failure. */
    if (streq(op->id, "ContainerAttach") && op->handler && call_take(c, &t, NULL) >= 0) {
        taken_write_failure(&t, status, msg);
        return;
    }
    call_reply_error(c, status, msg);
}

static void run(struct call *c, void *data) {
    struct server *s = data;
    const struct api_operation *op = call_op(c);
    _cleanup_err_ struct err e = ERR_INIT;
    int r;

    s->requests++;
    if (!op->handler)
        r = err_set(&e, ERR_NOT_IMPLEMENTED, "%s is not implemented by this engine yet", op->id);
    else if (!lax_query(op) && uri_check_query(call_query(c), &e) < 0)
        r = -ERR_INVALID;
    else
        r = op->handler(c, &e);
    if (r < 0) {
        int status = router_status(e.kind != ERR_NONE ? e.kind : (enum err_kind) - r);

        if (call_stream_begun(c))
            call_stream_end(c, NULL);
        else
            answer_error(c, op, status, err_msg(&e));
    } else if (!call_answered(c)) {
        call_reply_error(c, 500, "the handler gave no answer");
    }
    if (s->validate)
        check_schema(c, op);
    log_request(c, op, &e);
}

/* ---- life ----------------------------------------------------------------------------------------------------------------------------- */

int server_new_with(struct engine *engine, const struct api_operation *table, size_t n, server_fast_fn fast, struct server **ret, struct err *e) {
    struct server *s = calloc(1, sizeof(*s));
    const char *v = getenv("HATAKE_VALIDATE");
    struct http_hooks hooks = {.data = s, .route = route, .run = run};
    int r;

    if (!s)
        return err_oom(e);
    s->engine = engine;
    s->table = table;
    s->n_table = n;
    s->fast = fast;
    s->validate = v && streq(v, "1");
    s->server_header = str_printf("Docker/%s (linux)", engine->version ? engine->version : "26.1.5");
    r = s->server_header ? http_new(engine, engine->loop, &hooks, NULL, &s->http, e) : err_oom(e);
    if (r < 0) {
        server_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

int server_listen_fd(struct server *s, int fd, struct err *e) {
    return http_listen(s->http, HTTP_LISTEN_PLAIN, fd, NULL, e);
}

int server_listen_unix(struct server *s, const char *path, gid_t gid, mode_t mode, struct err *e) {
    _cleanup_close_ int fd = -EBADF;
    int r = listen_unix(path, gid, mode, &fd, e);

    if (r >= 0 && strv_add(&s->sockets, path) < 0)
        r = err_oom(e);
    if (r >= 0)
        r = server_listen_fd(s, fd, e);
    if (r >= 0)
        fd = -EBADF;
    return r;
}

static int add_front(struct server *s, int fd, const struct server_tls *tls, struct err *e) {
    struct tls_config cfg = {.ca = tls->ca, .cert = tls->cert, .key = tls->key, .verify = tls->verify};
    struct tls_front **more = reallocarray(s->fronts, s->n_fronts + 1, sizeof(*more));
    struct http_listener *l;
    int r;

    if (!more)
        return err_oom(e);
    s->fronts = more;
    r = http_listen(s->http, HTTP_LISTEN_FED, -1, &l, e);
    if (r >= 0)
        r = tls_front_new(&cfg, fd, l, &s->fronts[s->n_fronts], e);
    if (r >= 0)
        s->n_fronts++;
    return r;
}

int server_listen_tcp(struct server *s, const char *address, const struct server_tls *tls, struct err *e) {
    struct listen_fds fds = {0};
    int r = listen_tcp(address, &fds, e);

    for (size_t i = 0; i < fds.n && r >= 0; i++) {
        r = tls ? add_front(s, fds.fd[i], tls, e) : server_listen_fd(s, fds.fd[i], e);
        if (r >= 0)
            fds.fd[i] = -EBADF;
    }
    for (size_t i = 0; i < fds.n; i++)
        close_fd(fds.fd[i]);
    return r;
}

int server_listen_passed(struct server *s, const char *which, struct err *e) {
    struct listen_fds fds = {0};
    int r = listen_passed(which, &fds, e);

    for (size_t i = 0; i < fds.n && r >= 0; i++) {
        r = server_listen_fd(s, fds.fd[i], e);
        if (r >= 0)
            fds.fd[i] = -EBADF;
    }
    for (size_t i = 0; i < fds.n; i++)
        close_fd(fds.fd[i]);
    return r;
}

bool server_stop(struct server *s, int64_t timeout_ns) {
    bool ended;

    for (size_t i = 0; i < s->n_fronts; i++)
        tls_front_stop(s->fronts[i]);
    ended = http_stop(s->http, timeout_ns);
    for (size_t i = 0; i < s->sockets.n; i++)
        unlink(s->sockets.v[i]);
    return ended;
}

struct server *server_free(struct server *s) {
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->n_fronts; i++)
        tls_front_free(s->fronts[i]);
    free(s->fronts);
    http_free(s->http);
    strv_done(&s->sockets);
    free(s->server_header);
    free(s);
    return NULL;
}

uint64_t server_requests(const struct server *s) {
    return s->requests;
}
