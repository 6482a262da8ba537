// SPDX-License-Identifier: Apache-2.0
/*
 * server.h - the API on its listeners: what daemon/ starts and stops.
 *
 * server_new(engine) → server_listen_*() any number → (serving) → server_stop() → server_free(). engine->loop must be running before
 * server_new() and until after server_free(); the managers in *engine must be complete before the first server_listen_*().
 * With HATAKE_VALIDATE=1 in the environment each JSON reply is checked against spec/ and a failure is logged as a line "schema: ...".
 *
 * Threads: one thread calls these; requests run on threads of their own.
 */
#ifndef HATAKE_API_SERVER_H
#define HATAKE_API_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/strv.h"

struct engine;
struct server;
struct api_operation;

int server_new(struct engine *engine, struct server **ret, struct err *e);
/*
 * Would this GET be answered from memory now, without a file and in little time? Then it is, on the thread that has read it: handing it to a worker and back
 * takes longer than most answers.
 */
typedef bool (*server_fast_fn)(struct engine *engine, const struct api_operation *op, const char *query);

/* As server_new() over another operation table (tests). fast may be NULL. */
int server_new_with(struct engine *engine, const struct api_operation *table, size_t n, server_fast_fn fast, struct server **ret, struct err *e);

/*
 * Listen on a unix socket at `path` with that group and mode (0660; gid -1: leave it). A left-over socket file nobody listens on is replaced; a live
 * one is ERR_CONFLICT. The file is removed by server_stop().
 */
int server_listen_unix(struct server *s, const char *path, gid_t gid, mode_t mode, struct err *e);

/* TLS of a tcp listener; NULL members as in dockerd's --tls flags. */
struct server_tls {
    const char *ca, *cert, *key; /* PEM files */
    bool verify;                 /* clients must show a certificate signed by ca */
};
/* `address` is "host:port" or ":port"; "[::1]:2375" for IPv6. tls NULL: plain. */
int server_listen_tcp(struct server *s, const char *address, const struct server_tls *tls, struct err *e);

/*
 * Listen on sockets passed by the service manager (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES; sd_listen_fds(3)). `which` is what follows "fd://": "" or "*" for all,
 * else a descriptor number or a name. ERR_INVALID when there are none.
 */
int server_listen_passed(struct server *s, const char *which, struct err *e);
/* Serve an already listening socket (taken over on success). */
int server_listen_fd(struct server *s, int fd, struct err *e);

/*
 * Stop listening, let short requests finish, end streams and waits. About timeout_ns at most. True: all handlers have ended; else do not free, exit.
 */
bool server_stop(struct server *s, int64_t timeout_ns);
struct server *server_free(struct server *s);

/* Unlocked counters for /info and /debug: requests answered so far. */
uint64_t server_requests(const struct server *s);

#endif
