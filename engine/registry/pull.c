// SPDX-License-Identifier: Apache-2.0
/* Reading (OCI distribution-spec 1.1, "Pull"). Sections: manifests and tags; blobs; any address. */
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "content/digest.h"
#include "registry/registry-internal.h"
#include "wire/codec.h"

#define TAGS_BYTES_MAX MIB(16)
#define TAGS_MAX 100000
#define ACCEPT_MANIFESTS                                                                                                                             \
    REGISTRY_TYPE_DOCKER_MANIFEST "," REGISTRY_TYPE_DOCKER_LIST "," REGISTRY_TYPE_OCI_INDEX "," REGISTRY_TYPE_OCI_MANIFEST                           \
                                  "," REGISTRY_TYPE_DOCKER_SCHEMA1

/* ---- manifests and tags ----------------------------------------------------------------------------------------------------------------- */

/* Errors of a repository in the reference's words. */
static int repository_error(struct registry_session *s, const char *what, long status, const struct buf *body, const char *challenge, struct err *e) {
    _cleanup_free_ char *name = reference_familiar_name(&s->ref), *full = NULL;
    const char *code = NULL;
    int r;

    if (s->purpose == REGISTRY_ASK)
        return reply_errors(status, body, challenge, e);
    r = auth_reply_error(status, body, challenge, &code, e);
    if (!code || !e || !name)
        return r;
    if (streq(code, "DENIED")) {
        err_wrap(e, "pull access denied for %s, repository does not exist or may require 'docker login'", name);
    } else if (streq(code, "MANIFEST_UNKNOWN")) {
        /* Asked for by its name: as it was written, the tag with the digest. */
        if (what && s->ref.digest && streq(what, s->ref.digest))
            full = reference_familiar(&s->ref);
        else
            full = what ? str_printf("%s%s%s", name, strchr(what, ':') ? "@" : ":", what) : strdup(name);
        err_wrap(e, "manifest for %s not found", full ? full : name);
    } else if (streq(code, "NAME_UNKNOWN")) {
        err_wrap(e, "repository %s not found", name);
    } else {
        return r;
    }
    e->kind = ERR_NOT_FOUND;
    return -ERR_NOT_FOUND;
}

void registry_manifest_done(struct registry_manifest *m) {
    buf_done(&m->body);
    free(m->media_type);
    m->media_type = NULL;
}

int registry_get_manifest(struct registry_session *s, const char *what, struct registry_manifest *ret, struct err *e) {
    _cleanup_free_ char *url = str_printf("%s/v2/%s/manifests/%s", s->base, s->ref.path, what);
    bool by_digest = strchr(what, ':') != NULL;
    struct transfer t = {.s = s, .method = "GET", .shown = by_digest ? "Get" : "Head", .url = url, .accept = ACCEPT_MANIFESTS, .body = &ret->body};
    int r;

    if (!url)
        return err_oom(e);
    buf_reset(&ret->body);
    r = session_run(&t, t.shown, e);
    if (r == 0 && t.status != 200)
        r = repository_error(s, what, t.status, &ret->body, t.challenge, e);
    if (r == 0)
        digest_of(buf_str(&ret->body), ret->body.len, ret->digest);
    if (r == 0 && by_digest && !streq(ret->digest, what))
        r = err_set(e, ERR_INTERNAL, "manifest verification failed for digest %s", what);
    if (r == 0) {
        free(ret->media_type);
        ret->media_type = t.content_type ? TAKE_PTR(t.content_type) : strdup("");
        r = ret->media_type ? 0 : err_oom(e);
    }
    transfer_done(&t);
    return registry_as_internal(r, e);
}

int registry_get_referrers(struct registry_session *s, const char *digest, struct registry_manifest *ret, struct err *e) {
    _cleanup_free_ char *url = str_printf("%s/v2/%s/referrers/%s", s->base, s->ref.path, digest);
    struct transfer t = {.s = s, .method = "GET", .url = url, .accept = REGISTRY_TYPE_OCI_INDEX, .body = &ret->body};
    int r;

    if (!url)
        return err_oom(e);
    r = session_run(&t, "Get", e);
    if (r == 0 && t.status == 404)
        r = err_set(e, ERR_NOT_FOUND, "the registry keeps no list of what refers to %s", digest);
    else if (r == 0 && t.status != 200)
        r = repository_error(s, NULL, t.status, &ret->body, t.challenge, e);
    transfer_done(&t);
    return registry_as_internal(r, e);
}

int registry_get_tags(struct registry_session *s, struct strv *ret, struct err *e) {
    _cleanup_free_ char *url = str_printf("%s/v2/%s/tags/list", s->base, s->ref.path);
    _cleanup_buf_ struct buf body = BUF_INIT(TAGS_BYTES_MAX);
    json_auto_t *o = NULL;
    struct transfer t = {.s = s, .method = "GET", .url = url, .body = &body};
    json_t *tag;
    size_t i;
    int r;

    if (!url)
        return err_oom(e);
    r = session_run(&t, "Get", e);
    if (r == 0 && t.status != 200)
        r = repository_error(s, NULL, t.status, &body, t.challenge, e);
    transfer_done(&t);
    if (r < 0)
        return registry_as_internal(r, e);
    r = codec_count(buf_str(&body), body.len, e);
    if (r < 0)
        return err_wrap(e, "list of tags");
    o = json_loadb(buf_str(&body), body.len, 0, NULL);
    json_array_foreach(json_object_get(o, "tags"), i, tag) {
        if (i >= TAGS_MAX)
            return err_set(e, ERR_TOO_LARGE, "repository %s has more than %d tags", s->ref.path, TAGS_MAX);
        if (json_is_string(tag) && tag_is_valid(json_string_value(tag)) && strv_add(ret, json_string_value(tag)) < 0)
            return err_oom(e);
    }
    return 0;
}

/* ---- blobs -------------------------------------------------------------------------------------------------------------------------------- */

struct blob_read {
    registry_sink_fn *sink;
    void *arg;
    int64_t at; /* bytes handed out so far, counted from the start of the blob */
    int64_t size;
    int64_t skip; /* bytes of this reply to drop: the server ignored the range */
    struct transfer *t;
    bool first;
    registry_cancelled_fn *cancelled;
    void *cancelled_arg;
};

static int on_blob(void *arg, const void *p, size_t n, struct err *e) {
    struct blob_read *b = arg;
    const char *from = p;
    int r;

    if (n == 0)
        return b->sink(b->arg, p, 0, e);
    if (b->first) {
        b->first = false;
        b->skip = b->t->partial ? 0 : b->at;
    }
    if (b->skip > 0) {
        size_t drop = (int64_t)n < b->skip ? n : (size_t)b->skip;

        from += drop;
        n -= drop;
        b->skip -= (int64_t)drop;
    }
    if (n == 0)
        return 0;
    if ((int64_t)n > b->size - b->at)
        return err_set(e, ERR_INVALID, "the registry sent more than the %lld bytes that the manifest says", (long long)b->size);
    r = b->sink(b->arg, from, n, e);
    if (r == 0)
        b->at += (int64_t)n;
    return r;
}

/* Wait in small steps, so that a client that leaves ends it. */
static int back_off(struct registry_session *s, const struct blob_read *b, int64_t ms, struct err *e) {
    for (; ms > 0; ms -= 100) {
        if (b->cancelled ? b->cancelled(b->cancelled_arg) : session_cancelled(s))
            return err_set(e, ERR_CANCELLED, "context canceled");
        poll(NULL, 0, (int)(ms < 100 ? ms : 100));
    }
    return 0;
}

static bool busy_status(long status) {
    return status == 429 || status >= 500;
}

/* One attempt. ERR_UNAVAILABLE: worth another one. */
static int blob_once(struct registry_session *s, const char *url, struct blob_read *b, int64_t *ret_wait_ms, struct err *e) {
    struct transfer t = {.s = s,
                         .method = "GET",
                         .url = url,
                         .range_from = b->at,
                         .sink = on_blob,
                         .sink_arg = b,
                         .tell_idle = true,
                         .cancelled = b->cancelled,
                         .cancelled_arg = b->cancelled_arg};
    int r;

    b->t = &t;
    b->first = true;
    r = session_run(&t, "Get", e);
    *ret_wait_ms = t.retry_after * 1000;
    if (r == 0 && (t.status == 200 || t.status == 206)) {
        if (b->at < b->size)
            r = err_set(e, ERR_UNAVAILABLE, "Get \"%s\": unexpected EOF", url);
    } else if (r == 0 && busy_status(t.status)) {
        auth_reply_error(t.status, &t.failure, NULL, NULL, e);
        if (e)
            e->kind = ERR_UNAVAILABLE;
        r = -ERR_UNAVAILABLE;
    } else if (r == 0) {
        r = repository_error(s, NULL, t.status, &t.failure, t.challenge, e);
    }
    transfer_done(&t);
    return r;
}

int registry_blob(struct registry_session *s, const char *digest, int64_t offset, int64_t size, registry_sink_fn *sink, void *arg,
                  registry_cancelled_fn *cancelled, void *cancelled_arg, struct err *e) {
    _cleanup_free_ char *url = str_printf("%s/v2/%s/blobs/%s", s->base, s->ref.path, digest);
    struct blob_read b = {.sink = sink, .arg = arg, .at = offset, .size = size, .cancelled = cancelled, .cancelled_arg = cancelled_arg};
    int64_t attempts = MAX(s->registry->config->max_download_attempts, INT64_C(1)), left = attempts;

    if (!url)
        return err_oom(e);
    for (;;) {
        _cleanup_err_ struct err why = ERR_INIT;
        int64_t before = b.at, wait = 0;
        int r = blob_once(s, url, &b, &wait, &why);

        if (r == 0)
            return 0;
        /* Only attempts that brought nothing count: a slow but living link gets there. */
        left = b.at > before ? attempts : left - 1;
        if (r != -ERR_UNAVAILABLE || left <= 0) {
            r = err_move(e, &why);
            return registry_as_internal(r, e);
        }
        r = back_off(s, &b, wait ? wait : 250 * (attempts - left + 1), e);
        if (r < 0)
            return r;
    }
}

/* ---- any address ----------------------------------------------------------------------------------------------------------- */

/* What an ordinary web server said, with the status it said it with. */
static int fetch_refused(const char *url, long status, const struct buf *body, struct err *e) {
    enum err_kind kind = status == 400   ? ERR_INVALID
                         : status == 401 ? ERR_UNAUTHORIZED
                         : status == 403 ? ERR_FORBIDDEN
                         : status == 404 ? ERR_NOT_FOUND
                                         : ERR_INTERNAL;
    size_t n = body->len;

    while (n > 0 && strchr(" \t\r\n", body->data[n - 1]))
        n--;
    return err_set(e, kind, "failed to GET %s with status %ld %s: %.*s", url, status, http_phrase(status), (int)n, n ? body->data : "");
}

struct fetching {
    const struct transfer *t;
    registry_sink_fn *sink;
    void *arg;
    int64_t *ret_length;
};

static int on_fetched(void *arg, const void *p, size_t n, struct err *e) {
    struct fetching *f = arg;

    *f->ret_length = f->t->content_length;
    return f->sink(f->arg, p, n, e);
}

int registry_fetch(struct registry *r, const char *url, registry_cancelled_fn *cancelled, void *cancelled_arg, registry_sink_fn *sink, void *arg,
                   int64_t *ret_length, struct err *e) {
    char no_host[] = "-";
    struct registry_session s = {.registry = r, .host = no_host, .cancelled = cancelled, .cancelled_arg = cancelled_arg};
    struct transfer t = {.s = &s, .method = "GET", .url = url, .sink = on_fetched, .any_origin = true};
    struct fetching f = {&t, sink, arg, ret_length};
    int k;

    t.sink_arg = &f;
    pthread_mutex_init(&s.lock, NULL);
    k = transfer_run(&t, e);
    if (k == 0 && t.status != 200)
        k = fetch_refused(url, t.status, &t.failure, e);
    k = registry_as_internal(k, e);
    transfer_done(&t);
    for (size_t i = 0; i < s.n_handles; i++)
        curl_easy_cleanup(s.handles[i]);
    pthread_mutex_destroy(&s.lock);
    return k;
}
