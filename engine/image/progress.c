// SPDX-License-Identifier: Apache-2.0
/* Progress streams: JSON objects, one per line, as the docker CLI draws them. Each line ends with CR LF. */
#include "base/cleanup.h"
#include "base/limits.h"
#include "image/image-internal.h"
#include "wire/call.h"

#define LINE_MAX KIB(64)
#define BAR_WIDTH 50

void progress_init(struct progress *p, struct call *c) {
    *p = (struct progress){.call = c};
    pthread_mutex_init(&p->lock, NULL);
}

void progress_done(struct progress *p) {
    pthread_mutex_destroy(&p->lock);
}

static int progress_send(struct progress *p, struct buf *line, struct err *e) {
    int r = 0;

    buf_adds(line, "\r\n");
    if (buf_check(line, e) < 0)
        return -ERR_INTERNAL;
    pthread_mutex_lock(&p->lock);
    if (!p->begun) {
        r = call_stream_begin(p->call, 200, "application/json", e);
        p->begun = r == 0;
    }
    if (r == 0)
        r = call_stream_write(p->call, line->data, line->len, e);
    pthread_mutex_unlock(&p->lock);
    return r;
}

/* Three or four significant digits and a decimal unit: 4 digits as %.4g gives them. */
static void human_size(struct buf *b, int64_t bytes) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double v = (double)bytes;
    size_t u = 0;

    while (v >= 1000 && u + 1 < ELEMENTSOF(units)) {
        v /= 1000;
        u++;
    }
    buf_addf(b, "%.4g%s", v, units[u]);
}

/* Right-aligned in eight places. */
static void human_padded(struct buf *b, int64_t bytes) {
    _cleanup_buf_ struct buf n = BUF_INIT(64);

    human_size(&n, bytes);
    buf_addf(b, "%8s", buf_str(&n));
}

void progress_text(struct buf *b, int64_t current, int64_t total) {
    int done;

    if (current <= 0 && total <= 0)
        return;
    if (total <= 0) {
        human_padded(b, current);
        return;
    }
    done = (int)((double)current / (double)total * 100) / 2;
    if (done > BAR_WIDTH)
        done = BAR_WIDTH;
    buf_addc(b, '[');
    for (int i = 0; i < done; i++)
        buf_addc(b, '=');
    buf_addc(b, '>');
    for (int i = done; i < BAR_WIDTH; i++)
        buf_addc(b, ' ');
    buf_adds(b, "] ");
    human_padded(b, current);
    if (current <= total) {
        buf_addc(b, '/');
        human_size(b, total);
    }
}

int progress_stream(struct progress *p, struct err *e, const char *fmt, ...) {
    _cleanup_buf_ struct buf text = BUF_INIT(LINE_MAX), line = BUF_INIT(2 * LINE_MAX);
    va_list ap;

    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    buf_addc(&line, '{');
    if (text.len || text.failed) {
        buf_adds(&line, "\"stream\":");
        buf_add_json_string(&line, buf_str(&text));
    }
    buf_addc(&line, '}');
    return progress_send(p, &line, e);
}

int progress_message(struct progress *p, const char *id, struct err *e, const char *fmt, ...) {
    _cleanup_buf_ struct buf text = BUF_INIT(LINE_MAX), line = BUF_INIT(2 * LINE_MAX);
    va_list ap;

    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    buf_adds(&line, "{\"status\":");
    buf_add_json_string(&line, buf_str(&text));
    if (id) {
        buf_adds(&line, ",\"id\":");
        buf_add_json_string(&line, id);
    }
    buf_addc(&line, '}');
    return progress_send(p, &line, e);
}

int progress_bar(struct progress *p, const char *id, const char *action, int64_t current, int64_t total, struct err *e) {
    _cleanup_buf_ struct buf line = BUF_INIT(LINE_MAX), text = BUF_INIT(1024);

    buf_adds(&line, "{\"status\":");
    buf_add_json_string(&line, action);
    buf_adds(&line, ",\"progressDetail\":{");
    if (current > 0)
        buf_addf(&line, "\"current\":%lld", (long long)current);
    if (total > 0)
        buf_addf(&line, "%s\"total\":%lld", current > 0 ? "," : "", (long long)total);
    buf_addc(&line, '}');
    progress_text(&text, current, total);
    if (text.len) {
        buf_adds(&line, ",\"progress\":");
        buf_add_json_string(&line, buf_str(&text));
    }
    if (id) {
        buf_adds(&line, ",\"id\":");
        buf_add_json_string(&line, id);
    }
    buf_addc(&line, '}');
    return progress_send(p, &line, e);
}

int progress_pushed(struct progress *p, const char *tag, const char *digest, size_t size, struct err *e) {
    _cleanup_buf_ struct buf line = BUF_INIT(LINE_MAX);

    buf_adds(&line, "{\"progressDetail\":{},\"aux\":{\"Tag\":");
    buf_add_json_string(&line, tag);
    buf_adds(&line, ",\"Digest\":");
    buf_add_json_string(&line, digest);
    buf_addf(&line, ",\"Size\":%zu}}", size);
    return progress_send(p, &line, e);
}

int progress_end(struct progress *p, int r, struct err *e) {
    _cleanup_buf_ struct buf line = BUF_INIT(2 * LINE_MAX);

    if (r < 0 && !p->begun && !p->always)
        return r;
    if (r < 0 && r != -ERR_CANCELLED) {
        buf_adds(&line, "{\"errorDetail\":{\"message\":");
        buf_add_json_string(&line, err_msg(e));
        buf_adds(&line, "},\"error\":");
        buf_add_json_string(&line, err_msg(e));
        buf_addc(&line, '}');
        ignore_result(progress_send(p, &line, NULL) < 0);
    }
    if (r < 0) {
        if (e)
            err_done(e);
    } else if (!p->begun) {
        r = call_stream_begin(p->call, 200, "application/json", e);
        if (r < 0)
            return r;
    }
    ignore_result(call_stream_end(p->call, NULL) < 0);
    return 0;
}
