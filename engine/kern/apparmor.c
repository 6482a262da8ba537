// SPDX-License-Identifier: Apache-2.0
#include "kern/apparmor.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/limits.h"
#include "base/spawn.h"
#include "base/str.h"

#define FOLDER "/sys/kernel/security/apparmor"
#define PARSER "/sbin/apparmor_parser"
#define LIST_MAX MIB(4)

/*
 * What is allowed comes first, what is taken away after it: a denial wins over any permission. A name is excluded from a denial letter by letter, since
 * there is no "all but this one". What is denied here is mostly read-only or masked in a container anyway: this is the second lock.
 */
static const char profile[] = "profile " APPARMOR_DEFAULT " flags=(attach_disconnected,mediate_deleted) {\n"
                              "  file,\n"
                              "  network,\n"
                              "  unix,\n"
                              "  capability,\n"
                              "  umount,\n"
                              /* Signals: from whoever is not confined, above all the engine, from other runtimes, and among containers' processes. */
                              "  signal (receive) peer=unconfined,\n"
                              "  signal (receive) peer={runc,crun},\n"
                              "  signal (send, receive) peer=" APPARMOR_DEFAULT ",\n"
                              "  ptrace (readby, tracedby),\n"
                              "  ptrace (trace, read) peer=" APPARMOR_DEFAULT ",\n"
                              "  deny mount,\n"
                              /* Of /proc only processes and some of /proc/sys/kernel (shm*) can be written to. */
                              "  deny /proc/* w,\n"
                              "  deny /proc/[^0-9s]*/** w,\n"
                              "  deny /proc/s[^y]*/** w,\n"
                              "  deny /proc/sys?*/** w,\n"
                              "  deny /proc/sys/* w,\n"
                              "  deny /proc/sys/[^k]*/** w,\n"
                              "  deny /proc/sys/kernel/{[^s]**,s,s[^h]**,sh,sh[^m]**} w,\n"
                              "  deny /proc/{kcore,sysrq-trigger} rwklx,\n"
                              /* Of /sys only control groups. */
                              "  deny /sys/[^f]** wklx,\n"
                              "  deny /sys/f[^s]** wklx,\n"
                              "  deny /sys/fs/[^c]** wklx,\n"
                              "  deny /sys/fs/c[^g]** wklx,\n"
                              "  deny /sys/fs/cg[^r]** wklx,\n"
                              "  deny /sys/{firmware,devices/virtual/powercap,kernel/security}/** rwklx,\n"
                              "}\n";

bool apparmor_enabled(void) {
    return access(FOLDER "/profiles", R_OK) == 0;
}

bool apparmor_usable(void) {
    _cleanup_buf_ struct buf b = BUF_INIT(16);

    return apparmor_enabled() && access(PARSER, X_OK) == 0 && fs_read_file("/sys/module/apparmor/parameters/enabled", &b, NULL) == 0 &&
           buf_str(&b)[0] == 'Y';
}

bool apparmor_list_has(const char *list, const char *name) {
    size_t n = strlen(name);

    for (const char *s = list; s && *s; s = strchr(s, '\n'), s = s ? s + 1 : NULL)
        if (strncmp(s, name, n) == 0 && strncmp(s + n, " (", 2) == 0)
            return true;
    return false;
}

static int load(struct err *e) {
    /* -K: what it compiled before is not asked; -r: one of that name is replaced; -q: no advice about the profile's dialect. */
    char *const argv[] = {(char *)PARSER, (char *)"-Krq", NULL}, *const envp[] = {(char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    struct spawn_fd in;
    int fds[2], status, r;
    pid_t pid;

    r = spawn_pipe(fds, e);
    if (r < 0)
        return r;
    /* It fits into a pipe: no reader is waited for. */
    if (write(fds[1], profile, sizeof profile - 1) != (ssize_t)sizeof profile - 1)
        r = err_errno(e, errno, "write the AppArmor profile " APPARMOR_DEFAULT);
    close_fd(fds[1]);
    in = (struct spawn_fd){.fd = fds[0], .as = 0};
    if (r >= 0)
        r = spawn_start(PARSER, argv, envp, &in, 1, &pid, e);
    close_fd(fds[0]);
    if (r < 0)
        return r;
    status = spawn_wait(pid);
    if (status < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return err_set(e, ERR_INTERNAL, "AppArmor enabled on system but the " APPARMOR_DEFAULT " profile could not be loaded: " PARSER " failed");
    return 0;
}

int apparmor_load_default(struct err *e) {
    _cleanup_buf_ struct buf b = BUF_INIT(LIST_MAX);
    int r = fs_read_file(FOLDER "/profiles", &b, e);

    if (r < 0)
        return r;
    return apparmor_list_has(buf_str(&b), APPARMOR_DEFAULT) ? 0 : load(e);
}
