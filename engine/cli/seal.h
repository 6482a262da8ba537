// SPDX-License-Identifier: Apache-2.0
/*
 * seal.h - a stream of bytes under a passphrase: chunks of authenticated encryption.
 *
 * The key comes from the passphrase by scrypt with a salt of its own for each stream, so no key ever seals two streams. Each chunk is AES-256-GCM with the
 * chunk's number and whether it is the last one in its nonce and the head as associated data: a chunk that is changed, missing, doubled, moved or cut off
 * does not open. Nothing of a chunk is given out before it is known to be whole.
 *
 *   head (SEAL_HEAD bytes): "HATKSEAL", version 1, log2 N, r, p of scrypt, chunk size (4 bytes, little endian), salt (16 bytes)
 *   then chunks of SEAL_CHUNK bytes and a tag of SEAL_TAG bytes; the last one holds 0 to SEAL_CHUNK bytes
 *
 * Source: RFC 7914 (scrypt), NIST SP 800-38D (GCM), Hoang et al. 2015 "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance" (STREAM).
 * Life cycle: seal_new() or seal_open(), then seal_chunk() or seal_unchunk() for each chunk in order, seal_free(). Threads: one at a time.
 */
#ifndef HATAKE_CLI_SEAL_H
#define HATAKE_CLI_SEAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"

#define SEAL_MAGIC "HATKSEAL"
#define SEAL_HEAD 32
#define SEAL_CHUNK ((size_t)64 << 10)
#define SEAL_TAG 16
#define PASSPHRASE_MAX ((size_t)4096)

struct seal;

/* A fresh salt; ret_head is what the stream begins with. */
int seal_new(const struct buf *passphrase, unsigned char ret_head[SEAL_HEAD], struct seal **ret, struct err *e);
/* From the head of a stream. ERR_INVALID when it is none, or asks for more memory than is good. A wrong passphrase shows at the first chunk. */
int seal_open(const struct buf *passphrase, const unsigned char head[SEAL_HEAD], struct seal **ret, struct err *e);
/* NULL is fine; the key is wiped. Returns NULL. */
struct seal *seal_free(struct seal *s);
DEFINE_CLEANUP(struct seal *, seal_free)

/* The next chunk: n bytes become n + SEAL_TAG at ret. All but the last have SEAL_CHUNK bytes. */
int seal_chunk(struct seal *s, const void *plain, size_t n, bool last, unsigned char *ret, struct err *e);
/* The next chunk back: n bytes (tag included) become n - SEAL_TAG at ret. ERR_INVALID when it is not the one that was sealed at this place. */
int seal_unchunk(struct seal *s, const void *sealed, size_t n, bool last, unsigned char *ret, struct err *e);

/* The first line of a file, "-": of standard input. ERR_INVALID when it is empty or too long. The caller wipes it with passphrase_done(). */
int passphrase_read(const char *path, struct buf *ret, struct err *e);
void passphrase_done(struct buf *b);

#endif
