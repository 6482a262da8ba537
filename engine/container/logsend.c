// SPDX-License-Identifier: Apache-2.0
/* Log drivers that send: their options, and the configuration that the monitor is given. Sections: addresses; options; what each driver adds. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/moment.h"
#include "base/str.h"
#include "container/logattrs.h"
#include "container/logopts.h"
#include "container/logreceiver.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* ---- addresses --------------------------------------------------------------------------------------------------------------- */
static void copy(char *to, size_t size, const char *from, size_t n) {
    if (n >= size)
        n = size - 1;
    memcpy(to, from, n);
    to[n] = 0;
}

void ctr_log_address_parse(const char *text, struct ctr_log_address *a) {
    const char *sep = strstr(text, "://"), *rest = sep ? sep + 3 : text, *end, *colon = NULL;

    *a = (struct ctr_log_address){0};
    if (!sep) {
        copy(a->path, sizeof(a->path), text, strlen(text));
        return;
    }
    copy(a->scheme, sizeof(a->scheme), text, (size_t)(sep - text));
    end = rest + strcspn(rest, "/");
    copy(a->path, sizeof(a->path), end, strlen(end));
    for (const char *p = rest; p < end; p++)
        if (*p == ':')
            colon = p;
    if (rest[0] == '[') {
        const char *close = memchr(rest, ']', (size_t)(end - rest));

        if (close) {
            copy(a->host, sizeof(a->host), rest + 1, (size_t)(close - rest - 1));
            if (close[1] == ':')
                copy(a->port, sizeof(a->port), close + 2, (size_t)(end - close - 2));
            return;
        }
    }
    copy(a->host, sizeof(a->host), rest, (size_t)((colon ? colon : end) - rest));
    if (colon)
        copy(a->port, sizeof(a->port), colon + 1, (size_t)(end - colon - 1));
}

/* ---- options, at create -------------------------------------------------------------------------------------------------------- */
static const char *opt(const struct api_log_config *l, const char *key) {
    for (size_t i = 0; i < l->config.n; i++)
        if (streq(l->config.v[i].key, key))
            return l->config.v[i].value ? l->config.v[i].value : "";
    return NULL;
}

static bool is_common(const char *key) {
    static const char *const common[] = {"env",           "env-regex",       "labels",         "labels-regex",   "tag",
                                         "mode",          "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file",
                                         "cache-compress"};

    for (size_t i = 0; i < ELEMENTSOF(common); i++)
        if (streq(common[i], key))
            return true;
    return false;
}

static int facility(const char *text, int *ret) {
    static const char *const names[] = {"kern",   "user",   "mail",     "daemon", "auth",   "syslog", "lpr",    "news",
                                        "uucp",   "cron",   "authpriv", "ftp",    NULL,     NULL,     NULL,     NULL,
                                        "local0", "local1", "local2",   "local3", "local4", "local5", "local6", "local7"};
    int64_t n;

    if (str_empty(text)) {
        *ret = 3;
        return 0;
    }
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (names[i] && streq(names[i], text)) {
            *ret = (int)i;
            return 0;
        }
    if (parse_int_range(text, 0, 23, &n) < 0)
        return -EINVAL;
    *ret = (int)n;
    return 0;
}

static int check_syslog(const struct api_log_config *l, struct err *e) {
    static const char *const known[] = {"syslog-address",  "syslog-facility", "syslog-format",         "syslog-tls-ca-cert",
                                        "syslog-tls-cert", "syslog-tls-key",  "syslog-tls-skip-verify"};
    const char *address = opt(l, "syslog-address"), *format = opt(l, "syslog-format");
    struct ctr_log_address a;
    struct stat st;
    int n;

    for (size_t i = 0; i < l->config.n; i++) {
        bool ok = is_common(l->config.v[i].key);

        for (size_t k = 0; k < ELEMENTSOF(known) && !ok; k++)
            ok = streq(known[k], l->config.v[i].key);
        if (!ok)
            return err_set(e, ERR_INVALID, "unknown log opt '%s' for syslog log driver", l->config.v[i].key);
    }
    if (!str_empty(address)) {
        ctr_log_address_parse(address, &a);
        if (streq(a.scheme, "unix") || streq(a.scheme, "unixgram")) {
            if (stat(a.path, &st) < 0)
                return err_set(e, ERR_INVALID, "stat %s: %s", a.path, errno == ENOENT ? "no such file or directory" : "permission denied");
        } else if (!streq(a.scheme, "tcp") && !streq(a.scheme, "tcp+tls") && !streq(a.scheme, "udp")) {
            return err_set(e, ERR_INVALID, "unsupported scheme: '%s'", a.scheme);
        }
    }
    if (facility(opt(l, "syslog-facility"), &n) < 0)
        return err_set(e, ERR_INVALID, "invalid syslog facility");
    if (!str_empty(format) && !streq(format, "rfc3164") && !streq(format, "rfc5424") && !streq(format, "rfc5424micro"))
        return err_set(e, ERR_INVALID, "Invalid syslog format");
    return 0;
}

static int check_gelf_option(const char *key, const char *value, bool udp, struct err *e) {
    int64_t n;

    if (is_common(key) || streq(key, "gelf-address"))
        return 0;
    if (streq(key, "gelf-compression-level") || streq(key, "gelf-compression-type")) {
        if (!udp)
            return err_set(e, ERR_INVALID, "compression is only supported on UDP");
        if (streq(key, "gelf-compression-level") ? parse_int_range(value, -1, 9, &n) < 0
                                                 : !streq(value, "gzip") && !streq(value, "zlib") && !streq(value, "none"))
            return err_set(e, ERR_INVALID, "unknown value \"%s\" for log opt \"%s\" for gelf log driver", value, key);
        return 0;
    }
    if (streq(key, "gelf-tcp-max-reconnect") || streq(key, "gelf-tcp-reconnect-delay")) {
        if (udp)
            return err_set(e, ERR_INVALID, "\"%s\" is only valid for TCP", key);
        if (parse_int_range(value, 0, INT32_MAX, &n) < 0)
            return err_set(e, ERR_INVALID, "\"%s\" must be a positive integer", key);
        return 0;
    }
    return err_set(e, ERR_INVALID, "unknown log opt \"%s\" for gelf log driver", key);
}

static int check_gelf(const struct api_log_config *l, struct err *e) {
    const char *address = opt(l, "gelf-address");
    struct ctr_log_address a;
    int r = 0;

    if (str_empty(address))
        return err_set(e, ERR_INVALID, "gelf-address is a required parameter");
    ctr_log_address_parse(address, &a);
    if (!streq(a.scheme, "udp") && !streq(a.scheme, "tcp"))
        return err_set(e, ERR_INVALID, "gelf: endpoint needs to be TCP or UDP");
    if (str_empty(a.port))
        return err_set(e, ERR_INVALID, "gelf: please provide gelf-address as proto://host:port");
    for (size_t i = 0; r >= 0 && i < l->config.n; i++)
        r = check_gelf_option(l->config.v[i].key, l->config.v[i].value ? l->config.v[i].value : "", streq(a.scheme, "udp"), e);
    return r;
}

/* A bare "host[:port]" is one of tcp. */
static int fluentd_address(const char *text, struct ctr_log_address *a, struct err *e) {
    _cleanup_free_ char *whole = NULL;
    int64_t n;

    if (str_empty(text)) {
        ctr_log_address_parse("tcp://127.0.0.1:24224", a);
        return 0;
    }
    whole = strstr(text, "://") ? strdup(text) : str_printf("tcp://%s", text);
    if (!whole)
        return err_oom(e);
    ctr_log_address_parse(whole, a);
    if (streq(a->scheme, "unix"))
        return str_empty(a->path) ? err_set(e, ERR_INVALID, "invalid fluentd-address (%s): path is empty", text) : 0;
    if (!streq(a->scheme, "tcp") && !streq(a->scheme, "tls"))
        return err_set(e, ERR_INVALID, "invalid fluentd-address (%s): unsupported scheme: '%s'", text, a->scheme);
    if (a->port[0] && parse_int_range(a->port, 0, 65535, &n) < 0)
        return err_set(e, ERR_INVALID, "invalid fluentd-address (%s): parse \"%s\": invalid port \":%s\" after host", text, whole, a->port);
    if (a->path[0])
        return err_set(e, ERR_INVALID, "invalid fluentd-address (%s): should not contain a path element", text);
    if (!a->port[0])
        copy(a->port, sizeof(a->port), "24224", 5);
    return 0;
}

static int check_bool(const struct api_log_config *l, const char *key, bool *ret, struct err *e) {
    const char *v = opt(l, key);

    *ret = false;
    if (!str_empty(v) && parse_bool(v, ret) < 0)
        return err_set(e, ERR_INVALID, "strconv.ParseBool: parsing \"%s\": invalid syntax", v);
    return 0;
}

static int check_fluentd(const struct api_log_config *l, struct err *e) {
    static const char *const known[] = {
        "fluentd-address",     "fluentd-async",       "fluentd-async-connect", "fluentd-async-reconnect-interval", "fluentd-buffer-limit",
        "fluentd-max-retries", "fluentd-request-ack", "fluentd-retry-wait",    "fluentd-sub-second-precision"};
    const char *v;
    struct ctr_log_address a;
    int64_t ns;
    uint64_t n;
    bool on;
    int r;

    for (size_t i = 0; i < l->config.n; i++) {
        bool ok = is_common(l->config.v[i].key);

        for (size_t k = 0; k < ELEMENTSOF(known) && !ok; k++)
            ok = streq(known[k], l->config.v[i].key);
        if (!ok)
            return err_set(e, ERR_INVALID, "unknown log opt '%s' for fluentd log driver", l->config.v[i].key);
    }
    r = fluentd_address(opt(l, "fluentd-address"), &a, e);
    if (r < 0)
        return r;
    if ((v = opt(l, "fluentd-buffer-limit")) && *v && ctr_size_parse(v, &n) < 0)
        return err_set(e, ERR_INVALID, "invalid size: '%s'", v);
    if ((v = opt(l, "fluentd-retry-wait")) && *v && duration_read(v, &ns, e) < 0)
        return -(int)ERR_INVALID;
    if ((v = opt(l, "fluentd-max-retries")) && *v && parse_u64(v, &n) < 0)
        return err_set(e, ERR_INVALID, "strconv.ParseUint: parsing \"%s\": invalid syntax", v);
    if (opt(l, "fluentd-async") && opt(l, "fluentd-async-connect"))
        return err_set(e, ERR_INVALID, "conflicting options: cannot specify both 'fluentd-async' and 'fluentd-async-connect");
    r = check_bool(l, "fluentd-async", &on, e);
    if (r >= 0)
        r = check_bool(l, "fluentd-async-connect", &on, e);
    if (r < 0)
        return r;
    if ((v = opt(l, "fluentd-async-reconnect-interval")) && *v) {
        if (duration_parse(v, &ns) < 0)
            return err_set(e, ERR_INVALID, "invalid value for fluentd-async-reconnect-interval: time: invalid duration \"%s\"", v);
        if (ns != 0 && (ns < 100 * NSEC_PER_MSEC || ns > 10 * NSEC_PER_SEC))
            return err_set(e, ERR_INVALID, "invalid value for fluentd-async-reconnect-interval: value (\"%s\") must be between 100ms and 10s", v);
    }
    r = check_bool(l, "fluentd-sub-second-precision", &on, e);
    return r < 0 ? r : check_bool(l, "fluentd-request-ack", &on, e);
}

int ctr_log_check_sender(const struct api_log_config *l, struct err *e) {
    if (streq(l->type, "syslog"))
        return check_syslog(l, e);
    if (streq(l->type, "gelf"))
        return check_gelf(l, e);
    if (streq(l->type, "fluentd"))
        return check_fluentd(l, e);
    for (size_t i = 0; i < l->config.n; i++)
        if (!is_common(l->config.v[i].key))
            return err_set(e, ERR_INVALID, "unknown log opt '%s' for journald log driver", l->config.v[i].key);
    return 0;
}

/* What labels, variables and tag add to each message. */
static int add_extra(struct buf *b, const char *p, size_t n, struct err *e) {
    int r = ctr_log_attrs_fit(n, e);

    if (r >= 0)
        ctr_log_add_hex(b, "extra", p, n);
    return r;
}

/* ---- what each driver adds ---------------------------------------------------------------------------------------------------------- */
/* A socket of the machine is found from the monitor, which then has to see the machine's folders. */
static int to_unix(const char *net, const char *path, struct ctr_log_plan *p, struct buf *b, struct err *e) {
    int r = ctr_log_to_unix(net, path, b, e);

    if (r >= 0)
        p->host_paths = true;
    return r;
}

/* Also found from there: the program that speaks TLS, and the files it is given. Only syslog has options for them; that one is there decides, not what it says. */
static int to_tls(const struct ctr_fixed *f, const struct ctr_log_address *a, bool lazily, struct ctr_log_plan *p, struct buf *b, struct err *e) {
    bool chosen = streq(f->host.log_config->type, "syslog");
    const struct log_tls tls = {
        .program = p->tls_program,
        .name = a->host,
        .ca = chosen ? ctr_log_option(f, "syslog-tls-ca-cert") : NULL,
        .cert = chosen ? ctr_log_option(f, "syslog-tls-cert") : NULL,
        .key = chosen ? ctr_log_option(f, "syslog-tls-key") : NULL,
        .verify = !chosen || !ctr_log_option(f, "syslog-tls-skip-verify"),
    };

    p->host_paths = true;
    return ctr_log_to_inet("tcp", a->host, a->port[0] ? a->port : "514", lazily, &tls, b, e);
}

static int add_syslog(const struct ctr_fixed *f, struct ctr_log_plan *p, struct buf *b, struct err *e) {
    static const char *const paths[] = {"/dev/log", "/var/run/syslog", "/var/run/log"}, *const nets[] = {"unixgram", "unix"};
    const char *address = ctr_log_option(f, "syslog-address"), *format = ctr_log_option(f, "syslog-format");
    struct ctr_log_address a;
    int n = 3;

    if (facility(ctr_log_option(f, "syslog-facility"), &n) < 0)
        return err_set(e, ERR_INVALID, "invalid syslog facility");
    buf_addf(b, "facility=%d\nformat=%s\n", n, format ? format : "");
    if (str_empty(address)) {
        for (size_t i = 0; i < ELEMENTSOF(nets); i++)
            for (size_t k = 0; k < ELEMENTSOF(paths); k++)
                if (to_unix(nets[i], paths[k], p, b, NULL) >= 0)
                    return 0;
        return err_set(e, ERR_INTERNAL, "Unix syslog delivery error");
    }
    ctr_log_address_parse(address, &a);
    if (str_has_prefix(a.scheme, "unix"))
        return to_unix(a.scheme, a.path, p, b, e);
    if (streq(a.scheme, "tcp+tls"))
        return to_tls(f, &a, false, p, b, e);
    return ctr_log_to_inet(a.scheme, a.host, a.port[0] ? a.port : "514", false, NULL, b, e);
}

static void join_command(const struct ctr_fixed *f, struct buf *b) {
    buf_adds(b, f->path ? f->path : "");
    for (size_t i = 0; i < f->args.n; i++)
        buf_addf(b, " %s", f->args.v[i]);
}

static int add_gelf(const struct ctr_fixed *f, const char *name, const char *tag, const struct api_string_map *extra, struct buf *b, struct err *e) {
    _cleanup_buf_ struct buf command = BUF_INIT(LIMIT_JSON_BODY);
    _cleanup_free_ char *text = NULL;
    _cleanup_err_ struct err why = ERR_INIT;
    const char *type = ctr_log_option(f, "gelf-compression-type"), *level = ctr_log_option(f, "gelf-compression-level");
    char created[CLOCK_TEXT_MAX];
    struct ctr_log_address a;
    json_t *o;
    int r;

    clock_format(f->created, created);
    join_command(f, &command);
    o = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "_container_id", f->id, "_container_name", name, "_image_id", f->image_id, "_image_name",
                  f->config.image ? f->config.image : "", "_command", buf_str(&command), "_tag", tag, "_created", created);
    for (size_t i = 0; o && i < extra->n; i++) {
        _cleanup_free_ char *key = str_printf("_%s", extra->v[i].key);

        if (key)
            json_object_set_new(o, key, json_string(extra->v[i].value));
    }
    text = o ? json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(o);
    if (!text)
        return err_oom(e);
    text[0] = ','; /* the inside of the object, to go on with */
    r = add_extra(b, text, strlen(text) - 1, e);
    if (r < 0)
        return r;
    buf_addf(b, "pack=%s\nlevel=%s\n", str_empty(type) ? "gzip" : type, str_empty(level) ? "1" : level);
    ctr_log_address_parse(ctr_log_option(f, "gelf-address"), &a);
    r = ctr_log_to_inet(a.scheme, a.host, a.port, false, NULL, b, &why);
    return r < 0 ? err_set(e, ERR_INTERNAL, "gelf: cannot connect to GELF endpoint: %s:%s %s", a.host, a.port, err_msg(&why)) : 0;
}

static void add_msgpack(struct buf *b, const char *s) {
    size_t n = strlen(s);

    if (n < 32) {
        buf_addc(b, (char)(0xa0 | n));
    } else if (n > UINT16_MAX) {
        buf_addc(b, (char)0xdb);
        for (int shift = 24; shift >= 0; shift -= 8)
            buf_addc(b, (char)(n >> shift));
    } else {
        buf_addc(b, (char)0xda);
        buf_addc(b, (char)(n >> 8));
        buf_addc(b, (char)n);
    }
    buf_add(b, s, n);
}

static bool fluentd_async(const struct ctr_fixed *f) {
    const char *text = ctr_log_option(f, "fluentd-async");
    bool async = false;

    if (str_empty(text))
        text = ctr_log_option(f, "fluentd-async-connect");
    if (!str_empty(text))
        ignore_result(parse_bool(text, &async));
    return async;
}

static int add_fluentd(const struct ctr_fixed *f, const char *name, const struct api_string_map *extra, struct ctr_log_plan *p, struct buf *b,
                       struct err *e) {
    _cleanup_buf_ struct buf pairs = BUF_INIT(LIMIT_SMALL_FILE);
    _cleanup_free_ char *shown = str_printf("/%s", name);
    const char *precise = ctr_log_option(f, "fluentd-sub-second-precision"), *text;
    struct ctr_log_address a;
    uint64_t retries = 0, most = 0;
    int64_t pause = 0, every = 0;
    bool ns = false, ack = false;
    int r = fluentd_address(ctr_log_option(f, "fluentd-address"), &a, e);

    if (r < 0 || !shown)
        return r < 0 ? r : err_oom(e);
    if (!str_empty(precise))
        ignore_result(parse_bool(precise, &ns));
    if (!str_empty(text = ctr_log_option(f, "fluentd-request-ack")))
        ignore_result(parse_bool(text, &ack));
    add_msgpack(&pairs, "container_id");
    add_msgpack(&pairs, f->id);
    add_msgpack(&pairs, "container_name");
    add_msgpack(&pairs, shown);
    for (size_t i = 0; i < extra->n; i++) {
        add_msgpack(&pairs, extra->v[i].key);
        add_msgpack(&pairs, extra->v[i].value);
    }
    r = add_extra(b, buf_str(&pairs), pairs.len, e);
    if (r < 0)
        return r;
    if (!str_empty(text = ctr_log_option(f, "fluentd-retry-wait")))
        ignore_result(duration_read(text, &pause, NULL));
    if (!str_empty(text = ctr_log_option(f, "fluentd-max-retries")))
        ignore_result(parse_u64(text, &retries));
    buf_addf(b, "pairs=%zu\nprecise=%d\nack=%d\nretries=%" PRIu64 "\npause=%" PRId64 "\n", extra->n + 2, ns, ack, retries > INT64_MAX ? 0 : retries,
             pause);
    /* As in the reference: events, whatever unit they are given in, and both for who does not wait alone. */
    if (fluentd_async(f) && !str_empty(text = ctr_log_option(f, "fluentd-buffer-limit")))
        ignore_result(ctr_size_parse(text, &most));
    if (fluentd_async(f) && !str_empty(text = ctr_log_option(f, "fluentd-async-reconnect-interval")))
        ignore_result(duration_read(text, &every, NULL));
    buf_addf(b, "most=%" PRIu64 "\nevery=%" PRId64 "\n", most > INT64_MAX ? 0 : most, every);
    if (streq(a.scheme, "unix"))
        return to_unix("unix", a.path, p, b, e);
    if (streq(a.scheme, "tls"))
        return to_tls(f, &a, fluentd_async(f), p, b, e);
    return ctr_log_to_inet("tcp", a.host, a.port, fluentd_async(f), NULL, b, e);
}

static void journal_field(struct buf *b, const char *name, const char *value) {
    uint64_t n = strlen(value);

    if (!strchr(value, '\n')) {
        buf_addf(b, "%s=%s\n", name, value);
        return;
    }
    buf_addf(b, "%s\n", name);
    for (int i = 0; i < 8; i++)
        buf_addc(b, (char)(n >> (8 * i)));
    buf_add(b, value, n);
    buf_addc(b, '\n');
}

static int add_journald(const struct ctr_fixed *f, const char *name, const char *tag, const struct api_string_map *extra, struct ctr_log_plan *p,
                        struct buf *b, struct err *e) {
    _cleanup_buf_ struct buf fields = BUF_INIT(LIMIT_SMALL_FILE);
    char id[ID_SHORT_LEN + 1] = "";

    if (to_unix("unixgram", JOURNAL_SOCKET, p, b, NULL) < 0)
        return err_set(e, ERR_INTERNAL, "journald is not enabled on this host");
    memcpy(id, f->id, ID_SHORT_LEN);
    journal_field(&fields, "CONTAINER_ID", id);
    journal_field(&fields, "CONTAINER_ID_FULL", f->id);
    journal_field(&fields, "CONTAINER_NAME", name);
    journal_field(&fields, "CONTAINER_TAG", tag);
    journal_field(&fields, "IMAGE_NAME", f->config.image ? f->config.image : "");
    journal_field(&fields, "SYSLOG_IDENTIFIER", tag);
    for (size_t i = 0; i < extra->n; i++) {
        _cleanup_free_ char *key = strdup(extra->v[i].key);

        if (!key)
            return err_oom(e);
        ctr_log_journal_name(key);
        journal_field(&fields, key, extra->v[i].value);
    }
    return add_extra(b, buf_str(&fields), fields.len, e);
}

/* For whom a container waits, as with the reference: Fluentd until it is back, others while they are connected; those that fluentd-async names, nobody. */
static int blocking(const struct ctr_fixed *f) {
    if (!streq(f->host.log_config->type, "fluentd"))
        return 1;
    return fluentd_async(f) ? 0 : 2;
}

int ctr_log_send_config(const struct ctr_fixed *f, const char *name, struct ctr_log_plan *p, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(MIB(1));
    _cleanup_(ctr_log_chosen_done) struct api_string_map extra = {0};
    _cleanup_free_ char *tag = NULL;
    const char *type = f->host.log_config->type, *mode = ctr_log_option(f, "mode"), *buffer = ctr_log_option(f, "max-buffer-size");
    uint64_t size = 0;
    char host[256] = "";
    time_t now = time(NULL);
    struct tm tm;
    /* syslog messages have no room for them: their choice is not looked at. */
    int r = streq(type, "syslog") ? 0 : ctr_log_chosen(f, &extra, e);

    if (r >= 0)
        r = ctr_log_tag(f, name, &tag, e);
    if (r < 0)
        return r;
    gethostname(host, sizeof(host) - 1);
    localtime_r(&now, &tm);
    if (buffer)
        ignore_result(ctr_size_parse(buffer, &size));
    buf_addf(&b, "pid=%d\nzone=%ld\nblocking=%d\nbuffer=%llu\n", (int)getpid(), tm.tm_gmtoff, streq_ptr(mode, "non-blocking") ? 0 : blocking(f),
             (unsigned long long)size);
    ctr_log_add_hex(&b, "tag", tag, strlen(tag));
    ctr_log_add_hex(&b, "host", host, strlen(host));
    if (streq(type, "syslog"))
        r = add_syslog(f, p, &b, e);
    else if (streq(type, "gelf"))
        r = add_gelf(f, name, tag, &extra, &b, e);
    else if (streq(type, "fluentd"))
        r = add_fluentd(f, name, &extra, p, &b, e);
    else
        r = add_journald(f, name, tag, &extra, p, &b, e);
    if (r < 0)
        return r;
    p->config = buf_take(&b);
    return p->config ? 0 : err_oom(e);
}
