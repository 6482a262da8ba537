// SPDX-License-Identifier: Apache-2.0
/*
 * spool.h - what clients that have fallen behind have not read yet: one unnamed file for all clients of a process, each with a place of its own in it.
 *
 * Output is appended once, however many clients wait for it, in the frames that clients get (8 bytes: stream, length; then the bytes). What the slowest has
 * read is given back to the disk. The file lives while somebody is behind; it has no name, so a monitor that dies leaves nothing.
 *
 * It is not the log: that holds whole lines, replaces what is not UTF-8, does not say how the two streams took turns, and drops its oldest part when it is full.
 *
 * Threads: one. Memory: none.
 */
#ifndef HATAKE_MONITOR_SPOOL_H
#define HATAKE_MONITOR_SPOOL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/limits.h"

#define SPOOL_MAX MIB(256)
#define SPOOL_FRAME 8
#define SPOOL_RECORD_MAX KIB(64) /* bytes of one piece of output, at most */

struct spool {
    int fd;         /* -EBADF: nobody is behind */
    uint64_t freed; /* everything before it is given back */
    uint64_t end;   /* of what was written: where a client begins that falls behind now */
};

#define SPOOL_INIT ((struct spool){.fd = -EBADF})

/* Begin, in the folder of `beside` (a path; "" for none). False where no such file can be made. */
bool spool_open(struct spool *s, const char *beside);
/* Append a piece of output. False when the disk did not take it whole; then nothing was appended. */
bool spool_add(struct spool *s, bool is_err, const char *p, size_t n);
/* More than SPOOL_MAX is kept. */
bool spool_full(const struct spool *s);

/* What a client wants of it. */
struct spool_want {
    bool out, err, framed;
};

/*
 * Copy what is wanted from place *at on, whole pieces only, to `to` (of SPOOL_FRAME + SPOOL_RECORD_MAX bytes at least), and move *at behind them. Returns the
 * number of bytes, 0 also when nothing of it was wanted; negative errno.
 */
ssize_t spool_read(const struct spool *s, uint64_t *at, const struct spool_want *want, char *to, size_t size);
/* Nobody will read before `oldest` again. */
void spool_keep_from(struct spool *s, uint64_t oldest);
void spool_close(struct spool *s);

#endif
