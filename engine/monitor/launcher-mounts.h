// SPDX-License-Identifier: Apache-2.0
/*
 * launcher-mounts.h - two mount namespaces of the launcher: the machine's, for containers with binds, and one with little in it for all others.
 *
 * A container begins with a copy of the mounts around it and throws them away; the fewer there are, the sooner it runs. What stays is what a container without
 * binds needs: the kernel's file systems, and the folders given with all that is mounted on the way to them and below. Mounts that the machine makes or takes away later are
 * followed, so nothing is kept in use.
 */
#ifndef HATAKE_MONITOR_LAUNCHER_MOUNTS_H
#define HATAKE_MONITOR_LAUNCHER_MOUNTS_H

#include <stddef.h>
#include <stdint.h>

struct kern;

/*
 * Make it, in a child of the caller. `folders`: absolute paths without links, NULL at the end. Descriptor of the namespace, with the
 * machine's own in *ret_host; negative when it cannot be had: then all containers start in the machine's.
 */
int launcher_few_mounts(const struct kern *k, const char *const *folders, int *ret_host);

/* Carry out MP_SHM. 0 or -errno. */
int launcher_mount_shm(const struct kern *k, const char *path, int64_t size, uid_t uid, gid_t gid);
/* Carry out MP_VIEW: `layers` of n bytes, each with a NUL. Descriptor or -errno. */
int launcher_mount_view(const struct kern *k, const char *layers, size_t n);

#endif
