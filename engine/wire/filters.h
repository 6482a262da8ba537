// SPDX-License-Identifier: Apache-2.0
/*
 * filters.h - the `filters` query parameter of list, prune and events operations.
 *
 * Text form: a JSON object of key → object whose keys are the values ({"label":{"a=b":true}}), or the form before API 1.22,
 * key → array of values. A value whose flag is false is as good as absent for matching, but makes the key known.
 *
 * Ownership: the caller owns the struct; filters_done() releases. Threads: read-only after parsing.
 */
#ifndef HATAKE_WIRE_FILTERS_H
#define HATAKE_WIRE_FILTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/map.h"
#include "base/strv.h"

struct filters {
    struct map keys; /* key → struct strv * */
};

#define FILTERS_INIT ((struct filters){MAP_INIT})
#define _cleanup_filters_ __attribute__((cleanup(filters_done)))

/* Parse; NULL or "" gives the empty set. ERR_INVALID with the text clients know when it is not of either form. */
int filters_parse(struct filters *ret, const char *text, struct err *e);
void filters_done(struct filters *f);
/* ERR_INVALID "invalid filter 'x'" when a key is not in the NULL-terminated list. */
int filters_validate(const struct filters *f, const char *const *accepted, struct err *e);
/* Add a value (for operations with parameters that stand for filters). 0 or -ENOMEM. */
int filters_add(struct filters *f, const char *key, const char *value);

bool filters_has(const struct filters *f, const char *key);
/* Values of a key, or NULL. */
const struct strv *filters_get(const struct filters *f, const char *key);
/* A boolean filter: absent gives `fallback`; no value, contradiction, or only other words is ERR_INVALID. */
int filters_bool(const struct filters *f, const char *key, bool fallback, bool *ret, struct err *e);

/*
 * The moment that `until` of a prune gives (moment_parse(), base/moment.h), taken from now where it is a duration; CLOCK_ZERO when it is not asked for.
 * ERR_INVALID for more than one value or a text that is no moment.
 */
int filters_until(const struct filters *f, int64_t *ret, struct err *e);

/* Each is true when the key has no values. */
/* source equals one of the values. */
bool filters_exact(const struct filters *f, const char *key, const char *source);
/* source starts with one of the values. */
bool filters_fuzzy(const struct filters *f, const char *key, const char *source);
/* source equals one of the values, or one of them, read as an extended regular expression, is found in it. */
bool filters_match(const struct filters *f, const char *key, const char *source);
/* Every value, "k" or "k=v", is satisfied by the list of KEY=VALUE strings. */
bool filters_kv(const struct filters *f, const char *key, const struct strv *pairs);

#endif
