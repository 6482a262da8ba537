// SPDX-License-Identifier: Apache-2.0
#include "wire/uri.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

char *uri_decode(const char *s, size_t n, bool plus, size_t *ret_n) {
    char *out = malloc(n + 1);
    size_t k = 0;

    if (!out)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];

        if (c == '%') {
            int hi = i + 1 < n ? hex_value(s[i + 1]) : -1, lo = i + 2 < n ? hex_value(s[i + 2]) : -1;

            if (hi < 0 || lo < 0) {
                free(out);
                errno = EINVAL;
                return NULL;
            }
            c = (char)(hi << 4 | lo);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        out[k++] = c;
    }
    out[k] = '\0';
    if (ret_n)
        *ret_n = k;
    return out;
}

int uri_split(const char *target, char **ret_path, char **ret_query) {
    _cleanup_free_ char *path = NULL, *query = NULL;
    const char *p = target, *q;
    size_t n = 0;

    for (const char *c = target; *c; c++)
        if ((unsigned char)*c < 0x21 || *c == 0x7f)
            return -EINVAL;
    if (strncasecmp(p, "http://", 7) == 0 || strncasecmp(p, "https://", 8) == 0) {
        p = strchr(p, ':') + 3;
        p += strcspn(p, "/?");
    } else if (*p != '/' && !streq(p, "*")) {
        return -EINVAL;
    }
    q = strchr(p, '?');
    path = q == p || !*p ? strdup("/") : uri_decode(p, q ? (size_t)(q - p) : strlen(p), false, &n);
    if (!path)
        return errno == EINVAL ? -EINVAL : -ENOMEM;
    query = strdup(q ? q + 1 : "");
    if (!query)
        return -ENOMEM;
    *ret_path = TAKE_PTR(path);
    *ret_query = TAKE_PTR(query);
    return n > strlen(*ret_path) ? -EILSEQ : 0;
}

char *uri_clean_path(const char *path) {
    size_t n = strlen(path), k = 0;
    char *out = malloc(n + 2);

    if (!out)
        return NULL;
    /* `out` holds whole segments, each with its leading slash. */
    for (const char *p = path; *p;) {
        const char *seg;
        size_t len;

        while (*p == '/')
            p++;
        seg = p;
        while (*p && *p != '/')
            p++;
        len = (size_t)(p - seg);
        if (len == 0 || (len == 1 && seg[0] == '.'))
            continue;
        if (len == 2 && seg[0] == '.' && seg[1] == '.') {
            while (k > 0 && out[--k] != '/')
                ;
            continue;
        }
        out[k++] = '/';
        memcpy(out + k, seg, len);
        k += len;
    }
    if (k == 0 || (n > 0 && path[n - 1] == '/'))
        out[k++] = '/';
    out[k] = '\0';
    return out;
}

char *uri_encode_path(const char *path) {
    static const char keep[] = "-_.~$&+,/:;=@";
    char *out = malloc(strlen(path) * 3 + 1), *o = out;

    if (!out)
        return NULL;
    for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
        if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr(keep, *p)) {
            *o++ = (char)*p;
        } else {
            *o++ = '%';
            *o++ = "0123456789ABCDEF"[*p >> 4];
            *o++ = "0123456789ABCDEF"[*p & 15];
        }
    }
    *o = '\0';
    return out;
}

/* First bad escape in s, or NULL. %00 is one: a name would end there, and another thing be meant. */
static const char *bad_escape(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] == '%' && (i + 2 >= n || hex_value(s[i + 1]) < 0 || hex_value(s[i + 2]) < 0 || (s[i + 1] == '0' && s[i + 2] == '0')))
            return s + i;
    return NULL;
}

int uri_check_query(const char *query, struct err *e) {
    char escape[4] = "";
    bool semicolon = false;

    while (*query) {
        size_t n = strcspn(query, "&"), key = strcspn(query, "=&");
        const char *bad = bad_escape(query, key), *end = query + key;

        if (!bad && key < n) {
            end = query + n;
            bad = bad_escape(query + key + 1, n - key - 1);
        }
        /* A semicolon is reported even after another fault: the parser overwrites what it had found. */
        if (memchr(query, ';', n)) {
            semicolon = true;
        } else if (bad && !*escape) {
            memcpy(escape, bad, MIN((size_t)3, (size_t)(end - bad)));
        }
        query += n + (query[n] == '&');
    }
    if (semicolon)
        return err_set(e, ERR_INVALID, "invalid semicolon separator in query");
    if (*escape) {
        _cleanup_buf_ struct buf quoted = BUF_INIT(64);

        buf_add_json_string(&quoted, escape);
        return err_set(e, ERR_INVALID, "invalid URL escape %s", buf_str(&quoted));
    }
    return 0;
}
