// SPDX-License-Identifier: Apache-2.0
#include "cli/parse.h"

#include <ctype.h>
#include <limits.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/moment.h"
#include "base/str.h"
#include "cli/cli.h"

struct range {
    int64_t from, to;
};

static int bad_port(const char *text, struct err *e) {
    return err_set(e, ERR_INVALID, "\"%s\" is no published port: write [[ADDRESS:]PORT:]PORT[/tcp|udp|sctp], e.g. 8080:80", text);
}

static int range_parse(const char *s, size_t n, struct range *ret) {
    char copy[16], *dash;

    if (n == 0 || n >= sizeof copy)
        return -EINVAL;
    memcpy(copy, s, n);
    copy[n] = '\0';
    dash = strchr(copy, '-');
    if (dash)
        *dash = '\0';
    if (parse_int_range(copy, 1, 65535, &ret->from) < 0 || parse_int_range(dash ? dash + 1 : copy, 1, 65535, &ret->to) < 0 || ret->to < ret->from)
        return -EINVAL;
    return 0;
}

static int bind_port(json_t *exposed, json_t *bindings, const char *key, const char *address, const char *host_port, struct err *e) {
    json_t *list = json_object_get(bindings, key);

    if (json_object_set_new(exposed, key, json_object()) < 0)
        return err_oom(e);
    if (!list) {
        if (json_object_set_new(bindings, key, json_array()) < 0)
            return err_oom(e);
        list = json_object_get(bindings, key);
    }
    return json_array_append_new(list, json_pack("{ssss}", "HostIp", address, "HostPort", host_port)) < 0 ? err_oom(e) : 0;
}

/* Bind each port of the container's range; `host` is text (which may be empty or a range of one length with it). */
static int bind_range(const struct range *inside, const char *host, const char *address, const char *protocol, const char *text, json_t *exposed,
                      json_t *bindings, struct err *e) {
    struct range outside = {0, 0};
    bool spread;

    if (*host && range_parse(host, strlen(host), &outside) < 0)
        return bad_port(text, e);
    spread = outside.to - outside.from == inside->to - inside->from;
    if (*host && !spread && inside->from != inside->to)
        return err_set(e, ERR_INVALID, "the two ranges of the published port \"%s\" are not of the same length", text);
    for (int64_t i = 0; i <= inside->to - inside->from; i++) {
        char key[32], port[32];
        int r;

        snprintf(key, sizeof key, "%lld/%s", (long long)(inside->from + i), protocol);
        /* a range for one port inside: the engine takes the first that is free */
        if (*host && spread)
            snprintf(port, sizeof port, "%lld", (long long)(outside.from + i));
        else
            snprintf(port, sizeof port, "%s", host);
        r = bind_port(exposed, bindings, key, address, port, e);
        if (r < 0)
            return r;
    }
    return 0;
}

int parse_port(const char *text, json_t *exposed, json_t *bindings, struct err *e) {
    char left[300], address[256] = "", host[16] = "";
    const char *slash = strchr(text, '/'), *protocol = slash ? slash + 1 : "tcp", *inside;
    size_t n = slash ? (size_t)(slash - text) : strlen(text);
    struct range ports;
    char *colon;

    if (n == 0 || n >= sizeof left || (!streq(protocol, "tcp") && !streq(protocol, "udp") && !streq(protocol, "sctp")))
        return bad_port(text, e);
    memcpy(left, text, n);
    left[n] = '\0';
    inside = left;
    colon = strrchr(left, ':');
    if (colon) {
        const char *address_text = "", *host_text = left;
        char *second;

        inside = colon + 1;
        *colon = '\0';
        second = strrchr(left, ':');
        if (second) {
            *second = '\0';
            host_text = second + 1;
            address_text = left;
            if (*left == '[' && str_has_suffix(left, "]")) {
                left[strlen(left) - 1] = '\0';
                address_text = left + 1;
            } else if (strchr(left, ':')) {
                return bad_port(text, e);
            }
        }
        if (strlen(host_text) >= sizeof host || strlen(address_text) >= sizeof address)
            return bad_port(text, e);
        memcpy(address, address_text, strlen(address_text) + 1);
        memcpy(host, host_text, strlen(host_text) + 1);
    }
    if (range_parse(inside, strlen(inside), &ports) < 0)
        return bad_port(text, e);
    return bind_range(&ports, host, address, protocol, text, exposed, bindings, e);
}

int parse_volume(const char *text, json_t *binds, json_t *volumes, struct err *e) {
    const char *colon = strchr(text, ':');

    if (!*text || *text == ':')
        return err_set(e, ERR_INVALID, "\"%s\" is no volume: write [SOURCE:]PATH[:ro]", text);
    if (!colon) {
        if (*text != '/')
            return err_set(e, ERR_INVALID, "the path \"%s\" in the container is not absolute", text);
        return json_object_set_new(volumes, text, json_object()) < 0 ? err_oom(e) : 0;
    }
    if (*text == '.') {
        _cleanup_free_ char *source = strndup(text, (size_t)(colon - text)), *full = NULL;
        char real[PATH_MAX];

        if (!source)
            return err_oom(e);
        if (!realpath(source, real))
            return err_errno(e, errno, "the folder \"%s\" of the volume \"%s\"", source, text);
        full = str_printf("%s%s", real, colon);
        return !full || json_array_append_new(binds, json_string(full)) < 0 ? err_oom(e) : 0;
    }
    return json_array_append_new(binds, json_string(text)) < 0 ? err_oom(e) : 0;
}

int parse_env(const char *text, struct strv *env, struct err *e) {
    const char *value;

    if (!*text || *text == '=')
        return err_set(e, ERR_INVALID, "\"%s\" is no environment variable: write NAME=VALUE", text);
    if (strchr(text, '='))
        return strv_add(env, text) < 0 ? err_oom(e) : 0;
    value = getenv(text);
    if (!value)
        return 0;
    return strv_addf(env, "%s=%s", text, value) < 0 ? err_oom(e) : 0;
}

int parse_env_file(const char *path, struct strv *env, struct err *e) {
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
    _cleanup_strv_ struct strv lines = STRV_INIT;
    int r = fs_read_file(path, &text, e);

    if (r < 0)
        return r;
    if (strv_split(&lines, buf_str(&text), '\n') < 0)
        return err_oom(e);
    for (size_t i = 0; i < lines.n; i++) {
        char *line = lines.v[i];

        line += strspn(line, " \t");
        line[strcspn(line, "\r")] = '\0';
        if (!*line || *line == '#')
            continue;
        r = parse_env(line, env, e);
        if (r < 0)
            return err_wrap(e, "%s line %zu", path, i + 1);
    }
    return 0;
}

int parse_label(const char *text, json_t *labels, struct err *e) {
    const char *equals = strchr(text, '=');
    _cleanup_free_ char *key = equals ? strndup(text, (size_t)(equals - text)) : strdup(text);

    if (!key)
        return err_oom(e);
    if (!*key)
        return err_set(e, ERR_INVALID, "\"%s\" is no label: write NAME=VALUE", text);
    return json_object_set_new(labels, key, json_string(equals ? equals + 1 : "")) < 0 ? err_oom(e) : 0;
}

int parse_bytes(const char *text, const char *what, int64_t *ret, struct err *e) {
    char *end;
    double value = isdigit((unsigned char)*text) ? strtod(text, &end) : -1;
    static const char units[] = "kmgt";

    if (value >= 0) {
        const char *unit = *end ? strchr(units, tolower((unsigned char)*end)) : NULL;

        if (unit) {
            value *= (double)(INT64_C(1024) << (10 * (unit - units)));
            end++;
            if (tolower((unsigned char)*end) == 'i')
                end++;
        }
        if (tolower((unsigned char)*end) == 'b')
            end++;
        if (!*end && value < 9.2e18) {
            *ret = (int64_t)value;
            return 0;
        }
    }
    return err_set(e, ERR_INVALID, "%s is a size such as 512m or 2g, not \"%s\"", what, text);
}

int parse_cpus(const char *text, int64_t *ret_nano, struct err *e) {
    char *end;
    double value = isdigit((unsigned char)*text) || *text == '.' ? strtod(text, &end) : -1;

    if (value < 0 || *end || value > 1e6)
        return err_set(e, ERR_INVALID, "--cpus is a number of processors such as 1.5, not \"%s\"", text);
    *ret_nano = (int64_t)(value * 1e9 + 0.5);
    return 0;
}

int parse_restart(const char *text, json_t **ret, struct err *e) {
    const char *colon = strchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : strlen(text);
    static const char *const names[] = {"no", "always", "unless-stopped", "on-failure"};
    int64_t count = 0;

    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        if (strlen(names[i]) != n || memcmp(names[i], text, n) != 0)
            continue;
        if (colon && (i != 3 || parse_int_range(colon + 1, 0, INT_MAX, &count) < 0))
            break;
        *ret = json_pack("{sssI}", "Name", names[i], "MaximumRetryCount", (json_int_t)count);
        return json_made(*ret, e);
    }
    return err_set(e, ERR_INVALID, "--restart is no, always, unless-stopped or on-failure[:COUNT], not \"%s\"", text);
}

int parse_when(const char *text, int64_t now_ns, char **ret, struct err *e) {
    int64_t at = 0;

    if (moment_parse(text, now_ns, &at, NULL) < 0)
        return err_set(e, ERR_INVALID, "\"%s\" is no time: write 2026-01-02T03:04:05Z, seconds since 1970, or how long ago (1h30m)", text);
    *ret = str_printf("%lld.%09lld", (long long)(at / NSEC_PER_SEC), (long long)(at % NSEC_PER_SEC));
    return *ret ? 0 : err_oom(e);
}

int parse_keys(const char *text, char *ret, size_t room, struct err *e) {
    _cleanup_strv_ struct strv keys = STRV_INIT;

    if (!*text)
        return 0;
    if (strv_split(&keys, text, ',') < 0)
        return err_oom(e);
    if (keys.n > room)
        return err_set(e, ERR_INVALID, "more than %zu keys to detach in \"%s\"", room, text);
    for (size_t i = 0; i < keys.n; i++) {
        const char *key = keys.v[i], *control = str_after(key, "ctrl-");

        if (control && strlen(control) == 1 && (isalpha((unsigned char)*control) || strchr("@[\\]^_", *control)))
            ret[i] = (char)(toupper((unsigned char)*control) & 0x1f);
        else if (strlen(key) == 1)
            ret[i] = *key;
        else
            return err_set(e, ERR_INVALID, "\"%s\" is no key: write a character or ctrl- and a letter", key);
    }
    return (int)keys.n;
}
