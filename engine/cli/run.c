// SPDX-License-Identifier: Apache-2.0
/* run and exec: create, attach, start, copy streams, tell the exit code. */
#include "base/str.h"
#include "cli/attach.h"
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/parse.h"

/* What the options of run set. Lists are named as the fields of the API they go to. */
struct run_options {
    bool detach, interactive, tty, remove, init, read_only, privileged, publish_all, no_healthcheck;
    const char *name, *hostname, *user, *workdir, *entrypoint, *network, *memory, *memory_swap, *cpus, *restart, *pids, *shm, *stop_signal,
        *stop_timeout, *platform, *pull, *keys, *log_driver, *cidfile, *ipc, *pid, *runtime, *cpuset;
    struct strv publish, volumes, env, env_files, labels, cap_add, cap_drop, security, hosts, dns, tmpfs, log_options, volumes_from, groups, devices;
};

static void run_options_done(struct run_options *o) {
    struct strv *const lists[] = {&o->publish, &o->volumes, &o->env,   &o->env_files,   &o->labels,       &o->cap_add, &o->cap_drop, &o->security,
                                  &o->hosts,   &o->dns,     &o->tmpfs, &o->log_options, &o->volumes_from, &o->groups,  &o->devices};

    for (size_t i = 0; i < ELEMENTSOF(lists); i++)
        strv_done(lists[i]);
}

/* ---- the request ---- */

static int set_text(json_t *to, const char *key, const char *value, struct err *e) {
    return value && json_object_set_new(to, key, json_string(value)) < 0 ? err_oom(e) : 0;
}

static int set_flag(json_t *to, const char *key, bool value, struct err *e) {
    return json_object_set_new(to, key, json_boolean(value)) < 0 ? err_oom(e) : 0;
}

static int set_number(json_t *to, const char *key, int64_t value, struct err *e) {
    return json_object_set_new(to, key, json_integer(value)) < 0 ? err_oom(e) : 0;
}

static int set_list(json_t *to, const char *key, char *const *v, size_t n, struct err *e) {
    json_t *list;

    if (n == 0)
        return 0;
    list = json_array();
    for (size_t i = 0; i < n; i++)
        if (json_array_append_new(list, json_string(v[i])) < 0) {
            json_decref(list);
            return err_set(e, ERR_INVALID, "\"%s\" is no UTF-8 text", v[i]);
        }
    return json_object_set_new(to, key, list) < 0 ? err_oom(e) : 0;
}

static int set_bytes(json_t *to, const char *key, const char *option, const char *text, struct err *e) {
    int64_t n;
    int r;

    if (!text)
        return 0;
    if (streq(text, "-1"))
        return set_number(to, key, -1, e);
    r = parse_bytes(text, option, &n, e);
    return r < 0 ? r : set_number(to, key, n, e);
}

static int set_whole(json_t *to, const char *key, const char *option, const char *text, struct err *e) {
    int64_t n;

    if (!text)
        return 0;
    if (parse_i64(text, &n) < 0)
        return err_set(e, ERR_INVALID, "%s is a whole number, not \"%s\"", option, text);
    return set_number(to, key, n, e);
}

/* Create an empty member and return it, borrowed. */
static json_t *member(json_t *to, const char *key, json_t *value) {
    return json_object_set_new(to, key, value) < 0 ? NULL : json_object_get(to, key);
}

static int fill_environment(const struct run_options *o, json_t *body, struct err *e) {
    _cleanup_strv_ struct strv env = STRV_INIT;
    int r = 0;

    for (size_t i = 0; i < o->env_files.n && r >= 0; i++)
        r = parse_env_file(o->env_files.v[i], &env, e);
    for (size_t i = 0; i < o->env.n && r >= 0; i++)
        r = parse_env(o->env.v[i], &env, e);
    return r < 0 ? r : set_list(body, "Env", env.v, env.n, e);
}

static int fill_config(const struct run_options *o, const struct strv *words, json_t *body, struct err *e) {
    json_t *labels = member(body, "Labels", json_object());
    bool attached = !o->detach;
    char *entrypoint[] = {(char *)o->entrypoint};
    int r = json_made(labels, e);

    for (size_t i = 0; i < o->labels.n && r >= 0; i++)
        r = parse_label(o->labels.v[i], labels, e);
    if (r < 0 || (r = set_text(body, "Image", words->v[0], e)) < 0 || (r = set_list(body, "Cmd", words->v + 1, words->n - 1, e)) < 0)
        return r;
    if (o->entrypoint && *o->entrypoint)
        r = set_list(body, "Entrypoint", entrypoint, 1, e);
    else if (o->entrypoint)
        r = json_object_set_new(body, "Entrypoint", json_pack("[s]", "")) < 0 ? err_oom(e) : 0;
    if (r < 0 || (r = set_text(body, "Hostname", o->hostname, e)) < 0 || (r = set_text(body, "User", o->user, e)) < 0 ||
        (r = set_text(body, "WorkingDir", o->workdir, e)) < 0 || (r = set_text(body, "StopSignal", o->stop_signal, e)) < 0 ||
        (r = set_whole(body, "StopTimeout", "--stop-timeout", o->stop_timeout, e)) < 0 || (r = set_flag(body, "Tty", o->tty, e)) < 0 ||
        (r = set_flag(body, "OpenStdin", o->interactive, e)) < 0 || (r = set_flag(body, "StdinOnce", o->interactive && attached, e)) < 0 ||
        (r = set_flag(body, "AttachStdin", o->interactive && attached, e)) < 0 || (r = set_flag(body, "AttachStdout", attached, e)) < 0 ||
        (r = set_flag(body, "AttachStderr", attached, e)) < 0)
        return r;
    if (o->no_healthcheck && json_object_set_new(body, "Healthcheck", json_pack("{s[s]}", "Test", "NONE")) < 0)
        return err_oom(e);
    return fill_environment(o, body, e);
}

static int fill_storage(const struct run_options *o, json_t *body, json_t *host, struct err *e) {
    json_t *binds = member(host, "Binds", json_array()), *volumes = member(body, "Volumes", json_object());
    json_t *tmpfs = member(host, "Tmpfs", json_object());
    int r = binds && volumes && tmpfs ? 0 : err_oom(e);

    for (size_t i = 0; i < o->volumes.n && r >= 0; i++)
        r = parse_volume(o->volumes.v[i], binds, volumes, e);
    for (size_t i = 0; i < o->tmpfs.n && r >= 0; i++) {
        const char *text = o->tmpfs.v[i], *colon = strchr(text, ':');
        _cleanup_free_ char *path = colon ? strndup(text, (size_t)(colon - text)) : str_dup(text);

        r = !path || json_object_set_new(tmpfs, path, json_string(colon ? colon + 1 : "")) < 0 ? err_oom(e) : 0;
    }
    if (r >= 0)
        r = set_list(host, "VolumesFrom", o->volumes_from.v, o->volumes_from.n, e);
    if (r >= 0)
        r = set_flag(host, "ReadonlyRootfs", o->read_only, e);
    return r;
}

static int fill_network(const struct run_options *o, json_t *body, json_t *host, struct err *e) {
    json_t *exposed = member(body, "ExposedPorts", json_object()), *bindings = member(host, "PortBindings", json_object());
    int r = exposed && bindings ? 0 : err_oom(e);

    for (size_t i = 0; i < o->publish.n && r >= 0; i++)
        r = parse_port(o->publish.v[i], exposed, bindings, e);
    if (r < 0 || (r = set_flag(host, "PublishAllPorts", o->publish_all, e)) < 0 ||
        (r = set_text(host, "NetworkMode", o->network ? o->network : "default", e)) < 0 ||
        (r = set_list(host, "ExtraHosts", o->hosts.v, o->hosts.n, e)) < 0)
        return r;
    return set_list(host, "Dns", o->dns.v, o->dns.n, e);
}

static int fill_limits(const struct run_options *o, json_t *host, struct err *e) {
    json_t *restart = NULL;
    int64_t nano = 0;
    int r;

    if (o->cpus && ((r = parse_cpus(o->cpus, &nano, e)) < 0 || (r = set_number(host, "NanoCpus", nano, e)) < 0))
        return r;
    if (o->restart &&
        ((r = parse_restart(o->restart, &restart, e)) < 0 || (r = json_object_set_new(host, "RestartPolicy", restart) ? err_oom(e) : 0) < 0))
        return r;
    if ((r = set_bytes(host, "Memory", "--memory", o->memory, e)) < 0 ||
        (r = set_bytes(host, "MemorySwap", "--memory-swap", o->memory_swap, e)) < 0 ||
        (r = set_bytes(host, "ShmSize", "--shm-size", o->shm, e)) < 0 || (r = set_whole(host, "PidsLimit", "--pids-limit", o->pids, e)) < 0)
        return r;
    return set_text(host, "CpusetCpus", o->cpuset, e);
}

static int fill_logging(const struct run_options *o, json_t *host, struct err *e) {
    json_t *log, *options;
    int r = 0;

    if (!o->log_driver && o->log_options.n == 0)
        return 0;
    log = member(host, "LogConfig", json_object());
    options = log ? member(log, "Config", json_object()) : NULL;
    if (!options)
        return err_oom(e);
    for (size_t i = 0; i < o->log_options.n && r >= 0; i++)
        r = parse_label(o->log_options.v[i], options, e);
    return r < 0 ? r : set_text(log, "Type", o->log_driver, e);
}

static int fill_host(const struct run_options *o, json_t *body, json_t *host, struct err *e) {
    int rows = 0, columns = 0, r;

    if (o->tty && terminal_size(&rows, &columns) && json_object_set_new(host, "ConsoleSize", json_pack("[ii]", rows, columns)) < 0)
        return err_oom(e);
    if (o->init && (r = set_flag(host, "Init", true, e)) < 0)
        return r;
    if ((r = set_flag(host, "AutoRemove", o->remove, e)) < 0 || (r = set_flag(host, "Privileged", o->privileged, e)) < 0 ||
        (r = set_list(host, "CapAdd", o->cap_add.v, o->cap_add.n, e)) < 0 || (r = set_list(host, "CapDrop", o->cap_drop.v, o->cap_drop.n, e)) < 0 ||
        (r = set_list(host, "SecurityOpt", o->security.v, o->security.n, e)) < 0 ||
        (r = set_list(host, "GroupAdd", o->groups.v, o->groups.n, e)) < 0 || (r = set_text(host, "IpcMode", o->ipc, e)) < 0 ||
        (r = set_text(host, "PidMode", o->pid, e)) < 0 || (r = set_text(host, "Runtime", o->runtime, e)) < 0)
        return r;
    if ((r = fill_storage(o, body, host, e)) < 0 || (r = fill_network(o, body, host, e)) < 0 || (r = fill_limits(o, host, e)) < 0)
        return r;
    return fill_logging(o, host, e);
}

static int request(const struct run_options *o, const struct strv *words, json_t **ret, struct err *e) {
    json_t *body = json_object(), *host = body ? member(body, "HostConfig", json_object()) : NULL;
    int r = json_made(host, e);

    if (r == 0)
        r = fill_config(o, words, body, e);
    if (r >= 0)
        r = fill_host(o, body, host, e);
    if (r < 0)
        json_decref(body);
    else
        *ret = body;
    return r;
}

/* ---- create ---- */

static int create_once(const struct cli *c, const struct run_options *o, const json_t *body, json_t **ret, struct err *e) {
    _cleanup_buf_ struct buf path = BUF_INIT(65536);
    int r;

    buf_adds(&path, "/containers/create");
    api_query(&path, "name", o->name);
    api_query(&path, "platform", o->platform);
    r = buf_check(&path, e);
    return r < 0 ? r : api_call(c, "POST", path.data, body, ret, e);
}

static int create(const struct cli *c, const struct run_options *o, const char *image, const json_t *body, json_t **ret, struct err *e) {
    _cleanup_err_ struct err missing = ERR_INIT;
    bool never = o->pull && streq(o->pull, "never");
    int r;

    if (o->pull && streq(o->pull, "always")) {
        r = image_pull(c, image, o->platform, e);
        if (r < 0)
            return r;
    }
    r = create_once(c, o, body, ret, &missing);
    if (r >= 0)
        return r;
    if (r != -ERR_NOT_FOUND || never || !str_has_prefix(err_msg(&missing), "No such image"))
        return err_move(e, &missing);
    fprintf(stderr, "The image %s is not here; pulling it.\n", image);
    r = image_pull(c, image, o->platform, e);
    return r < 0 ? r : create_once(c, o, body, ret, e);
}

/* ---- a process that is attached to ---- */

struct target {
    const struct cli *cli;
    const char *section, *id; /* "containers" or "exec" */
    bool forward;             /* signals go to the process */
};

static void resize(const struct target *t) {
    _cleanup_buf_ struct buf path = BUF_INIT(4096);
    int rows, columns;

    if (!terminal_size(&rows, &columns))
        return;
    buf_addf(&path, "/%s/%s/resize?h=%d&w=%d", t->section, t->id, rows, columns);
    /* a process that has ended meanwhile needs no size */
    if (buf_ok(&path))
        ignore_result(api_call(t->cli, "POST", path.data, NULL, NULL, NULL) < 0);
}

static void on_signal(int number, void *data) {
    const struct target *t = data;
    _cleanup_buf_ struct buf path = BUF_INIT(4096);

    if (number == SIGWINCH) {
        resize(t);
        return;
    }
    buf_addf(&path, "/%s/%s/kill?signal=%d", t->section, t->id, number);
    if (t->forward && buf_ok(&path))
        ignore_result(api_call(t->cli, "POST", path.data, NULL, NULL, NULL) < 0);
}

static const int tty_signals[] = {SIGWINCH, SIGTERM, SIGHUP, SIGINT, 0};
static const int forwarded_signals[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, 0};
static const int no_signals[] = {0};

/* Copy until the end. Returns as attach_run(). */
static int attached(struct target *t, struct http *conn, bool tty, bool input, const char *keys, int n_keys, struct err *e) {
    _cleanup_close_ int signals = signals_open(tty ? tty_signals : t->forward ? forwarded_signals : no_signals, e);
    _cleanup_raw_ struct raw_terminal raw = RAW_OFF;
    struct attach a = {
        .conn = conn, .tty = tty, .input = input, .keys = keys, .n_keys = (size_t)n_keys, .signals = signals, .on_signal = on_signal, .data = t};
    int r;

    if (signals < 0)
        return signals;
    if (tty && input && isatty(STDIN_FILENO)) {
        r = raw_enter(&raw, e);
        if (r < 0)
            return r;
    }
    if (tty)
        resize(t);
    return attach_run(&a, e);
}

static int check_terminal(bool tty, bool input, struct err *e) {
    if (tty && input && !isatty(STDIN_FILENO))
        return err_set(e, ERR_INVALID, "standard input is no terminal: leave out -t, or give a terminal");
    return 0;
}

static int exit_of_failure(const struct err *e) {
    const char *m = err_msg(e);

    if (strstr(m, "executable file not found") || strstr(m, "no such file or directory"))
        return EXIT_NOT_FOUND;
    if (strstr(m, "permission denied") || strstr(m, "is a directory"))
        return EXIT_CANNOT_EXEC;
    return EXIT_FAILED_TO_RUN;
}

static int start(const struct cli *c, const char *id, struct err *e) {
    char path[128];

    snprintf(path, sizeof path, "/containers/%s/start", id);
    return api_call(c, "POST", path, NULL, NULL, e);
}

static int open_attach(const struct cli *c, const struct run_options *o, const char *id, struct http **ret, struct err *e) {
    _cleanup_buf_ struct buf path = BUF_INIT(4096);
    int r;

    buf_addf(&path, "/containers/%s/attach?stream=1&stdout=1&stderr=1", id);
    api_query(&path, "stdin", o->interactive ? "1" : NULL);
    api_query(&path, "detachKeys", o->keys);
    r = buf_check(&path, e);
    return r < 0 ? r : api_open(c, "POST", path.data, NULL, true, ret, e);
}

/* The exit code out of wait's reply. */
static int exit_code(struct http *wait, struct err *e) {
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
    json_t *j;
    int r = http_read_all(wait, &text, e);

    if (r < 0)
        return r;
    j = json_loadb(buf_str(&text), text.len, 0, NULL);
    if (!j)
        return err_set(e, ERR_INTERNAL, "the engine did not tell the exit code");
    r = (int)json_number(j, "StatusCode") & 0xff;
    if (*json_text(json_object_get(j, "Error"), "Message"))
        fprintf(stderr, "hatake: %s\n", json_text(json_object_get(j, "Error"), "Message"));
    json_decref(j);
    return r;
}

static int run_attached(struct cli *c, const struct run_options *o, const char *id, struct err *e) {
    _cleanup_http_ struct http *conn = NULL, *wait = NULL;
    struct target t = {c, "containers", id, !o->tty};
    char keys[16], path[160];
    int n_keys = parse_keys(o->keys ? o->keys : "ctrl-p,ctrl-q", keys, sizeof keys, e), r;

    if (n_keys < 0)
        return n_keys;
    r = open_attach(c, o, id, &conn, e);
    if (r < 0)
        return r;
    /* asked before the start, so that the end of a short process is not missed */
    snprintf(path, sizeof path, "/containers/%s/wait?condition=%s", id, o->remove ? "removed" : "next-exit");
    r = api_open(c, "POST", path, NULL, false, &wait, e);
    if (r < 0)
        return r;
    r = start(c, id, e);
    if (r < 0) {
        fprintf(stderr, "hatake: %s\n", err_msg(e));
        r = exit_of_failure(e);
        err_done(e);
        return r;
    }
    r = attached(&t, conn, o->tty, o->interactive, keys, n_keys, e);
    if (r == ATTACH_DETACHED) {
        fprintf(stderr, "\nDetached; the container %.12s runs on.\n", id);
        return 0;
    }
    if (r >= ATTACH_SIGNAL)
        return 128 + r - ATTACH_SIGNAL;
    return r < 0 ? r : exit_code(wait, e);
}

static int keep_id(const char *path, const char *id, struct err *e) {
    _cleanup_fclose_ FILE *f = fopen(path, "wxe");

    if (!f || fputs(id, f) == EOF || fflush(f) != 0)
        return err_errno(e, errno, "writing the container's id to \"%s\"", path);
    return 0;
}

static int run_container(struct cli *c, const struct run_options *o, const struct strv *words, struct err *e) {
    json_t *body = NULL, *created = NULL;
    const char *id;
    size_t i;
    json_t *warning;
    int r = request(o, words, &body, e);

    if (r < 0)
        return r;
    r = create(c, o, words->v[0], body, &created, e);
    json_decref(body);
    if (r < 0)
        return r;
    id = json_text(created, "Id");
    json_array_foreach(json_object_get(created, "Warnings"), i, warning) fprintf(stderr, "hatake: warning: %s\n", json_string_value(warning));
    if (o->cidfile)
        r = keep_id(o->cidfile, id, e);
    if (r >= 0 && !o->detach) {
        r = run_attached(c, o, id, e);
    } else if (r >= 0) {
        r = start(c, id, e);
        if (r < 0) {
            fprintf(stderr, "hatake: %s\n", err_msg(e));
            r = exit_of_failure(e);
        } else {
            r = printf("%s\n", id) < 0 || fflush(stdout) ? err_errno(e, errno, "writing to standard output") : 0;
        }
    }
    json_decref(created);
    return r;
}

int cmd_run(struct cli *c, int argc, char **argv, struct err *e) {
    __attribute__((cleanup(run_options_done))) struct run_options o = {0};
    _cleanup_strv_ struct strv words = STRV_INIT;
    bool done;
    int r;
    const struct opt table[] = {
        {"add-host", 0, OPT_LIST, &o.hosts, "NAME:ADDRESS", "one more line of /etc/hosts"},
        {"cap-add", 0, OPT_LIST, &o.cap_add, "NAME", "give a capability"},
        {"cap-drop", 0, OPT_LIST, &o.cap_drop, "NAME", "take a capability"},
        {"cidfile", 0, OPT_TEXT, &o.cidfile, "FILE", "write the container's id to a new file"},
        {"cpus", 0, OPT_TEXT, &o.cpus, "N", "processors it may use, e.g. 1.5"},
        {"cpuset-cpus", 0, OPT_TEXT, &o.cpuset, "LIST", "which processors it may use, e.g. 0-1"},
        {"detach", 'd', OPT_FLAG, &o.detach, NULL, "leave it running and print its id"},
        {"detach-keys", 0, OPT_TEXT, &o.keys, "KEYS", "keys that leave it running (ctrl-p,ctrl-q)"},
        {"dns", 0, OPT_LIST, &o.dns, "ADDRESS", "a name server"},
        {"entrypoint", 0, OPT_TEXT, &o.entrypoint, "PROGRAM", "instead of the image's entrypoint"},
        {"env", 'e', OPT_LIST, &o.env, "NAME=VALUE", "set a variable; NAME alone takes it from here"},
        {"env-file", 0, OPT_LIST, &o.env_files, "FILE", "variables from a file"},
        {"group-add", 0, OPT_LIST, &o.groups, "GROUP", "one more group"},
        {"hostname", 0, OPT_TEXT, &o.hostname, "NAME", "name of the machine inside"},
        {"init", 0, OPT_FLAG, &o.init, NULL, "run an init that collects orphans and passes signals on"},
        {"interactive", 'i', OPT_FLAG, &o.interactive, NULL, "pass standard input to it"},
        {"ipc", 0, OPT_TEXT, &o.ipc, "MODE", "IPC namespace"},
        {"label", 'l', OPT_LIST, &o.labels, "NAME=VALUE", "a label"},
        {"log-driver", 0, OPT_TEXT, &o.log_driver, "NAME", "where its output is kept"},
        {"log-opt", 0, OPT_LIST, &o.log_options, "NAME=VALUE", "an option of the log driver"},
        {"memory", 'm', OPT_TEXT, &o.memory, "SIZE", "memory it may use, e.g. 512m"},
        {"memory-swap", 0, OPT_TEXT, &o.memory_swap, "SIZE", "memory and swap together; -1: no bound"},
        {"name", 0, OPT_TEXT, &o.name, "NAME", "name of the container"},
        {"net", 0, OPT_TEXT, &o.network, "NETWORK", "as --network"},
        {"network", 0, OPT_TEXT, &o.network, "NETWORK", "a network's name, host, none or container:NAME"},
        {"no-healthcheck", 0, OPT_FLAG, &o.no_healthcheck, NULL, "leave out the image's health check"},
        {"pid", 0, OPT_TEXT, &o.pid, "MODE", "process namespace: host or container:NAME"},
        {"pids-limit", 0, OPT_TEXT, &o.pids, "N", "processes and threads it may have"},
        {"platform", 0, OPT_TEXT, &o.platform, "OS/ARCH", "which image of several"},
        {"privileged", 0, OPT_FLAG, &o.privileged, NULL, "every capability and device"},
        {"publish", 'p', OPT_LIST, &o.publish, "PORTS", "publish ports: [[ADDRESS:]PORT:]PORT[/udp]"},
        {"publish-all", 'P', OPT_FLAG, &o.publish_all, NULL, "publish every port the image names"},
        {"pull", 0, OPT_TEXT, &o.pull, "WHEN", "always, missing (default) or never"},
        {"quiet", 'q', OPT_FLAG, &c->quiet, NULL, "no progress of a pull"},
        {"read-only", 0, OPT_FLAG, &o.read_only, NULL, "its root file system cannot be written"},
        {"restart", 0, OPT_TEXT, &o.restart, "POLICY", "no, always, unless-stopped, on-failure[:COUNT]"},
        {"rm", 0, OPT_FLAG, &o.remove, NULL, "remove it when it ends"},
        {"runtime", 0, OPT_TEXT, &o.runtime, "NAME", "OCI runtime"},
        {"security-opt", 0, OPT_LIST, &o.security, "TEXT", "a security option"},
        {"shm-size", 0, OPT_TEXT, &o.shm, "SIZE", "size of /dev/shm"},
        {"stop-signal", 0, OPT_TEXT, &o.stop_signal, "SIGNAL", "what stop sends first"},
        {"stop-timeout", 0, OPT_TEXT, &o.stop_timeout, "SECONDS", "how long stop waits before it kills"},
        {"tmpfs", 0, OPT_LIST, &o.tmpfs, "PATH[:OPTIONS]", "a folder in memory"},
        {"tty", 't', OPT_FLAG, &o.tty, NULL, "give it a terminal"},
        {"user", 'u', OPT_TEXT, &o.user, "USER[:GROUP]", "who it runs as"},
        {"volume", 'v', OPT_LIST, &o.volumes, "VOLUME", "mount [FOLDER or NAME:]PATH[:ro]"},
        {"volumes-from", 0, OPT_LIST, &o.volumes_from, "CONTAINER", "the volumes of another container"},
        {"workdir", 'w', OPT_TEXT, &o.workdir, "PATH", "working folder inside"},
    };

    r = opts_command(table, ELEMENTSOF(table), argc, argv, true, 1, -1, &words, &done, e);
    if (r < 0 || done)
        return r;
    if (!o.detach) {
        r = check_terminal(o.tty, o.interactive, e);
        if (r < 0)
            return r;
    }
    return run_container(c, &o, &words, e);
}

/* ---- exec ---- */

struct exec_options {
    bool detach, interactive, tty, privileged;
    const char *user, *workdir, *keys;
    struct strv env, env_files;
};

static void exec_options_done(struct exec_options *o) {
    strv_done(&o->env);
    strv_done(&o->env_files);
}

static int exec_create(const struct cli *c, const struct exec_options *o, const struct strv *words, json_t **ret, struct err *e) {
    const struct run_options env = {.env = o->env, .env_files = o->env_files};
    _cleanup_buf_ struct buf path = BUF_INIT(65536);
    json_t *body = json_object();
    int r = json_made(body, e);

    buf_adds(&path, "/containers/");
    api_segment(&path, words->v[0]);
    buf_adds(&path, "/exec");
    if (r < 0 || (r = buf_check(&path, e)) < 0 || (r = set_list(body, "Cmd", words->v + 1, words->n - 1, e)) < 0 ||
        (r = set_flag(body, "AttachStdin", o->interactive && !o->detach, e)) < 0 || (r = set_flag(body, "AttachStdout", !o->detach, e)) < 0 ||
        (r = set_flag(body, "AttachStderr", !o->detach, e)) < 0 || (r = set_flag(body, "Tty", o->tty, e)) < 0 ||
        (r = set_flag(body, "Privileged", o->privileged, e)) < 0 || (r = set_text(body, "User", o->user, e)) < 0 ||
        (r = set_text(body, "WorkingDir", o->workdir, e)) < 0 || (r = set_text(body, "DetachKeys", o->keys, e)) < 0 ||
        (r = fill_environment(&env, body, e)) < 0) {
        json_decref(body);
        return r;
    }
    r = api_call(c, "POST", path.data, body, ret, e);
    json_decref(body);
    return r;
}

static int exec_stream(struct cli *c, const struct exec_options *o, const char *id, struct err *e) {
    _cleanup_http_ struct http *conn = NULL;
    struct target t = {c, "exec", id, false};
    char keys[16], path[160];
    int n_keys = parse_keys(o->keys ? o->keys : "ctrl-p,ctrl-q", keys, sizeof keys, e), r, rows, columns;
    json_t *body, *state = NULL;

    if (n_keys < 0)
        return n_keys;
    body = json_pack("{sbsb}", "Detach", (int)o->detach, "Tty", (int)o->tty);
    if (!body || (o->tty && terminal_size(&rows, &columns) && json_object_set_new(body, "ConsoleSize", json_pack("[ii]", rows, columns)) < 0)) {
        json_decref(body);
        return err_oom(e);
    }
    snprintf(path, sizeof path, "/exec/%s/start", id);
    r = api_open(c, "POST", path, body, !o->detach, &conn, e);
    json_decref(body);
    if (r < 0 || o->detach)
        return r < 0 ? r : 0;
    r = attached(&t, conn, o->tty, o->interactive, keys, n_keys, e);
    if (r == ATTACH_DETACHED)
        return 0;
    if (r >= ATTACH_SIGNAL)
        return 128 + r - ATTACH_SIGNAL;
    if (r < 0)
        return r;
    snprintf(path, sizeof path, "/exec/%s/json", id);
    r = api_call(c, "GET", path, NULL, &state, e);
    if (r >= 0)
        r = (int)json_number(state, "ExitCode") & 0xff;
    json_decref(state);
    return r;
}

int cmd_exec(struct cli *c, int argc, char **argv, struct err *e) {
    __attribute__((cleanup(exec_options_done))) struct exec_options o = {0};
    _cleanup_strv_ struct strv words = STRV_INIT;
    json_t *created = NULL;
    bool done;
    const struct opt table[] = {
        {"detach", 'd', OPT_FLAG, &o.detach, NULL, "do not wait for it"},
        {"detach-keys", 0, OPT_TEXT, &o.keys, "KEYS", "keys that leave it running (ctrl-p,ctrl-q)"},
        {"env", 'e', OPT_LIST, &o.env, "NAME=VALUE", "set a variable; NAME alone takes it from here"},
        {"env-file", 0, OPT_LIST, &o.env_files, "FILE", "variables from a file"},
        {"interactive", 'i', OPT_FLAG, &o.interactive, NULL, "pass standard input to it"},
        {"privileged", 0, OPT_FLAG, &o.privileged, NULL, "every capability"},
        {"tty", 't', OPT_FLAG, &o.tty, NULL, "give it a terminal"},
        {"user", 'u', OPT_TEXT, &o.user, "USER[:GROUP]", "who it runs as"},
        {"workdir", 'w', OPT_TEXT, &o.workdir, "PATH", "working folder inside"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, true, 2, -1, &words, &done, e);

    if (r < 0 || done)
        return r;
    if (!o.detach) {
        r = check_terminal(o.tty, o.interactive, e);
        if (r < 0)
            return r;
    }
    r = exec_create(c, &o, &words, &created, e);
    if (r >= 0)
        r = exec_stream(c, &o, json_text(created, "Id"), e);
    json_decref(created);
    return r;
}
