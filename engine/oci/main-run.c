// SPDX-License-Identifier: Apache-2.0
/* Commands that make, start and end processes. */
#include "oci/main.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "oci/exec-internal.h"

static json_t *load_json(const char *path, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(MIB(16));
    json_error_t je;
    json_t *o;

    if (fs_read_file(path, &b, e) < 0)
        return NULL;
    o = json_loadb(buf_str(&b), b.len, JSON_REJECT_DUPLICATES, &je);
    if (!o)
        err_set(e, ERR_INVALID, "%s: %s at line %d", path, je.text, je.line);
    return o;
}

static json_t *load_spec(const struct options *o, char bundle[4096], struct err *e) {
    _cleanup_free_ char *path = NULL;

    if (!realpath(o->bundle ? o->bundle : ".", bundle)) {
        err_errno(e, errno, "bundle %s", o->bundle ? o->bundle : ".");
        return NULL;
    }
    path = str_printf("%s/config.json", bundle);
    if (!path) {
        err_oom(e);
        return NULL;
    }
    return load_json(path, e);
}

static int build_plan(const char *id, const json_t *spec, const char *bundle, void **ret_block, size_t *ret_n, struct err *e) {
    struct plan_builder b = PLAN_BUILDER_INIT;
    struct cgroup_layout cgroups;
    bool has = cgroup_detect(&cgroups, NULL) == 0;
    struct oci_input in = {.spec = spec, .id = id, .bundle = bundle, .cgroups = has ? &cgroups : NULL};
    int r = oci_build(&b, &in, e);

    if (r >= 0)
        r = plan_finish(&b, ret_block, ret_n, e);
    plan_builder_done(&b);
    return r;
}

int cmd_plan(const struct options *o, struct err *e) {
    _cleanup_buf_ struct buf out = BUF_INIT(MIB(16));
    _cleanup_free_ void *block = NULL;
    char bundle[4096];
    json_t *spec = load_spec(o, bundle, e);
    struct plan p;
    size_t n;
    int r = spec ? build_plan(o->n_args ? o->args[0] : "plan", spec, bundle, &block, &n, e) : -1;

    json_decref(spec);
    if (r < 0 || plan_open(block, n, &p) < 0)
        return -ERR_INVALID;
    plan_print(&p, &out);
    fputs(buf_str(&out), stdout);
    return 0;
}

/* Send the terminal's master to whoever listens there, with its name as the message. */
static int send_console(const char *path, int master, struct err *e) {
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
    static char name[] = "/dev/ptmx";
    struct iovec iov = {name, sizeof name - 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(path) >= sizeof a.sun_path)
        return err_set(e, ERR_INVALID, "--console-socket: path longer than %zu bytes", sizeof a.sun_path - 1);
    memcpy(a.sun_path, path, strlen(path) + 1);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &master, sizeof master);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0 || sendmsg(fd, &m, MSG_NOSIGNAL) < 0)
        return err_errno(e, errno, "console socket %s", path);
    return 0;
}

static int write_pid_file(const char *path, pid_t pid, struct err *e) {
    char text[16];
    int n = snprintf(text, sizeof text, "%d", (int)pid);

    return path ? fs_replace_file_volatile(path, text, (size_t)n, 0644, e) : 0;
}

static int listen_at(const char *dir, struct err *e) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), d = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/start.sock", d);
    if (fd < 0 || d < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 1) < 0)
        return err_errno(e, errno, "%s/start.sock", dir);
    return TAKE_FD(fd);
}

static int create(const struct options *o, bool gated, struct container *c, struct oci_running *run, struct err *e) {
    _cleanup_free_ void *block = NULL;
    _cleanup_close_ int gate = -EBADF;
    struct oci_spawn s = {.k = &kern_linux, .stdio = {0, 1, 2}, .gate_fd = -1};
    struct oci_fault f = {0};
    char now[CLOCK_TEXT_MAX];
    const struct plan_op *root;
    json_t *spec;
    size_t n;
    int r;

    *c = (struct container){.pid = -1};
    r = container_dir(o, c->dir, sizeof c->dir, e);
    spec = r == 0 ? load_spec(o, c->bundle, e) : NULL;
    if (!spec)
        return -ERR_INVALID;
    r = build_plan(o->id, spec, c->bundle, &block, &n, e);
    if (r == 0 && plan_open(block, n, &c->plan) < 0)
        r = err_set(e, ERR_INTERNAL, "the plan is not valid");
    if (r == 0 && plan_find(&c->plan, PLAN_CONSOLE) && o->detach && !o->console_socket)
        r = err_set(e, ERR_INVALID, "cannot allocate tty if the runtime will detach without setting console socket");
    if (r == 0 && !plan_find(&c->plan, PLAN_CONSOLE) && o->console_socket)
        r = err_set(e, ERR_INVALID, "cannot use console socket if the runtime will not detach or allocate tty");
    if (r == 0)
        r = fs_mkdir_p(o->root, 0711, e);
    if (r == 0 && mkdir(c->dir, 0711) < 0)
        r = errno == EEXIST ? err_set(e, ERR_CONFLICT, "container with given ID already exists") : err_errno(e, errno, "%s", c->dir);
    if (r < 0) {
        json_decref(spec);
        return r;
    }
    if (gated)
        r = gate = listen_at(c->dir, e);
    s.plan = &c->plan;
    s.gate_fd = gate;
    if (r >= 0 && oci_spawn(&s, run, &f) < 0)
        r = err_set(e, ERR_INTERNAL, "hatake-runtime %s failed: unable to start container process: %s", gated ? "create" : "run", f.text);
    if (r >= 0) {
        snprintf(c->id, sizeof c->id, "%s", o->id);
        clock_format(clock_wall_ns(), now);
        snprintf(c->created, sizeof c->created, "%s", now);
        root = plan_find(&c->plan, PLAN_ROOT_BIND);
        snprintf(c->rootfs, sizeof c->rootfs, "%s", root ? plan_s(&c->plan, root, 0) : "");
        c->pid = run->pid;
        c->ticks = process_ticks(run->pid);
        c->annotations = json_incref(json_object_get(spec, "annotations"));
        c->spec = json_incref(spec);
        r = container_store(c, block, n, e);
        if (r == 0)
            r = write_pid_file(o->pid_file, run->pid, e);
        if (r == 0 && run->pty >= 0 && o->console_socket)
            r = send_console(o->console_socket, run->pty, e);
        if (r < 0) {
            kill(run->pid, SIGKILL);
            waitpid(run->pid, NULL, 0);
            oci_cgroup_remove(&kern_linux, &c->plan);
        }
    }
    json_decref(spec);
    if (r < 0) {
        ignore_result(fs_remove_tree(c->dir, NULL));
        container_done(c);
        return r;
    }
    c->block = TAKE_PTR(block);
    return 0;
}

int cmd_create(const struct options *o, struct err *e) {
    struct options detached = *o;
    struct oci_running run;
    struct container c;
    int r;

    detached.detach = true;
    r = create(&detached, true, &c, &run, e);
    if (r == 0)
        container_done(&c);
    return r;
}

int cmd_start(const struct options *o, struct err *e) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = -EBADF, dir = -EBADF;
    struct container c;
    struct oci_fault f = {0};
    struct sync_fault m;
    ssize_t n;
    int r = container_load(o, &c, e);

    if (r < 0)
        return r;
    if (!streq(container_status(&c), "created")) {
        r = err_set(e, ERR_CONFLICT, "cannot start a container that has %s", streq(container_status(&c), "stopped") ? "stopped" : "already started");
        container_done(&c);
        return r;
    }
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    dir = open(c.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    snprintf(a.sun_path, sizeof a.sun_path, "/proc/self/fd/%d/start.sock", dir);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
        r = err_errno(e, errno, "starting container %s", c.id);
    else
        ignore_result(unlinkat(dir, "start.sock", 0));
    do
        n = r < 0 ? 0 : recv(fd, &m, sizeof m - 1, 0);
    while (n < 0 && errno == EINTR);
    if (r == 0 && n > 0) {
        ((char *)&m)[n] = 0;
        r = err_set(e, ERR_INTERNAL, "hatake-runtime start failed: %s", m.text);
    }
    if (r == 0 && run_hooks(&kern_linux, &c.plan, PLAN_HOOK_POSTSTART, c.pid, "running", &f) < 0)
        r = err_set(e, ERR_INTERNAL, "hatake-runtime start failed: %s", f.text);
    container_done(&c);
    return r;
}

/* ---- foreground ------------------------------------------------------------------------------------------------------- */

/* Copy between our terminal (or pipes) and the container's until it closes. */
static void relay(int pty, pid_t pid) {
    struct termios old, raw;
    bool tty = tcgetattr(0, &old) == 0, input = true;
    char block[4096];

    if (tty) {
        raw = old;
        cfmakeraw(&raw);
        tcsetattr(0, TCSANOW, &raw);
    }
    for (;;) {
        struct pollfd p[2] = {{pty, POLLIN, 0}, {input ? 0 : -1, POLLIN, 0}};
        ssize_t n;

        if (poll(p, 2, -1) < 0 && errno != EINTR)
            break;
        if (p[0].revents) {
            n = read(pty, block, sizeof block);
            if (n <= 0 || full_write(1, block, (size_t)n) < 0)
                break;
        }
        if (p[1].revents) {
            n = read(0, block, sizeof block);
            if (n <= 0 || full_write(pty, block, (size_t)n) < 0)
                input = false;
        }
    }
    if (tty)
        tcsetattr(0, TCSANOW, &old);
}

static int wait_code(pid_t pid) {
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static pid_t forward_to; /* for the handler only; one container per program run */

static void forward(int sig) {
    if (forward_to > 0)
        kill(forward_to, sig);
}

static int foreground(struct oci_running *run) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    struct sigaction sa = {.sa_handler = forward};

    forward_to = run->pid;
    for (size_t i = 0; i < ELEMENTSOF(signals); i++)
        sigaction(signals[i], &sa, NULL);
    if (run->pty >= 0)
        relay(run->pty, run->pid);
    return wait_code(run->pid);
}

int cmd_run(const struct options *o, struct err *e) {
    struct oci_running run;
    struct container c;
    int r = create(o, false, &c, &run, e), code = 0;

    if (r < 0)
        return r;
    if (!o->detach) {
        code = foreground(&run);
        oci_cgroup_signal(&kern_linux, &c.plan, SIGKILL, 0);
        ignore_result(oci_cgroup_remove(&kern_linux, &c.plan));
        ignore_result(fs_remove_tree(c.dir, NULL));
    }
    container_done(&c);
    return code;
}

/* ---- exec ------------------------------------------------------------------------------------------------------------- */

static json_t *exec_process(const struct options *o, const struct container *c, struct err *e) {
    json_t *p, *args, *env;

    if (o->process)
        return load_json(o->process, e);
    p = json_deep_copy(json_object_get(c->spec, "process"));
    args = json_array();
    if (!p || !args || !o->n_args) {
        json_decref(p);
        json_decref(args);
        err_set(e, ERR_INVALID, "exec: no command specified");
        return NULL;
    }
    for (int i = 0; i < o->n_args; i++)
        json_array_append_new(args, json_string(o->args[i]));
    json_object_set_new(p, "args", args);
    json_object_set_new(p, "terminal", json_boolean(o->tty));
    if (o->cwd)
        json_object_set_new(p, "cwd", json_string(o->cwd));
    if (o->no_new_privs)
        json_object_set_new(p, "noNewPrivileges", json_true());
    if (o->user) {
        int64_t uid = 0, gid = 0;
        const char *colon = strchr(o->user, ':');
        char text[32];

        snprintf(text, sizeof text, "%.*s", colon ? (int)(colon - o->user) : 31, o->user);
        if (parse_int_range(text, 0, UINT32_MAX - 1, &uid) < 0 || (colon && parse_int_range(colon + 1, 0, UINT32_MAX - 1, &gid) < 0)) {
            err_set(e, ERR_INVALID, "exec: --user %s: expected UID or UID:GID", o->user);
            json_decref(p);
            return NULL;
        }
        json_object_set_new(p, "user", json_pack("{s:I,s:I}", "uid", (json_int_t)uid, "gid", (json_int_t)gid));
    }
    env = json_object_get(p, "env");
    if (!env)
        json_object_set_new(p, "env", env = json_array());
    for (size_t i = 0; i < o->env.n; i++)
        json_array_append_new(env, json_string(o->env.v[i]));
    return p;
}

int cmd_exec(const struct options *o, struct err *e) {
    struct plan_builder b = PLAN_BUILDER_INIT;
    struct oci_spawn s = {.k = &kern_linux, .stdio = {0, 1, 2}, .gate_fd = -1};
    _cleanup_close_ int pidfd = -EBADF;
    _cleanup_free_ void *block = NULL;
    struct oci_running run;
    struct oci_fault f = {0};
    struct container c;
    struct plan plan;
    json_t *process;
    size_t n;
    int r = container_load(o, &c, e), code = 0;

    if (r < 0)
        return r;
    process = exec_process(o, &c, e);
    r = process ? oci_build_process(&b, process, c.spec, NULL, e) : -ERR_INVALID;
    if (r >= 0)
        r = plan_finish(&b, &block, &n, e);
    plan_builder_done(&b);
    json_decref(process);
    if (r >= 0 && plan_open(block, n, &plan) < 0)
        r = err_set(e, ERR_INTERNAL, "the plan is not valid");
    if (r >= 0 && streq(container_status(&c), "stopped"))
        r = err_set(e, ERR_CONFLICT, "exec failed: cannot exec in a stopped container");
    if (r >= 0 && (pidfd = kern_linux.pidfd_open(c.pid, 0)) < 0)
        r = err_errno(e, pidfd, "exec failed: pidfd_open");
    s.plan = &plan;
    if (r >= 0 && oci_enter(&s, &c.plan, c.pid, pidfd, &run, &f) < 0)
        r = err_set(e, ERR_INTERNAL, "exec failed: unable to start container process: %s", f.text);
    if (r >= 0)
        r = write_pid_file(o->pid_file, run.pid, e);
    if (r >= 0 && run.pty >= 0 && o->console_socket)
        r = send_console(o->console_socket, run.pty, e);
    if (r >= 0 && !o->detach)
        code = foreground(&run);
    container_done(&c);
    return r < 0 ? r : code;
}

int cmd_delete(const struct options *o, struct err *e) {
    struct oci_fault f = {0};
    struct container c;
    const char *status;
    int r = container_load(o, &c, e);

    if (r == -ERR_NOT_FOUND && o->force) {
        err_done(e);
        return 0;
    }
    if (r < 0)
        return r;
    status = container_status(&c);
    if (!streq(status, "stopped") && !streq(status, "created") && !o->force) {
        r = err_set(e, ERR_CONFLICT, "cannot delete container %s that is not stopped: %s", c.id, status);
        container_done(&c);
        return r;
    }
    if (streq(status, "paused"))
        ignore_result(oci_cgroup_freeze(&kern_linux, &c.plan, false));
    if (!streq(status, "stopped"))
        kill(c.pid, SIGKILL);
    for (int i = 0; i < 1000; i++) {
        if (oci_cgroup_signal(&kern_linux, &c.plan, SIGKILL, 0) == 0)
            break;
        usleep(5000);
    }
    ignore_result(oci_cgroup_remove(&kern_linux, &c.plan));
    if (oci_poststop(&kern_linux, &c.plan, &f) < 0)
        fprintf(stderr, "hatake-runtime: %s\n", f.text); /* by the specification: logged, and the rest goes on */
    r = fs_remove_tree(c.dir, e);
    container_done(&c);
    return r;
}
