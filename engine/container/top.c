// SPDX-License-Identifier: Apache-2.0
/*
 * GET /containers/{id}/top. The columns of ps(1) for the processes of the container's control group, made from procfs by ourselves: no program is run, none
 * has to be installed. Understood: -ef, aux, -o/-eo LIST. Whatever else is asked for is left to ps.c.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/more.h"

#define PIDS_MAX 65536

struct proc {
    int64_t pid, ppid, uid, tty, utime, stime, start, vsz, rss, nice, pgrp, session, threads;
    char state[8];
    char comm[64];
    char *cmd;
};

/* What all rows need to know. */
struct machine {
    int64_t ticks, page, boot, now, memory;
    char *passwd;
};

/* ---- one process ----------------------------------------------------------------------------------------------------------------------- */
static int read_proc(int64_t pid, const char *file, struct buf *b) {
    char path[64];

    snprintf(path, sizeof(path), "/proc/%lld/%s", (long long)pid, file);
    return fs_read_file(path, b, NULL);
}

static bool parse_stat(const char *text, struct proc *p) {
    const char *open = strchr(text, '('), *close = strrchr(text, ')');
    long long v[24];
    char state;

    if (!open || !close || close < open)
        return false;
    snprintf(p->comm, sizeof(p->comm), "%.*s", (int)(close - open - 1), open + 1);
    if (sscanf(close + 2, "%c %lld %lld %lld %lld %lld %*s %*s %*s %*s %*s %lld %lld %*s %*s %*s %lld %lld %*s %lld %lld %lld", &state, &v[0], &v[1],
               &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &v[10], &v[11]) != 13)
        return false;
    p->ppid = v[0];
    p->pgrp = v[1];
    p->session = v[2];
    p->tty = v[3];
    p->utime = v[5];
    p->stime = v[6];
    p->nice = v[7];
    p->threads = v[8];
    p->start = v[9];
    p->vsz = v[10];
    p->rss = v[11];
    /* State letters as ps adds them: priority, session leader, threads, foreground. */
    snprintf(p->state, sizeof(p->state), "%c%s%s%s%s", state,
             p->nice < 0   ? "<"
             : p->nice > 0 ? "N"
                           : "",
             p->session == p->pid ? "s" : "", p->threads > 1 ? "l" : "", v[4] == p->pgrp ? "+" : "");
    return true;
}

static bool read_process(int64_t pid, struct proc *p) {
    _cleanup_buf_ struct buf stat_text = BUF_INIT(4096), cmd = BUF_INIT(LIMIT_SMALL_FILE);
    char path[64];
    struct stat st;

    *p = (struct proc){.pid = pid};
    snprintf(path, sizeof(path), "/proc/%lld", (long long)pid);
    if (stat(path, &st) < 0 || read_proc(pid, "stat", &stat_text) < 0 || !parse_stat(buf_str(&stat_text), p))
        return false;
    p->uid = st.st_uid;
    if (read_proc(pid, "cmdline", &cmd) < 0 || cmd.len == 0) {
        p->cmd = str_printf("[%s]", p->comm);
        return p->cmd != NULL;
    }
    while (cmd.len > 0 && cmd.data[cmd.len - 1] == '\0')
        cmd.len--;
    for (size_t i = 0; i < cmd.len; i++)
        if ((unsigned char)cmd.data[i] < ' ' || cmd.data[i] == 127)
            cmd.data[i] = cmd.data[i] == '\0' ? ' ' : '?';
    p->cmd = strndup(buf_str(&cmd), cmd.len);
    return p->cmd != NULL;
}

/* ---- columns ------------------------------------------------------------------------------------------------------------------------------ */
static char *user_name(const struct machine *m, int64_t uid) {
    _cleanup_free_ char *want = str_printf(":%lld:", (long long)uid);

    for (const char *line = m->passwd; want && line && *line;) {
        const char *end = strchrnul(line, '\n'), *c1 = memchr(line, ':', (size_t)(end - line)),
                   *c2 = c1 ? memchr(c1 + 1, ':', (size_t)(end - c1 - 1)) : NULL;

        if (c2 && strncmp(c2, want, strlen(want)) == 0) {
            size_t n = (size_t)(c1 - line);

            return n > 8 ? str_printf("%.7s+", line) : strndup(line, n);
        }
        line = *end ? end + 1 : end;
    }
    return str_printf("%lld", (long long)uid);
}

static int64_t age(const struct machine *m, const struct proc *p) {
    int64_t s = m->now / NSEC_PER_SEC - m->boot - p->start / m->ticks;

    return s > 0 ? s : 0;
}

static char *clock_column(const struct machine *m, const struct proc *p) {
    time_t t = (time_t)(m->boot + p->start / m->ticks);
    struct tm tm;
    char text[32];

    localtime_r(&t, &tm);
    strftime(text, sizeof(text), age(m, p) < 86400 ? "%H:%M" : "%b%d", &tm);
    return strdup(text);
}

static char *tty_column(const struct proc *p) {
    char path[40];
    struct stat st;

    if (p->tty == 0)
        return strdup("?");
    /* ps looks for it among the machine's own: a container's terminal is none of those, though its number may be. */
    snprintf(path, sizeof path, "/dev/%s%u", major((dev_t)p->tty) >= 136 && major((dev_t)p->tty) <= 143 ? "pts/" : "tty", minor((dev_t)p->tty));
    return strdup(stat(path, &st) == 0 && st.st_rdev == (dev_t)p->tty ? path + strlen("/dev/") : "?");
}

static char *time_column(const struct machine *m, const struct proc *p, bool shortened) {
    long long s = (p->utime + p->stime) / m->ticks;

    return shortened ? str_printf("%lld:%02lld", s / 60, s % 60) : str_printf("%02lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
}

static char *elapsed_column(const struct machine *m, const struct proc *p) {
    long long s = age(m, p), d = s / 86400;

    if (d > 0)
        return str_printf("%lld-%02lld:%02lld:%02lld", d, s / 3600 % 24, s / 60 % 60, s % 60);
    return s >= 3600 ? str_printf("%02lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60) : str_printf("%02lld:%02lld", s / 60, s % 60);
}

static double cpu_share(const struct machine *m, const struct proc *p) {
    int64_t lived = age(m, p);

    return lived > 0 ? 100.0 * (double)(p->utime + p->stime) / (double)m->ticks / (double)lived : 0;
}

static double memory_share(const struct machine *m, const struct proc *p) {
    return m->memory > 0 ? 100.0 * (double)(p->rss * m->page / 1024) / (double)m->memory : 0;
}

static const struct column {
    const char *key, *title;
} columns[] = {
    {"pid", "PID"},       {"ppid", "PPID"}, {"user", "USER"},     {"uid", "UID"},         {"uname", "USER"},    {"euser", "EUSER"},
    {"comm", "COMMAND"},  {"cmd", "CMD"},   {"args", "COMMAND"},  {"command", "COMMAND"}, {"ucmd", "CMD"},      {"tty", "TT"},
    {"tt", "TT"},         {"tname", "TTY"}, {"time", "TIME"},     {"cputime", "TIME"},    {"etime", "ELAPSED"}, {"etimes", "ELAPSED"},
    {"stat", "STAT"},     {"state", "S"},   {"s", "S"},           {"rss", "RSS"},         {"rssize", "RSS"},    {"vsz", "VSZ"},
    {"vsize", "VSZ"},     {"pcpu", "%CPU"}, {"%cpu", "%CPU"},     {"pmem", "%MEM"},       {"%mem", "%MEM"},     {"ni", "NI"},
    {"nice", "NI"},       {"pgid", "PGID"}, {"pgrp", "PGRP"},     {"sid", "SID"},         {"sess", "SESS"},     {"nlwp", "NLWP"},
    {"thcount", "THCNT"}, {"c", "C"},       {"start", "STARTED"}, {"stime", "STIME"},     {"bsdtime", "TIME"},  {"bsdstart", "START"},
    {"ruser", "USER"},
};

static char *number(int64_t v) {
    return str_printf("%lld", (long long)v);
}

static char *column_text(const struct machine *m, const struct proc *p, const char *k) {
    const struct {
        const char *keys;
        int64_t value;
    } numbers[] = {{"pid", p->pid},
                   {"ppid", p->ppid},
                   {"uid", p->uid},
                   {"rss rssize", p->rss * m->page / 1024},
                   {"vsz vsize", p->vsz / 1024},
                   {"ni nice", p->nice},
                   {"pgid pgrp", p->pgrp},
                   {"sid sess", p->session},
                   {"nlwp thcount", p->threads},
                   {"etimes", age(m, p)},
                   {"c", (int64_t)cpu_share(m, p)}};

    for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
        const char *at = strstr(numbers[i].keys, k);

        if (at && (at == numbers[i].keys || at[-1] == ' ') && (at[strlen(k)] == ' ' || at[strlen(k)] == '\0'))
            return number(numbers[i].value);
    }
    if (streq(k, "user") || streq(k, "uname") || streq(k, "euser") || streq(k, "ruser") || streq(k, "uidname"))
        return user_name(m, p->uid);
    if (streq(k, "comm") || streq(k, "ucmd"))
        return strdup(p->comm);
    if (streq(k, "cmd") || streq(k, "args") || streq(k, "command"))
        return strdup(p->cmd);
    if (streq(k, "tty") || streq(k, "tt") || streq(k, "tname"))
        return tty_column(p);
    if (streq(k, "time") || streq(k, "cputime") || streq(k, "bsdtime"))
        return time_column(m, p, streq(k, "bsdtime"));
    if (streq(k, "etime"))
        return elapsed_column(m, p);
    if (streq(k, "stat"))
        return strdup(p->state);
    if (streq(k, "state") || streq(k, "s"))
        return str_printf("%c", p->state[0]);
    if (streq(k, "pcpu") || streq(k, "%cpu"))
        return str_printf("%.1f", cpu_share(m, p));
    if (streq(k, "pmem") || streq(k, "%mem"))
        return str_printf("%.1f", memory_share(m, p));
    return clock_column(m, p);
}

/* ---- what was asked ------------------------------------------------------------------------------------------------------------------------ */
struct layout {
    struct strv keys, titles;
};

static void layout_done(struct layout *l) {
    strv_done(&l->keys);
    strv_done(&l->titles);
}

static int add_column(struct layout *l, const char *key, const char *title, struct err *e) {
    return strv_add(&l->keys, key) < 0 || strv_add(&l->titles, title) < 0 ? err_oom(e) : 0;
}

static int add_asked(struct layout *l, const char *list, struct err *e) {
    _cleanup_strv_ struct strv keys = STRV_INIT;

    if (strv_split(&keys, list, ',') < 0)
        return err_oom(e);
    for (size_t i = 0; i < keys.n; i++) {
        char *title = strchr(keys.v[i], '=');
        bool known = false;
        int r;

        if (title)
            *title++ = '\0';
        for (size_t k = 0; k < ELEMENTSOF(columns) && !known; k++)
            if (streq(columns[k].key, keys.v[i])) {
                known = true;
                r = add_column(l, columns[k].key, title ? title : columns[k].title, e);
                if (r < 0)
                    return r;
            }
        if (!known)
            return err_set(e, ERR_INTERNAL, "ps: exit status 1: error: unknown user-defined format specifier \"%s\"", keys.v[i]);
    }
    return 0;
}

static int add_fixed(struct layout *l, const char *const (*set)[2], size_t n, struct err *e) {
    for (size_t i = 0; i < n; i++) {
        int r = add_column(l, set[i][0], set[i][1], e);

        if (r < 0)
            return r;
    }
    return 0;
}

static int read_layout(const char *args, struct layout *l, struct err *e) {
    static const char *const full[][2] = {{"uidname", "UID"}, {"pid", "PID"}, {"ppid", "PPID"}, {"c", "C"},
                                          {"stime", "STIME"}, {"tty", "TTY"}, {"time", "TIME"}, {"cmd", "CMD"}};
    static const char *const bsd[][2] = {{"user", "USER"},   {"pid", "PID"},      {"pcpu", "%CPU"},   {"pmem", "%MEM"},
                                         {"vsz", "VSZ"},     {"rss", "RSS"},      {"tty", "TTY"},     {"stat", "STAT"},
                                         {"stime", "START"}, {"bsdtime", "TIME"}, {"args", "COMMAND"}};
    _cleanup_strv_ struct strv words = STRV_INIT;
    int r = 0;

    if (strv_split(&words, args, ' ') < 0)
        return err_oom(e);
    for (size_t i = 0; r >= 0 && i < words.n; i++) {
        const char *w = words.v[i], *o = w[0] == '-' ? strchr(w, 'o') : streq(w, "o") ? w : NULL;

        if (!o)
            continue;
        if (o[1])
            r = add_asked(l, o + 1, e);
        else if (i + 1 < words.n)
            r = add_asked(l, words.v[++i], e);
    }
    if (r < 0 || l->keys.n > 0)
        return r;
    if (words.n > 0 && words.v[0][0] != '-' && strchr(words.v[0], 'u'))
        return add_fixed(l, bsd, ELEMENTSOF(bsd), e);
    return add_fixed(l, full, ELEMENTSOF(full), e);
}

/* ---- the operation --------------------------------------------------------------------------------------------------------------------------- */
static void machine_read(struct machine *m) {
    _cleanup_buf_ struct buf st = BUF_INIT(LIMIT_SMALL_FILE), mem = BUF_INIT(LIMIT_SMALL_FILE), pw = BUF_INIT(LIMIT_USERDB_BYTES);
    const char *at;

    *m = (struct machine){.ticks = sysconf(_SC_CLK_TCK), .page = sysconf(_SC_PAGESIZE), .now = clock_wall_ns()};
    if (fs_read_file("/proc/stat", &st, NULL) >= 0 && (at = strstr(buf_str(&st), "\nbtime ")))
        m->boot = strtoll(at + 7, NULL, 10);
    if (fs_read_file("/proc/meminfo", &mem, NULL) >= 0 && (at = strstr(buf_str(&mem), "MemTotal:")))
        m->memory = strtoll(at + 9, NULL, 10);
    if (fs_read_file("/etc/passwd", &pw, NULL) >= 0)
        m->passwd = buf_take(&pw);
}

/* The processes in the group of the container's first process: whichever hierarchy names one of its own. */
static int read_pids(int64_t init, struct buf *ret, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(KIB(64));
    char *line, *save = NULL;

    if (read_proc(init, "cgroup", &b) < 0)
        return err_set(e, ERR_CONFLICT, "the container's processes are gone");
    for (line = strtok_r(b.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *name = strchr(line, ':'), *path = name ? strchr(name + 1, ':') : NULL;
        _cleanup_free_ char *file = NULL;

        if (!path)
            continue;
        *path++ = '\0';
        name++;
        if (!strcmp(name, "pids") || !strcmp(name, "memory"))
            file = str_printf("/sys/fs/cgroup/%s%s/cgroup.procs", name, path);
        else if (!*name)
            file = str_printf("/sys/fs/cgroup%s/cgroup.procs", path);
        else
            continue;
        buf_reset(ret);
        if (file && fs_read_file(file, ret, NULL) >= 0 && ret->len > 0)
            return 0;
    }
    return err_set(e, ERR_INTERNAL, "the container's control group cannot be read");
}

static int add_row(struct api_container_top_response *res, const struct machine *m, const struct layout *l, int64_t pid, struct err *e) {
    struct proc p;
    struct api_string_list *v;
    int r = 0;

    if (!read_process(pid, &p))
        return 0; /* it ended meanwhile */
    v = reallocarray(res->processes.v, res->processes.n + 1, sizeof(*v));
    if (!v) {
        free(p.cmd);
        return err_oom(e);
    }
    res->processes.v = v;
    v[res->processes.n++] = (struct api_string_list){.set = true};
    for (size_t i = 0; r >= 0 && i < l->keys.n; i++) {
        _cleanup_free_ char *text = column_text(m, &p, l->keys.v[i]);

        r = text ? api_string_list_add(&v[res->processes.n - 1], text, e) : err_oom(e);
    }
    free(p.cmd);
    return r;
}

static int fill(const struct ctr_view *v, const char *args, struct api_container_top_response *res, struct err *e) {
    _cleanup_(layout_done) struct layout l = {0};
    _cleanup_buf_ struct buf pids = BUF_INIT(MIB(1));
    struct machine m;
    char *save = NULL;
    int r = read_layout(args, &l, e);

    if (r >= 0 && !strv_has(&l.titles, "PID"))
        r = err_set(e, ERR_INTERNAL, "Couldn't find PID field in ps output");
    if (r >= 0)
        r = read_pids(v->pid, &pids, e);
    if (r < 0)
        return r;
    machine_read(&m);
    for (char *t = strtok_r(pids.data, "\n", &save); r >= 0 && t && res->processes.n < PIDS_MAX; t = strtok_r(NULL, "\n", &save))
        r = add_row(res, &m, &l, strtoll(t, NULL, 10), e);
    for (size_t i = 0; r >= 0 && i < l.titles.n; i++)
        r = api_string_list_add(&res->titles, l.titles.v[i], e);
    free(m.passwd);
    res->processes.set = true;
    return r;
}

int ctr_top_own(const struct ctr_view *v, const char *ps_args, struct api_container_top_response *ret, struct err *e) {
    return fill(v, ps_args, ret, e);
}
