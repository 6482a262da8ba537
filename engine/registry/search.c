// SPDX-License-Identifier: Apache-2.0
/* Searching an index: the first registry API is all there is for it. */
#include <ctype.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "registry/registry-internal.h"

#define PUBLIC_INDEX "index.docker.io"
#define RESULTS_DEFAULT 25

/* Which index, and what to ask it: "host:port/name" names one, anything else is for the public one. */
static int split_term(const char *term, char **ret_host, const char **ret_rest, struct err *e) {
    const char *slash = strchr(term, '/');
    size_t n = slash ? (size_t)(slash - term) : 0;
    _cleanup_free_ char *host = NULL;

    if (strstr(term, "://"))
        return err_set(e, ERR_INVALID, "invalid repository name: repository name (%s) should not have a scheme", term);
    if (n == 0 || (!memchr(term, '.', n) && !memchr(term, ':', n) && strncmp(term, "localhost/", 10) != 0)) {
        host = strdup(PUBLIC_INDEX);
        *ret_rest = term;
    } else {
        host = strndup(term, n);
        *ret_rest = slash + 1;
        if (host && (*host == '-' || host[n - 1] == '-'))
            return err_set(e, ERR_INVALID, "invalid index name (%s). Cannot begin or end with a hyphen", host);
        if (host && streq(host, "docker.io") && str_set(&host, PUBLIC_INDEX) < 0)
            return err_oom(e);
    }
    if (!host)
        return err_oom(e);
    if (streq(host, PUBLIC_INDEX) && str_has_prefix(*ret_rest, "library/"))
        *ret_rest += strlen("library/");
    *ret_host = TAKE_PTR(host);
    return 0;
}

/* As forms are sent: a blank is a plus. */
static void add_escaped(struct buf *b, const char *s) {
    for (; *s; s++) {
        if (*s == ' ')
            buf_addc(b, '+');
        else if (isalnum((unsigned char)*s) || strchr("-_.~", *s))
            buf_addc(b, *s);
        else
            buf_addf(b, "%%%02X", (unsigned char)*s);
    }
}

/* Any answer will do. */
static int ping(struct registry_session *s, const char *scheme, struct err *e) {
    _cleanup_free_ char *url = str_printf("%s://%s/v1/_ping", scheme, s->host);
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_TOKEN_BYTES);
    struct transfer t = {.s = s, .method = "GET", .url = url, .body = &body};
    int r;

    if (!url)
        return err_oom(e);
    r = transfer_run(&t, e);
    transfer_done(&t);
    return r;
}

static int choose_scheme(struct registry_session *s, const char **ret, struct err *e) {
    _cleanup_err_ struct err tls = ERR_INIT, plain = ERR_INIT;
    bool insecure = registry_may_be_insecure(s->registry->config, s->host);
    int r;

    *ret = "https";
    if (streq(s->host, PUBLIC_INDEX))
        return 0;
    s->skip_verify = insecure;
    r = ping(s, "https", &tls);
    if (r == 0 || r == -ERR_CANCELLED)
        return r == 0 ? 0 : err_move(e, &tls);
    if (!insecure)
        return err_set(
            e, ERR_INVALID,
            "invalid registry endpoint https://%s/v1/: %s. If this private registry supports only HTTP or HTTPS with an unknown CA certificate, "
            "please add `--insecure-registry %s` to the daemon's arguments. In the case of HTTPS, if you have access to the registry's CA "
            "certificate, no need for the flag; simply place the CA certificate at /etc/docker/certs.d/%s/ca.crt",
            s->host, err_msg(&tls), s->host, s->host);
    *ret = "http";
    r = ping(s, "http", &plain);
    if (r == 0 || r == -ERR_CANCELLED)
        return r == 0 ? 0 : err_move(e, &plain);
    return err_set(e, ERR_INVALID, "invalid registry endpoint \"http://%s/v1/\". HTTPS attempt: %s. HTTP attempt: %s", s->host, err_msg(&tls),
                   err_msg(&plain));
}

static int ask(struct registry_session *s, const char *scheme, const char *term, int64_t limit, struct buf *ret, struct err *e) {
    _cleanup_buf_ struct buf url = BUF_INIT(KIB(64));
    struct transfer t = {.s = s, .method = "GET", .body = ret};
    int r;

    buf_addf(&url, "%s://%s/v1/search?q=", scheme, s->host);
    add_escaped(&url, term);
    buf_addf(&url, "&n=%lld", (long long)(limit ? limit : RESULTS_DEFAULT));
    r = buf_check(&url, e);
    t.url = buf_str(&url);
    if (r == 0)
        r = session_run(&t, "Get", e);
    if (r == 0 && t.status != 200)
        r = err_set(e, ERR_INTERNAL, "Unexpected status code %ld", t.status);
    transfer_done(&t);
    return r;
}

int registry_search(struct registry *r, const char *term, int64_t limit, const struct registry_auth *auth, registry_cancelled_fn *cancelled,
                    void *arg, struct buf *ret, struct err *e) {
    struct registry_session s = {.registry = r, .cancelled = cancelled, .cancelled_arg = arg};
    _cleanup_free_ char *host = NULL;
    const char *rest = term, *scheme = "https";
    int k = split_term(term, &host, &rest, e);

    if (k < 0)
        return k;
    s.host = host;
    pthread_mutex_init(&s.lock, NULL);
    k = choose_scheme(&s, &scheme, e);
    if (k == 0 && auth && auth->username && auth->password && streq(scheme, "https")) {
        s.scheme = AUTH_BASIC;
        s.auth = *auth;
    }
    if (k == 0)
        k = ask(&s, scheme, rest, limit, ret, e);
    for (size_t i = 0; i < s.n_handles; i++)
        curl_easy_cleanup(s.handles[i]);
    pthread_mutex_destroy(&s.lock);
    return registry_as_internal(k, e);
}
