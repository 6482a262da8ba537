// SPDX-License-Identifier: Apache-2.0
/* hatake-runtime: the OCI runtime as a command of its own, with runc's names for commands and options. */
#include "oci/main.h"

#include <fcntl.h>
#include <getopt.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"

static const struct {
    const char *name, *usage;
    int (*run)(const struct options *o, struct err *e);
    bool needs_id;
} commands[] = {
    {"create", "--bundle DIR [--pid-file FILE] [--console-socket PATH] ID", cmd_create, true},
    {"start", "ID", cmd_start, true},
    {"run", "--bundle DIR [--detach] ID", cmd_run, true},
    {"state", "ID", cmd_state, true},
    {"kill", "[--all] ID [SIGNAL]", cmd_kill, true},
    {"delete", "[--force] ID", cmd_delete, true},
    {"exec", "[--process FILE] [--tty] [--detach] [--cwd DIR] [--user UID[:GID]] [--env K=V] ID COMMAND...", cmd_exec, true},
    {"list", "[--quiet] [--format json]", cmd_list, false},
    {"ps", "[--format json] ID", cmd_ps, true},
    {"pause", "ID", cmd_pause, true},
    {"resume", "ID", cmd_resume, true},
    {"update", "--resources FILE ID", cmd_update, true},
    {"spec", "[--bundle DIR]", cmd_spec, false},
    {"features", "", cmd_features, false},
    {"plan", "--bundle DIR", cmd_plan, false},
};

enum {
    OPT_ROOT = 256,
    OPT_LOG,
    OPT_LOG_FORMAT,
    OPT_PID_FILE,
    OPT_CONSOLE,
    OPT_CWD,
    OPT_NO_PIVOT,
    OPT_NNP,
    OPT_IGNORED,
    OPT_IGNORED_ARG,
    OPT_VERSION
};

static const struct option long_options[] = {{"root", required_argument, NULL, OPT_ROOT},
                                             {"log", required_argument, NULL, OPT_LOG},
                                             {"log-format", required_argument, NULL, OPT_LOG_FORMAT},
                                             {"bundle", required_argument, NULL, 'b'},
                                             {"pid-file", required_argument, NULL, OPT_PID_FILE},
                                             {"console-socket", required_argument, NULL, OPT_CONSOLE},
                                             {"process", required_argument, NULL, 'p'},
                                             {"cwd", required_argument, NULL, OPT_CWD},
                                             {"user", required_argument, NULL, 'u'},
                                             {"env", required_argument, NULL, 'e'},
                                             {"resources", required_argument, NULL, 'r'},
                                             {"format", required_argument, NULL, 'f'},
                                             {"detach", no_argument, NULL, 'd'},
                                             {"tty", no_argument, NULL, 't'},
                                             {"all", no_argument, NULL, 'a'},
                                             {"quiet", no_argument, NULL, 'q'},
                                             {"force", no_argument, NULL, 'F'},
                                             {"no-pivot", no_argument, NULL, OPT_NO_PIVOT},
                                             {"no-new-privs", no_argument, NULL, OPT_NNP},
                                             {"no-new-keyring", no_argument, NULL, OPT_IGNORED},
                                             {"keep", no_argument, NULL, OPT_IGNORED},
                                             {"debug", no_argument, NULL, OPT_IGNORED},
                                             {"systemd-cgroup", no_argument, NULL, OPT_IGNORED},
                                             {"preserve-fds", required_argument, NULL, OPT_IGNORED_ARG},
                                             {"rootless", required_argument, NULL, OPT_IGNORED_ARG},
                                             {"criu", required_argument, NULL, OPT_IGNORED_ARG},
                                             {"version", no_argument, NULL, OPT_VERSION},
                                             {"help", no_argument, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

static int usage(int code) {
    FILE *out = code ? stderr : stdout;

    fprintf(
        out,
        "Usage: hatake-runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND ...\n\nRun containers from OCI bundles.\n\nCommands:\n");
    for (size_t i = 0; i < ELEMENTSOF(commands); i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].usage);
    return code;
}

/* Options may stand before and after the command. Returns 0, or 1 + the exit code. */
static int parse(int argc, char **argv, struct options *o, bool after) {
    int c;

    optind = after ? 0 : 1; /* 0: glibc starts over */
    while ((c = getopt_long(argc, argv, "+b:p:u:e:r:f:dtaqhv", long_options, NULL)) != -1) {
        switch (c) {
        case OPT_ROOT:
            o->root = optarg;
            break;
        case OPT_LOG:
            o->log = optarg;
            break;
        case OPT_LOG_FORMAT:
            o->log_format = optarg;
            break;
        case 'b':
            o->bundle = optarg;
            break;
        case OPT_PID_FILE:
            o->pid_file = optarg;
            break;
        case OPT_CONSOLE:
            o->console_socket = optarg;
            break;
        case 'p':
            o->process = optarg;
            break;
        case OPT_CWD:
            o->cwd = optarg;
            break;
        case 'u':
            o->user = optarg;
            break;
        case 'e':
            if (strv_add(&o->env, optarg) < 0)
                return 2;
            break;
        case 'r':
            o->resources = optarg;
            break;
        case 'f':
            o->format = optarg;
            break;
        case 'F':
            o->force = true;
            break;
        case 'd':
            o->detach = true;
            break;
        case 't':
            o->tty = true;
            break;
        case 'a':
            o->all = true;
            break;
        case 'q':
            o->quiet = true;
            break;
        case OPT_NO_PIVOT:
            o->no_pivot = true;
            break;
        case OPT_NNP:
            o->no_new_privs = true;
            break;
        case OPT_IGNORED:
        case OPT_IGNORED_ARG:
            break;
        case 'v':
        case OPT_VERSION:
            printf("hatake-runtime version " HATAKE_VERSION "\nspec: 1.2.0\n");
            return 1;
        case 'h':
            return 1 + usage(0);
        default:
            return 1 + usage(2);
        }
    }
    return 0;
}

static void report(const struct options *o, const struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 16);
    char now[CLOCK_TEXT_MAX];
    int fd;

    fprintf(stderr, "hatake-runtime: %s\n", err_msg(e));
    if (!o->log)
        return;
    clock_format(clock_wall_ns(), now);
    if (o->log_format && streq(o->log_format, "json")) {
        buf_adds(&b, "{\"level\":\"error\",\"msg\":");
        buf_add_json_string(&b, err_msg(e));
        buf_addf(&b, ",\"time\":\"%s\"}\n", now);
    } else {
        buf_addf(&b, "time=\"%s\" level=error msg=", now);
        buf_add_json_string(&b, err_msg(e));
        buf_addc(&b, '\n');
    }
    fd = open(o->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd >= 0 && full_write(fd, b.data, b.len) < 0)
        fprintf(stderr, "hatake-runtime: cannot write to %s\n", o->log);
    close_fd(fd);
}

int main(int argc, char **argv) {
    struct options o = {.root = "/run/hatake-runtime"};
    _cleanup_err_ struct err e = ERR_INIT;
    int r = parse(argc, argv, &o, false), at = optind, code = -1;

    /* `delete -f` is force, `ps -f json` is format: the letter has two meanings. */
    if (r)
        return r - 1;
    if (at >= argc)
        return usage(2);
    for (size_t i = 0; i < ELEMENTSOF(commands); i++) {
        static char force[] = "--force";

        if (!streq(commands[i].name, argv[at]))
            continue;
        if (streq(argv[at], "delete"))
            for (int k = at + 1; k < argc; k++)
                if (streq(argv[k], "-f"))
                    argv[k] = force;
        r = parse(argc - at, argv + at, &o, true);
        if (r)
            return r - 1;
        o.args = argv + at + optind;
        o.n_args = argc - at - optind;
        if (commands[i].needs_id) {
            if (!o.n_args) {
                fprintf(stderr, "hatake-runtime: \"%s\" requires a container id\nUsage: hatake-runtime %s %s\n", commands[i].name, commands[i].name,
                        commands[i].usage);
                return 1;
            }
            o.id = *o.args++;
            o.n_args--;
        }
        code = commands[i].run(&o, &e);
        if (code < 0) {
            report(&o, &e);
            code = 1;
        }
    }
    strv_done(&o.env);
    if (code >= 0)
        return code;
    fprintf(stderr, "hatake-runtime: unknown command \"%s\"\n", argv[at]);
    return usage(2);
}
