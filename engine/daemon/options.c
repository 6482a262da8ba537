// SPDX-License-Identifier: Apache-2.0
/* Sections: defaults; command line; daemon.json; validation; texts for people. */
#include "daemon/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "daemon/options-internal.h"

#define DEFAULT_CONFIG_FILE "/etc/hatake/daemon.json"

static void decrefp(json_t **j) {
    json_decref(*j);
}

/* ---- defaults ------------------------------------------------------------------------------------------------------------------ */

int options_init(struct options *o, struct err *e) {
    static const char *const texts[][2] = {
        {"data-root", "/var/lib/hatake"}, {"exec-root", "/run/hatake"},
        {"pidfile", "/run/hatake.pid"},   {"group", "docker"},
        {"log-driver", "json-file"},      {"log-level", "info"},
        {"log-format", "text"},           {"default-runtime", "runc"},
        {"seccomp-profile", "builtin"},   {"default-cgroupns-mode", "host"},
        {"default-ipc-mode", "private"},  {"ip", "0.0.0.0"},
    };

    *o = (struct options){0};
    o->config = (struct engine_config){
        .icc = true,
        .iptables = true,
        .ip_forward = true,
        .ip_masq = true,
        .userland_proxy = true,
        .mtu = 1500,
        .max_concurrent_downloads = 3,
        .max_concurrent_uploads = 5,
        .max_download_attempts = 5,
        .default_shm_size = (int64_t)MIB(64),
        .shutdown_timeout = 15,
    };
    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        if (option_set_text(o, option_by_key(texts[i][0]), texts[i][1], e) < 0)
            return err_oom(e);
    return 0;
}

void options_done(struct options *o) {
    struct engine_config *c = &o->config;

    for (size_t i = 0; i < option_count; i++) {
        const struct option *opt = &option_table[i];
        void *f = (char *)c + opt->offset;

        if (opt->offset == OPTION_IGNORED)
            continue;
        switch (opt->kind) {
        case OPT_STRING:
        case OPT_IP:
            free(*(char **)f);
            break;
        case OPT_LIST:
        case OPT_IPS:
        case OPT_HOST:
        case OPT_LABEL:
        case OPT_SEARCH:
        case OPT_MIRROR:
        case OPT_MAP:
        case OPT_MAPMAP:
        case OPT_FEATURE:
            strv_done(f);
            break;
        default:
            break;
        }
    }
    for (size_t i = 0; i < c->n_runtimes; i++) {
        free(c->runtimes[i].name);
        free(c->runtimes[i].path);
        strv_done(&c->runtimes[i].args);
    }
    for (size_t i = 0; i < c->n_default_address_pools; i++)
        free(c->default_address_pools[i].base);
    for (size_t i = 0; i < c->n_default_ulimits; i++)
        free(c->default_ulimits[i].name);
    free(c->runtimes);
    free(c->default_address_pools);
    free(c->default_ulimits);
    map_done_with(&o->from_flag, free);
    map_done(&o->from_file);
    *o = (struct options){0};
}

/* ---- command line ------------------------------------------------------------------------------------------------------------------ */

static bool is_list(const struct option *opt) {
    return opt->kind >= OPT_LIST;
}

/* Remember what was given, as the conflict message prints it: "[a b]" for lists. */
static int remember_flag(struct options *o, const struct option *opt, const char *value, struct err *e) {
    char *old = map_get(&o->from_flag, opt->name), *now;

    if (!is_list(opt))
        now = strdup(value);
    else if (old)
        now = str_printf("%.*s %s]", (int)strlen(old) - 1, old, value);
    else
        now = str_printf("[%s]", value);
    if (!now || map_set(&o->from_flag, opt->name, now, NULL) < 0) {
        free(now);
        return err_oom(e);
    }
    free(old);
    return 0;
}

static int apply_flag(struct options *o, const struct option *opt, const char *value, struct err *e) {
    _cleanup_err_ struct err why = ERR_INIT;
    _cleanup_free_ char *shown = NULL;
    bool yes = true;

    if (option_set_text(o, opt, value, &why) < 0) {
        shown = opt->shorthand ? str_printf("-%c, --%s", opt->shorthand, opt->name) : str_printf("--%s", opt->name);
        return err_set(e, ERR_INVALID, "invalid argument \"%s\" for \"%s\" flag: %s", value, shown ? shown : opt->name, err_msg(&why));
    }
    if (opt->kind == OPT_BOOL)
        ignore_result(parse_bool(value, &yes) < 0);
    if (streq(opt->name, "version"))
        o->version = yes;
    else if (streq(opt->name, "help"))
        o->help = yes;
    else if (streq(opt->name, "validate"))
        o->validate = yes;
    return remember_flag(o, opt, value, e);
}

static const struct option *by_flag(const char *name, size_t n) {
    for (size_t i = 0; i < option_count; i++)
        if (option_table[i].name && strlen(option_table[i].name) == n && memcmp(option_table[i].name, name, n) == 0)
            return &option_table[i];
    return NULL;
}

static int parse_long(struct options *o, const char *arg, char **next, int *used, struct err *e) {
    const char *eq = strchr(arg, '=');
    size_t n = eq ? (size_t)(eq - arg) : strlen(arg);
    const struct option *opt = by_flag(arg, n);

    if (!opt)
        return err_set(e, ERR_INVALID, "unknown flag: --%.*s", (int)n, arg);
    if (eq)
        return apply_flag(o, opt, eq + 1, e);
    if (opt->kind == OPT_BOOL)
        return apply_flag(o, opt, "true", e);
    if (!*next)
        return err_set(e, ERR_INVALID, "flag needs an argument: --%s", opt->name);
    *used = 1;
    return apply_flag(o, opt, *next, e);
}

/* -DH value, -Hvalue, -H=value, -D=false */
static int parse_short(struct options *o, const char *arg, char **next, int *used, struct err *e) {
    for (const char *p = arg; *p; p++) {
        const struct option *opt = NULL;
        int r;

        for (size_t i = 0; i < option_count && !opt; i++)
            if (option_table[i].shorthand == *p)
                opt = &option_table[i];
        if (!opt)
            return err_set(e, ERR_INVALID, "unknown shorthand flag: '%c' in -%s", *p, arg);
        if (p[1] == '=')
            return apply_flag(o, opt, p + 2, e);
        if (opt->kind == OPT_BOOL) {
            r = apply_flag(o, opt, "true", e);
            if (r < 0)
                return r;
            continue;
        }
        if (p[1])
            return apply_flag(o, opt, p + 1, e);
        if (!*next)
            return err_set(e, ERR_INVALID, "flag needs an argument: '%c' in -%s", *p, arg);
        *used = 1;
        return apply_flag(o, opt, *next, e);
    }
    return 0;
}

int options_parse_argv(struct options *o, int argc, char **argv, struct err *e) {
    bool extra = false;

    for (int i = 1; i < argc; i++) {
        int used = 0, r = 0;

        if (streq(argv[i], "--")) {
            extra = extra || i + 1 < argc;
            break;
        }
        if (str_has_prefix(argv[i], "--"))
            r = parse_long(o, argv[i] + 2, argv + i + 1, &used, e);
        else if (argv[i][0] == '-' && argv[i][1])
            r = parse_short(o, argv[i] + 1, argv + i + 1, &used, e);
        else
            extra = true;
        if (r < 0)
            return r;
        i += used;
    }
    if (extra && !o->help && !o->version)
        return err_set(e, ERR_INVALID, "\"hataked\" accepts no argument(s).");
    return 0;
}

/* ---- daemon.json --------------------------------------------------------------------------------------------------------------------- */

/* Value of a JSON text as Go prints it: lists "[a b]", maps "map[k:v]". */
static void print_value(struct buf *out, json_t *v) {
    const char *key, *sep = "";
    json_t *item;
    size_t i;

    if (json_is_string(v)) {
        buf_adds(out, json_string_value(v));
    } else if (json_is_array(v)) {
        buf_addc(out, '[');
        json_array_foreach(v, i, item) {
            buf_adds(out, sep);
            print_value(out, item);
            sep = " ";
        }
        buf_addc(out, ']');
    } else if (json_is_object(v)) {
        buf_adds(out, "map[");
        json_object_foreach(v, key, item) {
            buf_addf(out, "%s%s:", sep, key);
            print_value(out, item);
            sep = " ";
        }
        buf_addc(out, ']');
    } else if (json_is_integer(v)) {
        buf_addi(out, json_integer_value(v));
    } else {
        buf_adds(out, json_is_true(v) ? "true" : json_is_false(v) ? "false" : "<nil>");
    }
}

/* Proxies stand in an object of their own; everything else is flat. */
static int flatten(json_t *root, json_t *ret, struct err *e) {
    const char *key, *inner;
    json_t *value, *item;

    json_object_foreach(root, key, value) {
        if (streq(key, "proxies") && json_is_object(value)) {
            json_object_foreach(value, inner, item) {
                if (json_object_set(ret, inner, item) < 0)
                    return err_oom(e);
            }
        } else if (json_object_set(ret, key, value) < 0) {
            return err_oom(e);
        }
    }
    return 0;
}

static int find_conflicts(const struct options *o, json_t *flat, struct err *e) {
    _cleanup_buf_ struct buf unknown = BUF_INIT(MIB(1)), both = BUF_INIT(MIB(1));
    const char *key;
    json_t *value;

    json_object_foreach(flat, key, value) {
        const struct option *opt = option_by_key(key);
        const char *flag = opt && opt->name ? map_get(&o->from_flag, opt->name) : NULL;

        if (!opt && !streq(key, "builder"))
            buf_addf(&unknown, "%s%s", unknown.len ? ", " : "", key);
        if (!flag)
            continue;
        buf_addf(&both, "%s%s: (from flag: %s, from file: ", both.len ? ", " : "", key, flag);
        print_value(&both, value);
        buf_addc(&both, ')');
    }
    if (unknown.len)
        return err_set(e, ERR_INVALID, "the following directives don't match any configuration option: %s", buf_str(&unknown));
    if (both.len)
        return err_set(e, ERR_INVALID, "the following directives are specified both as a flag and in the configuration file: %s", buf_str(&both));
    return 0;
}

static int read_document(const char *text, size_t n, json_t **ret, struct err *e) {
    _cleanup_(decrefp) json_t *root = NULL;
    json_error_t where;

    if (strspn(text, " \t\r\n") == n)
        return 0; /* an empty file is an empty configuration */
    root = json_loadb(text, n, JSON_DECODE_ANY, &where);
    if (!root)
        return err_set(e, ERR_INVALID, "%s",
                       json_error_code(&where) == json_error_premature_end_of_input ? "unexpected end of JSON input" : where.text);
    if (!json_is_object(root))
        return err_set(e, ERR_INVALID, "json: cannot unmarshal %s into Go value of type map[string]interface {}",
                       json_is_array(root)    ? "array"
                       : json_is_string(root) ? "string"
                       : json_is_number(root) ? "number"
                                              : "bool");
    *ret = TAKE_PTR(root);
    return 0;
}

static int load_document(struct options *o, json_t *root, struct err *e) {
    _cleanup_(decrefp) json_t *flat = json_object();
    const char *key;
    json_t *value;
    int r;

    if (!flat)
        return err_oom(e);
    r = flatten(root, flat, e);
    if (r == 0)
        r = find_conflicts(o, flat, e);
    if (r < 0)
        return r;
    json_object_foreach(flat, key, value) {
        const struct option *opt = option_by_key(key);

        if (!opt)
            continue;
        r = option_set_json(o, opt, value, e);
        if (r < 0)
            return r;
        if (map_set(&o->from_file, key, o, NULL) < 0)
            return err_oom(e);
    }
    return 0;
}

int options_load_file(struct options *o, struct err *e) {
    const char *path = o->config.config_file ? o->config.config_file : DEFAULT_CONFIG_FILE;
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_SMALL_FILE);
    _cleanup_(decrefp) json_t *root = NULL;
    _cleanup_err_ struct err why = ERR_INIT;
    int r;

    if (!map_has(&o->from_flag, "config-file") && !fs_exists(path))
        return 0;
    r = fs_read_file(path, &text, &why);
    if (r < 0 && why.errnum == ENOENT)
        r = err_set(&why, ERR_INVALID, "open %s: no such file or directory", path);
    if (r == 0)
        r = read_document(buf_str(&text), text.len, &root, &why);
    if (r == 0 && root)
        r = load_document(o, root, &why);
    if (r < 0)
        return err_set(e, ERR_INVALID, "unable to configure the Docker daemon with file %s: %s", path, err_msg(&why));
    return 0;
}

/* ---- validation -------------------------------------------------------------------------------------------------------------------------- */

static int validate_labels(const struct engine_config *c, struct err *e) {
    for (size_t i = 0; i < c->labels.n; i++) {
        size_t key = (size_t)(strchrnul(c->labels.v[i], '=') - c->labels.v[i]);

        for (size_t j = i + 1; j < c->labels.n; j++)
            if (strncmp(c->labels.v[i], c->labels.v[j], key + 1) == 0 && !streq(c->labels.v[i], c->labels.v[j]))
                return err_set(e, ERR_INVALID, "conflict labels for %s and %s", c->labels.v[j], c->labels.v[i]);
    }
    return 0;
}

int options_validate(const struct options *o, struct err *e) {
    const struct engine_config *c = &o->config;
    enum log_level level;

    if (!log_level_parse(c->log_level, &level))
        return err_set(e, ERR_INVALID, "invalid logging level: %s", c->log_level);
    if (!streq(c->log_format, "text") && !streq(c->log_format, "json"))
        return err_set(e, ERR_INVALID, "invalid log format: %s", c->log_format);
    if (validate_labels(c, e) < 0)
        return -ERR_INVALID;
    if (c->mtu < 0)
        return err_set(e, ERR_INVALID, "invalid default MTU: %lld", (long long)c->mtu);
    if (c->max_concurrent_downloads < 0)
        return err_set(e, ERR_INVALID, "invalid max concurrent downloads: %lld", (long long)c->max_concurrent_downloads);
    if (c->max_concurrent_uploads < 0)
        return err_set(e, ERR_INVALID, "invalid max concurrent uploads: %lld", (long long)c->max_concurrent_uploads);
    if (c->max_download_attempts < 0)
        return err_set(e, ERR_INVALID, "invalid max download attempts: %lld", (long long)c->max_download_attempts);
    if (!streq(c->default_ipc_mode, "shareable") && !streq(c->default_ipc_mode, "private"))
        return err_set(e, ERR_INVALID, "default IPC mode setting (%s) is invalid; use \"shareable\" or \"private\"", c->default_ipc_mode);
    if (!streq(c->default_cgroupns_mode, "host") && !streq(c->default_cgroupns_mode, "private"))
        return err_set(e, ERR_INVALID, "default cgroup namespace mode (%s) is invalid; use \"host\" or \"private\"", c->default_cgroupns_mode);
    return 0;
}

/* ---- texts for people ---------------------------------------------------------------------------------------------------------------------- */

void options_warn(const struct options *o) {
    for (size_t i = 0; i < option_count; i++) {
        const struct option *opt = &option_table[i];
        bool set = (opt->name && map_has(&o->from_flag, opt->name)) || map_has(&o->from_file, option_key(opt));

        if (set && opt->unbuilt)
            log_kv(LOG_LVL_WARN, "option has no effect in this version", "option", option_key(opt), "reason", opt->unbuilt, NULL);
    }
}

void options_usage(struct buf *out) {
    buf_adds(out, "\nUsage:\thataked [OPTIONS]\n\nA container engine that speaks the Docker Engine API.\n\nOptions:\n");
    for (size_t i = 0; i < option_count; i++) {
        const struct option *opt = &option_table[i];
        char left[64], shorthand[8] = "    ";

        if (!opt->name)
            continue;
        if (opt->shorthand)
            snprintf(shorthand, sizeof(shorthand), "-%c, ", opt->shorthand);
        snprintf(left, sizeof(left), "  %s--%s %s", shorthand, opt->name, opt->type);
        buf_addf(out, "%-48s%s%s\n", left, opt->help, opt->unbuilt ? " (no effect yet)" : "");
    }
}

void options_print_unbuilt(struct buf *out) {
    for (size_t i = 0; i < option_count; i++)
        if (option_table[i].name && option_table[i].unbuilt)
            buf_addf(out, "%s\t%s\n", option_table[i].name, option_table[i].unbuilt);
}
