// SPDX-License-Identifier: Apache-2.0
/*
 * cgroup.h - where the control group file systems are: v1 hierarchies with their controllers, the unified (v2) one, or both (hybrid).
 *
 * Found once in each process, from /proc/self/mountinfo, by the first who asks; constant from then on, and kept (cgroup.c). A container's group is
 * one folder of the same relative path in every hierarchy ("/docker/<id>", or "<parent>/<id>"), as other tools expect. Where an engine runs inside a
 * group of its own, mounts that show only that part are used as they are: paths are always relative to the mount.
 * Any thread. Source: cgroups(7).
 */
#ifndef HATAKE_KERN_CGROUP_H
#define HATAKE_KERN_CGROUP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define CGROUP_HIERARCHIES 20

struct cgroup_hierarchy {
    char mount[128];      /* mount point */
    char controllers[96]; /* v1: comma list as mounted ("cpu,cpuacct"; "name=systemd"); v2: "" */
    bool unified;
};

struct cgroup_layout {
    struct cgroup_hierarchy h[CGROUP_HIERARCHIES];
    size_t n;
    bool pure_v2; /* the unified one is the only one: /sys/fs/cgroup itself */
};

/* A copy of the layout. ERR_INTERNAL when no cgroup file system is mounted; who asks again then looks again. */
int cgroup_detect(struct cgroup_layout *ret, struct err *e);
/* The same from the text of a mountinfo file, which is cut up (tests). */
int cgroup_detect_from(char *mountinfo, struct cgroup_layout *ret, struct err *e);
/* Hierarchy of a v1 controller, or the unified one when pure v2; NULL when there is none. */
const struct cgroup_hierarchy *cgroup_of(const struct cgroup_layout *l, const char *controller);
/* Whether the machine can hand this controller to containers: it has a v1 hierarchy, or (pure v2) is in the root's list. */
bool cgroup_has(const struct cgroup_layout *l, const char *controller);
/* Whether the list in a cgroup.controllers file, words between blanks, names this controller (tests). */
bool cgroup_list_has(const char *list, const char *controller);
/* Path of a file of this process's own group in the unified hierarchy; false when there is none or it does not fit. */
bool cgroup_own_file(const struct cgroup_layout *l, const char *file, char *ret, size_t cap);
/* Whether containers' use of swap can be limited. v2: the machine's root has no file for it; that there is one at all shows in our own group. */
bool cgroup_limits_swap(const struct cgroup_layout *l);

#endif
