// SPDX-License-Identifier: Apache-2.0
/*
 * logs.h - a container's log as clients see it: filtered by stream, framed, with times and details on request.
 */
#ifndef HATAKE_CONTAINER_LOGS_H
#define HATAKE_CONTAINER_LOGS_H

#include "base/buf.h"
#include "logdrv/logread.h"

struct ctr_log_request {
    const char *path;
    bool out, err; /* streams wanted */
    bool framed;   /* 8-byte headers */
    bool timestamps, details;
    const struct strv *attrs; /* details of every record, where records keep none of their own (borrowed); NULL: the record's */
    int64_t tail, since_ns, until_ns;
};

/* Append one record to b as the request wants it; nothing when its stream is not wanted. */
void ctr_log_format(const struct ctr_log_request *req, const struct logread_record *rec, struct buf *b);
/* Write the whole log, as it is now, to a socket. Waits while the client does not read, at most 30 s at a time. */
int ctr_log_copy(const struct ctr_log_request *req, int fd, struct err *e);
/* Content-Type of attach, exec and logs. `version` is call_api_version(). */
const char *ctr_stream_type(bool tty, int version);

#endif
