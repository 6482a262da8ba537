// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

#define LINE_MAX_BYTES 16384

static _Atomic int log_level_now = LOG_LVL_INFO;
static enum log_form log_form_now = LOG_FORM_TEXT;
static int log_fd = STDERR_FILENO;
static _Thread_local char trace_now[33];

static const char *const level_names[] = {"debug", "info", "warning", "error", "fatal"};

void log_setup(enum log_level level, enum log_form form, int fd) {
    log_level_now = level;
    log_form_now = form;
    log_fd = fd;
}

void log_set_level(enum log_level level) {
    log_level_now = level;
}

bool log_enabled(enum log_level level) {
    return (int)level >= log_level_now;
}

bool log_level_parse(const char *s, enum log_level *ret) {
    static const struct {
        const char *name;
        enum log_level level;
    } words[] = {{"trace", LOG_LVL_DEBUG},  {"debug", LOG_LVL_DEBUG}, {"info", LOG_LVL_INFO},   {"warn", LOG_LVL_WARN},
                 {"warning", LOG_LVL_WARN}, {"error", LOG_LVL_ERROR}, {"fatal", LOG_LVL_FATAL}, {"panic", LOG_LVL_FATAL}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(words[i].name, s) == 0) {
            *ret = words[i].level;
            return true;
        }
    }
    return false;
}

void log_set_trace(const char *trace) {
    size_t n = trace ? strnlen(trace, sizeof(trace_now) - 1) : 0;

    if (n > 0)
        memcpy(trace_now, trace, n);
    trace_now[n] = '\0';
}

const char *log_trace(void) {
    return trace_now;
}

static void add_pair(struct buf *b, const char *key, const char *value) {
    if (log_form_now == LOG_FORM_JSON) {
        buf_addc(b, b->len ? ',' : '{');
        buf_add_json_string(b, key);
        buf_addc(b, ':');
        buf_add_json_string(b, value);
        return;
    }
    if (b->len)
        buf_addc(b, ' ');
    buf_adds(b, key);
    buf_addc(b, '=');
    if (*value && strcspn(value, " \"=\\\t\r\n") == strlen(value))
        buf_adds(b, value);
    else
        buf_add_json_string(b, value);
}

static void begin_line(struct buf *b, enum log_level level, const char *msg) {
    char when[CLOCK_TEXT_MAX];

    clock_format_full(clock_wall_ns(), when);
    add_pair(b, "time", when);
    add_pair(b, "level", level_names[level]);
    add_pair(b, "msg", msg);
    if (trace_now[0])
        add_pair(b, "trace", trace_now);
}

static void end_line(struct buf *b) {
    size_t done = 0;

    buf_adds(b, log_form_now == LOG_FORM_JSON ? "}\n" : "\n");
    while (done < b->len) {
        ssize_t n = write(log_fd, b->data + done, b->len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; /* a log that cannot be written must not stop the engine */
        done += (size_t)n;
    }
}

void log_kv(enum log_level level, const char *msg, ...) {
    _cleanup_buf_ struct buf b = BUF_INIT(LINE_MAX_BYTES);
    const char *key;
    va_list ap;
    int saved = errno;

    if (!log_enabled(level))
        return;
    begin_line(&b, level, msg);
    va_start(ap, msg);
    while ((key = va_arg(ap, const char *))) {
        const char *value = va_arg(ap, const char *);

        if (value)
            add_pair(&b, key, value);
    }
    va_end(ap);
    end_line(&b);
    errno = saved;
}

void log_msg(enum log_level level, const char *fmt, ...) {
    _cleanup_buf_ struct buf msg = BUF_INIT(LINE_MAX_BYTES / 2), b = BUF_INIT(LINE_MAX_BYTES);
    va_list ap;
    int saved = errno;

    if (!log_enabled(level))
        return;
    va_start(ap, fmt);
    buf_addv(&msg, fmt, ap);
    va_end(ap);
    begin_line(&b, level, buf_str(&msg));
    end_line(&b);
    errno = saved;
}
