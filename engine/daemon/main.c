// SPDX-License-Identifier: Apache-2.0
/*
 * hataked - the engine's API process. This file: command line to configuration, the signals, telling the service manager.
 *
 * Signals are blocked before any thread exists and read by the main thread: TERM and INT end the engine in order (a second one at once),
 * HUP reads daemon.json again, USR1 is ignored.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "daemon/check.h"
#include "daemon/options.h"
#include "daemon/reload.h"
#include "daemon/startup.h"
#include "network/network.h"

/* sd_notify(3): one datagram to the socket named by the service manager. */
static void notify_manager(const char *text) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = -EBADF;
    size_t n = path ? strlen(path) : 0;

    if (n == 0 || n >= sizeof(to.sun_path))
        return;
    memcpy(to.sun_path, path, n);
    if (to.sun_path[0] == '@')
        to.sun_path[0] = 0;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        ignore_result(sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) <
                      0);
}

/* Connections and container streams are descriptors: take what the hard limit allows. */
static void raise_descriptor_limit(void) {
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur == l.rlim_max)
        return;
    l.rlim_cur = l.rlim_max;
    ignore_result(setrlimit(RLIMIT_NOFILE, &l) < 0);
}

/* A bad flag is told with the status that the reference's command line keeps for it, which is not the exit status. */
static int refuse_flags(const struct err *e) {
    if (strstr(err_msg(e), "accepts no argument"))
        fprintf(stderr, "%s\nSee 'hataked --help'.\n\nUsage:  hataked [OPTIONS]\n\nA container engine that speaks the Docker Engine API.\n",
                err_msg(e));
    else
        fprintf(stderr, "Status: %s\nSee 'hataked --help'., Code: 125\n", err_msg(e));
    return 1;
}

static int refuse(const struct err *e) {
    fprintf(stderr, "%s\n", err_msg(e));
    return 1;
}

/* 0: go on; else the exit status plus one (so that status 0 of --help can be told from "go on"). */
static int configure(struct options *o, int argc, char **argv) {
    _cleanup_err_ struct err e = ERR_INIT;
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);

    if (options_init(o, &e) < 0)
        return refuse(&e) + 1;
    if (argc == 2 && streq(argv[1], "--print-unbuilt-options")) {
        options_print_unbuilt(&text);
        fputs(buf_str(&text), stdout);
        return 1;
    }
    if (options_parse_argv(o, argc, argv, &e) < 0)
        return refuse_flags(&e) + 1;
    if (o->help) {
        options_usage(&text);
        fputs(buf_str(&text), stdout);
        return 1;
    }
    if (o->version) {
        printf("HATAKE Engine version %s, compatible with Docker Engine 26.1.5 (API 1.45)\n", HATAKE_VERSION);
        return 1;
    }
    if (options_load_file(o, &e) < 0 || options_take_environment(o, &e) < 0 || options_validate(o, &e) < 0)
        return refuse(&e) + 1;
    if (o->validate) {
        printf("configuration OK\n");
        return 1;
    }
    return 0;
}

static void wait_for_end(struct reload *again, const sigset_t *set) {
    for (;;) {
        int sig = 0;

        if (sigwait(set, &sig) != 0)
            continue;
        if (sig == SIGHUP) {
            reload_now(again);
            networks_repair(again->daemon->engine.networks); /* a firewall that reloads flushes our rules and tells us so */
        }
        if (sig == SIGTERM || sig == SIGINT) {
            log_kv(LOG_LVL_INFO, "processing signal: the engine stops", "signal", sig == SIGTERM ? "terminated" : "interrupt", NULL);
            return;
        }
    }
}

/* A second signal during shutdown means: now. */
static void *end_at_second_signal(void *set) {
    for (;;) {
        int sig = 0;

        if (sigwait(set, &sig) == 0 && (sig == SIGTERM || sig == SIGINT)) {
            log_kv(LOG_LVL_WARN, "second signal: the engine ends at once; containers go on and are adopted at the next start", NULL);
            _exit(1);
        }
    }
    return NULL;
}

static int serve(struct options *o, int argc, char **argv) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct daemon_state d;
    struct reload again = {.argc = argc, .argv = argv, .first = o, .daemon = &d};
    enum log_level level = LOG_LVL_INFO;
    pthread_t watcher;
    sigset_t set;

    log_level_parse(o->config.log_level, &level);
    log_setup(o->config.debug ? LOG_LVL_DEBUG : level, streq(o->config.log_format, "json") ? LOG_FORM_JSON : LOG_FORM_TEXT, STDERR_FILENO);
    if (geteuid() != 0) {
        fprintf(stderr, "hataked needs to be started with root privileges\n");
        return 1;
    }
    umask(0022);
    raise_descriptor_limit();
    /* One arena and early trimming: the process idles most of its life, and memory given back counts more than allocator speed. */
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_TRIM_THRESHOLD, 128 * 1024);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    options_warn(o);
    if (startup_up(&d, &o->config, &e) < 0) {
        log_kv(LOG_LVL_FATAL, "failed to start the engine", "error", err_msg(&e), NULL);
        fprintf(stderr, "%s\n", err_msg(&e));
        startup_down(&d);
        return 1;
    }
    log_kv(LOG_LVL_INFO, "Daemon has completed initialization", "version", HATAKE_VERSION, "data-root", d.engine.config->data_root, NULL);
    notify_manager("READY=1");
    wait_for_end(&again, &set);
    notify_manager("STOPPING=1");
    if (pthread_create(&watcher, NULL, end_at_second_signal, &set) == 0)
        pthread_detach(watcher);
    if (!startup_down(&d))
        _exit(0);
    reload_done(&again);
    return 0;
}

int main(int argc, char **argv) {
    struct options o;
    int r;

    if (argc > 1 && streq(argv[1], "check"))
        return check_main(argc - 1, argv + 1);
    r = configure(&o, argc, argv);
    r = r > 0 ? r - 1 : serve(&o, argc, argv);
    options_done(&o);
    return r;
}
