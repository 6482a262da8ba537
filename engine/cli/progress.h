// SPDX-License-Identifier: Apache-2.0
/*
 * progress.h - showing a stream of progress messages (pull, load) to people.
 *
 * A message is an object with "status", perhaps "id" (a layer) and "progressDetail" {current, total}. On a terminal every layer has a line with a bar that
 * is drawn over; elsewhere each change of a layer's status is one plain line and byte counts are left out.
 * progress_feed() appends what is to be written to `out`, so that it can be tested. Threads: one at a time.
 */
#ifndef HATAKE_CLI_PROGRESS_H
#define HATAKE_CLI_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"

#define PROGRESS_LINES_MAX 256 /* layers with a line of their own */

struct progress;

/* width: columns of the terminal; 0: no terminal. */
struct progress *progress_new(int width);
struct progress *progress_free(struct progress *p);
DEFINE_CLEANUP(struct progress *, progress_free)

/* Take one message. A message with "error" becomes the error (its text), kind ERR_INTERNAL. */
int progress_feed(struct progress *p, const json_t *message, struct buf *out, struct err *e);

/* Bytes as people read them, in powers of 1000: "12.3 MB". At most 15 characters. */
void human_bytes(int64_t bytes, char ret[16]);

#endif
