// SPDX-License-Identifier: Apache-2.0
/*
 * overlay.h - overlayfs mounts for kernels before 6.5, such as Debian 12's.
 *
 * There, layers cannot be named one by one (fsconfig's "lowerdir+"): all go into one text for mount(2), which takes a page. So that as many layers as an
 * image may have (LIMIT_LAYERS) fit, they are named relative to the folder of the second one (the first may be a container's own), and the mount is made from there.
 * Usage: overlay_old_start, overlay_old_lower for each layer, top first, overlay_old_mount. Nothing is allocated; the working folder of the calling process is
 * another while it mounts, so it must have one thread. Sources: mount(2), Documentation/filesystems/overlayfs.rst of the kernel.
 */
#ifndef HATAKE_KERN_OVERLAY_H
#define HATAKE_KERN_OVERLAY_H

#include <stddef.h>

#include "kern/kern.h"

struct overlay_old {
    char data[4096]; /* the options; the kernel takes a page with its final NUL */
    size_t n;        /* sizeof data: it did not fit */
    char dir[1024];  /* what names are relative to; "": nothing */
};

/* upper and work: NULL for a mount that is only read. options: more of them ("volatile"), or "". */
void overlay_old_start(struct overlay_old *o, const char *upper, const char *work, const char *options);
/* Add a layer below the ones added before. */
void overlay_old_lower(struct overlay_old *o, const char *path);
/* mount(2) with these flags. 0 or -errno; -E2BIG: too many layers for such a kernel. */
int overlay_old_mount(const struct kern *k, const struct overlay_old *o, const char *target, unsigned long flags);

#endif
