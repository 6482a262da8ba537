// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "wire/http-internal.h"
#include "wire/uri.h"

struct head_copy {
    struct call *c;
    struct buf text; /* name NUL value NUL ... */
    size_t n;
    int status;
    const char *refusal;
};

/* Token characters of RFC 9110 5.6.2. */
static bool is_token(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)s[i];

        if (!((ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') || (ch && strchr("!#$%&'*+-.^_`|~", ch))))
            return false;
    }
    return n > 0;
}

static bool is_field_value(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)s[i] < 0x20 && s[i] != '\t') || s[i] == 0x7f)
            return false;
    return true;
}

static enum MHD_Result copy_header(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_n, const char *value, size_t value_n) {
    struct head_copy *h = cls;

    /* The library of Debian 12 keeps a blank before the colon as part of the name. */
    if (key_n > 0 && (key[key_n - 1] == ' ' || key[key_n - 1] == '\t')) {
        h->status = 400;
        h->refusal = "400 Bad Request: invalid header name";
        return MHD_NO;
    }
    if (!is_token(key, key_n) || (value && !is_field_value(value, value_n)) || h->n >= LIMIT_HTTP_HEADERS) {
        h->status = h->n >= LIMIT_HTTP_HEADERS ? 431 : 400;
        h->refusal = h->status == 431 ? "431 Request Header Fields Too Large" : "400 Bad Request";
        return MHD_NO;
    }
    buf_add(&h->text, key, key_n);
    buf_addc(&h->text, '\0');
    if (value)
        buf_add(&h->text, value, value_n);
    buf_addc(&h->text, '\0');
    h->n++;
    return MHD_YES;
}

static int copy_headers(struct call *c, const char **ret_text) {
    struct head_copy h = {.c = c, .text = BUF_INIT(LIMIT_HTTP_HEAD_BYTES)};
    char *at;

    MHD_get_connection_values_n(c->mhd, MHD_HEADER_KIND, copy_header, &h);
    if (h.status == 0 && h.n > 0) {
        c->in = calloc(h.n, sizeof(*c->in));
        at = buf_take(&h.text);
        if (!c->in || !at) {
            free(at);
            h.status = 500;
            h.refusal = "500 Internal Server Error";
        } else {
            for (size_t i = 0; i < h.n; i++) {
                c->in[i].name = at;
                at += strlen(at) + 1;
                c->in[i].value = at;
                at += strlen(at) + 1;
            }
            c->n_in = h.n;
        }
    }
    buf_done(&h.text);
    *ret_text = h.refusal;
    return h.status;
}

/* `list` is a comma-separated list of tokens that holds `token` (any case). */
static bool has_token(const char *list, const char *token) {
    size_t n = strlen(token);

    while (*list) {
        size_t k = strcspn(list, ",");
        const char *a = list, *z = list + k;

        while (a < z && (*a == ' ' || *a == '\t'))
            a++;
        while (z > a && (z[-1] == ' ' || z[-1] == '\t'))
            z--;
        if ((size_t)(z - a) == n && strncasecmp(a, token, n) == 0)
            return true;
        list += k + (list[k] == ',');
    }
    return false;
}

/*
 * How long is the body, and may we believe it? Whatever could make a proxy in front of us and us disagree on where a request ends is refused
 * (RFC 9112 6.1, 6.3), also where the reference picks one reading.
 */
static int check_framing(struct call *c, const char **ret_text) {
    const char *length = NULL, *coding = NULL, *host = NULL, *expect = NULL;
    int hosts = 0, codings = 0;
    uint64_t n = 0;

    *ret_text = "400 Bad Request";
    for (size_t i = 0; i < c->n_in; i++) {
        const char *name = c->in[i].name, *value = c->in[i].value;

        if (strcasecmp(name, "Host") == 0) {
            host = value;
            hosts++;
        } else if (strcasecmp(name, "Content-Length") == 0) {
            if (length && !streq(length, value))
                return 400;
            length = value;
        } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
            coding = value;
            codings++;
        } else if (strcasecmp(name, "Expect") == 0) {
            expect = value;
        } else if (strcasecmp(name, "Connection") == 0 && has_token(value, "close")) {
            c->wants_close = true;
        }
    }
    if (hosts > 1 || (length && coding) || (coding && c->http10))
        return 400;
    if (!host && !c->http10) {
        *ret_text = "400 Bad Request: missing required Host header";
        return 400;
    }
    if (coding && (codings > 1 || strcasecmp(coding, "chunked") != 0)) {
        *ret_text = "Unsupported transfer encoding";
        return 501;
    }
    if (length && (parse_u64(length, &n) < 0 || n > INT64_MAX))
        return 400;
    if (expect && strcasecmp(expect, "100-continue") != 0) {
        *ret_text = "";
        return 417;
    }
    c->expects = expect != NULL && !c->http10;
    c->length = coding ? -1 : (int64_t)n;
    c->has_body = coding || n > 0;
    if (c->http10 && !c->wants_close) {
        const char *v = call_header(c, "Connection");

        c->wants_close = !v || !has_token(v, "keep-alive");
    }
    *ret_text = NULL;
    return 0;
}

int http_head_read(struct call *c, const char *method, const char *version, const char **ret_text) {
    int r, status;

    c->http10 = streq(version, "HTTP/1.0");
    c->head_only = streq(method, "HEAD");
    c->method = strdup(method);
    status = copy_headers(c, ret_text);
    if (status == 0)
        status = check_framing(c, ret_text);
    if (status != 0)
        return status;
    r = c->target ? uri_split(c->target, &c->path, &c->query) : -ENOMEM;
    if (r == -EILSEQ)
        c->path_nul = true;
    else if (r == -EINVAL) {
        *ret_text = "400 Bad Request";
        return 400;
    }
    if ((r < 0 && r != -EILSEQ) || !c->method) {
        *ret_text = "500 Internal Server Error";
        return 500;
    }
    return 0;
}
