// SPDX-License-Identifier: Apache-2.0
/* exec-internal.h - shared by the files of the executor; nobody else includes it. */
#ifndef HATAKE_OCI_EXEC_INTERNAL_H
#define HATAKE_OCI_EXEC_INTERNAL_H

#include "kern/netlink.h"
#include "oci/exec.h"

/* The child's state. All its functions end the child by child_fail() when they cannot go on. */
struct child {
    const struct kern *k;
    const struct plan *p;
    const struct oci_spawn *spawn;
    bool enter;       /* exec into an existing container: nothing is created */
    bool in_user;     /* in a user namespace: the machine's files and mounts are out of reach */
    int sync;         /* socket to the parent */
    int root;         /* the new root's mount */
    int null;         /* the machine's /dev/null, checked */
    int devpts;       /* root of our devpts, or -EBADF */
    int proc;         /* a procfs of our own, not attached anywhere (R3), or -EBADF */
    int pty_slave;    /* or -EBADF */
    bool links_ready; /* SYNC_LINKS was taken already */
    bool no_ipv6;     /* the namespace's default says that interfaces have no IPv6, for as long as they are made */
    int *bind_trees;  /* by operation index; -EBADF where there is none */
};

/* Messages over the sync socket: one byte of type, then the body. */
enum sync_type {
    SYNC_FAULT = 'F',  /* child: int errnum, text */
    SYNC_PTY = 'P',    /* child: descriptor of the terminal's master */
    SYNC_HOOKS = 'H',  /* child: everything is mounted, the old root is still there */
    SYNC_GATE = 'G',   /* child: waiting at the gate */
    SYNC_MAPPED = 'M', /* parent: id maps are written */
    SYNC_HOOKED = 'K', /* parent: its hooks have run */
    SYNC_READY = 'R',  /* child: links may be made (only when links_wait()) */
    SYNC_LINKS = 'L',  /* parent: links are there */
    SYNC_DONE = 'D',   /* child of a netns job: all of it is done */
    SYNC_NUMBER = 'N', /* the process between: the number of the container's first process (struct sync_number) */
};

struct sync_fault {
    char type;
    int errnum;
    char text[OCI_FAULT_TEXT];
};

struct sync_number {
    char type;
    pid_t pid;
};

void child_fail(struct child *c, int errnum, const char *fmt, ...) __attribute__((noreturn, format(printf, 3, 4)));
/* "<text>: <strerror>". errnum may be negative. */
void child_fail_errno(struct child *c, int errnum, const char *fmt, ...) __attribute__((noreturn, format(printf, 3, 4)));

/* exec-mount.c: PLAN_PHASE_MOUNT and PLAN_PHASE_ROOT */
void child_mounts(struct child *c);
/* Before, where sources are still the machine's: make the root (but see root_detached()) and open the sources of binds, as detached mounts. */
void child_open_trees(struct child *c);
/* Paths inside the root, never led out of it. Descriptors or -errno. */
int root_open(struct child *c, const char *path, int flags);
int root_open_or_create(struct child *c, const char *path, bool dir);
/* Ends the child when a mount is for /proc or below it, which may be hidden by nothing but a proc. `tree`: it; `at`: the opened target; both may be negative. */
void child_check_proc(struct child *c, int at, int tree, const char *source, const char *target);
/* Make the last component of a path whose parent is open; fine when it is there. */
int root_make_node(struct child *c, int parent, const char *name, bool dir);
/* How the reference names a place of the container on the machine. */
void merged_path(const struct child *c, const char *path, char *ret, size_t max);
/* Mounts by descriptor. */
int mount_attach(struct child *c, int tree, int target);
int mount_attrs(struct child *c, int tree, uint64_t set, uint64_t clear, uint64_t propagation, bool recursive);
int mount_new(struct child *c, const char *fstype, const char *source, const char *data, unsigned attrs);
/* exec-root.c: mount the root, run the hooks that want the old root still there, go into it */
void child_root(struct child *c);
/* The root as a detached mount; -ENOSYS from old kernels, which can only mount an overlay somewhere. */
int root_detached(const struct kern *k, const struct plan *p);
/* The same on all kernels. On those, unless own_mounts, the caller leaves its mount namespace for it. */
int root_tree(const struct kern *k, const struct plan *p, bool own_mounts);
void child_hooks(struct child *c);
void child_pivot(struct child *c);
/* exec-dev.c */
void child_device(struct child *c, const struct plan_op *op);
void child_symlink(struct child *c, const struct plan_op *op);
void child_mask(struct child *c, const char *path);
void child_readonly(struct child *c, const char *path);
void child_bind_console(struct child *c);
/* exec-tty.c: make the terminal of PLAN_CONSOLE, send its master */
void child_console(struct child *c, const struct plan_op *op);
/* exec-net.c */
void child_net(struct child *c);
/* First thing of a child whose links wait for it; does nothing for others. */
void child_net_early(struct child *c);
/* Links must not be made before the child said SYNC_READY. */
bool links_wait(const struct plan *p);
int parent_links(const struct plan *p, struct nl_ns ns, struct oci_fault *f);
/* exec-resolver.c */
int parent_resolver(const struct kern *k, const struct plan *p, int pidfd, int ret[OCI_RESOLVER_FDS], struct oci_fault *f);
/* exec.c: take the next message of the parent; 0, or -1 when it is another one or the parent is gone */
int wait_for(struct child *c, char type);
/* Enter the namespace of a PLAN_JOIN. */
void child_join(struct child *c, const struct plan_op *op);
/* exec-hooks.c: run the hooks of a kind in order; the first failure ends it */
bool has_hooks(const struct plan *p, enum plan_hook_kind kind);
int run_hooks(const struct kern *k, const struct plan *p, enum plan_hook_kind kind, pid_t pid, const char *status, struct oci_fault *f);
/* exec-user.c: is the container in a user namespace, and is that made for it? */
bool plan_has_user(const struct plan *p);
bool plan_makes_user(const struct plan *p);
/* What only root of the machine can do for somebody in the container's user namespace: its streams, the ceilings of limits. */
void user_gives(struct child *c, const struct plan *container);
/* Open what is needed of the machine and go on as another process in the namespaces of `flags`, or in the joined user namespace. */
void user_enter(struct child *c, int64_t flags, int v2);
/* Root of the namespace, once its maps are there; makes what must be made by it. */
void user_become_root(struct child *c, int64_t flags);
/* A network namespace in a user namespace of the plan's maps: descriptors of both. */
int user_netns(const struct kern *k, const struct plan *p, int *ret_user, struct oci_fault *f);
/* Write the maps of a user namespace that was just made. */
int user_maps(const struct kern *k, const struct plan *p, pid_t pid, struct oci_fault *f);
/* The parent's half of user_enter(): learn who the container's first process is. */
int user_follow(const struct kern *k, const struct plan *p, int sock, struct oci_running *run, struct oci_fault *f);
/* exec-final.c: everything from host name to execve */
void child_final(struct child *c) __attribute__((noreturn));
/* Have a procfs of our own. In user namespaces it must be asked for while the machine's is in sight (kernel: mount_too_revealing()). */
int child_own_proc(struct child *c);
/* Write one sysctl through it. */
void child_sysctl(struct child *c, const char *key, const char *value);
/* exec-cgroup.c */
int parent_cgroups(const struct kern *k, const struct plan *p, int *ret_v2_fd, struct oci_fault *f);
/* Join the v1 groups of a plan (calling thread only). */
int child_join_cgroups(const struct kern *k, const struct plan *p, const char **ret_where);

/* What a message of n bytes from the child says; negative. */
int fault_of(const struct sync_fault *m, ssize_t n, struct oci_fault *f);
int fault_set(struct oci_fault *f, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
