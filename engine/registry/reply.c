// SPDX-License-Identifier: Apache-2.0
/* What a registry says instead of what was asked for, in the words of the reference's client (OCI distribution-spec 1.1, "Error Codes"). */
#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "registry/registry-internal.h"

#define ERRORS_SHOWN 20

struct known_code {
    const char *code, *text, *message; /* text: as it is printed; message: when the registry gives none */
    enum err_kind kind;
};
static const struct known_code codes[] = {
    {"DENIED", "denied", "requested access to the resource is denied", ERR_FORBIDDEN},
    {"UNAUTHORIZED", "unauthorized", "authentication required", ERR_UNAUTHORIZED},
    {"MANIFEST_UNKNOWN", "manifest unknown", "manifest unknown", ERR_NOT_FOUND},
    {"NAME_UNKNOWN", "name unknown", "repository name not known to registry", ERR_NOT_FOUND},
    {"NAME_INVALID", "name invalid", "invalid repository name", ERR_INVALID},
    {"TAG_INVALID", "tag invalid", "manifest tag did not match URI", ERR_INVALID},
    {"BLOB_UNKNOWN", "blob unknown", "blob unknown to registry", ERR_NOT_FOUND},
    {"DIGEST_INVALID", "digest invalid", "provided digest did not match uploaded content", ERR_INVALID},
    {"SIZE_INVALID", "size invalid", "provided length did not match content length", ERR_INVALID},
    {"MANIFEST_INVALID", "manifest invalid", "manifest invalid", ERR_INVALID},
    {"MANIFEST_UNVERIFIED", "manifest unverified", "manifest failed signature verification", ERR_INVALID},
    {"MANIFEST_BLOB_UNKNOWN", "manifest blob unknown", "blob unknown to registry", ERR_INVALID},
    {"BLOB_UPLOAD_UNKNOWN", "blob upload unknown", "blob upload unknown to registry", ERR_NOT_FOUND},
    {"BLOB_UPLOAD_INVALID", "blob upload invalid", "blob upload invalid", ERR_NOT_FOUND},
    {"TOOMANYREQUESTS", "toomanyrequests", "too many requests", ERR_INTERNAL},
    {"UNSUPPORTED", "unsupported", "The operation is unsupported.", ERR_METHOD},
    {"UNAVAILABLE", "unavailable", "service unavailable", ERR_UNAVAILABLE},
    {"UNKNOWN", "unknown", "unknown error", ERR_INTERNAL},
};

static const struct known_code *find_code(const char *code) {
    for (size_t i = 0; i < ELEMENTSOF(codes); i++)
        if (streq(codes[i].code, code))
            return &codes[i];
    return &codes[ELEMENTSOF(codes) - 1];
}

/* Texts of a registry are shown to people: no control characters, and not a screenful. */
static char *tame(const char *s) {
    char *copy = strndup(s, 512);

    for (char *p = copy; p && *p; p++)
        if ((unsigned char)*p < 32 || *p == 127)
            *p = ' ';
    return copy;
}

struct said {
    const struct known_code *code;
    const char *message; /* borrowed */
};

/* What the challenge says about the token that was sent (RFC 6750, 3.1), then what the body says. */
static size_t gather(long status, json_t *o, const char *why, const char *description, struct said list[ERRORS_SHOWN]) {
    const char *details = json_string_value(json_object_get(o, "details"));
    size_t n = 0, i;
    json_t *each;

    if (why && (streq(why, "insufficient_scope") || streq(why, "invalid_token")) && status < 500) {
        list[n].code = find_code(streq(why, "invalid_token") ? "UNAUTHORIZED" : "DENIED");
        list[n++].message = str_empty(description) ? NULL : description;
    }
    if (!str_empty(details)) {
        list[n].code = find_code(status == 401 ? "UNAUTHORIZED" : status == 403 ? "DENIED" : status == 429 ? "TOOMANYREQUESTS" : "UNKNOWN");
        list[n++].message = details;
        return n;
    }
    json_array_foreach(json_object_get(o, "errors"), i, each) {
        const char *code = json_string_value(json_object_get(each, "code"));

        if (n == ERRORS_SHOWN)
            break;
        list[n].code = find_code(code ? code : "UNKNOWN");
        list[n++].message = json_string_value(json_object_get(each, "message"));
    }
    if (n == 0 && (status == 401 || status == 429))
        list[n++] = (struct said){find_code(status == 401 ? "UNAUTHORIZED" : "TOOMANYREQUESTS"), NULL};
    return n;
}

static void add_one(struct buf *b, const struct said *s) {
    _cleanup_free_ char *shown = tame(str_empty(s->message) ? s->code->message : s->message);

    buf_addf(b, "%s: %s", s->code->text, shown ? shown : "");
}

static int fail(long status, const struct buf *body, const char *challenge, bool all, const char **ret_code, struct err *e) {
    json_auto_t *o = json_loadb(buf_str(body), body->len, 0, NULL);
    _cleanup_free_ char *why = NULL, *description = NULL;
    _cleanup_buf_ struct buf text = BUF_INIT(KIB(64));
    struct said list[ERRORS_SHOWN];
    size_t n;

    if (challenge && strncasecmp(challenge, "Bearer", 6) == 0) {
        why = auth_parameter(challenge, "error");
        description = auth_parameter(challenge, "error_description");
    }
    n = gather(status, o, why, description, list);
    if (ret_code)
        *ret_code = n ? list[0].code->code : NULL;
    if (n == 0 && status == 404)
        return err_set(e, ERR_INTERNAL, "error parsing HTTP 404 response body: the registry answered with something else than the API");
    if (n == 0)
        return err_set(e, ERR_INTERNAL, "received unexpected HTTP status: %ld %s", status, http_phrase(status));
    if (!all || n == 1) {
        add_one(&text, &list[0]);
    } else {
        buf_adds(&text, "errors:\n");
        for (size_t i = 0; i < n; i++) {
            add_one(&text, &list[i]);
            buf_addc(&text, '\n');
        }
    }
    return err_set(e, all ? list[0].code->kind : ERR_INTERNAL, "%s", buf_str(&text));
}

int auth_reply_error(long status, const struct buf *body, const char *challenge, const char **ret_code, struct err *e) {
    return fail(status, body, challenge, false, ret_code, e);
}

int reply_errors(long status, const struct buf *body, const char *challenge, struct err *e) {
    return fail(status, body, challenge, true, NULL, e);
}

const char *http_phrase(long status) {
    static const struct {
        long status;
        const char *phrase;
    } known[] = {{400, "Bad Request"},         {401, "Unauthorized"},          {403, "Forbidden"},
                 {404, "Not Found"},           {405, "Method Not Allowed"},    {413, "Request Entity Too Large"},
                 {429, "Too Many Requests"},   {500, "Internal Server Error"}, {502, "Bad Gateway"},
                 {503, "Service Unavailable"}, {504, "Gateway Timeout"}};

    for (size_t i = 0; i < ELEMENTSOF(known); i++)
        if (known[i].status == status)
            return known[i].phrase;
    return "";
}
