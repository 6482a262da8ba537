// SPDX-License-Identifier: Apache-2.0
/*
 * pull.h - pulling an image and telling a client about it. Blocks until done; stops within a second when the client goes away.
 */
#ifndef HATAKE_IMAGE_PULL_H
#define HATAKE_IMAGE_PULL_H

#include <stdbool.h>

#include "base/err.h"

struct call;
struct images;
struct progress;
struct reference;

/* fromImage and tag of a request: the tag may be a digest; neither: all tags. ERR_INVALID with the reference's words. */
int pull_reference(const char *image, const char *tag, struct reference *ret, struct err *e);
/* Pull ref (no tag and no digest: every tag). `platform`: os/arch[/variant] or NULL. Credentials come from the call's X-Registry-Auth. */
int images_pull_reference(struct images *s, struct call *c, const struct reference *ref, const char *platform, struct progress *progress,
                          struct err *e);

#endif
