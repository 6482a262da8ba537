// SPDX-License-Identifier: Apache-2.0
#include "container/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "container/life.h"
#include "container/netting.h"
#include "container/validate.h"
#include "kern/proc.h"
#include "monitor/client.h"

DEFINE_CLEANUP(struct network *, network_unref)

/* ---- the running container ------------------------------------------------------------------------------------------------------------- */

static int open_netns(const struct ctr_view *v, struct err *e) {
    int fd = proc_open_at((pid_t)v->pid, v->pid_ticks, "ns/net", O_RDONLY);

    return fd >= 0 ? fd : err_set(e, ERR_CONFLICT, "container %s is not running", v->fixed->id);
}

/* The endpoint that default routes and published ports belong to, leaving `but` out; NULL: none. */
static struct endpoint *gateway_of(struct container *c, const struct endpoint *but) {
    struct network **nets = calloc(c->n_endpoints + 1, sizeof(*nets));
    int i;

    if (!nets)
        return NULL;
    for (size_t k = 0; k < c->n_endpoints; k++)
        nets[k] = c->endpoints[k] == but ? NULL : endpoint_network(c->endpoints[k]);
    i = networks_gateway(nets, c->n_endpoints);
    free(nets);
    return i < 0 ? NULL : c->endpoints[i];
}

/* Published ports of one endpoint go to another one; either may be NULL. What cannot be published there is back where it was. */
static int move_ports(struct container *c, struct endpoint *from, struct endpoint *to, struct err *e) {
    struct networks *ns = c->cs->engine->networks;
    struct port_requests ports = {0};
    int r = from == to ? 0 : net_read_ports(c->view->fixed, &ports, e);

    if (r < 0 || from == to)
        return r;
    if (from)
        endpoint_withdraw(ns, from);
    r = to ? endpoint_publish(ns, to, ports.v, ports.n, e) : 0;
    if (r < 0 && from && endpoint_publish(ns, from, ports.v, ports.n, NULL) < 0)
        log_kv(LOG_LVL_ERROR, "published ports are lost", "container", c->id, NULL);
    port_requests_done(&ports);
    return r;
}

/* The launcher works inside the running container. */
static int in_netns(struct container *c, struct launch_netns *req, struct err *e) {
    _cleanup_close_ int ns = open_netns(c->view, e);

    if (ns < 0)
        return ns;
    req->netns = ns;
    return launcher_netns(c->cs->engine->launcher, req, e);
}

static int add_interface(struct container *c, const struct endpoint *ep, bool gateway, struct err *e) {
    struct launch_link link = {0};
    struct launch_netns req = {.links = &link, .n_links = 1};
    int r;

    if (!endpoint_link(ep, gateway, &link))
        return 0;
    r = in_netns(c, &req, e);
    strv_done(&link.sysctls);
    return r;
}

static int remove_interface(struct container *c, const struct endpoint *ep, const struct endpoint *gateway, struct err *e) {
    const char *name = endpoint_ifname(ep);
    struct launch_link link = {0};
    struct launch_netns req = {.remove = &name};
    int r = 0;

    if (!*name)
        return 0;
    /* From outside nobody has to wait until the kernel has done with it. */
    req.n_remove = !endpoint_drop_link(ep);
    if (gateway && endpoint_link(gateway, true, &link)) {
        req.gateway_ifname = link.ifname;
        req.gateway = link.gateway;
        req.gateway6 = link.gateway6;
    }
    if (req.n_remove || req.gateway_ifname)
        r = in_netns(c, &req, e);
    strv_done(&link.sysctls);
    return r;
}

/* ---- /etc/hosts ------------------------------------------------------------------------------------------------------------------------ */

/* The file is mounted into the container and may have been changed there: it stays the same file, and only our lines come or go. */
static int edit_hosts(struct container *c, const struct endpoint *ep, bool add, struct err *e) {
    const struct ctr_fixed *f = c->view->fixed;
    _cleanup_buf_ struct buf lines = BUF_INIT(LIMIT_SMALL_FILE), text = BUF_INIT(LIMIT_SMALL_FILE), out = BUF_INIT(LIMIT_SMALL_FILE);
    _cleanup_free_ char *path = container_path(c, "hosts");
    int r;

    endpoint_hosts(ep, f->config.hostname, f->config.domainname, &lines);
    r = path ? fs_read_file(path, &text, e) : err_oom(e);
    if (r < 0 || !lines.len)
        return r;
    for (const char *p = buf_str(&text); *p;) {
        size_t n = strcspn(p, "\n"), whole = n + (p[n] == '\n');
        bool ours = false;

        for (const char *l = buf_str(&lines); !add && *l && !ours; l += strcspn(l, "\n") + 1)
            ours = strcspn(l, "\n") == n && strncmp(l, p, n) == 0;
        if (!ours)
            buf_add(&out, p, whole);
        p += whole;
    }
    if (add) {
        if (out.len && out.data[out.len - 1] != '\n')
            buf_addc(&out, '\n');
        buf_adds(&out, buf_str(&lines));
    }
    r = buf_check(&out, e);
    if (r < 0)
        return r;
    return net_rewrite_file(path, &out, e);
}

/* Names as they are on the networks of now. The change stands whether or not this succeeds. */
static void follow_names(struct container *c) {
    _cleanup_err_ struct err why = ERR_INIT;
    int r = net_serve_names(c, &why);

    if (r >= 0)
        r = net_embed_resolv(c, &why);
    if (r < 0)
        log_kv(LOG_LVL_WARN, "names cannot be brought up to date", "container", c->id, "error", err_msg(&why), NULL);
}

static void follow_hosts(struct container *c, const struct endpoint *ep, bool add) {
    _cleanup_err_ struct err why = ERR_INIT;

    if (edit_hosts(c, ep, add, &why) < 0)
        log_kv(LOG_LVL_WARN, "hosts file cannot be brought up to date", "container", c->id, "error", err_msg(&why), NULL);
}

/* ---- the record ------------------------------------------------------------------------------------------------------------------------ */

static int add_names(struct container *c, struct api_endpoint_settings *s, struct err *e) {
    const struct ctr_fixed *f = c->view->fixed;
    char id[ID_SHORT_LEN + 1];
    const char *names[2] = {id, f->config.hostname};
    int r;

    snprintf(id, sizeof(id), "%.12s", c->id);
    r = api_string_list_add(&s->dns_names, c->view->name, e);
    for (size_t i = 0; r >= 0 && i < s->aliases.n + ELEMENTSOF(names); i++) {
        const char *name = i < s->aliases.n ? s->aliases.v[i] : names[i - s->aliases.n];
        bool have = str_empty(name);

        for (size_t k = 0; k < s->dns_names.n; k++)
            have = have || streq(s->dns_names.v[k], name);
        if (!have)
            r = api_string_list_add(&s->dns_names, name, e);
    }
    return r;
}

static int copy_entry(struct api_endpoint_settings_map *m, const char *key, const struct api_endpoint_settings *from, struct err *e) {
    struct api_endpoint_settings_map_entry *v = reallocarray(m->v, m->n + 1, sizeof(*v));
    struct api_endpoint_settings *s = api_endpoint_settings_new();

    if (v)
        m->v = v;
    if (!v || !s) {
        free(s);
        return err_oom(e);
    }
    v[m->n++] = (struct api_endpoint_settings_map_entry){strdup(key), s};
    m->set = true;
    return v[m->n - 1].key ? api_endpoint_settings_copy(s, from, e) : err_oom(e);
}

/* The present settings with one network more or less. */
static int changed_net(struct container *c, const char *drop, const char *add, const struct api_endpoint_settings *want, struct ctr_net **ret,
                       struct err *e) {
    _cleanup_(ctr_net_unrefp) struct ctr_net *n = ctr_net_new();
    const struct ctr_net *old = c->view->net;
    struct api_endpoint_settings none = {0};
    int r = 0;

    if (!n)
        return err_oom(e);
    if (str_set(&n->s.sandbox_id, old->s.sandbox_id) < 0 || str_set(&n->s.sandbox_key, old->s.sandbox_key) < 0 ||
        str_set(&n->s.mac_address, ctr_state_alive(c->view->state) ? NULL : old->s.mac_address) < 0)
        return err_oom(e);
    n->s.networks.set = n->s.ports.set = true;
    for (size_t i = 0; r >= 0 && i < old->s.networks.n; i++)
        if (!drop || !streq(old->s.networks.v[i].key, drop))
            r = copy_entry(&n->s.networks, old->s.networks.v[i].key, old->s.networks.v[i].value ? old->s.networks.v[i].value : &none, e);
    if (r >= 0 && add) {
        struct api_endpoint_settings *s;

        r = copy_entry(&n->s.networks, add, want ? want : &none, e);
        s = n->s.networks.v[n->s.networks.n - 1].value;
        if (r >= 0 && str_set(&s->mac_address, NULL) < 0)
            r = err_oom(e);
        if (r >= 0 && !network_is_predefined(add))
            r = add_names(c, s, e);
    }
    if (r < 0)
        return r;
    *ret = TAKE_PTR(n);
    return 0;
}

/* Publish these settings; a running container's are described anew from its endpoints. Eats `n`. */
static int commit_net(struct container *c, struct ctr_net *n, struct err *e) {
    _cleanup_(ctr_net_unrefp) struct ctr_net *base = n, *shown = NULL;
    bool alive = ctr_state_alive(c->view->state);
    struct ctr_view *v;
    int r = alive ? net_describe(c, base, NULL, &shown, e) : 0;

    if (r < 0)
        return r;
    v = container_edit(c);
    if (!v)
        return err_oom(e);
    ctr_net_unref(v->net);
    v->net = ctr_net_ref(alive ? shown : base);
    return container_commit(c, v, e);
}

static const char *key_of(const struct container *c, const struct network *net) {
    const struct api_endpoint_settings_map *m = &c->view->net->s.networks;

    for (size_t i = 0; i < m->n; i++)
        if (streq(m->v[i].key, network_name(net)) || streq(m->v[i].key, network_id(net)))
            return m->v[i].key;
    return NULL;
}

/* ---- connect --------------------------------------------------------------------------------------------------------------------------- */

static int check_modes(struct container *c, const struct network *net, struct err *e) {
    struct networks *ns = c->cs->engine->networks;
    const char *mode = c->view->fixed->host.network_mode;
    const struct api_endpoint_settings_map *m = &c->view->net->s.networks;

    if (!ctr_mode_is(mode, "host") && network_kind(net) == NETWORK_HOST)
        return err_set(e, ERR_INVALID, "container cannot be disconnected from host network or connected to host network");
    for (size_t i = 0; i < m->n; i++) {
        _cleanup_(network_unrefp) struct network *other = NULL;

        if (networks_find(ns, m->v[i].key, &other, NULL) < 0)
            continue;
        if (other == net)
            return 0;
        if (network_kind(other) == NETWORK_NONE || network_kind(net) == NETWORK_NONE)
            return err_set(e, ERR_INVALID, "container cannot be connected to multiple networks with one of the networks in private (none) mode");
    }
    return 0;
}

static int keep_endpoint(struct container *c, struct endpoint *ep, struct err *e) {
    struct endpoint **v = reallocarray(c->endpoints, c->n_endpoints + 1, sizeof(*v));

    if (!v)
        return err_oom(e);
    c->endpoints = v;
    v[c->n_endpoints++] = ep;
    return 0;
}

static void forget_endpoint(struct container *c, const struct endpoint *ep) {
    size_t n = 0;

    for (size_t i = 0; i < c->n_endpoints; i++)
        if (c->endpoints[i] != ep)
            c->endpoints[n++] = c->endpoints[i];
    c->n_endpoints = n;
}

static int plug_running(struct container *c, struct network *net, const struct api_endpoint_settings *want, struct endpoint **ret, struct err *e) {
    struct endpoint *ep = NULL, *before = gateway_of(c, NULL), *after;
    int r;

    /* As in the reference, a MAC address is only taken at create. */
    r = net_join(c, net, want, NULL, c->next_interface, NULL, NULL, &ep, e);
    if (r < 0)
        return r;
    r = keep_endpoint(c, ep, e);
    if (r < 0) {
        networks_leave(c->cs->engine->networks, ep);
        return r;
    }
    after = gateway_of(c, NULL);
    r = move_ports(c, before, after, e);
    if (r >= 0) {
        r = add_interface(c, ep, after == ep, e);
        if (r < 0) {
            /* Where the container has made an interface of that name, the next one may be free. */
            c->next_interface++;
            endpoint_drop_link(ep);
            ignore_result(move_ports(c, after, before, NULL));
        }
    }
    if (r < 0) {
        forget_endpoint(c, ep);
        networks_leave(c->cs->engine->networks, ep);
        return r;
    }
    if (*endpoint_ifname(ep))
        c->next_interface++;
    *ret = ep;
    return 0;
}

static int removed(const struct container *c, struct err *e) {
    return err_set(e, ERR_FORBIDDEN, "container %s is marked for removal and cannot be connected or disconnected to the network", c->id);
}

static int connect_running(struct container *c, struct network *net, const struct api_endpoint_settings *want, struct err *e) {
    struct endpoint *ep = NULL;
    struct ctr_net *n = NULL;
    int r;

    if (net_endpoint_on(c, network_id(net)))
        return err_set(e, ERR_FORBIDDEN, "endpoint with name %s already exists in network %s", c->view->name, network_name(net));
    r = plug_running(c, net, want, &ep, e);
    if (r < 0)
        return r;
    networks_linked(c->cs->engine->networks, c->endpoints, c->n_endpoints);
    follow_hosts(c, ep, true);
    follow_names(c);
    r = changed_net(c, key_of(c, net), network_name(net), want, &n, e);
    return r < 0 ? r : commit_net(c, n, e);
}

int container_connect(struct container *c, const char *network, const struct api_endpoint_settings *want, struct err *e) {
    LEASE_ANY struct ctr_held h = CTR_HELD_INIT;
    _cleanup_(network_unrefp) struct network *net = NULL;
    struct ctr_net *n = NULL;
    const char *mode;
    bool alive;
    int r = ctr_hold(c, &h, e);

    if (r < 0)
        return r;
    mode = c->view->fixed->host.network_mode;
    alive = h.running || h.paused;
    if (h.state == ctr_removing || h.state == ctr_dead)
        return removed(c, e);
    if (alive && (ctr_mode_container(mode) || ctr_mode_is(mode, "host")))
        return err_set(e, ERR_INVALID, "container sharing network namespace with another container or host cannot be connected to any other network");
    r = networks_find(c->cs->engine->networks, network, &net, e);
    if (r >= 0)
        r = network_check_endpoint(network_name(net), net, want, e);
    if (r >= 0)
        r = check_modes(c, net, e);
    if (r < 0)
        return r;
    if (alive)
        return connect_running(c, net, want, e);
    /* A place that is there already stays as it is. */
    if (key_of(c, net))
        return 0;
    r = changed_net(c, NULL, network_name(net), want, &n, e);
    return r < 0 ? r : commit_net(c, n, e);
}

/* ---- disconnect ------------------------------------------------------------------------------------------------------------------------ */

static int unplug_running(struct container *c, struct network *net, struct err *e) {
    struct networks *ns = c->cs->engine->networks;
    struct endpoint *ep = net_endpoint_on(c, network_id(net)), *before, *after;
    _cleanup_err_ struct err why = ERR_INIT;
    struct ctr_net *n = NULL;
    int r;

    if (network_kind(net) == NETWORK_HOST && ctr_mode_is(c->view->fixed->host.network_mode, "host"))
        return err_set(e, ERR_INVALID, "container cannot be disconnected from host network or connected to host network");
    if (!ep)
        return err_set(e, ERR_INTERNAL, "container %s is not connected to network %s", c->id, network_name(net));
    before = gateway_of(c, NULL);
    after = gateway_of(c, ep);
    r = changed_net(c, key_of(c, net), NULL, NULL, &n, e);
    if (r < 0)
        return r;
    /* Whatever happens inside, the place is given up: its end on this side goes in any case. */
    if (remove_interface(c, ep, before == after ? NULL : after, &why) < 0)
        log_kv(LOG_LVL_WARN, "an interface could not be taken away inside", "container", c->id, "error", err_msg(&why), NULL);
    err_done(&why);
    endpoint_drop_link(ep);
    follow_hosts(c, ep, false);
    forget_endpoint(c, ep);
    networks_leave(ns, ep);
    networks_settle(ns);
    follow_names(c);
    if (before != after && move_ports(c, NULL, after, &why) < 0)
        log_kv(LOG_LVL_WARN, "published ports could not follow to another network", "container", c->id, "error", err_msg(&why), NULL);
    return commit_net(c, n, e);
}

int container_disconnect(struct container *c, const char *network, bool force, struct err *e) {
    LEASE_ANY struct ctr_held h = CTR_HELD_INIT;
    _cleanup_(network_unrefp) struct network *net = NULL;
    _cleanup_err_ struct err missing = ERR_INIT;
    const char *key = network;
    struct ctr_net *n = NULL;
    bool alive;
    int r = ctr_hold(c, &h, e);

    if (r < 0)
        return r;
    alive = h.running || h.paused;
    if (networks_find(c->cs->engine->networks, network, &net, &missing) < 0 && alive && !force)
        return err_move(e, &missing);
    if (net && alive)
        return unplug_running(c, net, e);
    if (h.state == ctr_removing || h.state == ctr_dead)
        return removed(c, e);
    if (net)
        key = key_of(c, net) ? key_of(c, net) : network_name(net);
    for (size_t i = 0; i <= c->view->net->s.networks.n; i++) {
        if (i == c->view->net->s.networks.n)
            return err_set(e, ERR_INTERNAL, "container %s is not connected to the network %s", c->id, key);
        if (streq(c->view->net->s.networks.v[i].key, key))
            break;
    }
    r = changed_net(c, key, NULL, NULL, &n, e);
    if (r >= 0)
        r = commit_net(c, n, e);
    if (r >= 0 && net)
        networks_tell_disconnect(c->cs->engine->networks, net, c->id);
    return r;
}
