// SPDX-License-Identifier: Apache-2.0
/*
 * start-internal.h - what start.c gathers for one start of a container, and the steps of it that start-prepare.c takes: looking up the user, joining other
 * containers' namespaces, mounting volumes. The caller holds the container's token (state.h); one thread. Each step: 0 or negative with the error
 * that the client is told; what it took is in the struct and released with it.
 */
#ifndef HATAKE_CONTAINER_START_INTERNAL_H
#define HATAKE_CONTAINER_START_INTERNAL_H

#include "base/strv.h"
#include "container/container-internal.h"
#include "container/life.h"
#include "container/netting.h"
#include "container/root.h"
#include "layers/layers.h"
#include "monitor/launch.h"

/* Everything one start gathers before the launch; released in every case. */
struct launching {
    struct container *c;
    const struct ctr_fixed *f;
    struct layers_rootfs rootfs;
    struct ctr_user user;
    struct net_plug plug;
    char *hostname_path, *hosts_path, *resolv_path;
    char *hostname, joined[65]; /* of the container whose network is shared */
    struct strv link_env, link_hosts;
    char *shm_path;
    char *netns_path, *pidns_path, *ipcns_path, *userns_path;
    const struct idmap *ids; /* of its user namespace, or NULL */
    const char **volume_paths;
    struct strv volume_sources; /* what volume_paths points to */
    bool host_volumes;          /* some are mounted where only the host's mount namespace has them */
    json_t *spec;
    struct launch_health health;
    char *exec_dir;
    struct launch_attach *attach;
    struct ctr_client *clients;
    size_t n_attach;
};

/* The user of the process, from the files of its root; remembered per image. */
int launching_find_user(struct launching *l, struct err *e);
/* Paths of the namespaces that network, pid and ipc mode name: ERR_CONFLICT when their container does not run. */
int launching_join_all(struct launching *l, struct err *e);
/* Makes missing sources of binds, and mounts the volumes; how many in container.n_volumes_used, also on failure. */
int launching_plug_mounts(struct launching *l, struct err *e);

#endif
