// SPDX-License-Identifier: Apache-2.0
#include "netd/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/id.h"
#include "base/str.h"
#include "netd/dns-msg.h"

#define KEY (2 * NETD_GROUP_BYTES + 1)

/* Sites that share a name. */
struct crowd {
    struct site **v;
    size_t n;
};

struct zone {
    char key[KEY];
    char *name, *shown; /* in lower case; as it was given */
    unsigned refs;
    struct map crowds; /* name -> struct crowd */
    struct map addrs;  /* address in hex -> struct site */
};

bool netd_next_field(struct netd_fields *f, struct netd_value *ret) {
    if (f->end - f->p < 2 || f->end - f->p - 2 < f->p[1])
        return false;
    *ret = (struct netd_value){.field = (enum netd_field)f->p[0], .n = f->p[1], .p = f->p + 2};
    f->p += 2 + ret->n;
    return true;
}

static char *text_of(const uint8_t *p, size_t n) {
    char *s = strndup((const char *)p, n);

    for (char *c = s; c && *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    return s;
}

/* ---- zones ------------------------------------------------------------------------------------------------------------------------- */

static void crowd_free(void *p) {
    struct crowd *c = p;

    free(c->v);
    free(c);
}

static struct zone *zone_get(struct names *n, const uint8_t *id) {
    char key[KEY];
    struct zone *z;

    hex_encode(id, NETD_GROUP_BYTES, key);
    z = map_get(&n->zones, key);
    if (!z) {
        z = calloc(1, sizeof(*z));
        if (!z || map_set(&n->zones, key, z, NULL) < 0) {
            free(z);
            return NULL;
        }
        memcpy(z->key, key, sizeof(key));
    }
    z->refs++;
    return z;
}

static void zone_put(struct names *n, struct zone *z) {
    if (!z || --z->refs > 0)
        return;
    map_remove(&n->zones, z->key);
    map_done_with(&z->crowds, crowd_free);
    map_done(&z->addrs);
    free(z->name);
    free(z->shown);
    free(z);
}

const char *zone_name(const struct zone *z) {
    return z->shown ? z->shown : "";
}

static int crowd_add(struct zone *z, const char *name, struct site *s) {
    struct crowd *c = map_get(&z->crowds, name);
    struct site **v;

    if (!c) {
        c = calloc(1, sizeof(*c));
        if (!c || map_set(&z->crowds, name, c, NULL) < 0) {
            free(c);
            return -ENOMEM;
        }
    }
    for (size_t i = 0; i < c->n; i++) {
        if (c->v[i] == s)
            return 0;
    }
    v = reallocarray(c->v, c->n + 1, sizeof(struct site *));
    if (!v)
        return -ENOMEM;
    c->v = v;
    v[c->n++] = s;
    return 0;
}

static void crowd_remove(struct zone *z, const char *name, const struct site *s) {
    struct crowd *c = map_get(&z->crowds, name);

    for (size_t i = 0; c && i < c->n; i++) {
        if (c->v[i] != s)
            continue;
        memmove(c->v + i, c->v + i + 1, (c->n - i - 1) * sizeof(struct site *));
        c->n--;
        break;
    }
    if (c && !c->n) {
        map_remove(&z->crowds, name);
        crowd_free(c);
    }
}

/* ---- sites ------------------------------------------------------------------------------------------------------------------------- */

static void addr_forget(struct zone *z, const uint8_t *addr, size_t n, const struct site *s) {
    char key[33];

    hex_encode(addr, n, key);
    /* Another one may have taken the address over already. */
    if (map_get(&z->addrs, key) == s)
        map_remove(&z->addrs, key);
}

static int addr_set(struct zone *z, const uint8_t *addr, size_t n, struct site *s) {
    char key[33];

    hex_encode(addr, n, key);
    return map_set(&z->addrs, key, s, NULL);
}

/* Take what the site says out of its zone. */
static void site_withdraw(struct names *n, struct site *s) {
    if (!s->zone)
        return;
    for (size_t i = 0; i < s->n_names; i++)
        crowd_remove(s->zone, s->names[i], s);
    if (s->has_v4)
        addr_forget(s->zone, s->v4, 4, s);
    if (s->has_v6)
        addr_forget(s->zone, s->v6, 16, s);
    zone_put(n, s->zone);
    s->zone = NULL;
}

static void site_empty(struct names *n, struct site *s) {
    site_withdraw(n, s);
    for (size_t i = 0; i < s->n_names; i++)
        free(s->names[i]);
    free(s->names);
    free(s->shown);
    s->shown = NULL;
    s->names = NULL;
    s->n_names = 0;
    s->has_v4 = s->has_v6 = false;
}

static int add_name(struct site *s, const struct netd_value *v) {
    char **p = reallocarray(s->names, s->n_names + 1, sizeof(char *));

    if (!p)
        return -ENOMEM;
    s->names = p;
    if (!s->n_names) {
        s->shown = strndup((const char *)v->p, v->n);
        if (!s->shown)
            return -ENOMEM;
    }
    p[s->n_names] = text_of(v->p, v->n);
    return p[s->n_names++] ? 0 : -ENOMEM;
}

static int site_read(struct names *n, struct site *s, struct netd_fields f) {
    struct netd_value v;
    int r = 0;

    while (r == 0 && netd_next_field(&f, &v)) {
        if (v.field == NETD_F_ZONE && v.n == NETD_GROUP_BYTES && !s->zone) {
            s->zone = zone_get(n, v.p);
            r = s->zone ? 0 : -ENOMEM;
        } else if (v.field == NETD_F_ZONE_NAME && s->zone) {
            free(s->zone->name);
            free(s->zone->shown);
            s->zone->name = text_of(v.p, v.n);
            s->zone->shown = strndup((const char *)v.p, v.n);
            r = s->zone->name && s->zone->shown ? 0 : -ENOMEM;
        } else if (v.field == NETD_F_V4 && v.n == 4) {
            memcpy(s->v4, v.p, 4);
            s->has_v4 = true;
        } else if (v.field == NETD_F_V6 && v.n == 16) {
            memcpy(s->v6, v.p, 16);
            s->has_v6 = true;
        } else if (v.field == NETD_F_NAME) {
            r = add_name(s, &v);
        }
    }
    return r < 0 ? r : s->zone && f.p == f.end ? 0 : -EINVAL;
}

static int site_enter(struct site *s) {
    int r = s->has_v4 ? addr_set(s->zone, s->v4, 4, s) : 0;

    if (r == 0 && s->has_v6)
        r = addr_set(s->zone, s->v6, 16, s);
    for (size_t i = 0; r == 0 && i < s->n_names; i++)
        r = crowd_add(s->zone, s->names[i], s);
    return r;
}

static void site_free(struct names *n, struct site *s) {
    site_empty(n, s);
    free(s);
}

int names_set(struct names *n, const uint8_t *id, struct netd_fields f) {
    char key[KEY];
    struct site *s;
    int r;

    hex_encode(id, NETD_GROUP_BYTES, key);
    s = map_get(&n->sites, key);
    if (!s) {
        s = calloc(1, sizeof(*s));
        if (!s || map_set(&n->sites, key, s, NULL) < 0) {
            free(s);
            return -ENOMEM;
        }
        memcpy(s->id, id, NETD_GROUP_BYTES);
    }
    site_empty(n, s);
    s->stale = false;
    r = site_read(n, s, f);
    if (r == 0)
        r = site_enter(s);
    if (r < 0)
        names_remove(n, id);
    return r;
}

void names_remove(struct names *n, const uint8_t *id) {
    char key[KEY];
    struct site *s;

    hex_encode(id, NETD_GROUP_BYTES, key);
    s = map_remove(&n->sites, key);
    if (s)
        site_free(n, s);
}

void names_stale(struct names *n) {
    for (struct map_entry *i = NULL; (i = map_next(&n->sites, i));)
        ((struct site *)i->value)->stale = true;
}

void names_sweep(struct names *n) {
    for (struct map_entry *i = NULL; (i = map_next(&n->sites, i));) {
        struct site *s = i->value;

        if (s->stale) {
            map_remove(&n->sites, i->key);
            site_free(n, s);
        }
    }
}

void names_done(struct names *n) {
    names_stale(n);
    names_sweep(n);
    map_done(&n->sites);
    map_done(&n->zones);
}

/* ---- views ------------------------------------------------------------------------------------------------------------------------- */

static int add_member(struct names *n, struct view *v, const uint8_t *id) {
    struct member *m = reallocarray(v->v, v->n + 1, sizeof(*m));
    struct zone *z;

    if (!m)
        return -ENOMEM;
    v->v = m;
    z = zone_get(n, id);
    if (!z)
        return -ENOMEM;
    m[v->n++] = (struct member){.zone = z};
    return 0;
}

static int add_link(struct member *m, const struct netd_value *v) {
    const uint8_t *nul = memchr(v->p, 0, v->n);
    char *alias, *name, *old = NULL;
    int r;

    if (!nul)
        return -EINVAL;
    alias = text_of(v->p, (size_t)(nul - v->p));
    name = text_of(nul + 1, v->n - (size_t)(nul - v->p) - 1);
    r = alias && name ? map_set(&m->links, alias, name, (void **)&old) : -ENOMEM;
    free(alias);
    free(r < 0 ? name : old);
    return r;
}

int view_read(struct names *n, struct netd_fields f, struct view *ret) {
    struct netd_value v;
    int r = 0;

    *ret = (struct view){0};
    while (r == 0 && netd_next_field(&f, &v)) {
        if (v.field == NETD_F_ZONE && v.n == NETD_GROUP_BYTES)
            r = add_member(n, ret, v.p);
        else if (v.field == NETD_F_LINK && ret->n)
            r = add_link(&ret->v[ret->n - 1], &v);
    }
    if (r == 0 && f.p != f.end)
        r = -EINVAL;
    if (r < 0)
        view_done(n, ret);
    return r;
}

void view_done(struct names *n, struct view *v) {
    for (size_t i = 0; i < v->n; i++) {
        map_done_with(&v->v[i].links, free);
        zone_put(n, v->v[i].zone);
    }
    free(v->v);
    *v = (struct view){0};
}

/* ---- questions --------------------------------------------------------------------------------------------------------------------- */

static const struct crowd *find_in(const struct view *v, const char *name, const char *network, bool links) {
    for (size_t i = 0; i < v->n; i++) {
        const struct member *m = &v->v[i];
        const char *target = map_get(&m->links, name);
        const struct crowd *c;

        if ((network && (!m->zone->name || !streq(network, m->zone->name))) || links != (target != NULL))
            continue;
        c = map_get(&m->zone->crowds, links ? target : name);
        if (c)
            return c;
    }
    return NULL;
}

size_t names_find(const struct view *v, const char *name, struct site *const **ret) {
    char left[DNS_TEXT_MAX];
    size_t n = strlen(name);

    if (!n || n >= sizeof(left))
        return 0;
    memcpy(left, name, n + 1);
    for (const char *network = NULL;;) {
        const struct crowd *c = find_in(v, left, network, true);
        char *dot;

        if (!c)
            c = find_in(v, left, network, false);
        if (c) {
            *ret = c->v;
            return c->n;
        }
        dot = strrchr(left, '.');
        if (!dot)
            return 0;
        *dot = 0;
        network = name + (dot - left) + 1;
    }
}

const struct site *names_at(const struct view *v, const uint8_t *addr, size_t n) {
    char key[33];

    hex_encode(addr, n, key);
    for (size_t i = 0; i < v->n; i++) {
        const struct site *s = map_get(&v->v[i].zone->addrs, key);

        if (s && s->n_names)
            return s;
    }
    return NULL;
}
