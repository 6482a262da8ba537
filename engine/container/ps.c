// SPDX-License-Identifier: Apache-2.0
/* GET /containers/{id}/top with arguments that need the machine's ps: of its lines those of the container. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/engine.h"
#include "base/limits.h"
#include "base/spawn.h"
#include "base/str.h"
#include "container/more.h"

#define PS_OUTPUT MIB(16)
#define PS_ARGUMENTS 256
#define PS_TIME (10 * NSEC_PER_SEC)

/* ---- arguments --------------------------------------------------------------------------------------------------------------------------- */
static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* " NAME= PID...": a column under a borrowed title. */
int ctr_top_check(const char *s, struct err *e) {
    for (size_t i = 1; s[0] && s[i]; i++) {
        size_t name = i, eq, value, end;

        if (!is_blank(s[i - 1]) || is_blank(s[i]))
            continue;
        for (end = i; s[end] && !is_blank(s[end]); end++)
            ;
        for (eq = end; eq > name && s[eq - 1] != '='; eq--)
            ;
        if (eq == name)
            continue;
        for (value = eq; value == end && is_blank(s[end]); value++, end++)
            ;
        if (strncmp(s + value, "PID", 3) != 0 || (eq - name == 4 && strncmp(s + name, "pid=", 4) == 0))
            continue;
        for (end = value; s[end] && !is_blank(s[end]); end++)
            ;
        return err_set(e, ERR_INTERNAL, "specifying \"%.*s=%.*s\" is not allowed", (int)(eq - 1 - name), s + name, (int)(end - value), s + value);
    }
    return 0;
}

static int split_fields(struct strv *ret, const char *s, size_t max, struct err *e) {
    while (*s && ret->n < max) {
        size_t n = 0;

        while (is_blank(*s))
            s++;
        while (s[n] && !is_blank(s[n]))
            n++;
        if (n > 0 && strv_addn(ret, s, n) < 0)
            return err_oom(e);
        s += n;
    }
    return 0;
}

/* ---- running ps -------------------------------------------------------------------------------------------------------------------------- */
struct ps {
    struct buf out, err;
    int status;
};

static int spawn(char *const *argv, int out, int err, pid_t *ret, struct err *e) {
    /* Fixed places: the engine's own PATH is not asked. */
    static const char *const places[] = {"/usr/bin/ps", "/bin/ps"};
    char *envp[] = {(char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    const struct spawn_fd fds[] = {{out, STDOUT_FILENO}, {err, STDERR_FILENO}};
    int r = -(int)ERR_NOT_FOUND;

    for (size_t i = 0; r == -(int)ERR_NOT_FOUND && i < ELEMENTSOF(places); i++)
        r = spawn_start(places[i], argv, envp, fds, ELEMENTSOF(fds), ret, e);
    return r == -(int)ERR_NOT_FOUND ? err_set(e, ERR_NOT_IMPLEMENTED, "ps: exec: \"ps\": executable file not found in $PATH") : r;
}

/* 1: there may be more; 0: end. */
static int drain(int fd, struct buf *b) {
    void *p = buf_reserve(b, KIB(16));
    ssize_t n = p ? read(fd, p, KIB(16)) : -1;

    if (n > 0)
        buf_commit(b, (size_t)n);
    return n > 0 || (n < 0 && p && (errno == EINTR || errno == EAGAIN));
}

static int collect(struct ps *ps, int out, int err, struct err *e) {
    int64_t deadline = clock_mono_ns() + PS_TIME;
    struct pollfd f[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};

    while (f[0].fd >= 0 || f[1].fd >= 0) {
        int64_t left = deadline - clock_mono_ns();

        if (left <= 0)
            return err_set(e, ERR_DEADLINE, "ps does not answer");
        if (poll(f, 2, (int)(left / NSEC_PER_MSEC) + 1) < 0 && errno != EINTR)
            return err_errno(e, errno, "ps");
        for (size_t i = 0; i < 2; i++)
            if (f[i].fd >= 0 && f[i].revents && !drain(f[i].fd, i ? &ps->err : &ps->out))
                f[i].fd = -1;
    }
    return buf_check(&ps->out, e);
}

static int run_ps(struct ps *ps, char *const *argv, struct err *e) {
    _cleanup_close_ int out0 = -EBADF, out1 = -EBADF, err0 = -EBADF, err1 = -EBADF;
    int out[2], err[2], r;
    pid_t pid;

    r = spawn_pipe(out, e);
    if (r < 0)
        return r;
    out0 = out[0];
    out1 = out[1];
    r = spawn_pipe(err, e);
    if (r < 0)
        return r;
    err0 = err[0];
    err1 = err[1];
    r = spawn(argv, out1, err1, &pid, e);
    if (r < 0)
        return r;
    out1 = close_fd(out1);
    err1 = close_fd(err1);
    r = collect(ps, out0, err0, e);
    if (r < 0)
        kill(-pid, SIGKILL);
    ps->status = spawn_wait(pid);
    return r;
}

static int ps_arguments(const char *ps_args, const int64_t *pids, size_t n, struct strv *ret, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(MIB(1));

    if (strv_add(ret, "ps") < 0)
        return err_oom(e);
    if (split_fields(ret, ps_args, PS_ARGUMENTS, e) < 0)
        return -(int)ERR_INTERNAL;
    if (!pids)
        return 0;
    buf_adds(&b, "-q");
    for (size_t i = 0; i < n; i++)
        buf_addf(&b, "%s%lld", i ? "," : "", (long long)pids[i]);
    return buf_ok(&b) && strv_add(ret, buf_str(&b)) == 0 ? 0 : err_oom(e);
}

static int first_line(const struct ps *ps, struct err *e) {
    const char *s = buf_str(&ps->err);
    int n = (int)strcspn(s, "\n");

    if (n > 0)
        return err_set(e, ERR_INTERNAL, "ps: %.*s", n, s);
    return WIFSIGNALED(ps->status) ? err_set(e, ERR_INTERNAL, "ps: signal: %s", strsignal(WTERMSIG(ps->status)))
                                   : err_set(e, ERR_INTERNAL, "ps: exit status %d", WEXITSTATUS(ps->status));
}

/* ---- reading it -------------------------------------------------------------------------------------------------------------------------- */
static bool has_pid(const int64_t *pids, size_t n, int64_t pid) {
    for (size_t i = 0; i < n; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

/* The last column takes the rest of the line, its words one blank apart. */
static int add_process(struct api_container_top_response *ret, const struct strv *fields, struct err *e) {
    size_t columns = ret->titles.n;
    _cleanup_buf_ struct buf rest = BUF_INIT(MIB(4));
    struct api_string_list *row = api_string_list_list_add(&ret->processes);
    int r = row ? 0 : err_oom(e);

    if (row)
        row->set = true;
    for (size_t i = 0; r >= 0 && i + 1 < columns && i < fields->n; i++)
        r = api_string_list_add(row, fields->v[i], e);
    for (size_t i = columns - 1; i < fields->n; i++)
        buf_addf(&rest, "%s%s", i + 1 > columns ? " " : "", fields->v[i]);
    if (r >= 0)
        r = buf_check(&rest, e);
    return r < 0 ? r : api_string_list_add(row, buf_str(&rest), e);
}

static int add_line(struct api_container_top_response *ret, const char *line, size_t pid_at, const int64_t *pids, size_t n_pids, bool *last_ours,
                    struct err *e) {
    _cleanup_strv_ struct strv fields = STRV_INIT;
    int64_t pid;
    int r = split_fields(&fields, line, SIZE_MAX, e);

    if (r < 0 || fields.n == 0)
        return r;
    if (fields.n <= pid_at)
        return err_set(e, ERR_INTERNAL, "Unexpected pid '': strconv.Atoi: parsing \"\": invalid syntax");
    /* Lines of threads have no number of their own: they belong to the process above. */
    if (streq(fields.v[pid_at], "-"))
        return *last_ours ? add_process(ret, &fields, e) : 0;
    if (parse_i64(fields.v[pid_at], &pid) < 0)
        return err_set(e, ERR_INTERNAL, "Unexpected pid '%s': strconv.Atoi: parsing \"%s\": invalid syntax", fields.v[pid_at], fields.v[pid_at]);
    *last_ours = has_pid(pids, n_pids, pid);
    return *last_ours ? add_process(ret, &fields, e) : 0;
}

int ctr_top_parse(const char *text, const int64_t *pids, size_t n_pids, struct api_container_top_response *ret, struct err *e) {
    _cleanup_strv_ struct strv lines = STRV_INIT, titles = STRV_INIT;
    size_t pid_at = 0;
    bool last_ours = false;
    int r;

    if (strv_split(&lines, text, '\n') < 0)
        return err_oom(e);
    r = split_fields(&titles, lines.v[0], SIZE_MAX, e);
    for (size_t i = 0; r >= 0 && i < titles.n; i++)
        r = api_string_list_add(&ret->titles, titles.v[i], e);
    while (pid_at < titles.n && !streq(titles.v[pid_at], "PID"))
        pid_at++;
    if (r >= 0 && pid_at == titles.n)
        return err_set(e, ERR_INTERNAL, "Couldn't find PID field in ps output");
    for (size_t i = 1; r >= 0 && i < lines.n; i++)
        r = add_line(ret, lines.v[i], pid_at, pids, n_pids, &last_ours, e);
    return r;
}

/* ---- the operation ----------------------------------------------------------------------------------------------------------------------- */
static int check_runs(const struct ctr_view *v, struct err *e) {
    if (v->state == ctr_restarting)
        return err_set(e, ERR_CONFLICT, "Container %s is restarting, wait until the container is running", v->fixed->id);
    return ctr_state_alive(v->state) ? 0 : err_set(e, ERR_CONFLICT, "container %s is not running", v->fixed->id);
}

static int list_processes(struct ps *ps, const char *ps_args, const int64_t *pids, size_t n, struct err *e) {
    _cleanup_strv_ struct strv few = STRV_INIT, all = STRV_INIT;
    int r = ps_arguments(ps_args, pids, n, &few, e);

    if (r >= 0)
        r = ps_arguments(ps_args, NULL, 0, &all, e);
    if (r >= 0)
        r = run_ps(ps, few.v, e);
    if (r < 0 || (WIFEXITED(ps->status) && WEXITSTATUS(ps->status) == 0))
        return r;
    /* Some arguments do not go together with a choice of processes: then all of them, and the choice is ours. */
    buf_reset(&ps->out);
    buf_reset(&ps->err);
    r = run_ps(ps, all.v, e);
    return r < 0 || (WIFEXITED(ps->status) && WEXITSTATUS(ps->status) == 0) ? r : first_line(ps, e);
}

static int top_by_ps(struct container *c, const struct ctr_view *v, const char *ps_args, struct api_container_top_response *ret, struct err *e) {
    _cleanup_free_ char *group = ctr_cgroup_path(c->cs->engine->config, v->fixed);
    _cleanup_free_ int64_t *pids = NULL;
    size_t n = 0;
    struct ps ps = {.out = BUF_INIT(PS_OUTPUT), .err = BUF_INIT(KIB(64))};
    int r = group ? ctr_cgroup_pids(group, &pids, &n, e) : err_oom(e);

    if (r >= 0)
        r = list_processes(&ps, ps_args, pids, n, e);
    if (r >= 0)
        r = ctr_top_parse(buf_str(&ps.out), pids, n, ret, e);
    buf_done(&ps.out);
    buf_done(&ps.err);
    return r;
}

int container_top(struct container *c, const char *ps_args, struct api_container_top_response *ret, struct err *e) {
    _cleanup_view_ struct ctr_view *v = container_view(c);
    const char *args = str_empty(ps_args) ? "-ef" : ps_args;
    int r = check_runs(v, e);

    if (r >= 0 && !streq(args, "-ef") && !streq(args, "aux")) {
        r = top_by_ps(c, v, args, ret, e);
        if (r == -(int)ERR_NOT_IMPLEMENTED)
            r = ctr_top_own(v, args, ret, e);
    } else if (r >= 0) {
        r = ctr_top_own(v, args, ret, e);
    }
    if (r >= 0)
        container_event(c, "top", NULL);
    return r;
}
