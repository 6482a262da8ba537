// SPDX-License-Identifier: Apache-2.0
/*
 * idmap.h - numbers of users and groups inside a user namespace, and what the machine calls them.
 *
 * A list is what the kernel reads from /proc/PID/uid_map: ranges of "inside outside count" (user_namespaces(7)); a map is one list for users and one for
 * groups. A NULL map means: no user namespace, numbers are what they are.
 *
 * Ownership: plain values without memory of their own. Threads: any; a map does not change once it is made.
 */
#ifndef HATAKE_BASE_IDMAP_H
#define HATAKE_BASE_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define ID_RANGES 340                 /* as many as the kernel takes */
#define ID_LIST_TEXT (ID_RANGES * 36) /* of a list as text, at most */

struct id_range {
    uint32_t inside, outside, count;
};

struct id_list {
    size_t n;
    struct id_range v[ID_RANGES];
};

struct idmap {
    struct id_list uids, gids;
    uint32_t root_uid, root_gid; /* what root inside is outside */
};

/* Put a range at the end. 0, -EINVAL (empty, or beyond 32 bits) or -E2BIG. */
int id_list_add(struct id_list *l, uint64_t inside, uint64_t outside, uint64_t count);
/* Translate a number; false when it is in none of the ranges, *ret is then left alone. */
bool id_list_out(const struct id_list *l, uint32_t inside, uint32_t *ret);
bool id_list_in(const struct id_list *l, uint32_t outside, uint32_t *ret);
/* The kernel's text, one range a line. Takes no memory. */
void id_list_text(const struct id_list *l, char ret[ID_LIST_TEXT]);
/* 0 or -EINVAL. */
int id_list_parse(struct id_list *l, const char *text);

/* Both lists as one text (users, "-", groups), to hand to a helper; fresh memory or NULL. NULL map: "". */
char *idmap_text(const struct idmap *m);
/* The other way: 1 with *ret filled, 0 for "" (no map), -EINVAL. */
int idmap_parse(struct idmap *ret, const char *text);

/*
 * The map of a user by what /etc/subuid and /etc/subgid give it (subuid(5)), their ranges joined from 0 on. Errors name what is missing, in the reference's
 * words. `folder`: where the two files are ("/etc").
 */
int idmap_of_user(struct idmap *ret, const char *folder, const char *user, uint32_t uid, struct err *e);

/*
 * The value of security.capability with root inside as its root (version 3), and back for those who are inside (version 2). Other values are copied. Length;
 * `ret` has room for IDMAP_CAP_MAX, longer values are cut to nothing. Source: linux/capability.h, struct vfs_ns_cap_data.
 */
#define IDMAP_CAP_MAX 64
size_t idmap_cap_out(const struct idmap *m, const void *value, size_t n, char ret[IDMAP_CAP_MAX]);
size_t idmap_cap_in(const struct idmap *m, const void *value, size_t n, char ret[IDMAP_CAP_MAX]);

/* As fs_mkdir_p(); what had to be made is root's inside. */
int idmap_mkdir_p(const struct idmap *m, const char *path, mode_t mode, struct err *e);
/* Give a file or folder of ours to root inside (only its group: for folders the container must be able to pass through). NULL map: nothing. 0, or <0. */
int idmap_give(const struct idmap *m, const char *path, struct err *e);
int idmap_give_group(const struct idmap *m, const char *path, struct err *e);

#endif
