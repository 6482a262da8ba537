// SPDX-License-Identifier: Apache-2.0
#include "image/words.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"

#define DEPTH 16 /* of substitutions inside substitutions */

char *words_next(const char **at) {
    const char *start = *at + strspn(*at, " \t"), *p;
    char quote = 0;

    if (!*start)
        return NULL;
    for (p = start; *p && (quote || !isspace((unsigned char)*p)); p++) {
        if (*p == '\\' && p[1] && quote != '\'')
            p++;
        else if (quote ? *p == quote : *p == '"' || *p == '\'')
            quote = quote ? 0 : *p;
    }
    *at = p;
    return strndup(start, (size_t)(p - start));
}

struct expansion {
    const char *at;
    char *const *env;
    size_t n;
    unsigned depth;
    struct buf out;
};

static const char *value_of(const struct expansion *x, const char *name, size_t n) {
    for (size_t i = 0; i < x->n; i++)
        if (strncmp(x->env[i], name, n) == 0 && x->env[i][n] == '=')
            return x->env[i] + n + 1;
    return NULL;
}

/* A name is letters, digits and underscores; one that begins with a digit, or with a sign of the shell's own, is that character alone. */
static size_t name_length(const char *p) {
    size_t n = 0;

    if (isalpha((unsigned char)*p) || *p == '_')
        while (isalnum((unsigned char)p[n]) || p[n] == '_')
            n++;
    else if (*p && (isdigit((unsigned char)*p) || strchr("@*#?-$!", *p)))
        n = 1;
    return n;
}

static int expand_until(struct expansion *x, char end, char other, struct err *e);

/* What stands up to the given character, or a second one, on its own. */
static int aside(struct expansion *x, char end, char other, struct buf *ret, struct err *e) {
    struct buf outer = x->out;
    int r;

    if (x->depth == DEPTH)
        return err_set(e, ERR_INVALID, "substitutions are nested too deeply");
    x->depth++;
    x->out = BUF_INIT(MIB(1));
    r = expand_until(x, end, other, e);
    *ret = x->out;
    x->out = outer;
    x->depth--;
    return r;
}

/* A pattern of the shell, in which only the asterisk, the question mark and the backslash mean something. */
static bool matches(const char *pattern, const char *text, size_t n) {
    for (; *pattern; pattern++) {
        if (*pattern == '*') {
            for (size_t i = 0; i <= n; i++)
                if (matches(pattern + 1, text + i, n - i))
                    return true;
            return false;
        }
        if (*pattern == '\\' && pattern[1])
            pattern++;
        else if (*pattern == '?' && n) {
            text++;
            n--;
            continue;
        }
        if (n == 0 || *text != *pattern)
            return false;
        text++;
        n--;
    }
    return n == 0;
}

/* The longest part from `at` on, or the shortest, that the pattern is good for. Negative: none. */
static ssize_t match_from(const char *pattern, const char *at, bool longest) {
    size_t len = strlen(at);

    for (size_t i = 0; i <= len; i++) {
        size_t n = longest ? len - i : i;

        if (matches(pattern, at, n))
            return (ssize_t)n;
    }
    return -1;
}

/* ${NAME#pattern}, ##, %, %% and ${NAME/pattern/text}, //. */
static int cut(struct expansion *x, const char *value, struct err *e) {
    char how = *x->at++;
    bool twice = *x->at == how;
    size_t len = strlen(value);
    _cleanup_buf_ struct buf pattern = BUF_INIT(0), text = BUF_INIT(0);
    ssize_t n;
    int r;

    x->at += twice;
    r = how == '/' ? aside(x, '/', '}', &pattern, e) : aside(x, '}', 0, &pattern, e);
    if (r >= 0 && how == '/' && x->at[-1] == '/')
        r = aside(x, '}', 0, &text, e);
    if (r < 0)
        return r;
    if (how == '#') {
        n = match_from(buf_str(&pattern), value, twice);
        buf_adds(&x->out, value + (n < 0 ? 0 : n));
    } else if (how == '%') {
        size_t keep = len;

        for (size_t i = 0; i <= len; i++) {
            size_t at = twice ? i : len - i;

            if (matches(buf_str(&pattern), value + at, len - at)) {
                keep = at;
                break;
            }
        }
        buf_add(&x->out, value, keep);
    } else {
        for (bool more = true; *value;) {
            n = more ? match_from(buf_str(&pattern), value, true) : -1;
            if (n > 0) {
                buf_add(&x->out, buf_str(&text), text.len);
                more = twice;
                value += n;
            } else {
                buf_addc(&x->out, *value++);
            }
        }
    }
    return 0;
}

/* Behind the name: what takes its place, or stands in for it. What is not used is read all the same, to find its end. */
static int substitute(struct expansion *x, const char *name, size_t n, struct err *e) {
    const char *value = value_of(x, name, n);
    bool colon = *x->at == ':', there = value && (!colon || *value);
    char how = x->at[colon];
    _cleanup_buf_ struct buf text = BUF_INIT(0);
    int r;

    if (!colon && how && strchr("#%/", how))
        return cut(x, value ? value : "", e);
    if (!how || !strchr("+-?", how))
        return err_set(e, ERR_INVALID, "unsupported modifier (%s%.*s) in substitution", colon ? ":" : "", how ? 1 : 3, how ? &how : "\xef\xbf\xbd");
    x->at += colon + 1;
    r = aside(x, '}', 0, &text, e);
    if (r < 0)
        return r;
    if (how == '?' && !there)
        return err_set(e, ERR_INVALID, "%.*s: %s", (int)n, name, text.len ? buf_str(&text) : "not allowed to be unset");
    if (how == '+' ? there : !there)
        buf_add(&x->out, buf_str(&text), text.len);
    else if (how != '+')
        buf_adds(&x->out, value);
    return 0;
}

/* At the character behind a dollar. */
static int dollar(struct expansion *x, struct err *e) {
    bool braced = *x->at == '{';
    const char *name = x->at + braced, *value;
    size_t n = name_length(name);

    if (n == 0 && !braced) {
        buf_addc(&x->out, '$');
        return 0;
    }
    if (n == 0)
        return err_set(e, ERR_INVALID, "syntax error: bad substitution");
    x->at = name + n;
    if (braced && *x->at != '}')
        return substitute(x, name, n, e);
    x->at += braced;
    value = value_of(x, name, n);
    if (value)
        buf_adds(&x->out, value);
    return 0;
}

/* Between double quotes a backslash protects only what would otherwise mean something there. */
static int double_quoted(struct expansion *x, struct err *e) {
    while (*x->at != '"') {
        char c = *x->at++;
        int r;

        if (!c)
            return err_set(e, ERR_INVALID, "unexpected end of statement while looking for matching double-quote");
        if (c == '$') {
            r = dollar(x, e);
            if (r < 0)
                return r;
            continue;
        }
        if (c == '\\' && *x->at && strchr("\"$\\", *x->at))
            c = *x->at++;
        buf_addc(&x->out, c);
    }
    x->at++;
    return 0;
}

static int single_quoted(struct expansion *x, struct err *e) {
    const char *end = strchr(x->at, '\'');

    if (!end)
        return err_set(e, ERR_INVALID, "unexpected end of statement while looking for matching single-quote");
    buf_add(&x->out, x->at, (size_t)(end - x->at));
    x->at = end + 1;
    return 0;
}

/* Up to the given character, which is taken, or to another one that will do (0: none will); with 0 to the end of the word. */
static int expand_until(struct expansion *x, char end, char other, struct err *e) {
    int r = 0;

    while (r == 0) {
        char c = *x->at;

        if (c)
            x->at++;
        if (c == end || (other && c == other))
            return 0;
        if (!c)
            return err_set(e, ERR_INVALID, "syntax error: missing '%c'", end);
        if (c == '\'')
            r = single_quoted(x, e);
        else if (c == '"')
            r = double_quoted(x, e);
        else if (c == '$')
            r = dollar(x, e);
        else if (c == '\\' && *x->at)
            buf_addc(&x->out, *x->at++);
        else if (c != '\\')
            buf_addc(&x->out, c);
    }
    return r;
}

/* The word in the message is quoted as Go quotes it. */
static void name_word(const char *word, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(MIB(2));

    for (const char *p = word; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_addc(&b, '\\');
        buf_addc(&b, *p);
    }
    err_wrap(e, "failed to process \"%s\"", buf_str(&b));
}

int words_expand(const char *word, char *const *env, size_t n, char **ret, struct err *e) {
    struct expansion x = {.at = word, .env = env, .n = n, .out = BUF_INIT(MIB(1))};
    int r = expand_until(&x, 0, 0, e);

    if (r < 0)
        name_word(word, e);
    if (r == 0)
        r = buf_check(&x.out, e);
    if (r == 0) {
        *ret = x.out.len ? buf_take(&x.out) : strdup("");
        if (!*ret)
            r = err_oom(e);
    }
    buf_done(&x.out);
    return r;
}
