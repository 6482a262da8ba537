// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "api/router.h"
#include "base/test.h"

static const struct api_operation table[] = {
    {.id = "List", .method = "GET", .path = "/containers/json", .section = "container", .until = 255, .slashes = true},
    {.id = "Inspect", .method = "GET", .path = "/containers/{id}/json", .section = "container", .until = 255, .slashes = true},
    {.id = "Delete", .method = "DELETE", .path = "/containers/{id}", .section = "container", .until = 255, .slashes = true},
    {.id = "Image", .method = "GET", .path = "/images/{name}/json", .section = "image", .until = 255, .slashes = true},
    {.id = "Task", .method = "GET", .path = "/tasks/{id}", .section = "task", .until = 255},
    {.id = "New", .method = "GET", .path = "/new", .section = "system", .since = 45, .until = 255},
};

static void check(int line, const char *method, const char *path, enum route_result want, const char *id, const char *variable, int version) {
    struct route r = {0};
    enum route_result got = router_match(table, sizeof(table) / sizeof(table[0]), method, path, &r);
    char var[64] = "";

    test_check_int(__FILE__, line, path, got, want);
    if (got != want || got != ROUTE_FOUND)
        return;
    test_check_str(__FILE__, line, path, r.op->id, id);
    if (r.variable)
        snprintf(var, sizeof(var), "%.*s", (int)r.variable_n, r.variable);
    test_check_str(__FILE__, line, path, var, variable);
    test_check_int(__FILE__, line, path, r.version, version);
}

TEST(router) {
    check(__LINE__, "GET", "/containers/json", ROUTE_FOUND, "List", "", 145);
    check(__LINE__, "GET", "/v1.24/containers/json", ROUTE_FOUND, "List", "", 124);
    check(__LINE__, "GET", "/containers/a/json", ROUTE_FOUND, "Inspect", "a", 145);
    check(__LINE__, "GET", "/containers/json/json", ROUTE_FOUND, "Inspect", "json", 145);
    check(__LINE__, "GET", "/images/a/b/c:1/json", ROUTE_FOUND, "Image", "a/b/c:1", 145);
    check(__LINE__, "GET", "/images/json/json", ROUTE_FOUND, "Image", "json", 145);
    check(__LINE__, "DELETE", "/containers/json", ROUTE_FOUND, "Delete", "json", 145);
    check(__LINE__, "DELETE", "/containers/", ROUTE_FOUND, "Delete", "", 145);
    check(__LINE__, "GET", "/tasks/a", ROUTE_FOUND, "Task", "a", 145);
    check(__LINE__, "GET", "/tasks/a/b", ROUTE_NOT_FOUND, NULL, NULL, 0);
    check(__LINE__, "GET", "/images/json", ROUTE_NOT_FOUND, NULL, NULL, 0);
    check(__LINE__, "POST", "/containers/json", ROUTE_NOT_FOUND, NULL, NULL, 0);
    check(__LINE__, "GET", "/containers/json/", ROUTE_NOT_FOUND, NULL, NULL, 0);
    check(__LINE__, "GET", "/v1.45", ROUTE_NOT_FOUND, NULL, NULL, 0);
    check(__LINE__, "GET", "/v/containers/json", ROUTE_NOT_FOUND, NULL, NULL, 0);
    check(__LINE__, "GET", "/v1.99/foo", ROUTE_NOT_FOUND, NULL, NULL, 0);
    check(__LINE__, "GET", "/v1.23/containers/json", ROUTE_TOO_OLD, NULL, NULL, 0);
    check(__LINE__, "GET", "/v1/containers/json", ROUTE_TOO_OLD, NULL, NULL, 0);
    check(__LINE__, "GET", "/v1./containers/json", ROUTE_TOO_OLD, NULL, NULL, 0);
    check(__LINE__, "GET", "/v1.46/containers/json", ROUTE_TOO_NEW, NULL, NULL, 0);
    check(__LINE__, "GET", "/v2.0/containers/json", ROUTE_TOO_NEW, NULL, NULL, 0);
    check(__LINE__, "GET", "/v1.045/containers/json", ROUTE_FOUND, "List", "", 145);
    check(__LINE__, "GET", "/v1.30.1/containers/json", ROUTE_FOUND, "List", "", 130);
    check(__LINE__, "GET", "//containers/json", ROUTE_REDIRECT, NULL, NULL, 0);
    check(__LINE__, "GET", "/containers/../containers/json", ROUTE_REDIRECT, NULL, NULL, 0);
    check(__LINE__, "OPTIONS", "/anything", ROUTE_OPTIONS, NULL, NULL, 0);
    check(__LINE__, "OPTIONS", "/v1.99/anything", ROUTE_TOO_NEW, NULL, NULL, 0);
    check(__LINE__, "GET", "/v1.44/new", ROUTE_NOT_FOUND, NULL, NULL, 0);
    check(__LINE__, "GET", "/new", ROUTE_FOUND, "New", "", 145);
}

TEST(router_status) {
    CHECK_INT(router_status(ERR_NOT_FOUND), 404);
    CHECK_INT(router_status(ERR_CONFLICT), 409);
    CHECK_INT(router_status(ERR_NO_SPACE), 500);
    CHECK_INT(router_status(ERR_NONE), 500);
}
