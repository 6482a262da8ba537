// SPDX-License-Identifier: Apache-2.0
/* What may be mounted over /proc: CVE-2019-16884 and its kin. */
#include "oci/exec-internal.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/str.h"

/* Files below /proc that tell a container about itself when a file system such as lxcfs stands in for the kernel. */
static bool is_emulated(const char *path) {
    static const char *const files[] = {"/proc/cpuinfo",
                                        "/proc/diskstats",
                                        "/proc/meminfo",
                                        "/proc/stat",
                                        "/proc/swaps",
                                        "/proc/uptime",
                                        "/proc/loadavg",
                                        "/proc/slabinfo",
                                        "/proc/sys/kernel/ns_last_pid",
                                        "/proc/sys/crypto/fips_enabled"};

    for (size_t i = 0; i < ELEMENTSOF(files); i++)
        if (streq(files[i], path))
            return true;
    return false;
}

/*
 * /proc is how a process asks for its rights (/proc/self/attr) and tells what it runs: nothing else may be mounted over it or below it. Judged by where
 * the target is in truth, after all links of the root; by its name when it is not there and cannot be made.
 */
void child_check_proc(struct child *c, int at, int tree, const char *source, const char *target) {
    char link[64], path[4096], root[4096], full[4096];
    const char *place = target;
    struct statfs fs;
    ssize_t n, below;

    snprintf(link, sizeof link, "/proc/self/fd/%d", c->root);
    below = readlink(link, root, sizeof root - 1);
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    n = at < 0 ? -1 : readlink(link, path, sizeof path - 1);
    if (below > 0 && n >= below) {
        path[n] = 0;
        place = path + (below == 1 ? 0 : below); /* the root of everything has a slash of its own */
    }
    if (!str_has_prefix(place, "/proc") || (place[5] && place[5] != '/') || is_emulated(place))
        return;
    if (!place[5] && fstatfs(tree, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC)
        return;
    merged_path(c, place, full, sizeof full);
    child_fail(
        c, EINVAL,
        "error during container init: error mounting \"%s\" to rootfs at \"%s\": create mount destination for %s mount: check proc-safety of %s "
        "mount: \"%s\" cannot be mounted because it is %s",
        source, target, target, target, full, place[5] ? "inside /proc" : "not of type proc");
}
