// SPDX-License-Identifier: Apache-2.0
/* Sections: lines; directives; here-documents; instructions. */
#include "image/dockerfile.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/str.h"
#include "image/words.h"

#define BYTE_ORDER_MARK "\xef\xbb\xbf"
#define BLANKS " \t\v\f\r"

struct reading {
    const char *at; /* rest of the text; NULL at its end */
    char escape;
    struct strv *out;
};

/* ---- lines ---------------------------------------------------------------------------------------------------------------- */

struct line {
    const char *p;
    size_t n;
};

static bool next_line(struct reading *x, struct line *ret) {
    size_t n;

    if (!x->at)
        return false;
    n = strcspn(x->at, "\n");
    *ret = (struct line){x->at, n};
    x->at = x->at[n] ? x->at + n + 1 : NULL;
    if (n > 0 && ret->p[n - 1] == '\r')
        ret->n--;
    return true;
}

static struct line trimmed(struct line l) {
    while (l.n > 0 && strchr(BLANKS, *l.p))
        l.p++, l.n--;
    while (l.n > 0 && strchr(BLANKS, l.p[l.n - 1]))
        l.n--;
    return l;
}

static bool says_nothing(struct line l) {
    l = trimmed(l);
    return l.n == 0 || *l.p == '#';
}

/* Does it go on with the next line? The sign that says so is taken off then; two of them are none. */
static bool goes_on(const struct reading *x, struct line *l) {
    size_t n = l->n;

    while (n > 0 && (l->p[n - 1] == ' ' || l->p[n - 1] == '\t'))
        n--;
    if (n == 0 || l->p[n - 1] != x->escape || (n > 1 && l->p[n - 2] == x->escape))
        return false;
    l->n = n - 1;
    return true;
}

/* ---- directives ----------------------------------------------------------------------------------------------------------- */

static bool word_is(struct line l, const char *word) {
    return l.n == strlen(word) && strncasecmp(l.p, word, l.n) == 0;
}

/* "# KEY = VALUE" with one of the keys there are: its index, or -1. */
static int directive(struct line l, struct line *ret_value) {
    static const char *const keys[] = {"escape", "syntax"};
    const char *eq;
    struct line key;

    if (l.n == 0 || *l.p != '#' || !(eq = memchr(l.p, '=', l.n)))
        return -1;
    key = trimmed((struct line){l.p + 1, (size_t)(eq - l.p) - 1});
    *ret_value = trimmed((struct line){eq + 1, l.n - (size_t)(eq - l.p) - 1});
    for (int i = 0; ret_value->n > 0 && i < (int)ELEMENTSOF(keys); i++)
        if (word_is(key, keys[i]))
            return i;
    return -1;
}

/* Directives stand above all else, comments and blank lines included. */
static int read_directives(struct reading *x, struct err *e) {
    bool seen[2] = {false};
    struct reading ahead = *x;
    struct line l, value;

    for (int k; next_line(&ahead, &l) && (k = directive(trimmed(l), &value)) >= 0; x->at = ahead.at) {
        if (seen[k])
            return err_set(e, ERR_INVALID, "only one %s parser directive can be used", k == 0 ? "escape" : "syntax");
        seen[k] = true;
        if (k == 0 && (value.n != 1 || (*value.p != '`' && *value.p != '\\')))
            return err_set(e, ERR_INVALID, "invalid escape token '%.*s' does not match ` or \\", (int)value.n, value.p);
        if (k == 0)
            x->escape = *value.p;
    }
    return 0;
}

/* ---- here-documents ------------------------------------------------------------------------------------------------------- */

static bool takes_documents(const char *instruction) {
    static const char *const verbs[] = {"ADD", "COPY", "RUN"};
    struct line verb = {instruction, strcspn(instruction, BLANKS)};

    if (word_is(verb, "ONBUILD")) {
        instruction += verb.n + strspn(instruction + verb.n, BLANKS);
        verb = (struct line){instruction, strcspn(instruction, BLANKS)};
    }
    for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
        if (word_is(verb, verbs[i]))
            return true;
    return false;
}

/* "[N]<<[-]NAME", the name perhaps in quotes: fresh memory, or NULL when the word is none. */
static char *document_name(const char *word, char escape, bool *ret_tabs) {
    char *name = NULL;

    word += strspn(word, "0123456789");
    word = str_after(word, "<<");
    if (!word)
        return NULL;
    *ret_tabs = *word == '-';
    word += *ret_tabs;
    if (!*word || strchr(word, '<') || words_expand(word, escape, NULL, 0, &name, NULL) < 0)
        return NULL;
    return name;
}

/* The lines up to the one that is the name alone, with it. */
static int read_document(struct reading *x, const char *name, bool tabs, struct buf *to, struct err *e) {
    struct line l;

    while (next_line(x, &l)) {
        size_t indent = 0;

        while (tabs && indent < l.n && l.p[indent] == '\t')
            indent++;
        if (l.n - indent == strlen(name) && strncmp(l.p + indent, name, l.n - indent) == 0) {
            buf_addf(to, "\n%s", name);
            return 0;
        }
        buf_addf(to, "\n%.*s", (int)l.n, l.p);
    }
    return err_set(e, ERR_INVALID, "unterminated heredoc");
}

static int read_documents(struct reading *x, const char *instruction, struct buf *to, struct err *e) {
    const char *at = instruction;
    int r = 0;

    for (char *word; r == 0 && (word = words_next(&at, x->escape)); free(word)) {
        bool tabs = false;
        _cleanup_free_ char *name = document_name(word, x->escape, &tabs);

        if (name)
            r = read_document(x, name, tabs, to, e);
    }
    return r;
}

/* ---- instructions --------------------------------------------------------------------------------------------------------- */

static int read_instruction(struct reading *x, struct line l, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(MIB(4)), documents = BUF_INIT(MIB(4));
    _cleanup_free_ char *whole = NULL;
    struct line t;
    bool more;
    int r;

    while (l.n > 0 && strchr(BLANKS, *l.p))
        l.p++, l.n--;
    more = goes_on(x, &l);
    buf_add(&b, l.p, l.n);
    while (more && next_line(x, &l)) {
        if (says_nothing(l))
            continue;
        more = goes_on(x, &l);
        buf_add(&b, l.p, l.n);
    }
    r = buf_check(&b, e);
    if (r < 0)
        return r;
    t = trimmed((struct line){buf_str(&b), b.len});
    if (t.n == 0)
        return 0;
    whole = strndup(t.p, t.n);
    if (!whole)
        return err_oom(e);
    r = takes_documents(whole) ? read_documents(x, whole, &documents, e) : 0;
    if (r == 0)
        r = buf_check(&documents, e);
    return r < 0 ? r : strv_addf(x->out, "%s%s", whole, buf_str(&documents)) < 0 ? err_oom(e) : 0;
}

int dockerfile_split(const char *text, struct strv *ret, char *ret_escape, struct err *e) {
    const char *rest = str_after(text, BYTE_ORDER_MARK);
    struct reading x = {.at = rest ? rest : text, .escape = '\\', .out = ret};
    struct line l;
    int r = read_directives(&x, e);

    while (r == 0 && next_line(&x, &l))
        if (!says_nothing(l))
            r = read_instruction(&x, l, e);
    if (r == 0 && ret->n == 0)
        r = err_set(e, ERR_INVALID, "file with no instructions");
    *ret_escape = x.escape;
    return r;
}
