// SPDX-License-Identifier: Apache-2.0
/*
 * parse.h - values of options as people write them, into what the API wants. Pure functions, any thread.
 */
#ifndef HATAKE_CLI_PARSE_H
#define HATAKE_CLI_PARSE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strv.h"

/*
 * A published port: [[ADDRESS:]HOST:]CONTAINER[/tcp|udp|sctp], where HOST and CONTAINER may be ranges (8000-8002:80-82), HOST may be empty (chosen by
 * the engine), and IPv6 addresses are in brackets. Adds to the objects ExposedPorts ({"80/tcp":{}}) and PortBindings ({"80/tcp":[{...}]}).
 * ERR_INVALID names the text.
 */
int parse_port(const char *text, json_t *exposed, json_t *bindings, struct err *e);

/*
 * A volume: [SOURCE:]PATH[:OPTIONS]. With a source it is added to the array `binds` (a source that starts with . is made absolute), without one
 * to the object `volumes`.
 */
int parse_volume(const char *text, json_t *binds, json_t *volumes, struct err *e);

/* KEY=VALUE as it is; KEY alone takes the value of this program's environment and is left out when there is none. */
int parse_env(const char *text, struct strv *env, struct err *e);
/* The lines of a file as parse_env; empty lines and those that start with # are skipped. */
int parse_env_file(const char *path, struct strv *env, struct err *e);

/* KEY=VALUE or KEY into an object of strings. */
int parse_label(const char *text, json_t *labels, struct err *e);

/* "512m", "1.5g", "1024": bytes; units b k m g t, an optional i and b after them, any case, powers of 1024. `what` names the option. */
int parse_bytes(const char *text, const char *what, int64_t *ret, struct err *e);
/* "1.5": billionths of a processor. */
int parse_cpus(const char *text, int64_t *ret_nano, struct err *e);
/* no, always, unless-stopped, on-failure[:COUNT]: a RestartPolicy object. */
int parse_restart(const char *text, json_t **ret, struct err *e);
/* "1h2m3s", "90", "2026-01-02T03:04:05Z" for since and until: text for the query, as seconds since 1970 where it was a duration before now. */
int parse_when(const char *text, int64_t now_ns, char **ret, struct err *e);

/* Keys to detach: "ctrl-p,ctrl-q" → the bytes. At most room of them. Returns their number. */
int parse_keys(const char *text, char *ret, size_t room, struct err *e);

#endif
