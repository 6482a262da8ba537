// SPDX-License-Identifier: Apache-2.0
#include "container/health.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/spec.h"
#include "monitor/launch.h"

#define DEFAULT_INTERVAL (30 * NSEC_PER_SEC)
#define DEFAULT_TIMEOUT (30 * NSEC_PER_SEC)
#define DEFAULT_START_INTERVAL (5 * NSEC_PER_SEC)
#define DEFAULT_RETRIES 3

/* ---- snapshots -------------------------------------------------------------------------------------------------------------------- */
struct ctr_health *ctr_health_ref(struct ctr_health *h) {
    if (h)
        atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    return h;
}

struct ctr_health *ctr_health_unref(struct ctr_health *h) {
    if (!h || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    for (size_t i = 0; i < h->n; i++)
        free(h->log[i].output);
    free(h);
    return NULL;
}

static struct ctr_health *health_copy(const struct ctr_health *from) {
    struct ctr_health *h = calloc(1, sizeof(*h));

    if (!h)
        return NULL;
    atomic_init(&h->refs, 1);
    if (!from)
        return h;
    h->status = from->status;
    h->streak = from->streak;
    for (; h->n < from->n; h->n++) {
        h->log[h->n] = from->log[h->n];
        h->log[h->n].output = strdup(from->log[h->n].output);
        if (!h->log[h->n].output)
            return ctr_health_unref(h);
    }
    return h;
}

int ctr_health_add(struct ctr_health *h, int64_t start, int64_t end, int64_t code, const char *output, size_t n) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JSON_BODY);
    char *text;

    /* Texts here end with a NUL: one within is shown as what it is, not text, and does not hide what follows. */
    for (size_t i = 0; i < n; i++)
        if (output[i])
            buf_addc(&b, output[i]);
        else
            buf_adds(&b, "\357\277\275");
    text = buf_take(&b);
    if (!text)
        return -ENOMEM;
    if (h->n == LIMIT_HEALTH_LOG) {
        free(h->log[0].output);
        memmove(h->log, h->log + 1, (LIMIT_HEALTH_LOG - 1) * sizeof(*h->log));
        h->n--;
    }
    h->log[h->n++] = (struct ctr_health_result){start, end, code, text};
    return 0;
}

struct ctr_health *container_health(struct container *c) {
    struct ctr_health *h;

    pthread_mutex_lock(&c->lock);
    h = ctr_health_ref(c->health);
    pthread_mutex_unlock(&c->lock);
    return h;
}

const char *ctr_health_status(const struct ctr_health *h) {
    static const char *const names[] = {"none", "starting", "healthy", "unhealthy"};

    return h && (size_t)h->status < ELEMENTSOF(names) ? names[h->status] : "none";
}

void container_health_restore(struct container *c, struct ctr_health *h) {
    pthread_mutex_lock(&c->lock);
    ctr_health_unref(c->health);
    c->health = h;
    pthread_mutex_unlock(&c->lock);
}

static void set_status(struct container *c, enum monitor_health status, bool fresh) {
    struct ctr_health *old = container_health(c), *h;

    if (!old && !fresh)
        return;
    h = health_copy(old);
    ctr_health_unref(old);
    if (!h)
        return;
    h->status = status;
    h->streak = fresh ? 0 : h->streak;
    container_health_restore(c, h);
}

void container_health_starting(struct container *c) {
    if (ctr_health_wanted(c->view->fixed))
        set_status(c, MONITOR_HEALTH_STARTING, true);
}

void container_health_stopped(struct container *c) {
    if (ctr_health_wanted(c->view->fixed))
        set_status(c, MONITOR_UNHEALTHY, false);
}

/* ---- the configuration ------------------------------------------------------------------------------------------------------------- */
static bool is_shell(const struct api_health_config *h) {
    return h->test.n > 0 && streq(h->test.v[0], "CMD-SHELL");
}

bool ctr_health_wanted(const struct ctr_fixed *f) {
    const struct api_health_config *h = f->config.healthcheck;

    return h && (is_shell(h) || (h->test.n > 1 && streq(h->test.v[0], "CMD")));
}

static int add_args(const struct ctr_fixed *f, json_t *args) {
    const struct api_health_config *h = f->config.healthcheck;
    int bad = 0;

    if (is_shell(h) && f->config.shell.n == 0)
        bad |= json_array_append_new(args, json_string("/bin/sh")) | json_array_append_new(args, json_string("-c"));
    for (size_t i = 0; is_shell(h) && i < f->config.shell.n; i++)
        bad |= json_array_append_new(args, json_string(f->config.shell.v[i]));
    for (size_t i = 1; i < h->test.n; i++)
        bad |= json_array_append_new(args, json_string(h->test.v[i]));
    return bad ? -ENOMEM : 0;
}

int ctr_health_launch(const struct ctr_spec_env *from, const json_t *spec, struct launch_health *ret, struct err *e) {
    const struct ctr_fixed *f = from->fixed;
    const struct api_health_config *h = f->config.healthcheck;
    json_t *process, *args = json_array(), *env = ctr_spec_env(from, e);

    process = json_copy(json_object_get(spec, "process")); /* limits, rights and user are those of the container's own process */
    if (!process || !args || add_args(f, args) < 0 || json_object_set_new(process, "args", json_incref(args)) < 0 ||
        json_object_set_new(process, "env", json_incref(env)) < 0 || json_object_set_new(process, "terminal", json_false()) < 0) {
        json_decref(process);
        json_decref(args);
        json_decref(env);
        return err_oom(e);
    }
    json_decref(args);
    json_decref(env);
    json_object_del(process, "consoleSize");
    *ret = (struct launch_health){.process = process,
                                  .interval = h->interval > 0 ? h->interval : DEFAULT_INTERVAL,
                                  .timeout = h->timeout > 0 ? h->timeout : DEFAULT_TIMEOUT,
                                  .start_period = h->start_period > 0 ? h->start_period : 0,
                                  .start_interval = h->start_interval > 0 ? h->start_interval : DEFAULT_START_INTERVAL,
                                  .retries = h->retries > 0 && h->retries < INT32_MAX ? (int)h->retries : DEFAULT_RETRIES};
    return 0;
}

/* ---- the monitor's news ------------------------------------------------------------------------------------------------------------ */
/* "exec_create: /bin/sh -c true", as for any other process that is started in a container. */
static void exec_event(struct container *c, const struct ctr_fixed *f, const char *what, const char *exec_id) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JSON_BODY);
    json_t *args = json_array();
    char id[80];

    snprintf(id, sizeof(id), "execID=%.64s", exec_id);
    buf_addf(&b, "%s:", what);
    if (args && add_args(f, args) == 0)
        for (size_t i = 0; i < json_array_size(args); i++)
            buf_addf(&b, " %s", json_string_value(json_array_get(args, i)));
    if (json_array_size(args) == 1)
        buf_addc(&b, ' ');
    json_decref(args);
    container_event(c, buf_str(&b), id, NULL);
}

void container_health_probing(struct container *c, uint64_t run, const char *exec_id) {
    _cleanup_view_ struct ctr_view *v = container_view(c);
    bool stale;

    pthread_mutex_lock(&c->lock);
    stale = c->run != run || c->gone;
    pthread_mutex_unlock(&c->lock);
    if (stale || !ctr_health_wanted(v->fixed))
        return;
    exec_event(c, v->fixed, "exec_create", exec_id);
    exec_event(c, v->fixed, "exec_start", exec_id);
}

static void tell_end(struct container *c, const struct monitor_probe *p) {
    char id[80], code[32];

    snprintf(id, sizeof(id), "execID=%.64s", p->exec_id);
    snprintf(code, sizeof(code), "exitCode=%d", p->late ? p->ended : p->code);
    container_event(c, "exec_die", id, code, NULL);
}

void container_health_probed(struct container *c, uint64_t run, const struct monitor_probe *p) {
    struct ctr_health *old, *h;
    bool changed, known;
    char text[64];

    old = container_health(c);
    known = old && old->n > 0 && p->start <= old->log[old->n - 1].start;
    h = health_copy(old);
    changed = h && p->status != (old ? old->status : MONITOR_HEALTH_NONE);
    ctr_health_unref(old);
    if (!h)
        return;
    h->status = p->status;
    h->streak = p->streak;
    if (!p->status_only && !known && ctr_health_add(h, p->start, p->end, p->code, p->output, p->n_output) < 0) {
        ctr_health_unref(h);
        return;
    }
    pthread_mutex_lock(&c->lock);
    if (c->run == run && !c->gone) {
        old = c->health;
        c->health = h;
        h = old;
    } else {
        changed = false;
    }
    pthread_mutex_unlock(&c->lock);
    if (!p->status_only && !p->replay && p->ran)
        tell_end(c, p);
    if (changed && !p->replay) {
        snprintf(text, sizeof(text), "health_status: %s", ctr_health_status(&(const struct ctr_health){.status = p->status}));
        container_event(c, text, NULL);
    }
    ctr_health_unref(h);
}

/* ---- inspect ------------------------------------------------------------------------------------------------------------------------ */
int ctr_health_fill(const struct ctr_health *h, struct api_health *ret, struct err *e) {
    char start[CLOCK_TEXT_MAX], end[CLOCK_TEXT_MAX];

    *ret = (struct api_health){.failing_streak = h->streak, .has_failing_streak = true};
    ret->log.set = true;
    if (str_set(&ret->status, ctr_health_status(h)) < 0)
        return err_oom(e);
    for (size_t i = 0; i < h->n; i++) {
        struct api_healthcheck_result *r = api_healthcheck_result_list_add(&ret->log);

        clock_format(h->log[i].start, start);
        clock_format(h->log[i].end, end);
        if (!r || str_set(&r->start, start) < 0 || str_set(&r->end, end) < 0 || str_set(&r->output, h->log[i].output) < 0)
            return err_oom(e);
        r->exit_code = h->log[i].code;
        r->has_exit_code = true;
    }
    return 0;
}
