// SPDX-License-Identifier: Apache-2.0
/*
 * fs.h - files of our own (data root, exec root). Not for paths inside images or containers: those go through kern/ resolvers (rule R1).
 * Any thread. Errors name the path.
 */
#ifndef HATAKE_BASE_FS_H
#define HATAKE_BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * So much of a file is best written at once, in bytes. The page cache looks for one piece of memory as large as the write (ext4 since Linux 6.16, xfs before); beyond
 * eight pages it moves others out of the way to get one, which on a machine whose memory is all in use takes longer than the write (PAGE_ALLOC_COSTLY_ORDER).
 */
#define FS_WRITE_AT_ONCE ((size_t)32 << 10)

/* Create a folder and its parents; existing ones are fine and keep their mode. */
int fs_mkdir_p(const char *path, mode_t mode, struct err *e);
/* Read a regular file of at most ret->max bytes into ret (R23: O_NONBLOCK, regular files only; files of procfs and sysfs count as regular). */
int fs_read_file(const char *path, struct buf *ret, struct err *e);
/* The same below a folder descriptor (AT_FDCWD allowed). */
int fs_read_file_at(int dirfd, const char *path, struct buf *ret, struct err *e);
/* Write into an existing file in one write(2) (procfs, sysfs, cgroupfs). */
int fs_write_knob(const char *path, const char *value, struct err *e);
/* Replace a file whole: temporary file beside it, fsync, rename, fsync of the folder (R11). */
int fs_replace_file(const char *path, const void *data, size_t n, mode_t mode, struct err *e);
/* The same without the syncs, for files that are made anew at every start. */
int fs_replace_file_volatile(const char *path, const void *data, size_t n, mode_t mode, struct err *e);
/* Remove a tree, however deep, without following links or leaving its file system. A missing path is success. */
int fs_remove_tree(const char *path, struct err *e);
int fs_remove_tree_at(int dirfd, const char *name, struct err *e);
/* fsync a folder. */
int fs_sync_dir(const char *path, struct err *e);
bool fs_exists(const char *path);
/* Write/read all n bytes, retrying on EINTR and short counts. 0, -errno; full_read gives -ENODATA at an early end. */
int full_write(int fd, const void *p, size_t n);
int full_read(int fd, void *p, size_t n);

#endif
