// SPDX-License-Identifier: Apache-2.0
/*
 * User namespaces. Who is in one may do nothing with the machine's files and mounts, so what needs that is done by a process in between, which is still
 * root on the machine: it opens the root and the sources of binds as detached mounts, raises limits, gives the streams away, and then makes the
 * container's first process inside the user namespace (CLONE_PARENT: the caller becomes its parent), which inherits all of it as descriptors.
 */
#include "oci/exec-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/idmap.h"

bool plan_makes_user(const struct plan *p) {
    const struct plan_op *ns = plan_find(p, PLAN_NAMESPACES);

    return ns && ns->i[0] & CLONE_NEWUSER;
}

static const struct plan_op *joined_user(const struct plan *p) {
    for (size_t i = 0; i < p->n_ops; i++)
        if (p->ops[i].type == PLAN_JOIN && p->ops[i].i[0] == CLONE_NEWUSER)
            return &p->ops[i];
    return NULL;
}

bool plan_has_user(const struct plan *p) {
    return plan_makes_user(p) || joined_user(p);
}

/* The machine's number for root of the container. */
static unsigned root_of(const struct plan *p, bool gid) {
    for (size_t i = 0; i < p->n_ops; i++) {
        struct id_list l = {0};
        uint32_t id;

        if (p->ops[i].type == PLAN_IDMAP && p->ops[i].i[0] == gid && id_list_parse(&l, plan_s(p, &p->ops[i], 0)) == 0 && id_list_out(&l, 0, &id))
            return id;
    }
    return (unsigned)-1;
}

void oci_give_streams(const struct plan *container, const int stdio[3]) {
    unsigned uid = root_of(container, false), gid = root_of(container, true);

    for (int n = 0; n < 3; n++) {
        struct stat st;

        if (stdio[n] >= 0 && fstat(stdio[n], &st) == 0 && S_ISFIFO(st.st_mode))
            ignore_result(fchown(stdio[n], uid, gid));
    }
}

void user_gives(struct child *c, const struct plan *container) {
    oci_give_streams(container, c->spawn->stdio);
    /* Ceilings can only be raised here; the values themselves are set at the end, as for everybody. What the machine does not allow fails there. */
    for (size_t i = 0; i < c->p->n_ops; i++) {
        const struct plan_op *op = &c->p->ops[i];
        struct rlimit now, l;

        if (op->type != PLAN_RLIMIT || getrlimit((__rlimit_resource_t)op->i[0], &now) < 0 || (rlim_t)op->i[2] <= now.rlim_max)
            continue;
        l = (struct rlimit){.rlim_cur = now.rlim_cur, .rlim_max = (rlim_t)op->i[2]};
        ignore_result(c->k->prlimit(0, (int)op->i[0], &l));
    }
}

int user_maps(const struct kern *k, const struct plan *p, pid_t pid, struct oci_fault *f) {
    char path[64];

    for (size_t i = 0; plan_makes_user(p) && i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        int r;

        if (op->type != PLAN_IDMAP)
            continue;
        snprintf(path, sizeof path, "/proc/%d/%cid_map", (int)pid, op->i[0] ? 'g' : 'u');
        r = kern_write_file(k, AT_FDCWD, path, plan_s(p, op, 0));
        if (r < 0)
            return fault_set(f, r, "failed to set up user namespace: write %s", path);
    }
    return 0;
}

static void tell_number(struct child *c, pid_t pid) {
    struct sync_number m = {.type = SYNC_NUMBER, .pid = pid};

    if (send(c->sync, &m, sizeof m, MSG_NOSIGNAL) < 0)
        _exit(1);
}

void user_enter(struct child *c, int64_t flags, int v2) {
    struct clone_args a = {.flags = (uint64_t)(flags & ~(int64_t)(CLONE_NEWCGROUP | CLONE_NEWIPC)) | CLONE_PARENT};
    const struct plan_op *user = joined_user(c->p);
    int pid;

    user_gives(c, c->p);
    child_open_trees(c);
    for (size_t i = 0; i < c->p->n_ops; i++)
        if (c->p->ops[i].type == PLAN_JOIN && c->p->ops[i].i[0] == CLONE_NEWPID)
            child_join(c, &c->p->ops[i]);
    if (user)
        child_join(c, user);
    if (v2 >= 0) {
        a.flags |= CLONE_INTO_CGROUP;
        a.cgroup = (uint64_t)v2;
    }
    pid = c->k->clone3(&a, sizeof a);
    if (pid < 0)
        child_fail_errno(c, pid, "error creating the container's first process: clone3");
    if (pid > 0) {
        tell_number(c, pid);
        _exit(0);
    }
    if (wait_for(c, SYNC_MAPPED) < 0)
        _exit(1);
}

void user_become_root(struct child *c, int64_t flags) {
    int r = c->k->setresgid(0, 0, 0);

    if (r >= 0)
        r = c->k->setresuid(0, 0, 0);
    if (r < 0)
        child_fail_errno(c, r, "error during container init: becoming root of the user namespace");
    /* What is mounted at /dev/mqueue belongs to who makes the namespace. */
    if (flags & CLONE_NEWIPC && (r = c->k->unshare(CLONE_NEWIPC)) < 0)
        child_fail_errno(c, r, "error during container init: unshare ipc namespace");
}

int user_follow(const struct kern *k, const struct plan *p, int sock, struct oci_running *run, struct oci_fault *f) {
    union {
        struct sync_fault fault;
        struct sync_number number;
    } m;
    pid_t between = run->pid;
    char mapped = SYNC_MAPPED;
    ssize_t n;
    int r;

    do
        n = recv(sock, &m, sizeof m, 0);
    while (n < 0 && errno == EINTR);
    if (n != sizeof m.number || m.number.type != SYNC_NUMBER)
        return fault_of(&m.fault, n, f);
    run->pid = m.number.pid;
    run->pidfd = close_fd(run->pidfd);
    while (waitpid(between, NULL, 0) < 0 && errno == EINTR)
        continue;
    run->pidfd = k->pidfd_open(run->pid, 0);
    if (run->pidfd < 0)
        return fault_set(f, run->pidfd, "pidfd_open");
    r = user_maps(k, p, run->pid, f);
    if (r == 0)
        ignore_result(send(sock, &mapped, 1, MSG_NOSIGNAL));
    return r;
}

/* ---- for another runtime ----------------------------------------------------------------------------------------------------------------- */

/* Its network namespace is made before, and must belong to its user namespace: so that one is made as well, by a process that is gone when both are held. */
static void __attribute__((noreturn)) hold_namespaces(const struct kern *k, int sock) {
    char byte = 'u';

    if (k->unshare(CLONE_NEWUSER) < 0 || send(sock, &byte, 1, MSG_NOSIGNAL) != 1 || recv(sock, &byte, 1, 0) != 1 || k->setresgid(0, 0, 0) < 0 ||
        k->setresuid(0, 0, 0) < 0 || k->unshare(CLONE_NEWNET) < 0 || send(sock, &byte, 1, MSG_NOSIGNAL) != 1)
        _exit(1);
    ignore_result(recv(sock, &byte, 1, 0));
    _exit(0);
}

static int open_namespace(const struct kern *k, pid_t pid, const char *name) {
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, name);
    return k->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
}

int user_netns(const struct kern *k, const struct plan *p, int *ret_user, struct oci_fault *f) {
    _cleanup_close_ int mine = -EBADF, theirs = -EBADF, user = -EBADF, net = -EBADF;
    char byte;
    int sp[2], r = 0;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp) < 0)
        return fault_set(f, errno, "making a user namespace: socketpair");
    mine = sp[0];
    theirs = sp[1];
    pid = fork();
    if (pid == 0) {
        close_fd(mine);
        hold_namespaces(k, theirs);
    }
    theirs = close_fd(theirs);
    if (pid < 0)
        return fault_set(f, errno, "making a user namespace: fork");
    if (recv(mine, &byte, 1, 0) != 1)
        r = fault_set(f, EPERM, "making a user namespace");
    if (r == 0)
        r = user_maps(k, p, pid, f);
    if (r == 0 && (send(mine, &byte, 1, MSG_NOSIGNAL) != 1 || recv(mine, &byte, 1, 0) != 1 || (user = open_namespace(k, pid, "user")) < 0 ||
                   (net = open_namespace(k, pid, "net")) < 0))
        r = fault_set(f, EIO, "making a network namespace in the user namespace");
    mine = close_fd(mine);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    if (r < 0)
        return r;
    *ret_user = TAKE_FD(user);
    return TAKE_FD(net);
}
