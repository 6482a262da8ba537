// SPDX-License-Identifier: Apache-2.0
/* Apart from server.c, so that a test with a table of its own does not have to link the handlers of all sections. */
#include <string.h>

#include "api-table.h"
#include "api/server.h"
#include "base/engine.h"
#include "base/str.h"
#include "container/container.h"
#include "image/image.h"
#include "volume/volume.h"

/* Of a list that is put together while other connections of the thread wait. */
#define FAST_CONTAINERS 256
#define FAST_IMAGES 64

/* A start that comes between this and the answer costs a look at one fresh folder, no more. */
static bool from_memory(struct engine *engine, const struct api_operation *op, const char *query) {
    if (!streq(op->method, "GET") && !streq(op->method, "HEAD"))
        return false;
    if (streq(op->path, "/_ping") || streq(op->path, "/version") || streq(op->path, "/info"))
        return true;
    if (streq(op->path, "/containers/json"))
        return containers_in_memory(engine->containers, FAST_CONTAINERS, strstr(query, "size") != NULL);
    if (streq(op->path, "/system/df"))
        return images_count(engine->images) <= FAST_IMAGES && volumes_none_to_measure(engine->volumes) &&
               containers_in_memory(engine->containers, FAST_CONTAINERS, true);
    return false;
}

int server_new(struct engine *engine, struct server **ret, struct err *e) {
    return server_new_with(engine, api_operations, API_OPERATIONS, from_memory, ret, e);
}
