// SPDX-License-Identifier: Apache-2.0
/*
 * logtls.h - a connection of a log driver over TLS, by a process that speaks it: hatake-logtls (main-tls.c). The monitor starts one for each connection, the daemon
 * one to try the receiver before a start. Nothing is kept; any thread.
 */
#ifndef HATAKE_LOGDRV_LOGTLS_H
#define HATAKE_LOGDRV_LOGTLS_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

/* How the receiver is spoken to. NULL or "": not chosen. */
struct log_tls {
    const char *program;         /* path of hatake-logtls */
    const char *name;            /* whom the receiver's certificate is to be for */
    const char *ca, *cert, *key; /* paths of PEM files: a further authority; what we show */
    bool verify;                 /* the certificate has to be for `name`, from somebody trusted */
};

/*
 * Begin a connection to the address (IPv4 or IPv6). Returns our end of it (close-on-exec, non-blocking), on which one byte comes once the receiver is there and then
 * what it says; its end means that there is no connection (any more). Why, goes to the descriptor `words` as text, where that is not negative. Or -errno.
 * The caller reaps *ret_pid.
 */
int log_tls_start(const struct log_tls *how, const struct sockaddr *to, int words, pid_t *ret_pid);

#endif
