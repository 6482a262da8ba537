// SPDX-License-Identifier: Apache-2.0
/*
 * plan.h - a container as a list of typed operations: what the builder (oci/build.h) makes of an OCI document and the executor (oci/exec.h) carries out.
 *
 * A plan is one flat, relocatable block: a header, an array of fixed-size operations, and a pool of bytes that operations point into by offset.
 * It travels in a memfd (sealed) from the daemon to the monitor, can be tested without root, and printed (`hatake-runtime plan`).
 * Each operation has a type, up to PLAN_INTS integers and up to PLAN_STRS byte strings; the table in plan-table.c names them. A byte string always has a
 * NUL after its length, so texts can be used as C strings; a list is a sequence of NUL-terminated texts.
 * Order is the order of execution within a phase (see enum plan_phase): the parent's operations run before the clone, the child's after.
 *
 * Ownership: plan_builder owns its memory until plan_finish(); struct plan borrows the block it was opened on.
 * Threads: one at a time; an opened plan may be read by many.
 */
#ifndef HATAKE_OCI_PLAN_H
#define HATAKE_OCI_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define PLAN_MAGIC 0x314e4c50u /* "PLN1" */
#define PLAN_VERSION 1
#define PLAN_INTS 6
#define PLAN_STRS 5
#define PLAN_OPS_MAX 4096

enum plan_phase {
    PLAN_PHASE_INFO,   /* facts for the monitor, nothing to do */
    PLAN_PHASE_PARENT, /* before the clone, in the monitor */
    PLAN_PHASE_CLONE,  /* arguments of the clone */
    PLAN_PHASE_LINK,   /* in the monitor, after the clone, while the child mounts */
    PLAN_PHASE_JOIN,   /* child, first */
    PLAN_PHASE_MOUNT,  /* child, in the new mount namespace, old root still there */
    PLAN_PHASE_ROOT,   /* child, after pivot_root */
    PLAN_PHASE_NET,    /* child, after the monitor said the links are there */
    PLAN_PHASE_FINAL,  /* child, from sysctls to exec */
};

/* i: integers, s: byte strings, in the order of the table in plan-table.c. */
enum plan_op_type {
    PLAN_CONTAINER = 1,  /* s id, bundle, rootfs, version, annotations(list) */
    PLAN_MONITOR,        /* i tty, open_stdin, stdin_once, rows, cols ; s exec_dir */
    PLAN_LOG,            /* i max_size, max_file, compress ; s driver, path, attrs, config */
    PLAN_CGROUP,         /* i version, freezer ; s dir (whole path), controller */
    PLAN_CGROUP_SET,     /* i flags ; s file (whole path), value */
    PLAN_CGROUP_DEVICES, /* i n ; s eBPF instructions (v2) */
    PLAN_NAMESPACES,     /* i CLONE_NEW* of namespaces to make */
    PLAN_JOIN,           /* i CLONE_NEW* of one namespace ; s path */
    PLAN_IDMAP,          /* i 0 uid 1 gid ; s text for the map file */
    PLAN_VETH,           /* i mtu, hairpin ; s host name, bridge, inner name, mac (6 bytes) */
    PLAN_LOOPBACK,       /* set lo up */
    PLAN_ADDR,           /* i family, prefix ; s interface, address */
    PLAN_LINK_UP,        /* s interface */
    PLAN_ROUTE,          /* i family, prefix, replace ; s interface, destination, gateway (bytes; empty destination: default) */
    PLAN_PROPAGATION,    /* i MS_* for "/" before anything else */
    PLAN_ROOT_OVERLAY,   /* i flags ; s lowers (list, topmost first), upper, work */
    PLAN_ROOT_BIND,      /* s path */
    PLAN_MOUNT,          /* i MOUNT_ATTR_*, flags, propagation ; s fstype, source, target, data */
    PLAN_BIND,           /* i attr set, attr clear, flags, propagation ; s source, target, folder the source must not lead out of ("": anywhere) */
    PLAN_CGROUP_MOUNT,   /* i MOUNT_ATTR_*, flags (1: own namespace) ; s target, mount point where v2 is alone */
    PLAN_DEVICE,         /* i mode with type, major, minor, uid, gid ; s path */
    PLAN_SYMLINK,        /* s content, path */
    PLAN_CONSOLE,        /* i rows, cols, uid : make the terminal and /dev/console */
    PLAN_PIVOT,          /* i flags: 1 no pivot (chroot and move) */
    PLAN_ROOT_READONLY,
    PLAN_ROOT_PROPAGATION, /* i MS_* */
    PLAN_MASK,             /* s path */
    PLAN_READONLY,         /* s path */
    PLAN_SYSCTL,           /* i 1 of a link, before it is up ; s key (as a path below /proc/sys), value */
    PLAN_HOSTNAME,         /* s */
    PLAN_DOMAINNAME,       /* s */
    PLAN_RLIMIT,           /* i resource, soft, hard */
    PLAN_OOM_SCORE,        /* i adj */
    PLAN_KEYRING,          /* s name: new session keyring */
    PLAN_CAPS,             /* i bounding, permitted, effective, inheritable, ambient */
    PLAN_NO_NEW_PRIVS,
    PLAN_SECCOMP,      /* i filter flags ; s struct sock_filter[] */
    PLAN_USER,         /* i uid, gid, umask (or -1) ; s groups (uint32_t[]) */
    PLAN_CWD,          /* s path */
    PLAN_EXEC,         /* s argv (list), env (list) */
    PLAN_HOOK,         /* i kind, timeout ; s path, argv, env */
    PLAN_SCHED,        /* i policy, nice, priority, ioprio */
    PLAN_APPARMOR,     /* s profile */
    PLAN_VLAN,         /* i mtu, 0 macvlan 1 ipvlan, mode, flag ; s parent, inner name, mac (6 bytes) */
    PLAN_LINK_DELETE,  /* s interface: an old one goes */
    PLAN_RESOLVER,     /* i udp port, tcp port ; s nftables batch: sockets on 127.0.0.11 in the container's network namespace */
    PLAN_RUNTIME,      /* i memory limit, network ; s program, state folder, args(list), document, PATH: another runtime makes the container */
    PLAN_RUNTIME_BIND, /* s source, target, folder the source must not lead out of: bound for it before */
    PLAN_OP_TYPES,
};

#define PLAN_CGROUP_SET_OPTIONAL 1 /* a missing file is no error */
#define PLAN_CGROUP_SET_TRY 2      /* nothing is: the same file is written again later */
#define PLAN_OVERLAY_VOLATILE 1
#define PLAN_BIND_RECURSIVE 1      /* rbind */
#define PLAN_BIND_ATTR_RECURSIVE 2 /* rro, rnosuid, ... */
#define PLAN_BIND_FILE 4           /* the target is a file where it must be created (default: as the source is) */
#define PLAN_BIND_CREATE_SOURCE 8
#define PLAN_BIND_OPTIONAL 16 /* missing source: skip */
#define PLAN_MOUNT_COPYUP 1   /* tmpfs: copy what the target held */
#define PLAN_MOUNT_OPTIONAL 2

/* An enumeration of its own: the compiler tells when a kind is taken for a plan_op_type. */
enum plan_hook_kind {
    PLAN_HOOK_PRESTART,
    PLAN_HOOK_CREATE_RUNTIME,
    PLAN_HOOK_CREATE_CONTAINER,
    PLAN_HOOK_START_CONTAINER,
    PLAN_HOOK_POSTSTART,
    PLAN_HOOK_POSTSTOP,
};

/* Names in the bundle of a container that another runtime makes */
#define OCI_BUNDLE_ROOT "rootfs"
#define OCI_BUNDLE_NETNS "netns"
#define OCI_BUNDLE_USERNS "userns"
#define OCI_BUNDLE_BIND "bind." /* and a number */

struct plan_str {
    uint32_t off, len; /* into the pool; len without the NUL */
};

struct plan_op {
    uint16_t type;
    uint16_t reserved;
    uint32_t set; /* bit n: string n was given */
    int64_t i[PLAN_INTS];
    struct plan_str s[PLAN_STRS];
};

struct plan_header {
    uint32_t magic, version;
    uint32_t size; /* of the whole block */
    uint32_t n_ops;
    uint32_t ops_off, pool_off;
};

struct plan_info {
    const char *name; /* NULL: no such type */
    enum plan_phase phase;
    const char *ints[PLAN_INTS]; /* printed as name=value; "%flags" forms are known to the printer */
    const char *strs[PLAN_STRS]; /* name, with a suffix: "+" list, "*" bytes */
};

extern const struct plan_info plan_infos[PLAN_OP_TYPES];

/* ---- reading -------------------------------------------------------------------------------------------------------- */
struct plan {
    const struct plan_header *h;
    const struct plan_op *ops;
    const char *pool;
    size_t n_ops;
};

/* Check every offset of a block of n bytes and open it. Borrows. 0, or -EPROTO (no allocation, no message: used in the monitor). */
int plan_open(const void *block, size_t n, struct plan *ret);
/* The k-th string; "" when it was not given. */
const char *plan_s(const struct plan *p, const struct plan_op *op, int k);
size_t plan_sn(const struct plan *p, const struct plan_op *op, int k);
static inline bool plan_has(const struct plan_op *op, int k) {
    return op->set & (1u << k);
}
/* First operation of a type, or NULL. */
const struct plan_op *plan_find(const struct plan *p, enum plan_op_type type);
/* Next item of a list: NULL starts, NULL ends. */
const char *plan_list_next(const struct plan *p, const struct plan_op *op, int k, const char *at);
/* Number of items of a list. */
size_t plan_list_n(const struct plan *p, const struct plan_op *op, int k);

/* Readable form, one operation a line; for people and golden tests. */
void plan_print(const struct plan *p, struct buf *out);

/* ---- writing -------------------------------------------------------------------------------------------------------- */
struct plan_builder {
    struct buf ops, pool;
};

#define PLAN_BUILDER_INIT ((struct plan_builder){.ops = BUF_INIT(PLAN_OPS_MAX * sizeof(struct plan_op)), .pool = BUF_INIT(4u << 20)})
void plan_builder_done(struct plan_builder *b);

/* Append an operation and return it, valid until the next plan_add(); a static dummy when memory ran out (seen at plan_finish()). */
struct plan_op *plan_add(struct plan_builder *b, enum plan_op_type type);
/* Give string k of the operation appended last. */
void plan_set_s(struct plan_builder *b, int k, const char *s);
void plan_set_bytes(struct plan_builder *b, int k, const void *p, size_t n);
void plan_set_list(struct plan_builder *b, int k, const char *const *v, size_t n);
/* The block, malloc'd. */
int plan_finish(struct plan_builder *b, void **ret_block, size_t *ret_n, struct err *e);

#endif
