// SPDX-License-Identifier: Apache-2.0
#include "logdrv/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include "base/cleanup.h"

static int open_file(struct log_writer *w) {
    struct stat st;

    w->fd = open(w->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (w->fd < 0)
        return -errno;
    w->size = fstat(w->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    return 0;
}

int logfile_open(struct log_writer *w, struct err *e) {
    int r;

    w->n_out = 0;
    w->n_attrs = w->attrs ? strlen(w->attrs) : 0;
    if (w->n_attrs > LOG_ATTRS_MAX)
        return err_errno(e, -E2BIG, "attributes of the log %s", w->path);
    if (w->max_file < 1)
        w->max_file = 1;
    r = open_file(w);
    return r < 0 ? err_errno(e, r, "open log file %s", w->path) : 0;
}

/* A write that ends early leaves no half record: the file goes back to its last whole one. */
void logfile_flush(struct log_writer *w) {
    size_t done = 0;

    while (done < w->n_out && w->fd >= 0) {
        ssize_t n = write(w->fd, w->out + done, w->n_out - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    if (done < w->n_out) {
        size_t whole = done;

        while (whole > 0 && w->out[whole - 1] != '\n')
            whole--;
        for (size_t i = whole; i < w->n_out; i++)
            w->lost += w->out[i] == '\n';
        if (w->fd >= 0 && whole < done && ftruncate(w->fd, (off_t)(w->size + whole)) < 0)
            w->lost++;
        done = whole;
    }
    w->size += done;
    w->n_out = 0;
}

int logfile_compress(const char *plain) {
    char packed[LOG_PATH_MAX + 32], tmp[LOG_PATH_MAX + 32], block[16384];
    int in = open(plain, O_RDONLY | O_CLOEXEC), fd, r = 0;
    gzFile gz;
    ssize_t n;

    if (in < 0)
        return -errno; /* moved on by a rotation */
    snprintf(packed, sizeof(packed), "%s.gz", plain);
    snprintf(tmp, sizeof(tmp), "%s.gz.tmp", plain);
    fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    gz = fd < 0 ? NULL : gzdopen(fd, "wb");
    if (!gz) {
        r = fd < 0 ? -errno : -ENOMEM;
        if (fd >= 0)
            close(fd);
        close(in);
        return r;
    }
    while ((n = read(in, block, sizeof(block))) > 0)
        if (gzwrite(gz, block, (unsigned)n) != n)
            break;
    if (gzclose(gz) != Z_OK || n != 0)
        r = -EIO;
    else if (rename(tmp, packed) < 0 || unlink(plain) < 0)
        r = -errno;
    if (r < 0)
        unlink(tmp);
    close(in);
    return r;
}

/* End a packer that is still at work: the names it works on are about to change. */
static void stop_packer(struct log_writer *w) {
    siginfo_t si;

    if (w->packer <= 0)
        return;
    syscall(SYS_pidfd_send_signal, w->packer, SIGKILL, NULL, 0);
    waitid(P_PIDFD, (id_t)w->packer, &si, WEXITED); /* ECHILD: the owner of this process reaped it */
    close(w->packer);
    w->packer = 0;
}

/* Pack every rotated file that is still plain, in a process of its own, so that nobody waits. Readers take both forms. */
static void start_packer(struct log_writer *w) {
    char plain[LOG_PATH_MAX + 16];
    pid_t child = fork();
    int fd;

    if (child > 0) {
        fd = (int)syscall(SYS_pidfd_open, child, 0);
        w->packer = fd > 0 ? fd : 0;
    }
    if (child != 0)
        return;
    close_range(3, ~0U, 0);
    ignore_result(nice(10));
    for (int i = w->max_file - 1; i >= 1; i--) {
        snprintf(plain, sizeof(plain), "%s.%d", w->path, i);
        logfile_compress(plain);
    }
    _exit(0);
}

/* FILE.(max-2) → FILE.(max-1), ..., FILE → FILE.1. With one file only it is emptied. */
static void rotate(struct log_writer *w) {
    char from[LOG_PATH_MAX + 16], to[LOG_PATH_MAX + 16];

    stop_packer(w);
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -EBADF;
    for (int i = w->max_file - 1; i > 1; i--) {
        static const char *const suffixes[] = {"", ".gz"};

        for (size_t s = 0; s < 2; s++) {
            snprintf(to, sizeof(to), "%s.%d%s", w->path, i, suffixes[s]);
            snprintf(from, sizeof(from), "%s.%d%s", w->path, i - 1, suffixes[s]);
            unlink(to);
            rename(from, to);
        }
    }
    if (w->max_file > 1) {
        snprintf(to, sizeof(to), "%s.1", w->path);
        if (rename(w->path, to) == 0 && w->compress)
            start_packer(w);
    } else {
        unlink(w->path);
    }
    if (open_file(w) < 0)
        w->fd = -EBADF;
}

/* Room for a whole record must be there: a record never spans two files or two flushes. */
char *logfile_room(struct log_writer *w, size_t need) {
    if (w->n_out + need > LOG_OUT_MAX)
        logfile_flush(w);
    if (w->max_size && w->size + w->n_out >= w->max_size) {
        logfile_flush(w);
        if (w->size >= w->max_size)
            rotate(w);
    }
    /* A file that could not be opened (disk full, folder gone) is tried again with each record. */
    if (w->fd < 0 && open_file(w) < 0)
        w->fd = -EBADF;
    return w->out + w->n_out;
}

void logfile_added(struct log_writer *w, const char *end) {
    w->n_out = (size_t)(end - w->out);
}

void logfile_close(struct log_writer *w) {
    logfile_flush(w);
    if (w->packer > 0)
        close(w->packer); /* it may finish */
    w->packer = 0;
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -EBADF;
}

/* ---- text ------------------------------------------------------------------------------------------------------------------ */

/* Length of the valid UTF-8 sequence at s, 0 when there is none (RFC 3629). */
static size_t utf8_len(const unsigned char *s, size_t n) {
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        return n >= 2 && (s[1] & 0xc0) == 0x80 ? 2 : 0;
    if ((s[0] & 0xf0) == 0xe0) {
        unsigned lo = s[0] == 0xe0 ? 0xa0 : 0x80, hi = s[0] == 0xed ? 0x9f : 0xbf;

        return n >= 3 && s[1] >= lo && s[1] <= hi && (s[2] & 0xc0) == 0x80 ? 3 : 0;
    }
    if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        unsigned lo = s[0] == 0xf0 ? 0x90 : 0x80, hi = s[0] == 0xf4 ? 0x8f : 0xbf;

        return n >= 4 && s[1] >= lo && s[1] <= hi && (s[2] & 0xc0) == 0x80 && (s[3] & 0xc0) == 0x80 ? 4 : 0;
    }
    return 0;
}

static char *put_control(char *to, unsigned char c) {
    static const char hex[] = "0123456789abcdef";

    switch (c) {
    case '\n':
        return LOG_PUT(to, "\\n");
    case '\r':
        return LOG_PUT(to, "\\r");
    case '"':
        return LOG_PUT(to, "\\\"");
    case '\\':
        return LOG_PUT(to, "\\\\");
    default:
        to = LOG_PUT(to, "\\u00");
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
        return to;
    }
}

/* Bytes at the start of s that stand for themselves in JSON, looked at sixteen at a time: a multiple of that. */
static size_t plain_run(const unsigned char *s, size_t n) {
    typedef signed char block __attribute__((vector_size(16)));
    typedef uint64_t halves __attribute__((vector_size(16)));
    size_t i;

    for (i = 0; i + sizeof(block) <= n; i += sizeof(block)) {
        block x;
        halves other;

        memcpy(&x, s + i, sizeof(x));
        /* As signed numbers, bytes that are not ASCII are less than a space, too. */
        other = (halves)((x < ' ') | (x == '"') | (x == '\\') | (x == '<') | (x == '>') | (x == '&'));
        if (other[0] | other[1])
            break;
    }
    return i;
}

char *log_put_json(char *to, const char *text, size_t n) {
    const unsigned char *s = (const unsigned char *)text;
    size_t from = 0, i = plain_run(s, n);

    while (i < n) {
        unsigned char c = s[i];
        size_t l;

        if (c < 0x80) {
            if (c >= 0x20 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&') {
                i++;
                continue;
            }
            to = log_put(to, text + from, i - from);
            to = put_control(to, c);
            from = ++i;
            i += plain_run(s + i, n - i);
            continue;
        }
        l = utf8_len(s + i, n - i);
        if (l == 3 && s[i] == 0xe2 && s[i + 1] == 0x80 && (s[i + 2] & 0xfe) == 0xa8) {
            to = log_put(to, text + from, i - from);
            to = s[i + 2] == 0xa8 ? LOG_PUT(to, "\\u2028") : LOG_PUT(to, "\\u2029");
            i += 3;
            from = i;
        } else if (l == 0) {
            to = log_put(to, text + from, i - from);
            to = LOG_PUT(to, "\\ufffd");
            from = ++i;
        } else {
            i += l;
        }
    }
    return log_put(to, text + from, i - from);
}
