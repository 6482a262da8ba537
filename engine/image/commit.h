// SPDX-License-Identifier: Apache-2.0
/*
 * commit.h - an image from another image and what a container changed (docker commit).
 *
 * Life cycle: image_commit_begin, image_commit_feed with the archive of the changes (OCI image-spec, layer.md), image_commit_end, image_commit_free. Without
 * image_commit_end nothing is left. Threads: one at a time per object. Feeding blocks while the archive is unpacked.
 */
#ifndef HATAKE_IMAGE_COMMIT_H
#define HATAKE_IMAGE_COMMIT_H

#include <stddef.h>

#include "base/err.h"

struct api_container_config;
struct image_commit;
struct images;
struct reference;

struct image_commit_info {
    const char *container_id;                                     /* whose changes they are */
    const char *author, *comment;                                 /* NULL: none */
    const struct api_container_config *config, *container_config; /* of the image; of the container as it is */
    const struct reference *name;                                 /* path NULL: no name */
};

/* parent_id "": an image without a parent. ERR_NOT_FOUND when the parent is not there any more. */
int image_commit_begin(struct images *s, const char *parent_id, struct image_commit **ret, struct err *e);
int image_commit_feed(struct image_commit *c, const void *p, size_t n, struct err *e);
/* All was fed: make the layer (none when nothing was changed) and the image, name it, publish "tag". *ret_id: fresh memory. */
int image_commit_end(struct image_commit *c, const struct image_commit_info *info, char **ret_id, struct err *e);
/* NULL is fine. Returns NULL. */
struct image_commit *image_commit_free(struct image_commit *c);

#endif
