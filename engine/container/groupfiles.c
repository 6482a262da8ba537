// SPDX-License-Identifier: Apache-2.0
#include "container/groupfiles.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "kern/cgroup.h"
#include "wire/loop.h"

#define PIECE KIB(16)
#define KEEP_NS (3 * NSEC_PER_SEC)

static const struct {
    const char *controller, *name;
} files[GROUP_FILES] = {
    [GROUP_PIDS_CURRENT] = {"pids", "pids.current"},
    [GROUP_PIDS_MAX] = {"pids", "pids.max"},
    [GROUP_CPU_STAT] = {"cpu", "cpu.stat"},
    [GROUP_CPUACCT_STAT] = {"cpuacct", "cpuacct.stat"},
    [GROUP_CPUACCT_PERCPU] = {"cpuacct", "cpuacct.usage_percpu"},
    [GROUP_MEMORY_USAGE] = {"memory", "memory.usage_in_bytes"},
    [GROUP_MEMORY_MOST] = {"memory", "memory.max_usage_in_bytes"},
    [GROUP_MEMORY_FAILURES] = {"memory", "memory.failcnt"},
    [GROUP_MEMORY_LIMIT] = {"memory", "memory.limit_in_bytes"},
    [GROUP_MEMORY_STAT] = {"memory", "memory.stat"},
    [GROUP_BLKIO_BYTES] = {"blkio", "blkio.throttle.io_service_bytes_recursive"},
    [GROUP_BLKIO_TIMES] = {"blkio", "blkio.throttle.io_serviced_recursive"},
    [GROUP_MEMORY_CURRENT] = {"memory", "memory.current"},
    [GROUP_MEMORY_MAX] = {"memory", "memory.max"},
    [GROUP_MEMORY_EVENTS] = {"memory", "memory.events"},
    [GROUP_IO_STAT] = {"io", "io.stat"},
};

struct group_files {
    char id[65];
    int64_t run, used_ns;
    char *path;
    struct cgroup_layout layout;
    struct buf text;
    int fd[GROUP_FILES];
};

struct group_cache {
    struct loop *loop;
    struct loop_timer *timer; /* loop thread only */
    pthread_mutex_t lock;
    struct group_files *kept[GROUP_FILES_KEPT]; /* the first n, in no order */
    size_t n;
    bool watched; /* the timer runs, or soon will */
    /* the machine's processors at that moment (0: never) */
    int64_t machine_at_ns, machine_ns, online;
};

static struct group_files *files_free(struct group_files *g) {
    if (!g)
        return NULL;
    for (size_t i = 0; i < GROUP_FILES; i++)
        close_fd(g->fd[i]);
    buf_done(&g->text);
    free(g->path);
    free(g);
    return NULL;
}
DEFINE_CLEANUP(struct group_files *, files_free)

static int files_new(const char *id, int64_t run, const char *path, struct group_files **ret, struct err *e) {
    _cleanup_(files_freep) struct group_files *g = calloc(1, sizeof *g);
    int r;

    if (!g)
        return err_oom(e);
    for (size_t i = 0; i < GROUP_FILES; i++)
        g->fd[i] = -EBADF;
    g->run = run;
    g->text = BUF_INIT(LIMIT_SMALL_FILE);
    g->path = strdup(path);
    if (!g->path)
        return err_oom(e);
    snprintf(g->id, sizeof g->id, "%s", id);
    r = cgroup_detect(&g->layout, e);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(g);
    return 0;
}

bool group_files_v2(const struct group_files *g) {
    return g->layout.pure_v2;
}

static int open_file(const struct group_files *g, enum group_file file) {
    const struct cgroup_hierarchy *h = cgroup_of(&g->layout, files[file].controller);
    char path[PATH_MAX];

    if (!h || snprintf(path, sizeof path, "%s%s/%s", h->mount, g->path, files[file].name) >= (int)sizeof path)
        return -EBADF;
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* Such a file comes whole in one read that has room for it, made anew for each reading from its start (kernfs). */
const char *group_files_text(struct group_files *g, enum group_file file) {
    ssize_t n = PIECE;
    off_t at = 0;

    buf_reset(&g->text);
    if (g->fd[file] < 0)
        g->fd[file] = open_file(g, file);
    while (g->fd[file] >= 0 && n == PIECE) {
        char *room = buf_reserve(&g->text, PIECE);

        n = room ? pread(g->fd[file], room, PIECE, at) : 0;
        if (n > 0)
            buf_commit(&g->text, (size_t)n);
        at += n;
    }
    return buf_str(&g->text);
}

int64_t group_files_number(struct group_files *g, enum group_file file) {
    return (int64_t)strtoull(group_files_text(g, file), NULL, 10);
}

/* ---- what is kept -------------------------------------------------------------------------------------------------------- */

/* Take out the sets that nobody has used for long, into old[GROUP_FILES_KEPT]; returns how many. The lock is held. */
static size_t take_old(struct group_cache *c, int64_t before, struct group_files **old) {
    size_t n = 0;

    for (size_t i = 0; i < c->n;)
        if (c->kept[i]->used_ns < before) {
            old[n++] = c->kept[i];
            c->kept[i] = c->kept[--c->n];
        } else {
            i++;
        }
    return n;
}

static void look(struct loop_timer *t, void *data) {
    struct group_files *old[GROUP_FILES_KEPT];
    struct group_cache *c = data;
    size_t n;

    pthread_mutex_lock(&c->lock);
    n = take_old(c, clock_mono_ns() - KEEP_NS, old);
    c->watched = c->n > 0;
    if (!c->watched)
        c->timer = loop_timer_free(t);
    pthread_mutex_unlock(&c->lock);
    while (n > 0)
        files_free(old[--n]);
}

static void watch(void *data) {
    struct group_cache *c = data;

    if (!c->timer && loop_timer(c->loop, KEEP_NS, KEEP_NS, look, c, &c->timer, NULL) < 0)
        c->timer = NULL; /* what is kept stays until it is used or the cache is full */
}

int group_files_take(struct group_cache *c, const char *id, int64_t run, const char *path, struct group_files **ret, struct err *e) {
    struct group_files *g = NULL;

    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->n && !g; i++)
        if (streq(c->kept[i]->id, id)) {
            g = c->kept[i];
            c->kept[i] = c->kept[--c->n];
        }
    pthread_mutex_unlock(&c->lock);
    if (g && (g->run != run || !streq(g->path, path)))
        g = files_free(g);
    if (!g)
        return files_new(id, run, path, ret, e);
    *ret = g;
    return 0;
}

/* The place of a set that shall go for g: another of the same container (two asked at the same time), else the one used longest ago. */
static size_t worst(const struct group_cache *c, const struct group_files *g) {
    size_t oldest = 0;

    for (size_t i = 0; i < c->n; i++) {
        if (streq(c->kept[i]->id, g->id))
            return i;
        if (c->kept[i]->used_ns < c->kept[oldest]->used_ns)
            oldest = i;
    }
    return c->n < GROUP_FILES_KEPT ? c->n : oldest;
}

void group_files_put(struct group_cache *c, struct group_files *g) {
    struct group_files *old = NULL;
    bool first;
    size_t at;

    if (!g)
        return;
    g->used_ns = clock_mono_ns();
    buf_done(&g->text);
    g->text = BUF_INIT(LIMIT_SMALL_FILE);
    pthread_mutex_lock(&c->lock);
    at = worst(c, g);
    if (at == c->n)
        c->n++;
    else
        old = c->kept[at];
    c->kept[at] = g;
    first = !c->watched;
    c->watched = true;
    pthread_mutex_unlock(&c->lock);
    files_free(old);
    if (first)
        ignore_result(loop_post(c->loop, watch, c, NULL) < 0); /* refused: the engine ends, and the cache with it */
}

/* ---- the machine --------------------------------------------------------------------------------------------------------- */

/* proc(5): the first line is the sum of all processors, of which one line each follows. */
static int read_machine(struct group_cache *c) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE * 4);
    int64_t ticks = 0, online = 0;
    const char *s;
    char *end;

    if (fs_read_file("/proc/stat", &b, NULL) < 0)
        return -1;
    s = buf_str(&b);
    if (str_has_prefix(s, "cpu "))
        s += 4;
    for (int i = 0; i < 7; i++, s = end)
        ticks += (int64_t)strtoull(s, &end, 10);
    for (s = strstr(buf_str(&b), "\ncpu"); s; s = strstr(s + 1, "\ncpu"))
        online++;
    c->machine_ns = ticks * (NSEC_PER_SEC / sysconf(_SC_CLK_TCK));
    c->online = online;
    return 0;
}

void group_cache_machine(struct group_cache *c, int64_t *ret_ns, int64_t *ret_online) {
    int64_t now, tick = NSEC_PER_SEC / sysconf(_SC_CLK_TCK);

    pthread_mutex_lock(&c->lock);
    now = clock_mono_ns();
    if ((c->machine_at_ns == 0 || now - c->machine_at_ns >= tick) && read_machine(c) == 0)
        c->machine_at_ns = now;
    *ret_ns = c->machine_ns;
    *ret_online = c->online;
    pthread_mutex_unlock(&c->lock);
}

int group_cache_new(struct loop *loop, struct group_cache **ret, struct err *e) {
    struct group_cache *c = calloc(1, sizeof *c);

    if (!c)
        return err_oom(e);
    c->loop = loop;
    pthread_mutex_init(&c->lock, NULL);
    *ret = c;
    return 0;
}

struct group_cache *group_cache_free(struct group_cache *c) {
    if (!c)
        return NULL;
    loop_timer_free(c->timer);
    while (c->n > 0)
        files_free(c->kept[--c->n]);
    pthread_mutex_destroy(&c->lock);
    free(c);
    return NULL;
}
