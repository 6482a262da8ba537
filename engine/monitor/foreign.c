// SPDX-License-Identifier: Apache-2.0
#include "monitor/foreign.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/spawn.h"
#include "base/str.h"
#include "monitor/foreign-log.h"

#define CREATE_SECONDS 90
#define COMMAND_SECONDS 25 /* less than the daemon waits for its answer */
#define ARGS_MAX 64
#define LOG_FILE "log.json"
#define PID_FILE "init.pid"
#define CONSOLE_FILE "console.sock"

struct command {
    struct mon *m;
    const struct plan_op *rt;
    const char *argv[ARGS_MAX];
    size_t n;
    char log[600], program[4096];
};

static int fault(struct oci_fault *f, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fault(struct oci_fault *f, int errnum, const char *fmt, ...) {
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
    f->errnum = errnum ? errnum : EIO;
    return -f->errnum;
}

static const char *in_bundle(const struct mon *m, const char *name, char ret[600]) {
    snprintf(ret, 600, "%s/%s", m->exec_dir, name);
    return ret;
}

bool foreign_is(const struct mon *m) {
    return plan_find(&m->plan, PLAN_RUNTIME) != NULL;
}

/* ---- one command ------------------------------------------------------------------------------------------------------ */

static void add(struct command *c, const char *arg) {
    if (c->n < ARGS_MAX - 1)
        c->argv[c->n++] = arg;
}

/* As a shell would: a name without '/' is looked for in the daemon's PATH. */
static int find_program(struct command *c) {
    const char *name = plan_s(&c->m->plan, c->rt, 0);

    if (strchr(name, '/'))
        return snprintf(c->program, sizeof c->program, "%s", name) < (int)sizeof c->program ? 0 : -ENAMETOOLONG;
    for (const char *at = plan_s(&c->m->plan, c->rt, 4); *at;) {
        size_t n = strcspn(at, ":");

        if (n && snprintf(c->program, sizeof c->program, "%.*s/%s", (int)n, at, name) < (int)sizeof c->program && access(c->program, X_OK) == 0)
            return 0;
        at += n + (at[n] == ':');
    }
    return -ENOENT;
}

static struct command command(struct mon *m, const char *verb) {
    struct command c = {.m = m, .rt = plan_find(&m->plan, PLAN_RUNTIME)};

    in_bundle(m, LOG_FILE, c.log);
    add(&c, plan_s(&m->plan, c.rt, 0));
    for (const char *s = NULL; (s = plan_list_next(&m->plan, c.rt, 2, s));)
        add(&c, s);
    add(&c, "--root");
    add(&c, plan_s(&m->plan, c.rt, 1));
    add(&c, "--log");
    add(&c, NULL); /* the structure moves: filled in by run() */
    add(&c, "--log-format");
    add(&c, "json");
    add(&c, verb);
    return c;
}

/* The reading end of a pipe that nobody writes to, or -errno. */
static int ended_pipe(void) {
    int p[2];

    if (pipe2(p, O_CLOEXEC) < 0)
        return -errno;
    close_fd(p[1]);
    return p[0];
}

/* 0 or -errno. */
static int spawn(struct command *c, const int stdio[3], pid_t *ret_pid) {
    char path[4200];
    char *env[] = {path, NULL};
    _cleanup_close_ int nothing = -EBADF;
    _cleanup_err_ struct err e = ERR_INIT;
    struct spawn_fd fds[3];
    size_t n = 0;
    int r;

    snprintf(path, sizeof path, "PATH=%s", plan_s(&c->m->plan, c->rt, 4));
    for (int i = 0; i < 3; i++)
        if (stdio[i] >= 0) /* else the null device: it is what the monitor has, too */
            fds[n++] = (struct spawn_fd){stdio[i], i};
    /* Some runtimes give the streams they have to root of a user namespace, and the null device is the machine's. */
    if (stdio[0] < 0 && plan_find(&c->m->plan, PLAN_IDMAP) && (nothing = ended_pipe()) >= 0)
        fds[n++] = (struct spawn_fd){nothing, STDIN_FILENO};
    r = spawn_start(c->program, (char *const *)(uintptr_t)c->argv, env, fds, n, ret_pid, &e);
    return r == -(int)ERR_NOT_FOUND ? -ENOENT : r < 0 ? -(e.errnum ? e.errnum : EIO) : 0;
}

/* The status of waitpid(), or -ETIMEDOUT with the program killed. */
static int wait_for_end(const struct kern *k, pid_t pid, int seconds) {
    _cleanup_close_ int fd = k->pidfd_open(pid, 0);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int64_t until = clock_mono_ns() + seconds * NSEC_PER_SEC;
    int status, r = 1;

    while (fd >= 0) {
        int64_t left = until - clock_mono_ns();

        r = left > 0 ? poll(&p, 1, (int)(left / NSEC_PER_MSEC) + 1) : 0;
        if (r >= 0 || errno != EINTR)
            break;
    }
    if (r == 0)
        kill(pid, SIGKILL);
    status = spawn_wait(pid);
    return r == 0 ? -ETIMEDOUT : status;
}

/* Commands whose words are kept: up to this much of what they print goes into the message. */
#define SAID_MAX 1024

static void read_said(int fd, char ret[SAID_MAX]) {
    ssize_t n = fd < 0 ? -1 : pread(fd, ret, SAID_MAX - 1, 0);

    ret[n > 0 ? n : 0] = 0;
}

/* "OCI runtime create failed: " where the reference says so; it has other words for signals, and none for changed limits. */
static void opening(const char *what, char *ret, size_t cap) {
    if (streq(what, "update"))
        ret[0] = 0;
    else if (streq(what, "kill"))
        snprintf(ret, cap, "unknown error after kill: ");
    else
        snprintf(ret, cap, "OCI runtime %s failed: ", what);
}

static int failed(struct command *c, const char *what, int status, int said, struct oci_fault *f) {
    char text[SAID_MAX] = "", begin[128], why[OCI_FAULT_TEXT], ended[SAID_MAX + 64];
    int r = foreign_log_error(c->log, why, sizeof why);

    opening(what, begin, sizeof begin);
    read_said(said, text);
    snprintf(ended, sizeof ended, "exit status %d%s%s", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), said < 0 ? "" : ": ",
             text);
    if (r > 0 && *begin && !streq(what, "kill"))
        return fault(f, EIO, "%s%s", begin, why);
    if (r == -ENOENT && said < 0)
        return fault(f, EIO, "%sunable to retrieve OCI runtime error (open %s: no such file or directory): %s did not terminate successfully: %s",
                     begin, c->log, c->argv[0], ended);
    return fault(f, EIO, "%s%s did not terminate successfully: %s", begin, c->argv[0], ended);
}

/*
 * Run a command to its end. `what`: its name in the reference's words. `stdio`: of the container's process; without, the command's own words are kept for the
 * message.
 */
static int run(struct command *c, const char *what, const int *stdio, int seconds, struct oci_fault *f) {
    _cleanup_close_ int said = stdio ? -EBADF : memfd_create("runtime", MFD_CLOEXEC);
    int words[3] = {-1, said, said}, r, status;
    char begin[128], ended[64];
    pid_t pid;

    for (size_t i = 0; i < c->n; i++)
        if (!c->argv[i])
            c->argv[i] = c->log;
    c->argv[c->n] = NULL;
    ignore_result(truncate(c->log, 0)); /* what it says from here on is of this command */
    opening(what, begin, sizeof begin);
    r = find_program(c);
    if (r < 0)
        return fault(f, EIO,
                     "%sunable to retrieve OCI runtime error (open %s: no such file or directory): exec: \"%s\": executable file not found in $PATH",
                     begin, c->log, c->argv[0]);
    r = spawn(c, stdio ? stdio : words, &pid);
    if (r < 0)
        return fault(f, EIO, "%sunable to retrieve OCI runtime error (open %s: no such file or directory): fork/exec %.1000s: %s", begin, c->log,
                     c->program, oci_strerror(r, ended));
    status = wait_for_end(c->m->k, pid, seconds);
    if (status == -ETIMEDOUT)
        return fault(f, ETIMEDOUT, "%s%s did not end within %d s and was killed", begin, c->argv[0], seconds);
    return status ? failed(c, what, status, said, f) : 0;
}

/* ---- files of the bundle ---------------------------------------------------------------------------------------------- */

static int put_file(const char *path, const char *text, size_t n, struct oci_fault *f) {
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r;

    if (fd < 0)
        return fault(f, errno, "making %s: %s", path, strerrordesc_np(errno));
    r = full_write(fd, text, n);
    return r < 0 ? fault(f, -r, "writing %s: %s", path, strerrordesc_np(-r)) : 0;
}

static int read_pid(const char *path) {
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[32];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    int64_t pid;

    if (n <= 0)
        return -EIO;
    text[n] = 0;
    text[strcspn(text, "\n")] = 0;
    return parse_int_range(text, 1, INT32_MAX, &pid) == 0 ? (int)pid : -EIO;
}

/*
 * Into a mount namespace of our own. The mount that the bundle lies on gets what the machine mounts but gives nothing back; everything else is left as it is,
 * so that shared binds of the container reach the machine.
 */
static int leave_machine(struct mon *m, struct oci_fault *f) {
    char path[600];
    int r = m->k->unshare(CLONE_NEWNS);

    if (r < 0)
        return fault(f, -r, "making a mount namespace: %s", strerrordesc_np(-r));
    snprintf(path, sizeof path, "%s", m->exec_dir);
    /* The kernel takes only the root of a mount: go up until it does. */
    while ((r = m->k->mount(NULL, path, NULL, MS_SLAVE, NULL)) == -EINVAL && path[1]) {
        char *slash = strrchr(path, '/');

        slash[slash == path] = 0;
    }
    return r < 0 ? fault(f, -r, "parting %s from the machine's mounts: %s", path, strerrordesc_np(-r)) : 0;
}

static int make_folder(const char *path, struct oci_fault *f) {
    return mkdir(path, 0700) < 0 && errno != EEXIST ? fault(f, errno, "making %s: %s", path, strerrordesc_np(errno)) : 0;
}

static int bind_fd(struct mon *m, int fd, const char *target) {
    char from[64];

    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    return m->k->mount(from, target, NULL, MS_BIND | MS_REC, NULL);
}

/* Sources that must not lead out of their volume. */
static int hold_binds(struct mon *m, struct oci_fault *f) {
    for (size_t i = 0; i < m->plan.n_ops; i++) {
        const struct plan_op *op = &m->plan.ops[i];
        const char *source = plan_s(&m->plan, op, 0), *target = plan_s(&m->plan, op, 1), *beneath = plan_s(&m->plan, op, 2);
        _cleanup_close_ int root = -EBADF, fd = -EBADF;
        size_t n = strlen(beneath);
        struct stat st;
        int r;

        if (op->type != PLAN_RUNTIME_BIND)
            continue;
        root = m->k->openat(AT_FDCWD, beneath, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        fd = strncmp(source, beneath, n) == 0 && source[n] == '/'
                 ? kern_open_in(m->k, root, source + n + 1, O_PATH | O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
                 : -EXDEV;
        if (fd < 0 || fstat(fd, &st) < 0)
            return fault(f, fd < 0 ? -fd : errno, "cannot access path %s: %s", source, strerrordesc_np(fd < 0 ? -fd : errno));
        r = S_ISDIR(st.st_mode) ? make_folder(target, f) : put_file(target, "", 0, f);
        if (r >= 0 && (r = bind_fd(m, fd, target)) < 0)
            fault(f, -r, "mounting %s: %s", source, strerrordesc_np(-r));
        if (r < 0)
            return r;
    }
    return 0;
}

static int keep_namespace(struct mon *m, int ns, const char *name, struct oci_fault *f) {
    char path[600];
    int r = put_file(in_bundle(m, name, path), "", 0, f);

    if (r >= 0 && (r = bind_fd(m, ns, path)) < 0)
        fault(f, -r, "keeping the %s namespace: %s", name, strerrordesc_np(-r));
    return r;
}

static int own_network(struct mon *m, struct oci_running *ret, struct oci_fault *f) {
    _cleanup_close_ int ns = -EBADF, user = -EBADF;
    int r;

    if (!plan_find(&m->plan, PLAN_RUNTIME)->i[1])
        return 0;
    ns = oci_netns_make(m->k, &m->plan, ret->resolver, &user, f);
    r = ns < 0 ? ns : keep_namespace(m, ns, OCI_BUNDLE_NETNS, f);
    return r < 0 || user < 0 ? r : keep_namespace(m, user, OCI_BUNDLE_USERNS, f);
}

static int prepare(struct mon *m, struct oci_running *ret, struct oci_fault *f) {
    const struct plan_op *rt = plan_find(&m->plan, PLAN_RUNTIME);
    char path[600];
    int r = leave_machine(m, f);

    ignore_result(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    if (r >= 0)
        r = make_folder(in_bundle(m, OCI_BUNDLE_ROOT, path), f);
    if (r >= 0)
        r = oci_root_mount(m->k, &m->plan, path, f);
    if (r >= 0)
        r = hold_binds(m, f);
    if (r >= 0)
        r = own_network(m, ret, f);
    return r < 0 ? r : put_file(in_bundle(m, "config.json", path), plan_s(&m->plan, rt, 3), plan_sn(&m->plan, rt, 3), f);
}

/* ---- terminals -------------------------------------------------------------------------------------------------------- */

static int console_listen(struct mon *m, char ret_path[128], struct oci_fault *f) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char path[600];

    ignore_result(unlink(in_bundle(m, CONSOLE_FILE, path)));
    if (strlen(path) >= sizeof a.sun_path)
        return fault(f, ENAMETOOLONG,
                     "the path of the terminal's socket, %s, is longer than the %zu bytes of a socket's name: choose a shorter --exec-root", path,
                     sizeof a.sun_path - 1);
    memcpy(ret_path, path, strlen(path) + 1);
    memcpy(a.sun_path, path, strlen(path) + 1);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 2) < 0)
        return fault(f, errno, "making the terminal's socket: %s", strerrordesc_np(errno));
    return TAKE_FD(fd);
}

static int console_take(int sock, struct oci_fault *f) {
    struct pollfd p = {.fd = sock, .events = POLLIN};
    char byte[256], control[CMSG_SPACE(sizeof(int))];
    struct iovec io = {byte, sizeof byte};
    struct msghdr msg = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    _cleanup_close_ int fd = poll(&p, 1, 1000) == 1 ? accept4(sock, NULL, NULL, SOCK_CLOEXEC) : -1;
    struct cmsghdr *h;
    int pty;

    if (fd < 0 || recvmsg(fd, &msg, MSG_CMSG_CLOEXEC) <= 0 || !(h = CMSG_FIRSTHDR(&msg)) || h->cmsg_type != SCM_RIGHTS ||
        h->cmsg_len != CMSG_LEN(sizeof(int)))
        return fault(f, EIO, "the runtime did not send the terminal");
    memcpy(&pty, CMSG_DATA(h), sizeof pty);
    return pty;
}

/* ---- the life of a container ------------------------------------------------------------------------------------------ */

static void set_size(int pty, const struct plan_op *console) {
    struct winsize size = {.ws_row = (unsigned short)console->i[0], .ws_col = (unsigned short)console->i[1]};

    if (size.ws_row && size.ws_col)
        ignore_result(ioctl(pty, TIOCSWINSZ, &size));
}

/* Run a command that makes a process: its terminal, number and descriptor. */
static int run_process(struct command *c, const char *what, const struct plan *plan, const int stdio[3], const char *pid_name, int seconds,
                       struct oci_running *ret, struct oci_fault *f) {
    static const int none[3] = {-1, -1, -1};
    const struct plan_op *console = plan_find(plan, PLAN_CONSOLE);
    _cleanup_close_ int sock = -EBADF;
    char pid_path[600], console_path[128];
    int r = 0;

    ignore_result(unlink(in_bundle(c->m, pid_name, pid_path)));
    add(c, "--pid-file");
    add(c, pid_path);
    if (console) {
        r = sock = console_listen(c->m, console_path, f);
        add(c, "--console-socket");
        add(c, console_path);
    }
    add(c, c->m->id);
    if (r >= 0)
        r = run(c, what, console ? none : stdio, seconds, f);
    if (r >= 0 && console) {
        r = ret->pty = console_take(sock, f);
        if (r >= 0)
            set_size(ret->pty, console);
    }
    if (console)
        ignore_result(unlink(console_path));
    if (r < 0)
        return r;
    ret->pid = read_pid(pid_path);
    ret->pidfd = ret->pid > 0 ? c->m->k->pidfd_open(ret->pid, 0) : -EBADF;
    if (ret->pidfd >= 0)
        return 0;
    ret->pty = close_fd(ret->pty);
    return fault(f, ESRCH, "OCI runtime %s failed: the runtime left no process number in %s", what, pid_path);
}

static struct oci_running nothing(void) {
    struct oci_running run = {.pid = -1, .pidfd = -EBADF, .pty = -EBADF, .mounts = -EBADF};

    for (int i = 0; i < OCI_RESOLVER_FDS; i++)
        run.resolver[i] = -EBADF;
    return run;
}

static void forget(struct mon *m, bool force) {
    struct command c = command(m, "delete");
    struct oci_fault f = {0};

    if (force)
        add(&c, "--force");
    add(&c, m->id);
    if (run(&c, "delete", NULL, COMMAND_SECONDS, &f) < 0 && !force)
        forget(m, true);
}

/* What a run left that nobody ended (a monitor was killed). */
static void forget_leftover(struct mon *m) {
    char path[4400];

    if (snprintf(path, sizeof path, "%s/%s", plan_s(&m->plan, plan_find(&m->plan, PLAN_RUNTIME), 1), m->id) < (int)sizeof path &&
        access(path, F_OK) == 0)
        forget(m, true);
}

static int start_created(struct mon *m, struct oci_fault *f) {
    struct command c = command(m, "start");

    add(&c, m->id);
    return run(&c, "start", NULL, CREATE_SECONDS, f);
}

int foreign_start(struct mon *m, const int stdio[3], struct oci_running *ret, struct oci_fault *f) {
    struct command c = command(m, "create");
    int r;

    *ret = nothing();
    oci_give_streams(&m->plan, stdio);
    r = prepare(m, ret, f);
    if (r >= 0) {
        forget_leftover(m);
        ignore_result(unlink(c.log));
        add(&c, "--bundle");
        add(&c, m->exec_dir);
        r = run_process(&c, "create", &m->plan, stdio, PID_FILE, CREATE_SECONDS, ret, f);
        if (r >= 0)
            r = start_created(m, f);
        if (r < 0)
            forget_leftover(m);
    }
    return r;
}

int foreign_exec(struct mon *m, const struct plan *plan, const int stdio[3], struct oci_running *ret, struct oci_fault *f) {
    const struct plan_op *op = plan_find(plan, PLAN_RUNTIME);
    struct command c = command(m, "exec");
    char path[600];
    int r;

    *ret = nothing();
    oci_give_streams(&m->plan, stdio);
    if (!op)
        return fault(f, EPROTO, "the plan of the process is not for this container's runtime");
    r = put_file(in_bundle(m, "exec.json", path), plan_s(plan, op, 3), plan_sn(plan, op, 3), f);
    add(&c, "--process");
    add(&c, path);
    add(&c, "--detach");
    if (r >= 0)
        r = run_process(&c, "exec", plan, stdio, "exec.pid", COMMAND_SECONDS, ret, f);
    ignore_result(unlink(path));
    ignore_result(unlink(in_bundle(m, "exec.pid", path)));
    return r;
}

static int is_gone(const struct oci_fault *f) {
    return strstr(f->text, "not running") || strstr(f->text, "process already finished") || strstr(f->text, "No such process") ||
           strstr(f->text, "no such process");
}

int foreign_signal(struct mon *m, int sig, bool all, struct oci_fault *f) {
    struct command c = command(m, "kill");
    char number[16];
    int r;

    snprintf(number, sizeof number, "%d", sig);
    if (all)
        add(&c, "--all");
    add(&c, m->id);
    add(&c, number);
    r = run(&c, "kill", NULL, COMMAND_SECONDS, f);
    return r < 0 && is_gone(f) ? -ESRCH : r;
}

int foreign_freeze(struct mon *m, bool freeze, struct oci_fault *f) {
    struct command c = command(m, freeze ? "pause" : "resume");

    add(&c, m->id);
    return run(&c, freeze ? "pause" : "resume", NULL, COMMAND_SECONDS, f);
}

int foreign_update(struct mon *m, const struct plan *plan, struct oci_fault *f) {
    const struct plan_op *op = plan_find(plan, PLAN_RUNTIME);
    struct command c = command(m, "update");
    char path[600];
    int r = op ? put_file(in_bundle(m, "resources.json", path), plan_s(plan, op, 3), plan_sn(plan, op, 3), f) : fault(f, EPROTO, "no limits came");

    if (r < 0)
        return r;
    add(&c, "--resources");
    add(&c, path);
    add(&c, m->id);
    r = run(&c, "update", NULL, COMMAND_SECONDS, f);
    ignore_result(unlink(path));
    return r;
}

void foreign_delete(struct mon *m) {
    static const char *const files[] = {"config.json", LOG_FILE, PID_FILE, CONSOLE_FILE, OCI_BUNDLE_NETNS, OCI_BUNDLE_USERNS, NULL};
    char path[600];

    forget(m, false);
    ignore_result(m->k->umount2(in_bundle(m, OCI_BUNDLE_NETNS, path), MNT_DETACH));
    ignore_result(m->k->umount2(in_bundle(m, OCI_BUNDLE_USERNS, path), MNT_DETACH));
    ignore_result(m->k->umount2(in_bundle(m, OCI_BUNDLE_ROOT, path), MNT_DETACH));
    ignore_result(rmdir(path));
    for (size_t i = 0; i < m->plan.n_ops; i++)
        if (m->plan.ops[i].type == PLAN_RUNTIME_BIND) {
            const char *target = plan_s(&m->plan, &m->plan.ops[i], 1);

            ignore_result(m->k->umount2(target, MNT_DETACH));
            ignore_result(unlink(target) < 0 ? rmdir(target) : 0);
        }
    for (int i = 0; files[i]; i++)
        ignore_result(unlink(in_bundle(m, files[i], path)));
}
