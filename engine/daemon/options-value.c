// SPDX-License-Identifier: Apache-2.0
/* One option's value, from the text of a flag or from JSON. Sections: lists with a syntax; texts; JSON. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "daemon/options-internal.h"

static void *field(struct options *o, const struct option *opt) {
    static _Thread_local union {
        bool b;
        int64_t i;
    } nowhere;

    return opt->offset == OPTION_IGNORED ? (void *)&nowhere : (char *)&o->config + opt->offset;
}

static int add(struct strv *l, const char *s, struct err *e) {
    return strv_add(l, s) < 0 ? err_oom(e) : 0;
}

/* ---- lists with a syntax ------------------------------------------------------------------------------------------------------ */

static bool is_ip(const char *s) {
    unsigned char b[16];

    return inet_pton(AF_INET, s, b) == 1 || inet_pton(AF_INET6, s, b) == 1;
}

/* Comma list, blanks around entries allowed. */
static int set_ips(struct strv *l, const char *value, struct err *e) {
    _cleanup_strv_ struct strv parts = STRV_INIT;

    if (strv_split(&parts, value, ',') < 0)
        return err_oom(e);
    for (size_t i = 0; i < parts.n; i++) {
        char *s = parts.v[i], *end;

        while (*s == ' ')
            s++;
        for (end = s + strlen(s); end > s && end[-1] == ' ';)
            *--end = 0;
        if (!is_ip(s))
            return err_set(e, ERR_INVALID, "invalid string being converted to IP address: %s", s);
        if (add(l, s, e) < 0)
            return err_oom(e);
    }
    return 0;
}

/* Letters, digits, '-', '_' and '.', no empty name; "." alone empties the search list. */
static bool is_domain(const char *s) {
    size_t n = strlen(s);

    if (streq(s, "."))
        return true;
    if (n == 0 || n > 255 || s[0] == '.' || s[0] == '-')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i]))
            return false;
    return true;
}

static int set_search(struct strv *l, const char *value, struct err *e) {
    _cleanup_free_ char *copy = strdup(value);
    char *s = copy, *end;

    if (!copy)
        return err_oom(e);
    while (*s == ' ')
        s++;
    for (end = s + strlen(s); end > s && end[-1] == ' ';)
        *--end = 0;
    if (!is_domain(s))
        return err_set(e, ERR_INVALID, "%s is not a valid domain", value);
    return add(l, s, e);
}

static int set_label(struct strv *l, const char *value, struct err *e) {
    if (!strchr(value, '='))
        return err_set(e, ERR_INVALID, "bad attribute format: %s", value);
    return add(l, value, e);
}

static int set_mirror(struct strv *l, const char *value, struct err *e) {
    const char *scheme = strstr(value, "://");
    _cleanup_free_ char *with_slash = NULL;

    if (!scheme || (!str_has_prefix(value, "http://") && !str_has_prefix(value, "https://")))
        return err_set(e, ERR_INVALID, "invalid mirror: unsupported scheme \"%.*s\" in \"%s\"", scheme ? (int)(scheme - value) : 0, value, value);
    if (strpbrk(scheme + 3, "?#"))
        return err_set(e, ERR_INVALID, "invalid mirror: path, query, or fragment at end of the URI \"%s\"", value);
    with_slash = str_printf("%s%s", value, str_has_suffix(value, "/") ? "" : "/");
    return with_slash ? add(l, with_slash, e) : err_oom(e);
}

static int bad_host(const char *value, const char *why, struct err *e) {
    return err_set(e, ERR_INVALID, "invalid bind address (%s): %s", value, why);
}

static int set_host(struct strv *l, const char *value, struct err *e) {
    const char *scheme_end = strstr(value, "://");
    _cleanup_free_ char *reason = NULL;
    const char *rest, *port;
    int64_t number;

    if (!*value || str_has_prefix(value, "unix://") || str_has_prefix(value, "fd://"))
        return add(l, value, e);
    rest = scheme_end ? scheme_end + 3 : value;
    if (scheme_end && !str_has_prefix(value, "tcp://")) {
        reason = str_printf("unsupported proto '%.*s'", (int)(scheme_end - value), value);
        return bad_host(value, reason ? reason : "unsupported proto", e);
    }
    port = strrchr(rest, ':');
    if (port && port[1] && !strchr(port, ']') && parse_int_range(port + 1, 0, 65535, &number) < 0) {
        reason = str_printf("parse \"%s\": invalid port \"%s\" after host", value, port);
        return bad_host(value, reason ? reason : "invalid port", e);
    }
    return add(l, value, e);
}

/* TYPE=SOFT[:HARD]; -1 is unlimited. Types of getrlimit(2) that containers know. */
static int set_ulimit(struct options *o, const char *value, struct err *e) {
    static const char *const types[] = {"core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
                                        "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};
    const char *eq = strchr(value, '=');
    _cleanup_free_ char *name = NULL, *soft_text = NULL;
    struct engine_ulimit *all;
    const char *colon;
    int64_t soft, hard;
    size_t known = 0;

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
    if (parse_i64(soft_text, &soft) < 0)
        return err_set(e, ERR_INVALID, "strconv.ParseInt: parsing \"%s\": invalid syntax", soft_text);
    hard = soft;
    if (colon && parse_i64(colon + 1, &hard) < 0)
        return err_set(e, ERR_INVALID, "strconv.ParseInt: parsing \"%s\": invalid syntax", colon + 1);
    if (hard != -1 && (soft > hard || soft == -1))
        return err_set(e, ERR_INVALID, "ulimit soft limit must be less than or equal to hard limit: %lld > %lld", (long long)soft, (long long)hard);
    all = reallocarray(o->config.default_ulimits, o->config.n_default_ulimits + 1, sizeof(*all));
    if (!all)
        return err_oom(e);
    o->config.default_ulimits = all;
    all[o->config.n_default_ulimits++] = (struct engine_ulimit){TAKE_PTR(name), soft, hard};
    return 0;
}

static int add_runtime(struct options *o, const char *name, const char *path, struct engine_runtime **ret, struct err *e) {
    struct engine_runtime *all, *r;

    if (streq(name, "runc") || str_has_prefix(name, "io.containerd."))
        return err_set(e, ERR_INVALID, "runtime name '%s' is reserved", name);
    for (size_t i = 0; i < o->config.n_runtimes; i++)
        if (streq(o->config.runtimes[i].name, name))
            return err_set(e, ERR_INVALID, "runtime '%s' was already defined", name);
    all = reallocarray(o->config.runtimes, o->config.n_runtimes + 1, sizeof(*all));
    if (!all)
        return err_oom(e);
    o->config.runtimes = all;
    r = &all[o->config.n_runtimes++];
    *r = (struct engine_runtime){strdup(name), strdup(path), STRV_INIT};
    if (!r->name || !r->path)
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
    return name ? add_runtime(o, name, eq + 1, NULL, e) : err_oom(e);
}

static int add_pool(struct options *o, const char *base, int64_t size, struct err *e) {
    struct engine_address_pool *all = reallocarray(o->config.default_address_pools, o->config.n_default_address_pools + 1, sizeof(*all));

    if (!all)
        return err_oom(e);
    o->config.default_address_pools = all;
    all[o->config.n_default_address_pools] = (struct engine_address_pool){strdup(base), (int)size};
    return all[o->config.n_default_address_pools++].base ? 0 : err_oom(e);
}

/* base=CIDR,size=BITS */
static int set_pool(struct options *o, const char *value, struct err *e) {
    _cleanup_strv_ struct strv parts = STRV_INIT;
    const char *base = "";
    int64_t size = 0;

    if (strv_split(&parts, value, ',') < 0)
        return err_oom(e);
    for (size_t i = 0; i < parts.n; i++) {
        const char *v = str_after(parts.v[i], "base=");

        if (v) {
            base = v;
            continue;
        }
        v = str_after(parts.v[i], "size=");
        if (!v)
            return err_set(e, ERR_INVALID, "invalid field %s", parts.v[i]);
        if (parse_int_range(v, 0, 128, &size) < 0)
            return err_set(e, ERR_INVALID, "invalid size value: %s (must be an integer): strconv.Atoi: parsing \"%s\": invalid syntax", v, v);
    }
    return add_pool(o, base, size, e);
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

int option_set_text(struct options *o, const struct option *opt, const char *value, struct err *e) {
    void *f = field(o, opt);
    struct strv dropped = STRV_INIT;
    struct strv *list = opt->offset == OPTION_IGNORED ? &dropped : f;
    int r = 0;

    switch (opt->kind) {
    case OPT_BOOL:
        if (parse_bool(value, f) < 0)
            r = err_set(e, ERR_INVALID, "strconv.ParseBool: parsing \"%s\": invalid syntax", value);
        break;
    case OPT_INT:
        r = parse_i64(value, f);
        if (r < 0)
            r = err_set(e, ERR_INVALID, "strconv.ParseInt: parsing \"%s\": %s", value, r == -ERANGE ? "value out of range" : "invalid syntax");
        break;
    case OPT_BYTES:
        if (parse_bytes(value, f) < 0)
            r = err_set(e, ERR_INVALID, "invalid size: '%s'", value);
        break;
    case OPT_IP:
        if (!is_ip(value))
            return err_set(e, ERR_INVALID, "failed to parse IP: \"%s\"", value);
        /* fall through */
    case OPT_STRING:
        if (opt->offset != OPTION_IGNORED && str_set(f, value) < 0)
            r = err_oom(e);
        break;
    case OPT_LIST:
    case OPT_MAP:
        r = add(list, value, e);
        break;
    case OPT_IPS:
        r = set_ips(list, value, e);
        break;
    case OPT_HOST:
        r = set_host(list, value, e);
        break;
    case OPT_LABEL:
        r = set_label(list, value, e);
        break;
    case OPT_SEARCH:
        r = set_search(list, value, e);
        break;
    case OPT_MIRROR:
        r = set_mirror(list, value, e);
        break;
    case OPT_MAPMAP:
        if (!strchr(value, '=') || !strchr(strchr(value, '=') + 1, '='))
            r = err_set(e, ERR_INVALID, "invalid value \"%s\" for map option, should be root-key=key=value", value);
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

/* ---- JSON ---------------------------------------------------------------------------------------------------------------------------- */

static int wrong_type(const struct option *opt, json_t *v, const char *want, struct err *e) {
    const char *got = json_is_string(v)    ? "string"
                      : json_is_number(v)  ? "number"
                      : json_is_boolean(v) ? "bool"
                      : json_is_array(v)   ? "array"
                                           : "object";

    return err_set(e, ERR_INVALID, "json: cannot unmarshal %s into Go struct field Config.%s%s of type %s", got, opt->path, option_key(opt), want);
}

static int set_json_list(struct options *o, const struct option *opt, json_t *v, struct err *e) {
    json_t *item;
    size_t i;

    if (!json_is_array(v))
        return wrong_type(opt, v, "[]string", e);
    json_array_foreach(v, i, item) {
        int r;

        if (!json_is_string(item))
            return wrong_type(opt, item, "string", e);
        r = option_set_text(o, opt, json_string_value(item), e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int set_json_map(struct options *o, const struct option *opt, json_t *v, struct err *e) {
    const char *key;
    json_t *item;

    if (!json_is_object(v))
        return wrong_type(opt, v, opt->kind == OPT_FEATURE ? "map[string]bool" : "map[string]string", e);
    json_object_foreach(v, key, item) {
        struct strv *l = field(o, opt);

        if (opt->offset == OPTION_IGNORED)
            continue;
        if (opt->kind == OPT_FEATURE ? !json_is_boolean(item) : !json_is_string(item))
            return wrong_type(opt, item, opt->kind == OPT_FEATURE ? "bool" : "string", e);
        if (strv_addf(l, "%s=%s", key, json_is_string(item) ? json_string_value(item) : json_is_true(item) ? "true" : "false") < 0)
            return err_oom(e);
    }
    return 0;
}

/* {"nofile": {"Name": "nofile", "Soft": 5, "Hard": 10}} */
static int set_json_ulimits(struct options *o, const struct option *opt, json_t *v, struct err *e) {
    const char *key;
    json_t *item;

    if (!json_is_object(v))
        return wrong_type(opt, v, "map[string]*units.Ulimit", e);
    json_object_foreach(v, key, item) {
        json_t *soft = json_object_get(item, "Soft"), *hard = json_object_get(item, "Hard"), *name = json_object_get(item, "Name");
        _cleanup_free_ char *text = NULL;
        int r;

        if (!json_is_object(item))
            return wrong_type(opt, item, "units.Ulimit", e);
        text = str_printf("%s=%lld:%lld", json_is_string(name) ? json_string_value(name) : key, (long long)json_integer_value(soft),
                          (long long)json_integer_value(hard));
        r = text ? set_ulimit(o, text, e) : err_oom(e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* {"kata": {"path": "/usr/bin/kata", "runtimeArgs": ["-x"]}} */
static int set_json_runtimes(struct options *o, const struct option *opt, json_t *v, struct err *e) {
    const char *key;
    json_t *item;

    if (!json_is_object(v))
        return wrong_type(opt, v, "map[string]system.Runtime", e);
    json_object_foreach(v, key, item) {
        const char *path = json_string_value(json_object_get(item, "path"));
        struct engine_runtime *runtime;
        json_t *arg;
        size_t i;
        int r;

        if (!path)
            return err_set(e, ERR_INVALID, "runtime %s: either a runtimeType or a path must be configured", key);
        r = add_runtime(o, key, path, &runtime, e);
        if (r < 0)
            return r;
        json_array_foreach(json_object_get(item, "runtimeArgs"), i, arg) {
            if (json_is_string(arg) && strv_add(&runtime->args, json_string_value(arg)) < 0)
                return err_oom(e);
        }
    }
    return 0;
}

static int set_json_pools(struct options *o, const struct option *opt, json_t *v, struct err *e) {
    json_t *item;
    size_t i;

    if (!json_is_array(v))
        return wrong_type(opt, v, "[]*ipamutils.NetworkToSplit", e);
    json_array_foreach(v, i, item) {
        const char *base = json_string_value(json_object_get(item, "base"));
        int r = add_pool(o, base ? base : "", json_integer_value(json_object_get(item, "size")), e);

        if (r < 0)
            return r;
    }
    return 0;
}

int option_set_json(struct options *o, const struct option *opt, json_t *v, struct err *e) {
    if (json_is_null(v))
        return 0;
    switch (opt->kind) {
    case OPT_BOOL:
        if (!json_is_boolean(v))
            return wrong_type(opt, v, "bool", e);
        *(bool *)field(o, opt) = json_is_true(v);
        return 0;
    case OPT_INT:
        if (!json_is_integer(v))
            return wrong_type(opt, v, "int", e);
        *(int64_t *)field(o, opt) = json_integer_value(v);
        return 0;
    case OPT_BYTES:
        if (json_is_integer(v)) {
            *(int64_t *)field(o, opt) = json_integer_value(v);
            return 0;
        }
        /* fall through */
    case OPT_IP:
    case OPT_STRING:
        if (!json_is_string(v))
            return wrong_type(opt, v, opt->kind == OPT_IP ? "net.IP" : "string", e);
        return option_set_text(o, opt, json_string_value(v), e);
    case OPT_MAP:
    case OPT_MAPMAP:
    case OPT_FEATURE:
        return set_json_map(o, opt, v, e);
    case OPT_ULIMIT:
        return set_json_ulimits(o, opt, v, e);
    case OPT_RUNTIME:
        return set_json_runtimes(o, opt, v, e);
    case OPT_POOL:
        return set_json_pools(o, opt, v, e);
    default:
        return set_json_list(o, opt, v, e);
    }
}
