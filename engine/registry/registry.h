// SPDX-License-Identifier: Apache-2.0
/*
 * registry.h - a client of image registries: find the endpoint, authenticate, read manifests and blobs.
 *
 * Source: OCI distribution-spec 1.1, and the token scheme registries use (RFC 6750 challenges). Knows nothing of images.
 *
 * struct registry holds what the configuration says (insecure registries, mirrors, attempts). A session is one repository with one set of credentials: it has chosen
 * an endpoint and keeps its token. Errors carry the texts of the reference engine ("pull access denied for x, ...", "manifest for x:y not found: ...",
 * `Get "https://x/v2/": dial tcp: ...`), kinds ERR_NOT_FOUND where the reference answers 404, ERR_INTERNAL otherwise, ERR_CANCELLED when `cancelled` said so.
 *
 * Safety: credentials go to the registry's own origin or an https realm only and are wiped after use; redirects (at most LIMIT_REDIRECTS) never carry them;
 * every size is bounded; a peer that sends less than 1 byte a second for 60 s is given up.
 *
 * Threads: a registry may be used by all. A session: registry_blob(), _ref, _forget_caller and _free from several threads at once, everything else by one.
 */
#ifndef HATAKE_REGISTRY_REGISTRY_H
#define HATAKE_REGISTRY_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/engine.h"
#include "base/err.h"
#include "base/strv.h"
#include "registry/reference.h"

struct registry;
struct registry_session;

/* The configuration is kept by reference. Another one may take its place while sessions run; the old one must stay valid. */
void registry_set_config(struct registry *r, const struct engine_config *config);
int registry_new(const struct engine_config *config, struct registry **ret, struct err *e);
struct registry *registry_free(struct registry *r);

struct registry_auth {
    char *username, *password, *identity_token, *registry_token, *server_address;
};
/* The X-Registry-Auth header: base64url of a JSON object; NULL, "" and "{}" give empty credentials. ERR_INVALID when it is neither. */
int registry_auth_parse(const char *header, struct registry_auth *ret, struct err *e);
/* Wipes. */
void registry_auth_done(struct registry_auth *a);

typedef bool registry_cancelled_fn(void *arg);

/*
 * Find the endpoint of the reference's registry that answers (mirrors first for docker.io; https, then http where it may be insecure). auth may be NULL.
 * `cancelled` (may be NULL) is asked several times a second during every transfer of the session.
 */
int registry_session_new(struct registry *r, const struct reference *ref, const struct registry_auth *auth, registry_cancelled_fn *cancelled,
                         void *arg, struct registry_session **ret, struct err *e);
/*
 * The same repository, credentials and caller at the next place that answers: what a mirror does not have or cannot give, the next mirror or the registry itself may. 0 with *ret
 * NULL when there is none, which is always so but for a mirror.
 */
int registry_session_elsewhere(const struct registry_session *s, struct registry_session **ret, struct err *e);
/* Counted: another one who needs it as long as the first. Returns s. */
struct registry_session *registry_session_ref(struct registry_session *s);
/* From now on `cancelled` is not asked any more: its caller goes, while others go on with the session. */
void registry_session_forget_caller(struct registry_session *s);
/* The last one ends it. NULL is fine. Returns NULL. */
struct registry_session *registry_session_free(struct registry_session *s);

/*
 * What a session is for decides what tokens it asks for and how errors are worded: PULL names the image ("manifest for x:y not found: ..."), ASK gives all that
 * the registry said, with its kinds, PUSH the first thing it said. PULL until set; to be set before the first request.
 */
enum registry_purpose { REGISTRY_PULL, REGISTRY_ASK, REGISTRY_PUSH };
void registry_session_purpose(struct registry_session *s, enum registry_purpose purpose);

#define REGISTRY_TYPE_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define REGISTRY_TYPE_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define REGISTRY_TYPE_DOCKER_SCHEMA1 "application/vnd.docker.distribution.manifest.v1+prettyjws"
#define REGISTRY_TYPE_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define REGISTRY_TYPE_OCI_INDEX "application/vnd.oci.image.index.v1+json"

struct registry_manifest {
    struct buf body;  /* at most LIMIT_MANIFEST_BYTES; exactly what was sent */
    char *media_type; /* of the Content-Type header, without parameters */
    char digest[72];  /* "sha256:..." computed over body; equal to the digest asked for when there was one */
};
#define REGISTRY_MANIFEST_INIT ((struct registry_manifest){.body = BUF_INIT(LIMIT_MANIFEST_BYTES)})
void registry_manifest_done(struct registry_manifest *m);
/* `what` is a tag or a digest. A body that does not have the digest asked for is refused. */
int registry_get_manifest(struct registry_session *s, const char *what, struct registry_manifest *ret, struct err *e);

/*
 * What refers to a digest: an index (OCI distribution-spec 1.1, "Listing Referrers"), its first page. ERR_NOT_FOUND from registries that do not keep such lists.
 */
int registry_get_referrers(struct registry_session *s, const char *digest, struct registry_manifest *ret, struct err *e);

/* All tags of the repository (at most 100,000). */
int registry_get_tags(struct registry_session *s, struct strv *ret, struct err *e);

/*
 * Bytes of a blob from `offset` on, in order, to `sink`; each byte exactly once. A broken transfer is resumed by range, up to the configured number of attempts in all
 * without progress. `size` is what the manifest says of the whole blob: more or fewer bytes are an error. The digest is the caller's to check. A call of the sink
 * with no bytes says that nothing has come for a while. `cancelled` (NULL: the session's) ends this blob alone.
 */
typedef int registry_sink_fn(void *arg, const void *p, size_t n, struct err *e);
int registry_blob(struct registry_session *s, const char *digest, int64_t offset, int64_t size, registry_sink_fn *sink, void *arg,
                  registry_cancelled_fn *cancelled, void *cancelled_arg, struct err *e);

/*
 * GET any address without credentials, its body to `sink`. A status other than 200 is an error with the reference's words, its kind that
 * of the status (400, 401, 403, 404), else ERR_INTERNAL. `cancelled` is asked now and then
 * and may be NULL. *ret_length: so many bytes will come, -1 when the server does not say; set before the first of them.
 */
int registry_fetch(struct registry *r, const char *url, registry_cancelled_fn *cancelled, void *cancelled_arg, registry_sink_fn *sink, void *arg,
                   int64_t *ret_length, struct err *e);

/* ---- sending (push.c) ------------------------------------------------------------------------------------------------------------------------- */

/*
 * Is the blob in the session's repository? 1 (its size in *ret_size), 0, or negative. All functions of this part may be used from several threads at once.
 */
int registry_has_blob(struct registry_session *s, const char *digest, int64_t *ret_size, struct err *e);
/* Make a blob of another repository of this registry known here. 1: done, its size in *ret_size; 0: the registry would rather be sent it. */
int registry_mount_blob(struct registry_session *s, const char *digest, const char *from, int64_t *ret_size, struct err *e);

/* Next bytes of what is sent, at most n (n > 0); 0 at the end. May block, not longer than the session is not cancelled. */
typedef ssize_t registry_read_fn(void *arg, void *p, size_t n, struct err *e);
struct registry_source {
    registry_read_fn *read;
    int (*rewind)(void *arg, struct err *e); /* back to the first byte: the same bytes come again */
    void *arg;
    const char *digest; /* what it shall be, of `size` bytes, or NULL: not known beforehand */
    int64_t size;
};
/*
 * Send a blob. One that is known beforehand goes in one request; when it turns out to be another one it is taken back before its end, which is no error: *ret_digest
 * differs then. One of unknown size goes as it comes: small ones in one request, others in one long one. When the connection breaks the registry is asked how much it has
 * and gets the rest. *ret_retry (also on failure): another attempt from the start may help.
 */
int registry_send_blob(struct registry_session *s, const struct registry_source *source, char ret_digest[72], int64_t *ret_size, bool *ret_retry,
                       struct err *e);
/* Put a manifest under a tag or a digest. */
int registry_put_manifest(struct registry_session *s, const char *what, const char *media_type, const void *p, size_t n, struct err *e);

/*
 * Ask an index for images whose name or description has the term: the public one, or the one a term like "host:port/name" names. The body of its answer, JSON of
 * the form {"results": [{"name", "description", "star_count", "is_official"...}]}, goes to ret. limit 0: 25. Credentials go to the index itself only, by TLS.
 * ERR_INVALID when there is no such index, ERR_INTERNAL when it fails.
 */
#define REGISTRY_SEARCH_BYTES MIB(4)
int registry_search(struct registry *r, const char *term, int64_t limit, const struct registry_auth *auth, registry_cancelled_fn *cancelled,
                    void *arg, struct buf *ret, struct err *e);

/* Log in: check credentials with the registry `server` (host or URL; NULL: the default one). *ret_token: identity token or NULL. */
int registry_login(struct registry *r, const struct registry_auth *auth, char **ret_token, struct err *e);

#endif
