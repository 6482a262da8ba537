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
    {"volume ls", "volume list", "[OPTIONS]", "List volumes.", 1, cmd_volume_ls},
    {"volume create", NULL, "[OPTIONS] [NAME]", "Make a volume.", 1, cmd_volume_create},
    {"volume inspect", NULL, "NAME...", "Everything about volumes, as JSON.", 1, cmd_volume_inspect},
    {"volume rm", NULL, "[OPTIONS] NAME...", "Remove volumes.", 1, cmd_volume_rm},
    {"volume prune", NULL, "[OPTIONS]", "Remove volumes that no container has.", 1, cmd_volume_prune},
    {"volume backup", NULL, "[OPTIONS] NAME FILE", "Write a volume to a file (-: standard output).", 1, cmd_volume_backup},
    {"volume restore", NULL, "[OPTIONS] NAME FILE", "Make a volume from a backup (-: standard input).", 1, cmd_volume_restore},
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

/* Is it the first word of that name of two? */
static bool begins_with_word(const char *name, const char *word) {
    const char *rest = str_after(name, word);

    return rest && *rest == ' ';
}

static bool is_group(const char *word) {
    for (size_t i = 0; i < command_count; i++)
        if (begins_with_word(command_table[i].name, word))
            return true;
    return false;
}

const struct command *command_find_words(int argc, char **argv, int *ret_words, bool *ret_group) {
    char both[64];

    *ret_group = is_group(argv[0]);
    *ret_words = *ret_group ? 2 : 1;
    if (!*ret_group)
        return command_find(argv[0]);
    if (argc < 2 || snprintf(both, sizeof both, "%s %s", argv[0], argv[1]) >= (int)sizeof both)
        return NULL;
    return command_find(both);
}

static void list_commands(FILE *to, const char *group) {
    for (size_t i = 0; i < command_count; i++)
        if (!group || begins_with_word(command_table[i].name, group))
            fprintf(to, "  %-15s %s\n", command_table[i].name, command_table[i].summary);
}

void command_group_usage(FILE *to, const char *word) {
    fprintf(to, "Usage: hatake %s COMMAND ...\n\nCommands:\n", word);
    list_commands(to, word);
}

void command_usage(FILE *to) {
    fprintf(to, "Usage: hatake [--host ADDRESS] COMMAND ...\n\nRun containers on an engine of the Docker Engine API.\n\nCommands:\n");
    list_commands(to, NULL);
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
    char help[] = "--help", *words[] = {NULL, help, NULL};
    const struct command *command;
    int used;
    bool group;

    if (argc < 2) {
        command_usage(stdout);
        return 0;
    }
    command = command_find_words(argc - 1, argv + 1, &used, &group);
    if (!command && group && (argc == 2 || streq(argv[2], help))) {
        command_group_usage(stdout, argv[1]);
        return 0;
    }
    if (!command)
        return err_set(e, ERR_INVALID, "there is no command \"%s%s%s\"; `hatake help` lists them", argv[1], group ? " " : "", group ? argv[2] : "");
    if (command->run == cmd_help) {
        command_usage(stdout);
        return 0;
    }
    words[0] = (char *)command->name;
    return command->run(c, 2, words, e);
}
