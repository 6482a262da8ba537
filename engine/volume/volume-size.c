// SPDX-License-Identifier: Apache-2.0
/*
 * What lies in a volume, in bytes: lengths of files and links as `du -b` adds them up, a file with several names once, folders nothing. Without following
 * anything and by descriptors, because containers may be at work in there.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"
#include "types.h"
#include "volume/volume-internal.h"

#define MAX_DEPTH 512

static bool seen_before(struct map *seen, const struct stat *st) {
    char key[48];

    if (st->st_nlink < 2)
        return false;
    snprintf(key, sizeof(key), "%llx:%llx", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
    if (map_has(seen, key))
        return true;
    ignore_result(map_set(seen, key, seen, NULL) < 0);
    return false;
}

static int64_t bytes_below(int dirfd, const char *name, struct map *seen, unsigned depth) {
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_closedir_ DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *ent;
    int64_t sum = 0;

    if (!d) {
        close_fd(fd);
        return depth ? 0 : -1;
    }
    while (depth < MAX_DEPTH && (ent = readdir(d))) {
        struct stat st;

        if (streq(ent->d_name, ".") || streq(ent->d_name, "..") || fstatat(fd, ent->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISDIR(st.st_mode))
            sum += bytes_below(fd, ent->d_name, seen, depth + 1);
        else if (!seen_before(seen, &st))
            sum += st.st_size;
    }
    return sum;
}

int64_t volume_bytes(const struct volume *v) {
    _cleanup_map_ struct map seen = MAP_INIT;

    return bytes_below(AT_FDCWD, v->record.mountpoint, &seen, 0);
}

bool volume_is_plain(const struct volume *v) {
    return !v->remote && !v->record.options.n;
}

bool volumes_none_to_measure(struct volumes *vs) {
    bool none = true;

    pthread_mutex_lock(&vs->lock);
    for (struct map_entry *i = NULL; none && (i = map_next(&vs->by_name, i));)
        none = !volume_is_plain(i->value);
    pthread_mutex_unlock(&vs->lock);
    return none;
}

int volumes_usage(struct volumes *vs, struct api_volume_list *ret, struct err *e) {
    struct volume **all = NULL;
    size_t n = 0;
    int r = volumes_all(vs, &all, &n, e);

    for (size_t i = 0; i < n; i++) {
        struct volume *v = all[i];

        if (r == 0 && volume_is_plain(v)) {
            struct api_volume *out = api_volume_list_add(ret);

            r = out ? volume_describe(v, out, e) : err_oom(e);
            if (r == 0) {
                out->usage_data = calloc(1, sizeof(*out->usage_data));
                r = out->usage_data ? 0 : err_oom(e);
            }
            if (r == 0)
                *out->usage_data = (struct api_volume_usage_data){
                    .ref_count = (int64_t)volumes_holders(vs, v), .has_ref_count = true, .size = volume_bytes(v), .has_size = true};
        }
        volume_unref(v);
    }
    free(all);
    return r;
}
