// SPDX-License-Identifier: Apache-2.0
#include "registry/reference.h"

#include <ctype.h>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/str.h"

#define HUB "docker.io"
#define HUB_OLD "index.docker.io"
#define NAME_MAX_TOTAL 255

void reference_done(struct reference *r) {
    free(r->domain);
    free(r->path);
    free(r->tag);
    free(r->digest);
    *r = REFERENCE_INIT;
}

static bool lower_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool letter_or_digit(char c) {
    return lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

bool reference_is_id(const char *s) {
    return id_is_full(s);
}

bool tag_is_valid(const char *s) {
    size_t n = strlen(s);

    if (n == 0 || n > 128 || !(letter_or_digit(*s) || *s == '_'))
        return false;
    for (size_t i = 1; i < n; i++)
        if (!letter_or_digit(s[i]) && s[i] != '_' && s[i] != '.' && s[i] != '-')
            return false;
    return true;
}

bool digest_is_valid(const char *s) {
    const char *hex = str_after(s, "sha256:");

    return hex && id_is_full(hex);
}

/* [a-z0-9]+ joined by one of . _ __ or any number of dashes. */
static bool path_component(const char *p, size_t n) {
    size_t i = 0;

    while (i < n) {
        size_t start = i;

        while (i < n && lower_or_digit(p[i]))
            i++;
        if (i == start)
            return false;
        if (i == n)
            return true;
        if (p[i] == '.')
            i++;
        else if (p[i] == '_')
            i += i + 1 < n && p[i + 1] == '_' ? 2 : 1;
        else if (p[i] == '-')
            while (i < n && p[i] == '-')
                i++;
        else
            return false;
        if (i == n)
            return false;
    }
    return n > 0;
}

static bool path_valid(const char *path) {
    for (;;) {
        size_t n = strcspn(path, "/");

        if (!path_component(path, n))
            return false;
        if (!path[n])
            return true;
        path += n + 1;
    }
}

static bool domain_valid(const char *d) {
    size_t n = strcspn(d, ":");

    if (*d == '[') { /* an IPv6 address */
        const char *end = strchr(d, ']');

        if (!end || end == d + 1 || strspn(d + 1, "0123456789abcdefABCDEF:") != (size_t)(end - d - 1))
            return false;
        n = (size_t)(end - d) + 1;
    } else {
        for (size_t i = 0; i < n;) {
            size_t start = i;

            while (i < n && (letter_or_digit(d[i]) || d[i] == '-'))
                i++;
            if (i == start || d[start] == '-' || d[i - 1] == '-' || (i < n && d[i] != '.') || (i + 1 == n && d[i] == '.'))
                return false;
            i++;
        }
        if (n == 0)
            return false;
    }
    if (!d[n])
        return true;
    return d[n] == ':' && d[n + 1] && strspn(d + n + 1, "0123456789") == strlen(d + n + 1);
}

/* Text after the path must be a digest by its grammar; which algorithms and lengths are right is another question with other texts. */
static int check_digest(const char *s, struct err *e) {
    static const struct {
        const char *name;
        size_t hex;
    } algorithms[] = {{"sha256", 64}, {"sha384", 96}, {"sha512", 128}};
    const char *colon = strchr(s, ':');
    size_t n;

    if (!colon || colon == s || !isalpha((unsigned char)*s))
        return err_set(e, ERR_INVALID, "invalid reference format");
    n = strlen(colon + 1);
    if (n < 32 || strspn(colon + 1, "0123456789abcdefABCDEF") != n)
        return err_set(e, ERR_INVALID, "invalid reference format");
    for (size_t i = 0; i < ELEMENTSOF(algorithms); i++) {
        if (strlen(algorithms[i].name) != (size_t)(colon - s) || memcmp(algorithms[i].name, s, (size_t)(colon - s)) != 0)
            continue;
        if (n != algorithms[i].hex)
            return err_set(e, ERR_INVALID, "invalid checksum digest length");
        if (strspn(colon + 1, "0123456789abcdef") != n)
            return err_set(e, ERR_INVALID, "invalid checksum digest format");
        return 0;
    }
    return err_set(e, ERR_INVALID, "unsupported digest algorithm");
}

static bool has_upper(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] >= 'A' && s[i] <= 'Z')
            return true;
    return false;
}

/* The part before the first slash is a registry when it looks like a host. */
static int split_domain(const char *s, struct reference *r, const char **ret_rest, struct err *e) {
    const char *slash = strchr(s, '/');
    size_t n = slash ? (size_t)(slash - s) : 0;
    bool host = slash && (memchr(s, '.', n) || memchr(s, ':', n) || (n == 9 && memcmp(s, "localhost", 9) == 0) || has_upper(s, n));

    if (host && n == strlen(HUB_OLD) && memcmp(s, HUB_OLD, n) == 0)
        r->domain = strdup(HUB);
    else
        r->domain = host ? strndup(s, n) : strdup(HUB);
    *ret_rest = host ? slash + 1 : s;
    return r->domain ? 0 : err_oom(e);
}

static int fill(struct reference *r, const char *rest, struct err *e) {
    const char *at = strchr(rest, '@');
    _cleanup_free_ char *name = at ? strndup(rest, (size_t)(at - rest)) : strdup(rest);
    char *colon;
    bool hub_short;

    if (!name)
        return err_oom(e);
    colon = strrchr(name, ':');
    if (colon && strchr(colon, '/'))
        return err_set(e, ERR_INVALID, "invalid reference format");
    if (colon) {
        *colon = 0;
        if (!tag_is_valid(colon + 1))
            return err_set(e, ERR_INVALID, "invalid reference format");
        r->tag = strdup(colon + 1);
        if (!r->tag)
            return err_oom(e);
    }
    hub_short = streq(r->domain, HUB) && !strchr(name, '/');
    r->path = str_printf("%s%s", hub_short ? "library/" : "", name);
    if (!r->path)
        return err_oom(e);
    if (!path_valid(r->path) || !domain_valid(r->domain))
        return err_set(e, ERR_INVALID, "invalid reference format");
    if (strlen(r->path) + strlen(r->domain) + 1 > NAME_MAX_TOTAL)
        return err_set(e, ERR_INVALID, "repository name must not be more than %d characters", NAME_MAX_TOTAL);
    if (at) {
        int k = check_digest(at + 1, e);

        if (k < 0)
            return k;
        r->digest = strdup(at + 1);
        if (!r->digest)
            return err_oom(e);
    }
    return 0;
}

int reference_parse(const char *s, struct reference *ret, struct err *e) {
    struct reference r = REFERENCE_INIT;
    const char *rest;
    size_t n;
    int k;

    if (reference_is_id(s))
        return err_set(e, ERR_INVALID, "invalid repository name (%s), cannot specify 64-byte hexadecimal strings", s);
    k = split_domain(s, &r, &rest, e);
    if (k == 0) {
        n = strcspn(rest, ":");
        if (has_upper(rest, n)) {
            bool hub_short = streq(r.domain, HUB) && !strchr(rest, '/');

            k = err_set(e, ERR_INVALID, "invalid reference format: repository name (%s%.*s) must be lowercase", hub_short ? "library/" : "", (int)n,
                        rest);
        } else {
            k = fill(&r, rest, e);
        }
    }
    if (k < 0) {
        reference_done(&r);
        return k;
    }
    *ret = r;
    return 0;
}

int reference_copy(struct reference *to, const struct reference *from, struct err *e) {
    struct reference r = {str_dup(from->domain), str_dup(from->path), str_dup(from->tag), str_dup(from->digest)};

    if ((from->domain && !r.domain) || (from->path && !r.path) || (from->tag && !r.tag) || (from->digest && !r.digest)) {
        reference_done(&r);
        return err_oom(e);
    }
    *to = r;
    return 0;
}

int reference_default_tag(struct reference *r, struct err *e) {
    if (r->tag || r->digest)
        return 0;
    r->tag = strdup("latest");
    return r->tag ? 0 : err_oom(e);
}

char *reference_familiar_name(const struct reference *r) {
    const char *official = str_after(r->path, "library/");

    if (!streq(r->domain, HUB))
        return str_printf("%s/%s", r->domain, r->path);
    return strdup(official && !strchr(official, '/') ? official : r->path);
}

static char *with_rest(char *name, const struct reference *r) {
    _cleanup_free_ char *n = name;

    if (!n)
        return NULL;
    return str_printf("%s%s%s%s%s", n, r->tag ? ":" : "", r->tag ? r->tag : "", r->digest ? "@" : "", r->digest ? r->digest : "");
}

char *reference_familiar(const struct reference *r) {
    return with_rest(reference_familiar_name(r), r);
}

char *reference_name(const struct reference *r) {
    return str_printf("%s/%s", r->domain, r->path);
}

char *reference_canonical(const struct reference *r) {
    return with_rest(reference_name(r), r);
}
