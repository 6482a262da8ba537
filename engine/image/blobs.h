// SPDX-License-Identifier: Apache-2.0
/*
 * blobs.h - what is known about layers in registries: this diff ID was seen as that blob in that repository.
 *
 * Written by pull and push, read by push: what a registry has need not be sent to it again. It is a hint: who uses it asks the registry. Kept when the
 * layer goes (it may come back), at most BLOBS_PER_LAYER for each diff ID and BLOBS_MAX in all, the oldest go first.
 * Threads: any.
 */
#ifndef HATAKE_IMAGE_BLOBS_H
#define HATAKE_IMAGE_BLOBS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define BLOBS_PER_LAYER 50
#define BLOBS_MAX 20000

struct db;

struct blob_seen {
    char digest[72];
    char *repository; /* canonical name without tag: "docker.io/library/busybox" */
    char *pushed_by;  /* user it was pushed as ("" for nobody), NULL: it was pulled */
};
struct blobs_seen {
    struct blob_seen *v;
    size_t n;
};
void blobs_seen_done(struct blobs_seen *b);

int blobs_migrate(struct db *db, struct err *e);
/* pushed_by NULL: pulled. What is known already becomes the newest. Only for gzip: what a schema 2 manifest may name. */
int blobs_note(struct db *db, const char *diff_id, const char *digest, const char *repository, const char *pushed_by, struct err *e);
/*
 * A manifest of that repository says so: noted if the pair of diff ID and digest is known already. Only bytes that were hashed tell that they belong together;
 * who believes a manifest has somebody else's blob pushed as this layer.
 */
int blobs_note_claim(struct db *db, const char *diff_id, const char *digest, const char *repository, struct err *e);
/* It is not there any more. */
int blobs_forget(struct db *db, const char *digest, const char *repository, struct err *e);
/* Newest first. */
int blobs_of(struct db *db, const char *diff_id, struct blobs_seen *ret, struct err *e);

#endif
