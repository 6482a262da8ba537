// SPDX-License-Identifier: Apache-2.0
/* Sections: one file; one record; where to begin; from file to file; the cursor. */
#include "logdrv/logread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "logdrv/logdrv.h"
#include "logdrv/logread-internal.h"

#define ROTATED_MAX 1000
#define BLOCK KIB(64)
#define LINE_BYTES_MAX ((size_t)LOG_OUT_MAX)
#define UNPACKED_MAX GIB(4)

struct logread {
    char *path;
    struct logread_options o;
    int fd;
    int index; /* 0: FILE, n: FILE.n */
    ino_t inode;
    off_t at; /* offset of the first byte of `in` not handed out */
    struct buf in;
    size_t used; /* bytes of `in` already handed out */
    bool ended;
    struct buf text; /* of the current record */
    struct strv attrs;
};

/* ---- one file ------------------------------------------------------------------------------------------------------------------- */

static void name_of(const struct logread *r, int index, const char *suffix, char ret[LOG_PATH_MAX + 16]) {
    if (index == 0)
        snprintf(ret, LOG_PATH_MAX + 16, "%s", r->path);
    else
        snprintf(ret, LOG_PATH_MAX + 16, "%s.%d%s", r->path, index, suffix);
}

/* A compressed file is unpacked into memory that belongs to the descriptor. */
static int unpack(int packed, struct err *e) {
    _cleanup_close_ int fd = memfd_create("log", MFD_CLOEXEC), own = dup3(packed, -1, 0);
    _cleanup_free_ char *block = malloc(BLOCK);
    size_t total = 0;
    gzFile gz;
    int n;

    (void)own;
    if (fd < 0 || !block)
        return err_oom(e);
    gz = gzdopen(packed, "rb");
    if (!gz)
        return err_oom(e);
    while ((n = gzread(gz, block, BLOCK)) > 0 && (total += (size_t)n) <= UNPACKED_MAX)
        if (full_write_all(fd, block, (size_t)n) < 0)
            break;
    gzclose_r(gz);
    return TAKE_FD(fd);
}

/* The descriptor, or -ENOENT. */
static int open_index(const struct logread *r, int index, struct err *e) {
    char name[LOG_PATH_MAX + 16];
    int fd;

    name_of(r, index, "", name);
    fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 || index == 0)
        return fd >= 0 ? fd : -ENOENT;
    name_of(r, index, ".gz", name);
    fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? -ENOENT : unpack(fd, e);
}
