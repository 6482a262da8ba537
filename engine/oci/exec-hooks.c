// SPDX-License-Identifier: Apache-2.0
/*
 * Hooks (runtime-spec, "POSIX-platform Hooks"): programs named by the caller of the API, never by an image (R21), run with exactly the environment of
 * the document (R13) and the container's state on standard input.
 */
#include "oci/exec-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/limits.h"

bool has_hooks(const struct plan *p, enum plan_hook_kind kind) {
    for (size_t i = 0; i < p->n_ops; i++)
        if (p->ops[i].type == PLAN_HOOK && p->ops[i].i[0] == (int64_t)kind)
            return true;
    return false;
}

/* Ids and bundle paths come from the engine; what would need escaping in JSON is left out of the state. */
static size_t state_text(const struct plan *p, pid_t pid, const char *status, char *ret, size_t cap) {
    const struct plan_op *op = plan_find(p, PLAN_CONTAINER);
    const char *id = op ? plan_s(p, op, 0) : "", *bundle = op ? plan_s(p, op, 1) : "";
    int n;

    if (strpbrk(id, "\"\\\n"))
        id = "";
    if (strpbrk(bundle, "\"\\\n"))
        bundle = "";
    n = snprintf(ret, cap, "{\"ociVersion\":\"1.2.0\",\"id\":\"%s\",\"status\":\"%s\",\"pid\":%d,\"bundle\":\"%s\"}", id, status, (int)pid, bundle);
    return n < (int)cap ? (size_t)n : 0;
}

static char **list_of(const struct plan *p, const struct plan_op *op, int k, const char *first) {
    size_t n = plan_list_n(p, op, k) + 2, at = 0;
    char **v = mmap(NULL, n * sizeof *v, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (v == MAP_FAILED)
        _exit(127);
    for (const char *s = NULL; (s = plan_list_next(p, op, k, s));)
        v[at++] = (char *)(uintptr_t)s;
    if (!at && first)
        v[at++] = (char *)(uintptr_t)first;
    v[at] = NULL;
    return v;
}

static int run_one(const struct kern *k, const struct plan *p, const struct plan_op *op, int input) {
    pid_t pid = fork();
    struct pollfd poll_fd;
    int status = 0, fd, n;

    if (pid < 0)
        return -errno;
    if (pid == 0) {
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (dup2(input, 0) < 0)
            _exit(127);
        k->close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
        k->execve(plan_s(p, op, 0), list_of(p, op, 1, plan_s(p, op, 0)), list_of(p, op, 2, NULL));
        _exit(127);
    }
    fd = k->pidfd_open(pid, 0);
    poll_fd = (struct pollfd){fd, POLLIN, 0};
    do
        n = fd < 0 ? 1 : poll(&poll_fd, 1, op->i[1] > 0 ? (int)(op->i[1] > 86400 ? 86400000 : op->i[1] * 1000) : -1);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        kill(pid, SIGKILL);
    close_fd(fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return n == 0 ? -ETIMEDOUT : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int run_hooks(const struct kern *k, const struct plan *p, enum plan_hook_kind kind, pid_t pid, const char *status, struct oci_fault *f) {
    char text[4096 + 256];
    size_t n = state_text(p, pid, status, text, sizeof text);
    int number = 0;

    for (size_t i = 0; i < p->n_ops; i++) {
        const struct plan_op *op = &p->ops[i];
        int fds[2], r;

        if (op->type != PLAN_HOOK || op->i[0] != (int64_t)kind)
            continue;
        if (pipe2(fds, O_CLOEXEC) < 0)
            return fault_set(f, errno, "error running hook #%d", number);
        ignore_result(write(fds[1], text, n)); /* less than a pipe holds */
        close_fd(fds[1]);
        r = run_one(k, p, op, fds[0]);
        close_fd(fds[0]);
        if (r < 0)
            return fault_set(f, r, "error running hook #%d", number);
        if (r > 0)
            return fault_set(f, 0, "error running hook #%d: error running hook: exit status %d, stdout: , stderr: ", number, r);
        number++;
    }
    return 0;
}
