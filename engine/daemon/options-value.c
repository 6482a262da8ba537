// SPDX-License-Identifier: Apache-2.0
/* One option's value, from the text of a flag. Sections: lists with a syntax; texts. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "daemon/options-internal.h"

void *option_field(struct options *o, const struct option *opt) {
    static _Thread_local union {
        bool b;
        int64_t i;
    } nowhere;

    return opt->offset == OPTION_IGNORED ? (void *)&nowhere : (char *)&o->config + opt->offset;
}

int option_add(struct strv *l, const char *s, struct err *e) {
    return strv_add(l, s) < 0 ? err_oom(e) : 0;
}

/* ---- lists with a syntax ------------------------------------------------------------------------------------------------------ */

bool option_is_ip(const char *s) {
    unsigned char b[16];

    return inet_pton(AF_INET, s, b) == 1 || inet_pton(AF_INET6, s, b) == 1;
}

/* Comma list, blanks around entries allowed. */
static int set_ips(struct strv *l, const char *value, struct err *e) {
    _cleanup_strv_ struct strv parts = STRV_INIT;

    if (!*value)
        return 0;
    if (strv_split(&parts, value, ',') < 0)
        return err_oom(e);
    for (size_t i = 0; i < parts.n; i++) {
        char *s = parts.v[i], *end;

        while (*s == ' ')
            s++;
        for (end = s + strlen(s); end > s && end[-1] == ' ';)
            *--end = 0;
        if (!option_is_ip(s))
            return err_set(e, ERR_INVALID, "invalid string being converted to IP address: %s", s);
        if (option_add(l, s, e) < 0)
            return err_oom(e);
    }
    return 0;
}

/* Letters, digits, '-', '_' and '.', beginning with a letter or digit; "." alone empties the search list. */
static bool is_domain(const char *s) {
    size_t n = strlen(s);

    if (streq(s, "."))
        return true;
    if (n == 0 || n > 255 || !isalnum((unsigned char)s[0]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i]))
            return false;
    return true;
}

/* A copy without the blanks around it; NULL when memory ran out. */
static char *trimmed(const char *value) {
    const char *end = value + strlen(value);

    while (isspace((unsigned char)*value))
        value++;
    while (end > value && isspace((unsigned char)end[-1]))
        end--;
    return strndup(value, (size_t)(end - value));
}

int option_check_search(const char *value, struct err *e) {
    _cleanup_free_ char *s = trimmed(value);

    if (!s)
        return err_oom(e);
    return is_domain(s) ? 0 : err_set(e, ERR_INVALID, "%s is not a valid domain", value);
}

static int set_search(struct strv *l, const char *value, struct err *e) {
    int r = option_check_search(value, e);

    if (r < 0)
        return r;
    return strv_consume(l, trimmed(value)) < 0 ? err_oom(e) : 0;
}

int option_check_label(const char *value, struct err *e) {
    return strchr(value, '=') ? 0 : err_set(e, ERR_INVALID, "bad attribute format: %s", value);
}

int option_check_mirror(const char *value, struct err *e) {
    const char *scheme = strstr(value, "://"), *host_end, *at, *colon;
    int64_t port;

    if (!scheme || (!str_has_prefix(value, "http://") && !str_has_prefix(value, "https://")))
        return err_set(e, ERR_INVALID, "invalid mirror: unsupported scheme \"%.*s\" in \"%s\"", scheme ? (int)(scheme - value) : 0, value, value);
    host_end = scheme + 3 + strcspn(scheme + 3, "/?#");
    at = memrchr(scheme + 3, '@', (size_t)(host_end - scheme - 3));
    colon = memrchr(at ? at : scheme + 3, ':', (size_t)(host_end - (at ? at : scheme + 3)));
    if (colon && !memchr(colon, ']', (size_t)(host_end - colon)) && colon + 1 < host_end) {
        _cleanup_free_ char *digits = strndup(colon + 1, (size_t)(host_end - colon - 1));

        if (!digits)
            return err_oom(e);
        if (parse_int_range(digits, 0, INT64_MAX, &port) < 0)
            return err_set(e, ERR_INVALID, "invalid mirror: \"%s\" is not a valid URI: parse \"%s\": invalid port \":%s\" after host", value, value,
                           digits);
    }
    if (strpbrk(scheme + 3, "?#"))
        return err_set(e, ERR_INVALID, "invalid mirror: query or fragment at end of the URI \"%s\"", value);
    if (at) {
        colon = memchr(scheme + 3, ':', (size_t)(at - scheme - 3));
        return err_set(e, ERR_INVALID, "invalid mirror: username/password not allowed in URI \"%.*s%s%s\"", (int)((colon ? colon : at) - value),
                       value, colon ? ":xxxxx" : "", at);
    }
    return 0;
}

int option_add_mirror(struct strv *l, const char *value, struct err *e) {
    return strv_addf(l, "%s%s", value, str_has_suffix(value, "/") ? "" : "/") < 0 ? err_oom(e) : 0;
}

/* A host, perhaps with a port, or a network. */
int option_check_insecure(const char *value, struct err *e) {
    size_t n = strlen(value);

    if (n && (value[0] == '-' || value[n - 1] == '-'))
        return err_set(e, ERR_INVALID, "invalid index name (%s). Cannot begin or end with a hyphen", value);
    return 0;
}

static int bad_host(const char *value, const char *why, struct err *e) {
    return err_set(e, ERR_INVALID, "invalid bind address (%s): %s", value, why);
}

int option_check_host(const char *value, struct err *e) {
    const char *scheme_end = strstr(value, "://");
    _cleanup_free_ char *reason = NULL;
    const char *rest, *port;
    int64_t number;

    if (str_has_prefix(value, "unix://") && strstr(value + 7, "://")) {
        reason = str_printf("invalid unix address: %s", value + 7);
        return bad_host(value, reason ? reason : "invalid unix address", e);
    }
    if (!*value || str_has_prefix(value, "unix://") || str_has_prefix(value, "fd://") || str_has_prefix(value, "npipe://"))
        return 0;
    rest = scheme_end ? scheme_end + 3 : value;
    if (scheme_end && !str_has_prefix(value, "tcp://")) {
        reason = str_printf("unsupported proto '%.*s'", (int)(scheme_end - value), value);
        return bad_host(value, reason ? reason : "unsupported proto", e);
    }
    if (strchr(rest, '/'))
        return bad_host(value, "should not contain a path element", e);
    port = strrchr(rest, ':');
    if (port && port[1] && !strchr(port, ']') && parse_int_range(port + 1, 0, INT64_MAX, &number) < 0) {
        reason = str_printf("parse \"%s\": invalid port \"%s\" after host", value, port);
        return bad_host(value, reason ? reason : "invalid port", e);
    }
    return 0;
}

static int bad_int(const char *s, int r, struct err *e) {
    return err_set(e, ERR_INVALID, "strconv.ParseInt: parsing \"%s\": %s", s, r == -ERANGE ? "value out of range" : "invalid syntax");
}

int option_add_ulimit(struct options *o, char *name, int64_t soft, int64_t hard, struct err *e) {
    struct engine_ulimit *all = name ? reallocarray(o->config.default_ulimits, o->config.n_default_ulimits + 1, sizeof(*all)) : NULL;

    if (!all) {
        free(name);
        return err_oom(e);
    }
    o->config.default_ulimits = all;
    all[o->config.n_default_ulimits++] = (struct engine_ulimit){name, soft, hard};
    return 0;
}

/* TYPE=SOFT[:HARD]; -1 is unlimited. Types of getrlimit(2) that containers know. */
static int set_ulimit(struct options *o, const char *value, struct err *e) {
    static const char *const types[] = {"core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
                                        "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};
    const char *eq = strchr(value, '=');
    _cleanup_free_ char *name = NULL, *soft_text = NULL;
    const char *colon;
    int64_t soft, hard;
    size_t known = 0;
    int r;

    if (!eq)
        return err_set(e, ERR_INVALID, "invalid ulimit argument: %s", value);
    name = strndup(value, (size_t)(eq - value));
    colon = strchr(eq + 1, ':');
    soft_text = strndup(eq + 1, colon ? (size_t)(colon - eq - 1) : strlen(eq + 1));
    if (!name || !soft_text)
        return err_oom(e);
    for (size_t i = 0; i < ELEMENTSOF(types); i++)
        known += streq(types[i], name);
    if (!known)
        return err_set(e, ERR_INVALID, "invalid ulimit type: %s", name);
    if (colon && strchr(colon + 1, ':'))
        return err_set(e, ERR_INVALID, "too many limit value arguments - %s, can only have up to two, `soft[:hard]`", eq + 1);
    r = parse_i64(soft_text, &soft);
    if (r < 0)
        return bad_int(soft_text, r, e);
    hard = soft;
    r = colon ? parse_i64(colon + 1, &hard) : 0;
    if (r < 0)
        return bad_int(colon + 1, r, e);
    if (hard != -1 && soft == -1)
        return err_set(e, ERR_INVALID, "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: %lld",
                       (long long)hard);
    if (hard != -1 && soft > hard)
        return err_set(e, ERR_INVALID, "ulimit soft limit must be less than or equal to hard limit: %lld > %lld", (long long)soft, (long long)hard);
    return option_add_ulimit(o, TAKE_PTR(name), soft, hard, e);
}

int option_add_runtime(struct options *o, const char *name, const char *path, struct engine_runtime **ret, struct err *e) {
    struct engine_runtime *all, *r;

    for (size_t i = 0; i < o->config.n_runtimes; i++)
        if (streq(o->config.runtimes[i].name, name))
            return err_set(e, ERR_INVALID, "runtime '%s' was already defined", name);
    all = reallocarray(o->config.runtimes, o->config.n_runtimes + 1, sizeof(*all));
    if (!all)
        return err_oom(e);
    o->config.runtimes = all;
    r = &all[o->config.n_runtimes++];
    *r = (struct engine_runtime){.name = strdup(name), .path = path ? strdup(path) : NULL, .args = STRV_INIT};
    if (!r->name || (path && !r->path))
        return err_oom(e);
    if (ret)
        *ret = r;
    return 0;
}

static int set_runtime(struct options *o, const char *value, struct err *e) {
    const char *eq = strchr(value, '=');
    _cleanup_free_ char *name = NULL;

    if (!eq || eq == value || !eq[1])
        return err_set(e, ERR_INVALID, "invalid runtime argument: %s", value);
    name = strndup(value, (size_t)(eq - value));
    if (name && streq(name, "runc"))
        return err_set(e, ERR_INVALID, "runtime name 'runc' is reserved");
    return name ? option_add_runtime(o, name, eq + 1, NULL, e) : err_oom(e);
}

int option_add_pool(struct options *o, const char *base, int64_t size, struct err *e) {
    struct engine_address_pool *all = reallocarray(o->config.default_address_pools, o->config.n_default_address_pools + 1, sizeof(*all));

    if (!all)
        return err_oom(e);
    o->config.default_address_pools = all;
    all[o->config.n_default_address_pools] = (struct engine_address_pool){strdup(base), (int)size};
    return all[o->config.n_default_address_pools++].base ? 0 : err_oom(e);
}

/* base=CIDR,size=BITS, the keys in any case. */
static int set_pool(struct options *o, const char *value, struct err *e) {
    _cleanup_strv_ struct strv parts = STRV_INIT;
    const char *base = "";
    int64_t size = 0;

    if (!*value)
        return err_set(e, ERR_INVALID, "EOF");
    if (strv_split(&parts, value, ',') < 0)
        return err_oom(e);
    for (size_t i = 0; i < parts.n; i++) {
        const char *eq = strchr(parts.v[i], '=');
        size_t n = eq ? (size_t)(eq - parts.v[i]) : 0;

        if (!eq)
            return err_set(e, ERR_INVALID, "invalid field '%s' must be a key=value pair", parts.v[i]);
        if (n == 4 && strncasecmp(parts.v[i], "base", n) == 0)
            base = eq + 1;
        else if (n != 4 || strncasecmp(parts.v[i], "size", n) != 0)
            return err_set(e, ERR_INVALID, "unexpected key '%.*s' in '%s'", (int)n, parts.v[i], parts.v[i]);
        else if (parse_int_range(eq + 1, INT32_MIN, INT32_MAX, &size) < 0)
            return err_set(e, ERR_INVALID, "invalid size value: \"%s\" (must be integer): strconv.Atoi: parsing \"%s\": invalid syntax", value,
                           eq + 1);
    }
    return option_add_pool(o, base, size, e);
}

/* ---- texts ------------------------------------------------------------------------------------------------------------------------ */

/* "64", "64k", "1.5GiB": binary multiples, any case, an optional 'b' or 'ib' after the letter. */
static int parse_bytes(const char *s, int64_t *ret) {
    static const char letters[] = "bkmgtp";
    double number, factor = 1;
    char *end;
    size_t n;

    if (!isdigit((unsigned char)*s))
        return -EINVAL;
    number = strtod(s, &end);
    while (*end == ' ')
        end++;
    n = strlen(end);
    if (n > 0) {
        const char *at = strchr(letters, tolower((unsigned char)*end));

        if (!at || n > 3 || (n == 2 && tolower((unsigned char)end[1]) != 'b') || (n == 3 && strcasecmp(end + 1, "ib") != 0) || (*at == 'b' && n > 1))
            return -EINVAL;
        for (; at > letters; at--)
            factor *= 1024;
    }
    if (number * factor > 9.2e18)
        return -ERANGE;
    *ret = (int64_t)(number * factor);
    return 0;
}

/* A number as Go reads it where the base is open: 0x10, 0o17, 017, 0b1, digits parted by single underscores. */
static int parse_go_int(const char *s, int64_t *ret) {
    _cleanup_free_ char *plain = strdup(s);
    const char *p = s + (*s == '-' || *s == '+');
    bool minus = *s == '-';
    int base = 10;
    uint64_t v;
    size_t n = 0;
    int r;

    if (!plain)
        return -EINVAL;
    if (p[0] == '0' && p[1]) {
        char letter = (char)tolower((unsigned char)p[1]);

        base = letter == 'x' ? 16 : letter == 'b' ? 2 : 8;
        p += letter == 'x' || letter == 'b' || letter == 'o' ? 2 : 1;
    }
    for (; *p; p++) {
        if (*p != '_')
            plain[n++] = *p;
        else if (!isalnum((unsigned char)p[1]) || (n == 0 && base == 10))
            return -EINVAL;
    }
    plain[n] = 0;
    if (base == 2) {
        char *end;

        v = strtoull(plain, &end, 2);
        r = n && !*end ? 0 : -EINVAL;
    } else {
        r = parse_u64_base(plain, base, &v);
    }
    if (r < 0)
        return r;
    if (v > (uint64_t)INT64_MAX + minus)
        return -ERANGE;
    *ret = minus ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

int option_set_text(struct options *o, const struct option *opt, const char *value, struct err *e) {
    void *f = option_field(o, opt);
    struct strv dropped = STRV_INIT;
    _cleanup_free_ char *plain = NULL;
    struct strv *list = opt->offset == OPTION_IGNORED ? &dropped : f;
    int r = 0;

    switch (opt->kind) {
    case OPT_BOOL:
        if (parse_bool(value, f) < 0)
            r = err_set(e, ERR_INVALID, "strconv.ParseBool: parsing \"%s\": invalid syntax", value);
        break;
    case OPT_INT:
        r = parse_go_int(value, f);
        if (r < 0)
            r = bad_int(value, r, e);
        break;
    case OPT_BYTES:
        if (parse_bytes(value, f) < 0)
            r = err_set(e, ERR_INVALID, "invalid size: '%s'", value);
        break;
    case OPT_IP:
        plain = trimmed(value);
        if (!plain)
            return err_oom(e);
        if (*plain && !option_is_ip(plain))
            return err_set(e, ERR_INVALID, "failed to parse IP: \"%s\"", value);
        value = plain;
        /* fall through */
    case OPT_STRING:
        if (opt->offset != OPTION_IGNORED && str_set(f, value) < 0)
            r = err_oom(e);
        break;
    case OPT_LIST:
    case OPT_MAP:
        r = option_add(list, value, e);
        break;
    case OPT_IPS:
        r = set_ips(list, value, e);
        break;
    case OPT_HOST:
        r = option_check_host(value, e);
        r = r < 0 ? r : option_add(list, value, e);
        break;
    case OPT_LABEL:
        r = option_check_label(value, e);
        r = r < 0 ? r : option_add(list, value, e);
        break;
    case OPT_INSECURE:
        r = option_check_insecure(value, e);
        r = r < 0 ? r : option_add(list, value, e);
        break;
    case OPT_GENERIC:
        if (!strchr(value, '='))
            r = err_set(e, ERR_INVALID, "invalid node-generic-resource format `%s` expected `name=value`", value);
        break;
    case OPT_SEARCH:
        r = set_search(list, value, e);
        break;
    case OPT_MIRROR:
        r = option_check_mirror(value, e);
        r = r < 0 ? r : option_add_mirror(list, value, e);
        break;
    case OPT_MAPMAP:
        if (!strchr(value, '=') || !strchr(strchr(value, '=') + 1, '='))
            r = err_set(e, ERR_INVALID, "invalid value \"%s\" for map option, should be root-key=key=value", value);
        else
            r = option_add(list, value, e);
        break;
    case OPT_FEATURE:
        break;
    case OPT_ULIMIT:
        r = set_ulimit(o, value, e);
        break;
    case OPT_RUNTIME:
        r = set_runtime(o, value, e);
        break;
    case OPT_POOL:
        r = set_pool(o, value, e);
        break;
    }
    strv_done(&dropped);
    return r;
}
