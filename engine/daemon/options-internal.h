// SPDX-License-Identifier: Apache-2.0
/* options-internal.h - the option table, shared by the files of options*.c. */
#ifndef HATAKE_DAEMON_OPTIONS_INTERNAL_H
#define HATAKE_DAEMON_OPTIONS_INTERNAL_H

#include <jansson.h>
#include <stddef.h>

#include "daemon/options.h"

enum option_kind {
    OPT_BOOL,     /* bool */
    OPT_INT,      /* int64_t */
    OPT_BYTES,    /* int64_t, "64m" */
    OPT_STRING,   /* char * */
    OPT_IP,       /* char *, an address */
    OPT_LIST,     /* struct strv */
    OPT_IPS,      /* struct strv of addresses, flag takes a comma list */
    OPT_HOST,     /* struct strv */
    OPT_LABEL,    /* struct strv of KEY=VALUE */
    OPT_SEARCH,   /* struct strv of domains */
    OPT_MIRROR,   /* struct strv of URLs */
    OPT_INSECURE, /* struct strv of hosts and networks */
    OPT_GENERIC,  /* NAME=VALUE, ignored */
    OPT_MAP,      /* struct strv of KEY=VALUE; an object in the file */
    OPT_MAPMAP,   /* struct strv of ROOT=KEY=VALUE; an object of objects in the file */
    OPT_FEATURE,  /* struct strv of KEY=VALUE; an object of booleans, only in the file */
    OPT_ULIMIT,
    OPT_RUNTIME,
    OPT_POOL,
};

struct option {
    const char *name; /* of the flag; NULL: only in the file */
    char shorthand;   /* or 0 */
    enum option_kind kind;
    size_t offset;    /* in struct engine_config; OPTION_IGNORED when only its presence counts */
    const char *key;  /* in the file; NULL: same as name; "": not in the file */
    const char *type; /* shown by --help after the name */
    const char *path; /* Go path of the field below Config, for decode errors */
    const char *help;
    const char *unbuilt; /* why it does not do what it says; NULL: it does */
};

#define OPTION_IGNORED ((size_t)-1)

extern const struct option option_table[];
extern const size_t option_count;

static inline const char *option_key(const struct option *o) {
    return o->key ? o->key : o->name;
}
const struct option *option_by_key(const char *key);
const struct option *option_by_flag(const char *name);

/* Was it given, by flag or in the file? */
bool options_has(const struct options *o, const struct option *opt);

/* Ranges and syntax of all values, whoever set them. */
int options_check_values(const struct options *o, struct err *e);

/* The syntax of values, shared by flags and by the check of what the file says. ERR_INVALID with the reason alone. */
int option_check_host(const char *value, struct err *e);
int option_check_label(const char *value, struct err *e);
int option_check_search(const char *value, struct err *e);
int option_check_mirror(const char *value, struct err *e);
int option_check_insecure(const char *value, struct err *e);

/* ---- options-value.c ----------------------------------------------------------------------------------------------------------- */

/* Where the option's value is; where nobody looks for an option whose presence alone counts. */
void *option_field(struct options *o, const struct option *opt);
bool option_is_ip(const char *s);
/* One more entry of a list, an URL with a slash at its end, a limit (takes `name`, NULL is out of memory), a runtime (ERR_INVALID for a name twice; `path` and
 * `ret` may be NULL), an address pool. Nothing is judged. */
int option_add(struct strv *l, const char *s, struct err *e);
int option_add_mirror(struct strv *l, const char *value, struct err *e);
int option_add_ulimit(struct options *o, char *name, int64_t soft, int64_t hard, struct err *e);
int option_add_runtime(struct options *o, const char *name, const char *path, struct engine_runtime **ret, struct err *e);
int option_add_pool(struct options *o, const char *base, int64_t size, struct err *e);
/* Set from the text of a flag. ERR_INVALID with the reason alone. */
int option_set_text(struct options *o, const struct option *opt, const char *value, struct err *e);

/* ---- options-json.c ------------------------------------------------------------------------------------------------------------ */

/* Set from a JSON value. ERR_INVALID with the decoder's message. */
int option_set_json(struct options *o, const struct option *opt, json_t *value, struct err *e);

#endif
