// SPDX-License-Identifier: Apache-2.0
#include "container/files-input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/thread.h"

#define STACK_BYTES KIB(256)

/* ---- the receiver ------------------------------------------------------------------------------------------------------------------------ */
static int64_t receive(const struct files_input *in, unsigned char *room, size_t n, struct err *e) {
    ssize_t k;

    do
        k = read(in->fd, room, n);
    while (k < 0 && errno == EINTR);
    if (k == 0 && in->framed)
        return err_set(e, ERR_CANCELLED, "the client went away while sending");
    return k < 0 ? err_errno(e, errno, "reading the archive") : k;
}

/* Fill a piece. What follows its content in its room is carried over into the room of the next. */
static int64_t fill(struct files_input *in, struct files_piece *t, struct err *e) {
    int64_t k = 0;

    t->p = t->room;
    if (!in->framed)
        return receive(in, t->room, INPUT_SIZE, e);
    if (in->n_raw > 0 && in->n_raw <= INPUT_SIZE) {
        memcpy(t->room, in->raw, in->n_raw);
        in->raw = t->room;
    }
    while (k == 0 && !in->frame.ended) {
        if (in->n_raw == 0) {
            k = receive(in, t->room, body_frame_want(&in->frame, INPUT_SIZE), e);
            if (k < 0)
                return k;
            in->raw = t->room;
            in->n_raw = (size_t)k;
        }
        k = body_frame_next(&in->frame, &in->raw, &in->n_raw, &t->p, e);
    }
    return k;
}

static void *receiver(void *arg) {
    struct files_input *in = arg;

    pthread_mutex_lock(&in->lock);
    in->running = true;
    pthread_cond_signal(&in->changed);
    while (!in->ended) {
        struct files_piece *t = &in->piece[(in->first + in->n) % INPUT_PIECES];
        int64_t k;

        if (!in->wanted || in->n == INPUT_PIECES) {
            pthread_cond_wait(&in->changed, &in->lock);
            continue;
        }
        pthread_mutex_unlock(&in->lock);
        k = fill(in, t, &in->err);
        pthread_mutex_lock(&in->lock);
        if (k > 0) {
            t->n = (size_t)k;
            in->n++;
        } else {
            in->result = (int)k;
            in->ended = true;
        }
        pthread_cond_signal(&in->changed);
    }
    pthread_mutex_unlock(&in->lock);
    return NULL;
}

/* ---- the user ---------------------------------------------------------------------------------------------------------------------------- */
int files_input_start(struct files_input *in, struct err *e) {
    pthread_condattr_t attr;
    int r;

    for (size_t i = 0; i < INPUT_PIECES; i++)
        if (!(in->piece[i].room = malloc(INPUT_SIZE)))
            return err_oom(e);
    in->err = ERR_INIT;
    pthread_mutex_init(&in->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&in->changed, &attr);
    pthread_condattr_destroy(&attr);
    r = thread_start(NULL, STACK_BYTES, receiver, in);
    if (r < 0)
        return err_errno(e, -r, "starting a thread");
    /* A new thread makes system calls that the filter does not know. */
    pthread_mutex_lock(&in->lock);
    while (!in->running)
        pthread_cond_wait(&in->changed, &in->lock);
    pthread_mutex_unlock(&in->lock);
    return 0;
}

int64_t files_input_next(struct files_input *in, int64_t until, const unsigned char **ret_p, struct err *e) {
    struct timespec end = {.tv_sec = until / NSEC_PER_SEC, .tv_nsec = until % NSEC_PER_SEC};
    bool late = false;
    int64_t k = 0;

    pthread_mutex_lock(&in->lock);
    if (in->lent) {
        in->first = (in->first + 1) % INPUT_PIECES;
        in->n--;
        in->lent = false;
    }
    in->wanted = true;
    pthread_cond_signal(&in->changed);
    while (in->n == 0 && !in->ended && !late) {
        if (until)
            late = pthread_cond_timedwait(&in->changed, &in->lock, &end) == ETIMEDOUT;
        else
            pthread_cond_wait(&in->changed, &in->lock);
    }
    if (in->n > 0) {
        *ret_p = in->piece[in->first].p;
        k = (int64_t)in->piece[in->first].n;
        in->lent = true;
    } else if (in->result < 0) {
        k = in->result;
        if (in->err.kind != ERR_NONE)
            err_move(e, &in->err);
    } else if (!in->ended) {
        k = err_set(e, ERR_DEADLINE, "the client sends too slowly");
    }
    pthread_mutex_unlock(&in->lock);
    return k;
}

bool files_input_whole(struct files_input *in) {
    bool whole;

    pthread_mutex_lock(&in->lock);
    whole = in->ended && in->n == 0 && in->frame.ended && in->n_raw == 0;
    pthread_mutex_unlock(&in->lock);
    return whole;
}
