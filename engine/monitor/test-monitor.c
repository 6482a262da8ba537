// SPDX-License-Identifier: Apache-2.0
/*
 * Real containers through the launcher and the monitor: streams, exit codes, texts of failures, exec, terminals, pause, limits, adoption after the daemon
 * was killed. Needs root and busybox-static; skipped without. HATAKE_MONITOR names the program (default build/bin/hatake-monitor).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/test.h"
#include "monitor/client.h"
#include "monitor/health.h"

#define ID "feedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedface"

struct fixture {
    char dir[64], rootfs[96], exec_dir[96], log[96];
    struct launcher *l;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int exits, lost, ooms, detached;
    struct monitor_exit x;
    char exec_id[32];
    int exec_code;
    const struct launch_health *health; /* for the next start */
    int probing, probes, replays;
    struct monitor_probe probe; /* the last one; its texts are below */
    char output[256];
};

static void on_exit_(void *arg, struct monitor *m, const struct monitor_exit *x) {
    struct fixture *f = arg;

    pthread_mutex_lock(&f->lock);
    f->exits++;
    f->x = *x;
    pthread_cond_broadcast(&f->cond);
    pthread_mutex_unlock(&f->lock);
}
static void on_exec(void *arg, struct monitor *m, const char *id, int code) {
    struct fixture *f = arg;

    pthread_mutex_lock(&f->lock);
    snprintf(f->exec_id, sizeof f->exec_id, "%s", id);
    f->exec_code = code;
    pthread_mutex_unlock(&f->lock);
}
static void on_lost(void *arg, struct monitor *m) {
    struct fixture *f = arg;

    pthread_mutex_lock(&f->lock);
    f->lost++;
    pthread_cond_broadcast(&f->cond);
    pthread_mutex_unlock(&f->lock);
}
static void on_oom(void *arg, struct monitor *m) {
    ((struct fixture *)arg)->ooms++;
}
static void on_detached(void *arg, struct monitor *m, const char *id) {
    ((struct fixture *)arg)->detached++;
}

static void on_probing(void *arg, struct monitor *m, const char *id) {
    struct fixture *f = arg;

    pthread_mutex_lock(&f->lock);
    f->probing++;
    pthread_mutex_unlock(&f->lock);
}
static void on_probed(void *arg, struct monitor *m, const struct monitor_probe *p) {
    struct fixture *f = arg;

    pthread_mutex_lock(&f->lock);
    f->probe = *p;
    if (!p->status_only)
        snprintf(f->output, sizeof f->output, "%.*s", (int)p->n_output, p->output);
    f->replays += p->replay;
    f->probes += !p->status_only;
    pthread_mutex_unlock(&f->lock);
}

static const struct monitor_events events = {on_exit_, on_exec, on_oom, on_detached, on_lost, on_probing, on_probed};

static const char *monitor_program(void) {
    const char *s = getenv("HATAKE_MONITOR");

    return s ? s : "build/bin/hatake-monitor";
}

static bool fixture_init(struct fixture *f) {
    static const char *const dirs[] = {"", "/bin", "/proc", "/sys", "/dev", "/tmp", "/etc", "/root"};
    static const char *const links[] = {"sh", "cat", "true", "echo", "sleep", "seq", "id", "stty", "dd", "tr", "head", "tty", "kill"};
    _cleanup_buf_ struct buf b = BUF_INIT(8 << 20);
    char path[160];

    if (geteuid() != 0 || access(monitor_program(), X_OK) < 0 || access("/bin/busybox", X_OK) < 0) {
        test_skip("needs root, the monitor program and busybox");
        return false;
    }
    memset(f, 0, sizeof *f);
    signal(SIGPIPE, SIG_IGN);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->cond, NULL);
    snprintf(f->dir, sizeof f->dir, "/tmp/hatake-test-XXXXXX");
    if (!mkdtemp(f->dir))
        return false;
    snprintf(f->rootfs, sizeof f->rootfs, "%s/rootfs", f->dir);
    snprintf(f->exec_dir, sizeof f->exec_dir, "%s/run", f->dir);
    snprintf(f->log, sizeof f->log, "%s/json.log", f->dir);
    mkdir(f->exec_dir, 0700);
    for (size_t i = 0; i < ELEMENTSOF(dirs); i++) {
        snprintf(path, sizeof path, "%s%s", f->rootfs, dirs[i]);
        mkdir(path, 0755);
    }
    snprintf(path, sizeof path, "%s/bin/busybox", f->rootfs);
    if (fs_read_file("/bin/busybox", &b, NULL) < 0 || fs_replace_file_volatile(path, b.data, b.len, 0755, NULL) < 0)
        return false;
    for (size_t i = 0; i < ELEMENTSOF(links); i++) {
        snprintf(path, sizeof path, "%s/bin/%s", f->rootfs, links[i]);
        ignore_result(symlink("busybox", path));
    }
    snprintf(path, sizeof path, "%s/etc/text", f->rootfs);
    fs_replace_file_volatile(path, "x", 1, 0644, NULL);
    return launcher_new(&(struct launcher_config){.monitor_path = monitor_program()}, &f->l, NULL) == 0;
}

static void fixture_done(struct fixture *f) {
    launcher_free(f->l);
    CHECK(fs_remove_tree(f->dir, NULL) == 0);
}

static json_t *document(const char *script, bool tty) {
    return json_pack("{s:s, s:{s:[s,s,s], s:s, s:[s,s], s:b, s:{s:i,s:i}}, s:[{s:s,s:s,s:s},{s:s,s:s,s:s},{s:s,s:s,s:s}], s:s, "
                     "s:{s:[{s:s},{s:s},{s:s},{s:s},{s:s}], s:s, s:{s:s}}}",
                     "ociVersion", "1.2.0", "process", "args", "sh", "-c", script, "cwd", "/", "env", "PATH=/bin", "A=b", "terminal", (int)tty,
                     "user", "uid", 0, "gid", 0, "mounts", "destination", "/proc", "type", "proc", "source", "proc", "destination", "/dev", "type",
                     "tmpfs", "source", "tmpfs", "destination", "/dev/pts", "type", "devpts", "source", "devpts", "hostname", "box", "linux",
                     "namespaces", "type", "mount", "type", "pid", "type", "uts", "type", "ipc", "type", "network", "cgroupsPath",
                     "/hatake-test/monitor", "seccomp", "hatakeProfile", "builtin");
}

struct run {
    struct monitor *m;
    json_t *spec;
    int fd;
    int code;
    struct err e;
};

/* Start with one attached client; its other end is run->fd. */
static int start(struct fixture *f, struct run *r, json_t *spec, bool stdin_open, bool framed) {
    int sp[2];
    struct launch_attach a;
    struct launch_request q = LAUNCH_REQUEST_INIT;

    *r = (struct run){.spec = spec, .e = ERR_INIT};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) < 0)
        return -1;
    r->fd = sp[0];
    a = (struct launch_attach){.fd = sp[1], .want_stdin = stdin_open, .want_stdout = true, .want_stderr = true, .framed = framed};
    q.id = ID;
    q.spec = spec;
    q.exec_dir = f->exec_dir;
    q.rootfs_path = f->rootfs;
    q.open_stdin = q.stdin_once = stdin_open;
    q.attach = &a;
    q.n_attach = 1;
    q.health = f->health;
    q.log = (struct launch_log){.driver = "json-file", .path = f->log};
    return launcher_start(f->l, &q, &events, f, &r->m, &r->code, &r->e);
}

static char *read_all(int fd) {
    _cleanup_buf_ struct buf b = BUF_INIT(8 << 20);
    char block[4096];
    ssize_t n;

    while ((n = read(fd, block, sizeof block)) > 0)
        buf_add(&b, block, (size_t)n);
    buf_adds(&b, "");
    return b.data ? buf_take(&b) : str_dup("");
}

/* Reads until the text has come; what one write sent may come in pieces. */
static bool read_until(int fd, const char *text) {
    char buf[256] = "";
    size_t n = 0;
    ssize_t k;

    while (!strstr(buf, text) && n < sizeof buf - 1 && (k = read(fd, buf + n, sizeof buf - 1 - n)) > 0)
        buf[n += (size_t)k] = 0;
    return strstr(buf, text);
}

static int wait_exit(struct fixture *f) {
    struct timespec t;
    int r = 0;

    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += TEST_PATIENCE_MS / 1000;
    pthread_mutex_lock(&f->lock);
    while (!f->exits && !f->lost && r == 0)
        r = pthread_cond_timedwait(&f->cond, &f->lock, &t);
    r = f->exits ? f->x.code : -1;
    pthread_mutex_unlock(&f->lock);
    return r;
}

static void finish(struct fixture *f, struct run *r) {
    if (r->m)
        monitor_acknowledge(r->m);
    monitor_unref(r->m);
    close_fd(r->fd);
    json_decref(r->spec);
    err_done(&r->e);
    f->exits = 0;
}

static bool group_left(void) {
    return access("/sys/fs/cgroup/pids/hatake-test/monitor", F_OK) == 0 || access("/sys/fs/cgroup/hatake-test/monitor", F_OK) == 0;
}

TEST(monitor_runs_a_program) {
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20), frames = BUF_INIT(4096);
    struct fixture f;
    struct run r;
    char block[256];
    ssize_t n;

    if (!fixture_init(&f))
        return;
    if (start(&f, &r, document("read x; echo got $x; echo err >&2; exit 3", false), true, true) < 0)
        test_fail(__FILE__, __LINE__, "%s", err_msg(&r.e));
    CHECK(write(r.fd, "line\nmore", 9) == 9);
    shutdown(r.fd, SHUT_WR);
    while ((n = read(r.fd, block, sizeof block)) > 0)
        buf_add(&frames, block, (size_t)n);
    /* two pipes: which comes first is not said */
    CHECK(memmem(frames.data, frames.len, "\1\0\0\0\0\0\0\011got line\n", 17));
    CHECK(memmem(frames.data, frames.len, "\2\0\0\0\0\0\0\004err\n", 12));
    CHECK_INT(wait_exit(&f), 3);
    CHECK(!group_left());
    finish(&f, &r);
    CHECK(fs_read_file(f.log, &b, NULL) == 0);
    CHECK(strstr(buf_str(&b), "{\"log\":\"got line\\n\",\"stream\":\"stdout\",\"time\":\""));
    CHECK(strstr(buf_str(&b), "{\"log\":\"err\\n\",\"stream\":\"stderr\",\"time\":\""));
    fixture_done(&f);
}

#define START                                                                                                                                        \
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container "     \
    "process: "

TEST(monitor_says_why_it_did_not_start) {
    static const struct {
        const char *arg, *text;
        int code;
    } t[] = {{"nope", START "exec: \"nope\": executable file not found in $PATH: unknown", 127},
             {"/nope", START "exec: \"/nope\": stat /nope: no such file or directory: unknown", 127},
             {"/etc", START "exec: \"/etc\": is a directory: unknown: permission denied", 126},
             {"/etc/text", START "exec: \"/etc/text\": permission denied: unknown", 126},
             {"", START "exec: \"\": executable file not found in $PATH: unknown", 127}};
    struct fixture f;
    struct run r;

    if (!fixture_init(&f))
        return;
    for (size_t i = 0; i < ELEMENTSOF(t); i++) {
        json_t *spec = document("", false);

        json_object_set_new(json_object_get(spec, "process"), "args", json_pack("[s]", t[i].arg));
        CHECK(start(&f, &r, spec, false, false) < 0);
        CHECK_STR(err_msg(&r.e), t[i].text);
        CHECK_INT(r.code, t[i].code);
        CHECK_INT(r.e.kind, ERR_INVALID);
        CHECK(!group_left());
        finish(&f, &r);
    }
    fixture_done(&f);
}

TEST(monitor_terminal_detach_and_resize) {
    _cleanup_free_ char *out = NULL;
    struct fixture f;
    struct run r;

    if (!fixture_init(&f))
        return;
    if (start(&f, &r, document("stty -echo; tty; read x; stty size; exec sleep 100", true), true, false) < 0)
        test_fail(__FILE__, __LINE__, "%s", err_msg(&r.e));
    CHECK(read_until(r.fd, "/dev/pts/0"));
    CHECK(monitor_resize(r.m, 33, 77, NULL) == 0);
    CHECK(write(r.fd, "\n", 1) == 1);
    CHECK(read_until(r.fd, "33 77"));
    CHECK(write(r.fd, "\x10\x11", 2) == 2);
    out = read_all(r.fd); /* the session ends, the container does not */
    CHECK_SOON(f.detached);
    CHECK_INT(f.exits, 0);
    CHECK(monitor_signal(r.m, SIGKILL, false, NULL) == 0);
    CHECK_INT(wait_exit(&f), 137);
    finish(&f, &r);
    fixture_done(&f);
}

/* A program may close all its ends of the terminal and open them again; init systems do. */
TEST(monitor_terminal_closed_and_opened) {
    struct fixture f;
    struct run r;

    if (!fixture_init(&f))
        return;
    if (start(&f, &r, document("read x; exec <&- >&- 2>&-; sleep 0.2; echo again >/dev/pts/0; exit 3", true), true, false) < 0)
        test_fail(__FILE__, __LINE__, "%s", err_msg(&r.e));
    CHECK(write(r.fd, "\n", 1) == 1);
    CHECK(read_until(r.fd, "again"));
    CHECK_INT(wait_exit(&f), 3);
    finish(&f, &r);
    fixture_done(&f);
}

TEST(monitor_exec) {
    _cleanup_free_ char *out = NULL;
    _cleanup_err_ struct err e = ERR_INIT;
    struct monitor_exec_request q;
    struct launch_attach a;
    struct fixture f;
    struct run r;
    json_t *process;
    int sp[2], code = 0;
    pid_t pid;

    if (!fixture_init(&f))
        return;
    if (start(&f, &r, document("exec sleep 100", false), false, false) < 0)
        test_fail(__FILE__, __LINE__, "%s", err_msg(&r.e));
    process = json_deep_copy(json_object_get(r.spec, "process"));
    json_object_set_new(process, "args", json_pack("[s,s,s]", "sh", "-c", "cat; echo $A; cat /proc/1/comm; exit 9"));
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) == 0);
    a = (struct launch_attach){.fd = sp[1], .want_stdin = true, .want_stdout = true, .want_stderr = true, .early = "early ", .n_early = 6};
    q = (struct monitor_exec_request){.exec_id = "e1", .process = process, .spec = r.spec, .attach = &a, .n_attach = 1, .stdin_open = true};
    if (monitor_exec(r.m, &q, &pid, &code, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", err_msg(&e));
    CHECK(write(sp[0], "late\n", 5) == 5);
    shutdown(sp[0], SHUT_WR);
    out = read_all(sp[0]);
    CHECK_STR(out, "early late\nb\nsleep\n");
    CHECK_STR(f.exec_id, "e1"); /* known before the stream ended */
    CHECK_INT(f.exec_code, 9);
    close(sp[0]);
    json_object_set_new(process, "args", json_pack("[s]", "nope"));
    q = (struct monitor_exec_request){.exec_id = "e2", .process = process, .spec = r.spec};
    CHECK(monitor_exec(r.m, &q, &pid, &code, &e) < 0);
    CHECK_STR(err_msg(&e),
              "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nope\": executable file not found in $PATH: unknown");
    CHECK_INT(code, 127);
    CHECK(monitor_pause(r.m, NULL) == 0);
    CHECK(monitor_resume(r.m, NULL) == 0);
    CHECK(monitor_signal(r.m, SIGKILL, true, NULL) == 0);
    CHECK_INT(wait_exit(&f), 137);
    json_decref(process);
    finish(&f, &r);
    fixture_done(&f);
}

/* A reader that sleeps costs the container nothing, and gets everything in the end. */
TEST(monitor_slow_client) {
    struct fixture f;
    struct run r;
    int64_t total = 0;
    char block[65536];
    ssize_t n;

    if (!fixture_init(&f))
        return;
    if (start(&f, &r, document("head -c 20000000 /dev/zero | tr '\\0' x; exit 4", false), false, false) < 0)
        test_fail(__FILE__, __LINE__, "%s", err_msg(&r.e));
    CHECK_INT(wait_exit(&f), 4);
    while ((n = read(r.fd, block, sizeof block)) > 0)
        total += n;
    CHECK_INT(total, 20000000);
    finish(&f, &r);
    fixture_done(&f);
}

TEST(monitor_outlives_the_daemon) {
    _cleanup_free_ char *out = NULL;
    _cleanup_err_ struct err e = ERR_INIT;
    struct fixture f;
    struct run r = {.e = ERR_INIT};
    struct launch_attach a;
    struct monitor *m = NULL;
    int sp[2], status;
    pid_t daemon, program;

    if (!fixture_init(&f))
        return;
    fflush(NULL);
    daemon = fork();
    if (daemon == 0) {
        struct fixture *g = &f;

        close_fd(open("/dev/null", O_RDONLY));
        if (launcher_new(&(struct launcher_config){.monitor_path = monitor_program()}, &g->l, NULL) < 0 ||
            start(g, &r, document("read x; sleep 0.5; exit 6", false), true, false) < 0)
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    CHECK(waitpid(daemon, &status, 0) == daemon && WIFSIGNALED(status));
    if (monitor_adopt(f.l, f.exec_dir, ID, &events, &f, &m, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", err_msg(&e));
    REQUIRE(m);
    CHECK(kill(monitor_container_pid(m), 0) == 0);
    CHECK(monitor_start_ticks(m) > 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) == 0);
    a = (struct launch_attach){.fd = sp[1], .want_stdin = true, .want_stdout = true, .want_stderr = true};
    CHECK(monitor_attach(m, &a, &e) == 0);
    /* The first client's input ended with its daemon; a stdin_once container has then read its end of file. */
    out = read_all(sp[0]);
    CHECK_INT(wait_exit(&f), 6);
    program = monitor_pid(m);
    monitor_acknowledge(m);
    monitor_unref(m);
    close(sp[0]);
    CHECK_SOON(kill(program, 0) < 0);
    CHECK(monitor_adopt(f.l, f.exec_dir, ID, &events, &f, &m, &e) < 0);
    CHECK_INT(e.kind, ERR_NOT_FOUND);
    f.exits = 0;
    fixture_done(&f);
}

TEST(monitor_exit_record_is_found_later) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct fixture f;
    struct run r = {.e = ERR_INIT};
    struct monitor *m = NULL;
    char path[128];
    pid_t daemon;
    int status;

    if (!fixture_init(&f))
        return;
    fflush(NULL);
    daemon = fork();
    if (daemon == 0) {
        if (launcher_new(&(struct launcher_config){.monitor_path = monitor_program()}, &f.l, NULL) < 0 ||
            start(&f, &r, document("sleep 0.2; exit 8", false), false, false) < 0)
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    CHECK(waitpid(daemon, &status, 0) == daemon && WIFSIGNALED(status));
    snprintf(path, sizeof path, "%s/exit", f.exec_dir);
    CHECK_SOON(access(path, F_OK) == 0);
    if (monitor_adopt(f.l, f.exec_dir, ID, &events, &f, &m, &e) < 0)
        test_fail(__FILE__, __LINE__, "%s", err_msg(&e));
    REQUIRE(m);
    CHECK_INT(wait_exit(&f), 8);
    monitor_acknowledge(m);
    monitor_unref(m);
    CHECK(access(path, F_OK) < 0);
    fixture_done(&f);
}

static int probes(struct fixture *f, enum monitor_health *ret_status) {
    int n;

    pthread_mutex_lock(&f->lock);
    n = f->probes;
    if (ret_status)
        *ret_status = f->probe.status;
    pthread_mutex_unlock(&f->lock);
    return n;
}

TEST(monitor_checks_health) {
    struct launch_health h = {.interval = 20 * NSEC_PER_MSEC, .timeout = 60 * NSEC_PER_SEC, .start_interval = NSEC_PER_SEC, .retries = 2};
    enum monitor_health status;
    struct monitor *later = NULL;
    struct fixture f;
    struct run r;

    if (!fixture_init(&f))
        return;
    h.process = json_pack("{s:[s,s,s],s:s,s:[s],s:{s:i,s:i}}", "args", "sh", "-c", "echo probed; exit 4", "cwd", "/", "env", "PATH=/bin", "user",
                          "uid", 0, "gid", 0);
    f.health = &h;
    if (start(&f, &r, document("exec sleep 1000", false), false, false) < 0)
        test_fail(__FILE__, __LINE__, "%s", err_msg(&r.e));
    REQUIRE(r.m);
    CHECK_SOON(probes(&f, &status) >= 2 && status == MONITOR_UNHEALTHY);
    pthread_mutex_lock(&f.lock);
    CHECK_INT(f.probe.code, 4);
    CHECK_STR(f.output, "probed\n");
    CHECK(f.probe.ran && !f.probe.late && !f.probe.replay);
    CHECK(f.probe.streak >= 2);
    CHECK(f.probing >= 2);
    pthread_mutex_unlock(&f.lock);
    CHECK(monitor_pause(r.m, NULL) == 0);
    CHECK(monitor_resume(r.m, NULL) == 0);
    CHECK_SOON(probes(&f, &status) >= 6);
    /* A second daemon hears of the last results again, then of new ones. */
    if (monitor_adopt(f.l, f.exec_dir, ID, &events, &f, &later, NULL) < 0)
        test_fail(__FILE__, __LINE__, "adopt");
    REQUIRE(later);
    CHECK_SOON(f.replays == 5);
    CHECK(monitor_signal(later, SIGKILL, false, NULL) == 0);
    CHECK_SOON(f.exits == 1); /* the first daemon's monitor counts as lost by now */
    CHECK_INT(f.x.code, 137);
    monitor_acknowledge(later);
    monitor_unref(later);
    finish(&f, &r);
    json_decref(h.process);
    fixture_done(&f);
}

TEST(monitor_ends_slow_checks) {
    struct launch_health h = {.interval = 10 * NSEC_PER_MSEC, .timeout = 100 * NSEC_PER_MSEC, .start_interval = NSEC_PER_SEC, .retries = 1};
    enum monitor_health status;
    struct fixture f;
    struct run r;

    if (!fixture_init(&f))
        return;
    h.process = json_pack("{s:[s,s],s:s,s:[s],s:{s:i,s:i}}", "args", "sleep", "1000", "cwd", "/", "env", "PATH=/bin", "user", "uid", 0, "gid", 0);
    f.health = &h;
    if (start(&f, &r, document("exec sleep 1000", false), false, false) < 0)
        test_fail(__FILE__, __LINE__, "%s", err_msg(&r.e));
    REQUIRE(r.m);
    CHECK_SOON(probes(&f, &status) >= 1 && status == MONITOR_UNHEALTHY);
    pthread_mutex_lock(&f.lock);
    CHECK_INT(f.probe.code, -1);
    CHECK(f.probe.late);
    CHECK_STR(f.output, "Health check exceeded timeout (100ms)");
    pthread_mutex_unlock(&f.lock);
    CHECK(monitor_signal(r.m, SIGKILL, false, NULL) == 0);
    CHECK_INT(wait_exit(&f), 137);
    finish(&f, &r);
    json_decref(h.process);
    fixture_done(&f);
}

TEST(durations_as_go_prints_them) {
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {{1500 * NSEC_PER_MSEC, "1.5s"},           {30 * NSEC_PER_SEC, "30s"}, {90 * NSEC_PER_SEC, "1m30s"}, {3600 * NSEC_PER_SEC, "1h0m0s"},
                 {250 * NSEC_PER_MSEC, "250ms"},           {1500000, "1.5ms"},         {1500, "1.5\xc2\xb5s"},       {7, "7ns"},
                 {61 * NSEC_PER_SEC + 1, "1m1.000000001s"}};
    char text[64];

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        CHECK_INT((long)health_duration(cases[i].ns, text, sizeof text), (long)strlen(cases[i].text));
        CHECK_STR(text, cases[i].text);
    }
}

TEST(monitor_lost) {
    struct fixture f;
    struct run r;

    if (!fixture_init(&f))
        return;
    if (start(&f, &r, document("exec sleep 100", false), false, false) < 0)
        test_fail(__FILE__, __LINE__, "%s", err_msg(&r.e));
    kill(monitor_container_pid(r.m), SIGSTOP);
    kill(monitor_pid(r.m), SIGKILL);
    CHECK_INT(wait_exit(&f), -1);
    CHECK_INT(f.lost, 1);
    kill(monitor_container_pid(r.m), SIGKILL);
    CHECK_SOON(kill(monitor_container_pid(r.m), 0) < 0);
    finish(&f, &r);
    for (int i = 0; i < 12; i++) {
        static const char *const groups[] = {"cpu",   "cpuacct", "cpuset",  "memory",  "devices", "freezer",
                                             "blkio", "pids",    "systemd", "unified", "",        "cpu,cpuacct"};
        char path[128];

        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/hatake-test/monitor", groups[i]);
        rmdir(path);
    }
    fixture_done(&f);
}

TEST(monitor_memory_limit) {
    struct fixture f;
    struct run r;
    json_t *spec = document("dd if=/dev/zero of=/dev/null bs=200M count=1; exit $?", false);

    if (!fixture_init(&f)) {
        json_decref(spec);
        return;
    }
    json_object_set_new(json_object_get(spec, "linux"), "resources", json_pack("{s:{s:i}}", "memory", "limit", 16 << 20));
    if (start(&f, &r, spec, false, false) < 0)
        test_fail(__FILE__, __LINE__, "%s", err_msg(&r.e));
    CHECK_INT(wait_exit(&f), 137);
    CHECK(f.x.oom);
    finish(&f, &r);
    fixture_done(&f);
}
