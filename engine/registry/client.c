// SPDX-License-Identifier: Apache-2.0
/* Finding a registry and talking to it. Sections: where a registry is; sessions; requests; login. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "registry/registry-internal.h"

/* ---- where a registry is ------------------------------------------------------------------------------------------------------------ */

/* One IPv4 or IPv6 network as CIDR text; does it hold the address? */
static bool cidr_has(const char *cidr, const char *address) {
    _cleanup_free_ char *net = strndup(cidr, strcspn(cidr, "/"));
    const char *slash = strchr(cidr, '/');
    static const int families[] = {AF_INET, AF_INET6};
    unsigned char a[16], n[16];
    int64_t bits;

    for (size_t i = 0; net && slash && i < ELEMENTSOF(families); i++) {
        if (inet_pton(families[i], net, n) != 1 || inet_pton(families[i], address, a) != 1)
            continue;
        if (parse_int_range(slash + 1, 0, i == 0 ? 32 : 128, &bits) < 0 || memcmp(a, n, (size_t)bits / 8) != 0)
            return false;
        return bits % 8 == 0 || ((a[bits / 8] ^ n[bits / 8]) >> (8 - bits % 8)) == 0;
    }
    return false;
}

static bool any_cidr_has(const struct engine_config *c, const char *address) {
    if (cidr_has("127.0.0.0/8", address))
        return true;
    for (size_t i = 0; i < c->insecure_registries.n; i++)
        if (strchr(c->insecure_registries.v[i], '/') && cidr_has(c->insecure_registries.v[i], address))
            return true;
    return false;
}

/* Named as insecure, or resolving into a network that is. */
bool registry_may_be_insecure(const struct engine_config *c, const char *host_port) {
    _cleanup_free_ char *host =
        host_port[0] == '[' ? strndup(host_port + 1, strcspn(host_port + 1, "]")) : strndup(host_port, strcspn(host_port, ":"));
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    bool found = false;

    if (strv_has(&c->insecure_registries, host_port))
        return true;
    if (!host || getaddrinfo(host, NULL, &hints, &list) != 0)
        return false;
    for (struct addrinfo *i = list; i && !found; i = i->ai_next) {
        char text[NI_MAXHOST];

        if (getnameinfo(i->ai_addr, i->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) == 0)
            found = any_cidr_has(c, text);
    }
    freeaddrinfo(list);
    return found;
}

void registry_set_config(struct registry *r, const struct engine_config *config) {
    r->config = config;
}

int registry_new(const struct engine_config *config, struct registry **ret, struct err *e) {
    struct registry *r = calloc(1, sizeof(*r));

    if (!r)
        return err_oom(e);
    r->config = config;
    pthread_mutex_init(&r->lock, NULL);
    *ret = r;
    return 0;
}

struct registry *registry_free(struct registry *r) {
    if (!r)
        return NULL;
    authorities_done(r);
    pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}

/* ---- sessions --------------------------------------------------------------------------------------------------------------------------- */

struct registry_session *registry_session_ref(struct registry_session *s) {
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void registry_session_forget_caller(struct registry_session *s) {
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->cancelled = NULL;
    pthread_mutex_unlock(&s->lock);
}

bool session_cancelled(struct registry_session *s) {
    bool is;

    pthread_mutex_lock(&s->lock);
    is = s->cancelled && s->cancelled(s->cancelled_arg);
    pthread_mutex_unlock(&s->lock);
    return is;
}

struct registry_session *registry_session_free(struct registry_session *s) {
    if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
        return NULL;
    for (size_t i = 0; i < s->n_handles; i++)
        curl_easy_cleanup(s->handles[i]);
    reference_done(&s->ref);
    registry_auth_done(&s->auth);
    registry_auth_done(&s->own_auth);
    wipe(&s->token);
    free(s->token_from);
    wipe(&s->refresh_token);
    free(s->base);
    free(s->host);
    free(s->realm);
    free(s->service);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

static void session_freep(struct registry_session **s) {
    registry_session_free(*s);
}

static int copy_auth(struct registry_auth *to, const struct registry_auth *from, struct err *e) {
    if (!from)
        return 0;
    if (str_set(&to->username, from->username) < 0 || str_set(&to->password, from->password) < 0 ||
        str_set(&to->identity_token, from->identity_token) < 0 || str_set(&to->registry_token, from->registry_token) < 0)
        return err_oom(e);
    return 0;
}

/* Ask GET /v2/: any answer means that a registry is there; a 401 says how to authenticate. */
static int ping(struct registry_session *s, const char *scheme, const char *host, bool skip_verify, struct err *e) {
    _cleanup_free_ char *url = str_printf("%s://%s/v2/", scheme, host);
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_TOKEN_BYTES);
    struct transfer t = {.s = s, .method = "GET", .url = url, .body = &body};
    int r;

    if (!url || str_set(&s->host, host) < 0)
        return err_oom(e);
    free(s->base);
    s->base = str_printf("%s://%s", scheme, host);
    s->skip_verify = skip_verify;
    s->scheme = AUTH_NONE;
    r = s->base ? transfer_run(&t, e) : err_oom(e);
    if (r == 0 && t.challenge)
        r = auth_challenge(s, t.challenge, e);
    transfer_done(&t);
    return r;
}

/* "https://mirror.example/" → scheme and host; a path of a mirror is not part of the registry API. */
static int ping_mirror(struct registry_session *s, const char *mirror) {
    const char *sep = strstr(mirror, "://");
    _cleanup_free_ char *scheme = sep ? strndup(mirror, (size_t)(sep - mirror)) : NULL, *host = sep ? strndup(sep + 3, strcspn(sep + 3, "/")) : NULL;

    return scheme && host ? ping(s, scheme, host, false, NULL) : -ERR_INVALID;
}

/* The first place that answers: mirrors from number `mirror` on, then the registry itself. */
static int find_endpoint(struct registry_session *s, size_t mirror, struct err *e) {
    const struct engine_config *c = s->registry->config;
    bool hub = streq(s->ref.domain, "docker.io"), insecure;
    int r;

    /* Credentials of the default registry are not for its mirrors. */
    s->own_auth = s->auth;
    s->auth = (struct registry_auth){0};
    for (size_t i = mirror; hub && i < c->registry_mirrors.n; i++) {
        s->mirror = i + 1;
        r = ping_mirror(s, c->registry_mirrors.v[i]);
        if (r == 0)
            return 0;
        if (r == -ERR_CANCELLED)
            return err_set(e, ERR_CANCELLED, "context canceled");
    }
    s->mirror = 0;
    s->auth = s->own_auth;
    s->own_auth = (struct registry_auth){0};
    if (hub)
        return ping(s, "https", "registry-1.docker.io", false, e);
    insecure = registry_may_be_insecure(c, s->ref.domain);
    r = ping(s, "https", s->ref.domain, insecure, e);
    if (r < 0 && r != -ERR_CANCELLED && insecure)
        r = ping(s, "http", s->ref.domain, true, e);
    return r;
}

/* Inside this folder "unavailable" means: nobody answered. The API answers 500 for it. */
int registry_as_internal(int r, struct err *e) {
    if (r == -ERR_UNAVAILABLE && e)
        e->kind = ERR_INTERNAL;
    return r == -ERR_UNAVAILABLE ? -ERR_INTERNAL : r;
}

static int session_new(struct registry *registry, const struct reference *ref, const struct registry_auth *auth, size_t mirror,
                       registry_cancelled_fn *cancelled, void *arg, struct registry_session **ret, struct err *e) {
    _cleanup_(session_freep) struct registry_session *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return err_oom(e);
    pthread_mutex_init(&s->lock, NULL);
    s->refs = 1;
    s->registry = registry;
    s->cancelled = cancelled;
    s->cancelled_arg = arg;
    r = reference_copy(&s->ref, ref, e);
    if (r == 0)
        r = copy_auth(&s->auth, auth, e);
    if (r == 0)
        r = find_endpoint(s, mirror, e);
    if (r < 0)
        return registry_as_internal(r, e);
    *ret = TAKE_PTR(s);
    return 0;
}

int registry_session_new(struct registry *registry, const struct reference *ref, const struct registry_auth *auth, registry_cancelled_fn *cancelled,
                         void *arg, struct registry_session **ret, struct err *e) {
    return session_new(registry, ref, auth, 0, cancelled, arg, ret, e);
}

int registry_session_elsewhere(const struct registry_session *s, struct registry_session **ret, struct err *e) {
    *ret = NULL;
    if (s->mirror == 0)
        return 0;
    return session_new(s->registry, &s->ref, &s->own_auth, s->mirror, s->cancelled, s->cancelled_arg, ret, e);
}

/* ---- requests ----------------------------------------------------------------------------------------------------------------------------- */

void registry_session_purpose(struct registry_session *s, enum registry_purpose purpose) {
    s->purpose = purpose;
}

int session_run(struct transfer *t, const char *shown, struct err *e) {
    for (int attempt = 0;; attempt++) {
        char *value = NULL;
        int r = auth_header(t->s, shown, t->url, t->mount_from, attempt > 0, &value, e);

        if (r < 0)
            return r;
        t->authorization = value;
        r = transfer_run(t, e);
        wipe(&value);
        t->authorization = NULL;
        if (r < 0 || t->status != 401 || attempt > 0 || t->s->scheme != AUTH_BEARER || t->upload)
            return r;
        if (t->body)
            buf_reset(t->body);
        transfer_done(t);
    }
}

/* ---- login -------------------------------------------------------------------------------------------------------------------------------- */

/* A server as somebody typed it. */
static int check_address(const char *address, struct err *e) {
    const char *scheme = strstr(address, "://"), *host = scheme ? scheme + 3 : address, *port;
    size_t n = strcspn(host, "/"), bad = strcspn(host, " \\^`{|}");
    _cleanup_free_ char *url = scheme ? strdup(address) : str_printf("https://%s", address);

    if (!url)
        return err_oom(e);
    if (bad < n)
        return err_set(e, ERR_INVALID, "unable to parse server address: parse \"%s\": invalid character \"%c\" in host name", url, host[bad]);
    port = memrchr(host, ':', n);
    if (port && *host != '[' && strspn(port + 1, "0123456789") != (size_t)(host + n - port - 1))
        return err_set(e, ERR_INVALID, "unable to parse server address: parse \"%s\": invalid port \"%.*s\" after host", url, (int)(host + n - port),
                       port);
    return 0;
}

int registry_login(struct registry *registry, const struct registry_auth *auth, char **ret_token, struct err *e) {
    const char *server = str_empty(auth->server_address) ? "docker.io" : auth->server_address, *scheme = strstr(server, "://");
    _cleanup_(session_freep) struct registry_session *s = NULL;
    _cleanup_free_ char *domain = NULL, *url = NULL;
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_TOKEN_BYTES);
    struct reference ref = REFERENCE_INIT;
    struct transfer t;
    int r = check_address(server, e);

    if (r < 0)
        return r;
    if (scheme)
        server = scheme + 3;
    domain = strndup(server, strcspn(server, "/"));
    if (!domain)
        return err_oom(e);
    if (streq(domain, "index.docker.io") && str_set(&domain, "docker.io") < 0)
        return err_oom(e);
    ref.domain = domain;
    r = registry_session_new(registry, &ref, auth, NULL, NULL, &s, e);
    if (r < 0)
        return r;
    url = str_printf("%s/v2/", s->base);
    if (!url)
        return err_oom(e);
    s->want_refresh = true;
    t = (struct transfer){.s = s, .method = "GET", .url = url, .body = &body};
    r = session_run(&t, "Get", e);
    if (r == 0 && t.status != 200)
        r = err_set(e, ERR_INTERNAL, "login attempt to %s failed with status: %ld %s", url, t.status, http_phrase(t.status));
    transfer_done(&t);
    if (r < 0 && e && strstr(err_msg(e), ": unauthorized: ")) {
        e->kind = ERR_UNAUTHORIZED;
        return -ERR_UNAUTHORIZED;
    }
    if (r < 0)
        return registry_as_internal(r, e);
    *ret_token = TAKE_PTR(s->refresh_token);
    return 0;
}
