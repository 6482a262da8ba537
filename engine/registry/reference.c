// SPDX-License-Identifier: Apache-2.0
/* Image names. Source: the grammar of distribution/reference, as comments of that project's documentation give it. */
#include "registry/reference.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

#define DEFAULT_DOMAIN "docker.io"
#define LEGACY_DOMAIN "index.docker.io"
#define OFFICIAL "library/"
#define NAME_MAX_CHARS 255

void reference_done(struct reference *r) {
    free(r->domain);
    free(r->path);
    free(r->tag);
    free(r->digest);
    *r = REFERENCE_INIT;
}

static bool is_hex(const char *s, size_t n) {
    return strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

bool reference_is_id(const char *s) {
    return is_hex(s, 64);
}

bool digest_is_valid(const char *s) {
    const char *hex = str_after(s, "sha256:");

    return hex && is_hex(hex, 64);
}

bool tag_is_valid(const char *s) {
    size_t n = strlen(s);

    if (n < 1 || n > 128 || !(isalnum((unsigned char)s[0]) || s[0] == '_'))
        return false;
    for (size_t i = 1; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("_.-", s[i]))
            return false;
    return true;
}

/* [a-z0-9]+ joined by ".", "_", "__" or dashes. */
static bool component_is_valid(const char *s, size_t n) {
    size_t i = 0;

    for (;;) {
        size_t start = i;

        while (i < n && (islower((unsigned char)s[i]) || isdigit((unsigned char)s[i])))
            i++;
        if (i == start)
            return false;
        if (i == n)
            return true;
        if (s[i] == '.')
            i++;
        else if (s[i] == '_')
            i += s[i + 1] == '_' ? 2 : 1;
        else if (s[i] == '-')
            while (i < n && s[i] == '-')
                i++;
        else
            return false;
    }
}

static bool path_is_valid(const char *s) {
    for (;;) {
        const char *end = strchrnul(s, '/');

        if (!component_is_valid(s, (size_t)(end - s)))
            return false;
        if (!*end)
            return true;
        s = end + 1;
    }
}

static bool host_label_is_valid(const char *s, size_t n) {
    if (n == 0 || !isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && s[i] != '-')
            return false;
    return true;
}

/* Host name or address in brackets, and an optional port. */
static bool domain_is_valid(const char *s) {
    const char *host_end = strchrnul(s, ':'), *port = NULL;

    if (*s == '[') {
        host_end = strchr(s, ']');
        if (!host_end || host_end == s + 1 || strspn(s + 1, "0123456789abcdefABCDEF:") != (size_t)(host_end - s - 1))
            return false;
        host_end++;
    }
    if (*host_end == ':')
        port = host_end + 1;
    else if (*host_end)
        return false;
    if (port && (!*port || strspn(port, "0123456789") != strlen(port)))
        return false;
    if (*s == '[')
        return true;
    for (const char *p = s; p <= host_end;) {
        const char *dot = memchr(p, '.', (size_t)(host_end - p));
        const char *end = dot ? dot : host_end;

        if (!host_label_is_valid(p, (size_t)(end - p)))
            return false;
        if (!dot)
            return true;
        p = dot + 1;
    }
    return false;
}

/* Where the first part is a host: it has a dot, a port, is "localhost", or has an upper-case letter. */
static bool first_is_domain(const char *s, size_t n) {
    if (memchr(s, '.', n) || memchr(s, ':', n) || (n == 9 && memcmp(s, "localhost", 9) == 0))
        return true;
    for (size_t i = 0; i < n; i++)
        if (isupper((unsigned char)s[i]))
            return true;
    return false;
}

static int bad_format(struct err *e) {
    return err_set(e, ERR_INVALID, "invalid reference format");
}

static int split_domain(const char *s, struct reference *r, char **ret_rest, struct err *e) {
    const char *slash = strchr(s, '/');
    const char *rest = s;

    if (slash && first_is_domain(s, (size_t)(slash - s))) {
        r->domain = strndup(s, (size_t)(slash - s));
        rest = slash + 1;
    } else {
        r->domain = strdup(DEFAULT_DOMAIN);
    }
    if (!r->domain)
        return err_oom(e);
    if (streq(r->domain, LEGACY_DOMAIN) && str_set(&r->domain, DEFAULT_DOMAIN) < 0)
        return err_oom(e);
    *ret_rest = str_printf("%s%s", streq(r->domain, DEFAULT_DOMAIN) && !strchr(rest, '/') ? OFFICIAL : "", rest);
    return *ret_rest ? 0 : err_oom(e);
}

static int take_digest(struct reference *r, char *rest, struct err *e) {
    char *at = strchr(rest, '@'), *colon;

    if (!at)
        return 0;
    colon = strchr(at, ':');
    if (!colon || colon == at + 1 || strlen(colon + 1) < 32 || strspn(colon + 1, "0123456789abcdefABCDEF") != strlen(colon + 1))
        return bad_format(e);
    *at = *colon = 0;
    if (!streq(at + 1, "sha256") && !streq(at + 1, "sha384") && !streq(at + 1, "sha512"))
        return err_set(e, ERR_INVALID, "unsupported digest algorithm");
    if (strlen(colon + 1) != (streq(at + 1, "sha256") ? 64u : streq(at + 1, "sha384") ? 96u : 128u))
        return err_set(e, ERR_INVALID, "invalid checksum digest length");
    if (strspn(colon + 1, "0123456789abcdef") != strlen(colon + 1))
        return err_set(e, ERR_INVALID, "invalid checksum digest format");
    r->digest = str_printf("%s:%s", at + 1, colon + 1);
    return r->digest ? 0 : err_oom(e);
}

int reference_parse(const char *s, struct reference *ret, struct err *e) {
    _cleanup_reference_ struct reference r = REFERENCE_INIT;
    _cleanup_free_ char *rest = NULL;
    char *colon;
    int n;

    if (reference_is_id(s))
        return err_set(e, ERR_INVALID, "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", s);
    n = split_domain(s, &r, &rest, e);
    if (n < 0)
        return n;
    /* The reference tells upper case apart from other faults, looking at what stands before the first colon. */
    for (const char *p = rest; *p && *p != ':'; p++)
        if (isupper((unsigned char)*p))
            return err_set(e, ERR_INVALID, "invalid reference format: repository name (%.*s) must be lowercase", (int)strcspn(rest, ":"), rest);
    n = take_digest(&r, rest, e);
    if (n < 0)
        return n;
    colon = strchr(rest, ':');
    if (colon) {
        *colon = 0;
        if (!tag_is_valid(colon + 1))
            return bad_format(e);
        r.tag = strdup(colon + 1);
        if (!r.tag)
            return err_oom(e);
    }
    if (!domain_is_valid(r.domain) || !path_is_valid(rest))
        return bad_format(e);
    if (strlen(r.domain) + 1 + strlen(rest) > NAME_MAX_CHARS)
        return err_set(e, ERR_INVALID, "repository name must not be more than %d characters", NAME_MAX_CHARS);
    r.path = TAKE_PTR(rest);
    *ret = r;
    r = REFERENCE_INIT;
    return 0;
}

int reference_copy(struct reference *to, const struct reference *from, struct err *e) {
    _cleanup_reference_ struct reference r = {str_dup(from->domain), str_dup(from->path), str_dup(from->tag), str_dup(from->digest)};

    if ((from->domain && !r.domain) || (from->path && !r.path) || (from->tag && !r.tag) || (from->digest && !r.digest))
        return err_oom(e);
    *to = r;
    r = REFERENCE_INIT;
    return 0;
}

int reference_default_tag(struct reference *r, struct err *e) {
    if (r->tag || r->digest)
        return 0;
    r->tag = strdup("latest");
    return r->tag ? 0 : err_oom(e);
}

static char *with_tail(const struct reference *r, const char *name) {
    return str_printf("%s%s%s%s%s", name, r->tag ? ":" : "", r->tag ? r->tag : "", r->digest ? "@" : "", r->digest ? r->digest : "");
}

char *reference_name(const struct reference *r) {
    return str_printf("%s/%s", r->domain, r->path);
}

char *reference_familiar_name(const struct reference *r) {
    const char *rest;

    if (!streq(r->domain, DEFAULT_DOMAIN))
        return reference_name(r);
    rest = str_after(r->path, OFFICIAL);
    /* library/a/b keeps its prefix: only one component after it is an official name. */
    return strdup(rest && !strchr(rest, '/') ? rest : r->path);
}

char *reference_canonical(const struct reference *r) {
    _cleanup_free_ char *name = reference_name(r);

    return name ? with_tail(r, name) : NULL;
}

char *reference_familiar(const struct reference *r) {
    _cleanup_free_ char *name = reference_familiar_name(r);

    return name ? with_tail(r, name) : NULL;
}
