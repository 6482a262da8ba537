// SPDX-License-Identifier: Apache-2.0
/* The volumes among a container's mounts: found or made at create, filled at the first start, let go at the end. */
#include <fcntl.h>

#include "base/str.h"
#include "container/mounts.h"
#include "container/root.h"
#include "volume/volume.h"

static const struct api_mount *mount_of(const struct api_host_config *host, const struct ctr_mount *m) {
    for (size_t i = 0; m->from_mounts && i < host->mounts.n; i++) {
        _cleanup_free_ char *clean = ctr_clean_path(host->mounts.v[i].target);

        if (clean && streq(clean, m->destination))
            return &host->mounts.v[i];
    }
    return NULL;
}

static int pairs(const struct api_string_map *m, struct strv *ret) {
    for (size_t i = 0; i < m->n; i++)
        if (strv_addf(ret, "%s=%s", m->v[i].key, m->v[i].value ? m->v[i].value : "") < 0)
            return -ENOMEM;
    return 0;
}

/* Was there a mode in "name:/folder:mode"? */
static bool asks_for_mode(const struct ctr_mount *m) {
    const char *colon = m->spec ? strchr(m->spec, ':') : NULL;

    return colon && strchr(colon + 1, ':');
}

static int acquire_one(struct containers *cs, const char *id, const struct api_host_config *host, struct ctr_mount *m, struct volume **ret,
                       struct err *e) {
    _cleanup_strv_ struct strv opts = STRV_INIT, labels = STRV_INIT;
    const struct api_mount *a = mount_of(host, m);
    struct volume_request req = {
        .name = m->volume, .driver = m->driver ? m->driver : host->volume_driver, .opts = &opts, .labels = &labels, .unmarked = a != NULL};
    struct volume *v;
    int r;

    if (a && a->volume_options) {
        if (pairs(&a->volume_options->labels, &labels) < 0)
            return err_oom(e);
        if (a->volume_options->driver_config && pairs(&a->volume_options->driver_config->options, &opts) < 0)
            return err_oom(e);
    }
    r = volumes_acquire(cs->engine->volumes, &req, id, &v, e);
    if (r < 0)
        return r;
    /* "z" is what a folder of ours gets when nobody says otherwise; those of plugins get nothing. */
    if (!streq(volume_driver(v), "local") && streq(m->mode, "z") && !asks_for_mode(m))
        *m->mode = 0;
    if (str_set(&m->volume, volume_name(v)) < 0 || str_set(&m->source, volume_path(v)) < 0 || str_set(&m->driver, volume_driver(v)) < 0) {
        volumes_release(cs->engine->volumes, v, id, m->anonymous);
        return err_oom(e);
    }
    *ret = v;
    return 0;
}

void ctr_mounts_release(struct containers *cs, const char *id, const struct ctr_mounts *l, struct volume **v, size_t n, bool anonymous) {
    size_t k = 0;

    for (size_t i = 0; i < l->n && k < n; i++) {
        if (l->v[i].kind != CTR_MOUNT_VOLUME)
            continue;
        if (v[k])
            volumes_release(cs->engine->volumes, v[k], id, anonymous && l->v[i].anonymous);
        k++;
    }
    free(v);
}

int ctr_mounts_acquire(struct containers *cs, const char *id, const struct api_host_config *host, struct ctr_mounts *l, struct volume ***ret,
                       size_t *ret_n, struct err *e) {
    struct volume **v = calloc(l->n + 1, sizeof(struct volume *));
    size_t n = 0;

    if (!v)
        return err_oom(e);
    for (size_t i = 0; i < l->n; i++) {
        int r;

        if (l->v[i].kind != CTR_MOUNT_VOLUME)
            continue;
        r = acquire_one(cs, id, host, &l->v[i], &v[n], e);
        if (r < 0) {
            ctr_mounts_release(cs, id, l, v, n, true);
            return r;
        }
        n++;
    }
    *ret = v;
    *ret_n = n;
    return 0;
}

int ctr_mounts_populate(struct containers *cs, const char *id, const struct layers_rootfs *rootfs, const struct ctr_mounts *l,
                        struct volume **volumes, struct err *e) {
    _cleanup_close_ int root = -EBADF;
    size_t k = 0;

    for (size_t i = 0; i < l->n; i++) {
        const struct ctr_mount *m = &l->v[i];
        _cleanup_close_ int src = -EBADF;
        _cleanup_free_ char *shown = str_printf("%s%s", rootfs->merged, m->destination);
        int r;

        if (!shown)
            return err_oom(e);
        if (m->kind != CTR_MOUNT_VOLUME)
            continue;
        k++;
        if (m->no_copy)
            continue;
        if (root < 0) {
            r = ctr_root_open(cs->engine->launcher, rootfs, &root, e);
            if (r < 0)
                return r;
        }
        src = ctr_root_openat(root, m->destination, O_RDONLY | O_DIRECTORY);
        r = volumes_copy_up(cs->engine->volumes, volumes[k - 1], m->subpath, id, src == -ENOTDIR || src >= 0 ? src : -1, shown, e);
        if (r < 0)
            return r;
    }
    return 0;
}
