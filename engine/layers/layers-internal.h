// SPDX-License-Identifier: Apache-2.0
/* layers-internal.h - shared by the files of layers/ only. */
#ifndef HATAKE_LAYERS_INTERNAL_H
#define HATAKE_LAYERS_INTERNAL_H

#include <pthread.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/idmap.h"
#include "base/map.h"
#include "db/db.h"
#include "layers/layers.h"
#include "layers/unpack.h"

#define CHAIN_TEXT 72
#define LINK_LEN 26

struct layer {
    struct layers *owner;
    char chain_id[CHAIN_TEXT], diff_id[CHAIN_TEXT];
    char blob
        [CHAIN_TEXT]; /* digest of the blob it was unpacked from, "": from none. Under layers.lock, as what follows; after a restart only if it is kept */
    bool kept;        /* the blob is beside it (kept.c) */
    char cache_id[65];
    char link[LINK_LEN + 1];
    struct layer *parent; /* counted */
    int64_t size, chain_size, archive_size;
    int depth;
    int refs;        /* under layers.lock */
    bool synced;     /* under layers.lock: the files are on the disk, and there is a row */
    char *init_link; /* short link of the shared init folder on top of this layer, made on first use; under layers.init_lock */
};

struct layer_reaper;

struct layers {
    struct db *db;
    char *data_root, *libexec_dir;
    char *home;  /* <data root>/<driver> */
    int home_fd; /* settle.c's: what layers_settle() syncs by */
    const struct idmap *ids;
    bool overlay;
    char *backing;                /* name of the file system below, as /info shows it */
    pthread_mutex_t lock;         /* chains, refs */
    pthread_mutex_t init_lock;    /* making of init folders */
    pthread_mutex_t names_lock;   /* the names of containers' folders for tools; taken before lock */
    pthread_mutex_t publish_lock; /* registering of layers; taken before all others */
    struct map chains;            /* chain id → struct layer */
    struct map containers;        /* container id → struct container_layer */
    struct layer_reaper *reaper;
    struct {
        pthread_mutex_t lock; /* a leaf */
        pthread_cond_t ended;
        int64_t bytes; /* unpacked since the last sync began */
        bool running;  /* the thread */
    } ahead;           /* settle.c */
};

struct container_layer {
    char *container_id;
    char mount_id[65], link[LINK_LEN + 1];
    struct layer *top; /* counted; NULL for an empty image */
    bool named;        /* layers_container_name() was here */
};

/* reaper.c: deletes folders in the background, one thread. */
/* Removals in `home` wait for who makes layers, unless its disk is nearly full. Kept by reference. */
struct layer_reaper *layer_reaper_new(const char *home);
struct layer_reaper *layer_reaper_free(struct layer_reaper *r); /* waits until all is gone */
/* Delete the tree at path some time soon; in the foreground when memory ran out. */
void layer_reaper_add(struct layer_reaper *r, const char *path);
/* Somebody is waiting for layers to be made (+1), and has them (-1): meanwhile removals wait, for a while. */
void layer_reaper_yield(struct layer_reaper *r, int change);

/* kept.c */
#define LAYER_BLOB "blob" /* the kept one, in the layer's folder */
/* `copy`, a copy of the layer that is being made in `staged`, gets its kept blob, too, where there is one. */
void layer_blob_share(struct layer *layer, struct layer *copy, const char *staged);
/* What layers_trim_blobs() does on a disk of which statvfs(3) says this. */
void kept_trim(struct layers *l, int64_t max_bytes, const struct statvfs *fs);
/* A disk that gets full does without kept blobs. Cheap where it is not. */
void layers_make_room(struct layers *l);

/* settle.c */
void settle_init(struct layers *l);
/* Once the home is there, and before anything is written into it. */
int settle_open(struct layers *l, struct err *e);
void settle_done(struct layers *l); /* waits for the sync under way */
/*
 * A folder of so many bytes is finished. Once there are enough of them a thread begins to bring them to the disk while the next layers are still being made, so that
 * layers_settle() finds little left to wait for. Nothing depends on it.
 */
void settle_ahead(struct layers *l, int64_t bytes);

/* layers.c, leftovers.c */
int store_load(struct layers *l, struct err *e);
/* Remove what a life that ended early left: half-made folders by their names, unfinished layers because no row names them. After store_load(). */
int store_clean_leftovers(struct layers *l, struct err *e);
/* Rename <home>/<name> away and hand it to the reaper. */
void store_discard(struct layers *l, const char *name);
void random_link(char ret[LINK_LEN + 1]);
struct layer *layer_find_diff(struct layers *l, const char *diff_id);

/* driver: files of a finished layer */
int driver_probe(struct layers *l, const char *wanted, struct err *e);
/* Turn the staged folder `staged` (with diff and framing inside) into the layer's place. */
int driver_install(struct layers *l, struct layer *layer, const char *staged, struct err *e);
void driver_remove_layer(struct layers *l, const struct layer *layer);
char *driver_path(const struct layers *l, const char *id, const char *part);
int vfs_merge(const char *parent_diff, const char *staged_diff, const char *target, struct err *e);
/* `without` (may be NULL): an entry of `from` that is left out. */
int vfs_copy_tree(const char *from, const char *to, const char *without, struct err *e);

const char *unpack_staging(const struct unpack *u);
/* What unpack_came_from() said, into a layer nobody else knows yet. */
void unpack_origin(const struct unpack *u, struct layer *layer);

/* The mark of overlayfs for a name that is gone. Source: Documentation/filesystems/overlayfs.rst. */
static inline bool is_whiteout(const struct stat *st) {
    return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

/* container.c */
/* A copy of the entry, its layer counted, so that nothing is used after the lock. */
int container_find(struct layers *l, const char *container_id, struct container_layer *ret, struct err *e);
void container_layer_free(void *p);
int containers_load(struct layers *l, struct err *e);

#endif
