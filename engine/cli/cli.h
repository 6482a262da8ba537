// SPDX-License-Identifier: Apache-2.0
/*
 * cli.h - the command-line program `hatake`: what its commands share.
 *
 * Each command is one function `int cmd_x(struct cli *c, int argc, char **argv, struct err *e)`; argv[0] is the command's own name.
 * It returns the program's exit code (0 and up), or a negative value with e set: main() then prints the message and exits with the command's
 * code for failures (125 for run and exec as docker does, else 1). Commands write results to standard output and everything else to standard error.
 *
 * The program links base/ and a few libraries only, those that `sbom` and backups alone need without their rest: it must be useful on a machine that has
 * nothing else of the engine, against any engine of the API.
 * Threads: one.
 */
#ifndef HATAKE_CLI_CLI_H
#define HATAKE_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/strv.h"
#include "cli/http.h"

#define CLI_API_VERSION "1.45"
#define CLI_API "/v" CLI_API_VERSION
/* Where to look for an engine when nobody says: the first that is there. */
#define CLI_OWN_SOCKET "/run/hatake/hatake.sock"
#define CLI_USUAL_SOCKET "/var/run/docker.sock"
/* A reply that is read whole (inspect, lists) may be this big. */
#define CLI_REPLY_MAX ((size_t)256 << 20)
#define EXIT_FAILED_TO_RUN 125 /* the engine or this program failed, not the container */
#define EXIT_CANNOT_EXEC 126
#define EXIT_NOT_FOUND 127

struct cli {
    const char *host; /* unix://PATH or tcp://ADDRESS:PORT */
    bool quiet;       /* no progress */
};

struct command {
    const char *name;
    const char *alias; /* second name, or NULL */
    const char *synopsis;
    const char *summary;
    int failure; /* exit code when the function returns a negative value */
    int (*run)(struct cli *c, int argc, char **argv, struct err *e);
};

extern const struct command command_table[];
extern const size_t command_count;
/* By name or alias; NULL when there is none. A name may be of two words ("volume ls"). */
const struct command *command_find(const char *name);
/*
 * The command that argv begins with; *ret_words is 1 or 2. NULL when there is none; *ret_group then tells whether the first word begins the names
 * of commands.
 */
const struct command *command_find_words(int argc, char **argv, int *ret_words, bool *ret_group);
/* The commands whose names begin with that word. */
void command_group_usage(FILE *to, const char *word);
/* The program's help. */
void command_usage(FILE *to);

/* ---- one command each; see `hatake help` ---- */
int cmd_run(struct cli *c, int argc, char **argv, struct err *e);
int cmd_exec(struct cli *c, int argc, char **argv, struct err *e);
int cmd_logs(struct cli *c, int argc, char **argv, struct err *e);
int cmd_ps(struct cli *c, int argc, char **argv, struct err *e);
int cmd_exposure(struct cli *c, int argc, char **argv, struct err *e);
int cmd_images(struct cli *c, int argc, char **argv, struct err *e);
int cmd_inspect(struct cli *c, int argc, char **argv, struct err *e);
int cmd_pull(struct cli *c, int argc, char **argv, struct err *e);
int cmd_load(struct cli *c, int argc, char **argv, struct err *e);
int cmd_rmi(struct cli *c, int argc, char **argv, struct err *e);
int cmd_sbom(struct cli *c, int argc, char **argv, struct err *e);
int cmd_start(struct cli *c, int argc, char **argv, struct err *e);
int cmd_stop(struct cli *c, int argc, char **argv, struct err *e);
int cmd_kill(struct cli *c, int argc, char **argv, struct err *e);
int cmd_rm(struct cli *c, int argc, char **argv, struct err *e);
int cmd_wait(struct cli *c, int argc, char **argv, struct err *e);
int cmd_version(struct cli *c, int argc, char **argv, struct err *e);
int cmd_info(struct cli *c, int argc, char **argv, struct err *e);
int cmd_volume_ls(struct cli *c, int argc, char **argv, struct err *e);
int cmd_volume_create(struct cli *c, int argc, char **argv, struct err *e);
int cmd_volume_rm(struct cli *c, int argc, char **argv, struct err *e);
int cmd_volume_inspect(struct cli *c, int argc, char **argv, struct err *e);
int cmd_volume_prune(struct cli *c, int argc, char **argv, struct err *e);
int cmd_volume_backup(struct cli *c, int argc, char **argv, struct err *e);
int cmd_volume_restore(struct cli *c, int argc, char **argv, struct err *e);
int cmd_compat(struct cli *c, int argc, char **argv, struct err *e);
int cmd_help(struct cli *c, int argc, char **argv, struct err *e);

/* ---- calls ---- */
/*
 * One request whose reply is read whole. `path` starts after the version ("/containers/json"); body NULL sends none. *ret_reply (may be NULL) gets
 * the parsed reply, to be json_decref'd, or NULL when it was empty. Returns the HTTP status, or a negative error: the engine's own message for
 * statuses from 400, with the kind that belongs to the status.
 */
int api_call(const struct cli *c, const char *method, const char *path, const json_t *body, json_t **ret_reply, struct err *e);
/*
 * Send a request and read only the reply's head: for streams. The connection is the caller's, to be http_free'd. A status from 400 becomes an
 * error as above. `upgrade` asks for a connection that is given over to a stream (attach, exec).
 */
int api_open(const struct cli *c, const char *method, const char *path, const json_t *body, bool upgrade, struct http **ret, struct err *e);
/* As api_open() for a request whose body, an archive, follows by http_send_chunk() and http_send_end(); its reply by api_head(). */
int api_upload(const struct cli *c, const char *method, const char *path, struct http **ret, struct err *e);
/* Read the head of a reply: its status, or from 400 on the error as above. */
int api_head(struct http *h, struct err *e);
/* Is it an engine of this project? */
int api_is_ours(const struct cli *c, bool *ret, struct err *e);
/* Append "?key=value" or "&key=value" with the value percent-encoded; NULL values are left out. */
void api_query(struct buf *path, const char *key, const char *value);
/* Append text as one path segment, percent-encoded. */
void api_segment(struct buf *path, const char *text);
/*
 * Read a stream of JSON objects, one a line, and call each(object, data) for them; stops at the end or when each returns a negative value, which is
 * then returned. Lines above 1 MiB are an error.
 */
int api_each(struct http *h, int (*each)(json_t *object, void *data, struct err *e), void *data, struct err *e);

/*
 * One request for each name: METHOD <section>NAME<verb>?key=value... (pairs, NULL at the end; empty values are left out). What was done is printed, what
 * failed is told and the others go on. Returns 0, or 1 when one failed.
 */
int api_each_name(struct cli *c, const char *section, const struct strv *names, const char *method, const char *verb, const char *const *query,
                  struct err *e);
/* NAME=VALUE texts as the JSON text of the parameter `filters`, or NULL when there are none. Fresh memory. */
int api_filters(const struct strv *list, char **ret, struct err *e);
/* A list: GET <path>?all=1&limit=N&filters={...}; filters are NAME=VALUE texts. */
int api_list(const struct cli *c, const char *path, bool all, const char *limit, const struct strv *filters, json_t **ret, struct err *e);
/* `inspect`: the objects as one JSON array on standard output. type NULL: the first kind that has one of the name. Returns 0, or 1 when one is missing. */
int inspect_names(const struct cli *c, const char *type, const struct strv *names, struct err *e);

/* Pull an image with its progress on standard error (bars on a terminal, plain lines otherwise, nothing when c->quiet). */
int image_pull(const struct cli *c, const char *reference, const char *platform, struct err *e);

/* ---- small tools on JSON ---- */
/* Text member, or "" (never NULL). */
const char *json_text(const json_t *object, const char *key);
int64_t json_number(const json_t *object, const char *key);
bool json_flag(const json_t *object, const char *key);

/* Print text made for this purpose to standard output; an error names it. */
int out_write(const struct buf *b, struct err *e);
/* Memory ran out while a JSON document was being built, or it is fine: 0. */
int json_made(const json_t *j, struct err *e);

#endif
