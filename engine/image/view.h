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
/* Newest first. `shared`: compute SharedSize; `none`: the form before API 1.43, where an image without names is called <none>:<none>. Errors as the reference words them. */
int image_list(struct images *s, bool all, bool shared, bool none, const struct filters *f, struct api_image_summary_list *ret, struct err *e);
/* Filter `until`: the time it stands for, CLOCK_ZERO when it is not given. */
/* Filters `label` and `label!`. */
bool image_labels_match(const struct filters *f, const struct image *i);

#endif
