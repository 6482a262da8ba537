// SPDX-License-Identifier: Apache-2.0
/* Volumes with driver options: type, device and o as mount(8) knows them. */
#include <errno.h>
#include <string.h>
#include <sys/mount.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "volume/volume-internal.h"

#define DATA_MAX 4096

static const struct {
    const char *name;
    unsigned long set, clear;
} words[] = {
    {"defaults", 0, 0},
    {"ro", MS_RDONLY, 0},
    {"rw", 0, MS_RDONLY},
    {"nosuid", MS_NOSUID, 0},
    {"suid", 0, MS_NOSUID},
    {"nodev", MS_NODEV, 0},
    {"dev", 0, MS_NODEV},
    {"noexec", MS_NOEXEC, 0},
    {"exec", 0, MS_NOEXEC},
    {"sync", MS_SYNCHRONOUS, 0},
    {"async", 0, MS_SYNCHRONOUS},
    {"dirsync", MS_DIRSYNC, 0},
    {"mand", MS_MANDLOCK, 0},
    {"nomand", 0, MS_MANDLOCK},
    {"noatime", MS_NOATIME, 0},
    {"atime", 0, MS_NOATIME},
    {"nodiratime", MS_NODIRATIME, 0},
    {"diratime", 0, MS_NODIRATIME},
    {"relatime", MS_RELATIME, 0},
    {"norelatime", 0, MS_RELATIME},
    {"strictatime", MS_STRICTATIME, 0},
    {"bind", MS_BIND, 0},
    {"rbind", MS_BIND | MS_REC, 0},
};

int volume_check_options(const struct api_string_map *opts, struct err *e) {
    static const char *const known[] = {"type", "o", "device", "size"};
    static const char *const needed[] = {"device", "type"};

    for (size_t i = 0; i < opts->n; i++) {
        size_t k = 0;

        while (k < ELEMENTSOF(known) && !streq(known[k], opts->v[i].key))
            k++;
        if (k == ELEMENTSOF(known))
            return err_set(e, ERR_INVALID, "invalid option: \"%s\"", opts->v[i].key);
    }
    if (api_string_map_get(opts, "size"))
        return err_set(e, ERR_INVALID, "quota size requested but no quota support");
    for (size_t i = 0; opts->n && i < ELEMENTSOF(needed); i++) {
        if (!api_string_map_get(opts, needed[i]))
            return err_set(e, ERR_INVALID, "missing required option: \"%s\"", needed[i]);
    }
    return 0;
}

static int parse_o(const char *o, unsigned long *ret_flags, struct buf *data, struct err *e) {
    _cleanup_strv_ struct strv list = STRV_INIT;
    unsigned long flags = 0;

    if (strv_split(&list, o, ',') < 0)
        return err_oom(e);
    for (size_t i = 0; i < list.n; i++) {
        size_t k = 0;

        if (!*list.v[i])
            continue;
        while (k < ELEMENTSOF(words) && !streq(words[k].name, list.v[i]))
            k++;
        if (k < ELEMENTSOF(words)) {
            flags = (flags | words[k].set) & ~words[k].clear;
        } else {
            if (data->len)
                buf_addc(data, ',');
            buf_adds(data, list.v[i]);
        }
    }
    *ret_flags = flags;
    return buf_check(data, e);
}

int volume_do_mount(struct volume *v, struct err *e) {
    const char *type = api_string_map_get(&v->record.options, "type"), *device = api_string_map_get(&v->record.options, "device"),
               *o = api_string_map_get(&v->record.options, "o");
    _cleanup_buf_ struct buf data = BUF_INIT(DATA_MAX);
    unsigned long flags = 0;
    int r = parse_o(o ? o : "", &flags, &data, e);

    if (r < 0)
        return r;
    if (mount(device, v->record.mountpoint, type ? type : "", flags, buf_str(&data)) < 0)
        return err_errno(e, errno, "failed to mount local volume: mount %s:%s, flags: 0x%lx, data: %s", device, v->record.mountpoint, flags,
                         buf_str(&data));
    /* The kernel ignores flags of a fresh bind mount. */
    if (flags & MS_BIND && flags & MS_RDONLY && mount(NULL, v->record.mountpoint, NULL, MS_REMOUNT | flags, NULL) < 0) {
        r = err_errno(e, errno, "failed to mount local volume: make %s read-only", v->record.mountpoint);
        umount2(v->record.mountpoint, MNT_DETACH);
        return r;
    }
    return 0;
}

void volume_do_unmount(struct volume *v) {
    if (umount2(v->record.mountpoint, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL)
        return;
    /* Busy: whoever still looks at it keeps it, nobody new finds it. */
    if (umount2(v->record.mountpoint, UMOUNT_NOFOLLOW | MNT_DETACH) < 0 && errno != EINVAL)
        log_kv(LOG_LVL_WARN, "volume cannot be unmounted", "volume", v->record.name, "error", strerror(errno), NULL);
}
