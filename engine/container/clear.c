// SPDX-License-Identifier: Apache-2.0
#include "container/clear.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"
#include "container/more.h"
#include "kern/cgroup.h"

#define TRIES 100
#define PAUSE_NS 20000000L
#define DEPTH 32

static void thaw(const struct cgroup_layout *l, const char *path) {
    const struct cgroup_hierarchy *h = cgroup_of(l, "freezer");
    _cleanup_free_ char *knob = h ? str_printf("%s%s/%s", h->mount, path, h->unified ? "cgroup.freeze" : "freezer.state") : NULL;

    if (knob)
        ignore_result(fs_write_knob(knob, h->unified ? "0" : "THAWED", NULL));
}

/* True when none was left to kill. */
static bool kill_all(const char *path) {
    int64_t *pids = NULL;
    size_t n = 0;

    if (ctr_cgroup_pids(path, &pids, &n, NULL) < 0)
        return true;
    for (size_t i = 0; i < n; i++)
        if (pids[i] > 1)
            kill((pid_t)pids[i], SIGKILL);
    free(pids);
    return n == 0;
}

/* Groups below go first; the files of a group vanish with it. */
static bool remove_group(int parent, const char *name, int depth) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    _cleanup_closedir_ DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *d;

    if (!dir) {
        close_fd(fd);
        return errno == ENOENT;
    }
    while (depth < DEPTH && (d = readdir(dir)))
        if (d->d_type == DT_DIR && d->d_name[0] != '.')
            remove_group(fd, d->d_name, depth + 1);
    return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

void ctr_groups_clear(const struct engine_config *config, const struct ctr_fixed *f) {
    _cleanup_free_ char *path = ctr_cgroup_path(config, f);
    struct timespec pause = {.tv_nsec = PAUSE_NS};
    struct cgroup_layout l;
    bool left = false;

    if (!path || cgroup_detect(&l, NULL) < 0)
        return;
    thaw(&l, path);
    for (int i = 0; i < TRIES && !kill_all(path); i++)
        nanosleep(&pause, NULL);
    for (size_t i = 0; i < l.n; i++) {
        _cleanup_free_ char *full = str_printf("%s%s", l.h[i].mount, path);

        if (full && !remove_group(AT_FDCWD, full, 0))
            left = true;
    }
    if (left)
        log_kv(LOG_LVL_WARN, "control groups of a container whose monitor died stay", "container", f->id, NULL);
}
