// SPDX-License-Identifier: Apache-2.0
#include "image/words.h"

#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"

#define DEPTH 16       /* of substitutions inside substitutions */
#define WORK (1 << 28) /* length of a pattern times that of the value it is held against, which is what finding it takes */

char *words_next(const char **at) {
    const char *start = *at, *p;
    char quote = 0;

    while (isspace((unsigned char)*start))
        start++;
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
    if (r == 0)
        r = buf_check(&x->out, e);
    *ret = x->out;
    x->out = outer;
    x->depth--;
    return r;
}

/* A pattern of the shell, in which only the asterisk, the question mark and the backslash mean something: characters and these. */
enum { ANY = UCHAR_MAX + 1, STAR };
struct pattern {
    uint16_t *v;
    size_t n;
};

/* `turned`: its last character first. `len`: of the value it is for. Release v. */
static int read_pattern(const char *text, bool turned, size_t len, struct pattern *ret, struct err *e) {
    struct pattern p = {calloc(strlen(text) + 1, sizeof *p.v), 0};

    if (!p.v)
        return err_oom(e);
    for (; *text; text++) {
        bool plain = *text == '\\' && text[1];

        text += plain;
        p.v[p.n++] = !plain && *text == '*' ? STAR : !plain && *text == '?' ? ANY : (unsigned char)*text;
    }
    *ret = p;
    if (len && p.n > WORK / len)
        return err_set(e, ERR_INVALID, "a pattern of %zu characters is too long for a value of %zu", p.n, len);
    for (size_t i = 0; turned && i < p.n / 2; i++) {
        uint16_t first = p.v[i];

        p.v[i] = p.v[p.n - 1 - i];
        p.v[p.n - 1 - i] = first;
    }
    return 0;
}

/* What a pattern is held against: from `p` on, `len` characters, backwards where step is -1. */
struct text {
    const char *p;
    size_t len;
    int step;
};

/* Are these n characters of the pattern, no asterisk among them, those of the text at `at`? */
static bool fits(const uint16_t *v, size_t n, const struct text *t, size_t at) {
    if (n > t->len - at)
        return false;
    for (size_t i = 0; i < n; i++)
        if (v[i] != ANY && v[i] != (unsigned char)t->p[(ptrdiff_t)(at + i) * t->step])
            return false;
    return true;
}

/*
 * The longest beginning of the text, or the shortest, that the pattern is good for. What stands between asterisks is looked for once, each behind the one before: at most
 * the length of the pattern times that of the text is compared. -1: none; NOWHERE: nor would one further on in the text.
 */
#define NOWHERE (-2)
static ssize_t match_from(const struct pattern *pattern, const struct text *t, bool longest) {
    size_t at = 0;

    for (size_t i = 0, n; i <= pattern->n; i += n + 1) {
        size_t from = at;
        bool last, backwards;

        for (n = 0; i + n < pattern->n && pattern->v[i + n] != STAR;)
            n++;
        last = i + n == pattern->n;
        backwards = i > 0 && last && longest && n <= t->len - at;
        if (backwards)
            from = t->len - n;
        while (!fits(pattern->v + i, n, t, from)) {
            if (i == 0)
                return -1;
            if (backwards ? from == at : from == t->len)
                return NOWHERE;
            from = backwards ? from - 1 : from + 1;
        }
        at = from + n;
    }
    return (ssize_t)at;
}

static void replace(struct expansion *x, const char *value, size_t len, const struct pattern *p, const struct buf *by, bool all) {
    for (const char *end = value + len; value < end;) {
        ssize_t n = match_from(p, &(struct text){value, (size_t)(end - value), 1}, true);

        if (n > 0) {
            buf_add(&x->out, buf_str(by), by->len);
            value += n;
        } else if (n != NOWHERE) {
            buf_addc(&x->out, *value++);
        }
        if (n == NOWHERE || (n > 0 && !all)) {
            buf_add(&x->out, value, (size_t)(end - value));
            break;
        }
    }
}

/* ${NAME#pattern}, ##, %, %% and ${NAME/pattern/text}, //. */
static int cut(struct expansion *x, const char *value, struct err *e) {
    char how = *x->at++;
    bool twice = *x->at == how;
    size_t len = strlen(value);
    _cleanup_buf_ struct buf pattern = BUF_INIT(0), text = BUF_INIT(0);
    struct pattern p = {0};
    ssize_t n;
    int r;

    x->at += twice;
    r = how == '/' ? aside(x, '/', '}', &pattern, e) : aside(x, '}', 0, &pattern, e);
    if (r >= 0 && how == '/' && x->at[-1] == '/')
        r = aside(x, '}', 0, &text, e);
    if (r < 0)
        return r;
    r = read_pattern(buf_str(&pattern), how == '%', len, &p, e);
    if (r == 0 && how == '#') {
        n = match_from(&p, &(struct text){value, len, 1}, twice);
        buf_adds(&x->out, value + MAX(n, 0));
    } else if (r == 0 && how == '%') {
        n = match_from(&p, &(struct text){len ? value + len - 1 : value, len, -1}, twice);
        buf_add(&x->out, value, len - (size_t)MAX(n, 0));
    } else if (r == 0) {
        replace(x, value, len, &p, &text, twice);
    }
    free(p.v);
    return r;
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
