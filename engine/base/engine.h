// SPDX-License-Identifier: Apache-2.0
/*
 * engine.h - what every section can reach: the managers, and the configuration they were started with.
 *
 * Only pointers and plain values: each manager's own header is its manual. daemon/ fills the struct before the first request and empties it
 * after the last one; in between only `config` changes, when the configuration file is read again, so any thread may read it.
 */
#ifndef HATAKE_BASE_ENGINE_H
#define HATAKE_BASE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/strv.h"

struct containers;
struct content;
struct db;
struct events;
struct execs;
struct idmap;
struct images;
struct launcher;
struct layers;
struct loop;
struct networks;
struct registry;
struct system_facts;
struct volumes;

/* One --default-address-pool. */
struct engine_address_pool {
    char *base; /* CIDR */
    int size;   /* prefix length of the networks cut from it */
};

/* One --add-runtime or daemon.json `runtimes` entry: a path with arguments, or a type with options. */
struct engine_runtime {
    char *name;
    char *path; /* NULL: has a type */
    struct strv args;
    char *type; /* NULL: has a path */
    bool has_options;
    char *binary, *state_root; /* options of a type: NULL when not given */
};

struct engine_ulimit {
    char *name;
    int64_t soft, hard;
};

/* The configuration in force: flags over daemon.json over defaults. Field names are the daemon.json keys. NULL: not set. */
struct engine_config {
    char *data_root, *exec_root, *pidfile, *config_file;
    struct strv hosts, labels;
    char *group;
    bool debug;
    char *log_level, *log_format; /* log_format: text or json */
    char *log_driver;
    struct strv log_opts; /* KEY=VALUE */
    /* networking */
    char *bip, *bridge, *fixed_cidr, *fixed_cidr_v6, *default_gateway, *default_gateway_v6;
    char *ip; /* default address for published ports */
    char *host_gateway_ip;
    struct engine_address_pool *default_address_pools;
    size_t n_default_address_pools;
    struct strv default_network_opts; /* DRIVER=KEY=VALUE */
    struct strv dns, dns_opts, dns_search;
    bool icc, iptables, ip6tables, ip_forward, ip_masq, ipv6, userland_proxy;
    char *userland_proxy_path;
    int64_t mtu;
    /* registries */
    struct strv insecure_registries, registry_mirrors;
    int64_t max_concurrent_downloads, max_concurrent_uploads, max_download_attempts;
    char *http_proxy, *https_proxy, *no_proxy;
    char *signature_policy; /* path of the document that says which images may be used */
    /* containers */
    bool live_restore, init, no_new_privileges, selinux_enabled, raw_logs, experimental;
    char *init_path, *cgroup_parent, *default_runtime, *seccomp_profile, *userns_remap, *default_cgroupns_mode, *default_ipc_mode;
    int64_t default_shm_size; /* bytes */
    struct engine_runtime *runtimes;
    size_t n_runtimes;
    struct engine_ulimit *default_ulimits;
    size_t n_default_ulimits;
    struct strv exec_opts, features;
    int64_t shutdown_timeout; /* seconds; negative: for ever */
    char *storage_driver;
    struct strv storage_opts;
    /* TLS */
    bool tls, tlsverify;
    char *tlscacert, *tlscert, *tlskey;
    struct strv authorization_plugins;
    char *metrics_addr;
};

struct engine {
    const struct engine_config *_Atomic config; /* reloading puts another in its place; the old one stays valid until the end */
    const char *id;                             /* /info ID: stable for a data root */
    const char *version;                        /* what /version says: the reference version we are compatible with */
    const char *libexec_dir;                    /* where hatake-monitor, hatake-netd and hatake-init are */
    const char *seccomp_text;                   /* what the file --seccomp-profile holds; NULL: builtin or unconfined */
    const struct idmap *ids;                    /* numbers of containers' users on the machine (--userns-remap); NULL: the same as inside */
    int64_t started_at;                         /* wall clock, ns */
    const struct system_facts *facts;           /* of the machine: system/system.h */
    struct db *db;
    struct loop *loop;
    struct launcher *launcher;
    struct content *content;
    struct layers *layers;
    struct registry *registry;
    struct events *events;
    struct images *images;
    struct containers *containers;
    struct execs *execs;
    struct networks *networks;
    struct volumes *volumes;
};

#endif
