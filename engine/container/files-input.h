// SPDX-License-Identifier: Apache-2.0
/*
 * files-input.h - the archive that hatake-files unpacks, received by a thread beside the one that writes files.
 *
 * Purpose: both copy every byte, one out of the connection and one into the kernel's cache of files; on a machine of more than one processor the work
 * takes as long as the slower of them, not as both. The thread is at most INPUT_PIECES pieces ahead and never reads beyond the body.
 * Life: files_input_start() before the process is confined; the thread begins to read with the first files_input_next(), and its end is the process's: it may be
 * waiting for a client that never sends. Threads: one user.
 */
#ifndef HATAKE_CONTAINER_FILES_INPUT_H
#define HATAKE_CONTAINER_FILES_INPUT_H

#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"
#include "wire/body.h"

#define INPUT_SIZE (256U << 10)
#define INPUT_PIECES 4

struct files_piece {
    unsigned char *room; /* INPUT_SIZE bytes */
    const unsigned char *p;
    size_t n;
};

struct files_input {
    int fd;
    bool framed; /* it is the body of a request: without it everything until the end of a pipe */

    /* The receiver's, and anybody's after the end. */
    struct body_frame frame;
    const unsigned char *raw; /* received and not gone through */
    size_t n_raw;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    bool running, wanted, ended;
    int result; /* negative: why there is no more, in err */
    struct err err;
    size_t first, n; /* pieces that are full; the user has the first of them while `lent` */
    bool lent;
    struct files_piece piece[INPUT_PIECES];
};

/* `in` has fd, framed, frame and what was received before (raw, n_raw). 0 when the thread waits for its work; ERR_INTERNAL: no memory or no thread. */
int files_input_start(struct files_input *in, struct err *e);
/*
 * The next piece of content, good until the next call: its size, 0 at the end, negative. The same result again after the end.
 * until: of CLOCK_MONOTONIC, when ERR_DEADLINE is to be returned; 0: wait for ever.
 */
int64_t files_input_next(struct files_input *in, int64_t until, const unsigned char **ret_p, struct err *e);
/* After an end that files_input_next() has told: nothing had come after the body. */
bool files_input_whole(struct files_input *in);

#endif
