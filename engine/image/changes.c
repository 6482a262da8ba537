// SPDX-License-Identifier: Apache-2.0
#include "image/changes.h"

#include <ctype.h>
#include <jansson.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/moment.h"
#include "base/str.h"
#include "base/strv.h"
#include "image/words.h"
#include "oci/build.h"
#include "types.h"

static void forget_list(struct api_string_list *list) {
    for (size_t k = 0; k < list->n; k++)
        free(list->v[k]);
    free(list->v);
    *list = (struct api_string_list){0};
}

/* A JSON list of strings. 0: the text is none; positive: it is, all of it in `to`. */
static int read_list(const char *text, struct strv *to, struct err *e) {
    json_auto_t *o = *text == '[' ? json_loads(text, 0, NULL) : NULL;
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

    if (r == 0 && (strv_add(&words, "/bin/sh") < 0 || strv_add(&words, "-c") < 0 || strv_add(&words, text) < 0))
        r = err_oom(e);
    if (r < 0)
        return r;
    forget_list(list);
    list->set = true;
    return add_all(list, &words, e);
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
static int expand(const struct api_container_config *c, const char *word, struct strv *to, struct err *e) {
    _cleanup_free_ char *plain = NULL;
    int r = words_expand(word, c->env.v, c->env.n, &plain, e);

    return r < 0 ? r : strv_add(to, plain) < 0 ? err_oom(e) : 0;
}

/* All words of EXPOSE and VOLUME, which know no quotes around blanks. */
#define BLANKS " \t\v\f\r"
static int expand_all(const struct api_container_config *c, const char *text, struct strv *to, struct err *e) {
    int r = 0;

    for (text += strspn(text, BLANKS); r == 0 && *text; text += strspn(text, BLANKS)) {
        size_t n = strcspn(text, BLANKS);
        _cleanup_free_ char *word = strndup(text, n);

        r = word ? expand(c, word, to, e) : err_oom(e);
        text += n;
    }
    return r;
}

/* KEY=VALUE ..., or KEY and the rest of the line: to keys and values in turn. */
static int read_pairs(const struct api_container_config *c, const char *verb, const char *text, struct strv *to, struct err *e) {
    int r = 0;

    for (char *word; r == 0 && (word = words_next(&text));) {
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
        r = expand(c, w, to, e);
        if (r == 0)
            r = expand(c, value, to, e);
        if (!eq)
            break;
    }
    return r;
}

static int set_pairs(struct api_container_config *c, bool env, const char *text, struct err *e) {
    _cleanup_strv_ struct strv pairs = STRV_INIT;
    int r = read_pairs(c, env ? "ENV" : "LABEL", text, &pairs, e);

    for (size_t i = 0; r == 0 && i < pairs.n; i += 2)
        r = env ? put_env(&c->env, pairs.v[i], strlen(pairs.v[i]), pairs.v[i + 1], e) : api_string_map_set(&c->labels, pairs.v[i], pairs.v[i + 1], e);
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
static int set_ports(struct api_container_config *c, const char *text, struct err *e) {
    _cleanup_strv_ struct strv words = STRV_INIT;
    int r = expand_all(c, text, &words, e);

    for (size_t i = 0; r == 0 && i < words.n; i++) {
        char *save = NULL;

        for (char *word = strtok_r(words.v[i], " \t", &save); r == 0 && word; word = strtok_r(NULL, " \t", &save))
            r = expose(&c->exposed_ports, word, e);
    }
    return r;
}

static int add_volume(struct api_string_set *set, const char *path, struct err *e) {
    if (!path[strspn(path, " \t")])
        return err_set(e, ERR_INVALID, "VOLUME specified can not be an empty string");
    return api_string_set_add(set, path, e);
}

/* VOLUME: a JSON list of strings, or words. */
static int set_volumes(struct api_container_config *c, const char *text, struct err *e) {
    _cleanup_strv_ struct strv paths = STRV_INIT, plain = STRV_INIT;
    int r = read_list(text, &paths, e);

    if (r > 0 && paths.n == 0)
        return err_set(e, ERR_INVALID, "VOLUME requires at least one argument");
    if (r == 0)
        r = expand_all(c, text, &plain, e);
    for (size_t i = 0; r >= 0 && i < paths.n; i++)
        r = expand(c, paths.v[i], &plain, e);
    for (size_t i = 0; r >= 0 && i < plain.n; i++)
        r = add_volume(&c->volumes, plain.v[i], e);
    return r < 0 ? r : 0;
}

static int set_health_time(int64_t *to, const char *name, const char *value, struct err *e) {
    int64_t ns;
    int r = duration_read(value, &ns, e);

    if (r < 0)
        return r;
    if (ns != 0 && ns < NSEC_PER_MSEC)
        return err_set(e, ERR_INVALID, "Interval \"%s\" cannot be less than 1ms", name);
    *to = ns;
    return 0;
}

/* One --name=value in front of the command. */
static int set_health_flag(struct api_health_config *h, const char *flag, struct err *e) {
    const char *value = strchr(flag, '=');
    size_t n = value ? (size_t)(value - flag) : strlen(flag);
    const struct {
        const char *name;
        int64_t *to;
    } times[] = {{"interval", &h->interval}, {"timeout", &h->timeout}, {"start-period", &h->start_period}, {"start-interval", &h->start_interval}};

    if (!value)
        return err_set(e, ERR_INVALID, "Missing a value on flag: %s", flag);
    value++;
    for (size_t i = 0; i < ELEMENTSOF(times); i++)
        if (strlen(times[i].name) == n - 2 && strncmp(flag + 2, times[i].name, n - 2) == 0)
            return set_health_time(times[i].to, times[i].name, value, e);
    if (n == strlen("--retries") && strncmp(flag, "--retries", n) == 0) {
        if (parse_int_range(value, INT32_MIN, INT32_MAX, &h->retries) < 0)
            return err_set(e, ERR_INVALID, "strconv.ParseInt: parsing \"%s\": invalid syntax", value);
        return h->retries < 0 ? err_set(e, ERR_INVALID, "--retries cannot be negative (%lld)", (long long)h->retries) : 0;
    }
    return err_set(e, ERR_INVALID, "Unknown flag: %.*s", (int)(n - 2), flag + 2);
}

static char *in_capitals(char *word) {
    for (char *p = word; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    return word;
}

static int set_health_test(struct api_health_config *h, const char *text, struct err *e) {
    _cleanup_free_ char *type = words_next(&text);
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

static int set_health(struct api_container_config *c, const char *text, struct err *e) {
    struct api_health_config *h = calloc(1, sizeof *h);
    int r = h ? 0 : err_oom(e);

    while (r == 0 && str_has_prefix(text, "--")) {
        _cleanup_free_ char *flag = words_next(&text);

        r = flag ? set_health_flag(h, flag, e) : err_oom(e);
        text += strspn(text, " \t");
    }
    if (r == 0)
        r = set_health_test(h, text, e);
    if (r < 0) {
        api_health_config_done(h);
        free(h);
        return r;
    }
    if (c->healthcheck)
        api_health_config_done(c->healthcheck);
    free(c->healthcheck);
    c->healthcheck = h;
    return 0;
}

static int set_workdir(struct api_container_config *c, const char *path, struct err *e) {
    _cleanup_free_ char *joined = NULL;

    if (!*path)
        return err_set(e, ERR_INVALID, "cannot normalize nothing");
    joined = *path == '/' ? strdup(path) : str_printf("%s/%s", str_empty(c->working_dir) ? "" : c->working_dir, path);

    return joined && str_set(&c->working_dir, joined) == 0 ? 0 : err_oom(e);
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
static int set_one(struct api_container_config *c, int (*set)(struct api_container_config *c, const char *value, struct err *e), const char *text,
                   struct err *e) {
    _cleanup_free_ char *value = NULL;
    int r = words_expand(text, c->env.v, c->env.n, &value, e);

    return r < 0 ? r : set(c, value, e);
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

/* Instructions that say nothing. */
static int check_empty(const char *verb, struct err *e) {
    static const char *const some[] = {"ENV", "LABEL", "EXPOSE", "VOLUME", "ONBUILD"}, *const one[] = {"WORKDIR", "USER", "STOPSIGNAL"};

    for (size_t i = 0; i < ELEMENTSOF(some); i++)
        if (streq(verb, some[i]))
            return err_set(e, ERR_INVALID, "%s requires at least one argument", verb);
    for (size_t i = 0; i < ELEMENTSOF(one); i++)
        if (streq(verb, one[i]))
            return err_set(e, ERR_INVALID, "%s requires exactly one argument", verb);
    return 0;
}

int image_change(struct api_container_config *c, const char *instruction, bool *cmd_set, struct err *e) {
    const char *p = instruction + strspn(instruction, " \t"), *text;
    size_t n = strcspn(p, " \t");
    char verb[16] = "";

    if (n == 0)
        return 0;
    if (n < sizeof verb)
        for (size_t i = 0; i < n; i++)
            verb[i] = (char)toupper((unsigned char)p[i]);
    text = p + n + strspn(p + n, " \t");
    if (!*text && check_empty(verb, e) < 0)
        return -ERR_INVALID;
    if (streq(verb, "CMD")) {
        *cmd_set = true;
        return set_command(&c->cmd, text, e);
    }
    if (streq(verb, "ENTRYPOINT")) {
        if (!*cmd_set)
            forget_list(&c->cmd);
        return set_command(&c->entrypoint, text, e);
    }
    if (streq(verb, "ENV") || streq(verb, "LABEL"))
        return set_pairs(c, verb[0] == 'E', text, e);
    if (streq(verb, "EXPOSE"))
        return set_ports(c, text, e);
    if (streq(verb, "VOLUME"))
        return set_volumes(c, text, e);
    if (streq(verb, "WORKDIR"))
        return set_one(c, set_workdir, text, e);
    if (streq(verb, "USER"))
        return set_one(c, set_user, text, e);
    if (streq(verb, "STOPSIGNAL"))
        return set_one(c, set_stop_signal, text, e);
    if (streq(verb, "HEALTHCHECK"))
        return set_health(c, text, e);
    if (streq(verb, "ONBUILD"))
        return add_trigger(c, text, e);
    return err_set(e, ERR_INVALID, "%.*s is not a valid change command", (int)n, p);
}
