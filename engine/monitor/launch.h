// SPDX-License-Identifier: Apache-2.0
/*
 * launch.h - what it takes to start one container: the request that container/ fills and launcher_start() (client.h) carries out.
 *
 * The OCI runtime-spec document is the truth for everything it can say: process, mounts, namespaces, capabilities, resources, masked paths,
 * seccomp, hooks, sysctls. In particular the network namespace: a `network` entry without path in linux.namespaces makes a new one (with `lo` up),
 * an entry with a path (/proc/PID/ns/net) joins that one, and no entry means the host's. The fields below say what the document cannot.
 *
 * `spec` extensions understood by the builder besides runtime-spec 1.2:
 *   linux.seccomp.hatakeProfile: "builtin"   the reference's default profile for the process's capabilities; other members are then ignored
 *   mounts[].hatakeBeneath: a folder      the source of a bind must begin with it and is resolved without leaving it, links included
 *
 * Ownership: the caller owns the request and everything in it; launcher_start() copies what it needs. Exception: attach[i].fd belongs to the
 * monitor once launcher_start() was called, whether it succeeds or not (the slot is set to -EBADF).
 * A request is plain data: initialise with {0} (then fds must be set to -EBADF where unused: use LAUNCH_REQUEST_INIT).
 */
#ifndef HATAKE_MONITOR_LAUNCH_H
#define HATAKE_MONITOR_LAUNCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/strv.h"

/* An address or a gateway; family 0: not there. A gateway of zeroes: the default route leads to the interface itself, to nobody behind it. */
struct launch_addr {
    int family;       /* 0, AF_INET, AF_INET6 */
    int prefix;       /* bits */
    uint8_t addr[16]; /* network order; the first 4 bytes for AF_INET */
};

#define LAUNCH_LINK_ADDRS 16

enum launch_link_kind { LAUNCH_VETH, LAUNCH_MACVLAN, LAUNCH_IPVLAN };

/*
 * A veth pair, or an interface on top of one of the machine's. The inner end is born inside the container's namespace; all of it vanishes with that
 * namespace.
 */
struct launch_link {
    enum launch_link_kind kind;
    int vlan_mode, vlan_flag; /* MACVLAN_MODE_*; IPVLAN_MODE_* and IPVLAN_F_* (linux/if_link.h) */
    char host_ifname[16];     /* veth: name of the end on the bridge, at most 15 bytes */
    char bridge[16];          /* veth: master, "" for none; else the machine's interface below */
    char ifname[16];          /* name inside: eth0, ... */
    bool hairpin;             /* veth: the bridge gives frames back to this port, too */
    bool has_mac;
    uint8_t mac[6];
    struct launch_addr addrs[LAUNCH_LINK_ADDRS];
    size_t n_addrs;
    struct launch_addr gateway, gateway6; /* default routes; family 0: none. prefix is not used */
    int mtu;                              /* 0: the kernel's default */
    struct strv sysctls;                  /* "net.ipv6.conf.eth0.disable_ipv6=1": set inside, before the link is up */
};

/*
 * The container's name server: sockets on 127.0.0.11 in its network namespace, and an nftables batch that leads port 53 there. The monitor keeps them as
 * long as the container runs and gives copies (monitor_take_resolver()): so questions wait, whoever dies. Only with a network namespace of its own.
 */
#define LAUNCH_RESOLVER_FDS 7 /* of netd/proto.h: NETD_SOCKETS */
struct launch_resolver {
    uint16_t udp_port, tcp_port; /* 0: no name server */
    const void *rules;
    size_t n_rules;
};

/* The keys that end a client's session, as bytes; NUL (ctrl-@) is one like any other. n 0: the default, ctrl-p ctrl-q. */
struct launch_keys {
    size_t n;
    char v[LIMIT_DETACH_KEYS];
};

/* A client's stream, handed to the monitor with SCM_RIGHTS. */
struct launch_attach {
    int fd;            /* connected stream socket (or pipe end for a log sink); see ownership above */
    const void *early; /* bytes the HTTP layer had already read from it: they are the first of stdin */
    size_t n_early;    /* at most 64 KiB */
    bool want_stdin, want_stdout, want_stderr;
    bool framed;             /* 8-byte stdcopy headers; false for a tty (raw) */
    struct launch_keys keys; /* only looked at with a tty */
};

struct launch_log {
    const char *driver;     /* name for log_driver_find(); NULL: no log */
    const char *path;       /* the file, created with mode 0640; "" for a driver that sends and keeps no copy */
    uint64_t max_size;      /* bytes; 0: no rotation */
    int max_file;           /* files kept, 1 or more; 0 counts as 1 */
    bool compress;          /* rotated files become .gz */
    const char *attrs_json; /* object text for "attrs", e.g. {"tag":"x"}; NULL: none */
    const char *config;     /* for drivers that send: logdrv/remote.h; NULL: none */
};

/* A health check: the monitor runs it by itself (monitor/health.h has the rules). Times in ns, all above 0 but start_period. */
struct launch_health {
    json_t *process; /* OCI `process` object of a probe */
    int64_t interval, timeout, start_period, start_interval;
    int retries;
};

/* A runtime that was registered. */
struct launch_runtime {
    const char *program;     /* path, or a name to look for in $PATH */
    const struct strv *args; /* before all others */
    const char *root;        /* folder where it keeps its state */
};

struct launch_request {
    const char *id; /* 64 hex digits */
    json_t *spec;   /* OCI runtime-spec document (not consumed, not changed) */
    const char
        *exec_dir; /* folder of this container's run-time files, exists, mode 0700: <exec root>/hatake/<id>. Socket and exit record live here */
    const char *log_prefix; /* text in front of error messages of the runtime, NULL for the reference's (see client.h) */

    /* Root file system: either rootfs_path, or an overlay mounted by the child in the container's own mount namespace. */
    const char *rootfs_path;
    const struct strv *lowers; /* topmost first */
    const char *upper, *work;
    bool overlay_volatile; /* no sync at unmount: for auto-removed containers and build steps */

    struct launch_link *links;
    size_t n_links;

    struct launch_resolver resolver;

    bool open_stdin, stdin_once; /* tty and its first size are in the spec: process.terminal, process.consoleSize */
    struct launch_attach *attach;
    size_t n_attach;
    struct launch_log log;

    const struct launch_health *health;   /* NULL: no check */
    const char *init_path;                /* --init: program bound at /sbin/docker-init and put in front of the arguments; NULL: none */
    const struct launch_runtime *runtime; /* another OCI runtime (runc, crun); NULL: ours. Wants host_mounts */
    bool host_mounts; /* binds come from anywhere on the host: start in the host's mount namespace. False: only from below the data and exec roots */
};

/* A change of a running container's network. */
struct launch_netns {
    int netns;                 /* descriptor of its network namespace; stays the caller's */
    const char *const *remove; /* names of interfaces inside that go first */
    size_t n_remove;
    const struct launch_link *links; /* made and set up as at a start; their gateways too, in place of what default route is there */
    size_t n_links;
    const char *gateway_ifname; /* of an interface that is there already: default routes by it instead of what is there. NULL: leave them */
    struct launch_addr gateway, gateway6;
};

#define LAUNCH_REQUEST_INIT ((struct launch_request){0})

#endif
