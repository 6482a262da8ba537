// SPDX-License-Identifier: Apache-2.0
/* The drivers `syslog` (RFC 3164 and RFC 5424 as the reference writes them) and `journald` (the journal's native datagrams). */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "logdrv/logfile.h"
#include "logdrv/remote.h"

#define SEVERITY_ERR 3
#define SEVERITY_INFO 6
#define COUNT_MAX 16 /* the length of a message as text */

/* The time in the daemon's zone, in the format's form. */
static void when(const struct log_remote *r, int64_t wall_ns, bool micro, bool rfc5424, char ret[64]) {
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t t = (time_t)(wall_ns / NSEC_PER_SEC + r->zone);
    int minutes = (int)(r->zone / 60), at;
    struct tm tm;

    gmtime_r(&t, &tm);
    if (!rfc5424) {
        snprintf(ret, 64, "%s %2d %02d:%02d:%02d", months[tm.tm_mon], tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        return;
    }
    at = snprintf(ret, 64, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    if (micro)
        at += snprintf(ret + at, 64 - (size_t)at, ".%06d", (int)(wall_ns % NSEC_PER_SEC / 1000));
    if (minutes == 0)
        snprintf(ret + at, 64 - (size_t)at, "Z");
    else
        snprintf(ret + at, 64 - (size_t)at, "%c%02d:%02d", minutes < 0 ? '-' : '+', (minutes < 0 ? -minutes : minutes) / 60,
                 (minutes < 0 ? -minutes : minutes) % 60);
}

static void syslog_write(struct log_writer *w, enum log_stream stream, const char *p, size_t n, int64_t time_ns) {
    struct log_remote *r = w->remote;
    int pri = (int)r->facility * 8 + (stream == LOG_STDERR ? SEVERITY_ERR : SEVERITY_INFO), head;
    bool rfc5424 = strncmp(r->format, "rfc5424", 7) == 0;
    size_t room = r->message_max - LIMIT_LOG_LINE - COUNT_MAX - 2;
    bool counted = r->tls && rfc5424; /* RFC 5425, 4.3 */
    char at[64], count[COUNT_MAX], *from = r->message + (counted ? COUNT_MAX : 0), *to;

    remote_keep(w, stream, p, n, time_ns);
    if (n > 0 && p[n - 1] == '\n')
        n--;
    if (n == 0)
        return; /* as the reference: a message without text is none */
    when(r, clock_wall_ns(), strcmp(r->format, "rfc5424micro") == 0, rfc5424, at);
    if (rfc5424)
        head = snprintf(from, room, "<%d>1 %s %s %s %lld %s - ", pri, at, r->host, r->tag, (long long)r->pid, r->tag);
    else if (strcmp(r->format, "rfc3164") == 0)
        head = snprintf(from, room, "<%d>%s %s %s[%lld]: ", pri, at, r->host, r->tag, (long long)r->pid);
    else
        head = snprintf(from, room, "<%d>%s %s[%lld]: ", pri, at, r->tag, (long long)r->pid);
    to = log_put(from + head, p, n);
    *to++ = '\n';
    if (counted) {
        int digits = snprintf(count, sizeof(count), "%td ", to - from);

        from -= digits;
        memcpy(from, count, (size_t)digits);
    }
    remote_send(w, from, (size_t)(to - from));
}

const struct log_driver log_driver_syslog = {
    .name = "syslog", .open = remote_open, .write = syslog_write, .flush = remote_flush, .close = remote_close};

/* A field is NAME=text, or with any bytes: NAME, newline, length (64 bit, little endian), bytes; each followed by a newline. */
static void journald_write(struct log_writer *w, enum log_stream stream, const char *p, size_t n, int64_t time_ns) {
    struct log_remote *r = w->remote;
    bool line = n > 0 && p[n - 1] == '\n';
    const struct remote_piece *piece = remote_piece(r, stream, line);
    size_t room = r->message_max - LIMIT_LOG_LINE - r->n_extra;
    char *to = r->message, when[CLOCK_TEXT_MAX];
    uint64_t length = line ? n - 1 : n;

    remote_keep(w, stream, p, n, time_ns);
    clock_format(time_ns, when);
    to = LOG_PUT(to, "MESSAGE\n");
    for (int i = 0; i < 8; i++)
        *to++ = (char)(length >> (8 * i));
    to = log_put(to, p, length);
    to += snprintf(to, room, "\nPRIORITY=%d\nSYSLOG_TIMESTAMP=%s\nCONTAINER_LOG_EPOCH=%s\nCONTAINER_LOG_ORDINAL=%llu\n",
                   stream == LOG_STDERR ? SEVERITY_ERR : SEVERITY_INFO, when, r->epoch, (unsigned long long)++r->ordinal);
    if (piece)
        to += snprintf(to, room, "%sCONTAINER_PARTIAL_ID=%s\nCONTAINER_PARTIAL_ORDINAL=%llu\nCONTAINER_PARTIAL_LAST=%s\n",
                       line ? "" : "CONTAINER_PARTIAL_MESSAGE=true\n", piece->id, (unsigned long long)piece->ordinal, line ? "true" : "false");
    to = log_put(to, r->extra, r->n_extra);
    remote_send(w, r->message, (size_t)(to - r->message));
}

const struct log_driver log_driver_journald = {
    .name = "journald", .open = remote_open, .write = journald_write, .flush = remote_flush, .close = remote_close};
