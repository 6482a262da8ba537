// SPDX-License-Identifier: Apache-2.0
/* Sections: files of a log; lines; where to begin; from file to file; the cursor. */
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
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "logdrv/logdrv.h"
#include "logdrv/logrecord.h"

#define ROTATED_MAX 1000
#define BLOCK KIB(64)
#define UNPACKED_MAX GIB(4)
#define NAME_MAX_BYTES (LOG_PATH_MAX + 16)

struct logread {
    char path[LOG_PATH_MAX];
    struct logread_options o;
    int fd;    /* the file being read; -EBADF before the first exists */
    int index; /* when it was opened: 0 is FILE, n is FILE.n */
    ino_t inode;
    off_t next;    /* offset in the file of the byte after `in` */
    struct buf in; /* bytes read ahead */
    size_t used;   /* of `in`, already handed out */
    bool ended;
    struct log_record record;
};

/* ---- files of a log -------------------------------------------------------------------------------------------------------------- */

static void name_of(const struct logread *r, int index, const char *suffix, char ret[NAME_MAX_BYTES]) {
    if (index == 0)
        snprintf(ret, NAME_MAX_BYTES, "%s", r->path);
    else
        snprintf(ret, NAME_MAX_BYTES, "%s.%d%s", r->path, index, suffix);
}

/* A compressed file becomes memory that belongs to the descriptor. `packed` is consumed. */
static int unpack(int packed) {
    _cleanup_close_ int fd = memfd_create("log", MFD_CLOEXEC);
    _cleanup_free_ char *block = malloc(BLOCK);
    gzFile gz = gzdopen(packed, "rb");
    size_t total = 0;
    int n;

    if (!gz) {
        close(packed);
        return -ENOMEM;
    }
    if (fd < 0 || !block) {
        gzclose_r(gz);
        return -ENOMEM;
    }
    while ((n = gzread(gz, block, BLOCK)) > 0 && total <= UNPACKED_MAX) {
        if (full_write(fd, block, (size_t)n) < 0)
            break;
        total += (size_t)n;
    }
    gzclose_r(gz);
    return TAKE_FD(fd);
}

static int open_index(const struct logread *r, int index) {
    char name[NAME_MAX_BYTES];
    int fd;

    name_of(r, index, "", name);
    fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 || index == 0)
        return fd;
    name_of(r, index, ".gz", name);
    fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? fd : unpack(fd);
}

/* Index of the oldest file there is; 0 when there is only FILE. */
static int oldest_index(const struct logread *r) {
    char name[NAME_MAX_BYTES];
    int index = 0;

    while (index < ROTATED_MAX) {
        name_of(r, index + 1, "", name);
        if (!fs_exists(name)) {
            name_of(r, index + 1, ".gz", name);
            if (!fs_exists(name))
                break;
        }
        index++;
    }
    return index;
}

static void enter(struct logread *r, int fd, int index, off_t at) {
    struct stat st;

    close_fd(r->fd);
    r->fd = fd;
    r->index = index;
    r->inode = fstat(fd, &st) == 0 ? st.st_ino : 0;
    r->next = at;
    buf_reset(&r->in);
    r->used = 0;
}

/* ---- lines ------------------------------------------------------------------------------------------------------------------------- */

/* Next whole line of the file: 1 with *ret_line (its newline excluded), 0 at the end of what is there. */
static int next_line(struct logread *r, char **ret_line, size_t *ret_n, struct err *e) {
    size_t looked = 0;

    for (;;) {
        char *from = r->in.data ? r->in.data + r->used : NULL, *nl = NULL, *to;
        size_t have = r->in.len - r->used;
        ssize_t n;

        if (have > looked)
            nl = memchr(from + looked, '\n', have - looked);
        if (nl) {
            *ret_line = from;
            *ret_n = (size_t)(nl - from);
            r->used += *ret_n + 1;
            return 1;
        }
        looked = have;
        if (r->used > 0) {
            buf_consume(&r->in, r->used);
            r->used = 0;
        }
        if (have > 2 * (size_t)LOG_OUT_MAX) {
            buf_reset(&r->in); /* no record is that long: damage; go on with what follows */
            looked = 0;
        }
        to = buf_reserve(&r->in, BLOCK);
        if (!to)
            return err_oom(e);
        n = pread(r->fd, to, BLOCK, r->next);
        if (n < 0)
            return err_errno(e, errno, "read log %s", r->path);
        buf_commit(&r->in, (size_t)n);
        r->next += n;
        if (n == 0)
            return 0;
    }
}

/* ---- where to begin -------------------------------------------------------------------------------------------------------------- */

/* Offset of the line that is `want` lines before the end of the first `size` bytes; *ret_found is how many there were, at most want. */
static off_t tail_offset(int fd, off_t size, int64_t want, int64_t *ret_found) {
    _cleanup_free_ char *block = malloc(BLOCK);
    off_t at = size;
    int64_t found = 0;

    if (!block || want <= 0) {
        *ret_found = 0;
        return size;
    }
    while (at > 0) {
        size_t n = (size_t)(at < (off_t)BLOCK ? at : (off_t)BLOCK);
        ssize_t got = pread(fd, block, n, at - (off_t)n);

        if (got != (ssize_t)n)
            break;
        for (size_t i = n; i-- > 0;) {
            /* The newline that ends the last line begins no line. */
            if (block[i] != '\n' || at - (off_t)n + (off_t)i + 1 == size)
                continue;
            if (++found == want) {
                *ret_found = found;
                return at - (off_t)n + (off_t)i + 1;
            }
        }
        at -= (off_t)n;
    }
    *ret_found = size > 0 ? found + 1 : 0;
    return 0;
}

/* Time of the first whole record at or after offset `at`; false when there is none. *ret_line: where that record begins. */
static bool time_at(int fd, off_t at, off_t size, char *block, int64_t *ret_ns, off_t *ret_line) {
    bool aligned = at == 0;
    size_t look = KIB(8); /* most lines are short */

    while (at < size) {
        ssize_t n = pread(fd, block, look, at);
        char *from = block, *nl;

        if (n <= 0)
            return false;
        nl = memchr(block, '\n', (size_t)n);
        if (!nl && look < 2 * LOG_OUT_MAX) {
            look = 2 * LOG_OUT_MAX;
            continue;
        }
        if (!nl)
            return false;
        if (!aligned) {
            from = nl + 1;
            at += from - block;
            aligned = true;
            continue;
        }
        if (log_record_time(from, (size_t)(nl - from), ret_ns)) {
            *ret_line = at;
            return true;
        }
        at += nl - from + 1;
    }
    return false;
}

/* Offset of the first record not older than since: bisection, as times rise. `size` when all are older. */
static off_t since_offset(int fd, off_t size, int64_t since_ns) {
    _cleanup_free_ char *block = malloc(2 * LOG_OUT_MAX);
    off_t lo = 0, hi = size, line;
    int64_t t;

    if (!block)
        return 0;
    while (hi - lo > (off_t)KIB(64)) {
        off_t mid = lo + (hi - lo) / 2;

        if (!time_at(fd, mid, size, block, &t, &line) || line >= hi || t >= since_ns)
            hi = mid;
        else
            lo = line;
    }
    /* The rest is short: the cursor skips what is too old. */
    if (lo > 0 && time_at(fd, lo, size, block, &t, &line))
        return line;
    return lo;
}

static off_t size_of(int fd) {
    struct stat st;

    return fstat(fd, &st) == 0 ? st.st_size : 0;
}

/* Go to where `tail` begins: files from the newest back until enough lines are found. */
static void begin_at_tail(struct logread *r) {
    int64_t left = r->o.tail, found = 0;
    int last = oldest_index(r);

    for (int index = 0; index <= last; index++) {
        int fd = open_index(r, index);
        off_t at;

        if (fd < 0)
            continue;
        at = tail_offset(fd, size_of(fd), left, &found);
        enter(r, fd, index, at);
        left -= found;
        if (left <= 0)
            return;
    }
}

static void begin_at_since(struct logread *r) {
    for (int index = oldest_index(r); index >= 0; index--) {
        int fd = open_index(r, index);
        off_t size, at;

        if (fd < 0)
            continue;
        size = size_of(fd);
        at = r->o.since_ns ? since_offset(fd, size, r->o.since_ns) : 0;
        enter(r, fd, index, at);
        if (at < size)
            return;
    }
}

/* ---- from file to file -------------------------------------------------------------------------------------------------------------- */

/* Where the file we read has been moved to: its index now, or -1 when it is gone. */
static int index_of_inode(const struct logread *r) {
    char name[NAME_MAX_BYTES];
    struct stat st;

    for (int index = 0; index <= ROTATED_MAX; index++) {
        name_of(r, index, "", name);
        if (stat(name, &st) < 0) {
            if (index > 0)
                return -1;
            continue;
        }
        if (st.st_ino == r->inode)
            return index;
    }
    return -1;
}

/* At the end of a file: true when there is a newer one, which is then entered. */
static bool next_file(struct logread *r) {
    int now, fd;

    if (r->fd < 0) {
        fd = open_index(r, 0);
        if (fd < 0)
            return false;
        enter(r, fd, 0, 0);
        return true;
    }
    /* An unpacked copy has an inode of its own: go by the index it had. */
    now = index_of_inode(r);
    if (now == 0)
        return false;
    if (now < 0)
        now = r->index > 0 ? r->index : 1;
    fd = open_index(r, now - 1);
    if (fd < 0)
        return false;
    enter(r, fd, now - 1, 0);
    return true;
}

/* ---- the cursor ------------------------------------------------------------------------------------------------------------------------ */

int logread_open(const char *path, const struct logread_options *o, struct logread **ret, struct err *e) {
    struct logread *r;

    if (strlen(path) >= LOG_PATH_MAX)
        return err_set(e, ERR_INVALID, "the path of log %s is too long", path);
    r = calloc(1, sizeof(*r));
    if (!r)
        return err_oom(e);
    memcpy(r->path, path, strlen(path) + 1);
    r->o = *o;
    r->fd = -EBADF;
    r->in = BUF_INIT(4 * (size_t)LOG_OUT_MAX);
    log_record_init(&r->record);
    if (o->tail >= 0)
        begin_at_tail(r);
    else
        begin_at_since(r);
    *ret = r;
    return 0;
}

struct logread *logread_free(struct logread *r) {
    if (!r)
        return NULL;
    close_fd(r->fd);
    buf_done(&r->in);
    log_record_done(&r->record);
    free(r);
    return NULL;
}

bool logread_at_end(const struct logread *r) {
    return r->ended;
}

static int take_line(struct logread *r, char *line, size_t n, struct logread_record *ret) {
    if (!log_record_parse(&r->record, line, n, r->o.want_attrs))
        return 0;
    if (r->o.since_ns && r->record.time_ns < r->o.since_ns)
        return 0;
    if (r->o.until_ns && r->record.time_ns > r->o.until_ns) {
        r->ended = true;
        return 0;
    }
    *ret = (struct logread_record){r->record.is_stderr, r->record.time_ns, buf_str(&r->record.text), r->record.text.len, &r->record.attrs};
    return 1;
}

int logread_next(struct logread *r, struct logread_record *ret, struct err *e) {
    while (!r->ended) {
        char *line = NULL;
        size_t n = 0;
        int got = r->fd < 0 ? 0 : next_line(r, &line, &n, e);

        if (got < 0)
            return got;
        if (got > 0) {
            if (take_line(r, line, n, ret))
                return 1;
            continue;
        }
        if (next_file(r))
            continue;
        if (!r->o.follow || (r->o.until_ns && clock_wall_ns() > r->o.until_ns))
            r->ended = true;
        return 0;
    }
    return 0;
}
