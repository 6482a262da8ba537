// SPDX-License-Identifier: Apache-2.0
/* Calls of the API: requests, errors, streams of JSON objects. */
#include <ctype.h>

#include "base/limits.h"
#include "base/str.h"
#include "cli/cli.h"

const char *json_text(const json_t *object, const char *key) {
    const char *s = json_string_value(json_object_get(object, key));

    return s ? s : "";
}

int64_t json_number(const json_t *object, const char *key) {
    const json_t *v = json_object_get(object, key);

    return json_is_real(v) ? (int64_t)json_real_value(v) : (int64_t)json_integer_value(v);
}

bool json_flag(const json_t *object, const char *key) {
    return json_is_true(json_object_get(object, key));
}

int json_made(const json_t *j, struct err *e) {
    return j ? 0 : err_oom(e);
}

int out_write(const struct buf *b, struct err *e) {
    int r = buf_check(b, e);

    if (r < 0)
        return r;
    if (b->len && (fwrite(b->data, 1, b->len, stdout) != b->len || fflush(stdout) != 0))
        return err_errno(e, errno, "writing to standard output");
    return 0;
}

static void encode(struct buf *b, const char *text, const char *plain) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (isalnum(c) || strchr(plain, c))
            buf_addc(b, (char)c);
        else
            buf_addf(b, "%%%02X", c);
    }
}

void api_query(struct buf *path, const char *key, const char *value) {
    if (!value)
        return;
    buf_addf(path, "%c%s=", path->data && strchr(path->data, '?') ? '&' : '?', key);
    encode(path, value, "-_.~");
}

void api_segment(struct buf *path, const char *text) {
    encode(path, text, "-_.~:@");
}

static enum err_kind kind_of(int status) {
    switch (status) {
    case 400:
        return ERR_INVALID;
    case 401:
        return ERR_UNAUTHORIZED;
    case 403:
        return ERR_FORBIDDEN;
    case 404:
        return ERR_NOT_FOUND;
    case 409:
        return ERR_CONFLICT;
    case 501:
        return ERR_NOT_IMPLEMENTED;
    case 503:
        return ERR_UNAVAILABLE;
    default:
        return ERR_INTERNAL;
    }
}

static int reply_error(int status, const struct buf *body, struct err *e) {
    json_t *j = json_loadb(buf_str(body), body->len, 0, NULL);
    const char *message = json_text(j, "message");
    int r = *message ? err_set(e, kind_of(status), "%s", message)
                     : err_set(e, kind_of(status), "the engine answered with status %d and no explanation", status);

    json_decref(j);
    return r;
}

static int begin(const struct cli *c, const char *method, const char *path, const json_t *body, bool upgrade, struct http **ret, struct err *e) {
    _cleanup_http_ struct http *h = NULL;
    _cleanup_buf_ struct buf full = BUF_INIT(KIB(64));
    _cleanup_free_ char *text = NULL;
    int r;

    buf_addf(&full, "%s%s", CLI_API, path);
    r = buf_check(&full, e);
    if (r < 0)
        return r;
    if (body) {
        text = json_dumps(body, JSON_COMPACT);
        if (!text)
            return err_oom(e);
    }
    r = http_dial(c->host, &h, e);
    if (r == 0)
        r = http_send(h, method, full.data, text ? "application/json" : NULL, text, text ? strlen(text) : 0, upgrade ? HTTP_UPGRADE : 0, e);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(h);
    return 0;
}

int api_head(struct http *h, struct err *e) {
    _cleanup_buf_ struct buf text = BUF_INIT(MIB(1));
    int status = http_head(h, e), r;

    if (status < 400)
        return status;
    r = http_read_all(h, &text, e);
    return r < 0 ? r : reply_error(status, &text, e);
}

int api_open(const struct cli *c, const char *method, const char *path, const json_t *body, bool upgrade, struct http **ret, struct err *e) {
    _cleanup_http_ struct http *h = NULL;
    int r = begin(c, method, path, body, upgrade, &h, e);

    if (r == 0)
        r = api_head(h, e);
    if (r >= 0)
        *ret = TAKE_PTR(h);
    return r;
}

int api_upload(const struct cli *c, const char *method, const char *path, struct http **ret, struct err *e) {
    _cleanup_http_ struct http *h = NULL;
    _cleanup_free_ char *full = str_printf("%s%s", CLI_API, path);
    int r = full ? http_dial(c->host, &h, e) : err_oom(e);

    if (r == 0)
        r = http_send(h, method, full, "application/x-tar", NULL, 0, HTTP_CHUNKED, e);
    if (r == 0)
        *ret = TAKE_PTR(h);
    return r;
}

int api_is_ours(const struct cli *c, bool *ret, struct err *e) {
    json_t *info = NULL;
    int r = api_call(c, "GET", "/version", NULL, &info, e);

    if (r >= 0)
        *ret = strcasestr(json_text(json_object_get(info, "Platform"), "Name"), "hatake") != NULL;
    json_decref(info);
    return r;
}

int api_call(const struct cli *c, const char *method, const char *path, const json_t *body, json_t **ret_reply, struct err *e) {
    _cleanup_http_ struct http *h = NULL;
    _cleanup_buf_ struct buf text = BUF_INIT(CLI_REPLY_MAX);
    int status = api_open(c, method, path, body, false, &h, e), r;

    if (status < 0)
        return status;
    r = http_read_all(h, &text, e);
    if (r < 0)
        return r;
    if (ret_reply) {
        json_error_t where;

        *ret_reply = NULL;
        if (text.len) {
            *ret_reply = json_loadb(text.data, text.len, JSON_DECODE_ANY, &where);
            if (!*ret_reply)
                return err_set(e, ERR_INTERNAL, "the engine's reply is no JSON: %s", where.text);
        }
    }
    return status;
}

int api_each(struct http *h, int (*each)(json_t *object, void *data, struct err *e), void *data, struct err *e) {
    _cleanup_buf_ struct buf line = BUF_INIT(LIMIT_SMALL_FILE);
    char block[16384];

    for (;;) {
        ssize_t n = http_read(h, block, sizeof block, e);
        char *end;

        if (n < 0)
            return (int)n;
        buf_add(&line, block, (size_t)n);
        if (n == 0 && line.len)
            buf_addc(&line, '\n');
        if (!buf_ok(&line))
            return buf_check(&line, e);
        while (line.len && (end = memchr(line.data, '\n', line.len))) {
            size_t len = (size_t)(end - line.data) + 1;
            json_t *j = json_loadb(line.data, len, JSON_DISABLE_EOF_CHECK, NULL);
            int r = 0;

            if (j)
                r = each(j, data, e);
            else if (strspn(line.data, " \r\n\t") < len)
                r = err_set(e, ERR_INTERNAL, "the engine's stream holds a line that is no JSON");
            json_decref(j);
            if (r < 0)
                return r;
            buf_consume(&line, len);
        }
        if (n == 0)
            return 0;
    }
}
