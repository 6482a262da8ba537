// SPDX-License-Identifier: Apache-2.0
/*
 * attach.h - this program's terminal and standard streams joined to a container's.
 *
 * attach_run() copies until the engine closes the stream: input to the container (its end closes only that direction), output and errors of the
 * container to ours, frames taken apart when there is no terminal inside. Signals are taken through a descriptor, so nothing runs in a
 * signal handler. Source of the stream's form: ContainerAttach in the API's description. Threads: one.
 */
#ifndef HATAKE_CLI_ATTACH_H
#define HATAKE_CLI_ATTACH_H

#include <signal.h>
#include <stdbool.h>
#include <termios.h>

#include "base/err.h"
#include "cli/http.h"

struct attach {
    struct http *conn; /* after the reply's head */
    bool tty;          /* the container has a terminal */
    bool input;        /* send standard input */
    const char *keys;  /* keys to detach, as bytes; used with a terminal */
    size_t n_keys;
    int signals;                               /* signalfd, or -EBADF */
    void (*on_signal)(int signal, void *data); /* called for each but those that end this program */
    void *data;
};

enum attach_end {
    ATTACH_CLOSED = 0,   /* the engine closed the stream: the process has ended */
    ATTACH_DETACHED = 1, /* the keys to detach were typed */
    ATTACH_SIGNAL = 2,   /* 2 + signal number: this program was asked to end */
};

/* Returns an attach_end value, or a negative error. */
int attach_run(const struct attach *a, struct err *e);

/*
 * Recognises the keys to detach in typed input. Feed it each byte: it returns how many bytes of *ret (room for 16) are to be sent on, or -1 when
 * the whole sequence was typed.
 */
struct keys_state {
    const char *keys;
    size_t n, matched;
};
int keys_feed(struct keys_state *k, char byte, char ret[17]);

/* Block these signals (0-terminated list) and get a descriptor that tells of them. */
int signals_open(const int *list, struct err *e);

/* Raw mode of the terminal on standard input, until the scope ends: `_cleanup_raw_ struct raw_terminal raw = RAW_OFF;`. */
struct raw_terminal {
    bool on;
    struct termios saved;
};
#define RAW_OFF ((struct raw_terminal){.on = false})
#define _cleanup_raw_ __attribute__((cleanup(raw_leave)))
int raw_enter(struct raw_terminal *t, struct err *e);
void raw_leave(struct raw_terminal *t);

/* Size of the terminal on standard output (or input); false when there is none. */
bool terminal_size(int *ret_rows, int *ret_columns);

#endif
