// SPDX-License-Identifier: Apache-2.0
/*
 * content.h - blobs on their way in: what has come of a download, kept so that the next attempt goes on where the last one stopped.
 *
 * A partial is the file <data root>/content/partial/<64 hex digits of the digest> with the first bytes of that blob. It survives a broken connection, a
 * killed engine and a restart. Nothing is believed about it: who goes on with one hashes what is there again, and drops it when the whole turns out wrong.
 * A finished blob that is worth keeping is given to who keeps it (partial_give); others go. A layer is its folder and its framing (layers/), from which the same archive can be made.
 *
 * Life cycle: partial_open, partial_append as bytes come, partial_close. A digest is open once at a time; a second opener gets a nameless file of its own,
 * which is gone when closed. Partials nobody has touched for a week, and the oldest beyond 8 GiB or a tenth of the disk in all, are removed by content_new() and content_collect().
 * Not synced: what a power cut leaves is shorter or wrong, and found so.
 *
 * Threads: the store any; a partial one at a time, its descriptor for reading may be read by anybody up to partial_have().
 */
#ifndef HATAKE_CONTENT_CONTENT_H
#define HATAKE_CONTENT_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct content;
struct partial;

#define CONTENT_AGE_MAX (INT64_C(7) * 86400) /* seconds */
#define CONTENT_BYTES_MAX (INT64_C(8) << 30)

/* Make the folders when missing, remove what is too old. */
int content_new(const char *data_root, struct content **ret, struct err *e);
/* No partial may be open. NULL is fine. Returns NULL. */
struct content *content_free(struct content *c);
/* Remove partials that are not open and were last written more than max_age seconds ago, then the oldest until at most max_bytes are left. */
void content_collect(struct content *c, int64_t max_age, int64_t max_bytes);
/* Bytes of all partials, for the census. */
int64_t content_bytes(struct content *c);

/* Open or begin the partial of a blob ("sha256:..."; ERR_INVALID for anything else) that has `size` bytes in all. */
int partial_open(struct content *c, const char *digest, int64_t size, struct partial **ret, struct err *e);
/* Bytes that are there. */
int64_t partial_have(const struct partial *p);
/* A descriptor for reading, borrowed. */
int partial_fd(const struct partial *p);
/* ERR_NO_SPACE with errnum ENOSPC when the disk is full; ERR_INVALID beyond `size`. */
int partial_append(struct partial *p, const void *bytes, size_t n, struct err *e);
/* Forget what is there and begin anew. */
int partial_reset(struct partial *p, struct err *e);
/* The blob is whole: it becomes the file `path` if that is on the same file system and nobody else had it open first; true then. To be closed all the same. */
bool partial_give(struct partial *p, const char *path);
/* keep: leave it for the next attempt (unless it is too small to be worth it). NULL is fine. Returns NULL. */
struct partial *partial_close(struct partial *p, bool keep);

#endif
