// SPDX-License-Identifier: Apache-2.0
/*
 * The json-file driver, writing side. One record is one line of JSON:
 *   {"log":"text\n","stream":"stdout","attrs":{...},"time":"2006-01-02T15:04:05.999999999Z"}
 * Escapes are those of the reference's writer (which differs from Go's encoding/json in writing a tab as \u0009). Rotation: before a record is written into a file that
 * has reached max_size, FILE.(n-1) becomes FILE.n and so on up to max_file - 1 rotated files.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "logdrv/logdrv.h"

#define RECORD_FRAME 128 /* bytes of a record besides text and attrs, at most */

static int open_file(struct log_writer *w) {
    struct stat st;

    w->fd = open(w->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (w->fd < 0)
        return -errno;
    w->size = fstat(w->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    return 0;
}

static int jsonfile_open(struct log_writer *w, struct err *e) {
    int r;

    w->n_out = 0;
    if (w->max_file < 1)
        w->max_file = 1;
    r = open_file(w);
    return r < 0 ? err_errno(e, r, "open log file %s", w->path) : 0;
}

/* A write that ends early leaves no half record: the file goes back to its last whole one. */
static void jsonfile_flush(struct log_writer *w) {
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

/* FILE.(max-2) → FILE.(max-1), ..., FILE → FILE.1. With one file only it is emptied. */
static void rotate(struct log_writer *w) {
    char from[LOG_PATH_MAX + 16], to[LOG_PATH_MAX + 16];

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
        rename(w->path, to);
    } else {
        unlink(w->path);
    }
    if (open_file(w) < 0)
        w->fd = -EBADF;
}

/* Room for a whole record must be there: a record never spans two files or two flushes. */
static void make_room(struct log_writer *w, size_t need) {
    if (w->n_out + need > LOG_OUT_MAX)
        jsonfile_flush(w);
    if (w->max_size && w->size + w->n_out >= w->max_size) {
        jsonfile_flush(w);
        if (w->size >= w->max_size)
            rotate(w);
    }
    /* A file that could not be opened (disk full, folder gone) is tried again with each record. */
    if (w->fd < 0 && open_file(w) < 0)
        w->fd = -EBADF;
}

static char *put(char *to, const char *s, size_t n) {
    memcpy(to, s, n);
    return to + n;
}
#define PUT(to, literal) put(to, literal, sizeof(literal) - 1)

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
        return PUT(to, "\\n");
    case '\r':
        return PUT(to, "\\r");
    case '"':
        return PUT(to, "\\\"");
    case '\\':
        return PUT(to, "\\\\");
    default:
        to = PUT(to, "\\u00");
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
        return to;
    }
}

static char *put_text(char *to, const char *text, size_t n) {
    const unsigned char *s = (const unsigned char *)text;
    size_t from = 0, i = 0;

    while (i < n) {
        unsigned char c = s[i];
        size_t l;

        if (c < 0x80) {
            if (c >= 0x20 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&') {
                i++;
                continue;
            }
            to = put(to, text + from, i - from);
            to = put_control(to, c);
            from = ++i;
            continue;
        }
        l = utf8_len(s + i, n - i);
        if (l == 3 && s[i] == 0xe2 && s[i + 1] == 0x80 && (s[i + 2] & 0xfe) == 0xa8) {
            to = put(to, text + from, i - from);
            to = s[i + 2] == 0xa8 ? PUT(to, "\\u2028") : PUT(to, "\\u2029");
            i += 3;
            from = i;
        } else if (l == 0) {
            to = put(to, text + from, i - from);
            to = PUT(to, "\\ufffd");
            from = ++i;
        } else {
            i += l;
        }
    }
    return put(to, text + from, i - from);
}

static void jsonfile_write(struct log_writer *w, enum log_stream stream, const char *p, size_t n, int64_t time_ns) {
    size_t attrs = strlen(w->attrs), time_len;
    char when[CLOCK_TEXT_MAX], *to;

    make_room(w, n * 6 + attrs + RECORD_FRAME);
    to = w->out + w->n_out;
    to = PUT(to, "{\"log\":\"");
    to = put_text(to, p, n);
    to = stream == LOG_STDERR ? PUT(to, "\",\"stream\":\"stderr\"") : PUT(to, "\",\"stream\":\"stdout\"");
    if (attrs) {
        to = PUT(to, ",\"attrs\":");
        to = put(to, w->attrs, attrs);
    }
    to = PUT(to, ",\"time\":\"");
    time_len = clock_format(time_ns, when);
    to = put(to, when, time_len);
    to = PUT(to, "\"}\n");
    w->n_out = (size_t)(to - w->out);
}

static void jsonfile_close(struct log_writer *w) {
    jsonfile_flush(w);
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -EBADF;
}

const struct log_driver log_driver_json_file = {
    .name = "json-file", .open = jsonfile_open, .write = jsonfile_write, .flush = jsonfile_flush, .close = jsonfile_close};

/* ---- none ---------------------------------------------------------------------------------------------------------------------- */

static int none_open(struct log_writer *w, struct err *e) {
    w->fd = -EBADF;
    return 0;
}
static void none_write(struct log_writer *w, enum log_stream stream, const char *p, size_t n, int64_t time_ns) {}
static void none_flush(struct log_writer *w) {}

const struct log_driver log_driver_none = {.name = "none", .open = none_open, .write = none_write, .flush = none_flush, .close = none_flush};

const struct log_driver *log_driver_find(const char *name) {
    static const struct log_driver *const all[] = {&log_driver_json_file, &log_driver_none};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (streq(all[i]->name, name))
            return all[i];
    return NULL;
}
