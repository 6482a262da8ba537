// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"
#include "container/create.h"

static int set_from(char **slot, const char *image) {
    return str_empty(*slot) && !str_empty(image) ? str_set(slot, image) : 0;
}

static bool set_has(const struct api_string_set *s, const char *k) {
    for (size_t i = 0; i < s->n; i++)
        if (streq(s->v[i], k))
            return true;
    return false;
}

static int set_union(struct api_string_set *to, const struct api_string_set *from) {
    /* An empty set of the request counts as none: the image's stands, be it there or not. */
    if (to->n == 0)
        to->set = from->set;
    for (size_t i = 0; i < from->n; i++) {
        char **v;

        if (set_has(to, from->v[i]))
            continue;
        v = reallocarray(to->v, to->n + 1, sizeof(char *));
        if (!v)
            return -ENOMEM;
        to->v = v;
        v[to->n] = strdup(from->v[i]);
        if (!v[to->n])
            return -ENOMEM;
        to->n++;
        to->set = true;
    }
    return 0;
}

static int merge_env(struct api_string_list *to, const struct api_string_list *from, struct err *e) {
    size_t own = to->n;

    for (size_t i = 0; i < from->n; i++) {
        size_t n = strcspn(from->v[i], "=");
        bool have = false;

        for (size_t k = 0; k < own && !have; k++)
            have = strncmp(to->v[k], from->v[i], n) == 0 && (to->v[k][n] == '=' || to->v[k][n] == '\0');
        if (!have) {
            int r = api_string_list_add(to, from->v[i], e);

            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int merge_labels(struct api_string_map *to, const struct api_string_map *from, struct err *e) {
    for (size_t i = 0; i < from->n; i++) {
        bool have = false;
        int r;

        for (size_t k = 0; k < to->n && !have; k++)
            have = streq(to->v[k].key, from->v[i].key);
        if (have)
            continue;
        r = api_string_map_set(to, from->v[i].key, from->v[i].value ? from->v[i].value : "", e);
        if (r < 0)
            return r;
    }
    return 0;
}

static int copy_list(struct api_string_list *to, const struct api_string_list *from, struct err *e) {
    api_string_list_done(to);
    for (size_t i = 0; i < from->n; i++) {
        int r = api_string_list_add(to, from->v[i], e);

        if (r < 0)
            return r;
    }
    to->set = from->set;
    return 0;
}

static int merge_health(struct api_container_config *c, const struct api_health_config *image, struct err *e) {
    struct api_health_config *h;

    if (!image)
        return 0;
    if (!c->healthcheck)
        c->healthcheck = api_health_config_new();
    h = c->healthcheck;
    if (!h)
        return err_oom(e);
    if (h->test.n == 0) {
        int r = copy_list(&h->test, &image->test, e);

        if (r < 0)
            return r;
    }
#define TAKE(field)                                                                                                                                  \
    if (!h->has_##field || h->field == 0) {                                                                                                          \
        h->field = image->field;                                                                                                                     \
        h->has_##field = image->has_##field;                                                                                                         \
    }
    TAKE(interval)
    TAKE(timeout)
    TAKE(start_period)
    TAKE(start_interval)
    TAKE(retries)
#undef TAKE
    return 0;
}

int ctr_merge_image(struct api_container_config *c, const struct api_container_config *image, struct err *e) {
    int r;

    if (set_from(&c->user, image->user) < 0 || set_from(&c->working_dir, image->working_dir) < 0 ||
        set_from(&c->stop_signal, image->stop_signal) < 0 || set_union(&c->exposed_ports, &image->exposed_ports) < 0 ||
        set_union(&c->volumes, &image->volumes) < 0)
        return err_oom(e);
    r = merge_env(&c->env, &image->env, e);
    if (r >= 0)
        r = merge_labels(&c->labels, &image->labels, e);
    if (r < 0)
        return r;
    /* No entry point given at all takes the image's; an empty list means: none, but the image's command still counts. */
    if (c->entrypoint.n == 0) {
        if (c->cmd.n == 0) {
            r = copy_list(&c->cmd, &image->cmd, e);
            c->args_escaped = image->args_escaped;
            c->has_args_escaped = image->has_args_escaped;
        }
        if (r >= 0 && !c->entrypoint.set)
            r = copy_list(&c->entrypoint, &image->entrypoint, e);
    }
    return r < 0 ? r : merge_health(c, image->healthcheck, e);
}
