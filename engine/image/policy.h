// SPDX-License-Identifier: Apache-2.0
/*
 * policy.h - which images may be used: the document of containers-policy.json(5).
 *
 * Understood: `default`; `transports.docker` with scopes (a name with tag or digest, a repository, what it is below, a registry, "*.domain", "") and
 * `transports.docker-daemon` with the scope "" (images that have no name); requirements `insecureAcceptAnything`, `reject`, `sigstoreSigned` with keyPath,
 * keyPaths, keyData, keyDatas and every kind of signedIdentity. What else the format knows (OpenPGP, certificates, transparency logs) is refused when the file is read: a
 * rule that is not understood guards nothing. Other transports are left alone; this engine never uses them.
 *
 * Life cycle: read once, immutable, counted. Threads: any.
 */
#ifndef HATAKE_IMAGE_POLICY_H
#define HATAKE_IMAGE_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "image/signature.h"

struct policy;
struct reference;

enum policy_type { POLICY_ACCEPT, POLICY_REJECT, POLICY_SIGNED };
enum policy_match { MATCH_REPO_DIGEST_OR_EXACT, MATCH_EXACT, MATCH_REPOSITORY, MATCH_EXACT_REFERENCE, MATCH_EXACT_REPOSITORY, MATCH_REMAP };

struct policy_requirement {
    enum policy_type type;
    /* of POLICY_SIGNED: any of these keys will do */
    struct signature_key **keys;
    size_t n_keys;
    enum policy_match match;
    char *first, *second; /* dockerReference or dockerRepository; prefix and signedPrefix */
};

/* All of its requirements must be met. */
struct policy_rule {
    char *where; /* `transports.docker["registry.example"]`, `default` */
    struct policy_requirement *v;
    size_t n;
};

/* Read a file. ERR_INVALID names the file and the place in it. */
int policy_load(const char *path, struct policy **ret, struct err *e);
int policy_parse(const char *path, const char *text, size_t n, struct policy **ret, struct err *e);
struct policy *policy_ref(struct policy *p);
/* NULL is fine. Returns NULL. */
struct policy *policy_unref(struct policy *p);
const char *policy_path(const struct policy *p);

/* The rule for an image used by this name: that of the narrowest scope. With both a tag and a digest the digest counts. */
const struct policy_rule *policy_rule_for(const struct policy *p, const struct reference *ref);
/* The rule for an image that has no name. */
const struct policy_rule *policy_rule_nameless(const struct policy *p);

/* Does a signature for `claimed` hold for an image used by the name `ref`, as this requirement's signedIdentity has it? */
bool policy_identity_fits(const struct policy_requirement *q, const struct reference *ref, const char *claimed);
/* What the requirement wants, for people: "a signature by the key /etc/x.pub (SHA256 12ab...)". Fresh memory, NULL when it ran out. */
char *policy_wants(const struct policy_requirement *q);
/* The key of the requirement with this fingerprint, or NULL. */
const struct signature_key *policy_key(const struct policy_requirement *q, const char *fingerprint);

#endif
