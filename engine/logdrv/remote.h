// SPDX-License-Identifier: Apache-2.0
/*
 * remote.h - log drivers that send: syslog, gelf, fluentd, journald. What they share: the connection, a bounded queue, the configuration.
 *
 * Configuration (log_writer.config): lines KEY=VALUE made by the daemon, which has checked options, resolved names and filled in templates, because this side has no
 * resolver and sees no files. Values that may hold anything are hexadecimal. Keys:
 *   net       udp | tcp | unix | unixgram          addr, port | path
 *   blocking  1: when the receiver is slow the container waits a little, else messages are dropped; buffer  bytes of the queue
 *   tag, host (hex), pid, zone (seconds east of UTC)
 *   syslog:   format  unix | rfc3164 | rfc5424 | rfc5424micro; facility (number)
 *   gelf:     extra (hex: the inside of an object, with a leading comma, or nothing); pack  gzip | zlib | none; level
 *   fluentd:  extra (hex: keys and values in MessagePack), pairs (their number); precise  1: times with nanoseconds
 *   journald: extra (hex: fields in the journal's native form)
 *
 * Delivery. Datagrams go out at once. Streams have a queue of whole messages; after a broken connection a message that was not sent whole is sent again, and
 * connecting is tried again with growing pauses. What finds the queue full is dropped and counted in log_writer.lost. A copy in a local file (log_writer.path) is
 * written first and never lost with the connection. Closing waits a bounded time for the queue to empty.
 * Sources: RFC 3164, RFC 5424, GELF 1.1 (with chunked datagrams), the Fluentd forward protocol (v1, message mode), systemd's native journal protocol.
 */
#ifndef HATAKE_LOGDRV_REMOTE_H
#define HATAKE_LOGDRV_REMOTE_H

#include <sys/socket.h>

#include "logdrv/logdrv.h"

#define REMOTE_TEXT_MAX 1024
#define REMOTE_EXTRA_MAX 4096
#define REMOTE_MESSAGE_MAX (LIMIT_LOG_LINE * 6 + REMOTE_EXTRA_MAX + 2 * REMOTE_TEXT_MAX + 512)
#define REMOTE_QUEUE_DEFAULT MIB(1)

struct log_remote {
    struct sockaddr_storage addr;
    socklen_t addr_len;
    bool stream, blocking;
    int family, fd;
    int64_t retry_at, pause; /* monotonic ns */
    char *queue;             /* messages, each behind its length */
    size_t size, n;
    size_t sent;   /* bytes of the first message that are out */
    char *message; /* REMOTE_MESSAGE_MAX bytes to build one in */
    char *packed;  /* as many, for gelf */
    char tag[REMOTE_TEXT_MAX], host[REMOTE_TEXT_MAX], extra[REMOTE_EXTRA_MAX];
    size_t n_extra;
    char format[16];
    int64_t facility, pid, zone, pairs, level;
    bool precise;
    /* a line in pieces, per stream */
    struct {
        bool open;
        uint64_t ordinal;
        char id[65];
    } piece[2];
};

/* The slots of struct log_driver for such drivers. */
int remote_open(struct log_writer *w, struct err *e);
void remote_flush(struct log_writer *w);
void remote_close(struct log_writer *w);
/* Keep the record in the local copy. First thing of each write. */
void remote_keep(struct log_writer *w, enum log_stream stream, const char *p, size_t n, int64_t time_ns);
/* Give n bytes (one message, its end mark included) to the connection or the queue. */
void remote_send(struct log_writer *w, const char *message, size_t n);
/* One datagram now; false when the receiver did not take it. */
bool remote_datagram(struct log_writer *w, const char *p, size_t n);

#endif
