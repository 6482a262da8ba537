// SPDX-License-Identifier: Apache-2.0
/*
 * signature.h - keys that images may be signed with, and what a signature says.
 *
 * A signature is over a small JSON document (the claim) that names one manifest by its digest and the repository it was signed for. Form of claim and
 * signature: containers-signature(5), "critical" and "optional"; cosign's specs/SIGNATURE_SPEC.md. Keys: PEM, SubjectPublicKeyInfo; ECDSA and RSA
 * (PKCS #1 v1.5) over SHA-256, Ed25519 over the bytes themselves. Nothing is asked of anybody: no certificates, no transparency log.
 *
 * Threads: a key never changes and may be used by all.
 */
#ifndef HATAKE_IMAGE_SIGNATURE_H
#define HATAKE_IMAGE_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"

#define SIGNATURE_CLAIM_TYPE "application/vnd.dev.cosign.simplesigning.v1+json"
#define SIGNATURE_ANNOTATION "dev.cosignproject.cosign/signature"
#define SIGNATURE_ARTIFACT "application/vnd.dev.cosign.artifact.sig.v1+json"

struct signature_key;

/* `name` is what messages call it. ERR_INVALID: not one public key of these kinds, or one that is too weak. */
int signature_key_new(const char *pem, size_t n, const char *name, struct signature_key **ret, struct err *e);
/* NULL is fine. Returns NULL. */
struct signature_key *signature_key_free(struct signature_key *k);
const char *signature_key_name(const struct signature_key *k);
/* SHA-256 of the key itself (SubjectPublicKeyInfo, DER), 64 hex digits: the same key is the same whatever file it came from. */
const char *signature_key_fingerprint(const struct signature_key *k);

/* Was the signature made over these bytes with this key's other half? */
bool signature_is_by(const struct signature_key *k, const void *bytes, size_t n, const void *signature, size_t signature_n);

struct signature_claim {
    char *reference; /* docker-reference, as written */
    char digest[72]; /* docker-manifest-digest */
};
/* Only for bytes whose signature is good. ERR_INVALID says what is wrong with them. */
int signature_claim_read(const void *bytes, size_t n, struct signature_claim *ret, struct err *e);
void signature_claim_done(struct signature_claim *c);

/* RFC 4648 section 4 with its padding and nothing else; false: it is not, or longer than ret may be. */
bool signature_decode(const char *text, struct buf *ret);

#endif
