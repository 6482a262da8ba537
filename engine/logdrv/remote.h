// SPDX-License-Identifier: Apache-2.0
/*
 * remote.h - log drivers that send: syslog, gelf, fluentd, journald. What they share: the connection, a bounded queue, the configuration.
 *
 * Configuration (log_writer.config): lines KEY=VALUE made by the daemon, which has checked options, resolved names and filled in templates, because this side has no
 * resolver and sees no files. Values that may hold anything are hexadecimal. Keys:
 *   net       udp | tcp | unix | unixgram          addr, port | path
 *   blocking  2: while there is no room for messages the container waits; 1: while the receiver is connected; 0: messages are dropped
 *   buffer    bytes of the queue, 0: the usual
 *   tag, host (hex), pid, zone (seconds east of UTC)
 *   syslog:   format  unix | rfc3164 | rfc5424 | rfc5424micro; facility (number)
 *   gelf:     extra (hex: the inside of an object, with a leading comma, or nothing); pack  gzip | zlib | none; level
 *   tls       1: over TLS (streams only), with name (hex: whom the certificate is for), verify  0: anybody's is taken, ca, cert, key (hex: paths of PEM files,
 *             empty: none), program (hex: path of hatake-logtls)
 *   fluentd:  extra (hex: keys and values in MessagePack), pairs (their number); precise  1: times with nanoseconds; ack  1: a message is out once the
 *             receiver has acknowledged it; retries: attempts until a
 *             message is given up, 0: without end; pause: ns from the first of them to the second, 0: the usual; most: messages in the queue while
 *             the container does not wait, 0: as many as fit; every: ns after which a connection that works is replaced by a new one, 0: never
 *   journald: extra (hex: fields in the journal's native form)
 *
 * Delivery. Datagrams go out at once. Streams have a queue of whole messages; after a broken connection a message that was not sent whole, or not acknowledged
 * where that is asked for, is sent again, and
 * connecting is tried again with growing pauses. Once the queue is full its writer says so (log_writer_full()) and takes only what was read already, or,
 * where the container shall not wait, drops messages and counts them in log_writer.lost. Nothing here waits for the receiver longer than connecting (200 ms)
 * and a datagram (100 ms) take: who owns the writer is told what to wait for (log_writer_waits()). A copy in a local file (log_writer.path) is written first
 * and never lost with the connection. Closing waits a bounded time for the queue to empty.
 * TLS is spoken by a process of its own (logtls.h), one for each connection, so that no other monitor carries a TLS library.
 * Sources: RFC 3164, RFC 5424, RFC 5425 (framing over TLS), GELF 1.1 (with chunked datagrams), the Fluentd forward protocol (v1, message mode), systemd's native journal protocol.
 */
#ifndef HATAKE_LOGDRV_REMOTE_H
#define HATAKE_LOGDRV_REMOTE_H

#include <sys/socket.h>

#include "base/id.h"
#include "logdrv/logdrv.h"
#include "logdrv/logtls.h"

#define REMOTE_QUEUE_DEFAULT MIB(1)
/* What one block of output that was read before its reader knew of a full queue can become. */
#define REMOTE_QUEUE_MAX MIB(64)
#define REMOTE_ANSWER_MAX 256 /* longer answers are none */

/*
 * Does the answer of n bytes at p acknowledge the message? 1: yes; 0: more of it has to come; -EBADMSG: it does not.
 */
typedef int remote_answer_fn(const char *message, size_t n_message, const char *p, size_t n);

struct log_remote {
    struct sockaddr_storage addr;
    socklen_t addr_len;
    bool stream;
    enum { REMOTE_DROPS, REMOTE_WAITS_CONNECTED, REMOTE_WAITS } blocking;
    int family, fd;
    bool tls;                   /* fd leads to hatake-logtls */
    bool opening;               /* it has not said yet that the receiver is there */
    bool awaiting;              /* the first message is out, its acknowledgement is not in */
    struct log_tls how;         /* in `texts` */
    remote_answer_fn *answered; /* NULL: what is sent is out */
    char answer[REMOTE_ANSWER_MAX];
    size_t n_answer;
    unsigned connection;     /* how many there were */
    int64_t retry_at, pause; /* monotonic ns */
    int64_t retries, tries;  /* attempts that a message has, 0: without end; that failed since it became the first */
    int64_t first_pause;     /* ns */
    int64_t every, since;    /* ns that a connection may last, 0: for ever; when this one was made */
    uint64_t most, queued;   /* messages that may be in the queue, 0: any number; that are */
    char *queue;             /* messages, each behind its length: n bytes from `at` of `size`, full from `limit` on */
    size_t size, limit, at, n;
    size_t sent;   /* bytes of the first message that are out */
    char *message; /* message_max bytes to build one in: enough for the longest record */
    char *packed;  /* as many, for gelf */
    size_t message_max;
    char *texts; /* where the next three are */
    const char *tag, *host, *extra;
    size_t n_tag, n_host, n_extra;
    char format[16];
    int64_t facility, pid, zone, pairs, level;
    bool precise, ack;
    /* journald: this run of the log, and how many messages it had */
    char epoch[ID_LEN + 1];
    uint64_t ordinal;
    /* a line in pieces, per stream */
    struct remote_piece {
        bool open;
        uint64_t ordinal;
        char id[ID_LEN + 1];
    } piece[2];
};

/* The slots of struct log_driver for such drivers. */
int remote_open(struct log_writer *w, struct err *e);
void remote_flush(struct log_writer *w);
void remote_close(struct log_writer *w);
/* The piece of a line that a record is, NULL when it is a whole line; with the line's end (`line`) the next one is none. A line in pieces has a random id. */
const struct remote_piece *remote_piece(struct log_remote *r, enum log_stream stream, bool line);
/* Keep the record in the local copy. First thing of each write. */
void remote_keep(struct log_writer *w, enum log_stream stream, const char *p, size_t n, int64_t time_ns);
/* Give n bytes (one message, its end mark included) to the connection or the queue. */
void remote_send(struct log_writer *w, const char *message, size_t n);
/* One datagram now; false when the receiver did not take it. */
bool remote_datagram(struct log_writer *w, const char *p, size_t n);

#endif
