// SPDX-License-Identifier: Apache-2.0
/*
 * hatake-netd: started by hataked with its control socket as descriptor 3 (listening) and its own connection as descriptor 4. Becomes a daemon by
 * itself, so that it is nobody's child, and gives its privileges away.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "netd/cage.h"
#include "netd/run.h"

#define NETD_MAX_FILES 524288

/* Sockets of every container and of every connection: as many as the kernel lets a process have. */
static void raise_limit(void) {
    struct rlimit r = {NETD_MAX_FILES, NETD_MAX_FILES};

    if (setrlimit(RLIMIT_NOFILE, &r) < 0 && getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        ignore_result(setrlimit(RLIMIT_NOFILE, &r) < 0);
    }
}

int main(int argc, char **argv) {
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    int null, r;
    pid_t pid;

    if (argc != 1 || fcntl(3, F_GETFD) < 0 || fcntl(4, F_GETFD) < 0) {
        static const char text[] = "hatake-netd is started by hataked; it takes no arguments\n";

        ignore_result(write(2, text, sizeof(text) - 1) < 0);
        return 2;
    }
    pid = fork();
    if (pid != 0)
        return pid < 0;
    setsid();
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGHUP, &ignore, NULL);
    sigaction(SIGINT, &ignore, NULL);
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
    }
    ignore_result(chdir("/") < 0);
    syscall(SYS_close_range, 5u, ~0u, 0u);
    prctl(PR_SET_NAME, "hatake-netd");
    raise_limit();
    r = netd_confine();
    if (r < 0)
        return 1;
    return netd_run(3, 4) < 0;
}
