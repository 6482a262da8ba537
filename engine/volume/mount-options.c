// SPDX-License-Identifier: Apache-2.0
#include "volume/mount-options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/strv.h"

static const struct {
    const char *name;
    unsigned long set, clear, propagation;
} words[] = {
    {"defaults", 0, 0, 0},
    {"ro", MS_RDONLY, 0, 0},
    {"rw", 0, MS_RDONLY, 0},
    {"nosuid", MS_NOSUID, 0, 0},
    {"suid", 0, MS_NOSUID, 0},
    {"nodev", MS_NODEV, 0, 0},
    {"dev", 0, MS_NODEV, 0},
    {"noexec", MS_NOEXEC, 0, 0},
    {"exec", 0, MS_NOEXEC, 0},
    {"sync", MS_SYNCHRONOUS, 0, 0},
    {"async", 0, MS_SYNCHRONOUS, 0},
    {"dirsync", MS_DIRSYNC, 0, 0},
    {"remount", MS_REMOUNT, 0, 0},
    {"mand", MS_MANDLOCK, 0, 0},
    {"nomand", 0, MS_MANDLOCK, 0},
    {"noatime", MS_NOATIME, 0, 0},
    {"atime", 0, MS_NOATIME, 0},
    {"nodiratime", MS_NODIRATIME, 0, 0},
    {"diratime", 0, MS_NODIRATIME, 0},
    {"relatime", MS_RELATIME, 0, 0},
    {"norelatime", 0, MS_RELATIME, 0},
    {"strictatime", MS_STRICTATIME, 0, 0},
    {"nostrictatime", 0, MS_STRICTATIME, 0},
    {"bind", MS_BIND, 0, 0},
    {"rbind", MS_BIND | MS_REC, 0, 0},
    {"private", 0, 0, MS_PRIVATE},
    {"rprivate", 0, 0, MS_PRIVATE | MS_REC},
    {"shared", 0, 0, MS_SHARED},
    {"rshared", 0, 0, MS_SHARED | MS_REC},
    {"slave", 0, 0, MS_SLAVE},
    {"rslave", 0, 0, MS_SLAVE | MS_REC},
    {"unbindable", 0, 0, MS_UNBINDABLE},
    {"runbindable", 0, 0, MS_UNBINDABLE | MS_REC},
};

void mount_options_done(struct mount_options *m) {
    buf_done(&m->data);
}

int mount_options_parse(const char *o, struct mount_options *ret, struct err *e) {
    _cleanup_strv_ struct strv list = STRV_INIT;

    if (strv_split(&list, o, ',') < 0)
        return err_oom(e);
    for (size_t i = 0; i < list.n; i++) {
        size_t k = 0;

        if (!*list.v[i])
            continue;
        while (k < ELEMENTSOF(words) && !streq(words[k].name, list.v[i]))
            k++;
        if (k == ELEMENTSOF(words)) {
            if (ret->data.len)
                buf_addc(&ret->data, ',');
            buf_adds(&ret->data, list.v[i]);
        } else if (words[k].propagation) {
            ret->propagation |= words[k].propagation;
        } else {
            ret->flags = (ret->flags | words[k].set) & ~words[k].clear;
        }
    }
    return buf_check(&ret->data, e);
}

char *mount_options_value(const char *o, const char *key) {
    _cleanup_strv_ struct strv list = STRV_INIT;
    const char *value = strv_split(&list, o, ',') == 0 ? strv_env_get(&list, key) : NULL;

    return value ? strdup(value) : NULL;
}

char *mount_options_shown(const char *data) {
    _cleanup_strv_ struct strv list = STRV_INIT;

    if (strv_split(&list, data, ',') < 0)
        return NULL;
    for (size_t i = 0; i < list.n; i++) {
        if (str_has_prefix(list.v[i], "password=") && str_set(&list.v[i], "password=********") < 0)
            return NULL;
    }
    return strv_join(&list, ",");
}
