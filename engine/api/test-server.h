// SPDX-License-Identifier: Apache-2.0
/*
 * test-server.h - a server over a small table of its own, and a client that speaks raw bytes. For the tests of this folder.
 */
#ifndef HATAKE_API_TEST_SERVER_H
#define HATAKE_API_TEST_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "api/server.h"
#include "base/buf.h"

/* Bytes that GET /containers/{id}/export gives: "abc...z" again and again, anew every 7000. */
#define TEST_PASSED 1000000

struct test_server;

/* Starts on a unix socket of its own in a fresh folder. NULL (and a failed check) when that is impossible. */
struct test_server *test_server_start(void);
/* Stops; checks that all handlers ended. */
void test_server_stop(struct test_server *t);
/* With clients that are stuck: half of `ms` is what their handlers are given to end by themselves. */
void test_server_stop_within(struct test_server *t, int ms);
const char *test_server_path(const struct test_server *t);
struct server *test_server_server(const struct test_server *t);
/* Connected client socket. */
int test_connect(const struct test_server *t);
/* Send text (all of it). */
void test_send(int fd, const void *p, size_t n);
/*
 * Read until `until` has been seen, the peer closes, or patience ends. Returns what was read (static buffer, NUL-terminated); *ret_eof (may be NULL)
 * tells whether the peer closed.
 */
const char *test_read(int fd, const char *until, int *ret_eof);
/* One connection, everything sent at once, read until as many answers as requests have come or the peer closes. */
const char *test_exchange(const struct test_server *t, const char *request);

#endif
