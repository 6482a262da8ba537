// SPDX-License-Identifier: Apache-2.0
/*
 * options.h - flags and daemon.json: one table of options, two ways to set them.
 *
 * Names, value syntax, messages and exit status are those of dockerd 26.1.5. Precedence: flags and the file may not set the same option (that is
 * an error naming both values); what neither sets has its default. An option whose effect is not built yet is accepted, and
 * options_warn() says so.
 *
 * Life cycle: options_init (defaults), options_parse_argv, options_load_file, options_validate; options_done.
 * Threads: start-up only.
 */
#ifndef HATAKE_DAEMON_OPTIONS_H
#define HATAKE_DAEMON_OPTIONS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/engine.h"
#include "base/err.h"
#include "base/map.h"

struct options {
    struct engine_config config;
    struct map from_flag; /* option name → text of the value given, for the conflict message */
    struct map from_file; /* option name → (void *)1 */
    bool version, help, validate;
    bool bad_generic; /* the file names a generic resource without a value */
};

int options_init(struct options *o, struct err *e);
void options_done(struct options *o);

/* Parse the command line. ERR_INVALID with the message to print; "See 'hataked --help'." belongs after it. */
int options_parse_argv(struct options *o, int argc, char **argv, struct err *e);

/*
 * Read daemon.json. A missing file is an error only when --config-file was given. Errors are complete messages ("unable to configure the Docker
 * daemon with file ...").
 */
int options_load_file(struct options *o, struct err *e);

/* Proxies that nobody set are those of the environment: HTTP_PROXY, HTTPS_PROXY, NO_PROXY, else the same in small letters. */
int options_take_environment(struct options *o, struct err *e);

/* What can only be checked when everything is known. Messages as the reference. */
int options_validate(struct options *o, struct err *e);

/* Log a warning for each option that was set and is not built. */
void options_warn(const struct options *o);

/* Text of --help. */
void options_usage(struct buf *out);

/* Names of the options whose effect is not built ("name\treason\n"), for the generated COMPAT.md. */
void options_print_unbuilt(struct buf *out);

#endif
