// SPDX-License-Identifier: Apache-2.0
/*
 * layers.h - read-only image layers and writable container layers, behind a driver interface.
 *
 * A layer is what one tar archive adds to the layers below it. It is named by its chain ID (OCI image-spec, config.md, "Layer ChainID"): the
 * digest of the archive (diff ID) for the lowest, SHA-256 of "<parent chain> <diff id>" above. Stored: the unpacked folder, and a compact
 * record of the archive's framing from which the exact bytes are made again (framing.h).
 *
 * Drivers: overlay2 (overlayfs over the folders, the default) and vfs (each layer a full copy of its parent; works everywhere).
 * On disk, in the places other programs look: <data root>/overlay2/<cache id>/diff, .../l/<short link>, .../<container mount id>/{diff,work,merged}.
 *
 * Life cycle: layers are counted by who uses them (child layers, images, containers, and callers of layers_get). The last layer_unref()
 * removes the layer: its row at once, its folder renamed away and deleted in the background.
 * Crash safety (R11, R18): a layer gets its row once its folder is synced (layers_settle). Folders being made are called tmp-..., those being removed gone-...;
 * layers_new() removes both, and finished folders that no row names.
 *
 * Threads: any. Blocking work (unpack, removal) never holds the lock.
 */
#ifndef HATAKE_LAYERS_LAYERS_H
#define HATAKE_LAYERS_LAYERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/strv.h"

struct db;
struct idmap;
struct layers;
struct layer;

struct layers_config {
    const char *data_root;
    const char *driver;      /* "overlay2", "vfs", or NULL: overlay2 when the data root bears it, else vfs */
    const char *libexec_dir; /* where hatake-unpack is */
    const struct idmap *ids; /* files get the owners that containers' users have on the machine; NULL: as archives say. Kept */
};

/* Open the store, load the rows, clear leftovers of a crash. The db must stay open until layers_free(). */
int layers_new(struct db *db, const struct layers_config *config, struct layers **ret, struct err *e);
/* Waits for background removals. Returns NULL. */
struct layers *layers_free(struct layers *l);

/* Name of a file system by its statfs(2) type, as /info shows it. */
const char *layers_fs_name(long type);
/* "overlay2" or "vfs". */
const char *layers_driver_name(const struct layers *l);
/* Pairs for /info DriverStatus: name, value, name, value, ... */
int layers_driver_status(const struct layers *l, struct strv *ret, struct err *e);
/* Unique bytes of all layers (/system/df LayersSize). */
int64_t layers_total_size(struct layers *l);

/* ---- image layers --------------------------------------------------------------------------------------------------- */

/* Find a layer by chain ID ("sha256:...") and take a reference; NULL when it is not there. */
struct layer *layers_get(struct layers *l, const char *chain_id);
struct layer *layer_ref(struct layer *layer);
/*
 * Bring this layer and those below it to the disk, with one sync for all, and only then make the rows by which they outlive a restart. Whoever makes
 * something durable that needs the layer calls this first; that change takes the rows to the disk with it (db_begin_soon). NULL is fine. The caller keeps its reference.
 */
int layers_settle(struct layer *top, struct err *e);
/* Give a reference back; the last one removes the layer from disk. NULL is fine. Returns NULL. */
struct layer *layer_unref(struct layer *layer);
/* The same; the chain IDs of the layers that went (this one first) are added to `removed`. */
struct layer *layer_unref_listing(struct layer *layer, struct strv *removed);
/*
 * The diff ID of the archive in a blob, where unpack_came_from() said so of the layer made from it, which has got its row (at any time, also if it was removed since). Whoever
 * has checked the blob's digest need not hash what is in it again.
 */
bool layers_blob_diff(struct layers *l, const char *digest, char ret[72]);
/*
 * The compressed blob the layer came from, where it is still there: a descriptor for reading, which the caller closes, its digest and size; -ENOENT without one. It lives as
 * long as its layer and as there is room for it. Nobody has looked at the bytes since they came: who sends them compares their digest.
 */
int layer_blob_open(struct layer *layer, char ret_digest[72], int64_t *ret_size);
/* It is not what it was, or not wanted. */
void layer_blob_drop(struct layer *layer);
/* Leave at most max_bytes of kept blobs, 8 GiB, and a tenth of the disk, and none where less than that tenth is free; those used longest ago go. */
void layers_trim_blobs(struct layers *l, int64_t max_bytes);
/* Remove layers that nobody took a reference on since layers_new(): called once, when all owners have taken theirs. */
int layers_sweep(struct layers *l, struct err *e);
const char *layer_chain_id(const struct layer *layer);
const char *layer_diff_id(const struct layer *layer);
struct layer *layer_parent(const struct layer *layer); /* borrowed; NULL for the lowest */
int64_t layer_size(const struct layer *layer);         /* bytes of this layer alone */
int64_t layer_chain_size(const struct layer *layer);   /* with all below it */
int layer_depth(const struct layer *layer);            /* 1 for the lowest */
/* Folders as inspect shows them (GraphDriver.Data of an image). lower is NULL for the lowest layer. */
struct layer_dirs {
    char *lower, *merged, *upper, *work;
};
int layer_dirs(const struct layer *layer, struct layer_dirs *ret, struct err *e);
void layer_dirs_done(struct layer_dirs *d);
/* Chain ID of a diff ID on a parent ("" or NULL: none). */
void layer_chain_id_of(const char *parent_chain, const char *diff_id, char ret[72]);

/* ---- writable container layers ---------------------------------------------------------------------------------------- */

struct layers_rootfs {
    char *driver;       /* "overlay2": mount the overlay from the parts; "vfs": `merged` is the finished folder, nothing to mount */
    char *mount_id;     /* 64 hex */
    struct strv lowers; /* absolute short paths, top first: the init layer, then the image's layers */
    char *upper, *work; /* absolute; NULL for vfs */
    char *merged;       /* absolute; an empty folder to mount on for overlay2 */
    char *below;        /* vfs: the files of the image, absolute; NULL for overlay2 and for an empty image */
    /* As inspect shows them. */
    char *shown_lower, *shown_upper, *shown_merged, *shown_work;
};
void layers_rootfs_done(struct layers_rootfs *r);

/*
 * Make the writable layer of a container on top of `chain_top` (NULL or "": an empty image) and fill ret. The init layer (mount points such as
 * /dev/pts, /proc, /sys, /etc/hosts, /.dockerenv) is among the lowers. The container holds a reference on the image's layers until
 * layers_container_remove(). ERR_NOT_FOUND: no such layer; ERR_CONFLICT: the container has one already.
 */
int layers_container_create(struct layers *l, const char *chain_top, const char *container_id, struct layers_rootfs *ret, struct err *e);
/*
 * Write the row of what was just created: within the transaction that writes the container's own. Folders without a row are removed at the next start, but not
 * what was written in them.
 */
int layers_container_record(struct layers *l, const char *container_id, struct err *e);
/*
 * Make the names by which tools find a container's folders: "<home>/<mount id>-init" and layerdb/mounts/<container id>/mount-id. The engine needs neither, so
 * they can be made in the background after a create; a start makes sure of them. Does nothing the second time, or when the container has gone.
 */
void layers_container_name(struct layers *l, const char *container_id);
/* The parts of an existing one (after a restart). */
int layers_container_get(struct layers *l, const char *container_id, struct layers_rootfs *ret, struct err *e);
/* Rename away now, delete in the background. Unmount first. An unknown container is success. */
int layers_container_remove(struct layers *l, const char *container_id, struct err *e);
/* Bytes in the writable layer (SizeRw) and in the image below it plus it (SizeRootFs). */
int layers_container_size(struct layers *l, const char *container_id, int64_t *ret_rw, int64_t *ret_rootfs, struct err *e);
/* What the container changed: path and kind (0 modified, 1 added, 2 deleted), sorted by path, as /containers/{id}/changes lists it. */
typedef int (*layers_change_fn)(void *arg, const char *path, int kind, struct err *e);
int layers_container_changes(struct layers *l, const char *container_id, layers_change_fn fn, void *arg, struct err *e);
/* Containers known to the store (their ids), for the census. */
int layers_container_list(struct layers *l, struct strv *ret, struct err *e);

#endif
