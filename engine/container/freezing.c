// SPDX-License-Identifier: Apache-2.0
#include "container/freezing.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "container/reaper.h"
#include "kern/cgroup.h"
#include "wire/loop.h"

#define GROUP "/hatake-freezing"
#define HOLD_NS (2 * NSEC_PER_SEC)

struct ctr_freezing {
    struct loop *loop;
    struct ctr_reaper *reaper;
    char *group;              /* whole path; NULL: there is nothing to prepare */
    struct loop_timer *timer; /* loop thread only */
    pthread_mutex_t lock;
    int64_t used_ns; /* last use */
    bool wanted;     /* from the first use until the group has gone */
};

/* The group's end is what thaws it. */
static void release(struct ctr_freezing *f) {
    ignore_result(rmdir(f->group));
}

/* On a tidying thread: making and taking away groups can wait for others that do. */
static void give_up(void *arg) {
    release(arg);
}

static void look(struct loop_timer *t, void *data) {
    struct ctr_freezing *f = data;

    pthread_mutex_lock(&f->lock);
    f->wanted = clock_mono_ns() - f->used_ns < HOLD_NS;
    if (!f->wanted) {
        f->timer = loop_timer_free(t);
        ctr_reaper_put(f->reaper, give_up, f);
    }
    pthread_mutex_unlock(&f->lock);
}

static void watch(void *data) {
    struct ctr_freezing *f = data;

    if (!f->timer && loop_timer(f->loop, HOLD_NS, HOLD_NS / 2, look, f, &f->timer, NULL) < 0)
        ctr_reaper_put(f->reaper, give_up, f);
}

static void prepare(void *arg) {
    struct ctr_freezing *f = arg;
    _cleanup_free_ char *state = str_printf("%s/freezer.state", f->group);

    if (state && (mkdir(f->group, 0755) == 0 || errno == EEXIST))
        ignore_result(fs_write_knob(state, "FROZEN", NULL) < 0);
    if (loop_post(f->loop, watch, f, NULL) < 0)
        release(f);
}

void ctr_freezing_used(struct ctr_freezing *f) {
    bool first;

    if (!f || !f->group)
        return;
    pthread_mutex_lock(&f->lock);
    first = !f->wanted;
    f->wanted = true;
    f->used_ns = clock_mono_ns();
    pthread_mutex_unlock(&f->lock);
    if (first)
        ctr_reaper_put(f->reaper, prepare, f);
}

int ctr_freezing_new(struct loop *loop, struct ctr_reaper *reaper, struct ctr_freezing **ret, struct err *e) {
    struct ctr_freezing *f = calloc(1, sizeof *f);
    const struct cgroup_hierarchy *h = NULL;
    struct cgroup_layout l;

    if (!f)
        return err_oom(e);
    f->loop = loop;
    f->reaper = reaper;
    pthread_mutex_init(&f->lock, NULL);
    if (loop && cgroup_detect(&l, NULL) >= 0 && !l.pure_v2)
        h = cgroup_of(&l, "freezer");
    f->group = h ? str_printf("%s" GROUP, h->mount) : NULL;
    if (h && !f->group) {
        ctr_freezing_free(f);
        return err_oom(e);
    }
    if (f->group)
        release(f);
    *ret = f;
    return 0;
}

struct ctr_freezing *ctr_freezing_free(struct ctr_freezing *f) {
    if (!f)
        return NULL;
    loop_timer_free(f->timer);
    if (f->wanted)
        release(f);
    pthread_mutex_destroy(&f->lock);
    free(f->group);
    free(f);
    return NULL;
}
