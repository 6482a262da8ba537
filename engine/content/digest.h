// SPDX-License-Identifier: Apache-2.0
/*
 * digest.h - digests as registries and images write them: "sha256:" and 64 lower-case hex digits (OCI image-spec, descriptor.md "Digests"). Any thread.
 */
#ifndef HATAKE_CONTENT_DIGEST_H
#define HATAKE_CONTENT_DIGEST_H

#include <openssl/types.h>
#include <stddef.h>

#define DIGEST_SIZE 72 /* with the NUL */

/* Of n bytes. */
void digest_of(const void *p, size_t n, char ret[DIGEST_SIZE]);
/* Of all that went into a SHA-256 sum, which ends with that; "", which is nothing's digest, where the library failed. */
void digest_end(EVP_MD_CTX *sum, char ret[DIGEST_SIZE]);

#endif
