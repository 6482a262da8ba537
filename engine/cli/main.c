// SPDX-License-Identifier: Apache-2.0
/* hatake: finds the engine and the command. */
#include <sys/stat.h>

#include "base/str.h"
#include "cli/cli.h"

#define OWN_SOCKET "/run/hatake/hatake.sock"
#define USUAL_SOCKET "/var/run/docker.sock"

const struct command command_table[] = {
    {"run", NULL, "[OPTIONS] IMAGE [COMMAND [ARGUMENT...]]", "Make a container and run a command in it.", EXIT_FAILED_TO_RUN, cmd_run},
    {"exec", NULL, "[OPTIONS] CONTAINER COMMAND [ARGUMENT...]", "Run one more command in a running container.", EXIT_FAILED_TO_RUN, cmd_exec},
    {"ps", NULL, "[OPTIONS]", "List containers.", 1, cmd_ps},
    {"logs", NULL, "[OPTIONS] CONTAINER", "Print what a container has written.", 1, cmd_logs},
    {"start", NULL, "CONTAINER...", "Start containers that have ended.", 1, cmd_start},
    {"stop", NULL, "[OPTIONS] CONTAINER...", "Ask containers to end, and kill those that do not.", 1, cmd_stop},
    {"kill", NULL, "[OPTIONS] CONTAINER...", "Send a signal to containers.", 1, cmd_kill},
    {"wait", NULL, "CONTAINER...", "Wait until containers end, and print their exit codes.", 1, cmd_wait},
    {"rm", NULL, "[OPTIONS] CONTAINER...", "Remove containers.", 1, cmd_rm},
    {"images", "list", "[OPTIONS] [NAME]", "List images.", 1, cmd_images},
    {"pull", NULL, "[OPTIONS] IMAGE", "Fetch an image from its registry.", 1, cmd_pull},
    {"load", NULL, "[OPTIONS]", "Take images from an archive.", 1, cmd_load},
    {"rmi", NULL, "[OPTIONS] IMAGE...", "Remove images.", 1, cmd_rmi},
    {"inspect", NULL, "[OPTIONS] NAME...", "Everything about containers, images, networks or volumes, as JSON.", 1, cmd_inspect},
    {"info", NULL, "[OPTIONS]", "The engine and its machine.", 1, cmd_info},
    {"version", NULL, "[OPTIONS]", "Versions of this program and of the engine.", 1, cmd_version},
    {"compat", NULL, "[WORD...]", "What is covered of the Engine API, and every known difference; words pick lines.", 1, cmd_compat},
    {"help", NULL, "[COMMAND]", "This list, or the options of a command.", 1, cmd_help},
};
const size_t command_count = ELEMENTSOF(command_table);

static const struct command *command_find(const char *name) {
    for (size_t i = 0; i < command_count; i++)
        if (streq(command_table[i].name, name) || streq_ptr(command_table[i].alias, name))
            return &command_table[i];
    return NULL;
}

static void usage(FILE *to) {
    fprintf(to, "Usage: hatake [--host ADDRESS] COMMAND ...\n\nRun containers on an engine of the Docker Engine API.\n\nCommands:\n");
    for (size_t i = 0; i < command_count; i++)
        fprintf(to, "  %-9s %s\n", command_table[i].name, command_table[i].summary);
    fprintf(to,
            "\nOptions:\n"
            "  -H, --host ADDRESS   unix:///path/to/socket or tcp://address:port; else $HATAKE_HOST, else $DOCKER_HOST,\n"
            "                       else %s or %s, whichever is there\n"
            "  -q, --quiet          no progress\n"
            "      --version        print the version\n\n"
            "`hatake help COMMAND` tells the options of a command. `run` and `exec` exit with the exit code of their command;\n"
            "125: the engine refused, 126: the command cannot be run, 127: there is no such command.\n",
            OWN_SOCKET, USUAL_SOCKET);
}

int cmd_help(struct cli *c, int argc, char **argv, struct err *e) {
    const struct command *command = argc > 1 ? command_find(argv[1]) : NULL;
    char help[] = "--help", *words[] = {argc > 1 ? argv[1] : NULL, help, NULL};

    if (argc > 1 && !command)
        return err_set(e, ERR_INVALID, "there is no command \"%s\"; `hatake help` lists them", argv[1]);
    if (command && command->run != cmd_help)
        return command->run(c, 2, words, e);
    usage(stdout);
    return 0;
}

static const char *default_host(void) {
    static const char *const variables[] = {"HATAKE_HOST", "DOCKER_HOST"};

    for (size_t i = 0; i < ELEMENTSOF(variables); i++) {
        const char *value = getenv(variables[i]);

        if (!str_empty(value))
            return value;
    }
    /* an engine that `make run` started listens beside the usual place */
    return access(OWN_SOCKET, F_OK) == 0 ? "unix://" OWN_SOCKET : "unix://" USUAL_SOCKET;
}

/* Options before the command. Returns the index of the command, 0 when all is done, or a negative error. */
static int options(struct cli *c, int argc, char **argv, struct err *e) {
    int i;

    for (i = 1; i < argc && argv[i][0] == '-'; i++) {
        const char *value = str_after(argv[i], "--host=");

        if (value) {
            c->host = value;
        } else if (streq(argv[i], "-H") || streq(argv[i], "--host")) {
            if (i + 1 >= argc)
                return err_set(e, ERR_INVALID, "%s needs an address", argv[i]);
            c->host = argv[++i];
        } else if (streq(argv[i], "-q") || streq(argv[i], "--quiet")) {
            c->quiet = true;
        } else if (streq(argv[i], "--version") || streq(argv[i], "-v")) {
            printf("hatake %s\n", HATAKE_VERSION);
            return 0;
        } else if (streq(argv[i], "--help") || streq(argv[i], "-h")) {
            usage(stdout);
            return 0;
        } else {
            return err_set(e, ERR_INVALID, "unknown option %s; `hatake help` lists them", argv[i]);
        }
    }
    return i;
}

int main(int argc, char **argv) {
    _cleanup_err_ struct err e = ERR_INIT;
    struct cli c = {.host = default_host()};
    const struct command *command;
    int at = options(&c, argc, argv, &e), r;

    if (at < 0) {
        fprintf(stderr, "hatake: %s\n", err_msg(&e));
        return EXIT_FAILED_TO_RUN;
    }
    if (at == 0)
        return 0;
    if (at >= argc) {
        usage(stderr);
        return 1;
    }
    command = command_find(argv[at]);
    if (!command) {
        fprintf(stderr, "hatake: there is no command \"%s\"; `hatake help` lists them\n", argv[at]);
        return EXIT_FAILED_TO_RUN;
    }
    r = command->run(&c, argc - at, argv + at, &e);
    if (r < 0) {
        fprintf(stderr, "hatake: %s\n", err_msg(&e));
        return command->failure;
    }
    return fflush(stdout) == 0 ? r : 1;
}
