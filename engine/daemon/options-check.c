// SPDX-License-Identifier: Apache-2.0
/* What can only be judged when flags and file are known. Sections: values; the machine. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "daemon/options-internal.h"
#include "daemon/userns.h"
#include "image/image.h"

/* ---- values ------------------------------------------------------------------------------------------------------------------- */

static int check_each(const struct strv *l, int (*check)(const char *value, struct err *e), struct err *e) {
    for (size_t i = 0; i < l->n; i++) {
        int r = check(l->v[i], e);

        if (r < 0)
            return r;
    }
    return 0;
}

static int check_labels(const struct engine_config *c, struct err *e) {
    for (size_t i = 0; i < c->labels.n; i++) {
        size_t key = (size_t)(strchrnul(c->labels.v[i], '=') - c->labels.v[i]);

        for (size_t j = i + 1; j < c->labels.n; j++)
            if (strncmp(c->labels.v[i], c->labels.v[j], key + 1) == 0 && !streq(c->labels.v[i], c->labels.v[j]))
                return err_set(e, ERR_INVALID, "conflict labels for %s and %s", c->labels.v[j], c->labels.v[i]);
    }
    return 0;
}

static int check_modes(const struct engine_config *c, struct err *e) {
    const char *ipc = c->default_ipc_mode, *cgroupns = c->default_cgroupns_mode;

    if (streq(ipc, "host") || streq(ipc, "none") || str_has_prefix(ipc, "container:"))
        return err_set(e, ERR_INVALID, "IPC mode \"%s\" is not supported as default value; use \"shareable\" or \"private\"", ipc);
    if (!str_empty(ipc) && !streq(ipc, "shareable") && !streq(ipc, "private"))
        return err_set(e, ERR_INVALID, "default IPC mode setting (%s) is invalid; use \"shareable\" or \"private\"", ipc);
    if (!str_empty(cgroupns) && !streq(cgroupns, "host") && !streq(cgroupns, "private"))
        return err_set(e, ERR_INVALID, "default cgroup namespace mode (%s) is invalid; use \"host\" or \"private\"", cgroupns);
    return 0;
}

int options_check_values(const struct options *o, struct err *e) {
    const struct engine_config *c = &o->config;
    enum log_level level;

    if (!str_empty(c->log_level) && !log_level_parse(c->log_level, &level))
        return err_set(e, ERR_INVALID, "invalid logging level: %s", c->log_level);
    if (!str_empty(c->log_format) && !streq(c->log_format, "text") && !streq(c->log_format, "json"))
        return err_set(e, ERR_INVALID, "invalid log format: %s", c->log_format);
    if (check_each(&c->hosts, option_check_host, e) < 0 || check_each(&c->dns_search, option_check_search, e) < 0 ||
        check_each(&c->labels, option_check_label, e) < 0)
        return -ERR_INVALID;
    if (o->bad_generic)
        return err_set(e, ERR_INVALID, "could not parse GenericResource: incorrect term x, missing '=' or malformed expression");
    if (c->mtu < 0)
        return err_set(e, ERR_INVALID, "invalid default MTU: %lld", (long long)c->mtu);
    if (c->max_concurrent_downloads < 0)
        return err_set(e, ERR_INVALID, "invalid max concurrent downloads: %lld", (long long)c->max_concurrent_downloads);
    if (c->max_concurrent_uploads < 0)
        return err_set(e, ERR_INVALID, "invalid max concurrent uploads: %lld", (long long)c->max_concurrent_uploads);
    if (c->max_download_attempts < 0)
        return err_set(e, ERR_INVALID, "invalid max download attempts: %lld", (long long)c->max_download_attempts);
    return check_modes(c, e);
}

/* ---- the machine --------------------------------------------------------------------------------------------------------------- */

static const char *go_errno(int n) {
    return n == ENOENT ? "no such file or directory" : n == EACCES ? "permission denied" : n == ENOTDIR ? "not a directory" : strerrordesc_np(n);
}

static int check_tls(const struct options *o, struct err *e) {
    const struct engine_config *c = &o->config;
    const char *cert = c->tlscert ? c->tlscert : "", *key = c->tlskey ? c->tlskey : "", *missing;

    if (!c->tls)
        return 0;
    missing = access(cert, F_OK) < 0 ? cert : access(key, F_OK) < 0 ? key : NULL;
    if (missing)
        return err_set(e, ERR_INVALID, "invalid TLS configuration: Could not load X509 key pair (cert: \"%s\", key: \"%s\"): open %s: %s", cert, key,
                       missing, go_errno(errno));
    if (c->tlsverify && !str_empty(c->tlscacert) && access(c->tlscacert, R_OK) < 0)
        return err_set(e, ERR_INVALID, "invalid TLS configuration: could not read CA certificate \"%s\": open %s: %s", c->tlscacert, c->tlscacert,
                       go_errno(errno));
    return 0;
}

static int check_network(const struct engine_config *c, struct err *e) {
    struct in6_addr a;
    _cleanup_free_ char *addr = NULL;
    int64_t bits;

    if (!str_empty(c->fixed_cidr_v6)) {
        const char *slash = strchr(c->fixed_cidr_v6, '/');

        addr = strndup(c->fixed_cidr_v6, slash ? (size_t)(slash - c->fixed_cidr_v6) : strlen(c->fixed_cidr_v6));
        if (!addr)
            return err_oom(e);
        if (slash && inet_pton(AF_INET, addr, &a) == 1 && parse_int_range(slash + 1, 0, 32, &bits) == 0)
            return err_set(e, ERR_INVALID, "invalid fixed-cidr-v6: fixed-cidr-v6 is not an IPv6 subnet");
        if (!slash || inet_pton(AF_INET6, addr, &a) != 1 || parse_int_range(slash + 1, 0, 128, &bits) < 0)
            return err_set(e, ERR_INVALID, "invalid fixed-cidr-v6: invalid CIDR address: %s", c->fixed_cidr_v6);
    }
    if (c->userland_proxy && !str_empty(c->userland_proxy_path) && access(c->userland_proxy_path, X_OK) < 0)
        return err_set(e, ERR_INVALID, "invalid userland-proxy-path: exec: \"%s\": %s%s%s", c->userland_proxy_path, errno == EACCES ? "" : "stat ",
                       errno == EACCES ? "" : c->userland_proxy_path, errno == EACCES ? "permission denied" : ": no such file or directory");
    return 0;
}

int options_validate(struct options *o, struct err *e) {
    int r = options_check_values(o, e);

    /* Asking for the check of clients asks for TLS, even where it is asked for in the negative. */
    if (options_has(o, option_by_flag("tlsverify")))
        o->config.tls = true;
    if (r == 0)
        r = check_labels(&o->config, e);
    if (r == 0)
        r = check_network(&o->config, e);
    if (r == 0)
        r = userns_check(o->config.userns_remap, e);
    if (r == 0)
        r = images_check_policy(o->config.signature_policy, e);
    return r < 0 ? r : check_tls(o, e);
}
