// SPDX-License-Identifier: Apache-2.0
/*
 * log.h - structured log: one line per event on standard error, as text (key=value) or JSON.
 *
 * Every line has time, level, msg, the thread's trace id when it has one, and the pairs given. Library code does not log its own
 * errors: they are returned, and logged once where they are handled.
 *
 * State: the level, the form and the descriptor are process-wide and set once by log_setup() before threads exist; the trace id is per thread.
 */
#ifndef HATAKE_BASE_LOG_H
#define HATAKE_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LVL_DEBUG, LOG_LVL_INFO, LOG_LVL_WARN, LOG_LVL_ERROR, LOG_LVL_FATAL };
enum log_form { LOG_FORM_TEXT, LOG_FORM_JSON };

void log_setup(enum log_level level, enum log_form form, int fd);
/* Change the level at run time (SIGHUP reload). */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* "debug", "info", "warn"/"warning", "error", "fatal"/"panic" (any case) → level; false when it is none of them. "trace" is debug. */
bool log_level_parse(const char *s, enum log_level *ret);

/* Trace id of the calling thread (copied, at most 32 bytes); NULL or "" removes it. log_trace() is never NULL. */
void log_set_trace(const char *trace);
const char *log_trace(void);

/*
 * log_kv(level, "message", "key", value, ..., NULL): values are strings (NULL is left out). One write(2) per line, so lines of several
 * processes on one descriptor do not mix.
 */
void log_kv(enum log_level level, const char *msg, ...) __attribute__((sentinel));
/* A message with printf arguments and no pairs. */
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) log_msg(LOG_LVL_DEBUG, __VA_ARGS__)
#define log_info(...) log_msg(LOG_LVL_INFO, __VA_ARGS__)
#define log_warn(...) log_msg(LOG_LVL_WARN, __VA_ARGS__)
#define log_error(...) log_msg(LOG_LVL_ERROR, __VA_ARGS__)

#endif
