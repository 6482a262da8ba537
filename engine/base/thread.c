// SPDX-License-Identifier: Apache-2.0
#include "base/thread.h"

#include "base/cleanup.h"

#include <signal.h>

int thread_start(pthread_t *ret_thread, size_t stack, void *(*run)(void *), void *arg) {
    pthread_attr_t attr;
    pthread_t thread;
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    sigset_t all, old;
    int r;

    pthread_attr_init(&attr);
    r = pthread_attr_setstacksize(&attr, stack);
    if (!ret_thread)
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    /* A thread inherits the mask of who makes it: it must start with signals blocked, as one could come before it blocked them itself. */
    sigfillset(&all);
    for (size_t i = 0; i < ELEMENTSOF(faults); i++)
        sigdelset(&all, faults[i]); /* a thread's own faults reach whoever reports them */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (r == 0)
        r = pthread_create(&thread, &attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (r == 0 && ret_thread)
        *ret_thread = thread;
    return -r;
}
