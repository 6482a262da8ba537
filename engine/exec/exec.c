// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "container/keys.h"
#include "container/life.h"
#include "container/links.h"
#include "container/mounts.h"
#include "container/root.h"
#include "container/spec.h"
#include "exec/exec-internal.h"
#include "kern/apparmor.h"
#include "kern/proc.h"
#include "monitor/client.h"

#define KEEP_ENDED (300 * NSEC_PER_SEC)
#define SETTLE (2 * NSEC_PER_SEC)
#define START_WAIT (10 * NSEC_PER_SEC)
#define EXIT_NOT_STARTED 126
#define EXEC_FAILED "OCI runtime exec failed: exec failed: "

/* ---- instances ----------------------------------------------------------------------------------------------------------------------- */
struct exec *exec_ref(struct exec *x) {
    atomic_fetch_add_explicit(&x->refs, 1, memory_order_relaxed);
    return x;
}

struct exec *exec_unref(struct exec *x) {
    if (!x || atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    api_exec_create_request_done(&x->want);
    container_unref(x->c);
    free(x);
    return NULL;
}

int execs_new(struct engine *engine, struct execs **ret, struct err *e) {
    struct execs *xs = calloc(1, sizeof(*xs));
    pthread_condattr_t attr;

    if (!xs)
        return err_oom(e);
    xs->engine = engine;
    pthread_mutex_init(&xs->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&xs->change, &attr);
    pthread_condattr_destroy(&attr);
    *ret = xs;
    return 0;
}

static void unref_value(void *x) {
    exec_unref(x);
}

struct execs *execs_free(struct execs *xs) {
    if (!xs)
        return NULL;
    map_done_with(&xs->by_id, unref_value);
    pthread_cond_destroy(&xs->change);
    pthread_mutex_destroy(&xs->lock);
    free(xs);
    return NULL;
}

static bool is_forgotten(const struct exec *x, int64_t now) {
    return x->state == EXEC_EXITED && x->ended_mono < now - KEEP_ENDED;
}

/* Instances that ended a while ago are forgotten; with `c` all of that container. Needs the lock. */
static void sweep(struct execs *xs, const struct container *c) {
    int64_t now = clock_mono_ns();

    for (struct map_entry *i = NULL; (i = map_next(&xs->by_id, i));) {
        struct exec *x = i->value;

        if (c ? x->c == c : is_forgotten(x, now))
            exec_unref(map_remove(&xs->by_id, x->id));
    }
}

static void list_remove(struct container *c, const char *id) {
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->execs.n; i++)
        if (streq(c->execs.v[i], id)) {
            strv_remove_at(&c->execs, i);
            break;
        }
    pthread_mutex_unlock(&c->lock);
}

/* ---- events ---------------------------------------------------------------------------------------------------------------------------- */
static void tell(struct exec *x, const char *what, bool with_command) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JSON_BODY);
    char id[80];

    snprintf(id, sizeof(id), "execID=%s", x->id);
    buf_adds(&b, what);
    if (with_command) {
        buf_addf(&b, ": %s ", x->want.cmd.v[0]);
        for (size_t i = 1; i < x->want.cmd.n; i++)
            buf_addf(&b, "%s%s", i > 1 ? " " : "", x->want.cmd.v[i]);
    }
    container_event(x->c, buf_str(&b), id, NULL);
}

static void tell_end(struct exec *x, int code) {
    char id[80], text[32];

    snprintf(id, sizeof(id), "execID=%s", x->id);
    snprintf(text, sizeof(text), "exitCode=%d", code);
    container_event(x->c, "exec_die", id, text, NULL);
}

/* ---- create ---------------------------------------------------------------------------------------------------------------------------- */
/* Can something be done with a process in it? `called` is what the message calls it. */
static int check_container(struct container *c, const char *called, struct err *e) {
    _cleanup_view_ struct ctr_view *v = container_view(c);

    if (v->state == ctr_paused)
        return err_set(e, ERR_CONFLICT, "Container %s is paused, unpause the container before exec", called);
    if (v->state == ctr_restarting)
        return err_set(e, ERR_CONFLICT, "Container %s is restarting, wait until the container is running", c->id);
    if (v->state != ctr_running)
        return err_set(e, ERR_CONFLICT, "container %s is not running", c->id);
    return 0;
}

int execs_create(struct execs *xs, struct container *c, const char *called, struct api_exec_create_request *want, struct exec **ret, struct err *e) {
    _cleanup_strv_ struct strv env = STRV_INIT;
    struct exec *x;
    int r = check_container(c, called, e);

    /* Linked containers must be there now; what they have is looked up again at the start. */
    if (r >= 0)
        r = ctr_links_gather(c, &env, NULL, e);
    if (r < 0)
        return r;
    x = calloc(1, sizeof(*x));
    if (!x)
        return err_oom(e);
    atomic_init(&x->refs, 1);
    id_new(x->id);
    x->c = container_ref(c);
    if (!str_empty(want->detach_keys) && ctr_keys_parse(want->detach_keys, &x->keys) < 0) {
        exec_unref(x);
        return err_set(e, ERR_INTERNAL, "Invalid escape keys (%s) provided", want->detach_keys);
    }
    x->want = *want;
    *want = (struct api_exec_create_request){0};
    pthread_mutex_lock(&xs->lock);
    sweep(xs, NULL);
    r = map_set(&xs->by_id, x->id, x, NULL);
    pthread_mutex_unlock(&xs->lock);
    if (r < 0) {
        exec_unref(x);
        return err_oom(e);
    }
    pthread_mutex_lock(&c->lock);
    r = c->execs.n >= LIMIT_EXECS_PER_CONTAINER ? -ENOMEM : strv_add(&c->execs, x->id);
    pthread_mutex_unlock(&c->lock);
    if (r < 0) {
        pthread_mutex_lock(&xs->lock);
        exec_unref(map_remove(&xs->by_id, x->id));
        pthread_mutex_unlock(&xs->lock);
        return err_set(e, ERR_TOO_LARGE, "container %s has too many exec instances", c->id);
    }
    *ret = exec_ref(x);
    tell(x, "exec_create", true);
    return 0;
}

int execs_find(struct execs *xs, const char *id, struct exec **ret, struct err *e) {
    struct exec *x;

    pthread_mutex_lock(&xs->lock);
    x = map_get(&xs->by_id, id);
    if (x && is_forgotten(x, clock_mono_ns()))
        x = NULL;
    if (x)
        exec_ref(x);
    pthread_mutex_unlock(&xs->lock);
    if (!x)
        return err_set(e, ERR_NOT_FOUND, "No such exec instance: %s", id);
    *ret = x;
    return 0;
}

/* ---- start ----------------------------------------------------------------------------------------------------------------------------- */
int exec_claim(struct execs *xs, struct exec *x, struct err *e) {
    int r = check_container(x->c, x->c->id, e);

    if (r < 0)
        return r;
    pthread_mutex_lock(&xs->lock);
    r = x->state;
    if (x->state == EXEC_CREATED)
        x->state = EXEC_RUNNING;
    pthread_mutex_unlock(&xs->lock);
    if (r == EXEC_EXITED)
        return err_set(e, ERR_CONFLICT, "Error: Exec command %s has already run", x->id);
    if (r == EXEC_RUNNING)
        return err_set(e, ERR_CONFLICT, "Error: Exec command %s is already running", x->id);
    return 0;
}

static void over(struct execs *xs, struct exec *x, int code) {
    pthread_mutex_lock(&xs->lock);
    x->state = EXEC_EXITED;
    x->exit_code = code;
    x->has_exit_code = true;
    x->ended_mono = clock_mono_ns();
    pthread_cond_broadcast(&xs->change);
    pthread_mutex_unlock(&xs->lock);
    list_remove(x->c, x->id);
}

/* The running container's own root, as its processes see it. */
static int find_user(struct container *c, const struct ctr_view *v, const char *spec, struct ctr_user *ret, struct err *e) {
    _cleanup_close_ int root = proc_open_at((pid_t)v->pid, v->pid_ticks, "root", O_PATH | O_DIRECTORY);

    if (root < 0)
        return err_set(e, ERR_CONFLICT, "container %s is not running", c->id);
    return ctr_user_of_root(root, spec, &v->fixed->host.group_add, ret, e);
}

static json_t *list_of(const struct api_string_list *l) {
    json_t *a = json_array();

    for (size_t i = 0; i < l->n; i++)
        json_array_append_new(a, json_string(l->v[i]));
    return a;
}

/* The container's own: --privileged gives an exec capabilities, not another profile. Somebody may have unloaded ours since the start. */
static int set_profile(json_t *process, const char *profile, struct err *e) {
    int r = streq(profile, APPARMOR_DEFAULT) ? apparmor_load_default(e) : 0;

    if (r < 0)
        return r;
    return json_object_set_new(process, "apparmorProfile", json_string(profile)) < 0 ? err_oom(e) : 0;
}

static json_t *build_process(const struct engine_config *config, const struct exec *x, const struct ctr_view *v, const struct ctr_user *user,
                             int rows, int cols, struct err *e) {
    const struct ctr_fixed *f = v->fixed;
    const struct api_exec_create_request *w = &x->want;
    bool privileged = w->privileged || f->host.privileged;
    const char *cwd = !str_empty(w->working_dir) ? w->working_dir : !str_empty(f->config.working_dir) ? f->config.working_dir : "/";
    struct ctr_security sec = {0};
    _cleanup_strv_ struct strv links = STRV_INIT;
    struct ctr_spec_env from = {.fixed = f, .hostname = v->joined_hostname, .user = user, .tty = w->tty, .links = &links, .extra = &w->env};
    json_t *p, *caps, *env, *who, *limits;

    if (ctr_security_parse(&f->host.security_opt, &sec, e) < 0)
        return NULL;
    caps = ctr_spec_capabilities(&f->host, user->uid == 0, privileged, e);
    ignore_result(ctr_links_gather(x->c, &links, NULL, NULL));
    env = ctr_spec_env(&from, e);
    who = ctr_spec_user(user, e);
    limits = ctr_spec_rlimits(config, &f->host, e);
    p = json_pack("{s:o,s:o,s:o,s:o,s:o,s:I,s:s,s:b,s:b}", "user", who, "env", env, "capabilities", caps, "args", list_of(&w->cmd), "rlimits", limits,
                  "oomScoreAdj", (json_int_t)(f->host.has_oom_score_adj ? f->host.oom_score_adj : 0), "cwd", cwd, "terminal", (int)w->tty,
                  "noNewPrivileges", (int)(sec.no_new_privileges || (config->no_new_privileges && !f->host.privileged)));
    if (p && apparmor_usable() && set_profile(p, ctr_apparmor_profile(&f->host, &sec), e) < 0)
        p = (json_decref(p), NULL);
    if (p && w->tty && rows > 0 && cols > 0)
        json_object_set_new(p, "consoleSize", json_pack("{s:i,s:i}", "height", rows, "width", cols));
    if (!p && e && e->kind == ERR_NONE)
        err_oom(e);
    return p;
}

/* The container's document again: its seccomp filter and namespaces apply to the new process too. */
static int build_spec(struct container *c, const struct ctr_view *v, const struct ctr_user *user, json_t **ret, struct err *e) {
    struct ctr_spec_input in = {.config = c->cs->engine->config, .fixed = v->fixed, .user = user, .seccomp_text = c->cs->engine->seccomp_text};
    _cleanup_free_ const char **volumes = calloc(v->fixed->mounts.n + 1, sizeof(char *));
    size_t k = 0;

    if (!volumes)
        return err_oom(e);
    for (size_t i = 0; i < v->fixed->mounts.n; i++)
        if (v->fixed->mounts.v[i].kind == CTR_MOUNT_VOLUME)
            volumes[k++] = v->fixed->mounts.v[i].source;
    in.volume_paths = volumes;
    in.hostname = v->joined_hostname;
    return ctr_spec_build(&in, ret, e);
}

static int run(struct execs *xs, struct exec *x, struct launch_attach *client, int rows, int cols, int *ret_code, struct err *e) {
    struct container *c = x->c;
    _cleanup_view_ struct ctr_view *v = container_view(c);
    _cleanup_(ctr_user_done) struct ctr_user user = {0};
    _cleanup_monitor_ struct monitor *m = NULL;
    struct monitor_exec_request req = {.exec_id = x->id, .attach = client, .n_attach = client ? 1 : 0};
    const char *who = !str_empty(x->want.user) ? x->want.user : v->fixed->config.user;
    pid_t pid = 0;
    int r = container_monitor(c, &m, e);

    if (r >= 0 && !str_empty(x->want.working_dir) && x->want.working_dir[0] != '/')
        r = err_set(e, ERR_INTERNAL, EXEC_FAILED "Cwd must be an absolute path: unknown");
    for (size_t i = 0; r >= 0 && i < x->want.env.n; i++)
        if (x->want.env.v[i][0] == '=' || x->want.env.v[i][0] == '\0')
            r = err_set(e, ERR_INTERNAL,
                        EXEC_FAILED "unable to start container process: invalid environment variable: name cannot be empty: unknown");
    if (r >= 0)
        r = find_user(c, v, who, &user, e);
    if (r >= 0)
        r = build_spec(c, v, &user, &req.spec, e);
    if (r >= 0) {
        req.process = build_process(c->cs->engine->config, x, v, &user, rows, cols, e);
        r = req.process ? 0 : -(int)ERR_INTERNAL;
    }
    if (r >= 0) {
        req.stdin_open = client && client->want_stdin;
        r = monitor_exec(m, &req, &pid, ret_code, e);
        if (client)
            client->fd = -EBADF;
    }
    json_decref(req.process);
    json_decref(req.spec);
    if (r < 0)
        return r;
    pthread_mutex_lock(&xs->lock);
    x->pid = pid;
    pthread_cond_broadcast(&xs->change);
    pthread_mutex_unlock(&xs->lock);
    return 0;
}

int exec_run(struct execs *xs, struct exec *x, struct launch_attach *client, int rows, int cols, struct err *e) {
    int code = EXIT_NOT_STARTED, r;

    tell(x, "exec_start", true);
    r = run(xs, x, client, rows, cols, &code, e);
    /* What is missing in the container is the caller's fault. */
    if (r < 0 && e && e->kind == ERR_INTERNAL && strstr(err_msg(e), EXEC_FAILED) && strstr(err_msg(e), "no such file or directory")) {
        e->kind = ERR_INVALID;
        r = -(int)ERR_INVALID;
    }
    if (r < 0)
        over(xs, x, EXIT_NOT_STARTED); /* whatever the reason: that is what clients know */
    return r;
}

/* ---- the end --------------------------------------------------------------------------------------------------------------------------- */
void execs_exited(struct execs *xs, struct container *c, const char *exec_id, int code) {
    _cleanup_exec_ struct exec *x = NULL;
    bool again;

    if (!xs || execs_find(xs, exec_id, &x, NULL) < 0)
        return;
    pthread_mutex_lock(&xs->lock);
    again = x->told; /* a monitor that was found again repeats what nobody acknowledged */
    x->told = true;
    pthread_mutex_unlock(&xs->lock);
    if (again)
        return;
    over(xs, x, code);
    tell_end(x, code);
}

void execs_container_ended(struct execs *xs, struct container *c) {
    if (!xs)
        return;
    pthread_mutex_lock(&xs->lock);
    for (struct map_entry *i = NULL; (i = map_next(&xs->by_id, i));) {
        struct exec *x = i->value;

        if (x->c != c || x->state == EXEC_EXITED)
            continue;
        if (x->state == EXEC_CREATED) { /* what was never started can never be, even if the container is started again */
            exec_unref(map_remove(&xs->by_id, x->id));
            continue;
        }
        x->exit_code = 137;
        x->has_exit_code = true;
        x->state = EXEC_EXITED;
        x->ended_mono = clock_mono_ns();
    }
    pthread_cond_broadcast(&xs->change);
    pthread_mutex_unlock(&xs->lock);
    pthread_mutex_lock(&c->lock);
    strv_done(&c->execs);
    pthread_mutex_unlock(&c->lock);
}

void execs_container_removed(struct execs *xs, struct container *c) {
    if (!xs)
        return;
    pthread_mutex_lock(&xs->lock);
    sweep(xs, c);
    pthread_mutex_unlock(&xs->lock);
}

static bool is_running(int64_t pid) {
    struct proc_stat s;

    return proc_stat_of((pid_t)pid, &s) == 0 && proc_is_alive(&s);
}

static void wait_change(struct execs *xs, int64_t deadline) {
    struct timespec ts = {.tv_sec = deadline / NSEC_PER_SEC, .tv_nsec = deadline % NSEC_PER_SEC};

    pthread_cond_timedwait(&xs->change, &xs->lock, &ts);
}

void exec_settle(struct execs *xs, struct exec *x) {
    int64_t starting = clock_mono_ns() + START_WAIT, deadline, pid;

    pthread_mutex_lock(&xs->lock);
    /* Output can be at the client before the start's own thread has noted the process. */
    while (x->state == EXEC_RUNNING && x->pid == 0 && clock_mono_ns() < starting)
        wait_change(xs, starting);
    pid = x->state == EXEC_RUNNING ? x->pid : 0;
    pthread_mutex_unlock(&xs->lock);
    if (pid <= 0 || is_running(pid))
        return;
    deadline = clock_mono_ns() + SETTLE;
    pthread_mutex_lock(&xs->lock);
    while (x->state == EXEC_RUNNING && clock_mono_ns() < deadline)
        wait_change(xs, deadline);
    pthread_mutex_unlock(&xs->lock);
}

int exec_resize(struct execs *xs, struct exec *x, int rows, int cols, struct err *e) {
    int64_t deadline = clock_mono_ns() + START_WAIT;
    _cleanup_monitor_ struct monitor *m = NULL;
    enum exec_state state;
    int64_t pid;
    int r = check_container(x->c, x->c->id, e);

    if (r < 0)
        return r;
    /* Clients size the terminal while the start is still under way. */
    pthread_mutex_lock(&xs->lock);
    while (x->state != EXEC_EXITED && x->pid == 0 && clock_mono_ns() < deadline)
        wait_change(xs, deadline);
    state = x->state;
    pid = x->pid;
    pthread_mutex_unlock(&xs->lock);
    if (state == EXEC_EXITED && pid == 0)
        return err_set(e, ERR_INVALID, "exec process is not started");
    if (state == EXEC_EXITED)
        return err_set(e, ERR_NOT_FOUND, "process does not exist %s: not found", x->id);
    if (pid == 0)
        return err_set(e, ERR_INTERNAL, "timeout waiting for exec session ready");
    if (!x->want.tty)
        return 0;
    r = container_monitor(x->c, &m, e);
    return r < 0 ? r : monitor_exec_resize(m, x->id, rows, cols, e);
}
