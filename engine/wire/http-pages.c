// SPDX-License-Identifier: Apache-2.0
/*
 * The library answers heads it cannot parse by itself, in HTML, and has no hook for that. But it queues its pages through its own public
 * function MHD_queue_response(), and a definition in the program goes before that of a shared library. So the definition here only ever sees the
 * library's own pages, and sends the plain text that the reference sends instead; http_queue() goes to the real function.
 * Were a future library to bind the call inside itself, its pages would simply appear again (test: http_no_library_pages).
 */
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "wire/http-internal.h"

typedef enum MHD_Result queue_fn(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response);

static pthread_once_t once = PTHREAD_ONCE_INIT;
static queue_fn *real_queue; /* constant after `once` */

static void find_real(void) {
    void *p = dlsym(RTLD_NEXT, "MHD_queue_response");

    memcpy(&real_queue, &p, sizeof(real_queue));
}

enum MHD_Result http_queue(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response) {
    pthread_once(&once, find_real);
    return real_queue ? real_queue(connection, status, response) : MHD_NO;
}

/* What the reference says of heads like these: one status line's text, whatever was wrong. */
static const char *page(unsigned *status) {
    switch (*status) {
    case 413: /* a Content-Length beyond 64 bits */
    case 400:
        *status = 400;
        return "400 Bad Request";
    case 414:
    case 431:
        *status = 431;
        return "431 Request Header Fields Too Large";
    case 505:
        return "505 HTTP Version Not Supported: unsupported protocol version";
    case 501:
        return "Unsupported transfer encoding";
    default:
        return "400 Bad Request";
    }
}

enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response) {
    const char *text = page(&status);
    struct MHD_Response *r = MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result result;

    if (!r)
        return http_queue(connection, status, response);
    MHD_add_response_header(r, "Content-Type", "text/plain; charset=utf-8");
    MHD_add_response_header(r, "Connection", "close");
    result = http_queue(connection, status, r);
    MHD_destroy_response(r);
    return result;
}
