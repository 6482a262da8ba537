// SPDX-License-Identifier: Apache-2.0
/* The json-file writer. No allocation but one page-sized mapping for collecting records and one for an incomplete line. */
#include "logdrv/logdrv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"

#define OUT_CAP KIB(256)
#define PART_CAP LIMIT_LOG_LINE
/* A record of n bytes of text is at most this long: six bytes for each, and the frame with its attributes. */
#define RECORD_MAX(n, attrs) ((n)*6 + 128 + (attrs))

static void *pages(size_t n) {
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static int write_all(int fd, const char *p, size_t n) {
    while (n) {
        ssize_t w = write(fd, p, n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -errno;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

static int open_file(struct log_writer *w) {
    struct stat st;

    w->fd = open(w->settings.path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);
    if (w->fd < 0)
        return -errno;
    if (fstat(w->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        w->fd = close_fd(w->fd);
        return -EINVAL;
    }
    w->size = (uint64_t)st.st_size;
    return 0;
}

static int json_open(struct log_writer *w, const struct log_settings *s) {
    w->driver = &logdrv_json_file;
    w->settings = *s;
    return open_file(w);
}

static int flush(struct log_writer *w) {
    int r = w->out_n && w->fd >= 0 ? write_all(w->fd, w->out, w->out_n) : 0;

    w->failed = r < 0;
    w->out_n = 0;
    return r;
}

/* path.n-1 becomes path.n, ..., path becomes path.1. With one file kept, it starts again empty. */
static int rotate(struct log_writer *w) {
    char from[4096], to[4096];
    int keep = w->settings.max_file > 1 ? w->settings.max_file : 1;
    int r = flush(w);

    if (keep == 1) {
        if (ftruncate(w->fd, 0) < 0)
            r = -errno;
        w->size = 0;
        return r;
    }
    for (int i = keep - 1; i > 0; i--) {
        int n = snprintf(to, sizeof to, "%s.%d", w->settings.path, i);

        if (i == 1)
            snprintf(from, sizeof from, "%s", w->settings.path);
        else
            snprintf(from, sizeof from, "%s.%d", w->settings.path, i - 1);
        if (n < (int)sizeof to)
            ignore_result(rename(from, to));
    }
    w->fd = close_fd(w->fd);
    return open_file(w);
}

/* Decode one UTF-8 sequence: its length, or 0 when the bytes are none. */
static size_t utf8_len(const unsigned char *p, size_t n) {
    unsigned lo = 0x80, hi = 0xbf;
    size_t len;

    if (*p < 0x80)
        return 1;
    if (*p < 0xc2 || *p > 0xf4)
        return 0;
    len = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
    if (*p == 0xe0)
        lo = 0xa0;
    else if (*p == 0xed)
        hi = 0x9f;
    else if (*p == 0xf0)
        lo = 0x90;
    else if (*p == 0xf4)
        hi = 0x8f;
    if (n < len || p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

/* Characters that need no second look. */
static bool plain(unsigned char c) {
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

static char *put_text(char *o, const char *s, size_t n) {
    static const char hex[] = "0123456789abcdef";
    const unsigned char *p = (const unsigned char *)s, *end = p + n;

    while (p < end) {
        const unsigned char *start = p;
        size_t len;

        while (p < end && plain(*p))
            p++;
        memcpy(o, start, (size_t)(p - start));
        o += p - start;
        if (p == end)
            break;
        len = utf8_len(p, (size_t)(end - p));
        if (!len) {
            memcpy(o, "\\ufffd", 6);
            o += 6;
            p++;
        } else if (len == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] & 0xfe) == 0xa8) { /* U+2028, U+2029 */
            memcpy(o, "\\u202", 5);
            o[5] = (char)('8' + (p[2] & 1));
            o += 6;
            p += 3;
        } else if (len > 1) {
            memcpy(o, p, len);
            o += len;
            p += len;
        } else if (*p == '"' || *p == '\\' || *p == '\n' || *p == '\r' || *p == '\t') {
            *o++ = '\\';
            *o++ = *p == '\n' ? 'n' : *p == '\r' ? 'r' : *p == '\t' ? 't' : (char)*p;
            p++;
        } else if (*p == 0x7f) {
            *o++ = (char)*p++;
        } else {
            memcpy(o, "\\u00", 4);
            o[4] = hex[*p >> 4];
            o[5] = hex[*p & 15];
            o += 6;
            p++;
        }
    }
    return o;
}

#define PUT(o, text) (memcpy(o, text, sizeof text - 1), (o) + sizeof text - 1)

/* Append one record, made of up to two pieces of text. */
static int record(struct log_writer *w, enum log_stream stream, const char *a, size_t na, const char *b, size_t nb, bool newline, const char *time,
                  size_t n_time) {
    size_t attrs = w->settings.attrs ? strlen(w->settings.attrs) : 0, need = RECORD_MAX(na + nb, attrs), len;
    char *start, *o;
    int r = 0;

    if (!w->out)
        w->out = pages(OUT_CAP);
    if (!w->out || need > OUT_CAP)
        return -ENOMEM;
    if (w->out_n + need > OUT_CAP)
        r = flush(w);
    start = o = w->out + w->out_n;
    if (na + nb || newline) {
        o = PUT(o, "{\"log\":\"");
        o = put_text(o, a, na);
        o = put_text(o, b, nb);
        if (newline)
            o = PUT(o, "\\n");
        o = stream == LOG_STDERR ? PUT(o, "\",\"stream\":\"stderr\"") : PUT(o, "\",\"stream\":\"stdout\"");
    } else {
        o = stream == LOG_STDERR ? PUT(o, "{\"stream\":\"stderr\"") : PUT(o, "{\"stream\":\"stdout\"");
    }
    if (attrs) {
        o = PUT(o, ",\"attrs\":");
        memcpy(o, w->settings.attrs, attrs);
        o += attrs;
    }
    o = PUT(o, ",\"time\":\"");
    memcpy(o, time, n_time);
    o += n_time;
    o = PUT(o, "\"}\n");
    len = (size_t)(o - start);
    if (w->settings.max_size && w->size && w->size + len > w->settings.max_size) {
        /* The record is already at the end of what is collected: keep it aside while the file changes. */
        size_t before = w->out_n;

        r = rotate(w);
        memmove(w->out, w->out + before, len);
        w->out_n = 0;
    }
    w->out_n += len;
    w->size += len;
    return r;
}

static int keep_part(struct log_part *p, const char *data, size_t n, int64_t now) {
    if (!p->data) {
        p->data = pages(PART_CAP);
        p->n = 0;
        if (!p->data)
            return -ENOMEM;
    }
    if (!p->in_parts && !p->n)
        p->first_ns = now;
    memcpy(p->data + p->n, data, n);
    p->n += n;
    return 0;
}

static void drop_part(struct log_part *p) {
    if (p->data)
        munmap(p->data, PART_CAP);
    p->data = NULL;
    p->n = 0;
}

static int json_write(struct log_writer *w, enum log_stream stream, const char *data, size_t n, int64_t wall_ns) {
    struct log_part *p = &w->part[stream];
    char now[CLOCK_TEXT_MAX], first[CLOCK_TEXT_MAX];
    size_t n_now = clock_format(wall_ns, now), n_first = 0;
    int r = 0, q;

    while (n) {
        const char *nl = memchr(data, '\n', n < PART_CAP - p->n ? n : PART_CAP - p->n);
        size_t take = nl ? (size_t)(nl - data) : n < PART_CAP - p->n ? n : PART_CAP - p->n;

        if (p->in_parts)
            n_first = clock_format(p->first_ns, first);
        if (nl) {
            q = record(w, stream, p->n ? p->data : "", p->n, data, take, true, p->in_parts ? first : now, p->in_parts ? n_first : n_now);
            p->n = 0;
            p->in_parts = false;
            take++;
        } else if (p->n + take == PART_CAP) {
            if (!p->in_parts)
                p->first_ns = wall_ns;
            n_first = clock_format(p->first_ns, first);
            q = record(w, stream, p->n ? p->data : "", p->n, data, take, false, first, n_first);
            p->n = 0;
            p->in_parts = true;
        } else {
            q = keep_part(p, data, take, wall_ns);
        }
        if (q < 0)
            r = q;
        data += take;
        n -= take;
    }
    if (!p->n)
        drop_part(p);
    q = flush(w);
    return q < 0 ? q : r;
}

static int json_end(struct log_writer *w, enum log_stream stream, int64_t wall_ns) {
    struct log_part *p = &w->part[stream];
    char now[CLOCK_TEXT_MAX];
    size_t n_now = clock_format(p->in_parts ? p->first_ns : wall_ns, now);
    int r = 0;

    if (p->n) {
        r = record(w, stream, p->data, p->n, "", 0, false, now, n_now);
        if (r == 0)
            r = flush(w);
    }
    p->in_parts = false;
    drop_part(p);
    return r;
}

void log_writer_trim(struct log_writer *w) {
    if (w->out && !w->out_n) {
        munmap(w->out, OUT_CAP);
        w->out = NULL;
    }
}

static void json_close(struct log_writer *w) {
    ignore_result(flush(w));
    log_writer_trim(w);
    for (int i = 0; i < LOG_STREAMS; i++)
        drop_part(&w->part[i]);
    w->fd = close_fd(w->fd);
}

const struct logdrv logdrv_json_file = {"json-file", true, json_open, json_write, json_end, json_close};

static int none_open(struct log_writer *w, const struct log_settings *s) {
    w->driver = &logdrv_none;
    w->fd = -EBADF;
    return 0;
}
static int none_write(struct log_writer *w, enum log_stream stream, const char *data, size_t n, int64_t wall_ns) {
    return 0;
}
static int none_end(struct log_writer *w, enum log_stream stream, int64_t wall_ns) {
    return 0;
}
static void none_close(struct log_writer *w) {}

const struct logdrv logdrv_none = {"none", false, none_open, none_write, none_end, none_close};

const struct logdrv *logdrv_find(const char *name) {
    static const struct logdrv *const all[] = {&logdrv_json_file, &logdrv_none};

    for (size_t i = 0; i < ELEMENTSOF(all); i++)
        if (streq(all[i]->name, name))
            return all[i];
    return NULL;
}
