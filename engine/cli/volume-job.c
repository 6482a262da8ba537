// SPDX-License-Identifier: Apache-2.0
#include "cli/volume-job.h"

#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/str.h"

#define PATH_MAX_TEXT ((size_t)64 << 10)
#define AT "/v"

/* ---- begin and end ---- */

int job_init(struct job *j, const struct cli *c, struct err *e) {
    static const int wait_for[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};

    *j = (struct job){.c = c, .image = BUF_INIT(256), .container = BUF_INIT(256)};
    sigemptyset(&j->waiting);
    for (size_t i = 0; i < ELEMENTSOF(wait_for); i++)
        sigaddset(&j->waiting, wait_for[i]);
    sigprocmask(SIG_BLOCK, &j->waiting, &j->before);
    /* Ignored ones would be waited for in vain. */
    signal(SIGCHLD, SIG_DFL);
    return api_is_ours(c, &j->ours, e);
}

static void tell(const struct err *why) {
    fprintf(stderr, "hatake: %s\n", err_msg(why));
}

/* METHOD <prefix><id><suffix>; a failure is told. */
static void tidy(const struct job *j, const char *method, const char *prefix, const char *id, const char *suffix) {
    _cleanup_err_ struct err why = ERR_INIT;
    _cleanup_free_ char *path = str_printf("%s%s%s", prefix, id, suffix);

    if (path && api_call(j->c, method, path, NULL, NULL, &why) < 0 && why.kind != ERR_NOT_FOUND)
        tell(&why);
}

void job_unmount(struct job *j) {
    if (j->container.len)
        tidy(j, "DELETE", "/containers/", j->container.data, "?force=1");
    if (j->image.len)
        tidy(j, "DELETE", "/images/", j->image.data, "?force=1");
    buf_reset(&j->container);
    buf_reset(&j->image);
}

void job_done(struct job *j) {
    for (size_t i = 0; i < j->frozen.n; i++)
        tidy(j, "POST", "/containers/", j->frozen.v[i], "/unpause");
    strv_done(&j->frozen);
    strv_done(&j->still);
    job_unmount(j);
    buf_done(&j->container);
    buf_done(&j->image);
    sigprocmask(SIG_SETMASK, &j->before, NULL);
}

/* ---- the helper ---- */

static int take_status(json_t *message, void *data, struct err *e) {
    struct buf *id = data;

    if (*json_text(message, "error"))
        return err_set(e, ERR_INTERNAL, "%s", json_text(message, "error"));
    if (str_has_prefix(json_text(message, "status"), "sha256:")) {
        buf_reset(id);
        buf_adds(id, json_text(message, "status"));
    }
    return 0;
}

/* An archive of nothing. */
static int make_image(struct job *j, struct err *e) {
    static const char end[1024];
    _cleanup_http_ struct http *h = NULL;
    int r = api_upload(j->c, "POST", "/images/create?fromSrc=-", &h, e);

    if (r == 0)
        r = http_send_chunk(h, end, sizeof end, e);
    if (r == 0)
        r = http_send_end(h, e);
    if (r == 0)
        r = api_head(h, e);
    if (r >= 0)
        r = api_each(h, take_status, &j->image, e);
    if (r >= 0 && !j->image.len)
        return err_set(e, ERR_INTERNAL, "the engine does not say what became of the helper's image");
    return r < 0 ? r : 0;
}

int job_mount(struct job *j, const char *volume, const char *name, bool read_only, struct err *e) {
    _cleanup_buf_ struct buf path = BUF_INIT(PATH_MAX_TEXT);
    json_t *body, *reply = NULL;
    int r = make_image(j, e);

    if (r < 0)
        return r;
    body = json_pack("{s:s, s:[s], s:{s:s}, s:{s:s, s:[{s:s, s:s, s:s, s:b, s:{s:b}}]}}", "Image", j->image.data, "Cmd", "volume", "Labels",
                     JOB_LABEL, volume, "HostConfig", "NetworkMode", "none", "Mounts", "Type", "volume", "Source", volume, "Target", AT, "ReadOnly",
                     read_only, "VolumeOptions", "NoCopy", true);
    buf_adds(&path, "/containers/create");
    api_query(&path, "name", name);
    r = body ? buf_check(&path, e) : err_oom(e);
    if (r >= 0)
        r = api_call(j->c, "POST", path.data, body, &reply, e);
    if (r >= 0)
        buf_adds(&j->container, json_text(reply, "Id"));
    json_decref(body);
    json_decref(reply);
    return r < 0 ? r : 0;
}

int job_archive_path(const struct job *j, const char *path, struct buf *ret, struct err *e) {
    buf_addf(ret, "/containers/%s/archive", buf_str(&j->container));
    api_query(ret, "path", path);
    /* Others would ignore it. */
    api_query(ret, "hatake-exact", j->ours ? "1" : NULL);
    return buf_check(ret, e);
}

/* ---- who uses it ---- */

static const json_t *mount_of(const json_t *container, const char *volume, bool writable) {
    size_t i;
    json_t *m;

    json_array_foreach(json_object_get(container, "Mounts"), i, m) {
        if (streq(json_text(m, "Type"), "volume") && streq(json_text(m, "Name"), volume) && (!writable || json_flag(m, "RW")))
            return m;
    }
    return NULL;
}

int job_users(const struct job *j, const char *volume, bool writers, json_t **ret, struct err *e) {
    _cleanup_strv_ struct strv filters = STRV_INIT;
    json_t *all = NULL, *some = json_array(), *one;
    size_t i;
    int r = !some || strv_addf(&filters, "volume=%s", volume) < 0 ? err_oom(e) : api_list(j->c, "/containers/json", false, NULL, &filters, &all, e);

    json_array_foreach(all, i, one) {
        if (r >= 0 && mount_of(one, volume, writers) && !(writers && streq(json_text(one, "State"), "paused")) && json_array_append(some, one) < 0)
            r = err_oom(e);
    }
    json_decref(all);
    if (r < 0)
        json_decref(some);
    else
        *ret = some;
    return r < 0 ? r : 0;
}

char *job_names(const json_t *users) {
    _cleanup_strv_ struct strv names = STRV_INIT;
    size_t i;
    json_t *one;

    json_array_foreach((json_t *)users, i, one) {
        const char *name = json_string_value(json_array_get(json_object_get(one, "Names"), 0));

        if (strv_add(&names, name && *name == '/' ? name + 1 : json_text(one, "Id")) < 0)
            return NULL;
    }
    return strv_join(&names, ", ");
}

static int freeze_one(struct job *j, const json_t *container, struct err *e) {
    _cleanup_buf_ struct buf path = BUF_INIT(PATH_MAX_TEXT);
    const char *id = json_text(container, "Id");
    int r;

    if (strv_add(&j->still, id) < 0)
        return err_oom(e);
    if (streq(json_text(container, "State"), "paused"))
        return 0;
    buf_addf(&path, "/containers/%s/pause", id);
    r = api_call(j->c, "POST", buf_str(&path), NULL, NULL, e);
    if (r < 0)
        return r;
    return strv_add(&j->frozen, id) < 0 ? err_oom(e) : 0;
}

int job_freeze(struct job *j, const char *volume, struct err *e) {
    json_t *users = NULL, *one;
    size_t i;
    int r = job_users(j, volume, false, &users, e);

    json_array_foreach(users, i, one) {
        if (r >= 0 && mount_of(one, volume, true))
            r = freeze_one(j, one, e);
    }
    json_decref(users);
    return r;
}

int job_time(const struct job *j, char ret[40], struct err *e) {
    json_t *info = NULL;
    int64_t ns;
    int r = api_call(j->c, "GET", "/info", NULL, &info, e);

    if (r >= 0)
        r = clock_parse(json_text(info, "SystemTime"), &ns, e);
    json_decref(info);
    if (r >= 0)
        snprintf(ret, 40, "%lld.%09lld", (long long)(ns / NSEC_PER_SEC), (long long)(ns % NSEC_PER_SEC));
    return r < 0 ? r : 0;
}

struct look {
    const struct job *j;
    const char *volume;
};

static int look_at(json_t *event, void *data, struct err *e) {
    const struct look *l = data;
    const json_t *actor = json_object_get(event, "Actor"), *attributes = json_object_get(actor, "Attributes");
    const char *id = json_text(actor, "ID"), *type = json_text(event, "Type"), *action = json_text(event, "Action");

    if (streq(type, "volume") && streq(action, "mount") && streq(id, l->volume) && streq(json_text(attributes, "read/write"), "true") &&
        !streq(json_text(attributes, "container"), buf_str(&l->j->container)))
        return err_set(e, ERR_CONFLICT, "container %.12s was started with volume %s meanwhile: the backup would not be consistent",
                       json_text(attributes, "container"), l->volume);
    if (streq(type, "container") && streq(action, "unpause") && strv_has(&l->j->still, id))
        return err_set(e, ERR_CONFLICT, "container %s was unpaused meanwhile: the backup of volume %s would not be consistent",
                       json_text(attributes, "name"), l->volume);
    return 0;
}

int job_check_quiet(const struct job *j, const char *volume, const char *since, struct err *e) {
    _cleanup_buf_ struct buf path = BUF_INIT(PATH_MAX_TEXT);
    _cleanup_http_ struct http *h = NULL;
    struct look l = {j, volume};
    json_t *users = NULL;
    char until[40];
    int r = job_time(j, until, e);

    if (r < 0)
        return r;
    buf_adds(&path, "/events");
    api_query(&path, "since", since);
    api_query(&path, "until", until);
    api_query(&path, "filters", "{\"event\":[\"mount\",\"unpause\"]}");
    r = api_open(j->c, "GET", buf_str(&path), NULL, false, &h, e);
    if (r >= 0)
        r = api_each(h, look_at, &l, e);
    /* Engines remember a limited number of events. */
    if (r >= 0)
        r = job_users(j, volume, true, &users, e);
    if (r >= 0 && json_array_size(users)) {
        _cleanup_free_ char *names = job_names(users);

        r = err_set(e, ERR_CONFLICT, "volume %s was taken into use meanwhile by %s: the backup would not be consistent", volume, names ? names : "");
    }
    json_decref(users);
    return r < 0 ? r : 0;
}

/* ---- the work ---- */

int job_run(struct job *j, int (*work)(void *arg, struct err *e), void *arg, struct err *e) {
    int stopped_by = 0, status = 0;
    pid_t parent = getpid(), pid;

    fflush(NULL);
    pid = fork();
    if (pid < 0)
        return err_errno(e, errno, "fork");
    if (pid == 0) {
        _cleanup_err_ struct err why = ERR_INIT;
        int r;

        sigprocmask(SIG_SETMASK, &j->before, NULL);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
            _exit(1);
        r = work(arg, &why);
        if (r < 0)
            tell(&why);
        fflush(NULL);
        _exit(r < 0);
    }
    while (waitpid(pid, &status, WNOHANG) == 0) {
        int s = sigwaitinfo(&j->waiting, NULL);

        if (s > 0 && s != SIGCHLD) {
            stopped_by = s;
            kill(pid, SIGTERM);
        }
    }
    if (stopped_by)
        return 128 + stopped_by;
    if (WIFSIGNALED(status))
        return err_set(e, ERR_INTERNAL, "the work was ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}
