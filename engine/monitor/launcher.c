// SPDX-License-Identifier: Apache-2.0
/* The launcher process: small, one thread, forked from the daemon before it has threads. It starts monitors by vfork and forgets them. */
#include "monitor/launcher-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "kern/kern.h"
#include "monitor/launcher-mounts.h"
#include "monitor/proto.h"
#include "oci/exec.h"
#include "oci/plan.h"

struct launching {
    const char *monitor_path;
    int null;
    int few, host; /* mount namespaces (launcher-mounts.h), or few is -EBADF */
};

/* Descriptors of the monitor: 0-2 the null device, 3 the plan, 4 its control socket. */
static int spawn_monitor(const struct launching *l, bool host_mounts, int plan, int control, pid_t *ret_pid) {
    static char name[] = "hatake-monitor";
    char *argv[] = {name, NULL}, *env[] = {NULL};
    posix_spawn_file_actions_t fa;
    int r;

    /* dup2 of a descriptor onto itself would leave it close-on-exec: lift both out of the way first. */
    plan = fcntl(plan, F_DUPFD_CLOEXEC, 16);
    control = fcntl(control, F_DUPFD_CLOEXEC, 16);
    r = posix_spawn_file_actions_init(&fa);
    if (r == 0) {
        for (int fd = 0; fd < 3; fd++)
            posix_spawn_file_actions_adddup2(&fa, l->null, fd);
        posix_spawn_file_actions_adddup2(&fa, plan, MP_PLAN_FD);
        posix_spawn_file_actions_adddup2(&fa, control, MP_CONTROL_FD);
        if (!host_mounts && l->few >= 0)
            r = kern_linux.setns(l->few, CLONE_NEWNS) < 0 ? errno : 0;
        if (r == 0)
            r = posix_spawn(ret_pid, l->monitor_path, &fa, NULL, argv, env);
        if (!host_mounts && l->few >= 0 && kern_linux.setns(l->host, CLONE_NEWNS) < 0)
            _exit(1); /* the next one would start without the machine's mounts */
        posix_spawn_file_actions_destroy(&fa);
    }
    close_fd(plan);
    close_fd(control);
    return r;
}

/* In a process of its own, because the launcher has to stay where it is. */
static int run_netns(int plan_fd, int netns, int sync, pid_t *ret_pid) {
    struct plan plan;
    struct stat st;
    void *mem;

    *ret_pid = fork();
    if (*ret_pid != 0)
        return *ret_pid < 0 ? errno : 0;
    prctl(PR_SET_NAME, "hatake-netns", 0, 0, 0);
    if (fstat(plan_fd, &st) < 0)
        _exit(1);
    mem = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, plan_fd, 0);
    if (mem == MAP_FAILED || plan_open(mem, (size_t)st.st_size, &plan) < 0)
        _exit(1);
    oci_netns_child(&kern_linux, &plan, netns, sync);
}

/* In the daemon's log, whose level it had when it started. */
static void say(const struct mp_head *q, const struct mp_head *answer) {
    char trace[20], pid[16];

    if (!log_enabled(answer->v[0] ? LOG_LVL_ERROR : LOG_LVL_DEBUG))
        return;
    snprintf(trace, sizeof trace, "%016llx", (unsigned long long)q->trace);
    snprintf(pid, sizeof pid, "%lld", (long long)answer->v[1]);
    log_set_trace(q->trace ? trace : NULL);
    if (answer->v[0])
        log_kv(LOG_LVL_ERROR, "a process could not be started", "process", "hatake-launcher", "error", strerrordesc_np((int)answer->v[0]), NULL);
    else
        log_kv(LOG_LVL_DEBUG, q->type == MP_NETNS ? "a network is changed" : "a monitor is started", "process", "hatake-launcher", "child", pid,
               NULL);
    log_set_trace(NULL);
}

void launcher_process(int sock, const char *monitor_path, const struct launcher_config *config) {
    struct sigaction ignore_children = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t none;
    struct launching l = {.monitor_path = monitor_path, .few = -EBADF, .host = -EBADF};
    const char *folders[] = {config->data_root ? realpath(config->data_root, NULL) : NULL,
                             config->exec_root ? realpath(config->exec_root, NULL) : NULL, monitor_path, NULL};
    static char body[MP_BODY_MAX + 1];

    sock = dup2(sock, 3);
    if (sock < 0)
        _exit(1);
    kern_linux.close_range(4, ~0u, 0);
    l.null = open("/dev/null", O_RDWR | O_CLOEXEC);
    fcntl(sock, F_SETFD, FD_CLOEXEC);
    for (int s = 1; s < NSIG; s++)
        if (s != SIGKILL && s != SIGSTOP)
            sigaction(s, &dfl, NULL);
    sigaction(SIGCHLD, &ignore_children, NULL);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    prctl(PR_SET_NAME, "hatake-launcher", 0, 0, 0);
    if (folders[0] && folders[1])
        l.few = launcher_few_mounts(&kern_linux, folders, &l.host);
    ignore_result(chdir("/"));
    for (;;) {
        int fds[MP_FDS_MAX], n_fds;
        struct mp_head h, answer = {.type = MP_REPLY};
        int view = -EBADF;
        int r = mp_recv(sock, &h, body, sizeof body, fds, &n_fds, 0);

        if (r <= 0)
            _exit(0); /* the daemon is gone; monitors live on */
        answer.seq = h.seq;
        if (h.type == MP_SPAWN && n_fds == 2) {
            pid_t pid = -1;

            answer.v[0] = spawn_monitor(&l, h.v[0] != 0, fds[0], fds[1], &pid);
            answer.v[1] = pid;
        } else if (h.type == MP_NETNS && n_fds == 3) {
            pid_t pid = -1;

            answer.v[0] = run_netns(fds[0], fds[1], fds[2], &pid);
            answer.v[1] = pid;
        } else if (h.type == MP_SHM) {
            answer.v[0] = -launcher_mount_shm(&kern_linux, body, h.v[0], (uid_t)h.v[1], (gid_t)h.v[2]);
        } else if (h.type == MP_VIEW) {
            view = launcher_mount_view(&kern_linux, body, h.len);
            answer.v[0] = view < 0 ? -view : 0;
        } else {
            answer.v[0] = EPROTO;
        }
        if (h.type == MP_SPAWN || h.type == MP_NETNS)
            say(&h, &answer);
        for (int i = 0; i < n_fds; i++)
            close_fd(fds[i]);
        ignore_result(mp_send(sock, &answer, NULL, &view, view >= 0 ? 1 : 0, 0));
        close_fd(view);
    }
}
