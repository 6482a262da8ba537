// SPDX-License-Identifier: Apache-2.0
/*
 * tls.h - TLS ends here, in front of the HTTP library.
 *
 * Purpose: the library's own TLS loses a client's half-close and cannot give connections away. So each TLS connection gets a thread with a small
 * stack that pumps between it and one end of a socketpair; the other end is an ordinary plain stream for http_feed(). close_notify from the
 * client becomes shutdown(SHUT_WR) on the plain stream, and the other way round, so `docker --tls run -i` sees the end of its input.
 *
 * Threads: one accepting thread per front, one per connection (at most TLS_CONNECTIONS_MAX, more wait in the backlog).
 * Life cycle: tls_front_new (starts), tls_front_stop (no new connections; existing ones are cut; joins), tls_front_free. Stop before http_stop().
 */
#ifndef HATAKE_WIRE_TLS_H
#define HATAKE_WIRE_TLS_H

#include <stdbool.h>

#include "base/err.h"

#define TLS_CONNECTIONS_MAX 1024
#define TLS_HANDSHAKE_SECONDS 10

struct http_listener;
struct tls_front;

struct tls_config {
    const char *ca, *cert, *key; /* PEM files; ca may be NULL unless verify */
    bool verify;                 /* a client certificate signed by ca is required */
};

/* fd: listening socket, taken over on success. Connections go to `to`, a HTTP_LISTEN_FED listener. Errors name the file that could not be used. */
int tls_front_new(const struct tls_config *cfg, int fd, struct http_listener *to, struct tls_front **ret, struct err *e);
void tls_front_stop(struct tls_front *f);
struct tls_front *tls_front_free(struct tls_front *f);

#endif
