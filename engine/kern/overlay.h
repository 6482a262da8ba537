// SPDX-License-Identifier: Apache-2.0
/*
 * overlay.h - overlayfs mounts, as kernels want them from 6.5 on and as those before did, such as Debian 12's.
 *
 * Newer kernels are given the layers one by one (fsconfig's "lowerdir+") and make a mount without a place. For older ones all goes into one text for mount(2), which takes a
 * page. So that as many layers as an image may have (LIMIT_LAYERS) fit, they are named relative to the folder of the second one (the first may be a container's own), and
 * the mount is made from there.
 * Usage: overlay_detached; when it says -ENOSYS, overlay_at a place, in a mount namespace where that shows nobody anything. Nothing is allocated. Sources: mount(2),
 * fsconfig(2), Documentation/filesystems/overlayfs.rst of the kernel.
 */
#ifndef HATAKE_KERN_OVERLAY_H
#define HATAKE_KERN_OVERLAY_H

#include <stdbool.h>

#include "kern/kern.h"

struct overlay {
    /* The layer below `last`, which is what it gave before; NULL first. The top one comes first, after the lowest NULL. */
    const char *(*next)(void *arg, const char *last);
    void *arg;
    const char *upper, *work; /* NULL for a mount that is only read */
    bool is_volatile;
};

/* The mount without a place, with these attributes (MOUNT_ATTR_): its descriptor, or -errno. -ENOSYS: this kernel does not know how. */
int overlay_detached(const struct kern *k, const struct overlay *o, unsigned attrs);
/*
 * The same with mount(2) and its flags at `target`. The working folder of the calling process is another meanwhile, so it must have one thread. 0 or -errno; -E2BIG: too many
 * layers for such a kernel.
 */
int overlay_at(const struct kern *k, const struct overlay *o, const char *target, unsigned long flags);

#endif
