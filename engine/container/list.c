// SPDX-License-Identifier: Apache-2.0
/*
 * GET /containers/json. Each container's text is made once per view (all but the Status and the sizes) and lists are put together from it.
 */
#include <stdio.h>

#include "api-handlers.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/str.h"
#include "container/filter.h"
#include "container/health.h"
#include "container/inspect.h"
#include "container/links.h"
#include "image/image.h"
#include "wire/call.h"

DEFINE_CLEANUP(struct image *, image_unref)

#define MARK "\"Status\":\""
#define LABELS ",\"Labels\":" /* what the sizes stand before */

/* ---- status -------------------------------------------------------------------------------------------------------------------------- */
void ctr_human_span(int64_t ns, char ret[64]) {
    int64_t seconds = ns / NSEC_PER_SEC, minutes = seconds / 60, hours = (ns + 1800 * NSEC_PER_SEC) / (3600 * NSEC_PER_SEC);
    const struct {
        int64_t below, value;
        const char *unit;
    } steps[] = {{60, seconds, "seconds"}, {60 * 60, minutes, "minutes"}};

    if (seconds < 1) {
        snprintf(ret, 64, "Less than a second");
        return;
    }
    if (seconds == 1) {
        snprintf(ret, 64, "1 second");
        return;
    }
    if (minutes == 1) {
        snprintf(ret, 64, "About a minute");
        return;
    }
    for (size_t i = 0; i < ELEMENTSOF(steps); i++)
        if (seconds < steps[i].below) {
            snprintf(ret, 64, "%lld %s", (long long)steps[i].value, steps[i].unit);
            return;
        }
    if (hours == 1)
        snprintf(ret, 64, "About an hour");
    else if (hours < 48)
        snprintf(ret, 64, "%lld hours", (long long)hours);
    else if (hours < 24 * 7 * 2)
        snprintf(ret, 64, "%lld days", (long long)(hours / 24));
    else if (hours < 24 * 30 * 2)
        snprintf(ret, 64, "%lld weeks", (long long)(hours / 24 / 7));
    else if (hours < 24 * 365 * 2)
        snprintf(ret, 64, "%lld months", (long long)(hours / 24 / 30));
    else
        snprintf(ret, 64, "%lld years", (long long)(ns / NSEC_PER_SEC / 3600 / 24 / 365));
}

void ctr_status_text(const struct ctr_view *v, const struct ctr_health *health, int64_t now, char ret[128]) {
    char span[64], state[32] = "";

    switch (v->state) {
    case ctr_running:
    case ctr_paused:
        ctr_human_span(now - v->started_at, span);
        if (v->state == ctr_paused)
            snprintf(state, sizeof(state), " (Paused)");
        else if (health)
            snprintf(state, sizeof(state), " (%s%s)", health->status == MONITOR_HEALTH_STARTING ? "health: " : "", ctr_health_status(health));
        snprintf(ret, 128, "Up %s%s", span, state);
        break;
    case ctr_restarting:
        ctr_human_span(now - v->finished_at, span);
        snprintf(ret, 128, "Restarting (%d) %s ago", v->exit_code, span);
        break;
    case ctr_removing:
        snprintf(ret, 128, "Removal In Progress");
        break;
    case ctr_dead:
        snprintf(ret, 128, "Dead");
        break;
    case ctr_created:
        snprintf(ret, 128, "Created");
        break;
    default:
        if (v->finished_at == CLOCK_ZERO) {
            ret[0] = '\0';
            break;
        }
        ctr_human_span(now - v->finished_at, span);
        snprintf(ret, 128, "Exited (%d) %s ago", v->exit_code, span);
    }
}

/* ---- one entry ------------------------------------------------------------------------------------------------------------------------ */
static char *command_text(const struct ctr_fixed *f) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JSON_BODY);

    buf_adds(&b, f->path);
    for (size_t i = 0; i < f->args.n; i++) {
        bool quote = strchr(f->args.v[i], ' ') != NULL;

        buf_addf(&b, " %s%s%s", quote ? "'" : "", f->args.v[i], quote ? "'" : "");
    }
    return buf_take(&b);
}

static int port_order(const void *a, const void *b) {
    const struct api_port *x = a, *y = b;

    if (x->private_port != y->private_port)
        return x->private_port < y->private_port ? -1 : 1;
    if (!streq_ptr(x->ip, y->ip))
        return !x->ip ? -1 : !y->ip ? 1 : strchr(x->ip, ':') && !strchr(y->ip, ':') ? 1 : -1;
    return x->public_port < y->public_port ? -1 : x->public_port > y->public_port;
}

static int fill_ports(const struct ctr_view *v, struct api_port_list *ret, struct err *e) {
    const struct api_port_binding_list_map *m = &v->net->s.ports;

    ret->set = true;
    for (size_t i = 0; i < m->n; i++) {
        const char *slash = strchr(m->v[i].key, '/');
        size_t n = m->v[i].value.n ? m->v[i].value.n : 1;

        for (size_t k = 0; k < n; k++) {
            struct api_port *p = api_port_list_add(ret);
            int64_t host = 0;

            if (!p || str_set(&p->type, slash ? slash + 1 : "tcp") < 0)
                return err_oom(e);
            p->private_port = strtol(m->v[i].key, NULL, 10);
            p->has_private_port = true;
            if (m->v[i].value.n == 0)
                continue;
            if (str_set(&p->ip, m->v[i].value.v[k].host_ip) < 0)
                return err_oom(e);
            if (m->v[i].value.v[k].host_port && parse_i64(m->v[i].value.v[k].host_port, &host) == 0) {
                p->public_port = host;
                p->has_public_port = true;
            }
        }
    }
    if (ret->n > 1)
        qsort(ret->v, ret->n, sizeof(*ret->v), port_order);
    return 0;
}

struct sizes {
    bool want;
    int64_t rw, root;
};

/* Of a network, a list says where the container is in it; its names, links and options are inspect's. Shallow copies: *ret is freed alone. */
static int networks_in_short(const struct api_endpoint_settings_map *from, struct api_endpoint_settings_map *ret, struct err *e) {
    struct api_endpoint_settings_map_entry *entries = calloc(from->n + 1, sizeof(*entries) + sizeof(struct api_endpoint_settings));
    struct api_endpoint_settings *ends = entries ? (struct api_endpoint_settings *)(entries + from->n + 1) : NULL;

    if (!entries)
        return err_oom(e);
    for (size_t i = 0; i < from->n; i++) {
        ends[i] = *from->v[i].value;
        ends[i].links = ends[i].aliases = ends[i].dns_names = (struct api_string_list){0};
        ends[i].driver_opts = (struct api_string_map){0};
        entries[i] = (struct api_endpoint_settings_map_entry){from->v[i].key, &ends[i]};
    }
    *ret = (struct api_endpoint_settings_map){.n = from->n, .v = entries, .set = from->set};
    return 0;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* `links`: its second names; NULL: none. */
static int write_entry(const struct ctr_view *v, const struct strv *links, const char *image, const char *status, const struct sizes *sz, int version,
                       struct buf *out, struct err *e) {
    const struct ctr_fixed *f = v->fixed;
    _cleanup_free_ char *command = command_text(f);
    _cleanup_strv_ struct strv names = STRV_INIT;
    struct api_container_summary_host_config host = {.network_mode = f->host.network_mode};
    struct api_container_summary_network_settings net = {{0}};
    struct api_container_summary s = {.id = (char *)f->id,
                                      .names = {.set = true},
                                      .image = (char *)image,
                                      .image_id = f->image_id,
                                      .command = command,
                                      .created = f->created / NSEC_PER_SEC,
                                      .has_created = true,
                                      .labels = f->config.labels,
                                      .state = (char *)ctr_state_name(v->state),
                                      .status = (char *)status,
                                      .host_config = &host,
                                      .network_settings = &net};
    int r;

    if (!command || (links && strv_copy(&names, links) < 0) || strv_addf(&names, "/%s", v->name) < 0)
        return err_oom(e);
    qsort(names.v, names.n, sizeof(*names.v), by_text);
    s.names.v = names.v;
    s.names.n = names.n;
    if (sz->want) {
        s.size_rw = sz->rw;
        s.size_root_fs = sz->root;
        s.has_size_rw = s.has_size_root_fs = true;
    }
    r = networks_in_short(&v->net->s.networks, &net.networks, e);
    if (r >= 0)
        r = fill_ports(v, &s.ports, e);
    if (r >= 0)
        r = ctr_mount_points(&f->mounts, &s.mounts, e);
    /* Where the volumes of Config.Volumes and of the image are, inspect alone tells. */
    for (size_t i = 0; r >= 0 && i < f->mounts.n; i++) {
        const struct ctr_mount *m = &f->mounts.v[i];

        if (m->anonymous && !m->spec && !m->from_mounts && str_set(&s.mounts.v[i].source, "") < 0)
            r = err_oom(e);
    }
    if (r >= 0)
        r = api_container_summary_write(&s, version, out, e);
    free(net.networks.v);
    api_port_list_done(&s.ports);
    api_mount_point_list_done(&s.mounts);
    return r;
}

/* Keep the text of an entry, and where what changes by itself belongs in it. Whoever comes first stores it; a second copy is dropped. */
static int prepare(struct ctr_view *v, int version, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_JSON_BODY);
    _cleanup_free_ char *pattern = NULL;
    const struct sizes none = {0};
    const char *sizes, *status;
    struct ctr_entry *new, *expected = NULL;
    int r = write_entry(v, NULL, v->fixed->config.image, "", &none, version, &b, e);

    if (r < 0)
        return r;
    /* No text of a user's looks like that: its quotes are escaped. Labels of such names do not come behind the end of an object. */
    pattern = str_printf("},\"State\":\"%s\"," MARK "\"", ctr_state_name(v->state));
    sizes = strstr(buf_str(&b), LABELS);
    status = pattern && sizes ? strstr(sizes, pattern) : NULL;
    new = status ? malloc(sizeof(*new) + b.len + 1) : NULL;
    if (!new)
        return err_oom(e);
    new->sizes = (size_t)(sizes - b.data);
    new->status = (size_t)(status - b.data) + strlen(pattern) - 2;
    new->n = b.len;
    memcpy(new->text, b.data, b.len + 1);
    if (!atomic_compare_exchange_strong(&v->entry, &expected, new))
        free(new);
    return 0;
}

/* What is zero is left out. */
static void add_size(struct buf *out, const char *name, int64_t size) {
    if (size == 0)
        return;
    buf_adds(out, name);
    buf_addi(out, size);
}

static void add_prepared(const struct ctr_entry *t, const struct sizes *sz, const char *status, struct buf *out) {
    buf_add(out, t->text, t->sizes);
    if (sz->want) {
        add_size(out, ",\"SizeRw\":", sz->rw);
        add_size(out, ",\"SizeRootFs\":", sz->root);
    }
    buf_add(out, t->text + t->sizes, t->status - t->sizes);
    buf_add_json_string(out, status);
    buf_add(out, t->text + t->status + 2, t->n - t->status - 2);
}

/* ---- the image's name today ------------------------------------------------------------------------------------------------------------ */
struct names {
    struct engine *engine;
    struct map known; /* what was typed → the id behind it today */
    struct map links; /* ctr_links_names() */
};

/* A name that has moved to another image no longer says what the container was made from: its id is shown then. */
static const char *shown_image(struct names *n, const struct ctr_fixed *f) {
    const char *typed = f->config.image ? f->config.image : "";
    char *id = map_get(&n->known, typed);

    if (!id) {
        _cleanup_(image_unrefp) struct image *img = NULL;

        id = strdup(images_resolve(n->engine->images, typed, &img, NULL) >= 0 ? image_id(img) : "");
        if (!id || map_set(&n->known, typed, id, NULL) < 0) {
            free(id);
            return typed;
        }
    }
    return streq(id, f->image_id) || !*f->image_id ? typed : f->image_id;
}

static int add_entry(struct names *names, struct container *c, struct ctr_view *v, bool size, int64_t now, int version, struct buf *out,
                     struct err *e) {
    const char *image = shown_image(names, v->fixed);
    _cleanup_health_ struct ctr_health *health = container_health(c);
    struct sizes sz = {.want = size};
    const struct strv *links;
    char status[128];
    int r;

    ctr_status_text(v, health, now, status);
    if (size && container_size(c, v, &sz.rw, &sz.root, NULL) < 0)
        sz.rw = sz.root = 0;
    links = map_get(&names->links, c->id);
    if (links || image != v->fixed->config.image || version != 145)
        return write_entry(v, links, image, status, &sz, version, out, e);
    if (!atomic_load(&v->entry)) {
        r = prepare(v, version, e);
        if (r < 0)
            return r;
    }
    add_prepared(atomic_load(&v->entry), &sz, status, out);
    return 0;
}

/* ---- the list ---------------------------------------------------------------------------------------------------------------------------- */
struct item {
    struct container *c; /* counted */
    struct ctr_view *v;  /* counted */
};

static int newest_first(const void *a, const void *b) {
    const struct item *x = a, *y = b;

    return x->v->fixed->created < y->v->fixed->created ? 1 : x->v->fixed->created > y->v->fixed->created ? -1 : 0;
}

static void items_done(struct item *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        container_unref(v[i].c);
        ctr_view_unref(v[i].v);
    }
    free(v);
}

static int collect(struct containers *cs, struct item **ret, size_t *ret_n, struct err *e) {
    struct container **all;
    struct item *v;
    size_t n;
    int r = containers_all(cs, &all, &n, e);

    if (r < 0)
        return r;
    v = calloc(n + 1, sizeof(*v));
    for (size_t i = 0; i < n; i++) {
        if (v)
            v[i] = (struct item){all[i], container_view(all[i])};
        else
            container_unref(all[i]);
    }
    free(all);
    if (!v)
        return err_oom(e);
    qsort(v, n, sizeof(*v), newest_first);
    *ret = v;
    *ret_n = n;
    return 0;
}

static int write_list(struct engine *engine, int version, const struct q_container_list *q, const struct ctr_filter *filter, const struct item *v,
                      size_t n, struct buf *out, struct err *e) {
    struct names names = {.engine = engine};
    int64_t now = clock_wall_ns(), limit = q->has_limit && q->limit > 0 ? q->limit : INT64_MAX, shown = 0;
    int r = ctr_links_names(names.engine->containers, &names.links, e);

    buf_addc(out, '[');
    for (size_t i = 0; r >= 0 && i < n && shown < limit; i++) {
        if (v[i].v->state == ctr_gone || !ctr_filter_matches(filter, v[i].c, v[i].v, q->all || limit != INT64_MAX))
            continue;
        if (shown++)
            buf_addc(out, ',');
        r = add_entry(&names, v[i].c, v[i].v, q->size, now, version, out, e);
    }
    buf_addc(out, ']');
    map_done_with(&names.known, free);
    ctr_links_names_done(&names.links);
    return r;
}

int containers_write_all(struct containers *cs, int version, struct buf *out, struct err *e) {
    const struct q_container_list q = {.all = true, .size = true};
    const struct ctr_filter every = {0};
    struct item *v = NULL;
    size_t n = 0;
    int r = collect(cs, &v, &n, e);

    if (r >= 0)
        r = write_list(cs->engine, version, &q, &every, v, n, out, e);
    items_done(v, n);
    return r;
}

int op_container_list(struct call *call, struct err *e) {
    _cleanup_(q_container_list_done) struct q_container_list q = {0};
    _cleanup_(ctr_filter_done) struct ctr_filter filter = {0};
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_REPLY_BYTES);
    struct containers *cs = call_engine(call)->containers;
    struct item *v = NULL;
    size_t n = 0;
    int r = q_container_list_read(&q, call_query(call), call_api_version(call), e);

    if (r >= 0)
        r = ctr_filter_read(cs, q.filters, &filter, e);
    if (r >= 0)
        r = collect(cs, &v, &n, e);
    if (r >= 0)
        r = write_list(call_engine(call), call_api_version(call), &q, &filter, v, n, &b, e);
    items_done(v, n);
    return r < 0 ? r : call_reply(call, 200, &b, e);
}
