// SPDX-License-Identifier: Apache-2.0
/* A container's MAC address: before API 1.44 one of the whole container, since then one of each of its networks. */
#include "container/create.h"

#include "base/str.h"
#include "container/validate.h"

static struct api_endpoint_settings *endpoint_of(const struct api_endpoint_settings_map *m, const char *name) {
    const struct api_endpoint_settings_map_entry *i = api_endpoint_settings_map_find(m, name);

    return i ? i->value : NULL;
}

static int set_all(struct api_endpoint_settings_map *m, const char *mac, struct err *e) {
    for (size_t i = 0; i < m->n; i++) {
        if (m->v[i].value && str_set(&m->v[i].value->mac_address, mac) < 0)
            return err_oom(e);
    }
    return 0;
}

static int add_endpoint(struct api_endpoint_settings_map *m, const char *name, const char *mac, struct err *e) {
    struct api_endpoint_settings_map_entry *i = api_endpoint_settings_map_add(m, name);

    if (i)
        i->value = api_endpoint_settings_new();
    return i && i->value && str_set(&i->value->mac_address, mac) == 0 ? 0 : err_oom(e);
}

/* Whole container, old clients: what they say of an endpoint is not looked at. */
static int settle_old(struct ctr_create *req, const char *mode, bool own, struct err *e) {
    struct api_endpoint_settings_map *m = &req->networking.endpoints_config;

    if (str_empty(req->config.mac_address))
        return set_all(m, NULL, e);
    if (!own)
        return err_set(e, ERR_INVALID, "conflicting options: mac-address and the network mode");
    return m->n ? set_all(m, req->config.mac_address, e) : add_endpoint(m, mode, req->config.mac_address, e);
}

static int settle_new(struct ctr_create *req, const char *mode, bool own, struct err *e) {
    struct api_endpoint_settings_map *m = &req->networking.endpoints_config;
    struct api_endpoint_settings *ep = endpoint_of(m, mode);
    const char *mac = req->config.mac_address;

    if (!own || str_empty(mac))
        return str_set(&req->config.mac_address, own && ep && !str_empty(ep->mac_address) ? ep->mac_address : NULL) < 0 ? err_oom(e) : 0;
    if (m->n == 0)
        return add_endpoint(m, mode, mac, e);
    if (!ep)
        return err_set(e, ERR_INVALID,
                       "if a container-wide MAC address is supplied, HostConfig.NetworkMode must match the identity of a network in "
                       "NetworkSettings.Networks");
    if (!str_empty(ep->mac_address) && !streq(ep->mac_address, mac))
        return err_set(e, ERR_INVALID,
                       "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty");
    return str_set(&ep->mac_address, mac) < 0 ? err_oom(e) : 0;
}

int ctr_mac_settle(struct ctr_create *req, int version, bool *ret_deprecated, struct err *e) {
    const char *mode = req->host.network_mode;
    bool own, given = !str_empty(req->config.mac_address);
    int r;

    if (str_empty(mode) || streq(mode, "default"))
        mode = "bridge";
    own = !streq(mode, "host") && !streq(mode, "none") && !ctr_mode_container(mode);
    r = version < CTR_MAC_OF_ENDPOINT ? settle_old(req, mode, own, e) : settle_new(req, mode, own, e);
    if (r >= 0)
        *ret_deprecated = given && version >= CTR_MAC_OF_ENDPOINT;
    return r;
}
