// SPDX-License-Identifier: Apache-2.0
/*
 * mountinfo.h - the mounts of a namespace as /proc/PID/mountinfo lists them (proc_pid_mountinfo(5)), one after the other.
 *
 * Purpose: the one reader of that format. It works in place on the text.
 * Ownership: the fields of an entry point into that text. Threads: any, each with its own text.
 */
#ifndef HATAKE_KERN_MOUNTINFO_H
#define HATAKE_KERN_MOUNTINFO_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

struct mountinfo {
    const char *root;    /* what of the file system is mounted; escapes undone */
    const char *point;   /* where, as seen from the reader's root; escapes undone */
    const char *options; /* of this mount, "ro,nosuid" */
    const char *tags;    /* "shared:7 master:2", empty when the mount is private */
    const char *type;    /* "overlay", "cgroup2" */
    const char *super;   /* options of the file system */
};

/* Reads the mounts of the caller's namespace into `ret`; *ret_text is its text, for mountinfo_next(). Returns 0, or what fs_read_file() says. */
int mountinfo_read(struct buf *ret, char **ret_text, struct err *e);

/*
 * Takes the next line off *text, which is cut up. True with *ret filled in, false at the end. A line that is not of the format is passed over.
 */
bool mountinfo_next(char **text, struct mountinfo *ret);

/* Is the mount of the given kind of propagation, "shared:" or "master:"? */
bool mountinfo_has_tag(const struct mountinfo *m, const char *kind);

#endif
