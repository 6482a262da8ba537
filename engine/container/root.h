// SPDX-License-Identifier: Apache-2.0
/*
 * root.h - looking into a container's root file system without entering it, and who its user is.
 *
 * The overlay is put together as a detached, read-only mount that only a descriptor knows (no path, gone when it is closed). All paths in it are
 * resolved below it with openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS): rule R1. Files are read under rule R23: regular files only,
 * without blocking, up to a limit. Any thread.
 */
#ifndef HATAKE_CONTAINER_ROOT_H
#define HATAKE_CONTAINER_ROOT_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "layers/layers.h"
#include "types.h"

/* Descriptor of the root folder (read-only). The caller closes it. */
struct launcher;
int ctr_root_open(struct launcher *launcher, const struct layers_rootfs *rootfs, int *ret_fd, struct err *e);
/* Open below a root: O_CLOEXEC is added. -errno on failure. */
struct launcher;
int ctr_root_openat(int rootfd, const char *path, int flags);
/* A regular file's contents (at most ret->max bytes); a missing file gives an empty buffer and 0. */
int ctr_root_read(int rootfd, const char *path, struct buf *ret, struct err *e);

struct ctr_user {
    uint32_t uid, gid;
    uint32_t *groups; /* the process's supplementary groups, gid first */
    size_t n_groups;
    char *home;
};
void ctr_user_done(struct ctr_user *u);

/*
 * Who "name|uid[:group|gid]" is, by the text of passwd and group files; "" is root. group_add: names or numbers (NULL: none). ERR_INTERNAL with the
 * reference's texts ("unable to find user x: no matching entries in passwd file").
 */
int ctr_user_resolve(const char *passwd, size_t n_passwd, const char *group, size_t n_group, const char *spec,
                     const struct api_string_list *group_add, struct ctr_user *ret, struct err *e);
/* The same with the files of a root folder. */
int ctr_user_of_root(int rootfd, const char *spec, const struct api_string_list *group_add, struct ctr_user *ret, struct err *e);

#endif
