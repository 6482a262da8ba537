// SPDX-License-Identifier: Apache-2.0
/* Credentials and tokens. Sections: the header of API calls; challenges; tokens. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "registry/registry-internal.h"

void wipe(char **s) {
    if (*s) {
        explicit_bzero(*s, strlen(*s));
        free(*s);
        *s = NULL;
    }
}

void registry_auth_done(struct registry_auth *a) {
    wipe(&a->username);
    wipe(&a->password);
    wipe(&a->identity_token);
    wipe(&a->registry_token);
    wipe(&a->server_address);
}

/* ---- the header of API calls ------------------------------------------------------------------------------------------------------ */

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '-' || c == '+')
        return 62;
    if (c == '_' || c == '/')
        return 63;
    return -1;
}

/* RFC 4648 section 5, padding optional. */
static char *base64_decode(const char *s, size_t *ret_n) {
    size_t n = strlen(s), out = 0;
    unsigned bits = 0, acc = 0;
    char *p;

    while (n > 0 && s[n - 1] == '=')
        n--;
    p = malloc(n + 1);
    for (size_t i = 0; p && i < n; i++) {
        int v = base64_value(s[i]);

        if (v < 0) {
            free(p);
            return NULL;
        }
        acc = acc << 6 | (unsigned)v;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            p[out++] = (char)(acc >> bits);
        }
    }
    if (p)
        p[out] = 0;
    *ret_n = out;
    return p;
}

static int take_text(json_t *o, const char *key, char **slot, struct err *e) {
    const char *v = json_string_value(json_object_get(o, key));

    return !str_empty(v) && str_set(slot, v) < 0 ? err_oom(e) : 0;
}

int registry_auth_parse(const char *header, struct registry_auth *ret, struct err *e) {
    json_auto_t *o = NULL;
    struct registry_auth a = {0};
    char *text;
    size_t n = 0;

    *ret = a;
    if (str_empty(header))
        return 0;
    text = base64_decode(header, &n);
    o = text ? json_loadb(text, n, 0, NULL) : NULL;
    wipe(&text);
    if (!json_is_object(o))
        return err_set(e, ERR_INVALID, "invalid X-Registry-Auth header: it is not base64url of a JSON object");
    if (take_text(o, "username", &a.username, e) < 0 || take_text(o, "password", &a.password, e) < 0 ||
        take_text(o, "identitytoken", &a.identity_token, e) < 0 || take_text(o, "registrytoken", &a.registry_token, e) < 0 ||
        take_text(o, "serveraddress", &a.server_address, e) < 0) {
        registry_auth_done(&a);
        return -ERR_INTERNAL;
    }
    /* Very old clients send user and password as one base64 text. */
    if (!a.username && json_is_string(json_object_get(o, "auth"))) {
        char *both = base64_decode(json_string_value(json_object_get(o, "auth")), &n), *colon = both ? strchr(both, ':') : NULL;

        if (colon) {
            *colon = 0;
            a.username = strdup(both);
            a.password = strdup(colon + 1);
            *colon = ':';
        }
        wipe(&both);
    }
    *ret = a;
    return 0;
}

static char *base64_encode(const char *s, size_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = malloc((n + 2) / 3 * 4 + 1), *p = out;

    for (size_t i = 0; out && i < n; i += 3) {
        unsigned v = (unsigned)(unsigned char)s[i] << 16;

        v |= i + 1 < n ? (unsigned)(unsigned char)s[i + 1] << 8 : 0;
        v |= i + 2 < n ? (unsigned)(unsigned char)s[i + 2] : 0;
        *p++ = digits[v >> 18];
        *p++ = digits[v >> 12 & 63];
        *p++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
        *p++ = i + 2 < n ? digits[v & 63] : '=';
    }
    if (out)
        *p = 0;
    return out;
}

static char *basic_value(const struct registry_auth *a) {
    char *both = str_printf("%s:%s", a->username ? a->username : "", a->password ? a->password : "");
    char *code = both ? base64_encode(both, strlen(both)) : NULL;
    char *value = code ? str_printf("Basic %s", code) : NULL;

    wipe(&both);
    wipe(&code);
    return value;
}

/* ---- challenges -------------------------------------------------------------------------------------------------------------------------- */

char *auth_parameter(const char *header, const char *key) {
    const char *p = header;
    size_t k = strlen(key);

    while ((p = strcasestr(p, key))) {
        const char *v = p + k;

        if ((p > header && !strchr(" ,", p[-1])) || *v != '=') {
            p += k;
            continue;
        }
        v++;
        if (*v == '"')
            return strndup(v + 1, strcspn(v + 1, "\""));
        return strndup(v, strcspn(v, ", "));
    }
    return NULL;
}

int auth_challenge(struct registry_session *s, const char *header, struct err *e) {
    if (strncasecmp(header, "Basic", 5) == 0) {
        s->scheme = AUTH_BASIC;
        return 0;
    }
    if (strncasecmp(header, "Bearer", 6) != 0)
        return 0;
    free(s->realm);
    free(s->service);
    s->realm = auth_parameter(header, "realm");
    s->service = auth_parameter(header, "service");
    if (str_empty(s->realm))
        return err_set(e, ERR_INTERNAL, "the registry %s asks for a token but does not say where to get it", s->host);
    /* A token server may see the password: it must be the registry itself or reached by TLS. */
    if (!str_has_prefix(s->realm, "https://") && (s->auth.username || s->auth.identity_token)) {
        size_t n = strlen(s->base);

        /* Whole: http://host:5000 is not where http://host:50001 is. */
        if (strncmp(s->realm, s->base, n) != 0 || !strchr("/?", s->realm[n]))
            return err_set(e, ERR_INTERNAL,
                           "the registry %s wants credentials sent to %s, which is neither itself nor protected by TLS: they are not sent", s->host,
                           s->realm);
    }
    s->scheme = AUTH_BEARER;
    return 0;
}

/* ---- tokens ------------------------------------------------------------------------------------------------------------------------------- */

static void add_query(struct buf *b, const char *key, const char *value) {
    buf_addf(b, "%s%s=", b->len && strchr(buf_str(b), '?') ? "&" : "?", key);
    for (; *value; value++) {
        if ((*value >= 'a' && *value <= 'z') || (*value >= 'A' && *value <= 'Z') || (*value >= '0' && *value <= '9') || strchr("-_.~", *value))
            buf_addc(b, *value);
        else
            buf_addf(b, "%%%02X", (unsigned char)*value);
    }
}

static int parse_token(struct registry_session *s, const struct buf *body, struct err *e) {
    json_auto_t *o = json_loadb(buf_str(body), body->len, 0, NULL);
    const char *token = json_string_value(json_object_get(o, "token"));
    int64_t lifetime = json_integer_value(json_object_get(o, "expires_in"));

    if (!token)
        token = json_string_value(json_object_get(o, "access_token"));
    if (str_empty(token) || strpbrk(token, "\r\n"))
        return err_set(e, ERR_INTERNAL, "authorization server did not include a token in the response");
    if (s->want_refresh && json_is_string(json_object_get(o, "refresh_token")) &&
        str_set(&s->refresh_token, json_string_value(json_object_get(o, "refresh_token"))) < 0)
        return err_oom(e);
    wipe(&s->token);
    s->token = strdup(token);
    if (!s->token)
        return err_oom(e);
    if (lifetime < 60)
        lifetime = 60;
    /* Renewed a little early: clocks and queues. */
    s->token_until = clock_mono_ns() + (MIN(lifetime, INT64_C(86400)) * 9 / 10) * NSEC_PER_SEC;
    return 0;
}

/* What the token is for, one line each: the session's repository, and one that is only read from. */
static int scopes_of(struct registry_session *s, const char *mount_from, char *ret[2], struct err *e) {
    ret[0] = str_printf("repository:%s:%s", s->ref.path ? s->ref.path : "", s->purpose == REGISTRY_PUSH ? "push,pull" : "pull");
    ret[1] = mount_from ? str_printf("repository:%s:pull", mount_from) : NULL;
    return ret[0] && (ret[1] || !mount_from) ? 0 : err_oom(e);
}

static int ask_token(struct registry_session *s, char *const scopes[2], struct buf *body, struct err *e) {
    _cleanup_buf_ struct buf url = BUF_INIT(KIB(64)), form = BUF_INIT(KIB(64));
    _cleanup_free_ char *both = scopes[1] ? str_printf("%s %s", scopes[0], scopes[1]) : strdup(scopes[0]);
    struct transfer t = {.s = s, .method = "GET", .body = body, .any_origin = true};
    char *basic = NULL;
    int r;

    if (!both)
        return err_oom(e);
    buf_adds(&url, s->realm);
    if (s->auth.identity_token) {
        buf_addc(&form, '?');
        buf_adds(&form, "grant_type=refresh_token");
        add_query(&form, "client_id", "docker");
        add_query(&form, "refresh_token", s->auth.identity_token);
        add_query(&form, "scope", both);
        if (s->service)
            add_query(&form, "service", s->service);
        t.method = "POST";
        t.form = buf_str(&form) + 1;
    } else {
        bool whole = !str_empty(s->auth.username) && !str_empty(s->auth.password); /* half of it counts as none */

        if (whole)
            add_query(&url, "account", s->auth.username);
        for (int i = 0; i < 2 && s->ref.path && scopes[i]; i++)
            add_query(&url, "scope", scopes[i]);
        if (s->service)
            add_query(&url, "service", s->service);
        if (s->want_refresh) {
            add_query(&url, "offline_token", "true");
            add_query(&url, "client_id", "docker");
        }
        if (whole)
            t.authorization = basic = basic_value(&s->auth);
    }
    r = buf_check(&url, e);
    t.url = buf_str(&url);
    if (r == 0)
        r = transfer_run(&t, e);
    if (r == 0 && t.status != 200)
        r = auth_reply_error(t.status, body, NULL, NULL, e);
    wipe(&basic);
    if (form.data)
        explicit_bzero(form.data, form.len);
    transfer_done(&t);
    return r;
}

/* *ret: the token in fresh memory, which another thread may have replaced in the session meanwhile. */
static int fetch_token(struct registry_session *s, const char *mount_from, char **ret, struct err *e) {
    _cleanup_buf_ struct buf body = BUF_INIT(LIMIT_TOKEN_BYTES);
    char *scopes[2] = {NULL, NULL}, *from = str_dup(mount_from);
    int r = scopes_of(s, mount_from, scopes, e);

    if (r == 0)
        r = ask_token(s, scopes, &body, e);
    if (r == 0) {
        pthread_mutex_lock(&s->lock);
        r = parse_token(s, &body, e);
        free(s->token_from);
        s->token_from = TAKE_PTR(from);
        if (r == 0 && !(*ret = strdup(s->token)))
            r = err_oom(e);
        pthread_mutex_unlock(&s->lock);
    }
    if (body.data)
        explicit_bzero(body.data, body.len);
    free(from);
    free(scopes[0]);
    free(scopes[1]);
    return r;
}

int auth_header(struct registry_session *s, const char *shown, const char *url, const char *mount_from, bool renew, char **ret, struct err *e) {
    int r = 0;

    *ret = NULL;
    if (s->auth.registry_token)
        *ret = str_printf("Bearer %s", s->auth.registry_token);
    else if (s->scheme == AUTH_BASIC && (str_empty(s->auth.username) || str_empty(s->auth.password)))
        return s->purpose == REGISTRY_PUSH ? err_set(e, ERR_INTERNAL, "no basic auth credentials")
                                           : err_set(e, ERR_INTERNAL, "%s \"%s\": no basic auth credentials", shown, url);
    else if (s->scheme == AUTH_BASIC)
        *ret = basic_value(&s->auth);
    else if (s->scheme == AUTH_NONE)
        return 0;
    if (s->scheme == AUTH_BEARER && !*ret) {
        char *token = NULL;

        pthread_mutex_lock(&s->lock);
        if (!renew && s->token && clock_mono_ns() < s->token_until && (!mount_from || streq_ptr(mount_from, s->token_from)))
            token = strdup(s->token);
        pthread_mutex_unlock(&s->lock);
        /* Two threads may both fetch one, which is harmless. */
        if (!token)
            r = fetch_token(s, mount_from, &token, e);
        if (r < 0)
            return r == -ERR_CANCELLED || s->purpose == REGISTRY_PUSH ? r : err_wrap(e, "%s \"%s\"", shown, url);
        *ret = str_printf("Bearer %s", token);
        wipe(&token);
    }
    return *ret ? 0 : err_oom(e);
}
