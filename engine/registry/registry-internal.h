// SPDX-License-Identifier: Apache-2.0
/* registry-internal.h - shared by the files of registry/ only. */
#ifndef HATAKE_REGISTRY_INTERNAL_H
#define HATAKE_REGISTRY_INTERNAL_H

#include <curl/curl.h>
#include <openssl/types.h>
#include <pthread.h>

#include "registry/registry.h"

#define HANDLES_KEPT 8

struct authorities;

struct registry {
    const struct engine_config *_Atomic config;
    pthread_mutex_t lock; /* of authorities */
    struct authorities *authorities;
};

enum auth_scheme { AUTH_NONE, AUTH_BASIC, AUTH_BEARER };

struct registry_session {
    _Atomic int refs;
    struct registry *registry;
    struct reference ref;
    char *base; /* "https://registry-1.docker.io" */
    char *host; /* its host and port */
    bool skip_verify;
    struct registry_auth auth;     /* what this place may see */
    struct registry_auth own_auth; /* while it is a mirror: what the registry itself may see */
    size_t mirror;                 /* 1 for the first mirror, 2 for the next...; 0: the registry itself */
    enum auth_scheme scheme;
    char *realm, *service;
    enum registry_purpose purpose;
    registry_cancelled_fn *cancelled; /* under lock */
    void *cancelled_arg;
    pthread_mutex_t lock; /* of cancelled, token, token_until, handles */
    char *token;
    char *token_from;    /* repository to mount from that the token is good for too, or NULL */
    bool want_refresh;   /* login: ask for a refresh token as well */
    char *refresh_token; /* what was given */
    int64_t token_until; /* monotonic ns */
    CURL *handles[HANDLES_KEPT];
    size_t n_handles;
};

/* Has the session's caller gone? Any thread. */
bool session_cancelled(struct registry_session *s);

/* ---- transfer.c: one HTTP exchange */
struct transfer {
    /* in */
    struct registry_session *s;
    const char *method; /* "GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"; also what error texts show ("Get"), unless `shown` */
    const char *shown;  /* "Head" where the reference would have asked by HEAD */
    const char *url;
    const char *authorization; /* whole value, or NULL */
    const char *accept;        /* NULL: none */
    const char *form;          /* POST body, urlencoded */
    registry_read_fn *upload;  /* body of a POST, PATCH or PUT; `form` NULL and this NULL: an empty one */
    void *upload_arg;
    int64_t upload_size;      /* of that body, -1: sent in chunks */
    const char *upload_type;  /* its Content-Type, or NULL */
    const char *upload_range; /* its Content-Range, or NULL */
    const char *mount_from;   /* the token must allow reading this repository too, or NULL */
    int64_t range_from;       /* > 0: Range: bytes=N- */
    struct buf *body;         /* collect the reply here... */
    registry_sink_fn *sink;   /* ...or hand a 200/206 to this */
    void *sink_arg;
    bool tell_idle;                   /* call the sink with no bytes when nothing comes for a while */
    registry_cancelled_fn *cancelled; /* NULL: the session's */
    void *cancelled_arg;
    bool any_origin; /* token servers: TLS settings of this registry do not apply */
    /* out */
    long status;
    char *content_type, *challenge, *location;
    int64_t content_length; /* -1: not said */
    int64_t range_to;       /* of an upload's Range header: last byte that is there; -1: not said */
    int64_t retry_after;    /* seconds, 0 when not said */
    struct buf failure;     /* body of a reply that is no success, when there is a sink */
    bool partial;           /* the reply was 206 */
    /* inner */
    struct err sink_err;
    int sink_result;
    char dialled[128];
    X509_STORE *trusted; /* counted */
    bool was_cancelled;
    int64_t last_bytes; /* monotonic ns; 0: none since it was told */
};
void transfer_done(struct transfer *t);
/*
 * Do it. 0 when a whole reply came, whatever its status; ERR_CANCELLED; or ERR_UNAVAILABLE with the text `Get "url": dial tcp ...` when it did not (a broken
 * body included); the sink's own error when that refused.
 */
int transfer_run(struct transfer *t, struct err *e);

/* ---- client.c */
/* Run with authorization; a 401 although a token was sent means that it has expired: once more with a fresh one, unless there is a body to send. */
int session_run(struct transfer *t, const char *shown, struct err *e);
/* Named as insecure, or resolving into a network that is. */
bool registry_may_be_insecure(const struct engine_config *c, const char *host_port);
/* ERR_UNAVAILABLE (nobody answered) is ERR_INTERNAL for the API. */
int registry_as_internal(int r, struct err *e);

/* ---- authorities.c */
/* Whom to trust when talking to host (with port); free *ret with X509_STORE_free(). Any thread. */
int authorities_get(struct registry *r, const char *host, X509_STORE **ret, struct err *e);
/* Paths of the client certificate for host; untouched when there is none. Free both. */
int client_certificate(const char *host, char **ret_cert, char **ret_key, struct err *e);
void authorities_done(struct registry *r);

/* ---- auth.c */
/* Read a WWW-Authenticate header into the session. */
int auth_challenge(struct registry_session *s, const char *header, struct err *e);
/* Value for Authorization in fresh memory, NULL when none is needed. `shown` and `url` are for the text of failures. */
int auth_header(struct registry_session *s, const char *shown, const char *url, const char *mount_from, bool renew, char **ret, struct err *e);
/* Value of a parameter of a challenge: key="value" or key=value (RFC 9110, 11.2). Fresh memory or NULL. */
char *auth_parameter(const char *header, const char *key);
void wipe(char **s);

/* ---- reply.c */
/* Turn a reply that is no success into an error in the reference's words, naming the code and message of its body: the first one, ERR_INTERNAL. */
int auth_reply_error(long status, const struct buf *body, const char *challenge, const char **ret_code, struct err *e);
/* The same with everything the reply says, and the kind of the first code. */
int reply_errors(long status, const struct buf *body, const char *challenge, struct err *e);
/* "Not Found" for 404; "" for what nobody sends. */
const char *http_phrase(long status);

#endif
