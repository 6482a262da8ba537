// SPDX-License-Identifier: Apache-2.0
/*
 * thread.h - starting a thread of the engine.
 *
 * Purpose: every thread gets a stack of a stated size (the C library's 8 MiB would count against the limit of locked and mapped memory, a thread at a time)
 * and takes no signals: those are for the threads which wait for them with sigwait(3).
 * Ownership: `arg` stays the caller's until the thread says otherwise. Threads: any.
 */
#ifndef HATAKE_BASE_THREAD_H
#define HATAKE_BASE_THREAD_H

#include <pthread.h>
#include <stddef.h>

/*
 * Runs `run(arg)` in a new thread with a stack of `stack` bytes. *ret_thread is to be joined; NULL means nobody will (the thread is detached).
 * Returns 0, or -errno of pthread_create(3): -EAGAIN when the machine has no room for another one.
 */
int thread_start(pthread_t *ret_thread, size_t stack, void *(*run)(void *), void *arg);

#endif
