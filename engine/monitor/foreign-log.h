// SPDX-License-Identifier: Apache-2.0
/* foreign-log.h - the log that a runtime writes with --log-format json: one object a line, read without a JSON library (see foreign.h). */
#ifndef HATAKE_MONITOR_FOREIGN_LOG_H
#define HATAKE_MONITOR_FOREIGN_LOG_H

#include <stddef.h>

/* The message of the last line of level error into `ret` (cut to fit). 1: found; 0: there is none; -ENOENT: no such file; another -errno. */
int foreign_log_error(const char *path, char *ret, size_t cap);

#endif
