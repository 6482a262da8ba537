// SPDX-License-Identifier: Apache-2.0
/*
 * backup-file.h - the file of a volume's backup, written and read as a stream.
 *
 *   skippable frame   what the volume is: a JSON document ("format", "version", and what the caller adds)
 *   zstd frame        the archive
 *   skippable frame   "HATKEND1", the number of all bytes before it (8 bytes, little endian), their SHA-256
 *
 * All of it are frames as zstd(1) knows them, so `zstd -dc FILE | tar x` reads a backup without this program. With a passphrase all of it is the content
 * of a sealed stream (seal.h). Nothing follows the last frame: a file that is cut off anywhere has none.
 *
 * Source: RFC 8878 section 3 (frames; skippable frames 0x184D2A50 to 5F).
 * Life cycle: _new, _add or _read until the end, _end for writers, _free. Threads: one at a time.
 */
#ifndef HATAKE_CLI_BACKUP_FILE_H
#define HATAKE_CLI_BACKUP_FILE_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"

struct backup_writer;
struct backup_reader;

/* To a descriptor (borrowed). `about`: an object, copied. passphrase NULL: not encrypted. */
int backup_writer_new(int fd, const json_t *about, const struct buf *passphrase, struct backup_writer **ret, struct err *e);
int backup_writer_add(struct backup_writer *w, const void *p, size_t n, struct err *e);
/* Write what is left and the last frame. */
int backup_writer_end(struct backup_writer *w, struct err *e);
/* NULL is fine. Returns NULL. */
struct backup_writer *backup_writer_free(struct backup_writer *w);
DEFINE_CLEANUP(struct backup_writer *, backup_writer_free)

/*
 * From a descriptor (borrowed), as far as what the volume is. ERR_INVALID when it is no backup or a damaged one; ERR_UNAUTHORIZED when it is
 * encrypted and there is no passphrase, or the other way round.
 */
int backup_reader_new(int fd, const struct buf *passphrase, struct backup_reader **ret, struct err *e);
/* What was given to the writer; the reader's. */
const json_t *backup_reader_about(const struct backup_reader *r);
/* Up to n bytes of the archive. 0: the end, and all of it was what had been written. ERR_INVALID: it was not. */
ssize_t backup_reader_read(struct backup_reader *r, void *p, size_t n, struct err *e);
struct backup_reader *backup_reader_free(struct backup_reader *r);
DEFINE_CLEANUP(struct backup_reader *, backup_reader_free)

#endif
