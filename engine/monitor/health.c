// SPDX-License-Identifier: Apache-2.0
/* Health checks: when to probe, the probe's process, what its end says, and the last results for a daemon that comes later. */
#include "monitor/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/timerfd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "kern/proc.h"
#include "monitor/health.h"

#define NOT_RUN -1 /* exit code of a probe that did not start or did not end in time */

struct result {
    char id[MP_EXEC_ID_MAX];
    int64_t code, start, end;
    char *output;
    size_t n_output;
};

struct health {
    const void *plan_mem;
    size_t plan_size;
    struct plan plan;
    int64_t interval, timeout, start_period, start_interval; /* ns */
    int retries;
    struct src timer;
    enum mp_health status;
    int streak;
    int64_t started_mono;
    bool paused;
    /* the probe under way */
    struct proc *probe;
    int64_t start;
    bool cancelled, late;
    char *output; /* LIMIT_HEALTH_OUTPUT bytes while a probe runs */
    size_t n_output;
    bool cut;
    struct result log[LIMIT_HEALTH_LOG];
    size_t n_log;
};

/* ---- the timer -------------------------------------------------------------------------------------------------------- */

static void set_timer(struct mon *m, int64_t ns) {
    struct itimerspec t = {.it_value = {ns / NSEC_PER_SEC, ns % NSEC_PER_SEC}};

    if (m->health->timer.fd < 0) {
        m->health->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        src_set(m, &m->health->timer, EPOLLIN);
    }
    ignore_result(timerfd_settime(m->health->timer.fd, 0, &t, NULL));
}

/* While the container is starting up and never was healthy, probes come at their own pace. */
static void plan_next(struct mon *m) {
    const struct health *h = m->health;
    bool early = clock_mono_ns() - h->started_mono < h->start_period && h->status == MP_STARTING;

    set_timer(m, early ? h->start_interval : h->interval);
}

/* ---- results ---------------------------------------------------------------------------------------------------------- */

static void tell(struct mon *m, const struct result *r, uint32_t flags) {
    char body[MP_EXEC_ID_MAX + LIMIT_HEALTH_OUTPUT + 512];
    size_t n_id = strlen(r->id) + 1, n = r->n_output;
    struct mp_head h = {.type = MP_HEALTH, .reserved = flags, .v = {r->code, r->start, r->end, m->health->status | (int64_t)m->health->streak << 8}};

    if (n_id + n > sizeof body)
        n = sizeof body - n_id;
    memcpy(body, r->id, n_id);
    if (n)
        memcpy(body + n_id, r->output, n);
    h.len = (uint32_t)(n_id + n);
    mon_send(m, &h, body);
}

static void keep(struct health *h, const struct result *r) {
    if (h->n_log == LIMIT_HEALTH_LOG) {
        free(h->log[0].output);
        memmove(h->log, h->log + 1, (LIMIT_HEALTH_LOG - 1) * sizeof *h->log);
        h->n_log--;
    }
    h->log[h->n_log++] = *r;
}

/* A failure in the start period of a container that never was healthy does not count. */
static void judge(struct mon *m, const struct result *r) {
    struct health *h = m->health;

    if (r->code == 0) {
        h->streak = 0;
        h->status = MP_HEALTHY;
        return;
    }
    if (h->status == MP_STARTING && r->start - m->started_at < h->start_period)
        return;
    if (++h->streak >= h->retries)
        h->status = MP_UNHEALTHY;
}

static void conclude(struct mon *m, struct result *r, uint32_t flags) {
    judge(m, r);
    keep(m->health, r);
    tell(m, r, flags);
    plan_next(m);
}

static char *copy_of(const char *p, size_t n) {
    char *c = malloc(n + 1);

    if (c)
        memcpy(c, p, n);
    return c;
}

/* Nanoseconds as Go prints a duration: 1.5s, 30s, 2m0s, 250ms. */
size_t health_duration(int64_t ns, char *ret, size_t max) {
    char seconds[40];
    int64_t whole = ns / NSEC_PER_SEC, part = ns % NSEC_PER_SEC, unit = NSEC_PER_SEC, minutes = whole / 60;
    const char *name = "s";
    int n;

    if (ns < NSEC_PER_SEC) {
        unit = ns >= NSEC_PER_MSEC ? NSEC_PER_MSEC : ns >= 1000 ? 1000 : 1;
        name = unit == NSEC_PER_MSEC ? "ms" : unit == 1000 ? "\xc2\xb5s" : "ns";
        whole = ns / unit;
        part = ns % unit;
    } else {
        whole %= 60;
    }
    n = snprintf(seconds, sizeof seconds, "%lld", (long long)whole);
    if (part) {
        int digits = unit == NSEC_PER_SEC ? 9 : unit == NSEC_PER_MSEC ? 6 : 3;

        n += snprintf(seconds + n, sizeof seconds - (size_t)n, ".%0*lld", digits, (long long)part);
        while (seconds[n - 1] == '0')
            seconds[--n] = 0;
    }
    if (ns >= 3600 * NSEC_PER_SEC)
        n = snprintf(ret, max, "%lldh%lldm%s%s", (long long)(minutes / 60), (long long)(minutes % 60), seconds, name);
    else if (ns >= 60 * NSEC_PER_SEC)
        n = snprintf(ret, max, "%lldm%s%s", (long long)minutes, seconds, name);
    else
        n = snprintf(ret, max, "%s%s", seconds, name);
    return n > 0 ? (size_t)n : 0;
}

/* ---- one probe -------------------------------------------------------------------------------------------------------- */

static void new_id(char ret[MP_EXEC_ID_MAX]) {
    uint8_t bytes[32];

    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        memset(bytes, 0, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

static void not_started(struct mon *m, const struct proc *p, const struct oci_fault *f, int r) {
    struct result res = {.code = NOT_RUN, .start = m->health->start, .end = clock_wall_ns()};
    char text[OCI_FAULT_TEXT + 128];
    int n = snprintf(text, sizeof text, "OCI runtime exec failed: exec failed: unable to start container process: %s: unknown",
                     f->text[0] ? f->text : strerrordesc_np(-r));

    memcpy(res.id, p->id, sizeof res.id);
    res.n_output = n > 0 ? MIN((size_t)n, sizeof text - 1) : 0;
    res.output = copy_of(text, res.n_output);
    conclude(m, &res, MP_HEALTH_NOT_RUN);
}

static void probe(struct mon *m) {
    struct health *h = m->health;
    struct proc *p = calloc(1, sizeof *p);
    struct oci_fault f = {0};
    struct mp_head begin = {.type = MP_PROBE};
    int r;

    if (!p) {
        plan_next(m);
        return;
    }
    proc_init(p);
    new_id(p->id);
    p->is_probe = true;
    h->start = clock_wall_ns();
    h->n_output = 0;
    h->cut = h->late = h->cancelled = false;
    begin.len = (uint32_t)strlen(p->id);
    mon_send(m, &begin, p->id);
    r = proc_exec(m, p, &h->plan, true, &f);
    if (r < 0) {
        proc_close(m, p);
        not_started(m, p, &f, r);
        free(p);
        return;
    }
    h->probe = p;
    p->next = m->execs;
    m->execs = p;
    proc_watch(m, p);
    set_timer(m, h->timeout);
}

static void kill_probe(struct mon *m) {
    if (m->health->probe && m->health->probe->pidfd >= 0)
        ignore_result(m->k->pidfd_send_signal(m->health->probe->pidfd, SIGKILL));
}

void health_timer(struct mon *m) {
    struct health *h = m->health;
    uint64_t n;

    ignore_result(read(h->timer.fd, &n, sizeof n));
    if (h->paused || m->first.exited)
        return;
    if (!h->probe) {
        probe(m);
    } else if (!h->cancelled) {
        h->late = true;
        if (h->probe->exited)
            proc_abandon(m, h->probe);
        else
            kill_probe(m);
    } else {
        plan_next(m); /* one that was cancelled is still ending */
    }
}

void health_output(struct mon *m, const char *p, size_t n) {
    struct health *h = m->health;
    size_t room = LIMIT_HEALTH_OUTPUT - h->n_output;

    if (!h->output)
        h->output = malloc(LIMIT_HEALTH_OUTPUT);
    if (!h->output)
        return;
    h->cut = h->cut || n > room;
    n = MIN(n, room);
    memcpy(h->output + h->n_output, p, n);
    h->n_output += n;
}

/* The end of the container's first process kills all others, and they are reaped before it: a probe among them says nothing. */
static bool init_is_ending(const struct mon *m) {
    struct proc_stat s;

    return proc_stat_of(m->first.pid, &s) < 0 || (s.flags & PROC_EXITING);
}

void health_ended(struct mon *m, struct proc *p) {
    struct health *h = m->health;
    struct result res = {.code = p->code, .start = h->start, .end = clock_wall_ns()};
    char text[LIMIT_HEALTH_OUTPUT + 128], lasted[64];
    size_t n = 0;

    h->probe = NULL;
    if (h->cancelled || m->first.exited || (p->signal == SIGKILL && !h->late && init_is_ending(m)))
        return;
    if (h->late) {
        res.code = NOT_RUN;
        health_duration(h->timeout, lasted, sizeof lasted);
        n = (size_t)snprintf(text, sizeof text, "Health check exceeded timeout (%s)%s", lasted, h->n_output ? ": " : "");
    }
    if (h->n_output)
        memcpy(text + n, h->output, h->n_output);
    n += h->n_output;
    if (h->cut) {
        memcpy(text + n, "...", 3);
        n += 3;
    }
    free(h->output);
    h->output = NULL;
    memcpy(res.id, p->id, sizeof res.id);
    res.output = copy_of(text, n);
    res.n_output = res.output ? n : 0;
    /* The process's own code is told by the event of its end, whatever the check makes of it. */
    conclude(m, &res, h->late ? MP_HEALTH_LATE | (uint32_t)p->code << MP_HEALTH_CODE_SHIFT : 0);
}

/* ---- the container's life --------------------------------------------------------------------------------------------- */

int health_plan(struct mon *m, const struct mp_head *q, int fd) {
    struct health *h = m->health || m->started ? NULL : calloc(1, sizeof *h);
    int r;

    if (!h)
        return -EPROTO;
    h->timer = (struct src){SRC_HEALTH, -EBADF, 0, NULL};
    h->interval = q->v[0];
    h->timeout = q->v[1];
    h->start_period = q->v[2];
    h->start_interval = q->v[3];
    h->retries = (int)q->reserved;
    r = plan_map(fd, &h->plan, &h->plan_mem, &h->plan_size);
    if (r < 0) {
        free(h);
        return r;
    }
    m->health = h;
    return 0;
}

void health_start(struct mon *m) {
    if (!m->health)
        return;
    m->health->started_mono = clock_mono_ns();
    m->health->status = MP_STARTING;
    plan_next(m);
}

/* A container that stands still has no health: as with the reference it counts as not healthy until a probe says otherwise. */
void health_pause(struct mon *m, bool pause) {
    struct health *h = m->health;

    if (!h || h->paused == pause)
        return;
    h->paused = pause;
    if (pause) {
        h->status = MP_UNHEALTHY;
        h->cancelled = h->probe != NULL;
        kill_probe(m);
        set_timer(m, 0);
    } else {
        plan_next(m);
    }
}

void health_stop(struct mon *m) {
    if (!m->health)
        return;
    m->health->cancelled = m->health->probe != NULL;
    kill_probe(m);
    src_close(m, &m->health->timer);
}

void health_replay(struct mon *m) {
    struct result none = {0};

    if (!m->health)
        return;
    for (size_t i = 0; i < m->health->n_log; i++)
        tell(m, &m->health->log[i], MP_HEALTH_REPLAY);
    if (!m->first.exited)
        tell(m, &none, MP_HEALTH_STATUS);
}

/* For a daemon that finds only the record of the exit: the same messages, one after the other. */
void health_record(struct mon *m) {
    char path[600], tmp[600];
    const struct health *h = m->health;
    bool ok = true;
    int fd;

    if (!h || !h->n_log)
        return;
    snprintf(path, sizeof path, "%s/" MP_HEALTH_FILE, m->exec_dir);
    snprintf(tmp, sizeof tmp, "%s/." MP_HEALTH_FILE, m->exec_dir);
    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    for (size_t i = 0; i < h->n_log; i++) {
        const struct result *r = &h->log[i];
        struct mp_head head = {.type = MP_HEALTH,
                               .reserved = MP_HEALTH_REPLAY,
                               .len = (uint32_t)(strlen(r->id) + 1 + r->n_output),
                               .v = {r->code, r->start, r->end, h->status | (int64_t)h->streak << 8}};

        ok = ok && write(fd, &head, sizeof head) == (ssize_t)sizeof head && write(fd, r->id, strlen(r->id) + 1) == (ssize_t)strlen(r->id) + 1 &&
             write(fd, r->output ? r->output : "", r->n_output) == (ssize_t)r->n_output;
    }
    close_fd(fd);
    if (ok)
        ignore_result(rename(tmp, path));
}

void health_trim(struct mon *m) {
    if (m->health && !m->health->probe)
        ignore_result(madvise((void *)(uintptr_t)m->health->plan_mem, m->health->plan_size, MADV_DONTNEED));
}
