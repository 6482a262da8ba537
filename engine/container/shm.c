// SPDX-License-Identifier: Apache-2.0
#include "container/shm.h"

#include <sys/vfs.h>

#include "base/fs.h"
#include "base/idmap.h"
#include "base/str.h"
#include "monitor/client.h"

#define TMPFS_MAGIC 0x01021994

char *ctr_shm_path(const struct container *c) {
    return container_path(c, "mounts/shm");
}

static bool is_mounted(const char *path) {
    struct statfs fs;

    return statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

/* Who is in a user namespace passes through the folder above on the way here. */
static int make_place(struct container *c, const char *path, struct err *e) {
    _cleanup_free_ char *above = container_path(c, "mounts");
    int r = above ? fs_mkdir_p(above, 0710, e) : err_oom(e);

    if (r == 0)
        r = idmap_give_group(c->cs->engine->ids, above, e);
    if (r == 0)
        r = fs_mkdir_p(path, 0700, e);
    return r;
}

int ctr_shm_mount(struct container *c, int64_t size, struct err *e) {
    _cleanup_free_ char *path = ctr_shm_path(c);
    int r;

    if (!path)
        return err_oom(e);
    r = make_place(c, path, e);
    if (r < 0 || is_mounted(path))
        return r;
    return launcher_shm(c->cs->engine->launcher, path, size, c->cs->engine->ids, e);
}

void ctr_shm_unmount(struct container *c) {
    _cleanup_free_ char *path = ctr_shm_path(c);

    if (path && is_mounted(path))
        ignore_result(launcher_shm(c->cs->engine->launcher, path, -1, NULL, NULL));
}
