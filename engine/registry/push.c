// SPDX-License-Identifier: Apache-2.0
/* Sending blobs and manifests (OCI distribution-spec 1.1, "Push"). Sections: what is there; places to send to; sending a blob; manifests. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "content/digest.h"
#include "registry/registry-internal.h"

#define AT_ONCE MIB(1) /* what is no longer goes in one request */
#define RESUMES 5      /* attempts in a row that bring nothing */

/* ---- what is there -------------------------------------------------------------------------------------------------------------------------- */

/* The registry's no, in its words: for a push the first thing it says. */
static int refused(const struct transfer *t, struct err *e) {
    int r = auth_reply_error(t->status, t->body, t->challenge, NULL, e);

    if (t->status < 500)
        return r;
    if (e)
        e->kind = ERR_UNAVAILABLE;
    return -ERR_UNAVAILABLE;
}

int registry_has_blob(struct registry_session *s, const char *digest, int64_t *ret_size, struct err *e) {
    _cleanup_free_ char *url = str_printf("%s/v2/%s/blobs/%s", s->base, s->ref.path, digest);
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_TOKEN_BYTES);
    struct transfer t = {.s = s, .method = "HEAD", .url = url, .body = &body};
    int r;

    if (!url)
        return err_oom(e);
    r = session_run(&t, "Head", e);
    if (r == 0 && t.status == 200) {
        *ret_size = t.content_length;
        r = 1;
    } else if (r == 0 && t.status != 404) {
        r = refused(&t, e);
    }
    transfer_done(&t);
    return registry_as_internal(r, e);
}

/* ---- places to send to ---------------------------------------------------------------------------------------------------------------------- */

/* A Location header as a whole address: fresh memory. */
static char *absolute(const struct registry_session *s, const char *location) {
    if (!location)
        return NULL;
    if (str_has_prefix(location, "https://") || str_has_prefix(location, "http://"))
        return strdup(location);
    return str_printf("%s%s%s", s->base, *location == '/' ? "" : "/", location);
}

/* Credentials are for the registry's own origin. */
static bool own_origin(const struct registry_session *s, const char *url) {
    const char *rest = str_after(url, s->base);

    return rest && (*rest == '/' || *rest == '?' || !*rest);
}

static int run_at(struct transfer *t, const char *shown, struct err *e) {
    if (own_origin(t->s, t->url))
        return session_run(t, shown, e);
    if (!str_has_prefix(t->url, "https://") && !t->s->skip_verify)
        return err_set(e, ERR_INTERNAL, "the registry %s wants a blob sent to %s, which is neither itself nor protected by TLS", t->s->host, t->url);
    t->any_origin = true;
    return transfer_run(t, e);
}

/* Begin an upload. *ret_url: where to send to, NULL when the blob was mounted. */
static int begin(struct registry_session *s, const char *mount, const char *from, char **ret_url, struct err *e) {
    _cleanup_free_ char *url = mount ? str_printf("%s/v2/%s/blobs/uploads/?from=%s&mount=%s", s->base, s->ref.path, from, mount)
                                     : str_printf("%s/v2/%s/blobs/uploads/", s->base, s->ref.path);
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_TOKEN_BYTES);
    struct transfer t = {.s = s, .method = "POST", .url = url, .body = &body, .mount_from = mount ? from : NULL};
    int r;

    if (!url)
        return err_oom(e);
    r = session_run(&t, "Post", e);
    if (r == 0 && t.status == 202) {
        *ret_url = absolute(s, t.location);
        if (!*ret_url)
            r = err_set(e, ERR_INTERNAL, "the registry %s does not say where to send a blob", s->host);
    } else if (r == 0 && !(mount && t.status == 201)) {
        r = refused(&t, e);
    }
    transfer_done(&t);
    return r;
}

/* Take an upload back; nobody minds when that fails. */
static void cancel(struct registry_session *s, const char *url) {
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_TOKEN_BYTES);
    struct transfer t = {.s = s, .method = "DELETE", .url = url, .body = &body};

    ignore_result(run_at(&t, "Delete", NULL) < 0);
    transfer_done(&t);
}

int registry_mount_blob(struct registry_session *s, const char *digest, const char *from, int64_t *ret_size, struct err *e) {
    char *url = NULL;
    int r = begin(s, digest, from, &url, e);

    if (r < 0)
        return registry_as_internal(r, e);
    if (!url) {
        r = registry_has_blob(s, digest, ret_size, e);
        return r == 0 ? err_set(e, ERR_INTERNAL, "blob unknown: blob unknown to registry") : r;
    }
    cancel(s, url);
    free(url);
    return 0;
}

/* ---- sending a blob ------------------------------------------------------------------------------------------------------------------------- */

struct sending {
    struct registry_session *s;
    const struct registry_source *source;
    EVP_MD_CTX *sha;
    char *first; /* the first bytes, read before it is known how they go */
    size_t n_first, at_first;
    int64_t produced; /* bytes the source gave, all hashed */
    int64_t skip;     /* of what the source gives next, so many bytes are there already */
    char digest[72];  /* of all the source gave, once it has ended */
    bool ended;
    bool changed; /* it is not what the source said it would be */
};

static bool known(const struct sending *x) {
    return x->source->digest && x->source->size > 0;
}

/* What is known beforehand is compared before its last bytes leave: a registry never has the whole of anything else. */
static int end(struct sending *x, struct err *e) {
    x->ended = true;
    digest_end(x->sha, x->digest);
    x->changed = known(x) && !streq(x->digest, x->source->digest);
    return x->changed ? err_set(e, ERR_INTERNAL, "blob %s has changed", x->source->digest) : 0;
}

static ssize_t produce(struct sending *x, void *p, size_t n, struct err *e) {
    ssize_t got = x->ended ? 0 : x->source->read(x->source->arg, p, n, e);
    int r = 0;

    if (got > 0) {
        EVP_DigestUpdate(x->sha, p, (size_t)got);
        x->produced += got;
    }
    if (!x->ended && (got == 0 || (known(x) && x->produced >= x->source->size)))
        r = end(x, e);
    return r < 0 ? r : got;
}

static ssize_t on_read(void *arg, void *p, size_t n, struct err *e) {
    struct sending *x = arg;

    if (x->at_first < x->n_first) {
        size_t k = MIN(n, x->n_first - x->at_first);

        memcpy(p, x->first + x->at_first, k);
        x->at_first += k;
        return (ssize_t)k;
    }
    for (;;) {
        ssize_t got = produce(x, p, n, e);
        size_t drop;

        if (got <= 0 || x->skip == 0)
            return got;
        drop = (size_t)MIN(x->skip, (int64_t)got);
        x->skip -= (int64_t)drop;
        if (drop < (size_t)got) {
            memmove(p, (char *)p + drop, (size_t)got - drop);
            return got - (ssize_t)drop;
        }
    }
}

static int restart(struct sending *x, int64_t skip, struct err *e) {
    int r = x->source->rewind(x->source->arg, e);

    x->n_first = x->at_first = 0;
    x->produced = 0;
    x->skip = skip;
    x->ended = x->changed = false;
    return r == 0 && EVP_DigestInit_ex(x->sha, EVP_sha256(), NULL) != 1 ? err_oom(e) : r;
}

/* Read ahead, to see whether it is little. */
static int fill_first(struct sending *x, struct err *e) {
    while (!x->ended && x->n_first < AT_ONCE) {
        ssize_t got = produce(x, x->first + x->n_first, AT_ONCE - x->n_first, e);

        if (got < 0)
            return (int)got;
        x->n_first += (size_t)got;
    }
    return 0;
}

/* How much of an upload is there: bytes, or -1 when the registry does not say or does not know it any more. *url becomes where to go on. */
static int64_t how_much(struct registry_session *s, char **url) {
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_TOKEN_BYTES);
    struct transfer t = {.s = s, .method = "GET", .url = *url, .body = &body};
    int64_t have = -1;

    if (run_at(&t, "Get", NULL) == 0 && (t.status == 204 || t.status == 202 || t.status == 200)) {
        char *next = absolute(s, t.location);

        have = t.range_to >= 0 ? t.range_to + 1 : 0;
        if (next) {
            free(*url);
            *url = next;
        }
    }
    transfer_done(&t);
    return have;
}

/* One long request. -ERR_UNAVAILABLE: the connection broke. *url becomes where to end it. */
static int stream(struct sending *x, char **url, struct err *e) {
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_TOKEN_BYTES);
    struct transfer t = {.s = x->s,
                         .method = "PATCH",
                         .url = *url,
                         .body = &body,
                         .upload = on_read,
                         .upload_arg = x,
                         .upload_size = -1,
                         .upload_type = "application/octet-stream"};
    int r = run_at(&t, "Patch", e);

    if (r == 0 && (t.status == 202 || t.status == 201 || t.status == 204)) {
        char *next = absolute(x->s, t.location);

        if (next) {
            free(*url);
            *url = next;
        }
    } else if (r == 0) {
        r = refused(&t, e);
    }
    transfer_done(&t);
    return r;
}

/* PUT, with the whole blob of `body` bytes in it; -1: the registry has it all. */
static int finish(struct sending *x, const char *url, const char *digest, int64_t body_size, struct err *e) {
    _cleanup_free_ char *to = str_printf("%s%cdigest=%s", url, strchr(url, '?') ? '&' : '?', digest);
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_TOKEN_BYTES);
    struct transfer t = {.s = x->s, .method = "PUT", .url = to, .body = &body};
    int r;

    if (!to)
        return err_oom(e);
    if (body_size >= 0) {
        t.upload = on_read;
        t.upload_arg = x;
        t.upload_size = body_size;
        t.upload_type = "application/octet-stream";
    }
    r = run_at(&t, "Put", e);
    if (r == 0 && t.status != 201 && t.status != 202 && t.status != 204)
        r = refused(&t, e);
    transfer_done(&t);
    return r;
}

/* After a broken connection: go on where the registry is. *ret_from: there. `why` becomes the error where that cannot be. */
static int go_on(struct sending *x, char **url, int64_t from, int64_t *ret_from, struct err *why, struct err *e) {
    int64_t have = how_much(x->s, url);

    if (have < from || have > x->produced)
        return err_move(e, why);
    *ret_from = have;
    return restart(x, have, e);
}

/* Stream it from `from` on, going on where the registry is when the connection breaks. */
static int stream_all(struct sending *x, char **url, int64_t from, struct err *e) {
    for (int left = RESUMES;; left--) {
        _cleanup_err_ struct err why = ERR_INIT;
        int64_t before = from;
        int r = stream(x, url, &why);

        if (r == 0)
            return 0;
        if (r != -ERR_UNAVAILABLE || left <= 1)
            return err_move(e, &why);
        r = go_on(x, url, from, &from, &why, e);
        if (r < 0)
            return r;
        if (from > before)
            left = RESUMES;
    }
}

/* One request carries it all, and the registry compares the digest with what came: nothing is put aside there for a second one. */
static int send_known(struct sending *x, char **url, struct err *e) {
    _cleanup_err_ struct err why = ERR_INIT;
    int64_t from = 0;
    int r = finish(x, *url, x->source->digest, x->source->size, &why);

    if (r == 0 && !x->ended) { /* it did not want to hear it to the end: it has one of that digest */
        snprintf(x->digest, sizeof x->digest, "%s", x->source->digest);
        x->produced = x->source->size;
    }
    if (r != -ERR_UNAVAILABLE)
        return r < 0 ? err_move(e, &why) : 0;
    r = go_on(x, url, 0, &from, &why, e);
    if (r == 0)
        r = stream_all(x, url, from, e);
    return r == 0 ? finish(x, *url, x->digest, -1, e) : r;
}

/* How long it is shows while it is read. */
static int send_unknown(struct sending *x, char **url, struct err *e) {
    int r;

    x->first = malloc(AT_ONCE);
    r = x->first ? fill_first(x, e) : err_oom(e);
    if (r == 0 && x->ended)
        return finish(x, *url, x->digest, (int64_t)x->n_first, e);
    if (r == 0)
        r = stream_all(x, url, 0, e);
    return r == 0 ? finish(x, *url, x->digest, -1, e) : r;
}

int registry_send_blob(struct registry_session *s, const struct registry_source *source, char ret_digest[72], int64_t *ret_size, bool *ret_retry,
                       struct err *e) {
    struct sending x = {.s = s, .source = source, .sha = EVP_MD_CTX_new()};
    char *url = NULL;
    int r = x.sha ? begin(s, NULL, NULL, &url, e) : err_oom(e);

    /* Whom the registry refuses has nothing read for it, and is told of no progress. */
    if (r == 0)
        r = restart(&x, 0, e);
    if (r == 0)
        r = known(&x) ? send_known(&x, &url, e) : send_unknown(&x, &url, e);
    if (r < 0 && url && r != -ERR_UNAVAILABLE)
        cancel(s, url);
    if (x.changed) {
        err_done(e);
        r = 0;
    }
    if (r == 0) {
        memcpy(ret_digest, x.digest, sizeof x.digest);
        *ret_size = x.produced;
    }
    *ret_retry = r == -ERR_UNAVAILABLE;
    free(url);
    free(x.first);
    EVP_MD_CTX_free(x.sha);
    return registry_as_internal(r, e);
}

/* ---- manifests ------------------------------------------------------------------------------------------------------------------------------ */

struct bytes {
    const char *p;
    size_t n;
};

static ssize_t read_bytes(void *arg, void *p, size_t n, struct err *e) {
    struct bytes *b = arg;
    size_t k = MIN(n, b->n);

    memcpy(p, b->p, k);
    b->p += k;
    b->n -= k;
    return (ssize_t)k;
}

int registry_put_manifest(struct registry_session *s, const char *what, const char *media_type, const void *p, size_t n, struct err *e) {
    _cleanup_free_ char *url = str_printf("%s/v2/%s/manifests/%s", s->base, s->ref.path, what);
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_TOKEN_BYTES);
    struct bytes b = {p, n};
    struct transfer t = {.s = s,
                         .method = "PUT",
                         .url = url,
                         .body = &body,
                         .upload = read_bytes,
                         .upload_arg = &b,
                         .upload_size = (int64_t)n,
                         .upload_type = media_type};
    int r;

    if (!url)
        return err_oom(e);
    r = session_run(&t, "Put", e);
    if (r == 0 && (t.status < 200 || t.status > 299))
        r = reply_errors(t.status, &body, t.challenge, e);
    transfer_done(&t);
    return registry_as_internal(r, e);
}
