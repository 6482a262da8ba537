// SPDX-License-Identifier: Apache-2.0
/*
 * logfile.h - the file under the drivers json-file and local: whole records appended through one buffer, rotation by size, compression of rotated files.
 *
 * A record is a piece of text that ends with a newline and holds none before it; drivers only differ in how they write one. Rotation: before a record goes into a
 * file that has reached max_size, FILE.(n-1) becomes FILE.n, up to max_file - 1 rotated files; with `compress` a child process packs FILE.1 at low priority.
 *
 * Works on the fields of struct log_writer (logdrv.h). Threads: one at a time. libc and zlib only.
 */
#ifndef HATAKE_LOGDRV_LOGFILE_H
#define HATAKE_LOGDRV_LOGFILE_H

#include <string.h>

#include "logdrv/logdrv.h"

/* As the slots of struct log_driver. */
int logfile_open(struct log_writer *w, struct err *e);
void logfile_flush(struct log_writer *w);
void logfile_close(struct log_writer *w);
/* Where the next record of at most `need` bytes is to be written. The caller then says how far it came: logfile_added(). */
char *logfile_room(struct log_writer *w, size_t need);
void logfile_added(struct log_writer *w, const char *end);

/* Write FILE.gz beside FILE and remove FILE. Nothing is left half-done under the final name. 0 or negative errno. */
int logfile_compress(const char *plain);

/* Text building: copies n bytes, returns the end. */
static inline char *log_put(char *to, const char *s, size_t n) {
    memcpy(to, s, n);
    return to + n;
}
#define LOG_PUT(to, literal) log_put(to, literal, sizeof(literal) - 1)
/* The inside of a JSON string, escaped as the reference's json-file driver does; at most 6 bytes for one. Invalid UTF-8 becomes U+FFFD. */
char *log_put_json(char *to, const char *text, size_t n);

#endif
