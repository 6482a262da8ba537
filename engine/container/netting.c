// SPDX-License-Identifier: Apache-2.0
#include "container/netting.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/id.h"
#include "base/idmap.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "container/links.h"
#include "container/validate.h"

DEFINE_CLEANUP(struct network *, network_unref)

void net_plug_done(struct net_plug *p) {
    for (size_t i = 0; i < p->n_links; i++)
        strv_done(&p->links[i].sysctls);
    free(p->links);
    free(p->reached);
    network_unref(p->first);
    *p = (struct net_plug){0};
}

void net_lend(struct container *owner) {
    owner->netns_lent = true;
}

void net_unplug(struct container *c) {
    bool lent = atomic_exchange(&c->netns_lent, false);

    ctr_links_leave(c);
    networks_unserve_names(c->cs->engine->networks, c->id);
    for (size_t i = 0; i < c->n_endpoints; i++) {
        if (lent)
            endpoint_drop_link(c->endpoints[i]);
        networks_leave(c->cs->engine->networks, c->endpoints[i]);
    }
    free(c->endpoints);
    c->endpoints = NULL;
    c->n_endpoints = 0;
}

/* ---- wishes ---------------------------------------------------------------------------------------------------------------------- */
/* A MAC address can only be asked for at create. */
static const char *wanted_mac(const struct ctr_fixed *f, const char *key, const struct network *net) {
    const struct api_endpoint_settings_map *m = &f->networking.endpoints_config;

    for (size_t i = 0; i < m->n; i++)
        if (m->v[i].value && (streq(m->v[i].key, key) || streq(m->v[i].key, network_id(net))))
            return m->v[i].value->mac_address;
    return streq(f->host.network_mode, key) ? f->config.mac_address : NULL;
}

/* ---- joining ------------------------------------------------------------------------------------------------------------------- */
struct place {
    struct network *net;
    const char *key; /* as the record names it */
    size_t entry;    /* which of the record's */
    const struct api_endpoint_settings *want;
};

static int in_order(const void *a, const void *b) {
    return network_order(((const struct place *)a)->net, ((const struct place *)b)->net);
}

/* A network that was made anew under the same name is another one. */
static int find_place(struct container *c, const struct api_endpoint_settings_map_entry *m, struct network **ret, struct err *e) {
    const char *id = m->value ? m->value->network_id : NULL;

    /* Create has replaced this name where it stands for a network. */
    if (str_empty(id) && streq(m->key, "default"))
        return err_set(e, ERR_NOT_FOUND, "network default not found");
    return networks_find(c->cs->engine->networks, str_empty(id) ? m->key : id, ret, e);
}

/* With --bridge none what asks for the default network gets loopback alone. */
static bool is_switched_off(const struct container *c, const char *key) {
    return streq(key, "bridge") && streq_ptr(c->cs->engine->config->bridge, "none");
}

static int find_places(struct container *c, struct place *v, size_t *ret_n, struct err *e) {
    const struct api_endpoint_settings_map *nets = &c->view->net->s.networks;
    size_t n = 0;

    for (size_t i = 0; i < nets->n; i++) {
        int r = is_switched_off(c, nets->v[i].key) ? 0 : find_place(c, &nets->v[i], &v[n].net, e);

        if (r < 0)
            return r;
        if (!v[n].net)
            continue;
        v[n].key = nets->v[i].key;
        v[n].entry = i;
        v[n].want = nets->v[i].value;
        n++;
    }
    qsort(v, n, sizeof(*v), in_order);
    *ret_n = n;
    return 0;
}

int net_join(struct container *c, struct network *net, const struct api_endpoint_settings *want, const char *mac, unsigned index,
             const struct port_requests *ports, bool *ret_placed, struct endpoint **ret, struct err *e) {
    const struct ctr_fixed *f = c->view->fixed;
    const struct api_endpoint_ipam_config *ipam = want ? want->ipam_config : NULL;
    struct strv link_local = {ipam ? ipam->link_local_ips.v : NULL, ipam ? ipam->link_local_ips.n : 0};
    struct strv aliases = {want ? want->aliases.v : NULL, want ? want->aliases.n : 0},
                links = {want ? want->links.v : NULL, want ? want->links.n : 0};
    struct endpoint_request req = {.container_id = c->id,
                                   .container_name = c->view->name,
                                   .hostname = f->config.hostname,
                                   .link_local = &link_local, /* borrowed, like the following */
                                   .aliases = &aliases,
                                   .links = &links,
                                   .index = index,
                                   .ret_placed = ret_placed};

    if (ipam) {
        req.ipv4 = ipam->ipv4_address;
        req.ipv6 = ipam->ipv6_address;
    }
    req.mac = mac;
    if (ports) {
        req.ports = ports->v;
        req.n_ports = ports->n;
    }
    return networks_join(c->cs->engine->networks, net, &req, ret, e);
}

int net_read_ports(const struct ctr_fixed *f, struct port_requests *ret, struct err *e) {
    return port_requests_read(ret, &f->host.port_bindings, &f->config.exposed_ports, f->host.has_publish_all_ports && f->host.publish_all_ports, e);
}

static int join_all(struct container *c, const struct place *v, size_t n, struct net_plug *p, struct err *e) {
    _cleanup_free_ struct network **nets = calloc(n + 1, sizeof(*nets));
    struct port_requests ports = {0};
    int gateway, r = nets ? net_read_ports(c->view->fixed, &ports, e) : err_oom(e);

    for (size_t i = 0; nets && i < n; i++)
        nets[i] = v[i].net;
    gateway = nets ? networks_gateway(nets, n) : -1;
    for (size_t i = 0; r >= 0 && i < n; i++) {
        struct endpoint *ep = NULL;
        bool placed = false;

        /* Its interface would be one of the machine's. */
        if (ctr_mode_is(c->view->fixed->host.network_mode, "host") && network_has_links(v[i].net)) {
            r = err_set(e, ERR_INTERNAL,
                        "container sharing network namespace with another container or host cannot be connected to any other network");
            break;
        }
        r = net_join(c, v[i].net, v[i].want, wanted_mac(c->view->fixed, v[i].key, v[i].net), (unsigned)p->n_links, (int)i == gateway ? &ports : NULL,
                     &placed, &ep, e);
        p->reached[v[i].entry] = r >= 0 || placed ? NET_PLACED : NET_NAMED;
        if (r < 0)
            break;
        c->endpoints[c->n_endpoints++] = ep;
        /* A network of one's own decides about names, wherever it stands. */
        if (!p->first || (network_is_default_bridge(p->first) && network_has_links(v[i].net))) {
            network_unref(p->first);
            p->first = network_ref(v[i].net);
        }
        p->host = p->host || network_kind(v[i].net) == NETWORK_HOST;
        if (endpoint_link(ep, (int)i == gateway, &p->links[p->n_links]))
            p->n_links++;
    }
    port_requests_done(&ports);
    return r;
}

int net_plug(struct container *c, struct net_plug *ret, struct err *e) {
    const struct ctr_fixed *f = c->view->fixed;
    size_t n = c->view->net->s.networks.n, found = 0;
    _cleanup_free_ struct place *places = NULL;
    struct net_plug p = {0};
    int r;

    p.joined = true;
    p.disabled = f->config.has_network_disabled && f->config.network_disabled;
    if (!ctr_mode_container(f->host.network_mode) && !p.disabled)
        id_new(p.sandbox_id);
    if (ctr_mode_container(f->host.network_mode) || p.disabled) {
        *ret = p;
        return 0;
    }
    places = calloc(n + 1, sizeof(*places));
    p.links = calloc(n + 1, sizeof(*p.links));
    p.reached = calloc(n + 1, sizeof(*p.reached));
    free(c->endpoints);
    c->endpoints = calloc(n + 1, sizeof(struct endpoint *));
    c->n_endpoints = 0;
    r = places && p.links && p.reached && c->endpoints ? find_places(c, places, &found, e) : err_oom(e);
    if (r >= 0)
        r = join_all(c, places, found, &p, e);
    for (size_t i = 0; places && i < n; i++)
        network_unref(places[i].net);
    if (r < 0) {
        net_unplug(c);
        ret->reached = TAKE_PTR(p.reached);
        for (size_t i = 0; ret->reached && i < n; i++) {
            if (ret->reached[i] == NET_PLACED) /* it is shown although nothing came of it */
                memcpy(ret->sandbox_id, p.sandbox_id, sizeof(p.sandbox_id));
        }
        net_plug_done(&p);
        return r;
    }
    c->next_interface = (unsigned)p.n_links;
    *ret = p;
    return 0;
}

/* ---- files ------------------------------------------------------------------------------------------------------------------------- */
static int write_one(struct container *c, const char *name, const char *data, size_t n, struct err *e) {
    _cleanup_free_ char *path = container_path(c, name);
    int r = path ? fs_replace_file_volatile(path, data, n, 0644, e) : err_oom(e);

    return r < 0 ? r : idmap_give(c->cs->engine->ids, path, e);
}

static int check_dns(const struct api_host_config *h, struct err *e) {
    unsigned char addr[16];

    for (size_t i = 0; i < h->dns.n; i++)
        if (inet_pton(AF_INET, h->dns.v[i], addr) != 1 && inet_pton(AF_INET6, h->dns.v[i], addr) != 1)
            return err_set(e, ERR_INTERNAL, "bad nameserver address %s: ParseAddr(\"%s\"): unable to parse IP", h->dns.v[i], h->dns.v[i]);
    return 0;
}

/* The text of resolv.conf. `first`: the network that decides (NULL: the machine's). */
static int build_resolv(struct container *c, const struct network *first, bool embedded, struct buf *b, struct err *e) {
    const struct api_host_config *h = &c->view->fixed->host;
    struct strv dns = {h->dns.v, h->dns.n}, search = {h->dns_search.v, h->dns_search.n},
                options = {h->dns_options.v, h->dns_options.n}; /* borrowed */
    struct resolv_request req = {&dns, &search, &options, first, embedded};

    return networks_build_resolv(c->cs->engine->networks, &req, b, e);
}

static int build_hosts(struct container *c, bool host_mode, const struct strv *links, struct buf *b, struct err *e) {
    const struct ctr_fixed *f = c->view->fixed;
    struct strv extra = {f->host.extra_hosts.v, f->host.extra_hosts.n}; /* borrowed */
    struct hosts_request req = {f->config.hostname, f->config.domainname, &extra, links, host_mode, c->endpoints, c->n_endpoints};

    return networks_build_hosts(c->cs->engine->networks, &req, b, e);
}

int net_rewrite_file(const char *path, const struct buf *text, struct err *e) {
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    int r;

    if (fd < 0)
        return err_errno(e, errno, "%s", path);
    r = full_write(fd, text->data, text->len);
    if (r < 0 || ftruncate(fd, (off_t)text->len) < 0)
        return err_errno(e, r < 0 ? r : errno, "%s", path);
    return 0;
}

int net_write_hosts(struct container *c, struct err *e) {
    _cleanup_strv_ struct strv env = STRV_INIT, links = STRV_INIT;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);
    _cleanup_free_ char *path = container_path(c, "hosts");
    int r = path ? ctr_links_gather(c, &env, &links, e) : err_oom(e);

    if (r >= 0)
        r = build_hosts(c, false, &links, &b, e);
    return r < 0 ? r : net_rewrite_file(path, &b, e);
}

int net_write_files(struct container *c, const struct net_plug *p, const struct strv *links, struct err *e) {
    const struct ctr_fixed *f = c->view->fixed;
    const struct api_host_config *h = &f->host;
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);
    int r = check_dns(h, e);

    if (r < 0)
        return r;
    buf_addf(&b, "%s\n", f->config.hostname ? f->config.hostname : "");
    r = write_one(c, "hostname", buf_str(&b), b.len, e);
    if (r < 0)
        return r;
    buf_reset(&b);
    r = build_hosts(c, p->host, links, &b, e);
    if (r >= 0)
        r = write_one(c, "hosts", buf_str(&b), b.len, e);
    if (r < 0)
        return r;
    buf_reset(&b);
    r = build_resolv(c, p->host ? NULL : p->first, networks_need_names(c->endpoints, c->n_endpoints), &b, e);
    return r < 0 ? r : write_one(c, "resolv.conf", buf_str(&b), b.len, e);
}

/*
 * Is the file as we wrote it? When the machine's own file has changed since, what we wrote can no longer be made again: then what only we write in it
 * decides.
 */
static bool untouched(const char *path, const char *text, const char *as_written) {
    struct stat ours, machine;

    if (streq(text, as_written))
        return true;
    return stat(path, &ours) == 0 && stat("/etc/resolv.conf", &machine) == 0 && machine.st_mtim.tv_sec >= ours.st_mtim.tv_sec &&
           str_has_prefix(text, "# Generated by Docker Engine.\n") && strstr(text, "\n# Based on host file: ");
}

int net_embed_resolv(struct container *c, struct err *e) {
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_SMALL_FILE), before = BUF_INIT(LIMIT_SMALL_FILE), after = BUF_INIT(LIMIT_SMALL_FILE);
    _cleanup_free_ char *path = container_path(c, "resolv.conf");
    int r;

    if (!networks_need_names(c->endpoints, c->n_endpoints))
        return 0;
    r = path ? fs_read_file(path, &text, e) : err_oom(e);
    if (r >= 0)
        r = build_resolv(c, endpoint_network(c->endpoints[0]), false, &before, e);
    if (r >= 0)
        r = build_resolv(c, endpoint_network(c->endpoints[0]), true, &after, e);
    if (r < 0 || streq(buf_str(&text), buf_str(&after)) || !untouched(path, buf_str(&text), buf_str(&before)))
        return r;
    return net_rewrite_file(path, &after, e);
}

/* ---- names ------------------------------------------------------------------------------------------------------------------------- */
#define PORT_TRIES 8 /* in a namespace whose owner has taken ports already */

static int give_resolver(struct monitor *m, struct err *e) {
    int r = -EADDRINUSE;

    for (int i = 0; i < PORT_TRIES; i++) {
        _cleanup_buf_ struct buf rules = BUF_INIT(LIMIT_SMALL_FILE);
        struct launch_resolver resolver = {0};
        struct err why = ERR_INIT;

        r = networks_make_resolver(&resolver, &rules, e);
        if (r < 0)
            return r;
        r = monitor_resolver(m, &resolver, &why);
        if (r >= 0)
            return 0;
        if (why.errnum != EADDRINUSE || i == PORT_TRIES - 1)
            return err_move(e, &why);
        err_done(&why);
    }
    return r;
}

int net_serve_names(struct container *c, struct err *e) {
    const struct api_host_config *h = &c->view->fixed->host;
    struct networks *ns = c->cs->engine->networks;
    struct strv dns = {h->dns.v, h->dns.n}, options = {h->dns_options.v, h->dns_options.n}; /* borrowed */
    struct sandbox_request req = {c->id, c->endpoints, c->n_endpoints, &dns, &options, c->monitor};
    int r = networks_serve_names(ns, &req, e);

    if (r <= 0 || !c->monitor)
        return r;
    r = give_resolver(c->monitor, e);
    return r < 0 ? r : networks_serve_names(ns, &req, e);
}

/* ---- inspect --------------------------------------------------------------------------------------------------------------------- */
struct endpoint *net_endpoint_on(struct container *c, const char *name) {
    for (size_t i = 0; i < c->n_endpoints; i++)
        if (streq(network_name(endpoint_network(c->endpoints[i])), name) || streq(network_id(endpoint_network(c->endpoints[i])), name))
            return c->endpoints[i];
    return NULL;
}

int net_copy_wanted(const struct api_endpoint_settings *from, struct api_endpoint_settings *to, struct err *e) {
    int r = 0;

    if (to->aliases.n == 0)
        r = api_string_list_copy(&to->aliases, &from->aliases, e);
    if (r >= 0 && to->links.n == 0)
        r = api_string_list_copy(&to->links, &from->links, e);
    for (size_t i = 0; r >= 0 && i < from->driver_opts.n; i++)
        r = api_string_map_set(&to->driver_opts, from->driver_opts.v[i].key, from->driver_opts.v[i].value, e);
    to->driver_opts.set = to->driver_opts.set || from->driver_opts.set;
    if (r >= 0 && from->ipam_config && !to->ipam_config) {
        to->ipam_config = api_endpoint_ipam_config_new();
        if (!to->ipam_config || str_set(&to->ipam_config->ipv4_address, from->ipam_config->ipv4_address) < 0 ||
            str_set(&to->ipam_config->ipv6_address, from->ipam_config->ipv6_address) < 0)
            r = err_oom(e);
        else
            r = api_string_list_copy(&to->ipam_config->link_local_ips, &from->ipam_config->link_local_ips, e);
    }
    return r;
}

/* What is known of a network that a start tried to join in vain, or has left again. */
static int describe_tried(struct container *c, const char *name, const struct api_endpoint_settings *old, enum net_reached reached,
                          struct api_endpoint_settings *s, struct err *e) {
    struct strv aliases = {old->aliases.v, old->aliases.n}; /* borrowed */
    struct endpoint_request req = {
        .container_id = c->id, .container_name = c->view->name, .hostname = c->view->fixed->config.hostname, .aliases = &aliases};
    _cleanup_(network_unrefp) struct network *net = NULL;
    _cleanup_strv_ struct strv names = STRV_INIT;
    int r;

    if (reached == NET_UNTRIED || streq(name, "default") || networks_find(c->cs->engine->networks, name, &net, NULL) < 0)
        return 0;
    if (reached == NET_PLACED && str_set(&s->network_id, network_id(net)) < 0)
        return err_oom(e);
    r = network_names(net, &req, &names, e);
    for (size_t i = 0; r >= 0 && i < names.n; i++)
        r = api_string_list_add(&s->dns_names, names.v[i], e);
    return r;
}

static int describe_one(struct container *c, const char *name, const struct api_endpoint_settings *old, enum net_reached reached, struct ctr_net *n,
                        struct err *e) {
    const struct endpoint *ep = net_endpoint_on(c, name);
    struct api_endpoint_settings *s = api_endpoint_settings_new();
    struct api_endpoint_settings_map_entry *slot = &n->s.networks.v[n->s.networks.n];
    int r = 0;

    /* Who asked for it by its id finds it by its name once it is joined. */
    slot->key = strdup(ep ? network_name(endpoint_network(ep)) : name);
    slot->value = s;
    n->s.networks.n++;
    if (!s || !slot->key)
        return err_oom(e);
    if (ep) {
        r = endpoint_settings(ep, s, e);
        if (r >= 0)
            r = endpoint_ports(ep, &n->s.ports, e);
        if (r >= 0)
            r = net_copy_wanted(old, s, e);
    } else {
        r = describe_tried(c, name, old, reached, s, e);
        if (!s->network_id && str_set(&s->network_id, old->network_id) < 0)
            return err_oom(e);
        if (r >= 0)
            r = net_copy_wanted(old, s, e);
    }
    /* Names that a rename gave stay, as the reference keeps them. */
    if (r >= 0 && s->dns_names.n == 0)
        r = api_string_list_copy(&s->dns_names, &old->dns_names, e);
    if (r < 0 || !ep || !network_is_default_bridge(endpoint_network(ep)))
        return r;
    /* The default bridge also shows at the top level, as it did before networks had names. */
    if (str_set(&n->s.endpoint_id, s->endpoint_id) < 0 || str_set(&n->s.gateway, s->gateway) < 0 || str_set(&n->s.ip_address, s->ip_address) < 0 ||
        str_set(&n->s.mac_address, s->mac_address) < 0)
        return err_oom(e);
    n->s.ip_prefix_len = s->ip_prefix_len;
    n->s.has_ip_prefix_len = s->has_ip_prefix_len;
    if (str_set(&n->s.ipv6_gateway, s->ipv6_gateway) < 0 || str_set(&n->s.global_ipv6_address, s->global_ipv6_address) < 0)
        return err_oom(e);
    n->s.global_ipv6_prefix_len = s->global_ipv6_prefix_len;
    n->s.has_global_ipv6_prefix_len = s->has_global_ipv6_prefix_len;
    return 0;
}

static bool has_bridge(const struct container *c) {
    for (size_t i = 0; i < c->n_endpoints; i++)
        if (network_kind(endpoint_network(c->endpoints[i])) == NETWORK_BRIDGE)
            return true;
    return false;
}

/* Ports that are exposed but not published show with no binding while it runs. */
static int add_exposed(struct container *c, struct ctr_net *n, struct err *e) {
    const struct api_string_set *exposed = &c->view->fixed->config.exposed_ports;
    struct api_port_binding_list_map *m = &n->s.ports;
    _cleanup_map_ struct map shown = MAP_INIT;

    if (!has_bridge(c))
        return 0;
    for (size_t i = 0; i < m->n; i++) {
        if (map_set(&shown, m->v[i].key, m, NULL) < 0)
            return err_oom(e);
    }
    for (size_t i = 0; i < exposed->n; i++) {
        _cleanup_free_ char *key = strchr(exposed->v[i], '/') ? strdup(exposed->v[i]) : str_printf("%s/tcp", exposed->v[i]);
        struct api_port_binding_list_map_entry *v;

        if (!key)
            return err_oom(e);
        if (map_has(&shown, key))
            continue;
        v = reallocarray(m->v, m->n + 1, sizeof(*v));
        if (!v)
            return err_oom(e);
        m->v = v;
        if (map_set(&shown, key, m, NULL) < 0)
            return err_oom(e);
        v[m->n++] = (struct api_port_binding_list_map_entry){.key = TAKE_PTR(key)};
    }
    return 0;
}

static int save_endpoints(struct container *c, struct ctr_net *n, struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_SMALL_FILE);

    if (c->n_endpoints == 0)
        return 0;
    buf_addc(&b, '[');
    for (size_t i = 0; i < c->n_endpoints; i++) {
        int r;

        if (i)
            buf_addc(&b, ',');
        r = endpoint_save(c->endpoints[i], &b, e);
        if (r < 0)
            return r;
    }
    buf_addc(&b, ']');
    n->saved = buf_take(&b);
    return n->saved ? 0 : err_oom(e);
}

int net_describe(struct container *c, const struct ctr_net *old, const struct net_plug *p, struct ctr_net **ret, struct err *e) {
    _cleanup_(ctr_net_unrefp) struct ctr_net *n = ctr_net_new();
    const char *exec_root = c->cs->engine->config->exec_root;
    int r = 0;

    if (!n)
        return err_oom(e);
    n->s.ports.set = n->s.networks.set = true;
    n->s.networks.v = calloc(old->s.networks.n + 1, sizeof(*n->s.networks.v));
    if (!n->s.networks.v)
        return err_oom(e);
    if (p && p->sandbox_id[0]) {
        n->s.sandbox_id = strdup(p->sandbox_id);
        n->s.sandbox_key = p->host ? str_printf("%s/netns/default", exec_root) : str_printf("%s/netns/%.12s", exec_root, p->sandbox_id);
        if (!n->s.sandbox_id || !n->s.sandbox_key)
            return err_oom(e);
    } else if (str_set(&n->s.sandbox_id, old->s.sandbox_id) < 0 || str_set(&n->s.sandbox_key, old->s.sandbox_key) < 0) {
        return err_oom(e);
    }
    for (size_t i = 0; r >= 0 && i < old->s.networks.n; i++) {
        enum net_reached reached = !p ? NET_UNTRIED : p->joined ? NET_PLACED : p->reached ? p->reached[i] : NET_UNTRIED;

        r = describe_one(c, old->s.networks.v[i].key, old->s.networks.v[i].value, reached, n, e);
    }
    if (r >= 0)
        r = add_exposed(c, n, e);
    if (r >= 0)
        r = save_endpoints(c, n, e);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(n);
    return 0;
}

int net_renamed(struct container *c, const char *name, struct ctr_net **ret, struct err *e) {
    _cleanup_(ctr_net_unrefp) struct ctr_net *n = ctr_net_new();
    const char *hostname = c->view->fixed->config.hostname;
    char id[ID_SHORT_LEN + 1];
    int r = n ? api_network_settings_copy(&n->s, &c->view->net->s, e) : err_oom(e);

    memcpy(id, c->id, ID_SHORT_LEN);
    id[ID_SHORT_LEN] = '\0';
    for (size_t i = 0; r >= 0 && i < n->s.networks.n; i++) {
        struct api_endpoint_settings *s = n->s.networks.v[i].value;

        if (!s)
            continue;
        api_string_list_done(&s->dns_names);
        r = api_string_list_add(&s->dns_names, name, e);
        for (size_t k = 0; r >= 0 && k < s->aliases.n; k++)
            r = api_string_list_add(&s->dns_names, s->aliases.v[k], e);
        if (r >= 0)
            r = api_string_list_add(&s->dns_names, id, e);
        if (r >= 0 && !str_empty(hostname) && !streq(hostname, id) && !streq(hostname, name))
            r = api_string_list_add(&s->dns_names, hostname, e);
    }
    if (r >= 0)
        r = save_endpoints(c, n, e);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(n);
    return 0;
}

/* ---- adoption ------------------------------------------------------------------------------------------------------------------------ */
void net_adopt(struct container *c) {
    json_t *list = NULL, *one;
    size_t i;

    if (!c->view->net->saved || codec_parse(c->view->net->saved, strlen(c->view->net->saved), &list, NULL, NULL) < 0)
        return;
    free(c->endpoints);
    c->endpoints = calloc(json_array_size(list) + 1, sizeof(struct endpoint *));
    c->n_endpoints = 0;
    json_array_foreach(list, i, one) {
        _cleanup_err_ struct err e = ERR_INIT;
        char *text = c->endpoints ? json_dumps(one, JSON_COMPACT) : NULL;

        if (text && networks_adopt(c->cs->engine->networks, text, &c->endpoints[c->n_endpoints], &e) >= 0)
            c->n_endpoints++;
        else
            log_kv(LOG_LVL_WARN, "a container's place on a network could not be taken up again", "container", c->id, "error", err_msg(&e), NULL);
        free(text);
    }
    json_decref(list);
    for (size_t k = 0; k < c->n_endpoints; k++)
        if (*endpoint_ifname(c->endpoints[k]))
            c->next_interface = MAX(c->next_interface, endpoint_index(c->endpoints[k]) + 1);
}
