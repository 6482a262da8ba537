// SPDX-License-Identifier: Apache-2.0
/*
 * logdrv.h - log drivers: where the output of containers goes (written in the monitor) and how it is read back (in the daemon).
 *
 * Writer: one per container, in a process without threads; C library only, memory only while a line is incomplete. Reader: see log-reader.h.
 * A driver is one struct logdrv. Slots:
 *   open   take the settings, open what is needed. 0 or -errno.
 *   write  bytes of one stream as they came, any number of lines or parts of them; `wall_ns` is the time they were read. 0 or -errno. A failed write (disk
 *          full) loses those lines and nothing else: the container goes on.
 *   end    a stream has ended: what is left of a line is written as it is.
 *   close  flush and release.
 * Lines longer than LIMIT_LOG_LINE (16 KiB) are written in parts, all but the last without a newline, as the reference does.
 *
 * json-file, one object a line:  {"log":"text\n","stream":"stdout","attrs":{...},"time":"2024-05-01T10:00:00.123456789Z"}
 * Rotation: when a record would pass max_size, the file becomes <path>.1 (older ones .2 and so on up to max_file - 1) and a new one begins.
 */
#ifndef HATAKE_LOGDRV_LOGDRV_H
#define HATAKE_LOGDRV_LOGDRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_stream { LOG_STDOUT = 0, LOG_STDERR = 1, LOG_STREAMS = 2 };

struct log_settings {
    const char *path;
    const char *attrs; /* JSON object text, or NULL; borrowed for the writer's life */
    uint64_t max_size; /* 0: no rotation */
    int max_file;
};

struct log_writer;

struct logdrv {
    const char *name;
    bool readable; /* `docker logs` works */
    int (*open)(struct log_writer *w, const struct log_settings *s);
    int (*write)(struct log_writer *w, enum log_stream stream, const char *data, size_t n, int64_t wall_ns);
    int (*end)(struct log_writer *w, enum log_stream stream, int64_t wall_ns);
    void (*close)(struct log_writer *w);
};

extern const struct logdrv logdrv_none, logdrv_json_file;
/* Driver by name; NULL when there is none. */
const struct logdrv *logdrv_find(const char *name);

struct log_part {
    char *data; /* the incomplete line, NULL when there is none */
    size_t n;
    bool in_parts; /* a part of this line was written already */
    int64_t first_ns;
};

/* Plain data; zero it, call driver->open, and end with driver->close. */
struct log_writer {
    const struct logdrv *driver;
    struct log_settings settings;
    int fd;
    uint64_t size;
    struct log_part part[LOG_STREAMS];
    char *out; /* records being collected, mapped on first use and given back when idle */
    size_t out_n;
    bool failed; /* the last write failed */
};

/* Give memory back that only speed needs (the monitor calls it when it has been idle). */
void log_writer_trim(struct log_writer *w);

#endif
