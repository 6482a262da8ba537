// SPDX-License-Identifier: Apache-2.0
/* The first process of `--init` containers: start the program, pass signals on, reap everything, end with the program's code. */
#include "monitor/main.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"

static void say(const char *a, const char *b, const char *c) {
    char text[512];
    int n = snprintf(text, sizeof text, "[FATAL tini (%d)] %s%s%s\n", (int)getpid(), a, b, c);

    ignore_result(write(2, text, n < (int)sizeof text ? (size_t)n : sizeof text));
}

static void __attribute__((noreturn)) run(char **argv) {
    sigset_t none;
    int code;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* A process group of its own in the foreground: terminal signals reach the program, not us. */
    setpgid(0, 0);
    signal(SIGTTOU, SIG_IGN);
    ignore_result(tcsetpgrp(0, getpgrp()));
    signal(SIGTTOU, SIG_DFL);
    execvp(argv[0], argv);
    code = errno == ENOENT ? 127 : 126;
    say("exec ", argv[0], errno == ENOENT ? " failed: No such file or directory" : " failed");
    _exit(code);
}

int init_main(int argc, char **argv) {
    sigset_t all;
    pid_t child;
    int code = 0;

    argv++;
    if (*argv && strcmp(*argv, "--") == 0)
        argv++;
    if (!*argv) {
        say("no program given", "", "");
        return 1;
    }
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGABRT);
    sigprocmask(SIG_SETMASK, &all, NULL);
    child = fork();
    if (child < 0)
        return 1;
    if (child == 0)
        run(argv);
    for (;;) {
        int sig = sigwaitinfo(&all, NULL), status;
        pid_t pid;

        if (sig > 0 && sig != SIGCHLD && sig != SIGTTIN && sig != SIGTTOU)
            kill(child, sig);
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
            if (pid == child)
                code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), child = -1;
        if (child < 0)
            return code;
    }
}
