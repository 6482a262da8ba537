// SPDX-License-Identifier: Apache-2.0
/* The mount namespace of monitors whose containers need nothing of the machine's other mounts: a copy with little in it. */
#include "monitor/launcher-mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/str.h"
#include "kern/mountinfo.h"
#include "kern/overlay.h"
#include "monitor/proto.h"

static bool is_needed(const char *at, const char *const *folders) {
    static const char *const kernel[] = {"/", "/proc", "/sys", "/dev", NULL};

    if (path_is_below(at, "/sys/fs/cgroup"))
        return true;
    for (size_t i = 0; kernel[i]; i++)
        if (streq(at, kernel[i]))
            return true;
    for (size_t i = 0; folders[i]; i++)
        if (path_is_below(folders[i], at) || path_is_below(at, folders[i]))
            return true;
    return false;
}

/* From the last mount to the first, as what lies on top must go first. What does not go away is no harm: it only costs time. */
static void drop_mounts(char *lines, const char *const *folders) {
    _cleanup_free_ const char **unneeded = NULL;
    struct mountinfo m;
    size_t n = 0;

    for (const char *p = lines; *p; p++)
        n += *p == '\n';
    unneeded = calloc(n + 1, sizeof *unneeded);
    if (!unneeded)
        return;
    for (n = 0; mountinfo_next(&lines, &m);)
        if (!is_needed(m.point, folders))
            unneeded[n++] = m.point;
    while (n-- > 0)
        ignore_result(umount2(unneeded[n], MNT_DETACH | UMOUNT_NOFOLLOW));
}

static bool same_root(const struct stat *a) {
    struct stat b;

    return stat("/", &b) == 0 && a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

/*
 * In a process of its own: make the namespace, wait until the launcher holds it, go back. Entering a mount namespace leads to its root; where the daemon's root
 * is another (chroot), the launcher must never try.
 */
static void __attribute__((noreturn)) make(const struct kern *k, const char *const *folders, int sock) {
    int host = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    _cleanup_buf_ struct buf text = BUF_INIT(MIB(4));
    struct stat root;
    char *lines, byte = 'm';

    if (host < 0 || stat("/", &root) < 0 || mountinfo_read(&text, &lines, NULL) < 0 || k->unshare(CLONE_NEWNS) < 0 ||
        k->mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0) /* mounts and unmounts of the machine go on coming in */
        _exit(1);
    drop_mounts(lines, folders);
    for (size_t i = 0; folders[i]; i++)
        if (access(folders[i], F_OK) < 0)
            _exit(1);
    if (send(sock, &byte, 1, MSG_NOSIGNAL) != 1 || recv(sock, &byte, 1, 0) != 1 || k->setns(host, CLONE_NEWNS) < 0 || !same_root(&root))
        _exit(1);
    ignore_result(send(sock, &byte, 1, MSG_NOSIGNAL));
    _exit(0);
}

int launcher_few_mounts(const struct kern *k, const char *const *folders, int *ret_host) {
    _cleanup_close_ int host = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC), few = -EBADF, mine = -EBADF, theirs = -EBADF;
    char path[64], byte = 'h';
    int sp[2];
    pid_t pid;

    if (host < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp) < 0)
        return -EBADF;
    mine = sp[0];
    theirs = sp[1];
    pid = fork();
    if (pid == 0)
        make(k, folders, theirs);
    theirs = close_fd(theirs);
    if (pid < 0 || recv(mine, &byte, 1, 0) != 1)
        return -EBADF;
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
    few = open(path, O_RDONLY | O_CLOEXEC);
    if (few < 0 || send(mine, &byte, 1, MSG_NOSIGNAL) != 1 || recv(mine, &byte, 1, 0) != 1)
        return -EBADF;
    *ret_host = TAKE_FD(host);
    return TAKE_FD(few);
}

/* ---- mounts for the daemon ------------------------------------------------------------------------------------------------------------- */

int launcher_mount_shm(const struct kern *k, const char *path, int64_t size, uid_t uid, gid_t gid) {
    char options[64];
    int r;

    if (size < 0) {
        r = k->umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
        return r == -EINVAL || r == -ENOENT ? 0 : r;
    }
    snprintf(options, sizeof options, "mode=1777,size=%lld", (long long)size);
    r = k->mount("shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options);
    return r >= 0 && (uid || gid) && chown(path, uid, gid) < 0 ? -errno : r;
}

#define VIEW_FLAGS (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

/* Texts one after the other. */
struct view_layers {
    const char *texts;
    size_t n;
};

static const char *next_text(void *arg, const char *last) {
    const struct view_layers *l = arg;
    const char *next = last ? last + strlen(last) + 1 : l->texts;

    return next < l->texts + l->n ? next : NULL;
}

/* In a process that shares its descriptors with the launcher: a mount namespace for a mount that nobody else shall see, and the mount without a place. */
static int view_old(const struct kern *k, const struct overlay *o, const char *place) {
    int r = k->unshare(CLONE_NEWNS);

    if (r >= 0)
        r = k->mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL);
    if (r >= 0)
        r = overlay_at(k, o, place, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
    return r < 0 ? r : k->open_tree(AT_FDCWD, place, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
}

/* Kernels before 6.5 mount overlays only at a place. */
static int mount_view_old(const struct kern *k, const struct overlay *o, const char *place) {
    int *result = mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), r;
    pid_t pid;

    if (result == MAP_FAILED)
        return -errno;
    *result = -ECHILD;
    pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) {
        *result = view_old(k, o, place);
        _exit(0);
    }
    r = pid < 0 ? -errno : 0;
    /* Children are reaped by the kernel here (launcher.c): this waits until there is none of that number. */
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    r = r < 0 ? r : *result;
    munmap(result, sizeof *result);
    return r;
}

int launcher_mount_view(const struct kern *k, const char *layers, size_t n) {
    struct view_layers l = {layers, n};
    struct overlay o = {.next = next_text, .arg = &l};
    int r = overlay_detached(k, &o, VIEW_FLAGS);

    return r == -ENOSYS ? mount_view_old(k, &o, layers) : r;
}
