// SPDX-License-Identifier: Apache-2.0
#include "cli/attach.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "cli/frame.h"

int keys_feed(struct keys_state *k, char byte, char ret[17]) {
    size_t held = k->matched;

    if (k->n && byte == k->keys[k->matched]) {
        k->matched++;
        return k->matched == k->n ? -1 : 0;
    }
    /* what was held back belonged to no sequence after all */
    memcpy(ret, k->keys ? k->keys : "", held);
    k->matched = 0;
    if (held && byte == k->keys[0]) {
        k->matched = 1;
        return (int)held;
    }
    ret[held] = byte;
    return (int)held + 1;
}

int signals_open(const int *list, struct err *e) {
    sigset_t set;
    int fd;

    sigemptyset(&set);
    for (; *list; list++)
        sigaddset(&set, *list);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return err_errno(e, errno, "blocking signals");
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? err_errno(e, errno, "watching signals") : fd;
}

int raw_enter(struct raw_terminal *t, struct err *e) {
    struct termios raw;

    if (tcgetattr(STDIN_FILENO, &t->saved) < 0)
        return err_errno(e, errno, "reading the settings of the terminal");
    raw = t->saved;
    cfmakeraw(&raw);
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
        return err_errno(e, errno, "setting up the terminal");
    t->on = true;
    return 0;
}

void raw_leave(struct raw_terminal *t) {
    if (t->on)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &t->saved);
    t->on = false;
}

bool terminal_size(int *ret_rows, int *ret_columns) {
    struct winsize w;

    if ((ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &w) < 0) || w.ws_col == 0 || w.ws_row == 0)
        return false;
    *ret_rows = w.ws_row;
    *ret_columns = w.ws_col;
    return true;
}

static int write_out(int fd, const void *p, size_t n, struct err *e) {
    int r = full_write(fd, p, n);

    return r < 0 ? err_errno(e, r, "writing to standard %s", fd == STDOUT_FILENO ? "output" : "error") : 0;
}

static int sink(int stream, const void *p, size_t n, void *data, struct err *e) {
    return write_out(stream == 1 ? STDOUT_FILENO : STDERR_FILENO, p, n, e);
}

static int send_input(int fd, const char *p, size_t n) {
    while (n) {
        ssize_t w = send(fd, p, n, MSG_NOSIGNAL);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -errno;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

/* Standard input → container. Returns 1 when input has ended, -1 when the keys to detach were typed. */
static int pass_input(const struct attach *a, struct keys_state *keys) {
    char in[16384], out[sizeof in + 32] = "";
    ssize_t n = read(STDIN_FILENO, in, sizeof in);
    size_t m = 0;
    bool detach = false;

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n <= 0) {
        shutdown(http_fd(a->conn), SHUT_WR);
        return 1;
    }
    for (ssize_t i = 0; i < n && !detach; i++) {
        int k = keys_feed(keys, in[i], out + m);

        detach = k < 0;
        m += k < 0 ? 0 : (size_t)k;
    }
    /* a process that no longer reads is seen by the end of its output */
    if (send_input(http_fd(a->conn), out, m) < 0)
        return 1;
    return detach ? -1 : 0;
}

/* Container → our streams. Returns 1 at the end. */
static int pass_output(const struct attach *a, struct frame_reader *frames, struct err *e) {
    char block[32768];

    do {
        ssize_t n = http_read(a->conn, block, sizeof block, e);
        int r;

        if (n <= 0)
            return n < 0 ? (int)n : 1;
        r = a->tty ? write_out(STDOUT_FILENO, block, (size_t)n, e) : frame_feed(frames, block, (size_t)n, sink, NULL, e);
        if (r < 0)
            return r;
    } while (http_buffered(a->conn));
    return 0;
}

static int take_signals(const struct attach *a) {
    struct signalfd_siginfo s;

    while (read(a->signals, &s, sizeof s) == sizeof s) {
        int number = (int)s.ssi_signo;

        if (a->tty && (number == SIGTERM || number == SIGHUP || number == SIGINT))
            return ATTACH_SIGNAL + number;
        a->on_signal(number, a->data);
    }
    return 0;
}

int attach_run(const struct attach *a, struct err *e) {
    struct frame_reader frames = {0};
    struct keys_state keys = {a->keys, a->tty ? a->n_keys : 0, 0};
    struct pollfd fds[] = {
        {.fd = http_fd(a->conn), .events = POLLIN}, {.fd = a->input ? STDIN_FILENO : -1, .events = POLLIN}, {.fd = a->signals, .events = POLLIN}};

    for (;;) {
        int r;

        if (poll(fds, ELEMENTSOF(fds), http_buffered(a->conn) ? 0 : -1) < 0) {
            if (errno == EINTR)
                continue;
            return err_errno(e, errno, "waiting for input and output");
        }
        if (fds[2].revents) {
            r = take_signals(a);
            if (r > 0)
                return r;
        }
        if (fds[1].revents) {
            r = pass_input(a, &keys);
            if (r < 0)
                return ATTACH_DETACHED;
            if (r > 0)
                fds[1].fd = -1;
        }
        if (fds[0].revents || http_buffered(a->conn)) {
            r = pass_output(a, &frames, e);
            if (r != 0)
                return r < 0 ? r : ATTACH_CLOSED;
        }
    }
}
