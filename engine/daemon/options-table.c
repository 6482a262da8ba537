// SPDX-License-Identifier: Apache-2.0
/* The option table, in the order of --help. */
#include "daemon/options-internal.h"

#include "base/cleanup.h"
#include "base/str.h"

#define AT(field) offsetof(struct engine_config, field)
#define COMMON "CommonConfig."
#define BRIDGE "CommonConfig.BridgeConfig."
#define DEFBRIDGE "CommonConfig.BridgeConfig.DefaultBridgeConfig."
#define NO_CONTAINERD "there is no containerd behind this engine"
#define NO_SWARM "this engine is not part of a swarm"

const struct option option_table[] = {
    {"add-runtime", 0, OPT_RUNTIME, AT(runtimes), "runtimes", "runtime", "", "Register a further OCI runtime as NAME=PATH", NULL},
    {"allow-nondistributable-artifacts", 0, OPT_LIST, OPTION_IGNORED, NULL, "list", COMMON "ServiceOptions.",
     "Registries that may get nondistributable layers", "a push sends every layer, wherever it came from"},
    {"api-cors-header", 0, OPT_STRING, OPTION_IGNORED, NULL, "string", COMMON, "CORS headers of the API", "deprecated in the reference as well"},
    {"authorization-plugin", 0, OPT_LIST, AT(authorization_plugins), "authorization-plugins", "list", COMMON, "Authorization plugins to ask",
     "the engine does not start with it: to go on without the plugin would open the API that it guards"},
    {"bip", 0, OPT_STRING, AT(bip), NULL, "string", DEFBRIDGE, "Address and prefix of the default bridge", NULL},
    {"bridge", 'b', OPT_STRING, AT(bridge), NULL, "string", BRIDGE, "Use this bridge for containers; \"none\" for no bridge", NULL},
    {"cdi-spec-dir", 0, OPT_LIST, OPTION_IGNORED, "cdi-spec-dirs", "list", COMMON, "Folders with CDI descriptions", "CDI devices are not built"},
    {"cgroup-parent", 0, OPT_STRING, AT(cgroup_parent), NULL, "string", COMMON, "Parent control group of all containers", NULL},
    {"config-file", 0, OPT_STRING, AT(config_file), "", "string", "", "Configuration file (default \"/etc/hatake/daemon.json\")", NULL},
    {"containerd", 0, OPT_STRING, OPTION_IGNORED, NULL, "string", COMMON, "Accepted for compatibility", NO_CONTAINERD},
    {"containerd-namespace", 0, OPT_STRING, OPTION_IGNORED, NULL, "string", COMMON, "Accepted for compatibility", NO_CONTAINERD},
    {"containerd-plugins-namespace", 0, OPT_STRING, OPTION_IGNORED, NULL, "string", COMMON, "Accepted for compatibility", NO_CONTAINERD},
    {"cpu-rt-period", 0, OPT_INT, OPTION_IGNORED, NULL, "int", "", "Real-time period of the parent group, microseconds",
     "real-time scheduling of the parent group is not built"},
    {"cpu-rt-runtime", 0, OPT_INT, OPTION_IGNORED, NULL, "int", "", "Real-time runtime of the parent group, microseconds",
     "real-time scheduling of the parent group is not built"},
    {"cri-containerd", 0, OPT_BOOL, OPTION_IGNORED, NULL, "", COMMON, "Accepted for compatibility", NO_CONTAINERD},
    {"data-root", 0, OPT_STRING, AT(data_root), NULL, "string", COMMON, "Folder of everything that lasts (default \"/var/lib/hatake\")", NULL},
    {"debug", 'D', OPT_BOOL, AT(debug), NULL, "", COMMON, "Debug mode", NULL},
    {"default-address-pool", 0, OPT_POOL, AT(default_address_pools), "default-address-pools", "pool-options", COMMON "NetworkConfig.",
     "Address pool as base=CIDR,size=BITS", NULL},
    {"default-cgroupns-mode", 0, OPT_STRING, AT(default_cgroupns_mode), NULL, "string", "", "Cgroup namespace of containers: \"host\" or \"private\"",
     NULL},
    {"default-gateway", 0, OPT_IP, AT(default_gateway), NULL, "ip", DEFBRIDGE, "IPv4 gateway of containers", NULL},
    {"default-gateway-v6", 0, OPT_IP, AT(default_gateway_v6), NULL, "ip", DEFBRIDGE, "IPv6 gateway of containers", NULL},
    {"default-ipc-mode", 0, OPT_STRING, AT(default_ipc_mode), NULL, "string", "", "IPC namespace of containers: \"shareable\" or \"private\"", NULL},
    {"default-network-opt", 0, OPT_MAPMAP, AT(default_network_opts), "default-network-opts", "mapmap", COMMON "NetworkConfig.",
     "Default options of networks by driver, as DRIVER=KEY=VALUE", NULL},
    {"default-runtime", 0, OPT_STRING, AT(default_runtime), NULL, "string", COMMON, "OCI runtime of containers (default \"runc\", the built-in one)",
     NULL},
    {"default-shm-size", 0, OPT_BYTES, AT(default_shm_size), NULL, "bytes", "", "Size of /dev/shm (default 64MiB)", NULL},
    {"default-ulimit", 0, OPT_ULIMIT, AT(default_ulimits), "default-ulimits", "ulimit", "", "Default limits of containers as TYPE=SOFT[:HARD]", NULL},
    {"dns", 0, OPT_IPS, AT(dns), NULL, "ipSlice", COMMON "DNSConfig.", "Name servers of containers", NULL},
    {"dns-opt", 0, OPT_LIST, AT(dns_opts), "dns-opts", "list", COMMON "DNSConfig.", "Resolver options of containers", NULL},
    {"dns-search", 0, OPT_SEARCH, AT(dns_search), NULL, "list", COMMON "DNSConfig.", "Search domains of containers", NULL},
    {"exec-opt", 0, OPT_LIST, AT(exec_opts), "exec-opts", "list", COMMON, "Options of the runtime", NULL},
    {"exec-root", 0, OPT_STRING, AT(exec_root), NULL, "string", COMMON, "Folder of what lives until the next boot (default \"/run/hatake\")", NULL},
    {"experimental", 0, OPT_BOOL, AT(experimental), NULL, "", COMMON, "Experimental features", NULL},
    {"fixed-cidr", 0, OPT_STRING, AT(fixed_cidr), NULL, "string", DEFBRIDGE, "IPv4 range of container addresses", NULL},
    {"fixed-cidr-v6", 0, OPT_STRING, AT(fixed_cidr_v6), NULL, "string", DEFBRIDGE, "IPv6 range of container addresses", NULL},
    {"group", 'G', OPT_STRING, AT(group), NULL, "string", COMMON, "Group of the unix socket (default \"docker\")", NULL},
    {"help", 0, OPT_BOOL, OPTION_IGNORED, "", "", "", "Print usage", NULL},
    {"host", 'H', OPT_HOST, AT(hosts), "hosts", "list", COMMON, "Socket to listen on: unix://PATH, tcp://ADDRESS:PORT, fd://", NULL},
    {"host-gateway-ip", 0, OPT_IP, AT(host_gateway_ip), NULL, "ip", COMMON, "Address that host-gateway stands for", NULL},
    {"http-proxy", 0, OPT_STRING, AT(http_proxy), NULL, "string", COMMON "ProxyConfig.", "Proxy for http", NULL},
    {"https-proxy", 0, OPT_STRING, AT(https_proxy), NULL, "string", COMMON "ProxyConfig.", "Proxy for https", NULL},
    {"icc", 0, OPT_BOOL, AT(icc), NULL, "", DEFBRIDGE, "Let containers talk to each other (default true)", NULL},
    {"init", 0, OPT_BOOL, AT(init), NULL, "", "", "Run an init in every container", NULL},
    {"init-path", 0, OPT_STRING, AT(init_path), NULL, "string", "", "Path of the init program", NULL},
    {"insecure-registry", 0, OPT_INSECURE, AT(insecure_registries), "insecure-registries", "list", COMMON "ServiceOptions.",
     "Registries that may be reached without TLS", NULL},
    {"ip", 0, OPT_IP, AT(ip), NULL, "ip", DEFBRIDGE, "Address that ports are published on (default 0.0.0.0)", NULL},
    {"ip-forward", 0, OPT_BOOL, AT(ip_forward), NULL, "", BRIDGE, "Switch on forwarding (default true)", NULL},
    {"ip-masq", 0, OPT_BOOL, AT(ip_masq), NULL, "", DEFBRIDGE, "Masquerade (default true)", NULL},
    {"ip6tables", 0, OPT_BOOL, AT(ip6tables), NULL, "", BRIDGE, "Make IPv6 firewall rules (experimental)", NULL},
    {"iptables", 0, OPT_BOOL, AT(iptables), NULL, "", BRIDGE, "Make firewall rules (default true)", NULL},
    {"ipv6", 0, OPT_BOOL, AT(ipv6), NULL, "", DEFBRIDGE, "IPv6 on the default bridge", NULL},
    {"label", 0, OPT_LABEL, AT(labels), "labels", "list", COMMON, "Label of this engine as KEY=VALUE", NULL},
    {"live-restore", 0, OPT_BOOL, AT(live_restore), NULL, "", COMMON, "Leave containers running when the engine stops", NULL},
    {"log-driver", 0, OPT_STRING, AT(log_driver), NULL, "string", COMMON "LogConfig.", "Log driver of containers (default \"json-file\")", NULL},
    {"log-format", 0, OPT_STRING, AT(log_format), NULL, "string", COMMON "DaemonLogConfig.",
     "Form of the log: \"text\" or \"json\" (default \"text\")", NULL},
    {"log-level", 'l', OPT_STRING, AT(log_level), NULL, "string", COMMON "DaemonLogConfig.", "Least level that is logged (default \"info\")", NULL},
    {"log-opt", 0, OPT_MAP, AT(log_opts), "log-opts", "map", COMMON "LogConfig.", "Options of the log driver as KEY=VALUE", NULL},
    {"max-concurrent-downloads", 0, OPT_INT, AT(max_concurrent_downloads), NULL, "int", COMMON, "Downloads at a time (default 3)", NULL},
    {"max-concurrent-uploads", 0, OPT_INT, AT(max_concurrent_uploads), NULL, "int", COMMON, "Uploads at a time (default 5)", NULL},
    {"max-download-attempts", 0, OPT_INT, AT(max_download_attempts), NULL, "int", COMMON, "Attempts for each download (default 5)", NULL},
    {"metrics-addr", 0, OPT_STRING, AT(metrics_addr), NULL, "string", COMMON, "Address to serve metrics on", "metrics are not built"},
    {"mtu", 0, OPT_INT, AT(mtu), NULL, "int", DEFBRIDGE, "MTU of the default bridge network (default 1500)", NULL},
    {"network-control-plane-mtu", 0, OPT_INT, OPTION_IGNORED, NULL, "int", COMMON "NetworkConfig.", "Accepted for compatibility", NO_SWARM},
    {"no-new-privileges", 0, OPT_BOOL, AT(no_new_privileges), NULL, "", "", "Set no_new_privs in every container", NULL},
    {"no-proxy", 0, OPT_STRING, AT(no_proxy), NULL, "string", COMMON "ProxyConfig.", "Hosts reached without a proxy", NULL},
    {"node-generic-resource", 0, OPT_GENERIC, OPTION_IGNORED, "node-generic-resources", "list", COMMON, "Accepted for compatibility", NO_SWARM},
    {"pidfile", 'p', OPT_STRING, AT(pidfile), NULL, "string", COMMON, "File for the process id (default \"/run/hatake.pid\")", NULL},
    {"raw-logs", 0, OPT_BOOL, AT(raw_logs), NULL, "", COMMON "DaemonLogConfig.", "Accepted for compatibility: logs are never coloured", NULL},
    {"registry-mirror", 0, OPT_MIRROR, AT(registry_mirrors), "registry-mirrors", "list", COMMON "ServiceOptions.", "Mirror of the default registry",
     NULL},
    {"rootless", 0, OPT_BOOL, OPTION_IGNORED, NULL, "", "", "Run without root", "rootless mode is not built"},
    {"seccomp-profile", 0, OPT_STRING, AT(seccomp_profile), NULL, "string", "", "File of the default seccomp profile, \"builtin\" or \"unconfined\"",
     NULL},
    {"selinux-enabled", 0, OPT_BOOL, AT(selinux_enabled), NULL, "", "", "SELinux labels", "SELinux is not built"},
    {"shutdown-timeout", 0, OPT_INT, AT(shutdown_timeout), NULL, "int", COMMON, "Seconds that containers get to stop (default 15)", NULL},
    {"storage-driver", 's', OPT_STRING, AT(storage_driver), NULL, "string", COMMON, "How layers are kept: overlay2 or vfs", NULL},
    {"storage-opt", 0, OPT_LIST, AT(storage_opts), "storage-opts", "list", COMMON, "Options of the storage driver", NULL},
    {"swarm-default-advertise-addr", 0, OPT_STRING, OPTION_IGNORED, NULL, "string", COMMON, "Accepted for compatibility", NO_SWARM},
    {"tls", 0, OPT_BOOL, AT(tls), NULL, "", COMMON, "TLS on tcp sockets; implied by --tlsverify", NULL},
    {"tlscacert", 0, OPT_STRING, AT(tlscacert), NULL, "string", COMMON "TLSOptions.", "Authority that client certificates must come from", NULL},
    {"tlscert", 0, OPT_STRING, AT(tlscert), NULL, "string", COMMON "TLSOptions.", "Certificate of the server", NULL},
    {"tlskey", 0, OPT_STRING, AT(tlskey), NULL, "string", COMMON "TLSOptions.", "Key of the server", NULL},
    {"tlsverify", 0, OPT_BOOL, AT(tlsverify), NULL, "", COMMON, "TLS, and clients must show a certificate", NULL},
    {"userland-proxy", 0, OPT_BOOL, AT(userland_proxy), NULL, "", BRIDGE, "Proxy for what the kernel cannot publish (default true)", NULL},
    {"userland-proxy-path", 0, OPT_STRING, AT(userland_proxy_path), NULL, "string", BRIDGE, "Accepted for compatibility",
     "hatake-netd holds all proxies in one process"},
    {"userns-remap", 0, OPT_STRING, AT(userns_remap), NULL, "string", "", "User and group of the user namespace of containers", NULL},
    {"validate", 0, OPT_BOOL, OPTION_IGNORED, "", "", "", "Check the configuration and exit", NULL},
    {"version", 'v', OPT_BOOL, OPTION_IGNORED, "", "", "", "Print the version and exit", NULL},
    /* only in the file */
    {NULL, 0, OPT_FEATURE, AT(features), "features", "", COMMON, "", NULL},
    {NULL, 0, OPT_STRING, AT(signature_policy), "signature-policy", "", COMMON, "", NULL}, /* ours */
};
const size_t option_count = ELEMENTSOF(option_table);

const struct option *option_by_key(const char *key) {
    for (size_t i = 0; i < option_count; i++) {
        const char *k = option_key(&option_table[i]);

        if (*k && streq(k, key))
            return &option_table[i];
    }
    return NULL;
}

const struct option *option_by_flag(const char *name) {
    for (size_t i = 0; i < option_count; i++)
        if (option_table[i].name && streq(option_table[i].name, name))
            return &option_table[i];
    return NULL;
}
