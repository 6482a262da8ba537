// SPDX-License-Identifier: Apache-2.0
/*
 * reference.h - image names: [domain/]path[:tag][@digest].
 *
 * Canonical form always has a domain and, for Docker Hub, the library/ prefix ("docker.io/library/busybox"); the familiar form is what people type
 * ("busybox"). Grammar: distribution/reference. Texts of errors are those of the reference engine.
 * Threads: pure functions on caller's data.
 */
#ifndef HATAKE_REGISTRY_REFERENCE_H
#define HATAKE_REGISTRY_REFERENCE_H

#include <stdbool.h>

#include "base/err.h"

struct reference {
    char *domain; /* "docker.io", "localhost:5000" */
    char *path;   /* "library/busybox" */
    char *tag;    /* NULL when not given */
    char *digest; /* "sha256:..." or NULL */
};
#define REFERENCE_INIT ((struct reference){0})
#define _cleanup_reference_ __attribute__((cleanup(reference_done)))

void reference_done(struct reference *r);
/* Parse and normalise what a user typed. ERR_INVALID "invalid reference format", "... repository name (library/X) must be lowercase" ... */
int reference_parse(const char *s, struct reference *ret, struct err *e);
/* The same, and refuse 64 hex digits (an id, not a name). reference_parse() does so too; kept apart for callers that test first. */
bool reference_is_id(const char *s);
int reference_copy(struct reference *to, const struct reference *from, struct err *e);
/* Add ":latest" when there is neither tag nor digest. */
int reference_default_tag(struct reference *r, struct err *e);
/* Fresh strings; NULL when memory ran out. */
char *reference_familiar(const struct reference *r);      /* busybox:latest, with tag and digest as they are */
char *reference_familiar_name(const struct reference *r); /* busybox */
char *reference_canonical(const struct reference *r);     /* docker.io/library/busybox:latest */
char *reference_name(const struct reference *r);          /* docker.io/library/busybox */

/* "sha256:" and 64 lower-case hex digits (R14). */
bool digest_is_valid(const char *s);
/* A tag: [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}. */
bool tag_is_valid(const char *s);

#endif
