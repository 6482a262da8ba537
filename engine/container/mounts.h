// SPDX-License-Identifier: Apache-2.0
/*
 * mounts.h - what HostConfig.Binds, HostConfig.Mounts, HostConfig.VolumesFrom and Config.Volumes ask for, as one list.
 */
#ifndef HATAKE_CONTAINER_MOUNTS_H
#define HATAKE_CONTAINER_MOUNTS_H

#include "container/container-internal.h"
#include "layers/layers.h"

/* What is refused before the image is looked for: Mounts and Tmpfs, each for itself. */
int ctr_mounts_check(const struct api_host_config *host, struct err *e);
/*
 * Read all mounts of a request that was checked, in the order of their destinations. Nothing is made yet. Errors carry the reference's texts; bad Binds are
 * ERR_INTERNAL as the reference answers them, the rest ERR_INVALID.
 */
int ctr_mounts_read(struct containers *cs, const struct api_container_config *config, const struct api_host_config *host, struct ctr_mounts *ret,
                    struct err *e);
/*
 * Make or find the volumes of the list and hold them for a container: fills volume name, source and driver; *ret has one reference per volume mount, in
 * order. On failure nothing is held.
 */
int ctr_mounts_acquire(struct containers *cs, const char *id, const struct api_host_config *host, struct ctr_mounts *l, struct volume ***ret,
                       size_t *ret_n, struct err *e);
/* Give the n volumes of the list back; with `anonymous` those that were not asked for by name go away. */
void ctr_mounts_release(struct containers *cs, const char *id, const struct ctr_mounts *l, struct volume **v, size_t n, bool anonymous);
/* Copy what the image has at the mount points into volumes that are empty. */
int ctr_mounts_populate(struct containers *cs, const char *id, const struct layers_rootfs *rootfs, const struct ctr_mounts *l,
                        struct volume **volumes, struct err *e);

/*
 * propagation.c: a bind that shall pass mounts on, or take them, needs a source on a mount that is shared (or a slave). ERR_INTERNAL in the reference's
 * words; the source is there.
 */
int ctr_check_propagation(const struct ctr_mount *m, struct err *e);

/* Cleaned absolute path ("/a/../b/" gives "/b"): fresh memory. */
char *ctr_clean_path(const char *path);

#endif
