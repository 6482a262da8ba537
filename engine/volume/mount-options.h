// SPDX-License-Identifier: Apache-2.0
/*
 * mount-options.h - option `o` of a local volume, as mount(8) and the reference read it. Shared by the engine and the helper hatake-mount. Pure; any thread.
 */
#ifndef HATAKE_VOLUME_MOUNT_OPTIONS_H
#define HATAKE_VOLUME_MOUNT_OPTIONS_H

#include "base/buf.h"
#include "base/err.h"

#define MOUNT_DATA_MAX 4096 /* what the kernel takes: a page */

struct mount_options {
    unsigned long flags;       /* MS_* */
    unsigned long propagation; /* MS_PRIVATE and friends, with MS_REC; 0: none asked for */
    struct buf data;           /* the rest, for the file system */
};
#define MOUNT_OPTIONS_INIT ((struct mount_options){.data = BUF_INIT(MOUNT_DATA_MAX)})
#define _cleanup_mount_options_ __attribute__((cleanup(mount_options_done)))
void mount_options_done(struct mount_options *m);

/* 0, or ERR_TOO_LARGE. */
int mount_options_parse(const char *o, struct mount_options *ret, struct err *e);
/* Value of the last word "key=..." of a comma-separated list in fresh memory; NULL when there is none (or no memory). */
char *mount_options_value(const char *o, const char *key);
/* The list with the value of its first word "password=..." hidden, for messages. Fresh memory. */
char *mount_options_shown(const char *data);

#endif
