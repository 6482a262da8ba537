// SPDX-License-Identifier: Apache-2.0
/* What the configuration asks of this engine and this machine, before anything is made. Sections: runtimes; storage; logs; networks; the API. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "container/container.h"
#include "daemon/options-internal.h"
#include "daemon/startup.h"
#include "layers/layers.h"
#include "netplane/ipam.h"
#include "netplane/ipam6.h"

#define CONTROLLER "Error initializing network controller: "
#define BRIDGE CONTROLLER "error creating default \"bridge\" network: "
#define MTU_MIN 68 /* RFC 791; the kernel takes no less for a bridge */
#define MTU_MAX 65535

/* ---- runtimes ------------------------------------------------------------------------------------------------------------------ */

static int check_runtime(const struct engine_runtime *r, struct err *e) {
    if (streq(r->name, "runc") || streq(r->name, "io.containerd.runc.v2"))
        return err_set(e, ERR_INVALID, "runtime name '%s' is reserved", r->name);
    if (!r->path && !r->type)
        return err_set(e, ERR_INVALID, "runtime %s: either a runtimeType or a path must be configured", r->name);
    if (r->path && r->type)
        return err_set(e, ERR_INVALID, "runtime %s: cannot configure both path and runtimeType for the same runtime", r->name);
    if (r->path && r->has_options)
        return err_set(e, ERR_INVALID, "runtime %s: options cannot be used with a path runtime", r->name);
    if (r->type && r->args.n)
        return err_set(e, ERR_INVALID, "runtime %s: args cannot be used with a runtimeType runtime", r->name);
    return 0;
}

int startup_check_runtimes(const struct engine_config *c, struct err *e) {
    const char *name = c->default_runtime;
    bool known = str_empty(name) || streq(name, "runc") || streq(name, "io.containerd.runc.v2");

    for (size_t i = 0; i < c->n_runtimes; i++) {
        int r = check_runtime(&c->runtimes[i], e);

        if (r < 0)
            return r;
        known = known || streq(c->runtimes[i].name, name);
    }
    return known ? 0 : err_set(e, ERR_INVALID, "specified default runtime '%s' does not exist", name);
}

/* Unknown options are none of our business, as in the reference. */
static int check_exec_opts(const struct engine_config *c, struct err *e) {
    for (size_t i = 0; i < c->exec_opts.n; i++) {
        const char *eq = strchr(c->exec_opts.v[i], '=');
        size_t n = eq ? (size_t)(eq - c->exec_opts.v[i]) : 0;

        if (n != strlen("native.cgroupdriver") || strncasecmp(c->exec_opts.v[i], "native.cgroupdriver", n) != 0)
            continue;
        if (!streq(eq + 1, "cgroupfs") && !streq(eq + 1, "systemd"))
            return err_set(e, ERR_INVALID, "native.cgroupdriver option %s not supported", eq + 1);
    }
    return 0;
}

/* ---- storage ------------------------------------------------------------------------------------------------------------------- */

/* The file system that the data root is on, or will be. */
static const char *below(const char *path) {
    _cleanup_free_ char *at = strdup(path);
    struct statfs fs = {0};

    while (at && *at && statfs(at, &fs) < 0 && errno == ENOENT) {
        char *slash = strrchr(at, '/');

        if (!slash || slash == at)
            break;
        *slash = 0;
    }
    return layers_fs_name((long)fs.f_type);
}

static int check_storage(const struct engine_config *c, struct err *e) {
    const char *driver = str_empty(c->storage_driver) ? "overlay2" : c->storage_driver;
    bool vfs = streq(driver, "vfs");

    if (!streq(driver, "overlay2") && !vfs)
        return err_set(e, ERR_INVALID, "driver not supported: %s", driver);
    for (size_t i = 0; i < c->storage_opts.n; i++) {
        const char *o = c->storage_opts.v[i], *eq = strchr(o, '=');
        int n = eq ? (int)(eq - o) : 0;

        if (!eq)
            return err_set(e, ERR_INVALID, "unable to parse key/value option: %s%s", o, vfs ? ": vfs" : "");
        if (!vfs && n == 30 && strncasecmp(o, "overlay2.override_kernel_check", 30) == 0)
            continue; /* obsolete there as well */
        if (!vfs && n == 13 && strncasecmp(o, "overlay2.size", 13) == 0)
            return err_set(e, ERR_INVALID, "Storage Option overlay2.size only supported for backingFS XFS. Found %s", below(c->data_root));
        if (vfs)
            return err_set(e, ERR_INVALID, "unknown option %.*s for vfs: vfs", n, o);
        return err_set(e, ERR_INVALID, "overlay2: unknown option %.*s", n, o);
    }
    return 0;
}

/* ---- networks ------------------------------------------------------------------------------------------------------------------ */

static int check_cidr(const char *text, struct err *e) {
    struct cidr4 a;

    if (str_empty(text) || cidr4_parse(text, &a) == 0)
        return 0;
    return err_set(e, ERR_INVALID, CONTROLLER "invalid CIDR address: %s", text);
}

static int check_pools(const struct engine_config *c, struct err *e) {
    for (size_t i = 0; i < c->n_default_address_pools; i++) {
        const struct engine_address_pool *p = &c->default_address_pools[i];
        struct cidr4 a;
        struct cidr6 a6;
        int prefix;

        if (cidr4_parse(p->base, &a) == 0)
            prefix = a.prefix;
        else if (cidr6_parse(p->base, &a6) == 0)
            prefix = a6.prefix;
        else
            return err_set(e, ERR_INVALID, CONTROLLER "error obtaining controller instance: invalid base pool \"%s\": invalid CIDR address: %s",
                           p->base, p->base);
        if (p->size < prefix)
            return err_set(e, ERR_INVALID, CONTROLLER "error obtaining controller instance: invalid pools size: %d", p->size);
    }
    return 0;
}

static int check_networks(const struct engine_config *c, struct err *e) {
    struct cidr4 bip, gateway;
    uint32_t address;
    char net[CIDR4_TEXT_MAX];
    int r;

    if (!c->icc && !c->iptables)
        return err_set(
            e, ERR_INVALID,
            "You specified --iptables=false with --icc=false. ICC=false uses iptables to function. Please set --icc or --iptables to true");
    if (!str_empty(c->bridge) && !str_empty(c->bip))
        return err_set(e, ERR_INVALID, "You specified -b & --bip, mutually exclusive options. Please specify only one");
    r = check_pools(c, e);
    if (r < 0 || streq_ptr(c->bridge, "none"))
        return r;
    r = check_cidr(c->bip, e);
    if (r == 0)
        r = check_cidr(c->fixed_cidr, e);
    if (r < 0)
        return r;
    if (c->mtu != 0 && (c->mtu < MTU_MIN || c->mtu > MTU_MAX))
        return err_set(e, ERR_INVALID, BRIDGE "invalid argument");
    if (c->ipv6 && str_empty(c->fixed_cidr_v6))
        return err_set(e, ERR_INVALID,
                       CONTROLLER
                       "IPv6 is enabled for the default bridge, but no subnet is configured. Specify an IPv6 subnet using --fixed-cidr-v6");
    if (str_empty(c->bip) || cidr4_parse(c->bip, &bip) < 0 || str_empty(c->default_gateway) || ipv4_parse(c->default_gateway, &address) < 0)
        return 0;
    gateway = (struct cidr4){address, bip.prefix};
    cidr4_format_net(&bip, net);
    if (cidr4_net(&gateway) != cidr4_net(&bip))
        return err_set(e, ERR_INVALID, BRIDGE "auxiliary address: (DefaultGatewayIPv4:%s) must belong to the master pool: %s", c->default_gateway,
                       net);
    return 0;
}

static int check_registries(const struct engine_config *c, struct err *e) {
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->registry_mirrors.n; i++)
        r = option_check_mirror(c->registry_mirrors.v[i], e);
    for (size_t i = 0; r == 0 && i < c->insecure_registries.n; i++)
        r = option_check_insecure(c->insecure_registries.v[i], e);
    return r;
}

/* ---- the API -------------------------------------------------------------------------------------------------------------------- */

/* To go on without a plugin that is to guard the API would open it. */
static int check_guards(const struct engine_config *c, struct err *e) {
    if (c->authorization_plugins.n > 0)
        return err_set(e, ERR_INVALID, "failed to validate authorization plugin: plugin \"%s\" not found", c->authorization_plugins.v[0]);
    if (!str_empty(c->metrics_addr) && !strchr(c->metrics_addr, ':'))
        return err_set(e, ERR_INVALID, "failed to start metrics server: error parsing tcp address: address %s: missing port in address",
                       c->metrics_addr);
    return 0;
}

int startup_check(const struct engine_config *c, struct err *e) {
    int r = startup_check_runtimes(c, e);

    if (r == 0)
        r = check_exec_opts(c, e);
    if (r == 0 && (r = check_storage(c, e)) < 0)
        err_wrap(e, "error initializing graphdriver");
    if (r == 0 && (r = containers_check_logging(c, e)) < 0)
        err_wrap(e, "failed to set log opts: failed to set log opts");
    if (r == 0)
        r = check_registries(c, e);
    if (r == 0)
        r = check_networks(c, e);
    if (r < 0)
        return err_wrap(e, "failed to start daemon");
    return check_guards(c, e);
}
