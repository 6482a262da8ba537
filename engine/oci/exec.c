// SPDX-License-Identifier: Apache-2.0
#include "oci/exec-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/cleanup.h"

const char *oci_strerror(int errnum, char buf[64]) {
    const char *s = strerrordesc_np(errnum < 0 ? -errnum : errnum);
    size_t n;

    if (!s) {
        snprintf(buf, 64, "errno %d", errnum < 0 ? -errnum : errnum);
        return buf;
    }
    n = strlen(s) < 63 ? strlen(s) : 63;
    memcpy(buf, s, n);
    buf[n] = 0;
    if (buf[0] >= 'A' && buf[0] <= 'Z' && !(buf[1] >= 'A' && buf[1] <= 'Z'))
        buf[0] = (char)(buf[0] + 32);
    return buf;
}

static int __attribute__((format(printf, 3, 0))) fault_setv(struct oci_fault *f, int errnum, const char *fmt, va_list ap) {
    char word[64];
    int n;

    f->errnum = errnum < 0 ? -errnum : errnum;
    n = vsnprintf(f->text, sizeof f->text, fmt, ap);
    if (f->errnum && n >= 0 && n < (int)sizeof f->text)
        snprintf(f->text + n, sizeof f->text - (size_t)n, ": %s", oci_strerror(errnum, word));
    return -(f->errnum ? f->errnum : EIO);
}

int fault_set(struct oci_fault *f, int errnum, const char *fmt, ...) {
    va_list ap;
    int r;

    va_start(ap, fmt);
    r = fault_setv(f, errnum, fmt, ap);
    va_end(ap);
    return r;
}

static void __attribute__((noreturn)) child_report(struct child *c, int errnum, const struct oci_fault *f) {
    struct sync_fault m = {.type = SYNC_FAULT, .errnum = errnum < 0 ? -errnum : errnum};
    size_t n = strnlen(f->text, sizeof m.text - 1);

    memcpy(m.text, f->text, n + 1);
    ignore_result(send(c->sync, &m, offsetof(struct sync_fault, text) + n + 1, MSG_NOSIGNAL));
    _exit(1);
}

void child_fail(struct child *c, int errnum, const char *fmt, ...) {
    struct oci_fault f = {0};
    va_list ap;

    va_start(ap, fmt);
    fault_setv(&f, 0, fmt, ap);
    va_end(ap);
    child_report(c, errnum, &f);
}

void child_fail_errno(struct child *c, int errnum, const char *fmt, ...) {
    struct oci_fault f = {0};
    va_list ap;

    va_start(ap, fmt);
    fault_setv(&f, errnum, fmt, ap);
    va_end(ap);
    child_report(c, errnum, &f);
}

/* ---- child ------------------------------------------------------------------------------------------------------------ */

int wait_for(struct child *c, char type) {
    char got = 0;
    ssize_t n;

    do
        n = recv(c->sync, &got, 1, 0);
    while (n < 0 && errno == EINTR);
    return n == 1 && got == type ? 0 : -1;
}

void child_join(struct child *c, const struct plan_op *op) {
    const char *path = plan_s(c->p, op, 0);
    int fd = c->k->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), r;

    if (fd < 0)
        child_fail_errno(c, fd, "error during container init: lstat %s", path);
    r = c->k->setns(fd, (int)op->i[0]);
    if (r < 0)
        child_fail_errno(c, r, "error during container init: joining namespace %s", path);
    close_fd(fd);
}

/* Namespaces that exist already. Those of pids and users were joined before, as they only apply to children, or must be there first. */
static void join_namespaces(struct child *c) {
    for (size_t i = 0; i < c->p->n_ops; i++) {
        const struct plan_op *op = &c->p->ops[i];

        if (op->type == PLAN_JOIN && op->i[0] != CLONE_NEWPID && op->i[0] != CLONE_NEWUSER)
            child_join(c, op);
    }
}

/* Before the mount namespace changes: /proc is the machine's, and nothing of the container can be in the way. */
static void set_oom_score(struct child *c) {
    const struct plan_op *op = plan_find(c->p, PLAN_OOM_SCORE);
    char text[32];
    int r;

    if (!op)
        return;
    snprintf(text, sizeof text, "%lld", (long long)op->i[0]);
    r = kern_write_file(c->k, AT_FDCWD, "/proc/self/oom_score_adj", text);
    if (r < 0)
        child_fail(c, r, "%s",
                   c->enter ? "error executing setns process: write /proc/self/oom_score_adj: permission denied"
                            : "can't get final child's PID from pipe: EOF");
}

/*
 * Take the signal state a program expects; the parent may block or ignore some. The kernel is asked itself: the C library hides signals 32 and 33, and
 * leaves them ignored in what it spawned.
 */
static void reset_signals(void) {
    static const unsigned long dfl[4]; /* handler SIG_DFL, no flags, no restorer, empty mask: the kernel's struct sigaction */
    sigset_t none;

    for (int s = 1; s < NSIG; s++)
        if (s != SIGKILL && s != SIGSTOP)
            syscall(SYS_rt_sigaction, s, dfl, NULL, (NSIG - 1) / 8);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void open_null(struct child *c) {
    struct stat st;

    c->null = c->k->openat(AT_FDCWD, "/dev/null", O_PATH | O_CLOEXEC | O_NOFOLLOW, 0);
    if (c->null < 0)
        child_fail_errno(c, c->null, "error during container init: open /dev/null");
    if (fstat(c->null, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
        child_fail(c, EINVAL, "error during container init: /dev/null of this machine is not the null device");
}

static void child_stdio(struct child *c) {
    if (c->pty_slave >= 0) {
        for (int n = 0; n < 3; n++)
            if (dup2(c->pty_slave, n) < 0)
                child_fail_errno(c, errno, "error during container init: terminal");
        return;
    }
    for (int n = 0; n < 3; n++) {
        int from = c->spawn->stdio[n];

        if (from >= 0) {
            if (dup2(from, n) < 0)
                child_fail_errno(c, errno, "error during container init: standard streams");
        } else {
            int fd = open("/dev/null", (n == 0 ? O_RDONLY : O_WRONLY) | O_CLOEXEC);

            if (fd < 0 || dup2(fd, n) < 0)
                child_fail_errno(c, errno, "error during container init: open /dev/null");
            close_fd(fd);
        }
    }
}

/* The caller's stdio descriptors must not be 0-2 in another order than given: dup2 in place would overwrite one before it is used. */
static void lift_stdio(struct child *c, struct oci_spawn *copy) {
    *copy = *c->spawn;
    for (int n = 0; n < 3; n++)
        if (copy->stdio[n] >= 0 && copy->stdio[n] < 3 && copy->stdio[n] != n) {
            int fd = fcntl(copy->stdio[n], F_DUPFD_CLOEXEC, 3);

            if (fd >= 0)
                copy->stdio[n] = fd;
        }
    c->spawn = copy;
}

static void __attribute__((noreturn)) child_main(struct child *c, int v2) {
    const struct plan_op *ns = plan_find(c->p, PLAN_NAMESPACES);
    int64_t flags = ns ? ns->i[0] : 0;
    struct oci_spawn copy;
    const char *where = "";
    int r;

    reset_signals();
    lift_stdio(c, &copy);
    ignore_result(c->k->prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    set_oom_score(c);
    child_net_early(c);
    if (c->in_user)
        user_enter(c, flags, v2);
    r = child_join_cgroups(c->k, c->p, &where);
    if (r < 0)
        child_fail_errno(c, r, "unable to apply cgroup configuration: joining %s", where);
    if (c->in_user)
        user_become_root(c, flags);
    join_namespaces(c);
    if (flags & CLONE_NEWCGROUP) {
        r = c->k->unshare(CLONE_NEWCGROUP); /* after joining: the group of that moment becomes its root */
        if (r < 0)
            child_fail_errno(c, r, "error during container init: unshare cgroup namespace");
    }
    setsid();
    umask(0);
    open_null(c);
    child_stdio(c);
    child_mounts(c);
    if (c->pty_slave >= 0)
        child_stdio(c);
    if (!c->links_ready && wait_for(c, SYNC_LINKS) < 0)
        _exit(1);
    child_net(c);
    child_final(c);
}

/* ---- parent ----------------------------------------------------------------------------------------------------------- */

/* A child that ends or fails instead has said why; that stays to be read. */
static void wait_until_ready(int sock) {
    char type = 0;
    ssize_t n;

    do
        n = recv(sock, &type, 1, MSG_PEEK);
    while (n < 0 && errno == EINTR);
    if (n == 1 && type == SYNC_READY)
        ignore_result(recv(sock, &type, 1, 0));
}

/* Take one message; a descriptor that comes with it goes to *fd. Length, 0 at the end, -errno. */
static ssize_t sync_recv(int sock, void *buf, size_t n, int *fd) {
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
    struct iovec iov = {buf, n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c;
    ssize_t got;

    /* A child that ends before it took our last byte shows first as a reset, once; what it said is behind that. */
    do
        got = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (got < 0 && (errno == EINTR || errno == ECONNRESET));
    if (got < 0)
        return -errno;
    c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(c), sizeof *fd);
    return got;
}

int fault_of(const struct sync_fault *m, ssize_t n, struct oci_fault *f) {
    size_t head = offsetof(struct sync_fault, text), len = n > (ssize_t)head ? (size_t)n - head : 0;

    if (!len || m->type != SYNC_FAULT)
        return fault_set(f, n < 0 ? errno : EIO, "waiting for the container's first process");
    f->errnum = m->errnum;
    len = len < sizeof f->text ? len : sizeof f->text - 1;
    memcpy(f->text, m->text, len);
    f->text[len] = 0;
    return -(m->errnum ? m->errnum : EIO);
}

static void tell(int sock, char type) {
    ignore_result(send(sock, &type, 1, MSG_NOSIGNAL));
}

/* Follow the child until it runs (the socket closes), waits at the gate, or fails. */
static int follow_child(const struct oci_spawn *s, int sock, struct oci_running *run, struct oci_fault *f) {
    /* One page above the stack's usual depth only while starting. */
    struct sync_fault m;
    bool any = false;

    for (;;) {
        int fd = -EBADF;
        ssize_t n = sync_recv(sock, &m, sizeof m, &fd);

        if (n < 0)
            return fault_set(f, (int)n, "waiting for the container's first process");
        if (n == 0)
            return any || run->pid > 0 ? 0 : -EIO;
        any = true;
        switch (m.type) {
        case SYNC_FAULT:
            return fault_of(&m, n, f);
        case SYNC_PTY:
            run->pty = fd;
            break;
        case SYNC_HOOKS:
            if (run_hooks(s->k, s->plan, PLAN_HOOK_PRESTART, run->pid, "creating", f) < 0 ||
                run_hooks(s->k, s->plan, PLAN_HOOK_CREATE_RUNTIME, run->pid, "creating", f) < 0)
                return -EIO;
            tell(sock, SYNC_HOOKED);
            break;
        case SYNC_GATE:
            return 0;
        default:
            close_fd(fd);
        }
    }
}

/* A child that failed meanwhile takes its namespaces along, so the parent's next step fails too: the child knows the reason. */
static void prefer_childs_word(int sock, struct oci_fault *f) {
    struct sync_fault m;
    ssize_t n;

    do {
        int fd = -EBADF;
        struct pollfd p = {.fd = sock, .events = POLLIN};

        n = poll(&p, 1, 0) > 0 ? sync_recv(sock, &m, sizeof m, &fd) : 0;
        close_fd(fd);
    } while (n > 0 && m.type != SYNC_FAULT);
    if (n > (ssize_t)offsetof(struct sync_fault, text))
        fault_of(&m, n, f);
}

static void reap(pid_t pid) {
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

/* A child that dies without a word (killed while it was set up, for instance by the memory limit) is told apart from one that runs. */
static int check_alive(const struct oci_spawn *s, pid_t pid, struct oci_fault *f) {
    siginfo_t si = {0};

    if (waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid == pid && si.si_code != CLD_EXITED) {
        char path[64], link[8];

        /* It may as well have run and been killed at once: then its exit is an exit, not a failed start. */
        snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
        if (readlink(path, link, sizeof link) < 0 && oci_cgroup_oom_kills(s->k, s->plan) > 0)
            return fault_set(f, 0, "container init was OOM-killed (memory limit too low?)");
    }
    return 0;
}

static int clone_child(const struct oci_spawn *s, uint64_t flags, int v2_fd, int *ret_pidfd) {
    struct clone_args a = {.flags = flags | CLONE_PIDFD, .pidfd = (uintptr_t)ret_pidfd, .exit_signal = SIGCHLD};
    int pid;

    if (v2_fd >= 0) {
        a.flags |= CLONE_INTO_CGROUP;
        a.cgroup = (uint64_t)v2_fd;
    }
    pid = s->k->clone3(&a, sizeof a);
    return pid;
}

static int join_pid_namespace(const struct kern *k, const struct plan *p, struct oci_fault *f) {
    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        int fd, r;

        if (op->type != PLAN_JOIN || op->i[0] != CLONE_NEWPID)
            continue;
        fd = k->openat(AT_FDCWD, plan_s(p, op, 0), O_RDONLY | O_CLOEXEC, 0);
        if (fd < 0)
            return fault_set(f, fd, "error during container init: lstat %s", plan_s(p, op, 0));
        r = k->setns(fd, CLONE_NEWPID);
        close_fd(fd);
        if (r < 0)
            return fault_set(f, r, "error during container init: joining namespace %s", plan_s(p, op, 0));
    }
    return 0;
}

static void child_init(struct child *c, const struct oci_spawn *s, int sync) {
    *c = (struct child){
        .k = s->k, .p = s->plan, .spawn = s, .sync = sync, .root = -EBADF, .null = -EBADF, .devpts = -EBADF, .proc = -EBADF, .pty_slave = -EBADF};
}

static struct oci_running nothing_running(void) {
    struct oci_running run = {.pid = -1, .pidfd = -EBADF, .pty = -EBADF, .mounts = -EBADF};

    for (int i = 0; i < OCI_RESOLVER_FDS; i++)
        run.resolver[i] = -EBADF;
    return run;
}

static int open_mounts(const struct kern *k, pid_t pid) {
    char path[64];
    int fd;

    snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
    fd = k->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    return fd < 0 ? -EBADF : fd;
}

int oci_spawn(const struct oci_spawn *s, struct oci_running *ret, struct oci_fault *f) {
    const struct plan_op *ns = plan_find(s->plan, PLAN_NAMESPACES);
    struct oci_running run = nothing_running();
    _cleanup_close_ int v2 = -EBADF, mine = -EBADF, theirs = -EBADF;
    int64_t flags = ns ? ns->i[0] : 0;
    bool in_user = plan_has_user(s->plan);
    struct child c;
    int sp[2], r;

    r = parent_cgroups(s->k, s->plan, &v2, f);
    if (r == 0 && !in_user)
        r = join_pid_namespace(s->k, s->plan, f);
    if (r == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp) < 0)
        r = fault_set(f, errno, "socketpair");
    if (r < 0)
        goto fail;
    mine = sp[0];
    theirs = sp[1];
    child_init(&c, s, theirs);
    c.in_user = in_user;
    run.pid = in_user ? clone_child(s, 0, -EBADF, &run.pidfd) : clone_child(s, (uint64_t)(flags & ~(int64_t)CLONE_NEWCGROUP), v2, &run.pidfd);
    if (run.pid == 0) {
        close_fd(mine);
        child_main(&c, v2);
    }
    if (run.pid < 0) {
        r = fault_set(f, run.pid, "error creating the container's first process: clone3");
        goto fail;
    }
    theirs = close_fd(theirs);
    if (in_user)
        r = user_follow(s->k, s->plan, mine, &run, f);
    if (links_wait(s->plan))
        wait_until_ready(mine);
    if (r == 0)
        r = parent_links(s->plan, (struct nl_ns){run.pid, -1}, f);
    if (r == 0)
        r = parent_resolver(s->k, s->plan, run.pidfd, run.resolver, f);
    if (r == 0) {
        tell(mine, SYNC_LINKS);
        if (s->hold_mounts && (flags & CLONE_NEWNS))
            run.mounts = open_mounts(s->k, run.pid);
        r = follow_child(s, mine, &run, f);
    } else {
        prefer_childs_word(mine, f);
    }
    if (r == 0)
        r = check_alive(s, run.pid, f);
    if (r == 0 && s->gate_fd < 0)
        r = run_hooks(s->k, s->plan, PLAN_HOOK_POSTSTART, run.pid, "running", f);
    if (r < 0) {
        reap(run.pid);
        goto fail;
    }
    *ret = run;
    return 0;
fail:
    close_fd(run.mounts);
    close_fd(run.pty);
    close_fd(run.pidfd);
    for (int i = 0; i < OCI_RESOLVER_FDS; i++)
        close_fd(run.resolver[i]);
    ignore_result(oci_cgroup_remove(s->k, s->plan));
    return r;
}

int oci_poststop(const struct kern *k, const struct plan *p, struct oci_fault *f) {
    return run_hooks(k, p, PLAN_HOOK_POSTSTOP, 0, "stopped", f);
}

bool oci_has_poststop(const struct plan *p) {
    return has_hooks(p, PLAN_HOOK_POSTSTOP);
}

/* ---- exec ------------------------------------------------------------------------------------------------------------- */

static void __attribute__((noreturn)) enter_main(struct child *c, const struct plan *container, int init_pidfd) {
    const struct plan_op *console = plan_find(c->p, PLAN_CONSOLE);
    int flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    struct oci_spawn copy;
    const char *where = "";
    int r;

    reset_signals();
    lift_stdio(c, &copy);
    ignore_result(c->k->prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
    r = child_join_cgroups(c->k, container, &where);
    if (r < 0)
        child_fail_errno(c, r, "error adding pid to cgroups: joining %s", where);
    set_oom_score(c);
    open_null(c);
    child_stdio(c);
    if (c->in_user) {
        user_gives(c, container);
        flags |= CLONE_NEWUSER;
    }
    r = c->k->setns(init_pidfd, flags);
    if (r < 0)
        child_fail_errno(c, r, "error joining the container's namespaces: setns");
    if (c->in_user)
        user_become_root(c, 0);
    setsid();
    umask(0);
    c->root = c->k->openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (console) {
        child_console(c, console);
        child_stdio(c);
    }
    if (wait_for(c, SYNC_LINKS) < 0)
        _exit(1);
    child_final(c);
}

int oci_enter(const struct oci_spawn *s, const struct plan *container, pid_t init_pid, int init_pidfd, struct oci_running *ret, struct oci_fault *f) {
    struct oci_running run = nothing_running();
    _cleanup_close_ int v2 = -EBADF, mine = -EBADF, theirs = -EBADF;
    struct child c;
    int sp[2], r;

    for (size_t i = 0; i < container->n_ops; i++) {
        const struct plan_op *op = &container->ops[i];

        if (op->type == PLAN_CGROUP && op->i[0] == 2 && v2 < 0)
            v2 = s->k->openat(AT_FDCWD, plan_s(container, op, 0), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    }
    r = s->k->setns(init_pidfd, CLONE_NEWPID);
    if (r < 0)
        return fault_set(f, r == -ESRCH ? ESRCH : r, "error joining the container's pid namespace: setns");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp) < 0)
        return fault_set(f, errno, "socketpair");
    mine = sp[0];
    theirs = sp[1];
    child_init(&c, s, theirs);
    c.enter = true;
    c.in_user = plan_has_user(container);
    run.pid = clone_child(s, 0, v2, &run.pidfd);
    if (run.pid == 0) {
        close_fd(mine);
        enter_main(&c, container, init_pidfd);
    }
    if (run.pid < 0)
        return fault_set(f, run.pid, "error starting a process in the container: clone3");
    theirs = close_fd(theirs);
    tell(mine, SYNC_LINKS);
    r = follow_child(s, mine, &run, f);
    if (r < 0) {
        reap(run.pid);
        close_fd(run.pty);
        close_fd(run.pidfd);
        return r;
    }
    *ret = run;
    return 0;
}
