// SPDX-License-Identifier: Apache-2.0
/*
 * logdrv.h - log drivers, the writing side: what a container prints becomes records of a driver.
 *
 * Two pieces. A `log_copier` (one per stream) cuts bytes into records the way the reference does: one per line with its newline; a line longer than
 * LIMIT_LOG_LINE in pieces of that size, all with the time of the first; what is left at the end as a record without newline. A `log_writer` stores records.
 *
 * The drivers: json-file (the reference's lines of JSON), local (compact lines, logrecord.h), none; and those that send: syslog, gelf, fluentd, journald (remote.h),
 * which keep what they send in a `local` file too when they have a path, so that it can be read back.
 *
 * Runs in the monitor: libc and zlib only, all memory is in the caller's structs, nothing is allocated after open. A failing disk never stops a container: a record that
 * cannot be written whole is taken back (the file never holds half a line) and counted in `lost`.
 * Threads: one at a time.
 */
#ifndef HATAKE_LOGDRV_LOGDRV_H
#define HATAKE_LOGDRV_LOGDRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limits.h"

#define LOG_PATH_MAX 512
/* What labels, variables and tag of a container may add to each record; the daemon refuses more. With the longest record it fits a datagram. */
#define LOG_ATTRS_MAX KIB(64)
/* Escaping makes at most six bytes of one; the rest is the frame of a record. */
#define LOG_OUT_MAX (LIMIT_LOG_LINE * 6 + LOG_ATTRS_MAX + 256)

enum log_stream { LOG_STDOUT = 1, LOG_STDERR = 2 };

struct log_writer;

/* A driver. All slots are mandatory. */
struct log_driver {
    const char *name; /* as in HostConfig.LogConfig.Type */
    /* Begin or continue the log described by the fields `path` ... `attrs` of w. 0 or an error. */
    int (*open)(struct log_writer *w, struct err *e);
    /* One record: n bytes at p (its newline included when it had one), made at `time_ns` (wall clock). May keep it in w->out until flush. */
    void (*write)(struct log_writer *w, enum log_stream stream, const char *p, size_t n, int64_t time_ns);
    /* Everything given so far is in the file (not necessarily on the disk). */
    void (*flush)(struct log_writer *w);
    /* Flush and release. */
    void (*close)(struct log_writer *w);
};

/* What a driver that sends waits for while messages are queued. */
struct log_wait {
    int fd;              /* room on this descriptor (not the caller's), or -EBADF: the next attempt to connect */
    bool reads;          /* not room: something to read, the receiver's answer */
    unsigned connection; /* another number: another descriptor, even if its number is the same */
    int64_t retry_at;    /* monotonic ns, without a descriptor */
};

extern const struct log_driver log_driver_json_file;
extern const struct log_driver log_driver_local;
extern const struct log_driver log_driver_none;
extern const struct log_driver log_driver_syslog;
extern const struct log_driver log_driver_gelf;
extern const struct log_driver log_driver_fluentd;
extern const struct log_driver log_driver_journald;
struct log_remote;

struct log_writer {
    const struct log_driver *driver;
    char path[LOG_PATH_MAX]; /* "": no file (drivers that send, without a copy) */
    const char *attrs;       /* text of the "attrs" object, or ""; valid until close */
    uint64_t max_size;       /* 0: no rotation */
    int max_file;            /* 1 or more */
    bool compress;           /* rotated files become .gz */
    const char *config;      /* drivers that send: remote.h; valid until close */
    uint64_t lost;           /* records that could not be stored */
    /* the driver's own */
    int fd;
    uint64_t size;
    size_t n_out, n_attrs;
    int64_t when_ns; /* the time whose text is in `when`: records that were read together share it */
    size_t when_len;
    char when[CLOCK_TEXT_MAX];
    int packer;                /* pidfd of the process that compresses, 0: none */
    struct log_remote *remote; /* the sending half */
    char *out;                 /* LOG_OUT_MAX bytes given by the caller before open (not used by `none`) */
};

/* Whether messages are queued that flush() is to try again once what *ret says has come. */
bool log_writer_waits(const struct log_writer *w, struct log_wait *ret);
/* Whether the container has to wait until there is room for what it prints (drivers that send, mode=blocking). */
bool log_writer_full(const struct log_writer *w);

/* The driver of that name, or NULL. */
const struct log_driver *log_driver_find(const char *name);

struct log_copier {
    enum log_stream stream;
    size_t n;
    bool in_partial;    /* the record before this one was a piece of the same line */
    int64_t partial_ns; /* its time */
    char *held;         /* LIMIT_LOG_LINE bytes given by the caller: the start of an unfinished line */
};

/* Feed n bytes read from the container at `now_ns`; complete records go to w (not flushed). */
void log_copier_feed(struct log_copier *c, struct log_writer *w, const char *p, size_t n, int64_t now_ns);
/* The stream has ended: what is held becomes a last record. */
void log_copier_end(struct log_copier *c, struct log_writer *w, int64_t now_ns);

#endif
