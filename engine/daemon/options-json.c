// SPDX-License-Identifier: Apache-2.0
/* One option's value, from the JSON of daemon.json, and the reference's decoder's words for one that does not fit. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "daemon/options-internal.h"
#include "wire/codec.h"

static int wrong_type(const struct option *opt, json_t *v, const char *want, struct err *e) {
    if (str_has_suffix(opt->path, "ProxyConfig."))
        return err_set(e, ERR_INVALID, "json: cannot unmarshal %s into Go struct field Proxies.CommonConfig.proxies.%s of type %s", codec_word(v),
                       option_key(opt), want);
    return err_set(e, ERR_INVALID, "json: cannot unmarshal %s into Go struct field Config.%s%s of type %s", codec_word(v), opt->path, option_key(opt),
                   want);
}

/* Lists of the file are taken as they are: their syntax is checked with the configuration as a whole. Addresses are read at once. */
static int set_json_list(struct options *o, const struct option *opt, json_t *v, struct err *e) {
    bool ips = opt->kind == OPT_IPS;
    json_t *item;
    size_t i;
    int r = 0;

    if (!json_is_array(v))
        return wrong_type(opt, v, ips ? "[]net.IP" : "[]string", e);
    json_array_foreach(v, i, item) {
        if (!json_is_string(item))
            return wrong_type(opt, item, ips ? "net.IP" : "string", e);
        if (ips && !option_is_ip(json_string_value(item)))
            return err_set(e, ERR_INVALID, "invalid IP address: %s", json_string_value(item));
        if (opt->kind == OPT_GENERIC && !strchr(json_string_value(item), '=')) {
            o->bad_generic = true;
            continue;
        }
        /* A bad mirror stays as it is written: the start names it. */
        if (opt->kind == OPT_MIRROR && option_check_mirror(json_string_value(item), NULL) == 0)
            r = option_add_mirror(option_field(o, opt), json_string_value(item), e);
        else if (opt->offset != OPTION_IGNORED)
            r = option_add(option_field(o, opt), json_string_value(item), e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* {"bridge": {"com.docker.network.driver.mtu": "1400"}} */
static int set_json_mapmap(struct options *o, const struct option *opt, json_t *v, struct err *e) {
    const char *key, *inner;
    json_t *item, *value;

    if (!json_is_object(v))
        return wrong_type(opt, v, "map[string]map[string]string", e);
    json_object_foreach(v, key, item) {
        if (!json_is_object(item))
            return wrong_type(opt, item, "map[string]string", e);
        json_object_foreach(item, inner, value) {
            if (!json_is_string(value))
                return wrong_type(opt, value, "string", e);
            if (strv_addf(option_field(o, opt), "%s=%s=%s", key, inner, json_string_value(value)) < 0)
                return err_oom(e);
        }
    }
    return 0;
}

static int set_json_map(struct options *o, const struct option *opt, json_t *v, struct err *e) {
    const char *key;
    json_t *item;

    if (!json_is_object(v))
        return wrong_type(opt, v, opt->kind == OPT_FEATURE ? "map[string]bool" : "map[string]string", e);
    json_object_foreach(v, key, item) {
        struct strv *l = option_field(o, opt);

        if (opt->offset == OPTION_IGNORED)
            continue;
        if (opt->kind == OPT_FEATURE ? !json_is_boolean(item) : !json_is_string(item))
            return wrong_type(opt, item, opt->kind == OPT_FEATURE ? "bool" : "string", e);
        if (strv_addf(l, "%s=%s", key, json_is_string(item) ? json_string_value(item) : json_is_true(item) ? "true" : "false") < 0)
            return err_oom(e);
    }
    return 0;
}

static int wrong_field(const char *type, const char *path, json_t *v, const char *want, struct err *e) {
    return err_set(e, ERR_INVALID, "json: cannot unmarshal %s into Go struct field %s.%s of type %s", codec_word(v), type, path, want);
}

/* {"nofile": {"Name": "nofile", "Soft": 5, "Hard": 10}}: as given, nothing is compared. */
static int set_json_ulimits(struct options *o, const struct option *opt, json_t *v, struct err *e) {
    const char *key;
    json_t *item;

    if (!json_is_object(v))
        return wrong_type(opt, v, "map[string]*units.Ulimit", e);
    json_object_foreach(v, key, item) {
        json_t *soft = json_object_get(item, "Soft"), *hard = json_object_get(item, "Hard"), *name = json_object_get(item, "Name");
        int r;

        if (!json_is_object(item))
            return wrong_type(opt, item, "units.Ulimit", e);
        if (name && !json_is_string(name))
            return wrong_field("Ulimit", "default-ulimits.Name", name, "string", e);
        if (soft && !json_is_integer(soft))
            return wrong_field("Ulimit", "default-ulimits.Soft", soft, "int64", e);
        if (hard && !json_is_integer(hard))
            return wrong_field("Ulimit", "default-ulimits.Hard", hard, "int64", e);
        r = option_add_ulimit(o, strdup(name ? json_string_value(name) : key), json_integer_value(soft), json_integer_value(hard), e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Options are for the type's own program; of those of the common one, these two mean something without it. */
static int runtime_options(struct engine_runtime *r, const json_t *options, struct err *e) {
    static const char *const names[] = {"BinaryName", "Root"};
    char **slots[] = {&r->binary, &r->state_root};

    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        const json_t *v = json_object_get(options, names[i]);

        if (!v)
            continue;
        if (!json_is_string(v))
            return err_set(e, ERR_INVALID, "runtime %s: option %s: expected a string", r->name, names[i]);
        if (*json_string_value(v) && !(*slots[i] = strdup(json_string_value(v))))
            return err_oom(e);
    }
    return 0;
}

/* {"kata": {"path": "/usr/bin/kata", "runtimeArgs": ["-x"]}, "other": {"runtimeType": "io.containerd.runc.v2", "options": {"BinaryName": "/usr/bin/crun"}}}: what is wrong is told at the start. */
static int set_json_runtimes(struct options *o, const struct option *opt, json_t *v, struct err *e) {
    const char *key;
    json_t *item;

    if (!json_is_object(v))
        return wrong_type(opt, v, "map[string]system.Runtime", e);
    json_object_foreach(v, key, item) {
        json_t *path = json_object_get(item, "path"), *args = json_object_get(item, "runtimeArgs"), *arg;
        json_t *type = json_object_get(item, "runtimeType"), *options = json_object_get(item, "options");
        struct engine_runtime *runtime;
        size_t i;
        int r;

        if (!json_is_object(item))
            return wrong_type(opt, item, "system.Runtime", e);
        if (path && !json_is_string(path))
            return wrong_field("Runtime", "runtimes.path", path, "string", e);
        if (args && !json_is_array(args))
            return wrong_field("Runtime", "runtimes.runtimeArgs", args, "[]string", e);
        if (type && !json_is_string(type))
            return wrong_field("Runtime", "runtimes.runtimeType", type, "string", e);
        r = option_add_runtime(o, key, json_string_length(path) ? json_string_value(path) : NULL, &runtime, e);
        if (r < 0)
            return r;
        runtime->has_options = json_object_size(options) > 0;
        if (json_string_length(type) && !(runtime->type = strdup(json_string_value(type))))
            return err_oom(e);
        r = runtime_options(runtime, options, e);
        if (r < 0)
            return r;
        json_array_foreach(args, i, arg) {
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
        json_t *base = json_object_get(item, "base"), *size = json_object_get(item, "size");
        int r;

        if (!json_is_object(item))
            return wrong_type(opt, item, "ipamutils.NetworkToSplit", e);
        if (base && !json_is_string(base))
            return wrong_field("Config", "CommonConfig.NetworkConfig.default-address-pools.base", base, "string", e);
        if (size && !json_is_integer(size))
            return wrong_field("Config", "CommonConfig.NetworkConfig.default-address-pools.size", size, "int", e);
        r = option_add_pool(o, base ? json_string_value(base) : "", json_integer_value(size), e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* A size is text; anything else is named as it stands in the file. */
static int set_json_bytes(struct options *o, const struct option *opt, json_t *v, struct err *e) {
    _cleanup_free_ char *text = json_is_string(v) ? strdup(json_string_value(v)) : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);

    if (!text)
        return err_oom(e);
    if (!json_is_string(v))
        return err_set(e, ERR_INVALID, "invalid size: \"%s\"", text);
    return option_set_text(o, opt, text, e);
}

int option_set_json(struct options *o, const struct option *opt, json_t *v, struct err *e) {
    if (json_is_null(v))
        return 0;
    switch (opt->kind) {
    case OPT_BOOL:
        if (!json_is_boolean(v))
            return wrong_type(opt, v, "bool", e);
        *(bool *)option_field(o, opt) = json_is_true(v);
        return 0;
    case OPT_INT:
        if (json_is_real(v))
            return err_set(e, ERR_INVALID, "json: cannot unmarshal number %g into Go struct field Config.%s%s of type int", json_real_value(v),
                           opt->path, option_key(opt));
        if (!json_is_integer(v))
            return wrong_type(opt, v, "int", e);
        *(int64_t *)option_field(o, opt) = json_integer_value(v);
        return 0;
    case OPT_BYTES:
        return set_json_bytes(o, opt, v, e);
    case OPT_IP:
        if (!json_is_string(v))
            return wrong_type(opt, v, "net.IP", e);
        if (!option_is_ip(json_string_value(v)))
            return err_set(e, ERR_INVALID, "invalid IP address: %s", json_string_value(v));
        return option_set_text(o, opt, json_string_value(v), e);
    case OPT_STRING:
        if (!json_is_string(v))
            return wrong_type(opt, v, "string", e);
        return option_set_text(o, opt, json_string_value(v), e);
    case OPT_MAPMAP:
        return set_json_mapmap(o, opt, v, e);
    case OPT_MAP:
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
