// SPDX-License-Identifier: Apache-2.0
/*
 * volume-internal.h - inside of volume/.
 *
 * Locking: volumes.lock guards the map and each volume's holders and state; it is not held over file system work. A volume being made or removed
 * is `busy`: others wait on volumes.changed. volume.copying serialises first-use copies and mounts of one volume.
 */
#ifndef HATAKE_VOLUME_VOLUME_INTERNAL_H
#define HATAKE_VOLUME_VOLUME_INTERNAL_H

#include <pthread.h>

#include "base/engine.h"
#include "base/map.h"
#include "types.h"
#include "volume/volume.h"
#include "wire/filters.h"

struct volume {
    int refs;                 /* atomic */
    struct api_volume record; /* immutable: what the API shows and the table keeps */
    int64_t created;          /* wall clock, ns */
    bool anonymous;
    bool has_device; /* driver options ask for a mount */
    pthread_mutex_t copying;
    /* guarded by volumes.lock */
    struct strv holders; /* container ids */
    bool busy, gone;
    unsigned uses;
    bool mounted; /* guarded by copying */
};

struct volumes {
    struct engine *engine;
    char *root; /* <data root>/volumes */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct map by_name;
};

extern const char *const volume_anonymous_label;

/* ---- volume-store.c ---- */
int volume_store_setup(struct volumes *vs, struct err *e);
int volume_store_load(struct volumes *vs, struct err *e);
int volume_store_add(struct volumes *vs, const struct volume *v, struct err *e);
int volume_store_remove(struct volumes *vs, const char *name, struct err *e);

/* ---- volume.c ---- */
/* From a record (taken over, also on failure). */
int volume_from_record(struct api_volume *record, struct volume **ret, struct err *e);
/* The map takes a reference. */
int volumes_enter(struct volumes *vs, struct volume *v, struct err *e);
/* All, oldest first, counted. Caller unrefs each and frees the array. */
int volumes_all(struct volumes *vs, struct volume ***ret, size_t *ret_n, struct err *e);
/* 0, or ERR_INVALID with the reference's text (without the "create NAME: " before it). */
int volume_check_name(const char *name, struct err *e);
void volumes_event(struct volumes *vs, const struct volume *v, const char *action, const struct strv *more);

/* ---- volume-mount.c ---- */
int volume_check_options(const struct api_string_map *opts, struct err *e);
int volume_do_mount(struct volume *v, struct err *e);
void volume_do_unmount(struct volume *v);

/* ---- copy.c ---- */
/* Copy the tree at src into the folder dst (both descriptors of folders), nothing overwritten. */
int volume_copy_tree(int src, int dst, struct err *e);

#endif
