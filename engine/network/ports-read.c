// SPDX-License-Identifier: Apache-2.0
/* From HostConfig.PortBindings to a list of ports to take. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "network/network-internal.h"

void port_requests_done(struct port_requests *p) {
    free(p->v);
    *p = (struct port_requests){0};
}

/* "8000" or "8000-8010" in 0..65535; "" is 0. */
static int read_range(const char *s, uint16_t *lo, uint16_t *hi) {
    const char *dash = strchr(s, '-');
    char first[8];
    int64_t a = 0, b = 0;

    *lo = *hi = 0;
    if (!*s)
        return 0;
    if (dash && (size_t)(dash - s) >= sizeof(first))
        return -1;
    snprintf(first, sizeof(first), "%.*s", (int)(dash ? dash - s : (long)sizeof(first) - 1), s);
    if ((!dash && strlen(s) >= sizeof(first)) || parse_int_range(first, 0, 65535, &a) < 0)
        return -1;
    b = a;
    if (dash && parse_int_range(dash + 1, 0, 65535, &b) < 0)
        return -1;
    if (b < a)
        return -1;
    *lo = (uint16_t)a;
    *hi = (uint16_t)b;
    return 0;
}

static int add(struct port_requests *p, const struct port_request *r, struct err *e) {
    struct port_request *v = realloc(p->v, (p->n + 1) * sizeof(*v));

    if (!v)
        return err_oom(e);
    p->v = v;
    v[p->n++] = *r;
    return 0;
}

static int read_key(const char *key, struct port_request *ret, struct err *e) {
    const char *slash = strchr(key, '/');
    char port[8];
    uint16_t lo = 0, hi = 0;

    ret->proto = PORT_TCP;
    snprintf(port, sizeof(port), "%.*s", (int)(slash ? slash - key : (long)sizeof(port) - 1), key);
    if (slash && !port_proto_parse(slash + 1, &ret->proto))
        return err_set(e, ERR_INVALID, "invalid port specification: \"%s\"", key);
    if ((slash ? (size_t)(slash - key) : strlen(key)) >= sizeof(port) || read_range(port, &lo, &hi) < 0 || !lo || lo != hi)
        return err_set(e, ERR_INVALID, "invalid port specification: \"%s\"", key);
    ret->container_port = lo;
    return 0;
}

static int read_binding(struct port_request r, const struct api_port_binding *b, struct port_requests *ret, struct err *e) {
    const char *ip = b->host_ip ? b->host_ip : "", *port = b->host_port ? b->host_port : "";

    if (strlen(ip) >= sizeof(r.host_ip))
        return err_set(e, ERR_INVALID, "invalid IP address: %s", ip);
    snprintf(r.host_ip, sizeof(r.host_ip), "%s", ip);
    if (read_range(port, &r.host_first, &r.host_last) < 0)
        return err_set(e, ERR_INVALID, "invalid port specification: \"%s\"", port);
    return add(ret, &r, e);
}

/*
 * The order in which the reference takes ports, which decides who gets which random one: larger host port asked for, then larger container port,
 * then TCP before the others.
 */
static int taking_order(const void *a, const void *b) {
    const struct port_request *x = a, *y = b;
    int hx = x->host_first == x->host_last ? x->host_first : 0, hy = y->host_first == y->host_last ? y->host_first : 0;

    if (hx != hy)
        return hy - hx;
    if (x->container_port != y->container_port)
        return (int)y->container_port - (int)x->container_port;
    if (x->proto != y->proto)
        return x->proto == PORT_TCP ? -1 : y->proto == PORT_TCP ? 1 : (int)x->proto - (int)y->proto;
    return strcmp(x->host_ip, y->host_ip);
}

/* A set of ports, one bit each: containers with hundreds of them are looked through once. */
struct port_bits {
    uint64_t tcp[1024], udp[1024], sctp[1024];
};

static uint64_t *word_of(struct port_bits *set, const struct port_request *r) {
    uint64_t *words = r->proto == PORT_TCP ? set->tcp : r->proto == PORT_UDP ? set->udp : set->sctp;

    return &words[r->container_port / 64];
}

static void bits_add(struct port_bits *set, const struct port_request *r) {
    *word_of(set, r) |= UINT64_C(1) << r->container_port % 64;
}

static bool bits_have(struct port_bits *set, const struct port_request *r) {
    return *word_of(set, r) >> r->container_port % 64 & 1;
}

/* "80" and "80/tcp" are one; what is no port is passed over. */
static void bits_add_exposed(struct port_bits *set, const struct api_string_set *exposed) {
    for (size_t i = 0; exposed && i < exposed->n; i++) {
        struct port_request r = {0};

        if (read_key(exposed->v[i], &r, NULL) == 0)
            bits_add(set, &r);
    }
}

static int read_bindings(const struct api_port_binding_list_map *bindings, struct port_bits *exposed, struct port_requests *p, struct err *e) {
    int r = 0;

    for (size_t i = 0; r == 0 && bindings && i < bindings->n; i++) {
        const struct api_port_binding_list *list = &bindings->v[i].value;
        struct port_request req = {0};

        r = read_key(bindings->v[i].key, &req, e);
        if (r == 0 && !bits_have(exposed, &req))
            continue;
        /* No binding at all counts as one with a free choice. */
        if (r == 0 && !list->n)
            r = add(p, &req, e);
        for (size_t k = 0; r == 0 && k < list->n; k++)
            r = read_binding(req, &list->v[k], p, e);
    }
    return r;
}

/* -P: what is exposed and has no binding. */
static int read_others(const struct api_string_set *exposed, struct port_bits *taken, struct port_requests *p, struct err *e) {
    int r = 0;

    memset(taken, 0, sizeof(*taken));
    for (size_t i = 0; i < p->n; i++)
        bits_add(taken, &p->v[i]);
    for (size_t i = 0; r == 0 && exposed && i < exposed->n; i++) {
        struct port_request req = {0};

        r = read_key(exposed->v[i], &req, e);
        if (r < 0 || bits_have(taken, &req))
            continue;
        bits_add(taken, &req);
        r = add(p, &req, e);
    }
    return r;
}

int port_requests_read(struct port_requests *ret, const struct api_port_binding_list_map *bindings, const struct api_string_set *exposed,
                       bool publish_all, struct err *e) {
    _cleanup_free_ struct port_bits *set = NULL;
    struct port_requests p = {0};
    int r;

    if (!(bindings && bindings->n) && !publish_all) {
        *ret = p;
        return 0;
    }
    set = calloc(1, sizeof(*set));
    if (!set)
        return err_oom(e);
    bits_add_exposed(set, exposed);
    r = read_bindings(bindings, set, &p, e);
    if (r == 0 && publish_all)
        r = read_others(exposed, set, &p, e);
    if (r < 0) {
        port_requests_done(&p);
        return r;
    }
    if (p.n)
        qsort(p.v, p.n, sizeof(*p.v), taking_order);
    *ret = p;
    return 0;
}
