// SPDX-License-Identifier: Apache-2.0
#include "container/filter.h"
#include "container/health.h"

#include <stdio.h>

#include "base/str.h"
#include "image/image.h"

DEFINE_CLEANUP(struct image *, image_unref)

static const char *const known[] = {"ancestor", "before", "exited",  "expose",  "health", "id",     "isolation", "is-task",
                                    "label",    "name",   "network", "publish", "since",  "status", "volume",    NULL};

void ctr_filter_done(struct ctr_filter *f) {
    filters_done(&f->f);
    strv_done(&f->ancestors);
    strv_done(&f->exits);
    strv_done(&f->expose);
    strv_done(&f->publish);
}

/* ---- reading --------------------------------------------------------------------------------------------------------------------------- */
static int read_states(const struct ctr_filter *f, struct err *e) {
    static const char *const health[] = {"none", "starting", "healthy", "unhealthy", NULL};
    const struct strv *l = filters_get(&f->f, "status");
    enum ctr_state s;
    bool is;
    int r;

    for (size_t i = 0; l && i < l->n; i++)
        if (!ctr_state_parse(l->v[i], &s))
            return err_set(e, ERR_INVALID, "invalid filter 'status=%s'", l->v[i]);
    l = filters_get(&f->f, "health");
    for (size_t i = 0; l && i < l->n; i++) {
        bool ok = false;

        for (size_t k = 0; health[k]; k++)
            ok = ok || streq(health[k], l->v[i]);
        if (!ok)
            return err_set(e, ERR_INVALID, "unrecognized filter value for health: %s", l->v[i]);
    }
    r = filters_bool(&f->f, "is-task", false, &is, e);
    return r < 0 ? r : 0;
}

static int read_exits(struct ctr_filter *f, struct err *e) {
    const struct strv *l = filters_get(&f->f, "exited");

    for (size_t i = 0; l && i < l->n; i++) {
        int64_t n;

        if (parse_i64(l->v[i], &n) < 0)
            return err_set(e, ERR_INVALID, "invalid filter 'exited=%s': strconv.Atoi: parsing \"%s\": invalid syntax", l->v[i], l->v[i]);
        if (strv_add(&f->exits, l->v[i]) < 0)
            return err_oom(e);
    }
    return 0;
}

static int read_moment(struct containers *cs, const struct ctr_filter *f, const char *key, int64_t *ret, struct err *e) {
    const struct strv *l = filters_get(&f->f, key);

    for (size_t i = 0; l && i < l->n; i++) {
        _cleanup_container_ struct container *c = NULL;
        _cleanup_view_ struct ctr_view *v = NULL;
        int r = *l->v[i] ? containers_find(cs, l->v[i], &c, e) : err_set(e, ERR_NOT_FOUND, "No such container: ");

        if (r < 0)
            return r;
        v = container_view(c);
        *ret = v->fixed->created;
    }
    return 0;
}

static int read_ancestors(struct containers *cs, struct ctr_filter *f, struct err *e) {
    const struct strv *l = filters_get(&f->f, "ancestor");

    f->by_ancestor = l && l->n > 0;
    for (size_t i = 0; l && i < l->n; i++) {
        _cleanup_(image_unrefp) struct image *img = NULL;

        if (images_resolve(cs->engine->images, l->v[i], &img, NULL) >= 0 && strv_add(&f->ancestors, image_id(img)) < 0)
            return err_oom(e);
    }
    return 0;
}

/* "80", "80-90", each with an optional "/proto". */
static int read_ports(const struct ctr_filter *f, const char *key, struct strv *ret, struct err *e) {
    const struct strv *l = filters_get(&f->f, key);

    for (size_t i = 0; l && i < l->n; i++) {
        const char *text = l->v[i], *slash = strchr(text, '/'), *dash;
        _cleanup_free_ char *range = strndup(text, slash ? (size_t)(slash - text) : strlen(text)), *first = NULL;
        const char *bad;
        int64_t a, b;

        dash = range ? strchr(range, '-') : NULL;
        first = range ? strndup(range, dash ? (size_t)(dash - range) : strlen(range)) : NULL;
        if (!first)
            return err_oom(e);
        if (!*range)
            return err_set(e, ERR_INTERNAL, "error while looking up for %s %s: Empty string specified for ports.", key, text);
        bad = parse_int_range(first, 0, 65535, &a) < 0 ? first : dash && parse_int_range(dash + 1, 0, 65535, &b) < 0 ? dash + 1 : NULL;
        if (bad)
            return err_set(e, ERR_INTERNAL, "error while looking up for %s %s: strconv.ParseUint: parsing \"%s\": %s", key, text, bad,
                           *bad && bad[strspn(bad, "0123456789")] == '\0' ? "value out of range" : "invalid syntax");
        if (!dash)
            b = a;
        if (b < a)
            return err_set(e, ERR_INTERNAL, "error while looking up for %s %s: Invalid range specified for the Port: %s", key, text, range);
        for (int64_t p = a; p <= b; p++)
            if (strv_addf(ret, "%lld/%s", (long long)p, slash ? slash + 1 : "tcp") < 0)
                return err_oom(e);
    }
    return 0;
}

int ctr_filter_read(struct containers *cs, const char *text, struct ctr_filter *ret, struct err *e) {
    struct ctr_filter f = {.f = FILTERS_INIT};
    bool task = false;
    int r = filters_parse(&f.f, text, e);

    if (r >= 0)
        r = filters_validate(&f.f, known, e);
    if (r >= 0)
        r = read_states(&f, e);
    if (r >= 0)
        r = read_exits(&f, e);
    if (r >= 0)
        r = read_moment(cs, &f, "before", &f.before, e);
    if (r >= 0)
        r = read_moment(cs, &f, "since", &f.since, e);
    if (r >= 0)
        r = read_ancestors(cs, &f, e);
    if (r >= 0)
        r = read_ports(&f, "expose", &f.expose, e);
    if (r >= 0)
        r = read_ports(&f, "publish", &f.publish, e);
    if (r >= 0)
        r = filters_bool(&f.f, "is-task", false, &task, e);
    if (r < 0) {
        ctr_filter_done(&f);
        return r;
    }
    f.never = task; /* there are no tasks here */
    *ret = f;
    return 0;
}

/* ---- matching -------------------------------------------------------------------------------------------------------------------------- */
static bool name_matches(const struct ctr_filter *f, const struct ctr_view *v) {
    _cleanup_free_ char *full = str_printf("/%s", v->name);

    return !filters_has(&f->f, "name") || filters_match(&f->f, "name", v->name) || (full && filters_match(&f->f, "name", full));
}

static bool label_matches(const struct ctr_filter *f, const struct ctr_fixed *fx) {
    _cleanup_strv_ struct strv pairs = STRV_INIT;

    if (!filters_has(&f->f, "label"))
        return true;
    for (size_t i = 0; i < fx->config.labels.n; i++)
        if (strv_addf(&pairs, "%s=%s", fx->config.labels.v[i].key, fx->config.labels.v[i].value ? fx->config.labels.v[i].value : "") < 0)
            return false;
    return filters_kv(&f->f, "label", &pairs);
}

static bool volume_matches(const struct ctr_filter *f, const struct ctr_fixed *fx) {
    const struct strv *l = filters_get(&f->f, "volume");

    if (!l || l->n == 0)
        return true;
    for (size_t i = 0; i < fx->mounts.n; i++)
        if (strv_has(l, fx->mounts.v[i].destination) || (fx->mounts.v[i].volume && strv_has(l, fx->mounts.v[i].volume)) ||
            (fx->mounts.v[i].source && strv_has(l, fx->mounts.v[i].source)))
            return true;
    return false;
}

static bool ports_match(const struct ctr_filter *f, const struct ctr_view *v) {
    const struct api_port_binding_list_map *m = &v->net->s.ports;
    bool expose = f->expose.n == 0, publish = f->publish.n == 0;

    for (size_t i = 0; i < m->n; i++) {
        const char *slash = strchr(m->v[i].key, '/');

        expose = expose || strv_has(&f->expose, m->v[i].key);
        for (size_t k = 0; k < m->v[i].value.n && !publish; k++) {
            char text[64];

            snprintf(text, sizeof(text), "%s%s", m->v[i].value.v[k].host_port ? m->v[i].value.v[k].host_port : "", slash ? slash : "/tcp");
            publish = strv_has(&f->publish, text);
        }
    }
    return expose && publish;
}

/* A network's name as the container knows it, or the beginning of its id. */
static bool network_matches(const struct ctr_filter *f, const struct ctr_view *v) {
    const struct api_endpoint_settings_map *m = &v->net->s.networks;
    const struct strv *l = filters_get(&f->f, "network");

    if (!l || l->n == 0)
        return true;
    for (size_t i = 0; i < m->n; i++) {
        const char *id = m->v[i].value && m->v[i].value->network_id ? m->v[i].value->network_id : "";

        for (size_t k = 0; k < l->n; k++)
            if (streq(m->v[i].key, l->v[k]) || str_has_prefix(id, l->v[k]))
                return true;
    }
    return false;
}

/* Each id as it may be shortened in a path: one that fits several containers fits none. */
static bool id_matches(const struct ctr_filter *f, struct container *c) {
    const struct strv *l = filters_get(&f->f, "id");

    if (!l || l->n == 0)
        return true;
    for (size_t i = 0; i < l->n; i++) {
        _cleanup_container_ struct container *found = NULL;

        if (str_has_prefix(c->id, l->v[i]) && containers_find(c->cs, l->v[i], &found, NULL) >= 0 && found == c)
            return true;
    }
    return false;
}

static bool health_matches(const struct ctr_filter *f, struct container *c) {
    _cleanup_health_ struct ctr_health *h = container_health(c);

    return filters_exact(&f->f, "health", ctr_health_status(h));
}

bool ctr_filter_matches(const struct ctr_filter *f, struct container *c, const struct ctr_view *v, bool all) {
    char code[24];

    if (f->never)
        return false;
    all = all || filters_has(&f->f, "status");
    if (!all && !ctr_state_alive(v->state))
        return false;
    if (filters_has(&f->f, "status") && !filters_exact(&f->f, "status", ctr_state_name(v->state)))
        return false;
    if (f->exits.n > 0) {
        snprintf(code, sizeof(code), "%d", v->exit_code);
        if (!strv_has(&f->exits, code) || ctr_state_alive(v->state) || !v->ever_started)
            return false;
    }
    if ((f->before && v->fixed->created >= f->before) || (f->since && v->fixed->created <= f->since))
        return false;
    if (f->by_ancestor && !strv_has(&f->ancestors, v->fixed->image_id))
        return false;
    if (filters_has(&f->f, "health") && !health_matches(f, c))
        return false;
    return id_matches(f, c) && name_matches(f, v) && label_matches(f, v->fixed) && volume_matches(f, v->fixed) && ports_match(f, v) &&
           network_matches(f, v);
}
