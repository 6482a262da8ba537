// SPDX-License-Identifier: Apache-2.0
/* Apart from server.c, so that a test with a table of its own does not have to link the handlers of all sections. */
#include "api-table.h"
#include "api/server.h"

int server_new(struct engine *engine, struct server **ret, struct err *e) {
    return server_new_with(engine, api_operations, API_OPERATIONS, ret, e);
}
