// SPDX-License-Identifier: Apache-2.0
#include "container/logopts.h"

#include "base/limits.h"
#include "base/str.h"
#include "container/logattrs.h"
#include "container/validate.h"

#define START_FAILED "failed to create task for container: failed to initialize logging driver: "
#define LOCAL_MAX_SIZE MIB(20)
#define LOCAL_MAX_FILE 5
#define MAX_FILES 1000

static const char *option(const struct api_log_config *l, const char *key) {
    for (size_t i = 0; i < l->config.n; i++)
        if (streq(l->config.v[i].key, key))
            return l->config.v[i].value ? l->config.v[i].value : "";
    return NULL;
}

static const char *type_of(const struct api_log_config *l) {
    return str_empty(l->type) ? "json-file" : l->type;
}

static bool sends(const char *type) {
    return streq(type, "syslog") || streq(type, "gelf") || streq(type, "fluentd") || streq(type, "journald");
}

/* ---- at create --------------------------------------------------------------------------------------------------------------- */
/* Options that every driver takes. */
static int check_common(const struct api_log_config *l, struct err *e) {
    const char *mode = option(l, "mode"), *buffer = option(l, "max-buffer-size"), *off = option(l, "cache-disabled");
    bool disabled;
    uint64_t n;

    if (!str_empty(mode) && !streq(mode, "blocking") && !streq(mode, "non-blocking"))
        return err_set(e, ERR_INVALID, "logger: logging mode not supported: %s", mode);
    if (buffer && !streq_ptr(mode, "non-blocking"))
        return err_set(e, ERR_INVALID, "logger: max-buffer-size option is only supported with 'mode=non-blocking'");
    if (buffer && ctr_size_parse(buffer, &n) < 0)
        return err_set(e, ERR_INVALID, "error parsing option max-buffer-size: invalid size: '%s'", buffer);
    if (!str_empty(off) && parse_bool(off, &disabled) < 0)
        return err_set(e, ERR_INVALID, "invalid value for option cache-disabled: %s", off);
    return 0;
}

static const char *const json_options[] = {"max-file", "max-size", "compress", "labels", "labels-regex", "env", "env-regex", "tag", NULL};
static const char *const local_options[] = {"max-file", "max-size", "compress", NULL};

static int check_names(const struct api_log_config *l, const char *const *known, struct err *e) {
    static const char *const common[] = {"mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress", NULL};

    for (size_t i = 0; i < l->config.n; i++) {
        const char *key = l->config.v[i].key;
        bool ok = false;

        for (size_t k = 0; known[k] && !ok; k++)
            ok = streq(known[k], key);
        for (size_t k = 0; common[k] && !ok; k++)
            ok = streq(common[k], key);
        if (!ok)
            return err_set(e, ERR_INVALID,
                           known == local_options ? "unknown log opt '%s' for log driver local" : "unknown log opt '%s' for json-file log driver",
                           key);
    }
    return 0;
}

int ctr_log_check(const struct api_log_config *l, struct err *e) {
    const char *type = type_of(l);
    int r;

    if (streq(type, "none"))
        return 0;
    if (streq(type, "logentries"))
        return err_set(e, ERR_INVALID, "the logentries logging driver has been deprecated and removed");
    if (!streq(type, "json-file") && !streq(type, "local") && !sends(type))
        return err_set(e, ERR_INVALID, "error looking up logging plugin %s: plugin \"%s\" not found", type, type);
    r = check_common(l, e);
    if (r < 0)
        return r;
    if (streq(type, "json-file"))
        return check_names(l, json_options, e);
    if (streq(type, "local"))
        return check_names(l, local_options, e);
    return ctr_log_check_sender(l, e);
}

int containers_check_logging(const struct engine_config *cfg, struct err *e) {
    struct api_log_config l = {.type = cfg->log_driver};
    int r = 0;

    if (cfg->log_opts.n == 0 || streq_ptr(cfg->log_driver, "none"))
        return 0;
    for (size_t i = 0; r == 0 && i < cfg->log_opts.n; i++) {
        _cleanup_free_ char *key = strndup(cfg->log_opts.v[i], strcspn(cfg->log_opts.v[i], "="));
        const char *eq = strchr(cfg->log_opts.v[i], '=');

        r = key ? api_string_map_set(&l.config, key, eq ? eq + 1 : "", e) : err_oom(e);
    }
    if (r == 0)
        r = ctr_log_check(&l, e);
    l.type = NULL; /* the configuration's */
    api_log_config_done(&l);
    return r;
}

bool ctr_log_has_folder(const struct api_log_config *l) {
    bool off = false;

    if (sends(type_of(l)))
        return parse_bool(option(l, "cache-disabled") ? option(l, "cache-disabled") : "false", &off) < 0 || !off;
    return streq(type_of(l), "local");
}

int ctr_log_file(const struct api_log_config *l, const char *dir, const char *id, char **ret, struct err *e) {
    *ret = streq(type_of(l), "json-file") ? str_printf("%s/%s-json.log", dir, id)
           : ctr_log_has_folder(l)        ? str_printf("%s/local-logs/container.log", dir)
                                          : strdup("");
    return *ret ? 0 : err_oom(e);
}

/* ---- at start ------------------------------------------------------------------------------------------------------------------ */
static int bad_number(const char *what, const char *text, struct err *e) {
    const char *digits = text + (*text == '-' || *text == '+');
    bool number = *digits && !digits[strspn(digits, "0123456789")];

    return err_set(e, ERR_INTERNAL, START_FAILED "%sstrconv.Atoi: parsing \"%s\": %s", what, text, number ? "value out of range" : "invalid syntax");
}

static int plan_json_file(const struct ctr_fixed *f, struct launch_log *log, struct err *e) {
    const char *size = ctr_log_option(f, "max-size"), *files = ctr_log_option(f, "max-file"), *compress = ctr_log_option(f, "compress");
    int64_t n = 1;

    if (size && ctr_size_parse(size, &log->max_size) < 0)
        return err_set(e, ERR_INTERNAL, START_FAILED "invalid size: '%s'", size);
    if (size && log->max_size == 0)
        return err_set(e, ERR_INTERNAL, START_FAILED "max-size must be a positive number");
    if (files && parse_i64(files, &n) < 0)
        return bad_number("", files, e);
    if (n < 1)
        return err_set(e, ERR_INTERNAL, START_FAILED "max-file cannot be less than 1");
    if (compress && parse_bool(compress, &log->compress) < 0)
        return err_set(e, ERR_INTERNAL, START_FAILED "strconv.ParseBool: parsing \"%s\": invalid syntax", compress);
    if (log->compress && (n < 2 || log->max_size == 0))
        return err_set(e, ERR_INTERNAL, START_FAILED "compress cannot be true when max-file is less than 2 or max-size is not set");
    log->max_file = (int)(n < MAX_FILES ? n : MAX_FILES);
    return 0;
}

static void local_defaults(struct launch_log *log) {
    log->max_size = LOCAL_MAX_SIZE;
    log->max_file = LOCAL_MAX_FILE;
    log->compress = true;
}

static int plan_local(const struct ctr_fixed *f, struct launch_log *log, struct err *e) {
    const char *size = ctr_log_option(f, "max-size"), *files = ctr_log_option(f, "max-file"), *compress = ctr_log_option(f, "compress");
    int64_t n = LOCAL_MAX_FILE;

    local_defaults(log);
    if (size && ctr_size_parse(size, &log->max_size) < 0)
        return err_set(e, ERR_INTERNAL, START_FAILED "invalid value for max-size: %s: invalid size: '%s'", size, size);
    if (files && parse_i64(files, &n) < 0) {
        _cleanup_free_ char *what = str_printf("invalid value for max-file: %s: ", files);

        return bad_number(what ? what : "", files, e);
    }
    if (n < 0)
        return err_set(e, ERR_INTERNAL, START_FAILED "max file count cannot be less than 0");
    if (compress && parse_bool(compress, &log->compress) < 0)
        return err_set(e, ERR_INTERNAL, START_FAILED "error reading compress log option: strconv.ParseBool: parsing \"%s\": invalid syntax",
                       compress);
    if (log->compress && n < 2)
        return err_set(e, ERR_INTERNAL, START_FAILED "compression cannot be enabled when max file count is 1");
    log->max_file = (int)(n < 1 ? 1 : n < MAX_FILES ? n : MAX_FILES);
    return 0;
}

/* The copy that drivers which send keep. The reference takes any value of these and heeds none: ones that mean something are heeded here. */
static void plan_copy(const struct ctr_fixed *f, struct launch_log *log) {
    const char *size = ctr_log_option(f, "cache-max-size"), *files = ctr_log_option(f, "cache-max-file"),
               *compress = ctr_log_option(f, "cache-compress");
    uint64_t bytes;
    int64_t n;

    local_defaults(log);
    if (size && ctr_size_parse(size, &bytes) == 0 && bytes > 0)
        log->max_size = bytes;
    if (files && parse_int_range(files, 1, MAX_FILES, &n) == 0)
        log->max_file = (int)n;
    if (compress)
        ignore_result(parse_bool(compress, &log->compress));
    log->compress = log->compress && log->max_file > 1;
}

static int err_prefix_start(struct err *e) {
    _cleanup_err_ struct err why = ERR_INIT;

    if (!e)
        return -(int)ERR_INTERNAL;
    why = *e;
    *e = ERR_INIT;
    /* What is missing is the caller's fault, as in all failed starts. */
    return err_set(e, strstr(err_msg(&why), "no such file or directory") ? ERR_INVALID : ERR_INTERNAL, START_FAILED "%s", err_msg(&why));
}

int ctr_log_prepare(const struct ctr_fixed *f, const char *name, const char *libexec_dir, struct ctr_log_plan *p, struct err *e) {
    const char *type = type_of(f->host.log_config);
    struct launch_log *log = &p->log;
    int r;

    *p = (struct ctr_log_plan){0};
    if (streq(type, "none"))
        return 0;
    p->tls_program = str_printf("%s/hatake-logtls", libexec_dir);
    if (!p->tls_program)
        return err_oom(e);
    log->driver = type;
    log->path = f->log_file;
    log->max_file = 1;
    if (sends(type))
        plan_copy(f, log);
    r = streq(type, "json-file") ? plan_json_file(f, log, e) : streq(type, "local") ? plan_local(f, log, e) : 0;
    if (r < 0)
        return r;
    if (streq(type, "json-file"))
        r = ctr_log_attrs(f, name, &p->attrs, e);
    else if (sends(type))
        r = ctr_log_send_config(f, name, p, e);
    if (r < 0)
        return err_prefix_start(e);
    log->attrs_json = p->attrs;
    log->config = p->config;
    return 0;
}

void ctr_log_plan_done(struct ctr_log_plan *p) {
    free(p->attrs);
    free(p->config);
    free(p->tls_program);
    *p = (struct ctr_log_plan){0};
}
