// SPDX-License-Identifier: Apache-2.0
/* Sections: defaults; command line; texts for people. */
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

/* ---- defaults ------------------------------------------------------------------------------------------------------------------ */

int options_init(struct options *o, struct err *e) {
    const char *const texts[][2] = {
        {"data-root", "/var/lib/hatake"}, {"exec-root", "/run/hatake"},
        {"pidfile", "/run/hatake.pid"},   {"group", "docker"},
        {"log-driver", "json-file"},      {"log-level", "info"},
        {"log-format", "text"},           {"default-runtime", "runc"},
        {"seccomp-profile", "builtin"},   {"default-cgroupns-mode", fs_exists("/sys/fs/cgroup/cgroup.controllers") ? "private" : "host"},
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

int options_take_environment(struct options *o, struct err *e) {
    const struct {
        char **slot;
        const char *names[2];
    } rows[] = {{&o->config.http_proxy, {"HTTP_PROXY", "http_proxy"}},
                {&o->config.https_proxy, {"HTTPS_PROXY", "https_proxy"}},
                {&o->config.no_proxy, {"NO_PROXY", "no_proxy"}}};

    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        for (size_t k = 0; k < 2 && str_empty(*rows[i].slot); k++)
            if (str_set(rows[i].slot, getenv(rows[i].names[k])) < 0)
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
        case OPT_INSECURE:
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
        free(c->runtimes[i].type);
        free(c->runtimes[i].binary);
        free(c->runtimes[i].state_root);
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
    return opt->kind >= OPT_LIST && opt->kind != OPT_POOL;
}

static const struct strv *given_list(const struct options *o, const struct option *opt) {
    return opt->offset == OPTION_IGNORED ? NULL : (const struct strv *)((const char *)&o->config + opt->offset);
}

/* A size as the reference shows it: "1GiB", "1.5MiB". */
static char *show_bytes(int64_t n) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)n;
    size_t i = 0;

    for (; v >= 1024 && i + 1 < ELEMENTSOF(units); i++)
        v /= 1024;
    return str_printf("%.4g%s", v, units[i]);
}

/* Remember what was given, as the conflict message prints it: "[a b]" for lists, "map[k:v]" for maps. */
static int remember_flag(struct options *o, const struct option *opt, const char *value, struct err *e) {
    char *old = map_get(&o->from_flag, opt->name), *now;
    const char *eq = strchr(value, '='), *second = eq ? strchr(eq + 1, '=') : NULL;

    if (opt->kind == OPT_POOL)
        now = str_printf("%s%s%s %d", old ? old : "", old ? "," : "", o->config.default_address_pools[o->config.n_default_address_pools - 1].base,
                         o->config.default_address_pools[o->config.n_default_address_pools - 1].size);
    else if (opt->kind == OPT_MAP)
        now = str_printf("%.*s%s%.*s:%s]", old ? (int)strlen(old) - 1 : 4, old ? old : "map[", old ? " " : "",
                         eq ? (int)(eq - value) : (int)strlen(value), value, eq ? eq + 1 : "");
    else if (opt->kind == OPT_MAPMAP && second)
        now = str_printf("map[%.*s:map[%.*s:%s]]", (int)(eq - value), value, (int)(second - eq - 1), eq + 1, second + 1);
    else if (opt->kind == OPT_BYTES)
        now = show_bytes(o->config.default_shm_size);
    else if (opt->kind == OPT_MIRROR)
        now = str_printf("%.*s%s%s]", old ? (int)strlen(old) - 1 : 1, old ? old : "[", old ? " " : "",
                         given_list(o, opt)->v[given_list(o, opt)->n - 1]);
    else if (!is_list(opt))
        now = strdup(value);
    else
        now = str_printf("%.*s%s%s]", old ? (int)strlen(old) - 1 : 1, old ? old : "[", old ? " " : "", value);
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

    if (*arg == '-' || *arg == '=')
        return err_set(e, ERR_INVALID, "bad flag syntax: --%s", arg);
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
            return err_set(e, ERR_INVALID, "unknown shorthand flag: '%c' in -%s", *p, p);
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
            return err_set(e, ERR_INVALID, "flag needs an argument: '%c' in -%s", *p, p);
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

/* ---- texts for people ---------------------------------------------------------------------------------------------------------------------- */

bool options_has(const struct options *o, const struct option *opt) {
    return (opt->name && map_has(&o->from_flag, opt->name)) || map_has(&o->from_file, option_key(opt));
}

void options_warn(const struct options *o) {
    for (size_t i = 0; i < option_count; i++) {
        const struct option *opt = &option_table[i];

        if (opt->unbuilt && options_has(o, opt))
            log_kv(LOG_LVL_WARN, "option is not built", "option", option_key(opt), "reason", opt->unbuilt, NULL);
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
        buf_addf(out, "%-48s%s%s\n", left, opt->help, opt->unbuilt ? " (not built)" : "");
    }
}

void options_print_unbuilt(struct buf *out) {
    for (size_t i = 0; i < option_count; i++)
        if (option_table[i].name && option_table[i].unbuilt)
            buf_addf(out, "%s\t%s\n", option_table[i].name, option_table[i].unbuilt);
}
