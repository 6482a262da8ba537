// SPDX-License-Identifier: Apache-2.0
/* HTTP face of the section System. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api-handlers.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/engine.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "kern/proc.h"
#include "registry/registry.h"
#include "system/events.h"
#include "system/system.h"
#include "types.h"
#include "wire/call.h"
#include "wire/codec.h"
#include "wire/filters.h"

/* How long after its start a client may come and still be told all since then. */
#define EVENTS_HEAD_START_NS (2 * NSEC_PER_SEC)

static void ping_headers(struct call *c) {
    call_set_header(c, "Builder-Version", "1");
    call_set_header(c, "Cache-Control", "no-cache, no-store, must-revalidate");
    call_set_header(c, "Pragma", "no-cache");
    call_set_header(c, "Swarm", "inactive");
}

int op_system_ping(struct call *c, struct err *e) {
    _cleanup_buf_ struct buf body = BUF_INIT(8);

    ping_headers(c);
    buf_adds(&body, "OK");
    return call_reply_raw(c, 200, "text/plain; charset=utf-8", &body, e);
}

int op_system_ping_head(struct call *c, struct err *e) {
    _cleanup_buf_ struct buf body = BUF_INIT(8);

    ping_headers(c);
    call_set_header(c, "Content-Length", "0");
    return call_reply_raw(c, 200, "text/plain; charset=utf-8", &body, e);
}

int op_system_version(struct call *c, struct err *e) {
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_REPLY_BYTES);
    struct api_system_version v = {0};
    int r = system_version(call_engine(c), &v, e);

    if (r == 0)
        r = api_system_version_write(&v, call_api_version(c), &body, e);
    api_system_version_done(&v);
    return r < 0 ? r : call_reply(c, 200, &body, e);
}

/* Before API 1.25 a security option was its name alone: "seccomp" for "name=seccomp,profile=builtin". */
static void shorten_security_options(struct api_system_info *info) {
    for (size_t i = 0; i < info->security_options.n; i++) {
        char *s = info->security_options.v[i];
        const char *name = str_after(s, "name=");

        if (name) {
            memmove(s, name, strlen(name) + 1);
            s[strcspn(s, ",")] = 0;
        }
    }
}

int op_system_info(struct call *c, struct err *e) {
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_REPLY_BYTES);
    struct api_system_info info = {0};
    int r = system_info(call_engine(c), &info, e);

    if (r == 0 && call_api_version(c) < 125)
        shorten_security_options(&info);
    if (r == 0)
        r = api_system_info_write(&info, call_api_version(c), &body, e);
    api_system_info_done(&info);
    return r < 0 ? r : call_reply(c, 200, &body, e);
}

static int auth_read(struct call *c, struct api_auth_config *ret, struct err *e) {
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_JSON_BODY);
    json_t *json = NULL;
    size_t end; /* what follows the first value is ignored */
    int r = call_body(c, &body, e);

    if (r < 0)
        return r;
    if (strspn(buf_str(&body), " \t\r\n") == body.len)
        return err_set(e, ERR_INTERNAL, "EOF");
    r = codec_parse(buf_str(&body), body.len, &json, &end, e);
    if (r == 0)
        r = api_auth_config_read(ret, json, "", e);
    json_decref(json);
    /* The reference answers 500 to a body it cannot read here. */
    if (r < 0 && e)
        e->kind = ERR_INTERNAL;
    return r < 0 ? -ERR_INTERNAL : 0;
}

int op_system_auth(struct call *c, struct err *e) {
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_REPLY_BYTES);
    struct api_auth_config in = {0};
    struct api_system_auth_response out = {0};
    struct registry_auth auth = {0};
    char *token = NULL;
    int r = auth_read(c, &in, e);

    if (r == 0) {
        /* A registry token is for one that was logged in to elsewhere: it proves nothing here. */
        auth = (struct registry_auth){in.username, in.password, in.identitytoken, NULL, in.serveraddress};
        r = registry_login(call_engine(c)->registry, &auth, &token, e);
    }
    if (r == 0) {
        out.status = (char *)"Login Succeeded";
        out.identity_token = token ? token : (char *)"";
        r = api_system_auth_response_write(&out, call_api_version(c), &body, e);
    }
    for (char **secret = (char *[]){in.password, in.identitytoken, in.registrytoken, token, NULL}, **end = secret + 4; secret < end; secret++)
        if (*secret)
            explicit_bzero(*secret, strlen(*secret));
    free(token);
    api_auth_config_done(&in);
    return r < 0 ? r : call_reply(c, 200, &body, e);
}

static int events_times(const struct q_system_events *q, int64_t *ret_since, int64_t *ret_until, struct err *e) {
    int r = system_parse_time(q->since, ret_since, e);

    if (r == 0)
        r = system_parse_time(q->until, ret_until, e);
    if (r == 0 && !str_empty(q->until) && *ret_until < *ret_since)
        r = err_set(e, ERR_INVALID, "`since` time (%s) cannot be after `until` time (%s)", q->since, q->until);
    return r;
}

/* Was it started for nothing but events: `docker events`, `docker system events`? A program that does more has caused some itself before it asks. */
static bool is_events_command(pid_t pid, uint64_t ticks) {
    _cleanup_close_ int proc = proc_open(pid, ticks);
    _cleanup_buf_ struct buf args = BUF_INIT(KIB(128));

    if (proc < 0 || fs_read_file_at(proc, "cmdline", &args, NULL) < 0)
        return false;
    for (const char *arg = buf_str(&args), *end = arg + args.len; arg < end; arg += strlen(arg) + 1)
        if (streq(arg, "events"))
            return true;
    return false;
}

/*
 * Since when `docker events` that asks for what comes from now on is answered: since it was started, for that is when its user asked. A program that starts
 * it beside `docker run` and waits for the start would otherwise wait for ever whenever the container is up first. Who was started longer ago than the
 * head start, or is another client, gets what comes after its request: 0.
 */
static int64_t asked_at(struct call *c) {
    const int64_t tick = NSEC_PER_SEC / sysconf(_SC_CLK_TCK);
    const char *agent = call_header(c, "User-Agent");
    struct proc_stat st;
    struct timespec boot;
    int64_t age;
    pid_t pid;

    if (!agent || !str_after(agent, "Docker-Client/") || call_peer(c, &pid, NULL, NULL) < 0 || proc_stat_of(pid, &st) < 0 ||
        clock_gettime(CLOCK_BOOTTIME, &boot) < 0)
        return 0;
    /* It began at some time within the tick: nothing from before it may be told. */
    age = boot.tv_sec * NSEC_PER_SEC + boot.tv_nsec - ((int64_t)st.ticks + 1) * tick;
    return age > 0 && age < EVENTS_HEAD_START_NS && is_events_command(pid, st.ticks) ? clock_wall_ns() - age : 0;
}

int op_system_events(struct call *c, struct err *e) {
    _cleanup_filters_ struct filters filters = FILTERS_INIT;
    _cleanup_taken_ struct taken conn = TAKEN_INIT;
    struct engine *engine = call_engine(c);
    struct q_system_events q = {0};
    int64_t since = 0, until = 0;
    uint64_t mark;
    int r = q_system_events_read(&q, call_query(c), call_api_version(c), e);

    if (r == 0)
        r = events_times(&q, &since, &until, e);
    if (r == 0)
        r = filters_parse(&filters, q.filters, e);
    if (r == 0 && str_empty(q.since) && str_empty(q.until))
        since = asked_at(c);
    q_system_events_done(&q);
    if (r < 0)
        return r;
    mark = events_mark(engine->events);
    r = call_take(c, &conn, e);
    if (r < 0)
        return r;
    r = taken_write_head(&conn, TAKEN_CHUNKED, "application/json", e);
    if (r == 0)
        r = events_serve(engine->events, &conn, &filters, mark, since, until, e);
    return r < 0 && r != -ERR_CANCELLED ? r : 0;
}
