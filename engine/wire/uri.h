// SPDX-License-Identifier: Apache-2.0
/*
 * uri.h - request targets, taken apart by us and not by the HTTP library (which decodes too early). Pure functions, any thread.
 */
#ifndef HATAKE_WIRE_URI_H
#define HATAKE_WIRE_URI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/*
 * Split a raw request target ("/v1.45/containers/a%2Fb/json?all=1", or absolute form "http://host/path") into a decoded path and a raw query.
 * Both results are fresh memory. Returns 0; -EINVAL for a target that is no path, holds a bad %-escape or control bytes (the reference answers
 * "400 Bad Request"); -EILSEQ for a path with %00 (ret_path and ret_query are set, the path ends at the NUL); -ENOMEM.
 */
int uri_split(const char *target, char **ret_path, char **ret_query);
/* Decode %XX in s of n bytes into fresh memory; with `plus`, '+' is a space (queries). NULL on a bad escape (errno EINVAL) or no memory (ENOMEM). */
char *uri_decode(const char *s, size_t n, bool plus, size_t *ret_n);
/*
 * The path without "//", "/./" and "/../", keeping a final '/'. Fresh memory, or NULL. Source: RFC 3986 5.2.4, and what the reference redirects to.
 */
char *uri_clean_path(const char *path);
/* Encode a decoded path for a Location header. Fresh memory, or NULL. */
char *uri_encode_path(const char *path);

/*
 * Is every pair of the raw query well formed? ERR_INVALID with the reference's text: invalid URL escape "%zz", invalid semicolon separator in query (of
 * several faults the one its form parser reports).
 */
int uri_check_query(const char *query, struct err *e);

#endif
