// SPDX-License-Identifier: Apache-2.0
/*
 * opts.h - command-line options by table: --name value, --name=value, -n value, -nvalue, -it (several letters), -- ends them.
 * Threads: any; no state.
 */
#ifndef HATAKE_CLI_OPTS_H
#define HATAKE_CLI_OPTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/strv.h"

enum opt_kind {
    OPT_FLAG, /* to: bool; --name, --name=true, --name=false */
    OPT_TEXT, /* to: const char *; the last one wins */
    OPT_LIST, /* to: struct strv; each use adds one */
};

struct opt {
    const char *name;
    char letter; /* 0: none */
    enum opt_kind kind;
    void *to;
    const char *value; /* what to call the value in the help; NULL for flags */
    const char *help;
};

/*
 * Parse argv[1..]. Words that are no options are added to `words`; with first_word_ends the first of them ends the options, so that those of a
 * command inside the container are left alone. ERR_INVALID names the option. *ret_help is set when --help (or -h, where no option has that letter) is
 * among them; nothing else is checked then.
 */
int opts_parse(const struct opt *table, size_t n, int argc, char **argv, bool first_word_ends, struct strv *words, bool *ret_help, struct err *e);

/* The table as text, one option a line. */
void opts_help(const struct opt *table, size_t n, struct buf *out);

/*
 * What commands call: parse; print the help and set *ret_done when it was asked for; check that there are min to max words (max < 0: no bound).
 * `name` is the command's, as in the command table.
 */
int opts_command(const struct opt *table, size_t n, int argc, char **argv, bool first_word_ends, int min, int max, struct strv *words, bool *ret_done,
                 struct err *e);

#endif
