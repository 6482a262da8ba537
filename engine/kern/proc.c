// SPDX-License-Identifier: Apache-2.0
#include "kern/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "kern/kern.h"

int proc_stat_parse(const char *text, struct proc_stat *ret) {
    const char *p = strrchr(text, ')');
    struct proc_stat s = {0};

    if (!p || p[1] != ' ' || !p[2])
        return -EINVAL;
    s.state = p[2];
    for (int field = 2; field < 22; field++) {
        p = strchr(p + 1, ' ');
        if (!p)
            return -EINVAL;
        if (field + 1 == 9)
            s.flags = (unsigned)strtoul(p + 1, NULL, 10);
    }
    s.ticks = strtoull(p + 1, NULL, 10);
    *ret = s;
    return 0;
}

static int read_stat(int dir, struct proc_stat *ret) {
    _cleanup_close_ int fd = openat(dir, "stat", O_RDONLY | O_CLOEXEC);
    char text[1024];
    ssize_t n;

    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    do
        n = read(fd, text, sizeof text - 1);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    text[n] = 0;
    return proc_stat_parse(text, ret);
}

static int open_folder(pid_t pid) {
    char path[32];
    int fd;

    snprintf(path, sizeof path, "/proc/%d", (int)pid);
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : errno == ENOENT ? -ESRCH : -errno;
}

int proc_stat_of(pid_t pid, struct proc_stat *ret) {
    _cleanup_close_ int dir = open_folder(pid);

    return dir < 0 ? dir : read_stat(dir, ret);
}

bool proc_is_alive(const struct proc_stat *s) {
    return s->state != 'Z' && s->state != 'X';
}

int proc_open(pid_t pid, uint64_t ticks) {
    _cleanup_close_ int dir = open_folder(pid);
    struct proc_stat s = {0};
    int r;

    if (dir < 0 || !ticks)
        return TAKE_FD(dir);
    r = read_stat(dir, &s);
    if (r < 0)
        return r;
    return s.ticks == ticks ? TAKE_FD(dir) : -ESRCH;
}

int proc_open_at(pid_t pid, uint64_t ticks, const char *what, int flags) {
    _cleanup_close_ int dir = proc_open(pid, ticks);
    int fd;

    if (dir < 0)
        return dir;
    fd = openat(dir, what, flags | O_CLOEXEC);
    return fd >= 0 ? fd : errno == ENOENT ? -ESRCH : -errno;
}

int proc_signal(pid_t pid, uint64_t ticks, int sig) {
    _cleanup_close_ int fd = kern_linux.pidfd_open(pid, 0);
    struct proc_stat s = {0};
    int r = fd;

    if (r >= 0 && ticks)
        r = proc_stat_of(pid, &s);
    if (r < 0)
        return r;
    return ticks && s.ticks != ticks ? -ESRCH : kern_linux.pidfd_send_signal(fd, sig);
}
