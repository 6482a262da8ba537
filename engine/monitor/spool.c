// SPDX-License-Identifier: Apache-2.0
#include "monitor/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"

#define FREE_STEP MIB(1) /* given back in pieces that are worth a call */
#define FOLDER_MAX 512

bool spool_open(struct spool *s, const char *beside) {
    const char *slash = strrchr(beside, '/');
    char folder[FOLDER_MAX];

    if (!slash || (size_t)(slash - beside) >= sizeof folder)
        return false;
    memcpy(folder, beside, (size_t)(slash - beside));
    folder[slash - beside] = 0;
    *s = SPOOL_INIT;
    s->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return s->fd >= 0;
}

bool spool_add(struct spool *s, bool is_err, const char *p, size_t n) {
    unsigned char head[SPOOL_FRAME] = {is_err ? 2 : 1,  0, 0, 0, (unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
                                       (unsigned char)n};
    struct iovec iov[2] = {{head, sizeof head}, {(void *)(uintptr_t)p, n}};

    if (pwritev(s->fd, iov, 2, (off_t)s->end) != (ssize_t)(sizeof head + n))
        return false;
    s->end += sizeof head + n;
    return true;
}

bool spool_full(const struct spool *s) {
    return s->end - s->freed > SPOOL_MAX;
}

static size_t length_of(const unsigned char *head) {
    return (size_t)head[4] << 24 | (size_t)head[5] << 16 | (size_t)head[6] << 8 | head[7];
}

ssize_t spool_read(const struct spool *s, uint64_t *at, const struct spool_want *want, char *to, size_t size) {
    size_t from = 0, n = 0;
    ssize_t got;

    do
        got = pread(s->fd, to, size, (off_t)*at);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    while ((size_t)got - from >= SPOOL_FRAME) {
        const unsigned char *head = (unsigned char *)to + from;
        size_t piece = SPOOL_FRAME + length_of(head), skip = want->framed ? 0 : SPOOL_FRAME;

        if (piece > (size_t)got - from)
            break;
        if (head[0] == 2 ? want->err : want->out) {
            memmove(to + n, to + from + skip, piece - skip);
            n += piece - skip;
        }
        from += piece;
    }
    if (!from)
        return -EIO; /* the file was cut: a whole piece is always there */
    *at += from;
    return (ssize_t)n;
}

void spool_keep_from(struct spool *s, uint64_t oldest) {
    /* Where a file system cannot make holes `freed` stays, and the file is full, and then closed by those who have read it, the sooner. */
    if (oldest - s->freed >= FREE_STEP &&
        fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)s->freed, (off_t)(oldest - s->freed)) == 0)
        s->freed = oldest;
}

void spool_close(struct spool *s) {
    close_fd(s->fd);
    *s = SPOOL_INIT;
}
