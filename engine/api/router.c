// SPDX-License-Identifier: Apache-2.0
#include "api/router.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "wire/uri.h"

/*
 * "1.24" and its like as the reference compares them: numbers between dots, missing and empty ones are 0. Result: major * 100 + minor; a further part that is
 * not 0 makes the newest version too new ("1.45.1") and no difference to others.
 */
static int version_number(const char *s, size_t n) {
    long part[2] = {0, 0};
    bool beyond = false;
    size_t at = 0;
    int number;

    for (size_t i = 0; i < n; i++) {
        if (s[i] == '.')
            at++;
        else if (at >= 2)
            beyond = beyond || s[i] != '0';
        else if (part[at] < 100000)
            part[at] = part[at] * 10 + (s[i] - '0');
    }
    number = (int)(part[0] * 100 + (part[1] > 99 ? 99 : part[1]));
    return number == API_VERSION_MAX && beyond ? number + 1 : number;
}

/* Takes "/v<digits and dots>" off the path when something follows it. */
static const char *take_version(const char *path, struct route *r) {
    size_t n;

    if (path[0] != '/' || path[1] != 'v')
        return path;
    n = strspn(path + 2, "0123456789.");
    if (n == 0 || path[2 + n] != '/')
        return path;
    r->version_text = path + 2;
    r->version_n = n;
    r->version = version_number(r->version_text, n);
    return path + 2 + n;
}

static bool match_template(const struct api_operation *op, const char *path, struct route *r) {
    const char *open = strchr(op->path, '{'), *tail;
    size_t head, tail_n, n = strlen(path);

    if (!open)
        return streq(op->path, path);
    head = (size_t)(open - op->path);
    tail = strchr(open, '}') + 1;
    tail_n = strlen(tail);
    if (n < head + tail_n || memcmp(path, op->path, head) != 0 || !streq(path + n - tail_n, tail))
        return false;
    r->variable = path + head;
    r->variable_n = n - head - tail_n;
    return op->slashes || (r->variable_n > 0 && !memchr(r->variable, '/', r->variable_n));
}

enum route_result router_match(const struct api_operation *table, size_t n, const char *method, const char *path, struct route *ret) {
    struct route r = {.version = API_VERSION_MAX};
    char *clean = uri_clean_path(path);
    bool is_clean = !clean || streq(clean, path);
    char letter;

    free(clean);
    if (!is_clean)
        return ROUTE_REDIRECT;
    path = take_version(path, &r);
    letter = *path ? path[1] : '\0';
    /* The list of networks has two paths. */
    if (streq(method, "GET") && streq(path, "/networks/"))
        path = "/networks";
    /* Two rounds: a template without a variable wins. All begin with a slash and a fixed letter, which tells most of them apart. */
    for (int round = 0; round < 2 && !r.op; round++)
        for (size_t i = 0; i < n && !r.op; i++)
            if (table[i].path[1] == letter && streq(table[i].method, method) && (round == 1) == (strchr(table[i].path, '{') != NULL) &&
                match_template(&table[i], path, &r))
                r.op = &table[i];
    *ret = r;
    if (!r.op && !streq(method, "OPTIONS"))
        return ROUTE_NOT_FOUND;
    if (r.version < API_VERSION_MIN)
        return ROUTE_TOO_OLD;
    if (r.version > API_VERSION_MAX)
        return ROUTE_TOO_NEW;
    if (!r.op)
        return ROUTE_OPTIONS;
    return r.version - 100 < r.op->since || r.version - 100 > r.op->until ? ROUTE_NOT_FOUND : ROUTE_FOUND;
}

int router_status(enum err_kind kind) {
    switch (kind) {
    case ERR_INVALID:
        return 400;
    case ERR_UNAUTHORIZED:
        return 401;
    case ERR_FORBIDDEN:
        return 403;
    case ERR_NOT_FOUND:
        return 404;
    case ERR_METHOD:
        return 405;
    case ERR_CONFLICT:
        return 409;
    case ERR_TOO_LARGE:
        return 413;
    case ERR_NOT_MODIFIED:
        return 304;
    case ERR_CANCELLED:
        return 499;
    case ERR_NOT_IMPLEMENTED:
        return 501;
    case ERR_UNAVAILABLE:
        return 503;
    case ERR_DEADLINE:
        return 504;
    case ERR_NONE:
    case ERR_INTERNAL:
    case ERR_NO_SPACE:
    case _ERR_KIND_MAX:
        break;
    }
    return 500;
}
