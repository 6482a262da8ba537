// SPDX-License-Identifier: Apache-2.0
/*
 * verify.h - the signature policy at work: what a pull must find, and what the store remembers of it.
 *
 * A pull looks for signatures where cosign puts them: the tag sha256-<hex>.sig of the same repository, and what refers to the image (OCI distribution-spec 1.1,
 * "Listing Referrers"), for the digest that the name points to and for that of the platform's manifest; one that holds for either is enough, since the first contains the
 * second. What was verified is kept by image id, so that starting containers asks no registry. Threads: any.
 */
#ifndef HATAKE_IMAGE_VERIFY_H
#define HATAKE_IMAGE_VERIFY_H

#include "base/err.h"
#include "image/image.h"

struct db;
struct reference;
struct registry_session;

int verify_migrate(struct db *db, struct err *e);

/* Signatures that held during one pull. */
struct verified {
    struct {
        char *reference;
        char key[72]; /* fingerprint */
    } * v;
    size_t n;
    char manifest[72];
};
void verified_done(struct verified *v);

/* Before anything is asked of the registry: ERR_FORBIDDEN for a name that the policy rejects whatever is signed. */
int verify_name(struct images *s, const struct reference *ref, struct err *e);
/*
 * Meet the policy for ref before a byte of the image is fetched; `named` is the digest that the name points to, `manifest` that of the platform's manifest (maybe the
 * same). ERR_FORBIDDEN says which rule wants which key and what was found instead. Without a policy it does nothing.
 */
int verify_pull(struct images *s, struct registry_session *session, const struct reference *ref, const char *named, const char *manifest,
                struct verified *ret, struct err *e);
/* Remember it for the image that came of the pull. */
int verify_note(struct images *s, const char *image_id, const struct verified *v, struct err *e);

#endif
