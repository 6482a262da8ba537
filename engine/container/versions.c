// SPDX-License-Identifier: Apache-2.0
/* What a create request means in the version of the API it was made in: fields that came later are not looked at, and some defaults were others. */
#include <unistd.h>

#include "base/str.h"
#include "container/create.h"

static int old_mount(struct api_mount *m, int version, struct err *e) {
    struct api_mount_bind_options *b = m->bind_options;

    if (version < 145 && m->volume_options && !str_empty(m->volume_options->subpath))
        return err_set(e, ERR_INVALID, "VolumeOptions.Subpath needs API v1.45 or newer");
    if (version < 144 && b && b->has_read_only_force_recursive && b->read_only_force_recursive)
        return err_set(e, ERR_INVALID, "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer");
    if (b && version < 142)
        b->has_create_mountpoint = b->create_mountpoint = false;
    if (b && version < 140)
        b->has_non_recursive = b->non_recursive = false;
    return 0;
}

/* Options of another type than the mount's are refused here since 1.42; before, whoever reads the mounts says so in other words. */
static int check_types(const struct api_mount *m, struct err *e) {
    const char *type = m->type ? m->type : "";

    if (m->bind_options && !streq(type, "bind"))
        return err_set(e, ERR_INVALID, "BindOptions must not be specified on mount type \"%s\"", type);
    if (m->volume_options && !streq(type, "volume"))
        return err_set(e, ERR_INVALID, "VolumeOptions must not be specified on mount type \"%s\"", type);
    if (m->tmpfs_options && !streq(type, "tmpfs"))
        return err_set(e, ERR_INVALID, "TmpfsOptions must not be specified on mount type \"%s\"", type);
    return 0;
}

int ctr_create_as_of(struct ctr_create *req, int version, struct err *e) {
    struct api_host_config *h = &req->host;
    bool v1 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) < 0;

    req->shallow_ro = version < 144;
    if (version < 144 && req->config.healthcheck) {
        req->config.healthcheck->has_start_interval = false;
        req->config.healthcheck->start_interval = 0;
    }
    if (version < 143) {
        api_string_map_done(&h->annotations);
        h->annotations = (struct api_string_map){0};
    }
    if (version < 142) {
        api_int_list_done(&h->console_size);
        h->console_size = (struct api_int_list){0};
    } else {
        h->has_kernel_memory = false;
        h->kernel_memory = 0;
    }
    if (version < 141 && v1 && str_empty(h->cgroupns_mode) && str_set(&h->cgroupns_mode, "host") < 0)
        return err_oom(e);
    if (version < 125)
        h->has_auto_remove = h->auto_remove = false;
    if (version < 140) {
        h->has_kernel_memory_tcp = false;
        h->kernel_memory_tcp = 0;
        if (str_empty(h->ipc_mode) && str_set(&h->ipc_mode, "shareable") < 0)
            return err_oom(e);
    }
    for (size_t i = 0; i < h->mounts.n; i++) {
        int r = old_mount(&h->mounts.v[i], version, e);

        if (r >= 0 && version >= 142)
            r = check_types(&h->mounts.v[i], e);
        if (r < 0)
            return r;
    }
    return 0;
}
