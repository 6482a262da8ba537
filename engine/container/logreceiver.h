// SPDX-License-Identifier: Apache-2.0
/*
 * logreceiver.h - where the log of a container goes: receivers are looked up and tried by the daemon, which has a resolver and may wait; the monitor is given an
 * address that worked (logdrv/remote.h tells the keys).
 *
 * Each function adds the keys of the connection to `b`, or fails in the words of the reference's (Go's) dialler. Blocking, 10 s for each address at most.
 * Threads: any; nothing is kept.
 */
#ifndef HATAKE_CONTAINER_LOGRECEIVER_H
#define HATAKE_CONTAINER_LOGRECEIVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "logdrv/logtls.h"

/* KEY=, n bytes in hexadecimal, newline. */
void ctr_log_add_hex(struct buf *b, const char *key, const char *p, size_t n);
/* A socket of the machine: net is "unix" or "unixgram". */
int ctr_log_to_unix(const char *net, const char *path, struct buf *b, struct err *e);
/*
 * net: "tcp" or "udp"; the first address of the name that takes a connection, with `lazily` the first at all. tls: NULL without it; needs "tcp".
 */
int ctr_log_to_inet(const char *net, const char *host, const char *port, bool lazily, const struct log_tls *tls, struct buf *b, struct err *e);

#endif
