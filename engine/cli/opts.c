// SPDX-License-Identifier: Apache-2.0
#include "cli/opts.h"

#include "base/str.h"
#include "cli/cli.h"

static const struct opt *by_name(const struct opt *table, size_t n, const char *name, size_t len) {
    for (size_t i = 0; i < n; i++)
        if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0)
            return &table[i];
    return NULL;
}

static const struct opt *by_letter(const struct opt *table, size_t n, char letter) {
    for (size_t i = 0; i < n; i++)
        if (table[i].letter == letter)
            return &table[i];
    return NULL;
}

static int set(const struct opt *o, const char *value, struct err *e) {
    switch (o->kind) {
    case OPT_FLAG:
        if (!value)
            *(bool *)o->to = true;
        else if (parse_bool(value, o->to) < 0)
            return err_set(e, ERR_INVALID, "--%s is either true or false, not \"%s\"", o->name, value);
        return 0;
    case OPT_TEXT:
        *(const char **)o->to = value;
        return 0;
    case OPT_LIST:
        return strv_add(o->to, value) < 0 ? err_oom(e) : 0;
    }
    return 0;
}

static int no_value(const struct opt *o, struct err *e) {
    return err_set(e, ERR_INVALID, "--%s needs a value (%s)", o->name, o->value);
}

/* "--name", "--name=value"; *i moves on when the value is the next argument. */
static int long_option(const struct opt *table, size_t n, int argc, char **argv, int *i, bool *ret_help, struct err *e) {
    const char *name = argv[*i] + 2, *equals = strchr(name, '='), *value = equals ? equals + 1 : NULL;
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    const struct opt *o = by_name(table, n, name, len);

    if (!o && len == 4 && memcmp(name, "help", 4) == 0) {
        *ret_help = true;
        return 0;
    }
    if (!o)
        return err_set(e, ERR_INVALID, "unknown option --%.*s", (int)len, name);
    if (o->kind != OPT_FLAG && !value) {
        if (*i + 1 >= argc)
            return no_value(o, e);
        value = argv[++*i];
    }
    return set(o, value, e);
}

/* "-it", "-p80:80", "-p 80:80", "-p=80:80". */
static int letters(const struct opt *table, size_t n, int argc, char **argv, int *i, bool *ret_help, struct err *e) {
    for (const char *at = argv[*i] + 1; *at; at++) {
        const struct opt *o = by_letter(table, n, *at);
        const char *value = at + 1;
        int r;

        if (!o && *at == 'h') {
            *ret_help = true;
            return 0;
        }
        if (!o)
            return err_set(e, ERR_INVALID, "unknown option -%c in \"%s\"", *at, argv[*i]);
        if (o->kind == OPT_FLAG) {
            r = set(o, *value == '=' ? value + 1 : NULL, e);
            if (r < 0 || *value == '=')
                return r;
            continue;
        }
        if (*value == '=')
            value++;
        if (!*value) {
            if (*i + 1 >= argc)
                return no_value(o, e);
            value = argv[++*i];
        }
        return set(o, value, e);
    }
    return 0;
}

int opts_parse(const struct opt *table, size_t n, int argc, char **argv, bool first_word_ends, struct strv *words, bool *ret_help, struct err *e) {
    bool options = true;

    *ret_help = false;
    for (int i = 1; i < argc; i++) {
        int r = 0;

        if (options && streq(argv[i], "--"))
            options = false;
        else if (options && str_has_prefix(argv[i], "--"))
            r = long_option(table, n, argc, argv, &i, ret_help, e);
        else if (options && argv[i][0] == '-' && argv[i][1])
            r = letters(table, n, argc, argv, &i, ret_help, e);
        else if (strv_add(words, argv[i]) < 0)
            r = err_oom(e);
        else if (first_word_ends)
            options = false;
        if (r < 0 || *ret_help)
            return r;
    }
    return 0;
}

void opts_help(const struct opt *table, size_t n, struct buf *out) {
    for (size_t i = 0; i < n; i++) {
        char left[64];

        snprintf(left, sizeof left, "  %c%c%s --%s%s%s", table[i].letter ? '-' : ' ', table[i].letter ? table[i].letter : ' ',
                 table[i].letter ? "," : " ", table[i].name, table[i].value ? " " : "", table[i].value ? table[i].value : "");
        buf_addf(out, "%-34s %s\n", left, table[i].help);
    }
}

int opts_command(const struct opt *table, size_t n, int argc, char **argv, bool first_word_ends, int min, int max, struct strv *words, bool *ret_done,
                 struct err *e) {
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
    const struct command *me = command_find(argv[0]);
    bool help;
    int r;

    *ret_done = false;
    r = opts_parse(table, n, argc, argv, first_word_ends, words, &help, e);
    if (r < 0)
        return err_wrap(e, "%s", argv[0]);
    if (help && me) {
        buf_addf(&text, "Usage: hatake %s %s\n\n%s\n", me->name, me->synopsis, me->summary);
        if (n)
            buf_adds(&text, "\n");
        opts_help(table, n, &text);
        *ret_done = true;
        return out_write(&text, e);
    }
    if ((int)words->n < min || (max >= 0 && (int)words->n > max))
        return err_set(e, ERR_INVALID, "usage: hatake %s %s", argv[0], me ? me->synopsis : "");
    return 0;
}
