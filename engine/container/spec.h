// SPDX-License-Identifier: Apache-2.0
/*
 * spec.h - the OCI runtime-spec document of a container: what its configuration means to the kernel. Pure but for looking at host devices;
 * any thread. Source: runtime-spec 1.2 (config.md, config-linux.md); defaults as the reference hands them to its runtime.
 */
#ifndef HATAKE_CONTAINER_SPEC_H
#define HATAKE_CONTAINER_SPEC_H

#include <jansson.h>

#include "container/container-internal.h"
#include "container/root.h"
#include "container/validate.h"

/* What the variables of a process come from, the later over the earlier. */
struct ctr_spec_env {
    const struct ctr_fixed *fixed;
    const char *hostname; /* NULL: the configuration's */
    const struct ctr_user *user;
    bool tty;
    const struct strv *links;            /* ctr_links_gather(); NULL: none */
    const struct api_string_list *extra; /* over those of the configuration; NULL: none */
};

struct ctr_spec_input {
    const struct engine_config *config;
    const struct ctr_fixed *fixed;
    const struct ctr_user *user;
    const char *hostname_path, *hosts_path, *resolv_path; /* binds over /etc/...; NULL: none */
    const char *netns_path, *pidns_path, *ipcns_path;     /* of the container to join; NULL: by the modes */
    const char *userns_path;                              /* of that container, whose namespaces belong to its own; NULL: a new one, if any */
    const struct idmap *ids;                              /* of the user namespace; NULL: it is in the machine's */
    const char *const *volume_paths;                      /* source of each volume mount, in order, without its subpath */
    const char *hostname;                                 /* NULL: the configuration's */
    const struct strv *link_env;                          /* of linked containers; NULL: none */
    const char *shm_path;                                 /* folder to bind at /dev/shm; NULL: by the IPC mode */
    bool apparmor;                                        /* the machine confines containers: kern/apparmor.h */
    const char *seccomp_text;                             /* profile of the engine (JSON) or NULL: the built-in one */
};

/* The whole document. The caller owns *ret. */
int ctr_spec_build(const struct ctr_spec_input *in, json_t **ret, struct err *e);

/* Parts, also used by exec and by tests. Each gives a new reference, NULL and e set on failure. */
json_t *ctr_spec_env(const struct ctr_spec_env *in, struct err *e);
json_t *ctr_spec_capabilities(const struct api_host_config *host, bool root, bool privileged, struct err *e);
json_t *ctr_spec_user(const struct ctr_user *user, struct err *e);
json_t *ctr_spec_resources(const struct api_host_config *host, struct err *e);
/* This machine has control groups v2 alone. */
bool ctr_on_v2(void);
/* Why the reference's runtime does not accept the CPU shares; NULL: it does. */
const char *ctr_shares_refused(const struct api_host_config *host, bool v2);
/* The same for a limit of memory and swap together that an update asks for. v2 counts swap apart; v1 leaves it to the kernel. */
const char *ctr_swap_refused(const struct api_host_config *host, bool v2);
/*
 * Limits that go to the kernel together: beside the one that an update asks for (`want`), the other as the container has it after the update (`now`). Memory
 * and its sum with swap, since v1 wants both in the right order and v2 has swap alone; quota and period, which v2 has in one file.
 */
void ctr_update_complete(const struct api_host_config *now, struct api_host_config *want);
json_t *ctr_spec_mounts(const struct ctr_spec_input *in, struct err *e);
json_t *ctr_spec_rlimits(const struct engine_config *cfg, const struct api_host_config *host, struct err *e);
/* Adds linux.devices and linux.resources.devices. */
int ctr_spec_devices(const struct api_host_config *host, json_t *linux_part, json_t *resources, struct err *e);
/*
 * A profile in the reference's own format as a `linux.seccomp` object for this container's capabilities. *ret is NULL for a profile that says nothing
 * (no default action and no calls): then there is no filter. ERR_INTERNAL in the reference's words when it cannot be read.
 */
int ctr_seccomp_convert(const char *profile, json_t *capabilities, json_t **ret, struct err *e);

#endif
