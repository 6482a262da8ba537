// SPDX-License-Identifier: Apache-2.0
/*
 * volume-internal.h - inside of volume/.
 *
 * Locking: volumes.lock guards the map and each volume's holders and state; it is not held over file system work. A volume being made or removed
 * is `busy`: others wait on volumes.changed. While a plugin is asked about a volume that a container wants, it is busy too. volume.copying serialises first-use
 * copies and mounts of one volume, and guards its uses.
 */
#ifndef HATAKE_VOLUME_VOLUME_INTERNAL_H
#define HATAKE_VOLUME_VOLUME_INTERNAL_H

#include <pthread.h>

#include "base/engine.h"
#include "base/map.h"
#include "types.h"
#include "volume/volume.h"
#include "wire/filters.h"

struct plugin;
struct plugins;

/* One mount of a volume that has to be mounted, by a container. Also a row, written before the mount is made and removed after it is undone. */
struct volume_use {
    char *id; /* what the plugin knows it by */
    char *container;
    bool claimed; /* false: a row of an earlier engine, whose container has not come back (yet) */
};

struct volume {
    int refs;                 /* atomic */
    struct api_volume record; /* immutable: what the API shows and the table keeps */
    int64_t created;          /* wall clock, ns */
    bool anonymous;
    bool has_device; /* driver options ask for a mount */
    bool remote;     /* a plugin keeps it */
    pthread_mutex_t copying;
    /* guarded by volumes.lock */
    struct strv holders; /* container ids */
    bool busy;
    struct strv runs; /* ids of containers that run with it */
    char *seen_at;    /* remote: CreatedAt as the plugin gave it last; NULL: it was not asked */
    /* guarded by copying */
    struct volume_use *uses; /* of volumes with a device, and of remote ones */
    size_t n_uses;
    bool mounted;
};

struct volumes {
    struct engine *engine;
    char *root; /* <data root>/volumes */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct map by_name;
    struct map scopes; /* names of the plugins that keep volumes, with their scope */
    struct plugins *plugins;
};

extern const char *const volume_anonymous_label;

/* ---- volume-store.c ---- */
int volume_store_setup(struct volumes *vs, struct err *e);
int volume_store_load(struct volumes *vs, struct err *e);
int volume_store_add(struct volumes *vs, const struct volume *v, struct err *e);
int volume_store_remove(struct volumes *vs, const char *name, struct err *e);
int volume_store_use(struct volumes *vs, const struct volume *v, const struct volume_use *u, struct err *e);
int volume_store_unuse(struct volumes *vs, const char *id, struct err *e);

/* ---- volume.c ---- */
/* From a record (taken over, also on failure). */
int volume_from_record(struct api_volume *record, struct volume **ret, struct err *e);
/* What follows from the record. */
void volume_settle_record(struct volume *v);
/* The map takes a reference. */
int volumes_enter(struct volumes *vs, struct volume *v, struct err *e);
/* All, oldest first, counted. Caller unrefs each and frees the array. */
int volumes_all(struct volumes *vs, struct volume ***ret, size_t *ret_n, struct err *e);
/* 0, or ERR_INVALID with the reference's text (without the "create NAME: " before it). */
int volume_check_name(const char *name, struct err *e);
/* What the plugin of a remote volume says of it now. "get x: no such volume" (ERR_NOT_FOUND). */
struct volume_facts;
int volume_ask(struct volumes *vs, struct volume *v, struct volume_facts *ret, struct err *e);
void volumes_event(struct volumes *vs, const struct volume *v, const char *action, const struct strv *more);

/* With the lock held: the volume once nobody makes, removes or refills it; NULL when there is none. */
struct volume *volumes_settled(struct volumes *vs, const char *name);
/* The end of being busy; without `keep` the name is free again and the map's reference dropped. */
void volumes_finish_busy(struct volumes *vs, struct volume *v, bool keep);

/* ---- volume-make.c ---- */
/* All but the name, which is there. Options are checked. anonymous: labelled so, unless the request is `unmarked`. */
int volume_fill_record(struct volumes *vs, const struct volume_request *req, bool anonymous, struct api_volume *r, struct err *e);
/* <root>/<name> and its _data, with the volume's limit. */
int volume_make_folders(struct volumes *vs, const struct volume *v, struct err *e);
/* And away with all that is in them. None is success. */
int volume_remove_folders(struct volumes *vs, const char *name, struct err *e);

/* ---- volume-take.c ---- */
/* Give `to` (folder, no row yet when `fresh`) the data of `from`, which is removed. Both are busy. */
int volume_take_data(struct volumes *vs, const struct volume *to, const struct volume *from, bool fresh, struct err *e);
/* At start: undo what was not finished. */
int volume_take_recover(struct volumes *vs, struct err *e);

/* ---- volume-use.c ---- */
int volume_add_use(struct volume *v, const char *id, const char *container, bool claimed, struct err *e);

/* ---- volume-mount.c ---- */
/* Driver options of the local driver, as POST /volumes/create gets them. */
int volume_check_options(struct volumes *vs, const struct api_string_map *opts, struct err *e);
/* "10m", "1.5GiB": bytes. 0 or -EINVAL. */
int volume_size_parse(const char *text, uint64_t *ret);
/* Mount and unmount the file system of a volume with a device, through the helper hatake-mount. */
int volume_do_mount(struct volumes *vs, struct volume *v, struct err *e);
void volume_do_unmount(struct volumes *vs, struct volume *v);
/* Is something mounted on its folder? */
bool volume_is_mounted(const struct volume *v);

/* ---- volume-size.c ---- */
/* Bytes of what lies in a local volume; -1 when that cannot be told. */
int64_t volume_bytes(const struct volume *v);
/* A local one without options: what prune removes and df counts. */
bool volume_is_plain(const struct volume *v);

/* ---- quota.c ---- */
/* Does the data root's file system enforce limits of projects? */
bool volumes_can_limit(struct volumes *vs);
int volume_limit_set(struct volumes *vs, const struct volume *v, uint64_t bytes, struct err *e);
/* No limit is success. */
int volume_limit_drop(struct volumes *vs, const char *name, struct err *e);
/* The folders of two volumes have changed places: so do their limits' records. */
int volume_limit_swap(struct volumes *vs, const char *a, const char *b, struct err *e);

/* ---- volume-driver.c ---- */
/* What a plugin says of a volume. */
struct volume_facts {
    char *mountpoint, *created;
    json_t *status;
};
void volume_facts_done(struct volume_facts *f);
extern const char volume_no_time[]; /* CreatedAt of a volume whose plugin does not tell */
/* "error looking up volume plugin x: plugin \"x\" not found" (ERR_NOT_FOUND). patient: for one that may still be starting. */
int volume_driver_find(struct volumes *vs, const char *driver, bool patient, struct plugin **ret, struct err *e);
/* "global" or "local". */
const char *volume_driver_scope(struct plugin *p);
/* The same, asked once. */
const char *volume_scope_of(struct volumes *vs, struct plugin *p);
/* ERR_NOT_FOUND when the plugin does not have it or says anything strange; ERR_INTERNAL when it cannot be asked. */
int volume_driver_get(struct plugin *p, const char *name, struct volume_facts *ret, struct err *e);
int volume_driver_create(struct plugin *p, const struct api_volume *record, struct err *e);
int volume_driver_remove(struct plugin *p, const char *name, struct err *e);
int volume_driver_path(struct plugin *p, const char *name, char **ret, struct err *e);
int volume_driver_mount(struct plugin *p, const char *name, const char *id, char **ret, struct err *e);
int volume_driver_unmount(struct plugin *p, const char *name, const char *id, struct err *e);
/* Does any plugin have a volume of that name? 1 (with the plugin and what it says), 0. */
int volume_driver_probe(struct volumes *vs, const char *name, struct plugin **ret, struct volume_facts *ret_facts, struct err *e);
/* The volumes of all plugins that can be found; warnings name those that fail. */
int volume_driver_list(struct volumes *vs, struct api_volume_list *ret, struct api_string_list *warnings, struct err *e);

/* ---- copy.c ---- */
/* Copy the tree at src into the folder dst (both descriptors of folders), nothing overwritten. */
int volume_copy_tree(int src, int dst, struct err *e);

#endif
