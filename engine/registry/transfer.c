// SPDX-License-Identifier: Apache-2.0
/* One HTTP exchange by libcurl, with errors worded as the reference's HTTP client words them. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/nameserver.h"
#include "base/str.h"
#include "registry/registry-internal.h"

#define CONNECT_SECONDS 30L
#define STALL_SECONDS 60L
#define WAIT_MOST INT64_C(3600) /* seconds, when a registry asks for it */
#define IDLE (NSEC_PER_SEC / 2)

static void init_curl(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

void transfer_done(struct transfer *t) {
    free(t->content_type);
    free(t->challenge);
    free(t->location);
    t->content_type = t->challenge = t->location = NULL;
    buf_done(&t->failure);
    err_done(&t->sink_err);
    X509_STORE_free(t->trusted);
    t->trusted = NULL;
}

/* Retry-After (RFC 9110, 10.2.3): seconds, or a date. 0 when it says neither, or nothing to come. */
static int64_t seconds_to_wait(const char *value) {
    int64_t seconds = 0;
    time_t date;

    if (!isalpha((unsigned char)*value)) {
        ignore_result(parse_int_range(value, 0, WAIT_MOST, &seconds) < 0);
        return seconds;
    }
    date = curl_getdate(value, NULL);
    return date < 0 ? 0 : MIN(MAX((int64_t)date - (int64_t)time(NULL), INT64_C(0)), WAIT_MOST);
}

static size_t on_header(char *p, size_t size, size_t n, void *data) {
    struct transfer *t = data;
    size_t len = size * n;
    _cleanup_free_ char *line = strndup(p, len);
    char *colon, *value;

    if (!line)
        return 0;
    line[strcspn(line, "\r\n")] = 0;
    if (str_has_prefix(line, "HTTP/")) { /* a new reply (after a redirect) */
        free(t->content_type);
        free(t->challenge);
        free(t->location);
        t->content_type = t->challenge = t->location = NULL;
        t->retry_after = 0;
        t->content_length = t->range_to = -1;
        return len;
    }
    colon = strchr(line, ':');
    if (!colon)
        return len;
    *colon = 0;
    value = colon + 1 + strspn(colon + 1, " \t");
    if (strcasecmp(line, "Content-Type") == 0) {
        free(t->content_type);
        t->content_type = strndup(value, strcspn(value, "; "));
    } else if (strcasecmp(line, "WWW-Authenticate") == 0 && !t->challenge && strlen(value) <= LIMIT_CHALLENGE_BYTES) {
        t->challenge = strdup(value);
    } else if (strcasecmp(line, "Location") == 0) {
        free(t->location);
        t->location = strdup(value);
    } else if (strcasecmp(line, "Content-Length") == 0) {
        ignore_result(parse_int_range(value, 0, INT64_MAX, &t->content_length) < 0);
    } else if (strcasecmp(line, "Range") == 0) { /* of an upload under way: "0-99", in old registries "bytes=0-99" */
        const char *dash = strchr(value, '-');

        ignore_result(dash && parse_int_range(dash + 1, 0, INT64_MAX, &t->range_to) < 0);
    } else if (strcasecmp(line, "Retry-After") == 0) {
        t->retry_after = seconds_to_wait(value);
    }
    return len;
}

static size_t on_body(char *p, size_t size, size_t n, void *data) {
    struct transfer *t = data;
    size_t len = size * n;

    if (t->sink && (t->status == 200 || t->status == 206)) {
        if (t->tell_idle)
            t->last_bytes = clock_mono_ns();
        t->sink_result = t->sink(t->sink_arg, p, len, &t->sink_err);
        return t->sink_result < 0 ? 0 : len;
    }
    buf_add(t->sink ? &t->failure : t->body, p, len);
    return buf_ok(t->sink ? &t->failure : t->body) ? len : 0;
}

struct body_state {
    struct transfer *t;
    CURL *h;
};

/* The status is known once a body begins: decide there where it goes. */
static size_t on_body_first(char *p, size_t size, size_t n, void *data) {
    struct body_state *b = data;

    curl_easy_getinfo(b->h, CURLINFO_RESPONSE_CODE, &b->t->status);
    b->t->partial = b->t->status == 206;
    return on_body(p, size, n, b->t);
}

static size_t on_upload(char *p, size_t size, size_t n, void *data) {
    struct transfer *t = data;
    ssize_t got = t->upload(t->upload_arg, p, size * n, &t->sink_err);

    if (got >= 0)
        return (size_t)got;
    t->sink_result = (int)got;
    return CURL_READFUNC_ABORT;
}

static int on_progress(void *data, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    struct transfer *t = data;

    if (t->cancelled ? t->cancelled(t->cancelled_arg) : session_cancelled(t->s))
        t->was_cancelled = true;
    if (!t->was_cancelled && t->tell_idle && t->last_bytes && clock_mono_ns() - t->last_bytes > IDLE) {
        t->last_bytes = 0;
        t->sink_result = t->sink(t->sink_arg, "", 0, &t->sink_err);
    }
    return t->was_cancelled || t->sink_result < 0;
}

/* Remember where we dialled, for the text of a failure. */
static curl_socket_t on_socket(void *data, curlsocktype purpose, struct curl_sockaddr *a) {
    struct transfer *t = data;
    char host[INET6_ADDRSTRLEN] = "";

    if (a->family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&a->addr;

        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(t->dialled, sizeof(t->dialled), "%s:%u", host, ntohs(in->sin_port));
    } else if (a->family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)&a->addr;

        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof(host));
        snprintf(t->dialled, sizeof(t->dialled), "[%s]:%u", host, ntohs(in->sin6_port));
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* As the reference prints it: "Get" for GET. */
static const char *verb_of(const char *method) {
    static const char *const known[][2] = {{"POST", "Post"}, {"HEAD", "Head"}, {"PUT", "Put"}, {"PATCH", "Patch"}, {"DELETE", "Delete"}};

    for (size_t i = 0; i < ELEMENTSOF(known); i++)
        if (streq(known[i][0], method))
            return known[i][1];
    return "Get";
}

static int failed(struct transfer *t, CURL *h, CURLcode code, struct err *e) {
    char host[256] = "", dns[NAMESERVER_TEXT];
    const char *from = strstr(t->url, "://"), *verb = t->shown ? t->shown : verb_of(t->method);
    curl_off_t connected = 0;
    long os_errno = 0, dials = 0;

    from = from ? from + 3 : t->url;
    snprintf(host, sizeof(host), "%.*s", (int)strcspn(from, "/:"), from);
    curl_easy_getinfo(h, CURLINFO_OS_ERRNO, &os_errno);
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        nameserver_first(dns);
        return err_set(e, ERR_UNAVAILABLE, "%s \"%s\": dial tcp: lookup %s on %s: no such host", verb, t->url, host, dns);
    case CURLE_URL_MALFORMAT: { /* what the grammar of references lets through: a port that is none */
        const char *port = strrchr(from, ':');

        snprintf(host, sizeof(host), "%.*s", port ? (int)strcspn(port + 1, "/") : 0, port ? port + 1 : "");
        return err_set(e, ERR_UNAVAILABLE, "%s \"%s\": dial tcp: address %s: invalid port", verb, t->url, host);
    }
    case CURLE_COULDNT_CONNECT: {
        char why[ERR_REASON_MAX];

        if (os_errno == ETIMEDOUT || os_errno == 0)
            return err_set(e, ERR_UNAVAILABLE, "%s \"%s\": dial tcp %s: i/o timeout", verb, t->url, t->dialled);
        return err_set(e, ERR_UNAVAILABLE, "%s \"%s\": dial tcp %s: connect: %s", verb, t->url, t->dialled, err_reason((int)os_errno, why));
    }
    case CURLE_PEER_FAILED_VERIFICATION:
        return err_set(e, ERR_UNAVAILABLE, "%s \"%s\": tls: failed to verify certificate: x509: certificate signed by unknown authority", verb,
                       t->url);
    case CURLE_SSL_CONNECT_ERROR:
        return err_set(e, ERR_UNAVAILABLE, "%s \"%s\": http: server gave HTTP response to HTTPS client", verb, t->url);
    case CURLE_OPERATION_TIMEDOUT:
        curl_easy_getinfo(h, CURLINFO_CONNECT_TIME_T, &connected);
        curl_easy_getinfo(h, CURLINFO_NUM_CONNECTS, &dials);
        if (connected == 0 && dials > 0) /* else on a connection of before */
            return err_set(e, ERR_UNAVAILABLE, "%s \"%s\": dial tcp %s: i/o timeout", verb, t->url, t->dialled);
        return err_set(e, ERR_UNAVAILABLE, "%s \"%s\": net/http: the registry sent nothing for %ld seconds", verb, t->url, STALL_SECONDS);
    case CURLE_TOO_MANY_REDIRECTS:
        return err_set(e, ERR_UNAVAILABLE, "%s \"%s\": stopped after %d redirects", verb, t->url, LIMIT_REDIRECTS);
    case CURLE_SEND_ERROR:
        return err_set(e, ERR_UNAVAILABLE, "%s \"%s\": write: %s", verb, t->url, os_errno == ECONNRESET ? "connection reset by peer" : "broken pipe");
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return err_set(e, ERR_UNAVAILABLE, "%s \"%s\": unexpected EOF", verb, t->url);
    case CURLE_GOT_NOTHING:
        return err_set(e, ERR_UNAVAILABLE, "%s \"%s\": EOF", verb, t->url);
    default:
        return err_set(e, ERR_UNAVAILABLE, "%s \"%s\": %s", verb, t->url, curl_easy_strerror(code));
    }
}

static CURLcode use_authorities(CURL *h, void *ssl_ctx, void *data) {
    struct transfer *t = data;

    SSL_CTX_set1_cert_store(ssl_ctx, t->trusted);
    return CURLE_OK;
}

static int set_certificates(CURL *h, struct transfer *t, struct err *e) {
    _cleanup_free_ char *cert = NULL, *key = NULL;
    int r = 0;

    if (str_has_prefix(t->url, "http:"))
        return 0;
    if (!t->trusted)
        r = authorities_get(t->s->registry, t->s->host, &t->trusted, e);
    if (r == 0)
        r = client_certificate(t->s->host, &cert, &key, e);
    if (r < 0)
        return r;
    curl_easy_setopt(h, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(h, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(h, CURLOPT_SSL_CTX_FUNCTION, use_authorities);
    curl_easy_setopt(h, CURLOPT_SSL_CTX_DATA, t);
    if (cert) {
        curl_easy_setopt(h, CURLOPT_SSLCERT, cert);
        curl_easy_setopt(h, CURLOPT_SSLKEY, key);
    }
    return 0;
}

/* This machine is never asked for through a proxy, whatever NO_PROXY says. */
static void set_proxy(CURL *h, const struct engine_config *c, const char *url) {
    const char *proxy = str_has_prefix(url, "https:") ? c->https_proxy : c->http_proxy, *named = c->no_proxy ? c->no_proxy : "";
    _cleanup_free_ char *without = streq(named, "*") ? strdup("*") : str_printf("%s%slocalhost,127.0.0.0/8,::1", named, *named ? "," : "");

    curl_easy_setopt(h, CURLOPT_PROXY, proxy ? proxy : ""); /* "": none, and not the environment's, which the configuration has taken up */
    curl_easy_setopt(h, CURLOPT_NOPROXY, without);
}

static CURL *take_handle(struct registry_session *s) {
    CURL *h = NULL;

    pthread_mutex_lock(&s->lock);
    if (s->n_handles > 0)
        h = s->handles[--s->n_handles];
    pthread_mutex_unlock(&s->lock);
    if (!h)
        return curl_easy_init();
    curl_easy_reset(h); /* connections and TLS sessions stay */
    return h;
}

static void give_handle(struct registry_session *s, CURL *h) {
    pthread_mutex_lock(&s->lock);
    if (s->n_handles < HANDLES_KEPT) {
        s->handles[s->n_handles++] = h;
        h = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    if (h)
        curl_easy_cleanup(h);
}

static struct curl_slist *headers_of(const struct transfer *t) {
    struct curl_slist *l = curl_slist_append(NULL, "Expect:");
    _cleanup_free_ char *auth = t->authorization ? str_printf("Authorization: %s", t->authorization) : NULL;

    _cleanup_free_ char *type = t->upload_type ? str_printf("Content-Type: %s", t->upload_type) : NULL;
    _cleanup_free_ char *range = t->upload_range ? str_printf("Content-Range: %s", t->upload_range) : NULL;

    if (auth)
        l = curl_slist_append(l, auth);
    if (type)
        l = curl_slist_append(l, type);
    if (range)
        l = curl_slist_append(l, range);
    for (const char *p = t->accept; p && *p;) {
        size_t n = strcspn(p, ",");
        _cleanup_free_ char *line = str_printf("Accept: %.*s", (int)n, p);

        if (line)
            l = curl_slist_append(l, line);
        p += n + (p[n] == ',');
    }
    return l;
}

static void set_method(CURL *h, struct transfer *t) {
    if (t->form) {
        curl_easy_setopt(h, CURLOPT_COPYPOSTFIELDS, t->form);
    } else if (t->upload) {
        curl_easy_setopt(h, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, t->method);
        curl_easy_setopt(h, CURLOPT_READFUNCTION, on_upload);
        curl_easy_setopt(h, CURLOPT_READDATA, t);
        curl_easy_setopt(h, CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->upload_size);
        curl_easy_setopt(h, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
    } else if (streq(t->method, "HEAD")) {
        curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
    } else if (streq(t->method, "POST") || streq(t->method, "PUT") || streq(t->method, "PATCH")) {
        curl_easy_setopt(h, CURLOPT_POST, 1L);
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, 0L);
        curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, t->method);
    } else if (!streq(t->method, "GET")) {
        curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, t->method);
    }
    /* What is sent goes where it was meant to go. */
    if (t->upload || (!streq(t->method, "GET") && !streq(t->method, "HEAD")))
        curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
}

static void set_options(CURL *h, struct transfer *t, struct body_state *b, struct curl_slist *headers, char *range) {
    curl_easy_setopt(h, CURLOPT_URL, t->url);
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(h, CURLOPT_USERAGENT, "docker/26.1.5 UpstreamClient(hataked)");
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_REDIR_PROTOCOLS_STR, str_has_prefix(t->url, "https:") ? "https" : "http,https");
    curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(h, CURLOPT_MAXREDIRS, (long)LIMIT_REDIRECTS);
    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, STALL_SECONDS);
    curl_easy_setopt(h, CURLOPT_BUFFERSIZE, 256L * 1024);
    curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body_first);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, b);
    curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(h, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(h, CURLOPT_XFERINFODATA, t);
    set_method(h, t);
    if (range)
        curl_easy_setopt(h, CURLOPT_RANGE, range);
    if (!t->any_origin && t->s->skip_verify) {
        curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    set_proxy(h, t->s->registry->config, t->url);
}

int transfer_run(struct transfer *t, struct err *e) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct curl_slist *headers;
    struct body_state b;
    char range[32];
    CURLcode code;
    CURL *h;
    int r = 0;

    pthread_once(&once, init_curl);
    t->failure = BUF_INIT(LIMIT_TOKEN_BYTES);
    t->sink_err = ERR_INIT;
    t->content_length = t->range_to = -1;
    h = take_handle(t->s);
    headers = headers_of(t);
    r = h && headers ? set_certificates(h, t, e) : err_oom(e);
    if (r < 0) {
        if (h)
            curl_easy_cleanup(h);
        curl_slist_free_all(headers);
        return r;
    }
    b = (struct body_state){t, h};
    snprintf(range, sizeof(range), "%lld-", (long long)t->range_from);
    set_options(h, t, &b, headers, t->range_from > 0 ? range : NULL);
    code = curl_easy_perform(h);
    curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &t->status);
    if (t->was_cancelled)
        r = err_set(e, ERR_CANCELLED, "context canceled");
    else if (t->sink_result < 0)
        r = err_move(e, &t->sink_err);
    else if (code == CURLE_WRITE_ERROR)
        r = err_set(e, ERR_INTERNAL, "%s answered with more than %zu bytes where that is not allowed", t->url,
                    t->sink ? t->failure.max : t->body->max);
    else if (code != CURLE_OK)
        r = failed(t, h, code, e);
    curl_slist_free_all(headers);
    give_handle(t->s, h);
    return r;
}
