// SPDX-License-Identifier: Apache-2.0
/* hatake: finds the engine and the command. */
#include <sys/stat.h>

#include "base/str.h"
#include "cli/cli.h"

static const char *default_host(void) {
    static const char *const variables[] = {"HATAKE_HOST", "DOCKER_HOST"};

    for (size_t i = 0; i < ELEMENTSOF(variables); i++) {
        const char *value = getenv(variables[i]);

        if (!str_empty(value))
            return value;
    }
    /* an engine that `make run` started listens beside the usual place */
    return access(CLI_OWN_SOCKET, F_OK) == 0 ? "unix://" CLI_OWN_SOCKET : "unix://" CLI_USUAL_SOCKET;
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
            command_usage(stdout);
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
    int at = options(&c, argc, argv, &e), words, r;
    bool group;

    if (at < 0) {
        fprintf(stderr, "hatake: %s\n", err_msg(&e));
        return EXIT_FAILED_TO_RUN;
    }
    if (at == 0)
        return 0;
    if (at >= argc) {
        command_usage(stderr);
        return 1;
    }
    command = command_find_words(argc - at, argv + at, &words, &group);
    if (!command && group) {
        bool asked = at + 1 < argc && (streq(argv[at + 1], "--help") || streq(argv[at + 1], "-h"));

        command_group_usage(asked ? stdout : stderr, argv[at]);
        return asked ? 0 : 1;
    }
    if (!command) {
        fprintf(stderr, "hatake: there is no command \"%s\"; `hatake help` lists them\n", argv[at]);
        return EXIT_FAILED_TO_RUN;
    }
    at += words - 1;
    argv[at] = (char *)command->name; /* both of its words, and no alias */
    r = command->run(&c, argc - at, argv + at, &e);
    if (r < 0) {
        fprintf(stderr, "hatake: %s\n", err_msg(&e));
        return command->failure;
    }
    return fflush(stdout) == 0 ? r : 1;
}
