// SPDX-License-Identifier: Apache-2.0
/* The commands, and what help says of them. */
#include "base/str.h"
#include "cli/cli.h"

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
    {"sbom", NULL, "[OPTIONS] IMAGE", "List what is installed in an image, as SPDX 2.3 JSON.", 1, cmd_sbom},
    {"exposure", NULL, "[OPTIONS]", "Every published port, who can reach it, and what decides that.", 1, cmd_exposure},
    {"info", NULL, "[OPTIONS]", "The engine and its machine.", 1, cmd_info},
    {"version", NULL, "[OPTIONS]", "Versions of this program and of the engine.", 1, cmd_version},
    {"compat", NULL, "[WORD...]", "What is covered of the Engine API, and every known difference; words pick lines.", 1, cmd_compat},
    {"help", NULL, "[COMMAND]", "This list, or the options of a command.", 1, cmd_help},
};
const size_t command_count = ELEMENTSOF(command_table);

const struct command *command_find(const char *name) {
    for (size_t i = 0; i < command_count; i++)
        if (streq(command_table[i].name, name) || streq_ptr(command_table[i].alias, name))
            return &command_table[i];
    return NULL;
}

void command_usage(FILE *to) {
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
            CLI_OWN_SOCKET, CLI_USUAL_SOCKET);
}

int cmd_help(struct cli *c, int argc, char **argv, struct err *e) {
    const struct command *command = argc > 1 ? command_find(argv[1]) : NULL;
    char help[] = "--help", *words[] = {argc > 1 ? argv[1] : NULL, help, NULL};

    if (argc > 1 && !command)
        return err_set(e, ERR_INVALID, "there is no command \"%s\"; `hatake help` lists them", argv[1]);
    if (command && command->run != cmd_help)
        return command->run(c, 2, words, e);
    command_usage(stdout);
    return 0;
}
