// SPDX-License-Identifier: Apache-2.0
#include "image/changes.h"

#include <ctype.h>
#include <jansson.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/moment.h"
#include "base/str.h"
#include "base/strv.h"
#include "image/dockerfile.h"
#include "image/words.h"
#include "oci/build.h"
#include "types.h"
#include "wire/uri.h"

#define BLANKS " \t\v\f\r"

/* Instructions on their way into a configuration. */
struct changing {
    struct api_container_config *c;
    char escape;
    bool cmd_set; /* one of them was CMD, and said something: an ENTRYPOINT drops the command of before, but not one that was set beside it */
};

static void forget_list(struct api_string_list *list) {
    for (size_t k = 0; k < list->n; k++)
        free(list->v[k]);
    free(list->v);
    *list = (struct api_string_list){0};
}

/* A JSON list of strings, whatever follows it. 0: the text is none; positive: it is, all of it in `to`. */
static int read_list(const char *text, struct strv *to, struct err *e) {
    json_auto_t *o = *text == '[' ? json_loads(text, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    json_t *v;
    size_t i;

    json_array_foreach(o, i, v) {
        if (!json_is_string(v))
            return err_set(e, ERR_INVALID, "when using JSON array syntax, arrays must be comprised of strings only");
        if (strv_add(to, json_string_value(v)) < 0)
            return err_oom(e);
    }
    return json_is_array(o);
}

static int add_all(struct api_string_list *list, const struct strv *words, struct err *e) {
    int r = 0;

    for (size_t i = 0; r == 0 && i < words->n; i++)
        r = api_string_list_add(list, words->v[i], e);
    return r;
}

/* CMD and ENTRYPOINT: a JSON list of strings, or a line for the shell. */
static int set_command(struct api_string_list *list, const char *text, struct err *e) {
    _cleanup_strv_ struct strv words = STRV_INIT;
    int r = read_list(text, &words, e);

    if (r == 0 && (strv_add(&words, "/bin/sh") < 0 || strv_add(&words, "-c") < 0 || (*text && strv_add(&words, text) < 0)))
        r = err_oom(e);
    if (r < 0)
        return r;
    forget_list(list);
    list->set = true;
    return add_all(list, &words, e);
}

static bool says_nothing(const char *text) {
    return !*text || (*text == '[' && text[1 + strspn(text + 1, BLANKS)] == ']');
}

/* One that says nothing takes the entry point away. */
static int set_entrypoint(struct changing *x, const char *text, struct err *e) {
    if (!x->cmd_set)
        forget_list(&x->c->cmd);
    if (says_nothing(text)) {
        forget_list(&x->c->entrypoint);
        return 0;
    }
    return set_command(&x->c->entrypoint, text, e);
}

static int put_env(struct api_string_list *env, const char *key, size_t key_n, const char *value, struct err *e) {
    _cleanup_free_ char *line = str_printf("%.*s=%s", (int)key_n, key, value);

    if (!line)
        return err_oom(e);
    for (size_t i = 0; i < env->n; i++)
        if (strncmp(env->v[i], line, key_n + 1) == 0) {
            free(env->v[i]);
            env->v[i] = TAKE_PTR(line);
            return 0;
        }
    return api_string_list_add(env, line, e);
}

/* With the values that the configuration's environment has. */
static int expand(const struct changing *x, const char *word, struct strv *to, struct err *e) {
    _cleanup_free_ char *plain = NULL;
    int r = words_expand(word, x->escape, x->c->env.v, x->c->env.n, &plain, e);

    return r < 0 ? r : strv_add(to, plain) < 0 ? err_oom(e) : 0;
}

/* The words of EXPOSE and VOLUME, which know no quotes around blanks. */
static int split(const char *text, struct strv *to, struct err *e) {
    for (text += strspn(text, BLANKS); *text; text += strspn(text, BLANKS)) {
        size_t n = strcspn(text, BLANKS);

        if (strv_addn(to, text, n) < 0)
            return err_oom(e);
        text += n;
    }
    return 0;
}

static int expand_all(const struct changing *x, const struct strv *words, struct strv *to, struct err *e) {
    int r = 0;

    for (size_t i = 0; r == 0 && i < words->n; i++)
        r = expand(x, words->v[i], to, e);
    return r;
}

/* KEY=VALUE ..., or KEY and the rest of the line: to keys and values in turn, as they are written. */
static int read_pairs(const struct changing *x, const char *verb, const char *text, struct strv *to, struct err *e) {
    int r = 0;

    for (char *word; r == 0 && (word = words_next(&text, x->escape));) {
        _cleanup_free_ char *w = word;
        char *eq = strchr(w, '=');
        const char *value = eq ? eq + 1 : text + strspn(text, " \t");

        if (eq == w)
            return err_set(e, ERR_INVALID, "%s names can not be blank", verb);
        if (!eq && to->n)
            return err_set(e, ERR_INVALID, "Syntax error - can't find = in \"%s\". Must be of the form: name=value", w);
        if (!eq && !*value)
            return err_set(e, ERR_INVALID, "%s must have two arguments", verb);
        if (eq)
            *eq = 0;
        if (strv_add(to, w) < 0 || strv_add(to, value) < 0)
            return err_oom(e);
        if (!eq)
            break;
    }
    return r;
}

static int set_pairs(struct changing *x, const char *verb, const char *text, struct err *e) {
    _cleanup_strv_ struct strv written = STRV_INIT, pairs = STRV_INIT;
    struct api_container_config *c = x->c;
    int r = read_pairs(x, verb, text, &written, e);

    if (r == 0)
        r = expand_all(x, &written, &pairs, e);
    for (size_t i = 0; r == 0 && i < pairs.n; i += 2)
        r = streq(verb, "ENV") ? put_env(&c->env, pairs.v[i], strlen(pairs.v[i]), pairs.v[i + 1], e)
                               : api_string_map_set(&c->labels, pairs.v[i], pairs.v[i + 1], e);
    return r;
}

/* EXPOSE, one word of it: [[ADDRESS:]HOST PORT:]PORT[-PORT][/PROTOCOL], of which only what is inside the container counts. */
static int expose(struct api_string_set *set, const char *word, struct err *e) {
    const char *slash = strrchr(word, '/'), *colon;
    _cleanup_free_ char *ports = strndup(word, slash ? (size_t)(slash - word) : strlen(word)), *proto = strdup(slash && slash[1] ? slash + 1 : "tcp");
    int64_t first, last;
    char *to;
    int r = 0;

    if (!ports || !proto)
        return err_oom(e);
    colon = strrchr(ports, ':');
    colon = colon ? colon + 1 : ports;
    if (!*colon)
        return err_set(e, ERR_INVALID, "No port specified: %s<empty>", word);
    to = strchr(colon, '-');
    if (to)
        *to = 0;
    if (parse_int_range(colon, 0, UINT16_MAX, &first) < 0 || parse_int_range(to ? to + 1 : colon, first, UINT16_MAX, &last) < 0)
        return err_set(e, ERR_INVALID, "Invalid containerPort: %s%s%s", colon, to ? "-" : "", to ? to + 1 : "");
    for (char *p = proto; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    if (!streq(proto, "tcp") && !streq(proto, "udp") && !streq(proto, "sctp"))
        return err_set(e, ERR_INVALID, "Invalid proto: %s", proto);
    for (int64_t port = first; r == 0 && port <= last; port++) {
        _cleanup_free_ char *one = str_printf("%lld/%s", (long long)port, proto);

        r = one ? api_string_set_add(set, one, e) : err_oom(e);
    }
    return r;
}

/* A variable may hold several. */
static int set_ports(struct changing *x, const char *text, struct err *e) {
    _cleanup_strv_ struct strv written = STRV_INIT, words = STRV_INIT;
    int r = split(text, &written, e);

    if (r == 0)
        r = expand_all(x, &written, &words, e);
    for (size_t i = 0; r == 0 && i < words.n; i++) {
        char *save = NULL;

        for (char *word = strtok_r(words.v[i], " \t", &save); r == 0 && word; word = strtok_r(NULL, " \t", &save))
            r = expose(&x->c->exposed_ports, word, e);
    }
    return r;
}

static int check_volumes(const struct strv *paths, struct err *e) {
    for (size_t i = 0; i < paths->n; i++)
        if (!paths->v[i][strspn(paths->v[i], BLANKS)])
            return err_set(e, ERR_INVALID, "VOLUME specified can not be an empty string");
    return 0;
}

/* VOLUME: a JSON list of strings, or words; as they are written. */
static int read_volumes(const char *text, struct strv *to, struct err *e) {
    int r = read_list(text, to, e);

    if (r > 0 && to->n == 0)
        return err_set(e, ERR_INVALID, "VOLUME requires at least one argument");
    if (r == 0)
        r = split(text, to, e);
    return r < 0 ? r : check_volumes(to, e);
}

static int set_volumes(struct changing *x, const char *text, struct err *e) {
    _cleanup_strv_ struct strv written = STRV_INIT, paths = STRV_INIT;
    int r = read_volumes(text, &written, e);

    if (r == 0)
        r = expand_all(x, &written, &paths, e);
    if (r == 0)
        r = check_volumes(&paths, e);
    for (size_t i = 0; r == 0 && i < paths.n; i++)
        r = api_string_set_add(&x->c->volumes, paths.v[i], e);
    return r;
}

static int set_health_time(int64_t *to, const char *name, const char *value, struct err *e) {
    int64_t ns;
    int r;

    if (!*value)
        return 0;
    r = duration_read(value, &ns, e);
    if (r < 0)
        return r;
    if (ns != 0 && ns < NSEC_PER_MSEC)
        return err_set(e, ERR_INVALID, "Interval \"%s\" cannot be less than 1ms", name);
    *to = ns;
    return 0;
}

static int set_health_retries(int64_t *to, const char *value, struct err *e) {
    const char *digits = value + (*value == '+' || *value == '-');

    if (!*value)
        return 0;
    if (!*digits || digits[strspn(digits, "0123456789")])
        return err_set(e, ERR_INVALID, "strconv.ParseInt: parsing \"%s\": invalid syntax", value);
    if (parse_int_range(value + (*value == '+'), INT32_MIN, INT32_MAX, to) < 0)
        return err_set(e, ERR_INVALID, "strconv.ParseInt: parsing \"%s\": value out of range", value);
    return *to < 0 ? err_set(e, ERR_INVALID, "--retries cannot be negative (%lld)", (long long)*to) : 0;
}

/* One of them as "name=value". */
static int set_health_flag(struct api_health_config *h, const char *flag, struct err *e) {
    const char *value = strchrnul(flag, '=') + 1;
    const struct {
        const char *name;
        int64_t *to;
    } times[] = {{"interval", &h->interval}, {"timeout", &h->timeout}, {"start-period", &h->start_period}, {"start-interval", &h->start_interval}};

    for (size_t i = 0; i < ELEMENTSOF(times); i++)
        if (strlen(times[i].name) == (size_t)(value - 1 - flag) && str_has_prefix(flag, times[i].name))
            return set_health_time(times[i].to, times[i].name, value, e);
    return set_health_retries(&h->retries, value, e);
}

static char *in_capitals(char *word) {
    for (char *p = word; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    return word;
}

static int set_health_test(struct api_health_config *h, char escape, const char *text, struct err *e) {
    _cleanup_free_ char *type = words_next(&text, escape);
    _cleanup_strv_ struct strv words = STRV_INIT;
    int r;

    if (!type)
        return err_set(e, ERR_INVALID, "HEALTHCHECK requires at least one argument");
    text += strspn(text, " \t");
    h->test.set = true;
    if (strcasecmp(type, "NONE") == 0)
        return *text ? err_set(e, ERR_INVALID, "HEALTHCHECK NONE takes no arguments") : api_string_list_add(&h->test, "NONE", e);
    if (strcasecmp(type, "CMD") != 0)
        return err_set(e, ERR_INVALID, "Unknown type \"%s\" in HEALTHCHECK (try CMD)", in_capitals(type));
    if (!*text)
        return err_set(e, ERR_INVALID, "Missing command after HEALTHCHECK CMD");
    r = read_list(text, &words, e);
    if (r > 0 && words.n == 0)
        return err_set(e, ERR_INVALID, "Missing command after HEALTHCHECK CMD");
    if (r == 0 && strv_add(&words, text) < 0)
        r = err_oom(e);
    if (r >= 0)
        r = api_string_list_add(&h->test, r ? "CMD" : "CMD-SHELL", e);
    return r < 0 ? r : add_all(&h->test, &words, e);
}

static int set_health(struct changing *x, const struct strv *flags, const char *text, struct err *e) {
    struct api_health_config *h = calloc(1, sizeof *h);
    int r = h ? 0 : err_oom(e);

    for (size_t i = 0; r == 0 && i < flags->n; i++)
        r = set_health_flag(h, flags->v[i], e);
    if (r == 0)
        r = set_health_test(h, x->escape, text, e);
    if (r < 0) {
        api_health_config_done(h);
        free(h);
        return r;
    }
    if (x->c->healthcheck)
        api_health_config_done(x->c->healthcheck);
    free(x->c->healthcheck);
    x->c->healthcheck = h;
    return 0;
}

static int set_workdir(struct api_container_config *c, const char *path, struct err *e) {
    _cleanup_free_ char *joined = NULL, *clean = NULL;
    size_t n;

    if (!*path)
        return err_set(e, ERR_INVALID, "cannot normalize nothing");
    joined = *path == '/' ? strdup(path) : str_printf("%s/%s", str_empty(c->working_dir) ? "" : c->working_dir, path);
    clean = joined ? uri_clean_path(joined) : NULL;
    if (!clean)
        return err_oom(e);
    n = strlen(clean);
    if (n > 1 && clean[n - 1] == '/')
        clean[n - 1] = 0;
    return str_set(&c->working_dir, clean) < 0 ? err_oom(e) : 0;
}

static int set_stop_signal(struct api_container_config *c, const char *signal, struct err *e) {
    int64_t number;

    if (parse_int_range(signal, INT32_MIN, INT32_MAX, &number) == 0 ? number == 0 : oci_signal_number(signal) <= 0)
        return err_set(e, ERR_INVALID, "invalid signal: %s", signal);
    return str_set(&c->stop_signal, signal) < 0 ? err_oom(e) : 0;
}

static int set_user(struct api_container_config *c, const char *user, struct err *e) {
    return str_set(&c->user, user) < 0 ? err_oom(e) : 0;
}

/* WORKDIR, USER and STOPSIGNAL: the line is one word. */
static int set_one(struct changing *x, int (*set)(struct api_container_config *c, const char *value, struct err *e), const char *text,
                   struct err *e) {
    _cleanup_free_ char *value = NULL;
    int r = words_expand(text, x->escape, x->c->env.v, x->c->env.n, &value, e);

    return r < 0 ? r : set(x->c, value, e);
}

static int add_trigger(struct api_container_config *c, const char *text, struct err *e) {
    _cleanup_free_ char *verb = strndup(text, strcspn(text, " \t"));

    if (!verb)
        return err_oom(e);
    in_capitals(verb);
    if (streq(verb, "ONBUILD"))
        return err_set(e, ERR_INVALID, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    if (streq(verb, "FROM") || streq(verb, "MAINTAINER"))
        return err_set(e, ERR_INVALID, "%s isn't allowed as an ONBUILD trigger", verb);
    return api_string_list_add(&c->on_build, text, e);
}

/* ---- one instruction ------------------------------------------------------------------------------------------------------ */

enum verb { CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR, VERBS };
static const char *const verbs[] = {"CMD",     "ENTRYPOINT", "ENV",  "EXPOSE", "HEALTHCHECK", "LABEL",
                                    "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"};

struct instruction {
    enum verb verb;    /* VERBS: none of those that may be used here */
    struct strv flags; /* what stood in front as --name[=value], without the dashes */
    const char *text;  /* the rest, borrowed */
};

/* What stands in front with two dashes; two dashes alone end it. */
static int read_flags(struct instruction *i, char escape, struct err *e) {
    while (str_has_prefix(i->text, "--")) {
        _cleanup_free_ char *flag = words_next(&i->text, escape);

        if (!flag || (flag[2] && strv_add(&i->flags, flag + 2) < 0))
            return err_oom(e);
        i->text += strspn(i->text, BLANKS);
        if (!flag[2])
            break;
    }
    return 0;
}

static int read_instruction(const struct changing *x, const char *line, struct instruction *ret, struct err *e) {
    size_t n = strcspn(line, BLANKS "\n");
    _cleanup_strv_ struct strv pairs = STRV_INIT;
    int r;

    *ret = (struct instruction){.verb = 0, .flags = STRV_INIT, .text = line + n + strspn(line + n, BLANKS)};
    while (ret->verb < VERBS && !(strlen(verbs[ret->verb]) == n && strncasecmp(verbs[ret->verb], line, n) == 0))
        ret->verb++;
    r = read_flags(ret, x->escape, e);
    if (r == 0 && (ret->verb == ENV || ret->verb == LABEL))
        r = read_pairs(x, verbs[ret->verb], ret->text, &pairs, e);
    return r;
}

static int check_flags(const struct instruction *i, struct err *e) {
    static const char *const known[] = {"interval", "timeout", "start-period", "start-interval", "retries"};

    for (size_t k = 0; k < i->flags.n; k++) {
        const char *flag = i->flags.v[k];
        int n = (int)strcspn(flag, "=");
        bool is_known = false;

        for (size_t m = 0; i->verb == HEALTHCHECK && m < ELEMENTSOF(known); m++)
            is_known |= strlen(known[m]) == (size_t)n && strncmp(known[m], flag, (size_t)n) == 0;
        if (!is_known)
            return err_set(e, ERR_INVALID, "unknown flag: %.*s", n, flag);
        for (size_t m = 0; m < k; m++)
            if (strncmp(i->flags.v[m], flag, (size_t)n + 1) == 0)
                return err_set(e, ERR_INVALID, "duplicate flag specified: %.*s", n, flag);
        if (!flag[n])
            return err_set(e, ERR_INVALID, "missing a value on flag: %s", flag);
    }
    return 0;
}

static int apply(struct changing *x, const struct instruction *i, struct err *e);

/* Of what does not depend on the configuration: carried out for an empty one. Paths of volumes are only read: variables may stand in them. */
static int try_out(const struct changing *x, const struct instruction *i, struct err *e) {
    _cleanup_strv_ struct strv paths = STRV_INIT;
    struct api_container_config none = {0};
    struct changing y = {.c = &none, .escape = x->escape};
    int r = 0;

    if (i->verb == CMD || i->verb == ENTRYPOINT || i->verb == HEALTHCHECK || i->verb == ONBUILD)
        r = apply(&y, i, e);
    else if (i->verb == VOLUME)
        r = read_volumes(i->text, &paths, e);
    api_container_config_done(&none);
    return r;
}

/* Is it as it has to be, whatever the configuration is? */
static int check_instruction(const struct changing *x, const struct instruction *i, struct err *e) {
    bool one = i->verb == WORKDIR || i->verb == USER || i->verb == STOPSIGNAL;
    int r;

    if (one && !*i->text)
        return err_set(e, ERR_INVALID, "%s requires exactly one argument", verbs[i->verb]);
    /* A health check wants to say something before its flags are looked at; the others are asked the other way round. */
    r = i->verb == HEALTHCHECK && !*i->text ? 0 : check_flags(i, e);
    if (r == 0 && !*i->text && i->verb != CMD && i->verb != ENTRYPOINT)
        r = err_set(e, ERR_INVALID, "%s requires at least one argument", verbs[i->verb]);
    return r < 0 ? r : try_out(x, i, e);
}

static int apply(struct changing *x, const struct instruction *i, struct err *e) {
    switch (i->verb) {
    case CMD:
        x->cmd_set |= !says_nothing(i->text);
        return set_command(&x->c->cmd, i->text, e);
    case ENTRYPOINT:
        return set_entrypoint(x, i->text, e);
    case ENV:
    case LABEL:
        return set_pairs(x, verbs[i->verb], i->text, e);
    case EXPOSE:
        return set_ports(x, i->text, e);
    case VOLUME:
        return set_volumes(x, i->text, e);
    case WORKDIR:
        return set_one(x, set_workdir, i->text, e);
    case USER:
        return set_one(x, set_user, i->text, e);
    case STOPSIGNAL:
        return set_one(x, set_stop_signal, i->text, e);
    case HEALTHCHECK:
        return set_health(x, &i->flags, i->text, e);
    default:
        return add_trigger(x->c, i->text, e);
    }
}

/* ---- all of them ---------------------------------------------------------------------------------------------------------- */

/* Faults are found in the reference's order: of all what they are made of, then which they are, then what they say; only then is the first carried out. */
static int apply_all(struct changing *x, const struct strv *lines, struct instruction *all, struct err *e) {
    int r = 0;

    for (size_t i = 0; r == 0 && i < lines->n; i++)
        r = read_instruction(x, lines->v[i], &all[i], e);
    for (size_t i = 0; r == 0 && i < lines->n; i++)
        if (all[i].verb == VERBS)
            r = err_set(e, ERR_INVALID, "%.*s is not a valid change command", (int)strcspn(lines->v[i], BLANKS "\n"), lines->v[i]);
    for (size_t i = 0; r == 0 && i < lines->n; i++)
        r = check_instruction(x, &all[i], e);
    for (size_t i = 0; r == 0 && i < lines->n; i++)
        r = apply(x, &all[i], e);
    return r;
}

int image_change(struct api_container_config *c, char *const *changes, size_t n, struct err *e) {
    struct changing x = {.c = c};
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_JSON_BODY);
    _cleanup_strv_ struct strv lines = STRV_INIT;
    struct instruction *all = NULL;
    int r;

    if (n == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        buf_addf(&text, "%s%s", i ? "\n" : "", changes[i]);
    r = buf_check(&text, e);
    if (r == 0)
        r = dockerfile_split(buf_str(&text), &lines, &x.escape, e);
    if (r < 0)
        return r;
    all = calloc(lines.n, sizeof *all);
    r = all ? apply_all(&x, &lines, all, e) : err_oom(e);
    for (size_t i = 0; all && i < lines.n; i++)
        strv_done(&all[i].flags);
    free(all);
    return r;
}
