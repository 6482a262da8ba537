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
/* Newest first. `shared`: compute SharedSize. Errors as the reference words them. */
int image_list(struct images *s, bool all, bool shared, const struct filters *f, struct api_image_summary_list *ret, struct err *e);

#endif
