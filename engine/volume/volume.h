// SPDX-License-Identifier: Apache-2.0
/*
 * volume.h - named and anonymous volumes, of the local driver and of plugins.
 *
 * A volume is the folder <data root>/volumes/<name>/_data (modes 0701 and 0755 as the reference's) and a row of table `volume`. With driver options
 * (type, device, o) the folder is the mount point of a file system that is mounted while at least one running container uses the volume.
 *
 * A volume of another driver is kept by the plugin of that name (plugin/client.h); the row says only whose it is and how it was made.
 *
 * References: a container holds a volume from create to remove (volumes_acquire / volumes_release), whether it runs or not; a volume with holders
 * cannot be removed. References live in memory and are taken again by containers loaded at start. While a container runs it also holds a
 * use (volumes_mount_at / volumes_unmount), which only matters to volumes with driver options and to those of plugins.
 *
 * Threads: any. Errors carry the reference's texts.
 */
#ifndef HATAKE_VOLUME_VOLUME_H
#define HATAKE_VOLUME_VOLUME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/id.h"
#include "base/strv.h"

struct engine;
struct volumes;
struct volume;
struct api_volume;

/* Load the records (needs config, db, events). Folders without a record (put there by hand, or by another engine) become volumes without labels. */
int volumes_new(struct engine *engine, struct volumes **ret, struct err *e);
/* NULL is fine. Returns NULL. */
struct volumes *volumes_free(struct volumes *vs);

/* A volume wanted by a container or by POST /volumes/create. */
struct volume_request {
    const char *name;              /* NULL or "": anonymous, a fresh 64 hex name and the label com.docker.volume.anonymous */
    const char *driver;            /* NULL or "": local */
    const struct strv *opts;       /* KEY=VALUE; NULL allowed */
    const struct strv *labels;     /* KEY=VALUE; NULL allowed */
    bool empty_opts, empty_labels; /* {} was given: shown as {} and not as null */
    bool unmarked;                 /* anonymous, but without the label: what HostConfig.Mounts asks for without a Source */
    struct volume *from;           /* of volumes_take(); NULL elsewhere */
};

/*
 * Find or make the volume. An existing one of that name is given as it is (idempotent; a different driver is ERR_CONFLICT). Publishes `create` when made.
 * The caller unrefs.
 */
int volumes_create(struct volumes *vs, const struct volume_request *req, struct volume **ret, struct err *e);
/* Find or make, and hold it for a container. */
int volumes_acquire(struct volumes *vs, const struct volume_request *req, const char *container_id, struct volume **ret, struct err *e);
/* Hold an existing volume again (containers loaded at start). When its record is gone it is made anew, as the reference does. */
int volumes_hold(struct volumes *vs, const char *name, const char *container_id, struct volume **ret, struct err *e);
/*
 * The container is removed: let go, and unref v. With `remove` the volume goes too when nobody else holds it. The caller knows whether the container
 * asked for it by name; the label does not tell.
 */
void volumes_release(struct volumes *vs, struct volume *v, const char *container_id, bool remove);

/*
 * As volumes_create(), with the data of the volume `from`, which is gone then: nobody ever sees the new one with less, whatever ends the engine meanwhile.
 * An existing volume of that name keeps its labels and options and loses its own data. Both must be folders of the local driver; `from` must be
 * held by no container, the other one be used by none that runs (ERR_CONFLICT).
 */
int volumes_take(struct volumes *vs, const struct volume_request *req, const char *from, struct volume **ret, struct err *e);

/* "get x: no such volume" (ERR_NOT_FOUND). The caller unrefs. */
int volumes_find(struct volumes *vs, const char *name, struct volume **ret, struct err *e);
/*
 * Remove record and folder. In use: ERR_CONFLICT "remove x: volume is in use - [ids]"; unknown: ERR_NOT_FOUND, success with force. Publishes `destroy`.
 */
int volumes_remove(struct volumes *vs, const char *name, bool force, struct err *e);

struct volume *volume_ref(struct volume *v);
struct volume *volume_unref(struct volume *v); /* NULL is fine; returns NULL */
const char *volume_name(const struct volume *v);
const char *volume_driver(const struct volume *v);
/* <root>/volumes/<name>/_data: Mountpoint in the API and source of the container's mount. */
const char *volume_path(const struct volume *v);
bool volume_is_anonymous(const struct volume *v);

/*
 * The container starts / has stopped. volumes_mount_at() mounts what has to be mounted and gives the path to bind from (fresh memory); it publishes `mount`
 * (propagation "" for the default). Its errors begin "error while mounting volume '<path>': ". volumes_unmount() undoes one of the container's uses and publishes
 * `unmount`. volumes_mount() is for running containers found at start: their uses are noted already. After all those, volumes_sweep() ends the
 * uses of containers that did not come back.
 */
int volumes_mount_at(struct volumes *vs, struct volume *v, const char *container_id, const char *destination, bool read_write,
                     const char *propagation, char **ret_path, struct err *e);
void volumes_mount(struct volumes *vs, struct volume *v, const char *container_id);
void volumes_unmount(struct volumes *vs, struct volume *v, const char *container_id);
void volumes_sweep(struct volumes *vs);
/*
 * The container's files are worked on from outside, whether it runs or not: a use beside those of its runs, under an id of its own that volumes_visit() makes
 * and volumes_leave() takes. Else like volumes_mount_at() and volumes_unmount(); the volume is a reference of the caller's.
 */
int volumes_visit(struct volumes *vs, struct volume *v, const char *container_id, const char *destination, bool read_write, const char *propagation,
                  char ret_visit[ID_LEN + 1], char **ret_path, struct err *e);
void volumes_leave(struct volumes *vs, struct volume *v, const char *container_id, const char *visit);
/* Does it lie somewhere that is mounted only while it is used? */
bool volume_is_mounted_for_use(const struct volume *v);

/*
 * First use: when the volume, or the folder `below` in it (NULL: all of it), is empty, copy what the image has at the mount point into it, with owners,
 * modes, times, extended attributes, links and special files; nothing is followed. src_dirfd is a descriptor of the folder in the container's root file
 * system, resolved by the caller inside it (rule R1); -1: the image has no such folder, then nothing is done; -ENOTDIR: what is there is no folder, an
 * error that names `source`, the place as the machine sees it. Never overwrites. The folder's own owner and mode become the source's. Where `below` leads
 * to no folder inside the volume, nothing is done.
 * Volumes of plugins are left alone.
 */
int volumes_copy_up(struct volumes *vs, struct volume *v, const char *below, const char *container_id, int src_dirfd, const char *source,
                    struct err *e);

/* Fill a reply object (zero-initialised by the caller; api_volume_done afterwards). */
int volume_describe(const struct volume *v, struct api_volume *ret, struct err *e);

/* Number of containers that hold it. */
size_t volumes_holders(struct volumes *vs, const struct volume *v);

/* The local volumes without options, with UsageData, as GET /system/df has them: how many containers hold them, and bytes of what lies in them (-1: cannot be told). */
struct api_volume_list;
int volumes_usage(struct volumes *vs, struct api_volume_list *ret, struct err *e);
/* That list would be empty: no folder has to be gone through. */
bool volumes_none_to_measure(struct volumes *vs);

#endif
