// SPDX-License-Identifier: Apache-2.0
/*
 * Links of containers that have left. The kernel takes them down with their namespace, which it does in its own time, and not at all while somebody else
 * is in there. Whoever gets the address meanwhile must be the only one who answers to it, and the bridge must not send his packets to where its last holder was.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "netplane/link.h"
#include "network/network-internal.h"

void left_note(struct networks *n, const struct endpoint *ep) {
    struct left_link l = {.ip = ep->ip, .has_ip6 = ep->has_ip6, .ip6 = ep->ip6};

    if (ep->net->kind != NETWORK_BRIDGE || !ep->ip)
        return;
    memcpy(l.mac, ep->mac, sizeof(l.mac));
    memcpy(l.ifname, ep->host_ifname, sizeof(l.ifname));
    pthread_mutex_lock(&n->lock);
    n->left[n->n_left++ % LEFT_LINKS] = l;
    pthread_mutex_unlock(&n->lock);
}

/* Had it one of the endpoint's addresses, or that of its interface? Each can be asked for by itself. */
static bool is_like(const struct left_link *l, const struct endpoint *ep) {
    return l->ip && (l->ip == ep->ip || memcmp(l->mac, ep->mac, sizeof(l->mac)) == 0 ||
                     (l->has_ip6 && ep->has_ip6 && memcmp(&l->ip6, &ep->ip6, sizeof(l->ip6)) == 0));
}

/* One that is like it; it is forgotten by that. */
static bool take_like(struct networks *n, const struct endpoint *ep, struct left_link *ret) {
    bool found = false;

    pthread_mutex_lock(&n->lock);
    for (size_t i = 0; i < MIN(n->n_left, (size_t)LEFT_LINKS) && !found; i++) {
        struct left_link *l = &n->left[i];

        found = is_like(l, ep);
        if (found) {
            *ret = *l;
            l->ip = 0;
        }
    }
    pthread_mutex_unlock(&n->lock);
    return found;
}

void left_silence(struct networks *n, const struct endpoint *ep) {
    struct left_link l;

    while (ep->net->kind == NETWORK_BRIDGE && take_like(n, ep, &l)) {
        _cleanup_err_ struct err why = ERR_INIT;

        if (link_silence(l.ifname, &why) < 0)
            log_kv(LOG_LVL_WARN, "the link of an address's last holder stays", "interface", l.ifname, "error", err_msg(&why), NULL);
    }
}
