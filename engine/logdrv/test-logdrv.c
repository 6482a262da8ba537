// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"
#include "logdrv/logdrv.h"
#include "logdrv/logfile.h"
#include "logdrv/logread.h"
#include "logdrv/logrecord.h"

#define T0 (INT64_C(1700000000) * NSEC_PER_SEC)

struct fixture {
    char dir[64], path[80];
    char out[LOG_OUT_MAX], held[LIMIT_LOG_LINE];
    struct log_writer w;
    struct log_copier c;
};

static struct fixture *begin(uint64_t max_size, int max_file, const char *attrs) {
    struct fixture *f = calloc(1, sizeof(*f));

    snprintf(f->dir, sizeof(f->dir), "/tmp/hatake-log-XXXXXX");
    if (!mkdtemp(f->dir))
        abort();
    snprintf(f->path, sizeof(f->path), "%s/x-json.log", f->dir);
    snprintf(f->w.path, sizeof(f->w.path), "%s", f->path);
    f->w.attrs = attrs;
    f->w.driver = log_driver_find("json-file");
    f->w.max_size = max_size;
    f->w.max_file = max_file;
    f->w.out = f->out;
    f->c = (struct log_copier){.stream = LOG_STDOUT, .held = f->held};
    CHECK_INT(f->w.driver->open(&f->w, NULL), 0);
    return f;
}

static void end(struct fixture *f) {
    f->w.driver->close(&f->w);
    CHECK_INT(fs_remove_tree(f->dir, NULL), 0);
    free(f);
}

static void feed(struct fixture *f, const char *s, int64_t at) {
    log_copier_feed(&f->c, &f->w, s, strlen(s), at);
}

TEST(records_have_the_reference_form) {
    struct fixture *f = begin(0, 1, "{\"a\":\"1\"}");
    _cleanup_buf_ struct buf b = BUF_INIT(100000);

    feed(f, "hi\na\tb<>&\"\\\n", T0 + 500);
    feed(f, "\303\251 \377\nnonl", T0);
    log_copier_end(&f->c, &f->w, T0 + 1);
    f->w.driver->flush(&f->w);
    CHECK_INT(fs_read_file(f->path, &b, NULL), 0);
    CHECK_STR(buf_str(&b), "{\"log\":\"hi\\n\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"1\"},\"time\":\"2023-11-14T22:13:20.0000005Z\"}\n"
                           "{\"log\":\"a\\u0009b\\u003c\\u003e\\u0026\\\"\\\\\\n\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"1\"},\"time\":\"2023-11-"
                           "14T22:13:20.0000005Z\"}\n"
                           "{\"log\":\"\303\251 \\ufffd\\n\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"1\"},\"time\":\"2023-11-14T22:13:20Z\"}\n"
                           "{\"log\":\"nonl\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"1\"},\"time\":\"2023-11-14T22:13:20.000000001Z\"}\n");
    end(f);
}

/* As recorded: 40,000 bytes and a newline are pieces of 16,384, 16,384 and the rest, all with one time, however they are read. */
static void check_long_line(size_t step) {
    struct fixture *f = begin(0, 1, "");
    struct logread_options o = {.tail = -1};
    struct logread_record rec;
    struct logread *r = NULL;
    char *text = malloc(40002);
    size_t want[] = {16384, 16384, 7233, 3}, i = 0;

    memset(text, 'x', 40000);
    memcpy(text + 40000, "\n", 2);
    for (size_t at = 0; at < 40001; at += step)
        log_copier_feed(&f->c, &f->w, text + at, at + step < 40001 ? step : 40001 - at, T0 + (int64_t)at);
    feed(f, "ok\n", T0 + NSEC_PER_SEC);
    f->w.driver->flush(&f->w);
    CHECK_INT(logread_open(f->path, &o, &r, NULL), 0);
    while (logread_next(r, &rec, NULL) == 1) {
        REQUIRE(i < 4);
        CHECK_INT(rec.n, want[i]);
        CHECK_INT(rec.time_ns >= T0 + NSEC_PER_SEC, i == 3);
        i++;
    }
    CHECK_INT(i, 4);
    logread_free(r);
    free(text);
    end(f);
}

TEST(long_lines_are_cut_the_same_however_they_arrive) {
    static const size_t steps[] = {1, 7, 4096, 16383, 16384, 16385, 65536};

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        check_long_line(steps[i]);
}

static int count(const char *path, int64_t tail, int64_t since, int64_t until, char *ret_first) {
    struct logread_options o = {.tail = tail, .since_ns = since, .until_ns = until};
    struct logread_record rec;
    struct logread *r = NULL;
    int n = 0;

    ret_first[0] = 0;
    CHECK_INT(logread_open(path, &o, &r, NULL), 0);
    while (logread_next(r, &rec, NULL) == 1) {
        if (n++ == 0)
            snprintf(ret_first, 64, "%s", rec.text);
    }
    CHECK(logread_at_end(r));
    logread_free(r);
    return n;
}

static void write_lines(struct fixture *f, int from, int to) {
    char line[64];

    for (int i = from; i < to; i++) {
        snprintf(line, sizeof(line), "line %d\n", i);
        feed(f, line, T0 + i * NSEC_PER_SEC);
    }
    f->w.driver->flush(&f->w);
}

TEST(tail_since_and_until_find_their_records) {
    struct fixture *f = begin(0, 1, "");
    char first[64];

    write_lines(f, 0, 20000);
    CHECK_INT(count(f->path, -1, 0, 0, first), 20000);
    CHECK_INT(count(f->path, 7, 0, 0, first), 7);
    CHECK_STR(first, "line 19993\n");
    CHECK_INT(count(f->path, 0, 0, 0, first), 0);
    CHECK_INT(count(f->path, 50000, 0, 0, first), 20000);
    CHECK_INT(count(f->path, -1, T0 + 12345 * NSEC_PER_SEC, 0, first), 20000 - 12345);
    CHECK_STR(first, "line 12345\n");
    CHECK_INT(count(f->path, -1, T0 + 19999 * NSEC_PER_SEC + 1, 0, first), 0);
    CHECK_INT(count(f->path, -1, T0 - 5, 0, first), 20000);
    CHECK_INT(count(f->path, -1, T0 + 10 * NSEC_PER_SEC, T0 + 19 * NSEC_PER_SEC, first), 10);
    CHECK_INT(count(f->path, 5, T0 + 19998 * NSEC_PER_SEC, 0, first), 2);
    CHECK_INT(count("/nonexistent/x.log", -1, 0, 0, first), 0);
    end(f);
}

TEST(rotation_keeps_the_newest_files_and_reading_spans_them) {
    struct fixture *f = begin(4096, 3, "");
    char first[64], name[128];
    int before, plain;

    write_lines(f, 0, 1000);
    plain = count(f->path, -1, 0, 0, first);
    CHECK(plain > 80 && plain < 1000);
    CHECK_INT(count(f->path, 60, 0, 0, first), 60);
    CHECK_STR(first, "line 940\n");
    snprintf(name, sizeof(name), "%s.2", f->path);
    CHECK(fs_exists(name));
    snprintf(name, sizeof(name), "%s.3", f->path);
    CHECK(!fs_exists(name));
    before = count(f->path, -1, 0, 0, first);
    snprintf(name, sizeof(name), "%s.2", f->path);
    CHECK_INT(logfile_compress(name), 0);
    snprintf(name, sizeof(name), "%s.2.gz", f->path);
    CHECK(fs_exists(name));
    CHECK_INT(count(f->path, -1, 0, 0, first), before);
    end(f);
}

TEST(a_follower_sees_every_record_through_rotations) {
    struct fixture *f = begin(2048, 50, "");
    struct logread_options o = {.tail = -1, .follow = true};
    struct logread_record rec;
    struct logread *r = NULL;
    int seen = 0;

    CHECK_INT(logread_open(f->path, &o, &r, NULL), 0);
    for (int round = 0; round < 40; round++) {
        write_lines(f, round * 25, round * 25 + 25);
        while (round % 3 == 0 && logread_next(r, &rec, NULL) == 1) {
            char want[64];

            snprintf(want, sizeof(want), "line %d\n", seen++);
            CHECK_STR(rec.text, want);
        }
    }
    while (logread_next(r, &rec, NULL) == 1)
        seen++;
    CHECK_INT(seen, 1000);
    CHECK(!logread_at_end(r));
    logread_free(r);
    end(f);
}

static void on_change(void *data) {
    ++*(int *)data;
}

TEST(watches_tell_of_changes) {
    struct fixture *f = begin(0, 1, "");
    struct logwatch_entry *a = NULL, *b = NULL;
    struct logwatch *w = NULL;
    int calls_a = 0, calls_b = 0;

    CHECK_INT(logwatch_new(&w, NULL), 0);
    CHECK_INT(logwatch_add(w, f->path, on_change, &calls_a, &a, NULL), 0);
    CHECK_INT(logwatch_add(w, f->path, on_change, &calls_b, &b, NULL), 0);
    write_lines(f, 0, 1);
    CHECK_INT(poll(&(struct pollfd){logwatch_fd(w), POLLIN, 0}, 1, TEST_PATIENCE_MS), 1);
    logwatch_dispatch(w);
    CHECK_INT(calls_a, 1);
    CHECK_INT(calls_b, 1);
    logwatch_remove(a);
    write_lines(f, 1, 2);
    logwatch_dispatch(w);
    CHECK_INT(calls_a, 1);
    CHECK_INT(calls_b, 2);
    logwatch_free(w);
    end(f);
}

TEST(damaged_lines_are_skipped) {
    struct log_record r;
    int64_t t;

    log_record_init(&r);
    CHECK(!log_record_parse(&r, "", 0, true));
    CHECK(!log_record_parse(&r, "{\"log\":\"x", 9, true));
    CHECK(!log_record_parse(&r, "{\"log\":\"x\",\"stream\":\"stdout\"}", 30, true));
    CHECK(log_record_parse(
        &r,
        "{ \"x\":[1,{\"y\":\"}\"}], "
        "\"attrs\":{\"b\":\"2\",\"a\":\"\\ud83d\\ude00\"},\"log\":\"\\u00e9\\/\",\"time\":\"2023-11-14T22:13:20Z\",\"stream\":\"stderr\" }",
        126, true));
    CHECK(r.is_stderr);
    CHECK_STR(buf_str(&r.text), "\303\251/");
    CHECK_STR(r.attrs.v[0], "a=\360\237\230\200");
    CHECK_INT(r.time_ns, T0);
    CHECK(log_record_time("{\"time\":\"2023-11-14T22:13:20Z\",\"log\":\"x\"}", 41, &t));
    CHECK_INT(t, T0);
    log_record_done(&r);
}

/* What is looked at sixteen bytes at a time comes out as what is looked at one by one, wherever the odd byte is. */
TEST(escapes_are_found_at_every_place) {
    static const struct {
        const char *raw, *written;
    } odd[] = {{"\n", "\\n"}, {"\"", "\\\""}, {"\\", "\\\\"}, {"<", "\\u003c"}, {"\037", "\\u001f"}, {"\377", "\\ufffd"}, {"\303\251", "\303\251"}};
    char text[80], want[120], got[600];

    for (size_t k = 0; k < ELEMENTSOF(odd); k++)
        for (int n = 0; n < 40; n++)
            for (int at = 0; at <= n; at++) {
                static const char plain[] = "0123456789abcdefghijklmnopqrstuvwxyz ~[]";

                snprintf(text, sizeof(text), "%.*s%s%.*s", at, plain, odd[k].raw, n - at, plain);
                snprintf(want, sizeof(want), "%.*s%s%.*s", at, plain, odd[k].written, n - at, plain);
                *log_put_json(got, text, strlen(text)) = 0;
                CHECK_STR(got, want);
            }
}

/* The short way through lines of the usual form gives what the long way gives: a blank sends a line there. */
TEST(usual_lines_are_read_as_any_other) {
    static const char *const texts[] =
        {"", "\\n", "plain\\n", "\\\"quoted\\\" \\u003cb\\u003e\\n", "ends in \\\\", "\\\\\\\"", "\",\\\"stream", "\\ud83d\\ude00 \\u0000!"},
                             *const times[] = {"2023-11-14T22:13:20.123456789Z",
                                               "2023-11-14T22:13:20.5Z",
                                               "2023-11-14T22:13:21.000000001Z",
                                               "2023-11-14T22:13:20Z",
                                               "2023-11-14T22:13:20.5+01:00",
                                               "2023-11-14T22:13:20.x5Z",
                                               "2023-13-14T22:13:20.5Z",
                                               "Z",
                                               ""};
    struct log_record r, other;
    char line[300], spaced[300];

    log_record_init(&r);
    for (size_t i = 0; i < ELEMENTSOF(texts) * ELEMENTSOF(times) * 2; i++) {
        const char *text = texts[i % ELEMENTSOF(texts)], *when = times[i / 2 / ELEMENTSOF(texts)],
                   *stream = i / ELEMENTSOF(texts) % 2 ? "stdout" : "stderr";
        bool ok;

        snprintf(line, sizeof(line), "{\"log\":\"%s\",\"stream\":\"%s\",\"time\":\"%s\"}", text, stream, when);
        snprintf(spaced, sizeof(spaced), "{\"log\": \"%s\",\"stream\":\"%s\",\"time\":\"%s\"}", text, stream, when);
        log_record_init(&other);
        ok = log_record_parse(&other, spaced, strlen(spaced), false);
        CHECK_INT(log_record_parse(&r, line, strlen(line), false), ok);
        if (ok) {
            CHECK_INT(r.is_stderr, other.is_stderr);
            CHECK_INT(r.time_ns, other.time_ns);
            CHECK_INT(r.text.len, other.text.len);
            CHECK_STR(buf_str(&r.text), buf_str(&other.text));
        }
        log_record_done(&other);
    }
    log_record_done(&r);
}

/* A disk that fills up: what is in the file stays whole lines, and the writer says so and goes on. */
TEST(a_full_disk_leaves_whole_records) {
    struct fixture *f = begin(0, 1, "");
    char first[64];
    int kept = f->w.fd;

    write_lines(f, 0, 10);
    f->w.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    feed(f, "lost\n", T0);
    f->w.driver->flush(&f->w);
    CHECK_INT(f->w.lost, 1);
    close(f->w.fd);
    f->w.fd = kept;
    write_lines(f, 10, 20);
    CHECK_INT(count(f->path, -1, 0, 0, first), 20);
    end(f);
}

TEST(the_compact_form_keeps_every_byte_and_is_bounded) {
    struct fixture *f = begin(0, 1, "");
    struct logread_options o = {.tail = -1};
    struct logread_record rec;
    struct logread *r = NULL;
    char first[64];

    f->w.driver->close(&f->w);
    f->w.driver = log_driver_find("local");
    CHECK_INT(f->w.driver->open(&f->w, NULL), 0);
    log_copier_feed(&f->c, &f->w, "a\0\377\n\nend", 8, T0 + 7);
    log_copier_end(&f->c, &f->w, T0 + 9);
    f->w.driver->flush(&f->w);
    CHECK_INT(logread_open(f->path, &o, &r, NULL), 0);
    CHECK_INT(logread_next(r, &rec, NULL), 1);
    CHECK_INT(rec.n, 4);
    CHECK_INT(memcmp(rec.text, "a\0\377\n", 4), 0);
    CHECK_INT(rec.time_ns, T0 + 7);
    CHECK_INT(logread_next(r, &rec, NULL), 1);
    CHECK_STR(rec.text, "\n");
    CHECK_INT(logread_next(r, &rec, NULL), 1);
    CHECK_STR(rec.text, "end");
    CHECK_INT(rec.time_ns, T0 + 9);
    CHECK_INT(logread_next(r, &rec, NULL), 0);
    logread_free(r);
    f->w.max_size = 4096;
    f->w.max_file = 3;
    write_lines(f, 0, 1000);
    CHECK_INT(count(f->path, 60, 0, 0, first), 60);
    CHECK_STR(first, "line 940\n");
    end(f);
}

TEST(rotated_files_are_packed_by_a_process_of_their_own) {
    struct fixture *f = begin(4096, 3, "");
    char first[64], name[128];
    struct pollfd p = {.events = POLLIN};

    f->w.compress = true;
    for (int i = 0; i < 1000 && f->w.packer == 0; i++)
        write_lines(f, i, i + 1);
    CHECK(f->w.packer > 0);
    p.fd = f->w.packer;
    CHECK_INT(poll(&p, 1, 60000), 1);
    snprintf(name, sizeof(name), "%s.1.gz", f->path);
    CHECK(fs_exists(name));
    snprintf(name, sizeof(name), "%s.1", f->path);
    CHECK(!fs_exists(name));
    /* Rotations faster than the packer lose nothing but the packing. */
    write_lines(f, 1000, 3000);
    CHECK_INT(count(f->path, 60, 0, 0, first), 60);
    CHECK_STR(first, "line 2940\n");
    while (waitpid(-1, NULL, 0) > 0)
        ; /* the last packer still makes files in the folder */
    end(f);
}

/* A receiver on a socket of the file system. */
static int receiver_here(struct fixture *f) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(un.sun_path, sizeof(un.sun_path), "%.60s/receiver", f->dir);
    unlink(un.sun_path);
    CHECK_INT(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    CHECK_INT(listen(fd, 4), 0);
    return fd;
}

/* The same; the writer gets the configuration for it. */
static int receiver(struct fixture *f, const char *name, const char *config, char *text, size_t size) {
    char path[108];
    int fd = receiver_here(f);
    size_t n = (size_t)snprintf(text, size, "net=unix\npath=");

    snprintf(path, sizeof(path), "%.60s/receiver", f->dir);
    for (const char *p = path; *p; p++)
        n += (size_t)snprintf(text + n, size - n, "%02x", (unsigned char)*p);
    snprintf(text + n, size - n, "\ntag=746167\npid=5\nfacility=3\nblocking=1\n%s\n", config);
    f->w.driver->close(&f->w);
    f->w.driver = log_driver_find(name);
    f->w.config = text;
    return fd;
}

/* One that the container waits for, and that is gone when the writer opens; three lines are for it. */
static void lines_for_nobody(struct fixture *f, const char *config, char *text, size_t size) {
    struct log_wait wait;
    int fd = receiver(f, "fluentd", config, text, size);

    *(strstr(text, "blocking=1") + strlen("blocking=")) = '2';
    close(fd);
    CHECK_INT(f->w.driver->open(&f->w, NULL), 0);
    write_lines(f, 0, 3);
    CHECK(log_writer_waits(&f->w, &wait));
    CHECK(wait.fd < 0);
}

/* As the writer's owner does: whenever it may try again, until nothing waits. */
static void try_until_empty(struct fixture *f) {
    struct log_wait wait;

    while (log_writer_waits(&f->w, &wait)) {
        usleep(1000);
        if (clock_mono_ns() >= wait.retry_at)
            f->w.driver->flush(&f->w);
    }
}

static size_t read_all(int fd, char *to, size_t size) {
    size_t n = 0;
    ssize_t k;

    while (n < size && (k = read(fd, to + n, size - n)) > 0)
        n += (size_t)k;
    return n;
}

TEST(what_is_sent_is_kept_too_and_survives_a_broken_connection) {
    struct fixture *f = begin(0, 1, "");
    char config[512], got[4096] = "", first[64];
    int fd = receiver(f, "syslog", "format=", config, sizeof(config)), one, two;

    CHECK_INT(f->w.driver->open(&f->w, NULL), 0);
    one = accept(fd, NULL, NULL);
    feed(f, "before\n", T0);
    f->w.driver->flush(&f->w);
    CHECK(read(one, got, sizeof(got)) > 0);
    CHECK(strncmp(got, "<30>", 4) == 0);
    CHECK(strstr(got, " tag[5]: before\n"));
    close(one);
    feed(f, "lost\n", T0);
    f->w.driver->flush(&f->w); /* the first write after a break may vanish; the next finds it broken */
    feed(f, "after\n", T0);
    f->w.driver->flush(&f->w);
    usleep(300000); /* the first pause */
    feed(f, "again\n", T0);
    f->w.driver->close(&f->w);
    two = accept(fd, NULL, NULL);
    memset(got, 0, sizeof(got));
    read_all(two, got, sizeof(got) - 1);
    CHECK(strstr(got, "after\n") && strstr(got, "again\n"));
    CHECK_INT(count(f->path, -1, 0, 0, first), 4);
    close(two);
    close(fd);
    end(f);
}

/* Read what is there, until `size` bytes have come; the writer goes on sending meanwhile. */
static size_t read_from(struct fixture *f, int fd, size_t size) {
    static char block[65536];
    struct log_wait wait;
    size_t n = 0;

    while (n < size) {
        struct pollfd p = {fd, POLLIN, 0};
        ssize_t k;

        f->w.driver->flush(&f->w);
        k = poll(&p, 1, 0) == 1 ? read(fd, block, sizeof(block)) : 0;
        n += k > 0 ? (size_t)k : 0;
        if (k == 0 && !log_writer_waits(&f->w, &wait))
            break;
    }
    return n;
}

TEST(a_receiver_that_does_not_read_costs_a_bounded_queue) {
    struct fixture *f = begin(0, 1, "");
    char config[512], first[64];
    int fd = receiver(f, "gelf", "blocking=0\nbuffer=4096", config, sizeof(config));

    f->w.config = strstr(config, "net=");
    *strstr(config, "blocking=1") = '#';
    CHECK_INT(f->w.driver->open(&f->w, NULL), 0);
    write_lines(f, 0, 50000);
    CHECK(f->w.lost > 0);
    CHECK(!log_writer_full(&f->w));
    CHECK_INT(count(f->path, -1, 0, 0, first), 50000);
    close(fd);
    end(f);
}

TEST(where_the_container_shall_wait_nothing_is_dropped) {
    struct fixture *f = begin(0, 1, "");
    struct log_wait wait;
    char config[512], first[64];
    int fd = receiver(f, "syslog", "format=\nbuffer=200000", config, sizeof(config)), one, lines = 0;
    size_t sent = 0;

    CHECK_INT(f->w.driver->open(&f->w, NULL), 0);
    one = accept(fd, NULL, NULL);
    while (!log_writer_full(&f->w) && lines < 1000000)
        write_lines(f, lines, lines + 100), lines += 100;
    CHECK(log_writer_full(&f->w));
    CHECK(log_writer_waits(&f->w, &wait));
    CHECK(wait.fd >= 0);
    write_lines(f, lines, lines + 20000); /* what was read before the reader heard of it */
    lines += 20000;
    CHECK_INT(f->w.lost, 0);
    CHECK_INT(count(f->path, -1, 0, 0, first), lines);
    for (int i = 0; i < lines; i++)
        sent += (size_t)snprintf(first, sizeof(first), "<30>Nov 14 22:13:20 tag[5]: line %d\n", i);
    CHECK_INT(read_from(f, one, sent), sent);
    CHECK(!log_writer_full(&f->w));
    CHECK(!log_writer_waits(&f->w, &wait));
    /* One that is gone is not waited for, unless the driver says so. */
    close(one);
    close(fd);
    for (int i = 0; i < 100 && f->w.lost == 0; i++)
        write_lines(f, lines, lines + 1000);
    CHECK(f->w.lost > 0);
    CHECK(!log_writer_full(&f->w));
    CHECK(log_writer_waits(&f->w, &wait));
    CHECK(wait.fd < 0);
    CHECK(wait.retry_at > 0);
    end(f);
}

TEST(a_receiver_that_is_not_there_yet_gets_all_once_it_is) {
    struct fixture *f = begin(0, 1, "");
    char config[512], got[4096] = "";
    int fd, one;

    lines_for_nobody(f, "pairs=0", config, sizeof(config));
    fd = receiver_here(f);
    try_until_empty(f);
    one = accept(fd, NULL, NULL);
    f->w.driver->close(&f->w);
    CHECK(read_all(one, got, sizeof(got)) > 0);
    for (size_t i = 0; i + 1 < sizeof(got); i++)
        got[i] = got[i] ? got[i] : ' ';
    CHECK(strstr(got, "line 0") && strstr(got, "line 1") && strstr(got, "line 2"));
    CHECK_INT(f->w.lost, 0);
    close(one);
    close(fd);
    end(f);
}

TEST(a_message_is_given_up_after_the_attempts_it_has) {
    struct fixture *f = begin(0, 1, "");
    char config[512];

    lines_for_nobody(f, "pairs=0\nretries=2\npause=1000000", config, sizeof(config));
    try_until_empty(f);
    CHECK_INT(f->w.lost, 3);
    f->w.driver->close(&f->w);
    CHECK_INT(f->w.lost, 3);
    /* ... or with the end of the log. */
    f->w.lost = 0;
    lines_for_nobody(f, "pairs=0", config, sizeof(config));
    f->w.driver->close(&f->w);
    CHECK_INT(f->w.lost, 3);
    end(f);
}

TEST(a_queue_may_be_bounded_by_messages) {
    struct fixture *f = begin(0, 1, "");
    char config[512];
    int fd = receiver(f, "fluentd", "pairs=0\nmost=2", config, sizeof(config));

    *(strstr(config, "blocking=1") + strlen("blocking=")) = '0';
    close(fd);
    CHECK_INT(f->w.driver->open(&f->w, NULL), 0);
    write_lines(f, 0, 3);
    CHECK_INT(f->w.lost, 1);
    f->w.driver->close(&f->w);
    CHECK_INT(f->w.lost, 3);
    end(f);
}

TEST(a_connection_is_made_anew_when_it_has_lasted_long_enough) {
    struct fixture *f = begin(0, 1, "");
    char config[512];
    int fd = receiver(f, "fluentd", "pairs=0\nevery=1", config, sizeof(config)), first, second;

    CHECK_INT(f->w.driver->open(&f->w, NULL), 0);
    first = accept(fd, NULL, NULL);
    feed(f, "hi\n", T0);
    f->w.driver->flush(&f->w);
    second = accept(fd, NULL, NULL);
    CHECK_INT(read(first, config, sizeof(config)), 0); /* closed, and nothing was said there */
    CHECK(read(second, config, sizeof(config)) > 0);
    CHECK_INT(f->w.lost, 0);
    f->w.driver->close(&f->w);
    close(first);
    close(second);
    close(fd);
    end(f);
}

/* A message that no socket holds at once, for one that takes a connection and closes it. */
TEST(a_receiver_that_hangs_up_uses_up_the_attempts_as_well) {
    struct fixture *f = begin(0, 1, "");
    struct log_wait wait;
    char config[512], *whole = malloc(2 * MIB(2) + sizeof(config) + 16);
    int fd = receiver(f, "fluentd", "pairs=1\nretries=2\npause=1", config, sizeof(config)), taken = 0;
    struct pollfd p = {fd, POLLIN, 0};
    size_t n = (size_t)snprintf(whole, sizeof(config) + 8, "%sextra=", config);

    memset(whole + n, '6', 2 * MIB(2));
    memcpy(whole + n + 2 * MIB(2), "\n", 2);
    f->w.config = whole;
    CHECK_INT(f->w.driver->open(&f->w, NULL), 0);
    feed(f, "hi\n", T0);
    for (int i = 0; i < 1000 && log_writer_waits(&f->w, &wait); i++) {
        f->w.driver->flush(&f->w);
        if (poll(&p, 1, 0) == 1) {
            close(accept(fd, NULL, NULL));
            taken++;
        }
    }
    CHECK_INT(taken, 2);
    CHECK_INT(f->w.lost, 1);
    close(fd);
    end(f);
    free(whole);
}

TEST(labels_and_variables_may_be_long) {
    char *attrs = malloc(LOG_ATTRS_MAX + 1), config[512], *whole = malloc(3 * LOG_ATTRS_MAX);
    struct logread_options o = {.tail = -1, .want_attrs = true};
    size_t n = (size_t)snprintf(attrs, 16, "{\"a\":\""), m;
    struct logread_record rec;
    struct logread *r = NULL;
    struct fixture *f;
    int fd, one;

    memset(attrs + n, 'v', LOG_ATTRS_MAX - n - 2);
    memcpy(attrs + LOG_ATTRS_MAX - 2, "\"}", 3);
    f = begin(0, 1, attrs);
    write_lines(f, 0, 20);
    CHECK_INT(logread_open(f->path, &o, &r, NULL), 0);
    for (int i = 0; i < 20; i++) {
        CHECK_INT(logread_next(r, &rec, NULL), 1);
        CHECK_INT(strlen(rec.attrs->v[0]), LOG_ATTRS_MAX - n);
    }
    logread_free(r);
    CHECK_INT(count(f->path, -1, T0 + 15 * NSEC_PER_SEC, 0, config), 5);
    /* ... and so for those that send: a field of 60,000 bytes. */
    fd = receiver(f, "journald", "", config, sizeof(config));
    m = (size_t)snprintf(whole, 600, "%sextra=", config);
    for (int i = 0; i < 60000; i++)
        m += (size_t)snprintf(whole + m, 8, "%02x", i ? 'e' : 'A');
    memcpy(whole + m, "\n", 2);
    f->w.config = whole;
    CHECK_INT(f->w.driver->open(&f->w, NULL), 0);
    one = accept(fd, NULL, NULL);
    log_copier_feed(&f->c, &f->w, "hi\n", 3, T0);
    CHECK_INT(read_from(f, one, 60000) > 60000, 1);
    CHECK_INT(f->w.lost, 0);
    close(one);
    close(fd);
    end(f);
    free(attrs);
    free(whole);
}

/* A message of fluentd's that asks for an acknowledgement: its last 24 bytes. */
static void read_chunk(int fd, char ret[25]) {
    char message[512];
    ssize_t n = read(fd, message, sizeof(message));

    CHECK(n > 24);
    memcpy(ret, message + n - 24, 24);
    ret[24] = 0;
}

static void answer(int fd, const char *text) {
    CHECK_INT(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

TEST(a_message_is_out_once_it_is_acknowledged) {
    struct fixture *f = begin(0, 1, "");
    char config[512], chunk[25], second[25], text[64];
    struct log_wait wait;
    int fd = receiver(f, "fluentd", "pairs=0\nack=1", config, sizeof(config)), one;

    CHECK_INT(f->w.driver->open(&f->w, NULL), 0);
    one = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
    feed(f, "a\nb\n", T0);
    f->w.driver->flush(&f->w);
    read_chunk(one, chunk);
    CHECK_INT(chunk[22], '=');
    CHECK(log_writer_waits(&f->w, &wait) && wait.fd >= 0 && wait.reads);
    f->w.driver->flush(&f->w);
    CHECK(read(one, config, 1) < 0 && errno == EAGAIN); /* the next one waits for the answer */
    answer(one, "\x81\xa3"
                "ac");
    f->w.driver->flush(&f->w);
    CHECK(read(one, config, 1) < 0 && errno == EAGAIN); /* half of one is none */
    snprintf(text, sizeof(text), "k\xb8%s", chunk);
    answer(one, text);
    f->w.driver->flush(&f->w);
    read_chunk(one, second);
    CHECK(strcmp(chunk, second) != 0);
    snprintf(text, sizeof(text),
             "\x82\xa4size\xa1"
             "7\xa3"
             "ack\xd9\x18%s",
             second);
    answer(one, text); /* other fields, and another form of the same text */
    f->w.driver->flush(&f->w);
    CHECK(!log_writer_waits(&f->w, &wait));
    CHECK_INT(f->w.lost, 0);
    f->w.driver->close(&f->w);
    close(one);
    close(fd);
    end(f);
}

/* The message goes again, the same one, on another connection; so often, and not more. */
TEST(a_message_that_is_not_acknowledged_goes_again) {
    static const char *const answers[] = {"\x81\xa3"
                                          "ack\xa3xyz",
                                          "\x81\xa3no", "\xc0", ""};
    char config[512], chunk[25], again[25];

    for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
        struct fixture *f = begin(0, 1, "");
        int fd = receiver(f, "fluentd", "pairs=0\nack=1\nretries=2\npause=1", config, sizeof(config)), one;

        CHECK_INT(f->w.driver->open(&f->w, NULL), 0);
        one = accept(fd, NULL, NULL);
        feed(f, "a\n", T0);
        f->w.driver->flush(&f->w);
        read_chunk(one, chunk);
        answer(one, answers[i]);
        close(one);
        f->w.driver->flush(&f->w); /* sees it, and the pause is over at once */
        f->w.driver->flush(&f->w);
        one = accept(fd, NULL, NULL);
        read_chunk(one, again);
        CHECK_STR(chunk, again);
        close(one);
        try_until_empty(f);
        CHECK_INT(f->w.lost, 1);
        f->w.driver->close(&f->w);
        close(fd);
        end(f);
    }
}
