// SPDX-License-Identifier: Apache-2.0
/*
 * router.h - which operation is meant by a method and a path.
 *
 * Paths are matched as the reference matches them: on the decoded path, with or without a version ("/v1.45/info", "/info"), variables of
 * containers, execs, images, networks, volumes, plugins and distribution take everything up to the template's tail, slashes included (and
 * nothing at all); those of the swarm sections take one segment. Templates without a variable come first.
 *
 * Pure functions over the constant table (build/gen/api-table.h); any thread.
 */
#ifndef HATAKE_API_ROUTER_H
#define HATAKE_API_ROUTER_H

#include "api-table.h"

#define API_VERSION_MIN 124
#define API_VERSION_MAX 145

enum route_result {
    ROUTE_FOUND,
    ROUTE_NOT_FOUND, /* no such path, or not with this method: the reference makes no difference */
    ROUTE_OPTIONS,   /* OPTIONS of anything */
    ROUTE_REDIRECT,  /* the path is not clean: 301 to the cleaned one */
    ROUTE_TOO_OLD,
    ROUTE_TOO_NEW,
};

struct route {
    const struct api_operation *op; /* ROUTE_FOUND, and ROUTE_TOO_* */
    const char *variable;           /* into `path`; not terminated where the template goes on */
    size_t variable_n;
    int version;              /* 145 without one in the path */
    const char *version_text; /* into `path` ("1.45"), NULL without */
    size_t version_n;
};

/* Route over any table of n operations (tests have their own). */
enum route_result router_match(const struct api_operation *table, size_t n, const char *method, const char *path, struct route *ret);

/* HTTP status of an error kind (base/err.h names them). */
int router_status(enum err_kind kind);

#endif
