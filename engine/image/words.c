// SPDX-License-Identifier: Apache-2.0
#include "image/words.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "image/utf8.h"

#define DEPTH 16       /* of substitutions inside substitutions */
#define WORK (1 << 28) /* length of a pattern times that of the value it is held against, which is what finding it takes */

char *words_next(const char **at, char escape) {
    const char *start = *at, *p;
    char quote = 0;

    while (isspace((unsigned char)*start))
        start++;
    if (!*start)
        return NULL;
    for (p = start; *p && (quote || !isspace((unsigned char)*p)); p++) {
        if (*p == escape && p[1] && quote != '\'')
            p++;
        else if (quote ? *p == quote : *p == '"' || *p == '\'')
            quote = quote ? 0 : *p;
    }
    *at = p;
    return strndup(start, (size_t)(p - start));
}

struct expansion {
    const char *at;
    char escape;
    bool pattern; /* what is read is one: what was escaped stays so */
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

/* Characters, and where each begins among the bytes; v has one more, the end. What is no UTF-8 counts byte by byte. */
struct runes {
    uint32_t *v;
    size_t *at, n;
};
#define STRAY 0x200000u /* such a byte: no character */

static void runes_done(struct runes *r) {
    free(r->v);
    free(r->at);
}

/* The character at p, and of how many bytes it is. */
static size_t rune_at(const char *p, uint32_t *ret) {
    const unsigned char *b = (const unsigned char *)p;
    size_t n = utf8_width(p);
    uint32_t v = n == 1 ? b[0] : b[0] & (0x7fu >> n);

    for (size_t i = 1; i < n; i++)
        v = v << 6 | (b[i] & 0x3f);
    *ret = n == 1 && v >= 0x80 ? STRAY + v : v;
    return n;
}

static int read_runes(const char *text, struct runes *ret, struct err *e) {
    size_t len = strlen(text), at = 0;
    struct runes r = {calloc(len + 1, sizeof *r.v), calloc(len + 1, sizeof *r.at), 0};

    if (!r.v || !r.at) {
        runes_done(&r);
        return err_oom(e);
    }
    for (; at < len; r.n++) {
        r.at[r.n] = at;
        at += rune_at(text + at, &r.v[r.n]);
    }
    r.at[r.n] = len;
    *ret = r;
    return 0;
}

/* A pattern of the shell, in which only the asterisk, the question mark and the backslash mean something: characters and these. */
#define ANY (STRAY + 256)
#define STAR (STRAY + 257)
struct pattern {
    uint32_t *v;
    size_t n;
};

/* `turned`: its last character first. `len`: of the value it is for, in characters. Release v. */
static int read_pattern(const char *text, bool turned, size_t len, struct pattern *ret, struct err *e) {
    struct pattern p = {calloc(strlen(text) + 1, sizeof *p.v), 0};
    const char *at = text;
    int r = p.v ? 0 : err_oom(e);

    while (r == 0 && *at) {
        bool plain = *at == '\\';

        if (plain && (!at[1] || !strchr("*?\\/}", at[1])))
            r = err_set(e, ERR_INVALID, "invalid pattern (%s) in substitution: invalid escape '%.2s'", text, at);
        at += plain;
        at += rune_at(at, &p.v[p.n]);
        if (!plain && (p.v[p.n] == '*' || p.v[p.n] == '?'))
            p.v[p.n] = p.v[p.n] == '*' ? STAR : ANY;
        p.n++;
    }
    if (r == 0 && len && p.n > WORK / len)
        r = err_set(e, ERR_INVALID, "a pattern of %zu characters is too long for a value of %zu", p.n, len);
    for (size_t i = 0; turned && i < p.n / 2; i++) {
        uint32_t first = p.v[i];

        p.v[i] = p.v[p.n - 1 - i];
        p.v[p.n - 1 - i] = first;
    }
    if (r < 0)
        free(p.v);
    else
        *ret = p;
    return r;
}

/* What a pattern is held against: from `p` on, `len` characters, backwards where step is -1. */
struct text {
    const uint32_t *p;
    size_t len;
    int step;
};

/* Are these n characters of the pattern, no asterisk among them, those of the text at `at`? */
static bool fits(const uint32_t *v, size_t n, const struct text *t, size_t at) {
    if (n > t->len - at)
        return false;
    for (size_t i = 0; i < n; i++)
        if (v[i] != ANY && v[i] != t->p[(ptrdiff_t)(at + i) * t->step])
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

static void replace(struct expansion *x, const char *value, const struct runes *r, const struct pattern *p, const struct buf *by, bool all) {
    for (size_t i = 0; i < r->n;) {
        ssize_t n = match_from(p, &(struct text){r->v + i, r->n - i, 1}, true);

        if (n > 0) {
            buf_add(&x->out, buf_str(by), by->len);
            i += (size_t)n;
        } else if (n != NOWHERE) {
            buf_add(&x->out, value + r->at[i], r->at[i + 1] - r->at[i]);
            i++;
        }
        if (n == NOWHERE || (n > 0 && !all)) {
            buf_adds(&x->out, value + r->at[i]);
            break;
        }
    }
}

/* The pattern and, behind a second slash, what takes its place: as they are written. */
static int read_cut(struct expansion *x, char how, struct buf *pattern, struct buf *text, struct err *e) {
    _cleanup_err_ struct err why = ERR_INIT;
    int r;

    x->pattern = true;
    r = aside(x, how == '/' ? '/' : '}', how == '/' ? '}' : 0, pattern, &why);
    x->pattern = false;
    if (how == '/' && (r == 0 ? x->at[-1] != '/' : !*x->at))
        return err_set(e, ERR_INVALID, "syntax error: missing '/' in ${}");
    if (r < 0)
        return err_move(e, &why);
    return how == '/' ? aside(x, '}', 0, text, e) : 0;
}

/* ${NAME#pattern}, ##, %, %% and ${NAME/pattern/text}, //. */
static int cut(struct expansion *x, const char *value, struct err *e) {
    char how = *x->at++;
    bool twice = *x->at == how;
    _cleanup_buf_ struct buf pattern = BUF_INIT(0), text = BUF_INIT(0);
    __attribute__((cleanup(runes_done))) struct runes runes = {0};
    struct pattern p = {0};
    ssize_t n;
    int r;

    x->at += twice;
    r = read_cut(x, how, &pattern, &text, e);
    if (r == 0)
        r = read_runes(value, &runes, e);
    if (r == 0)
        r = read_pattern(buf_str(&pattern), how == '%', runes.n, &p, e);
    if (r < 0)
        return r;
    if (how == '#') {
        n = match_from(&p, &(struct text){runes.v, runes.n, 1}, twice);
        buf_adds(&x->out, value + runes.at[MAX(n, 0)]);
    } else if (how == '%') {
        n = match_from(&p, &(struct text){runes.n ? runes.v + runes.n - 1 : runes.v, runes.n, -1}, twice);
        buf_add(&x->out, value, runes.at[runes.n - (size_t)MAX(n, 0)]);
    } else {
        replace(x, value, &runes, &p, &text, twice);
    }
    free(p.v);
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
        return err_set(e, ERR_INVALID, "%.*s: %s", (int)n, name, text.len ? buf_str(&text) : "is not allowed to be unset");
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
        if (c == x->escape && *x->at && (*x->at == '"' || *x->at == '$' || *x->at == x->escape))
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

static void escaped(struct expansion *x) {
    if (x->pattern)
        buf_addc(&x->out, '\\');
    buf_addc(&x->out, *x->at++);
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
        else if (c == x->escape && *x->at)
            escaped(x);
        else if (c != x->escape)
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

int words_expand(const char *word, char escape, char *const *env, size_t n, char **ret, struct err *e) {
    struct expansion x = {.at = word, .escape = escape, .env = env, .n = n, .out = BUF_INIT(MIB(1))};
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
