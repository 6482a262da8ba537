// SPDX-License-Identifier: Apache-2.0
#include "container/links.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "container/life.h"
#include "container/mounts.h"
#include "container/netting.h"
#include "container/validate.h"
#include "network/network.h"

#define DEFAULT_NETWORK "bridge"

/* ---- what was asked for ------------------------------------------------------------------------------------------------------ */
/* "name:alias", "name", and inspect's own "/child:/parent/alias". Both results are the caller's, also on failure. */
static int parse(const char *text, char **ret_ref, char **ret_alias, struct err *e) {
    const char *colon = strchr(text, ':'), *alias = colon ? colon + 1 : text, *last = strrchr(alias, '/');
    size_t n = colon ? (size_t)(colon - text) : strlen(text);
    _cleanup_free_ char *below = NULL;
    char *clean;

    if (colon && *text == '/' && last)
        alias = last + 1;
    below = str_printf("/%s", alias);
    clean = below ? ctr_clean_path(below) : NULL;
    *ret_ref = colon && *text == '/' ? strndup(text + 1, n - 1) : strndup(text, n);
    *ret_alias = clean ? strdup(clean + 1) : NULL;
    free(clean);
    return *ret_ref && *ret_alias ? 0 : err_oom(e);
}

/* A container in another one's network stands for that one. */
static int find_child(struct containers *cs, const char *ref, struct container **ret, struct err *e) {
    _cleanup_container_ struct container *c = NULL;
    _cleanup_err_ struct err why = ERR_INIT;

    if (containers_find(cs, ref, &c, &why) < 0)
        return err_set(e, ERR_INVALID, "could not get container for %s: %s", ref, err_msg(&why));
    for (int depth = 0; depth < 16; depth++) {
        _cleanup_view_ struct ctr_view *v = container_view(c);
        const char *other = ctr_mode_container(v->fixed->host.network_mode);
        struct container *next = NULL;

        if (ctr_mode_is(v->fixed->host.network_mode, "host"))
            return err_set(e, ERR_INVALID,
                           "conflicting options: host type networking can't be used with links. This would result in undefined behavior");
        if (!other)
            break;
        if (containers_find(cs, other, &next, &why) < 0)
            return err_set(e, ERR_INVALID, "could not get container for %s: %s", other, err_msg(&why));
        container_unref(c);
        c = next;
    }
    *ret = TAKE_PTR(c);
    return 0;
}

static const struct ctr_link *find_alias(const struct ctr_links *l, const char *alias) {
    for (size_t i = 0; i < l->n; i++)
        if (streq(l->v[i].alias, alias))
            return &l->v[i];
    return NULL;
}

/* Of an alias with slashes the last part is the name inside. */
static const char *last_part(const char *alias) {
    const char *slash = strrchr(alias, '/');

    return slash ? slash + 1 : alias;
}

static int resolve_one(struct containers *cs, const char *text, struct ctr_links *l, struct err *e) {
    _cleanup_container_ struct container *child = NULL;
    _cleanup_view_ struct ctr_view *v = NULL;
    _cleanup_free_ char *ref = NULL, *alias = NULL;
    int r = parse(text, &ref, &alias, e);

    if (r >= 0)
        r = find_child(cs, ref, &child, e);
    /* Without an alias it would be the container's own name: a name that is taken is left to its holder. */
    if (r < 0 || !*alias || find_alias(l, alias))
        return r;
    v = container_view(child);
    memcpy(l->v[l->n].id, child->id, sizeof(l->v[l->n].id));
    l->v[l->n].name = strdup(v->name);
    if (!l->v[l->n].name)
        return err_oom(e);
    l->v[l->n++].alias = TAKE_PTR(alias);
    return 0;
}

int ctr_links_resolve(struct containers *cs, const struct api_host_config *h, struct ctr_links *ret, struct err *e) {
    const char *mode = h->network_mode;
    struct ctr_links l = {0};
    int r = 0;

    /* On a network of one's own links are the endpoint's. */
    if (h->links.n == 0 || (!ctr_mode_container(mode) && !streq_ptr(mode, "default") && !network_is_predefined(mode ? mode : "")))
        return 0;
    l.v = calloc(h->links.n, sizeof(*l.v));
    if (!l.v)
        return err_oom(e);
    for (size_t i = 0; r >= 0 && i < h->links.n; i++)
        r = resolve_one(cs, h->links.v[i], &l, e);
    if (r < 0) {
        ctr_links_done(&l);
        return r;
    }
    *ret = l;
    return 0;
}

/* ---- names --------------------------------------------------------------------------------------------------------------------- */
/* The child as it is called now; as it was called when it is gone. */
static char *child_name(struct containers *cs, const struct ctr_link *l) {
    _cleanup_container_ struct container *c = NULL;
    _cleanup_view_ struct ctr_view *v = NULL;

    if (containers_find(cs, l->id, &c, NULL) < 0)
        return strdup(l->name);
    v = container_view(c);
    return strdup(v->name);
}

int ctr_links_shown(struct containers *cs, const struct ctr_view *v, struct api_string_list *ret, struct err *e) {
    for (size_t i = 0; i < v->fixed->links.n; i++) {
        _cleanup_free_ char *child = child_name(cs, &v->fixed->links.v[i]), *text = NULL;
        int r;

        text = child ? str_printf("/%s:/%s/%s", child, v->name, v->fixed->links.v[i].alias) : NULL;
        r = text ? api_string_list_add(ret, text, e) : err_oom(e);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The parent of "parent/alias", counted, and what comes after its name; NULL: there is none. */
static struct container *parent_of(struct containers *cs, const char *ref, const char **ret_alias) {
    const char *name = *ref == '/' ? ref + 1 : ref, *slash = strchr(name, '/');
    _cleanup_free_ char *parent = slash ? strndup(name, (size_t)(slash - name)) : NULL;
    struct container *c;

    if (!parent)
        return NULL;
    pthread_mutex_lock(&cs->lock);
    c = map_get(&cs->by_name, parent);
    if (c)
        container_ref(c);
    pthread_mutex_unlock(&cs->lock);
    *ret_alias = slash + 1;
    return c;
}

struct container *ctr_links_lookup(struct containers *cs, const char *ref) {
    const char *alias = NULL;
    _cleanup_container_ struct container *parent = parent_of(cs, ref, &alias);
    _cleanup_view_ struct ctr_view *v = parent ? container_view(parent) : NULL;
    const struct ctr_link *l = v ? find_alias(&v->fixed->links, alias) : NULL;
    struct container *child = NULL;

    return l && containers_find(cs, l->id, &child, NULL) >= 0 ? child : NULL;
}

static void free_names(void *p) {
    strv_done(p);
    free(p);
}

void ctr_links_names_done(struct map *names) {
    map_done_with(names, free_names);
}

static int note_names(const struct ctr_view *v, struct map *ret) {
    for (size_t i = 0; i < v->fixed->links.n; i++) {
        const struct ctr_link *l = &v->fixed->links.v[i];
        struct strv *names = map_get(ret, l->id);

        if (!names) {
            names = calloc(1, sizeof(*names));
            if (!names || map_set(ret, l->id, names, NULL) < 0) {
                free(names);
                return -ENOMEM;
            }
        }
        if (strv_addf(names, "/%s/%s", v->name, l->alias) < 0)
            return -ENOMEM;
    }
    return 0;
}

int ctr_links_names(struct containers *cs, struct map *ret, struct err *e) {
    struct container **all;
    size_t n;
    int r;

    if (atomic_load(&cs->n_links) == 0)
        return 0;
    r = containers_all(cs, &all, &n, e);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        _cleanup_view_ struct ctr_view *v = container_view(all[i]);

        if (r >= 0 && note_names(v, ret) < 0)
            r = err_oom(e);
        container_unref(all[i]);
    }
    free(all);
    return r;
}

/* ---- variables ------------------------------------------------------------------------------------------------------------------ */
struct port {
    int64_t number;
    const char *proto; /* "tcp", with what follows it in the text */
};

static int by_number(const void *a, const void *b) {
    const struct port *x = a, *y = b;

    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return streq(x->proto, "tcp") ? -1 : streq(y->proto, "tcp") ? 1 : strcmp(x->proto, y->proto);
}

/* The last of the ports from `i` on that leave no gap in between; the same number under two protocols counts like two numbers. */
static size_t last_in_row(const struct port *v, size_t n, size_t i) {
    int64_t value = v[i].number;

    for (size_t k = i + 1; k < n; k++, value++)
        if (v[k].number > value + 1)
            return k - 1;
    return n - 1;
}

static void upper(char *s) {
    for (; s && *s; s++)
        *s = *s == '-' ? '_' : (char)toupper((unsigned char)*s);
}

static int ports_env(const char *alias, const char *address, const struct port *v, size_t n, struct strv *ret) {
#define ADD(...)                                                                                                                                     \
    do {                                                                                                                                             \
        if (strv_addf(ret, __VA_ARGS__) < 0)                                                                                                         \
            return -ENOMEM;                                                                                                                          \
    } while (0)
#define N(i) (long long)v[i].number
    if (n)
        ADD("%s_PORT=%s://%s:%lld", alias, v[0].proto, address, N(0));
    for (size_t i = 0, j; i < n; i = j + 1) {
        _cleanup_free_ char *proto = strdup(v[i].proto);

        j = last_in_row(v, n, i);
        if (j <= i + 1) {
            j = i;
            continue;
        }
        upper(proto);
        if (!proto)
            return -ENOMEM;
        ADD("%s_PORT_%lld_%s_START=%s://%s:%lld", alias, N(i), proto, v[i].proto, address, N(i));
        ADD("%s_PORT_%lld_%s_ADDR=%s", alias, N(i), proto, address);
        ADD("%s_PORT_%lld_%s_PROTO=%s", alias, N(i), proto, v[i].proto);
        ADD("%s_PORT_%lld_%s_PORT_START=%lld", alias, N(i), proto, N(i));
        ADD("%s_PORT_%lld_%s_END=%s://%s:%lld", alias, N(i), proto, v[j].proto, address, N(j));
        ADD("%s_PORT_%lld_%s_PORT_END=%lld", alias, N(i), proto, N(j));
    }
    for (size_t i = 0; i < n; i++) {
        _cleanup_free_ char *proto = strdup(v[i].proto);

        upper(proto);
        if (!proto)
            return -ENOMEM;
        ADD("%s_PORT_%lld_%s=%s://%s:%lld", alias, N(i), proto, v[i].proto, address, N(i));
        ADD("%s_PORT_%lld_%s_ADDR=%s", alias, N(i), proto, address);
        ADD("%s_PORT_%lld_%s_PORT=%lld", alias, N(i), proto, N(i));
        ADD("%s_PORT_%lld_%s_PROTO=%s", alias, N(i), proto, v[i].proto);
    }
    return 0;
#undef N
}

int ctr_link_env(const char *alias, const char *parent, const char *address, const struct api_string_set *ports, const struct api_string_list *env,
                 struct strv *ret) {
    _cleanup_free_ char *name = strdup(last_part(alias));
    _cleanup_free_ struct port *v = calloc(ports->n + 1, sizeof(*v));

    if (!name || !v)
        return -ENOMEM;
    upper(name);
    for (size_t i = 0; i < ports->n; i++) {
        const char *slash = strchr(ports->v[i], '/');

        v[i] = (struct port){strtoll(ports->v[i], NULL, 10), slash ? slash + 1 : "tcp"};
    }
    qsort(v, ports->n, sizeof(*v), by_number);
    if (ports_env(name, address, v, ports->n, ret) < 0)
        return -ENOMEM;
    ADD("%s_NAME=/%s/%s", name, parent, alias);
    for (size_t i = 0; i < env->n; i++) {
        if (!strchr(env->v[i], '=') || str_has_prefix(env->v[i], "HOME=") || str_has_prefix(env->v[i], "PATH="))
            continue;
        ADD("%s_ENV_%s", name, env->v[i]);
    }
    return 0;
#undef ADD
}

/* ---- at start and at exec --------------------------------------------------------------------------------------------------------- */
static const struct api_endpoint_settings *on_bridge(const struct ctr_view *v) {
    const struct api_endpoint_settings_map *m = &v->net->s.networks;

    for (size_t i = 0; i < m->n; i++)
        if (streq(m->v[i].key, DEFAULT_NETWORK) && m->v[i].value)
            return m->v[i].value;
    return NULL;
}

static int gather_one(struct container *c, const struct ctr_link *l, struct strv *env, struct strv *hosts, struct err *e) {
    _cleanup_container_ struct container *child = NULL;
    _cleanup_view_ struct ctr_view *v = NULL;
    const struct api_endpoint_settings *ep;
    const char *last = last_part(l->alias), *host, *address;

    if (containers_find(c->cs, l->id, &child, NULL) < 0)
        return err_set(e, ERR_INTERNAL, "Cannot link to a non running container: /%s AS /%s/%s", l->name, c->view->name, l->alias);
    v = container_view(child);
    ep = on_bridge(v);
    if (!ep)
        return err_set(e, ERR_INTERNAL, "Cannot link to /%s, as it does not belong to the default network", v->name);
    if (!ctr_state_alive(v->state))
        return err_set(e, ERR_INTERNAL, "Cannot link to a non running container: /%s AS /%s/%s", v->name, c->view->name, l->alias);
    address = ep->ip_address ? ep->ip_address : "";
    if (ctr_link_env(l->alias, c->view->name, address, &v->fixed->config.exposed_ports, &v->fixed->config.env, env) < 0)
        return err_oom(e);
    host = v->fixed->config.hostname ? v->fixed->config.hostname : "";
    if (hosts && strv_addf(hosts, "%s\t%s %s%s%s", address, last, host, streq(last, v->name) ? "" : " ", streq(last, v->name) ? "" : v->name) < 0)
        return err_oom(e);
    return 0;
}

int ctr_links_gather(struct container *c, struct strv *env, struct strv *hosts, struct err *e) {
    _cleanup_view_ struct ctr_view *v = container_view(c);
    int r = 0;

    for (size_t i = 0; r >= 0 && i < v->fixed->links.n && on_bridge(v); i++)
        r = gather_one(c, &v->fixed->links.v[i], env, hosts, e);
    return r;
}

/* ---- when something changed ---------------------------------------------------------------------------------------------------------- */
/* "address\talias ..." gets another address; every other line stays. */
static int move_host(struct container *parent, const char *alias, const char *address, struct err *e) {
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_SMALL_FILE), out = BUF_INIT(LIMIT_SMALL_FILE);
    _cleanup_free_ char *path = container_path(parent, "hosts");
    const char *last = last_part(alias);
    int r = path ? fs_read_file(path, &text, e) : err_oom(e);

    if (r < 0)
        return r;
    for (const char *p = buf_str(&text); *p;) {
        size_t whole = strcspn(p, "\n") + (p[strcspn(p, "\n")] == '\n'), tab = strcspn(p, "\t\n");
        const char *rest = p[tab] == '\t' ? str_after(p + tab + 1, last) : NULL;

        if (rest && (isspace((unsigned char)*rest) || *rest == '.')) {
            buf_adds(&out, address);
            buf_add(&out, p + tab, whole - tab);
        } else {
            buf_add(&out, p, whole);
        }
        p += whole;
    }
    r = buf_check(&out, e);
    return r < 0 ? r : net_rewrite_file(path, &out, e);
}

/* Rules for both directions of each of the child's exposed ports, where the network does not let containers talk by itself. */
static void let_through(struct container *parent, const char *parent_address, const struct ctr_view *child, const char *address) {
    const struct strv ports = {child->fixed->config.exposed_ports.v, child->fixed->config.exposed_ports.n}; /* borrowed */
    _cleanup_free_ char *key = str_printf("%s/%s", parent->id, child->fixed->id);
    _cleanup_err_ struct err why = ERR_INIT;

    if (key && networks_let_through(parent->cs->engine->networks, key, parent_address, address, &ports, &why) < 0)
        log_kv(LOG_LVL_WARN, "linked containers cannot talk", "container", parent->id, "error", err_msg(&why), NULL);
}

static void follow_child(struct container *c, const struct ctr_view *v, const char *address) {
    struct container **all;
    size_t n;

    if (containers_all(c->cs, &all, &n, NULL) < 0)
        return;
    for (size_t i = 0; i < n; i++) {
        _cleanup_view_ struct ctr_view *p = container_view(all[i]);
        const struct api_endpoint_settings *ep = on_bridge(p);

        for (size_t k = 0; k < p->fixed->links.n; k++) {
            _cleanup_err_ struct err why = ERR_INIT;

            if (!streq(p->fixed->links.v[k].id, c->id) || !ctr_state_alive(p->state) || !ep)
                continue;
            if (move_host(all[i], p->fixed->links.v[k].alias, address, &why) < 0)
                log_kv(LOG_LVL_WARN, "hosts file cannot be brought up to date", "container", all[i]->id, "error", err_msg(&why), NULL);
            let_through(all[i], ep->ip_address ? ep->ip_address : "", v, address);
        }
        container_unref(all[i]);
    }
    free(all);
}

void ctr_links_follow(struct container *c) {
    _cleanup_view_ struct ctr_view *v = NULL;
    const struct api_endpoint_settings *ep;

    if (atomic_load(&c->cs->n_links) == 0)
        return;
    v = container_view(c);
    ep = on_bridge(v);
    if (!ep || str_empty(ep->ip_address))
        return;
    for (size_t i = 0; i < v->fixed->links.n; i++) {
        _cleanup_container_ struct container *child = NULL;
        _cleanup_view_ struct ctr_view *cv = NULL;

        if (containers_find(c->cs, v->fixed->links.v[i].id, &child, NULL) < 0)
            continue;
        cv = container_view(child);
        if (on_bridge(cv) && !str_empty(on_bridge(cv)->ip_address))
            let_through(c, ep->ip_address, cv, on_bridge(cv)->ip_address);
    }
    follow_child(c, v, ep->ip_address);
}

void ctr_links_leave(struct container *c) {
    if (atomic_load(&c->cs->n_links) > 0)
        networks_stop_through(c->cs->engine->networks, c->id);
}

/* ---- removal -------------------------------------------------------------------------------------------------------------------------- */
static int without(const struct ctr_fixed *f, const char *alias, struct ctr_fixed **ret, struct err *e) {
    _cleanup_(ctr_fixed_unrefp) struct ctr_fixed *copy = NULL;
    int r = ctr_fixed_copy(f, &copy, e);

    if (r < 0)
        return r;
    for (size_t i = 0; i < copy->links.n; i++) {
        if (!streq(copy->links.v[i].alias, alias))
            continue;
        ctr_link_done(&copy->links.v[i]);
        copy->links.n--;
        memmove(&copy->links.v[i], &copy->links.v[i + 1], (copy->links.n - i) * sizeof(*copy->links.v));
        break;
    }
    *ret = TAKE_PTR(copy);
    return 0;
}

int ctr_links_remove(struct containers *cs, const char *ref, struct err *e) {
    const char *alias = NULL;
    _cleanup_container_ struct container *child = NULL, *parent = NULL;
    _cleanup_(ctr_fixed_unrefp) struct ctr_fixed *f = NULL;
    LEASE_ANY struct ctr_held h = CTR_HELD_INIT;
    char id[sizeof(((struct ctr_link *)NULL)->id)];
    const struct ctr_link *l;
    int r = containers_find(cs, ref, &child, e);

    if (r < 0)
        return r;
    parent = parent_of(cs, ref, &alias);
    if (!parent)
        return err_set(e, ERR_INTERNAL, "Conflict, cannot remove the default link name of the container");
    r = ctr_hold(parent, &h, e);
    if (r < 0)
        return r;
    l = find_alias(&parent->view->fixed->links, alias);
    if (!l)
        return err_set(e, ERR_NOT_FOUND, "No such container: %s", ref);
    memcpy(id, l->id, sizeof(id));
    r = without(parent->view->fixed, alias, &f, e);
    if (r >= 0)
        r = container_replace_fixed(parent, TAKE_PTR(f), e);
    if (r < 0)
        return r;
    atomic_fetch_sub(&cs->n_links, 1);
    if (ctr_state_alive(h.state)) {
        _cleanup_free_ char *key = str_printf("%s/%s", parent->id, id);
        _cleanup_err_ struct err why = ERR_INIT;

        if (key)
            networks_stop_through(cs->engine->networks, key);
        if (net_write_hosts(parent, &why) < 0)
            log_kv(LOG_LVL_WARN, "hosts file cannot be brought up to date", "container", parent->id, "error", err_msg(&why), NULL);
    }
    return 0;
}
