// SPDX-License-Identifier: Apache-2.0
/* GET /containers/{id}/stats: readings of control groups (v1 and v2) and network counters. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/sysinfo.h>

#include "api-handlers.h"
#include "base/clock.h"
#include "base/engine.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/groupfiles.h"
#include "container/more.h"
#include "container/validate.h"
#include "wire/call.h"
#include "wire/loop.h"
#include "wire/stream.h"

#define CPUS_MAX 8192
#define DEVICES_MAX 4096
#define LINKS_MAX 1024
#define PERIOD NSEC_PER_SEC

static int64_t number(const char *text) {
    return (int64_t)strtoull(text, NULL, 10);
}

/* Of a file that may say "max". */
static uint64_t number_or_max(const char *text) {
    return str_has_prefix(text, "max") ? UINT64_MAX : strtoull(text, NULL, 10);
}

/* ---- lines of a name and a number ---------------------------------------------------------------------------------------------------------- */
int64_t ctr_stat_value(const char *text, const char *name) {
    size_t n = strlen(name);

    for (const char *s = text; s && *s; s = strchr(s, '\n'), s = s ? s + 1 : NULL)
        if (strncmp(s, name, n) == 0 && s[n] == ' ')
            return number(s + n + 1);
    return -1;
}

static int64_t value_or_zero(const char *text, const char *name) {
    int64_t v = ctr_stat_value(text, name);

    return v < 0 ? 0 : v;
}

/* ---- processors -------------------------------------------------------------------------------------------------------------------------- */
static int cpu_v1(struct group_files *g, struct api_stats_cpu *cpu, struct err *e) {
    int64_t tick = NSEC_PER_SEC / sysconf(_SC_CLK_TCK);
    const char *text;
    char *end;

    text = group_files_text(g, GROUP_CPUACCT_STAT);
    cpu->cpu_usage->usage_in_usermode = value_or_zero(text, "user") * tick;
    cpu->cpu_usage->usage_in_kernelmode = value_or_zero(text, "system") * tick;
    text = group_files_text(g, GROUP_CPU_STAT);
    cpu->throttling_data->periods = value_or_zero(text, "nr_periods");
    cpu->throttling_data->throttled_periods = value_or_zero(text, "nr_throttled");
    cpu->throttling_data->throttled_time = value_or_zero(text, "throttled_time");
    text = group_files_text(g, GROUP_CPUACCT_PERCPU);
    for (size_t i = 0; i < CPUS_MAX; i++, text = end) {
        int64_t v = (int64_t)strtoull(text, &end, 10);
        int64_t *list;

        if (end == text)
            break;
        list = reallocarray(cpu->cpu_usage->percpu_usage.v, i + 1, sizeof *list);
        if (!list)
            return err_oom(e);
        list[i] = v;
        cpu->cpu_usage->total_usage += v; /* what cpuacct.usage is: the sum of this file */
        cpu->cpu_usage->percpu_usage.v = list;
        cpu->cpu_usage->percpu_usage.n = i + 1;
        cpu->cpu_usage->percpu_usage.set = true;
    }
    return 0;
}

static void cpu_v2(struct group_files *g, struct api_stats_cpu *cpu) {
    const char *text = group_files_text(g, GROUP_CPU_STAT);

    cpu->cpu_usage->total_usage = value_or_zero(text, "usage_usec") * 1000;
    cpu->cpu_usage->usage_in_usermode = value_or_zero(text, "user_usec") * 1000;
    cpu->cpu_usage->usage_in_kernelmode = value_or_zero(text, "system_usec") * 1000;
    cpu->throttling_data->periods = value_or_zero(text, "nr_periods");
    cpu->throttling_data->throttled_periods = value_or_zero(text, "nr_throttled");
    cpu->throttling_data->throttled_time = value_or_zero(text, "throttled_usec") * 1000;
}

/* ---- memory ------------------------------------------------------------------------------------------------------------------------------ */
static int64_t machine_memory(void) {
    struct sysinfo si;

    return sysinfo(&si) == 0 ? (int64_t)si.totalram * si.mem_unit : 0;
}

struct word {
    const char *text;
    size_t n;
};

static int compare_word(const void *a, const void *b) {
    const struct word *w = a;
    const char *name = *(const char *const *)b;
    int r = strncmp(w->text, name, w->n);

    return r != 0 ? r : name[w->n] ? -1 : 0;
}

/* The values of names in alphabetical order, all behind a prefix; 0 for one that the text has not. In one pass: the text has some 40 lines. */
static int add_stats(struct api_stats_memory *m, const char *text, const char *const *names, size_t n, const char *prefix, struct err *e) {
    size_t n_prefix = strlen(prefix), first = m->stats.n;

    for (size_t i = 0; i < n; i++) {
        char name[64];

        snprintf(name, sizeof name, "%s%s", prefix, names[i]);
        if (!api_int_map_add(&m->stats, name))
            return err_oom(e);
    }
    for (const char *end; *text; text = *end ? end + 1 : end) {
        struct word w = {text, strcspn(text, " \n")};
        const char *const *found;

        end = strchrnul(text + w.n, '\n');
        if (w.n < n_prefix || memcmp(text, prefix, n_prefix) != 0)
            continue;
        w.text += n_prefix;
        w.n -= n_prefix;
        found = bsearch(&w, names, n, sizeof *names, compare_word);
        if (found)
            m->stats.v[first + (size_t)(found - names)].value = number(w.text + w.n);
    }
    m->stats.set = true;
    return 0;
}

static void set_limit(struct api_stats_memory *m, const char *text) {
    uint64_t limit = number_or_max(text);
    int64_t all = machine_memory();

    m->limit = all > 0 && limit > (uint64_t)all ? all : (int64_t)limit;
}

static int memory_v1(struct group_files *g, struct api_stats_memory *m, struct err *e) {
    static const char *const both[] = {"active_anon", "active_file", "cache",   "dirty", "inactive_anon", "inactive_file", "mapped_file", "pgfault",
                                       "pgmajfault",  "pgpgin",      "pgpgout", "rss",   "rss_huge",      "unevictable",   "writeback"};
    static const char *const once[] = {"hierarchical_memory_limit", "hierarchical_memsw_limit"};
    const char *text;
    int r;

    m->usage = group_files_number(g, GROUP_MEMORY_USAGE);
    m->max_usage = group_files_number(g, GROUP_MEMORY_MOST);
    m->failcnt = group_files_number(g, GROUP_MEMORY_FAILURES);
    set_limit(m, group_files_text(g, GROUP_MEMORY_LIMIT));
    text = group_files_text(g, GROUP_MEMORY_STAT);
    r = add_stats(m, text, both, ELEMENTSOF(both), "", e);
    if (r >= 0)
        r = add_stats(m, text, both, ELEMENTSOF(both), "total_", e);
    return r < 0 ? r : add_stats(m, text, once, ELEMENTSOF(once), "", e);
}

static int memory_v2(struct group_files *g, struct api_stats_memory *m, struct err *e) {
    static const char *const names[] = {"active_anon",
                                        "active_file",
                                        "anon",
                                        "anon_thp",
                                        "file",
                                        "file_dirty",
                                        "file_mapped",
                                        "file_writeback",
                                        "inactive_anon",
                                        "inactive_file",
                                        "kernel_stack",
                                        "pgactivate",
                                        "pgdeactivate",
                                        "pgfault",
                                        "pglazyfree",
                                        "pglazyfreed",
                                        "pgmajfault",
                                        "pgrefill",
                                        "pgscan",
                                        "pgsteal",
                                        "shmem",
                                        "slab",
                                        "slab_reclaimable",
                                        "slab_unreclaimable",
                                        "sock",
                                        "thp_collapse_alloc",
                                        "thp_fault_alloc",
                                        "unevictable",
                                        "workingset_activate",
                                        "workingset_nodereclaim",
                                        "workingset_refault"};

    m->usage = group_files_number(g, GROUP_MEMORY_CURRENT);
    m->failcnt = value_or_zero(group_files_text(g, GROUP_MEMORY_EVENTS), "oom");
    set_limit(m, group_files_text(g, GROUP_MEMORY_MAX));
    return add_stats(m, group_files_text(g, GROUP_MEMORY_STAT), names, ELEMENTSOF(names), "", e);
}

/* ---- devices ----------------------------------------------------------------------------------------------------------------------------- */
static int add_device(struct api_stats_blkio_entry_list *l, int64_t maj, int64_t min, const char *op, int64_t value, struct err *e) {
    struct api_stats_blkio_entry *x = l->n < DEVICES_MAX ? api_stats_blkio_entry_list_add(l) : NULL;

    if (!x)
        return l->n < DEVICES_MAX ? err_oom(e) : 0;
    x->major = maj;
    x->minor = min;
    x->op = strdup(op);
    x->value = value;
    return x->op ? 0 : err_oom(e);
}

/* Lines "8:0 Read 4096"; the sum at the end has no device. */
static int devices_v1(struct group_files *g, enum group_file file, struct api_stats_blkio_entry_list *l, struct err *e) {
    int r = 0;

    l->set = true;
    for (const char *at = group_files_text(g, file); r >= 0 && at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
        unsigned maj, min;
        char op[16];
        int64_t v;

        if (sscanf(at, "%u:%u %15s %" SCNd64, &maj, &min, op, &v) == 4)
            r = add_device(l, maj, min, op, v, e);
    }
    return r;
}

/* "rbytes=4096" among the words of a line; 0 without. */
static int64_t counter(const char *line, const char *name) {
    size_t n = strlen(name);

    for (const char *at = line; *at && *at != '\n'; at++)
        if (at[0] == ' ' && strncmp(at + 1, name, n) == 0 && at[1 + n] == '=')
            return number(at + n + 2);
    return 0;
}

int ctr_stat_devices(const char *text, struct api_stats_blkio *io, struct err *e) {
    int r = 0;

    for (const char *at = text; r >= 0 && at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
        unsigned maj, min;

        if (sscanf(at, "%u:%u", &maj, &min) != 2)
            continue;
        io->io_service_bytes_recursive.set = true; /* none: null, as with the reference */
        r = add_device(&io->io_service_bytes_recursive, maj, min, "read", counter(at, "rbytes"), e);
        if (r >= 0)
            r = add_device(&io->io_service_bytes_recursive, maj, min, "write", counter(at, "wbytes"), e);
    }
    return r;
}

static int read_devices(struct group_files *g, struct api_stats_blkio *io, struct err *e) {
    int r;

    if (group_files_v2(g))
        return ctr_stat_devices(group_files_text(g, GROUP_IO_STAT), io, e);
    r = devices_v1(g, GROUP_BLKIO_BYTES, &io->io_service_bytes_recursive, e);
    if (r >= 0)
        r = devices_v1(g, GROUP_BLKIO_TIMES, &io->io_serviced_recursive, e);
    io->io_queue_recursive.set = io->io_service_time_recursive.set = io->io_wait_time_recursive.set = true;
    io->io_merged_recursive.set = io->io_time_recursive.set = io->sectors_recursive.set = true;
    return r;
}

/* ---- networks ---------------------------------------------------------------------------------------------------------------------------- */
/* A process in the network: of the container itself, or of the one that it joined, which has another network once it was started again. 0: none. */
static int64_t network_pid(struct container *c, const struct ctr_view *v) {
    _cleanup_container_ struct container *owner = NULL;
    _cleanup_view_ struct ctr_view *of = NULL;

    if (!v->joined_id[0])
        return v->pid;
    if (containers_find(c->cs, v->joined_id, &owner, NULL) < 0)
        return 0;
    of = container_view(owner);
    return ctr_state_alive(of->state) ? of->pid : 0;
}

static int read_networks(struct container *c, const struct ctr_view *v, struct api_stats_network_map *ret, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);
    int64_t pid = network_pid(c, v);
    char path[64];

    snprintf(path, sizeof path, "/proc/%" PRId64 "/net/dev", pid);
    if (pid <= 0 || ctr_mode_is(v->fixed->host.network_mode, "host") || fs_read_file(path, &b, NULL) < 0)
        return 0;
    for (const char *at = buf_str(&b); at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
        struct api_stats_network_map_entry *x;
        char name[32];
        int64_t n[12];

        if (sscanf(at, " %31[^: ]: %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64 " %*d %*d %*d %*d %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64,
                   name, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7]) != 9 ||
            streq(name, "lo") || ret->n >= LINKS_MAX)
            continue;
        x = api_stats_network_map_add(ret, name);
        if (!x || !(x->value = api_stats_network_new()))
            return err_oom(e);
        *x->value = (struct api_stats_network){.rx_bytes = n[0],
                                               .rx_packets = n[1],
                                               .rx_errors = n[2],
                                               .rx_dropped = n[3],
                                               .tx_bytes = n[4],
                                               .tx_packets = n[5],
                                               .tx_errors = n[6],
                                               .tx_dropped = n[7]};
        ret->set = true;
    }
    return 0;
}

/* ---- one reading ------------------------------------------------------------------------------------------------------------------------- */
static struct api_stats_cpu *new_cpu(void) {
    struct api_stats_cpu *c = api_stats_cpu_new();

    if (c) {
        c->cpu_usage = api_stats_cpu_usage_new();
        c->throttling_data = api_stats_throttling_new();
    }
    return c;
}

static int set_empty(const struct ctr_view *v, struct api_container_stats_response *s, struct err *e) {
    char never[CLOCK_TEXT_MAX];

    clock_format(CLOCK_ZERO, never);
    s->read = strdup(never);
    s->preread = strdup(never);
    s->name = str_printf("/%s", v->name);
    s->id = strdup(v->fixed->id);
    s->pids_stats = api_stats_pids_new();
    s->blkio_stats = api_stats_blkio_new();
    s->storage_stats = api_stats_storage_new();
    s->cpu_stats = new_cpu();
    s->precpu_stats = new_cpu();
    s->memory_stats = api_stats_memory_new();
    return s->read && s->preread && s->name && s->id && s->pids_stats && s->blkio_stats && s->storage_stats && s->cpu_stats &&
                   s->cpu_stats->cpu_usage && s->cpu_stats->throttling_data && s->precpu_stats && s->precpu_stats->cpu_usage &&
                   s->precpu_stats->throttling_data && s->memory_stats
               ? 0
               : err_oom(e);
}

static int set_before(const struct api_container_stats_response *before, struct api_container_stats_response *s, struct err *e) {
    struct api_stats_cpu *copy = api_stats_cpu_new(); /* its parts come with the copy */
    int r = copy ? api_stats_cpu_copy(copy, before->cpu_stats, e) : err_oom(e);

    if (r < 0) {
        api_stats_cpu_free(copy);
        return r;
    }
    api_stats_cpu_free(s->precpu_stats);
    s->precpu_stats = copy;
    return str_set(&s->preread, before->read) < 0 ? err_oom(e) : 0;
}

static int read_running(struct container *c, struct group_files *g, const struct ctr_view *v, struct api_container_stats_response *ret,
                        struct err *e) {
    char now[CLOCK_TEXT_MAX];
    const char *text;
    int r;

    clock_format(clock_wall_ns(), now);
    if (str_set(&ret->read, now) < 0)
        return err_oom(e);
    ret->pids_stats->current = group_files_number(g, GROUP_PIDS_CURRENT);
    /* The reference shows "no limit" as 0 on control groups of the first kind, and as the largest number on those of the second. */
    text = group_files_text(g, GROUP_PIDS_MAX);
    ret->pids_stats->limit = group_files_v2(g) ? (int64_t)number_or_max(text) : number(text);
    group_cache_machine(c->cs->group_cache, &ret->cpu_stats->system_cpu_usage, &ret->cpu_stats->online_cpus);
    if (group_files_v2(g))
        cpu_v2(g, ret->cpu_stats);
    r = group_files_v2(g) ? 0 : cpu_v1(g, ret->cpu_stats, e);
    if (r >= 0)
        r = group_files_v2(g) ? memory_v2(g, ret->memory_stats, e) : memory_v1(g, ret->memory_stats, e);
    if (r >= 0)
        r = read_devices(g, ret->blkio_stats, e);
    return r < 0 ? r : read_networks(c, v, &ret->networks, e);
}

int container_stats(struct container *c, const struct api_container_stats_response *before, struct api_container_stats_response *ret, struct err *e) {
    _cleanup_view_ struct ctr_view *v = container_view(c);
    _cleanup_free_ char *group = ctr_cgroup_path(c->cs->engine->config, v->fixed);
    struct group_files *g = NULL;
    int r = group ? set_empty(v, ret, e) : err_oom(e);

    if (r < 0 || (v->state != ctr_running && v->state != ctr_paused))
        return r;
    r = group_files_take(c->cs->group_cache, c->id, v->started_at, group, &g, e);
    if (r >= 0)
        r = read_running(c, g, v, ret, e);
    group_files_put(c->cs->group_cache, g);
    return r < 0 || !before ? r : set_before(before, ret, e);
}

static int write_stats(const struct api_container_stats_response *s, int version, struct buf *b, struct err *e) {
    int r = api_container_stats_response_write(s, version | CODEC_ESCAPE_HTML, b, e);

    buf_addc(b, '\n');
    return r < 0 ? r : buf_check(b, e);
}

/* ---- again and again --------------------------------------------------------------------------------------------------------------------- */
/* One client. Loop thread only. */
struct follow {
    struct container *c; /* counted */
    struct loop *loop;
    struct taken conn;
    struct stream *stream;
    struct loop_timer *timer;
    struct api_container_stats_response last;
    int version;
};

static void follow_free(struct follow *f) {
    loop_timer_free(f->timer);
    stream_free(f->stream);
    taken_done(&f->conn);
    api_container_stats_response_done(&f->last);
    container_unref(f->c);
    free(f);
}

static void follow_gone(struct stream *s, void *data) {
    follow_free(data);
}

static bool is_gone(struct container *c) {
    bool gone;

    pthread_mutex_lock(&c->lock);
    gone = c->gone;
    pthread_mutex_unlock(&c->lock);
    return gone;
}

static void follow_tick(struct loop_timer *t, void *data) {
    struct follow *f = data;
    struct api_container_stats_response now = {0};
    _cleanup_buf_ struct buf b = BUF_INIT(MIB(1));
    int r;

    if (is_gone(f->c)) {
        stream_end(TAKE_PTR(f->stream));
        follow_free(f);
        return;
    }
    if (stream_queued(f->stream) > 0)
        return; /* a client that does not read misses readings */
    r = container_stats(f->c, f->last.cpu_stats && f->last.cpu_stats->system_cpu_usage ? &f->last : NULL, &now, NULL);
    if (r >= 0)
        r = write_stats(&now, f->version, &b, NULL);
    api_container_stats_response_done(&f->last);
    f->last = now;
    if (r >= 0)
        ignore_result(stream_write(f->stream, buf_str(&b), b.len, NULL) < 0); /* on_gone follows */
}

static void follow_begin(void *data) {
    static const struct stream_handlers handlers = {.on_gone = follow_gone};
    struct follow *f = data;

    if (stream_new(f->loop, &f->conn, STREAM_CHUNKED, MIB(2), &handlers, f, &f->stream, NULL) < 0) {
        f->stream = NULL;
        follow_free(f);
        return;
    }
    if (loop_timer(f->loop, 0, PERIOD, follow_tick, f, &f->timer, NULL) < 0) {
        f->timer = NULL;
        follow_free(f);
    }
}

static int follow_start(struct call *call, struct container *c, struct err *e) {
    struct follow *f = calloc(1, sizeof *f);
    _cleanup_err_ struct err late = ERR_INIT;
    int r;

    if (!f)
        return err_oom(e);
    f->conn = TAKEN_INIT;
    f->c = container_ref(c);
    f->loop = call_loop(call);
    f->version = call_api_version(call);
    r = call_take(call, &f->conn, e);
    if (r < 0) {
        follow_free(f);
        return r;
    }
    if (taken_write_head(&f->conn, TAKEN_CHUNKED, NULL, &late) < 0 || loop_post(f->loop, follow_begin, f, NULL) < 0)
        follow_free(f);
    return 0;
}

/* ---- the operation ----------------------------------------------------------------------------------------------------------------------- */
static bool wait_period(struct call *call) {
    for (int i = 0; i < 10 && !call_gone(call); i++)
        usleep(PERIOD / 10 / 1000);
    return !call_gone(call);
}

int op_container_stats(struct call *call, struct err *e) {
    _cleanup_(q_container_stats_done) struct q_container_stats q = {0};
    _cleanup_(api_container_stats_response_done) struct api_container_stats_response first = {0}, second = {0};
    _cleanup_container_ struct container *c = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(MIB(1));
    bool stream, twice;
    int r = q_container_stats_read(&q, call_query(call), call_api_version(call), e);

    stream = q.has_stream ? q.stream : true;
    if (r >= 0 && stream && q.one_shot)
        r = err_set(e, ERR_INVALID, "cannot have stream=true and one-shot=true");
    if (r >= 0)
        r = containers_find(call_engine(call)->containers, call_path(call, "id"), &c, e);
    if (r < 0)
        return r;
    if (stream)
        return follow_start(call, c, e);
    r = container_stats(c, NULL, &first, e);
    twice = r >= 0 && !q.one_shot && first.cpu_stats->system_cpu_usage > 0;
    if (twice && !wait_period(call))
        return err_set(e, ERR_CANCELLED, "the client is gone");
    if (twice)
        r = container_stats(c, &first, &second, e);
    if (r >= 0 && q.one_shot && first.cpu_stats->system_cpu_usage > 0) {
        /* The reference leaves them out here, and only here. */
        ignore_result(str_set(&first.name, NULL) < 0);
        ignore_result(str_set(&first.id, NULL) < 0);
    }
    if (r >= 0)
        r = api_container_stats_response_write(twice ? &second : &first, call_api_version(call) | CODEC_ESCAPE_HTML, &b, e);
    return r < 0 ? r : call_reply(call, 200, &b, e);
}
