// SPDX-License-Identifier: Apache-2.0
/*
 * loop.h - the stream loop: one thread that waits for many descriptors and timers.
 *
 * Purpose: everything long-lived that must not cost a thread (events, logs -f, wait, stats, monitor sockets).
 * Callbacks run on the loop's thread, one at a time, and must not block.
 *
 * Threads: loop_post(), loop_stop() and loop_on_thread() may be called from any thread. All other functions are called on the loop's thread
 * (inside a callback) or before loop_start(). From another thread: loop_post() a function that does it, or loop_call() to wait for its result.
 * Ownership: descriptors stay the caller's: remove the watch, then close. A watch or timer must not outlive the loop.
 * Life cycle: loop_new, loop_start, ..., loop_stop (joins the thread; posted functions still waiting are run), loop_free.
 */
#ifndef HATAKE_WIRE_LOOP_H
#define HATAKE_WIRE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/err.h"

struct loop;
struct loop_watch;
struct loop_timer;

/* `name` is the thread's name (at most 15 bytes). */
int loop_new(const char *name, struct loop **ret, struct err *e);
int loop_start(struct loop *l, struct err *e);
void loop_stop(struct loop *l);
/* Stops it first when it runs. NULL is fine; returns NULL. */
struct loop *loop_free(struct loop *l);
/* The caller is the loop's thread. */
bool loop_on_thread(const struct loop *l);

/* ---- descriptors --------------------------------------------------------------------------------------------------------- */

/* `events` is the set of EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR that happened. */
typedef void loop_fd_fn(struct loop_watch *w, int fd, uint32_t events, void *data);

/* Watch fd for `events` (EPOLLIN, EPOLLOUT, EPOLLRDHUP; level-triggered unless EPOLLET or EPOLLONESHOT is given). A descriptor is watched once at most. */
int loop_watch(struct loop *l, int fd, uint32_t events, loop_fd_fn *fn, void *data, struct loop_watch **ret, struct err *e);
/* Change the events (0: only HUP and ERR are reported). */
int loop_watch_set(struct loop_watch *w, uint32_t events, struct err *e);
/* No more callbacks after this; allowed inside its own callback. NULL is fine; returns NULL. */
struct loop_watch *loop_unwatch(struct loop_watch *w);

/* ---- timers ---------------------------------------------------------------------------------------------------------------- */

typedef void loop_timer_fn(struct loop_timer *t, void *data);

/* Call fn once after delay_ns (CLOCK_MONOTONIC), and then every period_ns when that is not 0. */
int loop_timer(struct loop *l, int64_t delay_ns, int64_t period_ns, loop_timer_fn *fn, void *data, struct loop_timer **ret, struct err *e);
/* Set the next time anew (also after it has fired). */
void loop_timer_set(struct loop_timer *t, int64_t delay_ns, int64_t period_ns);
/* Remove; allowed inside its own callback. NULL is fine; returns NULL. */
struct loop_timer *loop_timer_free(struct loop_timer *t);

/* ---- from other threads -------------------------------------------------------------------------------------------------------- */

/* Run fn(data) on the loop soon; in order of posting. 0, or out of memory. After loop_stop() it is refused with ERR_UNAVAILABLE: data stays the caller's. */
int loop_post(struct loop *l, void (*fn)(void *data), void *data, struct err *e);
/* Run fn(data) on the loop and wait until it has returned; directly when already on the loop's thread. Returns what fn returns. */
int loop_call(struct loop *l, int (*fn)(void *data, struct err *e), void *data, struct err *e);

#endif
