// SPDX-License-Identifier: Apache-2.0
/*
 * image.h - images: records, names, and the operations on them.
 *
 * An image is named by the digest of its configuration document ("sha256:<64 hex>"). Names (repository:tag) and digests
 * (repository@sha256:...) point to it. Layers are shared (layers/layers.h).
 *
 * Life cycle: struct image is immutable and counted; a reference stays good after the image was deleted. The parsed configuration lives as long as it.
 * Threads: any. Reads take a snapshot and never wait for pulls or loads.
 */
#ifndef HATAKE_IMAGE_IMAGE_H
#define HATAKE_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strv.h"

struct api_container_config;
struct engine;
struct image;
struct images;
struct reference;

/* Needs db, content, layers, registry and events of the engine in place. Loads all records. */
int images_new(const struct engine *engine, struct images **ret, struct err *e);
struct images *images_free(struct images *s);
/* For /info. */
int64_t images_count(struct images *s);

/*
 * Find an image by what a user typed: name[:tag], name@digest, full id, "sha256:" id, or a unique id prefix. *ret gets a counted reference.
 * ERR_NOT_FOUND "No such image: busybox:latest" (the familiar name with its tag), ERR_INVALID "invalid reference format" and relatives.
 */
int images_resolve(struct images *s, const char *ref, struct image **ret, struct err *e);

struct image *image_ref(struct image *i);
struct image *image_unref(struct image *i);
const char *image_id(const struct image *i);
/* Part `config` of the image: env, cmd, entrypoint, user, volumes ...; never NULL, fields may be unset. Borrowed. */
const struct api_container_config *image_config(const struct image *i);
const char *image_os(const struct image *i);
const char *image_architecture(const struct image *i);
const char *image_variant(const struct image *i); /* "" when the image has none */
/* Chain ID of the top layer, for layers_container_create(); "" for an image without layers. */
const char *image_top_chain(const struct image *i);
/* Labels etc. for events and lists: the first name the image has ("busybox:latest"), or "" when it has none. Fresh memory. */
char *images_first_name(struct images *s, const char *image_id);

/*
 * The name a request gives as repository and tag ("latest" without): ret->path stays NULL when there is no repository. ERR_INVALID with the reference's words.
 */
int repo_tag_reference(const char *repo, const char *tag, struct reference *ret, struct err *e);

/*
 * The signature policy (policy.h) of daemon.json; NULL or "": none. ERR_INVALID says what is wrong with the file; the policy before it stays in force then.
 */
int images_load_policy(struct images *s, const char *path, struct err *e);
/* Could it be loaded? */
int images_check_policy(const char *path, struct err *e);
/*
 * May containers be made of and started from the image, asked for by the text `typed` (a name or an id)? ERR_FORBIDDEN says what refuses it and what to do.
 */
int images_may_use(struct images *s, const char *image_id, const char *typed, struct err *e);

/*
 * Who uses an image: set once by container/ at start. Fills ret_container with the id of one container made from image_id that is running
 * (`running`) or not running (`!running`); returns true when there is one.
 */
typedef bool (*images_in_use_fn)(void *arg, const char *image_id, bool running, char ret_container[65]);
void images_set_in_use(struct images *s, images_in_use_fn fn, void *arg);
/* Containers made from the image, for ImageSummary.Containers: set once by container/; NULL: unknown (-1). */
typedef int64_t (*images_users_fn)(void *arg, const char *image_id);
void images_set_users(struct images *s, images_users_fn fn, void *arg);

#endif
