// SPDX-License-Identifier: Apache-2.0
/*
 * Sections: the event and its text; matching; subscribers (all on the loop's thread); publishing; serving.
 */
#include "system/events.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "types.h"
#include "wire/call.h"
#include "wire/codec.h"
#include "wire/loop.h"
#include "wire/stream.h"

#define EVENT_BYTES_MAX MIB(4)
#define REST_MAX_NS (5 * NSEC_PER_MSEC)
#define REST_PER_WORK 3

struct event {
    atomic_int refs;
    uint64_t seq;
    struct event *next; /* in events.waiting */
    int64_t at_ns;
    char *type, *action, *actor_id;
    struct strv attrs; /* KEY=VALUE */
    struct buf line;   /* JSON and a newline */
};

struct subscriber {
    struct events *ev;
    struct subscriber *prev, *next;
    struct stream *stream;
    struct loop_timer *until;
    struct filters filters;
    uint64_t after_seq; /* events up to this one were replayed */
};

struct events {
    struct loop *loop;
    pthread_mutex_t lock; /* of ring, seq, what waits */
    struct event *ring[LIMIT_EVENT_BACKLOG];
    uint64_t seq;                         /* number of the newest event; it is ring[seq % LIMIT_EVENT_BACKLOG] */
    struct event *waiting, **waiting_end; /* to be delivered, in order */
    size_t n_waiting;
    bool called; /* the loop has been told that some wait */
    atomic_llong listeners;
    /* loop thread only */
    struct subscriber *first;
    struct loop_timer *timer; /* runs while some wait */
    int64_t rest_until;       /* CLOCK_MONOTONIC: what is published until then waits */
};

/* ---- the event and its text ------------------------------------------------------------------------------------------------ */

static void event_unref(struct event *event) {
    if (!event || atomic_fetch_sub(&event->refs, 1) != 1)
        return;
    free(event->type);
    free(event->action);
    free(event->actor_id);
    strv_done(&event->attrs);
    buf_done(&event->line);
    free(event);
}
DEFINE_CLEANUP(struct event *, event_unref)

static const char *attr(const struct event *event, const char *key) {
    return strv_env_get(&event->attrs, key);
}

/* The fields before "Type" exist for containers and images only: what old clients read. */
static int event_write(struct event *event, struct err *e) {
    struct api_event_actor actor = {.id = event->actor_id};
    struct api_event_message m = {.type = event->type, .action = event->action, .actor = &actor, .scope = (char *)"local"};
    bool container = streq(event->type, "container");
    int r = 0;

    if (container || streq(event->type, "image")) {
        m.status = event->action;
        m.id = event->actor_id;
        m.from = container ? (char *)attr(event, "image") : NULL;
    }
    m.time = event->at_ns / NSEC_PER_SEC;
    m.time_nano = event->at_ns;
    m.has_time = m.has_time_nano = true;
    actor.attributes.set = true;
    for (size_t i = 0; i < event->attrs.n && r == 0; i++) {
        const char *eq = strchr(event->attrs.v[i], '=');
        _cleanup_free_ char *key = eq ? strndup(event->attrs.v[i], (size_t)(eq - event->attrs.v[i])) : NULL;

        r = key ? api_string_map_set(&actor.attributes, key, eq + 1, e) : err_oom(e);
    }
    if (r == 0)
        r = api_event_message_write(&m, 145 | CODEC_ESCAPE_HTML, &event->line, e);
    api_string_map_done(&actor.attributes);
    if (r < 0)
        return r;
    buf_addc(&event->line, '\n');
    return buf_check(&event->line, e);
}

static int event_new(const char *type, const char *action, const char *actor_id, const struct strv *attrs, struct event **ret, struct err *e) {
    _cleanup_(event_unrefp) struct event *event = calloc(1, sizeof(*event));
    int r;

    if (!event)
        return err_oom(e);
    event->refs = 1;
    event->line = BUF_INIT(EVENT_BYTES_MAX);
    event->at_ns = clock_wall_ns();
    event->type = strdup(type);
    event->action = strdup(action);
    event->actor_id = strdup(actor_id);
    if (!event->type || !event->action || !event->actor_id || (attrs && strv_copy(&event->attrs, attrs) < 0))
        return err_oom(e);
    r = event_write(event, e);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(event);
    return 0;
}

/* ---- matching ---------------------------------------------------------------------------------------------------------------- */

/* "exec_create: sh" answers to event=exec_create; so do exec_start and health_status. Everything else is compared whole. */
static bool matches_action(const struct filters *f, const char *action) {
    static const char *const families[] = {"exec_create", "exec_start", "health_status"};
    const struct strv *wanted = filters_get(f, "event");

    for (size_t i = 0; wanted && i < ELEMENTSOF(families); i++)
        if (strv_has(wanted, families[i]))
            return filters_fuzzy(f, "event", action);
    return filters_exact(f, "event", action);
}

/* By the beginning of id or name, whatever kind of thing the event is about: a volume answers to container=NAME, too. */
static bool matches_name(const struct event *event, const struct filters *f, const char *type) {
    const char *name;

    if (!filters_has(f, type) || filters_get(f, type)->n == 0)
        return true;
    name = attr(event, "name");
    return filters_fuzzy(f, type, event->actor_id) || (name && filters_fuzzy(f, type, name));
}

static bool matches_image_text(const struct filters *f, const char *image) {
    _cleanup_free_ char *bare = NULL;
    char *colon;

    if (!image)
        return false;
    if (filters_exact(f, "image", image))
        return true;
    bare = strdup(image);
    colon = bare ? strrchr(bare, ':') : NULL;
    if (colon && !strchr(colon, '/'))
        *colon = 0;
    return bare && filters_exact(f, "image", bare);
}

/* An image filter means images by id or name, and containers by the image they were made from. */
static bool matches_image(const struct event *event, const struct filters *f) {
    const struct strv *wanted = filters_get(f, "image");
    bool image = streq(event->type, "image");

    if (!wanted || wanted->n == 0)
        return true;
    return matches_image_text(f, event->actor_id) || matches_image_text(f, attr(event, image ? "name" : "image"));
}

static bool event_matches(const struct event *event, const struct filters *f) {
    static const char *const kinds[] = {"container", "plugin", "volume", "network", "daemon", "service", "node", "secret", "config"};

    if (!matches_action(f, event->action) || !filters_exact(f, "type", event->type) || !filters_exact(f, "scope", "local"))
        return false;
    for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
        if (!matches_name(event, f, kinds[i]))
            return false;
    return matches_image(event, f) && filters_kv(f, "label", &event->attrs);
}

/* ---- subscribers: loop thread only --------------------------------------------------------------------------------------------- */

static void subscriber_free(struct subscriber *s) {
    if (!s)
        return;
    if (s->prev)
        s->prev->next = s->next;
    else if (s->ev->first == s)
        s->ev->first = s->next;
    if (s->next)
        s->next->prev = s->prev;
    loop_timer_free(s->until);
    filters_done(&s->filters);
    stream_free(s->stream);
    atomic_fetch_sub(&s->ev->listeners, 1);
    free(s);
}

static void on_gone(struct stream *stream, void *data) {
    subscriber_free(data);
}

static void finish(struct subscriber *s) {
    stream_end(s->stream);
    s->stream = NULL;
    subscriber_free(s);
}

static void deliver_waiting(struct events *ev);

static void on_until(struct loop_timer *t, void *data) {
    struct subscriber *s = data;

    deliver_waiting(s->ev);
    finish(s);
}

/* A failed write means the client is gone: on_gone follows from the loop, so nothing is done here. */
static void deliver_to(struct subscriber *s, const struct event *events) {
    for (const struct event *event = events; event; event = event->next)
        if (event->seq > s->after_seq && event_matches(event, &s->filters))
            ignore_result(stream_add(s->stream, event->line.data, event->line.len, NULL) < 0);
    ignore_result(stream_send(s->stream, NULL) < 0);
}

static struct event *take_waiting(struct events *ev) {
    struct event *waiting;

    pthread_mutex_lock(&ev->lock);
    waiting = ev->waiting;
    ev->waiting = NULL;
    ev->waiting_end = &ev->waiting;
    ev->n_waiting = 0;
    ev->called = false;
    pthread_mutex_unlock(&ev->lock);
    return waiting;
}

static void events_unref(struct event *waiting) {
    while (waiting) {
        struct event *next = waiting->next;

        event_unref(waiting);
        waiting = next;
    }
}

/*
 * One call of the system for each listener, however many events there are. After that comes a rest of some times the work, so that in a burst of events
 * many listeners cost no more than a quarter of a processor: what comes meanwhile goes together, and the loop is not even woken for it.
 */
static void deliver_waiting(struct events *ev) {
    int64_t began = clock_thread_ns();
    struct event *waiting = take_waiting(ev);

    for (struct subscriber *s = ev->first; s; s = s->next)
        deliver_to(s, waiting);
    events_unref(waiting);
    ev->timer = loop_timer_free(ev->timer);
    ev->rest_until = clock_mono_ns() + MIN(REST_PER_WORK * (clock_thread_ns() - began), REST_MAX_NS);
}

static void on_rested(struct loop_timer *t, void *data) {
    deliver_waiting(data);
}

static void deliver(void *data) {
    struct events *ev = data;
    int64_t left = ev->rest_until - clock_mono_ns();

    if (left <= 0 || (!ev->timer && loop_timer(ev->loop, left, 0, on_rested, ev, &ev->timer, NULL) < 0))
        deliver_waiting(ev);
}

static void deliver_many(void *data) {
    deliver_waiting(data);
}

/* ---- publishing ------------------------------------------------------------------------------------------------------------------ */

int events_new(struct loop *loop, struct events **ret, struct err *e) {
    struct events *ev = calloc(1, sizeof(*ev));

    if (!ev)
        return err_oom(e);
    ev->loop = loop;
    ev->waiting_end = &ev->waiting;
    pthread_mutex_init(&ev->lock, NULL);
    *ret = ev;
    return 0;
}

struct events *events_free(struct events *ev) {
    if (!ev)
        return NULL;
    while (ev->first)
        subscriber_free(ev->first);
    loop_timer_free(ev->timer);
    events_unref(ev->waiting);
    for (size_t i = 0; i < LIMIT_EVENT_BACKLOG; i++)
        event_unref(ev->ring[i]);
    pthread_mutex_destroy(&ev->lock);
    free(ev);
    return NULL;
}

int64_t events_listeners(struct events *ev) {
    return atomic_load(&ev->listeners);
}

/* The loop is woken by the first that waits, and once more when it should not rest any longer. With the lock held. */
static void deliver_soon(struct events *ev, struct event *event) {
    event->next = NULL;
    atomic_fetch_add(&event->refs, 1);
    *ev->waiting_end = event;
    ev->waiting_end = &event->next;
    if (++ev->n_waiting == LIMIT_EVENT_BACKLOG)
        ignore_result(loop_post(ev->loop, deliver_many, ev, NULL) < 0);
    if (!ev->called)
        ev->called = loop_post(ev->loop, deliver, ev, NULL) >= 0;
}

void events_publish(struct events *ev, const char *type, const char *action, const char *actor_id, const struct strv *attrs) {
    _cleanup_(event_unrefp) struct event *event = NULL, *oldest = NULL;
    _cleanup_err_ struct err e = ERR_INIT;

    if (event_new(type, action, actor_id, attrs, &event, &e) < 0) {
        log_kv(LOG_LVL_ERROR, "an event was lost", "type", type, "action", action, "id", actor_id, "error", err_msg(&e), NULL);
        return;
    }
    /* Numbered and put in line under one lock: delivery is in order of numbers, and whoever begins to listen after the look at who listens replays this one. */
    pthread_mutex_lock(&ev->lock);
    event->seq = ++ev->seq;
    oldest = ev->ring[event->seq % LIMIT_EVENT_BACKLOG];
    if (atomic_load(&ev->listeners) > 0)
        deliver_soon(ev, event);
    ev->ring[ev->seq % LIMIT_EVENT_BACKLOG] = TAKE_PTR(event);
    pthread_mutex_unlock(&ev->lock);
}

/* ---- serving ---------------------------------------------------------------------------------------------------------------------- */

struct serve {
    struct events *ev;
    struct taken *conn;
    struct filters *filters;
    uint64_t mark;
    int64_t since_ns, until_ns;
};

/* What is in the ring and meant: from the time asked for, and all since the request came. */
static void replay(struct subscriber *s, const struct serve *w) {
    struct event *past[LIMIT_EVENT_BACKLOG];
    uint64_t oldest;
    size_t n = 0;

    pthread_mutex_lock(&s->ev->lock);
    s->after_seq = s->ev->seq;
    oldest = s->ev->seq > LIMIT_EVENT_BACKLOG ? s->ev->seq - LIMIT_EVENT_BACKLOG : 0;
    for (uint64_t seq = w->since_ns || w->until_ns ? oldest : MAX(oldest, w->mark); seq < s->ev->seq; seq++) {
        struct event *event = s->ev->ring[(seq + 1) % LIMIT_EVENT_BACKLOG];

        if (event->at_ns < w->since_ns || (w->until_ns && event->at_ns > w->until_ns))
            continue;
        atomic_fetch_add(&event->refs, 1);
        past[n++] = event;
    }
    pthread_mutex_unlock(&s->ev->lock);
    for (size_t i = 0; i < n; i++) {
        if (event_matches(past[i], &s->filters))
            ignore_result(stream_write(s->stream, past[i]->line.data, past[i]->line.len, NULL) < 0);
        event_unref(past[i]);
    }
}

static int subscribe(void *data, struct err *e) {
    static const struct stream_handlers handlers = {.on_gone = on_gone};
    struct serve *w = data;
    struct subscriber *s = calloc(1, sizeof(*s));
    int64_t left;
    int r;

    if (!s)
        return err_oom(e);
    r = stream_new(w->ev->loop, w->conn, STREAM_CHUNKED, MIB(1), &handlers, s, &s->stream, e);
    if (r < 0) {
        free(s);
        return r;
    }
    s->ev = w->ev;
    s->filters = *w->filters;
    *w->filters = FILTERS_INIT;
    s->next = w->ev->first;
    if (s->next)
        s->next->prev = s;
    w->ev->first = s;
    /* Counted before the backlog is read, so that a publisher that comes after sees somebody listening. */
    atomic_fetch_add(&w->ev->listeners, 1);
    replay(s, w);
    left = w->until_ns ? w->until_ns - clock_wall_ns() : 0;
    if (w->until_ns && left <= 0) {
        finish(s);
        return 0;
    }
    if (w->until_ns) {
        r = loop_timer(w->ev->loop, left, 0, on_until, s, &s->until, e);
        if (r < 0) {
            /* The head is sent: all that is left to say is the end of the stream. */
            finish(s);
            return 0;
        }
    }
    return 0;
}

uint64_t events_mark(struct events *ev) {
    uint64_t mark;

    pthread_mutex_lock(&ev->lock);
    mark = ev->seq;
    pthread_mutex_unlock(&ev->lock);
    return mark;
}

int events_serve(struct events *ev, struct taken *conn, struct filters *filters, uint64_t mark, int64_t since_ns, int64_t until_ns, struct err *e) {
    struct serve w = {ev, conn, filters, mark, since_ns, until_ns};

    return loop_call(ev->loop, subscribe, &w, e);
}
