// SPDX-License-Identifier: Apache-2.0
/* Credentials and tokens. Sections: the header of API calls; challenges; tokens; errors of replies. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "registry/registry-internal.h"

static void decrefp(json_t **j) {
    json_decref(*j);
}

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
    _cleanup_(decrefp) json_t *o = NULL;
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

/* Value of a parameter of a challenge: key="value" or key=value (RFC 9110, 11.2). Fresh memory or NULL. */
static char *parameter(const char *header, const char *key) {
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
    s->realm = parameter(header, "realm");
    s->service = parameter(header, "service");
    if (str_empty(s->realm))
        return err_set(e, ERR_INTERNAL, "the registry %s asks for a token but does not say where to get it", s->host);
    /* A token server may see the password: it must be the registry itself or reached by TLS. */
    if (!str_has_prefix(s->realm, "https://") && (s->auth.username || s->auth.identity_token)) {
        size_t n = strlen(s->base);

        if (strncmp(s->realm, s->base, n) != 0)
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
    _cleanup_(decrefp) json_t *o = json_loadb(buf_str(body), body->len, 0, NULL);
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

static int fetch_token(struct registry_session *s, struct err *e) {
    _cleanup_buf_ struct buf url = BUF_INIT(KIB(64)), body = BUF_INIT(LIMIT_TOKEN_BYTES), form = BUF_INIT(KIB(64));
    _cleanup_free_ char *scope = str_printf("repository:%s:pull", s->ref.path ? s->ref.path : "");
    struct transfer t = {.s = s, .method = "GET", .body = &body, .any_origin = true};
    char *basic = NULL;
    int r;

    if (!scope)
        return err_oom(e);
    buf_adds(&url, s->realm);
    if (s->auth.identity_token) {
        buf_addc(&form, '?');
        buf_adds(&form, "grant_type=refresh_token");
        add_query(&form, "client_id", "docker");
        add_query(&form, "refresh_token", s->auth.identity_token);
        add_query(&form, "scope", scope);
        if (s->service)
            add_query(&form, "service", s->service);
        t.method = "POST";
        t.form = buf_str(&form) + 1;
    } else {
        if (s->auth.username)
            add_query(&url, "account", s->auth.username);
        if (s->ref.path)
            add_query(&url, "scope", scope);
        if (s->service)
            add_query(&url, "service", s->service);
        if (s->want_refresh) {
            add_query(&url, "offline_token", "true");
            add_query(&url, "client_id", "docker");
        }
        if (s->auth.username)
            t.authorization = basic = basic_value(&s->auth);
    }
    r = buf_check(&url, e);
    t.url = buf_str(&url);
    if (r == 0)
        r = transfer_run(&t, e);
    if (r == 0 && t.status != 200)
        r = auth_reply_error(t.status, &body, NULL, NULL, e);
    if (r == 0)
        r = parse_token(s, &body, e);
    wipe(&basic);
    if (form.data)
        explicit_bzero(form.data, form.len);
    if (body.data)
        explicit_bzero(body.data, body.len);
    transfer_done(&t);
    return r;
}

int auth_header(struct registry_session *s, const char *shown, const char *url, bool renew, char **ret, struct err *e) {
    int r = 0;

    *ret = NULL;
    if (s->auth.registry_token)
        *ret = str_printf("Bearer %s", s->auth.registry_token);
    else if (s->scheme == AUTH_BASIC && !s->auth.username)
        return err_set(e, ERR_INTERNAL, "%s \"%s\": no basic auth credentials", shown, url);
    else if (s->scheme == AUTH_BASIC)
        *ret = basic_value(&s->auth);
    else if (s->scheme == AUTH_NONE)
        return 0;
    if (s->scheme == AUTH_BEARER && !*ret) {
        pthread_mutex_lock(&s->lock);
        if (renew || !s->token || clock_mono_ns() >= s->token_until) {
            /* The lock is let go meanwhile: the fetch takes a handle under it. Two threads may both fetch, which is harmless. */
            pthread_mutex_unlock(&s->lock);
            r = fetch_token(s, e);
            pthread_mutex_lock(&s->lock);
        }
        if (r == 0)
            *ret = str_printf("Bearer %s", s->token);
        pthread_mutex_unlock(&s->lock);
        if (r < 0)
            return r == -ERR_CANCELLED ? r : err_wrap(e, "%s \"%s\"", shown, url);
    }
    return *ret ? 0 : err_oom(e);
}

/* ---- errors of replies ---------------------------------------------------------------------------------------------------------------- */

struct known_code {
    const char *code, *text; /* as the reference prints it: lower case, blanks for underscores */
};
static const struct known_code codes[] = {
    {"DENIED", "denied"},
    {"UNAUTHORIZED", "unauthorized"},
    {"MANIFEST_UNKNOWN", "manifest unknown"},
    {"NAME_UNKNOWN", "name unknown"},
    {"NAME_INVALID", "name invalid"},
    {"TAG_INVALID", "tag invalid"},
    {"BLOB_UNKNOWN", "blob unknown"},
    {"DIGEST_INVALID", "digest invalid"},
    {"MANIFEST_INVALID", "manifest invalid"},
    {"TOOMANYREQUESTS", "toomanyrequests"},
    {"UNSUPPORTED", "unsupported"},
    {"UNAVAILABLE", "unavailable"},
    {"UNKNOWN", "unknown"},
};

static const struct known_code *find_code(const char *code) {
    for (size_t i = 0; i < ELEMENTSOF(codes); i++)
        if (streq(codes[i].code, code))
            return &codes[i];
    return &codes[ELEMENTSOF(codes) - 1];
}

/* Texts of a registry are shown to people: no control characters, and not a screenful. */
static char *tame(const char *s) {
    char *copy = strndup(s, 512);

    for (char *p = copy; p && *p; p++)
        if ((unsigned char)*p < 32 || *p == 127)
            *p = ' ';
    return copy;
}

int auth_reply_error(long status, const struct buf *body, const char *challenge, const char **ret_code, struct err *e) {
    _cleanup_(decrefp) json_t *o = json_loadb(buf_str(body), body->len, 0, NULL);
    json_t *first = json_array_get(json_object_get(o, "errors"), 0);
    const char *code = json_string_value(json_object_get(first, "code")), *message = json_string_value(json_object_get(first, "message"));
    const char *details = json_string_value(json_object_get(o, "details"));
    _cleanup_free_ char *shown = NULL, *why = challenge ? parameter(challenge, "error") : NULL;

    if (why && streq(why, "insufficient_scope")) {
        code = "DENIED";
        message = "requested access to the resource is denied";
    }
    if (!code && status == 401) {
        code = "UNAUTHORIZED";
        message = details ? details : "authentication required";
    }
    if (!code && status == 429) {
        code = "TOOMANYREQUESTS";
        message = details ? details : "too many requests";
    }
    if (ret_code)
        *ret_code = code ? find_code(code)->code : NULL;
    if (!code && status == 404)
        return err_set(e, ERR_INTERNAL, "error parsing HTTP 404 response body: the registry answered with something else than the API");
    if (!code)
        return err_set(e, ERR_INTERNAL, "received unexpected HTTP status: %ld", status);
    shown = tame(message ? message : find_code(code)->text);
    if (streq(find_code(code)->code, "UNKNOWN"))
        return err_set(e, ERR_INTERNAL, "unknown: %s", shown ? shown : "");
    return err_set(e, ERR_INTERNAL, "%s: %s", find_code(code)->text, shown ? shown : "");
}
