// SPDX-License-Identifier: Apache-2.0
/*
 * logattrs.h - what log options (labels, labels-regex, env, env-regex, tag) say about a container. Pure, any thread. Errors are ERR_INTERNAL with the
 * reference's words (without the words before them that a failed start has).
 */
#ifndef HATAKE_CONTAINER_LOGATTRS_H
#define HATAKE_CONTAINER_LOGATTRS_H

#include "container/container-internal.h"

/* Value of a log option of the container; NULL: not given. */
const char *ctr_log_option(const struct ctr_fixed *f, const char *key);
/* Labels and variables that the options choose, added to `ret`. */
int ctr_log_chosen(const struct ctr_fixed *f, struct api_string_map *ret, struct err *e);
void ctr_log_chosen_done(struct api_string_map *m);
/*
 * Turn a label's or a variable's name into that of the journal's field, in place: capital letters, digits, underscores. False: systemd-journald takes no
 * field of that name (it begins with a letter and has at most 64 characters), and keeps the rest of the record.
 */
bool ctr_log_journal_name(char *name);
/* What a record of the driver journald shows as its details: NAME=VALUE of the fields that the options choose, added to `ret` and sorted. */
int ctr_log_journal_details(const struct ctr_fixed *f, struct strv *ret, struct err *e);
/* logtag.c. The tag: the option's template filled in, or the short id when there is none. */
int ctr_log_tag(const struct ctr_fixed *f, const char *name, char **ret, struct err *e);
/* What the options add to each record is n bytes long: 0, or an error that says that it is too much. */
int ctr_log_attrs_fit(size_t n, struct err *e);
/* For records of json-file: JSON object text in fresh memory, or NULL when no option asks for any. */
int ctr_log_attrs(const struct ctr_fixed *f, const char *name, char **ret, struct err *e);

#endif
