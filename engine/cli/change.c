// SPDX-License-Identifier: Apache-2.0
/* start, stop, kill, rm, wait, logs: commands on containers by name. */
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/frame.h"
#include "cli/opts.h"
#include "cli/parse.h"

int api_each_name(struct cli *c, const char *section, const struct strv *names, const char *method, const char *verb, const char *const *query,
                  struct err *e) {
    int failed = 0;

    for (size_t i = 0; i < names->n; i++) {
        _cleanup_buf_ struct buf path = BUF_INIT(65536);
        _cleanup_err_ struct err why = ERR_INIT;
        int r;

        buf_adds(&path, section);
        api_segment(&path, names->v[i]);
        buf_adds(&path, verb);
        for (const char *const *q = query; q[0]; q += 2)
            api_query(&path, q[0], *q[1] ? q[1] : NULL);
        r = buf_check(&path, &why);
        if (r == 0)
            r = api_call(c, method, path.data, NULL, NULL, &why);
        if (r == -ERR_UNAVAILABLE)
            return err_move(e, &why);
        if (r < 0) {
            fprintf(stderr, "hatake: %s\n", err_msg(&why));
            failed = 1;
        } else {
            printf("%s\n", names->v[i]);
        }
    }
    return failed;
}

static int each_container(struct cli *c, const struct strv *names, const char *method, const char *verb, const char *const *query, struct err *e) {
    return api_each_name(c, "/containers/", names, method, verb, query, e);
}

int cmd_start(struct cli *c, int argc, char **argv, struct err *e) {
    bool done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    int r = opts_command(NULL, 0, argc, argv, false, 1, -1, &words, &done, e);

    return r < 0 || done ? r : each_container(c, &words, "POST", "/start", (const char *const[]){NULL}, e);
}

int cmd_stop(struct cli *c, int argc, char **argv, struct err *e) {
    const char *seconds = "", *signal = "";
    bool done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    const struct opt table[] = {
        {"signal", 's', OPT_TEXT, &signal, "SIGNAL", "what to send first"},
        {"time", 't', OPT_TEXT, &seconds, "SECONDS", "how long to wait before it is killed"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 1, -1, &words, &done, e);

    return r < 0 || done ? r : each_container(c, &words, "POST", "/stop", (const char *const[]){"t", seconds, "signal", signal, NULL}, e);
}

int cmd_kill(struct cli *c, int argc, char **argv, struct err *e) {
    const char *signal = "";
    bool done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    const struct opt table[] = {{"signal", 's', OPT_TEXT, &signal, "SIGNAL", "what to send (KILL)"}};
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 1, -1, &words, &done, e);

    return r < 0 || done ? r : each_container(c, &words, "POST", "/kill", (const char *const[]){"signal", signal, NULL}, e);
}

int cmd_rm(struct cli *c, int argc, char **argv, struct err *e) {
    bool force = false, volumes = false, done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    const struct opt table[] = {
        {"force", 'f', OPT_FLAG, &force, NULL, "also when it runs"},
        {"volumes", 'v', OPT_FLAG, &volumes, NULL, "with its unnamed volumes"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 1, -1, &words, &done, e);

    return r < 0 || done
               ? r
               : each_container(c, &words, "DELETE", "", (const char *const[]){"force", force ? "1" : "", "v", volumes ? "1" : "", NULL}, e);
}

int cmd_wait(struct cli *c, int argc, char **argv, struct err *e) {
    bool done;
    _cleanup_strv_ struct strv words = STRV_INIT;
    int r = opts_command(NULL, 0, argc, argv, false, 1, -1, &words, &done, e);

    for (size_t i = 0; i < words.n && r >= 0 && !done; i++) {
        _cleanup_buf_ struct buf path = BUF_INIT(65536);
        json_t *reply = NULL;

        buf_adds(&path, "/containers/");
        api_segment(&path, words.v[i]);
        buf_adds(&path, "/wait");
        r = buf_check(&path, e);
        if (r == 0)
            r = api_call(c, "POST", path.data, NULL, &reply, e);
        if (r >= 0)
            printf("%lld\n", (long long)json_number(reply, "StatusCode"));
        json_decref(reply);
    }
    return r < 0 ? r : 0;
}

/* ---- logs ---- */

static int sink(int stream, const void *p, size_t n, void *data, struct err *e) {
    int r = full_write(stream == 1 ? STDOUT_FILENO : STDERR_FILENO, p, n);

    return r < 0 ? err_errno(e, r, "writing the log") : 0;
}

static int copy_log(struct http *h, struct err *e) {
    bool framed = streq(http_type(h), "application/vnd.docker.multiplexed-stream");
    struct frame_reader frames = {0};
    char block[32768];
    ssize_t n;

    while ((n = http_read(h, block, sizeof block, e)) > 0) {
        int r = framed ? frame_feed(&frames, block, (size_t)n, sink, NULL, e) : sink(1, block, (size_t)n, NULL, e);

        if (r < 0)
            return r;
    }
    return (int)n;
}

static int when(struct buf *path, const char *key, const char *text, struct err *e) {
    _cleanup_free_ char *value = NULL;
    int r;

    if (!text)
        return 0;
    r = parse_when(text, clock_wall_ns(), &value, e);
    if (r == 0)
        api_query(path, key, value);
    return r;
}

int cmd_logs(struct cli *c, int argc, char **argv, struct err *e) {
    bool follow = false, timestamps = false, details = false, done;
    const char *tail = NULL, *since = NULL, *until = NULL;
    _cleanup_strv_ struct strv words = STRV_INIT;
    _cleanup_buf_ struct buf path = BUF_INIT(65536);
    _cleanup_http_ struct http *h = NULL;
    const struct opt table[] = {
        {"details", 0, OPT_FLAG, &details, NULL, "with labels and variables the log was told to keep"},
        {"follow", 'f', OPT_FLAG, &follow, NULL, "go on as the container writes"},
        {"since", 0, OPT_TEXT, &since, "TIME", "from then on: a time, or how long ago (10m)"},
        {"tail", 'n', OPT_TEXT, &tail, "N", "the last N lines only"},
        {"timestamps", 't', OPT_FLAG, &timestamps, NULL, "with the time of each line"},
        {"until", 0, OPT_TEXT, &until, "TIME", "up to then"},
    };
    int r = opts_command(table, ELEMENTSOF(table), argc, argv, false, 1, 1, &words, &done, e);

    if (r < 0 || done)
        return r;
    buf_adds(&path, "/containers/");
    api_segment(&path, words.v[0]);
    buf_adds(&path, "/logs?stdout=1&stderr=1");
    api_query(&path, "follow", follow ? "1" : NULL);
    api_query(&path, "timestamps", timestamps ? "1" : NULL);
    api_query(&path, "details", details ? "1" : NULL);
    api_query(&path, "tail", tail);
    if ((r = when(&path, "since", since, e)) < 0 || (r = when(&path, "until", until, e)) < 0 || (r = buf_check(&path, e)) < 0)
        return r;
    r = api_open(c, "GET", path.data, NULL, false, &h, e);
    return r < 0 ? r : copy_log(h, e);
}
