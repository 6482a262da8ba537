// SPDX-License-Identifier: Apache-2.0
/*
 * view.h - images as replies of the API. Each function fills a generated struct that the caller releases. Any thread.
 */
#ifndef HATAKE_IMAGE_VIEW_H
#define HATAKE_IMAGE_VIEW_H

#include "image/image.h"
#include "types.h"
#include "wire/filters.h"

int image_inspect(struct images *s, struct image *i, struct api_image_inspect *ret, struct err *e);
int image_history(struct images *s, struct image *i, struct api_image_history_item_list *ret, struct err *e);
enum image_list_flag {
    IMAGE_LIST_ALL = 1,    /* images below others that have no name, too */
    IMAGE_LIST_SHARED = 2, /* compute SharedSize */
    IMAGE_LIST_NONE = 4,   /* the form before API 1.43, where an image without names is called <none>:<none> */
    IMAGE_LIST_USERS = 8,  /* count Containers */
    IMAGE_LIST_NULL = 16,  /* no names is null, not an empty list */
};
/* Newest first. `flags`: enum image_list_flag. Errors as the reference words them. */
int image_list(struct images *s, unsigned flags, const struct filters *f, struct api_image_summary_list *ret, struct err *e);
/* Filters `label` and `label!`. */
bool image_labels_match(const struct filters *f, const struct image *i);

/* A time as clients get it: seconds since 1970; for CLOCK_ZERO Go's zero time. */
int64_t image_unix_seconds(int64_t ns);

#endif
